//! What lives here: message digests, HMAC, CMAC, HKDF and the constant-time comparison.
//!
//! What must never live here: truncation rules of MACs; they belong to the caller.
//!
//! Who calls it: `digest.rs`, `mac.rs`, `kdf.rs`, and `ffi/` files that need the C name of a hash.

use std::ptr;

use aws_lc_sys as lc;

use super::owned::Owned;
use super::{failure, succeeded};
use crate::block::BlockCipher;
use crate::digest::Hash;
use crate::error::Error;

/// The longest output of any hash here.
pub(crate) const DIGEST_BYTES_MAX: usize = 64;

/// The C name of a hash function.
pub(crate) fn message_digest(hash: Hash) -> *const lc::EVP_MD {
    let maker: unsafe extern "C" fn() -> *const lc::EVP_MD = match hash {
        Hash::Md5 => lc::EVP_md5,
        Hash::Sha1 => lc::EVP_sha1,
        Hash::Sha224 => lc::EVP_sha224,
        Hash::Sha256 => lc::EVP_sha256,
        Hash::Sha384 => lc::EVP_sha384,
        Hash::Sha512 => lc::EVP_sha512,
        Hash::Sha512_224 => lc::EVP_sha512_224,
        Hash::Sha512_256 => lc::EVP_sha512_256,
        Hash::Sha3_224 => lc::EVP_sha3_224,
        Hash::Sha3_256 => lc::EVP_sha3_256,
        Hash::Sha3_384 => lc::EVP_sha3_384,
        Hash::Sha3_512 => lc::EVP_sha3_512,
    };
    // SAFETY: each of these takes nothing and answers a pointer to a static table.
    unsafe { maker() }
}

/// The digest of a message in one piece. AWS-LC keeps the state of MD5, SHA-1 and SHA-2 on the stack then, and wipes it; for SHA-3 it has
/// no such function, so a context does it.
pub(crate) fn digest_at_once(
    hash: Hash,
    data: &[u8],
    out: &mut [u8; DIGEST_BYTES_MAX],
) -> Result<(), Error> {
    let function: unsafe extern "C" fn(*const u8, usize, *mut u8) -> *mut u8 = match hash {
        Hash::Md5 => lc::MD5,
        Hash::Sha1 => lc::SHA1,
        Hash::Sha224 => lc::SHA224,
        Hash::Sha256 => lc::SHA256,
        Hash::Sha384 => lc::SHA384,
        Hash::Sha512 => lc::SHA512,
        Hash::Sha512_224 => lc::SHA512_224,
        Hash::Sha512_256 => lc::SHA512_256,
        Hash::Sha3_224 | Hash::Sha3_256 | Hash::Sha3_384 | Hash::Sha3_512 => {
            let mut context = DigestContext::new(hash)?;
            context.update(data)?;
            return context.finish(out);
        }
    };
    // SAFETY: pointer and length describe one readable slice; 64 bytes are enough for the longest of these digests.
    let written = unsafe { function(data.as_ptr(), data.len(), out.as_mut_ptr()) };
    if written.is_null() {
        Err(failure(Error::Internal))
    } else {
        Ok(())
    }
}

/// A running digest.
pub(crate) struct DigestContext(Owned<lc::EVP_MD_CTX>);

impl DigestContext {
    pub(crate) fn new(hash: Hash) -> Result<Self, Error> {
        let mut context = Self::empty()?;
        let kind = message_digest(hash);
        // SAFETY: a live context and a static digest; no engine.
        let answer = unsafe { lc::EVP_DigestInit_ex(context.0.exclusive(), kind, ptr::null_mut()) };
        succeeded(answer, Error::Internal)?;
        Ok(context)
    }

    pub(crate) fn duplicate(&self) -> Result<Self, Error> {
        let mut copy = Self::empty()?;
        // SAFETY: both contexts are live, and the source is only read.
        let answer = unsafe { lc::EVP_MD_CTX_copy_ex(copy.0.exclusive(), self.0.shared()) };
        succeeded(answer, Error::Internal)?;
        Ok(copy)
    }

    pub(crate) fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        // SAFETY: an initialised context; pointer and length describe one readable slice.
        let answer =
            unsafe { lc::EVP_DigestUpdate(self.0.exclusive(), data.as_ptr().cast(), data.len()) };
        succeeded(answer, Error::Internal)
    }

    pub(crate) fn finish(mut self, out: &mut [u8; DIGEST_BYTES_MAX]) -> Result<(), Error> {
        let mut written = 0;
        // SAFETY: an initialised context; 64 bytes are EVP_MAX_MD_SIZE.
        let answer = unsafe {
            lc::EVP_DigestFinal_ex(self.0.exclusive(), out.as_mut_ptr(), &raw mut written)
        };
        succeeded(answer, Error::Internal)
    }

    fn empty() -> Result<Self, Error> {
        // SAFETY: no argument.
        let pointer = unsafe { lc::EVP_MD_CTX_new() };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }
}

/// An HMAC with its key absorbed.
pub(crate) struct HmacContext(Owned<lc::HMAC_CTX>);

