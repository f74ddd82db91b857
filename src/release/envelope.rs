//! The envelope: how a key leaves, and for whom it is signed.
//!
//! What lives here: the ciphertext's place in its JSON, the signature over it (RFC 7515), and the signers with their certificates.
//! What must never live here: a key of the token in clear; the chapter of releases encrypts it.
//! Who calls it: the chapter of releases.

use serde_json::{Value, json};
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::hex;
use strongroom_crypto::random;
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_crypto::x509::{self, Issuer, Validity};
use strongroom_keymem::SecretBytes;

use super::Refusal;
use super::text::{encoded, standard};
use crate::calendar::Moment;
use crate::ports::Time;

/// How the key that encrypts the released one is itself encrypted: the names of the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// `CKM_RSA_AES_KEY_WRAP`: OAEP with SHA-1.
    #[default]
    Sha1,
    /// `RSA_AES_KEY_WRAP_256`: OAEP with SHA-256.
    Sha256,
    /// `RSA_AES_KEY_WRAP_384`: OAEP with SHA-384.
    Sha384,
}

impl Encryption {
    /// An encryption by its name; the usual one where none is named.
    #[must_use]
    pub fn named(name: Option<&str>) -> Option<Self> {
        let Some(name) = name else {
            return Some(Self::default());
        };
        let all = [Self::Sha1, Self::Sha256, Self::Sha384];
        all.into_iter().find(|known| known.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "CKM_RSA_AES_KEY_WRAP",
            Self::Sha256 => "RSA_AES_KEY_WRAP_256",
            Self::Sha384 => "RSA_AES_KEY_WRAP_384",
        }
    }

    /// The hash of OAEP and of its mask.
    #[must_use]
    pub const fn hash(self) -> Hash {
        match self {
            Self::Sha1 => Hash::Sha1,
            Self::Sha256 => Hash::Sha256,
            Self::Sha384 => Hash::Sha384,
        }
    }
}

/// What is said of a released key.
#[derive(Debug)]
pub struct Content<'c> {
    /// As its consumer addresses the key: without a version, if it was asked for so.
    pub asked: &'c str,
    /// The key with its version.
    pub key_id: &'c str,
    /// What is public of it, as JSON Web Key members.
    pub public: Value,
    /// Its other attributes.
    pub attributes: Value,
    /// Its release policy.
    pub policy: &'c [u8],
    /// Whether that stays as it is.
    pub immutable: bool,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// `kid` of the key it is encrypted to.
    pub target: &'c str,
    /// The nonce that came with the request.
    pub nonce: Option<&'c str>,
    /// What was encrypted.
    pub ciphertext: &'c [u8],
}

