//! Objects: creating, copying, changing, reading (PKCS#11 3.2, 4 and 5.7).

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::keys::{data, ec_private, ec_public, open_secret};
use strongroom_tests::{Session, Template, Workplace, call, template};

use super::names::{all_attributes, attribute, told};
use super::scenario;

const EMPTY_SEQUENCE: &[u8; 2] = b"\x30\x00";

fn certificate() -> Template {
    template! {
        CKA_CLASS => CKO_CERTIFICATE, CKA_CERTIFICATE_TYPE => CKC_X_509, CKA_TOKEN => false,
        CKA_SUBJECT => EMPTY_SEQUENCE, CKA_VALUE => EMPTY_SEQUENCE
    }
}

fn aes() -> Template {
    template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES, CKA_VALUE => &[9; 16] }
}

fn usual_aes(s: &Session<'_>) -> CK_OBJECT_HANDLE {
    s.create(&aes().with(CKA_SENSITIVE, false).with(CKA_EXTRACTABLE, true))
        .expect("a key")
}

#[test]
fn defaults_of_data() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let object = t.handle("create", || s.create(&template! { CKA_CLASS => CKO_DATA }));
        all_attributes(t, &s, object, "data");
    });
}

#[test]
fn defaults_of_a_certificate() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let object = t.handle("create", || s.create(&certificate()));
        all_attributes(t, &s, object, "certificate");
    });
}

#[test]
fn defaults_of_a_secret_key() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let object = t.handle("create", || s.create(&aes()));
        all_attributes(t, &s, object, "created");
        let object = t.handle("generate", || {
            s.generate(CKM_AES_KEY_GEN, &template! { CKA_VALUE_LEN => 16 })
        });
        all_attributes(t, &s, object, "generated");
    });
}

#[test]
fn defaults_of_a_generic_secret() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let create = template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_GENERIC_SECRET, CKA_VALUE => &[9; 20] };
        let object = t.handle("create", || s.create(&create));
        all_attributes(t, &s, object, "created");
        let generate = || {
            s.generate(
                CKM_GENERIC_SECRET_KEY_GEN,
                &template! { CKA_VALUE_LEN => 32 },
            )
        };
        let object = t.handle("generate", generate);
        all_attributes(t, &s, object, "generated");
    });
}

#[test]
fn defaults_of_rsa_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let key = RsaPrivate::fixed(2048);
        let object = t.handle("create a private key", || {
            s.create(
                &key.template()
                    .without(CKA_SENSITIVE)
                    .without(CKA_EXTRACTABLE),
            )
        });
        all_attributes(t, &s, object, "private");
        let object = t.handle("create a public key", || s.create(&key.public().template()));
        all_attributes(t, &s, object, "public");
    });
}

#[test]
fn defaults_of_ec_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let curve = Curve::P256;
        let scalar = curve.fixed_scalar(1);
        let usages = [
            CKA_SIGN,
            CKA_DERIVE,
            CKA_SENSITIVE,
            CKA_EXTRACTABLE,
            CKA_VERIFY,
            CKA_PRIVATE,
        ];
        let bare = |mut template: Template| {
            for kind in usages {
                template = template.without(kind);
            }
            template
        };
        let object = t.handle("create a private key", || {
            s.create(&bare(ec_private(curve, &scalar)))
        });
        all_attributes(t, &s, object, "private");
        let object = t.handle("create a public key", || {
            s.create(&bare(ec_public(curve, &curve.point_of(&scalar))))
        });
        all_attributes(t, &s, object, "public");
        let pair = s.generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &template! { CKA_EC_PARAMS => curve.parameters() },
            &template! {},
        );
        t.step("generate a pair", || pair);
        let (public, private) = pair.unwrap_or_default();
        all_attributes(t, &s, private, "generated private");
        all_attributes(t, &s, public, "generated public");
    });
}

