//! The desk without a service: what it shows, what it refuses, and that all of it is recorded.

use std::sync::Arc;

use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::ck::{Rv, flag};
use strongroom_wire::codec;
use strongroom_wire::request::{Request, SessionHandle, SlotId};
use strongroom_wire::response::{Answer, Body};
use strongroom_wire::secret::Secret;

use super::SealedDesk;
use crate::audit::{self, Principal};
use crate::limits::Limits;
use crate::ports::{MemoryChanges, MemoryClock, MemoryJournal, MemoryMeasurer, MemoryStore};
use crate::service::{OlderStore, Ports, rig};

fn principal() -> Principal {
    Principal {
        uid: 1000,
        gid: 1000,
        pid: 1,
        executable: "/usr/bin/x".into(),
        started: None,
    }
}

fn desk() -> (SealedDesk, Arc<MemoryJournal>) {
    rig::start();
    let journal = Arc::new(MemoryJournal::default());
    let ports = Ports {
        store: Arc::new(MemoryStore::default()),
        journal: journal.clone(),
        clock: Arc::new(MemoryClock::default()),
        changes: Arc::new(MemoryChanges::default()),
        measurer: Arc::new(MemoryMeasurer::default()),
    };
    let desk =
        SealedDesk::new(ports, rig::settings(Limits::default()), OlderStore::Refuse).unwrap();
    (desk, journal)
}

fn ask<T>(desk: &SealedDesk, request: &Request<'_>, see: impl FnOnce(&Answer<'_>) -> T) -> T {
    let mut payload = Vec::new();
    codec::encode(request, &mut payload).unwrap();
    let mut out = SecretVec::new();
    desk.answer(&principal(), &payload, &mut out).unwrap();
    see(&codec::decode(out.expose()).unwrap())
}

fn rv(desk: &SealedDesk, request: &Request<'_>) -> Rv {
    ask(desk, request, |answer| answer.rv)
}

#[test]
fn it_shows_one_uninitialised_token_and_refuses_the_rest() {
    let (desk, journal) = desk();
    let slots = ask(&desk, &Request::SlotList, |answer| match &answer.body {
        Body::Slots(slots) => slots.items().iter().map(|entry| entry.slot.0).collect(),
        _ => Vec::new(),
    });
    assert_eq!(slots, [0]);
    let slot = SlotId(0);
    ask(&desk, &Request::TokenInfo { slot }, |answer| {
        let Body::TokenInfo(info) = &answer.body else {
            panic!("{answer:?}")
        };
        assert_eq!(info.flags & flag::TOKEN_INITIALIZED, 0);
        assert!(info.serial_number.is_empty());
    });
    assert_eq!(rv(&desk, &Request::SlotInfo { slot }), Rv::OK);
    let mechanisms = ask(
        &desk,
        &Request::Mechanisms { slot },
        |answer| matches!(&answer.body, Body::Mechanisms(list) if !list.items().is_empty()),
    );
    assert!(mechanisms);
    let session = SessionHandle(1);
    let refused = [
        Request::TokenInfo { slot: SlotId(3) },
        Request::OpenSession {
            slot,
            flags: 4,
            session,
        },
        Request::InitToken {
            slot,
            pin: Secret::new(b"12345678"),
            label: [b' '; 32],
        },
        Request::GenerateRandom { session, bytes: 8 },
        Request::SessionInfo { session },
    ];
    for request in &refused {
        assert_eq!(rv(&desk, request), Rv::DEVICE_ERROR, "{request:?}");
    }
    let report = audit::verify(&*journal).unwrap();
    assert_eq!((report.lines, report.broken), (9, None));
}

#[test]
fn the_chain_goes_on_from_desk_to_service_and_the_desk_falls_silent() {
    let (desk, journal) = desk();
    assert_eq!(rv(&desk, &Request::SlotList), Rv::OK);
    let root = SecretBytes::copy_from(&[5; 32]).unwrap();
    let service = desk.open(root).unwrap();
    let request = AdminRequest::Unseal {
        secret: Secret::new(b"s"),
    };
    service
        .administer(&principal(), &request, Some(AdminAnswer::Done))
        .unwrap();
    assert!(
        desk.administer(&principal(), &AdminRequest::Status, AdminAnswer::Done)
            .is_err()
    );
    let mut payload = Vec::new();
    codec::encode(&Request::SlotList, &mut payload).unwrap();
    let mut out = SecretVec::new();
    assert!(desk.answer(&principal(), &payload, &mut out).is_err());
    let report = audit::verify(&*journal).unwrap();
    assert_eq!((report.lines, report.broken), (2, None));
}

#[test]
fn a_store_that_does_not_open_leaves_the_desk_at_work() {
    let (desk, journal) = desk();
    drop(
        desk.open(SecretBytes::copy_from(&[5; 32]).unwrap())
            .unwrap(),
    );
    let other = SealedDesk::new(desk.ports.clone(), desk.settings.clone(), desk.older).unwrap();
    assert!(
        other
            .open(SecretBytes::copy_from(&[6; 32]).unwrap())
            .is_err()
    );
    assert_eq!(rv(&other, &Request::SlotList), Rv::OK);
    assert_eq!(audit::verify(&*journal).unwrap().broken, None);
}
