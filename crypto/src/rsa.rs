//! What lives here: RSA (RFC 8017, FIPS 186-5): keys, signatures and encryption, with private
//! operations blinded and checked by AWS-LC.
//!
//! What must never live here: arithmetic with private numbers outside AWS-LC, except the completion of
//! an imported key in `components.rs`.
//!
//! Who calls it: the token.

mod components;

use std::fmt;

use strongroom_keymem::{SecretBytes, SecretVec};

pub use self::components::{Crt, RsaComponents};
use crate::digest::Hash;
use crate::error::Error;
use crate::ffi::oaep::{self, OaepScheme};
use crate::ffi::pkey::{Content, PKey};
use crate::ffi::rsa::{Padding, Part, PssScheme, RsaKey};
use crate::pkcs8;
use crate::wrap::appended;

/// The smallest modulus: one can still be used with what the past left behind. Which sizes are good enough for a purpose the token says.
pub const BITS_MIN: usize = 512;
/// The largest modulus: an operation with 8192 bits takes tens of milliseconds already.
pub const BITS_MAX: usize = 8192;

/// A private key, prepared for use and shared between threads.
pub struct RsaPrivateKey {
    key: RsaKey,
    /// Big-endian, as long as the modulus is.
    modulus: Vec<u8>,
}

impl RsaPrivateKey {
    /// Generates a key whose modulus has `bits` bits, a multiple of 128.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::ParameterInvalid`] unless the public exponent is odd, at least
    /// three and below 2³²; [`Error::Memory`].
    pub fn generate(bits: usize, public_exponent: &[u8]) -> Result<Self, Error> {
        // AWS-LC would round other sizes down without a word.
        if !(BITS_MIN..=BITS_MAX).contains(&bits) || !bits.is_multiple_of(128) {
            return Err(Error::KeySize);
        }
        let public_exponent = components::public_exponent(public_exponent)?;
        if public_exponent.bits() > 32 {
            return Err(Error::ParameterInvalid);
        }
        Self::from_key(RsaKey::generate(bits, &public_exponent)?)
    }

    /// Makes a key from what is known of it, recovers what is missing, and checks that all agree.
    ///
    /// Enough is: modulus, both exponents; or modulus, primes and one of the exponents.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`] when the numbers contradict each other; [`Error::ParameterInvalid`] for
    /// a public exponent that is even, below three or above 33 bits, or when too little is given;
    /// [`Error::KeySize`]; [`Error::Memory`].
    pub fn from_components(
        modulus: &[u8],
        public_exponent: Option<&[u8]>,
        private_exponent: Option<&[u8]>,
        crt: Option<Crt<'_>>,
    ) -> Result<Self, Error> {
        let numbers = components::complete(modulus, public_exponent, private_exponent, crt)?;
        Self::from_key(RsaKey::from_private(&numbers)?)
    }

