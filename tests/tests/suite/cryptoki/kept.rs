//! What a module may keep, defer and answer itself: nothing of it may be seen but its speed.
//!
//! Whatever can be remembered is asked for twice before something changes, and whatever can be begun without a word to the token is begun
//! twice before it is tried: a first time teaches, a second time is where a memory would show.

use core::ptr::null_mut;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::hash::{HASHES, Hash};
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Mechanism, Rv, SO_PIN, Session, Template, USER_PIN, Way, Workplace, call, not_on_softhsm,
    pattern, template,
};

use crate::keys;
use crate::second::Second;

const MIB: usize = 1 << 20;
const IV: [u8; 16] = [0x42; 16];
const KEY_GONE: &[CK_RV] = &[CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID];
const OBJECT_GONE: &[CK_RV] = &[CKR_OBJECT_HANDLE_INVALID];
const NOTHING_BEGUN: &[CK_RV] = &[CKR_OPERATION_NOT_INITIALIZED];

/// A place where this application has not yet seen the officer, who made the token: a module may be more careful after that.
fn at_work() -> Workplace {
    let mut place = Workplace::open();
    place.module.finalize().unwrap();
    place.hsm.initialize(&place.module);
    place.slot = place.module.slot_labelled("suite").expect("the token");
    place
}

/// A key to sign with CKM_SHA256_HMAC.
fn mac_key(label: &str, on_token: bool, private: bool) -> Template {
    keys::open_secret(CKK_GENERIC_SECRET)
        .with(CKA_TOKEN, on_token)
        .with(CKA_PRIVATE, private)
        .with(CKA_LABEL, label)
        .with(CKA_VALUE, &[7; 32])
}

fn mac(session: &Session<'_>, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, Rv> {
    session.run(Way::Sign, CKM_SHA256_HMAC, key, b"data")
}

/// Signs three times: by the second time an Init function has nothing new to ask.
fn warm(session: &Session<'_>, key: CK_OBJECT_HANDLE) {
    for _ in 0..3 {
        mac(session, key).unwrap();
    }
}

fn label(session: &Session<'_>, object: CK_OBJECT_HANDLE) -> Result<String, Rv> {
    let bytes = session.attribute(object, CKA_LABEL)?;
    Ok(String::from_utf8(bytes).expect("a label"))
}

fn stranger(place: &Workplace) -> Second {
    let mut second = Second::start(&place.hsm);
    assert_eq!(second.ask("open suite"), "ok");
    assert_eq!(second.ask(&format!("login user {USER_PIN}")), "ok");
    second
}

fn cancel(session: &Session<'_>, way: Way) -> Result<(), Rv> {
    let (module, handle) = (session.module, session.handle);
    match way {
        Way::Sign => call!(module, C_SignInit(handle, null_mut(), 0)),
        Way::Encrypt => call!(module, C_EncryptInit(handle, null_mut(), 0)),
        Way::Decrypt => call!(module, C_DecryptInit(handle, null_mut(), 0)),
        Way::Digest => call!(module, C_DigestInit(handle, null_mut())),
        Way::SignRecover | Way::VerifyRecover => panic!("not tried here"),
    }
    .ok()
}

fn session_cancel(session: &Session<'_>, flags: CK_FLAGS) -> Result<(), Rv> {
    let table = session.module.table_3_0().expect("a list of 3.0");
    let function = table.C_SessionCancel.expect("C_SessionCancel");
    // SAFETY: two numbers, as the standard says.
    Rv(unsafe { function(session.handle, flags) }).ok()
}

// ---- Objects that others change ----

#[test]
fn what_another_process_changes_is_seen_at_once() {
    let place = at_work();
    if not_on_softhsm("objects changed by another process are read again only at some calls") {
        return;
    }
    let session = place.user();
    let key = session.create(&mac_key("k0", true, true)).unwrap();
    let mut second = stranger(&place);
    for round in 0..20 {
        for _ in 0..3 {
            assert_eq!(label(&session, key).unwrap(), format!("k{round}"));
        }
        let next = round + 1;
        assert_eq!(second.ask(&format!("relabel k{round} k{next}")), "ok");
        assert_eq!(label(&session, key).unwrap(), format!("k{next}"));
    }
    assert!(session.flag(key, CKA_SIGN).unwrap());
    warm(&session, key);
    assert_eq!(second.ask("forbid k20"), "ok");
    refused(
        "a key that may sign no longer",
        session.begin(Way::Sign, CKM_SHA256_HMAC, key),
        &[CKR_KEY_FUNCTION_NOT_PERMITTED],
    );
    refused(
        "nothing has begun",
        session.one_shot(Way::Sign, b"", Some(32)).0.ok(),
        NOTHING_BEGUN,
    );
    assert!(!session.flag(key, CKA_SIGN).unwrap());
    // It may still verify.
    session.verify_init(CKM_SHA256_HMAC, key).unwrap();
}

#[test]
fn what_another_process_destroys_is_gone_at_once() {
    let place = at_work();
    if not_on_softhsm("objects changed by another process are read again only at some calls") {
        return;
    }
    let session = place.user();
    let other = place.public();
    let key = session.create(&mac_key("doomed", true, true)).unwrap();
    for session in [&session, &other] {
        warm(session, key);
        label(session, key).unwrap();
    }
    let mut second = stranger(&place);
    assert_eq!(second.ask("destroy doomed"), "ok");
    for session in [&session, &other] {
        refused(
            "C_SignInit",
            session.begin(Way::Sign, CKM_SHA256_HMAC, key),
            KEY_GONE,
        );
        refused(
            "C_Sign",
            session.one_shot(Way::Sign, b"", Some(32)).0.ok(),
            NOTHING_BEGUN,
        );
        refused("C_GetAttributeValue", label(session, key), OBJECT_GONE);
    }
    // Between Init and the data it is the token's choice whether the operation goes on; it must not hang on.
    let key = session.create(&mac_key("late", true, true)).unwrap();
    warm(&session, key);
    session.begin(Way::Sign, CKM_SHA256_HMAC, key).unwrap();
    assert_eq!(second.ask("destroy late"), "ok");
    let _ = session.one_shot(Way::Sign, b"data", Some(32));
    refused(
        "ended",
        session.one_shot(Way::Sign, b"data", Some(32)).0.ok(),
        NOTHING_BEGUN,
    );
    refused(
        "C_SignInit",
        session.begin(Way::Sign, CKM_SHA256_HMAC, key),
        KEY_GONE,
    );
}

#[test]
fn what_another_session_changes_is_seen_at_once() {
    let place = at_work();
    let one = place.user();
    let two = place.public();
    for on_token in [false, true] {
        let key = one.create(&mac_key("first", on_token, true)).unwrap();
        for session in [&one, &two] {
            warm(session, key);
            assert_eq!(label(session, key).unwrap(), "first");
        }
        two.set(key, &template! { CKA_LABEL => "a longer one" })
            .unwrap();
        for session in [&one, &two] {
            assert_eq!(label(session, key).unwrap(), "a longer one");
            warm(session, key);
        }
        two.set(key, &template! { CKA_SIGN => false }).unwrap();
        for session in [&one, &two] {
            refused(
                "a key that may sign no longer",
                session.begin(Way::Sign, CKM_SHA256_HMAC, key),
                &[CKR_KEY_FUNCTION_NOT_PERMITTED],
            );
            assert!(!session.flag(key, CKA_SIGN).unwrap());
        }
        one.set(key, &template! { CKA_SIGN => true }).unwrap();
        warm(&two, key);
        one.destroy(key).unwrap();
        for session in [&one, &two] {
            refused(
                "C_SignInit",
                session.begin(Way::Sign, CKM_SHA256_HMAC, key),
                KEY_GONE,
            );
            refused("C_GetAttributeValue", label(session, key), OBJECT_GONE);
        }
    }
}

