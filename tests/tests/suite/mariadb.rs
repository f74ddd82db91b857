//! MariaDB with its data at rest encrypted by keys of the token: a real mariadbd, real clients, both ways.
//!
//! A program that is not installed is a failure: `tests/APT_PACKAGES` lists the packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use cryptoki_sys::*;
use strongroom_tests::hsm::module_path;
use strongroom_tests::mariadb::{ENCRYPTED, Server, make_key};
use strongroom_tests::product::bin_dir;
use strongroom_tests::tool::{run, succeed};
use strongroom_tests::{SO_PIN, Template, USER_PIN, Workplace, not_on_softhsm, template};

/// Text that no file of an encrypted server may have.
const MARKER: &[u8] = b"MARKER-";
const TABLES: &str = "CREATE DATABASE d; CREATE TABLE d.big (id INT PRIMARY KEY, text VARCHAR(100)); \
    CREATE TABLE d.load (id INT PRIMARY KEY, text VARCHAR(400)); \
    CREATE TABLE d.aria (id INT PRIMARY KEY, text VARCHAR(100)) ENGINE=Aria;";
const HUNDRED_THOUSAND: &str = "INSERT INTO d.big SELECT seq, CONCAT('MARKER-', seq) FROM d.seq_1_to_100000; \
    INSERT INTO d.aria SELECT * FROM d.big WHERE id <= 5000;";
/// A sort and a temporary table that do not fit into memory.
const TEMPORARY: &str = "SET sort_buffer_size = 16384, tmp_memory_table_size = 16384; \
    CREATE TEMPORARY TABLE d.temporary AS SELECT * FROM d.big; \
    SELECT COUNT(*) FROM (SELECT DISTINCT text, SHA2(text, 256) AS hash FROM d.temporary ORDER BY hash) AS sorted;";

fn label(mode: &str, id: u32, version: u32) -> String {
    match mode {
        "keys" => format!("mariadb-{id}-{version}"),
        _ => format!("mariadb-pages-{id}-{version}"),
    }
}

/// A server on the token of a workplace, encrypted in everything, with its first key.
fn encrypted(place: &Workplace, mode: &str) -> Server {
    let environment = place.hsm.environment();
    make_key(&module_path(), &environment, &label(mode, 1, 1));
    let mut server = Server::install(&place.hsm.home.join("db"))
        .with_plugin(&module_path(), environment, mode)
        .with(ENCRYPTED);
    server.start();
    server.tell(TABLES);
    server
}

fn nothing_in_clear(server: &Server) {
    assert_eq!(server.files_with(MARKER), Vec::<PathBuf>::new());
}

#[test]
fn the_search_finds_plaintext_where_nothing_is_encrypted() {
    let place = Workplace::open();
    let mut server = Server::install(&place.hsm.home.join("db"));
    server.start();
    server.tell(TABLES);
    server.tell(HUNDRED_THOUSAND);
    server.stop();
    let found = server.files_with(MARKER);
    for name in ["big.ibd", "aria.MAD", "binlog.000001"] {
        assert!(
            found.iter().any(|path| path.ends_with(name)),
            "{name}: {found:?}"
        );
    }
}

/// From the first row to the last kill.
fn whole_life(mode: &str) {
    let mut place = Workplace::open();
    let mut server = encrypted(&place, mode);
    server.tell(HUNDRED_THOUSAND);
    assert_eq!(server.told(TEMPORARY), "100000");
    server.tell("FLUSH TABLES; FLUSH BINARY LOGS;");
    nothing_in_clear(&server);

    // New versions, seen without a restart; pages that are more than one version behind follow.
    server.tell("SET GLOBAL innodb_encryption_rotate_key_age = 1;");
    for version in [2, 3] {
        make_key(
            &module_path(),
            &place.hsm.environment(),
            &label(mode, 1, version),
        );
    }
    server.wait_for(
        "SELECT MIN(MIN_KEY_VERSION) FROM information_schema.innodb_tablespaces_encryption \
            WHERE NAME LIKE 'd/%'",
        "3",
    );
    assert!(
        server
            .log()
            .contains(&format!("key 1 is in version 3 ({})", label(mode, 1, 3)))
    );

    // Both processes die under load, at once.
    let writers = server.writers(4, 0);
    writers.wait_for(300);
    server.kill();
    place.hsm.kill_daemon();
    let (first, _) = writers.join();
    place.hsm.start_daemon();
    server.start();
    nothing_in_clear(&server);

    // A fourth version on the way, and only the server dies.
    make_key(&module_path(), &place.hsm.environment(), &label(mode, 1, 4));
    let writers = server.writers(4, 500_000);
    writers.wait_for(300);
    server.kill();
    let (second, _) = writers.join();
    server.start();
    let rows = server.told("SELECT id FROM d.load");
    let rows = rows
        .lines()
        .map(|line| line.parse::<usize>().unwrap())
        .collect();
    let acknowledged = &first | &second;
    assert!(acknowledged.len() >= 600);
    let lost: Vec<_> = acknowledged.difference(&rows).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(
        server.told("SELECT COUNT(*) FROM d.big WHERE text = CONCAT('MARKER-', id)"),
        "100000"
    );
    assert_eq!(
        server.told("SELECT COUNT(*) FROM d.load WHERE text = REPEAT('MARKER-load', 20)"),
        rows.len().to_string()
    );
    assert_eq!(server.told("SELECT COUNT(*) FROM d.aria"), "5000");
    server.stop();
    nothing_in_clear(&server);
}

