//! Vectors of RFCs and NIST.

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::{Mechanism, Way, Workplace, hex, not_on_softhsm};

use crate::keys;

/// Key, plaintext, ciphertext of SP 800-38A, appendix F: the first two blocks of each.
const KEYS: [&str; 3] = [
    "2b7e151628aed2a6abf7158809cf4f3c",
    "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
];
const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";

#[test]
fn aes_modes_of_sp_800_38a() {
    let place = Workplace::open();
    let session = place.user();
    let ecb = [
        "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf",
        "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef",
        "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870",
    ];
    let cbc = [
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
        "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a",
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d",
    ];
    let ctr = [
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
        "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94",
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
    ];
    let iv = hex("000102030405060708090a0b0c0d0e0f");
    let block = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
    let counter = Mechanism::new(CKM_AES_CTR, Parameter::Counter { bits: 128, block });
    let plain = hex(PLAIN);
    for (index, key) in KEYS.iter().enumerate() {
        let key = keys::import_aes(&session, &hex(key));
        for (mechanism, expected) in [
            (Mechanism::plain(CKM_AES_ECB), ecb[index]),
            (Mechanism::bytes(CKM_AES_CBC, &iv), cbc[index]),
            (counter.clone(), ctr[index]),
        ] {
            let what = format!("{:#x}, key {index}", mechanism.kind);
            let sealed = session
                .run(Way::Encrypt, mechanism.clone(), key, &plain)
                .unwrap();
            assert_eq!(sealed, hex(expected), "{what}");
            assert_eq!(
                session.run(Way::Decrypt, mechanism, key, &sealed).unwrap(),
                plain,
                "{what}"
            );
        }
    }
}

#[test]
fn key_wrap_of_rfc_3394_and_rfc_5649() {
    let place = Workplace::open();
    let session = place.user();
    let kek = keys::import_aes(
        &session,
        &hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
    );
    let value = hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
    let key = keys::import_aes(&session, &value);
    assert_eq!(
        session.wrap(CKM_AES_KEY_WRAP, kek, key).unwrap(),
        hex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"),
        "RFC 3394, 4.6"
    );
    if not_on_softhsm("no CKM_AES_KEY_WRAP_KWP") {
        return;
    }
    let kek = keys::import_aes(
        &session,
        &hex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"),
    );
    for (value, wrapped) in [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ] {
        let key = keys::import_secret(&session, CKK_GENERIC_SECRET, &hex(value));
        assert_eq!(
            session.wrap(CKM_AES_KEY_WRAP_KWP, kek, key).unwrap(),
            hex(wrapped),
            "RFC 5649, 6"
        );
    }
}

#[test]
fn ecdsa_of_rfc_6979_verifies() {
    let place = Workplace::open();
    let session = place.user();
    let curve = Curve::P256;
    let scalar = hex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let signature = hex(
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    );
    let public = session
        .create(&keys::ec_public(curve, &curve.point_of(&scalar)))
        .unwrap();
    let digest = strongroom_tests::judge::hash::Hash::Sha256.of(b"sample");
    session
        .verify(CKM_ECDSA, public, &digest, &signature)
        .expect("RFC 6979, A.2.5");
}

#[test]
fn hmac_of_rfc_4231() {
    let place = Workplace::open();
    let session = place.user();
    let cases = [
        (
            vec![0x0b; 20],
            b"Hi There".to_vec(),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            vec![0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ];
    for (value, data, mac) in cases {
        if value.len() < 32 && not_on_softhsm("keys of HMAC are at least as long as the hash") {
            continue;
        }
        let key = keys::import_secret(&session, CKK_GENERIC_SECRET, &value);
        assert_eq!(
            session.run(Way::Sign, CKM_SHA256_HMAC, key, &data).unwrap(),
            hex(mac)
        );
    }
}

#[test]
fn digests_of_fips_180_and_202() {
    let place = Workplace::open();
    let session = place.public();
    let mut rows = vec![
        (CKM_SHA_1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            CKM_SHA224,
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
        ),
        (
            CKM_SHA256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
    ];
    if !not_on_softhsm("no SHA-3") {
        rows.push((
            CKM_SHA3_256,
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        ));
    }
    for (mechanism, expected) in rows {
        assert_eq!(
            session.run(Way::Digest, mechanism, 0, b"abc").unwrap(),
            hex(expected)
        );
    }
}

#[test]
fn x25519_of_rfc_7748() {
    let place = Workplace::open();
    if not_on_softhsm("Debian builds it without EdDSA") {
        return;
    }
    let session = place.user();
    let scalar = hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let point = hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let key = session
        .create(&super::wycheproof::x25519_private(&scalar))
        .unwrap();
    let template = keys::readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 32);
    let derived = session
        .derive(Mechanism::ecdh(CKD_NULL, b"", &point), key, &template)
        .unwrap();
    assert_eq!(
        session.attribute(derived, CKA_VALUE).unwrap(),
        hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"),
        "RFC 7748, 5.2"
    );
}
