//! AWS Nitro: a real document of an enclave, and documents under roots of our own.
//!
//! What lives here: what holds, and what is refused.
//! What must never live here: how bytes are altered.
//! Who calls it: the runner of the tests.

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use strongroom_attestation::{Evidence, Kind, Proof, Refusal, Roots, Verified, verify};

use crate::altered;
use crate::forge::{NOW, Party, authority, extension, tlv};

const DOCUMENT: &[u8] = include_bytes!("../data/nitro/document.bin");
const ROOT: &[u8] = include_bytes!("../data/nitro/aws-root.pem");
/// Certificates of enclaves live for three hours; this is within those of the document.
const THEN: u64 = 1_695_051_900;

fn evidence(document: &[u8], runtime: Option<&[u8]>) -> Evidence {
    Evidence {
        proof: Proof::Nitro {
            document: document.to_vec(),
        },
        runtime: runtime.map(<[u8]>::to_vec),
    }
}

fn real(document: &[u8], now: u64) -> Result<Verified, Refusal> {
    let roots = Roots::parse(Kind::Nitro, ROOT).unwrap();
    verify(&evidence(document, None), &roots, now)
}

#[test]
fn a_real_document_becomes_claims() {
    let verified = real(DOCUMENT, THEN).unwrap();
    let claims = verified.claims;
    assert_eq!(claims["x-ms-attestation-type"], "nitro");
    assert_eq!(
        claims["nitro-module-id"],
        "i-0918f6c55e3b61d89-enc018aa8b8e2285d13"
    );
    assert_eq!(claims["nitro-timestamp"], 1_695_049_410_860_u64);
    assert_eq!(claims["nitro-pcr0"], "0".repeat(96));
    let pcr3 = claims["nitro-pcr3"].as_str().unwrap();
    assert!(pcr3.starts_with("4a9329d69c836267b18abbf9f4a38889"));
    assert_eq!(claims["nitro-debug"], true);
    assert!(claims["nitro-user-data"].is_string() && claims["nitro-nonce"].is_string());
    assert_eq!(claims.get("nitro-public-key"), None);
    assert_eq!(verified.runtime, None);
}

#[test]
fn a_real_document_is_of_its_three_hours() {
    for now in [0, THEN - 10_000, THEN + 10_000, NOW, u64::MAX] {
        let refusal = real(DOCUMENT, now).unwrap_err();
        assert!(matches!(refusal, Refusal::Time { .. }), "{now}: {refusal}");
    }
}

#[test]
fn every_byte_of_a_real_document_is_vouched_for() {
    altered::every_byte_is_refused(DOCUMENT, &|document| real(document, THEN));
    // All bits of the head, with the first registers, and of the signature.
    let (head, rest) = DOCUMENT.split_at(160);
    let trial = |head: &[u8]| real(&[head, rest].concat(), THEN);
    altered::every_bit_is_refused(head, &trial);
    let (body, signature) = DOCUMENT.split_at(DOCUMENT.len() - 100);
    let trial = |signature: &[u8]| real(&[body, signature].concat(), THEN);
    altered::every_bit_is_refused(signature, &trial);
}

#[test]
fn pieces_and_rubbish_are_refused() {
    altered::every_length_is_refused(DOCUMENT, &|document| real(document, THEN));
    altered::rubbish_is_refused(DOCUMENT, &|document| real(document, THEN));
}

/// A writer of CBOR, in definite lengths.
fn head(major: u8, count: usize) -> Vec<u8> {
    match count {
        0..24 => vec![major << 5 | u8::try_from(count).unwrap()],
        24..256 => vec![major << 5 | 24, u8::try_from(count).unwrap()],
        _ => [
            &[major << 5 | 25][..],
            &u16::try_from(count).unwrap().to_be_bytes(),
        ]
        .concat(),
    }
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [head(3, text.len()), text.as_bytes().to_vec()].concat()
}

