//! Envelopes that are made here, and everything that can be wrong with them.

use serde_json::json;
use strongroom_crypto::ec::EcPrivateKey;
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_crypto::x509::{self, Issuer, Validity};

use super::*;
use crate::arguments::KeyId;

const HOST: &str = "suite.strongroom.internal";
const NOW: &str = "20261130070000";
const VALIDITY: Validity<'_> = Validity {
    not_before: "20260101000000",
    not_after: "20270101000000",
};

/// Who signs envelopes.
struct Maker {
    key: RsaPrivateKey,
    leaf: Vec<u8>,
    root: Vec<u8>,
}

impl Maker {
    fn new(host: &str, validity: Validity<'_>) -> Self {
        let root_key = RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let key = RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let root = x509::root(&root_key, "root", &[1; 16], VALIDITY).unwrap();
        let issuer = Issuer {
            key: &root_key,
            name: "root",
        };
        let leaf = x509::leaf(issuer, &key, host, &[2; 16], validity).unwrap();
        Self { key, leaf, root }
    }

    fn usual() -> Self {
        Self::new(HOST, VALIDITY)
    }

    fn header(&self) -> Value {
        let thumbprint = digest(Hash::Sha256, &self.leaf).unwrap();
        json!({
            "alg": "RS256", "typ": "JWT", "x5t#S256": encoded(thumbprint.as_ref()),
            "x5c": [Base64::encode_string(&self.leaf), Base64::encode_string(&self.root)],
        })
    }

    fn sealed(&self, header: &Value, payload: &Value) -> String {
        let message = [header, payload]
            .map(|part| encoded(part.to_string().as_bytes()))
            .join(".");
        let sign = |hash: Hash| {
            let value = digest(hash, message.as_bytes()).unwrap();
            match header["alg"].as_str().unwrap().starts_with("PS") {
                true => self
                    .key
                    .sign_pss(hash, hash, hash.output_bytes(), value.as_ref()),
                false => self.key.sign_pkcs1_digest(hash, value.as_ref()),
            }
            .unwrap()
        };
        let hash = match header["alg"].as_str().unwrap() {
            "RS384" | "PS384" => Hash::Sha384,
            "RS512" | "PS512" => Hash::Sha512,
            _ => Hash::Sha256,
        };
        format!("{message}.{}", encoded(&sign(hash)))
    }

    fn envelope(&self) -> String {
        self.sealed(&self.header(), &payload(&secret()))
    }

    fn expected(&self) -> Expected<'static> {
        Expected {
            root: self.root.clone(),
            host: None,
            nonce: None,
            now: NOW.to_owned(),
        }
    }

    #[track_caller]
    fn refuses(&self, envelope: &str, word: &str) {
        let said = verified(envelope.as_bytes(), &self.expected()).unwrap_err();
        assert!(said.contains(word), "{word}: {said}");
    }
}

fn encoded(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

fn secret() -> Value {
    json!({"kty": "oct-HSM", "key_ops": ["encrypt", "decrypt"]})
}

fn payload(key: &Value) -> Value {
    let hsm = json!({
        "schema_version": "1.0", "header": {"kid": "kek", "alg": "dir", "enc": "RSA_AES_KEY_WRAP_256"},
        "ciphertext": encoded(&[7; 300]),
    });
    let mut key = key.clone();
    key["kid"] = json!(format!("https://{HOST}/keys/name/version"));
    key["key_hsm"] = json!(encoded(hsm.to_string().as_bytes()));
    json!({
        "request": {"kid": format!("https://{HOST}/keys/name"), "nonce": "n-1", "enc": "RSA_AES_KEY_WRAP_256"},
        "response": {"key": {"key": key}},
    })
}

#[test]
fn an_envelope_is_read_bare_and_in_its_bundle() {
    let maker = Maker::usual();
    let envelope = maker.envelope();
    let bundle = json!({"value": envelope}).to_string();
    for text in [format!("{envelope}\n"), bundle] {
        let released = verified(text.as_bytes(), &maker.expected()).unwrap();
        assert_eq!(released.name(), Some("name"));
        assert!(matches!(released.kind, Kind::Secret));
        assert_eq!(released.operations, ["encrypt", "decrypt"]);
        assert_eq!(released.oaep, Oaep::Sha256);
        assert_eq!(released.ciphertext, [7; 300]);
    }
}

#[test]
fn six_algorithms_verify_and_no_other() {
    let maker = Maker::usual();
    let mut header = maker.header();
    for name in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        header["alg"] = json!(name);
        let envelope = maker.sealed(&header, &payload(&secret()));
        verified(envelope.as_bytes(), &maker.expected()).unwrap();
    }
    for name in ["none", "HS256", "ES256", "rs256", ""] {
        header["alg"] = json!(name);
        maker.refuses(&maker.sealed(&header, &payload(&secret())), "the algorithm");
    }
}

