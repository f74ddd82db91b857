//! Where the root key comes from.
//!
//! What lives here: the providers of the root key, and the files they keep.
//! What must never live here: what the root key opens; that is the vault of the token.
//! Who calls it: start-up, once.
//!
//! The providers are an enum: a trait comes with the second provider that is somebody else's.

mod key_file;
mod passphrase;
pub mod tpm;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use strongroom_crypto::password::Argon2Cost;
use strongroom_keymem::{OutOfMemory, SecretBytes, SecretVec};

use crate::store::sync_directory;
use crate::system;

pub use passphrase::COST as PASSPHRASE_COST;

/// Length of the root key in bytes: AES-256 and HKDF-SHA256 hang from it.
pub const ROOT_KEY_BYTES: usize = 32;

/// Where the root key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealProvider {
    /// It stands in a file of its own, which is made at the first start.
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// It is derived from a passphrase that stands in a file, for example a systemd credential.
    PassphraseFile {
        /// The file with the passphrase; a line feed at its end does not belong to it.
        path: PathBuf,
        /// The file with salt and cost, beside the store.
        salt: PathBuf,
        /// The cost of a new salt file.
        cost: Argon2Cost,
    },
}

/// Whether a store is there already. A root key may only be made for a store that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// There is none: this is the first start.
    Absent,
    /// There is one, and it needs the very key it was made with.
    Present,
}

impl SealProvider {
    /// The root key.
    ///
    /// # Errors
    /// [`SealError`] says which file, what is wrong and what to do.
    pub fn root_key(&self, store: StoreState) -> Result<SecretBytes, SealError> {
        match self {
            Self::KeyFile { path } => key_file::root_key(path, store),
            Self::PassphraseFile { path, salt, cost } => {
                passphrase::root_key(path, salt, *cost, store)
            }
        }
    }

    /// Makes this seal hold a root key that is given. Another one that is there is kept beside.
    ///
    /// # Errors
    /// [`SealError`]; then the seal is as it was.
    pub fn install(&self, root: &SecretBytes) -> Result<(), SealError> {
        match self {
            Self::KeyFile { path } => key_file::install(path, root),
            Self::PassphraseFile { path, .. } => Err(SealError::Malformed {
                path: path.clone(),
                expected: "something that can hold a root key: one derived from a passphrase cannot be chosen; restore with a key file",
            }),
        }
    }
}

impl fmt::Display for SealProvider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyFile { path } => write!(out, "key file {}", path.display()),
            Self::PassphraseFile { path, .. } => write!(out, "passphrase file {}", path.display()),
        }
    }
}

/// Why there is no root key.
#[derive(Debug)]
pub enum SealError {
    /// The store is there and the file without which it cannot be opened is not.
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or write the file.
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file belongs to another user.
    Owner {
        /// The file.
        path: PathBuf,
        /// That user.
        uid: u32,
    },
    /// The file is not what it should be.
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// Reading or writing failed.
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        error: io::Error,
    },
    /// No locked memory is left.
    Memory,
    /// The key could not be made.
    Crypto(strongroom_crypto::Error),
}

impl fmt::Display for SealError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(
                out,
                "the store exists but {} is missing; restore that file from a backup, nothing else opens the store",
                path.display()
            ),
            Self::Exposed { path, mode } => write!(
                out,
                "{} has mode {mode:04o}, so others may read or change it; run: chmod 600 {}",
                path.display(),
                path.display()
            ),
            Self::Owner { path, uid } => write!(
                out,
                "{} belongs to user {uid}; it must belong to the daemon's user or to root",
                path.display()
            ),
            Self::Malformed { path, expected } => {
                write!(out, "{} is not {expected}", path.display())
            }
            Self::Io { path, error } => write!(out, "cannot use {}: {error}", path.display()),
            Self::Memory => write!(
                out,
                "no locked memory is left for the root key; raise the limit of locked memory"
            ),
            Self::Crypto(error) => write!(out, "the root key could not be made: {error:?}"),
        }
    }
}

impl std::error::Error for SealError {}

impl From<OutOfMemory> for SealError {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

impl From<strongroom_crypto::Error> for SealError {
    fn from(error: strongroom_crypto::Error) -> Self {
        Self::Crypto(error)
    }
}

/// The content of a small file that only its owner may see, in locked memory; None when there is no file.
fn read_private(path: &Path) -> Result<Option<SecretVec>, SealError> {
    let failed = |error| SealError::Io {
        path: path.into(),
        error,
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let state = file.metadata().map_err(failed)?;
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
    let mut content = SecretVec::new();
    let room = content.grow(FILE_BYTES_MAX + 1)?;
    let mut filled = 0;
    loop {
        let (_, rest) = room.split_at_mut(filled);
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if filled > FILE_BYTES_MAX {
        return Err(SealError::Malformed {
            path: path.into(),
            expected: "a small file",
        });
    }
    content.truncate(filled);
    Ok(Some(content))
}

/// Writes a new file for the owner alone: whole and durable, or not at all.
fn write_private(path: &Path, content: &[u8]) -> Result<(), SealError> {
    let failed = |error| SealError::Io {
        path: path.into(),
        error,
    };
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
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
    std::fs::rename(&draft, path).map_err(failed)?;
    sync_directory(path).map_err(failed)
}

/// Longest file read here, in bytes: a passphrase of a page.
const FILE_BYTES_MAX: usize = 4096;
