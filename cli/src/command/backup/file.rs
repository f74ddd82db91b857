//! The file of a backup in the making.
//!
//! What lives here: a draft that becomes the file only once the disk gave back what was written, and that replaces nothing.
//! What must never live here: what is in it. Of the primitives only the digest is used, which needs no key.
//! Who calls it: `strongroom backup`.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use strongroom_crypto::digest::{Digest, Hash};

use crate::failure::Failure;
use crate::system;

/// A draft; removed again unless it was put in place.
pub(super) struct BackupFile {
    path: PathBuf,
    draft: PathBuf,
    file: File,
    in_place: bool,
}

impl BackupFile {
    /// Makes the draft beside where the file shall be.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            return Err(there(path));
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        let draft = PathBuf::from(draft);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::Failed(format!(
                    "{} is there: another backup is being written, or was interrupted; remove it if none is",
                    draft.display()
                )),
                _ => Failure::file("make", &draft, &error),
            })?;
        Ok(Self {
            path: path.into(),
            draft,
            file,
            in_place: false,
        })
    }

    /// Appends a part.
    pub(super) fn write(&mut self, part: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(part)
            .map_err(|error| Failure::file("write", &self.draft, &error))
    }

    /// Brings it to the disk, reads it back, compares it with what the daemon sent, and gives it its name.
    pub(super) fn put_in_place(mut self, bytes: u64, digest: &str) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::file("write", &self.draft, &error);
        self.file.sync_all().map_err(failed)?;
        // A file system that does not follow is none that makes the check worthless: it only comes from the cache then.
        let _ = system::forget_cached(&self.file);
        let (read, found) = digest_of(&self.draft)
            .map_err(|error| Failure::file("read back", &self.draft, &error))?;
        if read != bytes || found != digest {
            return Err(Failure::Failed(format!(
                "{} does not hold what was written to it ({read} of {bytes} bytes, SHA-256 {found} instead of {digest}); the disk or the memory is not to be trusted, and no backup was made",
                self.draft.display()
            )));
        }
        self.name()?;
        self.in_place = true;
        Ok(())
    }

    /// A link does not replace what is there; where the file system has no links, a rename after a look must do.
    fn name(&self) -> Result<(), Failure> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => there(&self.path),
            _ => Failure::file("make", &self.path, &error),
        };
        match std::fs::hard_link(&self.draft, &self.path) {
            Ok(()) => std::fs::remove_file(&self.draft).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            Err(_) if self.path.exists() => return Err(there(&self.path)),
            Err(_) => std::fs::rename(&self.draft, &self.path).map_err(failed)?,
        }
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }
}

impl Drop for BackupFile {
    fn drop(&mut self) {
        if !self.in_place {
            // Half a backup is none; that it could not be removed is told by the next one.
            let _ = std::fs::remove_file(&self.draft);
        }
    }
}

fn there(path: &Path) -> Failure {
    Failure::Failed(format!(
        "{} is there already; a backup replaces nothing, name another file",
        path.display()
    ))
}

fn digest_of(path: &Path) -> io::Result<(u64, String)> {
    let other = |error: strongroom_crypto::Error| io::Error::other(error.to_string());
    let mut file = File::open(path)?;
    let mut digest = Digest::new(Hash::Sha256).map_err(other)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut bytes = 0;
    loop {
        let count = match file.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&block[..count]).map_err(other)?;
        bytes += count as u64;
    }
    let digest = digest.finish().map_err(other)?;
    let mut shown = String::new();
    for byte in digest.as_ref() {
        let _ = write!(shown, "{byte:02x}");
    }
    Ok((bytes, shown))
}

const BLOCK_BYTES: usize = 64 << 10;
