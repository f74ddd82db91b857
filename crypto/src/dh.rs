//! What lives here: Diffie-Hellman over the integers modulo a prime (PKCS #3), with the checks of SP 800-56A.
//!
//! What must never live here: what is made of the shared secret (the token derives keys of it).
//!
//! Who calls it: the token.

use std::cmp::Ordering;
use std::fmt;

use strongroom_keymem::SecretBytes;

use crate::der;
use crate::error::Error;
use crate::ffi::bignum::{Number, Scratch};
use crate::ffi::der::Reader;

/// The smallest prime. Which sizes are good enough for a purpose the token's settings say.
pub const BITS_MIN: usize = 512;
/// The largest prime: an operation with 8192 bits takes tens of milliseconds already.
pub const BITS_MAX: usize = 8192;
/// The largest prime that is made anew; larger ones would take minutes, and are those of RFC 3526.
const FRESH_BITS_MAX: usize = 1024;
/// The shortest private value that may be asked for: twice the strength of the smallest prime there is (SP 800-57, table 2).
pub const VALUE_BITS_MIN: usize = 160;

/// A prime and a base below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhParameters {
    prime: Vec<u8>,
    base: Vec<u8>,
}

impl DhParameters {
    /// Takes prime and base, big-endian; zeros in front are allowed. That it is a prime is not tested: whoever chose it agrees with it.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::ParameterInvalid`] for an even modulus or a base out of 2 to p − 2; [`Error::Memory`].
    pub fn new(prime: &[u8], base: &[u8]) -> Result<Self, Error> {
        let (p, g) = (bounded(prime)?, bounded(base)?);
        if !(BITS_MIN..=BITS_MAX).contains(&p.bits()) {
            return Err(Error::KeySize);
        }
        if !p.is_odd() || !within(&g, &p)? {
            return Err(Error::ParameterInvalid);
        }
        Ok(Self {
            prime: p.to_public_bytes()?,
            base: g.to_public_bytes()?,
        })
    }

    /// Parameters of a size: up to 1024 bits a new safe prime, from 1536 bits on that of RFC 3526. The base is two, which generates the
    /// group of prime order.
    ///
    /// # Errors
    /// [`Error::KeySize`] unless the size is 512 to 1024 in steps of 64, or one of RFC 3526; [`Error::Memory`].
    pub fn generate(bits: usize) -> Result<Self, Error> {
        let prime = match bits {
            BITS_MIN..=FRESH_BITS_MAX if bits.is_multiple_of(64) => Number::safe_prime(bits)?,
            _ => Number::rfc3526_prime(bits)?,
        };
        Self::new(&prime.to_public_bytes()?, &[2])
    }

    /// The prime, big-endian.
    #[must_use]
    pub fn prime(&self) -> &[u8] {
        &self.prime
    }

    /// The base, big-endian.
    #[must_use]
    pub fn base(&self) -> &[u8] {
        &self.base
    }

    /// How many bits the prime has.
    ///
    /// # Errors
    /// [`Error::Memory`].
    #[must_use]
    pub fn bits(&self) -> usize {
        let leading = self.prime.first().map_or(0, |byte| byte.leading_zeros());
        (self.prime.len() * 8).saturating_sub(leading as usize)
    }

    fn numbers(&self) -> Result<[Number; 2], Error> {
        Ok([
            Number::from_bytes(&self.prime)?,
            Number::from_bytes(&self.base)?,
        ])
    }

    /// Whether a public value can be one (SP 800-56A, 5.6.2.3.2): from 2 to p − 2.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn holds(&self, public: &[u8]) -> Result<bool, Error> {
        let [p, _] = self.numbers()?;
        match bounded(public) {
            Ok(public) => within(&public, &p),
            Err(Error::KeySize) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The SubjectPublicKeyInfo of a public value.
    #[must_use]
    pub fn spki_der(&self, public: &[u8]) -> Vec<u8> {
        let bits = der::element(der::BIT_STRING, &[&[0], &der::integer(public)]);
        der::element(der::SEQUENCE, &[&self.algorithm_der(), &bits])
    }

    fn algorithm_der(&self) -> Vec<u8> {
        let numbers = [der::integer(&self.prime), der::integer(&self.base)];
        let parameters = der::element(der::SEQUENCE, &[&numbers[0], &numbers[1]]);
        let oid = der::element(0x06, &[DH_KEY_AGREEMENT]);
        der::element(der::SEQUENCE, &[&oid, &parameters])
    }
}

/// PKCS #3, 9: 1.2.840.113549.1.3.1.
const DH_KEY_AGREEMENT: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01];

/// A private key, shared between threads.
pub struct DhPrivateKey {
    parameters: DhParameters,
    prime: Number,
    private: Number,
    public: Vec<u8>,
}

impl DhPrivateKey {
    /// Generates a key; its private value has just so many bits, if any are asked for.
    ///
    /// # Errors
    /// [`Error::ParameterInvalid`] for private values below 160 bits or not below the prime; [`Error::Memory`].
    pub fn generate(parameters: &DhParameters, value_bits: Option<usize>) -> Result<Self, Error> {
        let [p, _] = parameters.numbers()?;
        let private = match value_bits {
            // SP 800-56A, 5.6.1.1.1: below the order of the group, which is (p − 1) / 2 for a safe prime.
            None => Number::random_below(&p.shifted_right(1)?)?,
            Some(bits) if (VALUE_BITS_MIN..p.bits()).contains(&bits) => {
                // PKCS #3, 7.1: from 2^(l−1) to below 2^l.
                let least = Number::power_of_two(bits - 1)?;
                least.plus(&Number::random_below(&least)?)?
            }
            Some(_) => return Err(Error::ParameterInvalid),
        };
        Self::with_private(parameters.clone(), private)
    }

