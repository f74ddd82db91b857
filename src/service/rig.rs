//! *What lives here:* a whole service in memory, applications and sessions that speak to it in encoded messages as processes do, for
//! the tests of every chapter. *What must never live here:* a test. *Who calls it:* the tests beside the service and the chapters.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use strongroom_keymem::{Config, Locking, SecretBytes, SecretVec};
use strongroom_wire::ck::{AttributeType as A, MechanismType, Rv, UserType, flag};
use strongroom_wire::codec::{self, List};
use strongroom_wire::request::{
    self, Attribute, FlatAttribute, Mechanism, ObjectHandle, Output, Parameter, Request,
    SessionHandle, SlotId,
};
use strongroom_wire::response::{Answer, AttributeAnswer, Body, SessionInfo, TokenInfo};
use strongroom_wire::secret::Secret;

use super::{Ports, Service, Settings};
use crate::application::Application;
use crate::attribute::Value;
use crate::audit::{Level, Principal};
use crate::limits::Limits;
use crate::ports::{MemoryChanges, MemoryClock, MemoryJournal, MemoryMeasurer, MemoryStore, Time};
use crate::vault::PinCost;

pub(crate) const SO_PIN: &[u8] = b"officer-87654321";
pub(crate) const USER_PIN: &[u8] = b"user-12345678";
pub(crate) const LABEL: [u8; 32] = *b"a token                         ";
pub(crate) const SLOT: SlotId = SlotId(0);
/// 2026-11-22T10:36:47Z.
pub(crate) const NOW: Time = Time(1_795_343_807_123);
pub(crate) const READ_WRITE: u64 = flag::SERIAL_SESSION | flag::RW_SESSION;
pub(crate) const READ_ONLY: u64 = flag::SERIAL_SESSION;

/// Starts what every process of the daemon starts once.
pub(crate) fn start() {
    let config = Config {
        bytes: Some(32 << 20),
        locking: Locking::DangerUnlockedAllowed,
    };
    strongroom_keymem::start(&config).unwrap();
    strongroom_crypto::start().unwrap();
}

/// A service and its world.
pub(crate) struct House {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) clock: Arc<MemoryClock>,
    pub(crate) changes: Arc<MemoryChanges>,
    pub(crate) measurer: Arc<MemoryMeasurer>,
    pub(crate) service: Service,
}

impl House {
    /// One without any token.
    pub(crate) fn empty(limits: Limits) -> Arc<Self> {
        Self::over(
            Arc::new(MemoryStore::new()),
            Arc::new(MemoryJournal::new()),
            limits,
        )
    }

