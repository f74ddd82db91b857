//! *What lives here:* the tests of the table against the standard, and of [`Attributes`]. *What must never live here:* what several
//! tests share (`samples.rs`). *Who calls it:* the test runner.

use std::collections::BTreeMap;

use strongroom_wire::ck::AttributeType as A;
use strongroom_wire::codec;

use super::samples::{SHAPES, identity};
use super::table::*;
use super::*;
use crate::service::rig::Dice;

/// The footnotes of PKCS#11 3.2, 4, Table "Common footnotes", written down once more from the standard and not from the table: shapes,
/// attributes, numbers of footnotes (5 has no meaning here; 8 where the text says that it may be changed).
#[rustfmt::skip]
const STANDARD: &[(&[Shape], &[A], &[u32])] = &[
    (&SHAPES, &[A::CLASS], &[1]),
    (&SHAPES, &[A::TOKEN, A::PRIVATE], &[]),
    (&SHAPES, &[A::MODIFIABLE], &[12]),
    (&SHAPES, &[A::LABEL], &[8]),
    (&SHAPES, &[A::COPYABLE, A::DESTROYABLE], &[8, 12]),
    (&SHAPES, &[A::UNIQUE_ID], &[2, 4, 6]),
    (&[Shape::Data], &[A::APPLICATION, A::OBJECT_ID, A::VALUE], &[8]),
    (CERTIFICATES, &[A::CERTIFICATE_TYPE], &[1]),
    (CERTIFICATES, &[A::TRUSTED], &[8, 10]),
    (CERTIFICATES, &[A::CERTIFICATE_CATEGORY, A::START_DATE, A::END_DATE], &[8]),
    (CERTIFICATES, &[A::CHECK_VALUE, A::PUBLIC_KEY_INFO], &[]),
    (&[Shape::X509Certificate, Shape::WtlsCertificate], &[A::SUBJECT], &[1]),
    (&[Shape::X509Certificate, Shape::WtlsCertificate], &[A::VALUE, A::URL], &[]),
    (&[Shape::X509Certificate], &[A::ID, A::ISSUER, A::SERIAL_NUMBER], &[8]),
    (&[Shape::AttributeCertificate], &[A::OWNER, A::VALUE], &[1]),
    (&[Shape::AttributeCertificate], &[A::AC_ISSUER, A::SERIAL_NUMBER, A::ATTR_TYPES], &[8]),
    (KEYS, &[A::KEY_TYPE], &[1]),
    (KEYS, &[A::ID, A::START_DATE, A::END_DATE, A::DERIVE], &[8]),
    (KEYS, &[A::LOCAL, A::KEY_GEN_MECHANISM], &[2, 4, 6]),
    (KEYS, &[A::ALLOWED_MECHANISMS], &[]),
    (PUBLICS, &[A::SUBJECT, A::ENCRYPT, A::VERIFY, A::VERIFY_RECOVER, A::WRAP], &[8]),
    (PUBLICS, &[A::TRUSTED], &[8, 10]),
    (PUBLICS, &[A::WRAP_TEMPLATE, A::PUBLIC_KEY_INFO], &[]),
    (PRIVATES, &[A::SUBJECT, A::DECRYPT, A::SIGN, A::SIGN_RECOVER, A::UNWRAP], &[8]),
    (PRIVATES, &[A::SENSITIVE], &[8, 11]),
    (PRIVATES, &[A::EXTRACTABLE], &[8, 12]),
    (PRIVATES, &[A::WRAP_WITH_TRUSTED], &[8, 11]),
    (PRIVATES, &[A::ALWAYS_SENSITIVE, A::NEVER_EXTRACTABLE], &[2, 4, 6]),
    (PRIVATES, &[A::UNWRAP_TEMPLATE, A::DERIVE_TEMPLATE, A::ALWAYS_AUTHENTICATE, A::PUBLIC_KEY_INFO], &[]),
    (SECRETS, &[A::ENCRYPT, A::DECRYPT, A::SIGN, A::VERIFY, A::WRAP, A::UNWRAP], &[8]),
    (SECRETS, &[A::SENSITIVE], &[8, 11]),
    (SECRETS, &[A::EXTRACTABLE], &[8, 12]),
    (SECRETS, &[A::WRAP_WITH_TRUSTED], &[8, 11]),
    (SECRETS, &[A::TRUSTED], &[8, 10]),
    (SECRETS, &[A::ALWAYS_SENSITIVE, A::NEVER_EXTRACTABLE], &[2, 4, 6]),
    (SECRETS, &[A::CHECK_VALUE, A::WRAP_TEMPLATE, A::UNWRAP_TEMPLATE, A::DERIVE_TEMPLATE], &[]),
    (SECRETS, &[A::VALUE], &[1, 4, 6, 7]),
    // Of AES keys it has footnote 6 as well; tools of the field give it all the same, and it is compared with what came out.
    (&[Shape::Secret], &[A::VALUE_LEN], &[2, 3]),
    (&[Shape::RsaPublic], &[A::MODULUS], &[1, 4]),
    (&[Shape::RsaPublic], &[A::MODULUS_BITS], &[2, 3]),
    (&[Shape::RsaPublic], &[A::PUBLIC_EXPONENT], &[1]),
    (&[Shape::RsaPrivate], &[A::MODULUS], &[1, 4, 6]),
    (&[Shape::RsaPrivate], &[A::PUBLIC_EXPONENT], &[4, 6]),
    (&[Shape::RsaPrivate], &[A::PRIVATE_EXPONENT], &[1, 4, 6, 7]),
    (&[Shape::RsaPrivate], &[A::PRIME_1, A::PRIME_2, A::EXPONENT_1, A::EXPONENT_2, A::COEFFICIENT], &[4, 6, 7]),
    (&[Shape::CurvePublic], &[A::EC_PARAMS], &[1, 3]),
    (&[Shape::CurvePublic], &[A::EC_POINT], &[1, 4]),
    (CURVES, &[A::EC_PARAMS], &[1, 4, 6]),
    (CURVES, &[A::VALUE], &[1, 4, 6, 7]),
    (&[Shape::DsaPublic, Shape::DhPublic], &[A::PRIME, A::BASE], &[1, 3]),
    (&[Shape::DsaPublic], &[A::SUBPRIME], &[1, 3]),
    (&[Shape::DsaPublic, Shape::DhPublic], &[A::VALUE], &[1, 4]),
    (&[Shape::DsaPrivate, Shape::DhPrivate], &[A::PRIME, A::BASE], &[1, 4, 6]),
    (&[Shape::DsaPrivate], &[A::SUBPRIME], &[1, 4, 6]),
    (&[Shape::DsaPrivate, Shape::DhPrivate], &[A::VALUE], &[1, 4, 6, 7]),
    (&[Shape::DhPrivate], &[A::VALUE_BITS], &[2, 6]),
    (DOMAINS, &[A::KEY_TYPE], &[1]),
    (DOMAINS, &[A::LOCAL], &[2, 4, 6]),
    (DOMAINS, &[A::PRIME, A::BASE], &[1, 4]),
    (DOMAINS, &[A::PRIME_BITS], &[2, 3]),
    (&[Shape::DsaParameters], &[A::SUBPRIME], &[1, 4]),
];

