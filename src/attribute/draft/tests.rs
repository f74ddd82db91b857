//! *What lives here:* the tests of `draft.rs`: every row of the table walked for every intent, and what the token computes. *What must
//! never live here:* what several tests share (`samples.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{AttributeType as A, UNAVAILABLE_INFORMATION};

use super::super::table::TABLE;
use super::*;
use crate::attribute::samples::{
    GENERATED, SHAPES, class_and_type, created, generated, identity, some,
};
use crate::attribute::table::{Form, Preset};
use crate::attribute::template::{Copy, Create, Generate, Set, Unwrap};
use crate::service::rig::{bytes, inner, no, number, sending, start, with, without, yes};

type Sent = Vec<(A, Value)>;

fn parse_for<I: Intent>(sent: &[(A, Value)], implied: Implied<'_>, asker: Asker) -> Result<Draft> {
    start();
    sending(sent, |sent| {
        Draft::parse(&Template::<I>::parse(&sent)?, implied, asker)
    })
}

fn parse<I: Intent>(sent: &[(A, Value)], implied: Implied<'_>) -> Result<Draft> {
    parse_for::<I>(sent, implied, Asker::Other)
}

fn create(sent: &[(A, Value)]) -> Result<Draft> {
    parse::<Create>(sent, Implied::default())
}

fn implied(shape: Shape) -> Implied<'static> {
    let (class, key_type, _) = identity(shape);
    Implied {
        class: Some(class),
        key_type,
        imposed: &[],
    }
}

fn rows(shape: Shape) -> impl Iterator<Item = &'static Row> {
    TABLE
        .iter()
        .filter(move |row| row.shapes & shape.bit() != 0)
}

