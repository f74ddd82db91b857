//! *What lives here:* how long each primitive takes by itself, with its memory in the locked pool as in the daemon:
//! `cargo bench -p strongroom-crypto -- ecdsa`. *What must never live here:* a bound that fails; other machines are slower.
//! *Who calls it:* whoever asks whether a slow call is slow in here.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark that fails should stop; the macros of criterion make functions without words"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use strongroom_crypto::block::{BlockCipher, BlockKey, Cipher, Direction, Mode};
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::ec::{Curve, EcPrivateKey, EcPublicKey};
use strongroom_crypto::edwards::{Ed25519PrivateKey, X25519PrivateKey};
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::mac::{CmacKey, HmacKey};
use strongroom_crypto::random;
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_crypto::wrap::WrapKey;
use strongroom_keymem::{Config, Locking, SecretBytes, SecretVec};

const SIZES: [usize; 5] = [16, 256, 4 << 10, 64 << 10, 1 << 20];
const CURVES: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_millis(800));
    group
}

fn start() {
    let locking = Locking::DangerUnlockedAllowed;
    strongroom_keymem::start(&Config {
        bytes: None,
        locking,
    })
    .unwrap();
    strongroom_crypto::start().unwrap();
}

fn memory(criterion: &mut Criterion) {
    let mut group = group(criterion, "memory");
    for bytes in [32, 512, 4 << 10] {
        group.bench_function(format!("secret-{bytes}"), |bencher| {
            bencher.iter(|| SecretBytes::zeroed(bytes).unwrap());
        });
    }
    group.finish();
}

fn randomness(criterion: &mut Criterion) {
    let mut group = group(criterion, "random");
    for bytes in [16, 32, 4 << 10] {
        let mut out = vec![0; bytes];
        group.bench_function(format!("{bytes}"), |bencher| {
            bencher.iter(|| random::fill(&mut out).unwrap());
        });
    }
    group.finish();
}

fn rsa(criterion: &mut Criterion) {
    let mut group = group(criterion, "rsa");
    let hash = [7; 32];
    for bits in [2048, 3072, 4096] {
        let key = RsaPrivateKey::generate(bits, &[1, 0, 1]).unwrap();
        let public = key.public().unwrap();
        let numbers = key.to_components().unwrap();
        group.bench_function(format!("{bits}-sign-pkcs1"), |bencher| {
            bencher.iter(|| key.sign_pkcs1_digest(Hash::Sha256, &hash).unwrap());
        });
        group.bench_function(format!("{bits}-sign-pss"), |bencher| {
            let sign = || key.sign_pss(Hash::Sha256, Hash::Sha256, 32, &hash);
            bencher.iter(|| sign().unwrap());
        });
        let signature = key.sign_pkcs1_digest(Hash::Sha256, &hash).unwrap();
        group.bench_function(format!("{bits}-verify-pkcs1"), |bencher| {
            let verify = || public.verify_pkcs1_digest(Hash::Sha256, &hash, &signature);
            bencher.iter(|| verify().unwrap());
        });
        let sealed = public
            .encrypt_oaep(Hash::Sha256, Hash::Sha256, &[], &hash)
            .unwrap();
        group.bench_function(format!("{bits}-decrypt-oaep"), |bencher| {
            bencher.iter(|| {
                let mut out = SecretVec::new();
                key.decrypt_oaep(Hash::Sha256, Hash::Sha256, &[], &sealed, &mut out)
                    .unwrap();
            });
        });
        group.bench_function(format!("{bits}-import"), |bencher| {
            bencher.iter(|| {
                numbers.private_exponent.with(|d| {
                    let e = Some([1, 0, 1].as_slice());
                    numbers.prime_1.with(|prime_1| {
                        numbers.prime_2.with(|prime_2| {
                            let crt = strongroom_crypto::rsa::Crt {
                                prime_1,
                                prime_2,
                                exponent_1: None,
                                exponent_2: None,
                                coefficient: None,
                            };
                            RsaPrivateKey::from_components(&numbers.modulus, e, Some(d), Some(crt))
                                .unwrap()
                        })
                    })
                })
            });
        });
    }
    group.bench_function("2048-generate", |bencher| {
        bencher.iter(|| RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap());
    });
    group.finish();
}

fn ec(criterion: &mut Criterion) {
    let mut group = group(criterion, "ec");
    for curve in CURVES {
        let name = |what: &str| format!("p{}-{what}", curve.bits());
        let hash = vec![7; curve.order_bytes().min(64)];
        let key = EcPrivateKey::generate(curve).unwrap();
        let public = key.public().unwrap();
        let scalar = key.scalar().unwrap();
        let peer = EcPrivateKey::generate(curve).unwrap();
        let signature = key.sign_digest(&hash).unwrap();
        group.bench_function(name("sign"), |bencher| {
            bencher.iter(|| key.sign_digest(&hash).unwrap());
        });
        group.bench_function(name("verify"), |bencher| {
            bencher.iter(|| public.verify_digest(&hash, &signature).unwrap());
        });
        group.bench_function(name("ecdh"), |bencher| {
            bencher.iter(|| key.agree(peer.point()).unwrap());
        });
        group.bench_function(name("generate"), |bencher| {
            bencher.iter(|| EcPrivateKey::generate(curve).unwrap());
        });
        group.bench_function(name("import-private"), |bencher| {
            let import = |scalar: &[u8]| EcPrivateKey::from_scalar(curve, scalar).unwrap();
            bencher.iter(|| scalar.with(import));
        });
        group.bench_function(name("import-public"), |bencher| {
            bencher.iter(|| EcPublicKey::from_point(curve, key.point()).unwrap());
        });
        group.bench_function(name("public-info"), |bencher| {
            bencher.iter(|| public.to_spki_der());
        });
    }
    group.finish();
}

