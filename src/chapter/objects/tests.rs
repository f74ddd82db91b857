//! *What lives here:* the tests of `objects.rs`: objects as applications make, find and change them (PKCS#11 3.2, 5.7). *What must
//! never live here:* what several tests share (`service/rig.rs`, `attribute/samples.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{
    AttributeType as A, KeyType, MechanismType as M, ObjectClass, Rv, UserType,
};
use strongroom_wire::codec::List;
use strongroom_wire::request::Request;
use strongroom_wire::response::{AttributeAnswer, Body};

use super::*;
use crate::attribute::samples::{
    RSA_PRIVATE, SHAPES, class_and_type, created, p256, point, point_der, rsa,
};
use crate::attribute::table::Shape;
use crate::limits::Limits;
use crate::service::rig::*;

type Sent = Vec<(A, Value)>;

fn data(more: &[(A, Value)]) -> Sent {
    with(&class_and_type(Shape::Data), more)
}

fn aes(more: &[(A, Value)]) -> Sent {
    with(&created(Shape::Secret), more)
}

#[test]
fn an_object_of_every_shape_is_made_found_copied_and_destroyed() {
    let talk = House::new().user();
    for shape in SHAPES {
        for on_token in [true, false] {
            let place = (A::TOKEN, Value::Flag(on_token));
            let template = with(&created(shape), &[place.clone(), bytes(A::LABEL, b"x")]);
            let object = talk
                .create(&template)
                .unwrap_or_else(|rv| panic!("{shape:?}: {rv}"));
            assert_eq!(object.0 < crate::object::SESSION_OBJECT_FIRST, on_token);
            assert_eq!(talk.find(&[bytes(A::LABEL, b"x")]), [object]);
            let copy = talk.copy(object, &[bytes(A::LABEL, b"y"), place]).unwrap();
            assert_ne!(copy, object);
            assert_eq!(talk.find(&[]), [object, copy]);
            let (one, other) = (talk.all(object), talk.all(copy));
            for (one, other) in one.iter().zip(&other) {
                let differs = matches!(one.0, A::LABEL | A::UNIQUE_ID);
                assert_eq!(one != other, differs, "{} of {shape:?}", one.0);
            }
            for gone in [object, copy] {
                assert_eq!(talk.destroy(gone), Rv::OK);
                assert_eq!(talk.destroy(gone), Rv::OBJECT_HANDLE_INVALID);
            }
        }
    }
    assert_eq!(talk.find(&[]), []);
}

