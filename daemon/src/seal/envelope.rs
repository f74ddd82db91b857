//! The envelope: the root key, wrapped for each provider of the seal.
//!
//! What lives here: the file `root.seal`, its form, its checks, wrapping and unwrapping.
//! What must never live here: where a provider's secret comes from; that is `provider`'s.
//! Who calls it: start-up through the unsealing, rotation, and the installing of a given root key.
//!
//! ```text
//! secret of a provider ── its key (32 bytes) ─┬─ check (16 bytes, where the key cannot be guessed alone)
//!                                             └─ wrapping key ── AES-256-GCM ── root key
//! ```
//!
//! Every arrow from a key is HKDF-SHA256 with a purpose of its own, salted with the id of the root key. The associated data of a
//! wrapping are everything that stands in the file before it. A person finds the file described in docs/decisions/0021.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom_crypto::digest::{Digest, Hash};
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::hex;
use strongroom_crypto::{kdf, random};
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::admin;
use strongroom_wire::codec::List;

use super::files::{read_private, write_draft};
use super::provider::Provider;
use super::{ROOT_KEY_BYTES, SealError};

/// How many of the providers are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Each of them opens the seal alone.
    #[default]
    One,
    /// All of them together open it, and no fewer.
    All,
}

impl fmt::Display for Need {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::One => "one",
            Self::All => "all",
        })
    }
}

/// What stands in `root.seal`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    format: u32,
    /// Tells root keys apart and gives nothing of them away.
    root_key: String,
    need: Need,
    providers: Vec<Entry>,
    /// One for each provider, or one for all together.
    wrapped: Vec<Wrapped>,
    /// SHA-256 of the file with this left empty: finds damage before anybody is asked for a secret.
    digest: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    provider: Provider,
    /// Tells a right key of this provider from a wrong one.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    nonce: String,
    key: String,
}

/// What the wrappings bind.
#[derive(Serialize)]
struct Bound<'e> {
    format: u32,
    root_key: &'e str,
    need: Need,
    providers: &'e [Entry],
}

/// The beginning that all formats share.
#[derive(Deserialize)]
struct AnyFormat {
    format: u64,
}

impl Envelope {
    /// The file of a store.
    #[must_use]
    pub fn beside(store: &Path) -> PathBuf {
        store.with_file_name("root.seal")
    }

    /// Wraps a root key for providers, each with its key.
    pub(super) fn make(
        root: &SecretBytes,
        need: Need,
        providers: Vec<(Provider, SecretBytes)>,
    ) -> Result<Self, SealError> {
        // One alone is needed whatever is said.
        let need = if providers.len() > 1 { need } else { Need::One };
        let id = root_key_id(root)?;
        let mut entries = Vec::new();
        let mut keys = Vec::new();
        for (provider, key) in providers {
            // A check of a guessable key would let it be guessed without the other provider.
            let hidden = need == Need::All && provider.is_guessable();
            let check = match hidden {
                true => None,
                false => Some(check_of(&id, &provider, &key)?),
            };
            entries.push(Entry { provider, check });
            keys.push(key);
        }
        let mut envelope = Self {
            format: FORMAT,
            root_key: hex::shown(&id),
            need,
            providers: entries,
            wrapped: Vec::new(),
            digest: String::new(),
        };
        let wrapping_keys = match need {
            Need::One => (0..keys.len())
                .zip(&keys)
                .map(|(index, key)| envelope.wrapping_key(&[(index, key)]))
                .collect::<Result<Vec<_>, _>>()?,
            Need::All => vec![envelope.wrapping_key(&keys.iter().enumerate().collect::<Vec<_>>())?],
        };
        for (place, key) in wrapping_keys.iter().enumerate() {
            let wrapped = wrap(key, &envelope.bound(place)?, root)?;
            envelope.wrapped.push(wrapped);
        }
        envelope.digest = envelope.computed_digest()?;
        Ok(envelope)
    }

