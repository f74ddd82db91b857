//! Wrapping and unwrapping keys (PKCS#11 3.2, 5.18.4, 6.1.8 and 6.13).

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::judge::der;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::mechanism::{Oaep, Parameter};
use strongroom_tests::rv::refused;
use strongroom_tests::{
    Mechanism, Rv, Session, Template, Way, Workplace, not_on_softhsm, pattern, template,
};

use crate::keys;

const IV: [u8; 16] = [3; 16];

fn padded_mechanisms() -> Vec<(&'static str, Mechanism)> {
    let mut list = vec![("WRAP_PAD", Mechanism::plain(CKM_AES_KEY_WRAP_PAD))];
    if !not_on_softhsm("no CKM_AES_KEY_WRAP_KWP, and no wrapping with CBC_PAD") {
        list.push(("KWP", Mechanism::plain(CKM_AES_KEY_WRAP_KWP)));
        list.push(("CBC_PAD", Mechanism::bytes(CKM_AES_CBC_PAD, &IV)));
    }
    list
}

fn judged(name: &str, judge: &Aes, plain: &[u8]) -> Vec<u8> {
    match name {
        "CBC_PAD" => judge.cbc_pad(&IV, plain),
        _ => judge.kwp(plain),
    }
}

fn judged_back(name: &str, judge: &Aes, wrapped: &[u8]) -> Option<Vec<u8>> {
    match name {
        "CBC_PAD" => judge.cbc_pad_back(&IV, wrapped),
        _ => judge.kwp_back(wrapped),
    }
}

#[test]
fn secrets_under_aes_key_wrap() {
    let place = Workplace::open();
    let session = place.user();
    for kek_length in [16, 24, 32] {
        let kek = pattern(1, kek_length);
        let (wrapping, judge) = (keys::import_aes(&session, &kek), Aes::new(&kek));
        for (kind, length) in [
            (CKK_AES, 16),
            (CKK_AES, 24),
            (CKK_AES, 32),
            (CKK_GENERIC_SECRET, 64),
            (CKK_GENERIC_SECRET, 200),
        ] {
            let value = pattern(2, length);
            let key = keys::import_secret(&session, kind, &value);
            let wrapped = session.wrap(CKM_AES_KEY_WRAP, wrapping, key).unwrap();
            assert_eq!(wrapped, judge.kw(&value), "{kek_length}, {length}");
            let (code, told) = session.wrap_into(CKM_AES_KEY_WRAP, wrapping, key, length + 7);
            assert_eq!((code, told), (Rv(CKR_BUFFER_TOO_SMALL), length + 8));
            let back = session
                .unwrap(
                    CKM_AES_KEY_WRAP,
                    wrapping,
                    &wrapped,
                    &keys::readable_secret(kind),
                )
                .unwrap();
            assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), value);
        }
        let value = pattern(3, 20);
        let odd = keys::import_secret(&session, CKK_GENERIC_SECRET, &value);
        let wrapped = session.wrap(CKM_AES_KEY_WRAP, wrapping, odd).unwrap();
        let filled = [&value[..], &[0; 4]].concat();
        assert_eq!(wrapped, judge.kw(&filled), "PKCS#11 3.2, 6.16.3");
        let template = keys::readable_secret(CKK_GENERIC_SECRET);
        let unwrap = |template: &strongroom_tests::Template| {
            session.unwrap(CKM_AES_KEY_WRAP, wrapping, &wrapped, template)
        };
        let back = unwrap(&template).unwrap();
        assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), filled);
        if not_on_softhsm("CKA_VALUE_LEN is refused") {
            continue;
        }
        let back = unwrap(&template.clone().with(CKA_VALUE_LEN, 20)).unwrap();
        assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), value);
        for length in [16, 19, 25] {
            refused(
                "a length that cuts more than zeros, or is too long",
                unwrap(&template.clone().with(CKA_VALUE_LEN, length)),
                &[CKR_WRAPPED_KEY_LEN_RANGE],
            );
        }
    }
}