#[test]
fn a_session_object_goes_with_its_session() {
    let place = at_work();
    let one = place.user();
    let two = place.public();
    let key = one.create(&mac_key("mine", false, true)).unwrap();
    warm(&two, key);
    label(&two, key).unwrap();
    one.close().unwrap();
    refused("C_GetAttributeValue", label(&two, key), OBJECT_GONE);
    refused(
        "C_SignInit",
        two.begin(Way::Sign, CKM_SHA256_HMAC, key),
        KEY_GONE,
    );
}

/// Whether an operation with a key goes on when the session that owns the key is closed is the token's choice, but it has one.
#[test]
fn an_operation_ends_the_same_way_whether_or_not_it_was_begun_before() {
    let place = at_work();
    let end = |warmed: bool| {
        let two = place.user();
        let one = place.public();
        let key = one.create(&mac_key("mine", false, true)).unwrap();
        if warmed {
            warm(&two, key);
        }
        two.begin(Way::Sign, CKM_SHA256_HMAC, key).unwrap();
        one.close().unwrap();
        let outcome = two.one_shot(Way::Sign, b"data", Some(32)).0;
        two.close().unwrap();
        outcome
    };
    assert_eq!(end(true), end(false));
}

#[test]
fn the_objects_of_a_token_are_gone_when_it_is_initialised_again() {
    let place = at_work();
    let session = place.user();
    let key = session.create(&mac_key("old", true, true)).unwrap();
    warm(&session, key);
    label(&session, key).unwrap();
    session.close().unwrap();
    place
        .module
        .init_token(place.slot, SO_PIN, "suite")
        .unwrap();
    let slot = place.module.slot_labelled("suite").expect("the token");
    let session = Session::open_rw(&place.module, slot).unwrap();
    refused("C_GetAttributeValue", label(&session, key), OBJECT_GONE);
    refused(
        "C_SignInit",
        session.begin(Way::Sign, CKM_SHA256_HMAC, key),
        &[
            CKR_KEY_HANDLE_INVALID,
            CKR_OBJECT_HANDLE_INVALID,
            CKR_USER_NOT_LOGGED_IN,
        ],
    );
}

// ---- Logins ----

#[test]
fn private_objects_hide_at_logout() {
    let place = at_work();
    let session = place.user();
    let on_token = session.create(&mac_key("private", true, true)).unwrap();
    let public = session.create(&mac_key("public", true, false)).unwrap();
    for _ in 0..3 {
        for key in [on_token, public] {
            warm(&session, key);
            label(&session, key).unwrap();
        }
        session.logout().unwrap();
        refused(
            "C_GetAttributeValue",
            label(&session, on_token),
            OBJECT_GONE,
        );
        let hidden = [
            CKR_KEY_HANDLE_INVALID,
            CKR_OBJECT_HANDLE_INVALID,
            CKR_USER_NOT_LOGGED_IN,
        ];
        let begun = session.begin(Way::Sign, CKM_SHA256_HMAC, on_token);
        refused("C_SignInit", begun, &hidden);
        let digest = session.one_shot(Way::Sign, b"", Some(32)).0.ok();
        refused("C_Sign", digest, NOTHING_BEGUN);
        assert_eq!(label(&session, public).unwrap(), "public");
        session.login(CKU_USER, USER_PIN).unwrap();
        // A token may give private objects other handles after the next login.
        if not_on_softhsm("handles of private objects change") {
            return;
        }
        assert_eq!(label(&session, on_token).unwrap(), "private");
        mac(&session, on_token).unwrap();
    }
}

#[test]
fn an_operation_does_not_outlive_the_login_that_allowed_it() {
    let place = at_work();
    if not_on_softhsm("operations outlive the login") {
        return;
    }
    let session = place.user();
    let other = place.public();
    let key = session.create(&mac_key("private", true, true)).unwrap();
    for which in [&session, &other] {
        warm(&session, key);
        session.begin(Way::Sign, CKM_SHA256_HMAC, key).unwrap();
        which.logout().unwrap();
        which.login(CKU_USER, USER_PIN).unwrap();
        let signed = session.one_shot(Way::Sign, b"data", Some(32)).0.ok();
        refused("C_Sign after another login", signed, NOTHING_BEGUN);
    }
    // What needs no login goes on.
    let public = session.create(&mac_key("public", true, false)).unwrap();
    warm(&session, public);
    session.begin(Way::Sign, CKM_SHA256_HMAC, public).unwrap();
    session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
    other.logout().unwrap();
    session
        .one_shot(Way::Sign, b"data", Some(32))
        .0
        .ok()
        .unwrap();
    session
        .one_shot(Way::Digest, b"data", Some(32))
        .0
        .ok()
        .unwrap();
}

/// An RSA pair of which each use of the private key needs a login: public, private.
fn always_authenticate(session: &Session<'_>) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &template! { CKA_MODULUS_BITS => 2048_u64, CKA_VERIFY => true, CKA_ENCRYPT => true },
            &template! {
                CKA_PRIVATE => true, CKA_SENSITIVE => true, CKA_SIGN => true, CKA_DECRYPT => true, CKA_ALWAYS_AUTHENTICATE => true,
            },
        )
        .unwrap()
}

#[test]
fn each_use_of_a_key_that_asks_for_it_needs_a_login_of_its_own() {
    let place = at_work();
    if not_on_softhsm("C_Login(CKU_CONTEXT_SPECIFIC) outlives the operation it was for") {
        return;
    }
    let session = place.user();
    let (_, key) = always_authenticate(&session);
    for round in 0..4 {
        for _ in 0..round {
            session.begin(Way::Sign, CKM_RSA_PKCS, key).unwrap();
            session.login(CKU_CONTEXT_SPECIFIC, USER_PIN).unwrap();
            let code = session.one_shot(Way::Sign, &[1; 32], Some(256)).0;
            assert_eq!(code, Rv(CKR_OK), "round {round}");
        }
        session.begin(Way::Sign, CKM_RSA_PKCS, key).unwrap();
        refused(
            "C_Sign without a login",
            session.one_shot(Way::Sign, &[1; 32], Some(256)).0.ok(),
            &[CKR_USER_NOT_LOGGED_IN],
        );
        // The refusal may have left the operation.
        let _ = cancel(&session, Way::Sign);
        refused(
            "a login for nothing",
            session.login(CKU_CONTEXT_SPECIFIC, USER_PIN),
            NOTHING_BEGUN,
        );
    }
}

