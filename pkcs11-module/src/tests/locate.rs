//! Tests of the order of the places.

use std::fs;

use strongroom_wire::paths::Paths;

use super::*;
use crate::fake::directory;

/// A home and a system of one's own.
struct World {
    home: PathBuf,
    system: Paths,
}

impl World {
    fn new() -> Self {
        let root = directory();
        let system = Paths {
            config: root.join("etc.toml"),
            runtime: root.join("system-run"),
            data: root.join("system-data"),
        };
        let home = root.join("home");
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&system.runtime).unwrap();
        Self { home, system }
    }

    fn locate(&self, more: &[(&str, &Path)]) -> Option<Place> {
        let environment = Environment::of(&|name| {
            if name == paths::ENV_HOME {
                return Some(self.home.clone().into_os_string());
            }
            let found = more.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.as_os_str().to_owned())
        });
        Locator::with_system(environment, self.system.clone()).locate()
    }

    fn users_socket(&self) -> PathBuf {
        self.home.join("pkcs11.sock")
    }

    fn configure(&self, text: &str) {
        fs::write(self.home.join("strongroom.toml"), text).unwrap();
    }
}

#[test]
fn with_nothing_there_the_users_daemon_is_started() {
    let place = World::new().locate(&[]).unwrap();
    assert!(place.socket.ends_with("home/pkcs11.sock"));
    assert!(place.programs.len() >= 6);
    assert!(
        place
            .programs
            .iter()
            .all(|program| program.ends_with(PROGRAM))
    );
}

#[test]
fn the_order_of_the_sockets() {
    let world = World::new();
    fs::write(world.system.socket(), "").unwrap();
    let place = world.locate(&[]).unwrap();
    assert_eq!(
        (place.socket, place.programs),
        (world.system.socket(), vec![])
    );
    fs::write(world.users_socket(), "").unwrap();
    let place = world.locate(&[]).unwrap();
    assert_eq!(place.socket, world.users_socket());
    assert!(!place.programs.is_empty());
    fs::write(&world.system.config, "socket = \"/system/configured\"").unwrap();
    let place = world.locate(&[]).unwrap();
    assert_eq!(
        (place.socket, place.programs),
        ("/system/configured".into(), vec![])
    );
    world.configure("socket = \"/configured\"");
    let place = world.locate(&[]).unwrap();
    assert_eq!(place.socket, Path::new("/configured"));
    assert!(!place.programs.is_empty());
    let place = world
        .locate(&[(paths::ENV_SOCKET, Path::new("/named"))])
        .unwrap();
    assert_eq!((place.socket, place.programs), ("/named".into(), vec![]));
}

#[test]
fn autostart_and_daemon_are_configured() {
    let world = World::new();
    world.configure("autostart = false");
    assert_eq!(world.locate(&[]).unwrap().programs, Vec::<PathBuf>::new());
    world.configure("autostart = true\ndaemon = \"/opt/strongroomd\"\n[limits]\nsessions = 3\n");
    let named = [(paths::ENV_SOCKET, Path::new("/named"))];
    let place = world.locate(&named).unwrap();
    assert_eq!(place.programs, [Path::new("/opt/strongroomd")]);
    let other = [(paths::ENV_DAEMON, Path::new("/other"))];
    assert_eq!(
        world.locate(&other).unwrap().programs,
        [Path::new("/other")]
    );
}

#[test]
fn a_configuration_that_cannot_be_read_is_not_guessed_past() {
    let world = World::new();
    world.configure("socket = ");
    assert_eq!(world.locate(&[]), None);
    world.configure("socket = \"/configured\"");
    let missing = [(paths::ENV_CONFIG, Path::new("/nonexistent/strongroom.toml"))];
    assert_eq!(world.locate(&missing), None);
}

#[test]
fn relative_entries_of_the_search_path_are_left_out() {
    let world = World::new();
    let place = world
        .locate(&[("PATH", Path::new("/one:.:two:/three"))])
        .unwrap();
    let last: Vec<_> = place.programs.iter().rev().take(3).rev().cloned().collect();
    let expected = [
        "/usr/sbin/strongroomd",
        "/one/strongroomd",
        "/three/strongroomd",
    ];
    assert_eq!(last, expected.map(PathBuf::from));
}

#[test]
fn an_environment_of_a_stranger_starts_nothing() {
    let environment = Environment {
        values: Vec::new(),
        trusted: false,
    };
    let world = World::new();
    let locator = Locator::with_system(environment, world.system.clone());
    let place = locator.locate().unwrap();
    assert_eq!(
        (place.socket, place.programs),
        (world.system.socket(), vec![])
    );
}
