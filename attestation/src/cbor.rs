//! CBOR (RFC 8949), as much as an attestation document of AWS Nitro uses.
//!
//! What lives here: a reader that borrows, with bounds on depth and number of items.
//! What must never live here: what the items mean; a writer.
//! Who calls it: `nitro`.

use crate::Refusal;
use crate::read::Cursor;

/// A real document has three levels.
const DEPTH_MAX: usize = 6;
/// A real document has some eighty items, most of them registers.
const ITEMS_MAX: usize = 512;

/// An item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Unsigned(u64),
    /// The number that stands for -1 - n.
    Negative(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Tagged(u64, Box<Self>),
    Null,
}

/// Reads one item that is all there is.
pub(crate) fn read<'a>(bytes: &'a [u8], what: &'static str) -> Result<Item<'a>, Refusal> {
    let mut reader = Reader {
        cursor: Cursor::new(bytes, what),
        items: 0,
    };
    let item = reader.item(0)?;
    reader.cursor.end()?;
    Ok(item)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    items: usize,
}

/// How long something is: so many, or up to the mark of its end.
#[derive(Clone, Copy)]
enum Count {
    Of(u64),
    Open,
}

const BREAK: u8 = 0xff;
const NULL: u8 = 0xf6;

impl<'a> Reader<'a> {
    fn item(&mut self, depth: usize) -> Result<Item<'a>, Refusal> {
        self.items += 1;
        if depth > DEPTH_MAX || self.items > ITEMS_MAX {
            return Err(self.cursor.malformed(
                "its CBOR nests deeper or has more items than a document of this kind",
            ));
        }
        let first = self.cursor.u8()?;
        if first == NULL {
            return Ok(Item::Null);
        }
        let count = self.count(first & 31)?;
        match (first >> 5, count) {
            (0, Count::Of(number)) => Ok(Item::Unsigned(number)),
            (1, Count::Of(number)) => Ok(Item::Negative(number)),
            (2, Count::Of(length)) => Ok(Item::Bytes(self.take(length)?)),
            (3, Count::Of(length)) => {
                let text = std::str::from_utf8(self.take(length)?);
                text.map(Item::Text)
                    .map_err(|_| self.cursor.malformed("its text is not UTF-8"))
            }
            (4, count) => {
                let mut list = Vec::new();
                while self.goes_on(count, list.len()) {
                    list.push(self.item(depth + 1)?);
                }
                Ok(Item::List(list))
            }
            (5, count) => self.map(count, depth),
            (6, Count::Of(tag)) => Ok(Item::Tagged(tag, Box::new(self.item(depth + 1)?))),
            _ => Err(self
                .cursor
                .malformed("it has an item of CBOR that documents of this kind do not use")),
        }
    }

    fn map(&mut self, count: Count, depth: usize) -> Result<Item<'a>, Refusal> {
        let mut map: Vec<(Item<'a>, Item<'a>)> = Vec::new();
        while self.goes_on(count, map.len()) {
            let key = self.item(depth + 1)?;
            // RFC 8949, 5.6: the same key twice is no valid map.
            if map.iter().any(|(one, _)| *one == key) {
                return Err(self.cursor.malformed("a map of its CBOR has a key twice"));
            }
            map.push((key, self.item(depth + 1)?));
        }
        Ok(Item::Map(map))
    }

    /// RFC 8949, 3: what the low bits of the first byte say.
    fn count(&mut self, low: u8) -> Result<Count, Refusal> {
        Ok(match low {
            0..=23 => Count::Of(u64::from(low)),
            24 => Count::Of(u64::from(self.cursor.u8()?)),
            25 => Count::Of(u64::from(self.cursor.u16_big()?)),
            26 => Count::Of(u64::from(self.cursor.u32_big()?)),
            27 => Count::Of(self.cursor.u64_big()?),
            31 => Count::Open,
            _ => return Err(self.cursor.malformed("its CBOR has a reserved length")),
        })
    }

    fn goes_on(&mut self, count: Count, so_far: usize) -> bool {
        match count {
            Count::Of(count) => u64::try_from(so_far).is_ok_and(|so_far| so_far < count),
            Count::Open => {
                let ends = self.cursor.rest().first() == Some(&BREAK);
                // The mark is taken; at the end of the bytes the next item refuses.
                !(ends && self.cursor.u8().is_ok())
            }
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Refusal> {
        self.cursor
            .take(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

/// A byte string as CBOR writes it.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    const BYTES: u8 = 2 << 5;
    match (u8::try_from(bytes.len()), u16::try_from(bytes.len())) {
        (Ok(length @ 0..=23), _) => out.push(BYTES | length),
        (Ok(length), _) => out.extend([BYTES | 24, length]),
        (_, Ok(length)) => {
            out.push(BYTES | 25);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(BYTES | 27);
            out.extend(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read() {
        // RFC 8949, appendix A.
        let cases: &[(&[u8], Item<'_>)] = &[
            (&[0x17], Item::Unsigned(23)),
            (&[0x19, 0x03, 0xe8], Item::Unsigned(1000)),
            (&[0x38, 0x63], Item::Negative(99)),
            (&[0x44, 1, 2, 3, 4], Item::Bytes(&[1, 2, 3, 4])),
            (b"\x64IETF", Item::Text("IETF")),
            (&[0xf6], Item::Null),
            (
                &[0x82, 1, 0x81, 2],
                Item::List(vec![Item::Unsigned(1), Item::List(vec![Item::Unsigned(2)])]),
            ),
            (
                &[0xbf, 1, 2, 0xff],
                Item::Map(vec![(Item::Unsigned(1), Item::Unsigned(2))]),
            ),
            (&[0xc1, 0], Item::Tagged(1, Box::new(Item::Unsigned(0)))),
        ];
        for (bytes, item) in cases {
            assert_eq!(read(bytes, "test").as_ref(), Ok(item));
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end], "test").is_err());
            }
            assert!(read(&[bytes, &[0][..]].concat(), "test").is_err());
        }
    }

    #[test]
    fn bounds_hold() {
        let nested = |levels| [vec![0x81; levels], vec![0]].concat();
        assert!(read(&nested(DEPTH_MAX), "test").is_ok());
        assert!(read(&nested(DEPTH_MAX + 1), "test").is_err());
        let long = |items: u16| {
            let mut bytes = vec![0x99];
            bytes.extend(items.to_be_bytes());
            bytes.resize(3 + usize::from(items), 0);
            bytes
        };
        assert!(read(&long(511), "test").is_ok());
        assert!(read(&long(512), "test").is_err());
        // A map with a key twice, lengths beyond the end, floats, an open string, a lone end.
        for wrong in [
            &[0xa2, 1, 2, 1, 3][..],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x5f, 0xff],
            &[0xff],
            &[0x9f],
        ] {
            assert!(read(wrong, "test").is_err());
        }
    }

    #[test]
    fn byte_strings_are_written_as_they_are_read() {
        for length in [0, 23, 24, 255, 256, 65535, 65536] {
            let bytes = vec![7; length];
            let mut out = Vec::new();
            write_bytes(&mut out, &bytes);
            assert_eq!(read(&out, "test"), Ok(Item::Bytes(&bytes)));
        }
    }
}
