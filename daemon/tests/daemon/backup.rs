//! Backup and restore, with the real program: what comes out, what is refused, and what a crash leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use strongroom::vault::{MaterialChange, ObjectChange, PinCost, Realm, User, Vault};
use strongroom_wire::admin::{AdminAnswer, AdminRequest, Token};
use strongroom_wire::codec::List;
use strongroom_wire::secret::Secret;
use strongroomd::backup::{IdentitySource, Prepared, Target, prepare};
use strongroomd::command_line::Arguments;
use strongroomd::config::{Configuration, Environment};
use strongroomd::seal::{Opening, StoreState};
use strongroomd::store::RedbStore;

use crate::bench::{Directory, Running, program, start_memory};

const SO_PIN: &str = "so pin that is long";
const USER_PIN: &str = "user pin that is long";

/// A home with tokens, and a key pair beside it.
struct Origin {
    directory: Directory,
}

impl Origin {
    fn new() -> Self {
        let origin = Self {
            directory: Directory::new(),
        };
        said(&origin.keygen(&[]));
        let running = Running::start(&origin.home());
        make_token(&running, "first");
        make_token(&running, "second");
        drop(running);
        origin
    }

    fn home(&self) -> PathBuf {
        let home = self.directory.join("home");
        let _ = fs::create_dir(&home);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn keygen(&self, flags: &[&str]) -> Output {
        let mut command = program(&self.home());
        command.arg("--backup-keygen").arg(self.path("key"));
        command.args(flags).output().unwrap()
    }

    /// Makes a backup for the key pair.
    fn backup(&self, name: &str) -> PathBuf {
        let running = Running::start(&self.home());
        self.backup_of(&running, name)
    }

    fn backup_of(&self, running: &Running, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, backup_for(running, &self.path("key.pub"))).unwrap();
        path
    }

    fn tokens(&self) -> Vec<Token> {
        tokens(&Running::start(&self.home()))
    }
}

fn make_token(running: &Running, label: &str) {
    let answer = running.admin().administer(&AdminRequest::TokenCreate {
        label,
        so_pin: Secret::new(SO_PIN.as_bytes()),
        user_pin: Some(Secret::new(USER_PIN.as_bytes())),
    });
    assert!(matches!(answer, AdminAnswer::Tokens(_)), "{answer:?}");
}

fn tokens(running: &Running) -> Vec<Token> {
    match running.admin().administer(&AdminRequest::TokenList) {
        AdminAnswer::Tokens(tokens) => tokens.into_items(),
        other => panic!("{other:?}"),
    }
}

fn shown(tokens: &[Token]) -> Vec<(u64, String, String)> {
    let shown = |token: &Token| (token.slot, token.label.clone(), token.serial_number.clone());
    tokens.iter().map(shown).collect()
}

