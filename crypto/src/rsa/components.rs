//! What lives here: the numbers of an RSA key, and how missing ones are recovered from the others.
//!
//! What must never live here: an operation with the finished key.
//!
//! Who calls it: `rsa.rs`, when a key is imported.

use std::cmp::Ordering;

use strongroom_keymem::SecretBytes;

use crate::error::Error;
use crate::ffi::bignum::{Number, Scratch};
use crate::ffi::rsa::PrivateNumbers;
use crate::rsa::BITS_MAX;

/// Every number of a private key (RFC 8017, 3.2), big-endian without zeros in front.
#[derive(Debug)]
pub struct RsaComponents {
    /// n
    pub modulus: Vec<u8>,
    /// e
    pub public_exponent: Vec<u8>,
    /// d
    pub private_exponent: SecretBytes,
    /// p
    pub prime_1: SecretBytes,
    /// q
    pub prime_2: SecretBytes,
    /// d mod (p − 1)
    pub exponent_1: SecretBytes,
    /// d mod (q − 1)
    pub exponent_2: SecretBytes,
    /// The inverse of q modulo p
    pub coefficient: SecretBytes,
}

/// The primes of a key, and what may be known besides. Has no debug output: all of it is secret.
#[derive(Clone, Copy)]
pub struct Crt<'a> {
    /// p
    pub prime_1: &'a [u8],
    /// q
    pub prime_2: &'a [u8],
    /// d mod (p − 1)
    pub exponent_1: Option<&'a [u8]>,
    /// d mod (q − 1)
    pub exponent_2: Option<&'a [u8]>,
    /// The inverse of q modulo p
    pub coefficient: Option<&'a [u8]>,
}

/// Recovers what is missing. That the numbers agree is left to AWS-LC, which checks all of them.
pub(super) fn complete(
    modulus: &[u8],
    public_exponent: Option<&[u8]>,
    private_exponent: Option<&[u8]>,
    crt: Option<Crt<'_>>,
) -> Result<PrivateNumbers, Error> {
    let modulus = bounded(modulus)?;
    if !modulus.is_odd() {
        return Err(Error::KeyMalformed);
    }
    let public_exponent = public_exponent.map(self::public_exponent).transpose()?;
    let private_exponent = private_exponent
        .map(|bytes| below(bytes, &modulus))
        .transpose()?;
    let scratch = &mut Scratch::new()?;
    let Some(crt) = crt else {
        let (Some(e), Some(d)) = (public_exponent, private_exponent) else {
            return Err(Error::ParameterInvalid);
        };
        let (p, q) = factor(&modulus, &e, &d, scratch)?;
        return with_primes(modulus, e, d, (p, q), (None, None, None), scratch);
    };
    let p = prime(crt.prime_1, &modulus)?;
    let q = prime(crt.prime_2, &modulus)?;
    let (e, d) = both_exponents(public_exponent, private_exponent, &p, &q, scratch)?;
    let known = (
        crt.exponent_1
            .map(|bytes| below(bytes, &modulus))
            .transpose()?,
        crt.exponent_2
            .map(|bytes| below(bytes, &modulus))
            .transpose()?,
        crt.coefficient
            .map(|bytes| below(bytes, &modulus))
            .transpose()?,
    );
    with_primes(modulus, e, d, (p, q), known, scratch)
}

/// Reads a public exponent.
pub(super) fn public_exponent(bytes: &[u8]) -> Result<Number, Error> {
    let exponent = bounded(bytes).map_err(|error| {
        if error == Error::KeySize {
            Error::ParameterInvalid
        } else {
            error
        }
    })?;
    // RFC 8017, 3.1: odd and at least three. AWS-LC takes 33 bits, since longer ones only cost time.
    if exponent.is_odd() && (2..=33).contains(&exponent.bits()) {
        Ok(exponent)
    } else {
        Err(Error::ParameterInvalid)
    }
}

/// Reads a number that is no longer than the longest modulus, so that arithmetic stays bounded.
pub(super) fn bounded(bytes: &[u8]) -> Result<Number, Error> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let significant = &bytes[zeros..];
    if significant.len() > BITS_MAX / 8 {
        return Err(Error::KeySize);
    }
    Number::from_bytes(significant)
}

fn below(bytes: &[u8], modulus: &Number) -> Result<Number, Error> {
    let number = bounded(bytes).map_err(|error| {
        if error == Error::KeySize {
            Error::KeyMalformed
        } else {
            error
        }
    })?;
    if !number.is_zero() && number.compare(modulus) == Ordering::Less {
        Ok(number)
    } else {
        Err(Error::KeyMalformed)
    }
}

