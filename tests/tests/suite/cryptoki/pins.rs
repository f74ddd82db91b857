//! PINs: setting, changing, counting, locking (PKCS#11 3.2, 5.5.7 to 5.5.9 and 5.6.8).

use cryptoki_sys::*;
use strongroom_tests::rv::refused;
use strongroom_tests::{Rv, SO_PIN, Session, USER_PIN, Workplace, not_on_softhsm, template};

use crate::keys;

const NEW_PIN: &str = "another-pin-99";

#[test]
fn a_wrong_pin_opens_nothing() {
    let place = Workplace::open();
    let session = place.public();
    for (user, wrong) in [
        (CKU_USER, "user-pin-1235"),
        (CKU_USER, SO_PIN),
        (CKU_SO, USER_PIN),
        (CKU_SO, "so-pin-1234567"),
    ] {
        refused(wrong, session.login(user, wrong), &[CKR_PIN_INCORRECT]);
        assert_eq!(session.state().unwrap(), CKS_RW_PUBLIC_SESSION);
    }
    session.login(CKU_USER, USER_PIN).unwrap();
}

#[test]
fn the_user_changes_the_pin() {
    let place = Workplace::open();
    let session = place.user();
    let object = session
        .create(
            &keys::data("kept")
                .with(CKA_TOKEN, true)
                .with(CKA_PRIVATE, true),
        )
        .unwrap();
    refused(
        "a wrong old PIN",
        session.set_pin("wrong-pin-000", NEW_PIN),
        &[CKR_PIN_INCORRECT],
    );
    session.set_pin(USER_PIN, NEW_PIN).unwrap();
    assert_eq!(session.attribute(object, CKA_LABEL).unwrap(), b"kept");
    session.logout().unwrap();
    refused(
        "the old PIN",
        session.login(CKU_USER, USER_PIN),
        &[CKR_PIN_INCORRECT],
    );
    session.login(CKU_USER, NEW_PIN).unwrap();
    let found = session.find(&template! { CKA_LABEL => "kept" }).unwrap();
    assert_eq!(
        found.len(),
        1,
        "what the old PIN protected, the new one opens"
    );
    assert_eq!(session.attribute(found[0], CKA_VALUE).unwrap(), b"value");
}

#[test]
fn without_login_it_is_the_users_pin_that_changes() {
    let place = Workplace::open();
    let session = place.public();
    // PKCS#11 3.2, 5.5.9: in an R/W Public session, the PIN of CKU_USER.
    session.set_pin(USER_PIN, NEW_PIN).unwrap();
    session.login(CKU_USER, NEW_PIN).unwrap();
}

#[test]
fn the_officer_changes_only_the_officers_pin() {
    let place = Workplace::open();
    let session = place.public();
    session.login(CKU_SO, SO_PIN).unwrap();
    refused(
        "the user's PIN as old",
        session.set_pin(USER_PIN, NEW_PIN),
        &[CKR_PIN_INCORRECT],
    );
    session.set_pin(SO_PIN, NEW_PIN).unwrap();
    session.logout().unwrap();
    refused(
        "the old PIN",
        session.login(CKU_SO, SO_PIN),
        &[CKR_PIN_INCORRECT],
    );
    session.login(CKU_SO, NEW_PIN).unwrap();
    session.logout().unwrap();
    session.login(CKU_USER, USER_PIN).unwrap();
}

#[test]
fn the_officer_gives_the_user_a_new_pin_and_the_objects_stay() {
    let place = Workplace::open();
    let session = place.user();
    session
        .create(
            &keys::data("kept")
                .with(CKA_TOKEN, true)
                .with(CKA_PRIVATE, true),
        )
        .unwrap();
    refused(
        "C_InitPIN by the user",
        session.init_pin(NEW_PIN),
        &[CKR_USER_NOT_LOGGED_IN],
    );
    session.logout().unwrap();
    refused(
        "C_InitPIN by nobody",
        session.init_pin(NEW_PIN),
        &[CKR_USER_NOT_LOGGED_IN],
    );
    session.login(CKU_SO, SO_PIN).unwrap();
    session.init_pin(NEW_PIN).unwrap();
    session.logout().unwrap();
    session.login(CKU_USER, NEW_PIN).unwrap();
    let found = session.find(&template! { CKA_LABEL => "kept" }).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(session.attribute(found[0], CKA_VALUE).unwrap(), b"value");
}