/// What applications of the field send (each was recorded): the module must take it as it is.
#[test]
#[rustfmt::skip]
fn the_templates_of_applications_are_taken() {
    let talk = House::new().user();
    let class = |class: ObjectClass| number(A::CLASS, class.0);
    let key_type = |key_type: KeyType| number(A::KEY_TYPE, key_type.0);
    // SunPKCS11, keytool: an RSA pair made in software, an AES key with its value, a certificate.
    let rsa_key = [vec![yes(A::TOKEN), yes(A::PRIVATE), class(ObjectClass::PRIVATE_KEY), key_type(KeyType::RSA), bytes(A::ID, b"id")], rsa(&RSA_PRIVATE)].concat();
    let aes_key = [class(ObjectClass::SECRET_KEY), key_type(KeyType::AES), bytes(A::VALUE, &[1; 16]), yes(A::TOKEN), yes(A::PRIVATE), bytes(A::LABEL, b"aes")];
    let certificate = [yes(A::TOKEN), class(ObjectClass::CERTIFICATE), number(A::CERTIFICATE_TYPE, 0), bytes(A::SUBJECT, b"s"), bytes(A::ISSUER, b"i"), bytes(A::SERIAL_NUMBER, b"1"), bytes(A::VALUE, b"v"), bytes(A::LABEL, b"l"), bytes(A::ID, b"id")];
    // Oracle: data objects with binary values and labels of nearly a hundred characters.
    let oracle = [class(ObjectClass::DATA), yes(A::TOKEN), yes(A::PRIVATE), bytes(A::LABEL, &[b'O'; 98]), bytes(A::VALUE, &[0, 255, 0]), bytes(A::APPLICATION, b"TDE")];
    for template in [&rsa_key[..], &aes_key, &certificate, &oracle] {
        talk.create(template).unwrap();
    }
    // SunPKCS11 EC: an empty private template, used at once, then made a token key by a copy.
    let (_, key) = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &[]).unwrap();
    talk.sign(M::ECDSA, key, &[1; 32]).unwrap();
    let kept = talk.copy(key, &[yes(A::TOKEN), bytes(A::ID, b"java")]).unwrap();
    talk.sign(M::ECDSA, kept, &[1; 32]).unwrap();
    // GnuTLS: neither class nor key type.
    talk.pair(M::EC_KEY_PAIR_GEN,
        &[yes(A::TOKEN), no(A::PRIVATE), bytes(A::ID, b"g"), yes(A::VERIFY), p256()],
        &[bytes(A::ID, b"g"), yes(A::SIGN), yes(A::PRIVATE), yes(A::TOKEN), yes(A::SENSITIVE)]).unwrap();
    // NSS: every usage, then CKA_ID on both.
    let (public, private) = talk.pair(M::RSA_PKCS_KEY_PAIR_GEN,
        &[yes(A::TOKEN), no(A::PRIVATE), yes(A::DERIVE), yes(A::WRAP), yes(A::VERIFY), yes(A::VERIFY_RECOVER), yes(A::ENCRYPT), number(A::MODULUS_BITS, 2048), bytes(A::PUBLIC_EXPONENT, &[1, 0, 1])],
        &[yes(A::TOKEN), yes(A::PRIVATE), yes(A::SENSITIVE), yes(A::DERIVE), yes(A::UNWRAP), yes(A::SIGN), yes(A::DECRYPT)]).unwrap();
    for key in [public, private] {
        assert_eq!(talk.set(key, &[bytes(A::ID, b"nss")]), Rv::OK);
    }
    assert_eq!(talk.set(private, &[bytes(A::LABEL, b"l"), bytes(A::SUBJECT, b"s")]), Rv::OK);
    // OpenDNSSEC: the key type said as well.
    talk.pair(M::RSA_PKCS_KEY_PAIR_GEN,
        &[bytes(A::LABEL, b"d"), bytes(A::ID, b"d"), key_type(KeyType::RSA), yes(A::VERIFY), no(A::ENCRYPT), no(A::WRAP), yes(A::TOKEN), number(A::MODULUS_BITS, 2048), bytes(A::PUBLIC_EXPONENT, &[1, 0, 1])],
        &[bytes(A::LABEL, b"d"), bytes(A::ID, b"d"), key_type(KeyType::RSA), yes(A::SIGN), no(A::DECRYPT), no(A::UNWRAP), yes(A::SENSITIVE), yes(A::TOKEN), yes(A::PRIVATE), no(A::EXTRACTABLE)]).unwrap();
    // python-pkcs11: every usage spelt out; Oracle's and Db2's master keys; symkeyutil.
    for template in [
        &[class(ObjectClass::SECRET_KEY), key_type(KeyType::AES), number(A::VALUE_LEN, 32), yes(A::ENCRYPT), yes(A::DECRYPT), yes(A::WRAP), yes(A::UNWRAP), yes(A::SIGN), yes(A::VERIFY), no(A::DERIVE)][..],
        &[class(ObjectClass::SECRET_KEY), key_type(KeyType::AES), number(A::VALUE_LEN, 32), yes(A::TOKEN), yes(A::PRIVATE), yes(A::SENSITIVE), yes(A::ENCRYPT), yes(A::DECRYPT), bytes(A::LABEL, b"ORACLE.TDE.HSM.MK.06")],
        &[number(A::VALUE_LEN, 16), yes(A::TOKEN), yes(A::PRIVATE), yes(A::ENCRYPT), yes(A::SIGN)],
    ] {
        talk.generate(M::AES_KEY_GEN, template).unwrap();
    }
    // pkcs11-provider: a session copy of a token key, to cache it.
    let cached = talk.copy(kept, &[no(A::TOKEN)]).unwrap();
    talk.sign(M::ECDSA, cached, &[1; 32]).unwrap();
    assert_eq!(talk.destroy(cached), Rv::OK);
}

