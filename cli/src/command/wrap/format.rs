//! What `strongroom wrap` writes: docs/tde/wrap-format.md describes it for strangers.
//!
//! What lives here: the header, and the way between it and bytes.
//! What must never live here: a secret; the header has none.
//! Who calls it: `wrap` and `unwrap`.

use std::fmt::Write as _;

use crate::failure::Failure;
use crate::output;

/// How a key is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyName {
    /// Its CKA_LABEL.
    pub(super) label: Vec<u8>,
    /// Its CKA_ID; empty if it has none.
    pub(super) id: Vec<u8>,
}

impl KeyName {
    /// For messages.
    pub(super) fn shown(&self) -> String {
        let label = output::printable(&String::from_utf8_lossy(&self.label));
        if self.id.is_empty() {
            format!("\"{label}\" without id")
        } else {
            format!("\"{label}\" with id {}", hexadecimal(&self.id))
        }
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for byte in bytes {
        let _ = write!(shown, "{byte:02x}");
    }
    shown
}

/// What stands before the encrypted data, and is authenticated with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The key that wrapped.
    pub(super) key: KeyName,
    /// The initialisation vector.
    pub(super) iv: [u8; IV_BYTES],
}

impl Header {
    /// Its bytes.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the key's label or id is too long to be written.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(AES_GCM);
        for name in [&self.key.label, &self.key.id] {
            let length = u16::try_from(name.len())
                .ok()
                .filter(|_| name.len() <= NAME_BYTES_MAX)
                .ok_or_else(|| {
                    Failure::Failed(format!(
                        "the label or the id of the key is longer than {NAME_BYTES_MAX} bytes; give it a shorter one"
                    ))
                })?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(name);
        }
        bytes.extend_from_slice(&self.iv);
        Ok(bytes)
    }
}

/// Wrapped data, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrapped<'w> {
    /// The header.
    pub(super) header: Header,
    /// The header as it stands there: the additional data.
    pub(super) header_bytes: &'w [u8],
    /// The encrypted data with their tag.
    pub(super) sealed: &'w [u8],
}

/// Takes wrapped data apart. Whether they are as they were written is the key's to say.
///
/// # Errors
/// [`Failure::Failed`] says what is not as it is written.
pub(super) fn parse(bytes: &[u8]) -> Result<Wrapped<'_>, Failure> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(not_ours(bytes));
    };
    let mut rest = Rest(rest);
    let cut = || Failure::Failed("the wrapped data are cut off; nothing is unwrapped".into());
    match rest.take(1).ok_or_else(cut)? {
        [AES_GCM] => {}
        other => {
            return Err(Failure::Failed(format!(
                "the wrapped data name an algorithm that this release does not know ({}): they were changed, or a newer release wrapped them",
                hexadecimal(other)
            )));
        }
    }
    let mut name = || {
        let length = rest.take(2)?.try_into().ok().map(u16::from_be_bytes)?;
        rest.take(length.into())
    };
    let (label, id) = (name().ok_or_else(cut)?, name().ok_or_else(cut)?);
    if label.len().max(id.len()) > NAME_BYTES_MAX {
        return Err(Failure::Failed(
            "the wrapped data were changed: no key has so long a name".into(),
        ));
    }
    let iv = rest
        .take(IV_BYTES)
        .and_then(|iv| iv.try_into().ok())
        .ok_or_else(cut)?;
    let sealed = rest.0;
    if sealed.len() <= TAG_BYTES {
        return Err(cut());
    }
    let key = KeyName {
        label: label.to_vec(),
        id: id.to_vec(),
    };
    Ok(Wrapped {
        header: Header { key, iv },
        header_bytes: bytes.get(..bytes.len() - sealed.len()).unwrap_or(bytes),
        sealed,
    })
}

