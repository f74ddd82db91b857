//! The service alone: a C_Sign from the encoded request to the recorded answer, over ports in memory.
//!
//! What lives here: one application with one key, spoken to in encoded messages as the module does it.
//! What must never live here: sockets and shared memory; those are measured in `ring/benches`.
//! Who calls it: `cargo bench --package strongroom`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a benchmark that cannot go on ends; the macros of criterion write functions without documentation"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use strongroom::application::Application;
use strongroom::audit::{Level, Principal};
use strongroom::limits::Limits;
use strongroom::ports::{
    Journal, MemoryChanges, MemoryClock, MemoryMeasurer, MemoryStore, StoreError, Time,
};
use strongroom::service::{Ports, Service, Settings};
use strongroom::vault::PinCost;
use strongroom_keymem::{Config, Locking, SecretBytes, SecretVec};
use strongroom_wire::ck::{AttributeType as A, MechanismType, Rv, UserType, flag};
use strongroom_wire::codec::{self, List};
use strongroom_wire::request::{
    Attribute, Mechanism, ObjectHandle, Output, Parameter, Request, SessionHandle, SlotId, Value,
};
use strongroom_wire::response::{Answer, Body};
use strongroom_wire::secret::Secret;

const SLOT: SlotId = SlotId(0);
const SO_PIN: &[u8] = b"officer-12345678";
const USER_PIN: &[u8] = b"user-12345678";

/// Lines go nowhere: a measurement writes more of them than a memory has room for.
struct Nowhere;

impl Journal for Nowhere {
    fn append(&self, line: &[u8]) -> Result<(), StoreError> {
        black_box(line);
        Ok(())
    }

    fn read(&self, _: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        Ok(())
    }

    fn tail(&self, _: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(Vec::new())
    }
}

/// An application and the service it speaks to.
struct Guest {
    service: Service,
    application: Arc<Application>,
}

impl Guest {
    fn new() -> Self {
        strongroom_keymem::start(&Config {
            bytes: Some(32 << 20),
            locking: Locking::DangerUnlockedAllowed,
        })
        .unwrap();
        strongroom_crypto::start().unwrap();
        let ports = Ports {
            store: Arc::new(MemoryStore::new()),
            journal: Arc::new(Nowhere),
            clock: Arc::new(MemoryClock::new(Time(1_795_343_807_123))),
            changes: Arc::new(MemoryChanges::default()),
            measurer: Arc::new(MemoryMeasurer::default()),
        };
        let settings = Settings {
            audit_level: Level::All,
            limits: Limits::default(),
            mechanisms: strongroom::mechanism::Mechanisms::default(),
            pin_cost: PinCost::danger_cheap(),
            daemon_version: [1, 2, 3],
            ticket_reach: strongroom::vault::Reach::Process,
            release: strongroom::release::register::ReleaseSettings::default(),
        };
        let root = SecretBytes::copy_from(&[7; 32]).unwrap();
        let service = Service::open(ports, root, settings).unwrap();
        let principal = Principal {
            uid: 1000,
            gid: 1000,
            pid: 1000,
            executable: "/usr/bin/guest".into(),
            started: Some(77),
        };
        let hello = encoded(&Request::Hello {
            instance: [0; 16],
            shared_memory: false,
        });
        let mut out = SecretVec::new();
        let (application, _) = service.greet(principal, &hello, &mut out).unwrap();
        Self {
            service,
            application,
        }
    }

    /// Sends an encoded request, and sees the answer.
    fn sent<R>(&self, request: &[u8], see: impl FnOnce(Answer<'_>) -> R) -> R {
        let mut out = SecretVec::new();
        self.service
            .answer(&self.application, request, &mut out)
            .unwrap();
        see(codec::decode(out.expose()).unwrap())
    }

    fn done(&self, request: &Request<'_>) {
        assert_eq!(self.sent(&encoded(request), |answer| answer.rv), Rv::OK);
    }

    /// A session with the user of a new token logged in.
    fn session(&self) -> SessionHandle {
        self.done(&Request::InitToken {
            slot: SLOT,
            pin: Secret::new(SO_PIN),
            label: *b"a token                         ",
        });
        let session = SessionHandle(1);
        self.done(&Request::OpenSession {
            slot: SLOT,
            flags: flag::SERIAL_SESSION | flag::RW_SESSION,
            session,
        });
        let login = |user, pin| {
            self.done(&Request::Login {
                session,
                user,
                pin: Secret::new(pin),
            });
        };
        login(UserType::SO, SO_PIN);
        self.done(&Request::InitPin {
            session,
            pin: Secret::new(USER_PIN),
        });
        self.done(&Request::Logout { session });
        login(UserType::USER, USER_PIN);
        session
    }

    /// The private key of a new pair on P-256.
    fn private_key(&self, session: SessionHandle) -> ObjectHandle {
        let attribute = |kind, value| Attribute {
            kind,
            value: Value::Bytes(Secret::new(value)),
        };
        let curve = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        let public = List::new(vec![attribute(A::EC_PARAMS, curve)]).unwrap();
        let private = List::new(vec![attribute(A::SIGN, &[1])]).unwrap();
        let request = encoded(&Request::GenerateKeyPair {
            session,
            mechanism: plain(MechanismType::EC_KEY_PAIR_GEN),
            public,
            private,
        });
        self.sent(&request, |answer| match answer.body {
            Body::KeyPair { private, .. } => private,
            other => panic!("no pair but {:?} {other:?}", answer.rv),
        })
    }
}

const fn plain(kind: MechanismType) -> Mechanism<'static> {
    Mechanism {
        kind,
        parameter: Parameter::None,
    }
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(request, &mut bytes).unwrap();
    bytes
}

fn sign(criterion: &mut Criterion) {
    let guest = Guest::new();
    let session = guest.session();
    let key = guest.private_key(session);
    let init = encoded(&Request::SignInit {
        session,
        mechanism: Some(plain(MechanismType::ECDSA)),
        key,
    });
    let sign = encoded(&Request::Sign {
        session,
        data: Secret::new(&[7; 32]),
        output: Output::Capacity(256),
    });
    let mut out = SecretVec::new();
    criterion.bench_function("service: C_SignInit and C_Sign, ECDSA P-256", |bench| {
        bench.iter(|| {
            for request in [&init, &sign] {
                out.clear();
                guest
                    .service
                    .answer(&guest.application, black_box(request), &mut out)
                    .unwrap();
            }
            black_box(out.len())
        });
    });
    guest.sent(&init, |answer| assert_eq!(answer.rv, Rv::OK));
    guest.sent(&sign, |answer| assert_eq!(answer.rv, Rv::OK));
}

criterion_group!(benches, sign);
criterion_main!(benches);
