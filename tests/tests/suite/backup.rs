//! Backup and restore as an operator does them, and what an application finds afterwards: everything.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::product::bin_dir;
use strongroom_tests::tool::{Ran, run, succeed};
use strongroom_tests::{
    Hsm, Module, Session, Template, USER_PIN, Way, Workplace, not_on_softhsm, pattern, template,
};

use crate::keys;

/// The command of the operator, for the installation of an HSM.
fn strongroom(hsm: &Hsm, arguments: &[&str]) -> Command {
    let mut command = hsm.command(bin_dir().join("strongroom"));
    command.env("STRONGROOM_DAEMON", bin_dir().join("strongroomd"));
    command.arg("--home").arg(&hsm.home).args(arguments);
    command
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A key pair for backups, and a backup for it.
pub fn back_up(hsm: &Hsm) -> (PathBuf, PathBuf) {
    let (key, file) = (hsm.home.join("backup-key"), hsm.home.join("backup"));
    succeed(&mut strongroom(hsm, &["backup", "keygen", shown(&key)]));
    let public = hsm.home.join("backup-key.pub");
    let made = succeed(&mut strongroom(
        hsm,
        &["backup", shown(&file), "--to", shown(&public)],
    ));
    assert!(
        made.said.contains("read back from the disk"),
        "{}",
        made.said
    );
    (key, file)
}

pub fn restore(hsm: &Hsm, file: &Path, key: &Path) -> Ran {
    let arguments = [
        "restore",
        shown(file),
        "--identity",
        shown(key),
        "--replace-store",
    ];
    run(&mut strongroom(hsm, &arguments), b"")
}

/// Another installation, with a root key of its own and nothing in its store.
pub fn elsewhere() -> Hsm {
    let mut hsm = Hsm::start();
    hsm.stop_daemon();
    hsm
}

/// What names a token: label, serial number, and whether its user's PIN was tried wrongly.
fn named(module: &Module, label: &str) -> (Vec<u8>, Vec<u8>, bool) {
    let slot = module.slot_labelled(label).expect(label);
    let info = module.token_info(slot).unwrap();
    let low = info.flags & CKF_USER_PIN_COUNT_LOW != 0;
    (info.label.to_vec(), info.serialNumber.to_vec(), low)
}

/// Unique id, class and label of every token object, in order.
fn objects(session: &Session<'_>) -> Vec<(Vec<u8>, CK_ULONG, Vec<u8>)> {
    let mut objects: Vec<_> = session
        .find(&template! { CKA_TOKEN => true })
        .unwrap()
        .into_iter()
        .map(|object| {
            (
                session.attribute(object, CKA_UNIQUE_ID).unwrap(),
                session.number(object, CKA_CLASS).unwrap(),
                session.attribute(object, CKA_LABEL).unwrap(),
            )
        })
        .collect();
    objects.sort();
    objects
}

fn labelled(session: &Session<'_>, class: CK_OBJECT_CLASS, label: &str) -> CK_OBJECT_HANDLE {
    let found = session
        .find(&template! { CKA_CLASS => class, CKA_LABEL => label })
        .unwrap();
    assert_eq!(found.len(), 1, "{label}");
    found[0]
}

fn certificate() -> Template {
    template! {
        CKA_CLASS => CKO_CERTIFICATE,
        CKA_CERTIFICATE_TYPE => CKC_X_509,
        CKA_TOKEN => true,
        CKA_PRIVATE => false,
        CKA_LABEL => "certificate",
        CKA_SUBJECT => &[0x30, 0x00],
        CKA_VALUE => &[0x30, 0x03, 0x02, 0x01, 0x07],
    }
}

/// Private and public objects of all kinds that are kept.
fn fill(session: &Session<'_>) {
    session
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &template! { CKA_TOKEN => true, CKA_PRIVATE => false, CKA_LABEL => "pair", CKA_EC_PARAMS => Curve::P256.parameters(), CKA_VERIFY => true },
            &template! { CKA_TOKEN => true, CKA_PRIVATE => true, CKA_LABEL => "pair", CKA_SENSITIVE => true, CKA_EXTRACTABLE => false, CKA_SIGN => true },
        )
        .unwrap();
    session
        .generate(
            CKM_AES_KEY_GEN,
            &keys::protected_aes()
                .with(CKA_TOKEN, true)
                .with(CKA_LABEL, "secret")
                .with(CKA_VALUE_LEN, 32 as CK_ULONG),
        )
        .unwrap();
    session.create(&certificate()).unwrap();
    for private in [false, true] {
        let label = format!("data {private}");
        let data = keys::data(&label)
            .with(CKA_TOKEN, true)
            .with(CKA_PRIVATE, private);
        session.create(&data).unwrap();
    }
}

