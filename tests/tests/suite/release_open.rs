//! Consumers of released keys: `strongroom release open` into another token, and programs that are made of other people's libraries.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cryptoki_sys::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use strongroom_tests::attest::{base64url, from_base64url, opened, policy};
use strongroom_tests::hsm::module_path;
use strongroom_tests::mechanism::Mechanism;
use strongroom_tests::product::bin_dir;
use strongroom_tests::tool::{Ran, run, succeed};
use strongroom_tests::{Session, Template, USER_PIN, Way, hex, not_on_softhsm, pattern, template};

use crate::release::{self, Kind, Scene};

const NONCE: &str = "n-1";
pub const HOST: &str = "suite.strongroom.internal";

/// Everybody who opens envelopes, each with a private key of its own.
pub struct Consumers {
    pub scene: Scene,
    /// How the programs that are not ours are called.
    pub programs: Vec<Vec<String>>,
    /// Statements for the key pair in the token and for the one in a file.
    in_token: String,
    in_file: String,
}

impl Consumers {
    pub fn new() -> Self {
        let scene = Scene::open();
        let home = &scene.place.hsm.home;
        let root = scene.place.hsm.administer(&["release", "root"]);
        fs::write(home.join("root.pem"), root).unwrap();
        let in_token = {
            let session = Session::open_rw(&scene.place.module, scene.other_slot).unwrap();
            session.login(CKU_USER, USER_PIN).unwrap();
            let [kek, _] = ["kek", "another"].map(|label| kek(&session, label));
            scene.authority.statement(&kek, &json!({"nonce": NONCE}))
        };
        let [modulus, _] = ["kek", "another"].map(|name| pem(&scene, name));
        let in_file = scene
            .authority
            .statement(&modulus, &json!({"nonce": NONCE}));
        let programs = programs(&scene);
        Self {
            scene,
            programs,
            in_token,
            in_file,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scene.place.hsm.home.join(name)
    }

    fn release(&self, label: &str, encryption: &str, statement: &str) -> String {
        let more = ["--enc", encryption, "--nonce", NONCE];
        self.scene.release(label, statement, &more).unwrap()
    }

    /// `strongroom release open`, with these arguments besides.
    pub fn open(&self, envelope: &str, more: &[&str]) -> Ran {
        let mut command = Command::new(bin_dir().join("strongroom"));
        command
            .env_clear()
            .envs(self.scene.place.hsm.environment())
            .current_dir(&self.scene.place.hsm.home)
            .args([
                "release",
                "open",
                "--token",
                "elsewhere",
                "--pin-file",
                "pin",
                "--module",
            ])
            .arg(module_path());
        let mut arguments = vec!["--root", "root.pem", "--kek", "kek"];
        for pair in more.chunks(2) {
            match arguments.iter().position(|name| *name == pair[0]) {
                Some(place) => arguments[place + 1] = pair[1],
                None => arguments.extend(pair),
            }
        }
        run(command.args(arguments), envelope.as_bytes())
    }

    /// One of the others.
    pub fn program(&self, program: &[String], envelope: &str, more: &[&str]) -> Ran {
        let mut arguments = vec!["--root", "root.pem", "--kek", "kek.pem"];
        for pair in more.chunks(2) {
            match arguments.iter().position(|name| *name == pair[0]) {
                Some(place) => arguments[place + 1] = pair[1],
                None => arguments.extend(pair),
            }
        }
        let mut command = Command::new(&program[0]);
        command
            .current_dir(&self.scene.place.hsm.home)
            .args(&program[1..])
            .args(arguments)
            .arg("-");
        run(&mut command, envelope.as_bytes())
    }

    /// Everybody refuses it, for a reason with one of these words; nothing is in the token afterwards.
    #[track_caller]
    pub fn refuse(&self, envelope: &str, more: &[&str], words: &[&str]) {
        let mut all = vec![self.open(envelope, more)];
        for program in &self.programs {
            all.push(self.program(program, envelope, more));
        }
        for ran in all {
            assert!(!ran.good, "{}", ran.said);
            let told = words.iter().any(|word| ran.said.contains(word));
            assert!(
                told && !ran.said.contains("Traceback"),
                "{words:?}: {}",
                ran.said
            );
        }
        let session = self.elsewhere();
        for class in [CKO_SECRET_KEY, CKO_PRIVATE_KEY] {
            for handle in session.find(&template! { CKA_CLASS => class }).unwrap() {
                let label = session.attribute(handle, CKA_LABEL).unwrap();
                assert!(label == b"kek" || label == b"another", "a key was left");
            }
        }
    }

    pub fn elsewhere(&self) -> Session<'_> {
        let session = Session::open_rw(&self.scene.place.module, self.scene.other_slot).unwrap();
        match session.login(CKU_USER, USER_PIN).map_err(|code| code.0) {
            // Another session of this process has done it.
            Ok(()) | Err(CKR_USER_ALREADY_LOGGED_IN) => {}
            Err(code) => panic!("login: {code:#x}"),
        }
        session
    }
}

