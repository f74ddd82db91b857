//! PKCS #12 (RFC 7292): keys and certificates in one file under a password.
//!
//! What lives here: the layers of the file, and the bags in it.
//! What must never live here: what a password opens and how.
//! Who calls it: the door for PKCS #12.

use strongroom_crypto::digest::Hash;
use strongroom_keymem::SecretVec;
use strongroom_wire::ck::KeyType;

use super::ber::{self, Element, Reader};
use super::certificate::wide_text;
use super::error::FileError;
use super::key::{self, algorithm_identifier};
use super::material::{Description, secret_key};
use super::open::Findings;
use super::password::{self, Password};

/// Reads a file. A MAC that does not fit ends it before anything is decrypted.
///
/// # Errors
/// [`FileError`]; what cannot be brought in and is not damaged is among the findings.
pub fn read(
    file: &[u8],
    name: &str,
    label: &str,
    password: &Password,
    findings: &mut Findings,
) -> Result<(), FileError> {
    let mut outer = ber::single(file, ber::SEQUENCE, "it is no PKCS #12 file")?.elements();
    let version = outer.expect(ber::INTEGER, "it is no PKCS #12 file")?;
    if version.small_integer()? != VERSION {
        return Err(FileError::Unsupported(
            "it is a PKCS #12 file of a version that is not known here".into(),
        ));
    }
    let (kind, content) = content_info(&mut outer)?;
    if kind.content != DATA {
        return Err(FileError::Unsupported(
            "it is a PKCS #12 file that is signed in place of a MAC, which is not read here".into(),
        ));
    }
    let contents = content
        .elements()
        .octets("a PKCS #12 file has no contents")?;
    if outer.is_at_end() {
        findings.notes.push(format!(
            "{name}: the file has no MAC, so nothing shows whether it was changed"
        ));
    } else {
        proved(
            outer.expect(ber::SEQUENCE, "the MAC of a PKCS #12 file")?,
            &contents,
            password,
        )?;
    }
    let mut bags = Bags {
        name,
        label,
        password,
        findings,
        number: 0,
    };
    let mut safes =
        ber::single(&contents, ber::SEQUENCE, "the contents of a PKCS #12 file")?.elements();
    while !safes.is_at_end() {
        bags.safe(&mut safes)?;
    }
    Ok(())
}

fn proved(mac: Element<'_>, contents: &[u8], password: &Password) -> Result<(), FileError> {
    let mut parts = mac.elements();
    let mut info = parts
        .expect(ber::SEQUENCE, "a MAC has no digest")?
        .elements();
    let (algorithm, parameters) = algorithm_identifier(&mut info)?;
    let is_plain = parameters.is_none_or(|one| one.tag == ber::NULL && one.content.is_empty());
    let expected = info.octets("a MAC has no value")?;
    let salt = parts.octets("a MAC has no salt")?;
    let one = Element {
        tag: ber::INTEGER,
        content: &[1],
        whole: &[],
    };
    let count = parts.optional(ber::INTEGER)?.unwrap_or(one);
    let Some((_, hash)) = HASHES
        .iter()
        .find(|(name, _)| is_plain && *name == algorithm.content)
    else {
        return Err(FileError::Unsupported(format!(
            "its MAC is of a kind ({}) that is not known here; OpenSSL converts it: openssl pkcs12 -in OLD -out ALL.pem, then \
             openssl pkcs12 -export -in ALL.pem -out NEW",
            ber::identifier(algorithm.content)
        )));
    };
    match password::is_whole(*hash, &salt, count, contents, &expected, password)? {
        true => Ok(()),
        false => Err(FileError::Password),
    }
}

/// The bags of a file, on their way to the findings.
struct Bags<'a> {
    name: &'a str,
    label: &'a str,
    password: &'a Password,
    findings: &'a mut Findings,
    number: usize,
}

