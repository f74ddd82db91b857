//! What lives here: RSAES-OAEP with free choice of hash, mask hash and label, which AWS-LC offers
//! through EVP_PKEY only.
//!
//! What must never live here: a way to learn why a decryption failed.
//!
//! Who calls it: `rsa.rs`.

use aws_lc_sys as lc;

use super::owned::Owned;
use super::pkey::PKey;
use super::rsa::RsaKey;
use super::{digest, failure, succeeded};
use crate::digest::Hash;
use crate::error::Error;

/// The parameters of OAEP.
#[derive(Clone, Copy)]
pub(crate) struct OaepScheme<'a> {
    pub(crate) hash: Hash,
    pub(crate) mask_hash: Hash,
    pub(crate) label: &'a [u8],
}

/// Encrypts; answers how many bytes of `out` were written.
pub(crate) fn encrypt(
    key: &RsaKey,
    scheme: OaepScheme<'_>,
    plaintext: &[u8],
    out: &mut [u8],
) -> Result<usize, Error> {
    super::random::prepare_thread()?;
    let mut context = context(key)?;
    // SAFETY: a live context.
    let answer = unsafe { lc::EVP_PKEY_encrypt_init(context.exclusive()) };
    succeeded(answer, Error::Internal)?;
    configure(&mut context, scheme)?;
    let mut written = out.len();
    // SAFETY: an initialised context; the slices with their true lengths, which AWS-LC checks.
    let answer = unsafe {
        lc::EVP_PKEY_encrypt(
            context.exclusive(),
            out.as_mut_ptr(),
            &raw mut written,
            plaintext.as_ptr(),
            plaintext.len(),
        )
    };
    succeeded(answer, Error::Internal)?;
    if written <= out.len() {
        Ok(written)
    } else {
        Err(Error::Internal)
    }
}

/// Decrypts; answers how many bytes of `out` are the message.
pub(crate) fn decrypt(
    key: &RsaKey,
    scheme: OaepScheme<'_>,
    ciphertext: &[u8],
    out: &mut [u8],
) -> Result<usize, Error> {
    super::random::prepare_thread()?;
    let mut context = context(key)?;
    // SAFETY: a live context.
    let answer = unsafe { lc::EVP_PKEY_decrypt_init(context.exclusive()) };
    succeeded(answer, Error::Internal)?;
    configure(&mut context, scheme)?;
    let mut written = out.len();
    // SAFETY: an initialised context; the slices with their true lengths, which AWS-LC checks.
    let answer = unsafe {
        lc::EVP_PKEY_decrypt(
            context.exclusive(),
            out.as_mut_ptr(),
            &raw mut written,
            ciphertext.as_ptr(),
            ciphertext.len(),
        )
    };
    succeeded(answer, Error::DataInvalid)?;
    if written <= out.len() {
        Ok(written)
    } else {
        Err(Error::Internal)
    }
}

fn context(key: &RsaKey) -> Result<Owned<lc::EVP_PKEY_CTX>, Error> {
    let key = PKey::from_rsa(key)?;
    // SAFETY: a live key, whose reference count the context raises; no engine.
    let pointer = unsafe { lc::EVP_PKEY_CTX_new(key.shared(), std::ptr::null_mut()) };
    // SAFETY: a fresh object or null.
    unsafe { Owned::take(pointer, Error::Memory) }
}

fn configure(context: &mut Owned<lc::EVP_PKEY_CTX>, scheme: OaepScheme<'_>) -> Result<(), Error> {
    // SAFETY: an initialised context.
    let answer = unsafe {
        lc::EVP_PKEY_CTX_set_rsa_padding(context.exclusive(), lc::RSA_PKCS1_OAEP_PADDING)
    };
    succeeded(answer, Error::Internal)?;
    let hash = digest::message_digest(scheme.hash);
    // SAFETY: an initialised context and a static digest.
    let answer = unsafe { lc::EVP_PKEY_CTX_set_rsa_oaep_md(context.exclusive(), hash) };
    succeeded(answer, Error::Internal)?;
    let mask_hash = digest::message_digest(scheme.mask_hash);
    // SAFETY: an initialised context and a static digest.
    let answer = unsafe { lc::EVP_PKEY_CTX_set_rsa_mgf1_md(context.exclusive(), mask_hash) };
    succeeded(answer, Error::Internal)?;
    if scheme.label.is_empty() {
        Ok(())
    } else {
        set_label(context, scheme.label)
    }
}

fn set_label(context: &mut Owned<lc::EVP_PKEY_CTX>, label: &[u8]) -> Result<(), Error> {
    // SAFETY: pointer and length describe one readable slice.
    let copy = unsafe { lc::OPENSSL_memdup(label.as_ptr().cast(), label.len()) };
    if copy.is_null() {
        return Err(failure(Error::Memory));
    }
    // SAFETY: an initialised context, which takes the copy on success.
    let answer = unsafe {
        lc::EVP_PKEY_CTX_set0_rsa_oaep_label(context.exclusive(), copy.cast(), label.len())
    };
    if answer != 1 {
        // SAFETY: on failure the copy is still ours.
        unsafe { lc::OPENSSL_free(copy) };
    }
    succeeded(answer, Error::Internal)
}