#[test]
fn who_is_not_logged_in_makes_and_sees_nothing_private() {
    let house = House::new();
    let private = data(&[yes(A::PRIVATE)]);
    let public = data(&[yes(A::TOKEN)]);
    let nobody = house.guest().open(READ_WRITE).unwrap();
    for talk in [nobody, house.officer()] {
        assert_eq!(talk.create(&private), Err(Rv::USER_NOT_LOGGED_IN));
        assert_eq!(
            talk.create(&aes(&[])),
            Err(Rv::USER_NOT_LOGGED_IN),
            "keys are private"
        );
        let object = talk.create(&public).unwrap();
        assert_eq!(
            talk.copy(object, &[yes(A::PRIVATE)]),
            Err(Rv::USER_NOT_LOGGED_IN)
        );
        let generated = talk.generate(M::AES_KEY_GEN, &[number(A::VALUE_LEN, 16)]);
        assert_eq!(generated, Err(Rv::USER_NOT_LOGGED_IN));
        talk.guest.leave();
    }
    let hidden = house
        .user()
        .create(&data(&[yes(A::TOKEN), yes(A::PRIVATE)]))
        .unwrap();
    let nobody = house.guest().open(READ_WRITE).unwrap();
    assert_eq!(
        nobody.read(hidden, A::CLASS),
        Err(Rv::OBJECT_HANDLE_INVALID)
    );
    assert_eq!(nobody.destroy(hidden), Rv::OBJECT_HANDLE_INVALID);
    assert_eq!(nobody.copy(hidden, &[]), Err(Rv::OBJECT_HANDLE_INVALID));
    assert!(!nobody.find(&[]).contains(&hidden));
    assert!(!house.officer().find(&[]).contains(&hidden));
}

#[test]
fn a_read_only_session_changes_no_token_object() {
    let house = House::new();
    let writer = house.user();
    let object = writer.create(&data(&[yes(A::TOKEN)])).unwrap();
    let talk = writer.guest.open(READ_ONLY).unwrap();
    let label = [bytes(A::LABEL, b"x")];
    assert_eq!(
        talk.create(&data(&[yes(A::TOKEN)])),
        Err(Rv::SESSION_READ_ONLY)
    );
    assert_eq!(talk.copy(object, &[]), Err(Rv::SESSION_READ_ONLY));
    assert_eq!(talk.set(object, &label), Rv::SESSION_READ_ONLY);
    assert_eq!(talk.destroy(object), Rv::SESSION_READ_ONLY);
    let key = [number(A::VALUE_LEN, 16), yes(A::TOKEN)];
    assert_eq!(
        talk.generate(M::AES_KEY_GEN, &key),
        Err(Rv::SESSION_READ_ONLY)
    );
    let copy = talk.copy(object, &[no(A::TOKEN)]).unwrap();
    assert_eq!(talk.set(copy, &label), Rv::OK);
    assert_eq!(talk.destroy(copy), Rv::OK);
    talk.create(&aes(&[])).unwrap();
}

