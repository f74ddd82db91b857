//! *What lives here:* what is taken of a foreign object, what is changed and what is refused. *What must never live here:* where it goes.
//! *Who calls it:* the test runner.

use strongroom_wire::ck::MechanismType;

use super::*;
use crate::attribute::samples::{SHAPES, created, point, point_der, rsa};
use crate::limits::Limits;
use crate::service::rig::*;

fn judged(template: &[(A, Value)], history: History) -> Verdict {
    start();
    sending(template, |sent| judge(&sent, history)).unwrap()
}

fn good(template: &[(A, Value)], history: History) -> (Attributes, Vec<String>) {
    match judged(template, history) {
        Verdict::Taken {
            attributes,
            changed,
            ..
        } => (attributes, changed),
        Verdict::Refused { rv, reason } => panic!("{rv}: {reason}"),
    }
}

fn refusal(template: &[(A, Value)]) -> (Rv, String) {
    match judged(template, History::Kept) {
        Verdict::Refused { rv, reason } => (rv, reason),
        Verdict::Taken { changed, .. } => panic!("taken: {changed:?}"),
    }
}

/// A key that gives away all that it has.
fn open(shape: Shape) -> Vec<(A, Value)> {
    let more: &[(A, Value)] = if shape.is_secret_holder() {
        &[no(A::SENSITIVE), yes(A::EXTRACTABLE)]
    } else {
        &[]
    };
    with(&with(&created(shape), &[yes(A::TOKEN)]), more)
}

#[test]
fn what_a_token_says_of_its_objects_comes_in_as_it_stood() {
    let house = House::with_limits(Limits::default());
    let user = house.user();
    for shape in SHAPES {
        let original = user.create(&open(shape)).unwrap();
        let said: Vec<(A, Value)> = user
            .all(original)
            .into_iter()
            .filter_map(|(kind, value)| {
                let form = table::row(kind, shape)?.form;
                // An array of attributes is not read as bytes.
                let value = value.ok()?;
                (form != Form::Template).then(|| (kind, parse_value(form, &value).unwrap()))
            })
            .collect();
        assert!(said.len() > 8, "{shape:?}");
        for history in [History::Kept, History::BeginsHere] {
            let (attributes, changed) = good(&said, history);
            assert_eq!(changed, Vec::<String>::new(), "{shape:?}");
            for (kind, value) in &said {
                let row = table::row(*kind, shape).unwrap();
                if *kind == A::UNIQUE_ID {
                    assert_ne!(attributes.value(*kind), Some(value));
                } else if !row.is_material() {
                    assert_eq!(attributes.value(*kind), Some(value), "{shape:?} {kind}");
                }
            }
        }
    }
}

