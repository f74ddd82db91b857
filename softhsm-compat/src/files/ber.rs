//! BER, as far as files of keys use it.
//!
//! What lives here: a reader that borrows, takes lengths of both kinds and strings in pieces, and never believes a length; and the few bytes of DER that
//! are written.
//! What must never live here: what a structure means.
//! Who calls it: every format but JWK.
//!
//! DER would not be enough: NSS writes PKCS #12 files with indefinite lengths.

use std::ops::Deref;

use strongroom_keymem::SecretVec;

use super::error::FileError;

/// X.690: the tags that are used here. Those of constructed types have the bit 0x20. `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub const OCTET_STRING: u8 = 0x04;
/// `NULL`.
pub const NULL: u8 = 0x05;
/// `OBJECT IDENTIFIER`.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// `BMPString`.
pub const BMP_STRING: u8 = 0x1e;
/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// `SET`.
pub const SET: u8 = 0x31;

/// The tag of a context-specific constructed element.
#[must_use]
pub const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Structures within structures: files of keys have about ten.
const DEPTH_MAX: u8 = 32;

/// One element.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    /// Its tag.
    pub tag: u8,
    /// What is in it.
    pub content: &'a [u8],
    /// It as it stands, with tag and length.
    pub whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements in it.
    #[must_use]
    pub const fn elements(&self) -> Reader<'a> {
        Reader(self.content)
    }

    /// The bytes of a string, which may lie there in pieces (X.690, 8.7.3).
    ///
    /// # Errors
    /// [`FileError`].
    pub fn octets(&self) -> Result<Octets<'a>, FileError> {
        if self.tag & CONSTRUCTED == 0 {
            return Ok(Octets::Whole(self.content));
        }
        let mut joined = SecretVec::with_capacity(self.content.len())?;
        join(*self, DEPTH_MAX, &mut joined)?;
        Ok(Octets::Joined(joined))
    }

    /// A number that is not negative, without leading zeros; zero has no bytes.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn integer(&self) -> Result<&'a [u8], FileError> {
        match self.content {
            [] => Err(FileError::Malformed("a number without digits")),
            [first, ..] if first & 0x80 != 0 => Err(FileError::Malformed("a negative number")),
            digits => Ok(without_zeros(digits)),
        }
    }

    /// A number that fits.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn small_integer(&self) -> Result<u32, FileError> {
        let digits = self.integer()?;
        if digits.len() > 4 {
            return Err(FileError::Malformed("a number is far too big"));
        }
        Ok(digits
            .iter()
            .fold(0, |number, digit| number << 8 | u32::from(*digit)))
    }

    /// The bytes of a bit string that has no unused bits.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn bits(&self) -> Result<&'a [u8], FileError> {
        match self.content.split_first() {
            Some((0, bits)) => Ok(bits),
            _ => Err(FileError::Malformed("a bit string that is not whole bytes")),
        }
    }
}

/// Bytes of a string: as they lie there, or put together.
pub enum Octets<'a> {
    /// In one piece.
    Whole(&'a [u8]),
    /// From pieces.
    Joined(SecretVec),
}

impl Deref for Octets<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Joined(bytes) => bytes.expose(),
        }
    }
}

/// Elements one after the other.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The elements of these bytes.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there is none any more.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn element(&mut self) -> Result<Element<'a>, FileError> {
        let (element, rest) = split(self.0, DEPTH_MAX)?;
        self.0 = rest;
        Ok(element)
    }

    /// The next element, which must have this tag.
    ///
    /// # Errors
    /// [`FileError`] names what it should have been.
    pub fn expect(&mut self, tag: u8, what: &'static str) -> Result<Element<'a>, FileError> {
        match self.optional(tag)? {
            Some(element) => Ok(element),
            None => Err(FileError::Malformed(what)),
        }
    }

    /// The next element if it has this tag.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, FileError> {
        if self.0.first() != Some(&tag) {
            return Ok(None);
        }
        self.element().map(Some)
    }

    /// The next string of octets, in one piece or in several.
    ///
    /// # Errors
    /// [`FileError`] names what it should have been.
    pub fn octets(&mut self, what: &'static str) -> Result<Octets<'a>, FileError> {
        match self.0.first() {
            Some(&OCTET_STRING) => self.element()?.octets(),
            Some(tag) if *tag == OCTET_STRING | CONSTRUCTED => self.element()?.octets(),
            _ => Err(FileError::Malformed(what)),
        }
    }
}

/// The one element that bytes are.
///
/// # Errors
/// [`FileError`] when they are none, or more.
pub fn single<'a>(bytes: &'a [u8], tag: u8, what: &'static str) -> Result<Element<'a>, FileError> {
    let mut reader = Reader::of(bytes);
    let element = reader.expect(tag, what)?;
    if reader.is_at_end() {
        Ok(element)
    } else {
        Err(FileError::Malformed("bytes follow behind its end"))
    }
}

/// Appends an element in DER.
pub fn write(tag: u8, content: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = content.iter().map(|part| part.len()).sum();
    out.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let bytes = without_zeros(&bytes);
            // At most 8 bytes.
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            out.extend_from_slice(bytes);
        }
    }
    for part in content {
        out.extend_from_slice(part);
    }
}

/// Appends a number that is not negative.
pub fn write_integer(digits: &[u8], out: &mut Vec<u8>) {
    match without_zeros(digits) {
        [] => write(INTEGER, &[&[0]], out),
        digits @ [first, ..] if first & 0x80 != 0 => write(INTEGER, &[&[0], digits], out),
        digits => write(INTEGER, &[digits], out),
    }
}