#[test]
fn an_object_can_say_that_it_is_not_copied_changed_or_destroyed() {
    let talk = House::new().user();
    for on_token in [true, false] {
        let place = (A::TOKEN, Value::Flag(on_token));
        let made = |flag| talk.create(&data(&[place.clone(), no(flag)])).unwrap();
        let label = [bytes(A::LABEL, b"x")];
        let uncopied = made(A::COPYABLE);
        assert_eq!(talk.copy(uncopied, &[]), Err(Rv::ACTION_PROHIBITED));
        assert_eq!(
            talk.set(uncopied, &[yes(A::COPYABLE)]),
            Rv::ATTRIBUTE_READ_ONLY
        );
        assert_eq!(talk.set(uncopied, &label), Rv::OK);
        let unchanged = made(A::MODIFIABLE);
        assert_eq!(talk.set(unchanged, &label), Rv::ACTION_PROHIBITED);
        let copy = talk.copy(unchanged, &label).unwrap();
        assert_eq!(talk.set(copy, &label), Rv::ACTION_PROHIBITED);
        let lasting = made(A::DESTROYABLE);
        assert_eq!(talk.destroy(lasting), Rv::ACTION_PROHIBITED);
        talk.read(lasting, A::CLASS).unwrap();
    }
}

#[test]
fn a_copy_has_its_own_name_and_keeps_what_the_key_was() {
    let talk = House::new().user();
    let generated = talk
        .generate(
            M::AES_KEY_GEN,
            &[number(A::VALUE_LEN, 32), yes(A::EXTRACTABLE)],
        )
        .unwrap();
    let copy = talk
        .copy(generated, &[yes(A::TOKEN), no(A::EXTRACTABLE)])
        .unwrap();
    let unique = |object| talk.read(object, A::UNIQUE_ID).unwrap();
    assert_ne!(unique(generated), unique(copy));
    assert!(talk.flag(copy, A::LOCAL) && talk.flag(copy, A::ALWAYS_SENSITIVE));
    assert!(
        !talk.flag(copy, A::NEVER_EXTRACTABLE),
        "it was extractable once"
    );
    assert_eq!(talk.number(copy, A::KEY_GEN_MECHANISM), M::AES_KEY_GEN.0);
    let cipher = plain(M::AES_ECB);
    let encrypted = talk.encrypt(cipher.clone(), generated, &[1; 16]).unwrap();
    assert_eq!(talk.decrypt(cipher, copy, &encrypted).unwrap(), [1; 16]);
    for forbidden in [
        bytes(A::UNIQUE_ID, b"mine"),
        yes(A::EXTRACTABLE),
        no(A::SENSITIVE),
        bytes(A::VALUE, &[1; 16]),
        number(A::KEY_TYPE, KeyType::AES.0),
        yes(A::NEVER_EXTRACTABLE),
    ] {
        assert_eq!(talk.copy(copy, &[forbidden]), Err(Rv::ATTRIBUTE_READ_ONLY));
    }
    assert_eq!(
        talk.copy(copy, &[no(A::PRIVATE)]),
        Err(Rv::TEMPLATE_INCONSISTENT)
    );
}

#[test]
fn trust_is_given_by_the_officer_and_taken_by_anybody() {
    let house = House::new();
    let user = house.user();
    let key = user
        .create(&with(&created(Shape::RsaPublic), &[yes(A::TOKEN)]))
        .unwrap();
    let trusted = [yes(A::TRUSTED)];
    assert_eq!(user.set(key, &trusted), Rv::ATTRIBUTE_READ_ONLY);
    assert_eq!(user.copy(key, &trusted), Err(Rv::ATTRIBUTE_READ_ONLY));
    let sent = with(&created(Shape::RsaPublic), &trusted);
    assert_eq!(user.create(&sent), Err(Rv::ATTRIBUTE_READ_ONLY));
    let pair = user.pair(
        M::RSA_PKCS_KEY_PAIR_GEN,
        &[number(A::MODULUS_BITS, 2048), yes(A::TRUSTED)],
        &[],
    );
    assert_eq!(pair, Err(Rv::ATTRIBUTE_READ_ONLY));
    let officer = house.officer();
    assert_eq!(officer.set(key, &trusted), Rv::OK);
    assert!(user.flag(key, A::TRUSTED));
    assert_eq!(user.set(key, &trusted), Rv::OK, "it is so already");
    assert_eq!(user.set(key, &[no(A::TRUSTED)]), Rv::OK);
    assert!(!officer.flag(key, A::TRUSTED));
}

