//! Applications that fork after C_Initialize: nginx, Apache prefork, BIND, PostgreSQL, stunnel, each in its own way.

use std::collections::BTreeMap;
use std::process::Command;

use cryptoki_sys::*;
use strongroom_tests::hsm::module_path;
use strongroom_tests::{USER_PIN, Workplace, not_on_softhsm, pattern};

use crate::keys;

/// A line of the forker: who, its process, what it saw.
#[derive(Debug)]
struct Line {
    who: String,
    process: u32,
    saw: String,
}

fn place() -> Workplace {
    let place = Workplace::open();
    let key = keys::open_secret(CKK_AES)
        .with(CKA_TOKEN, true)
        .with(CKA_LABEL, "forks")
        .with(CKA_VALUE, pattern(1, 32).as_slice());
    place.user().create(&key).unwrap();
    place
}

fn inheriting() -> Workplace {
    let mut place = place();
    let file = place.hsm.home.join("strongroom.toml");
    std::fs::write(file, "after-fork = \"inherit\"\n").unwrap();
    place.hsm.stop_daemon();
    place.hsm.start_daemon();
    place
}

fn run(place: &Workplace, way: &str, rounds: usize) -> Vec<Line> {
    let mut command: Command = place.hsm.command(env!("CARGO_BIN_EXE_forker"));
    command.arg(module_path());
    command.args(["suite", USER_PIN, way, &rounds.to_string()]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{way}: {:?}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let line = |line: &str| {
        let [who, process, saw] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        Line {
            who: who.into(),
            process: process.parse().unwrap(),
            saw: saw.into(),
        }
    };
    text.lines().map(line).collect()
}

fn all_saw(lines: &[Line], who: &str, count: usize, saw: &str) {
    let theirs: Vec<_> = lines.iter().filter(|line| line.who == who).collect();
    assert_eq!(theirs.len(), count, "{lines:?}");
    assert!(theirs.iter().all(|line| line.saw == saw), "{lines:?}");
}

/// How many encryptions the daemon saw of which process: the kernel tells it who is at the other end of a connection.
fn encryptions(place: &mut Workplace) -> BTreeMap<u32, usize> {
    // With its end the daemon has written all lines into the file.
    place.hsm.stop_daemon();
    let journal = std::fs::read_to_string(place.hsm.home.join("audit.jsonl")).unwrap();
    let mut all = BTreeMap::new();
    let ended = journal
        .lines()
        .filter(|line| line.contains("\"C_Encrypt\"") && line.contains("CKR_OK"));
    for line in ended {
        let (_, rest) = line.split_once("\"pid\":").unwrap();
        let process = rest.split(',').next().unwrap().parse().unwrap();
        *all.entry(process).or_insert(0) += 1;
    }
    all
}

#[test]
fn children_that_initialise_work_beside_their_parent_each_on_connections_of_its_own() {
    const ROUNDS: usize = 2_500;
    let mut place = place();
    if not_on_softhsm(
        "C_Initialize in a child is refused, unless library.reset_on_fork says otherwise",
    ) {
        return;
    }
    let lines = run(&place, "anew", ROUNDS);
    all_saw(&lines, "child", 3, "CKR_OK");
    all_saw(&lines, "parent", 2, "CKR_OK");
    let seen = encryptions(&mut place);
    for line in lines.iter().filter(|line| line.who == "child") {
        assert_eq!(seen[&line.process], ROUNDS, "{seen:?}");
    }
    assert_eq!(seen[&lines.last().unwrap().process], 2 * ROUNDS);
}

#[test]
fn a_child_that_calls_without_c_initialize_is_told_so() {
    let place = place();
    if not_on_softhsm("children go on with what they inherit") {
        return;
    }
    let lines = run(&place, "without", 50);
    all_saw(&lines, "child", 1, "CKR_CRYPTOKI_NOT_INITIALIZED");
    all_saw(&lines, "parent", 2, "CKR_OK");
}

#[test]
fn children_that_never_call_leave_their_parent_alone() {
    let place = place();
    let lines = run(&place, "never", 200);
    all_saw(&lines, "child", 3, "CKR_OK");
    all_saw(&lines, "parent", 2, "CKR_OK");
}

#[test]
fn where_the_operator_chose_it_children_go_on_with_sessions_and_login() {
    const ROUNDS: usize = 2_500;
    let place = place();
    if not_on_softhsm("its own way") {
        return;
    }
    drop(place);
    let mut place = inheriting();
    let lines = run(&place, "inherit", ROUNDS);
    all_saw(&lines, "child", 3, "CKR_OK");
    all_saw(&lines, "parent", 2, "CKR_OK");
    let seen = encryptions(&mut place);
    for line in lines.iter().filter(|line| line.who == "child") {
        assert_eq!(seen[&line.process], ROUNDS, "{seen:?}");
    }
    place.hsm.start_daemon();
    // The standard's way stands open all the same.
    let lines = run(&place, "anew", 20);
    all_saw(&lines, "child", 3, "CKR_OK");
    all_saw(&lines, "parent", 2, "CKR_OK");
}

#[test]
fn a_childs_logout_is_its_own() {
    let place = place();
    if not_on_softhsm("its own way") {
        return;
    }
    drop(place);
    let place = inheriting();
    let lines = run(&place, "logout", 0);
    // The state stands where a code usually does: 2 is public, 3 the user's.
    let name = |state| format!("{:?}", strongroom_tests::Rv(state));
    all_saw(&lines, "child", 1, &name(CKS_RW_PUBLIC_SESSION));
    all_saw(&lines, "parent", 2, &name(CKS_RW_USER_FUNCTIONS));
}

#[test]
fn a_daemon_made_by_two_forks_goes_on_after_its_ancestors_have_ended() {
    let place = place();
    if not_on_softhsm("its own way") {
        return;
    }
    let lines = run(&place, "grandchild", 100);
    all_saw(&lines, "grandchild", 1, "CKR_CRYPTOKI_NOT_INITIALIZED");
    drop(place);
    let place = inheriting();
    let lines = run(&place, "grandchild", 100);
    all_saw(&lines, "parent", 1, "CKR_OK");
    all_saw(&lines, "grandchild", 1, "CKR_OK");
}

#[test]
fn forks_in_the_middle_of_other_threads_calls() {
    let place = place();
    if not_on_softhsm("it waits for ever for locks of its parent") {
        return;
    }
    let lines = run(&place, "storm", 5);
    all_saw(&lines, "child", 25, "CKR_OK");
    all_saw(&lines, "parent", 1, "CKR_OK");
    drop(place);
    let place = inheriting();
    let lines = run(&place, "inherit-storm", 5);
    all_saw(&lines, "child", 25, "CKR_OK");
    all_saw(&lines, "parent", 1, "CKR_OK");
}
