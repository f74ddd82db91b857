//! X.509 certificates, as far as a pinned key or a pinned authority needs them (RFC 5280).
//!
//! What lives here: a reader of DER that allocates nothing and never recurses, and the path from a signer to a pinned certificate.
//!
//! What must never live here: fetching a certificate or a list of revoked ones; writing one, which `x509.rs` does; a clock.
//!
//! Who calls it: the daemon for the statements of authorities, the command line for the envelopes of released keys.

use crate::digest::Hash;
use crate::ec::{Curve, EcPublicKey};
use crate::rsa::RsaPublicKey;
use crate::signature::{Algorithm, VerifyKey};

/// A certificate that was read, not one that is believed.
#[derive(Debug)]
pub struct Certificate<'a> {
    /// What is signed.
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    not_before: &'a [u8],
    not_after: &'a [u8],
    /// SubjectPublicKeyInfo, its content.
    key: &'a [u8],
    extensions: &'a [u8],
}

/// What was read is no certificate, or one of a form that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The rest of a DER content.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag, its content, and all of it.
    fn next(&mut self) -> Result<(u8, &'a [u8], &'a [u8]), Unreadable> {
        let [tag, first, rest @ ..] = self.0 else {
            return Err(Unreadable);
        };
        let (length, header) = match *first {
            short @ 0..=0x7f => (usize::from(short), 2),
            long @ 0x81..=0x83 => {
                let count = usize::from(long & 0x7f);
                let bytes = rest.get(..count).ok_or(Unreadable)?;
                // The shortest form, as DER has it.
                if bytes.first() == Some(&0) {
                    return Err(Unreadable);
                }
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                if length < 0x80 {
                    return Err(Unreadable);
                }
                (length, 2 + count)
            }
            _ => return Err(Unreadable),
        };
        let (whole, rest) = self.0.split_at_checked(header + length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok((*tag, whole.get(header..).ok_or(Unreadable)?, whole))
    }

    /// The content of the next element, which has this tag.
    fn content(&mut self, wanted: u8) -> Result<&'a [u8], Unreadable> {
        match self.next()? {
            (tag, content, _) if tag == wanted => Ok(content),
            _ => Err(Unreadable),
        }
    }

    /// The content of the next element, if it has this tag.
    fn optional(&mut self, wanted: u8) -> Result<Option<&'a [u8]>, Unreadable> {
        if self.0.first() == Some(&wanted) {
            self.content(wanted).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Nothing follows.
    const fn end(self) -> Result<(), Unreadable> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Unreadable)
        }
    }
}

/// The bits of a BIT STRING of whole bytes.
fn whole_bits(content: &[u8]) -> Result<&[u8], Unreadable> {
    match content {
        [0, bits @ ..] => Ok(bits),
        _ => Err(Unreadable),
    }
}

impl<'a> Certificate<'a> {
    /// Reads one certificate in DER.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn parse(der: &'a [u8]) -> Result<Self, Unreadable> {
        let mut outer = Reader(der);
        let mut certificate = Reader(outer.content(SEQUENCE)?);
        outer.end()?;
        let (tag, body, signed) = certificate.next()?;
        if tag != SEQUENCE {
            return Err(Unreadable);
        }
        let (_, _, algorithm) = certificate.next()?;
        let signature = whole_bits(certificate.content(BIT_STRING)?)?;
        certificate.end()?;

