//! What lives here: random bytes from AWS-LC's generator (a CTR_DRBG of SP 800-90A per thread).
//!
//! What must never live here: a second source, or a seed given by a caller.
//!
//! Who calls it: whoever needs a key, an IV, a salt or a handle that cannot be guessed.

use crate::error::Error;
use crate::ffi;

/// Fills the slice with random bytes.
///
/// # Errors
/// [`Error::Memory`] when this is the first draw of the thread and the locked memory is nearly full.
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    ffi::random::fill(bytes)
}

/// Makes the generator of this thread, so that later draws cannot fail for want of memory.
///
/// Every operation that draws does this by itself; a thread that wants to fail early calls it first.
///
/// # Errors
/// [`Error::Memory`] when the locked memory is nearly full: AWS-LC would abort the process there.
pub fn prepare_thread() -> Result<(), Error> {
    ffi::random::prepare_thread()
}
