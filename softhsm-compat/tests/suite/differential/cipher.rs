//! Encrypting and decrypting (PKCS#11 3.2, 5.8 to 5.11).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::keys::{data, import_aes, import_rsa, import_secret, open_secret};
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::{Mechanism, Session, Way, Workplace, call, pattern};

use super::names::hex;
use super::scenario;
use super::transcript::Transcript;

const IV: &[u8; 16] = b"0123456789abcdef";

/// Init, one call, and what came, in hexadecimal when it is short.
fn whole(s: &Session<'_>, way: Way, mechanism: &Mechanism, key: u64, input: &[u8]) -> String {
    match s.run(way, mechanism.clone(), key, input) {
        Err(code) => {
            // What failed has ended, whatever it was.
            let _ = s.one_shot(way, input, Some(4096));
            code.name()
        }
        Ok(output) if output.len() <= 64 => format!("CKR_OK: {}", hex(&output)),
        Ok(output) => format!(
            "CKR_OK: {} bytes, ending {}",
            output.len(),
            hex(&output[output.len() - 8..])
        ),
    }
}

fn mechanisms() -> Vec<(&'static str, Mechanism)> {
    vec![
        ("ECB", CKM_AES_ECB.into()),
        ("CBC", Mechanism::bytes(CKM_AES_CBC, IV)),
        ("CBC-PAD", Mechanism::bytes(CKM_AES_CBC_PAD, IV)),
        (
            "CTR",
            Mechanism::new(
                CKM_AES_CTR,
                Parameter::Counter {
                    bits: 128,
                    block: *IV,
                },
            ),
        ),
        ("GCM", Mechanism::gcm(&IV[..12], b"more", 128)),
    ]
}

#[test]
fn aes_of_every_length() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let key = import_aes(&s, &[7; 32]);
        for (name, mechanism) in mechanisms() {
            for length in [0usize, 1, 15, 16, 17, 32, 100_000] {
                let input = pattern(1, length);
                t.step(format!("{name}: encrypt {length} bytes"), || {
                    whole(&s, Way::Encrypt, &mechanism, key, &input)
                });
            }
            for length in [0usize, 1, 15, 16, 17, 32] {
                let input = pattern(1, length);
                t.step(format!("{name}: decrypt {length} bytes of rubbish"), || {
                    whole(&s, Way::Decrypt, &mechanism, key, &input)
                });
            }
            t.step(format!("{name}: there and back"), || {
                let input = pattern(1, 48);
                let cipher = s.run(Way::Encrypt, mechanism.clone(), key, &input)?;
                s.run(Way::Decrypt, mechanism.clone(), key, &cipher)
                    .map(|plain| plain == input)
            });
        }
    });
}

#[test]
fn aes_in_pieces() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let key = import_aes(&s, &[7; 16]);
        for (name, mechanism) in mechanisms() {
            for way in [Way::Encrypt, Way::Decrypt] {
                let input = match way {
                    Way::Encrypt => pattern(1, 48),
                    _ => s
                        .run(Way::Encrypt, mechanism.clone(), key, &pattern(1, 48))
                        .unwrap_or_default(),
                };
                pieces(
                    t,
                    &s,
                    &format!("{name}: {way:?}"),
                    way,
                    &mechanism,
                    key,
                    &input,
                );
            }
        }
    });
}

/// Updates of 10 bytes: how much comes when.
fn pieces(
    t: &mut Transcript,
    s: &Session<'_>,
    name: &str,
    way: Way,
    mechanism: &Mechanism,
    key: u64,
    input: &[u8],
) {
    t.step(format!("{name} begins"), || {
        s.begin(way, mechanism.clone(), key)
    });
    let mut all = Vec::new();
    let mut lengths = Vec::new();
    for part in input.chunks(10) {
        let (code, length, output) = s.update(way, part, Some(256));
        lengths.push(if code.0 == CKR_OK {
            length.to_string()
        } else {
            code.name()
        });
        all.extend_from_slice(&output[..length.min(output.len())]);
    }
    t.step(format!("{name} updates"), || lengths.join(" "));
    let (code, length, output) = s.finish(way, Some(256));
    all.extend_from_slice(&output[..length.min(output.len())]);
    t.step(format!("{name} ends"), || {
        format!("{}: {length}", code.name())
    });
    t.step(format!("{name} all"), || hex(&all));
    t.step(format!("{name} ends again"), || s.finish(way, Some(256)).0);
}

