//! The key types and mechanisms of the past: DES, DSA, Diffie-Hellman, MD5, small RSA (PKCS#11 3.2, 6.2, 6.4, 6.15, 6.27). OpenSSL judges.

use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::judge::der;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::tool::{require, run, succeed, succeed_with};
use strongroom_tests::{
    Mechanism, Rv, Session, Template, Way, Workplace, not_on_softhsm, pattern, template,
};

use crate::keys;

const IV: [u8; 8] = [0xf0, 1, 2, 3, 4, 5, 6, 7];

const fn code<T>(code: CK_RV) -> Result<T, Rv> {
    Err(Rv(code))
}

/// Bytes with the parity that keys of DES have.
fn des_value(seed: u64, length: usize) -> Vec<u8> {
    let odd = |byte: u8| byte ^ u8::from(byte.count_ones().is_multiple_of(2));
    pattern(seed, length).into_iter().map(odd).collect()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `openssl` prints, for these bytes.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    require("openssl");
    succeed_with(Command::new("openssl").args(arguments), input).out
}

/// Encryption by OpenSSL; single DES stands in its provider for the past.
fn judged(cipher: &str, key: &[u8], iv: Option<&[u8]>, pad: bool, plain: &[u8]) -> Vec<u8> {
    let (key, iv) = (digits(key), iv.map(digits));
    let mut arguments = vec!["enc", cipher, "-K", &key];
    arguments.extend(["-provider", "legacy", "-provider", "default"]);
    if let Some(iv) = &iv {
        arguments.extend(["-iv", iv]);
    }
    if !pad {
        arguments.push("-nopad");
    }
    openssl(&arguments, plain)
}

