//! What lives here: a share as one line that people copy, read aloud and type, written and read.
//!
//! What must never live here: the arithmetic of shares; a table that a symbol of a share indexes.
//!
//! Who calls it: whoever shows shares to people or asks them for one.
//!
//! The line is `strongroom-share-1`, the group (13 symbols), the threshold and the number (two digits each), the value, and seven symbols
//! of a checksum; all in blocks of four at most. Symbols are those of Crockford's base 32: no I, L, O or U. What is typed may have any
//! case, spaces, hyphens and line ends anywhere, O for 0, and I or L for 1. The checksum is the first 35 bits of the SHA-256 of all
//! symbols before it, `STRONGROOMSHARE1` included: it finds mistakes and keeps nobody out.

use std::hint::black_box;

use strongroom_keymem::{SecretBytes, SecretVec};
use zeroize::Zeroizing;

use super::{
    CHECK_BYTES, COUNT_MAX, GROUP_BYTES, SECRET_BYTES_MAX, Share, ShareError, THRESHOLD_MAX,
};
use crate::digest::{Digest, Hash};
use crate::error::Error;

impl Share {
    /// The line for people, without an end of line.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_text(&self) -> Result<SecretVec, Error> {
        let mut symbols = SecretVec::with_capacity(SYMBOLS_MAX)?;
        push_base32(&mut symbols, &self.group)?;
        for number in [self.threshold, self.index] {
            symbols.push_slice(&[number / 10, number % 10])?;
        }
        self.value.with(|value| push_base32(&mut symbols, value))?;
        let checksum = checksum(symbols.expose())?;
        symbols.push_slice(&checksum)?;
        let mut text = SecretVec::with_capacity(TEXT_BYTES_MAX)?;
        text.push_slice(PREFIX_SHOWN)?;
        let value_symbols = symbols.len() - VALUE_AT - CHECKSUM_SYMBOLS;
        let mut rest = symbols.expose();
        for field in [GROUP_SYMBOLS, 2, 2, value_symbols, CHECKSUM_SYMBOLS] {
            let (own, later) = rest.split_at(field);
            for (block, symbols) in own.chunks(BLOCK).enumerate() {
                text.push_slice(if block == 0 { b" " } else { b"-" })?;
                for symbol in symbols {
                    text.push_slice(&[character(*symbol)])?;
                }
            }
            rest = later;
        }
        Ok(text)
    }

    /// Reads what somebody typed.
    ///
    /// # Errors
    /// [`ShareError`] says where to look again, and nothing of what was typed.
    pub fn parse(text: &[u8]) -> Result<Self, ShareError> {
        let mut symbols = symbols_of(text)?;
        let checked = symbols.len().checked_sub(CHECKSUM_SYMBOLS);
        let Some(checked) = checked.filter(|checked| *checked > VALUE_AT) else {
            return Err(ShareError::Damaged);
        };
        if !is_right(symbols.expose())? {
            return Err(where_mistyped(symbols.expose_mut())?);
        }
        let symbols = &symbols.expose()[..checked];
        let (head, value) = symbols.split_at(VALUE_AT);
        let (group, numbers) = head.split_at(GROUP_SYMBOLS);
        let number = |at: usize| match numbers.get(at..at + 2) {
            Some([tens @ 0..=9, ones @ 0..=9]) => Ok(tens * 10 + ones),
            _ => Err(ShareError::Damaged),
        };
        let (threshold, index) = (number(0)?, number(2)?);
        let bytes = value.len() * 5 / 8;
        let in_range = (2..=THRESHOLD_MAX).contains(&threshold)
            && (1..=COUNT_MAX).contains(&index)
            && (CHECK_BYTES + 1..=CHECK_BYTES + SECRET_BYTES_MAX).contains(&bytes)
            && value.len() == (bytes * 8).div_ceil(5);
        if !in_range {
            return Err(ShareError::Damaged);
        }
        let mut group_bytes = [0; GROUP_BYTES];
        base32_into(group, &mut group_bytes)?;
        Ok(Self {
            group: group_bytes,
            threshold,
            index,
            value: SecretBytes::filled_by(bytes, |bytes| base32_into(value, bytes))?,
        })
    }
}

