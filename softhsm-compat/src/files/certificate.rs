//! X.509 certificates.
//!
//! What lives here: the fields of a certificate that a token keeps beside it (RFC 5280, 4.1).
//! What must never live here: whether a certificate is to be trusted.
//! Who calls it: the PEM and PKCS #12 readers.

use strongroom_wire::ck::{AttributeType as A, CertificateType, ObjectClass};

use super::ber::{self, Element};
use super::error::FileError;
use super::key::public_bits;
use super::material::{Description, begun, identifier};
use crate::opened::Opened;

/// A certificate and where its fields lie.
pub struct Certificate<'a> {
    whole: &'a [u8],
    serial_number: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    public_key: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Takes one apart.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn parse(der: &'a [u8]) -> Result<Self, FileError> {
        let whole = ber::single(der, ber::SEQUENCE, "a certificate is not a sequence")?;
        let mut fields = whole
            .elements()
            .expect(ber::SEQUENCE, "a certificate has no contents")?
            .elements();
        fields.optional(ber::context(0))?;
        let serial_number = fields.expect(ber::INTEGER, "a certificate has no serial number")?;
        fields.expect(ber::SEQUENCE, "a certificate has no algorithm")?;
        let issuer = fields.expect(ber::SEQUENCE, "a certificate has no issuer")?;
        fields.expect(ber::SEQUENCE, "a certificate has no validity")?;
        let subject = fields.expect(ber::SEQUENCE, "a certificate has no subject")?;
        let public_key = fields.expect(ber::SEQUENCE, "a certificate has no public key")?;
        Ok(Self {
            whole: whole.whole,
            serial_number: serial_number.whole,
            issuer: issuer.whole,
            subject: subject.whole,
            public_key: public_key.whole,
        })
    }

    /// The identifier of its public key, which is that of the private key where nobody says another.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn id(&self) -> Result<Vec<u8>, FileError> {
        identifier(public_bits(self.public_key)?)
    }

    /// The last common name of its subject, if that is text.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        let mut names = ber::Reader::of(self.subject).element().ok()?.elements();
        let mut found = None;
        while !names.is_at_end() {
            let mut parts = names.element().ok()?.elements();
            while !parts.is_at_end() {
                let mut pair = parts.element().ok()?.elements();
                let (kind, value) = (pair.element().ok()?, pair.element().ok()?);
                if kind.content == COMMON_NAME {
                    found = Some(text(&value)?);
                }
            }
        }
        found
    }

    /// The object that it becomes.
    ///
    /// # Errors
    /// [`FileError::Resources`].
    pub fn object(&self, description: &Description, id: &[u8]) -> Result<Opened, FileError> {
        let mut object = begun(ObjectClass::CERTIFICATE, description)?;
        object.push_number(A::CERTIFICATE_TYPE, CertificateType::X_509.0)?;
        object.push_flag(A::PRIVATE, false)?;
        object.push(A::ID, id)?;
        object.push(A::SUBJECT, self.subject)?;
        object.push(A::ISSUER, self.issuer)?;
        // PKCS#11 3.2, 4.6.3: CKA_SERIAL_NUMBER is the DER of the number.
        object.push(A::SERIAL_NUMBER, self.serial_number)?;
        object.push(A::VALUE, self.whole)?;
        Ok(object)
    }
}

/// The strings of RFC 5280 in Unicode.
fn text(value: &Element<'_>) -> Option<String> {
    if value.tag == ber::BMP_STRING {
        return wide_text(value.content);
    }
    std::str::from_utf8(value.content).ok().map(str::to_owned)
}

/// The text of a `BMPString`; none when it is not UTF-16.
#[must_use]
pub fn wide_text(content: &[u8]) -> Option<String> {
    let (units, odd) = content.as_chunks();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
    String::from_utf16(&units).ok().filter(|_| odd.is_empty())
}

/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
