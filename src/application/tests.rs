//! *What lives here:* the tests of `application.rs`: who owns what, and when it ends. *What must never live here:* what several tests
//! share (`service/rig.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{AttributeType as A, ObjectClass, Rv, SessionState};
use strongroom_wire::request::{Request, SlotId};

use super::*;
use crate::attribute::Value;
use crate::limits::Limits;
use crate::object::SESSION_OBJECT_FIRST;
use crate::service::rig::*;

fn data(more: &[(A, Value)]) -> Vec<(A, Value)> {
    with(&[number(A::CLASS, ObjectClass::DATA.0)], more)
}

#[test]
fn two_applications_share_token_objects_and_nothing_else() {
    let house = House::new();
    let one = house.user();
    let other = house.guest().open(READ_WRITE).unwrap();
    assert_eq!(other.info().unwrap().state, SessionState::RW_PUBLIC_SESSION);
    let public = one.create(&data(&[yes(A::TOKEN)])).unwrap();
    let private = one
        .create(&data(&[yes(A::TOKEN), yes(A::PRIVATE)]))
        .unwrap();
    let in_session = one.create(&data(&[])).unwrap();
    assert_eq!(other.find(&[]), [public]);
    assert_eq!(other.login(UserType::USER, USER_PIN), Rv::OK);
    assert_eq!(other.find(&[]), [public, private]);
    assert_eq!(one.find(&[]), [public, private, in_session]);
    assert_eq!(
        other.read(in_session, A::CLASS),
        Err(Rv::OBJECT_HANDLE_INVALID)
    );
    assert_eq!(other.destroy(in_session), Rv::OBJECT_HANDLE_INVALID);
    assert_eq!(one.set(public, &[bytes(A::LABEL, b"seen at once")]), Rv::OK);
    assert_eq!(other.read(public, A::LABEL).unwrap(), b"seen at once");
    assert_eq!(other.destroy(public), Rv::OK);
    assert_eq!(one.read(public, A::LABEL), Err(Rv::OBJECT_HANDLE_INVALID));
    assert_eq!(other.logout(), Rv::OK);
    assert_eq!(one.find(&[]), [private, in_session], "still logged in");
}

#[test]
fn a_session_is_of_one_application_only() {
    let house = House::new();
    let talk = house.user();
    let thief = Talk {
        guest: house.guest(),
        session: talk.session,
    };
    assert_eq!(thief.info().unwrap_err(), Rv::SESSION_HANDLE_INVALID);
    assert_eq!(thief.close(), Rv::SESSION_HANDLE_INVALID);
    talk.info().unwrap();
}

#[test]
fn connections_of_one_process_and_instance_are_one_application() {
    let house = House::new();
    let first = house.guest_of(1, 0);
    let talk = first.open(READ_WRITE).unwrap();
    let second = house.guest_of(1, 0);
    let same = Talk {
        guest: second.clone(),
        session: talk.session,
    };
    same.info().unwrap();
    for stranger in [house.guest_of(2, 0), house.guest_of(1, 1)] {
        let talk = Talk {
            guest: stranger,
            session: talk.session,
        };
        assert_eq!(talk.info().unwrap_err(), Rv::SESSION_HANDLE_INVALID);
    }
    first.leave();
    same.info().unwrap();
    second.leave();
    let late = Talk {
        guest: house.guest_of(1, 0),
        session: talk.session,
    };
    assert_eq!(late.info().unwrap_err(), Rv::SESSION_HANDLE_INVALID);
}

#[test]
fn what_a_process_owned_ends_with_it_and_at_its_goodbye() {
    let house = House::new();
    for polite in [true, false] {
        let talk = house.user();
        talk.create(&data(&[])).unwrap();
        assert_eq!(house.service.counts().sessions, 1);
        let guest = talk.guest.clone();
        if polite {
            assert_eq!(guest.rv(&Request::Goodbye), Rv::OK);
            assert_eq!(talk.info().unwrap_err(), Rv::SESSION_HANDLE_INVALID);
            assert!(guest.application.seat(1).is_none());
        }
        guest.leave();
        let counts = house.service.counts();
        assert_eq!((counts.sessions, counts.applications), (0, 0));
        assert_eq!(talk.guest.application.session_count(), 0);
    }
}

