//! The PKCS#11 module, as Rust.
//!
//! What lives here: loading it by its path, and a method for each function that the plug-in needs. Bytes go in and come out as slices
//! and vectors; no pointer of ours is kept by the module beyond a call.
//! What must never live here: what to do about a refusal (`token`), and which objects there are (`keyring`).
//! Who calls it: `token` and `keyring`.

use core::ffi::{CStr, c_void};
use core::fmt;
use core::ptr::null_mut;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cryptoki_sys::*;
use zeroize::Zeroizing;

/// What a function of the module answered instead of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    function: &'static str,
    code: CK_RV,
}

/// What a refusal means for whoever wanted something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The token, the session or the login is gone: a new connection may help, and waiting may.
    Lost,
    /// The PIN is wrong, locked or not set: another try with it would only cost a try.
    Pin,
    /// The key or object is not there any more.
    Gone,
    /// It will be the same next time.
    Final,
}

impl Refused {
    /// What it means.
    pub(crate) const fn meaning(&self) -> Meaning {
        match self.code {
            CKR_CRYPTOKI_NOT_INITIALIZED
            | CKR_DEVICE_ERROR
            | CKR_DEVICE_MEMORY
            | CKR_DEVICE_REMOVED
            | CKR_FUNCTION_FAILED
            | CKR_GENERAL_ERROR
            | CKR_HOST_MEMORY
            | CKR_OPERATION_NOT_INITIALIZED
            | CKR_SESSION_CLOSED
            | CKR_SESSION_COUNT
            | CKR_SESSION_HANDLE_INVALID
            | CKR_SLOT_ID_INVALID
            | CKR_TOKEN_NOT_PRESENT
            | CKR_TOKEN_NOT_RECOGNIZED
            | CKR_USER_NOT_LOGGED_IN => Meaning::Lost,
            CKR_PIN_EXPIRED
            | CKR_PIN_INCORRECT
            | CKR_PIN_INVALID
            | CKR_PIN_LEN_RANGE
            | CKR_PIN_LOCKED
            | CKR_USER_PIN_NOT_INITIALIZED => Meaning::Pin,
            CKR_KEY_HANDLE_INVALID | CKR_OBJECT_HANDLE_INVALID => Meaning::Gone,
            _ => Meaning::Final,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.code {
            CKR_DEVICE_ERROR => "CKR_DEVICE_ERROR",
            CKR_DEVICE_REMOVED => "CKR_DEVICE_REMOVED",
            CKR_ENCRYPTED_DATA_INVALID => "CKR_ENCRYPTED_DATA_INVALID",
            CKR_GENERAL_ERROR => "CKR_GENERAL_ERROR",
            CKR_KEY_FUNCTION_NOT_PERMITTED => "CKR_KEY_FUNCTION_NOT_PERMITTED",
            CKR_KEY_HANDLE_INVALID => "CKR_KEY_HANDLE_INVALID",
            CKR_MECHANISM_INVALID => "CKR_MECHANISM_INVALID",
            CKR_PIN_INCORRECT => "CKR_PIN_INCORRECT",
            CKR_PIN_LOCKED => "CKR_PIN_LOCKED",
            CKR_SESSION_HANDLE_INVALID => "CKR_SESSION_HANDLE_INVALID",
            CKR_TOKEN_NOT_PRESENT => "CKR_TOKEN_NOT_PRESENT",
            CKR_USER_NOT_LOGGED_IN => "CKR_USER_NOT_LOGGED_IN",
            CKR_USER_PIN_NOT_INITIALIZED => "CKR_USER_PIN_NOT_INITIALIZED",
            other => return write!(out, "{} answered {other:#x}", self.function),
        };
        write!(out, "{} answered {name}", self.function)
    }
}

/// How a key is used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cipher<'a> {
    /// `CKM_AES_ECB`.
    Ecb,
    /// `CKM_AES_CBC`.
    Cbc(&'a [u8; 16]),
    /// `CKM_AES_GCM` with a tag of 128 bits: the nonce, and what is authenticated besides.
    Gcm(&'a [u8; 12], &'a [u8]),
}

/// An object by its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(CK_OBJECT_HANDLE);

/// A slot by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(CK_SLOT_ID);

/// What an object must be to be found.
#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>);

impl Template {
    /// AES keys of the token.
    pub(crate) fn keys() -> Self {
        Self(vec![
            (CKA_CLASS, CKO_SECRET_KEY.to_ne_bytes().to_vec()),
            (CKA_KEY_TYPE, CKK_AES.to_ne_bytes().to_vec()),
            (CKA_TOKEN, vec![CK_TRUE]),
        ])
    }

