//! Wrapping with associated data (PKCS#11 3.2, 5.18.6 and 5.18.7): AES-GCM, and RSA-AES with the data as label of OAEP.

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::mechanism::{Oaep, Parameter};
use strongroom_tests::rv::refused;
use strongroom_tests::wrapping::GcmWrap;
use strongroom_tests::{
    Mechanism, Rv, Session, Template, Way, Workplace, hex, not_on_softhsm, pattern, template,
};

use crate::keys;

const IV: [u8; 12] = [3; 12];
const BOUND: &[u8] = b"what the key is bound to";

/// A place, unless the module is one of 2.40.
fn place() -> Option<Workplace> {
    let place = Workplace::open();
    (!not_on_softhsm("a module of 2.40 has no C_WrapKeyAuthenticated")).then_some(place)
}

/// As RustCrypto's block cipher has it: ciphertext, then tag.
fn judged(judge: &Aes, iv: &[u8], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let (mut wrapped, tag) = judge.gcm(iv, aad, plain);
    wrapped.extend(tag);
    wrapped
}

fn objects(session: &Session<'_>) -> usize {
    session.find(&Template::default()).unwrap().len()
}

fn rsa_aes(label: &[u8]) -> Mechanism {
    let oaep = Oaep {
        hash: CKM_SHA256,
        mgf: CKG_MGF1_SHA256,
        label: label.to_vec(),
    };
    let aes_bits = 256;
    Mechanism::new(CKM_RSA_AES_KEY_WRAP, Parameter::RsaAes { aes_bits, oaep })
}

#[test]
fn secrets_under_gcm_in_both_structures() {
    let Some(place) = place() else { return };
    let session = place.user();
    for kek_length in [16, 24, 32] {
        let kek = pattern(1, kek_length);
        let (wrapping, judge) = (keys::import_aes(&session, &kek), Aes::new(&kek));
        for (kind, length) in [
            (CKK_AES, 16),
            (CKK_AES, 32),
            (CKK_GENERIC_SECRET, 1),
            (CKK_GENERIC_SECRET, 333),
        ] {
            let value = pattern(2, length);
            let key = keys::import_secret(&session, kind, &value);
            let template = keys::readable_secret(kind);
            for associated in [BOUND, b"", &pattern(3, 100_000)] {
                let expected = judged(&judge, &IV, associated, &value);
                let (mut short, mut long) = (
                    Mechanism::gcm(&IV, b"", 128),
                    GcmWrap::new(&IV, 5, CKG_NO_GENERATE),
                );
                let wrapped = session.wrap_authenticated(&mut short, (wrapping, key), associated);
                assert_eq!(wrapped.unwrap(), expected, "{kek_length}, {length}");
                let wrapped = session.wrap_authenticated(&mut long, (wrapping, key), associated);
                assert_eq!(wrapped.unwrap(), expected, "{kek_length}, {length}");
                assert_eq!(long.iv, IV, "the caller's");
                for back in [
                    session.unwrap_authenticated(
                        &mut short, wrapping, &expected, associated, &template,
                    ),
                    session.unwrap_authenticated(
                        &mut long, wrapping, &expected, associated, &template,
                    ),
                ] {
                    let back = back.unwrap();
                    assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), value);
                    session.destroy(back).unwrap();
                }
                // The other way in, with the data in the parameter.
                let how = Mechanism::gcm(&IV, associated, 128);
                let back = session.unwrap(how.clone(), wrapping, &expected, &template);
                assert_eq!(session.attribute(back.unwrap(), CKA_VALUE).unwrap(), value);
                assert_eq!(session.wrap(how, wrapping, key).unwrap(), expected);
            }
        }
    }
}

#[test]
fn a_private_key_works_when_it_is_back() {
    let Some(place) = place() else { return };
    let session = place.user();
    let wrapping = keys::import_aes(&session, &pattern(4, 32));
    let curve = Curve::P256;
    let scalar = curve.fixed_scalar(5);
    let key = session.create(&keys::ec_private(curve, &scalar)).unwrap();
    let mut how = Mechanism::gcm(&IV, b"", 128);
    let wrapped = session
        .wrap_authenticated(&mut how, (wrapping, key), BOUND)
        .unwrap();
    let template =
        template! { CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => CKK_EC, CKA_SIGN => true };
    let back = session.unwrap_authenticated(&mut how, wrapping, &wrapped, BOUND, &template);
    let signature = session.run(Way::Sign, CKM_ECDSA, back.unwrap(), &[9; 32]);
    let point = curve.point_of(&scalar);
    assert!(curve.ecdsa_is_good(&point, &[9; 32], &signature.unwrap()));
}

