//! Sessions and login (PKCS#11 3.2, 5.6): who is logged in where, and what a session may do.

use std::thread;

use cryptoki_sys::*;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Mechanism, Rv, SO_PIN, Session, USER_PIN, Way, Workplace, call, not_on_softhsm, template,
};

use crate::keys;
use crate::second::Second;

#[test]
fn the_state_machine() {
    let place = Workplace::open();
    let rw = place.public();
    assert_eq!(rw.state().unwrap(), CKS_RW_PUBLIC_SESSION);
    rw.login(CKU_SO, SO_PIN).unwrap();
    assert_eq!(rw.state().unwrap(), CKS_RW_SO_FUNCTIONS);
    rw.logout().unwrap();
    assert_eq!(rw.state().unwrap(), CKS_RW_PUBLIC_SESSION);
    let ro = Session::open_ro(&place.module, place.slot).unwrap();
    assert_eq!(ro.state().unwrap(), CKS_RO_PUBLIC_SESSION);
    ro.login(CKU_USER, USER_PIN).unwrap();
    assert_eq!(
        ro.state().unwrap(),
        CKS_RO_USER_FUNCTIONS,
        "login by a read-only session"
    );
    assert_eq!(
        rw.state().unwrap(),
        CKS_RW_USER_FUNCTIONS,
        "is login for all sessions"
    );
    let late = place.public();
    assert_eq!(
        late.state().unwrap(),
        CKS_RW_USER_FUNCTIONS,
        "and for those opened later"
    );
    let info = late.info().unwrap();
    assert_eq!(
        (info.slotID, info.flags),
        (place.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)
    );
    late.logout().unwrap();
    assert_eq!(ro.state().unwrap(), CKS_RO_PUBLIC_SESSION, "logout as well");
    if !not_on_softhsm("C_Logout by nobody succeeds") {
        refused("C_Logout twice", late.logout(), &[CKR_USER_NOT_LOGGED_IN]);
    }
}

#[test]
fn the_officer_and_read_only_sessions_exclude_each_other() {
    let place = Workplace::open();
    let rw = place.public();
    let ro = Session::open_ro(&place.module, place.slot).unwrap();
    refused(
        "login of the officer beside a read-only session",
        rw.login(CKU_SO, SO_PIN),
        &[CKR_SESSION_READ_ONLY_EXISTS],
    );
    ro.close().unwrap();
    rw.login(CKU_SO, SO_PIN).unwrap();
    refused(
        "a read-only session beside the officer",
        Session::open_ro(&place.module, place.slot),
        &[CKR_SESSION_READ_WRITE_SO_EXISTS],
    );
}

#[test]
fn sessions_are_serial() {
    let place = Workplace::open();
    refused(
        "no CKF_SERIAL_SESSION",
        Session::open(&place.module, place.slot, CKF_RW_SESSION),
        &[CKR_SESSION_PARALLEL_NOT_SUPPORTED],
    );
}

#[test]
fn who_is_logged_in_already() {
    let place = Workplace::open();
    let session = place.public();
    session.login(CKU_USER, USER_PIN).unwrap();
    let other = place.public();
    refused(
        "the user again",
        other.login(CKU_USER, USER_PIN),
        &[CKR_USER_ALREADY_LOGGED_IN],
    );
    refused(
        "the officer beside the user",
        other.login(CKU_SO, SO_PIN),
        &[CKR_USER_ANOTHER_ALREADY_LOGGED_IN],
    );
    session.logout().unwrap();
    session.login(CKU_SO, SO_PIN).unwrap();
    refused(
        "the officer again",
        other.login(CKU_SO, SO_PIN),
        &[CKR_USER_ALREADY_LOGGED_IN],
    );
    refused(
        "the user beside the officer",
        other.login(CKU_USER, USER_PIN),
        &[CKR_USER_ANOTHER_ALREADY_LOGGED_IN],
    );
    session.logout().unwrap();
    refused(
        "nobody of this kind",
        session.login(17, USER_PIN),
        &[CKR_USER_TYPE_INVALID],
    );
}

#[test]
fn closing_the_last_session_logs_out() {
    let place = Workplace::open();
    let one = place.user();
    let two = place.public();
    one.close().unwrap();
    assert_eq!(two.state().unwrap(), CKS_RW_USER_FUNCTIONS);
    two.close().unwrap();
    assert_eq!(place.public().state().unwrap(), CKS_RW_PUBLIC_SESSION);
    let again = place.user();
    place.module.close_all(place.slot).unwrap();
    refused(
        "a session that was closed",
        again.state(),
        &[CKR_SESSION_HANDLE_INVALID],
    );
    assert_eq!(place.public().state().unwrap(), CKS_RW_PUBLIC_SESSION);
}

