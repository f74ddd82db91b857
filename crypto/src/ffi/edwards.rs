//! What lives here: Ed25519 in its three forms, and X25519.
//!
//! What must never live here: key storage; the functions read and write slices of the caller.
//!
//! Who calls it: `edwards.rs`.

use aws_lc_sys as lc;

use super::succeeded;
use crate::edwards::EdwardsVariant;
use crate::error::Error;

/// Computes the public key and the form `seed ‖ public key`, which AWS-LC signs with.
pub(crate) fn ed25519_expand(seed: &[u8; 32], public: &mut [u8; 32], private: &mut [u8; 64]) {
    // SAFETY: the three arrays have the lengths that the function writes and reads.
    unsafe {
        lc::ED25519_keypair_from_seed(public.as_mut_ptr(), private.as_mut_ptr(), seed.as_ptr());
    }
}

pub(crate) fn ed25519_sign(
    variant: EdwardsVariant<'_>,
    message: &[u8],
    private: &[u8; 64],
    signature: &mut [u8; 64],
) -> Result<(), Error> {
    let answer = match variant {
        EdwardsVariant::Pure => {
            // SAFETY: arrays of the lengths the function reads and writes; one readable message.
            unsafe {
                lc::ED25519_sign(
                    signature.as_mut_ptr(),
                    message.as_ptr(),
                    message.len(),
                    private.as_ptr(),
                )
            }
        }
        EdwardsVariant::Context(context) | EdwardsVariant::Prehash(context) => {
            let operation = if matches!(variant, EdwardsVariant::Context(_)) {
                lc::ED25519ctx_sign
            } else {
                lc::ED25519ph_sign
            };
            // SAFETY: as above, and one readable context.
            unsafe {
                operation(
                    signature.as_mut_ptr(),
                    message.as_ptr(),
                    message.len(),
                    private.as_ptr(),
                    context.as_ptr(),
                    context.len(),
                )
            }
        }
    };
    succeeded(answer, Error::ParameterInvalid)
}

pub(crate) fn ed25519_verify(
    variant: EdwardsVariant<'_>,
    message: &[u8],
    signature: &[u8; 64],
    public: &[u8; 32],
) -> Result<(), Error> {
    let answer = match variant {
        EdwardsVariant::Pure => {
            // SAFETY: arrays of the lengths the function reads; one readable message.
            unsafe {
                lc::ED25519_verify(
                    message.as_ptr(),
                    message.len(),
                    signature.as_ptr(),
                    public.as_ptr(),
                )
            }
        }
        EdwardsVariant::Context(context) | EdwardsVariant::Prehash(context) => {
            let operation = if matches!(variant, EdwardsVariant::Context(_)) {
                lc::ED25519ctx_verify
            } else {
                lc::ED25519ph_verify
            };
            // SAFETY: as above, and one readable context.
            unsafe {
                operation(
                    message.as_ptr(),
                    message.len(),
                    signature.as_ptr(),
                    public.as_ptr(),
                    context.as_ptr(),
                    context.len(),
                )
            }
        }
    };
    succeeded(answer, Error::SignatureInvalid)
}

pub(crate) fn x25519_public(private: &[u8; 32], public: &mut [u8; 32]) {
    // SAFETY: both arrays have the length of a coordinate.
    unsafe { lc::X25519_public_from_private(public.as_mut_ptr(), private.as_ptr()) };
}

/// The shared secret; an all-zero one is refused by AWS-LC (RFC 7748, 6.1).
pub(crate) fn x25519_agree(
    private: &[u8; 32],
    peer: &[u8; 32],
    shared: &mut [u8; 32],
) -> Result<(), Error> {
    // SAFETY: the three arrays have the length of a coordinate.
    let answer = unsafe { lc::X25519(shared.as_mut_ptr(), private.as_ptr(), peer.as_ptr()) };
    succeeded(answer, Error::PointInvalid)
}
