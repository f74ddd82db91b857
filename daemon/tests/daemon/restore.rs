//! Restores that are cut short, under other seals, and of many objects.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom::vault::{MaterialChange, ObjectChange, PinCost, Realm, User, Vault};
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::frame::Door;
use strongroom_wire::secret::Secret;
use strongroomd::backup::{IdentitySource, Prepared, Target, prepare};
use strongroomd::command_line::Arguments;
use strongroomd::config::{Configuration, Environment};
use strongroomd::seal::{Opening, StoreState};
use strongroomd::store::RedbStore;

use crate::backup::{Origin, USER_PIN, files, make_token, refusal, restore, said, shown, tokens};
use crate::bench::{Client, Running, program, start_memory};

fn configuration(home: &Path) -> Configuration {
    let arguments = Arguments {
        home: Some(home.into()),
        ..Arguments::default()
    };
    Configuration::read(&arguments, &Environment::default()).unwrap()
}
fn steps(home: &Path, file: &Path, key: &Path, replace: bool, count: usize) {
    start_memory();
    let configuration = configuration(home);
    let source = IdentitySource {
        file: Some(key.into()),
        ..IdentitySource::default()
    };
    let prepared: Prepared<'_> =
        prepare(&Target::of(&configuration, replace), file, &source).unwrap();
    if count > 0 {
        prepared.mark().unwrap();
    }
    if count > 1 {
        prepared.seal().unwrap();
    }
    if count > 2 {
        prepared.finish().unwrap();
    }
}

/// A crash after each step, into an empty home and over another store with another key. What a start finds then is the old or the new.
#[test]
fn a_crash_between_the_steps_leaves_the_old_or_the_new() {
    let origin = Origin::new();
    let file = origin.backup("backup");
    let restored = shown(&origin.tokens());
    for count in 0..=3 {
        let empty = origin.path(&format!("empty{count}"));
        fs::create_dir(&empty).unwrap();
        steps(&empty, &file, &origin.path("key"), false, count);
        let found = shown(&tokens(&Running::start(&empty)));
        let expected = if count < 2 {
            Vec::new()
        } else {
            restored.clone()
        };
        assert_eq!(found, expected, "{count} steps into an empty home");
        assert!(
            !files(&empty)
                .iter()
                .any(|(name, _)| name.contains(".restor"))
        );

        let full = origin.path(&format!("full{count}"));
        fs::create_dir(&full).unwrap();
        make_token(&Running::start(&full), "old");
        let old = shown(&tokens(&Running::start(&full)));
        steps(&full, &file, &origin.path("key"), true, count);
        let found = shown(&tokens(&Running::start(&full)));
        let expected = if count < 2 { &old } else { &restored };
        assert_eq!(&found, expected, "{count} steps over a store");
        let kept = files(&full)
            .iter()
            .any(|(name, _)| name.contains(".before-restore-"));
        assert_eq!(kept, count >= 2);
        assert!(
            !files(&full)
                .iter()
                .any(|(name, _)| name.contains(".restor"))
        );
    }
}

/// The real program, killed at any moment.
#[test]
fn a_killed_restore_leaves_the_old_or_the_new() {
    let origin = Origin::new();
    let file = origin.backup("backup");
    let restored = shown(&origin.tokens());
    let begin = Instant::now();
    said(&restore(
        &origin.path("timed"),
        &file,
        &[],
        &origin.path("key"),
    ));
    let whole = begin.elapsed();
    let mut seen = [0; 2];
    for round in 0..40 {
        let home = origin.path(&format!("killed{round}"));
        fs::create_dir(&home).unwrap();
        let mut command = program(&home);
        command
            .arg("--restore")
            .arg(&file)
            .arg("--identity")
            .arg(origin.path("key"));
        let mut child: Child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before its first step to after its last one, however fast the machine is.
        std::thread::sleep(whole * round / 32);
        let _ = child.kill();
        child.wait().unwrap();
        let found = shown(&tokens(&Running::start(&home)));
        assert!(
            found.is_empty() || found == restored,
            "round {round}: {found:?}"
        );
        seen[usize::from(!found.is_empty())] += 1;
    }
    println!("nothing {} times, the whole {} times", seen[0], seen[1]);
}

/// Root keys under a passphrase.
const PASSPHRASE: &str = "a passphrase of this seal";

fn sealed_home(origin: &Origin, name: &str) -> std::path::PathBuf {
    let home = origin.path(name);
    fs::create_dir(&home).unwrap();
    let passphrase = origin.path("passphrase");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&passphrase, private).unwrap();
    let text = format!(
        "[seal]\nproviders = [\"passphrase\"]\npassphrase_file = \"{}\"\n",
        passphrase.display()
    );
    fs::write(home.join("strongroom.toml"), text).unwrap();
    home
}

/// From a key file to a passphrase: the root key comes along, its seal does not.
#[test]
fn a_backup_restores_under_another_seal() {
    let origin = Origin::new();
    let file = origin.backup("backup");
    let home = sealed_home(&origin, "other");
    said(&restore(&home, &file, &[], &origin.path("key")));
    assert!(home.join("root.seal").exists() && !home.join("root.key").exists());
    assert_eq!(
        shown(&tokens(&Running::start(&home))),
        shown(&origin.tokens())
    );
}

