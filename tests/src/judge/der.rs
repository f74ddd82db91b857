//! Just enough DER to read a private key and write a point.
//!
//! What lives here: reading elements one after the other, and writing one.
//! What must never live here: meaning of what is read.
//! Who calls it: the other judges and the tests of wrapped keys.

/// Splits the first element off: tag, content, rest.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn element(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (tag, first) = (bytes[0], usize::from(bytes[1]));
    let (length, start) = if first < 0x80 {
        (first, 2)
    } else {
        let count = first & 0x7f;
        let length = bytes[2..2 + count]
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        (length, 2 + count)
    };
    (tag, &bytes[start..start + length], &bytes[start + length..])
}

/// The elements of a sequence, as tag and content.
///
/// # Panics
/// When `bytes` is no sequence.
#[must_use]
pub fn sequence(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let (tag, mut content, _) = element(bytes);
    assert_eq!(tag, 0x30, "a SEQUENCE");
    let mut elements = Vec::new();
    while !content.is_empty() {
        let (tag, inner, rest) = element(content);
        elements.push((tag, inner));
        content = rest;
    }
    elements
}

/// One element.
#[must_use]
pub fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(length as u8);
    } else if length < 0x100 {
        bytes.extend([0x81, length as u8]);
    } else {
        bytes.extend([0x82, (length >> 8) as u8, length as u8]);
    }
    bytes.extend_from_slice(content);
    bytes
}

/// A positive INTEGER without its leading zero.
#[must_use]
pub fn magnitude(content: &[u8]) -> Vec<u8> {
    let start = content
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(content.len());
    content[start..].to_vec()
}
