//! The TPM's way to write numbers and lengths.
//!
//! What lives here: writing and reading big-endian numbers and sized buffers (TPM 2.0 Library, Part 1, 5.2 and Part 2, 10.4).
//! What must never live here: a length that is believed before the bytes are there.
//! Who calls it: the client of the TPM.

use strongroom_keymem::{OutOfMemory, SecretVec};

use super::error::TpmError;

/// What is written, in locked memory.
pub(super) struct Writer(pub(super) SecretVec);

impl Writer {
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(SecretVec::with_capacity(USUAL_BYTES)?))
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.0.push_slice(bytes)
    }

    pub(super) fn byte(&mut self, number: u8) -> Result<(), OutOfMemory> {
        self.raw(&[number])
    }

    pub(super) fn short(&mut self, number: u16) -> Result<(), OutOfMemory> {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn long(&mut self, number: u32) -> Result<(), OutOfMemory> {
        self.raw(&number.to_be_bytes())
    }

    /// A buffer with its length in two bytes before it. All that is written here is shorter than a command may be.
    pub(super) fn sized(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.short(u16::try_from(bytes.len()).map_err(|_| OutOfMemory)?)?;
        self.raw(bytes)
    }

    pub(super) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Reads what a TPM, or somebody who pretends to be one, sent.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn raw(&mut self, length: usize) -> Result<&'a [u8], TpmError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(TpmError::Garbled("an answer is shorter than it says"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], TpmError> {
        let mut number = [0; BYTES];
        number.copy_from_slice(self.raw(BYTES)?);
        Ok(number)
    }

    pub(super) fn byte(&mut self) -> Result<u8, TpmError> {
        self.number::<1>().map(u8::from_be_bytes)
    }

    pub(super) fn short(&mut self) -> Result<u16, TpmError> {
        self.number().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u32, TpmError> {
        self.number().map(u32::from_be_bytes)
    }

    pub(super) fn sized(&mut self) -> Result<&'a [u8], TpmError> {
        let length = self.short()?;
        self.raw(length.into())
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn end(&self) -> Result<(), TpmError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(TpmError::Garbled("an answer is longer than it says"))
        }
    }
}

/// Most commands are shorter.
const USUAL_BYTES: usize = 512;