#[test]
fn secrets_under_padded_mechanisms() {
    let place = Workplace::open();
    let session = place.user();
    let kek = pattern(4, 32);
    let (wrapping, judge) = (keys::import_aes(&session, &kek), Aes::new(&kek));
    for (name, mechanism) in padded_mechanisms() {
        for (kind, length) in [
            (CKK_AES, 16),
            (CKK_AES, 24),
            (CKK_AES, 32),
            (CKK_GENERIC_SECRET, 1),
            (CKK_GENERIC_SECRET, 7),
            (CKK_GENERIC_SECRET, 8),
            (CKK_GENERIC_SECRET, 20),
            (CKK_GENERIC_SECRET, 333),
        ] {
            if (length < 16 || length % 8 != 0)
                && not_on_softhsm("short and odd keys are not wrapped as in RFC 5649")
            {
                continue;
            }
            let value = pattern(5, length);
            let key = keys::import_secret(&session, kind, &value);
            let wrapped = session.wrap(mechanism.clone(), wrapping, key).unwrap();
            assert_eq!(wrapped, judged(name, &judge, &value), "{name}, {length}");
            let back = session
                .unwrap(
                    mechanism.clone(),
                    wrapping,
                    &wrapped,
                    &keys::readable_secret(kind),
                )
                .unwrap_or_else(|code| panic!("{name}, {length}: {code:?}"));
            assert_eq!(
                session.attribute(back, CKA_VALUE).unwrap(),
                value,
                "{name}, {length}"
            );
        }
    }
}

#[test]
fn private_keys_travel_as_pkcs8() {
    let place = Workplace::open();
    let session = place.user();
    let kek = pattern(6, 32);
    let (wrapping, judge) = (keys::import_aes(&session, &kek), Aes::new(&kek));
    let rsa = RsaPrivate::fixed(2048);
    let curve = Curve::P256;
    let scalar = curve.fixed_scalar(5);
    let (_, rsa_key) = keys::import_rsa(&session, &rsa);
    let ec_key = session.create(&keys::ec_private(curve, &scalar)).unwrap();
    for (name, mechanism) in padded_mechanisms() {
        let wrapped = session
            .wrap(mechanism.clone(), wrapping, rsa_key)
            .expect(name);
        let plain = judged_back(name, &judge, &wrapped).expect("the judge unwraps");
        assert_eq!(
            RsaPrivate::from_pkcs1(pkcs8_content(&plain)).numbers,
            rsa.numbers,
            "{name}"
        );
        let back = session
            .unwrap(
                mechanism.clone(),
                wrapping,
                &wrapped,
                &private_template(CKK_RSA).with(CKA_SIGN, true),
            )
            .expect(name);
        let signature = session
            .run(Way::Sign, CKM_SHA256_RSA_PKCS, back, b"data")
            .unwrap();
        let content = Hash::Sha256.digest_info(&Hash::Sha256.of(b"data"));
        assert!(rsa.public().pkcs1_is_good(&content, &signature), "{name}");
        assert_eq!(session.flag(back, CKA_LOCAL), Ok(false));
        let wrapped = session
            .wrap(mechanism.clone(), wrapping, ec_key)
            .expect(name);
        let plain = judged_back(name, &judge, &wrapped).expect("the judge unwraps");
        // RFC 5915: version 1, then the scalar of full length.
        let elements = der::sequence(pkcs8_content(&plain));
        assert_eq!(elements[1], (4, scalar.as_slice()), "{name}");
        let back = session
            .unwrap(
                mechanism,
                wrapping,
                &wrapped,
                &private_template(CKK_EC).with(CKA_SIGN, true),
            )
            .expect(name);
        let signature = session.run(Way::Sign, CKM_ECDSA, back, &[9; 32]).unwrap();
        assert!(
            curve.ecdsa_is_good(&curve.point_of(&scalar), &[9; 32], &signature),
            "{name}"
        );
        assert_eq!(
            session.attribute(back, CKA_EC_PARAMS).unwrap(),
            curve.parameters()
        );
    }
}

/// The octets within a `PrivateKeyInfo`.
fn pkcs8_content(bytes: &[u8]) -> &[u8] {
    let elements = der::sequence(bytes);
    assert_eq!(elements[0], (2, [0].as_slice()), "version 0");
    assert_eq!(
        (elements[1].0, elements[2].0),
        (0x30, 4),
        "an algorithm and octets"
    );
    elements[2].1
}

