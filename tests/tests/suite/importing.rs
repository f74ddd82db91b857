//! Objects brought in from elsewhere, all or nothing: what an application finds afterwards, and what a crash leaves.

use std::fs;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_tests::import::{Importer, new_token, token};
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::{
    Hsm, Module, SO_PIN, Session, Template, USER_PIN, Way, not_on_softhsm, pattern, template,
};
use strongroom_wire::ck::{self, AttributeType};

use crate::backup::{back_up, elsewhere, restore};
use crate::disk_full::SmallDisk;
use crate::faults::{Original, arm};
use crate::keys;
use crate::ledger::{verified, verified_at_rest};

/// Everything that a token says of an object.
fn all_of(session: &Session<'_>, object: CK_OBJECT_HANDLE) -> Template {
    let array = |kind: &AttributeType| kind.0 & CKF_ARRAY_ATTRIBUTE != 0;
    let kinds = AttributeType::ALL.iter().map(|(_, kind)| *kind);
    let scalar = kinds.filter(|kind| !array(kind) || *kind == AttributeType::ALLOWED_MECHANISMS);
    scalar.fold(Template::default(), |template, kind| {
        match session.attribute(object, kind.0) {
            Ok(value) => template.with(kind.0, value.as_slice()),
            Err(_) => template,
        }
    })
}

/// Keys of a SoftHSM that give themselves away, with the right usages: pairs as (public, private), and secret ones.
fn of_softhsm(session: &Session<'_>) {
    let public = template! { CKA_TOKEN => true, CKA_PRIVATE => false, CKA_VERIFY => true };
    let private = template! {
        CKA_TOKEN => true, CKA_PRIVATE => true, CKA_SENSITIVE => false, CKA_EXTRACTABLE => true, CKA_SIGN => true,
    };
    let pair = |mechanism, label: &str, more: Template| {
        session
            .generate_pair(
                mechanism,
                &public.clone().and(&more).with(CKA_LABEL, label),
                &private.clone().with(CKA_LABEL, label),
            )
            .unwrap_or_else(|code| panic!("{label}: {code:?}"));
    };
    let rsa = template! { CKA_MODULUS_BITS => 2048_u64, CKA_PUBLIC_EXPONENT => &[1, 0, 1] };
    pair(CKM_RSA_PKCS_KEY_PAIR_GEN, "rsa", rsa);
    for (label, curve) in [("p256", Curve::P256), ("p384", Curve::P384)] {
        let parameters = template! { CKA_EC_PARAMS => curve.parameters() };
        pair(CKM_EC_KEY_PAIR_GEN, label, parameters);
    }
    let ed25519 = template! { CKA_EC_PARAMS => &[6, 3, 0x2b, 0x65, 0x70] };
    pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, "ed25519", ed25519);
    let secret = keys::open_secret(CKK_AES)
        .with(CKA_TOKEN, true)
        .with(CKA_VALUE_LEN, 32_u64)
        .with(CKA_LABEL, "aes")
        .without(CKA_KEY_TYPE);
    session.generate(CKM_AES_KEY_GEN, &secret).unwrap();
    let generic = keys::open_secret(CKK_GENERIC_SECRET)
        .with(CKA_TOKEN, true)
        .with(CKA_LABEL, "hmac")
        .with(CKA_VALUE, pattern(1, 40).as_slice());
    session.create(&generic).unwrap();
    let data = keys::data("data").with(CKA_TOKEN, true);
    session.create(&data).unwrap();
    let certificate = template! {
        CKA_CLASS => CKO_CERTIFICATE,
        CKA_CERTIFICATE_TYPE => CKC_X_509,
        CKA_TOKEN => true,
        CKA_PRIVATE => false,
        CKA_LABEL => "certificate",
        CKA_SUBJECT => &[0x30, 0x00],
        CKA_VALUE => &[0x30, 0x03, 0x02, 0x01, 0x07],
    };
    session.create(&certificate).unwrap();
}

fn only(session: &Session<'_>, class: CK_OBJECT_CLASS, label: &str) -> CK_OBJECT_HANDLE {
    let found = session
        .find(&template! { CKA_CLASS => class, CKA_LABEL => label })
        .unwrap();
    assert_eq!(found.len(), 1, "{label}");
    found[0]
}

