//! The envelope of a released key, as its consumer reads it (docs/release-format.md).
//!
//! What lives here: everything that is checked before the token is asked anything.
//! What must never live here: a key in clear; a root that came with the envelope and is believed.
//! Who calls it: `release open`.

use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};
use strongroom_crypto::certificate::{Certificate, signer_of_chain};
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::ec::{Curve, EcPublicKey};
use strongroom_crypto::edwards::Ed25519PublicKey;
use strongroom_crypto::rsa::RsaPublicKey;
use strongroom_crypto::signature::{Algorithm, VerifyKey};

use super::json;

/// What the consumer knows beforehand.
#[derive(Debug)]
pub(super) struct Expected<'e> {
    /// The pinned root, DER.
    pub root: Vec<u8>,
    /// The host; that of the key's address if none.
    pub host: Option<&'e str>,
    /// The nonce that was sent.
    pub nonce: Option<&'e str>,
    /// Now, in 14 digits.
    pub now: String,
}

/// What an envelope is found to say. The ciphertext is still one.
#[derive(Debug)]
pub(super) struct Released {
    /// The key's address, with its version.
    pub kid: String,
    /// What kind of key.
    pub kind: Kind,
    /// What it may do, in the words of RFC 7517.
    pub operations: Vec<String>,
    /// How the temporary key is encrypted.
    pub oaep: Oaep,
    /// Encrypted to the place.
    pub ciphertext: Vec<u8>,
}

/// The hash of OAEP and of its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oaep {
    /// `CKM_RSA_AES_KEY_WRAP`
    Sha1,
    /// `RSA_AES_KEY_WRAP_256`
    Sha256,
    /// `RSA_AES_KEY_WRAP_384`
    Sha384,
}

/// Kinds of keys, with what is public.
#[derive(Debug)]
pub(super) enum Kind {
    /// RSA.
    Rsa(RsaPublicKey),
    /// On a curve of NIST, or secp256k1.
    Ec(EcPublicKey),
    /// Ed25519.
    Edwards(Ed25519PublicKey),
    /// Bare bytes.
    Secret,
}

impl Kind {
    /// Whether this is its SubjectPublicKeyInfo. A secret has none.
    pub(super) fn has_public(&self, info: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => key.to_spki_der().is_ok_and(|own| own == info),
            Self::Ec(key) => key.to_spki_der() == info,
            Self::Edwards(key) => key.to_spki_der() == info,
            Self::Secret => false,
        }
    }

    /// Whether these are its modulus and its exponent.
    pub(super) fn has_numbers(&self, modulus: &[u8], exponent: &[u8]) -> bool {
        RsaPublicKey::from_components(modulus, exponent)
            .and_then(|key| key.to_spki_der())
            .is_ok_and(|info| self.has_public(&info))
    }

    /// Whether it has made this signature, ECDSA's two numbers side by side, of a hash.
    pub(super) fn has_signed(&self, hash: &[u8], signature: &[u8]) -> bool {
        matches!(self, Self::Ec(key) if key.verify_digest(hash, signature).is_ok())
    }
}

impl Released {
    /// Its name: `…/keys/NAME/VERSION`.
    pub(super) fn name(&self) -> Option<&str> {
        let (_, path) = self.kid.split_once("/keys/")?;
        path.split('/').next().filter(|name| !name.is_empty())
    }
}

/// Reads an envelope and verifies it.
///
/// # Errors
/// Why it is not taken, in words.
pub(super) fn verified(text: &[u8], expected: &Expected<'_>) -> Result<Released, String> {
    let text = std::str::from_utf8(text)
        .map_err(|_| THREE_PARTS)?
        .trim_ascii();
    let bundle;
    let compact = if text.starts_with('{') {
        bundle = object(text.as_bytes(), "the envelope")?;
        string(&bundle, "value")?
    } else {
        text
    };
    let parts: Vec<&str> = compact.split('.').collect();
    let [head, body, signature] = parts.as_slice() else {
        return Err(THREE_PARTS.to_owned());
    };
    let header = object(&decoded(head, "the header")?, "the header")?;
    let signed = compact
        .get(..head.len() + 1 + body.len())
        .unwrap_or_default();
    let leaf = proven(
        &header,
        signed,
        &decoded(signature, "the signature")?,
        expected,
    )?;
    let payload = object(&decoded(body, "the payload")?, "the payload")?;
    told(&payload, &leaf, expected)
}

