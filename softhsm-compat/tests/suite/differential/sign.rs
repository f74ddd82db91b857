//! Signatures, codes of authentication and digests (PKCS#11 3.2, 5.12 to 5.15).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::keys::{
    data, ec_private, ec_public, import_aes, import_rsa, import_secret, open_secret,
};
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::{Mechanism, Session, Way, Workplace, call, pattern};

use super::names::hex;
use super::scenario;

const SECRET: [u8; 64] = [3; 64];

#[test]
fn digests() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.public();
        let rows = [
            ("MD5", CKM_MD5),
            ("SHA-1", CKM_SHA_1),
            ("SHA-224", CKM_SHA224),
            ("SHA-256", CKM_SHA256),
            ("SHA-384", CKM_SHA384),
            ("SHA-512", CKM_SHA512),
        ];
        for (name, mechanism) in rows {
            for input in [&b""[..], b"abc", &pattern(1, 100_000)] {
                t.step(format!("{name} of {} bytes", input.len()), || {
                    s.run(Way::Digest, mechanism, 0, input)
                        .map(|digest| hex(&digest))
                });
            }
            t.step(format!("{name} in pieces"), || {
                s.run_in_pieces(Way::Digest, mechanism, 0, b"abcdef", 2)
                    .map(|digest| hex(&digest))
            });
        }
        t.step("begin", || s.begin(Way::Digest, CKM_SHA256, 0));
        t.step("begin again", || s.begin(Way::Digest, CKM_SHA256, 0));
        t.step("the size", || {
            format!(
                "{}: {}",
                s.one_shot(Way::Digest, b"abc", None).0.name(),
                s.one_shot(Way::Digest, b"abc", None).1
            )
        });
        t.step("room for 5", || {
            let (code, length, _) = s.one_shot(Way::Digest, b"abc", Some(5));
            format!("{}: {length}", code.name())
        });
        t.step("room for all", || {
            s.one_shot(Way::Digest, b"abc", Some(32)).0
        });
        t.step("once more", || s.one_shot(Way::Digest, b"abc", Some(32)).0);
        t.step("update without beginning", || {
            s.update(Way::Digest, b"abc", None).0
        });
        t.step("end without beginning", || {
            s.finish(Way::Digest, Some(32)).0
        });
        t.step("a mechanism of nobody", || s.begin(Way::Digest, 0x9999, 0));
        t.step("a mechanism of ciphers", || {
            s.begin(Way::Digest, CKM_AES_ECB, 0)
        });
        t.step("a parameter", || {
            s.begin(Way::Digest, Mechanism::bytes(CKM_SHA256, b"x"), 0)
        });
        let _ = s.one_shot(Way::Digest, b"", Some(64));
        t.step("a null mechanism", || {
            call!(m, C_DigestInit(s.handle, null_mut()))
        });
        let _ = s.begin(Way::Digest, CKM_SHA256, 0);
        t.step("update and one call", || {
            s.update(Way::Digest, b"abc", None).0.ok()?;
            s.one_shot(Way::Digest, b"abc", Some(64)).0.ok()
        });
        t.step("update, null input", || {
            call!(m, C_DigestUpdate(s.handle, null_mut(), 5))
        });
    });
}

#[test]
fn digests_of_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let open = import_aes(&s, &[7; 16]);
        let closed = open_secret(CKK_AES)
            .with(CKA_VALUE, &[7; 16])
            .with(CKA_SENSITIVE, true)
            .with(CKA_EXTRACTABLE, false);
        let closed = s.create(&closed).expect("a key");
        let object = s.create(&data("d")).expect("an object");
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let rows = [
            ("a key that may be seen", open),
            ("a key that may not", closed),
            ("an object that is no key", object),
            ("a public key", public),
            ("a private key", private),
            ("nothing", 0xdead),
        ];
        for (name, key) in rows {
            t.step(name, || {
                let session = place.user();
                session.begin(Way::Digest, CKM_SHA256, 0)?;
                call!(m, C_DigestKey(session.handle, key)).ok()?;
                let (code, length, digest) = session.finish(Way::Digest, Some(64));
                code.ok().map(|()| hex(&digest[..length]))
            });
        }
        t.step("without beginning", || {
            call!(m, C_DigestKey(s.handle, open))
        });
    });
}