/// Big-endian digits without the leading zeros.
#[must_use]
pub fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits.get(zeros..).unwrap_or_default()
}

/// An object identifier with dots and numbers.
#[must_use]
pub fn identifier(content: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc: u64 = 0;
    for byte in content {
        arc = arc << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.extend([first, arc - 40 * first]);
            } else {
                arcs.push(arc);
            }
            arc = 0;
        }
    }
    let arcs: Vec<String> = arcs.iter().map(u64::to_string).collect();
    arcs.join(".")
}

fn split(bytes: &[u8], depth: u8) -> Result<(Element<'_>, &[u8]), FileError> {
    let (tag, length, body) = header(bytes)?;
    let (content, rest) = match length {
        Some(length) => body.split_at_checked(length).ok_or(CUT_OFF)?,
        None if tag & CONSTRUCTED == 0 => return Err(FORM),
        None => contents(body, depth)?,
    };
    let whole = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
    let element = Element {
        tag,
        content,
        whole,
    };
    Ok((element, rest))
}

/// Tag, length (none: indefinite), and what follows.
fn header(bytes: &[u8]) -> Result<(u8, Option<usize>, &[u8]), FileError> {
    let (tag, rest) = bytes.split_first().ok_or(CUT_OFF)?;
    if tag & 0x1f == 0x1f {
        return Err(FileError::Malformed("a tag that no file of keys has"));
    }
    let (first, rest) = rest.split_first().ok_or(CUT_OFF)?;
    let count = match first {
        short @ 0..0x80 => return Ok((*tag, Some(usize::from(*short)), rest)),
        0x80 => return Ok((*tag, None, rest)),
        long => usize::from(long & 0x7f),
    };
    let (digits, rest) = rest.split_at_checked(count).ok_or(CUT_OFF)?;
    let digits = without_zeros(digits);
    if digits.len() > 4 {
        return Err(CUT_OFF);
    }
    let length = digits
        .iter()
        .fold(0, |length, digit| length << 8 | usize::from(*digit));
    Ok((*tag, Some(length), rest))
}

/// What stands before the end of an element of indefinite length, and what behind it (X.690, 8.1.5).
fn contents(body: &[u8], depth: u8) -> Result<(&[u8], &[u8]), FileError> {
    let depth = depth.checked_sub(1).ok_or(DEEP)?;
    let mut rest = body;
    loop {
        if let Some(behind) = rest.strip_prefix(&[0, 0]) {
            let content = body.get(..body.len() - rest.len()).unwrap_or_default();
            return Ok((content, behind));
        }
        rest = split(rest, depth)?.1;
    }
}

fn join(element: Element<'_>, depth: u8, out: &mut SecretVec) -> Result<(), FileError> {
    if element.tag & CONSTRUCTED == 0 {
        return Ok(out.push_slice(element.content)?);
    }
    let depth = depth.checked_sub(1).ok_or(DEEP)?;
    let mut pieces = element.elements();
    while !pieces.is_at_end() {
        join(pieces.element()?, depth, out)?;
    }
    Ok(())
}

const CONSTRUCTED: u8 = 0x20;
const CUT_OFF: FileError = FileError::Malformed("it ends before it should");
const FORM: FileError = FileError::Malformed("a length that its type cannot have");
const DEEP: FileError = FileError::Malformed("structures within structures without end");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_length_and_strings_in_pieces() {
        // SEQUENCE of indefinite length: an INTEGER, and an OCTET STRING in two pieces, one of them in pieces itself.
        let bytes = [
            0x30, 0x80, 0x02, 0x01, 0x05, 0x24, 0x80, 0x04, 0x02, b'a', b'b', 0x24, 0x03, 0x04,
            0x01, b'c', 0, 0, 0, 0,
        ];
        crate::unlock::prepare().ok();
        let whole = single(&bytes, SEQUENCE, "a sequence").unwrap();
        let mut inside = whole.elements();
        let number = inside.expect(INTEGER, "a number").unwrap();
        assert_eq!(number.small_integer().unwrap(), 5);
        assert_eq!(&*inside.octets("a string").unwrap(), b"abc");
        assert!(inside.is_at_end());
    }

    #[test]
    fn every_cut_is_noticed() {
        let mut number = Vec::new();
        write_integer(&[0x80; 300], &mut number);
        let mut bytes = Vec::new();
        write(SEQUENCE, &[&number], &mut bytes);
        let parsed = single(&bytes, SEQUENCE, "").unwrap();
        let digits = parsed.elements().element().unwrap();
        assert_eq!(digits.integer().unwrap(), [0x80; 300]);
        for end in 0..bytes.len() {
            assert!(single(&bytes[..end], SEQUENCE, "").is_err(), "{end}");
        }
        bytes.push(0);
        assert!(single(&bytes, SEQUENCE, "").is_err());
    }

    #[test]
    fn depth_has_an_end() {
        let deep = [0x30, 0x80].repeat(10_000);
        assert!(single(&deep, SEQUENCE, "").is_err());
        let pieces = [0x24, 0x80].repeat(10_000);
        assert!(Reader::of(&pieces).octets("").is_err());
    }

    #[test]
    fn identifiers_are_shown_as_people_write_them() {
        let sha256_with_rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
        assert_eq!(identifier(&sha256_with_rsa), "1.2.840.113549.1.1.11");
        assert_eq!(identifier(&[0x2b, 0x65, 0x70]), "1.3.101.112");
        assert_eq!(identifier(&[0x60, 0x86, 0x48, 0x01]), "2.16.840.1");
    }
}
