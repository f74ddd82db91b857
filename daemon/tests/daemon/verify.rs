//! `--verify`, `--accept-older-store`, and what the daemon says of a store that it cannot compare.

use std::path::Path;
use std::process::Output;

use strongroom::ports::{Change, RecordKey, RecordKind, Store};
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::secret::Secret;
use strongroomd::store::RedbStore;

use crate::bench::{Directory, Running, program};

fn token(daemon: &Running, label: &str) {
    let answer = daemon.admin().administer(&AdminRequest::TokenCreate {
        label,
        so_pin: Secret::new(b"12345678"),
        user_pin: Some(Secret::new(b"1234")),
    });
    assert!(matches!(answer, AdminAnswer::Tokens(_)), "{answer:?}");
}

fn run(home: &Path, flags: &[&str]) -> Output {
    program(home).args(flags).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every file and what is in it, but for the lock that says who looks.
fn files(home: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(home).unwrap();
    let mut all: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .filter(|entry| entry.file_name() != "strongroomd.lock")
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

#[test]
fn damage_is_listed_while_no_daemon_runs_and_nothing_is_written() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    token(&daemon, "one");
    token(&daemon, "two");
    let output = run(home.path(), &["--verify"]);
    assert_eq!(output.status.code(), Some(3), "one store, one daemon");
    // Killed: the file was not closed, and the last lines are in the spool only.
    drop(daemon);
    let before = files(home.path());
    let output = run(home.path(), &["--verify"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("2 tokens, 7 records"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(files(home.path()), before);

    let store = RedbStore::open(&home.join("store.redb")).unwrap();
    for (kind, token) in [(RecordKind::Tries, 1), (RecordKind::Token, 2)] {
        let key = RecordKey {
            kind,
            token,
            object: 0,
        };
        let mut sealed = store.record(key).unwrap().unwrap();
        *sealed.last_mut().unwrap() ^= 1;
        store.commit(&[Change::Put(key, sealed)]).unwrap();
    }
    drop(store);
    let before = files(home.path());
    let output = run(home.path(), &["--verify", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].to_string();
    assert_eq!(report["sound"], false);
    for named in ["the PIN try counter of token 1", "the record of token 2"] {
        assert!(findings.contains(named), "{findings}");
    }
    assert_eq!(files(home.path()), before);
}

#[test]
fn a_file_that_is_no_store_any_more_is_a_finding_and_no_crash() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    token(&daemon, "one");
    drop(daemon);
    let whole = std::fs::read(home.join("store.redb")).unwrap();
    for length in [0, 1, 4096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(home.join("store.redb"), &whole[..length]).unwrap();
        let output = run(home.path(), &["--verify"]);
        assert_eq!(output.status.code(), Some(1), "{length} bytes: {output:?}");
        assert!(
            text(&output.stdout).contains("WRONG: "),
            "{length} bytes: {output:?}"
        );
    }
    // Every page, one after the other: what lies in a page that is used is found, by its sum or by its seal.
    let mut found = 0;
    for page in (4096..whole.len()).step_by(4096) {
        let mut damaged = whole.clone();
        damaged[page..page + 64].fill(0x5a);
        std::fs::write(home.join("store.redb"), &damaged).unwrap();
        let output = run(home.path(), &["--verify"]);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "page at {page}: {output:?}"
        );
        found += usize::from(output.status.code() == Some(1));
    }
    assert!(found > 2, "{found} pages");
}

#[test]
fn an_older_store_is_refused_until_somebody_accepts_it() {
    let home = Directory::new();
    let (store, kept) = (home.join("store.redb"), home.join("kept"));
    let mut daemon = Running::start(home.path());
    token(&daemon, "one");
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    std::fs::copy(&store, &kept).unwrap();
    let mut daemon = Running::start(home.path());
    token(&daemon, "two");
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let newer = std::fs::read(&store).unwrap();

    std::fs::copy(&kept, &store).unwrap();
    for flags in [&["--verify"][..], &[]] {
        let output = run(home.path(), flags);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("put back to an earlier state"), "{said}");
    }
    let mut accepting = program(home.path());
    accepting.arg("--accept-older-store");
    let mut daemon = Running::start_with(accepting, home.path());
    assert_eq!(daemon.status().tokens, 1);
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let journal = std::fs::read_to_string(home.join("audit.jsonl")).unwrap();
    assert!(
        journal.contains(r#""function":"store.older_accepted""#),
        "{journal}"
    );
    // Once: from now on it is the other one that is old.
    let mut daemon = Running::start(home.path());
    token(&daemon, "three");
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    std::fs::write(&store, newer).unwrap();
    assert_eq!(run(home.path(), &[]).status.code(), Some(1));
}

#[test]
fn what_cannot_be_compared_is_said_and_starts() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    token(&daemon, "one");
    drop(daemon);
    let mut silent = program(home.path());
    silent.args(["--audit-level", "none"]);
    let mut daemon = Running::start_without_waiting(silent, home.path());
    daemon.log_until("not compared with the journal, because the audit records nothing");
    daemon.log_until(" ready: ");
    drop(daemon);
    std::fs::rename(home.join("audit.jsonl"), home.join("moved")).unwrap();
    let _ = std::fs::remove_file(home.join("audit.jsonl.spool"));
    let mut daemon = Running::start_without_waiting(program(home.path()), home.path());
    daemon.log_until("it is new, or was moved away");
    daemon.log_until(" ready: ");
}