impl HmacContext {
    pub(crate) fn new(hash: Hash, key: &[u8]) -> Result<Self, Error> {
        let mut context = Self::empty()?;
        let kind = message_digest(hash);
        // SAFETY: a live context, a readable key (never null, which would mean "the old key"), no engine.
        let answer = unsafe {
            lc::HMAC_Init_ex(
                context.0.exclusive(),
                key.as_ptr().cast(),
                key.len(),
                kind,
                ptr::null_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        Ok(context)
    }

    pub(crate) fn duplicate(&self) -> Result<Self, Error> {
        let mut copy = Self::empty()?;
        // SAFETY: both contexts are live, and the source is only read.
        let answer = unsafe { lc::HMAC_CTX_copy_ex(copy.0.exclusive(), self.0.shared()) };
        succeeded(answer, Error::Internal)?;
        Ok(copy)
    }

    pub(crate) fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        // SAFETY: an initialised context; pointer and length describe one readable slice.
        let answer = unsafe { lc::HMAC_Update(self.0.exclusive(), data.as_ptr(), data.len()) };
        succeeded(answer, Error::Internal)
    }

    pub(crate) fn finish(mut self, out: &mut [u8; DIGEST_BYTES_MAX]) -> Result<(), Error> {
        let mut written = 0;
        // SAFETY: an initialised context; 64 bytes are EVP_MAX_MD_SIZE.
        let answer =
            unsafe { lc::HMAC_Final(self.0.exclusive(), out.as_mut_ptr(), &raw mut written) };
        succeeded(answer, Error::Internal)
    }

    fn empty() -> Result<Self, Error> {
        // SAFETY: no argument.
        let pointer = unsafe { lc::HMAC_CTX_new() };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }
}

/// A CMAC with its key absorbed.
pub(crate) struct CmacContext(Owned<lc::CMAC_CTX>);

impl CmacContext {
    /// For DES the key has the length of three.
    pub(crate) fn new(cipher: BlockCipher, key: &[u8]) -> Result<Self, Error> {
        let maker: unsafe extern "C" fn() -> *const lc::EVP_CIPHER = match (cipher, key.len()) {
            (BlockCipher::Aes, 16) => lc::EVP_aes_128_cbc,
            (BlockCipher::Aes, 24) => lc::EVP_aes_192_cbc,
            (BlockCipher::Aes, 32) => lc::EVP_aes_256_cbc,
            (BlockCipher::Des, 24) => lc::EVP_des_ede3_cbc,
            _ => return Err(Error::KeySize),
        };
        // SAFETY: takes nothing and answers a pointer to a static table.
        let cipher = unsafe { maker() };
        let mut context = Self::empty()?;
        // SAFETY: a live context; the key is readable and as long as the cipher wants; no engine.
        let answer = unsafe {
            lc::CMAC_Init(
                context.0.exclusive(),
                key.as_ptr().cast(),
                key.len(),
                cipher,
                ptr::null_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        Ok(context)
    }

    pub(crate) fn duplicate(&self) -> Result<Self, Error> {
        let mut copy = Self::empty()?;
        // SAFETY: both contexts are live, and the source is only read.
        let answer = unsafe { lc::CMAC_CTX_copy(copy.0.exclusive(), self.0.shared()) };
        succeeded(answer, Error::Internal)?;
        Ok(copy)
    }

    pub(crate) fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        // SAFETY: an initialised context; pointer and length describe one readable slice.
        let answer = unsafe { lc::CMAC_Update(self.0.exclusive(), data.as_ptr(), data.len()) };
        succeeded(answer, Error::Internal)
    }

    pub(crate) fn finish(mut self, out: &mut [u8; DIGEST_BYTES_MAX]) -> Result<(), Error> {
        let mut written = 0;
        // SAFETY: an initialised context; the MAC is one block, of 16 bytes at most.
        let answer =
            unsafe { lc::CMAC_Final(self.0.exclusive(), out.as_mut_ptr(), &raw mut written) };
        succeeded(answer, Error::Internal)
    }

    fn empty() -> Result<Self, Error> {
        // SAFETY: no argument.
        let pointer = unsafe { lc::CMAC_CTX_new() };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }
}

/// HKDF, extract and expand.
pub(crate) fn hkdf(
    hash: Hash,
    secret: &[u8],
    salt: &[u8],
    info: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let kind = message_digest(hash);
    // SAFETY: every pointer and length pair describes one slice; `out` overlaps none of them.
    let answer = unsafe {
        lc::HKDF(
            out.as_mut_ptr(),
            out.len(),
            kind,
            secret.as_ptr(),
            secret.len(),
            salt.as_ptr(),
            salt.len(),
            info.as_ptr(),
            info.len(),
        )
    };
    succeeded(answer, Error::ParameterInvalid)
}

/// Compares in a time that depends on the length only.
pub(crate) fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // SAFETY: both slices are readable for the common length.
    let difference =
        unsafe { lc::CRYPTO_memcmp(one.as_ptr().cast(), other.as_ptr().cast(), one.len()) };
    difference == 0
}

/// The number of AWS-LC for a hash, as `RSA_sign` wants it.
pub(crate) fn number_of(hash: Hash) -> Result<std::ffi::c_int, Error> {
    // SAFETY: reads a static table.
    let number = unsafe { lc::EVP_MD_type(message_digest(hash)) };
    if number == 0 {
        Err(failure(Error::Internal))
    } else {
        Ok(number)
    }
}
