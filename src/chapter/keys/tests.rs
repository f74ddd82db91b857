//! *What lives here:* the tests of `keys.rs`: what generated and derived keys say of themselves (PKCS#11 3.2, 5.18). *What must never
//! live here:* what several tests share (`service/rig.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{AttributeType as A, Kdf, MechanismType as M, Rv};
use strongroom_wire::request::{ObjectHandle, Parameter};

use super::*;
use crate::attribute::samples::p256;
use crate::service::rig::*;

type Sent = Vec<(A, Value)>;

fn length(bytes: u64) -> (A, Value) {
    number(A::VALUE_LEN, bytes)
}

/// ECDH without a derivation of its own.
fn ecdh(point: &[u8]) -> Mechanism<'_> {
    Mechanism {
        kind: M::ECDH1_DERIVE,
        parameter: Parameter::Ecdh1 {
            kdf: Kdf::NULL,
            shared: &[],
            point,
        },
    }
}

/// A pair on P-256 that may derive; its public point comes with it.
fn agreeing_pair(talk: &Talk, more: &[(A, Value)]) -> (ObjectHandle, Vec<u8>) {
    let private = with(&[yes(A::DERIVE)], more);
    let (public, private) = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &private).unwrap();
    (private, talk.read(public, A::EC_POINT).unwrap())
}

const OPEN: [(A, Value); 2] = [no(A::SENSITIVE), yes(A::EXTRACTABLE)];

#[test]
fn a_generated_key_says_where_it_comes_from() {
    let talk = House::new().user();
    for (more, always, never) in [
        (vec![], true, true),
        (vec![no(A::SENSITIVE)], false, true),
        (vec![yes(A::EXTRACTABLE)], true, false),
        (OPEN.to_vec(), false, false),
    ] {
        let secret = talk
            .generate(M::AES_KEY_GEN, &with(&[length(32)], &more))
            .unwrap();
        let (_, private) = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &more).unwrap();
        for (key, mechanism) in [(secret, M::AES_KEY_GEN), (private, M::EC_KEY_PAIR_GEN)] {
            assert!(talk.flag(key, A::LOCAL));
            assert_eq!(talk.flag(key, A::ALWAYS_SENSITIVE), always, "{more:?}");
            assert_eq!(talk.flag(key, A::NEVER_EXTRACTABLE), never, "{more:?}");
            assert_eq!(talk.number(key, A::KEY_GEN_MECHANISM), mechanism.0);
        }
        // What it has been it stays, however sensitive it becomes.
        assert_eq!(
            talk.set(secret, &[yes(A::SENSITIVE), no(A::EXTRACTABLE)]),
            Rv::OK
        );
        assert_eq!(talk.flag(secret, A::ALWAYS_SENSITIVE), always);
        assert_eq!(talk.flag(secret, A::NEVER_EXTRACTABLE), never);
        assert_eq!(
            talk.set(secret, &[no(A::SENSITIVE)]),
            Rv::ATTRIBUTE_READ_ONLY
        );
        assert_eq!(
            talk.set(secret, &[yes(A::EXTRACTABLE)]),
            Rv::ATTRIBUTE_READ_ONLY
        );
    }
}

