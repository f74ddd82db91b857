//! A search: what C_FindObjectsInit found, handed out in parts.
//!
//! What lives here: the snapshot of handles.
//! What must never live here: matching (that is [`crate::object::index`]).
//! Who calls it: the objects chapter.

use strongroom_wire::request::ObjectHandle;

/// Handles found and not yet handed out. Later changes of the token do not change it.
#[derive(Debug)]
pub struct Search {
    found: std::vec::IntoIter<ObjectHandle>,
}

impl Search {
    /// Starts handing out.
    #[must_use]
    pub fn new(found: Vec<ObjectHandle>) -> Self {
        Self {
            found: found.into_iter(),
        }
    }

    /// The next ones, at most `max`.
    pub fn next(&mut self, max: usize) -> Vec<ObjectHandle> {
        self.found.by_ref().take(max).collect()
    }
}
