//! Signatures by their names in JSON (RFC 7515, 7518): those of statements, and of the envelopes of released keys.
//!
//! What lives here: which algorithms count, and verifying by one of them.
//!
//! What must never live here: making a signature; JSON.
//!
//! Who calls it: the daemon for the statements of authorities, the command line for envelopes, and `certificate.rs`.

use crate::digest::{Hash, digest};
use crate::ec::{Curve, EcPublicKey};
use crate::rsa::RsaPublicKey;

/// A public key that verifies.
#[derive(Debug)]
pub enum VerifyKey {
    /// RS and PS.
    Rsa(RsaPublicKey),
    /// ES.
    Ec(EcPublicKey),
}

/// A signature algorithm of RFC 7518, 3.1. Those with shared secrets, and `none`, do not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5.
    Rs(Hash),
    /// RSASSA-PSS; mask hash and salt length are those of the hash.
    Ps(Hash),
    /// ECDSA.
    Es(Hash, Curve),
}

impl Algorithm {
    /// An algorithm by its name; none for every other name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs(Hash::Sha256),
            "RS384" => Self::Rs(Hash::Sha384),
            "RS512" => Self::Rs(Hash::Sha512),
            "PS256" => Self::Ps(Hash::Sha256),
            "PS384" => Self::Ps(Hash::Sha384),
            "PS512" => Self::Ps(Hash::Sha512),
            "ES256" => Self::Es(Hash::Sha256, Curve::P256),
            "ES384" => Self::Es(Hash::Sha384, Curve::P384),
            "ES512" => Self::Es(Hash::Sha512, Curve::P521),
            _ => return None,
        })
    }
}

impl VerifyKey {
    /// Whether a signature over a message is right.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let hashed = |hash| digest(hash, message);
        match (self, algorithm) {
            (Self::Rsa(key), Algorithm::Rs(hash)) if key.bits() >= RSA_BITS_MIN => hashed(hash)
                .and_then(|value| key.verify_pkcs1_digest(hash, value.as_ref(), signature))
                .is_ok(),
            (Self::Rsa(key), Algorithm::Ps(hash)) if key.bits() >= RSA_BITS_MIN => hashed(hash)
                .and_then(|value| {
                    key.verify_pss(hash, hash, hash.output_bytes(), value.as_ref(), signature)
                })
                .is_ok(),
            (Self::Ec(key), Algorithm::Es(hash, curve)) => {
                key.curve() == curve
                    && signature.len() == 2 * curve.order_bytes()
                    && hashed(hash)
                        .and_then(|value| key.verify_digest(value.as_ref(), signature))
                        .is_ok()
            }
            _ => false,
        }
    }
}

/// RFC 7518, 3.3.
const RSA_BITS_MIN: usize = 2048;
