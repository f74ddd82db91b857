//! The state of this process: initialised or not, and whose it is.
//!
//! What lives here: C_Initialize, C_Finalize and what a fork leaves behind, told by the process id.
//! What must never live here: an atfork handler, a destructor, a thread; a lock of the parent's touched in a child.
//! Who calls it: the guard for every function, the general entries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_wire::ck::Rv;
use strongroom_wire::request::SlotId;
use strongroom_wire::response::MechanismEntry;

use crate::abi::system::{self, Latest, WipedByFork};
use crate::client::{Client, Descriptors, Era};
use crate::entry::slots::SlotsSeen;
use crate::guise::Guise;
use crate::heritage::Heritage;
use crate::kept::Kept;
use crate::locate::{Environment, Locator};
use crate::logins::Logins;
use crate::prefetched::Prefetched;
use crate::sessions::Sessions;
use crate::stamp::Stamp;

/// What belongs to one process. It lives forever, one for each process of a chain of forks, so that it is reachable without a lock.
struct ProcessState {
    process: u32,
    /// Empty in a child: telling so costs no system call. Without it the process id is asked for.
    mark: Option<WipedByFork>,
    descriptors: Descriptors,
    /// What this process hands down, if its operator chose so. Read without a lock, by its children.
    heritage: Latest<Heritage>,
    /// What it has inherited itself, as long as it has made nothing of it.
    inherited: Option<&'static Heritage>,
    made_of_it: AtomicBool,
    instance: Mutex<Option<Arc<Instance>>>,
}

impl ProcessState {
    /// What a child inherits from this process.
    fn handed_down(&self) -> Option<&'static Heritage> {
        let own = self.heritage.load();
        own.or_else(|| self.to_be_made_of())
            .filter(|heritage| heritage.is_active())
    }

    fn to_be_made_of(&self) -> Option<&'static Heritage> {
        self.inherited
            .filter(|_| !self.made_of_it.load(Ordering::Acquire))
    }

    /// Takes what was inherited, once.
    fn take_inherited(&self) -> Option<&'static Heritage> {
        let inherited = self.to_be_made_of();
        self.made_of_it.store(true, Ordering::Release);
        inherited
    }
}

/// The mechanisms of a slot, and when they were asked for.
struct KnownMechanisms {
    slot: SlotId,
    since: Option<Stamp>,
    list: Arc<[MechanismEntry]>,
}

static LATEST: Latest<ProcessState> = Latest::new();

/// One C_Initialize to one C_Finalize.
pub(crate) struct Instance {
    /// The way to the daemon.
    pub(crate) client: Client,
    /// Its sessions.
    pub(crate) sessions: Sessions,
    /// Its logins.
    pub(crate) logins: Logins,
    /// Attributes that still hold.
    pub(crate) kept: Kept,
    /// Random bytes that are ready.
    pub(crate) prefetched: Prefetched,
    /// The mechanisms of each slot asked for so far, and when: the operator may change them.
    mechanisms: Mutex<Vec<KnownMechanisms>>,
    slots_seen: Mutex<SlotsSeen>,
    /// What its children inherit, if they shall.
    heritage: Option<&'static Heritage>,
    ended: Mutex<bool>,
    ending: Condvar,
}

impl Instance {
    /// An instance without a connection.
    pub(crate) fn new(
        client: Client,
        random: [u8; 16],
        heritage: Option<&'static Heritage>,
    ) -> Self {
        Self {
            client,
            sessions: Sessions::new(random, heritage),
            logins: Logins::new(heritage),
            heritage,
            kept: Kept::default(),
            prefetched: Prefetched::default(),
            mechanisms: Mutex::new(Vec::new()),
            slots_seen: Mutex::default(),
            ended: Mutex::new(false),
            ending: Condvar::new(),
        }
    }

    /// The mechanisms of a slot, if they were asked for before and nothing has changed since. Where there is no page that counts changes
    /// (before Linux 5.1) they are kept as they were; the daemon refuses what it refuses all the same.
    pub(crate) fn known_mechanisms(
        &self,
        slot: SlotId,
        now: Option<Stamp>,
    ) -> Option<Arc<[MechanismEntry]>> {
        let known = lock(&self.mechanisms);
        known
            .iter()
            .find(|known| known.slot == slot && known.since == now)
            .map(|known| Arc::clone(&known.list))
    }

    /// Keeps the mechanisms of a slot.
    pub(crate) fn keep_mechanisms(
        &self,
        slot: SlotId,
        now: Option<Stamp>,
        list: &Arc<[MechanismEntry]>,
    ) {
        let mut known = lock(&self.mechanisms);
        known.retain(|known| known.slot != slot);
        known.push(KnownMechanisms {
            slot,
            since: now,
            list: Arc::clone(list),
        });
    }

