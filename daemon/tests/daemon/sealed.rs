//! The sealed daemon as a process: what it shows, what it refuses, and how it goes on once it is open.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use strongroom_wire::admin::{AdminAnswer, AdminRequest, NewProvider, Seal};
use strongroom_wire::ck::{Rv, flag};
use strongroom_wire::codec::{self, List};
use strongroom_wire::frame::Door;
use strongroom_wire::request::{Request, SessionHandle, SlotId};
use strongroom_wire::response::{Answer, Body, TokenInfo};
use strongroom_wire::secret::Secret;

use crate::bench::{Client, Directory, Running, program};

const PASSPHRASE: &str = "correct horse battery";
const SLOT: SlotId = SlotId(0);

fn rotate(daemon: &Running, providers: Vec<NewProvider<'_>>, all: bool) -> (Seal, Vec<String>) {
    let request = AdminRequest::SealRotate {
        providers: List::new(providers).unwrap(),
        all,
        destroy_old: false,
    };
    match daemon.admin().administer(&request) {
        AdminAnswer::SealRotated { seal, shares } => (*seal, shares.into_items()),
        other => panic!("{other:?}"),
    }
}

fn passphrase() -> NewProvider<'static> {
    NewProvider::Passphrase {
        secret: Secret::new(PASSPHRASE.as_bytes()),
    }
}

fn shares() -> NewProvider<'static> {
    NewProvider::Shares {
        threshold: 2,
        count: 3,
    }
}

fn make_token(daemon: &Running) {
    let made = daemon.admin().administer(&AdminRequest::TokenCreate {
        label: "kept",
        so_pin: Secret::new(b"12345678"),
        user_pin: Some(Secret::new(b"1234")),
    });
    assert!(matches!(made, AdminAnswer::Tokens(_)), "{made:?}");
}

/// A home whose daemon was sealed anew and stopped; and the shares.
fn sealed_home(providers: Vec<NewProvider<'_>>, all: bool) -> (Directory, Vec<String>) {
    let home = Directory::new();
    let mut daemon = Running::start(home.path());
    make_token(&daemon);
    let (_, shares) = rotate(&daemon, providers, all);
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    (home, shares)
}

fn start_sealed(home: &Directory) -> Running {
    Running::start_until(program(home.path()), home.path(), " sealed: ")
}

fn unseal(client: &mut Client, secret: &str) -> Result<Seal, (Rv, String)> {
    let secret = Secret::new(secret.as_bytes());
    match client.administer(&AdminRequest::Unseal { secret }) {
        AdminAnswer::Seal(seal) => Ok(*seal),
        AdminAnswer::Refused { rv, reason } => Err((rv, reason)),
        other => panic!("{other:?}"),
    }
}

fn ask<T>(client: &mut Client, request: &Request<'_>, see: impl FnOnce(&Answer<'_>) -> T) -> T {
    client.send(request);
    let payload = client.receive().expect("an answer");
    see(&codec::decode(&payload).unwrap())
}

fn token_info(client: &mut Client) -> TokenInfo {
    ask(
        client,
        &Request::TokenInfo { slot: SLOT },
        |answer| match &answer.body {
            Body::TokenInfo(info) => info.clone(),
            other => panic!("{other:?}"),
        },
    )
}

fn file(home: &Directory, name: &str) -> Vec<u8> {
    std::fs::read(home.join(name)).unwrap()
}

