//! Creating, copying, destroying objects (PKCS#11 3.2, 5.7), and the templates that real consumers send.

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::rv::refused;
use strongroom_tests::session::UNAVAILABLE;
use strongroom_tests::template::Value;
use strongroom_tests::{Rv, Session, Template, Way, Workplace, not_on_softhsm, template};

use crate::keys;

#[test]
fn every_class_is_created_read_and_destroyed() {
    let place = Workplace::open();
    let session = place.user();
    let rsa = RsaPrivate::fixed(2048);
    let curve = Curve::P256;
    let scalar = curve.fixed_scalar(1);
    let prime = rsa.numbers[3].clone();
    let all = [
        (
            "data",
            keys::data("d")
                .with(CKA_APPLICATION, "suite")
                .with(CKA_OBJECT_ID, &[6, 1, 42]),
        ),
        ("certificate", certificate()),
        ("RSA public", rsa.public().template()),
        ("RSA private", rsa.template()),
        (
            "EC public",
            keys::ec_public(curve, &curve.point_of(&scalar)),
        ),
        ("EC private", keys::ec_private(curve, &scalar)),
        ("AES", keys::open_secret(CKK_AES).with(CKA_VALUE, &[5; 24])),
        (
            "generic secret",
            keys::open_secret(CKK_GENERIC_SECRET).with(CKA_VALUE, &[5; 77]),
        ),
        (
            "Diffie-Hellman domain parameters",
            template! {
                CKA_CLASS => CKO_DOMAIN_PARAMETERS,
                CKA_KEY_TYPE => CKK_DH,
                CKA_PRIME => &prime,
                CKA_BASE => &[2],
            },
        ),
    ];
    for (what, template) in all {
        for token in [false, true] {
            let template = template
                .clone()
                .with(CKA_TOKEN, token)
                .with(CKA_LABEL, what)
                .with(CKA_ID, "id");
            let template = if ["data", "Diffie-Hellman domain parameters"].contains(&what) {
                template.without(CKA_ID)
            } else {
                template
            };
            let object = session
                .create(&template)
                .unwrap_or_else(|code| panic!("{what}, token {token}: {code:?}"));
            assert_eq!(
                session.attribute(object, CKA_LABEL).unwrap(),
                what.as_bytes()
            );
            assert_eq!(session.flag(object, CKA_TOKEN), Ok(token), "{what}");
            if let Some((_, Value::Bytes(value))) =
                template.0.iter().find(|(kind, _)| *kind == CKA_VALUE)
            {
                assert_eq!(
                    session.attribute(object, CKA_VALUE).as_ref(),
                    Ok(value),
                    "{what}, token {token}"
                );
            }
            for (flag, value) in [
                (CKA_MODIFIABLE, true),
                (CKA_COPYABLE, true),
                (CKA_DESTROYABLE, true),
            ] {
                assert_eq!(
                    session.flag(object, flag),
                    Ok(value),
                    "{what}: default of {flag:#x}"
                );
            }
            session.destroy(object).unwrap();
            refused(
                "destroyed",
                session.attribute(object, CKA_LABEL),
                &[CKR_OBJECT_HANDLE_INVALID],
            );
            refused(
                "destroyed",
                session.destroy(object),
                &[CKR_OBJECT_HANDLE_INVALID],
            );
        }
    }
}

/// A certificate as SunPKCS11 and NSS store one; the bytes need not be a good certificate.
fn certificate() -> Template {
    template! {
        CKA_CLASS => CKO_CERTIFICATE,
        CKA_CERTIFICATE_TYPE => CKC_X_509,
        CKA_TOKEN => false,
        CKA_PRIVATE => false,
        CKA_SUBJECT => &[0x30, 0x00],
        CKA_ISSUER => &[0x30, 0x00],
        CKA_SERIAL_NUMBER => &[0x02, 0x01, 0x01],
        CKA_VALUE => "a certificate",
    }
}

