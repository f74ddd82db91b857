//! Against the socket: liars, mumblers and crowds, while an honest client works on; and what a sudden end leaves behind.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::{
    Hsm, Rv, Session, USER_PIN, Way, Workplace, not_on_softhsm, pattern, template,
};
use strongroom_wire::frame::{self, Door};

use crate::keys;
use crate::second::Second;

fn connect(hsm: &Hsm) -> UnixStream {
    let stream = UnixStream::connect(hsm.socket()).expect("the socket answers");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// Sends bytes and tells whether the daemon closed the connection, or what it answered.
fn outcome(hsm: &Hsm, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = connect(hsm);
    // The daemon may close before everything is written.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => (!answer.is_empty()).then_some(answer),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("neither an answer nor an end: {error}"),
    }
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let header = frame::header(Door::Application, payload.len()).unwrap();
    [header.as_slice(), payload].concat()
}

/// Works as an honest client until told to stop; every error is one.
fn work(session: &Session<'_>, stop: &AtomicBool) -> usize {
    let value = pattern(1, 32);
    let key = keys::import_aes(session, &value);
    let expected = Aes::new(&value).ecb(&[7; 64]);
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let sealed = session.run(Way::Encrypt, CKM_AES_ECB, key, &[7; 64]);
        assert_eq!(sealed.as_ref(), Ok(&expected), "after {rounds} rounds");
        rounds += 1;
    }
    rounds
}

/// Runs `attack` while an honest client works.
fn beside_an_honest_client(place: &Workplace, attack: impl FnOnce(&Hsm)) {
    let session = place.user();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let honest = scope.spawn(|| work(&session, &stop));
        attack(&place.hsm);
        stop.store(true, Ordering::Relaxed);
        let rounds = honest.join().expect("the honest client had no error");
        assert!(rounds > 0);
        println!("{rounds} rounds of the honest client");
    });
    // And a newcomer is served.
    assert_eq!(place.public().state().unwrap(), CKS_RW_USER_FUNCTIONS);
}

#[test]
fn frames_that_lie() {
    let place = Workplace::open();
    if not_on_softhsm("no socket") {
        return;
    }
    beside_an_honest_client(&place, |hsm| {
        let good = framed(&[0; 18]);
        let mut frames: Vec<Vec<u8>> = vec![
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            vec![0; 12],
            vec![0xff; 12],
            vec![0; 100_000],
            pattern(3, 5000),
            frame::header(Door::Admin, 0).unwrap().to_vec(),
        ];
        // Every bit of the header, one at a time: a length that is too large waits for bytes that never come, and ends with them.
        for bit in 0..96 {
            let mut frame = good.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            frames.push(frame);
        }
        for length in [0_u32, 1, u32::MAX, 72 << 20, (72 << 20) + 1] {
            let mut frame = good.clone();
            frame[8..12].copy_from_slice(&length.to_le_bytes());
            frames.push(frame);
        }
        for frame in frames {
            let _ = outcome(hsm, &frame);
        }
    });
}

#[test]
fn payloads_that_are_none() {
    let place = Workplace::open();
    if not_on_softhsm("no socket") {
        return;
    }
    beside_an_honest_client(&place, |hsm| {
        // Each number of a request, and many that are none, with nothing, zeros, ones and rubbish behind.
        for number in 0..=255_u8 {
            for rest in [
                Vec::new(),
                vec![0; 40],
                vec![0xff; 40],
                pattern(u64::from(number), 200),
            ] {
                let _ = outcome(hsm, &framed(&[&[number], rest.as_slice()].concat()));
            }
        }
        for seed in 0..300 {
            let rubbish = pattern(seed, 1 + (seed as usize * 37) % 3000);
            let _ = outcome(hsm, &framed(&rubbish));
        }
        // The same after a good greeting: the first message of a connection is number zero, sixteen bytes and a flag.
        let mut greeting = vec![0];
        greeting.extend([9; 16]);
        greeting.push(0);
        let greeting = framed(&greeting);
        for number in 0..=120_u8 {
            for rest in [
                Vec::new(),
                vec![0; 60],
                vec![0xff; 60],
                pattern(u64::from(number) + 500, 120),
            ] {
                let message = framed(&[&[number], rest.as_slice()].concat());
                let _ = outcome(hsm, &[greeting.as_slice(), &message].concat());
            }
        }
    });
}