    /// Every number of the key.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_components(&self) -> Result<RsaComponents, Error> {
        Ok(RsaComponents {
            modulus: self.key.public_part(Part::Modulus)?,
            public_exponent: self.key.public_part(Part::PublicExponent)?,
            private_exponent: self.key.secret_part(Part::PrivateExponent)?,
            prime_1: self.key.secret_part(Part::Prime1)?,
            prime_2: self.key.secret_part(Part::Prime2)?,
            exponent_1: self.key.secret_part(Part::Exponent1)?,
            exponent_2: self.key.secret_part(Part::Exponent2)?,
            coefficient: self.key.secret_part(Part::Coefficient)?,
        })
    }

    /// Parses a PKCS #8 encoding; bytes behind it are refused.
    ///
    /// # Errors
    /// [`Error::KeyMalformed`]; [`Error::KeySize`]; [`Error::Unsupported`] when it is another kind of
    /// key; [`Error::Memory`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        match pkcs8::content_of(der)? {
            Content::Rsa(key) => Self::from_key(key),
            Content::Dsa(_) | Content::Ec(_) | Content::Ed25519(_) | Content::X25519(_) => {
                Err(Error::Unsupported)
            }
        }
    }

    /// The PKCS #8 encoding.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        PKey::from_rsa(&self.key)?.to_private_der()
    }

    pub(crate) fn from_key(key: RsaKey) -> Result<Self, Error> {
        // AWS-LC also reads keys without public exponent, which can be neither blinded nor checked.
        if !key.is_complete() {
            return Err(Error::KeyMalformed);
        }
        if !(BITS_MIN..=BITS_MAX).contains(&key.bits()) {
            return Err(Error::KeySize);
        }
        let modulus = key.public_part(Part::Modulus)?;
        Ok(Self { key, modulus })
    }

    /// The public half.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn public(&self) -> Result<RsaPublicKey, Error> {
        RsaPublicKey::from_components(&self.modulus, &self.key.public_part(Part::PublicExponent)?)
    }

    /// How many bytes the modulus has, and with it every signature and ciphertext.
    #[must_use]
    pub fn modulus_bytes(&self) -> usize {
        self.modulus.len()
    }

    /// How many bits the modulus has.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.key.bits()
    }

    /// RSASP1: the bare private operation, over data that is padded with zeros on the left.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the data is longer than the modulus; [`Error::DataInvalid`] when it
    /// is not smaller; [`Error::Memory`].
    pub fn sign_raw(&self, data: &[u8]) -> Result<Vec<u8>, Error> {
        let padded = left_padded(data, &self.modulus)?;
        let mut signature = vec![0; self.modulus_bytes()];
        padded.with(|padded| self.private_operation(padded, &mut signature))?;
        Ok(signature)
    }

    /// RSASSA-PKCS1-v1_5 over data that is taken as it is, without a DigestInfo.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the data leaves less than eleven bytes; [`Error::Memory`].
    pub fn sign_pkcs1(&self, data: &[u8]) -> Result<Vec<u8>, Error> {
        accept_pkcs1_length(data.len(), self.modulus_bytes())?;
        let mut signature = vec![0; self.modulus_bytes()];
        self.key.sign_raw(Padding::Pkcs1, data, &mut signature)?;
        Ok(signature)
    }

    /// RSASSA-PKCS1-v1_5 over a digest.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the digest is not one of this hash; [`Error::Memory`].
    pub fn sign_pkcs1_digest(&self, hash: Hash, digest: &[u8]) -> Result<Vec<u8>, Error> {
        accept_digest_length(hash, digest)?;
        let mut signature = vec![0; self.modulus_bytes()];
        self.key.sign_digest(hash, digest, &mut signature)?;
        Ok(signature)
    }

    /// RSASSA-PSS over a digest; the hash of the mask may be another.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the digest is not one of this hash; [`Error::ParameterInvalid`] when
    /// the modulus has no room for hash and salt; [`Error::Memory`].
    pub fn sign_pss(
        &self,
        hash: Hash,
        mask_hash: Hash,
        salt_bytes: usize,
        digest: &[u8],
    ) -> Result<Vec<u8>, Error> {
        accept_digest_length(hash, digest)?;
        let scheme = pss_scheme(hash, mask_hash, salt_bytes, self.bits())?;
        let mut signature = vec![0; self.modulus_bytes()];
        self.key.sign_pss(scheme, digest, &mut signature)?;
        Ok(signature)
    }

    /// RSADP: the bare private operation; appends as many bytes as the modulus has.
    ///
    /// # Errors
    /// [`Error::DataLength`] unless the ciphertext is as long as the modulus; [`Error::DataInvalid`]
    /// when it is not smaller; [`Error::Memory`].
    pub fn decrypt_raw(&self, ciphertext: &[u8], out: &mut SecretVec) -> Result<(), Error> {
        self.accept_ciphertext_length(ciphertext)?;
        if ciphertext >= self.modulus.as_slice() {
            return Err(Error::DataInvalid);
        }
        appended(out, self.modulus_bytes(), |produced| {
            self.private_operation(ciphertext, produced)?;
            Ok(produced.len())
        })
    }

    /// RSAES-PKCS1-v1_5; appends the message.
    ///
    /// Whoever learns whether this fails can decrypt, by asking often (Bleichenbacher): the answer must
    /// not travel to strangers.
    ///
    /// # Errors
    /// [`Error::DataLength`] unless the ciphertext is as long as the modulus; [`Error::DataInvalid`]
    /// for everything else; [`Error::Memory`].
    pub fn decrypt_pkcs1(&self, ciphertext: &[u8], out: &mut SecretVec) -> Result<(), Error> {
        self.accept_ciphertext_length(ciphertext)?;
        appended(out, self.modulus_bytes(), |produced| {
            self.key.decrypt(Padding::Pkcs1, ciphertext, produced)
        })
    }

    /// RSAES-OAEP; appends the message. The hash of the mask may be another.
    ///
    /// # Errors
    /// [`Error::DataLength`] unless the ciphertext is as long as the modulus;
    /// [`Error::ParameterInvalid`] when the modulus has no room for the hash; [`Error::DataInvalid`]
    /// for everything else; [`Error::Memory`].
    pub fn decrypt_oaep(
        &self,
        hash: Hash,
        mask_hash: Hash,
        label: &[u8],
        ciphertext: &[u8],
        out: &mut SecretVec,
    ) -> Result<(), Error> {
        oaep_room(hash, self.modulus_bytes())?;
        self.accept_ciphertext_length(ciphertext)?;
        let scheme = OaepScheme {
            hash,
            mask_hash,
            label,
        };
        appended(out, self.modulus_bytes(), |produced| {
            oaep::decrypt(&self.key, scheme, ciphertext, produced)
        })
    }

    /// The private operation on a number below the modulus.
    fn private_operation(&self, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        // AWS-LC refuses 0, 1 and n − 1, which any odd exponent maps to themselves; the bare operation
        // of RFC 8017, 5.1.2 and 5.2.1 is defined for them.
        if is_fixed_point(input, &self.modulus) {
            out.copy_from_slice(input);
            return Ok(());
        }
        self.key.sign_raw(Padding::None, input, out)
    }

    fn accept_ciphertext_length(&self, ciphertext: &[u8]) -> Result<(), Error> {
        if ciphertext.len() == self.modulus_bytes() {
            Ok(())
        } else {
            Err(Error::DataLength)
        }
    }
}