#[test]
fn creating_data() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let rows = [
            ("nothing", template! {}),
            ("no class", template! { CKA_LABEL => "d" }),
            ("a class of nobody", template! { CKA_CLASS => 0x99_u64 }),
            (
                "a vendor's class",
                template! { CKA_CLASS => CKO_VENDOR_DEFINED },
            ),
            (
                "a class of four bytes",
                template! { CKA_CLASS => b"\0\0\0\0" },
            ),
            ("an attribute of nobody", data("d").with(0x9999, b"x")),
            (
                "a vendor's attribute",
                data("d").with(CKA_VENDOR_DEFINED | 5, b"x"),
            ),
            ("an attribute of keys", data("d").with(CKA_ENCRYPT, true)),
            (
                "a label twice",
                template! { CKA_CLASS => CKO_DATA, CKA_LABEL => "a", CKA_LABEL => "a" },
            ),
            (
                "two labels",
                template! { CKA_CLASS => CKO_DATA, CKA_LABEL => "a", CKA_LABEL => "b" },
            ),
            (
                "a boolean of two bytes",
                data("d").with(CKA_MODIFIABLE, b"\x01\x01"),
            ),
            ("a boolean of 2", data("d").with(CKA_MODIFIABLE, b"\x02")),
            ("a boolean of no bytes", data("d").with(CKA_MODIFIABLE, b"")),
            (
                "an object identifier",
                data("d").with(CKA_OBJECT_ID, b"\x06\x03\x2a\x03\x04"),
            ),
            ("an application", data("d").with(CKA_APPLICATION, "app")),
            ("a long label", data("d").with(CKA_LABEL, "l".repeat(1000))),
            (
                "a label that is no UTF-8",
                data("d").with(CKA_LABEL, b"\xff\xfe"),
            ),
            ("a megabyte", data("d").with(CKA_VALUE, vec![7; 1 << 20])),
            ("a unique id", data("d").with(CKA_UNIQUE_ID, "mine")),
            ("a local object", data("d").with(CKA_LOCAL, true)),
        ];
        for (name, template) in rows {
            t.handle(name, || s.create(&template));
        }
        t.step("a null template", || {
            let mut object = 0;
            call!(m, C_CreateObject(s.handle, null_mut(), 1, &raw mut object))
        });
        t.step("no place for the handle", || {
            data("d").laid_out(|array, count| {
                call!(m, C_CreateObject(s.handle, array, count, null_mut()))
            })
        });
        t.step("a null value with a length", || {
            let mut class = CKO_DATA;
            let mut array = [
                CK_ATTRIBUTE {
                    type_: CKA_CLASS,
                    pValue: (&raw mut class).cast(),
                    ulValueLen: 8,
                },
                CK_ATTRIBUTE {
                    type_: CKA_LABEL,
                    pValue: null_mut(),
                    ulValueLen: 5,
                },
            ];
            let mut object = 0;
            call!(
                m,
                C_CreateObject(s.handle, array.as_mut_ptr(), 2, &raw mut object)
            )
        });
        t.handle("no session", || {
            Session {
                module: m,
                handle: 0xdead,
            }
            .create(&data("d"))
        });
    });
}

#[test]
fn creating_certificates() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let rows = [
            ("as it should be", certificate()),
            ("no type", certificate().without(CKA_CERTIFICATE_TYPE)),
            ("no subject", certificate().without(CKA_SUBJECT)),
            ("no value", certificate().without(CKA_VALUE)),
            ("an empty value", certificate().with(CKA_VALUE, b"")),
            (
                "a type of nobody",
                certificate().with(CKA_CERTIFICATE_TYPE, 0x99_u64),
            ),
            ("WTLS", certificate().with(CKA_CERTIFICATE_TYPE, CKC_WTLS)),
            (
                "an attribute certificate",
                certificate().with(CKA_CERTIFICATE_TYPE, CKC_X_509_ATTR_CERT),
            ),
            (
                "a category",
                certificate().with(CKA_CERTIFICATE_CATEGORY, 2),
            ),
            (
                "a category of nobody",
                certificate().with(CKA_CERTIFICATE_CATEGORY, 99),
            ),
            (
                "dates",
                certificate()
                    .with(CKA_START_DATE, b"20250101")
                    .with(CKA_END_DATE, b"20350101"),
            ),
            ("a wrong date", certificate().with(CKA_START_DATE, b"2025")),
            (
                "dates in the wrong order",
                certificate()
                    .with(CKA_START_DATE, b"20350101")
                    .with(CKA_END_DATE, b"20250101"),
            ),
            (
                "a check value",
                certificate().with(CKA_CHECK_VALUE, b"\x01\x02\x03"),
            ),
            ("trusted", certificate().with(CKA_TRUSTED, true)),
            (
                "a URL without hashes",
                certificate().without(CKA_VALUE).with(CKA_URL, "http://h/c"),
            ),
        ];
        for (name, template) in rows {
            t.handle(name, || s.create(&template));
        }
    });
}

