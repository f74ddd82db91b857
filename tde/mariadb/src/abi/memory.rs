//! Memory for data keys.
//!
//! What lives here: one mapping that is locked, left out of core dumps and empty in a forked child, as far as the kernel grants it to a
//! guest; and places of 32 bytes in it.
//! What must never live here: anything that is no key. The server's limit on locked memory is small (Debian's unit: 512 KiB).
//! Who calls it: `keyring`.

use core::ptr::{NonNull, null_mut};
use core::slice;

use zeroize::Zeroize as _;

/// Bytes of a data key: AES-256.
pub(crate) const KEY_BYTES: usize = 32;
/// Versions of all keys together that one server may use: 2,048.
const MAPPING_BYTES: usize = 64 << 10;

/// Data keys.
#[derive(Debug)]
pub(crate) struct KeyMemory {
    base: NonNull<u8>,
    used: usize,
    locked: bool,
}

/// Where a data key lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(usize);

// SAFETY: the mapping is owned by the value, and is written through `&mut` only.
unsafe impl Send for KeyMemory {}
// SAFETY: `&KeyMemory` only reads.
unsafe impl Sync for KeyMemory {}

impl KeyMemory {
    /// Maps it.
    pub(crate) fn map() -> Option<Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping wherever the kernel likes.
        let base = unsafe { libc::mmap(null_mut(), MAPPING_BYTES, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the mapping is ours.
        let locked = unsafe { libc::mlock(base, MAPPING_BYTES) } == 0;
        for advice in [libc::MADV_DONTDUMP, libc::MADV_WIPEONFORK] {
            // An old kernel that knows neither leaves ordinary memory, and `locked` says what matters most.
            // SAFETY: the mapping is ours; neither advice changes what this process reads.
            unsafe { libc::madvise(base, MAPPING_BYTES, advice) };
        }
        NonNull::new(base.cast()).map(|base| Self {
            base,
            used: 0,
            locked,
        })
    }

    /// Whether it can reach the swap.
    pub(crate) const fn is_locked(&self) -> bool {
        self.locked
    }

    /// Keeps a key; none when the mapping is full.
    pub(crate) fn keep(&mut self, key: &[u8; KEY_BYTES]) -> Option<Place> {
        let place = Place(self.used);
        let end = self.used.checked_add(KEY_BYTES)?;
        if end > MAPPING_BYTES {
            return None;
        }
        self.bytes_mut().get_mut(place.0..end)?.copy_from_slice(key);
        self.used = end;
        Some(place)
    }

    /// Copies a key to where the server wants it.
    pub(crate) fn copy_to(&self, place: Place, out: &mut [u8; KEY_BYTES]) {
        if let Some(key) = self.bytes().get(place.0..place.0 + KEY_BYTES) {
            out.copy_from_slice(key);
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is this long, initialised (zeros), ours, and lives as long as `self`.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), MAPPING_BYTES) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only way to it.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), MAPPING_BYTES) }
    }
}

impl Drop for KeyMemory {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: the mapping is ours and nobody has a reference into it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), MAPPING_BYTES) };
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_the_room_ends() {
        let mut memory = KeyMemory::map().unwrap();
        let mut places = Vec::new();
        for number in 0..MAPPING_BYTES / KEY_BYTES {
            places.push(memory.keep(&[number as u8; KEY_BYTES]).unwrap());
        }
        assert!(memory.keep(&[1; KEY_BYTES]).is_none());
        for (number, place) in places.into_iter().enumerate() {
            let mut key = [0; KEY_BYTES];
            memory.copy_to(place, &mut key);
            assert_eq!(key, [number as u8; KEY_BYTES]);
        }
    }

    #[test]
    fn the_kernel_keeps_it_out_of_dumps() {
        let memory = KeyMemory::map().unwrap();
        let start = format!("{:x}-", memory.base.as_ptr().addr());
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mine = maps.lines().skip_while(|line| !line.starts_with(&start));
        let flags = mine
            .into_iter()
            .find(|line| line.starts_with("VmFlags:"))
            .unwrap();
        assert!(flags.contains(" dd"), "{flags}");
        assert!(!memory.is_locked() || flags.contains(" lo"), "{flags}");
    }
}
