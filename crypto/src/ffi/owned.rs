//! What lives here: the owning pointer to a C object, and the table of what frees what.
//!
//! What must never live here: an operation on the objects.
//!
//! Who calls it: the other files of `ffi/`.

use std::ptr::NonNull;

use aws_lc_sys as lc;

use super::failure;
use crate::error::Error;

/// A C object that AWS-LC made and that is freed once, when this is dropped.
pub(crate) struct Owned<T: CObject>(NonNull<T>);

/// A type of AWS-LC with a function that frees it.
pub(crate) trait CObject {
    /// Frees the object.
    ///
    /// # Safety
    /// The pointer came from AWS-LC's constructor of this type, is owned, and is not used again.
    unsafe fn free(pointer: *mut Self);
}

impl<T: CObject> Owned<T> {
    /// Takes what a constructor answered; null is reported as `otherwise`, or as exhausted memory.
    ///
    /// # Safety
    /// A pointer that is not null must be a fresh object whose ownership passes here.
    pub(crate) unsafe fn take(pointer: *mut T, otherwise: Error) -> Result<Self, Error> {
        NonNull::new(pointer)
            .map(Self)
            .ok_or_else(|| failure(otherwise))
    }

    /// For reading, and for the calls that AWS-LC documents as safe for concurrent use.
    pub(crate) fn shared(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// For changing.
    pub(crate) fn exclusive(&mut self) -> *mut T {
        self.0.as_ptr()
    }

    /// Gives the ownership away to C.
    pub(crate) fn into_raw(self) -> *mut T {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }
}

impl<T: CObject> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `take` demanded ownership, and drop happens once.
        unsafe { T::free(self.0.as_ptr()) };
    }
}

// SAFETY: no object of the table is bound to the thread that made it.
unsafe impl<T: CObject> Send for Owned<T> {}

// SAFETY: through a shared reference only `shared()` is reachable, which the files of `ffi/` pass to
// functions that read, or that AWS-LC documents as safe for concurrent use (private RSA operations).
unsafe impl<T: CObject> Sync for Owned<T> {}

macro_rules! freed_by {
    ($($kind:ident => $free:ident,)*) => {
        $(impl CObject for lc::$kind {
            unsafe fn free(pointer: *mut Self) {
                // SAFETY: the caller upholds the contract of `CObject::free`.
                unsafe { lc::$free(pointer.cast()) };
            }
        })*
    };
}

freed_by! {
    AES_KEY => OPENSSL_free,
    BIGNUM => BN_free,
    BN_CTX => BN_CTX_free,
    CMAC_CTX => CMAC_CTX_free,
    DES_ks => OPENSSL_free,
    DSA => DSA_free,
    DSA_SIG => DSA_SIG_free,
    ECDSA_SIG => ECDSA_SIG_free,
    EC_KEY => EC_KEY_free,
    EC_POINT => EC_POINT_free,
    EVP_AEAD_CTX => EVP_AEAD_CTX_free,
    EVP_CIPHER_CTX => EVP_CIPHER_CTX_free,
    EVP_MD_CTX => EVP_MD_CTX_free,
    EVP_PKEY => EVP_PKEY_free,
    EVP_PKEY_CTX => EVP_PKEY_CTX_free,
    HMAC_CTX => HMAC_CTX_free,
    RSA => RSA_free,
}
