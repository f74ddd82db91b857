//! What lives here: DSA (FIPS 186-4): domain parameters, keys, signatures over digests.
//!
//! What must never live here: the judgement that DSA is of the past (FIPS 186-5 keeps it for verification only); the token's
//! settings say that.
//!
//! Who calls it: the token.

use std::cmp::Ordering;
use std::fmt;

use strongroom_keymem::SecretBytes;

use crate::error::Error;
use crate::ffi::bignum::{Number, Scratch};
use crate::ffi::dsa::{DsaKey, Part};
use crate::ffi::pkey::PKey;

/// Sizes of p and q in bits that there are (FIPS 186-4, 4.2).
pub const SIZES: [(usize, usize); 4] = [(1024, 160), (2048, 224), (2048, 256), (3072, 256)];

/// Domain parameters whose numbers fit each other: p and q of one of the [`SIZES`], q divides p − 1, and g has order q. That p and q
/// are primes is asked where keys are generated ([`DsaParameters::are_prime`]): it takes longer than a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DsaParameters {
    prime: Vec<u8>,
    subprime: Vec<u8>,
    base: Vec<u8>,
}

impl DsaParameters {
    /// Takes p, q and g, big-endian; zeros in front are allowed.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::ParameterInvalid`]; [`Error::Memory`].
    pub fn new(prime: &[u8], subprime: &[u8], base: &[u8]) -> Result<Self, Error> {
        let numbers = [prime, subprime, base].map(bounded);
        let [p, q, g] = numbers;
        let (p, q, g) = (p?, q?, g?);
        if !SIZES.contains(&(p.bits(), q.bits())) {
            return Err(Error::KeySize);
        }
        let scratch = &mut Scratch::new()?;
        let (_, rest) = p.minus_one()?.divided_by(&q, scratch)?;
        let fits = p.is_odd()
            && q.is_odd()
            && rest.is_zero()
            && !g.is_zero()
            && !g.is_one()
            && g.compare(&p) == Ordering::Less
            && g.power(&q, &p, scratch)?.is_one();
        if !fits {
            return Err(Error::ParameterInvalid);
        }
        Ok(Self {
            prime: p.to_public_bytes()?,
            subprime: q.to_public_bytes()?,
            base: g.to_public_bytes()?,
        })
    }

    /// Makes new ones: q has 160 bits for a p of 1024, else 256.
    ///
    /// # Errors
    /// [`Error::KeySize`] for other sizes of p than 1024, 2048, 3072; [`Error::Memory`].
    pub fn generate(prime_bits: usize) -> Result<Self, Error> {
        if !SIZES.iter().any(|(bits, _)| *bits == prime_bits) {
            return Err(Error::KeySize);
        }
        Self::of(&DsaKey::generate_parameters(prime_bits)?)
    }

    fn of(key: &DsaKey) -> Result<Self, Error> {
        let part = |part| key.part(part);
        Self::new(
            &part(Part::Prime)?,
            &part(Part::Subprime)?,
            &part(Part::Base)?,
        )
    }

    /// Whether p and q are primes.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn are_prime(&self) -> Result<bool, Error> {
        let [p, q, _] = self.numbers()?;
        let scratch = &mut Scratch::new()?;
        Ok(q.is_prime(scratch)? && p.is_prime(scratch)?)
    }

    /// p, big-endian.
    #[must_use]
    pub fn prime(&self) -> &[u8] {
        &self.prime
    }

    /// q, big-endian.
    #[must_use]
    pub fn subprime(&self) -> &[u8] {
        &self.subprime
    }

    /// g, big-endian.
    #[must_use]
    pub fn base(&self) -> &[u8] {
        &self.base
    }

    /// How many bits p has.
    #[must_use]
    pub fn bits(&self) -> usize {
        // All sizes are of whole bytes.
        self.prime.len() * 8
    }

    /// How many bytes a signature has: twice as many as q.
    #[must_use]
    pub fn signature_bytes(&self) -> usize {
        2 * self.subprime.len()
    }

    fn numbers(&self) -> Result<[Number; 3], Error> {
        Ok([
            Number::from_bytes(&self.prime)?,
            Number::from_bytes(&self.subprime)?,
            Number::from_bytes(&self.base)?,
        ])
    }
}

/// A private key, shared between threads.
pub struct DsaPrivateKey {
    key: DsaKey,
    parameters: DsaParameters,
}

impl DsaPrivateKey {
    /// Generates a key. Parameters that are no primes are refused.
    ///
    /// # Errors
    /// [`Error::ParameterInvalid`]; [`Error::Memory`].
    pub fn generate(parameters: &DsaParameters) -> Result<Self, Error> {
        if !parameters.are_prime()? {
            return Err(Error::ParameterInvalid);
        }
        let [_, q, _] = parameters.numbers()?;
        // FIPS 186-4, B.1.2: from 1 to q − 1; of 2¹⁶⁰ numbers nobody misses the first.
        let private = Number::random_below(&q)?;
        Self::with_private(parameters.clone(), private)
    }