impl Bags<'_> {
    fn safe(&mut self, from: &mut Reader<'_>) -> Result<(), FileError> {
        let (kind, content) = content_info(from)?;
        match kind.content {
            DATA => {
                let bags = content.elements().octets("a safe has no contents")?;
                self.bags(&bags, DEPTH_MAX)
            }
            ENCRYPTED_DATA => {
                let what = "an encrypted safe is not a sequence";
                let mut parts = content.elements().expect(ber::SEQUENCE, what)?.elements();
                parts.expect(ber::INTEGER, "an encrypted safe has no version")?;
                let what = "an encrypted safe has no contents";
                let mut info = parts.expect(ber::SEQUENCE, what)?.elements();
                info.expect(ber::OBJECT_IDENTIFIER, "an encrypted safe has no type")?;
                let what = "an encrypted safe has no algorithm";
                let algorithm = info.expect(ber::SEQUENCE, what)?;
                let encrypted = implicit_octets(&mut info)?;
                let clear = password::decrypted(algorithm, encrypted.expose(), self.password)?;
                self.bags(clear.expose(), DEPTH_MAX)
            }
            other => {
                let why = format!(
                    "a part of the file is of a kind ({}) that is not read here, as when it is encrypted for a public key",
                    ber::identifier(other)
                );
                self.findings.refused.push((self.name.into(), why));
                Ok(())
            }
        }
    }

    fn bags(&mut self, contents: &[u8], depth: u8) -> Result<(), FileError> {
        let what = "a safe is not a sequence";
        let mut bags = ber::single(contents, ber::SEQUENCE, what)?.elements();
        while !bags.is_at_end() {
            let mut bag = bags
                .expect(ber::SEQUENCE, "a bag is not a sequence")?
                .elements();
            let kind = bag.expect(ber::OBJECT_IDENTIFIER, "a bag has no type")?;
            let value = bag.expect(ber::context(0), "a bag has no value")?;
            self.number += 1;
            let source = format!("{}, entry {}", self.name, self.number);
            let known = described(bag.optional(ber::SET)?, self.label)?;
            match self.bag(kind.content, value, &source, &known, depth) {
                Err(FileError::Unsupported(why)) => self.findings.refused.push((source, why)),
                other => other?,
            }
        }
        Ok(())
    }

    fn bag(
        &mut self,
        kind: &[u8],
        value: Element<'_>,
        source: &str,
        known: &Description,
        depth: u8,
    ) -> Result<(), FileError> {
        match kind.strip_prefix(BAG) {
            Some([KEY_BAG]) => {
                let key = key::private_key(value.content)?;
                self.findings.private_key(source, &key, known, None)
            }
            Some([SHROUDED_KEY_BAG]) => {
                let clear = self.unshrouded(value.content)?;
                let key = key::private_key(clear.expose())?;
                self.findings.private_key(source, &key, known, None)
            }
            Some([CERTIFICATE_BAG]) => {
                let certificate = typed(value, X509)?.ok_or_else(|| {
                    FileError::Unsupported("it is a certificate that is not X.509".into())
                })?;
                self.findings
                    .certificate(source, certificate.expose(), known)
            }
            Some([SECRET_BAG]) => self.secret(value, source, known),
            Some([SAFE_BAG]) => {
                let depth = depth.checked_sub(1).ok_or(DEEP)?;
                self.bags(value.content, depth)
            }
            Some([4]) => Err(FileError::Unsupported(
                "it is a list of revoked certificates, which no PKCS#11 token keeps".into(),
            )),
            _ => Err(FileError::Unsupported(format!(
                "it is a bag of a kind ({}) that is not known here",
                ber::identifier(kind)
            ))),
        }
    }

    /// A secret key as Java writes it: shrouded like a private one, with the algorithm that it is for.
    fn secret(
        &mut self,
        value: Element<'_>,
        source: &str,
        known: &Description,
    ) -> Result<(), FileError> {
        let shrouded = [BAG, &[SHROUDED_KEY_BAG]].concat();
        let secret = typed(value, &shrouded)?.ok_or_else(|| {
            FileError::Unsupported("it is a secret of a kind that no key is".into())
        })?;
        let clear = self.unshrouded(secret.expose())?;
        let info = key::private_key_info(clear.expose())?;
        let kind = match info.algorithm.content.starts_with(AES) {
            true => KeyType::AES,
            false => KeyType::GENERIC_SECRET,
        };
        let object = secret_key(kind, info.key, known)?;
        self.findings.objects.push((source.into(), object));
        Ok(())
    }

    fn unshrouded(&self, der: &[u8]) -> Result<SecretVec, FileError> {
        let mut parts =
            ber::single(der, ber::SEQUENCE, "a shrouded key is not a sequence")?.elements();
        let algorithm = parts.expect(ber::SEQUENCE, "a shrouded key has no algorithm")?;
        let encrypted = parts.octets("a shrouded key has no value")?;
        password::decrypted(algorithm, &encrypted, self.password)
    }
}

