//! What applications see of a daemon that is killed and started again: nothing but `CKR_DEVICE_ERROR` for the call in flight.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::{
    Hsm, Module, Rv, SO_PIN, Session, USER_PIN, Way, Workplace, not_on_softhsm, pattern, template,
};
use strongroom_wire::ck::{Rv as WireRv, UserType};
use strongroom_wire::codec;
use strongroom_wire::frame::{self, Door};
use strongroom_wire::request::{Request, SessionHandle, SlotId};
use strongroom_wire::response::{Answer, Body};
use strongroom_wire::secret::Secret;

use crate::keys;
use crate::second::Second;

const GONE: Rv = Rv(CKR_DEVICE_ERROR);

fn restart(hsm: &mut Hsm) {
    hsm.kill_daemon();
    hsm.start_daemon();
}

/// A key that stays: private, for AES.
fn token_aes(session: &Session<'_>, value: &[u8]) -> CK_OBJECT_HANDLE {
    let key = keys::open_secret(CKK_AES)
        .with(CKA_TOKEN, true)
        .with(CKA_VALUE, value);
    session.create(&key).unwrap()
}

/// A pair on P-256 that stays: public, private.
fn token_pair(session: &Session<'_>) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let public = template! {
        CKA_TOKEN => true,
        CKA_PRIVATE => false,
        CKA_VERIFY => true,
        CKA_EC_PARAMS => Curve::P256.parameters(),
    };
    let private = template! {
        CKA_TOKEN => true,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => true,
        CKA_SIGN => true,
    };
    session
        .generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &private)
        .unwrap()
}

/// What one worker saw.
#[derive(Debug, Default)]
struct Seen {
    rounds: usize,
    refusals: Vec<Rv>,
}

/// Works round after round; a refusal is noted, and the next round begins.
fn work(stop: &AtomicBool, mut round: impl FnMut(usize) -> Result<(), Rv>) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        match round(seen.rounds) {
            Ok(()) => {}
            Err(refusal) => seen.refusals.push(refusal),
        }
        seen.rounds += 1;
    }
    seen
}

#[test]
fn a_daemon_killed_under_load_costs_each_thread_at_most_the_call_in_flight() {
    const KILLS: usize = 20;
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let value = pattern(1, 32);
    let (module, slot) = (&place.module, place.slot);
    let handle = Session::open_rw(module, slot).unwrap();
    handle.login(CKU_USER, USER_PIN).unwrap();
    let aes = token_aes(&handle, &value);
    let (public, private) = token_pair(&handle);
    let expected = Aes::new(&value).ecb(&[7; 64]);
    let stop = AtomicBool::new(false);
    // Opened before the first kill, however late their threads begin.
    let [one, two, three, four] = [(); 4].map(|()| Session::open_rw(module, slot).unwrap());
    let (mut made, hsm) = (Vec::new(), &mut place.hsm);
    let all = thread::scope(|scope| {
        let stop = &stop;
        let encrypting = scope.spawn(move || {
            let session = one;
            work(stop, |_| {
                let sealed = session.run(Way::Encrypt, CKM_AES_ECB, aes, &[7; 64])?;
                assert_eq!(sealed, expected);
                Ok(())
            })
        });
        let signing = scope.spawn(move || {
            let session = two;
            work(stop, |round| {
                let hash = pattern(round as u64, 32);
                let signature = session.run(Way::Sign, CKM_ECDSA, private, &hash)?;
                session.verify(CKM_ECDSA, public, &hash, &signature)
            })
        });
        let finding = scope.spawn(move || {
            let session = three;
            work(stop, |_| {
                let all = template! { CKA_CLASS => CKO_PRIVATE_KEY };
                session.find_init(&all)?;
                let found = session.find_next(10);
                // Whatever came of it, the search can be ended.
                session.find_final()?;
                assert_eq!(found?, [private]);
                Ok(())
            })
        });
        let opening = scope.spawn(move || {
            work(stop, |_| {
                let session = Session::open_rw(module, slot)?;
                let state = session.state();
                session.close()?;
                assert_eq!(state?, CKS_RW_USER_FUNCTIONS);
                Ok(())
            })
        });
        let made = &mut made;
        let creating = scope.spawn(move || {
            let session = four;
            work(stop, |round| {
                let label = format!("made {round}");
                session.create(&keys::data(&label).with(CKA_TOKEN, true))?;
                made.push(label);
                thread::sleep(Duration::from_millis(3));
                Ok(())
            })
        });
        for kill in 0..KILLS {
            thread::sleep(Duration::from_millis(20 + 7 * kill as u64));
            restart(hsm);
        }
        thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        [
            ("encrypting", encrypting),
            ("signing", signing),
            ("finding", finding),
            ("opening", opening),
            ("creating", creating),
        ]
        .map(|(name, worker)| (name, worker.join().unwrap()))
    });
    for (name, seen) in all {
        let Seen { rounds, refusals } = seen;
        println!("{name}: {rounds} rounds, {} in flight", refusals.len());
        assert!(
            refusals.iter().all(|refusal| *refusal == GONE),
            "{name}: {refusals:?}"
        );
        assert!(refusals.len() <= KILLS, "{name}: {refusals:?}");
        assert!(rounds > KILLS, "{name}: {rounds}");
    }
    // The session of before goes on, and nothing that was answered is lost.
    assert_eq!(handle.state().unwrap(), CKS_RW_USER_FUNCTIONS);
    for label in &made {
        let found = handle.find(&template! { CKA_LABEL => label.as_str() });
        assert_eq!(found.unwrap().len(), 1, "{label}");
    }
}

