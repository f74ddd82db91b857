//! What lives here: AES-GCM (SP 800-38D), one-shot both ways and streaming for encryption.
//!
//! What must never live here: streaming decryption; unverified plaintext does not leave this crate.
//! Nor the choice of IVs: one IV used twice under a key gives the key of the authentication away, and
//! only the caller can know.
//!
//! Who calls it: the token, for its encrypt and decrypt chapters; the vault, to seal records.

use std::fmt;

use strongroom_keymem::{SecretBytes, SecretVec};

use crate::error::Error;
use crate::ffi::gcm::{GcmContext, GcmStream, TAG_BYTES};

/// A key for AES-GCM, prepared; shared between threads.
pub struct GcmKey {
    /// Needed for tags that are not full and for streams, which AWS-LC sets up anew.
    material: SecretBytes,
    context: GcmContext,
}

impl GcmKey {
    /// Prepares a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::KeySize`]; [`Error::Memory`].
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            context: GcmContext::new(key, TAG_BYTES)?,
            material: SecretBytes::copy_from(key)?,
        })
    }

    /// Encrypts and appends the ciphertext and, behind it, the tag.
    ///
    /// The IV has at least one byte; twelve is the fast path. Tags have 4, 8 or 12 to 16 bytes.
    ///
    /// # Errors
    /// [`Error::ParameterInvalid`] for the IV or the tag length; [`Error::DataLength`] for more than
    /// 2³⁶ − 32 bytes; [`Error::Memory`].
    pub fn seal(
        &self,
        iv: &[u8],
        aad: &[u8],
        tag_bytes: usize,
        plaintext: &[u8],
        out: &mut SecretVec,
    ) -> Result<(), Error> {
        accept_parameters(iv, tag_bytes)?;
        let start = out.len();
        let mut tag = [0; TAG_BYTES];
        let produced = out.grow(plaintext.len() + tag_bytes)?;
        let (ciphertext, tag_out) = produced.split_at_mut(plaintext.len());
        let sealed = self.context.seal(iv, aad, plaintext, ciphertext, &mut tag);
        tag_out.copy_from_slice(&tag[..tag_bytes]);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    /// Verifies the tag at the end of `sealed`, decrypts, and appends the plaintext.
    ///
    /// # Errors
    /// [`Error::DataInvalid`] when the tag is wrong, and then nothing is appended;
    /// [`Error::DataLength`] when there is no room for a tag; [`Error::ParameterInvalid`];
    /// [`Error::Memory`].
    pub fn open(
        &self,
        iv: &[u8],
        aad: &[u8],
        tag_bytes: usize,
        sealed: &[u8],
        out: &mut SecretVec,
    ) -> Result<(), Error> {
        accept_parameters(iv, tag_bytes)?;
        let plaintext_bytes = sealed
            .len()
            .checked_sub(tag_bytes)
            .ok_or(Error::DataLength)?;
        let (ciphertext, tag) = sealed.split_at(plaintext_bytes);
        let start = out.len();
        let plaintext = out.grow(plaintext_bytes)?;
        let opened = if tag_bytes == TAG_BYTES {
            self.context.open(iv, aad, ciphertext, tag, plaintext)
        } else {
            // AWS-LC binds the length of the tag to the context.
            self.material
                .with(|key| GcmContext::new(key, tag_bytes))
                .and_then(|context| context.open(iv, aad, ciphertext, tag, plaintext))
        };
        if opened.is_err() {
            out.truncate(start);
        }
        opened
    }
}

impl fmt::Debug for GcmKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GcmKey")
    }
}

/// A running encryption in parts.
pub struct GcmEncryption {
    stream: GcmStream,
    tag_bytes: usize,
}

impl GcmEncryption {
    /// Starts an encryption.
    ///
    /// # Errors
    /// [`Error::ParameterInvalid`] for the IV or the tag length; [`Error::Memory`].
    pub fn new(key: &GcmKey, iv: &[u8], aad: &[u8], tag_bytes: usize) -> Result<Self, Error> {
        accept_parameters(iv, tag_bytes)?;
        let stream = key.material.with(|key| GcmStream::new(key, iv, aad))?;
        Ok(Self { stream, tag_bytes })
    }

    /// Encrypts one part and appends as much as it was.
    ///
    /// # Errors
    /// [`Error::DataLength`] beyond 2³⁶ − 32 bytes; [`Error::Memory`].
    pub fn update(&mut self, input: &[u8], out: &mut SecretVec) -> Result<(), Error> {
        let start = out.len();
        let updated = self.stream.update(input, out.grow(input.len())?);
        if updated.is_err() {
            out.truncate(start);
        }
        updated
    }

    /// Ends the encryption and appends the tag.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn finish(self, out: &mut SecretVec) -> Result<(), Error> {
        let mut tag = [0; TAG_BYTES];
        self.stream.finish(&mut tag)?;
        Ok(out.push_slice(&tag[..self.tag_bytes])?)
    }

    /// How long the tag will be.
    #[must_use]
    pub fn tag_bytes(&self) -> usize {
        self.tag_bytes
    }
}

impl fmt::Debug for GcmEncryption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GcmEncryption")
    }
}

fn accept_parameters(iv: &[u8], tag_bytes: usize) -> Result<(), Error> {
    // SP 800-38D, 5.2.1.1 and 5.2.1.2: an IV of at least one bit; these lengths of tags.
    if !iv.is_empty() && matches!(tag_bytes, 4 | 8 | 12..=16) {
        Ok(())
    } else {
        Err(Error::ParameterInvalid)
    }
}
