//! *What lives here:* wiping that the compiler may not remove, and the end of the process when the heap is corrupted.
//! *What must never live here:* a decision about what to wipe. *Who calls it:* every owner of secret bytes.

use std::ptr::NonNull;

/// Wipes ordinary memory.
pub fn wipe(bytes: &mut [u8]) {
    let pointer = bytes.as_mut_ptr().cast();
    // explicit_bzero runs at the speed of memset; zeroize stores byte by byte, which a 16 KiB block of AWS-LC feels.
    // SAFETY: the slice is exclusively ours and `len` bytes long.
    unsafe { libc::explicit_bzero(pointer, bytes.len()) }
}

/// Wipes memory that has no slice.
///
/// # Safety
/// `bytes` bytes from `pointer` on are mapped, writable and in nobody else's use.
pub(crate) unsafe fn wipe_at(pointer: NonNull<u8>, bytes: usize) {
    // SAFETY: promised by the caller.
    unsafe { libc::explicit_bzero(pointer.as_ptr().cast(), bytes) }
}

/// Ends the process: a key daemon whose heap is corrupted must not go on, not even to unwind.
pub(crate) fn corrupted(what: &str) -> ! {
    for part in ["strongroom-keymem: ", what, "\n"] {
        // Not eprintln!: its lock may be held by the very thread that got here, and it may allocate.
        // SAFETY: the slice is readable for its whole length; a failed write changes nothing.
        let _ = unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiped_bytes_are_zero() {
        let mut bytes = [0xA5_u8; 100];
        wipe(&mut bytes[10..90]);
        assert!(bytes[10..90].iter().all(|byte| *byte == 0));
        assert_eq!((bytes[9], bytes[90]), (0xA5, 0xA5));
        wipe(&mut []);
    }
}