#[test]
fn sessions_logins_and_handles_go_on_without_a_word() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let session = place.user().handle;
    let (public, private) = token_pair(&place.user());
    for round in 0..3 {
        restart(&mut place.hsm);
        let session = Session {
            module: &place.module,
            handle: session,
        };
        let hash = pattern(round, 32);
        let signature = session.run(Way::Sign, CKM_ECDSA, private, &hash).unwrap();
        let verified = session.verify(CKM_ECDSA, public, &hash, &signature);
        assert_eq!(verified, Ok(()));
        assert_eq!(session.state().unwrap(), CKS_RW_USER_FUNCTIONS);
        // A session that is opened now is logged in as well, and so is one that was never used before.
        assert_eq!(place.public().state().unwrap(), CKS_RW_USER_FUNCTIONS);
        assert_eq!(
            session.login(CKU_USER, USER_PIN),
            Err(Rv(CKR_USER_ALREADY_LOGGED_IN))
        );
    }
    // With its end the daemon has written all lines into the file.
    place.hsm.stop_daemon();
    let journal = std::fs::read_to_string(place.hsm.home.join("audit.jsonl")).unwrap();
    assert_eq!(journal.matches("\"login.restored\"").count(), 3);
    assert_eq!(journal.matches("\"C_Login\"").count(), 1 + 2 + 3);
}

#[test]
fn the_officer_stays_logged_in() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let handle = place.public().handle;
    let session = |place: &Workplace| -> CK_STATE {
        let module = &place.module;
        Session { module, handle }.state().unwrap()
    };
    place.public().login(CKU_SO, SO_PIN).unwrap();
    restart(&mut place.hsm);
    assert_eq!(session(&place), CKS_RW_SO_FUNCTIONS);
    assert_eq!(
        Session::open_ro(&place.module, place.slot).err(),
        Some(Rv(CKR_SESSION_READ_WRITE_SO_EXISTS))
    );
}

#[test]
fn what_was_begun_is_begun_again_unless_it_was_given_data() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let value = pattern(2, 32);
    let handle = place.user().handle;
    let aes = token_aes(&place.user(), &value);
    let mortal = keys::import_aes(&place.user(), &value);
    let expected = Aes::new(&value).ecb(&[7; 32]);
    let Workplace { module, hsm, .. } = &mut place;
    let session = Session {
        module: &*module,
        handle,
    };
    // Only begun: it goes on.
    session.begin(Way::Encrypt, CKM_AES_ECB, aes).unwrap();
    restart(hsm);
    let (code, length, sealed) = session.one_shot(Way::Encrypt, &[7; 32], Some(64));
    assert_eq!((code.ok(), &sealed[..length]), (Ok(()), &expected[..]));
    // Only its length was asked: likewise.
    session.begin(Way::Encrypt, CKM_AES_ECB, aes).unwrap();
    assert_eq!(session.one_shot(Way::Encrypt, &[7; 32], None).1, 32);
    restart(hsm);
    let (code, length, sealed) = session.one_shot(Way::Encrypt, &[7; 32], Some(64));
    assert_eq!((code.ok(), &sealed[..length]), (Ok(()), &expected[..]));
    // With data: it is over, which is told once.
    session.begin(Way::Encrypt, CKM_AES_ECB, aes).unwrap();
    assert_eq!(
        session.update(Way::Encrypt, &[7; 16], Some(64)).0,
        Rv(CKR_OK)
    );
    restart(hsm);
    assert_eq!(session.update(Way::Encrypt, &[7; 16], Some(64)).0, GONE);
    assert_eq!(
        session.finish(Way::Encrypt, Some(64)).0,
        Rv(CKR_OPERATION_NOT_INITIALIZED)
    );
    assert_eq!(
        session
            .run(Way::Encrypt, CKM_AES_ECB, aes, &[7; 32])
            .as_ref(),
        Ok(&expected)
    );
    // A digest, in parts and not.
    session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
    assert_eq!(session.update(Way::Digest, b"half", None).0, Rv(CKR_OK));
    restart(hsm);
    assert_eq!(session.finish(Way::Digest, Some(64)).0, GONE);
    // A search that has given out nothing, and one that has.
    let all = template! { CKA_CLASS => CKO_SECRET_KEY };
    session.find_init(&all).unwrap();
    restart(hsm);
    assert_eq!(session.find_next(10), Ok(vec![aes]));
    restart(hsm);
    assert_eq!(session.find_next(10), Err(GONE));
    assert_eq!(session.find_final(), Ok(()));
    assert_eq!(session.find(&all), Ok(vec![aes]));
    // An operation that waits for a session object waits for ever.
    let doomed = keys::import_aes(&session, &value);
    session.begin(Way::Encrypt, CKM_AES_ECB, doomed).unwrap();
    restart(hsm);
    assert_eq!(session.one_shot(Way::Encrypt, &[7; 32], Some(64)).0, GONE);
    assert_eq!(
        session.begin(Way::Encrypt, CKM_AES_ECB, doomed),
        Err(Rv(CKR_KEY_HANDLE_INVALID))
    );
    assert_eq!(
        session.attribute(mortal, CKA_LABEL),
        Err(Rv(CKR_OBJECT_HANDLE_INVALID))
    );
    session.begin(Way::Encrypt, CKM_AES_ECB, aes).unwrap();
}

