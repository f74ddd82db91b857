//! The module as C sees it: loaded by its path, called through its function list.
//!
//! What lives here: `Module`, and the functions of slots and tokens.
//! What must never live here: sessions and objects; those are in `session.rs`.
//! Who calls it: the harness and the tests.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{null, null_mut};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cryptoki_sys::*;

use crate::rv::Rv;
use crate::session::Session;

/// Calls one function of the 2.40 list.
#[macro_export]
macro_rules! call {
    ($module:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let function = $module.table().$name.expect(concat!(stringify!($name), " is null in the function list"));
        $crate::Rv(
            // SAFETY: the pointer came from the module's own list, and the arguments follow the prototype of the standard; each
            // pointer among them is to memory that outlives the call.
            unsafe { function($($argument),*) }
        )
    }};
}

/// A loaded module. It is never unloaded: what a module does at unload is the business of the C program.
#[derive(Clone, Copy)]
pub struct Module {
    library: *mut c_void,
    list: *const CK_FUNCTION_LIST,
}

// SAFETY: PKCS#11 2.40, 5.4 (C_Initialize): a library initialised with CKF_OS_LOCKING_OK may be called by many threads.
unsafe impl Send for Module {}
// SAFETY: as above; the two pointers are never written after loading.
unsafe impl Sync for Module {}