/// Walks every row of a shape: needed, refused or taken.
fn walk<I: Intent>(shape: Shape, good: &Sent, implied: Implied<'_>) {
    parse::<I>(good, implied).unwrap();
    let said_otherwise = |kind| implied.class.is_some() && matches!(kind, A::CLASS | A::KEY_TYPE);
    for row in rows(shape) {
        let name = format!("{} of {shape:?}", row.kind);
        if row.has(I::NEEDS) && !said_otherwise(row.kind) {
            let outcome = parse::<I>(&without(good, row.kind), implied).unwrap_err();
            assert_eq!(outcome, Error::TemplateIncomplete, "{name}");
        }
        if matches!(row.kind, A::CLASS | A::KEY_TYPE | A::CERTIFICATE_TYPE) {
            continue;
        }
        let outcome = parse::<I>(&with(good, &[(row.kind, some(row.form))]), implied);
        if row.has(I::REFUSES) {
            assert_eq!(outcome.unwrap_err(), Error::AttributeReadOnly, "{name}");
        } else {
            let taken = outcome.unwrap();
            if !row.is_material() {
                assert_eq!(
                    taken.attributes.value(row.kind),
                    Some(&some(row.form)),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn every_attribute_is_needed_refused_or_taken_when_an_object_is_created() {
    for shape in SHAPES {
        walk::<Create>(shape, &created(shape), Implied::default());
    }
}

#[test]
fn every_attribute_is_needed_refused_or_taken_when_a_key_is_generated() {
    for shape in GENERATED {
        walk::<Generate>(shape, &generated(shape), implied(shape));
    }
}

#[test]
fn every_attribute_is_refused_or_taken_when_a_key_is_unwrapped() {
    for shape in GENERATED
        .into_iter()
        .filter(|shape| shape.is_secret_holder())
    {
        walk::<Unwrap>(shape, &vec![], implied(shape));
    }
}

#[test]
fn what_nobody_says_is_preset() {
    for shape in SHAPES {
        let good = created(shape);
        let draft = create(&good).unwrap();
        for row in rows(shape).filter(|row| !good.iter().any(|(kind, _)| *kind == row.kind)) {
            let wanted = match row.preset {
                _ if row.is_material() => None,
                Preset::Absent => None,
                Preset::False => Some(Value::Flag(false)),
                Preset::True => Some(Value::Flag(true)),
                Preset::Empty => Some(Value::Bytes(Box::default())),
                Preset::Number(number) => Some(Value::Number(number)),
            };
            let name = format!("{} of {shape:?}", row.kind);
            assert_eq!(draft.attributes.value(row.kind), wanted.as_ref(), "{name}");
        }
    }
}

/// The presets that applications of the field rely on, and those that keep secrets when nobody thinks of it.
#[test]
fn presets_are_those_that_applications_rely_on() {
    for (shape, on, off) in [
        (
            Shape::EcPrivate,
            &[
                A::SIGN,
                A::PRIVATE,
                A::SENSITIVE,
                A::MODIFIABLE,
                A::COPYABLE,
                A::DESTROYABLE,
            ][..],
            &[
                A::TOKEN,
                A::EXTRACTABLE,
                A::DECRYPT,
                A::UNWRAP,
                A::DERIVE,
                A::ALWAYS_AUTHENTICATE,
            ][..],
        ),
        (
            Shape::RsaPrivate,
            &[A::SIGN, A::DECRYPT, A::UNWRAP, A::PRIVATE, A::SENSITIVE],
            &[A::TOKEN, A::EXTRACTABLE, A::DERIVE, A::WRAP_WITH_TRUSTED],
        ),
        (
            Shape::Secret,
            &[
                A::ENCRYPT,
                A::DECRYPT,
                A::SIGN,
                A::VERIFY,
                A::WRAP,
                A::UNWRAP,
                A::PRIVATE,
                A::SENSITIVE,
            ],
            &[
                A::TOKEN,
                A::EXTRACTABLE,
                A::DERIVE,
                A::TRUSTED,
                A::WRAP_WITH_TRUSTED,
            ],
        ),
        (
            Shape::RsaPublic,
            &[A::VERIFY, A::ENCRYPT, A::WRAP, A::MODIFIABLE],
            &[A::TOKEN, A::PRIVATE, A::TRUSTED],
        ),
        (Shape::Data, &[A::MODIFIABLE], &[A::TOKEN, A::PRIVATE]),
        (
            Shape::X509Certificate,
            &[A::MODIFIABLE],
            &[A::TOKEN, A::PRIVATE, A::TRUSTED],
        ),
    ] {
        let draft = create(&created(shape)).unwrap();
        for kind in on {
            assert_eq!(
                draft.attributes.flag(*kind),
                Some(true),
                "{kind} of {shape:?}"
            );
        }
        for kind in off {
            assert_eq!(
                draft.attributes.flag(*kind),
                Some(false),
                "{kind} of {shape:?}"
            );
        }
    }
}

/// Some value for an attribute as it is when an object exists.
fn change<I: Intent>(
    shape: Shape,
    before: &Attributes,
    sent: &[(A, Value)],
    change: Change,
    asker: Asker,
) -> Result<Attributes> {
    sending(sent, |sent| {
        let template = Template::<I>::parse(&sent)?;
        changed(shape, before, &template, change, asker).map(|(after, _)| after)
    })
}

/// What a release policy asks of other attributes is judged with them all (`chapter/release/tests.rs`).
fn of_release(kind: A) -> bool {
    matches!(
        kind,
        A::STRONGROOM_RELEASE_POLICY | A::STRONGROOM_RELEASE_POLICY_IMMUTABLE
    )
}

#[test]
fn every_attribute_can_be_changed_or_not_in_place_and_in_a_copy() {
    for shape in SHAPES {
        let before = create(&created(shape)).unwrap().into_attributes();
        for row in rows(shape).filter(|row| !of_release(row.kind)) {
            let name = format!("{} of {shape:?}", row.kind);
            let value = match row.form {
                // The same value once more, so that nothing but changeability is judged.
                Form::Flag => Value::Flag(before.flag(row.kind).unwrap_or(false)),
                form => some(form),
            };
            let sent = [(row.kind, value.clone())];
            let set = change::<Set>(shape, &before, &sent, Change::InPlace, Asker::Other);
            let copied = change::<Copy>(shape, &before, &sent, Change::Copy, Asker::Other);
            for (outcome, allowed) in [
                (set, row.has(CHANGEABLE)),
                (copied, row.has(CHANGEABLE | COPY_CHANGES)),
            ] {
                match outcome {
                    Ok(after) if allowed => {
                        assert!(
                            row.is_material() || after.value(row.kind) == Some(&value),
                            "{name}"
                        );
                    }
                    Err(error) if !allowed => assert_eq!(error, Error::AttributeReadOnly, "{name}"),
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn sticky_flags_go_one_way_and_trust_is_the_officers() {
    for shape in SHAPES {
        let template = created(shape);
        for row in rows(shape).filter(|row| row.form == Form::Flag && !of_release(row.kind)) {
            let mut before = create(&template).unwrap().into_attributes();
            for (was, to) in [(false, false), (false, true), (true, false), (true, true)] {
                before.set(row.kind, Value::Flag(was));
                for (way, asker) in [
                    (Change::InPlace, Asker::Other),
                    (Change::InPlace, Asker::Officer),
                    (Change::Copy, Asker::Other),
                    (Change::Copy, Asker::Officer),
                ] {
                    let copies = way == Change::Copy && row.has(COPY_CHANGES);
                    let allowed = (row.has(CHANGEABLE) || copies)
                        && !(row.has(STAYS_TRUE) && was && !to)
                        && !(row.has(STAYS_FALSE) && !was && to)
                        && !(row.has(OFFICER_SETS) && asker == Asker::Other && !was && to);
                    let sent = [(row.kind, Value::Flag(to))];
                    let outcome = change::<Set>(shape, &before, &sent, way, asker);
                    let name = format!("{} of {shape:?} {was} to {to} {way:?} {asker:?}", row.kind);
                    assert_eq!(outcome.is_ok(), allowed, "{name}");
                }
            }
        }
    }
}

#[test]
fn only_the_officer_makes_what_is_trusted() {
    for shape in [
        Shape::X509Certificate,
        Shape::RsaPublic,
        Shape::CurvePublic,
        Shape::Secret,
    ] {
        let sent = with(&created(shape), &[yes(A::TRUSTED)]);
        let parse = |asker| parse_for::<Create>(&sent, Implied::default(), asker);
        assert_eq!(parse(Asker::Other).unwrap_err(), Error::AttributeReadOnly);
        assert!(parse(Asker::Officer).unwrap().is(A::TRUSTED));
    }
}

#[test]
fn an_imposed_template_adds_and_is_not_contradicted() {
    let imposed = [yes(A::EXTRACTABLE), bytes(A::LABEL, b"imposed")];
    let implied = Implied {
        imposed: &imposed,
        ..implied(Shape::Secret)
    };
    let draft = parse::<Unwrap>(&[yes(A::TOKEN), yes(A::EXTRACTABLE)], implied).unwrap();
    assert!(draft.is(A::EXTRACTABLE) && draft.is(A::TOKEN));
    assert_eq!(draft.attributes.bytes(A::LABEL), Some(&b"imposed"[..]));
    for conflict in [no(A::EXTRACTABLE), bytes(A::LABEL, b"mine")] {
        let outcome = parse::<Unwrap>(&[conflict], implied).unwrap_err();
        assert_eq!(outcome, Error::TemplateInconsistent);
    }
}

#[test]
fn an_imposed_template_gives_class_and_type_or_contradicts_them() {
    let imposed = class_and_type(Shape::Secret);
    let implied = Implied {
        imposed: &imposed,
        ..Implied::default()
    };
    assert_eq!(
        parse::<Unwrap>(&[], implied).unwrap().shape(),
        Shape::Secret
    );
    for conflict in [
        number(A::CLASS, 3),
        number(A::KEY_TYPE, KeyType::GENERIC_SECRET.0),
    ] {
        let outcome = parse::<Unwrap>(&[conflict], implied).unwrap_err();
        assert_eq!(outcome, Error::TemplateInconsistent);
    }
}

/// What no application may say, no application may have said by an array in another key.
#[test]
fn an_imposed_template_gives_no_secret_no_trust_and_nothing_the_token_says() {
    for kind in [
        bytes(A::VALUE, &[1; 16]),
        yes(A::TRUSTED),
        yes(A::LOCAL),
        yes(A::ALWAYS_SENSITIVE),
        bytes(A::UNIQUE_ID, b"mine"),
        bytes(A::MODULUS, b"of another shape"),
    ] {
        let imposed = [kind];
        let implied = Implied {
            imposed: &imposed,
            ..implied(Shape::Secret)
        };
        let outcome = parse::<Unwrap>(&[], implied).map(|_| ());
        assert_eq!(outcome, Err(Error::TemplateInconsistent), "{imposed:?}");
    }
}

#[test]
fn class_and_type_are_needed_and_not_contradicted() {
    let secret = created(Shape::Secret);
    for kind in [A::CLASS, A::KEY_TYPE] {
        let outcome = create(&without(&secret, kind)).unwrap_err();
        assert_eq!(outcome, Error::TemplateIncomplete);
    }
    let certificate = without(&created(Shape::X509Certificate), A::CERTIFICATE_TYPE);
    assert_eq!(create(&certificate).unwrap_err(), Error::TemplateIncomplete);
    for unknown in [
        number(A::CLASS, 0x8000_0001),
        number(A::KEY_TYPE, KeyType::RC4.0),
    ] {
        let outcome = create(&with(&secret, &[unknown])).unwrap_err();
        assert_eq!(outcome, Error::AttributeValueInvalid);
    }
    for wrong in [number(A::CLASS, 3), number(A::KEY_TYPE, 0)] {
        let sent = with(&generated(Shape::Secret), &[wrong]);
        let outcome = parse::<Generate>(&sent, implied(Shape::Secret)).unwrap_err();
        assert_eq!(outcome, Error::TemplateInconsistent);
    }
}

#[test]
fn an_attribute_of_another_shape_is_refused() {
    for (shape, foreign) in [
        (Shape::Secret, bytes(A::MODULUS, b"modulus")),
        (Shape::Data, bytes(A::ID, b"id")),
        (Shape::RsaPublic, yes(A::SENSITIVE)),
        (Shape::CurvePublic, yes(A::SIGN)),
        (Shape::X509Certificate, yes(A::ENCRYPT)),
    ] {
        let outcome = create(&with(&created(shape), &[foreign])).unwrap_err();
        assert_eq!(outcome, Error::AttributeTypeInvalid, "{shape:?}");
    }
}

#[test]
fn origin_decides_what_a_key_says_of_its_past() {
    let derived = |always_sensitive, never_extractable| Origin::Derived {
        always_sensitive,
        never_extractable,
    };
    let generated = Origin::Generated(MechanismType::AES_KEY_GEN);
    for (origin, sensitive, extractable, local, always, never) in [
        (Origin::Foreign, true, false, false, false, false),
        (generated, true, false, true, true, true),
        (generated, false, false, true, false, true),
        (generated, true, true, true, true, false),
        (derived(true, true), true, false, false, true, true),
        (derived(true, true), false, true, false, false, false),
        (derived(false, false), true, false, false, false, false),
    ] {
        let said = [
            (A::SENSITIVE, Value::Flag(sensitive)),
            (A::EXTRACTABLE, Value::Flag(extractable)),
        ];
        let mut draft = create(&with(&created(Shape::Secret), &said)).unwrap();
        draft.state_origin(origin);
        let is = |kind| draft.attributes.flag(kind).unwrap();
        let past = (
            is(A::LOCAL),
            is(A::ALWAYS_SENSITIVE),
            is(A::NEVER_EXTRACTABLE),
        );
        assert_eq!(past, (local, always, never), "{origin:?}");
        let mechanism = draft.attributes.number(A::KEY_GEN_MECHANISM).unwrap();
        let wanted = if local {
            MechanismType::AES_KEY_GEN.0
        } else {
            UNAVAILABLE_INFORMATION
        };
        assert_eq!(mechanism, wanted);
    }
}

#[test]
fn what_is_no_key_has_no_past() {
    for shape in SHAPES
        .into_iter()
        .filter(|shape| !GENERATED.contains(shape))
    {
        let mut draft = create(&created(shape)).unwrap();
        draft.state_origin(Origin::Foreign);
        assert!(!draft.attributes.has(A::KEY_GEN_MECHANISM), "{shape:?}");
        assert!(!draft.attributes.has(A::ALWAYS_SENSITIVE), "{shape:?}");
    }
}

/// A zero block under AES-128 with the key of FIPS 197, appendix C.1, computed with another implementation; SHA-1 of "abc" (FIPS 180-4).
#[test]
fn check_values_are_computed_and_compared() {
    let key: Vec<u8> = (0..16).collect();
    let aes = with(&created(Shape::Secret), &[bytes(A::VALUE, &key)]);
    let generic = [
        number(A::KEY_TYPE, KeyType::GENERIC_SECRET.0),
        bytes(A::VALUE, b"abc"),
    ];
    let generic = with(&created(Shape::Secret), &generic);
    let certificate = with(&created(Shape::X509Certificate), &[bytes(A::VALUE, b"abc")]);
    for (template, wanted) in [
        (aes, [0xc6, 0xa1, 0x3b]),
        (generic, [0xa9, 0x99, 0x3e]),
        (certificate, [0xa9, 0x99, 0x3e]),
    ] {
        let check = |given: Option<&[u8]>| {
            let more: Vec<_> = given
                .map(|given| bytes(A::CHECK_VALUE, given))
                .into_iter()
                .collect();
            let mut draft = create(&with(&template, &more)).unwrap();
            draft.complete_value()?;
            Ok::<_, Error>(draft.attributes.bytes(A::CHECK_VALUE).unwrap().to_vec())
        };
        assert_eq!(check(None).unwrap(), wanted);
        assert_eq!(check(Some(&wanted)).unwrap(), wanted);
        assert_eq!(check(Some(b"")).unwrap(), b"", "told to have none");
        assert_eq!(
            check(Some(b"bad")).unwrap_err(),
            Error::AttributeValueInvalid
        );
    }
}

#[test]
fn a_secret_key_has_a_length_of_its_type() {
    for (key_type, length, fits) in [
        (KeyType::AES, 16, true),
        (KeyType::AES, 24, true),
        (KeyType::AES, 32, true),
        (KeyType::AES, 0, false),
        (KeyType::AES, 15, false),
        (KeyType::AES, 64, false),
        (KeyType::GENERIC_SECRET, 0, false),
        (KeyType::GENERIC_SECRET, 1, true),
        (KeyType::SHA256_HMAC, SECRET_KEY_BYTES_MAX, true),
        (KeyType::SHA256_HMAC, SECRET_KEY_BYTES_MAX + 1, false),
    ] {
        let more = [
            number(A::KEY_TYPE, key_type.0),
            bytes(A::VALUE, &vec![7; length]),
        ];
        let mut draft = create(&with(&created(Shape::Secret), &more)).unwrap();
        let outcome = draft.complete_value();
        if fits {
            outcome.unwrap();
            assert_eq!(draft.attributes.number(A::VALUE_LEN), Some(length as u64));
        } else {
            assert_eq!(
                outcome,
                Err(Error::AttributeValueInvalid),
                "{key_type} {length}"
            );
        }
    }
}

#[test]
fn a_certificate_has_its_value_or_its_address() {
    let without_value = without(&created(Shape::X509Certificate), A::VALUE);
    let complete = |more: &[(A, Value)]| {
        create(&with(&without_value, more))
            .unwrap()
            .complete_value()
    };
    assert_eq!(complete(&[]), Err(Error::TemplateIncomplete));
    let address = bytes(A::URL, b"https://example.org/");
    assert_eq!(
        complete(std::slice::from_ref(&address)),
        Err(Error::TemplateIncomplete)
    );
    let subject = bytes(A::HASH_OF_SUBJECT_PUBLIC_KEY, &[1; 20]);
    let issuer = bytes(A::HASH_OF_ISSUER_PUBLIC_KEY, &[2; 20]);
    complete(&[address, subject, issuer]).unwrap();
    complete(&[bytes(A::VALUE, b"a certificate")]).unwrap();
}

#[test]
fn computed_values_that_were_given_must_be_right() {
    let info = bytes(A::PUBLIC_KEY_INFO, b"told");
    let mut draft = create(&with(&created(Shape::RsaPublic), &[info])).unwrap();
    let outcome = draft.set_computed(A::PUBLIC_KEY_INFO, b"computed");
    assert_eq!(outcome, Err(Error::AttributeValueInvalid));
    draft.set_computed(A::PUBLIC_KEY_INFO, b"told").unwrap();
    draft.set_computed_number(A::MODULUS_BITS, 2048).unwrap();
    let outcome = draft.set_computed_number(A::MODULUS_BITS, 2047);
    assert_eq!(outcome, Err(Error::TemplateInconsistent));
}

#[test]
fn unique_ids_are_32_digits_and_differ() {
    start();
    let ids: Vec<Value> = (0..100).map(|_| unique_id().unwrap()).collect();
    for (at, id) in ids.iter().enumerate() {
        let Value::Bytes(digits) = id else {
            panic!("no bytes")
        };
        assert!(digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit));
        assert!(!ids[..at].contains(id));
    }
}

#[test]
fn a_draft_shows_no_secret_when_it_is_printed() {
    let draft = create(&with(
        &created(Shape::Secret),
        &[bytes(A::VALUE, b"SECRETSECRETSECR")],
    ));
    let shown = format!("{:?}", draft.unwrap());
    assert!(
        !shown.contains("SECRET") && !shown.contains("83, 69, 67"),
        "{shown}"
    );
}

#[test]
fn leading_zeros_of_a_component_are_not_kept() {
    let mut draft = create(&created(Shape::EcPrivate)).unwrap();
    draft.set_secret(A::VALUE, &[1, 2]).unwrap();
    let padded = with(
        &created(Shape::EcPrivate),
        &[bytes(A::VALUE, &[0, 0, 1, 2])],
    );
    let padded = create(&padded).unwrap();
    let value = |draft: &Draft| {
        let material = draft.material().unwrap().unwrap();
        material.with(A::VALUE, |value| value.unwrap().to_vec())
    };
    assert_eq!(value(&padded), value(&draft));
    let of_secret = inner(A::UNWRAP_TEMPLATE, &[]);
    let kept = with(
        &created(Shape::Secret),
        &[bytes(A::VALUE, &[0; 16]), of_secret],
    );
    assert_eq!(
        value(&create(&kept).unwrap()),
        [0; 16],
        "a secret is no number"
    );
}
