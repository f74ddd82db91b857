//! *What lives here:* the tests of `sessions.rs`: states, logins, PINs (PKCS#11 3.2, 5.6). *What must never live here:* what several
//! tests share (`service/rig.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{
    AttributeType as A, MechanismType as M, Rv, SessionState as State, UserType,
};
use strongroom_wire::request::{ObjectHandle, Request};
use strongroom_wire::secret::Secret;

use super::*;
use crate::attribute::Value;
use crate::attribute::samples::p256;
use crate::limits::PIN_BYTES_MIN;
use crate::service::rig::*;

const SO: UserType = UserType::SO;
const USER: UserType = UserType::USER;
const CONTEXT: UserType = UserType::CONTEXT_SPECIFIC;

fn state(talk: &Talk) -> State {
    talk.info().unwrap().state
}

/// A pair on P-256 whose private key has these attributes more.
fn pair(talk: &Talk, more: &[(A, Value)]) -> (ObjectHandle, ObjectHandle) {
    talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], more).unwrap()
}

#[test]
fn every_login_meets_every_state() {
    let house = House::new();
    for (current, wanted, answer) in [
        (None, SO, Rv::OK),
        (None, USER, Rv::OK),
        (None, CONTEXT, Rv::OPERATION_NOT_INITIALIZED),
        (Some(SO), SO, Rv::USER_ALREADY_LOGGED_IN),
        (Some(SO), USER, Rv::USER_ANOTHER_ALREADY_LOGGED_IN),
        (Some(SO), CONTEXT, Rv::OPERATION_NOT_INITIALIZED),
        (Some(USER), SO, Rv::USER_ANOTHER_ALREADY_LOGGED_IN),
        (Some(USER), USER, Rv::USER_ALREADY_LOGGED_IN),
        (Some(USER), CONTEXT, Rv::OPERATION_NOT_INITIALIZED),
        (None, UserType(7), Rv::USER_TYPE_INVALID),
    ] {
        let pin_of = |user| if user == SO { SO_PIN } else { USER_PIN };
        let talk = house.guest().open(READ_WRITE).unwrap();
        if let Some(current) = current {
            assert_eq!(talk.login(current, pin_of(current)), Rv::OK);
        }
        let before = state(&talk);
        assert_eq!(
            talk.login(wanted, pin_of(wanted)),
            answer,
            "{current:?} {wanted}"
        );
        if answer != Rv::OK {
            assert_eq!(state(&talk), before);
        }
        let logged_in = current.is_some() || answer == Rv::OK;
        let bye = if logged_in {
            Rv::OK
        } else {
            Rv::USER_NOT_LOGGED_IN
        };
        assert_eq!(talk.logout(), bye);
        assert_eq!(state(&talk), State::RW_PUBLIC_SESSION);
    }
}

#[test]
fn a_session_has_the_state_of_its_kind_and_of_the_login() {
    let guest = House::new().guest();
    let read_write = guest.open(READ_WRITE).unwrap();
    assert_eq!(read_write.login(SO, SO_PIN), Rv::OK);
    assert_eq!(state(&read_write), State::RW_SO_FUNCTIONS);
    assert_eq!(
        guest.open(READ_ONLY).err(),
        Some(Rv::SESSION_READ_WRITE_SO_EXISTS)
    );
    assert_eq!(read_write.logout(), Rv::OK);
    let read_only = guest.open(READ_ONLY).unwrap();
    assert_eq!(state(&read_only), State::RO_PUBLIC_SESSION);
    assert_eq!(read_write.login(SO, SO_PIN), Rv::SESSION_READ_ONLY_EXISTS);
    assert_eq!(read_only.login(USER, USER_PIN), Rv::OK);
    assert_eq!(state(&read_only), State::RO_USER_FUNCTIONS);
    assert_eq!(state(&read_write), State::RW_USER_FUNCTIONS);
    let late = guest.open(READ_ONLY).unwrap();
    assert_eq!(state(&late), State::RO_USER_FUNCTIONS);
    assert_eq!(late.logout(), Rv::OK);
    assert_eq!(state(&read_only), State::RO_PUBLIC_SESSION);
    let info = read_only.info().unwrap();
    assert_eq!(
        (info.slot, info.flags, info.device_error),
        (SLOT, READ_ONLY, 0)
    );
    assert_eq!(read_write.info().unwrap().flags, READ_WRITE);
}

