//! Ed25519 and X25519 (PKCS#11 3.2, 6.3.3, 6.3.14 and 6.3.16).

use cryptoki_sys::*;
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use strongroom_tests::judge::der;
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Mechanism, Session, Template, Way, Workplace, hex, not_on_softhsm, pattern, template,
};

use crate::keys;

/// The two ways to name the curve: `edwards25519` as a PrintableString, and the object identifier of RFC 8410.
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";
const ED25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const X25519_NAME: &[u8] = b"\x13\x0acurve25519";
const X25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6e];

fn pair(
    session: &Session<'_>,
    mechanism: CK_MECHANISM_TYPE,
    parameters: &[u8],
) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let usage = mechanism == CKM_EC_EDWARDS_KEY_PAIR_GEN;
    let mut public =
        template! { CKA_TOKEN => false, CKA_PRIVATE => false, CKA_EC_PARAMS => parameters };
    let mut private = template! { CKA_TOKEN => false, CKA_PRIVATE => true, CKA_SENSITIVE => true };
    if usage {
        public = public.with(CKA_VERIFY, true);
        private = private.with(CKA_SIGN, true);
    } else {
        private = private.with(CKA_DERIVE, true);
    }
    session
        .generate_pair(mechanism, &public, &private)
        .unwrap_or_else(|code| panic!("a pair with {parameters:02x?}: {code:?}"))
}

/// `CKA_EC_POINT` of an Edwards or Montgomery key, wrapped or bare.
fn point_of(session: &Session<'_>, public: CK_OBJECT_HANDLE) -> [u8; 32] {
    let attribute = session.attribute(public, CKA_EC_POINT).unwrap();
    let bytes = if attribute.len() == 34 {
        der::element(&attribute).1.to_vec()
    } else {
        attribute
    };
    bytes.try_into().expect("32 bytes")
}

fn edwards_private(seed: &[u8]) -> Template {
    template! {
        CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => CKK_EC_EDWARDS, CKA_TOKEN => false, CKA_PRIVATE => true,
        CKA_SENSITIVE => false, CKA_EXTRACTABLE => true, CKA_SIGN => true, CKA_EC_PARAMS => ED25519_OID,
        CKA_VALUE => seed,
    }
}

fn edwards_public(point: &[u8]) -> Template {
    template! {
        CKA_CLASS => CKO_PUBLIC_KEY, CKA_KEY_TYPE => CKK_EC_EDWARDS, CKA_TOKEN => false, CKA_PRIVATE => false,
        CKA_VERIFY => true, CKA_EC_PARAMS => ED25519_OID, CKA_EC_POINT => der::encoded(4, point),
    }
}

#[test]
fn ed25519() {
    let place = Workplace::open();
    if not_on_softhsm("Debian builds it without EdDSA") {
        return;
    }
    let session = place.user();
    for parameters in [ED25519_OID, ED25519_NAME] {
        let (public, private) = pair(&session, CKM_EC_EDWARDS_KEY_PAIR_GEN, parameters);
        let judge = VerifyingKey::from_bytes(&point_of(&session, public)).unwrap();
        for length in [0, 1, 100, 5000] {
            let data = pattern(1, length);
            let signature = session
                .run_by_the_book(Way::Sign, CKM_EDDSA, private, &data)
                .unwrap();
            judge
                .verify_strict(&data, &Signature::from_slice(&signature).unwrap())
                .unwrap();
            session
                .verify(CKM_EDDSA, public, &data, &signature)
                .unwrap();
            let mut tampered = signature.clone();
            tampered[3] ^= 1;
            let verified = session.verify(CKM_EDDSA, public, &data, &tampered);
            refused("a flipped bit", verified, &[CKR_SIGNATURE_INVALID]);
            let verified = session.verify(CKM_EDDSA, public, &data, &signature[1..]);
            refused("a byte less", verified, &[CKR_SIGNATURE_LEN_RANGE]);
        }
    }
    let own = SigningKey::from_bytes(&[7; 32]);
    let private = session.create(&edwards_private(&[7; 32])).unwrap();
    let public = session
        .create(&edwards_public(own.verifying_key().as_bytes()))
        .unwrap();
    let signature = own.sign(b"data").to_bytes();
    assert_eq!(
        session.run(Way::Sign, CKM_EDDSA, private, b"data").unwrap(),
        signature,
        "deterministic"
    );
    session
        .verify(CKM_EDDSA, public, b"data", &signature)
        .unwrap();
    own.verifying_key()
        .verify(b"data", &Signature::from_bytes(&signature))
        .unwrap();
    let parameter = Parameter::Eddsa {
        prehash: false,
        context: Vec::new(),
    };
    let explicit = session.run(
        Way::Sign,
        Mechanism::new(CKM_EDDSA, parameter),
        private,
        b"data",
    );
    // PKCS#11 3.2, 6.3.14: a parameter without prehash and with an empty context is Ed25519ctx with an empty context in RFC 8032,
    // and plain Ed25519 in the table of the standard; the standard's table wins.
    assert_eq!(explicit.unwrap(), signature);
}

