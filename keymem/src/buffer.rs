//! *What lives here:* [`SecretVec`], a growable buffer for plaintext, frames and outputs in flight. *What must never live here:*
//! a way to copy or print one by accident. *Who calls it:* connections, operations, codecs.

use std::fmt;
use std::ptr::NonNull;
use std::slice;

use parking_lot::Mutex;

use crate::region::Mapping;
use crate::wipe::wipe;
use crate::{OutOfMemory, allocate, release, size_of_allocation};

/// A growable buffer. Up to 64 KiB of capacity it lies in the pool, above that in a mapping of its own, which is kept from dumps
/// and forks and locked when the limit allows.
pub struct SecretVec {
    /// Dangling when `home` is [`Home::Nowhere`].
    pointer: NonNull<u8>,
    len: usize,
    capacity: usize,
    home: Home,
}

enum Home {
    Nowhere,
    Pool,
    Mapping(Mapping),
}

// SAFETY: the buffer is owned like a Vec<u8>; pool and mapping belong to no thread.
unsafe impl Send for SecretVec {}
// SAFETY: `&SecretVec` only reads.
unsafe impl Sync for SecretVec {}

impl SecretVec {
    /// An empty buffer, which allocates nothing.
    pub const fn new() -> Self {
        Self {
            pointer: NonNull::dangling(),
            len: 0,
            capacity: 0,
            home: Home::Nowhere,
        }
    }

    /// An empty buffer with room for `bytes` bytes.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the pool is full or not started, or the system has no memory for a big buffer.
    pub fn with_capacity(bytes: usize) -> Result<Self, OutOfMemory> {
        if bytes == 0 {
            return Ok(Self::new());
        }
        if bytes > POOLED_BYTES_MAX {
            let mapping = kept_mapping(bytes)
                .map_or_else(|| Mapping::locked_if_allowed(rounded(bytes)), Ok)
                .map_err(|_| OutOfMemory)?;
            let (pointer, capacity) = (mapping.at(0), mapping.bytes());
            return Ok(Self {
                pointer,
                len: 0,
                capacity,
                home: Home::Mapping(mapping),
            });
        }
        let pointer = allocate(bytes).ok_or(OutOfMemory)?;
        // SAFETY: the allocation is live and ours.
        let capacity = unsafe { size_of_allocation(pointer) };
        Ok(Self {
            pointer,
            len: 0,
            capacity,
            home: Home::Pool,
        })
    }

    /// Appends a copy of `bytes`.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the buffer is then as before.
    pub fn push_slice(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.make_room(bytes.len())?;
        self.lengthen(bytes.len()).copy_from_slice(bytes);
        Ok(())
    }

    /// Makes it `len` bytes longer, zero-filled, and gives the new part.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the buffer is then as before.
    pub fn grow(&mut self, len: usize) -> Result<&mut [u8], OutOfMemory> {
        self.make_room(len)?;
        let added = self.lengthen(len);
        added.fill(0);
        Ok(added)
    }

    /// Makes it `len` bytes longer and gives the new part, to be overwritten whole: it holds old bytes of nobody's.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the buffer is then as before.
    pub fn grow_unfilled(&mut self, len: usize) -> Result<&mut [u8], OutOfMemory> {
        self.make_room(len)?;
        Ok(self.lengthen(len))
    }

    /// Makes room for so many bytes more, so that it moves at most once.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the buffer is then as before.
    pub fn reserve(&mut self, more: usize) -> Result<(), OutOfMemory> {
        self.make_room(more)
    }

    /// Cuts it to `len` bytes and wipes what is cut off. A longer `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            wipe(&mut self.expose_mut()[len..]);
            self.len = len;
        }
    }

    /// Wipes everything; the capacity stays.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How long it can become without moving.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The bytes. The name is for the reviewer: what is copied from here is no longer guarded.
    pub fn expose(&self) -> &[u8] {
        // SAFETY: `len` bytes from the pointer on are initialised and live as long as `self`, or it dangles and `len` is 0.
        unsafe { slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }

    /// The bytes, to be changed.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `expose`, and `&mut self` excludes every other view.
        unsafe { slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }

    /// Lets an empty buffer give back a mapping of its own; one that is in use or in the pool stays as it is.
    pub fn shrink_to_pool(&mut self) {
        if self.is_empty() && matches!(self.home, Home::Mapping(_)) {
            *self = Self::new();
        }
    }

    /// Moves to a larger home if `more` bytes do not fit.
    fn make_room(&mut self, more: usize) -> Result<(), OutOfMemory> {
        let needed = self.len.checked_add(more).ok_or(OutOfMemory)?;
        if needed <= self.capacity {
            return Ok(());
        }
        let doubled = self.capacity.saturating_mul(2).max(needed);
        // Doubling alone is no reason to leave the pool.
        let capacity = if needed <= POOLED_BYTES_MAX {
            doubled.min(POOLED_BYTES_MAX)
        } else {
            doubled
        };
        let mut larger = Self::with_capacity(capacity.max(CAPACITY_MIN))?;
        larger.lengthen(self.len).copy_from_slice(self.expose());
        // The old home is wiped as it drops.
        *self = larger;
        Ok(())
    }

    /// Adds bytes that fit and gives them, whatever they hold: memory of the pool and of mappings is initialised throughout.
    fn lengthen(&mut self, more: usize) -> &mut [u8] {
        assert!(more <= self.capacity - self.len, "room was made before");
        let start = self.len;
        self.len += more;
        &mut self.expose_mut()[start..]
    }
}

impl Default for SecretVec {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for SecretVec {
    fn drop(&mut self) {
        if matches!(self.home, Home::Mapping(_)) {
            self.clear();
        }
        match std::mem::replace(&mut self.home, Home::Nowhere) {
            Home::Nowhere => {}
            // SAFETY: the pointer came from `allocate` and ends with `self`. The pool wipes it.
            Home::Pool => unsafe { release(self.pointer) },
            Home::Mapping(mapping) => keep_mapping(mapping),
        }
    }
}

impl fmt::Debug for SecretVec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretVec({} bytes)", self.len)
    }
}

/// Mappings that nobody uses, wiped: to map, lock and unmap a mebibyte costs more than to encrypt it.
static KEPT: Mutex<Vec<Mapping>> = Mutex::new(Vec::new());

/// Rounded up so that a kept mapping serves others too; the largest are not kept, and not made larger than they must be.
const fn rounded(bytes: usize) -> usize {
    if bytes <= KEPT_BYTES_MAX / 4 {
        bytes.next_power_of_two()
    } else {
        bytes
    }
}

/// A kept mapping that is long enough, and not longer than a new one would be twice over.
fn kept_mapping(bytes: usize) -> Option<Mapping> {
    let mut kept = KEPT.lock();
    let fits = |mapping: &Mapping| (bytes..=bytes.saturating_mul(4)).contains(&mapping.bytes());
    let place = kept.iter().position(fits)?;
    Some(kept.swap_remove(place))
}

/// Keeps a wiped mapping for the next one who wants it, unless there are enough.
fn keep_mapping(mapping: Mapping) {
    let mut kept = KEPT.lock();
    let bytes: usize = kept.iter().map(Mapping::bytes).sum();
    if bytes + mapping.bytes() <= KEPT_BYTES_MAX {
        kept.push(mapping);
    }
}

/// Most memory in kept mappings: what two connections with requests of a mebibyte have in use.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// Above this a buffer would press the pool of the keys.
const POOLED_BYTES_MAX: usize = 64 << 10;
/// Less would mean several moves for the shortest frame.
const CAPACITY_MIN: usize = 64;
