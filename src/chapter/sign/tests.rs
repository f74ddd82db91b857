//! *What lives here:* the tests of `sign.rs`. *What must never live here:* what several tests share (`session/operation/rig.rs`). *Who
//! calls it:* the test runner.

use strongroom_crypto::ec::Curve;
use strongroom_wire::ck::{AttributeType, KeyType, MechanismType as M, Mgf};

use super::*;
use crate::attribute::Value;
use crate::mechanism::rows;
use crate::mechanism::table::MacLength;
use crate::session::operation::rig::{
    Pair, Rig, data, done, mechanism, room, sign_parameter, size, too_small,
};

const MESSAGE: &[u8] = b"thirty-two bytes of a message...";

fn takes_parts(scheme: SignScheme) -> bool {
    !matches!(
        scheme,
        SignScheme::RsaPkcs1(None)
            | SignScheme::RsaRaw
            | SignScheme::RsaPss(None)
            | SignScheme::Ecdsa(None)
            | SignScheme::Dsa(None)
    )
}

fn signed(
    desk: &Desk<'_>,
    mechanism: &Mechanism<'_>,
    key: ObjectHandle,
    message: &[u8],
) -> Result<Reply> {
    done(sign_init(desk, Some(mechanism), key));
    sign(desk, message, room(1024))
}

fn verified(
    desk: &Desk<'_>,
    with: &Mechanism<'_>,
    key: ObjectHandle,
    message: &[u8],
    signature: &[u8],
) -> Result<Reply> {
    done(verify_init(desk, Some(with), key));
    verify(desk, message, signature)
}

fn round_trip(rig: &Rig, with: &Mechanism<'_>, keys: Pair, scheme: SignScheme) {
    let desk = &rig.desk();
    done(sign_init(desk, Some(with), keys.private));
    assert_eq!(
        sign_init(desk, Some(with), keys.private).unwrap_err(),
        Error::OperationActive
    );
    let length = size(sign(desk, MESSAGE, Output::Size));
    assert_eq!(too_small(sign(desk, MESSAGE, room(length - 1))), length);
    let signature = data(sign(desk, MESSAGE, room(length)));
    assert_eq!(signature.len(), length);
    assert_eq!(
        sign(desk, MESSAGE, room(length)).unwrap_err(),
        Error::OperationNotInitialized
    );
    done(verified(desk, with, keys.public, MESSAGE, &signature));
    assert_eq!(
        verify(desk, MESSAGE, &signature).unwrap_err(),
        Error::OperationNotInitialized
    );

    // Other from the beginning: DSA looks at no more bytes than q has.
    let other = b"thirsty two bytes of a massage..";
    assert_eq!(
        verified(desk, with, keys.public, other, &signature).unwrap_err(),
        Error::SignatureInvalid
    );
    let mut wrong = signature.clone();
    wrong[length / 2] ^= 1;
    assert_eq!(
        verified(desk, with, keys.public, MESSAGE, &wrong).unwrap_err(),
        Error::SignatureInvalid
    );
    let longer = [&signature[..], &[0]].concat();
    for wrong in [&signature[1..], &longer, &[]] {
        assert_eq!(
            verified(desk, with, keys.public, MESSAGE, wrong).unwrap_err(),
            Error::SignatureLenRange
        );
    }
    if takes_parts(scheme) {
        in_parts(rig, with, keys, &signature);
    } else {
        whole_only(rig, with, keys);
    }
}

fn in_parts(rig: &Rig, with: &Mechanism<'_>, keys: Pair, signature: &[u8]) {
    let desk = &rig.desk();
    done(sign_init(desk, Some(with), keys.private));
    for part in [&MESSAGE[..1], &[], &MESSAGE[1..]] {
        done(sign_update(desk, part));
    }
    let length = size(sign_final(desk, Output::Size));
    assert_eq!(too_small(sign_final(desk, room(length - 1))), length);
    let in_parts = data(sign_final(desk, room(length)));
    done(verified(desk, with, keys.public, MESSAGE, &in_parts));
    done(verify_init(desk, Some(with), keys.public));
    done(verify_update(desk, &MESSAGE[..20]));
    done(verify_update(desk, &MESSAGE[20..]));
    done(verify_final(desk, signature));

    // Nothing at all is a message too.
    done(sign_init(desk, Some(with), keys.private));
    let of_nothing = data(sign_final(desk, room(length)));
    done(verified(desk, with, keys.public, b"", &of_nothing));

    // What has begun in parts cannot be ended by the function for the whole.
    done(sign_init(desk, Some(with), keys.private));
    done(sign_update(desk, MESSAGE));
    assert_eq!(
        sign(desk, MESSAGE, room(length)).unwrap_err(),
        Error::OperationNotInitialized
    );
    assert_eq!(
        sign_final(desk, room(length)).unwrap_err(),
        Error::OperationNotInitialized
    );
    done(verify_init(desk, Some(with), keys.public));
    done(verify_update(desk, MESSAGE));
    assert_eq!(
        verify(desk, MESSAGE, signature).unwrap_err(),
        Error::OperationNotInitialized
    );
    assert_eq!(
        verify_final(desk, signature).unwrap_err(),
        Error::OperationNotInitialized
    );
}