        let mut body = Reader(body);
        // Version 3, RFC 5280, 4.1.2.1: version 1 has no extensions, and nothing says whether it may sign others.
        if body.content(CONTEXT_0)? != [INTEGER, 1, 2] {
            return Err(Unreadable);
        }
        body.content(INTEGER)?;
        let (_, _, inner_algorithm) = body.next()?;
        // RFC 5280, 4.1.1.2: the same as outside.
        if inner_algorithm != algorithm {
            return Err(Unreadable);
        }
        let (_, _, issuer) = body.next()?;
        let mut validity = Reader(body.content(SEQUENCE)?);
        let (_, _, not_before) = validity.next()?;
        let (_, _, not_after) = validity.next()?;
        let (_, _, subject) = body.next()?;
        let key = body.content(SEQUENCE)?;
        body.optional(CONTEXT_1)?;
        body.optional(CONTEXT_2)?;
        let extensions = match body.optional(CONTEXT_3)? {
            Some(extensions) => Reader(extensions).content(SEQUENCE)?,
            None => &[],
        };
        body.end()?;
        Ok(Self {
            signed,
            algorithm,
            signature,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            extensions,
        })
    }

    /// Its public key, RSA or on P-256, P-384 or P-521.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn key(&self) -> Result<VerifyKey, Unreadable> {
        let mut info = Reader(self.key);
        let mut algorithm = Reader(info.content(SEQUENCE)?);
        let bits = whole_bits(info.content(BIT_STRING)?)?;
        info.end()?;
        match algorithm.content(OBJECT_IDENTIFIER)? {
            RSA_ENCRYPTION => {
                let mut outer = Reader(bits);
                let mut numbers = Reader(outer.content(SEQUENCE)?);
                outer.end()?;
                let (n, e) = (numbers.content(INTEGER)?, numbers.content(INTEGER)?);
                numbers.end()?;
                let key = RsaPublicKey::from_components(n, e).map_err(|_| Unreadable)?;
                Ok(VerifyKey::Rsa(key))
            }
            EC_PUBLIC_KEY => {
                let (_, _, curve) = algorithm.next()?;
                let curve = [Curve::P256, Curve::P384, Curve::P521]
                    .into_iter()
                    .find(|known| known.oid_der() == curve)
                    .ok_or(Unreadable)?;
                let key = EcPublicKey::from_point(curve, bits).map_err(|_| Unreadable)?;
                Ok(VerifyKey::Ec(key))
            }
            _ => Err(Unreadable),
        }
    }

    /// Whether it is for a host: one of its DNS names (RFC 5280, 4.2.1.6) is that name, or has a star for its first label (RFC 6125, 6.4.3).
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let Some(value) = self.extension(SUBJECT_ALTERNATIVE_NAME) else {
            return false;
        };
        let Ok(names) = Reader(value).content(SEQUENCE) else {
            return false;
        };
        let mut names = Reader(names);
        while let Ok((tag, name, _)) = names.next() {
            let is_it = std::str::from_utf8(name).is_ok_and(|name| is_for(name, host));
            if tag == DNS_NAME && is_it {
                return true;
            }
        }
        false
    }

    /// Whether it is of an authority: whoever has its key may certify others, if its usages say so too (RFC 5280, 4.2.1.9).
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.allowance()
            .is_some_and(|allowance| allowance.authority)
    }

    /// The value of its first extension of a kind.
    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut extensions = Reader(self.extensions);
        while !extensions.0.is_empty() {
            let mut extension = Reader(extensions.content(SEQUENCE).ok()?);
            let kind = extension.content(OBJECT_IDENTIFIER).ok()?;
            extension.optional(BOOLEAN).ok()?;
            let value = extension.content(OCTET_STRING).ok()?;
            if kind == wanted {
                return Some(value);
            }
        }
        None
    }

    /// Whether it holds at a moment, 14 digits.
    fn holds(&self, now: &str) -> bool {
        match (time(self.not_before), time(self.not_after)) {
            (Some(first), Some(last)) => first.as_str() <= now && now <= last.as_str(),
            _ => false,
        }
    }

    /// Whether another certificate's key has signed this one.
    fn is_signed_by(&self, issuer: &Certificate<'_>) -> bool {
        let mut whole = Reader(self.algorithm);
        let (Ok(algorithm), Ok(key)) = (whole.content(SEQUENCE), issuer.key()) else {
            return false;
        };
        let Ok(identifier) = Reader(algorithm).content(OBJECT_IDENTIFIER) else {
            return false;
        };
        let Some(hash) = signature_hash(identifier, &key) else {
            return false;
        };
        let algorithm = match &key {
            VerifyKey::Rsa(_) => Algorithm::Rs(hash),
            VerifyKey::Ec(key) => Algorithm::Es(hash, key.curve()),
        };
        let signature = match &key {
            VerifyKey::Rsa(_) => Some(self.signature.to_vec()),
            VerifyKey::Ec(key) => raw_signature(self.signature, key.curve()),
        };
        self.issuer == issuer.subject
            && signature.is_some_and(|signature| key.verifies(algorithm, self.signed, &signature))
    }

    /// What its extensions allow; none when one is critical and not known here.
    fn allowance(&self) -> Option<Allowance> {
        let mut allowance = Allowance::default();
        let mut extensions = Reader(self.extensions);
        while !extensions.0.is_empty() {
            let mut extension = Reader(extensions.content(SEQUENCE).ok()?);
            let kind = extension.content(OBJECT_IDENTIFIER).ok()?;
            let critical = extension
                .optional(BOOLEAN)
                .ok()?
                .is_some_and(|flag| flag != [0]);
            let value = extension.content(OCTET_STRING).ok()?;
            extension.end().ok()?;
            match kind {
                BASIC_CONSTRAINTS => {
                    let mut constraints = Reader(Reader(value).content(SEQUENCE).ok()?);
                    allowance.authority = constraints
                        .optional(BOOLEAN)
                        .ok()?
                        .is_some_and(|flag| flag == [0xff]);
                    allowance.path = match constraints.optional(INTEGER).ok()? {
                        None => None,
                        Some([below]) if *below < 0x80 => Some(usize::from(*below)),
                        Some(_) => return None,
                    };
                }
                KEY_USAGE => {
                    let bits = Reader(value).content(BIT_STRING).ok()?;
                    let first = bits.get(1).copied().unwrap_or(0);
                    allowance.signs_data = first & 0x80 != 0;
                    allowance.signs_certificates = first & 0x04 != 0;
                }
                // Names are critical where the subject is empty (RFC 5280, 4.2.1.6); who asks for a host looks at them.
                EXTENDED_KEY_USAGE | SUBJECT_ALTERNATIVE_NAME => {}
                _ if critical => return None,
                _ => {}
            }
        }
        Some(allowance)
    }
}

