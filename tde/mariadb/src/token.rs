//! The connection to the token.
//!
//! What lives here: finding the token, logging in, a pool of sessions, and going on after the token was away: the server works with
//! several contexts in one thread, and an error while the redo log is encrypted ends it, so no call gives up at the first refusal.
//! What must never live here: which keys there are.
//! Who calls it: `keyring`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::abi::cryptoki::{Handle, Library, Meaning, Reach, Refused, Session, Slot, Template};
use crate::abi::log;
use crate::settings::{Settings, Stamp, pin, stamp};

/// How often the token was asked for something; a status variable.
pub(crate) static VISITS: AtomicU64 = AtomicU64::new(0);
/// How often the connection was made anew; a status variable.
pub(crate) static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// Why something could not be done.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The token does not answer, or is not there; it may come back.
    Away(String),
    /// The PIN is refused or cannot be read; nothing is tried before its file changes.
    Pin(String),
    /// Something is not in the token, or is not what it should be.
    Wrong(String),
    /// The token said no.
    Refused(Refused),
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(text) | Self::Pin(text) | Self::Wrong(text) => out.write_str(text),
            Self::Refused(refused) => write!(out, "{refused}"),
        }
    }
}

/// The token.
pub(crate) struct Token {
    library: Library,
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Grows with every loss of the connection: sessions and handles of another era are worth nothing.
    era: u64,
    connected: Option<Connected>,
    /// A file of a PIN that was refused, and what was said.
    refused: Option<(Option<Stamp>, String)>,
    /// Whether the log says that the token is away.
    told_away: bool,
}

struct Connected {
    slot: Slot,
    /// Stays open, because a login ends with the last session.
    _anchor: Session,
    idle: Vec<Session>,
    keys: BTreeMap<String, Handle>,
}

/// A session for one visit.
pub(crate) struct Visit<'t> {
    token: &'t Token,
    era: u64,
    pub(crate) session: Session,
}

impl Token {
    /// A token behind a loaded module; nothing is asked yet.
    pub(crate) fn new(library: Library, settings: Settings) -> Self {
        Self {
            library,
            settings,
            state: Mutex::new(State::default()),
        }
    }

