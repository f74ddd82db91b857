//! ECDSA and ECDH on prime curves (PKCS#11 3.2, 6.3).

use cryptoki_sys::*;
use strongroom_tests::judge::ec::{CURVES, Curve};
use strongroom_tests::judge::hash::{HASHES, Hash};
use strongroom_tests::rv::refused;
use strongroom_tests::{Mechanism, Session, Way, Workplace, not_on_softhsm, pattern};

use crate::keys;

/// P-256 of NIST and the curve of Bitcoin have generators in SoftHSM as well; it does all four.
fn point_of(session: &Session<'_>, curve: Curve, public: CK_OBJECT_HANDLE) -> Vec<u8> {
    curve.point(&session.attribute(public, CKA_EC_POINT).unwrap())
}

#[test]
fn ecdsa_of_digests() {
    let place = Workplace::open();
    let session = place.user();
    for curve in CURVES {
        let (public, private) = keys::ec_pair(&session, curve);
        let point = point_of(&session, curve, public);
        // Shorter than the field, of the field, and longer: PKCS#11 3.2, 6.3.12 truncates on the right.
        for length in [20, 28, 32, 48, 64] {
            if length > curve.field() && not_on_softhsm("it refuses long digests") {
                continue;
            }
            let digest = pattern(length as u64, length);
            let what = format!("{curve:?}, digest of {length}");
            let signature = session
                .run_by_the_book(Way::Sign, CKM_ECDSA, private, &digest)
                .expect(&what);
            assert_eq!(
                signature.len(),
                2 * curve.field(),
                "{what}: r and s of full length"
            );
            assert!(curve.ecdsa_is_good(&point, &digest, &signature), "{what}");
            session
                .verify(CKM_ECDSA, public, &digest, &signature)
                .expect(&what);
            let mut other = digest.clone();
            other[0] ^= 0x80;
            let verified = session.verify(CKM_ECDSA, public, &other, &signature);
            refused(&what, verified, &[CKR_SIGNATURE_INVALID]);
            for position in [1, curve.field() + 1, 2 * curve.field() - 1] {
                let mut tampered = signature.clone();
                tampered[position] ^= 1;
                let verified = session.verify(CKM_ECDSA, public, &digest, &tampered);
                refused(&what, verified, &[CKR_SIGNATURE_INVALID]);
            }
        }
    }
}

#[test]
fn ecdsa_of_other_hands_verifies() {
    let place = Workplace::open();
    let session = place.user();
    for curve in CURVES {
        let scalar = curve.fixed_scalar(1);
        let point = curve.point_of(&scalar);
        let public = session.create(&keys::ec_public(curve, &point)).unwrap();
        let private = session.create(&keys::ec_private(curve, &scalar)).unwrap();
        let digest = Hash::Sha256.of(b"data");
        session
            .verify(
                CKM_ECDSA,
                public,
                &digest,
                &curve.ecdsa_sign(&scalar, &digest),
            )
            .unwrap();
        let signature = session.run(Way::Sign, CKM_ECDSA, private, &digest).unwrap();
        assert!(
            curve.ecdsa_is_good(&point, &digest, &signature),
            "{curve:?}: an imported key"
        );
        let zeros = vec![0; 2 * curve.field()];
        let invalid = &[CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE];
        refused(
            "zeros",
            session.verify(CKM_ECDSA, public, &digest, &zeros),
            invalid,
        );
        let ones = vec![0xff; 2 * curve.field()];
        refused(
            "ones",
            session.verify(CKM_ECDSA, public, &digest, &ones),
            invalid,
        );
        let long = vec![1; 2 * curve.field() + 2];
        let verified = session.verify(CKM_ECDSA, public, &digest, &long);
        refused("too long", verified, &[CKR_SIGNATURE_LEN_RANGE]);
        let odd = vec![1; 2 * curve.field() - 1];
        let verified = session.verify(CKM_ECDSA, public, &digest, &odd);
        refused("odd", verified, &[CKR_SIGNATURE_LEN_RANGE]);
    }
}

