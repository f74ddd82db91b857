//! What lives here: AWS-LC's random generator, and the guard against its one sharp edge.
//!
//! What must never live here: another source of randomness.
//!
//! Who calls it: `random.rs`, and every wrapper whose C function draws random bytes inside.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_sys as lc;

use super::{heap, succeeded};
use crate::error::Error;

/// Fills the slice with random bytes.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    prepare_thread()?;
    // SAFETY: the pointer and the length describe one writable slice.
    let answer = unsafe { lc::RAND_bytes(bytes.as_mut_ptr(), bytes.len()) };
    succeeded(answer, Error::Internal)
}

/// Makes sure that this thread has its generator.
///
/// AWS-LC allocates the state of a thread's generator at the first draw and aborts the process when it
/// gets no memory. Here the first draw of a thread is refused instead, while there is little room left.
pub(crate) fn prepare_thread() -> Result<(), Error> {
    if READY.get() {
        return Ok(());
    }
    let needed = if SEEDED.load(Ordering::Acquire) {
        THREAD_BYTES
    } else {
        PROCESS_BYTES
    };
    if !heap::has_room_for(needed) {
        return Err(Error::Memory);
    }
    let mut first = [0_u8; 1];
    // SAFETY: the pointer and the length describe one writable array.
    let answer = unsafe { lc::RAND_bytes(first.as_mut_ptr(), first.len()) };
    succeeded(answer, Error::Internal)?;
    SEEDED.store(true, Ordering::Release);
    READY.set(true);
    Ok(())
}

thread_local! {
    static READY: Cell<bool> = const { Cell::new(false) };
}

/// Whether some thread has drawn: what belongs to the process is then made.
static SEEDED: AtomicBool = AtomicBool::new(false);

/// The first draw makes the process-wide jitter collector too, whose buffer follows the data cache of
/// the processor (measured: 160 KiB at the peak, 130 KiB for good).
const PROCESS_BYTES: usize = 512 * 1024;

/// A thread's generator takes about one kilobyte; in whole pages, of which the pool can cut any size.
const THREAD_BYTES: usize = 32 * 1024;
