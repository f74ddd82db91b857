//! A page that tells every client how many changes there were.
//!
//! What lives here: the page, counted up by the daemon ([`Announcer`]) and read by every client ([`Watcher`]).
//! What must never live here: what changed; clients ask for that.
//! Who calls it: the daemon's port for changes; the module before it answers from what it kept.
//!
//! A client that keeps something notes the count it read before it asked. As long as the count is the same, what it kept holds. No
//! client can write to the page: the daemon seals it against any writable mapping but its own. It tells all of them the
//! same number, so each learns how often something changes, and not what or by whom.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::mapping::Page;

/// The daemon's end.
#[derive(Debug)]
pub struct Announcer {
    page: Page,
    descriptor: OwnedFd,
}

impl Announcer {
    /// Makes the page.
    ///
    /// # Errors
    /// What the system says.
    pub fn create() -> io::Result<Self> {
        let (page, descriptor) = Page::create()?;
        Ok(Self { page, descriptor })
    }

    /// Counts one change.
    pub fn count(&self) {
        self.page.counter().fetch_add(1, Ordering::SeqCst);
    }

    /// What a client needs to watch.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A client's end.
#[derive(Debug)]
pub struct Watcher(Page);

impl Watcher {
    /// Takes the page that the daemon has made.
    ///
    /// # Errors
    /// What the system says, or that it is not of the form agreed on.
    pub fn open(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        Page::open(descriptor).map(Self)
    }

    /// Whether the other is of the same page.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.identity() == other.0.identity()
    }

    /// How many changes there were.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.0.counter().load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_sees_each_change_and_cannot_make_one() {
        let announcer = Announcer::create().unwrap();
        let watcher = Watcher::open(announcer.descriptor()).unwrap();
        assert_eq!(watcher.counted(), 0);
        announcer.count();
        announcer.count();
        assert_eq!(watcher.counted(), 2);
        assert_eq!(Watcher::open(announcer.descriptor()).unwrap().counted(), 2);
        // Neither a mapping for writing nor a write: the seal refuses both.
        assert!(Page::map_for_writing(announcer.descriptor()).is_err());
        let file = std::fs::File::from(announcer.descriptor().try_clone_to_owned().unwrap());
        assert!(std::os::unix::fs::FileExt::write_at(&file, &[9; 8], 0).is_err());
        assert_eq!(watcher.counted(), 2);
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let file = std::fs::File::open("/dev/zero").unwrap();
        assert!(Watcher::open(file.as_fd()).is_err());
    }
}
