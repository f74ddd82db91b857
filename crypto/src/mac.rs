//! What lives here: HMAC (FIPS 198-1, RFC 2104), CMAC (SP 800-38B), and the comparison for MACs.
//!
//! What must never live here: truncation and its minimum; the mechanism's parameters say that.
//!
//! Who calls it: the token, for its sign and verify chapters; the vault.

use std::fmt;

use strongroom_keymem::SecretBytes;

use crate::block::BlockCipher;
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

/// A key for CMAC, absorbed once; each MAC starts from a copy.
pub struct CmacKey {
    context: CmacContext,
    mac_bytes: usize,
}

impl CmacKey {
    /// Prepares a key: of AES 16, 24 or 32 bytes, of triple DES 16 or 24.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::Memory`].
    pub fn new(cipher: BlockCipher, key: &[u8]) -> Result<Self, Error> {
        let context = match (cipher, key.split_at_checked(8)) {
            // Two keys are three of which the last is the first again (SP 800-67, 3.1).
            (BlockCipher::Des, Some((first, second))) if second.len() == 8 => {
                let three = SecretBytes::filled_by(24, |room| {
                    for (to, from) in room.chunks_exact_mut(8).zip([first, second, first]) {
                        to.copy_from_slice(from);
                    }
                    Ok::<(), Error>(())
                })?;
                three.with(|three| CmacContext::new(cipher, three))?
            }
            _ => CmacContext::new(cipher, key)?,
        };
        Ok(Self {
            context,
            mac_bytes: cipher.block_bytes(),
        })
    }

    /// Starts a MAC.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn start(&self) -> Result<Cmac, Error> {
        Ok(Cmac {
            context: self.context.duplicate()?,
            mac_bytes: self.mac_bytes,
        })
    }
}

impl fmt::Debug for CmacKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CmacKey")
    }
}

/// A running CMAC.
pub struct Cmac {
    context: CmacContext,
    mac_bytes: usize,
}

impl Cmac {
    /// Takes more of the message.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        self.context.update(data)
    }

    /// Ends the MAC; it is as long as a block.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn finish(self) -> Result<DigestValue, Error> {
        let Self { context, mac_bytes } = self;
        DigestValue::filled_by(mac_bytes, |bytes| context.finish(bytes))
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