/// A key pair that stays in its token; its modulus.
pub fn kek(session: &Session<'_>, label: &str) -> Vec<u8> {
    let both = template! { CKA_TOKEN => true, CKA_LABEL => label };
    let (public, _) = session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &both.clone().with(CKA_MODULUS_BITS, 2048u64),
            &both.with(CKA_UNWRAP, true),
        )
        .unwrap();
    session.attribute(public, CKA_MODULUS).unwrap()
}

/// A key pair in a file; its modulus.
fn pem(scene: &Scene, name: &str) -> Vec<u8> {
    let path = scene.place.hsm.home.join(format!("{name}.pem"));
    let mut command = Command::new("openssl");
    command.args([
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
    ]);
    succeed(command.arg(&path));
    let mut command = Command::new("openssl");
    let said = succeed(
        command
            .args(["rsa", "-noout", "-modulus", "-in"])
            .arg(&path),
    )
    .out;
    let said = String::from_utf8(said).unwrap();
    hex(said.trim().strip_prefix("Modulus=").unwrap())
}

/// The examples: one as it is, one built here.
fn programs(scene: &Scene) -> Vec<Vec<String>> {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/release");
    let built = scene.place.hsm.home.join("open");
    let mut command = Command::new("cc");
    command.args(["-Wall", "-Wextra", "-Werror", "-O1", "-o"]);
    command.arg(&built).arg(format!("{examples}/open.c"));
    succeed(command.args(["-ljansson", "-lcrypto"]));
    // Debian's Python, which has Debian's libraries; another may stand before it in the path.
    let python = ["/usr/bin/python3".to_owned(), format!("{examples}/open.py")];
    vec![python.to_vec(), vec![built.to_str().unwrap().to_owned()]]
}

/// Keys of every kind in every encryption come into the token and do there what the original does, and other people's libraries open them too.
#[test]
fn released_keys_are_opened_by_the_command_and_by_strangers() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let consumers = Consumers::new();
    let session = consumers.scene.place.user();
    let wanted = policy("sdk-test", &json!(true));
    for (name, shown, kind) in keys(&session, &wanted) {
        for encryption in [
            "CKM_RSA_AES_KEY_WRAP",
            "RSA_AES_KEY_WRAP_256",
            "RSA_AES_KEY_WRAP_384",
        ] {
            let envelope = consumers.release(name, encryption, &consumers.in_token);
            let label = format!("{name} by {encryption}");
            let ran = consumers.open(&envelope, &["--nonce", NONCE, "--label", &label]);
            assert!(ran.good, "{}", ran.said);
            does_the_same(&consumers, &session, &label, kind);
            let envelope = consumers.release(name, encryption, &consumers.in_file);
            for text in [envelope.clone(), json!({"value": envelope}).to_string()] {
                for program in &consumers.programs {
                    let ran = consumers.program(program, &text, &["--nonce", NONCE]);
                    assert!(ran.good && ran.said.contains(shown), "{}", ran.said);
                }
            }
        }
    }
}