#[test]
fn codes_of_authentication() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let generic = import_secret(&s, CKK_GENERIC_SECRET, &SECRET);
        let aes = import_aes(&s, &[7; 16]);
        let rows: Vec<(&str, Mechanism, u64)> = vec![
            ("MD5", CKM_MD5_HMAC.into(), generic),
            ("SHA-1", CKM_SHA_1_HMAC.into(), generic),
            ("SHA-224", CKM_SHA224_HMAC.into(), generic),
            ("SHA-256", CKM_SHA256_HMAC.into(), generic),
            ("SHA-384", CKM_SHA384_HMAC.into(), generic),
            ("SHA-512", CKM_SHA512_HMAC.into(), generic),
            ("CMAC", CKM_AES_CMAC.into(), aes),
        ];
        for (name, mechanism, key) in rows {
            for length in [0usize, 3, 1000] {
                let input = pattern(1, length);
                t.step(format!("{name} of {length} bytes"), || {
                    s.run(Way::Sign, mechanism.clone(), key, &input)
                        .map(|mac| hex(&mac))
                });
            }
            t.step(format!("{name} in pieces"), || {
                s.run_in_pieces(Way::Sign, mechanism.clone(), key, b"abcdef", 2)
                    .map(|mac| hex(&mac))
            });
            let mac = s
                .run(Way::Sign, mechanism.clone(), key, b"abc")
                .unwrap_or_default();
            let verify = |data: &[u8], mac: &[u8]| s.verify(mechanism.clone(), key, data, mac);
            t.step(format!("{name} verified"), || verify(b"abc", &mac));
            t.step(format!("{name} verified of other data"), || {
                verify(b"abd", &mac)
            });
            t.step(format!("{name} verified, a byte less"), || {
                verify(b"abc", &mac[..mac.len().saturating_sub(1)])
            });
            t.step(format!("{name} verified, a byte more"), || {
                verify(b"abc", &[&mac[..], b"x"].concat())
            });
            t.step(format!("{name} verified, nothing"), || verify(b"abc", b""));
        }
        for length in [1usize, 4, 15, 16, 19, 20, 31, 32] {
            let key = import_secret(&s, CKK_GENERIC_SECRET, &SECRET[..length]);
            t.step(format!("SHA-256 by a key of {length} bytes"), || {
                s.run(Way::Sign, CKM_SHA256_HMAC, key, b"abc")
                    .map(|mac| hex(&mac))
            });
        }
        t.step("SHA-256 by an AES key", || {
            s.begin(Way::Sign, CKM_SHA256_HMAC, aes)
        });
        let _ = s.one_shot(Way::Sign, b"", Some(64));
        t.step("CMAC by a generic key", || {
            s.begin(Way::Sign, CKM_AES_CMAC, generic)
        });
        let _ = s.one_shot(Way::Sign, b"", Some(64));
        t.step("half a code", || {
            s.run(
                Way::Sign,
                Mechanism::new(CKM_SHA256_HMAC_GENERAL, Parameter::Number(16)),
                generic,
                b"abc",
            )
        });
    });
}