#[test]
fn what_was_backed_up_is_all_there_on_another_installation() {
    if not_on_softhsm("no backup") {
        return;
    }
    let place = Workplace::open();
    let second = place.module.make_token("second");
    let session = place.user();
    fill(&session);
    let before = objects(&session);
    let data = pattern(9, 32);
    let sealed = session
        .run(
            Way::Encrypt,
            CKM_AES_ECB,
            labelled(&session, CKO_SECRET_KEY, "secret"),
            &data,
        )
        .unwrap();
    let at_second = Session::open_rw(&place.module, second).unwrap();
    at_second.login(CKU_USER, "no pin of anybody").unwrap_err();
    let tokens = ["suite", "second"].map(|label| named(&place.module, label));
    assert!(tokens[1].2 && !tokens[0].2, "a wrong try shows");
    let (key, file) = back_up(&place.hsm);

    let mut other = elsewhere();
    let ran = restore(&other, &file, &key);
    assert!(ran.good, "{}", ran.said);
    other.start_daemon();
    let module = other.module();
    let found = ["suite", "second"].map(|label| named(&module, label));
    assert_eq!(found, tokens, "label, serial number and tries of PINs");
    let slot = module.slot_labelled("suite").unwrap();
    let restored = Session::open_rw(&module, slot).unwrap();
    restored.login(CKU_USER, USER_PIN).unwrap();
    assert_eq!(objects(&restored), before);
    let secret = labelled(&restored, CKO_SECRET_KEY, "secret");
    assert_eq!(
        restored
            .run(Way::Decrypt, CKM_AES_ECB, secret, &sealed)
            .unwrap(),
        data
    );
    let private = labelled(&restored, CKO_PRIVATE_KEY, "pair");
    let signature = restored
        .run(Way::Sign, CKM_ECDSA_SHA256, private, &data)
        .unwrap();
    // The public key that was never restored, at the old place.
    let public = labelled(&session, CKO_PUBLIC_KEY, "pair");
    session
        .verify(CKM_ECDSA_SHA256, public, &data, &signature)
        .unwrap();
    restored.login(CKU_USER, "wrong").unwrap_err();
    module.finalize().unwrap();
}

