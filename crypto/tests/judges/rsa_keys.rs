//! RSA, against RustCrypto.

use std::convert::Infallible;
use std::sync::OnceLock;

use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign, Pss};
use strongroom_crypto::Error;
use strongroom_crypto::digest::Hash;
use strongroom_crypto::pkcs8::PrivateKey;
use strongroom_crypto::rsa::{Crt, RsaPrivateKey, RsaPublicKey};

use crate::{collected, noise, ready};

/// The judge draws from our generator; what it computes is its own.
struct OurRandom;

impl TryRng for OurRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        strongroom_crypto::random::fill(bytes).unwrap();
        Ok(())
    }
}

impl TryCryptoRng for OurRandom {}

fn key() -> &'static RsaPrivateKey {
    static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
    ready();
    KEY.get_or_init(|| RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap())
}

fn judge() -> rsa::PrivateKey {
    let der = key().to_pkcs8().unwrap();
    der.with(|der| rsa::PrivateKey::from_pkcs8_der(der).unwrap())
}

#[test]
fn signatures_agree_with_the_judge() {
    let (key, judge) = (key(), judge());
    let public = key.public().unwrap();
    let judge_public = rsa::PublicKey::from_public_key_der(&public.to_spki_der().unwrap()).unwrap();
    assert_eq!(
        judge_public.n().to_be_bytes_trimmed_vartime().as_ref(),
        public.modulus()
    );

    let digest = noise(50, 32);
    let signature = key.sign_pkcs1_digest(Hash::Sha256, &digest).unwrap();
    judge_public
        .verify(Pkcs1v15Sign::new::<sha2::Sha256>(), &digest, &signature)
        .unwrap();
    // PKCS #1 v1.5 is deterministic.
    assert_eq!(
        judge
            .sign(Pkcs1v15Sign::new::<sha2::Sha256>(), &digest)
            .unwrap(),
        signature
    );
    public
        .verify_pkcs1_digest(Hash::Sha256, &digest, &signature)
        .unwrap();

    let data = noise(51, 100);
    let signature = key.sign_pkcs1(&data).unwrap();
    assert_eq!(
        judge.sign(Pkcs1v15Sign::new_unprefixed(), &data).unwrap(),
        signature
    );
    public.verify_pkcs1(&data, &signature).unwrap();
    assert_eq!(
        collected(|out| public.recover_pkcs1(&signature, out)).unwrap(),
        data
    );

    for salt_bytes in [0, 20, 32, 222] {
        let signature = key
            .sign_pss(Hash::Sha256, Hash::Sha256, salt_bytes, &digest)
            .unwrap();
        let scheme = Pss::<sha2::Sha256>::new_with_salt(salt_bytes);
        judge_public.verify(scheme, &digest, &signature).unwrap();
        let scheme = Pss::<sha2::Sha256>::new_with_salt(salt_bytes);
        let judged = judge
            .sign_with_rng(&mut OurRandom, scheme, &digest)
            .unwrap();
        public
            .verify_pss(Hash::Sha256, Hash::Sha256, salt_bytes, &digest, &judged)
            .unwrap();
        let other = public.verify_pss(Hash::Sha256, Hash::Sha1, salt_bytes, &digest, &judged);
        assert_eq!(other, Err(Error::SignatureInvalid));
    }
    let mixed = key
        .sign_pss(Hash::Sha512, Hash::Sha1, 10, &noise(52, 64))
        .unwrap();
    public
        .verify_pss(Hash::Sha512, Hash::Sha1, 10, &noise(52, 64), &mixed)
        .unwrap();
}

#[test]
fn every_hash_signs_and_wrong_lengths_are_refused() {
    let public = key().public().unwrap();
    for hash in Hash::ALL {
        let digest = noise(53, hash.output_bytes());
        let signature = key().sign_pkcs1_digest(hash, &digest).unwrap();
        public
            .verify_pkcs1_digest(hash, &digest, &signature)
            .unwrap();
        let signature = key()
            .sign_pss(hash, hash, hash.output_bytes(), &digest)
            .unwrap();
        public
            .verify_pss(hash, hash, hash.output_bytes(), &digest, &signature)
            .unwrap();
        let short = &digest[1..];
        assert_eq!(
            key().sign_pkcs1_digest(hash, short).map(|_| ()),
            Err(Error::DataLength)
        );
        let answer = public.verify_pkcs1_digest(hash, &digest, &signature[1..]);
        assert_eq!(answer, Err(Error::SignatureLength));
        let answer = public.verify_pkcs1_digest(hash, &digest, &signature);
        assert_eq!(answer, Err(Error::SignatureInvalid));
    }
    assert_eq!(
        key().sign_pkcs1(&[0; 246]).map(|_| ()),
        Err(Error::DataLength)
    );
    let refused = key()
        .sign_pss(Hash::Sha256, Hash::Sha256, 223, &[0; 32])
        .map(|_| ());
    assert_eq!(refused, Err(Error::ParameterInvalid));
}