const CERTIFICATES: &[Shape] = &[
    Shape::X509Certificate,
    Shape::AttributeCertificate,
    Shape::WtlsCertificate,
];
const PUBLICS: &[Shape] = &[
    Shape::RsaPublic,
    Shape::CurvePublic,
    Shape::DsaPublic,
    Shape::DhPublic,
];
const SECRETS: &[Shape] = &[Shape::Secret, Shape::DesSecret];
const CURVES: &[Shape] = &[
    Shape::EcPrivate,
    Shape::EdwardsPrivate,
    Shape::MontgomeryPrivate,
];
const PRIVATES: &[Shape] = &[
    Shape::RsaPrivate,
    Shape::DsaPrivate,
    Shape::DhPrivate,
    Shape::EcPrivate,
    Shape::EdwardsPrivate,
    Shape::MontgomeryPrivate,
];
const KEYS: &[Shape] = &[
    Shape::RsaPublic,
    Shape::CurvePublic,
    Shape::RsaPrivate,
    Shape::EcPrivate,
    Shape::EdwardsPrivate,
    Shape::MontgomeryPrivate,
    Shape::Secret,
    Shape::DesSecret,
    Shape::DsaPublic,
    Shape::DhPublic,
    Shape::DsaPrivate,
    Shape::DhPrivate,
];
const DOMAINS: &[Shape] = &[Shape::DsaParameters, Shape::DhParameters];