#[test]
fn closed_sessions_are_unknown_everywhere() {
    let place = Workplace::open();
    let session = place.user();
    let keep = place.public();
    let key = keys::import_aes(&keep, &[1; 16]);
    session.close().unwrap();
    let gone = &[CKR_SESSION_HANDLE_INVALID];
    refused("C_CloseSession", session.close(), gone);
    refused("C_GetSessionInfo", session.info(), gone);
    refused("C_Login", session.login(CKU_USER, USER_PIN), gone);
    refused("C_Logout", session.logout(), gone);
    refused("C_CreateObject", session.create(&keys::data("x")), gone);
    refused("C_FindObjectsInit", session.find_init(&template! {}), gone);
    refused("C_FindObjects", session.find_next(1), gone);
    refused(
        "C_EncryptInit",
        session.begin(Way::Encrypt, CKM_AES_ECB, key),
        gone,
    );
    refused(
        "C_Encrypt",
        session.one_shot(Way::Encrypt, b"", Some(9)).0.ok(),
        gone,
    );
    refused("C_GenerateRandom", session.random(8), gone);
    refused(
        "C_GetAttributeValue",
        session.attribute(key, CKA_CLASS),
        gone,
    );
    let zero = Session {
        module: &place.module,
        handle: 0,
    };
    refused("session zero", zero.info(), gone);
}

#[test]
fn read_only_sessions_leave_the_token_as_it_is() {
    let place = Workplace::open();
    let rw = place.user();
    let made = rw
        .create(&keys::data("kept").with(CKA_TOKEN, true))
        .unwrap();
    let ro = Session::open_ro(&place.module, place.slot).unwrap();
    let no = &[CKR_SESSION_READ_ONLY];
    refused(
        "a token object",
        ro.create(&keys::data("new").with(CKA_TOKEN, true)),
        no,
    );
    refused(
        "a change",
        ro.set(made, &template! { CKA_LABEL => "changed" }),
        no,
    );
    refused("a destruction", ro.destroy(made), no);
    refused(
        "a copy on the token",
        ro.copy(made, &template! { CKA_TOKEN => true }),
        no,
    );
    refused(
        "a token key",
        ro.generate(
            CKM_AES_KEY_GEN,
            &keys::protected_aes().with(CKA_TOKEN, true),
        ),
        no,
    );
    refused("a PIN", ro.set_pin(USER_PIN, "another-pin-99"), no);
    let session_object = ro.create(&keys::data("of the session")).unwrap();
    ro.set(session_object, &template! { CKA_LABEL => "changed" })
        .unwrap();
    ro.destroy(session_object).unwrap();
}

#[test]
fn session_objects_belong_to_the_application_and_die_with_their_session() {
    let place = Workplace::open();
    let maker = place.user();
    let user = place.public();
    let object = maker.create(&keys::data("shared")).unwrap();
    assert_eq!(
        user.attribute(object, CKA_LABEL).unwrap(),
        b"shared",
        "by any session"
    );
    assert_eq!(
        user.find(&template! { CKA_LABEL => "shared" }).unwrap(),
        [object]
    );
    maker.close().unwrap();
    refused(
        "after its session",
        user.attribute(object, CKA_LABEL),
        &[CKR_OBJECT_HANDLE_INVALID],
    );
    assert!(
        user.find(&template! { CKA_LABEL => "shared" })
            .unwrap()
            .is_empty()
    );
}

#[test]
fn private_objects_go_with_the_login() {
    let place = Workplace::open();
    let session = place.user();
    let private = session
        .create(&keys::data("mine").with(CKA_PRIVATE, true))
        .unwrap();
    let stays = session
        .create(
            &keys::data("mine")
                .with(CKA_PRIVATE, true)
                .with(CKA_TOKEN, true),
        )
        .unwrap();
    let public = session.create(&keys::data("everybody's")).unwrap();
    session.logout().unwrap();
    for object in [private, stays] {
        refused(
            "a private object after logout",
            session.attribute(object, CKA_LABEL),
            &[CKR_OBJECT_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN],
        );
    }
    assert_eq!(
        session.attribute(public, CKA_LABEL).unwrap(),
        b"everybody's"
    );
    assert!(
        session
            .find(&template! { CKA_LABEL => "mine" })
            .unwrap()
            .is_empty()
    );
    refused(
        "making a private object before login",
        session.create(&keys::data("mine").with(CKA_PRIVATE, true)),
        &[CKR_USER_NOT_LOGGED_IN],
    );
    session.login(CKU_USER, USER_PIN).unwrap();
    let found = session.find(&template! { CKA_LABEL => "mine" }).unwrap();
    assert_eq!(
        found.len(),
        1,
        "the token object is back, the session object is not"
    );
}

