//! PEM and DER.
//!
//! What lives here: every form of key that OpenSSL writes.
//! What must never live here: a key that is not OpenSSL's.
//! Who calls it: the suite.

use std::fs;

use cryptoki_sys::*;
use strongroom_tests::{Mechanism, template};

use super::{Bench, survives_damage};

/// Name, how OpenSSL makes the key, and in which forms it writes it: (name of the file, arguments).
const KEYS: &[(&str, &str)] = &[
    (
        "rsa",
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    ),
    (
        "p256",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    ),
    (
        "p384",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    ),
    (
        "p521",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
    ),
    ("ed25519", "genpkey -algorithm ED25519"),
];

const FORMS: &[(&str, &str)] = &[
    ("plain", "pkey"),
    ("der", "pkey -outform DER"),
    ("traditional", "pkey -traditional"),
    (
        "pbkdf2",
        "pkcs8 -topk8 -v2 aes-256-cbc -passout file:password",
    ),
    (
        "sha512",
        "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA512 -passout file:password",
    ),
    ("scrypt", "pkcs8 -topk8 -scrypt -passout file:password"),
    ("des3", "pkcs8 -topk8 -v2 des3 -passout file:password"),
    (
        "old-3des",
        "pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout file:password",
    ),
    (
        "old-rc2",
        "pkcs8 -topk8 -v1 PBE-SHA1-RC2-40 -provider legacy -provider default -passout file:password",
    ),
];

#[test]
fn keys_of_every_form_sign_for_openssl() {
    let bench = Bench::new();
    for (key, how) in KEYS {
        bench.openssl(&format!("{how} -out {key}.pem"));
        bench.openssl(&format!("pkey -in {key}.pem -pubout -out {key}.pub"));
        for (form, how) in FORMS {
            // Ed25519 has no traditional form.
            if *form == "traditional" && *key == "ed25519" {
                continue;
            }
            let name = format!("{key}-{form}");
            bench.openssl(&format!("{how} -in {key}.pem -out {name}"));
            bench
                .import(&format!(
                    "pem {name} --password-file password --label {name}"
                ))
                .well();
            bench.signs(&name, &format!("{key}.pub"));
            let session = bench.work.user();
            let public = bench.object(&session, CKO_PUBLIC_KEY, &name);
            let private = bench.object(&session, CKO_PRIVATE_KEY, &name);
            assert_eq!(
                session.attribute(public, CKA_ID).unwrap(),
                session.attribute(private, CKA_ID).unwrap()
            );
        }
    }
}

#[test]
fn x25519_agrees_on_what_openssl_does() {
    let bench = Bench::new();
    for name in ["ours", "peer"] {
        bench.openssl(&format!("genpkey -algorithm X25519 -out {name}.pem"));
        bench.openssl(&format!("pkey -in {name}.pem -pubout -out {name}.pub"));
    }
    bench.openssl("pkey -in peer.pem -pubout -outform DER -out peer.der");
    let expected = bench.openssl("pkeyutl -derive -inkey ours.pem -peerkey peer.pub");
    bench.import("pem ours.pem").well();
    let session = bench.work.user();
    let key = bench.object(&session, CKO_PRIVATE_KEY, "ours");
    let peer = fs::read(bench.files.join("peer.der")).unwrap();
    let secret = session
        .derive(
            Mechanism::ecdh(CKD_NULL, &[], &peer[peer.len() - 32..]),
            key,
            &template! {
                CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_GENERIC_SECRET, CKA_TOKEN => false,
                CKA_SENSITIVE => false, CKA_EXTRACTABLE => true, CKA_VALUE_LEN => 32_u64,
            },
        )
        .unwrap();
    assert_eq!(session.attribute(secret, CKA_VALUE).unwrap(), expected);
}

