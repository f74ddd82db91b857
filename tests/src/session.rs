//! Sessions, objects and keys, with Rust values.
//!
//! What lives here: `Session` and one method for each function of these chapters.
//! What must never live here: encrypt, sign and their kin; those are in `operation.rs`.
//! Who calls it: every test.

use core::ptr::null_mut;

use cryptoki_sys::*;

use crate::call;
use crate::mechanism::Mechanism;
use crate::module::Module;
use crate::rv::Rv;
use crate::template::Template;

/// What `ulValueLen` is when a value cannot be had.
pub const UNAVAILABLE: CK_ULONG = CK_ULONG::MAX;

/// A session. Dropping it does nothing; tests that close one say so.
#[derive(Clone, Copy)]
pub struct Session<'m> {
    /// Its module.
    pub module: &'m Module,
    /// Its handle.
    pub handle: CK_SESSION_HANDLE,
}

/// One attribute as `C_GetAttributeValue` left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What `ulValueLen` says.
    pub length: CK_ULONG,
    /// The buffer.
    pub bytes: Vec<u8>,
}

impl<'m> Session<'m> {
    /// `C_OpenSession` with any flags.
    ///
    /// # Errors
    /// What the module answers.
    pub fn open(module: &'m Module, slot: CK_SLOT_ID, flags: CK_FLAGS) -> Result<Self, Rv> {
        let mut handle: CK_SESSION_HANDLE = 0;
        call!(
            module,
            C_OpenSession(slot, flags, null_mut(), None, &raw mut handle)
        )
        .ok()?;
        Ok(Self { module, handle })
    }

    /// A read-write session.
    ///
    /// # Errors
    /// What the module answers.
    pub fn open_rw(module: &'m Module, slot: CK_SLOT_ID) -> Result<Self, Rv> {
        Self::open(module, slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)
    }

    /// A read-only session.
    ///
    /// # Errors
    /// What the module answers.
    pub fn open_ro(module: &'m Module, slot: CK_SLOT_ID) -> Result<Self, Rv> {
        Self::open(module, slot, CKF_SERIAL_SESSION)
    }

