//! `strongroom-softhsm2-util` beside softhsm2-util.
//!
//! What lives here: the same command lines for both, through the same module, and what they print and answer.
//! What must never live here: a test of our module.
//! Who calls it: the suite.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use strongroom_tests::{Hsm, tool};

use crate::original::{MODULE, Original};

const OURS: &str = env!("CARGO_BIN_EXE_strongroom-softhsm2-util");

/// What a program said, without what differs from run to run.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Said {
        code: output.status.code(),
        out: normalised(&String::from_utf8_lossy(&output.stdout)),
        err: normalised(&String::from_utf8_lossy(&output.stderr)),
    }
}

/// Numbers of slots, serial numbers and the text of the help differ; the order of slots does, too.
fn normalised(text: &str) -> String {
    if let Some((before, _)) = text.split_once("Support tool for PKCS#11") {
        return format!("{before}HELP\n");
    }
    let mut lines: Vec<String> = text.lines().map(without_numbers).collect();
    if let Some(start) = lines.iter().position(|line| line == "Available slots:") {
        let mut slots: Vec<String> = lines
            .split_off(start + 1)
            .join("\n")
            .split("Slot N\n")
            .map(str::to_owned)
            .collect();
        slots.sort();
        lines.extend(slots);
    }
    lines.join("\n")
}

fn without_numbers(line: &str) -> String {
    if let Some((before, _)) = line.split_once("Serial number:") {
        return format!("{before}Serial number: S");
    }
    if let Some((before, _)) = line.split_once("slot ID 0x") {
        return format!("{before}slot ID N");
    }
    let mut words: Vec<&str> = line.split(' ').collect();
    for place in 1..words.len() {
        let number = words[place].trim_end_matches('.');
        let is_number = !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit());
        if is_number && words[place - 1].eq_ignore_ascii_case("slot") {
            words[place] = if words[place].ends_with('.') {
                "N."
            } else {
                "N"
            };
        }
    }
    words.join(" ")
}

fn openssl(directory: &Path, arguments: &str) {
    tool::require("openssl");
    let ran = tool::run(
        Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(directory),
        b"",
    );
    assert!(ran.good, "openssl {arguments}: {}", ran.said);
}

/// Keys in files, as OpenSSL writes them.
fn make_files(directory: &Path) {
    for command in [
        "genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa.pem",
        "genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out ec.pem",
        "genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-384 -out ec384.pem",
        "genpkey -algorithm ed448 -out ed448.pem",
        "genpkey -genparam -algorithm dsa -pkeyopt dsa_paramgen_bits:1024 -pkeyopt dsa_paramgen_q_bits:160 -out dsa.domain",
        "genpkey -paramfile dsa.domain -out dsa.pem",
        "rsa -in rsa.pem -traditional -out traditional.pem",
        "pkcs8 -topk8 -in rsa.pem -out rsa.enc -passout pass:file-pin",
        "pkcs8 -topk8 -in ec.pem -v2 des3 -out ec.enc -passout pass:file-pin",
        "pkcs8 -topk8 -in ec.pem -v2 aes-128-cbc -v2prf hmacWithSHA1 -out ec1.enc -passout pass:file-pin",
        "pkcs8 -topk8 -in ec.pem -scrypt -out ec2.enc -passout pass:file-pin",
        "pkcs8 -topk8 -in ec.pem -v1 PBE-SHA1-3DES -out ec3.enc -passout pass:file-pin",
    ] {
        openssl(directory, command);
    }
    fs::write(
        directory.join("aes.key"),
        b"0123456789abcdef0123456789abcdef",
    )
    .unwrap();
    fs::write(directory.join("odd.key"), b"0123456789").unwrap();
    fs::write(directory.join("empty.key"), b"").unwrap();
}

