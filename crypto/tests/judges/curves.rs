//! ECDSA, ECDH, Ed25519 and X25519, against RustCrypto and the vectors of the standards.

use strongroom_crypto::Error;
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::ec::{Curve, EcPrivateKey, EcPublicKey};
use strongroom_crypto::edwards::{
    Curve25519, Ed25519PrivateKey, Ed25519PublicKey, EdwardsVariant, X25519PrivateKey,
};
use strongroom_crypto::pkcs8::PrivateKey;

use crate::{hex, noise, ready};

macro_rules! judged_curve {
    ($name:ident, $krate:ident, $curve:expr, $hash:expr) => {
        #[test]
        fn $name() {
            use $krate::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
            use $krate::ecdsa::{Signature, SigningKey, VerifyingKey};
            use $krate::elliptic_curve::sec1::ToSec1Point;
            use $krate::pkcs8::{DecodePrivateKey, EncodePrivateKey};

            ready();
            let key = EcPrivateKey::generate($curve).unwrap();
            let public = key.public().unwrap();
            let point = public.point().to_vec();
            let hashed = digest($hash, b"message").unwrap();

            // Our signature before the judge, and the judge's before us.
            let signature = key.sign_digest(hashed.as_ref()).unwrap();
            assert_eq!(signature.len(), 2 * $curve.order_bytes());
            let verifying = VerifyingKey::from_sec1_bytes(&point).unwrap();
            let judged = Signature::from_slice(&signature).unwrap();
            // k256 verifies the smaller of the two equivalent values of s only; FIPS 186-5 knows no such rule.
            let judged = judged.normalize_s();
            verifying.verify_prehash(hashed.as_ref(), &judged).unwrap();
            let der = key.to_pkcs8().unwrap();
            let secret = der.with(|der| $krate::SecretKey::from_pkcs8_der(der).unwrap());
            let signing = SigningKey::from(&secret);
            let judged: Signature = signing.sign_prehash(hashed.as_ref()).unwrap();
            public
                .verify_digest(hashed.as_ref(), &judged.to_bytes())
                .unwrap();

            // The scalar, the encodings and the compressed point are the judge's too.
            let scalar = key.scalar().unwrap();
            assert!(scalar.equals_in_constant_time(&secret.to_bytes()));
            let again = EcPrivateKey::from_pkcs8(secret.to_pkcs8_der().unwrap().as_bytes());
            assert_eq!(again.unwrap().public().unwrap().point(), point);
            let compressed = secret.public_key().to_sec1_point(true);
            let same = EcPublicKey::from_point($curve, compressed.as_bytes()).unwrap();
            assert_eq!(same.point(), point);
            let spki = public.to_spki_der();
            assert_eq!(key.to_spki_der(), spki);
            assert!(spki.ends_with(&point));
            assert!(
                spki.windows($curve.oid_der().len())
                    .any(|part| part == $curve.oid_der())
            );

            // Agreement with a key of the judge.
            let scalar = [&[0][..], &noise(30, $curve.order_bytes() - 1)].concat();
            let peer = $krate::SecretKey::from_slice(&scalar).unwrap();
            let judged = $krate::ecdh::diffie_hellman(
                peer.to_nonzero_scalar(),
                secret.public_key().as_affine(),
            );
            for octets in [
                peer.public_key().to_sec1_point(false).as_bytes(),
                peer.public_key().to_sec1_point(true).as_bytes(),
            ] {
                let shared = key.agree(octets).unwrap();
                assert!(shared.equals_in_constant_time(judged.raw_secret_bytes()));
            }
        }
    };
}

judged_curve!(p256_agrees_with_the_judge, p256, Curve::P256, Hash::Sha256);
judged_curve!(p384_agrees_with_the_judge, p384, Curve::P384, Hash::Sha384);
judged_curve!(p521_agrees_with_the_judge, p521, Curve::P521, Hash::Sha512);
judged_curve!(
    secp256k1_agrees_with_the_judge,
    k256,
    Curve::Secp256k1,
    Hash::Sha256
);

#[test]
fn a_key_can_be_made_from_a_short_scalar_and_not_from_a_wrong_one() {
    ready();
    for curve in Curve::ALL {
        let one = EcPrivateKey::from_scalar(curve, &[1]).unwrap();
        let long = [vec![0; 40], vec![1]].concat();
        let same = EcPrivateKey::from_scalar(curve, &long).unwrap();
        let point = one.point().to_vec();
        assert_eq!(point, same.public().unwrap().point());
        assert_eq!(one.scalar().unwrap().len(), curve.order_bytes());
        for wrong in [
            vec![],
            vec![0; 32],
            vec![0xff; curve.order_bytes()],
            vec![1; 70],
        ] {
            let refused = EcPrivateKey::from_scalar(curve, &wrong).map(|_| ());
            assert_eq!(refused, Err(Error::KeyMalformed), "{curve:?}");
        }
        // A generator times one is the generator: its order fits the curve.
        let agreed = EcPrivateKey::generate(curve)
            .unwrap()
            .agree(&point)
            .unwrap();
        assert_eq!(agreed.len(), curve.field_bytes());
    }
}

