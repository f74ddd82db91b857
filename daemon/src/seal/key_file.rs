//! A key in a file: the root key itself, or the key of an envelope.
//!
//! What lives here: the formats of key files, read and written.
//! What must never live here: a second copy of the key outside locked memory.
//! Who calls it: the seal.

use std::path::Path;

use strongroom_crypto::hex;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::files::{read_private, write_private};
use super::{ROOT_KEY_BYTES, SealError, StoreState};

/// Reads the key, or makes it when there is no store yet.
pub(super) fn root_key(path: &Path, store: StoreState) -> Result<SecretBytes, SealError> {
    match (read_private(path)?, store) {
        (Some(content), _) => parse(path, content.expose()),
        (None, StoreState::Present) => Err(SealError::Missing { path: path.into() }),
        (None, StoreState::Absent) => make(path),
    }
}

fn make(path: &Path) -> Result<SecretBytes, SealError> {
    let key = super::random_key()?;
    // Durable before the store exists: a store without its key is lost, a key without a store is nothing.
    write(path, HEADER, &key)?;
    tracing::info!(key_file = %path.display(), "a root key was made; back this file up apart from the store");
    Ok(key)
}

/// Writes the root key itself.
pub(super) fn write_root_key(path: &Path, root: &SecretBytes) -> Result<(), SealError> {
    write(path, HEADER, root)
}

fn write(path: &Path, header: &[u8], key: &SecretBytes) -> Result<(), SealError> {
    let mut content = SecretVec::with_capacity(header.len() + 2 * ROOT_KEY_BYTES + 1)?;
    content.push_slice(header)?;
    hex::push_secret(key, &mut content)?;
    content.push_slice(b"\n")?;
    write_private(path, content.expose())
}

/// The key of an envelope: what stands in the file, whichever of its forms it has; None when there is no file.
pub(super) fn envelope_key(path: &Path) -> Result<Option<SecretBytes>, SealError> {
    let Some(content) = read_private(path)? else {
        return Ok(None);
    };
    let bytes = content.expose();
    let key = if bytes.len() == ROOT_KEY_BYTES {
        SecretBytes::copy_from(bytes)?
    } else if bytes.starts_with(HEADER) {
        parse(path, bytes)?
    } else {
        let malformed = || SealError::Malformed {
            path: path.into(),
            expected: "a key file (32 bytes as they are, or a first line, \"strongroom seal key v1\", and 64 hexadecimal digits)",
        };
        let digits = bytes.strip_prefix(SEAL_HEADER).ok_or_else(malformed)?;
        parse_digits(digits, malformed)?
    };
    Ok(Some(key))
}

/// Makes a key file for an envelope, and tells its key.
pub(super) fn make_envelope_key(path: &Path) -> Result<SecretBytes, SealError> {
    let key = super::random_key()?;
    write(path, SEAL_HEADER, &key)?;
    tracing::info!(key_file = %path.display(), "a key file was made for the seal; back this file up apart from the store");
    Ok(key)
}

fn parse(path: &Path, content: &[u8]) -> Result<SecretBytes, SealError> {
    let malformed = || SealError::Malformed {
        path: path.into(),
        expected: "a root key file of Strongroom (its first line, \"strongroom root key v1\", or the 64 digits after it are damaged)",
    };
    parse_digits(
        content.strip_prefix(HEADER).ok_or_else(malformed)?,
        malformed,
    )
}

/// Digits of either case, as people and other tools write them.
fn parse_digits(
    digits: &[u8],
    malformed: impl Fn() -> SealError,
) -> Result<SecretBytes, SealError> {
    let digits = digits.strip_suffix(b"\n").unwrap_or(digits);
    let mut lower = SecretVec::with_capacity(digits.len())?;
    lower.push_slice(digits)?;
    lower.expose_mut().make_ascii_lowercase();
    hex::secret_parsed(lower.expose(), ROOT_KEY_BYTES)?.ok_or_else(malformed)
}

const HEADER: &[u8] = b"strongroom root key v1\n";
const SEAL_HEADER: &[u8] = b"strongroom seal key v1\n";
