//! Making keys: sizes, defaults, refusals (PKCS#11 3.2, 5.18).

use cryptoki_sys::*;
use strongroom_tests::rv::refused;
use strongroom_tests::{Way, Workplace, not_on_softhsm, template};

use crate::keys;

#[test]
fn aes_keys_of_three_sizes() {
    let place = Workplace::open();
    let session = place.user();
    let template = keys::open_secret(CKK_AES);
    for length in [16, 24, 32] {
        let one = session
            .generate(
                CKM_AES_KEY_GEN,
                &template.clone().with(CKA_VALUE_LEN, length),
            )
            .unwrap();
        let two = session
            .generate(
                CKM_AES_KEY_GEN,
                &template.clone().with(CKA_VALUE_LEN, length),
            )
            .unwrap();
        let (one, two) = (
            session.attribute(one, CKA_VALUE).unwrap(),
            session.attribute(two, CKA_VALUE).unwrap(),
        );
        assert_eq!((one.len(), two.len()), (length as usize, length as usize));
        assert_ne!(one, two);
    }
    let bad = [
        CKR_ATTRIBUTE_VALUE_INVALID,
        CKR_KEY_SIZE_RANGE,
        CKR_TEMPLATE_INCONSISTENT,
    ];
    for length in [0, 1, 8, 15, 17, 33, u64::MAX] {
        if length == 0 && not_on_softhsm("to it a length of zero is no length") {
            continue;
        }
        let made = session.generate(
            CKM_AES_KEY_GEN,
            &template.clone().with(CKA_VALUE_LEN, length),
        );
        refused(&format!("{length} bytes"), made, &bad);
    }
    let made = session.generate(CKM_AES_KEY_GEN, &template);
    refused("no length", made, &[CKR_TEMPLATE_INCOMPLETE]);
    let value = template
        .clone()
        .with(CKA_VALUE_LEN, 32)
        .with(CKA_VALUE, &[0; 32]);
    let made = session.generate(CKM_AES_KEY_GEN, &value);
    let input = &[
        CKR_TEMPLATE_INCONSISTENT,
        CKR_ATTRIBUTE_READ_ONLY,
        CKR_ATTRIBUTE_TYPE_INVALID,
    ];
    if !not_on_softhsm("it overlooks a value that comes with C_GenerateKey") {
        refused("a value of the caller's", made, input);
    }
    let other = template
        .with(CKA_VALUE_LEN, 32)
        .with(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    let made = session.generate(CKM_AES_KEY_GEN, &other);
    refused("another key type", made, &[CKR_TEMPLATE_INCONSISTENT]);
}

#[test]
fn generic_secrets_of_any_length() {
    let place = Workplace::open();
    let session = place.user();
    let template = keys::open_secret(CKK_GENERIC_SECRET);
    for length in [1, 20, 32, 64, 200, 512] {
        let key = session
            .generate(
                CKM_GENERIC_SECRET_KEY_GEN,
                &template.clone().with(CKA_VALUE_LEN, length),
            )
            .unwrap();
        assert_eq!(
            session.attribute(key, CKA_VALUE).unwrap().len() as u64,
            length
        );
        assert_eq!(session.number(key, CKA_VALUE_LEN), Ok(length));
    }
    if not_on_softhsm("to it a length of zero is no length") {
        return;
    }
    let made = session.generate(CKM_GENERIC_SECRET_KEY_GEN, &template.with(CKA_VALUE_LEN, 0));
    refused(
        "no bytes",
        made,
        &[
            CKR_ATTRIBUTE_VALUE_INVALID,
            CKR_KEY_SIZE_RANGE,
            CKR_TEMPLATE_INCONSISTENT,
        ],
    );
}

#[test]
fn rsa_pairs_are_refused_when_they_would_be_weak() {
    let place = Workplace::open();
    let session = place.user();
    let make = |bits: u64, exponent: &[u8]| {
        session.generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &template! { CKA_MODULUS_BITS => bits, CKA_PUBLIC_EXPONENT => exponent },
            &template! {},
        )
    };
    let bad = [
        CKR_ATTRIBUTE_VALUE_INVALID,
        CKR_KEY_SIZE_RANGE,
        CKR_TEMPLATE_INCONSISTENT,
    ];
    for bits in [0, 1, 256, 1_000_000, u64::MAX] {
        if not_on_softhsm("it answers CKR_GENERAL_ERROR, or makes weak keys") {
            break;
        }
        refused(&format!("{bits} bits"), make(bits, &[1, 0, 1]), &bad);
    }
    for exponent in [&[0][..], &[1], &[4]] {
        if not_on_softhsm("it answers CKR_GENERAL_ERROR, or makes weak keys") {
            break;
        }
        refused(
            &format!("exponent {exponent:?}"),
            make(2048, exponent),
            &bad,
        );
    }
    let without = session.generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &template! {}, &template! {});
    refused("no length", without, &[CKR_TEMPLATE_INCOMPLETE]);
    let (public, _) = session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &template! { CKA_MODULUS_BITS => 2048 },
            &template! {},
        )
        .expect("the public exponent may be left out");
    assert_eq!(
        session.attribute(public, CKA_PUBLIC_EXPONENT).unwrap(),
        [1, 0, 1]
    );
}

#[test]
fn usages_and_privacy_by_default() {
    let place = Workplace::open();
    let session = place.user();
    let key = session
        .generate(CKM_AES_KEY_GEN, &template! { CKA_VALUE_LEN => 16 })
        .unwrap();
    assert_eq!(session.number(key, CKA_CLASS), Ok(CKO_SECRET_KEY));
    assert_eq!(session.number(key, CKA_KEY_TYPE), Ok(CKK_AES));
    assert_eq!(session.flag(key, CKA_TOKEN), Ok(false));
    assert_eq!(
        session.flag(key, CKA_PRIVATE),
        Ok(true),
        "a secret is private by default"
    );
    if !not_on_softhsm("secrets are not sensitive by default") {
        assert_eq!(session.flag(key, CKA_SENSITIVE), Ok(true), "and sensitive");
    }
    assert_eq!(session.flag(key, CKA_EXTRACTABLE), Ok(false), "and stays");
    session
        .run(Way::Encrypt, CKM_AES_ECB, key, &[0; 16])
        .expect("encrypts by default");
    for kind in [CKA_ID, CKA_LABEL, CKA_START_DATE, CKA_END_DATE] {
        if kind == CKA_START_DATE && not_on_softhsm("dates of keys cannot be read") {
            break;
        }
        assert_eq!(
            session.attribute(key, kind),
            Ok(Vec::new()),
            "{kind:#x} is empty by default"
        );
    }
}

#[test]
fn making_needs_the_login_when_private() {
    let place = Workplace::open();
    let session = place.public();
    let made = session.generate(CKM_AES_KEY_GEN, &keys::protected_aes());
    refused(
        "a private key before login",
        made,
        &[CKR_USER_NOT_LOGGED_IN],
    );
    session
        .generate(
            CKM_AES_KEY_GEN,
            &keys::protected_aes().with(CKA_PRIVATE, false),
        )
        .expect("a public session key needs no login");
}
