//! *What lives here:* the tests of `rehearsing.rs`: which requests have rules, and what is left of a rehearsal. *What must never live
//! here:* rates and distributions (`src/rehearsal`). *Who calls it:* the test runner.

use strongroom_wire::admin::AdminRequest;
use strongroom_wire::rehearsal::FUNCTIONS;
use strongroom_wire::request::{ObjectHandle, SessionHandle};

use super::*;
use crate::audit::Principal;
use crate::service::rig::*;
use crate::service::tests::every_request;

fn act(house: &House, act: Act) -> State {
    let request = AdminRequest::Rehearse {
        token: "a token",
        act,
    };
    let operator = Principal {
        uid: 0,
        gid: 0,
        pid: 1,
        executable: "strongroom".into(),
        started: None,
    };
    match house.service.administer(&operator, &request, None) {
        Ok(AdminAnswer::Rehearsal(state)) => *state,
        other => panic!("no rehearsal but {other:?}"),
    }
}

#[test]
fn every_function_that_concerns_a_token_can_have_a_rule() {
    let mut known = FUNCTIONS.to_vec();
    for (request, _) in every_request(SessionHandle(1), ObjectHandle(1)) {
        let concerned = (request.session().is_some()
            || event::Facts::of(&request).slot.is_some())
            // No functions of the standard.
            && !matches!(
                request,
                strongroom_wire::request::Request::RestoreLogin { .. }
                    | strongroom_wire::request::Request::ReleaseKey { .. }
            );
        for function in event::functions(&request) {
            assert_eq!(FUNCTIONS.contains(&function), concerned, "{function}");
            known.retain(|one| *one != function);
        }
    }
    // Those of the other three values of one request.
    let dual = [
        "C_DecryptDigestUpdate",
        "C_DecryptVerifyUpdate",
        "C_DigestEncryptUpdate",
        "C_SignEncryptUpdate",
    ];
    known.retain(|one| !dual.contains(one));
    assert!(known.is_empty(), "no request is called {known:?}");
    assert!(FUNCTIONS.is_sorted(), "as a reader looks for them");
}

#[test]
fn nothing_is_left_of_a_rehearsal_that_has_ended() {
    let house = House::new();
    let talk = house.user();
    let state = act(&house, Act::Show);
    assert!(state.plan.is_none() && state.present);
    let plan = Plan {
        room: Some(0),
        ..Plan::default()
    };
    act(&house, Act::Begin(Box::new(plan)));
    assert_eq!(house.service.counts().rehearsing, 1);
    let state = act(&house, Act::Remove);
    assert!(!state.present && state.room_left == Some(0));
    assert_eq!(talk.info().err(), Some(Rv::SESSION_HANDLE_INVALID));
    assert_eq!(
        talk.guest.open(READ_WRITE).err(),
        Some(Rv::TOKEN_NOT_PRESENT)
    );
    let state = act(&house, Act::Off);
    assert!(state.plan.is_none() && state.present && state.room_left.is_none());
    assert_eq!(house.service.counts().rehearsing, 0);
    house.user();
}

#[test]
fn a_deleted_token_rehearses_no_more() {
    let house = House::new();
    act(&house, Act::Begin(Box::default()));
    let request = AdminRequest::TokenDelete { token: "a token" };
    let operator = house.guest().application.principal.clone();
    let answer = house.service.administer(&operator, &request, None).unwrap();
    assert!(matches!(answer, AdminAnswer::Done), "{answer:?}");
    assert_eq!(house.service.counts().rehearsing, 0);
}
