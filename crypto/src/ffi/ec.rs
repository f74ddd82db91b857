//! What lives here: keys and points on the curves of AWS-LC, ECDSA and ECDH.
//!
//! What must never live here: curve arithmetic of our own.
//!
//! Who calls it: `ec.rs` and `ffi/pkey.rs`.

use aws_lc_sys as lc;
use strongroom_keymem::SecretBytes;

use super::bignum::{self, Number};
use super::owned::Owned;
use super::{failure, succeeded};
use crate::ec::Curve;
use crate::error::Error;

/// An EC key: a public point, and the scalar if it is private.
pub(crate) struct EcKey(Owned<lc::EC_KEY>);

/// A point on a curve.
pub(crate) struct Point(Owned<lc::EC_POINT>);

impl Point {
    /// Parses SEC 1 octets; AWS-LC checks that the point is on the curve.
    pub(crate) fn parse(curve: Curve, octets: &[u8]) -> Result<Self, Error> {
        let mut point = Self::new(curve)?;
        // SAFETY: a point of this group; pointer and length describe one readable slice.
        let answer = unsafe {
            lc::EC_POINT_oct2point(
                group(curve),
                point.0.exclusive(),
                octets.as_ptr(),
                octets.len(),
                std::ptr::null_mut(),
            )
        };
        succeeded(answer, Error::PointInvalid)?;
        Ok(point)
    }

    fn new(curve: Curve) -> Result<Self, Error> {
        // SAFETY: a static group.
        let pointer = unsafe { lc::EC_POINT_new(group(curve)) };
        // SAFETY: a fresh object or null.
        unsafe { Owned::take(pointer, Error::Memory) }.map(Self)
    }
}

impl EcKey {
    pub(crate) fn generate(curve: Curve) -> Result<Self, Error> {
        super::random::prepare_thread()?;
        let mut key = Self::new(curve)?;
        // SAFETY: a key with a group.
        let answer = unsafe { lc::EC_KEY_generate_key(key.0.exclusive()) };
        succeeded(answer, Error::Internal)?;
        Ok(key)
    }

    /// A private key; AWS-LC refuses zero and everything from the order on.
    pub(crate) fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self, Error> {
        let scalar = Number::from_bytes(scalar)?;
        let mut key = Self::new(curve)?;
        // SAFETY: a key with a group and a live number, copied.
        let answer = unsafe { lc::EC_KEY_set_private_key(key.0.exclusive(), scalar.raw()) };
        succeeded(answer, Error::KeyMalformed)?;
        let mut point = Point::new(curve)?;
        // SAFETY: a point of this group and a live number; no second product; own scratch.
        let answer = unsafe {
            lc::EC_POINT_mul(
                group(curve),
                point.0.exclusive(),
                scalar.raw(),
                std::ptr::null(),
                std::ptr::null(),
                std::ptr::null_mut(),
            )
        };
        succeeded(answer, Error::Internal)?;
        key.set_point(&point)?;
        Ok(key)
    }

    pub(crate) fn from_point(curve: Curve, point: &Point) -> Result<Self, Error> {
        let mut key = Self::new(curve)?;
        key.set_point(point)?;
        // SAFETY: a key with group and point, only read.
        let answer = unsafe { lc::EC_KEY_check_key(key.shared()) };
        succeeded(answer, Error::PointInvalid)?;
        Ok(key)
    }

    pub(super) fn from_owned(key: Owned<lc::EC_KEY>) -> Self {
        Self(key)
    }

    pub(super) fn shared(&self) -> *mut lc::EC_KEY {
        self.0.shared()
    }

    /// Which curve a parsed key is on.
    pub(crate) fn curve(&self) -> Result<Curve, Error> {
        // SAFETY: a live key, only read; every key has a group here.
        let group = unsafe { lc::EC_KEY_get0_group(self.shared()) };
        // SAFETY: the group lives as long as the key.
        let number = unsafe { lc::EC_GROUP_get_curve_name(group) };
        match number {
            lc::NID_secp224r1 => Ok(Curve::P224),
            lc::NID_X9_62_prime256v1 => Ok(Curve::P256),
            lc::NID_secp384r1 => Ok(Curve::P384),
            lc::NID_secp521r1 => Ok(Curve::P521),
            lc::NID_secp256k1 => Ok(Curve::Secp256k1),
            _ => Err(Error::Unsupported),
        }
    }

    /// The secret scalar, big-endian, padded to `length`.
    pub(crate) fn scalar(&self, length: usize) -> Result<SecretBytes, Error> {
        // SAFETY: a live key, only read.
        let number = unsafe { lc::EC_KEY_get0_private_key(self.shared()) };
        // SAFETY: null, or a number that lives as long as the key.
        unsafe { bignum::secret_bytes(number, Some(length)) }
    }

