//! RSA by the book: numbers from `num-bigint`, paddings of RFC 8017 written out, any hash with any mask.
//!
//! What lives here: keys, PKCS#1 v1.5, PSS and OAEP, all for tests: nothing here is constant-time.
//! What must never live here: keys of the module.
//! Who calls it: the tests of RSA and of wrapping.

use cryptoki_sys::*;
use num_bigint::BigUint;

use super::der;
use super::hash::Hash;
use crate::template;
use crate::template::Template;

/// A public key.
#[derive(Clone, Debug)]
pub struct RsaPublic {
    modulus: BigUint,
    exponent: BigUint,
}

/// A private key with everything PKCS#1 keeps, big-endian without leading zeros.
#[derive(Clone, Debug)]
pub struct RsaPrivate {
    /// Modulus, both exponents, primes, exponents of the primes, coefficient.
    pub numbers: [Vec<u8>; 8],
}

impl RsaPublic {
    /// From big-endian numbers.
    #[must_use]
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Self {
        Self {
            modulus: BigUint::from_bytes_be(modulus),
            exponent: BigUint::from_bytes_be(exponent),
        }
    }

    /// Bytes of the modulus.
    #[must_use]
    pub fn length(&self) -> usize {
        (self.modulus.bits() as usize).div_ceil(8)
    }

    /// Bits of the modulus.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.modulus.bits() as usize
    }

    /// The public operation on `input`, as long as the modulus.
    #[must_use]
    pub fn raw(&self, input: &[u8]) -> Vec<u8> {
        let number = BigUint::from_bytes_be(input).modpow(&self.exponent, &self.modulus);
        padded(&number, self.length())
    }

    /// Whether `signature` is PKCS#1 v1.5 over `content` (a `DigestInfo`, or any bytes).
    #[must_use]
    pub fn pkcs1_is_good(&self, content: &[u8], signature: &[u8]) -> bool {
        let Some(fill) = self.length().checked_sub(content.len() + 3) else {
            return false;
        };
        let expected = [&[0, 1], vec![0xff; fill].as_slice(), &[0], content].concat();
        signature.len() == self.length() && self.raw(signature) == expected
    }

    /// Whether `signature` is a PSS of RFC 8017, 9.1.2, over the digest, with a salt of exactly this length.
    #[must_use]
    pub fn pss_is_good(
        &self,
        hash: Hash,
        mask: Hash,
        salt_length: usize,
        digest: &[u8],
        signature: &[u8],
    ) -> bool {
        let bits = self.bits() - 1;
        let length = bits.div_ceil(8);
        let encoded = self.raw(signature);
        let encoded = &encoded[encoded.len() - length..];
        let (masked, tail) = encoded.split_at(length - hash.length() - 1);
        if tail[hash.length()] != 0xbc || digest.len() != hash.length() {
            return false;
        }
        let seed = &tail[..hash.length()];
        let mut block: Vec<u8> = masked
            .iter()
            .zip(mask.mgf1(seed, masked.len()))
            .map(|(left, right)| left ^ right)
            .collect();
        block[0] &= 0xff >> (8 * length - bits);
        let Some(zeros) = block.len().checked_sub(salt_length + 1) else {
            return false;
        };
        let well_formed = block[..zeros].iter().all(|byte| *byte == 0) && block[zeros] == 1;
        let again = hash.of(&[&[0; 8], digest, &block[zeros + 1..]].concat());
        well_formed && again == seed
    }

    /// PKCS#1 v1.5 encryption; the padding comes from `seed`.
    #[must_use]
    pub fn pkcs1_encrypt(&self, message: &[u8], seed: u64) -> Vec<u8> {
        let fill: Vec<u8> = crate::pattern(seed, self.length() - message.len() - 3)
            .into_iter()
            .map(|byte| byte.max(1))
            .collect();
        self.raw(&[&[0, 2], fill.as_slice(), &[0], message].concat())
    }

    /// OAEP encryption of RFC 8017, 7.1.1; the seed comes from `seed`.
    #[must_use]
    pub fn oaep_encrypt(
        &self,
        hash: Hash,
        mask: Hash,
        label: &[u8],
        message: &[u8],
        seed: u64,
    ) -> Vec<u8> {
        let room = self.length() - hash.length() - 1;
        let zeros = vec![0; room - hash.length() - 1 - message.len()];
        let block = [hash.of(label).as_slice(), &zeros, &[1], message].concat();
        let seed = crate::pattern(seed, hash.length());
        let masked_block = xor(&block, &mask.mgf1(&seed, room));
        let masked_seed = xor(&seed, &mask.mgf1(&masked_block, hash.length()));
        self.raw(&[&[0], masked_seed.as_slice(), &masked_block].concat())
    }

    /// The template of this key, without usage.
    #[must_use]
    pub fn template(&self) -> Template {
        template! {
            CKA_CLASS => CKO_PUBLIC_KEY,
            CKA_KEY_TYPE => CKK_RSA,
            CKA_TOKEN => false,
            CKA_PRIVATE => false,
            CKA_MODULUS => self.modulus.to_bytes_be(),
            CKA_PUBLIC_EXPONENT => self.exponent.to_bytes_be(),
        }
    }
}