fn whole_only(rig: &Rig, with: &Mechanism<'_>, keys: Pair) {
    let desk = &rig.desk();
    done(sign_init(desk, Some(with), keys.private));
    assert_eq!(
        sign_update(desk, MESSAGE).unwrap_err(),
        Error::OperationNotInitialized
    );
    assert_eq!(
        sign(desk, MESSAGE, Output::Size).unwrap_err(),
        Error::OperationNotInitialized
    );
    done(sign_init(desk, Some(with), keys.private));
    assert_eq!(
        sign_final(desk, Output::Size).unwrap_err(),
        Error::OperationNotInitialized
    );
    done(verify_init(desk, Some(with), keys.public));
    assert_eq!(
        verify_update(desk, MESSAGE).unwrap_err(),
        Error::OperationNotInitialized
    );
    done(verify_init(desk, Some(with), keys.public));
    assert_eq!(
        verify_final(desk, &[0; 256]).unwrap_err(),
        Error::OperationNotInitialized
    );
}

#[test]
fn every_row_signs_and_verifies() {
    let rig = Rig::new();
    let mut rows_seen = 0;
    for (row, scheme) in rows().iter().filter_map(|row| Some((row, row.sign()?))) {
        let keys = rig.keys_for(row);
        let with = mechanism(row.kind, sign_parameter(scheme));
        round_trip(&rig, &with, keys, scheme);
        let wrong = mechanism(row.kind, Parameter::Bytes(b"no such"));
        for parameter in [Parameter::Malformed, wrong.parameter] {
            let with = mechanism(row.kind, parameter);
            let refused = sign_init(&rig.desk(), Some(&with), keys.private);
            assert_eq!(
                refused.unwrap_err(),
                Error::MechanismParamInvalid,
                "{}",
                row.kind
            );
        }
        rows_seen += 1;
    }
    assert!(rows_seen > 50, "{rows_seen}");
}

#[test]
fn an_hmac_takes_its_own_key_type_and_generic_secrets() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let with = mechanism(M::SHA256_HMAC, Parameter::None);
    let macs = [KeyType::GENERIC_SECRET, KeyType::SHA256_HMAC].map(|key_type| {
        let key = rig.secret_with(key_type, b"Jefe", &[]);
        data(signed(desk, &with, key, b"what do ya want for nothing?"))
    });
    // RFC 4231, 4.3.
    assert_eq!(macs[0][..4], [0x5b, 0xdc, 0xc1, 0x46]);
    assert_eq!(macs[0], macs[1]);
    let general = mechanism(M::SHA256_HMAC_GENERAL, Parameter::Number(4));
    let key = rig.secret_with(KeyType::GENERIC_SECRET, b"Jefe", &[]);
    assert_eq!(
        data(signed(desk, &general, key, b"what do ya want for nothing?")),
        macs[0][..4]
    );
    let other = rig.secret_with(KeyType::SHA384_HMAC, b"Jefe", &[]);
    assert_eq!(
        sign_init(desk, Some(&with), other).unwrap_err(),
        Error::KeyTypeInconsistent
    );
}

#[test]
fn lengths_of_macs() {
    let rig = Rig::new();
    let key = rig
        .keys_for(crate::mechanism::row(M::SHA_1_HMAC).unwrap())
        .private;
    for (bytes, fine) in [
        (0, false),
        (1, true),
        (20, true),
        (21, false),
        (u64::MAX, false),
    ] {
        let with = mechanism(M::SHA_1_HMAC_GENERAL, Parameter::Number(bytes));
        assert_eq!(
            sign_init(&rig.desk(), Some(&with), key).is_ok(),
            fine,
            "{bytes}"
        );
        done(sign_init(&rig.desk(), None, key));
    }
    let full = mechanism(M::SHA_1_HMAC, Parameter::Number(20));
    assert_eq!(
        sign_init(&rig.desk(), Some(&full), key).unwrap_err(),
        Error::MechanismParamInvalid
    );
    assert!(matches!(
        crate::mechanism::row(M::AES_CMAC).unwrap().sign(),
        Some(SignScheme::Cmac(_, MacLength::Full))
    ));
}