    /// One with a token in slot 0 that has both PINs.
    pub(crate) fn new() -> Arc<Self> {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Arc<Self> {
        let house = Self::empty(limits);
        house.make_token(SLOT);
        house
    }

    fn over(store: Arc<MemoryStore>, journal: Arc<MemoryJournal>, limits: Limits) -> Arc<Self> {
        start();
        let clock = Arc::new(MemoryClock::new(NOW));
        let changes = Arc::new(MemoryChanges::default());
        let measurer = Arc::new(MemoryMeasurer::default());
        let ports = Ports {
            store: store.clone(),
            journal: journal.clone(),
            clock: clock.clone(),
            changes: changes.clone(),
            measurer: measurer.clone(),
        };
        let root = SecretBytes::copy_from(&[7; 32]).unwrap();
        let service = Service::open(ports, root, settings(limits)).unwrap();
        Arc::new(Self {
            store,
            journal,
            clock,
            changes,
            measurer,
            service,
        })
    }

    /// The daemon stopped and started again over what the disk holds now.
    pub(crate) fn restarted(&self) -> Arc<Self> {
        let store = Arc::new(self.store.duplicate());
        let limits = self.service.settings.read().limits;
        let journal = MemoryJournal::with_lines(self.journal.lines());
        Self::over(store, Arc::new(journal), limits)
    }

    /// Initialises the token of a slot, and its user's PIN.
    pub(crate) fn make_token(self: &Arc<Self>, slot: SlotId) {
        let guest = self.guest();
        assert_eq!(guest.init_token(slot, SO_PIN), Rv::OK);
        let talk = guest.open_at(slot, READ_WRITE).unwrap();
        assert_eq!(talk.login(UserType::SO, SO_PIN), Rv::OK);
        assert_eq!(talk.init_pin(USER_PIN), Rv::OK);
        guest.leave();
    }

    /// A process that has just said hello.
    pub(crate) fn guest(self: &Arc<Self>) -> Guest {
        static NEXT: AtomicI32 = AtomicI32::new(1000);
        self.guest_of(NEXT.fetch_add(1, Ordering::Relaxed), 0)
    }

    /// A connection of a process.
    pub(crate) fn guest_of(self: &Arc<Self>, pid: i32, instance: u8) -> Guest {
        self.guest_as(principal(pid), instance)
    }

    /// A connection of a process of which everything is told.
    pub(crate) fn guest_as(self: &Arc<Self>, principal: Principal, instance: u8) -> Guest {
        let mut hello = Vec::new();
        let request = Request::Hello {
            instance: [instance; 16],
            shared_memory: false,
        };
        codec::encode(&request, &mut hello).unwrap();
        let mut out = SecretVec::new();
        let (application, _) = self.service.greet(principal, &hello, &mut out).unwrap();
        Guest {
            house: self.clone(),
            application,
        }
    }

    /// A session of a new application, read-write, with the user logged in.
    pub(crate) fn user(self: &Arc<Self>) -> Talk {
        let talk = self.guest().open(READ_WRITE).unwrap();
        assert_eq!(talk.login(UserType::USER, USER_PIN), Rv::OK);
        talk
    }

    /// A session of a new application, read-write, with the officer logged in.
    pub(crate) fn officer(self: &Arc<Self>) -> Talk {
        let talk = self.guest().open(READ_WRITE).unwrap();
        assert_eq!(talk.login(UserType::SO, SO_PIN), Rv::OK);
        talk
    }

    /// Registers the authority of the tests of releases.
    pub(crate) fn register(&self) {
        let authority = crate::release::Authority::with_keys(
            crate::release::rig::URL,
            &crate::release::rig::key_set(),
        );
        let service = &self.service;
        service
            .releases
            .add(&service.vault, authority.unwrap())
            .unwrap();
    }

    /// Takes it away.
    pub(crate) fn unregister(&self) {
        let service = &self.service;
        service
            .releases
            .remove(&service.vault, crate::release::rig::URL)
            .unwrap();
    }

    /// Each statement is good once from now on.
    pub(crate) fn single_use(&self) {
        let mut settings = self.service.settings.read().as_ref().clone();
        settings.release.single_use = true;
        self.service.apply(settings).unwrap();
    }

    /// Whether the daemon's own authority is one from now on.
    pub(crate) fn believe_itself(&self, local: bool) {
        let mut settings = self.service.settings.read().as_ref().clone();
        settings.release.local = local;
        self.service.apply(settings).unwrap();
    }

    /// The root of those who sign released keys.
    pub(crate) fn root_certificate(&self) -> Vec<u8> {
        let service = &self.service;
        service
            .releases
            .root_certificate(&service.vault, NOW)
            .unwrap()
    }

    /// The lines of the audit as text.
    pub(crate) fn audit_lines(&self) -> Vec<String> {
        let text = |line| String::from_utf8(line).unwrap();
        self.journal.lines().into_iter().map(text).collect()
    }
}

/// A process.
pub(crate) fn principal(pid: i32) -> Principal {
    Principal {
        uid: 1000,
        gid: 1000,
        pid,
        executable: "/usr/bin/guest".into(),
        started: Some(77),
    }
}

pub(crate) fn settings(limits: Limits) -> Settings {
    Settings {
        audit_level: Level::All,
        limits,
        mechanisms: crate::mechanism::Mechanisms::default(),
        pin_cost: PinCost::danger_cheap(),
        daemon_version: [1, 2, 3],
        ticket_reach: crate::vault::Reach::Process,
        release: crate::release::register::ReleaseSettings::default(),
    }
}

/// One application.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) house: Arc<House>,
    pub(crate) application: Arc<Application>,
}

impl Guest {
    /// Sends a request as the daemon receives it, and decodes the answer as the module does.
    pub(crate) fn ask(&self, request: &Request<'_>) -> Told {
        let mut sent = Vec::new();
        codec::encode(request, &mut sent).unwrap();
        let mut out = SecretVec::new();
        self.house
            .service
            .answer(&self.application, &sent, &mut out)
            .unwrap();
        Told(out.expose().to_vec())
    }

    pub(crate) fn rv(&self, request: &Request<'_>) -> Rv {
        self.ask(request).rv()
    }