/// The signer's certificate, once it leads to the pinned root and its key has signed.
fn proven(
    header: &Map<String, Value>,
    signed: &str,
    signature: &[u8],
    expected: &Expected<'_>,
) -> Result<Vec<u8>, String> {
    let name = string(header, "alg")?;
    let algorithm = match Algorithm::named(name) {
        Some(algorithm @ (Algorithm::Rs(_) | Algorithm::Ps(_))) => algorithm,
        Some(Algorithm::Es(..)) | None => {
            return Err(format!(
                "the algorithm {} is none of RS256, RS384, RS512, PS256, PS384, PS512",
                crate::output::printable(name)
            ));
        }
    };
    if header.contains_key("crit") {
        return Err("the header has critical members, which are not known here".to_owned());
    }
    let chain = chain(header)?;
    let is_authority =
        |der: &[u8]| Certificate::parse(der).is_ok_and(|certificate| certificate.is_authority());
    if !is_authority(&expected.root) {
        return Err("the pinned root is no certificate of an authority".to_owned());
    }
    let key = signer_of_chain(&chain, std::slice::from_ref(&expected.root), &expected.now)?;
    let leaf = chain.into_iter().next().ok_or("x5c is empty")?;
    if is_authority(&leaf) {
        return Err("the signer's certificate is that of an authority, which signs certificates and no envelopes".to_owned());
    }
    if let Some(thumbprint) = header.get("x5t#S256") {
        let hash = digest(Hash::Sha256, &leaf).map_err(|error| error.to_string())?;
        let is_so = thumbprint.as_str() == Some(&Base64UrlUnpadded::encode_string(hash.as_ref()));
        if !is_so {
            return Err("x5t#S256 is not of the signer's certificate".to_owned());
        }
    }
    if !matches!(key, VerifyKey::Rsa(_)) {
        return Err("the signer's key is no RSA key".to_owned());
    }
    if !key.verifies(algorithm, signed.as_bytes(), signature) {
        return Err("the signature is not right: the envelope was changed".to_owned());
    }
    Ok(leaf)
}

/// The certificates that came along, the signer's first.
fn chain(header: &Map<String, Value>) -> Result<Vec<Vec<u8>>, String> {
    let link = |link: &Value| link.as_str().and_then(|text| Base64::decode_vec(text).ok());
    member(header, "x5c")?
        .as_array()
        .filter(|chain| chain.len() <= CHAIN_MAX)
        .ok_or("x5c is no list of a few certificates")?
        .iter()
        .map(|one| link(one).ok_or_else(|| "x5c has something that is no certificate".to_owned()))
        .collect()
}

/// What the signed payload says.
fn told(
    payload: &Map<String, Value>,
    leaf: &[u8],
    expected: &Expected<'_>,
) -> Result<Released, String> {
    let request = inner(payload, "request")?;
    let address = string(request, "kid")?;
    let host = match expected.host {
        Some(host) => host,
        None => host_of(address).ok_or("request.kid is no address of a key")?,
    };
    let names_it = Certificate::parse(leaf).is_ok_and(|leaf| leaf.names(host));
    if !names_it {
        return Err(format!(
            "the signer's certificate is not for the host {}",
            crate::output::printable(host)
        ));
    }
    if let Some(nonce) = expected.nonce
        && request.get("nonce").and_then(Value::as_str) != Some(nonce)
    {
        return Err(
            "the nonce is not the one that was sent: the envelope is of another request".to_owned(),
        );
    }
    let key = inner(inner(inner(payload, "response")?, "key")?, "key")?;
    let hsm = object(&number(key, "key_hsm")?, "key_hsm")?;
    let encryption = string(inner(&hsm, "header")?, "enc")?;
    let oaep = match encryption {
        "CKM_RSA_AES_KEY_WRAP" => Oaep::Sha1,
        "RSA_AES_KEY_WRAP_256" => Oaep::Sha256,
        "RSA_AES_KEY_WRAP_384" => Oaep::Sha384,
        other => {
            return Err(format!(
                "the encryption {} is not known",
                crate::output::printable(other)
            ));
        }
    };
    let operations = key.get("key_ops").and_then(Value::as_array);
    let operations = operations.into_iter().flatten();
    Ok(Released {
        kid: string(key, "kid")?.to_owned(),
        kind: kind(key)?,
        operations: operations
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        oaep,
        ciphertext: number(&hsm, "ciphertext")?,
    })
}

