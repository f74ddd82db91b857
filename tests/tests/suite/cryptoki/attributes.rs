//! What the token computes about objects and takes from nobody (PKCS#11 3.2, 4.4 to 4.10).

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::rv::refused;
use strongroom_tests::tool;
use strongroom_tests::{Rv, Workplace, hex, not_on_softhsm, template};

use crate::keys;

const NO_INPUT: &[CK_RV] = &[
    CKR_ATTRIBUTE_READ_ONLY,
    CKR_TEMPLATE_INCONSISTENT,
    CKR_ATTRIBUTE_TYPE_INVALID,
];

/// Local, key generation mechanism, always sensitive, never extractable.
type Origin = (bool, CK_MECHANISM_TYPE, bool, bool);

fn origin(session: &strongroom_tests::Session<'_>, key: CK_OBJECT_HANDLE) -> Origin {
    (
        session.flag(key, CKA_LOCAL).unwrap(),
        session.number(key, CKA_KEY_GEN_MECHANISM).unwrap(),
        session.flag(key, CKA_ALWAYS_SENSITIVE).unwrap(),
        session.flag(key, CKA_NEVER_EXTRACTABLE).unwrap(),
    )
}

#[test]
fn the_origin_of_a_key_is_told_truly() {
    let place = Workplace::open();
    let session = place.user();
    let unknown = CK_MECHANISM_TYPE::MAX;
    let generated = |sensitive: bool, extractable: bool| {
        let template = keys::protected_aes()
            .with(CKA_SENSITIVE, sensitive)
            .with(CKA_EXTRACTABLE, extractable);
        session.generate(CKM_AES_KEY_GEN, &template).unwrap()
    };
    for (sensitive, extractable) in [(true, false), (true, true), (false, false), (false, true)] {
        let key = generated(sensitive, extractable);
        let expected = (true, CKM_AES_KEY_GEN, sensitive, !extractable);
        assert_eq!(
            origin(&session, key),
            expected,
            "generated {sensitive} {extractable}"
        );
    }
    let weak = generated(false, true);
    session
        .set(
            weak,
            &template! { CKA_SENSITIVE => true, CKA_EXTRACTABLE => false },
        )
        .unwrap();
    assert_eq!(
        origin(&session, weak),
        (true, CKM_AES_KEY_GEN, false, false),
        "late is not always"
    );
    let copy = session.copy(generated(true, false), &template! {}).unwrap();
    assert_eq!(
        origin(&session, copy),
        (true, CKM_AES_KEY_GEN, true, true),
        "a copy keeps it"
    );
    let imported = session
        .create(
            &keys::open_secret(CKK_AES)
                .with(CKA_VALUE, &[1; 16])
                .with(CKA_SENSITIVE, true)
                .with(CKA_EXTRACTABLE, false),
        )
        .unwrap();
    assert_eq!(
        origin(&session, imported),
        (false, unknown, false, false),
        "imported"
    );
    let wrapping = keys::import_aes(&session, &[2; 32]);
    let extractable = generated(true, true);
    let wrapped = session
        .wrap(CKM_AES_KEY_WRAP, wrapping, extractable)
        .unwrap();
    let unwrapped = session
        .unwrap(
            CKM_AES_KEY_WRAP,
            wrapping,
            &wrapped,
            &template! {
                CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_SENSITIVE => true, CKA_EXTRACTABLE => false,
                CKA_PRIVATE => true, CKA_TOKEN => false,
            },
        )
        .unwrap();
    assert_eq!(
        origin(&session, unwrapped),
        (false, unknown, false, false),
        "unwrapped"
    );
    let (_, private) = keys::ec_pair(&session, Curve::P256);
    assert_eq!(
        origin(&session, private),
        (true, CKM_EC_KEY_PAIR_GEN, true, true),
        "a pair"
    );
}

