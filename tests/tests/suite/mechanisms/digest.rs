//! Digests, HMAC and random numbers (PKCS#11 3.2, 6.19 to 6.31 and 5.20).

use cryptoki_sys::*;
use strongroom_tests::judge::hash::{HASHES, Hash};
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::rv::refused;
use strongroom_tests::{Mechanism, Rv, Way, Workplace, call, not_on_softhsm, pattern};

use crate::keys;

fn is_sha3(hash: Hash) -> bool {
    matches!(
        hash,
        Hash::Sha3T224 | Hash::Sha3T256 | Hash::Sha3T384 | Hash::Sha3T512
    )
}

#[test]
fn digests() {
    let place = Workplace::open();
    let session = place.public();
    for row in HASHES {
        if is_sha3(row.hash) && not_on_softhsm("no SHA-3") {
            continue;
        }
        let block = row.hash.block();
        for length in [0, 1, block - 9, block - 1, block, block + 1, 1000, 70_001] {
            let data = pattern(1, length);
            let expected = row.hash.of(&data);
            let what = format!("{:?} of {length} bytes", row.hash);
            let digest = session.run_by_the_book(Way::Digest, row.digest, 0, &data);
            assert_eq!(digest, Ok(expected.clone()), "{what}");
            for piece in [1, 63, 1001] {
                if length > 2000 && piece == 1 {
                    continue;
                }
                let digest = session.run_in_pieces(Way::Digest, row.digest, 0, &data, piece);
                assert_eq!(digest, Ok(expected.clone()), "{what} by {piece}");
            }
        }
    }
}

#[test]
fn a_key_may_be_digested() {
    let place = Workplace::open();
    let session = place.user();
    let key = keys::import_secret(&session, CKK_GENERIC_SECRET, b"a secret of some length");
    session.begin(Way::Digest, CKM_SHA256, 0).unwrap();
    session
        .update(Way::Digest, b"before ", None)
        .0
        .ok()
        .unwrap();
    let code = call!(session.module, C_DigestKey(session.handle, key));
    if code.0 == CKR_KEY_INDIGESTIBLE || code.0 == CKR_FUNCTION_NOT_SUPPORTED {
        return;
    }
    assert_eq!(code, Rv(CKR_OK));
    let (code, length, output) = session.finish(Way::Digest, Some(64));
    assert_eq!(code, Rv(CKR_OK));
    assert_eq!(
        output[..length],
        Hash::Sha256.of(b"before a secret of some length")
    );
}

#[test]
fn hmac() {
    let place = Workplace::open();
    let session = place.user();
    for row in HASHES {
        if is_sha3(row.hash) && not_on_softhsm("no SHA-3") {
            continue;
        }
        let (block, size) = (row.hash.block(), row.hash.length());
        for key_length in [size, block - 1, block, block + 1, 300] {
            let value = pattern(key_length as u64, key_length);
            let key = keys::import_secret(&session, CKK_GENERIC_SECRET, &value);
            for length in [0, 1, 1000] {
                let data = pattern(2, length);
                let mac = row.hash.hmac(&value, &data);
                let what = format!("{:?}, key of {key_length}, {length} bytes", row.hash);
                let signed = session.run_by_the_book(Way::Sign, row.hmac, key, &data);
                assert_eq!(signed, Ok(mac.clone()), "{what}");
                session.verify(row.hmac, key, &data, &mac).expect(&what);
                for piece in [7, 999] {
                    let signed = session.run_in_pieces(Way::Sign, row.hmac, key, &data, piece);
                    assert_eq!(signed, Ok(mac.clone()), "{what} by {piece}");
                    session
                        .verify_in_pieces(row.hmac, key, &data, &mac, piece)
                        .expect(&what);
                }
                let mut wrong = mac.clone();
                wrong[0] ^= 1;
                let verified = session.verify(row.hmac, key, &data, &wrong);
                refused(&what, verified, &[CKR_SIGNATURE_INVALID]);
                let verified = session.verify(row.hmac, key, &data, &mac[1..]);
                refused(&what, verified, &[CKR_SIGNATURE_LEN_RANGE]);
            }
        }
    }
}

#[test]
fn hmac_of_chosen_length() {
    let place = Workplace::open();
    if not_on_softhsm("no general HMAC") {
        return;
    }
    let session = place.user();
    for row in HASHES {
        let value = pattern(3, 40);
        let key = keys::import_secret(&session, CKK_GENERIC_SECRET, &value);
        let whole = row.hash.hmac(&value, b"data");
        for length in [1, 10, row.hash.length()] {
            let mechanism = Mechanism::new(row.hmac_general, Parameter::Number(length as u64));
            let signed = session.run_by_the_book(Way::Sign, mechanism.clone(), key, b"data");
            assert_eq!(
                signed,
                Ok(whole[..length].to_vec()),
                "{:?} of {length}",
                row.hash
            );
            session
                .verify(mechanism.clone(), key, b"data", &whole[..length])
                .unwrap();
            let verified = session.verify(mechanism, key, b"other", &whole[..length]);
            if length > 1 {
                refused("other data", verified, &[CKR_SIGNATURE_INVALID]);
            }
        }
        for bad in [row.hash.length() as u64 + 1, u64::MAX] {
            let mechanism = Mechanism::new(row.hmac_general, Parameter::Number(bad));
            refused(
                "more than the hash has",
                session.begin(Way::Sign, mechanism, key),
                &[CKR_MECHANISM_PARAM_INVALID],
            );
        }
        let without = session.begin(Way::Sign, row.hmac_general, key);
        refused(
            "no length",
            without,
            &[CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD],
        );
    }
}

#[test]
fn random_bytes_differ() {
    let place = Workplace::open();
    let session = place.public();
    let long = session.random(100_000).unwrap();
    let mut counts = [0_usize; 256];
    for byte in &long {
        counts[usize::from(*byte)] += 1;
    }
    // 390 expected; a count beyond 25 standard deviations has never been seen by chance.
    assert!(
        counts.iter().all(|count| (1..900).contains(count)),
        "{counts:?}"
    );
    assert_ne!(session.random(32).unwrap(), session.random(32).unwrap());
    match session.random(0) {
        Ok(nothing) => assert!(nothing.is_empty()),
        Err(code) => assert_eq!(code, Rv(CKR_ARGUMENTS_BAD)),
    }
    match session.seed(b"some entropy") {
        Ok(()) => {}
        Err(code) => {
            assert!([CKR_RANDOM_SEED_NOT_SUPPORTED, CKR_USER_NOT_LOGGED_IN].contains(&code.0));
        }
    }
}