#[test]
fn sessions_are_serial_and_synchronous() {
    let guest = House::new().guest();
    for (flags, answer) in [
        (0, Rv::SESSION_PARALLEL_NOT_SUPPORTED),
        (flag::RW_SESSION, Rv::SESSION_PARALLEL_NOT_SUPPORTED),
        (
            READ_WRITE | flag::ASYNC_SESSION,
            Rv::SESSION_ASYNC_NOT_SUPPORTED,
        ),
    ] {
        assert_eq!(guest.open(flags).err(), Some(answer));
    }
}

#[test]
fn wrong_pins_count_and_lock_and_say_so() {
    let limits = Limits {
        user_tries_max: 3,
        ..Limits::default()
    };
    let house = House::with_limits(limits);
    let talk = house.guest().open(READ_WRITE).unwrap();
    for _ in 0..3 {
        assert_eq!(talk.login(USER, b"wrong"), Rv::PIN_INCORRECT);
        assert_eq!(state(&talk), State::RW_PUBLIC_SESSION);
    }
    assert_eq!(talk.login(USER, USER_PIN), Rv::PIN_LOCKED);
    let flags = talk.guest.token_info(SLOT).unwrap().flags;
    assert_ne!(flags & flag::USER_PIN_LOCKED, 0);
    assert_eq!(
        talk.login(SO, SO_PIN),
        Rv::OK,
        "the officer is not concerned"
    );
    assert_eq!(talk.init_pin(b"a new one"), Rv::OK);
    assert_eq!(talk.logout(), Rv::OK);
    assert_eq!(talk.login(USER, b"a new one"), Rv::OK);
}

#[test]
fn a_user_without_a_pin_cannot_log_in() {
    let house = House::empty(Limits::default());
    let guest = house.guest();
    assert_eq!(guest.init_token(SLOT, SO_PIN), Rv::OK);
    let talk = guest.open(READ_WRITE).unwrap();
    assert_eq!(talk.login(USER, USER_PIN), Rv::USER_PIN_NOT_INITIALIZED);
}

#[test]
fn only_the_officer_initialises_the_users_pin() {
    let house = House::new();
    let talk = house.guest().open(READ_WRITE).unwrap();
    assert_eq!(talk.init_pin(b"another"), Rv::USER_NOT_LOGGED_IN);
    assert_eq!(talk.login(USER, USER_PIN), Rv::OK);
    assert_eq!(talk.init_pin(b"another"), Rv::USER_NOT_LOGGED_IN);
    let officer = house.officer();
    for (pin, answer) in [
        (vec![b'x'; PIN_BYTES_MIN - 1], Rv::PIN_LEN_RANGE),
        (vec![b'x'; PIN_BYTES_MAX + 1], Rv::PIN_LEN_RANGE),
        (vec![b'x'; PIN_BYTES_MIN], Rv::OK),
        (vec![b'x'; PIN_BYTES_MAX], Rv::OK),
    ] {
        assert_eq!(officer.init_pin(&pin), answer);
    }
}

#[test]
fn a_pin_is_changed_by_whoever_knows_it_in_a_session_that_writes() {
    let house = House::new();
    let new = b"something new";
    let read_only = house.guest().open(READ_ONLY).unwrap();
    assert_eq!(read_only.set_pin(USER_PIN, new), Rv::SESSION_READ_ONLY);
    let public = house.guest().open(READ_WRITE).unwrap();
    assert_eq!(public.set_pin(b"wrong", new), Rv::PIN_INCORRECT);
    assert_eq!(public.set_pin(USER_PIN, b"new"), Rv::PIN_LEN_RANGE);
    assert_eq!(
        public.set_pin(USER_PIN, new),
        Rv::OK,
        "of the user, though nobody is logged in"
    );
    assert_eq!(public.login(USER, USER_PIN), Rv::PIN_INCORRECT);
    assert_eq!(public.login(USER, new), Rv::OK);
    assert_eq!(public.set_pin(new, USER_PIN), Rv::OK);
    let officer = house.officer();
    assert_eq!(
        officer.set_pin(USER_PIN, new),
        Rv::PIN_INCORRECT,
        "it is the officer's now"
    );
    assert_eq!(officer.set_pin(SO_PIN, new), Rv::OK);
    assert_eq!(officer.logout(), Rv::OK);
    assert_eq!(officer.login(SO, new), Rv::OK);
}

