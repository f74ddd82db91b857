//! The module under measurement, as C sees it.
//!
//! What lives here: loading a module by its path, and one thin method for each function that a case calls.
//! What must never live here: a case, a clock, or an allocation that an application in C would not make for the same call.
//! Who calls it: the cases.
//!
//! The calls are raw because wrappers ask for the length of every output first: that doubles the calls and hides what is measured.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cryptoki_sys::*;

use crate::mechanism::Mechanism;
use crate::template::Template;

/// Why a case has no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The module refused a call: the function, and its return value.
    Refused(&'static str, CK_RV),
    /// The module answered wrongly.
    Wrong(String),
    /// The measurement itself could not be made.
    Broken(String),
}

impl Failure {
    /// Whether the module only lacks what is asked for.
    pub(crate) const fn is_lack(&self) -> bool {
        matches!(
            self,
            Self::Refused(
                _,
                CKR_MECHANISM_INVALID
                    | CKR_MECHANISM_PARAM_INVALID
                    | CKR_FUNCTION_NOT_SUPPORTED
                    | CKR_CURVE_NOT_SUPPORTED
                    | CKR_KEY_SIZE_RANGE
            )
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(function, code) => write!(out, "{function}: return value {code:#x}"),
            Self::Wrong(what) | Self::Broken(what) => out.write_str(what),
        }
    }
}

/// What a step of a case comes to.
pub(crate) type Outcome<T> = Result<T, Failure>;

fn judged(function: &'static str, code: CK_RV) -> Outcome<()> {
    if code == CKR_OK {
        Ok(())
    } else {
        Err(Failure::Refused(function, code))
    }
}

/// Calls one function of the 2.40 list.
macro_rules! call {
    ($module:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        match $module.list.$name {
            // SAFETY: the pointer came from the module's own list, and the arguments follow the prototype of the standard; each
            // pointer among them is to memory that outlives the call.
            Some(function) => judged(stringify!($name), unsafe { function($($argument),*) }),
            None => Err(Failure::Refused(stringify!($name), CKR_FUNCTION_NOT_SUPPORTED)),
        }
    }};
}

/// Makes the function of an operation that turns data into an output; it answers the bytes written.
macro_rules! transformation {
    ($name:ident: $init:ident, $run:ident) => {
        #[doc = concat!("`", stringify!($init), "` and `", stringify!($run), "`; answers the bytes written.")]
        pub(crate) fn $name(
            &self,
            kind: &Mechanism,
            key: CK_ULONG,
            data: &[u8],
            out: &mut [u8],
        ) -> Outcome<usize> {
            kind.laid_out(|mechanism| call!(self.module, $init(self.handle, mechanism, key)))?;
            let mut written = length(out);
            call!(
                self.module,
                $run(
                    self.handle,
                    input(data),
                    length(data),
                    out.as_mut_ptr(),
                    &raw mut written
                )
            )?;
            Ok(usize::try_from(written).unwrap_or(0))
        }
    };
}

/// A loaded module; never unloaded.
#[derive(Clone, Copy)]
pub(crate) struct Module {
    list: &'static CK_FUNCTION_LIST,
}

fn length(bytes: &[u8]) -> CK_ULONG {
    bytes.len() as CK_ULONG
}

/// PKCS#11 takes input through pointers that are not const; it does not write there.
fn input(bytes: &[u8]) -> *mut u8 {
    bytes.as_ptr().cast_mut()
}