/// With two operations that wait, the login is for the one begun last, in whatever order the kinds come and whatever was done before.
#[test]
fn a_login_is_for_the_operation_begun_last() {
    let place = at_work();
    if not_on_softhsm("C_Login(CKU_CONTEXT_SPECIFIC) outlives the operation it was for") {
        return;
    }
    let session = place.user();
    let (public, private) = always_authenticate(&session);
    let sealed = session
        .run(Way::Encrypt, CKM_RSA_PKCS, public, &[1; 32])
        .unwrap();
    let begin = |way| session.begin(way, CKM_RSA_PKCS, private).unwrap();
    let end = |way| {
        let input: &[u8] = if way == Way::Decrypt {
            &sealed
        } else {
            &[1; 32]
        };
        session.one_shot(way, input, Some(256)).0
    };
    for round in 0..3 {
        for (first, last) in [(Way::Sign, Way::Decrypt), (Way::Decrypt, Way::Sign)] {
            begin(first);
            begin(last);
            for way in [last, first] {
                session.login(CKU_CONTEXT_SPECIFIC, USER_PIN).unwrap();
                assert_eq!(
                    end(way),
                    Rv(CKR_OK),
                    "{way:?} of {first:?}, {last:?}; round {round}"
                );
            }
        }
    }
    // Recovery is begun with a question to the token, after what may have begun without.
    let recover = &template! { CKA_SIGN_RECOVER => true };
    if session.set(private, recover).is_ok() {
        for _ in 0..2 {
            begin(Way::Sign);
            session.login(CKU_CONTEXT_SPECIFIC, USER_PIN).unwrap();
            end(Way::Sign).ok().unwrap();
        }
        begin(Way::Sign);
        begin(Way::SignRecover);
        for way in [Way::SignRecover, Way::Sign] {
            session.login(CKU_CONTEXT_SPECIFIC, USER_PIN).unwrap();
            assert_eq!(end(way), Rv(CKR_OK), "{way:?}");
        }
    }
}

// ---- What has begun ----

#[test]
fn one_operation_of_a_kind_at_a_time() {
    let place = at_work();
    let session = place.user();
    let key = session.create(&mac_key("k", false, true)).unwrap();
    let expected = mac(&session, key).unwrap();
    for _ in 0..3 {
        session.begin(Way::Sign, CKM_SHA256_HMAC, key).unwrap();
        let active = &[CKR_OPERATION_ACTIVE];
        refused(
            "again",
            session.begin(Way::Sign, CKM_SHA256_HMAC, key),
            active,
        );
        refused(
            "another",
            session.begin(Way::Sign, CKM_SHA512_HMAC, key),
            active,
        );
        let (code, _, signature) = session.one_shot(Way::Sign, b"data", Some(32));
        assert_eq!((code, &signature), (Rv(CKR_OK), &expected));
        let again = session.one_shot(Way::Sign, b"data", Some(32)).0.ok();
        refused("C_Sign twice", again, NOTHING_BEGUN);
    }
    for _ in 0..3 {
        session.verify_init(CKM_SHA256_HMAC, key).unwrap();
        refused(
            "again",
            session.verify_init(CKM_SHA256_HMAC, key),
            &[CKR_OPERATION_ACTIVE],
        );
        let (data, signature) = (b"data".as_ptr().cast_mut(), expected.as_ptr().cast_mut());
        let verify = || {
            call!(
                session.module,
                C_Verify(session.handle, data, 4, signature, 32)
            )
            .ok()
        };
        verify().unwrap();
        refused("C_Verify twice", verify(), NOTHING_BEGUN);
    }
    for _ in 0..3 {
        let wrong = session.verify(CKM_SHA256_HMAC, key, b"data", &[0; 32]);
        refused("a wrong signature", wrong, &[CKR_SIGNATURE_INVALID]);
        let short = session.verify(CKM_SHA256_HMAC, key, b"data", &expected[..31]);
        refused(
            "a short one",
            short,
            &[CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID],
        );
        session
            .verify(CKM_SHA256_HMAC, key, b"data", &expected)
            .unwrap();
    }
}

#[test]
fn what_has_begun_can_be_cancelled() {
    let place = at_work();
    if not_on_softhsm("a NULL mechanism does not cancel") {
        return;
    }
    let session = place.user();
    let mac_key = session.create(&mac_key("k", false, true)).unwrap();
    let aes = keys::import_aes(&session, &[1; 32]);
    let kinds = [
        (Way::Sign, CKM_SHA256_HMAC, mac_key, CKF_SIGN),
        (Way::Encrypt, CKM_AES_ECB, aes, CKF_ENCRYPT),
        (Way::Decrypt, CKM_AES_ECB, aes, CKF_DECRYPT),
        (Way::Digest, CKM_SHA256, 0, CKF_DIGEST),
    ];
    let input = [1; 16];
    for (way, mechanism, key, flag) in kinds {
        let expected = session.run(way, mechanism, key, &input).unwrap();
        for _ in 0..3 {
            session.begin(way, mechanism, key).unwrap();
            cancel(&session, way).unwrap();
            refused(
                "cancelled",
                session.one_shot(way, &input, Some(64)).0.ok(),
                NOTHING_BEGUN,
            );
            assert_eq!(
                session.run(way, mechanism, key, &input).as_ref(),
                Ok(&expected)
            );
            session.begin(way, mechanism, key).unwrap();
            session_cancel(&session, flag).unwrap();
            refused(
                "cancelled",
                session.one_shot(way, &input, Some(64)).0.ok(),
                NOTHING_BEGUN,
            );
            assert_eq!(
                session.run(way, mechanism, key, &input).as_ref(),
                Ok(&expected)
            );
            // Another kind's flag cancels nothing.
            session.begin(way, mechanism, key).unwrap();
            session_cancel(&session, CKF_FIND_OBJECTS).unwrap();
            let (code, length, output) = session.one_shot(way, &input, Some(64));
            assert_eq!(
                (code, &output[..length]),
                (Rv(CKR_OK), &expected[..]),
                "{way:?}"
            );
        }
        // Nothing is begun: cancelling it is no error, or one that says so.
        if let Err(code) = cancel(&session, way) {
            assert_eq!(code.0, CKR_OPERATION_NOT_INITIALIZED);
        }
    }
}

#[test]
fn what_has_begun_goes_on_in_parts() {
    let place = at_work();
    let session = place.user();
    let mac_key = session.create(&mac_key("k", false, true)).unwrap();
    let value = pattern(5, 32);
    let aes = keys::import_aes(&session, &value);
    let data = pattern(1, 160);
    let cbc = Mechanism::bytes(CKM_AES_CBC, &IV);
    let sealed = Aes::new(&value).cbc(&IV, &data);
    let signature = session
        .run(Way::Sign, CKM_SHA256_HMAC, mac_key, &data)
        .unwrap();
    for _ in 0..3 {
        let parts = |way, mechanism: &Mechanism, key, data: &[u8]| {
            let whole = session.run(way, mechanism.clone(), key, data).unwrap();
            let parts = session.run_in_pieces(way, mechanism.clone(), key, data, 32);
            assert_eq!(parts.as_ref(), Ok(&whole), "{way:?}");
            whole
        };
        assert_eq!(parts(Way::Encrypt, &cbc, aes, &data), sealed);
        assert_eq!(parts(Way::Decrypt, &cbc, aes, &sealed), data);
        assert_eq!(
            parts(Way::Sign, &CKM_SHA256_HMAC.into(), mac_key, &data),
            signature
        );
        parts(Way::Digest, &CKM_SHA256.into(), 0, &data);
        session
            .verify(CKM_SHA256_HMAC, mac_key, &data, &signature)
            .unwrap();
        session
            .verify_in_pieces(CKM_SHA256_HMAC, mac_key, &data, &signature, 33)
            .unwrap();
        let wrong = session.verify_in_pieces(CKM_SHA256_HMAC, mac_key, &data, &[0; 32], 33);
        refused("a wrong signature", wrong, &[CKR_SIGNATURE_INVALID]);
    }
    if not_on_softhsm("C_Encrypt may follow C_EncryptUpdate") {
        return;
    }
    // Data that come whole end an operation in parts with an error (PKCS#11 3.2, 5.8.2), or are refused and leave it.
    session.run(Way::Encrypt, cbc.clone(), aes, &data).unwrap();
    session.begin(Way::Encrypt, cbc, aes).unwrap();
    session
        .update(Way::Encrypt, &data, Some(160))
        .0
        .ok()
        .unwrap();
    refused(
        "C_Encrypt after C_EncryptUpdate",
        session.one_shot(Way::Encrypt, &data, Some(160)).0.ok(),
        &[
            CKR_OPERATION_ACTIVE,
            CKR_OPERATION_NOT_INITIALIZED,
            CKR_FUNCTION_FAILED,
        ],
    );
}

