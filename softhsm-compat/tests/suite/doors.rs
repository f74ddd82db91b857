//! Objects from files and from other modules, brought into a token of ours and judged by OpenSSL.
//!
//! What lives here: the rig of the doors: a token, a directory of files, the importer, and the judge.
//! What must never live here: a door's own test.
//! Who calls it: the modules below.

mod jwk;
mod modules;
mod pem;
mod pkcs12;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cryptoki_sys::*;
use strongroom_tests::{Mechanism, Session, USER_PIN, Way, Workplace, template, tool};

/// A token of ours and a directory of files.
struct Bench {
    work: Workplace,
    files: PathBuf,
}

/// What an import said.
struct Told {
    code: i32,
    report: serde_json::Value,
    said: String,
}

impl Told {
    /// Fails unless everything came in.
    #[track_caller]
    fn well(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.report, self.said);
        self
    }

    /// The objects with an outcome, as (class, label, first reason).
    fn lines(&self, outcome: &str) -> Vec<(String, String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let objects = self.report["parts"][0]["objects"].as_array().unwrap();
        objects
            .iter()
            .filter(|line| line["outcome"] == outcome)
            .map(|line| {
                (
                    text(&line["class"]),
                    text(&line["label"]),
                    text(&line["why"][0]),
                )
            })
            .collect()
    }
}

impl Bench {
    fn new() -> Self {
        let work = Workplace::open();
        let files = work.hsm.home.join("files");
        fs::create_dir(&files).unwrap();
        fs::write(files.join("pin"), USER_PIN).unwrap();
        fs::write(files.join("password"), "correct horse\n").unwrap();
        fs::write(files.join("wrong"), "wrong horse\n").unwrap();
        Self { work, files }
    }

    /// Runs a program in the directory of files; it must end well.
    #[track_caller]
    fn make(&self, program: &str, arguments: &str) -> Vec<u8> {
        let words = arguments.split_whitespace();
        tool::succeed(Command::new(program).args(words).current_dir(&self.files)).out
    }

    fn openssl(&self, arguments: &str) -> Vec<u8> {
        self.make("openssl", arguments)
    }

    /// Runs the importer in the directory of files, into the token.
    fn import(&self, arguments: &str) -> Told {
        self.import_with(arguments, &[])
    }

    fn import_with(&self, arguments: &str, environment: &[(&str, String)]) -> Told {
        let output = self
            .work
            .hsm
            .command(env!("CARGO_BIN_EXE_strongroom-import"))
            .current_dir(&self.files)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .arg("--json")
            .args(arguments.split_whitespace())
            .args(["--token", "suite", "--pin-file", "pin"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Told {
            code: output.status.code().unwrap_or(-1),
            report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// How many objects the token has.
    fn count(&self) -> usize {
        self.work.user().find(&template! {}).unwrap().len()
    }

    /// An import that must fail, say this, and change nothing.
    #[track_caller]
    fn refuses(&self, arguments: &str, words: &str) {
        let before = self.count();
        let told = self.import(arguments);
        assert_eq!(told.code, 1, "{arguments}: {}{}", told.report, told.said);
        assert!(told.said.contains(words), "{arguments}: {}", told.said);
        assert!(!told.said.contains("panicked"), "{}", told.said);
        assert_eq!(self.count(), before, "{arguments}");
    }

    /// The one object of a class and label.
    #[track_caller]
    fn object(
        &self,
        session: &Session<'_>,
        class: CK_OBJECT_CLASS,
        label: &str,
    ) -> CK_OBJECT_HANDLE {
        let found = session
            .find(&template! { CKA_CLASS => class, CKA_LABEL => label })
            .unwrap();
        assert_eq!(found.len(), 1, "{class} {label}");
        found[0]
    }

    /// The private key of a label signs, and OpenSSL finds that good by the public key of the file that it came from.
    #[track_caller]
    fn signs(&self, label: &str, public: &str) {
        let session = self.work.user();
        let key = self.object(&session, CKO_PRIVATE_KEY, label);
        self.proves(&session, key, label, public);
        // And nobody gets it out.
        assert!(session.flag(key, CKA_SENSITIVE).unwrap());
        assert!(!session.flag(key, CKA_EXTRACTABLE).unwrap());
    }

    #[track_caller]
    fn proves(&self, session: &Session<'_>, key: CK_OBJECT_HANDLE, text: &str, public: &str) {
        let data = text.repeat(5);
        let kind = session.number(key, CKA_KEY_TYPE).unwrap();
        let mechanism = match kind {
            CKK_RSA => CKM_SHA256_RSA_PKCS,
            CKK_EC => CKM_ECDSA_SHA256,
            _ => CKM_EDDSA,
        };
        let made = session
            .run(Way::Sign, Mechanism::plain(mechanism), key, data.as_bytes())
            .unwrap();
        let signature = if kind == CKK_EC { der_of(&made) } else { made };
        fs::write(self.files.join("data"), &data).unwrap();
        fs::write(self.files.join("signature"), signature).unwrap();
        if kind == CKK_EC_EDWARDS {
            self.openssl(&format!(
                "pkeyutl -verify -pubin -inkey {public} -rawin -in data -sigfile signature"
            ));
        } else {
            self.openssl(&format!(
                "dgst -sha256 -verify {public} -signature signature data"
            ));
        }
    }
}

/// r and s, as OpenSSL wants them.
fn der_of(signature: &[u8]) -> Vec<u8> {
    let integer = |digits: &[u8]| {
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        let mut digits = digits[zeros..].to_vec();
        if digits[0] & 0x80 != 0 {
            digits.insert(0, 0);
        }
        [vec![2, digits.len() as u8], digits].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let content = [integer(r), integer(s)].concat();
    let mut der = vec![0x30];
    if content.len() > 127 {
        der.push(0x81);
    }
    der.push(content.len() as u8);
    [der, content].concat()
}

/// A file cut off or with one byte changed must never bring anything in, and never take the importer down.
#[track_caller]
fn survives_damage(bench: &Bench, file: &str, command: &str, cuts: usize, flips: usize) {
    let whole = fs::read(bench.files.join(file)).unwrap();
    let before = bench.count();
    let mut attempts: Vec<Vec<u8>> = (0..cuts)
        .map(|n| whole[..whole.len() * n / cuts].to_vec())
        .collect();
    for n in 0..flips {
        let mut flipped = whole.clone();
        flipped[whole.len() * n / flips] ^= 0x15;
        attempts.push(flipped);
    }
    for (number, bytes) in attempts.iter().enumerate() {
        fs::write(bench.files.join("damaged"), bytes).unwrap();
        let told = bench.import(command);
        assert_eq!(told.code, 1, "{number}: {}{}", told.report, told.said);
        assert!(
            told.said.contains("nothing was changed"),
            "{number}: {}",
            told.said
        );
    }
    assert_eq!(bench.count(), before);
}
