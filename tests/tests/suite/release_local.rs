//! The daemon's own authority: keys that leave to the program that they are meant for, measured by the daemon that holds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use cryptoki_sys::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use strongroom_tests::attest::{Authority, base64url, opened, policy};
use strongroom_tests::hsm::Hsm;
use strongroom_tests::{Workplace, digits, not_on_softhsm};

use crate::release::{Kind, Scene, aes, does_the_same, present, ways};

const LOCAL: &str = "local:";

/// A house whose daemon measures.
fn scene() -> Scene {
    let mut hsm = Hsm::at_rest();
    fs::write(
        hsm.home.join("strongroom.toml"),
        "[release]\nlocal = true\n",
    )
    .unwrap();
    hsm.start_daemon();
    let module = hsm.module();
    let slot = module.make_token("suite");
    let other_slot = module.make_token("elsewhere");
    fs::write(hsm.home.join("pin"), strongroom_tests::USER_PIN).unwrap();
    let authority = Authority::new(&hsm.home, "authority");
    Scene {
        place: Workplace { module, slot, hsm },
        authority,
        other_slot,
    }
}

/// A policy of the daemon's own authority.
fn of_local(claim: &str, equals: &Value) -> String {
    policy(claim, equals).replace(strongroom_tests::attest::URL, LOCAL)
}

/// What a process presents to be measured: the key that it can decrypt with.
fn to_be_measured(modulus: &[u8]) -> String {
    let key =
        json!({"kty": "RSA", "kid": "own", "use": "enc", "n": base64url(modulus), "e": "AQAB"});
    let runtime = json!({ "keys": [key] }).to_string();
    json!({"format": "local", "runtime": base64url(runtime.as_bytes())}).to_string()
}

#[test]
fn a_key_leaves_to_the_program_that_it_is_meant_for_and_to_no_other() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = scene();
    let consumer = scene.consumer();
    let session = scene.place.user();
    let own = std::env::current_exe().unwrap();
    let hash = digits(&Sha256::digest(fs::read(&own).unwrap())).to_lowercase();
    let asks = to_be_measured(&consumer.modulus);
    let guest = present(&session, &asks).unwrap();
    let [(_, way), ..] = ways();
    // SAFETY: the call has no arguments and cannot fail.
    let user = unsafe { libc::geteuid() };
    for (claim, equals) in [
        ("local-executable-sha256", json!(hash)),
        ("local-executable", json!(own.to_str().unwrap())),
        ("local-uid", json!(user)),
        ("x-ms-attestation-type", json!("local")),
    ] {
        let key = aes(&session, claim, &of_local(claim, &equals));
        let wrapped = session.wrap(way.clone(), guest, key).unwrap();
        does_the_same(&scene, &consumer, &wrapped, &way, Kind::Aes(key));
    }
    for (claim, equals) in [
        ("local-executable-sha256", json!("00".repeat(32))),
        ("local-executable", json!("/usr/bin/other")),
        ("local-uid", json!(user + 1)),
        ("local-unit", json!("other.service")),
    ] {
        let key = aes(&session, claim, &of_local(claim, &equals));
        let refused = session.wrap(way.clone(), guest, key).unwrap_err();
        assert_eq!(refused.0, CKR_KEY_NOT_WRAPPABLE, "{claim}");
    }
    // The command is another program: for the key of this one it gets nothing, for its own it does.
    let meant = of_local("local-executable-sha256", &json!(hash));
    aes(&session, "mine", &meant);
    let said = scene.release("mine", &asks, &[]).unwrap_err();
    assert!(said.contains("does not meet"), "{said}");
    let command = strongroom_tests::product::bin_dir().join("strongroom");
    let hash = digits(&Sha256::digest(fs::read(command).unwrap())).to_lowercase();
    aes(
        &session,
        "its",
        &of_local("local-executable-sha256", &json!(hash)),
    );
    scene.release("its", &asks, &[]).unwrap();
}

#[test]
fn the_daemons_own_authority_is_listed_cannot_be_another_and_goes_when_it_is_switched_off() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = scene();
    let hsm = &scene.place.hsm;
    let listed = hsm.administer(&["authority", "list"]);
    assert!(
        listed.contains(LOCAL) && listed.contains("measures"),
        "{listed}"
    );
    let keys = scene.authority.keys();
    for arguments in [
        vec!["authority", "add", LOCAL, "--keys", keys.to_str().unwrap()],
        vec!["authority", "remove", LOCAL],
    ] {
        let output = hsm.try_administer(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("release.local"),
            "{said}"
        );
    }
    let consumer = scene.consumer();
    let session = scene.place.user();
    let [(_, way), ..] = ways();
    let key = aes(
        &session,
        "mine",
        &of_local("x-ms-attestation-type", &json!("local")),
    );
    let asks = to_be_measured(&consumer.modulus);
    let guest = present(&session, &asks).unwrap();
    session.wrap(way.clone(), guest, key).unwrap();
    hsm.configure("[release]\nlocal = false\n");
    assert!(!hsm.administer(&["authority", "list"]).contains(LOCAL));
    let refused = session.wrap(way.clone(), guest, key).unwrap_err();
    assert_eq!(refused.0, CKR_KEY_NOT_WRAPPABLE);
    assert_eq!(present(&session, &asks), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    // It comes back with the next start only, and that is said.
    hsm.configure("[release]\nlocal = true\n");
    assert!(hsm.log().contains("release.local"), "{}", hsm.log());
    assert_eq!(present(&session, &asks), Err(CKR_ATTRIBUTE_VALUE_INVALID));
}