/// What a certificate's key may do.
struct Allowance {
    authority: bool,
    /// How many authorities may follow below.
    path: Option<usize>,
    signs_data: bool,
    signs_certificates: bool,
}

impl Default for Allowance {
    /// Of a certificate that says nothing (RFC 5280, 4.2.1.3 and 4.2.1.9).
    fn default() -> Self {
        Self {
            authority: false,
            path: None,
            signs_data: true,
            signs_certificates: true,
        }
    }
}

/// The key of a signer, if the first certificate of the chain leads to a pinned one (RFC 5280, 6, without names and revocation): each is
/// signed by the next, each holds now, each but the first may sign certificates. Now is a moment of UTC in 14 digits, from the year on.
///
/// # Errors
/// Why not, in words.
pub fn signer_of_chain(
    chain: &[Vec<u8>],
    pinned: &[Vec<u8>],
    now: &str,
) -> Result<VerifyKey, &'static str> {
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        return Err("the chain of certificates has no or too many links");
    }
    let unreadable = |_| "a certificate of the chain cannot be read";
    let links = chain
        .iter()
        .map(|der| Certificate::parse(der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    let leaf = links.first().ok_or("the chain of certificates is empty")?;
    if !leaf
        .allowance()
        .is_some_and(|allowance| allowance.signs_data)
    {
        return Err("the certificate of the signer does not allow signatures");
    }
    let mut current = leaf;
    for below in 0..=links.len() {
        if !current.holds(now) {
            return Err("a certificate of the chain does not hold now");
        }
        if is_vouched_for(current, pinned, below, now) {
            return leaf.key().map_err(unreadable);
        }
        let Some(next) = links.get(below + 1) else {
            break;
        };
        if !may_issue(next, below) || !current.is_signed_by(next) {
            return Err("the chain of certificates is broken");
        }
        current = next;
    }
    Err("the chain of certificates does not lead to a pinned one")
}

/// Whether a certificate may have signed one that has so many authorities below itself.
fn may_issue(issuer: &Certificate<'_>, below: usize) -> bool {
    issuer.allowance().is_some_and(|allowance| {
        allowance.authority
            && allowance.signs_certificates
            && allowance.path.is_none_or(|most| below <= most)
    })
}

/// Whether a pinned certificate is this one, or has signed it.
fn is_vouched_for(
    certificate: &Certificate<'_>,
    pinned: &[Vec<u8>],
    below: usize,
    now: &str,
) -> bool {
    pinned.iter().any(|der| {
        Certificate::parse(der).is_ok_and(|pinned| {
            pinned.signed == certificate.signed && pinned.signature == certificate.signature
                || pinned.holds(now)
                    && may_issue(&pinned, below)
                    && certificate.is_signed_by(&pinned)
        })
    })
}

/// A time as 14 digits (RFC 5280, 4.1.2.5); none when it has another form.
fn time(element: &[u8]) -> Option<String> {
    let (tag, content, _) = Reader(element).next().ok()?;
    let text = std::str::from_utf8(content).ok()?;
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let century = if digits < "50" { "20" } else { "19" };
            Some(format!("{century}{digits}"))
        }
        (GENERALIZED_TIME, 14) => Some(digits.to_owned()),
        _ => None,
    }
}