/// The symbols of a typed line, as numbers below 32, after what every share begins with.
fn symbols_of(text: &[u8]) -> Result<SecretVec, ShareError> {
    let mut typed = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace() && **byte != b'-')
        .map(u8::to_ascii_uppercase);
    let begins_right = PREFIX
        .iter()
        .all(|letter| typed.next().is_some_and(|byte| byte == *letter));
    if !begins_right {
        return Err(ShareError::NoShare);
    }
    match typed.next() {
        Some(b'1') => {}
        Some(b'2'..=b'9') => return Err(ShareError::Version),
        _ => return Err(ShareError::NoShare),
    }
    let mut symbols = SecretVec::with_capacity(SYMBOLS_MAX)?;
    for byte in typed {
        if symbols.len() == SYMBOLS_MAX {
            return Err(ShareError::Damaged);
        }
        let (symbol, known) = symbol_of(byte);
        if !known {
            let (block, character) = place_in_blocks(symbols.len(), None);
            return Err(ShareError::Character { block, character });
        }
        symbols.push_slice(&[symbol])?;
    }
    Ok(symbols)
}

/// Looks for the one character, or two neighbours, that explain a wrong checksum.
fn where_mistyped(symbols: &mut [u8]) -> Result<ShareError, Error> {
    for at in 0..symbols.len() {
        let typed = symbols[at];
        let mut explained = false;
        for other in 1..32 {
            symbols[at] = typed ^ other;
            explained |= is_right(symbols)?;
        }
        symbols[at] = typed;
        if at + 1 < symbols.len() {
            symbols.swap(at, at + 1);
            explained |= is_right(symbols)?;
            symbols.swap(at, at + 1);
        }
        if explained {
            let (block, character) = place_in_blocks(at, Some(symbols.len()));
            return Ok(ShareError::Mistyped { block, character });
        }
    }
    Ok(ShareError::Damaged)
}

/// Where a symbol stands on paper: block and character, counted from one.
fn place_in_blocks(at: usize, symbols: Option<usize>) -> (usize, usize) {
    let checksum_at = symbols.map_or(usize::MAX, |symbols| symbols - CHECKSUM_SYMBOLS);
    let mut blocks = 0;
    for (start, end) in [
        (0, GROUP_SYMBOLS),
        (GROUP_SYMBOLS, GROUP_SYMBOLS + 2),
        (GROUP_SYMBOLS + 2, VALUE_AT),
        (VALUE_AT, checksum_at),
    ] {
        if at < end {
            return (blocks + (at - start) / BLOCK + 1, (at - start) % BLOCK + 1);
        }
        blocks += (end - start).div_ceil(BLOCK);
    }
    let within = at - checksum_at;
    (blocks + within / BLOCK + 1, within % BLOCK + 1)
}

/// Is the checksum at the end that of what stands before it?
fn is_right(symbols: &[u8]) -> Result<bool, Error> {
    let (before, own) = symbols.split_at(symbols.len() - CHECKSUM_SYMBOLS);
    Ok(checksum(before)?[..] == *own)
}

fn checksum(symbols: &[u8]) -> Result<[u8; CHECKSUM_SYMBOLS], Error> {
    let mut characters = Zeroizing::new([0; SYMBOLS_MAX]);
    for (place, symbol) in characters.iter_mut().zip(symbols) {
        *place = character(*symbol);
    }
    let mut digest = Digest::new(Hash::Sha256)?;
    digest.update(PREFIX)?;
    digest.update(b"1")?;
    digest.update(characters.get(..symbols.len()).unwrap_or_default())?;
    let digest = digest.finish()?;
    let mut bits = [0; 8];
    bits[..5].copy_from_slice(&digest.as_ref()[..5]);
    let bits = u64::from_be_bytes(bits);
    let mut place = 64;
    Ok([(); CHECKSUM_SYMBOLS].map(|()| {
        place -= 5;
        ((bits >> place) & 31).to_le_bytes()[0]
    }))
}

