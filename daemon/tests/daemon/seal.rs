//! The root key: made once, found again, never replaced, never shown to others.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use strongroom_crypto::password::Argon2Cost;
use strongroom_keymem::SecretBytes;
use strongroomd::seal::{ROOT_KEY_BYTES, SealError, SealProvider, StoreState};

use crate::bench::{Directory, start_memory};

fn bytes(key: &SecretBytes) -> Vec<u8> {
    key.with(<[u8]>::to_vec)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_file_is_made_once() {
    start_memory();
    let home = Directory::new();
    let path = home.join("root.key");
    let provider = SealProvider::KeyFile { path: path.clone() };
    let made = bytes(&provider.root_key(StoreState::Absent).unwrap());
    assert_eq!(made.len(), ROOT_KEY_BYTES);
    assert_eq!(
        bytes(&provider.root_key(StoreState::Present).unwrap()),
        made
    );
    assert_eq!(bytes(&provider.root_key(StoreState::Absent).unwrap()), made);
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let digits: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, format!("strongroom root key v1\n{digits}\n"));
}

#[test]
fn a_key_file_is_never_made_for_a_store_that_is_there() {
    start_memory();
    let home = Directory::new();
    let provider = SealProvider::KeyFile {
        path: home.join("root.key"),
    };
    let error = provider.root_key(StoreState::Present).unwrap_err();
    assert!(matches!(error, SealError::Missing { .. }));
    assert!(
        error.to_string().contains("the store exists but"),
        "{error}"
    );
    assert!(!home.join("root.key").exists());
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    start_memory();
    let home = Directory::new();
    let path = home.join("root.key");
    let provider = SealProvider::KeyFile { path: path.clone() };
    provider.root_key(StoreState::Absent).unwrap();
    for mode in [0o640, 0o604, 0o620] {
        set_mode(&path, mode);
        assert!(matches!(
            provider.root_key(StoreState::Present),
            Err(SealError::Exposed { .. })
        ));
    }
    set_mode(&path, 0o400);
    assert!(provider.root_key(StoreState::Present).is_ok());
}

#[test]
fn a_damaged_key_file_is_refused_and_its_content_not_shown() {
    start_memory();
    let home = Directory::new();
    let digits = "0123456789abcdef".repeat(4);
    let provider = |path: &Path| SealProvider::KeyFile { path: path.into() };
    for (name, content) in [
        ("header", format!("strongroom root key v2\n{digits}\n")),
        (
            "short",
            format!("strongroom root key v1\n{}\n", &digits[1..]),
        ),
        ("long", format!("strongroom root key v1\n{digits}0\n")),
        (
            "letter",
            format!("strongroom root key v1\n{}g\n", &digits[1..]),
        ),
        ("empty", String::new()),
        ("huge", "x".repeat(10_000)),
    ] {
        let path = home.write(name, &content);
        set_mode(&path, 0o600);
        let error = provider(&path).root_key(StoreState::Present).unwrap_err();
        assert!(matches!(error, SealError::Malformed { .. }), "{name}");
        assert!(!error.to_string().contains("0123456789"), "{error}");
    }
    let path = home.write(
        "upper",
        &format!("strongroom root key v1\n{}", digits.to_uppercase()),
    );
    set_mode(&path, 0o600);
    assert!(provider(&path).root_key(StoreState::Present).is_ok());
}

#[test]
fn a_passphrase_gives_the_same_key_with_the_same_salt() {
    start_memory();
    let home = Directory::new();
    let cost = Argon2Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    let provider = |file: &str, salt: &str| SealProvider::PassphraseFile {
        path: home.join(file),
        salt: home.join(salt),
        cost,
    };
    for (name, content) in [
        ("p1", "correct horse battery"),
        ("p2", "correct horse battery\n"),
        ("p3", "correct horse batterz"),
        ("short", "horse\n"),
    ] {
        set_mode(&home.write(name, content), 0o600);
    }
    let key = bytes(&provider("p1", "salt").root_key(StoreState::Absent).unwrap());
    assert_eq!(
        bytes(
            &provider("p2", "salt")
                .root_key(StoreState::Present)
                .unwrap()
        ),
        key
    );
    assert_ne!(
        bytes(
            &provider("p3", "salt")
                .root_key(StoreState::Present)
                .unwrap()
        ),
        key
    );
    assert_ne!(
        bytes(
            &provider("p1", "other")
                .root_key(StoreState::Absent)
                .unwrap()
        ),
        key
    );
    assert!(matches!(
        provider("p1", "none").root_key(StoreState::Present),
        Err(SealError::Missing { .. })
    ));
    assert!(matches!(
        provider("short", "salt").root_key(StoreState::Present),
        Err(SealError::Malformed { .. })
    ));
    assert!(matches!(
        provider("absent", "salt").root_key(StoreState::Present),
        Err(SealError::Io { .. })
    ));

    let salt = std::fs::read_to_string(home.join("salt")).unwrap();
    home.write(
        "salt",
        &salt.replace("\"memory_kib\":64", "\"memory_kib\":4000000000"),
    );
    assert!(matches!(
        provider("p1", "salt").root_key(StoreState::Present),
        Err(SealError::Malformed { .. })
    ));
}
