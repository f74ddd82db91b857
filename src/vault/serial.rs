//! *What lives here:* the serial number of a token: its one form, and what it is when nobody chose one. *What must never live here:*
//! whether it is taken. *Who calls it:* the vault, and whoever lets an operator choose one.

use std::fmt;

use serde::{Deserialize, Serialize};
use strongroom_crypto::hex;

/// A serial number as PKCS#11 shows it (3.2, 3.2, `CK_TOKEN_INFO`): at most 16 characters, and the rest of its field is blank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialNumber(Box<str>);

/// Words that are no serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSerialNumber;

impl fmt::Display for NoSerialNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "a serial number has from 1 to {SERIAL_NUMBER_BYTES_MAX} characters of printable ASCII, and no space at either end"
        )
    }
}

impl std::error::Error for NoSerialNumber {}

impl SerialNumber {
    /// Takes one that somebody chose. Spaces at an end would be lost in the padding of its field.
    ///
    /// # Errors
    /// [`NoSerialNumber`].
    pub fn parse(text: &str) -> Result<Self, NoSerialNumber> {
        let fits = (1..=SERIAL_NUMBER_BYTES_MAX).contains(&text.len());
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if fits && printable && text.trim() == text {
            Ok(Self(text.into()))
        } else {
            Err(NoSerialNumber)
        }
    }

    /// Of a token for which nobody chose one: the random bytes that tell its keys from all others, in hexadecimal.
    pub(super) fn of_salt(salt: [u8; 8]) -> Self {
        Self(hex::shown(&salt).into())
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Length of the field of `CK_TOKEN_INFO`.
const SERIAL_NUMBER_BYTES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_what_its_field_can_show() {
        for right in ["0", "1ce19d2b2f1e3a5c", "DENK 0100123", "0123456789abcdef"] {
            assert_eq!(SerialNumber::parse(right).unwrap().to_string(), right);
        }
        for wrong in ["", " 1", "1 ", "0123456789abcdef0", "tab\t", "ö", "\u{7f}"] {
            assert_eq!(SerialNumber::parse(wrong), Err(NoSerialNumber), "{wrong:?}");
        }
        let of_salt = SerialNumber::of_salt([0x0a, 0xff, 0, 0, 0, 0, 0, 1]);
        assert_eq!(of_salt.to_string(), "0aff000000000001");
    }
}
