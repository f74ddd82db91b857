//! Digests, MACs and derivation, against RustCrypto and the vectors of the standards.

use hmac::{KeyInit, Mac};
use sha2::Digest as _;
use strongroom_crypto::Error;
use strongroom_crypto::block::BlockCipher;
use strongroom_crypto::digest::{Digest, Hash, digest};
use strongroom_crypto::kdf;
use strongroom_crypto::mac::{CmacKey, HmacKey, equal_in_constant_time};

use crate::{hex, noise, ready};

fn judged_digest(hash: Hash, data: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Md5 => md5::Md5::digest(data).to_vec(),
        Hash::Sha1 => sha1::Sha1::digest(data).to_vec(),
        Hash::Sha224 => sha2::Sha224::digest(data).to_vec(),
        Hash::Sha256 => sha2::Sha256::digest(data).to_vec(),
        Hash::Sha384 => sha2::Sha384::digest(data).to_vec(),
        Hash::Sha512 => sha2::Sha512::digest(data).to_vec(),
        Hash::Sha512_224 => sha2::Sha512_224::digest(data).to_vec(),
        Hash::Sha512_256 => sha2::Sha512_256::digest(data).to_vec(),
        Hash::Sha3_224 => sha3::Sha3_224::digest(data).to_vec(),
        Hash::Sha3_256 => sha3::Sha3_256::digest(data).to_vec(),
        Hash::Sha3_384 => sha3::Sha3_384::digest(data).to_vec(),
        Hash::Sha3_512 => sha3::Sha3_512::digest(data).to_vec(),
    }
}

/// HMAC by its definition (RFC 2104, 2), over the judge's digest.
fn judged_hmac(hash: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > hash.block_bytes() {
        judged_digest(hash, key)
    } else {
        key.to_vec()
    };
    block.resize(hash.block_bytes(), 0);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = judged_digest(hash, &[&pad(0x36), data].concat());
    judged_digest(hash, &[pad(0x5c), inner].concat())
}

#[test]
fn every_digest_agrees_with_the_judge() {
    ready();
    for hash in Hash::ALL {
        for length in [0, 1, 63, 64, 127, 128, 143, 144, 145, 1000] {
            let data = noise(length as u64, length);
            let expected = judged_digest(hash, &data);
            assert_eq!(digest(hash, &data).unwrap().as_ref(), expected, "{hash:?}");
            assert_eq!(expected.len(), hash.output_bytes());
            let mut running = Digest::new(hash).unwrap();
            assert_eq!(running.hash(), hash);
            running.update(&data[..length / 3]).unwrap();
            let mut copy = running.duplicate().unwrap();
            running.update(b"something else").unwrap();
            copy.update(&data[length / 3..]).unwrap();
            assert_eq!(copy.finish().unwrap().as_ref(), expected);
            assert_ne!(running.finish().unwrap().as_ref(), expected);
        }
    }
    // FIPS 180-4 examples, "abc".
    let expected = hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(digest(Hash::Sha256, b"abc").unwrap().as_ref(), expected);
}

#[test]
fn every_hmac_agrees_with_its_definition() {
    ready();
    for hash in Hash::ALL {
        for key_bytes in [0, 1, hash.block_bytes(), hash.block_bytes() + 1, 300] {
            let (key, data) = (noise(20, key_bytes), noise(21, 500));
            let prepared = HmacKey::new(hash, &key).unwrap();
            assert_eq!(prepared.hash(), hash);
            for _ in 0..2 {
                let mut mac = prepared.start().unwrap();
                mac.update(&data[..123]).unwrap();
                mac.update(&data[123..]).unwrap();
                assert_eq!(
                    mac.finish().unwrap().as_ref(),
                    judged_hmac(hash, &key, &data)
                );
            }
        }
    }
    let mut judge = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"key").unwrap();
    judge.update(b"data");
    let judged = judge.finalize().into_bytes();
    assert_eq!(
        judged.as_slice(),
        judged_hmac(Hash::Sha256, b"key", b"data")
    );
}

#[test]
fn cmac_agrees_with_the_judge() {
    ready();
    for length in [0, 1, 15, 16, 17, 32, 33, 100] {
        let data = noise(22, length);
        for key_bytes in [16, 24, 32] {
            let key = noise(23, key_bytes);
            let judged = match key_bytes {
                16 => cmac_of::<cmac::Cmac<aes::Aes128>>(&key, &data),
                24 => cmac_of::<cmac::Cmac<aes::Aes192>>(&key, &data),
                _ => cmac_of::<cmac::Cmac<aes::Aes256>>(&key, &data),
            };
            let prepared = CmacKey::new(BlockCipher::Aes, &key).unwrap();
            for cut in [0, length / 2, length] {
                let mut mac = prepared.start().unwrap();
                mac.update(&data[..cut]).unwrap();
                mac.update(&data[cut..]).unwrap();
                assert_eq!(mac.finish().unwrap().as_ref(), judged);
            }
        }
    }
    assert_eq!(
        CmacKey::new(BlockCipher::Aes, &[0; 20]).map(|_| ()),
        Err(Error::KeySize)
    );
}

fn cmac_of<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn the_comparison_compares() {
    ready();
    assert!(equal_in_constant_time(b"", b""));
    assert!(equal_in_constant_time(b"same", b"same"));
    assert!(!equal_in_constant_time(b"same", b"samf"));
    assert!(!equal_in_constant_time(b"same", b"sam"));
}

#[test]
fn x963_has_the_vector_of_nist_and_agrees_with_its_definition() {
    ready();
    // CAVS 12.0, ansx963_2001.rsp, SHA-256, the first one.
    let secret = hex("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08");
    let expected = hex("443024c3dae66b95e6f5670601558f71");
    let derived = kdf::x963(Hash::Sha256, &secret, b"", 16).unwrap();
    assert!(derived.equals_in_constant_time(&expected));
    for hash in Hash::ALL {
        for length in [1, hash.output_bytes(), hash.output_bytes() + 1, 500] {
            let mut judged: Vec<u8> = (1_u32..=50)
                .flat_map(|counter| {
                    let input = [&secret[..], &counter.to_be_bytes(), b"info"].concat();
                    judged_digest(hash, &input)
                })
                .collect();
            judged.truncate(length);
            let derived = kdf::x963(hash, &secret, b"info", length).unwrap();
            assert!(derived.equals_in_constant_time(&judged), "{hash:?}");
        }
    }
    let refused = kdf::x963(Hash::Sha256, &secret, b"", 0).map(|_| ());
    assert_eq!(refused, Err(Error::ParameterInvalid));
}

#[test]
fn hkdf_has_the_vector_of_the_standard() {
    ready();
    // RFC 5869, A.1.
    let mut okm = [0; 42];
    let (salt, info) = (
        hex("000102030405060708090a0b0c"),
        hex("f0f1f2f3f4f5f6f7f8f9"),
    );
    kdf::hkdf_sha256(&[0x0b; 22], &salt, &info, &mut okm).unwrap();
    let expected = hex(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf
        34007208d5b887185865",
    );
    assert_eq!(okm.as_slice(), expected);
    let mut too_long = vec![0; 255 * 32 + 1];
    assert_eq!(
        kdf::hkdf_sha256(b"secret", b"", b"", &mut too_long),
        Err(Error::ParameterInvalid)
    );
}