    pub(crate) fn init_token(&self, slot: SlotId, pin: &[u8]) -> Rv {
        self.rv(&Request::InitToken {
            slot,
            pin: Secret::new(pin),
            label: LABEL,
        })
    }

    pub(crate) fn open(&self, flags: u64) -> Result<Talk, Rv> {
        self.open_at(SLOT, flags)
    }

    pub(crate) fn open_at(&self, slot: SlotId, flags: u64) -> Result<Talk, Rv> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let session = SessionHandle(NEXT.fetch_add(1, Ordering::Relaxed));
        let rv = self.rv(&Request::OpenSession {
            slot,
            flags,
            session,
        });
        if rv != Rv::OK {
            return Err(rv);
        }
        Ok(Talk {
            guest: self.clone(),
            session,
        })
    }

    pub(crate) fn close_all(&self) -> Rv {
        self.rv(&Request::CloseAllSessions { slot: SLOT })
    }

    pub(crate) fn token_info(&self, slot: SlotId) -> Result<TokenInfo, Rv> {
        let told = self.ask(&Request::TokenInfo { slot });
        match told.body() {
            Body::TokenInfo(info) => Ok(info),
            _ => Err(told.rv()),
        }
    }

    pub(crate) fn slots(&self) -> Vec<SlotId> {
        match self.ask(&Request::SlotList).body() {
            Body::Slots(slots) => slots.items().iter().map(|entry| entry.slot).collect(),
            other => panic!("no slots but {other:?}"),
        }
    }

    /// The process ends.
    pub(crate) fn leave(self) {
        self.house.service.leave(&self.application);
    }
}

/// One session.
#[derive(Clone)]
pub(crate) struct Talk {
    pub(crate) guest: Guest,
    pub(crate) session: SessionHandle,
}

/// The shapes of the requests of a session, each as one call.
impl Talk {
    pub(crate) fn ask(&self, request: &Request<'_>) -> Told {
        self.guest.ask(request)
    }

    pub(crate) fn rv(&self, request: &Request<'_>) -> Rv {
        self.guest.rv(request)
    }

    pub(crate) fn login(&self, user: UserType, pin: &[u8]) -> Rv {
        let (session, pin) = (self.session, Secret::new(pin));
        self.rv(&Request::Login { session, user, pin })
    }

    /// A login with all that it is answered: the ticket, if there is one.
    pub(crate) fn login_for_ticket(&self, user: UserType, pin: &[u8]) -> Option<Vec<u8>> {
        let (session, pin) = (self.session, Secret::new(pin));
        let told = self.ask(&Request::Login { session, user, pin });
        assert_eq!(told.rv(), Rv::OK);
        match told.body() {
            Body::Output { data, .. } => Some(data.expose().to_vec()),
            _ => None,
        }
    }

    pub(crate) fn restore(&self, ticket: &[u8]) -> Rv {
        let (session, ticket) = (self.session, Secret::new(ticket));
        self.rv(&Request::RestoreLogin { session, ticket })
    }

    pub(crate) fn logout(&self) -> Rv {
        let session = self.session;
        self.rv(&Request::Logout { session })
    }

    pub(crate) fn close(&self) -> Rv {
        let session = self.session;
        self.rv(&Request::CloseSession { session })
    }

    pub(crate) fn init_pin(&self, pin: &[u8]) -> Rv {
        let (session, pin) = (self.session, Secret::new(pin));
        self.rv(&Request::InitPin { session, pin })
    }

    pub(crate) fn set_pin(&self, old: &[u8], new: &[u8]) -> Rv {
        let (session, old, new) = (self.session, Secret::new(old), Secret::new(new));
        self.rv(&Request::SetPin { session, old, new })
    }

    pub(crate) fn info(&self) -> Result<SessionInfo, Rv> {
        let session = self.session;
        let told = self.ask(&Request::SessionInfo { session });
        match told.body() {
            Body::SessionInfo(info) => Ok(info),
            _ => Err(told.rv()),
        }
    }

    pub(crate) fn create(&self, template: &[(A, Value)]) -> Result<ObjectHandle, Rv> {
        let session = self.session;
        sending(template, |template| {
            self.ask(&Request::CreateObject { session, template })
                .object()
        })
    }

    pub(crate) fn copy(
        &self,
        object: ObjectHandle,
        template: &[(A, Value)],
    ) -> Result<ObjectHandle, Rv> {
        let session = self.session;
        sending(template, |template| {
            self.ask(&Request::CopyObject {
                session,
                object,
                template,
            })
            .object()
        })
    }

