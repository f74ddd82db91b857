//! Where key bytes must never be: the application, the log, the store, the journal, a core dump, the memory of the daemon.
//!
//! Keys with recognisable bytes are imported; afterwards every place a curious person can look at is searched for them.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::template::Value;
use strongroom_tests::tool::{require, run, succeed};
use strongroom_tests::{Mechanism, Session, Template, Way, Workplace, not_on_softhsm, template};

use crate::keys;

/// Bytes that occur nowhere by chance, made anew on the heap each time, where they can be wiped. Each test has a seed of its own:
/// tests may be threads of one process.
fn marked(seed: u8) -> Vec<u8> {
    (0..32).map(|index| mark(seed, index)).collect()
}

fn mark(seed: u8, index: u8) -> u8 {
    index.wrapping_mul(151) ^ index.rotate_left(3) ^ seed.wrapping_mul(29) ^ 0x6b
}

/// The start of the mark, as each search looks for it, kept inverted: a searcher must not find itself.
fn inverted(seed: u8) -> Vec<u8> {
    (0..24).map(|index| !mark(seed, index)).collect()
}

/// Whether `hay` holds what `needle` inverts.
fn holds(hay: &[u8], needle: &[u8]) -> bool {
    let first = !needle[0];
    let mut start = 0;
    while let Some(found) = hay[start..].iter().position(|byte| *byte == first) {
        let at = start + found;
        let Some(window) = hay.get(at..at + needle.len()) else {
            return false;
        };
        if window.iter().zip(needle).all(|(have, want)| *have == !want) {
            return true;
        }
        start = at + 1;
    }
    false
}

/// Overwrites the values of a template, so that the test itself holds nothing.
fn wipe(template: &mut Template) {
    for (_, value) in &mut template.0 {
        if let Value::Bytes(bytes) = value {
            wipe_bytes(bytes);
        }
    }
}

fn wipe_bytes(bytes: &mut [u8]) {
    for byte in bytes {
        // SAFETY: a valid reference; volatile, so that the write is not removed.
        unsafe { core::ptr::write_volatile(byte, 0) };
    }
}

/// Imports the marked AES key, uses it, and tells its needle.
fn import_and_use_aes(session: &Session<'_>, seed: u8) -> Vec<u8> {
    let mut aes = keys::open_secret(CKK_AES)
        .with(CKA_VALUE, marked(seed))
        .with(CKA_SENSITIVE, true)
        .with(CKA_EXTRACTABLE, false)
        .with(CKA_TOKEN, true);
    let key = session.create(&aes).unwrap();
    wipe(&mut aes);
    let iv = Mechanism::bytes(CKM_AES_CBC_PAD, &[1; 16]);
    let sealed = session
        .run(Way::Encrypt, iv.clone(), key, b"plain")
        .unwrap();
    session.run(Way::Decrypt, iv, key, &sealed).unwrap();
    session.run(Way::Sign, CKM_AES_CMAC, key, b"data").unwrap();
    inverted(seed)
}

/// Imports a marked AES key and an RSA key, uses both, and tells needles for both.
fn import_and_use(session: &Session<'_>) -> Vec<Vec<u8>> {
    let mut needles = vec![import_and_use_aes(session, 1)];
    let mut rsa = RsaPrivate::fixed(2048);
    let mut template = rsa
        .template()
        .with(CKA_SIGN, true)
        .with(CKA_SENSITIVE, true)
        .with(CKA_EXTRACTABLE, false)
        .with(CKA_TOKEN, true);
    let private = session.create(&template).unwrap();
    wipe(&mut template);
    for _ in 0..3 {
        session
            .run(Way::Sign, CKM_SHA256_RSA_PKCS, private, b"data")
            .unwrap();
    }
    // The private exponent and a prime; and both as little-endian words, as big numbers lie in memory.
    for number in [2, 3] {
        let bytes = &mut rsa.numbers[number];
        needles.push(bytes[16..48].iter().map(|byte| !byte).collect());
        let end = bytes.len() - 16;
        needles.push(
            bytes[end - 32..end]
                .iter()
                .rev()
                .map(|byte| !byte)
                .collect(),
        );
        wipe_bytes(bytes);
    }
    needles
}

/// Lines of `/proc/PID/maps` as start, end, permissions, name.
fn mappings(pid: &str) -> Vec<(u64, u64, String, String)> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/maps")).expect("the maps of a process of ours");
    text.lines()
        .map(|line| {
            let mut fields = line.split_whitespace();
            let (start, end) = fields.next().unwrap().split_once('-').unwrap();
            let permissions = fields.next().unwrap().to_owned();
            let name = fields.nth(3).unwrap_or_default().to_owned();
            let number = |digits| u64::from_str_radix(digits, 16).unwrap();
            (number(start), number(end), permissions, name)
        })
        .collect()
}

