//! What the server sees: three exported names, the variables, and the functions of the encryption interface.
//!
//! What lives here: C in and out. Each function turns pointers into slices, asks `plugin`, and turns the answer into a number; a panic
//! becomes a refusal at this border.
//! What must never live here: a decision.
//! Who calls it: mariadbd and mariadb-backup.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr::{null, null_mut};
use core::slice;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::layout::*;
use crate::pages::{Direction, Ending, padded_length};
use crate::plugin::{self, Context, Given};
use crate::settings::{Mode, Said};
use crate::token::{CONNECTIONS, VISITS};

/// A static that the server may write to.
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<T>);

// SAFETY: this side reads it before the server has it and never after; what happens then is the server's, which loads plug-ins under a
// lock of its own.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    const fn address(&self) -> *const c_void {
        self.0.get().cast_const().cast()
    }
}

static MODULE: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
static TOKEN: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
static PIN_FILE: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
static MODE: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
static KEY_PREFIX: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
static WAIT_SECONDS: AtomicU32 = AtomicU32::new(60);

const fn text(
    name: &'static CStr,
    comment: &'static CStr,
    value: &'static AtomicPtr<c_char>,
    default: &'static CStr,
) -> Shared<TextVariable> {
    Shared::new(TextVariable {
        flags: VARIABLE_STR | VARIABLE_READONLY,
        name: name.as_ptr(),
        comment: comment.as_ptr(),
        check: null_mut(),
        update: null_mut(),
        value,
        default: default.as_ptr(),
    })
}

static MODULE_VARIABLE: Shared<TextVariable> =
    text(c"module", c"Path of the PKCS#11 module", &MODULE, c"");
static TOKEN_VARIABLE: Shared<TextVariable> = text(c"token", c"Label of the token", &TOKEN, c"");
static PIN_FILE_VARIABLE: Shared<TextVariable> = text(
    c"pin_file",
    c"File whose first line is the PIN of the token's user",
    &PIN_FILE,
    c"",
);
static MODE_VARIABLE: Shared<TextVariable> = text(
    c"mode",
    c"keys: data keys wrapped in the token; pages: every page goes through the token",
    &MODE,
    c"keys",
);
static KEY_PREFIX_VARIABLE: Shared<TextVariable> = text(
    c"key_prefix",
    c"What the labels of keys begin with",
    &KEY_PREFIX,
    c"mariadb",
);
static WAIT_SECONDS_VARIABLE: Shared<NumberVariable> = Shared::new(NumberVariable {
    flags: VARIABLE_INT | VARIABLE_UNSIGNED | VARIABLE_READONLY,
    name: c"wait_seconds".as_ptr(),
    comment: c"How long a call waits for a token that does not answer".as_ptr(),
    check: null_mut(),
    update: null_mut(),
    value: &raw const WAIT_SECONDS,
    default: 60,
    least: 0,
    most: 3600,
    step: 0,
});

static VARIABLES: Shared<[*const c_void; 7]> = Shared::new([
    MODULE_VARIABLE.address(),
    TOKEN_VARIABLE.address(),
    PIN_FILE_VARIABLE.address(),
    MODE_VARIABLE.address(),
    KEY_PREFIX_VARIABLE.address(),
    WAIT_SECONDS_VARIABLE.address(),
    null(),
]);

static STATUS: Shared<[Status; 3]> = Shared::new([
    Status {
        name: c"strongroom_visits".as_ptr(),
        value: (&raw const VISITS).cast(),
        kind: SHOW_ULONGLONG,
    },
    Status {
        name: c"strongroom_connections".as_ptr(),
        value: (&raw const CONNECTIONS).cast(),
        kind: SHOW_ULONGLONG,
    },
    Status {
        name: null(),
        value: null(),
        kind: 0,
    },
]);

static ENCRYPTION: Shared<Encryption> = Shared::new(Encryption {
    interface: ENCRYPTION_INTERFACE,
    latest_version,
    key,
    context_size: AtomicPtr::new(null_mut()),
    context_init: AtomicPtr::new(null_mut()),
    context_update: AtomicPtr::new(null_mut()),
    context_finish: AtomicPtr::new(null_mut()),
    encrypted_length: AtomicPtr::new(null_mut()),
});

