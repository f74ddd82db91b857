//! SQL Server's Extensible Key Management: what a provider that stands before a PKCS#11 module asks of it (docs/tde/sqlserver.md).

use std::sync::Barrier;
use std::thread;

use cryptoki_sys::*;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::judge::rsa::RsaPublic;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Mechanism, Session, USER_PIN, Way, Workplace, not_on_softhsm, pattern, template,
};

use super::finds_nothing;
use crate::keys;

/// CREATE ASYMMETRIC KEY … CREATION_DISPOSITION = CREATE_NEW: refused by the provider if the name is taken, else made.
fn create_new(session: &Session<'_>, name: &str, bits: u64) {
    let taken = template! { CKA_LABEL => name };
    finds_nothing(session, &taken);
    session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &template! {
                CKA_TOKEN => true,
                CKA_PRIVATE => false,
                CKA_LABEL => name,
                CKA_ID => name,
                CKA_MODULUS_BITS => bits,
                CKA_PUBLIC_EXPONENT => &[1, 0, 1],
                CKA_ENCRYPT => true,
                CKA_VERIFY => true,
            },
            &template! {
                CKA_TOKEN => true,
                CKA_PRIVATE => true,
                CKA_SENSITIVE => true,
                CKA_EXTRACTABLE => false,
                CKA_LABEL => name,
                CKA_ID => name,
                CKA_DECRYPT => true,
                CKA_SIGN => true,
            },
        )
        .unwrap();
}

/// CREATION_DISPOSITION = OPEN_EXISTING: the public and the private half by the name.
fn open_existing(session: &Session<'_>, name: &str) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let [public, private] = [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY].map(|class| {
        let wanted = template! { CKA_CLASS => class, CKA_LABEL => name };
        match session.find(&wanted).unwrap()[..] {
            [key] => key,
            ref other => panic!("{} keys named {name}", other.len()),
        }
    });
    (public, private)
}

/// What the provider tells the server of a key: the public half, which the server keeps.
fn told(session: &Session<'_>, key: CK_OBJECT_HANDLE) -> RsaPublic {
    RsaPublic::new(
        &session.attribute(key, CKA_MODULUS).unwrap(),
        &session.attribute(key, CKA_PUBLIC_EXPONENT).unwrap(),
    )
}

fn oaep(hash: CK_MECHANISM_TYPE, mask: CK_RSA_PKCS_MGF_TYPE) -> Mechanism {
    Mechanism::oaep(hash, mask, &[])
}

#[test]
fn a_database_encryption_key_goes_to_the_asymmetric_key_and_comes_back() {
    let place = Workplace::open();
    let session = place.user();
    for bits in [2048, 3072] {
        let name = format!("SQL_TDE_KEY_{bits}");
        create_new(&session, &name, bits);
        let (public, private) = open_existing(&session, &name);
        let judge = told(&session, public);
        assert_eq!(judge.length() as u64 * 8, bits);
        assert_eq!(
            session.attribute(private, CKA_MODULUS).unwrap(),
            session.attribute(public, CKA_MODULUS).unwrap(),
            "the private half tells it too"
        );
        let mut ways = vec![
            Mechanism::plain(CKM_RSA_PKCS),
            oaep(CKM_SHA_1, CKG_MGF1_SHA1),
        ];
        if !not_on_softhsm("OAEP with SHA-1 alone") {
            ways.push(oaep(CKM_SHA256, CKG_MGF1_SHA256));
        }
        // AES-128, AES-256, and a key with its head as the server keeps it.
        for length in [16, 32, 48] {
            let dek = pattern(length, length as usize);
            for way in &ways {
                let kept = session
                    .run_by_the_book(Way::Encrypt, way.clone(), public, &dek)
                    .unwrap();
                assert_eq!(kept.len() as u64 * 8, bits);
                let back = session
                    .run_by_the_book(Way::Decrypt, way.clone(), private, &kept)
                    .unwrap();
                assert_eq!(back, dek, "{way:?}");
            }
            // Encrypted by the server itself with the public half.
            let outside = [
                judge.pkcs1_encrypt(&dek, length),
                judge.oaep_encrypt(Hash::Sha1, Hash::Sha1, &[], &dek, length),
                judge.oaep_encrypt(Hash::Sha256, Hash::Sha256, &[], &dek, length),
            ];
            for (way, kept) in ways.iter().zip(&outside) {
                let back = session.run(Way::Decrypt, way.clone(), private, kept);
                assert_eq!(back.unwrap(), dek, "{way:?}");
            }
        }
        refused(
            "the private half",
            session.attribute(private, CKA_PRIVATE_EXPONENT),
            &[CKR_ATTRIBUTE_SENSITIVE],
        );
    }
    let missing = template! { CKA_CLASS => CKO_PRIVATE_KEY, CKA_LABEL => "NO_SUCH_KEY" };
    finds_nothing(&session, &missing);
}