/// Test cases 4, 6 and 16 of McGrew and Viega's description of GCM: their plaintext comes in as a key.
#[test]
fn published_vectors_are_unwrapped() {
    let Some(place) = place() else { return };
    let session = place.user();
    let plain = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let key = "feffe9928665731c6d6a8f9467308308";
    for (kek, iv, sealed, tag) in [
        (
            key.to_owned(),
            "cafebabefacedbaddecaf888",
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
            "5bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            key.to_owned(),
            "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728
             c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
            "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca7
             01e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5",
            "619cc5aefffe0bfa462af43c1699d050",
        ),
        (
            key.repeat(2),
            "cafebabefacedbaddecaf888",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ] {
        let wrapping = keys::import_aes(&session, &hex(&kek));
        let wrapped = [hex(sealed), hex(tag)].concat();
        let mut how = GcmWrap::new(&hex(iv), 0, CKG_NO_GENERATE);
        let template = keys::readable_secret(CKK_GENERIC_SECRET);
        let back = session
            .unwrap_authenticated(&mut how, wrapping, &wrapped, &associated, &template)
            .unwrap();
        assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), plain);
        let again = session.wrap_authenticated(&mut how, (wrapping, back), &associated);
        assert_eq!(again.unwrap(), wrapped);
    }
}

#[test]
fn vectors_that_the_token_makes_are_written_back() {
    let Some(place) = place() else { return };
    let session = place.user();
    let kek = pattern(5, 32);
    let (wrapping, judge) = (keys::import_aes(&session, &kek), Aes::new(&kek));
    let value = pattern(6, 32);
    let key = keys::import_aes(&session, &value);
    let pair = (wrapping, key);
    for generator in [CKG_GENERATE, CKG_GENERATE_RANDOM] {
        for (bytes, fixed_bits) in [(12, 0), (16, 32), (20, 36)] {
            let asked = pattern(7, bytes);
            let mut how = GcmWrap::new(&asked, fixed_bits, generator);
            // Neither a length nor a buffer that is too small makes one.
            let told = session.wrap_authenticated_into(&mut how, pair, BOUND, None);
            assert_eq!((told, &how.iv), ((Rv(CKR_OK), 48), &asked));
            let room = &mut [0; 47][..];
            let told = session.wrap_authenticated_into(&mut how, pair, BOUND, Some(room));
            assert_eq!(told, (Rv(CKR_BUFFER_TOO_SMALL), 48));
            assert_eq!((&how.iv, &*room), (&asked, &[0; 47][..]));
            let mut seen = vec![asked.clone()];
            for _ in 0..8 {
                how.iv.clone_from(&asked);
                let wrapped = session.wrap_authenticated(&mut how, pair, BOUND).unwrap();
                assert_eq!(wrapped, judged(&judge, &how.iv, BOUND, &value));
                assert!(!seen.contains(&how.iv), "another each time");
                let whole = fixed_bits as usize / 8;
                assert_eq!(how.iv[..whole], asked[..whole]);
                if fixed_bits % 8 == 4 {
                    assert_eq!(how.iv[whole] & 0xf0, asked[whole] & 0xf0);
                }
                seen.push(how.iv.clone());
            }
        }
    }
    // C_WrapKey takes the structure as well.
    let mut how = GcmWrap::new(&IV, 0, CKG_GENERATE);
    how.aad = BOUND.to_vec();
    let mut wrapped = vec![0; 48];
    let (code, length) = wrap_plainly(&session, &mut how, pair, &mut wrapped);
    assert_eq!((code, length), (Rv(CKR_OK), 48));
    assert_ne!(how.iv, IV);
    assert_eq!(wrapped, judged(&judge, &how.iv, BOUND, &value));
    for (bytes, fixed_bits, generator) in [
        (12, 1, CKG_GENERATE),
        (16, 33, CKG_GENERATE_RANDOM),
        (8, 0, CKG_GENERATE),
        (16, 0, CKG_GENERATE_COUNTER),
        (16, 0, CKG_GENERATE_COUNTER_XOR),
        (16, 0, 5),
        (0, 0, CKG_GENERATE),
    ] {
        let asked = vec![1; bytes];
        let mut how = GcmWrap::new(&asked, fixed_bits, generator);
        let told = session.wrap_authenticated(&mut how, pair, BOUND);
        refused(
            "less than 96 random bits",
            told,
            &[CKR_MECHANISM_PARAM_INVALID],
        );
        assert_eq!(how.iv, asked);
    }
}

