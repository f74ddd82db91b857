//! The front desk: principal and request in, recorded answer out.
//!
//! What lives here: [`Service`], the one match over all requests, and who is connected.
//! What must never live here: a rule of a chapter; bytes of frames.
//! Who calls it: the daemon, once a frame.

mod admin;
mod answer;
mod backup;
mod dispatch;
mod event;
mod idle;
mod importing;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_test;
mod numbers;
mod opening;
mod pins;
mod places;
mod rehearsing;
mod releasing;
#[cfg(test)]
pub(crate) mod rig;
#[cfg(test)]
mod rollback_tests;
mod sealed;
#[cfg(test)]
mod tests;
mod tickets;
pub mod verify;

pub use self::opening::{OlderStore, StartError};
mod usage;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::codec;
use strongroom_wire::request::Request;

use crate::application::Application;
use crate::audit::{Audit, Event, Freshness, Level, Principal, Recorded};
use crate::calendar::Moment;
use crate::chapter::release::Releasing;
use crate::chapter::{Desk, Reply, slots};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::mechanism::Mechanisms;
use crate::object::{Object, SESSION_OBJECT_FIRST};
use crate::pace::Paces;
use crate::ports::{Changes, Clock, Journal, Measurer, Store, StoreError};
use crate::release::register::ReleaseSettings;
use crate::release::{Account, Releases};
use crate::sink::Locked;
use crate::token::Token;
use crate::vault::{PinCost, Reach, Vault};

pub use self::backup::{BackupEnd, wanted_backup};
pub use self::importing::{AskedImport, Importing};
pub use self::releasing::AskedRelease;
pub use self::sealed::SealedDesk;

pub use answer::{Answered, Malformed};
pub use numbers::Numbers;
pub use pins::Asked;
use rehearsing::Staged;

/// What a release leaves for the journal.
type Told = RefCell<Option<Box<Account>>>;

/// What the world gives the token.
#[derive(Clone)]
pub struct Ports {
    /// Keeps sealed records.
    pub store: Arc<dyn Store>,
    /// Keeps the audit.
    pub journal: Arc<dyn Journal>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Tells clients that what they kept counts no more.
    pub changes: Arc<dyn Changes>,
    /// Measures who asks.
    pub measurer: Arc<dyn Measurer>,
}

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is recorded.
    pub audit_level: Level,
    /// Bounds.
    pub limits: Limits,
    /// Which mechanisms may be used.
    pub mechanisms: Mechanisms,
    /// What the comparison of a PIN costs.
    pub pin_cost: PinCost,
    /// Version of the daemon: major, minor, patch.
    pub daemon_version: [u8; 3],
    /// Whom the tickets of logins are good for.
    pub ticket_reach: Reach,
    /// How keys are released.
    pub release: ReleaseSettings,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Applications connected.
    pub applications: u64,
    /// Sessions open.
    pub sessions: u64,
    /// Initialised tokens.
    pub tokens: u64,
    /// Token objects.
    pub objects: u64,
    /// Requests answered since the start.
    pub requests: u64,
    /// Tokens that rehearse.
    pub rehearsing: u64,
}

/// The token service. It exists only after the store has been unlocked.
pub struct Service {
    vault: Vault,
    /// Whoever makes a token holds it, and others go on meanwhile.
    making: Mutex<()>,
    tokens: RwLock<BTreeMap<u64, Arc<Token>>>,
    applications: Mutex<Vec<Arc<Application>>>,
    audit: RwLock<Audit>,
    paces: Paces,
    releases: Releases,
    imports: importing::Bounds,
    /// How many tokens rehearse.
    rehearsing: AtomicUsize,
    ports: Ports,
    settings: RwLock<Arc<Settings>>,
    numbers: Numbers,
    requests: AtomicU64,
    freshness: Freshness,
    /// Most sessions that were ever open.
    sessions_peak: AtomicUsize,
}

impl fmt::Debug for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Service")
    }
}

