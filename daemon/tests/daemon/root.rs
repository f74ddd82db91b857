//! Being root: refused where others are let in, and given up for good where a user is named.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use strongroomd::system;

use crate::bench::{Directory, Running, program};

/// Whether the test can be made at all; says so if not.
fn is_root() -> bool {
    let root = system::effective_user() == 0;
    if !root {
        println!("only root can refuse to be root");
    }
    root
}

fn open_to_all(home: &Directory, more: &str) {
    home.write(
        "strongroom.toml",
        &format!("socket_mode = \"0666\"\n{more}"),
    );
}

fn ends(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn status_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap()
}

#[test]
fn root_that_would_let_others_in_is_refused() {
    if !is_root() {
        return;
    }
    let home = Directory::new();
    open_to_all(&home, "");
    let (code, said) = ends(program(home.path()));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("socket_mode is 0666"), "{said}");
    assert!(said.contains("--user strongroom"), "{said}");
    assert!(said.contains("--allow-root"), "{said}");
    assert!(!home.join("root.key").exists(), "nothing was made");

    let mut system = Command::new(env!("CARGO_BIN_EXE_strongroomd"));
    system
        .env_clear()
        .args(["--system", "--config"])
        .arg(home.write("empty.toml", ""))
        .arg("--store")
        .arg(home.join("store/store.redb"));
    let (code, said) = ends(system);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--system serves the users"), "{said}");
    assert!(!home.join("store").exists(), "nothing was made");
}

#[test]
fn root_may_serve_itself_and_whom_it_is_told_to() {
    if !is_root() {
        return;
    }
    let alone = Directory::new();
    assert!(Running::start(alone.path()).status().jail.root);

    let told = Directory::new();
    open_to_all(&told, "allow_root = true\n");
    let daemon = Running::start(told.path());
    assert!(daemon.status().jail.root);
    let mode = fs::metadata(told.join("pkcs11.sock"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o666);
}

/// A configuration for a home that is not there yet.
fn becoming(user: &str, home: &Path, configuration: &Path) -> Command {
    let mut command = program(home);
    command
        .arg("--user")
        .arg(user)
        .arg("--config")
        .arg(configuration);
    command
}

#[test]
fn root_becomes_the_user_for_good() {
    if !is_root() {
        return;
    }
    let nobody = system::user("nobody").unwrap();
    let outside = Directory::new();
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
    open_to_all(&outside, "");
    let home = outside.join("below/home");
    let command = becoming("nobody", &home, &outside.join("strongroom.toml"));
    let mut daemon = Running::start_with(command, &home);
    let status = status_of(daemon.pid());
    let numbers = |name: &str, number: u32| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let expected = vec![number.to_string(); 4];
        assert_eq!(
            line.split_whitespace().skip(1).collect::<Vec<_>>(),
            expected
        );
    };
    numbers("Uid:", nobody.uid);
    numbers("Gid:", nobody.gid);
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    assert!(
        status.lines().any(|line| line.trim_end() == "Groups:"),
        "{status}"
    );
    for file in ["store.redb", "root.key", "audit.jsonl", "pkcs11.sock", "."] {
        assert_eq!(
            fs::metadata(home.join(file)).unwrap().uid(),
            nobody.uid,
            "{file}"
        );
    }
    assert!(!daemon.status().jail.root);
    assert!(daemon.application().hello().is_served());
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert!(!home.join("pkcs11.sock").exists());
}

#[test]
fn the_way_back_is_closed() {
    if !is_root() {
        return;
    }
    // In a process of its own, because there is no way back for this one either.
    let test = std::env::current_exe().unwrap();
    let status = Command::new(test)
        .args([
            "root::a_process_that_becomes_nobody",
            "--exact",
            "--nocapture",
        ])
        .env(MARK, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

const MARK: &str = "STRONGROOM_TEST_BECOMES";

#[test]
fn a_process_that_becomes_nobody() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let nobody = system::user("nobody").unwrap();
    system::set_groups(&[]).unwrap();
    system::become_user(&nobody).unwrap();
    assert_eq!(system::effective_user(), nobody.uid);
    assert!(system::become_user(&system::User { uid: 0, gid: 0 }).is_err());
    assert!(fs::read("/etc/shadow").is_err());
}

#[test]
fn a_user_that_cannot_be_become_is_named() {
    if !is_root() {
        return;
    }
    let outside = Directory::new();
    let configuration = outside.write("strongroom.toml", "");
    let (code, said) = ends(becoming("no-such-user", &outside.join("h"), &configuration));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("there is no user \"no-such-user\""), "{said}");

    // The home is there, and belongs to root.
    let (code, said) = ends(becoming("nobody", outside.path(), &configuration));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("chown -R nobody"), "{said}");

    home_of_a_group(&outside);
}

fn home_of_a_group(outside: &Directory) {
    let home = outside.join("grouped");
    fs::create_dir(&home).unwrap();
    let text = "socket_mode = \"0660\"\nsocket_group = \"daemon\"\nallow_root = true\n";
    fs::write(home.join("strongroom.toml"), text).unwrap();
    let _daemon = Running::start(&home);
    let group = system::group_number("daemon").unwrap();
    assert_eq!(fs::metadata(home.join("pkcs11.sock")).unwrap().gid(), group);

    let text = "socket_group = \"no-such-group\"\n";
    fs::write(home.join("strongroom.toml"), text).unwrap();
    let (code, said) = ends(program(&home));
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("there is no group \"no-such-group\""),
        "{said}"
    );
}