fn ciphers() -> Vec<(Mechanism, &'static str)> {
    vec![
        (CKM_AES_ECB.into(), "ECB"),
        (Mechanism::bytes(CKM_AES_CBC, &IV), "CBC"),
        (Mechanism::bytes(CKM_AES_CBC_PAD, &IV), "CBC_PAD"),
        (counter(128), "CTR"),
        (Mechanism::gcm(&IV[..12], b"aad", 128), "GCM"),
        (Mechanism::gcm(&IV[..12], b"", 96), "GCM with a short tag"),
    ]
}

fn counter(bits: CK_ULONG) -> Mechanism {
    Mechanism::new(CKM_AES_CTR, Parameter::Counter { bits, block: IV })
}

/// What the judge computes; nothing where the length is no multiple of a block.
fn judged(value: &[u8], mechanism: &Mechanism, data: &[u8]) -> Option<Vec<u8>> {
    let judge = Aes::new(value);
    let whole = data.len().is_multiple_of(16);
    Some(match (mechanism.kind, &mechanism.parameter) {
        (CKM_AES_ECB, _) if whole => judge.ecb(data),
        (CKM_AES_CBC, Parameter::Bytes(iv)) if whole => judge.cbc(iv, data),
        (CKM_AES_CBC_PAD, Parameter::Bytes(iv)) => judge.cbc_pad(iv, data),
        (CKM_AES_CTR, Parameter::Counter { block, .. }) => judge.ctr(128, *block, data),
        (CKM_AES_GCM, Parameter::Gcm { iv, aad, tag_bits }) => {
            let (mut sealed, tag) = judge.gcm(iv, aad, data);
            sealed.extend_from_slice(&tag[..*tag_bits as usize / 8]);
            sealed
        }
        _ => return None,
    })
}

#[test]
fn lengths_are_told_and_short_buffers_refused_at_every_size() {
    let place = at_work();
    let session = place.user();
    let value = pattern(5, 32);
    let key = keys::import_aes(&session, &value);
    for (mechanism, name) in ciphers() {
        for size in (0..=40).chain([4095, 4096, 4097]) {
            // SoftHSM asks for padded room that AES-CTR and GCM do not need; what comes out is compared all the same.
            let data = pattern(size as u64, size);
            let what = format!("{name} of {size} bytes");
            let Some(expected) = judged(&value, &mechanism, &data) else {
                for _ in 0..2 {
                    refused(
                        &what,
                        session.run(Way::Encrypt, mechanism.clone(), key, &data),
                        &[CKR_DATA_LEN_RANGE],
                    );
                    refused(
                        &what,
                        session.run(Way::Decrypt, mechanism.clone(), key, &data),
                        &[CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_DATA_LEN_RANGE],
                    );
                }
                continue;
            };
            let sealed = session.run(Way::Encrypt, mechanism.clone(), key, &data);
            assert_eq!(sealed.as_ref(), Ok(&expected), "{what}");
            let opened = session.run(Way::Decrypt, mechanism.clone(), key, &expected);
            assert_eq!(opened.as_ref(), Ok(&data), "{what}");
            if not_on_softhsm("lengths are rounded up, and empty outputs have rules of their own") {
                continue;
            }
            for _ in 0..2 {
                let sealed = session.run_by_the_book(Way::Encrypt, mechanism.clone(), key, &data);
                assert_eq!(sealed.as_ref(), Ok(&expected), "{what}");
                let opened =
                    session.run_by_the_book(Way::Decrypt, mechanism.clone(), key, &expected);
                assert_eq!(opened.as_ref(), Ok(&data), "{what}");
            }
        }
    }
}

#[test]
fn lengths_of_signatures() {
    let place = at_work();
    let session = place.user();
    let secret = keys::import_secret(&session, CKK_GENERIC_SECRET, &[7; 64]);
    let (_, ec) = keys::ec_pair(&session, Curve::P384);
    let (_, rsa) = keys::rsa_pair(&session, 2048);
    let kinds = [
        (Mechanism::plain(CKM_SHA256_HMAC), secret, 32),
        (Mechanism::plain(CKM_SHA512_HMAC), secret, 64),
        (
            Mechanism::new(CKM_SHA512_HMAC_GENERAL, Parameter::Number(10)),
            secret,
            10,
        ),
        (
            Mechanism::new(CKM_SHA512_HMAC_GENERAL, Parameter::Number(11)),
            secret,
            11,
        ),
        (Mechanism::plain(CKM_ECDSA), ec, 96),
        (Mechanism::plain(CKM_SHA256_RSA_PKCS), rsa, 256),
    ];
    for _ in 0..3 {
        for (mechanism, key, bytes) in &kinds {
            if !place.offers(mechanism.kind) {
                continue;
            }
            for _ in 0..3 {
                let signature =
                    session.run_by_the_book(Way::Sign, mechanism.clone(), *key, &[1; 32]);
                assert_eq!(signature.unwrap().len(), *bytes, "{mechanism:?}");
            }
        }
    }
}

#[test]
fn kinds_stand_beside_each_other() {
    let place = at_work();
    if not_on_softhsm("one operation at a time, whatever kind") {
        return;
    }
    let session = place.user();
    let (module, handle) = (session.module, session.handle);
    let secret = session.create(&mac_key("k", false, true)).unwrap();
    let value = pattern(5, 32);
    let aes = keys::import_aes(&session, &value);
    let data = pattern(9, 64);
    let signature = session
        .run(Way::Sign, CKM_SHA256_HMAC, secret, &data)
        .unwrap();
    let sealed = Aes::new(&value).ecb(&data);
    let digest = session.run(Way::Digest, CKM_SHA256, 0, &data).unwrap();
    for _ in 0..3 {
        assert_eq!(
            session.run(Way::Encrypt, CKM_AES_ECB, aes, &data).as_ref(),
            Ok(&sealed)
        );
        assert_eq!(
            session
                .run(Way::Decrypt, CKM_AES_ECB, aes, &sealed)
                .as_ref(),
            Ok(&data)
        );
        warm(&session, secret);
        session.begin(Way::Encrypt, CKM_AES_ECB, aes).unwrap();
        session.begin(Way::Sign, CKM_SHA256_HMAC, secret).unwrap();
        session.begin(Way::Decrypt, CKM_AES_ECB, aes).unwrap();
        session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
        for (way, input, expected) in [
            (Way::Sign, &data, &signature),
            (Way::Digest, &data, &digest),
            (Way::Decrypt, &sealed, &data),
            (Way::Encrypt, &data, &sealed),
        ] {
            let (code, length, output) = session.one_shot(way, input, Some(64));
            assert_eq!(
                (code, &output[..length]),
                (Rv(CKR_OK), &expected[..]),
                "{way:?}"
            );
        }
        // Two of them with one part.
        let mut out = [0; 64];
        let mut length = 64;
        session.begin(Way::Sign, CKM_SHA256_HMAC, secret).unwrap();
        session.begin(Way::Encrypt, CKM_AES_ECB, aes).unwrap();
        let part = data.as_ptr().cast_mut();
        call!(
            module,
            C_SignEncryptUpdate(handle, part, 64, out.as_mut_ptr(), &raw mut length)
        )
        .ok()
        .unwrap();
        assert_eq!(out[..], sealed);
        assert_eq!(session.finish(Way::Sign, Some(32)).2, signature);
        session.finish(Way::Encrypt, Some(16)).0.ok().unwrap();
        session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
        session.begin(Way::Encrypt, CKM_AES_ECB, aes).unwrap();
        call!(
            module,
            C_DigestEncryptUpdate(handle, part, 64, out.as_mut_ptr(), &raw mut length)
        )
        .ok()
        .unwrap();
        assert_eq!(session.finish(Way::Digest, Some(32)).2, digest);
        session.finish(Way::Encrypt, Some(16)).0.ok().unwrap();
        // One alone is not two.
        session.begin(Way::Encrypt, CKM_AES_ECB, aes).unwrap();
        let code = call!(
            module,
            C_SignEncryptUpdate(handle, part, 64, out.as_mut_ptr(), &raw mut length)
        );
        assert_eq!(code, Rv(CKR_OPERATION_NOT_INITIALIZED));
        cancel(&session, Way::Encrypt).unwrap();
    }
}

