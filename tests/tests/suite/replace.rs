//! What applications see of a daemon that is replaced in place (`strongroomd --replace`): nothing.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::{Session, Way, Workplace, not_on_softhsm, pattern};

use crate::keys;

fn token_aes(session: &Session<'_>, value: &[u8]) -> CK_OBJECT_HANDLE {
    let key = keys::open_secret(CKK_AES)
        .with(CKA_TOKEN, true)
        .with(CKA_VALUE, value);
    session.create(&key).unwrap()
}

/// Strangers that only connect: whoever is refused panics.
fn connect_until(stop: &AtomicBool, socket: &Path) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        UnixStream::connect(socket).unwrap_or_else(|error| panic!("connection {count}: {error}"));
        count += 1;
        thread::sleep(Duration::from_millis(1));
    }
    count
}

#[test]
fn twenty_replacements_under_load_without_a_refused_connection_or_an_error() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let value = pattern(1, 32);
    let session = place.user();
    let aes = token_aes(&session, &value);
    let handle = session.handle;
    let expected = Aes::new(&value).ecb(&[7; 64]);
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let Workplace { module, hsm, slot } = &mut place;
    let (module, slot) = (&*module, *slot);
    let socket = hsm.socket();
    thread::scope(|scope| {
        let (stop, rounds, expected, socket) = (&stop, &rounds, &expected, &socket);
        for _ in 0..3 {
            scope.spawn(move || {
                let session = Session { module, handle };
                let own = Session::open_rw(module, slot).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let sealed = own.run(Way::Encrypt, CKM_AES_ECB, aes, &[7; 64]);
                    assert_eq!(sealed.as_ref(), Ok(expected));
                    assert_eq!(session.state(), Ok(CKS_RW_USER_FUNCTIONS));
                    let fresh = Session::open_rw(module, slot).unwrap();
                    assert_eq!(fresh.state(), Ok(CKS_RW_USER_FUNCTIONS));
                    fresh.close().unwrap();
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let connecting = scope.spawn(move || connect_until(stop, socket));
        for number in 0..20 {
            let before = rounds.load(Ordering::Relaxed);
            assert!(hsm.replace_daemon(), "{number}:\n{}", hsm.log());
            // Somebody has been served by the new one.
            while rounds.load(Ordering::Relaxed) <= before + 3 && !connecting.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        stop.store(true, Ordering::Relaxed);
        println!("{} connections", connecting.join().unwrap());
    });
    println!("{} rounds", rounds.into_inner());
    // The files of the sockets are the last daemon's: they go with it.
    assert!(socket.exists());
    place.hsm.stop_daemon();
    assert!(!socket.exists() && !place.hsm.home.join("admin.sock").exists());
}

#[test]
fn a_new_daemon_that_cannot_open_the_root_key_leaves_the_old_one_alone() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let session = place.user();
    let missing = place.hsm.home.join("no-such-passphrase");
    let flags = ["--replace", "--passphrase-file", missing.to_str().unwrap()];
    let status = place.hsm.spawn(&flags).wait().unwrap();
    assert!(!status.success());
    assert!(place.hsm.log().contains("nothing has changed"));
    assert_eq!(session.state(), Ok(CKS_RW_USER_FUNCTIONS));
    assert!(place.hsm.replace_daemon(), "and the next one takes over");
}

#[test]
fn a_new_daemon_that_fails_after_the_old_one_let_go_is_no_end() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let handle = place.user().handle;
    // Its journal cannot be opened: it finds that out only once the old one has let go.
    let journal = place.hsm.home.join("a-directory");
    std::fs::create_dir(&journal).unwrap();
    let flags = ["--replace", "--journal", journal.to_str().unwrap()];
    let status = place.hsm.spawn(&flags).wait().unwrap();
    assert!(!status.success());
    let module = &place.module;
    let session = Session { module, handle };
    assert_eq!(session.state(), Ok(CKS_RW_USER_FUNCTIONS));
    assert!(place.hsm.log().contains("this one goes on"));
    assert!(place.hsm.replace_daemon(), "and the next one takes over");
    assert_eq!(
        Session {
            module: &place.module,
            handle
        }
        .state(),
        Ok(CKS_RW_USER_FUNCTIONS)
    );
}

#[test]
fn where_no_daemon_runs_a_replacement_is_a_start() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let handle = place.user().handle;
    place.hsm.stop_daemon();
    let mut child = place.hsm.spawn(&["--replace"]);
    let module = &place.module;
    let session = Session { module, handle };
    assert_eq!(session.state(), Ok(CKS_RW_USER_FUNCTIONS));
    // SAFETY: our own child, not yet waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert!(child.wait().unwrap().success());
}
