//! Slots, tokens and mechanism lists (PKCS#11 3.2, 5.5).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::module::text;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Hsm, Rv, SO_PIN, Session, USER_PIN, Workplace, call, not_on_softhsm, template,
};

#[test]
fn the_library_tells_who_it_is() {
    let hsm = Hsm::start();
    let module = hsm.module();
    let info = module.info().unwrap();
    assert_eq!(
        (info.cryptokiVersion.major, info.cryptokiVersion.minor),
        (2, 40),
        "the version of the list it was asked through"
    );
    for field in [&info.manufacturerID[..], &info.libraryDescription[..]] {
        assert!(
            !field.contains(&0),
            "blank-padded, not ended by NUL: {field:?}"
        );
        assert!(!text(field).is_empty());
    }
    assert_eq!(info.flags, 0, "PKCS#11 3.2, 3.1: must be zero");
    module.finalize().unwrap();
    refused(
        "C_GetInfo after C_Finalize",
        module.info(),
        &[CKR_CRYPTOKI_NOT_INITIALIZED],
    );
}

#[test]
fn a_free_slot_is_always_there() {
    let hsm = Hsm::start();
    let module = hsm.module();
    for round in 0..3 {
        let free = module.free_slot().expect("a free slot");
        let label = format!("token {round}");
        module.init_token(free, SO_PIN, &label).unwrap();
        let slot = module
            .slot_labelled(&label)
            .expect("the token that was made");
        let info = module.token_info(slot).unwrap();
        assert_ne!(info.flags & CKF_TOKEN_INITIALIZED, 0);
        assert_eq!(
            info.flags & CKF_USER_PIN_INITIALIZED,
            0,
            "nobody has set the user's PIN"
        );
        assert_ne!(info.flags & CKF_LOGIN_REQUIRED, 0);
        assert_ne!(info.flags & CKF_RNG, 0);
        assert_eq!(
            &info.label[label.len()..],
            vec![b' '; 32 - label.len()],
            "blank-padded"
        );
        let free = module.free_slot().expect("a new free slot");
        assert_ne!(free, slot);
    }
}

#[test]
fn label_and_serial_number_outlive_the_process_and_the_daemon() {
    let mut place = Workplace::open();
    let other = place.module.make_token("another");
    let before = place.module.token_info(place.slot).unwrap();
    let beside = place.module.token_info(other).unwrap();
    assert_ne!(
        before.serialNumber, beside.serialNumber,
        "each token has its own number"
    );
    assert!(!before.serialNumber.contains(&0) && !text(&before.serialNumber).is_empty());
    place.module.finalize().unwrap();
    place.hsm.stop_daemon();
    place.hsm.start_daemon();
    place.hsm.initialize(&place.module);
    let slot = place
        .module
        .slot_labelled("suite")
        .expect("the token is still there");
    let after = place.module.token_info(slot).unwrap();
    assert_eq!(after.serialNumber, before.serialNumber);
    assert_eq!(after.label, before.label);
    assert_ne!(after.flags & CKF_USER_PIN_INITIALIZED, 0);
}

#[test]
fn slot_lists_keep_the_rule_of_lengths() {
    let place = Workplace::open();
    let module = &place.module;
    let mut count: CK_ULONG = 0;
    call!(module, C_GetSlotList(CK_FALSE, null_mut(), &raw mut count))
        .ok()
        .unwrap();
    assert!(count >= 2, "the token and a free slot");
    let mut room = [0; 1];
    let mut short: CK_ULONG = 1;
    let code = call!(
        module,
        C_GetSlotList(CK_FALSE, room.as_mut_ptr(), &raw mut short)
    );
    assert_eq!(code, Rv(CKR_BUFFER_TOO_SMALL));
    assert_eq!(
        short, count,
        "the length is told even when the buffer is too small"
    );
    let code = call!(module, C_GetSlotList(CK_FALSE, null_mut(), null_mut()));
    assert_eq!(code, Rv(CKR_ARGUMENTS_BAD));
}

#[test]
fn a_slot_that_is_none_is_refused_everywhere() {
    let place = Workplace::open();
    let module = &place.module;
    let slot = 0xdead_beef;
    let wrong = &[CKR_SLOT_ID_INVALID];
    refused("C_GetSlotInfo", module.slot_info(slot), wrong);
    refused("C_GetTokenInfo", module.token_info(slot), wrong);
    refused("C_GetMechanismList", module.mechanisms(slot), wrong);
    refused(
        "C_GetMechanismInfo",
        module.mechanism_info(slot, CKM_AES_CBC),
        wrong,
    );
    refused("C_InitToken", module.init_token(slot, SO_PIN, "x"), wrong);
    refused("C_OpenSession", Session::open_rw(module, slot), wrong);
    refused("C_CloseAllSessions", module.close_all(slot), wrong);
}

