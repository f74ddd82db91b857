//! What lives here: AES-GCM, one-shot through EVP_AEAD and streaming through EVP_CIPHER.
//!
//! What must never live here: streaming decryption, which would hand out unverified plaintext.
//!
//! Who calls it: `gcm.rs`.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys as lc;

use super::owned::Owned;
use super::{failure, succeeded};
use crate::error::Error;

/// Bytes of a full tag.
pub(crate) const TAG_BYTES: usize = 16;

/// A prepared key for one-shot operations with one tag length.
pub(crate) struct GcmContext {
    context: Owned<lc::EVP_AEAD_CTX>,
    tag_bytes: usize,
}

impl GcmContext {
    pub(crate) fn new(key: &[u8], tag_bytes: usize) -> Result<Self, Error> {
        let maker: unsafe extern "C" fn() -> *const lc::EVP_AEAD = match key.len() {
            16 => lc::EVP_aead_aes_128_gcm,
            24 => lc::EVP_aead_aes_192_gcm,
            32 => lc::EVP_aead_aes_256_gcm,
            _ => return Err(Error::KeySize),
        };
        // SAFETY: takes nothing and answers a pointer to a static table.
        let kind = unsafe { maker() };
        // SAFETY: the key is readable and as long as `kind` wants.
        let pointer = unsafe { lc::EVP_AEAD_CTX_new(kind, key.as_ptr(), key.len(), tag_bytes) };
        // SAFETY: a fresh object or null.
        let context = unsafe { Owned::take(pointer, Error::Internal) }?;
        Ok(Self { context, tag_bytes })
    }

    /// Encrypts; a full tag comes apart from the ciphertext.
    pub(crate) fn seal(
        &self,
        iv: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8; TAG_BYTES],
    ) -> Result<(), Error> {
        if plaintext.len() != ciphertext.len() || self.tag_bytes != TAG_BYTES {
            return Err(Error::Internal);
        }
        let mut tag_written = 0;
        // SAFETY: the context is only read; each pointer and length pair describes one slice; the
        // output is as long as the input and does not overlap it; there is no extra input.
        let answer = unsafe {
            lc::EVP_AEAD_CTX_seal_scatter(
                self.context.shared(),
                ciphertext.as_mut_ptr(),
                tag.as_mut_ptr(),
                &raw mut tag_written,
                tag.len(),
                iv.as_ptr(),
                iv.len(),
                plaintext.as_ptr(),
                plaintext.len(),
                ptr::null(),
                0,
                aad.as_ptr(),
                aad.len(),
            )
        };
        succeeded(answer, Error::DataLength)?;
        if tag_written == TAG_BYTES {
            Ok(())
        } else {
            Err(Error::Internal)
        }
    }

    /// Decrypts and verifies; on failure AWS-LC clears `plaintext`.
    pub(crate) fn open(
        &self,
        iv: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), Error> {
        if plaintext.len() != ciphertext.len() || tag.len() != self.tag_bytes {
            return Err(Error::Internal);
        }
        // SAFETY: the context is only read; each pointer and length pair describes one slice; the
        // output is as long as the input and does not overlap it.
        let answer = unsafe {
            lc::EVP_AEAD_CTX_open_gather(
                self.context.shared(),
                plaintext.as_mut_ptr(),
                iv.as_ptr(),
                iv.len(),
                ciphertext.as_ptr(),
                ciphertext.len(),
                tag.as_ptr(),
                tag.len(),
                aad.as_ptr(),
                aad.len(),
            )
        };
        succeeded(answer, Error::DataInvalid)
    }
}

/// A running streaming encryption.
pub(crate) struct GcmStream(Owned<lc::EVP_CIPHER_CTX>);