#[test]
fn the_root_that_comes_along_is_not_believed() {
    let maker = Maker::usual();
    let stranger = Maker::usual();
    maker.refuses(&stranger.envelope(), "chain");
    // The right chain under a stranger's signature, and the stranger's leaf under the right root.
    maker.refuses(
        &stranger.sealed(&maker.header(), &payload(&secret())),
        "signature",
    );
    let mut header = stranger.header();
    header["x5c"][1] = maker.header()["x5c"][1].clone();
    maker.refuses(&stranger.sealed(&header, &payload(&secret())), "chain");
}

#[test]
fn certificates_hold_now_and_name_the_host() {
    let maker = Maker::usual();
    for now in ["20251231235959", "20270101000001"] {
        let expected = Expected {
            now: now.to_owned(),
            ..maker.expected()
        };
        let said = verified(maker.envelope().as_bytes(), &expected).unwrap_err();
        assert!(said.contains("does not hold"), "{said}");
    }
    let ended = Maker::new(
        HOST,
        Validity {
            not_before: "20260101000000",
            not_after: "20260201000000",
        },
    );
    ended.refuses(&ended.envelope(), "does not hold");
    let other = Maker::new("other.strongroom.internal", VALIDITY);
    other.refuses(&other.envelope(), "not for the host");
    let expected = Expected {
        host: Some("other.strongroom.internal"),
        ..other.expected()
    };
    verified(other.envelope().as_bytes(), &expected).unwrap();
}

#[test]
fn the_nonce_is_the_one_that_was_sent() {
    let maker = Maker::usual();
    for (nonce, good) in [("n-1", true), ("n-2", false), ("", false)] {
        let expected = Expected {
            nonce: Some(nonce),
            ..maker.expected()
        };
        let outcome = verified(maker.envelope().as_bytes(), &expected);
        assert_eq!(outcome.is_ok(), good, "{nonce}");
    }
}

#[test]
fn every_changed_character_is_found() {
    let maker = Maker::usual();
    let envelope = maker.envelope();
    for place in (0..envelope.len()).step_by(7) {
        let mut changed = envelope.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        assert!(verified(&changed, &maker.expected()).is_err(), "{place}");
    }
    for (text, word) in [
        (String::new(), "three parts"),
        ("a.b".to_owned(), "three parts"),
        (format!("{envelope}.{envelope}"), "three parts"),
        ("{}".to_owned(), "value"),
        ("a.b.c".to_owned(), "header"),
        (envelope.replace('.', "=."), "base64url"),
    ] {
        maker.refuses(&text, word);
    }
}

