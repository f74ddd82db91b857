//! *What lives here:* an authority that signs whatever it is told to, and a place that decrypts what is released to it, for tests. *What
//! must never live here:* a test. *Who calls it:* the tests of releases.

use std::sync::OnceLock;

use serde_json::{Value, json};
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_crypto::wrap::WrapKey;
use strongroom_keymem::SecretVec;

use super::jwk::rsa_members;
use super::text::{decoded, encoded};
use crate::service::rig::{NOW, start};

pub(crate) const URL: &str = "https://attest.example";

/// A key of 2048 bits, one of several: making them takes long.
pub(crate) fn rsa(which: usize) -> &'static RsaPrivateKey {
    static KEYS: [OnceLock<RsaPrivateKey>; 4] = [const { OnceLock::new() }; 4];
    start();
    KEYS[which].get_or_init(|| RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap())
}

/// The authority's key.
pub(crate) fn signer() -> &'static RsaPrivateKey {
    rsa(0)
}

/// The place's key.
pub(crate) fn place() -> &'static RsaPrivateKey {
    rsa(1)
}

/// The public half as a JSON Web Key.
pub(crate) fn jwk(key: &RsaPrivateKey, more: &Value) -> Value {
    let (n, e) = rsa_members(&key.public().unwrap()).unwrap();
    merged(&json!({"kty": "RSA", "n": n, "e": e}), more)
}

pub(crate) fn merged(base: &Value, more: &Value) -> Value {
    let mut base = base.clone();
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

/// What the authority publishes.
pub(crate) fn key_set() -> String {
    json!({"keys": [jwk(signer(), &json!({"kid": "one", "use": "sig"}))]}).to_string()
}

/// A good statement's claims; those of `more` instead, `null` for none.
pub(crate) fn claims(more: &Value) -> Value {
    let now = NOW.0 / 1000;
    let key = jwk(place(), &json!({"kid": "kek", "use": "enc"}));
    let base = json!({
        "iss": URL, "iat": now, "nbf": now, "exp": now + 3600, "jti": "statement-1",
        "sdk-test": true, "x-ms-runtime": {"keys": [key]},
    });
    merged(&base, more)
}

pub(crate) fn header(more: &Value) -> Value {
    merged(&json!({"alg": "RS256", "kid": "one", "typ": "JWT"}), more)
}

/// Signs with any key by the algorithm of the header, RS and PS.
pub(crate) fn signed_by(key: &RsaPrivateKey, header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let name = header["alg"].as_str().unwrap_or_default();
    let hash = match name.get(2..) {
        Some("384") => Hash::Sha384,
        Some("512") => Hash::Sha512,
        _ => Hash::Sha256,
    };
    let value = digest(hash, message.as_bytes()).unwrap();
    let signature = if name.starts_with("PS") {
        key.sign_pss(hash, hash, hash.output_bytes(), value.as_ref())
    } else {
        key.sign_pkcs1_digest(hash, value.as_ref())
    };
    format!("{message}.{}", encoded(&signature.unwrap()))
}

pub(crate) fn signed_by_curve(key: &EcPrivateKey, header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let hash = match key.curve() {
        Curve::P384 => Hash::Sha384,
        Curve::P521 => Hash::Sha512,
        _ => Hash::Sha256,
    };
    let value = digest(hash, message.as_bytes()).unwrap();
    let signature = key.sign_digest(value.as_ref()).unwrap();
    format!("{message}.{}", encoded(&signature))
}

/// Signs with the authority's key what stands there, whether JSON or not.
pub(crate) fn signed_text(header: &str, claims: &str) -> String {
    let message = format!(
        "{}.{}",
        encoded(header.as_bytes()),
        encoded(claims.as_bytes())
    );
    let value = digest(Hash::Sha256, message.as_bytes()).unwrap();
    let signature = signer().sign_pkcs1_digest(Hash::Sha256, value.as_ref());
    format!("{message}.{}", encoded(&signature.unwrap()))
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| encoded(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

/// A good statement, with other claims.
pub(crate) fn statement(more: &Value) -> String {
    signed_by(signer(), &header(&json!({})), &claims(more))
}

/// A policy that wants one claim.
pub(crate) fn policy(claim: &str, equals: &Value) -> Vec<u8> {
    json!({"version": "1.0.0", "anyOf": [{"authority": URL, "allOf": [{"claim": claim, "equals": equals}]}]})
        .to_string()
        .into_bytes()
}

/// What the place makes of a ciphertext.
pub(crate) fn opened(hash: Hash, ciphertext: &[u8]) -> Vec<u8> {
    opened_with(hash, &[], ciphertext).unwrap()
}

/// What it makes of one with a label of OAEP; nothing of one with another label.
pub(crate) fn opened_with(hash: Hash, label: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
    let (encrypted, wrapped) = ciphertext.split_at(256);
    let mut temporary = SecretVec::new();
    place()
        .decrypt_oaep(hash, hash, label, encrypted, &mut temporary)
        .ok()?;
    assert_eq!(temporary.len(), 32);
    let mut plain = SecretVec::new();
    WrapKey::new(temporary.expose())
        .unwrap()
        .kwp_unwrap(wrapped, &mut plain)
        .unwrap();
    Some(plain.expose().to_vec())
}

/// The parts of a compact JWS: header, payload, signature.
pub(crate) fn parts(token: &str) -> (Value, Value, Vec<u8>) {
    let parts: Vec<Vec<u8>> = token
        .split('.')
        .map(|part| decoded(part).unwrap())
        .collect();
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
    (json(&parts[0]), json(&parts[1]), parts[2].clone())
}
