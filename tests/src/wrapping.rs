//! Authenticated wrapping, through the list of 3.2.
//!
//! What lives here: the structures of AES-GCM with memory that the module may write to, and the two functions.
//! What must never live here: which parameters are good; many tests pass bad ones.
//! Who calls it: the tests of wrapping and of releases.

use core::ptr::null_mut;

use cryptoki_sys::*;

use crate::mechanism::Mechanism;
use crate::rv::Rv;
use crate::session::Session;
use crate::template::Template;

/// `CK_GCM_WRAP_PARAMS`.
#[derive(Clone, Debug)]
pub struct GcmWrap {
    /// Initialisation vector; what the module wrote into it, after a wrap.
    pub iv: Vec<u8>,
    /// How many leading bits stay.
    pub fixed_bits: CK_ULONG,
    /// `CKG_…`.
    pub generator: CK_GENERATOR_FUNCTION,
    /// Additional data.
    pub aad: Vec<u8>,
    /// Bits of the tag.
    pub tag_bits: CK_ULONG,
}

impl GcmWrap {
    /// With a full tag and without additional data.
    #[must_use]
    pub fn new(iv: &[u8], fixed_bits: CK_ULONG, generator: CK_GENERATOR_FUNCTION) -> Self {
        Self {
            iv: iv.to_vec(),
            fixed_bits,
            generator,
            aad: Vec::new(),
            tag_bits: 128,
        }
    }
}

/// `CK_GCM_MESSAGE_PARAMS`, which the authenticated functions take (PKCS#11 3.2, 6.13.3).
#[derive(Clone, Debug)]
pub struct GcmMessage {
    /// Initialisation vector; what the module wrote into it, after a wrap.
    pub iv: Vec<u8>,
    /// How many leading bits stay.
    pub fixed_bits: CK_ULONG,
    /// `CKG_…`.
    pub generator: CK_GENERATOR_FUNCTION,
    /// The tag: written by a wrap, read by its opposite.
    pub tag: Vec<u8>,
    /// Bits of the tag.
    pub tag_bits: CK_ULONG,
}

impl GcmMessage {
    /// With the caller's vector and a full tag.
    #[must_use]
    pub fn new(iv: &[u8]) -> Self {
        Self::generated(iv, 0, CKG_NO_GENERATE)
    }

    /// With a full tag.
    #[must_use]
    pub fn generated(iv: &[u8], fixed_bits: CK_ULONG, generator: CK_GENERATOR_FUNCTION) -> Self {
        Self {
            iv: iv.to_vec(),
            fixed_bits,
            generator,
            tag: vec![0; 16],
            tag_bits: 128,
        }
    }
}

impl LaidOut for GcmMessage {
    fn lay_out(&mut self, action: &mut dyn FnMut(*mut CK_MECHANISM) -> Rv) -> Rv {
        let mut parameter = CK_GCM_MESSAGE_PARAMS {
            pIv: self.iv.as_mut_ptr(),
            ulIvLen: self.iv.len() as CK_ULONG,
            ulIvFixedBits: self.fixed_bits,
            ivGenerator: self.generator,
            pTag: self.tag.as_mut_ptr(),
            ulTagBits: self.tag_bits,
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: (&raw mut parameter).cast(),
            ulParameterLen: size_of_val(&parameter) as CK_ULONG,
        };
        action(&raw mut mechanism)
    }
}

/// What a wrap may be told by.
pub trait LaidOut {
    /// Calls `action` with the C structure, which lives as long as the call.
    fn lay_out(&mut self, action: &mut dyn FnMut(*mut CK_MECHANISM) -> Rv) -> Rv;
}

impl LaidOut for Mechanism {
    fn lay_out(&mut self, action: &mut dyn FnMut(*mut CK_MECHANISM) -> Rv) -> Rv {
        self.laid_out(action)
    }
}

