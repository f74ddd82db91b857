//! What lives here: HMAC (FIPS 198-1, RFC 2104), AES-CMAC (SP 800-38B), and the comparison for MACs.
//!
//! What must never live here: truncation and its minimum; the mechanism's parameters say that.
//!
//! Who calls it: the token, for its sign and verify chapters; the vault.

use std::fmt;

use crate::digest::{DigestValue, Hash};
use crate::error::Error;
use crate::ffi::digest::{self, CmacContext, HmacContext};

/// A key for HMAC, absorbed once; each MAC starts from a copy.
pub struct HmacKey {
    context: HmacContext,
    hash: Hash,
}

impl HmacKey {
    /// Prepares a key of any length.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(hash: Hash, key: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            context: HmacContext::new(hash, key)?,
            hash,
        })
    }

    /// Starts a MAC.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn start(&self) -> Result<Hmac, Error> {
        Ok(Hmac {
            context: self.context.duplicate()?,
            hash: self.hash,
        })
    }

    /// Which hash function this key is for.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "HmacKey({:?})", self.hash)
    }
}

/// A running HMAC.
pub struct Hmac {
    context: HmacContext,
    hash: Hash,
}

impl Hmac {
    /// Takes more of the message.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        self.context.update(data)
    }

    /// Ends the MAC; it is as long as the digest.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn finish(self) -> Result<DigestValue, Error> {
        let Self { context, hash } = self;
        DigestValue::filled_by(hash.output_bytes(), |bytes| context.finish(bytes))
    }
}

impl fmt::Debug for Hmac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hmac({:?})", self.hash)
    }
}

/// A key for AES-CMAC, absorbed once; each MAC starts from a copy.
pub struct CmacKey {
    context: CmacContext,
}

impl CmacKey {
    /// Prepares a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::Memory`].
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            context: CmacContext::new(key)?,
        })
    }

    /// Starts a MAC.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn start(&self) -> Result<Cmac, Error> {
        Ok(Cmac {
            context: self.context.duplicate()?,
        })
    }
}

impl fmt::Debug for CmacKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CmacKey")
    }
}

/// A running AES-CMAC.
pub struct Cmac {
    context: CmacContext,
}

impl Cmac {
    /// Takes more of the message.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        self.context.update(data)
    }

    /// Ends the MAC.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn finish(self) -> Result<[u8; 16], Error> {
        let mut mac = [0; 16];
        self.context.finish(&mut mac)?;
        Ok(mac)
    }
}

impl fmt::Debug for Cmac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cmac")
    }
}

/// Compares in a time that depends on the lengths only, which are public.
#[must_use]
pub fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    digest::equal_in_constant_time(one, other)
}