#[test]
fn the_officer_sees_no_private_objects() {
    let place = Workplace::open();
    let user = place.user();
    user.create(
        &keys::data("mine")
            .with(CKA_PRIVATE, true)
            .with(CKA_TOKEN, true),
    )
    .unwrap();
    user.create(&keys::data("public").with(CKA_TOKEN, true))
        .unwrap();
    user.logout().unwrap();
    user.login(CKU_SO, SO_PIN).unwrap();
    assert!(
        user.find(&template! { CKA_LABEL => "mine" })
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        user.find(&template! { CKA_LABEL => "public" })
            .unwrap()
            .len(),
        1
    );
    refused(
        "a private object made by the officer",
        user.create(&keys::data("mine").with(CKA_PRIVATE, true)),
        &[CKR_USER_NOT_LOGGED_IN, CKR_TEMPLATE_INCONSISTENT],
    );
}

#[test]
fn threads_share_the_login() {
    let place = Workplace::open();
    let session = place.user();
    let key = session
        .create(&keys::open_secret(CKK_AES).with(CKA_VALUE, &[9; 32]))
        .unwrap();
    let expected = session
        .run(Way::Encrypt, CKM_AES_ECB, key, &[0; 16])
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let own = place.public();
                assert_eq!(own.state().unwrap(), CKS_RW_USER_FUNCTIONS);
                for _ in 0..50 {
                    let output = own.run(Way::Encrypt, CKM_AES_ECB, key, &[0; 16]).unwrap();
                    assert_eq!(output, expected);
                }
                own.close().unwrap();
            });
        }
    });
}

#[test]
fn processes_share_token_objects_and_nothing_else() {
    let place = Workplace::open();
    let session = place.user();
    let mut second = Second::start(&place.hsm);
    assert_eq!(second.ask("open suite"), "ok");
    assert_eq!(
        second.ask("state"),
        format!("ok {CKS_RW_PUBLIC_SESSION}"),
        "its login is its own"
    );
    session.create(&keys::data("session object")).unwrap();
    session
        .create(&keys::data("token object").with(CKA_TOKEN, true))
        .unwrap();
    session
        .create(
            &keys::data("private object")
                .with(CKA_TOKEN, true)
                .with(CKA_PRIVATE, true),
        )
        .unwrap();
    // A space in a label would be two words of the command.
    for (label, count) in [("one", 0), ("two", 1), ("three", 0)] {
        let private = label == "three";
        let token = label != "one";
        session
            .create(
                &keys::data(label)
                    .with(CKA_TOKEN, token)
                    .with(CKA_PRIVATE, private),
            )
            .unwrap();
        assert_eq!(
            second.ask(&format!("find {label}")),
            format!("ok {count}"),
            "{label}"
        );
    }
    assert_eq!(second.ask(&format!("login user {USER_PIN}")), "ok");
    assert_eq!(
        second.ask("find three"),
        "ok 1",
        "a private object after its own login"
    );
    assert!(second.ask("create fromafar token").starts_with("ok "));
    assert_eq!(
        session
            .find(&template! { CKA_LABEL => "fromafar" })
            .unwrap()
            .len(),
        1,
        "token objects of another process are there at once"
    );
    session.logout().unwrap();
    assert_eq!(
        second.ask("state"),
        format!("ok {CKS_RW_USER_FUNCTIONS}"),
        "our logout is ours"
    );
    assert!(second.ask("create passing session").starts_with("ok "));
    second.kill();
}

