//! What lives here: the door for private keys whose kind is not known yet (PKCS #8: RFC 5208, RFC 5958).
//!
//! What must never live here: encrypted PKCS #8, PEM, or a DER parser of our own.
//!
//! Who calls it: the token, when it unwraps a private key; importers.

use strongroom_keymem::SecretBytes;

use crate::dh::DhPrivateKey;
use crate::dsa::DsaPrivateKey;
use crate::ec::EcPrivateKey;
use crate::edwards::{Ed25519PrivateKey, X25519PrivateKey};
use crate::error::Error;
use crate::ffi::pkey::{Content, PKey};
use crate::rsa::RsaPrivateKey;

/// A private key of any kind.
#[derive(Debug)]
pub enum PrivateKey {
    /// RSA.
    Rsa(RsaPrivateKey),
    /// DSA.
    Dsa(DsaPrivateKey),
    /// Diffie-Hellman of PKCS #3.
    Dh(DhPrivateKey),
    /// A curve in short Weierstrass form.
    Ec(EcPrivateKey),
    /// Ed25519.
    Ed25519(Ed25519PrivateKey),
    /// X25519.
    X25519(X25519PrivateKey),
}

impl PrivateKey {
    /// Parses an encoding; bytes behind it are refused.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`], also for algorithms AWS-LC does not know; [`Error::Unsupported`] for
    /// those it knows and this crate does not; [`Error::KeySize`]; [`Error::Memory`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        match Self::from_pkcs8_prefix(der)? {
            (key, used) if used == der.len() => Ok(key),
            _ => Err(Error::KeyMalformed),
        }
    }

    /// Parses an encoding at the start of `bytes`, and answers also how many bytes it took: for
    /// ciphers that pad a wrapped key with bytes which nothing tells from the key.
    ///
    /// # Errors
    /// As [`PrivateKey::from_pkcs8`].
    pub fn from_pkcs8_prefix(bytes: &[u8]) -> Result<(Self, usize), Error> {
        // AWS-LC has no parser for this one kind.
        match DhPrivateKey::parse_pkcs8(bytes) {
            Ok((key, used)) => return Ok((Self::Dh(key), used)),
            Err(Error::Unsupported | Error::KeyMalformed) => {}
            Err(other) => return Err(other),
        }
        let (key, used) = PKey::parse_private(bytes)?;
        Ok((Self::from_content(key.content()?)?, used))
    }

    /// The encoding.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        match self {
            Self::Rsa(key) => key.to_pkcs8(),
            Self::Dsa(key) => key.to_pkcs8(),
            Self::Dh(key) => key.to_pkcs8(),
            Self::Ec(key) => key.to_pkcs8(),
            Self::Ed25519(key) => key.to_pkcs8(),
            Self::X25519(key) => key.to_pkcs8(),
        }
    }

    fn from_content(content: Content) -> Result<Self, Error> {
        match content {
            Content::Dsa(key) => DsaPrivateKey::from_key(&key).map(Self::Dsa),
            Content::Rsa(key) => RsaPrivateKey::from_key(key).map(Self::Rsa),
            Content::Ec(key) => EcPrivateKey::from_key(&key).map(Self::Ec),
            Content::Ed25519(seed) => seed
                .with(|seed| Ed25519PrivateKey::from_seed(fixed(seed)?))
                .map(Self::Ed25519),
            Content::X25519(bytes) => bytes
                .with(|bytes| X25519PrivateKey::from_bytes(fixed(bytes)?))
                .map(Self::X25519),
        }
    }
}

/// What an encoding holds that is the whole of `der`.
pub(crate) fn content_of(der: &[u8]) -> Result<Content, Error> {
    let (key, used) = PKey::parse_private(der)?;
    if used == der.len() {
        key.content()
    } else {
        Err(Error::KeyMalformed)
    }
}

/// A slice whose length a parser has made sure of.
pub(crate) fn fixed<const LENGTH: usize>(bytes: &[u8]) -> Result<&[u8; LENGTH], Error> {
    bytes.try_into().map_err(|_| Error::Internal)
}
