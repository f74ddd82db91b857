//! The text form of keys and certificates (RFC 7468), and the binary one in its place.
//!
//! What lives here: finding the blocks of a file, and decoding them into locked memory.
//! What must never live here: what is in a block.
//! Who calls it: `open.rs`.

use base64ct::{Base64, Encoding};
use strongroom_keymem::SecretVec;

use super::error::FileError;

/// One block.
pub struct Block {
    /// What stands behind `BEGIN`.
    pub label: String,
    /// Whether it is encrypted in the way of old OpenSSL (RFC 1421), which is not DER any more.
    pub encrypted_text: bool,
    /// The line of `BEGIN`, from 1.
    pub line: usize,
    /// The bytes.
    pub der: SecretVec,
}

/// Whether there is a block at all.
#[must_use]
pub fn is_text(file: &[u8]) -> bool {
    file.windows(BEGIN.len()).any(|bytes| bytes == BEGIN)
}

/// All blocks of a file. Whatever stands between them is for people.
///
/// # Errors
/// [`FileError`] when a block has no end, or is no base64.
pub fn blocks(file: &[u8]) -> Result<Vec<Block>, FileError> {
    let mut blocks = Vec::new();
    let mut lines = file.split(|byte| *byte == b'\n').zip(1_usize..);
    while let Some((line, number)) = lines.next() {
        if let Some(label) = named(line, BEGIN) {
            blocks.push(block(label, number, &mut lines, file.len())?);
        }
    }
    Ok(blocks)
}

fn block<'f>(
    label: &str,
    line: usize,
    lines: &mut impl Iterator<Item = (&'f [u8], usize)>,
    bytes_max: usize,
) -> Result<Block, FileError> {
    let mut digits = SecretVec::with_capacity(bytes_max)?;
    let mut encrypted_text = false;
    for (text, _) in lines {
        let text = text.trim_ascii();
        if let Some(end) = named(text, END) {
            if end != label {
                return Err(FileError::Malformed(
                    "a block ends with another name than it began",
                ));
            }
            return Ok(Block {
                label: label.into(),
                encrypted_text,
                line,
                der: decoded(digits.expose())?,
            });
        }
        // Headers as in RFC 1421, which RFC 7468 has no more.
        if text.contains(&b':') {
            encrypted_text |= text.starts_with(b"DEK-Info") || text.starts_with(b"Proc-Type");
        } else {
            digits.push_slice(text)?;
        }
    }
    Err(FileError::Malformed("a block has no END line"))
}

fn decoded(digits: &[u8]) -> Result<SecretVec, FileError> {
    let mut der = SecretVec::with_capacity(digits.len() / 4 * 3 + 3)?;
    let room = der.grow(digits.len() / 4 * 3)?;
    let length = Base64::decode(digits, room)
        .map_err(|_| FileError::Malformed("a block is no base64"))?
        .len();
    der.truncate(length);
    Ok(der)
}

/// The name in a line of dashes.
fn named<'l>(line: &'l [u8], begins: &[u8]) -> Option<&'l str> {
    let name = line.trim_ascii().strip_prefix(begins)?;
    std::str::from_utf8(name.strip_suffix(b"-----")?).ok()
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "for people\n-----BEGIN ONE-----\r\nAAEC\r\nAw==\r\n-----END ONE-----\n\
                       -----BEGIN TWO-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n/w==\n-----END TWO-----";

    #[test]
    fn blocks_are_found_between_words() {
        crate::unlock::prepare().ok();
        let blocks = blocks(TWO.as_bytes()).unwrap();
        let found: Vec<_> = blocks
            .iter()
            .map(|block| {
                (
                    block.label.as_str(),
                    block.line,
                    block.encrypted_text,
                    block.der.expose(),
                )
            })
            .collect();
        let expected: [(&str, usize, bool, &[u8]); 2] =
            [("ONE", 2, false, &[0, 1, 2, 3]), ("TWO", 6, true, &[255])];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_cut_or_no_base64_is_refused() {
        crate::unlock::prepare().ok();
        for wrong in [
            "-----BEGIN A-----\nAAEC\n",
            "-----BEGIN A-----\nAAE\n-----END A-----",
            "-----BEGIN A-----\nAA*C\n-----END A-----",
            "-----BEGIN A-----\nAAEC\n-----END B-----",
        ] {
            assert!(blocks(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(blocks(b"nothing").unwrap().is_empty());
        assert!(!is_text(b"nothing"));
    }
}