fn curve25519(criterion: &mut Criterion) {
    let mut group = group(criterion, "curve25519");
    let key = Ed25519PrivateKey::generate().unwrap();
    let public = key.public();
    let message = [7; 32];
    let signature = key.sign(&message).unwrap();
    group.bench_function("ed25519-sign", |bencher| {
        bencher.iter(|| key.sign(&message).unwrap());
    });
    group.bench_function("ed25519-verify", |bencher| {
        bencher.iter(|| public.verify(&message, &signature).unwrap());
    });
    group.bench_function("ed25519-generate", |bencher| {
        bencher.iter(|| Ed25519PrivateKey::generate().unwrap());
    });
    let key = X25519PrivateKey::generate().unwrap();
    let peer = *X25519PrivateKey::generate().unwrap().public_bytes();
    group.bench_function("x25519", |bencher| {
        bencher.iter(|| key.agree(&peer).unwrap());
    });
    group.finish();
}

fn aes(criterion: &mut Criterion) {
    let mut group = group(criterion, "aes256");
    let (iv, key) = ([1; 16], [2; 32]);
    let prepared = BlockKey::new(BlockCipher::Aes, &key).unwrap();
    let gcm = GcmKey::new(&key).unwrap();
    group.bench_function("prepare", |bencher| {
        bencher.iter(|| BlockKey::new(BlockCipher::Aes, black_box(&key)).unwrap());
    });
    group.bench_function("prepare-gcm", |bencher| {
        bencher.iter(|| GcmKey::new(black_box(&key)).unwrap());
    });
    let counter = Mode::Ctr {
        counter_block: &iv,
        counter_bits: 128,
    };
    let modes = [
        ("ecb", Mode::Ecb),
        ("cbc", Mode::Cbc { iv: &iv }),
        ("ctr", counter),
    ];
    for bytes in SIZES {
        group.throughput(Throughput::Bytes(bytes as u64));
        let plain = vec![3; bytes];
        let mut out = SecretVec::with_capacity(bytes + 32).unwrap();
        for (name, mode) in modes {
            for (way, direction) in [
                ("encrypt", Direction::Encrypt),
                ("decrypt", Direction::Decrypt),
            ] {
                group.bench_function(format!("{name}-{way}-{bytes}"), |bencher| {
                    bencher.iter(|| {
                        out.clear();
                        let mut cipher = Cipher::new(&prepared, mode, direction).unwrap();
                        cipher.update(&plain, &mut out).unwrap();
                        cipher.finish(&mut out).unwrap();
                    });
                });
            }
        }
        group.bench_function(format!("gcm-encrypt-{bytes}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                gcm.seal(&[1; 12], &[], 16, &plain, &mut out).unwrap();
            });
        });
        let mut sealed = SecretVec::new();
        gcm.seal(&[1; 12], &[], 16, &plain, &mut sealed).unwrap();
        group.bench_function(format!("gcm-decrypt-{bytes}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                gcm.open(&[1; 12], &[], 16, sealed.expose(), &mut out)
                    .unwrap();
            });
        });
    }
    group.finish();
}

fn wrap(criterion: &mut Criterion) {
    let mut group = group(criterion, "wrap");
    let key = WrapKey::new(&[2; 32]).unwrap();
    let (mut kw, mut kwp) = (SecretVec::new(), SecretVec::new());
    key.kw_wrap(None, &[3; 32], &mut kw).unwrap();
    key.kwp_wrap(&[3; 32], &mut kwp).unwrap();
    let mut out = SecretVec::with_capacity(64).unwrap();
    group.bench_function("kw-wrap", |bencher| {
        bencher.iter(|| {
            out.clear();
            key.kw_wrap(None, &[3; 32], &mut out).unwrap();
        });
    });
    group.bench_function("kw-unwrap", |bencher| {
        bencher.iter(|| {
            out.clear();
            key.kw_unwrap(None, kw.expose(), &mut out).unwrap();
        });
    });
    group.bench_function("kwp-unwrap", |bencher| {
        bencher.iter(|| {
            out.clear();
            key.kwp_unwrap(kwp.expose(), &mut out).unwrap();
        });
    });
    group.finish();
}

fn hashes(criterion: &mut Criterion) {
    let mut group = group(criterion, "hash");
    let hmac = HmacKey::new(Hash::Sha256, &[1; 32]).unwrap();
    let cmac = CmacKey::new(BlockCipher::Aes, &[1; 16]).unwrap();
    for bytes in SIZES {
        group.throughput(Throughput::Bytes(bytes as u64));
        let data = vec![3; bytes];
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512, Hash::Sha3_256] {
            group.bench_function(format!("{hash:?}-{bytes}"), |bencher| {
                bencher.iter(|| digest(hash, &data).unwrap());
            });
        }
        group.bench_function(format!("hmac-sha256-{bytes}"), |bencher| {
            bencher.iter(|| {
                let mut mac = hmac.start().unwrap();
                mac.update(&data).unwrap();
                mac.finish().unwrap()
            });
        });
        group.bench_function(format!("cmac-{bytes}"), |bencher| {
            bencher.iter(|| {
                let mut mac = cmac.start().unwrap();
                mac.update(&data).unwrap();
                mac.finish().unwrap()
            });
        });
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    start();
    memory(criterion);
    randomness(criterion);
    rsa(criterion);
    ec(criterion);
    curve25519(criterion);
    aes(criterion);
    wrap(criterion);
    hashes(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
