//! The root key in a file.
//!
//! What lives here: the format of the key file, read and written.
//! What must never live here: a second copy of the key outside locked memory.
//! Who calls it: the seal.

use std::path::Path;

use strongroom_crypto::random;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::{ROOT_KEY_BYTES, SealError, StoreState, read_private, write_private};

/// Reads the key, or makes it when there is no store yet.
pub(super) fn root_key(path: &Path, store: StoreState) -> Result<SecretBytes, SealError> {
    match (read_private(path)?, store) {
        (Some(content), _) => parse(path, content.expose()),
        (None, StoreState::Present) => Err(SealError::Missing { path: path.into() }),
        (None, StoreState::Absent) => make(path),
    }
}

fn make(path: &Path) -> Result<SecretBytes, SealError> {
    let key = SecretBytes::filled_by(ROOT_KEY_BYTES, |bytes| {
        random::fill(bytes).map_err(SealError::from)
    })?;
    write(path, &key)?;
    tracing::info!(key_file = %path.display(), "a root key was made; back this file up apart from the store");
    Ok(key)
}

/// Writes a key that is given; another one that is there is kept beside.
pub(super) fn install(path: &Path, key: &SecretBytes) -> Result<(), SealError> {
    if let Some(content) = read_private(path)? {
        let old = parse(path, content.expose())?;
        if old.with(|old| key.equals_in_constant_time(old)) {
            return Ok(());
        }
        let mut kept = path.as_os_str().to_owned();
        kept.push(".before-restore");
        write_private(Path::new(&kept), content.expose())?;
    }
    write(path, key)
}

fn write(path: &Path, key: &SecretBytes) -> Result<(), SealError> {
    let mut content = SecretVec::with_capacity(HEADER.len() + 2 * ROOT_KEY_BYTES + 1)?;
    content.push_slice(HEADER)?;
    key.with(|bytes| {
        bytes
            .iter()
            .try_for_each(|byte| content.push_slice(&hexadecimal(*byte)))
    })?;
    content.push_slice(b"\n")?;
    // Durable before the store exists: a store without its key is lost, a key without a store is nothing.
    write_private(path, content.expose())
}

fn parse(path: &Path, content: &[u8]) -> Result<SecretBytes, SealError> {
    let malformed = || SealError::Malformed {
        path: path.into(),
        expected: "a root key file of Strongroom (its first line, \"strongroom root key v1\", or the 64 digits after it are damaged)",
    };
    let digits = content.strip_prefix(HEADER).ok_or_else(malformed)?;
    let digits = digits.strip_suffix(b"\n").unwrap_or(digits);
    if digits.len() != 2 * ROOT_KEY_BYTES {
        return Err(malformed());
    }
    SecretBytes::filled_by(ROOT_KEY_BYTES, |key| {
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = byte_of(pair).ok_or_else(malformed)?;
        }
        Ok(())
    })
}

fn hexadecimal(byte: u8) -> [u8; 2] {
    [digit(byte >> 4), digit(byte & 0xf)]
}

// No tables: which cache line is read would depend on the key.
fn digit(value: u8) -> u8 {
    let letter = u8::from(value > 9);
    b'0' + value + letter * (b'a' - b'0' - 10)
}

fn byte_of(pair: &[u8]) -> Option<u8> {
    match pair {
        [high, low] => Some(value_of(*high)? << 4 | value_of(*low)?),
        _ => None,
    }
}

fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

const HEADER: &[u8] = b"strongroom root key v1\n";