/// An enclave of our own.
struct Enclave {
    root: Party,
    between: Party,
    signer: Party,
    leaf: Vec<Vec<u8>>,
    pcr0: u8,
    seconds: u64,
    protected: Vec<u8>,
    unprotected: Vec<u8>,
    tag: Vec<u8>,
    members: Vec<(&'static str, Vec<u8>)>,
}

const RUNTIME: &[u8] = br#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
const NULL: &[u8] = &[0xf6];

impl Enclave {
    fn new() -> Self {
        Self {
            root: Party::new("nitro root", 11),
            between: Party::new("nitro zone", 12),
            signer: Party::new("nitro enclave", 13),
            // digitalSignature.
            leaf: vec![extension("2.5.29.15", true, &[3, 2, 7, 0x80])],
            pcr0: 0x11,
            seconds: NOW,
            protected: vec![0xa1, 1, 0x38, 34],
            unprotected: vec![0xa0],
            tag: vec![],
            members: vec![
                ("public_key", NULL.to_vec()),
                ("user_data", bytes(&Sha256::digest(RUNTIME))),
                ("nonce", NULL.to_vec()),
            ],
        }
    }

    fn member(&mut self, name: &'static str, value: Vec<u8>) {
        self.members.retain(|(one, _)| *one != name);
        self.members.push((name, value));
    }

    fn document(&self) -> Vec<u8> {
        let mut members = vec![
            ("module_id", text("i-1-enc2")),
            ("digest", text("SHA384")),
            (
                "timestamp",
                [vec![0x1b], (self.seconds * 1000).to_be_bytes().to_vec()].concat(),
            ),
            (
                "pcrs",
                [
                    head(5, 3),
                    head(0, 0),
                    bytes(&[self.pcr0; 48]),
                    head(0, 1),
                    bytes(&[0; 48]),
                    head(0, 2),
                    bytes(&[0; 48]),
                ]
                .concat(),
            ),
            (
                "certificate",
                bytes(&self.between.certify(&self.signer, &self.leaf)),
            ),
            (
                "cabundle",
                [
                    head(4, 2),
                    bytes(&self.root.root()),
                    bytes(&self.root.certify(&self.between, &authority(0))),
                ]
                .concat(),
            ),
        ];
        members.retain(|(name, _)| !self.members.iter().any(|(one, _)| one == name));
        members.extend(self.members.clone());
        let mut payload = head(5, members.len());
        for (name, value) in members {
            payload.extend(text(name));
            payload.extend(value);
        }
        let signed = [
            b"\x84\x6aSignature1".to_vec(),
            bytes(&self.protected),
            bytes(&[]),
            bytes(&payload),
        ]
        .concat();
        [
            self.tag.clone(),
            head(4, 4),
            bytes(&self.protected),
            self.unprotected.clone(),
            bytes(&payload),
            bytes(&self.signer.sign(&signed)),
        ]
        .concat()
    }

