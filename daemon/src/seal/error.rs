//! Why there is no root key.
//!
//! What lives here: the one error of the seal, and its words.
//! What must never live here: a secret, or a part of one.
//! Who calls it: everything in this room.

use std::fmt;
use std::io;
use std::path::PathBuf;

use strongroom_keymem::OutOfMemory;

use super::tpm::TpmError;

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
    /// The envelope is not as it was written.
    Altered {
        /// The file.
        path: PathBuf,
        /// What shows it.
        what: &'static str,
    },
    /// The envelope has a format that this version does not know.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// The TPM does not do it.
    Tpm(TpmError),
    /// A secret was given and is not the one of this seal.
    Wrong(String),
    /// A secret is not there: what it is, and where it would come from.
    Absent(String),
    /// What was asked for cannot be.
    Unfit(String),
}

impl fmt::Display for SealError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(
                out,
                "the store exists but {} is missing; restore that file (or root.seal, where the store had one) from a backup, nothing else opens the store",
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
            Self::Altered { path, what } => write!(
                out,
                "{} was changed or damaged: {what}; restore that file from a backup",
                path.display()
            ),
            Self::Newer { path, format } => write!(
                out,
                "{} is of format {format}, which this version does not know; use the version that wrote it",
                path.display()
            ),
            Self::Tpm(error) => write!(out, "{error}"),
            Self::Wrong(what) | Self::Absent(what) | Self::Unfit(what) => out.write_str(what),
        }
    }
}

impl std::error::Error for SealError {}

impl From<OutOfMemory> for SealError {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

impl From<TpmError> for SealError {
    fn from(error: TpmError) -> Self {
        Self::Tpm(error)
    }
}

impl From<strongroom_crypto::Error> for SealError {
    fn from(error: strongroom_crypto::Error) -> Self {
        if error == strongroom_crypto::Error::Memory {
            Self::Memory
        } else {
            Self::Crypto(error)
        }
    }
}