    /// Data of the token that an application put there.
    pub(crate) fn data(application: &str) -> Self {
        Self(vec![
            (CKA_CLASS, CKO_DATA.to_ne_bytes().to_vec()),
            (CKA_TOKEN, vec![CK_TRUE]),
            (CKA_APPLICATION, application.as_bytes().to_vec()),
        ])
    }

    /// With a label.
    pub(crate) fn labelled(mut self, label: &str) -> Self {
        self.0.push((CKA_LABEL, label.as_bytes().to_vec()));
        self
    }

    /// Private, with a value: for making one.
    pub(crate) fn holding(mut self, value: &[u8]) -> Self {
        self.0.push((CKA_PRIVATE, vec![CK_TRUE]));
        self.0.push((CKA_VALUE, value.to_vec()));
        self
    }

    fn laid_out(&self) -> Vec<CK_ATTRIBUTE> {
        let attribute = |(kind, value): &(CK_ATTRIBUTE_TYPE, Vec<u8>)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: input(value).cast(),
            ulValueLen: length(value),
        };
        self.0.iter().map(attribute).collect()
    }
}

/// A loaded and initialised module. It stays loaded: modules do not like to be unloaded.
#[derive(Clone, Copy)]
pub(crate) struct Library {
    list: &'static CK_FUNCTION_LIST,
    /// Whether it was initialised here and not by another plug-in of the same server.
    own: bool,
}

fn length(bytes: &[u8]) -> CK_ULONG {
    bytes.len() as CK_ULONG
}

/// PKCS#11 takes input through pointers that are not const; it does not write there.
const fn input(bytes: &[u8]) -> *mut u8 {
    bytes.as_ptr().cast_mut()
}

fn judged(function: &'static str, code: CK_RV) -> Result<(), Refused> {
    if code == CKR_OK {
        Ok(())
    } else {
        Err(Refused { function, code })
    }
}

/// Calls one function of the 2.40 list.
macro_rules! call {
    ($library:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        match $library.list.$name {
            // SAFETY: the pointer is from the module's own list, and the arguments follow the prototype of the standard; each pointer
            // among them is to memory that outlives the call.
            Some(function) => judged(stringify!($name), unsafe { function($($argument),*) }),
            None => judged(stringify!($name), CKR_FUNCTION_NOT_SUPPORTED),
        }
    }};
}

impl Library {
    /// Loads and initialises a module.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let wrong = |what: &str| format!("the PKCS#11 module {}: {what}", path.display());
        let name =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| wrong("a NUL in its path"))?;
        // SAFETY: the name is a C string; the operator wants the constructors of this module to run.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err(wrong(&loader_error()));
        }
        // SAFETY: the handle is live, and the name is a C string.
        let address = unsafe { libc::dlsym(library, c"C_GetFunctionList".as_ptr()) };
        if address.is_null() {
            return Err(wrong("has no C_GetFunctionList"));
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
        let code = unsafe { function(&raw mut list) };
        judged("C_GetFunctionList", code).map_err(|refused| wrong(&refused.to_string()))?;
        // SAFETY: on success it is null or a static of the module, which stays loaded.
        let list = unsafe { list.as_ref() }.ok_or_else(|| wrong("has no function list"))?;
        Self { list, own: false }
            .initialized()
            .map_err(|refused| wrong(&refused.to_string()))
    }

    fn initialized(self) -> Result<Self, Refused> {
        let mut arguments = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: null_mut(),
        };
        match call!(self, C_Initialize((&raw mut arguments).cast())) {
            Err(refused) if refused.code == CKR_CRYPTOKI_ALREADY_INITIALIZED => Ok(self),
            answer => answer.map(|()| Self { own: true, ..self }),
        }
    }

    /// `C_Finalize`, where it was initialised here.
    pub(crate) fn finalize(&self) -> Result<(), Refused> {
        if self.own {
            call!(self, C_Finalize(null_mut()))
        } else {
            Ok(())
        }
    }

    /// The slot whose token has this label.
    pub(crate) fn slot_labelled(&self, label: &str) -> Result<Option<Slot>, Refused> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetSlotList(CK_TRUE, null_mut(), &raw mut count))?;
        let mut slots = vec![0; usize::try_from(count).unwrap_or(0)];
        call!(
            self,
            C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count)
        )?;
        slots.truncate(usize::try_from(count).unwrap_or(0));
        let mut trouble = None;
        for slot in slots {
            let mut info = CK_TOKEN_INFO::default();
            match call!(self, C_GetTokenInfo(slot, &raw mut info)) {
                // Another slot may be empty or broken without harm.
                Err(refused) => trouble = Some(refused),
                Ok(()) if info.flags & CKF_TOKEN_INITIALIZED == 0 => {}
                Ok(()) if String::from_utf8_lossy(&info.label).trim_end() == label => {
                    return Ok(Some(Slot(slot)));
                }
                Ok(()) => {}
            }
        }
        trouble.map_or(Ok(None), Err)
    }
}