#[test]
fn ed25519_with_context_as_in_rfc_8032() {
    let place = Workplace::open();
    if not_on_softhsm("Debian builds it without EdDSA") {
        return;
    }
    let session = place.user();
    // RFC 8032, 7.2.
    let seed = hex("0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6");
    let point = hex("dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292");
    let message = hex("f726936d19c800494e3fdaff20b276a8");
    for (context, expected) in [
        (
            "foo",
            "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d",
        ),
        (
            "bar",
            "fc60d5872fc46b3aa69f8b5b4351d5808f92bcc044606db097abab6dbcb1aee3216c48e8b3b66431b5b186d1d28f8ee15a5ca2df6668346291c2043d4eb3e90d",
        ),
    ] {
        let private = session.create(&edwards_private(&seed)).unwrap();
        let public = session.create(&edwards_public(&point)).unwrap();
        let parameter = Parameter::Eddsa {
            prehash: false,
            context: context.into(),
        };
        let mechanism = Mechanism::new(CKM_EDDSA, parameter);
        let signature = session
            .run(Way::Sign, mechanism.clone(), private, &message)
            .unwrap();
        assert_eq!(signature, hex(expected), "context {context}");
        session
            .verify(mechanism, public, &message, &signature)
            .unwrap();
        let verified = session.verify(CKM_EDDSA, public, &message, &signature);
        refused("without the context", verified, &[CKR_SIGNATURE_INVALID]);
    }
}

#[test]
fn ed25519ph_as_in_rfc_8032() {
    let place = Workplace::open();
    if not_on_softhsm("Debian builds it without EdDSA") {
        return;
    }
    let session = place.user();
    // RFC 8032, 7.3.
    let seed = hex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42");
    let expected = "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406";
    let private = session.create(&edwards_private(&seed)).unwrap();
    let own = SigningKey::from_bytes(&seed.try_into().unwrap());
    let public = session
        .create(&edwards_public(own.verifying_key().as_bytes()))
        .unwrap();
    let parameter = Parameter::Eddsa {
        prehash: true,
        context: Vec::new(),
    };
    let mechanism = Mechanism::new(CKM_EDDSA, parameter);
    let signature = session
        .run(Way::Sign, mechanism.clone(), private, b"abc")
        .unwrap();
    assert_eq!(signature, hex(expected));
    session
        .verify(mechanism.clone(), public, b"abc", &signature)
        .unwrap();
    let verified = session.verify(CKM_EDDSA, public, b"abc", &signature);
    refused("as plain Ed25519", verified, &[CKR_SIGNATURE_INVALID]);
    let pieces = session.run_in_pieces(Way::Sign, mechanism, private, b"abc", 1);
    if let Ok(pieces) = pieces {
        assert_eq!(pieces, hex(expected), "in pieces");
    }
}

#[test]
fn x25519() {
    let place = Workplace::open();
    if not_on_softhsm("Debian builds it without EdDSA") {
        return;
    }
    let session = place.user();
    for parameters in [X25519_OID, X25519_NAME] {
        let (public, private) = pair(&session, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, parameters);
        let point = point_of(&session, public);
        let own = x25519_dalek::StaticSecret::from([9; 32]);
        let other = x25519_dalek::PublicKey::from(&own);
        let secret = own.diffie_hellman(&x25519_dalek::PublicKey::from(point));
        let template = keys::readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 32);
        let key = session
            .derive(
                Mechanism::ecdh(CKD_NULL, b"", other.as_bytes()),
                private,
                &template,
            )
            .unwrap();
        assert_eq!(
            session.attribute(key, CKA_VALUE).unwrap(),
            secret.as_bytes()
        );
        let wrapped = der::encoded(4, other.as_bytes());
        let key = session
            .derive(Mechanism::ecdh(CKD_NULL, b"", &wrapped), private, &template)
            .unwrap();
        assert_eq!(
            session.attribute(key, CKA_VALUE).unwrap(),
            secret.as_bytes(),
            "a wrapped point"
        );
        let zero = session.derive(Mechanism::ecdh(CKD_NULL, b"", &[0; 32]), private, &template);
        refused(
            "a point of low order",
            zero,
            &[
                CKR_MECHANISM_PARAM_INVALID,
                CKR_PUBLIC_KEY_INVALID,
                CKR_DOMAIN_PARAMS_INVALID,
                CKR_ARGUMENTS_BAD,
            ],
        );
        let expected =
            strongroom_tests::judge::hash::Hash::Sha256.x963(secret.as_bytes(), b"info", 48);
        let template = keys::readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 48);
        let mechanism = Mechanism::ecdh(CKD_SHA256_KDF, b"info", other.as_bytes());
        let key = session.derive(mechanism, private, &template).unwrap();
        assert_eq!(session.attribute(key, CKA_VALUE).unwrap(), expected);
    }
}
