//! Stamps: until when what the module keeps holds.
//!
//! What lives here: the stamp, made of the daemon's count of changes and of this process's own.
//! What must never live here: what is kept.
//! Who calls it: whoever keeps something the daemon told, before it asks and before it answers.
//!
//! Token objects change by anybody's hand, and the daemon counts that on a page that all clients see. Sessions, logins and session objects change
//! by this process's own calls only, so it counts those itself. A new connection after a lost one may lead to another daemon.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_ring::changes::Watcher;

use crate::abi::system::Latest;

/// What was known to be unchanged at one moment. Two that are equal have no change between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which daemon.
    daemon: u64,
    /// Its count.
    counted: u64,
    /// This process's own count.
    own: u64,
}

impl Stamp {
    /// Whether only this process can have changed something in between.
    pub(crate) fn same_daemon_and_count(&self, other: &Self) -> bool {
        (self.daemon, self.counted) == (other.daemon, other.counted)
    }
}

/// Makes stamps.
pub(crate) struct Stamps {
    /// Lives forever, one for each daemon that the process meets, so that it is read without a lock.
    watcher: Latest<Watched>,
    own: AtomicU64,
}

struct Watched {
    /// None of a daemon that gave no page.
    watcher: Option<Watcher>,
    number: u64,
}

impl Stamps {
    /// Without a daemon there is no stamp.
    pub(crate) const fn new() -> Self {
        Self {
            watcher: Latest::new(),
            own: AtomicU64::new(0),
        }
    }

    /// The stamp of now. None without a page of the daemon's, and while the daemon wants to be asked for everything: then nothing may be
    /// kept.
    pub(crate) fn now(&self) -> Option<Stamp> {
        let (daemon, counted) = self.page()?;
        if Watcher::asks_always(counted) {
            return None;
        }
        Some(Stamp {
            daemon,
            counted,
            own: self.own.load(Ordering::Acquire),
        })
    }

    /// Whether the daemon wants to be asked for what could be answered here.
    pub(crate) fn asks_always(&self) -> bool {
        let page = self.page();
        page.is_some_and(|(_, counted)| Watcher::asks_always(counted))
    }

    /// Which daemon, and what its page says.
    pub(crate) fn page(&self) -> Option<(u64, u64)> {
        let watched = self.watcher.load()?;
        Some((watched.number, watched.watcher.as_ref()?.counted()))
    }

    /// This process has changed something, or what it knew of the daemon is in doubt.
    pub(crate) fn change(&self) {
        self.own.fetch_add(1, Ordering::AcqRel);
    }

    /// A connection has been made, and this page came with it, or none. The first connection to a daemon takes its page.
    pub(crate) fn watch(&self, page: Option<BorrowedFd<'_>>) {
        let before = self.watcher.load();
        let watcher = page.and_then(|page| Watcher::open(page).ok());
        let same = match (before.and_then(|before| before.watcher.as_ref()), &watcher) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same {
            return;
        }
        let watched = Watched {
            watcher,
            number: before.map_or(0, |before| before.number + 1),
        };
        // Where another connection was faster, its page serves.
        let _ = self.watcher.replace(before, Box::leak(Box::new(watched)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_ring::changes::Announcer;

    #[test]
    fn a_stamp_holds_until_somebody_changes_something() {
        let stamps = Stamps::new();
        assert_eq!(stamps.now(), None);
        stamps.watch(None);
        assert_eq!(stamps.now(), None);
        let daemon = Announcer::create().unwrap();
        stamps.watch(Some(daemon.descriptor()));
        let first = stamps.now();
        assert!(first.is_some());
        assert_eq!(stamps.now(), first);
        stamps.watch(Some(daemon.descriptor()));
        assert_eq!(
            stamps.now(),
            first,
            "a second connection to the same daemon"
        );
        daemon.count();
        let second = stamps.now();
        assert_ne!(second, first);
        stamps.change();
        assert_ne!(stamps.now(), second);
        let other = Announcer::create().unwrap();
        let before = stamps.now();
        stamps.watch(Some(other.descriptor()));
        other.count();
        assert_ne!(stamps.now(), before, "another daemon with the same count");
        other.ask_always(true);
        assert_eq!(stamps.now(), None, "a daemon that wants to be asked");
        assert!(stamps.asks_always());
        other.ask_always(false);
        assert!(stamps.now().is_some());
        stamps.watch(None);
        assert_eq!(stamps.now(), None, "a daemon without a page");
    }
}