#[test]
fn certificates_find_their_keys_and_public_keys_verify() {
    let bench = Bench::new();
    bench.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem");
    bench.openssl("pkey -in key.pem -pubout -out alone.pem");
    bench.openssl(
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj /CN=the-authority -out ca.pem",
    );
    bench.openssl("req -new -key key.pem -subj /CN=the-leaf -out leaf.csr");
    bench.openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem");
    let parts =
        ["leaf.pem", "ca.pem", "key.pem"].map(|name| fs::read(bench.files.join(name)).unwrap());
    fs::write(bench.files.join("all.pem"), parts.concat()).unwrap();

    let told = bench.import("pem all.pem --label web --id 0a0b").well();
    assert_eq!(told.lines("brought").len(), 4, "{}", told.report);
    let session = bench.work.user();
    let certificate = bench.object(&session, CKO_CERTIFICATE, "web");
    assert_eq!(session.attribute(certificate, CKA_ID).unwrap(), [10, 11]);
    assert!(!session.flag(certificate, CKA_TRUSTED).unwrap());
    bench.openssl("x509 -in leaf.pem -outform DER -out leaf.der");
    let der = fs::read(bench.files.join("leaf.der")).unwrap();
    assert_eq!(session.attribute(certificate, CKA_VALUE).unwrap(), der);
    for class in [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY] {
        let key = bench.object(&session, class, "web");
        assert_eq!(session.attribute(key, CKA_ID).unwrap(), [10, 11]);
    }
    bench.object(&session, CKO_CERTIFICATE, "the-authority");
    bench.signs("web", "alone.pem");

    bench
        .import("pem key.pem --no-public-key --label lonely")
        .well();
    assert_eq!(
        session
            .find(&template! { CKA_LABEL => "lonely" })
            .unwrap()
            .len(),
        1
    );
    let told = bench.import("pem alone.pem").well();
    assert_eq!(told.lines("brought")[0].0, "CKO_PUBLIC_KEY");
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_changed() {
    let bench = Bench::new();
    bench.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    bench.openssl("pkcs8 -topk8 -in key.pem -passout file:password -out locked.pem");
    bench.refuses(
        "pem locked.pem --password-file wrong",
        "the password is wrong",
    );
    // Nobody is there to be asked.
    assert_eq!(bench.import("pem locked.pem").code, 2);
    bench.refuses("pem missing.pem", "missing.pem");
    bench.refuses("pem pin", "neither a key nor a certificate");
    // One good file does not make up for a bad one.
    bench.refuses("pem key.pem pin", "nothing was changed");
    bench.openssl("pkey -in key.pem -outform DER -out key.der");
    survives_damage(&bench, "key.der", "pem damaged", 40, 0);
    survives_damage(&bench, "key.pem", "pem damaged", 20, 0);

    let before = bench.count();
    let told = bench.import("pem key.pem --dry-run").well();
    assert_eq!(told.report["parts"][0]["committed"], false);
    assert_eq!(bench.count(), before);
}

#[test]
fn what_is_not_read_here_is_named_with_the_command_that_converts_it() {
    let bench = Bench::new();
    bench.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    bench.openssl("ec -in key.pem -aes256 -passout file:password -out old.pem");
    bench.openssl("pkcs8 -topk8 -in key.pem -v1 PBE-MD5-DES -provider legacy -provider default -passout file:password -out md5.pem");
    bench.make("ssh-keygen", "-q -t ed25519 -N secret -f ssh");
    for (file, words) in [
        ("old.pem", "openssl pkcs8 -topk8"),
        ("md5.pem", "openssl pkcs8"),
        ("ssh", "ssh-keygen -p -m PKCS8"),
    ] {
        let told = bench.import(&format!("pem {file} --password-file password"));
        assert_eq!(told.code, 4, "{}", told.said);
        let refused = told.lines("refused");
        assert!(refused[0].2.contains(words), "{refused:?}");
        // With --strict that is a failure, and a good key beside it stays out as well.
        let before = bench.count();
        let told = bench.import(&format!(
            "pem {file} key.pem --password-file password --strict"
        ));
        assert_eq!((told.code, bench.count()), (1, before), "{}", told.said);
    }
}
