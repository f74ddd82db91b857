//! *What lives here:* mappings between guard pages: memfd_secret, locked or ordinary anonymous memory, kept out of dumps and
//! forks. *What must never live here:* the division of a mapping into pieces. *Who calls it:* `budget` for the one region of the
//! pool, `buffer` for a big buffer of its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

/// Writable bytes with an inaccessible page before and after. Unmapped on drop; wiping is the owner's duty.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    guard: usize,
}

// SAFETY: the mapping is owned memory like a Box<[u8]>; it belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` gives out addresses and numbers only; who writes through an address upholds exclusion.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory that only this process can see: the kernel takes it out of its own page tables. Locked and never dumped by nature.
    pub(crate) fn secret(bytes: usize) -> io::Result<Self> {
        let mapping = Self::reserved(bytes)?;
        let file = secret_file()?;
        file.set_len(mapping.bytes as u64)?;
        let address = mapping.start.as_ptr().cast();
        // SAFETY: MAP_FIXED replaces exactly the inaccessible middle of the reservation, which is ours and unused.
        let mapped = unsafe {
            libc::mmap(
                address,
                mapping.bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                file.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        mapping.kept_from_dumps_and_forks()
    }

    /// Anonymous memory locked from the first touch of each page on. The whole length counts against the limit at once.
    pub(crate) fn locked(bytes: usize) -> io::Result<Self> {
        let mapping = Self::unlocked(bytes)?;
        mapping.lock()?;
        Ok(mapping)
    }

    /// Anonymous memory, locked when the limit allows.
    pub(crate) fn locked_if_allowed(bytes: usize) -> io::Result<Self> {
        let mapping = Self::unlocked(bytes)?;
        // A refusal is expected under a small RLIMIT_MEMLOCK: the buffer is then unlocked, but still guarded and wiped.
        let _ = mapping.lock();
        Ok(mapping)
    }

    /// Anonymous memory, only guarded and kept from dumps and forks.
    pub(crate) fn unlocked(bytes: usize) -> io::Result<Self> {
        let mapping = Self::reserved(bytes)?;
        let address = mapping.start.as_ptr().cast();
        // SAFETY: the range is the middle of a reservation that is ours and unused.
        let result =
            unsafe { libc::mprotect(address, mapping.bytes, libc::PROT_READ | libc::PROT_WRITE) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        mapping.kept_from_dumps_and_forks()
    }

    /// The usable length, a multiple of the system's page.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address `offset` bytes into the mapping.
    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.bytes, "an offset beyond the mapping");
        // SAFETY: `offset` was just seen to lie inside the mapping.
        unsafe { self.start.add(offset) }
    }

    /// Where in the mapping this address lies.
    pub(crate) fn offset_of(&self, pointer: *const u8) -> Option<usize> {
        let offset = pointer.addr().checked_sub(self.start.as_ptr().addr())?;
        (offset < self.bytes).then_some(offset)
    }

    /// Fills in the pages of a range that nobody uses yet, so that touching them can no longer fail.
    ///
    /// A page that the kernel cannot provide would be SIGBUS if touched by us, but is an error if touched by the kernel on
    /// our behalf: so a system call is made to write into each page. MADV_POPULATE_WRITE would be the plain way, but
    /// memfd_secret refuses it, as it refuses every kernel access by page.
    pub(crate) fn populate(&self, offset: usize, bytes: usize) -> io::Result<()> {
        for page in (offset..offset + bytes).step_by(self.guard) {
            let address = self.at(page).as_ptr();
            // SAFETY: without a new set, rt_sigprocmask only writes the present mask to `address`, inside a page of ours
            // that nobody uses yet.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_rt_sigprocmask,
                    libc::SIG_BLOCK,
                    ptr::null::<u8>(),
                    address,
                    KERNEL_SIGNAL_SET_BYTES,
                )
            };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the page exists now, is ours, and nobody uses it yet.
            unsafe { address.write_bytes(0, KERNEL_SIGNAL_SET_BYTES) };
        }
        Ok(())
    }

    /// An inaccessible reservation; the pages at both ends stay as they are for ever.
    fn reserved(bytes: usize) -> io::Result<Self> {
        let guard = system_page_bytes();
        let usable = bytes.max(1).checked_next_multiple_of(guard);
        let Some((usable, whole)) =
            usable.and_then(|usable| Some((usable, usable.checked_add(2 * guard)?)))
        else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { libc::mmap(ptr::null_mut(), whole, libc::PROT_NONE, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast::<u8>().wrapping_add(guard))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            bytes: usable,
            guard,
        })
    }

    fn kept_from_dumps_and_forks(self) -> io::Result<Self> {
        // DONTFORK and not WIPEONFORK: the latter is refused for shared mappings, which memfd_secret is.
        for advice in [libc::MADV_DONTDUMP, libc::MADV_DONTFORK] {
            let address = self.start.as_ptr().cast();
            // SAFETY: neither advice changes what this process sees in the range, which is ours.
            if unsafe { libc::madvise(address, self.bytes, advice) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(self)
    }

    fn lock(&self) -> io::Result<()> {
        let address = self.start.as_ptr();
        // SAFETY: locking changes nothing that the program can see.
        let result =
            unsafe { libc::syscall(libc::SYS_mlock2, address, self.bytes, libc::MLOCK_ONFAULT) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let address = self.start.as_ptr().wrapping_sub(self.guard).cast();
        // SAFETY: the reservation with both guards is ours, and its owner is going away. A failure could only leak it.
        let _ = unsafe { libc::munmap(address, self.bytes + 2 * self.guard) };
    }
}

/// The size of a page of this system.
pub(crate) fn system_page_bytes() -> usize {
    // SAFETY: sysconf reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

fn secret_file() -> io::Result<File> {
    // SAFETY: takes a flag only, and gives a new descriptor or an error.
    let descriptor = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    match i32::try_from(descriptor) {
        Ok(descriptor) if descriptor >= 0 => {
            // SAFETY: the descriptor is new and nobody else owns it.
            let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
            Ok(File::from(owned))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The size of a signal set in the system call, which is not that of the C library.
const KERNEL_SIGNAL_SET_BYTES: usize = 8;

#[cfg(test)]
#[path = "region_tests.rs"]
mod tests;
