//! The structures of the server's plug-in interface, as C lays them out.
//!
//! What lives here: structures and numbers of MariaDB 10.11 (`mysql/plugin.h` 0x010f, `mysql/plugin_encryption.h` 0x0300), and assertions
//! that keep their sizes. `tests/layout.rs` compares them with the real headers.
//! What must never live here: values.
//! Who calls it: `server`, and the test.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU32};

/// `MARIA_PLUGIN_INTERFACE_VERSION`.
pub const PLUGIN_INTERFACE: c_int = 0x010f;
/// `MariaDB_ENCRYPTION_INTERFACE_VERSION`.
pub const ENCRYPTION_INTERFACE: c_int = 0x0300;
/// `MariaDB_ENCRYPTION_PLUGIN`.
pub const ENCRYPTION_PLUGIN: c_int = 9;
/// `PLUGIN_LICENSE_BSD`: the permissive one of the three that the server knows.
pub const LICENSE_PERMISSIVE: c_int = 2;
/// `MariaDB_PLUGIN_MATURITY_EXPERIMENTAL`.
pub const MATURITY_EXPERIMENTAL: c_uint = 1;
/// `ENCRYPTION_KEY_VERSION_INVALID`.
pub const VERSION_INVALID: c_uint = c_uint::MAX;
/// `ENCRYPTION_KEY_BUFFER_TOO_SMALL`.
pub const BUFFER_TOO_SMALL: c_uint = 100;
/// `ENCRYPTION_FLAG_ENCRYPT`; decryption is its absence.
pub const FLAG_ENCRYPT: c_int = 1;
/// `ENCRYPTION_FLAG_NOPAD`.
pub const FLAG_NOPAD: c_int = 2;
/// `PLUGIN_VAR_INT`.
pub const VARIABLE_INT: c_int = 2;
/// `PLUGIN_VAR_STR`.
pub const VARIABLE_STR: c_int = 5;
/// `PLUGIN_VAR_UNSIGNED`.
pub const VARIABLE_UNSIGNED: c_int = 0x80;
/// `PLUGIN_VAR_READONLY`.
pub const VARIABLE_READONLY: c_int = 0x200;
/// `SHOW_ULONGLONG`.
pub const SHOW_ULONGLONG: c_int = 4;

/// `struct st_maria_plugin`.
#[repr(C)]
#[derive(Debug)]
pub struct Plugin {
    /// Kind of plug-in.
    pub kind: c_int,
    /// What belongs to the kind: an [`Encryption`].
    pub info: *const c_void,
    /// Name.
    pub name: *const c_char,
    /// Author.
    pub author: *const c_char,
    /// Description.
    pub description: *const c_char,
    /// Licence.
    pub license: c_int,
    /// Called when it is loaded.
    pub init: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    /// Called when it is unloaded.
    pub deinit: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    /// Its version.
    pub version: c_uint,
    /// Status variables, ended by zeros.
    pub status_variables: *const Status,
    /// System variables, ended by null.
    pub system_variables: *const *const c_void,
    /// Its version as text.
    pub version_text: *const c_char,
    /// How ripe it is.
    pub maturity: c_uint,
}

/// `struct st_mariadb_encryption`. The last five are null where the server shall encrypt by itself; which way it is, is known when the
/// variables are, so they are set in `init`, before the server reads them.
#[repr(C)]
#[derive(Debug)]
pub struct Encryption {
    /// [`ENCRYPTION_INTERFACE`].
    pub interface: c_int,
    /// Latest version of a key.
    pub latest_version: unsafe extern "C" fn(c_uint) -> c_uint,
    /// A key.
    pub key: unsafe extern "C" fn(c_uint, c_uint, *mut u8, *mut c_uint) -> c_uint,
    /// Size of a context.
    pub context_size: AtomicPtr<c_void>,
    /// Begins.
    pub context_init: AtomicPtr<c_void>,
    /// Goes on.
    pub context_update: AtomicPtr<c_void>,
    /// Ends.
    pub context_finish: AtomicPtr<c_void>,
    /// Length of what is encrypted.
    pub encrypted_length: AtomicPtr<c_void>,
}

/// A system variable with a text (`MYSQL_SYSVAR_STR`). The server fills in `check` and `update` where they are null.
#[repr(C)]
#[derive(Debug)]
pub struct TextVariable {
    /// `PLUGIN_VAR_…`.
    pub flags: c_int,
    /// Name.
    pub name: *const c_char,
    /// What `--help` says.
    pub comment: *const c_char,
    /// Judges a new value.
    pub check: *mut c_void,
    /// Takes a new value.
    pub update: *mut c_void,
    /// Where the server writes the value.
    pub value: *const AtomicPtr<c_char>,
    /// The default.
    pub default: *const c_char,
}

/// A system variable with a number (`MYSQL_SYSVAR_UINT`).
#[repr(C)]
#[derive(Debug)]
pub struct NumberVariable {
    /// `PLUGIN_VAR_…`.
    pub flags: c_int,
    /// Name.
    pub name: *const c_char,
    /// What `--help` says.
    pub comment: *const c_char,
    /// Judges a new value.
    pub check: *mut c_void,
    /// Takes a new value.
    pub update: *mut c_void,
    /// Where the server writes the value.
    pub value: *const AtomicU32,
    /// The default.
    pub default: c_uint,
    /// The least.
    pub least: c_uint,
    /// The most.
    pub most: c_uint,
    /// Values are multiples of it.
    pub step: c_uint,
}

/// `struct st_mysql_show_var`.
#[repr(C)]
#[derive(Debug)]
pub struct Status {
    /// Name.
    pub name: *const c_char,
    /// Where the value is.
    pub value: *const c_void,
    /// `SHOW_…`.
    pub kind: c_int,
}

/// `struct my_print_error_service_st`.
#[repr(C)]
#[derive(Debug)]
pub struct PrintError {
    /// `my_error`.
    pub error: *const c_void,
    /// `my_printf_error`.
    pub printf: unsafe extern "C" fn(c_uint, *const c_char, core::ffi::c_ulong, ...),
    /// `my_printv_error`.
    pub printv: *const c_void,
}

const _: () = {
    assert!(size_of::<Plugin>() == 104);
    assert!(size_of::<Encryption>() == 64);
    assert!(size_of::<TextVariable>() == 56);
    assert!(size_of::<NumberVariable>() == 64);
    assert!(size_of::<Status>() == 24);
};
