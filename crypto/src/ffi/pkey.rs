//! What lives here: the envelope AWS-LC puts around any asymmetric key, and its two encodings:
//! PKCS #8 (RFC 5208, 5958) and SubjectPublicKeyInfo (RFC 5280).
//!
//! What must never live here: a DER parser of our own.
//!
//! Who calls it: `pkcs8.rs`, `rsa.rs`, `dsa.rs`, `ec.rs`, `ffi/oaep.rs`.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use aws_lc_sys as lc;
use strongroom_keymem::SecretBytes;

use super::dsa::DsaKey;
use super::ec::EcKey;
use super::owned::Owned;
use super::rsa::RsaKey;
use super::{failure, succeeded};
use crate::error::Error;

/// An asymmetric key of any kind.
pub(crate) struct PKey(Owned<lc::EVP_PKEY>);

/// What an envelope holds.
pub(crate) enum Content {
    Rsa(RsaKey),
    Dsa(DsaKey),
    Ec(EcKey),
    Ed25519(SecretBytes),
    X25519(SecretBytes),
}

impl PKey {
    pub(crate) fn from_rsa(key: &RsaKey) -> Result<Self, Error> {
        let mut envelope = Self::empty()?;
        // SAFETY: both are live; the reference count of the key is raised.
        let answer = unsafe { lc::EVP_PKEY_set1_RSA(envelope.0.exclusive(), key.shared()) };
        succeeded(answer, Error::Internal)?;
        Ok(envelope)
    }

    pub(crate) fn from_dsa(key: &DsaKey) -> Result<Self, Error> {
        let mut envelope = Self::empty()?;
        // SAFETY: both are live; the reference count of the key is raised.
        let answer = unsafe { lc::EVP_PKEY_set1_DSA(envelope.0.exclusive(), key.shared()) };
        succeeded(answer, Error::Internal)?;
        Ok(envelope)
    }

    pub(crate) fn from_ec(key: &EcKey) -> Result<Self, Error> {
        let mut envelope = Self::empty()?;
        // SAFETY: both are live; the reference count of the key is raised.
        let answer = unsafe { lc::EVP_PKEY_set1_EC_KEY(envelope.0.exclusive(), key.shared()) };
        succeeded(answer, Error::Internal)?;
        Ok(envelope)
    }

    /// Parses a PrivateKeyInfo at the start of `der`; answers also how many bytes it took.
    pub(crate) fn parse_private(der: &[u8]) -> Result<(Self, usize), Error> {
        let mut rest = lc::CBS {
            data: der.as_ptr(),
            len: der.len(),
        };
        // SAFETY: `rest` describes one readable slice, and is moved on within it.
        let pointer = unsafe { lc::EVP_parse_private_key(&raw mut rest) };
        // SAFETY: a fresh object or null.
        let key = Self(unsafe { Owned::take(pointer, Error::KeyMalformed) }?);
        Ok((key, der.len() - rest.len))
    }

    /// What is inside, or [`Error::Unsupported`].
    pub(crate) fn content(&self) -> Result<Content, Error> {
        // SAFETY: a live key, only read.
        let kind = unsafe { lc::EVP_PKEY_id(self.shared()) };
        match kind {
            lc::EVP_PKEY_RSA => {
                // SAFETY: a live key of this kind; the answer is a new reference.
                let pointer = unsafe { lc::EVP_PKEY_get1_RSA(self.shared()) };
                // SAFETY: an owned reference or null.
                let key = unsafe { Owned::take(pointer, Error::Internal) }?;
                Ok(Content::Rsa(RsaKey::from_owned(key)))
            }
            lc::EVP_PKEY_DSA => {
                // SAFETY: a live key of this kind; the answer is a new reference.
                let pointer = unsafe { lc::EVP_PKEY_get1_DSA(self.shared()) };
                // SAFETY: an owned reference or null.
                let key = unsafe { Owned::take(pointer, Error::Internal) }?;
                Ok(Content::Dsa(DsaKey::from_owned(key)))
            }
            lc::EVP_PKEY_EC => {
                // SAFETY: a live key of this kind; the answer is a new reference.
                let pointer = unsafe { lc::EVP_PKEY_get1_EC_KEY(self.shared()) };
                // SAFETY: an owned reference or null.
                let key = unsafe { Owned::take(pointer, Error::Internal) }?;
                Ok(Content::Ec(EcKey::from_owned(key)))
            }
            lc::EVP_PKEY_ED25519 => self.raw_private().map(Content::Ed25519),
            lc::EVP_PKEY_X25519 => self.raw_private().map(Content::X25519),
            _ => Err(Error::Unsupported),
        }
    }