/// Clients change the store all the while: the backup is of one moment, and the store that comes of it is whole.
#[test]
fn a_backup_under_load_is_of_one_moment() {
    if not_on_softhsm("no backup") {
        return;
    }
    let place = Workplace::open();
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut backups = Vec::new();
    thread::scope(|scope| {
        for thread in 0..3 {
            let (place, stop, made) = (&place, &stop, &made);
            scope.spawn(move || {
                let session = place.user();
                // The newer of two is never there without the older one.
                let mut last: Option<CK_OBJECT_HANDLE> = None;
                for number in 0_usize.. {
                    let label = format!("{thread} {number}");
                    let data = keys::data(&label)
                        .with(CKA_TOKEN, true)
                        .with(CKA_PRIVATE, thread == 0)
                        .with(CKA_VALUE, pattern(number as u64, 900));
                    let object = session.create(&data).unwrap();
                    if let Some(last) = last.replace(object) {
                        session.destroy(last).unwrap();
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let (key, file) = back_up(&place.hsm);
        backups.push(file);
        for number in 0..4 {
            let file = place.hsm.home.join(format!("backup{number}"));
            let public = format!("{}.pub", shown(&key));
            let arguments = ["backup", shown(&file), "--to", &public];
            succeed(&mut strongroom(&place.hsm, &arguments));
            backups.push(file);
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{} objects made meanwhile", made.load(Ordering::Relaxed));
    let key = place.hsm.home.join("backup-key");
    for file in &backups {
        let mut other = elsewhere();
        // The census of the token is right, or nothing is restored.
        let ran = restore(&other, file, &key);
        assert!(ran.good, "{}", ran.said);
        other.start_daemon();
        let module = other.module();
        let slot = module.slot_labelled("suite").unwrap();
        let session = Session::open_rw(&module, slot).unwrap();
        session.login(CKU_USER, USER_PIN).unwrap();
        let found = session.find(&template! { CKA_TOKEN => true }).unwrap();
        assert!(found.len() <= 6, "{} objects of three pairs", found.len());
        for object in found {
            let label = session.attribute(object, CKA_LABEL).unwrap();
            let label = String::from_utf8(label).unwrap();
            let number: u64 = label.split(' ').nth(1).unwrap().parse().unwrap();
            let value = session.attribute(object, CKA_VALUE).unwrap();
            assert_eq!(value, pattern(number, 900), "{label}");
        }
        module.finalize().unwrap();
    }
}

/// Shares as the command line hands them out: any two of three.
#[test]
fn a_backup_to_shares_opens_with_any_of_them_that_are_enough() {
    if not_on_softhsm("no backup") {
        return;
    }
    let place = Workplace::open();
    fill(&place.user());
    let file = place.hsm.home.join("backup");
    let arguments = ["backup", shown(&file), "--shares", "2/3"];
    let made = succeed(&mut strongroom(&place.hsm, &arguments));
    let said = String::from_utf8(made.out).unwrap();
    let shares: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("strongroom-share-1"))
        .collect();
    assert_eq!(shares.len(), 3, "{said}");
    let verify = |some: &[&str]| {
        let path = place.hsm.home.join("shares");
        std::fs::write(&path, some.join("\n")).unwrap();
        let arguments = [
            "backup",
            "verify",
            shown(&file),
            "--shares-file",
            shown(&path),
        ];
        run(&mut strongroom(&place.hsm, &arguments), b"")
    };
    for left_out in 0..3 {
        let some: Vec<&str> = (0..3)
            .filter(|share| *share != left_out)
            .map(|share| shares[share])
            .collect();
        let ran = verify(&some);
        assert!(ran.good && ran.said.contains("whole"), "{}", ran.said);
        assert!(!ran.said.contains(some[0]), "a share is repeated");
        assert!(!verify(&some[..1]).good, "one share is too few");
    }
    assert!(!place.hsm.log().contains(shares[0]));
}

/// The command leaves whole backups or nothing.
#[test]
fn the_command_replaces_nothing_and_leaves_no_half() {
    if not_on_softhsm("no backup") {
        return;
    }
    let mut place = Workplace::open();
    let (_, file) = back_up(&place.hsm);
    let before = std::fs::read(&file).unwrap();
    let public = place.hsm.home.join("backup-key.pub");
    let again = ["backup", shown(&file), "--to", shown(&public)];
    let ran = run(&mut strongroom(&place.hsm, &again), b"");
    assert!(
        !ran.good && ran.said.contains("replaces nothing"),
        "{}",
        ran.said
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);

    let other = place.hsm.home.join("other");
    let wrong = place.hsm.home.join("wrong.pub");
    std::fs::write(&wrong, "strongroom-backup-public-1 0123\n").unwrap();
    let arguments = ["backup", shown(&other), "--to", shown(&wrong)];
    let ran = run(&mut strongroom(&place.hsm, &arguments), b"");
    assert!(
        !ran.good && ran.said.contains("no key for backups"),
        "{}",
        ran.said
    );
    place.hsm.stop_daemon();
    let arguments = ["backup", shown(&other), "--to", shown(&public)];
    let ran = run(&mut strongroom(&place.hsm, &arguments), b"");
    assert!(
        !ran.good && ran.said.contains("cannot reach the daemon"),
        "{}",
        ran.said
    );
    for name in ["other", "other.part", "backup.part"] {
        assert!(!place.hsm.home.join(name).exists(), "{name}");
    }
}
