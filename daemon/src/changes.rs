//! The count of changes, as a page that every client reads.
//!
//! What lives here: the port behind which the token counts, and what clients get of it.
//! What must never live here: what changed.
//! Who calls it: the token, through its port; connections hand the descriptor out with the greeting.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use strongroom::ports::{Changes, MemoryChanges};
use strongroom_ring::changes::Announcer;

/// The page.
#[derive(Debug)]
pub struct ChangesPage(Announcer);

impl ChangesPage {
    /// Makes it. A kernel that cannot seal it (before Linux 5.1) has none: clients then keep nothing.
    #[must_use]
    pub fn create() -> Option<Arc<Self>> {
        match Announcer::create() {
            Ok(announcer) => Some(Arc::new(Self(announcer))),
            Err(error) => {
                tracing::info!(%error, "no page of changes: clients ask for everything each time");
                None
            }
        }
    }

    /// The port: the page, or a count that nobody reads.
    #[must_use]
    pub fn port(page: Option<&Arc<Self>>) -> Arc<dyn Changes> {
        match page {
            Some(page) => Arc::clone(page) as Arc<dyn Changes>,
            None => Arc::new(MemoryChanges::default()),
        }
    }

    /// What a client needs to read it.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }
}

impl Changes for ChangesPage {
    fn count(&self) {
        self.0.count();
    }

    fn ask_always(&self, always: bool) {
        self.0.ask_always(always);
    }
}
