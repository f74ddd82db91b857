//! `strongroom wrap` and `unwrap`, as servers call them: the real program, the real module, and any vendor's.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use strongroom_tests::hsm::module_path;
use strongroom_tests::product::bin_dir;
use strongroom_tests::tool::succeed;
use strongroom_tests::{
    Mechanism, SO_PIN, Session, Template, USER_PIN, Way, Workplace, not_on_softhsm, pattern,
    template,
};

use crate::keys;

/// What one run of the program came to.
struct Ran {
    code: i32,
    out: Vec<u8>,
    error: String,
}

impl Ran {
    /// It failed with this code, wrote nothing, and said one line that has these words.
    #[track_caller]
    fn refused(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{}", self.error);
        assert!(self.out.is_empty(), "it wrote {:?}", self.out);
        assert_eq!(self.error.lines().count(), 1, "{}", self.error);
        assert!(self.error.contains(words), "{}", self.error);
        assert!(!self.error.contains(USER_PIN), "{}", self.error);
    }

    #[track_caller]
    fn bytes(self) -> Vec<u8> {
        assert_eq!(self.code, 0, "{}", self.error);
        assert!(self.error.is_empty(), "{}", self.error);
        self.out
    }
}

/// A token that a module of some vendor shows, and where its PIN stands.
struct Tool {
    module: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    home: PathBuf,
}

impl Tool {
    fn at(place: &Workplace) -> Self {
        Self::of(
            &module_path(),
            place.hsm.environment(),
            place.hsm.home.clone(),
        )
    }

