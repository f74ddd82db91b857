//! Tests of standing in SoftHSM's place.

use std::fs;

use super::*;
use crate::fake::directory;
use crate::locate::Locator;

fn environment(pairs: &[(&str, &Path)]) -> Environment {
    Environment::of(&|name| {
        let found = pairs.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.as_os_str().to_owned())
    })
}

/// A directory with a configuration, and the configuration's path.
fn world(more: &str) -> (PathBuf, PathBuf) {
    let root = directory();
    let tokens = root.join("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = root.join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\n{more}", tokens.display());
    fs::write(&conf, text).unwrap();
    (tokens, conf)
}

#[test]
fn the_variable_decides_and_without_it_the_name_of_the_file() {
    let said = |value: &str| environment(&[(ENV_SOFTHSM, Path::new(value))]);
    let silent = environment(&[]);
    let ours = Path::new("/usr/lib/libstrongroom_pkcs11.so");
    let theirs = Path::new("./libsofthsm2.so");
    let renamed = Path::new("/opt/my-libsofthsm2.so");
    let numbered = Path::new("/opt/libsofthsm2.so.1");
    for (environment, file, worn) in [
        (&silent, Some(ours), false),
        (&silent, Some(theirs), true),
        (&silent, Some(renamed), true),
        (&silent, Some(numbered), false),
        (&silent, None, false),
        (&said("1"), Some(ours), true),
        (&said("0"), Some(theirs), false),
        (&said(""), Some(theirs), true),
    ] {
        assert_eq!(is_worn(environment, file), worn, "{file:?}");
    }
}

#[test]
fn the_daemon_lives_in_the_directory_of_the_tokens_and_nothing_else_reaches_there() {
    let (tokens, conf) = world("");
    let elsewhere = directory();
    fs::write(
        elsewhere.join("strongroom.toml"),
        "socket = \"/elsewhere\"\nautostart = false",
    )
    .unwrap();
    let environment = environment(&[
        (ENV_SOFTHSM, Path::new("1")),
        (ENV_CONF, &conf),
        ("STRONGROOM_HOME", &elsewhere),
        ("STRONGROOM_SOCKET", Path::new("/named.sock")),
        ("STRONGROOM_CONFIG", &elsewhere.join("strongroom.toml")),
    ]);
    let guise = Guise::of(&environment).unwrap();
    let locator = Locator::new(environment, guise);
    let place = locator.locate().unwrap();
    assert_eq!(place.socket, tokens.join("strongroom/pkcs11.sock"));
    assert!(!place.programs.is_empty());
    let home = tokens.join("strongroom").into_os_string();
    assert_eq!(place.arguments.get(1), Some(&home));
    assert!(
        place
            .arguments
            .contains(&"after-fork=\"inherit\"".to_owned().into())
    );
    assert!(locator.children_inherit());
}

#[test]
fn children_begin_anew_where_the_configuration_says_so() {
    let (_, conf) = world("library.reset_on_fork = true\n");
    let environment = environment(&[(ENV_SOFTHSM, Path::new("1")), (ENV_CONF, &conf)]);
    let guise = Guise::of(&environment).unwrap().unwrap();
    assert!(!guise.children_inherit());
    let fork = |argument: &OsString| argument.as_bytes().starts_with(b"after-fork");
    assert!(!guise.arguments().iter().any(fork));
}

#[test]
fn what_softhsm_refuses_at_its_start_is_refused() {
    let (tokens, conf) = world("");
    let refused = |conf: &Path| {
        let environment = environment(&[(ENV_SOFTHSM, Path::new("1")), (ENV_CONF, conf)]);
        Guise::of(&environment).err()
    };
    assert_eq!(refused(&conf), None);
    assert_eq!(
        refused(Path::new("/nonexistent.conf")),
        Some(Rv::GENERAL_ERROR)
    );
    let (_, wrong) = world("objectstore.backend = sqlite\n");
    assert_eq!(refused(&wrong), Some(Rv::GENERAL_ERROR));
    fs::remove_dir(&tokens).unwrap();
    assert_eq!(refused(&conf), Some(Rv::GENERAL_ERROR));
    fs::write(&tokens, "").unwrap();
    assert_eq!(refused(&conf), Some(Rv::GENERAL_ERROR));
}

#[test]
fn slots_are_removable_where_the_configuration_says_so() {
    for (line, removable) in [("", false), ("slots.removable = true\n", true)] {
        let (_, conf) = world(line);
        let environment = environment(&[(ENV_SOFTHSM, Path::new("1")), (ENV_CONF, &conf)]);
        let guise = Guise::of(&environment).unwrap().unwrap();
        let ours = SlotInfo {
            description: "Strongroom slot 31".to_owned(),
            manufacturer: "Strongroom".to_owned(),
            flags: flag::TOKEN_PRESENT,
            hardware_version: [0, 1],
            firmware_version: [0, 1],
        };
        let told = guise.slot(SlotId(31), ours);
        assert_eq!(told.description, "SoftHSM slot ID 0x1f");
        assert_eq!(told.manufacturer, "SoftHSM project");
        assert_eq!(told.flags & flag::REMOVABLE_DEVICE != 0, removable);
        assert_ne!(told.flags & flag::TOKEN_PRESENT, 0);
    }
}

#[test]
fn mechanisms_are_handed_to_the_daemon_by_the_names_of_the_standard() {
    for (line, handed) in [
        ("", None),
        ("slots.mechanisms = ALL\n", None),
        (
            "slots.mechanisms = CKM_SHA256,CKM_NOBODY,CKM_RSA_PKCS\n",
            Some("mechanisms.allowed=[\"CKM_SHA256\",\"CKM_RSA_PKCS\"]"),
        ),
        (
            "slots.mechanisms = -CKM_RSA_X_509\n",
            Some("mechanisms.refused=[\"CKM_RSA_X_509\"]"),
        ),
        ("slots.mechanisms = \"]#\n", Some("mechanisms.allowed=[]")),
    ] {
        let (_, conf) = world(line);
        let environment = environment(&[(ENV_SOFTHSM, Path::new("1")), (ENV_CONF, &conf)]);
        let arguments = Guise::of(&environment).unwrap().unwrap().arguments();
        let mechanisms = |argument: &&OsString| argument.as_bytes().starts_with(b"mechanisms.");
        let told = arguments.iter().find(mechanisms);
        assert_eq!(told, handed.map(OsString::from).as_ref(), "{line}");
    }
}