#[test]
fn applications_see_an_uninitialised_token_and_then_the_real_ones() {
    let (home, _) = sealed_home(vec![passphrase()], false);
    let mut daemon = start_sealed(&home);
    let mut early = daemon.application().hello();
    let info = token_info(&mut early);
    assert_eq!(info.flags & flag::TOKEN_INITIALIZED, 0);
    assert_eq!(info.label, [b' '; 32]);
    let session = SessionHandle(1);
    for request in [
        Request::OpenSession {
            slot: SLOT,
            flags: 4,
            session,
        },
        Request::InitToken {
            slot: SLOT,
            pin: Secret::new(b"12345678"),
            label: [b' '; 32],
        },
        Request::GenerateRandom { session, bytes: 1 },
    ] {
        let rv = ask(&mut early, &request, |answer| answer.rv);
        assert_eq!(rv, Rv::DEVICE_ERROR, "{request:?}");
    }
    let opened = unseal(&mut daemon.admin(), PASSPHRASE).unwrap();
    assert!(!opened.sealed);
    daemon.log_until(" ready: ");
    // Whoever was told of an uninitialised token is told to connect again.
    assert_eq!(early.receive(), None);
    let mut late = daemon.application().hello();
    let info = token_info(&mut late);
    assert_ne!(info.flags & flag::TOKEN_INITIALIZED, 0);
    assert!(info.label.starts_with(b"kept "));
    assert!(!daemon.status().sealed);
}

#[test]
fn connections_made_during_the_change_are_all_served() {
    let (home, _) = sealed_home(vec![passphrase()], false);
    let daemon = start_sealed(&home);
    let socket = home.join("pkcs11.sock");
    let knocking = std::thread::spawn(move || {
        // Whether before, between or after: nobody is refused, nobody hangs.
        (0..400)
            .filter(|_| {
                let client = Client::connect(&socket, Door::Application);
                let mut client = client;
                client.send(&Request::Hello {
                    instance: [7; 16],
                    shared_memory: false,
                });
                client.receive().is_some()
            })
            .count()
    });
    unseal(&mut daemon.admin(), PASSPHRASE).unwrap();
    let served = knocking.join().unwrap();
    // Those in the middle may meet the end of their connection before the greeting; they connect again.
    assert!(served > 390, "{served}");
    assert!(daemon.application().hello().is_served());
}

