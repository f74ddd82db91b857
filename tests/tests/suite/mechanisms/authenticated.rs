//! Wrapping with associated data (PKCS#11 3.2, 5.18.6 and 5.18.7): AES-GCM, and RSA-AES with the data as label of OAEP.

use core::ptr::null_mut;

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::judge::hash::Hash;
use strongroom_tests::judge::rsa::RsaPrivate;
use strongroom_tests::mechanism::{Oaep, Parameter};
use strongroom_tests::rv::refused;
use strongroom_tests::wrapping::{GcmMessage, GcmWrap, LaidOut};
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

/// The wrapped key and its tag, in that order.
fn sealed(
    session: &Session<'_>,
    how: &mut GcmMessage,
    pair: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    associated: &[u8],
) -> Result<Vec<u8>, Rv> {
    let mut wrapped = session.wrap_authenticated(how, pair, associated)?;
    wrapped.extend(&how.tag);
    Ok(wrapped)
}

/// Unwraps what `sealed` has made.
fn opened(
    session: &Session<'_>,
    how: &GcmMessage,
    by: CK_OBJECT_HANDLE,
    sealed: &[u8],
    associated: &[u8],
    template: &Template,
) -> Result<CK_OBJECT_HANDLE, Rv> {
    let (wrapped, tag) = sealed.split_at(sealed.len() - 16);
    let tag = tag.to_vec();
    let mut how = GcmMessage { tag, ..how.clone() };
    session.unwrap_authenticated(&mut how, by, wrapped, associated, template)
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

/// PKCS#11 3.2, 6.13.3: the tag comes in the parameter, and all else is as for C_WrapKey, which has it behind the wrapped key.
#[test]
fn secrets_under_gcm_with_the_tag_in_its_place() {
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
            let is_back = |back: Result<CK_OBJECT_HANDLE, Rv>| {
                let back = back.unwrap();
                assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), value);
                session.destroy(back).unwrap();
            };
            for associated in [BOUND, b"", &pattern(3, 100_000)] {
                let expected = judged(&judge, &IV, associated, &value);
                let mut how = GcmMessage::generated(&IV, 5, CKG_NO_GENERATE);
                let pair = (wrapping, key);
                let wrapped = session.wrap_authenticated(&mut how, pair, associated);
                assert_eq!(wrapped.unwrap(), expected[..length], "{kek_length}");
                assert_eq!(how.tag, expected[length..], "{kek_length}, {length}");
                assert_eq!(how.iv, IV, "the caller's");
                is_back(opened(
                    &session, &how, wrapping, &expected, associated, &template,
                ));
                // The other way out and in, with the data in the parameter.
                let plainly = Mechanism::gcm(&IV, associated, 128);
                is_back(session.unwrap(plainly.clone(), wrapping, &expected, &template));
                assert_eq!(session.wrap(plainly, wrapping, key).unwrap(), expected);
            }
        }
    }
}

#[test]
fn a_shorter_tag_is_as_long_as_it_is_asked_for() {
    let Some(place) = place() else { return };
    let session = place.user();
    let wrapping = keys::import_aes(&session, &pattern(1, 32));
    let key = keys::import_aes(&session, &pattern(2, 32));
    let mut full = GcmMessage::new(&IV);
    let wrapped = session.wrap_authenticated(&mut full, (wrapping, key), BOUND);
    let mut short = GcmMessage::new(&IV);
    (short.tag_bits, short.tag) = (96, vec![0x55; 16]);
    let again = session.wrap_authenticated(&mut short, (wrapping, key), BOUND);
    let wrapped = wrapped.unwrap();
    assert_eq!(again.unwrap(), wrapped);
    assert_eq!(short.tag[..12], full.tag[..12]);
    assert_eq!(short.tag[12..], [0x55; 4], "what is behind it stays");
    let template = keys::readable_secret(CKK_AES);
    let back = session.unwrap_authenticated(&mut short, wrapping, &wrapped, BOUND, &template);
    let value = session.attribute(back.unwrap(), CKA_VALUE).unwrap();
    assert_eq!(value, pattern(2, 32));
}