#[test]
fn one_operation_of_a_kind_at_a_time() {
    let place = Workplace::open();
    let session = place.user();
    let key = keys::import_aes(&session, &[3; 32]);
    let active = &[CKR_OPERATION_ACTIVE];
    session.begin(Way::Encrypt, CKM_AES_ECB, key).unwrap();
    refused(
        "C_EncryptInit twice",
        session.begin(Way::Encrypt, CKM_AES_ECB, key),
        active,
    );
    assert_eq!(
        session.one_shot(Way::Encrypt, &[0; 16], Some(16)).0,
        Rv(CKR_OK)
    );
    session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
    refused(
        "C_DigestInit twice",
        session.begin(Way::Digest, CKM_SHA256, 0),
        active,
    );
    assert_eq!(session.one_shot(Way::Digest, b"x", Some(64)).0, Rv(CKR_OK));
    session.find_init(&template! {}).unwrap();
    refused(
        "C_FindObjectsInit twice",
        session.find_init(&template! {}),
        active,
    );
    session.find_final().unwrap();
    let none = &[CKR_OPERATION_NOT_INITIALIZED];
    refused("C_FindObjects without Init", session.find_next(4), none);
    refused(
        "C_FindObjectsFinal without Init",
        session.find_final(),
        none,
    );
    for way in [Way::Encrypt, Way::Decrypt, Way::Digest, Way::Sign] {
        refused(
            "one-shot without Init",
            session.one_shot(way, &[0; 16], Some(64)).0.ok(),
            none,
        );
        refused(
            "update without Init",
            session.update(way, &[0; 16], Some(64)).0.ok(),
            none,
        );
        refused(
            "final without Init",
            session.finish(way, Some(64)).0.ok(),
            none,
        );
    }
}

#[test]
fn kinds_of_operations_do_not_disturb_each_other() {
    let place = Workplace::open();
    if not_on_softhsm("it has one operation a session") {
        return;
    }
    let session = place.user();
    let key = keys::import_aes(&session, &[3; 32]);
    session.begin(Way::Encrypt, CKM_AES_ECB, key).unwrap();
    session.begin(Way::Decrypt, CKM_AES_ECB, key).unwrap();
    session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
    session.begin(Way::Sign, CKM_AES_CMAC, key).unwrap();
    session
        .find_init(&template! { CKA_CLASS => CKO_SECRET_KEY })
        .unwrap();
    assert_eq!(session.one_shot(Way::Sign, b"x", Some(16)).0, Rv(CKR_OK));
    assert_eq!(session.one_shot(Way::Digest, b"x", Some(32)).0, Rv(CKR_OK));
    assert_eq!(session.find_next(4).unwrap(), [key]);
    assert_eq!(
        session.one_shot(Way::Decrypt, &[0; 16], Some(16)).0,
        Rv(CKR_OK)
    );
    assert_eq!(
        session.one_shot(Way::Encrypt, &[0; 16], Some(16)).0,
        Rv(CKR_OK)
    );
    session.find_final().unwrap();
}

#[test]
fn a_null_mechanism_cancels() {
    let place = Workplace::open();
    if not_on_softhsm("cancelling came with 3.0") {
        return;
    }
    let session = place.user();
    let key = keys::import_aes(&session, &[3; 32]);
    session.begin(Way::Encrypt, CKM_AES_ECB, key).unwrap();
    let code = call!(
        session.module,
        C_EncryptInit(session.handle, core::ptr::null_mut(), 0)
    );
    assert_eq!(
        code,
        Rv(CKR_OK),
        "PKCS#11 3.0, 5.8.1: an Init with a null mechanism cancels"
    );
    refused(
        "the cancelled operation",
        session.one_shot(Way::Encrypt, &[0; 16], Some(16)).0.ok(),
        &[CKR_OPERATION_NOT_INITIALIZED],
    );
    session.begin(Way::Encrypt, CKM_AES_ECB, key).unwrap();
    session.begin(Way::Sign, CKM_AES_CMAC, key).unwrap();
    let table = session.module.table_3_0().expect("the interface of 3.0");
    let cancel = table.C_SessionCancel.expect("C_SessionCancel");
    // SAFETY: the function came from the module's own list; both arguments are numbers.
    let code = unsafe { cancel(session.handle, CKF_ENCRYPT) };
    assert_eq!(Rv(code), Rv(CKR_OK));
    refused(
        "the cancelled operation",
        session.one_shot(Way::Encrypt, &[0; 16], Some(16)).0.ok(),
        &[CKR_OPERATION_NOT_INITIALIZED],
    );
    assert_eq!(
        session.one_shot(Way::Sign, b"x", Some(16)).0,
        Rv(CKR_OK),
        "only what was named"
    );
}

#[test]
fn an_error_ends_the_operation() {
    let place = Workplace::open();
    let session = place.user();
    let key = keys::import_aes(&session, &[3; 32]);
    refused(
        "ECB of a part of a block",
        session.run(Way::Encrypt, CKM_AES_ECB, key, &[0; 15]),
        &[CKR_DATA_LEN_RANGE],
    );
    session
        .begin(Way::Encrypt, CKM_AES_ECB, key)
        .expect("the failed operation is over");
    session
        .one_shot(Way::Encrypt, &[0; 16], Some(16))
        .0
        .ok()
        .unwrap();
    if not_on_softhsm("it answers CKR_GENERAL_ERROR to a GCM tag that does not match") {
        return;
    }
    let mut sealed = session
        .run(
            Way::Encrypt,
            Mechanism::gcm(&[1; 12], b"", 128),
            key,
            b"text",
        )
        .unwrap();
    sealed[0] ^= 1;
    refused(
        "a tampered ciphertext",
        session.run(
            Way::Decrypt,
            Mechanism::gcm(&[1; 12], b"", 128),
            key,
            &sealed,
        ),
        &[CKR_ENCRYPTED_DATA_INVALID, CKR_AEAD_DECRYPT_FAILED],
    );
    session
        .begin(Way::Decrypt, CKM_AES_ECB, key)
        .expect("the failed operation is over");
}

