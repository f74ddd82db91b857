//! Keys in clear, in the forms that files have.
//!
//! What lives here: PKCS #8 (RFC 5958), PKCS #1 (RFC 8017, A.1), SEC 1 (RFC 5915) and the public key of RFC 5280, 4.1.
//! What must never live here: passwords; copies of a value.
//! Who calls it: the PEM and PKCS #12 readers, and the door for modules with what it unwrapped.

use std::borrow::Cow;

use strongroom_wire::ck::KeyType;

use super::ber::{self, Element, Reader};
use super::error::FileError;
use super::material::{PrivateKey, PublicKey, RsaPrivate};

/// The parts of a `PrivateKeyInfo`, whatever algorithm it is of.
pub struct PrivateKeyInfo<'a> {
    /// The object identifier.
    pub algorithm: Element<'a>,
    /// What follows it, if anything does.
    pub parameters: Option<Element<'a>>,
    /// What the algorithm says it is.
    pub key: &'a [u8],
}

/// Takes a `PrivateKeyInfo` apart.
///
/// # Errors
/// [`FileError`].
pub fn private_key_info(der: &[u8]) -> Result<PrivateKeyInfo<'_>, FileError> {
    let mut outer = ber::single(der, ber::SEQUENCE, "a private key is not a sequence")?.elements();
    outer.expect(ber::INTEGER, "a private key has no version")?;
    let (algorithm, parameters) = algorithm_identifier(&mut outer)?;
    let key = outer.expect(ber::OCTET_STRING, "a private key has no value")?;
    Ok(PrivateKeyInfo {
        algorithm,
        parameters,
        key: key.content,
    })
}

/// Reads a private key as PKCS #8 has it.
///
/// # Errors
/// [`FileError`].
pub fn private_key(der: &[u8]) -> Result<PrivateKey<'_>, FileError> {
    let info = private_key_info(der)?;
    match info.algorithm.content {
        RSA | RSA_PSS | RSA_OAEP => rsa_private(info.key),
        EC => ec_private(info.key, info.parameters),
        ED25519 | ED448 => edwards_private(KeyType::EC_EDWARDS, &info),
        X25519 | X448 => edwards_private(KeyType::EC_MONTGOMERY, &info),
        DSA => {
            let mut numbers = dsa_parameters(info.parameters)?;
            Ok(PrivateKey::Dsa {
                prime: integer(&mut numbers)?,
                subprime: integer(&mut numbers)?,
                base: integer(&mut numbers)?,
                value: integer(&mut Reader::of(info.key))?,
                public: None,
            })
        }
        DH => {
            let mut numbers = dsa_parameters(info.parameters)?;
            Ok(PrivateKey::Dh {
                prime: integer(&mut numbers)?,
                base: integer(&mut numbers)?,
                value: integer(&mut Reader::of(info.key))?,
            })
        }
        other => Err(unknown(other)),
    }
}

/// Reads a private key as PKCS #1 has it.
///
/// # Errors
/// [`FileError`].
pub fn rsa_private(der: &[u8]) -> Result<PrivateKey<'_>, FileError> {
    let what = "an RSA private key is not a sequence";
    let mut numbers = ber::single(der, ber::SEQUENCE, what)?.elements();
    if integer(&mut numbers)? != NO_DIGITS {
        return Err(FileError::Unsupported(
            "it is an RSA key of more than two primes, which no PKCS#11 token takes".into(),
        ));
    }
    Ok(PrivateKey::Rsa(RsaPrivate {
        modulus: integer(&mut numbers)?,
        public_exponent: integer(&mut numbers)?,
        private_exponent: integer(&mut numbers)?,
        prime_1: integer(&mut numbers)?,
        prime_2: integer(&mut numbers)?,
        exponent_1: integer(&mut numbers)?,
        exponent_2: integer(&mut numbers)?,
        coefficient: integer(&mut numbers)?,
    }))
}

/// Reads a private key as SEC 1 has it; `curve` is its name where that stands outside.
///
/// # Errors
/// [`FileError`].
pub fn ec_private<'a>(
    der: &'a [u8],
    curve: Option<Element<'a>>,
) -> Result<PrivateKey<'a>, FileError> {
    let what = "a private key of a curve is not a sequence";
    let mut parts = ber::single(der, ber::SEQUENCE, what)?.elements();
    parts.expect(ber::INTEGER, "a private key of a curve has no version")?;
    let scalar = parts.expect(ber::OCTET_STRING, "a private key of a curve has no value")?;
    let inside = parts.optional(ber::context(0))?;
    let point = parts.optional(ber::context(1))?;
    let inside = inside.map(|it| it.elements().element()).transpose()?;
    let curve = curve.or(inside).ok_or(FileError::Malformed(
        "a private key does not name its curve",
    ))?;
    let point = match point {
        Some(point) => {
            let bits = point
                .elements()
                .expect(ber::BIT_STRING, "a point is no bit string")?;
            Some(bits.bits()?)
        }
        None => None,
    };
    Ok(PrivateKey::Ec {
        parameters: curve.whole,
        scalar: scalar.content,
        point,
    })
}

/// Reads a private DSA key as OpenSSL's old form has it.
///
/// # Errors
/// [`FileError`].
pub fn dsa_private(der: &[u8]) -> Result<PrivateKey<'_>, FileError> {
    let what = "a DSA private key is not a sequence";
    let mut numbers = ber::single(der, ber::SEQUENCE, what)?.elements();
    integer(&mut numbers)?;
    let [prime, subprime, base, public] = [
        integer(&mut numbers)?,
        integer(&mut numbers)?,
        integer(&mut numbers)?,
        integer(&mut numbers)?,
    ];
    Ok(PrivateKey::Dsa {
        prime,
        subprime,
        base,
        value: integer(&mut numbers)?,
        public: Some(public),
    })
}