impl Module {
    /// Loads and initialises a module.
    pub(crate) fn load(path: &Path) -> Outcome<Self> {
        let broken = |what: &str| Failure::Broken(format!("{}: {what}", path.display()));
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| broken("the path has a NUL byte"))?;
        // SAFETY: the name is a C string; loading runs the constructors of a module that the user named.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err(broken(&loader_error()));
        }
        // SAFETY: the handle is live; the name is a C string.
        let address = unsafe { libc::dlsym(library, c"C_GetFunctionList".as_ptr()) };
        if address.is_null() {
            return Err(broken("no PKCS#11 module"));
        }
        // SAFETY: PKCS#11 fixes the prototype of the symbol of this name.
        let function = unsafe {
            core::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV,
            >(address)
        };
        let mut list: *mut CK_FUNCTION_LIST = null_mut();
        // SAFETY: the argument points to a local that outlives the call.
        judged("C_GetFunctionList", unsafe { function(&raw mut list) })?;
        // SAFETY: on success it is null or a static of the module, which is never unloaded.
        let list = unsafe { list.as_ref() }.ok_or_else(|| broken("no function list"))?;
        let module = Self { list };
        let mut arguments = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: null_mut(),
        };
        call!(module, C_Initialize((&raw mut arguments).cast()))?;
        Ok(module)
    }

    /// `C_Finalize`.
    pub(crate) fn finalize(&self) -> Outcome<()> {
        call!(self, C_Finalize(null_mut()))
    }

    /// What the library says it is, and its version.
    pub(crate) fn about(&self) -> Outcome<String> {
        let mut info = CK_INFO::default();
        call!(self, C_GetInfo(&raw mut info))?;
        let version = info.libraryVersion;
        let name = String::from_utf8_lossy(&info.libraryDescription);
        Ok(format!(
            "{} {}.{}",
            name.trim_end(),
            version.major,
            version.minor
        ))
    }

    fn slots(&self) -> Outcome<Vec<(CK_SLOT_ID, CK_TOKEN_INFO)>> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetSlotList(CK_TRUE, null_mut(), &raw mut count))?;
        let mut slots = vec![0; usize::try_from(count).unwrap_or(0)];
        call!(
            self,
            C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count)
        )?;
        let mut found = Vec::new();
        for slot in slots {
            let mut info = CK_TOKEN_INFO::default();
            call!(self, C_GetTokenInfo(slot, &raw mut info))?;
            found.push((slot, info));
        }
        Ok(found)
    }

    /// The slot of the token of this label; it is made when there is none.
    pub(crate) fn token(&self, label: &str) -> Outcome<CK_SLOT_ID> {
        if let Some(slot) = self.slot_labelled(label)? {
            return Ok(slot);
        }
        let free = self
            .slots()?
            .into_iter()
            .find(|(_, info)| info.flags & CKF_TOKEN_INITIALIZED == 0)
            .map(|(slot, _)| slot)
            .ok_or_else(|| Failure::Broken("no slot is free for a token".to_owned()))?;
        let mut padded = [b' '; 32];
        for (place, byte) in padded.iter_mut().zip(label.bytes()) {
            *place = byte;
        }
        let pin = SO_PIN.as_bytes();
        call!(
            self,
            C_InitToken(free, input(pin), length(pin), padded.as_mut_ptr())
        )?;
        let slot = self
            .slot_labelled(label)?
            .ok_or_else(|| Failure::Wrong("the new token is not there".to_owned()))?;
        let session = Session::open(self, slot)?;
        session.login_as(CKU_SO, SO_PIN)?;
        let pin = USER_PIN.as_bytes();
        call!(self, C_InitPIN(session.handle, input(pin), length(pin)))?;
        session.logout()?;
        session.close()?;
        Ok(slot)
    }

    fn slot_labelled(&self, label: &str) -> Outcome<Option<CK_SLOT_ID>> {
        let is_it = |info: &CK_TOKEN_INFO| {
            info.flags & CKF_TOKEN_INITIALIZED != 0
                && String::from_utf8_lossy(&info.label).trim_end() == label
        };
        let slots = self.slots()?;
        Ok(slots
            .iter()
            .find(|(_, info)| is_it(info))
            .map(|(slot, _)| *slot))
    }
}

/// A session; closed when the process ends.
#[derive(Clone, Copy)]
pub(crate) struct Session<'m> {
    module: &'m Module,
    handle: CK_SESSION_HANDLE,
}