/// `C_WrapKey` with `CK_GCM_WRAP_PARAMS`.
fn wrap_plainly(
    session: &Session<'_>,
    how: &mut GcmWrap,
    (wrapping, key): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    room: &mut [u8],
) -> (Rv, usize) {
    use strongroom_tests::wrapping::LaidOut as _;
    let mut length = room.len() as CK_ULONG;
    let buffer = room.as_mut_ptr();
    let code = how.lay_out(&mut |mechanism| {
        let lengths = &raw mut length;
        strongroom_tests::call!(
            session.module,
            C_WrapKey(session.handle, mechanism, wrapping, key, buffer, lengths)
        )
    });
    (code, length as usize)
}

#[test]
fn whatever_is_wrong_makes_no_key() {
    let Some(place) = place() else { return };
    let session = place.user();
    let kek = pattern(8, 32);
    let wrapping = keys::import_aes(&session, &kek);
    let (public, private) = keys::import_rsa(&session, &RsaPrivate::fixed(2048));
    let key = keys::import_aes(&session, &pattern(9, 32));
    let template = keys::readable_secret(CKK_AES);
    let gcm = |iv: &[u8], aad: &[u8], bits| Mechanism::gcm(iv, aad, bits);
    let good = || gcm(&IV, b"", 128);
    let wrapped = session
        .wrap_authenticated(&mut good(), (wrapping, key), BOUND)
        .unwrap();
    let sealed = session
        .wrap_authenticated(&mut rsa_aes(b""), (public, key), BOUND)
        .unwrap();
    let spoilt = |bytes: &[u8], place: usize| {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 0x10;
        bytes
    };
    let invalid = CKR_WRAPPED_KEY_INVALID;
    let (range, parameter) = (CKR_WRAPPED_KEY_LEN_RANGE, CKR_MECHANISM_PARAM_INVALID);
    let before = objects(&session);
    for (what, mut how, by, bytes, associated, code) in [
        (
            "vector",
            gcm(&[4; 12], b"", 128),
            wrapping,
            wrapped.clone(),
            BOUND,
            invalid,
        ),
        (
            "data",
            good(),
            wrapping,
            wrapped.clone(),
            &b"else"[..],
            invalid,
        ),
        ("no data", good(), wrapping, wrapped.clone(), b"", invalid),
        (
            "first byte",
            good(),
            wrapping,
            spoilt(&wrapped, 0),
            BOUND,
            invalid,
        ),
        (
            "tag",
            good(),
            wrapping,
            spoilt(&wrapped, 47),
            BOUND,
            invalid,
        ),
        (
            "cut",
            good(),
            wrapping,
            wrapped[..47].to_vec(),
            BOUND,
            invalid,
        ),
        (
            "less than a tag",
            good(),
            wrapping,
            wrapped[..15].to_vec(),
            BOUND,
            range,
        ),
        ("nothing", good(), wrapping, vec![], BOUND, range),
        (
            "other tag",
            gcm(&IV, b"", 96),
            wrapping,
            wrapped.clone(),
            BOUND,
            invalid,
        ),
        (
            "odd tag",
            gcm(&IV, b"", 100),
            wrapping,
            wrapped.clone(),
            BOUND,
            parameter,
        ),
        (
            "no vector",
            gcm(b"", b"", 128),
            wrapping,
            wrapped.clone(),
            BOUND,
            parameter,
        ),
        (
            "two data",
            gcm(&IV, b"else", 128),
            wrapping,
            wrapped.clone(),
            BOUND,
            parameter,
        ),
        (
            "no parameter",
            Mechanism::plain(CKM_AES_GCM),
            wrapping,
            wrapped.clone(),
            BOUND,
            parameter,
        ),
        (
            "label",
            rsa_aes(b""),
            private,
            sealed.clone(),
            b"else",
            invalid,
        ),
        (
            "no label",
            rsa_aes(b""),
            private,
            sealed.clone(),
            b"",
            invalid,
        ),
        (
            "two labels",
            rsa_aes(b"else"),
            private,
            sealed.clone(),
            BOUND,
            parameter,
        ),
        (
            "temporary key",
            rsa_aes(b""),
            private,
            spoilt(&sealed, 9),
            BOUND,
            invalid,
        ),
        (
            "key",
            rsa_aes(b""),
            private,
            spoilt(&sealed, 260),
            BOUND,
            invalid,
        ),
        (
            "short",
            rsa_aes(b""),
            private,
            sealed[..200].to_vec(),
            BOUND,
            range,
        ),
    ] {
        let back = session.unwrap_authenticated(&mut how, by, &bytes, associated, &template);
        refused(what, back, &[code]);
    }
    assert_eq!(objects(&session), before, "nothing was made");
    for (what, mut how, by, associated) in [
        ("two data", gcm(&IV, b"else", 128), wrapping, BOUND),
        (
            "data of the parameter alone",
            gcm(&IV, b"else", 128),
            wrapping,
            b"",
        ),
        ("two labels", rsa_aes(b"else"), public, BOUND),
        ("odd tag", gcm(&IV, b"", 100), wrapping, BOUND),
    ] {
        let left = session.wrap_authenticated(&mut how, (by, key), associated);
        refused(what, left, &[parameter]);
    }
}