    /// Reads the file; None where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, SealError> {
        read_private(path)?
            .map(|content| Self::parse(path, content.expose()))
            .transpose()
    }

    fn parse(path: &Path, content: &[u8]) -> Result<Self, SealError> {
        let altered = |what| SealError::Altered {
            path: path.into(),
            what,
        };
        let any: AnyFormat = serde_json::from_slice(content)
            .map_err(|_| altered("it is no root.seal of Strongroom"))?;
        if any.format != u64::from(FORMAT) {
            return Err(SealError::Newer {
                path: path.into(),
                format: any.format,
            });
        }
        let envelope: Self = serde_json::from_slice(content)
            .map_err(|_| altered("it is no root.seal of Strongroom"))?;
        // Byte for byte as it was written: a digit, a blank and a name all count.
        if envelope.to_bytes()? != content || envelope.digest != envelope.computed_digest()? {
            return Err(altered("its digest does not fit its content"));
        }
        let wrappings = match envelope.need {
            Need::One => envelope.providers.len(),
            Need::All => 1,
        };
        if envelope.providers.is_empty() || envelope.wrapped.len() != wrappings {
            return Err(altered("it has not as many wrapped keys as it should"));
        }
        for entry in &envelope.providers {
            entry.provider.accept().map_err(altered)?;
        }
        Ok(envelope)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, SealError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(unwritable)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn computed_digest(&self) -> Result<String, SealError> {
        let blank = Self {
            digest: String::new(),
            ..self.clone()
        };
        let mut digest = Digest::new(Hash::Sha256)?;
        digest.update(&blank.to_bytes()?)?;
        Ok(hex::shown(digest.finish()?.as_ref()))
    }

    /// Writes the draft of the file: durable, and not in force yet.
    pub(super) fn write_draft(&self, path: &Path) -> Result<PathBuf, SealError> {
        write_draft(path, &self.to_bytes()?)
    }

    /// The id of the root key inside.
    #[must_use]
    pub fn root_key_id(&self) -> &str {
        &self.root_key
    }

    /// Whether this is the root key inside.
    pub(super) fn holds(&self, root: &SecretBytes) -> Result<bool, SealError> {
        Ok(hex::shown(&root_key_id(root)?) == self.root_key)
    }

    /// How many of the providers are needed.
    #[must_use]
    pub fn need(&self) -> Need {
        self.need
    }

    /// The providers, in order.
    pub fn providers(&self) -> impl ExactSizeIterator<Item = &Provider> {
        self.providers.iter().map(|entry| &entry.provider)
    }

    /// Whether a key is that of the provider; None where it cannot be told apart from the others.
    pub(super) fn accepts(
        &self,
        provider: usize,
        key: &SecretBytes,
    ) -> Result<Option<bool>, SealError> {
        let Some(entry) = self.providers.get(provider) else {
            return Ok(Some(false));
        };
        let Some(check) = &entry.check else {
            return Ok(None);
        };
        let own = check_of(&self.id()?, &entry.provider, key)?;
        Ok(Some(own == *check))
    }

    /// The root key, opened with the keys of some providers; None where these do not open it.
    pub(super) fn open(
        &self,
        path: &Path,
        keys: &[(usize, &SecretBytes)],
    ) -> Result<Option<SecretBytes>, SealError> {
        match self.need {
            Need::One => {
                for (provider, key) in keys {
                    let wrapping = self.wrapping_key(&[(*provider, key)])?;
                    if let Some(root) = self.unwrap(path, *provider, &wrapping)? {
                        return Ok(Some(root));
                    }
                    if self.accepts(*provider, key)? == Some(true) {
                        return Err(self.altered(path));
                    }
                }
                Ok(None)
            }
            Need::All if keys.len() < self.providers.len() => Ok(None),
            Need::All => {
                let root = self.unwrap(path, 0, &self.wrapping_key(keys)?)?;
                for (provider, key) in keys {
                    if root.is_some() || self.accepts(*provider, key)? != Some(true) {
                        return Ok(root);
                    }
                }
                Err(self.altered(path))
            }
        }
    }

    /// The keys are right, so what they do not open was changed.
    fn altered(&self, path: &Path) -> SealError {
        SealError::Altered {
            path: path.into(),
            what: "the secret is right, and what it should open was changed",
        }
    }

    fn unwrap(
        &self,
        path: &Path,
        place: usize,
        key: &SecretBytes,
    ) -> Result<Option<SecretBytes>, SealError> {
        let altered = || SealError::Altered {
            path: path.into(),
            what: "a wrapped key is not one",
        };
        let wrapped = self.wrapped.get(place).ok_or_else(altered)?;
        let nonce: [u8; NONCE_BYTES] = hex::parsed(wrapped.nonce.as_bytes()).ok_or_else(altered)?;
        let sealed: [u8; ROOT_KEY_BYTES + TAG_BYTES] =
            hex::parsed(wrapped.key.as_bytes()).ok_or_else(altered)?;
        let cipher = key.with(GcmKey::new)?;
        let mut root = SecretVec::with_capacity(ROOT_KEY_BYTES)?;
        let bound = self.bound(place)?;
        match cipher.open(&nonce, &bound, TAG_BYTES, &sealed, &mut root) {
            Ok(()) => {}
            Err(strongroom_crypto::Error::DataInvalid) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let root = SecretBytes::copy_from(root.expose())?;
        if self.holds(&root)? {
            Ok(Some(root))
        } else {
            Err(self.altered(path))
        }
    }

    /// What the administration is told; `given` counts the secrets of a provider that are there.
    pub(super) fn report(
        &self,
        path: &Path,
        sealed: bool,
        given: impl Fn(usize, &Provider) -> u32,
    ) -> admin::Seal {
        let line = |(index, provider): (usize, &Provider)| {
            let (needed, total) = provider.secrets();
            admin::SealProvider {
                kind: provider.kind().into(),
                shown: provider.to_string(),
                given: given(index, provider),
                needed,
                total,
            }
        };
        let lines = self.providers().enumerate().map(line).collect();
        admin::Seal {
            sealed,
            file: Some(path.display().to_string()),
            root_key_id: Some(self.root_key.clone()),
            all: self.need == Need::All,
            providers: List::new(lines).unwrap_or_default(),
            left_over: List::default(),
        }
    }

    fn id(&self) -> Result<[u8; ID_BYTES], SealError> {
        hex::parsed(self.root_key.as_bytes())
            .ok_or_else(|| SealError::Unfit("root.seal has no id of a root key".into()))
    }

    /// The wrapping key from the keys of providers, in the order of the providers.
    fn wrapping_key(&self, keys: &[(usize, &SecretBytes)]) -> Result<SecretBytes, SealError> {
        let mut info = b"strongroom seal wrapping key v1".to_vec();
        let mut material = SecretVec::with_capacity(keys.len() * ROOT_KEY_BYTES)?;
        for (provider, key) in keys {
            info.push(b' ');
            if let Some(entry) = self.providers.get(*provider) {
                info.extend_from_slice(entry.provider.kind().as_bytes());
            }
            key.with(|bytes| material.push_slice(bytes))?;
        }
        derive(material.expose(), &self.id()?, &info, ROOT_KEY_BYTES)
    }

    fn bound(&self, place: usize) -> Result<Vec<u8>, SealError> {
        let bound = Bound {
            format: self.format,
            root_key: &self.root_key,
            need: self.need,
            providers: &self.providers,
        };
        let mut bytes = format!("strongroom root.seal wrapping {place}\n").into_bytes();
        serde_json::to_writer(&mut bytes, &bound).map_err(unwritable)?;
        Ok(bytes)
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = match self.need {
            Need::One => " or ",
            Need::All => " and ",
        };
        for (index, provider) in self.providers().enumerate() {
            let before = if index == 0 { "" } else { between };
            write!(out, "{before}{provider}")?;
        }
        Ok(())
    }
}

fn wrap(key: &SecretBytes, bound: &[u8], root: &SecretBytes) -> Result<Wrapped, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    random::fill(&mut nonce)?;
    let cipher = key.with(GcmKey::new)?;
    let mut wrapped = SecretVec::with_capacity(ROOT_KEY_BYTES + TAG_BYTES)?;
    root.with(|root| cipher.seal(&nonce, bound, TAG_BYTES, root, &mut wrapped))?;
    Ok(Wrapped {
        nonce: hex::shown(&nonce),
        key: hex::shown(wrapped.expose()),
    })
}

