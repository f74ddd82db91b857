//! Other people's modules: SoftHSM, NSS, SoftHSM through p11-kit, and one that crashes.
//!
//! What lives here: tokens that those made, brought in by `pkcs11` and `nss`.
//! What must never live here: a module of ours.
//! Who calls it: the suite.

use std::fs;
use std::process::{Command, Stdio};

use cryptoki_sys::*;
use strongroom_tests::{Mechanism, Module, USER_PIN, Way, template, tool};

use super::Bench;
use crate::original::{MODULE, Original, snapshot, user};

/// A SoftHSM with a key of each kind: some to be read, some to be wrapped, and one that stays.
struct Theirs {
    module: Module,
    slot: CK_SLOT_ID,
    original: Original,
}

fn filled() -> Theirs {
    let original = Original::new();
    let module = original.module();
    let slot = module.make_token("theirs");
    let session = user(&module, slot);
    let token = |l: &str| template! { CKA_TOKEN => true, CKA_LABEL => l, CKA_ID => l };
    let wrappable =
        |l: &str| token(l).and(&template! { CKA_SENSITIVE => true, CKA_EXTRACTABLE => true });
    let pair = |kind, l: &str, public| {
        let private = wrappable(l).and(&template! { CKA_SIGN => true, CKA_PRIVATE => true });
        session
            .generate_pair(Mechanism::plain(kind), &token(l).and(&public), &private)
            .unwrap();
    };
    pair(
        CKM_RSA_PKCS_KEY_PAIR_GEN,
        "rsa",
        template! { CKA_MODULUS_BITS => 2048_u64, CKA_PUBLIC_EXPONENT => vec![1_u8, 0, 1] },
    );
    pair(
        CKM_EC_KEY_PAIR_GEN,
        "ec",
        template! { CKA_EC_PARAMS => vec![6_u8, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] },
    );
    let aes = |l: &str, sensitive: bool, extractable: bool| {
        let wanted = token(l).and(&template! {
            CKA_VALUE_LEN => 32_u64, CKA_SENSITIVE => sensitive, CKA_EXTRACTABLE => extractable, CKA_ENCRYPT => true, CKA_DECRYPT => true,
        });
        session
            .generate(Mechanism::plain(CKM_AES_KEY_GEN), &wanted)
            .unwrap();
    };
    aes("readable", false, true);
    aes("wrapped", true, true);
    aes("stays", true, false);
    session
        .create(
            &token("data")
                .and(&template! { CKA_CLASS => CKO_DATA, CKA_VALUE => b"some data".to_vec() }),
        )
        .unwrap();
    Theirs {
        module,
        slot,
        original,
    }
}

/// Every key does in our token what it does in SoftHSM's.
fn compare(bench: &Bench, theirs: &Theirs) {
    let theirs = user(&theirs.module, theirs.slot);
    let ours = bench.work.user();
    for label in ["readable", "wrapped"] {
        let find =
            |session: &strongroom_tests::Session<'_>| bench.object(session, CKO_SECRET_KEY, label);
        let cbc = Mechanism::bytes(CKM_AES_CBC_PAD, &[7; 16]);
        let secret = theirs
            .run(Way::Encrypt, cbc.clone(), find(&theirs), label.as_bytes())
            .unwrap();
        assert_eq!(
            ours.run(Way::Decrypt, cbc, find(&ours), &secret).unwrap(),
            label.as_bytes()
        );
    }
    for (label, mechanism) in [("rsa", CKM_SHA256_RSA_PKCS), ("ec", CKM_ECDSA)] {
        let digest = [0x5a; 32];
        let key = bench.object(&ours, CKO_PRIVATE_KEY, label);
        let made = ours
            .run(Way::Sign, Mechanism::plain(mechanism), key, &digest)
            .unwrap();
        let public = bench.object(&theirs, CKO_PUBLIC_KEY, label);
        theirs
            .verify(Mechanism::plain(mechanism), public, &digest, &made)
            .unwrap();
        assert_eq!(ours.attribute(key, CKA_ID).unwrap(), label.as_bytes());
    }
    let data = bench.object(&ours, CKO_DATA, "data");
    assert_eq!(ours.attribute(data, CKA_VALUE).unwrap(), b"some data");
    let stays = ours.find(&template! { CKA_LABEL => "stays" }).unwrap();
    assert!(stays.is_empty());
}