/// The associated data are the label of OAEP: any vendor's C_UnwrapKey opens it with `pSourceData`, and so does whoever knows RFC 8017.
#[test]
fn rsa_aes_takes_the_data_as_the_label() {
    let Some(place) = place() else { return };
    let session = place.user();
    let rsa = RsaPrivate::fixed(2048);
    let (public, private) = keys::import_rsa(&session, &rsa);
    let value = pattern(10, 32);
    let key = keys::import_aes(&session, &value);
    let template = keys::readable_secret(CKK_AES);
    let hash = Hash::Sha256;
    for associated in [BOUND, b"", &pattern(11, 60_000)] {
        for mut how in [rsa_aes(b""), rsa_aes(associated)] {
            let wrapped = session
                .wrap_authenticated(&mut how, (public, key), associated)
                .unwrap();
            let temporary = rsa.oaep_decrypt(hash, hash, associated, &wrapped[..256]);
            let plain = Aes::new(&temporary.expect("the label")).kwp_back(&wrapped[256..]);
            assert_eq!(plain, Some(value.clone()));
            let back = session.unwrap(rsa_aes(associated), private, &wrapped, &template);
            assert_eq!(session.attribute(back.unwrap(), CKA_VALUE).unwrap(), value);
        }
        let wrapped = session.wrap(rsa_aes(associated), public, key).unwrap();
        for mut how in [rsa_aes(b""), rsa_aes(associated)] {
            let back =
                session.unwrap_authenticated(&mut how, private, &wrapped, associated, &template);
            assert_eq!(session.attribute(back.unwrap(), CKA_VALUE).unwrap(), value);
        }
    }
    let other = session.wrap(rsa_aes(b"else"), public, key).unwrap();
    let back = session.unwrap(rsa_aes(BOUND), private, &other, &template);
    refused("another label", back, &[CKR_WRAPPED_KEY_INVALID]);
}