impl RsaPrivate {
    /// From a PKCS#1 `RSAPrivateKey`.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn from_pkcs1(bytes: &[u8]) -> Self {
        let elements = der::sequence(bytes);
        let numbers: Vec<Vec<u8>> = elements[1..9]
            .iter()
            .map(|(_, content)| der::magnitude(content))
            .collect();
        Self {
            numbers: numbers.try_into().expect("eight numbers"),
        }
    }

    /// The fixed key of the suite of this size: 2048, 3072, 4096 or 8192 bits.
    ///
    /// # Panics
    /// For another size.
    #[must_use]
    pub fn fixed(bits: usize) -> Self {
        Self::from_pkcs1(match bits {
            2048 => include_bytes!("../../data/rsa2048.der"),
            3072 => include_bytes!("../../data/rsa3072.der"),
            4096 => include_bytes!("../../data/rsa4096.der"),
            8192 => include_bytes!("../../data/rsa8192.der"),
            other => panic!("no fixed key of {other} bits"),
        })
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> RsaPublic {
        RsaPublic::new(&self.numbers[0], &self.numbers[1])
    }

    /// The private operation.
    #[must_use]
    pub fn raw(&self, input: &[u8]) -> Vec<u8> {
        let private = RsaPublic::new(&self.numbers[0], &self.numbers[2]);
        private.raw(input)
    }

    /// PKCS#1 v1.5 decryption.
    #[must_use]
    pub fn pkcs1_decrypt(&self, input: &[u8]) -> Option<Vec<u8>> {
        let block = self.raw(input);
        if block[..2] != [0, 2] {
            return None;
        }
        let end = block[2..].iter().position(|byte| *byte == 0)?;
        (end >= 8).then(|| block[end + 3..].to_vec())
    }

    /// OAEP decryption of RFC 8017, 7.1.2.
    #[must_use]
    pub fn oaep_decrypt(
        &self,
        hash: Hash,
        mask: Hash,
        label: &[u8],
        input: &[u8],
    ) -> Option<Vec<u8>> {
        let encoded = self.raw(input);
        let (masked_seed, masked_block) = encoded[1..].split_at(hash.length());
        let seed = xor(masked_seed, &mask.mgf1(masked_block, hash.length()));
        let block = xor(masked_block, &mask.mgf1(&seed, masked_block.len()));
        let (label_hash, rest) = block.split_at(hash.length());
        let one = rest.iter().position(|byte| *byte != 0)?;
        let good = encoded[0] == 0 && label_hash == hash.of(label) && rest[one] == 1;
        good.then(|| rest[one + 1..].to_vec())
    }

    /// The template of this key, without usage.
    #[must_use]
    pub fn template(&self) -> Template {
        let [
            modulus,
            public,
            private,
            prime1,
            prime2,
            exponent1,
            exponent2,
            coefficient,
        ] = &self.numbers;
        template! {
            CKA_CLASS => CKO_PRIVATE_KEY,
            CKA_KEY_TYPE => CKK_RSA,
            CKA_TOKEN => false,
            CKA_PRIVATE => true,
            CKA_MODULUS => modulus,
            CKA_PUBLIC_EXPONENT => public,
            CKA_PRIVATE_EXPONENT => private,
            CKA_PRIME_1 => prime1,
            CKA_PRIME_2 => prime2,
            CKA_EXPONENT_1 => exponent1,
            CKA_EXPONENT_2 => exponent2,
            CKA_COEFFICIENT => coefficient,
        }
    }
}

fn padded(number: &BigUint, length: usize) -> Vec<u8> {
    let digits = number.to_bytes_be();
    let mut bytes = vec![0; length.saturating_sub(digits.len())];
    bytes.extend(digits);
    bytes
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter()
        .zip(right)
        .map(|(left, right)| left ^ right)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_comes_back() {
        let key = RsaPrivate::fixed(2048);
        let sealed = key
            .public()
            .oaep_encrypt(Hash::Sha256, Hash::Sha1, b"label", b"message", 1);
        let opened = key.oaep_decrypt(Hash::Sha256, Hash::Sha1, b"label", &sealed);
        assert_eq!(opened.as_deref(), Some(b"message".as_slice()));
        assert_eq!(
            key.oaep_decrypt(Hash::Sha256, Hash::Sha256, b"label", &sealed),
            None
        );
        let sealed = key.public().pkcs1_encrypt(b"message", 2);
        assert_eq!(
            key.pkcs1_decrypt(&sealed).as_deref(),
            Some(b"message".as_slice())
        );
    }
}
