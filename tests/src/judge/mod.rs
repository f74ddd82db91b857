//! The judges: the same algorithms from other hands.
//!
//! What lives here: hashes, AES modes, RSA paddings and curves over RustCrypto and `num-bigint`, checked against published vectors.
//! What must never live here: the module under test, or a line of the product.
//! Who calls it: the tests of mechanisms.

pub mod aes;
pub mod der;
pub mod ec;
pub mod hash;
pub mod rsa;
