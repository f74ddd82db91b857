//! What lives here: AES in cipher feedback mode over whole blocks (SP 800-38A, 6.3, CFB128), in place.
//!
//! What must never live here: use for anything but what a foreign protocol prescribes: it authenticates nothing.
//!
//! Who calls it: the daemon, for what travels to and from a TPM.

use zeroize::Zeroizing;

use crate::block::Direction;
use crate::error::Error;
use crate::ffi::aes::{BLOCK_BYTES, Schedule};

/// Encrypts or decrypts the whole of `data`, of any length.
///
/// # Errors
/// [`Error::KeySize`] unless the key has 16, 24 or 32 bytes; [`Error::Memory`].
pub fn cfb(key: &[u8], iv: &[u8; 16], direction: Direction, data: &mut [u8]) -> Result<(), Error> {
    let schedule = Schedule::encrypting(key)?;
    let mut feedback = *iv;
    for block in data.chunks_mut(BLOCK_BYTES) {
        let stream = Zeroizing::new(schedule.encrypted(&feedback));
        let length = block.len();
        if direction == Direction::Decrypt {
            feedback[..length].copy_from_slice(block);
        }
        for (byte, mask) in block.iter_mut().zip(stream.iter()) {
            *byte ^= mask;
        }
        if direction == Direction::Encrypt {
            feedback[..length].copy_from_slice(block);
        }
    }
    Ok(())
}
