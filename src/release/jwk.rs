//! Keys as JSON has them (RFC 7517, 7518).
//!
//! What lives here: public keys of authorities and the key that a place wants to be encrypted to.
//! What must never live here: a private key.
//! Who calls it: authority (pinned keys), statement (signatures), attested (encryption keys).

use serde_json::{Map, Value};
use strongroom_attestation::unambiguous;
use strongroom_crypto::certificate::Certificate;
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::ec::{Curve, EcPublicKey};
use strongroom_crypto::rsa::RsaPublicKey;
pub use strongroom_crypto::signature::{Algorithm, VerifyKey};

use super::text::{decoded, encoded, standard_decoded};

/// A key of a set, with its name.
#[derive(Debug)]
pub struct NamedKey {
    /// `kid`.
    pub kid: Option<String>,
    /// `alg`: it verifies nothing else, if it is there.
    pub algorithm: Option<String>,
    /// The key.
    pub key: VerifyKey,
}

/// The keys of a set, `{"keys":[…]}`, or of one key alone. A key that cannot verify, because of its type or its use, is passed over.
///
/// # Errors
/// What is wrong, in words: no JSON, no set, or nothing in it that verifies.
pub fn keys_of_set(text: &str) -> Result<Vec<NamedKey>, String> {
    let set =
        unambiguous(text.as_bytes()).map_err(|error| format!("the keys are no JSON: {error}"))?;
    let one = std::slice::from_ref(&set);
    let written = match set.get("keys") {
        Some(Value::Array(keys)) => keys.as_slice(),
        Some(_) => return Err("the member keys of the set is no list".to_owned()),
        None => one,
    };
    if written.len() > SET_KEYS_MAX {
        return Err(format!("the set has more than {SET_KEYS_MAX} keys"));
    }
    let keys: Vec<NamedKey> = written.iter().filter_map(named_key).collect();
    if keys.is_empty() {
        return Err(
            "no key of the set verifies RS, PS or ES signatures (RSA from 2048 bits, P-256, P-384, P-521)"
                .to_owned(),
        );
    }
    Ok(keys)
}

fn named_key(written: &Value) -> Option<NamedKey> {
    let members = written.as_object()?;
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let key = match text("kty")? {
        "RSA" => match rsa(members) {
            Some(key) => VerifyKey::Rsa(key),
            None => of_certificate(members)?,
        },
        "EC" => match ec(members) {
            Some(key) => VerifyKey::Ec(key),
            None => of_certificate(members)?,
        },
        _ => return None,
    };
    if let VerifyKey::Rsa(key) = &key
        && key.bits() < RSA_BITS_MIN
    {
        return None;
    }
    Some(NamedKey {
        kid: text("kid").map(str::to_owned),
        algorithm: text("alg").map(str::to_owned),
        key,
    })
}

/// The key of the first certificate: services publish keys so. What vouches for it is whoever pinned the set.
fn of_certificate(members: &Map<String, Value>) -> Option<VerifyKey> {
    let first = members.get("x5c")?.as_array()?.first()?.as_str()?;
    Certificate::parse(&standard_decoded(first)?)
        .ok()?
        .key()
        .ok()
}

fn number(members: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    decoded(members.get(name)?.as_str()?)
}

fn rsa(members: &Map<String, Value>) -> Option<RsaPublicKey> {
    let (n, e) = (number(members, "n")?, number(members, "e")?);
    RsaPublicKey::from_components(&n, &e).ok()
}

fn ec(members: &Map<String, Value>) -> Option<EcPublicKey> {
    let curve = match members.get("crv")?.as_str()? {
        "P-256" => Curve::P256,
        "P-384" => Curve::P384,
        "P-521" => Curve::P521,
        _ => return None,
    };
    let (x, y) = (number(members, "x")?, number(members, "y")?);
    if x.len() != curve.field_bytes() || y.len() != curve.field_bytes() {
        return None;
    }
    EcPublicKey::from_point(curve, &[&[4], x.as_slice(), &y].concat()).ok()
}

/// A key that a place wants to be encrypted to.
#[derive(Debug)]
pub struct EncryptionKey {
    /// `kid`, as it came; empty when it has none.
    pub kid: String,
    /// The key, of 2048 to 4096 bits.
    pub key: RsaPublicKey,
    /// RFC 7638 over SHA-256, in base64url: how the journal names it.
    pub thumbprint: String,
}

/// The first RSA key of a set that is for encryption: `use` or `key_use` is `enc`, or `key_ops` has `encrypt`.
///
/// # Errors
/// Why there is none, in words.
pub fn encryption_key(runtime: &Value) -> Result<EncryptionKey, String> {
    let keys = runtime.get("keys").and_then(Value::as_array).ok_or(
        "the statement has no x-ms-runtime.keys: nobody says to which key it is encrypted",
    )?;
    let found = keys
        .iter()
        .take(SET_KEYS_MAX)
        .filter_map(Value::as_object)
        .find(|members| is_for_encryption(members))
        .ok_or("none of x-ms-runtime.keys is an RSA key for encryption (use enc, or key_ops with encrypt)")?;
    let key = rsa(found).ok_or("the encryption key of x-ms-runtime.keys has no good n and e")?;
    if !(RSA_BITS_MIN..=KEK_BITS_MAX).contains(&key.bits()) {
        return Err(format!(
            "the encryption key has {} bits; {RSA_BITS_MIN} to {KEK_BITS_MAX} are taken",
            key.bits()
        ));
    }
    let kid = found.get("kid").and_then(Value::as_str).unwrap_or_default();
    Ok(EncryptionKey {
        kid: kid.to_owned(),
        thumbprint: thumbprint(&key).ok_or("the thumbprint of the key cannot be computed")?,
        key,
    })
}

fn is_for_encryption(members: &Map<String, Value>) -> bool {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let operations = members.get("key_ops").and_then(Value::as_array);
    let encrypts =
        operations.is_some_and(|all| all.iter().any(|one| one.as_str() == Some("encrypt")));
    text("kty").is_some_and(|kind| kind == "RSA" || kind == "RSA-HSM")
        && (text("use") == Some("enc") || text("key_use") == Some("enc") || encrypts)
}

/// RFC 7638, 3.
fn thumbprint(key: &RsaPublicKey) -> Option<String> {
    let (n, e) = rsa_members(key)?;
    let text = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    Some(encoded(
        digest(Hash::Sha256, text.as_bytes()).ok()?.as_ref(),
    ))
}

/// `n` and `e` of a key.
#[must_use]
pub fn rsa_members(key: &RsaPublicKey) -> Option<(String, String)> {
    let exponent = key.public_exponent().ok()?;
    let leading = exponent.iter().take_while(|byte| **byte == 0).count();
    Some((encoded(key.modulus()), encoded(exponent.get(leading..)?)))
}

/// RFC 7518, 3.3, for signatures; the cloud's least for encryption.
const RSA_BITS_MIN: usize = 2048;
/// The cloud's most.
const KEK_BITS_MAX: usize = 4096;
/// Keys of a set that are looked at: services publish a handful.
const SET_KEYS_MAX: usize = 64;
