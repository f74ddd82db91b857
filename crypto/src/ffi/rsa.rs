//! What lives here: RSA keys of AWS-LC and their operations on whole blocks.
//!
//! What must never live here: a way to switch blinding or the check of private results off.
//!
//! Who calls it: `rsa.rs` and `rsa/components.rs`.

use std::ffi::c_int;

use aws_lc_sys as lc;
use strongroom_keymem::SecretBytes;

use super::bignum::{self, Number};
use super::owned::Owned;
use super::{digest, failure, succeeded};
use crate::digest::Hash;
use crate::error::Error;

/// An RSA key, public or private; AWS-LC locks inside, so that it may be shared between threads.
pub(crate) struct RsaKey(Owned<lc::RSA>);

/// The numbers of a private key, all present.
pub(crate) struct PrivateNumbers {
    pub(crate) modulus: Number,
    pub(crate) public_exponent: Number,
    pub(crate) private_exponent: Number,
    pub(crate) prime_1: Number,
    pub(crate) prime_2: Number,
    pub(crate) exponent_1: Number,
    pub(crate) exponent_2: Number,
    pub(crate) coefficient: Number,
}

/// Which number of a key.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Modulus,
    PublicExponent,
    PrivateExponent,
    Prime1,
    Prime2,
    Exponent1,
    Exponent2,
    Coefficient,
}

/// The paddings that AWS-LC applies itself.
#[derive(Clone, Copy)]
pub(crate) enum Padding {
    None,
    Pkcs1,
}

impl RsaKey {
    /// Generates a key. `bits` must be a multiple of 128, or AWS-LC would round it down.
    pub(crate) fn generate(bits: usize, public_exponent: &Number) -> Result<Self, Error> {
        super::random::prepare_thread()?;
        let bits = c_int::try_from(bits).map_err(|_| Error::KeySize)?;
        // SAFETY: no argument.
        let pointer = unsafe { lc::RSA_new() };
        // SAFETY: a fresh object or null.
        let mut key = unsafe { Owned::take(pointer, Error::Memory) }?;
        // SAFETY: a fresh key and a live exponent; no callback.
        let answer = unsafe {
            lc::RSA_generate_key_ex(
                key.exclusive(),
                bits,
                public_exponent.raw(),
                std::ptr::null_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        Ok(Self(key))
    }

    /// A private key from all its numbers, which AWS-LC copies and checks against each other.
    pub(crate) fn from_private(numbers: &PrivateNumbers) -> Result<Self, Error> {
        // SAFETY: eight live numbers, copied.
        let pointer = unsafe {
            lc::RSA_new_private_key(
                numbers.modulus.raw(),
                numbers.public_exponent.raw(),
                numbers.private_exponent.raw(),
                numbers.prime_1.raw(),
                numbers.prime_2.raw(),
                numbers.exponent_1.raw(),
                numbers.exponent_2.raw(),
                numbers.coefficient.raw(),
            )
        };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::KeyMalformed) }.map(Self)
    }

