//! Other people's programs with our module: pkcs11-tool, p11tool, OpenSSL's engine, OpenSSH, Java.
//!
//! A program that is not installed is a failure: `tests/APT_PACKAGES` lists the packages.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use cryptoki_sys::*;
use strongroom_tests::hsm::module_path;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::product::bin_dir;
use strongroom_tests::tool::{require, run, succeed, succeed_with};
use strongroom_tests::{Hsm, SO_PIN, Template, USER_PIN, Workplace, not_on_softhsm, template};

/// A token that tools find: an RSA and an EC pair, each labelled and with an ID, and an AES key.
fn furnished() -> Workplace {
    let place = Workplace::open();
    let session = place.user();
    let named = |label: &str, id: u8| -> Template {
        template! { CKA_LABEL => label, CKA_ID => &[id], CKA_TOKEN => true }
    };
    let public = |label: &str, id: u8| {
        named(label, id)
            .with(CKA_PRIVATE, false)
            .with(CKA_VERIFY, true)
    };
    let private = |label: &str, id: u8| {
        named(label, id)
            .with(CKA_PRIVATE, true)
            .with(CKA_SENSITIVE, true)
            .with(CKA_SIGN, true)
    };
    session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &public("rsa", 1)
                .with(CKA_MODULUS_BITS, 2048)
                .with(CKA_PUBLIC_EXPONENT, &[1, 0, 1])
                .with(CKA_ENCRYPT, true)
                .with(CKA_WRAP, true),
            &private("rsa", 1)
                .with(CKA_DECRYPT, true)
                .with(CKA_UNWRAP, true),
        )
        .unwrap();
    session
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &public("ec", 2).with(CKA_EC_PARAMS, Curve::P256.parameters()),
            &private("ec", 2).with(CKA_DERIVE, true),
        )
        .unwrap();
    session
        .generate(
            CKM_AES_KEY_GEN,
            &named("aes", 3)
                .with(CKA_VALUE_LEN, 32)
                .with(CKA_PRIVATE, true)
                .with(CKA_ENCRYPT, true)
                .with(CKA_DECRYPT, true),
        )
        .unwrap();
    session.close().unwrap();
    place
}

/// `pkcs11-tool`, logged in as the user of our token.
fn pkcs11_tool(hsm: &Hsm) -> Command {
    require("pkcs11-tool");
    let mut command = hsm.command("pkcs11-tool");
    command.arg("--module").arg(module_path());
    command.args(["--token-label", "suite", "--login", "--pin", USER_PIN]);
    command
}

