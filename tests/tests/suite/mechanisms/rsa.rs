//! RSA: signatures, encryption, recovery (PKCS#11 3.2, 6.1).

use cryptoki_sys::*;
use strongroom_tests::judge::hash::{HASHES, Hash};
use strongroom_tests::judge::rsa::{RsaPrivate, RsaPublic};
use strongroom_tests::mechanism::{Oaep, Parameter};
use strongroom_tests::rv::refused;
use strongroom_tests::{Mechanism, Rv, Session, Way, Workplace, not_on_softhsm, pattern};

use crate::keys;

fn public_of(session: &Session<'_>, public: CK_OBJECT_HANDLE) -> RsaPublic {
    RsaPublic::new(
        &session.attribute(public, CKA_MODULUS).unwrap(),
        &session.attribute(public, CKA_PUBLIC_EXPONENT).unwrap(),
    )
}

fn pss(kind: CK_MECHANISM_TYPE, hash: Hash, mask: Hash, salt: usize) -> Mechanism {
    let parameter = Parameter::Pss {
        hash: hash.numbers().digest,
        mgf: mask.numbers().mgf.expect("a mask generation function"),
        salt: salt as u64,
    };
    Mechanism::new(kind, parameter)
}

/// The sizes that are generated; one test each, so that the slow ones run beside each other.
fn generated(bits: u64) {
    let place = Workplace::open();
    let session = place.user();
    let (public, private) = keys::rsa_pair(&session, bits);
    let judge = public_of(&session, public);
    assert_eq!(judge.bits() as u64, bits);
    let data = pattern(1, 500);
    let signature = session
        .run_by_the_book(Way::Sign, CKM_SHA256_RSA_PKCS, private, &data)
        .unwrap();
    assert!(judge.pkcs1_is_good(
        &Hash::Sha256.digest_info(&Hash::Sha256.of(&data)),
        &signature
    ));
    session
        .verify(CKM_SHA256_RSA_PKCS, public, &data, &signature)
        .unwrap();
    let sealed = judge.oaep_encrypt(Hash::Sha1, Hash::Sha1, b"", b"secret", 3);
    let mechanism = Mechanism::oaep(CKM_SHA_1, CKG_MGF1_SHA1, b"");
    assert_eq!(
        session.run(Way::Decrypt, mechanism, private, &sealed),
        Ok(b"secret".to_vec())
    );
}

#[test]
fn pair_of_2048_bits() {
    generated(2048);
}

#[test]
fn pair_of_3072_bits() {
    generated(3072);
}

#[test]
fn pair_of_4096_bits() {
    generated(4096);
}

#[test]
fn a_key_of_8192_bits_can_be_imported_and_used() {
    let place = Workplace::open();
    let session = place.user();
    let key = RsaPrivate::fixed(8192);
    let (public, private) = keys::import_rsa(&session, &key);
    let signature = session
        .run(Way::Sign, CKM_SHA512_RSA_PKCS, private, b"data")
        .unwrap();
    let content = Hash::Sha512.digest_info(&Hash::Sha512.of(b"data"));
    assert!(key.public().pkcs1_is_good(&content, &signature));
    session
        .verify(CKM_SHA512_RSA_PKCS, public, b"data", &signature)
        .unwrap();
}

#[test]
fn pkcs1_signatures_with_every_hash() {
    let place = Workplace::open();
    let session = place.user();
    for bits in [2048, 3072] {
        let key = RsaPrivate::fixed(bits);
        let (public, private) = keys::import_rsa(&session, &key);
        for row in HASHES {
            let Some([mechanism, ..]) = row.signatures else {
                continue;
            };
            let data = pattern(2, 333);
            let what = format!("{:?}, {bits} bits", row.hash);
            let signature = session
                .run_by_the_book(Way::Sign, mechanism, private, &data)
                .expect(&what);
            let content = row.hash.digest_info(&row.hash.of(&data));
            assert!(key.public().pkcs1_is_good(&content, &signature), "{what}");
            let pieces = session.run_in_pieces(Way::Sign, mechanism, private, &data, 17);
            assert_eq!(
                pieces,
                Ok(signature.clone()),
                "{what}: PKCS#1 v1.5 is deterministic"
            );
            session
                .verify(mechanism, public, &data, &signature)
                .expect(&what);
            session
                .verify_in_pieces(mechanism, public, &data, &signature, 100)
                .expect(&what);
            bad_signatures(&session, &mechanism.into(), public, &data, &signature);
            let bare = session.run(Way::Sign, CKM_RSA_PKCS, private, &content);
            assert_eq!(
                bare,
                Ok(signature.clone()),
                "{what}: CKM_RSA_PKCS over the DigestInfo"
            );
            session
                .verify(CKM_RSA_PKCS, public, &content, &signature)
                .expect(&what);
        }
    }
}

