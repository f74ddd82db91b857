//! One certificate, or one list of revoked ones.
//!
//! What lives here: X.509 (RFC 5280) read into what a chain asks about.
//! What must never live here: paths, and what a vendor's extensions mean.
//! Who calls it: `chain`, `roots`, and the kinds for their leaves.

use der::asn1::BitString;
use der::{Decode, Encode, Header, Reader, SliceReader};
use x509_cert::certificate::{CertificateInner, Raw, TbsCertificateInner};
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier};

use crate::Refusal;
use crate::key::{Algorithm, EcdsaForm, Key};

const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// An alternative name of a device says nothing that is used here, whether critical or not.
const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// RFC 5280, 5.2.5 and 5.3.1 are the critical ones of lists; neither is used by these vendors.
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");

/// AMD's have about a dozen, the most of these vendors. Each is compared with those before it, so a stranger must not bring thousands.
const EXTENSIONS_MAX: usize = 32;

/// RFC 4055, 3.1: PSS with SHA-384, MGF1 of it, 48 bytes of salt; with the trailer written out, as AMD's roots have it, and without.
const PSS_SHA384: [&[u8]; 2] = [
    &[
        0x30, 0x39, 0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
        0x02, 0x02, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,
        0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
        0x02, 0x02, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x30, 0xa3, 0x03, 0x02, 0x01, 0x01,
    ],
    &[
        0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
        0x02, 0x02, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,
        0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
        0x02, 0x02, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x30,
    ],
];

/// What may be asked of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    signed: Vec<u8>,
    algorithm: Algorithm,
    signature: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) key: Key,
    basic: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
    extended: Option<ExtendedKeyUsage>,
    /// All extensions as they are.
    extensions: Vec<(ObjectIdentifier, Vec<u8>)>,
}

impl Certificate {
    /// Reads one; `what` is for refusals.
    pub(crate) fn parse(der: &[u8], what: &'static str) -> Result<Self, Refusal> {
        let malformed = |why| Refusal::Malformed { what, why };
        let all = CertificateInner::<Raw>::from_der(der)
            .map_err(|_| malformed("not a certificate in DER"))?;
        let body = all.tbs_certificate();
        if body.signature() != all.signature_algorithm() {
            return Err(malformed("it names two algorithms of signature"));
        }
        let key_info = body
            .subject_public_key_info()
            .to_der()
            .map_err(|_| malformed("its key cannot be read"))?;
        let key = Key::parse(&key_info).ok_or(Refusal::Unsupported {
            what,
            why: "its key is neither ECDSA on P-256 or P-384 nor RSA of 2048 to 4096 bits",
        })?;
        let name = |name: &x509_cert::name::Name| {
            name.to_der()
                .map_err(|_| malformed("a name cannot be read"))
        };
        let (basic, usage, extended) = known(body, what)?;
        Ok(Self {
            der: der.to_vec(),
            signed: first_inside(der).ok_or_else(|| malformed("not a certificate in DER"))?,
            algorithm: algorithm(all.signature_algorithm(), what)?,
            signature: bits(all.signature(), what)?,
            subject: name(body.subject())?,
            issuer: name(body.issuer())?,
            serial: body.serial_number().as_bytes().to_vec(),
            not_before: body.validity().not_before.to_unix_duration().as_secs(),
            not_after: body.validity().not_after.to_unix_duration().as_secs(),
            key,
            basic,
            usage,
            extended,
            extensions: body.extensions().map_or_else(Vec::new, |all| {
                let one = |one: &x509_cert::ext::Extension| {
                    (one.extn_id, one.extn_value.as_bytes().to_vec())
                };
                all.iter().map(one).collect()
            }),
        })
    }