#[test]
fn creating_secret_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let generic = || aes().with(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
        let rows = [
            ("as it should be", aes()),
            ("no key type", aes().without(CKA_KEY_TYPE)),
            ("no value", aes().without(CKA_VALUE)),
            ("a key type of nobody", aes().with(CKA_KEY_TYPE, 0x99_u64)),
            ("a public key's type", aes().with(CKA_KEY_TYPE, CKK_RSA)),
            ("an AES key of 5 bytes", aes().with(CKA_VALUE, &[9; 5])),
            ("an AES key of no bytes", aes().with(CKA_VALUE, b"")),
            ("an AES key of 24 bytes", aes().with(CKA_VALUE, &[9; 24])),
            ("the right length told", aes().with(CKA_VALUE_LEN, 16)),
            ("a wrong length told", aes().with(CKA_VALUE_LEN, 32)),
            ("local", aes().with(CKA_LOCAL, true)),
            ("always sensitive", aes().with(CKA_ALWAYS_SENSITIVE, true)),
            ("never extractable", aes().with(CKA_NEVER_EXTRACTABLE, true)),
            (
                "a mechanism of generation",
                aes().with(CKA_KEY_GEN_MECHANISM, CKM_AES_KEY_GEN),
            ),
            ("trusted", aes().with(CKA_TRUSTED, true)),
            ("wrap with trusted", aes().with(CKA_WRAP_WITH_TRUSTED, true)),
            (
                "a wrong check value",
                aes().with(CKA_CHECK_VALUE, b"\x01\x02\x03"),
            ),
            ("an empty check value", aes().with(CKA_CHECK_VALUE, b"")),
            (
                "an attribute of private keys",
                aes().with(CKA_ALWAYS_AUTHENTICATE, true),
            ),
            ("a subject", aes().with(CKA_SUBJECT, EMPTY_SEQUENCE)),
            (
                "an empty list of mechanisms",
                aes().with(CKA_ALLOWED_MECHANISMS, b""),
            ),
            (
                "mechanisms allowed",
                aes().with(CKA_ALLOWED_MECHANISMS, &[CKM_AES_CBC, CKM_AES_ECB][..]),
            ),
            (
                "a list of mechanisms of 5 bytes",
                aes().with(CKA_ALLOWED_MECHANISMS, &[1; 5]),
            ),
            (
                "a template to wrap by",
                aes().with(CKA_WRAP_TEMPLATE, template! { CKA_KEY_TYPE => CKK_AES }),
            ),
            (
                "dates",
                aes()
                    .with(CKA_START_DATE, b"20200101")
                    .with(CKA_END_DATE, b"20990101"),
            ),
            ("a date of rubbish", aes().with(CKA_START_DATE, b"rubbish!")),
            ("not to be copied", aes().with(CKA_COPYABLE, false)),
            ("not to be destroyed", aes().with(CKA_DESTROYABLE, false)),
            (
                "a generic secret of one byte",
                generic().with(CKA_VALUE, b"\x01"),
            ),
            (
                "a generic secret of no bytes",
                generic().with(CKA_VALUE, b""),
            ),
            (
                "a generic secret of 4096 bytes",
                generic().with(CKA_VALUE, vec![1; 4096]),
            ),
            (
                "a secret for SHA-256 HMAC",
                generic().with(CKA_KEY_TYPE, CKK_SHA256_HMAC),
            ),
        ];
        for (name, template) in rows {
            t.handle(name, || s.create(&template));
        }
    });
}

