//! *What lives here:* a store put back as a whole, and how its journal tells. *What must never live here:* damage to records; the vault
//! has those tests.

use std::sync::Arc;

use serde_json::Value;
use strongroom_keymem::SecretBytes;
use strongroom_wire::ck::{Rv, UserType};
use strongroom_wire::codec;
use strongroom_wire::request::Request;

use super::rig::{House, READ_WRITE, settings};
use super::*;
use crate::audit::{Older, verify};
use crate::limits::Limits;
use crate::ports::{Change, MemoryJournal, MemoryStore};

/// A start over a copy of a store, as after a restart.
fn start(
    house: &House,
    store: &MemoryStore,
    journal: &Arc<MemoryJournal>,
    level: Level,
    older: OlderStore,
) -> std::result::Result<(Service, Arc<MemoryStore>), StartError> {
    let store = Arc::new(store.duplicate());
    let ports = Ports {
        store: store.clone(),
        journal: journal.clone(),
        clock: house.clock.clone(),
        changes: house.changes.clone(),
        measurer: house.measurer.clone(),
    };
    let root = SecretBytes::copy_from(&[7; 32]).unwrap();
    let settings = Settings {
        audit_level: level,
        ..settings(Limits::default())
    };
    Service::open_with(ports, root, settings, older).map(|service| (service, store))
}

fn at_level_all(
    house: &House,
    store: &MemoryStore,
    older: OlderStore,
) -> std::result::Result<(Service, Arc<MemoryStore>), StartError> {
    start(house, store, &house.journal, Level::All, older)
}

fn refused(house: &House, store: &MemoryStore) -> StartError {
    let started = at_level_all(house, store, OlderStore::Refuse);
    started.map(|_| ()).unwrap_err()
}

fn generations(journal: &MemoryJournal) -> Vec<Option<u64>> {
    let lines = journal.lines();
    lines
        .iter()
        .map(|line| serde_json::from_slice::<Value>(line).unwrap()["generation"].as_u64())
        .collect()
}

#[test]
fn every_earlier_state_of_the_whole_store_is_refused_at_the_start() {
    let house = House::new();
    let guest = house.guest();
    let mut earlier = Vec::new();
    for pin in [b"0000", b"1111", b"2222"] {
        earlier.push(house.store.duplicate());
        let talk = guest.open(READ_WRITE).unwrap();
        assert_eq!(talk.login(UserType::USER, pin), Rv::PIN_INCORRECT);
    }
    let (service, _) = at_level_all(&house, &house.store, OlderStore::Refuse).unwrap();
    assert_eq!(service.freshness(), Freshness::Current);
    let now = service.vault.generation().get();
    for (missing, store) in earlier.iter().rev().enumerate() {
        let error = refused(&house, store);
        let StartError::Older(older) = &error else {
            panic!("{error}")
        };
        assert_eq!(
            (older.journal, older.store),
            (now, now - 1 - missing as u64)
        );
        let text = error.to_string();
        assert!(
            text.contains("put back to an earlier state") && text.contains("--accept-older-store"),
            "{text}"
        );
    }
    // An empty store in its place is the earliest state of all.
    let error = refused(&house, &MemoryStore::new());
    assert!(matches!(error, StartError::Older(_)), "{error}");
}

#[test]
fn a_token_put_back_with_its_census_is_refused_too() {
    let house = House::new();
    let early = house.store.duplicate();
    let guest = house.guest();
    let talk = guest.open(READ_WRITE).unwrap();
    assert_eq!(talk.login(UserType::USER, b"0000"), Rv::PIN_INCORRECT);
    let patched = house.store.duplicate();
    let all = early.keys().into_iter();
    let back: Vec<Change> = all
        .map(|key| Change::Put(key, early.record(key).unwrap().unwrap()))
        .collect();
    patched.commit(&back).unwrap();
    let error = refused(&house, &patched);
    assert!(matches!(error, StartError::Older(_)), "{error}");
}

#[test]
fn an_accepted_older_store_is_recorded_and_outgrows_every_newer_copy() {
    let house = House::new();
    let early = house.store.duplicate();
    let guest = house.guest();
    let talk = guest.open(READ_WRITE).unwrap();
    assert_eq!(talk.login(UserType::USER, b"0000"), Rv::PIN_INCORRECT);
    let (service, store) = at_level_all(&house, &early, OlderStore::Accept).unwrap();
    let Freshness::Accepted(Older { journal, .. }) = service.freshness() else {
        panic!("{}", service.freshness())
    };
    assert!(service.vault.generation().get() > journal);
    let line: Value = serde_json::from_slice(house.journal.lines().last().unwrap()).unwrap();
    assert_eq!(line["function"], "store.older_accepted");
    assert_eq!(line["journal_generation"], journal);
    // From now on without the flag; and it is the copy of before that is old.
    let (service, _) = at_level_all(&house, &store, OlderStore::Refuse).unwrap();
    let mut out = strongroom_keymem::SecretVec::new();
    let who = crate::audit::Principal {
        uid: 1,
        gid: 1,
        pid: 1,
        executable: String::new(),
        started: None,
    };
    let hello = Request::Hello {
        instance: [1; 16],
        shared_memory: false,
    };
    let mut payload = Vec::new();
    codec::encode(&hello, &mut payload).unwrap();
    let (application, _) = service.greet(who, &payload, &mut out).unwrap();
    payload.clear();
    codec::encode(&Request::SlotList, &mut payload).unwrap();
    service.answer(&application, &payload, &mut out).unwrap();
    let error = refused(&house, &house.store);
    assert!(matches!(error, StartError::Older(_)), "{error}");
    assert_eq!(verify(&*house.journal).unwrap().broken, None);
}