fn root_key_id(root: &SecretBytes) -> Result<[u8; ID_BYTES], SealError> {
    let id = root.with(|root| derive(root, &[], b"strongroom root key id v1", ID_BYTES))?;
    Ok(id.with(|bytes| bytes.try_into().unwrap_or([0; ID_BYTES])))
}

fn check_of(
    id: &[u8; ID_BYTES],
    provider: &Provider,
    key: &SecretBytes,
) -> Result<String, SealError> {
    let info = format!("strongroom seal check v1 {}", provider.kind());
    let check = key.with(|key| derive(key, id, info.as_bytes(), ID_BYTES))?;
    Ok(check.with(hex::shown))
}

fn derive(
    secret: &[u8],
    salt: &[u8],
    info: &[u8],
    out_bytes: usize,
) -> Result<SecretBytes, SealError> {
    SecretBytes::filled_by(out_bytes, |out| {
        kdf::hkdf_sha256(secret, salt, info, out).map_err(SealError::from)
    })
}

/// Paths are the only part that JSON may not take.
fn unwritable(error: serde_json::Error) -> SealError {
    SealError::Unfit(format!("the seal cannot be written as JSON: {error}"))
}

const FORMAT: u32 = 1;
/// Length of the id of a root key, and of a check.
const ID_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