#[test]
fn an_object_with_no_more_than_it_needs_is_what_c_create_object_makes() {
    let house = House::new();
    let user = house.user();
    for shape in SHAPES {
        let template = created(shape);
        let (attributes, changed) = good(&template, History::Kept);
        assert_eq!(changed, Vec::<String>::new());
        let made = user.create(&with(&template, &[yes(A::TOKEN)])).unwrap();
        for (kind, value) in user.all(made) {
            let open = table::row(kind, shape).is_some_and(|row| !row.is_material());
            if let (Ok(value), true) = (value, open && kind != A::UNIQUE_ID) {
                let ours = attributes.value(kind).map(Value::to_bytes);
                assert_eq!(ours, Some(value), "{shape:?} {kind}");
            }
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let ec = created(Shape::EcPrivate);
    let aes = created(Shape::Secret);
    let rsa_key = created(Shape::RsaPrivate);
    let brainpool = bytes(
        A::EC_PARAMS,
        b"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x07",
    );
    let unknown = number(A(0x7777), 1);
    let cases = [
        (vec![], Rv::TEMPLATE_INCOMPLETE, "CKA_CLASS is missing"),
        (
            vec![bytes(A::CLASS, b"x")],
            Rv::ATTRIBUTE_VALUE_INVALID,
            "CKA_CLASS is no number",
        ),
        (
            with(&ec, &[number(A::KEY_TYPE, KeyType::KEA.0)]),
            Rv::ATTRIBUTE_VALUE_INVALID,
            "CKO_PRIVATE_KEY with CKA_KEY_TYPE CKK_KEA is not supported",
        ),
        (
            without(&ec, A::VALUE),
            Rv::TEMPLATE_INCOMPLETE,
            "CKA_VALUE is missing",
        ),
        (
            without(&without(&rsa_key, A::MODULUS), A::PRIVATE_EXPONENT),
            Rv::TEMPLATE_INCOMPLETE,
            "CKA_MODULUS, CKA_PRIVATE_EXPONENT are missing",
        ),
        (
            with(&ec, &[brainpool]),
            Rv::CURVE_NOT_SUPPORTED,
            "CKA_EC_PARAMS names a curve",
        ),
        (
            with(&ec, &[bytes(A::VALUE, &[0])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
            "CKA_VALUE is no private key of the curve",
        ),
        (
            with(&ec, &[bytes(A::EC_POINT, &[4; 65])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
            "CKA_EC_POINT is not the public point",
        ),
        (
            with(&rsa_key, &[bytes(A::PRIME_1, &[7; 128])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
            "CKA_MODULUS, CKA_PUBLIC_EXPONENT",
        ),
        (
            with(&aes, &[bytes(A::VALUE, &[1; 17])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
            "CKA_VALUE does not have a length",
        ),
        (
            with(&aes, &[number(A::VALUE_LEN, 16)]),
            Rv::TEMPLATE_INCONSISTENT,
            "CKA_VALUE_LEN is not the length",
        ),
        (
            with(&aes, &[bytes(A::START_DATE, b"yesterday")]),
            Rv::ATTRIBUTE_VALUE_INVALID,
            "CKA_START_DATE has a value of the wrong form",
        ),
        (
            with(&aes, &[bytes(A::ENCRYPT, b"")]),
            Rv::ATTRIBUTE_VALUE_INVALID,
            "CKA_ENCRYPT has a value of the wrong form",
        ),
        (
            with(&aes, &[inner(A::WRAP_TEMPLATE, &[unknown])]),
            Rv::ATTRIBUTE_TYPE_INVALID,
            "CKA_WRAP_TEMPLATE holds an attribute that is not known here",
        ),
    ];
    for (template, rv, words) in cases {
        let (refused, reason) = refusal(&template);
        assert_eq!(refused, rv, "{reason}");
        assert!(reason.contains(words), "{reason}");
    }
    let twice = [
        aes.clone(),
        vec![bytes(A::LABEL, b"a"), bytes(A::LABEL, b"b")],
    ]
    .concat();
    assert_eq!(refusal(&twice).0, Rv::TEMPLATE_INCONSISTENT);
}

#[test]
fn what_objects_do_not_have_here_is_left_out_and_told() {
    let vendors = A(A::VENDOR_DEFINED.0 + 0x4e53);
    let template = with(
        &created(Shape::EcPrivate),
        &[
            bytes(vendors, b"secret of a vendor"),
            bytes(A::EC_POINT, &point_der()),
            bytes(A::CHECK_VALUE, b""),
            number(A::MODULUS_BITS, UNAVAILABLE_INFORMATION),
            mechanisms(&[]),
            no(A::TOKEN),
        ],
    );
    let (attributes, changed) = good(&template, History::Kept);
    for words in [
        "it is an attribute of its vendor",
        "CKA_EC_POINT was left out: objects of this class and type do not have it here",
        "CKA_CHECK_VALUE was left out",
        "CKA_MODULUS_BITS was left out: objects of this class and type do not have it here, and it says nothing",
        "CKA_ALLOWED_MECHANISMS was left out: it is empty",
        "CKA_TOKEN is true",
    ] {
        assert!(changed.iter().any(|one| one.contains(words)), "{changed:?}");
    }
    assert_eq!(changed.len(), 6, "{changed:?}");
    assert!(!attributes.has(vendors) && !attributes.has(A::ALLOWED_MECHANISMS));
    assert_eq!(attributes.flag(A::TOKEN), Some(true));
    // Components that the source does not have are no fault, and nothing to tell.
    let sparse = with(
        &created(Shape::RsaPrivate),
        &[
            A::PRIME_1,
            A::PRIME_2,
            A::EXPONENT_1,
            A::EXPONENT_2,
            A::COEFFICIENT,
        ]
        .map(|kind| bytes(kind, b"")),
    );
    assert_eq!(good(&sparse, History::Kept).1, Vec::<String>::new());
}

#[test]
fn what_restricts_a_key_stays() {
    let template = with(
        &created(Shape::Secret),
        &[
            mechanisms(&[MechanismType::AES_GCM]),
            inner(A::WRAP_TEMPLATE, &[yes(A::EXTRACTABLE)]),
            inner(A::UNWRAP_TEMPLATE, &[yes(A::SENSITIVE)]),
            no(A::MODIFIABLE),
            no(A::COPYABLE),
            no(A::DESTROYABLE),
            no(A::DECRYPT),
            yes(A::WRAP_WITH_TRUSTED),
            yes(A::TRUSTED),
            bytes(A::END_DATE, b"20301231"),
        ],
    );
    let (attributes, changed) = good(&template, History::BeginsHere);
    assert_eq!(changed, Vec::<String>::new());
    for (kind, value) in &template {
        if *kind != A::VALUE {
            assert_eq!(attributes.value(*kind), Some(value), "{kind}");
        }
    }
}

#[test]
fn history_is_kept_only_where_the_operator_vouches_for_it() {
    let mechanism = number(A::KEY_GEN_MECHANISM, MechanismType::AES_KEY_GEN.0);
    let past = [
        yes(A::LOCAL),
        yes(A::ALWAYS_SENSITIVE),
        yes(A::NEVER_EXTRACTABLE),
        mechanism,
    ];
    let template = with(&created(Shape::Secret), &past);
    let (attributes, changed) = good(&template, History::Kept);
    assert_eq!(changed, Vec::<String>::new());
    for (kind, value) in &past {
        assert_eq!(attributes.value(*kind), Some(value));
    }
    let (attributes, changed) = good(&template, History::BeginsHere);
    assert_eq!(changed.len(), 4);
    assert!(changed.contains(&"CKA_LOCAL is false: the key came from outside".to_owned()));
    assert_eq!(attributes.flag(A::LOCAL), Some(false));
    assert_eq!(attributes.flag(A::ALWAYS_SENSITIVE), Some(false));
    assert_eq!(attributes.flag(A::NEVER_EXTRACTABLE), Some(false));
    assert_eq!(
        attributes.number(A::KEY_GEN_MECHANISM),
        Some(UNAVAILABLE_INFORMATION)
    );
    // Nobody's word makes a key always sensitive that is not sensitive now.
    let now_open = with(&template, &[no(A::SENSITIVE), yes(A::EXTRACTABLE)]);
    let (attributes, changed) = good(&now_open, History::Kept);
    assert_eq!(attributes.flag(A::ALWAYS_SENSITIVE), Some(false));
    assert_eq!(attributes.flag(A::NEVER_EXTRACTABLE), Some(false));
    assert_eq!(changed.len(), 2, "{changed:?}");
}

#[test]
fn what_is_computed_is_computed_anew_and_told_where_it_differs() {
    let other = with(&created(Shape::Secret), &[bytes(A::CHECK_VALUE, b"abc")]);
    let (attributes, changed) = good(&other, History::Kept);
    assert_eq!(
        changed,
        ["CKA_CHECK_VALUE was computed anew: the source has another one"]
    );
    assert_ne!(attributes.bytes(A::CHECK_VALUE), Some(&b"abc"[..]));
    let none_given = with(
        &created(Shape::RsaPublic),
        &[
            bytes(A::PUBLIC_KEY_INFO, b""),
            number(A::MODULUS_BITS, 0),
            bytes(A::UNIQUE_ID, b"of another token"),
        ],
    );
    let (attributes, changed) = good(&none_given, History::Kept);
    assert_eq!(changed, Vec::<String>::new());
    assert_eq!(attributes.number(A::MODULUS_BITS), Some(2048));
    // A bare point gets the frame that the standard asks for.
    let bare = with(
        &created(Shape::CurvePublic),
        &[bytes(A::EC_POINT, &point())],
    );
    let (attributes, changed) = good(&bare, History::Kept);
    assert_eq!(
        changed,
        ["CKA_EC_POINT stands in another form: it means the same"]
    );
    assert_eq!(attributes.bytes(A::EC_POINT), Some(&point_der()[..]));
    // Leading zeros are no difference.
    let Value::Bytes(modulus) = &rsa(&[A::MODULUS])[0].1 else {
        panic!()
    };
    let padded = [&[0][..], modulus].concat();
    let padded = with(&created(Shape::RsaPublic), &[bytes(A::MODULUS, &padded)]);
    assert_eq!(good(&padded, History::Kept).1, Vec::<String>::new());
}

#[test]
fn a_des_key_with_wrong_parity_is_mended_and_told() {
    let key = with(
        &created(Shape::Secret),
        &[
            number(A::KEY_TYPE, KeyType::DES3.0),
            bytes(A::VALUE, &[0x11; 24]),
        ],
    );
    let key = without(&key, A::VALUE_LEN);
    let (_, changed) = good(&key, History::Kept);
    assert!(
        changed
            .contains(&"CKA_VALUE got the parity bits of DES: the key means the same".to_owned()),
        "{changed:?}"
    );
    let right = with(&key, &[bytes(A::VALUE, &[0x01; 24])]);
    let (_, changed) = good(&right, History::Kept);
    assert!(
        !changed.iter().any(|what| what.contains("parity")),
        "{changed:?}"
    );
}
