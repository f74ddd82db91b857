//! Secret fields of messages.
//!
//! What lives here: a borrowed run of bytes that never shows itself.
//! What must never live here: owned secrets; those lie in locked memory (the daemon) or in a buffer wiped after use (the module).
//! Who calls it: the messages of this crate.

use core::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Bytes that may be secret (a PIN, a key value, plaintext), borrowed from the frame they travel in.
///
/// There is no debug output of the content and no comparison; whoever owns the frame wipes it.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret<'a>(#[serde(borrow)] &'a [u8]);

impl<'a> Secret<'a> {
    /// Marks bytes as secret.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves. The name is long enough to be found in review.
    #[must_use]
    pub const fn expose(self) -> &'a [u8] {
        self.0
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is not one byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// As one run of bytes: the derived form would go byte by byte, which is the same on the wire and many times slower.
impl Serialize for Secret<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secret({} bytes)", self.0.len())
    }
}
