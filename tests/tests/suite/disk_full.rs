//! A disk that is really full: a small file system (tmpfs) under the store, and under the journal.
//!
//! Mounting needs the rights of root in this place; where they are missing the tests say so, and `faults.rs` has the same errors from a
//! disk that only pretends.

use std::ffi::CString;
use std::fs;
use std::path::PathBuf;

use cryptoki_sys::*;
use strongroom_tests::{Hsm, Module, Rv, Session, USER_PIN, Way, not_on_softhsm, template};

use crate::keys;
use crate::ledger::{Ledger, check, verified, verified_at_rest};

/// A file system of two mebibytes in the directory of an HSM, unmounted on drop.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    pub fn mount(hsm: &Hsm) -> Option<Self> {
        let place = hsm.home.join("disk");
        fs::create_dir(&place).unwrap();
        let text = |text: &str| CString::new(text).unwrap();
        let (kind, options) = (text("tmpfs"), text("size=2m,mode=700"));
        let target = text(place.to_str().unwrap());
        // SAFETY: every pointer is a string that lives until the call returns.
        let mounted = unsafe {
            libc::mount(
                kind.as_ptr(),
                target.as_ptr(),
                kind.as_ptr(),
                0,
                options.as_ptr().cast(),
            )
        };
        if mounted != 0 {
            println!(
                "left out: no small disk: {}",
                std::io::Error::last_os_error()
            );
            return None;
        }
        Some(Self(place))
    }

    /// Takes all the space there is.
    pub fn fill(&self) {
        let mut bytes = 64 << 10;
        let mut file = fs::File::create(self.0.join("ballast")).unwrap();
        while bytes > 0 {
            if std::io::Write::write_all(&mut file, &vec![1; bytes]).is_err() {
                bytes /= 2;
            }
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let target = CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: the string lives until the call returns. Lazily, because a failed test may still have a daemon there.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    }
}

fn user<'m>(module: &'m Module, hsm: &Hsm) -> Session<'m> {
    let slot = module
        .slot_labelled("full")
        .unwrap_or_else(|| panic!("no token:\n{}", hsm.log()));
    let session = Session::open_rw(module, slot).unwrap();
    match session.login(CKU_USER, USER_PIN) {
        Ok(()) | Err(Rv(CKR_USER_ALREADY_LOGGED_IN)) => session,
        Err(code) => panic!("C_Login: {code:?}"),
    }
}

#[test]
fn a_full_disk_refuses_changes_and_serves_the_rest() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let mut hsm = Hsm::at_rest();
    let Some(disk) = SmallDisk::mount(&hsm) else {
        return;
    };
    let store = disk.0.join("store.redb");
    hsm.flags = vec!["--store".into(), store.display().to_string()];
    hsm.start_daemon();
    let module = hsm.module();
    let slot = module.make_token("full");
    let mut ledger = Ledger::new("full");
    let session = user(&module, &hsm);
    for _ in 0..10 {
        ledger.work(&session).unwrap();
    }
    let key = session
        .generate(
            CKM_AES_KEY_GEN,
            &keys::protected_aes().with(CKA_LABEL, "session key"),
        )
        .unwrap();
    disk.fill();
    let refused = loop {
        if let Err(code) = ledger.work(&session) {
            break code;
        }
    };
    assert_eq!(refused, Rv(CKR_DEVICE_MEMORY), "{}", hsm.log());
    ledger.was_refused(&session);
    for _ in 0..5 {
        let large = keys::data("large")
            .with(CKA_TOKEN, true)
            .with(CKA_VALUE, vec![7_u8; 200_000].as_slice());
        assert_eq!(session.create(&large), Err(Rv(CKR_DEVICE_MEMORY)));
        // What needs no space goes on, old objects and new session objects alike.
        check(&session, &mut [&mut ledger], "while it is full");
        session
            .run(Way::Encrypt, CKM_AES_ECB, key, &[0; 16])
            .unwrap();
        session.create(&keys::data("of the session")).unwrap();
    }
    assert!(!hsm.daemon_has_ended(), "{}", hsm.log());
    disk.free();
    for _ in 0..10 {
        ledger.work(&session).unwrap();
    }
    check(&session, &mut [&mut ledger], "with space again");
    let large = session.find(&template! { CKA_LABEL => "large" }).unwrap();
    assert!(large.is_empty());
    session.logout().unwrap();
    // Full again: a try of a PIN that cannot be noted is not compared.
    disk.fill();
    module.close_all(slot).unwrap();
    let session = Session::open_rw(&module, slot).unwrap();
    let mut answered = session.login(CKU_USER, "wrong-pin");
    for _ in 0..20 {
        if answered != Err(Rv(CKR_PIN_INCORRECT)) {
            break;
        }
        answered = session.login(CKU_USER, "wrong-pin");
    }
    println!("a wrong PIN on a full disk: {answered:?}");
    let noted = [Err(Rv(CKR_DEVICE_MEMORY)), Err(Rv(CKR_PIN_LOCKED))];
    assert!(noted.contains(&answered), "{answered:?}");
    disk.free();
    module.finalize().unwrap();
    hsm.stop_daemon();
    hsm.start_daemon();
    hsm.initialize(&module);
    verified(&hsm, "after a restart");
    module.finalize().unwrap();
    hsm.stop_daemon();
}

#[test]
fn a_full_disk_under_the_journal_stops_answers_and_nothing_else() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let mut hsm = Hsm::at_rest();
    let Some(disk) = SmallDisk::mount(&hsm) else {
        return;
    };
    let journal = disk.0.join("audit.jsonl");
    hsm.flags = vec!["--journal".into(), journal.display().to_string()];
    hsm.start_daemon();
    let module = hsm.module();
    let _ = module.make_token("full");
    let mut ledger = Ledger::new("full");
    let session = user(&module, &hsm);
    ledger.work(&session).unwrap();
    disk.fill();
    // Room was reserved for some thousand lines.
    let mut asked = 0;
    let refused = loop {
        if let Err(code) = session.find(&template! { CKA_LABEL => "nothing" }) {
            break code;
        }
        asked += 1;
        assert!(asked < 100_000, "the disk is not full");
    };
    assert_eq!(refused, Rv(CKR_DEVICE_ERROR), "{}", hsm.log());
    assert!(!hsm.daemon_has_ended(), "{}", hsm.log());
    // Not even a change is carried out, because no line could tell of it.
    let doomed = keys::data("untold").with(CKA_TOKEN, true);
    assert!(session.create(&doomed).is_err());
    disk.free();
    module.finalize().unwrap();
    hsm.initialize(&module);
    let session = user(&module, &hsm);
    check(&session, &mut [&mut ledger], "with space again");
    ledger.work(&session).unwrap();
    session.logout().unwrap();
    verified(&hsm, "with space again");
    module.finalize().unwrap();
    hsm.stop_daemon();
    let flags = std::mem::take(&mut hsm.flags);
    assert_eq!(flags.len(), 2);
    verified_at_rest(&hsm, "at the end, without its journal");
}
