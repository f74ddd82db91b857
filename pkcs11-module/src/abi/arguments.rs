//! Arguments that only one or two functions have.
//!
//! What lives here: `CK_C_INITIALIZE_ARGS`, reserved pointers, the label of C_InitToken.
//! What must never live here: what several chapters take in; that is `caller.rs`.
//! Who calls it: the table of functions.

use std::ffi::c_void;

use cryptoki_sys::{CK_C_INITIALIZE_ARGS, CK_UTF8CHAR};
use strongroom_wire::ck::Rv;

use super::caller::Alleged;

/// PKCS#11 3.2, 5.4.1: NULL, or a structure whose reserved field is NULL and whose four callbacks are all there or all missing.
///
/// The standard has four cases of flags and callbacks. Without callbacks nothing is asked of us but locks of our own or none. With
/// callbacks and CKF_OS_LOCKING_OK either may be used. With callbacks alone, theirs are to be used or CKR_CANT_LOCK told; their callers
/// run on threads of the system all the same, whose locks work there, so the call is accepted and the callbacks are never called.
/// CKF_LIBRARY_CANT_CREATE_OS_THREADS costs nothing: no thread is ever made.
pub(super) fn refuse_bad(arguments: Alleged<c_void>) -> Result<(), Rv> {
    // SAFETY: PKCS#11 3.2, 5.4.1: the caller promises this structure behind the untyped pointer.
    let arguments = unsafe { arguments.cast::<CK_C_INITIALIZE_ARGS>() };
    if arguments.is_null() {
        return Ok(());
    }
    let arguments = arguments.read()?;
    let callbacks = [
        arguments.CreateMutex.is_some(),
        arguments.DestroyMutex.is_some(),
        arguments.LockMutex.is_some(),
        arguments.UnlockMutex.is_some(),
    ];
    let some = callbacks.contains(&true);
    let all = !callbacks.contains(&false);
    if !arguments.pReserved.is_null() || (some && !all) {
        return Err(Rv::ARGUMENTS_BAD);
    }
    Ok(())
}

/// A reserved pointer must be NULL.
pub(super) fn refuse_reserved(reserved: Alleged<c_void>) -> Result<(), Rv> {
    if reserved.is_null() {
        Ok(())
    } else {
        Err(Rv::ARGUMENTS_BAD)
    }
}

/// The label of C_InitToken: 32 bytes, blank padded, without a length beside it.
pub(super) fn label(label: Alleged<CK_UTF8CHAR>) -> Result<[u8; 32], Rv> {
    // SAFETY: PKCS#11 3.2, 5.5.7: the caller promises 32 bytes.
    unsafe { label.cast() }.read()
}