fn logged_in<'m>(module: &'m Module, label: &str) -> Session<'m> {
    let slot = module.slot_labelled(label).expect(label);
    let session = Session::open_rw(module, slot).unwrap();
    session.login(CKU_USER, USER_PIN).unwrap();
    session
}

#[test]
fn every_key_of_a_softhsm_token_does_here_what_it_does_there() {
    if not_on_softhsm("nothing is imported into it") {
        return;
    }
    let hsm = Hsm::start();
    let softhsm = hsm.softhsm_beside();
    let _ = softhsm.make_token("moving");
    let there = logged_in(&softhsm, "moving");
    of_softhsm(&there);
    let objects = there.find(&Template::default()).unwrap();
    let said: Vec<Template> = objects.iter().map(|one| all_of(&there, *one)).collect();
    let serial = softhsm
        .token_info(softhsm.slot_labelled("moving").unwrap())
        .unwrap();
    let serial = String::from_utf8(serial.serialNumber.to_vec()).unwrap();
    let serial = serial.trim_end().to_owned();

    let mut importer = Importer::connect(&hsm);
    importer.begin(new_token("moving", Some(&serial))).unwrap();
    for (judgement, object) in importer.bring(&said).unwrap().iter().zip(&said) {
        assert_eq!(judgement.refused, None, "{object:?}");
        println!("{:?}", judgement.changed);
    }
    let (line, brought) = importer.commit().unwrap();
    assert_eq!(
        (brought as usize, line.serial_number),
        (objects.len(), serial)
    );

    let module = hsm.module();
    let here = logged_in(&module, "moving");
    let message = pattern(7, 100);
    for (label, mechanism) in [
        ("rsa", CKM_SHA256_RSA_PKCS),
        ("p256", CKM_ECDSA),
        ("p384", CKM_ECDSA),
        ("ed25519", CKM_EDDSA),
    ] {
        let message = if mechanism == CKM_ECDSA {
            &message[..32]
        } else {
            &message
        };
        for (signer, judge) in [(&here, &there), (&there, &here)] {
            let key = only(signer, CKO_PRIVATE_KEY, label);
            let signature = signer.run(Way::Sign, mechanism, key, message).unwrap();
            let public = only(judge, CKO_PUBLIC_KEY, label);
            judge
                .verify(mechanism, public, message, &signature)
                .unwrap_or_else(|code| panic!("{label}: {code:?}"));
        }
    }
    for (label, way, mechanism) in [
        ("aes", Way::Encrypt, CKM_AES_ECB),
        ("hmac", Way::Sign, CKM_SHA256_HMAC),
    ] {
        let of = |session: &Session<'_>| {
            let key = only(session, CKO_SECRET_KEY, label);
            session.run(way, mechanism, key, &message[..96]).unwrap()
        };
        assert_eq!(of(&here), of(&there), "{label}");
    }
    for (class, label) in [(CKO_DATA, "data"), (CKO_CERTIFICATE, "certificate")] {
        let of = |session: &Session<'_>| {
            session
                .attribute(only(session, class, label), CKA_VALUE)
                .unwrap()
        };
        assert_eq!(of(&here), of(&there), "{label}");
    }
    // What SoftHSM says of a key's past was kept, because that was asked.
    let key = only(&here, CKO_PRIVATE_KEY, "rsa");
    assert!(here.flag(key, CKA_LOCAL).unwrap());
    assert_eq!(
        here.number(key, CKA_KEY_GEN_MECHANISM).unwrap(),
        CKM_RSA_PKCS_KEY_PAIR_GEN
    );
    verified(&hsm, "after an import");
    module.finalize().unwrap();
    softhsm.finalize().unwrap();
}

/// Some objects, private and public, each with a value of its own.
fn some_objects() -> Vec<Template> {
    let rsa = RsaPrivate::fixed(2048).template().with(CKA_SIGN, true);
    let mut objects = vec![
        keys::ec_private(Curve::P256, &pattern(3, 32)).with(CKA_SIGN, true),
        rsa.with(CKA_LABEL, "brought"),
    ];
    for number in 0..10 {
        objects.push(keys::data("brought").with(CKA_VALUE, pattern(number, 300).as_slice()));
        objects.push(keys::open_secret(CKK_AES).with(CKA_VALUE, pattern(number, 32).as_slice()));
    }
    objects
        .into_iter()
        .map(|object| object.with(CKA_LABEL, "brought").with(CKA_TOKEN, true))
        .collect()
}

