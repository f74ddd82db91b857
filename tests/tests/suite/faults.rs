//! The real daemon, killed at every step by which it changes its store, and with a disk that fails at every step.
//!
//! `tests/examples/faults.rs` is loaded into it; it counts writes, syncs, changes of length and renames of the store's file.

use std::fs;
use std::path::{Path, PathBuf};

use cryptoki_sys::*;
use strongroom_tests::{Hsm, Module, Rv, Session, USER_PIN, not_on_softhsm};

use crate::ledger::{Ledger, Tries, check, verified, verified_at_rest};

/// Cargo builds examples with the tests, beside them.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(Path::parent).unwrap();
    let library = directory.join("examples/libfaults.so");
    assert!(
        library.exists(),
        "{}: cargo builds it with --examples",
        library.display()
    );
    library
}

pub fn arm(hsm: &mut Hsm, file: &str, step: u64, times: u64, how: &str) {
    hsm.variables = vec![
        ("LD_PRELOAD", library().display().to_string()),
        ("FAULT_FILE", file.into()),
        ("FAULT_STEP", step.to_string()),
        ("FAULT_TIMES", times.to_string()),
        ("FAULT_HOW", how.into()),
    ];
}

/// An installation with two tokens, stopped; others begin as its copy.
pub struct Original {
    hsm: Hsm,
    pub module: Module,
}

impl Original {
    pub fn new() -> Self {
        let mut hsm = Hsm::start();
        let module = hsm.module();
        for label in ["load", "guessed"] {
            let _ = module.make_token(label);
        }
        module.finalize().unwrap();
        hsm.stop_daemon();
        Self { hsm, module }
    }

    pub fn copy(&self) -> Hsm {
        let copy = Hsm::at_rest();
        for name in ["store.redb", "root.key", "audit.jsonl"] {
            fs::copy(self.hsm.home.join(name), copy.home.join(name)).unwrap();
        }
        copy
    }
}

/// Wrong and right PINs, and every kind of change, until an error.
fn work(module: &Module, ledger: &mut Ledger, tries: &mut Tries) -> Result<(), Rv> {
    let slot = module
        .slot_labelled("guessed")
        .ok_or(Rv(CKR_DEVICE_ERROR))?;
    let guessing = Session::open_rw(module, slot)?;
    tries.make(&guessing)?;
    tries.make(&guessing)?;
    let slot = module.slot_labelled("load").ok_or(Rv(CKR_DEVICE_ERROR))?;
    let session = Session::open_rw(module, slot)?;
    session.login(CKU_USER, USER_PIN)?;
    for _ in 0..6 {
        ledger.work(&session)?;
    }
    session.logout()
}

/// After a restart without faults all is there.
fn restarted(hsm: &mut Hsm, module: &Module, ledger: &mut Ledger, tries: &mut Tries, when: &str) {
    hsm.variables.clear();
    verified_at_rest(hsm, when);
    hsm.start_daemon();
    hsm.initialize(module);
    let slot = module.slot_labelled("load").expect("the token");
    let session = Session::open_rw(module, slot).unwrap();
    session.login(CKU_USER, USER_PIN).unwrap();
    check(&session, &mut [ledger], when);
    // And it goes on.
    ledger.work(&session).unwrap();
    let slot = module.slot_labelled("guessed").expect("the token");
    tries.check(module, slot, when);
    verified(hsm, when);
    module.finalize().unwrap();
}

#[test]
fn killed_at_every_step_of_the_store() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let original = Original::new();
    let mut kills = 0;
    for (how, every) in [("kill", 1), ("kill-half", 3)] {
        for step in (1..).step_by(every) {
            let mut hsm = original.copy();
            arm(&mut hsm, "store.redb", step, 1, how);
            let (mut ledger, mut tries) = (Ledger::new("walk"), Tries::default());
            if hsm.try_start_daemon() {
                hsm.initialize(&original.module);
                let _ = work(&original.module, &mut ledger, &mut tries);
                let _ = original.module.finalize();
            }
            if hsm.stops_in_order() {
                // The work has fewer steps.
                assert!(step > 40, "only {step} steps");
                break;
            }
            kills += 1;
            let when = format!("{how} at step {step}");
            restarted(&mut hsm, &original.module, &mut ledger, &mut tries, &when);
        }
    }
    println!("{kills} kills");
}