#[test]
fn guarded_values_are_neither_read_nor_found() {
    let talk = House::new().user();
    let value = [bytes(A::VALUE, &[0x42; 32])];
    for (sensitive, extractable, open) in [
        (true, false, false),
        (true, true, false),
        (false, false, false),
        (false, true, true),
    ] {
        for on_token in [true, false] {
            let key = talk.create(&aes(&[
                (A::SENSITIVE, Value::Flag(sensitive)),
                (A::EXTRACTABLE, Value::Flag(extractable)),
                (A::TOKEN, Value::Flag(on_token)),
            ]));
            let key = key.unwrap();
            let read = talk.read(key, A::VALUE);
            if open {
                assert_eq!(read.unwrap(), [0x42; 32]);
                assert_eq!(talk.find(&value), [key]);
            } else {
                assert_eq!(read, Err(Rv::ATTRIBUTE_SENSITIVE));
                assert_eq!(
                    talk.find(&value),
                    [],
                    "a search is a question about the value"
                );
            }
            assert_eq!(talk.destroy(key), Rv::OK);
        }
    }
    let key = with(&created(Shape::RsaPrivate), &[]);
    let key = talk.create(&key).unwrap();
    for kind in &RSA_PRIVATE[2..] {
        assert_eq!(
            talk.read(key, *kind),
            Err(Rv::ATTRIBUTE_SENSITIVE),
            "{kind}"
        );
        assert_eq!(talk.find(&rsa(&[*kind])), [], "{kind}");
    }
    assert_eq!(talk.find(&rsa(&[A::MODULUS])), [key]);
}

#[test]
fn one_refused_attribute_keeps_no_other_back() {
    let talk = House::new().user();
    let key = talk.create(&aes(&[bytes(A::LABEL, b"label")])).unwrap();
    let ask = |kinds: &[A]| {
        let told = talk.ask(&Request::AttributeValue {
            session: talk.session,
            object: key,
            kinds: List::new(kinds.to_vec()).unwrap(),
        });
        let Body::Attributes(answers) = told.body() else {
            panic!("no attributes");
        };
        let seen: Vec<Option<Vec<u8>>> = answers
            .items()
            .iter()
            .map(|answer| match answer {
                AttributeAnswer::Open(bytes) => Some(bytes.to_vec()),
                AttributeAnswer::Secret(bytes) => Some(bytes.expose().to_vec()),
                _ => None,
            })
            .collect();
        (told.rv(), seen)
    };
    let label = Some(b"label".to_vec());
    assert_eq!(ask(&[A::LABEL]), (Rv::OK, vec![label.clone()]));
    assert_eq!(
        ask(&[A::VALUE, A::LABEL]),
        (Rv::ATTRIBUTE_SENSITIVE, vec![None, label.clone()])
    );
    assert_eq!(
        ask(&[A::MODULUS, A::LABEL]),
        (Rv::ATTRIBUTE_TYPE_INVALID, vec![None, label.clone()])
    );
    assert_eq!(
        ask(&[A::LABEL, A(0x8000_0001), A::VALUE]),
        (Rv::ATTRIBUTE_SENSITIVE, vec![label, None, None])
    );
    assert_eq!(ask(&[]), (Rv::OK, vec![]));
}

