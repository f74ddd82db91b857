//! What a forked child inherits, where the operator chose that it goes on without C_Initialize.
//!
//! What lives here: the handles of open sessions and the tickets of logins, written so that a child can read them whatever the threads of
//! its parent were doing at the fork.
//! What must never live here: a lock, or anything else that a fork can leave half done; connections, which a child never shares.
//! Who calls it: sessions and logins note themselves, the process state of a child reads.
//!
//! It lives forever, as all that a child reads. Without the operator's choice there is none, and tickets lie where no child sees them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strongroom_wire::request::{SessionHandle, SlotId};

use crate::abi::system::Latest;
use crate::locate::Locator;

/// Longest ticket that is handed down, in words of 8 bytes. The daemon's have less.
const TICKET_WORDS_MAX: usize = 32;
/// Most logins that are handed down: one a slot, and few programs work with more than one or two.
const LOGINS_MAX: usize = 16;

/// What is handed down.
pub(crate) struct Heritage {
    /// Between C_Initialize and C_Finalize.
    active: AtomicBool,
    /// Where the daemon is. Never changes: a child's environment may have been emptied, and its directory be another.
    pub(crate) locator: Locator,
    sessions: Latest<Entry>,
    logins: [Place; LOGINS_MAX],
}

/// The place of one session, one after the other is used again.
pub(crate) struct Entry {
    /// 0 for none.
    handle: AtomicU64,
    slot: AtomicU64,
    flags: AtomicU64,
    next: Option<&'static Self>,
}

/// The place of one login.
struct Place {
    /// Odd while it is being written.
    version: AtomicU64,
    /// 0 for none.
    bytes: AtomicU64,
    slot: AtomicU64,
    words: [AtomicU64; TICKET_WORDS_MAX],
}

/// A handle that no session has: its place is being filled.
const TAKEN: u64 = u64::MAX;

impl Heritage {
    /// Nothing yet.
    pub(crate) fn new(locator: Locator) -> &'static Self {
        let place = || Place {
            version: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            slot: AtomicU64::new(0),
            words: [const { AtomicU64::new(0) }; TICKET_WORDS_MAX],
        };
        Box::leak(Box::new(Self {
            active: AtomicBool::new(true),
            locator,
            sessions: Latest::new(),
            logins: std::array::from_fn(|_| place()),
        }))
    }

    /// Whether there is anything to inherit.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// C_Finalize: nothing is handed down any more.
    pub(crate) fn end(&self) {
        self.active.store(false, Ordering::Release);
        self.forget_all();
        for (_, entry) in self.entries() {
            entry.leave();
        }
    }

    /// Notes a session; the entry is left when it closes.
    pub(crate) fn enter(&self, handle: SessionHandle, slot: SlotId, flags: u64) -> &'static Entry {
        let mut entry = self.sessions.load();
        while let Some(place) = entry {
            let swap =
                place
                    .handle
                    .compare_exchange(0, TAKEN, Ordering::Acquire, Ordering::Relaxed);
            if swap.is_ok() {
                place.fill(handle, slot, flags);
                return place;
            }
            entry = place.next;
        }
        loop {
            let first = self.sessions.load();
            let place: &'static Entry = Box::leak(Box::new(Entry {
                handle: AtomicU64::new(TAKEN),
                slot: AtomicU64::new(0),
                flags: AtomicU64::new(0),
                next: first,
            }));
            if self.sessions.replace(first, place) {
                place.fill(handle, slot, flags);
                return place;
            }
        }
    }

    /// The open sessions: handle, slot, flags.
    pub(crate) fn sessions(&self) -> Vec<(SessionHandle, SlotId, u64)> {
        let told = |(handle, entry): (u64, &'static Entry)| {
            let slot = SlotId(entry.slot.load(Ordering::Relaxed));
            (
                SessionHandle(handle),
                slot,
                entry.flags.load(Ordering::Relaxed),
            )
        };
        self.entries().map(told).collect()
    }

    fn entries(&self) -> impl Iterator<Item = (u64, &'static Entry)> + use<> {
        let mut next = self.sessions.load();
        std::iter::from_fn(move || {
            let entry = next?;
            next = entry.next;
            Some((entry.handle.load(Ordering::Acquire), entry))
        })
        .filter(|(handle, _)| *handle != 0 && *handle != TAKEN)
    }

    /// Hands down the ticket of a login. One thread at a time.
    pub(crate) fn keep(&self, slot: SlotId, ticket: &[u8]) {
        self.forget(slot);
        let free = |place: &&Place| place.bytes.load(Ordering::Relaxed) == 0;
        if ticket.len() <= TICKET_WORDS_MAX * 8
            && let Some(place) = self.logins.iter().find(free)
        {
            place.write(slot, ticket);
        }
    }

    /// A login has ended. One thread at a time.
    pub(crate) fn forget(&self, slot: SlotId) {
        for place in &self.logins {
            if place.slot.load(Ordering::Relaxed) == slot.0 {
                place.write(slot, &[]);
            }
        }
    }

    /// All logins have ended. One thread at a time.
    pub(crate) fn forget_all(&self) {
        for place in &self.logins {
            place.write(SlotId(0), &[]);
        }
    }

    /// Shows the tickets of all logins.
    pub(crate) fn logins(&self, mut see: impl FnMut(SlotId, &[u8])) {
        for place in &self.logins {
            let mut ticket = [0_u8; TICKET_WORDS_MAX * 8];
            if let Some((slot, bytes)) = place.read(&mut ticket) {
                see(slot, ticket.get(..bytes).unwrap_or_default());
            }
            crate::abi::system::wipe(&mut ticket);
        }
    }
}

