//! Wrapping, unwrapping, deriving (PKCS#11 3.2, 5.18.3 to 5.18.5).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::keys::{
    data, ec_private, import_aes, import_rsa, import_secret, open_secret, readable_secret,
};
use strongroom_tests::{Mechanism, Workplace, call, template};

use super::names::{attribute, hex, told};
use super::scenario;

const IV: &[u8; 16] = b"0123456789abcdef";

#[test]
fn wrapping() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let wrapper = import_aes(&s, &[1; 16]);
        let open = open_secret(CKK_AES).with(CKA_VALUE, &[2; 16]);
        let make =
            |more: strongroom_tests::Template| s.create(&open.clone().and(&more)).expect("a key");
        let key = make(template! {});
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let no_wrap = make(template! { CKA_WRAP => false });
        let object = s.create(&data("d")).expect("an object");
        let generic = import_secret(&s, CKK_GENERIC_SECRET, &[3; 20]);
        let short = import_secret(&s, CKK_GENERIC_SECRET, &[3; 8]);
        let ec = s
            .create(&ec_private(Curve::P256, &Curve::P256.fixed_scalar(1)))
            .expect("a key");
        let kw: Mechanism = CKM_AES_KEY_WRAP.into();
        let kwp: Mechanism = CKM_AES_KEY_WRAP_PAD.into();
        let rows: Vec<(&str, Mechanism, u64, u64)> = vec![
            ("an AES key", kw.clone(), wrapper, key),
            ("an AES key with padding", kwp.clone(), wrapper, key),
            ("a secret of 20 bytes", kw.clone(), wrapper, generic),
            (
                "a secret of 20 bytes with padding",
                kwp.clone(),
                wrapper,
                generic,
            ),
            ("a secret of 8 bytes", kw.clone(), wrapper, short),
            (
                "a secret of 8 bytes with padding",
                kwp.clone(),
                wrapper,
                short,
            ),
            ("a private RSA key", kw.clone(), wrapper, private),
            (
                "a private RSA key with padding",
                kwp.clone(),
                wrapper,
                private,
            ),
            ("a private EC key with padding", kwp, wrapper, ec),
            ("a public key", kw.clone(), wrapper, public),
            ("an object that is no key", kw.clone(), wrapper, object),
            ("nothing", kw.clone(), wrapper, 0xdead),
            ("by nothing", kw.clone(), 0xdead, key),
            ("by a key without the usage", kw.clone(), no_wrap, key),
            ("by a key of another type", kw.clone(), generic, key),
            (
                "not to be extracted",
                kw.clone(),
                wrapper,
                make(template! { CKA_EXTRACTABLE => false }),
            ),
            (
                "sensitive",
                kw.clone(),
                wrapper,
                make(template! { CKA_SENSITIVE => true }),
            ),
            (
                "only with trusted keys",
                kw.clone(),
                wrapper,
                make(template! { CKA_WRAP_WITH_TRUSTED => true }),
            ),
            ("by RSA", CKM_RSA_PKCS.into(), public, key),
            (
                "by RSA OAEP",
                Mechanism::oaep(CKM_SHA_1, CKG_MGF1_SHA1, b""),
                public,
                key,
            ),
            ("a private key by RSA", CKM_RSA_PKCS.into(), public, ec),
            ("by a private RSA key", CKM_RSA_PKCS.into(), private, key),
            (
                "by CBC with padding",
                Mechanism::bytes(CKM_AES_CBC_PAD, IV),
                wrapper,
                key,
            ),
            ("by CBC", Mechanism::bytes(CKM_AES_CBC, IV), wrapper, key),
            ("by a mechanism of nobody", 0x9999.into(), wrapper, key),
            ("by a mechanism of digests", CKM_SHA256.into(), wrapper, key),
            (
                "with a parameter of rubbish",
                Mechanism::bytes(CKM_AES_KEY_WRAP, b"rubbish"),
                wrapper,
                key,
            ),
            (
                "with the usual initial value",
                Mechanism::bytes(CKM_AES_KEY_WRAP, &[0xa6; 8]),
                wrapper,
                key,
            ),
        ];
        for (name, mechanism, wrapper, key) in rows {
            t.step(name, || s.wrap(mechanism, wrapper, key));
        }
        t.step("the bytes of AES key wrap", || {
            s.wrap(kw.clone(), wrapper, key).map(|bytes| hex(&bytes))
        });
        t.step("room for 5", || {
            let (code, length) = s.wrap_into(kw.clone(), wrapper, key, 5);
            format!("{}: {length}", code.name())
        });
    });
}