/// Command lines for both programs, in this order.
const SAME: &[&str] = &[
    "--show-slots",
    "--init-token --free --label one --so-pin so-12345 --pin user-12345",
    "--init-token --free --label one --so-pin so-12345 --pin user-12345",
    "--show-slots",
    "--init-token --free --label two --so-pin so-12345",
    "--init-token --free --label two --pin user-12345",
    "--init-token --label two --so-pin so-12345 --pin user-12345",
    "--init-token --slot -3 --label two --so-pin so-12345 --pin user-12345",
    "--init-token --slot 99999 --label two --so-pin so-12345 --pin user-12345",
    "--init-token --free --so-pin so-12345 --pin user-12345",
    "--init-token --free --label 123456789012345678901234567890123 --so-pin so-12345 --pin user-12345",
    "--init-token --free --label two --so-pin 123 --pin user-12345",
    "--init-token --token one --label two --so-pin so-12345 --pin user-12345",
    "--init-token --free --label work --so-pin so-12345 --pin user-12345",
    "--init-token --token work --label work --so-pin wrong-12345 --pin user-12345",
    "--init-token --token work --label work --so-pin so-12345 --pin user-12345",
    "--import rsa.pem --token work --label k --id 01 --pin user-12345",
    "--import rsa.pem --token work --label k --id 01 --pin user-12345",
    "--import rsa.pem --token work --label k --id 01 --pin user-12345 --force",
    "--import ec.pem --token work --label k --id 02 --pin user-12345 --no-public-key",
    "--import ec384.pem --token work --label k --id 0A0b --pin user-12345",
    "--import dsa.pem --token work --label k --id d5a0 --pin user-12345",
    "--import rsa.enc --token work --label k --id 03 --pin user-12345 --file-pin file-pin",
    "--import ec.enc --token work --label k --id 13 --pin user-12345 --file-pin file-pin",
    "--import ec1.enc --token work --label k --id 23 --pin user-12345 --file-pin file-pin",
    "--import ec2.enc --token work --label k --id 33 --pin user-12345 --file-pin file-pin",
    "--import ec3.enc --token work --label k --id 43 --pin user-12345 --file-pin file-pin",
    "--import rsa.enc --token work --label k --id 04 --pin user-12345 --file-pin wrong",
    "--import rsa.enc --token work --label k --id 04 --pin user-12345",
    "--import rsa.pem --token work --label k --id 04 --pin user-12345 --file-pin any",
    "--import traditional.pem --token work --label k --id 04 --pin user-12345",
    "--import missing.pem --token work --label k --id 04 --pin user-12345",
    "--import aes.key --token work --label k --id 04 --pin user-12345",
    "--import rsa.pem --token work --label k --id 04 --pin wrong-12345",
    "--import rsa.pem --token work --label k --id 04",
    "--import rsa.pem --token work --label k --id 0 --pin user-12345",
    "--import rsa.pem --token work --label k --id 0g --pin user-12345",
    "--import rsa.pem --token work --label k --id 012 --pin user-12345",
    "--import rsa.pem --token work --id 04 --pin user-12345",
    "--import rsa.pem --token work --label k --pin user-12345",
    "--import rsa.pem --token one --label k --id 04 --pin user-12345",
    "--import rsa.pem --token none --label k --id 04 --pin user-12345",
    "--import rsa.pem --serial none --label k --id 04 --pin user-12345",
    "--import rsa.pem --serial none --token work --label k --id 04 --pin user-12345",
    "--import rsa.pem --serial 12345678901234567 --label k --id 04 --pin user-12345",
    "--import rsa.pem --token 123456789012345678901234567890123 --label k --id 04 --pin user-12345",
    "--import rsa.pem --free --label k --id 04 --pin user-12345",
    "--import rsa.pem --label k --id 04 --pin user-12345",
    "--import rsa.pem --slot 99999 --label k --id 04 --pin user-12345",
    "--import aes.key --aes --token work --label a --id 05 --pin user-12345",
    "--import odd.key --aes --token work --label a --id 06 --pin user-12345",
    "--import empty.key --aes --token work --label a --id 06 --pin user-12345",
    "--import missing.key --aes --token work --label a --id 06 --pin user-12345",
    "--import aes.key --aes --token work --label a --pin user-12345",
    "--import aes.key --aes --token work --id 07 --pin user-12345",
    "--import aes.key --aes --token work --label a --id 07 --pin wrong-12345",
    "--import=ec.pem --tok=work --lab=k --id=77 --pi user-12345 --force",
    "--show-slots --init-token",
    "--delete-token",
    "",
    "--help",
    "-h",
    "--version",
    "-v",
    "-vh",
    "-x",
    "--bogus",
    "--label",
    "--s",
    "--free=1",
    "--sho",
    "left over --show-slots",
    "-- --show-slots",
];

