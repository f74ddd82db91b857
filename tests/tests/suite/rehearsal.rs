//! Rehearsals of hardware as an application meets them: latency, failures, removal, sessions, throttle, a full store.
//!
//! Waits are asserted as lower bounds only.

use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use cryptoki_sys::*;
use strongroom_tests::hsm::module_path;
use strongroom_tests::rv::refused;
use strongroom_tests::{Rv, Session, USER_PIN, Way, Workplace, not_on_softhsm, template};

use crate::keys;

/// A workplace, unless it is SoftHSM's.
fn workplace() -> Option<Workplace> {
    let place = Workplace::open();
    (!not_on_softhsm("it rehearses nothing")).then_some(place)
}

fn rehearse(place: &Workplace, arguments: &[&str]) -> String {
    place
        .hsm
        .administer(&[&["rehearse", "suite"], arguments].concat())
}

fn key_for(session: &Session<'_>) -> CK_OBJECT_HANDLE {
    keys::import_secret(session, CKK_GENERIC_SECRET, &[3; 32])
}

fn sign(session: &Session<'_>, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, Rv> {
    session.run(Way::Sign, CKM_SHA256_HMAC, key, b"data")
}

/// Which of so many signatures fail.
fn failed(session: &Session<'_>, key: CK_OBJECT_HANDLE, calls: usize) -> Vec<usize> {
    (1..=calls)
        .filter(|_| match sign(session, key) {
            Ok(_) => false,
            Err(code) => {
                assert_eq!(code, Rv(CKR_DEVICE_ERROR));
                true
            }
        })
        .collect()
}

#[test]
fn calls_fail_by_number_and_the_next_one_begins_anew() {
    let Some(place) = workplace() else { return };
    let session = place.user();
    let key = key_for(&session);
    // What the module has kept and begun by then does not dodge the rules.
    assert!(failed(&session, key, 3).is_empty());
    rehearse(&place, &["--fail", "C_Sign=nth(2):CKR_DEVICE_ERROR"]);
    assert_eq!(failed(&session, key, 5), [2]);
    rehearse(&place, &["--fail", "C_SignInit=every(2):CKR_DEVICE_ERROR"]);
    assert_eq!(failed(&session, key, 6), [2, 4, 6]);
    // A failed part ends its operation as well.
    rehearse(
        &place,
        &["--fail", "C_SignUpdate=nth(1):CKR_FUNCTION_FAILED"],
    );
    session.begin(Way::Sign, CKM_SHA256_HMAC, key).unwrap();
    let (code, _, _) = session.update(Way::Sign, b"part", None);
    assert_eq!(code, Rv(CKR_FUNCTION_FAILED));
    let (code, _, _) = session.finish(Way::Sign, Some(64));
    assert_eq!(code, Rv(CKR_OPERATION_NOT_INITIALIZED));
    assert!(failed(&session, key, 1).is_empty());
    let shown = rehearse(&place, &["--show"]);
    assert!(
        shown.contains("C_SignUpdate") && shown.contains("rehearses"),
        "{shown}"
    );
}

#[test]
fn a_seed_repeats_its_failures_and_their_rate_is_kept() {
    let Some(place) = workplace() else { return };
    let session = place.user();
    let key = key_for(&session);
    let run = |seed: &str| {
        rehearse(
            &place,
            &["--fail", "C_Sign=0.2:CKR_DEVICE_ERROR", "--seed", seed],
        );
        failed(&session, key, 500)
    };
    let (first, again, other) = (run("7"), run("7"), run("8"));
    assert_eq!(first, again);
    assert_ne!(first, other);
    for count in [first.len(), other.len()] {
        // Five standard deviations of the binomial distribution around 100.
        assert!((55..=145).contains(&count), "{count} of 500 failed");
    }
}

#[test]
fn a_latency_is_waited_for_by_all_that_the_module_answers_itself_otherwise() {
    let Some(place) = workplace() else { return };
    let session = place.user();
    let key = key_for(&session);
    let object = session.create(&keys::data("kept")).unwrap();
    let calls: [(&str, &dyn Fn()); 6] = [
        ("C_Sign", &|| drop(sign(&session, key).unwrap())),
        ("C_SignInit", &|| drop(sign(&session, key).unwrap())),
        ("C_GetAttributeValue", &|| {
            session.attribute(object, CKA_LABEL).unwrap();
        }),
        ("C_GenerateRandom", &|| drop(session.random(16).unwrap())),
        ("C_Digest", &|| {
            session.run(Way::Digest, CKM_SHA256, 0, b"data").unwrap();
        }),
        ("C_OpenSession", &|| place.public().close().unwrap()),
    ];
    for (function, call) in calls {
        rehearse(&place, &["--off"]);
        // So that everything that can be kept is.
        (0..3).for_each(|_| call());
        rehearse(&place, &["--latency", &format!("{function}=20ms")]);
        let begin = Instant::now();
        (0..5).for_each(|_| call());
        let time = begin.elapsed();
        assert!(time >= Duration::from_millis(100), "{function}: {time:?}");
    }
    let shown = rehearse(&place, &["--json"]);
    assert!(shown.contains("\"waited_microseconds\": 100000"), "{shown}");
}

