//! Released keys come into the token of another vendor, whose module knows nothing of releases.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cryptoki_sys::*;
use serde_json::json;
use strongroom_tests::attest::policy;
use strongroom_tests::certify::Certified;
use strongroom_tests::mechanism::Mechanism;
use strongroom_tests::product::bin_dir;
use strongroom_tests::tool::{Ran, run, succeed};
use strongroom_tests::{Module, Session, USER_PIN, Way, hex, not_on_softhsm, pattern, template};

use crate::release::{self, Kind, Scene};
use crate::release_forged::{
    EC, NAMED, RSA, encrypted_by, extended, header, payload_by, private, public, usual,
};
use crate::release_open::{HOST, kek};

/// A house that releases, and beside it a token of SoftHSM with a key pair that stays there.
struct Beside {
    scene: Scene,
    softhsm: Module,
    slot: CK_SLOT_ID,
    modulus: Vec<u8>,
}

impl Beside {
    fn new() -> Self {
        let scene = Scene::open();
        let hsm = &scene.place.hsm;
        let root = hsm.administer(&["release", "root"]);
        fs::write(hsm.home.join("root.pem"), root).unwrap();
        let softhsm = hsm.softhsm_beside();
        let slot = softhsm.make_token("softhsm");
        let modulus = {
            let session = Session::open_rw(&softhsm, slot).unwrap();
            session.login(CKU_USER, USER_PIN).unwrap();
            kek(&session, "kek")
        };
        Self {
            scene,
            softhsm,
            slot,
            modulus,
        }
    }

    fn there(&self) -> Session<'_> {
        let session = Session::open_rw(&self.softhsm, self.slot).unwrap();
        match session.login(CKU_USER, USER_PIN).map_err(|code| code.0) {
            // Another session of this process has done it.
            Ok(()) | Err(CKR_USER_ALREADY_LOGGED_IN) => {}
            Err(code) => panic!("login: {code:#x}"),
        }
        session
    }

    fn open(&self, root: &str, envelope: &str) -> Ran {
        let home = &self.scene.place.hsm.home;
        let mut command = Command::new(bin_dir().join("strongroom"));
        command
            .current_dir(home)
            .env_clear()
            .env("SOFTHSM2_CONF", home.join("softhsm/softhsm2.conf"))
            .args(["release", "open", "--root", root, "--kek", "kek"])
            .args(["--token", "softhsm", "--pin-file", "pin"])
            .args(["--module", "softhsm/module.so"]);
        run(&mut command, envelope.as_bytes())
    }

    /// The public half of its key pair, in DER: a file.
    fn place(&self) -> PathBuf {
        let home = &self.scene.place.hsm.home;
        let (numbers, place) = (home.join("numbers.der"), home.join("softhsm.der"));
        // RFC 8017, A.1.1: both numbers of a key of 2048 bits with the usual exponent.
        let der = [
            hex("3082010a0282010100"),
            self.modulus.clone(),
            hex("0203010001"),
        ];
        fs::write(&numbers, der.concat()).unwrap();
        let mut command = Command::new("openssl");
        command.args(["rsa", "-RSAPublicKey_in", "-inform", "DER", "-in"]);
        command.arg(&numbers).args(["-pubout", "-outform", "DER"]);
        succeed(command.arg("-out").arg(&place));
        place
    }
}