    /// `C_CloseSession`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn close(&self) -> Result<(), Rv> {
        call!(self.module, C_CloseSession(self.handle)).ok()
    }

    /// `C_GetSessionInfo`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn info(&self) -> Result<CK_SESSION_INFO, Rv> {
        let mut info = CK_SESSION_INFO::default();
        call!(self.module, C_GetSessionInfo(self.handle, &raw mut info)).ok()?;
        Ok(info)
    }

    /// The state in `C_GetSessionInfo`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn state(&self) -> Result<CK_STATE, Rv> {
        Ok(self.info()?.state)
    }

    /// `C_Login`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn login(&self, user: CK_USER_TYPE, pin: &str) -> Result<(), Rv> {
        let length = pin.len() as CK_ULONG;
        call!(
            self.module,
            C_Login(self.handle, user, pin.as_ptr().cast_mut(), length)
        )
        .ok()
    }

    /// `C_Logout`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn logout(&self) -> Result<(), Rv> {
        call!(self.module, C_Logout(self.handle)).ok()
    }

    /// `C_InitPIN`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn init_pin(&self, pin: &str) -> Result<(), Rv> {
        let length = pin.len() as CK_ULONG;
        call!(
            self.module,
            C_InitPIN(self.handle, pin.as_ptr().cast_mut(), length)
        )
        .ok()
    }

    /// `C_SetPIN`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn set_pin(&self, old: &str, new: &str) -> Result<(), Rv> {
        call!(
            self.module,
            C_SetPIN(
                self.handle,
                old.as_ptr().cast_mut(),
                old.len() as CK_ULONG,
                new.as_ptr().cast_mut(),
                new.len() as CK_ULONG,
            )
        )
        .ok()
    }

    /// `C_CreateObject`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn create(&self, template: &Template) -> Result<CK_OBJECT_HANDLE, Rv> {
        let mut object: CK_OBJECT_HANDLE = 0;
        template.laid_out(|array, count| {
            call!(
                self.module,
                C_CreateObject(self.handle, array, count, &raw mut object)
            )
            .ok()
        })?;
        Ok(object)
    }

    /// `C_CopyObject`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn copy(
        &self,
        source: CK_OBJECT_HANDLE,
        template: &Template,
    ) -> Result<CK_OBJECT_HANDLE, Rv> {
        let mut object: CK_OBJECT_HANDLE = 0;
        template.laid_out(|array, count| {
            call!(
                self.module,
                C_CopyObject(self.handle, source, array, count, &raw mut object)
            )
            .ok()
        })?;
        Ok(object)
    }

    /// `C_DestroyObject`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn destroy(&self, object: CK_OBJECT_HANDLE) -> Result<(), Rv> {
        call!(self.module, C_DestroyObject(self.handle, object)).ok()
    }

    /// `C_GetObjectSize`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn object_size(&self, object: CK_OBJECT_HANDLE) -> Result<CK_ULONG, Rv> {
        let mut size: CK_ULONG = 0;
        call!(
            self.module,
            C_GetObjectSize(self.handle, object, &raw mut size)
        )
        .ok()?;
        Ok(size)
    }

    /// `C_SetAttributeValue`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn set(&self, object: CK_OBJECT_HANDLE, template: &Template) -> Result<(), Rv> {
        template.laid_out(|array, count| {
            call!(
                self.module,
                C_SetAttributeValue(self.handle, object, array, count)
            )
            .ok()
        })
    }

    /// One `C_GetAttributeValue` with a buffer of the given size for each attribute (none: a null pointer).
    pub fn read(
        &self,
        object: CK_OBJECT_HANDLE,
        wanted: &[(CK_ATTRIBUTE_TYPE, Option<usize>)],
    ) -> (Rv, Vec<Read>) {
        let mut buffers: Vec<Vec<u8>> = wanted
            .iter()
            .map(|(_, size)| vec![0xa5; size.unwrap_or(0)])
            .collect();
        let mut array: Vec<CK_ATTRIBUTE> = wanted
            .iter()
            .zip(&mut buffers)
            .map(|((kind, size), buffer)| CK_ATTRIBUTE {
                type_: *kind,
                pValue: if size.is_some() {
                    buffer.as_mut_ptr().cast()
                } else {
                    null_mut()
                },
                ulValueLen: buffer.len() as CK_ULONG,
            })
            .collect();
        let count = array.len() as CK_ULONG;
        let code = call!(
            self.module,
            C_GetAttributeValue(self.handle, object, array.as_mut_ptr(), count)
        );
        let reads = array
            .iter()
            .zip(buffers)
            .map(|(attribute, bytes)| Read {
                length: attribute.ulValueLen,
                bytes,
            })
            .collect();
        (code, reads)
    }

    /// The value of one attribute, by the usual two calls.
    ///
    /// # Errors
    /// What the module answers.
    pub fn attribute(
        &self,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<Vec<u8>, Rv> {
        let (code, sizes) = self.read(object, &[(kind, None)]);
        code.ok()?;
        let size = sizes[0].length as usize;
        let (code, mut values) = self.read(object, &[(kind, Some(size))]);
        code.ok()?;
        let mut value = values.remove(0);
        value.bytes.truncate(value.length as usize);
        Ok(value.bytes)
    }

    /// A boolean attribute.
    ///
    /// # Errors
    /// What the module answers.
    pub fn flag(&self, object: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE) -> Result<bool, Rv> {
        let bytes = self.attribute(object, kind)?;
        assert_eq!(bytes.len(), 1, "attribute {kind:#x} is a CK_BBOOL");
        Ok(bytes[0] != CK_FALSE)
    }

    /// A numeric attribute.
    ///
    /// # Errors
    /// What the module answers.
    pub fn number(
        &self,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<CK_ULONG, Rv> {
        let bytes = self.attribute(object, kind)?;
        let bytes: [u8; 8] = bytes
            .try_into()
            .unwrap_or_else(|other| panic!("{kind:#x} is no CK_ULONG: {other:?}"));
        Ok(CK_ULONG::from_ne_bytes(bytes))
    }

    /// `C_FindObjectsInit`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn find_init(&self, template: &Template) -> Result<(), Rv> {
        template.laid_out(|array, count| {
            call!(self.module, C_FindObjectsInit(self.handle, array, count)).ok()
        })
    }

    /// `C_FindObjects` for at most `most`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn find_next(&self, most: usize) -> Result<Vec<CK_OBJECT_HANDLE>, Rv> {
        let mut objects = vec![0; most];
        let mut count: CK_ULONG = 0;
        let pointer = objects.as_mut_ptr();
        call!(
            self.module,
            C_FindObjects(self.handle, pointer, most as CK_ULONG, &raw mut count)
        )
        .ok()?;
        assert!(
            count as usize <= most,
            "C_FindObjects tells more than it was asked for"
        );
        objects.truncate(count as usize);
        Ok(objects)
    }

    /// `C_FindObjectsFinal`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn find_final(&self) -> Result<(), Rv> {
        call!(self.module, C_FindObjectsFinal(self.handle)).ok()
    }

    /// A whole search, some objects a call.
    ///
    /// # Errors
    /// What the module answers.
    pub fn find(&self, template: &Template) -> Result<Vec<CK_OBJECT_HANDLE>, Rv> {
        self.find_init(template)?;
        let mut found = Vec::new();
        loop {
            let some = self.find_next(97)?;
            if some.is_empty() {
                break;
            }
            found.extend(some);
        }
        self.find_final()?;
        Ok(found)
    }

    /// `C_GenerateKey`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn generate(
        &self,
        mechanism: impl Into<Mechanism>,
        template: &Template,
    ) -> Result<CK_OBJECT_HANDLE, Rv> {
        let mut key: CK_OBJECT_HANDLE = 0;
        mechanism.into().laid_out(|mechanism| {
            template.laid_out(|array, count| {
                call!(
                    self.module,
                    C_GenerateKey(self.handle, mechanism, array, count, &raw mut key)
                )
                .ok()
            })
        })?;
        Ok(key)
    }

    /// `C_GenerateKeyPair`: public and private key.
    ///
    /// # Errors
    /// What the module answers.
    pub fn generate_pair(
        &self,
        mechanism: impl Into<Mechanism>,
        public: &Template,
        private: &Template,
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE), Rv> {
        let mut keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) = (0, 0);
        mechanism.into().laid_out(|mechanism| {
            public.laid_out(|publics, public_count| {
                private.laid_out(|privates, private_count| {
                    call!(
                        self.module,
                        C_GenerateKeyPair(
                            self.handle,
                            mechanism,
                            publics,
                            public_count,
                            privates,
                            private_count,
                            &raw mut keys.0,
                            &raw mut keys.1,
                        )
                    )
                    .ok()
                })
            })
        })?;
        Ok(keys)
    }

    /// `C_WrapKey` in two calls, length first.
    ///
    /// # Errors
    /// What the module answers.
    pub fn wrap(
        &self,
        mechanism: impl Into<Mechanism>,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> Result<Vec<u8>, Rv> {
        mechanism.into().laid_out(|mechanism| {
            let mut length: CK_ULONG = 0;
            let lengths = &raw mut length;
            call!(
                self.module,
                C_WrapKey(self.handle, mechanism, wrapping, key, null_mut(), lengths)
            )
            .ok()?;
            let mut wrapped = vec![0; length as usize];
            let buffer = wrapped.as_mut_ptr();
            let lengths = &raw mut length;
            call!(
                self.module,
                C_WrapKey(self.handle, mechanism, wrapping, key, buffer, lengths)
            )
            .ok()?;
            wrapped.truncate(length as usize);
            Ok(wrapped)
        })
    }

    /// `C_WrapKey` into a buffer of `room` bytes; tells the length that came back.
    pub fn wrap_into(
        &self,
        mechanism: impl Into<Mechanism>,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        room: usize,
    ) -> (Rv, usize) {
        let mut wrapped = vec![0; room];
        let mut length = room as CK_ULONG;
        let buffer = wrapped.as_mut_ptr();
        let code = mechanism.into().laid_out(|mechanism| {
            call!(
                self.module,
                C_WrapKey(
                    self.handle,
                    mechanism,
                    wrapping,
                    key,
                    buffer,
                    &raw mut length
                )
            )
        });
        (code, length as usize)
    }

    /// `C_UnwrapKey`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn unwrap(
        &self,
        mechanism: impl Into<Mechanism>,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &Template,
    ) -> Result<CK_OBJECT_HANDLE, Rv> {
        let mut key: CK_OBJECT_HANDLE = 0;
        mechanism.into().laid_out(|mechanism| {
            template.laid_out(|array, count| {
                call!(
                    self.module,
                    C_UnwrapKey(
                        self.handle,
                        mechanism,
                        unwrapping,
                        wrapped.as_ptr().cast_mut(),
                        wrapped.len() as CK_ULONG,
                        array,
                        count,
                        &raw mut key,
                    )
                )
                .ok()
            })
        })?;
        Ok(key)
    }

    /// `C_DeriveKey`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn derive(
        &self,
        mechanism: impl Into<Mechanism>,
        base: CK_OBJECT_HANDLE,
        template: &Template,
    ) -> Result<CK_OBJECT_HANDLE, Rv> {
        let mut key: CK_OBJECT_HANDLE = 0;
        mechanism.into().laid_out(|mechanism| {
            template.laid_out(|array, count| {
                call!(
                    self.module,
                    C_DeriveKey(self.handle, mechanism, base, array, count, &raw mut key)
                )
                .ok()
            })
        })?;
        Ok(key)
    }

    /// `C_GenerateRandom`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn random(&self, length: usize) -> Result<Vec<u8>, Rv> {
        let mut bytes = vec![0; length];
        let buffer = bytes.as_mut_ptr();
        call!(
            self.module,
            C_GenerateRandom(self.handle, buffer, length as CK_ULONG)
        )
        .ok()?;
        Ok(bytes)
    }

    /// `C_SeedRandom`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn seed(&self, seed: &[u8]) -> Result<(), Rv> {
        let length = seed.len() as CK_ULONG;
        call!(
            self.module,
            C_SeedRandom(self.handle, seed.as_ptr().cast_mut(), length)
        )
        .ok()
    }
}
