//! The sessions of one instance.
//!
//! What lives here: which sessions there are, which of them the daemon knows of, and what each has begun.
//! What must never live here: login, objects, or whether something is allowed; the daemon has that.
//! Who calls it: the entries.
//!
//! The module chooses the handles. A session that is opened beside another one, with nothing changed since that was opened, is not told of
//! until it is used: applications open a session for each signature, or a pool of which they use a few. In a new era (a daemon that was
//! started anew) the daemon knows none of them, and each is told of again when it is used.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use strongroom_wire::ck::{Rv, flag};
use strongroom_wire::request::{SessionHandle, SlotId};

use crate::client::Era;
use crate::heritage::{Entry, Heritage};
use crate::operations::Operations;
use crate::remote::Remote;
use crate::stamp::Stamp;

/// Sessions that the daemon has not been told of: so many may be refused when they are used, so they are few.
const UNTOLD_MAX: usize = 64;

/// The sessions of one instance.
pub(crate) struct Sessions {
    table: RwLock<HashMap<u64, Arc<Session>, BuildHasherDefault<Mixed>>>,
    next: AtomicU64,
    /// Where a session was opened, and when.
    opened_at: Mutex<Vec<(SlotId, Stamp)>>,
    untold: AtomicUsize,
    /// The latest era in which no session was found that an earlier one knew.
    all_retold_in: AtomicU64,
    /// Operations begun here that the daemon has not been told of.
    begun: Arc<AtomicUsize>,
    /// Once an officer has logged in, read-only sessions may be refused.
    officer: AtomicBool,
    /// Where children find the sessions, if they shall.
    heritage: Option<&'static Heritage>,
}

/// One session.
pub(crate) struct Session {
    /// Its handle.
    pub(crate) handle: SessionHandle,
    /// Its slot.
    pub(crate) slot: SlotId,
    /// `CKF_…` it was opened with.
    pub(crate) flags: u64,
    /// In which era it was opened.
    pub(crate) born: Era,
    /// In which era the daemon was told of it, 0 for none. Read without the lock, set under it.
    known_in: AtomicU64,
    told: Mutex<Told>,
    operations: Mutex<Operations>,
    /// What the daemon has begun for it.
    pub(crate) remote: Remote,
    /// Where children find it.
    entry: Option<&'static Entry>,
    /// The count of all sessions, which what it has begun leaves with it.
    all_begun: Arc<AtomicUsize>,
}

impl Drop for Session {
    /// Not when it is taken out of the table: whoever takes it out may be in the middle of one of its operations.
    fn drop(&mut self) {
        let operations = self.operations.get_mut();
        let begun = operations.unwrap_or_else(PoisonError::into_inner).forget();
        self.all_begun.fetch_sub(begun, Ordering::Relaxed);
    }
}

/// What the daemon knows of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Of nothing.
    Nothing,
    /// Of the session, in that era.
    Open(Era),
    /// Closed here, told or not.
    Closed,
}

impl Session {
    fn new(
        handle: SessionHandle,
        (slot, flags, born): (SlotId, u64, Era),
        told: Told,
        (all_begun, heritage): (Arc<AtomicUsize>, Option<&'static Heritage>),
    ) -> Self {
        Self {
            handle,
            slot,
            flags,
            born,
            known_in: AtomicU64::new(if let Told::Open(era) = told { era.0 } else { 0 }),
            told: Mutex::new(told),
            operations: Mutex::new(Operations::default()),
            remote: Remote::default(),
            entry: heritage.map(|heritage| heritage.enter(handle, slot, flags)),
            all_begun,
        }
    }

    /// Whether the daemon knows it.
    pub(crate) fn is_known(&self, era: Era) -> bool {
        self.known_in.load(Ordering::Acquire) == era.0
    }

    /// What the daemon knows of it. Whoever tells it holds this meanwhile.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }

    /// What it has begun. Nobody holds this while another session's is taken.
    pub(crate) fn operations(&self) -> MutexGuard<'_, Operations> {
        lock(&self.operations)
    }
}

impl Sessions {
    /// None yet; the first handle comes from `random`, so that a handle from before means nothing.
    pub(crate) fn new(random: [u8; 16], heritage: Option<&'static Heritage>) -> Self {
        let [a, b, c, d, ..] = random;
        let start = u64::from(u32::from_le_bytes([a, b, c, d]) & 0x3fff_ffff);
        Self {
            table: RwLock::default(),
            next: AtomicU64::new(start + 1),
            opened_at: Mutex::default(),
            untold: AtomicUsize::new(0),
            all_retold_in: AtomicU64::new(Era::FIRST.0),
            begun: Arc::default(),
            officer: AtomicBool::new(false),
            heritage,
        }
    }

    /// Takes over the sessions of the parent: this process's own daemon connection knows none of them yet.
    pub(crate) fn inherit(&self, sessions: Vec<(SessionHandle, SlotId, u64)>) {
        let (before, mut table) = (Era(0), self.write());
        for (handle, slot, flags) in sessions {
            self.next
                .fetch_max(handle.0.saturating_add(1), Ordering::Relaxed);
            let session = self.session(handle, (slot, flags, before), Told::Open(before));
            table.insert(handle.0, Arc::new(session));
        }
        self.all_retold_in.store(0, Ordering::Relaxed);
    }

