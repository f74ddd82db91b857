//! What lives here: big numbers in AWS-LC's heap, with the little arithmetic that completing an RSA key,
//! judging DSA parameters and Diffie-Hellman need.
//!
//! What must never live here: RSA itself; private operations run inside AWS-LC, blinded.
//!
//! Who calls it: `rsa/components.rs`, `dsa.rs`, `dh.rs`, `ffi/rsa.rs`, `ffi/ec.rs`, `ffi/dsa.rs`.

use std::cmp::Ordering;
use std::ffi::c_int;

use aws_lc_sys as lc;
use strongroom_keymem::SecretBytes;

use super::owned::Owned;
use super::{failure, succeeded};
use crate::error::Error;

/// A number that is not negative.
pub(crate) struct Number(Owned<lc::BIGNUM>);

/// Scratch space for the arithmetic.
pub(crate) struct Scratch(Owned<lc::BN_CTX>);

impl Scratch {
    pub(crate) fn new() -> Result<Self, Error> {
        // SAFETY: no argument.
        let pointer = unsafe { lc::BN_CTX_new() };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }
}

impl Number {
    pub(crate) fn zero() -> Result<Self, Error> {
        // SAFETY: no argument.
        let pointer = unsafe { lc::BN_new() };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }

    /// Reads big-endian bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        // SAFETY: pointer and length describe one readable slice; null asks for a new number.
        let pointer = unsafe { lc::BN_bin2bn(bytes.as_ptr(), bytes.len(), std::ptr::null_mut()) };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }

    pub(crate) fn raw(&self) -> *const lc::BIGNUM {
        self.0.shared()
    }

    pub(crate) fn into_raw(self) -> *mut lc::BIGNUM {
        self.0.into_raw()
    }

    pub(crate) fn bits(&self) -> usize {
        // SAFETY: a live number, only read.
        let bits = unsafe { lc::BN_num_bits(self.raw()) };
        bits as usize
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.bits() == 0
    }

    pub(crate) fn is_one(&self) -> bool {
        self.bits() == 1
    }

    pub(crate) fn is_odd(&self) -> bool {
        // SAFETY: a live number, only read.
        let odd = unsafe { lc::BN_is_odd(self.raw()) };
        odd == 1
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        // SAFETY: two live numbers, only read.
        let order = unsafe { lc::BN_cmp(self.raw(), other.raw()) };
        order.cmp(&0)
    }

    pub(crate) fn minus_one(&self) -> Result<Self, Error> {
        // SAFETY: a live number, only read.
        let pointer = unsafe { lc::BN_dup(self.raw()) };
        // SAFETY: a fresh object or null.
        let mut result = Self(unsafe { Owned::take(pointer, Error::Memory) }?);
        // SAFETY: a live number of ours.
        let answer = unsafe { lc::BN_sub_word(result.0.exclusive(), 1) };
        succeeded(answer, Error::Internal)?;
        Ok(result)
    }

    pub(crate) fn times(&self, other: &Self, scratch: &mut Scratch) -> Result<Self, Error> {
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct.
        let answer = unsafe {
            lc::BN_mul(
                result.0.exclusive(),
                self.raw(),
                other.raw(),
                scratch.0.exclusive(),
            )
        };
        succeeded(answer, Error::Internal)?;
        Ok(result)
    }

    /// Quotient and remainder.
    pub(crate) fn divided_by(
        &self,
        divisor: &Self,
        scratch: &mut Scratch,
    ) -> Result<(Self, Self), Error> {
        let mut quotient = Self::zero()?;
        let mut remainder = Self::zero()?;
        // SAFETY: live numbers; both results are distinct. A zero divisor is an error, not undefined.
        let answer = unsafe {
            lc::BN_div(
                quotient.0.exclusive(),
                remainder.0.exclusive(),
                self.raw(),
                divisor.raw(),
                scratch.0.exclusive(),
            )
        };
        succeeded(answer, Error::KeyMalformed)?;
        Ok((quotient, remainder))
    }

    pub(crate) fn greatest_common_divisor(
        &self,
        other: &Self,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct.
        let answer = unsafe {
            lc::BN_gcd(
                result.0.exclusive(),
                self.raw(),
                other.raw(),
                scratch.0.exclusive(),
            )
        };
        succeeded(answer, Error::KeyMalformed)?;
        Ok(result)
    }

    /// The inverse modulo `modulus`, which may be even.
    pub(crate) fn inverse(&self, modulus: &Self, scratch: &mut Scratch) -> Result<Self, Error> {
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct.
        let answer = unsafe {
            lc::BN_mod_inverse(
                result.0.exclusive(),
                self.raw(),
                modulus.raw(),
                scratch.0.exclusive(),
            )
        };
        if answer.is_null() {
            Err(failure(Error::KeyMalformed))
        } else {
            Ok(result)
        }
    }

    /// `self` to the power of `exponent`, modulo an odd `modulus` that is greater than `self`.
    pub(crate) fn power(
        &self,
        exponent: &Self,
        modulus: &Self,
        scratch: &mut Scratch,
    ) -> Result<Self, Error> {
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct; AWS-LC checks modulus and range.
        let answer = unsafe {
            lc::BN_mod_exp_mont_consttime(
                result.0.exclusive(),
                self.raw(),
                exponent.raw(),
                modulus.raw(),
                scratch.0.exclusive(),
                std::ptr::null(),
            )
        };
        succeeded(answer, Error::KeyMalformed)?;
        Ok(result)
    }

    pub(crate) fn square(&self, modulus: &Self, scratch: &mut Scratch) -> Result<Self, Error> {
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct.
        let answer = unsafe {
            lc::BN_mod_sqr(
                result.0.exclusive(),
                self.raw(),
                modulus.raw(),
                scratch.0.exclusive(),
            )
        };
        succeeded(answer, Error::KeyMalformed)?;
        Ok(result)
    }

    /// How often two divides this number.
    pub(crate) fn trailing_zero_bits(&self) -> Result<c_int, Error> {
        // SAFETY: a live number, only read.
        let bits = unsafe { lc::BN_count_low_zero_bits(self.raw()) };
        if self.is_zero() {
            Err(Error::KeyMalformed)
        } else {
            Ok(bits)
        }
    }

    pub(crate) fn shifted_right(&self, bits: c_int) -> Result<Self, Error> {
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct; a negative count is an error, not undefined.
        let answer = unsafe { lc::BN_rshift(result.0.exclusive(), self.raw(), bits) };
        succeeded(answer, Error::Internal)?;
        Ok(result)
    }

    pub(crate) fn plus(&self, other: &Self) -> Result<Self, Error> {
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct.
        let answer = unsafe { lc::BN_add(result.0.exclusive(), self.raw(), other.raw()) };
        succeeded(answer, Error::Internal)?;
        Ok(result)
    }

    /// Two to the power of `exponent`.
    pub(crate) fn power_of_two(exponent: usize) -> Result<Self, Error> {
        let exponent = c_int::try_from(exponent).map_err(|_| Error::ParameterInvalid)?;
        let mut result = Self::zero()?;
        // SAFETY: a live number of ours; a negative place is an error, not undefined.
        let answer = unsafe { lc::BN_set_bit(result.0.exclusive(), exponent) };
        succeeded(answer, Error::Internal)?;
        Ok(result)
    }

    /// Whether this is a prime, but for a chance of 2⁻⁸⁰ at most.
    pub(crate) fn is_prime(&self, scratch: &mut Scratch) -> Result<bool, Error> {
        super::random::prepare_thread()?;
        let mut prime = 0;
        // SAFETY: a live number, only read; no callback.
        let answer = unsafe {
            lc::BN_primality_test(
                &raw mut prime,
                self.raw(),
                PRIME_CHECKS,
                scratch.0.exclusive(),
                1,
                std::ptr::null_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        Ok(prime == 1)
    }

    /// A new safe prime p, of which two is a square: p ≡ 23 (mod 24).
    pub(crate) fn safe_prime(bits: usize) -> Result<Self, Error> {
        super::random::prepare_thread()?;
        let bits = c_int::try_from(bits).map_err(|_| Error::KeySize)?;
        let (step, rest) = (Self::from_bytes(&[24])?, Self::from_bytes(&[23])?);
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct; no callback.
        let answer = unsafe {
            lc::BN_generate_prime_ex(
                result.0.exclusive(),
                bits,
                1,
                step.raw(),
                rest.raw(),
                std::ptr::null_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        Ok(result)
    }

    /// The prime of the group of RFC 3526 with so many bits.
    pub(crate) fn rfc3526_prime(bits: usize) -> Result<Self, Error> {
        let maker: unsafe extern "C" fn(*mut lc::BIGNUM) -> *mut lc::BIGNUM = match bits {
            1536 => lc::BN_get_rfc3526_prime_1536,
            2048 => lc::BN_get_rfc3526_prime_2048,
            3072 => lc::BN_get_rfc3526_prime_3072,
            4096 => lc::BN_get_rfc3526_prime_4096,
            6144 => lc::BN_get_rfc3526_prime_6144,
            8192 => lc::BN_get_rfc3526_prime_8192,
            _ => return Err(Error::KeySize),
        };
        // SAFETY: null asks for a new number.
        let pointer = unsafe { maker(std::ptr::null_mut()) };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }

    /// The big-endian bytes of a public number, of minimal length.
    pub(crate) fn to_public_bytes(&self) -> Result<Vec<u8>, Error> {
        // SAFETY: a live number.
        unsafe { public_bytes(self.raw()) }
    }

    /// The big-endian bytes of a secret number; of minimal length unless `length` says more.
    pub(crate) fn to_secret_bytes(&self, length: Option<usize>) -> Result<SecretBytes, Error> {
        // SAFETY: a live number.
        unsafe { secret_bytes(self.raw(), length) }
    }

    /// A random number from 2 to below `limit`.
    pub(crate) fn random_below(limit: &Self) -> Result<Self, Error> {
        super::random::prepare_thread()?;
        let mut result = Self::zero()?;
        // SAFETY: live numbers; the result is distinct.
        let answer = unsafe { lc::BN_rand_range_ex(result.0.exclusive(), 2, limit.raw()) };
        succeeded(answer, Error::KeyMalformed)?;
        Ok(result)
    }
}

/// FIPS 186-5, table B.1 has 64 as the most that any size needs; a number that somebody else chose gets all of them.
const PRIME_CHECKS: c_int = 64;

/// The big-endian bytes of a public number, of minimal length.
///
/// # Safety
/// The pointer is null or a live number.
pub(crate) unsafe fn public_bytes(number: *const lc::BIGNUM) -> Result<Vec<u8>, Error> {
    if number.is_null() {
        return Err(Error::KeyMalformed);
    }
    // SAFETY: a live number, as the caller says.
    let length = unsafe { lc::BN_num_bytes(number) } as usize;
    let mut bytes = vec![0; length];
    // SAFETY: a live number; pointer and length describe the vector.
    unsafe { write_padded(number, &mut bytes) }?;
    Ok(bytes)
}

/// The big-endian bytes of a secret number; of minimal length unless `length` says more.
///
/// # Safety
/// The pointer is null or a live number.
pub(crate) unsafe fn secret_bytes(
    number: *const lc::BIGNUM,
    length: Option<usize>,
) -> Result<SecretBytes, Error> {
    if number.is_null() {
        return Err(Error::KeyMalformed);
    }
    // SAFETY: a live number, as the caller says.
    let minimal = unsafe { lc::BN_num_bytes(number) } as usize;
    SecretBytes::filled_by(length.unwrap_or(minimal), |bytes| {
        // SAFETY: a live number, as the caller says.
        unsafe { write_padded(number, bytes) }
    })
}

/// Writes a number big-endian, with zeros in front.
///
/// # Safety
/// The pointer is a live number.
pub(crate) unsafe fn write_padded(
    number: *const lc::BIGNUM,
    bytes: &mut [u8],
) -> Result<(), Error> {
    // SAFETY: a live number; pointer and length describe one writable slice.
    let answer = unsafe { lc::BN_bn2bin_padded(bytes.as_mut_ptr(), bytes.len(), number) };
    succeeded(answer, Error::Internal)
}