#[test]
fn encryption_agrees_with_the_judge() {
    let (key, judge) = (key(), judge());
    let public = key.public().unwrap();
    let judge_public = judge.to_public_key();
    let data = noise(54, 60);

    let sealed = public.encrypt_pkcs1(&data).unwrap();
    assert_eq!(judge.decrypt(Pkcs1v15Encrypt, &sealed).unwrap(), data);
    let sealed = judge_public
        .encrypt(&mut OurRandom, Pkcs1v15Encrypt, &data)
        .unwrap();
    assert_eq!(
        collected(|out| key.decrypt_pkcs1(&sealed, out)).unwrap(),
        data
    );

    let sealed = public
        .encrypt_oaep(Hash::Sha256, Hash::Sha1, b"label", &data)
        .unwrap();
    let scheme =
        || Oaep::<sha2::Sha256, sha1::Sha1>::new_with_mgf_hash_and_label(b"label".to_vec());
    assert_eq!(judge.decrypt(scheme(), &sealed).unwrap(), data);
    let sealed = judge_public
        .encrypt(&mut OurRandom, scheme(), &data)
        .unwrap();
    let ours = |label: &[u8], mask: Hash, sealed: &[u8]| {
        collected(|out| key.decrypt_oaep(Hash::Sha256, mask, label, sealed, out))
    };
    assert_eq!(ours(b"label", Hash::Sha1, &sealed).unwrap(), data);
    assert_eq!(ours(b"lebal", Hash::Sha1, &sealed), Err(Error::DataInvalid));
    assert_eq!(ours(b"", Hash::Sha1, &sealed), Err(Error::DataInvalid));
    assert_eq!(
        ours(b"label", Hash::Sha256, &sealed),
        Err(Error::DataInvalid)
    );
    assert_eq!(
        ours(b"label", Hash::Sha1, &sealed[1..]),
        Err(Error::DataLength)
    );

    let room = 256 - 2 * 32 - 2;
    public
        .encrypt_oaep(Hash::Sha256, Hash::Sha256, b"", &vec![1; room])
        .unwrap();
    let refused = public.encrypt_oaep(Hash::Sha256, Hash::Sha256, b"", &vec![1; room + 1]);
    assert_eq!(refused, Err(Error::DataLength));
    assert_eq!(public.encrypt_pkcs1(&[0; 246]), Err(Error::DataLength));
    let opened = collected(|out| key.decrypt_pkcs1(&[1; 256], out));
    assert_eq!(opened, Err(Error::DataInvalid));
}

#[test]
fn the_bare_operations_undo_each_other() {
    let public = key().public().unwrap();
    let mut largest = public.modulus().to_vec();
    *largest.last_mut().unwrap() -= 1;
    for data in [vec![], vec![1], vec![0; 256], noise(55, 100), largest] {
        let padded = [vec![0; 256 - data.len()], data.clone()].concat();
        let signature = key().sign_raw(&data).unwrap();
        assert_eq!(public.recover_raw(&signature).unwrap(), padded);
        public.verify_raw(&data, &signature).unwrap();
        let sealed = public.encrypt_raw(&data).unwrap();
        assert_eq!(
            collected(|out| key().decrypt_raw(&sealed, out)).unwrap(),
            padded
        );
    }
    let modulus = public.modulus();
    assert_eq!(key().sign_raw(modulus).map(|_| ()), Err(Error::DataInvalid));
    assert_eq!(
        key().sign_raw(&[1; 257]).map(|_| ()),
        Err(Error::DataLength)
    );
    assert_eq!(public.encrypt_raw(modulus), Err(Error::DataInvalid));
    assert_eq!(public.recover_raw(modulus), Err(Error::SignatureInvalid));
    assert_eq!(
        public.recover_raw(&modulus[1..]),
        Err(Error::SignatureLength)
    );
    assert_eq!(
        collected(|out| key().decrypt_raw(modulus, out)),
        Err(Error::DataInvalid)
    );
    let short = &modulus[1..];
    assert_eq!(
        collected(|out| key().decrypt_raw(short, out)),
        Err(Error::DataLength)
    );
}