    fn judged(&self, runtime: Option<&[u8]>) -> Result<Verified, Refusal> {
        let roots = Roots::parse(Kind::Nitro, &self.root.root())?;
        verify(&evidence(&self.document(), runtime), &roots, NOW)
    }
}

#[test]
fn a_runtime_is_bound_by_user_data() {
    let mut enclave = Enclave::new();
    let verified = enclave.judged(Some(RUNTIME)).unwrap();
    assert_eq!(verified.claims["nitro-debug"], false);
    assert_eq!(verified.claims["nitro-pcr0"], "11".repeat(48));
    assert_eq!(verified.claims["x-ms-runtime"], verified.runtime.unwrap());
    assert!(matches!(
        enclave.judged(Some(b"{}")),
        Err(Refusal::Binding { .. })
    ));
    let digest = Sha256::digest(RUNTIME);
    for wrong in [
        NULL.to_vec(),
        bytes(&digest[..31]),
        bytes(&[digest.as_slice(), &[0]].concat()),
    ] {
        enclave.member("user_data", wrong);
        assert!(enclave.judged(None).is_ok());
        assert!(matches!(
            enclave.judged(Some(RUNTIME)),
            Err(Refusal::Binding { .. })
        ));
    }
}

/// An RSA key that nobody has: 2048 bits, all ones.
fn rsa_key() -> (Vec<u8>, Vec<u8>) {
    let modulus = vec![0xff; 256];
    let number = tlv(2, &[&[0], &modulus]);
    let key = tlv(0x30, &[&number, &[2, 3, 1, 0, 1]]);
    let kind = tlv(0x30, &[&crate::forge::oid("1.2.840.113549.1.1.1"), &[5, 0]]);
    (tlv(0x30, &[&kind, &tlv(3, &[&[0], &key])]), modulus)
}

#[test]
fn a_key_and_a_nonce_of_the_document_are_a_runtime() {
    let (spki, modulus) = rsa_key();
    let mut enclave = Enclave::new();
    enclave.member("public_key", bytes(&spki));
    enclave.member("nonce", bytes(b"once"));
    let verified = enclave.judged(None).unwrap();
    let runtime = verified.runtime.unwrap();
    let key = &runtime["keys"][0];
    assert_eq!(key["kty"], "RSA");
    assert_eq!(key["use"], "enc");
    assert_eq!(key["e"], "AQAB");
    assert_eq!(key["n"], Base64UrlUnpadded::encode_string(&modulus));
    assert_eq!(runtime["client-payload"]["nonce"], "b25jZQ==");
    assert_eq!(verified.claims["x-ms-runtime"], runtime);
    assert_eq!(verified.claims["nitro-nonce"], "6f6e6365");
    assert_eq!(
        verified.claims["nitro-public-key"],
        Base64UrlUnpadded::encode_string(&spki)
    );
    // A runtime that came along counts more.
    let runtime = enclave.judged(Some(RUNTIME)).unwrap().runtime.unwrap();
    assert_eq!(runtime["keys"][0]["n"], "AQAB");
    // A key that nothing is wrapped for is a claim and no runtime.
    enclave.member("public_key", bytes(&Party::new("x", 5).public()));
    let verified = enclave.judged(None).unwrap();
    assert_eq!(verified.runtime, None);
    assert!(verified.claims["nitro-public-key"].is_string());
}

#[test]
fn the_envelope_is_as_aws_makes_it() {
    let judged = |change: fn(&mut Enclave)| {
        let mut enclave = Enclave::new();
        change(&mut enclave);
        enclave.judged(None)
    };
    assert!(judged(|_| {}).is_ok());
    assert!(judged(|enclave| enclave.tag = vec![0xd2]).is_ok());
    for (name, change) in [
        ("tag", (|e| e.tag = vec![0xd1]) as fn(&mut Enclave)),
        ("ES256", |e| e.protected = vec![0xa1, 1, 0x26]),
        ("no algorithm", |e| e.protected = vec![0xa0]),
        ("more headers", |e| {
            e.protected = vec![0xa2, 1, 0x38, 34, 4, 0x41, 1];
        }),
        ("unprotected", |e| e.unprotected = vec![0xa1, 4, 0x41, 1]),
        ("digest", |e| e.member("digest", text("SHA256"))),
        ("no registers", |e| e.member("pcrs", head(5, 0))),
        ("short register", |e| {
            let pcr = |index| [head(0, index), bytes(&[1; 32])].concat();
            e.member("pcrs", [head(5, 3), pcr(0), pcr(1), pcr(2)].concat());
        }),
        ("no time", |e| e.member("timestamp", NULL.to_vec())),
        ("no chain", |e| e.member("cabundle", head(4, 0))),
        ("user data as text", |e| e.member("user_data", text("x"))),
        ("from the future", |e| e.seconds = NOW + 301),
        ("signed by an authority", |e| e.leaf = authority(0)),
        ("no signer", |e| {
            e.leaf = vec![extension("2.5.29.15", true, &[3, 2, 5, 0x20])];
        }),
        ("another signer", |e| {
            let stranger = Party::new("nitro zone", 77);
            e.member("certificate", bytes(&stranger.certify(&e.signer, &e.leaf)));
        }),
    ] {
        assert!(judged(change).is_err(), "{name}");
    }
    assert!(judged(|enclave| enclave.seconds = NOW + 299).is_ok());
}

#[test]
fn another_root_does_not_vouch() {
    let document = Enclave::new().document();
    let roots = Roots::parse(Kind::Nitro, &Party::new("nitro root", 99).root()).unwrap();
    assert!(matches!(
        verify(&evidence(&document, None), &roots, NOW),
        Err(Refusal::Untrusted { .. })
    ));
    let roots = Roots::parse(Kind::Nitro, ROOT).unwrap();
    assert!(verify(&evidence(&document, None), &roots, NOW).is_err());
}