impl Content<'_> {
    fn payload(&self) -> Value {
        let hsm = json!({
            "schema_version": "1.0",
            "header": {"kid": self.target, "alg": "dir", "enc": self.encryption.name()},
            "ciphertext": encoded(self.ciphertext),
        });
        let mut key = self.public.clone();
        put(&mut key, "kid", Value::from(self.key_id));
        put(
            &mut key,
            "key_hsm",
            Value::from(encoded(hsm.to_string().as_bytes())),
        );
        let mut request = json!({
            "api-version": API_VERSION, "enc": self.encryption.name(), "kid": self.asked,
        });
        if let Some(nonce) = self.nonce {
            put(&mut request, "nonce", Value::from(nonce));
        }
        json!({
            "request": request,
            "response": {"key": {
                "key": key,
                "attributes": self.attributes,
                "tags": {},
                "release_policy": {
                    "contentType": "application/json; charset=utf-8",
                    "data": encoded(self.policy),
                    "immutable": self.immutable,
                },
            }},
        })
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// Who signs for one host: a key and its certificates, its own first.
#[derive(Debug)]
pub struct Signer {
    key: RsaPrivateKey,
    chain: Vec<Vec<u8>>,
}

/// A key with its certificate, as it is kept.
#[derive(Debug)]
pub struct Certified {
    /// PKCS #8.
    pub key: SecretBytes,
    /// DER.
    pub certificate: Vec<u8>,
}

impl Certified {
    /// A new root.
    ///
    /// # Errors
    /// When a primitive or the memory fails.
    pub fn root(now: Time) -> Result<Self, strongroom_crypto::Error> {
        Self::made(now, |key, serial, validity| {
            x509::root(key, ROOT_NAME, serial, validity)
        })
    }

    /// A new leaf of a root, for a host.
    ///
    /// # Errors
    /// When the host is none, or a primitive or the memory fails.
    pub fn leaf(&self, host: &str, now: Time) -> Result<Self, strongroom_crypto::Error> {
        let root = self.key.with(RsaPrivateKey::from_pkcs8)?;
        let issuer = Issuer {
            key: &root,
            name: ROOT_NAME,
        };
        Self::made(now, |key, serial, validity| {
            x509::leaf(issuer, key, host, serial, validity)
        })
    }

    /// A new key, certified from an hour ago, because clocks differ, for twenty years.
    fn made(
        now: Time,
        certify: impl FnOnce(
            &RsaPrivateKey,
            &[u8; 16],
            Validity<'_>,
        ) -> Result<Vec<u8>, strongroom_crypto::Error>,
    ) -> Result<Self, strongroom_crypto::Error> {
        let key = RsaPrivateKey::generate(SIGNER_BITS, EXPONENT)?;
        let mut serial = [0; 16];
        random::fill(&mut serial)?;
        let first = Moment::from(Time(now.0.saturating_sub(HOUR_MS))).digits();
        let last = Moment::from(Time(now.0.saturating_add(VALIDITY_MS))).digits();
        let validity = Validity {
            not_before: &first,
            not_after: &last,
        };
        Ok(Self {
            certificate: certify(&key, &serial, validity)?,
            key: key.to_pkcs8()?,
        })
    }
}

impl Signer {
    /// A signer of what is kept.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn new(leaf: &Certified, root: &Certified) -> Result<Self, strongroom_crypto::Error> {
        Ok(Self {
            key: leaf.key.with(RsaPrivateKey::from_pkcs8)?,
            chain: vec![leaf.certificate.clone(), root.certificate.clone()],
        })
    }

    /// Signs an envelope: a compact JWS.
    ///
    /// # Errors
    /// When a primitive fails.
    pub fn sign(&self, content: &Content<'_>) -> Result<String, Refusal> {
        let leaf = self.chain.first().map(Vec::as_slice).unwrap_or_default();
        let (short, long) = (digest(Hash::Sha1, leaf)?, digest(Hash::Sha256, leaf)?);
        let header = json!({
            "alg": "RS256",
            "kid": hex::shown(short.as_ref()).to_ascii_uppercase(),
            "typ": "JWT",
            "x5t": encoded(short.as_ref()),
            "x5t#S256": encoded(long.as_ref()),
            "x5c": self.chain.iter().map(|der| standard(der)).collect::<Vec<_>>(),
        });
        let message = format!(
            "{}.{}",
            encoded(header.to_string().as_bytes()),
            encoded(content.payload().to_string().as_bytes())
        );
        let hash = digest(Hash::Sha256, message.as_bytes())?;
        let signature = self.key.sign_pkcs1_digest(Hash::Sha256, hash.as_ref())?;
        Ok(format!("{message}.{}", encoded(&signature)))
    }
}

/// The version of the cloud's interface whose answer this is.
const API_VERSION: &str = "7.4";
/// The name of every installation's root; its key tells them apart.
const ROOT_NAME: &str = "Strongroom release root";
/// NIST SP 800-57: good beyond 2030.
const SIGNER_BITS: usize = 3072;
const EXPONENT: &[u8] = &[1, 0, 1];
const HOUR_MS: u64 = 60 * 60 * 1000;
const VALIDITY_MS: u64 = 20 * 365 * 24 * HOUR_MS;