/// How many objects were brought to a token; none when there is no such token. A key that is there works.
fn brought(module: &Module, label: &str) -> Option<usize> {
    module.slot_labelled(label)?;
    let session = logged_in(module, label);
    let found = session.find(&template! { CKA_LABEL => "brought" }).unwrap();
    let private = template! { CKA_CLASS => CKO_PRIVATE_KEY, CKA_LABEL => "brought" };
    for key in session.find(&private).unwrap() {
        let rsa = session.number(key, CKA_KEY_TYPE).unwrap() == CKK_RSA;
        let mechanism = if rsa {
            CKM_SHA256_RSA_PKCS
        } else {
            CKM_ECDSA_SHA256
        };
        session.run(Way::Sign, mechanism, key, b"data").unwrap();
    }
    session.logout().unwrap();
    Some(found.len())
}

/// An import from its beginning to its end; whether it was answered that it happened, or that it did not, or nothing.
fn import(hsm: &Hsm, to_new: bool, objects: &[Template]) -> Option<Result<u64, (ck::Rv, String)>> {
    let mut importer = Importer::try_connect(hsm)?;
    let destination = if to_new {
        new_token("arriving", Some("SERIAL-1"))
    } else {
        token("load", USER_PIN)
    };
    let outcome = importer
        .begin(destination)
        .and_then(|()| importer.bring(objects))
        .and_then(|_| importer.commit());
    match outcome {
        Ok((_, objects)) => Some(Ok(objects)),
        Err(Some(refusal)) => Some(Err(refusal)),
        Err(None) => None,
    }
}

fn target(to_new: bool) -> &'static str {
    if to_new { "arriving" } else { "load" }
}

/// After a restart without faults: all or nothing, and all if that was said.
fn all_or_nothing(
    hsm: &mut Hsm,
    module: &Module,
    to_new: bool,
    said: Option<bool>,
    when: &str,
) -> bool {
    hsm.variables.clear();
    verified_at_rest(hsm, when);
    hsm.start_daemon();
    hsm.initialize(module);
    let there = brought(module, target(to_new));
    let nothing = if to_new { None } else { Some(0) };
    let all = Some(some_objects().len());
    assert!(there == all || there == nothing, "{when}: {there:?}");
    if let Some(said) = said {
        assert_eq!(there == all, said, "{when}: {there:?}");
    }
    verified(hsm, when);
    module.finalize().unwrap();
    there == all
}

#[test]
fn killed_at_every_step_of_an_import_all_is_there_or_nothing() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let original = Original::new();
    for to_new in [true, false] {
        let (mut outcomes, mut kills) = ([0, 0], 0);
        for (how, every) in [("kill", 1), ("kill-half", 3)] {
            for step in (1..).step_by(every) {
                let mut hsm = original.copy();
                arm(&mut hsm, "store.redb", step, 1, how);
                let mut answered = None;
                if hsm.try_start_daemon() {
                    answered = import(&hsm, to_new, &some_objects());
                }
                if hsm.stops_in_order() {
                    assert!(answered.is_some_and(|answer| answer.is_ok()), "step {step}");
                    break;
                }
                kills += 1;
                let said = answered.map(|answer| answer.is_ok()).filter(|said| *said);
                let when = format!("{how} at step {step}");
                let all = all_or_nothing(&mut hsm, &original.module, to_new, said, &when);
                outcomes[usize::from(all)] += 1;
            }
        }
        println!(
            "{kills} kills: nothing after {}, all after {}",
            outcomes[0], outcomes[1]
        );
        assert!(outcomes[0] > 3 && outcomes[1] > 0, "{outcomes:?}");
    }
}