#[test]
fn unwrapping() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let wrapper = import_aes(&s, &[1; 16]);
        let original = import_aes(&s, &[2; 16]);
        let kw: Mechanism = CKM_AES_KEY_WRAP.into();
        let wrapped = s.wrap(kw.clone(), wrapper, original).expect("C_WrapKey");
        let full = readable_secret(CKK_AES);
        let no_unwrap = s
            .create(
                &open_secret(CKK_AES)
                    .with(CKA_VALUE, &[1; 16])
                    .with(CKA_UNWRAP, false),
            )
            .expect("a key");
        let generic = import_secret(&s, CKK_GENERIC_SECRET, &[3; 16]);
        let mut spoiled = wrapped.clone();
        spoiled[3] ^= 1;
        let rows = [
            ("as it is", wrapper, &wrapped[..], full.clone()),
            ("spoiled", wrapper, &spoiled, full.clone()),
            ("a byte less", wrapper, &wrapped[..23], full.clone()),
            ("eight bytes less", wrapper, &wrapped[..16], full.clone()),
            ("nothing", wrapper, b"", full.clone()),
            ("by nothing", 0xdead, &wrapped, full.clone()),
            (
                "by a key without the usage",
                no_unwrap,
                &wrapped,
                full.clone(),
            ),
            ("by a key of another type", generic, &wrapped, full.clone()),
            (
                "without class",
                wrapper,
                &wrapped,
                full.clone().without(CKA_CLASS),
            ),
            (
                "without key type",
                wrapper,
                &wrapped,
                full.clone().without(CKA_KEY_TYPE),
            ),
            ("an empty template", wrapper, &wrapped, template! {}),
            (
                "of a public class",
                wrapper,
                &wrapped,
                full.clone().with(CKA_CLASS, CKO_PUBLIC_KEY),
            ),
            (
                "of the class of data",
                wrapper,
                &wrapped,
                full.clone().with(CKA_CLASS, CKO_DATA),
            ),
            (
                "of a private class",
                wrapper,
                &wrapped,
                full.clone()
                    .with(CKA_CLASS, CKO_PRIVATE_KEY)
                    .with(CKA_KEY_TYPE, CKK_RSA),
            ),
            (
                "as a generic secret",
                wrapper,
                &wrapped,
                full.clone().with(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
            ),
            (
                "with a value",
                wrapper,
                &wrapped,
                full.clone().with(CKA_VALUE, &[2; 16]),
            ),
            (
                "with the right length",
                wrapper,
                &wrapped,
                full.clone().with(CKA_VALUE_LEN, 16),
            ),
            (
                "with a wrong length",
                wrapper,
                &wrapped,
                full.clone().with(CKA_VALUE_LEN, 32),
            ),
            (
                "local",
                wrapper,
                &wrapped,
                full.clone().with(CKA_LOCAL, true),
            ),
            (
                "trusted",
                wrapper,
                &wrapped,
                full.clone().with(CKA_TRUSTED, true),
            ),
            (
                "with an attribute of nobody",
                wrapper,
                &wrapped,
                full.clone().with(0x9999, b"x"),
            ),
        ];
        for (name, by, bytes, template) in rows {
            t.handle(name, || s.unwrap(kw.clone(), by, bytes, &template));
        }
        let least = template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES };
        let key = t.handle("with class and type alone", || {
            s.unwrap(kw.clone(), wrapper, &wrapped, &least)
        });
        for kind in [
            CKA_TOKEN,
            CKA_PRIVATE,
            CKA_SENSITIVE,
            CKA_EXTRACTABLE,
            CKA_ALWAYS_SENSITIVE,
            CKA_NEVER_EXTRACTABLE,
            CKA_LOCAL,
            CKA_KEY_GEN_MECHANISM,
            CKA_VALUE_LEN,
            CKA_ENCRYPT,
            CKA_DERIVE,
            CKA_CHECK_VALUE,
        ] {
            t.step(format!("unwrapped: {}", attribute(kind)), || {
                told(&s, key, kind)
            });
        }
        let (public, private) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let wrapped = s.wrap(CKM_RSA_PKCS, public, original).unwrap_or_default();
        t.handle("by RSA", || {
            s.unwrap(CKM_RSA_PKCS, private, &wrapped, &full)
        });
        t.handle("by RSA, spoiled", || {
            s.unwrap(CKM_RSA_PKCS, private, &[1; 256], &full)
        });
        t.handle("by RSA, a byte less", || {
            s.unwrap(CKM_RSA_PKCS, private, &[1; 255], &full)
        });
        t.handle("by a public RSA key", || {
            s.unwrap(CKM_RSA_PKCS, public, &wrapped, &full)
        });
    });
}

