//! What lives here: AES key wrap (SP 800-38F): KW (RFC 3394) and KWP (RFC 5649).
//!
//! What must never live here: which keys may wrap which.
//!
//! Who calls it: the token, for wrapping and unwrapping and for the mechanisms of the same name.

use std::fmt;

use strongroom_keymem::SecretVec;

use crate::error::Error;
use crate::ffi::aes::Schedules;

/// A key for AES key wrap, with both schedules prepared.
pub struct WrapKey {
    schedules: Schedules,
}

impl WrapKey {
    /// Prepares a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::Memory`].
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            schedules: Schedules::new(key)?,
        })
    }

    /// KW: appends the plaintext wrapped, eight bytes longer.
    ///
    /// # Errors
    /// [`Error::DataLength`] unless the plaintext is a multiple of eight and at least sixteen bytes;
    /// [`Error::Memory`].
    pub fn kw_wrap(
        &self,
        iv: Option<&[u8; 8]>,
        plain: &[u8],
        out: &mut SecretVec,
    ) -> Result<(), Error> {
        // RFC 3394, 2: at least two semiblocks.
        if plain.len() < 16 || !plain.len().is_multiple_of(8) {
            return Err(Error::DataLength);
        }
        let bytes = plain.len() + 8;
        appended(out, bytes, |produced| {
            self.schedules
                .kw_wrap(iv.unwrap_or(&KW_IV), plain, produced)?;
            Ok(bytes)
        })
    }

    /// KW: verifies, unwraps and appends the plaintext.
    ///
    /// # Errors
    /// [`Error::DataInvalid`] when the integrity check fails; [`Error::DataLength`]; [`Error::Memory`].
    pub fn kw_unwrap(
        &self,
        iv: Option<&[u8; 8]>,
        wrapped: &[u8],
        out: &mut SecretVec,
    ) -> Result<(), Error> {
        if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
            return Err(Error::DataLength);
        }
        let bytes = wrapped.len() - 8;
        appended(out, bytes, |produced| {
            self.schedules
                .kw_unwrap(iv.unwrap_or(&KW_IV), wrapped, produced)?;
            Ok(bytes)
        })
    }

    /// KWP: appends the plaintext wrapped, 9 to 16 bytes longer.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the plaintext is empty or longer than 2³² − 1 bytes;
    /// [`Error::Memory`].
    pub fn kwp_wrap(&self, plain: &[u8], out: &mut SecretVec) -> Result<(), Error> {
        if plain.is_empty() || u32::try_from(plain.len()).is_err() {
            return Err(Error::DataLength);
        }
        let bytes = plain.len().next_multiple_of(8) + 8;
        appended(out, bytes, |produced| {
            self.schedules.kwp_wrap(plain, produced)?;
            Ok(bytes)
        })
    }

    /// KWP: verifies, unwraps and appends the plaintext.
    ///
    /// # Errors
    /// [`Error::DataInvalid`] when the integrity check fails; [`Error::DataLength`]; [`Error::Memory`].
    pub fn kwp_unwrap(&self, wrapped: &[u8], out: &mut SecretVec) -> Result<(), Error> {
        if wrapped.len() < 16 || !wrapped.len().is_multiple_of(8) {
            return Err(Error::DataLength);
        }
        appended(out, wrapped.len() - 8, |produced| {
            self.schedules.kwp_unwrap(wrapped, produced)
        })
    }
}

impl fmt::Debug for WrapKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WrapKey")
    }
}

/// Lets `fill` write into `bytes` more bytes and keeps as many as it says; none when it fails.
pub(crate) fn appended(
    out: &mut SecretVec,
    bytes: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
) -> Result<(), Error> {
    let start = out.len();
    let filled = fill(out.grow(bytes)?);
    out.truncate(start + filled.unwrap_or(0));
    filled.map(|_| ())
}

/// RFC 3394, 2.2.3.1.
const KW_IV: [u8; 8] = [0xa6; 8];
