//! AES: ECB, CBC, CTR, GCM, CMAC (PKCS#11 3.2, 6.10 to 6.14).

use cryptoki_sys::*;
use strongroom_tests::judge::aes::Aes;
use strongroom_tests::mechanism::Parameter;
use strongroom_tests::rv::refused;
use strongroom_tests::{Mechanism, Rv, Session, Way, Workplace, not_on_softhsm, pattern};

use crate::keys;

const IV: [u8; 16] = [0xf0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff];

/// Lengths around blocks, and one over a page.
const LENGTHS: &[usize] = &[0, 1, 15, 16, 17, 31, 32, 33, 255, 4099];
/// Sizes of the pieces of multi-part operations: less than a block, odd, a block, more.
const PIECES: &[usize] = &[1, 7, 16, 61];

/// Encrypts and decrypts in one call, by the book, and in pieces; each against the judge.
fn both_ways(
    session: &Session<'_>,
    mechanism: &Mechanism,
    key: CK_OBJECT_HANDLE,
    plain: &[u8],
    sealed: &[u8],
) {
    let what = format!("{:#x}, {} bytes", mechanism.kind, plain.len());
    let run = |way, input: &[u8]| session.run_by_the_book(way, mechanism.clone(), key, input);
    assert_eq!(
        run(Way::Encrypt, plain),
        Ok(sealed.to_vec()),
        "{what}: encrypt"
    );
    assert_eq!(
        run(Way::Decrypt, sealed),
        Ok(plain.to_vec()),
        "{what}: decrypt"
    );
    for piece in PIECES {
        if plain.len() > 1000 && *piece == 1 {
            continue;
        }
        let run =
            |way, input: &[u8]| session.run_in_pieces(way, mechanism.clone(), key, input, *piece);
        assert_eq!(
            run(Way::Encrypt, plain),
            Ok(sealed.to_vec()),
            "{what}: encrypt by {piece}"
        );
        assert_eq!(
            run(Way::Decrypt, sealed),
            Ok(plain.to_vec()),
            "{what}: decrypt by {piece}"
        );
    }
}