/// Appends the bytes, five bits a symbol, filled up with zeros.
fn push_base32(symbols: &mut SecretVec, bytes: &[u8]) -> Result<(), Error> {
    let (mut held, mut bits) = (0_u16, 0);
    for byte in bytes {
        held = (held << 8) | u16::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            symbols.push_slice(&[((held >> bits) & 31).to_le_bytes()[0]])?;
        }
    }
    if bits > 0 {
        symbols.push_slice(&[((held << (5 - bits)) & 31).to_le_bytes()[0]])?;
    }
    Ok(())
}

/// The bytes of these symbols; what fills up must be zeros, so that a share has one line only.
fn base32_into(symbols: &[u8], bytes: &mut [u8]) -> Result<(), ShareError> {
    let mut filled = bytes.iter_mut();
    let (mut held, mut bits) = (0_u16, 0);
    for symbol in symbols {
        held = (held << 5) | u16::from(*symbol);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            if let Some(byte) = filled.next() {
                *byte = (held >> bits).to_le_bytes()[0];
            }
        }
    }
    let rest = held & ((1 << bits) - 1);
    (rest == 0).then_some(()).ok_or(ShareError::Damaged)
}

/// The character of a symbol below 32.
fn character(symbol: u8) -> u8 {
    // After 9 comes A; I, L, O and U are left out.
    let skipped = above(symbol, 17) + above(symbol, 19) + above(symbol, 21) + above(symbol, 26);
    b'0' + symbol + 7 * above(symbol, 9) + skipped
}

/// One if `value` is greater than `bound`, zero otherwise; both below 128.
fn above(value: u8, bound: u8) -> u8 {
    black_box(bound.wrapping_sub(value) >> 7)
}

/// The symbol of an upper-case character, and whether it has one.
fn symbol_of(byte: u8) -> (u8, bool) {
    let (mut symbol, mut known) = (0, 0);
    let mut learn = |meaning: u8, character: u8| {
        let difference = u16::from(byte ^ character);
        // All ones where they are equal: only zero less one has a high byte.
        let equal = black_box((difference.wrapping_sub(1) >> 8).to_le_bytes()[0]);
        symbol |= meaning & equal;
        known |= equal;
    };
    for meaning in 0..32 {
        learn(meaning, character(meaning));
    }
    learn(0, b'O');
    learn(1, b'I');
    learn(1, b'L');
    (symbol, known != 0)
}

const PREFIX: &[u8] = b"STRONGROOMSHARE";
const PREFIX_SHOWN: &[u8] = b"strongroom-share-1";
const GROUP_SYMBOLS: usize = (GROUP_BYTES * 8).div_ceil(5);
/// After the group and two numbers of two digits.
const VALUE_AT: usize = GROUP_SYMBOLS + 4;
const CHECKSUM_SYMBOLS: usize = 7;
/// What people keep in mind while they look from paper to keyboard.
const BLOCK: usize = 4;
const SYMBOLS_MAX: usize =
    VALUE_AT + ((SECRET_BYTES_MAX + CHECK_BYTES) * 8).div_ceil(5) + CHECKSUM_SYMBOLS;
/// Blocks of two symbols and more, each with a separator.
const TEXT_BYTES_MAX: usize = PREFIX_SHOWN.len() + 2 * SYMBOLS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_crockford() {
        let all: Vec<u8> = (0..32).map(character).collect();
        assert_eq!(all, b"0123456789ABCDEFGHJKMNPQRSTVWXYZ");
        for byte in 0..=255_u8 {
            let expected = match byte {
                b'O' => Some(0),
                b'I' | b'L' => Some(1),
                _ => all.iter().position(|character| *character == byte),
            };
            let (symbol, known) = symbol_of(byte);
            assert_eq!(known.then_some(usize::from(symbol)), expected, "{byte}");
        }
    }

    #[test]
    fn blocks_are_counted_as_they_stand_on_paper() {
        // 13 symbols of group, 2, 2, 64 of value, 7: 4 + 1 + 1 + 16 + 2 blocks.
        let places = [
            (0, (1, 1)),
            (12, (4, 1)),
            (13, (5, 1)),
            (16, (6, 2)),
            (17, (7, 1)),
            (80, (22, 4)),
            (81, (23, 1)),
            (87, (24, 3)),
        ];
        for (at, place) in places {
            assert_eq!(place_in_blocks(at, Some(88)), place, "{at}");
        }
    }
}