#[test]
fn lengths_of_data() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let (rsa, ec) = (rig.rsa_with(&[]).private, rig.ec(Curve::P256));
    let plain = |kind| mechanism(kind, Parameter::None);
    let pss = mechanism(M::RSA_PKCS_PSS, sign_parameter(SignScheme::RsaPss(None)));
    for (with, key, bytes, expected) in [
        (&plain(M::RSA_PKCS), rsa, 245, None),
        (&plain(M::RSA_PKCS), rsa, 0, None),
        (&plain(M::RSA_PKCS), rsa, 246, Some(Error::DataLenRange)),
        (&plain(M::RSA_X_509), rsa, 3, None),
        (&plain(M::RSA_X_509), rsa, 257, Some(Error::DataLenRange)),
        (&plain(M::RSA_X_509), rsa, 256, Some(Error::DataInvalid)),
        (&pss, rsa, 32, None),
        (&pss, rsa, 31, Some(Error::DataLenRange)),
        (&pss, rsa, 33, Some(Error::DataLenRange)),
        (&plain(M::ECDSA), ec.private, 1, None),
        (&plain(M::ECDSA), ec.private, 128, None),
        (&plain(M::ECDSA), ec.private, 0, Some(Error::DataLenRange)),
        (&plain(M::ECDSA), ec.private, 129, Some(Error::DataLenRange)),
    ] {
        let error = signed(desk, with, key, &vec![0xff; bytes]).err();
        assert_eq!(error, expected, "{} {bytes}", with.kind);
        assert_eq!(
            sign(desk, b"", Output::Size).unwrap_err(),
            Error::OperationNotInitialized
        );
    }
}

#[test]
fn ecdsa_takes_signatures_whose_halves_are_short() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let with = mechanism(M::ECDSA, Parameter::None);
    let keys = rig.ec(Curve::P521);
    let (signature, r, s) = loop {
        let signature = data(signed(desk, &with, keys.private, MESSAGE));
        // Of 66 bytes only one bit of the first counts, so that it is often zero: wait until it is in both halves.
        let (r, s) = signature.split_at(66);
        if r[0] == 0 && s[0] == 0 {
            break (signature.clone(), r.to_vec(), s.to_vec());
        }
    };
    let short = [&r[1..], &s[1..]].concat();
    done(verified(desk, &with, keys.public, MESSAGE, &signature));
    done(verified(desk, &with, keys.public, MESSAGE, &short));
    for bytes in [0, 1, 131, 133, 134] {
        let wrong = vec![1; bytes];
        assert_eq!(
            verified(desk, &with, keys.public, MESSAGE, &wrong).unwrap_err(),
            Error::SignatureLenRange
        );
    }
}

#[test]
fn parameters_of_pss() {
    let rig = Rig::new();
    let key = rig.rsa_with(&[]).private;
    let pss = |kind, hash, mgf, salt_bytes| {
        let with = mechanism(
            kind,
            Parameter::Pss {
                hash,
                mgf,
                salt_bytes,
            },
        );
        let answer = sign_init(&rig.desk(), Some(&with), key).err();
        done(sign_init(&rig.desk(), None, key));
        answer
    };
    let wrong = Some(Error::MechanismParamInvalid);
    assert_eq!(
        pss(M::SHA256_RSA_PKCS_PSS, M::SHA256, Mgf::MGF1_SHA1, 0),
        None
    );
    assert_eq!(
        pss(M::SHA256_RSA_PKCS_PSS, M::SHA384, Mgf::MGF1_SHA256, 0),
        wrong
    );
    assert_eq!(pss(M::RSA_PKCS_PSS, M::SHA384, Mgf::MGF1_SHA256, 206), None);
    assert_eq!(
        pss(M::RSA_PKCS_PSS, M::SHA384, Mgf::MGF1_SHA256, 207),
        wrong
    );
    assert_eq!(
        pss(M::RSA_PKCS_PSS, M::SHA384, Mgf::MGF1_SHA256, u64::MAX),
        wrong
    );
    assert_eq!(
        pss(M::RSA_PKCS_PSS, M::SHA256_HMAC, Mgf::MGF1_SHA256, 0),
        wrong
    );
    assert_eq!(pss(M::RSA_PKCS_PSS, M::SHA256, Mgf(99), 0), wrong);
}