#[test]
fn the_keys_way_encrypts_rotates_and_survives_kills_of_both() {
    whole_life("keys");
}

#[test]
fn the_pages_way_encrypts_rotates_and_survives_kills_of_both() {
    whole_life("pages");
}

/// The daemon dies under load and comes back; no client sees an error.
fn restarted_daemon(mode: &str) {
    if not_on_softhsm("it has no daemon") {
        return;
    }
    let mut place = Workplace::open();
    let mut server = encrypted(&place, mode);
    let writers = server.writers(4, 0);
    for _ in 0..3 {
        writers.wait_for(200);
        place.hsm.kill_daemon();
        // Longer than the module waits by itself, once in three.
        thread::sleep(Duration::from_millis(300));
        place.hsm.start_daemon();
    }
    let (rows, whole) = writers.join();
    assert!(whole, "{}", server.log());
    assert!(server.lives());
    assert_eq!(
        server.told("SELECT COUNT(*) FROM d.load"),
        rows.len().to_string()
    );
    server.stop();
    nothing_in_clear(&server);
}

#[test]
fn clients_of_the_keys_way_do_not_see_a_restart_of_the_daemon() {
    restarted_daemon("keys");
}

#[test]
fn clients_of_the_pages_way_do_not_see_a_restart_of_the_daemon() {
    restarted_daemon("pages");
}

/// A daemon that is away for longer than the module waits by itself: the plug-in waits on.
#[test]
fn the_pages_way_waits_for_a_daemon_that_is_long_away() {
    if not_on_softhsm("it has no daemon") {
        return;
    }
    let mut place = Workplace::open();
    let mut server = encrypted(&place, "pages");
    let writers = server.writers(2, 0);
    writers.wait_for(100);
    place.hsm.kill_daemon();
    // The module gives up after five seconds (reconnect_seconds), the plug-in after twenty.
    thread::sleep(Duration::from_secs(7));
    place.hsm.start_daemon();
    let (rows, whole) = writers.join();
    assert!(whole, "{}", server.log());
    assert_eq!(
        server.told("SELECT COUNT(*) FROM d.load"),
        rows.len().to_string()
    );
    let log = server.log();
    assert!(
        log.contains("each call waits for up to 20 s") && log.contains("answers again"),
        "{log}"
    );
    server.stop();
}

#[test]
fn a_wrong_pin_is_said_costs_one_try_and_is_put_right() {
    let place = Workplace::open();
    let mut server = encrypted(&place, "keys");
    server.tell("INSERT INTO d.load VALUES (1, 'MARKER-before')");
    server.stop();
    server.write_pin("not-the-pin");
    assert!(!server.try_start(), "an encrypted log cannot be read");
    let log = server.log();
    assert!(log.contains("refuses the PIN in"), "{log}");
    assert!(log.contains("CKR_PIN_INCORRECT"), "{log}");
    assert!(!log.contains("not-the-pin"));
    if !not_on_softhsm("it does not count tries") {
        // Ten are allowed, and many more were made than one question for a key.
        let flags = place.module.token_info(place.slot).unwrap().flags;
        assert_eq!(flags & CKF_USER_PIN_FINAL_TRY, 0);
        assert_ne!(flags & CKF_USER_PIN_COUNT_LOW, 0);
    }
    server.write_pin(USER_PIN);
    server.start();
    assert_eq!(server.told("SELECT text FROM d.load"), "MARKER-before");
}

