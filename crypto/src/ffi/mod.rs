//! What lives here: the only `unsafe` of the crate: owned AWS-LC objects and thin safe functions over
//! them, which check every length that the C side takes on trust.
//!
//! What must never live here: a decision. Which padding, which curve, which size is allowed is said in
//! the files outside.
//!
//! Who calls it: the other files of this crate.

pub(crate) mod aes;
pub(crate) mod bignum;
pub(crate) mod der;
pub(crate) mod des;
pub(crate) mod digest;
pub(crate) mod dsa;
pub(crate) mod ec;
pub(crate) mod edwards;
pub(crate) mod gcm;
pub(crate) mod heap;
pub(crate) mod oaep;
pub(crate) mod owned;
pub(crate) mod pkey;
pub(crate) mod random;
pub(crate) mod rsa;

use std::ffi::c_int;

use crate::error::Error;

/// Turns the "one is success" of AWS-LC into a result.
pub(crate) fn succeeded(answer: c_int, otherwise: Error) -> Result<(), Error> {
    if answer == 1 {
        Ok(())
    } else {
        Err(failure(otherwise))
    }
}

/// The error to report after AWS-LC failed; empties the error queue of this thread, so that nothing
/// about one caller's data stays behind for the next.
pub(crate) fn failure(otherwise: Error) -> Error {
    // SAFETY: takes no argument and touches the state of this thread only.
    unsafe { aws_lc_sys::ERR_clear_error() };
    if heap::was_exhausted() {
        Error::Memory
    } else {
        otherwise
    }
}