impl Entry {
    fn fill(&self, handle: SessionHandle, slot: SlotId, flags: u64) {
        self.slot.store(slot.0, Ordering::Relaxed);
        self.flags.store(flags, Ordering::Relaxed);
        self.handle.store(handle.0, Ordering::Release);
    }

    /// The session has closed.
    pub(crate) fn leave(&self) {
        self.handle.store(0, Ordering::Release);
    }
}

impl Place {
    /// Whoever forks in the middle of this hands down no ticket.
    fn write(&self, slot: SlotId, ticket: &[u8]) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.slot.store(slot.0, Ordering::SeqCst);
        let mut chunks = ticket.chunks(8);
        for word in &self.words {
            let mut bytes = [0; 8];
            for (place, byte) in bytes.iter_mut().zip(chunks.next().unwrap_or_default()) {
                *place = *byte;
            }
            word.store(u64::from_ne_bytes(bytes), Ordering::SeqCst);
        }
        let bytes = u64::try_from(ticket.len()).unwrap_or(0);
        self.bytes.store(bytes, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The slot and the length of the ticket, if there is a whole one.
    fn read(&self, ticket: &mut [u8; TICKET_WORDS_MAX * 8]) -> Option<(SlotId, usize)> {
        let version = self.version.load(Ordering::SeqCst);
        for (place, word) in ticket.chunks_mut(8).zip(&self.words) {
            place.copy_from_slice(&word.load(Ordering::SeqCst).to_ne_bytes());
        }
        let bytes = usize::try_from(self.bytes.load(Ordering::SeqCst)).ok()?;
        let slot = SlotId(self.slot.load(Ordering::SeqCst));
        let whole = version.is_multiple_of(2) && self.version.load(Ordering::SeqCst) == version;
        (whole && bytes > 0).then_some((slot, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locate::Environment;

    fn heritage() -> &'static Heritage {
        Heritage::new(Locator::new(Environment::of(&|_| None), None))
    }

    #[test]
    fn sessions_come_and_go_and_their_places_are_used_again() {
        let heritage = heritage();
        let all: Vec<_> = (1..=5)
            .map(|handle| heritage.enter(SessionHandle(handle), SlotId(3), 6))
            .collect();
        all[1].leave();
        all[3].leave();
        heritage.enter(SessionHandle(9), SlotId(4), 4);
        let mut handles: Vec<_> = heritage
            .sessions()
            .iter()
            .map(|(handle, ..)| handle.0)
            .collect();
        handles.sort_unstable();
        assert_eq!(handles, [1, 3, 5, 9]);
        let mut places = 0;
        let mut entry = heritage.sessions.load();
        while let Some(place) = entry {
            places += 1;
            entry = place.next;
        }
        assert_eq!(places, 5);
        heritage.end();
        assert!(heritage.sessions().is_empty() && !heritage.is_active());
    }

    #[test]
    fn tickets_are_whole_or_none() {
        let heritage = heritage();
        let seen = || {
            let mut seen = Vec::new();
            heritage.logins(|slot, ticket| seen.push((slot.0, ticket.to_vec())));
            seen
        };
        heritage.keep(SlotId(7), b"a ticket of some length");
        heritage.keep(SlotId(8), b"another");
        heritage.keep(SlotId(7), b"a newer one");
        assert_eq!(
            seen(),
            [(7, b"a newer one".to_vec()), (8, b"another".to_vec())]
        );
        // A fork in the middle of writing.
        heritage.logins[0].version.fetch_add(1, Ordering::SeqCst);
        assert_eq!(seen(), [(8, b"another".to_vec())]);
        heritage.logins[0].version.fetch_add(1, Ordering::SeqCst);
        heritage.forget(SlotId(8));
        assert_eq!(seen().len(), 1);
        heritage.keep(SlotId(9), &[7; TICKET_WORDS_MAX * 8 + 1]);
        assert_eq!(seen().len(), 1, "too long is none");
        heritage.forget_all();
        assert!(seen().is_empty());
        assert!(heritage.logins.iter().all(|place| {
            place
                .words
                .iter()
                .all(|word| word.load(Ordering::SeqCst) == 0)
        }));
    }
}
