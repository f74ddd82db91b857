//! The cases: what is measured, under which name.
//!
//! What lives here: the list, and one match from a case to the code that makes its operation.
//! What must never live here: a clock.
//! Who calls it: `main.rs`.
//!
//! An operation is what an application pays for: `C_SignInit` and `C_Sign`, unwrap and destroy, open and close. Each maker checks one
//! result before it hands the operation out, so that no module is measured that answers wrongly.

mod asymmetric;
mod keys;
mod objects;
mod symmetric;

use cryptoki_sys::CK_SLOT_ID;
use serde_json::{Value, json};

use crate::module::{Failure, Module, Outcome, Session};

/// Where an operation works: one for each thread.
#[derive(Clone, Copy)]
pub(crate) struct Place<'m> {
    pub(crate) module: &'m Module,
    pub(crate) slot: CK_SLOT_ID,
    pub(crate) session: Session<'m>,
}

/// One operation, to be called again and again.
pub(crate) type Operation<'m> = Box<dyn FnMut() -> Outcome<()> + 'm>;

/// A case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Its name: letters, digits and hyphens.
    pub(crate) name: String,
    /// What it belongs to in a table.
    pub(crate) group: &'static str,
    /// The token it wants, by label.
    pub(crate) token: String,
    /// Whether it is one of the few of a short measurement.
    pub(crate) short: bool,
    /// Bytes that one operation works on, where that says something.
    pub(crate) bytes: Option<usize>,
    work: Work,
}

/// What a case does.
#[derive(Clone, Copy, Debug)]
enum Work {
    Sign(Signing),
    Verify(Signing),
    RsaDecrypt(u16),
    Derive(Curve),
    Wrap,
    Unwrap,
    Hmac(usize),
    Cipher(Mode, Way, usize),
    SessionCipher(Mode, Way, usize),
    Digest(usize),
    Random(usize),
    GenerateAes,
    GeneratePair(Curve),
    OpenClose,
    ReadAttributes(Half),
    Find(u32),
    CreateDestroy,
    SetAttribute,
    LoginLogout,
    ColdStart,
}

/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// PKCS #1 v1.5, bits.
    RsaPkcs(u16),
    /// PSS, bits.
    RsaPss(u16),
    /// ECDSA over a digest, or Ed25519 over the message.
    Ec(Curve),
}

/// A curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
    Ed25519,
}

/// A mode of AES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Gcm,
    Cbc,
    CbcPad,
    Ctr,
    Ecb,
}

/// To encrypt or to decrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Encrypt,
    Decrypt,
}

/// A half of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Private,
    Public,
}

impl Curve {
    const fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl Case {
    /// The operation of this case at a place.
    pub(crate) fn operation<'m>(&self, place: Place<'m>) -> Outcome<Operation<'m>> {
        match self.work {
            Work::Sign(signing) => asymmetric::sign(place, signing),
            Work::Verify(signing) => asymmetric::verify(place, signing),
            Work::RsaDecrypt(bits) => asymmetric::decrypt(place, bits),
            Work::Derive(curve) => asymmetric::derive(place, curve),
            Work::GeneratePair(curve) => asymmetric::generate_pair(place, curve),
            Work::Wrap => symmetric::wrap(place),
            Work::Unwrap => symmetric::unwrap_key(place),
            Work::Hmac(bytes) => symmetric::hmac(place, bytes),
            Work::Cipher(mode, way, bytes) => symmetric::cipher(place, mode, way, bytes),
            Work::SessionCipher(mode, way, bytes) => {
                symmetric::session_cipher(place, mode, way, bytes)
            }
            Work::Digest(bytes) => symmetric::digest(place, bytes),
            Work::Random(bytes) => symmetric::random(place, bytes),
            Work::GenerateAes => symmetric::generate(place),
            Work::OpenClose => objects::open_close(place),
            Work::ReadAttributes(half) => objects::read_attributes(place, half),
            Work::Find(number) => objects::find(place, number),
            Work::CreateDestroy => objects::create_destroy(place),
            Work::SetAttribute => objects::set_attribute(place),
            Work::LoginLogout => objects::login_logout(place),
            Work::ColdStart => Err(Failure::Broken("measured by whole processes".to_owned())),
        }
    }

    /// Whether an operation is a whole process.
    pub(crate) const fn is_cold_start(&self) -> bool {
        matches!(self.work, Work::ColdStart)
    }

    /// What others need to know of it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "case": self.name, "group": self.group, "token": self.token, "short": self.short, "bytes": self.bytes,
        })
    }
}