#[test]
fn a_name_is_no_user_yet() {
    let talk = House::new().guest().open(READ_WRITE).unwrap();
    let login = |username| {
        talk.rv(&Request::LoginUser {
            session: talk.session,
            user: USER,
            pin: Secret::new(USER_PIN),
            username,
        })
    };
    assert_eq!(login(b"alice"), Rv::USER_TYPE_INVALID);
    assert_eq!(login(b""), Rv::OK);
    assert_eq!(login(b""), Rv::USER_ALREADY_LOGGED_IN);
}

#[test]
fn the_last_session_closed_logs_out() {
    let guest = House::new().guest();
    let [one, other] = [READ_WRITE, READ_ONLY].map(|flags| guest.open(flags).unwrap());
    assert_eq!(one.login(USER, USER_PIN), Rv::OK);
    assert_eq!(one.close(), Rv::OK);
    assert_eq!(state(&other), State::RO_USER_FUNCTIONS);
    assert_eq!(other.close(), Rv::OK);
    assert_eq!(other.close(), Rv::SESSION_HANDLE_INVALID);
    let again = guest.open(READ_WRITE).unwrap();
    assert_eq!(state(&again), State::RW_PUBLIC_SESSION);
    assert_eq!(again.login(USER, USER_PIN), Rv::OK);
    assert_eq!(guest.close_all(), Rv::OK);
    assert_eq!(guest.close_all(), Rv::OK, "there need not be any");
    assert_eq!(again.info().unwrap_err(), Rv::SESSION_HANDLE_INVALID);
    assert_eq!(
        state(&guest.open(READ_WRITE).unwrap()),
        State::RW_PUBLIC_SESSION
    );
}

#[test]
fn sessions_have_limits_of_one_application_and_of_all() {
    let limits = Limits {
        sessions_per_application_max: 3,
        sessions_max: 5,
        ..Limits::default()
    };
    let house = House::with_limits(limits);
    let (one, other) = (house.guest(), house.guest());
    let mut talks: Vec<Talk> = (0..3).map(|_| one.open(READ_ONLY).unwrap()).collect();
    assert_eq!(one.open(READ_ONLY).err(), Some(Rv::SESSION_COUNT));
    talks.extend((0..2).map(|_| other.open(READ_WRITE).unwrap()));
    assert_eq!(other.open(READ_ONLY).err(), Some(Rv::SESSION_COUNT));
    assert_eq!(talks[0].close(), Rv::OK);
    other.open(READ_ONLY).unwrap();
    assert_eq!(one.open(READ_ONLY).err(), Some(Rv::SESSION_COUNT));
    other.leave();
    one.open(READ_ONLY).unwrap();
}

#[test]
fn handles_of_sessions_are_never_used_again() {
    let guest = House::new().guest();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let talk = guest.open(READ_ONLY).unwrap();
        assert!(seen.insert(talk.session));
        assert_eq!(talk.close(), Rv::OK);
    }
}

#[test]
fn each_use_of_a_key_that_wants_it_has_a_login_of_its_own() {
    let talk = House::new().user();
    let (_, key) = pair(&talk, &[yes(A::ALWAYS_AUTHENTICATE)]);
    assert_eq!(talk.login(CONTEXT, USER_PIN), Rv::OPERATION_NOT_INITIALIZED);
    assert_eq!(talk.sign_init(M::ECDSA_SHA256, key), Rv::OK);
    assert_eq!(talk.login(CONTEXT, b"wrong pin"), Rv::PIN_INCORRECT);
    let elsewhere = talk.guest.open(READ_WRITE).unwrap();
    assert_eq!(
        elsewhere.login(CONTEXT, USER_PIN),
        Rv::OPERATION_NOT_INITIALIZED,
        "another session"
    );
    assert_eq!(talk.login(CONTEXT, USER_PIN), Rv::OK);
    talk.sign_data(b"data").unwrap();
    assert_eq!(
        talk.login(CONTEXT, USER_PIN),
        Rv::OPERATION_NOT_INITIALIZED,
        "it is over"
    );
    assert_eq!(
        talk.sign(M::ECDSA_SHA256, key, b"data"),
        Err(Rv::USER_NOT_LOGGED_IN)
    );
    let (_, ordinary) = pair(&talk, &[]);
    talk.sign(M::ECDSA_SHA256, ordinary, b"data").unwrap();
}