#[test]
fn secret_keys_are_generated_in_the_lengths_of_their_mechanism() {
    let talk = House::new().user();
    for (mechanism, template, answer) in [
        (M::AES_KEY_GEN, vec![length(16)], Ok(())),
        (M::AES_KEY_GEN, vec![length(24)], Ok(())),
        (M::AES_KEY_GEN, vec![length(32)], Ok(())),
        (
            M::AES_KEY_GEN,
            vec![length(17)],
            Err(Rv::ATTRIBUTE_VALUE_INVALID),
        ),
        (
            M::AES_KEY_GEN,
            vec![length(0)],
            Err(Rv::ATTRIBUTE_VALUE_INVALID),
        ),
        (
            M::AES_KEY_GEN,
            vec![length(u64::MAX)],
            Err(Rv::ATTRIBUTE_VALUE_INVALID),
        ),
        (M::AES_KEY_GEN, vec![], Err(Rv::TEMPLATE_INCOMPLETE)),
        (
            M::AES_KEY_GEN,
            vec![length(16), bytes(A::VALUE, &[1; 16])],
            Err(Rv::ATTRIBUTE_READ_ONLY),
        ),
        (
            M::AES_KEY_GEN,
            vec![length(16), number(A::KEY_TYPE, 0x10)],
            Err(Rv::TEMPLATE_INCONSISTENT),
        ),
        (
            M::AES_KEY_GEN,
            vec![length(16), number(A::CLASS, 3)],
            Err(Rv::TEMPLATE_INCONSISTENT),
        ),
        (M::GENERIC_SECRET_KEY_GEN, vec![length(64)], Ok(())),
        (
            M::GENERIC_SECRET_KEY_GEN,
            vec![length(1 << 40)],
            Err(Rv::ATTRIBUTE_VALUE_INVALID),
        ),
        (M::SHA256, vec![length(16)], Err(Rv::MECHANISM_INVALID)),
        (
            M::EC_KEY_PAIR_GEN,
            vec![length(16)],
            Err(Rv::MECHANISM_INVALID),
        ),
        (M(0x8000_0001), vec![length(16)], Err(Rv::MECHANISM_INVALID)),
    ] {
        let outcome = talk.generate(mechanism, &template).map(|_| ());
        assert_eq!(outcome, answer, "{mechanism} {template:?}");
    }
}

#[test]
fn a_check_value_in_a_template_is_compared_or_waived() {
    let talk = House::new().user();
    let key = talk.generate(M::AES_KEY_GEN, &[length(16)]).unwrap();
    assert_eq!(talk.read(key, A::CHECK_VALUE).unwrap().len(), 3);
    let waived = talk.generate(M::AES_KEY_GEN, &[length(16), bytes(A::CHECK_VALUE, b"")]);
    assert_eq!(talk.read(waived.unwrap(), A::CHECK_VALUE).unwrap(), b"");
    let guessed = [length(16), bytes(A::CHECK_VALUE, b"abc")];
    let outcome = talk.generate(M::AES_KEY_GEN, &guessed);
    assert_eq!(outcome, Err(Rv::ATTRIBUTE_VALUE_INVALID));
}

#[test]
fn pairs_of_every_kind_are_made_and_work() {
    use strongroom_crypto::edwards::Curve25519;
    let talk = House::new().user();
    let curve = |der: &[u8]| bytes(A::EC_PARAMS, der);
    for (mechanism, public, signs_with) in [
        (
            M::RSA_PKCS_KEY_PAIR_GEN,
            number(A::MODULUS_BITS, 2048),
            Some(M::SHA256_RSA_PKCS),
        ),
        (M::EC_KEY_PAIR_GEN, p256(), Some(M::ECDSA_SHA256)),
        (
            M::EC_KEY_PAIR_GEN,
            curve(Curve::P384.oid_der()),
            Some(M::ECDSA_SHA384),
        ),
        (
            M::EC_KEY_PAIR_GEN,
            curve(Curve::P521.oid_der()),
            Some(M::ECDSA_SHA512),
        ),
        (
            M::EC_EDWARDS_KEY_PAIR_GEN,
            curve(Curve25519::Ed25519.oid_der()),
            Some(M::EDDSA),
        ),
        (
            M::EC_MONTGOMERY_KEY_PAIR_GEN,
            curve(Curve25519::X25519.oid_der()),
            None,
        ),
    ] {
        let (public, private) = talk.pair(mechanism, &[public], &[]).unwrap();
        if let Some(signs_with) = signs_with {
            let signature = talk.sign(signs_with, private, b"data").unwrap();
            assert_eq!(talk.verify(signs_with, public, b"data", &signature), Rv::OK);
        }
        for kind in [A::PUBLIC_KEY_INFO, A::KEY_TYPE] {
            assert_eq!(talk.read(public, kind), talk.read(private, kind), "{kind}");
        }
        assert!(talk.flag(public, A::LOCAL) && talk.flag(private, A::LOCAL));
        assert_ne!(
            talk.read(public, A::UNIQUE_ID),
            talk.read(private, A::UNIQUE_ID)
        );
    }
}