/// What one short-lived process does: find the key and sign once.
pub(crate) fn sign_once(place: Place<'_>) -> Outcome<()> {
    asymmetric::sign_once(place)
}

/// All cases, in the order of a table.
pub(crate) fn all() -> Vec<Case> {
    let mut list = List {
        cases: Vec::new(),
        group: "",
    };
    list.rsa();
    list.elliptic_curves();
    list.secret_keys();
    list.others();
    list.cases
}

/// The list while it grows; a case belongs to the group named last.
struct List {
    cases: Vec<Case>,
    group: &'static str,
}

impl List {
    fn add(&mut self, name: impl Into<String>, work: Work) {
        let name = name.into();
        // A search goes over the whole token, so it has one of its own for each number of objects.
        let token = if matches!(work, Work::Find(_)) {
            name.clone()
        } else {
            "measure".to_owned()
        };
        let bytes = if let Work::Cipher(_, _, bytes)
        | Work::SessionCipher(_, _, bytes)
        | Work::Digest(bytes)
        | Work::Hmac(bytes)
        | Work::Random(bytes) = work
        {
            Some(bytes)
        } else {
            None
        };
        self.cases.push(Case {
            short: SHORT.contains(&name.as_str()),
            name,
            group: self.group,
            token,
            bytes,
            work,
        });
    }

    fn rsa(&mut self) {
        self.group = "RSA";
        for bits in [2048, 3072, 4096] {
            self.add(
                format!("rsa{bits}-sign-pkcs"),
                Work::Sign(Signing::RsaPkcs(bits)),
            );
            self.add(
                format!("rsa{bits}-sign-pss"),
                Work::Sign(Signing::RsaPss(bits)),
            );
            self.add(
                format!("rsa{bits}-verify-pkcs"),
                Work::Verify(Signing::RsaPkcs(bits)),
            );
            self.add(format!("rsa{bits}-decrypt-oaep"), Work::RsaDecrypt(bits));
        }
    }

    fn elliptic_curves(&mut self) {
        self.group = "EC";
        for curve in [Curve::P256, Curve::P384, Curve::P521, Curve::Ed25519] {
            let name = match curve {
                Curve::Ed25519 => "ed25519".to_owned(),
                Curve::P256 | Curve::P384 | Curve::P521 => format!("ecdsa-{}", curve.name()),
            };
            self.add(format!("{name}-sign"), Work::Sign(Signing::Ec(curve)));
            self.add(format!("{name}-verify"), Work::Verify(Signing::Ec(curve)));
        }
        for curve in [Curve::P256, Curve::P384] {
            self.add(format!("ecdh-{}-derive", curve.name()), Work::Derive(curve));
        }
    }

