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

    /// Tells clients to keep nothing and to answer nothing themselves, or that they may again.
    pub fn ask_always(&self, always: bool) {
        if always {
            self.page.counter().fetch_or(ASK_ALWAYS, Ordering::SeqCst);
        } else {
            self.page.counter().fetch_and(!ASK_ALWAYS, Ordering::SeqCst);
        }
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

    /// How many changes there were. It also differs while the daemon wants to be asked for everything.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.0.counter().load(Ordering::Acquire)
    }

    /// Whether a count says that the daemon wants to be asked for everything.
    #[must_use]
    pub const fn asks_always(counted: u64) -> bool {
        counted & ASK_ALWAYS != 0
    }
}

/// The bit of the count that no count reaches: while it is set clients keep nothing.
const ASK_ALWAYS: u64 = 1 << 63;

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
    fn clients_are_told_to_ask_always_and_that_they_need_not_any_more() {
        let announcer = Announcer::create().unwrap();
        let watcher = Watcher::open(announcer.descriptor()).unwrap();
        announcer.count();
        announcer.ask_always(true);
        announcer.ask_always(true);
        announcer.count();
        assert!(Watcher::asks_always(watcher.counted()));
        announcer.ask_always(false);
        assert!(!Watcher::asks_always(watcher.counted()));
        assert_eq!(watcher.counted(), 2);
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let file = std::fs::File::open("/dev/zero").unwrap();
        assert!(Watcher::open(file.as_fd()).is_err());
    }
}