#[test]
fn slot_and_token_information_is_blank_padded_and_sensible() {
    let place = Workplace::open();
    let slot = place.module.slot_info(place.slot).unwrap();
    assert_ne!(slot.flags & CKF_TOKEN_PRESENT, 0);
    for field in [&slot.slotDescription[..], &slot.manufacturerID[..]] {
        assert!(!field.contains(&0), "blank-padded: {field:?}");
    }
    let token = place.module.token_info(place.slot).unwrap();
    for field in [
        &token.label[..],
        &token.manufacturerID[..],
        &token.model[..],
    ] {
        assert!(!field.contains(&0), "blank-padded: {field:?}");
    }
    assert!(
        token.ulMinPinLen <= 8 && token.ulMaxPinLen >= 32,
        "{token:?}"
    );
    assert_eq!(token.flags & CKF_WRITE_PROTECTED, 0);
}

#[test]
fn sessions_are_counted() {
    let place = Workplace::open();
    let rw = place.public();
    let ro = Session::open_ro(&place.module, place.slot).unwrap();
    let token = place.module.token_info(place.slot).unwrap();
    let unknown = CK_UNAVAILABLE;
    assert!(
        [2, unknown].contains(&token.ulSessionCount),
        "{}",
        token.ulSessionCount
    );
    assert!(
        [1, unknown].contains(&token.ulRwSessionCount),
        "{}",
        token.ulRwSessionCount
    );
    rw.close().unwrap();
    ro.close().unwrap();
    let token = place.module.token_info(place.slot).unwrap();
    assert!(
        [0, unknown].contains(&token.ulSessionCount),
        "{}",
        token.ulSessionCount
    );
}

const CK_UNAVAILABLE: CK_ULONG = CK_ULONG::MAX;

#[test]
fn initialising_again_takes_the_officers_pin_and_destroys_everything() {
    let place = Workplace::open();
    let session = place.user();
    session
        .create(&crate::keys::data("gone").with(CKA_TOKEN, true))
        .unwrap();
    refused(
        "C_InitToken with a session open",
        place.module.init_token(place.slot, SO_PIN, "suite"),
        &[CKR_SESSION_EXISTS],
    );
    place.module.close_all(place.slot).unwrap();
    refused(
        "C_InitToken with a wrong PIN",
        place
            .module
            .init_token(place.slot, "not-the-so-pin", "suite"),
        &[CKR_PIN_INCORRECT],
    );
    place
        .module
        .init_token(place.slot, SO_PIN, "renewed")
        .unwrap();
    let slot = place
        .module
        .slot_labelled("renewed")
        .expect("the token under its new label");
    let session = Session::open_rw(&place.module, slot).unwrap();
    refused(
        "login without a user's PIN",
        session.login(CKU_USER, USER_PIN),
        &[CKR_USER_PIN_NOT_INITIALIZED],
    );
    assert_eq!(
        session.find(&template! {}).unwrap(),
        Vec::<CK_OBJECT_HANDLE>::new()
    );
}

#[test]
fn a_free_slot_has_a_token_without_sessions() {
    let hsm = Hsm::start();
    let module = hsm.module();
    let free = module.free_slot().unwrap();
    refused(
        "C_OpenSession on a token that is not initialised",
        Session::open_rw(&module, free),
        &[CKR_TOKEN_NOT_RECOGNIZED],
    );
    assert!(!module.mechanisms(free).unwrap().is_empty());
    refused(
        "a PIN of three characters",
        module.init_token(free, "abc", "short"),
        // The list of codes of C_InitToken lacks CKR_PIN_LEN_RANGE, which names the fault.
        &[CKR_PIN_LEN_RANGE, CKR_PIN_INCORRECT],
    );
}

#[test]
fn no_event_waits() {
    let place = Workplace::open();
    if not_on_softhsm("C_WaitForSlotEvent is not there") {
        return;
    }
    // Making the token was an event, once.
    for _ in 0..4 {
        if let Err(code) = place.module.slot_event() {
            assert_eq!(code, Rv(CKR_NO_EVENT));
            return;
        }
    }
    panic!("events without end");
}

