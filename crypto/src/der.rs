//! What lives here: the few DER elements that AWS-LC does not write for us.
//!
//! What must never live here: reading; `ffi/der.rs` has AWS-LC do it.
//!
//! Who calls it: `ec.rs` and `dh.rs`, for encodings of keys.

/// An element of its parts.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [header(tag, content.len()), content].concat()
}

/// An INTEGER that is not negative, of its big-endian bytes without zeros in front.
pub(crate) fn integer(magnitude: &[u8]) -> Vec<u8> {
    element(INTEGER, &[sign(magnitude), magnitude])
}

/// The byte that keeps a number from being read as a negative one, where it needs it.
pub(crate) fn sign(magnitude: &[u8]) -> &'static [u8] {
    match magnitude.first() {
        Some(0..0x80) => &[],
        _ => &[0],
    }
}

/// What stands before a content of so many bytes.
pub(crate) fn header(tag: u8, content_bytes: usize) -> Vec<u8> {
    let bytes = content_bytes.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let significant = bytes.get(zeros..).unwrap_or_default();
    match (content_bytes, u8::try_from(significant.len())) {
        (0..0x80, _) | (_, Err(_)) => vec![tag, bytes[bytes.len() - 1]],
        (_, Ok(count)) => [&[tag, 0x80 | count], significant].concat(),
    }
}

/// Tag of an INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// Tag of a BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;
/// Tag of an OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Tag of a SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_their_shortest_form() {
        assert_eq!(header(4, 0x7f), [4, 0x7f]);
        assert_eq!(header(4, 0x80), [4, 0x81, 0x80]);
        assert_eq!(header(4, 0x100), [4, 0x82, 1, 0]);
        assert_eq!(integer(&[0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[]), [2, 1, 0]);
    }
}