#[test]
fn a_latency_keeps_no_other_token_and_no_other_application_waiting() {
    let Some(place) = workplace() else { return };
    let elsewhere = place.module.make_token("elsewhere");
    let there = Session::open_rw(&place.module, elsewhere).unwrap();
    there.login(CKU_USER, USER_PIN).unwrap();
    let session = place.user();
    let (slow, fast) = (key_for(&session), key_for(&there));
    rehearse(&place, &["--latency", "C_Sign=700ms"]);
    let rounds = thread::scope(|scope| {
        let waiting = scope.spawn(|| sign(&session, slow).unwrap());
        let mut rounds = 0;
        while !waiting.is_finished() {
            sign(&there, fast).unwrap();
            rounds += 1;
        }
        rounds
    });
    assert!(rounds > 20, "{rounds} signatures at the other token");
}

#[test]
fn a_token_is_removed_and_put_back() {
    let Some(place) = workplace() else { return };
    let elsewhere = place.module.make_token("elsewhere");
    let there = Session::open_rw(&place.module, elsewhere).unwrap();
    let session = place.user();
    let kept = keys::data("kept")
        .with(CKA_TOKEN, true)
        .with(CKA_PRIVATE, false);
    session.create(&kept).unwrap();
    let other = place.hsm.module();
    let others = Session::open_rw(&other, place.slot).unwrap();
    while place.module.slot_event().is_ok() {}

    rehearse(&place, &["--remove"]);
    assert_eq!(place.module.slot_event(), Ok(place.slot));
    assert_eq!(place.module.slot_event(), Err(Rv(CKR_NO_EVENT)));
    let info = place.module.slot_info(place.slot).unwrap();
    assert_eq!(
        info.flags & (CKF_TOKEN_PRESENT | CKF_REMOVABLE_DEVICE),
        CKF_REMOVABLE_DEVICE
    );
    assert!(!place.module.slots().unwrap().contains(&place.slot));
    for session in [&session, &others] {
        refused(
            "a session of before",
            session.random(4),
            &[CKR_SESSION_HANDLE_INVALID],
        );
    }
    let gone = &[CKR_TOKEN_NOT_PRESENT];
    refused("C_GetTokenInfo", place.module.token_info(place.slot), gone);
    refused(
        "C_GetMechanismList",
        place.module.mechanisms(place.slot),
        gone,
    );
    refused(
        "C_OpenSession",
        Session::open_rw(&place.module, place.slot),
        gone,
    );
    there.random(4).expect("the other token is there");

    rehearse(&place, &["--insert"]);
    assert_eq!(place.module.slot_event(), Ok(place.slot));
    assert!(place.module.slots().unwrap().contains(&place.slot));
    let session = place.public();
    assert_eq!(
        session.state().unwrap(),
        CKS_RW_PUBLIC_SESSION,
        "logins ended"
    );
    let found = session.find(&template! { CKA_LABEL => "kept" }).unwrap();
    assert_eq!(found.len(), 1, "its objects are where they were");
    session.login(CKU_USER, USER_PIN).unwrap();
    other.finalize().unwrap();
}

#[test]
fn a_call_under_way_learns_that_the_device_was_removed_and_one_who_waits_that_it_came_back() {
    let Some(place) = workplace() else { return };
    let session = place.user();
    let key = key_for(&session);
    rehearse(&place, &["--latency", "C_Sign=1500ms"]);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sign(&session, key));
        thread::sleep(Duration::from_millis(300));
        rehearse(&place, &["--remove"]);
        assert_eq!(waiting.join().unwrap(), Err(Rv(CKR_DEVICE_REMOVED)));
    });
    assert_eq!(place.module.slot_event(), Ok(place.slot));
    let module = &place.module;
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut slot: CK_SLOT_ID = 77;
            let wait = module.table().C_WaitForSlotEvent.unwrap();
            // SAFETY: as the standard has it; the place outlives the call.
            let code = unsafe { wait(0, &raw mut slot, core::ptr::null_mut()) };
            (Rv(code), slot)
        });
        thread::sleep(Duration::from_millis(100));
        rehearse(&place, &["--insert"]);
        assert_eq!(waiting.join().unwrap(), (Rv(CKR_OK), place.slot));
    });
}

