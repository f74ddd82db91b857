//! Keys from passphrases.
//!
//! What lives here: the derivation by Argon2id (RFC 9106), and the salt file of a root key that is derived directly.
//! What must never live here: PINs; those are the vault's.
//! Who calls it: the seal.

use std::path::Path;

use serde::{Deserialize, Serialize};
use strongroom_crypto::hex;
use strongroom_crypto::password::{Argon2Cost, argon2id};
use strongroom_crypto::random;
use strongroom_keymem::SecretBytes;

use super::files::{read_private, write_private};
use super::{ROOT_KEY_BYTES, SealError, StoreState};

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
    if !is_long_enough(passphrase) {
        return Err(SealError::Malformed {
            path: path.into(),
            expected: "a passphrase of at least 12 bytes",
        });
    }
    let stretch = match (read_private(salt_path)?, store) {
        (Some(content), _) => SaltFile::parse(salt_path, content.expose())?,
        (None, StoreState::Present) => {
            return Err(SealError::Missing {
                path: salt_path.into(),
            });
        }
        (None, StoreState::Absent) => SaltFile::make(salt_path, cost)?,
    };
    stretch.key(passphrase)
}

/// How a passphrase is stretched. No secret; without it the passphrase opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    derivation: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

impl Stretch {
    /// A new salt with a cost.
    pub(super) fn make(cost: Argon2Cost) -> Result<Self, SealError> {
        let mut salt = [0; SALT_BYTES];
        random::fill(&mut salt)?;
        Ok(Self {
            derivation: DERIVATION.into(),
            memory_kib: cost.memory_kib,
            passes: cost.passes,
            lanes: cost.lanes,
            salt: hex::shown(&salt),
        })
    }

    /// Whether it can be computed here; the text says what is expected.
    pub(super) fn accept(&self) -> Result<(), &'static str> {
        if self.derivation != DERIVATION {
            return Err("a salt file of this version of Strongroom");
        }
        if self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX || self.lanes > LANES_MAX {
            return Err("a salt file with a cost that this machine can pay");
        }
        if hex::parsed::<SALT_BYTES>(self.salt.as_bytes()).is_none() {
            return Err("a salt file with a salt of 32 hexadecimal digits");
        }
        Ok(())
    }

    /// The key that a passphrase gives.
    pub(super) fn key(&self, passphrase: &[u8]) -> Result<SecretBytes, SealError> {
        let unfit = |expected: &str| SealError::Unfit(format!("the salt is not {expected}"));
        self.accept().map_err(unfit)?;
        let salt: [u8; SALT_BYTES] =
            hex::parsed(self.salt.as_bytes()).ok_or_else(|| unfit("hexadecimal"))?;
        let cost = Argon2Cost {
            memory_kib: self.memory_kib,
            passes: self.passes,
            lanes: self.lanes,
        };
        SecretBytes::filled_by(ROOT_KEY_BYTES, |key| {
            argon2id(passphrase, &salt, &[], cost, key).map_err(SealError::from)
        })
    }
}

/// `root.salt`.
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
    fn make(path: &Path, cost: Argon2Cost) -> Result<Stretch, SealError> {
        let stretch = Stretch::make(cost)?;
        let file = Self {
            format: FORMAT,
            derivation: stretch.derivation.clone(),
            memory_kib: stretch.memory_kib,
            passes: stretch.passes,
            lanes: stretch.lanes,
            salt: stretch.salt.clone(),
        };
        let mut content = serde_json::to_vec(&file).map_err(|error| SealError::Io {
            path: path.into(),
            error: error.into(),
        })?;
        content.push(b'\n');
        write_private(path, &content)?;
        tracing::info!(salt_file = %path.display(), "a salt was made; back this file up with the store");
        Ok(stretch)
    }

    fn parse(path: &Path, content: &[u8]) -> Result<Stretch, SealError> {
        let malformed = |expected| SealError::Malformed {
            path: path.into(),
            expected,
        };
        let file: Self =
            serde_json::from_slice(content).map_err(|_| malformed("a salt file of Strongroom"))?;
        if file.format != FORMAT {
            return Err(malformed("a salt file of this version of Strongroom"));
        }
        let stretch = Stretch {
            derivation: file.derivation,
            memory_kib: file.memory_kib,
            passes: file.passes,
            lanes: file.lanes,
            // Those of before took capital digits, too.
            salt: file.salt.to_ascii_lowercase(),
        };
        stretch.accept().map_err(malformed)?;
        Ok(stretch)
    }
}

/// Editors and `echo` end a file with a line feed; it is not meant to belong to the passphrase.
pub(super) fn without_line_end(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// Whether a passphrase may be used for something new.
pub(super) fn is_long_enough(passphrase: &[u8]) -> bool {
    passphrase.len() >= PASSPHRASE_BYTES_MIN
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