struct Family {
    kind: CK_KEY_TYPE,
    bytes: usize,
    /// Key generation, ECB, CBC, CBC with padding.
    mechanisms: [CK_MECHANISM_TYPE; 4],
    /// The same to OpenSSL.
    ciphers: [&'static str; 2],
}

fn families() -> Vec<Family> {
    let triple = |kind, bytes, generate, ciphers| Family {
        kind,
        bytes,
        mechanisms: [generate, CKM_DES3_ECB, CKM_DES3_CBC, CKM_DES3_CBC_PAD],
        ciphers,
    };
    let mut families = vec![
        triple(
            CKK_DES3,
            24,
            CKM_DES3_KEY_GEN,
            ["-des-ede3", "-des-ede3-cbc"],
        ),
        triple(CKK_DES2, 16, CKM_DES2_KEY_GEN, ["-des-ede", "-des-ede-cbc"]),
    ];
    if !not_on_softhsm("its OpenSSL has no single DES without another provider") {
        families.push(Family {
            kind: CKK_DES,
            bytes: 8,
            mechanisms: [CKM_DES_KEY_GEN, CKM_DES_ECB, CKM_DES_CBC, CKM_DES_CBC_PAD],
            ciphers: ["-des-ecb", "-des-cbc"],
        });
    }
    families
}

#[test]
fn des_encrypts_as_openssl_does() {
    let place = Workplace::open();
    let session = place.user();
    for family in families() {
        let value = des_value(7, family.bytes);
        let key = keys::import_secret(&session, family.kind, &value);
        let [_, ecb, cbc, pad] = family.mechanisms;
        let [ecb_cipher, cbc_cipher] = family.ciphers;
        for length in [8, 16, 24, 800, 1, 7, 9, 23] {
            let plain = pattern(5, length);
            let cbc_judged = |pad| judged(cbc_cipher, &value, Some(&IV), pad, &plain);
            let mut cases = vec![(Mechanism::bytes(pad, &IV), cbc_judged(true))];
            if length % 8 == 0 {
                cases.push((ecb.into(), judged(ecb_cipher, &value, None, false, &plain)));
                cases.push((Mechanism::bytes(cbc, &IV), cbc_judged(false)));
            } else {
                let refusal = session.run(Way::Encrypt, ecb, key, &plain);
                assert_eq!(refusal, code(CKR_DATA_LEN_RANGE));
            }
            for (mechanism, sealed) in cases {
                let whole =
                    |way, input: &[u8]| session.run_by_the_book(way, mechanism.clone(), key, input);
                let what = format!("{:#x}, {length} bytes", mechanism.kind);
                assert_eq!(whole(Way::Encrypt, &plain), Ok(sealed.clone()), "{what}");
                assert_eq!(whole(Way::Decrypt, &sealed), Ok(plain.clone()), "{what}");
                for piece in [3, 8, 13] {
                    let pieces = |way, input: &[u8]| {
                        session.run_in_pieces(way, mechanism.clone(), key, input, piece)
                    };
                    assert_eq!(pieces(Way::Encrypt, &plain), Ok(sealed.clone()), "{what}");
                    assert_eq!(pieces(Way::Decrypt, &sealed), Ok(plain.clone()), "{what}");
                }
            }
        }
        if not_on_softhsm("it calls a wrong vector a bad argument") {
            continue;
        }
        for iv in [&[][..], &[0; 7], &[0; 16]] {
            let answer = session.begin(Way::Encrypt, Mechanism::bytes(cbc, iv), key);
            assert_eq!(answer, code(CKR_MECHANISM_PARAM_INVALID));
        }
    }
    let aes = keys::import_aes(&session, &pattern(1, 16));
    let answer = session.begin(Way::Encrypt, CKM_DES3_ECB, aes);
    assert_eq!(answer, code(CKR_KEY_TYPE_INCONSISTENT));
}

#[test]
fn keys_of_des_say_what_the_standard_says() {
    let place = Workplace::open();
    let session = place.user();
    for family in families() {
        let key = session
            .generate(family.mechanisms[0], &keys::open_secret(family.kind))
            .unwrap();
        let value = session.attribute(key, CKA_VALUE).unwrap();
        assert_eq!(value.len(), family.bytes);
        assert_eq!(value, des_parity(&value), "odd parity");
        assert!(session.flag(key, CKA_LOCAL).unwrap());
        assert_eq!(session.number(key, CKA_KEY_TYPE), Ok(family.kind));
        let zeros = judged(family.ciphers[0], &value, None, false, &[0; 8]);
        let check = session.attribute(key, CKA_CHECK_VALUE).unwrap();
        assert_eq!(check, zeros[..3]);
        let none = session.attribute(key, CKA_VALUE_LEN);
        assert_eq!(none, code(CKR_ATTRIBUTE_TYPE_INVALID));
        let copy = session
            .copy(key, &template! { CKA_LABEL => "copy" })
            .unwrap();
        assert_eq!(session.attribute(copy, CKA_VALUE), Ok(value.clone()));
        if not_on_softhsm("it takes any bytes as a key of DES") {
            continue;
        }
        let mut odd = value.clone();
        odd[3] ^= 1;
        for wrong in [&odd[..], &value[1..]] {
            let template = keys::open_secret(family.kind).with(CKA_VALUE, wrong);
            let answer = session.create(&template);
            assert_eq!(answer, code(CKR_ATTRIBUTE_VALUE_INVALID));
        }
    }
}

fn des_parity(value: &[u8]) -> Vec<u8> {
    let odd = |byte: &u8| byte ^ u8::from(byte.count_ones().is_multiple_of(2));
    value.iter().map(odd).collect()
}

/// SP 800-38B, D.4: three keys, and messages of 0, 8, 20 and 32 bytes.
#[test]
fn cmac_of_triple_des() {
    let place = Workplace::open();
    let session = place.user();
    let key = strongroom_tests::hex("8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5");
    let key = keys::import_secret(&session, CKK_DES3, &key);
    let message =
        strongroom_tests::hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
    for (length, mac) in [
        (8, "8e8f293136283797"),
        (20, "743ddbe0ce2dc2ed"),
        (32, "33e6b1092400eae5"),
    ] {
        let (message, mac) = (&message[..length], strongroom_tests::hex(mac));
        let signed = session.run_by_the_book(Way::Sign, CKM_DES3_CMAC, key, message);
        assert_eq!(signed, Ok(mac.clone()));
        assert_eq!(session.verify(CKM_DES3_CMAC, key, message, &mac), Ok(()));
        let wrong = session.verify(CKM_DES3_CMAC, key, &message[1..], &mac);
        assert_eq!(wrong, code(CKR_SIGNATURE_INVALID));
        if not_on_softhsm("no CKM_DES3_CMAC_GENERAL") {
            continue;
        }
        let general = |bytes| Mechanism::new(CKM_DES3_CMAC_GENERAL, Parameter::Number(bytes));
        let short = session.run(Way::Sign, general(4), key, message);
        assert_eq!(short, Ok(mac[..4].to_vec()));
        let longer = session.begin(Way::Sign, general(9), key);
        assert_eq!(longer, code(CKR_MECHANISM_PARAM_INVALID));
    }
}

#[test]
fn keys_leave_and_come_under_triple_des() {
    if not_on_softhsm("it wraps under AES and RSA only") {
        return;
    }
    let place = Workplace::open();
    let session = place.user();
    let kek_value = des_value(11, 24);
    let kek = keys::import_secret(&session, CKK_DES3, &kek_value);
    let cbc = Mechanism::bytes(CKM_DES3_CBC, &IV);
    let value = pattern(3, 20);
    let secret = keys::import_secret(&session, CKK_GENERIC_SECRET, &value);
    let wrapped = session.wrap(cbc.clone(), kek, secret).unwrap();
    let padded = [&value[..], &[0; 4]].concat();
    let expected = judged("-des-ede3-cbc", &kek_value, Some(&IV), false, &padded);
    assert_eq!(wrapped, expected);
    let template = keys::open_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 20);
    let back = session
        .unwrap(cbc.clone(), kek, &wrapped, &template)
        .unwrap();
    assert_eq!(session.attribute(back, CKA_VALUE), Ok(value));
    // A key of DES knows its length, also behind the zeros of a wider block.
    let aes = keys::import_aes(&session, &pattern(4, 32));
    let inner = des_value(12, 24);
    let des3 = keys::import_secret(&session, CKK_DES3, &inner);
    let wrapped = session.wrap(CKM_AES_ECB, aes, des3).unwrap();
    assert_eq!(wrapped.len(), 32);
    let back = session.unwrap(CKM_AES_ECB, aes, &wrapped, &keys::open_secret(CKK_DES3));
    assert_eq!(session.attribute(back.unwrap(), CKA_VALUE), Ok(inner));
    // With wrong parity it is none.
    let broken = Aes::new(&pattern(4, 32)).ecb(&[[3; 24].as_slice(), &[0; 8]].concat());
    let answer = session.unwrap(CKM_AES_ECB, aes, &broken, &keys::open_secret(CKK_DES3));
    assert_eq!(answer, code(CKR_WRAPPED_KEY_INVALID));
}

