//! What lives here: DSA keys of AWS-LC and their two operations.
//!
//! What must never live here: which sizes are allowed, and whether parameters and numbers fit each other.
//!
//! Who calls it: `dsa.rs`, `ffi/pkey.rs`.

use std::ffi::c_uint;
use std::ptr;

use aws_lc_sys as lc;
use strongroom_keymem::SecretBytes;

use super::bignum::{self, Number};
use super::owned::Owned;
use super::{failure, succeeded};
use crate::error::Error;

/// A DSA key, public or private; AWS-LC locks inside, so that it may be shared between threads.
pub(crate) struct DsaKey(Owned<lc::DSA>);

/// Which public number of a key.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Prime,
    Subprime,
    Base,
    Public,
}

impl DsaKey {
    /// New domain parameters, without a key.
    pub(crate) fn generate_parameters(bits: usize) -> Result<Self, Error> {
        super::random::prepare_thread()?;
        let bits = c_uint::try_from(bits).map_err(|_| Error::KeySize)?;
        let mut key = Self::empty()?;
        // SAFETY: a fresh key; no seed, no counters, no callback.
        let answer = unsafe {
            lc::DSA_generate_parameters_ex(
                key.0.exclusive(),
                bits,
                ptr::null(),
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        Ok(key)
    }

    /// A key of its numbers; without the private one it verifies only.
    pub(crate) fn from_numbers(
        [prime, subprime, base]: [Number; 3],
        public: Number,
        private: Option<Number>,
    ) -> Result<Self, Error> {
        let mut key = Self::empty()?;
        // SAFETY: a live key and three live numbers.
        let answer = unsafe {
            lc::DSA_set0_pqg(
                key.0.exclusive(),
                prime.raw().cast_mut(),
                subprime.raw().cast_mut(),
                base.raw().cast_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        // They belong to the key now.
        for number in [prime, subprime, base] {
            number.into_raw();
        }
        let secret = private
            .as_ref()
            .map_or(ptr::null_mut(), |number| number.raw().cast_mut());
        // SAFETY: a live key and live numbers; null leaves the private one away.
        let answer =
            unsafe { lc::DSA_set0_key(key.0.exclusive(), public.raw().cast_mut(), secret) };
        succeeded(answer, Error::Internal)?;
        // They belong to the key now.
        for number in [Some(public), private].into_iter().flatten() {
            number.into_raw();
        }
        Ok(key)
    }

    pub(super) fn from_owned(key: Owned<lc::DSA>) -> Self {
        Self(key)
    }

    pub(super) fn shared(&self) -> *mut lc::DSA {
        self.0.shared()
    }

    /// A public number, big-endian, of minimal length.
    pub(crate) fn part(&self, part: Part) -> Result<Vec<u8>, Error> {
        let reader: unsafe extern "C" fn(*const lc::DSA) -> *const lc::BIGNUM = match part {
            Part::Prime => lc::DSA_get0_p,
            Part::Subprime => lc::DSA_get0_q,
            Part::Base => lc::DSA_get0_g,
            Part::Public => lc::DSA_get0_pub_key,
        };
        // SAFETY: a live key, only read.
        let number = unsafe { reader(self.shared()) };
        // SAFETY: null, or a number that lives as long as the key, which is borrowed.
        unsafe { bignum::public_bytes(number) }
    }

    /// The private number, big-endian, of minimal length unless `length` says more.
    pub(crate) fn private(&self, length: Option<usize>) -> Result<SecretBytes, Error> {
        // SAFETY: a live key, only read.
        let number = unsafe { lc::DSA_get0_priv_key(self.shared()) };
        // SAFETY: null, or a number that lives as long as the key, which is borrowed.
        unsafe { bignum::secret_bytes(number, length) }
    }

    /// Signs a digest; `r` and `s` are as long as q.
    pub(crate) fn sign(&self, digest: &[u8], r: &mut [u8], s: &mut [u8]) -> Result<(), Error> {
        super::random::prepare_thread()?;
        // SAFETY: the digest with its true length; the key is not changed but for what it locks itself.
        let pointer = unsafe { lc::DSA_do_sign(digest.as_ptr(), digest.len(), self.shared()) };
        // SAFETY: a fresh object or null.
        let signature = unsafe { Owned::<lc::DSA_SIG>::take(pointer, Error::Internal) }?;
        let (mut number_r, mut number_s) = (ptr::null(), ptr::null());
        // SAFETY: a live signature; the numbers live as long as it.
        unsafe {
            lc::DSA_SIG_get0(signature.shared(), &raw mut number_r, &raw mut number_s);
        }
        for (number, out) in [(number_r, r), (number_s, s)] {
            if number.is_null() {
                return Err(failure(Error::Internal));
            }
            // SAFETY: a live number.
            unsafe { bignum::write_padded(number, out) }?;
        }
        Ok(())
    }

    pub(crate) fn verify(&self, digest: &[u8], r: &[u8], s: &[u8]) -> Result<(), Error> {
        let (r, s) = (Number::from_bytes(r)?, Number::from_bytes(s)?);
        // SAFETY: no argument.
        let pointer = unsafe { lc::DSA_SIG_new() };
        // SAFETY: a fresh object or null.
        let mut signature = unsafe { Owned::<lc::DSA_SIG>::take(pointer, Error::Memory) }?;
        // SAFETY: a live signature and two live numbers.
        let answer = unsafe {
            lc::DSA_SIG_set0(
                signature.exclusive(),
                r.raw().cast_mut(),
                s.raw().cast_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        // They belong to the signature now.
        for number in [r, s] {
            number.into_raw();
        }
        let mut valid = 0;
        // SAFETY: the digest with its true length; signature and key are only read, but for what the key locks itself.
        let answer = unsafe {
            lc::DSA_do_check_signature(
                &raw mut valid,
                digest.as_ptr(),
                digest.len(),
                signature.shared(),
                self.shared(),
            )
        };
        succeeded(answer, Error::SignatureInvalid)?;
        succeeded(valid, Error::SignatureInvalid)
    }

    fn empty() -> Result<Self, Error> {
        // SAFETY: no argument.
        let pointer = unsafe { lc::DSA_new() };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }
}
