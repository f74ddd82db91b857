//! Numbers of session objects.
//!
//! What lives here: [`Numbers`].
//! What must never live here: numbers of token objects (vault) and of sessions (the client).
//! Who calls it: whatever makes a session object.

use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_crypto::random;
use strongroom_wire::request::ObjectHandle;

use crate::error::Result;
use crate::object::SESSION_OBJECT_FIRST;

/// Gives numbers to session objects. They begin at random, so that a handle from before a restart means nothing.
#[derive(Debug)]
pub struct Numbers {
    session_object: AtomicU64,
}

impl Numbers {
    pub(crate) fn new() -> Result<Self> {
        let mut start = [0; 4];
        random::fill(&mut start)?;
        let start = u64::from(u32::from_le_bytes(start));
        Ok(Self {
            session_object: AtomicU64::new(SESSION_OBJECT_FIRST + (start << 8)),
        })
    }

    /// A new session object.
    pub fn session_object(&self) -> ObjectHandle {
        ObjectHandle(self.session_object.fetch_add(1, Ordering::Relaxed))
    }
}