#[test]
fn keys_derive_by_encrypting_data() {
    let place = Workplace::open();
    let session = place.user();
    let data = pattern(9, 48);
    let mut bases = vec![
        (
            CKK_AES,
            16,
            [CKM_AES_ECB_ENCRYPT_DATA, CKM_AES_CBC_ENCRYPT_DATA],
            ["-aes-128-ecb", "-aes-128-cbc"],
            16,
        ),
        (
            CKK_DES3,
            24,
            [CKM_DES3_ECB_ENCRYPT_DATA, CKM_DES3_CBC_ENCRYPT_DATA],
            ["-des-ede3", "-des-ede3-cbc"],
            8,
        ),
    ];
    if !not_on_softhsm("its OpenSSL has no single DES without another provider") {
        bases.push((
            CKK_DES,
            8,
            [CKM_DES_ECB_ENCRYPT_DATA, CKM_DES_CBC_ENCRYPT_DATA],
            ["-des-ecb", "-des-cbc"],
            8,
        ));
    }
    for (kind, bytes, mechanisms, ciphers, block) in bases {
        let value = des_value(2, bytes);
        let base = keys::import_secret(&session, kind, &value);
        for (mechanism, cipher) in mechanisms.into_iter().zip(ciphers) {
            let iv = if cipher.ends_with("cbc") {
                pattern(6, block)
            } else {
                Vec::new()
            };
            let with = |data: &[u8]| {
                let (iv, data) = (iv.clone(), data.to_vec());
                Mechanism::new(mechanism, Parameter::EncryptData { iv, data })
            };
            let wanted = Some(&iv[..]).filter(|iv| !iv.is_empty());
            let encrypted = judged(cipher, &value, wanted, false, &data);
            let secret = keys::open_secret(CKK_GENERIC_SECRET);
            for length in [1_usize, 16, 48] {
                let template = secret.clone().with(CKA_VALUE_LEN, length as u64);
                let key = session.derive(with(&data), base, &template).unwrap();
                assert_eq!(
                    session.attribute(key, CKA_VALUE),
                    Ok(encrypted[..length].to_vec())
                );
            }
            let key = session
                .derive(with(&data), base, &keys::open_secret(CKK_DES3))
                .unwrap();
            assert_eq!(
                session.attribute(key, CKA_VALUE),
                Ok(des_parity(&encrypted[..24]))
            );
            let aes = keys::open_secret(CKK_AES).with(CKA_VALUE_LEN, 32);
            let key = session.derive(with(&data), base, &aes).unwrap();
            assert_eq!(
                session.attribute(key, CKA_VALUE),
                Ok(encrypted[..32].to_vec())
            );
            if not_on_softhsm("other codes") {
                continue;
            }
            let template = secret.clone().with(CKA_VALUE_LEN, 49);
            let answer = session.derive(with(&data), base, &template);
            assert_eq!(answer, code(CKR_DATA_LEN_RANGE));
            let template = secret.clone().with(CKA_VALUE_LEN, 8);
            for wrong in [&data[..47], &[]] {
                let answer = session.derive(with(wrong), base, &template);
                assert_eq!(answer, code(CKR_MECHANISM_PARAM_INVALID));
            }
        }
    }
}

fn integer(magnitude: &[u8]) -> Vec<u8> {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    let magnitude = &magnitude[zeros..];
    let sign: &[u8] = if magnitude.first().is_none_or(|byte| *byte >= 0x80) {
        &[0]
    } else {
        &[]
    };
    der::encoded(2, &[sign, magnitude].concat())
}