fn loader_error() -> String {
    // SAFETY: the function takes nothing; its text belongs to this thread until the next call of the loader.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "cannot be loaded".to_owned();
    }
    // SAFETY: a C string of the loader, read before anything else calls it.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// What a session may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing.
    Read,
    /// Objects of the token.
    Write,
}

/// A session; closed when it is dropped.
pub(crate) struct Session {
    library: Library,
    handle: CK_SESSION_HANDLE,
}

impl Session {
    /// `C_OpenSession`.
    pub(crate) fn open(library: Library, slot: Slot, reach: Reach) -> Result<Self, Refused> {
        let mut handle = 0;
        let write = match reach {
            Reach::Read => 0,
            Reach::Write => CKF_RW_SESSION,
        };
        call!(
            library,
            C_OpenSession(
                slot.0,
                CKF_SERIAL_SESSION | write,
                null_mut(),
                None,
                &raw mut handle
            )
        )?;
        Ok(Self { library, handle })
    }

    /// `C_Login` of the user; being logged in already is as good.
    pub(crate) fn login(&self, pin: &[u8]) -> Result<(), Refused> {
        match call!(
            self.library,
            C_Login(self.handle, CKU_USER, input(pin), length(pin))
        ) {
            Err(refused) if refused.code == CKR_USER_ALREADY_LOGGED_IN => Ok(()),
            answer => answer,
        }
    }

    /// Whether the user is logged in.
    pub(crate) fn is_logged_in(&self) -> Result<bool, Refused> {
        let mut info = CK_SESSION_INFO::default();
        call!(self.library, C_GetSessionInfo(self.handle, &raw mut info))?;
        Ok(matches!(
            info.state,
            CKS_RO_USER_FUNCTIONS | CKS_RW_USER_FUNCTIONS
        ))
    }

    /// All objects of a template.
    pub(crate) fn find(&self, template: &Template) -> Result<Vec<Handle>, Refused> {
        let mut attributes = template.laid_out();
        call!(
            self.library,
            C_FindObjectsInit(
                self.handle,
                attributes.as_mut_ptr(),
                attributes.len() as CK_ULONG
            )
        )?;
        let mut found = Vec::new();
        loop {
            let mut handles = [0; 64];
            let mut count = 0;
            call!(
                self.library,
                C_FindObjects(
                    self.handle,
                    handles.as_mut_ptr(),
                    handles.len() as CK_ULONG,
                    &raw mut count
                )
            )?;
            if count == 0 {
                break;
            }
            let count = usize::try_from(count).unwrap_or(0);
            found.extend(handles.iter().take(count).map(|handle| Handle(*handle)));
        }
        call!(self.library, C_FindObjectsFinal(self.handle))?;
        Ok(found)
    }