    fn of(module: &Path, environment: Vec<(&'static str, PathBuf)>, home: PathBuf) -> Self {
        fs::write(home.join("pin"), USER_PIN).unwrap();
        Self {
            module: module.into(),
            environment,
            home,
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(bin_dir().join("strongroom"));
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.home)
            .args(words)
            .args(["--token", "suite", "--pin-file", "pin", "--module"])
            .arg(&self.module);
        command
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Ran {
        run(&mut self.command(words), input)
    }

    fn wrap(&self, key: &str, secret: &[u8]) -> Vec<u8> {
        self.run(&["wrap", "--key", key], secret).bytes()
    }

    fn unwrap(&self, wrapped: &[u8]) -> Ran {
        self.run(&["unwrap"], wrapped)
    }
}

fn run(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever does not read all of it has closed it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: output.stdout,
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

fn template_of(label: &str, id: &[u8]) -> Template {
    keys::protected_aes()
        .with(CKA_TOKEN, true)
        .with(CKA_LABEL, label)
        .with(CKA_ID, id.to_vec())
}

fn make(session: &Session<'_>, label: &str, id: &[u8]) -> CK_OBJECT_HANDLE {
    session
        .generate(CKM_AES_KEY_GEN, &template_of(label, id))
        .unwrap()
}

fn one_key() -> (Workplace, Tool) {
    let place = Workplace::open();
    make(&place.user(), "K", &[1]);
    let tool = Tool::at(&place);
    (place, tool)
}

#[test]
fn secrets_of_every_length_come_back_and_none_is_in_what_is_written() {
    let (_place, tool) = one_key();
    for length in [1, 16, 32, 33, 4096, 65_536] {
        let secret = pattern(length as u64, length);
        let wrapped = tool.wrap("K", &secret);
        assert_eq!(wrapped.len(), 18 + 1 + 3 + 3 + 12 + length + 16);
        assert_ne!(wrapped, tool.wrap("K", &secret));
        if length >= 16 {
            assert!(!wrapped.windows(16).any(|part| part == &secret[..16]));
        }
        assert_eq!(tool.unwrap(&wrapped).bytes(), secret);
        let named = tool.run(&["unwrap", "--key", "K", "--id", "01"], &wrapped);
        assert_eq!(named.bytes(), secret);
    }
    tool.run(&["wrap", "--key", "K"], b"")
        .refused(1, "nothing in standard input");
    tool.run(&["wrap", "--key", "K"], &[7; 65_537])
        .refused(1, "more than 65536 bytes");
    tool.unwrap(b"").refused(1, "nothing in standard input");
    tool.unwrap(&[7; 100_000]).refused(1, "more than");
    assert_eq!(tool.run(&["wrap"], b"x").code, 2, "it names no key");
    let stdin_twice = ["wrap", "--key", "K", "--token", "suite", "--pin-file", "-"];
    let mut command = Command::new(bin_dir().join("strongroom"));
    run(command.args(stdin_twice), b"x").refused(2, "standard input has the data");
}

/// `PGDATAKEYWRAPCMD` and `PGDATAKEYUNWRAPCMD`: a shell, `%p` filled in, the working directory anywhere.
#[test]
fn the_commands_of_a_database_work_as_they_are_written() {
    let (_place, tool) = one_key();
    let data_key = pattern(5, 64);
    let shell = |text: &str, input: &[u8]| {
        let text = text
            .replace(
                "strongroom ",
                &format!("{}/strongroom ", bin_dir().display()),
            )
            .replace("MODULE", &tool.module.display().to_string())
            .replace(
                "%p",
                &tool.home.join("pg_encryption.key").display().to_string(),
            )
            .replace("PIN", &tool.home.join("pin").display().to_string());
        let mut command = Command::new("/bin/sh");
        command
            .envs(tool.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .args(["-c", &text]);
        run(&mut command, input)
    };
    let options = "--token suite --key K --pin-file PIN --module MODULE";
    let wrapped = shell(&format!("strongroom wrap {options} > \"%p\""), &data_key);
    assert!(wrapped.bytes().is_empty());
    let unwrapped = shell(&format!("strongroom unwrap {options} < \"%p\""), b"");
    assert_eq!(unwrapped.bytes(), data_key);
}

#[test]
fn files_are_for_their_owner_and_whole_or_not_there() {
    let (_place, tool) = one_key();
    let path = |name: &str| tool.home.join(name);
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
    fs::write(path("secret"), b"a data key").unwrap();
    fs::write(path("wrapped"), b"what was there before").unwrap();
    fs::set_permissions(path("wrapped"), fs::Permissions::from_mode(0o644)).unwrap();
    let files = ["--in", "secret", "--out", "wrapped"];
    let wrapped = tool.run(&[&["wrap", "--key", "K"], &files[..]].concat(), b"");
    assert!(wrapped.bytes().is_empty());
    assert_eq!(mode("wrapped"), 0o600);
    let out = tool.run(&["unwrap", "--in", "wrapped", "--out", "again"], b"");
    assert!(out.bytes().is_empty());
    assert_eq!(fs::read(path("again")).unwrap(), b"a data key");
    assert_eq!(mode("again"), 0o600);

    // Refused: what is there stays, and no draft is left.
    let mut changed = fs::read(path("wrapped")).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(path("changed"), changed).unwrap();
    tool.run(&["unwrap", "--in", "changed", "--out", "again"], b"")
        .refused(1, "were changed");
    assert_eq!(fs::read(path("again")).unwrap(), b"a data key");
    tool.run(&["unwrap", "--in", "missing"], b"")
        .refused(1, "cannot read missing");
    tool.run(&["unwrap", "--in", "wrapped", "--out", "no/where"], b"")
        .refused(1, "cannot make no/where");
    tool.run(&["unwrap", "--in", "wrapped", "--out", "/dev/null"], b"")
        .refused(1, "is no file");
    assert_eq!(drafts(&tool), 0);
}

/// A limit of the size of files stands for a disk that is full in the middle of writing.
#[test]
fn a_file_that_cannot_be_written_whole_stays_as_it_was() {
    let (_place, tool) = one_key();
    let secret = pattern(9, 65_536);
    let wrapped = tool.wrap("K", &secret);
    let out = tool.home.join("out");
    fs::write(&out, "before").unwrap();
    let whole = tool.command(&["unwrap", "--out", "out"]);
    let mut limited = Command::new("/bin/sh");
    limited
        .env_clear()
        .envs(tool.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&tool.home)
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(whole.get_program())
        .args(whole.get_args());
    run(&mut limited, &wrapped).refused(1, "cannot write out");
    assert_eq!(fs::read(&out).unwrap(), b"before");
    assert_eq!(drafts(&tool), 0);
    let written = tool.run(&["unwrap", "--out", "out"], &wrapped);
    assert!(written.bytes().is_empty());
    assert_eq!(fs::read(&out).unwrap(), secret);
}

/// Files in the making that were left.
fn drafts(tool: &Tool) -> usize {
    let entries = fs::read_dir(&tool.home).unwrap();
    let is_draft = |name: &str| name.contains(".part");
    entries
        .filter(|entry| is_draft(&entry.as_ref().unwrap().file_name().to_string_lossy()))
        .count()
}

/// A stranger reads and writes what docs/tde/wrap-format.md describes.
#[test]
fn the_format_is_the_documented_one() {
    let (place, tool) = one_key();
    let session = place.user();
    let key = session.find(&template! { CKA_LABEL => "K" }).unwrap()[0];
    let head = b"strongroom wrap 1\n\x01\x00\x01K\x00\x01\x01";
    let wrapped = tool.wrap("K", b"a data key");
    assert_eq!(&wrapped[..head.len()], head);
    let (header, sealed) = wrapped.split_at(head.len() + 12);
    let gcm = Mechanism::gcm(&header[head.len()..], header, 128);
    let secret = session.run(Way::Decrypt, gcm, key, sealed).unwrap();
    assert_eq!(secret, b"a data key");

    let header = [&head[..], &[5; 12]].concat();
    let gcm = Mechanism::gcm(&[5; 12], &header, 128);
    let sealed = session.run(Way::Encrypt, gcm, key, b"another").unwrap();
    let unwrapped = tool.unwrap(&[header, sealed].concat());
    assert_eq!(unwrapped.bytes(), b"another");
}

#[test]
fn every_changed_bit_and_every_cut_is_refused() {
    let (_place, tool) = one_key();
    let wrapped = tool.wrap("K", b"a key");
    let refused = |changed: &[u8], what: &str| {
        let ran = tool.unwrap(changed);
        assert_eq!(ran.code, 1, "{what}: {}", ran.error);
        assert!(ran.out.is_empty(), "{what}");
        assert_eq!(ran.error.lines().count(), 1, "{what}: {}", ran.error);
    };
    let workers = 4;
    thread::scope(|scope| {
        for worker in 0..workers {
            let (wrapped, refused) = (&wrapped, &refused);
            scope.spawn(move || {
                for bit in (worker..wrapped.len() * 8).step_by(workers) {
                    let mut changed = wrapped.clone();
                    changed[bit / 8] ^= 1 << (bit % 8);
                    refused(&changed, &format!("bit {bit}"));
                }
                for length in (worker..wrapped.len()).step_by(workers).skip(1) {
                    refused(&wrapped[..length], &format!("cut to {length}"));
                }
            });
        }
    });
    refused(&[&wrapped[..], b"\n"].concat(), "a byte more");
    assert_eq!(tool.unwrap(&wrapped).bytes(), b"a key");
}

#[test]
fn after_a_rotation_the_old_key_opens_what_it_wrapped_until_it_is_gone() {
    let (place, tool) = one_key();
    let session = place.user();
    let old = tool.wrap("K", b"old");
    make(&session, "K", &[2]);
    tool.run(&["wrap", "--key", "K"], b"new")
        .refused(1, "\"K\" with id 01");
    let new = tool.run(&["wrap", "--key", "K", "--id", "02"], b"new");
    let new = new.bytes();
    assert_eq!(tool.run(&["wrap", "--id", "01"], b"x").code, 0);
    tool.run(&["wrap", "--key", "K", "--id", "03"], b"x")
        .refused(1, "no private AES key labelled \"K\" with id 03");
    let key = ["unwrap", "--key", "K"];
    assert_eq!(tool.run(&key, &old).bytes(), b"old");
    assert_eq!(tool.run(&key, &new).bytes(), b"new");

    // Another label: it is found by its id.
    let wanted = template! { CKA_LABEL => "K", CKA_ID => vec![1_u8] };
    let retired = session.find(&wanted).unwrap()[0];
    session
        .set(retired, &template! { CKA_LABEL => "retired" })
        .unwrap();
    assert_eq!(tool.run(&key, &old).bytes(), b"old");
    assert_eq!(tool.run(&["wrap", "--key", "K"], b"x").code, 0);

    session.destroy(retired).unwrap();
    tool.run(&key, &old)
        .refused(1, "\"K\" with id 01, is not in token \"suite\"");
    assert_eq!(tool.run(&key, &new).bytes(), b"new");
    // Another key in its place.
    make(&session, "K", &[1]);
    tool.run(&key, &old).refused(1, "replaced by another");
}

#[test]
fn keys_without_id_are_told_apart_by_what_they_open() {
    let place = Workplace::open();
    let session = place.user();
    let tool = Tool::at(&place);
    make(&session, "K", &[]);
    let old = tool.wrap("K", b"old");
    make(&session, "K", &[]);
    // One that must not decrypt is in nobody's way.
    let third = template_of("K", &[]).with(CKA_DECRYPT, false);
    session.generate(CKM_AES_KEY_GEN, &third).unwrap();
    assert_eq!(tool.unwrap(&old).bytes(), b"old");
    tool.run(&["wrap", "--key", "K"], b"x")
        .refused(1, "3 AES keys");
}

#[test]
fn keys_that_will_not_do_are_named() {
    let (place, tool) = one_key();
    let session = place.user();
    tool.run(&["wrap", "--key", "L"], b"x")
        .refused(1, "no private AES key labelled \"L\"");
    // Whoever may connect can make a public one, without any PIN.
    let public = keys::open_secret(CKK_AES)
        .with(CKA_TOKEN, true)
        .with(CKA_PRIVATE, false)
        .with(CKA_LABEL, "public")
        .with(CKA_VALUE, vec![3_u8; 32]);
    session.create(&public).unwrap();
    tool.run(&["wrap", "--key", "public"], b"x")
        .refused(1, "no private AES key labelled \"public\"");
    for (label, lacks, named) in [
        ("no decrypt", CKA_DECRYPT, "CKA_DECRYPT"),
        ("no encrypt", CKA_ENCRYPT, "CKA_ENCRYPT"),
    ] {
        let template = template_of(label, &[9]).with(lacks, false);
        session.generate(CKM_AES_KEY_GEN, &template).unwrap();
        tool.run(&["wrap", "--key", label], b"x").refused(1, named);
    }
    let wrapped = tool.wrap("K", b"x");
    tool.run(&["unwrap", "--key", "L"], &wrapped)
        .refused(1, "wrapped by the key \"K\" with id 01");
    tool.run(&["unwrap", "--id", "02"], &wrapped)
        .refused(1, "wrapped by the key \"K\" with id 01");
}

#[test]
fn a_wrong_pin_is_told_and_costs_one_try() {
    let (place, tool) = one_key();
    let wrapped = tool.wrap("K", b"x");
    fs::write(tool.home.join("pin"), "not-the-pin").unwrap();
    let ran = tool.unwrap(&wrapped);
    ran.refused(1, "refuses the PIN");
    assert!(ran.error.contains("CKR_PIN_INCORRECT") && !ran.error.contains("not-the-pin"));
    if !not_on_softhsm("it has no journal") {
        let journal = place.hsm.administer(&["audit", "tail", "-n", "200"]);
        assert_eq!(journal.matches("CKR_PIN_INCORRECT").count(), 1);
        let flags = place.module.token_info(place.slot).unwrap().flags;
        assert_ne!(flags & CKF_USER_PIN_COUNT_LOW, 0);
    }
    // What is no wrapped data is refused before a PIN is tried.
    tool.unwrap(b"nothing of ours").refused(1, "first line");
    fs::write(tool.home.join("pin"), USER_PIN).unwrap();
    assert_eq!(tool.unwrap(&wrapped).bytes(), b"x");
    fs::remove_file(tool.home.join("pin")).unwrap();
    tool.unwrap(&wrapped).refused(1, "cannot read a secret");
}

#[test]
fn a_daemon_that_is_away_has_an_exit_code_of_its_own_and_leaves_files_alone() {
    if not_on_softhsm("it has no daemon") {
        return;
    }
    let (mut place, tool) = one_key();
    let wrapped = tool.wrap("K", b"x");
    fs::write(tool.home.join("out"), "before").unwrap();
    place.hsm.kill_daemon();
    tool.unwrap(&wrapped).refused(3, "shows no token at all");
    tool.run(&["wrap", "--key", "K", "--out", "out"], b"x")
        .refused(3, "shows no token at all");
    assert_eq!(fs::read(tool.home.join("out")).unwrap(), b"before");
    place.hsm.start_daemon();
    assert_eq!(tool.unwrap(&wrapped).bytes(), b"x");
    // Whoever unwraps is an application: that nobody administers is no matter.
    fs::remove_file(tool.home.join("admin.sock")).unwrap();
    assert_eq!(tool.unwrap(&wrapped).bytes(), b"x");
}

#[test]
fn a_sealed_daemon_is_hinted_at_and_no_pin_is_tried() {
    if not_on_softhsm("no seal") {
        return;
    }
    let (mut place, tool) = one_key();
    let wrapped = tool.wrap("K", b"x");
    let passphrase = tool.home.join("passphrase").display().to_string();
    fs::write(&passphrase, "correct horse battery").unwrap();
    let rotate = ["seal", "rotate", "--to", "passphrase", "--destroy-old"];
    let from = ["--passphrase-file", &passphrase];
    place.hsm.administer(&[&rotate[..], &from].concat());
    place.hsm.stop_daemon();
    place.hsm.start_daemon();
    fs::rename(tool.home.join("pin"), tool.home.join("pin-kept")).unwrap();
    tool.unwrap(&wrapped).refused(1, "strongroom unseal");
    fs::rename(tool.home.join("pin-kept"), tool.home.join("pin")).unwrap();
    place.hsm.administer(&["unseal", "--file", &passphrase]);
    let begin = Instant::now();
    while tool.unwrap(&wrapped).code != 0 {
        assert!(begin.elapsed() < Duration::from_mins(1));
    }
    assert_eq!(tool.unwrap(&wrapped).bytes(), b"x");
}

/// With an installation that an argument names, the program begins anew with another environment; nothing secret is in it.
#[test]
fn arguments_name_the_installation_and_nothing_secret_is_shown_to_other_processes() {
    if not_on_softhsm("it has no installation") {
        return;
    }
    let (_place, mut tool) = one_key();
    let wrapped = tool.wrap("K", b"a data key");
    tool.environment = vec![
        ("STRONGROOM_SOCKET", "/nonexistent/pkcs11.sock".into()),
        ("STRONGROOM_CONFIG", "/nonexistent/strongroom.toml".into()),
    ];
    tool.unwrap(&wrapped).refused(3, "shows no token at all");
    let home = tool.home.display().to_string();
    let mut command = tool.command(&["unwrap", "--home", &home]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It waits for its input: once it has begun anew, this is what others see of it to the end.
    let shown = |name: &str| fs::read(format!("/proc/{}/{name}", child.id())).unwrap();
    let socket = tool.home.join("pkcs11.sock").display().to_string();
    let begin = Instant::now();
    let holds = |hay: &[u8], needle: &str| {
        hay.windows(needle.len())
            .any(|part| part == needle.as_bytes())
    };
    while !holds(&shown("environ"), &socket) {
        assert!(begin.elapsed() < Duration::from_mins(1));
        thread::sleep(Duration::from_millis(2));
    }
    let (environ, cmdline) = (shown("environ"), shown("cmdline"));
    assert!(!holds(&environ, "/nonexistent") && holds(&cmdline, "unwrap"));
    for secret in [USER_PIN, "a data key"] {
        assert!(!holds(&environ, secret) && !holds(&cmdline, secret));
    }
    child.stdin.take().unwrap().write_all(&wrapped).unwrap();
    let mut out = Vec::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_end(&mut out).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(out, b"a data key");
}

/// The other module: nothing here is Strongroom's own.
#[test]
fn another_vendors_module_wraps_and_unwraps() {
    let place = Workplace::open();
    let home = place.hsm.home.join("soft");
    fs::create_dir_all(home.join("tokens")).unwrap();
    let configuration = home.join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\n", home.join("tokens").display());
    fs::write(&configuration, text).unwrap();
    let mut init = Command::new("softhsm2-util");
    init.env("SOFTHSM2_CONF", &configuration)
        .args(["--init-token", "--free", "--label", "suite"])
        .args(["--so-pin", SO_PIN, "--pin", USER_PIN]);
    succeed(&mut init);
    let module = Path::new("/usr/lib/softhsm/libsofthsm2.so");
    let tool = Tool::of(module, vec![("SOFTHSM2_CONF", configuration)], home);
    let mut keygen = Command::new("pkcs11-tool");
    keygen
        .envs(tool.environment.iter().map(|(name, value)| (name, value)))
        .arg("--module")
        .arg(module)
        .args(["--token-label", "suite", "--login", "--pin", USER_PIN])
        .args(["--keygen", "--key-type", "AES:32", "--usage-decrypt"])
        .args(["--sensitive", "--private", "--label", "K", "--id", "01"]);
    succeed(&mut keygen);
    let secret = pattern(1, 1000);
    let wrapped = tool.wrap("K", &secret);
    assert_eq!(tool.unwrap(&wrapped).bytes(), secret);
    let ours = Tool::at(&place);
    ours.unwrap(&wrapped)
        .refused(1, "\"K\" with id 01, is not in token");
    for place in [20, 30, wrapped.len() - 1] {
        let mut changed = wrapped.clone();
        changed[place] ^= 0x40;
        assert_eq!(tool.unwrap(&changed).code, 1);
    }
    let mut changed = wrapped;
    *changed.last_mut().unwrap() ^= 1;
    tool.unwrap(&changed).refused(1, "were changed");
    tool.run(&["wrap", "--key", "L"], b"x")
        .refused(1, "no private AES key");
}