#[test]
fn creating_rsa_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let key = RsaPrivate::fixed(2048);
        let (private, public) = (key.template(), key.public().template());
        let rows = [
            ("private", private.clone()),
            ("private, no modulus", private.clone().without(CKA_MODULUS)),
            (
                "private, no private exponent",
                private.clone().without(CKA_PRIVATE_EXPONENT),
            ),
            (
                "private, no public exponent",
                private.clone().without(CKA_PUBLIC_EXPONENT),
            ),
            (
                "private, no primes",
                private.clone().without(CKA_PRIME_1).without(CKA_PRIME_2),
            ),
            (
                "private, exponents and modulus only",
                [
                    CKA_PRIME_1,
                    CKA_PRIME_2,
                    CKA_EXPONENT_1,
                    CKA_EXPONENT_2,
                    CKA_COEFFICIENT,
                ]
                .iter()
                .fold(private.clone(), |all, kind| all.without(*kind)),
            ),
            (
                "private, a wrong prime",
                private.clone().with(CKA_PRIME_1, &[3; 128]),
            ),
            ("private, local", private.clone().with(CKA_LOCAL, true)),
            ("private, encrypt", private.clone().with(CKA_ENCRYPT, true)),
            (
                "private, bits of the modulus",
                private.clone().with(CKA_MODULUS_BITS, 2048),
            ),
            ("public", public.clone()),
            ("public, no modulus", public.clone().without(CKA_MODULUS)),
            (
                "public, no exponent",
                public.clone().without(CKA_PUBLIC_EXPONENT),
            ),
            (
                "public, bits of the modulus",
                public.clone().with(CKA_MODULUS_BITS, 2048),
            ),
            (
                "public, of 512 bits",
                public.clone().with(CKA_MODULUS, &[0xc1; 64]),
            ),
            (
                "public, of an even modulus",
                public.clone().with(CKA_MODULUS, &[0xc0; 256]),
            ),
            (
                "public, an exponent of 1",
                public.clone().with(CKA_PUBLIC_EXPONENT, b"\x01"),
            ),
            (
                "public, an empty modulus",
                public.clone().with(CKA_MODULUS, b""),
            ),
            (
                "public, sensitive",
                public.clone().with(CKA_SENSITIVE, true),
            ),
            ("public, decrypt", public.clone().with(CKA_DECRYPT, true)),
            ("public, trusted", public.clone().with(CKA_TRUSTED, true)),
            (
                "public, leading zeros",
                public.clone().with(CKA_PUBLIC_EXPONENT, b"\0\x01\0\x01"),
            ),
        ];
        for (name, template) in rows {
            t.handle(name, || s.create(&template));
        }
    });
}

#[test]
fn creating_ec_keys() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let curve = Curve::P256;
        let scalar = curve.fixed_scalar(1);
        let point = curve.point_of(&scalar);
        let (private, public) = (ec_private(curve, &scalar), ec_public(curve, &point));
        let mut outside = point.clone();
        outside[40] ^= 1;
        let rows = [
            ("private", private.clone()),
            ("private, no value", private.clone().without(CKA_VALUE)),
            ("private, no curve", private.clone().without(CKA_EC_PARAMS)),
            (
                "private, the value 0",
                private.clone().with(CKA_VALUE, &[0; 32]),
            ),
            (
                "private, the value too long",
                private.clone().with(CKA_VALUE, &[1; 40]),
            ),
            (
                "private, with a point",
                private
                    .clone()
                    .with(CKA_EC_POINT, Curve::wrapped_point(&point)),
            ),
            (
                "private, a curve of nobody",
                private.clone().with(CKA_EC_PARAMS, b"\x06\x03\x2a\x03\x04"),
            ),
            ("private, secp256k1", ec_private(Curve::Secp256k1, &scalar)),
            ("public", public.clone()),
            ("public, no point", public.clone().without(CKA_EC_POINT)),
            ("public, no curve", public.clone().without(CKA_EC_PARAMS)),
            (
                "public, a bare point",
                public.clone().with(CKA_EC_POINT, &point),
            ),
            (
                "public, a point beside the curve",
                public
                    .clone()
                    .with(CKA_EC_POINT, Curve::wrapped_point(&outside)),
            ),
            (
                "public, an empty point",
                public.clone().with(CKA_EC_POINT, b""),
            ),
            (
                "public, a curve of rubbish",
                public.clone().with(CKA_EC_PARAMS, b"rubbish"),
            ),
            (
                "public, a curve of nobody",
                public.clone().with(CKA_EC_PARAMS, b"\x06\x03\x2a\x03\x04"),
            ),
            ("public, sign", public.clone().with(CKA_SIGN, true)),
        ];
        for (name, template) in rows {
            t.handle(name, || s.create(&template));
        }
    });
}