/// A type, and the contents behind it.
fn content_info<'a>(from: &mut Reader<'a>) -> Result<(Element<'a>, Element<'a>), FileError> {
    let mut info = from
        .expect(ber::SEQUENCE, "a part of a PKCS #12 file is no sequence")?
        .elements();
    let kind = info.expect(
        ber::OBJECT_IDENTIFIER,
        "a part of a PKCS #12 file has no type",
    )?;
    let content = info.expect(ber::context(0), "a part of a PKCS #12 file has no contents")?;
    Ok((kind, content))
}

/// `[0] IMPLICIT OCTET STRING`, in one piece or in several.
fn implicit_octets(from: &mut Reader<'_>) -> Result<SecretVec, FileError> {
    let element = from.element()?;
    if element.tag & !0x20 != 0x80 {
        return Err(FileError::Malformed("an encrypted safe has no contents"));
    }
    let mut copy = SecretVec::with_capacity(element.content.len())?;
    copy.push_slice(&element.octets()?)?;
    Ok(copy)
}

/// The string of a bag that says its own type; none when it is of another.
fn typed(value: Element<'_>, kind: &[u8]) -> Result<Option<SecretVec>, FileError> {
    let mut parts = value
        .elements()
        .expect(ber::SEQUENCE, "a bag is not a sequence")?
        .elements();
    if parts
        .expect(ber::OBJECT_IDENTIFIER, "a bag has no type")?
        .content
        != kind
    {
        return Ok(None);
    }
    let mut inside = parts
        .expect(ber::context(0), "a bag has no value")?
        .elements();
    let octets = inside.octets("a bag has no value")?;
    let mut copy = SecretVec::with_capacity(octets.len())?;
    copy.push_slice(&octets)?;
    Ok(Some(copy))
}

/// The friendly name and the local identifier of a bag (RFC 2985, 5.5).
fn described(attributes: Option<Element<'_>>, label: &str) -> Result<Description, FileError> {
    let mut description = Description {
        label: label.into(),
        ..Description::default()
    };
    let Some(attributes) = attributes else {
        return Ok(description);
    };
    let mut attributes = attributes.elements();
    while !attributes.is_at_end() {
        let mut parts = attributes
            .expect(ber::SEQUENCE, "an attribute is not a sequence")?
            .elements();
        let kind = parts.expect(ber::OBJECT_IDENTIFIER, "an attribute has no type")?;
        let mut values = parts
            .expect(ber::SET, "an attribute has no values")?
            .elements();
        match kind.content {
            FRIENDLY_NAME if !values.is_at_end() => {
                let name = wide_text(values.element()?.content);
                description.label = name.unwrap_or(description.label);
            }
            LOCAL_KEY_ID if !values.is_at_end() => {
                description.id = Some(values.octets("a local identifier is no string")?.to_vec());
            }
            _ => {}
        }
    }
    Ok(description)
}

/// The one there is since 1999.
const VERSION: u32 = 3;
/// Safes within safes; no known writer makes any.
const DEPTH_MAX: u8 = 8;
const DEEP: FileError = FileError::Malformed("safes within safes without end");

/// 1.2.840.113549.1.7.1 and .6, RFC 5652.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
/// 1.2.840.113549.1.12.10.1: the kinds of bags follow.
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
const KEY_BAG: u8 = 1;
const SHROUDED_KEY_BAG: u8 = 2;
const CERTIFICATE_BAG: u8 = 3;
const SECRET_BAG: u8 = 5;
const SAFE_BAG: u8 = 6;
/// 1.2.840.113549.1.9.22.1.
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
/// 1.2.840.113549.1.9.20 and .21, RFC 2985.
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 21];
/// 2.16.840.1.101.3.4.1: AES in any length and mode.
const AES: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];
/// SHA-1 (1.3.14.3.2.26) and SHA-2 (2.16.840.1.101.3.4.2).
const HASHES: &[(&[u8], Hash)] = &[
    (&[0x2b, 0x0e, 3, 2, 0x1a], Hash::Sha1),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], Hash::Sha256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], Hash::Sha384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], Hash::Sha512),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4], Hash::Sha224),
];