impl<'m> Session<'m> {
    /// Opens a read-write session.
    pub(crate) fn open(module: &'m Module, slot: CK_SLOT_ID) -> Outcome<Self> {
        let mut handle = 0;
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        call!(
            module,
            C_OpenSession(slot, flags, null_mut(), None, &raw mut handle)
        )?;
        Ok(Self { module, handle })
    }

    /// `C_CloseSession`.
    pub(crate) fn close(&self) -> Outcome<()> {
        call!(self.module, C_CloseSession(self.handle))
    }

    fn login_as(&self, user: CK_USER_TYPE, pin: &str) -> Outcome<()> {
        let pin = pin.as_bytes();
        call!(
            self.module,
            C_Login(self.handle, user, input(pin), length(pin))
        )
    }

    /// `C_Login` of the user.
    pub(crate) fn login(&self) -> Outcome<()> {
        self.login_as(CKU_USER, USER_PIN)
    }

    /// `C_Logout`.
    pub(crate) fn logout(&self) -> Outcome<()> {
        call!(self.module, C_Logout(self.handle))
    }

    /// `C_GenerateKey`.
    pub(crate) fn generate(&self, kind: &Mechanism, template: &Template) -> Outcome<CK_ULONG> {
        let mut key = 0;
        template.laid_out(|array, count| {
            kind.laid_out(|mechanism| {
                call!(
                    self.module,
                    C_GenerateKey(self.handle, mechanism, array, count, &raw mut key)
                )
            })
        })?;
        Ok(key)
    }

    /// `C_GenerateKeyPair`: public and private.
    pub(crate) fn generate_pair(
        &self,
        kind: &Mechanism,
        public: &Template,
        private: &Template,
    ) -> Outcome<(CK_ULONG, CK_ULONG)> {
        let (mut first, mut second) = (0, 0);
        public.laid_out(|open, opens| {
            private.laid_out(|shut, shuts| {
                kind.laid_out(|mechanism| {
                    call!(
                        self.module,
                        C_GenerateKeyPair(
                            self.handle,
                            mechanism,
                            open,
                            opens,
                            shut,
                            shuts,
                            &raw mut first,
                            &raw mut second
                        )
                    )
                })
            })
        })?;
        Ok((first, second))
    }

    /// `C_CreateObject`.
    pub(crate) fn create(&self, template: &Template) -> Outcome<CK_ULONG> {
        let mut object = 0;
        template.laid_out(|array, count| {
            call!(
                self.module,
                C_CreateObject(self.handle, array, count, &raw mut object)
            )
        })?;
        Ok(object)
    }

    /// `C_DestroyObject`.
    pub(crate) fn destroy(&self, object: CK_ULONG) -> Outcome<()> {
        call!(self.module, C_DestroyObject(self.handle, object))
    }

    /// The whole search, for up to 16 objects: Init, Find, Final.
    pub(crate) fn find(&self, template: &Template) -> Outcome<Vec<CK_ULONG>> {
        template.laid_out(|array, count| {
            call!(self.module, C_FindObjectsInit(self.handle, array, count))
        })?;
        let (mut found, mut number) = ([0; 16], 0);
        call!(
            self.module,
            C_FindObjects(self.handle, found.as_mut_ptr(), 16, &raw mut number)
        )?;
        call!(self.module, C_FindObjectsFinal(self.handle))?;
        let number = usize::try_from(number).unwrap_or(0);
        Ok(found.into_iter().take(number).collect())
    }

    /// `C_GetAttributeValue` into the values of the template: their lengths are the room there is, and become what was written.
    pub(crate) fn attributes(&self, object: CK_ULONG, template: &mut Template) -> Outcome<()> {
        template.filled(|array, count| {
            call!(
                self.module,
                C_GetAttributeValue(self.handle, object, array, count)
            )
        })
    }