fn private_template(kind: CK_KEY_TYPE) -> Template {
    template! {
        CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => kind, CKA_TOKEN => false, CKA_PRIVATE => true,
        CKA_SENSITIVE => false, CKA_EXTRACTABLE => true,
    }
}

#[test]
fn ed25519_keys_travel_as_in_rfc_8410() {
    let place = Workplace::open();
    if not_on_softhsm("Debian builds it without EdDSA") {
        return;
    }
    let session = place.user();
    let kek = pattern(7, 32);
    let (wrapping, judge) = (keys::import_aes(&session, &kek), Aes::new(&kek));
    let seed = pattern(8, 32);
    let key = session
        .create(
            &private_template(CKK_EC_EDWARDS)
                .with(CKA_SIGN, true)
                .with(CKA_EC_PARAMS, &[6, 3, 0x2b, 0x65, 0x70])
                .with(CKA_VALUE, &seed),
        )
        .unwrap();
    let wrapped = session.wrap(CKM_AES_KEY_WRAP_KWP, wrapping, key).unwrap();
    let plain = judge.kwp_back(&wrapped).unwrap();
    let (tag, inner, _) = der::element(pkcs8_version_any(&plain));
    assert_eq!(
        (tag, inner),
        (4, seed.as_slice()),
        "RFC 8410, 7: an OCTET STRING in an OCTET STRING"
    );
    let back = session
        .unwrap(
            CKM_AES_KEY_WRAP_KWP,
            wrapping,
            &wrapped,
            &private_template(CKK_EC_EDWARDS).with(CKA_SIGN, true),
        )
        .unwrap();
    let one = session.run(Way::Sign, CKM_EDDSA, key, b"x").unwrap();
    assert_eq!(session.run(Way::Sign, CKM_EDDSA, back, b"x").unwrap(), one);
}

fn pkcs8_version_any(bytes: &[u8]) -> &[u8] {
    der::sequence(bytes)[2].1
}

#[test]
fn keys_of_others_are_unwrapped_and_rubbish_is_not() {
    let place = Workplace::open();
    let session = place.user();
    let kek = pattern(9, 32);
    let (wrapping, judge) = (keys::import_aes(&session, &kek), Aes::new(&kek));
    let bad = &[
        CKR_WRAPPED_KEY_INVALID,
        CKR_WRAPPED_KEY_LEN_RANGE,
        CKR_ENCRYPTED_DATA_INVALID,
    ];
    let template = keys::readable_secret(CKK_AES);
    let wrapped = judge.kw(&[5; 32]);
    let key = session
        .unwrap(CKM_AES_KEY_WRAP, wrapping, &wrapped, &template)
        .unwrap();
    assert_eq!(session.attribute(key, CKA_VALUE).unwrap(), [5; 32]);
    if not_on_softhsm("it answers CKR_GENERAL_ERROR to a tampered key") {
        return;
    }
    let mut tampered = wrapped.clone();
    tampered[20] ^= 1;
    refused(
        "tampered",
        session.unwrap(CKM_AES_KEY_WRAP, wrapping, &tampered, &template),
        bad,
    );
    for length in [0, 7, 8, 15, 16, 39] {
        let unwrapped = session.unwrap(CKM_AES_KEY_WRAP, wrapping, &wrapped[..length], &template);
        let codes = [bad.as_slice(), &[CKR_ARGUMENTS_BAD]].concat();
        refused(&format!("{length} bytes"), unwrapped, &codes);
    }
    // What is inside must be a key of the kind that the template says.
    let seven = judge.kwp(&[5; 7]);
    let codes = [
        bad.as_slice(),
        &[
            CKR_TEMPLATE_INCONSISTENT,
            CKR_ATTRIBUTE_VALUE_INVALID,
            CKR_KEY_SIZE_RANGE,
        ],
    ]
    .concat();
    for (name, mechanism) in padded_mechanisms() {
        let seven = if name == "CBC_PAD" {
            judge.cbc_pad(&IV, &[5; 7])
        } else {
            seven.clone()
        };
        refused(
            "7 bytes for AES",
            session.unwrap(mechanism.clone(), wrapping, &seven, &template),
            &codes,
        );
        let as_rsa = private_template(CKK_RSA);
        refused(
            "rubbish for RSA",
            session.unwrap(mechanism, wrapping, &seven, &as_rsa),
            &codes,
        );
    }
    let value = template.with(CKA_VALUE, &[5; 32]);
    refused(
        "a value of the caller's",
        session.unwrap(CKM_AES_KEY_WRAP, wrapping, &wrapped, &value),
        &[
            CKR_TEMPLATE_INCONSISTENT,
            CKR_ATTRIBUTE_READ_ONLY,
            CKR_ATTRIBUTE_TYPE_INVALID,
        ],
    );
}

