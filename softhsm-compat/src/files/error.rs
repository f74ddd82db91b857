//! What is wrong with a file.
//!
//! What lives here: the ways in which a file is not what it should be, in words.
//! What must never live here: a byte of the file.
//! Who calls it: every format.

use std::fmt;

use strongroom_keymem::OutOfMemory;

use crate::unlock::UnlockError;

/// Why a file, or a part of one, is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// It has not the form: what was read, and what is wrong with it.
    Malformed(&'static str),
    /// It did not open: the password is wrong, or the file was changed. The two look the same.
    Password,
    /// It is well-formed and something that is not read here: what, and what to do.
    Unsupported(String),
    /// There is no locked memory left, or the library refused.
    Resources,
}

impl fmt::Display for FileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(out, "it is damaged or cut off: {what}"),
            Self::Password => out.write_str("the password is wrong, or the file was changed"),
            Self::Unsupported(what) => out.write_str(what),
            Self::Resources => out.write_str("there is not enough locked memory to read it"),
        }
    }
}

impl std::error::Error for FileError {}

impl From<OutOfMemory> for FileError {
    fn from(_: OutOfMemory) -> Self {
        Self::Resources
    }
}

impl From<UnlockError> for FileError {
    fn from(error: UnlockError) -> Self {
        match error {
            UnlockError::Wrong | UnlockError::Malformed => Self::Malformed("a value did not open"),
            UnlockError::Resources => Self::Resources,
        }
    }
}
