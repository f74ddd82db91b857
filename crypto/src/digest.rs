//! What lives here: hash functions: SHA-1 and SHA-2 (FIPS 180-4), SHA-3 (FIPS 202), MD5 (RFC 1321).
//!
//! What must never live here: the judgement that a hash is too weak for a purpose; the token's
//! mechanism table says that.
//!
//! Who calls it: the token, for its digest chapter and before signatures; every file here that takes a
//! hash as a parameter.

use std::fmt;

use zeroize::Zeroize;

use crate::error::Error;
use crate::ffi::digest::{DIGEST_BYTES_MAX, DigestContext, digest_at_once};

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the names are those of FIPS 180-4, FIPS 202 and RFC 1321"
)]
pub enum Hash {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_224,
    Sha512_256,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl Hash {
    /// Every hash function.
    pub const ALL: [Self; 12] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha512_224,
        Self::Sha512_256,
        Self::Sha3_224,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
    ];

    /// How long a digest is.
    #[must_use]
    pub const fn output_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 | Self::Sha512_224 | Self::Sha3_224 => 28,
            Self::Sha256 | Self::Sha512_256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// How long a block is: for SHA-3 the rate of the sponge (FIPS 202, table 3).
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Md5 | Self::Sha1 | Self::Sha224 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 | Self::Sha512_224 | Self::Sha512_256 => 128,
            Self::Sha3_224 => 144,
            Self::Sha3_256 => 136,
            Self::Sha3_384 => 104,
            Self::Sha3_512 => 72,
        }
    }
}

/// A finished digest or MAC. Wiped when dropped, since the digest of a secret is a secret.
#[derive(Clone)]
pub struct DigestValue {
    bytes: [u8; DIGEST_BYTES_MAX],
    length: usize,
}

impl DigestValue {
    pub(crate) fn filled_by(
        length: usize,
        fill: impl FnOnce(&mut [u8; DIGEST_BYTES_MAX]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut value = Self {
            bytes: [0; DIGEST_BYTES_MAX],
            length,
        };
        fill(&mut value.bytes)?;
        Ok(value)
    }
}

impl AsRef<[u8]> for DigestValue {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Debug for DigestValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DigestValue({} bytes)", self.length)
    }
}

impl Drop for DigestValue {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// A running digest.
pub struct Digest {
    context: DigestContext,
    hash: Hash,
}

impl Digest {
    /// Starts a digest.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(hash: Hash) -> Result<Self, Error> {
        Ok(Self {
            context: DigestContext::new(hash)?,
            hash,
        })
    }

    /// Which hash function this is.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Takes more of the message.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        self.context.update(data)
    }

    /// Ends the digest.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn finish(self) -> Result<DigestValue, Error> {
        let Self { context, hash } = self;
        DigestValue::filled_by(hash.output_bytes(), |bytes| context.finish(bytes))
    }

    /// A second digest in the same state.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn duplicate(&self) -> Result<Self, Error> {
        Ok(Self {
            context: self.context.duplicate()?,
            hash: self.hash,
        })
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({:?})", self.hash)
    }
}

/// The digest of a message in one piece: for all but SHA-3 without an allocation.
///
/// # Errors
/// [`Error::Memory`], for SHA-3 only.
pub fn digest(hash: Hash, data: &[u8]) -> Result<DigestValue, Error> {
    DigestValue::filled_by(hash.output_bytes(), |bytes| {
        digest_at_once(hash, data, bytes)
    })
}
