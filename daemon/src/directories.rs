//! Directories, and the lock that keeps a second daemon out.
//!
//! What lives here: making directories for the owner alone, and the lock file in the directory of the store.
//! What must never live here: files with content.
//! Who calls it: start-up.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::Configuration;
use crate::seal::SealProvider;
use crate::system;

/// Why a directory cannot be used.
#[derive(Debug)]
pub enum DirectoryError {
    /// It cannot be made or read.
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the file system says.
        error: io::Error,
    },
    /// Others may write into it, and so replace what the daemon keeps there.
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another daemon uses it.
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the other daemon wrote about itself: its process.
        owner: String,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(out, "cannot use {}: {error}", path.display()),
            Self::Exposed { path, mode } => write!(
                out,
                "{} has mode {mode:04o}, so others may replace the files in it; run: chmod go-w {}",
                path.display(),
                path.display()
            ),
            Self::InUse { path, owner } => write!(
                out,
                "another strongroomd (process {owner}) already uses {}; one store serves one daemon",
                path.display()
            ),
        }
    }
}

impl std::error::Error for DirectoryError {}

/// Makes every directory of the configuration that is missing; answers which were, with those above them.
///
/// # Errors
/// [`DirectoryError`] names the directory.
pub fn prepare(configuration: &Configuration) -> Result<Vec<PathBuf>, DirectoryError> {
    let missing = missing(configuration);
    make_all(configuration)?;
    Ok(missing)
}

fn missing(configuration: &Configuration) -> Vec<PathBuf> {
    let key = match &configuration.seal.direct {
        SealProvider::KeyFile { path } => path.parent(),
        SealProvider::PassphraseFile { .. } => None,
    };
    let wanted = [
        Some(configuration.data_directory()),
        configuration.journal.parent(),
        key,
        configuration.socket.parent(),
        configuration.admin_socket.parent(),
    ];
    let with_those_above = wanted.into_iter().flatten().flat_map(Path::ancestors);
    let mut missing: Vec<PathBuf> = with_those_above
        .filter(|directory| !directory.exists())
        .map(PathBuf::from)
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

fn make_all(configuration: &Configuration) -> Result<(), DirectoryError> {
    make(configuration.data_directory(), PRIVATE)?;
    refuse_exposed(configuration.data_directory())?;
    let key = match &configuration.seal.direct {
        SealProvider::KeyFile { path } => path.parent(),
        SealProvider::PassphraseFile { .. } => None,
    };
    for directory in [configuration.journal.parent(), key].into_iter().flatten() {
        make(directory, PRIVATE)?;
    }
    // Other users reach a socket that is open to them only when they may pass through its directory.
    let runtime_mode = if configuration.socket_mode & 0o077 == 0 {
        PRIVATE
    } else {
        PASSABLE
    };
    if let Some(directory) = configuration.socket.parent() {
        make(directory, runtime_mode)?;
    }
    if let Some(directory) = configuration.admin_socket.parent() {
        make(directory, PRIVATE)?;
    }
    // The fence lets the daemon read what lies there: a configuration that is written later can be loaded. Without the directory
    // there is none yet, and where it cannot be made a start will be needed for it.
    if let Some(directory) = configuration.file_place.parent() {
        let _ = make(directory, PRIVATE);
    }
    Ok(())
}

/// Makes the directory of a file, for the owner alone, unless it is there.
///
/// # Errors
/// [`DirectoryError`] names the directory.
pub fn prepare_for(file: &Path) -> Result<(), DirectoryError> {
    file.parent()
        .map_or(Ok(()), |directory| make(directory, PRIVATE))
}

fn make(directory: &Path, mode: u32) -> Result<(), DirectoryError> {
    if directory.is_dir() {
        return Ok(());
    }
    let failed = |error| DirectoryError::Io {
        path: directory.into(),
        error,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory)
        .map_err(failed)?;
    if mode != PRIVATE {
        // The mask of file modes has taken the rights of others away.
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode))
            .map_err(failed)?;
    }
    Ok(())
}

fn refuse_exposed(directory: &Path) -> Result<(), DirectoryError> {
    let state = std::fs::metadata(directory).map_err(|error| DirectoryError::Io {
        path: directory.into(),
        error,
    })?;
    if state.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(DirectoryError::Exposed {
            path: directory.into(),
            mode: state.mode() & 0o7777,
        })
    }
}

/// The right to be the only daemon on a store; it ends with the process, however that ends.
#[derive(Debug)]
pub struct StoreLock {
    /// The lock (flock(2)) lives as long as this file is open.
    _file: File,
}

impl StoreLock {
    /// Takes the right.
    ///
    /// # Errors
    /// [`DirectoryError::InUse`] when another daemon has it.
    pub fn take(directory: &Path) -> Result<Self, DirectoryError> {
        let path = directory.join("strongroomd.lock");
        let failed = |error| DirectoryError::Io {
            path: path.clone(),
            error,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Who it is, is a courtesy: the refusal stands without it.
                let _ = file.take(20).read_to_string(&mut owner);
                let owner = owner.trim().to_owned();
                return Err(DirectoryError::InUse {
                    path: directory.into(),
                    owner,
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Whether a user may administer: the daemon's own, and root.
#[must_use]
pub fn may_administer(uid: u32) -> bool {
    uid == 0 || uid == system::effective_user()
}

const PRIVATE: u32 = 0o700;
const PASSABLE: u32 = 0o711;