    /// Whether both are the same bytes.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.der == other.der
    }

    /// Whether this one's key signed the other. Names are compared by whoever asks.
    pub(crate) fn signed(&self, other: &Self) -> bool {
        self.key.verifies(
            other.algorithm,
            EcdsaForm::Der,
            &other.signed,
            &other.signature,
        )
    }

    /// It must be used within its time.
    pub(crate) fn in_time(&self, now: u64, what: &'static str) -> Result<(), Refusal> {
        in_time(self.not_before, self.not_after, now, what)
    }

    /// Whether it may sign certificates, with so many authorities below it.
    pub(crate) fn may_certify(&self, authorities_below: usize) -> bool {
        let is_authority = self.basic.as_ref().is_some_and(|basic| {
            let room = basic.path_len_constraint.map_or(usize::MAX, usize::from);
            basic.ca && authorities_below <= room
        });
        is_authority && self.may(KeyUsages::KeyCertSign)
    }

    /// Whether it is no authority and may sign statements.
    pub(crate) fn may_state(&self) -> bool {
        let is_authority = self.basic.as_ref().is_some_and(|basic| basic.ca);
        !is_authority && self.may(KeyUsages::DigitalSignature)
    }

    /// RFC 5280, 4.2.1.3: without the extension, all usages are allowed.
    fn may(&self, usage: KeyUsages) -> bool {
        self.usage
            .as_ref()
            .is_none_or(|usages| usages.0.contains(usage))
    }

    /// Whether its extended usages name this one.
    pub(crate) fn is_for(&self, usage: ObjectIdentifier) -> bool {
        self.extended
            .as_ref()
            .is_some_and(|usages| usages.0.contains(&usage))
    }

    /// Whether its subject has this common name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        // RFC 5280, A.1: id-at-commonName, behind it a string of whatever kind and its length.
        const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
        let mut places = self.subject.windows(COMMON_NAME.len()).enumerate();
        places.any(|(at, window)| {
            let value = self.subject.get(at + COMMON_NAME.len()..);
            let text = value.and_then(|value| value.get(1..)?.split_first());
            window == COMMON_NAME
                && text.is_some_and(|(length, text)| {
                    text.get(..usize::from(*length)) == Some(name.as_bytes())
                })
        })
    }

    /// An extension's bytes.
    pub(crate) fn extension(&self, name: ObjectIdentifier) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|(one, _)| *one == name)
            .map(|(_, value)| value.as_slice())
    }
}

type Known = (
    Option<BasicConstraints>,
    Option<KeyUsage>,
    Option<ExtendedKeyUsage>,
);

/// The extensions that a chain is judged by; RFC 5280, 4.2: none twice, and a critical one that is not understood refuses.
fn known(body: &TbsCertificateInner<Raw>, what: &'static str) -> Result<Known, Refusal> {
    let malformed = || Refusal::Malformed {
        what,
        why: "an extension cannot be read",
    };
    let (mut basic, mut usage, mut extended) = (None, None, None);
    let mut seen = Vec::new();
    let all = body.extensions().map_or(&[][..], Vec::as_slice);
    if all.len() > EXTENSIONS_MAX {
        return Err(Refusal::TooLarge {
            what: "extensions of a certificate",
            max: EXTENSIONS_MAX,
        });
    }
    for one in all {
        let value = one.extn_value.as_bytes();
        if seen.contains(&one.extn_id) {
            return Err(Refusal::Malformed {
                what,
                why: "an extension is there twice",
            });
        }
        seen.push(one.extn_id);
        match one.extn_id {
            BASIC_CONSTRAINTS => {
                basic = Some(BasicConstraints::from_der(value).map_err(|_| malformed())?);
            }
            KEY_USAGE => usage = Some(KeyUsage::from_der(value).map_err(|_| malformed())?),
            EXTENDED_KEY_USAGE => {
                extended = Some(ExtendedKeyUsage::from_der(value).map_err(|_| malformed())?);
            }
            SUBJECT_ALTERNATIVE_NAME => {}
            _ if one.critical => {
                return Err(Refusal::Unsupported {
                    what,
                    why: "it has a critical extension that is not understood here",
                });
            }
            _ => {}
        }
    }
    Ok((basic, usage, extended))
}

/// A list of revoked certificates.
#[derive(Debug, Clone)]
pub(crate) struct Revocations {
    signed: Vec<u8>,
    algorithm: Algorithm,
    signature: Vec<u8>,
    issuer: Vec<u8>,
    from: u64,
    until: u64,
    serials: Vec<Vec<u8>>,
}