#[test]
fn signatures_shortened_on_both_halves_verify() {
    let place = Workplace::open();
    if not_on_softhsm("signatures must have full length") {
        return;
    }
    // PKCS#11 3.2, 6.3.1: r and s may be shorter than the order, both of the same length; SunPKCS11 sends 130 bytes for P-521.
    let session = place.user();
    let curve = Curve::P521;
    let scalar = curve.fixed_scalar(2);
    let public = session
        .create(&keys::ec_public(curve, &curve.point_of(&scalar)))
        .unwrap();
    let mut shortened = 0;
    for round in 0..40 {
        let digest = pattern(round, 64);
        let signature = curve.ecdsa_sign(&scalar, &digest);
        let (r, s) = signature.split_at(66);
        if r[0] == 0 && s[0] == 0 {
            let short = [&r[1..], &s[1..]].concat();
            session
                .verify(CKM_ECDSA, public, &digest, &short)
                .expect("130 bytes");
            shortened += 1;
        }
    }
    assert!(shortened > 0, "one in four can be shortened");
}

#[test]
fn ecdsa_with_hashes() {
    let place = Workplace::open();
    if not_on_softhsm("bare ECDSA only") {
        return;
    }
    let session = place.user();
    for curve in CURVES {
        let (public, private) = keys::ec_pair(&session, curve);
        let point = point_of(&session, curve, public);
        for row in HASHES {
            let Some([.., mechanism]) = row.signatures else {
                continue;
            };
            let data = pattern(5, 700);
            let digest = row.hash.of(&data);
            let what = format!("{curve:?}, {:?}", row.hash);
            let signature = session
                .run_by_the_book(Way::Sign, mechanism, private, &data)
                .expect(&what);
            assert!(curve.ecdsa_is_good(&point, &digest, &signature), "{what}");
            let pieces = session
                .run_in_pieces(Way::Sign, mechanism, private, &data, 33)
                .expect(&what);
            assert!(
                curve.ecdsa_is_good(&point, &digest, &pieces),
                "{what} in pieces"
            );
            session
                .verify(mechanism, public, &data, &signature)
                .expect(&what);
            session
                .verify_in_pieces(mechanism, public, &data, &pieces, 7)
                .expect(&what);
            let verified = session.verify(mechanism, public, &data[1..], &signature);
            refused(&what, verified, &[CKR_SIGNATURE_INVALID]);
        }
    }
}

#[test]
fn ecdh_without_and_with_key_derivation() {
    let place = Workplace::open();
    let session = place.user();
    for curve in CURVES {
        let (public, private) = keys::ec_pair(&session, curve);
        let point = point_of(&session, curve, public);
        let scalar = curve.fixed_scalar(3);
        let other = curve.point_of(&scalar);
        let secret = curve.ecdh(&scalar, &point);
        let template = keys::readable_secret(CKK_GENERIC_SECRET);
        let derive = |mechanism: Mechanism, length: usize| {
            let template = template.clone().with(CKA_VALUE_LEN, length as u64);
            let key = session
                .derive(mechanism, private, &template)
                .unwrap_or_else(|code| panic!("{curve:?}, {length} bytes: {code:?}"));
            session.attribute(key, CKA_VALUE).unwrap()
        };
        for (form, point) in [
            ("bare", other.clone()),
            ("wrapped", Curve::wrapped_point(&other)),
        ] {
            let value = derive(Mechanism::ecdh(CKD_NULL, b"", &point), curve.field());
            assert_eq!(value, secret, "{curve:?}, a {form} point");
        }
        // Without a key derivation function the secret loses its leading bytes (PKCS#11 3.2, 6.3.19).
        if !not_on_softhsm("it takes the trailing bytes away") {
            let value = derive(Mechanism::ecdh(CKD_NULL, b"", &other), 16);
            assert_eq!(
                value,
                secret[secret.len() - 16..],
                "{curve:?}: truncated from the front"
            );
        }
        if not_on_softhsm("CKD_NULL only") {
            continue;
        }
        for row in HASHES {
            let Some(kdf) = row.kdf else { continue };
            for (shared, length) in [(b"".as_slice(), 16), (b"shared data", 32), (b"x", 200)] {
                let value = derive(Mechanism::ecdh(kdf, shared, &other), length);
                let expected = row.hash.x963(&secret, shared, length);
                assert_eq!(value, expected, "{curve:?}, {:?}, {length} bytes", row.hash);
            }
        }
        let aes = session
            .derive(
                Mechanism::ecdh(CKD_SHA256_KDF, b"", &other),
                private,
                &keys::readable_secret(CKK_AES)
                    .with(CKA_VALUE_LEN, 32)
                    .with(CKA_ENCRYPT, true),
            )
            .unwrap();
        assert_eq!(session.number(aes, CKA_KEY_TYPE), Ok(CKK_AES));
        session
            .run(Way::Encrypt, CKM_AES_ECB, aes, &[0; 16])
            .unwrap();
    }
}

