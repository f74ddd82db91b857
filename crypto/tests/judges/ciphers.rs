//! AES in all modes, GCM and key wrap, against RustCrypto and the vectors of the standards.

use aes::cipher::{
    BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher, block_padding::NoPadding,
    block_padding::Pkcs7,
};
use strongroom_crypto::Error;
use strongroom_crypto::block::{BlockCipher, BlockKey, Cipher, Direction, Mode, check_value};
use strongroom_crypto::cfb::cfb;
use strongroom_crypto::gcm::{GcmEncryption, GcmKey};
use strongroom_crypto::wrap::WrapKey;

use crate::{collected, hex, noise, ready};

const IV: &[u8; 16] = b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";

/// SP 800-38A, appendix F.
const KEY_128: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
    30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710";

fn run(
    key: &[u8],
    mode: Mode<'_>,
    direction: Direction,
    parts: &[&[u8]],
) -> Result<Vec<u8>, Error> {
    let key = BlockKey::new(BlockCipher::Aes, key).unwrap();
    let mut cipher = Cipher::new(&key, mode, direction)?;
    let mut all = Vec::new();
    for part in parts {
        let expected = cipher.update_length(part.len());
        let bound = cipher.output_bound(part.len());
        let out = collected(|out| cipher.update(part, out))?;
        assert_eq!(out.len(), expected, "update_length must be exact");
        assert!(out.len() <= bound);
        all.extend(out);
    }
    let bound = cipher.output_bound(0);
    let last = collected(|out| cipher.finish(out))?;
    assert!(last.len() <= bound);
    all.extend(last);
    Ok(all)
}