#[test]
fn computed_attributes_are_refused_as_input() {
    let place = Workplace::open();
    let session = place.user();
    let aes = keys::open_secret(CKK_AES).with(CKA_VALUE, &[1; 16]);
    let existing = session.create(&aes).unwrap();
    for (kind, value) in [
        (CKA_ALWAYS_SENSITIVE, vec![1]),
        (CKA_NEVER_EXTRACTABLE, vec![1]),
        (CKA_LOCAL, vec![1]),
        (
            CKA_KEY_GEN_MECHANISM,
            CKM_AES_KEY_GEN.to_ne_bytes().to_vec(),
        ),
    ] {
        let what = format!("{kind:#x}");
        refused(
            &what,
            session.create(&aes.clone().with(kind, &value)),
            NO_INPUT,
        );
        let generation = keys::protected_aes().with(kind, &value);
        refused(
            &what,
            session.generate(CKM_AES_KEY_GEN, &generation),
            NO_INPUT,
        );
        refused(
            &what,
            session.set(existing, &template! { kind => &value }),
            NO_INPUT,
        );
        refused(
            &what,
            session.copy(existing, &template! { kind => &value }),
            NO_INPUT,
        );
    }
    if not_on_softhsm("no CKA_UNIQUE_ID") {
        return;
    }
    refused(
        "unique",
        session.create(&aes.clone().with(CKA_UNIQUE_ID, "mine")),
        NO_INPUT,
    );
    refused(
        "unique",
        session.set(existing, &template! { CKA_UNIQUE_ID => "mine" }),
        NO_INPUT,
    );
    refused(
        "unique",
        session.copy(existing, &template! { CKA_UNIQUE_ID => "mine" }),
        NO_INPUT,
    );
}

#[test]
fn what_a_key_is_cannot_be_changed() {
    let place = Workplace::open();
    let session = place.user();
    let key = keys::import_aes(&session, &[1; 16]);
    let rows: &[(&str, strongroom_tests::Template)] = &[
        ("class", template! { CKA_CLASS => CKO_DATA }),
        ("key type", template! { CKA_KEY_TYPE => CKK_GENERIC_SECRET }),
        ("value", template! { CKA_VALUE => &[2; 16] }),
        ("token", template! { CKA_TOKEN => true }),
        ("private", template! { CKA_PRIVATE => false }),
        ("modifiable", template! { CKA_MODIFIABLE => false }),
    ];
    for (what, template) in rows {
        refused(what, session.set(key, template), NO_INPUT);
    }
    assert_eq!(session.attribute(key, CKA_VALUE).unwrap(), [1; 16]);
    session
        .set(
            key,
            &template! { CKA_LABEL => "new", CKA_ID => "new", CKA_ENCRYPT => false },
        )
        .expect("names and usages may change");
    assert_eq!(session.flag(key, CKA_ENCRYPT), Ok(false));
    let mixed = template! { CKA_LABEL => "half", CKA_CLASS => CKO_DATA };
    refused("one good and one bad", session.set(key, &mixed), NO_INPUT);
    if !not_on_softhsm("C_SetAttributeValue is not all or nothing") {
        assert_eq!(
            session.attribute(key, CKA_LABEL).unwrap(),
            b"new",
            "all or nothing"
        );
    }
}

#[test]
fn check_values() {
    let place = Workplace::open();
    if not_on_softhsm("it computes no check values") {
        return;
    }
    let session = place.user();
    for length in [16, 24, 32] {
        let value = strongroom_tests::pattern(length as u64, length);
        let key = keys::import_aes(&session, &value);
        // PKCS#11 3.2, 4.10.2: the first three bytes of a zero block encrypted in ECB mode.
        let expected = Aes::new(&value).block([0; 16])[..3].to_vec();
        assert_eq!(
            session.attribute(key, CKA_CHECK_VALUE),
            Ok(expected),
            "AES of {length} bytes"
        );
    }
    let value = b"a generic secret of some bytes";
    let key = keys::import_secret(&session, CKK_GENERIC_SECRET, value);
    let expected = Hash::Sha1.of(value)[..3].to_vec();
    assert_eq!(
        session.attribute(key, CKA_CHECK_VALUE),
        Ok(expected),
        "generic secret"
    );
    let sensitive = session
        .generate(CKM_AES_KEY_GEN, &keys::protected_aes())
        .unwrap();
    let zero = session
        .run(
            strongroom_tests::Way::Encrypt,
            CKM_AES_ECB,
            sensitive,
            &[0; 16],
        )
        .unwrap();
    assert_eq!(
        session.attribute(sensitive, CKA_CHECK_VALUE),
        Ok(zero[..3].to_vec()),
        "sensitive"
    );
    let aes = keys::open_secret(CKK_AES).with(CKA_VALUE, &[1; 16]);
    refused(
        "a check value that does not fit",
        session.create(&aes.with(CKA_CHECK_VALUE, &[1, 2, 3])),
        &[
            CKR_ATTRIBUTE_VALUE_INVALID,
            CKR_TEMPLATE_INCONSISTENT,
            CKR_ATTRIBUTE_READ_ONLY,
        ],
    );
}