#[test]
fn private_keys_are_wrapped_and_unwrapped() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let wrapper = import_aes(&s, &[1; 16]);
        let (_, rsa) = import_rsa(&s, &RsaPrivate::fixed(2048));
        let ec = s
            .create(&ec_private(Curve::P256, &Curve::P256.fixed_scalar(1)))
            .expect("a key");
        for (name, key, kind) in [("RSA", rsa, CKK_RSA), ("EC", ec, CKK_EC)] {
            let wrapped = t.bytes(format!("{name} wrapped"), || {
                s.wrap(CKM_AES_KEY_WRAP_PAD, wrapper, key)
            });
            let template = template! {
                CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => kind, CKA_SENSITIVE => false, CKA_EXTRACTABLE => true,
                CKA_SIGN => true, CKA_TOKEN => false
            };
            let back = t.handle(format!("{name} unwrapped"), || {
                s.unwrap(CKM_AES_KEY_WRAP_PAD, wrapper, &wrapped, &template)
            });
            for kind in [
                CKA_MODULUS,
                CKA_PUBLIC_EXPONENT,
                CKA_PRIVATE_EXPONENT,
                CKA_EC_PARAMS,
                CKA_VALUE,
            ] {
                t.step(format!("{name} unwrapped: {}", attribute(kind)), || {
                    told(&s, back, kind)
                });
            }
            let other = if kind == CKK_RSA { CKK_EC } else { CKK_RSA };
            let wrong = template.with(CKA_KEY_TYPE, other);
            t.handle(format!("{name} unwrapped as another type"), || {
                s.unwrap(CKM_AES_KEY_WRAP_PAD, wrapper, &wrapped, &wrong)
            });
        }
    });
}

#[test]
fn templates_of_wrapping_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let bound = open_secret(CKK_AES)
            .with(CKA_VALUE, &[1; 16])
            .with(CKA_WRAP_TEMPLATE, template! { CKA_KEY_TYPE => CKK_AES })
            .with(
                CKA_UNWRAP_TEMPLATE,
                template! { CKA_EXTRACTABLE => true, CKA_SIGN => false },
            );
        let wrapper = t.handle("a wrapping key with templates", || s.create(&bound));
        let aes = import_aes(&s, &[2; 16]);
        let generic = import_secret(&s, CKK_GENERIC_SECRET, &[2; 16]);
        let wrapped = t.bytes("wrap what fits", || s.wrap(CKM_AES_KEY_WRAP, wrapper, aes));
        t.bytes("wrap what does not", || {
            s.wrap(CKM_AES_KEY_WRAP, wrapper, generic)
        });
        let plain = readable_secret(CKK_AES);
        let unwrap = |more: strongroom_tests::Template| {
            s.unwrap(
                CKM_AES_KEY_WRAP,
                wrapper,
                &wrapped,
                &plain.clone().and(&more),
            )
        };
        let key = t.handle("unwrap without a word", || unwrap(template! {}));
        t.step("what the template said", || told(&s, key, CKA_SIGN));
        t.handle("unwrap as the template says", || {
            unwrap(template! { CKA_SIGN => false })
        });
        t.handle("unwrap otherwise", || {
            unwrap(template! { CKA_SIGN => true })
        });
    });
}

