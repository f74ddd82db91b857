//! Bytes to messages and back: the postcard format, bounded.
//!
//! What lives here: encoding into a sink, decoding that borrows, and lists with a maximum.
//! What must never live here: a length that is believed before it is checked.
//! Who calls it: both ends of both sockets, and the vault for its records.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why bytes did not become a message, or a message not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// The bytes are no message of this type, or more bytes follow.
    Malformed,
    /// The sink has no room for the message.
    Full,
}

impl fmt::Display for CodecError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Malformed => "the bytes are no message of this protocol",
            Self::Full => "there is no memory for the message",
        })
    }
}

impl core::error::Error for CodecError {}

/// Where encoded bytes go: locked memory in the daemon, an ordinary buffer in the module.
pub trait Sink {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`CodecError::Full`] when there is no room.
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError>;
}

impl Sink for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

struct SinkFlavor<'s, S: Sink>(&'s mut S);

impl<S: Sink> postcard::ser_flavors::Flavor for SinkFlavor<'_, S> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0
            .append(bytes)
            .map_err(|_| postcard::Error::SerializeBufferFull)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends a message to a sink.
///
/// # Errors
/// [`CodecError::Full`] when the sink has no room.
pub fn encode<T: Serialize + ?Sized, S: Sink>(message: &T, sink: &mut S) -> Result<(), CodecError> {
    postcard::serialize_with_flavor(message, SinkFlavor(sink)).map_err(|_| CodecError::Full)
}

/// Decodes a message that fills the bytes exactly; its byte runs borrow from them.
///
/// # Errors
/// [`CodecError::Malformed`] when the bytes are no such message or not all of them are used.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    match decode_front(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(CodecError::Malformed),
    }
}

/// Decodes a message that other bytes follow; answers both.
///
/// # Errors
/// [`CodecError::Malformed`] when the bytes do not begin with such a message.
pub fn decode_front<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    postcard::take_from_bytes(bytes).map_err(|_| CodecError::Malformed)
}

/// Serialises a run of bytes whole: `serde` would write a slice byte by byte. The format is the same.
///
/// # Errors
/// What the serialiser says.
#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
pub fn bytes<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// A list of at most `MAX` items: a count over it is refused before anything is set aside for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Takes the items, unless they are too many.
    #[must_use]
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(Self(items))
    }

    /// The items.
    #[must_use]
    pub fn items(&self) -> &[T] {
        &self.0
    }

    /// The items, owned.
    #[must_use]
    pub fn into_items(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// Items that room is made for at once.
const USUAL_ITEMS: usize = 16;

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a list of at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        if sequence.size_hint().is_some_and(|count| count > MAX) {
            return Err(A::Error::custom("too many items"));
        }
        // A count is an allegation: room for what is usual, more as it comes.
        let mut items = Vec::with_capacity(sequence.size_hint().unwrap_or(0).min(USUAL_ITEMS));
        while let Some(item) = sequence.next_element()? {
            if items.len() == MAX {
                return Err(A::Error::custom("too many items"));
            }
            items.push(item);
        }
        Ok(List(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_bytes_and_lying_counts_are_refused() {
        let mut bytes = Vec::new();
        encode(&List::<u64, 4>::new(vec![1, 2, 3]).unwrap(), &mut bytes).unwrap();
        assert_eq!(decode::<List<u64, 4>>(&bytes).unwrap().items(), [1, 2, 3]);
        assert_eq!(decode::<List<u64, 2>>(&bytes), Err(CodecError::Malformed));
        bytes.push(0);
        assert_eq!(decode::<List<u64, 4>>(&bytes), Err(CodecError::Malformed));
        // More than there is room made for at once.
        let many = List::<u64, 256>::new((0..256).collect()).unwrap();
        let mut bytes = Vec::new();
        encode(&many, &mut bytes).unwrap();
        assert_eq!(decode::<List<u64, 256>>(&bytes), Ok(many));
        // A count of 2^63 with nothing behind it.
        let lie = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
        assert_eq!(decode::<List<u64, 4>>(&lie), Err(CodecError::Malformed));
        assert_eq!(decode::<&[u8]>(&lie), Err(CodecError::Malformed));
    }
}
