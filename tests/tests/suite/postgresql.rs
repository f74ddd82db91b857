//! PostgreSQL whose TLS needs the token: the passphrase of its key file unwrapped there, and stunnel in front with its key there.
//!
//! A program that is not installed is a failure: `tests/APT_PACKAGES` lists the packages. What one page can show is shown by
//! `docs/tde/postgresql.md`, which is run.

use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_tests::postgresql::{Crowd, Server, Talk, open_to_all};
use strongroom_tests::{USER_PIN, Workplace, not_on_softhsm};

use crate::keys;

const HOLDER: &str = "SELECT holder FROM card";

/// A server that runs, on a token with the key of its passphrase; none on SoftHSM, whose tokens are files of one user.
fn furnished() -> Option<(Server, Workplace)> {
    if not_on_softhsm("it has no daemon that could be away") {
        return None;
    }
    let place = Workplace::open();
    let template = keys::protected_aes()
        .with(CKA_TOKEN, true)
        .with(CKA_PRIVATE, true)
        .with(CKA_LABEL, "postgresql")
        .with(CKA_ID, vec![0x10]);
    place.user().generate(CKM_AES_KEY_GEN, &template).unwrap();
    let mut server = Server::install(&place.hsm);
    server.start();
    server.furnish();
    Some((server, place))
}

fn back(place: &mut Workplace) {
    place.hsm.start_daemon();
    open_to_all(&place.hsm);
}

#[track_caller]
fn serves_by_tls(server: &Server, port: u16) {
    let ran = server.ask_by_tls(port, HOLDER);
    assert!(ran.good && ran.out == b"Ada\n", "{}", ran.said);
}

/// Waits until something is in the log behind what was there before.
#[track_caller]
fn wait_for_log(server: &Server, before: usize, words: &str) {
    let begin = Instant::now();
    while !server.log()[before..].contains(words) {
        assert!(
            begin.elapsed() < Duration::from_mins(1),
            "not in the log: {words}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_server_starts_only_when_the_token_opens_its_passphrase() {
    let Some((mut server, mut place)) = furnished() else {
        return;
    };
    serves_by_tls(&server, server.port);
    server.stop();

    place.hsm.kill_daemon();
    assert!(!server.try_start(), "without the token");
    let log = server.log();
    assert!(log.contains("shows no token at all"), "{log}");
    assert!(
        log.contains("child process exited with exit code 3"),
        "{log}"
    );
    back(&mut place);
    server.start();
    serves_by_tls(&server, server.port);
    server.stop();

    server.write_pin("not-the-pin");
    assert!(!server.try_start(), "with a wrong PIN");
    let log = server.log();
    assert!(log.contains("refuses the PIN"), "{log}");
    assert!(
        log.contains("child process exited with exit code 1"),
        "{log}"
    );
    assert!(
        !log.contains("not-the-pin") && !log.contains(USER_PIN),
        "{log}"
    );
    // Ten are allowed.
    let flags = place.module.token_info(place.slot).unwrap().flags;
    assert_eq!(flags & CKF_USER_PIN_FINAL_TRY, 0);
    assert_ne!(flags & CKF_USER_PIN_COUNT_LOW, 0);
    server.write_pin(USER_PIN);
    server.start();
    serves_by_tls(&server, server.port);
}

#[test]
fn a_running_server_needs_the_token_at_a_reload_only() {
    let Some((server, mut place)) = furnished() else {
        return;
    };
    let first = server.certificate_on_disk();
    assert!(first.len() > 100, "{first}");
    assert_eq!(server.shown_certificate(), first);
    place.hsm.kill_daemon();
    serves_by_tls(&server, server.port);

    // A server process that dies makes the server begin anew, without the passphrase.
    let before = server.log().len();
    let victim =
        server.told("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    // SAFETY: a process of the server that this test started, asked for just now.
    unsafe { libc::kill(victim.parse().unwrap(), libc::SIGKILL) };
    wait_for_log(&server, before, "ready to accept connections");
    serves_by_tls(&server, server.port);

    let before = server.log().len();
    server.renew();
    server.reload();
    wait_for_log(&server, before, "SSL configuration was not reloaded");
    assert_eq!(server.shown_certificate(), first);
    serves_by_tls(&server, server.port);

    back(&mut place);
    let second = server.certificate_on_disk();
    assert_ne!(second, first);
    let mut old = Talk::begin(server.client_by_tls(server.port));
    assert_eq!(old.ask(HOLDER), "Ada");
    server.reload();
    let begin = Instant::now();
    while server.shown_certificate() != second {
        assert!(
            begin.elapsed() < Duration::from_mins(1),
            "the old certificate"
        );
        thread::sleep(Duration::from_millis(20));
    }
    serves_by_tls(&server, server.port);
    assert_eq!(old.ask(HOLDER), "Ada");
}

#[test]
fn a_daemon_killed_under_load_breaks_no_connection_through_stunnel() {
    let Some((server, mut place)) = furnished() else {
        return;
    };
    let front = server.front();
    let mut old = Talk::begin(server.client_by_tls(front.port));
    assert_eq!(
        old.ask("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
        "f"
    );
    let connection = old.ask("SELECT pg_backend_pid()");
    let crowd = Crowd::gather(&server, front.port, 4);
    for away in [0, 1000, 0] {
        crowd.wait_for(20);
        place.hsm.kill_daemon();
        assert_eq!(old.ask(HOLDER), "Ada");
        thread::sleep(Duration::from_millis(away));
        back(&mut place);
    }
    crowd.wait_for(20);
    let faults = crowd.dismiss();
    assert!(
        faults.is_empty(),
        "{}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert_eq!(old.ask("SELECT pg_backend_pid()"), connection);
}