impl LaidOut for GcmWrap {
    fn lay_out(&mut self, action: &mut dyn FnMut(*mut CK_MECHANISM) -> Rv) -> Rv {
        let mut parameter = CK_GCM_WRAP_PARAMS {
            pIv: self.iv.as_mut_ptr(),
            ulIvLen: self.iv.len() as CK_ULONG,
            ulIvFixedBits: self.fixed_bits,
            ivGenerator: self.generator,
            pAAD: self.aad.as_mut_ptr(),
            ulAADLen: self.aad.len() as CK_ULONG,
            ulTagBits: self.tag_bits,
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: (&raw mut parameter).cast(),
            ulParameterLen: size_of_val(&parameter) as CK_ULONG,
        };
        action(&raw mut mechanism)
    }
}

impl LaidOut for &mut dyn LaidOut {
    fn lay_out(&mut self, action: &mut dyn FnMut(*mut CK_MECHANISM) -> Rv) -> Rv {
        (**self).lay_out(action)
    }
}

/// The room of a wrap: none asks for the length.
pub type Room<'b> = Option<&'b mut [u8]>;

impl Session<'_> {
    /// `C_WrapKeyAuthenticated` into a buffer; tells the length that came back, or that was there.
    pub fn wrap_authenticated_into(
        &self,
        how: &mut impl LaidOut,
        keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
        associated: &[u8],
        room: Room<'_>,
    ) -> (Rv, usize) {
        let list = self.module.table_3_2().expect("the interface of 3.2");
        let function = list.C_WrapKeyAuthenticated.expect("it is in the list");
        let mut length = room.as_ref().map_or(0, |room| room.len() as CK_ULONG);
        let buffer = room.map_or(null_mut(), <[u8]>::as_mut_ptr);
        let (start, bytes) = bytes_of(associated);
        let code = how.lay_out(&mut |mechanism| {
            let lengths = &raw mut length;
            // SAFETY: the function came from the module's own list; the mechanism, the data and the buffer outlive the call and have the
            // lengths told beside them.
            Rv(unsafe {
                function(
                    self.handle,
                    mechanism,
                    keys.0,
                    keys.1,
                    start,
                    bytes,
                    buffer,
                    lengths,
                )
            })
        });
        (code, length as usize)
    }

    /// `C_WrapKeyAuthenticated`, the length first: the wrapping key, then the one to be wrapped.
    ///
    /// # Errors
    /// What the module answers.
    pub fn wrap_authenticated(
        &self,
        how: &mut impl LaidOut,
        keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
        associated: &[u8],
    ) -> Result<Vec<u8>, Rv> {
        let (code, length) = self.wrap_authenticated_into(how, keys, associated, None);
        code.ok()?;
        let mut wrapped = vec![0; length];
        let room = Some(&mut wrapped[..]);
        let (code, length) = self.wrap_authenticated_into(how, keys, associated, room);
        code.ok()?;
        wrapped.truncate(length);
        Ok(wrapped)
    }

    /// `C_UnwrapKeyAuthenticated`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn unwrap_authenticated(
        &self,
        how: &mut impl LaidOut,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        associated: &[u8],
        template: &Template,
    ) -> Result<CK_OBJECT_HANDLE, Rv> {
        let list = self.module.table_3_2().expect("the interface of 3.2");
        let function = list.C_UnwrapKeyAuthenticated.expect("it is in the list");
        let mut key: CK_OBJECT_HANDLE = 0;
        let (start, bytes) = bytes_of(associated);
        let code = how.lay_out(&mut |mechanism| {
            template.laid_out(|array, count| {
                // SAFETY: the function came from the module's own list; the mechanism, the data and the template outlive the call and have
                // the lengths told beside them.
                Rv(unsafe {
                    function(
                        self.handle,
                        mechanism,
                        unwrapping,
                        wrapped.as_ptr().cast_mut(),
                        wrapped.len() as CK_ULONG,
                        array,
                        count,
                        start,
                        bytes,
                        &raw mut key,
                    )
                })
            })
        });
        code.ok()?;
        Ok(key)
    }
}

/// Associated data as C has them: none is NULL.
fn bytes_of(associated: &[u8]) -> (*mut u8, CK_ULONG) {
    if associated.is_empty() {
        (null_mut(), 0)
    } else {
        (associated.as_ptr().cast_mut(), associated.len() as CK_ULONG)
    }
}