impl fmt::Debug for RsaPrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RsaPrivateKey({} bits)", self.bits())
    }
}

/// A public key, shared between threads.
pub struct RsaPublicKey {
    key: RsaKey,
    /// Big-endian, as long as the modulus is.
    modulus: Vec<u8>,
}

impl RsaPublicKey {
    /// Makes a key from its two numbers.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::ParameterInvalid`] for a public exponent that is even, below three
    /// or above 33 bits; [`Error::KeyMalformed`] for an even modulus; [`Error::Memory`].
    pub fn from_components(modulus: &[u8], public_exponent: &[u8]) -> Result<Self, Error> {
        let public_exponent = components::public_exponent(public_exponent)?;
        let modulus = components::bounded(modulus)?;
        Self::accept_size(modulus.bits())?;
        let key = RsaKey::from_public(&modulus, &public_exponent)?;
        let modulus = key.public_part(Part::Modulus)?;
        Ok(Self { key, modulus })
    }

    fn accept_size(bits: usize) -> Result<(), Error> {
        if (BITS_MIN..=BITS_MAX).contains(&bits) {
            Ok(())
        } else {
            Err(Error::KeySize)
        }
    }

    /// The SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_spki_der(&self) -> Result<Vec<u8>, Error> {
        PKey::from_rsa(&self.key)?.to_public_der()
    }

    /// The modulus, big-endian.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public exponent, big-endian.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn public_exponent(&self) -> Result<Vec<u8>, Error> {
        self.key.public_part(Part::PublicExponent)
    }

    /// How many bytes the modulus has, and with it every signature and ciphertext.
    #[must_use]
    pub fn modulus_bytes(&self) -> usize {
        self.modulus.len()
    }

    /// How many bits the modulus has.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.key.bits()
    }

    /// RSAVP1: what the bare public operation makes of a signature, as long as the modulus.
    ///
    /// # Errors
    /// [`Error::SignatureLength`]; [`Error::SignatureInvalid`] when the signature is not below the
    /// modulus; [`Error::Memory`].
    pub fn recover_raw(&self, signature: &[u8]) -> Result<Vec<u8>, Error> {
        self.accept_signature_length(signature)?;
        let mut recovered = vec![0; self.modulus_bytes()];
        self.key
            .verify_raw(Padding::None, signature, &mut recovered)?;
        Ok(recovered)
    }

    /// Verifies a bare signature over data that is padded with zeros on the left.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`]; [`Error::SignatureLength`]; [`Error::DataLength`];
    /// [`Error::DataInvalid`]; [`Error::Memory`].
    pub fn verify_raw(&self, data: &[u8], signature: &[u8]) -> Result<(), Error> {
        let padded = left_padded(data, &self.modulus)?;
        let recovered = self.recover_raw(signature)?;
        if padded.equals_in_constant_time(&recovered) {
            Ok(())
        } else {
            Err(Error::SignatureInvalid)
        }
    }

    /// Verifies RSASSA-PKCS1-v1_5 over data without a DigestInfo.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`]; [`Error::SignatureLength`]; [`Error::DataLength`];
    /// [`Error::Memory`].
    pub fn verify_pkcs1(&self, data: &[u8], signature: &[u8]) -> Result<(), Error> {
        accept_pkcs1_length(data.len(), self.modulus_bytes())?;
        self.accept_signature_length(signature)?;
        let mut recovered = vec![0; self.modulus_bytes()];
        let length = self
            .key
            .verify_raw(Padding::Pkcs1, signature, &mut recovered)?;
        if recovered.get(..length) == Some(data) {
            Ok(())
        } else {
            Err(Error::SignatureInvalid)
        }
    }

    /// RSASSA-PKCS1-v1_5 with recovery: appends what was signed.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`]; [`Error::SignatureLength`]; [`Error::Memory`].
    pub fn recover_pkcs1(&self, signature: &[u8], out: &mut SecretVec) -> Result<(), Error> {
        self.accept_signature_length(signature)?;
        appended(out, self.modulus_bytes(), |produced| {
            self.key.verify_raw(Padding::Pkcs1, signature, produced)
        })
    }

    /// Verifies RSASSA-PKCS1-v1_5 over a digest.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`]; [`Error::SignatureLength`]; [`Error::DataLength`];
    /// [`Error::Memory`].
    pub fn verify_pkcs1_digest(
        &self,
        hash: Hash,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        accept_digest_length(hash, digest)?;
        self.accept_signature_length(signature)?;
        self.key.verify_digest(hash, digest, signature)
    }

    /// Verifies RSASSA-PSS over a digest; the salt must have exactly this length.
    ///
    /// # Errors
    /// [`Error::SignatureInvalid`]; [`Error::SignatureLength`]; [`Error::DataLength`];
    /// [`Error::ParameterInvalid`]; [`Error::Memory`].
    pub fn verify_pss(
        &self,
        hash: Hash,
        mask_hash: Hash,
        salt_bytes: usize,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        accept_digest_length(hash, digest)?;
        let scheme = pss_scheme(hash, mask_hash, salt_bytes, self.bits())?;
        self.accept_signature_length(signature)?;
        self.key.verify_pss(scheme, digest, signature)
    }

    /// RSAEP: the bare public operation, over data that is padded with zeros on the left.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the data is longer than the modulus; [`Error::DataInvalid`] when it
    /// is not smaller; [`Error::Memory`].
    pub fn encrypt_raw(&self, data: &[u8]) -> Result<Vec<u8>, Error> {
        let padded = left_padded(data, &self.modulus)?;
        let mut ciphertext = vec![0; self.modulus_bytes()];
        padded.with(|padded| self.key.encrypt(Padding::None, padded, &mut ciphertext))?;
        Ok(ciphertext)
    }

    /// RSAES-PKCS1-v1_5.
    ///
    /// # Errors
    /// [`Error::DataLength`] when the data leaves less than eleven bytes; [`Error::Memory`].
    pub fn encrypt_pkcs1(&self, data: &[u8]) -> Result<Vec<u8>, Error> {
        accept_pkcs1_length(data.len(), self.modulus_bytes())?;
        let mut ciphertext = vec![0; self.modulus_bytes()];
        self.key.encrypt(Padding::Pkcs1, data, &mut ciphertext)?;
        Ok(ciphertext)
    }

    /// RSAES-OAEP; the hash of the mask may be another.
    ///
    /// # Errors
    /// [`Error::ParameterInvalid`] when the modulus has no room for the hash; [`Error::DataLength`]
    /// when it has none for the data; [`Error::Memory`].
    pub fn encrypt_oaep(
        &self,
        hash: Hash,
        mask_hash: Hash,
        label: &[u8],
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        if data.len() > oaep_room(hash, self.modulus_bytes())? {
            return Err(Error::DataLength);
        }
        let mut ciphertext = vec![0; self.modulus_bytes()];
        let scheme = OaepScheme {
            hash,
            mask_hash,
            label,
        };
        let written = oaep::encrypt(&self.key, scheme, data, &mut ciphertext)?;
        if written == ciphertext.len() {
            Ok(ciphertext)
        } else {
            Err(Error::Internal)
        }
    }

    fn accept_signature_length(&self, signature: &[u8]) -> Result<(), Error> {
        if signature.len() == self.modulus_bytes() {
            Ok(())
        } else {
            Err(Error::SignatureLength)
        }
    }
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RsaPublicKey({} bits)", self.bits())
    }
}