#[test]
fn unique_identifiers() {
    let place = Workplace::open();
    if not_on_softhsm("no CKA_UNIQUE_ID") {
        return;
    }
    let session = place.user();
    let one = session
        .create(&keys::data("x").with(CKA_TOKEN, true))
        .unwrap();
    let two = session.create(&keys::data("x")).unwrap();
    let first = session.attribute(one, CKA_UNIQUE_ID).unwrap();
    let second = session.attribute(two, CKA_UNIQUE_ID).unwrap();
    assert!(!first.is_empty() && first != second);
    assert_eq!(
        session
            .find(&template! { CKA_UNIQUE_ID => &first })
            .unwrap(),
        [one]
    );
    session
        .set(one, &template! { CKA_LABEL => "renamed" })
        .unwrap();
    assert_eq!(
        session.attribute(one, CKA_UNIQUE_ID).unwrap(),
        first,
        "for life"
    );
}

#[test]
fn public_key_info_is_what_openssl_reads() {
    let place = Workplace::open();
    if not_on_softhsm("CKA_PUBLIC_KEY_INFO is always empty") {
        return;
    }
    tool::require("openssl");
    let session = place.user();
    let (rsa_public, rsa_private) = keys::rsa_pair(&session, 2048);
    let modulus = session.attribute(rsa_public, CKA_MODULUS).unwrap();
    for key in [rsa_public, rsa_private] {
        let info = session.attribute(key, CKA_PUBLIC_KEY_INFO).unwrap();
        let text = openssl_text(&info);
        let digits: String = text
            .split_once("Modulus=")
            .expect("a modulus")
            .1
            .lines()
            .next()
            .unwrap()
            .into();
        assert_eq!(hex(&digits), modulus);
    }
    for curve in [Curve::P256, Curve::P384, Curve::P521, Curve::Secp256k1] {
        let (public, private) = keys::ec_pair(&session, curve);
        let info = session.attribute(public, CKA_PUBLIC_KEY_INFO).unwrap();
        assert_eq!(
            session.attribute(private, CKA_PUBLIC_KEY_INFO).unwrap(),
            info,
            "{curve:?}"
        );
        let point = curve.point(&session.attribute(public, CKA_EC_POINT).unwrap());
        assert!(info.ends_with(&point), "{curve:?}");
        tool::succeed_with(
            std::process::Command::new("openssl").args([
                "pkey",
                "-pubin",
                "-inform",
                "DER",
                "-noout",
                "-pubcheck",
            ]),
            &info,
        );
    }
    let imported = session
        .create(&RsaPrivate::fixed(3072).template().with(CKA_SIGN, true))
        .unwrap();
    let info = session.attribute(imported, CKA_PUBLIC_KEY_INFO).unwrap();
    assert!(
        openssl_text(&info).contains("Modulus="),
        "an imported private key knows its public key"
    );
}

fn openssl_text(info: &[u8]) -> String {
    let mut command = std::process::Command::new("openssl");
    command.args(["rsa", "-pubin", "-inform", "DER", "-noout", "-modulus"]);
    tool::succeed_with(&mut command, info).said
}

