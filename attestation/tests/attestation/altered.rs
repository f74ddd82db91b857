//! Altered evidence: every bit, every length, and rubbish.
//!
//! What lives here: how evidence is altered, for all kinds.
//! What must never live here: what a kind looks like.
//! Who calls it: the tests of the kinds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use strongroom_attestation::{Refusal, Verified};

/// What is tried on altered bytes.
pub(crate) type Trial<'t> = dyn Fn(&[u8]) -> Result<Verified, Refusal> + Sync + 't;

/// Verifies the bytes with every bit flipped, one after the other, on all cores. Every one must be refused.
pub(crate) fn every_bit_is_refused(bytes: &[u8], trial: &Trial<'_>) {
    let accepted: Vec<usize> = accepted_flips(bytes, trial)
        .into_iter()
        .map(|(bit, _)| bit)
        .collect();
    assert!(accepted.is_empty(), "flipped and accepted: {accepted:?}");
}

/// Whether everything is to be altered that can be, however long it takes (some minutes): `STRONGROOM_EVERY_BIT=1`.
pub(crate) fn thorough() -> bool {
    std::env::var_os("STRONGROOM_EVERY_BIT").is_some()
}

/// One bit of every byte, another from byte to byte: for what is too long to flip all within the time of a test.
pub(crate) fn every_byte_is_refused(bytes: &[u8], trial: &Trial<'_>) {
    if thorough() {
        return every_bit_is_refused(bytes, trial);
    }
    let mut altered = bytes.to_vec();
    for at in 0..bytes.len() {
        let bit = 1 << (at % 8);
        altered[at] ^= bit;
        assert!(trial(&altered).is_err(), "flipped and accepted: byte {at}");
        altered[at] ^= bit;
    }
}

/// The bits that may be flipped, with what is verified then.
pub(crate) fn accepted_flips(bytes: &[u8], trial: &Trial<'_>) -> Vec<(usize, Verified)> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut accepted = Vec::new();
        let mut altered = bytes.to_vec();
        loop {
            let bit = next.fetch_add(1, Ordering::Relaxed);
            if bit >= bytes.len() * 8 {
                return accepted;
            }
            altered[bit / 8] ^= 1 << (bit % 8);
            if let Ok(verified) = trial(&altered) {
                accepted.push((bit, verified));
            }
            altered[bit / 8] ^= 1 << (bit % 8);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let results = workers.into_iter().map(|one| one.join().unwrap());
        results.flatten().collect()
    })
}

/// Every shorter piece is refused, and so is a byte more.
pub(crate) fn every_length_is_refused(bytes: &[u8], trial: &Trial<'_>) {
    for end in 0..bytes.len() {
        assert!(trial(&bytes[..end]).is_err(), "accepted at {end} bytes");
    }
    assert!(
        trial(&[bytes, &[0]].concat()).is_err(),
        "accepted with more"
    );
}

/// Rubbish of many lengths, and the bytes with rubbish in them, are refused and nothing panics.
pub(crate) fn rubbish_is_refused(bytes: &[u8], trial: &Trial<'_>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        // xorshift64: nothing depends on its quality.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    for round in 0..2000 {
        let mut rubbish: Vec<u8> = (0..round).map(|_| random()).collect();
        assert!(trial(&rubbish).is_err());
        rubbish = bytes.to_vec();
        let at = usize::from(random()) * 256 + usize::from(random());
        for offset in 0..=usize::from(random() % 8) {
            let place = (at + offset) % bytes.len();
            rubbish[place] ^= random() | 1;
        }
        assert!(trial(&rubbish).is_err());
    }
}