#[test]
fn each_operation_has_its_own_parameters() {
    let place = at_work();
    let session = place.user();
    let value = pattern(5, 32);
    let key = keys::import_aes(&session, &value);
    let data = pattern(6, 48);
    for round in 0..6 {
        let mut iv = IV;
        iv[0] = round;
        let block = iv;
        let aad = vec![round; usize::from(round) * 9];
        for mechanism in [
            Mechanism::bytes(CKM_AES_CBC, &iv),
            Mechanism::bytes(CKM_AES_CBC_PAD, &iv),
            Mechanism::new(CKM_AES_CTR, Parameter::Counter { bits: 128, block }),
            Mechanism::gcm(&iv[..12], &aad, 128),
        ] {
            let expected = judged(&value, &mechanism, &data).unwrap();
            let sealed = session.run(Way::Encrypt, mechanism.clone(), key, &data);
            assert_eq!(sealed.as_ref(), Ok(&expected), "{mechanism:?}");
            let opened = session.run(Way::Decrypt, mechanism, key, &expected);
            assert_eq!(opened.as_ref(), Ok(&data));
        }
    }
}

#[test]
fn parameters_of_another_shape_are_judged_by_the_init_function() {
    let place = at_work();
    let session = place.user();
    let aes = keys::import_aes(&session, &[1; 32]);
    let (_, rsa) = keys::rsa_pair(&session, 2048);
    let bad = &[CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD];
    let pss = |salt| {
        Mechanism::new(
            CKM_SHA256_RSA_PKCS_PSS,
            Parameter::Pss {
                hash: CKM_SHA256,
                mgf: CKG_MGF1_SHA256,
                salt,
            },
        )
    };
    for _ in 0..3 {
        session
            .run(
                Way::Encrypt,
                Mechanism::gcm(&IV[..12], b"", 128),
                aes,
                b"data",
            )
            .unwrap();
        for tag_bits in [1, 127, 129, 136, 1024] {
            refused(
                "a tag of no such length",
                session.begin(Way::Encrypt, Mechanism::gcm(&IV[..12], b"", tag_bits), aes),
                bad,
            );
        }
        session
            .run(Way::Encrypt, Mechanism::bytes(CKM_AES_CBC, &IV), aes, &IV)
            .unwrap();
        for length in [1, 15] {
            let short = Mechanism::bytes(CKM_AES_CBC, &IV[..length]);
            refused(
                "a short vector",
                session.begin(Way::Encrypt, short, aes),
                &[
                    CKR_MECHANISM_PARAM_INVALID,
                    CKR_MECHANISM_INVALID,
                    CKR_ARGUMENTS_BAD,
                ],
            );
        }
        session.run(Way::Sign, pss(32), rsa, b"data").unwrap();
        session.run(Way::Sign, pss(0), rsa, b"data").unwrap();
        let unlike = Mechanism::new(
            CKM_SHA256_RSA_PKCS_PSS,
            Parameter::Pss {
                hash: CKM_SHA512,
                mgf: CKG_MGF1_SHA256,
                salt: 32,
            },
        );
        if !not_on_softhsm("the hash of PSS is not compared with the mechanism's") {
            refused(
                "more salt than fits",
                session.begin(Way::Sign, pss(250), rsa),
                bad,
            );
            refused("another hash", session.begin(Way::Sign, unlike, rsa), bad);
            session
                .run(Way::Encrypt, counter(128), aes, b"data")
                .unwrap();
            for bits in [0, 129] {
                refused(
                    "so many bits",
                    session.begin(Way::Encrypt, counter(bits), aes),
                    bad,
                );
            }
        }
        // And another mechanism, or another key, is no repetition either.
        if !not_on_softhsm("the kind of a key is not compared with the mechanism") {
            refused(
                "a key of another kind",
                session.begin(Way::Sign, pss(32), aes),
                &[CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED],
            );
        }
        refused("no key", session.begin(Way::Sign, pss(32), 0), KEY_GONE);
    }
}

// ---- Large data, and data in place ----

#[test]
fn data_may_lie_where_the_output_goes() {
    let place = at_work();
    let session = place.user();
    let value = pattern(5, 32);
    let key = keys::import_aes(&session, &value);
    let (module, handle) = (session.module, session.handle);
    let offsets: &[(usize, usize)] = if not_on_softhsm("buffers that overlap half") {
        &[(0, 0)]
    } else {
        &[(0, 0), (0, 5), (5, 0), (0, 4096), (4096, 0)]
    };
    for size in [16, 64, 4096, 65_536, MIB, MIB + 16, 3 * MIB] {
        let data = pattern(size as u64, size);
        for (mechanism, name) in ciphers() {
            let sealed = session
                .run(Way::Encrypt, mechanism.clone(), key, &data)
                .unwrap();
            if size <= 65_536 {
                assert_eq!(Some(&sealed), judged(&value, &mechanism, &data).as_ref());
            }
            for &(from, to) in offsets {
                if size > MIB && (from, to) == (0, 4096) {
                    continue;
                }
                for (way, input, expected) in [
                    (Way::Encrypt, &data, &sealed),
                    (Way::Decrypt, &sealed, &data),
                ] {
                    let room = sealed.len() + 16;
                    let mut memory = vec![0; from.max(to) + room];
                    memory[from..from + input.len()].copy_from_slice(input);
                    session.begin(way, mechanism.clone(), key).unwrap();
                    let mut length = room as CK_ULONG;
                    // Both pointers come from one, since both go to the same memory.
                    let start = memory.as_mut_ptr();
                    let (source, target) = (start.wrapping_add(from), start.wrapping_add(to));
                    let count = input.len() as CK_ULONG;
                    let code = if way == Way::Encrypt {
                        call!(
                            module,
                            C_Encrypt(handle, source, count, target, &raw mut length)
                        )
                    } else {
                        call!(
                            module,
                            C_Decrypt(handle, source, count, target, &raw mut length)
                        )
                    };
                    assert_eq!(
                        code,
                        Rv(CKR_OK),
                        "{way:?} {name} {size} from {from} to {to}"
                    );
                    assert!(
                        memory[to..to + length as usize] == expected[..],
                        "{way:?} {name} {size} from {from} to {to}: another result"
                    );
                }
            }
        }
    }
}