#[test]
fn searches_compare_whole_values_and_never_fail_for_the_unknown() {
    let talk = House::new().user();
    let one = talk
        .create(&data(&[bytes(A::LABEL, b"one"), bytes(A::VALUE, b"v")]))
        .unwrap();
    let two = talk
        .create(&data(&[bytes(A::LABEL, b"two"), yes(A::TOKEN)]))
        .unwrap();
    let key = talk.create(&created(Shape::RsaPublic)).unwrap();
    let modulus = rsa(&[A::MODULUS]).remove(0).1.to_bytes();
    let padded = [&[0][..], &modulus].concat();
    for (template, wanted) in [
        (vec![], vec![two, one, key]),
        (vec![bytes(A::LABEL, b"one")], vec![one]),
        (vec![bytes(A::LABEL, b"on")], vec![]),
        (vec![bytes(A::LABEL, b"")], vec![key]),
        (vec![bytes(A::VALUE, b"v")], vec![one]),
        (vec![bytes(A::VALUE, b"")], vec![two]),
        (vec![yes(A::TOKEN)], vec![two]),
        (vec![no(A::TOKEN), number(A::CLASS, 0)], vec![one]),
        (vec![bytes(A::MODULUS, &padded)], vec![key]),
        (vec![number(A::CLASS, 0x8000_0001)], vec![]),
        (vec![bytes(A(0x8000_0001), b"vendor")], vec![]),
        (vec![yes(A::SENSITIVE)], vec![]),
    ] {
        assert_eq!(talk.find(&template), wanted, "{template:?}");
    }
    assert_eq!(
        talk.find_init(&[bytes(A::CLASS, b"short")]),
        Rv::ATTRIBUTE_VALUE_INVALID
    );
    assert_eq!(talk.find_final(), Rv::OPERATION_NOT_INITIALIZED);
}

#[test]
fn a_search_sees_the_token_as_it_was_and_comes_in_parts() {
    let house = House::new();
    let talk = house.user();
    let objects: Vec<_> = (0..5)
        .map(|_| talk.create(&data(&[yes(A::TOKEN)])).unwrap())
        .collect();
    assert_eq!(talk.find_next(1), Err(Rv::OPERATION_NOT_INITIALIZED));
    assert_eq!(talk.find_init(&[]), Rv::OK);
    assert_eq!(talk.find_init(&[]), Rv::OPERATION_ACTIVE);
    assert_eq!(talk.find_next(2).unwrap(), objects[..2]);
    let other = house.user();
    let late = other.create(&data(&[yes(A::TOKEN)])).unwrap();
    assert_eq!(other.destroy(objects[2]), Rv::OK);
    assert_eq!(
        talk.read(objects[0], A::LABEL).unwrap(),
        b"",
        "other calls go on"
    );
    assert_eq!(talk.find_next(0).unwrap(), []);
    assert_eq!(talk.find_next(9).unwrap(), objects[3..]);
    assert_eq!(talk.find_next(9).unwrap(), []);
    assert_eq!(talk.find_final(), Rv::OK);
    assert_eq!(talk.find_final(), Rv::OPERATION_NOT_INITIALIZED);
    assert!(talk.find(&[]).contains(&late));
}

#[test]
fn points_are_taken_bare_and_in_der_and_told_in_der() {
    let talk = House::new().user();
    for form in [point(), point_der()] {
        let key = with(&created(Shape::CurvePublic), &[bytes(A::EC_POINT, &form)]);
        let key = talk.create(&key).unwrap();
        assert_eq!(talk.read(key, A::EC_POINT).unwrap(), point_der());
    }
    let mut wrong = point_der();
    wrong[40] ^= 1;
    for wrong in [
        wrong,
        point()[1..].to_vec(),
        vec![],
        point_der()[..40].to_vec(),
    ] {
        let key = with(&created(Shape::CurvePublic), &[bytes(A::EC_POINT, &wrong)]);
        assert_eq!(talk.create(&key), Err(Rv::ATTRIBUTE_VALUE_INVALID));
    }
    let unknown = with(
        &created(Shape::CurvePublic),
        &[bytes(A::EC_PARAMS, &[6, 3, 1, 2, 3])],
    );
    assert_eq!(talk.create(&unknown), Err(Rv::CURVE_NOT_SUPPORTED));
}