#[test]
fn dates_are_kept() {
    let place = Workplace::open();
    if not_on_softhsm("C_GenerateKey with dates answers CKR_GENERAL_ERROR") {
        return;
    }
    let session = place.user();
    let template = keys::protected_aes()
        .with(CKA_START_DATE, "20200102")
        .with(CKA_END_DATE, "20991231");
    let key = session.generate(CKM_AES_KEY_GEN, &template).unwrap();
    assert_eq!(session.attribute(key, CKA_START_DATE).unwrap(), b"20200102");
    assert_eq!(session.attribute(key, CKA_END_DATE).unwrap(), b"20991231");
    session
        .run(strongroom_tests::Way::Encrypt, CKM_AES_ECB, key, &[0; 16])
        .unwrap();
    let without = session
        .generate(CKM_AES_KEY_GEN, &keys::protected_aes())
        .unwrap();
    assert_eq!(
        session.attribute(without, CKA_START_DATE),
        Ok(Vec::new()),
        "empty by default"
    );
    let bad = keys::protected_aes().with(CKA_END_DATE, "2099");
    refused(
        "half a date",
        session.generate(CKM_AES_KEY_GEN, &bad),
        &[CKR_ATTRIBUTE_VALUE_INVALID],
    );
}

#[test]
fn numbers_of_keys_are_told() {
    let place = Workplace::open();
    let session = place.user();
    let (public, private) = keys::rsa_pair(&session, 2048);
    assert_eq!(session.number(public, CKA_MODULUS_BITS), Ok(2048));
    let modulus = session.attribute(public, CKA_MODULUS).unwrap();
    assert_eq!((modulus.len(), modulus[0] >> 7), (256, 1));
    assert_eq!(session.attribute(private, CKA_MODULUS).unwrap(), modulus);
    assert_eq!(
        session.attribute(public, CKA_PUBLIC_EXPONENT).unwrap(),
        [1, 0, 1]
    );
    assert_eq!(
        session.attribute(private, CKA_PUBLIC_EXPONENT).unwrap(),
        [1, 0, 1]
    );
    for secret in [
        CKA_PRIVATE_EXPONENT,
        CKA_PRIME_1,
        CKA_PRIME_2,
        CKA_EXPONENT_1,
        CKA_COEFFICIENT,
    ] {
        assert_eq!(
            session.attribute(private, secret),
            Err(Rv(CKR_ATTRIBUTE_SENSITIVE))
        );
        assert_eq!(
            session.attribute(public, secret),
            Err(Rv(CKR_ATTRIBUTE_TYPE_INVALID))
        );
    }
    let key = session
        .generate(CKM_AES_KEY_GEN, &keys::protected_aes())
        .unwrap();
    assert_eq!(session.number(key, CKA_VALUE_LEN), Ok(32));
    let (public, private) = keys::ec_pair(&session, Curve::P384);
    assert_eq!(
        session.attribute(private, CKA_EC_PARAMS).unwrap(),
        Curve::P384.parameters()
    );
    assert_eq!(
        session.attribute(private, CKA_VALUE),
        Err(Rv(CKR_ATTRIBUTE_SENSITIVE))
    );
    let _ = Curve::P384.point(&session.attribute(public, CKA_EC_POINT).unwrap());
}

#[test]
fn points_are_taken_wrapped_and_bare() {
    let place = Workplace::open();
    if not_on_softhsm("bare points are refused") {
        return;
    }
    let session = place.user();
    let curve = Curve::P256;
    let scalar = curve.fixed_scalar(3);
    let point = curve.point_of(&scalar);
    let bare = session
        .create(&keys::ec_public(curve, &point).with(CKA_EC_POINT, &point))
        .unwrap();
    assert_eq!(
        curve.point(&session.attribute(bare, CKA_EC_POINT).unwrap()),
        point,
        "DER comes out"
    );
    let digest = [5; 32];
    session
        .verify(
            CKM_ECDSA,
            bare,
            &digest,
            &curve.ecdsa_sign(&scalar, &digest),
        )
        .unwrap();
}