/// Pads with zeros to the length of the modulus; the number must be below the modulus.
fn left_padded(data: &[u8], modulus: &[u8]) -> Result<SecretBytes, Error> {
    let zeros = modulus
        .len()
        .checked_sub(data.len())
        .ok_or(Error::DataLength)?;
    SecretBytes::filled_by(modulus.len(), |bytes| {
        bytes[zeros..].copy_from_slice(data);
        if *bytes < *modulus {
            Ok(())
        } else {
            Err(Error::DataInvalid)
        }
    })
}

fn is_fixed_point(input: &[u8], modulus: &[u8]) -> bool {
    let (Some((last, front)), Some((modulus_last, modulus_front))) =
        (input.split_last(), modulus.split_last())
    else {
        return false;
    };
    let small = *last <= 1 && front.iter().all(|byte| *byte == 0);
    // The modulus is odd, so n − 1 differs from it in the last bit only.
    small || (front == modulus_front && *last == modulus_last & !1)
}

fn accept_pkcs1_length(data_bytes: usize, modulus_bytes: usize) -> Result<(), Error> {
    // RFC 8017, 7.2.1 and 9.2: three fixed bytes and at least eight of padding.
    if data_bytes + 11 <= modulus_bytes {
        Ok(())
    } else {
        Err(Error::DataLength)
    }
}