#[test]
fn public_key_info_is_computed_and_compared_and_the_same_on_both_keys() {
    let talk = House::new().user();
    for (public, private) in [
        (Shape::RsaPublic, Shape::RsaPrivate),
        (Shape::CurvePublic, Shape::EcPrivate),
    ] {
        let info = |template: &[(A, Value)]| talk.read(talk.create(template)?, A::PUBLIC_KEY_INFO);
        let right = info(&created(public)).unwrap();
        assert_eq!(info(&created(private)).unwrap(), right, "{private:?}");
        for shape in [public, private] {
            let given = |bytes_given: &[u8]| {
                info(&with(
                    &created(shape),
                    &[bytes(A::PUBLIC_KEY_INFO, bytes_given)],
                ))
            };
            assert_eq!(given(&right).unwrap(), right);
            assert_eq!(given(b"wrong"), Err(Rv::ATTRIBUTE_VALUE_INVALID));
        }
    }
}

#[test]
fn created_keys_claim_no_past() {
    let talk = House::new().user();
    for shape in SHAPES.into_iter().filter(|shape| shape.is_secret_holder()) {
        let key = talk.create(&created(shape)).unwrap();
        for kind in [A::LOCAL, A::ALWAYS_SENSITIVE, A::NEVER_EXTRACTABLE] {
            assert!(!talk.flag(key, kind), "{kind} of {shape:?}");
            let lie = with(&created(shape), &[yes(kind)]);
            assert_eq!(talk.create(&lie), Err(Rv::ATTRIBUTE_READ_ONLY));
            assert_eq!(talk.set(key, &[yes(kind)]), Rv::ATTRIBUTE_READ_ONLY);
        }
        assert_eq!(talk.number(key, A::KEY_GEN_MECHANISM), u64::MAX);
    }
}

