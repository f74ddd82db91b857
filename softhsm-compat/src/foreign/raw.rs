//! A foreign PKCS#11 module, as C sees it.
//!
//! What lives here: loading a module by its path, and one thin method for each function that reading it needs; nothing that writes a token.
//! What must never live here: what is read, and why.
//! Who calls it: the process of its own that `strongroom import pkcs11` starts (`serve.rs`).
//!
//! The crate `cryptoki` is not enough here: it knows the attributes and types of the standard only, and no module's own arguments of `C_Initialize`.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cryptoki_sys::*;
use strongroom_wire::ck::Rv;
use zeroize::Zeroizing;

/// Why a module did not do it: the function, and its return value or what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It refused a call.
    Refused(&'static str, Rv),
    /// It is no module, or cannot be loaded.
    Broken(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(function, rv) => write!(out, "{function} answered {rv}"),
            Self::Broken(what) => out.write_str(what),
        }
    }
}

fn judged(function: &'static str, code: CK_RV) -> Result<(), Refusal> {
    if code == CKR_OK {
        Ok(())
    } else {
        Err(Refusal::Refused(function, Rv(code)))
    }
}

/// Calls one function of the 2.40 list.
macro_rules! call {
    ($module:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        match $module.list.$name {
            // SAFETY: the pointer came from the module's own list, and the arguments follow the prototype of the standard; each
            // pointer among them is to memory that outlives the call.
            Some(function) => judged(stringify!($name), unsafe { function($($argument),*) }),
            None => judged(stringify!($name), CKR_FUNCTION_NOT_SUPPORTED),
        }
    }};
}

/// What `C_Initialize` is given. NSS reads one pointer more than the standard has, so one more is there.
#[repr(C)]
struct Arguments {
    standard: CK_C_INITIALIZE_ARGS,
    behind: *mut c_void,
}

/// A token in its slot.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The slot.
    pub(super) slot: u64,
    /// Label, without padding.
    pub(super) label: String,
    /// Serial number, without padding.
    pub(super) serial_number: String,
    /// Whether it has to be logged in to.
    pub(super) wants_login: bool,
}

/// One value of a template.
pub(super) type Entry<'a> = (CK_ATTRIBUTE_TYPE, &'a [u8]);

/// One value that was read.
pub(super) type Value = (CK_ATTRIBUTE_TYPE, Vec<u8>);

/// A loaded module; never unloaded.
#[derive(Clone, Copy)]
pub(super) struct Module {
    list: &'static CK_FUNCTION_LIST,
}

/// Keeps the memory of this process, in which a foreign module has keys, out of files.
pub(super) fn forbid_dumps() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the argument is a local that outlives the call. Where it fails, things are as they were.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
}

impl Module {
    /// Loads and initialises a module; `parameters` is what some want to be told then.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn load(path: &Path, parameters: Option<&str>) -> Result<Self, Refusal> {
        let broken = |what: &str| Refusal::Broken(format!("cannot load it: {what}"));
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
            return Err(broken("it is no PKCS#11 module"));
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
        let list = unsafe { list.as_ref() }.ok_or_else(|| broken("it has no list of functions"))?;
        let module = Self { list };
        module.initialize(parameters)?;
        Ok(module)
    }

    fn initialize(&self, parameters: Option<&str>) -> Result<(), Refusal> {
        let parameters = parameters
            .map(CString::new)
            .transpose()
            .map_err(|_| Refusal::Broken("its parameters have a NUL byte".into()))?;
        let reserved = parameters
            .as_ref()
            .map_or(null_mut(), |text| text.as_ptr().cast_mut().cast());
        let mut arguments = Arguments {
            standard: CK_C_INITIALIZE_ARGS {
                CreateMutex: None,
                DestroyMutex: None,
                LockMutex: None,
                UnlockMutex: None,
                flags: CKF_OS_LOCKING_OK,
                pReserved: reserved,
            },
            behind: null_mut(),
        };
        let result = call!(self, C_Initialize((&raw mut arguments).cast()));
        // Read, so that it is there as long as the call.
        debug_assert!(arguments.behind.is_null());
        result
    }

    /// `C_Finalize`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn finalize(&self) -> Result<(), Refusal> {
        call!(self, C_Finalize(null_mut()))
    }

    /// The initialised tokens.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn tokens(&self) -> Result<Vec<Token>, Refusal> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetSlotList(CK_TRUE, null_mut(), &raw mut count))?;
        let mut slots = vec![0; usize::try_from(count).unwrap_or(0)];
        call!(
            self,
            C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count)
        )?;
        slots.truncate(usize::try_from(count).unwrap_or(0));
        let mut found = Vec::new();
        for slot in slots {
            let mut info = CK_TOKEN_INFO::default();
            call!(self, C_GetTokenInfo(slot, &raw mut info))?;
            if info.flags & CKF_TOKEN_INITIALIZED != 0 {
                found.push(Token {
                    slot,
                    label: text(&info.label),
                    serial_number: text(&info.serialNumber),
                    wants_login: info.flags & CKF_LOGIN_REQUIRED != 0,
                });
            }
        }
        Ok(found)
    }

    /// What a slot can do.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn mechanisms(&self, slot: u64) -> Result<Vec<u64>, Refusal> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetMechanismList(slot, null_mut(), &raw mut count))?;
        let mut list = vec![0; usize::try_from(count).unwrap_or(0)];
        call!(
            self,
            C_GetMechanismList(slot, list.as_mut_ptr(), &raw mut count)
        )?;
        list.truncate(usize::try_from(count).unwrap_or(0));
        Ok(list)
    }
}