const FOOTNOTES: [(u32, u32); 10] = [
    (1, CREATE_NEEDS),
    (2, CREATE_REFUSES),
    (3, GENERATE_NEEDS),
    (4, GENERATE_REFUSES),
    (6, UNWRAP_REFUSES),
    (7, GUARDED),
    (8, CHANGEABLE),
    (10, OFFICER_SETS),
    (11, STAYS_TRUE),
    (12, STAYS_FALSE),
];

#[test]
fn the_table_has_the_footnotes_of_the_standard() {
    for (shapes, kinds, wanted) in STANDARD {
        for (shape, kind) in shapes
            .iter()
            .flat_map(|s| kinds.iter().map(move |k| (s, k)))
        {
            let row = row(*kind, *shape).unwrap_or_else(|| panic!("{shape:?} has no {kind}"));
            let has = FOOTNOTES.iter().filter(|(_, rule)| row.has(*rule));
            let has: Vec<u32> = has.map(|(footnote, _)| *footnote).collect();
            assert_eq!(has, *wanted, "{kind} of {shape:?}");
        }
    }
}

#[test]
fn every_shape_follows_from_its_class_and_type() {
    for shape in SHAPES {
        let (class, key_type, certificate) = identity(shape);
        assert_eq!(Shape::of(class, key_type, certificate), Some(shape));
        assert_eq!(
            shape.is_secret_holder(),
            PRIVATES.contains(&shape) || SECRETS.contains(&shape)
        );
    }
    use strongroom_wire::ck::{KeyType, ObjectClass};
    for (class, key_type) in [
        (ObjectClass::SECRET_KEY, Some(KeyType::RSA)),
        (ObjectClass::SECRET_KEY, Some(KeyType::RC4)),
        (ObjectClass::PUBLIC_KEY, Some(KeyType::AES)),
        (ObjectClass::PRIVATE_KEY, None),
        (ObjectClass::CERTIFICATE, None),
        (ObjectClass(0x8000_0001), None),
    ] {
        assert_eq!(
            Shape::of(class, key_type, None),
            None,
            "{class} {key_type:?}"
        );
    }
}

#[test]
fn attributes_are_sorted_and_the_later_of_two_counts() {
    let label = |text: &[u8]| (A::LABEL, Value::Bytes(text.into()));
    let mut attributes = Attributes::new(vec![
        label(b"first"),
        (A::CLASS, Value::Number(4)),
        label(b"second"),
    ]);
    assert_eq!(attributes.bytes(A::LABEL), Some(&b"second"[..]));
    attributes.set(A::ID, Value::Bytes((*b"id").into()));
    attributes.set(A::LABEL, Value::Bytes((*b"third").into()));
    let kinds: Vec<A> = attributes.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [A::CLASS, A::LABEL, A::ID]);
    assert_eq!(attributes.bytes(A::LABEL), Some(&b"third"[..]));
    attributes.remove(A::LABEL);
    assert!(!attributes.has(A::LABEL));
}