#[test]
fn the_administration_answers_status_and_unsealing_only() {
    let (home, _) = sealed_home(vec![shares()], false);
    let daemon = start_sealed(&home);
    let mut admin = daemon.admin();
    let status = admin.status();
    assert!(status.sealed);
    assert_eq!(status.sealed_until.as_deref(), Some("2 of 3 shares"));
    let refused = [
        AdminRequest::TokenList,
        AdminRequest::TokenDelete { token: "kept" },
        AdminRequest::ObjectList { token: "kept" },
        AdminRequest::AuditTail { lines: 1 },
        AdminRequest::Reload,
        AdminRequest::SealRotate {
            providers: List::new(vec![passphrase()]).unwrap(),
            all: false,
            destroy_old: false,
        },
    ];
    for request in refused {
        match admin.administer(&request) {
            AdminAnswer::Refused { reason, .. } => {
                assert!(reason.contains("strongroom unseal"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn shares_come_one_by_one_and_can_be_taken_back() {
    let (home, shares) = sealed_home(vec![shares()], false);
    let daemon = start_sealed(&home);
    let given = |seal: &Seal| seal.providers.items()[0].given;
    // Each from a person of their own, on a connection of their own.
    assert_eq!(given(&unseal(&mut daemon.admin(), &shares[0]).unwrap()), 1);
    let (_, reason) = unseal(&mut daemon.admin(), &shares[0]).unwrap_err();
    assert!(reason.contains("entered already"), "{reason}");
    let (_, reason) = unseal(&mut daemon.admin(), PASSPHRASE).unwrap_err();
    assert!(reason.contains("no share"), "{reason}");
    assert_eq!(
        daemon.status().sealed_until.as_deref(),
        Some("2 of 3 shares (1 of 2 given)")
    );
    match daemon.admin().administer(&AdminRequest::UnsealReset) {
        AdminAnswer::Seal(seal) => assert_eq!(given(&seal), 0),
        other => panic!("{other:?}"),
    }
    assert_eq!(given(&unseal(&mut daemon.admin(), &shares[2]).unwrap()), 1);
    assert!(!unseal(&mut daemon.admin(), &shares[1]).unwrap().sealed);
}

#[test]
fn shares_of_another_store_are_refused_at_once() {
    let (home, _) = sealed_home(vec![shares()], false);
    let (_other, foreign) = sealed_home(vec![shares()], false);
    let daemon = start_sealed(&home);
    let (rv, reason) = unseal(&mut daemon.admin(), &foreign[0]).unwrap_err();
    assert_eq!(rv, Rv::PIN_INCORRECT);
    assert!(
        reason.contains("share 1 is not one of this seal"),
        "{reason}"
    );
}

#[test]
fn a_hundred_wrong_unseals_change_nothing_and_are_all_recorded() {
    let (home, _) = sealed_home(vec![passphrase()], false);
    let mut daemon = start_sealed(&home);
    let wrong = |number: usize| format!("wrong horse battery {number:03}");
    let mut admin = daemon.admin();
    for number in 0..100 {
        let (rv, reason) = unseal(&mut admin, &wrong(number)).unwrap_err();
        assert_eq!(rv, Rv::PIN_INCORRECT);
        assert!(reason.contains("the passphrase is not the one"), "{reason}");
    }
    assert!(!unseal(&mut admin, PASSPHRASE).unwrap().sealed);
    daemon.log_until(" ready: ");
    let mut admin = daemon.admin();
    let AdminAnswer::Audit(report) = admin.administer(&AdminRequest::AuditVerify) else {
        panic!("no report");
    };
    assert_eq!(report.broken, None);
    let AdminAnswer::Lines(lines) = admin.administer(&AdminRequest::AuditTail { lines: 1000 })
    else {
        panic!("no lines");
    };
    let unseals = |rv: &str| {
        let fits = |line: &&String| line.contains("\"admin.unseal\"") && line.contains(rv);
        lines.items().iter().filter(fits).count()
    };
    assert_eq!((unseals("CKR_PIN_INCORRECT"), unseals("CKR_OK")), (100, 1));
}

#[test]
fn no_secret_is_in_status_log_journal_or_seal() {
    let home = Directory::new();
    let log = home.join("log");
    let start = |text: &str| {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = program(home.path())
            .args(["--log-level", "debug"])
            .stderr(file)
            .spawn()
            .unwrap();
        let running = Foreground(child);
        while !std::fs::read_to_string(&log).unwrap().contains(text) {
            std::thread::yield_now();
        }
        running
    };
    let admin = || Client::connect(&home.join("admin.sock"), Door::Admin);
    let first = start(" ready: ");
    let request = AdminRequest::SealRotate {
        providers: List::new(vec![passphrase(), shares()]).unwrap(),
        all: true,
        destroy_old: false,
    };
    let AdminAnswer::SealRotated { shares, .. } = admin().administer(&request) else {
        panic!("not rotated");
    };
    drop(first);
    let _second = start(" sealed: ");
    let typo = format!("{PASSPHRASE}!");
    unseal(&mut admin(), &shares.items()[0]).unwrap();
    // Nothing on the disk tells whether it is right: only all together do.
    unseal(&mut admin(), &typo).unwrap();
    let (_, reason) = unseal(&mut admin(), &shares.items()[1]).unwrap_err();
    assert_eq!(reason, "the passphrase is not the one of this seal");
    let status = format!("{:?}", admin().status());
    assert!(!unseal(&mut admin(), PASSPHRASE).unwrap().sealed);
    let mut all = vec![("status".into(), status.into_bytes())];
    for entry in std::fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            all.push((path.display().to_string(), std::fs::read(path).unwrap()));
        }
    }
    let values = shares.items().iter().map(|share| {
        // The value of a share: its longest block.
        let longest = share.split(' ').max_by_key(|block| block.len());
        longest.unwrap()
    });
    for secret in values.chain([PASSPHRASE]) {
        for (name, content) in &all {
            let found = content
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{name}");
        }
    }
}

struct Foreground(std::process::Child);

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_rotation_leaves_the_store_as_it_is_byte_for_byte() {
    let home = Directory::new();
    let mut daemon = Running::start(home.path());
    make_token(&daemon);
    let before = file(&home, "store.redb");
    let key_file = home.join("seal.key").display().to_string();
    let (_, first) = rotate(&daemon, vec![shares()], false);
    let (_, second) = rotate(&daemon, vec![passphrase()], false);
    let path = key_file.as_str();
    let (seal, third) = rotate(&daemon, vec![NewProvider::KeyFile { path }, shares()], true);
    assert_eq!((first.len(), second.len(), third.len()), (3, 0, 3));
    assert!(seal.all && seal.providers.items().len() == 2);
    assert_eq!(file(&home, "store.redb"), before);
    assert!(daemon.application().hello().is_served());
    daemon.signal("TERM");
    assert!(daemon.wait().success());

    let mut daemon = start_sealed(&home);
    // Those of the first making are worth nothing now.
    assert!(unseal(&mut daemon.admin(), &first[0]).is_err());
    unseal(&mut daemon.admin(), &third[0]).unwrap();
    assert!(!unseal(&mut daemon.admin(), &third[2]).unwrap().sealed);
    daemon.log_until(" ready: ");
    assert!(
        token_info(&mut daemon.application().hello())
            .label
            .starts_with(b"kept ")
    );
}

#[test]
fn a_refused_rotation_leaves_the_seal_as_it_was() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    let root_key = home.join("root.key").display().to_string();
    let path = root_key.as_str();
    let relative = NewProvider::KeyFile { path: "seal.key" };
    let missing = NewProvider::KeyFile {
        path: "/nowhere/at/all/seal.key",
    };
    let short = NewProvider::Passphrase {
        secret: Secret::new(b"short"),
    };
    let strange = NewProvider::Shares {
        threshold: 3,
        count: 2,
    };
    for (providers, words) in [
        (vec![], "one or two providers"),
        (vec![passphrase(), passphrase()], "different kinds"),
        (vec![NewProvider::KeyFile { path }], "the root key itself"),
        (vec![relative], "relative"),
        (vec![missing], "/nowhere/at/all"),
        (vec![short], "12 bytes"),
        (vec![strange], "3/2"),
        (
            vec![NewProvider::Credential { name: "x" }],
            "LoadCredentialEncrypted=x",
        ),
    ] {
        let request = AdminRequest::SealRotate {
            providers: List::new(providers).unwrap(),
            all: false,
            destroy_old: false,
        };
        match daemon.admin().administer(&request) {
            AdminAnswer::Refused { reason, .. } => {
                assert!(reason.starts_with("the seal is as it was: "), "{reason}");
                assert!(reason.contains(words), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert!(!home.join("root.seal").exists());
    }
    match daemon.admin().administer(&AdminRequest::SealShow) {
        AdminAnswer::Seal(seal) => assert_eq!((seal.sealed, &seal.file), (false, &None)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_passphrase_comes_from_a_file_or_a_descriptor() {
    let (home, _) = sealed_home(vec![passphrase()], false);
    let path = home.write("passphrase", &format!("{PASSPHRASE}\n"));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = program(home.path());
    command.arg("--passphrase-file").arg(&path);
    drop(Running::start_with(command, home.path()));

    let from_descriptor = |content: &str| {
        let mut command = program(home.path());
        command.args(["--passphrase-fd", "0"]).stdin(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(content.as_bytes()).unwrap();
        drop(input);
        child
    };
    let mut right = Foreground(from_descriptor(PASSPHRASE));
    let socket = home.join("admin.sock");
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(right.0.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    assert!(!Client::connect(&socket, Door::Admin).status().sealed);
    drop(right);

    for (content, words) in [
        (
            "wrong horse battery",
            "the passphrase on descriptor 0 is not the one",
        ),
        ("", "no passphrase came on descriptor 0"),
    ] {
        let output = from_descriptor(content).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_credential_of_the_service_manager_opens_the_seal() {
    let home = Directory::new();
    let credentials = home.join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("strongroom-seal"), [0xb7; 32]).unwrap();
    let command = || {
        let mut command = program(home.path());
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        command
    };
    let daemon = Running::start_with(command(), home.path());
    let name = "strongroom-seal";
    let (seal, _) = rotate(&daemon, vec![NewProvider::Credential { name }], false);
    assert!(seal.providers.items()[0].shown.contains("(a key)"));
    drop(daemon);
    drop(Running::start_with(command(), home.path()));
    let output = program(home.path()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("LoadCredentialEncrypted=strongroom-seal"),
        "{text}"
    );
}

#[test]
fn the_terminal_is_asked_and_shows_nothing() {
    let (home, _) = sealed_home(vec![passphrase()], false);
    // script(1) is the terminal; what is typed comes from its input.
    let command = program(home.path());
    let words: Vec<PathBuf> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(PathBuf::from)
        .collect();
    let line: Vec<String> = words
        .iter()
        .map(|word| word.display().to_string())
        .collect();
    let mut script = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--command",
            &line.join(" "),
            "/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script(1) of bsdutils");
    let mut input = script.stdin.take().unwrap();
    let mut output = script.stdout.take().unwrap();
    let mut seen = String::new();
    let mut until = |words: &str| {
        let mut byte = [0];
        while !seen.contains(words) {
            assert_eq!(
                std::io::Read::read(&mut output, &mut byte).unwrap(),
                1,
                "{seen}"
            );
            seen.push(char::from(byte[0]));
        }
    };
    until("Passphrase of the root key: ");
    input.write_all(b"wrong horse battery\n").unwrap();
    until("is not the one of this seal");
    input
        .write_all(format!("{PASSPHRASE}\n").as_bytes())
        .unwrap();
    until(" ready: ");
    assert!(!seen.contains("horse"), "{seen}");
    let mut admin = Client::connect(&home.join("admin.sock"), Door::Admin);
    assert!(!admin.status().sealed);
    admin.administer(&AdminRequest::Stop);
    script.wait().unwrap();
}

#[test]
fn the_service_manager_hears_that_it_is_sealed_and_then_that_it_is_ready() {
    let (home, shares) = sealed_home(vec![shares()], false);
    let manager = UnixDatagram::bind(home.join("notify")).unwrap();
    let message = || {
        let mut bytes = [0; 1024];
        let count = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    };
    let mut command = program(home.path());
    command.env("NOTIFY_SOCKET", home.join("notify"));
    let daemon = Running::start_until(command, home.path(), " sealed: ");
    let text = message();
    assert!(text.starts_with("READY=1"), "{text}");
    assert!(
        text.ends_with("STATUS=sealed, waits for 2 of 3 shares"),
        "{text}"
    );
    unseal(&mut daemon.admin(), &shares[0]).unwrap();
    assert!(message().contains("1 of 2 given"));
    unseal(&mut daemon.admin(), &shares[1]).unwrap();
    assert!(message().ends_with("STATUS=ready"));
}

#[test]
fn a_sealed_daemon_goes_to_the_background_and_stops_when_told() {
    let (home, _) = sealed_home(vec![passphrase()], false);
    for stop in ["TERM", ""] {
        let output = program(home.path()).arg("--daemonize").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut admin = Client::connect(&home.join("admin.sock"), Door::Admin);
        let status = admin.status();
        assert!(status.sealed);
        if stop.is_empty() {
            admin.administer(&AdminRequest::Stop);
        } else {
            // A signal from outside does not open anything.
            for signal in ["USR1", "HUP", stop] {
                let kill = format!("kill -{signal} {}", status.pid);
                Command::new("sh").args(["-c", &kill]).status().unwrap();
            }
        }
        while admin.receive().is_some() {}
        let process = PathBuf::from(format!("/proc/{}/exe", status.pid));
        while std::fs::read_link(&process).is_ok() {
            std::thread::yield_now();
        }
    }
    drop(start_sealed(&home));
}

/// Two at once, of which one is there without anybody: the daemon opens by itself, or waits for the other.
#[test]
fn of_two_providers_the_one_that_is_there_opens() {
    let home = Directory::new();
    let daemon = Running::start(home.path());
    let key_file = home.join("seal.key").display().to_string();
    let path = key_file.as_str();
    rotate(
        &daemon,
        vec![NewProvider::KeyFile { path }, passphrase()],
        false,
    );
    drop(daemon);
    drop(Running::start(home.path()));
    std::fs::remove_file(&key_file).unwrap();
    let daemon = start_sealed(&home);
    assert!(!unseal(&mut daemon.admin(), PASSPHRASE).unwrap().sealed);
}