#[test]
fn certificates_have_their_defaults_and_a_check_value() {
    let place = Workplace::open();
    let session = place.user();
    let object = session.create(&certificate()).unwrap();
    assert_eq!(session.number(object, CKA_CERTIFICATE_TYPE), Ok(CKC_X_509));
    assert_eq!(
        session.number(object, CKA_CERTIFICATE_CATEGORY),
        Ok(0),
        "unspecified"
    );
    assert_eq!(session.flag(object, CKA_TRUSTED), Ok(false));
    assert_eq!(
        session.attribute(object, CKA_ID),
        Ok(Vec::new()),
        "empty by default"
    );
    if not_on_softhsm("it computes no check values") {
        return;
    }
    // PKCS#11 3.2, 4.6.2: the first three bytes of the SHA-1 hash of CKA_VALUE.
    let expected = Hash::Sha1.of(b"a certificate")[..3].to_vec();
    assert_eq!(session.attribute(object, CKA_CHECK_VALUE), Ok(expected));
    refused(
        "an X.509 certificate without subject",
        session.create(&certificate().without(CKA_SUBJECT)),
        &[CKR_TEMPLATE_INCOMPLETE],
    );
}

#[test]
fn bad_templates_are_refused_by_name() {
    let place = Workplace::open();
    let session = place.user();
    let aes = keys::open_secret(CKK_AES).with(CKA_VALUE, &[5; 16]);
    let rows: &[(&str, Template, &[CK_RV])] = &[
        (
            "no attribute at all",
            template! {},
            &[CKR_TEMPLATE_INCOMPLETE],
        ),
        (
            "no class",
            keys::data("x").without(CKA_CLASS),
            &[CKR_TEMPLATE_INCOMPLETE],
        ),
        (
            "no key type",
            aes.clone().without(CKA_KEY_TYPE),
            &[CKR_TEMPLATE_INCOMPLETE],
        ),
        (
            "no value",
            aes.clone().without(CKA_VALUE),
            &[CKR_TEMPLATE_INCOMPLETE],
        ),
        (
            "an unknown class",
            keys::data("x").with(CKA_CLASS, 0x1234_5678_u64),
            &[CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT],
        ),
        (
            "an unknown key type",
            aes.clone().with(CKA_KEY_TYPE, 0x1234_5678_u64),
            &[CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT],
        ),
        (
            "an attribute that does not exist",
            keys::data("x").with(0x0fff_fff0, "?"),
            &[CKR_ATTRIBUTE_TYPE_INVALID],
        ),
        (
            "an attribute of another class",
            keys::data("x").with(CKA_MODULUS, &[1, 2, 3]),
            &[CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT],
        ),
        (
            "a boolean of four bytes",
            keys::data("x").with(CKA_TOKEN, &[0, 0, 0, 1]),
            &[CKR_ATTRIBUTE_VALUE_INVALID],
        ),
        (
            "a number of three bytes",
            aes.clone().with(CKA_KEY_TYPE, &[0x1f, 0, 0]),
            &[CKR_ATTRIBUTE_VALUE_INVALID],
        ),
        (
            "an AES key of 17 bytes",
            aes.clone().with(CKA_VALUE, &[5; 17]),
            &[
                CKR_ATTRIBUTE_VALUE_INVALID,
                CKR_TEMPLATE_INCONSISTENT,
                CKR_KEY_SIZE_RANGE,
            ],
        ),
        (
            "an AES key of no bytes",
            aes.with(CKA_VALUE, &[]),
            &[
                CKR_ATTRIBUTE_VALUE_INVALID,
                CKR_TEMPLATE_INCONSISTENT,
                CKR_KEY_SIZE_RANGE,
                CKR_TEMPLATE_INCOMPLETE,
            ],
        ),
        (
            "a point that is none",
            keys::ec_public(Curve::P256, &[4; 65]),
            &[
                CKR_ATTRIBUTE_VALUE_INVALID,
                CKR_TEMPLATE_INCONSISTENT,
                CKR_PUBLIC_KEY_INVALID,
            ],
        ),
        (
            "a curve that is none",
            keys::ec_private(Curve::P256, &[1; 32]).with(CKA_EC_PARAMS, &[6, 3, 42, 3, 4]),
            &[
                CKR_ATTRIBUTE_VALUE_INVALID,
                CKR_TEMPLATE_INCONSISTENT,
                CKR_CURVE_NOT_SUPPORTED,
                CKR_DOMAIN_PARAMS_INVALID,
            ],
        ),
        (
            "a scalar of zero",
            keys::ec_private(Curve::P256, &[0; 32]),
            &[CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT],
        ),
    ];
    let lax = [
        "an AES key of 17 bytes",
        "an AES key of no bytes",
        "a point that is none",
        "a curve that is none",
        "a scalar of zero",
        "no value",
        "a number of three bytes",
        "an unknown class",
        "an unknown key type",
    ];
    for (what, template, codes) in rows {
        if lax.contains(what) && not_on_softhsm("it checks no key material and names other codes") {
            continue;
        }
        refused(what, session.create(template), codes);
    }
    let mut twice = keys::data("one");
    twice.0.push((
        CKA_LABEL,
        strongroom_tests::template::IntoValue::into_value("two"),
    ));
    if !not_on_softhsm("of two labels the last wins") {
        let code = session.create(&twice);
        refused(
            "two labels",
            code,
            &[CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID],
        );
    }
}