    /// The label of an object; none where it is longer than any of ours.
    pub(crate) fn label(&self, object: Handle) -> Result<Option<String>, Refused> {
        self.attribute(object, CKA_LABEL)
            .map(|bytes| bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// The value of a data object; none where it is longer than any of ours.
    pub(crate) fn value(&self, object: Handle) -> Result<Option<Vec<u8>>, Refused> {
        self.attribute(object, CKA_VALUE)
    }

    fn attribute(
        &self,
        object: Handle,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<Option<Vec<u8>>, Refused> {
        let mut room = vec![0_u8; 256];
        let mut attribute = CK_ATTRIBUTE {
            type_: kind,
            pValue: room.as_mut_ptr().cast(),
            ulValueLen: length(&room),
        };
        match call!(
            self.library,
            C_GetAttributeValue(self.handle, object.0, &raw mut attribute, 1)
        ) {
            Err(Refused {
                code: CKR_BUFFER_TOO_SMALL | CKR_ATTRIBUTE_TYPE_INVALID | CKR_ATTRIBUTE_SENSITIVE,
                ..
            }) => return Ok(None),
            answer => answer?,
        }
        room.truncate(usize::try_from(attribute.ulValueLen).unwrap_or(0));
        Ok(Some(room))
    }

    /// `C_CreateObject`.
    pub(crate) fn create(&self, template: &Template) -> Result<Handle, Refused> {
        let mut attributes = template.laid_out();
        let mut handle = 0;
        call!(
            self.library,
            C_CreateObject(
                self.handle,
                attributes.as_mut_ptr(),
                attributes.len() as CK_ULONG,
                &raw mut handle
            )
        )?;
        Ok(Handle(handle))
    }

    /// `C_DestroyObject`.
    pub(crate) fn destroy(&self, object: Handle) -> Result<(), Refused> {
        call!(self.library, C_DestroyObject(self.handle, object.0))
    }

    /// `C_GenerateRandom`.
    pub(crate) fn random(&self, out: &mut [u8]) -> Result<(), Refused> {
        call!(
            self.library,
            C_GenerateRandom(self.handle, out.as_mut_ptr(), length(out))
        )
    }

    /// `C_EncryptInit` and `C_Encrypt`.
    pub(crate) fn encrypt(
        &self,
        key: Handle,
        cipher: Cipher<'_>,
        data: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        with_mechanism(cipher, |mechanism| {
            call!(self.library, C_EncryptInit(self.handle, mechanism, key.0))
        })?;
        let mut out = vec![0; data.len() + 16];
        let mut written = length(&out);
        call!(
            self.library,
            C_Encrypt(
                self.handle,
                input(data),
                length(data),
                out.as_mut_ptr(),
                &raw mut written
            )
        )?;
        out.truncate(usize::try_from(written).unwrap_or(0));
        Ok(out)
    }

    /// `C_DecryptInit` and `C_Decrypt`.
    pub(crate) fn decrypt(
        &self,
        key: Handle,
        cipher: Cipher<'_>,
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        with_mechanism(cipher, |mechanism| {
            call!(self.library, C_DecryptInit(self.handle, mechanism, key.0))
        })?;
        let mut out = Zeroizing::new(vec![0; data.len() + 16]);
        let mut written = length(&out);
        call!(
            self.library,
            C_Decrypt(
                self.handle,
                input(data),
                length(data),
                out.as_mut_ptr(),
                &raw mut written
            )
        )?;
        out.truncate(usize::try_from(written).unwrap_or(0));
        Ok(out)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A session that is lost cannot be closed, and nothing is left to be done about it.
        let _ = call!(self.library, C_CloseSession(self.handle));
    }
}

/// Lays a cipher out as C has it, for the time of a call.
fn with_mechanism<R>(cipher: Cipher<'_>, call: impl FnOnce(*mut CK_MECHANISM) -> R) -> R {
    let mut parameters;
    let (mechanism, parameter, bytes): (_, *mut c_void, usize) = match cipher {
        Cipher::Ecb => (CKM_AES_ECB, null_mut(), 0),
        Cipher::Cbc(iv) => (CKM_AES_CBC, input(iv).cast(), iv.len()),
        Cipher::Gcm(iv, besides) => {
            parameters = CK_GCM_PARAMS {
                pIv: input(iv),
                ulIvLen: length(iv),
                ulIvBits: length(iv) * 8,
                pAAD: input(besides),
                ulAADLen: length(besides),
                ulTagBits: 128,
            };
            let parameter = (&raw mut parameters).cast();
            (CKM_AES_GCM, parameter, size_of::<CK_GCM_PARAMS>())
        }
    };
    let mut mechanism = CK_MECHANISM {
        mechanism,
        pParameter: parameter,
        ulParameterLen: bytes as CK_ULONG,
    };
    call(&raw mut mechanism)
}
