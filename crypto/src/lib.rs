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

pub mod block;
pub mod certificate;
pub mod cfb;
mod der;
pub mod des;
pub mod dh;
pub mod digest;
pub mod dsa;
pub mod ec;
pub mod edwards;
mod error;
pub mod gcm;
pub mod hex;
pub mod hpke;
pub mod kdf;
pub mod mac;
#[cfg(feature = "passwords")]
pub mod password;
pub mod pkcs8;
pub mod random;
pub mod rsa;
pub mod shamir;
pub mod signature;
pub mod wrap;
pub mod x509;

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

#[cfg(test)]
mod tests {
    use strongroom_keymem::{Config, Locking, status};

    use super::*;

    /// The only test of this binary that uses the locked memory: it counts what lies there.
    #[test]
    fn private_numbers_lie_in_the_locked_memory_and_leave_it() {
        assert_eq!(start(), Err(Error::Memory), "keymem must be started first");
        let locking = Locking::DangerUnlockedAllowed;
        strongroom_keymem::start(&Config {
            bytes: Some(4 << 20),
            locking,
        })
        .unwrap();
        start().unwrap();
        start().unwrap();
        let used = || status().unwrap().bytes_used;
        // The first key also makes static tables.
        let warm = rsa::RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        warm.sign_pkcs1(b"data").unwrap();
        drop(warm);

        let before = used();
        let key = rsa::RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        // d twice, p, q and the exponents twice, the inverse twice, and Montgomery forms.
        assert!(
            used() > before + 2048,
            "an RSA key must take its room in the pool"
        );
        key.sign_pkcs1(b"data").unwrap();
        drop(key);
        assert_eq!(used(), before, "an RSA key must leave nothing behind");

        let key = ec::EcPrivateKey::generate(ec::Curve::P384).unwrap();
        assert!(used() > before);
        key.sign_digest(&[1; 48]).unwrap();
        drop(key);
        assert_eq!(used(), before);

        let key = gcm::GcmKey::new(&[1; 32]).unwrap();
        assert!(used() >= before + 32 + 240, "the key and its schedule");
        drop(key);
        assert_eq!(used(), before);

        let mut filled = Vec::new();
        let full = loop {
            match gcm::GcmKey::new(&[1; 32]) {
                Ok(key) => filled.push(key),
                Err(error) => break error,
            }
        };
        assert_eq!(
            full,
            Error::Memory,
            "an exhausted pool is an error, not an abort"
        );
        let refused = std::thread::spawn(|| random::fill(&mut [0; 8]))
            .join()
            .unwrap();
        assert_eq!(
            refused,
            Err(Error::Memory),
            "a new thread must not make AWS-LC abort"
        );
        drop(filled);
        assert_eq!(used(), before);
        std::thread::spawn(|| random::fill(&mut [0; 8]))
            .join()
            .unwrap()
            .unwrap();
    }
}
