//! *What lives here:* the tests of tickets: what they restore, and every way in which they are refused. *What must never live here:* what
//! several tests share (`service/rig.rs`). *Who calls it:* the test runner.

use std::sync::Arc;

use strongroom_wire::ck::{AttributeType as A, MechanismType as M, Rv, SessionState as State};
use strongroom_wire::request::Request;
use strongroom_wire::secret::Secret;

use super::*;
use crate::attribute::Value;
use crate::attribute::samples::p256;
use crate::limits::Limits;
use crate::ports::Time;
use crate::service::rig::*;
use crate::vault::Reach;

const SO: UserType = UserType::SO;
const USER: UserType = UserType::USER;

fn state(talk: &Talk) -> State {
    talk.info().unwrap().state
}

/// A process that logs in, and its ticket.
fn ticket_of_process(house: &Arc<House>, pid: i32) -> (Talk, Vec<u8>) {
    let talk = house.guest_of(pid, 3).open(READ_WRITE).unwrap();
    let ticket = talk.login_for_ticket(USER, USER_PIN).expect("a ticket");
    (talk, ticket)
}

fn session_of(house: &Arc<House>, principal: crate::audit::Principal, instance: u8) -> Talk {
    house
        .guest_as(principal, instance)
        .open(READ_WRITE)
        .unwrap()
}

#[test]
fn a_login_goes_on_in_a_daemon_that_was_started_anew() {
    let house = House::new();
    let (talk, ticket) = ticket_of_process(&house, 5000);
    let key = [(A::TOKEN, Value::Flag(true))];
    let (_, private) = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &key).unwrap();
    let later = house.restarted();
    let talk = session_of(&later, principal(5000), 3);
    assert_eq!(state(&talk), State::RW_PUBLIC_SESSION);
    assert_eq!(
        talk.sign(M::ECDSA, private, &[7; 32]).err(),
        Some(Rv::KEY_HANDLE_INVALID),
        "closed until somebody opens it"
    );
    assert_eq!(talk.restore(&ticket), Rv::OK);
    assert_eq!(state(&talk), State::RW_USER_FUNCTIONS);
    assert!(talk.sign(M::ECDSA, private, &[7; 32]).is_ok());
    // Nobody else was logged in by it.
    let other = later.guest().open(READ_WRITE).unwrap();
    assert_eq!(state(&other), State::RW_PUBLIC_SESSION);
    // It counts as a login of its own kind in the audit, and as no try.
    let lines = later.audit_lines();
    let line = lines
        .iter()
        .find(|line| line.contains("\"login.restored\""))
        .unwrap();
    assert!(
        line.contains("\"pid\":5000") && line.contains("CKR_OK"),
        "{line}"
    );
    assert_eq!(talk.restore(&ticket), Rv::USER_ALREADY_LOGGED_IN);
    // And it is as good in the next one: the same login goes on.
    let talk = session_of(&later.restarted(), principal(5000), 3);
    assert_eq!(talk.restore(&ticket), Rv::OK);
}

#[test]
fn the_officer_goes_on_as_well_but_not_beside_a_read_only_session() {
    let house = House::new();
    let talk = session_of(&house, principal(5001), 3);
    let ticket = talk.login_for_ticket(SO, SO_PIN).unwrap();
    let later = house.restarted();
    let guest = later.guest_of(5001, 3);
    let reading = guest.open(READ_ONLY).unwrap();
    assert_eq!(reading.restore(&ticket), Rv::SESSION_READ_ONLY_EXISTS);
    reading.close();
    let talk = guest.open(READ_WRITE).unwrap();
    assert_eq!(talk.restore(&ticket), Rv::OK);
    assert_eq!(state(&talk), State::RW_SO_FUNCTIONS);
    assert_eq!(talk.init_pin(b"another-pin"), Rv::OK);
}

