//! Tests of softhsm2.conf: what SoftHSM 2.6.1 makes of each line.

use std::fs;

use super::*;
use crate::fake::directory;

fn parsed(text: &str) -> Configuration {
    Configuration::parse(text.as_bytes()).unwrap()
}

#[test]
fn debians_own_file_says_the_defaults() {
    let text = "# SoftHSM v2 configuration file\n\ndirectories.tokendir = /var/lib/softhsm/tokens/\nobjectstore.backend = file\n\n\
        # ERROR, WARNING, INFO, DEBUG\nlog.level = ERROR\nslots.removable = false\nslots.mechanisms = ALL\nlibrary.reset_on_fork = false\n";
    let expected = Configuration {
        log_level: LogLevel::Error,
        ..Configuration::default()
    };
    assert_eq!(parsed(text), expected);
    assert_eq!(parsed(""), Configuration::default());
}

#[test]
fn space_comments_and_signs_are_read_as_softhsm_reads_them() {
    for (line, tokens) in [
        ("directories.tokendir=/a", "/a"),
        ("  directories.tokendir \t=\x0b /a b \r\n", "/a b"),
        ("directories.tokendir = /a # comment", "/a"),
        ("directories.tokendir = /a#b", "/a"),
        ("directories.tokendir = /a=b", "/a"),
        ("==directories.tokendir == /a", "/a"),
        ("directories.tokendir = relative/dir", "relative/dir"),
        ("directories.tokendir = /a\ndirectories.tokendir = /b", "/b"),
        ("directories.tokendir = /a\ndirectories.tokendir =\n", "/a"),
        ("directories.tokendir", TOKENS),
        ("directories.tokendir = ", TOKENS),
        ("directories.tokendir = # /a", TOKENS),
        ("Directories.Tokendir = /a", TOKENS),
        ("#directories.tokendir = /a", TOKENS),
        ("unknown.key = /a", TOKENS),
    ] {
        assert_eq!(parsed(line).tokens, Path::new(tokens), "{line:?}");
    }
}

#[test]
fn a_path_need_not_be_utf8() {
    let read = Configuration::parse(b"directories.tokendir = /\xff\xfe").unwrap();
    assert_eq!(read.tokens.as_os_str().as_bytes(), b"/\xff\xfe");
}

#[test]
fn truth_values_are_those_two_words_in_any_case() {
    for (word, meant) in [
        ("true", true),
        ("TRUE", true),
        ("False", false),
        ("1", false),
        ("yes", false),
    ] {
        assert_eq!(
            parsed(&format!("slots.removable = {word}")).removable,
            meant,
            "{word}"
        );
    }
    // What is no truth value changes nothing.
    assert!(parsed("library.reset_on_fork = true\nlibrary.reset_on_fork = 0").reset_on_fork);
}

#[test]
fn mechanisms_are_all_some_or_all_but_some() {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    for (value, meant) in [
        ("ALL", Mechanisms::All),
        ("CKM_RSA_PKCS", Mechanisms::Only(names(&["CKM_RSA_PKCS"]))),
        (
            "CKM_A,CKM_B, CKM_C,",
            Mechanisms::Only(names(&["CKM_A", "CKM_B", "CKM_C"])),
        ),
        (
            "-CKM_A,CKM_B",
            Mechanisms::Without(names(&["CKM_A", "CKM_B"])),
        ),
        ("-", Mechanisms::Without(Vec::new())),
        ("all", Mechanisms::Only(names(&["all"]))),
    ] {
        assert_eq!(
            parsed(&format!("slots.mechanisms = {value}")).mechanisms,
            meant,
            "{value}"
        );
    }
}

#[test]
fn a_wrong_backend_or_level_is_refused_by_name() {
    let refused = |text: &str| Configuration::parse(text.as_bytes()).unwrap_err();
    assert_eq!(
        refused("objectstore.backend = sqlite").to_string(),
        "objectstore.backend = sqlite is none of file, db"
    );
    assert_eq!(
        refused("log.level = error").to_string(),
        "log.level = error is none of ERROR, WARNING, INFO, DEBUG"
    );
    assert_eq!(
        parsed("log.level = error\nlog.level = DEBUG").log_level,
        LogLevel::Debug
    );
    assert_eq!(
        parsed("objectstore.backend = db").backend,
        Backend::Database
    );
}

#[test]
fn the_file_is_the_one_named_else_the_users_else_the_machines() {
    let home = directory();
    let find = |named: Option<&str>| {
        Configuration::find(&|name| match name {
            ENV_CONF => named.map(OsString::from),
            "HOME" => Some(home.clone().into_os_string()),
            _ => None,
        })
    };
    assert_eq!(find(None), Path::new(OF_SYSTEM));
    let own = home.join(OF_USER);
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::write(&own, "").unwrap();
    assert_eq!(find(None), own);
    assert_eq!(find(Some("/nowhere.conf")), Path::new("/nowhere.conf"));
    // SoftHSM opens the empty name, and fails.
    assert_eq!(find(Some("")), Path::new(""));
    assert_eq!(Configuration::find(&|_| None), Path::new(OF_SYSTEM));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Configuration::read(Path::new("/nowhere.conf")).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot read /nowhere.conf: "),
        "{error}"
    );
}