#[test]
fn values_that_make_no_key_are_refused() {
    let talk = House::new().user();
    let rsa_private = created(Shape::RsaPrivate);
    for (template, answer) in [
        (
            aes(&[bytes(A::VALUE, &[1; 15])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (aes(&[bytes(A::VALUE, &[])]), Rv::ATTRIBUTE_VALUE_INVALID),
        (
            aes(&[bytes(A::CHECK_VALUE, b"bad")]),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            with(&rsa_private, &[bytes(A::PRIME_1, &[3; 128])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            with(&rsa_private, &[bytes(A::MODULUS, &[1])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            with(&created(Shape::EcPrivate), &[bytes(A::VALUE, &[0; 32])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            with(&created(Shape::EcPrivate), &[bytes(A::VALUE, &[255; 32])]),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            with(
                &created(Shape::EdwardsPrivate),
                &[bytes(A::VALUE, &[1; 31])],
            ),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            with(&created(Shape::EdwardsPrivate), &[p256()]),
            Rv::CURVE_NOT_SUPPORTED,
        ),
    ] {
        assert_eq!(
            talk.create(&template),
            Err(answer),
            "{:?}",
            template.last().unwrap().0
        );
    }
    assert_eq!(talk.find(&[]), []);
}

#[test]
fn an_rsa_key_is_completed_from_what_the_application_has() {
    let talk = House::new().user();
    let open = [no(A::SENSITIVE), yes(A::EXTRACTABLE)];
    let minimal = [A::MODULUS, A::PUBLIC_EXPONENT, A::PRIVATE_EXPONENT];
    let template = [
        class_and_type(Shape::RsaPrivate),
        rsa(&minimal),
        open.to_vec(),
    ]
    .concat();
    let key = talk.create(&template).unwrap();
    let told = |kind| talk.read(key, kind).unwrap();
    let product_fits = [A::PRIME_1, A::PRIME_2].map(|kind| told(kind).len());
    assert_eq!(product_fits, [128, 128]);
    for kind in [A::EXPONENT_1, A::EXPONENT_2, A::COEFFICIENT] {
        assert!(!told(kind).is_empty(), "{kind}");
    }
    talk.sign(M::SHA256_RSA_PKCS, key, b"data").unwrap();
}

#[test]
fn data_of_an_object_are_changed_in_place_on_the_token_and_off() {
    let house = House::new();
    let talk = house.user();
    for on_token in [true, false] {
        let place = (A::TOKEN, Value::Flag(on_token));
        let object = talk
            .create(&data(&[place, bytes(A::VALUE, b"old")]))
            .unwrap();
        let size = |object| {
            talk.ask(&Request::ObjectSize {
                session: talk.session,
                object,
            })
        };
        let Body::Size(before) = size(object).body() else {
            panic!("no size")
        };
        assert_eq!(
            talk.set(object, &[bytes(A::VALUE, b"newer"), bytes(A::LABEL, b"l")]),
            Rv::OK
        );
        assert_eq!(talk.read(object, A::VALUE).unwrap(), b"newer");
        assert_eq!(talk.read(object, A::LABEL).unwrap(), b"l");
        let Body::Size(after) = size(object).body() else {
            panic!("no size")
        };
        assert_eq!(after, before + 3);
        assert_eq!(size(ObjectHandle(99)).rv(), Rv::OBJECT_HANDLE_INVALID);
        // All or nothing: the second attribute is refused, so the first is not written.
        let half = [bytes(A::LABEL, b"half"), number(A::CLASS, 0)];
        assert_eq!(talk.set(object, &half), Rv::ATTRIBUTE_READ_ONLY);
        assert_eq!(talk.read(object, A::LABEL).unwrap(), b"l");
    }
}

#[test]
fn a_token_has_room_for_so_many_objects() {
    let limits = Limits {
        token_objects_max: 2,
        ..Limits::default()
    };
    let talk = House::with_limits(limits).user();
    let on_token = data(&[yes(A::TOKEN)]);
    let first = talk.create(&on_token).unwrap();
    let pair = talk.pair(
        M::EC_KEY_PAIR_GEN,
        &[p256(), yes(A::TOKEN)],
        &[yes(A::TOKEN)],
    );
    assert_eq!(pair, Err(Rv::DEVICE_MEMORY), "all or nothing");
    talk.create(&on_token).unwrap();
    assert_eq!(talk.copy(first, &[]), Err(Rv::DEVICE_MEMORY));
    assert_eq!(talk.destroy(first), Rv::OK);
    talk.create(&on_token).unwrap();
    assert_eq!(
        talk.login(UserType::USER, USER_PIN),
        Rv::USER_ALREADY_LOGGED_IN
    );
}

#[test]
fn a_pair_in_two_places_is_kept_whole_or_not_at_all() {
    let limits = Limits {
        session_objects_max: 1,
        token_objects_max: 1,
        ..Limits::default()
    };
    let talk = House::with_limits(limits).user();
    let pair = |public_on_token, private_on_token| {
        let place = |on_token| (A::TOKEN, Value::Flag(on_token));
        let (public, private) = ([p256(), place(public_on_token)], [place(private_on_token)]);
        talk.pair(M::EC_KEY_PAIR_GEN, &public, &private)
    };
    let in_session = talk.create(&data(&[])).unwrap();
    for public_on_token in [true, false] {
        assert_eq!(
            pair(public_on_token, !public_on_token),
            Err(Rv::DEVICE_MEMORY)
        );
        assert_eq!(talk.find(&[]), [in_session]);
    }
    assert_eq!(talk.destroy(in_session), Rv::OK);
    let on_token = talk.create(&data(&[yes(A::TOKEN)])).unwrap();
    for public_on_token in [true, false] {
        assert_eq!(
            pair(public_on_token, !public_on_token),
            Err(Rv::DEVICE_MEMORY)
        );
        assert_eq!(talk.find(&[]), [on_token]);
    }
    assert_eq!(talk.destroy(on_token), Rv::OK);
    let (public, private) = pair(true, false).unwrap();
    assert_eq!(talk.find(&[]), [public, private]);
}