#[test]
fn session_objects_belong_to_the_session_that_made_them() {
    let talk = House::new().user();
    let other = talk.guest.open(READ_ONLY).unwrap();
    let mine = talk.create(&data(&[])).unwrap();
    let its = other.create(&data(&[])).unwrap();
    assert!(mine.0 >= SESSION_OBJECT_FIRST && mine != its);
    assert_eq!(talk.find(&[]), other.find(&[]), "all sessions see them");
    other.read(mine, A::CLASS).unwrap();
    assert_eq!(other.close(), Rv::OK);
    assert_eq!(talk.find(&[]), [mine]);
    assert_eq!(talk.read(its, A::CLASS), Err(Rv::OBJECT_HANDLE_INVALID));
}

#[test]
fn session_objects_are_of_one_token() {
    let house = House::new();
    house.make_token(SlotId(1));
    let guest = house.guest();
    let here = guest.open_at(SLOT, READ_WRITE).unwrap();
    let there = guest.open_at(SlotId(1), READ_WRITE).unwrap();
    let object = here.create(&data(&[])).unwrap();
    assert_eq!(there.read(object, A::CLASS), Err(Rv::OBJECT_HANDLE_INVALID));
    assert_eq!(here.login(UserType::USER, USER_PIN), Rv::OK);
    assert_eq!(there.info().unwrap().state, SessionState::RW_PUBLIC_SESSION);
    assert_eq!(guest.close_all(), Rv::OK);
    there.info().unwrap();
}

#[test]
fn session_objects_have_a_limit_and_give_their_room_back() {
    let limits = Limits {
        session_objects_max: 3,
        ..Limits::default()
    };
    let talk = House::with_limits(limits).guest().open(READ_WRITE).unwrap();
    let objects: Vec<_> = (0..3).map(|_| talk.create(&data(&[])).unwrap()).collect();
    assert_eq!(talk.create(&data(&[])), Err(Rv::DEVICE_MEMORY));
    assert_eq!(talk.destroy(objects[1]), Rv::OK);
    talk.create(&data(&[])).unwrap();
    assert_eq!(talk.create(&data(&[])), Err(Rv::DEVICE_MEMORY));
}

/// A server that keeps one session for years makes and destroys a key for each of its clients.
#[test]
fn a_session_does_not_remember_what_has_been_destroyed() {
    let talk = House::new().guest().open(READ_WRITE).unwrap();
    for _ in 0..1000 {
        let object = talk.create(&data(&[])).unwrap();
        assert_eq!(talk.destroy(object), Rv::OK);
    }
    let session = talk.guest.application.session(talk.session).unwrap();
    assert!(session.owned.lock().as_ref().unwrap().len() < 100);
}

#[test]
fn handles_begin_at_random() {
    let first = || {
        let talk = House::new().guest().open(READ_WRITE).unwrap();
        (talk.session, talk.create(&data(&[])).unwrap())
    };
    let (one, other) = (first(), first());
    assert!(one.0 != other.0 && one.1 != other.1, "{one:?} {other:?}");
}

#[test]
fn what_is_made_while_its_session_closes_does_not_outlive_it() {
    let house = House::new();
    let staying = house.user();
    for _ in 0..200 {
        let passing = staying.guest.open(READ_WRITE).unwrap();
        std::thread::scope(|scope| {
            let making = scope.spawn(|| while passing.create(&data(&[])).is_ok() {});
            assert_eq!(passing.close(), Rv::OK);
            making.join().unwrap();
        });
        assert_eq!(staying.guest.application.session_objects(), 0);
    }
}
