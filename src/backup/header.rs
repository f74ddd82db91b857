//! *What lives here:* the header of a backup: what anybody may know of it, and the file key wrapped for each recipient. *What must never
//! live here:* what is in the backup. *Who calls it:* writing and reading.

use serde::{Deserialize, Serialize};
use strongroom_crypto::{hex, hpke};
use strongroom_keymem::{SecretBytes, SecretVec};

use super::key::{Identity, PublicKey, Split};
use super::{BackupError, CHUNK_BYTES, FORMAT, KEY_BYTES, RECIPIENTS_MAX};

/// What anybody may know of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The format of the file.
    pub format: u32,
    /// Random, of this backup alone; 32 hexadecimal digits.
    pub id: String,
    /// When it was made, as RFC 3339 has it.
    pub made: String,
    /// Version of the daemon that made it.
    pub daemon: String,
    /// Tells root keys apart and gives nothing of them away; 16 hexadecimal digits.
    pub root_key: String,
    /// How many records it holds.
    pub records: u64,
    /// Length of a chunk.
    pub chunk_bytes: usize,
    /// Whom it is made for; each of them opens it.
    pub recipients: Vec<Recipient>,
}

/// The file key, wrapped for one recipient.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// The public key; 64 hexadecimal digits.
    pub public_key: String,
    /// Into which shares the private key was split, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// HPKE's encapsulated key; 64 hexadecimal digits.
    pub enc: String,
    /// The wrapped file key and its tag; 96 hexadecimal digits.
    pub file_key: String,
}

impl Recipient {
    /// Wraps the file key of a backup.
    pub(super) fn wrap(
        id: &str,
        to: &PublicKey,
        file_key: &SecretBytes,
    ) -> Result<Self, BackupError> {
        let mut wrapped = SecretVec::new();
        let enc = file_key
            .with(|key| hpke::seal(to.bytes(), &purpose(id), &[], key, &mut wrapped))
            .map_err(|error| match error {
                strongroom_crypto::Error::PointInvalid => {
                    BackupError::Key(format!("{to} is a point of small order"))
                }
                other => other.into(),
            })?;
        Ok(Self {
            public_key: hex::shown(to.bytes()),
            split: to.split().cloned(),
            enc: hex::shown(&enc),
            file_key: hex::shown(wrapped.expose()),
        })
    }

    /// The public key in short, with what is needed of its private half.
    #[must_use]
    pub fn in_short(&self) -> String {
        let key = self.public_key.get(..16).unwrap_or(&self.public_key);
        match &self.split {
            Some(split) => format!("{key} ({split})"),
            None => key.to_owned(),
        }
    }
}

impl Header {
    /// Reads the header, without believing it: only its MAC does that.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BackupError> {
        let wrong = |what: &str| BackupError::Header(what.into());
        let AnyFormat { format } = serde_json::from_slice(bytes)
            .map_err(|_| wrong("it is no JSON with a format, so it was changed"))?;
        if format != FORMAT {
            return Err(BackupError::FormatNewer(format));
        }
        let header: Self = serde_json::from_slice(bytes)
            .map_err(|_| wrong("a member is missing or has another form, so it was changed"))?;
        if header.chunk_bytes != CHUNK_BYTES {
            return Err(wrong("the length of its chunks is another one"));
        }
        if header.recipients.is_empty() || header.recipients.len() > RECIPIENTS_MAX {
            return Err(wrong("it has no recipients, or too many"));
        }
        Ok(header)
    }

    /// The file key, for the holder of a private key.
    pub(super) fn file_key(&self, identity: &Identity) -> Result<SecretBytes, BackupError> {
        let own = hex::shown(identity.public().bytes());
        let recipient = self
            .recipients
            .iter()
            .find(|recipient| recipient.public_key == own)
            .ok_or_else(|| BackupError::OtherRecipients {
                given: identity.public().to_string(),
                needed: self.recipients.iter().map(Recipient::in_short).collect(),
            })?;
        let enc = hex::parsed::<32>(recipient.enc.as_bytes());
        let wrapped = hex::parsed::<48>(recipient.file_key.as_bytes());
        let (Some(enc), Some(wrapped)) = (enc, wrapped) else {
            return Err(BackupError::WrappedKeyChanged);
        };
        let mut file_key = SecretVec::with_capacity(KEY_BYTES)?;
        let bound = purpose(&self.id);
        match hpke::open(identity.key(), &enc, &bound, &[], &wrapped, &mut file_key) {
            Ok(()) => Ok(SecretBytes::copy_from(file_key.expose())?),
            Err(strongroom_crypto::Error::Memory) => Err(BackupError::Memory),
            Err(_) => Err(BackupError::WrappedKeyChanged),
        }
    }
}

/// The beginning that all formats share.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

/// HPKE's `info`: a wrapped key opens for its own backup only.
fn purpose(id: &str) -> Vec<u8> {
    [b"strongroom backup file key v1 ".as_slice(), id.as_bytes()].concat()
}
