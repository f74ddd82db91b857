//! Bounds as an application meets them: the tries of PINs, what waits after wrong ones, and what a greedy client costs others.
//!
//! Times are printed; asserted are lower bounds of waits, orders of events, and ratios within one run.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Hsm, Module, Rv, SO_PIN, Session, USER_PIN, Way, Workplace, not_on_softhsm, pattern,
};

use crate::keys;

const WRONG: &str = "wrong-pin-000";

/// What C_GetTokenInfo says of the PINs of the user and of the officer: whether their count is low, the next try is the final one, they
/// are locked.
fn told(module: &Module) -> [[bool; 3]; 2] {
    let slot = module.slot_labelled("suite").expect("the token");
    let flags = module.token_info(slot).expect("C_GetTokenInfo").flags;
    let is = |flag| flags & flag != 0;
    [
        [
            is(CKF_USER_PIN_COUNT_LOW),
            is(CKF_USER_PIN_FINAL_TRY),
            is(CKF_USER_PIN_LOCKED),
        ],
        [
            is(CKF_SO_PIN_COUNT_LOW),
            is(CKF_SO_PIN_FINAL_TRY),
            is(CKF_SO_PIN_LOCKED),
        ],
    ]
}

/// The daemon dies and comes back, and the application begins anew.
fn after_a_kill(place: &mut Workplace) {
    place.module.finalize().unwrap();
    place.hsm.kill_daemon();
    place.hsm.start_daemon();
    place.hsm.initialize(&place.module);
    place.slot = place.module.slot_labelled("suite").unwrap();
}

#[test]
fn flags_tell_the_tries_of_both_users_at_each_step_and_after_a_kill() {
    let mut place = Workplace::open();
    if not_on_softhsm("it counts no tries") {
        return;
    }
    const NONE: [bool; 3] = [false; 3];
    for (user, most, mine) in [(CKU_USER, 10, 0), (CKU_SO, 15, 1)] {
        let other = 1 - mine;
        let untouched = told(&place.module)[other];
        assert_eq!(told(&place.module)[mine], NONE);
        for tries in 1..=most {
            let session = place.public();
            refused("wrong", session.login(user, WRONG), &[CKR_PIN_INCORRECT]);
            let expected = [true, tries == most - 1, tries == most];
            assert_eq!(
                told(&place.module)[mine],
                expected,
                "user {user}, {tries} tries"
            );
            if [1, most - 1, most].contains(&tries) {
                after_a_kill(&mut place);
                assert_eq!(
                    told(&place.module)[mine],
                    expected,
                    "after a kill, {tries} tries"
                );
            }
            assert_eq!(told(&place.module)[other], untouched);
        }
        let session = place.public();
        let right = if user == CKU_SO { SO_PIN } else { USER_PIN };
        refused(
            "right, but locked",
            session.login(user, right),
            &[CKR_PIN_LOCKED],
        );
        if user == CKU_USER {
            session.login(CKU_SO, SO_PIN).unwrap();
            session.init_pin(USER_PIN).unwrap();
            assert_eq!(
                told(&place.module),
                [NONE, NONE],
                "the officer has unlocked it"
            );
            session.logout().unwrap();
            session.login(CKU_USER, USER_PIN).unwrap();
            after_a_kill(&mut place);
            assert_eq!(told(&place.module), [NONE, NONE]);
        }
    }
}

#[test]
fn a_right_pin_between_wrong_ones_is_told_and_so_is_a_warm_wrong_one() {
    let mut place = Workplace::open();
    if not_on_softhsm("it counts no tries") {
        return;
    }
    let session = place.user();
    session.logout().unwrap();
    for tries in 1..=9 {
        refused("warm", session.login(CKU_USER, WRONG), &[CKR_PIN_INCORRECT]);
        assert_eq!(told(&place.module)[0], [true, tries == 9, false], "{tries}");
    }
    session.login(CKU_USER, USER_PIN).unwrap();
    assert_eq!(told(&place.module)[0], [false; 3]);
    session.logout().unwrap();
    // C_SetPIN with a wrong old PIN is a try as well.
    refused(
        "C_SetPIN",
        session.set_pin(WRONG, "another-pin-1"),
        &[CKR_PIN_INCORRECT],
    );
    assert_eq!(told(&place.module)[0], [true, false, false]);
    after_a_kill(&mut place);
    assert_eq!(told(&place.module)[0], [true, false, false]);
}

