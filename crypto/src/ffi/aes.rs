//! What lives here: AES key schedules, the bare modes over whole blocks, CTR, and key wrap.
//!
//! What must never live here: buffering and padding; the modes here take what they are given.
//!
//! Who calls it: `aes.rs` and `wrap.rs`.

use std::ffi::{c_int, c_uint};

use aws_lc_sys as lc;

use super::owned::Owned;
use super::{failure, succeeded};
use crate::block::Direction;
use crate::error::Error;

/// Bytes of an AES block.
pub(crate) const BLOCK_BYTES: usize = 16;

/// The schedule of one AES key for one direction; it lies in AWS-LC's heap.
pub(crate) struct Schedule(Owned<lc::AES_KEY>);

impl Schedule {
    pub(crate) fn encrypting(key: &[u8]) -> Result<Self, Error> {
        Self::made_by(lc::AES_set_encrypt_key, key)
    }

    fn decrypting(key: &[u8]) -> Result<Self, Error> {
        Self::made_by(lc::AES_set_decrypt_key, key)
    }

    fn made_by(
        set: unsafe extern "C" fn(*const u8, c_uint, *mut lc::AES_KEY) -> c_int,
        key: &[u8],
    ) -> Result<Self, Error> {
        if !matches!(key.len(), 16 | 24 | 32) {
            return Err(Error::KeySize);
        }
        let bits = c_uint::try_from(key.len() * 8).map_err(|_| Error::KeySize)?;
        // SAFETY: a plain allocation.
        let pointer = unsafe { lc::OPENSSL_malloc(size_of::<lc::AES_KEY>()) };
        // SAFETY: fresh memory or null, freed by OPENSSL_free; it is filled below before any use.
        let mut schedule = unsafe { Owned::<lc::AES_KEY>::take(pointer.cast(), Error::Memory) }?;
        // SAFETY: the key has `bits` bits and the schedule is a writable AES_KEY of ours.
        let answer = unsafe { set(key.as_ptr(), bits, schedule.exclusive()) };
        succeeded(answer + 1, Error::Internal)?;
        Ok(Self(schedule))
    }

    /// One block, with a schedule that encrypts.
    pub(crate) fn encrypted(&self, block: &[u8; BLOCK_BYTES]) -> [u8; BLOCK_BYTES] {
        let mut out = [0; BLOCK_BYTES];
        // SAFETY: both are one block long; the schedule is filled.
        unsafe { lc::AES_encrypt(block.as_ptr(), out.as_mut_ptr(), self.shared()) };
        out
    }

    fn shared(&self) -> *const lc::AES_KEY {
        self.0.shared()
    }
}

/// Both schedules of one AES key.
pub(crate) struct Schedules {
    encrypt: Schedule,
    decrypt: Schedule,
}