fn rsa_mechanisms() -> Vec<(&'static str, Mechanism, Hash)> {
    let mut list = vec![
        ("PKCS", Mechanism::plain(CKM_RSA_PKCS), Hash::Sha1),
        (
            "OAEP",
            Mechanism::oaep(CKM_SHA_1, CKG_MGF1_SHA1, b""),
            Hash::Sha1,
        ),
    ];
    if !not_on_softhsm("OAEP with SHA-1 only") {
        list.push((
            "OAEP",
            Mechanism::oaep(CKM_SHA256, CKG_MGF1_SHA256, b""),
            Hash::Sha256,
        ));
    }
    list
}

#[test]
fn secrets_under_rsa() {
    let place = Workplace::open();
    let session = place.user();
    let rsa = RsaPrivate::fixed(2048);
    let (public, private) = keys::import_rsa(&session, &rsa);
    for (name, mechanism, hash) in rsa_mechanisms() {
        for (kind, length) in [(CKK_AES, 16), (CKK_AES, 32), (CKK_GENERIC_SECRET, 100)] {
            let value = pattern(10, length);
            let key = keys::import_secret(&session, kind, &value);
            let wrapped = session.wrap(mechanism.clone(), public, key).expect(name);
            let plain = match name {
                "PKCS" => rsa.pkcs1_decrypt(&wrapped),
                _ => rsa.oaep_decrypt(hash, hash, b"", &wrapped),
            };
            assert_eq!(plain.as_ref(), Some(&value), "{name}, {length}");
            let foreign = match name {
                "PKCS" => rsa.public().pkcs1_encrypt(&value, 11),
                _ => rsa.public().oaep_encrypt(hash, hash, b"", &value, 11),
            };
            for wrapped in [wrapped, foreign] {
                let back = session
                    .unwrap(
                        mechanism.clone(),
                        private,
                        &wrapped,
                        &keys::readable_secret(kind),
                    )
                    .expect(name);
                assert_eq!(
                    session.attribute(back, CKA_VALUE).unwrap(),
                    value,
                    "{name}, {length}"
                );
            }
        }
        let long = keys::import_secret(&session, CKK_GENERIC_SECRET, &[1; 300]);
        refused(
            "more than RSA can hold",
            session.wrap(mechanism, public, long),
            &[CKR_KEY_SIZE_RANGE, CKR_KEY_NOT_WRAPPABLE],
        );
    }
}