#[test]
fn a_disk_that_fails_at_any_step_of_an_import_leaves_nothing_of_it() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let original = Original::new();
    let module = &original.module;
    let mut refusals = 0;
    for (how, code) in [
        ("eio", ck::Rv::DEVICE_ERROR),
        ("enospc", ck::Rv::DEVICE_MEMORY),
    ] {
        for step in (1..).step_by(2) {
            let mut hsm = original.copy();
            arm(&mut hsm, "store.redb", step, 1, how);
            let when = format!("{how} at step {step}");
            if !hsm.try_start_daemon() {
                continue;
            }
            let answered = import(&hsm, true, &some_objects()).expect(&when);
            if let Err((rv, reason)) = &answered {
                refusals += 1;
                assert_eq!(*rv, code, "{when}: {reason}");
                assert!(
                    reason.starts_with("nothing was brought in"),
                    "{when}: {reason}"
                );
                hsm.initialize(module);
                assert_eq!(brought(module, "arriving"), None, "{when}");
                module.finalize().unwrap();
                // The fault is over, and nothing is in the way of another try.
                assert!(import(&hsm, true, &some_objects()).expect(&when).is_ok());
            }
            let failed = hsm.log().contains("failed");
            let _ = hsm.stops_in_order();
            all_or_nothing(&mut hsm, module, true, Some(true), &when);
            if answered.is_ok() && !failed && step > 12 {
                break;
            }
        }
    }
    println!("{refusals} refusals");
    assert!(refusals > 3);
}

#[test]
fn a_full_disk_refuses_an_import_whole() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let mut hsm = Hsm::at_rest();
    let Some(disk) = SmallDisk::mount(&hsm) else {
        return;
    };
    hsm.flags = vec![
        "--store".into(),
        disk.0.join("store.redb").display().to_string(),
    ];
    hsm.start_daemon();
    let module = hsm.module();
    let _ = module.make_token("load");
    disk.fill();
    let large: Vec<Template> = (0..20)
        .map(|seed| keys::data("brought").with(CKA_VALUE, pattern(seed, 200_000).as_slice()))
        .collect();
    for to_new in [true, false] {
        let (rv, reason) = import(&hsm, to_new, &large).unwrap().unwrap_err();
        assert_eq!(rv, ck::Rv::DEVICE_MEMORY, "{reason}");
        assert!(reason.contains("disk"), "{reason}");
    }
    disk.free();
    assert_eq!(brought(&module, "arriving"), None);
    assert_eq!(brought(&module, "load"), Some(0));
    assert!(import(&hsm, true, &some_objects()).unwrap().is_ok());
    assert_eq!(brought(&module, "arriving"), Some(some_objects().len()));
    verified(&hsm, "after a full disk");
    module.finalize().unwrap();
    hsm.stop_daemon();
}

#[test]
fn an_import_is_refused_or_abandoned_in_words_and_the_journal_has_it() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let hsm = Hsm::start();
    let module = hsm.module();
    let slot = module.make_token("load");
    let mut importer = Importer::connect(&hsm);
    let (rv, reason) = importer
        .begin(token("load", "wrong-pin"))
        .unwrap_err()
        .unwrap();
    assert_eq!(rv, ck::Rv::PIN_INCORRECT, "{reason}");
    let info = module.token_info(slot).unwrap();
    assert_ne!(
        info.flags & CKF_USER_PIN_COUNT_LOW,
        0,
        "the try was counted"
    );
    let serial = String::from_utf8(info.serialNumber.to_vec()).unwrap();
    let (rv, reason) = importer
        .begin(new_token("two", Some(&serial)))
        .unwrap_err()
        .unwrap();
    assert_eq!(rv, ck::Rv::ARGUMENTS_BAD);
    assert!(reason.contains(&serial), "{reason}");
    // Of what is refused the rest can be committed.
    importer.begin(token("load", USER_PIN)).unwrap();
    let state = Session::open_rw(&module, slot).unwrap();
    assert_eq!(
        state.state().unwrap(),
        CKS_RW_PUBLIC_SESSION,
        "nobody was logged in by that"
    );
    let mut objects = some_objects();
    objects[1] = objects[1].clone().without(CKA_MODULUS);
    let judged = importer.bring(&objects).unwrap();
    let refused: Vec<_> = judged
        .iter()
        .filter_map(|one| one.refused.clone())
        .collect();
    assert_eq!(
        refused,
        [(
            ck::Rv::TEMPLATE_INCOMPLETE,
            "CKA_MODULUS is missing".to_owned()
        )]
    );
    let (line, brought_in) = importer.commit().unwrap();
    assert_eq!(brought_in as usize, objects.len() - 1);
    assert_eq!((line.slot, line.objects), (slot, brought_in));
    assert_eq!(brought(&module, "load"), Some(objects.len() - 1));
    // One that dies in the middle.
    importer.begin(new_token("gone", None)).unwrap();
    importer.bring(&some_objects()).unwrap();
    drop(importer);
    let begin = Instant::now();
    let journal = hsm.home.join("audit.jsonl");
    while !fs::read_to_string(&journal)
        .unwrap()
        .contains("admin.import_abandon")
    {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(brought(&module, "gone"), None);
    let journal = fs::read_to_string(&journal).unwrap();
    for pin in [SO_PIN, USER_PIN, "brought"] {
        assert!(!journal.contains(pin), "{pin}");
    }
    assert!(
        hsm.administer(&["audit", "verify"]).contains("whole"),
        "the chain"
    );
    verified(&hsm, "after refusals");
    module.finalize().unwrap();
}