#[test]
fn copies_are_objects_of_their_own() {
    let place = Workplace::open();
    let session = place.user();
    let source = session.create(&keys::data("original")).unwrap();
    let copy = session
        .copy(
            source,
            &template! { CKA_LABEL => "copy", CKA_TOKEN => true, CKA_PRIVATE => true },
        )
        .unwrap();
    assert_ne!(copy, source);
    assert_eq!(session.attribute(copy, CKA_VALUE).unwrap(), b"value");
    assert_eq!(session.attribute(copy, CKA_LABEL).unwrap(), b"copy");
    assert_eq!(session.flag(copy, CKA_TOKEN), Ok(true));
    assert_eq!(session.flag(copy, CKA_PRIVATE), Ok(true));
    session
        .set(source, &template! { CKA_LABEL => "changed" })
        .unwrap();
    assert_eq!(session.attribute(copy, CKA_LABEL).unwrap(), b"copy");
    session.destroy(source).unwrap();
    assert_eq!(session.attribute(copy, CKA_VALUE).unwrap(), b"value");
    if !not_on_softhsm("CKA_UNIQUE_ID came with 3.0") {
        let other = session.copy(copy, &template! {}).unwrap();
        assert_ne!(
            session.attribute(copy, CKA_UNIQUE_ID).unwrap(),
            session.attribute(other, CKA_UNIQUE_ID).unwrap(),
            "a copy has an identifier of its own"
        );
    }
    refused(
        "another value in a copy",
        session.copy(copy, &template! { CKA_CLASS => CKO_CERTIFICATE }),
        &[CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT],
    );
}

#[test]
fn a_copied_key_keeps_its_material() {
    let place = Workplace::open();
    let session = place.user();
    let key = session
        .generate(CKM_AES_KEY_GEN, &keys::protected_aes())
        .unwrap();
    let copy = session
        .copy(key, &template! { CKA_TOKEN => true, CKA_ID => "c" })
        .unwrap();
    for flag in [CKA_SENSITIVE, CKA_ENCRYPT, CKA_DECRYPT] {
        assert_eq!(session.flag(copy, flag), Ok(true), "{flag:#x}");
    }
    assert_eq!(session.flag(copy, CKA_EXTRACTABLE), Ok(false));
    let one = session
        .run(Way::Encrypt, CKM_AES_ECB, key, &[1; 32])
        .unwrap();
    assert_eq!(
        session
            .run(Way::Encrypt, CKM_AES_ECB, copy, &[1; 32])
            .unwrap(),
        one
    );
    let no = &[CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT];
    refused(
        "weaker",
        session.copy(key, &template! { CKA_SENSITIVE => false }),
        no,
    );
    refused(
        "weaker",
        session.copy(key, &template! { CKA_EXTRACTABLE => true }),
        no,
    );
    refused(
        "another key",
        session.copy(key, &template! { CKA_VALUE => &[0; 32] }),
        no,
    );
}