#[test]
fn rsa_signatures() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let pss = |kind, hash, mgf, salt| Mechanism::new(kind, Parameter::Pss { hash, mgf, salt });
        let rows: Vec<(&str, Mechanism)> = vec![
            ("PKCS", CKM_RSA_PKCS.into()),
            ("X.509", CKM_RSA_X_509.into()),
            ("MD5", CKM_MD5_RSA_PKCS.into()),
            ("SHA-1", CKM_SHA1_RSA_PKCS.into()),
            ("SHA-256", CKM_SHA256_RSA_PKCS.into()),
            ("SHA-512", CKM_SHA512_RSA_PKCS.into()),
            (
                "PSS",
                pss(CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32),
            ),
            (
                "SHA-256 PSS",
                pss(CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32),
            ),
            (
                "SHA-384 PSS, no salt",
                pss(CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384, CKG_MGF1_SHA384, 0),
            ),
        ];
        for (name, mechanism) in rows {
            for length in [0usize, 32, 33, 245, 246, 256] {
                let input: Vec<u8> = pattern(1, length).iter().map(|byte| byte >> 1).collect();
                t.step(format!("{name} of {length} bytes"), || {
                    let signature = s.run(Way::Sign, mechanism.clone(), private, &input)?;
                    s.verify(mechanism.clone(), public, &input, &signature)
                });
                let _ = s.one_shot(Way::Sign, b"", Some(512));
            }
            let input = [1u8; 32];
            let signature = s
                .run(Way::Sign, mechanism.clone(), private, &input)
                .unwrap_or_default();
            let verify = |data: &[u8], signature: &[u8]| {
                s.verify(mechanism.clone(), public, data, signature)
            };
            let mut spoiled = signature.clone();
            if let Some(last) = spoiled.last_mut() {
                *last ^= 1;
            }
            t.step(format!("{name}, other data"), || {
                verify(&[2; 32], &signature)
            });
            t.step(format!("{name}, another signature"), || {
                verify(&input, &spoiled)
            });
            t.step(format!("{name}, a byte less"), || {
                verify(&input, &signature[..signature.len().saturating_sub(1)])
            });
            t.step(format!("{name}, a byte more"), || {
                verify(&input, &[&signature[..], b"x"].concat())
            });
            t.step(format!("{name}, no signature"), || verify(&input, b""));
            t.step(format!("{name}, larger than the modulus"), || {
                verify(&input, &[0xff; 256])
            });
            t.step(format!("{name} in pieces"), || {
                s.run_in_pieces(Way::Sign, mechanism.clone(), private, &input, 10)
            });
            let _ = s.one_shot(Way::Sign, b"", Some(512));
        }
        let rows = [
            ("PSS without parameter", CKM_RSA_PKCS_PSS.into()),
            (
                "PSS, hash and mask differ",
                pss(CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA1, 32),
            ),
            (
                "PSS, the hash of another mechanism",
                pss(CKM_SHA256_RSA_PKCS_PSS, CKM_SHA512, CKG_MGF1_SHA512, 32),
            ),
            (
                "PSS, too much salt",
                pss(CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 223),
            ),
            (
                "PSS, the most salt",
                pss(CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 222),
            ),
            (
                "PSS, a hash of nobody",
                pss(CKM_RSA_PKCS_PSS, 0x9999, CKG_MGF1_SHA256, 32),
            ),
            (
                "a parameter for PKCS",
                Mechanism::bytes(CKM_SHA256_RSA_PKCS, b"rubbish"),
            ),
        ];
        for (name, mechanism) in rows {
            t.step(name, || s.begin(Way::Sign, mechanism, private));
            let _ = s.one_shot(Way::Sign, &[1; 32], Some(512));
        }
    });
}

#[test]
fn ec_signatures() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let scalar = curve.fixed_scalar(1);
            let private = s.create(&ec_private(curve, &scalar)).expect("a key");
            let public = s
                .create(&ec_public(curve, &curve.point_of(&scalar)))
                .expect("a key");
            for length in [0usize, 1, 20, 32, 48, 64, 66, 67, 200] {
                let input = pattern(1, length);
                t.step(format!("{curve:?} of {length} bytes"), || {
                    let signature = s.run(Way::Sign, CKM_ECDSA, private, &input)?;
                    s.verify(CKM_ECDSA, public, &input, &signature)?;
                    Ok(signature)
                });
                let _ = s.one_shot(Way::Sign, b"", Some(512));
            }
            let signature = s
                .run(Way::Sign, CKM_ECDSA, private, &[1; 20])
                .unwrap_or_default();
            let verify =
                |data: &[u8], signature: &[u8]| s.verify(CKM_ECDSA, public, data, signature);
            let mut spoiled = signature.clone();
            spoiled[9] ^= 1;
            t.step(format!("{curve:?}, other data"), || {
                verify(&[2; 20], &signature)
            });
            t.step(format!("{curve:?}, another signature"), || {
                verify(&[1; 20], &spoiled)
            });
            t.step(format!("{curve:?}, a byte less"), || {
                verify(&[1; 20], &signature[..signature.len() - 1])
            });
            t.step(format!("{curve:?}, a byte more"), || {
                verify(&[1; 20], &[&signature[..], b"x"].concat())
            });
            t.step(format!("{curve:?}, nothing but zeros"), || {
                verify(&[1; 20], &vec![0; signature.len()])
            });
            t.step(format!("{curve:?}, no signature"), || verify(&[1; 20], b""));
            t.step(format!("{curve:?} in pieces"), || {
                s.run_in_pieces(Way::Sign, CKM_ECDSA, private, &[1; 20], 10)
            });
            let _ = s.one_shot(Way::Sign, b"", Some(512));
        }
        let private = s
            .create(&ec_private(Curve::P256, &Curve::P256.fixed_scalar(1)))
            .expect("a key");
        t.step("with SHA-256", || {
            s.run(Way::Sign, CKM_ECDSA_SHA256, private, b"abc")
        });
    });
}