/// Keys with their labels, and what strangers say of their kind.
fn keys(session: &Session<'_>, wanted: &str) -> Vec<(&'static str, &'static str, Kind)> {
    let [aes, rsa, ec] = release::every_kind(session, wanted);
    let mut all = vec![
        (aes.0, "oct of 256 bits", aes.2),
        (rsa.0, "RSA of 2048 bits", rsa.2),
        (ec.0, "EC on P-256", ec.2),
    ];
    for (name, shown, parameters) in [
        ("p384", "EC on P-384", "06052b81040022"),
        ("p521", "EC on P-521", "06052b81040023"),
    ] {
        let parameters = hex(parameters);
        let curve = template! { CKA_EC_PARAMS => parameters.as_slice(), CKA_VERIFY => true };
        let (public, _) = release::pair(session, CKM_EC_KEY_PAIR_GEN, &curve, name, wanted);
        all.push((name, shown, Kind::Ec(public)));
    }
    all
}

fn does_the_same(consumers: &Consumers, session: &Session<'_>, label: &str, kind: Kind) {
    let elsewhere = consumers.elsewhere();
    let found = elsewhere
        .find(&template! { CKA_LABEL => label, CKA_TOKEN => true })
        .unwrap();
    let [key] = found.as_slice() else {
        panic!("{label}: {} keys", found.len());
    };
    assert!(elsewhere.flag(*key, CKA_SENSITIVE).unwrap());
    assert!(!elsewhere.flag(*key, CKA_EXTRACTABLE).unwrap());
    let (mechanism, public) = match kind {
        Kind::Aes(original) => {
            let data = pattern(7, 64);
            let ecb = || Mechanism::plain(CKM_AES_ECB);
            assert_eq!(
                elsewhere.run(Way::Encrypt, ecb(), *key, &data).unwrap(),
                session.run(Way::Encrypt, ecb(), original, &data).unwrap()
            );
            return;
        }
        Kind::Rsa(public) => (CKM_SHA256_RSA_PKCS, public),
        Kind::Ec(public) => (CKM_ECDSA_SHA256, public),
    };
    let signature = elsewhere
        .run(Way::Sign, Mechanism::plain(mechanism), *key, b"data")
        .unwrap();
    session
        .verify(Mechanism::plain(mechanism), public, b"data", &signature)
        .unwrap();
}

/// What is wrong about an envelope, or about whom it is for, is named, by the command and by strangers.
#[test]
fn what_is_wrong_about_an_envelope_is_named_and_nothing_is_unwrapped() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let consumers = Consumers::new();
    let session = consumers.scene.place.user();
    release::aes(&session, "aes", &policy("sdk-test", &json!(true)));
    let good = consumers.release("aes", "RSA_AES_KEY_WRAP_256", &consumers.in_token);
    let stranger = stranger(&consumers);
    consumers.refuse(
        &good,
        &["--root", &stranger],
        &["chain", "root", "certificate"],
    );
    consumers.refuse(&good, &["--host", "other.strongroom.internal"], &["host"]);
    consumers.refuse(&good, &["--nonce", "n-2"], &["nonce"]);
    for (envelope, words) in forged(&good) {
        consumers.refuse(&envelope, &[], words);
    }
    let large = "A".repeat(2 * 1024 * 1024);
    consumers.refuse(&large, &[], &["more than"]);
    // The envelope is for the key in the token, so no file opens it, and no other key of the token.
    for program in &consumers.programs {
        let ran = consumers.program(program, &good, &[]);
        assert!(
            !ran.good && ran.said.contains("private key"),
            "{}",
            ran.said
        );
    }
    for (name, word) in [
        ("another", "not the one"),
        ("nothing", "no private RSA key"),
    ] {
        let ran = consumers.open(&good, &["--kek", name]);
        assert!(!ran.good && ran.said.contains(word), "{}", ran.said);
    }
    let ran = consumers.open(&good, &["--host", HOST, "--nonce", NONCE]);
    assert!(ran.good && !ran.said.contains(USER_PIN), "{}", ran.said);
    assert_eq!(found(&consumers, "aes"), 1);
}

