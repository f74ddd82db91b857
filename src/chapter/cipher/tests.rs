//! *What lives here:* the tests of `cipher.rs`. *What must never live here:* what several tests share (`session/operation/rig.rs`). *Who
//! calls it:* the test runner.

use strongroom_crypto::block::BlockCipher::Aes;
use strongroom_wire::ck::{KeyType, MechanismType as M, Mgf, OaepSource};
use strongroom_wire::request::OaepParameter;

use super::*;
use crate::mechanism::{CipherScheme, rows};
use crate::session::operation::rig::{
    Pair, Rig, cipher_parameter, data, done, mechanism, room, size, too_small,
};

/// Two blocks and, for those that need none whole, a bit.
const PLAIN: &[u8] = b"exactly thirty-two bytes of text and a bit";

fn plain_for(scheme: CipherScheme) -> &'static [u8] {
    if matches!(scheme, CipherScheme::Ecb(_) | CipherScheme::Cbc(_)) {
        &PLAIN[..32]
    } else {
        PLAIN
    }
}

fn is_rsa(scheme: CipherScheme) -> bool {
    matches!(
        scheme,
        CipherScheme::RsaPkcs1 | CipherScheme::RsaRaw | CipherScheme::RsaOaep
    )
}

fn encrypted(
    desk: &Desk<'_>,
    with: &Mechanism<'_>,
    key: ObjectHandle,
    plain: &[u8],
) -> Result<Reply> {
    done(encrypt_init(desk, Some(with), key));
    encrypt(desk, plain, room(1024))
}

fn decrypted(
    desk: &Desk<'_>,
    with: &Mechanism<'_>,
    key: ObjectHandle,
    sealed: &[u8],
) -> Result<Reply> {
    done(decrypt_init(desk, Some(with), key));
    decrypt(desk, sealed, room(1024))
}

/// The whole at once: size, too small, right; both ways.
fn whole(desk: &Desk<'_>, with: &Mechanism<'_>, keys: Pair, plain: &[u8]) -> Vec<u8> {
    done(encrypt_init(desk, Some(with), keys.public));
    let length = size(encrypt(desk, plain, Output::Size));
    if length > 0 {
        assert_eq!(too_small(encrypt(desk, plain, room(length - 1))), length);
    }
    let sealed = data(encrypt(desk, plain, room(length)));
    assert_eq!(sealed.len(), length);
    assert_eq!(
        encrypt(desk, plain, room(length)).unwrap_err(),
        Error::OperationNotInitialized
    );

    done(decrypt_init(desk, Some(with), keys.private));
    let bound = size(decrypt(desk, &sealed, Output::Size));
    assert!(bound >= plain.len());
    let opened = if plain.is_empty() {
        data(decrypt(desk, &sealed, room(bound)))
    } else {
        let length = too_small(decrypt(desk, &sealed, room(plain.len() - 1)));
        assert!(length >= plain.len());
        // A size that is asked now is the real one.
        assert_eq!(size(decrypt(desk, &sealed, Output::Size)), length);
        data(decrypt(desk, &sealed, room(length)))
    };
    assert!(opened.ends_with(plain));
    assert_eq!(
        decrypt(desk, &sealed, room(1024)).unwrap_err(),
        Error::OperationNotInitialized
    );
    sealed
}