#[test]
fn the_least_length_of_a_pin_is_settable_and_holds_for_new_ones() {
    let place = Workplace::open();
    if not_on_softhsm("it has no such setting") {
        return;
    }
    place.hsm.configure("[limits]\npin_bytes_min = 20\n");
    assert_eq!(place.module.token_info(place.slot).unwrap().ulMinPinLen, 20);
    let session = place.user();
    refused(
        "too short",
        session.set_pin(USER_PIN, &"x".repeat(19)),
        &[CKR_PIN_LEN_RANGE],
    );
    session.set_pin(USER_PIN, &"x".repeat(20)).unwrap();
    session.logout().unwrap();
    session
        .login(CKU_SO, SO_PIN)
        .expect("one that was set before");
    refused(
        "too short",
        session.init_pin(&"x".repeat(19)),
        &[CKR_PIN_LEN_RANGE],
    );
    session.init_pin(&"x".repeat(20)).unwrap();
}

#[test]
fn after_wrong_pins_their_user_waits_whatever_connection_he_takes() {
    let place = Workplace::open();
    if not_on_softhsm("it has no such setting") {
        return;
    }
    place.hsm.configure("[limits]\nwrong_pin_delay_ms = 300\n");
    let session = place.public();
    let begin = Instant::now();
    for _ in 0..2 {
        refused(
            "wrong",
            session.login(CKU_USER, WRONG),
            &[CKR_PIN_INCORRECT],
        );
    }
    assert!(
        begin.elapsed() >= Duration::from_millis(300),
        "{:?}",
        begin.elapsed()
    );
    // Another application of the same user, with the right PIN.
    let other = place.hsm.module();
    let there = Session::open_rw(&other, place.slot).unwrap();
    there.login(CKU_USER, USER_PIN).unwrap();
    assert!(
        begin.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begin.elapsed()
    );
    // The right one has ended it.
    session.login(CKU_USER, USER_PIN).unwrap();
    other.finalize().unwrap();
}

#[test]
fn who_waits_for_a_pin_keeps_nobody_from_working() {
    let place = Workplace::open();
    if not_on_softhsm("it has no such setting") {
        return;
    }
    let honest = place.user();
    let key = keys::import_aes(&honest, &pattern(1, 32));
    place.hsm.configure("[limits]\nwrong_pin_delay_ms = 1500\n");
    let other = place.hsm.module();
    let guessing = AtomicBool::new(true);
    let rounds = thread::scope(|scope| {
        let guesser = scope.spawn(|| {
            let session = Session::open_rw(&other, place.slot).unwrap();
            for _ in 0..2 {
                refused(
                    "wrong",
                    session.login(CKU_USER, WRONG),
                    &[CKR_PIN_INCORRECT],
                );
            }
            guessing.store(false, Ordering::SeqCst);
        });
        let mut rounds = 0;
        while guessing.load(Ordering::SeqCst) {
            honest
                .run(Way::Encrypt, CKM_AES_ECB, key, &[7; 64])
                .unwrap();
            assert!(honest.state().is_ok());
            rounds += 1;
        }
        guesser.join().unwrap();
        rounds
    });
    assert!(rounds > 50, "{rounds} rounds beside one who waits");
    other.finalize().unwrap();
}

/// Lets every user of the machine reach the module and the socket.
fn open_to_all(hsm: &Hsm) {
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&hsm.home, 0o755);
    mode(&hsm.socket(), 0o666);
}

