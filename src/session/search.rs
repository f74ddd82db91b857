//! A search: what C_FindObjectsInit found, handed out in parts.
//!
//! What lives here: the snapshot of handles.
//! What must never live here: matching (that is [`crate::object::index`]).
//! Who calls it: the objects chapter.

use strongroom_wire::request::ObjectHandle;

/// Handles found and not yet handed out. What comes into being later is not among them; what has gone meanwhile is left out.
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

    /// The next ones that are still there, at most `max`; fewer only at the end.
    pub fn next(
        &mut self,
        max: usize,
        is_there: impl Fn(&ObjectHandle) -> bool,
    ) -> Vec<ObjectHandle> {
        self.found.by_ref().filter(is_there).take(max).collect()
    }
}
