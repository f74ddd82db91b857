//! The configuration: what is refused, and what comes before what.

use std::path::Path;

use strongroomd::command_line::Arguments;
use strongroomd::config::{ConfigError, Configuration, Environment, FileSettings, MemoryLocking};
use strongroomd::log;
use strongroomd::seal::SealProvider;

use crate::bench::{Directory, program};

fn refusal(text: &str) -> String {
    FileSettings::parse(Path::new("/c.toml"), text)
        .unwrap_err()
        .to_string()
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_near_key() {
    let text = refusal("socket = \"/s\"\n[log]\nlevle = \"info\"\n");
    assert_eq!(
        text,
        "/c.toml:3:1: unknown key \"levle\"; did you mean \"level\"?"
    );
    let text = refusal("pin_policy_of_the_moon = 1\n");
    assert!(
        text.starts_with("/c.toml:1:1: unknown key \"pin_policy_of_the_moon\"; strongroom.example"),
        "{text}"
    );
    let text = refusal("[limits]\nconnections_max = \"many\"\n");
    assert!(text.starts_with("/c.toml:2:19: "), "{text}");
    assert!(
        refusal("socket = ").starts_with("/c.toml:1:"),
        "{}",
        refusal("socket = ")
    );
}

#[test]
fn values_that_would_surprise_are_refused() {
    assert!(refusal("socket = \"run/s.sock\"").contains("relative"));
    assert!(refusal("[limits]\nuser_tries_max = 0").contains("lock everybody out"));
}

#[test]
fn the_example_is_a_right_configuration() {
    let text = include_str!("../../strongroom.example.toml");
    let settings = FileSettings::parse(Path::new("/e.toml"), text).unwrap();
    assert_eq!(
        settings.limits.limits(),
        strongroom::limits::Limits::default()
    );
    assert_eq!(
        settings.limits.bounds(),
        strongroomd::config::Bounds::default()
    );
}

fn read(arguments: Arguments, environment: &[(&str, &str)]) -> Result<Configuration, ConfigError> {
    Configuration::read(&arguments, &Environment::of_pairs(environment))
}

#[test]
fn flags_come_before_environment_before_file_before_defaults() {
    let home = Directory::new();
    let directory = home.path().to_str().unwrap();
    home.write(
        "strongroom.toml",
        "socket = \"/from/file\"\nadmin_socket = \"/from/file.admin\"\n[log]\nlevel = \"warn\"\n[seal]\nkey_file = \"/k\"\n",
    );
    let environment = [
        ("STRONGROOM_HOME", directory),
        ("STRONGROOM_SOCKET", "/from/environment"),
    ];

    let configuration = read(Arguments::default(), &environment).unwrap();
    assert_eq!(configuration.socket, Path::new("/from/environment"));
    assert_eq!(configuration.admin_socket, Path::new("/from/file.admin"));
    assert_eq!(configuration.store, home.join("store.redb"));
    assert_eq!(configuration.log_level, log::Level::Warn);
    assert_eq!(configuration.locking, MemoryLocking::Required);
    assert_eq!(
        configuration.seal.direct,
        SealProvider::KeyFile { path: "/k".into() }
    );

    let arguments = Arguments {
        socket: Some("/from/flag".into()),
        log_level: Some("error".into()),
        passphrase_file: Some("/p".into()),
        ..Arguments::default()
    };
    let configuration = read(arguments, &environment).unwrap();
    assert_eq!(configuration.socket, Path::new("/from/flag"));
    assert_eq!(configuration.log_level, log::Level::Error);
    assert!(
        matches!(configuration.seal.direct, SealProvider::PassphraseFile { salt, .. } if salt == home.join("root.salt"))
    );
}

#[test]
fn a_home_given_by_flag_is_a_world_of_its_own() {
    let home = Directory::new();
    let arguments = Arguments {
        home: Some(home.path().into()),
        ..Arguments::default()
    };
    let configuration = read(
        arguments,
        &[("STRONGROOM_SOCKET", "/elsewhere"), ("HOME", "/h")],
    )
    .unwrap();
    assert_eq!(configuration.socket, home.join("pkcs11.sock"));
    assert_eq!(configuration.file, None);
}

#[test]
fn what_is_missing_or_too_long_is_named() {
    assert!(matches!(
        read(Arguments::default(), &[]),
        Err(ConfigError::NoHome)
    ));
    let absent = Arguments {
        config: Some("/no/such.toml".into()),
        ..Arguments::default()
    };
    assert!(matches!(
        read(absent, &[("HOME", "/h")]),
        Err(ConfigError::Unreadable { .. })
    ));
    let level = Arguments {
        audit_level: Some("some".into()),
        ..Arguments::default()
    };
    let error = read(level, &[("HOME", "/h")]).unwrap_err().to_string();
    assert!(error.starts_with("--audit-level: "), "{error}");
}

#[test]
fn check_config_speaks_and_starts_nothing() {
    let home = Directory::new();
    let output = program(home.path()).arg("--check-config").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!home.join("store.redb").exists());
    home.write("strongroom.toml", "[audti]\n");
    let output = program(home.path()).arg("--check-config").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("strongroom.toml:1:2") && text.contains("did you mean \"audit\""),
        "{text}"
    );
}