/// The key of one table is gone and comes back.
fn key_gone_and_back(mode: &str) {
    let place = Workplace::open();
    let mut server = encrypted(&place, mode);
    make_key(&module_path(), &place.hsm.environment(), &label(mode, 7, 1));
    server.tell(
        "CREATE TABLE d.apart (id INT PRIMARY KEY, text VARCHAR(100)) ENCRYPTION_KEY_ID=7; \
        INSERT INTO d.apart VALUES (1, 'MARKER-apart'); INSERT INTO d.load VALUES (1, 'MARKER-load')",
    );
    server.stop();

    let session = place.user();
    let rename = |from: &str, to: &str| {
        let wanted: Template =
            template! { CKA_CLASS => CKO_SECRET_KEY, CKA_TOKEN => true, CKA_LABEL => from };
        let found = session.find(&wanted).unwrap();
        assert_eq!(found.len(), 1);
        session
            .set(found[0], &template! { CKA_LABEL => to })
            .unwrap();
    };
    rename(&label(mode, 7, 1), "out of sight");
    server.start();
    let refused = server.ask("SELECT text FROM d.apart");
    assert!(!refused.good, "{}", refused.said);
    assert_eq!(server.told("SELECT text FROM d.load"), "MARKER-load");
    let log = server.log();
    let line = format!(
        "key 7 cannot be used: there is no AES key labelled {}",
        label(mode, 7, 1)
    );
    let other = format!("no AES key is labelled {}", label(mode, 7, 1));
    assert!(log.contains(&line) || log.contains(&other), "{log}");
    let refused = server.ask("CREATE TABLE d.new (id INT) ENCRYPTION_KEY_ID=7");
    assert!(!refused.good, "{}", refused.said);

    rename("out of sight", &label(mode, 7, 1));
    thread::sleep(Duration::from_millis(1100));
    server.tell("CREATE TABLE d.new (id INT) ENCRYPTION_KEY_ID=7");
    server.stop();
    server.start();
    assert_eq!(server.told("SELECT text FROM d.apart"), "MARKER-apart");
    server.stop();
    nothing_in_clear(&server);
}

#[test]
fn a_table_whose_key_is_gone_is_refused_until_it_is_back_the_keys_way() {
    key_gone_and_back("keys");
}

#[test]
fn a_table_whose_key_is_gone_is_refused_until_it_is_back_the_pages_way() {
    key_gone_and_back("pages");
}

#[test]
fn a_data_key_under_the_label_of_another_is_refused() {
    let place = Workplace::open();
    let mut server = encrypted(&place, "keys");
    make_key(&module_path(), &place.hsm.environment(), "mariadb-7-1");
    server
        .tell("CREATE TABLE d.apart (id INT) ENCRYPTION_KEY_ID=7; INSERT INTO d.apart VALUES (1);");
    server.stop();
    let session = place.user();
    let object = |label: &str| {
        let wanted: Template =
            template! { CKA_CLASS => CKO_DATA, CKA_TOKEN => true, CKA_LABEL => label };
        let found = session.find(&wanted).unwrap();
        assert_eq!(found.len(), 1, "{label}");
        found[0]
    };
    let of_another = session.attribute(object("mariadb-1-1"), CKA_VALUE).unwrap();
    session.destroy(object("mariadb-7-1")).unwrap();
    session
        .create(&template! {
            CKA_CLASS => CKO_DATA, CKA_TOKEN => true, CKA_PRIVATE => true, CKA_LABEL => "mariadb-7-1",
            CKA_APPLICATION => "strongroom-mariadb", CKA_VALUE => of_another
        })
        .unwrap();
    server.start();
    assert!(!server.ask("SELECT * FROM d.apart").good);
    let log = server.log();
    assert!(
        log.contains("the data key mariadb-7-1 cannot be unwrapped"),
        "{log}"
    );
}

/// A server that is told the other way finds no key, and does not touch what is there.
#[test]
fn the_ways_do_not_mix() {
    let place = Workplace::open();
    let mut server = encrypted(&place, "keys");
    server.tell("INSERT INTO d.load VALUES (1, 'MARKER-load')");
    server.stop();
    let other = server
        .settings
        .iter()
        .map(|line| line.replace("strongroom-mode=keys", "strongroom-mode=pages"))
        .collect();
    let right = core::mem::replace(&mut server.settings, other);
    assert!(!server.try_start());
    assert!(
        server.log().contains("labelled mariadb-pages-1-1"),
        "{}",
        server.log()
    );
    server.settings = right;
    server.start();
    assert_eq!(server.told("SELECT text FROM d.load"), "MARKER-load");
}

