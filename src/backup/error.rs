//! *What lives here:* why a backup was not made or not read, each reason with its own name. *What must never live here:* a secret.
//! *Who calls it:* the rest of this room; the daemon shows it.

use std::fmt;

use strongroom_keymem::OutOfMemory;

use crate::ports::StoreError;

/// Why a backup was not made or not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupError {
    /// The file does not begin as a backup does.
    NotABackup,
    /// It was written by a newer version, in this format.
    FormatNewer(u32),
    /// The header cannot be read.
    Header(String),
    /// The header was changed after it was written.
    HeaderChanged,
    /// The key is none of those the backup was made for.
    OtherRecipients {
        /// The public key of the key that was given, in short.
        given: String,
        /// Those the backup was made for.
        needed: Vec<String>,
    },
    /// The wrapped key does not open although the right private key was given.
    WrappedKeyChanged,
    /// A chunk does not open in its place.
    Chunk {
        /// Which one, counted from one.
        number: u64,
        /// What became of it, as far as it can be told.
        what: String,
    },
    /// The file ends too early.
    CutOff {
        /// The last chunk that is whole.
        after: u64,
    },
    /// The digest at the end is not that of the file.
    Digest,
    /// What was inside is not what the manifest says: a defect, not a forgery.
    Content(String),
    /// The text of a key is none.
    Key(String),
    /// The passphrase of the private key is another one.
    Passphrase,
    /// The configuration allows other recipients only.
    NotAllowed(String),
    /// No recipient, or too many.
    Recipients(usize),
    /// Reading or writing failed.
    Store(StoreError),
    /// Locked memory is used up.
    Memory,
    /// A primitive failed where it should not.
    Crypto,
}

impl fmt::Display for BackupError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABackup => out.write_str("this is no backup of Strongroom: its first line is another one, or was changed"),
            Self::FormatNewer(format) => write!(
                out,
                "the backup is of format {format}, this version reads {} only; use the version that made it, or a newer one",
                super::FORMAT
            ),
            Self::Header(what) => write!(out, "the header of the backup cannot be read: {what}"),
            Self::HeaderChanged => out.write_str("the header of the backup was changed after it was written"),
            Self::OtherRecipients { given, needed } => write!(
                out,
                "the backup was not made for the key {given}; it opens with the private half of: {}",
                needed.join(", ")
            ),
            Self::WrappedKeyChanged => out.write_str("the key inside the header was changed: this private key is right and opens nothing there"),
            Self::Chunk { number, what } => write!(out, "chunk {number} of the backup does not open: {what}"),
            Self::CutOff { after } => write!(out, "the backup was cut off behind chunk {after}; its end is missing"),
            Self::Digest => out.write_str("the backup is damaged: the digest at its end is not that of the file; take another copy"),
            Self::Content(what) => write!(out, "the backup opens but contradicts itself ({what}); please report this"),
            Self::Key(what) => write!(out, "this is no key for backups: {what}"),
            Self::Passphrase => out.write_str("the passphrase of the private key is wrong"),
            Self::NotAllowed(key) => write!(
                out,
                "the configuration lists the keys that backups are made for (backup.recipients), and {key} is not among them"
            ),
            Self::Recipients(count) => write!(
                out,
                "a backup is made for 1 to {} public keys, not for {count}; name one with --to, or in the configuration (backup.recipients)",
                super::RECIPIENTS_MAX
            ),
            Self::Store(error) => fmt::Display::fmt(error, out),
            Self::Memory => out.write_str("the locked memory is used up; raise its size"),
            Self::Crypto => out.write_str("a cryptographic primitive failed; please report this"),
        }
    }
}

impl std::error::Error for BackupError {}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<OutOfMemory> for BackupError {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

impl From<strongroom_crypto::Error> for BackupError {
    fn from(error: strongroom_crypto::Error) -> Self {
        match error {
            strongroom_crypto::Error::Memory => Self::Memory,
            _ => Self::Crypto,
        }
    }
}