fn bad_signatures(
    session: &Session<'_>,
    mechanism: &Mechanism,
    public: CK_OBJECT_HANDLE,
    data: &[u8],
    signature: &[u8],
) {
    let verify =
        |data: &[u8], signature: &[u8]| session.verify(mechanism.clone(), public, data, signature);
    let invalid = &[CKR_SIGNATURE_INVALID];
    let length = &[CKR_SIGNATURE_LEN_RANGE];
    let mut tampered = signature.to_vec();
    tampered[7] ^= 4;
    refused("a flipped bit", verify(data, &tampered), invalid);
    let mut other = data.to_vec();
    other[0] ^= 1;
    refused("other data", verify(&other, signature), invalid);
    refused("a byte less", verify(data, &signature[1..]), length);
    refused(
        "a byte more",
        verify(data, &[signature, &[0]].concat()),
        length,
    );
    refused(
        "nothing",
        verify(data, b""),
        &[CKR_SIGNATURE_LEN_RANGE, CKR_ARGUMENTS_BAD],
    );
    refused(
        "all ones",
        verify(data, &vec![0xff; signature.len()]),
        invalid,
    );
}

#[test]
fn pkcs1_refuses_more_than_it_can_hold() {
    let place = Workplace::open();
    let session = place.user();
    let key = RsaPrivate::fixed(2048);
    let (public, private) = keys::import_rsa(&session, &key);
    let most = pattern(3, 245);
    let signature = session
        .run(Way::Sign, CKM_RSA_PKCS, private, &most)
        .unwrap();
    assert!(key.public().pkcs1_is_good(&most, &signature));
    if not_on_softhsm("to wrong lengths it answers CKR_GENERAL_ERROR") {
        return;
    }
    let range = &[CKR_DATA_LEN_RANGE];
    refused(
        "246 bytes",
        session.run(Way::Sign, CKM_RSA_PKCS, private, &pattern(3, 246)),
        range,
    );
    let sealed = session
        .run(Way::Encrypt, CKM_RSA_PKCS, public, &most)
        .unwrap();
    assert_eq!(key.pkcs1_decrypt(&sealed), Some(most));
    refused(
        "246 bytes",
        session.run(Way::Encrypt, CKM_RSA_PKCS, public, &pattern(3, 246)),
        range,
    );
    let pieces = session.run_in_pieces(Way::Sign, CKM_RSA_PKCS, private, b"data", 2);
    if let Err(code) = pieces {
        // PKCS#11 3.2, 6.1.6: a single-part mechanism.
        assert_ne!(code, Rv(CKR_GENERAL_ERROR));
    }
}