/// SubjectPublicKeyInfo of an algorithm with its numbers, and a public value.
fn public_info(oid: &[u8], numbers: &[Vec<u8>], value: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| integer(number)).collect();
    let algorithm = [der::encoded(6, oid), der::encoded(0x30, &numbers)].concat();
    let bits = [&[0][..], &integer(value)].concat();
    der::encoded(
        0x30,
        &[der::encoded(0x30, &algorithm), der::encoded(3, &bits)].concat(),
    )
}

const DSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
const DH_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 3, 1];

/// The two numbers of a signature, each as long as q.
fn bare_signature(encoded: &[u8], half: usize) -> Vec<u8> {
    let numbers = der::sequence(encoded);
    let fixed = |content: &[u8]| {
        let number = der::magnitude(content);
        [vec![0; half - number.len()], number].concat()
    };
    [fixed(numbers[0].1), fixed(numbers[1].1)].concat()
}

fn encoded_signature(bare: &[u8]) -> Vec<u8> {
    let (r, s) = bare.split_at(bare.len() / 2);
    der::encoded(0x30, &[integer(r), integer(s)].concat())
}

fn written(place: &Workplace, name: &str, bytes: &[u8]) -> PathBuf {
    let path = place.hsm.home.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn parameters(
    session: &Session<'_>,
    object: CK_OBJECT_HANDLE,
    kinds: &[CK_ATTRIBUTE_TYPE],
) -> (Template, Vec<Vec<u8>>) {
    let mut template = template! {};
    let mut numbers = Vec::new();
    for kind in kinds {
        let number = session.attribute(object, *kind).unwrap();
        template = template.with(*kind, &number);
        numbers.push(number);
    }
    (template, numbers)
}

fn private_template() -> Template {
    template! {
        CKA_TOKEN => false,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => false,
        CKA_EXTRACTABLE => true,
    }
}

/// The PKCS#8 of a private key, as it leaves under AES.
fn exported(session: &Session<'_>, key: CK_OBJECT_HANDLE) -> Vec<u8> {
    let value = pattern(77, 32);
    let kek = keys::import_aes(session, &value);
    let wrapped = session.wrap(CKM_AES_KEY_WRAP_PAD, kek, key).unwrap();
    Aes::new(&value).kwp_back(&wrapped).unwrap()
}

/// Unwraps a PKCS#8 under AES.
fn imported(
    session: &Session<'_>,
    kind: CK_KEY_TYPE,
    encoded: &[u8],
    more: &Template,
) -> Result<CK_OBJECT_HANDLE, Rv> {
    let value = pattern(78, 32);
    let kek = keys::import_aes(session, &value);
    let template = private_template()
        .with(CKA_CLASS, CKO_PRIVATE_KEY)
        .with(CKA_KEY_TYPE, kind)
        .and(more);
    session.unwrap(
        CKM_AES_KEY_WRAP_PAD,
        kek,
        &Aes::new(&value).kwp(encoded),
        &template,
    )
}

#[test]
fn dsa_agrees_with_openssl() {
    let place = Workplace::open();
    let session = place.user();
    let domain = template! { CKA_PRIME_BITS => 1024, CKA_TOKEN => false };
    let object = session.generate(CKM_DSA_PARAMETER_GEN, &domain).unwrap();
    assert_eq!(session.number(object, CKA_CLASS), Ok(CKO_DOMAIN_PARAMETERS));
    assert_eq!(session.number(object, CKA_PRIME_BITS), Ok(1024));
    let (public, mut numbers) = parameters(&session, object, &[CKA_PRIME, CKA_SUBPRIME, CKA_BASE]);
    let half = numbers[1].len();
    let public = public.with(CKA_TOKEN, false).with(CKA_VERIFY, true);
    let private = private_template().with(CKA_SIGN, true);
    let (public, private) = session
        .generate_pair(CKM_DSA_KEY_PAIR_GEN, &public, &private)
        .unwrap();
    let info = public_info(
        DSA_OID,
        &numbers,
        &session.attribute(public, CKA_VALUE).unwrap(),
    );
    if !not_on_softhsm("no CKA_PUBLIC_KEY_INFO of its own") {
        for key in [public, private] {
            assert_eq!(
                session.attribute(key, CKA_PUBLIC_KEY_INFO),
                Ok(info.clone())
            );
        }
    }
    let info = written(&place, "dsa.pub", &info);
    let encoded = exported(&session, private);
    let secret = written(&place, "dsa.key", &encoded);
    let digest = written(&place, "digest", &pattern(8, 20));
    // Over a digest that the application made, both ways.
    let signature = session
        .run_by_the_book(Way::Sign, CKM_DSA, private, &pattern(8, 20))
        .unwrap();
    assert_eq!(signature.len(), 2 * half);
    let told = written(&place, "signature", &encoded_signature(&signature));
    let verify = |file: &Path| {
        let arguments = [
            "pkeyutl",
            "-verify",
            "-pubin",
            "-keyform",
            "DER",
            "-inkey",
            shown(&info),
            "-in",
            shown(file),
            "-sigfile",
            shown(&told),
        ];
        run(Command::new("openssl").args(arguments), b"").good
    };
    assert!(verify(&digest));
    assert!(!verify(&written(&place, "other", &pattern(9, 20))));
    let theirs = openssl(
        &[
            "pkeyutl",
            "-sign",
            "-keyform",
            "DER",
            "-inkey",
            shown(&secret),
            "-in",
            shown(&digest),
        ],
        b"",
    );
    let theirs = bare_signature(&theirs, half);
    assert_eq!(
        session.verify(CKM_DSA, public, &pattern(8, 20), &theirs),
        Ok(())
    );
    let mut wrong = theirs.clone();
    wrong[5] ^= 1;
    let answer = session.verify(CKM_DSA, public, &pattern(8, 20), &wrong);
    assert_eq!(answer, code(CKR_SIGNATURE_INVALID));
    let answer = session.verify(CKM_DSA, public, &pattern(8, 20), &wrong[1..]);
    assert_eq!(answer, code(CKR_SIGNATURE_LEN_RANGE));
    // With each hash.
    for (mechanism, hash) in [
        (CKM_DSA_SHA1, "-sha1"),
        (CKM_DSA_SHA224, "-sha224"),
        (CKM_DSA_SHA256, "-sha256"),
        (CKM_DSA_SHA384, "-sha384"),
        (CKM_DSA_SHA512, "-sha512"),
    ] {
        let message = pattern(10, 300);
        let file = written(&place, "message", &message);
        let ours = session
            .run_in_pieces(Way::Sign, mechanism, private, &message, 61)
            .unwrap();
        let ours = written(&place, "ours", &encoded_signature(&ours));
        succeed(Command::new("openssl").args([
            "dgst",
            hash,
            "-keyform",
            "DER",
            "-verify",
            shown(&info),
            "-signature",
            shown(&ours),
            shown(&file),
        ]));
        let theirs = openssl(
            &[
                "dgst",
                hash,
                "-keyform",
                "DER",
                "-sign",
                shown(&secret),
                shown(&file),
            ],
            b"",
        );
        let theirs = bare_signature(&theirs, half);
        assert_eq!(
            session.verify(mechanism, public, &message, &theirs),
            Ok(()),
            "{hash}"
        );
    }
    // The key comes back from its encoding, and can be made of its values.
    let again = imported(&session, CKK_DSA, &encoded, &template! { CKA_SIGN => true }).unwrap();
    let value = session.attribute(private, CKA_VALUE).unwrap();
    assert_eq!(session.attribute(again, CKA_VALUE), Ok(value.clone()));
    let (created, _) = parameters(&session, again, &[CKA_PRIME, CKA_SUBPRIME, CKA_BASE]);
    let created = created
        .and(&private_template())
        .with(CKA_CLASS, CKO_PRIVATE_KEY)
        .with(CKA_KEY_TYPE, CKK_DSA)
        .with(CKA_SIGN, true)
        .with(CKA_VALUE, &value);
    let created = session.create(&created).unwrap();
    let signature = session
        .run(Way::Sign, CKM_DSA, created, &pattern(8, 20))
        .unwrap();
    assert_eq!(
        session.verify(CKM_DSA, public, &pattern(8, 20), &signature),
        Ok(())
    );
    if not_on_softhsm("it takes data of any length, and parameters that are none") {
        return;
    }
    let answer = session.run(Way::Sign, CKM_DSA, private, &pattern(8, 21));
    assert_eq!(answer, code(CKR_DATA_LEN_RANGE));
    let size = template! { CKA_PRIME_BITS => 1000 };
    assert_eq!(
        session.generate(CKM_DSA_PARAMETER_GEN, &size),
        code(CKR_ATTRIBUTE_VALUE_INVALID)
    );
    numbers[2][3] ^= 1;
    let bent = template! { CKA_PRIME => &numbers[0], CKA_SUBPRIME => &numbers[1], CKA_BASE => &numbers[2] };
    let answer = session.generate_pair(CKM_DSA_KEY_PAIR_GEN, &bent, &private_template());
    assert_eq!(answer, code(CKR_DOMAIN_PARAMS_INVALID));
    let answer = session.generate_pair(
        CKM_DSA_KEY_PAIR_GEN,
        &bent.without(CKA_BASE),
        &private_template(),
    );
    assert_eq!(answer, code(CKR_TEMPLATE_INCOMPLETE));
}

#[test]
fn diffie_hellman_agrees_with_openssl() {
    let place = Workplace::open();
    let session = place.user();
    let domain = template! { CKA_PRIME_BITS => 512, CKA_TOKEN => false };
    let object = session
        .generate(CKM_DH_PKCS_PARAMETER_GEN, &domain)
        .unwrap();
    let (public, numbers) = parameters(&session, object, &[CKA_PRIME, CKA_BASE]);
    let public = public.with(CKA_TOKEN, false);
    let pair = |private: &Template| {
        session
            .generate_pair(CKM_DH_PKCS_KEY_PAIR_GEN, &public, private)
            .unwrap()
    };
    let private = private_template().with(CKA_DERIVE, true);
    let (one_public, one) = pair(&private);
    let (other_public, other) = pair(&private.clone().with(CKA_VALUE_BITS, 160));
    assert_eq!(session.number(other, CKA_VALUE_BITS), Ok(160));
    let value = |key| session.attribute(key, CKA_VALUE).unwrap();
    let info = written(
        &place,
        "dh.pub",
        &public_info(DH_OID, &numbers, &value(one_public)),
    );
    let encoded = exported(&session, other);
    let secret = written(&place, "dh.key", &encoded);
    let shared = openssl(
        &[
            "pkeyutl",
            "-derive",
            "-keyform",
            "DER",
            "-inkey",
            shown(&secret),
            "-peerform",
            "DER",
            "-peerkey",
            shown(&info),
        ],
        b"",
    );
    let shared = [vec![0; 64 - shared.len()], shared].concat();
    let agree = |key, value: &[u8], template: &Template| {
        session.derive(Mechanism::bytes(CKM_DH_PKCS_DERIVE, value), key, template)
    };
    let generic = keys::open_secret(CKK_GENERIC_SECRET);
    for (key, public) in [(one, other_public), (other, one_public)] {
        for length in [64_usize, 32, 1] {
            let template = generic.clone().with(CKA_VALUE_LEN, length as u64);
            let derived = agree(key, &value(public), &template).unwrap();
            // PKCS#11 3.2, 6.4.8: bytes are taken away at the leading end.
            assert_eq!(value(derived), shared[64 - length..], "{length}");
        }
        let des = agree(key, &value(public), &keys::open_secret(CKK_DES3)).unwrap();
        assert_eq!(value(des), des_parity(&shared[40..]));
    }
    let again = imported(
        &session,
        CKK_DH,
        &encoded,
        &template! { CKA_DERIVE => true },
    )
    .unwrap();
    let template = generic.clone().with(CKA_VALUE_LEN, 64);
    let derived = agree(again, &value(one_public), &template).unwrap();
    assert_eq!(value(derived), shared);
    if not_on_softhsm("it agrees with whatever comes") {
        return;
    }
    assert_eq!(
        value(agree(one, &value(other_public), &generic).unwrap()),
        shared
    );
    let mut minus_one = numbers[0].clone();
    *minus_one.last_mut().unwrap() -= 1;
    for wrong in [&[][..], &[0], &[1], &minus_one, &numbers[0], &[0xff; 100]] {
        let answer = agree(one, wrong, &template);
        assert_eq!(
            answer,
            code(CKR_MECHANISM_PARAM_INVALID),
            "{} bytes",
            wrong.len()
        );
    }
    let longer = generic.clone().with(CKA_VALUE_LEN, 65);
    assert_eq!(
        agree(one, &value(other_public), &longer),
        code(CKR_ATTRIBUTE_VALUE_INVALID)
    );
    for info in [one_public, one] {
        let told = session.attribute(info, CKA_PUBLIC_KEY_INFO).unwrap();
        assert_eq!(told, public_info(DH_OID, &numbers, &value(one_public)));
    }
    let named = session
        .generate(
            CKM_DH_PKCS_PARAMETER_GEN,
            &template! { CKA_PRIME_BITS => 2048 },
        )
        .unwrap();
    assert_eq!(session.attribute(named, CKA_BASE), Ok(vec![2]));
    assert!(session.flag(named, CKA_LOCAL).unwrap());
}

#[test]
fn md5_agrees_with_openssl() {
    let place = Workplace::open();
    let session = place.user();
    let data = pattern(3, 500);
    let digest = openssl(&["dgst", "-md5", "-binary"], &data);
    for length in [0_usize, 1] {
        let whole = if length == 0 {
            session.run_by_the_book(Way::Digest, CKM_MD5, 0, &data)
        } else {
            session.run_in_pieces(Way::Digest, CKM_MD5, 0, &data, 61)
        };
        assert_eq!(whole, Ok(digest.clone()));
    }
    let value = pattern(4, 24);
    let mac = openssl(
        &[
            "dgst",
            "-md5",
            "-binary",
            "-mac",
            "HMAC",
            "-macopt",
            &format!("hexkey:{}", digits(&value)),
        ],
        &data,
    );
    let key = keys::import_secret(&session, CKK_GENERIC_SECRET, &value);
    assert_eq!(
        session.run_by_the_book(Way::Sign, CKM_MD5_HMAC, key, &data),
        Ok(mac.clone())
    );
    assert_eq!(session.verify(CKM_MD5_HMAC, key, &data, &mac), Ok(()));
    let (public, private) = keys::rsa_pair(&session, 2048);
    let signature = session
        .run(Way::Sign, CKM_MD5_RSA_PKCS, private, &data)
        .unwrap();
    let info = [CKA_MODULUS, CKA_PUBLIC_EXPONENT]
        .map(|kind| integer(&session.attribute(public, kind).unwrap()));
    let info = written(&place, "rsa.pub", &der::encoded(0x30, &info.concat()));
    let file = written(&place, "data", &data);
    let told = written(&place, "signature", &signature);
    let pem = openssl(
        &[
            "rsa",
            "-RSAPublicKey_in",
            "-inform",
            "DER",
            "-in",
            shown(&info),
        ],
        b"",
    );
    let pem = written(&place, "rsa.pem", &pem);
    succeed(Command::new("openssl").args([
        "dgst",
        "-md5",
        "-verify",
        shown(&pem),
        "-signature",
        shown(&told),
        shown(&file),
    ]));
    assert_eq!(
        session.verify(CKM_MD5_RSA_PKCS, public, &data, &signature),
        Ok(())
    );
    if not_on_softhsm("no CKM_MD5_HMAC_GENERAL") {
        return;
    }
    let general = Mechanism::new(CKM_MD5_HMAC_GENERAL, Parameter::Number(5));
    assert_eq!(
        session.run(Way::Sign, general, key, &data),
        Ok(mac[..5].to_vec())
    );
}

#[test]
fn p224_signs_and_agrees() {
    let place = Workplace::open();
    let session = place.user();
    let oid = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21];
    let public = template! { CKA_TOKEN => false, CKA_VERIFY => true, CKA_EC_PARAMS => &oid };
    let private = private_template()
        .with(CKA_SIGN, true)
        .with(CKA_DERIVE, true);
    let (public, private) = session
        .generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &private)
        .unwrap();
    let point = session.attribute(public, CKA_EC_POINT).unwrap();
    let point = der::element(&point).1.to_vec();
    assert_eq!(point.len(), 57);
    let algorithm = [
        &der::encoded(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1])[..],
        &oid,
    ]
    .concat();
    let bits = [&[0][..], &point].concat();
    let info = der::encoded(
        0x30,
        &[der::encoded(0x30, &algorithm), der::encoded(3, &bits)].concat(),
    );
    let info = written(&place, "p224.pub", &info);
    let digest = pattern(1, 28);
    let file = written(&place, "digest", &digest);
    let signature = session.run(Way::Sign, CKM_ECDSA, private, &digest).unwrap();
    assert_eq!(signature.len(), 56);
    let told = written(&place, "signature", &encoded_signature(&signature));
    succeed(Command::new("openssl").args([
        "pkeyutl",
        "-verify",
        "-pubin",
        "-keyform",
        "DER",
        "-inkey",
        shown(&info),
        "-in",
        shown(&file),
        "-sigfile",
        shown(&told),
    ]));
    let wrong = session.verify(CKM_ECDSA, public, &pattern(2, 28), &signature);
    assert_eq!(wrong, code(CKR_SIGNATURE_INVALID));
    let template = keys::readable_secret(CKK_GENERIC_SECRET).with(CKA_VALUE_LEN, 28);
    let mechanism = |point: &[u8]| Mechanism::ecdh(CKD_NULL, b"", point);
    session
        .derive(mechanism(&point), private, &template)
        .unwrap();
    let foreign = Curve::P256.point_of(&Curve::P256.fixed_scalar(3));
    let answer = session.derive(mechanism(&foreign), private, &template);
    assert!(answer.is_err(), "a point of another curve");
}