/// Where there is no place for the root key nothing is restored.
#[test]
fn a_seal_that_cannot_be_made_restores_nothing() {
    let origin = Origin::new();
    let file = origin.backup("backup");
    let home = sealed_home(&origin, "other");
    fs::write(origin.path("passphrase"), "short").unwrap();
    let before = files(&home);
    let refused = refusal(&restore(&home, &file, &[], &origin.path("key")));
    assert!(refused.contains("nothing was restored"), "{refused}");
    assert_eq!(files(&home), before);
}

/// A daemon that is still sealed; ended with the test.
struct Sealed(Child);

impl Sealed {
    fn start(home: &Path) -> Self {
        let mut command = program(home);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let sealed = Self(child.unwrap());
        while UnixStream::connect(home.join("admin.sock")).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        sealed
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The root key was sealed, then the machine stopped; at the next start nobody has typed the passphrase yet. Which restore it is stands in the
/// envelope, so the store is put in place at once, and opens once the passphrase comes. That it is older than the journal knows is no surprise.
#[test]
fn a_start_that_is_still_sealed_finishes_a_restore() {
    let origin = Origin::new();
    let file = origin.backup("backup");
    let restored = shown(&origin.tokens());
    for replaced in [false, true] {
        let home = sealed_home(&origin, &format!("other{replaced}"));
        if replaced {
            // More commits than the backup has seen.
            let running = Running::start(&home);
            for number in 0..9 {
                make_token(&running, &format!("token {number}"));
            }
        }
        steps(&home, &file, &origin.path("key"), replaced, 2);
        fs::write(
            home.join("strongroom.toml"),
            "[seal]\nproviders = [\"passphrase\"]\n",
        )
        .unwrap();
        let _sealed = Sealed::start(&home);
        assert!(
            !files(&home)
                .iter()
                .any(|(name, _)| name.contains(".restor"))
        );
        let admin = || Client::connect(&home.join("admin.sock"), Door::Admin);
        let secret = Secret::new(PASSPHRASE.as_bytes());
        let answer = admin().administer(&AdminRequest::Unseal { secret });
        assert!(matches!(answer, AdminAnswer::Seal(_)), "{answer:?}");
        let found = loop {
            // The connections of a sealed daemon end with the unsealing; those of the service begin once the store is open.
            let mut admin = admin();
            let asked = admin.frame(&AdminRequest::TokenList);
            // One that was made before the unsealing may end before it has asked.
            let payload = match admin.socket.write_all(&asked) {
                Ok(()) => admin.receive(),
                Err(_) => None,
            };
            match payload.map(|payload| strongroom_wire::codec::decode(&payload).unwrap()) {
                Some(AdminAnswer::Tokens(tokens)) => break tokens.into_items(),
                Some(AdminAnswer::Refused { .. }) | None => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(shown(&found), restored);
    }
}

/// Most memory that a process ever had, in KiB.
fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Puts private objects into the first token of a home whose daemon does not run; nobody looks at what is in them.
fn fill(home: &Path, objects: u64) {
    start_memory();
    let configuration = configuration(home);
    let Opening::Open(root_key) = configuration.seal.open(StoreState::Present).unwrap() else {
        panic!("sealed");
    };
    let store = Arc::new(RedbStore::open(&configuration.store).unwrap());
    let vault = Vault::open(store, root_key, PinCost::danger_cheap()).unwrap();
    let token = &vault.tokens()[0];
    token
        .login(User::User, USER_PIN.as_bytes(), &configuration.limits)
        .unwrap();
    let metadata = [7; 300];
    for _ in 0..objects / 1_000 {
        let changes: Vec<ObjectChange<'_>> = (0..1_000)
            .map(|_| ObjectChange::Put {
                object: token.next_object(),
                realm: Realm::Private,
                metadata: &metadata,
                material: MaterialChange::None,
            })
            .collect();
        token.commit(&changes).unwrap();
    }
}

/// The memory that a backup and a restore take does not grow with the store.
#[test]
fn a_hundred_thousand_objects_in_bounded_memory() {
    let origin = Origin::new();
    fill(&origin.home(), 100_000);
    let running = Running::start(&origin.home());
    let pid = running.status().pid;
    // What the first backup of a process sets up is not what grows: code, and the cache of the store.
    let before = peak_of(pid);
    let file = origin.backup_of(&running, "backup");
    let after = peak_of(pid);
    let length = fs::metadata(&file).unwrap().len() / 1024;
    println!("daemon: {before} KiB before, {after} KiB at most, for a backup of {length} KiB");
    assert!(length > 30_000, "{length} KiB");
    // The cache of the store has 16 MiB.
    assert!(
        after < before + 24 * 1024,
        "{before} KiB before, {after} KiB at most"
    );
    drop(running);

    let other = origin.path("other");
    let text = said(&restore(&other, &file, &[], &origin.path("key")));
    assert!(text.contains("100000 objects"), "{text}");
}