#[test]
fn what_a_pair_cannot_be_made_of() {
    let talk = House::new().user();
    let bits = |bits| number(A::MODULUS_BITS, bits);
    let none: Sent = vec![];
    for (mechanism, public, private, answer) in [
        (
            M::EC_KEY_PAIR_GEN,
            none.clone(),
            none.clone(),
            Rv::TEMPLATE_INCOMPLETE,
        ),
        (
            M::EC_KEY_PAIR_GEN,
            vec![p256()],
            vec![p256()],
            Rv::ATTRIBUTE_READ_ONLY,
        ),
        (
            M::EC_KEY_PAIR_GEN,
            vec![bytes(A::EC_PARAMS, b"\x06\x01\x01")],
            none.clone(),
            Rv::CURVE_NOT_SUPPORTED,
        ),
        (
            M::EC_EDWARDS_KEY_PAIR_GEN,
            vec![p256()],
            none.clone(),
            Rv::CURVE_NOT_SUPPORTED,
        ),
        (
            M::EC_KEY_PAIR_GEN,
            vec![p256(), yes(A::SENSITIVE)],
            none.clone(),
            Rv::ATTRIBUTE_TYPE_INVALID,
        ),
        (
            M::RSA_PKCS_KEY_PAIR_GEN,
            none.clone(),
            none.clone(),
            Rv::TEMPLATE_INCOMPLETE,
        ),
        (
            M::RSA_PKCS_KEY_PAIR_GEN,
            vec![bits(8)],
            none.clone(),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            M::RSA_PKCS_KEY_PAIR_GEN,
            vec![bits(1 << 40)],
            none.clone(),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            M::RSA_PKCS_KEY_PAIR_GEN,
            vec![bits(2048), bytes(A::PUBLIC_EXPONENT, &[2])],
            none.clone(),
            Rv::ATTRIBUTE_VALUE_INVALID,
        ),
        (
            M::RSA_PKCS_KEY_PAIR_GEN,
            vec![bits(2048), bytes(A::MODULUS, b"m")],
            none.clone(),
            Rv::ATTRIBUTE_READ_ONLY,
        ),
        (
            M::AES_KEY_GEN,
            vec![length(16)],
            none.clone(),
            Rv::MECHANISM_INVALID,
        ),
    ] {
        let outcome = talk.pair(mechanism, &public, &private);
        assert_eq!(outcome, Err(answer), "{mechanism} {public:?} {private:?}");
    }
    assert_eq!(talk.find(&[]), []);
}

#[test]
fn both_sides_derive_the_same_and_it_is_cut_at_its_leading_end() {
    let talk = House::new().user();
    let (one, one_point) = agreeing_pair(&talk, &[]);
    let (other, other_point) = agreeing_pair(&talk, &[]);
    let derive = |key, point: &[u8], more: &[(A, Value)]| {
        let derived = talk.derive(ecdh(point), key, &with(&OPEN, more))?;
        talk.read(derived, A::VALUE)
    };
    let shared = derive(one, &other_point, &[]).unwrap();
    assert_eq!(shared.len(), 32);
    assert_eq!(derive(other, &one_point, &[]).unwrap(), shared);
    assert_eq!(
        derive(other, &one_point[2..], &[]).unwrap(),
        shared,
        "a bare point"
    );
    assert_eq!(
        derive(one, &other_point, &[length(16)]).unwrap(),
        shared[16..]
    );
    let aes = [number(A::KEY_TYPE, KeyType::AES.0), length(24)];
    assert_eq!(derive(one, &other_point, &aes).unwrap(), shared[8..]);
    for (more, answer) in [
        (vec![length(33)], Rv::ATTRIBUTE_VALUE_INVALID),
        (
            vec![number(A::KEY_TYPE, KeyType::AES.0), length(20)],
            Rv::TEMPLATE_INCONSISTENT,
        ),
        (vec![number(A::CLASS, 3)], Rv::TEMPLATE_INCONSISTENT),
        (vec![bytes(A::VALUE, b"mine")], Rv::ATTRIBUTE_READ_ONLY),
    ] {
        assert_eq!(derive(one, &other_point, &more), Err(answer), "{more:?}");
    }
    for point in [&b""[..], &[4; 10], &one_point[..40]] {
        assert_eq!(derive(one, point, &[]), Err(Rv::MECHANISM_PARAM_INVALID));
    }
}