/// An RSA key of 1024 bits, as OpenSSL makes it: PKCS#8.
fn small_rsa(bits: usize) -> Vec<u8> {
    let bits = format!("rsa_keygen_bits:{bits}");
    let pem = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits], b"");
    openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem)
}

#[test]
fn small_rsa_keys_are_used_and_not_made() {
    if not_on_softhsm("it makes them from 512 bits on") {
        return;
    }
    let place = Workplace::open();
    let session = place.user();
    let sign = template! { CKA_SIGN => true };
    let signs = |encoded: &[u8]| {
        let key = imported(&session, CKK_RSA, encoded, &sign).unwrap();
        session
            .run(Way::Sign, CKM_SHA256_RSA_PKCS, key, b"data")
            .map(|signature| signature.len())
    };
    let (of_1024, of_768) = (small_rsa(1024), small_rsa(768));
    assert_eq!(signs(&of_1024), Ok(128));
    assert_eq!(signs(&of_768), code(CKR_KEY_SIZE_RANGE));
    let makes = |bits: u64| {
        let public = template! { CKA_TOKEN => false, CKA_MODULUS_BITS => bits };
        let made = session.generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &private_template());
        made.map(|_| ())
    };
    let least = || {
        place
            .module
            .mechanism_info(place.slot, CKM_RSA_PKCS_KEY_PAIR_GEN)
            .unwrap()
            .ulMinKeySize
    };
    assert_eq!(
        (makes(1024), least()),
        (code(CKR_ATTRIBUTE_VALUE_INVALID), 2048)
    );
    place.hsm.configure("[limits]\nrsa_bits_min = 512\n");
    assert_eq!((makes(1024), makes(512), least()), (Ok(()), Ok(()), 512));
    assert_eq!(signs(&of_768), Ok(96));
    place.hsm.configure("[limits]\nrsa_bits_min = 3072\n");
    assert_eq!(
        (makes(2048), least()),
        (code(CKR_ATTRIBUTE_VALUE_INVALID), 3072)
    );
    assert_eq!(signs(&of_1024), Ok(128));
}