    /// A session.
    pub(crate) fn get(&self, handle: SessionHandle) -> Result<Arc<Session>, Rv> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .get(&handle.0)
            .cloned()
            .ok_or(Rv::SESSION_HANDLE_INVALID)
    }

    /// The handle of the next session.
    pub(crate) fn next(&self) -> SessionHandle {
        SessionHandle(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens a session without telling the daemon, if it is as good as certain that it would agree. `granted` is how many an application
    /// may have.
    pub(crate) fn open_untold(
        &self,
        slot: SlotId,
        flags: u64,
        (granted, era): (u64, Era),
        now: Option<Stamp>,
    ) -> Option<SessionHandle> {
        let now = now?;
        let plain =
            flags == flag::SERIAL_SESSION || flags == flag::SERIAL_SESSION | flag::RW_SESSION;
        let known = lock(&self.opened_at)
            .iter()
            .any(|(known, at)| *known == slot && at.same_daemon_and_count(&now));
        if !plain || !known || self.officer.load(Ordering::Relaxed) {
            return None;
        }
        let mut table = self.write();
        // Beside one that the daemon knows: it counts the sessions of all applications before a token is initialised again.
        let beside = |other: &Arc<Session>| other.slot == slot && other.is_known(era);
        if !table.values().any(beside) {
            return None;
        }
        let open = u64::try_from(table.len()).unwrap_or(u64::MAX);
        if open >= granted || self.untold.load(Ordering::Relaxed) >= UNTOLD_MAX {
            return None;
        }
        let handle = self.next();
        self.untold.fetch_add(1, Ordering::Relaxed);
        table.insert(
            handle.0,
            Arc::new(self.session(handle, (slot, flags, era), Told::Nothing)),
        );
        Some(handle)
    }

    /// Notes a session that the daemon has opened.
    pub(crate) fn add(
        &self,
        handle: SessionHandle,
        (slot, flags): (SlotId, u64),
        era: Era,
        at: Option<Stamp>,
    ) -> Arc<Session> {
        if let Some(at) = at {
            let mut opened_at = lock(&self.opened_at);
            opened_at.retain(|(known, _)| *known != slot);
            opened_at.push((slot, at));
        }
        let session = Arc::new(self.session(handle, (slot, flags, era), Told::Open(era)));
        self.write().insert(handle.0, Arc::clone(&session));
        session
    }

    /// The daemon was told of a session.
    pub(crate) fn note_told(&self, session: &Session, told: &mut Told, era: Era) {
        let before = std::mem::replace(told, Told::Open(era));
        session.known_in.store(era.0, Ordering::Release);
        self.untold
            .fetch_sub(usize::from(before == Told::Nothing), Ordering::Relaxed);
    }

    /// Takes a session away, and answers in which era the daemon was told of it.
    pub(crate) fn remove(&self, handle: SessionHandle) -> Result<Option<Era>, Rv> {
        let gone = self.write().remove(&handle.0);
        Ok(self.ended(&*gone.ok_or(Rv::SESSION_HANDLE_INVALID)?))
    }

    /// Takes all sessions of a slot away.
    pub(crate) fn remove_all(&self, slot: SlotId) {
        let mut table = self.write();
        let gone: Vec<_> = table
            .extract_if(|_, session| session.slot == slot)
            .collect();
        drop(table);
        for (_, session) in gone {
            self.ended(&session);
        }
    }

    fn session(&self, handle: SessionHandle, at: (SlotId, u64, Era), told: Told) -> Session {
        Session::new(handle, at, told, (Arc::clone(&self.begun), self.heritage))
    }

    fn ended(&self, session: &Session) -> Option<Era> {
        let before = std::mem::replace(&mut *lock(&session.told), Told::Closed);
        if let Some(entry) = session.entry {
            entry.leave();
        }
        self.untold
            .fetch_sub(usize::from(before == Told::Nothing), Ordering::Relaxed);
        match before {
            Told::Open(era) => Some(era),
            Told::Nothing | Told::Closed => None,
        }
    }

    /// The sessions of a slot that the daemon does not know of.
    pub(crate) fn untold(&self, slot: SlotId, era: Era) -> Vec<Arc<Session>> {
        let all_retold = self.all_retold_in.load(Ordering::Relaxed) == era.0;
        if all_retold && self.untold.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut unknown = self.all(|session| !session.is_known(era));
        if unknown.is_empty() {
            self.all_retold_in.store(era.0, Ordering::Relaxed);
        }
        unknown.retain(|session| session.slot == slot);
        unknown
    }

    /// Whether a slot has any session.
    pub(crate) fn has_any(&self, slot: SlotId) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().any(|session| session.slot == slot)
    }

    /// Whether this is the only session of its slot that the daemon knows: when it closes, the daemon ends the login.
    pub(crate) fn is_last_known(&self, session: &Session, era: Era) -> bool {
        if !session.is_known(era) {
            return false;
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        !table.values().any(|other| {
            other.slot == session.slot && other.handle != session.handle && other.is_known(era)
        })
    }

    /// The sessions with something begun that the daemon has not been told of.
    pub(crate) fn with_something_begun(&self) -> Vec<Arc<Session>> {
        if self.begun.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        self.all(|_| true)
    }

    /// Counts operations that were begun here (+1), or told of or ended (-1).
    pub(crate) fn count_begun(&self, by: isize) {
        if by < 0 {
            self.begun.fetch_sub(by.unsigned_abs(), Ordering::Relaxed);
        } else {
            self.begun.fetch_add(by.unsigned_abs(), Ordering::Relaxed);
        }
    }

    /// An officer logs in.
    pub(crate) fn note_officer(&self) {
        self.officer.store(true, Ordering::Relaxed);
    }

    fn all(&self, wanted: impl Fn(&&Arc<Session>) -> bool) -> Vec<Arc<Session>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.values().filter(wanted).cloned().collect()
    }

    fn write(
        &self,
    ) -> std::sync::RwLockWriteGuard<'_, HashMap<u64, Arc<Session>, BuildHasherDefault<Mixed>>>
    {
        // Nothing under this lock can leave the table half changed.
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hash for handles, which the module itself counts up: nobody chooses them to collide.
#[derive(Default)]
pub(crate) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can leave its value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
