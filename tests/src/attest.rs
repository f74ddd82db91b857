//! An authority that attests whatever it is told to, signing with OpenSSL, for the release of keys.
//!
//! What lives here: its key, the set that it publishes, and its statements.
//! What must never live here: what a test expects.
//! Who calls it: the tests of releases.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::tool::succeed;

/// The authority.
pub struct Authority {
    key: PathBuf,
    directory: PathBuf,
}

/// Its name.
pub const URL: &str = "https://attest.example";

impl Authority {
    /// Makes one, with an RSA key of 2048 bits.
    ///
    /// # Panics
    /// When OpenSSL does not.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        let key = directory.join(format!("{name}.pem"));
        let size = ["-pkeyopt", "rsa_keygen_bits:2048"];
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA"])
            .args(size)
            .arg("-out")
            .arg(&key)
            .output();
        assert!(made.expect("openssl starts").status.success());
        let directory = directory.to_path_buf();
        Self { key, directory }
    }

    /// The file of its public keys.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        let mut command = Command::new("openssl");
        command.args(["rsa", "-noout", "-modulus", "-in"]);
        let said = succeed(command.arg(&self.key)).out;
        let said = String::from_utf8(said).expect("text");
        let digits = said.trim().strip_prefix("Modulus=").expect("a modulus");
        let set = json!({"keys": [{"kty": "RSA", "kid": "one", "use": "sig", "n": base64url(&hex(digits)), "e": "AQAB"}]});
        let path = self.key.with_extension("jwks");
        fs::write(&path, set.to_string()).expect("a file");
        path
    }

    /// The file of its private key.
    #[must_use]
    pub fn private(&self) -> &Path {
        &self.key
    }

    /// Its public key in PEM.
    ///
    /// # Panics
    /// When OpenSSL does not write it.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        let path = self.key.with_extension("pub");
        let mut command = Command::new("openssl");
        command.args(["rsa", "-pubout", "-in"]).arg(&self.key);
        succeed(command.arg("-out").arg(&path));
        path
    }

    /// As a TPM: a quote of its registers, with what it vouches for (TPM 2.0 Library, part 2, 10.12.8 and 11.3.4).
    ///
    /// # Panics
    /// When OpenSSL does not sign.
    #[must_use]
    pub fn quote(&self, modulus: &[u8], register: &[u8; 32]) -> Value {
        let runtime = json!({"keys": [encryption_key(modulus)]}).to_string();
        let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        let attest = [
            &[0xff, b'T', b'C', b'G', 0x80, 0x18][..],
            &sized(b""),
            &sized(&Sha256::digest(runtime.as_bytes())),
            // Clock and version.
            &[0; 17 + 8],
            // One selection: SHA-256, register 7.
            &[0, 0, 0, 1, 0, 0x0b, 3, 0x80, 0, 0],
            &sized(&Sha256::digest(register)),
        ]
        .concat();
        // RSASSA with SHA-256.
        let signature = [&[0, 0x14, 0, 0x0b][..], &sized(&self.signature(&attest))].concat();
        let shown: String = register.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "format": "tpm", "attest": base64url(&attest), "signature": base64url(&signature),
            "pcrs": {"sha256": {"7": shown}}, "runtime": base64url(runtime.as_bytes()),
        })
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let (file, signature) = (
            self.directory.join("message"),
            self.directory.join("signature"),
        );
        fs::write(&file, message).expect("a file");
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256", "-sign"]).arg(&self.key);
        succeed(command.arg("-out").arg(&signature).arg(&file));
        fs::read(signature).expect("a signature")
    }

    /// A statement: RS256, under a header of its own.
    ///
    /// # Panics
    /// When OpenSSL does not sign.
    #[must_use]
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        self.signed_text(&header.to_string(), &claims.to_string())
    }

    /// The same of what need not be JSON.
    ///
    /// # Panics
    /// When OpenSSL does not sign.
    #[must_use]
    pub fn signed_text(&self, header: &str, claims: &str) -> String {
        let message = [header, claims]
            .map(|part| base64url(part.as_bytes()))
            .join(".");
        let signature = self.signature(message.as_bytes());
        format!("{message}.{}", base64url(&signature))
    }

    /// A good statement for a place with this encryption key; members of `more` stand instead.
    #[must_use]
    pub fn statement(&self, modulus: &[u8], more: &Value) -> String {
        self.signed(&header(), &claims(modulus, more))
    }
}

/// The usual header.
#[must_use]
pub fn header() -> Value {
    json!({"alg": "RS256", "kid": "one", "typ": "JWT"})
}

/// Good claims; members of `more` stand instead, `null` for none.
///
/// # Panics
/// When `more` is no object.
#[must_use]
pub fn claims(modulus: &[u8], more: &Value) -> Value {
    let now = now();
    let key = encryption_key(modulus);
    let mut claims = json!({
        "iss": format!("{URL}/"), "iat": now, "nbf": now, "exp": now + 3600,
        "sdk-test": true, "x-ms-runtime": {"keys": [key]},
    });
    for (name, value) in more.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn encryption_key(modulus: &[u8]) -> Value {
    json!({"kty": "RSA", "kid": "fake-release-key", "use": "enc", "n": base64url(modulus), "e": "AQAB"})
}

/// Seconds since 1970.
///
/// # Panics
/// Before 1970.
#[must_use]
pub fn now() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.expect("a clock").as_secs()
}

/// Bytes as base64url.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// The bytes of base64url.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn from_base64url(text: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text).expect("base64url")
}

/// A release policy that wants one claim.
#[must_use]
pub fn policy(claim: &str, equals: &Value) -> String {
    json!({"version": "1.0.0", "anyOf": [{"authority": URL, "allOf": [{"claim": claim, "equals": equals}]}]}).to_string()
}

/// What an envelope says: its header and its payload.
///
/// # Panics
/// When it is no compact JWS.
#[must_use]
pub fn opened(envelope: &str) -> (Value, Value) {
    let part = |text: &str| serde_json::from_slice(&from_base64url(text)).expect("JSON");
    let parts: Vec<&str> = envelope.trim().split('.').collect();
    (part(parts[0]), part(parts[1]))
}