/// Every number of the test key, in the open.
struct Open {
    n: Vec<u8>,
    e: Vec<u8>,
    d: Vec<u8>,
    p: Vec<u8>,
    q: Vec<u8>,
    rest: [Vec<u8>; 3],
}

impl Open {
    fn new() -> Self {
        let parts = key().to_components().unwrap();
        let open = |secret: &strongroom_keymem::SecretBytes| secret.with(<[u8]>::to_vec);
        Self {
            n: parts.modulus.clone(),
            e: parts.public_exponent.clone(),
            d: open(&parts.private_exponent),
            p: open(&parts.prime_1),
            q: open(&parts.prime_2),
            rest: [&parts.exponent_1, &parts.exponent_2, &parts.coefficient].map(open),
        }
    }

    fn crt(&self) -> Crt<'_> {
        Crt {
            prime_1: &self.p,
            prime_2: &self.q,
            exponent_1: None,
            exponent_2: None,
            coefficient: None,
        }
    }
}

#[test]
fn missing_numbers_are_recovered() {
    let open = Open::new();
    let (e, d) = (Some(open.e.as_slice()), Some(open.d.as_slice()));
    let full = Crt {
        exponent_1: Some(&open.rest[0]),
        exponent_2: Some(&open.rest[1]),
        coefficient: Some(&open.rest[2]),
        ..open.crt()
    };
    let swapped = Crt {
        prime_1: &open.q,
        prime_2: &open.p,
        ..open.crt()
    };
    let digest = [7; 32];
    let expected = key().sign_pkcs1_digest(Hash::Sha256, &digest).unwrap();
    for (e, d, crt) in [
        (e, d, Some(full)),
        (e, d, Some(open.crt())),
        (e, d, Some(swapped)),
        (e, d, None),
        (e, None, Some(open.crt())),
        (None, d, Some(open.crt())),
    ] {
        let recovered = RsaPrivateKey::from_components(&open.n, e, d, crt).unwrap();
        assert_eq!(
            recovered.sign_pkcs1_digest(Hash::Sha256, &digest).unwrap(),
            expected
        );
        let parts = recovered.to_components().unwrap();
        assert_eq!(parts.public_exponent, open.e);
        let primes = [&parts.prime_1, &parts.prime_2].map(|prime| prime.with(<[u8]>::to_vec));
        assert!(primes.contains(&open.p) && primes.contains(&open.q));
    }
    let padded = [vec![0; 3], open.n.clone()].concat();
    RsaPrivateKey::from_components(&padded, e, d, None).unwrap();
}

#[test]
fn numbers_that_contradict_each_other_are_refused() {
    let open = Open::new();
    let (e, d) = (Some(open.e.as_slice()), Some(open.d.as_slice()));
    let bent = |bytes: &[u8], position: usize, by: u8| {
        let mut bent = bytes.to_vec();
        bent[position] ^= by;
        bent
    };
    let build = |n: &[u8], e: Option<&[u8]>, d: Option<&[u8]>, crt: Option<Crt<'_>>| {
        RsaPrivateKey::from_components(n, e, d, crt).map(|_| ())
    };
    let wrong_d = bent(&open.d, 100, 2);
    assert_eq!(
        build(&open.n, e, Some(&wrong_d), None),
        Err(Error::KeyMalformed)
    );
    assert_eq!(
        build(&open.n, e, Some(&wrong_d), Some(open.crt())),
        Err(Error::KeyMalformed)
    );
    let wrong_n = bent(&open.n, 100, 2);
    assert_eq!(
        build(&wrong_n, e, d, Some(open.crt())),
        Err(Error::KeyMalformed)
    );
    assert_eq!(
        build(&bent(&open.n, 255, 1), e, d, None),
        Err(Error::KeyMalformed)
    );
    let wrong_p = bent(&open.p, 50, 4);
    let crt = Crt {
        prime_1: &wrong_p,
        ..open.crt()
    };
    assert_eq!(build(&open.n, e, d, Some(crt)), Err(Error::KeyMalformed));
    let wrong_coefficient = bent(&open.rest[2], 50, 4);
    let crt = Crt {
        coefficient: Some(&wrong_coefficient),
        ..open.crt()
    };
    assert_eq!(build(&open.n, e, d, Some(crt)), Err(Error::KeyMalformed));
    for zero in [&b""[..], &[0], &[1], &[2]] {
        let crt = Crt {
            prime_2: zero,
            ..open.crt()
        };
        assert_eq!(build(&open.n, e, d, Some(crt)), Err(Error::KeyMalformed));
    }
    assert_eq!(build(&open.n, None, d, None), Err(Error::ParameterInvalid));
    assert_eq!(
        build(&open.n, None, None, Some(open.crt())),
        Err(Error::ParameterInvalid)
    );
    for wrong in [&[][..], &[1], &[4], &[0xff; 5], &[0xff; 2000]] {
        assert_eq!(
            build(&open.n, Some(wrong), d, None),
            Err(Error::ParameterInvalid)
        );
    }
    assert_eq!(build(&[0xff; 1025], e, d, None), Err(Error::KeySize));
    assert_eq!(build(&open.n[..255], e, d, None), Err(Error::KeyMalformed));
}