#[test]
fn what_is_signed_and_makes_no_sense_is_refused() {
    let maker = Maker::usual();
    let good = payload(&secret());
    let sealed = |payload: &Value| maker.sealed(&maker.header(), payload);
    let mut thumbprint = maker.header();
    thumbprint["x5t#S256"] = json!(encoded(&[0; 32]));
    maker.refuses(&maker.sealed(&thumbprint, &good), "x5t#S256");
    let mut critical = maker.header();
    critical["crit"] = json!(["b64"]);
    maker.refuses(&maker.sealed(&critical, &good), "critical");
    let key = |members: Value| sealed(&payload(&members));
    for (envelope, word) in [
        (sealed(&json!({"request": good["request"]})), "response"),
        (sealed(&json!({"response": good["response"]})), "request"),
        (
            key(json!({"kty": "RSA", "n": "AQ", "e": "AQ"})),
            "public half",
        ),
        (
            key(json!({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"})),
            "wrong length",
        ),
        (
            key(json!({"kty": "EC", "crv": "P-192", "x": "AQ", "y": "AQ"})),
            "curve",
        ),
        (
            key(json!({"kty": "OKP", "crv": "X25519", "x": "AQ"})),
            "not known",
        ),
        (key(json!({"kty": "lattice"})), "not known"),
    ] {
        maker.refuses(&envelope, word);
    }
}

#[test]
fn what_stands_twice_is_refused_wherever_it_is() {
    let maker = Maker::usual();
    let (header, good) = (maker.header().to_string(), payload(&secret()).to_string());
    let sealed = |header: &str, payload: &str| {
        let message = [header, payload]
            .map(|part| encoded(part.as_bytes()))
            .join(".");
        let value = digest(Hash::Sha256, message.as_bytes()).unwrap();
        let signature = maker.key.sign_pkcs1_digest(Hash::Sha256, value.as_ref());
        format!("{message}.{}", encoded(&signature.unwrap()))
    };
    let again = |text: &str, place: &str, member: &str| {
        let at = text.find(place).unwrap() + place.len();
        format!("{}{member},{}", &text[..at], &text[at..])
    };
    verified(sealed(&header, &good).as_bytes(), &maker.expected()).unwrap();
    maker.refuses(
        &sealed(&again(&header, "{", r#""alg":"RS512""#), &good),
        "the header is ambiguous",
    );
    for (place, member) in [
        ("{", r#""request":{}"#),
        (r#""request":{"#, r#""nonce":"n-2""#),
        (r#""request":{"#, r#""\u006eonce":"n-2""#),
        (r#""key":{"key":{"#, r#""kty":"RSA""#),
    ] {
        maker.refuses(
            &sealed(&header, &again(&good, place, member)),
            "the payload is ambiguous",
        );
    }
    let inside = r#"{"header":{"enc":"CKM_RSA_AES_KEY_WRAP","enc":"RSA_AES_KEY_WRAP_256"},"ciphertext":"AA"}"#;
    let mut ambiguous = payload(&secret());
    ambiguous["response"]["key"]["key"]["key_hsm"] = json!(encoded(inside.as_bytes()));
    maker.refuses(
        &sealed(&header, &ambiguous.to_string()),
        "key_hsm is ambiguous",
    );
    let envelope = maker.envelope();
    maker.refuses(
        &format!(r#"{{"value":"a.b.c","value":"{envelope}"}}"#),
        "the envelope is ambiguous",
    );
}

#[test]
fn public_halves_have_the_form_in_which_tokens_tell_them() {
    let maker = Maker::usual();
    let kind = |key: &Value| {
        let envelope = maker.sealed(&maker.header(), &payload(key));
        verified(envelope.as_bytes(), &maker.expected())
            .unwrap()
            .kind
    };
    for suffix in ["", "-HSM"] {
        let public = maker.key.public().unwrap();
        let rsa =
            json!({"kty": format!("RSA{suffix}"), "n": encoded(public.modulus()), "e": "AQAB"});
        let told = kind(&rsa);
        assert!(told.has_public(&public.to_spki_der().unwrap()));
        assert!(told.has_numbers(public.modulus(), &[1, 0, 1]));
        assert!(!told.has_numbers(public.modulus(), &[3]));
        assert!(!told.has_numbers(&[], &[1, 0, 1]));
        for (name, curve) in [
            ("P-256", Curve::P256),
            ("P-384", Curve::P384),
            ("P-521", Curve::P521),
            ("P-256K", Curve::Secp256k1),
        ] {
            let private = EcPrivateKey::generate(curve).unwrap();
            let (x, y) = private.point()[1..].split_at(curve.field_bytes());
            let ec = json!({"kty": format!("EC{suffix}"), "crv": name, "x": encoded(x), "y": encoded(y)});
            let told = kind(&ec);
            assert!(told.has_public(&private.to_spki_der()));
            let other = EcPrivateKey::generate(curve).unwrap();
            assert!(!told.has_public(&other.to_spki_der()));
            let hash = [7; 32];
            let signature = private.sign_digest(&hash).unwrap();
            assert!(told.has_signed(&hash, &signature) && !told.has_signed(&[8; 32], &signature));
            assert!(!told.has_signed(&hash, &other.sign_digest(&hash).unwrap()));
        }
    }
    // The first public key of RFC 8032, 7.1, in the form of RFC 8410, 4.
    let digits = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let public = bytes(digits);
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(&public)});
    let info = bytes(&format!("302a300506032b6570032100{digits}"));
    assert!(kind(&okp).has_public(&info));
    assert!(!kind(&secret()).has_public(&info));
}

fn bytes(digits: &str) -> Vec<u8> {
    let KeyId(bytes) = digits.parse().unwrap();
    bytes
}

#[test]
fn moments_have_their_digits() {
    for (seconds, shown) in [
        (0, "19700101000000"),
        (951_782_399, "20000228235959"),
        (951_782_400, "20000229000000"),
        (951_868_800, "20000301000000"),
        (4_107_542_399, "21000228235959"),
        (4_107_542_400, "21000301000000"),
        (1_798_675_199, "20261230235959"),
    ] {
        assert_eq!(digits(seconds), shown);
    }
}

#[test]
fn hosts_are_those_of_addresses() {
    assert_eq!(host_of("https://a.example/keys/k"), Some("a.example"));
    assert_eq!(host_of("https://a.example:8443/keys/k"), Some("a.example"));
    for none in [
        "",
        "http://a.example/keys/k",
        "https:///keys/k",
        "a.example",
    ] {
        assert_eq!(host_of(none), None);
    }
}
