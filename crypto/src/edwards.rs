//! What lives here: Ed25519 in its three forms (RFC 8032) and X25519 (RFC 7748), with the encodings of
//! RFC 8410.
//!
//! What must never live here: Ed448 and X448; AWS-LC has neither.
//!
//! Who calls it: the token.

use std::fmt;

use strongroom_keymem::SecretBytes;

use crate::ec::printable_string;
use crate::error::Error;
use crate::ffi::edwards;
use crate::ffi::pkey::Content;
use crate::pkcs8::{self, fixed};
use crate::random;

/// Which of the two uses of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve25519 {
    /// Signatures.
    Ed25519,
    /// Key agreement.
    X25519,
}

impl Curve25519 {
    /// The DER encoding of the object identifier (RFC 8410, 3).
    #[must_use]
    pub const fn oid_der(self) -> &'static [u8] {
        match self {
            Self::Ed25519 => &[0x06, 0x03, 0x2b, 0x65, 0x70],
            Self::X25519 => &[0x06, 0x03, 0x2b, 0x65, 0x6e],
        }
    }

    /// Reads domain parameters: an object identifier, or the name as a PrintableString.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for everything else.
    pub fn from_parameters_der(parameters: &[u8]) -> Result<Self, Error> {
        [
            (Self::Ed25519, b"edwards25519".as_slice()),
            (Self::X25519, b"curve25519".as_slice()),
        ]
        .into_iter()
        .find(|(curve, name)| {
            curve.oid_der() == parameters || printable_string(parameters) == Some(name)
        })
        .map(|(curve, _)| curve)
        .ok_or(Error::Unsupported)
    }
}

/// The three forms of Ed25519 (RFC 8032, 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EdwardsVariant<'a> {
    /// Ed25519.
    Pure,
    /// Ed25519ctx, with a context of 1 to 255 bytes.
    Context(&'a [u8]),
    /// Ed25519ph, with a context of up to 255 bytes; the message is hashed here.
    Prehash(&'a [u8]),
}

/// A private key for signatures, shared between threads.
pub struct Ed25519PrivateKey {
    /// `seed ‖ public key`
    expanded: SecretBytes,
    public: [u8; 32],
}

impl Ed25519PrivateKey {
    /// Generates a key.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn generate() -> Result<Self, Error> {
        random_secret()?.with(|seed| Self::from_seed(fixed(seed)?))
    }

    /// Makes a key from its seed, the private key of RFC 8032.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        let mut public = [0; 32];
        let expanded = SecretBytes::filled_by(64, |expanded| {
            let expanded = expanded.try_into().map_err(|_| Error::Internal)?;
            edwards::ed25519_expand(seed, &mut public, expanded);
            Ok::<(), Error>(())
        })?;
        Ok(Self { expanded, public })
    }

    /// The seed.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn seed(&self) -> Result<SecretBytes, Error> {
        Ok(self
            .expanded
            .with(|expanded| SecretBytes::copy_from(&expanded[..32]))?)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> Ed25519PublicKey {
        Ed25519PublicKey { bytes: self.public }
    }

    /// Signs with Ed25519.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        self.sign_variant(EdwardsVariant::Pure, message)
    }

    /// Signs with any of the three forms.
    ///
    /// # Errors
    /// [`Error::ParameterInvalid`] for a context of the wrong length.
    pub fn sign_variant(
        &self,
        variant: EdwardsVariant<'_>,
        message: &[u8],
    ) -> Result<[u8; 64], Error> {
        let mut signature = [0; 64];
        self.expanded.with(|expanded| {
            edwards::ed25519_sign(variant, message, fixed(expanded)?, &mut signature)
        })?;
        Ok(signature)
    }

    /// Parses a PKCS #8 encoding; bytes behind it are refused.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`]; [`Error::Unsupported`] when it is another kind of key;
    /// [`Error::Memory`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        match pkcs8::content_of(der)? {
            Content::Ed25519(seed) => seed.with(|seed| Self::from_seed(fixed(seed)?)),
            Content::Rsa(_) | Content::Dsa(_) | Content::Ec(_) | Content::X25519(_) => {
                Err(Error::Unsupported)
            }
        }
    }

    /// The PKCS #8 encoding (RFC 8410, 7), without the public key.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        self.expanded
            .with(|expanded| private_der(Curve25519::Ed25519, &expanded[..32]))
    }
}

impl fmt::Debug for Ed25519PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ed25519PrivateKey")
    }
}

/// A public key for signatures.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ed25519PublicKey {
    bytes: [u8; 32],
}

