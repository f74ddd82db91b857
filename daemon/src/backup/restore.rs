//! Restoring a backup.
//!
//! What lives here: the order of things, so that a crash anywhere leaves what was there, or the whole of what was restored.
//! What must never live here: the form of a backup.
//! Who calls it: the command that restores, and start-up, which ends what a crash interrupted.
//!
//! 1. The backup is read to its end and found whole. Nothing has been written.
//! 2. It is written into a draft beside the store, which is read back, compared, and opened with its root key and census.
//! 3. A note is written that says what shall happen. From here on start-up knows of the restore.
//! 4. The root key is sealed. This is the moment at which the restore is done or not: at a start, a draft that opens with what the seal
//!    gives is put in place, and another one is thrown away.
//! 5. The store that was there is set aside, the draft takes its name, the journal gets its line, the note is removed.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom::backup::{BackupError, Header, Manifest, read_header};
use strongroom::ports::{Clock, StoreError};
use strongroom::vault::{Vault, VaultError};
use strongroom_crypto::shamir::ShareError;
use strongroom_keymem::{OutOfMemory, SecretBytes};

use super::draft::{self, Draft};
use super::files::{BackupFile, beside, write_new};
use super::identity::IdentitySource;
use super::record::{self, Seen};
use crate::clock::SystemClock;
use crate::config::Configuration;
use crate::directories::{self, DirectoryError, StoreLock};
use crate::seal::{Envelope, Opening, SealError};
use crate::store::{RedbStore, io_failure, sync_directory};

/// Where to restore to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'c> {
    /// The configuration of the daemon that will serve it.
    pub configuration: &'c Configuration,
    /// Whether a store that is there may be set aside.
    pub replace: bool,
}

impl<'c> Target<'c> {
    /// The place of a configuration.
    #[must_use]
    pub const fn of(configuration: &'c Configuration, replace: bool) -> Self {
        Self {
            configuration,
            replace,
        }
    }
}

/// A backup that was found whole and right.
#[derive(Debug)]
pub struct Checked {
    /// What anybody may know of it.
    pub header: Header,
    /// What it holds.
    pub manifest: Manifest,
    /// Its tokens.
    pub tokens: Vec<CheckedToken>,
}

/// A token in a backup.
#[derive(Debug)]
pub struct CheckedToken {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial_number: String,
    /// Its objects.
    pub objects: u64,
}

/// A backup that lies checked beside the store, and is not in force.
#[derive(Debug)]
pub struct Prepared<'c> {
    configuration: &'c Configuration,
    /// What was found in it.
    pub checked: Checked,
    root_key: SecretBytes,
    note: Note,
    _lock: StoreLock,
}

/// What shall happen, for a start after a crash.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    format: u32,
    /// The id of the backup.
    backup: String,
    /// The beginning of the id of its root key.
    root_key: String,
    /// What the store that was there shall be called; none when there was none.
    keep: Option<PathBuf>,
}

/// Reads, checks and writes the draft: steps 1 and 2.
///
/// # Errors
/// [`RestoreError`]; then nothing has changed.
pub fn prepare<'c>(
    target: &Target<'c>,
    file: &Path,
    source: &IdentitySource,
) -> Result<Prepared<'c>, RestoreError> {
    let configuration = target.configuration;
    let store = &configuration.store;
    let header = read_header(&mut BackupFile::open(file, "reading")?)?;
    directories::prepare(configuration)?;
    let lock = StoreLock::take(configuration.data_directory())?;
    if note_path(store).exists() {
        return Err(RestoreError::Refused(format!(
            "an earlier restore was interrupted ({}); start the daemon once, it finishes or undoes it",
            note_path(store).display()
        )));
    }
    let keep = match std::fs::metadata(store) {
        Ok(state) if state.len() > 0 && !target.replace => {
            return Err(RestoreError::StoreThere(store.clone()));
        }
        Ok(state) if state.len() > 0 => Some(beside(store, &set_aside())),
        _ => None,
    };
    let identity = source.identity(&header)?;
    let whole = draft::check(file, &identity)?;
    let path = draft_path(store);
    remove_draft(store)?;
    let written = Draft::write(&path, file, &identity, &whole);
    let tokens = match written.and_then(|draft| draft.tokens(&whole.root_key, configuration)) {
        Ok(tokens) => tokens,
        Err(error) => {
            // The reason is told; a draft that cannot be removed is removed by the next restore.
            let _ = remove_draft(store);
            return Err(error);
        }
    };
    let note = Note {
        format: NOTE_FORMAT,
        backup: whole.header.id.clone(),
        root_key: whole.header.root_key.clone(),
        keep,
    };
    Ok(Prepared {
        configuration,
        checked: Checked {
            header: whole.header,
            manifest: whole.manifest,
            tokens,
        },
        root_key: whole.root_key,
        note,
        _lock: lock,
    })
}