#[test]
fn a_ticket_is_good_for_the_very_process_and_instance_only() {
    let house = House::new();
    let (_, ticket) = ticket_of_process(&house, 5002);
    let later = house.restarted();
    let one = principal(5002);
    let others = [
        ("another number", principal(5003), 3),
        ("another instance", one.clone(), 4),
        (
            "a later process with the same number",
            started(&one, Some(78)),
            3,
        ),
        ("a process of unknown age", started(&one, None), 3),
        (
            "another user",
            crate::audit::Principal {
                uid: 1001,
                ..one.clone()
            },
            3,
        ),
    ];
    for (who, principal, instance) in others {
        let talk = session_of(&later, principal, instance);
        assert_eq!(talk.restore(&ticket), Rv::USER_NOT_LOGGED_IN, "{who}");
        assert_eq!(state(&talk), State::RW_PUBLIC_SESSION, "{who}");
    }
    assert_eq!(session_of(&later, one, 3).restore(&ticket), Rv::OK);
}

fn started(principal: &crate::audit::Principal, started: Option<u64>) -> crate::audit::Principal {
    crate::audit::Principal {
        started,
        ..principal.clone()
    }
}

#[test]
fn a_process_of_unknown_age_gets_no_ticket() {
    let house = House::new();
    let talk = session_of(&house, started(&principal(5004), None), 3);
    assert_eq!(talk.login_for_ticket(USER, USER_PIN), None);
}

#[test]
fn a_ticket_that_was_altered_anywhere_is_refused() {
    let house = House::new();
    let (_, ticket) = ticket_of_process(&house, 5005);
    let talk = session_of(&house.restarted(), principal(5005), 3);
    for bit in 0..ticket.len() * 8 {
        let mut altered = ticket.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(talk.restore(&altered), Rv::USER_NOT_LOGGED_IN, "bit {bit}");
    }
    for length in 0..ticket.len() {
        assert_eq!(talk.restore(&ticket[..length]), Rv::USER_NOT_LOGGED_IN);
    }
    let longer = [ticket.as_slice(), &[0]].concat();
    assert_eq!(talk.restore(&longer), Rv::USER_NOT_LOGGED_IN);
    assert_eq!(talk.restore(&ticket), Rv::OK);
}

#[test]
fn a_changed_pin_makes_older_tickets_worthless_and_gives_a_new_one() {
    let house = House::new();
    let (talk, before) = ticket_of_process(&house, 5006);
    let (session, old, new) = (
        talk.session,
        Secret::new(USER_PIN),
        Secret::new(b"the-new-one"),
    );
    let told = talk.ask(&Request::SetPin { session, old, new });
    let strongroom_wire::response::Body::Output { data, .. } = told.body() else {
        panic!("no ticket")
    };
    let after = data.expose().to_vec();
    let talk = session_of(&house.restarted(), principal(5006), 3);
    assert_eq!(talk.restore(&before), Rv::USER_NOT_LOGGED_IN);
    assert_eq!(talk.restore(&after), Rv::OK);
    // The officer sets another one.
    assert_eq!(house.officer().init_pin(b"by-the-officer"), Rv::OK);
    let talk = session_of(&house.restarted(), principal(5006), 3);
    assert_eq!(talk.restore(&after), Rv::USER_NOT_LOGGED_IN);
}

#[test]
fn a_token_that_was_initialised_anew_knows_no_ticket_of_before() {
    let house = House::new();
    let (talk, ticket) = ticket_of_process(&house, 5007);
    talk.guest.leave();
    house.make_token(SLOT);
    let talk = session_of(&house.restarted(), principal(5007), 3);
    assert_eq!(talk.restore(&ticket), Rv::USER_NOT_LOGGED_IN);
}