/// Whoever ends the measuring process has won nothing: nobody's program is measured any more, and all else goes on.
#[test]
fn without_the_measuring_process_no_program_is_known() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let scene = scene();
    let consumer = scene.consumer();
    let session = scene.place.user();
    let [(_, way), ..] = ways();
    let own = std::env::current_exe().unwrap();
    let by_program = of_local("local-executable", &json!(own.to_str().unwrap()));
    let by_program = aes(&session, "by program", &by_program);
    let by_kind = of_local("x-ms-attestation-type", &json!("local"));
    let by_kind = aes(&session, "by kind", &by_kind);
    let asks = to_be_measured(&consumer.modulus);
    let before = present(&session, &asks).unwrap();
    session.wrap(way.clone(), before, by_program).unwrap();
    let daemon = scene.place.hsm.daemon_pid().unwrap();
    let measuring = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.starts_with("Name:\tstrongroom-hash\n")
                && status.contains(&format!("\nPPid:\t{daemon}\n"))
        })
        .unwrap();
    // SAFETY: a signal to the process found above, which is the daemon's own child.
    assert_eq!(unsafe { libc::kill(measuring, libc::SIGKILL) }, 0);
    let after = present(&session, &asks).unwrap();
    let refused = session.wrap(way.clone(), after, by_program).unwrap_err();
    assert_eq!(refused.0, CKR_KEY_NOT_WRAPPABLE);
    session.wrap(way.clone(), after, by_kind).unwrap();
    assert!(scene.place.hsm.log().contains("measuring process is gone"));
}

/// A control group that stands below no slice, as a unit's does; removed at the end.
struct Group(PathBuf);

impl Group {
    /// None where this user may make none, or where processes in it do not seem to be below the root of all groups, as in some containers.
    fn new() -> Option<Self> {
        let name = format!("strongroom-test-{}.service", std::process::id());
        ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"]
            .map(Path::new)
            .into_iter()
            .filter(|root| root.join("cgroup.procs").exists())
            .map(|root| Self(root.join(&name)))
            .find(|group| fs::create_dir(&group.0).is_ok() && group.holds())
    }

    /// What a shell does to go into it, and to become the command behind it.
    fn entered(&self) -> String {
        format!(
            "echo $$ > '{}/cgroup.procs' && exec \"$@\"",
            self.0.display()
        )
    }

    fn holds(&self) -> bool {
        let script = self.entered();
        let shell = ["-c", &script, "sh", "cat", "/proc/self/cgroup"];
        let told = Command::new("sh").args(shell).output().unwrap().stdout;
        let line = format!(":/{}", self.unit());
        let told = String::from_utf8(told).unwrap();
        told.lines().any(|one| one.ends_with(&line))
    }

    fn unit(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have ended, but the kernel may not have left it yet.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_key_leaves_to_a_unit_and_not_to_the_same_program_outside_of_it() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let Some(group) = Group::new() else {
        println!(
            "this user may make no control group; what a unit's group says is tested in daemon/src/process.rs"
        );
        return;
    };
    let scene = scene();
    let consumer = scene.consumer();
    let session = scene.place.user();
    aes(
        &session,
        "units",
        &of_local("local-unit", &json!(group.unit())),
    );
    let asks = to_be_measured(&consumer.modulus);
    let said = scene.release("units", &asks, &[]).unwrap_err();
    assert!(said.contains("does not meet"), "{said}");
    let hsm = &scene.place.hsm;
    let command = strongroom_tests::product::bin_dir().join("strongroom");
    let (file, pin) = (hsm.home.join("statement"), hsm.home.join("pin"));
    let output = hsm
        .command("sh")
        .args(["-c", &group.entered(), "sh"])
        .arg(command)
        .args(["key", "release", "suite", "units", "--token"])
        .arg(file)
        .arg("--pin-file")
        .arg(pin)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let (_, payload) = opened(String::from_utf8(output.stdout).unwrap().trim());
    assert_eq!(payload["response"]["key"]["key"]["kty"], "oct-HSM");
}