#[test]
fn the_forms_of_ed25519_differ() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let keys = rig.ed25519();
    let eddsa = |prehash, context| mechanism(M::EDDSA, Parameter::Eddsa { prehash, context });
    let context = [7; 256];
    let forms = [
        mechanism(M::EDDSA, Parameter::None),
        eddsa(false, &context[..1]),
        eddsa(true, &[]),
        eddsa(true, &context[..255]),
    ];
    let signatures = forms
        .each_ref()
        .map(|form| data(signed(desk, form, keys.private, MESSAGE)));
    for (form, signature) in forms.iter().zip(&signatures) {
        for other in &signatures {
            let verdict = verified(desk, form, keys.public, MESSAGE, other);
            assert_eq!(verdict.is_ok(), signature == other);
        }
    }
    done(verified(
        desk,
        &eddsa(false, &[]),
        keys.public,
        MESSAGE,
        &signatures[0],
    ));
    let long = sign_init(desk, Some(&eddsa(false, &context)), keys.private);
    assert_eq!(long.unwrap_err(), Error::MechanismParamInvalid);
}

#[test]
fn signatures_with_recovery() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let keys = rig.rsa_with(&[]);
    for (row, bytes) in [(M::RSA_PKCS, MESSAGE.len()), (M::RSA_X_509, 256)] {
        let with = mechanism(row, Parameter::None);
        done(sign_recover_init(desk, Some(&with), keys.private));
        assert_eq!(size(sign_recover(desk, MESSAGE, Output::Size)), 256);
        assert_eq!(too_small(sign_recover(desk, MESSAGE, room(255))), 256);
        let signature = data(sign_recover(desk, MESSAGE, room(256)));
        done(verified(desk, &with, keys.public, MESSAGE, &signature));

        done(verify_recover_init(desk, Some(&with), keys.public));
        assert!(size(verify_recover(desk, &signature, Output::Size)) >= bytes);
        assert_eq!(
            too_small(verify_recover(desk, &signature, room(bytes - 1))),
            bytes
        );
        let recovered = data(verify_recover(desk, &signature, room(bytes)));
        assert!(recovered.ends_with(MESSAGE));
        assert_eq!(recovered.len(), bytes);

        done(verify_recover_init(desk, Some(&with), keys.public));
        assert_eq!(
            verify_recover(desk, &[1; 255], room(256)).unwrap_err(),
            Error::SignatureLenRange
        );
        done(verify_recover_init(desk, Some(&with), keys.public));
        assert_eq!(
            verify_recover(desk, &[0xff; 256], room(256)).unwrap_err(),
            Error::SignatureInvalid
        );
        assert_eq!(
            verify_recover(desk, &signature, room(256)).unwrap_err(),
            Error::OperationNotInitialized
        );
    }
    let hashed = mechanism(M::SHA256_RSA_PKCS, Parameter::None);
    assert_eq!(
        sign_recover_init(desk, Some(&hashed), keys.private).unwrap_err(),
        Error::MechanismInvalid
    );
}

#[test]
fn what_init_refuses_and_in_which_order() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let keys = rig.rsa_with(&[]);
    let nobody = ObjectHandle(77);
    let init =
        |kind, parameter, key| sign_init(desk, Some(&mechanism(kind, parameter)), key).unwrap_err();
    assert_eq!(
        init(M(0x8000_1234), Parameter::None, nobody),
        Error::MechanismInvalid
    );
    assert_eq!(
        init(M::SHA256, Parameter::None, nobody),
        Error::MechanismInvalid
    );
    assert_eq!(
        init(M::RSA_PKCS, Parameter::Malformed, nobody),
        Error::KeyHandleInvalid
    );
    assert_eq!(
        init(M::ECDSA, Parameter::Malformed, keys.private),
        Error::KeyTypeInconsistent
    );
    assert_eq!(
        init(M::RSA_PKCS, Parameter::Malformed, keys.private),
        Error::MechanismParamInvalid
    );
    let silent = rig
        .rsa_with(&[(AttributeType::SIGN, Value::Flag(false))])
        .private;
    assert_eq!(
        init(M::RSA_PKCS, Parameter::Malformed, silent),
        Error::KeyFunctionNotPermitted
    );
    done(sign_init(
        desk,
        Some(&mechanism(M::RSA_PKCS, Parameter::None)),
        keys.private,
    ));
    assert_eq!(
        init(M(0x8000_1234), Parameter::None, nobody),
        Error::OperationActive
    );
    data(sign(desk, MESSAGE, room(256)));
}