#[test]
fn a_value_is_seen_in_its_own_form_only() {
    let attributes = Attributes::new(vec![
        (A::TOKEN, Value::Flag(true)),
        (A::CLASS, Value::Number(1)),
        (A::LABEL, Value::Bytes([1].into())),
        (A::WRAP_TEMPLATE, Value::Template(Box::default())),
        (A::ALLOWED_MECHANISMS, Value::Numbers([1].into())),
    ]);
    for (kind, _) in attributes.iter() {
        let seen = [
            attributes.flag(kind).is_some(),
            attributes.number(kind).is_some(),
            attributes.bytes(kind).is_some(),
            attributes.template(kind).is_some(),
            attributes.numbers(kind).is_some(),
        ];
        assert_eq!(seen.iter().filter(|seen| **seen).count(), 1, "{kind}");
    }
}

#[test]
fn every_boolean_attribute_of_the_table_is_kept_as_a_bit() {
    let mut booleans: Vec<A> = TABLE
        .iter()
        // But for ours, whose number is large and which few keys have.
        .filter(|row| row.form == Form::Flag && row.kind < A::VENDOR_DEFINED)
        .map(|row| row.kind)
        .collect();
    booleans.sort();
    booleans.dedup();
    assert_eq!(FLAGS.as_slice(), booleans);
}

#[test]
fn attributes_are_what_a_map_of_them_would_be() {
    let kinds = [
        A::CLASS,
        A::TOKEN,
        A::LABEL,
        A::SENSITIVE,
        A::DECAPSULATE,
        A(1 << 31),
    ];
    let values = [
        Value::Flag(true),
        Value::Flag(false),
        Value::Number(7),
        Value::Bytes([1, 2].into()),
        Value::Numbers([3].into()),
    ];
    let mut dice = Dice::new(1);
    let (mut attributes, mut model) = (Attributes::default(), BTreeMap::new());
    for _ in 0..2000 {
        let kind = dice.pick(&kinds);
        if dice.roll(3) == 0 {
            attributes.remove(kind);
            model.remove(&kind);
        } else {
            let value = dice.pick(&values);
            attributes.set(kind, value.clone());
            model.insert(kind, value);
        }
        let row: Vec<(A, Value)> = model.clone().into_iter().collect();
        let held: Vec<(A, Value)> = attributes.iter().map(|(k, v)| (k, v.clone())).collect();
        assert_eq!(held, row);
        assert_eq!(
            (attributes.len(), attributes.is_empty()),
            (row.len(), row.is_empty())
        );
        for kind in kinds {
            assert_eq!(attributes.value(kind), model.get(&kind));
        }
        // Stored as the row is, and read back the same.
        let (mut stored, mut of_row) = (Vec::new(), Vec::new());
        codec::encode(&attributes, &mut stored).unwrap();
        codec::encode(&row, &mut of_row).unwrap();
        assert_eq!(stored, of_row);
        assert_eq!(codec::decode::<Attributes>(&stored).unwrap(), attributes);
    }
}

#[test]
fn rows_of_a_shape_are_those_of_the_table() {
    for shape in SHAPES {
        let mut walked: Vec<A> = TABLE
            .iter()
            .filter(|row| row.shapes & shape.bit() != 0)
            .map(|row| row.kind)
            .collect();
        walked.sort();
        let held: Vec<A> = rows(shape).iter().map(|row| row.kind).collect();
        assert_eq!(held, walked, "{shape:?}");
        for one in TABLE {
            let found = row(one.kind, shape).map(std::ptr::from_ref);
            let wanted = TABLE
                .iter()
                .find(|row| row.kind == one.kind && row.shapes & shape.bit() != 0);
            assert_eq!(found, wanted.map(std::ptr::from_ref));
            assert_eq!(
                form(one.kind),
                TABLE
                    .iter()
                    .find(|row| row.kind == one.kind)
                    .map(|row| row.form)
            );
        }
    }
    assert_eq!(form(A(1 << 40)), None);
}
