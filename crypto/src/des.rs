//! What lives here: the parity of DES keys (FIPS 46-3): the lowest bit of each byte makes the number of its ones odd.
//!
//! What must never live here: the cipher (`block.rs`); the judgement that DES is too weak for a purpose.
//!
//! Who calls it: the token, when DES keys are made or judged.

/// Whether every byte has odd parity. The time does not depend on the key.
#[must_use]
pub fn has_odd_parity(key: &[u8]) -> bool {
    key.iter().fold(1, |odd, byte| odd & byte.count_ones()) & 1 == 1
}

/// Sets the lowest bit of every byte so that its parity is odd.
pub fn set_odd_parity(key: &mut [u8]) {
    for byte in key {
        *byte ^= u8::from(byte.count_ones() & 1 == 0);
    }
}
