//! *What lives here:* the tests of `slots.rs`: slots, tokens and their initialising (PKCS#11 3.2, 5.5). *What must never live here:*
//! what several tests share (`service/rig.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{AttributeType as A, Rv, UserType};
use strongroom_wire::request::Request;
use strongroom_wire::response::Body;

use super::*;
use crate::limits::PIN_BYTES_MIN;
use crate::service::rig::*;

#[test]
fn there_is_one_free_slot_behind_all_tokens() {
    let house = House::empty(Limits::default());
    let guest = house.guest();
    assert_eq!(guest.slots(), [SlotId(0)]);
    for tokens in 1..4 {
        let free = *guest.slots().last().unwrap();
        assert_eq!(guest.init_token(free, SO_PIN), Rv::OK);
        let wanted: Vec<SlotId> = (0..=tokens).map(SlotId).collect();
        assert_eq!(guest.slots(), wanted);
        assert_eq!(house.service.counts().tokens, tokens);
    }
}

#[test]
fn a_slot_beyond_the_free_one_does_not_exist() {
    let guest = House::new().guest();
    for (slot, answer) in [
        (SlotId(0), Rv::OK),
        (SlotId(1), Rv::OK),
        (SlotId(2), Rv::SLOT_ID_INVALID),
        (SlotId(u64::MAX), Rv::SLOT_ID_INVALID),
    ] {
        assert_eq!(guest.rv(&Request::SlotInfo { slot }), answer, "{slot}");
        assert_eq!(guest.rv(&Request::TokenInfo { slot }), answer, "{slot}");
        assert_eq!(guest.rv(&Request::Mechanisms { slot }), answer, "{slot}");
        assert_eq!(
            guest.rv(&Request::CloseAllSessions { slot }),
            answer,
            "{slot}"
        );
        if answer != Rv::OK {
            assert_eq!(guest.open_at(slot, READ_WRITE).err(), Some(answer));
            assert_eq!(guest.init_token(slot, SO_PIN), answer);
        }
    }
    let free = guest.open_at(SlotId(1), READ_WRITE);
    assert_eq!(free.err(), Some(Rv::TOKEN_NOT_RECOGNIZED));
}

#[test]
fn a_token_tells_its_state_in_its_flags() {
    let house = House::empty(Limits::default());
    let guest = house.guest();
    let always = flag::RNG
        | flag::LOGIN_REQUIRED
        | flag::CLOCK_ON_TOKEN
        | flag::RESTORE_KEY_NOT_NEEDED
        | flag::DUAL_CRYPTO_OPERATIONS;
    let flags = || guest.token_info(SLOT).unwrap().flags;
    assert_eq!(flags(), always);
    assert_eq!(guest.init_token(SLOT, SO_PIN), Rv::OK);
    assert_eq!(flags(), always | flag::TOKEN_INITIALIZED);
    let officer = house.officer();
    assert_eq!(officer.init_pin(USER_PIN), Rv::OK);
    let ready = always | flag::TOKEN_INITIALIZED | flag::USER_PIN_INITIALIZED;
    assert_eq!(flags(), ready);
    let talk = guest.open(READ_WRITE).unwrap();
    assert_eq!(talk.login(UserType::USER, b"wrong"), Rv::PIN_INCORRECT);
    assert_eq!(flags(), ready | flag::USER_PIN_COUNT_LOW);
    for _ in 2..Limits::default().user_tries_max {
        talk.login(UserType::USER, b"wrong");
    }
    assert_eq!(flags() & flag::USER_PIN_LOCKED, 0);
    assert_ne!(flags() & flag::USER_PIN_FINAL_TRY, 0);
    talk.login(UserType::USER, b"wrong");
    assert_ne!(flags() & flag::USER_PIN_LOCKED, 0);
}