impl Schedules {
    pub(crate) fn new(key: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            encrypt: Schedule::encrypting(key)?,
            decrypt: Schedule::decrypting(key)?,
        })
    }

    fn of(&self, direction: Direction) -> *const lc::AES_KEY {
        match direction {
            Direction::Encrypt => self.encrypt.shared(),
            Direction::Decrypt => self.decrypt.shared(),
        }
    }

    /// ECB over whole blocks.
    pub(crate) fn ecb(
        &self,
        direction: Direction,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        whole_blocks(input, out)?;
        let operation: unsafe extern "C" fn(*const u8, *mut u8, *const lc::AES_KEY) =
            match direction {
                Direction::Encrypt => lc::AES_encrypt,
                Direction::Decrypt => lc::AES_decrypt,
            };
        let schedule = self.of(direction);
        for (from, to) in input
            .chunks_exact(BLOCK_BYTES)
            .zip(out.chunks_exact_mut(BLOCK_BYTES))
        {
            // SAFETY: both are one block long; the schedule is of this direction.
            unsafe { operation(from.as_ptr(), to.as_mut_ptr(), schedule) };
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
        if input.is_empty() {
            return Ok(());
        }
        let encrypt = match direction {
            Direction::Encrypt => lc::AES_ENCRYPT,
            Direction::Decrypt => lc::AES_DECRYPT,
        };
        // SAFETY: equal lengths in whole blocks; the schedule is of this direction; one block of IV.
        unsafe {
            lc::AES_cbc_encrypt(
                input.as_ptr(),
                out.as_mut_ptr(),
                input.len(),
                self.of(direction),
                chain.as_mut_ptr(),
                encrypt,
            );
        }
        Ok(())
    }

    /// CTR with a counter of 128 bits; `used` counts the bytes of `keystream` that are spent.
    pub(crate) fn ctr(
        &self,
        counter: &mut [u8; BLOCK_BYTES],
        keystream: &mut [u8; BLOCK_BYTES],
        used: &mut u32,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        if input.len() != out.len() || *used >= 16 {
            return Err(Error::Internal);
        }
        // SAFETY: equal lengths; counter and keystream are one block each; `used` is below 16.
        unsafe {
            lc::AES_ctr128_encrypt(
                input.as_ptr(),
                out.as_mut_ptr(),
                input.len(),
                self.encrypt.shared(),
                counter.as_mut_ptr(),
                keystream.as_mut_ptr(),
                used,
            );
        }
        Ok(())
    }

    /// RFC 3394 wrap; `out` is eight bytes longer than `plain`.
    pub(crate) fn kw_wrap(&self, iv: &[u8; 8], plain: &[u8], out: &mut [u8]) -> Result<(), Error> {
        if out.len() != plain.len() + 8 {
            return Err(Error::Internal);
        }
        // SAFETY: `out` has room for the eight bytes more; an IV of eight bytes.
        let written = unsafe {
            lc::AES_wrap_key(
                self.encrypt.shared(),
                iv.as_ptr(),
                out.as_mut_ptr(),
                plain.as_ptr(),
                plain.len(),
            )
        };
        if written < 0 {
            Err(failure(Error::DataLength))
        } else {
            Ok(())
        }
    }

    /// RFC 3394 unwrap; `out` is eight bytes shorter than `wrapped`.
    pub(crate) fn kw_unwrap(
        &self,
        iv: &[u8; 8],
        wrapped: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        if wrapped.len() < 24 || out.len() != wrapped.len() - 8 {
            return Err(Error::Internal);
        }
        // SAFETY: `out` has room for all but eight bytes; an IV of eight bytes.
        let written = unsafe {
            lc::AES_unwrap_key(
                self.decrypt.shared(),
                iv.as_ptr(),
                out.as_mut_ptr(),
                wrapped.as_ptr(),
                wrapped.len(),
            )
        };
        if written < 0 {
            Err(failure(Error::DataInvalid))
        } else {
            Ok(())
        }
    }

    /// RFC 5649 wrap.
    pub(crate) fn kwp_wrap(&self, plain: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let mut written = 0;
        // SAFETY: both slices with their true lengths; AWS-LC checks that `out` suffices.
        let answer = unsafe {
            lc::AES_wrap_key_padded(
                self.encrypt.shared(),
                out.as_mut_ptr(),
                &raw mut written,
                out.len(),
                plain.as_ptr(),
                plain.len(),
            )
        };
        succeeded(answer, Error::DataLength)?;
        if written == out.len() {
            Ok(())
        } else {
            Err(Error::Internal)
        }
    }

    /// RFC 5649 unwrap; answers how many bytes of `out` are plaintext.
    pub(crate) fn kwp_unwrap(&self, wrapped: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let mut written = 0;
        // SAFETY: both slices with their true lengths; AWS-LC checks that `out` suffices.
        let answer = unsafe {
            lc::AES_unwrap_key_padded(
                self.decrypt.shared(),
                out.as_mut_ptr(),
                &raw mut written,
                out.len(),
                wrapped.as_ptr(),
                wrapped.len(),
            )
        };
        succeeded(answer, Error::DataInvalid)?;
        Ok(written)
    }
}

fn whole_blocks(input: &[u8], out: &[u8]) -> Result<(), Error> {
    if input.len() == out.len() && input.len().is_multiple_of(BLOCK_BYTES) {
        Ok(())
    } else {
        Err(Error::Internal)
    }
}
