//! Secret keys, digests and random bytes.
//!
//! What lives here: AES, HMAC, key wrap, SHA-256, random, and generating AES keys.
//! What must never live here: pairs of keys.
//! Who calls it: the list of cases.

use cryptoki_sys::*;

use super::keys;
use super::{Mode, Operation, Place, Way};
use crate::mechanism::Mechanism;
use crate::module::{Failure, Outcome};

/// Room that any mode adds: a tag or a block of padding.
const OVERHEAD_BYTES_MAX: usize = 32;

fn mechanism(mode: Mode, number: u64) -> Mechanism {
    let mut block = [0; 16];
    for (place, byte) in block.iter_mut().zip(number.to_le_bytes()) {
        *place = byte;
    }
    match mode {
        Mode::Gcm => {
            let mut iv = [0; 12];
            for (place, byte) in iv.iter_mut().zip(block) {
                *place = byte;
            }
            Mechanism::Gcm(iv)
        }
        Mode::Cbc => Mechanism::Iv(CKM_AES_CBC, block),
        Mode::CbcPad => Mechanism::Iv(CKM_AES_CBC_PAD, block),
        Mode::Ctr => Mechanism::Counter(block),
        Mode::Ecb => Mechanism::Plain(CKM_AES_ECB),
    }
}

/// With a durable key, as most applications of an HSM have it.
pub(super) fn cipher(
    place: Place<'_>,
    mode: Mode,
    way: Way,
    bytes: usize,
) -> Outcome<Operation<'_>> {
    cipher_with(place, keys::aes(place, "aes")?, mode, way, bytes)
}

/// With a key of the session.
pub(super) fn session_cipher(
    place: Place<'_>,
    mode: Mode,
    way: Way,
    bytes: usize,
) -> Outcome<Operation<'_>> {
    cipher_with(place, keys::session_aes(place)?, mode, way, bytes)
}

fn cipher_with(
    place: Place<'_>,
    key: CK_ULONG,
    mode: Mode,
    way: Way,
    bytes: usize,
) -> Outcome<Operation<'_>> {
    let plain: Vec<u8> = (0..=250).cycle().take(bytes).collect();
    let first = mechanism(mode, 0);
    let mut sealed = vec![0; bytes + OVERHEAD_BYTES_MAX];
    let written = place.session.encrypt(&first, key, &plain, &mut sealed)?;
    let mut opened = vec![0; bytes + OVERHEAD_BYTES_MAX];
    let whole = sealed.get(..written).unwrap_or_default();
    let read = place.session.decrypt(&first, key, whole, &mut opened)?;
    if whole.starts_with(&plain) || opened.get(..read) != Some(&plain) {
        return Err(Failure::Wrong("decrypted to something else".to_owned()));
    }
    sealed.truncate(written);
    let mut number = 0;
    Ok(match way {
        Way::Encrypt => Box::new(move || {
            // A new initialisation vector each time, as an application must.
            number += 1;
            place
                .session
                .encrypt(&mechanism(mode, number), key, &plain, &mut opened)
                .map(|_| ())
        }),
        Way::Decrypt => Box::new(move || {
            place
                .session
                .decrypt(&first, key, &sealed, &mut opened)
                .map(|_| ())
        }),
    })
}

pub(super) fn hmac(place: Place<'_>, bytes: usize) -> Outcome<Operation<'_>> {
    let key = keys::hmac(place)?;
    let mechanism = Mechanism::Plain(CKM_SHA256_HMAC);
    let data = vec![7; bytes];
    let mut tag = [0; 32];
    place.session.sign(&mechanism, key, &data, &mut tag)?;
    place.session.verify(&mechanism, key, &data, &tag)?;
    Ok(Box::new(move || {
        place
            .session
            .sign(&mechanism, key, &data, &mut tag)
            .map(|_| ())
    }))
}

/// A wrapping key, a key, and the key wrapped.
fn wrapped(place: Place<'_>) -> Outcome<(CK_ULONG, CK_ULONG, Vec<u8>)> {
    let wrapping = keys::aes(place, "aes-wrapping")?;
    let key = keys::aes(place, "aes-wrapped")?;
    let mut out = vec![0; 64];
    let bytes = place.session.wrap(&KEY_WRAP, wrapping, key, &mut out)?;
    out.truncate(bytes);
    let again = place
        .session
        .unwrap_key(&KEY_WRAP, wrapping, &out, &keys::aes_template())?;
    let mut blocks = [[0; 16]; 2];
    for (one, block) in [key, again].into_iter().zip(&mut blocks) {
        let ecb = Mechanism::Plain(CKM_AES_ECB);
        place.session.encrypt(&ecb, one, &[7; 16], block)?;
    }
    place.session.destroy(again)?;
    if blocks[0] != blocks[1] {
        return Err(Failure::Wrong("unwrapped another key".to_owned()));
    }
    Ok((wrapping, key, out))
}

pub(super) fn wrap(place: Place<'_>) -> Outcome<Operation<'_>> {
    let (wrapping, key, mut out) = wrapped(place)?;
    Ok(Box::new(move || {
        place
            .session
            .wrap(&KEY_WRAP, wrapping, key, &mut out)
            .map(|_| ())
    }))
}

pub(super) fn unwrap_key(place: Place<'_>) -> Outcome<Operation<'_>> {
    let (wrapping, _, sealed) = wrapped(place)?;
    let template = keys::aes_template();
    Ok(Box::new(move || {
        let key = place
            .session
            .unwrap_key(&KEY_WRAP, wrapping, &sealed, &template)?;
        place.session.destroy(key)
    }))
}

pub(super) fn digest(place: Place<'_>, bytes: usize) -> Outcome<Operation<'_>> {
    let mechanism = Mechanism::Plain(CKM_SHA256);
    let mut out = [0; 32];
    place.session.digest(&mechanism, b"abc", &mut out)?;
    if out != SHA256_OF_ABC {
        return Err(Failure::Wrong("this is not SHA-256".to_owned()));
    }
    let data = vec![7; bytes];
    Ok(Box::new(move || {
        place
            .session
            .digest(&mechanism, &data, &mut out)
            .map(|_| ())
    }))
}

pub(super) fn random(place: Place<'_>, bytes: usize) -> Outcome<Operation<'_>> {
    let mut out = vec![0; bytes];
    place.session.random(&mut out)?;
    let before = out.clone();
    place.session.random(&mut out)?;
    if before == out {
        return Err(Failure::Wrong("the same random bytes twice".to_owned()));
    }
    Ok(Box::new(move || place.session.random(&mut out)))
}

pub(super) fn generate(place: Place<'_>) -> Outcome<Operation<'_>> {
    let key = keys::session_aes(place)?;
    let mut out = [0; 16];
    let ecb = Mechanism::Plain(CKM_AES_ECB);
    place.session.encrypt(&ecb, key, &[7; 16], &mut out)?;
    Ok(Box::new(move || {
        let key = keys::session_aes(place)?;
        place.session.destroy(key)
    }))
}

const KEY_WRAP: Mechanism = Mechanism::Plain(CKM_AES_KEY_WRAP);
/// FIPS 180-4, the example of one block.
const SHA256_OF_ABC: [u8; 32] = [
    0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
];