/// All of [`prepare`] in a directory of its own that is removed again: what can be known of a backup without restoring it.
///
/// # Errors
/// [`RestoreError`] says what is wrong with it.
pub(super) fn rehearse(
    file: &Path,
    source: &IdentitySource,
    scratch: &Path,
    configuration: &Configuration,
) -> Result<Checked, RestoreError> {
    let header = read_header(&mut BackupFile::open(file, "reading")?)?;
    let identity = source.identity(&header)?;
    let whole = draft::check(file, &identity)?;
    let scratch = Scratch::make(scratch)?;
    let draft = Draft::write(&scratch.0.join("store"), file, &identity, &whole)?;
    let tokens = draft.tokens(&whole.root_key, configuration)?;
    Ok(Checked {
        header: whole.header,
        manifest: whole.manifest,
        tokens,
    })
}

impl Prepared<'_> {
    /// What the store that was there will be called.
    #[must_use]
    pub fn kept(&self) -> Option<&Path> {
        self.note.keep.as_deref()
    }

    /// Step 3: writes the note.
    ///
    /// # Errors
    /// [`RestoreError`]; nothing of what is in force has changed.
    pub fn mark(&self) -> Result<(), RestoreError> {
        let path = note_path(&self.configuration.store);
        let text = serde_json::to_vec(&self.note)
            .map_err(|error| RestoreError::Refused(format!("the note cannot be made: {error}")))?;
        // Whole or not there: a note that was cut off by a crash must not stop a start.
        let new = beside(&path, ".new");
        remove(&new)?;
        write_new(&new, 0o600, &text)
            .and_then(|()| std::fs::rename(&new, &path))
            .and_then(|()| sync_directory(&path))
            .map_err(|error| failed("write", &path, &error))
    }

    /// Step 4: seals the root key. When that fails the restore is undone.
    ///
    /// # Errors
    /// [`RestoreError::Seal`].
    pub fn seal(&self) -> Result<(), RestoreError> {
        self.configuration
            .seal
            .install(&self.root_key)
            .map_err(|error| {
                // What cannot be removed is thrown away by the next start.
                let _ = undo(&self.configuration.store);
                RestoreError::Seal(error)
            })
    }

    /// Step 5: puts the draft in place.
    ///
    /// # Errors
    /// [`RestoreError`]; the next start does what is left.
    pub fn finish(self) -> Result<(), RestoreError> {
        put_in_place(self.configuration, &Seen::Open(&self.root_key), &self.note)
    }
}

/// What a start found of a restore that was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// Nothing, or it was undone, or finished.
    No,
    /// It was finished, while the store cannot be seen: that it may be older than the journal knows is still to be accepted.
    FinishedUnseen,
}

/// What a start does about a restore that was interrupted: finishes it when the seal holds its root key, and undoes it otherwise.
///
/// # Errors
/// [`RestoreError`]; nothing is thrown away then.
pub fn finish_interrupted(
    configuration: &Configuration,
    opening: &Opening,
) -> Result<Interrupted, RestoreError> {
    let store = &configuration.store;
    let path = note_path(store);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            remove_draft(store)?;
            return Ok(Interrupted::No);
        }
        Err(error) => return Err(failed("read", &path, &error)),
    };
    let note: Note = serde_json::from_slice(&text).map_err(|_| {
        RestoreError::Refused(format!(
            "{} is no note of an interrupted restore that this version reads; if you did not restore anything, remove it",
            path.display()
        ))
    })?;
    let (holds, seen) = match opening {
        Opening::Open(root_key) => (opens(configuration, root_key)?, Seen::Open(root_key)),
        // The key waits for people; the envelope says which one it is.
        Opening::Sealed(_) => {
            let envelope =
                Envelope::read(&configuration.seal.envelope).map_err(RestoreError::Seal)?;
            let holds =
                envelope.is_some_and(|envelope| envelope.root_key_id().starts_with(&note.root_key));
            (holds, Seen::Sealed)
        }
    };
    if !holds {
        tracing::warn!(backup = %note.backup, "a restore was interrupted before its root key was sealed; it is undone");
        undo(store)?;
        return Ok(Interrupted::No);
    }
    tracing::warn!(backup = %note.backup, "a restore was interrupted after its root key was sealed; it is finished");
    put_in_place(configuration, &seen, &note)?;
    Ok(match seen {
        Seen::Open(_) => Interrupted::No,
        Seen::Sealed => Interrupted::FinishedUnseen,
    })
}

