//! What lives here: writing X.509 certificates (RFC 5280): a root that signs itself, and leaves for hosts.
//!
//! What must never live here: reading certificates, and deciding whom to certify.
//!
//! Who calls it: the token, for those who verify released keys.

use crate::der::{BIT_STRING, OCTET_STRING, SEQUENCE, element, integer};
use crate::digest::{Hash, digest};
use crate::error::Error;
use crate::rsa::RsaPrivateKey;

/// From when to when a certificate holds: year, month, day, hour, minute, second (UTC), as `YYYYMMDDhhmmss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity<'v> {
    /// The first second.
    pub not_before: &'v str,
    /// The last second.
    pub not_after: &'v str,
}

/// A root: it signs itself, and may sign leaves and nothing below them.
///
/// # Errors
/// [`Error::ParameterInvalid`] for a name of more than 64 bytes (RFC 5280, ub-common-name) or times that are none; what signing says.
pub fn root(
    key: &RsaPrivateKey,
    name: &str,
    serial: &[u8; 16],
    validity: Validity<'_>,
) -> Result<Vec<u8>, Error> {
    let public = key.public()?.to_spki_der()?;
    let identifier = key_identifier(&public)?;
    let extensions = [
        extension(
            BASIC_CONSTRAINTS,
            true,
            &element(SEQUENCE, &[TRUE, &integer(&[])]),
        ),
        // keyCertSign and cRLSign.
        extension(KEY_USAGE, true, &element(BIT_STRING, &[&[1, 0b0000_0110]])),
        extension(SUBJECT_KEY, false, &element(OCTET_STRING, &[&identifier])),
    ];
    let name = common_name(name)?;
    signed(key, &name, &name, &public, serial, validity, &extensions)
}

/// Whose leaf it is.
#[derive(Clone, Copy, Debug)]
pub struct Issuer<'i> {
    /// The root's key.
    pub key: &'i RsaPrivateKey,
    /// The root's name.
    pub name: &'i str,
}

/// A leaf for a host, for signatures and as a server of TLS.
///
/// # Errors
/// As [`root`]; a host has at most 253 bytes, of which the first 64 become its name.
pub fn leaf(
    issuer: Issuer<'_>,
    key: &RsaPrivateKey,
    host: &str,
    serial: &[u8; 16],
    validity: Validity<'_>,
) -> Result<Vec<u8>, Error> {
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.is_ascii() {
        return Err(Error::ParameterInvalid);
    }
    let public = key.public()?.to_spki_der()?;
    let issuer_identifier = key_identifier(&issuer.key.public()?.to_spki_der()?)?;
    let extensions = [
        extension(BASIC_CONSTRAINTS, true, &element(SEQUENCE, &[])),
        // digitalSignature.
        extension(KEY_USAGE, true, &element(BIT_STRING, &[&[7, 0b1000_0000]])),
        extension(
            EXTENDED_KEY_USAGE,
            false,
            &element(SEQUENCE, &[SERVER_AUTH]),
        ),
        extension(
            SUBJECT_ALTERNATIVE_NAME,
            false,
            &element(SEQUENCE, &[&element(DNS_NAME, &[host.as_bytes()])]),
        ),
        extension(
            SUBJECT_KEY,
            false,
            &element(OCTET_STRING, &[&key_identifier(&public)?]),
        ),
        extension(
            AUTHORITY_KEY,
            false,
            &element(SEQUENCE, &[&element(KEY_IDENTIFIER, &[&issuer_identifier])]),
        ),
    ];
    let subject = common_name(host.get(..NAME_BYTES_MAX).unwrap_or(host))?;
    let issuer_name = common_name(issuer.name)?;
    signed(
        issuer.key,
        &issuer_name,
        &subject,
        &public,
        serial,
        validity,
        &extensions,
    )
}

fn signed(
    key: &RsaPrivateKey,
    issuer: &[u8],
    subject: &[u8],
    public: &[u8],
    serial: &[u8; 16],
    validity: Validity<'_>,
    extensions: &[Vec<u8>],
) -> Result<Vec<u8>, Error> {
    let algorithm = element(SEQUENCE, &[SHA256_WITH_RSA, NULL]);
    let first = time(validity.not_before)?;
    let last = time(validity.not_after)?;
    // RFC 5280, 4.1.2.2: positive, and never zero.
    let mut serial = *serial;
    serial[0] = serial[0] & 0x7f | 0x40;
    let body = element(
        SEQUENCE,
        &[
            &element(VERSION, &[&integer(&[2])]),
            &integer(&serial),
            &algorithm,
            issuer,
            &element(SEQUENCE, &[&first, &last]),
            subject,
            public,
            &element(EXTENSIONS, &[&element(SEQUENCE, &[&extensions.concat()])]),
        ],
    );
    let hash = digest(Hash::Sha256, &body)?;
    let signature = key.sign_pkcs1_digest(Hash::Sha256, hash.as_ref())?;
    Ok(element(
        SEQUENCE,
        &[&body, &algorithm, &element(BIT_STRING, &[&[0], &signature])],
    ))
}

fn extension(identifier: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical { TRUE } else { &[] };
    element(
        SEQUENCE,
        &[identifier, flag, &element(OCTET_STRING, &[value])],
    )
}

/// A distinguished name with a common name alone.
fn common_name(name: &str) -> Result<Vec<u8>, Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::ParameterInvalid);
    }
    let pair = element(
        SEQUENCE,
        &[COMMON_NAME, &element(UTF8_STRING, &[name.as_bytes()])],
    );
    Ok(element(SEQUENCE, &[&element(SET, &[&pair])]))
}

/// RFC 5280, 4.1.2.5: two digits of the year until 2049, four from 2050 on.
fn time(digits: &str) -> Result<Vec<u8>, Error> {
    if digits.len() != 14 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Error::ParameterInvalid);
    }
    let short = ("19500101"..="20500101").contains(&digits);
    let (tag, shown) = match digits.get(2..) {
        Some(shown) if short => (UTC_TIME, shown),
        _ => (GENERALIZED_TIME, digits),
    };
    Ok(element(tag, &[shown.as_bytes(), b"Z"]))
}

/// RFC 7093, 2, method 1: the first 160 bits of SHA-256 over the key's bits.
fn key_identifier(public: &[u8]) -> Result<[u8; 20], Error> {
    let mut identifier = [0; 20];
    let hash = digest(Hash::Sha256, public)?;
    let first = hash.as_ref().get(..20).ok_or(Error::ParameterInvalid)?;
    identifier.copy_from_slice(first);
    Ok(identifier)
}

/// RFC 5280, A.1: ub-common-name.
const NAME_BYTES_MAX: usize = 64;
/// RFC 1035, 2.3.4, without the dot at the end.
const HOST_BYTES_MAX: usize = 253;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `dNSName` of a GeneralName.
const DNS_NAME: u8 = 0x82;
/// `keyIdentifier` of an AuthorityKeyIdentifier.
const KEY_IDENTIFIER: u8 = 0x80;
const TRUE: &[u8] = &[0x01, 0x01, 0xff];
const NULL: &[u8] = &[0x05, 0x00];
/// 1.2.840.113549.1.1.11
const SHA256_WITH_RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b,
];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
/// 2.5.29.14
const SUBJECT_KEY: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x0e];
/// 2.5.29.15
const KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x0f];
/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
/// 2.5.29.35
const AUTHORITY_KEY: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x23];
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
/// 1.3.6.1.5.5.7.3.1
const SERVER_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
