//! Authorities of our own, for evidence that no hardware made.
//!
//! What lives here: a writer of certificates and CRLs in DER, and keys that are no secret.
//! What must never live here: evidence.
//! Who calls it: the tests of the kinds.

use der::Encode;
use der::asn1::ObjectIdentifier;
use p384::ecdsa::signature::Signer;
use p384::ecdsa::{Signature, SigningKey};

/// 2023-11-14, within the validity of everything that is made here.
pub(crate) const NOW: u64 = 1_700_000_000;
/// 2023-01-01 and 2033-01-01.
pub(crate) const FROM: (&str, u64) = ("230101000000Z", 1_672_531_200);
pub(crate) const UNTIL: (&str, u64) = ("330101000000Z", 1_988_150_400);

/// An element of DER.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        length @ 0..128 => out.push(u8::try_from(length).unwrap()),
        length @ 128..256 => out.extend([0x81, u8::try_from(length).unwrap()]),
        length => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

/// An object identifier.
pub(crate) fn oid(arc: &str) -> Vec<u8> {
    ObjectIdentifier::new_unwrap(arc).to_der().unwrap()
}

fn name(text: &str) -> Vec<u8> {
    let part = tlv(0x30, &[&oid("2.5.4.3"), &tlv(0x0c, &[text.as_bytes()])]);
    tlv(0x30, &[&tlv(0x31, &[&part])])
}

fn time(text: &str) -> Vec<u8> {
    tlv(0x17, &[text.as_bytes()])
}

/// ECDSA with SHA-384.
fn algorithm() -> Vec<u8> {
    tlv(0x30, &[&oid("1.2.840.10045.4.3.3")])
}

/// An extension.
pub(crate) fn extension(arc: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    tlv(0x30, &[&oid(arc), critical, &tlv(4, &[value])])
}

/// Extensions of an authority that may have so many below it.
pub(crate) fn authority(below: u8) -> Vec<Vec<u8>> {
    let basic = tlv(0x30, &[&[1, 1, 0xff], &[2, 1, below]]);
    vec![
        extension("2.5.29.19", true, &basic),
        // keyCertSign and cRLSign.
        extension("2.5.29.15", true, &[3, 2, 1, 6]),
    ]
}

/// A name with a key on P-384.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) name: &'static str,
    pub(crate) key: SigningKey,
}

impl Party {
    pub(crate) fn new(name: &'static str, seed: u8) -> Self {
        let key = SigningKey::from_slice(&[seed; 48]).unwrap();
        Self { name, key }
    }

    /// SubjectPublicKeyInfo.
    pub(crate) fn public(&self) -> Vec<u8> {
        let point = self.key.verifying_key().to_sec1_point(false);
        let kind = tlv(0x30, &[&oid("1.2.840.10045.2.1"), &oid("1.3.132.0.34")]);
        tlv(0x30, &[&kind, &tlv(3, &[&[0], point.as_bytes()])])
    }

    /// Two numbers of 48 bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(message);
        signature.to_bytes().to_vec()
    }

    /// A certificate for somebody, valid from `FROM` until `UNTIL`.
    pub(crate) fn certify(&self, subject: &Self, extensions: &[Vec<u8>]) -> Vec<u8> {
        self.certify_until(subject, extensions, UNTIL.0)
    }

    /// The same until another time.
    pub(crate) fn certify_until(
        &self,
        subject: &Self,
        extensions: &[Vec<u8>],
        until: &str,
    ) -> Vec<u8> {
        // A serial number of zero, as AMD has it.
        self.certify_key((subject.name, &subject.public(), 0), extensions, until)
    }

    /// The same for whatever name, key and serial number.
    pub(crate) fn certify_key(
        &self,
        (subject, public, serial): (&str, &[u8], u8),
        extensions: &[Vec<u8>],
        until: &str,
    ) -> Vec<u8> {
        let extensions = tlv(0x30, &[&extensions.concat()]);
        let body = tlv(
            0x30,
            &[
                &tlv(0xa0, &[&[2, 1, 2]]),
                &[2, 1, serial],
                &algorithm(),
                &name(self.name),
                &tlv(0x30, &[&time(FROM.0), &time(until)]),
                &name(subject),
                public,
                &tlv(0xa3, &[&extensions]),
            ],
        );
        self.seal(&body)
    }

    /// A list of revoked serial numbers.
    pub(crate) fn revoke(&self, serials: &[u8], until: &str) -> Vec<u8> {
        let one = |serial: &u8| tlv(0x30, &[&[2, 1, *serial], &time(FROM.0)]);
        let revoked: Vec<u8> = serials.iter().flat_map(one).collect();
        // RFC 5280, 5.1.2.6: a list of none is not there.
        let revoked = match revoked.as_slice() {
            [] => Vec::new(),
            some => tlv(0x30, &[some]),
        };
        self.seal(&tlv(
            0x30,
            &[
                &[2, 1, 1],
                &algorithm(),
                &name(self.name),
                &time(FROM.0),
                &time(until),
                &revoked,
            ],
        ))
    }

    /// What X.509 signs, with the algorithm and the signature behind it.
    fn seal(&self, body: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(body);
        let signature = tlv(3, &[&[0], signature.to_der().as_bytes()]);
        tlv(0x30, &[body, &algorithm(), &signature])
    }

    /// Its own certificate as a root.
    pub(crate) fn root(&self) -> Vec<u8> {
        self.certify(self, &authority(2))
    }
}