impl Module {
    /// Loads a module; does not initialise it.
    ///
    /// # Panics
    /// When it cannot be loaded.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let name = CString::new(path.as_os_str().as_bytes()).expect("a path without NUL");
        // SAFETY: the name is a C string; loading runs the constructors of a module that we mean to run.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null(), "{}: {}", path.display(), loader_error());
        let mut module = Self {
            library,
            list: null(),
        };
        let mut list: *mut CK_FUNCTION_LIST = null_mut();
        let address = module
            .symbol(c"C_GetFunctionList")
            .expect("C_GetFunctionList is exported");
        // SAFETY: PKCS#11 fixes the prototype of the symbol of this name.
        let function = unsafe {
            core::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV,
            >(address)
        };
        // SAFETY: the argument points to a local that outlives the call.
        let code = unsafe { function(&raw mut list) };
        assert_eq!(Rv(code), Rv(CKR_OK));
        module.list = list;
        module
    }

    /// An exported symbol.
    #[must_use]
    pub fn symbol(&self, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: the handle came from dlopen and is never closed; the name is a C string.
        let address = unsafe { libc::dlsym(self.library, name.as_ptr()) };
        (!address.is_null()).then_some(address)
    }

    /// The 2.40 function list.
    #[must_use]
    pub fn table(&self) -> &CK_FUNCTION_LIST {
        // SAFETY: the list is a static of the module, which is never unloaded.
        unsafe { &*self.list }
    }

    /// The 3.0 function list, when the module offers one.
    #[must_use]
    pub fn table_3_0(&self) -> Option<&CK_FUNCTION_LIST_3_0> {
        let list = self.interface(3, 0)?;
        // SAFETY: the interface of name "PKCS 11" and version 3.0 has this structure; it is a static of the module.
        Some(unsafe { &*list.cast::<CK_FUNCTION_LIST_3_0>() })
    }

    /// The 3.2 function list, when the module offers one.
    #[must_use]
    pub fn table_3_2(&self) -> Option<&CK_FUNCTION_LIST_3_2> {
        let list = self.interface(3, 2)?;
        // SAFETY: the interface of name "PKCS 11" and version 3.2 has this structure; it is a static of the module.
        Some(unsafe { &*list.cast::<CK_FUNCTION_LIST_3_2>() })
    }

    /// The function list of one version, through `C_GetInterface`.
    #[must_use]
    pub fn interface(&self, major: u8, minor: u8) -> Option<*const c_void> {
        let address = self.symbol(c"C_GetInterface")?;
        // SAFETY: PKCS#11 3.0 fixes the prototype of the symbol of this name.
        let function = unsafe {
            core::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(
                    *mut u8,
                    *mut CK_VERSION,
                    *mut *mut CK_INTERFACE,
                    CK_FLAGS,
                ) -> CK_RV,
            >(address)
        };
        let mut version = CK_VERSION { major, minor };
        let mut interface: *mut CK_INTERFACE = null_mut();
        let name = c"PKCS 11".as_ptr().cast::<u8>().cast_mut();
        // SAFETY: name and version outlive the call; the result is a static of the module.
        let code = unsafe { function(name, &raw mut version, &raw mut interface, 0) };
        if code != CKR_OK || interface.is_null() {
            return None;
        }
        // SAFETY: the module filled the pointer with an interface of its own.
        Some(unsafe { (*interface).pFunctionList })
    }

    /// `C_Initialize` with operating system locks.
    ///
    /// # Errors
    /// What the module answers.
    pub fn initialize(&self) -> Result<(), Rv> {
        let mut arguments = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: null_mut(),
        };
        call!(self, C_Initialize((&raw mut arguments).cast())).ok()
    }

    /// `C_Finalize`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn finalize(&self) -> Result<(), Rv> {
        call!(self, C_Finalize(null_mut())).ok()
    }

    /// `C_GetInfo`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn info(&self) -> Result<CK_INFO, Rv> {
        let mut info = CK_INFO::default();
        call!(self, C_GetInfo(&raw mut info)).ok()?;
        Ok(info)
    }

    /// All slots.
    ///
    /// # Errors
    /// What the module answers.
    pub fn slots(&self) -> Result<Vec<CK_SLOT_ID>, Rv> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetSlotList(CK_TRUE, null_mut(), &raw mut count)).ok()?;
        let mut slots = vec![0; count as usize];
        call!(
            self,
            C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count)
        )
        .ok()?;
        slots.truncate(count as usize);
        Ok(slots)
    }

    /// `C_GetTokenInfo`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn token_info(&self, slot: CK_SLOT_ID) -> Result<CK_TOKEN_INFO, Rv> {
        let mut info = CK_TOKEN_INFO::default();
        call!(self, C_GetTokenInfo(slot, &raw mut info)).ok()?;
        Ok(info)
    }

    /// `C_GetSlotInfo`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn slot_info(&self, slot: CK_SLOT_ID) -> Result<CK_SLOT_INFO, Rv> {
        let mut info = CK_SLOT_INFO::default();
        call!(self, C_GetSlotInfo(slot, &raw mut info)).ok()?;
        Ok(info)
    }

    /// All mechanisms of a slot.
    ///
    /// # Errors
    /// What the module answers.
    pub fn mechanisms(&self, slot: CK_SLOT_ID) -> Result<Vec<CK_MECHANISM_TYPE>, Rv> {
        let mut count: CK_ULONG = 0;
        call!(self, C_GetMechanismList(slot, null_mut(), &raw mut count)).ok()?;
        let mut list = vec![0; count as usize];
        call!(
            self,
            C_GetMechanismList(slot, list.as_mut_ptr(), &raw mut count)
        )
        .ok()?;
        list.truncate(count as usize);
        Ok(list)
    }

    /// `C_GetMechanismInfo`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn mechanism_info(
        &self,
        slot: CK_SLOT_ID,
        mechanism: CK_MECHANISM_TYPE,
    ) -> Result<CK_MECHANISM_INFO, Rv> {
        let mut info = CK_MECHANISM_INFO::default();
        call!(self, C_GetMechanismInfo(slot, mechanism, &raw mut info)).ok()?;
        Ok(info)
    }

    /// `C_InitToken`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn init_token(&self, slot: CK_SLOT_ID, pin: &str, label: &str) -> Result<(), Rv> {
        let mut padded = [b' '; 32];
        padded[..label.len()].copy_from_slice(label.as_bytes());
        call!(
            self,
            C_InitToken(
                slot,
                pin.as_ptr().cast_mut(),
                pin.len() as CK_ULONG,
                padded.as_mut_ptr()
            )
        )
        .ok()
    }

    /// A slot whose token is not initialised.
    #[must_use]
    pub fn free_slot(&self) -> Option<CK_SLOT_ID> {
        let slots = self.slots().ok()?;
        slots.into_iter().find(|slot| {
            self.token_info(*slot)
                .is_ok_and(|info| info.flags & CKF_TOKEN_INITIALIZED == 0)
        })
    }

    /// The slot of the token of this label.
    #[must_use]
    pub fn slot_labelled(&self, label: &str) -> Option<CK_SLOT_ID> {
        let slots = self.slots().ok()?;
        slots.into_iter().find(|slot| {
            self.token_info(*slot).is_ok_and(|info| {
                info.flags & CKF_TOKEN_INITIALIZED != 0 && text(&info.label) == label
            })
        })
    }

    /// Makes a token with both PINs of the tests in a free slot.
    ///
    /// # Panics
    /// When a step is refused.
    #[must_use]
    pub fn make_token(&self, label: &str) -> CK_SLOT_ID {
        let free = self.free_slot().expect("a free slot");
        self.init_token(free, crate::SO_PIN, label)
            .expect("C_InitToken");
        let slot = self.slot_labelled(label).expect("the new token is there");
        let session = Session::open_rw(self, slot).expect("a session for the security officer");
        session
            .login(CKU_SO, crate::SO_PIN)
            .expect("login of the security officer");
        session.init_pin(crate::USER_PIN).expect("C_InitPIN");
        session.logout().expect("C_Logout");
        session.close().expect("C_CloseSession");
        slot
    }

    /// `C_CloseAllSessions`.
    ///
    /// # Errors
    /// What the module answers.
    pub fn close_all(&self, slot: CK_SLOT_ID) -> Result<(), Rv> {
        call!(self, C_CloseAllSessions(slot)).ok()
    }

    /// `C_WaitForSlotEvent` without waiting.
    ///
    /// # Errors
    /// What the module answers; `CKR_NO_EVENT` among them.
    pub fn slot_event(&self) -> Result<CK_SLOT_ID, Rv> {
        let mut slot: CK_SLOT_ID = 0;
        call!(
            self,
            C_WaitForSlotEvent(CKF_DONT_BLOCK, &raw mut slot, null_mut())
        )
        .ok()?;
        Ok(slot)
    }
}

/// A blank-padded field as text.
#[must_use]
pub fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field)
        .trim_end_matches(' ')
        .to_owned()
}

fn loader_error() -> String {
    // SAFETY: dlerror takes nothing; its answer stays until the next loader call of this thread.
    let message: *mut c_char = unsafe { libc::dlerror() };
    if message.is_null() {
        return "no reason told".to_owned();
    }
    // SAFETY: a C string of the loader, copied at once.
    unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned()
}

/// Whether the process `pid` is there, without disturbing it.
#[must_use]
pub fn process_lives(pid: u32) -> bool {
    // SAFETY: signal 0 only asks.
    let answer: c_int = unsafe { libc::kill(pid as c_int, 0) };
    answer == 0
}