#[test]
fn a_login_that_has_ended_stays_ended() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let session = place.user();
    session.logout().unwrap();
    let handle = session.handle;
    restart(&mut place.hsm);
    let module = &place.module;
    let session = Session { module, handle };
    assert_eq!(session.state(), Ok(CKS_RW_PUBLIC_SESSION));
    session.login(CKU_USER, USER_PIN).unwrap();
    // The last session closes, and the login ends with it.
    session.close().unwrap();
    restart(&mut place.hsm);
    assert_eq!(place.public().state(), Ok(CKS_RW_PUBLIC_SESSION));
    let _ = place.user();
    place.module.close_all(place.slot).unwrap();
    restart(&mut place.hsm);
    assert_eq!(place.public().state(), Ok(CKS_RW_PUBLIC_SESSION));
    let _ = place.user();
    place.module.finalize().unwrap();
    place.hsm.initialize(&place.module);
    assert_eq!(place.public().state(), Ok(CKS_RW_PUBLIC_SESSION));
}

#[test]
fn a_logout_between_two_daemons_is_one() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let handle = place.user().handle;
    restart(&mut place.hsm);
    let module = &place.module;
    let session = Session { module, handle };
    assert_eq!(session.logout(), Ok(()));
    assert_eq!(session.state(), Ok(CKS_RW_PUBLIC_SESSION));
    assert_eq!(session.logout(), Err(Rv(CKR_USER_NOT_LOGGED_IN)));
}

#[test]
fn a_changed_pin_ends_the_logins_of_others_at_the_next_start_and_not_ones_own() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let mut other = Second::start(&place.hsm);
    assert_eq!(other.ask("open suite"), "ok");
    assert_eq!(other.ask(&format!("login user {USER_PIN}")), "ok");
    let handle = place.user().handle;
    place.user().set_pin(USER_PIN, "another-pin").unwrap();
    restart(&mut place.hsm);
    let module = &place.module;
    let session = Session { module, handle };
    assert_eq!(session.state(), Ok(CKS_RW_USER_FUNCTIONS));
    assert_eq!(other.ask("state"), format!("ok {CKS_RW_PUBLIC_SESSION}"));
}

#[test]
fn one_applications_login_is_not_anothers() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let mut other = Second::start(&place.hsm);
    assert_eq!(other.ask("open suite"), "ok");
    let handle = place.user().handle;
    for _ in 0..2 {
        restart(&mut place.hsm);
        let module = &place.module;
        let session = Session { module, handle };
        assert_eq!(session.state(), Ok(CKS_RW_USER_FUNCTIONS));
        assert_eq!(other.ask("state"), format!("ok {CKS_RW_PUBLIC_SESSION}"));
    }
}