#[test]
fn lengths_of_signatures() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let (_, rsa) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let ec = s
            .create(&ec_private(Curve::P256, &Curve::P256.fixed_scalar(1)))
            .expect("a key");
        let mac = import_secret(&s, CKK_GENERIC_SECRET, &SECRET);
        for (name, mechanism, key) in [
            ("RSA", CKM_SHA256_RSA_PKCS, rsa),
            ("EC", CKM_ECDSA, ec),
            ("HMAC", CKM_SHA256_HMAC, mac),
        ] {
            let ask = |room| {
                let (code, length, _) = s.one_shot(Way::Sign, &[1; 20], room);
                format!("{}: {length}", code.name())
            };
            t.step(format!("{name} begins"), || {
                s.begin(Way::Sign, mechanism, key)
            });
            t.step(format!("{name}, the size"), || ask(None));
            t.step(format!("{name}, room for none"), || ask(Some(0)));
            t.step(format!("{name}, room for 5"), || ask(Some(5)));
            t.step(format!("{name}, room for all"), || ask(Some(600)));
            t.step(format!("{name}, once more"), || {
                s.one_shot(Way::Sign, &[1; 20], Some(600)).0
            });
            if mechanism == CKM_ECDSA {
                continue;
            }
            let finish = |room| {
                let (code, length, _) = s.finish(Way::Sign, room);
                format!("{}: {length}", code.name())
            };
            t.step(format!("{name} begins anew"), || {
                s.begin(Way::Sign, mechanism, key)
            });
            t.step(format!("{name}, update"), || {
                s.update(Way::Sign, &[1; 20], None).0
            });
            t.step(format!("{name}, one call after an update"), || {
                s.one_shot(Way::Sign, &[1; 20], Some(600)).0
            });
            t.step(format!("{name} begins a third time"), || {
                let fresh = s.begin(Way::Sign, mechanism, key);
                if fresh.is_ok() {
                    s.update(Way::Sign, &[1; 20], None).0.ok()
                } else {
                    fresh
                }
            });
            t.step(format!("{name}, the end's size"), || finish(None));
            t.step(format!("{name}, the end, room for 5"), || finish(Some(5)));
            t.step(format!("{name}, the end"), || finish(Some(600)));
            t.step(format!("{name}, the end again"), || {
                s.finish(Way::Sign, Some(600)).0
            });
        }
    });
}

