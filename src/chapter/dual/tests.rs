//! *What lives here:* the tests of two operations with one part, and of a signature that comes first (PKCS#11 3.2, 5.15 and 5.16).
//! *What must never live here:* what several tests share (`service/rig.rs`). *Who calls it:* the test runner.

use strongroom_crypto::digest::{Hash, digest};
use strongroom_wire::ck::{AttributeType as A, MechanismType as M, Rv};
use strongroom_wire::request::{Dual, Mechanism, ObjectHandle, Output, Parameter, Request};
use strongroom_wire::secret::Secret;

use crate::attribute::Value;
use crate::service::rig::*;

const PARTS: [&[u8]; 3] = [&[1; 16], &[2; 7], &[3; 41]];

fn aes(talk: &Talk) -> ObjectHandle {
    talk.generate(M::AES_KEY_GEN, &[(A::VALUE_LEN, Value::Number(32))])
        .unwrap()
}

fn counter() -> Mechanism<'static> {
    Mechanism {
        kind: M::AES_CTR,
        parameter: Parameter::Counter {
            bits: 128,
            block: [9; 16],
        },
    }
}

impl Talk {
    fn dual(&self, dual: Dual, part: &[u8], output: Output) -> Told {
        let (session, part) = (self.session, Secret::new(part));
        self.ask(&Request::DualUpdate {
            session,
            dual,
            part,
            output,
        })
    }

    fn dual_parts(&self, dual: Dual, data: &[u8]) -> Vec<u8> {
        let pieces = data.chunks(13).map(|part| {
            let told = self.dual(dual, part, Output::Capacity(64));
            told.output().unwrap()
        });
        pieces.flatten().collect()
    }

    fn begin(&self, request: &Request<'_>) {
        assert_eq!(self.rv(request), Rv::OK);
    }

    fn encrypt_init(&self, key: ObjectHandle) {
        let (session, mechanism) = (self.session, Some(counter()));
        self.begin(&Request::EncryptInit {
            session,
            mechanism,
            key,
        });
    }

    fn decrypt_init(&self, key: ObjectHandle) {
        let (session, mechanism) = (self.session, Some(counter()));
        self.begin(&Request::DecryptInit {
            session,
            mechanism,
            key,
        });
    }

    fn digest_init(&self) {
        let (session, mechanism) = (self.session, Some(plain(M::SHA256)));
        self.begin(&Request::DigestInit { session, mechanism });
    }

    fn digest_final(&self) -> Vec<u8> {
        let (session, output) = (self.session, Output::Capacity(32));
        self.ask(&Request::DigestFinal { session, output })
            .output()
            .unwrap()
    }
}

#[test]
fn what_is_digested_is_the_plaintext_both_ways() {
    let talk = House::new().user();
    let key = aes(&talk);
    let data = PARTS.concat();
    let expected = digest(Hash::Sha256, &data).unwrap();

    talk.encrypt_init(key);
    talk.digest_init();
    let sealed = talk.dual_parts(Dual::DigestEncrypt, &data);
    assert_ne!(sealed, data);
    assert_eq!(talk.digest_final(), expected.as_ref());

    talk.decrypt_init(key);
    talk.digest_init();
    assert_eq!(talk.dual_parts(Dual::DecryptDigest, &sealed), data);
    assert_eq!(talk.digest_final(), expected.as_ref());
}

#[test]
fn what_is_signed_is_the_plaintext_both_ways() {
    let talk = House::new().user();
    let (key, data) = (aes(&talk), PARTS.concat());
    let (session, mechanism) = (talk.session, || Some(plain(M::AES_CMAC)));
    talk.encrypt_init(key);
    talk.begin(&Request::SignInit {
        session,
        mechanism: mechanism(),
        key,
    });
    let sealed = talk.dual_parts(Dual::SignEncrypt, &data);
    let output = Output::Capacity(16);
    let mac = talk.ask(&Request::SignFinal { session, output }).output();
    let mac = mac.unwrap();
    assert_eq!(talk.sign(M::AES_CMAC, key, &data), Ok(mac.clone()));

    talk.decrypt_init(key);
    talk.begin(&Request::VerifyInit {
        session,
        mechanism: mechanism(),
        key,
    });
    assert_eq!(talk.dual_parts(Dual::DecryptVerify, &sealed), data);
    let signature = &mac[..];
    assert_eq!(
        talk.rv(&Request::VerifyFinal { session, signature }),
        Rv::OK
    );
}