#[test]
fn points_that_are_none_are_refused() {
    ready();
    for curve in Curve::ALL {
        let key = EcPrivateKey::generate(curve).unwrap();
        let good = key.point().to_vec();
        let mut off = good.clone();
        *off.last_mut().unwrap() ^= 1;
        let mut hybrid = good.clone();
        hybrid[0] = 6 | (good.last().unwrap() & 1);
        let too_large = [&[4][..], &vec![0xff; 2 * curve.field_bytes()]].concat();
        let short = good[..good.len() - 1].to_vec();
        let long = [&good[..], &[0]].concat();
        for wrong in [vec![], vec![0], off, hybrid, too_large, short, long] {
            assert_eq!(key.agree(&wrong).map(|_| ()), Err(Error::PointInvalid));
            let refused = EcPublicKey::from_point(curve, &wrong).map(|_| ());
            assert_eq!(refused, Err(Error::PointInvalid));
        }
    }
}

#[test]
fn signatures_of_wrong_lengths_are_refused_as_such() {
    ready();
    let key = EcPrivateKey::generate(Curve::P256).unwrap();
    let public = key.public().unwrap();
    let signature = key.sign_digest(&[7; 32]).unwrap();
    public.verify_digest(&[7; 32], &signature).unwrap();
    // A digest that is longer than the order counts by its first bytes.
    public.verify_digest(&[7; 64], &signature).unwrap();
    assert_eq!(
        public.verify_digest(&[8; 32], &signature),
        Err(Error::SignatureInvalid)
    );
    assert_eq!(
        public.verify_digest(&[7; 32], &[0; 64]),
        Err(Error::SignatureInvalid)
    );
    for length in [0, 1, 63, 65, 66] {
        let answer = public.verify_digest(&[7; 32], &vec![1; length]);
        assert_eq!(answer, Err(Error::SignatureLength), "{length}");
    }
    assert_eq!(
        public.verify_digest(&[7; 32], &[1; 2]),
        Err(Error::SignatureInvalid)
    );
    assert_eq!(key.sign_digest(b"").map(|_| ()), Err(Error::DataLength));
}

#[test]
fn domain_parameters_are_read_as_identifier_and_as_name() {
    for curve in Curve::ALL {
        assert_eq!(Curve::from_parameters_der(curve.oid_der()), Ok(curve));
    }
    assert_eq!(
        Curve::from_parameters_der(b"\x13\x09secp384r1"),
        Ok(Curve::P384)
    );
    assert_eq!(
        Curve::from_parameters_der(b"\x13\x0aprime256v1"),
        Ok(Curve::P256)
    );
    for wrong in [
        &b""[..],
        b"\x13\x09secp999r1",
        b"\x13\x08secp384r1",
        b"\x0c\x09secp384r1",
    ] {
        assert_eq!(Curve::from_parameters_der(wrong), Err(Error::Unsupported));
    }
    for curve in [Curve25519::Ed25519, Curve25519::X25519] {
        assert_eq!(Curve25519::from_parameters_der(curve.oid_der()), Ok(curve));
    }
    let name = b"\x13\x0cedwards25519";
    assert_eq!(
        Curve25519::from_parameters_der(name),
        Ok(Curve25519::Ed25519)
    );
    let name = b"\x13\x0acurve25519";
    assert_eq!(
        Curve25519::from_parameters_der(name),
        Ok(Curve25519::X25519)
    );
}

#[test]
fn ed25519_agrees_with_the_judge() {
    use ed25519_dalek::{Signature, Signer, SigningKey};
    ready();
    let key = Ed25519PrivateKey::generate().unwrap();
    let seed: [u8; 32] = key.seed().unwrap().with(|seed| seed.try_into().unwrap());
    let judge = SigningKey::from_bytes(&seed);
    assert_eq!(judge.verifying_key().as_bytes(), key.public().bytes());
    for length in [0, 1, 100, 1000] {
        let message = noise(40, length);
        // Ed25519 is deterministic: both must write the same signature.
        assert_eq!(key.sign(&message).unwrap(), judge.sign(&message).to_bytes());
        key.public()
            .verify(&message, &judge.sign(&message).to_bytes())
            .unwrap();
    }
    let signature = key.sign(b"message").unwrap();
    assert_eq!(
        key.public().verify(b"massage", &signature),
        Err(Error::SignatureInvalid)
    );
    assert_eq!(
        key.public().verify(b"message", &signature[..63]),
        Err(Error::SignatureLength)
    );

    use sha2::Digest;
    let signature = key
        .sign_variant(EdwardsVariant::Prehash(b"context"), b"message")
        .unwrap();
    let hashed = sha2::Sha512::new_with_prefix(b"message");
    let judged = Signature::from_bytes(&signature);
    judge
        .verifying_key()
        .verify_prehashed(hashed, Some(b"context"), &judged)
        .unwrap();
}