#[test]
fn calls_wait_for_a_daemon_that_comes_back_and_not_for_ever() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let handle = place.user().handle;
    let Workplace { module, hsm, .. } = &mut place;
    let session = Session {
        module: &*module,
        handle,
    };
    hsm.kill_daemon();
    // A call that follows the last one within a tick is as good as in flight.
    thread::sleep(Duration::from_millis(20));
    thread::scope(|scope| {
        let waiting = scope.spawn(move || session.state());
        thread::sleep(Duration::from_millis(300));
        hsm.start_daemon();
        assert_eq!(waiting.join().unwrap(), Ok(CKS_RW_USER_FUNCTIONS));
    });
    // As long as the file says, once for an outage.
    hsm.kill_daemon();
    std::fs::write(hsm.home.join("strongroom.toml"), "reconnect_seconds = 1\n").unwrap();
    thread::sleep(Duration::from_millis(20));
    let begin = Instant::now();
    assert_eq!(session.state(), Err(Rv(CKR_DEVICE_REMOVED)));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    for _ in 0..200 {
        assert_eq!(session.state(), Err(Rv(CKR_DEVICE_REMOVED)));
    }
    assert!(begin.elapsed() < Duration::from_mins(1), "each waits anew");
    hsm.start_daemon();
    assert_eq!(session.state(), Ok(CKS_RW_USER_FUNCTIONS));
}

/// A client that spells its requests itself.
struct Raw {
    stream: UnixStream,
    session: SessionHandle,
}

impl Raw {
    fn connect(hsm: &Hsm, instance: u8, slot: SlotId) -> Self {
        let stream = UnixStream::connect(hsm.socket()).unwrap();
        let session = SessionHandle(77);
        let mut raw = Self { stream, session };
        let instance = [instance; 16];
        assert_eq!(
            raw.ask(&Request::Hello {
                instance,
                shared_memory: false
            })
            .0,
            WireRv::OK
        );
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        let open = Request::OpenSession {
            slot,
            flags,
            session,
        };
        assert_eq!(raw.ask(&open).0, WireRv::OK);
        raw
    }

    /// The return value, and the output if there is one.
    fn ask(&mut self, request: &Request<'_>) -> (WireRv, Vec<u8>) {
        let mut payload = Vec::new();
        codec::encode(request, &mut payload).unwrap();
        let header = frame::header(Door::Application, payload.len()).unwrap();
        self.stream.write_all(&header).unwrap();
        self.stream.write_all(&payload).unwrap();
        let mut header = [0; frame::HEADER_BYTES];
        self.stream.read_exact(&mut header).unwrap();
        let mut payload = vec![0; frame::parse_header(Door::Application, header).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        let answer: Answer<'_> = codec::decode(&payload).unwrap();
        let output = match answer.body {
            Body::Output { data, .. } => data.expose().to_vec(),
            _ => Vec::new(),
        };
        (answer.rv, output)
    }

    fn login(&mut self) -> Vec<u8> {
        let (session, user) = (self.session, UserType::USER);
        let pin = Secret::new(USER_PIN.as_bytes());
        let (rv, ticket) = self.ask(&Request::Login { session, user, pin });
        assert_eq!(rv, WireRv::OK);
        ticket
    }

    fn restore(&mut self, ticket: &[u8]) -> WireRv {
        let (session, ticket) = (self.session, Secret::new(ticket));
        self.ask(&Request::RestoreLogin { session, ticket }).0
    }
}

#[test]
fn tickets_that_are_forged_altered_or_of_another_open_nothing() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let slot = SlotId(place.slot);
    let mut raw = Raw::connect(&place.hsm, 5, slot);
    let ticket = raw.login();
    assert!(!ticket.is_empty());
    restart(&mut place.hsm);
    let refused = WireRv::USER_NOT_LOGGED_IN;
    let mut other = Raw::connect(&place.hsm, 6, slot);
    assert_eq!(other.restore(&ticket), refused, "of another instance");
    let mut raw = Raw::connect(&place.hsm, 5, slot);
    for seed in 0..50 {
        assert_eq!(raw.restore(&pattern(seed, ticket.len())), refused);
    }
    for place in 0..ticket.len() {
        let mut altered = ticket.clone();
        altered[place] ^= 0x20;
        assert_eq!(raw.restore(&altered), refused, "byte {place}");
    }
    assert_eq!(raw.restore(&[]), refused);
    assert_eq!(raw.restore(&ticket), WireRv::OK);
    // A ticket is no PIN: it says nothing about tries, and after C_InitToken it says nothing at all.
    drop((raw, other));
    reinitialise(&place.module, place.slot);
    let mut raw = Raw::connect(&place.hsm, 5, slot);
    assert_eq!(raw.restore(&ticket), refused, "after C_InitToken");
}

/// The daemon learns of the end of a connection a moment after it.
fn reinitialise(module: &Module, slot: CK_SLOT_ID) {
    let begin = Instant::now();
    while module.init_token(slot, SO_PIN, "suite") == Err(Rv(CKR_SESSION_EXISTS)) {
        assert!(begin.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(5));
    }
}