#[test]
fn copyable_destroyable_modifiable_bind() {
    let place = Workplace::open();
    let session = place.user();
    let object = session
        .create(&keys::data("x").with(CKA_COPYABLE, false))
        .unwrap();
    let no = &[CKR_ACTION_PROHIBITED];
    refused("C_CopyObject", session.copy(object, &template! {}), no);
    refused(
        "CKA_COPYABLE back to true",
        session.set(object, &template! { CKA_COPYABLE => true }),
        &[CKR_ATTRIBUTE_READ_ONLY],
    );
    if !not_on_softhsm("CKA_COPYABLE cannot be set to false later") {
        let object = session.create(&keys::data("x")).unwrap();
        session
            .set(object, &template! { CKA_COPYABLE => false })
            .expect("one way is open");
    }
    let object = session
        .create(&keys::data("x").with(CKA_MODIFIABLE, false))
        .unwrap();
    refused(
        "C_SetAttributeValue",
        session.set(object, &template! { CKA_LABEL => "y" }),
        &[CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY],
    );
    session
        .destroy(object)
        .expect("not modifiable is not indestructible");
    if not_on_softhsm("it destroys what must not be destroyed") {
        return;
    }
    let object = session
        .create(&keys::data("x").with(CKA_DESTROYABLE, false))
        .unwrap();
    refused("C_DestroyObject", session.destroy(object), no);
    assert_eq!(session.attribute(object, CKA_LABEL).unwrap(), b"x");
}

#[test]
fn reading_fills_what_it_can_and_marks_what_it_cannot() {
    let place = Workplace::open();
    let session = place.user();
    let key = session
        .generate(
            CKM_AES_KEY_GEN,
            &keys::protected_aes()
                .with(CKA_LABEL, "a key")
                .with(CKA_ID, "12"),
        )
        .unwrap();
    let (code, reads) = session.read(
        key,
        &[
            (CKA_LABEL, Some(16)),
            (CKA_VALUE, Some(64)),
            (CKA_CLASS, Some(8)),
            (0x0fff_fff0, Some(8)),
            (CKA_ID, Some(1)),
            (CKA_KEY_TYPE, None),
        ],
    );
    let codes = [
        CKR_ATTRIBUTE_SENSITIVE,
        CKR_ATTRIBUTE_TYPE_INVALID,
        CKR_BUFFER_TOO_SMALL,
    ];
    assert!(codes.contains(&code.0), "{code:?}");
    assert_eq!(
        (reads[0].length, &reads[0].bytes[..5]),
        (5, b"a key".as_slice())
    );
    assert_eq!(reads[1].length, UNAVAILABLE, "sensitive");
    assert_eq!(
        reads[1].bytes,
        vec![0xa5; 64],
        "nothing of a sensitive value is written"
    );
    assert_eq!(reads[2].bytes, CKO_SECRET_KEY.to_ne_bytes());
    assert_eq!(reads[3].length, UNAVAILABLE, "unknown");
    assert_eq!(reads[4].length, UNAVAILABLE, "too small");
    assert_eq!(
        reads[4].bytes,
        [0xa5],
        "nothing is written into a buffer too small"
    );
    assert_eq!(reads[5].length, 8, "a null pointer asks for the length");
    let rows: &[(CK_ATTRIBUTE_TYPE, Option<usize>, CK_RV)] = &[
        (CKA_VALUE, None, CKR_ATTRIBUTE_SENSITIVE),
        (0x0fff_fff0, None, CKR_ATTRIBUTE_TYPE_INVALID),
        (CKA_MODULUS, None, CKR_ATTRIBUTE_TYPE_INVALID),
        (CKA_LABEL, Some(4), CKR_BUFFER_TOO_SMALL),
        (CKA_LABEL, Some(5), CKR_OK),
        (CKA_LABEL, Some(99), CKR_OK),
    ];
    for (kind, room, expected) in rows {
        let (code, _) = session.read(key, &[(*kind, *room)]);
        assert_eq!(code, Rv(*expected), "{kind:#x} with room {room:?}");
    }
}