#[test]
fn logging_out_ends_private_objects_and_what_was_done_with_them() {
    let talk = House::new().user();
    let (public, private) = pair(&talk, &[]);
    let open_key = [no(A::PRIVATE)];
    let (_, unprotected) = pair(&talk, &open_key);
    let on_token = pair(&talk, &[yes(A::TOKEN)]).1;
    assert_eq!(talk.sign_init(M::ECDSA_SHA256, private), Rv::OK);
    let other = talk.guest.open(READ_WRITE).unwrap();
    assert_eq!(other.sign_init(M::ECDSA_SHA256, on_token), Rv::OK);
    let third = talk.guest.open(READ_WRITE).unwrap();
    assert_eq!(third.sign_init(M::ECDSA_SHA256, unprotected), Rv::OK);
    assert_eq!(other.logout(), Rv::OK);
    assert_eq!(talk.sign_data(b"x"), Err(Rv::OPERATION_NOT_INITIALIZED));
    assert_eq!(other.sign_data(b"x"), Err(Rv::OPERATION_NOT_INITIALIZED));
    third
        .sign_data(b"a key that is not private goes on")
        .unwrap();
    for gone in [private, on_token] {
        assert_eq!(talk.read(gone, A::CLASS), Err(Rv::OBJECT_HANDLE_INVALID));
        assert_eq!(talk.sign_init(M::ECDSA, gone), Rv::KEY_HANDLE_INVALID);
    }
    talk.read(public, A::CLASS).unwrap();
    assert_eq!(talk.login(USER, USER_PIN), Rv::OK);
    talk.read(on_token, A::CLASS).unwrap();
    assert_eq!(
        talk.read(private, A::CLASS),
        Err(Rv::OBJECT_HANDLE_INVALID),
        "it has ended"
    );
}

#[test]
fn a_search_hands_out_no_private_object_after_the_logout() {
    let talk = House::new().user();
    let (public, first) = pair(&talk, &[yes(A::TOKEN)]);
    pair(&talk, &[yes(A::TOKEN)]);
    assert_eq!(talk.find_init(&[]), Rv::OK);
    assert_eq!(talk.find_next(1).unwrap(), [first]);
    assert_eq!(talk.logout(), Rv::OK);
    // Those that are left come in full parts all the same: a short part would mean the end.
    assert_eq!(talk.find_next(1).unwrap(), [public]);
    assert_eq!(talk.find_final(), Rv::OK);
}

#[test]
fn cancelling_ends_what_the_flags_name_and_nothing_else() {
    let talk = House::new().user();
    let (_, key) = pair(&talk, &[]);
    let cancel = |flags| {
        let session = talk.session;
        talk.rv(&Request::SessionCancel { session, flags })
    };
    let digest_init = || {
        let (session, mechanism) = (talk.session, Some(plain(M::SHA256)));
        talk.rv(&Request::DigestInit { session, mechanism })
    };
    assert_eq!(talk.sign_init(M::ECDSA_SHA256, key), Rv::OK);
    assert_eq!(digest_init(), Rv::OK);
    assert_eq!(talk.find_init(&[]), Rv::OK);
    assert_eq!(
        cancel(flag::DIGEST | flag::VERIFY | flag::GENERATE | flag::MESSAGE_SIGN),
        Rv::OK
    );
    assert_eq!(digest_init(), Rv::OK);
    assert_eq!(talk.sign_init(M::ECDSA_SHA256, key), Rv::OPERATION_ACTIVE);
    assert_eq!(talk.find_init(&[]), Rv::OPERATION_ACTIVE);
    assert_eq!(cancel(flag::SIGN | flag::FIND_OBJECTS), Rv::OK);
    assert_eq!(talk.sign_data(b"x"), Err(Rv::OPERATION_NOT_INITIALIZED));
    assert_eq!(talk.find_next(1), Err(Rv::OPERATION_NOT_INITIALIZED));
    assert_eq!(cancel(1 << 40), Rv::ARGUMENTS_BAD);
}