#[test]
fn a_key_destroyed_under_an_operation_is_gone() {
    let place = Workplace::open();
    let session = place.user();
    let key = keys::import_aes(&session, &[3; 32]);
    session.begin(Way::Encrypt, CKM_AES_ECB, key).unwrap();
    session.destroy(key).unwrap();
    // The standard leaves open whether the running operation goes on; it must not crash, and no new one may begin.
    let _ = session.one_shot(Way::Encrypt, &[0; 16], Some(16));
    refused(
        "a new operation",
        session.begin(Way::Decrypt, CKM_AES_ECB, key),
        &[CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID],
    );
}

#[test]
fn always_authenticate_asks_once_for_each_use() {
    let place = Workplace::open();
    if not_on_softhsm("C_Login(CKU_CONTEXT_SPECIFIC) outlives the operation it was for") {
        return;
    }
    let session = place.user();
    let (_, private) = session
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &template! { CKA_EC_PARAMS => strongroom_tests::judge::ec::Curve::P256.parameters(), CKA_VERIFY => true },
            &template! { CKA_PRIVATE => true, CKA_SENSITIVE => true, CKA_SIGN => true, CKA_ALWAYS_AUTHENTICATE => true },
        )
        .unwrap();
    assert!(session.flag(private, CKA_ALWAYS_AUTHENTICATE).unwrap());
    refused(
        "a context login without an operation",
        session.login(CKU_CONTEXT_SPECIFIC, USER_PIN),
        &[CKR_OPERATION_NOT_INITIALIZED],
    );
    session.begin(Way::Sign, CKM_ECDSA, private).unwrap();
    refused(
        "signing without the context login",
        session.one_shot(Way::Sign, &[1; 32], Some(64)).0.ok(),
        &[CKR_USER_NOT_LOGGED_IN],
    );
    let _ = session.module.table();
    let begin = || match session.begin(Way::Sign, CKM_ECDSA, private) {
        // Whether the refusal above ended the operation is the token's choice.
        Err(code) if code.0 == CKR_OPERATION_ACTIVE => {}
        other => other.unwrap(),
    };
    begin();
    refused(
        "a wrong PIN",
        session.login(CKU_CONTEXT_SPECIFIC, "wrong-pin-000"),
        &[CKR_PIN_INCORRECT],
    );
    begin();
    session.login(CKU_CONTEXT_SPECIFIC, USER_PIN).unwrap();
    session
        .one_shot(Way::Sign, &[1; 32], None)
        .0
        .ok()
        .expect("asking for the length is no use");
    session
        .one_shot(Way::Sign, &[1; 32], Some(64))
        .0
        .ok()
        .unwrap();
    session.begin(Way::Sign, CKM_ECDSA, private).unwrap();
    refused(
        "the second use with the first login",
        session.one_shot(Way::Sign, &[1; 32], Some(64)).0.ok(),
        &[CKR_USER_NOT_LOGGED_IN],
    );
    // Another session has its own operations and logins.
    let other = place.public();
    begin();
    session.login(CKU_CONTEXT_SPECIFIC, USER_PIN).unwrap();
    other.begin(Way::Sign, CKM_ECDSA, private).unwrap();
    refused(
        "the login of another session's operation",
        other.one_shot(Way::Sign, &[1; 32], Some(64)).0.ok(),
        &[CKR_USER_NOT_LOGGED_IN],
    );
    session
        .one_shot(Way::Sign, &[1; 32], Some(64))
        .0
        .ok()
        .unwrap();
}

#[test]
fn legacy_functions_exist_and_say_so() {
    let place = Workplace::open();
    let session = place.public();
    let code = call!(session.module, C_GetFunctionStatus(session.handle));
    assert_eq!(code, Rv(CKR_FUNCTION_NOT_PARALLEL));
    let code = call!(session.module, C_CancelFunction(session.handle));
    assert_eq!(code, Rv(CKR_FUNCTION_NOT_PARALLEL));
}