    fn secret_keys(&mut self) {
        self.group = "wrap";
        self.add("aes-kw-wrap", Work::Wrap);
        self.add("aes-kw-unwrap", Work::Unwrap);
        self.group = "HMAC";
        self.add("hmac-sha256-64", Work::Hmac(64));
        self.add("hmac-sha256-4k", Work::Hmac(4 << 10));
        for (size, bytes, group) in [
            ("16", 16, "AES-256, 16 B"),
            ("256", 256, "AES-256, 256 B"),
            ("4k", 4 << 10, "AES-256, 4 KiB"),
            ("64k", 64 << 10, "AES-256, 64 KiB"),
            ("1m", 1 << 20, "AES-256, 1 MiB"),
            ("16m", 16 << 20, "AES-256, 16 MiB"),
        ] {
            self.group = group;
            for (name, mode) in [
                ("gcm", Mode::Gcm),
                ("cbc", Mode::Cbc),
                ("cbcpad", Mode::CbcPad),
                ("ctr", Mode::Ctr),
                ("ecb", Mode::Ecb),
            ] {
                for (way, what) in [(Way::Encrypt, "encrypt"), (Way::Decrypt, "decrypt")] {
                    let work = Work::Cipher(mode, way, bytes);
                    self.add(format!("aes-{name}-{what}-{size}"), work);
                }
            }
        }
    }

    fn others(&mut self) {
        self.group = "AES-256, keys of the session";
        for (size, bytes) in [("256", 256), ("64k", 64 << 10)] {
            self.add(
                format!("aes-gcm-encrypt-{size}-session"),
                Work::SessionCipher(Mode::Gcm, Way::Encrypt, bytes),
            );
        }
        self.group = "digests";
        self.add("sha256-64", Work::Digest(64));
        self.add("sha256-4k", Work::Digest(4 << 10));
        self.add("sha256-1m", Work::Digest(1 << 20));
        self.group = "random";
        self.add("random-32", Work::Random(32));
        self.add("random-4k", Work::Random(4 << 10));
        self.group = "generation";
        self.add("generate-aes256", Work::GenerateAes);
        for curve in [Curve::P256, Curve::P384, Curve::Ed25519] {
            self.add(
                format!("generate-{}", curve.name()),
                Work::GeneratePair(curve),
            );
        }
        self.group = "sessions and attributes";
        self.add("session-open-close", Work::OpenClose);
        self.add("attributes-private-4", Work::ReadAttributes(Half::Private));
        self.add("attributes-public-4", Work::ReadAttributes(Half::Public));
        self.group = "find by label";
        for number in [10, 1_000, 10_000, 100_000] {
            self.add(format!("find-{number}"), Work::Find(number));
        }
        self.group = "durable objects";
        self.add("object-create-destroy", Work::CreateDestroy);
        self.add("attribute-set", Work::SetAttribute);
        self.group = "login";
        self.add("login-logout", Work::LoginLogout);
        self.group = "cold start";
        self.add("coldstart-p256-sign", Work::ColdStart);
    }
}

/// The few of a short measurement: one of each kind of work, none that is slow to set up.
const SHORT: &[&str] = &[
    "rsa2048-sign-pkcs",
    "rsa2048-verify-pkcs",
    "ecdsa-p256-sign",
    "ecdsa-p256-verify",
    "ed25519-sign",
    "ecdh-p256-derive",
    "aes-kw-wrap",
    "hmac-sha256-64",
    "aes-gcm-encrypt-256",
    "aes-gcm-decrypt-64k",
    "aes-cbc-encrypt-1m",
    "sha256-4k",
    "random-32",
    "generate-aes256",
    "session-open-close",
    "attributes-private-4",
    "find-10",
    "object-create-destroy",
    "coldstart-p256-sign",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_plain() {
        let cases = all();
        let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        let plain = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-';
        for name in names {
            assert!(name.chars().all(plain), "{name}");
        }
    }

    #[test]
    fn the_short_ones_are_all_there() {
        let short: Vec<String> = all()
            .into_iter()
            .filter(|case| case.short)
            .map(|case| case.name)
            .collect();
        assert_eq!(short, SHORT);
    }

    #[test]
    fn a_search_has_a_token_of_its_own() {
        for case in all() {
            let own = case.token == case.name;
            assert_eq!(own, case.name.starts_with("find-"), "{}", case.name);
        }
    }
}