#[test]
fn the_vectors_of_sp_800_38a() {
    ready();
    let (key, plain) = (hex(KEY_128), hex(PLAIN));
    let counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let counter_block = counter.as_slice().try_into().unwrap();
    let cases: [(Mode<'_>, &str); 3] = [
        (
            Mode::Ecb,
            "3ad77bb40d7a3660a89ecaf32466ef97 f5d3d58503b9699de785895a96fdbaaf
             43b1cd7f598ece23881b00e3ed030688 7b0c785e27e8ad3f8223207104725dd4",
        ),
        (
            Mode::Cbc { iv: IV },
            "7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2
             73bed6b8e3c1743b7116e69e22229516 3ff1caa1681fac09120eca307586e1a7",
        ),
        (
            Mode::Ctr {
                counter_block,
                counter_bits: 128,
            },
            "874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff
             5ae4df3edbd5d35e5b4f09020db03eab 1e031dda2fbe03d1792170a0f3009cee",
        ),
    ];
    for (mode, cipher) in cases {
        assert_eq!(
            run(&key, mode, Direction::Encrypt, &[&plain]).unwrap(),
            hex(cipher)
        );
        assert_eq!(
            run(&key, mode, Direction::Decrypt, &[&hex(cipher)]).unwrap(),
            plain
        );
    }
}

#[test]
fn a_block_of_zeros_is_encrypted_without_a_prepared_key() {
    ready();
    for bytes in [16, 24, 32] {
        let key = noise(2, bytes);
        let wanted = run(&key, Mode::Ecb, Direction::Encrypt, &[&[0; 16]]).unwrap();
        assert_eq!(check_value(BlockCipher::Aes, &key).unwrap(), wanted[..3]);
    }
    assert_eq!(check_value(BlockCipher::Aes, &[0; 15]), Err(Error::KeySize));
}

#[test]
fn cbc_agrees_with_the_judge_in_any_parts() {
    ready();
    let key = noise(1, 32);
    for length in 0..100 {
        let plain = noise(length as u64, length);
        let padded = cbc::Encryptor::<aes::Aes256>::new_from_slices(&key, IV)
            .unwrap()
            .encrypt_padded_vec::<Pkcs7>(&plain);
        for cut in [0, 1, length / 2, length] {
            let (one, two) = plain.split_at(cut.min(length));
            let parts: [&[u8]; 3] = [one, &[], two];
            let mode = Mode::CbcPad { iv: IV };
            assert_eq!(run(&key, mode, Direction::Encrypt, &parts).unwrap(), padded);
        }
        for cut in [0, 1, 15, 16, 17, padded.len() - 1, padded.len()] {
            let (one, two) = padded.split_at(cut.min(padded.len()));
            let mode = Mode::CbcPad { iv: IV };
            assert_eq!(
                run(&key, mode, Direction::Decrypt, &[one, two]).unwrap(),
                plain
            );
        }
        let bare = run(&key, Mode::Cbc { iv: IV }, Direction::Encrypt, &[&plain]);
        if length % 16 == 0 {
            let judged = cbc::Decryptor::<aes::Aes256>::new_from_slices(&key, IV)
                .unwrap()
                .decrypt_padded_vec::<NoPadding>(&bare.unwrap())
                .unwrap();
            assert_eq!(judged, plain);
        } else {
            assert_eq!(bare, Err(Error::DataLength));
        }
    }
}

#[test]
fn wrong_padding_and_wrong_lengths_are_refused() {
    ready();
    let key = noise(2, 16);
    let mode = Mode::CbcPad { iv: IV };
    for last in [[0_u8; 16], [17; 16], [0xff; 16]] {
        let sealed = run(&key, Mode::Cbc { iv: IV }, Direction::Encrypt, &[&last]).unwrap();
        assert_eq!(
            run(&key, mode, Direction::Decrypt, &[&sealed]),
            Err(Error::DataInvalid)
        );
    }
    let mut uneven = [16_u8; 16];
    uneven[0] = 15;
    let sealed = run(&key, Mode::Cbc { iv: IV }, Direction::Encrypt, &[&uneven]).unwrap();
    assert_eq!(
        run(&key, mode, Direction::Decrypt, &[&sealed]),
        Err(Error::DataInvalid)
    );
    assert_eq!(
        run(&key, mode, Direction::Decrypt, &[]),
        Err(Error::DataLength)
    );
    assert_eq!(
        run(&key, mode, Direction::Decrypt, &[&[0; 15]]),
        Err(Error::DataLength)
    );
    assert_eq!(
        run(&key, Mode::Ecb, Direction::Encrypt, &[&[0; 17]]),
        Err(Error::DataLength)
    );
    for length in [0, 15, 17, 33] {
        assert_eq!(
            BlockKey::new(BlockCipher::Aes, &vec![0; length]).map(|_| ()),
            Err(Error::KeySize)
        );
    }
}

#[test]
fn a_narrow_counter_wraps_within_its_bits_and_never_repeats() {
    ready();
    let key = noise(3, 16);
    let aes = BlockKey::new(BlockCipher::Aes, &key).unwrap();
    for bits in [1, 2, 7, 8, 9] {
        let counter_block = [0xff; 16];
        let mode = Mode::Ctr {
            counter_block: &counter_block,
            counter_bits: bits,
        };
        let room = 16 << bits;
        // The expected keystream: the encrypted counter blocks, counted here in the plain way.
        let mask = (1_u128 << bits) - 1;
        let blocks: Vec<u8> = (0..1_u128 << bits)
            .flat_map(|step| {
                let low = u128::MAX.wrapping_add(step) & mask;
                (!mask | low).to_be_bytes()
            })
            .collect();
        let expected = run(&key, Mode::Ecb, Direction::Encrypt, &[&blocks]).unwrap();
        for part in [1, 5, 16, 33, room] {
            let zeros = vec![0; room];
            let parts: Vec<&[u8]> = zeros.chunks(part).collect();
            assert_eq!(
                run(&key, mode, Direction::Encrypt, &parts).unwrap(),
                expected,
                "{bits}"
            );
        }
        let mut cipher = Cipher::new(&aes, mode, Direction::Encrypt).unwrap();
        assert_eq!(
            collected(|out| cipher.update(&vec![0; room + 1], out)),
            Err(Error::DataLength)
        );
    }
    for counter_bits in [0, 129] {
        let mode = Mode::Ctr {
            counter_block: IV,
            counter_bits,
        };
        let refused = Cipher::new(&aes, mode, Direction::Encrypt).map(|_| ());
        assert_eq!(refused, Err(Error::ParameterInvalid));
    }
}

#[test]
fn a_wide_counter_agrees_with_the_judge() {
    ready();
    let key = noise(4, 32);
    for counter_block in [*IV, [0xff; 16]] {
        for counter_bits in [124, 127, 128] {
            let plain = noise(5, 1000);
            let mode = Mode::Ctr {
                counter_block: &counter_block,
                counter_bits,
            };
            let ours = run(
                &key,
                mode,
                Direction::Encrypt,
                &[&plain[..333], &plain[333..]],
            )
            .unwrap();
            let mut judged = plain.clone();
            ctr::Ctr128BE::<aes::Aes256>::new_from_slices(&key, &counter_block)
                .unwrap()
                .apply_keystream(&mut judged);
            // Where the judge carries beyond the bits that count, only the first block is the same.
            let same = if counter_bits == 128 || counter_block == *IV {
                1000
            } else {
                16
            };
            assert_eq!(ours[..same], judged[..same]);
        }
    }
}

#[test]
fn gcm_streams_and_one_shots_agree() {
    ready();
    for key_bytes in [16, 24, 32] {
        let key = GcmKey::new(&noise(6, key_bytes)).unwrap();
        for (iv_bytes, tag_bytes) in [(1, 4), (8, 8), (12, 12), (12, 16), (16, 15), (256, 16)] {
            let (iv, aad, plain) = (noise(7, iv_bytes), noise(8, 70), noise(9, 1000));
            let sealed = collected(|out| key.seal(&iv, &aad, tag_bytes, &plain, out)).unwrap();
            assert_eq!(sealed.len(), plain.len() + tag_bytes);
            let mut stream = GcmEncryption::new(&key, &iv, &aad, tag_bytes).unwrap();
            let mut streamed = Vec::new();
            for part in plain.chunks(77) {
                streamed.extend(collected(|out| stream.update(part, out)).unwrap());
            }
            streamed.extend(collected(|out| stream.finish(out)).unwrap());
            assert_eq!(streamed, sealed);
            let opened = collected(|out| key.open(&iv, &aad, tag_bytes, &sealed, out));
            assert_eq!(opened.unwrap(), plain);
            for position in [0, plain.len(), sealed.len() - 1] {
                let mut bent = sealed.clone();
                bent[position] ^= 1;
                let opened = collected(|out| key.open(&iv, &aad, tag_bytes, &bent, out));
                assert_eq!(opened, Err(Error::DataInvalid));
            }
            let opened = collected(|out| key.open(&iv, b"", tag_bytes, &sealed, out));
            assert_eq!(opened, Err(Error::DataInvalid));
        }
        for (iv, tag_bytes) in [(&b""[..], 16), (b"twelve bytes", 5), (b"twelve bytes", 17)] {
            let sealed = collected(|out| key.seal(iv, b"", tag_bytes, b"", out));
            assert_eq!(sealed, Err(Error::ParameterInvalid));
        }
        let opened = collected(|out| key.open(b"twelve bytes", b"", 16, &[0; 15], out));
        assert_eq!(opened, Err(Error::DataLength));
    }
}

#[test]
fn gcm_agrees_with_the_judge() {
    use aes_gcm::aead::{Aead, KeyInit, Payload};
    ready();
    let key = noise(10, 32);
    let judge = aes_gcm::Aes256Gcm::new_from_slice(&key).unwrap();
    let ours = GcmKey::new(&key).unwrap();
    for length in [0, 1, 15, 16, 17, 1000] {
        let (iv, aad, msg) = (noise(11, 12), noise(12, length / 2), noise(13, length));
        let nonce = iv.as_slice().try_into().unwrap();
        let judged = judge
            .encrypt(
                nonce,
                Payload {
                    msg: &msg,
                    aad: &aad,
                },
            )
            .unwrap();
        let sealed = collected(|out| ours.seal(&iv, &aad, 16, &msg, out)).unwrap();
        assert_eq!(sealed, judged);
    }
}

#[test]
fn key_wrap_has_the_vectors_of_the_standards() {
    ready();
    // RFC 3394, 4.6.
    let kek = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let key = hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
    let wrapped = hex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326
        cbc7f0e71a99f43bfb988b9b7a02dd21");
    let wrap = WrapKey::new(&kek).unwrap();
    assert_eq!(
        collected(|out| wrap.kw_wrap(None, &key, out)).unwrap(),
        wrapped
    );
    assert_eq!(
        collected(|out| wrap.kw_unwrap(None, &wrapped, out)).unwrap(),
        key
    );
    // RFC 5649, 6.
    let kek = hex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
    let wrap = WrapKey::new(&kek).unwrap();
    for (key, wrapped) in [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ] {
        let (key, wrapped) = (hex(key), hex(wrapped));
        assert_eq!(collected(|out| wrap.kwp_wrap(&key, out)).unwrap(), wrapped);
        assert_eq!(
            collected(|out| wrap.kwp_unwrap(&wrapped, out)).unwrap(),
            key
        );
    }
}

#[test]
fn key_wrap_agrees_with_the_judge_and_refuses_wrong_lengths() {
    use aes_kw::KeyInit;
    ready();
    let kek = noise(14, 32);
    let ours = WrapKey::new(&kek).unwrap();
    let kw = aes_kw::KwAes256::new_from_slice(&kek).unwrap();
    let kwp = aes_kw::KwpAes256::new_from_slice(&kek).unwrap();
    for length in 0..70 {
        let (plain, mut buffer) = (noise(15, length), [0; 100]);
        let wrapped = collected(|out| ours.kw_wrap(None, &plain, out));
        if length >= 16 && length % 8 == 0 {
            assert_eq!(
                wrapped.as_deref(),
                Ok(kw.wrap_key(&plain, &mut buffer).unwrap())
            );
        } else {
            assert_eq!(wrapped, Err(Error::DataLength));
        }
        let wrapped = collected(|out| ours.kwp_wrap(&plain, out));
        if length > 0 {
            let wrapped = wrapped.unwrap();
            assert_eq!(&wrapped, kwp.wrap_key(&plain, &mut buffer).unwrap());
            assert_eq!(
                collected(|out| ours.kwp_unwrap(&wrapped, out)).unwrap(),
                plain
            );
            let mut bent = wrapped.clone();
            bent[length % wrapped.len()] ^= 0x80;
            assert_eq!(
                collected(|out| ours.kwp_unwrap(&bent, out)),
                Err(Error::DataInvalid)
            );
        } else {
            assert_eq!(wrapped, Err(Error::DataLength));
        }
        let unwrapped = collected(|out| ours.kw_unwrap(None, &plain, out));
        let malformed = length < 24 || length % 8 != 0;
        let expected = if malformed {
            Error::DataLength
        } else {
            Error::DataInvalid
        };
        assert_eq!(unwrapped, Err(expected));
    }
    let other_iv = Some(b"12345678");
    let wrapped = collected(|out| ours.kw_wrap(other_iv, &kek, out)).unwrap();
    assert_eq!(
        collected(|out| ours.kw_unwrap(other_iv, &wrapped, out)).unwrap(),
        kek
    );
    assert_eq!(
        collected(|out| ours.kw_unwrap(None, &wrapped, out)),
        Err(Error::DataInvalid)
    );
}

/// SP 800-38A, F.3.13: CFB128 with a key of 128 bits; and the whole blocks do not matter for a part of the last.
#[test]
fn the_vector_of_cipher_feedback() {
    ready();
    let (key, plain) = (hex(KEY_128), hex(PLAIN));
    let expected = hex(
        "3b3fd92eb72dad20333449f8e83cfb4a c8a64537a0b3a93fcde3cdad9f1ce58b
         26751f67a3cbb140b1808cf187a4f4df c04b05357c5d1c0eeac4c66f9ff7f2e6",
    );
    for length in [0, 1, 15, 16, 17, 47, 64] {
        let mut data = plain[..length].to_vec();
        cfb(&key, IV, Direction::Encrypt, &mut data).unwrap();
        assert_eq!(data, expected[..length]);
        cfb(&key, IV, Direction::Decrypt, &mut data).unwrap();
        assert_eq!(data, plain[..length]);
    }
    let refused = cfb(&[0; 15], IV, Direction::Encrypt, &mut []);
    assert_eq!(refused, Err(Error::KeySize));
}