#[test]
fn lengths_of_output() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let key = import_aes(&s, &[7; 16]);
        for (name, mechanism) in mechanisms() {
            let plain = pattern(1, 32);
            let cipher = s
                .run(Way::Encrypt, mechanism.clone(), key, &plain)
                .unwrap_or_default();
            for (way, input) in [(Way::Encrypt, &plain), (Way::Decrypt, &cipher)] {
                let ask = |room| {
                    let (code, length, _) = s.one_shot(way, input, room);
                    format!("{}: {length}", code.name())
                };
                t.step(format!("{name}: {way:?} begins"), || {
                    s.begin(way, mechanism.clone(), key)
                });
                t.step(format!("{name}: {way:?}, the size"), || ask(None));
                t.step(format!("{name}: {way:?}, room for 5"), || ask(Some(5)));
                t.step(format!("{name}: {way:?}, room for all"), || ask(Some(100)));
                t.step(format!("{name}: {way:?}, once more"), || {
                    s.one_shot(way, input, Some(100)).0
                });
            }
        }
    });
}

#[test]
fn beginning_wrongly() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let key = import_aes(&s, &[7; 16]);
        let generic = import_secret(&s, CKK_GENERIC_SECRET, &[7; 16]);
        let object = s.create(&data("d")).expect("an object");
        let template = open_secret(CKK_AES).with(CKA_VALUE, &[7; 16]);
        let no_use = s
            .create(
                &template
                    .clone()
                    .with(CKA_ENCRYPT, false)
                    .with(CKA_DECRYPT, false),
            )
            .expect("a key");
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let cbc = Mechanism::bytes(CKM_AES_CBC, IV);
        let rows: Vec<(&str, Mechanism, u64)> = vec![
            ("a mechanism of nobody", 0x9999.into(), key),
            ("a mechanism of signatures", CKM_SHA256_HMAC.into(), key),
            ("a mechanism of digests", CKM_SHA256.into(), key),
            ("a key of nobody", cbc.clone(), 0xdead),
            ("the handle 0", cbc.clone(), 0),
            ("an object that is no key", cbc.clone(), object),
            ("a key of another type", cbc.clone(), generic),
            ("a private key for AES", cbc.clone(), private),
            ("an AES key for RSA", CKM_RSA_PKCS.into(), key),
            ("a key without the usage", cbc, no_use),
            ("no IV", CKM_AES_CBC.into(), key),
            (
                "an IV of 15 bytes",
                Mechanism::bytes(CKM_AES_CBC, &IV[..15]),
                key,
            ),
            (
                "an IV of 17 bytes",
                Mechanism::bytes(CKM_AES_CBC, b"0123456789abcdefg"),
                key,
            ),
            ("an IV for ECB", Mechanism::bytes(CKM_AES_ECB, IV), key),
            ("CTR without parameter", CKM_AES_CTR.into(), key),
            (
                "CTR with 0 bits",
                Mechanism::new(
                    CKM_AES_CTR,
                    Parameter::Counter {
                        bits: 0,
                        block: *IV,
                    },
                ),
                key,
            ),
            (
                "CTR with 129 bits",
                Mechanism::new(
                    CKM_AES_CTR,
                    Parameter::Counter {
                        bits: 129,
                        block: *IV,
                    },
                ),
                key,
            ),
            ("GCM without parameter", CKM_AES_GCM.into(), key),
            (
                "GCM with a tag of 7 bits",
                Mechanism::gcm(&IV[..12], b"", 7),
                key,
            ),
            (
                "GCM with a tag of 200 bits",
                Mechanism::gcm(&IV[..12], b"", 200),
                key,
            ),
            (
                "GCM with a tag of 0 bits",
                Mechanism::gcm(&IV[..12], b"", 0),
                key,
            ),
            ("GCM without IV", Mechanism::gcm(b"", b"", 128), key),
            ("OAEP without parameter", CKM_RSA_PKCS_OAEP.into(), public),
            (
                "OAEP with a hash of nobody",
                Mechanism::oaep(0x9999, CKG_MGF1_SHA1, b""),
                public,
            ),
            (
                "OAEP with hash and mask that differ",
                Mechanism::oaep(CKM_SHA_1, CKG_MGF1_SHA256, b""),
                public,
            ),
            (
                "OAEP with SHA-256",
                Mechanism::oaep(CKM_SHA256, CKG_MGF1_SHA256, b""),
                public,
            ),
            (
                "OAEP with a label",
                Mechanism::oaep(CKM_SHA_1, CKG_MGF1_SHA1, b"label"),
                public,
            ),
            ("a private key to encrypt", CKM_RSA_PKCS.into(), private),
        ];
        for (name, mechanism, key) in rows {
            for way in [Way::Encrypt, Way::Decrypt] {
                t.step(format!("{way:?}: {name}"), || {
                    s.begin(way, mechanism.clone(), key)
                });
                let _ = s.one_shot(way, &[0; 16], Some(4096));
            }
        }
        t.step("a null mechanism", || {
            call!(m, C_EncryptInit(s.handle, null_mut(), key))
        });
        t.step("encrypt without beginning", || {
            s.one_shot(Way::Encrypt, &[0; 16], Some(99)).0
        });
        t.step("update without beginning", || {
            s.update(Way::Encrypt, &[0; 16], Some(99)).0
        });
        t.step("end without beginning", || {
            s.finish(Way::Encrypt, Some(99)).0
        });
    });
}

