//! What lives here: hexadecimal digits, of what is no secret and of what is.
//!
//! What must never live here: a table that a secret indexes.
//!
//! Who calls it: the backups and the administration of the token, the seal of the daemon.

use strongroom_keymem::{OutOfMemory, SecretBytes, SecretVec};

/// The lower-case digits of bytes that are no secret: they lie in ordinary memory.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of exactly `N` pairs of lower-case digits, which are no secret.
#[must_use]
pub fn parsed<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = byte_of(pair)?;
    }
    Some(bytes)
}

/// Appends the lower-case digits of a secret.
///
/// # Errors
/// [`OutOfMemory`] of locked memory.
pub fn push_secret(secret: &SecretBytes, out: &mut SecretVec) -> Result<(), OutOfMemory> {
    secret.with(|bytes| {
        bytes
            .iter()
            .try_for_each(|byte| out.push_slice(&[digit(byte >> 4), digit(byte & 0xf)]))
    })
}

/// The secret of exactly `length` pairs of lower-case digits; None where they are anything else.
///
/// # Errors
/// [`OutOfMemory`] of locked memory.
pub fn secret_parsed(digits: &[u8], length: usize) -> Result<Option<SecretBytes>, OutOfMemory> {
    if digits.len() != 2 * length {
        return Ok(None);
    }
    let mut whole = true;
    let secret = SecretBytes::filled_by(length, |bytes| {
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let parsed = byte_of(pair);
            whole &= parsed.is_some();
            *byte = parsed.unwrap_or(0);
        }
        Ok::<_, OutOfMemory>(())
    })?;
    Ok(whole.then_some(secret))
}

// No tables: which cache line is read would depend on the secret.
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
        _ => None,
    }
}