#[test]
fn pss_with_every_hash_and_many_salts() {
    let place = Workplace::open();
    let session = place.user();
    let key = RsaPrivate::fixed(2048);
    let (public, private) = keys::import_rsa(&session, &key);
    for row in HASHES {
        let Some([_, mechanism, _]) = row.signatures else {
            continue;
        };
        let data = pattern(4, 99);
        let digest = row.hash.of(&data);
        let most = 256 - 2 - digest.len();
        for salt in [0, 1, digest.len(), most] {
            let what = format!("{:?}, salt of {salt}", row.hash);
            let with = pss(mechanism, row.hash, row.hash, salt);
            let signature = session
                .run_by_the_book(Way::Sign, with.clone(), private, &data)
                .expect(&what);
            assert!(
                key.public()
                    .pss_is_good(row.hash, row.hash, salt, &digest, &signature),
                "{what}"
            );
            session
                .verify(with.clone(), public, &data, &signature)
                .expect(&what);
            session
                .verify_in_pieces(with.clone(), public, &data, &signature, 7)
                .expect(&what);
            bad_signatures(&session, &with, public, &data, &signature);
            let again = session
                .run_in_pieces(Way::Sign, with, private, &data, 40)
                .expect(&what);
            assert!(
                key.public()
                    .pss_is_good(row.hash, row.hash, salt, &digest, &again),
                "{what}"
            );
            let bare = pss(CKM_RSA_PKCS_PSS, row.hash, row.hash, salt);
            let signature = session
                .run(Way::Sign, bare.clone(), private, &digest)
                .expect(&what);
            assert!(
                key.public()
                    .pss_is_good(row.hash, row.hash, salt, &digest, &signature),
                "{what}"
            );
            session
                .verify(bare, public, &digest, &signature)
                .expect(&what);
        }
        if not_on_softhsm("it answers CKR_MECHANISM_INVALID") {
            continue;
        }
        let long = pss(mechanism, row.hash, row.hash, most + 1);
        let signed = session.run(Way::Sign, long, private, &data);
        refused(
            "a salt too long",
            signed,
            &[
                CKR_MECHANISM_PARAM_INVALID,
                CKR_KEY_SIZE_RANGE,
                CKR_ARGUMENTS_BAD,
                CKR_DATA_LEN_RANGE,
            ],
        );
        let wrong = session.run(
            Way::Sign,
            pss(CKM_RSA_PKCS_PSS, row.hash, row.hash, 8),
            private,
            b"short",
        );
        refused("a digest of another length", wrong, &[CKR_DATA_LEN_RANGE]);
    }
    if not_on_softhsm("hash and mask must be the same") {
        return;
    }
    let parameter = Parameter::Pss {
        hash: CKM_SHA512,
        mgf: CKG_MGF1_SHA256,
        salt: 32,
    };
    let contradiction = Mechanism::new(CKM_SHA256_RSA_PKCS_PSS, parameter);
    refused(
        "a hash that contradicts the mechanism",
        session.begin(Way::Sign, contradiction, private),
        &[CKR_MECHANISM_PARAM_INVALID],
    );
}

#[test]
fn pss_with_another_hash_in_the_mask() {
    let place = Workplace::open();
    if not_on_softhsm("hash and mask must be the same") {
        return;
    }
    let session = place.user();
    let key = RsaPrivate::fixed(3072);
    let (public, private) = keys::import_rsa(&session, &key);
    for (hash, mask) in [
        (Hash::Sha256, Hash::Sha1),
        (Hash::Sha512, Hash::Sha256),
        (Hash::Sha1, Hash::Sha512),
        (Hash::Sha384, Hash::Sha224),
    ] {
        let digest = hash.of(b"data");
        for salt in [0, 20] {
            let mechanism = pss(CKM_RSA_PKCS_PSS, hash, mask, salt);
            let signature = session
                .run(Way::Sign, mechanism.clone(), private, &digest)
                .unwrap();
            assert!(
                key.public()
                    .pss_is_good(hash, mask, salt, &digest, &signature),
                "{hash:?} {mask:?}"
            );
            session
                .verify(mechanism, public, &digest, &signature)
                .unwrap();
            let other = pss(CKM_RSA_PKCS_PSS, hash, hash, salt);
            let verified = session.verify(other, public, &digest, &signature);
            refused(
                "with the mask of the hash",
                verified,
                &[CKR_SIGNATURE_INVALID],
            );
        }
    }
}

#[test]
fn encryption_of_pkcs1() {
    let place = Workplace::open();
    let session = place.user();
    for bits in [2048, 4096] {
        let key = RsaPrivate::fixed(bits);
        let (public, private) = keys::import_rsa(&session, &key);
        for length in [0, 1, 32, bits / 8 - 11] {
            let plain = pattern(5, length);
            if length > 0 || !not_on_softhsm("nothing is not encrypted") {
                let sealed = session
                    .run_by_the_book(Way::Encrypt, CKM_RSA_PKCS, public, &plain)
                    .unwrap();
                assert_eq!(
                    key.pkcs1_decrypt(&sealed),
                    Some(plain.clone()),
                    "{bits}, {length}"
                );
            }
            let sealed = key.public().pkcs1_encrypt(&plain, 6);
            if !not_on_softhsm("the length told is not the length that comes") {
                let opened = session.run_by_the_book(Way::Decrypt, CKM_RSA_PKCS, private, &sealed);
                assert_eq!(opened, Ok(plain.clone()), "{bits}, {length}");
            }
            assert_eq!(
                session.run(Way::Decrypt, CKM_RSA_PKCS, private, &sealed),
                Ok(plain)
            );
        }
        if not_on_softhsm("to wrong lengths it answers CKR_GENERAL_ERROR") {
            continue;
        }
        let short = session.run(Way::Decrypt, CKM_RSA_PKCS, private, &[1; 99]);
        refused(
            "a ciphertext too short",
            short,
            &[CKR_ENCRYPTED_DATA_LEN_RANGE],
        );
    }
}