/// What is wrong with a setting stands in the log, and no variable has the PIN.
#[test]
fn settings_are_judged_and_shown_without_the_pin() {
    let place = Workplace::open();
    let mut server = encrypted(&place, "keys");
    let shown = server.told("SHOW GLOBAL VARIABLES LIKE 'strongroom%'");
    assert!(shown.contains("strongroom_mode\tkeys") && shown.contains("strongroom_pin_file"));
    assert!(!shown.contains(USER_PIN));
    assert!(!server.ask("SET GLOBAL strongroom_mode = 'pages'").good);
    let status = server.told("SHOW STATUS LIKE 'strongroom_connections'");
    assert_eq!(status, "Strongroom_connections\t1");
    server.stop();
    server.settings.push("strongroom-mode=both".to_owned());
    assert!(!server.try_start());
    assert!(
        server.log().contains("strongroom_mode is keys or pages"),
        "{}",
        server.log()
    );
}

/// The other module: nothing here is Strongroom's own.
#[test]
fn both_ways_work_with_softhsm() {
    let place = Workplace::open();
    let home = place.hsm.home.join("soft");
    fs::create_dir_all(home.join("tokens")).unwrap();
    let configuration = home.join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\n", home.join("tokens").display());
    fs::write(&configuration, text).unwrap();
    let module = Path::new("/usr/lib/softhsm/libsofthsm2.so");
    let environment = vec![("SOFTHSM2_CONF", configuration.clone())];
    let mut make = Command::new("softhsm2-util");
    make.env("SOFTHSM2_CONF", &configuration);
    make.args(["--init-token", "--free", "--label", "suite"]);
    make.args(["--so-pin", SO_PIN, "--pin", USER_PIN]);
    succeed(&mut make);
    for mode in ["keys", "pages"] {
        make_key(module, &environment, &label(mode, 1, 1));
        let mut server = Server::install(&home.join(mode))
            .with_plugin(module, environment.clone(), mode)
            .with(ENCRYPTED);
        server.start();
        server.tell(TABLES);
        server.tell("INSERT INTO d.big SELECT seq, CONCAT('MARKER-', seq) FROM d.seq_1_to_5000");
        server.kill();
        server.start();
        assert_eq!(server.told("SELECT COUNT(*) FROM d.big"), "5000", "{mode}");
        server.stop();
        nothing_in_clear(&server);
    }
}

/// The database by mariadb-backup, the keys by `strongroom backup`, and both together elsewhere.
#[test]
fn database_and_token_come_back_from_their_backups() {
    if not_on_softhsm("no backup") {
        return;
    }
    let mut place = Workplace::open();
    let mut server = encrypted(&place, "keys");
    server.tell(HUNDRED_THOUSAND);
    let home = place.hsm.home.clone();
    let shown = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let strongroom = |arguments: &[&str]| {
        let mut command = Command::new(bin_dir().join("strongroom"));
        command.env("STRONGROOM_DAEMON", bin_dir().join("strongroomd"));
        command.arg("--home").arg(&home).args(arguments);
        succeed(&mut command);
    };
    strongroom(&["backup", "keygen", &shown("backup-key")]);
    strongroom(&[
        "backup",
        &shown("token.backup"),
        "--to",
        &shown("backup-key.pub"),
    ]);
    let copy = home.join("copy");
    let backup = |step: &str| {
        let mut command = server.program("mariadb-backup");
        command.arg(format!(
            "--defaults-file={}",
            server.configuration().display()
        ));
        command.args([step, "--user=root"]);
        command.arg(format!("--target-dir={}", copy.display()));
        command.arg(format!("--socket={}", server.socket().display()));
        command
    };
    succeed(&mut backup("--backup"));
    succeed(&mut backup("--prepare"));
    server.stop();
    drop(server);
    nothing_in_clear_under(&copy);

    // The machine is lost: another daemon, another data directory.
    place.hsm.stop_daemon();
    for name in ["store.redb", "root.key", "audit.jsonl", "db"] {
        fs::rename(home.join(name), home.join(format!("lost-{name}"))).unwrap();
    }
    strongroom(&[
        "restore",
        &shown("token.backup"),
        "--identity",
        &shown("backup-key"),
    ]);
    place.hsm.start_daemon();
    let mut server = Server::at(&home.join("db"))
        .with_plugin(&module_path(), place.hsm.environment(), "keys")
        .with(ENCRYPTED);
    fs::remove_dir(server.data()).unwrap();
    fs::rename(&copy, server.data()).unwrap();
    server.start();
    assert_eq!(
        server.told("SELECT COUNT(*) FROM d.big WHERE text = CONCAT('MARKER-', id)"),
        "100000"
    );
}

fn nothing_in_clear_under(directory: &Path) {
    let mut search = Command::new("grep");
    search.args(["--recursive", "--text", "--files-with-matches", "MARKER-"]);
    let ran = run(search.arg(directory), b"");
    assert!(ran.out.is_empty() && !ran.good, "{}", ran.said);
}
