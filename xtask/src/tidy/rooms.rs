//! Rooms: words that may be spoken in some directories only.
//!
//! What lives here: the table of such words, one row a rule.
//! What must never live here: what Cargo enforces by itself (a crate that is no dependency cannot be named).
//! Who calls it: `tidy`.

use super::Finding;
use crate::source::Source;

/// A word and where it may stand.
struct Room {
    /// The words; a trailing `*` stands for the rest of a word.
    words: &'static [&'static str],
    /// Where the rule holds: prefixes of paths; empty is everywhere.
    within: &'static [&'static str],
    /// Where the words are at home: prefixes of paths.
    home: &'static [&'static str],
    /// Whether test code may use the words wherever it stands.
    tests_too: bool,
    /// Why.
    reason: &'static str,
}

const ROOMS: &[Room] = &[
    Room {
        words: &["unsafe"],
        within: &[],
        home: &[
            "keymem/src/",
            "crypto/src/ffi/",
            "ring/src/mapping",
            "pkcs11-module/src/abi",
            "daemon/src/system",
            "cli/src/system",
            "benches/src/module",
            "softhsm-compat/src/foreign/raw",
            "tde/mariadb/src/abi",
        ],
        tests_too: true,
        reason: "unsafe code has rooms of its own: keymem, crypto/src/ffi, the mapping of ring, pkcs11-module/src/abi, the system files of daemon and command line, the loaders of the measuring program and of the importer, and the C of the plug-in for MariaDB",
    },
    Room {
        words: &["CK_*", "cryptoki_sys"],
        within: &[],
        home: &[
            "pkcs11-module/src/abi",
            "benches/src/",
            "softhsm-compat/src/foreign/raw",
            "tde/mariadb/src/abi",
        ],
        tests_too: true,
        reason: "the structures of the C header stop at pkcs11-module/src/abi; the measuring program, the importer's loader and the plug-in for MariaDB are applications in their own right",
    },
    Room {
        words: &["aws_lc*"],
        within: &[],
        home: &["crypto/"],
        tests_too: false,
        reason: "AWS-LC is named in crypto/ only",
    },
    Room {
        words: &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "std::os",
            "SystemTime",
            "Instant",
        ],
        within: &["src/"],
        home: &[],
        tests_too: true,
        reason: "the token has no hands: files, sockets, environment, processes, threads and clocks come in through src/ports.rs",
    },
    Room {
        words: &[
            "tokio",
            "async_std",
            "smol",
            "tracing*",
            "env_logger",
            "atexit",
            "pthread_atfork",
        ],
        within: &["pkcs11-module/"],
        home: &[],
        tests_too: false,
        reason: "the module is a guest: no runtime, no logger, no handler in somebody else's process",
    },
    Room {
        words: &["strongroom_crypto"],
        within: &["pkcs11-module/"],
        home: &["pkcs11-module/src/entry/digest.rs"],
        tests_too: true,
        reason: "the module computes digests and nothing else: whatever needs a key is the daemon's",
    },
    Room {
        words: &["strongroom_crypto"],
        within: &["cli/"],
        home: &[
            "cli/src/command/backup/file.rs",
            "cli/src/command/release/envelope",
        ],
        tests_too: true,
        reason: "the command line computes the digest of a file, verifies the envelopes of released keys, and nothing else: whatever needs a private or secret key is the daemon's program",
    },
    Room {
        words: &["AttributeType", "MechanismType"],
        within: &["daemon/src/"],
        home: &[],
        tests_too: true,
        reason: "the daemon knows no rule of PKCS#11: an attribute or a mechanism there is in the wrong room",
    },
];