/// Reads a public key as certificates have it.
///
/// # Errors
/// [`FileError`].
pub fn public_key(der: &[u8]) -> Result<PublicKey<'_>, FileError> {
    let what = "a public key is not a sequence";
    let mut parts = ber::single(der, ber::SEQUENCE, what)?.elements();
    let (algorithm, parameters) = algorithm_identifier(&mut parts)?;
    let bits = parts
        .expect(ber::BIT_STRING, "a public key has no bits")?
        .bits()?;
    let (kind, parameters) = match (algorithm.content, parameters) {
        (RSA | RSA_PSS | RSA_OAEP, _) => return rsa_public(bits),
        (EC, Some(parameters)) => (KeyType::EC, parameters.whole),
        (ED25519 | ED448, _) => (KeyType::EC_EDWARDS, algorithm.whole),
        (X25519 | X448, _) => (KeyType::EC_MONTGOMERY, algorithm.whole),
        (DSA, parameters) => {
            let mut numbers = dsa_parameters(parameters)?;
            return Ok(PublicKey::Dsa {
                prime: integer(&mut numbers)?,
                subprime: integer(&mut numbers)?,
                base: integer(&mut numbers)?,
                value: Cow::Borrowed(integer(&mut Reader::of(bits))?),
            });
        }
        (DH, parameters) => {
            let mut numbers = dsa_parameters(parameters)?;
            return Ok(PublicKey::Dh {
                prime: integer(&mut numbers)?,
                base: integer(&mut numbers)?,
                value: integer(&mut Reader::of(bits))?,
            });
        }
        (other, _) => return Err(unknown(other)),
    };
    Ok(PublicKey::Curve {
        kind,
        parameters,
        point: Cow::Borrowed(bits),
    })
}

/// Reads a public key as PKCS #1 has it.
///
/// # Errors
/// [`FileError`].
pub fn rsa_public(der: &[u8]) -> Result<PublicKey<'_>, FileError> {
    let what = "an RSA public key is not a sequence";
    let mut numbers = ber::single(der, ber::SEQUENCE, what)?.elements();
    Ok(PublicKey::Rsa {
        modulus: integer(&mut numbers)?,
        public_exponent: integer(&mut numbers)?,
    })
}

/// The bits of a public key as certificates have it: what identifiers are made of.
///
/// # Errors
/// [`FileError`].
pub fn public_bits(der: &[u8]) -> Result<&[u8], FileError> {
    let what = "a public key is not a sequence";
    let mut parts = ber::single(der, ber::SEQUENCE, what)?.elements();
    algorithm_identifier(&mut parts)?;
    parts
        .expect(ber::BIT_STRING, "a public key has no bits")?
        .bits()
}

/// An object identifier, and the parameters behind it.
///
/// # Errors
/// [`FileError`].
pub fn algorithm_identifier<'a>(
    from: &mut Reader<'a>,
) -> Result<(Element<'a>, Option<Element<'a>>), FileError> {
    let mut parts = from
        .expect(ber::SEQUENCE, "an algorithm is not a sequence")?
        .elements();
    let name = parts.expect(ber::OBJECT_IDENTIFIER, "an algorithm has no name")?;
    let parameters = match parts.is_at_end() {
        true => None,
        false => Some(parts.element()?),
    };
    Ok((name, parameters))
}

fn edwards_private<'a>(
    kind: KeyType,
    info: &PrivateKeyInfo<'a>,
) -> Result<PrivateKey<'a>, FileError> {
    // RFC 8410, 7: an OCTET STRING within the OCTET STRING.
    let what = "a private key of a curve has no value";
    let value = ber::single(info.key, ber::OCTET_STRING, what)?;
    Ok(PrivateKey::Edwards {
        kind,
        parameters: info.algorithm.whole,
        value: value.content,
    })
}

fn dsa_parameters(parameters: Option<Element<'_>>) -> Result<Reader<'_>, FileError> {
    match parameters {
        Some(numbers) if numbers.tag == ber::SEQUENCE => Ok(numbers.elements()),
        _ => Err(FileError::Malformed("a key has no domain parameters")),
    }
}

fn integer<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], FileError> {
    from.expect(ber::INTEGER, "a number of the key is missing")?
        .integer()
}

fn unknown(algorithm: &[u8]) -> FileError {
    FileError::Unsupported(format!(
        "its algorithm {} is not one that is read here",
        ber::identifier(algorithm)
    ))
}

/// Zero, without leading zeros.
const NO_DIGITS: &[u8] = &[];

/// 1.2.840.113549.1.1.1, RFC 8017.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// 1.2.840.113549.1.1.7, RFC 4055.
const RSA_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 7];
/// 1.2.840.113549.1.1.10, RFC 4055.
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
/// 1.2.840.113549.1.3.1, PKCS #3.
const DH: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 3, 1];
/// 1.2.840.10045.2.1, RFC 5480.
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// 1.2.840.10040.4.1, RFC 3279.
const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
/// 1.3.101.110 to 1.3.101.113, RFC 8410.
const X25519: &[u8] = &[0x2b, 0x65, 110];
const X448: &[u8] = &[0x2b, 0x65, 111];
const ED25519: &[u8] = &[0x2b, 0x65, 112];
const ED448: &[u8] = &[0x2b, 0x65, 113];