fn for_each_key(action: impl Fn(&Session<'_>, CK_OBJECT_HANDLE, &Aes)) {
    let place = Workplace::open();
    let session = place.user();
    for length in [16, 24, 32] {
        let value = pattern(length as u64 + 100, length);
        action(
            &session,
            keys::import_aes(&session, &value),
            &Aes::new(&value),
        );
    }
}

#[test]
fn ecb() {
    for_each_key(|session, key, judge| {
        for length in LENGTHS
            .iter()
            .map(|length| length / 16 * 16)
            .filter(|length| *length > 0)
        {
            let plain = pattern(1, length);
            both_ways(
                session,
                &CKM_AES_ECB.into(),
                key,
                &plain,
                &judge.ecb(&plain),
            );
        }
        let part = session.run(Way::Encrypt, CKM_AES_ECB, key, &[0; 17]);
        refused("a part of a block", part, &[CKR_DATA_LEN_RANGE]);
        let part = session.run(Way::Decrypt, CKM_AES_ECB, key, &[0; 17]);
        refused("a part of a block", part, &[CKR_ENCRYPTED_DATA_LEN_RANGE]);
        let part = session.run_in_pieces(Way::Encrypt, CKM_AES_ECB, key, &[0; 33], 7);
        refused("a part of a block in pieces", part, &[CKR_DATA_LEN_RANGE]);
    });
}

#[test]
fn cbc() {
    for_each_key(|session, key, judge| {
        let mechanism = Mechanism::bytes(CKM_AES_CBC, &IV);
        for length in LENGTHS
            .iter()
            .map(|length| length / 16 * 16)
            .filter(|length| *length > 0)
        {
            let plain = pattern(2, length);
            both_ways(session, &mechanism, key, &plain, &judge.cbc(&IV, &plain));
        }
        let part = session.run(Way::Encrypt, mechanism.clone(), key, &[0; 15]);
        refused("a part of a block", part, &[CKR_DATA_LEN_RANGE]);
        let part = session.run(Way::Decrypt, mechanism, key, &[0; 15]);
        refused("a part of a block", part, &[CKR_ENCRYPTED_DATA_LEN_RANGE]);
    });
}

#[test]
fn cbc_with_padding() {
    for_each_key(|session, key, judge| {
        let mechanism = Mechanism::bytes(CKM_AES_CBC_PAD, &IV);
        for length in LENGTHS {
            let plain = pattern(3, *length);
            both_ways(
                session,
                &mechanism,
                key,
                &plain,
                &judge.cbc_pad(&IV, &plain),
            );
        }
        let bad = &[CKR_ENCRYPTED_DATA_INVALID];
        for block in [[0; 16], [17; 16], [0xff; 16]] {
            let sealed = judge.cbc(&IV, &block);
            let opened = session.run(Way::Decrypt, mechanism.clone(), key, &sealed);
            if !not_on_softhsm("to bad padding it answers CKR_GENERAL_ERROR") {
                refused("bad padding", opened, bad);
            }
        }
        let mut block = [5; 16];
        block[11] = 4;
        let opened = session.run(
            Way::Decrypt,
            mechanism.clone(),
            key,
            &judge.cbc(&IV, &block),
        );
        if !not_on_softhsm("to bad padding it answers CKR_GENERAL_ERROR") {
            refused("padding with one wrong byte", opened, bad);
        }
        let part = session.run(Way::Decrypt, mechanism.clone(), key, &[0; 15]);
        refused("a part of a block", part, &[CKR_ENCRYPTED_DATA_LEN_RANGE]);
        let nothing = session.run(Way::Decrypt, mechanism, key, b"");
        if !not_on_softhsm("nothing decrypts to nothing") {
            refused(
                "nothing",
                nothing,
                &[CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID],
            );
        }
    });
}

#[test]
fn ctr() {
    for_each_key(|session, key, judge| {
        for length in LENGTHS {
            let plain = pattern(4, *length);
            let mechanism = Mechanism::new(
                CKM_AES_CTR,
                Parameter::Counter {
                    bits: 128,
                    block: IV,
                },
            );
            both_ways(
                session,
                &mechanism,
                key,
                &plain,
                &judge.ctr(128, IV, &plain),
            );
        }
        // The counter wraps within its bits and leaves the nonce alone.
        for bits in [8, 16, 32, 64, 128] {
            let mut block = [0xab; 16];
            for byte in &mut block[16 - bits / 8..] {
                *byte = 0xff;
            }
            let plain = pattern(5, 40);
            let mechanism = Mechanism::new(
                CKM_AES_CTR,
                Parameter::Counter {
                    bits: bits as u64,
                    block,
                },
            );
            if !not_on_softhsm("it refuses a counter that would wrap") {
                let sealed = session.run(Way::Encrypt, mechanism, key, &plain);
                if bits < 128 && sealed == Err(Rv(CKR_DATA_LEN_RANGE)) {
                    // Refusing to repeat a counter block is as good as NIST asks (SP 800-38A, B.2).
                    continue;
                }
                assert_eq!(
                    sealed,
                    Ok(judge.ctr(bits as u32, block, &plain)),
                    "{bits} bits"
                );
            }
        }
        for bits in [0, 129, u64::MAX] {
            let mechanism = Mechanism::new(CKM_AES_CTR, Parameter::Counter { bits, block: IV });
            refused(
                "counter bits out of range",
                session.begin(Way::Encrypt, mechanism, key),
                &[CKR_MECHANISM_PARAM_INVALID],
            );
        }
    });
}

#[test]
fn gcm() {
    for_each_key(|session, key, judge| {
        for (iv_length, aad_length, tag_bits) in [
            (12, 0, 128),
            (12, 20, 128),
            (12, 1, 120),
            (12, 16, 112),
            (12, 300, 104),
            (12, 13, 96),
            (8, 13, 128),
            (16, 13, 128),
            (1, 0, 128),
            (60, 5, 128),
            (256, 5, 128),
        ] {
            let (iv, aad) = (pattern(6, iv_length), pattern(7, aad_length));
            let mechanism = Mechanism::gcm(&iv, &aad, tag_bits);
            if iv_length == 256 && not_on_softhsm("vectors over 128 bytes are cut") {
                continue;
            }
            for length in LENGTHS {
                let plain = pattern(8, *length);
                let (mut sealed, tag) = judge.gcm(&iv, &aad, &plain);
                sealed.extend(&tag[..tag_bits as usize / 8]);
                both_ways(session, &mechanism, key, &plain, &sealed);
            }
        }
    });
}

#[test]
fn gcm_refuses_everything_but_the_truth() {
    let place = Workplace::open();
    let session = place.user();
    let key = keys::import_aes(&session, &pattern(9, 32));
    let (iv, aad) = (pattern(10, 12), pattern(11, 21));
    let mechanism = Mechanism::gcm(&iv, &aad, 128);
    let sealed = session
        .run(Way::Encrypt, mechanism.clone(), key, &pattern(12, 33))
        .unwrap();
    let bad = &[CKR_ENCRYPTED_DATA_INVALID, CKR_AEAD_DECRYPT_FAILED];
    let skip = not_on_softhsm("it answers CKR_GENERAL_ERROR to a tag that does not match");
    let open = |what: &str, mechanism: Mechanism, input: &[u8]| {
        for piece in [None, Some(16)] {
            let opened = match piece {
                None => session.run(Way::Decrypt, mechanism.clone(), key, input),
                Some(size) => {
                    session.run_in_pieces(Way::Decrypt, mechanism.clone(), key, input, size)
                }
            };
            assert!(opened.is_err(), "{what}: opened");
            if !skip {
                refused(what, opened, bad);
            }
        }
    };
    for position in [0, 16, 32, 33, sealed.len() - 1] {
        let mut tampered = sealed.clone();
        tampered[position] ^= 0x80;
        open("a flipped bit", mechanism.clone(), &tampered);
    }
    open(
        "other additional data",
        Mechanism::gcm(&iv, &aad[1..], 128),
        &sealed,
    );
    open(
        "another initialisation vector",
        Mechanism::gcm(&pattern(13, 12), &aad, 128),
        &sealed,
    );
    open("a byte less", mechanism.clone(), &sealed[1..]);
    let short = session.run(Way::Decrypt, mechanism, key, &sealed[..15]);
    assert!(short.is_err(), "less than a tag");
    if !skip {
        let codes = [
            CKR_ENCRYPTED_DATA_INVALID,
            CKR_AEAD_DECRYPT_FAILED,
            CKR_ENCRYPTED_DATA_LEN_RANGE,
        ];
        refused("less than a tag", short, &codes);
    }
}

#[test]
fn bad_parameters_are_refused_at_init() {
    let place = Workplace::open();
    let session = place.user();
    let key = keys::import_aes(&session, &[1; 32]);
    let rows = [
        ("CBC without vector", Mechanism::plain(CKM_AES_CBC)),
        ("CBC with 15 bytes", Mechanism::bytes(CKM_AES_CBC, &[0; 15])),
        ("CBC with 17 bytes", Mechanism::bytes(CKM_AES_CBC, &[0; 17])),
        ("CBC-PAD without vector", Mechanism::plain(CKM_AES_CBC_PAD)),
        ("CTR without parameter", Mechanism::plain(CKM_AES_CTR)),
        (
            "CTR with half a parameter",
            Mechanism::bytes(CKM_AES_CTR, &[0; 12]),
        ),
        ("GCM without parameter", Mechanism::plain(CKM_AES_GCM)),
        (
            "GCM with half a parameter",
            Mechanism::bytes(CKM_AES_GCM, &[0; 20]),
        ),
        (
            "GCM with a tag of 129 bits",
            Mechanism::gcm(&[0; 12], b"", 129),
        ),
        (
            "GCM with a tag of 136 bits",
            Mechanism::gcm(&[0; 12], b"", 136),
        ),
    ];
    for (what, mechanism) in rows {
        if not_on_softhsm("it answers CKR_MECHANISM_INVALID") {
            break;
        }
        let codes = [CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD];
        refused(
            what,
            session.begin(Way::Encrypt, mechanism.clone(), key),
            &codes,
        );
        refused(what, session.begin(Way::Decrypt, mechanism, key), &codes);
    }
    if not_on_softhsm("it takes every tag up to 128 bits, and an empty vector") {
        return;
    }
    for (what, mechanism) in [
        (
            "GCM with a tag of 100 bits",
            Mechanism::gcm(&[0; 12], b"", 100),
        ),
        (
            "GCM with a tag of no bits",
            Mechanism::gcm(&[0; 12], b"", 0),
        ),
        (
            "ECB with a parameter",
            Mechanism::bytes(CKM_AES_ECB, &[0; 16]),
        ),
    ] {
        refused(
            what,
            session.begin(Way::Encrypt, mechanism, key),
            &[CKR_MECHANISM_PARAM_INVALID],
        );
    }
}

#[test]
fn cmac() {
    for_each_key(|session, key, judge| {
        for length in LENGTHS {
            let data = pattern(14, *length);
            let mac = judge.cmac(&data).to_vec();
            let what = format!("{length} bytes");
            assert_eq!(
                session.run_by_the_book(Way::Sign, CKM_AES_CMAC, key, &data),
                Ok(mac.clone()),
                "{what}"
            );
            session
                .verify(CKM_AES_CMAC, key, &data, &mac)
                .expect("the right MAC");
            for piece in PIECES {
                if *length > 1000 && *piece == 1 {
                    continue;
                }
                let signed = session.run_in_pieces(Way::Sign, CKM_AES_CMAC, key, &data, *piece);
                assert_eq!(signed, Ok(mac.clone()), "{what} by {piece}");
                session
                    .verify_in_pieces(CKM_AES_CMAC, key, &data, &mac, *piece)
                    .expect("in pieces");
            }
            let mut wrong = mac.clone();
            wrong[15] ^= 1;
            let verified = session.verify(CKM_AES_CMAC, key, &data, &wrong);
            refused("a wrong MAC", verified, &[CKR_SIGNATURE_INVALID]);
            let verified = session.verify(CKM_AES_CMAC, key, &data, &mac[..15]);
            refused("a MAC too short", verified, &[CKR_SIGNATURE_LEN_RANGE]);
        }
        if not_on_softhsm("no CKM_AES_CMAC_GENERAL") {
            return;
        }
        for length in [1, 4, 12, 16] {
            let mechanism = Mechanism::new(CKM_AES_CMAC_GENERAL, Parameter::Number(length as u64));
            let mac = judge.cmac(b"data")[..length].to_vec();
            let signed = session.run_by_the_book(Way::Sign, mechanism.clone(), key, b"data");
            assert_eq!(signed, Ok(mac.clone()), "{length} bytes of MAC");
            session.verify(mechanism, key, b"data", &mac).unwrap();
        }
        let long = Mechanism::new(CKM_AES_CMAC_GENERAL, Parameter::Number(17));
        refused(
            "17 bytes of MAC",
            session.begin(Way::Sign, long, key),
            &[CKR_MECHANISM_PARAM_INVALID],
        );
    });
}

#[test]
fn updates_keep_the_rules_of_lengths_too() {
    let place = Workplace::open();
    let session = place.user();
    let value = pattern(15, 32);
    let key = keys::import_aes(&session, &value);
    let plain = pattern(16, 48);
    session
        .begin(Way::Encrypt, Mechanism::bytes(CKM_AES_CBC_PAD, &IV), key)
        .unwrap();
    let (code, told, _) = session.update(Way::Encrypt, &plain, None);
    code.ok().unwrap();
    assert!(told >= 32, "{told}");
    let (code, again, _) = session.update(Way::Encrypt, &plain, Some(8));
    assert_eq!(code, Rv(CKR_BUFFER_TOO_SMALL));
    let (code, first, output) = session.update(Way::Encrypt, &plain, Some(again.max(told)));
    code.ok().unwrap();
    let mut sealed = output[..first].to_vec();
    let (code, told, _) = session.finish(Way::Encrypt, None);
    code.ok().unwrap();
    let (code, again, _) = session.finish(Way::Encrypt, Some(3));
    assert_eq!(code, Rv(CKR_BUFFER_TOO_SMALL), "the operation goes on");
    let (code, rest, output) = session.finish(Way::Encrypt, Some(again.max(told)));
    code.ok().unwrap();
    sealed.extend(&output[..rest]);
    assert_eq!(sealed, Aes::new(&value).cbc_pad(&IV, &plain));
    let (code, ..) = session.finish(Way::Encrypt, Some(64));
    assert_eq!(code, Rv(CKR_OPERATION_NOT_INITIALIZED));
}

#[test]
fn long_data_in_one_call_and_in_place() {
    let place = Workplace::open();
    let session = place.user();
    let value = pattern(17, 16);
    let key = keys::import_aes(&session, &value);
    let judge = Aes::new(&value);
    let plain = pattern(18, 3 << 20);
    let mechanism = Mechanism::bytes(CKM_AES_CBC, &IV);
    let sealed = session
        .run(Way::Encrypt, mechanism.clone(), key, &plain)
        .unwrap();
    assert!(sealed == judge.cbc(&IV, &plain), "3 MiB in one call");
    let opened = session
        .run_in_pieces(Way::Decrypt, mechanism.clone(), key, &sealed, 1_000_001)
        .unwrap();
    assert!(opened == plain, "3 MiB in large odd pieces");
    // Input and output at the same place, as C programs like it.
    let mut place_of_both = plain[..4096].to_vec();
    session.begin(Way::Encrypt, mechanism, key).unwrap();
    let mut length = 4096;
    let pointer = place_of_both.as_mut_ptr();
    let code = strongroom_tests::call!(
        session.module,
        C_Encrypt(session.handle, pointer, 4096, pointer, &raw mut length)
    );
    assert_eq!(code, Rv(CKR_OK));
    assert!(place_of_both == judge.cbc(&IV, &plain[..4096]), "in place");
}