#[test]
fn sizes_and_exponents_have_bounds() {
    ready();
    for bits in [0, 256, 384, 2047, 2049, 2112, 8320] {
        let refused = RsaPrivateKey::generate(bits, &[1, 0, 1]).map(|_| ());
        assert_eq!(refused, Err(Error::KeySize), "{bits}");
    }
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
        let refused = RsaPrivateKey::generate(2048, exponent).map(|_| ());
        assert_eq!(refused, Err(Error::ParameterInvalid));
    }
    let three = RsaPrivateKey::generate(2048, &[3]).unwrap();
    assert_eq!((three.bits(), three.modulus_bytes()), (2048, 256));
    assert_eq!(three.public().unwrap().public_exponent().unwrap(), [3]);
    let mut old = noise(56, 128);
    old[0] |= 0x80;
    old[127] |= 1;
    assert_eq!(
        RsaPublicKey::from_components(&old, &[3]).unwrap().bits(),
        1024
    );
    let refused = RsaPublicKey::from_components(&old[65..], &[3]).map(|_| ());
    assert_eq!(refused, Err(Error::KeySize));
    // What the past left behind still signs, and the checks of its numbers are the same.
    for bits in [512, 1024] {
        let small = RsaPrivateKey::generate(bits, &[1, 0, 1]).unwrap();
        let signature = small.sign_pkcs1_digest(Hash::Md5, &[7; 16]).unwrap();
        let public = small.public().unwrap();
        public
            .verify_pkcs1_digest(Hash::Md5, &[7; 16], &signature)
            .unwrap();
        let again = small.to_pkcs8().unwrap().with(RsaPrivateKey::from_pkcs8);
        assert_eq!(again.unwrap().bits(), bits);
    }
}

#[test]
fn encodings_go_through_the_common_door() {
    let der = key().to_pkcs8().unwrap();
    der.with(|der| {
        let parsed = PrivateKey::from_pkcs8(der).unwrap();
        assert!(matches!(parsed, PrivateKey::Rsa(_)));
        assert!(parsed.to_pkcs8().unwrap().equals_in_constant_time(der));
        let longer = [der, &[0; 7]].concat();
        let refused = RsaPrivateKey::from_pkcs8(&longer).map(|_| ());
        assert_eq!(refused, Err(Error::KeyMalformed));
        let (_, used) = PrivateKey::from_pkcs8_prefix(&longer).unwrap();
        assert_eq!(used, der.len());
        for position in [30, 300, der.len() - 1] {
            let mut bent = der.to_vec();
            bent[position] ^= 4;
            assert_eq!(
                RsaPrivateKey::from_pkcs8(&bent).map(|_| ()),
                Err(Error::KeyMalformed)
            );
        }
    });
}

#[test]
fn debug_output_shows_sizes_only() {
    assert_eq!(format!("{:?}", key()), "RsaPrivateKey(2048 bits)");
    let parts = format!("{:?}", key().to_components().unwrap().private_exponent);
    assert!(parts.starts_with("SecretBytes("), "{parts}");
}
