//! The module in SoftHSM's place: programs of others see the same, whichever of the two a path leads to.
//!
//! What lives here: scripts of pkcs11-tool that run on SoftHSM first and on us after it, and the life of the private daemon.
//! What must never live here: calls of C; those are compared in the differential suite.
//! Who calls it: the suite.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strongroom_tests::product::bin_dir;

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const MODULE: &str = "libstrongroom_pkcs11.so";

/// Longest wait for a daemon to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a configuration of SoftHSM and a directory for tokens. Removing it ends the daemon that belongs to it.
struct World {
    /// What goes with it.
    whole: PathBuf,
    /// Where it works, there or below.
    root: PathBuf,
}

impl World {
    fn new() -> Self {
        Self::below("")
    }

    /// With so much more in its path. On the disk of the programs, so that they can be linked.
    fn below(more: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lookalike-{}-{number}", std::process::id());
        let whole = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let root = whole.join(more);
        let world = Self { whole, root };
        let _ = fs::remove_dir_all(&world.whole);
        fs::create_dir_all(world.tokens()).unwrap();
        world.configure("");
        world
    }

    fn configure(&self, more: &str) {
        let text = format!("directories.tokendir = {}\n{more}", self.tokens().display());
        fs::write(self.root.join("softhsm2.conf"), text).unwrap();
    }

    fn tokens(&self) -> PathBuf {
        self.root.join("tokens")
    }

    fn home(&self) -> PathBuf {
        self.tokens().join("strongroom")
    }

    /// Our module under SoftHSM's name.
    fn link(&self) -> PathBuf {
        let link = self.root.join("libsofthsm2.so");
        if !link.exists() {
            std::os::unix::fs::symlink(bin_dir().join(MODULE), &link).unwrap();
        }
        link
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in [
            "STRONGROOM_HOME",
            "STRONGROOM_SOCKET",
            "STRONGROOM_CONFIG",
            "STRONGROOM_SOFTHSM",
        ] {
            command.env_remove(variable);
        }
        command
            .env("SOFTHSM2_CONF", self.root.join("softhsm2.conf"))
            .env("STRONGROOM_DAEMON", bin_dir().join("strongroomd"))
            .stdin(Stdio::null());
        command
    }

    fn tool(&self, module: &Path, arguments: &[&str]) -> Output {
        let mut command = self.command("pkcs11-tool");
        command.arg("--module").arg(module).args(arguments);
        command.output().expect("pkcs11-tool runs")
    }