#[test]
fn what_the_operator_refuses_is_gone_until_it_is_allowed_again() {
    if not_on_softhsm("its list is read once") {
        return;
    }
    let place = Workplace::open();
    let session = place.user();
    let des3 = keys::import_secret(&session, CKK_DES3, &des_value(1, 24));
    let aes = keys::import_aes(&session, &pattern(1, 16));
    let (_, ec) = keys::ec_pair(&session, Curve::P256);
    let uses = || {
        [
            session
                .run(Way::Encrypt, CKM_DES3_ECB, des3, &[1; 8])
                .map(|_| ()),
            session.run(Way::Digest, CKM_SHA_1, 0, b"data").map(|_| ()),
            session.wrap(CKM_DES3_ECB, des3, aes).map(|_| ()),
            session
                .unwrap(CKM_DES3_ECB, des3, &[1; 16], &keys::open_secret(CKK_AES))
                .map(|_| ()),
            session
                .generate(CKM_DES3_KEY_GEN, &keys::open_secret(CKK_DES3))
                .map(|_| ()),
            session
                .generate(
                    CKM_DH_PKCS_PARAMETER_GEN,
                    &template! { CKA_PRIME_BITS => 2048 },
                )
                .map(|_| ()),
            session
                .derive(
                    Mechanism::ecdh(
                        CKD_NULL,
                        b"",
                        &Curve::P256.point_of(&Curve::P256.fixed_scalar(3)),
                    ),
                    ec,
                    &keys::readable_secret(CKK_GENERIC_SECRET),
                )
                .map(|_| ()),
        ]
    };
    let gone = code(CKR_MECHANISM_INVALID);
    assert_eq!(uses(), [Ok(()); 7]);
    place
        .hsm
        .configure("[mechanisms]\nrefused = [\"legacy\", \"CKM_SHA_1\", \"CKM_ECDH1_DERIVE\"]\n");
    assert_eq!(uses(), [gone; 7]);
    assert!(!place.offers(CKM_DES3_ECB) && !place.offers(CKM_SHA_1) && place.offers(CKM_AES_ECB));
    assert!(
        session
            .run(Way::Encrypt, CKM_AES_ECB, aes, &[1; 16])
            .is_ok()
    );
    // The key stays: it is seen, read and copied.
    assert_eq!(session.attribute(des3, CKA_VALUE), Ok(des_value(1, 24)));
    place
        .hsm
        .configure("[mechanisms]\nallowed = [\"CKM_AES_ECB\", \"CKM_SHA256\"]\n");
    assert_eq!(uses(), [gone; 7]);
    assert!(session.run(Way::Digest, CKM_SHA256, 0, b"data").is_ok());
    assert_eq!(
        session.run(Way::Digest, CKM_SHA384, 0, b"data"),
        code(CKR_MECHANISM_INVALID)
    );
    // A name that is none: the old configuration stays in force.
    std::fs::write(
        place.hsm.home.join("strongroom.toml"),
        "[mechanisms]\nrefused = [\"CKM_DES4\"]\n",
    )
    .unwrap();
    let output = place.hsm.try_administer(&["reload"]);
    assert!(!output.status.success());
    assert_eq!(uses(), [gone; 7]);
    place.hsm.configure("");
    assert_eq!(uses(), [Ok(()); 7]);
}