/// The hash of a signature algorithm that fits a key (RFC 4055, RFC 5758). SHA-1 is none.
fn signature_hash(identifier: &[u8], key: &VerifyKey) -> Option<Hash> {
    let hash = match (key, identifier) {
        (VerifyKey::Rsa(_), [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last]) => match last {
            11 => Hash::Sha256,
            12 => Hash::Sha384,
            13 => Hash::Sha512,
            _ => return None,
        },
        (VerifyKey::Ec(_), [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last]) => match last {
            2 => Hash::Sha256,
            3 => Hash::Sha384,
            4 => Hash::Sha512,
            _ => return None,
        },
        _ => return None,
    };
    Some(hash)
}

/// Both numbers of an ECDSA signature side by side (RFC 3279, 2.2.3, to RFC 7518, 3.4).
fn raw_signature(der: &[u8], curve: Curve) -> Option<Vec<u8>> {
    let mut outer = Reader(der);
    let mut numbers = Reader(outer.content(SEQUENCE).ok()?);
    outer.end().ok()?;
    let mut raw = Vec::new();
    for _ in 0..2 {
        let number = numbers.content(INTEGER).ok()?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        let zeros = curve.order_bytes().checked_sub(number.len())?;
        raw.resize(raw.len() + zeros, 0);
        raw.extend_from_slice(number);
    }
    numbers.end().ok()?;
    Some(raw)
}

/// Whether a DNS name of a certificate is that of a host. A star is the whole first label and stands for one label, and two labels at least follow it: a
/// name for all hosts below `internal` or `com` is nobody's.
fn is_for(name: &str, host: &str) -> bool {
    if host.is_empty() {
        return false;
    }
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(first, after)| {
            !first.is_empty() && rest.contains('.') && after.eq_ignore_ascii_case(rest)
        }),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// Longest chain: signer, intermediates, root.
const CHAIN_MAX: usize = 6;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1: u8 = 0x81;
const CONTEXT_2: u8 = 0x82;
const CONTEXT_3: u8 = 0xa3;
/// `dNSName` of a GeneralName.
const DNS_NAME: u8 = 0x82;
/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 2.5.29.15
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
