//! The program as a process: start, second start, background, reload, stop, and clients that die.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::frame::Door;

use crate::bench::{Client, Directory, Running, program};

#[test]
fn sigterm_ends_it_cleanly() {
    let home = Directory::new();
    let mut daemon = Running::start(home.path());
    let mut idle = daemon.application().hello();
    for name in [
        "pkcs11.sock",
        "admin.sock",
        "store.redb",
        "root.key",
        "audit.jsonl",
    ] {
        let mode = std::fs::metadata(home.join(name)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(idle.receive(), None);
    assert!(!home.join("pkcs11.sock").exists() && !home.join("admin.sock").exists());
    // And it starts again on what it left.
    let daemon = Running::start(home.path());
    assert!(daemon.application().hello().is_served());
}

#[test]
fn a_second_daemon_is_refused() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    for flags in [&[][..], &["--daemonize"], &["--daemonize", "--autostarted"]] {
        let output = program(home.path()).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{flags:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("another strongroomd (process "), "{text}");
    }
    assert!(daemon.application().hello().is_served());
}

#[test]
fn a_stale_socket_is_removed_and_a_live_one_is_not() {
    let home = Directory::new();
    drop(UnixListener::bind(home.join("pkcs11.sock")).unwrap());
    drop(Running::start(home.path()));
    // Killed, so both files are stale now.
    assert!(home.join("admin.sock").exists());
    drop(Running::start(home.path()));

    let other = Directory::new();
    let _live = UnixListener::bind(other.join("pkcs11.sock")).unwrap();
    let output = program(other.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(other.join("pkcs11.sock").exists());

    let third = Directory::new();
    third.write("pkcs11.sock", "a file");
    let output = program(third.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("is no socket")
    );
}

#[test]
fn daemonize_returns_when_requests_are_answered() {
    let home = Directory::new();
    let output = program(home.path()).arg("--daemonize").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut client = Client::connect(&home.join("pkcs11.sock"), Door::Application).hello();
    assert!(client.is_served());
    let mut admin = Client::connect(&home.join("admin.sock"), Door::Admin);
    assert!(matches!(
        admin.administer(&AdminRequest::Stop),
        AdminAnswer::Done
    ));
    assert_eq!(client.receive(), None);
    let log = std::fs::read_to_string(home.join("strongroomd.log")).unwrap();
    assert!(log.contains(" ready: "), "{log}");

    // A start that fails says why, through the fork.
    let broken = Directory::new();
    broken.write("store.redb", "a store without its key");
    let output = program(broken.path()).arg("--daemonize").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("root.key is missing")
    );
}

#[test]
fn a_reload_takes_what_can_change_and_refuses_what_is_wrong() {
    let home = Directory::new();
    let mut daemon = Running::start(home.path());
    assert_eq!(daemon.status().audit_level, "all");
    home.write(
        "strongroom.toml",
        "[audit]\nlevel = \"management\"\n[limits]\nconnections_max = 2\n",
    );
    daemon.signal("HUP");
    let line = daemon.log_until("configuration reloaded");
    assert!(
        line.contains("audit.level all to management, limits"),
        "{line}"
    );
    assert_eq!(daemon.status().audit_level, "management");

    home.write("strongroom.toml", "[audit]\nlevle = \"none\"\n");
    match daemon.admin().administer(&AdminRequest::Reload) {
        AdminAnswer::Refused { reason, .. } => assert!(reason.contains("did you mean"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(daemon.status().audit_level, "management");

    home.write(
        "strongroom.toml",
        "socket = \"/elsewhere/s\"\n[audit]\nlevel = \"management\"\n",
    );
    assert!(matches!(
        daemon.admin().administer(&AdminRequest::Reload),
        AdminAnswer::Done
    ));
    assert!(daemon.log_until("next start only").contains("socket"));
    assert_eq!(
        daemon.status().socket,
        home.join("pkcs11.sock").display().to_string()
    );
}

#[test]
fn status_tells_how_it_is() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    let _application = daemon.application().hello();
    let status = daemon.status();
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((status.applications, status.connections), (1, 2));
    assert_eq!(status.memory_bytes_total, 4 << 20);
    assert_eq!(
        status.seal,
        format!("key file {}", home.join("root.key").display())
    );
}

#[test]
fn the_bounds_of_connections_hold_and_free_again() {
    let home = Directory::new();
    home.write(
        "strongroom.toml",
        "[limits]\nconnections_max = 5\nconnections_per_user_max = 3\n",
    );
    let daemon = Running::start(home.path());
    let mut held: Vec<Client> = (0..3).map(|_| daemon.application().hello()).collect();
    let mut fourth = daemon.application();
    assert_eq!(fourth.receive(), None);
    // The administration has room of its own.
    let mut admin = daemon.admin();
    assert_eq!(admin.status().connections, 4);
    held.pop();
    while admin.status().connections > 3 {}
    assert!(daemon.application().hello().is_served());
}

/// What a process owned ends with it, even when a child holds its socket.
#[test]
fn a_child_that_inherited_the_socket_does_not_keep_it() {
    let home = Directory::new();
    let _daemon = Running::start(home.path());
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "process::parent_that_leaves_its_socket_to_a_child",
            "--nocapture",
        ])
        .env(SOCKET_OF_PARENT, home.join("pkcs11.sock"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = String::new();
    // Ends when the child has closed its output, which it does when its input, the socket, has ended.
    parent
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert!(parent.wait().unwrap().success());
    assert!(output.contains("the socket has ended"), "{output}");
}

#[test]
#[expect(
    clippy::zombie_processes,
    reason = "the parent dies first: that is the test"
)]
fn parent_that_leaves_its_socket_to_a_child() {
    let Some(path) = std::env::var_os(SOCKET_OF_PARENT) else {
        return;
    };
    let client = Client::connect(path.as_ref(), Door::Application).hello();
    Command::new("timeout")
        .args([
            "20",
            "sh",
            "-c",
            "cat >/dev/null && echo the socket has ended",
        ])
        .stdin(OwnedFd::from(client.socket))
        .spawn()
        .unwrap();
}

const SOCKET_OF_PARENT: &str = "STRONGROOMD_TEST_SOCKET_OF_PARENT";
