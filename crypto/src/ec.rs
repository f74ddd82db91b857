//! What lives here: ECDSA (FIPS 186-5) and ECDH (SP 800-56A) on the curves that AWS-LC has, with the
//! encodings of SEC 1.
//!
//! What must never live here: curves given by explicit parameters; a curve has a name here, or is
//! refused.
//!
//! Who calls it: the token.

use std::fmt;

use strongroom_keymem::SecretBytes;

use crate::der;
use crate::error::Error;
use crate::ffi::ec::{EcKey, Point};
use crate::ffi::pkey::{Content, PKey};
use crate::pkcs8;

/// A curve with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// secp224r1
    P224,
    /// secp256r1, prime256v1
    P256,
    /// secp384r1
    P384,
    /// secp521r1
    P521,
    /// secp256k1
    Secp256k1,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Self; 5] = [
        Self::P224,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Secp256k1,
    ];

    /// The DER encoding of the object identifier (SEC 2, A.2).
    #[must_use]
    pub const fn oid_der(self) -> &'static [u8] {
        match self {
            Self::P224 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21],
            Self::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
            Self::Secp256k1 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }

    /// Reads domain parameters: an object identifier, or the name as a PrintableString.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for everything else, explicit parameters among it.
    pub fn from_parameters_der(parameters: &[u8]) -> Result<Self, Error> {
        let named = printable_string(parameters);
        Self::ALL
            .into_iter()
            .find(|curve| {
                curve.oid_der() == parameters
                    || named.is_some_and(|name| curve.names().contains(&name))
            })
            .ok_or(Error::Unsupported)
    }

    /// How many bits the order has.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::P224 => 224,
            Self::P256 | Self::Secp256k1 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// How many bytes a coordinate has.
    #[must_use]
    pub const fn field_bytes(self) -> usize {
        // On all of these curves field and order have equally many bits.
        self.bits().div_ceil(8)
    }

    /// How many bytes a scalar has: half of a signature.
    #[must_use]
    pub const fn order_bytes(self) -> usize {
        self.bits().div_ceil(8)
    }

    const fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::P224 => &[b"secp224r1", b"P-224"],
            Self::P256 => &[b"secp256r1", b"prime256v1", b"P-256"],
            Self::P384 => &[b"secp384r1", b"P-384"],
            Self::P521 => &[b"secp521r1", b"P-521"],
            Self::Secp256k1 => &[b"secp256k1"],
        }
    }
}

/// The content of a DER PrintableString that is the whole input.
pub(crate) fn printable_string(der: &[u8]) -> Option<&[u8]> {
    let [0x13, length, content @ ..] = der else {
        return None;
    };
    (*length < 0x80 && usize::from(*length) == content.len()).then_some(content)
}

/// A private key, shared between threads.
pub struct EcPrivateKey {
    key: EcKey,
    curve: Curve,
    /// The public point, uncompressed; AWS-LC would compute its coordinates at every question.
    point: Vec<u8>,
}