    pub(crate) fn set(&self, object: ObjectHandle, template: &[(A, Value)]) -> Rv {
        let session = self.session;
        sending(template, |template| {
            self.rv(&Request::SetAttributeValue {
                session,
                object,
                template,
            })
        })
    }

    pub(crate) fn destroy(&self, object: ObjectHandle) -> Rv {
        let session = self.session;
        self.rv(&Request::DestroyObject { session, object })
    }

    /// One attribute: its bytes, or why not.
    pub(crate) fn read(&self, object: ObjectHandle, kind: A) -> Result<Vec<u8>, Rv> {
        let session = self.session;
        let kinds = List::new(vec![kind]).unwrap();
        let told = self.ask(&Request::AttributeValue {
            session,
            object,
            kinds,
        });
        match told.body() {
            Body::Attributes(answers) => match &answers.items()[0] {
                AttributeAnswer::Open(bytes) => Ok(bytes.to_vec()),
                AttributeAnswer::Secret(bytes) => Ok(bytes.expose().to_vec()),
                AttributeAnswer::Template(inner) => Ok(inner
                    .items()
                    .iter()
                    .flat_map(|one| [&one.kind.0.to_ne_bytes()[..], one.value.expose()].concat())
                    .collect()),
                AttributeAnswer::Sensitive | AttributeAnswer::TypeInvalid => Err(told.rv()),
            },
            _ => Err(told.rv()),
        }
    }

    pub(crate) fn flag(&self, object: ObjectHandle, kind: A) -> bool {
        self.read(object, kind).unwrap() == [1]
    }

    pub(crate) fn number(&self, object: ObjectHandle, kind: A) -> u64 {
        u64::from_ne_bytes(self.read(object, kind).unwrap().try_into().unwrap())
    }

    /// Every attribute of the table, each read alone: what a stranger can know of an object.
    pub(crate) fn all(&self, object: ObjectHandle) -> Vec<(A, Result<Vec<u8>, Rv>)> {
        let mut kinds: Vec<A> = crate::attribute::table::TABLE
            .iter()
            .map(|row| row.kind)
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
            .into_iter()
            .map(|kind| (kind, self.read(object, kind)))
            .collect()
    }

    pub(crate) fn find_init(&self, template: &[(A, Value)]) -> Rv {
        let session = self.session;
        sending(template, |template| {
            self.rv(&Request::FindObjectsInit { session, template })
        })
    }

    pub(crate) fn find_next(&self, max: u64) -> Result<Vec<ObjectHandle>, Rv> {
        let session = self.session;
        let told = self.ask(&Request::FindObjects { session, max });
        match told.body() {
            Body::Objects(found) => Ok(found.into_items()),
            _ => Err(told.rv()),
        }
    }

    pub(crate) fn find_final(&self) -> Rv {
        let session = self.session;
        self.rv(&Request::FindObjectsFinal { session })
    }

    pub(crate) fn find(&self, template: &[(A, Value)]) -> Vec<ObjectHandle> {
        assert_eq!(self.find_init(template), Rv::OK);
        let found = self.find_next(u64::MAX).unwrap();
        assert_eq!(self.find_final(), Rv::OK);
        found
    }

    pub(crate) fn generate(
        &self,
        kind: MechanismType,
        template: &[(A, Value)],
    ) -> Result<ObjectHandle, Rv> {
        let session = self.session;
        let mechanism = plain(kind);
        sending(template, |template| {
            self.ask(&Request::GenerateKey {
                session,
                mechanism,
                template,
            })
            .object()
        })
    }

    /// Handles of the public and the private key.
    pub(crate) fn pair(
        &self,
        kind: MechanismType,
        public: &[(A, Value)],
        private: &[(A, Value)],
    ) -> Result<(ObjectHandle, ObjectHandle), Rv> {
        let session = self.session;
        let told = sending(public, |public| {
            sending(private, |private| {
                self.ask(&Request::GenerateKeyPair {
                    session,
                    mechanism: plain(kind),
                    public: public.clone(),
                    private,
                })
            })
        });
        match told.body() {
            Body::KeyPair { public, private } => Ok((public, private)),
            _ => Err(told.rv()),
        }
    }