/// Whether the draft, if it is still one, opens with this key.
fn opens(configuration: &Configuration, root_key: &SecretBytes) -> Result<bool, RestoreError> {
    let draft = draft_path(&configuration.store);
    if !draft.exists() {
        return Ok(true);
    }
    let draft = Arc::new(RedbStore::open(&draft)?);
    match Vault::open(draft, root_key.duplicate()?, configuration.pin_cost) {
        Ok(_) => Ok(true),
        Err(VaultError::WrongRootKey) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Each part may have been done before.
fn put_in_place(
    configuration: &Configuration,
    seen: &Seen<'_>,
    note: &Note,
) -> Result<(), RestoreError> {
    let store = &configuration.store;
    let draft = draft_path(store);
    if draft.exists() {
        if let Some(keep) = &note.keep
            && store.exists()
        {
            std::fs::rename(store, keep).map_err(|error| failed("set aside", store, &error))?;
        }
        std::fs::rename(&draft, store)
            .and_then(|()| sync_directory(store))
            .map_err(|error| failed("put in place", store, &error))?;
    }
    record::restored(configuration, seen, &note.backup)?;
    remove(&note_path(store))
}

/// Throws away draft and note.
fn undo(store: &Path) -> Result<(), RestoreError> {
    remove_draft(store)?;
    remove(&note_path(store))
}

/// A store that was not whole yet has another name.
fn remove_draft(store: &Path) -> Result<(), RestoreError> {
    let draft = draft_path(store);
    remove(&beside(&draft, ".new"))?;
    remove(&draft)
}

fn remove(path: &Path) -> Result<(), RestoreError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_directory(path).map_err(|error| failed("remove", path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path, &error)),
    }
}

fn draft_path(store: &Path) -> PathBuf {
    beside(store, ".restoring")
}

fn note_path(store: &Path) -> PathBuf {
    beside(store, ".restore")
}

/// What a store that is set aside is called: with the second, so that several have names.
fn set_aside() -> String {
    format!(".before-restore-{}", SystemClock.now().0 / 1_000)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> RestoreError {
    RestoreError::Store(io_failure(&format!("{what} {}", path.display()), error))
}

/// A directory that is removed with all that is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn make(place: &Path) -> Result<Self, RestoreError> {
        let path = place.join(format!("strongroom-verify-{}", std::process::id()));
        // Not recursive: what is there already belongs to somebody else.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| failed("make", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Sealed records without their root key: what stays tells nobody anything.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Why nothing was restored.
#[derive(Debug)]
pub enum RestoreError {
    /// The backup, or its key.
    Backup(BackupError),
    /// A directory.
    Directory(DirectoryError),
    /// It cannot be done so.
    Refused(String),
    /// The seal.
    Seal(SealError),
    /// The shares.
    Share(ShareError),
    /// One line of a file of shares.
    ShareInFile {
        /// Which share, counted from one.
        place: usize,
        /// What is wrong.
        error: ShareError,
    },
    /// A file.
    Store(StoreError),
    /// There is a store.
    StoreThere(PathBuf),
    /// What was restored does not open.
    Vault(VaultError),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backup(error) => fmt::Display::fmt(error, out),
            Self::Directory(error @ DirectoryError::InUse { .. }) => {
                write!(out, "{error}; stop it first: strongroom stop")
            }
            Self::Directory(error) => fmt::Display::fmt(error, out),
            Self::Refused(what) => out.write_str(what),
            Self::Seal(error) => write!(
                out,
                "the root key cannot be sealed here, nothing was restored: {error}"
            ),
            Self::Share(error) => fmt::Display::fmt(error, out),
            Self::ShareInFile { place, error } => write!(out, "share {place} of the file: {error}"),
            Self::Store(error) => fmt::Display::fmt(error, out),
            Self::StoreThere(path) => write!(
                out,
                "there is a store already, {}; restore elsewhere (--home DIR), or say --replace-store, which keeps it under another name",
                path.display()
            ),
            Self::Vault(error) => write!(out, "the store of the backup does not open: {error}"),
        }
    }
}

impl std::error::Error for RestoreError {}

macro_rules! from {
    ($($kind:ident($error:ty),)*) => {
        $(impl From<$error> for RestoreError {
            fn from(error: $error) -> Self {
                Self::$kind(error)
            }
        })*
    };
}

from! {
    Backup(BackupError),
    Directory(DirectoryError),
    Store(StoreError),
    Vault(VaultError),
}

impl From<strongroom_crypto::Error> for RestoreError {
    fn from(error: strongroom_crypto::Error) -> Self {
        Self::Backup(error.into())
    }
}

impl From<OutOfMemory> for RestoreError {
    fn from(_: OutOfMemory) -> Self {
        Self::Backup(BackupError::Memory)
    }
}

const NOTE_FORMAT: u32 = 1;