fn accept_digest_length(hash: Hash, digest: &[u8]) -> Result<(), Error> {
    if digest.len() == hash.output_bytes() {
        Ok(())
    } else {
        Err(Error::DataLength)
    }
}

fn pss_scheme(
    hash: Hash,
    mask_hash: Hash,
    salt_bytes: usize,
    bits: usize,
) -> Result<PssScheme, Error> {
    // RFC 8017, 9.1.1, step 3: emLen ≥ hLen + sLen + 2, where emLen counts the bits but one.
    let encoded_bytes = (bits - 1).div_ceil(8);
    let room = encoded_bytes
        .checked_sub(hash.output_bytes() + 2)
        .ok_or(Error::ParameterInvalid)?;
    if salt_bytes > room {
        return Err(Error::ParameterInvalid);
    }
    let salt_bytes = i32::try_from(salt_bytes).map_err(|_| Error::ParameterInvalid)?;
    Ok(PssScheme {
        hash,
        mask_hash,
        salt_bytes,
    })
}

/// How long a message OAEP can take.
fn oaep_room(hash: Hash, modulus_bytes: usize) -> Result<usize, Error> {
    // RFC 8017, 7.1.1, step 1b: mLen ≤ k − 2hLen − 2.
    modulus_bytes
        .checked_sub(2 * hash.output_bytes() + 2)
        .ok_or(Error::ParameterInvalid)
}
