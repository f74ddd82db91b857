//! *What lives here:* the tests of the front desk. *What must never live here:* what several tests share (`rig.rs`). *Who calls it:*
//! the test runner.

use super::rig::*;

#[test]
fn an_unknown_session_is_refused() {
    let house = House::new();
    let talk = house.user();
    assert_eq!(talk.close(), strongroom_wire::ck::Rv::OK);
    assert_eq!(
        talk.info().unwrap_err(),
        strongroom_wire::ck::Rv::SESSION_HANDLE_INVALID
    );
}
