//! The service manager, played by the test: readiness, and sockets opened for the daemon.

use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::{Command, Stdio};

use strongroom_wire::frame::Door;
use strongroomd::notify::Notifier;

use crate::bench::{Client, Directory, Running, program};

fn message(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 1024];
    let count = manager.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

#[test]
fn the_manager_hears_of_start_reload_and_stop() {
    let home = Directory::new();
    let manager = UnixDatagram::bind(home.join("notify")).unwrap();
    let mut command = program(home.path());
    command.env("NOTIFY_SOCKET", home.join("notify"));
    let mut daemon = Running::start_with(command, home.path());
    assert!(message(&manager).starts_with("READY=1\nMAINPID="));
    daemon.signal("HUP");
    let reloading = message(&manager);
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(message(&manager).starts_with("READY=1"));
    daemon.signal("TERM");
    assert!(message(&manager).starts_with("STOPPING=1"));
    assert!(daemon.wait().success());
}

#[test]
fn an_abstract_name_is_understood() {
    let name = format!("strongroomd-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    Notifier::new(Some(format!("@{name}").into())).ready("ready");
    assert!(message(&manager).ends_with("STATUS=ready"));
}

#[test]
fn sockets_opened_by_the_manager_are_used_and_left_alone() {
    let home = Directory::new();
    let (application, admin) = (home.join("theirs.sock"), home.join("theirs.admin"));
    let listener = |path| Stdio::from(OwnedFd::from(UnixListener::bind(path).unwrap()));
    let daemon = program(home.path());
    // The shell puts the sockets where sd_listen_fds(3) wants them, and becomes the daemon.
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:pkcs11 exec \"$0\" \"$@\"")
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .env_clear()
        .stdin(listener(&admin))
        .stdout(listener(&application));
    let mut daemon = Running::start_with(shell, home.path());
    assert!(
        Client::connect(&application, Door::Application)
            .hello()
            .is_served()
    );
    // The first client is gone as soon as its thread has noticed.
    while Client::connect(&admin, Door::Admin).status().connections != 1 {}
    assert!(!home.join("pkcs11.sock").exists());
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert!(application.exists() && admin.exists());
}