#[test]
fn half_frames_and_silence() {
    let place = Workplace::open();
    if not_on_softhsm("no socket") {
        return;
    }
    beside_an_honest_client(&place, |hsm| {
        let good = framed(&[0; 18]);
        let mut silent = Vec::new();
        for cut in 0..good.len() {
            let mut stream = connect(hsm);
            stream.write_all(&good[..cut]).unwrap();
            if cut % 2 == 0 {
                drop(stream);
            } else {
                silent.push(stream);
            }
        }
        // One byte at a time is slow, not wrong.
        let mut stream = connect(hsm);
        let mut greeting = vec![0];
        greeting.extend([9; 16]);
        greeting.push(0);
        for byte in framed(&greeting) {
            stream.write_all(&[byte]).unwrap();
        }
        let mut header = [0; frame::HEADER_BYTES];
        stream
            .read_exact(&mut header)
            .expect("an answer to a slow greeting");
        assert!(frame::parse_header(Door::Application, header).is_ok());
        drop(silent);
    });
}

#[test]
fn a_thousand_connections() {
    let place = Workplace::open();
    if not_on_softhsm("no socket") {
        return;
    }
    beside_an_honest_client(&place, |hsm| {
        let mut crowd = Vec::new();
        for _ in 0..1000 {
            match UnixStream::connect(hsm.socket()) {
                Ok(stream) => crowd.push(stream),
                // A daemon may refuse a crowd; it may not fall over.
                Err(error) => {
                    println!("refused after {}: {error}", crowd.len());
                    break;
                }
            }
        }
        println!("{} connections", crowd.len());
        thread::sleep(Duration::from_millis(300));
        drop(crowd);
    });
}

