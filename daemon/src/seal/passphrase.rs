//! The root key derived from a passphrase.
//!
//! What lives here: the salt file, and the derivation by Argon2id (RFC 9106).
//! What must never live here: PINs; those are the vault's.
//! Who calls it: the seal.

use std::path::Path;

use serde::{Deserialize, Serialize};
use strongroom_crypto::password::{Argon2Cost, argon2id};
use strongroom_crypto::random;
use strongroom_keymem::SecretBytes;

use super::{ROOT_KEY_BYTES, SealError, StoreState, read_private, write_private};

/// The cost of a derivation: once a start, so it may be felt. The first choice of RFC 9106, 4, for machines with little memory.
pub const COST: Argon2Cost = Argon2Cost {
    memory_kib: 64 << 10,
    passes: 3,
    lanes: 4,
};

/// Reads the passphrase and derives the key with the salt beside the store; makes the salt when there is no store yet.
pub(super) fn root_key(
    path: &Path,
    salt_path: &Path,
    cost: Argon2Cost,
    store: StoreState,
) -> Result<SecretBytes, SealError> {
    let content = read_private(path)?.ok_or_else(|| SealError::Io {
        path: path.into(),
        error: std::io::ErrorKind::NotFound.into(),
    })?;
    let passphrase = without_line_end(content.expose());
    if passphrase.len() < PASSPHRASE_BYTES_MIN {
        return Err(SealError::Malformed {
            path: path.into(),
            expected: "a passphrase of at least 12 bytes",
        });
    }
    let salt_file = match (read_private(salt_path)?, store) {
        (Some(content), _) => SaltFile::parse(salt_path, content.expose())?,
        (None, StoreState::Present) => {
            return Err(SealError::Missing {
                path: salt_path.into(),
            });
        }
        (None, StoreState::Absent) => SaltFile::make(salt_path, cost)?,
    };
    let salt = salt_file.salt(salt_path)?;
    SecretBytes::filled_by(ROOT_KEY_BYTES, |key| {
        argon2id(passphrase, &salt, &[], salt_file.cost(), key).map_err(SealError::from)
    })
}

/// `root.salt`. No secret; without it the passphrase opens nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaltFile {
    format: u32,
    derivation: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

impl SaltFile {
    fn make(path: &Path, cost: Argon2Cost) -> Result<Self, SealError> {
        let mut salt = [0; SALT_BYTES];
        random::fill(&mut salt)?;
        let file = Self {
            format: FORMAT,
            derivation: DERIVATION.into(),
            memory_kib: cost.memory_kib,
            passes: cost.passes,
            lanes: cost.lanes,
            salt: salt.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let mut content = serde_json::to_vec(&file).map_err(|error| SealError::Io {
            path: path.into(),
            error: error.into(),
        })?;
        content.push(b'\n');
        write_private(path, &content)?;
        tracing::info!(salt_file = %path.display(), "a salt was made; back this file up with the store");
        Ok(file)
    }

    fn parse(path: &Path, content: &[u8]) -> Result<Self, SealError> {
        let malformed = |expected| SealError::Malformed {
            path: path.into(),
            expected,
        };
        let file: Self =
            serde_json::from_slice(content).map_err(|_| malformed("a salt file of Strongroom"))?;
        if file.format != FORMAT || file.derivation != DERIVATION {
            return Err(malformed("a salt file of this version of Strongroom"));
        }
        if file.memory_kib > MEMORY_KIB_MAX || file.passes > PASSES_MAX || file.lanes > LANES_MAX {
            return Err(malformed(
                "a salt file with a cost that this machine can pay",
            ));
        }
        Ok(file)
    }

    fn cost(&self) -> Argon2Cost {
        Argon2Cost {
            memory_kib: self.memory_kib,
            passes: self.passes,
            lanes: self.lanes,
        }
    }

    fn salt(&self, path: &Path) -> Result<[u8; SALT_BYTES], SealError> {
        let malformed = || SealError::Malformed {
            path: path.into(),
            expected: "a salt file with a salt of 32 hexadecimal digits",
        };
        let mut salt = [0; SALT_BYTES];
        if self.salt.len() != 2 * SALT_BYTES || !self.salt.is_ascii() {
            return Err(malformed());
        }
        for (byte, pair) in salt.iter_mut().zip(self.salt.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        }
        Ok(salt)
    }
}

/// Editors and `echo` end a file with a line feed; it is not meant to belong to the passphrase.
fn without_line_end(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// Shortest passphrase in bytes: whoever has the disk may try passphrases at leisure, unlike PINs.
const PASSPHRASE_BYTES_MIN: usize = 12;
/// Length of the salt in bytes (RFC 9106, 3.1: 16 are recommended).
const SALT_BYTES: usize = 16;
const FORMAT: u32 = 1;
const DERIVATION: &str = "argon2id";
/// Bounds of a cost that is read from disk: an edited file must not take the machine down.
const MEMORY_KIB_MAX: u32 = 4 << 20;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 64;