fn write(hsm: &Hsm, name: &str, bytes: &[u8]) -> String {
    let path = hsm.home.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn read(hsm: &Hsm, name: &str) -> Vec<u8> {
    fs::read(hsm.home.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn pkcs11_tool_tests_the_module() {
    let place = furnished();
    if not_on_softhsm("OAEP with SHA-256 is refused") {
        return;
    }
    let ran = succeed(pkcs11_tool(&place.hsm).arg("--test"));
    assert!(ran.said.contains("No errors"), "{}", ran.said);
    for wrong in ["ERR:", "failed", "mismatch"] {
        assert!(!ran.said.contains(wrong), "{wrong}: {}", ran.said);
    }
}

#[test]
fn pkcs11_tool_tests_curves() {
    let place = furnished();
    if not_on_softhsm("ECDSA with hashes is missing") {
        return;
    }
    let ran = succeed(pkcs11_tool(&place.hsm).args([
        "--test-ec",
        "--key-type",
        "EC:prime256v1",
        "--session-rw",
        "--label",
        "t",
        "--id",
        "77",
    ]));
    assert!(!ran.said.to_lowercase().contains("error"), "{}", ran.said);
}

#[test]
fn pkcs11_tool_shows_what_there_is() {
    let place = furnished();
    let mut command = place.hsm.command("pkcs11-tool");
    let shown = succeed(
        command
            .arg("--module")
            .arg(module_path())
            .args(["--show-info", "--list-slots"]),
    );
    assert!(shown.said.contains("suite"), "{}", shown.said);
    let listed = succeed(pkcs11_tool(&place.hsm).arg("--list-objects"));
    for label in ["rsa", "ec", "aes"] {
        assert!(listed.said.contains(label), "{label}: {}", listed.said);
    }
    assert!(!listed.said.contains("error"), "{}", listed.said);
    let mechanisms = succeed(pkcs11_tool(&place.hsm).arg("--list-mechanisms"));
    for name in ["RSA-PKCS-OAEP", "ECDSA", "AES-GCM", "SHA256-HMAC"] {
        assert!(
            mechanisms.said.contains(name),
            "{name}: {}",
            mechanisms.said
        );
    }
    let random = succeed(pkcs11_tool(&place.hsm).args(["--generate-random", "32"]));
    assert_eq!(random.out.len(), 32);
    if !not_on_softhsm("no interfaces") {
        let mut command = place.hsm.command("pkcs11-tool");
        let listed = succeed(
            command
                .arg("--module")
                .arg(module_path())
                .arg("--list-interfaces"),
        );
        assert!(
            listed.said.contains("3.0") || listed.said.contains("version: 3"),
            "{}",
            listed.said
        );
    }
}

#[test]
fn pkcs11_tool_signs_and_openssl_verifies() {
    let place = furnished();
    require("openssl");
    let hsm = &place.hsm;
    let data = write(hsm, "data", b"some data to be signed");
    for (id, mechanism, options) in [
        ("01", "SHA256-RSA-PKCS", vec![]),
        (
            "01",
            "SHA384-RSA-PKCS-PSS",
            vec![
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:48",
            ],
        ),
        ("02", "ECDSA-SHA256", vec![]),
    ] {
        if mechanism == "ECDSA-SHA256" && not_on_softhsm("bare ECDSA only") {
            continue;
        }
        succeed(
            pkcs11_tool(hsm)
                .args(["--sign", "--id", id, "--mechanism", mechanism])
                .args([
                    "--input-file",
                    &data,
                    "--output-file",
                    "signature",
                    "--signature-format",
                    "openssl",
                ]),
        );
        succeed(pkcs11_tool(hsm).args([
            "--read-object",
            "--type",
            "pubkey",
            "--id",
            id,
            "--output-file",
            "public.der",
        ]));
        let digest = if mechanism.contains("384") {
            "-sha384"
        } else {
            "-sha256"
        };
        let mut command = hsm.command("openssl");
        command
            .args(["dgst", digest, "-keyform", "DER", "-verify", "public.der"])
            .args(&options);
        let ran = succeed(command.args(["-signature", "signature", &data]));
        assert!(
            ran.said.contains("Verified OK"),
            "{mechanism}: {}",
            ran.said
        );
    }
}

#[test]
fn pkcs11_tool_makes_keys_and_objects() {
    let place = furnished();
    let hsm = &place.hsm;
    for kind in ["rsa:2048", "EC:secp384r1"] {
        succeed(pkcs11_tool(hsm).args([
            "--keypairgen",
            "--key-type",
            kind,
            "--label",
            "made",
            "--id",
            "10",
        ]));
    }
    succeed(pkcs11_tool(hsm).args([
        "--keygen",
        "--key-type",
        "AES:32",
        "--label",
        "made-aes",
        "--id",
        "11",
    ]));
    let value = write(hsm, "object", b"the value of a data object");
    succeed(pkcs11_tool(hsm).args([
        "--write-object",
        &value,
        "--type",
        "data",
        "--label",
        "note",
        "--private",
    ]));
    succeed(pkcs11_tool(hsm).args([
        "--read-object",
        "--type",
        "data",
        "--label",
        "note",
        "--output-file",
        "back",
    ]));
    assert_eq!(read(hsm, "back"), b"the value of a data object");
    succeed(pkcs11_tool(hsm).args(["--delete-object", "--type", "data", "--label", "note"]));
    // A private key and a certificate made by OpenSSL.
    require("openssl");
    let mut command = hsm.command("openssl");
    succeed(command.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "certificate.pem",
        "-subj",
        "/CN=suite",
        "-days",
        "30",
    ]));
    let mut command = hsm.command("openssl");
    succeed(command.args([
        "x509",
        "-in",
        "certificate.pem",
        "-outform",
        "DER",
        "-out",
        "certificate.der",
    ]));
    let mut command = hsm.command("openssl");
    succeed(command.args([
        "pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", "key.der",
    ]));
    for (kind, file) in [("cert", "certificate.der"), ("privkey", "key.der")] {
        let mut command = pkcs11_tool(hsm);
        command.args([
            "--write-object",
            file,
            "--type",
            kind,
            "--label",
            "brought",
            "--id",
            "20",
        ]);
        if kind == "privkey" {
            command.arg("--usage-sign");
        }
        succeed(&mut command);
    }
    let listed = succeed(pkcs11_tool(hsm).arg("--list-objects"));
    for label in ["made", "made-aes", "brought"] {
        assert!(listed.said.contains(label), "{label}: {}", listed.said);
    }
    assert!(!listed.said.contains("note"), "{}", listed.said);
}

#[test]
fn pkcs11_tool_encrypts_and_decrypts() {
    let place = furnished();
    let hsm = &place.hsm;
    let data = write(hsm, "data", b"sixteen bytes, a");
    let aes = [
        "--id",
        "03",
        "--mechanism",
        "AES-CBC-PAD",
        "--iv",
        "000102030405060708090a0b0c0d0e0f",
    ];
    succeed(
        pkcs11_tool(hsm)
            .args([
                "--encrypt",
                "--input-file",
                &data,
                "--output-file",
                "sealed",
            ])
            .args(aes),
    );
    assert_eq!(read(hsm, "sealed").len(), 32);
    succeed(
        pkcs11_tool(hsm)
            .args([
                "--decrypt",
                "--input-file",
                "sealed",
                "--output-file",
                "opened",
            ])
            .args(aes),
    );
    assert_eq!(read(hsm, "opened"), b"sixteen bytes, a");
    succeed(pkcs11_tool(hsm).args([
        "--read-object",
        "--type",
        "pubkey",
        "--id",
        "01",
        "--output-file",
        "public.der",
    ]));
    let mut command = hsm.command("openssl");
    succeed(command.args([
        "pkeyutl",
        "-encrypt",
        "-pubin",
        "-inkey",
        "public.der",
        "-keyform",
        "DER",
        "-in",
        &data,
        "-out",
        "sealed",
        "-pkeyopt",
        "rsa_padding_mode:oaep",
    ]));
    succeed(
        pkcs11_tool(hsm)
            .args([
                "--decrypt",
                "--id",
                "01",
                "--mechanism",
                "RSA-PKCS-OAEP",
                "--hash-algorithm",
                "SHA-1",
            ])
            .args([
                "--mgf",
                "MGF1-SHA1",
                "--input-file",
                "sealed",
                "--output-file",
                "opened",
            ]),
    );
    assert_eq!(read(hsm, "opened"), b"sixteen bytes, a");
}

#[test]
fn pkcs11_tool_initialises_a_token_and_changes_pins() {
    let hsm = Hsm::start();
    require("pkcs11-tool");
    let tool = || {
        let mut command = hsm.command("pkcs11-tool");
        command.arg("--module").arg(module_path());
        command
    };
    succeed(tool().args([
        "--init-token",
        "--slot-index",
        "0",
        "--label",
        "by tool",
        "--so-pin",
        SO_PIN,
    ]));
    let on = ["--token-label", "by tool"];
    succeed(tool().args(on).args([
        "--init-pin",
        "--login",
        "--login-type",
        "so",
        "--so-pin",
        SO_PIN,
        "--pin",
        USER_PIN,
    ]));
    succeed(tool().args(on).args([
        "--change-pin",
        "--login",
        "--pin",
        USER_PIN,
        "--new-pin",
        "changed-pin-77",
    ]));
    let refused = run(
        tool()
            .args(on)
            .args(["--login", "--pin", USER_PIN, "--list-objects"]),
        b"",
    );
    assert!(
        !refused.good && refused.said.contains("CKR_PIN_INCORRECT"),
        "{}",
        refused.said
    );
    succeed(
        tool()
            .args(on)
            .args(["--login", "--pin", "changed-pin-77", "--list-objects"]),
    );
}

#[test]
fn pkcs11_tool_forks_and_uses_threads() {
    let place = furnished();
    if not_on_softhsm(
        "a forked child must call C_Finalize first, and C_Initialize of several threads crashes",
    ) {
        return;
    }
    succeed(pkcs11_tool(&place.hsm).arg("--test-fork"));
    let mut command = place.hsm.command("pkcs11-tool");
    command
        .arg("--module")
        .arg(module_path())
        .args(["--use-locking", "--list-slots"]);
    for _ in 0..8 {
        command.args(["--test-threads", "ILGI"]);
    }
    succeed(&mut command);
}

#[test]
fn p11tool_lists_exports_generates_and_signs() {
    let place = furnished();
    require("p11tool");
    let hsm = &place.hsm;
    let p11tool = || {
        let mut command = hsm.command("p11tool");
        command
            .arg("--provider")
            .arg(module_path())
            .env("GNUTLS_PIN", USER_PIN)
            .env("GNUTLS_SO_PIN", SO_PIN);
        command
    };
    let tokens = succeed(p11tool().arg("--list-tokens"));
    assert!(tokens.said.contains("token=suite"), "{}", tokens.said);
    let url = "pkcs11:token=suite";
    let listed = succeed(p11tool().args(["--login", "--list-all", url]));
    for label in ["object=rsa", "object=ec", "object=aes"] {
        assert!(listed.said.contains(label), "{label}: {}", listed.said);
    }
    succeed(p11tool().args(["--login", "--list-privkeys", url]));
    let exported = succeed(p11tool().args([
        "--export-pubkey",
        "pkcs11:token=suite;object=rsa;type=public",
    ]));
    assert!(
        exported.said.contains("BEGIN PUBLIC KEY"),
        "{}",
        exported.said
    );
    for (kind, label) in [("rsa", "grsa"), ("ecdsa", "gec")] {
        let mut command = p11tool();
        command.args(["--login", "--label", label, "--outfile", "generated.pem"]);
        if kind == "rsa" {
            command.args(["--generate-privkey", "rsa", "--bits", "2048"]);
        } else {
            command.args(["--generate-privkey", "ecdsa", "--curve", "secp256r1"]);
        }
        succeed(command.arg(url));
        let object = format!("pkcs11:token=suite;object={label};type=private");
        let signed = succeed(p11tool().args(["--login", "--test-sign", &object]));
        assert!(signed.said.contains("ok"), "{}", signed.said);
    }
    for label in ["rsa", "ec"] {
        let object = format!("pkcs11:token=suite;object={label};type=private");
        succeed(p11tool().args(["--login", "--test-sign", &object]));
    }
    succeed(p11tool().args([
        "--batch",
        "--login",
        "--delete",
        "pkcs11:token=suite;object=grsa;type=private",
    ]));
    succeed(p11tool().args(["--list-mechanisms", url]));
}

#[test]
fn the_engine_of_openssl_signs_and_decrypts() {
    let place = furnished();
    require("openssl");
    let hsm = &place.hsm;
    assert!(
        fs::exists("/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so").unwrap_or(false)
            || fs::exists("/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so").unwrap_or(false),
        "libengine-pkcs11-openssl is not installed; tests/APT_PACKAGES lists what the suite needs"
    );
    let openssl = || {
        let mut command = hsm.command("openssl");
        command.env("PKCS11_MODULE_PATH", module_path());
        command
    };
    let key = |label: &str, kind: &str| {
        format!("pkcs11:token=suite;object={label};type={kind};pin-value={USER_PIN}")
    };
    let data = write(hsm, "data", b"data for the engine");
    for (label, more) in [
        ("rsa", vec![]),
        (
            "rsa",
            vec![
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:-1",
            ],
        ),
        ("ec", vec![]),
    ] {
        succeed(
            openssl()
                .args([
                    "dgst",
                    "-sha256",
                    "-engine",
                    "pkcs11",
                    "-keyform",
                    "engine",
                    "-sign",
                    &key(label, "private"),
                ])
                .args(&more)
                .args(["-out", "signature", &data]),
        );
        succeed(openssl().args([
            "pkey",
            "-engine",
            "pkcs11",
            "-inform",
            "engine",
            "-pubin",
            "-pubout",
            "-in",
            &key(label, "public"),
            "-out",
            "public.pem",
        ]));
        let verified = succeed(
            openssl()
                .args(["dgst", "-sha256", "-verify", "public.pem"])
                .args(&more)
                .args(["-signature", "signature", &data]),
        );
        assert!(verified.said.contains("Verified OK"), "{}", verified.said);
    }
    let certificate = succeed(
        openssl()
            .args([
                "req",
                "-new",
                "-x509",
                "-engine",
                "pkcs11",
                "-keyform",
                "engine",
                "-subj",
                "/CN=engine",
                "-key",
            ])
            .arg(key("ec", "private")),
    );
    assert!(
        certificate.said.contains("BEGIN CERTIFICATE"),
        "{}",
        certificate.said
    );
    succeed(openssl().args([
        "pkey",
        "-engine",
        "pkcs11",
        "-inform",
        "engine",
        "-pubin",
        "-pubout",
        "-in",
        &key("rsa", "public"),
        "-out",
        "public.pem",
    ]));
    succeed(openssl().args([
        "pkeyutl",
        "-encrypt",
        "-pubin",
        "-inkey",
        "public.pem",
        "-in",
        &data,
        "-out",
        "sealed",
    ]));
    let opened = succeed(
        openssl()
            .args([
                "pkeyutl", "-decrypt", "-engine", "pkcs11", "-keyform", "engine", "-in", "sealed",
                "-inkey",
            ])
            .arg(key("rsa", "private")),
    );
    assert_eq!(opened.out, b"data for the engine");
}

#[test]
fn openssh_shows_and_uses_the_keys() {
    let place = furnished();
    for program in ["ssh-keygen", "ssh-agent", "ssh-add"] {
        require(program);
    }
    let hsm = &place.hsm;
    let mut command = hsm.command("ssh-keygen");
    let shown = succeed(command.arg("-D").arg(module_path()));
    for kind in ["ssh-rsa ", "ecdsa-sha2-nistp256 "] {
        assert!(shown.said.contains(kind), "{kind}: {}", shown.said);
    }
    let keys: Vec<&str> = std::str::from_utf8(&shown.out).unwrap().lines().collect();
    for (number, key) in keys.iter().enumerate() {
        write(hsm, &format!("key{number}.pub"), key.as_bytes());
    }
    let ask = write(
        hsm,
        "ask",
        format!("#!/bin/sh\necho {USER_PIN}\n").as_bytes(),
    );
    fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
    let module = module_path();
    let module = fs::canonicalize(module).unwrap();
    let script = format!(
        "ssh-add -s {} && ssh-add -l && for key in key*.pub; do ssh-add -T $key || exit 7; done",
        module.display()
    );
    let mut command = hsm.command("ssh-agent");
    command
        .env("SSH_ASKPASS", &ask)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("DISPLAY", ":0");
    succeed(command.args(["-P", "/*", "sh", "-c", &script]));
    let _ = keys;
}

#[test]
fn java_makes_lists_signs_and_deletes() {
    let place = furnished();
    for program in ["keytool", "jarsigner", "jar"] {
        require(program);
    }
    let hsm = &place.hsm;
    // By index, because slot numbers of SoftHSM are larger than what Java reads.
    let index = place
        .module
        .slots()
        .unwrap()
        .iter()
        .position(|slot| *slot == place.slot)
        .unwrap();
    let text = format!(
        "name = suite\nlibrary = {}\nslotListIndex = {index}\n",
        module_path().display()
    );
    let configuration = write(hsm, "java.cfg", text.as_bytes());
    let store = [
        "-keystore",
        "NONE",
        "-storetype",
        "PKCS11",
        "-storepass",
        USER_PIN,
    ];
    let provider = [
        "-providerClass",
        "sun.security.pkcs11.SunPKCS11",
        "-providerArg",
        &configuration,
    ];
    let keytool = || {
        let mut command = hsm.command("keytool");
        command.args(store).args(provider);
        command
    };
    for (alias, kind) in [
        ("javarsa", vec!["-keyalg", "RSA", "-keysize", "2048"]),
        ("javaec", vec!["-keyalg", "EC", "-groupname", "secp256r1"]),
    ] {
        succeed(
            keytool()
                .args(["-genkeypair", "-alias", alias, "-dname", "CN=suite"])
                .args(kind),
        );
    }
    succeed(keytool().args([
        "-genseckey",
        "-alias",
        "javaaes",
        "-keyalg",
        "AES",
        "-keysize",
        "256",
    ]));
    let listed = succeed(keytool().arg("-list"));
    for alias in ["javarsa", "javaec", "javaaes"] {
        assert!(listed.said.contains(alias), "{alias}: {}", listed.said);
    }
    write(hsm, "content.txt", b"content of a jar");
    for alias in ["javarsa", "javaec"] {
        let mut command = hsm.command("jar");
        succeed(command.args(["cf", "suite.jar", "content.txt"]));
        let mut command = hsm.command("jarsigner");
        command
            .args(store)
            .args(provider)
            .args(["suite.jar", alias]);
        succeed(&mut command);
        let mut command = hsm.command("jarsigner");
        let verified = succeed(command.args(["-verify", "suite.jar"]));
        assert!(verified.said.contains("jar verified"), "{}", verified.said);
    }
    succeed(keytool().args(["-delete", "-alias", "javarsa"]));
    let listed = succeed(keytool().arg("-list"));
    assert!(!listed.said.contains("javarsa"), "{}", listed.said);
    let _ = succeed_with;
}

#[test]
fn the_command_line_measures_the_module() {
    if not_on_softhsm("strongroom bench asks our daemon") {
        return;
    }
    let place = Workplace::open();
    let measure = |pin: &str| {
        let mut command = place.hsm.command(bin_dir().join("strongroom"));
        command
            .arg("--home")
            .arg(&place.hsm.home)
            .args(["bench", "--json", "--token", "suite", "--pin-file", "-"])
            .args(["--seconds", "0.01", "--threads", "2", "--own-module"])
            .arg(module_path());
        run(&mut command, format!("{pin}\n").as_bytes())
    };
    let ran = measure(USER_PIN);
    assert!(ran.good, "{}", ran.said);
    assert!(ran.said.contains("ECDSA P-256 sign"), "{}", ran.said);
    assert!(!ran.said.contains("\"why\""), "{}", ran.said);
    assert!(!measure("wrong-pin").good);
    let session = place.user();
    let left = session.find(&Template::default()).unwrap();
    assert!(left.is_empty(), "session keys stay: {left:?}");
}