/// What every mechanism must be able to do: number, flags, least and largest key (bits; bytes for secret keys).
const REQUIRED: &[(CK_MECHANISM_TYPE, CK_FLAGS, CK_ULONG, CK_ULONG)] = &[
    (CKM_RSA_PKCS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, 2048, 4096),
    (
        CKM_RSA_PKCS,
        CKF_ENCRYPT | CKF_DECRYPT | CKF_SIGN | CKF_VERIFY | CKF_WRAP | CKF_UNWRAP,
        2048,
        4096,
    ),
    (
        CKM_RSA_X_509,
        CKF_ENCRYPT | CKF_DECRYPT | CKF_SIGN | CKF_VERIFY,
        2048,
        4096,
    ),
    (CKM_RSA_PKCS_PSS, CKF_SIGN | CKF_VERIFY, 2048, 4096),
    (
        CKM_RSA_PKCS_OAEP,
        CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP,
        2048,
        4096,
    ),
    (CKM_SHA256_RSA_PKCS, CKF_SIGN | CKF_VERIFY, 2048, 4096),
    (CKM_SHA512_RSA_PKCS_PSS, CKF_SIGN | CKF_VERIFY, 2048, 4096),
    (CKM_EC_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, 256, 521),
    (CKM_ECDSA, CKF_SIGN | CKF_VERIFY, 256, 521),
    (CKM_ECDH1_DERIVE, CKF_DERIVE, 256, 521),
    (CKM_AES_KEY_GEN, CKF_GENERATE, 16, 32),
    (CKM_AES_ECB, CKF_ENCRYPT | CKF_DECRYPT, 16, 32),
    (CKM_AES_CBC, CKF_ENCRYPT | CKF_DECRYPT, 16, 32),
    (CKM_AES_CBC_PAD, CKF_ENCRYPT | CKF_DECRYPT, 16, 32),
    (CKM_AES_CTR, CKF_ENCRYPT | CKF_DECRYPT, 16, 32),
    (CKM_AES_GCM, CKF_ENCRYPT | CKF_DECRYPT, 16, 32),
    (CKM_AES_CMAC, CKF_SIGN | CKF_VERIFY, 16, 32),
    (CKM_AES_KEY_WRAP, CKF_WRAP | CKF_UNWRAP, 16, 32),
    (CKM_AES_KEY_WRAP_PAD, CKF_WRAP | CKF_UNWRAP, 16, 32),
];

/// What SoftHSM 2.6.1 lacks.
const REQUIRED_OF_OURS: &[(CK_MECHANISM_TYPE, CK_FLAGS)] = &[
    (CKM_RSA_PKCS, CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER),
    (CKM_AES_CBC_PAD, CKF_WRAP | CKF_UNWRAP),
    (CKM_AES_KEY_WRAP_KWP, CKF_WRAP | CKF_UNWRAP),
    (CKM_RSA_AES_KEY_WRAP, CKF_WRAP | CKF_UNWRAP),
    (CKM_AES_CMAC_GENERAL, CKF_SIGN | CKF_VERIFY),
    (CKM_ECDSA_SHA256, CKF_SIGN | CKF_VERIFY),
    (CKM_EDDSA, CKF_SIGN | CKF_VERIFY),
    (CKM_EC_EDWARDS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR),
    (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR),
    (CKM_SHA256_HMAC_GENERAL, CKF_SIGN | CKF_VERIFY),
    (CKM_SHA3_256, CKF_DIGEST),
    (CKM_SHA3_512_HMAC, CKF_SIGN | CKF_VERIFY),
];

#[test]
fn mechanisms_are_listed_with_what_they_do() {
    let place = Workplace::open();
    let list = place.module.mechanisms(place.slot).unwrap();
    let mut once = list.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), list.len(), "a mechanism is listed twice");
    for mechanism in &list {
        let info = place
            .module
            .mechanism_info(place.slot, *mechanism)
            .unwrap_or_else(|code| {
                panic!("{mechanism:#x} is listed and has no information: {code:?}")
            });
        assert!(
            info.ulMinKeySize <= info.ulMaxKeySize,
            "{mechanism:#x}: {info:?}"
        );
    }
    for (mechanism, flags, least, largest) in REQUIRED {
        assert!(list.contains(mechanism), "{mechanism:#x} is missing");
        let info = place.module.mechanism_info(place.slot, *mechanism).unwrap();
        assert_eq!(
            info.flags & flags,
            *flags,
            "{mechanism:#x}: {:#x}",
            info.flags
        );
        if !not_on_softhsm("it tells key sizes of zero for several mechanisms") {
            assert!(
                info.ulMinKeySize <= *least && info.ulMaxKeySize >= *largest,
                "{mechanism:#x}: {info:?}"
            );
        }
    }
    refused(
        "an unknown mechanism",
        place.module.mechanism_info(place.slot, 0x7fff_fff0),
        &[CKR_MECHANISM_INVALID],
    );
    if not_on_softhsm("mechanisms of 3.0") {
        return;
    }
    for (mechanism, flags) in REQUIRED_OF_OURS {
        assert!(list.contains(mechanism), "{mechanism:#x} is missing");
        let info = place.module.mechanism_info(place.slot, *mechanism).unwrap();
        assert_eq!(
            info.flags & flags,
            *flags,
            "{mechanism:#x}: {:#x}",
            info.flags
        );
    }
}