#[test]
fn another_user_of_the_machine_does_not_wait_for_a_guesser() {
    let place = Workplace::open();
    if not_on_softhsm("it has no such setting") {
        return;
    }
    // SAFETY: geteuid reads one number and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        println!("left out: only root can be two users");
        return;
    }
    place
        .hsm
        .configure("[limits]\nwrong_pin_delay_ms = 20000\n");
    open_to_all(&place.hsm);
    let session = place.public();
    refused(
        "wrong",
        session.login(CKU_USER, WRONG),
        &[CKR_PIN_INCORRECT],
    );
    let (answered, honest) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            // It waits twenty seconds, and is given up when the daemon ends.
            let _ = session.login(CKU_USER, WRONG);
            answered.store(true, Ordering::SeqCst);
        });
        let copy = place.hsm.home.join("stranger");
        std::fs::copy(env!("CARGO_BIN_EXE_stranger"), &copy).unwrap();
        let module = place.hsm.home.join("module.so");
        std::fs::copy(strongroom_tests::hsm::module_path(), &module).unwrap();
        let mut stranger = place.hsm.command(&copy);
        let mut stranger = stranger
            .arg(&module)
            .uid(65_534)
            .gid(65_534)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        {
            use std::io::Write as _;
            let mut commands = stranger.stdin.take().unwrap();
            writeln!(commands, "initialize\nopen suite\nlogin user {USER_PIN}").unwrap();
        }
        let output = stranger.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        honest.store(!answered.load(Ordering::SeqCst), Ordering::SeqCst);
        let hsm = &place.hsm;
        // SAFETY: the daemon is a child of this test that nobody has waited for.
        unsafe { libc::kill(hsm.daemon_pid().unwrap() as i32, libc::SIGTERM) };
        assert_eq!(text, "ok \nok \nok \n");
    });
    assert!(honest.into_inner(), "the other user was answered first");
}

/// What the daemon's status says of a bound: its value, what is in use, most so far.
fn row(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{status}"));
    let cells: Vec<&str> = line.split_whitespace().collect();
    cells[1..].join(" ")
}

/// The median time of an honest operation.
fn median(session: &Session<'_>, key: CK_OBJECT_HANDLE, count: usize) -> Duration {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let begin = Instant::now();
            session
                .run(Way::Sign, CKM_SHA256_HMAC, key, &[7; 64])
                .unwrap();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[count / 2]
}

