//! The server's error log.
//!
//! What lives here: the service that the server lends for messages, and three degrees of a line.
//! What must never live here: what is said; and no line ever carries a PIN, a key or a value.
//! Who calls it: all rooms.

#![allow(non_upper_case_globals, reason = "the server looks the name up")]

use core::ffi::c_ulong;
use core::ptr::without_provenance_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::ffi::CString;

use super::layout::PrintError;

/// The server finds this name when it loads the plug-in, reads the version of the service from it and puts the address of the service there.
// SAFETY: the name belongs to the interface of plug-ins, and the server gives it this meaning.
#[unsafe(no_mangle)]
pub(crate) static my_print_error_service: AtomicPtr<PrintError> =
    AtomicPtr::new(without_provenance_mut(SERVICE_VERSION));

const SERVICE_VERSION: usize = 0x0100;
/// `ME_ERROR_LOG_ONLY`: no client is told.
const LOG_ONLY: c_ulong = 128;
const NOTE: c_ulong = 1024;
const WARNING: c_ulong = 2048;
/// `ER_UNKNOWN_ERROR`; the log does not show it.
const NUMBER: u32 = 1105;

/// Something that an operator may want to know.
pub(crate) fn note(text: &str) {
    write(text, NOTE);
}

/// Something that is not as it should be, and work goes on.
pub(crate) fn warning(text: &str) {
    write(text, WARNING);
}

/// Something because of which work does not go on.
pub(crate) fn error(text: &str) {
    write(text, 0);
}

fn write(text: &str, degree: c_ulong) {
    // The server cuts a message at 512 bytes.
    let line: String = text.chars().filter(|one| !one.is_control()).collect();
    let service = my_print_error_service.load(Ordering::Acquire);
    let Ok(line) = CString::new(format!("strongroom: {line}")) else {
        return;
    };
    if service.addr() == SERVICE_VERSION {
        // No server lent its log: a test.
        return;
    }
    // SAFETY: the server put the address of its service there, which lives as long as the server does.
    let service = unsafe { &*service };
    // SAFETY: the format takes one C string, which outlives the call.
    unsafe { (service.printf)(NUMBER, c"%s".as_ptr(), LOG_ONLY | degree, line.as_ptr()) };
}