#[test]
fn the_size_of_an_object() {
    let place = Workplace::open();
    let session = place.user();
    let object = session.create(&keys::data("x")).unwrap();
    match session.object_size(object) {
        Ok(size) => assert!(size > 0, "an object takes room"),
        Err(code) => assert_eq!(code, Rv(CKR_INFORMATION_SENSITIVE)),
    }
    refused(
        "of no object",
        session.object_size(0xdead_beef),
        &[CKR_OBJECT_HANDLE_INVALID],
    );
}

#[test]
fn objects_outlive_the_daemon() {
    let mut place = Workplace::open();
    let session = place.user();
    let rsa = RsaPrivate::fixed(2048);
    let curve = Curve::P384;
    let scalar = curve.fixed_scalar(7);
    let templates = [
        keys::data("kept").with(CKA_PRIVATE, true),
        certificate().with(CKA_LABEL, "kept"),
        rsa.template().with(CKA_LABEL, "kept").with(CKA_SIGN, true),
        keys::ec_private(curve, &scalar).with(CKA_LABEL, "kept"),
        keys::open_secret(CKK_AES)
            .with(CKA_VALUE, &[5; 24])
            .with(CKA_LABEL, "kept"),
    ];
    let read = |session: &Session<'_>, object| {
        let kinds = [
            CKA_CLASS,
            CKA_KEY_TYPE,
            CKA_VALUE,
            CKA_SIGN,
            CKA_SENSITIVE,
            CKA_MODULUS,
        ];
        let mut values: Vec<Result<Vec<u8>, Rv>> = kinds
            .iter()
            .map(|kind| session.attribute(object, *kind))
            .collect();
        if !not_on_softhsm("no CKA_UNIQUE_ID") {
            values.push(Ok(session.attribute(object, CKA_UNIQUE_ID).unwrap()));
        }
        values
    };
    let mut before: Vec<_> = templates
        .iter()
        .map(|template| {
            let object = session
                .create(&template.clone().with(CKA_TOKEN, true))
                .unwrap();
            read(&session, object)
        })
        .collect();
    place.module.finalize().unwrap();
    place.hsm.stop_daemon();
    place.hsm.start_daemon();
    place.hsm.initialize(&place.module);
    place.slot = place.module.slot_labelled("suite").unwrap();
    let session = place.user();
    let found = session.find(&template! { CKA_LABEL => "kept" }).unwrap();
    let mut after: Vec<_> = found.iter().map(|object| read(&session, *object)).collect();
    let text = |rows: &mut Vec<Vec<Result<Vec<u8>, Rv>>>| {
        rows.sort_by_key(|row| format!("{row:?}"));
    };
    text(&mut before);
    text(&mut after);
    assert_eq!(after, before);
}

