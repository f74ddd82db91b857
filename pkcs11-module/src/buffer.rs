//! Bytes that are wiped when they go.
//!
//! What lives here: the one buffer of the module, for whatever may be secret: frames, PINs, plaintext.
//! What must never live here: what the bytes mean.
//! Who calls it: the client for its frames, the C boundary for what it copies in.

use strongroom_wire::codec::{CodecError, Sink};

use crate::abi::system;

/// A buffer in ordinary memory that leaves no copy behind: it is wiped when it grows and when it is dropped.
/// It has no debug output. Its memory is asked for in a way that may fail, since lengths come from strangers.
#[derive(Default)]
pub(crate) struct WipedBuffer(Vec<u8>);

/// There is no memory for a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

impl WipedBuffer {
    /// An empty buffer.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A buffer of zeros.
    pub(crate) fn zeroed(bytes: usize) -> Result<Self, NoMemory> {
        let mut buffer = Self::new();
        buffer.lengthen(bytes)?;
        Ok(buffer)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for writing.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Makes the buffer at least this long; new bytes are zero.
    pub(crate) fn lengthen(&mut self, bytes: usize) -> Result<(), NoMemory> {
        if bytes > self.0.len() {
            self.reserve(bytes)?;
            self.0.resize(bytes, 0);
        }
        Ok(())
    }

    /// Adds bytes at the end.
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<(), NoMemory> {
        let length = self.0.len().checked_add(bytes.len()).ok_or(NoMemory)?;
        self.reserve(length)?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Wipes the first bytes and keeps the length: for a buffer that is read into again.
    pub(crate) fn wipe_first(&mut self, bytes: usize) {
        let end = bytes.min(self.0.len());
        if let Some(used) = self.0.get_mut(..end) {
            system::wipe(used);
        }
    }

    /// Wipes everything and empties the buffer. Memory over `kept_max` is given back.
    pub(crate) fn clear(&mut self, kept_max: usize) {
        system::wipe(&mut self.0);
        if self.0.capacity() > kept_max {
            self.0 = Vec::new();
        } else {
            self.0.clear();
        }
    }

    /// A growing `Vec` would leave its old memory behind unwiped, so growth is done by hand.
    fn reserve(&mut self, capacity: usize) -> Result<(), NoMemory> {
        if capacity <= self.0.capacity() {
            return Ok(());
        }
        let wanted = capacity.max(self.0.capacity().saturating_mul(2));
        let mut larger = Vec::new();
        larger.try_reserve_exact(wanted).map_err(|_| NoMemory)?;
        larger.extend_from_slice(&self.0);
        system::wipe(&mut self.0);
        self.0 = larger;
        Ok(())
    }
}

impl Drop for WipedBuffer {
    fn drop(&mut self) {
        system::wipe(&mut self.0);
    }
}

impl Sink for WipedBuffer {
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.extend(bytes).map_err(|NoMemory| CodecError::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_keeps_the_bytes() {
        let mut buffer = WipedBuffer::new();
        for round in 0..100_u8 {
            buffer.extend(&[round; 33]).unwrap();
        }
        assert_eq!(buffer.bytes().len(), 3300);
        assert_eq!(buffer.bytes().last(), Some(&99));
        buffer.wipe_first(33);
        assert_eq!(buffer.bytes()[32..34], [0, 1]);
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        let length = usize::try_from(isize::MAX).unwrap();
        assert!(matches!(WipedBuffer::zeroed(length), Err(NoMemory)));
        let mut buffer = WipedBuffer::zeroed(10).unwrap();
        assert_eq!(buffer.lengthen(usize::MAX), Err(NoMemory));
        assert_eq!(buffer.bytes().len(), 10);
        buffer.clear(4);
        assert!(buffer.bytes().is_empty());
    }
}