fn environment(theirs: &Theirs) -> [(&'static str, String); 1] {
    [(
        "SOFTHSM2_CONF",
        theirs.original.conf().display().to_string(),
    )]
}

#[test]
fn what_softhsm_shows_or_wraps_works_here_and_what_it_does_not_is_named() {
    let theirs = filled();
    let bench = Bench::new();
    let before = snapshot(&theirs.original.tokens());
    let command = format!("pkcs11 --module {MODULE} --from-token theirs --from-pin-file pin");
    let strict = bench.import_with(&format!("{command} --strict"), &environment(&theirs));
    assert_eq!((strict.code, bench.count()), (1, 0), "{}", strict.said);
    let told = bench.import_with(&command, &environment(&theirs));
    assert_eq!(told.code, 4, "{}{}", told.report, told.said);
    let refused = told.lines("refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].1, "stays");
    assert!(
        refused[0].2.contains("CKA_EXTRACTABLE is false"),
        "{refused:?}"
    );
    assert_eq!(
        snapshot(&theirs.original.tokens()),
        before,
        "the source was written"
    );
    compare(&bench, &theirs);
}

#[test]
fn the_same_through_p11_kit() {
    let theirs = filled();
    let bench = Bench::new();
    let socket = bench.files.join("p11");
    let mut server = Command::new("p11-kit")
        .args(["server", "--foreground", "--provider", MODULE, "-n"])
        .arg(&socket)
        .arg("pkcs11:")
        .env("SOFTHSM2_CONF", theirs.original.conf())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = std::time::Instant::now();
    while !socket.exists() && begin.elapsed().as_secs() < 30 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let client = [
        "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
        "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
    ]
    .into_iter()
    .find(|path| fs::exists(path).unwrap())
    .unwrap();
    let told = bench.import_with(
        &format!("pkcs11 --module {client} --from-token theirs --from-pin-file pin"),
        &[(
            "P11_KIT_SERVER_ADDRESS",
            format!("unix:path={}", socket.display()),
        )],
    );
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!(told.code, 4, "{}{}", told.report, told.said);
    compare(&bench, &theirs);
}

#[test]
fn a_module_that_crashes_or_is_none_is_an_answer() {
    let bench = Bench::new();
    fs::write(bench.files.join("crash.c"), "#include <signal.h>\nunsigned long C_GetFunctionList(void **list) { raise(SIGSEGV); return 5; }\n").unwrap();
    bench.make("gcc", "-shared -fPIC -o crash.so crash.c");
    bench.refuses("pkcs11 --module ./crash.so", "it crashed (signal 11)");
    fs::write(
        bench.files.join("exit.c"),
        "#include <stdlib.h>\nunsigned long C_GetFunctionList(void **list) { exit(7); }\n",
    )
    .unwrap();
    bench.make("gcc", "-shared -fPIC -o exit.so exit.c");
    bench.refuses("pkcs11 --module ./exit.so", "exit code 7");
    bench.refuses("pkcs11 --module ./none.so", "cannot load it");
    bench.refuses("pkcs11 --module libc.so.6", "no PKCS#11 module");
    let theirs = filled();
    let wrong = bench.import_with(
        &format!("pkcs11 --module {MODULE} --from-token theirs --from-pin-file wrong"),
        &environment(&theirs),
    );
    assert_eq!(wrong.code, 1);
    assert!(wrong.said.contains("CKR_PIN_INCORRECT"), "{}", wrong.said);
    assert!(!wrong.said.contains(USER_PIN));
}

#[test]
fn keys_of_an_nss_database_sign_again_and_the_database_is_as_it_was() {
    let bench = Bench::new();
    for (database, password) in [("with", "-f password"), ("without", "--empty-password")] {
        fs::create_dir(bench.files.join(database)).unwrap();
        bench.make("certutil", &format!("-N -d sql:{database} {password}"));
        for (name, kind) in [
            ("rsa", "-newkey rsa:2048"),
            ("ec", "-newkey ec -pkeyopt ec_paramgen_curve:P-384"),
        ] {
            let name = format!("{database}-{name}");
            bench.openssl(&format!(
                "req -x509 {kind} -nodes -keyout key.pem -subj /CN={name} -out cert.pem"
            ));
            bench.openssl(&format!("pkey -in key.pem -pubout -out {name}.pub"));
            bench.openssl(&format!("pkcs12 -export -inkey key.pem -in cert.pem -name {name} -passout file:password -out key.p12"));
            let directory = format!("sql:{database}");
            let pin = if database == "with" {
                ["-k", "password"]
            } else {
                ["-K", ""]
            };
            let mut command = Command::new("pk12util");
            command
                .args(["-i", "key.p12", "-d", &directory, "-w", "password"])
                .args(pin);
            tool::succeed(command.current_dir(&bench.files));
        }
        let before = snapshot(&bench.files.join(database));
        let told = bench
            .import(&format!(
                "nss --database {database} --password-file password"
            ))
            .well();
        assert_eq!(snapshot(&bench.files.join(database)), before);
        assert!(told.lines("refused").is_empty());
        let session = bench.work.user();
        for name in ["rsa", "ec"].map(|name| format!("{database}-{name}")) {
            let certificate = bench.object(&session, CKO_CERTIFICATE, &name);
            let id = session.attribute(certificate, CKA_ID).unwrap();
            let key = session
                .find(&template! { CKA_CLASS => CKO_PRIVATE_KEY, CKA_ID => id })
                .unwrap();
            assert_eq!(key.len(), 1, "{name}");
            session
                .set(key[0], &template! { CKA_LABEL => name.as_str() })
                .unwrap();
            bench.proves(&session, key[0], &name, &format!("{name}.pub"));
        }
    }
    bench.refuses(
        "nss --database with --password-file wrong",
        "CKR_PIN_INCORRECT",
    );
    bench.refuses("nss --database .", "there is no cert9.db");
}