/// A session that cannot write the token; closed when the process ends.
#[derive(Clone, Copy)]
pub(super) struct Session {
    module: Module,
    handle: CK_SESSION_HANDLE,
}

impl Session {
    /// Opens one.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn open(module: Module, slot: u64) -> Result<Self, Refusal> {
        let mut handle = 0;
        call!(
            module,
            C_OpenSession(slot, CKF_SERIAL_SESSION, null_mut(), None, &raw mut handle)
        )?;
        Ok(Self { module, handle })
    }

    /// `C_Login` of the user.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn login(&self, pin: &[u8]) -> Result<(), Refusal> {
        call!(
            self.module,
            C_Login(self.handle, CKU_USER, input(pin), length(pin))
        )
    }

    /// All objects of the token that can be seen.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn token_objects(&self) -> Result<Vec<CK_OBJECT_HANDLE>, Refusal> {
        laid_out(&[(CKA_TOKEN, &[1])], |array, count| {
            call!(self.module, C_FindObjectsInit(self.handle, array, count))
        })?;
        let mut all = Vec::new();
        loop {
            let (mut found, mut number) = ([0; 64], 0);
            call!(
                self.module,
                C_FindObjects(self.handle, found.as_mut_ptr(), 64, &raw mut number)
            )?;
            let number = usize::try_from(number).unwrap_or(0).min(found.len());
            if number == 0 {
                break;
            }
            all.extend(&found[..number]);
        }
        call!(self.module, C_FindObjectsFinal(self.handle))?;
        Ok(all)
    }

    /// An attribute; none when the object has it not, or does not show it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn attribute(
        &self,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let Some(bytes) = self.length_of(object, kind)? else {
            return Ok(None);
        };
        let mut value = Zeroizing::new(vec![0; bytes]);
        let mut entry = empty(kind);
        entry.pValue = value.as_mut_ptr().cast();
        entry.ulValueLen = length(&value);
        if !self.read(object, &mut entry)? {
            return Ok(None);
        }
        value.truncate(usize::try_from(entry.ulValueLen).unwrap_or(0));
        Ok(Some(value))
    }

    /// An attribute that is an array of attributes; none when the object has it not, or it is empty.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn array(
        &self,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<Option<Vec<Value>>, Refusal> {
        let one = size_of::<CK_ATTRIBUTE>();
        let Some(bytes) = self.length_of(object, kind)?.filter(|bytes| *bytes >= one) else {
            return Ok(None);
        };
        // The first call tells the types and lengths, the second the values.
        let mut entries = vec![empty(0); bytes / one];
        let mut whole = empty(kind);
        whole.pValue = entries.as_mut_ptr().cast();
        whole.ulValueLen = (entries.len() * one) as CK_ULONG;
        if !self.read(object, &mut whole)? {
            return Ok(None);
        }
        let mut values: Vec<Vec<u8>> = entries
            .iter()
            .map(|entry| vec![0; sensible(entry.ulValueLen).unwrap_or(0)])
            .collect();
        for (entry, value) in entries.iter_mut().zip(&mut values) {
            entry.pValue = value.as_mut_ptr().cast();
            entry.ulValueLen = length(value);
        }
        if !self.read(object, &mut whole)? {
            return Ok(None);
        }
        let kinds = entries.iter().map(|entry| entry.type_);
        Ok(Some(kinds.zip(values).collect()))
    }

    fn length_of(
        &self,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<Option<usize>, Refusal> {
        let mut entry = empty(kind);
        if !self.read(object, &mut entry)? {
            return Ok(None);
        }
        Ok(sensible(entry.ulValueLen))
    }

    /// `C_GetAttributeValue` of one attribute; false when there is nothing to be read.
    fn read(&self, object: CK_OBJECT_HANDLE, entry: &mut CK_ATTRIBUTE) -> Result<bool, Refusal> {
        let result = call!(
            self.module,
            C_GetAttributeValue(self.handle, object, &raw mut *entry, 1)
        );
        match result {
            Ok(()) => Ok(entry.ulValueLen != CK_UNAVAILABLE_INFORMATION),
            Err(Refusal::Refused(_, Rv(CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID))) => {
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    /// `C_CreateObject`. In a session that cannot write, what it makes is of the session.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn create(&self, template: &[Entry<'_>]) -> Result<CK_OBJECT_HANDLE, Refusal> {
        let mut object = 0;
        laid_out(template, |array, count| {
            call!(
                self.module,
                C_CreateObject(self.handle, array, count, &raw mut object)
            )
        })?;
        Ok(object)
    }

    /// `C_GenerateKeyPair` of RSA: public and private.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn generate_rsa(
        &self,
        public: &[Entry<'_>],
        private: &[Entry<'_>],
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE), Refusal> {
        let (mut first, mut second) = (0, 0);
        let mut mechanism = plain(CKM_RSA_PKCS_KEY_PAIR_GEN);
        laid_out(public, |open, opens| {
            laid_out(private, |shut, shuts| {
                call!(
                    self.module,
                    C_GenerateKeyPair(
                        self.handle,
                        &raw mut mechanism,
                        open,
                        opens,
                        shut,
                        shuts,
                        &raw mut first,
                        &raw mut second
                    )
                )
            })
        })?;
        Ok((first, second))
    }

    /// `C_UnwrapKey` by RSA-OAEP with SHA-1, which every module with OAEP has.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn unwrap_oaep(
        &self,
        key: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &[Entry<'_>],
    ) -> Result<CK_OBJECT_HANDLE, Refusal> {
        let mut parameter = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA_1,
            mgf: CKG_MGF1_SHA1,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: null_mut(),
            ulSourceDataLen: 0,
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_RSA_PKCS_OAEP,
            pParameter: (&raw mut parameter).cast(),
            ulParameterLen: size_of::<CK_RSA_PKCS_OAEP_PARAMS>() as CK_ULONG,
        };
        let mut object = 0;
        laid_out(template, |array, count| {
            call!(
                self.module,
                C_UnwrapKey(
                    self.handle,
                    &raw mut mechanism,
                    key,
                    input(wrapped),
                    length(wrapped),
                    array,
                    count,
                    &raw mut object
                )
            )
        })?;
        Ok(object)
    }

    /// `C_WrapKey` by a mechanism whose parameter is a run of bytes.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn wrap(
        &self,
        kind: CK_MECHANISM_TYPE,
        parameter: &[u8],
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> Result<Vec<u8>, Refusal> {
        let mut mechanism = plain(kind);
        if !parameter.is_empty() {
            mechanism.pParameter = input(parameter).cast();
            mechanism.ulParameterLen = length(parameter);
        }
        // Room for the biggest key there is: asking for the length first would be a second try at modules that end the operation then.
        let mut wrapped = vec![0; WRAPPED_BYTES_MAX];
        let mut written = length(&wrapped);
        call!(
            self.module,
            C_WrapKey(
                self.handle,
                &raw mut mechanism,
                wrapping,
                key,
                wrapped.as_mut_ptr(),
                &raw mut written
            )
        )?;
        wrapped.truncate(usize::try_from(written).unwrap_or(0));
        Ok(wrapped)
    }
}

/// Lays a template out as C has it.
fn laid_out<T>(template: &[Entry<'_>], action: impl FnOnce(*mut CK_ATTRIBUTE, CK_ULONG) -> T) -> T {
    let mut array: Vec<CK_ATTRIBUTE> = template
        .iter()
        .map(|(kind, value)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: input(value).cast(),
            ulValueLen: length(value),
        })
        .collect();
    action(array.as_mut_ptr(), array.len() as CK_ULONG)
}

const fn empty(kind: CK_ATTRIBUTE_TYPE) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_: kind,
        pValue: null_mut(),
        ulValueLen: 0,
    }
}

const fn plain(kind: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: kind,
        pParameter: null_mut(),
        ulParameterLen: 0,
    }
}

/// A length that a module may have meant.
fn sensible(length: CK_ULONG) -> Option<usize> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= VALUE_BYTES_MAX)
}

fn length(bytes: &[u8]) -> CK_ULONG {
    bytes.len() as CK_ULONG
}

/// PKCS#11 takes input through pointers that are not const; it does not write there.
fn input(bytes: &[u8]) -> *mut u8 {
    bytes.as_ptr().cast_mut()
}

fn text(padded: &[u8]) -> String {
    String::from_utf8_lossy(padded)
        .trim_end_matches([' ', '\0'])
        .to_owned()
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

/// Longest value of an attribute that is believed: as much as the daemon takes.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// RSA of 16384 bits in PKCS #8 has 9 KiB.
const WRAPPED_BYTES_MAX: usize = 64 << 10;
