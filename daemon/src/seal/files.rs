//! Small files that only their owner may see.
//!
//! What lives here: reading them into locked memory, and writing them whole and durable.
//! What must never live here: what stands in them.
//! Who calls it: the key file, the passphrase and the envelope.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use strongroom_keymem::SecretVec;

use super::SealError;
use crate::store::sync_directory;
use crate::system;

/// The content of a small file that only its owner may see, in locked memory; None when there is no file.
pub(super) fn read_private(path: &Path) -> Result<Option<SecretVec>, SealError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    let state = file.metadata().map_err(|error| failed(path, error))?;
    if state.mode() & 0o077 != 0 {
        return Err(SealError::Exposed {
            path: path.into(),
            mode: state.mode() & 0o7777,
        });
    }
    if ![0, system::effective_user()].contains(&state.uid()) {
        return Err(SealError::Owner {
            path: path.into(),
            uid: state.uid(),
        });
    }
    read_all(path, &mut file).map(Some)
}

/// Everything that comes, up to a page, into locked memory; `path` is for the error.
pub(super) fn read_all(path: &Path, input: &mut impl Read) -> Result<SecretVec, SealError> {
    let mut content = SecretVec::new();
    let room = content.grow(FILE_BYTES_MAX + 1)?;
    let mut filled = 0;
    loop {
        let (_, rest) = room.split_at_mut(filled);
        match input.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(path, error)),
        }
    }
    if filled > FILE_BYTES_MAX {
        return Err(SealError::Malformed {
            path: path.into(),
            expected: "a small file",
        });
    }
    content.truncate(filled);
    Ok(content)
}

/// Writes a file for the owner alone: whole and durable, or not at all.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), SealError> {
    write_draft(path, content)?;
    put_in_place(path)
}

/// Writes what [`put_in_place`] puts in the place of `path`: durable, and not in force yet.
pub(super) fn write_draft(path: &Path, content: &[u8]) -> Result<PathBuf, SealError> {
    let draft = draft_of(path);
    let failed = |error| failed(&draft, error);
    // A draft left by a crash was never in force.
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(draft)
}

/// Puts the draft in the place of `path`, in one step.
pub(super) fn put_in_place(path: &Path) -> Result<(), SealError> {
    std::fs::rename(draft_of(path), path).map_err(|error| failed(path, error))?;
    sync_directory(path).map_err(|error| failed(path, error))
}

/// Keeps a file under a second name too; a file of that name is replaced.
pub(super) fn keep_as(path: &Path, name: &Path) -> Result<(), SealError> {
    match std::fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(name, error)),
        _ => {}
    }
    std::fs::hard_link(path, name).map_err(|error| failed(name, error))
}

/// Overwrites a file and removes it. File systems that copy on write, and the cells of a flash disk, may keep what stood there.
pub(super) fn destroy(path: &Path) -> Result<(), SealError> {
    let failed = |error| failed(path, error);
    let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let zeros = vec![0; usize::try_from(length).unwrap_or(0).min(FILE_BYTES_MAX)];
    file.write_all(&zeros).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::remove_file(path).map_err(failed)?;
    sync_directory(path).map_err(failed)
}

fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    draft.into()
}

pub(super) fn failed(path: &Path, error: io::Error) -> SealError {
    SealError::Io {
        path: path.into(),
        error,
    }
}

/// Longest file read here, in bytes: a passphrase of a page; an envelope with the blob of a TPM.
const FILE_BYTES_MAX: usize = 16 << 10;