    pub(crate) fn shared(&self) -> *mut lc::EVP_PKEY {
        self.0.shared()
    }

    /// The PKCS #8 encoding.
    pub(crate) fn to_private_der(&self) -> Result<SecretBytes, Error> {
        let encoding = Encoding::of(lc::EVP_marshal_private_key, self)?;
        Ok(SecretBytes::copy_from(encoding.bytes())?)
    }

    /// The SubjectPublicKeyInfo.
    pub(crate) fn to_public_der(&self) -> Result<Vec<u8>, Error> {
        Ok(Encoding::of(lc::EVP_marshal_public_key, self)?
            .bytes()
            .to_vec())
    }

    fn raw_private(&self) -> Result<SecretBytes, Error> {
        SecretBytes::filled_by(32, |bytes| {
            let mut written = bytes.len();
            // SAFETY: a live key with a raw form; pointer and length describe one writable slice.
            let answer = unsafe {
                lc::EVP_PKEY_get_raw_private_key(
                    self.shared(),
                    bytes.as_mut_ptr(),
                    &raw mut written,
                )
            };
            if answer == 1 && written == bytes.len() {
                Ok(())
            } else {
                Err(failure(Error::KeyMalformed))
            }
        })
    }

    fn empty() -> Result<Self, Error> {
        // SAFETY: no argument.
        let pointer = unsafe { lc::EVP_PKEY_new() };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }
}

/// An encoding in AWS-LC's heap, freed (and thereby wiped) on drop.
struct Encoding {
    pointer: *mut u8,
    length: usize,
}

impl Encoding {
    fn of(
        marshal: unsafe extern "C" fn(*mut lc::CBB, *const lc::EVP_PKEY) -> c_int,
        key: &PKey,
    ) -> Result<Self, Error> {
        let mut builder = MaybeUninit::<lc::CBB>::uninit();
        // SAFETY: `builder` is writable; the call initialises it or fails.
        let answer = unsafe { lc::CBB_init(builder.as_mut_ptr(), 512) };
        succeeded(answer, Error::Memory)?;
        // SAFETY: an initialised builder and a live key.
        let marshalled = unsafe { marshal(builder.as_mut_ptr(), key.shared()) };
        let mut encoding = Self {
            pointer: std::ptr::null_mut(),
            length: 0,
        };
        let finished = if marshalled == 1 {
            // SAFETY: an initialised builder; on success the buffer is ours to free.
            unsafe {
                lc::CBB_finish(
                    builder.as_mut_ptr(),
                    &raw mut encoding.pointer,
                    &raw mut encoding.length,
                )
            }
        } else {
            0
        };
        if finished == 1 && !encoding.pointer.is_null() {
            return Ok(encoding);
        }
        // SAFETY: an initialised builder that is not used again.
        unsafe { lc::CBB_cleanup(builder.as_mut_ptr()) };
        Err(failure(Error::Internal))
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `of` answered only with a live buffer of this length, freed no earlier than in drop.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        // SAFETY: null, or a buffer of AWS-LC's that is ours and is not used again.
        unsafe { lc::OPENSSL_free(self.pointer.cast()) };
    }
}