    pub(crate) fn sign_init(&self, kind: MechanismType, key: ObjectHandle) -> Rv {
        let session = self.session;
        let mechanism = Some(plain(kind));
        self.rv(&Request::SignInit {
            session,
            mechanism,
            key,
        })
    }

    pub(crate) fn sign_data(&self, data: &[u8]) -> Result<Vec<u8>, Rv> {
        let session = self.session;
        self.ask(&Request::Sign {
            session,
            data: Secret::new(data),
            output: ROOM,
        })
        .output()
    }

    pub(crate) fn sign(
        &self,
        kind: MechanismType,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Rv> {
        ok(self.sign_init(kind, key))?;
        self.sign_data(data)
    }

    pub(crate) fn verify(
        &self,
        kind: MechanismType,
        key: ObjectHandle,
        data: &[u8],
        signature: &[u8],
    ) -> Rv {
        let session = self.session;
        let mechanism = Some(plain(kind));
        let begun = self.rv(&Request::VerifyInit {
            session,
            mechanism,
            key,
        });
        if begun != Rv::OK {
            return begun;
        }
        self.rv(&Request::Verify {
            session,
            data: Secret::new(data),
            signature,
        })
    }

    pub(crate) fn encrypt(
        &self,
        mechanism: Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Rv> {
        let session = self.session;
        let mechanism = Some(mechanism);
        ok(self.rv(&Request::EncryptInit {
            session,
            mechanism,
            key,
        }))?;
        self.ask(&Request::Encrypt {
            session,
            data: Secret::new(data),
            output: ROOM,
        })
        .output()
    }

    pub(crate) fn decrypt(
        &self,
        mechanism: Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
    ) -> Result<Vec<u8>, Rv> {
        let session = self.session;
        let mechanism = Some(mechanism);
        ok(self.rv(&Request::DecryptInit {
            session,
            mechanism,
            key,
        }))?;
        self.ask(&Request::Decrypt {
            session,
            data: Secret::new(data),
            output: ROOM,
        })
        .output()
    }

    pub(crate) fn wrap(
        &self,
        mechanism: Mechanism<'_>,
        wrapping_key: ObjectHandle,
        key: ObjectHandle,
    ) -> Result<Vec<u8>, Rv> {
        let session = self.session;
        self.ask(&Request::WrapKey {
            session,
            mechanism,
            wrapping_key,
            key,
            output: ROOM,
        })
        .output()
    }

    pub(crate) fn unwrap(
        &self,
        mechanism: Mechanism<'_>,
        unwrapping_key: ObjectHandle,
        wrapped: &[u8],
        template: &[(A, Value)],
    ) -> Result<ObjectHandle, Rv> {
        let session = self.session;
        sending(template, |template| {
            self.ask(&Request::UnwrapKey {
                session,
                mechanism,
                unwrapping_key,
                wrapped,
                template,
            })
            .object()
        })
    }

    pub(crate) fn wrap_authenticated(
        &self,
        mechanism: Mechanism<'_>,
        wrapping_key: ObjectHandle,
        key: ObjectHandle,
        associated: &[u8],
    ) -> Result<Vec<u8>, Rv> {
        let session = self.session;
        self.ask(&Request::WrapKeyAuthenticated {
            session,
            mechanism,
            wrapping_key,
            key,
            associated,
            output: ROOM,
        })
        .output()
    }

    pub(crate) fn unwrap_authenticated(
        &self,
        mechanism: Mechanism<'_>,
        unwrapping_key: ObjectHandle,
        wrapped: &[u8],
        associated: &[u8],
        template: &[(A, Value)],
    ) -> Result<ObjectHandle, Rv> {
        let session = self.session;
        sending(template, |template| {
            self.ask(&Request::UnwrapKeyAuthenticated {
                session,
                mechanism,
                unwrapping_key,
                wrapped,
                template,
                associated,
            })
            .object()
        })
    }

    pub(crate) fn derive(
        &self,
        mechanism: Mechanism<'_>,
        base_key: ObjectHandle,
        template: &[(A, Value)],
    ) -> Result<ObjectHandle, Rv> {
        let session = self.session;
        sending(template, |template| {
            self.ask(&Request::DeriveKey {
                session,
                mechanism,
                base_key,
                template,
            })
            .object()
        })
    }
}

/// An answer, still encoded.
pub(crate) struct Told(Vec<u8>);

impl Told {
    fn answer(&self) -> Answer<'_> {
        codec::decode(&self.0).unwrap()
    }

    pub(crate) fn rv(&self) -> Rv {
        self.answer().rv
    }

    pub(crate) fn body(&self) -> Body<'_> {
        self.answer().body
    }

