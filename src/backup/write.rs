//! *What lives here:* making a backup: a snapshot and the root key become parts of a file, one after the other. *What must never live
//! here:* where the parts go. *Who calls it:* the vault begins it, the daemon takes the parts.

use strongroom_crypto::digest::{Digest, Hash};
use strongroom_crypto::{hex, random};
use strongroom_keymem::{SecretBytes, SecretVec};

use super::header::{Header, Recipient};
use super::key::PublicKey;
use super::stream::{Chunks, PLAIN_BYTES, Place, header_mac};
use super::{BackupError, CHUNK_BYTES, DIGEST_BYTES, FORMAT, KEY_BYTES, MAGIC, RECIPIENTS_MAX};
use crate::ports::{RecordKey, Snapshot};

/// What the header says beside what this room knows itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When it is made, as RFC 3339 has it.
    pub made: String,
    /// Version of the daemon.
    pub daemon: String,
    /// Tells root keys apart.
    pub root_key: [u8; 8],
}

/// A backup in the making. Nothing is kept of what was handed out: its memory does not grow with the store.
pub struct Backup {
    snapshot: Box<dyn Snapshot>,
    header: Header,
    chunks: Chunks,
    /// Handed out first.
    front: Option<Vec<u8>>,
    /// Plaintext that is not sealed yet; what lies before `taken` is.
    pending: SecretVec,
    taken: usize,
    /// Up to which record it is in `pending`.
    last: Option<RecordKey>,
    records: u64,
    /// Over the plaintext, for the manifest.
    content: Digest,
    /// Over the file, for its end.
    file: Digest,
    bytes: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There may be more records.
    Records,
    /// The manifest is in `pending`.
    Manifest,
    /// The last chunk was handed out.
    Sealed,
    /// The digest was.
    Ended,
}

/// What a backup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Records in it.
    pub records: u64,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the whole file, in hexadecimal.
    pub digest: String,
}