fn in_parts(
    desk: &Desk<'_>,
    with: &Mechanism<'_>,
    keys: Pair,
    plain: &[u8],
    sealed: &[u8],
    chunk: usize,
) {
    let mut out = Vec::new();
    done(encrypt_init(desk, Some(with), keys.public));
    for part in plain.chunks(chunk) {
        let length = size(encrypt_update(desk, part, Output::Size));
        if length > 0 {
            assert_eq!(
                too_small(encrypt_update(desk, part, room(length - 1))),
                length
            );
        }
        out.extend(data(encrypt_update(desk, part, room(length))));
    }
    out.extend(data(encrypt_update(desk, b"", room(0))));
    let length = size(encrypt_final(desk, Output::Size));
    if length > 0 {
        assert_eq!(too_small(encrypt_final(desk, room(length - 1))), length);
    }
    out.extend(data(encrypt_final(desk, room(length))));
    assert_eq!(out, sealed);
    assert_eq!(
        encrypt_final(desk, room(length)).unwrap_err(),
        Error::OperationNotInitialized
    );

    out.clear();
    done(decrypt_init(desk, Some(with), keys.private));
    for part in sealed.chunks(chunk) {
        let length = size(decrypt_update(desk, part, Output::Size));
        out.extend(data(decrypt_update(desk, part, room(length))));
    }
    let rest = plain.len() - out.len();
    assert!(size(decrypt_final(desk, Output::Size)) >= rest);
    if rest > 0 {
        assert_eq!(too_small(decrypt_final(desk, room(rest - 1))), rest);
    }
    out.extend(data(decrypt_final(desk, room(rest))));
    assert_eq!(out, plain);
    assert_eq!(
        decrypt_final(desk, room(length)).unwrap_err(),
        Error::OperationNotInitialized
    );
}

#[test]
fn every_row_encrypts_and_decrypts() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let mut rows_seen = 0;
    for (row, scheme) in rows().iter().filter_map(|row| Some((row, row.cipher()?))) {
        let keys = rig.keys_for(row);
        let with = mechanism(row.kind, cipher_parameter(scheme));
        let plain = plain_for(scheme);
        let sealed = whole(desk, &with, keys, plain);
        if is_rsa(scheme) {
            single_part_only(desk, &with, keys);
        } else {
            for chunk in [1, 15, 16, 17, 1000] {
                in_parts(desk, &with, keys, plain, &sealed, chunk);
            }
            let sealed = whole(desk, &with, keys, b"");
            in_parts(desk, &with, keys, b"", &sealed, 16);
            not_whole_after_parts(desk, &with, keys);
        }
        for parameter in [
            Parameter::Malformed,
            Parameter::Bytes(b"no such"),
            Parameter::Number(1),
        ] {
            let refused = encrypt_init(desk, Some(&mechanism(row.kind, parameter)), keys.public);
            assert_eq!(
                refused.unwrap_err(),
                Error::MechanismParamInvalid,
                "{}",
                row.kind
            );
        }
        rows_seen += 1;
    }
    assert_eq!(rows_seen, 14);
}

fn single_part_only(desk: &Desk<'_>, with: &Mechanism<'_>, keys: Pair) {
    let refused = Error::OperationNotInitialized;
    done(encrypt_init(desk, Some(with), keys.public));
    assert_eq!(
        encrypt_update(desk, PLAIN, Output::Size).unwrap_err(),
        refused
    );
    done(encrypt_init(desk, Some(with), keys.public));
    assert_eq!(encrypt_final(desk, room(256)).unwrap_err(), refused);
    done(decrypt_init(desk, Some(with), keys.private));
    assert_eq!(
        decrypt_update(desk, &[0; 256], room(256)).unwrap_err(),
        refused
    );
    done(decrypt_init(desk, Some(with), keys.private));
    assert_eq!(decrypt_final(desk, Output::Size).unwrap_err(), refused);
    assert_eq!(decrypt(desk, &[0; 256], room(256)).unwrap_err(), refused);
}

fn not_whole_after_parts(desk: &Desk<'_>, with: &Mechanism<'_>, keys: Pair) {
    done(encrypt_init(desk, Some(with), keys.public));
    data(encrypt_update(desk, PLAIN, room(1024)));
    assert_eq!(
        encrypt(desk, PLAIN, room(1024)).unwrap_err(),
        Error::OperationNotInitialized
    );
    assert_eq!(
        encrypt_final(desk, room(1024)).unwrap_err(),
        Error::OperationNotInitialized
    );
    done(decrypt_init(desk, Some(with), keys.private));
    data(decrypt_update(desk, PLAIN, room(1024)));
    assert_eq!(
        decrypt(desk, PLAIN, Output::Size).unwrap_err(),
        Error::OperationNotInitialized
    );
}