    pub(crate) fn from_public(modulus: &Number, public_exponent: &Number) -> Result<Self, Error> {
        // SAFETY: two live numbers, copied.
        let pointer = unsafe { lc::RSA_new_public_key(modulus.raw(), public_exponent.raw()) };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::KeyMalformed) }.map(Self)
    }

    pub(super) fn from_owned(key: Owned<lc::RSA>) -> Self {
        Self(key)
    }

    pub(super) fn shared(&self) -> *mut lc::RSA {
        self.0.shared()
    }

    pub(crate) fn bits(&self) -> usize {
        // SAFETY: a live key with a modulus, only read.
        let bits = unsafe { lc::RSA_bits(self.shared()) };
        bits as usize
    }

    pub(crate) fn modulus_bytes(&self) -> usize {
        self.bits().div_ceil(8)
    }

    /// Whether every number of a private key is there.
    pub(crate) fn is_complete(&self) -> bool {
        use Part::{
            Coefficient, Exponent1, Exponent2, Modulus, Prime1, Prime2, PrivateExponent,
            PublicExponent,
        };
        [
            Modulus,
            PublicExponent,
            PrivateExponent,
            Prime1,
            Prime2,
            Exponent1,
            Exponent2,
            Coefficient,
        ]
        .into_iter()
        .all(|part| !self.number(part).is_null())
    }

    /// A public number, big-endian, of minimal length.
    pub(crate) fn public_part(&self, part: Part) -> Result<Vec<u8>, Error> {
        // SAFETY: null, or a number that lives as long as the key, which is borrowed.
        unsafe { bignum::public_bytes(self.number(part)) }
    }

    /// A secret number, big-endian, of minimal length.
    pub(crate) fn secret_part(&self, part: Part) -> Result<SecretBytes, Error> {
        // SAFETY: null, or a number that lives as long as the key, which is borrowed.
        unsafe { bignum::secret_bytes(self.number(part), None) }
    }

    fn number(&self, part: Part) -> *const lc::BIGNUM {
        let reader: unsafe extern "C" fn(*const lc::RSA) -> *const lc::BIGNUM = match part {
            Part::Modulus => lc::RSA_get0_n,
            Part::PublicExponent => lc::RSA_get0_e,
            Part::PrivateExponent => lc::RSA_get0_d,
            Part::Prime1 => lc::RSA_get0_p,
            Part::Prime2 => lc::RSA_get0_q,
            Part::Exponent1 => lc::RSA_get0_dmp1,
            Part::Exponent2 => lc::RSA_get0_dmq1,
            Part::Coefficient => lc::RSA_get0_iqmp,
        };
        // SAFETY: a live key, only read.
        unsafe { reader(self.shared()) }
    }

    /// RSASP1 with padding of type 1 or none; `out` is as long as the modulus.
    pub(crate) fn sign_raw(
        &self,
        padding: Padding,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        super::random::prepare_thread()?;
        self.transform(lc::RSA_sign_raw, padding, input, out, Error::DataInvalid)
            .map(|_| ())
    }

    /// RSADP with padding of type 2 or none; answers how many bytes of `out` are the message.
    pub(crate) fn decrypt(
        &self,
        padding: Padding,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        super::random::prepare_thread()?;
        self.transform(lc::RSA_decrypt, padding, input, out, Error::DataInvalid)
    }

    /// RSAVP1 with padding of type 1 or none; answers how many bytes of `out` are the message.
    pub(crate) fn verify_raw(
        &self,
        padding: Padding,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        self.transform(
            lc::RSA_verify_raw,
            padding,
            input,
            out,
            Error::SignatureInvalid,
        )
    }

    /// RSAEP with padding of type 2 or none.
    pub(crate) fn encrypt(
        &self,
        padding: Padding,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        super::random::prepare_thread()?;
        self.transform(lc::RSA_encrypt, padding, input, out, Error::DataInvalid)
            .map(|_| ())
    }

    fn transform(
        &self,
        operation: unsafe extern "C" fn(
            *mut lc::RSA,
            *mut usize,
            *mut u8,
            usize,
            *const u8,
            usize,
            c_int,
        ) -> c_int,
        padding: Padding,
        input: &[u8],
        out: &mut [u8],
        otherwise: Error,
    ) -> Result<usize, Error> {
        let padding = match padding {
            Padding::None => lc::RSA_NO_PADDING,
            Padding::Pkcs1 => lc::RSA_PKCS1_PADDING,
        };
        let mut written = 0;
        // SAFETY: one of AWS-LC's four raw operations, which lock inside; the slices come with their
        // true lengths, and AWS-LC checks that `out` suffices.
        let answer = unsafe {
            operation(
                self.shared(),
                &raw mut written,
                out.as_mut_ptr(),
                out.len(),
                input.as_ptr(),
                input.len(),
                padding,
            )
        };
        succeeded(answer, otherwise)?;
        if written <= out.len() {
            Ok(written)
        } else {
            Err(Error::Internal)
        }
    }

    /// RSASSA-PKCS1-v1_5 over a digest, which gets its DigestInfo here.
    pub(crate) fn sign_digest(
        &self,
        hash: Hash,
        digest: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        super::random::prepare_thread()?;
        if out.len() != self.modulus_bytes() {
            return Err(Error::Internal);
        }
        let number = digest::number_of(hash)?;
        let mut written = 0;
        // SAFETY: the digest with its true length; `out` is as long as the modulus.
        let answer = unsafe {
            lc::RSA_sign(
                number,
                digest.as_ptr(),
                digest.len(),
                out.as_mut_ptr(),
                &raw mut written,
                self.shared(),
            )
        };
        if answer == 1 && written as usize == out.len() {
            Ok(())
        } else {
            Err(failure(Error::Internal))
        }
    }

    pub(crate) fn verify_digest(
        &self,
        hash: Hash,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let number = digest::number_of(hash)?;
        // SAFETY: both slices with their true lengths; the key is not changed.
        let answer = unsafe {
            lc::RSA_verify(
                number,
                digest.as_ptr(),
                digest.len(),
                signature.as_ptr(),
                signature.len(),
                self.shared(),
            )
        };
        succeeded(answer, Error::SignatureInvalid)
    }

    /// RSASSA-PSS over a digest.
    pub(crate) fn sign_pss(
        &self,
        scheme: PssScheme,
        digest: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        super::random::prepare_thread()?;
        let mut written = 0;
        // SAFETY: static digests; the slices with their true lengths, which AWS-LC checks.
        let answer = unsafe {
            lc::RSA_sign_pss_mgf1(
                self.shared(),
                &raw mut written,
                out.as_mut_ptr(),
                out.len(),
                digest.as_ptr(),
                digest.len(),
                digest::message_digest(scheme.hash),
                digest::message_digest(scheme.mask_hash),
                scheme.salt_bytes,
            )
        };
        if answer == 1 && written == out.len() {
            Ok(())
        } else {
            Err(failure(Error::Internal))
        }
    }

    pub(crate) fn verify_pss(
        &self,
        scheme: PssScheme,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        // SAFETY: static digests; the slices with their true lengths, which AWS-LC checks.
        let answer = unsafe {
            lc::RSA_verify_pss_mgf1(
                self.shared(),
                digest.as_ptr(),
                digest.len(),
                digest::message_digest(scheme.hash),
                digest::message_digest(scheme.mask_hash),
                scheme.salt_bytes,
                signature.as_ptr(),
                signature.len(),
            )
        };
        succeeded(answer, Error::SignatureInvalid)
    }
}

/// The parameters of a PSS signature.
#[derive(Clone, Copy)]
pub(crate) struct PssScheme {
    pub(crate) hash: Hash,
    pub(crate) mask_hash: Hash,
    /// Never negative: negative numbers have special meanings in AWS-LC.
    pub(crate) salt_bytes: c_int,
}
