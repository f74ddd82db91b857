//! *What lives here:* the tests of `wrapping.rs`: which key leaves under which, and comes back (PKCS#11 3.2, 5.18.3, 5.18.4, 5.18.6, 5.18.7).
//! *What must never live here:* what several tests share (`service/rig.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{AttributeType as A, MechanismType as M, Mgf, OaepSource, Rv};
use strongroom_wire::request::{OaepParameter, Parameter, Request};
use strongroom_wire::response::Body;

use super::*;
use crate::attribute::samples::{class_and_type, created, p256};
use crate::attribute::table::Shape;
use crate::service::rig::*;

const OAEP: OaepParameter<'static> = OaepParameter {
    hash: M::SHA256,
    mgf: Mgf::MGF1_SHA256,
    source: OaepSource::DATA_SPECIFIED,
    label: b"",
};

fn length(bytes: u64) -> (A, Value) {
    number(A::VALUE_LEN, bytes)
}

/// An AES key.
fn aes(talk: &Talk, more: &[(A, Value)]) -> ObjectHandle {
    talk.generate(M::AES_KEY_GEN, &with(&[length(32)], more))
        .unwrap()
}

/// An AES key with a known value that may leave.
fn target(talk: &Talk, more: &[(A, Value)]) -> ObjectHandle {
    let template = with(&created(Shape::Secret), &[yes(A::EXTRACTABLE)]);
    talk.create(&with(&template, more)).unwrap()
}

/// What a template must say of an unwrapped AES key; it can be read.
fn open_aes(more: &[(A, Value)]) -> Vec<(A, Value)> {
    let open = with(
        &class_and_type(Shape::Secret),
        &[no(A::SENSITIVE), yes(A::EXTRACTABLE)],
    );
    with(&open, more)
}

fn kwp() -> Mechanism<'static> {
    plain(M::AES_KEY_WRAP_KWP)
}

