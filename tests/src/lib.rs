//! The harness of the black-box suite: the real module against the real daemon.
//!
//! What lives here: starting an HSM of its own for each test, loading its module, calling it with plain Rust values, and the
//! judges, which know the algorithms from elsewhere.
//! What must never live here: anything of the product; the suite is a stranger who knows the standard and the file names.
//! Who calls it: `tests/suite`, and the program `stranger`, which is a second application.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a harness that cannot go on fails loudly: that is the failed test"
)]
#![allow(
    clippy::macro_metavars_in_unsafe,
    reason = "the arguments of `call!` are numbers and pointers made before; none of them contains an unsafe operation"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "lengths of the C interface are unsigned longs; the suite runs on 64-bit machines only"
)]

pub mod attest;
pub mod certify;
pub mod hsm;
pub mod import;
pub mod judge;
pub mod keys;
pub mod load;
pub mod mariadb;
pub mod mechanism;
pub mod module;
pub mod operation;
pub mod postgresql;
pub mod product;
pub mod rv;
pub mod session;
pub mod template;
pub mod tool;
pub mod wrapping;

pub use hsm::{Hsm, Workplace, not_on_softhsm};
pub use mechanism::Mechanism;
pub use module::Module;
pub use operation::Way;
pub use rv::Rv;
pub use session::Session;
pub use template::Template;

/// PIN of the security officer in all tests.
pub const SO_PIN: &str = "so-pin-12345678";
/// PIN of the user in all tests.
pub const USER_PIN: &str = "user-pin-1234";

/// Bytes from hexadecimal digits; blanks are skipped.
///
/// # Panics
/// When a character is no hexadecimal digit or a digit is left over.
#[must_use]
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_digit(16).expect("a hexadecimal digit") as u8)
        .collect();
    assert!(
        digits.len().is_multiple_of(2),
        "an odd number of digits: {text}"
    );
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Hexadecimal digits of bytes, in capitals, as databases write them.
#[must_use]
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Bytes that look random and are the same in every run: `length` of them, another run for each `seed`.
#[must_use]
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64*: no cryptography, only variety.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        })
        .collect()
}
