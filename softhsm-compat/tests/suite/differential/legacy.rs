//! Mechanisms of old times: DES3, DSA, Diffie-Hellman (PKCS#11 3.2, 6.2, 6.4 and 6.18).

use cryptoki_sys::*;
use strongroom_tests::keys::{open_secret, readable_secret};
use strongroom_tests::{Mechanism, Way, Workplace, hex, pattern, template};

use super::names::{all_attributes, hex as digits};
use super::scenario;

const IV: &[u8; 8] = b"01234567";

/// The prime of the second Oakley group (RFC 2409, 6.2).
const PRIME: &str = "FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1 29024E08 8A67CC74 020BBEA6 3B139B22 514A0879 8E3404DD
    EF9519B3 CD3A431B 302B0A6D F25F1437 4FE1356D 6D51C245 E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED EE386BFB 5A899FA5
    AE9F2411 7C4B1FE6 49286651 ECE65381 FFFFFFFF FFFFFFFF";

#[test]
fn des3() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let value = hex("0123456789abcdef 23456789abcdef01 456789abcdef0123");
        let full = open_secret(CKK_DES3).with(CKA_VALUE, &value);
        let key = t.handle("a key", || s.create(&full));
        for length in [0usize, 8, 16, 23, 25] {
            t.handle(format!("a key of {length} bytes"), || {
                s.create(&full.clone().with(CKA_VALUE, pattern(1, length)))
            });
        }
        t.handle("a key with a length", || {
            s.create(&full.clone().with(CKA_VALUE_LEN, 24))
        });
        for (name, mechanism) in [
            ("ECB", Mechanism::plain(CKM_DES3_ECB)),
            ("CBC", Mechanism::bytes(CKM_DES3_CBC, IV)),
            ("CBC-PAD", Mechanism::bytes(CKM_DES3_CBC_PAD, IV)),
        ] {
            for length in [0usize, 7, 8, 24] {
                t.step(format!("{name}: encrypt {length} bytes"), || {
                    s.run(Way::Encrypt, mechanism.clone(), key, &pattern(2, length))
                        .map(|cipher| digits(&cipher))
                });
                let _ = s.one_shot(Way::Encrypt, b"", Some(64));
            }
            t.step(format!("{name}: decrypt 8 bytes of rubbish"), || {
                s.run(Way::Decrypt, mechanism.clone(), key, &pattern(3, 8))
                    .map(|plain| digits(&plain))
            });
            let _ = s.one_shot(Way::Decrypt, b"", Some(64));
        }
        t.step("an IV of 7 bytes", || {
            s.begin(Way::Encrypt, Mechanism::bytes(CKM_DES3_CBC, &IV[..7]), key)
        });
        let _ = s.one_shot(Way::Encrypt, b"", Some(64));
        t.step("CMAC", || {
            s.run(Way::Sign, CKM_DES3_CMAC, key, b"abc")
                .map(|mac| digits(&mac))
        });
        let made = t.handle("generate", || s.generate(CKM_DES3_KEY_GEN, &template! {}));
        all_attributes(t, &s, made, "generated");
        t.handle("generate with a length", || {
            s.generate(CKM_DES3_KEY_GEN, &template! { CKA_VALUE_LEN => 24 })
        });
    });
}

#[test]
fn diffie_hellman() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let group = template! { CKA_PRIME => hex(PRIME), CKA_BASE => b"\x02" };
        let pair = s.generate_pair(
            CKM_DH_PKCS_KEY_PAIR_GEN,
            &group,
            &template! { CKA_DERIVE => true },
        );
        t.step("a pair", || pair);
        let (public, private) = pair.unwrap_or_default();
        t.step(
            "the length of the public value is that of the prime",
            || {
                s.attribute(public, CKA_VALUE)
                    .map(|value| value.len() <= 128 && value.len() > 120)
            },
        );
        t.step("no base", || {
            s.generate_pair(
                CKM_DH_PKCS_KEY_PAIR_GEN,
                &group.clone().without(CKA_BASE),
                &template! {},
            )
        });
        let fixed = template! {
            CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => CKK_DH, CKA_TOKEN => false, CKA_DERIVE => true, CKA_PRIME => hex(PRIME),
            CKA_BASE => b"\x02", CKA_VALUE => pattern(5, 20)
        };
        let base = t.handle("a private key", || s.create(&fixed));
        let wanted = readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 128);
        let other = pattern(6, 120);
        for (name, peer, length) in [
            ("derive", &other[..], 128),
            ("derive 16 bytes", &other, 16),
            ("derive too much", &other, 200),
            ("from nothing", b"", 16),
            ("from the value 0", b"\x00", 16),
            ("from the value 1", b"\x01", 16),
        ] {
            let key = t.handle(name, || {
                s.derive(
                    Mechanism::bytes(CKM_DH_PKCS_DERIVE, peer),
                    base,
                    &wanted.clone().with(CKA_VALUE_LEN, length),
                )
            });
            t.step(format!("{name}: the value"), || {
                s.attribute(key, CKA_VALUE).map(|value| digits(&value))
            });
        }
        let _ = private;
    });
}

#[test]
fn dsa() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let group = t.handle("domain parameters", || {
            s.generate(CKM_DSA_PARAMETER_GEN, &template! { CKA_PRIME_BITS => 1024 })
        });
        let read = |kind| s.attribute(group, kind).unwrap_or_default();
        let public = template! { CKA_PRIME => read(CKA_PRIME), CKA_SUBPRIME => read(CKA_SUBPRIME), CKA_BASE => read(CKA_BASE) };
        let pair = s.generate_pair(
            CKM_DSA_KEY_PAIR_GEN,
            &public,
            &template! { CKA_SIGN => true },
        );
        t.step("a pair", || pair);
        let (public, private) = pair.unwrap_or_default();
        for length in [0usize, 19, 20, 21, 64] {
            let input = pattern(1, length);
            t.step(format!("{length} bytes"), || {
                let signature = s.run(Way::Sign, CKM_DSA, private, &input)?;
                s.verify(CKM_DSA, public, &input, &signature)?;
                Ok(signature)
            });
            let _ = s.one_shot(Way::Sign, b"", Some(64));
        }
        t.step("with SHA-1", || {
            let signature = s.run(Way::Sign, CKM_DSA_SHA1, private, b"abc")?;
            s.verify(CKM_DSA_SHA1, public, b"abc", &signature)?;
            s.verify(CKM_DSA_SHA1, public, b"abd", &signature)
        });
        t.step("a short signature", || {
            s.verify(CKM_DSA, public, &[1; 20], &[1; 39])
        });
        t.step("no base", || {
            s.generate_pair(
                CKM_DSA_KEY_PAIR_GEN,
                &template! { CKA_PRIME => read(CKA_PRIME) },
                &template! {},
            )
        });
    });
}