#[test]
fn what_a_killed_client_owned_is_gone() {
    let place = Workplace::open();
    let session = place.public();
    for round in 0..5 {
        let mut second = Second::start(&place.hsm);
        assert_eq!(second.ask("open suite"), "ok");
        assert_eq!(second.ask(&format!("login user {USER_PIN}")), "ok");
        assert!(second.ask("create mine session").starts_with("ok"));
        assert!(
            second
                .ask(&format!("create kept{round} token"))
                .starts_with("ok")
        );
        if round % 2 == 0 {
            // In the middle of its work.
            second.send("mac 60");
            thread::sleep(Duration::from_millis(50));
        }
        second.kill();
        let label = format!("kept{round}");
        assert_eq!(
            session
                .find(&template! { CKA_LABEL => label.as_str() })
                .unwrap()
                .len(),
            1
        );
    }
    assert!(
        session
            .find(&template! { CKA_LABEL => "mine" })
            .unwrap()
            .is_empty()
    );
    if not_on_softhsm("sessions are counted in each process") {
        return;
    }
    // With every session of the others gone, the token can be initialised again. The daemon learns of a death a moment after it.
    session.close().unwrap();
    let begin = Instant::now();
    loop {
        let again = place
            .module
            .init_token(place.slot, strongroom_tests::SO_PIN, "again");
        if again != Err(Rv(CKR_SESSION_EXISTS)) {
            again.unwrap();
            break;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "sessions of the dead are still there"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_committed_object_survives_kill_nine_and_a_session_object_does_not() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    for round in 0..6 {
        let session = place.user();
        let label = format!("committed {round}");
        session
            .create(
                &keys::data(&label)
                    .with(CKA_TOKEN, true)
                    .with(CKA_PRIVATE, round % 2 == 0),
            )
            .unwrap();
        let key = keys::protected_aes()
            .with(CKA_TOKEN, true)
            .with(CKA_LABEL, format!("key {round}"));
        let key = session.generate(CKM_AES_KEY_GEN, &key).unwrap();
        let sealed = session
            .run(Way::Encrypt, CKM_AES_ECB, key, &[5; 16])
            .unwrap();
        session.create(&keys::data("uncommitted")).unwrap();
        let doomed = session
            .create(&keys::data("destroyed").with(CKA_TOKEN, true))
            .unwrap();
        session.destroy(doomed).unwrap();
        // At once: what was answered is on the disk.
        place.hsm.kill_daemon();
        let _ = place.module.finalize();
        place.hsm.start_daemon();
        place.hsm.initialize(&place.module);
        place.slot = place.module.slot_labelled("suite").unwrap();
        let session = place.user();
        for earlier in 0..=round {
            let label = format!("committed {earlier}");
            let found = session
                .find(&template! { CKA_LABEL => label.as_str() })
                .unwrap();
            assert_eq!(found.len(), 1, "{label} after kill {round}");
        }
        assert!(
            session
                .find(&template! { CKA_LABEL => "uncommitted" })
                .unwrap()
                .is_empty()
        );
        assert!(
            session
                .find(&template! { CKA_LABEL => "destroyed" })
                .unwrap()
                .is_empty()
        );
        let label = format!("key {round}");
        let key = session
            .find(&template! { CKA_LABEL => label.as_str() })
            .unwrap()[0];
        assert_eq!(
            session
                .run(Way::Encrypt, CKM_AES_ECB, key, &[5; 16])
                .unwrap(),
            sealed
        );
        session.close().unwrap();
    }
}

#[test]
fn killed_in_the_middle_of_writing() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    for round in 0..5_u64 {
        let answered = AtomicU64::new(0);
        let made = thread::scope(|scope| {
            let session = place.user();
            let counter = &answered;
            let writer = scope.spawn(move || {
                let mut made = 0;
                loop {
                    let label = format!("round {round} object {made}");
                    if session
                        .create(&keys::data(&label).with(CKA_TOKEN, true))
                        .is_err()
                    {
                        return made;
                    }
                    made += 1;
                    counter.store(made, Ordering::SeqCst);
                }
            });
            // Killed after some objects, wherever the writer then is; however slow the machine.
            while answered.load(Ordering::SeqCst) <= 3 * round {
                thread::yield_now();
            }
            thread::sleep(Duration::from_micros(700 * round));
            let pid = place.hsm.daemon_pid().expect("a daemon");
            // SAFETY: the daemon is our own child and not yet waited for.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            writer.join().unwrap()
        });
        place.hsm.kill_daemon();
        let _ = place.module.finalize();
        place.hsm.start_daemon();
        place.hsm.initialize(&place.module);
        place.slot = place.module.slot_labelled("suite").unwrap();
        let session = place.user();
        println!("round {round}: {made} objects were answered");
        assert!(made > 0);
        for number in 0..made {
            let label = format!("round {round} object {number}");
            let found = session
                .find(&template! { CKA_LABEL => label.as_str() })
                .unwrap();
            assert_eq!(found.len(), 1, "{label} was answered and is gone");
            assert_eq!(
                session.attribute(found[0], CKA_VALUE).unwrap(),
                b"value",
                "{label}"
            );
        }
        session.close().unwrap();
    }
}

#[test]
fn an_application_lives_through_a_restart_of_the_daemon() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let handle = place.user().handle;
    place.hsm.stop_daemon();
    place.hsm.start_daemon();
    // What was in flight may fail; then the session goes on, or a new one can be opened and logged in without C_Finalize.
    let session = Session {
        module: &place.module,
        handle,
    };
    let first = session.state();
    println!("the first call after the restart: {first:?}");
    let begin = Instant::now();
    loop {
        let slot = place.module.slot_labelled("suite");
        let answer = slot.map(|slot| Session::open_rw(&place.module, slot));
        if let Some(Ok(fresh)) = answer {
            match fresh.login(CKU_USER, USER_PIN) {
                Ok(()) => {}
                Err(code) => assert_eq!(code.0, CKR_USER_ALREADY_LOGGED_IN, "{code:?}"),
            }
            let key = fresh
                .generate(CKM_AES_KEY_GEN, &keys::protected_aes())
                .unwrap();
            fresh.run(Way::Encrypt, CKM_AES_ECB, key, &[1; 16]).unwrap();
            break;
        }
        let answer = answer.map(|opened| opened.map(|session| session.handle));
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "the module does not come back: {answer:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