    /// Makes a key of its private value, big-endian.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`] unless it is from 1 to p − 2 (PKCS #3, 7.1); [`Error::Memory`].
    pub fn from_value(parameters: &DhParameters, value: &[u8]) -> Result<Self, Error> {
        let private = bounded(value)?;
        let [p, _] = parameters.numbers()?;
        if private.is_zero() || private.compare(&p.minus_one()?) != Ordering::Less {
            return Err(Error::KeyMalformed);
        }
        Self::with_private(parameters.clone(), private)
    }

    fn with_private(parameters: DhParameters, private: Number) -> Result<Self, Error> {
        let [prime, g] = parameters.numbers()?;
        let public = g.power(&private, &prime, &mut Scratch::new()?)?;
        Ok(Self {
            public: public.to_public_bytes()?,
            parameters,
            prime,
            private,
        })
    }

    /// The domain parameters.
    #[must_use]
    pub const fn parameters(&self) -> &DhParameters {
        &self.parameters
    }

    /// The private value, big-endian without zeros in front.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn value(&self) -> Result<SecretBytes, Error> {
        self.private.to_secret_bytes(None)
    }

    /// How many bits the private value has.
    #[must_use]
    pub fn value_bits(&self) -> usize {
        self.private.bits()
    }

    /// The public value, big-endian.
    #[must_use]
    pub fn public_value(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret, as long as the prime (PKCS #3, 8.3).
    ///
    /// # Errors
    /// [`Error::PointInvalid`] when the other's public value is out of 2 to p − 2, or the secret is 1 or p − 1 and thus none
    /// (SP 800-56A, 5.7.1.1); [`Error::Memory`].
    pub fn agree(&self, public: &[u8]) -> Result<SecretBytes, Error> {
        let public = match bounded(public) {
            Err(Error::KeySize) => return Err(Error::PointInvalid),
            read => read?,
        };
        if !within(&public, &self.prime)? {
            return Err(Error::PointInvalid);
        }
        let secret = public.power(&self.private, &self.prime, &mut Scratch::new()?)?;
        if !within(&secret, &self.prime)? {
            return Err(Error::PointInvalid);
        }
        secret.to_secret_bytes(Some(self.parameters.prime.len()))
    }

    /// The PKCS #8 encoding (PKCS #11 3.2, 6.7).
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        self.value()?.with(|value| {
            let sign = der::sign(value);
            let algorithm = self.parameters.algorithm_der();
            let integer = der::header(der::INTEGER, sign.len() + value.len());
            let integer_bytes = integer.len() + sign.len() + value.len();
            let octets = der::header(der::OCTET_STRING, integer_bytes);
            let content_bytes = VERSION.len() + algorithm.len() + octets.len() + integer_bytes;
            let whole = der::header(der::SEQUENCE, content_bytes);
            let pieces: [&[u8]; 7] = [&whole, &VERSION, &algorithm, &octets, &integer, sign, value];
            SecretBytes::filled_by(whole.len() + content_bytes, |mut room| {
                for piece in pieces {
                    let (to, rest) = room
                        .split_at_mut_checked(piece.len())
                        .ok_or(Error::Internal)?;
                    to.copy_from_slice(piece);
                    room = rest;
                }
                Ok(())
            })
        })
    }

    /// Parses a PKCS #8 encoding at the start of `der`; answers also how many bytes it took.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it is another kind of key; [`Error::KeyMalformed`]; [`Error::KeySize`];
    /// [`Error::ParameterInvalid`]; [`Error::Memory`].
    pub(crate) fn parse_pkcs8(der: &[u8]) -> Result<(Self, usize), Error> {
        let mut outside = Reader::new(der);
        let mut key = outside.sequence()?;
        if !key.unsigned()?.is_empty() {
            return Err(Error::KeyMalformed);
        }
        let mut algorithm = key.sequence()?;
        if algorithm.object()? != DH_KEY_AGREEMENT {
            return Err(Error::Unsupported);
        }
        let mut numbers = algorithm.sequence()?;
        let parameters = DhParameters::new(numbers.unsigned()?, numbers.unsigned()?)?;
        // PKCS #3, 9: the length of the private value may follow; attributes may follow the key (RFC 5208, 5).
        let mut value = Reader::new(key.octets()?);
        let private = value.unsigned()?;
        if !value.rest().is_empty() || !algorithm.rest().is_empty() {
            return Err(Error::KeyMalformed);
        }
        let key = Self::from_value(&parameters, private)?;
        Ok((key, der.len() - outside.rest().len()))
    }

    /// The SubjectPublicKeyInfo of the public half.
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        self.parameters.spki_der(&self.public)
    }
}

impl fmt::Debug for DhPrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DhPrivateKey({} bits)", self.parameters.bits())
    }
}

/// From 2 to p − 2.
fn within(number: &Number, prime: &Number) -> Result<bool, Error> {
    Ok(!number.is_zero()
        && !number.is_one()
        && number.compare(&prime.minus_one()?) == Ordering::Less)
}

/// Reads a number that is no longer than the longest prime, so that arithmetic stays bounded.
fn bounded(bytes: &[u8]) -> Result<Number, Error> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let significant = bytes.get(zeros..).unwrap_or_default();
    if significant.len() > BITS_MAX / 8 {
        return Err(Error::KeySize);
    }
    Number::from_bytes(significant)
}

/// The INTEGER 0: the version of PKCS #8.
const VERSION: [u8; 3] = [der::INTEGER, 1, 0];