#[test]
fn large_data_come_out_as_in_parts() {
    let place = at_work();
    let session = place.user();
    let key = keys::import_aes(&session, &pattern(5, 32));
    for size in [MIB - 1, MIB, MIB + 1, 3 * MIB + 5, 17 * MIB] {
        for (mechanism, name) in ciphers() {
            let blocks = matches!(mechanism.kind, CKM_AES_ECB | CKM_AES_CBC);
            let size = if blocks {
                size.next_multiple_of(16)
            } else {
                size
            };
            if size > 4 * MIB && (name == "CBC" || name == "GCM with a short tag") {
                continue;
            }
            let data = pattern(3, size);
            let what = format!("{name} of {size} bytes");
            let parts = session
                .run_in_pieces(Way::Encrypt, mechanism.clone(), key, &data, MIB - 16)
                .unwrap();
            for _ in 0..2 {
                let sealed = session
                    .run(Way::Encrypt, mechanism.clone(), key, &data)
                    .unwrap();
                assert!(sealed == parts, "{what}: not the same as in parts");
                let opened = session
                    .run(Way::Decrypt, mechanism.clone(), key, &sealed)
                    .unwrap();
                assert!(opened == data, "{what}: not what was encrypted");
            }
            // With exactly the room that is needed, and with one byte less.
            session.begin(Way::Encrypt, mechanism.clone(), key).unwrap();
            let (code, length, _) = session.one_shot(Way::Encrypt, &data, Some(parts.len() - 1));
            if !not_on_softhsm("AES-CTR tells padded lengths") {
                assert_eq!(
                    (code, length),
                    (Rv(CKR_BUFFER_TOO_SMALL), parts.len()),
                    "{what}"
                );
            }
            let (code, length, sealed) = session.one_shot(Way::Encrypt, &data, Some(parts.len()));
            assert_eq!((code, length), (Rv(CKR_OK), parts.len()), "{what}");
            assert!(sealed == parts, "{what}: with exact room");
            refused(
                &what,
                session.one_shot(Way::Encrypt, b"", Some(64)).0.ok(),
                NOTHING_BEGUN,
            );
        }
    }
}

#[test]
fn a_large_forgery_gives_no_plaintext() {
    let place = at_work();
    let session = place.user();
    let key = keys::import_aes(&session, &pattern(5, 32));
    let gcm = Mechanism::gcm(&IV[..12], b"aad", 128);
    let data = pattern(3, 3 * MIB);
    let mut sealed = session.run(Way::Encrypt, gcm.clone(), key, &data).unwrap();
    session
        .run(Way::Decrypt, gcm.clone(), key, &sealed)
        .unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        session.begin(Way::Decrypt, gcm.clone(), key).unwrap();
        let (code, _, output) = session.one_shot(Way::Decrypt, &sealed, Some(sealed.len()));
        let bad = &[CKR_ENCRYPTED_DATA_INVALID, CKR_AEAD_DECRYPT_FAILED];
        if !not_on_softhsm("CKR_GENERAL_ERROR") {
            refused("a wrong tag", code.ok(), bad);
        }
        assert!(
            output.iter().all(|byte| *byte == 0xa5),
            "plaintext was given out"
        );
        refused(
            "ended",
            session
                .one_shot(Way::Decrypt, &sealed, Some(sealed.len()))
                .0
                .ok(),
            NOTHING_BEGUN,
        );
    }
    // Padding that is wrong is found at the end as well.
    let ecb = session
        .run(Way::Encrypt, CKM_AES_ECB, key, &vec![0; 2 * MIB])
        .unwrap();
    let pad = Mechanism::bytes(CKM_AES_CBC_PAD, &IV);
    for _ in 0..2 {
        refused(
            "wrong padding",
            session.run(Way::Decrypt, pad.clone(), key, &ecb),
            &[CKR_ENCRYPTED_DATA_INVALID, CKR_GENERAL_ERROR],
        );
        refused(
            "ended",
            session.one_shot(Way::Decrypt, &ecb, Some(2 * MIB)).0.ok(),
            NOTHING_BEGUN,
        );
    }
}

// ---- Digests ----

#[test]
fn digests_here_are_digests_there() {
    let place = at_work();
    let one = place.public();
    let two = place.public();
    for row in HASHES {
        if !place.offers(row.digest) {
            continue;
        }
        for length in [0, 1, 4095, 4096, 4097, 100_000] {
            let data = pattern(2, length);
            let expected = row.hash.of(&data);
            let size = expected.len();
            one.begin(Way::Digest, row.digest, 0).unwrap();
            two.begin(Way::Digest, row.digest, 0).unwrap();
            refused(
                "twice",
                one.begin(Way::Digest, row.digest, 0),
                &[CKR_OPERATION_ACTIVE],
            );
            let (code, told, _) = one.one_shot(Way::Digest, &data, None);
            assert_eq!((code, told), (Rv(CKR_OK), size));
            let (code, told, _) = one.one_shot(Way::Digest, &data, Some(size - 1));
            assert_eq!((code, told), (Rv(CKR_BUFFER_TOO_SMALL), size));
            two.update(Way::Digest, &data, None).0.ok().unwrap();
            let (code, told, digest) = one.one_shot(Way::Digest, &data, Some(size));
            assert_eq!((code, told, &digest), (Rv(CKR_OK), size, &expected));
            let (code, told, digest) = two.finish(Way::Digest, Some(size));
            assert_eq!((code, told, &digest), (Rv(CKR_OK), size, &expected));
            refused(
                "ended",
                one.one_shot(Way::Digest, &data, Some(size)).0.ok(),
                NOTHING_BEGUN,
            );
            refused(
                "ended",
                two.finish(Way::Digest, Some(size)).0.ok(),
                NOTHING_BEGUN,
            );
        }
    }
    // A length, and then parts after all; nothing in parts at all.
    for session in [&one, &two] {
        session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
        session.one_shot(Way::Digest, b"abc", None).0.ok().unwrap();
        let (code, _, digest) = session.one_shot(Way::Digest, b"abc", Some(32));
        assert_eq!((code, digest), (Rv(CKR_OK), sha256(b"abc")));
        session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
        let (code, _, digest) = session.finish(Way::Digest, Some(32));
        assert_eq!((code, digest), (Rv(CKR_OK), sha256(b"")));
    }
    if not_on_softhsm("parameters of digests are not looked at") {
        return;
    }
    for session in [&one, &two] {
        let odd = Mechanism::bytes(CKM_SHA256, b"x");
        refused(
            "a parameter",
            session.begin(Way::Digest, odd, 0),
            &[CKR_MECHANISM_PARAM_INVALID],
        );
        refused(
            "nothing",
            session.one_shot(Way::Digest, b"", Some(32)).0.ok(),
            NOTHING_BEGUN,
        );
        assert_eq!(
            session.run(Way::Digest, CKM_SHA256, 0, b""),
            Ok(sha256(b""))
        );
    }
}

#[test]
fn a_key_is_digested_where_it_is() {
    let place = at_work();
    let session = place.user();
    let key = session.create(&mac_key("k", false, true)).unwrap();
    let expected = sha256(&[7; 32]);
    for _ in 0..3 {
        session.run(Way::Digest, CKM_SHA256, 0, b"abc").unwrap();
        session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
        call!(session.module, C_DigestKey(session.handle, key))
            .ok()
            .unwrap();
        let (code, _, digest) = session.finish(Way::Digest, Some(32));
        assert_eq!((code, &digest), (Rv(CKR_OK), &expected));
    }
}

fn sha256(data: &[u8]) -> Vec<u8> {
    Hash::Sha256.of(data)
}

// ---- Random numbers ----

