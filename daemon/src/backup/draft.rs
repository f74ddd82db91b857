//! The store that a backup becomes, before it is in force.
//!
//! What lives here: writing it in steps of bounded size, reading it back, opening it.
//! What must never live here: where it goes.
//! Who calls it: restoring and checking.

use std::path::Path;
use std::sync::Arc;

use strongroom::backup::{BackupError, Identity, Whole, open};
use strongroom::ports::{Change, RecordKey, RecordKind, Store, StoreError};
use strongroom::vault::Vault;
use strongroom_crypto::digest::{Digest, Hash};
use strongroom_keymem::SecretBytes;

use super::files::BackupFile;
use super::restore::{CheckedToken, RestoreError};
use crate::config::Configuration;
use crate::store::RedbStore;

/// Reads a backup to its end.
pub(super) fn check(file: &Path, identity: &Identity) -> Result<Whole, RestoreError> {
    let mut source = BackupFile::open(file, "checking")?;
    Ok(open(&mut source, identity, &mut |_, _| Ok(()))?)
}

/// A store that was written and read back.
pub(super) struct Draft(RedbStore);

impl Draft {
    /// Writes the records of a backup that was checked, and reads back what the disk has of them.
    pub(super) fn write(
        path: &Path,
        file: &Path,
        identity: &Identity,
        checked: &Whole,
    ) -> Result<Self, RestoreError> {
        let store = RedbStore::open(path)?;
        let mut source = BackupFile::open(file, "writing")?;
        let mut batch = Batch::default();
        let mut sent = Digest::new(Hash::Sha256).map_err(BackupError::from)?;
        let whole = open(&mut source, identity, &mut |key, sealed| {
            count(&mut sent, key, sealed)?;
            batch.add(key, sealed);
            if batch.is_full() {
                batch.commit(&store)?;
            }
            Ok(())
        })?;
        batch.commit(&store)?;
        if whole.manifest != checked.manifest {
            return Err(RestoreError::Refused(
                "the file of the backup was changed while it was read; nothing was restored".into(),
            ));
        }
        let mut kept = Digest::new(Hash::Sha256).map_err(BackupError::from)?;
        let mut counted = Ok(());
        store.snapshot()?.scan(None, &mut |key, sealed| {
            counted = count(&mut kept, key, sealed);
            counted.is_ok()
        })?;
        counted?;
        let (sent, kept) = (
            sent.finish().map_err(BackupError::from)?,
            kept.finish().map_err(BackupError::from)?,
        );
        if sent.as_ref() != kept.as_ref() {
            return Err(RestoreError::Store(StoreError::Failed(format!(
                "{} does not hold what was written to it; the disk is not to be trusted",
                path.display()
            ))));
        }
        Ok(Self(store))
    }

    /// Opens it as the daemon would, with the census of every token, and tells what it found.
    pub(super) fn tokens(
        self,
        root_key: &SecretBytes,
        configuration: &Configuration,
    ) -> Result<Vec<CheckedToken>, RestoreError> {
        let store: Arc<dyn Store> = Arc::new(self.0);
        let vault = Vault::open(
            Arc::clone(&store),
            root_key.duplicate()?,
            configuration.pin_cost,
        )?;
        let mut tokens = Vec::new();
        for token in vault.tokens() {
            let state = token.state(&configuration.limits);
            let mut objects = 0;
            store.scan(RecordKind::Metadata, state.number, &mut |_, _| {
                objects += 1;
                true
            })?;
            tokens.push(CheckedToken {
                label: printable(&state.label),
                serial_number: state.serial_number,
                objects,
            });
        }
        Ok(tokens)
    }
}

/// Labels are chosen by applications: control characters must not reach a terminal.
fn printable(label: &[u8]) -> String {
    let label = String::from_utf8_lossy(label);
    let shown = |letter: char| {
        if letter.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            letter
        }
    };
    label.trim_end().chars().map(shown).collect()
}

fn count(digest: &mut Digest, key: RecordKey, sealed: &[u8]) -> Result<(), BackupError> {
    digest.update(&[key.kind as u8])?;
    for number in [key.token, key.object, sealed.len() as u64] {
        digest.update(&number.to_be_bytes())?;
    }
    Ok(digest.update(sealed)?)
}

/// Records of one commit: one sync of the disk for many, and no more memory than for these.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, key: RecordKey, sealed: &[u8]) {
        self.bytes += sealed.len();
        self.changes.push(Change::Put(key, sealed.to_vec()));
    }

    const fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.changes.len() >= BATCH_RECORDS
    }

    fn commit(&mut self, store: &RedbStore) -> Result<(), StoreError> {
        store.commit(&self.changes)?;
        self.changes.clear();
        self.bytes = 0;
        Ok(())
    }
}

const BATCH_BYTES: usize = 4 << 20;
const BATCH_RECORDS: usize = 4_096;