#[test]
fn what_does_not_fit_reaches_neither() {
    let talk = House::new().user();
    let key = aes(&talk);
    talk.encrypt_init(key);
    talk.digest_init();
    let part = [7; 32];
    assert_eq!(
        talk.dual(Dual::DigestEncrypt, &part, Output::Size).rv(),
        Rv::OK
    );
    let small = talk.dual(Dual::DigestEncrypt, &part, Output::Capacity(31));
    assert_eq!(small.rv(), Rv::BUFFER_TOO_SMALL);
    let whole = talk.dual(Dual::DigestEncrypt, &part, Output::Capacity(32));
    assert_eq!(whole.output().unwrap().len(), 32);
    let once = digest(Hash::Sha256, &part).unwrap();
    assert_eq!(talk.digest_final(), once.as_ref());
}

#[test]
fn one_operation_that_is_missing_leaves_the_other_alone() {
    let talk = House::new().user();
    let key = aes(&talk);
    for dual in [
        Dual::DigestEncrypt,
        Dual::DecryptDigest,
        Dual::SignEncrypt,
        Dual::DecryptVerify,
    ] {
        let refused = talk.dual(dual, &[1; 16], Output::Capacity(16));
        assert_eq!(refused.rv(), Rv::OPERATION_NOT_INITIALIZED, "{dual:?}");
    }
    talk.encrypt_init(key);
    let refused = talk.dual(Dual::DigestEncrypt, &[1; 16], Output::Capacity(16));
    assert_eq!(refused.rv(), Rv::OPERATION_NOT_INITIALIZED);
    let (session, part, output) = (talk.session, Secret::new(&[1; 16]), Output::Capacity(16));
    let went_on = talk.rv(&Request::EncryptUpdate {
        session,
        part,
        output,
    });
    assert_eq!(went_on, Rv::OK);
}

#[test]
fn a_signature_may_come_before_its_data() {
    let talk = House::new().user();
    let (session, key, data) = (talk.session, aes(&talk), PARTS.concat());
    let mac = talk.sign(M::AES_CMAC, key, &data).unwrap();
    let init = |signature| {
        talk.begin(&Request::VerifySignatureInit {
            session,
            mechanism: Some(plain(M::AES_CMAC)),
            key,
            signature,
        });
    };
    let whole = |data| {
        let data = Secret::new(data);
        talk.rv(&Request::VerifySignature { session, data })
    };
    init(&mac);
    assert_eq!(whole(&data), Rv::OK);
    assert_eq!(whole(&data), Rv::OPERATION_NOT_INITIALIZED, "it has ended");
    init(&mac);
    assert_eq!(whole(&data[1..]), Rv::SIGNATURE_INVALID);
    init(&mac[..15]);
    assert_eq!(whole(&data), Rv::SIGNATURE_LEN_RANGE);
    // In parts, and beside a C_Verify of its own.
    init(&mac);
    let mechanism = Some(plain(M::AES_CMAC));
    talk.begin(&Request::VerifyInit {
        session,
        mechanism,
        key,
    });
    for part in PARTS {
        let part = Secret::new(part);
        talk.begin(&Request::VerifySignatureUpdate { session, part });
    }
    talk.begin(&Request::VerifySignatureFinal { session });
    let (data, signature) = (Secret::new(&data), &mac[..]);
    let beside = talk.rv(&Request::Verify {
        session,
        data,
        signature,
    });
    assert_eq!(beside, Rv::OK);
}
