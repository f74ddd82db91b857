//! Random numbers (PKCS#11 3.2, 5.19).
//!
//! What lives here: the two functions of this section.
//! What must never live here: a generator (crypto).
//! Who calls it: the front desk ([`crate::service`]).

use strongroom_crypto::random;
use strongroom_keymem::SecretVec;

use super::{Desk, Reply};
use crate::error::{Error, Result};

/// C_SeedRandom. The generator seeds itself from the operating system and takes no seed of strangers, from whom it must stay
/// independent; so the seed is discarded. It is still accepted: applications offer one at start-up (NSS), SoftHSM takes it, and the
/// standard promises nothing of what becomes of it.
///
/// # Errors
/// None.
pub const fn seed(_desk: &Desk<'_>, _seed: &[u8]) -> Result<Reply> {
    Ok(Reply::Empty)
}

/// C_GenerateRandom.
///
/// # Errors
/// [`Error::ArgumentsBad`] beyond the limit; [`Error::DeviceMemory`].
pub fn generate(desk: &Desk<'_>, bytes: u64) -> Result<Reply> {
    if bytes > desk.limits.random_bytes_max {
        return Err(Error::ArgumentsBad);
    }
    let length = usize::try_from(bytes).map_err(|_| Error::ArgumentsBad)?;
    let mut data = SecretVec::with_capacity(length)?;
    random::fill(data.grow(length)?)?;
    Ok(Reply::Output {
        length: bytes,
        data: Some(data),
    })
}

#[cfg(test)]
mod tests;