    /// Makes a key of its private number, big-endian.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`] unless it is from 1 to q − 1; [`Error::Memory`].
    pub fn from_value(parameters: &DsaParameters, value: &[u8]) -> Result<Self, Error> {
        let private = bounded(value)?;
        let [_, q, _] = parameters.numbers()?;
        if private.is_zero() || private.compare(&q) != Ordering::Less {
            return Err(Error::KeyMalformed);
        }
        Self::with_private(parameters.clone(), private)
    }

    fn with_private(parameters: DsaParameters, private: Number) -> Result<Self, Error> {
        let [p, q, g] = parameters.numbers()?;
        let public = g.power(&private, &p, &mut Scratch::new()?)?;
        let key = DsaKey::from_numbers([p, q, g], public, Some(private))?;
        Ok(Self { key, parameters })
    }

    /// Takes a parsed key over by its numbers, which are judged as any other.
    pub(crate) fn from_key(key: &DsaKey) -> Result<Self, Error> {
        let parameters = DsaParameters::of(key)?;
        key.private(None)?
            .with(|value| Self::from_value(&parameters, value))
    }

    /// The private number, big-endian without zeros in front.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn value(&self) -> Result<SecretBytes, Error> {
        self.key.private(None)
    }

    /// The public number, big-endian.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn public_value(&self) -> Result<Vec<u8>, Error> {
        self.key.part(Part::Public)
    }

    /// The domain parameters.
    #[must_use]
    pub const fn parameters(&self) -> &DsaParameters {
        &self.parameters
    }

    /// Signs a digest: `r ‖ s`, each as long as q. A digest that is longer than q is truncated (FIPS 186-4, 4.6).
    ///
    /// # Errors
    /// [`Error::DataLength`] when the digest is empty; [`Error::Memory`].
    pub fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, Error> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        let mut signature = vec![0; self.parameters.signature_bytes()];
        let (r, s) = signature.split_at_mut(self.parameters.subprime.len());
        self.key.sign(digest, r, s)?;
        Ok(signature)
    }

    /// The PKCS #8 encoding (PKCS #11 3.2, 6.7).
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        PKey::from_dsa(&self.key)?.to_private_der()
    }

    /// The SubjectPublicKeyInfo of the public half.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_spki_der(&self) -> Result<Vec<u8>, Error> {
        PKey::from_dsa(&self.key)?.to_public_der()
    }
}

impl fmt::Debug for DsaPrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DsaPrivateKey({} bits)", self.parameters.bits())
    }
}

/// A public key, shared between threads.
pub struct DsaPublicKey {
    key: DsaKey,
    parameters: DsaParameters,
}

impl DsaPublicKey {
    /// Makes a key of its public number, big-endian.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`] unless it is of the group that g generates (SP 800-89, 5.3.1); [`Error::Memory`].
    pub fn from_value(parameters: &DsaParameters, value: &[u8]) -> Result<Self, Error> {
        let public = bounded(value)?;
        let [p, q, g] = parameters.numbers()?;
        let within = !public.is_zero() && !public.is_one() && public.compare(&p) == Ordering::Less;
        if !within || !public.power(&q, &p, &mut Scratch::new()?)?.is_one() {
            return Err(Error::KeyMalformed);
        }
        let key = DsaKey::from_numbers([p, q, g], public, None)?;
        Ok(Self {
            key,
            parameters: parameters.clone(),
        })
    }

    /// The domain parameters.
    #[must_use]
    pub const fn parameters(&self) -> &DsaParameters {
        &self.parameters
    }

    /// Verifies `r ‖ s` over a digest.
    ///
    /// # Errors
    /// [`Error::SignatureLength`] unless the signature has twice as many bytes as q; [`Error::SignatureInvalid`];
    /// [`Error::DataLength`] when the digest is empty; [`Error::Memory`].
    pub fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Result<(), Error> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        if signature.len() != self.parameters.signature_bytes() {
            return Err(Error::SignatureLength);
        }
        let (r, s) = signature.split_at(self.parameters.subprime.len());
        self.key.verify(digest, r, s)
    }

    /// The SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_spki_der(&self) -> Result<Vec<u8>, Error> {
        PKey::from_dsa(&self.key)?.to_public_der()
    }
}

impl fmt::Debug for DsaPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DsaPublicKey({} bits)", self.parameters.bits())
    }
}

/// Reads a number that is no longer than the longest p, so that arithmetic stays bounded.
fn bounded(bytes: &[u8]) -> Result<Number, Error> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let significant = bytes.get(zeros..).unwrap_or_default();
    if significant.len() > BYTES_MAX {
        return Err(Error::KeySize);
    }
    Number::from_bytes(significant)
}

const BYTES_MAX: usize = 3072 / 8;