#[test]
fn lengths_of_plaintexts() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let (rsa, aes) = (rig.rsa_with(&[]).public, rig.aes().public);
    for (kind, scheme, key, bytes, expected) in [
        (M::RSA_PKCS, CipherScheme::RsaPkcs1, rsa, 245, None),
        (M::RSA_PKCS, CipherScheme::RsaPkcs1, rsa, 0, None),
        (
            M::RSA_PKCS,
            CipherScheme::RsaPkcs1,
            rsa,
            246,
            Some(Error::DataLenRange),
        ),
        (M::RSA_PKCS_OAEP, CipherScheme::RsaOaep, rsa, 190, None),
        (
            M::RSA_PKCS_OAEP,
            CipherScheme::RsaOaep,
            rsa,
            191,
            Some(Error::DataLenRange),
        ),
        (M::RSA_X_509, CipherScheme::RsaRaw, rsa, 255, None),
        (
            M::RSA_X_509,
            CipherScheme::RsaRaw,
            rsa,
            256,
            Some(Error::DataInvalid),
        ),
        (
            M::RSA_X_509,
            CipherScheme::RsaRaw,
            rsa,
            257,
            Some(Error::DataLenRange),
        ),
        (
            M::AES_ECB,
            CipherScheme::Ecb(Aes),
            aes,
            15,
            Some(Error::DataLenRange),
        ),
        (
            M::AES_CBC,
            CipherScheme::Cbc(Aes),
            aes,
            17,
            Some(Error::DataLenRange),
        ),
    ] {
        let with = mechanism(kind, cipher_parameter(scheme));
        assert_eq!(
            encrypted(desk, &with, key, &vec![0xff; bytes]).err(),
            expected,
            "{kind} {bytes}"
        );
        assert_eq!(
            encrypt(desk, b"", Output::Size).unwrap_err(),
            Error::OperationNotInitialized
        );
    }
    let cbc = mechanism(M::AES_CBC, cipher_parameter(CipherScheme::Cbc(Aes)));
    done(encrypt_init(desk, Some(&cbc), aes));
    data(encrypt_update(desk, &[0; 17], room(16)));
    assert_eq!(
        encrypt_final(desk, room(16)).unwrap_err(),
        Error::DataLenRange
    );
}

#[test]
fn lengths_of_ciphertexts() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let (rsa, aes) = (rig.rsa_with(&[]).private, rig.aes().private);
    for (row, scheme) in rows().iter().filter_map(|row| Some((row, row.cipher()?))) {
        let with = mechanism(row.kind, cipher_parameter(scheme));
        let wrong: &[usize] = match scheme {
            CipherScheme::AesCtr => &[],
            CipherScheme::AesGcm => &[0, 15],
            CipherScheme::CbcPad(_) => &[0, 15, 17],
            CipherScheme::Ecb(_) | CipherScheme::Cbc(_) => &[15, 17],
            _ => &[0, 255, 257],
        };
        let key = match row.key_types {
            [KeyType::RSA] => rsa,
            [KeyType::AES] => aes,
            _ => rig.keys_for(row).private,
        };
        for bytes in wrong {
            let sealed = vec![1; *bytes];
            assert_eq!(
                decrypted(desk, &with, key, &sealed).unwrap_err(),
                Error::EncryptedDataLenRange,
                "{}",
                row.kind
            );
            if !is_rsa(scheme) {
                done(decrypt_init(desk, Some(&with), key));
                data(decrypt_update(desk, &sealed, room(64)));
                assert_eq!(
                    decrypt_final(desk, room(64)).unwrap_err(),
                    Error::EncryptedDataLenRange,
                    "{}",
                    row.kind
                );
            }
        }
    }
}

