//! *What lives here:* [`SecretBytes`], a secret of fixed length in the locked pool. *What must never live here:* a way to copy
//! or print one by accident. *Who calls it:* whoever holds key material.

use std::fmt;
use std::hint::black_box;
use std::ptr::NonNull;
use std::slice;

use crate::{OutOfMemory, allocate, release};

/// A secret of fixed length in the locked pool. Seen inside a closure only, wiped on drop.
pub struct SecretBytes {
    /// Dangling when `len` is 0.
    pointer: NonNull<u8>,
    len: usize,
}

// SAFETY: the block is owned like a Box<[u8]>; the pool may be used from any thread.
unsafe impl Send for SecretBytes {}
// SAFETY: `&SecretBytes` only reads.
unsafe impl Sync for SecretBytes {}

impl SecretBytes {
    /// `len` zeros, to be written with [`SecretBytes::with_mut`].
    ///
    /// # Errors
    /// [`OutOfMemory`] when the pool is full or not started.
    pub fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        if len == 0 {
            return Ok(Self {
                pointer: NonNull::dangling(),
                len,
            });
        }
        let pointer = allocate(len).ok_or(OutOfMemory)?;
        // A free block is zero already; this holds even if a C library wrote to one after releasing it.
        // SAFETY: the allocation is ours and at least `len` bytes long.
        unsafe { pointer.write_bytes(0, len) };
        Ok(Self { pointer, len })
    }

    /// A copy of bytes that lie elsewhere. Wiping those is the caller's duty.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the pool is full or not started.
    pub fn copy_from(bytes: &[u8]) -> Result<Self, OutOfMemory> {
        let mut secret = Self::zeroed(bytes.len())?;
        secret.bytes_mut().copy_from_slice(bytes);
        Ok(secret)
    }

    /// `len` bytes that `fill` writes in place.
    ///
    /// # Errors
    /// What `fill` says, or [`OutOfMemory`] as its error.
    pub fn filled_by<E: From<OutOfMemory>>(
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = Self::zeroed(len)?;
        fill(secret.bytes_mut())?;
        Ok(secret)
    }

    /// A second copy, asked for by name.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the pool is full.
    pub fn duplicate(&self) -> Result<Self, OutOfMemory> {
        Self::copy_from(self.bytes())
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets a closure see the bytes.
    pub fn with<R>(&self, see: impl FnOnce(&[u8]) -> R) -> R {
        see(self.bytes())
    }

    /// Lets a closure change the bytes.
    pub fn with_mut<R>(&mut self, see: impl FnOnce(&mut [u8]) -> R) -> R {
        see(self.bytes_mut())
    }

    /// Compares without telling by time where the difference is. That the lengths differ is no secret.
    pub fn equals_in_constant_time(&self, other: &[u8]) -> bool {
        let differences = self
            .bytes()
            .iter()
            .zip(other)
            .fold(0_u8, |differences, (own, other)| {
                // The barrier keeps the compiler from leaving the loop at the first difference.
                black_box(differences | (own ^ other))
            });
        self.len == other.len() && differences == 0
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the pointer is to `len` initialised bytes that live as long as `self`, or dangling and aligned for 0.
        unsafe { slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` excludes every other view.
        unsafe { slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the pointer came from `allocate` and ends with `self`. The pool wipes it.
            unsafe { release(self.pointer) };
        }
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretBytes({} bytes)", self.len)
    }
}