impl Revocations {
    /// Reads one.
    pub(crate) fn parse(der: &[u8], what: &'static str) -> Result<Self, Refusal> {
        let malformed = |why| Refusal::Malformed { what, why };
        let all =
            CertificateList::<Raw>::from_der(der).map_err(|_| malformed("not a CRL in DER"))?;
        let body = all.tbs_cert_list;
        if body.signature != all.signature_algorithm {
            return Err(malformed("it names two algorithms of signature"));
        }
        let revoked = body.revoked_certificates.unwrap_or_default();
        let entries = revoked
            .iter()
            .flat_map(|one| one.crl_entry_extensions.iter().flatten());
        let mut extensions = body.crl_extensions.iter().flatten().chain(entries);
        if extensions.any(|one| one.critical && one.extn_id != CRL_NUMBER) {
            return Err(Refusal::Unsupported {
                what,
                why: "it has a critical extension that is not understood here",
            });
        }
        let next = body
            .next_update
            .ok_or_else(|| malformed("it does not say until when it is valid"))?;
        Ok(Self {
            signed: first_inside(der).ok_or_else(|| malformed("not a CRL in DER"))?,
            algorithm: algorithm(&all.signature_algorithm, what)?,
            signature: bits(&all.signature, what)?,
            issuer: body
                .issuer
                .to_der()
                .map_err(|_| malformed("a name cannot be read"))?,
            from: body.this_update.to_unix_duration().as_secs(),
            until: next.to_unix_duration().as_secs(),
            serials: revoked
                .iter()
                .map(|one| one.serial_number.as_bytes().to_vec())
                .collect(),
        })
    }

    /// Whether it is, by its name, a list of this authority.
    pub(crate) fn is_of(&self, authority: &Certificate) -> bool {
        self.issuer == authority.subject
    }

    /// Whether an authority that may do so has signed it.
    pub(crate) fn is_signed_by(&self, authority: &Certificate) -> bool {
        let key = &authority.key;
        authority.may(KeyUsages::CRLSign)
            && key.verifies(
                self.algorithm,
                EcdsaForm::Der,
                &self.signed,
                &self.signature,
            )
    }

    /// The list must be its issuer's and of this time, and must not name the certificate.
    pub(crate) fn spare(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        now: u64,
        what: &'static str,
    ) -> Result<(), Refusal> {
        if !self.is_of(issuer) || certificate.issuer != issuer.subject {
            return Err(Refusal::Mismatch {
                what: "a CRL",
                with: "the issuer of the certificate that it is for",
            });
        }
        if !self.is_signed_by(issuer) {
            return Err(Refusal::Signature { what: "a CRL" });
        }
        in_time(self.from, self.until, now, "a CRL")?;
        if self.serials.contains(&certificate.serial) {
            return Err(Refusal::Revoked { what });
        }
        Ok(())
    }
}

/// Something that is valid from one second until another must be judged between them.
pub(crate) fn in_time(from: u64, until: u64, now: u64, what: &'static str) -> Result<(), Refusal> {
    if (from..=until).contains(&now) {
        return Ok(());
    }
    Err(Refusal::Time {
        what,
        from,
        until,
        now,
    })
}

/// The first element within a sequence as it is written: what a signature is over.
fn first_inside(der: &[u8]) -> Option<Vec<u8>> {
    let mut reader = SliceReader::new(der).ok()?;
    Header::decode(&mut reader).ok()?;
    reader.tlv_bytes().ok().map(<[u8]>::to_vec)
}

fn bits(signature: &BitString, what: &'static str) -> Result<Vec<u8>, Refusal> {
    let whole = signature.as_bytes().map(<[u8]>::to_vec);
    whole.ok_or(Refusal::Malformed {
        what,
        why: "its signature is not whole bytes",
    })
}

fn algorithm(
    identifier: &AlgorithmIdentifierOwned,
    what: &'static str,
) -> Result<Algorithm, Refusal> {
    let parameters = identifier
        .parameters
        .as_ref()
        .and_then(|any| any.to_der().ok());
    let parameters = parameters.as_deref();
    // RFC 4055, 5: NULL for PKCS #1; RFC 5758, 3.2: nothing for ECDSA.
    let null = parameters == Some(&[5, 0]);
    match identifier.oid {
        ECDSA_SHA256 if parameters.is_none() => Ok(Algorithm::EcdsaSha256),
        ECDSA_SHA384 if parameters.is_none() => Ok(Algorithm::EcdsaSha384),
        RSA_SHA256 if null => Ok(Algorithm::RsaPkcs1Sha256),
        RSA_SHA384 if null => Ok(Algorithm::RsaPkcs1Sha384),
        RSA_PSS if parameters.is_some_and(|all| PSS_SHA384.contains(&all)) => {
            Ok(Algorithm::RsaPssSha384)
        }
        _ => Err(Refusal::Unsupported {
            what,
            why: "it is signed with an algorithm that is not accepted",
        }),
    }
}
