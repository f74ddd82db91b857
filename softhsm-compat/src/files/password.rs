//! What a password opens.
//!
//! What lives here: encryption under a password (RFC 8018 PBES2, and RFC 7292, C), and the proof that a PKCS #12 file is whole (RFC 7292, B).
//! What must never live here: where a password comes from.
//! Who calls it: the PEM and PKCS #12 readers.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit, KeyInit};
use pkcs5::der::Decode;
use pkcs5::pbes2::Kdf;
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::mac::{HmacKey, equal_in_constant_time};
use strongroom_keymem::SecretVec;

use super::ber::{self, Element};
use super::error::FileError;

/// A password.
pub struct Password {
    typed: SecretVec,
    /// As PKCS #12 has it: UTF-16 with two zero bytes at the end (RFC 7292, B.1); none when it is no text.
    wide: Option<SecretVec>,
}

impl Password {
    /// A password as it was typed, in UTF-8.
    ///
    /// # Errors
    /// [`FileError::Resources`].
    pub fn new(typed: &[u8]) -> Result<Self, FileError> {
        let mut copy = SecretVec::with_capacity(typed.len())?;
        copy.push_slice(typed)?;
        let wide = match std::str::from_utf8(typed) {
            Ok(text) => Some(wide(text)?),
            Err(_) => None,
        };
        Ok(Self { typed: copy, wide })
    }

    /// Its forms: as most programs take it, and as old NSS takes it even where it should not.
    fn forms(&self) -> impl Iterator<Item = &[u8]> {
        let wide = self.wide.as_ref().map(SecretVec::expose);
        std::iter::once(self.typed.expose()).chain(wide)
    }
}

fn wide(text: &str) -> Result<SecretVec, FileError> {
    let mut wide = SecretVec::with_capacity(2 * text.len() + 2)?;
    for unit in text.encode_utf16() {
        wide.push_slice(&unit.to_be_bytes())?;
    }
    wide.push_slice(&[0, 0])?;
    Ok(wide)
}

/// Opens what was encrypted as an `AlgorithmIdentifier` says.
///
/// # Errors
/// [`FileError`].
pub fn decrypted(
    algorithm: Element<'_>,
    encrypted: &[u8],
    password: &Password,
) -> Result<SecretVec, FileError> {
    let (name, parameters) =
        super::key::algorithm_identifier(&mut ber::Reader::of(algorithm.whole))?;
    match (name.content, parameters) {
        (PBES2, _) => pbes2(algorithm, encrypted, password),
        (other, Some(parameters)) => match other.strip_prefix(PKCS12_PBE) {
            Some([kind @ (3..=6)]) => pkcs12_pbe(*kind, parameters, encrypted, password),
            _ => Err(unknown(other)),
        },
        (other, None) => Err(unknown(other)),
    }
}

fn pbes2(
    algorithm: Element<'_>,
    encrypted: &[u8],
    password: &Password,
) -> Result<SecretVec, FileError> {
    let scheme = pkcs5::EncryptionScheme::from_der(algorithm.whole).map_err(|_| {
        FileError::Unsupported(format!(
            "it is encrypted in a way that is not known here; {CONVERT}"
        ))
    })?;
    if let Some(parameters) = scheme.pbes2() {
        let costs_too_much = match &parameters.kdf {
            Kdf::Pbkdf2(kdf) => kdf.iteration_count > ITERATIONS_MAX,
            Kdf::Scrypt(kdf) => {
                let cost: u64 = kdf.cost_parameter;
                let memory = cost.saturating_mul(128 * u64::from(kdf.block_size));
                memory > SCRYPT_BYTES_MAX || kdf.parallelization > SCRYPT_LANES_MAX
            }
            _ => true,
        };
        if costs_too_much {
            return Err(COSTLY);
        }
    }
    let mut result = Err(FileError::Password);
    for form in password.forms() {
        let mut buffer = copied(encrypted)?;
        match scheme
            .decrypt_in_place(form, buffer.expose_mut())
            .map(<[u8]>::len)
        {
            Ok(length) => {
                buffer.truncate(length);
                // A wrong password passes the padding once in 256 times, and gives no sequence.
                if buffer.expose().first() == Some(&ber::SEQUENCE) {
                    return Ok(buffer);
                }
            }
            Err(pkcs5::Error::DecryptFailed) => {}
            Err(pkcs5::Error::UnsupportedAlgorithm { oid }) => {
                result = Err(FileError::Unsupported(format!(
                    "it is encrypted with {oid}, which is not known here; {CONVERT}"
                )));
            }
            Err(_) => result = Err(FileError::Malformed("the parameters of its encryption")),
        }
    }
    result
}