#[test]
fn one_code_for_every_fault_of_a_ciphertext() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let (rsa, aes) = (rig.rsa_with(&[]), rig.aes());
    for (kind, scheme) in [
        (M::RSA_PKCS, CipherScheme::RsaPkcs1),
        (M::RSA_PKCS_OAEP, CipherScheme::RsaOaep),
        (M::RSA_X_509, CipherScheme::RsaRaw),
    ] {
        let with = mechanism(kind, cipher_parameter(scheme));
        assert_eq!(
            decrypted(desk, &with, rsa.private, &[0xff; 256]).unwrap_err(),
            Error::EncryptedDataInvalid
        );
    }
    // A PKCS#1 ciphertext whose padding is that of OAEP, and the other way round.
    let oaep = mechanism(M::RSA_PKCS_OAEP, cipher_parameter(CipherScheme::RsaOaep));
    let pkcs1 = mechanism(M::RSA_PKCS, Parameter::None);
    let sealed = data(encrypted(desk, &pkcs1, rsa.public, PLAIN));
    assert_eq!(
        decrypted(desk, &oaep, rsa.private, &sealed).unwrap_err(),
        Error::EncryptedDataInvalid
    );

    let ecb = mechanism(M::AES_ECB, Parameter::None);
    let zeros = data(encrypted(desk, &ecb, aes.public, &[0; 16]));
    let padded = mechanism(M::AES_CBC_PAD, Parameter::Bytes(&[0; 16]));
    assert_eq!(
        decrypted(desk, &padded, aes.private, &zeros).unwrap_err(),
        Error::EncryptedDataInvalid
    );
    assert_eq!(
        decrypt(desk, &zeros, room(16)).unwrap_err(),
        Error::OperationNotInitialized
    );
}

#[test]
fn gcm_gives_no_plaintext_before_its_tag() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let key = rig.aes();
    let with = mechanism(M::AES_GCM, cipher_parameter(CipherScheme::AesGcm));
    let sealed = data(encrypted(desk, &with, key.public, PLAIN));
    for place in 0..sealed.len() {
        let mut wrong = sealed.clone();
        wrong[place] ^= 0x80;
        assert_eq!(
            decrypted(desk, &with, key.private, &wrong).unwrap_err(),
            Error::EncryptedDataInvalid
        );
        done(decrypt_init(desk, Some(&with), key.private));
        assert!(data(decrypt_update(desk, &wrong, room(0))).is_empty());
        assert_eq!(
            decrypt_final(desk, room(1024)).unwrap_err(),
            Error::EncryptedDataInvalid
        );
    }
    let other = mechanism(
        M::AES_GCM,
        Parameter::Gcm {
            iv: &[5; 12],
            aad: b"Header",
            tag_bits: 128,
        },
    );
    assert_eq!(
        decrypted(desk, &other, key.private, &sealed).unwrap_err(),
        Error::EncryptedDataInvalid
    );
}

#[test]
fn parameters_of_gcm() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let key = rig.aes();
    for (iv_bytes, tag_bits, fine) in [
        (12, 128, true),
        (1, 120, true),
        (16, 112, true),
        (256, 104, true),
        (12, 96, true),
        (12, 64, true),
        (12, 32, true),
        (0, 128, false),
        (12, 0, false),
        (12, 40, false),
        (12, 88, false),
        (12, 127, false),
        (12, 136, false),
        (12, u64::MAX, false),
    ] {
        let iv = vec![8; iv_bytes];
        let with = mechanism(
            M::AES_GCM,
            Parameter::Gcm {
                iv: &iv,
                aad: b"",
                tag_bits,
            },
        );
        if fine {
            let sealed = whole(desk, &with, key, PLAIN);
            assert_eq!((sealed.len() - PLAIN.len()) as u64, tag_bits / 8);
            in_parts(desk, &with, key, PLAIN, &sealed, 16);
        } else {
            let refused = encrypt_init(desk, Some(&with), key.public);
            assert_eq!(
                refused.unwrap_err(),
                Error::MechanismParamInvalid,
                "{iv_bytes} {tag_bits}"
            );
        }
    }
}

