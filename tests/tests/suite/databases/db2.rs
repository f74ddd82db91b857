//! IBM Db2 native encryption with a keystore of the kind PKCS11 (docs/tde/db2.md).

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::module::text;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Mechanism, Session, USER_PIN, Way, Workplace, digits, not_on_softhsm, pattern, template,
};

use super::{LOGINS_AT_ONCE, both_cbc, finds_nothing, open_keystore, secret_key};
use crate::keys;
use crate::second::Second;

/// As the manager names the keys that it makes itself.
const LABEL: &str = "DB2_SYSGEN_db2inst1_SAMPLE_2026-05-04-03.02.01_A8CF4EED";
const IV: [u8; 16] = [0x2b; 16];

/// What `NEW_OBJECT_TYPE` makes of new keys.
const OBJECT_TYPES: [(&str, bool); 2] = [("PUBLIC", false), ("PRIVATE", true)];

/// A key that comes from outside: what CREATE DATABASE, a rotation and the migration of a local keystore put in.
fn inserted(session: &Session<'_>, label: &str, private: bool, value: &[u8]) -> CK_OBJECT_HANDLE {
    let template = keys::master_key(label)
        .without(CKA_VALUE_LEN)
        .with(CKA_PRIVATE, private)
        .with(CKA_VALUE, value);
    session.create(&template).unwrap()
}

#[test]
fn the_keystore_is_opened_and_closed_at_each_event_of_one_process() {
    const EVENTS: usize = 40;
    let mut place = Workplace::open();
    let master = keys::master_key(LABEL);
    place.user().generate(CKM_AES_KEY_GEN, &master).unwrap();
    place.module.finalize().unwrap();
    let dek = pattern(1, 32);
    let mut kept: Option<[Vec<u8>; 2]> = None;
    for event in 0..EVENTS {
        place.hsm.initialize(&place.module);
        let session = open_keystore(&place.module, "suite", USER_PIN);
        let key = secret_key(&session, LABEL);
        let now = both_cbc(&IV).map(|way| session.run(Way::Encrypt, way, key, &dek).unwrap());
        let before = kept.get_or_insert_with(|| now.clone());
        assert_eq!(
            *before, now,
            "event {event}: one master key, one cipher text"
        );
        for (way, kept) in both_cbc(&IV).into_iter().zip(before) {
            let clear = session.run_by_the_book(Way::Decrypt, way, key, kept);
            assert_eq!(clear.unwrap(), dek, "event {event}");
        }
        session.logout().unwrap();
        session.close().unwrap();
        place.module.finalize().unwrap();
        // Between two events nobody misses the keystore.
        if event % 10 == 9 {
            place.hsm.kill_daemon();
            place.hsm.start_daemon();
        }
    }
}

#[test]
fn the_slot_is_found_by_its_label_and_by_its_number_and_nobody_is_mistaken_for_a_brand() {
    let place = Workplace::open();
    let number = place.module.slot_labelled("suite").unwrap();
    assert_eq!(number, place.slot);
    place.module.finalize().unwrap();
    place.hsm.initialize(&place.module);
    let again = place.module.slot_labelled("suite").unwrap();
    if !not_on_softhsm("its slots are numbered anew after the next C_Initialize") {
        assert_eq!(again, number, "SLOT_ID stays what it was");
    }
    let number = again;
    let token = place.module.token_info(number).unwrap();
    let module = place.module.info().unwrap();
    for told in [
        &token.manufacturerID[..],
        &token.model,
        &module.manufacturerID,
    ] {
        let told = text(told).to_lowercase();
        for brand in ["luna", "safenet", "thales", "ncipher", "entrust"] {
            assert!(!told.contains(brand), "{told}: Db2 would change its ways");
        }
    }
}

#[test]
fn a_master_key_made_outside_is_put_in_as_the_object_type_says_and_stays_external() {
    let place = Workplace::open();
    let value = pattern(5, 32);
    let judge = Aes::new(&value);
    let dek = pattern(6, 32);
    let session = open_keystore(&place.module, "suite", USER_PIN);
    for (label, private) in OBJECT_TYPES {
        let key = inserted(&session, label, private, &value);
        assert_eq!(session.flag(key, CKA_PRIVATE).unwrap(), private);
        assert!(session.flag(key, CKA_SENSITIVE).unwrap());
        for kind in [
            CKA_LOCAL,
            CKA_ALWAYS_SENSITIVE,
            CKA_NEVER_EXTRACTABLE,
            CKA_EXTRACTABLE,
        ] {
            assert!(!session.flag(key, kind).unwrap(), "{label}, {kind:#x}");
        }
        refused(
            "the value",
            session.attribute(key, CKA_VALUE),
            &[CKR_ATTRIBUTE_SENSITIVE],
        );
        let [whole, padded] = both_cbc(&IV);
        let kept = judge.cbc(&IV, &dek);
        assert_eq!(session.run(Way::Decrypt, whole, key, &kept).unwrap(), dek);
        let kept = judge.cbc_pad(&IV, &dek);
        assert_eq!(session.run(Way::Decrypt, padded, key, &kept).unwrap(), dek);
    }
    let made = session
        .generate(CKM_AES_KEY_GEN, &keys::master_key(LABEL))
        .unwrap();
    for kind in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE] {
        assert!(session.flag(made, kind).unwrap(), "made inside, {kind:#x}");
    }
    // What the two kinds are to somebody who is not logged in.
    session.logout().unwrap();
    for (label, private) in OBJECT_TYPES {
        let wanted = template! { CKA_CLASS => CKO_SECRET_KEY, CKA_LABEL => label };
        let found = session.find(&wanted).unwrap().len();
        assert_eq!(found, usize::from(!private), "{label}");
    }
}