#[test]
fn creating_other_classes() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let rows = [
            (
                "a hardware feature",
                template! { CKA_CLASS => CKO_HW_FEATURE, CKA_HW_FEATURE_TYPE => CKH_CLOCK },
            ),
            (
                "a mechanism",
                template! { CKA_CLASS => CKO_MECHANISM, CKA_MECHANISM_TYPE => CKM_AES_CBC },
            ),
            (
                "a profile",
                template! { CKA_CLASS => CKO_PROFILE, CKA_PROFILE_ID => CKP_BASELINE_PROVIDER },
            ),
            (
                "a one-time password key",
                template! { CKA_CLASS => CKO_OTP_KEY },
            ),
            (
                "domain parameters without type",
                template! { CKA_CLASS => CKO_DOMAIN_PARAMETERS },
            ),
            (
                "domain parameters of DH",
                template! {
                    CKA_CLASS => CKO_DOMAIN_PARAMETERS, CKA_KEY_TYPE => CKK_DH, CKA_PRIME => &[0xc1; 64], CKA_BASE => b"\x02"
                },
            ),
        ];
        for (name, template) in rows {
            t.handle(name, || s.create(&template));
        }
    });
}

#[test]
fn copying() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let source = usual_aes(&s);
        let closed = s
            .create(&aes().with(CKA_SENSITIVE, true).with(CKA_EXTRACTABLE, false))
            .expect("a key");
        let fixed = s.create(&aes().with(CKA_MODIFIABLE, false)).expect("a key");
        let public = s.create(&data("d")).expect("an object");
        let rows = [
            ("as it is", source, template! {}),
            ("another label", source, template! { CKA_LABEL => "copy" }),
            ("to the token", source, template! { CKA_TOKEN => true }),
            (
                "more sensitive",
                source,
                template! { CKA_SENSITIVE => true },
            ),
            (
                "less extractable",
                source,
                template! { CKA_EXTRACTABLE => false },
            ),
            ("another usage", source, template! { CKA_ENCRYPT => false }),
            ("another class", source, template! { CKA_CLASS => CKO_DATA }),
            (
                "the same class",
                source,
                template! { CKA_CLASS => CKO_SECRET_KEY },
            ),
            (
                "another key type",
                source,
                template! { CKA_KEY_TYPE => CKK_GENERIC_SECRET },
            ),
            ("another value", source, template! { CKA_VALUE => &[1; 16] }),
            ("local", source, template! { CKA_LOCAL => true }),
            (
                "not to be changed",
                source,
                template! { CKA_MODIFIABLE => false },
            ),
            (
                "public from private",
                source,
                template! { CKA_PRIVATE => false },
            ),
            (
                "less sensitive",
                closed,
                template! { CKA_SENSITIVE => false },
            ),
            (
                "more extractable",
                closed,
                template! { CKA_EXTRACTABLE => true },
            ),
            ("a closed key as it is", closed, template! {}),
            (
                "of one not to be changed",
                fixed,
                template! { CKA_LABEL => "copy" },
            ),
            (
                "one not to be changed, to be changed",
                fixed,
                template! { CKA_MODIFIABLE => true },
            ),
            (
                "private from public",
                public,
                template! { CKA_PRIVATE => true },
            ),
            (
                "an attribute of nobody",
                public,
                template! { 0x9999 => b"x" },
            ),
            ("of nothing", 0xdead, template! {}),
        ];
        for (name, object, template) in rows {
            t.handle(name, || s.copy(object, &template));
        }
        let lonely = s
            .create(&aes().with(CKA_COPYABLE, false))
            .unwrap_or_default();
        t.handle("of one not to be copied", || s.copy(lonely, &template! {}));
        let copy = s.copy(closed, &template! {}).unwrap_or_default();
        for kind in [
            CKA_LOCAL,
            CKA_ALWAYS_SENSITIVE,
            CKA_NEVER_EXTRACTABLE,
            CKA_SENSITIVE,
            CKA_PRIVATE,
        ] {
            t.step(format!("a copy's {}", attribute(kind)), || {
                told(&s, copy, kind)
            });
        }
    });
}

