//! What each mechanism computes, judged by other implementations.
//!
//! What lives here: one file for each family.
//! What must never live here: rules of objects and sessions.
//! Who calls it: `main.rs`.

mod aes;
mod authenticated;
mod digest;
mod dual;
mod ec;
mod edwards;
mod generate;
mod legacy;
mod rsa;
mod wrap;