fn found(consumers: &Consumers, label: &str) -> usize {
    let wanted: Template = template! { CKA_LABEL => label };
    consumers.elsewhere().find(&wanted).unwrap().len()
}

/// A root that has signed nothing, in a file.
fn stranger(consumers: &Consumers) -> String {
    let path = consumers.path("stranger.pem");
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=Strongroom release root",
    ]);
    command.arg("-keyout").arg(consumers.path("stranger.key"));
    succeed(command.arg("-out").arg(&path));
    path.to_str().unwrap().to_owned()
}

/// Envelopes without what makes a good one good, each with words for it.
fn forged(good: &str) -> Vec<(String, &'static [&'static str])> {
    const ALGORITHM: &[&str] = &["algorithm"];
    const SIGNATURE: &[&str] = &["signature"];
    let (header, payload) = opened(good);
    let parts: Vec<&str> = good.split('.').collect();
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let renamed = |name: &str| {
        let mut header = header.clone();
        header["alg"] = json!(name);
        part(&header)
    };
    let flipped = |text: &str, place: usize| {
        let mut bytes = from_base64url(text);
        let place = place.min(bytes.len() - 1);
        bytes[place] ^= 1;
        base64url(&bytes)
    };
    let mut other = payload.clone();
    other["response"]["key"]["attributes"]["exportable"] = json!(false);
    let message = format!("{}.{}", renamed("HS256"), parts[1]);
    let leaf = header["x5c"][0].as_str().unwrap();
    let by_leaf = base64url(&hmac(leaf.as_bytes(), message.as_bytes()));
    let mut all: Vec<(String, &[&str])> = vec![
        (format!("{}.{}.", renamed("none"), parts[1]), ALGORITHM),
        (format!("{message}.{by_leaf}"), ALGORITHM),
        (
            format!("{}.{}.{}", parts[0], part(&other), parts[2]),
            SIGNATURE,
        ),
        (format!("{good}.{}", parts[2]), &["three parts"]),
        (format!("{}.{}", parts[0], parts[1]), &["three parts"]),
        (String::from("rubbish"), &["three parts"]),
        (format!("{}.{}.", parts[0], parts[1]), SIGNATURE),
    ];
    for place in [0, 100, usize::MAX] {
        all.push((
            format!("{}.{}.{}", parts[0], parts[1], flipped(parts[2], place)),
            SIGNATURE,
        ));
    }
    // A bit of the ciphertext, which the signature covers.
    let key_hsm = payload["response"]["key"]["key"]["key_hsm"]
        .as_str()
        .unwrap();
    let mut hsm: Value = serde_json::from_slice(&from_base64url(key_hsm)).unwrap();
    for place in [0, 255, 256, usize::MAX] {
        let ciphertext = hsm["ciphertext"].as_str().unwrap();
        hsm["ciphertext"] = json!(flipped(ciphertext, place));
        let mut payload = payload.clone();
        payload["response"]["key"]["key"]["key_hsm"] = json!(part(&hsm));
        all.push((
            format!("{}.{}.{}", parts[0], part(&payload), parts[2]),
            SIGNATURE,
        ));
    }
    let mut header = header.clone();
    let chain = header["x5c"].as_array().unwrap().clone();
    header["x5c"] = json!([chain[1], chain[0]]);
    all.push((
        format!("{}.{}.{}", part(&header), parts[1], parts[2]),
        &["signature", "x5t#S256", "signatures"],
    ));
    header["x5c"] = json!([]);
    all.push((
        format!("{}.{}.{}", part(&header), parts[1], parts[2]),
        &["certificate"],
    ));
    all
}

/// RFC 2104 over SHA-256, with a key that is longer than a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(&Sha256::digest(key));
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::digest([&padded(0x36), message].concat());
    Sha256::digest([padded(0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}