/// The version of the plug-in interface.
// SAFETY: the name belongs to the interface of plug-ins, and the server gives it this meaning.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the server looks the name up")]
pub(crate) static _maria_plugin_interface_version_: c_int = PLUGIN_INTERFACE;

/// The size of a declaration.
// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the server looks the name up")]
pub(crate) static _maria_sizeof_struct_st_plugin_: c_int = 104;

/// The declarations, ended by zeros.
// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the server looks the name up")]
pub(crate) static _maria_plugin_declarations_: Shared<[Plugin; 2]> = Shared::new([
    Plugin {
        kind: ENCRYPTION_PLUGIN,
        info: ENCRYPTION.address(),
        name: c"strongroom".as_ptr(),
        author: c"The Strongroom project".as_ptr(),
        description: c"Data at rest under keys of a PKCS#11 token".as_ptr(),
        license: LICENSE_PERMISSIVE,
        init: Some(init),
        deinit: Some(deinit),
        version: 0x0001,
        status_variables: STATUS.address().cast(),
        system_variables: VARIABLES.address().cast(),
        version_text: c"0.1.0".as_ptr(),
        maturity: MATURITY_EXPERIMENTAL,
    },
    Plugin {
        kind: 0,
        info: null(),
        name: null(),
        author: null(),
        description: null(),
        license: 0,
        init: None,
        deinit: None,
        version: 0,
        status_variables: null(),
        system_variables: null(),
        version_text: null(),
        maturity: 0,
    },
]);

/// Runs what belongs to a call; a panic is a refusal and not the end of the server.
fn guarded<R>(refusal: R, run: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(refusal)
}

fn said(value: &AtomicPtr<c_char>) -> String {
    let value = value.load(Ordering::Acquire);
    if value.is_null() {
        return String::new();
    }
    // SAFETY: the server wrote a C string there before it called `init`, and keeps it.
    unsafe { CStr::from_ptr(value) }
        .to_string_lossy()
        .into_owned()
}

unsafe extern "C" fn init(_: *mut c_void) -> c_int {
    guarded(1, || {
        let mode = plugin::start(&Said {
            module: said(&MODULE),
            token: said(&TOKEN),
            pin_file: said(&PIN_FILE),
            mode: said(&MODE),
            prefix: said(&KEY_PREFIX),
            wait_seconds: WAIT_SECONDS.load(Ordering::Acquire),
        });
        let Some(mode) = mode else {
            return 1;
        };
        if mode == Mode::Pages {
            // SAFETY: the server reads the structure after `init`; until then nobody writes but this call, and through atomics.
            let encryption = unsafe { &*ENCRYPTION.0.get() };
            let functions = [
                (&encryption.context_size, context_size as *const c_void),
                (&encryption.context_init, context_init as *const c_void),
                (&encryption.context_update, context_update as *const c_void),
                (&encryption.context_finish, context_finish as *const c_void),
                (
                    &encryption.encrypted_length,
                    encrypted_length as *const c_void,
                ),
            ];
            for (place, function) in functions {
                place.store(function.cast_mut(), Ordering::Release);
            }
        }
        0
    })
}

unsafe extern "C" fn deinit(_: *mut c_void) -> c_int {
    guarded(1, || {
        plugin::end();
        0
    })
}

unsafe extern "C" fn latest_version(id: c_uint) -> c_uint {
    guarded(VERSION_INVALID, || {
        plugin::latest(id).unwrap_or(VERSION_INVALID)
    })
}

unsafe extern "C" fn key(id: c_uint, version: c_uint, out: *mut u8, length: *mut c_uint) -> c_uint {
    guarded(VERSION_INVALID, || {
        let room = if out.is_null() || length.is_null() {
            None
        } else {
            // SAFETY: a length that is not null is the server's and can be read.
            let bytes = unsafe { length.read() };
            // SAFETY: the server's buffer has so many bytes, initialised or not: a key is written there and nothing is read.
            Some(unsafe { slice::from_raw_parts_mut(out, bytes as usize) })
        };
        let (code, bytes) = match plugin::key(id, version, room) {
            Given::Key(bytes) => (0, bytes),
            Given::TooSmall(bytes) => (BUFFER_TOO_SMALL, bytes),
            Given::None => return VERSION_INVALID,
        };
        // SAFETY: as above, for writing.
        unsafe { write_length(length, bytes) };
        code
    })
}