#[test]
fn raw_rsa() {
    let place = Workplace::open();
    let session = place.user();
    let key = RsaPrivate::fixed(2048);
    let (public, private) = keys::import_rsa(&session, &key);
    let mut block = pattern(7, 256);
    block[0] = 0;
    let sealed = key.public().raw(&block);
    assert_eq!(
        session.run_by_the_book(Way::Encrypt, CKM_RSA_X_509, public, &block),
        Ok(sealed.clone())
    );
    assert_eq!(
        session.run_by_the_book(Way::Decrypt, CKM_RSA_X_509, private, &sealed),
        Ok(block.clone())
    );
    let signature = session
        .run(Way::Sign, CKM_RSA_X_509, private, &block)
        .unwrap();
    assert_eq!(signature, key.raw(&block));
    session
        .verify(CKM_RSA_X_509, public, &block, &signature)
        .unwrap();
    let big = vec![0xff; 256];
    refused(
        "a number over the modulus",
        session.run(Way::Encrypt, CKM_RSA_X_509, public, &big),
        &[
            CKR_DATA_INVALID,
            CKR_DATA_LEN_RANGE,
            CKR_FUNCTION_FAILED,
            CKR_GENERAL_ERROR,
        ],
    );
    let short = session
        .run(Way::Sign, CKM_RSA_X_509, private, &block[200..])
        .unwrap();
    let padded = [vec![0; 200].as_slice(), &block[200..]].concat();
    assert_eq!(
        short,
        key.raw(&padded),
        "PKCS#11 3.2, 6.1.10: zeros go before short data"
    );
}

#[test]
fn oaep_with_hashes_masks_and_labels() {
    let place = Workplace::open();
    let session = place.user();
    let key = RsaPrivate::fixed(2048);
    let (public, private) = keys::import_rsa(&session, &key);
    for (hash, mask, label) in [
        (Hash::Sha1, Hash::Sha1, b"".as_slice()),
        (Hash::Sha256, Hash::Sha256, b"a label"),
        (Hash::Sha256, Hash::Sha1, b""),
        (Hash::Sha384, Hash::Sha384, b"x"),
        (Hash::Sha512, Hash::Sha512, b""),
        (Hash::Sha1, Hash::Sha512, b"another"),
        (Hash::Sha224, Hash::Sha256, b""),
    ] {
        if hash != Hash::Sha1 && not_on_softhsm("OAEP with SHA-1 and without label only") {
            continue;
        }
        if (mask != hash || !label.is_empty()) && not_on_softhsm("the same") {
            continue;
        }
        let mgf = mask.numbers().mgf.unwrap();
        let mechanism = Mechanism::oaep(hash.numbers().digest, mgf, label);
        let what = format!("{hash:?}, {mask:?}, {label:?}");
        let most = 256 - 2 - 2 * hash.length();
        for length in [0, 1, 32, most] {
            let plain = pattern(8, length);
            if length > 0 || !not_on_softhsm("nothing is not encrypted") {
                let sealed = session
                    .run_by_the_book(Way::Encrypt, mechanism.clone(), public, &plain)
                    .expect(&what);
                assert_eq!(
                    key.oaep_decrypt(hash, mask, label, &sealed),
                    Some(plain.clone()),
                    "{what}"
                );
            }
            let sealed = key.public().oaep_encrypt(hash, mask, label, &plain, 9);
            let opened = session.run(Way::Decrypt, mechanism.clone(), private, &sealed);
            assert_eq!(opened, Ok(plain), "{what}");
        }
        if not_on_softhsm("it answers CKR_GENERAL_ERROR to wrong lengths and to bad padding") {
            continue;
        }
        let long = session.run(
            Way::Encrypt,
            mechanism.clone(),
            public,
            &pattern(8, most + 1),
        );
        refused("one byte too many", long, &[CKR_DATA_LEN_RANGE]);
        let bad = &[CKR_ENCRYPTED_DATA_INVALID];
        let other = key
            .public()
            .oaep_encrypt(hash, mask, b"another label altogether", b"x", 9);
        refused(
            "another label",
            session.run(Way::Decrypt, mechanism.clone(), private, &other),
            bad,
        );
        let mut tampered = key.public().oaep_encrypt(hash, mask, label, b"x", 9);
        tampered[100] ^= 1;
        refused(
            "a flipped bit",
            session.run(Way::Decrypt, mechanism.clone(), private, &tampered),
            bad,
        );
        let short = session.run(Way::Decrypt, mechanism, private, &tampered[1..]);
        refused("a byte less", short, &[CKR_ENCRYPTED_DATA_LEN_RANGE]);
    }
}

