//! Messages into locked memory.
//!
//! What lives here: [`Locked`], the sink of whatever may be secret when it is encoded: answers, records, frames.
//! What must never live here: what is encoded.
//! Who calls it: the service, the vault, the daemon's administration.

use strongroom_keymem::SecretVec;
use strongroom_wire::codec::{CodecError, Sink};

/// A buffer of locked memory that messages are encoded into.
#[derive(Debug)]
pub struct Locked<'b>(pub &'b mut SecretVec);

impl Sink for Locked<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.0.push_slice(bytes).map_err(|_| CodecError::Full)
    }
}
