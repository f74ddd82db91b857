//! Fields of fixed places.
//!
//! What lives here: a cursor over bytes that refuses to go beyond their end, and hexadecimal.
//! What must never live here: what the bytes mean.
//! Who calls it: the readers of binary formats.

use crate::Refusal;

/// A cursor over what a stranger sent.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// What is read, for refusals.
    what: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) const fn malformed(&self, why: &'static str) -> Refusal {
        Refusal::Malformed {
            what: self.what,
            why,
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let taken = self.take(N)?;
        taken
            .try_into()
            .map_err(|_| self.malformed("it ends too early"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Refusal> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16_little(&mut self) -> Result<u16, Refusal> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32_little(&mut self) -> Result<u32, Refusal> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64_little(&mut self) -> Result<u64, Refusal> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16_big(&mut self) -> Result<u16, Refusal> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32_big(&mut self) -> Result<u32, Refusal> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64_big(&mut self) -> Result<u64, Refusal> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Bytes behind their length of two bytes, little end first.
    pub(crate) fn sized_u16_little(&mut self) -> Result<&'a [u8], Refusal> {
        let count = usize::from(self.u16_little()?);
        self.take(count)
    }

    /// Bytes behind their length of four bytes, little end first.
    pub(crate) fn sized_u32_little(&mut self) -> Result<&'a [u8], Refusal> {
        let count = usize::try_from(self.u32_little()?).unwrap_or(usize::MAX);
        self.take(count)
    }

    /// Bytes behind their length of two bytes, big end first: a TPM2B.
    pub(crate) fn sized_u16_big(&mut self) -> Result<&'a [u8], Refusal> {
        let count = usize::from(self.u16_big()?);
        self.take(count)
    }

    /// What is left, without taking it.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// There must be nothing left.
    pub(crate) fn end(&self) -> Result<(), Refusal> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("bytes are left behind its end"))
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    let pair = |byte: &u8| [digit(byte >> 4), digit(*byte)];
    bytes.iter().flat_map(pair).collect()
}

/// Bytes of hexadecimal, in either case.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(value(*high)? * 16 + value(*low)?).ok(),
        _ => None,
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_stops_at_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 3, 4, 5], "test");
        assert_eq!(cursor.u16_big(), Ok(0x0102));
        assert_eq!(cursor.clone().u16_little(), Ok(0x0403));
        assert!(cursor.u32_little().is_err());
        assert!(cursor.end().is_err());
        assert_eq!(cursor.take(3), Ok(&[3, 4, 5][..]));
        assert_eq!(cursor.end(), Ok(()));
        assert!(Cursor::new(&[0xff; 6], "test").sized_u32_little().is_err());
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(hex(&[0x00, 0xaf, 0x10]), "00af10");
        assert_eq!(unhex("00aF10"), Some(vec![0, 0xaf, 0x10]));
        for wrong in ["0", "0g", "é1"] {
            assert_eq!(unhex(wrong), None);
        }
    }
}
