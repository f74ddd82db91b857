//! Tests of starting a daemon. The daemons are shell scripts, and the listener is the test's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use strongroom_wire::paths;

use super::*;
use crate::fake::directory;
use crate::locate::Environment;

/// A script must not be open for writing in a child that another test forks, so these tests run one after another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct World {
    home: PathBuf,
    locator: Locator,
}

impl World {
    fn new(script: &str) -> Self {
        let home = directory();
        let program = home.join("strongroomd");
        let text = format!("#!/bin/sh\ncd {}\n{script}\n", home.display());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let environment = Environment::of(&|name| match name {
            paths::ENV_HOME => Some(home.clone().into_os_string()),
            paths::ENV_DAEMON => Some(program.clone().into_os_string()),
            _ => None,
        });
        Self {
            home,
            locator: Locator::new(environment, None),
        }
    }

    fn wait_for(&self, name: &str) -> String {
        let path = self.home.join(name);
        let start = Instant::now();
        while !path.exists() {
            assert!(start.elapsed() < START, "{name}");
            thread::sleep(LOOK);
        }
        fs::read_to_string(path).unwrap()
    }

    fn lines(&self, name: &str) -> usize {
        fs::read_to_string(self.home.join(name)).map_or(0, |text| text.lines().count())
    }
}

/// Notes the start, and waits for the socket as the first process of the daemon does.
const GOOD: &str = "echo \"$@\" >>starts; ls -l /proc/$$/fd >fd.part; sed -n '/^Sig\\(Ign\\|Blk\\)/p' /proc/$$/status >signals.part
mv fd.part fd; mv signals.part signals; while [ ! -S pkcs11.sock ]; do sleep 0.01; done";

#[test]
fn a_daemon_is_started_once_for_all_threads() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new(GOOD);
    // A descriptor of the host that is not closed on exec.
    let held = fs::File::open("/etc/passwd").unwrap();
    let inherited = system_dup(&held);
    let starter = Starter::new();
    thread::scope(|scope| {
        let calls = [(); 4].map(|()| scope.spawn(|| starter.connect(&world.locator, START)));
        let open = world.wait_for("fd");
        let _listener = UnixListener::bind(world.home.join("pkcs11.sock")).unwrap();
        assert!(calls.into_iter().all(|call| call.join().unwrap().is_some()));
        assert!(!open.contains("/etc/passwd"), "{open}");
        assert_eq!(open.matches("/dev/null").count(), 3, "{open}");
    });
    drop(inherited);
    assert_eq!(
        fs::read_to_string(world.home.join("starts")).unwrap(),
        "--daemonize --autostarted\n"
    );
    // Neither blocked nor ignored; 32 and 33 belong to the C library, which sets them itself.
    let signals = world.wait_for("signals");
    for line in signals.lines() {
        let set = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(set & !(0b11 << 31), 0, "{line}");
    }
}

/// A copy of a descriptor that lives through exec.
fn system_dup(file: &fs::File) -> std::os::fd::OwnedFd {
    let copy = std::os::fd::OwnedFd::from(file.try_clone().unwrap());
    crate::abi::spawn::keep_through_exec(&copy);
    copy
}

#[test]
fn a_daemon_that_fails_is_not_started_again_at_once() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new("echo >>starts; exit 1");
    let starter = Starter::new();
    for _ in 0..3 {
        assert!(starter.connect(&world.locator, START).is_none());
    }
    assert_eq!(world.lines("starts"), 1);
}

#[test]
fn a_daemon_that_hangs_is_given_up() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new("echo $$ >pid.part; mv pid.part pid; exec sleep 1000");
    let child = spawn::spawn_apart(&world.home.join("strongroomd"), &[]).unwrap();
    let pid = world.wait_for("pid");
    let start = Instant::now();
    wait_for(
        child,
        &world.home.join("pkcs11.sock"),
        Duration::from_millis(200),
    );
    assert!(start.elapsed() < START);
    assert!(
        !Path::new("/proc").join(pid.trim()).exists(),
        "killed and reaped"
    );
}

#[test]
fn without_a_program_nothing_is_started() {
    let world = World::new("");
    fs::remove_file(world.home.join("strongroomd")).unwrap();
    assert!(Starter::new().connect(&world.locator, START).is_none());
}

#[test]
fn a_stale_socket_is_no_daemon() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new("echo >>starts; exit 1");
    drop(UnixListener::bind(world.home.join("pkcs11.sock")).unwrap());
    assert!(Starter::new().connect(&world.locator, START).is_none());
    assert_eq!(world.lines("starts"), 1);
}
