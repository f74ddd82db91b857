//! HPKE before the published vector of its suite.

use strongroom_crypto::edwards::X25519PrivateKey;
use strongroom_crypto::{Error, hpke};
use strongroom_keymem::SecretVec;

use super::{collected, hex, ready};

fn key(digits: &str) -> X25519PrivateKey {
    X25519PrivateKey::from_bytes(hex(digits).as_slice().try_into().unwrap()).unwrap()
}

/// The first message of the vector that the authors of RFC 9180 publish for this suite (mode 0, KEM 0x0020, KDF 0x0001, AEAD 0x0002).
/// Only the opening is held against it, since the ephemeral key of a sealing is nobody's to choose; what a sealing makes is opened below.
#[test]
fn the_vector_of_rfc_9180() {
    ready();
    let recipient = key("497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d");
    let public = hex("430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c");
    let encapsulated = hex("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256");
    let sealed = hex(
        "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a",
    );
    assert_eq!(recipient.public_bytes().as_slice(), public);
    let encapsulated = encapsulated.as_slice().try_into().unwrap();
    let (info, associated) = (b"Ode on a Grecian Urn", b"Count-0");
    let opened =
        collected(|out| hpke::open(&recipient, encapsulated, info, associated, &sealed, out));
    assert_eq!(opened.unwrap(), b"Beauty is truth, truth beauty");
}

#[test]
fn another_key_other_bindings_and_every_changed_byte_are_refused() {
    ready();
    let (mine, other) = (
        X25519PrivateKey::generate().unwrap(),
        X25519PrivateKey::generate().unwrap(),
    );
    let mut sealed = SecretVec::new();
    let encapsulated =
        hpke::seal(mine.public_bytes(), b"info", b"bound", b"text", &mut sealed).unwrap();
    let sealed = sealed.expose().to_vec();
    let opens = |key: &X25519PrivateKey,
                 encapsulated: &[u8; 32],
                 info: &[u8],
                 bound: &[u8],
                 sealed: &[u8]| {
        collected(|out| hpke::open(key, encapsulated, info, bound, sealed, out))
    };
    let invalid = Err(Error::DataInvalid);
    assert_eq!(
        opens(&mine, &encapsulated, b"info", b"bound", &sealed),
        Ok(b"text".to_vec())
    );
    assert_eq!(
        opens(&other, &encapsulated, b"info", b"bound", &sealed),
        invalid
    );
    assert_eq!(
        opens(&mine, &encapsulated, b"into", b"bound", &sealed),
        invalid
    );
    assert_eq!(
        opens(&mine, &encapsulated, b"info", b"round", &sealed),
        invalid
    );
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert_eq!(
            opens(&mine, &encapsulated, b"info", b"bound", &changed),
            invalid
        );
    }
    for place in 0..encapsulated.len() {
        let mut changed = encapsulated;
        changed[place] ^= 1;
        assert_eq!(
            opens(&mine, &changed, b"info", b"bound", &sealed),
            invalid,
            "byte {place} of the encapsulated key"
        );
    }
    // A point of small order would make a secret that everybody knows.
    let to_nobody =
        collected(|out| hpke::seal(&[0; 32], b"info", b"bound", b"text", out).map(drop));
    assert_eq!(to_nobody, Err(Error::PointInvalid));
}
