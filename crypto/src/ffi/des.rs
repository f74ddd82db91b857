//! What lives here: DES key schedules, and the bare modes over whole blocks.
//!
//! What must never live here: buffering, padding and parity; the modes here take what they are given.
//!
//! Who calls it: `block.rs`.

use std::ffi::c_int;

use aws_lc_sys as lc;

use super::owned::Owned;
use crate::block::Direction;
use crate::error::Error;

/// Bytes of a DES block.
pub(crate) const BLOCK_BYTES: usize = 8;

/// The schedules of three DES keys, one behind the other; they lie in AWS-LC's heap. A single DES key stands there three times and
/// the first of two keys twice: encrypt, decrypt, encrypt is then what the shorter one does (SP 800-67, 3.1).
pub(crate) struct Schedules(Owned<lc::DES_ks>);

impl Schedules {
    pub(crate) fn new(key: &[u8]) -> Result<Self, Error> {
        let (parts, []) = key.as_chunks::<8>() else {
            return Err(Error::KeySize);
        };
        let three = match parts {
            [one] => [one, one, one],
            [first, second] => [first, second, first],
            [first, second, third] => [first, second, third],
            _ => return Err(Error::KeySize),
        };
        // SAFETY: a plain allocation.
        let pointer = unsafe { lc::OPENSSL_malloc(3 * size_of::<lc::DES_ks>()) };
        // SAFETY: fresh memory or null, freed by OPENSSL_free; all three are filled below before any use.
        let mut schedules = unsafe { Owned::<lc::DES_ks>::take(pointer.cast(), Error::Memory) }?;
        let mut place = schedules.exclusive();
        for part in three {
            // SAFETY: eight bytes of a key; `place` is one of the three writable schedules.
            unsafe { lc::DES_set_key_unchecked(part.as_ptr().cast(), place) };
            // SAFETY: three were allocated, so that this is at most one behind the last.
            place = unsafe { place.add(1) };
        }
        Ok(Self(schedules))
    }

    fn three(&self) -> [*const lc::DES_ks; 3] {
        let first = self.0.shared().cast_const();
        // SAFETY: three were allocated.
        let second = unsafe { first.add(1) };
        // SAFETY: three were allocated.
        let third = unsafe { first.add(2) };
        [first, second, third]
    }

    /// ECB over whole blocks.
    pub(crate) fn ecb(
        &self,
        direction: Direction,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        whole_blocks(input, out)?;
        let [first, second, third] = self.three();
        let blocks = input.chunks_exact(BLOCK_BYTES);
        for (from, to) in blocks.zip(out.chunks_exact_mut(BLOCK_BYTES)) {
            // SAFETY: both are one block long; the schedules are filled.
            unsafe {
                lc::DES_ecb3_encrypt(
                    from.as_ptr().cast(),
                    to.as_mut_ptr().cast(),
                    first,
                    second,
                    third,
                    number_of(direction),
                );
            }
        }
        Ok(())
    }

    /// CBC over whole blocks; the chaining value moves on.
    pub(crate) fn cbc(
        &self,
        direction: Direction,
        chain: &mut [u8; BLOCK_BYTES],
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        whole_blocks(input, out)?;
        let [first, second, third] = self.three();
        // SAFETY: equal lengths in whole blocks; the schedules are filled; one block of IV.
        unsafe {
            lc::DES_ede3_cbc_encrypt(
                input.as_ptr(),
                out.as_mut_ptr(),
                input.len(),
                first,
                second,
                third,
                chain.as_mut_ptr().cast(),
                number_of(direction),
            );
        }
        Ok(())
    }
}

fn number_of(direction: Direction) -> c_int {
    match direction {
        Direction::Encrypt => lc::DES_ENCRYPT,
        Direction::Decrypt => lc::DES_DECRYPT,
    }
}

fn whole_blocks(input: &[u8], out: &[u8]) -> Result<(), Error> {
    if input.len() == out.len() && input.len().is_multiple_of(BLOCK_BYTES) {
        Ok(())
    } else {
        Err(Error::Internal)
    }
}