#[test]
fn a_token_tells_its_name_its_time_and_the_sessions_of_the_asker() {
    let house = House::new();
    let (guest, other) = (house.guest(), house.guest());
    let _talks = [READ_WRITE, READ_ONLY, READ_ONLY].map(|flags| guest.open(flags).unwrap());
    let _foreign = other.open(READ_WRITE).unwrap();
    let info = guest.token_info(SLOT).unwrap();
    assert_eq!(info.label, LABEL);
    assert_eq!((info.sessions, info.rw_sessions), (3, 1));
    assert_eq!(&info.utc_time, b"2026112210364700");
    assert_eq!((info.pin_bytes_min, info.pin_bytes_max), (4, 255));
    assert!(info.serial_number.len() == 16 && info.model.len() <= 16);
    assert_eq!(info.firmware_version, [1, 2]);
    assert_eq!(house.guest().token_info(SLOT).unwrap().sessions, 0);
}

#[test]
fn two_tokens_have_two_serial_numbers() {
    let house = House::new();
    house.make_token(SlotId(1));
    let guest = house.guest();
    let serial = |slot| guest.token_info(SlotId(slot)).unwrap().serial_number;
    assert_ne!(serial(0), serial(1));
}

#[test]
fn the_list_of_mechanisms_is_the_table() {
    let told = House::new()
        .guest()
        .ask(&Request::Mechanisms { slot: SLOT });
    let Body::Mechanisms(listed) = told.body() else {
        panic!("no mechanisms");
    };
    let listed: Vec<_> = listed
        .items()
        .iter()
        .map(|one| (one.kind, one.flags))
        .collect();
    let rows = crate::mechanism::rows().iter();
    assert_eq!(
        listed,
        rows.map(|row| (row.kind, row.flags())).collect::<Vec<_>>()
    );
}

#[test]
fn initialising_again_needs_the_officer_and_nobody_at_the_token() {
    let house = House::new();
    let user = house.user();
    let object = user.create(&data_object()).unwrap();
    let guest = house.guest();
    assert_eq!(
        guest.init_token(SLOT, SO_PIN),
        Rv::SESSION_EXISTS,
        "even of another application"
    );
    user.guest.leave();
    let before = guest.token_info(SLOT).unwrap();
    assert_eq!(
        guest.init_token(SLOT, b"not the officer"),
        Rv::PIN_INCORRECT
    );
    let talk = house.user();
    talk.read(object, A::LABEL).unwrap();
    talk.guest.leave();
    assert_eq!(guest.init_token(SLOT, SO_PIN), Rv::OK);
    let after = guest.token_info(SLOT).unwrap();
    assert_eq!(after.serial_number, before.serial_number);
    assert_eq!(
        after.flags & flag::USER_PIN_INITIALIZED,
        0,
        "the user's PIN has gone"
    );
    let talk = guest.open(READ_WRITE).unwrap();
    assert_eq!(talk.login(UserType::SO, SO_PIN), Rv::OK);
    assert_eq!(talk.find(&[]), []);
    assert_eq!(house.service.counts().objects, 0);
}

#[test]
fn a_locked_officer_initialises_nothing() {
    let limits = Limits {
        so_tries_max: 3,
        ..Limits::default()
    };
    let guest = House::with_limits(limits).guest();
    for _ in 0..3 {
        guest.init_token(SLOT, b"not the officer");
    }
    assert_eq!(guest.init_token(SLOT, SO_PIN), Rv::PIN_LOCKED);
    assert_eq!(
        guest.open(READ_WRITE).unwrap().login(UserType::SO, SO_PIN),
        Rv::PIN_LOCKED
    );
}

#[test]
fn the_pin_of_a_new_token_has_a_length() {
    let guest = House::empty(Limits::default()).guest();
    for (pin, answer) in [
        (vec![b'x'; PIN_BYTES_MIN - 1], Rv::PIN_LEN_RANGE),
        (vec![b'x'; PIN_BYTES_MAX + 1], Rv::PIN_LEN_RANGE),
        (vec![b'x'; PIN_BYTES_MIN], Rv::OK),
    ] {
        assert_eq!(guest.init_token(SLOT, &pin), answer);
    }
    assert_eq!(guest.slots().len(), 2);
}

fn data_object() -> Vec<(A, crate::attribute::Value)> {
    let class = number(A::CLASS, strongroom_wire::ck::ObjectClass::DATA.0);
    vec![
        class,
        yes(A::TOKEN),
        yes(A::PRIVATE),
        bytes(A::LABEL, b"kept"),
    ]
}