#[test]
fn a_backup_carries_what_was_brought_in() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let hsm = Hsm::start();
    assert!(import(&hsm, true, &some_objects()).unwrap().is_ok());
    let (key, file) = back_up(&hsm);
    let mut other = elsewhere();
    let restored = restore(&other, &file, &key);
    assert!(restored.good, "{}", restored.said);
    other.start_daemon();
    let module = other.module();
    let slot = module.slot_labelled("arriving").unwrap();
    let serial = module.token_info(slot).unwrap().serialNumber;
    assert_eq!(&serial, b"SERIAL-1        ");
    assert_eq!(brought(&module, "arriving"), Some(some_objects().len()));
    verified(&other, "restored");
    module.finalize().unwrap();
}

#[test]
fn ten_thousand_objects_come_in_and_others_go_on() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let hsm = Hsm::start();
    let module = hsm.module();
    let _ = module.make_token("load");
    let session = logged_in(&module, "load");
    let key = session
        .generate(CKM_AES_KEY_GEN, &keys::protected_aes())
        .unwrap();
    let rsa = RsaPrivate::fixed(2048).template().with(CKA_TOKEN, true);
    let objects: Vec<Template> = (0..10_000_u64)
        .map(|number| rsa.clone().with(CKA_ID, number.to_be_bytes().as_slice()))
        .collect();
    let locked = || {
        let status = hsm.administer(&["status", "--json"]);
        let (_, rest) = status
            .split_once("\"memory_bytes_used\":")
            .expect("the status");
        rest.trim_start()
            .split(|one: char| !one.is_ascii_digit())
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    for to_new in [true, false] {
        let mut importer = Importer::connect(&hsm);
        let before = locked();
        let destination = if to_new {
            new_token("arriving", None)
        } else {
            token("load", USER_PIN)
        };
        importer.begin(destination).unwrap();
        let begin = Instant::now();
        importer.bring(&objects).unwrap();
        println!("judging 10,000 RSA keys: {:?}", begin.elapsed());
        let staged = locked().saturating_sub(before);
        println!("locked memory for 10,000 staged RSA keys: {staged} bytes");
        assert!(staged < 1 << 20, "secrets lie sealed, in ordinary memory");
        let (mut worst, mut worst_change) = (Duration::ZERO, Duration::ZERO);
        std::thread::scope(|scope| {
            let commit = scope.spawn(move || {
                let begin = Instant::now();
                importer.commit().unwrap();
                begin.elapsed()
            });
            while !commit.is_finished() {
                let begin = Instant::now();
                session
                    .run(Way::Encrypt, CKM_AES_ECB, key, &[0; 16])
                    .unwrap();
                let _ = module.slots().unwrap();
                worst = worst.max(begin.elapsed());
                let begin = Instant::now();
                session
                    .create(&keys::data("beside").with(CKA_TOKEN, true))
                    .unwrap();
                worst_change = worst_change.max(begin.elapsed());
            }
            let took = commit.join().unwrap();
            println!("commit: {took:?}; others meanwhile: use {worst:?}, change {worst_change:?}");
        });
        assert!(worst < Duration::from_secs(2), "{worst:?}");
        assert!(worst_change < Duration::from_secs(10), "{worst_change:?}");
    }
    verified(&hsm, "after ten thousand");
    module.finalize().unwrap();
}