/// # Safety
/// `place` is null or can be written.
unsafe fn write_length(place: *mut c_uint, length: usize) {
    if !place.is_null() {
        // SAFETY: the caller says so.
        unsafe { place.write(c_uint::try_from(length).unwrap_or(0)) };
    }
}

/// The server's memory for a context holds a pointer to ours.
unsafe extern "C" fn context_size(_: c_uint, _: c_uint) -> c_uint {
    POINTER_BYTES
}

/// # Safety
/// `data` is null, or so many bytes can be read there for as long as the result lives.
unsafe fn input<'a>(data: *const u8, length: c_uint) -> &'a [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: the caller says so.
    unsafe { slice::from_raw_parts(data, length as usize) }
}

#[allow(clippy::too_many_arguments, reason = "the server's prototype")]
unsafe extern "C" fn context_init(
    place: *mut c_void,
    key: *const u8,
    key_length: c_uint,
    iv: *const u8,
    iv_length: c_uint,
    flags: c_int,
    id: c_uint,
    version: c_uint,
) -> c_int {
    guarded(FAILED, || {
        let direction = match flags & FLAG_ENCRYPT {
            0 => Direction::Decrypt,
            _ => Direction::Encrypt,
        };
        let ending = match flags & FLAG_NOPAD {
            0 => Ending::Padded,
            _ => Ending::Same,
        };
        // SAFETY: the server's key and counter, for the time of the call.
        let key = unsafe { input(key, key_length) };
        // SAFETY: as above.
        let iv = unsafe { input(iv, iv_length) };
        let Some(context) = Context::begin(direction, ending, (id, version), key, iv) else {
            return FAILED;
        };
        let context = Box::into_raw(Box::new(context));
        // SAFETY: the server gave as many bytes as `context_size` says, at an address of any alignment.
        unsafe { place.cast::<*mut Context>().write_unaligned(context) };
        0
    })
}

unsafe extern "C" fn context_update(
    place: *mut c_void,
    data: *const u8,
    length: c_uint,
    out: *mut u8,
    written: *mut c_uint,
) -> c_int {
    guarded(FAILED, || {
        // SAFETY: `context_init` wrote a pointer there.
        let context = unsafe { place.cast::<*mut Context>().read_unaligned() };
        // SAFETY: the pointer is of a box that lives until `context_finish`, and the server uses a context in one thread.
        let context = unsafe { &mut *context };
        // SAFETY: the server's data, for the time of the call. They may lie where the output goes; nothing is written before all is read.
        let data = unsafe { input(data, length) };
        let ready = context.update(data);
        // SAFETY: the server's buffer, which is as long as the interface demands.
        unsafe { deliver(ready, out, written) }
    })
}

unsafe extern "C" fn context_finish(
    place: *mut c_void,
    out: *mut u8,
    written: *mut c_uint,
) -> c_int {
    guarded(FAILED, || {
        // SAFETY: `context_init` wrote a pointer there.
        let context = unsafe { place.cast::<*mut Context>().read_unaligned() };
        // SAFETY: it came from a box, and the server does not use the context again.
        let context = unsafe { Box::from_raw(context) };
        // SAFETY: the server's buffer, which is as long as the interface demands.
        unsafe { deliver(context.finish(), out, written) }
    })
}

/// # Safety
/// `out` has room for what is ready; `written` is null or can be written.
unsafe fn deliver(ready: Option<Vec<u8>>, out: *mut u8, written: *mut c_uint) -> c_int {
    let Some(ready) = ready else {
        // SAFETY: the caller says so.
        unsafe { write_length(written, 0) };
        return FAILED;
    };
    // SAFETY: the caller says that there is room; `ready` is ours and lies elsewhere.
    unsafe { core::ptr::copy_nonoverlapping(ready.as_ptr(), out, ready.len()) };
    // SAFETY: the caller says so.
    unsafe { write_length(written, ready.len()) };
    0
}

unsafe extern "C" fn encrypted_length(length: c_uint, _: c_uint, _: c_uint) -> c_uint {
    padded_length(length)
}

/// What a function of a context answers instead of 0.
const FAILED: c_int = 1;
/// Bytes of a pointer; the interface counts in 32 bits.
const POINTER_BYTES: c_uint = 8;
const _: () = assert!(size_of::<*mut Context>() == 8 && POINTER_BYTES == 8);