/// Keys of every kind come into SoftHSM by the encryption that it knows, and do there what the original does; for what it does not know,
/// the way that there is is named.
#[test]
fn released_keys_come_into_a_token_of_softhsm() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let beside = Beside::new();
    let scene = &beside.scene;
    let statement = scene.authority.statement(&beside.modulus, &json!({}));
    let session = scene.place.user();
    let wanted = policy("sdk-test", &json!(true));
    for (name, original, kind) in release::every_kind(&session, &wanted) {
        for (enc, hash) in [
            ("RSA_AES_KEY_WRAP_256", "SHA-256"),
            ("RSA_AES_KEY_WRAP_384", "SHA-384"),
        ] {
            let envelope = scene.release(name, &statement, &["--enc", enc]).unwrap();
            let said = beside.open("root.pem", &envelope);
            let told = format!("no OAEP with {hash}");
            assert!(!said.good && said.said.contains(&told), "{}", said.said);
            assert!(said.said.contains("--enc CKM_RSA_AES_KEY_WRAP"));
        }
        let enc = ["--enc", "CKM_RSA_AES_KEY_WRAP"];
        let envelope = scene.release(name, &statement, &enc).unwrap();
        let ran = beside.open("root.pem", &envelope);
        assert!(ran.good, "{}", ran.said);
        let there = beside.there();
        let found = there.find(&template! { CKA_LABEL => name }).unwrap();
        let [key] = found.as_slice() else {
            panic!("{name}: {} keys", found.len());
        };
        assert!(there.flag(*key, CKA_SENSITIVE).unwrap());
        assert!(!there.flag(*key, CKA_EXTRACTABLE).unwrap());
        let data = pattern(7, 32);
        let (mechanism, public) = match kind {
            Kind::Aes(_) => {
                let ecb = || Mechanism::plain(CKM_AES_ECB);
                assert_eq!(
                    there.run(Way::Encrypt, ecb(), *key, &data).unwrap(),
                    session.run(Way::Encrypt, ecb(), original, &data).unwrap()
                );
                continue;
            }
            Kind::Rsa(public) => (CKM_SHA256_RSA_PKCS, public),
            Kind::Ec(public) => (CKM_ECDSA, public),
        };
        let signature = there
            .run(Way::Sign, Mechanism::plain(mechanism), *key, &data)
            .unwrap();
        session
            .verify(Mechanism::plain(mechanism), public, &data, &signature)
            .unwrap();
    }
}

/// SoftHSM does not tell the public half of an unwrapped key: numbers and a signature show which one it is, and another one is destroyed again.
#[test]
fn another_key_than_was_signed_for_does_not_stay_in_softhsm() {
    if not_on_softhsm("releases no keys") {
        return;
    }
    let beside = Beside::new();
    let home = &beside.scene.place.hsm.home;
    let root = Certified::root(home, "forge");
    let leaf = root.certifies("leaf", &usual(&extended(NAMED)));
    let place = beside.place();
    let forged = |told: &serde_json::Value, plain: &[u8]| {
        let ciphertext = encrypted_by("sha1", &place, plain);
        let payload = payload_by("CKM_RSA_AES_KEY_WRAP", HOST, told, &ciphertext);
        let envelope = leaf.key.signed(&header(&[&leaf]), &payload);
        beside.open(root.pem().to_str().unwrap(), &envelope)
    };
    let objects = || beside.there().find(&template! {}).unwrap().len();
    let before = objects();
    for (kind, options) in [("RSA", RSA), ("EC", EC)] {
        let [one, other] = ["one", "other"].map(|name| private(home, name, options));
        let told = public(home, kind, &one);
        let ran = forged(&told, &other);
        assert!(
            !ran.good && ran.said.contains("another key"),
            "{}",
            ran.said
        );
        assert!(ran.said.contains("destroyed again"), "{}", ran.said);
        assert_eq!(objects(), before);
        if kind == "EC" {
            // It is the right one, but it may not sign, so that nobody can see it.
            let mut silent = told;
            silent["key_ops"] = json!(["deriveKey"]);
            let ran = forged(&silent, &one);
            let untold = "does not tell the public half";
            assert!(!ran.good && ran.said.contains(untold), "{}", ran.said);
            assert!(ran.said.contains("destroyed again"), "{}", ran.said);
            assert_eq!(objects(), before);
        } else {
            assert!(forged(&told, &one).good);
            assert_eq!(objects(), before + 1);
            let there = beside.there();
            let found = there.find(&template! { CKA_LABEL => "forged" }).unwrap();
            there.destroy(found[0]).unwrap();
        }
    }
}
