//! What lives here: key derivation from keys: HKDF (RFC 5869) and the X9.63 function (ANSI X9.63, SEC 1 3.6.1).
//!
//! What must never live here: the choice of labels; derivation from passwords.
//!
//! Who calls it: the vault (HKDF) and the token, for ECDH with a derivation function.

use strongroom_keymem::SecretBytes;

use crate::digest::{Digest, Hash};
use crate::error::Error;
use crate::ffi::digest;

/// HKDF with SHA-256, extract and expand.
///
/// # Errors
/// [`Error::ParameterInvalid`] when more than 255 · 32 bytes are wanted; [`Error::Memory`].
pub fn hkdf_sha256(secret: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), Error> {
    hkdf(Hash::Sha256, secret, salt, info, out)
}

/// HKDF with any hash, extract and expand.
///
/// # Errors
/// [`Error::ParameterInvalid`] when more than 255 digests are wanted; [`Error::Memory`].
pub fn hkdf(
    hash: Hash,
    secret: &[u8],
    salt: &[u8],
    info: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    digest::hkdf(hash, secret, salt, info, out)
}

/// The X9.63 key derivation function: digests of `secret ‖ counter ‖ shared info`.
///
/// # Errors
/// [`Error::ParameterInvalid`] when nothing, or more than 2³² − 1 digests, are wanted;
/// [`Error::Memory`].
pub fn x963(
    hash: Hash,
    secret: &[u8],
    shared_info: &[u8],
    length: usize,
) -> Result<SecretBytes, Error> {
    let digests = length.div_ceil(hash.output_bytes());
    if digests == 0 || u32::try_from(digests).is_err() {
        return Err(Error::ParameterInvalid);
    }
    SecretBytes::filled_by(length, |bytes| {
        // SEC 1, 3.6.1: the counter starts at one.
        for (counter, part) in (1_u32..).zip(bytes.chunks_mut(hash.output_bytes())) {
            let mut digest = Digest::new(hash)?;
            digest.update(secret)?;
            digest.update(&counter.to_be_bytes())?;
            digest.update(shared_info)?;
            part.copy_from_slice(&digest.finish()?.as_ref()[..part.len()]);
        }
        Ok(())
    })
}
