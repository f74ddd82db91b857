//! Backups: a whole store and its root key in one file that only the holder of a private key opens.
//!
//! What lives here: the form of the file and of its keys, writing and reading it. docs/backup-format.md describes both for strangers.
//! What must never live here: a file, a socket or a terminal; bytes go out in parts and come in through [`Source`]. What a record says.
//! Who calls it: the vault begins a backup, because it alone has the root key; the daemon hands the parts on, and reads them at a restore.
//!
//! ```text
//! file key (random) ── HPKE (RFC 9180) to each recipient's public key
//!        ├─ header key ── HMAC-SHA256 over everything before the chunks
//!        └─ chunk key ─── AES-256-GCM chunks: root key, records, manifest
//! ```
//!
//! A backup to shares is a backup to a key pair whose private half was split: so there is one kind of recipient.

mod error;
mod header;
mod key;
mod read;
mod stream;
#[cfg(test)]
mod tests;
mod write;

pub use error::BackupError;
pub use header::{Header, Recipient};
pub use key::{Identity, IdentityFile, PublicKey, Split};
pub use read::{Manifest, SeeRecord, Whole, check_digest, open, read_header};
pub use write::{Backup, Facts, Report};

use crate::ports::StoreError;

/// Where the bytes of a backup come from.
pub trait Source {
    /// Fills as much of `out` as there is; zero at the end only.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, StoreError>;
}

impl Source for &[u8] {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, StoreError> {
        let count = out.len().min(self.len());
        let (now, later) = self.split_at(count);
        out[..count].copy_from_slice(now);
        *self = later;
        Ok(count)
    }
}

/// The first line of every backup.
pub const MAGIC: &[u8; 20] = b"strongroom backup 1\n";
/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;
/// Length of a sealed chunk; the last one may be shorter. With its tag it fills pages exactly, and its plaintext fits the locked pool.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Most recipients of one backup.
pub const RECIPIENTS_MAX: usize = 32;
/// Longest header: thirty-two recipients take a quarter of it.
const HEADER_BYTES_MAX: usize = 64 << 10;
const TAG_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
const DIGEST_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