#[test]
fn beginning_to_sign_wrongly() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let key = RsaPrivate::fixed(2048);
        let no_use = s
            .create(&key.template().with(CKA_SIGN, false))
            .expect("a key");
        let no_check = s
            .create(&key.public().template().with(CKA_VERIFY, false))
            .expect("a key");
        let ec = s
            .create(&ec_private(Curve::P256, &Curve::P256.fixed_scalar(1)))
            .expect("a key");
        let aes = import_aes(&s, &[7; 16]);
        let object = s.create(&data("d")).expect("an object");
        let rows = [
            ("a public key to sign", CKM_RSA_PKCS, public),
            ("a key without the usage", CKM_RSA_PKCS, no_use),
            ("a key of another type", CKM_RSA_PKCS, ec),
            ("an RSA key for ECDSA", CKM_ECDSA, private),
            ("an AES key", CKM_RSA_PKCS, aes),
            ("an object that is no key", CKM_RSA_PKCS, object),
            ("nothing", CKM_RSA_PKCS, 0xdead),
            ("a mechanism of nobody", 0x9999, private),
            ("a mechanism of ciphers", CKM_AES_CBC, private),
            ("a mechanism of digests", CKM_SHA256, private),
        ];
        for (name, mechanism, key) in rows {
            t.step(format!("sign: {name}"), || {
                s.begin(Way::Sign, mechanism, key)
            });
            let _ = s.one_shot(Way::Sign, &[1; 20], Some(512));
        }
        let rows = [
            ("a private key", CKM_RSA_PKCS, private),
            ("a key without the usage", CKM_RSA_PKCS, no_check),
            ("a private EC key", CKM_ECDSA, ec),
            ("nothing", CKM_RSA_PKCS, 0xdead),
        ];
        for (name, mechanism, key) in rows {
            let fresh = place.user();
            t.step(format!("verify: {name}"), || {
                fresh.verify_init(mechanism, key)
            });
        }
        t.step("sign without beginning", || {
            s.one_shot(Way::Sign, b"abc", Some(256)).0
        });
        t.step("update without beginning", || {
            s.update(Way::Sign, b"abc", None).0
        });
        t.step("end without beginning", || s.finish(Way::Sign, Some(256)).0);
        t.step("verify without beginning", || {
            call!(
                m,
                C_Verify(
                    s.handle,
                    b"abc".as_ptr().cast_mut(),
                    3,
                    b"abc".as_ptr().cast_mut(),
                    3
                )
            )
        });
        t.step("begin", || s.begin(Way::Sign, CKM_RSA_PKCS, private));
        t.step("begin again", || s.begin(Way::Sign, CKM_RSA_PKCS, private));
        t.step("verify beside it", || s.verify_init(CKM_RSA_PKCS, public));
        let fresh = place.user();
        t.step("a null mechanism", || {
            call!(m, C_SignInit(fresh.handle, null_mut(), private))
        });
        t.step("a null mechanism to verify", || {
            call!(m, C_VerifyInit(fresh.handle, null_mut(), public))
        });
        t.step("no session", || {
            Session {
                module: m,
                handle: 0xdead,
            }
            .begin(Way::Sign, CKM_RSA_PKCS, private)
        });
    });
}

#[test]
fn recovering() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        t.step("sign", || {
            s.run(Way::SignRecover, CKM_RSA_PKCS, private, b"abc")
        });
        t.step("verify", || {
            s.run(Way::VerifyRecover, CKM_RSA_PKCS, public, &[1; 256])
                .map(|_| ())
        });
        t.step("another mechanism", || {
            s.begin(Way::SignRecover, CKM_SHA256_RSA_PKCS, private)
        });
    });
}

#[test]
fn a_message_longer_than_the_modulus() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let (_, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let input = [1u8; 257];
        t.step("PKCS", || s.run(Way::Sign, CKM_RSA_PKCS, private, &input));
        let s = place.user();
        // SoftHSM 2.6.1 does not outlive it.
        t.step("X.509", || s.run(Way::Sign, CKM_RSA_X_509, private, &input));
    });
}

#[test]
fn edwards_curves() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let curve = strongroom_tests::template! { CKA_EC_PARAMS => b"\x06\x03\x2b\x65\x70", CKA_TOKEN => false };
        let private = strongroom_tests::template! { CKA_SIGN => true };
        let pair = s.generate_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, &curve, &private);
        t.step("a pair on Ed25519", || pair);
        let (public, private) = pair.unwrap_or_default();
        t.step("sign and verify", || {
            let signature = s.run(Way::Sign, CKM_EDDSA, private, b"abc")?;
            s.verify(CKM_EDDSA, public, b"abc", &signature)
        });
    });
}

#[test]
fn verifying_in_pieces() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let mac = import_secret(&s, CKK_GENERIC_SECRET, &SECRET);
        for (name, mechanism, sign, check) in [
            ("RSA", CKM_SHA256_RSA_PKCS, private, public),
            ("HMAC", CKM_SHA256_HMAC, mac, mac),
        ] {
            let signature = s
                .run(Way::Sign, mechanism, sign, b"abcdef")
                .unwrap_or_default();
            t.step(format!("{name}, true"), || {
                s.verify_in_pieces(mechanism, check, b"abcdef", &signature, 2)
            });
            t.step(format!("{name}, false"), || {
                s.verify_in_pieces(mechanism, check, b"abcdeg", &signature, 2)
            });
            t.step(format!("{name}, short"), || {
                s.verify_in_pieces(mechanism, check, b"abcdef", &signature[1..], 2)
            });
            t.step(format!("{name}, after failing"), || {
                s.verify(mechanism, check, b"abcdef", &signature)
            });
        }
    });
}