#[test]
fn ed25519_with_context_has_the_vector_of_the_standard() {
    ready();
    // RFC 8032, 7.2, the first one.
    let seed = hex("0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6");
    let message = hex("f726936d19c800494e3fdaff20b276a8");
    let expected = hex(
        "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a
        8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d",
    );
    let key = Ed25519PrivateKey::from_seed(seed.as_slice().try_into().unwrap()).unwrap();
    let variant = EdwardsVariant::Context(b"foo");
    assert_eq!(
        key.sign_variant(variant, &message).unwrap().as_slice(),
        expected
    );
    key.public()
        .verify_variant(variant, &message, &expected)
        .unwrap();
    assert_eq!(
        key.public().verify(&message, &expected),
        Err(Error::SignatureInvalid)
    );
    for context in [&b""[..], &[0; 256]] {
        let refused = key
            .sign_variant(EdwardsVariant::Context(context), &message)
            .map(|_| ());
        assert_eq!(refused, Err(Error::ParameterInvalid));
    }
}

#[test]
fn x25519_agrees_with_the_judge() {
    use x25519_dalek::{PublicKey, StaticSecret};
    ready();
    let key = X25519PrivateKey::generate().unwrap();
    let bytes: [u8; 32] = key.bytes().unwrap().with(|bytes| bytes.try_into().unwrap());
    let judge = StaticSecret::from(bytes);
    assert_eq!(PublicKey::from(&judge).as_bytes(), key.public_bytes());
    let peer = StaticSecret::from(<[u8; 32]>::try_from(noise(41, 32)).unwrap());
    let peer_public = PublicKey::from(&peer);
    let shared = key.agree(peer_public.as_bytes()).unwrap();
    assert!(shared.equals_in_constant_time(judge.diffie_hellman(&peer_public).as_bytes()));
    assert_eq!(key.agree(&[0; 32]).map(|_| ()), Err(Error::PointInvalid));
    assert_eq!(key.agree(&[9; 31]).map(|_| ()), Err(Error::PointInvalid));
}

#[test]
fn encodings_go_through_the_common_door() {
    ready();
    let mut ders = vec![
        Ed25519PrivateKey::generate().unwrap().to_pkcs8().unwrap(),
        X25519PrivateKey::generate().unwrap().to_pkcs8().unwrap(),
    ];
    for curve in Curve::ALL {
        ders.push(EcPrivateKey::generate(curve).unwrap().to_pkcs8().unwrap());
    }
    for der in ders {
        der.with(|der| {
            let key = PrivateKey::from_pkcs8(der).unwrap();
            assert!(key.to_pkcs8().unwrap().equals_in_constant_time(der));
            let longer = [der, &[0; 5]].concat();
            let refused = PrivateKey::from_pkcs8(&longer).map(|_| ());
            assert_eq!(refused, Err(Error::KeyMalformed));
            let (_, used) = PrivateKey::from_pkcs8_prefix(&longer).unwrap();
            assert_eq!(used, der.len());
            for length in 0..der.len() {
                assert!(PrivateKey::from_pkcs8(&der[..length]).is_err());
            }
        });
    }
}

#[test]
fn encodings_are_those_of_rfc_8410() {
    ready();
    // RFC 8410, 10.3 and 10.1.
    let der = hex("302e020100300506032b657004220420
        d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842");
    let spki = hex("302a300506032b6570032100
        19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    let key = Ed25519PrivateKey::from_pkcs8(&der).unwrap();
    assert!(key.to_pkcs8().unwrap().equals_in_constant_time(&der));
    assert_eq!(key.public().to_spki_der(), spki);
    let public = Ed25519PublicKey::from_bytes(&spki[12..]).unwrap();
    assert_eq!(public, key.public());
    assert_eq!(
        X25519PrivateKey::from_pkcs8(&der).map(|_| ()),
        Err(Error::Unsupported)
    );
    assert_eq!(
        EcPrivateKey::from_pkcs8(&der).map(|_| ()),
        Err(Error::Unsupported)
    );
}
