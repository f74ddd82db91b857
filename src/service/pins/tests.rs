//! *What lives here:* the tests of `pins.rs`: which requests are tries, and what becomes of a try's place. *What must never live here:*
//! the pace itself (`src/pace.rs`). *Who calls it:* the test runner.

use strongroom_wire::codec;
use strongroom_wire::secret::Secret;

use super::*;
use crate::service::rig::*;

const WRONG: &[u8] = b"wrong-12345678";

fn house() -> std::sync::Arc<House> {
    House::with_limits(Limits {
        wrong_pin_delay_ms: 100,
        ..Limits::default()
    })
}

/// How long a login would wait, of one that is given up.
fn wait(talk: &Talk, pin: &[u8]) -> Duration {
    let (session, pin) = (talk.session, Secret::new(pin));
    let user = UserType::USER;
    let mut sent = Vec::new();
    codec::encode(&Request::Login { session, user, pin }, &mut sent).unwrap();
    let service = &talk.guest.house.service;
    let asked = service.receive(&talk.guest.application, &sent).unwrap();
    assert!(asked.may_stretch_a_pin());
    asked.wait()
}

#[test]
fn a_wrong_pin_is_waited_for_and_the_right_one_ends_that() {
    let house = house();
    let talk = house.guest().open(READ_WRITE).unwrap();
    assert_eq!(wait(&talk, USER_PIN), Duration::ZERO);
    assert_eq!(talk.login(UserType::USER, WRONG), Rv::PIN_INCORRECT);
    assert_eq!(wait(&talk, USER_PIN), Duration::from_millis(100));
    assert_eq!(
        talk.set_pin(WRONG, USER_PIN),
        Rv::PIN_INCORRECT,
        "a try as well"
    );
    assert!(wait(&talk, USER_PIN) > Duration::from_millis(200));
    assert_eq!(talk.login(UserType::USER, USER_PIN), Rv::OK);
    assert_eq!(wait(&talk, USER_PIN), Duration::ZERO);
}

#[test]
fn tries_of_the_officer_are_counted_apart_and_no_session_no_try() {
    let house = house();
    let talk = house.guest().open(READ_WRITE).unwrap();
    assert_eq!(talk.guest.house.service.usage().len(), Limits::LISTED.len());
    assert_eq!(talk.login(UserType::SO, WRONG), Rv::PIN_INCORRECT);
    assert_eq!(wait(&talk, USER_PIN), Duration::ZERO);
    assert_eq!(talk.close(), Rv::OK);
    assert_eq!(wait(&talk, WRONG), Duration::ZERO);
}
