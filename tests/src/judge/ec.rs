//! The curves: ECDSA and ECDH by RustCrypto.
//!
//! What lives here: `Curve` with its parameters in PKCS#11 and the operations of a judge.
//! What must never live here: keys of the module.
//! Who calls it: the tests of elliptic curves and of wrapping.

use super::der;

/// A prime curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of SP 800-186 and SEC 2")]
pub enum Curve {
    P256,
    P384,
    P521,
    Secp256k1,
}

/// All of them.
pub const CURVES: [Curve; 4] = [Curve::P256, Curve::P384, Curve::P521, Curve::Secp256k1];

macro_rules! with_curve {
    ($curve:expr, $library:ident, $body:expr) => {
        match $curve {
            Curve::P256 => {
                use p256 as $library;
                $body
            }
            Curve::P384 => {
                use p384 as $library;
                $body
            }
            Curve::P521 => {
                use p521 as $library;
                $body
            }
            Curve::Secp256k1 => {
                use k256 as $library;
                $body
            }
        }
    };
}

impl Curve {
    /// `CKA_EC_PARAMS` as an object identifier.
    #[must_use]
    pub const fn parameters(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
            Self::Secp256k1 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }

    /// Bytes of a field element.
    #[must_use]
    pub const fn field(self) -> usize {
        match self {
            Self::P256 | Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// `CKA_EC_POINT`: the point in an OCTET STRING.
    #[must_use]
    pub fn wrapped_point(point: &[u8]) -> Vec<u8> {
        der::encoded(0x04, point)
    }

    /// The point inside `CKA_EC_POINT`.
    ///
    /// # Panics
    /// When it is no uncompressed point of this curve in an OCTET STRING.
    #[must_use]
    pub fn point(self, attribute: &[u8]) -> Vec<u8> {
        let (tag, point, rest) = der::element(attribute);
        assert!(
            tag == 0x04 && rest.is_empty(),
            "CKA_EC_POINT is an OCTET STRING"
        );
        assert_eq!(
            (point.len(), point[0]),
            (1 + 2 * self.field(), 4),
            "an uncompressed point"
        );
        point.to_vec()
    }

    /// Whether r‖s is an ECDSA signature of the digest.
    #[must_use]
    pub fn ecdsa_is_good(self, point: &[u8], digest: &[u8], signature: &[u8]) -> bool {
        // A digest shorter than the field is the same number with zeros before it; the crates refuse very short ones.
        let mut prehash = vec![0; self.field().saturating_sub(digest.len())];
        prehash.extend_from_slice(digest);
        with_curve!(self, curve, {
            use curve::ecdsa::signature::hazmat::PrehashVerifier as _;
            let (Ok(key), Ok(signature)) = (
                curve::ecdsa::VerifyingKey::from_sec1_bytes(point),
                curve::ecdsa::Signature::from_slice(signature),
            ) else {
                return false;
            };
            // k256 takes only the lower of the two values of s; ECDSA itself takes both.
            key.verify_prehash(&prehash, &signature.normalize_s())
                .is_ok()
                || key.verify_prehash(&prehash, &signature).is_ok()
        })
    }

    /// r‖s over the digest, deterministic.
    ///
    /// # Panics
    /// When the scalar is none.
    #[must_use]
    pub fn ecdsa_sign(self, scalar: &[u8], digest: &[u8]) -> Vec<u8> {
        let mut prehash = vec![0; self.field().saturating_sub(digest.len())];
        prehash.extend_from_slice(digest);
        with_curve!(self, curve, {
            use curve::ecdsa::signature::hazmat::PrehashSigner as _;
            let key = curve::ecdsa::SigningKey::from_slice(scalar).expect("a scalar");
            let signature: curve::ecdsa::Signature =
                key.sign_prehash(&prehash).expect("a signature");
            signature.to_bytes().to_vec()
        })
    }

    /// The uncompressed point of a scalar.
    ///
    /// # Panics
    /// When the scalar is none.
    #[must_use]
    pub fn point_of(self, scalar: &[u8]) -> Vec<u8> {
        with_curve!(self, curve, {
            use curve::elliptic_curve::sec1::ToSec1Point as _;
            let key = curve::SecretKey::from_slice(scalar).expect("a scalar");
            key.public_key().to_sec1_point(false).as_bytes().to_vec()
        })
    }

    /// The x coordinate of scalar times point.
    ///
    /// # Panics
    /// When either is none.
    #[must_use]
    pub fn ecdh(self, scalar: &[u8], point: &[u8]) -> Vec<u8> {
        with_curve!(self, curve, {
            let key = curve::SecretKey::from_slice(scalar).expect("a scalar");
            let other = curve::PublicKey::from_sec1_bytes(point).expect("a point");
            let shared = curve::ecdh::diffie_hellman(key.to_nonzero_scalar(), other.as_affine());
            shared.raw_secret_bytes().to_vec()
        })
    }

    /// A scalar that is the same in every run.
    #[must_use]
    pub fn fixed_scalar(self, seed: u64) -> Vec<u8> {
        let mut scalar = crate::pattern(seed, self.field());
        // Below every order, above zero.
        scalar[0] = 0;
        scalar[1] &= 0x7f;
        scalar[2] |= 1;
        scalar
    }
}