#[test]
fn rsa_aes_key_wrap() {
    let place = Workplace::open();
    if not_on_softhsm("no CKM_RSA_AES_KEY_WRAP") {
        return;
    }
    let session = place.user();
    let rsa = RsaPrivate::fixed(2048);
    let (public, private) = keys::import_rsa(&session, &rsa);
    let target = RsaPrivate::fixed(4096);
    let (_, target_key) = keys::import_rsa(&session, &target);
    for (aes_bits, hash) in [(128, Hash::Sha1), (192, Hash::Sha256), (256, Hash::Sha512)] {
        let numbers = hash.numbers();
        let oaep = Oaep {
            hash: numbers.digest,
            mgf: numbers.mgf.unwrap(),
            label: Vec::new(),
        };
        let mechanism = Mechanism::new(CKM_RSA_AES_KEY_WRAP, Parameter::RsaAes { aes_bits, oaep });
        let wrapped = session.wrap(mechanism.clone(), public, target_key).unwrap();
        let temporary = rsa
            .oaep_decrypt(hash, hash, b"", &wrapped[..256])
            .expect("the first part");
        assert_eq!(temporary.len() as u64 * 8, aes_bits);
        let plain = Aes::new(&temporary)
            .kwp_back(&wrapped[256..])
            .expect("the second part");
        assert_eq!(
            RsaPrivate::from_pkcs1(pkcs8_content(&plain)).numbers,
            target.numbers
        );
        let back = session
            .unwrap(
                mechanism.clone(),
                private,
                &wrapped,
                &private_template(CKK_RSA).with(CKA_SIGN, true),
            )
            .unwrap();
        let signature = session
            .run(Way::Sign, CKM_SHA256_RSA_PKCS, back, b"data")
            .unwrap();
        let content = Hash::Sha256.digest_info(&Hash::Sha256.of(b"data"));
        assert!(target.public().pkcs1_is_good(&content, &signature));
        let secret = keys::import_aes(&session, &[6; 32]);
        let wrapped = session.wrap(mechanism.clone(), public, secret).unwrap();
        let key = session
            .unwrap(
                mechanism.clone(),
                private,
                &wrapped,
                &keys::readable_secret(CKK_AES),
            )
            .unwrap();
        assert_eq!(session.attribute(key, CKA_VALUE).unwrap(), [6; 32]);
        let mut tampered = wrapped;
        tampered[270] ^= 1;
        refused(
            "tampered",
            session.unwrap(
                mechanism,
                private,
                &tampered,
                &keys::readable_secret(CKK_AES),
            ),
            &[CKR_WRAPPED_KEY_INVALID, CKR_ENCRYPTED_DATA_INVALID],
        );
    }
    let oaep = Oaep {
        hash: CKM_SHA256,
        mgf: CKG_MGF1_SHA256,
        label: Vec::new(),
    };
    let odd = Mechanism::new(
        CKM_RSA_AES_KEY_WRAP,
        Parameter::RsaAes {
            aes_bits: 100,
            oaep,
        },
    );
    refused(
        "100 bits",
        session.wrap(odd, public, target_key),
        &[CKR_MECHANISM_PARAM_INVALID],
    );
}

#[test]
fn unwrapped_keys_obey_their_template() {
    let place = Workplace::open();
    let session: Session<'_> = place.user();
    let kek = pattern(12, 32);
    let (wrapping, judge) = (keys::import_aes(&session, &kek), Aes::new(&kek));
    let wrapped = judge.kw(&[5; 32]);
    let template = template! {
        CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_TOKEN => true, CKA_LABEL => "unwrapped",
        CKA_ENCRYPT => true, CKA_DECRYPT => false, CKA_SENSITIVE => true, CKA_EXTRACTABLE => false,
    };
    let key = session
        .unwrap(CKM_AES_KEY_WRAP, wrapping, &wrapped, &template)
        .unwrap();
    assert_eq!(session.flag(key, CKA_TOKEN), Ok(true));
    if !not_on_softhsm("an unwrapped key has no length") {
        assert_eq!(session.number(key, CKA_VALUE_LEN), Ok(32));
    }
    assert_eq!(
        session.attribute(key, CKA_VALUE),
        Err(Rv(CKR_ATTRIBUTE_SENSITIVE))
    );
    assert_eq!(
        session
            .run(Way::Encrypt, CKM_AES_ECB, key, &[1; 16])
            .unwrap(),
        Aes::new(&[5; 32]).ecb(&[1; 16])
    );
    refused(
        "decrypt",
        session.begin(Way::Decrypt, CKM_AES_ECB, key),
        &[CKR_KEY_FUNCTION_NOT_PERMITTED],
    );
    if !not_on_softhsm("a length that does not fit is overlooked") {
        let length = template.with(CKA_VALUE_LEN, 16);
        refused(
            "a length that does not fit",
            session.unwrap(CKM_AES_KEY_WRAP, wrapping, &wrapped, &length),
            &[CKR_WRAPPED_KEY_LEN_RANGE],
        );
    }
    let open = session.unwrap(
        CKM_AES_KEY_WRAP,
        wrapping,
        &wrapped,
        &template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_TOKEN => false },
    );
    open.expect("the shortest template");
}
