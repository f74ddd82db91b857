//! Making keys (PKCS#11 3.2, 5.18.1 and 5.18.2).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::{Mechanism, Workplace, call, template};

use super::scenario;

#[test]
fn generating_secret_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let rows = [
            (
                "AES of 16 bytes",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16 },
            ),
            (
                "AES of 17 bytes",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 17 },
            ),
            (
                "AES of no bytes",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 0 },
            ),
            (
                "AES of 128 bytes",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 128 },
            ),
            ("AES without length", CKM_AES_KEY_GEN, template! {}),
            (
                "AES with a value",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, CKA_VALUE => &[1; 16] },
            ),
            (
                "AES of the right class",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, CKA_CLASS => CKO_SECRET_KEY },
            ),
            (
                "AES of another class",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, CKA_CLASS => CKO_DATA },
            ),
            (
                "AES of another type",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, CKA_KEY_TYPE => CKK_GENERIC_SECRET },
            ),
            (
                "AES, local",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, CKA_LOCAL => true },
            ),
            (
                "AES, not local",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, CKA_LOCAL => false },
            ),
            (
                "AES, always sensitive",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, CKA_ALWAYS_SENSITIVE => true },
            ),
            (
                "AES with a modulus",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, CKA_MODULUS => b"\x01" },
            ),
            (
                "AES with an attribute of nobody",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => 16, 0x9999 => b"\x01" },
            ),
            (
                "AES with a length of 4 bytes",
                CKM_AES_KEY_GEN,
                template! { CKA_VALUE_LEN => b"\x10\0\0\0" },
            ),
            (
                "generic of 1 byte",
                CKM_GENERIC_SECRET_KEY_GEN,
                template! { CKA_VALUE_LEN => 1 },
            ),
            (
                "generic of 4096 bytes",
                CKM_GENERIC_SECRET_KEY_GEN,
                template! { CKA_VALUE_LEN => 4096 },
            ),
            (
                "generic of no bytes",
                CKM_GENERIC_SECRET_KEY_GEN,
                template! { CKA_VALUE_LEN => 0 },
            ),
            (
                "generic without length",
                CKM_GENERIC_SECRET_KEY_GEN,
                template! {},
            ),
            (
                "a mechanism of pairs",
                CKM_RSA_PKCS_KEY_PAIR_GEN,
                template! { CKA_VALUE_LEN => 16 },
            ),
            (
                "a mechanism of ciphers",
                CKM_AES_CBC,
                template! { CKA_VALUE_LEN => 16 },
            ),
            (
                "a mechanism of nobody",
                0x9999,
                template! { CKA_VALUE_LEN => 16 },
            ),
        ];
        for (name, mechanism, template) in rows {
            t.handle(name, || s.generate(mechanism, &template));
        }
        t.handle("AES with a parameter", || {
            s.generate(
                Mechanism::bytes(CKM_AES_KEY_GEN, b"rubbish"),
                &template! { CKA_VALUE_LEN => 16 },
            )
        });
        t.step("a null mechanism", || {
            let mut key = 0;
            template! { CKA_VALUE_LEN => 16 }.laid_out(|array, count| {
                call!(
                    m,
                    C_GenerateKey(s.handle, null_mut(), array, count, &raw mut key)
                )
            })
        });
        t.step("no place for the handle", || {
            Mechanism::plain(CKM_AES_KEY_GEN).laid_out(|mechanism| {
                template! { CKA_VALUE_LEN => 16 }.laid_out(|array, count| {
                    call!(
                        m,
                        C_GenerateKey(s.handle, mechanism, array, count, null_mut())
                    )
                })
            })
        });
    });
}