#[test]
fn ecdh_refuses_points_of_elsewhere() {
    let place = Workplace::open();
    let session = place.user();
    let curve = Curve::P256;
    let (_, private) = keys::ec_pair(&session, curve);
    let template = keys::readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 32);
    let good = curve.point_of(&curve.fixed_scalar(4));
    let mut off_curve = good.clone();
    off_curve[64] ^= 1;
    let rows: &[(&str, Vec<u8>)] = &[
        ("not on the curve", off_curve),
        (
            "of another curve",
            Curve::Secp256k1.point_of(&Curve::Secp256k1.fixed_scalar(4)),
        ),
        (
            "of a larger curve",
            Curve::P384.point_of(&Curve::P384.fixed_scalar(4)),
        ),
        ("at infinity", vec![0]),
        ("too short", good[..64].to_vec()),
        ("empty", Vec::new()),
    ];
    let codes = [
        CKR_MECHANISM_PARAM_INVALID,
        CKR_ARGUMENTS_BAD,
        CKR_PUBLIC_KEY_INVALID,
        CKR_DOMAIN_PARAMS_INVALID,
    ];
    if not_on_softhsm("it answers CKR_GENERAL_ERROR to a bad point") {
        return;
    }
    for (what, point) in rows {
        let derived = session.derive(Mechanism::ecdh(CKD_NULL, b"", point), private, &template);
        refused(what, derived, &codes);
    }
    let derived = session.derive(CKM_ECDH1_DERIVE, private, &template);
    refused("no parameter", derived, &codes);
    let unknown = Mechanism::ecdh(0x7fff_fff0, b"", &good);
    refused(
        "an unknown function",
        session.derive(unknown, private, &template),
        &codes,
    );
    let long = keys::readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 33);
    refused(
        "more bytes than there are",
        session.derive(Mechanism::ecdh(CKD_NULL, b"", &good), private, &long),
        &[
            CKR_KEY_SIZE_RANGE,
            CKR_TEMPLATE_INCONSISTENT,
            CKR_ATTRIBUTE_VALUE_INVALID,
            CKR_MECHANISM_PARAM_INVALID,
        ],
    );
}

#[test]
fn curves_by_name_and_unknown_curves() {
    let place = Workplace::open();
    let session = place.user();
    let make = |parameters: &[u8]| {
        session.generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &strongroom_tests::template! { CKA_EC_PARAMS => parameters, CKA_TOKEN => false },
            &strongroom_tests::template! { CKA_TOKEN => false },
        )
    };
    let unknown = [6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 0x7f];
    let codes = [
        CKR_CURVE_NOT_SUPPORTED,
        CKR_DOMAIN_PARAMS_INVALID,
        CKR_ATTRIBUTE_VALUE_INVALID,
        CKR_TEMPLATE_INCONSISTENT,
    ];
    if not_on_softhsm("it answers CKR_GENERAL_ERROR to an unknown curve") {
        return;
    }
    refused("an unknown curve", make(&unknown), &codes);
    refused("rubbish", make(&[1, 2, 3]), &codes);
    refused(
        "a curve with rubbish behind",
        make(&[Curve::P256.parameters(), &[0]].concat()),
        &codes,
    );
    refused("no curve", make(&[]), &codes);
}