#[test]
fn a_locked_pin_opens_by_no_ticket_and_a_ticket_gives_no_try_back() {
    let limits = Limits {
        user_tries_max: 3,
        ..Limits::default()
    };
    let house = House::with_limits(limits);
    let (_, ticket) = ticket_of_process(&house, 5008);
    let guesser = house.guest().open(READ_WRITE).unwrap();
    for _ in 0..2 {
        assert_eq!(guesser.login(USER, b"wrong-pin"), Rv::PIN_INCORRECT);
    }
    let later = house.restarted();
    let talk = session_of(&later, principal(5008), 3);
    assert_eq!(talk.restore(&ticket), Rv::OK);
    let guesser = later.guest().open(READ_WRITE).unwrap();
    assert_eq!(guesser.login(USER, b"wrong-pin"), Rv::PIN_INCORRECT);
    assert_eq!(guesser.login(USER, USER_PIN), Rv::PIN_LOCKED);
    let talk = session_of(&later.restarted(), principal(5008), 3);
    assert_eq!(talk.restore(&ticket), Rv::PIN_LOCKED);
    assert_eq!(state(&talk), State::RW_PUBLIC_SESSION);
}

#[test]
fn a_ticket_ages_and_there_are_none_where_the_operator_wants_none() {
    let house = House::with_limits(Limits {
        ticket_seconds_max: 60,
        ..Limits::default()
    });
    let (_, ticket) = ticket_of_process(&house, 5009);
    for (seconds, answer) in [
        (59, Rv::OK),
        (60, Rv::USER_NOT_LOGGED_IN),
        (1_000_000, Rv::USER_NOT_LOGGED_IN),
    ] {
        let later = house.restarted();
        later.clock.turn_to(Time(NOW.0 + seconds * 1000));
        let talk = session_of(&later, principal(5009), 3);
        assert_eq!(talk.restore(&ticket), answer, "after {seconds} s");
    }
    let house = House::with_limits(Limits {
        ticket_seconds_max: 0,
        ..Limits::default()
    });
    let talk = session_of(&house, principal(5009), 3);
    assert_eq!(talk.login_for_ticket(USER, USER_PIN), None);
}

#[test]
fn a_heritable_ticket_is_good_for_later_processes_of_the_same_user_and_program_only() {
    let house = House::new();
    let mut heritable = settings(Limits::default());
    heritable.ticket_reach = Reach::Children;
    house.service.apply(heritable).unwrap();
    let (_, ticket) = ticket_of_process(&house, 5010);
    let child = |pid, more: &dyn Fn(&mut crate::audit::Principal)| {
        let mut principal = started(&principal(pid), Some(80));
        more(&mut principal);
        session_of(&house, principal, 9).restore(&ticket)
    };
    assert_eq!(child(5011, &|_| ()), Rv::OK);
    let replaced = |who: &mut crate::audit::Principal| who.executable.push_str(" (deleted)");
    assert_eq!(child(5012, &replaced), Rv::OK);
    let refused: [&dyn Fn(&mut crate::audit::Principal); 3] = [
        &|who| who.uid = 1001,
        &|who| who.executable = "/usr/bin/other".into(),
        &|who| who.started = Some(76),
    ];
    for (number, more) in (5013..).zip(refused) {
        assert_eq!(child(number, more), Rv::USER_NOT_LOGGED_IN, "{number}");
    }
    // Root may give its rights up in the child, as web servers do.
    let root = crate::audit::Principal {
        uid: 0,
        ..principal(5020)
    };
    let talk = session_of(&house, root, 3);
    let ticket = talk.login_for_ticket(USER, USER_PIN).unwrap();
    let talk = session_of(&house, started(&principal(5021), Some(90)), 4);
    assert_eq!(talk.restore(&ticket), Rv::OK);
    // Where the operator has taken it back, it is worthless.
    let later = house.restarted();
    later.service.apply(settings(Limits::default())).unwrap();
    let talk = session_of(&later, started(&principal(5022), Some(90)), 4);
    assert_eq!(talk.restore(&ticket), Rv::USER_NOT_LOGGED_IN);
}

#[test]
fn a_login_for_one_operation_gives_no_ticket() {
    let house = House::new();
    let talk = house.user();
    let key = [(A::ALWAYS_AUTHENTICATE, Value::Flag(true))];
    let (_, private) = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &key).unwrap();
    assert_eq!(talk.sign_init(M::ECDSA, private), Rv::OK);
    assert_eq!(
        talk.login_for_ticket(UserType::CONTEXT_SPECIFIC, USER_PIN),
        None
    );
}