impl Service {
    /// Opens the vault with the root key and loads what may be seen without a PIN.
    ///
    /// # Errors
    /// [`StartError`]: the wrong key, a damaged store or one older than its journal, a journal that cannot be continued.
    pub fn open(
        ports: Ports,
        root_key: SecretBytes,
        settings: Settings,
    ) -> std::result::Result<Self, StartError> {
        Self::open_with(ports, root_key, settings, OlderStore::Refuse)
    }

    /// As [`Service::open`]; says what becomes of an older store.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open_with(
        ports: Ports,
        root_key: SecretBytes,
        settings: Settings,
        older: OlderStore,
    ) -> std::result::Result<Self, StartError> {
        let vault = Vault::open(ports.store.clone(), root_key, settings.pin_cost)
            .map_err(StartError::Vault)?;
        let tokens = vault
            .tokens()
            .into_iter()
            .map(|token| {
                let token = Token::load(token, &settings.limits)?;
                Ok((token.number, Arc::new(token)))
            })
            .collect::<std::result::Result<_, _>>()
            .map_err(StartError::Vault)?;
        let audit = Audit::open(
            ports.journal.clone(),
            ports.clock.clone(),
            settings.audit_level,
            vault.generation().clone(),
        )
        .map_err(StartError::Journal)?;
        let releases = Releases::open(&vault).map_err(StartError::Vault)?;
        let freshness = opening::accepted(&vault, &audit, older)?;
        let service = Self {
            vault,
            making: Mutex::default(),
            tokens: RwLock::new(tokens),
            applications: Mutex::default(),
            audit: RwLock::new(audit),
            paces: Paces::default(),
            releases,
            imports: importing::Bounds::default(),
            rehearsing: AtomicUsize::new(0),
            ports,
            settings: RwLock::new(Arc::new(settings)),
            numbers: Numbers::new().map_err(|_| StartError::Random)?,
            requests: AtomicU64::new(0),
            freshness,
            sessions_peak: AtomicUsize::new(0),
        };
        service.tell_whether_to_ask();
        Ok(service)
    }

    /// Clients compute digests themselves, unless they are told to ask: while a token rehearses, or a digest is refused.
    fn tell_whether_to_ask(&self) {
        let rehearsing = self.rehearsing.load(Ordering::Relaxed) > 0;
        let refused = self.settings.read().mechanisms.refuse_a_digest();
        self.ports.changes.ask_always(rehearsing || refused);
    }

    /// What the journal said of the store when it was opened.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Takes new settings: bounds and what is recorded. The cost of PINs holds for those set from now on.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be continued at the new level; the old settings stay.
    pub fn apply(&self, settings: Settings) -> std::result::Result<(), StoreError> {
        let mut audit = self.audit.write();
        if audit.level() != settings.audit_level {
            let other = Audit::open(
                self.ports.journal.clone(),
                self.ports.clock.clone(),
                settings.audit_level,
                self.vault.generation().clone(),
            )?;
            // It was not compared while nothing was recorded.
            if let Freshness::Older(older) = other.freshness()? {
                return Err(StoreError::Failed(StartError::Older(older).to_string()));
            }
            *audit = other;
        }
        for token in self.tokens.read().values() {
            token.bound_open_keys(&settings.limits);
        }
        *self.settings.write() = Arc::new(settings);
        self.tell_whether_to_ask();
        self.ports.changes.count();
        Ok(())
    }

    /// Lets the daemon see the root key, to seal it anew.
    pub fn with_root_key<T>(&self, see: impl FnOnce(&SecretBytes) -> T) -> T {
        see(self.vault.root_key())
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let tokens = self.tokens.read();
        Counts {
            applications: self.applications.lock().len() as u64,
            sessions: tokens
                .values()
                .map(|token| token.session_counts().0 as u64)
                .sum(),
            tokens: tokens.len() as u64,
            objects: tokens.values().map(|token| token.counts().0).sum(),
            requests: self.requests.load(Ordering::Relaxed),
            rehearsing: self.rehearsing.load(Ordering::Relaxed) as u64,
        }
    }

    /// The first message of a connection: it joins the application of its process and instance, or begins it.
    /// Answers also whether the client can use shared memory.
    ///
    /// # Errors
    /// [`Malformed`] for anything but a hello.
    pub fn greet(
        &self,
        principal: Principal,
        payload: &[u8],
        out: &mut SecretVec,
    ) -> std::result::Result<(Arc<Application>, bool), Malformed> {
        let Ok(Request::Hello {
            instance,
            shared_memory,
        }) = codec::decode(payload)
        else {
            return Err(Malformed);
        };
        let mut applications = self.applications.lock();
        let known = applications
            .iter()
            .find(|known| {
                known.principal.pid == principal.pid
                    && known.principal.uid == principal.uid
                    && known.principal.started == principal.started
                    && known.instance == instance
            })
            .cloned();
        let application = known.unwrap_or_else(|| {
            let application = Arc::new(Application::new(principal, instance));
            applications.push(application.clone());
            application
        });
        application.connections.fetch_add(1, Ordering::SeqCst);
        drop(applications);
        let settings = self.settings.read().clone();
        let hello = answer::hello(
            settings.daemon_version,
            settings.limits.sessions_per_application_max,
        );
        match answer::encode(&hello, &mut Locked(out)) {
            Ok(()) => Ok((application, shared_memory)),
            Err(_) => {
                self.leave(&application);
                Err(Malformed)
            }
        }
    }

    /// A connection has ended; with the last one everything the application owned ends.
    pub fn leave(&self, application: &Arc<Application>) {
        let mut applications = self.applications.lock();
        if application.connections.fetch_sub(1, Ordering::SeqCst) == 1 {
            applications.retain(|other| !Arc::ptr_eq(other, application));
            drop(applications);
            application.end_all();
        }
    }

    /// Answers one request; the encoded answer is appended to `out`.
    ///
    /// # Errors
    /// [`Malformed`]: close the connection.
    pub fn answer(
        &self,
        application: &Arc<Application>,
        payload: &[u8],
        out: &mut SecretVec,
    ) -> std::result::Result<(), Malformed> {
        let asked = self.receive(application, payload)?;
        self.reply(application, asked)?.append_to(out)
    }

    /// Reads one request. It says how long to wait before [`Self::reply`]; given up, it leaves nothing behind.
    ///
    /// # Errors
    /// [`Malformed`]: close the connection.
    pub fn receive<'p>(
        &self,
        application: &Application,
        payload: &'p [u8],
    ) -> std::result::Result<Asked<'p, '_>, Malformed> {
        let request: Request<'p> = codec::decode(payload).map_err(|_| Malformed)?;
        let pin = self.pin_try(application, &request);
        let staged = self.staged(application, &request);
        Ok(Asked {
            request,
            pin,
            staged,
        })
    }

    /// Answers one request; the answer is not encoded yet.
    ///
    /// # Errors
    /// [`Malformed`]: close the connection.
    pub fn reply(
        &self,
        application: &Arc<Application>,
        asked: Asked<'_, '_>,
    ) -> std::result::Result<Answered, Malformed> {
        let Asked {
            request,
            pin,
            staged,
        } = asked;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let verdict = staged.as_ref().and_then(Staged::verdict);
        let recorded = self.recorded(application, &request, verdict)?;
        if changes_what_is_kept(&request) {
            self.ports.changes.count();
        }
        let told = recorded.into_inner();
        // A PIN that was refused in its stead was not compared.
        if let Some(pin) = pin.filter(|_| verdict.is_none()) {
            pin.settle(told.1);
        }
        Ok(Answered(told))
    }

    /// Carries a request out and has it recorded: no answer goes without its line.
    fn recorded(
        &self,
        application: &Arc<Application>,
        request: &Request<'_>,
        verdict: Option<strongroom_wire::ck::Rv>,
    ) -> std::result::Result<Recorded<(Reply, strongroom_wire::ck::Rv)>, Malformed> {
        let facts = event::Facts::of(request);
        if facts.management {
            self.audit.read().make_room().map_err(|_| Malformed)?;
        }
        let object = self.named_object(application, &facts);
        let told = Told::default();
        let (reply, rv) = if let Some(rv) = verdict {
            Self::end_operation_of(application, request);
            (Reply::Empty, rv)
        } else {
            answer::outcome(self.dispatch(application, request, &told))
        };
        let object_id = object.as_ref().map(|object| object.unique_id());
        let told = told.into_inner();
        let event = Event {
            release: told.as_deref(),
            ..facts.event(&application.principal, object_id, &reply, rv)
        };
        self.audit
            .read()
            .record(&event, (reply, rv))
            .map_err(|_| Malformed)
    }

    /// The object that a request names, for its `CKA_UNIQUE_ID` in the audit: looked up before it may be gone.
    fn named_object(&self, application: &Application, facts: &event::Facts) -> Option<Arc<Object>> {
        if !facts.management {
            return None;
        }
        let (session, object) = (facts.session?, facts.object?);
        if self.audit.read().level() == Level::None {
            return None;
        }
        application.session(session).ok()?.object(object)
    }

    fn desk<'d>(
        &'d self,
        application: &'d Application,
        session: &'d Arc<crate::session::Session>,
        settings: &'d Settings,
        account: &'d Told,
    ) -> Desk<'d> {
        let now = self.ports.clock.now();
        let today = Moment::from(now).date;
        Desk {
            session,
            today,
            limits: &settings.limits,
            mechanisms: &settings.mechanisms,
            numbers: &self.numbers,
            releasing: Releasing {
                releases: &self.releases,
                settings: &settings.release,
                vault: &self.vault,
                now,
                account,
                who: &application.principal,
                measurer: &*self.ports.measurer,
            },
        }
    }

    /// The one match: requests without a session here, those of a session below.
    fn dispatch(
        &self,
        application: &Arc<Application>,
        request: &Request<'_>,
        account: &Told,
    ) -> Result<Reply> {
        match request {
            // A second hello is one too many.
            Request::Hello { .. } => Err(Error::ArgumentsBad),
            Request::Goodbye => {
                application.end_all();
                Ok(Reply::Empty)
            }
            Request::SlotList => Ok(self.slot_list()),
            Request::SlotInfo { slot } => {
                match self.slot_exists(*slot) {
                    Ok(()) | Err(Error::TokenNotPresent) => {}
                    Err(other) => return Err(other),
                }
                let version = self.settings.read().daemon_version;
                Ok(slots::slot_info(*slot, version, self.slot_flags(*slot)))
            }
            Request::TokenInfo { slot } => self.token_info(application, *slot),
            Request::Mechanisms { slot } => {
                self.slot_exists(*slot)?;
                let settings = self.settings.read().clone();
                Ok(Reply::Mechanisms(
                    settings.mechanisms.entries(&settings.limits),
                ))
            }
            Request::InitToken { slot, pin, label } => self.init_token(*slot, pin.expose(), *label),
            Request::OpenSession {
                slot,
                flags,
                session,
            } => self.open_session(application, *slot, *flags, *session),
            Request::CloseSession { session } => {
                application.close_session(*session)?;
                Ok(Reply::Empty)
            }
            Request::CloseAllSessions { slot } => {
                self.slot_exists(*slot)?;
                application.close_all_sessions(slots::token_of(*slot));
                Ok(Reply::Empty)
            }
            _ => self.dispatch_in_session(application, request, account),
        }
    }
}

/// Whether a request changes what applications may have kept of token objects and tokens. A new object changes nothing that was known;
/// session objects, sessions and logins are the application's own, so it knows itself.
fn changes_what_is_kept(request: &Request<'_>) -> bool {
    match request {
        Request::DestroyObject { object, .. } | Request::SetAttributeValue { object, .. } => {
            object.0 < SESSION_OBJECT_FIRST
        }
        Request::InitToken { .. } => true,
        _ => false,
    }
}