    /// Does something with a session, once.
    pub(crate) fn visit<R>(
        &self,
        reach: Reach,
        work: &mut dyn FnMut(&Visit<'_>) -> Result<R, Refused>,
    ) -> Result<R, Trouble> {
        VISITS.fetch_add(1, Ordering::Relaxed);
        let visit = self.arrive(reach)?;
        match work(&visit) {
            Ok(result) => {
                self.leave(visit, reach);
                Ok(result)
            }
            Err(refused) => Err(self.lost(visit.era, refused)),
        }
    }

    /// The same; waits for a token that is away, as long as the operator said.
    pub(crate) fn insist<R>(
        &self,
        reach: Reach,
        work: &mut dyn FnMut(&Visit<'_>) -> Result<R, Refused>,
    ) -> Result<R, Trouble> {
        let deadline = Instant::now() + self.settings.patience;
        let mut pause = PAUSE_LEAST;
        loop {
            match self.visit(reach, work) {
                Err(Trouble::Away(what)) if Instant::now() < deadline => self.tell_away(&what),
                Err(Trouble::Away(what)) => {
                    let seconds = self.settings.patience.as_secs();
                    return Err(Trouble::Away(format!("{what}; waited for {seconds} s")));
                }
                answer => {
                    if answer.is_ok() {
                        self.tell_back();
                    }
                    return answer;
                }
            }
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under this lock leaves nothing half done: the connection is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, reach: Reach) -> Result<Visit<'_>, Trouble> {
        let mut state = self.state();
        self.connect(&mut state)?;
        let era = state.era;
        let Some(connected) = &mut state.connected else {
            return Err(Trouble::Away("the token is not connected".to_owned()));
        };
        let idle = match reach {
            Reach::Read => connected.idle.pop(),
            Reach::Write => None,
        };
        let slot = connected.slot;
        drop(state);
        let session = match idle {
            Some(session) => session,
            None => Session::open(self.library, slot, reach)
                .map_err(|refused| self.lost(era, refused))?,
        };
        Ok(Visit {
            token: self,
            era,
            session,
        })
    }

    fn leave(&self, visit: Visit<'_>, reach: Reach) {
        let Visit { era, session, .. } = visit;
        let mut state = self.state();
        let same = state.era == era;
        if let Some(connected) = &mut state.connected
            && same
            && reach == Reach::Read
            && connected.idle.len() < IDLE_MOST
        {
            connected.idle.push(session);
            return;
        }
        drop(state);
        drop(session);
    }

    /// Judges a refusal; a lost connection is forgotten, unless another thread made a new one meanwhile.
    fn lost(&self, era: u64, refused: Refused) -> Trouble {
        if refused.meaning() != Meaning::Lost {
            return Trouble::Refused(refused);
        }
        let mut state = self.state();
        if state.era == era {
            state.era += 1;
            let old = state.connected.take();
            drop(state);
            drop(old);
        }
        Trouble::Away(format!(
            "the token \"{}\" does not answer: {refused}",
            self.settings.token
        ))
    }

    fn connect(&self, state: &mut State) -> Result<(), Trouble> {
        if state.connected.is_some() {
            return Ok(());
        }
        if let Some((refused, what)) = &state.refused
            && *refused == stamp(&self.settings.pin_file)
        {
            return Err(Trouble::Pin(what.clone()));
        }
        let label = &self.settings.token;
        let away = |refused: Refused| {
            Trouble::Away(format!("the token \"{label}\" does not answer: {refused}"))
        };
        let slot = self.library.slot_labelled(label).map_err(away)?;
        let slot =
            slot.ok_or_else(|| Trouble::Away(format!("there is no token labelled \"{label}\"")))?;
        let anchor = Session::open(self.library, slot, Reach::Read).map_err(away)?;
        if !anchor.is_logged_in().map_err(away)? {
            self.login(&anchor, state)?;
        }
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        state.connected = Some(Connected {
            slot,
            _anchor: anchor,
            idle: Vec::new(),
            keys: BTreeMap::new(),
        });
        Ok(())
    }

    /// A wrong PIN costs a try, and the last try the token; so each state of the file is tried once.
    fn login(&self, session: &Session, state: &mut State) -> Result<(), Trouble> {
        let file = &self.settings.pin_file;
        let before = stamp(file);
        let what = match pin(file) {
            Err(what) => what,
            Ok(pin) => match session.login(&pin) {
                Ok(()) => {
                    state.refused = None;
                    return Ok(());
                }
                Err(refused) if refused.meaning() == Meaning::Pin => format!(
                    "the token \"{}\" refuses the PIN in {}: {refused}; it is not tried again until the file changes",
                    self.settings.token,
                    file.display()
                ),
                Err(refused) if refused.meaning() == Meaning::Lost => {
                    return Err(Trouble::Away(format!(
                        "the token does not answer: {refused}"
                    )));
                }
                Err(refused) => return Err(Trouble::Refused(refused)),
            },
        };
        log::error(&what);
        state.refused = Some((before, what.clone()));
        Err(Trouble::Pin(what))
    }

    fn tell_away(&self, what: &str) {
        let mut state = self.state();
        if !state.told_away {
            state.told_away = true;
            drop(state);
            let seconds = self.settings.patience.as_secs();
            log::warning(&format!("{what}; each call waits for up to {seconds} s"));
        }
    }

    fn tell_back(&self) {
        let mut state = self.state();
        if state.told_away {
            state.told_away = false;
            drop(state);
            log::note(&format!(
                "the token \"{}\" answers again",
                self.settings.token
            ));
        }
    }

    /// Ends: sessions first, then the module where it was initialised here.
    pub(crate) fn end(&self) {
        let old = self.state().connected.take();
        drop(old);
        if let Err(refused) = self.library.finalize() {
            log::warning(&format!("the module does not end in order: {refused}"));
        }
    }
}

impl Visit<'_> {
    /// The AES key of a label; none when there is none.
    pub(crate) fn key(&self, label: &str) -> Result<Option<Handle>, Refused> {
        if let Some(handle) = self.with_keys(|keys| keys.get(label).copied()).flatten() {
            return Ok(Some(handle));
        }
        let found = self.session.find(&Template::keys().labelled(label))?;
        let Some(handle) = found.first().copied() else {
            return Ok(None);
        };
        self.with_keys(|keys| keys.insert(label.to_owned(), handle));
        Ok(Some(handle))
    }

    /// Forgets where keys are: one of them was not there.
    pub(crate) fn forget_keys(&self) {
        self.with_keys(BTreeMap::clear);
    }

    /// The handles that are known; none when the connection is another by now.
    fn with_keys<R>(&self, see: impl FnOnce(&mut BTreeMap<String, Handle>) -> R) -> Option<R> {
        let mut state = self.token.state();
        let same = state.era == self.era;
        state
            .connected
            .as_mut()
            .filter(|_| same)
            .map(|connected| see(&mut connected.keys))
    }
}

/// Sessions that wait for work; more threads than these open one of their own.
const IDLE_MOST: usize = 64;
const PAUSE_LEAST: Duration = Duration::from_millis(10);
const PAUSE_MOST: Duration = Duration::from_millis(500);