/// Words outside their rooms.
pub(super) fn strangers(file: &Source) -> Vec<Finding> {
    let applies = |room: &&Room| {
        let begins =
            |prefixes: &[&str]| prefixes.iter().any(|prefix| file.path.starts_with(prefix));
        (room.within.is_empty() || begins(room.within)) && !begins(room.home)
    };
    let mut findings = Vec::new();
    for room in ROOMS.iter().filter(applies) {
        for (line, code) in file.code.lines().enumerate() {
            if room.tests_too && file.is_test_line(line) {
                continue;
            }
            if let Some(word) = room.words.iter().find(|word| speaks(code, word)) {
                let what = format!("{}: {}", word.trim_end_matches('*'), room.reason);
                findings.push(Finding::at_line(&file.path, line, what));
            }
        }
    }
    findings
}

/// Whether a line has the word as a whole. `std::x` is also found inside `use std::{x, y}`.
fn speaks(code: &str, word: &str) -> bool {
    let (stem, open_ended) = word
        .strip_suffix('*')
        .map_or((word, false), |stem| (stem, true));
    let is_word = |one: char| one.is_alphanumeric() || one == '_';
    let whole = code.match_indices(stem).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_word);
        let after = code[at + stem.len()..].chars().next().is_some_and(is_word);
        !before && (open_ended || !after)
    });
    let grouped = || {
        let Some(name) = word.strip_prefix("std::") else {
            return false;
        };
        let Some((_, group)) = code.split_once("std::{") else {
            return false;
        };
        group
            .split([',', '{', '}', ':', ';'])
            .any(|part| part.trim() == name)
    };
    whole || grouped()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, line: &str) -> usize {
        strangers(&Source::parse(path, &format!("//! A.\n{line}\n"))).len()
    }

    #[test]
    fn unsafe_stays_in_its_rooms() {
        assert_eq!(found("src/token.rs", "let a = unsafe { b() };"), 1);
        assert_eq!(found("crypto/src/aes.rs", "unsafe fn a() {}"), 1);
        assert_eq!(found("keymem/src/pool.rs", "unsafe { b() }"), 0);
        assert_eq!(
            found("src/token.rs", "#![forbid(unsafe_code)] // no unsafe"),
            0
        );
        assert_eq!(found("tests/src/hsm.rs", "unsafe { kill() }"), 0);
    }

    #[test]
    fn c_types_stop_at_the_boundary() {
        assert_eq!(
            found("pkcs11-module/src/entry/sign.rs", "fn a(b: CK_ULONG) {}"),
            1
        );
        assert_eq!(found("src/token.rs", "use cryptoki_sys::c;"), 1);
        assert_eq!(
            found("pkcs11-module/src/abi/caller.rs", "fn a(b: CK_ULONG) {}"),
            0
        );
        assert_eq!(found("src/token.rs", "/// A `CK_BBOOL`."), 0);
    }

    #[test]
    fn the_crypto_library_has_one_door() {
        assert_eq!(found("daemon/src/main.rs", "aws_lc_sys::RAND_bytes();"), 1);
        assert_eq!(
            found("crypto/src/ffi/random.rs", "aws_lc_sys::RAND_bytes();"),
            0
        );
    }

    #[test]
    fn the_token_has_no_hands() {
        assert_eq!(found("src/token.rs", "use std::fs::File;"), 1);
        assert_eq!(found("src/token.rs", "use std::{fmt, thread};"), 1);
        assert_eq!(found("src/token.rs", "let now = SystemTime::now();"), 1);
        assert_eq!(found("src/token.rs", "use std::fmt;"), 0);
        assert_eq!(
            found("daemon/src/clock.rs", "let now = SystemTime::now();"),
            0
        );
        assert_eq!(found("src/vault/tests.rs", "std::thread::spawn(f);"), 0);
    }

    #[test]
    fn the_module_is_a_guest() {
        assert_eq!(found("pkcs11-module/src/client.rs", "tracing::info!();"), 1);
        assert_eq!(found("daemon/src/log.rs", "tracing::info!();"), 0);
    }

    #[test]
    fn the_daemon_knows_no_rule_of_the_standard() {
        assert_eq!(
            found("daemon/src/admin.rs", "if kind == AttributeType::LABEL {}"),
            1
        );
        assert_eq!(
            found("src/object/mod.rs", "if kind == AttributeType::LABEL {}"),
            0
        );
    }
}