/// Runs `greedy` in sixteen threads of another application, and tells the honest one's median alone and beside it, the rounds it did, and
/// the daemon's status meanwhile.
fn beside_greed(
    place: &Workplace,
    greedy: impl Fn(&Session<'_>, usize) + Sync,
) -> (Duration, Duration, usize, String) {
    let session = place.user();
    let key = keys::import_secret(&session, CKK_GENERIC_SECRET, &[9; 32]);
    let alone = median(&session, key, 400);
    let other = place.hsm.module();
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let beside = thread::scope(|scope| {
        for number in 0..16 {
            let (other, stop, rounds, greedy) = (&other, &stop, &rounds, &greedy);
            scope.spawn(move || {
                let session = Session::open_rw(other, place.slot).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    greedy(&session, number);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while rounds.load(Ordering::Relaxed) < 16 {
            thread::yield_now();
        }
        let beside = median(&session, key, 400);
        let status = place.hsm.administer(&["status"]);
        stop.store(true, Ordering::Relaxed);
        (beside, status)
    });
    other.finalize().unwrap();
    let (beside, status) = beside;
    (alone, beside, rounds.into_inner(), status)
}

#[test]
fn one_who_encrypts_sixteen_mebibytes_in_sixteen_threads_slows_himself() {
    let place = Workplace::open();
    if not_on_softhsm("it is a library") {
        return;
    }
    place
        .hsm
        .configure("[limits]\nrequests_at_once_per_application_max = 3\n");
    let data = pattern(2, 16 << 20);
    let (alone, beside, rounds, status) = beside_greed(&place, |session, _| {
        // The first of its threads logs all of them in.
        let _ = session.login(CKU_USER, USER_PIN);
        let key = keys::import_aes(session, &pattern(1, 32));
        session.run(Way::Encrypt, CKM_AES_ECB, key, &data).unwrap();
        session.destroy(key).unwrap();
    });
    println!("an honest HMAC: {alone:?} alone, {beside:?} beside {rounds} rounds of greed");
    // Of sixteen threads no more than may were ever at work at once.
    assert!(
        row(&status, "requests_at_once_per_application_max").ends_with(" 3"),
        "{status}"
    );
    assert!(
        beside < alone * GREED_MAX + Duration::from_millis(10),
        "{alone:?} alone, {beside:?} beside a greedy application"
    );
}

#[test]
fn one_who_hammers_at_logins_slows_himself() {
    if not_on_softhsm("it is a library") {
        return;
    }
    let mut place = Workplace::open();
    place.hsm.pin_cost = "default";
    let limits = "[limits]\nso_tries_max = 1000000\nwrong_pins_per_minute_max = 0\n";
    std::fs::write(place.hsm.home.join("strongroom.toml"), limits).unwrap();
    after_a_kill(&mut place);
    // PINs that cost what they cost, at a token of the greedy one's own, that nobody has opened.
    let _slot = place.module.make_token("greedy");
    after_a_kill(&mut place);
    let slot = place.module.slot_labelled("greedy").unwrap();
    let (alone, beside, rounds, status) = beside_greed(&place, |session, number| {
        let session = Session::open_rw(session.module, slot).unwrap();
        let wrong = format!("wrong-pin-{number}");
        let _ = session.login(CKU_SO, &wrong);
        session.close().unwrap();
    });
    println!("an honest HMAC: {alone:?} alone, {beside:?} beside {rounds} wrong logins");
    // All threads are of one user, so no two PINs were ever stretched at once.
    assert!(row(&status, "pins_at_once_max").ends_with(" 1"), "{status}");
    assert!(
        beside < alone * GREED_MAX + Duration::from_millis(10),
        "{alone:?} alone, {beside:?} beside a greedy application"
    );
}

/// How many times as long an honest operation may take beside a greedy application: two processors, and other tests beside this one.
const GREED_MAX: u32 = 20;

#[test]
fn bounds_are_reported_with_what_is_in_use_and_absurd_ones_refused() {
    let place = Workplace::open();
    if not_on_softhsm("it has no daemon") {
        return;
    }
    let _sessions: Vec<_> = (0..3).map(|_| place.public().state().unwrap()).collect();
    refused(
        "wrong",
        place.public().login(CKU_USER, WRONG),
        &[CKR_PIN_INCORRECT],
    );
    let text = place.hsm.administer(&["status"]);
    let row = |name| row(&text, name);
    assert_eq!(row("user_tries_max"), "10 1 -");
    assert_eq!(row("wrong_pins_per_minute_max"), "120 1 -");
    assert_eq!(row("tokens_max"), "4096 1 -");
    assert!(row("connections_max").starts_with("1024 1 "), "{text}");
    assert!(!row("sessions_max").ends_with('-'), "{text}");
    let json = place.hsm.administer(&["--json", "status"]);
    assert!(
        json.contains("\"limits\"") && json.contains("\"reason\""),
        "{json}"
    );

    place
        .hsm
        .configure("[limits]\nsessions_per_application_max = 2\n");
    let text = place.hsm.administer(&["status"]);
    assert!(text.contains("sessions_per_application_max"), "{text}");
    for absurd in [
        "pin_bytes_min = 3",
        "user_tries_max = 0",
        "frame_bytes_max = 10",
    ] {
        let path = place.hsm.home.join("strongroom.toml");
        std::fs::write(path, format!("[limits]\n{absurd}\n")).unwrap();
        let output = place.hsm.try_administer(&["reload"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("out of its range"),
            "{said}"
        );
    }
}

#[test]
fn a_token_is_full_also_before_the_first_login() {
    let mut place = Workplace::open();
    if not_on_softhsm("it has no such setting") {
        return;
    }
    let private = keys::data("private")
        .with(CKA_TOKEN, true)
        .with(CKA_PRIVATE, true);
    place.user().create(&private).unwrap();
    std::fs::write(
        place.hsm.home.join("strongroom.toml"),
        "[limits]\ntoken_objects_max = 2\n",
    )
    .unwrap();
    after_a_kill(&mut place);
    let public = keys::data("public")
        .with(CKA_TOKEN, true)
        .with(CKA_PRIVATE, false);
    let session = place.public();
    session.create(&public).unwrap();
    assert_eq!(session.create(&public), Err(Rv(CKR_DEVICE_MEMORY)));
}
