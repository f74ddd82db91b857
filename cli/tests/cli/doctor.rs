//! The doctor: what is found, what is to be done, and the exit code.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use strongroom_wire::admin::AdminAnswer;

use crate::bench::{Answer, Directory, daemon, run, status};

fn check(answer: &Answer, name: &str) -> serde_json::Value {
    let checks = answer.json();
    let found = checks["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name}: {answer:?}"))
        .clone()
}

#[test]
fn an_absent_daemon_is_found_and_the_fix_is_named() {
    let home = Directory::new();
    let answer = run(&home, &["doctor", "--json"], "");
    assert_eq!(answer.code, 1);
    assert_eq!(check(&answer, "admin socket")["verdict"], "fail");
    assert_eq!(check(&answer, "daemon")["fix"], "run: strongroom init");
}

#[test]
fn rights_that_are_too_wide_are_found() {
    let home = Directory::new();
    let key = home.write("root.key", "x");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let answer = run(&home, &["doctor", "--json"], "");
    let found = check(&answer, "root key");
    assert_eq!(found["verdict"], "fail");
    assert!(
        found["fix"]
            .as_str()
            .unwrap()
            .starts_with("run: chmod go-rwx"),
        "{found}"
    );
}

#[test]
fn a_module_is_looked_into() {
    let home = Directory::new();
    let text = home.write("text.so", "no library");
    let mut elf = vec![0; 64];
    elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
    elf[16] = 3;
    let library = home.join("library.so");
    std::fs::write(&library, &elf).unwrap();
    elf.extend_from_slice(b"C_GetFunctionList\0");
    let module = home.join("module.so");
    std::fs::write(&module, &elf).unwrap();
    for (path, verdict) in [
        (&text, "fail"),
        (&library, "fail"),
        (&module, "ok"),
        (&home.join("absent"), "fail"),
    ] {
        let answer = run(
            &home,
            &["doctor", "--json", "--module", path.to_str().unwrap()],
            "",
        );
        assert_eq!(
            check(&answer, "module")["verdict"],
            verdict,
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_daemon_with_unlocked_memory_fails_the_check() {
    let home = Directory::new();
    let _application = UnixListener::bind(home.join("pkcs11.sock")).unwrap();
    let mut unlocked = status();
    unlocked.memory_locking = "unlocked".into();
    unlocked.audit_level = "none".into();
    let _asked = daemon(&home, AdminAnswer::Status(Box::new(unlocked)));
    let answer = run(&home, &["doctor", "--json"], "");
    assert_eq!(check(&answer, "key memory")["verdict"], "fail");
    assert_eq!(check(&answer, "audit")["verdict"], "warn");
    assert_eq!(check(&answer, "socket")["verdict"], "ok");
    assert_eq!(answer.code, 1);
}