    pub(crate) fn object(&self) -> Result<ObjectHandle, Rv> {
        match self.body() {
            Body::Object(object) => Ok(object),
            _ => Err(self.rv()),
        }
    }

    pub(crate) fn output(&self) -> Result<Vec<u8>, Rv> {
        ok(self.rv())?;
        match self.body() {
            Body::Output { length, data } | Body::Wrapped { length, data, .. } => {
                assert_eq!(length, data.len() as u64);
                Ok(data.expose().to_vec())
            }
            other => panic!("no output but {other:?}"),
        }
    }
}

/// More room than any answer of these tests needs.
pub(crate) const ROOM: Output = Output::Capacity(1 << 16);

pub(crate) fn ok(rv: Rv) -> Result<(), Rv> {
    if rv == Rv::OK { Ok(()) } else { Err(rv) }
}

/// A mechanism without a parameter.
pub(crate) const fn plain(kind: MechanismType) -> Mechanism<'static> {
    Mechanism {
        kind,
        parameter: Parameter::None,
    }
}

pub(crate) const fn yes(kind: A) -> (A, Value) {
    (kind, Value::Flag(true))
}

pub(crate) const fn no(kind: A) -> (A, Value) {
    (kind, Value::Flag(false))
}

pub(crate) const fn number(kind: A, number: u64) -> (A, Value) {
    (kind, Value::Number(number))
}

pub(crate) fn bytes(kind: A, bytes: &[u8]) -> (A, Value) {
    (kind, Value::Bytes(bytes.into()))
}

pub(crate) fn inner(kind: A, inner: &[(A, Value)]) -> (A, Value) {
    (kind, Value::Template(inner.into()))
}

pub(crate) fn mechanisms(allowed: &[MechanismType]) -> (A, Value) {
    let numbers = allowed.iter().map(|kind| kind.0).collect();
    (A::ALLOWED_MECHANISMS, Value::Numbers(numbers))
}

/// A template with some attributes more; a later one takes the place of an earlier one of its kind.
pub(crate) fn with(template: &[(A, Value)], more: &[(A, Value)]) -> Vec<(A, Value)> {
    let kept = template
        .iter()
        .filter(|(kind, _)| more.iter().all(|(other, _)| other != kind));
    kept.chain(more).cloned().collect()
}

/// A template without an attribute.
pub(crate) fn without(template: &[(A, Value)], kind: A) -> Vec<(A, Value)> {
    let kept = template.iter().filter(|(other, _)| *other != kind);
    kept.cloned().collect()
}

/// One attribute spelled as a C structure has it: its own bytes, and those of an array's members.
struct Spelled<'v> {
    kind: A,
    value: &'v Value,
    bytes: Vec<u8>,
    members: Vec<(A, Vec<u8>)>,
}

impl<'v> Spelled<'v> {
    fn new((kind, value): &'v (A, Value)) -> Self {
        let inner: &[(A, Value)] = match value {
            Value::Template(inner) => inner,
            _ => &[],
        };
        let member = |(kind, value): &(A, Value)| (*kind, value.to_bytes());
        Self {
            kind: *kind,
            value,
            bytes: value.to_bytes(),
            members: inner.iter().map(member).collect(),
        }
    }

    fn sent(&self) -> Attribute<'_> {
        let value = if matches!(self.value, Value::Template(_)) {
            let members = self.members.iter().map(|(kind, bytes)| FlatAttribute {
                kind: *kind,
                value: Secret::new(bytes),
            });
            request::Value::Template(List::new(members.collect()).unwrap())
        } else {
            request::Value::Bytes(Secret::new(&self.bytes))
        };
        Attribute {
            kind: self.kind,
            value,
        }
    }
}

/// Spells a template as it is sent and hands it to a closure.
pub(crate) fn sending<R>(
    template: &[(A, Value)],
    send: impl FnOnce(request::Template<'_>) -> R,
) -> R {
    let spelled: Vec<_> = template.iter().map(Spelled::new).collect();
    send(List::new(spelled.iter().map(Spelled::sent).collect()).unwrap())
}

/// Random numbers that are the same in every run (xorshift64*, Vigna 2016).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    pub(crate) const fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % sides
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.roll(from.len() as u64);
        from[usize::try_from(at).unwrap()].clone()
    }
}