impl Ed25519PublicKey {
    /// Takes the encoding of a point. Whether it is one shows at verification, which then fails.
    ///
    /// # Errors
    /// [`Error::PointInvalid`] when there are not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            bytes: *<&[u8; 32]>::try_from(bytes).map_err(|_| Error::PointInvalid)?,
        })
    }

    /// The encoding of the point.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Verifies Ed25519.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`]; [`Error::SignatureLength`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.verify_variant(EdwardsVariant::Pure, message, signature)
    }

    /// Verifies any of the three forms.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`]; [`Error::SignatureLength`].
    pub fn verify_variant(
        &self,
        variant: EdwardsVariant<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let signature = signature.try_into().map_err(|_| Error::SignatureLength)?;
        edwards::ed25519_verify(variant, message, signature, &self.bytes)
    }

    /// The SubjectPublicKeyInfo.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        public_der(Curve25519::Ed25519, &self.bytes)
    }
}

/// A private key for key agreement, shared between threads.
pub struct X25519PrivateKey {
    private: SecretBytes,
    public: [u8; 32],
}

impl X25519PrivateKey {
    /// Generates a key.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn generate() -> Result<Self, Error> {
        random_secret()?.with(|bytes| Self::from_bytes(fixed(bytes)?))
    }

    /// Makes a key from its bytes; the fixed bits are set at use (RFC 7748, 5).
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Error> {
        let mut public = [0; 32];
        edwards::x25519_public(bytes, &mut public);
        Ok(Self {
            private: SecretBytes::copy_from(bytes)?,
            public,
        })
    }

    /// The private bytes, as they were given.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn bytes(&self) -> Result<SecretBytes, Error> {
        Ok(self.private.duplicate()?)
    }

    /// The public key.
    #[must_use]
    pub fn public_bytes(&self) -> &[u8; 32] {
        &self.public
    }

    /// The shared secret.
    ///
    /// # Errors
    /// [`Error::PointInvalid`] when the peer's key does not have 32 bytes, or has small order so that
    /// the secret would be zero (RFC 7748, 6.1); [`Error::Memory`].
    pub fn agree(&self, peer: &[u8]) -> Result<SecretBytes, Error> {
        let peer = peer.try_into().map_err(|_| Error::PointInvalid)?;
        SecretBytes::filled_by(32, |shared| {
            let shared = shared.try_into().map_err(|_| Error::Internal)?;
            self.private
                .with(|private| edwards::x25519_agree(fixed(private)?, peer, shared))
        })
    }

    /// Parses a PKCS #8 encoding; bytes behind it are refused.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`]; [`Error::Unsupported`] when it is another kind of key;
    /// [`Error::Memory`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        match pkcs8::content_of(der)? {
            Content::X25519(bytes) => bytes.with(|bytes| Self::from_bytes(fixed(bytes)?)),
            Content::Rsa(_) | Content::Dsa(_) | Content::Ec(_) | Content::Ed25519(_) => {
                Err(Error::Unsupported)
            }
        }
    }

    /// The PKCS #8 encoding (RFC 8410, 7), without the public key.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        self.private
            .with(|private| private_der(Curve25519::X25519, private))
    }

    /// The SubjectPublicKeyInfo of the public key.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        public_der(Curve25519::X25519, &self.public)
    }
}

impl fmt::Debug for X25519PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("X25519PrivateKey")
    }
}

/// The SubjectPublicKeyInfo of a public X25519 key that stands alone (RFC 8410, 4).
#[must_use]
pub fn x25519_spki_der(public: &[u8; 32]) -> Vec<u8> {
    public_der(Curve25519::X25519, public)
}

fn random_secret() -> Result<SecretBytes, Error> {
    SecretBytes::filled_by(32, random::fill)
}

/// PrivateKeyInfo: version 0, the algorithm, and an OCTET STRING in an OCTET STRING.
fn private_der(curve: Curve25519, private: &[u8]) -> Result<SecretBytes, Error> {
    const FRONT: [u8; 7] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05];
    const BEFORE_KEY: [u8; 4] = [0x04, 0x22, 0x04, 0x20];
    SecretBytes::filled_by(48, |der| {
        let parts = [FRONT.as_slice(), curve.oid_der(), &BEFORE_KEY, private];
        let mut rest = der;
        for part in parts {
            let (to, following) = rest
                .split_at_mut_checked(part.len())
                .ok_or(Error::Internal)?;
            to.copy_from_slice(part);
            rest = following;
        }
        Ok(())
    })
}

/// SubjectPublicKeyInfo: the algorithm and a BIT STRING.
fn public_der(curve: Curve25519, public: &[u8; 32]) -> Vec<u8> {
    const FRONT: [u8; 4] = [0x30, 0x2a, 0x30, 0x05];
    const BEFORE_KEY: [u8; 3] = [0x03, 0x21, 0x00];
    [FRONT.as_slice(), curve.oid_der(), &BEFORE_KEY, public].concat()
}