#[test]
fn templates_of_real_consumers() {
    let place = Workplace::open();
    let session = place.user();
    let curve = Curve::P256;
    // SunPKCS11: the private template is empty, and the key must sign; then it becomes a token object by a copy.
    let (_, private) = session
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &template! { CKA_EC_PARAMS => curve.parameters() },
            &template! {},
        )
        .expect("SunPKCS11");
    session
        .run(Way::Sign, CKM_ECDSA, private, &[1; 32])
        .expect("signing by default");
    let copy = session
        .copy(private, &template! { CKA_TOKEN => true, CKA_ID => "java" })
        .unwrap();
    session
        .run(Way::Sign, CKM_ECDSA, copy, &[1; 32])
        .expect("signing with the copy");
    // SunPKCS11 stores RSA keys that were made in software.
    let rsa = RsaPrivate::fixed(2048);
    let stored = rsa.template().with(CKA_TOKEN, true).with(CKA_ID, "rsa");
    let private = session.create(&stored).expect("SunPKCS11, RSA");
    session
        .run(Way::Sign, CKM_SHA256_RSA_PKCS, private, b"x")
        .expect("signing by default");
    // GnuTLS: no class, no key type.
    session
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &template! {
                CKA_TOKEN => true, CKA_PRIVATE => false, CKA_ID => "g", CKA_VERIFY => true,
                CKA_EC_PARAMS => curve.parameters(),
            },
            &template! {
                CKA_ID => "g", CKA_SIGN => true, CKA_PRIVATE => true, CKA_TOKEN => true, CKA_SENSITIVE => true,
            },
        )
        .expect("GnuTLS");
    // NSS: the mirror of each usage, then CKA_ID set on both, then the label.
    let (public, private) = session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &template! {
                CKA_MODULUS_BITS => 2048, CKA_PUBLIC_EXPONENT => &[1, 0, 1], CKA_TOKEN => true,
                CKA_DERIVE => true, CKA_WRAP => true, CKA_VERIFY => true, CKA_VERIFY_RECOVER => true,
                CKA_ENCRYPT => true,
            },
            &template! {
                CKA_TOKEN => true, CKA_PRIVATE => true, CKA_SENSITIVE => true, CKA_DERIVE => true,
                CKA_UNWRAP => true, CKA_SIGN => true, CKA_DECRYPT => true,
            },
        )
        .expect("NSS");
    for object in [public, private] {
        session
            .set(object, &template! { CKA_ID => &[7; 20] })
            .expect("NSS sets CKA_ID");
        session
            .set(object, &template! { CKA_LABEL => "nss" })
            .expect("NSS sets CKA_LABEL");
    }
    session
        .set(private, &template! { CKA_SUBJECT => &[0x30, 0] })
        .expect("NSS sets CKA_SUBJECT");
    // OpenDNSSEC.
    session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &template! {
                CKA_LABEL => "od", CKA_ID => "od", CKA_KEY_TYPE => CKK_RSA, CKA_VERIFY => true, CKA_ENCRYPT => false,
                CKA_WRAP => false, CKA_TOKEN => true, CKA_MODULUS_BITS => 2048, CKA_PUBLIC_EXPONENT => &[1, 0, 1],
            },
            &template! {
                CKA_LABEL => "od", CKA_ID => "od", CKA_KEY_TYPE => CKK_RSA, CKA_SIGN => true, CKA_DECRYPT => false,
                CKA_UNWRAP => false, CKA_SENSITIVE => true, CKA_TOKEN => true, CKA_PRIVATE => true,
                CKA_EXTRACTABLE => false,
            },
        )
        .expect("OpenDNSSEC");
    // python-pkcs11 spells every usage out, and symkeyutil gives an AES key CKA_SIGN.
    let everything = keys::open_secret(CKK_AES)
        .with(CKA_DERIVE, false)
        .with(CKA_VALUE_LEN, 32);
    session
        .generate(CKM_AES_KEY_GEN, &everything)
        .expect("python-pkcs11");
    let key = session
        .generate(
            CKM_AES_KEY_GEN,
            &template! {
                CKA_VALUE_LEN => 16, CKA_TOKEN => true, CKA_PRIVATE => true, CKA_ENCRYPT => true, CKA_SIGN => true,
            },
        )
        .expect("symkeyutil");
    session
        .set(key, &template! { CKA_LABEL => "symkey" })
        .expect("symkeyutil sets the label");
    // SunPKCS11, AES, and a 98-character label of Oracle with its data object.
    session
        .create(&template! {
            CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_VALUE => &[9; 32], CKA_TOKEN => true,
            CKA_PRIVATE => true, CKA_LABEL => "ORACLE.SECURITY.KM.ENCRYPTION.".to_owned() + &"3".repeat(68),
        })
        .expect("SunPKCS11, AES");
    session
        .create(&template! {
            CKA_CLASS => CKO_DATA, CKA_TOKEN => true, CKA_LABEL => "DATA_OBJECT_SUPPORTED_IDEN",
            CKA_VALUE => &[0, 1, 2, 0xff],
        })
        .expect("Oracle");
}
