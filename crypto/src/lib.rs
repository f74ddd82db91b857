//! What lives here: typed cryptographic primitives over AWS-LC, one file per family, each with the
//! standard it implements; and [`start`], which hands AWS-LC's heap to `strongroom-keymem`.
//!
//! What must never live here: PKCS#11 (no attribute, mechanism or return code), policy, storage, and
//! `unsafe` outside `ffi/`.
//!
//! Who calls it: the token (`strongroom`) and the daemon at start-up.
//!
//! Invariants, mostly absences: no secret lies in a `Vec` or a `String`; no error carries data; no
//! plaintext leaves before its tag is verified; no private RSA operation runs without blinding and
//! without AWS-LC's check of its own result.

#![deny(unsafe_code)]

pub mod aes;
pub mod digest;
pub mod ec;
pub mod edwards;
mod error;
pub mod gcm;
pub mod kdf;
pub mod mac;
pub mod pkcs8;
pub mod random;
pub mod rsa;
pub mod wrap;

#[allow(
    unsafe_code,
    reason = "the one door to the C library; every block states its invariant"
)]
mod ffi;

pub use error::Error;

/// Hands AWS-LC's heap to `strongroom-keymem` and seeds the random generator of this thread.
///
/// To be called once, after `strongroom_keymem::start` and before any other function of this crate;
/// a later call answers the same without effect. What AWS-LC allocated earlier is never freed.
///
/// # Errors
/// [`Error::Memory`] when keymem has not been started or has no room for the random generator;
/// [`Error::Internal`] when AWS-LC refuses, because somebody else replaced its heap.
pub fn start() -> Result<(), Error> {
    ffi::heap::hand_over()?;
    ffi::random::prepare_thread()
}