#[test]
fn what_does_not_leave_by_wrapping_does_not_leave_authenticated() {
    let Some(place) = place() else { return };
    let session = place.user();
    let wrapping = keys::import_aes(&session, &pattern(12, 32));
    let open = keys::open_secret(CKK_AES).with(CKA_VALUE, pattern(13, 32));
    let of = |more: &Template| session.create(&open.clone().and(more)).unwrap();
    let leave = |pair| session.wrap_authenticated(&mut Mechanism::gcm(&IV, b"", 128), pair, BOUND);
    let kept = of(&template! { CKA_EXTRACTABLE => false });
    let careful = of(&template! { CKA_WRAP_WITH_TRUSTED => true });
    let plain = of(&Template::default());
    let unable = of(&template! { CKA_WRAP => false });
    let picky = of(&template! { CKA_WRAP_TEMPLATE => template! { CKA_LABEL => "dek" } });
    for (what, pair, code) in [
        ("kept", (wrapping, kept), CKR_KEY_UNEXTRACTABLE),
        ("careful", (wrapping, careful), CKR_KEY_NOT_WRAPPABLE),
        ("picky", (picky, plain), CKR_KEY_NOT_WRAPPABLE),
        ("unable", (unable, plain), CKR_KEY_FUNCTION_NOT_PERMITTED),
        (
            "no wrapping key",
            (0, plain),
            CKR_WRAPPING_KEY_HANDLE_INVALID,
        ),
        ("no key", (wrapping, 0), CKR_KEY_HANDLE_INVALID),
    ] {
        refused(what, leave(pair), &[code]);
    }
    leave((picky, of(&template! { CKA_LABEL => "dek" }))).unwrap();
    let (public, _) = keys::rsa_pair(&session, 2048);
    for (mut how, by) in [
        (Mechanism::plain(CKM_AES_KEY_WRAP), wrapping),
        (Mechanism::plain(CKM_AES_KEY_WRAP_KWP), wrapping),
        (Mechanism::bytes(CKM_AES_CBC, &[1; 16]), wrapping),
        (Mechanism::bytes(CKM_AES_CBC_PAD, &[1; 16]), wrapping),
        (Mechanism::plain(CKM_RSA_PKCS), public),
        (Mechanism::oaep(CKM_SHA256, CKG_MGF1_SHA256, b""), public),
    ] {
        let left = session.wrap_authenticated(&mut how, (by, plain), BOUND);
        refused("no associated data", left, &[CKR_MECHANISM_INVALID]);
        let template = keys::readable_secret(CKK_AES);
        let came = session.unwrap_authenticated(&mut how, by, &[1; 40], BOUND, &template);
        refused("no associated data", came, &[CKR_MECHANISM_INVALID]);
    }
}

#[test]
fn null_pointers_are_refused_where_something_must_be() {
    let Some(place) = place() else { return };
    let session = place.user();
    let by = keys::import_aes(&session, &pattern(14, 32));
    let key = keys::import_aes(&session, &pattern(15, 32));
    let list = session.module.table_3_2().unwrap();
    let wrap = list.C_WrapKeyAuthenticated.unwrap();
    let unwrap = list.C_UnwrapKeyAuthenticated.unwrap();
    let bad = Rv(CKR_ARGUMENTS_BAD);
    let (session, mut length, mut made) = (session.handle, 48, 77);
    let (mut room, mut data) = ([0_u8; 48], [1_u8; 48]);
    let (count, buffer, data) = (&raw mut length, room.as_mut_ptr(), data.as_mut_ptr());
    let handle = &raw mut made;
    Mechanism::gcm(&IV, b"", 128).laid_out(|how| {
        for (how, data, bytes, count) in [
            (null_mut(), null_mut(), 0, count),
            (how, null_mut(), 1, count),
            (how, data, CK_ULONG::MAX, count),
            (how, null_mut(), 0, null_mut()),
        ] {
            // SAFETY: what is not NULL is memory of this test's own; a length that is more than it has is refused before it is read.
            let code = unsafe { wrap(session, how, by, key, data, bytes, buffer, count) };
            assert_eq!(Rv(code), bad);
        }
        keys::readable_secret(CKK_AES).laid_out(|array, items| {
            for (how, wrapped, array, data, bytes, handle) in [
                (null_mut(), data, array, null_mut(), 0, handle),
                (how, null_mut(), array, null_mut(), 0, handle),
                (how, data, null_mut(), null_mut(), 0, handle),
                (how, data, array, null_mut(), 1, handle),
                (how, data, array, data, CK_ULONG::MAX, handle),
                (how, data, array, null_mut(), 0, null_mut()),
            ] {
                // SAFETY: as above.
                let code = unsafe {
                    unwrap(
                        session, how, by, wrapped, 48, array, items, data, bytes, handle,
                    )
                };
                assert_eq!(Rv(code), bad);
            }
        });
        // A vector that is nowhere is a parameter that does not fit.
        let mut nowhere = CK_GCM_WRAP_PARAMS {
            pIv: null_mut(),
            ulIvLen: 12,
            ulIvFixedBits: 0,
            ivGenerator: CKG_GENERATE,
            pAAD: null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        };
        let mut how = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: (&raw mut nowhere).cast(),
            ulParameterLen: size_of_val(&nowhere) as CK_ULONG,
        };
        // SAFETY: as above.
        let code = unsafe { wrap(session, &raw mut how, by, key, data, 1, buffer, count) };
        assert_eq!(Rv(code), Rv(CKR_MECHANISM_PARAM_INVALID));
    });
    assert_eq!((length, made, room), (48, 77, [0; 48]));
}
