//! What applications do: the calls of real ones, in their order (seen with a spy between them and a module).

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::{Session, USER_PIN, Way, Workplace, template};

use super::names::told;
use super::scenario;

#[test]
fn keytool_makes_an_ec_key() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        // The private template is empty; then the key must sign, and be copied to the token.
        let public = template! { CKA_EC_PARAMS => Curve::P256.parameters() };
        let pair = s.generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &template! {});
        t.step("a pair without a word", || pair);
        let (_, private) = pair.unwrap_or_default();
        t.step("it signs", || {
            s.run(Way::Sign, CKM_ECDSA, private, &[1; 32])
        });
        let kept = t.handle("it is copied to the token", || {
            s.copy(private, &template! { CKA_TOKEN => true, CKA_ID => b"java" })
        });
        t.step("the copy signs", || {
            s.run(Way::Sign, CKM_ECDSA, kept, &[1; 32])
        });
        t.step("the copy is on the token", || told(&s, kept, CKA_TOKEN));
        t.step("and is found", || {
            s.find(&template! { CKA_TOKEN => true, CKA_CLASS => CKO_PRIVATE_KEY })
        });
        let certificate = template! {
            CKA_TOKEN => true, CKA_CLASS => CKO_CERTIFICATE, CKA_CERTIFICATE_TYPE => CKC_X_509, CKA_SUBJECT => b"\x30\x00",
            CKA_ISSUER => b"\x30\x00", CKA_SERIAL_NUMBER => b"\x02\x01\x01", CKA_VALUE => b"\x30\x00", CKA_LABEL => "java", CKA_ID => b"java"
        };
        t.handle("a certificate beside it", || s.create(&certificate));
    });
}

#[test]
fn keytool_stores_an_rsa_key() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let key = RsaPrivate::fixed(2048)
            .template()
            .with(CKA_TOKEN, true)
            .with(CKA_PRIVATE, true)
            .with(CKA_ID, b"java");
        let key = key
            .without(CKA_SENSITIVE)
            .without(CKA_EXTRACTABLE)
            .without(CKA_SIGN)
            .without(CKA_DECRYPT);
        let key = t.handle("a private key in clear", || s.create(&key));
        t.step("it signs", || {
            s.run_in_pieces(Way::Sign, CKM_SHA256_RSA_PKCS, key, b"a jar", 2)
        });
        let aes = template! {
            CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_VALUE => &[1; 16], CKA_TOKEN => true, CKA_PRIVATE => true,
            CKA_LABEL => "secret"
        };
        let aes = t.handle("a secret key in clear", || s.create(&aes));
        t.step("it encrypts", || {
            s.run(Way::Encrypt, CKM_AES_ECB, aes, &[1; 16])
        });
    });
}

#[test]
fn gnutls_makes_and_reads_a_key() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let private = template! {
            CKA_ID => b"gnutls", CKA_SIGN => true, CKA_PRIVATE => true, CKA_TOKEN => true, CKA_SENSITIVE => true, CKA_LABEL => "gnutls"
        };
        let public = template! {
            CKA_TOKEN => true, CKA_PRIVATE => false, CKA_ID => b"gnutls", CKA_VERIFY => true,
            CKA_EC_PARAMS => Curve::P256.parameters(), CKA_LABEL => "gnutls"
        };
        let pair = s.generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &private);
        t.step("a pair", || pair);
        let (public, private) = pair.unwrap_or_default();
        // A third of what it asks of an object is not there.
        for (name, kind) in [
            ("CKA_TRUSTED", CKA_TRUSTED),
            ("CKA_CERTIFICATE_CATEGORY", CKA_CERTIFICATE_CATEGORY),
            ("CKA_WRAP", CKA_WRAP),
            ("CKA_UNWRAP", CKA_UNWRAP),
            ("CKA_ALWAYS_AUTHENTICATE", CKA_ALWAYS_AUTHENTICATE),
            ("CKA_EC_POINT", CKA_EC_POINT),
        ] {
            t.step(format!("{name} of the private key"), || {
                s.attribute(private, kind).map(|_| ())
            });
            t.step(format!("{name} of the public key"), || {
                s.attribute(public, kind).map(|_| ())
            });
        }
        t.step("begin to sign", || s.begin(Way::Sign, CKM_ECDSA, private));
        t.step("the size", || s.one_shot(Way::Sign, &[1; 32], None).0);
        t.step("the signature", || {
            s.one_shot(Way::Sign, &[1; 32], Some(64)).0
        });
    });
}