#[test]
fn a_derived_key_is_no_better_than_its_base() {
    let talk = House::new().user();
    let (_, point) = agreeing_pair(&talk, &[]);
    for (base, template, always, never) in [
        (vec![], vec![], true, true),
        (vec![], OPEN.to_vec(), false, false),
        (OPEN.to_vec(), vec![], false, false),
        (vec![yes(A::EXTRACTABLE)], vec![], true, false),
    ] {
        let (base_key, _) = agreeing_pair(&talk, &base);
        let key = talk.derive(ecdh(&point), base_key, &template).unwrap();
        assert!(!talk.flag(key, A::LOCAL));
        assert_eq!(talk.number(key, A::KEY_GEN_MECHANISM), u64::MAX);
        assert_eq!(
            talk.flag(key, A::ALWAYS_SENSITIVE),
            always,
            "{base:?} {template:?}"
        );
        assert_eq!(
            talk.flag(key, A::NEVER_EXTRACTABLE),
            never,
            "{base:?} {template:?}"
        );
    }
}

#[test]
fn a_derive_template_is_merged_and_not_contradicted() {
    let talk = House::new().user();
    let imposed = [
        number(A::KEY_TYPE, KeyType::AES.0),
        length(16),
        yes(A::EXTRACTABLE),
        bytes(A::LABEL, b"imposed"),
    ];
    let (key, point) = agreeing_pair(&talk, &[inner(A::DERIVE_TEMPLATE, &imposed)]);
    let derived = talk
        .derive(ecdh(&point), key, &[bytes(A::ID, b"mine")])
        .unwrap();
    assert_eq!(talk.read(derived, A::LABEL).unwrap(), b"imposed");
    assert_eq!(talk.read(derived, A::ID).unwrap(), b"mine");
    assert_eq!(talk.number(derived, A::VALUE_LEN), 16);
    assert_eq!(talk.number(derived, A::KEY_TYPE), KeyType::AES.0);
    talk.derive(ecdh(&point), key, &imposed).unwrap();
    for conflict in [
        number(A::KEY_TYPE, KeyType::GENERIC_SECRET.0),
        length(32),
        no(A::EXTRACTABLE),
        bytes(A::LABEL, b"mine"),
    ] {
        let outcome = talk.derive(ecdh(&point), key, &[conflict]);
        assert_eq!(outcome, Err(Rv::TEMPLATE_INCONSISTENT));
    }
}

#[test]
fn trust_is_not_derived() {
    let talk = House::new().user();
    let trusting = inner(A::DERIVE_TEMPLATE, &[yes(A::TRUSTED)]);
    let (key, point) = agreeing_pair(&talk, &[trusting]);
    assert_eq!(
        talk.derive(ecdh(&point), key, &[]),
        Err(Rv::TEMPLATE_INCONSISTENT)
    );
    let (key, point) = agreeing_pair(&talk, &[]);
    let outcome = talk.derive(ecdh(&point), key, &[yes(A::TRUSTED)]);
    assert_eq!(outcome, Err(Rv::ATTRIBUTE_READ_ONLY));
}

#[test]
fn only_a_key_that_may_derive_derives() {
    let talk = House::new().user();
    let (_, point) = agreeing_pair(&talk, &[]);
    let (public, private) = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &[]).unwrap();
    let aes = talk
        .generate(M::AES_KEY_GEN, &[length(16), yes(A::DERIVE)])
        .unwrap();
    for (key, answer) in [
        (private, Rv::KEY_FUNCTION_NOT_PERMITTED),
        (public, Rv::KEY_FUNCTION_NOT_PERMITTED),
        (aes, Rv::KEY_TYPE_INCONSISTENT),
        (ObjectHandle(99), Rv::KEY_HANDLE_INVALID),
    ] {
        assert_eq!(talk.derive(ecdh(&point), key, &[]), Err(answer));
    }
    let outcome = talk.derive(plain(M::ECDSA), private, &[]);
    assert_eq!(outcome, Err(Rv::MECHANISM_INVALID));
}