#[test]
fn a_master_key_comes_in_wrapped_and_never_lies_in_clear_outside() {
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    let (value, transport) = (pattern(7, 32), pattern(8, 32));
    let unwrapping = keys::import_aes(&session, &transport);
    let template = |label: &str, private: bool| {
        keys::master_key(label)
            .without(CKA_VALUE_LEN)
            .with(CKA_PRIVATE, private)
    };
    let wrapped = Aes::new(&transport).kw(&value);
    let dek = pattern(9, 32);
    for (label, private) in OBJECT_TYPES {
        let key = session
            .unwrap(
                CKM_AES_KEY_WRAP,
                unwrapping,
                &wrapped,
                &template(label, private),
            )
            .unwrap();
        assert!(!session.flag(key, CKA_LOCAL).unwrap());
        assert_eq!(session.flag(key, CKA_PRIVATE).unwrap(), private);
        let kept = Aes::new(&value).cbc_pad(&IV, &dek);
        let way = Mechanism::bytes(CKM_AES_CBC_PAD, &IV);
        assert_eq!(session.run(Way::Decrypt, way, key, &kept).unwrap(), dek);
    }
    if not_on_softhsm("a damaged key is a general error") {
        return;
    }
    let mut damaged = wrapped;
    damaged[3] ^= 1;
    refused(
        "a damaged key",
        session.unwrap(CKM_AES_KEY_WRAP, unwrapping, &damaged, &template("x", true)),
        &[CKR_WRAPPED_KEY_INVALID],
    );
}

#[test]
fn a_rotation_takes_a_key_by_its_label_and_a_backup_of_before_is_restored_with_the_old_one() {
    let place = Workplace::open();
    let session = open_keystore(&place.module, "suite", USER_PIN);
    let missing = template! { CKA_CLASS => CKO_SECRET_KEY, CKA_LABEL => "no such label" };
    finds_nothing(&session, &missing);
    let dek = pattern(1, 32);
    let way = || Mechanism::bytes(CKM_AES_CBC_PAD, &IV);
    let labels = [LABEL, "rotated-2026"];
    for label in labels {
        session
            .generate(CKM_AES_KEY_GEN, &keys::master_key(label))
            .unwrap();
    }
    let [old, new] = labels.map(|label| secret_key(&session, label));
    let image = session.run(Way::Encrypt, way(), old, &dek).unwrap();
    let clear = session.run(Way::Decrypt, way(), old, &image).unwrap();
    let database = session.run(Way::Encrypt, way(), new, &clear).unwrap();
    assert_ne!(image, database);
    for (key, kept) in [(old, &image), (new, &database)] {
        assert_eq!(session.run(Way::Decrypt, way(), key, kept).unwrap(), dek);
    }
}

#[test]
fn members_open_and_close_the_keystore_at_the_same_time() {
    const MEMBERS: usize = 5;
    const EVENTS: usize = 12;
    let place = Workplace::open();
    if not_on_softhsm(LOGINS_AT_ONCE) {
        return;
    }
    let master = keys::master_key("db2-members");
    place.user().generate(CKM_AES_KEY_GEN, &master).unwrap();
    let dek = digits(&pattern(2, 32));
    let mut first = Second::start(&place.hsm);
    assert_eq!(first.ask("open suite"), "ok");
    assert_eq!(first.ask(&format!("login user {USER_PIN}")), "ok");
    let kept = first.ask(&format!("encrypt db2-members {dek}"));
    let decrypt = kept.replace("ok ", "decrypt db2-members ");
    let login = format!("login user {USER_PIN}");
    let mut members: Vec<Second> = (0..MEMBERS).map(|_| Second::start(&place.hsm)).collect();
    let found = format!("ok {dek}");
    // All lines of all events are on their way before the first answer is read.
    let event = [
        ("open suite", "ok"),
        (&login, "ok"),
        (&decrypt, &found),
        ("close", "ok"),
        ("finalize", "ok"),
        ("initialize", "ok"),
    ];
    for _ in 0..EVENTS {
        for member in &mut members {
            event.iter().for_each(|(command, _)| member.send(command));
        }
    }
    for number in 0..EVENTS {
        for member in &mut members {
            for (command, expected) in event {
                assert_eq!(member.answer(), expected, "event {number}: {command}");
            }
        }
    }
}