impl Backup {
    /// Begins a backup of this snapshot for these keys.
    ///
    /// # Errors
    /// [`BackupError`]; then nothing was made.
    pub fn begin(
        snapshot: Box<dyn Snapshot>,
        root_key: &SecretBytes,
        facts: Facts,
        recipients: &[PublicKey],
    ) -> Result<Self, BackupError> {
        if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
            return Err(BackupError::Recipients(recipients.len()));
        }
        let mut id = [0; 16];
        random::fill(&mut id)?;
        let file_key = SecretBytes::filled_by(KEY_BYTES, random::fill)?;
        let id = hex::shown(&id);
        let recipients = recipients
            .iter()
            .map(|to| Recipient::wrap(&id, to, &file_key))
            .collect::<Result<_, _>>()?;
        let header = Header {
            format: FORMAT,
            id,
            made: facts.made,
            daemon: facts.daemon,
            root_key: hex::shown(&facts.root_key),
            records: snapshot.records(),
            chunk_bytes: CHUNK_BYTES,
            recipients,
        };
        let mut front = MAGIC.to_vec();
        let text = serde_json::to_vec(&header).map_err(|_| BackupError::Crypto)?;
        let length = u32::try_from(text.len()).map_err(|_| BackupError::Crypto)?;
        front.extend_from_slice(&length.to_be_bytes());
        front.extend_from_slice(&text);
        let mac = header_mac(&file_key, &front)?;
        front.extend_from_slice(&mac);
        let mut backup = Self {
            snapshot,
            header,
            chunks: Chunks::new(&file_key, mac)?,
            front: Some(front),
            pending: SecretVec::with_capacity(CHUNK_BYTES)?,
            taken: 0,
            last: None,
            records: 0,
            content: Digest::new(Hash::Sha256)?,
            file: Digest::new(Hash::Sha256)?,
            bytes: 0,
            stage: Stage::Records,
        };
        root_key.with(|key| append(&mut backup.pending, &mut backup.content, key))?;
        Ok(backup)
    }

    /// What anybody may know of it.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How many records were handed out, or are about to be.
    #[must_use]
    pub const fn records_done(&self) -> u64 {
        self.records
    }

    /// Appends the next part of the file, at most a chunk or the header; false when there is none.
    ///
    /// # Errors
    /// [`BackupError`]; the file is then of no use.
    pub fn next_part(&mut self, out: &mut SecretVec) -> Result<bool, BackupError> {
        let start = out.len();
        if let Some(front) = self.front.take() {
            out.push_slice(&front)?;
        } else {
            match self.stage {
                Stage::Records | Stage::Manifest => self.next_chunk(out)?,
                Stage::Sealed => {
                    let digest = self.file.duplicate()?.finish()?;
                    out.push_slice(digest.as_ref())?;
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Ok(false),
            }
        }
        let part = out.expose().get(start..).unwrap_or_default();
        self.file.update(part)?;
        self.bytes += part.len() as u64;
        Ok(true)
    }

    /// What it came to.
    ///
    /// # Errors
    /// [`BackupError::Content`] before its end.
    pub fn report(self) -> Result<Report, BackupError> {
        if self.stage != Stage::Ended {
            return Err(BackupError::Content("it was not written to its end".into()));
        }
        let digest = self.file.finish()?;
        Ok(Report {
            records: self.records,
            bytes: self.bytes,
            digest: hex::shown(digest.as_ref()),
        })
    }

    fn next_chunk(&mut self, out: &mut SecretVec) -> Result<(), BackupError> {
        self.fill()?;
        let waiting = self.pending.expose().get(self.taken..).unwrap_or_default();
        let place = if self.stage == Stage::Manifest && waiting.len() <= PLAIN_BYTES {
            Place::Last
        } else {
            Place::Inner
        };
        let plaintext = &waiting[..waiting.len().min(PLAIN_BYTES)];
        self.taken += plaintext.len();
        self.chunks.seal(place, plaintext, out)?;
        if place == Place::Last {
            self.stage = Stage::Sealed;
        }
        Ok(())
    }

    /// Reads records until there is more than a chunk of them, so that it is known whether the next one is the last.
    fn fill(&mut self) -> Result<(), BackupError> {
        if self.stage != Stage::Records || self.pending.len() - self.taken > PLAIN_BYTES {
            return Ok(());
        }
        let (taken, length) = (self.taken, self.pending.len());
        self.pending.expose_mut().copy_within(taken.., 0);
        self.pending.truncate(length - taken);
        self.taken = 0;
        let Self {
            snapshot,
            pending,
            content,
            last,
            records,
            ..
        } = self;
        let mut appended = Ok(());
        let mut more = false;
        snapshot.scan(*last, &mut |key, sealed| {
            appended = entry(key, sealed, pending, content);
            *last = Some(key);
            *records += 1;
            more = pending.len() > PLAIN_BYTES;
            appended.is_ok() && !more
        })?;
        appended?;
        if !more {
            self.end()?;
        }
        Ok(())
    }

    /// The manifest, which says what must have come before it.
    fn end(&mut self) -> Result<(), BackupError> {
        if self.records != self.header.records {
            let (read, counted) = (self.records, self.header.records);
            return Err(BackupError::Content(format!(
                "the snapshot has {counted} records and {read} were read"
            )));
        }
        let mut manifest = vec![0];
        manifest.extend_from_slice(&self.records.to_be_bytes());
        append(&mut self.pending, &mut self.content, &manifest)?;
        let digest = self.content.duplicate()?.finish()?;
        debug_assert_eq!(digest.as_ref().len(), DIGEST_BYTES);
        self.pending.push_slice(digest.as_ref())?;
        self.stage = Stage::Manifest;
        Ok(())
    }
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Backup({})", self.header.id)
    }
}

/// A record: kind, token, object, length, sealed bytes.
fn entry(
    key: RecordKey,
    sealed: &[u8],
    pending: &mut SecretVec,
    content: &mut Digest,
) -> Result<(), BackupError> {
    let length = u32::try_from(sealed.len())
        .map_err(|_| BackupError::Content("a record has more than 4 GiB".into()))?;
    append(pending, content, &[key.kind as u8])?;
    append(pending, content, &key.token.to_be_bytes())?;
    append(pending, content, &key.object.to_be_bytes())?;
    append(pending, content, &length.to_be_bytes())?;
    append(pending, content, sealed)
}

fn append(pending: &mut SecretVec, content: &mut Digest, bytes: &[u8]) -> Result<(), BackupError> {
    content.update(bytes)?;
    Ok(pending.push_slice(bytes)?)
}