/// What the daemon sends for a public key, put together.
fn backup_for(running: &Running, key: &Path) -> Vec<u8> {
    let key = fs::read_to_string(key).unwrap();
    let mut admin = running.admin();
    let recipients = List::new(vec![key.as_str()]).unwrap();
    let begun = admin.administer(&AdminRequest::Backup { recipients });
    assert!(
        matches!(begun, AdminAnswer::BackupBegun { .. }),
        "{begun:?}"
    );
    let mut file = Vec::new();
    loop {
        let payload = admin.receive().expect("a part");
        match strongroom_wire::codec::decode(&payload).unwrap() {
            AdminAnswer::BackupPart { bytes, .. } => file.extend_from_slice(&bytes),
            AdminAnswer::BackupEnded { bytes, .. } => {
                assert_eq!(bytes, file.len() as u64);
                return file;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn restore(home: &Path, file: &Path, flags: &[&str], key: &Path) -> Output {
    let _ = fs::create_dir(home);
    let mut command = program(home);
    command
        .arg("--restore")
        .arg(file)
        .arg("--identity")
        .arg(key);
    command.args(flags).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{error}");
    said
}

fn refusal(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "not refused: {error}");
    error
}

/// Every file of a home but the lock and the journal, with what is in it.
fn files(home: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(home)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name != "strongroomd.lock" && !name.starts_with("audit"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn configuration(home: &Path) -> Configuration {
    let arguments = Arguments {
        home: Some(home.into()),
        ..Arguments::default()
    };
    Configuration::read(&arguments, &Environment::default()).unwrap()
}

#[test]
fn a_backup_restores_into_an_empty_home() {
    let origin = Origin::new();
    let file = origin.backup("backup");
    let other = origin.path("other");
    let text = said(&restore(&other, &file, &[], &origin.path("key")));
    assert!(text.contains("token \"first\"") && text.contains("token \"second\""));
    let before = shown(&origin.tokens());
    let restored = Running::start(&other);
    assert_eq!(shown(&tokens(&restored)), before);
    assert_eq!(before.len(), 2);
    let AdminAnswer::Lines(lines) = restored
        .admin()
        .administer(&AdminRequest::AuditTail { lines: 9 })
    else {
        panic!("no lines");
    };
    let id = text.split(' ').nth(1).unwrap().trim_end_matches(',');
    let line = lines
        .items()
        .iter()
        .find(|line| line.contains("\"restore\""));
    assert!(line.expect("the restore is in the journal").contains(id));
}

#[test]
fn a_backup_is_in_the_journal_with_its_id() {
    let origin = Origin::new();
    let running = Running::start(&origin.home());
    let file = fs::read(origin.backup_of(&running, "backup")).unwrap();
    let AdminAnswer::Lines(lines) = running
        .admin()
        .administer(&AdminRequest::AuditTail { lines: 9 })
    else {
        panic!("no lines");
    };
    let header = String::from_utf8_lossy(&file[24..400]).into_owned();
    let id = &header[header.find("\"id\":\"").unwrap() + 6..][..32];
    for function in ["\"admin.backup\"", "\"admin.backup_ended\""] {
        let line = lines.items().iter().find(|line| line.contains(function));
        assert!(line.expect(function).contains(id));
    }
}

#[test]
fn nothing_is_restored_over_a_store_unless_told() {
    let origin = Origin::new();
    let file = origin.backup("backup");
    let home = origin.home();
    let before = files(&home);
    let refused = refusal(&restore(&home, &file, &[], &origin.path("key")));
    assert!(refused.contains("--replace-store"), "{refused}");
    assert_eq!(files(&home), before);

    // Back to the moment of the backup; the store that was there stays under another name.
    make_token(&Running::start(&home), "third");
    let late = fs::read(home.join("store.redb")).unwrap();
    said(&restore(
        &home,
        &file,
        &["--replace-store"],
        &origin.path("key"),
    ));
    assert_eq!(origin.tokens().len(), 2);
    let kept = files(&home)
        .into_iter()
        .find(|(name, _)| name.starts_with("store.redb.before-restore-"))
        .expect("the old store is kept");
    assert_eq!(kept.1, late);

    // The journal knows of it: the store that was set aside is the older one now, and is refused if somebody puts it back.
    let restored = fs::read(home.join("store.redb")).unwrap();
    fs::write(home.join("store.redb"), &late).unwrap();
    let refused = refusal(&program(&home).output().unwrap());
    assert!(refused.contains("--accept-older-store"), "{refused}");
    fs::write(home.join("store.redb"), &restored).unwrap();

    // Another home, whose key is another one: its key is kept too.
    let other = origin.path("other");
    fs::create_dir(&other).unwrap();
    make_token(&Running::start(&other), "elsewhere");
    said(&restore(
        &other,
        &file,
        &["--replace-store"],
        &origin.path("key"),
    ));
    assert_eq!(tokens(&Running::start(&other)).len(), 2);
}

#[test]
fn a_running_daemon_is_not_restored_under() {
    let origin = Origin::new();
    let running = Running::start(&origin.home());
    let file = origin.backup_of(&running, "backup");
    let output = restore(
        &origin.home(),
        &file,
        &["--replace-store"],
        &origin.path("key"),
    );
    let refused = refusal(&output);
    assert!(refused.contains("strongroom stop"), "{refused}");
    assert_eq!(tokens(&running).len(), 2);
}

#[test]
fn what_was_touched_is_refused_and_writes_nothing() {
    let origin = Origin::new();
    let file = fs::read(origin.backup("backup")).unwrap();
    let other = origin.path("other");
    let key = origin.path("key");
    let refused = |name: &str, content: &[u8]| {
        let path = origin.path(name);
        fs::write(&path, content).unwrap();
        let refused = refusal(&restore(&other, &path, &[], &key));
        assert!(
            files(&other).is_empty(),
            "{name}: {:?}",
            files(&other).len()
        );
        refused
    };
    let mut flipped = file.clone();
    let last = flipped.len() - 100;
    flipped[last] ^= 1;
    assert!(refused("flipped", &flipped).contains("chunk 1"));
    assert!(refused("cut", &file[..file.len() - 1]).contains("cut off"));
    assert!(refused("empty", b"").contains("no backup"));
    let mut header = file.clone();
    header[60] ^= 1;
    refused("header", &header);

    said(
        &program(&origin.home())
            .arg("--backup-keygen")
            .arg(origin.path("foreign"))
            .output()
            .unwrap(),
    );
    let whole = origin.path("backup");
    let foreign = refusal(&restore(&other, &whole, &[], &origin.path("foreign")));
    assert!(foreign.contains("was not made for the key"), "{foreign}");
    let public = refusal(&restore(&other, &whole, &[], &origin.path("key.pub")));
    assert!(public.contains("public half"), "{public}");
    assert!(files(&other).is_empty());
}

#[test]
fn shares_restore_and_one_too_few_do_not() {
    let origin = Origin::new();
    fs::remove_file(origin.path("key")).unwrap();
    fs::remove_file(origin.path("key.pub")).unwrap();
    let text = said(&origin.keygen(&["--backup-shares", "3/5"]));
    assert!(!origin.path("key").exists(), "the private half was written");
    let shares: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("strongroom-share-1"))
        .collect();
    assert_eq!(shares.len(), 5);
    let file = origin.backup("backup");
    let with = |name: &str, some: &[&str]| {
        let path = origin.path(&format!("shares-{name}"));
        fs::write(&path, some.join("\n")).unwrap();
        let home = origin.path(name);
        let _ = fs::create_dir(&home);
        let mut command = program(&home);
        command
            .arg("--restore")
            .arg(&file)
            .arg("--shares-file")
            .arg(path);
        (command.output().unwrap(), home)
    };
    // Every three of five.
    for (number, left_out) in [
        (0, 1),
        (0, 2),
        (0, 3),
        (0, 4),
        (1, 2),
        (1, 3),
        (1, 4),
        (2, 3),
        (2, 4),
        (3, 4),
    ]
    .into_iter()
    .enumerate()
    {
        let some: Vec<&str> = (0..5)
            .filter(|share| *share != left_out.0 && *share != left_out.1)
            .map(|share| shares[share])
            .collect();
        let (output, home) = with(&format!("home{number}"), &some);
        said(&output);
        if number == 0 {
            assert_eq!(
                shown(&tokens(&Running::start(&home))),
                shown(&origin.tokens())
            );
        }
    }
    let (output, home) = with("few", &shares[..2]);
    assert!(refusal(&output).contains("2 of 3 shares"));
    assert!(files(&home).is_empty());
    let mistyped = shares[2].replace("strongroom-share-1 ", "strongroom-share-1 0");
    let (output, _) = with("mistyped", &[shares[0], shares[1], &mistyped]);
    assert!(refusal(&output).contains("share 3 of the file"));
    let elsewhere = said(
        &program(&origin.home())
            .arg("--backup-keygen")
            .arg(origin.path("k2"))
            .args(["--backup-shares", "2/2"])
            .output()
            .unwrap(),
    );
    let foreign = elsewhere
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("strongroom-share-1"))
        .unwrap();
    let (output, _) = with("foreign", &[shares[0], shares[1], foreign]);
    assert!(refusal(&output).contains("belongs to another secret"));
}

#[test]
fn a_private_half_with_a_passphrase_opens_with_it_alone() {
    let origin = Origin::new();
    fs::remove_file(origin.path("key")).unwrap();
    fs::remove_file(origin.path("key.pub")).unwrap();
    let right = origin.directory.write("right", "correct horse battery\n");
    let wrong = origin.directory.write("wrong", "correct horse batterz\n");
    said(&origin.keygen(&["--identity-passphrase-file", right.to_str().unwrap()]));
    let file = origin.backup("backup");
    let with = |home: &str, passphrase: &Path| {
        let flags = ["--identity-passphrase-file", passphrase.to_str().unwrap()];
        restore(&origin.path(home), &file, &flags, &origin.path("key"))
    };
    assert!(refusal(&with("one", &wrong)).contains("passphrase of the private key is wrong"));
    said(&with("one", &right));
    assert_eq!(tokens(&Running::start(&origin.path("one"))).len(), 2);
    let nobody = refusal(&restore(
        &origin.path("two"),
        &file,
        &[],
        &origin.path("key"),
    ));
    assert!(nobody.contains("--identity-passphrase-file"), "{nobody}");
}

#[test]
fn a_check_says_what_it_checked() {
    let origin = Origin::new();
    let file = origin.backup("backup");
    let verify = |file: &Path, flags: &[&str]| {
        let mut command = program(&origin.home());
        command.arg("--verify-backup").arg(file).args(flags);
        command.output().unwrap()
    };
    let key = origin.path("key");
    let without = said(&verify(&file, &[]));
    assert!(without.contains("undamaged") && without.contains("not checked: whether it opens"));
    let with = said(&verify(&file, &["--identity", key.to_str().unwrap()]));
    assert!(with.contains("whole: every chunk") && with.contains("token \"first\""));
    let json = said(&verify(
        &file,
        &["--json", "--identity", key.to_str().unwrap()],
    ));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["opened"], &json["tokens"][1]["label"]),
        (&true.into(), &"second".into())
    );
    let mut damaged = fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let damaged_path = origin.path("damaged");
    fs::write(&damaged_path, damaged).unwrap();
    assert!(refusal(&verify(&damaged_path, &[])).contains("damaged"));
}

/// Nothing of what must be hidden shows: not in the file, not in what was said, not in the log.
#[test]
fn no_secret_shows_in_a_backup() {
    let origin = Origin::new();
    let running = Running::start(&origin.home());
    let file = fs::read(origin.backup_of(&running, "backup")).unwrap();
    let root = fs::read_to_string(origin.home().join("root.key")).unwrap();
    let digits = root.lines().nth(1).unwrap();
    let bytes: Vec<u8> = (0..32)
        .map(|byte| u8::from_str_radix(&digits[2 * byte..2 * byte + 2], 16).unwrap())
        .collect();
    let shows = |needle: &[u8]| file.windows(needle.len()).any(|place| place == needle);
    for needle in [
        digits.as_bytes(),
        &bytes,
        SO_PIN.as_bytes(),
        USER_PIN.as_bytes(),
        b"first",
        b"second",
    ] {
        assert!(!shows(needle), "{}", String::from_utf8_lossy(needle));
    }
    let text = said(&restore(
        &origin.path("other"),
        &origin.path("backup"),
        &[],
        &origin.path("key"),
    ));
    assert!(!text.contains(digits) && !text.contains(USER_PIN));
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
    let mut seen = [0; 2];
    for round in 0..40_u64 {
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
        // From before its first step to after its last one.
        std::thread::sleep(Duration::from_millis(round * 3));
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

/// Keys of the configuration are those that need not be named, and the only ones.
#[test]
fn the_configuration_can_say_whom_backups_are_made_for() {
    let origin = Origin::new();
    let key = fs::read_to_string(origin.path("key.pub")).unwrap();
    let line = key.lines().find(|line| !line.starts_with('#')).unwrap();
    fs::write(
        origin.home().join("strongroom.toml"),
        format!("[backup]\nrecipients = [\"{line}\"]\n"),
    )
    .unwrap();
    said(
        &program(&origin.home())
            .arg("--backup-keygen")
            .arg(origin.path("other"))
            .output()
            .unwrap(),
    );
    let running = Running::start(&origin.home());
    let ask = |keys: Vec<&str>| {
        let recipients = List::new(keys).unwrap();
        running
            .admin()
            .administer(&AdminRequest::Backup { recipients })
    };
    for keys in [Vec::new(), vec![key.as_str()]] {
        let answer = ask(keys);
        assert!(
            matches!(answer, AdminAnswer::BackupBegun { .. }),
            "{answer:?}"
        );
    }
    let other = fs::read_to_string(origin.path("other.pub")).unwrap();
    for keys in [vec![other.as_str()], vec![key.as_str(), other.as_str()]] {
        let AdminAnswer::Refused { reason, .. } = ask(keys) else {
            panic!("a key that is not listed");
        };
        assert!(reason.contains("backup.recipients"), "{reason}");
    }
}

/// A client that goes away in the middle of its backup leaves a daemon that serves, and a line that says so.
#[test]
fn a_client_that_goes_away_ends_its_backup() {
    let origin = Origin::new();
    let running = Running::start(&origin.home());
    let key = fs::read_to_string(origin.path("key.pub")).unwrap();
    let mut admin = running.admin();
    let recipients = List::new(vec![key.as_str()]).unwrap();
    admin.administer(&AdminRequest::Backup { recipients });
    drop(admin);
    assert_eq!(tokens(&running).len(), 2);
    let mut second = running.admin();
    let recipients = List::new(vec!["strongroom-backup-public-1 nonsense"]).unwrap();
    let refused = second.administer(&AdminRequest::Backup { recipients });
    assert!(
        matches!(refused, AdminAnswer::Refused { .. }),
        "{refused:?}"
    );
    let recipients = List::new(Vec::new()).unwrap();
    let refused = second.administer(&AdminRequest::Backup { recipients });
    assert!(
        matches!(refused, AdminAnswer::Refused { .. }),
        "{refused:?}"
    );
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
