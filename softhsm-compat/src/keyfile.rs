//! Private keys in files: PKCS #8 (RFC 5958) in PEM, also encrypted with a password.
//!
//! What lives here: from the text of a file to the attributes of a key pair that make the key what it is.
//! What must never live here: labels, ids and usages; whoever imports knows them.
//! Who calls it: `strongroom-softhsm2-util`, and the importer's door for files.

use std::fmt;

use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef, UintRef};
use pkcs8::der::{Decode, Encode, Reader, SecretDocument, SliceReader, Tag, TagNumber, Tagged};
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef};
use strongroom_crypto::dsa::{DsaParameters, DsaPrivateKey};
use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::edwards::{Ed25519PrivateKey, X25519PrivateKey};
use strongroom_wire::ck::{AttributeType, KeyType};

use crate::opened::Opened;

/// The two halves of a key: what `C_CreateObject` needs of each besides class, type and what somebody wishes.
#[derive(Debug)]
pub struct KeyPair {
    /// Its type.
    pub key_type: KeyType,
    /// The public half.
    pub public: Opened,
    /// The private half.
    pub private: Opened,
}

/// Why a file gave no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFileError {
    /// There is no key of this form in it.
    NoKey,
    /// The password is wrong, or the way of encryption is not known.
    NotDecrypted,
    /// It holds something else than the algorithm needs.
    Malformed,
    /// A key of another algorithm, or a form of it that is not known.
    Algorithm(String),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => out.write_str("there is no such private key in it"),
            Self::NotDecrypted => {
                out.write_str("the password is wrong, or the encryption is of an unknown kind")
            }
            Self::Malformed => out.write_str("the key in it is malformed"),
            Self::Algorithm(which) => write!(out, "keys of this kind are not taken: {which}"),
        }
    }
}

impl std::error::Error for KeyFileError {}

impl From<pkcs8::der::Error> for KeyFileError {
    fn from(_: pkcs8::der::Error) -> Self {
        Self::Malformed
    }
}

/// Reads the key that lies in clear in a file.
///
/// # Errors
/// [`KeyFileError`].
pub fn clear(text: &str) -> Result<KeyPair, KeyFileError> {
    pair(block(text, "PRIVATE KEY")?.as_bytes())
}

/// Reads the key that is encrypted with a password.
///
/// # Errors
/// [`KeyFileError`].
pub fn encrypted(text: &str, password: &[u8]) -> Result<KeyPair, KeyFileError> {
    let document = block(text, "ENCRYPTED PRIVATE KEY")?;
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|_| KeyFileError::NotDecrypted)?;
    let opened = info
        .decrypt(password)
        .map_err(|_| KeyFileError::NotDecrypted)?;
    pair(opened.as_bytes())
}

/// The first block of a label; files may have others before it, and words between them.
fn block(text: &str, label: &str) -> Result<SecretDocument, KeyFileError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let start = text.find(&begin).ok_or(KeyFileError::NoKey)?;
    let length = text[start..].find(&end).ok_or(KeyFileError::NoKey)? + end.len();
    let (_, document) =
        SecretDocument::from_pem(&text[start..start + length]).map_err(|_| KeyFileError::NoKey)?;
    Ok(document)
}

/// Reads a key from its encoding.
///
/// # Errors
/// [`KeyFileError`].
pub fn pair(der: &[u8]) -> Result<KeyPair, KeyFileError> {
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyFileError::Malformed)?;
    let key = info.private_key.as_bytes();
    let (oid, parameters) = (info.algorithm.oid, info.algorithm.parameters);
    match oid {
        RSA | RSA_PSS => rsa(key),
        DSA => dsa(parameters, key),
        EC => ec(parameters, key),
        ED25519 => ed25519(key),
        X25519 => x25519(key),
        ED448 | X448 => Err(KeyFileError::Algorithm(format!(
            "the curve of 448 bits ({oid})"
        ))),
        other => Err(KeyFileError::Algorithm(other.to_string())),
    }
}

/// RFC 8017, A.1.2: a version and the eight numbers.
fn rsa(der: &[u8]) -> Result<KeyPair, KeyFileError> {
    let names = [
        AttributeType::MODULUS,
        AttributeType::PUBLIC_EXPONENT,
        AttributeType::PRIVATE_EXPONENT,
        AttributeType::PRIME_1,
        AttributeType::PRIME_2,
        AttributeType::EXPONENT_1,
        AttributeType::EXPONENT_2,
        AttributeType::COEFFICIENT,
    ];
    let mut key = empty(KeyType::RSA);
    sequence(der, |reader| {
        if u8::decode(reader)? != 0 {
            return Err(KeyFileError::Algorithm(
                "RSA with more than two primes".into(),
            ));
        }
        for (place, name) in names.into_iter().enumerate() {
            let number = UintRef::decode(reader)?;
            push(&mut key.private, name, number.as_bytes())?;
            if place < 2 {
                push(&mut key.public, name, number.as_bytes())?;
            }
        }
        Ok(())
    })?;
    Ok(key)
}

