//! What lives here: AWS-LC's reader of DER.
//!
//! What must never live here: what the elements mean.
//!
//! Who calls it: `dh.rs`, whose private keys AWS-LC does not parse.

use std::ffi::c_int;

use aws_lc_sys as lc;

use super::succeeded;
use crate::error::Error;

/// What is left to read.
pub(crate) struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    pub(crate) const fn new(der: &'d [u8]) -> Self {
        Self(der)
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn element(&mut self, tag: c_int) -> Result<&'d [u8], Error> {
        let mut rest = lc::CBS {
            data: self.0.as_ptr(),
            len: self.0.len(),
        };
        let mut content = lc::CBS {
            data: std::ptr::null(),
            len: 0,
        };
        // SAFETY: `rest` describes one readable slice; on success both are parts of it.
        let answer =
            unsafe { lc::CBS_get_asn1(&raw mut rest, &raw mut content, tag.cast_unsigned()) };
        succeeded(answer, Error::KeyMalformed)?;
        let (whole, left) = (self.0, rest.len);
        let end = whole.len().checked_sub(left).ok_or(Error::Internal)?;
        let start = end.checked_sub(content.len).ok_or(Error::Internal)?;
        self.0 = whole.get(end..).ok_or(Error::Internal)?;
        whole.get(start..end).ok_or(Error::Internal)
    }

    /// The magnitude of the next element, an INTEGER that is not negative.
    pub(crate) fn unsigned(&mut self) -> Result<&'d [u8], Error> {
        match self.element(lc::CBS_ASN1_INTEGER)? {
            [0] => Ok(&[]),
            [0, magnitude @ ..] if magnitude.first().is_some_and(|byte| *byte >= 0x80) => {
                Ok(magnitude)
            }
            magnitude @ [1..0x80, ..] => Ok(magnitude),
            _ => Err(Error::KeyMalformed),
        }
    }

    /// The next element, a SEQUENCE.
    pub(crate) fn sequence(&mut self) -> Result<Self, Error> {
        self.element(lc::CBS_ASN1_SEQUENCE).map(Self)
    }

    /// The content of the next element, an OCTET STRING.
    pub(crate) fn octets(&mut self) -> Result<&'d [u8], Error> {
        self.element(lc::CBS_ASN1_OCTETSTRING)
    }

    /// The content of the next element, an OBJECT IDENTIFIER.
    pub(crate) fn object(&mut self) -> Result<&'d [u8], Error> {
        self.element(lc::CBS_ASN1_OBJECT)
    }

    /// What is left.
    pub(crate) const fn rest(&self) -> &'d [u8] {
        self.0
    }
}