#[test]
fn nss_makes_and_imports_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let private = template! {
            CKA_TOKEN => true, CKA_PRIVATE => true, CKA_SENSITIVE => true, CKA_DERIVE => true, CKA_UNWRAP => true, CKA_SIGN => true,
            CKA_DECRYPT => true
        };
        let public = template! {
            CKA_TOKEN => true, CKA_PRIVATE => false, CKA_DERIVE => true, CKA_WRAP => true, CKA_VERIFY => true, CKA_ENCRYPT => true,
            CKA_EC_PARAMS => Curve::P256.parameters()
        };
        let pair = s.generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &private);
        t.step("a pair", || pair);
        let (public, private) = pair.unwrap_or_default();
        t.step("an id for the private key", || {
            s.set(private, &template! { CKA_ID => b"nss" })
        });
        t.step("an id for the public key", || {
            s.set(public, &template! { CKA_ID => b"nss" })
        });
        t.step("a subject", || {
            s.set(
                private,
                &template! { CKA_SUBJECT => b"\x30\x00", CKA_LABEL => "nss" },
            )
        });
        // Classes of its own, which are in no other token.
        for class in [CKO_NSS, CKO_NSS + 3, CKO_NSS + 4, CKO_PROFILE] {
            t.step(format!("a search for class {class:#x}"), || {
                s.find(&template! { CKA_CLASS => class })
            });
        }
        let aes = template! { CKA_VALUE_LEN => 32, CKA_TOKEN => true, CKA_PRIVATE => true, CKA_ENCRYPT => true, CKA_SIGN => true };
        let key = t.handle("a secret key", || s.generate(CKM_AES_KEY_GEN, &aes));
        t.step("its label", || {
            s.set(key, &template! { CKA_LABEL => "symkeyutil" })
        });
    });
}

/// The base of the numbers of NSS.
const CKO_NSS: CK_OBJECT_CLASS = CKO_VENDOR_DEFINED | 0x4e53_4350;

#[test]
fn opendnssec_makes_a_key() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let public = template! {
            CKA_LABEL => "dnssec", CKA_ID => b"dnssec", CKA_KEY_TYPE => CKK_RSA, CKA_VERIFY => true, CKA_ENCRYPT => false,
            CKA_WRAP => false, CKA_TOKEN => true, CKA_MODULUS_BITS => 2048, CKA_PUBLIC_EXPONENT => &[1, 0, 1]
        };
        let private = template! {
            CKA_LABEL => "dnssec", CKA_ID => b"dnssec", CKA_KEY_TYPE => CKK_RSA, CKA_SIGN => true, CKA_DECRYPT => false,
            CKA_UNWRAP => false, CKA_SENSITIVE => true, CKA_TOKEN => true, CKA_PRIVATE => true, CKA_EXTRACTABLE => false
        };
        let pair = s.generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &private);
        t.step("a pair", || pair);
        let (_, private) = pair.unwrap_or_default();
        t.step("a signature", || {
            s.run(Way::Sign, CKM_RSA_PKCS, private, &[1; 51])
        });
        t.step("decrypting is not for it", || {
            s.begin(Way::Decrypt, CKM_RSA_PKCS, private)
        });
        t.step("seven sessions", || {
            (0..7)
                .filter(|_| Session::open_rw(&place.module, place.slot).is_ok())
                .count()
        });
        t.step("logout", || s.logout());
    });
}

#[test]
fn a_database_keeps_its_master_key() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let label = format!("ORACLE.TDE.HSM.MK.06{}", "a1".repeat(16));
        let key = template! {
            CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_VALUE_LEN => 32, CKA_TOKEN => true, CKA_PRIVATE => true,
            CKA_SENSITIVE => true, CKA_ENCRYPT => true, CKA_DECRYPT => true, CKA_LABEL => label.as_str()
        };
        t.handle("a master key", || s.generate(CKM_AES_KEY_GEN, &key));
        let object = template! {
            CKA_CLASS => CKO_DATA, CKA_TOKEN => true, CKA_PRIVATE => true, CKA_LABEL => "DATA_OBJECT_SUPPORTED_IDEN", CKA_VALUE => &[0; 98]
        };
        t.handle("a data object", || s.create(&object));
        // Another process of the same database, as far as it can tell.
        s.close().expect("C_CloseSession");
        let s = Session::open_ro(&place.module, place.slot).expect("a session");
        t.step("another login", || s.login(CKU_USER, USER_PIN));
        t.step("found by its label alone", || {
            s.find(&template! { CKA_LABEL => label.as_str() })
        });
        let found = s
            .find(&template! { CKA_LABEL => label.as_str() })
            .unwrap_or_default();
        let key = found.first().copied().unwrap_or_default();
        let cbc = strongroom_tests::Mechanism::bytes(CKM_AES_CBC_PAD, &[0; 16]);
        t.step("a table's key there and back", || {
            let cipher = s.run(Way::Encrypt, cbc.clone(), key, &[7; 32])?;
            s.run(Way::Decrypt, cbc.clone(), key, &cipher)
                .map(|plain| plain == [7; 32])
        });
    });
}

#[test]
fn a_server_logs_in_again_and_again() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        for round in 0..3 {
            let s = Session::open_ro(m, place.slot).expect("a session");
            t.step(format!("login {round}"), || s.login(CKU_USER, USER_PIN));
            t.step(format!("search {round}"), || s.find(&template! {}));
            t.step(format!("close {round}"), || s.close());
        }
        let first = Session::open_ro(m, place.slot).expect("a session");
        let second = Session::open_ro(m, place.slot).expect("a session");
        t.step("login of the first", || first.login(CKU_USER, USER_PIN));
        t.step("login of the second", || second.login(CKU_USER, USER_PIN));
        t.step("close the first", || first.close());
        t.step("the second is still logged in", || {
            super::names::state(&second)
        });
        t.step("initialize again", || m.initialize());
    });
}