    /// What the module stands in for, if anything.
    pub(crate) const fn guise(&self) -> Option<&Guise> {
        self.client.guise()
    }

    /// What the application knows of which slots hold a token.
    pub(crate) fn slots_seen(&self) -> MutexGuard<'_, SlotsSeen> {
        lock(&self.slots_seen)
    }

    /// Waits so long for another thread to call C_Finalize; answers whether one has.
    pub(crate) fn ends_within(&self, wait: Duration) -> bool {
        let ended = lock(&self.ended);
        if *ended {
            return true;
        }
        let slice = self.ending.wait_timeout(ended, wait);
        *slice.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Ends everything: those who wait, and the connections.
    pub(crate) fn end(&self) {
        *lock(&self.ended) = true;
        self.ending.notify_all();
        self.logins.forget_all();
        if let Some(heritage) = self.heritage {
            heritage.end();
        }
        self.client.end();
    }
}

/// The instance of this process.
///
/// A child that has not called C_Initialize itself has none (PKCS#11 3.2, 2.4: it must call it anew), unless the operator chose that it goes
/// on with what it inherits: then it gets one of its own with the sessions and logins of its parent.
pub(crate) fn instance() -> Result<Arc<Instance>, Rv> {
    let state = own_state();
    let mut place = lock(&state.instance);
    if place.is_none()
        && let Some(parents) = state.take_inherited()
    {
        let instance = begin(state, parents.locator.clone())?;
        instance.sessions.inherit(parents.sessions());
        parents.logins(|slot, ticket| instance.logins.keep(slot, Era(0), ticket));
        *place = Some(instance);
    }
    place.clone().ok_or(Rv::CRYPTOKI_NOT_INITIALIZED)
}

/// C_Initialize: no connection yet, so it succeeds without a daemon, and a server may fork before the first use.
pub(crate) fn initialise() -> Result<(), Rv> {
    let state = own_state();
    let mut place = lock(&state.instance);
    if place.is_some() {
        return Err(Rv::CRYPTOKI_ALREADY_INITIALIZED);
    }
    // Whoever begins anew wants nothing of its parent's.
    state.take_inherited();
    let environment = Environment::of_process();
    let guise = Guise::of(&environment)?;
    *place = Some(begin(state, Locator::new(environment, guise))?);
    Ok(())
}

/// A new instance.
fn begin(state: &'static ProcessState, locator: Locator) -> Result<Arc<Instance>, Rv> {
    let (mut name, mut random) = ([0; 16], [0; 16]);
    if !system::fill_random(&mut name) || !system::fill_random(&mut random) {
        return Err(Rv::FUNCTION_FAILED);
    }
    let heritage = locator
        .children_inherit()
        .then(|| Heritage::new(locator.clone()));
    if let Some(heritage) = heritage {
        state.heritage.replace(state.heritage.load(), heritage);
    }
    let client = Client::new(locator, name, &state.descriptors);
    Ok(Arc::new(Instance::new(client, random, heritage)))
}

/// C_Finalize.
pub(crate) fn finalise() -> Result<(), Rv> {
    let state = own_state();
    let instance = lock(&state.instance).take();
    if instance.is_none() && state.take_inherited().is_some() {
        return Ok(());
    }
    instance.ok_or(Rv::CRYPTOKI_NOT_INITIALIZED)?.end();
    Ok(())
}

/// The state of this very process. In a child it is made anew: the parent's is left alone, since a thread of the parent may have
/// held its locks at the fork, and only the copies of its sockets are closed.
fn own_state() -> &'static ProcessState {
    let latest = LATEST.load();
    if let Some(state) = latest
        && state.mark.as_ref().is_some_and(WipedByFork::is_whole)
    {
        return state;
    }
    let process = std::process::id();
    loop {
        let latest = LATEST.load();
        if let Some(state) = latest
            && state.process == process
        {
            return state;
        }
        let fresh: &'static ProcessState = Box::leak(Box::new(ProcessState {
            process,
            mark: WipedByFork::new(0),
            descriptors: Descriptors::new(),
            heritage: Latest::new(),
            inherited: latest.and_then(ProcessState::handed_down),
            made_of_it: AtomicBool::new(false),
            instance: Mutex::new(None),
        }));
        if LATEST.replace(latest, fresh) {
            if let Some(parent) = latest {
                parent.descriptors.close_copies();
            }
            return fresh;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can leave its value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
