//! The seal of HashiCorp Vault Enterprise and of OpenBao (docs/tde/README.md).

use cryptoki_sys::*;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::rv::refused;
use strongroom_tests::{Mechanism, USER_PIN, Way, Workplace, not_on_softhsm, pattern, template};

use super::{finds_nothing, secret_key};
use crate::keys;

#[test]
fn vault_seals_with_a_key_and_signs_with_another_both_by_label() {
    let place = Workplace::open();
    let session = super::open_keystore(&place.module, "suite", USER_PIN);
    let labels = ["vault-hsm-key", "vault-hsm-hmac-key"];
    for label in labels {
        let wanted = template! { CKA_CLASS => CKO_SECRET_KEY, CKA_LABEL => label };
        finds_nothing(&session, &wanted);
    }
    let seal = keys::master_key(labels[0])
        .with(CKA_ID, &[0x1b, 0x2c, 0x3d, 0x4e])
        .with(CKA_WRAP, true)
        .with(CKA_UNWRAP, true);
    session.generate(CKM_AES_KEY_GEN, &seal).unwrap();
    let sign = template! {
        CKA_CLASS => CKO_SECRET_KEY,
        CKA_KEY_TYPE => CKK_GENERIC_SECRET,
        CKA_VALUE_LEN => 32,
        CKA_LABEL => labels[1],
        CKA_ID => &[0x1b, 0x2c, 0x3d, 0x4f],
        CKA_TOKEN => true,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => true,
        CKA_EXTRACTABLE => false,
        CKA_SIGN => true,
        CKA_VERIFY => true,
    };
    session.generate(CKM_GENERIC_SECRET_KEY_GEN, &sign).unwrap();

    let [key, hmac] = labels.map(|label| secret_key(&session, label));
    for length in [32, 1_000, 70_000] {
        let root = pattern(length, length as usize);
        let iv = session.random(12).unwrap();
        let gcm = Mechanism::gcm(&iv, &[], 128);
        let sealed = session.run(Way::Encrypt, gcm.clone(), key, &root).unwrap();
        assert_eq!(sealed.len(), root.len() + 16);
        assert_eq!(
            session
                .run(Way::Decrypt, gcm.clone(), key, &sealed)
                .unwrap(),
            root
        );
        let mut damaged = sealed.clone();
        damaged[0] ^= 1;
        assert!(session.run(Way::Decrypt, gcm, key, &damaged).is_err());
        // What it prefers: CBC, and an HMAC because that has no tag.
        let cbc = Mechanism::bytes(CKM_AES_CBC_PAD, &pattern(length, 16));
        let sealed = session.run(Way::Encrypt, cbc.clone(), key, &root).unwrap();
        let mac = session
            .run(Way::Sign, CKM_SHA256_HMAC, hmac, &sealed)
            .unwrap();
        session
            .verify(CKM_SHA256_HMAC, hmac, &sealed, &mac)
            .unwrap();
        refused(
            "a damaged seal",
            session.verify(CKM_SHA256_HMAC, hmac, &damaged, &mac),
            &[CKR_SIGNATURE_INVALID],
        );
        assert_eq!(session.run(Way::Decrypt, cbc, key, &sealed).unwrap(), root);
    }
}

#[test]
fn vault_makes_an_rsa_key_with_few_attributes_and_seals_with_it() {
    let place = Workplace::open();
    let session = place.user();
    let label = "vault-hsm-rsa-key";
    let id = &[0x5a, 0x4b, 0x3c, 0x2d];
    // What its page lists and no more: what is left open must come out good.
    let (public, private) = session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &template! {
                CKA_CLASS => CKO_PUBLIC_KEY,
                CKA_KEY_TYPE => CKK_RSA,
                CKA_LABEL => label,
                CKA_ID => id,
                CKA_ENCRYPT => true,
                CKA_WRAP => true,
                CKA_MODULUS_BITS => 2048,
                CKA_PUBLIC_EXPONENT => &[1, 0, 1],
                CKA_TOKEN => true,
            },
            &template! {
                CKA_CLASS => CKO_PRIVATE_KEY,
                CKA_KEY_TYPE => CKK_RSA,
                CKA_LABEL => label,
                CKA_ID => id,
                CKA_DECRYPT => true,
                CKA_UNWRAP => true,
                CKA_TOKEN => true,
                CKA_EXTRACTABLE => false,
            },
        )
        .unwrap();
    assert!(session.flag(private, CKA_PRIVATE).unwrap());
    if !not_on_softhsm("private keys are not sensitive unless the template says so") {
        assert!(session.flag(private, CKA_SENSITIVE).unwrap());
    }
    let root = pattern(6, 32);
    let mut ways = vec![
        Mechanism::plain(CKM_RSA_PKCS),
        Mechanism::oaep(CKM_SHA_1, CKG_MGF1_SHA1, &[]),
    ];
    if !not_on_softhsm("OAEP with SHA-1 alone") {
        ways.push(Mechanism::oaep(CKM_SHA256, CKG_MGF1_SHA256, &[]));
    }
    for way in ways {
        let sealed = session.run(Way::Encrypt, way.clone(), public, &root);
        let opened = session.run(Way::Decrypt, way, private, &sealed.unwrap());
        assert_eq!(opened.unwrap(), root);
    }
}

#[test]
fn openbao_seals_with_an_rsa_key_by_label() {
    let place = Workplace::open();
    let session = place.user();
    let judge = strongroom_tests::judge::rsa::RsaPrivate::fixed(2048);
    let label = "bao-root-key-rsa";
    for half in [
        judge.public().template().with(CKA_ENCRYPT, true),
        judge.template().with(CKA_DECRYPT, true),
    ] {
        let kept = half.with(CKA_TOKEN, true).with(CKA_LABEL, label);
        session.create(&kept).unwrap();
    }
    let [public, private] = [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY].map(|class| {
        let wanted = template! { CKA_CLASS => class, CKA_LABEL => label };
        session.find(&wanted).unwrap()[0]
    });
    let root = pattern(5, 32);
    let mut hashes = vec![(CKM_SHA_1, CKG_MGF1_SHA1, Hash::Sha1)];
    if !not_on_softhsm("OAEP with SHA-1 alone") {
        hashes.push((CKM_SHA256, CKG_MGF1_SHA256, Hash::Sha256));
        hashes.push((CKM_SHA512, CKG_MGF1_SHA512, Hash::Sha512));
    }
    for (hash, mask, judged) in hashes {
        let way = Mechanism::oaep(hash, mask, &[]);
        let sealed = session
            .run(Way::Encrypt, way.clone(), public, &root)
            .unwrap();
        assert_eq!(
            judge.oaep_decrypt(judged, judged, &[], &sealed).unwrap(),
            root
        );
        assert_eq!(
            session.run(Way::Decrypt, way, private, &sealed).unwrap(),
            root
        );
    }
}
