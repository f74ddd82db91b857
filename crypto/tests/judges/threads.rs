//! Keys that are shared between threads.

use strongroom_crypto::digest::Hash;
use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::mac::HmacKey;
use strongroom_crypto::rsa::RsaPrivateKey;

use crate::{collected, ready};

#[test]
fn one_key_serves_many_threads() {
    ready();
    let rsa = RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap();
    let expected = rsa.sign_pkcs1(b"data").unwrap();
    let ec = EcPrivateKey::generate(Curve::P256).unwrap();
    let verifier = ec.public().unwrap();
    let gcm = GcmKey::new(&[1; 32]).unwrap();
    let sealed = collected(|out| gcm.seal(&[2; 12], b"", 16, b"data", out)).unwrap();
    let hmac = HmacKey::new(Hash::Sha256, b"key").unwrap();
    let mac = hmac.start().unwrap().finish().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(rsa.sign_pkcs1(b"data").unwrap(), expected);
                    let signature = ec.sign_digest(&[3; 32]).unwrap();
                    verifier.verify_digest(&[3; 32], &signature).unwrap();
                    let again = collected(|out| gcm.seal(&[2; 12], b"", 16, b"data", out));
                    assert_eq!(again.unwrap(), sealed);
                    let again = hmac.start().unwrap().finish().unwrap();
                    assert_eq!(again.as_ref(), mac.as_ref());
                }
            });
        }
    });
}
