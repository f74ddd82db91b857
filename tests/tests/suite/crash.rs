//! SIGKILL under load, round after round: what was answered is there, nothing is half there, no try of a PIN is forgotten.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_tests::{Hsm, Module, Rv, Session, USER_PIN, not_on_softhsm, pattern};

use crate::ledger::{Ledger, Tries, check, verified, verified_at_rest};

/// How many rounds: `STRONGROOM_CRASH_ROUNDS`; else as many as fit into a minute, and not fewer than a hundred.
struct Rounds {
    wanted: Option<u64>,
    begin: Instant,
}

impl Rounds {
    fn new() -> Self {
        let wanted = std::env::var("STRONGROOM_CRASH_ROUNDS").ok();
        Self {
            wanted: wanted.map(|text| text.parse().expect("STRONGROOM_CRASH_ROUNDS is a number")),
            begin: Instant::now(),
        }
    }

    fn go_on(&self, done: u64) -> bool {
        match self.wanted {
            Some(wanted) => done < wanted,
            None => done < FLOOR || self.begin.elapsed() < Duration::from_mins(1),
        }
    }
}

const FLOOR: u64 = 100;

/// One application each, so that their requests meet in the daemon.
struct Applications {
    makers: [Module; 2],
    guesser: Module,
}

impl Applications {
    fn begin(&self, hsm: &Hsm) {
        for module in self.makers.iter().chain([&self.guesser]) {
            hsm.initialize(module);
        }
    }

    fn end(&self) {
        for module in self.makers.iter().chain([&self.guesser]) {
            let _ = module.finalize();
        }
    }
}

/// A session that is logged in; an error when the daemon is gone already.
fn user<'m>(module: &'m Module, label: &str) -> Result<Session<'m>, Rv> {
    let session = public(module, label)?;
    session.login(CKU_USER, USER_PIN)?;
    Ok(session)
}

fn public<'m>(module: &'m Module, label: &str) -> Result<Session<'m>, Rv> {
    let slot = module.slot_labelled(label).ok_or(Rv(CKR_DEVICE_ERROR))?;
    Session::open_rw(module, slot)
}

#[test]
fn killed_under_load_again_and_again() {
    if not_on_softhsm("no daemon") {
        return;
    }
    let mut hsm = Hsm::start();
    let applications = Applications {
        makers: [hsm.load(), hsm.load()],
        guesser: hsm.load(),
    };
    applications.begin(&hsm);
    for label in ["load", "guessed"] {
        let slot = applications.guesser.make_token(label);
        applications.guesser.close_all(slot).unwrap();
    }
    let mut ledgers = [Ledger::new("one"), Ledger::new("two")];
    let mut tries = Tries::default();
    let mut guesses = 0;
    let rounds = Rounds::new();
    let mut done = 0;
    while rounds.go_on(done) {
        let (answered, killed) = (AtomicU64::new(0), AtomicBool::new(false));
        // Nobody must wait for ever for a worker that failed.
        let patience = Instant::now();
        thread::scope(|scope| {
            for (module, ledger) in applications.makers.iter().zip(&mut ledgers) {
                let (answered, killed) = (&answered, &killed);
                scope.spawn(move || {
                    let mut working = || -> Result<(), Rv> {
                        let session = user(module, "load")?;
                        loop {
                            ledger.work(&session)?;
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                    };
                    let error = working().expect_err("it works until an error");
                    if !killed.load(Ordering::SeqCst) {
                        panic!("{error:?} before the daemon was killed");
                    }
                });
            }
            let (guesser, tries, guesses) = (&applications.guesser, &mut tries, &mut guesses);
            scope.spawn(move || {
                let Ok(session) = public(guesser, "guessed") else {
                    return;
                };
                for _ in 0..=done % 3 {
                    if tries.make(&session).is_err() {
                        return;
                    }
                    *guesses += 1;
                }
            });
            // Wherever they then are; however slow the machine.
            let chance = pattern(done, 2);
            while answered.load(Ordering::SeqCst) < 1 + u64::from(chance[0] % 4) {
                thread::yield_now();
                if patience.elapsed() > Duration::from_mins(1) {
                    break;
                }
            }
            thread::sleep(Duration::from_micros(u64::from(chance[1]) * 40));
            killed.store(true, Ordering::SeqCst);
            let pid = hsm.daemon_pid().expect("a daemon");
            // SAFETY: the daemon is our own child and not yet waited for.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        });
        hsm.kill_daemon();
        applications.end();
        let when = format!("after kill {}", done + 1);
        if done % 100 == 50 {
            verified_at_rest(&hsm, &when);
        }
        hsm.start_daemon();
        applications.begin(&hsm);
        let session = user(&applications.makers[0], "load").unwrap();
        let [one, two] = &mut ledgers;
        check(&session, &mut [one, two], &when);
        session.logout().unwrap();
        session.close().unwrap();
        let slot = applications
            .guesser
            .slot_labelled("guessed")
            .expect("the token");
        tries.check(&applications.guesser, slot, &when);
        if done % 25 == 0 {
            verified(&hsm, &when);
        }
        done += 1;
        if done.is_multiple_of(100) {
            let [one, two] = &ledgers;
            println!("{done} kills, {} answers", one.answers + two.answers);
        }
    }
    verified(&hsm, "at the end");
    applications.end();
    hsm.stop_daemon();
    verified_at_rest(&hsm, "at the end");
    let [one, two] = &ledgers;
    println!(
        "{done} rounds of SIGKILL in {} s: {} changes were answered, {} wrong PINs; {} objects are there",
        rounds.begin.elapsed().as_secs(),
        one.answers + two.answers,
        guesses,
        one.certain() + two.certain()
    );
}