#[test]
fn a_counter_does_not_repeat() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let key = rig.aes();
    let counter = |bits| {
        mechanism(
            M::AES_CTR,
            Parameter::Counter {
                bits,
                block: [0xff; 16],
            },
        )
    };
    for bits in [0, 129, u64::MAX] {
        assert_eq!(
            encrypt_init(desk, Some(&counter(bits)), key.public).unwrap_err(),
            Error::MechanismParamInvalid
        );
    }
    whole(desk, &counter(1), key, &PLAIN[..32]);
    assert_eq!(
        encrypted(desk, &counter(1), key.public, &PLAIN[..33]).unwrap_err(),
        Error::DataLenRange
    );
    assert_eq!(
        decrypted(desk, &counter(1), key.private, &PLAIN[..33]).unwrap_err(),
        Error::EncryptedDataLenRange
    );
    whole(desk, &counter(128), key, PLAIN);
}

#[test]
fn parameters_of_oaep() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let keys = rig.rsa_with(&[]);
    let oaep = |hash, mgf, source, label| {
        mechanism(
            M::RSA_PKCS_OAEP,
            Parameter::Oaep(OaepParameter {
                hash,
                mgf,
                source,
                label,
            }),
        )
    };
    let (none, given) = (OaepSource(0), OaepSource::DATA_SPECIFIED);
    whole(
        desk,
        &oaep(M::SHA_1, Mgf::MGF1_SHA1, none, b""),
        keys,
        PLAIN,
    );
    whole(
        desk,
        &oaep(M::SHA3_512, Mgf::MGF1_SHA512, given, b""),
        keys,
        PLAIN,
    );
    for wrong in [
        oaep(M::SHA_1, Mgf::MGF1_SHA1, none, b"label"),
        oaep(M::SHA_1, Mgf::MGF1_SHA1, OaepSource(2), b""),
        oaep(M::SHA256_RSA_PKCS, Mgf::MGF1_SHA1, given, b""),
        oaep(M::SHA256, Mgf(0), given, b""),
    ] {
        assert_eq!(
            encrypt_init(desk, Some(&wrong), keys.public).unwrap_err(),
            Error::MechanismParamInvalid
        );
    }
    let one = oaep(M::SHA256, Mgf::MGF1_SHA256, given, b"one");
    let sealed = data(encrypted(desk, &one, keys.public, PLAIN));
    let other = oaep(M::SHA256, Mgf::MGF1_SHA256, given, b"other");
    assert_eq!(
        decrypted(desk, &other, keys.private, &sealed).unwrap_err(),
        Error::EncryptedDataInvalid
    );
}

#[test]
fn data_of_megabytes() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let key = rig.aes();
    let plain = vec![0x5a; 3 << 20];
    for (kind, scheme) in [
        (M::AES_GCM, CipherScheme::AesGcm),
        (M::AES_CBC_PAD, CipherScheme::CbcPad(Aes)),
    ] {
        let with = mechanism(kind, cipher_parameter(scheme));
        let sealed = whole(desk, &with, key, &plain);
        in_parts(desk, &with, key, &plain, &sealed, 100_000);
    }
}

#[test]
fn what_an_authenticated_decryption_keeps_back_is_bounded() {
    let rig = Rig::new();
    let desk = &rig.desk();
    let with = mechanism(M::AES_GCM, cipher_parameter(CipherScheme::AesGcm));
    done(decrypt_init(desk, Some(&with), rig.aes().private));
    let part = vec![0; crate::limits::Limits::default().held_data_bytes_max / 2];
    data(decrypt_update(desk, &part, room(0)));
    data(decrypt_update(desk, &part, room(0)));
    let refused = decrypt_update(desk, &[0], room(0));
    assert_eq!(refused.unwrap_err(), Error::EncryptedDataLenRange);
}