/// RFC 3279, 2.3.2, and PKCS #11's own form of the private key in PKCS #8: the domain stands with the algorithm, the key is a number.
fn dsa(parameters: Option<AnyRef<'_>>, der: &[u8]) -> Result<KeyPair, KeyFileError> {
    let parameters = parameters.ok_or(KeyFileError::Malformed)?;
    let mut domain = SliceReader::new(parameters.value())?;
    let mut number = || UintRef::decode(&mut domain);
    let (prime, subprime, base) = (number()?, number()?, number()?);
    let value = UintRef::from_der(der)?;
    let malformed = |_| KeyFileError::Malformed;
    let known = DsaParameters::new(prime.as_bytes(), subprime.as_bytes(), base.as_bytes())
        .and_then(|domain| DsaPrivateKey::from_value(&domain, value.as_bytes()))
        .map_err(malformed)?;
    let public = known.public_value().map_err(malformed)?;
    let mut key = empty(KeyType::DSA);
    for (half, value) in [
        (&mut key.public, &public[..]),
        (&mut key.private, value.as_bytes()),
    ] {
        push(half, AttributeType::PRIME, prime.as_bytes())?;
        push(half, AttributeType::SUBPRIME, subprime.as_bytes())?;
        push(half, AttributeType::BASE, base.as_bytes())?;
        push(half, AttributeType::VALUE, value)?;
    }
    Ok(key)
}

/// RFC 5915, 3: a version, the scalar, perhaps the domain again, perhaps the point.
fn ec(parameters: Option<AnyRef<'_>>, der: &[u8]) -> Result<KeyPair, KeyFileError> {
    let parameters = parameters.ok_or(KeyFileError::Malformed)?;
    if <ObjectIdentifier>::try_from(parameters).is_err() {
        return Err(KeyFileError::Algorithm(
            "a curve that is written out".into(),
        ));
    }
    let parameters = parameters.to_der()?;
    let mut key = empty(KeyType::EC);
    sequence(der, |reader| {
        if u8::decode(reader)? != 1 {
            return Err(KeyFileError::Malformed);
        }
        let scalar = <&OctetStringRef>::decode(reader)?.as_bytes();
        let mut point = None;
        while !reader.is_finished() {
            let part = AnyRef::decode(reader)?;
            if part.tag() == CONTEXT_1 {
                let mut inner = SliceReader::new(part.value())?;
                point = BitStringRef::decode(&mut inner)?
                    .as_bytes()
                    .map(<[u8]>::to_vec);
            }
        }
        let point = match point {
            Some(point) => point,
            None => point_of(&parameters, scalar)?,
        };
        push(&mut key.private, AttributeType::EC_PARAMS, &parameters)?;
        push(&mut key.private, AttributeType::VALUE, scalar)?;
        push(&mut key.public, AttributeType::EC_PARAMS, &parameters)?;
        let point = OctetStringRef::new(&point)?.to_der()?;
        push(&mut key.public, AttributeType::EC_POINT, &point)
    })?;
    Ok(key)
}

/// The point is the base of the curve, as often as the scalar says.
fn point_of(parameters: &[u8], scalar: &[u8]) -> Result<Vec<u8>, KeyFileError> {
    let curve = Curve::from_parameters_der(parameters).map_err(|_| {
        KeyFileError::Algorithm("a curve that is not known, without its point".into())
    })?;
    let key = EcPrivateKey::from_scalar(curve, scalar).map_err(|_| KeyFileError::Malformed)?;
    Ok(key.point().to_vec())
}

/// RFC 8410, 7: an octet string within the octet string.
fn ed25519(der: &[u8]) -> Result<KeyPair, KeyFileError> {
    let seed = <&OctetStringRef>::from_der(der)?.as_bytes();
    let fixed = seed.try_into().map_err(|_| KeyFileError::Malformed)?;
    let public = Ed25519PrivateKey::from_seed(fixed)
        .map_err(|_| KeyFileError::Malformed)?
        .public();
    edwards(KeyType::EC_EDWARDS, ED25519, seed, public.bytes())
}

fn x25519(der: &[u8]) -> Result<KeyPair, KeyFileError> {
    let scalar = <&OctetStringRef>::from_der(der)?.as_bytes();
    let fixed = scalar.try_into().map_err(|_| KeyFileError::Malformed)?;
    let key = X25519PrivateKey::from_bytes(fixed).map_err(|_| KeyFileError::Malformed)?;
    edwards(KeyType::EC_MONTGOMERY, X25519, scalar, key.public_bytes())
}

fn edwards(
    key_type: KeyType,
    oid: ObjectIdentifier,
    value: &[u8],
    point: &[u8],
) -> Result<KeyPair, KeyFileError> {
    let parameters = oid.to_der()?;
    let mut key = empty(key_type);
    push(&mut key.private, AttributeType::EC_PARAMS, &parameters)?;
    push(&mut key.private, AttributeType::VALUE, value)?;
    push(&mut key.public, AttributeType::EC_PARAMS, &parameters)?;
    let point = OctetStringRef::new(point)?.to_der()?;
    push(&mut key.public, AttributeType::EC_POINT, &point)?;
    Ok(key)
}

fn empty(key_type: KeyType) -> KeyPair {
    KeyPair {
        key_type,
        public: Opened::default(),
        private: Opened::default(),
    }
}

fn push(half: &mut Opened, kind: AttributeType, value: &[u8]) -> Result<(), KeyFileError> {
    half.push(kind, value).map_err(|_| KeyFileError::Malformed)
}

/// Reads what stands in a sequence.
fn sequence<'d>(
    der: &'d [u8],
    read: impl FnOnce(&mut SliceReader<'d>) -> Result<(), KeyFileError>,
) -> Result<(), KeyFileError> {
    let outer = AnyRef::from_der(der)?;
    outer.tag().assert_eq(Tag::Sequence)?;
    read(&mut SliceReader::new(outer.value())?)
}

/// The tag of an explicit `[1]`.
const CONTEXT_1: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(1),
};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const X448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.111");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");