#[test]
fn changing() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let key = usual_aes(&s);
        let object = s.create(&data("d")).expect("an object");
        let certificate = s.create(&certificate()).expect("a certificate");
        let rows = [
            ("a label", key, template! { CKA_LABEL => "new" }),
            ("an id", key, template! { CKA_ID => b"new" }),
            ("a usage", key, template! { CKA_WRAP => false }),
            ("the class", key, template! { CKA_CLASS => CKO_DATA }),
            (
                "the class as it is",
                key,
                template! { CKA_CLASS => CKO_SECRET_KEY },
            ),
            ("the token flag", key, template! { CKA_TOKEN => true }),
            ("the private flag", key, template! { CKA_PRIVATE => false }),
            ("the value", key, template! { CKA_VALUE => &[1; 16] }),
            (
                "the length of the value",
                key,
                template! { CKA_VALUE_LEN => 16 },
            ),
            (
                "the key type",
                key,
                template! { CKA_KEY_TYPE => CKK_GENERIC_SECRET },
            ),
            ("local", key, template! { CKA_LOCAL => true }),
            ("a date", key, template! { CKA_END_DATE => b"20990101" }),
            (
                "a date of rubbish",
                key,
                template! { CKA_END_DATE => b"2099" },
            ),
            (
                "a check value",
                key,
                template! { CKA_CHECK_VALUE => b"abc" },
            ),
            (
                "mechanisms allowed",
                key,
                template! { CKA_ALLOWED_MECHANISMS => &[CKM_AES_CBC][..] },
            ),
            ("trusted", key, template! { CKA_TRUSTED => true }),
            (
                "wrap with trusted",
                key,
                template! { CKA_WRAP_WITH_TRUSTED => true },
            ),
            (
                "wrap with trusted, back",
                key,
                template! { CKA_WRAP_WITH_TRUSTED => false },
            ),
            ("more sensitive", key, template! { CKA_SENSITIVE => true }),
            ("less sensitive", key, template! { CKA_SENSITIVE => false }),
            (
                "less extractable",
                key,
                template! { CKA_EXTRACTABLE => false },
            ),
            (
                "more extractable",
                key,
                template! { CKA_EXTRACTABLE => true },
            ),
            (
                "not to be changed",
                key,
                template! { CKA_MODIFIABLE => false },
            ),
            ("not to be copied", key, template! { CKA_COPYABLE => false }),
            ("to be copied", key, template! { CKA_COPYABLE => true }),
            ("a unique id", key, template! { CKA_UNIQUE_ID => "mine" }),
            ("an attribute of nobody", key, template! { 0x9999 => b"x" }),
            (
                "an attribute of others",
                key,
                template! { CKA_MODULUS => b"x" },
            ),
            ("nothing", key, template! {}),
            (
                "a label and a wrong class",
                key,
                template! { CKA_LABEL => "half", CKA_CLASS => CKO_DATA },
            ),
            (
                "data: the value",
                object,
                template! { CKA_VALUE => "other" },
            ),
            (
                "data: an application",
                object,
                template! { CKA_APPLICATION => "app" },
            ),
            (
                "certificate: the value",
                certificate,
                template! { CKA_VALUE => EMPTY_SEQUENCE },
            ),
            (
                "certificate: the subject",
                certificate,
                template! { CKA_SUBJECT => EMPTY_SEQUENCE },
            ),
            (
                "certificate: the issuer",
                certificate,
                template! { CKA_ISSUER => EMPTY_SEQUENCE },
            ),
            (
                "certificate: trusted",
                certificate,
                template! { CKA_TRUSTED => true },
            ),
            ("of nothing", 0xdead, template! { CKA_LABEL => "new" }),
        ];
        for (name, object, template) in rows {
            t.step(name, || s.set(object, &template));
        }
        t.step("the label after half a change", || {
            s.attribute(key, CKA_LABEL)
                .map(|label| super::names::hex(&label))
        });
        t.step("a null template", || {
            call!(m, C_SetAttributeValue(s.handle, key, null_mut(), 1))
        });
        let fixed = s
            .create(&data("d").with(CKA_MODIFIABLE, false))
            .expect("an object");
        t.step("one not to be changed", || {
            s.set(fixed, &template! { CKA_LABEL => "new" })
        });
        t.step("one not to be changed, to be changed", || {
            s.set(fixed, &template! { CKA_MODIFIABLE => true })
        });
    });
}