fn run(program: &str, leading: &[&str], line: &str, original: &Original) -> Said {
    let mut command = Command::new("bash");
    // The name of a program stands in its complaints.
    command
        .args(["-c", "exec -a softhsm2-util \"$0\" \"$@\"", program])
        .args(leading)
        .args(line.split_whitespace())
        .env("SOFTHSM2_CONF", original.conf())
        .current_dir(&original.home);
    said(&mut command)
}

#[test]
fn both_programs_print_and_answer_the_same_through_softhsms_module() {
    tool::require("softhsm2-util");
    let (theirs, ours) = (Original::new(), Original::new());
    make_files(&theirs.home);
    for entry in fs::read_dir(&theirs.home).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("softhsm2.conf") {
            fs::copy(&path, ours.home.join(path.file_name().unwrap())).unwrap();
        }
    }
    let mut differences = Vec::new();
    for line in SAME {
        let expected = run("softhsm2-util", &[], line, &theirs);
        let got = run(OURS, &["--module", MODULE], line, &ours);
        if got != expected {
            differences.push(format!("{line}\n  theirs {expected:?}\n  ours   {got:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // What differs, and why: the reason of the second line is ours, and a module deletes no token.
    for (line, first) in [
        (
            "--import ed448.pem --token work --label k --id 99 --pin user-12345",
            "ERROR: Cannot handle this algorithm.",
        ),
        (
            "--delete-token --token one",
            "ERROR: No PKCS#11 module can delete a token",
        ),
    ] {
        let got = run(OURS, &["--module", MODULE], line, &ours);
        assert!(
            got.err.starts_with(first) && got.code == Some(1),
            "{line}: {got:?}"
        );
    }
}

#[test]
fn the_life_of_a_token_of_ours_goes_by_the_same_commands() {
    let mut hsm = Hsm::at_rest();
    hsm.start_daemon();
    make_files(&hsm.home);
    let module = strongroom_tests::product::bin_dir().join("libstrongroom_pkcs11.so");
    let run = |line: &str| {
        let mut command = hsm.command(OURS);
        command
            .args(["--module", module.to_str().unwrap()])
            .args(line.split_whitespace());
        said(&mut command)
    };
    let good = |line: &str, out: &str| {
        let got = run(line);
        assert!(
            got.code == Some(0) && got.out.contains(out),
            "{line}: {got:?}"
        );
    };
    good(
        "--init-token --free --label work --so-pin so-12345 --pin user-12345",
        "The token has been initialized",
    );
    good("--show-slots", "User PIN init.:   yes");
    good(
        "--import rsa.pem --token work --label r --id 01 --pin user-12345",
        "The key pair has been imported.",
    );
    good(
        "--import ec.enc --token work --label e --id 02 --pin user-12345 --file-pin file-pin",
        "The key pair has been imported.",
    );
    good(
        "--import aes.key --aes --token work --label a --id 03 --pin user-12345",
        "",
    );
    let again = run("--import rsa.pem --token work --label r --id 01 --pin user-12345");
    assert!(
        again.code == Some(1) && again.err.contains("already assigned"),
        "{again:?}"
    );
    let objects = hsm.administer(&["--json", "object", "list", "work"]);
    assert_eq!(objects.matches("unique_id").count(), 5, "{objects}");
    good("--delete-token --token work", "has been deleted.");
    assert_eq!(run("--delete-token --token work").code, Some(1));
    let tokens = hsm.administer(&["--json", "token", "list"]);
    assert!(!tokens.contains("work"), "{tokens}");
}