#[test]
fn the_order_of_calls() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let key = import_aes(&s, &[7; 16]);
        t.step("begin", || s.begin(Way::Encrypt, CKM_AES_ECB, key));
        t.step("begin again", || s.begin(Way::Encrypt, CKM_AES_ECB, key));
        t.step("begin to decrypt beside it", || {
            s.begin(Way::Decrypt, CKM_AES_ECB, key)
        });
        t.step("begin a digest beside it", || {
            s.begin(Way::Digest, CKM_SHA256, 0)
        });
        t.step("begin to search beside it", || {
            s.find_init(&strongroom_tests::template! {})
        });
        t.step("update", || s.update(Way::Encrypt, &[0; 16], Some(99)).0);
        t.step("one call after an update", || {
            s.one_shot(Way::Encrypt, &[0; 16], Some(99)).0
        });
        t.step("end", || s.finish(Way::Encrypt, Some(99)).0);
        t.step("end again", || s.finish(Way::Encrypt, Some(99)).0);
        let fresh = place.user();
        t.step("update, null input", || {
            fresh.begin(Way::Encrypt, CKM_AES_ECB, key)?;
            let mut length = 99;
            let mut out = [0u8; 99];
            call!(
                m,
                C_EncryptUpdate(
                    fresh.handle,
                    null_mut(),
                    16,
                    out.as_mut_ptr(),
                    &raw mut length
                )
            )
            .ok()
        });
        let fresh = place.user();
        t.step("one call, null length", || {
            fresh.begin(Way::Encrypt, CKM_AES_ECB, key)?;
            let mut input = [0u8; 16];
            call!(
                m,
                C_Encrypt(
                    fresh.handle,
                    input.as_mut_ptr(),
                    16,
                    input.as_mut_ptr(),
                    null_mut()
                )
            )
            .ok()
        });
        let fresh = place.user();
        t.step("the key is destroyed meanwhile", || {
            let short_lived = import_aes(&fresh, &[8; 16]);
            fresh.begin(Way::Encrypt, CKM_AES_ECB, short_lived)?;
            fresh.destroy(short_lived)?;
            fresh.one_shot(Way::Encrypt, &[0; 16], Some(99)).0.ok()
        });
        t.step("null mechanism while one is active", || {
            let fresh = place.user();
            fresh.begin(Way::Encrypt, CKM_AES_ECB, key)?;
            call!(m, C_EncryptInit(fresh.handle, null_mut(), key)).ok()
        });
    });
}

#[test]
fn rsa_encryption() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let rows: Vec<(&str, Mechanism)> = vec![
            ("PKCS", CKM_RSA_PKCS.into()),
            ("X.509", CKM_RSA_X_509.into()),
            ("OAEP", Mechanism::oaep(CKM_SHA_1, CKG_MGF1_SHA1, b"")),
        ];
        for (name, mechanism) in rows {
            for length in [0usize, 1, 100, 214, 215, 245, 246, 256] {
                let input = pattern(1, length)
                    .iter()
                    .map(|byte| byte >> 1)
                    .collect::<Vec<u8>>();
                t.step(format!("{name}: {length} bytes there and back"), || {
                    let cipher = s.run(Way::Encrypt, mechanism.clone(), public, &input)?;
                    let plain = s.run(Way::Decrypt, mechanism.clone(), private, &cipher)?;
                    Ok(format!("{} then {}", cipher.len(), plain.len()))
                });
                let _ = s.one_shot(Way::Encrypt, &[1], Some(4096));
            }
            for length in [0usize, 255, 256, 257] {
                let rubbish: Vec<u8> = pattern(2, length).iter().map(|byte| byte >> 1).collect();
                t.step(format!("{name}: decrypt {length} bytes of rubbish"), || {
                    s.run(Way::Decrypt, mechanism.clone(), private, &rubbish)
                        .map(|_| ())
                });
                let _ = s.one_shot(Way::Decrypt, &[1], Some(4096));
            }
            t.step(format!("{name}: the size"), || {
                s.begin(Way::Encrypt, mechanism.clone(), public)?;
                let (code, length, _) = s.one_shot(Way::Encrypt, b"abc", None);
                code.ok().map(|()| length)
            });
            t.step(format!("{name}: room for 5"), || {
                let (code, length, _) = s.one_shot(Way::Encrypt, b"abc", Some(5));
                format!("{}: {length}", code.name())
            });
            t.step(format!("{name}: room for all"), || {
                s.one_shot(Way::Encrypt, b"abc", Some(256)).0
            });
            t.step(format!("{name}: in pieces"), || {
                s.begin(Way::Encrypt, mechanism.clone(), public)?;
                let code = s.update(Way::Encrypt, b"abc", Some(256)).0;
                let _ = s.one_shot(Way::Encrypt, b"abc", Some(256));
                code.ok()
            });
        }
    });
}