#[test]
fn sessions_room_and_speed_are_bounded_and_off_restores_all() {
    let Some(place) = workplace() else { return };
    let session = place.user();
    let key = key_for(&session);
    rehearse(
        &place,
        &["--sessions", "2", "--room", "1", "--throttle", "50"],
    );
    assert_eq!(
        place
            .module
            .token_info(place.slot)
            .unwrap()
            .ulMaxSessionCount,
        2
    );
    let second = place.public();
    let third = Session::open_rw(&place.module, place.slot);
    refused("a third session", third, &[CKR_SESSION_COUNT]);
    second.close().unwrap();

    let token_object = keys::data("one").with(CKA_TOKEN, true);
    session.create(&token_object).unwrap();
    for _ in 0..2 {
        assert_eq!(session.create(&token_object), Err(Rv(CKR_DEVICE_MEMORY)));
    }
    session.create(&keys::data("of the session")).unwrap();
    rehearse(&place, &["--full"]);
    assert_eq!(session.create(&token_object), Err(Rv(CKR_DEVICE_MEMORY)));

    rehearse(&place, &["--throttle", "50"]);
    let begin = Instant::now();
    (0..6).for_each(|_| drop(sign(&session, key).unwrap()));
    assert!(
        begin.elapsed() >= Duration::from_millis(100),
        "{:?}",
        begin.elapsed()
    );
    rehearse(&place, &["--throttle", "0.01:CKR_DEVICE_MEMORY"]);
    sign(&session, key).unwrap();
    assert_eq!(sign(&session, key), Err(Rv(CKR_DEVICE_MEMORY)));

    let list = place.hsm.administer(&["token", "list"]);
    assert!(
        list.lines()
            .any(|line| line.contains("suite") && line.ends_with("yes")),
        "{list}"
    );
    assert!(
        place
            .hsm
            .administer(&["status"])
            .contains("1 tokens imitate")
    );
    rehearse(&place, &["--off"]);
    assert!(
        place
            .hsm
            .administer(&["status"])
            .contains("rehearsals     none")
    );
    (0..20).for_each(|_| drop(sign(&session, key).unwrap()));
    session.create(&token_object).unwrap();
    let sessions: Vec<_> = (0..5).map(|_| place.public()).collect();
    assert!(sessions.iter().all(|session| session.state().is_ok()));
    let flags = place.module.slot_info(place.slot).unwrap().flags;
    assert_eq!(
        flags & (CKF_TOKEN_PRESENT | CKF_REMOVABLE_DEVICE),
        CKF_TOKEN_PRESENT
    );
    let journal = place.hsm.administer(&["audit", "tail", "-n", "200"]);
    assert!(journal.contains("admin.rehearse"), "{journal}");
}

#[test]
fn a_restart_ends_a_rehearsal() {
    let Some(mut place) = workplace() else { return };
    rehearse(&place, &["--remove"]);
    place.module.finalize().unwrap();
    place.hsm.kill_daemon();
    place.hsm.start_daemon();
    place.hsm.initialize(&place.module);
    let shown = rehearse(&place, &["--show"]);
    assert!(shown.contains("does not rehearse"), "{shown}");
    place.user().random(4).unwrap();
}

#[test]
fn a_client_of_others_meets_what_was_rehearsed() {
    let Some(place) = workplace() else { return };
    place.module.finalize().unwrap();
    let client = Pkcs11::new(module_path()).unwrap();
    client
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let slot = client.get_slots_with_token().unwrap()[0];
    let session = client.open_rw_session(slot).unwrap();
    rehearse(
        &place,
        &[
            "--profile",
            "failing-hsm",
            "--fail",
            "C_Login=nth(1):CKR_DEVICE_ERROR",
            "--fail",
            "C_GenerateKey=nth(1):CKR_DEVICE_MEMORY",
            "--latency",
            "0us",
        ],
    );
    let pin = AuthPin::new(USER_PIN.into());
    let code = |error: Error| match error {
        Error::Pkcs11(code, _) => code,
        other => panic!("{other:?}"),
    };
    let refused = session.login(UserType::User, Some(&pin)).unwrap_err();
    assert!(matches!(code(refused), RvError::DeviceError));
    rehearse(
        &place,
        &["--fail", "C_GenerateKey=nth(1):CKR_DEVICE_MEMORY"],
    );
    session.login(UserType::User, Some(&pin)).unwrap();
    let template = [Attribute::ValueLen(32.into()), Attribute::Encrypt(true)];
    let refused = session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap_err();
    assert!(matches!(code(refused), RvError::DeviceMemory));
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap();
    rehearse(&place, &["--remove"]);
    assert!(!client.get_slots_with_token().unwrap().contains(&slot));
    let refused = session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap_err();
    assert!(matches!(code(refused), RvError::SessionHandleInvalid));
    client.finalize().unwrap();
}
