//! PKCS #12 of OpenSSL, old OpenSSL, Java and NSS.
//!
//! What lives here: files that those programs write, and what becomes of damaged ones.
//! What must never live here: a file that we wrote.
//! Who calls it: the suite.

use std::fs;

use cryptoki_sys::*;
use strongroom_tests::template;

use super::{Bench, survives_damage};

fn prepared() -> Bench {
    let bench = Bench::new();
    bench.openssl(
        "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=somebody -out cert.pem",
    );
    bench.openssl("pkey -in key.pem -pubout -out key.pub");
    bench
}

#[test]
fn files_of_openssl_in_all_its_ways_sign_again() {
    let bench = prepared();
    let ways = [
        ("new", ""),
        ("old", "-legacy"),
        ("des", "-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES"),
        (
            "rc2-128",
            "-legacy -keypbe PBE-SHA1-RC2-128 -certpbe PBE-SHA1-RC2-128",
        ),
        (
            "two-keys",
            "-legacy -keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-2DES",
        ),
        ("sha512-mac", "-macalg sha512 -keypbe aes-128-cbc"),
        ("no-mac", "-nomac"),
        ("clear", "-keypbe NONE -certpbe NONE"),
    ];
    for (name, way) in ways {
        bench.openssl(&format!(
            "pkcs12 -export {way} -inkey key.pem -in cert.pem -name {name} -passout file:password -out {name}.p12"
        ));
        let told = bench
            .import(&format!("pkcs12 {name}.p12 --password-file password"))
            .well();
        assert_eq!(told.lines("brought").len(), 3, "{name}: {}", told.report);
        bench.signs(name, "key.pub");
        let session = bench.work.user();
        let certificate = bench.object(&session, CKO_CERTIFICATE, name);
        let key = bench.object(&session, CKO_PRIVATE_KEY, name);
        // The localKeyID of OpenSSL is the SHA-1 of the certificate.
        let id = session.attribute(key, CKA_ID).unwrap();
        assert_eq!(
            (session.attribute(certificate, CKA_ID).unwrap(), id.len()),
            (id, 20)
        );
    }
    bench.openssl(
        "pkcs12 -export -inkey key.pem -in cert.pem -name empty -passout pass: -out empty.p12",
    );
    bench.import("pkcs12 empty.p12 --no-password").well();
    bench.signs("empty", "key.pub");
}

#[test]
fn keystores_of_java_come_with_their_secret_keys() {
    let bench = Bench::new();
    fs::write(bench.files.join("password"), "sécret-1\n").unwrap();
    let store = "-storetype PKCS12 -keystore java.p12 -storepass:file password";
    bench.make("keytool", &format!("-J-Dfile.encoding=UTF-8 -genkeypair -keyalg EC -groupname secp256r1 -alias pair -dname CN=java {store}"));
    bench.make(
        "keytool",
        &format!("-J-Dfile.encoding=UTF-8 -genseckey -keyalg AES -keysize 256 -alias aes {store}"),
    );
    bench.make(
        "keytool",
        &format!("-J-Dfile.encoding=UTF-8 -exportcert -rfc -alias pair -file cert.pem {store}"),
    );
    fs::write(
        bench.files.join("key.pub"),
        bench.openssl("x509 -in cert.pem -noout -pubkey"),
    )
    .unwrap();
    bench
        .import("pkcs12 java.p12 --password-file password")
        .well();
    bench.signs("pair", "key.pub");
    let session = bench.work.user();
    let aes = bench.object(&session, CKO_SECRET_KEY, "aes");
    assert_eq!(session.number(aes, CKA_KEY_TYPE).unwrap(), CKK_AES);
    assert_eq!(session.number(aes, CKA_VALUE_LEN).unwrap(), 32);
}

#[test]
fn bundles_of_nss_with_lengths_that_it_does_not_tell() {
    let bench = prepared();
    bench.openssl("pkcs12 -export -inkey key.pem -in cert.pem -name nickname -passout file:password -out key.p12");
    fs::create_dir(bench.files.join("db")).unwrap();
    bench.make("certutil", "-N -d sql:db -f wrong");
    bench.make("pk12util", "-i key.p12 -d sql:db -k wrong -w password");
    bench.make(
        "pk12util",
        "-o nss.p12 -d sql:db -k wrong -n nickname -w password",
    );
    bench
        .import("pkcs12 nss.p12 --password-file password")
        .well();
    bench.signs("nickname", "key.pub");
}

#[test]
fn a_wrong_password_or_a_damaged_file_changes_nothing() {
    let bench = prepared();
    bench.openssl(
        "pkcs12 -export -inkey key.pem -in cert.pem -name mine -passout file:password -out key.p12",
    );
    bench.refuses(
        "pkcs12 key.p12 --password-file wrong",
        "the password is wrong",
    );
    bench.refuses("pkcs12 key.p12 --no-password", "the password is wrong");
    bench.refuses(
        "pkcs12 key.pem --password-file password",
        "no PKCS #12 file",
    );
    survives_damage(
        &bench,
        "key.p12",
        "pkcs12 damaged --password-file password",
        20,
        60,
    );
    assert!(bench.work.user().find(&template! {}).unwrap().is_empty());
}