fn not_ours(bytes: &[u8]) -> Failure {
    let text = if MAGIC.starts_with(bytes) {
        "the wrapped data are cut off; nothing is unwrapped"
    } else if bytes.starts_with(MAGIC_ANY_VERSION) {
        "the wrapped data are of a format that this release does not know: they were changed, or a newer release wrapped them"
    } else {
        "this is not what strongroom wrap writes: its first line is missing"
    };
    Failure::Failed(text.into())
}

/// What is not read yet.
struct Rest<'r>(&'r [u8]);

impl<'r> Rest<'r> {
    fn take(&mut self, count: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

const MAGIC: &[u8] = b"strongroom wrap 1\n";
const MAGIC_ANY_VERSION: &[u8] = b"strongroom wrap ";
/// The one algorithm so far: AES-GCM.
const AES_GCM: u8 = 1;
/// What SP 800-38D recommends.
pub(super) const IV_BYTES: usize = 12;
/// The longest tag there is.
const TAG_BYTES: usize = 16;
/// Labels and ids have tens of bytes; a limit, so that no length in a changed header is believed.
const NAME_BYTES_MAX: usize = 1024;
/// A data key or a passphrase has tens of bytes; the limit lets nobody take this for a way to encrypt files.
pub(super) const SECRET_BYTES_MAX: usize = 65_536;
/// The longest that is written.
pub(super) const WRAPPED_BYTES_MAX: usize =
    MAGIC.len() + 1 + 2 * (2 + NAME_BYTES_MAX) + IV_BYTES + SECRET_BYTES_MAX + TAG_BYTES;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed unwrap is the failed assertion"
)]
mod tests {
    use super::*;

    fn wrapped(label: &[u8], id: &[u8]) -> (Header, Vec<u8>) {
        let key = KeyName {
            label: label.into(),
            id: id.into(),
        };
        let header = Header { key, iv: [9; 12] };
        let mut bytes = header.encode().unwrap();
        bytes.extend_from_slice(&[7; TAG_BYTES + 1]);
        (header, bytes)
    }

    #[test]
    fn the_bytes_are_those_of_the_document() {
        let (_, bytes) = wrapped(b"pg", &[1, 2, 3]);
        let expected = [
            &b"strongroom wrap 1\n\x01\0\x02pg\0\x03\x01\x02\x03"[..],
            &[9; 12],
            &[7; 17],
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn what_is_written_is_read() {
        for (label, id) in [
            (&b"pg"[..], &b"\x01"[..]),
            (b"", b""),
            (&[b'x'; 1024], &[0; 1024]),
        ] {
            let (header, bytes) = wrapped(label, id);
            let parsed = parse(&bytes).unwrap();
            assert_eq!(parsed.header, header);
            assert_eq!(parsed.sealed, [7; 17]);
            assert_eq!([parsed.header_bytes, parsed.sealed].concat(), bytes);
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_refused() {
        let (_, bytes) = wrapped(b"pg", &[1]);
        for length in 0..bytes.len() {
            let Failure::Failed(said) = parse(&bytes[..length]).unwrap_err() else {
                panic!("{length}");
            };
            assert!(said.contains("cut off"), "{length}: {said}");
        }
    }

    /// A changed header is refused here, or says something else than before, which the key refuses as additional data.
    #[test]
    fn no_changed_header_reads_as_before() {
        let (header, bytes) = wrapped(b"pg", &[1, 2]);
        let length = bytes.len() - 17;
        for bit in 0..length * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(parsed) = parse(&changed) {
                assert!(
                    parsed.header != header && parsed.header_bytes != &bytes[..length],
                    "{bit}"
                );
            }
        }
    }

    #[test]
    fn strangers_and_newer_formats_have_their_words() {
        for (bytes, word) in [
            (&b"-----BEGIN CMS-----"[..], "first line"),
            (b"strongroom wrap 2\n\x01", "newer release"),
            (b"strongroom wrap 1\n\x02", "algorithm"),
        ] {
            let said = parse(bytes).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
        let key = KeyName {
            label: vec![b'x'; 1025],
            id: Vec::new(),
        };
        assert!(Header { key, iv: [0; 12] }.encode().is_err());
    }
}