fn mechanism(kind: M, parameter: Parameter<'static>) -> Mechanism<'static> {
    Mechanism { kind, parameter }
}

#[test]
fn a_secret_key_leaves_and_comes_back_under_every_mechanism() {
    let talk = House::new().user();
    let key = aes(&talk, &[]);
    let (public, private) = talk
        .pair(
            M::RSA_PKCS_KEY_PAIR_GEN,
            &[number(A::MODULUS_BITS, 2048)],
            &[],
        )
        .unwrap();
    let target = target(&talk, &[]);
    let iv = Parameter::Bytes(&[3; 16]);
    let counter = Parameter::Counter {
        bits: 32,
        block: [9; 16],
    };
    let gcm = Parameter::Gcm {
        iv: &[5; 12],
        aad: b"",
        tag_bits: 128,
    };
    let rsa_aes = Parameter::RsaAesKeyWrap {
        aes_bits: 256,
        oaep: OAEP,
    };
    for (under, over, mechanism) in [
        (key, key, plain(M::AES_KEY_WRAP)),
        (key, key, kwp()),
        (key, key, plain(M::AES_KEY_WRAP_PAD)),
        (key, key, plain(M::AES_ECB)),
        (key, key, mechanism(M::AES_CBC, iv.clone())),
        (key, key, mechanism(M::AES_CBC_PAD, iv)),
        (key, key, mechanism(M::AES_CTR, counter)),
        (key, key, mechanism(M::AES_GCM, gcm)),
        (public, private, plain(M::RSA_PKCS)),
        (
            public,
            private,
            mechanism(M::RSA_PKCS_OAEP, Parameter::Oaep(OAEP)),
        ),
        (public, private, mechanism(M::RSA_AES_KEY_WRAP, rsa_aes)),
    ] {
        let kind = mechanism.kind;
        if crate::mechanism::row(kind).unwrap().wrap().is_none() {
            continue;
        }
        let wrapped = talk.wrap(mechanism.clone(), under, target);
        let wrapped = wrapped.unwrap_or_else(|rv| panic!("{kind}: {rv}"));
        let back = talk.unwrap(mechanism.clone(), over, &wrapped, &open_aes(&[]));
        let back = back.unwrap_or_else(|rv| panic!("{kind}: {rv}"));
        assert_eq!(talk.read(back, A::VALUE).unwrap(), [0x42; 32], "{kind}");
        let told = talk.ask(&Request::WrapKey {
            session: talk.session,
            mechanism: mechanism.clone(),
            wrapping_key: under,
            key: target,
            output: Output::Size,
        });
        let Body::Output { length, data } = told.body() else {
            panic!("no length")
        };
        assert!(length >= wrapped.len() as u64 && data.is_empty(), "{kind}");
        let told = talk.rv(&Request::WrapKey {
            session: talk.session,
            mechanism,
            wrapping_key: under,
            key: target,
            output: Output::Capacity(8),
        });
        assert_eq!(told, Rv::BUFFER_TOO_SMALL, "{kind}");
    }
}

#[test]
fn private_keys_leave_as_pkcs8_and_work_when_they_are_back() {
    use strongroom_crypto::edwards::Curve25519;
    let talk = House::new().user();
    let key = aes(&talk, &[]);
    let may_leave = [yes(A::EXTRACTABLE)];
    for (generate, parameter, sign, shape) in [
        (
            M::RSA_PKCS_KEY_PAIR_GEN,
            number(A::MODULUS_BITS, 2048),
            Some(M::SHA256_RSA_PKCS),
            Shape::RsaPrivate,
        ),
        (
            M::EC_KEY_PAIR_GEN,
            p256(),
            Some(M::ECDSA_SHA256),
            Shape::EcPrivate,
        ),
        (
            M::EC_EDWARDS_KEY_PAIR_GEN,
            bytes(A::EC_PARAMS, Curve25519::Ed25519.oid_der()),
            Some(M::EDDSA),
            Shape::EdwardsPrivate,
        ),
        (
            M::EC_MONTGOMERY_KEY_PAIR_GEN,
            bytes(A::EC_PARAMS, Curve25519::X25519.oid_der()),
            None,
            Shape::MontgomeryPrivate,
        ),
    ] {
        let (public, private) = talk.pair(generate, &[parameter], &may_leave).unwrap();
        let wrapped = talk.wrap(kwp(), key, private).unwrap();
        let back = talk
            .unwrap(kwp(), key, &wrapped, &class_and_type(shape))
            .unwrap();
        assert_eq!(
            talk.read(back, A::PUBLIC_KEY_INFO),
            talk.read(public, A::PUBLIC_KEY_INFO)
        );
        if let Some(sign) = sign {
            let signature = talk.sign(sign, back, b"data").unwrap();
            assert_eq!(talk.verify(sign, public, b"data", &signature), Rv::OK);
        }
        let as_secret = talk.unwrap(kwp(), key, &wrapped, &class_and_type(Shape::Secret));
        assert!(as_secret.is_err(), "{shape:?} is no AES key");
        let wrong_type = [number(A::CLASS, 3), number(A::KEY_TYPE, KeyType::DSA.0)];
        let outcome = talk.unwrap(kwp(), key, &wrapped, &wrong_type);
        assert_eq!(outcome, Err(Rv::TEMPLATE_INCONSISTENT));
        let untyped = talk
            .unwrap(kwp(), key, &wrapped, &[number(A::CLASS, 3)])
            .unwrap();
        assert_eq!(
            talk.read(untyped, A::KEY_TYPE),
            talk.read(private, A::KEY_TYPE)
        );
    }
}

#[test]
fn an_unwrapped_key_may_leave_again_and_claims_no_past() {
    let talk = House::new().user();
    let key = aes(&talk, &[]);
    let wrapped = talk.wrap(kwp(), key, target(&talk, &[])).unwrap();
    let template = class_and_type(Shape::Secret);
    let back = talk.unwrap(kwp(), key, &wrapped, &template).unwrap();
    assert!(talk.flag(back, A::EXTRACTABLE) && talk.flag(back, A::SENSITIVE));
    for kind in [A::LOCAL, A::ALWAYS_SENSITIVE, A::NEVER_EXTRACTABLE] {
        assert!(!talk.flag(back, kind), "{kind}");
    }
    assert_eq!(talk.number(back, A::KEY_GEN_MECHANISM), u64::MAX);
    assert_eq!(talk.number(back, A::VALUE_LEN), 32);
    assert_eq!(talk.read(back, A::VALUE), Err(Rv::ATTRIBUTE_SENSITIVE));
    let kept_in = with(&template, &[no(A::EXTRACTABLE)]);
    let kept_in = talk.unwrap(kwp(), key, &wrapped, &kept_in).unwrap();
    assert_eq!(talk.wrap(kwp(), key, kept_in), Err(Rv::KEY_UNEXTRACTABLE));
}

#[test]
fn which_keys_do_not_leave() {
    let house = House::new();
    let talk = house.user();
    let key = aes(&talk, &[]);
    let data = talk.create(&class_and_type(Shape::Data)).unwrap();
    let public = talk.create(&created(Shape::RsaPublic)).unwrap();
    for (target, answer) in [
        (aes(&talk, &[]), Rv::KEY_UNEXTRACTABLE),
        (aes(&talk, &[no(A::SENSITIVE)]), Rv::KEY_UNEXTRACTABLE),
        (data, Rv::KEY_HANDLE_INVALID),
        (public, Rv::KEY_NOT_WRAPPABLE),
        (ObjectHandle(99), Rv::KEY_HANDLE_INVALID),
    ] {
        assert_eq!(talk.wrap(kwp(), key, target), Err(answer));
    }
    let target = target(&talk, &[]);
    for (wrapping, answer) in [
        (aes(&talk, &[no(A::WRAP)]), Rv::KEY_FUNCTION_NOT_PERMITTED),
        (public, Rv::WRAPPING_KEY_TYPE_INCONSISTENT),
        (data, Rv::WRAPPING_KEY_HANDLE_INVALID),
        (ObjectHandle(99), Rv::WRAPPING_KEY_HANDLE_INVALID),
    ] {
        assert_eq!(talk.wrap(kwp(), wrapping, target), Err(answer));
    }
    assert_eq!(
        talk.wrap(plain(M::SHA256), key, target),
        Err(Rv::MECHANISM_INVALID)
    );
    assert_eq!(
        talk.wrap(plain(M(0x8000_0001)), key, target),
        Err(Rv::MECHANISM_INVALID)
    );
}

#[test]
fn a_key_that_wants_a_trusted_one_leaves_under_no_other() {
    let house = House::new();
    let talk = house.user();
    let template = [yes(A::TOKEN), no(A::PRIVATE)];
    let wrapping = aes(&talk, &template);
    let careful = target(&talk, &[yes(A::WRAP_WITH_TRUSTED)]);
    assert_eq!(
        talk.wrap(kwp(), wrapping, careful),
        Err(Rv::KEY_NOT_WRAPPABLE)
    );
    assert_eq!(
        talk.set(careful, &[no(A::WRAP_WITH_TRUSTED)]),
        Rv::ATTRIBUTE_READ_ONLY
    );
    assert_eq!(
        talk.copy(careful, &[no(A::WRAP_WITH_TRUSTED)]),
        Err(Rv::ATTRIBUTE_READ_ONLY)
    );
    assert_eq!(house.officer().set(wrapping, &[yes(A::TRUSTED)]), Rv::OK);
    talk.wrap(kwp(), wrapping, careful).unwrap();
}

/// A key of known value with a template that trusts would open every careful key to its maker.
#[test]
fn trust_is_not_unwrapped() {
    let talk = House::new().user();
    let wrapped = talk
        .wrap(kwp(), aes(&talk, &[]), target(&talk, &[]))
        .unwrap();
    let key = aes(&talk, &[inner(A::UNWRAP_TEMPLATE, &[yes(A::TRUSTED)])]);
    let own = talk.wrap(kwp(), key, target(&talk, &[])).unwrap();
    let outcome = talk.unwrap(kwp(), key, &own, &class_and_type(Shape::Secret));
    assert_eq!(outcome, Err(Rv::TEMPLATE_INCONSISTENT));
    let asked = with(&class_and_type(Shape::Secret), &[yes(A::TRUSTED)]);
    let outcome = talk.unwrap(kwp(), aes(&talk, &[]), &wrapped, &asked);
    assert!(matches!(
        outcome,
        Err(Rv::ATTRIBUTE_READ_ONLY | Rv::WRAPPED_KEY_INVALID)
    ));
}

#[test]
fn a_wrap_template_says_which_keys_may_leave() {
    let talk = House::new().user();
    let wanted = [
        number(A::KEY_TYPE, KeyType::AES.0),
        yes(A::SENSITIVE),
        bytes(A::LABEL, b"dek"),
    ];
    let key = aes(&talk, &[inner(A::WRAP_TEMPLATE, &wanted)]);
    let fits = bytes(A::LABEL, b"dek");
    talk.wrap(kwp(), key, target(&talk, std::slice::from_ref(&fits)))
        .unwrap();
    for misfit in [bytes(A::LABEL, b"kek"), no(A::SENSITIVE)] {
        let target = target(&talk, &with(std::slice::from_ref(&fits), &[misfit]));
        assert_eq!(talk.wrap(kwp(), key, target), Err(Rv::KEY_HANDLE_INVALID));
    }
    let any = aes(&talk, &[inner(A::WRAP_TEMPLATE, &[])]);
    talk.wrap(kwp(), any, target(&talk, &[])).unwrap();
    assert_eq!(
        talk.read(key, A::WRAP_TEMPLATE).unwrap().len(),
        3 * 8 + 8 + 1 + 3
    );
}

#[test]
fn an_unwrap_template_is_merged_and_not_contradicted() {
    let talk = House::new().user();
    let imposed = [
        number(A::CLASS, ObjectClass::SECRET_KEY.0),
        number(A::KEY_TYPE, KeyType::AES.0),
        no(A::EXTRACTABLE),
        no(A::DECRYPT),
    ];
    let key = aes(&talk, &[inner(A::UNWRAP_TEMPLATE, &imposed)]);
    let wrapped = talk.wrap(kwp(), key, target(&talk, &[])).unwrap();
    let back = talk
        .unwrap(kwp(), key, &wrapped, &[bytes(A::ID, b"mine")])
        .unwrap();
    assert!(!talk.flag(back, A::EXTRACTABLE) && !talk.flag(back, A::DECRYPT));
    assert_eq!(talk.read(back, A::ID).unwrap(), b"mine");
    talk.unwrap(kwp(), key, &wrapped, &imposed).unwrap();
    for conflict in [
        yes(A::EXTRACTABLE),
        yes(A::DECRYPT),
        number(A::KEY_TYPE, KeyType::GENERIC_SECRET.0),
        number(A::CLASS, ObjectClass::PRIVATE_KEY.0),
    ] {
        let outcome = talk.unwrap(kwp(), key, &wrapped, std::slice::from_ref(&conflict));
        assert!(
            matches!(
                outcome,
                Err(Rv::TEMPLATE_INCONSISTENT | Rv::WRAPPED_KEY_INVALID)
            ),
            "{conflict:?}: {outcome:?}"
        );
    }
}

#[test]
fn what_cannot_be_unwrapped() {
    let house = House::new();
    let talk = house.user();
    let key = aes(&talk, &[]);
    let wrapped = talk.wrap(kwp(), key, target(&talk, &[])).unwrap();
    let template = class_and_type(Shape::Secret);
    let mut spoilt = wrapped.clone();
    spoilt[9] ^= 1;
    let public = talk.create(&created(Shape::RsaPublic)).unwrap();
    let objects = talk.find(&[]).len();
    for (key, wrapped, template, answer) in [
        (key, &spoilt[..], template.clone(), Rv::WRAPPED_KEY_INVALID),
        (
            key,
            &wrapped[..wrapped.len() - 1],
            template.clone(),
            Rv::WRAPPED_KEY_LEN_RANGE,
        ),
        (key, &[], template.clone(), Rv::WRAPPED_KEY_LEN_RANGE),
        (key, &wrapped, vec![], Rv::TEMPLATE_INCOMPLETE),
        (
            key,
            &wrapped,
            vec![number(A::CLASS, 4)],
            Rv::TEMPLATE_INCOMPLETE,
        ),
        (
            key,
            &wrapped,
            vec![number(A::CLASS, 2)],
            Rv::TEMPLATE_INCONSISTENT,
        ),
        (
            key,
            &wrapped,
            with(&template, &[length(16)]),
            Rv::WRAPPED_KEY_LEN_RANGE,
        ),
        (
            key,
            &wrapped,
            with(&template, &[bytes(A::VALUE, &[1; 32])]),
            Rv::ATTRIBUTE_READ_ONLY,
        ),
        (
            key,
            &wrapped,
            with(&template, &[yes(A::LOCAL)]),
            Rv::ATTRIBUTE_READ_ONLY,
        ),
        (
            key,
            &wrapped,
            vec![number(A::CLASS, 3)],
            Rv::WRAPPED_KEY_INVALID,
        ),
        (
            public,
            &wrapped,
            template.clone(),
            Rv::UNWRAPPING_KEY_TYPE_INCONSISTENT,
        ),
        (
            ObjectHandle(99),
            &wrapped,
            template.clone(),
            Rv::UNWRAPPING_KEY_HANDLE_INVALID,
        ),
        (
            aes(&talk, &[no(A::UNWRAP)]),
            &wrapped,
            template.clone(),
            Rv::KEY_FUNCTION_NOT_PERMITTED,
        ),
    ] {
        let outcome = talk.unwrap(kwp(), key, wrapped, &template);
        assert_eq!(outcome, Err(answer), "{template:?}");
    }
    assert_eq!(
        talk.find(&[]).len(),
        objects + 1,
        "nothing was left behind but the key of the test"
    );
    let read_only = talk.guest.open(READ_ONLY).unwrap();
    let on_token = with(&template, &[yes(A::TOKEN)]);
    let outcome = read_only.unwrap(kwp(), key, &wrapped, &on_token);
    assert_eq!(outcome, Err(Rv::SESSION_READ_ONLY));
}

#[test]
fn zeros_put_behind_a_key_are_told_from_it_by_its_length() {
    let talk = House::new().user();
    let key = aes(&talk, &[]);
    let generic = with(
        &open_aes(&[number(A::KEY_TYPE, KeyType::GENERIC_SECRET.0)]),
        &[bytes(A::VALUE, b"twenty bytes of data")],
    );
    let target = talk.create(&generic).unwrap();
    let wrapped = talk.wrap(plain(M::AES_ECB), key, target).unwrap();
    assert_eq!(wrapped.len(), 32);
    let template = without(&generic, A::VALUE);
    let back = |more: &[(A, Value)]| {
        let key = talk.unwrap(plain(M::AES_ECB), key, &wrapped, &with(&template, more))?;
        talk.read(key, A::VALUE)
    };
    assert_eq!(back(&[length(20)]).unwrap(), b"twenty bytes of data");
    assert_eq!(back(&[]).unwrap().len(), 32);
    assert_eq!(back(&[length(33)]), Err(Rv::WRAPPED_KEY_LEN_RANGE));
}

const VECTOR: [u8; 16] = [7; 16];

/// AES-GCM with a vector of 12 bytes that is the caller's.
fn gcm(aad: &'static [u8]) -> Mechanism<'static> {
    let iv = &VECTOR[..12];
    let tag_bits = 128;
    mechanism(M::AES_GCM, Parameter::Gcm { iv, aad, tag_bits })
}

/// AES-GCM with a vector that the token makes, all but its leading bits.
fn generated(iv: &'static [u8], fixed_bits: u64, generator: Mgf) -> Mechanism<'static> {
    let parameter = Parameter::GcmWrap {
        iv,
        fixed_bits,
        generator,
        aad: b"",
        tag_bits: 128,
    };
    mechanism(M::AES_GCM, parameter)
}

fn rsa_aes(label: &'static [u8]) -> Mechanism<'static> {
    let parameter = Parameter::RsaAesKeyWrap {
        aes_bits: 256,
        oaep: OaepParameter { label, ..OAEP },
    };
    mechanism(M::RSA_AES_KEY_WRAP, parameter)
}

fn rsa(talk: &Talk) -> (ObjectHandle, ObjectHandle) {
    let bits = [number(A::MODULUS_BITS, 2048)];
    talk.pair(M::RSA_PKCS_KEY_PAIR_GEN, &bits, &[]).unwrap()
}

#[test]
fn a_key_comes_back_with_the_data_that_it_left_with_and_no_others() {
    let talk = House::new().user();
    let key = aes(&talk, &[]);
    let (public, private) = rsa(&talk);
    let target = target(&talk, &[]);
    let taken = generated(&VECTOR[..12], 7, Mgf::NO_GENERATE);
    for (under, over, mechanism, same) in [
        (key, key, gcm(b""), Some(gcm(b"bound"))),
        (key, key, taken, None),
        (public, private, rsa_aes(b""), Some(rsa_aes(b"bound"))),
    ] {
        for associated in [&b"bound"[..], b""] {
            let wrapped = talk.wrap_authenticated(mechanism.clone(), under, target, associated);
            let wrapped = wrapped.unwrap();
            let back = |wrapped: &[u8], associated: &[u8]| {
                let template = open_aes(&[]);
                let how = mechanism.clone();
                let key = talk.unwrap_authenticated(how, over, wrapped, associated, &template)?;
                talk.read(key, A::VALUE)
            };
            assert_eq!(back(&wrapped, associated).unwrap(), [0x42; 32]);
            let objects = talk.find(&[]).len();
            assert_eq!(back(&wrapped, b"other"), Err(Rv::WRAPPED_KEY_INVALID));
            for place in [0, wrapped.len() - 1] {
                let mut spoilt = wrapped.clone();
                spoilt[place] ^= 1;
                assert_eq!(back(&spoilt, associated), Err(Rv::WRAPPED_KEY_INVALID));
            }
            assert_eq!(
                back(&wrapped[..15], associated),
                Err(Rv::WRAPPED_KEY_LEN_RANGE)
            );
            assert_eq!(talk.find(&[]).len(), objects, "nothing was made");
        }
        // What the parameter says may be the same, and is what C_UnwrapKey goes by.
        let Some(same) = same else { continue };
        let wrapped = talk
            .wrap_authenticated(same.clone(), under, target, b"bound")
            .unwrap();
        talk.unwrap(same.clone(), over, &wrapped, &open_aes(&[]))
            .unwrap();
        let wrapped = talk.wrap(same.clone(), under, target).unwrap();
        talk.unwrap_authenticated(mechanism, over, &wrapped, b"bound", &open_aes(&[]))
            .unwrap();
        for other in [&b"other"[..], b""] {
            let left = talk.wrap_authenticated(same.clone(), under, target, other);
            assert_eq!(left, Err(Rv::MECHANISM_PARAM_INVALID));
            let how = same.clone();
            let came = talk.unwrap_authenticated(how, over, &wrapped, other, &open_aes(&[]));
            assert_eq!(came, Err(Rv::MECHANISM_PARAM_INVALID));
        }
    }
    let long = vec![1; (64 << 10) + 1];
    let left = talk.wrap_authenticated(rsa_aes(b""), public, target, &long);
    assert_eq!(left, Err(Rv::ARGUMENTS_BAD));
    talk.wrap_authenticated(rsa_aes(b""), public, target, &long[1..])
        .unwrap();
    talk.wrap_authenticated(gcm(b""), key, target, &long)
        .unwrap();
}

#[test]
fn mechanisms_without_associated_data_wrap_nothing_authenticated() {
    let talk = House::new().user();
    let key = aes(&talk, &[]);
    let (public, private) = rsa(&talk);
    let target = target(&talk, &[]);
    let iv = Parameter::Bytes(&[3; 16]);
    let counter = Parameter::Counter {
        bits: 32,
        block: [9; 16],
    };
    for (under, over, mechanism) in [
        (key, key, plain(M::AES_KEY_WRAP)),
        (key, key, kwp()),
        (key, key, plain(M::AES_KEY_WRAP_PAD)),
        (key, key, plain(M::AES_ECB)),
        (key, key, mechanism(M::AES_CBC, iv.clone())),
        (key, key, mechanism(M::AES_CBC_PAD, iv)),
        (key, key, mechanism(M::AES_CTR, counter)),
        (public, private, plain(M::RSA_PKCS)),
        (
            public,
            private,
            mechanism(M::RSA_PKCS_OAEP, Parameter::Oaep(OAEP)),
        ),
        (key, key, plain(M::SHA256)),
        (key, key, plain(M(0x8000_0001))),
    ] {
        let kind = mechanism.kind;
        for associated in [&b""[..], b"bound"] {
            let left = talk.wrap_authenticated(mechanism.clone(), under, target, associated);
            assert_eq!(left, Err(Rv::MECHANISM_INVALID), "{kind}");
            let (how, template) = (mechanism.clone(), open_aes(&[]));
            let came = talk.unwrap_authenticated(how, over, &[1; 300], associated, &template);
            assert_eq!(came, Err(Rv::MECHANISM_INVALID), "{kind}");
        }
    }
}

/// What the token answers to a wrap by AES-GCM: the vector, if it made one, and the wrapped key.
fn made(told: &Told) -> (Option<Vec<u8>>, Vec<u8>) {
    assert_eq!(told.rv(), Rv::OK);
    match told.body() {
        Body::Wrapped { iv, length, data } => {
            assert_eq!(length, data.len() as u64);
            (Some(iv.to_vec()), data.expose().to_vec())
        }
        Body::Output { data, .. } => (None, data.expose().to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vector_is_made_where_that_is_asked_and_keeps_its_leading_bits() {
    let talk = House::new().user();
    let key = aes(&talk, &[]);
    let target = target(&talk, &[]);
    let session = talk.session;
    let ask = |mechanism: &Mechanism<'static>, output, with: bool| {
        let (mechanism, wrapping_key, key) = (mechanism.clone(), key, target);
        talk.ask(&if with {
            Request::WrapKeyAuthenticated {
                session,
                mechanism,
                wrapping_key,
                key,
                associated: b"bound",
                output,
            }
        } else {
            Request::WrapKey {
                session,
                mechanism,
                wrapping_key,
                key,
                output,
            }
        })
    };
    for (bytes, fixed_bits) in [(12, 0_u64), (16, 0), (16, 32), (16, 27), (13, 8), (13, 1)] {
        for generator in [Mgf::GENERATE, Mgf::GENERATE_RANDOM] {
            for with in [true, false] {
                let how = generated(&VECTOR[..bytes], fixed_bits, generator);
                let mut seen = std::collections::BTreeSet::new();
                // Bits that were one, and those that were zero, of sixteen vectors.
                let (mut ones, mut zeros) = (0_u128, 0_u128);
                for _ in 0..16 {
                    let (iv, wrapped) = made(&ask(&how, ROOM, with));
                    let iv = iv.expect("a vector was made");
                    assert_eq!(iv.len(), bytes);
                    let number = iv.iter().fold(0, |all, byte| all << 8 | u128::from(*byte));
                    ones |= number;
                    zeros |= !number;
                    // It is the one that the key was wrapped with; how it came about is nothing to unwrapping.
                    let iv: &'static [u8] = iv.leak();
                    let given = generated(iv, u64::MAX, Mgf(99));
                    let template = open_aes(&[]);
                    let back = if with {
                        talk.unwrap_authenticated(given, key, &wrapped, b"bound", &template)
                    } else {
                        talk.unwrap(given, key, &wrapped, &template)
                    };
                    assert_eq!(talk.read(back.unwrap(), A::VALUE).unwrap(), [0x42; 32]);
                    assert!(seen.insert(iv), "a vector came twice");
                }
                let free = 8 * bytes - usize::try_from(fixed_bits).unwrap();
                let mask = u128::MAX
                    .checked_shr(128 - u32::try_from(free).unwrap())
                    .unwrap();
                let all = u128::MAX >> (128 - 8 * bytes);
                let moved = ones & zeros & all;
                assert_eq!(moved & !mask, 0, "{bytes}, {fixed_bits}: leading bits stay");
                assert_eq!(
                    ones & !mask,
                    VECTOR[..bytes]
                        .iter()
                        .fold(0, |all, byte| all << 8 | u128::from(*byte))
                        & !mask
                );
                // Sixteen random bits are all alike with a chance of 2⁻¹⁵; more than 16 of 96 that are so are a fault.
                assert!((mask & !moved).count_ones() <= 16, "the rest is random");
            }
        }
    }
    // Nothing is made where nothing is wrapped.
    let how = generated(&VECTOR[..12], 0, Mgf::GENERATE);
    let told = ask(&how, Output::Size, true);
    assert!(matches!(told.body(), Body::Output { length: 48, data } if data.is_empty()));
    let told = ask(&how, Output::Capacity(47), true);
    assert_eq!(told.rv(), Rv::BUFFER_TOO_SMALL);
    assert!(matches!(told.body(), Body::Output { length: 48, data } if data.is_empty()));
    let (iv, _) = made(&ask(&generated(&VECTOR, 0, Mgf::NO_GENERATE), ROOM, true));
    assert_eq!(iv, None, "the caller's");
}

#[test]
fn a_vector_with_less_than_96_random_bits_or_from_a_counter_is_refused() {
    let talk = House::new().user();
    let key = aes(&talk, &[]);
    let target = target(&talk, &[]);
    for (bytes, fixed_bits, generator) in [
        (12, 1, Mgf::GENERATE),
        (12, 32, Mgf::GENERATE_RANDOM),
        (11, 0, Mgf::GENERATE),
        (16, 33, Mgf::GENERATE),
        (16, 129, Mgf::GENERATE),
        (16, u64::MAX, Mgf::GENERATE),
        (0, 0, Mgf::GENERATE),
        (0, 0, Mgf::NO_GENERATE),
        (16, 0, Mgf::GENERATE_COUNTER),
        (16, 0, Mgf::GENERATE_COUNTER_XOR),
        (16, 0, Mgf(5)),
    ] {
        let how = generated(&VECTOR[..bytes], fixed_bits, generator);
        let left = talk.wrap_authenticated(how.clone(), key, target, b"");
        let what = format!("{bytes}, {fixed_bits}, {generator}");
        assert_eq!(left, Err(Rv::MECHANISM_PARAM_INVALID), "{what}");
        assert_eq!(
            talk.wrap(how, key, target),
            Err(Rv::MECHANISM_PARAM_INVALID),
            "{what}"
        );
    }
    // The structure is one of wrapping.
    let how = generated(&VECTOR[..12], 0, Mgf::NO_GENERATE);
    assert_eq!(
        talk.encrypt(how, key, b"data"),
        Err(Rv::MECHANISM_PARAM_INVALID)
    );
}

#[test]
fn authenticated_wrapping_lets_no_key_out_that_stays_else() {
    let house = House::new();
    let talk = house.user();
    let key = aes(&talk, &[]);
    let public = talk.create(&created(Shape::RsaPublic)).unwrap();
    for (target, answer) in [
        (aes(&talk, &[]), Rv::KEY_UNEXTRACTABLE),
        (public, Rv::KEY_NOT_WRAPPABLE),
        (ObjectHandle(99), Rv::KEY_HANDLE_INVALID),
        (
            target(&talk, &[yes(A::WRAP_WITH_TRUSTED)]),
            Rv::KEY_NOT_WRAPPABLE,
        ),
    ] {
        assert_eq!(
            talk.wrap_authenticated(gcm(b""), key, target, b"bound"),
            Err(answer)
        );
    }
    let target = target(&talk, &[]);
    let wanted = [bytes(A::LABEL, b"dek")];
    for (wrapping, answer) in [
        (aes(&talk, &[no(A::WRAP)]), Rv::KEY_FUNCTION_NOT_PERMITTED),
        (
            aes(&talk, &[inner(A::WRAP_TEMPLATE, &wanted)]),
            Rv::KEY_HANDLE_INVALID,
        ),
        (public, Rv::WRAPPING_KEY_TYPE_INCONSISTENT),
        (ObjectHandle(99), Rv::WRAPPING_KEY_HANDLE_INVALID),
    ] {
        assert_eq!(
            talk.wrap_authenticated(gcm(b""), wrapping, target, b"bound"),
            Err(answer)
        );
    }
    let wrapped = talk
        .wrap_authenticated(gcm(b""), key, target, b"bound")
        .unwrap();
    for (unwrapping, template, answer) in [
        (
            aes(&talk, &[no(A::UNWRAP)]),
            open_aes(&[]),
            Rv::KEY_FUNCTION_NOT_PERMITTED,
        ),
        (
            ObjectHandle(99),
            open_aes(&[]),
            Rv::UNWRAPPING_KEY_HANDLE_INVALID,
        ),
        (key, vec![], Rv::TEMPLATE_INCOMPLETE),
        (key, open_aes(&[yes(A::LOCAL)]), Rv::ATTRIBUTE_READ_ONLY),
    ] {
        let how = gcm(b"");
        let came = talk.unwrap_authenticated(how, unwrapping, &wrapped, b"bound", &template);
        assert_eq!(came, Err(answer));
    }
    let imposed = [no(A::EXTRACTABLE)];
    let strict = aes(&talk, &[inner(A::UNWRAP_TEMPLATE, &imposed)]);
    let wrapped = talk
        .wrap_authenticated(gcm(b""), strict, target, b"bound")
        .unwrap();
    let template = class_and_type(Shape::Secret);
    let back = talk.unwrap_authenticated(gcm(b""), strict, &wrapped, b"bound", &template);
    assert!(!talk.flag(back.unwrap(), A::EXTRACTABLE));
}