/// RFC 7292, C: a key and an initialisation vector from the password, and an old cipher.
fn pkcs12_pbe(
    kind: u8,
    parameters: Element<'_>,
    encrypted: &[u8],
    password: &Password,
) -> Result<SecretVec, FileError> {
    let wide = password.wide.as_ref().ok_or(FileError::Password)?;
    let mut parts = parameters.elements();
    let salt = parts.octets("an encryption has no salt")?;
    let rounds = rounds(parts.expect(ber::INTEGER, "an encryption has no count")?)?;
    let key_bytes = match kind {
        THREE_KEYS => 24,
        TWO_KEYS | RC2_128 => 16,
        _ => 5,
    };
    for wide in [wide.expose(), &[]] {
        let derive = |purpose, bytes| derived(Hash::Sha1, purpose, wide, &salt, rounds, bytes);
        let (key, iv) = (derive(KEY, key_bytes)?, derive(IV, 8)?);
        let mut buffer = copied(encrypted)?;
        let length = match kind {
            THREE_KEYS => unpadded(
                des::TdesEde3::new_from_slice(key.expose()),
                &iv,
                &mut buffer,
            ),
            TWO_KEYS => unpadded(
                des::TdesEde2::new_from_slice(key.expose()),
                &iv,
                &mut buffer,
            ),
            _ => {
                let cipher = rc2::Rc2::new_with_eff_key_len(key.expose(), key_bytes * 8);
                unpadded(Ok::<_, ()>(cipher), &iv, &mut buffer)
            }
        };
        if let Some(length) = length {
            buffer.truncate(length);
            if buffer.expose().first() == Some(&ber::SEQUENCE) {
                return Ok(buffer);
            }
        }
        // An empty password is two zero bytes for some writers and none for others.
        if wide.len() > 2 {
            break;
        }
    }
    Err(FileError::Password)
}

fn unpadded<C: BlockCipherDecrypt, E>(
    cipher: Result<C, E>,
    iv: &SecretVec,
    buffer: &mut SecretVec,
) -> Option<usize> {
    let decryptor = cbc::Decryptor::inner_iv_slice_init(cipher.ok()?, iv.expose()).ok()?;
    let plain = decryptor
        .decrypt_padded::<Pkcs7>(buffer.expose_mut())
        .ok()?;
    Some(plain.len())
}

/// Whether a MAC of RFC 7292 was made over these bytes with this password.
///
/// # Errors
/// [`FileError`].
pub fn is_whole(
    hash: Hash,
    salt: &[u8],
    count: Element<'_>,
    bytes: &[u8],
    expected: &[u8],
    password: &Password,
) -> Result<bool, FileError> {
    let Some(wide) = &password.wide else {
        return Ok(false);
    };
    let rounds = rounds(count)?;
    for wide in [wide.expose(), &[]] {
        let key = derived(hash, MAC, wide, salt, rounds, hash.output_bytes())?;
        if equal_in_constant_time(hmac(hash, key.expose(), bytes)?.as_ref(), expected) {
            return Ok(true);
        }
        if wide.len() > 2 {
            break;
        }
    }
    Ok(false)
}

fn hmac(hash: Hash, key: &[u8], bytes: &[u8]) -> Result<impl AsRef<[u8]>, FileError> {
    let resources = |_| FileError::Resources;
    let mut mac = HmacKey::new(hash, key)
        .and_then(|key| key.start())
        .map_err(resources)?;
    mac.update(bytes).map_err(resources)?;
    mac.finish().map_err(resources)
}

fn rounds(count: Element<'_>) -> Result<u32, FileError> {
    match count.small_integer()? {
        0 => Err(FileError::Malformed("the count of an encryption is zero")),
        count if count > ITERATIONS_MAX => Err(COSTLY),
        count => Ok(count),
    }
}

/// RFC 7292, B.2.
fn derived(
    hash: Hash,
    purpose: u8,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    bytes: usize,
) -> Result<SecretVec, FileError> {
    let resources = |_| FileError::Resources;
    // Only the kinds of FIPS 180-4 come here: those of 64-bit words have blocks of 128 bytes.
    let has_wide_words = matches!(hash, Hash::Sha384 | Hash::Sha512);
    let block = if has_wide_words { 128 } else { 64 };
    let mut input = SecretVec::with_capacity(4 * block)?;
    input.push_slice(&vec![purpose; block])?;
    for part in [salt, password] {
        push_repeated(part, part.len().next_multiple_of(block), &mut input)?;
    }
    let mut out = SecretVec::with_capacity(bytes + hash.output_bytes())?;
    loop {
        let mut value = digest(hash, input.expose()).map_err(resources)?;
        for _ in 1..rounds {
            value = digest(hash, value.as_ref()).map_err(resources)?;
        }
        out.push_slice(value.as_ref())?;
        if out.len() >= bytes {
            out.truncate(bytes);
            return Ok(out);
        }
        let mut addend = SecretVec::with_capacity(block)?;
        push_repeated(value.as_ref(), block, &mut addend)?;
        let (_, blocks) = input.expose_mut().split_at_mut(block);
        for block in blocks.chunks_mut(block) {
            add_and_one(block, addend.expose());
        }
    }
}