impl GcmStream {
    pub(crate) fn new(key: &[u8], iv: &[u8], aad: &[u8]) -> Result<Self, Error> {
        let maker: unsafe extern "C" fn() -> *const lc::EVP_CIPHER = match key.len() {
            16 => lc::EVP_aes_128_gcm,
            24 => lc::EVP_aes_192_gcm,
            32 => lc::EVP_aes_256_gcm,
            _ => return Err(Error::KeySize),
        };
        // SAFETY: takes nothing and answers a pointer to a static table.
        let cipher = unsafe { maker() };
        // SAFETY: no argument.
        let pointer = unsafe { lc::EVP_CIPHER_CTX_new() };
        // SAFETY: a fresh object or null.
        let mut stream = Self(unsafe { Owned::take(pointer, Error::Memory) }?);
        stream.initialise(cipher, None, None)?;
        let iv_bytes = c_int::try_from(iv.len()).map_err(|_| Error::ParameterInvalid)?;
        stream.control(lc::EVP_CTRL_AEAD_SET_IVLEN, iv_bytes, ptr::null_mut())?;
        stream.initialise(ptr::null(), Some(key), Some(iv))?;
        for part in aad.chunks(CHUNK_BYTES) {
            stream.run(part, ptr::null_mut())?;
        }
        Ok(stream)
    }

    /// Encrypts one part.
    pub(crate) fn update(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        if input.len() != out.len() {
            return Err(Error::Internal);
        }
        for (from, to) in input.chunks(CHUNK_BYTES).zip(out.chunks_mut(CHUNK_BYTES)) {
            self.run(from, to.as_mut_ptr())?;
        }
        Ok(())
    }

    /// Ends the encryption and gives the full tag.
    pub(crate) fn finish(mut self, tag: &mut [u8; TAG_BYTES]) -> Result<(), Error> {
        let mut rest = [0_u8; 16];
        let mut written = 0;
        // SAFETY: an initialised context; GCM writes nothing here, and a block would fit.
        let answer = unsafe {
            lc::EVP_CipherFinal_ex(self.0.exclusive(), rest.as_mut_ptr(), &raw mut written)
        };
        succeeded(answer, Error::Internal)?;
        self.control(
            lc::EVP_CTRL_AEAD_GET_TAG,
            TAG_BYTES_C,
            tag.as_mut_ptr().cast(),
        )
    }

    fn initialise(
        &mut self,
        cipher: *const lc::EVP_CIPHER,
        key: Option<&[u8]>,
        iv: Option<&[u8]>,
    ) -> Result<(), Error> {
        let key = key.map_or(ptr::null(), <[u8]>::as_ptr);
        let iv = iv.map_or(ptr::null(), <[u8]>::as_ptr);
        // SAFETY: a live context; key and IV are null, or as long as cipher and context say.
        let answer = unsafe {
            lc::EVP_CipherInit_ex(self.0.exclusive(), cipher, ptr::null_mut(), key, iv, 1)
        };
        succeeded(answer, Error::Internal)
    }

    fn control(
        &mut self,
        command: c_int,
        argument: c_int,
        pointer: *mut std::ffi::c_void,
    ) -> Result<(), Error> {
        // SAFETY: the two commands used here read no pointer, or write `argument` bytes to it.
        let answer =
            unsafe { lc::EVP_CIPHER_CTX_ctrl(self.0.exclusive(), command, argument, pointer) };
        succeeded(answer, Error::Internal)
    }

    /// One call of at most `CHUNK_BYTES`; a null output means associated data.
    fn run(&mut self, input: &[u8], out: *mut u8) -> Result<(), Error> {
        let bytes = c_int::try_from(input.len()).map_err(|_| Error::Internal)?;
        let mut written = 0;
        // SAFETY: an initialised context; `out` is null or as long as the input.
        let answer = unsafe {
            lc::EVP_CipherUpdate(
                self.0.exclusive(),
                out,
                &raw mut written,
                input.as_ptr(),
                bytes,
            )
        };
        if answer == 1 && written == bytes {
            Ok(())
        } else {
            Err(failure(Error::DataLength))
        }
    }
}

/// EVP counts in C ints; a round size far below the limit.
const CHUNK_BYTES: usize = 1 << 28;

const TAG_BYTES_C: c_int = 16;