#[test]
fn what_cannot_be_compared_is_said_and_opens() {
    let house = House::new();
    let early = house.store.duplicate();
    let guest = house.guest();
    let talk = guest.open(READ_WRITE).unwrap();
    assert_eq!(talk.login(UserType::USER, b"0000"), Rv::PIN_INCORRECT);
    let refuse = OlderStore::Refuse;
    let (service, _) = start(&house, &early, &house.journal, Level::None, refuse).unwrap();
    assert_eq!(service.freshness(), Freshness::NotRecorded);
    // It is compared as soon as something is recorded again.
    let error = service.apply(settings(Limits::default())).unwrap_err();
    assert!(error.to_string().contains("earlier state"), "{error}");
    let moved_away = Arc::new(MemoryJournal::new());
    let (service, _) = start(&house, &early, &moved_away, Level::All, refuse).unwrap();
    assert_eq!(service.freshness(), Freshness::Unknown);
    // Lines of a version before say no generation.
    let mut old = Vec::new();
    for line in house.journal.lines() {
        let text = String::from_utf8(line).unwrap();
        assert!(text.starts_with("{\"seq\":"));
        old.push(
            text.replace("\"generation\"", "\"generazion\"")
                .into_bytes(),
        );
    }
    assert_eq!(
        crate::audit::compare(&MemoryJournal::with_lines(old), 1).unwrap(),
        Freshness::Unknown
    );
}

#[test]
fn a_line_says_the_generation_when_it_changed_and_every_thousand_lines() {
    let house = House::new();
    let guest = house.guest();
    let before = house.journal.lines().len();
    let talk = guest.open(READ_WRITE).unwrap();
    for _ in 0..2000 {
        talk.info().unwrap();
    }
    let said = generations(&house.journal);
    let numbers: Vec<usize> = (before..said.len())
        .filter(|place| said[*place].is_some())
        .map(|place| place + 1)
        .collect();
    assert_eq!(numbers, [1000, 2000]);
    assert_eq!(talk.login(UserType::USER, b"0000"), Rv::PIN_INCORRECT);
    let last = generations(&house.journal).last().copied().flatten();
    assert_eq!(last, Some(house.service.vault.generation().get()));
    // However long nothing was committed, a restart finds it.
    let error = {
        let store = MemoryStore::new();
        refused(&house, &store)
    };
    assert!(matches!(error, StartError::Older(_)), "{error}");
}

#[test]
fn the_generation_grows_with_every_commit_and_never_falls() {
    let house = House::new();
    let vault = &house.service.vault;
    let reopened = || {
        let root = SecretBytes::copy_from(&[7; 32]).unwrap();
        let store = Arc::new(house.store.duplicate());
        let vault = Vault::open(store, root, PinCost::danger_cheap()).unwrap();
        vault.generation().get()
    };
    let mut last = 0;
    let mut check = || {
        let now = vault.generation().get();
        assert!(now > last, "{now} after {last}");
        assert_eq!(now, reopened());
        last = now;
    };
    check();
    let token = vault.create_token([b' '; 32], b"87654321").unwrap();
    check();
    token
        .login(crate::vault::User::So, b"87654321", &Limits::default())
        .unwrap();
    check();
    token.init_user_pin(b"1234").unwrap();
    check();
    vault.delete_token(token.number()).unwrap();
    check();
    vault.outgrow(5000).unwrap();
    check();
    assert_eq!(last, 5001);
}

#[test]
fn nothing_is_changed_when_the_journal_has_no_room_for_its_line() {
    let house = House::new();
    let guest = house.guest();
    let talk = guest.open(READ_WRITE).unwrap();
    let before = house.service.vault.generation().get();
    house.journal.be_full(true);
    let login = Request::Login {
        session: talk.session,
        user: UserType::USER,
        pin: strongroom_wire::secret::Secret::new(b"0000"),
    };
    let mut payload = Vec::new();
    codec::encode(&login, &mut payload).unwrap();
    let mut out = strongroom_keymem::SecretVec::new();
    let answer = house.service.answer(&guest.application, &payload, &mut out);
    assert_eq!(answer, Err(Malformed));
    assert_eq!(house.service.vault.generation().get(), before);
    house.journal.be_full(false);
    assert_eq!(talk.login(UserType::USER, b"0000"), Rv::PIN_INCORRECT);
}
