//! PINs of SoftHSM's tokens, and what they open.
//!
//! What lives here: from a PIN to the key of the token, and from that key to the clear values of a private object.
//! What must never live here: clear values outside locked memory.
//! Who calls it: the importer.

use std::fmt;

use strongroom_crypto::block::{BlockCipher, BlockKey, Cipher, Direction, Mode};
use strongroom_crypto::digest::{Hash, digest};
use strongroom_keymem::{Config, Locking, OutOfMemory, SecretVec};

/// Why a PIN or a value did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnlockError {
    /// It is not the PIN, or what it should open was damaged: the two look the same.
    Wrong,
    /// What should be opened has not the form.
    Malformed,
    /// There is no locked memory left, or the library refused.
    Resources,
}

impl fmt::Display for UnlockError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Wrong => "it is not opened by this PIN",
            Self::Malformed => "it has not the form of an encrypted value",
            Self::Resources => "there is not enough locked memory to open it",
        })
    }
}

impl std::error::Error for UnlockError {}

impl From<OutOfMemory> for UnlockError {
    fn from(_: OutOfMemory) -> Self {
        Self::Resources
    }
}

impl From<strongroom_crypto::Error> for UnlockError {
    fn from(error: strongroom_crypto::Error) -> Self {
        if error == strongroom_crypto::Error::Memory {
            Self::Resources
        } else {
            Self::Wrong
        }
    }
}

/// Takes the locked memory of this process, as much as it may have; where nothing can be locked it goes on in memory that is kept from
/// dumps, because the keys come from a disk and this process lives for a moment.
///
/// # Errors
/// In words, when there is no memory at all.
pub fn prepare() -> Result<(), String> {
    strongroom_keymem::start(&Config {
        bytes: None,
        locking: Locking::DangerUnlockedAllowed,
    })
    .map_err(|error| error.to_string())?;
    strongroom_crypto::start().map_err(|error| error.to_string())
}

/// The key under which the values of a token's private objects are encrypted.
#[derive(Debug)]
pub struct TokenKey(BlockKey);

impl TokenKey {
    /// Opens the sealed key with a PIN: 8 bytes of salt, an initialisation vector, and AES-256 in CBC over three bytes that say
    /// whether the PIN was right, and the key.
    ///
    /// # Errors
    /// [`UnlockError`].
    pub fn unseal(sealed: &[u8], pin: &[u8]) -> Result<Self, UnlockError> {
        let (salt, encrypted) = sealed.split_first_chunk().ok_or(UnlockError::Malformed)?;
        let mut opened = SecretVec::with_capacity(64)?;
        decrypt(&pin_key(salt, pin)?, encrypted, &mut opened)?;
        match opened.expose().strip_prefix(MAGIC) {
            Some(key) if key.len() == 32 => Ok(Self(BlockKey::new(BlockCipher::Aes, key)?)),
            _ => Err(UnlockError::Wrong),
        }
    }

    /// Appends the clear form of a value. An empty one was stored as it is.
    ///
    /// # Errors
    /// [`UnlockError`].
    pub fn open(&self, encrypted: &[u8], out: &mut SecretVec) -> Result<(), UnlockError> {
        if encrypted.is_empty() {
            return Ok(());
        }
        decrypt(&self.0, encrypted, out)
    }
}

/// What stands before the key, so that a wrong PIN is told from a right one.
const MAGIC: &[u8] = b"RJR";
/// How often the PIN is hashed at least; the last byte of the salt is added.
const HASHES_BASE: u32 = 1500;

/// SHA-256 over salt and PIN, and over its own result again and again.
fn pin_key(salt: &[u8; 8], pin: &[u8]) -> Result<BlockKey, UnlockError> {
    let mut first = SecretVec::with_capacity(salt.len() + pin.len())?;
    first.push_slice(salt)?;
    first.push_slice(pin)?;
    let mut key = digest(Hash::Sha256, first.expose())?;
    for _ in 1..HASHES_BASE + u32::from(salt[7]) {
        key = digest(Hash::Sha256, key.as_ref())?;
    }
    Ok(BlockKey::new(BlockCipher::Aes, key.as_ref())?)
}

/// An initialisation vector, and AES in CBC with PKCS #7 padding.
fn decrypt(key: &BlockKey, encrypted: &[u8], out: &mut SecretVec) -> Result<(), UnlockError> {
    let (iv, encrypted) = encrypted
        .split_first_chunk::<16>()
        .ok_or(UnlockError::Malformed)?;
    if encrypted.is_empty() || !encrypted.len().is_multiple_of(16) {
        return Err(UnlockError::Malformed);
    }
    let mut cipher = Cipher::new(key, Mode::CbcPad { iv }, Direction::Decrypt)?;
    out.reserve(encrypted.len())?;
    cipher.update(encrypted, out)?;
    Ok(cipher.finish(out)?)
}