fn push_repeated(part: &[u8], bytes: usize, out: &mut SecretVec) -> Result<(), FileError> {
    let mut left = bytes;
    while left > 0 {
        let piece = part.get(..left.min(part.len())).unwrap_or_default();
        out.push_slice(piece)?;
        left -= piece.len();
    }
    Ok(())
}

/// block = block + addend + 1, as big-endian numbers of the same length, without the carry out of the first byte.
fn add_and_one(block: &mut [u8], addend: &[u8]) {
    let mut carry = 1_u16;
    for (byte, other) in block.iter_mut().rev().zip(addend.iter().rev()) {
        carry += u16::from(*byte) + u16::from(*other);
        [_, *byte] = carry.to_be_bytes();
        carry >>= 8;
    }
}

fn copied(bytes: &[u8]) -> Result<SecretVec, FileError> {
    let mut copy = SecretVec::with_capacity(bytes.len())?;
    copy.push_slice(bytes)?;
    Ok(copy)
}

fn unknown(algorithm: &[u8]) -> FileError {
    FileError::Unsupported(format!(
        "it is encrypted in an old way ({}) that is not opened here; {CONVERT}",
        ber::identifier(algorithm)
    ))
}

/// What to do with a file that is encrypted in another way.
const CONVERT: &str = "OpenSSL converts it: for PEM, openssl pkcs8 -in OLD -topk8 -v2 aes-256-cbc -out NEW; for PKCS #12, \
                       openssl pkcs12 -legacy -in OLD -out ALL.pem, then openssl pkcs12 -export -in ALL.pem -out NEW";

/// So many rounds take some seconds; files in use have up to a million.
const ITERATIONS_MAX: u32 = 20_000_000;
/// Memory that scrypt may take: files in use take 16 MiB.
const SCRYPT_BYTES_MAX: u64 = 256 << 20;
const SCRYPT_LANES_MAX: u16 = 16;
const COSTLY: FileError =
    FileError::Malformed("its encryption asks for more work than any honest writer does");

/// 1.2.840.113549.1.5.13.
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
/// 1.2.840.113549.1.12.1: the kinds follow. 1 and 2 are RC4, which nobody wrote by default.
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];
const THREE_KEYS: u8 = 3;
const TWO_KEYS: u8 = 4;
const RC2_128: u8 = 5;

/// RFC 7292, B.3: what is derived.
const KEY: u8 = 1;
const IV: u8 = 2;
const MAC: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with OpenSSL: `openssl kdf -keylen 24 -kdfopt digest:SHA1 -kdfopt hexpass:0073006d006500670000 -kdfopt
    /// hexsalt:0a58cf64530d823f -kdfopt iter:1 -kdfopt id:1 PKCS12KDF`. The same values stand in the tests of many libraries.
    #[test]
    fn keys_are_derived_as_others_derive_them() {
        crate::unlock::prepare().ok();
        let password = wide("smeg").unwrap();
        let salt = [0x0a, 0x58, 0xcf, 0x64, 0x53, 0x0d, 0x82, 0x3f];
        let key = derived(Hash::Sha1, KEY, password.expose(), &salt, 1, 24).unwrap();
        assert_eq!(
            strongroom_crypto::hex::shown(key.expose()),
            "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3"
        );
        let iv = derived(Hash::Sha1, IV, password.expose(), &salt, 1, 8).unwrap();
        assert_eq!(
            strongroom_crypto::hex::shown(iv.expose()),
            "79993dfe048d3b76"
        );
    }

    /// Two blocks and a thousand rounds, computed in the same way.
    #[test]
    fn long_keys_are_derived_as_others_derive_them() {
        crate::unlock::prepare().ok();
        let password = wide("smeg").unwrap();
        let salt = [0x0a, 0x58, 0xcf, 0x64, 0x53, 0x0d, 0x82, 0x3f];
        let long = derived(Hash::Sha1, MAC, password.expose(), &salt, 1000, 48).unwrap();
        assert_eq!(
            strongroom_crypto::hex::shown(long.expose()),
            "eeda645443827451e9753694f90ee9b9cf9248ff87283bb5332e99912f2089fb3230b532e7772bc6b48847ba3fabab80"
        );
    }

    #[test]
    fn carries_run_through() {
        let mut block = [0xff, 0xff, 0xff];
        add_and_one(&mut block, &[0, 0, 0]);
        assert_eq!(block, [0, 0, 0]);
        let mut block = [0x01, 0xfe, 0x00];
        add_and_one(&mut block, &[0x00, 0x01, 0xff]);
        assert_eq!(block, [0x02, 0x00, 0x00]);
    }
}