    /// `C_SetAttributeValue`.
    pub(crate) fn set_attributes(&self, object: CK_ULONG, template: &Template) -> Outcome<()> {
        template.laid_out(|array, count| {
            call!(
                self.module,
                C_SetAttributeValue(self.handle, object, array, count)
            )
        })
    }

    transformation!(sign: C_SignInit, C_Sign);

    /// `C_VerifyInit` and `C_Verify`.
    pub(crate) fn verify(
        &self,
        kind: &Mechanism,
        key: CK_ULONG,
        data: &[u8],
        signature: &[u8],
    ) -> Outcome<()> {
        kind.laid_out(|mechanism| call!(self.module, C_VerifyInit(self.handle, mechanism, key)))?;
        call!(
            self.module,
            C_Verify(
                self.handle,
                input(data),
                length(data),
                input(signature),
                length(signature)
            )
        )
    }

    transformation!(encrypt: C_EncryptInit, C_Encrypt);

    transformation!(decrypt: C_DecryptInit, C_Decrypt);

    /// `C_DigestInit` and `C_Digest`.
    pub(crate) fn digest(&self, kind: &Mechanism, data: &[u8], out: &mut [u8]) -> Outcome<usize> {
        kind.laid_out(|mechanism| call!(self.module, C_DigestInit(self.handle, mechanism)))?;
        let mut written = length(out);
        call!(
            self.module,
            C_Digest(
                self.handle,
                input(data),
                length(data),
                out.as_mut_ptr(),
                &raw mut written
            )
        )?;
        Ok(usize::try_from(written).unwrap_or(0))
    }

    /// `C_GenerateRandom`.
    pub(crate) fn random(&self, out: &mut [u8]) -> Outcome<()> {
        let room = length(out);
        call!(
            self.module,
            C_GenerateRandom(self.handle, out.as_mut_ptr(), room)
        )
    }

    /// `C_WrapKey`; answers the bytes written.
    pub(crate) fn wrap(
        &self,
        kind: &Mechanism,
        wrapping: CK_ULONG,
        key: CK_ULONG,
        out: &mut [u8],
    ) -> Outcome<usize> {
        let mut written = length(out);
        kind.laid_out(|mechanism| {
            call!(
                self.module,
                C_WrapKey(
                    self.handle,
                    mechanism,
                    wrapping,
                    key,
                    out.as_mut_ptr(),
                    &raw mut written
                )
            )
        })?;
        Ok(usize::try_from(written).unwrap_or(0))
    }

    /// `C_UnwrapKey`.
    pub(crate) fn unwrap_key(
        &self,
        kind: &Mechanism,
        unwrapping: CK_ULONG,
        wrapped: &[u8],
        template: &Template,
    ) -> Outcome<CK_ULONG> {
        let mut key = 0;
        template.laid_out(|array, count| {
            kind.laid_out(|mechanism| {
                call!(
                    self.module,
                    C_UnwrapKey(
                        self.handle,
                        mechanism,
                        unwrapping,
                        input(wrapped),
                        length(wrapped),
                        array,
                        count,
                        &raw mut key
                    )
                )
            })
        })?;
        Ok(key)
    }

    /// `C_DeriveKey`.
    pub(crate) fn derive(
        &self,
        kind: &Mechanism,
        base: CK_ULONG,
        template: &Template,
    ) -> Outcome<CK_ULONG> {
        let mut key = 0;
        template.laid_out(|array, count| {
            kind.laid_out(|mechanism| {
                call!(
                    self.module,
                    C_DeriveKey(self.handle, mechanism, base, array, count, &raw mut key)
                )
            })
        })?;
        Ok(key)
    }
}

fn loader_error() -> String {
    // SAFETY: dlerror takes nothing; its answer stays until the next loader call of this thread.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "no reason told".to_owned();
    }
    // SAFETY: a C string of the loader, copied at once.
    unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned()
}

/// PINs of tokens that the measurement makes for itself.
const SO_PIN: &str = "officer-12345678";
const USER_PIN: &str = "user-12345678";