#[test]
fn generating_pairs() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let curve = template! { CKA_EC_PARAMS => Curve::P256.parameters() };
        let rsa = template! { CKA_MODULUS_BITS => 2048, CKA_PUBLIC_EXPONENT => &[1, 0, 1] };
        let (ec, pair) = (CKM_EC_KEY_PAIR_GEN, CKM_RSA_PKCS_KEY_PAIR_GEN);
        let rows = [
            ("EC", ec, curve.clone(), template! {}),
            ("EC without curve", ec, template! {}, template! {}),
            (
                "EC with the curve in the private template",
                ec,
                template! {},
                curve.clone(),
            ),
            (
                "EC on a curve of nobody",
                ec,
                template! { CKA_EC_PARAMS => b"\x06\x03\x2a\x03\x04" },
                template! {},
            ),
            (
                "EC on a curve of rubbish",
                ec,
                template! { CKA_EC_PARAMS => b"rubbish" },
                template! {},
            ),
            (
                "EC with a point",
                ec,
                curve.clone().with(CKA_EC_POINT, b"\x04\x01\x04"),
                template! {},
            ),
            (
                "EC with a private value",
                ec,
                curve.clone(),
                template! { CKA_VALUE => &[1; 32] },
            ),
            (
                "EC of another class",
                ec,
                curve.clone().with(CKA_CLASS, CKO_DATA),
                template! {},
            ),
            (
                "EC of the right classes",
                ec,
                curve.clone().with(CKA_CLASS, CKO_PUBLIC_KEY),
                template! { CKA_CLASS => CKO_PRIVATE_KEY },
            ),
            (
                "EC of classes exchanged",
                ec,
                curve.clone().with(CKA_CLASS, CKO_PRIVATE_KEY),
                template! { CKA_CLASS => CKO_PUBLIC_KEY },
            ),
            (
                "EC of another type",
                ec,
                curve.clone().with(CKA_KEY_TYPE, CKK_RSA),
                template! {},
            ),
            (
                "EC of another type in the private template",
                ec,
                curve.clone(),
                template! { CKA_KEY_TYPE => CKK_RSA },
            ),
            (
                "EC with sign in the public template",
                ec,
                curve.clone().with(CKA_SIGN, true),
                template! {},
            ),
            (
                "EC with an id for one",
                ec,
                curve.clone().with(CKA_ID, b"\x01"),
                template! {},
            ),
            (
                "EC, local",
                ec,
                curve.clone().with(CKA_LOCAL, true),
                template! {},
            ),
            (
                "EC with an attribute of nobody",
                ec,
                curve.clone().with(0x9999, b"\x01"),
                template! {},
            ),
            (
                "EC, trusted",
                ec,
                curve.clone().with(CKA_TRUSTED, true),
                template! {},
            ),
            (
                "RSA without bits",
                pair,
                rsa.clone().without(CKA_MODULUS_BITS),
                template! {},
            ),
            (
                "RSA of 100 bits",
                pair,
                rsa.clone().with(CKA_MODULUS_BITS, 100),
                template! {},
            ),
            (
                "RSA of 512 bits",
                pair,
                rsa.clone().with(CKA_MODULUS_BITS, 512),
                template! {},
            ),
            (
                "RSA of 1024 bits",
                pair,
                rsa.clone().with(CKA_MODULUS_BITS, 1024),
                template! {},
            ),
            (
                "RSA of 20000 bits",
                pair,
                rsa.clone().with(CKA_MODULUS_BITS, 20_000),
                template! {},
            ),
            (
                "RSA with an exponent of 2",
                pair,
                rsa.clone().with(CKA_PUBLIC_EXPONENT, b"\x02"),
                template! {},
            ),
            (
                "RSA with an exponent of 1",
                pair,
                rsa.clone().with(CKA_PUBLIC_EXPONENT, b"\x01"),
                template! {},
            ),
            (
                "RSA with a modulus",
                pair,
                rsa.clone().with(CKA_MODULUS, &[0xc1; 256]),
                template! {},
            ),
            (
                "RSA with an empty exponent",
                pair,
                rsa.clone().with(CKA_PUBLIC_EXPONENT, b""),
                template! {},
            ),
            (
                "a mechanism of secret keys",
                CKM_AES_KEY_GEN,
                curve.clone(),
                template! {},
            ),
            ("a mechanism of nobody", 0x9999, curve, template! {}),
        ];
        for (name, mechanism, public, private) in rows {
            t.step(name, || s.generate_pair(mechanism, &public, &private));
        }
        t.step("RSA without exponent", || {
            s.generate_pair(pair, &rsa.without(CKA_PUBLIC_EXPONENT), &template! {})
                .and_then(|(public, _)| s.attribute(public, CKA_PUBLIC_EXPONENT))
                .map(|exponent| super::names::hex(&exponent))
        });
    });
}

#[test]
fn generating_without_the_right_session() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.public();
        let curve = template! { CKA_EC_PARAMS => Curve::P256.parameters(), CKA_TOKEN => false };
        t.step("a pair as nobody", || {
            s.generate_pair(CKM_EC_KEY_PAIR_GEN, &curve, &template! {})
        });
        t.step("a public pair as nobody", || {
            s.generate_pair(
                CKM_EC_KEY_PAIR_GEN,
                &curve,
                &template! { CKA_PRIVATE => false },
            )
        });
        s.login(CKU_USER, strongroom_tests::USER_PIN)
            .expect("C_Login");
        let ro = strongroom_tests::Session::open_ro(&place.module, place.slot).expect("a session");
        t.step("a token pair read-only", || {
            ro.generate_pair(
                CKM_EC_KEY_PAIR_GEN,
                &curve,
                &template! { CKA_TOKEN => true },
            )
        });
        t.step("a session pair read-only", || {
            ro.generate_pair(CKM_EC_KEY_PAIR_GEN, &curve, &template! {})
        });
        // What fails halfway leaves nothing.
        t.step("objects at the end", || {
            s.find(&template! { CKA_CLASS => CKO_PUBLIC_KEY })
        });
    });
}