/// Searches the readable memory of a process; tells the names of the mappings that hold a needle, and how many bytes were read.
fn search_memory(pid: &str, needles: &[Vec<u8>]) -> (Vec<String>, u64) {
    let mut memory =
        File::open(format!("/proc/{pid}/mem")).expect("the memory of a process of ours");
    let mut found = Vec::new();
    let mut read_bytes = 0;
    for (start, end, permissions, name) in mappings(pid) {
        if !permissions.starts_with('r') || name == "[vvar]" || name == "[vsyscall]" {
            continue;
        }
        let mut bytes = vec![0; (end - start) as usize];
        if memory.seek(SeekFrom::Start(start)).is_err() {
            continue;
        }
        // Secret memory cannot be read even by root: an error, and a good one.
        if memory.read_exact(&mut bytes).is_err() {
            continue;
        }
        read_bytes += bytes.len() as u64;
        for (index, needle) in needles.iter().enumerate() {
            if holds(&bytes, needle) {
                found.push(format!(
                    "needle {index} at {start:x}-{end:x} {permissions} {name}"
                ));
            }
        }
        // What was read must not be found again where it was read to.
        wipe_bytes(&mut bytes);
    }
    (found, read_bytes)
}

#[test]
fn the_searcher_finds_what_is_there() {
    let mut there = marked(2);
    let (found, _) = search_memory("self", &[inverted(2)]);
    assert!(
        !found.is_empty(),
        "the mark is on the heap of this test and was not found"
    );
    let nowhere: Vec<u8> = (0..24)
        .map(|index: u8| index.wrapping_mul(91) ^ 0xc3)
        .collect();
    assert!(holds(&there, &inverted(2)) && !holds(&there, &nowhere));
    wipe_bytes(&mut there);
    let (found, _) = search_memory("self", &[inverted(2)]);
    assert!(found.is_empty(), "the searcher finds itself: {found:#?}");
}

#[test]
fn the_application_holds_no_key() {
    let place = Workplace::open();
    if not_on_softhsm("it keeps the keys in the application") {
        return;
    }
    let session = place.user();
    let mut needles = vec![import_and_use_aes(&session, 3), inverted(4)];
    let curve = Curve::P256;
    let mut template = keys::ec_private(curve, &[])
        .with(CKA_VALUE, marked(4))
        .with(CKA_SENSITIVE, true);
    let private = session.create(&template).unwrap();
    wipe(&mut template);
    session
        .run(Way::Sign, CKM_ECDSA, private, &[1; 32])
        .unwrap();
    // The order of a big number in memory.
    needles.push((8..32).rev().map(|index| !mark(4, index)).collect());
    let (found, _) = search_memory("self", &needles);
    assert!(found.is_empty(), "{found:#?}");
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

fn hexadecimal(needle: &[u8]) -> Vec<u8> {
    needle
        .iter()
        .flat_map(|byte| format!("{:02x}", !byte).into_bytes())
        .map(|byte| !byte)
        .collect()
}

#[test]
fn no_file_of_the_daemon_holds_a_key_or_a_pin() {
    let mut place = Workplace::open();
    let session = place.user();
    let mut needles = import_and_use(&session);
    for text in [strongroom_tests::USER_PIN, strongroom_tests::SO_PIN] {
        needles.push(text.bytes().map(|byte| !byte).collect());
    }
    let secret = b"the private value of a data object".map(|byte| !byte);
    let data = keys::data("private")
        .with(CKA_TOKEN, true)
        .with(CKA_PRIVATE, true);
    session
        .create(&data.with(CKA_VALUE, b"the private value of a data object"))
        .unwrap();
    needles.push(secret.to_vec());
    // A wrong PIN may be a right one of elsewhere.
    session.logout().unwrap();
    let _ = session.login(CKU_USER, "mistyped-pin-of-another-bank");
    needles.push(b"mistyped-pin-of-another-bank".map(|byte| !byte).to_vec());
    let _ = place.module.finalize();
    place.hsm.stop_daemon();
    let written: Vec<Vec<u8>> = needles.iter().map(|needle| hexadecimal(needle)).collect();
    needles.extend(written);
    let files = files_below(&place.hsm.home);
    assert!(!files.is_empty());
    for path in files {
        let bytes = fs::read(&path).unwrap();
        for (index, needle) in needles.iter().enumerate() {
            assert!(
                !holds(&bytes, needle),
                "{} holds needle {index}",
                path.display()
            );
        }
    }
}

#[test]
fn the_files_of_the_daemon_are_its_own() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    for path in files_below(&place.hsm.home) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "daemon.log" || name.ends_with(".so") {
            continue;
        }
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        let readable = mode & 0o077;
        assert_eq!(readable, 0, "{}: mode {mode:o}", path.display());
    }
}

/// Whether the daemon says that keys are in secret memory.
fn uses_secret_memory(pid: u32) -> bool {
    mappings(&pid.to_string())
        .iter()
        .any(|(.., name)| name.contains("secretmem"))
}