    /// The public point, uncompressed.
    pub(crate) fn point(&self, curve: Curve) -> Result<Vec<u8>, Error> {
        let mut octets = vec![0; 1 + 2 * curve.field_bytes()];
        // SAFETY: a live key, only read.
        let point = unsafe { lc::EC_KEY_get0_public_key(self.shared()) };
        if point.is_null() {
            return Err(Error::Internal);
        }
        // SAFETY: the point lives as long as the key; pointer and length describe the vector.
        let written = unsafe {
            lc::EC_POINT_point2oct(
                group(curve),
                point,
                lc::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED,
                octets.as_mut_ptr(),
                octets.len(),
                std::ptr::null_mut(),
            )
        };
        if written == octets.len() {
            Ok(octets)
        } else {
            Err(failure(Error::Internal))
        }
    }

    /// ECDSA; `r` and `s` are written padded.
    pub(crate) fn sign(&self, digest: &[u8], r: &mut [u8], s: &mut [u8]) -> Result<(), Error> {
        super::random::prepare_thread()?;
        // SAFETY: pointer and length describe one readable slice; the key is only read.
        let pointer = unsafe { lc::ECDSA_do_sign(digest.as_ptr(), digest.len(), self.shared()) };
        // SAFETY: a fresh object or null.
        let signature = unsafe { Owned::take(pointer, Error::Internal) }?;
        let (mut r_number, mut s_number) = (std::ptr::null(), std::ptr::null());
        // SAFETY: a live signature; both numbers live as long as it.
        unsafe {
            lc::ECDSA_SIG_get0(signature.shared(), &raw mut r_number, &raw mut s_number);
        }
        // SAFETY: a live number.
        unsafe { bignum::write_padded(r_number, r) }?;
        // SAFETY: a live number.
        unsafe { bignum::write_padded(s_number, s) }
    }

    pub(crate) fn verify(&self, digest: &[u8], r: &[u8], s: &[u8]) -> Result<(), Error> {
        let (r, s) = (Number::from_bytes(r)?, Number::from_bytes(s)?);
        // SAFETY: no argument.
        let pointer = unsafe { lc::ECDSA_SIG_new() };
        // SAFETY: a fresh object or null.
        let mut signature = unsafe { Owned::take(pointer, Error::Memory) }?;
        // SAFETY: a live signature, which takes both numbers; it fails only when one of them is null.
        let answer =
            unsafe { lc::ECDSA_SIG_set0(signature.exclusive(), r.into_raw(), s.into_raw()) };
        succeeded(answer, Error::Internal)?;
        // SAFETY: pointer and length describe one readable slice; key and signature are only read.
        let answer = unsafe {
            lc::ECDSA_do_verify(
                digest.as_ptr(),
                digest.len(),
                signature.shared(),
                self.shared(),
            )
        };
        succeeded(answer, Error::SignatureInvalid)
    }

    /// ECDH: the x-coordinate; `out` is as long as a field element.
    pub(crate) fn agree(&self, peer: &Point, out: &mut [u8]) -> Result<(), Error> {
        // SAFETY: a live point and key, only read; pointer and length describe one writable slice.
        let written = unsafe {
            lc::ECDH_compute_key(
                out.as_mut_ptr().cast(),
                out.len(),
                peer.0.shared(),
                self.shared(),
                None,
            )
        };
        if usize::try_from(written) == Ok(out.len()) {
            Ok(())
        } else {
            Err(failure(Error::PointInvalid))
        }
    }

    fn set_point(&mut self, point: &Point) -> Result<(), Error> {
        // SAFETY: a key with a group; the point is copied.
        let answer = unsafe { lc::EC_KEY_set_public_key(self.0.exclusive(), point.0.shared()) };
        succeeded(answer, Error::PointInvalid)
    }

    fn new(curve: Curve) -> Result<Self, Error> {
        // SAFETY: no argument.
        let pointer = unsafe { lc::EC_KEY_new() };
        // SAFETY: a fresh object or null.
        let mut key = Self(unsafe { Owned::take(pointer, Error::Memory) }?);
        // SAFETY: a fresh key and a static group.
        let answer = unsafe { lc::EC_KEY_set_group(key.0.exclusive(), group(curve)) };
        succeeded(answer, Error::Internal)?;
        Ok(key)
    }
}

fn group(curve: Curve) -> *const lc::EC_GROUP {
    let maker: unsafe extern "C" fn() -> *const lc::EC_GROUP = match curve {
        Curve::P224 => lc::EC_group_p224,
        Curve::P256 => lc::EC_group_p256,
        Curve::P384 => lc::EC_group_p384,
        Curve::P521 => lc::EC_group_p521,
        Curve::Secp256k1 => lc::EC_group_secp256k1,
    };
    // SAFETY: takes nothing and answers a pointer to a static group.
    unsafe { maker() }
}