#[test]
fn a_private_key_works_when_it_is_back() {
    let Some(place) = place() else { return };
    let session = place.user();
    let wrapping = keys::import_aes(&session, &pattern(4, 32));
    let curve = Curve::P256;
    let scalar = curve.fixed_scalar(5);
    let key = session.create(&keys::ec_private(curve, &scalar)).unwrap();
    let mut how = GcmMessage::new(&IV);
    let wrapped = sealed(&session, &mut how, (wrapping, key), BOUND).unwrap();
    let template =
        template! { CKA_CLASS => CKO_PRIVATE_KEY, CKA_KEY_TYPE => CKK_EC, CKA_SIGN => true };
    let back = opened(&session, &how, wrapping, &wrapped, BOUND, &template);
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
    for (kek, iv, ciphertext, tag) in [
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
        let wrapped = [hex(ciphertext), hex(tag)].concat();
        let mut how = GcmMessage::new(&hex(iv));
        let template = keys::readable_secret(CKK_GENERIC_SECRET);
        let back = opened(&session, &how, wrapping, &wrapped, &associated, &template).unwrap();
        assert_eq!(session.attribute(back, CKA_VALUE).unwrap(), plain);
        let again = sealed(&session, &mut how, (wrapping, back), &associated);
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
            let mut how = GcmMessage::generated(&asked, fixed_bits, generator);
            // Neither a length nor a buffer that is too small makes one.
            let told = session.wrap_authenticated_into(&mut how, pair, BOUND, None);
            assert_eq!((told, &how.iv), ((Rv(CKR_OK), 32), &asked));
            let room = &mut [0; 31][..];
            let told = session.wrap_authenticated_into(&mut how, pair, BOUND, Some(room));
            assert_eq!(told, (Rv(CKR_BUFFER_TOO_SMALL), 32));
            assert_eq!((&how.iv, &*room), (&asked, &[0; 31][..]));
            assert_eq!(how.tag, [0; 16]);
            let mut seen = vec![asked.clone()];
            for _ in 0..8 {
                how.iv.clone_from(&asked);
                let wrapped = sealed(&session, &mut how, pair, BOUND).unwrap();
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
    // C_WrapKey has a structure of its own for that.
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
        let mut how = GcmMessage::generated(&asked, fixed_bits, generator);
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

fn spoilt(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 0x10;
    bytes
}

#[test]
fn whatever_is_wrong_under_gcm_makes_no_key() {
    let Some(place) = place() else { return };
    let session = place.user();
    let wrapping = keys::import_aes(&session, &pattern(8, 32));
    let key = keys::import_aes(&session, &pattern(9, 32));
    let template = keys::readable_secret(CKK_AES);
    let mut good = GcmMessage::new(&IV);
    let wrapped = session
        .wrap_authenticated(&mut good, (wrapping, key), BOUND)
        .unwrap();
    let with = |change: &dyn Fn(&mut GcmMessage)| {
        let mut how = good.clone();
        change(&mut how);
        how
    };
    let invalid = CKR_WRAPPED_KEY_INVALID;
    let parameter = CKR_MECHANISM_PARAM_INVALID;
    let before = objects(&session);
    for (what, mut how, bytes, associated, code) in [
        (
            "vector",
            with(&|how| how.iv[11] ^= 1),
            wrapped.clone(),
            BOUND,
            invalid,
        ),
        ("data", good.clone(), wrapped.clone(), b"else", invalid),
        ("no data", good.clone(), wrapped.clone(), b"", invalid),
        (
            "first byte",
            good.clone(),
            spoilt(&wrapped, 0),
            BOUND,
            invalid,
        ),
        (
            "tag",
            with(&|how| how.tag[15] ^= 0x10),
            wrapped.clone(),
            BOUND,
            invalid,
        ),
        ("cut", good.clone(), wrapped[..31].to_vec(), BOUND, invalid),
        ("nothing", good.clone(), vec![], BOUND, invalid),
        (
            "odd tag",
            with(&|how| how.tag_bits = 100),
            wrapped.clone(),
            BOUND,
            parameter,
        ),
        (
            "long tag",
            with(&|how| how.tag_bits = 136),
            wrapped.clone(),
            BOUND,
            parameter,
        ),
        (
            "endless tag",
            with(&|how| how.tag_bits = CK_ULONG::MAX),
            wrapped.clone(),
            BOUND,
            parameter,
        ),
        (
            "no vector",
            with(&|how| how.iv.clear()),
            wrapped.clone(),
            BOUND,
            parameter,
        ),
    ] {
        let back = session.unwrap_authenticated(&mut how, wrapping, &bytes, associated, &template);
        refused(what, back, &[code]);
    }
    assert_eq!(objects(&session), before, "nothing was made");
    // Structures of other functions, and none.
    let mut other = GcmWrap::new(&IV, 0, CKG_NO_GENERATE);
    for how in [
        &mut other as &mut dyn LaidOut,
        &mut Mechanism::gcm(&IV, b"", 128),
        &mut Mechanism::plain(CKM_AES_GCM),
        &mut with(&|how| how.tag_bits = 100),
    ] {
        let mut how = how;
        let left = session.wrap_authenticated(&mut how, (wrapping, key), BOUND);
        refused("structure", left, &[parameter]);
        let back = session.unwrap_authenticated(&mut how, wrapping, &wrapped, BOUND, &template);
        refused("structure", back, &[parameter]);
    }
    opened(
        &session,
        &good,
        wrapping,
        &[wrapped, good.tag.clone()].concat(),
        BOUND,
        &template,
    )
    .unwrap();
}

#[test]
fn whatever_is_wrong_under_rsa_makes_no_key() {
    let Some(place) = place() else { return };
    let session = place.user();
    let (public, private) = keys::import_rsa(&session, &RsaPrivate::fixed(2048));
    let key = keys::import_aes(&session, &pattern(9, 32));
    let template = keys::readable_secret(CKK_AES);
    let wrapped = session
        .wrap_authenticated(&mut rsa_aes(b""), (public, key), BOUND)
        .unwrap();
    let invalid = CKR_WRAPPED_KEY_INVALID;
    let (range, parameter) = (CKR_WRAPPED_KEY_LEN_RANGE, CKR_MECHANISM_PARAM_INVALID);
    let before = objects(&session);
    for (what, label, bytes, associated, code) in [
        ("label", &b""[..], wrapped.clone(), &b"else"[..], invalid),
        ("no label", b"", wrapped.clone(), b"", invalid),
        ("two labels", b"else", wrapped.clone(), BOUND, parameter),
        ("temporary key", b"", spoilt(&wrapped, 9), BOUND, invalid),
        ("key", b"", spoilt(&wrapped, 260), BOUND, invalid),
        ("short", b"", wrapped[..200].to_vec(), BOUND, range),
        ("nothing", b"", vec![], BOUND, range),
    ] {
        let mut how = rsa_aes(label);
        let back = session.unwrap_authenticated(&mut how, private, &bytes, associated, &template);
        refused(what, back, &[code]);
    }
    assert_eq!(objects(&session), before, "nothing was made");
    let left = session.wrap_authenticated(&mut rsa_aes(b"else"), (public, key), BOUND);
    refused("two labels", left, &[parameter]);
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
    let leave = |pair| session.wrap_authenticated(&mut GcmMessage::new(&IV), pair, BOUND);
    let kept = of(&template! { CKA_EXTRACTABLE => false });
    let careful = of(&template! { CKA_WRAP_WITH_TRUSTED => true });
    let plain = of(&Template::default());
    let unable = of(&template! { CKA_WRAP => false });
    let picky = of(&template! { CKA_WRAP_TEMPLATE => template! { CKA_LABEL => "dek" } });
    for (what, pair, code) in [
        ("kept", (wrapping, kept), CKR_KEY_UNEXTRACTABLE),
        ("careful", (wrapping, careful), CKR_KEY_NOT_WRAPPABLE),
        ("picky", (picky, plain), CKR_KEY_HANDLE_INVALID),
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
    let checked = GcmMessage::new(&IV).lay_out(&mut |how| {
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
        // A vector or a tag that is nowhere is a parameter that does not fit.
        let mut tag = [0; 16];
        let mut vector = IV;
        for (iv, tag) in [
            (null_mut(), tag.as_mut_ptr()),
            (vector.as_mut_ptr(), null_mut()),
        ] {
            let mut nowhere = CK_GCM_MESSAGE_PARAMS {
                pIv: iv,
                ulIvLen: 12,
                ulIvFixedBits: 0,
                ivGenerator: CKG_GENERATE,
                pTag: tag,
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
        }
        Rv(CKR_OK)
    });
    checked.ok().unwrap();
    assert_eq!((length, made, room), (48, 77, [0; 48]));
}