#[test]
fn the_memory_of_the_daemon_holds_no_key_that_root_can_read() {
    let place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let session = place.user();
    let needles = import_and_use(&session);
    let pid = place.hsm.daemon_pid().unwrap();
    if !uses_secret_memory(pid) {
        // Without memfd_secret the pages are locked and left out of dumps, but root reads them: then this is all there is to check.
        println!("no secret memory on this kernel");
        return;
    }
    let (found, read_bytes) = search_memory(&pid.to_string(), &needles);
    assert!(
        read_bytes > 100_000,
        "hardly anything could be read: {read_bytes}"
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn keys_lie_in_memory_that_is_locked_and_never_dumped() {
    let place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let session = place.user();
    let _ = import_and_use(&session);
    let pid = place.hsm.daemon_pid().unwrap();
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut secret = Vec::new();
    let mut locked = false;
    let mut name = String::new();
    for line in smaps.lines() {
        if line
            .split('-')
            .next()
            .is_some_and(|start| u64::from_str_radix(start, 16).is_ok())
        {
            name = line.to_owned();
        }
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            if name.contains("secretmem") {
                secret.push((name.clone(), flags.to_owned()));
            }
            // lo: locked; dd: left out of dumps.
            locked |= flags.contains(" lo") && flags.contains(" dd");
        }
    }
    assert!(
        !secret.is_empty() || locked,
        "neither secret memory nor locked pages left out of dumps"
    );
    for (name, flags) in &secret {
        assert!(flags.contains(" lo"), "{name}: {flags}");
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    println!(
        "{}",
        status
            .lines()
            .filter(|line| line.starts_with("VmLck"))
            .collect::<String>()
    );
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert!(
        core.split_whitespace().nth(4) == Some("0"),
        "core dumps are allowed: {core}"
    );
}

#[test]
fn a_core_dump_of_the_daemon_holds_no_key() {
    let place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    require("gcore");
    let session = place.user();
    let needles = import_and_use(&session);
    let pid = place.hsm.daemon_pid().unwrap();
    let ran = run(
        Command::new("gcore")
            .arg("-o")
            .arg(place.hsm.home.join("core"))
            .arg(pid.to_string()),
        b"",
    );
    let dump = place.hsm.home.join(format!("core.{pid}"));
    if !dump.exists() {
        println!("no dump at all: {}", ran.said);
        return;
    }
    let bytes = fs::read(&dump).unwrap();
    println!("a dump of {} bytes", bytes.len());
    for (index, needle) in needles.iter().enumerate() {
        assert!(!holds(&bytes, needle), "the dump holds needle {index}");
    }
    fs::remove_file(dump).unwrap();
}

#[test]
fn an_abort_leaves_no_core_file() {
    let mut place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    require("prlimit");
    let _ = import_and_use(&place.user());
    let pid = place.hsm.daemon_pid().unwrap();
    // Even when somebody raises the limit from outside.
    let _ = run(
        Command::new("prlimit")
            .arg("--pid")
            .arg(pid.to_string())
            .arg("--core=unlimited"),
        b"",
    );
    // SAFETY: the daemon is our own child and not yet waited for.
    unsafe { libc::kill(pid as i32, libc::SIGABRT) };
    place.hsm.kill_daemon();
    let cores: Vec<PathBuf> = files_below(&place.hsm.home)
        .into_iter()
        .chain(
            fs::read_dir(".")
                .unwrap()
                .flatten()
                .map(|entry| entry.path()),
        )
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("core"))
        })
        .filter(|path| path.is_file())
        .collect();
    assert!(cores.is_empty(), "{cores:?}");
}

#[test]
fn what_is_decrypted_and_derived_is_secret_as_well() {
    let place = Workplace::open();
    if not_on_softhsm("no daemon") {
        return;
    }
    let session = place.user();
    let pid = place.hsm.daemon_pid().unwrap();
    if !uses_secret_memory(pid) {
        println!("no secret memory on this kernel");
        return;
    }
    // A key that arrives wrapped exists in clear nowhere but in the daemon.
    let kek = strongroom_tests::pattern(77, 32);
    let wrapping = keys::import_aes(&session, &kek);
    let wrapped = strongroom_tests::judge::aes::Aes::new(&kek).kw(&marked(5));
    let template = template! {
        CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_SENSITIVE => true, CKA_EXTRACTABLE => true,
        CKA_ENCRYPT => true,
    };
    let key = session
        .unwrap(CKM_AES_KEY_WRAP, wrapping, &wrapped, &template)
        .unwrap();
    session
        .run(Way::Encrypt, CKM_AES_ECB, key, &[0; 16])
        .unwrap();
    session.wrap(CKM_AES_KEY_WRAP, wrapping, key).unwrap();
    let (found, _) = search_memory(&pid.to_string(), &[inverted(5)]);
    assert!(found.is_empty(), "{found:#?}");
    let _ = succeed;
}