/// The kind of key, and its public half.
fn kind(key: &Map<String, Value>) -> Result<Kind, String> {
    let bad = |_| "the public half of the key is none".to_owned();
    let kty = string(key, "kty")?;
    match kty.strip_suffix("-HSM").unwrap_or(kty) {
        "RSA" => RsaPublicKey::from_components(&number(key, "n")?, &number(key, "e")?)
            .map(Kind::Rsa)
            .map_err(bad),
        "EC" => {
            let curve = match string(key, "crv")? {
                "P-256" => Curve::P256,
                "P-384" => Curve::P384,
                "P-521" => Curve::P521,
                "P-256K" => Curve::Secp256k1,
                _ => return Err("the curve of the key is not known".to_owned()),
            };
            let (x, y) = (number(key, "x")?, number(key, "y")?);
            if x.len() != curve.field_bytes() || y.len() != curve.field_bytes() {
                return Err("x or y of the key has a wrong length".to_owned());
            }
            let point = [&[UNCOMPRESSED], x.as_slice(), &y].concat();
            EcPublicKey::from_point(curve, &point)
                .map(Kind::Ec)
                .map_err(bad)
        }
        "OKP" if string(key, "crv")? == "Ed25519" => {
            Ed25519PublicKey::from_bytes(&number(key, "x")?)
                .map(Kind::Edwards)
                .map_err(bad)
        }
        "oct" => Ok(Kind::Secret),
        _ => Err(format!(
            "keys of the type {} are not known",
            crate::output::printable(kty)
        )),
    }
}

/// The host of an address, without its port.
fn host_of(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("https://")?;
    let (host, _) = rest.split_at(rest.find('/')?);
    let host = host.split(':').next().unwrap_or_default();
    (!host.is_empty()).then_some(host)
}

fn object(bytes: &[u8], what: &str) -> Result<Map<String, Value>, String> {
    match json::parse(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(format!("{what} is no JSON object")),
        Err(error) if error.is_data() => Err(format!("{what} is ambiguous: {error}")),
        Err(_) => Err(format!("{what} is no JSON object")),
    }
}

fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Result<&'v Value, String> {
    object
        .get(name)
        .ok_or_else(|| format!("the envelope has no member {name}"))
}

fn inner<'v>(object: &'v Map<String, Value>, name: &str) -> Result<&'v Map<String, Value>, String> {
    member(object, name)?
        .as_object()
        .ok_or_else(|| format!("the member {name} is no object"))
}

fn string<'v>(object: &'v Map<String, Value>, name: &str) -> Result<&'v str, String> {
    member(object, name)?
        .as_str()
        .ok_or_else(|| format!("the member {name} is no text"))
}

fn number(object: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    decoded(string(object, name)?, &format!("the member {name}"))
}

fn decoded(text: &str, what: &str) -> Result<Vec<u8>, String> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| format!("{what} is no base64url"))
}

/// Now, in 14 digits of UTC.
pub(super) fn now() -> Result<String, String> {
    let passed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| "the clock is before 1970")?;
    Ok(digits(passed.as_secs()))
}

/// Seconds since 1970 in 14 digits, by the Gregorian calendar counted in years that begin in March.
fn digits(seconds: u64) -> String {
    let (days, second) = (seconds / DAY, seconds % DAY);
    // Days since the first of March of the year 0, in cycles of 400 years.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = 400 * cycle + year + carry;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

const THREE_PARTS: &str = "the envelope is not of three parts with dots between them";
/// Certificates that are read at all.
const CHAIN_MAX: usize = 6;
/// SEC 1, 2.3.3.
const UNCOMPRESSED: u8 = 4;
const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests;