#[test]
fn no_random_number_comes_twice() {
    let place = at_work();
    let sessions = [
        place.public(),
        place.public(),
        place.public(),
        place.public(),
    ];
    let all: Vec<Vec<u8>> = thread::scope(|scope| {
        // Two threads a session.
        let drawing: Vec<_> = (0..8)
            .map(|number| {
                let session = &sessions[number / 2];
                scope.spawn(move || -> Vec<Vec<u8>> {
                    (0..2000).map(|_| session.random(16).unwrap()).collect()
                })
            })
            .collect();
        drawing
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let different: HashSet<&Vec<u8>> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    let session = sessions[0];
    for length in [0, 1, 100, 8191, 8192, 8193, 65_536, 65_537, 2 * MIB + 1] {
        let bytes = session.random(length).unwrap();
        assert_eq!(bytes.len(), length);
        if length > 100 {
            assert!(bytes[length - 50..].iter().any(|byte| *byte != 0));
        }
    }
    match session.seed(b"seed") {
        Ok(()) => {}
        Err(code) => assert_eq!(code.0, CKR_RANDOM_SEED_NOT_SUPPORTED),
    }
    assert!(!different.contains(&session.random(16).unwrap()));
    session.close().unwrap();
    for length in [0, 16, MIB] {
        let gone = &[CKR_SESSION_HANDLE_INVALID];
        // Asking for nothing asks nothing of SoftHSM.
        if length > 0 || !not_on_softhsm("no bytes are given to anybody") {
            refused("a closed session", session.random(length), gone);
        }
    }
    let gone = &[CKR_SESSION_HANDLE_INVALID];
    refused("a closed session", session.seed(b"seed"), gone);
}

#[test]
fn a_forked_child_draws_other_random_numbers() {
    let place = at_work();
    if not_on_softhsm("it must be finalised in the child first") {
        return;
    }
    let mut second = Second::start(&place.hsm);
    assert_eq!(second.ask("open suite"), "ok");
    for draws in [1, 2, 100, 3000] {
        assert_eq!(second.ask(&format!("random-after-fork {draws}")), "ok 0");
    }
}

// ---- Sessions ----

#[test]
fn the_login_lasts_as_long_as_any_session() {
    let place = at_work();
    let first = place.user();
    for _ in 0..10 {
        // Open one by one; each that closes leaves the login to one that has never been used.
        let mut held = first;
        let mut chain = vec![first];
        for _ in 0..5 {
            let next = place.public();
            if chain.len() > 1 {
                held.close().unwrap();
            }
            held = next;
            chain.push(next);
        }
        assert_eq!(held.state().unwrap(), CKS_RW_USER_FUNCTIONS);
        held.close().unwrap();
    }
    let unused = place.public();
    first.close().unwrap();
    assert_eq!(
        unused.state().unwrap(),
        CKS_RW_USER_FUNCTIONS,
        "one is still open"
    );
    let another = place.public();
    unused.close().unwrap();
    assert_eq!(another.state().unwrap(), CKS_RW_USER_FUNCTIONS);
    another.close().unwrap();
    let late = place.public();
    assert_eq!(
        late.state().unwrap(),
        CKS_RW_PUBLIC_SESSION,
        "the last was closed"
    );
    late.close().unwrap();
    // The last of all is one that was never used.
    let session = place.user();
    let unused = place.public();
    session.close().unwrap();
    unused.close().unwrap();
    assert_eq!(place.public().state().unwrap(), CKS_RW_PUBLIC_SESSION);
}

#[test]
fn sessions_close_in_any_order() {
    let place = at_work();
    let keep = place.user();
    let key = keys::import_aes(&keep, &[1; 32]);
    for round in 0..4_usize {
        let mut sessions: Vec<Session<'_>> = (0..100).map(|_| place.public()).collect();
        let handles: HashSet<CK_SESSION_HANDLE> =
            sessions.iter().map(|session| session.handle).collect();
        assert_eq!(handles.len(), 100);
        for session in sessions.iter().step_by(3) {
            session.run(Way::Encrypt, CKM_AES_ECB, key, &IV).unwrap();
        }
        let info = place.module.token_info(place.slot).unwrap();
        let unknown = CK_UNAVAILABLE_INFORMATION;
        assert!(
            [101, unknown].contains(&info.ulSessionCount),
            "{}",
            info.ulSessionCount
        );
        assert!([101, unknown].contains(&info.ulRwSessionCount));
        while !sessions.is_empty() {
            let session = sessions.remove((sessions.len() * 7 + round) % sessions.len());
            session.close().unwrap();
            refused("twice", session.close(), &[CKR_SESSION_HANDLE_INVALID]);
        }
        assert_eq!(keep.state().unwrap(), CKS_RW_USER_FUNCTIONS);
        keep.run(Way::Encrypt, CKM_AES_ECB, key, &IV).unwrap();
    }
}

#[test]
fn unused_sessions_count() {
    let place = at_work();
    let open = |flags| Session::open(&place.module, place.slot, CKF_SERIAL_SESSION | flags);
    let first = place.public();
    let unused = open(0).unwrap();
    refused(
        "the officer beside an unused read-only session",
        first.login(CKU_SO, SO_PIN),
        &[CKR_SESSION_READ_ONLY_EXISTS],
    );
    let info = place.module.token_info(place.slot).unwrap();
    let unknown = CK_UNAVAILABLE_INFORMATION;
    assert!([2, unknown].contains(&info.ulSessionCount));
    assert!([1, unknown].contains(&info.ulRwSessionCount));
    unused.close().unwrap();
    first.login(CKU_SO, SO_PIN).unwrap();
    refused(
        "read-only beside the officer",
        open(0),
        &[CKR_SESSION_READ_WRITE_SO_EXISTS],
    );
    let beside = open(CKF_RW_SESSION).unwrap();
    first.logout().unwrap();
    let after = open(0).unwrap();
    beside.close().unwrap();
    after.close().unwrap();
    first.close().unwrap();
    // Unused ones only.
    for flags in [0, CKF_RW_SESSION] {
        let unused = open(flags).unwrap();
        refused(
            "a token with a session",
            place.module.init_token(place.slot, SO_PIN, "suite"),
            &[CKR_SESSION_EXISTS],
        );
        unused.close().unwrap();
    }
    let many: Vec<_> = (0..10).map(|_| open(0).unwrap()).collect();
    place.module.close_all(place.slot).unwrap();
    for session in &many {
        let gone = &[CKR_SESSION_HANDLE_INVALID];
        refused("closed with all", session.info(), gone);
        refused("closed with all", session.close(), gone);
    }
    // With all of them closed it can be initialised.
    place
        .module
        .init_token(place.slot, SO_PIN, "suite")
        .unwrap();
}

/// A token is not initialised while any application has a session open (PKCS#11 3.2, 5.5.7), used or not.
#[test]
fn an_unused_session_of_another_process_counts() {
    let place = at_work();
    if not_on_softhsm("sessions are counted in each process") {
        return;
    }
    place.public().close().unwrap();
    let unused = place.public();
    let mut second = Second::start(&place.hsm);
    assert_eq!(second.ask("open suite"), "ok");
    assert_eq!(second.ask("close"), "ok");
    assert_eq!(
        second.ask(&format!("init suite {SO_PIN}")),
        "CKR_SESSION_EXISTS"
    );
    unused.close().unwrap();
    assert_eq!(second.ask(&format!("init suite {SO_PIN}")), "ok");
}

#[test]
fn closed_and_refused_sessions() {
    let place = at_work();
    let keep = place.user();
    let key = keys::import_aes(&keep, &[1; 32]);
    let unused = place.public();
    let used = place.public();
    used.run(Way::Encrypt, CKM_AES_ECB, key, &IV).unwrap();
    used.begin(Way::Encrypt, CKM_AES_ECB, key).unwrap();
    used.begin(Way::Digest, CKM_SHA256, 0).ok();
    label(&used, key).unwrap();
    for session in [unused, used] {
        session.close().unwrap();
        let gone = &[CKR_SESSION_HANDLE_INVALID];
        refused("C_CloseSession", session.close(), gone);
        refused("C_GetSessionInfo", session.info(), gone);
        refused("C_Login", session.login(CKU_USER, USER_PIN), gone);
        refused("C_Logout", session.logout(), gone);
        refused("C_GetAttributeValue", label(&session, key), gone);
        refused(
            "C_SetAttributeValue",
            session.set(key, &template! { CKA_LABEL => "x" }),
            gone,
        );
        refused("C_FindObjectsInit", session.find_init(&template! {}), gone);
        refused("C_GenerateRandom", session.random(16), gone);
        refused("C_DestroyObject", session.destroy(key), gone);
        refused(
            "C_GenerateKey",
            session.generate(CKM_AES_KEY_GEN, &keys::protected_aes()),
            gone,
        );
        for (way, mechanism) in [
            (Way::Encrypt, CKM_AES_ECB),
            (Way::Decrypt, CKM_AES_ECB),
            (Way::Sign, CKM_AES_CMAC),
            (Way::Digest, CKM_SHA256),
        ] {
            refused("C_…Init", session.begin(way, mechanism, key), gone);
            if !not_on_softhsm("a NULL mechanism does not cancel") {
                refused("a cancellation", cancel(&session, way), gone);
            }
            refused("C_…", session.one_shot(way, &IV, Some(64)).0.ok(), gone);
            refused("a length", session.one_shot(way, &IV, None).0.ok(), gone);
            refused("C_…Update", session.update(way, &IV, Some(64)).0.ok(), gone);
            refused("C_…Final", session.finish(way, Some(64)).0.ok(), gone);
        }
        refused("C_VerifyInit", session.verify_init(CKM_AES_CMAC, key), gone);
        if !not_on_softhsm("no functions of 3.0") {
            refused("C_SessionCancel", session_cancel(&session, CKF_SIGN), gone);
        }
    }
    for _ in 0..2 {
        place.public().close().unwrap();
        let slot = CK_SLOT_ID::MAX - 5;
        refused(
            "no such slot",
            Session::open_rw(&place.module, slot),
            &[CKR_SLOT_ID_INVALID],
        );
        refused(
            "no serial session",
            Session::open(&place.module, place.slot, CKF_RW_SESSION),
            &[CKR_SESSION_PARALLEL_NOT_SUPPORTED],
        );
        let nowhere = call!(
            place.module,
            C_OpenSession(place.slot, CKF_SERIAL_SESSION, null_mut(), None, null_mut())
        );
        assert_eq!(nowhere, Rv(CKR_ARGUMENTS_BAD));
    }
}

// ---- A daemon that comes back ----

#[test]
fn nothing_is_kept_over_a_restart() {
    for kill in [false, true] {
        let mut place = at_work();
        if not_on_softhsm("no daemon") {
            return;
        }
        let session = place.user();
        let key = session.create(&mac_key("before", true, false)).unwrap();
        warm(&session, key);
        for _ in 0..3 {
            assert_eq!(label(&session, key).unwrap(), "before");
        }
        let handle = session.handle;
        if kill {
            place.hsm.kill_daemon();
        } else {
            place.hsm.stop_daemon();
        }
        place.hsm.start_daemon();
        let mut second = stranger(&place);
        assert_eq!(second.ask("relabel before after"), "ok");
        let session = Session {
            module: &place.module,
            handle,
        };
        // Session and login go on; what held before does not.
        assert_eq!(label(&session, key).unwrap(), "after", "killed: {kill}");
        mac(&session, key).unwrap();
        let found = session.find(&template! { CKA_LABEL => "after" }).unwrap();
        let [key] = found[..] else {
            panic!("{} objects", found.len());
        };
        assert_eq!(label(&session, key).unwrap(), "after");
        warm(&session, key);
        assert_eq!(second.ask("relabel after later"), "ok");
        assert_eq!(
            label(&session, key).unwrap(),
            "later",
            "changes are seen again"
        );
    }
}

// ---- Threads ----

#[test]
fn many_threads_work_with_a_key_that_changes() {
    let place = at_work();
    if not_on_softhsm("its objects are not made for this") {
        return;
    }
    let main = place.user();
    let key = main.create(&mac_key("one", true, true)).unwrap();
    let value = pattern(5, 32);
    let aes = keys::import_aes(&main, &value);
    let expected = mac(&main, key).unwrap();
    let sealed = Aes::new(&value).cbc(&IV, &[3; 32]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|number| {
                let (place, expected, sealed) = (&place, &expected, &sealed);
                scope.spawn(move || {
                    for round in 0..150 {
                        let session = place.public();
                        for _ in 0..3 {
                            let what = format!("thread {number}, round {round}");
                            assert_eq!(mac(&session, key).as_ref(), Ok(expected), "{what}");
                            let cbc = Mechanism::bytes(CKM_AES_CBC, &IV);
                            let now = session.run(Way::Encrypt, cbc, aes, &[3; 32]);
                            assert_eq!(now.as_ref(), Ok(sealed), "{what}");
                            let now = label(&session, key).unwrap();
                            assert!(["one", "two"].contains(&now.as_str()), "{what}: {now}");
                            session.run(Way::Digest, CKM_SHA256, 0, b"abc").unwrap();
                            session.random(16).unwrap();
                        }
                        session.close().unwrap();
                    }
                })
            })
            .collect();
        let toggles = scope.spawn(|| {
            let session = place.public();
            let mut toggled = 0;
            while !stop.load(Ordering::Relaxed) {
                for name in ["two", "one"] {
                    session.set(key, &template! { CKA_LABEL => name }).unwrap();
                    assert_eq!(label(&session, key).unwrap(), name);
                }
                toggled += 1;
            }
            toggled
        });
        let makes = scope.spawn(|| {
            let session = place.public();
            let mut on_token = false;
            while !stop.load(Ordering::Relaxed) {
                on_token = !on_token;
                let made = session
                    .create(&keys::data("passing").with(CKA_TOKEN, on_token))
                    .unwrap();
                assert_eq!(label(&session, made).unwrap(), "passing");
                session.destroy(made).unwrap();
                refused("C_GetAttributeValue", label(&session, made), OBJECT_GONE);
            }
        });
        let outcomes: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(toggles.join().unwrap() > 0);
        makes.join().unwrap();
        assert!(outcomes.iter().all(Result::is_ok));
    });
}

// ---- The journal ----

#[test]
fn the_journal_tells_of_every_operation() {
    let place = at_work();
    if not_on_softhsm("no journal") {
        return;
    }
    let session = place.user();
    let key = session.create(&mac_key("k", true, true)).unwrap();
    const TIMES: usize = 7;
    for _ in 0..TIMES {
        mac(&session, key).unwrap();
    }
    let output = place
        .hsm
        .command(strongroom_tests::product::bin_dir().join("strongroom"))
        .args(["audit", "tail", "-n", "100"])
        .output()
        .expect("strongroom runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let signed: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("\"C_Sign\""))
        .collect();
    assert_eq!(signed.len(), TIMES, "{text}");
    let before = |line: &str| {
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|other| *other == line);
        lines[at.expect("the line") - 1]
    };
    // An operation has its key and its mechanism in its own line or in that of its C_SignInit, just before it.
    for line in signed {
        let own = line.contains("\"mechanism\"");
        let told = if own { line } else { before(line) };
        assert!(own || told.contains("\"C_SignInit\""), "{line}");
        assert!(told.contains("\"mechanism\":\"CKM_SHA256_HMAC\""), "{told}");
        assert!(told.contains(&format!("\"object\":{key},")), "{told}");
    }
}