#[test]
fn a_symmetric_key_of_the_provider_encrypts_columns() {
    let place = Workplace::open();
    let session = place.user();
    let name = "SQL_COLUMN_KEY";
    let template = keys::master_key(name);
    session.generate(CKM_AES_KEY_GEN, &template).unwrap();
    let key = super::secret_key(&session, name);
    for length in [1, 15, 16, 17, 8_000] {
        let cell = pattern(length, length as usize);
        let iv: [u8; 16] = session.random(16).unwrap().try_into().unwrap();
        let way = Mechanism::bytes(CKM_AES_CBC_PAD, &iv);
        let kept = session.run(Way::Encrypt, way.clone(), key, &cell).unwrap();
        assert_eq!(session.run(Way::Decrypt, way, key, &kept).unwrap(), cell);
    }
}

#[test]
fn each_connection_of_the_server_has_a_session_and_the_credential_is_the_pin() {
    const CONNECTIONS: usize = 64;
    let place = Workplace::open();
    create_new(&place.user(), "SQL_TDE_KEY", 2048);
    place.module.finalize().unwrap();
    place.hsm.initialize(&place.module);
    let slot = place.module.slot_labelled("suite").unwrap();
    let first = Session::open_ro(&place.module, slot).unwrap();
    refused(
        "a wrong SECRET in the credential",
        first.login(CKU_USER, "wrong-secret-1"),
        &[CKR_PIN_INCORRECT],
    );
    let private = template! { CKA_CLASS => CKO_PRIVATE_KEY, CKA_LABEL => "SQL_TDE_KEY" };
    finds_nothing(&first, &private);
    first.login(CKU_USER, USER_PIN).unwrap();

    let (_, key) = open_existing(&first, "SQL_TDE_KEY");
    let (public, _) = open_existing(&first, "SQL_TDE_KEY");
    let dek = pattern(1, 32);
    let kept = first.run(Way::Encrypt, CKM_RSA_PKCS, public, &dek).unwrap();
    let together = Barrier::new(CONNECTIONS);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let session = Session::open_ro(&place.module, slot).unwrap();
                together.wait();
                // Every connection brings its credential.
                refused(
                    "a second login",
                    session.login(CKU_USER, USER_PIN),
                    &[CKR_USER_ALREADY_LOGGED_IN],
                );
                for _ in 0..4 {
                    assert_eq!(open_existing(&session, "SQL_TDE_KEY").1, key);
                    let back = session.run(Way::Decrypt, CKM_RSA_PKCS, key, &kept);
                    assert_eq!(back.unwrap(), dek);
                }
                together.wait();
                session.close().unwrap();
            });
        }
    });
    assert_eq!(
        first.state().unwrap(),
        CKS_RO_USER_FUNCTIONS,
        "the first stays"
    );
    first.close().unwrap();
    let next = Session::open_ro(&place.module, slot).unwrap();
    assert_eq!(
        next.state().unwrap(),
        CKS_RO_PUBLIC_SESSION,
        "with the last session the login ends"
    );
}