fn prime(bytes: &[u8], modulus: &Number) -> Result<Number, Error> {
    let number = below(bytes, modulus)?;
    // Primality is not tested: whoever imports a key knows it anyway. Odd keeps the arithmetic defined.
    if number.is_odd() && !number.is_one() {
        Ok(number)
    } else {
        Err(Error::KeyMalformed)
    }
}

fn both_exponents(
    public_exponent: Option<Number>,
    private_exponent: Option<Number>,
    p: &Number,
    q: &Number,
    scratch: &mut Scratch,
) -> Result<(Number, Number), Error> {
    match (public_exponent, private_exponent) {
        (Some(e), Some(d)) => Ok((e, d)),
        (Some(e), None) => {
            let d = e.inverse(&carmichael(p, q, scratch)?, scratch)?;
            Ok((e, d))
        }
        (None, Some(d)) => {
            let e = d.inverse(&carmichael(p, q, scratch)?, scratch)?;
            if e.is_odd() && (2..=33).contains(&e.bits()) {
                Ok((e, d))
            } else {
                Err(Error::ParameterInvalid)
            }
        }
        (None, None) => Err(Error::ParameterInvalid),
    }
}

/// lcm(p − 1, q − 1): the exponents are inverse modulo this (FIPS 186-5, A.1.1).
fn carmichael(p: &Number, q: &Number, scratch: &mut Scratch) -> Result<Number, Error> {
    let (p_minus_1, q_minus_1) = (p.minus_one()?, q.minus_one()?);
    let divisor = p_minus_1.greatest_common_divisor(&q_minus_1, scratch)?;
    let product = p_minus_1.times(&q_minus_1, scratch)?;
    Ok(product.divided_by(&divisor, scratch)?.0)
}

fn with_primes(
    modulus: Number,
    public_exponent: Number,
    private_exponent: Number,
    (prime_1, prime_2): (Number, Number),
    (exponent_1, exponent_2, coefficient): (Option<Number>, Option<Number>, Option<Number>),
    scratch: &mut Scratch,
) -> Result<PrivateNumbers, Error> {
    let exponent_1 = match exponent_1 {
        Some(known) => known,
        None => {
            private_exponent
                .divided_by(&prime_1.minus_one()?, scratch)?
                .1
        }
    };
    let exponent_2 = match exponent_2 {
        Some(known) => known,
        None => {
            private_exponent
                .divided_by(&prime_2.minus_one()?, scratch)?
                .1
        }
    };
    let coefficient = match coefficient {
        Some(known) => known,
        None => prime_2.inverse(&prime_1, scratch)?,
    };
    Ok(PrivateNumbers {
        modulus,
        public_exponent,
        private_exponent,
        prime_1,
        prime_2,
        exponent_1,
        exponent_2,
        coefficient,
    })
}

/// SP 800-56B revision 2, C.1: the primes from the modulus and both exponents.
fn factor(
    n: &Number,
    e: &Number,
    d: &Number,
    scratch: &mut Scratch,
) -> Result<(Number, Number), Error> {
    // Steps 1 and 2: k = de − 1 is even; write it as 2ᵗ · r with r odd.
    let k = d.times(e, scratch)?.minus_one()?;
    if k.is_odd() {
        return Err(Error::KeyMalformed);
    }
    let twos = k.trailing_zero_bits()?;
    let r = k.shifted_right(twos)?;
    let n_minus_1 = n.minus_one()?;
    for _ in 0..FACTOR_TRIES {
        if let Some(root) = square_root_of_one(n, &n_minus_1, &r, twos, scratch)? {
            // Step 5: p = gcd(y − 1, n).
            let p = root.minus_one()?.greatest_common_divisor(n, scratch)?;
            let q = n.divided_by(&p, scratch)?.0;
            // The larger one first, so that the coefficient is below it in either reading.
            return Ok(if p.compare(&q) == Ordering::Less {
                (q, p)
            } else {
                (p, q)
            });
        }
    }
    Err(Error::KeyMalformed)
}

/// Steps 3 and 4, one try: a square root of one that is neither 1 nor n − 1.
fn square_root_of_one(
    n: &Number,
    n_minus_1: &Number,
    r: &Number,
    twos: std::ffi::c_int,
    scratch: &mut Scratch,
) -> Result<Option<Number>, Error> {
    let mut y = Number::random_below(n)?.power(r, n, scratch)?;
    if y.is_one() || y.compare(n_minus_1) == Ordering::Equal {
        return Ok(None);
    }
    for _ in 0..twos {
        let square = y.square(n, scratch)?;
        if square.is_one() {
            return Ok(Some(y));
        }
        if square.compare(n_minus_1) == Ordering::Equal {
            return Ok(None);
        }
        y = square;
    }
    Ok(None)
}

/// The number that the standard gives; each try fails with probability one half at most.
const FACTOR_TRIES: usize = 100;
