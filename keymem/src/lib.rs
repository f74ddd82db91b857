//! Locked, guarded, wiped memory.
//!
//! *What lives here:* one region that the kernel keeps out of swap, dumps and forks, an allocator over it, and the two owners of
//! secret bytes, [`SecretBytes`] and [`SecretVec`]. *What must never live here:* any notion of keys, tokens or PKCS#11, and any
//! other package of ours. *Who calls it:* `crypto` (the heap of AWS-LC and key material), the token, and the daemon.
//!
//! The reading order is the order of the modules: how much ([`start`]), from where (`region`), in pieces (`spans`, `classes`,
//! `pool`), owned by whom (`secret`, `buffer`).

mod budget;
mod region;
mod spans;

mod classes;
mod pool;

mod buffer;
mod secret;

mod wipe;

use std::error::Error;
use std::fmt;
use std::ptr::NonNull;
use std::sync::OnceLock;

use parking_lot::Mutex;

pub use crate::budget::{Config, Locking, StartError};
pub use crate::buffer::SecretVec;
pub use crate::secret::SecretBytes;
pub use crate::wipe::wipe;

use crate::pool::Pool;
use crate::wipe::corrupted;

/// What kind of locking is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// memfd_secret(2): unmapped from the kernel itself, so not even root reads it through `/proc` or a core dump.
    MemfdSecret,
    /// Anonymous memory under mlock2(2): never swapped, never dumped.
    LockedAnonymous,
    /// Ordinary memory, because the operator allowed it by name. It may reach swap.
    Unlocked,
}

impl fmt::Display for Backing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::MemfdSecret => "memfd_secret",
            Self::LockedAnonymous => "mlock",
            Self::Unlocked => "unlocked",
        })
    }
}

/// How the pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What keeps the region in memory.
    pub backing: Backing,
    /// The whole budget.
    pub bytes_total: usize,
    /// Bytes in live allocations, rounded up as the pool rounds them.
    pub bytes_used: usize,
    /// The most bytes that were ever set aside in whole pages at one time: how near the pool came to its end.
    pub bytes_peak: usize,
    /// Live allocations.
    pub allocations: usize,
}

/// The locked memory is used up, or was never started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the locked memory is used up or was not started")
    }
}

impl Error for OutOfMemory {}

/// Takes the whole budget, once for the process. A second call answers `Ok` without effect.
///
/// Takes the address range and the right to lock it; pages are filled in as the pool grows, because filling 64 MiB of
/// memfd_secret costs up to 0.7 s on a virtual machine. A page that cannot be filled later is [`OutOfMemory`], never a signal.
///
/// # Errors
/// [`StartError`] says what was tried, what is wrong and what to do.
pub fn start(config: &Config) -> Result<(), StartError> {
    let _one_at_a_time = STARTING.lock();
    if POOL.get().is_none() {
        let pool = Pool::new(budget::take_region(config)?);
        // Cannot be set already: it was empty, and the lock is held.
        let _ = POOL.set(pool);
    }
    Ok(())
}

/// How the pool stands; `None` before [`start`].
pub fn status() -> Option<Status> {
    POOL.get().map(Pool::status)
}

/// At least `bytes` bytes, 16-byte aligned, for the heap of a C library. Wiped when released.
///
/// `None` when the pool is full or not started.
pub fn allocate(bytes: usize) -> Option<NonNull<u8>> {
    POOL.get()?.allocate(bytes)
}

/// Moves an allocation to one of at least `bytes` bytes, keeping its content up to the smaller size. The old place is wiped.
///
/// `None` when the pool is full; the old allocation then stays as it was.
///
/// # Safety
/// `pointer` came from [`allocate`] or [`reallocate`], is live, and after `Some` only the new pointer is used.
pub unsafe fn reallocate(pointer: NonNull<u8>, bytes: usize) -> Option<NonNull<u8>> {
    let pool = started();
    // SAFETY: the caller keeps the very contract of `Pool::reallocate`.
    unsafe { pool.reallocate(pointer, bytes) }
}

/// Wipes an allocation and gives it back. Aborts the process when the pointer is foreign or was released already.
///
/// # Safety
/// `pointer` came from [`allocate`] or [`reallocate`] and is not used again.
pub unsafe fn release(pointer: NonNull<u8>) {
    let pool = started();
    // SAFETY: the caller keeps the very contract of `Pool::release`.
    unsafe { pool.release(pointer) }
}

/// The usable size of an allocation: at least what was asked for.
///
/// # Safety
/// `pointer` came from [`allocate`] or [`reallocate`] and is live. A foreign pointer aborts the process.
pub unsafe fn size_of_allocation(pointer: NonNull<u8>) -> usize {
    started().size_of_allocation(pointer)
}

/// Is this address inside the locked region?
pub fn contains(pointer: *const u8) -> bool {
    POOL.get().is_some_and(|pool| pool.contains(pointer))
}

fn started() -> &'static Pool {
    POOL.get()
        .unwrap_or_else(|| corrupted("a pointer was handed back before the pool was started"))
}

/// Never dropped: a C library frees from exit handlers and dying threads.
static POOL: OnceLock<Pool> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());