#[test]
fn bad_parameters_of_rsa() {
    let place = Workplace::open();
    let session = place.user();
    let (public, private) = keys::import_rsa(&session, &RsaPrivate::fixed(2048));
    let bad = &[CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD];
    refused(
        "OAEP without parameter",
        session.begin(Way::Encrypt, CKM_RSA_PKCS_OAEP, public),
        bad,
    );
    refused(
        "PSS without parameter",
        session.begin(Way::Sign, CKM_RSA_PKCS_PSS, private),
        bad,
    );
    let unknown = Mechanism::oaep(0x7fff_fff0, CKG_MGF1_SHA256, b"");
    refused(
        "OAEP with an unknown hash",
        session.begin(Way::Encrypt, unknown, public),
        bad,
    );
    let unknown = Mechanism::oaep(CKM_SHA_1, 0x7fff_fff0, b"");
    refused(
        "OAEP with an unknown mask",
        session.begin(Way::Encrypt, unknown, public),
        bad,
    );
    let _ = Oaep {
        hash: CKM_SHA_1,
        mgf: CKG_MGF1_SHA1,
        label: Vec::new(),
    };
    for (hash, mgf) in [(0x7fff_fff0, CKG_MGF1_SHA256), (CKM_SHA256, 0x7fff_fff0)] {
        let mechanism = Mechanism::new(
            CKM_RSA_PKCS_PSS,
            Parameter::Pss {
                hash,
                mgf,
                salt: 32,
            },
        );
        refused(
            "PSS with unknown numbers",
            session.begin(Way::Sign, mechanism, private),
            bad,
        );
    }
}

#[test]
fn recovery() {
    let place = Workplace::open();
    if not_on_softhsm("no recovery") {
        return;
    }
    let session = place.user();
    let key = RsaPrivate::fixed(2048);
    let (public, private) = keys::import_rsa(&session, &key);
    let data = pattern(10, 50);
    let signature = session
        .run_by_the_book(Way::SignRecover, CKM_RSA_PKCS, private, &data)
        .unwrap();
    assert!(key.public().pkcs1_is_good(&data, &signature));
    let recovered = session.run_by_the_book(Way::VerifyRecover, CKM_RSA_PKCS, public, &signature);
    assert_eq!(recovered, Ok(data));
    let mut tampered = signature;
    tampered[9] ^= 1;
    let recovered = session.run(Way::VerifyRecover, CKM_RSA_PKCS, public, &tampered);
    refused("a flipped bit", recovered, &[CKR_SIGNATURE_INVALID]);
    let recovered = session.run(Way::VerifyRecover, CKM_RSA_PKCS, public, &tampered[1..]);
    refused("a byte less", recovered, &[CKR_SIGNATURE_LEN_RANGE]);
    let mut block = pattern(11, 256);
    block[0] = 0;
    let signature = session
        .run(Way::SignRecover, CKM_RSA_X_509, private, &block)
        .unwrap();
    assert_eq!(signature, key.raw(&block));
    assert_eq!(
        session.run(Way::VerifyRecover, CKM_RSA_X_509, public, &signature),
        Ok(block)
    );
}