#[test]
fn pins_have_a_least_and_a_largest_length() {
    let place = Workplace::open();
    let info = place.module.token_info(place.slot).unwrap();
    let long = "x".repeat(info.ulMaxPinLen as usize + 1);
    let short = "x".repeat(info.ulMinPinLen as usize - 1);
    let session = place.user();
    for pin in [&long, &short] {
        refused(
            "C_SetPIN",
            session.set_pin(USER_PIN, pin),
            &[CKR_PIN_LEN_RANGE],
        );
    }
    session.logout().unwrap();
    session.login(CKU_SO, SO_PIN).unwrap();
    for pin in [&long, &short] {
        refused("C_InitPIN", session.init_pin(pin), &[CKR_PIN_LEN_RANGE]);
    }
    let longest = "y".repeat(info.ulMaxPinLen as usize);
    session.init_pin(&longest).unwrap();
    session.logout().unwrap();
    session.login(CKU_USER, &longest).unwrap();
}

#[test]
fn wrong_tries_lock_the_user_until_the_officer_helps() {
    let mut place = Workplace::open();
    if not_on_softhsm("it counts no tries") {
        return;
    }
    let session = place.public();
    let mut seen_low = false;
    let mut tries = 0;
    loop {
        tries += 1;
        assert!(tries < 200, "never locked");
        let code = session.login(CKU_USER, "wrong-pin-000").unwrap_err();
        let flags = place.module.token_info(place.slot).unwrap().flags;
        seen_low |= flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY) != 0;
        if flags & CKF_USER_PIN_LOCKED != 0 || code.0 == CKR_PIN_LOCKED {
            break;
        }
        assert_eq!(code, Rv(CKR_PIN_INCORRECT));
    }
    assert!(seen_low, "the token warns before it locks");
    refused(
        "the right PIN, locked",
        session.login(CKU_USER, USER_PIN),
        &[CKR_PIN_LOCKED],
    );
    place.module.finalize().unwrap();
    place.hsm.kill_daemon();
    place.hsm.start_daemon();
    place.hsm.initialize(&place.module);
    place.slot = place.module.slot_labelled("suite").unwrap();
    let session = place.public();
    refused(
        "after a restart",
        session.login(CKU_USER, USER_PIN),
        &[CKR_PIN_LOCKED],
    );
    session.login(CKU_SO, SO_PIN).unwrap();
    session.init_pin(NEW_PIN).unwrap();
    session.logout().unwrap();
    session.login(CKU_USER, NEW_PIN).unwrap();
    let flags = place.module.token_info(place.slot).unwrap().flags;
    assert_eq!(flags & (CKF_USER_PIN_LOCKED | CKF_USER_PIN_COUNT_LOW), 0);
}

#[test]
fn a_good_login_forgives_the_tries_before() {
    let place = Workplace::open();
    let session = place.public();
    for _ in 0..12 {
        refused(
            "wrong",
            session.login(CKU_USER, "wrong-pin-000"),
            &[CKR_PIN_INCORRECT],
        );
        refused(
            "wrong",
            session.login(CKU_USER, "wrong-pin-000"),
            &[CKR_PIN_INCORRECT],
        );
        session
            .login(CKU_USER, USER_PIN)
            .expect("two wrong tries are no reason");
        session.logout().unwrap();
    }
    let flags = place.module.token_info(place.slot).unwrap().flags;
    assert_eq!(flags & (CKF_USER_PIN_LOCKED | CKF_USER_PIN_COUNT_LOW), 0);
}

#[test]
fn the_users_pin_is_wrong_for_another_token() {
    let place = Workplace::open();
    let other = place.module.make_token("other");
    let there = Session::open_rw(&place.module, other).unwrap();
    there.login(CKU_SO, SO_PIN).unwrap();
    there.init_pin(NEW_PIN).unwrap();
    there.logout().unwrap();
    refused(
        "a PIN of another token",
        there.login(CKU_USER, USER_PIN),
        &[CKR_PIN_INCORRECT],
    );
    let here = place.user();
    assert_eq!(here.state().unwrap(), CKS_RW_USER_FUNCTIONS);
    assert_eq!(
        there.state().unwrap(),
        CKS_RW_PUBLIC_SESSION,
        "login is for one token"
    );
}
