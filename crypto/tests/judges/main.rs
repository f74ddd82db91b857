//! What lives here: the primitives before independent judges: the RustCrypto implementations, the test
//! vectors of Project Wycheproof, and vectors of the standards.
//!
//! What must never live here: an expected value computed by the code under test.
//!
//! Who calls it: `cargo test -p strongroom-crypto`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

mod ciphers;
mod curves;
mod hashes;
mod hpke;
mod legacy;
mod rsa_keys;
mod shamir;
mod threads;
mod wycheproof_asymmetric;
mod wycheproof_rsa;
mod wycheproof_symmetric;

use std::sync::Once;

use strongroom_crypto::Error;
use strongroom_keymem::{Config, Locking, SecretVec};

/// Starts memory and library once for the whole binary.
fn ready() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let locking = Locking::DangerUnlockedAllowed;
        strongroom_keymem::start(&Config {
            bytes: Some(64 << 20),
            locking,
        })
        .unwrap();
        strongroom_crypto::start().unwrap();
    });
}

/// What `fill` appends.
fn collected(fill: impl FnOnce(&mut SecretVec) -> Result<(), Error>) -> Result<Vec<u8>, Error> {
    let mut out = SecretVec::new();
    out.push_slice(b"kept").unwrap();
    let filled = fill(&mut out);
    assert_eq!(&out.expose()[..4], b"kept", "an output must be appended");
    assert!(
        filled.is_ok() || out.len() == 4,
        "a failure must append nothing"
    );
    filled.map(|()| out.expose()[4..].to_vec())
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Bytes that look random and are the same each time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}