#[test]
fn gcm_refuses_what_is_not_true() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let key = import_aes(&s, &[7; 16]);
        let gcm = |aad: &[u8], bits| Mechanism::gcm(&IV[..12], aad, bits);
        let good = s
            .run(Way::Encrypt, gcm(b"aad", 128), key, b"plain text")
            .expect("C_Encrypt");
        let decrypt = |mechanism: Mechanism, input: &[u8]| {
            s.run(Way::Decrypt, mechanism, key, input)
                .map(|plain| plain.len())
        };
        t.step("as it is", || decrypt(gcm(b"aad", 128), &good));
        t.step("other additional data", || decrypt(gcm(b"abd", 128), &good));
        let mut spoiled = good.clone();
        spoiled[0] ^= 1;
        t.step("another text", || decrypt(gcm(b"aad", 128), &spoiled));
        t.step("shorter than the tag", || {
            decrypt(gcm(b"aad", 128), &good[..10])
        });
        t.step("a shorter tag", || decrypt(gcm(b"aad", 96), &good[..22]));
        t.step("an IV of 16 bytes", || {
            s.run(Way::Encrypt, Mechanism::gcm(IV, b"", 128), key, b"abc")
                .map(|cipher| hex(&cipher))
        });
        t.step("an IV of 1 byte", || {
            s.run(Way::Encrypt, Mechanism::gcm(b"x", b"", 128), key, b"abc")
                .map(|cipher| hex(&cipher))
        });
    });
}

#[test]
fn dual_functions() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let key = import_aes(&s, &[7; 16]);
        let mut input = [5u8; 16];
        let mut output = [0u8; 64];
        let mut length: CK_ULONG = 64;
        s.begin(Way::Encrypt, CKM_AES_ECB, key)
            .expect("C_EncryptInit");
        t.step("a digest beside encryption", || {
            s.begin(Way::Digest, CKM_SHA256, 0)
        });
        t.step("C_DigestEncryptUpdate", || {
            call!(
                m,
                C_DigestEncryptUpdate(
                    s.handle,
                    input.as_mut_ptr(),
                    16,
                    output.as_mut_ptr(),
                    &raw mut length
                )
            )
        });
        t.step("C_DecryptDigestUpdate", || {
            call!(
                m,
                C_DecryptDigestUpdate(
                    s.handle,
                    input.as_mut_ptr(),
                    16,
                    output.as_mut_ptr(),
                    &raw mut length
                )
            )
        });
        t.step("C_SignEncryptUpdate", || {
            call!(
                m,
                C_SignEncryptUpdate(
                    s.handle,
                    input.as_mut_ptr(),
                    16,
                    output.as_mut_ptr(),
                    &raw mut length
                )
            )
        });
        t.step("C_DecryptVerifyUpdate", || {
            call!(
                m,
                C_DecryptVerifyUpdate(
                    s.handle,
                    input.as_mut_ptr(),
                    16,
                    output.as_mut_ptr(),
                    &raw mut length
                )
            )
        });
    });
}

#[test]
fn a_text_longer_than_the_modulus() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let (public, _) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let input = [1u8; 257];
        t.step("PKCS", || s.run(Way::Encrypt, CKM_RSA_PKCS, public, &input));
        let s = place.user();
        // SoftHSM 2.6.1 does not outlive it.
        t.step("X.509", || {
            s.run(Way::Encrypt, CKM_RSA_X_509, public, &input)
        });
    });
}