#[test]
fn deriving() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let curve = Curve::P256;
        let point = curve.point_of(&curve.fixed_scalar(2));
        let base = s
            .create(&ec_private(curve, &curve.fixed_scalar(1)))
            .expect("a key");
        let no_use = s
            .create(&ec_private(curve, &curve.fixed_scalar(1)).with(CKA_DERIVE, false))
            .expect("a key");
        let other_curve = Curve::P384.point_of(&Curve::P384.fixed_scalar(2));
        let ecdh = |point: &[u8]| Mechanism::ecdh(CKD_NULL, b"", point);
        let mut outside = point.clone();
        outside[40] ^= 1;
        let full = readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 32);
        let rows = [
            ("as it should be", ecdh(&point), base, full.clone()),
            (
                "a point as OCTET STRING",
                ecdh(&Curve::wrapped_point(&point)),
                base,
                full.clone(),
            ),
            (
                "a point beside the curve",
                ecdh(&outside),
                base,
                full.clone(),
            ),
            (
                "a point of another curve",
                ecdh(&other_curve),
                base,
                full.clone(),
            ),
            ("no point", ecdh(b""), base, full.clone()),
            (
                "a key without the usage",
                ecdh(&point),
                no_use,
                full.clone(),
            ),
            ("nothing", ecdh(&point), 0xdead, full.clone()),
            (
                "without length",
                ecdh(&point),
                base,
                full.clone().without(CKA_VALUE_LEN),
            ),
            (
                "shorter",
                ecdh(&point),
                base,
                full.clone().with(CKA_VALUE_LEN, 16),
            ),
            (
                "longer",
                ecdh(&point),
                base,
                full.clone().with(CKA_VALUE_LEN, 64),
            ),
            (
                "as AES",
                ecdh(&point),
                base,
                full.clone()
                    .with(CKA_KEY_TYPE, CKK_AES)
                    .with(CKA_VALUE_LEN, 16),
            ),
            (
                "as AES without length",
                ecdh(&point),
                base,
                full.clone()
                    .with(CKA_KEY_TYPE, CKK_AES)
                    .without(CKA_VALUE_LEN),
            ),
            (
                "as AES of 17 bytes",
                ecdh(&point),
                base,
                full.clone()
                    .with(CKA_KEY_TYPE, CKK_AES)
                    .with(CKA_VALUE_LEN, 17),
            ),
            (
                "without class",
                ecdh(&point),
                base,
                full.clone().without(CKA_CLASS),
            ),
            (
                "without key type",
                ecdh(&point),
                base,
                full.clone().without(CKA_KEY_TYPE),
            ),
            (
                "as a private key",
                ecdh(&point),
                base,
                full.clone().with(CKA_CLASS, CKO_PRIVATE_KEY),
            ),
            (
                "with a value",
                ecdh(&point),
                base,
                full.clone().with(CKA_VALUE, &[1; 32]),
            ),
            (
                "with a function of derivation",
                Mechanism::ecdh(CKD_SHA256_KDF, b"", &point),
                base,
                full.clone(),
            ),
            (
                "with a function of nobody",
                Mechanism::ecdh(0x999, b"", &point),
                base,
                full.clone(),
            ),
            (
                "without parameter",
                CKM_ECDH1_DERIVE.into(),
                base,
                full.clone(),
            ),
            (
                "a mechanism of ciphers",
                Mechanism::bytes(CKM_AES_CBC, IV),
                base,
                full.clone(),
            ),
            ("a mechanism of nobody", 0x9999.into(), base, full.clone()),
        ];
        for (name, mechanism, base, template) in rows {
            let key = t.handle(name, || s.derive(mechanism, base, &template));
            t.step(format!("{name}: the value"), || {
                s.attribute(key, CKA_VALUE).map(|value| hex(&value))
            });
        }
        let key = s.derive(ecdh(&point), base, &full).unwrap_or_default();
        for kind in [
            CKA_LOCAL,
            CKA_ALWAYS_SENSITIVE,
            CKA_NEVER_EXTRACTABLE,
            CKA_KEY_GEN_MECHANISM,
            CKA_DERIVE,
            CKA_SIGN,
        ] {
            t.step(format!("derived: {}", attribute(kind)), || {
                told(&s, key, kind)
            });
        }
        t.step("a null mechanism", || {
            let mut key = 0;
            full.laid_out(|array, count| {
                call!(
                    m,
                    C_DeriveKey(s.handle, null_mut(), base, array, count, &raw mut key)
                )
            })
        });
    });
}

#[test]
fn deriving_by_encryption() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let base = import_aes(&s, &[1; 16]);
        let template = readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 16);
        // CK_KEY_DERIVATION_STRING_DATA: a pointer and a length.
        let input = [5u8; 16];
        let raw = CK_KEY_DERIVATION_STRING_DATA {
            pData: input.as_ptr().cast_mut(),
            ulLen: 16,
        };
        let mut bytes = (raw.pData as usize).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&raw.ulLen.to_ne_bytes());
        let mechanism = Mechanism::bytes(CKM_AES_ECB_ENCRYPT_DATA, &bytes);
        let key = t.handle("by AES-ECB", || s.derive(mechanism, base, &template));
        t.step("the value", || {
            s.attribute(key, CKA_VALUE).map(|value| hex(&value))
        });
    });
}
