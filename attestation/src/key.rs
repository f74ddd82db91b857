//! Public keys of strangers and the signatures made with them.
//!
//! What lives here: keys out of SubjectPublicKeyInfo, the algorithms that are accepted, verification.
//! What must never live here: a private key.
//! Who calls it: certificates, and the kinds for the signatures over their statements.

use der::Decode;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::signature::Verifier;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256, Sha384};
use x509_cert::spki::{DecodePublicKey, ObjectIdentifier, SubjectPublicKeyInfoRef};

/// NIST SP 800-131A: 2048 bits and more. The vendors' largest are of 4096.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Rsa(rsa::PublicKey),
}

/// How a signature was made. What is not here is not accepted; SHA-1 is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    EcdsaSha256,
    EcdsaSha384,
    RsaPkcs1Sha256,
    RsaPkcs1Sha384,
    /// With whatever length of salt: TPMs fill the space.
    RsaPssSha256,
    RsaPssSha384,
}

/// How the two numbers of an ECDSA signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EcdsaForm {
    /// RFC 3279, 2.2.3: a DER sequence.
    Der,
    /// One behind the other.
    Fixed,
}

impl Key {
    /// From a DER SubjectPublicKeyInfo; `None` for a kind or size that is not accepted, or a point that is not on its curve.
    pub(crate) fn parse(spki: &[u8]) -> Option<Self> {
        let info = SubjectPublicKeyInfoRef::from_der(spki).ok()?;
        if info.algorithm.oid == RSA {
            return Self::rsa(rsa::PublicKey::from_public_key_der(spki).ok()?);
        }
        if info.algorithm.oid != EC_PUBLIC_KEY {
            return None;
        }
        let point = info.subject_public_key.as_bytes()?;
        match info.algorithm.parameters_oid().ok()? {
            P256 => Self::p256(point),
            P384 => Self::p384(point),
            _ => None,
        }
    }

    /// From a point in SEC 1's form.
    pub(crate) fn p256(point: &[u8]) -> Option<Self> {
        p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .ok()
            .map(Self::P256)
    }

    /// The same.
    pub(crate) fn p384(point: &[u8]) -> Option<Self> {
        p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .ok()
            .map(Self::P384)
    }

    /// An RSA key of an accepted size.
    pub(crate) fn rsa(key: rsa::PublicKey) -> Option<Self> {
        let bits = usize::try_from(key.n().bit_width()).ok()?;
        RSA_BITS.contains(&bits).then_some(Self::Rsa(key))
    }

    /// Whether this key made that signature over the message.
    pub(crate) fn verifies(
        &self,
        algorithm: Algorithm,
        form: EcdsaForm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let digest: Vec<u8> = match algorithm {
            Algorithm::EcdsaSha256 => Sha256::digest(message).to_vec(),
            Algorithm::EcdsaSha384 => Sha384::digest(message).to_vec(),
            Algorithm::RsaPkcs1Sha256
            | Algorithm::RsaPkcs1Sha384
            | Algorithm::RsaPssSha256
            | Algorithm::RsaPssSha384 => Vec::new(),
        };
        match (self, algorithm) {
            (Self::P256(key), Algorithm::EcdsaSha256 | Algorithm::EcdsaSha384) => {
                let parsed = match form {
                    EcdsaForm::Der => p256::ecdsa::Signature::from_der(signature),
                    EcdsaForm::Fixed => p256::ecdsa::Signature::from_slice(signature),
                };
                parsed.is_ok_and(|parsed| key.verify_prehash(&digest, &parsed).is_ok())
            }
            (Self::P384(key), Algorithm::EcdsaSha256 | Algorithm::EcdsaSha384) => {
                let parsed = match form {
                    EcdsaForm::Der => p384::ecdsa::Signature::from_der(signature),
                    EcdsaForm::Fixed => p384::ecdsa::Signature::from_slice(signature),
                };
                parsed.is_ok_and(|parsed| key.verify_prehash(&digest, &parsed).is_ok())
            }
            (Self::Rsa(key), algorithm) => rsa_verifies(key, algorithm, message, signature),
            (Self::P256(_) | Self::P384(_), _) => false,
        }
    }
}

fn rsa_verifies(
    key: &rsa::PublicKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let key = key.clone();
    let pkcs1 = rsa::pkcs1v15::Signature::try_from(signature);
    let pss = rsa::pss::Signature::try_from(signature);
    // RFC 8017, 8.1.2 and 8.2.2: a signature is as long as the modulus.
    if signature.len() != key.size() {
        return false;
    }
    match algorithm {
        Algorithm::RsaPkcs1Sha256 => pkcs1.is_ok_and(|one| {
            rsa::pkcs1v15::VerifyingKey::<Sha256>::new(key)
                .verify(message, &one)
                .is_ok()
        }),
        Algorithm::RsaPkcs1Sha384 => pkcs1.is_ok_and(|one| {
            rsa::pkcs1v15::VerifyingKey::<Sha384>::new(key)
                .verify(message, &one)
                .is_ok()
        }),
        Algorithm::RsaPssSha256 => pss.is_ok_and(|one| {
            rsa::pss::VerifyingKey::<Sha256>::new_with_auto_salt_len(key)
                .verify(message, &one)
                .is_ok()
        }),
        Algorithm::RsaPssSha384 => pss.is_ok_and(|one| {
            rsa::pss::VerifyingKey::<Sha384>::new_with_auto_salt_len(key)
                .verify(message, &one)
                .is_ok()
        }),
        Algorithm::EcdsaSha256 | Algorithm::EcdsaSha384 => false,
    }
}