#[test]
fn killed_at_every_step_of_the_first_start() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let module_of = Hsm::at_rest();
    let module = module_of.load();
    for step in 1.. {
        let mut hsm = Hsm::at_rest();
        arm(&mut hsm, "store.redb", step, 1, "kill");
        let up = hsm.try_start_daemon();
        if up && hsm.stops_in_order() {
            assert!(step > 5, "only {step} steps");
            println!("{step} steps");
            return;
        }
        hsm.variables.clear();
        hsm.start_daemon();
        hsm.initialize(&module);
        let _ = module.make_token("first");
        verified(&hsm, &format!("step {step} of the first start"));
        module.finalize().unwrap();
    }
}

#[test]
fn a_disk_that_fails_at_any_step_is_an_error_of_the_device_and_the_daemon_goes_on() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let original = Original::new();
    let module = &original.module;
    let mut errors = 0;
    for (how, code) in [("eio", CKR_DEVICE_ERROR), ("enospc", CKR_DEVICE_MEMORY)] {
        // Every third step; each is met by the tests of the store itself.
        for step in (1..).step_by(3) {
            let mut hsm = original.copy();
            arm(&mut hsm, "store.redb", step, 1, how);
            let (mut ledger, mut tries) = (Ledger::new("walk"), Tries::default());
            let when = format!("{how} at step {step}");
            if !hsm.try_start_daemon() {
                errors += 1;
                restarted(&mut hsm, module, &mut ledger, &mut tries, &when);
                continue;
            }
            hsm.initialize(module);
            let outcome = work(module, &mut ledger, &mut tries);
            if let Err(answered) = outcome {
                errors += 1;
                assert_eq!(answered, Rv(code), "{when}");
                assert!(!hsm.daemon_has_ended(), "{when}:\n{}", hsm.log());
                module.finalize().unwrap();
                hsm.initialize(module);
                let slot = module.slot_labelled("load").expect("the token");
                let session = Session::open_rw(module, slot).unwrap();
                session.login(CKU_USER, USER_PIN).unwrap();
                // Nothing is in doubt: it was answered that nothing happened.
                ledger.was_refused(&session);
                check(&session, &mut [&mut ledger], &when);
                ledger.work(&session).unwrap();
                session.logout().unwrap();
            }
            module.finalize().unwrap();
            let _ = hsm.stops_in_order();
            let failed = hsm.log().contains("failed");
            restarted(&mut hsm, module, &mut ledger, &mut tries, &when);
            if outcome.is_ok() && !failed && step > 40 {
                break;
            }
        }
    }
    println!("{errors} errors");
    assert!(errors > 20);
}

#[test]
fn a_journal_that_cannot_be_written_is_an_error_of_the_device_and_nothing_is_done() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let original = Original::new();
    let module = &original.module;
    for how in ["eio", "enospc"] {
        // From its second reservation on: the first is that of the start.
        for step in 1..6 {
            let mut hsm = original.copy();
            arm(&mut hsm, "audit.jsonl", step, u64::MAX / 2, how);
            let when = format!("{how} of the journal from step {step}");
            let (mut ledger, mut tries) = (Ledger::new("walk"), Tries::default());
            if hsm.try_start_daemon() {
                hsm.initialize(module);
                let outcome = work(module, &mut ledger, &mut tries);
                if let Err(answered) = outcome {
                    let of_device = [CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY];
                    assert!(of_device.contains(&answered.0), "{when}: {answered:?}");
                }
                assert!(!hsm.daemon_has_ended(), "{when}:\n{}", hsm.log());
                let _ = module.finalize();
                hsm.kill_daemon();
            }
            restarted(&mut hsm, module, &mut ledger, &mut tries, &when);
        }
    }
}