    /// A process that has the word for the daemon's directory on its command line: the daemon and its witness.
    fn daemons(&self) -> BTreeSet<u32> {
        let home = self.home();
        let home = home.as_os_str().as_encoded_bytes();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours = |number: &u32| {
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words
                .next()
                .is_some_and(|program| program.ends_with(b"strongroomd"))
                && words.any(|word| word == home)
        };
        let all: BTreeSet<u32> = numbers.filter(ours).collect();
        // The witness is a child of its daemon.
        let parent = |number: u32| {
            let state = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            let rest = state.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
            rest.and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok())
        };
        let first = |number: &u32| parent(*number).is_none_or(|parent| !all.contains(&parent));
        all.iter().copied().filter(first).collect()
    }

    fn wait_until_gone(&self, daemons: &BTreeSet<u32>) {
        let begin = Instant::now();
        while daemons
            .iter()
            .any(|number| Path::new(&format!("/proc/{number}/fd")).exists())
        {
            assert!(begin.elapsed() < PATIENCE, "{daemons:?} did not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.whole);
    }
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// What is different in every run of one and the same product: serial and slot numbers, and where the module lies.
fn comparable(output: &Output) -> (Option<i32>, Vec<String>) {
    let text = text(output);
    let lines = text.lines().map(|line| {
        if line.contains("serial num") || line.contains("uri:") {
            line.split_whitespace().next().unwrap_or("").to_owned()
        } else if line.starts_with("Slot ") || line.starts_with("Using slot") {
            let words: Vec<_> = line
                .split_whitespace()
                .filter(|word| !word.chars().any(|letter| letter.is_ascii_digit()))
                .collect();
            words.join(" ")
        } else {
            line.to_owned()
        }
    });
    (output.status.code(), lines.collect())
}

/// What a script of somebody's continuous integration does, step by step.
const SCRIPT: &[&[&str]] = &[
    &["--show-info"],
    &["--list-slots"],
    &[
        "--init-token",
        "--slot-index",
        "0",
        "--label",
        "first",
        "--so-pin",
        "5678",
    ],
    &[
        "--init-pin",
        "--token-label",
        "first",
        "--so-pin",
        "5678",
        "--pin",
        "1234",
    ],
    &[
        "--login",
        "--pin",
        "wrong",
        "--token-label",
        "first",
        "--list-objects",
    ],
    &[
        "--login",
        "--pin",
        "1234",
        "--token-label",
        "first",
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--label",
        "ec",
        "--id",
        "01",
    ],
    &[
        "--login",
        "--pin",
        "1234",
        "--token-label",
        "first",
        "--keygen",
        "--key-type",
        "AES:32",
        "--label",
        "aes",
        "--id",
        "02",
    ],
    &[
        "--token-label",
        "first",
        "--list-objects",
        "--type",
        "pubkey",
    ],
    &[
        "--login",
        "--pin",
        "1234",
        "--token-label",
        "absent",
        "--list-objects",
    ],
    &[
        "--login",
        "--pin",
        "1234",
        "--token-label",
        "first",
        "--delete-object",
        "--type",
        "secrkey",
        "--id",
        "02",
    ],
    &[
        "--login",
        "--pin",
        "1234",
        "--token-label",
        "first",
        "--delete-object",
        "--type",
        "secrkey",
        "--id",
        "02",
    ],
    &[
        "--login",
        "--pin",
        "1234",
        "--new-pin",
        "4321",
        "--change-pin",
        "--token-label",
        "first",
    ],
    &[
        "--login",
        "--pin",
        "4321",
        "--token-label",
        "first",
        "--list-objects",
        "--type",
        "secrkey",
    ],
];

#[test]
fn a_script_says_the_same_when_only_the_path_changes() {
    let (theirs, ours) = (World::new(), World::new());
    let link = ours.link();
    for arguments in SCRIPT {
        let expected = comparable(&theirs.tool(Path::new(SOFTHSM), arguments));
        let got = comparable(&ours.tool(&link, arguments));
        // The attributes that a key has by itself are the differential suite's business.
        let usage = |lines: &[String]| {
            let lines = lines.iter().filter(|line| {
                !["  Usage:", "  Access:", "  Allowed", "  Unique ID"]
                    .iter()
                    .any(|word| line.starts_with(word))
                    && !line.starts_with("  token flags")
                    && !line.contains("EC_POINT")
            });
            lines.cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            got.0, expected.0,
            "{arguments:?}: {:?} {:?}",
            got.1, expected.1
        );
        assert_eq!(usage(&got.1), usage(&expected.1), "{arguments:?}");
    }
}

#[test]
fn a_link_a_copy_a_hard_link_and_the_variable_all_stand_in_softhsms_place() {
    let world = World::new();
    let module = bin_dir().join(MODULE);
    let directory = |name: &str| {
        let directory = world.root.join(name);
        fs::create_dir(&directory).unwrap();
        directory.join("libsofthsm2.so")
    };
    let (copy, hard) = (directory("copy"), directory("hard"));
    fs::copy(&module, &copy).unwrap();
    fs::hard_link(&module, &hard).unwrap();
    for path in [world.link(), copy, hard] {
        let output = world.tool(&path, &["--list-slots"]);
        assert!(
            text(&output).contains("SoftHSM slot ID 0x0"),
            "{}",
            text(&output)
        );
    }
    let said = |value: &str, module: &Path| {
        let mut command = world.command("pkcs11-tool");
        command.arg("--module").arg(module).arg("--list-slots");
        command.env("STRONGROOM_SOFTHSM", value);
        // Where the module is itself, nobody listens and nothing is started.
        command.env("STRONGROOM_SOCKET", world.root.join("nobody.sock"));
        text(&command.output().unwrap())
    };
    let own = said("1", &module);
    assert!(own.contains("SoftHSM slot ID 0x0"), "{own}");
    let kept_out = said("0", &world.link());
    assert!(kept_out.contains("Strongroom"), "{kept_out}");
}

#[test]
fn the_look_alike_of_softhsm2_util_makes_and_deletes_tokens_there_too() {
    let world = World::new();
    let utility = |variable: bool, arguments: &str| {
        let mut command = world.command(env!("CARGO_BIN_EXE_strongroom-softhsm2-util"));
        command.args(arguments.split(' '));
        if variable {
            // The module beside the program.
            command.env("STRONGROOM_SOFTHSM", "1");
        } else {
            command.arg("--module").arg(world.link());
        }
        text(&command.output().unwrap())
    };
    for variable in [false, true] {
        let made = utility(
            variable,
            "--init-token --free --label gone --so-pin 12345678 --pin 1234",
        );
        assert!(made.contains("The token has been initialized"), "{made}");
        let there = text(&world.tool(&world.link(), &["--list-slots"]));
        assert!(there.contains("gone"), "{there}");
        let deleted = utility(variable, "--delete-token --token gone");
        assert!(deleted.contains("has been deleted."), "{deleted}");
        let there = text(&world.tool(&world.link(), &["--list-slots"]));
        assert!(!there.contains("gone"), "{there}");
        let again = utility(variable, "--delete-token --token gone");
        assert!(again.contains("Could not find a token"), "{again}");
    }
}

#[test]
fn without_a_configuration_or_a_directory_the_start_fails_as_softhsms_does() {
    let world = World::new();
    let both = || {
        let expected = world.tool(Path::new(SOFTHSM), &["--list-slots"]);
        let got = world.tool(&world.link(), &["--list-slots"]);
        assert!(!expected.status.success(), "{}", text(&expected));
        assert_eq!(comparable(&got), comparable(&expected));
    };
    world.configure("objectstore.backend = sqlite\n");
    both();
    world.configure("log.level = loud\n");
    both();
    world.configure("");
    fs::remove_dir(world.tokens()).unwrap();
    both();
    fs::remove_file(world.root.join("softhsm2.conf")).unwrap();
    both();
    assert!(world.daemons().is_empty());
}

#[test]
fn eight_processes_at_once_get_one_daemon() {
    let world = World::new();
    let link = world.link();
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut command = world.command("pkcs11-tool");
            command.arg("--module").arg(&link).arg("--list-slots");
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert!(
            said.contains("SoftHSM slot ID 0x0") && said.contains("uninitialized"),
            "{said}"
        );
    }
    assert_eq!(world.daemons().len(), 1);
}

#[test]
fn a_directory_that_is_removed_takes_its_daemon_along_and_a_new_one_gets_a_new_daemon() {
    let world = World::new();
    let link = world.link();
    let init = [
        "--init-token",
        "--slot-index",
        "0",
        "--label",
        "old",
        "--so-pin",
        "5678",
    ];
    for _ in 0..3 {
        let output = world.tool(&link, &init);
        assert!(output.status.success(), "{}", text(&output));
        let before = world.daemons();
        assert_eq!(before.len(), 1);
        fs::remove_dir_all(world.tokens()).unwrap();
        fs::create_dir(world.tokens()).unwrap();
        // At once, while the old one is still about to notice.
        let fresh = text(&world.tool(&link, &["--list-slots"]));
        assert!(
            fresh.contains("uninitialized") && !fresh.contains("old"),
            "{fresh}"
        );
        world.wait_until_gone(&before);
        let after = world.daemons();
        assert_eq!(after.len(), 1);
        assert!(before.is_disjoint(&after));
    }
    let last = world.daemons();
    fs::remove_dir_all(world.tokens()).unwrap();
    world.wait_until_gone(&last);
    assert!(
        !world.tokens().exists(),
        "the end of the daemon made something anew"
    );
}

#[test]
fn a_daemon_that_nobody_needs_ends_and_the_next_client_finds_the_token() {
    let world = World::new();
    let home = world.home();
    let mut daemon = world
        .command(bin_dir().join("strongroomd").to_str().unwrap())
        .args(["--ends-when-unused", "1", "--home"])
        .arg(&home)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while !home.join("pkcs11.sock").exists() {
        assert!(begin.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
    let link = world.link();
    let init = [
        "--init-token",
        "--slot-index",
        "0",
        "--label",
        "kept",
        "--so-pin",
        "5678",
    ];
    assert!(world.tool(&link, &init).status.success());
    assert_eq!(world.daemons(), BTreeSet::from([daemon.id()]));
    let status = daemon.wait().unwrap();
    let mut said = String::new();
    daemon
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(status.success(), "{said}");
    assert!(said.contains("nobody was connected"), "{said}");
    assert!(!home.join("pkcs11.sock").exists());
    assert!(text(&world.tool(&link, &["--list-slots"])).contains("kept"));
}

#[test]
fn a_directory_with_a_long_path_serves_applications_and_the_operator() {
    let more: PathBuf = (0..8).map(|_| "a-directory-with-a-name").collect();
    let world = World::below(more.to_str().unwrap());
    assert!(world.home().as_os_str().len() > 200);
    let output = world.tool(&world.link(), &["--list-slots"]);
    assert!(
        text(&output).contains("SoftHSM slot ID 0x0"),
        "{}",
        text(&output)
    );
    for arguments in [["status"], ["doctor"]] {
        let mut operator = world.command(bin_dir().join("strongroom").to_str().unwrap());
        operator
            .env("STRONGROOM_HOME", world.home())
            .args(arguments);
        let output = operator.output().unwrap();
        assert!(text(&output).contains("pkcs11.sock"), "{}", text(&output));
        assert!(!text(&output).contains("too long"), "{}", text(&output));
    }
}

#[test]
fn wrong_pins_lock_nothing_and_wait_for_nothing() {
    let (theirs, ours) = (World::new(), World::new());
    let link = ours.link();
    for (world, module) in [(&theirs, Path::new(SOFTHSM)), (&ours, link.as_path())] {
        for arguments in SCRIPT.iter().skip(2).take(2) {
            assert!(world.tool(module, arguments).status.success());
        }
        let begin = Instant::now();
        for _ in 0..25 {
            let wrong = world.tool(module, &["--login", "--pin", "wrong", "--list-objects"]);
            assert!(
                text(&wrong).contains("CKR_PIN_INCORRECT"),
                "{}",
                text(&wrong)
            );
        }
        let right = world.tool(module, &["--login", "--pin", "1234", "--list-objects"]);
        assert!(right.status.success(), "{}", text(&right));
        assert!(begin.elapsed() < Duration::from_mins(1));
    }
}

#[test]
fn softhsm_passes_over_the_daemons_directory_and_we_over_its_tokens() {
    let world = World::new();
    let link = world.link();
    let init = |module: &Path, label: &str| {
        let arguments = [
            "--init-token",
            "--slot-index",
            "0",
            "--label",
            label,
            "--so-pin",
            "5678",
        ];
        let output = world.tool(module, &arguments);
        assert!(output.status.success(), "{}", text(&output));
    };
    init(Path::new(SOFTHSM), "theirs");
    init(&link, "ours");
    let theirs = text(&world.tool(Path::new(SOFTHSM), &["--list-slots"]));
    let ours = text(&world.tool(&link, &["--list-slots"]));
    assert!(
        theirs.contains("theirs") && !theirs.contains(": ours"),
        "{theirs}"
    );
    assert!(
        ours.contains(": ours") && !ours.contains("theirs"),
        "{ours}"
    );
}

#[test]
fn mechanisms_that_the_configuration_leaves_out_are_left_out() {
    let (theirs, ours) = (World::new(), World::new());
    let list = |world: &World, module: &Path| {
        let output = world.tool(module, &["--list-mechanisms"]);
        let lines = text(&output);
        let names = lines.lines().filter(|line| line.starts_with("  "));
        let name = |line: &str| {
            line.split([',', ' '])
                .find(|word| !word.is_empty())
                .unwrap_or("")
                .to_owned()
        };
        names.map(name).collect::<BTreeSet<_>>()
    };
    for world in [&theirs, &ours] {
        world.configure("slots.mechanisms = CKM_SHA256,CKM_ECDSA,CKM_NOBODY,CKM_EC_KEY_PAIR_GEN\n");
    }
    let expected = list(&theirs, Path::new(SOFTHSM));
    assert_eq!(expected.len(), 3, "{expected:?}");
    assert_eq!(list(&ours, &ours.link()), expected);
    // SoftHSM's daemon is its process; ours keeps what it was started with, so it ends first.
    let daemons = ours.daemons();
    fs::remove_dir_all(ours.home()).unwrap();
    ours.wait_until_gone(&daemons);
    for world in [&theirs, &ours] {
        world.configure("slots.mechanisms = -CKM_NOBODY,CKM_RSA_X_509\n");
    }
    assert!(!list(&theirs, Path::new(SOFTHSM)).contains("RSA-X-509"));
    let left = list(&ours, &ours.link());
    assert!(
        !left.contains("RSA-X-509") && left.contains("SHA256"),
        "{left:?}"
    );
}