#[test]
fn reading() {
    scenario(|t| {
        let place = Workplace::open();
        let m = &place.module;
        let s = place.user();
        let open = usual_aes(&s);
        let closed = s
            .create(&aes().with(CKA_SENSITIVE, true).with(CKA_EXTRACTABLE, false))
            .expect("a key");
        let read = |object, wanted: &[(CK_ATTRIBUTE_TYPE, Option<usize>)]| {
            let (code, reads) = s.read(object, wanted);
            let lengths: Vec<_> = reads
                .iter()
                .map(|one| (one.length as i64).to_string())
                .collect();
            format!("{}: {}", code.name(), lengths.join(" "))
        };
        t.step("sizes", || {
            read(
                open,
                &[(CKA_CLASS, None), (CKA_VALUE, None), (CKA_LABEL, None)],
            )
        });
        t.step("a value that may be seen", || s.attribute(open, CKA_VALUE));
        t.step("a value that may not", || {
            read(closed, &[(CKA_VALUE, Some(16))])
        });
        t.step("the size of a value that may not", || {
            read(closed, &[(CKA_VALUE, None)])
        });
        t.step("a buffer too small", || read(open, &[(CKA_VALUE, Some(5))]));
        t.step("one of two too small", || {
            read(open, &[(CKA_VALUE, Some(5)), (CKA_CLASS, Some(8))])
        });
        t.step("an attribute of nobody", || {
            read(open, &[(0x9999, Some(5)), (CKA_CLASS, Some(8))])
        });
        t.step("an attribute of others", || {
            read(open, &[(CKA_MODULUS, Some(5)), (CKA_CLASS, Some(8))])
        });
        t.step("three faults", || {
            read(
                closed,
                &[
                    (CKA_VALUE, Some(16)),
                    (0x9999, Some(5)),
                    (CKA_CLASS, Some(2)),
                ],
            )
        });
        t.step("a larger buffer", || read(open, &[(CKA_CLASS, Some(100))]));
        t.step("the same twice", || {
            read(open, &[(CKA_CLASS, Some(8)), (CKA_CLASS, Some(8))])
        });
        t.step("nothing asked", || read(open, &[]));
        t.step("of nothing", || read(0xdead, &[(CKA_CLASS, Some(8))]));
        t.step("a null template", || {
            call!(m, C_GetAttributeValue(s.handle, open, null_mut(), 1))
        });
        t.step("the size of an object", || s.object_size(open).map(|_| ()));
        t.step("the size of nothing", || s.object_size(0xdead).map(|_| ()));
        t.step("the size, null pointer", || {
            call!(m, C_GetObjectSize(s.handle, open, null_mut()))
        });
        t.step("destroy", || s.destroy(open));
        t.step("destroy again", || s.destroy(open));
        t.step("read what is destroyed", || s.attribute(open, CKA_CLASS));
        t.step("destroy nothing", || s.destroy(0));
        let lasting = s
            .create(&data("d").with(CKA_DESTROYABLE, false))
            .unwrap_or_default();
        t.step("destroy what must last", || s.destroy(lasting));
    });
}

#[test]
fn arrays_within_templates() {
    scenario(|t| {
        let place = Workplace::open();
        let s = place.user();
        let inner = template! { CKA_KEY_TYPE => CKK_AES, CKA_EXTRACTABLE => true };
        let key = open_secret(CKK_AES)
            .with(CKA_VALUE, &[1; 16])
            .with(CKA_UNWRAP_TEMPLATE, inner);
        let key = t.handle("a key with a template to unwrap by", || s.create(&key));
        t.step("the size of the array", || {
            let (code, reads) = s.read(key, &[(CKA_UNWRAP_TEMPLATE, None)]);
            format!("{}: {}", code.name(), reads[0].length as i64)
        });
        let listed = open_secret(CKK_AES)
            .with(CKA_VALUE, &[1; 16])
            .with(CKA_ALLOWED_MECHANISMS, &[CKM_AES_CBC][..]);
        let key = t.handle("a key with mechanisms", || s.create(&listed));
        t.step("the list is read", || {
            s.attribute(key, CKA_ALLOWED_MECHANISMS)
        });
        let begin = |mechanism| s.begin(strongroom_tests::Way::Encrypt, mechanism, key);
        t.step("a mechanism that is not in the list", || begin(CKM_AES_ECB));
    });
}