impl EcPrivateKey {
    /// Generates a key.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn generate(curve: Curve) -> Result<Self, Error> {
        Self::with_point(EcKey::generate(curve)?, curve)
    }

    /// Makes a key from its scalar, big-endian; zeros in front may be missing or too many.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`] when it is zero or not below the order; [`Error::Memory`].
    pub fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self, Error> {
        let zeros = scalar.iter().take_while(|byte| **byte == 0).count();
        let significant = &scalar[zeros..];
        if significant.len() > curve.order_bytes() {
            return Err(Error::KeyMalformed);
        }
        Self::with_point(EcKey::from_scalar(curve, significant)?, curve)
    }

    fn with_point(key: EcKey, curve: Curve) -> Result<Self, Error> {
        let point = key.point(curve)?;
        Ok(Self { key, curve, point })
    }

    /// The scalar, big-endian, as long as the order.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn scalar(&self) -> Result<SecretBytes, Error> {
        self.key.scalar(self.curve.order_bytes())
    }

    /// Parses a PKCS #8 encoding; bytes behind it are refused. A public key inside must be the right
    /// one.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`]; [`Error::Unsupported`] when it is another kind of key or curve;
    /// [`Error::Memory`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        match pkcs8::content_of(der)? {
            Content::Ec(key) => Self::from_key(&key),
            Content::Rsa(_) | Content::Dsa(_) | Content::Ed25519(_) | Content::X25519(_) => {
                Err(Error::Unsupported)
            }
        }
    }

    /// The PKCS #8 encoding, with the public key inside (RFC 5915).
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        PKey::from_ec(&self.key)?.to_private_der()
    }

    /// Takes a parsed key over by its scalar: AWS-LC remembers how the encoding looked, and would
    /// write the next one without the public key if the first had none.
    pub(crate) fn from_key(key: &EcKey) -> Result<Self, Error> {
        let curve = key.curve()?;
        key.scalar(curve.order_bytes())?
            .with(|scalar| Self::from_scalar(curve, scalar))
    }

    /// The public half.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn public(&self) -> Result<EcPublicKey, Error> {
        EcPublicKey::from_point(self.curve, &self.point)
    }

    /// The public point, uncompressed.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// The SubjectPublicKeyInfo of the public half.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        spki_der(self.curve, &self.point)
    }

    /// The curve.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// ECDSA over a digest: `r ‖ s`, each as long as the order. A digest that is longer than the order
    /// is truncated (FIPS 186-5, 6.4.1).
    ///
    /// # Errors
    /// [`Error::DataLength`] when the digest is empty; [`Error::Memory`].
    pub fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, Error> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        let half = self.curve.order_bytes();
        let mut signature = vec![0; 2 * half];
        let (r, s) = signature.split_at_mut(half);
        self.key.sign(digest, r, s)?;
        Ok(signature)
    }

    /// ECDH: the x-coordinate of the shared point, as long as a field element.
    ///
    /// The peer's point is uncompressed or compressed (SEC 1, 2.3.3); its co-factor is one on every
    /// curve here, so that the plain and the co-factor form are the same.
    ///
    /// # Errors
    /// [`Error::PointInvalid`]; [`Error::Memory`].
    pub fn agree(&self, peer_point: &[u8]) -> Result<SecretBytes, Error> {
        let peer = parse_point(self.curve, peer_point)?;
        SecretBytes::filled_by(self.curve.field_bytes(), |out| self.key.agree(&peer, out))
    }
}

impl fmt::Debug for EcPrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EcPrivateKey({:?})", self.curve)
    }
}

/// A public key, shared between threads.
pub struct EcPublicKey {
    key: EcKey,
    curve: Curve,
    /// The point, uncompressed.
    point: Vec<u8>,
}

impl EcPublicKey {
    /// Makes a key from its point, uncompressed or compressed (SEC 1, 2.3.4).
    ///
    /// # Errors
    /// [`Error::PointInvalid`]; [`Error::Memory`].
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<Self, Error> {
        let key = EcKey::from_point(curve, &parse_point(curve, point)?)?;
        // An uncompressed point is what it was parsed from.
        let point = match point {
            [0x04, ..] => point.to_vec(),
            _ => key.point(curve)?,
        };
        Ok(Self { key, curve, point })
    }

    /// The point, uncompressed.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// The curve.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The SubjectPublicKeyInfo.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        spki_der(self.curve, &self.point)
    }

    /// Verifies `r ‖ s` over a digest. The halves are equally long; they may be shorter than the order,
    /// as PKCS #11 allows.
    ///
    /// # Errors
    /// [`Error::SignatureLength`] when the length is odd, zero or more than twice the order;
    /// [`Error::SignatureInvalid`]; [`Error::DataLength`] when the digest is empty; [`Error::Memory`].
    pub fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Result<(), Error> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        let half = signature.len() / 2;
        if half == 0 || !signature.len().is_multiple_of(2) || half > self.curve.order_bytes() {
            return Err(Error::SignatureLength);
        }
        let (r, s) = signature.split_at(half);
        self.key.verify(digest, r, s)
    }
}

impl fmt::Debug for EcPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EcPublicKey({:?})", self.curve)
    }
}

fn parse_point(curve: Curve, octets: &[u8]) -> Result<Point, Error> {
    // AWS-LC also takes the point at infinity (00) and the hybrid form (06, 07).
    match octets.first() {
        Some(0x02..=0x04) => Point::parse(curve, octets),
        _ => Err(Error::PointInvalid),
    }
}

/// SubjectPublicKeyInfo (RFC 5480, 2): the algorithm with its curve, and the point as a BIT STRING.
fn spki_der(curve: Curve, point: &[u8]) -> Vec<u8> {
    const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let algorithm = der::element(der::SEQUENCE, &[&EC_PUBLIC_KEY, curve.oid_der()]);
    let bits = der::element(der::BIT_STRING, &[&[0], point]);
    der::element(der::SEQUENCE, &[&algorithm, &bits])
}
