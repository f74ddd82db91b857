//! Mechanisms of functions that wrap and unwrap keys.
//!
//! What lives here: the structures of AES-GCM for them (PKCS#11 3.2, 6.13.3), and the places in the caller's memory where the token's share goes.
//! What must never live here: whether a parameter is good; the daemon judges that.
//! Who calls it: the rows of the functions.

use cryptoki_sys::{CK_GCM_MESSAGE_PARAMS, CK_GCM_WRAP_PARAMS, CK_MECHANISM, CK_ULONG};
use strongroom_wire::ck::{MechanismType, Mgf, Rv};

use super::{Mechanism, PARAMETER_BYTES_MAX, Parameters, Shape, run};
use crate::abi::caller::{Alleged, Room};

/// Where what the token makes for a wrapped key goes; none where the parameter has no such place.
#[derive(Clone, Copy, Default)]
pub(crate) struct WrapPlaces {
    /// The initialisation vector.
    pub(crate) iv: Option<Room>,
    /// The tag, which else stands behind the wrapped key.
    pub(crate) tag: Option<Room>,
}

impl Mechanism {
    /// Copies the mechanism of C_WrapKey, and tells where what the token makes for it goes.
    pub(crate) fn copy_to_wrap(mechanism: Alleged<CK_MECHANISM>) -> Result<(Self, WrapPlaces), Rv> {
        let mechanism = mechanism.read()?;
        let copy = Self::of(mechanism);
        let mut places = WrapPlaces::default();
        if matches!(copy.shape, Shape::GcmWrap { .. }) {
            let wrap = Parameters::of(mechanism).structure::<CK_GCM_WRAP_PARAMS>()?;
            places.iv = Some(place(wrap.pIv, wrap.ulIvLen)?);
        }
        Ok((copy, places))
    }

    /// The same for C_WrapKeyAuthenticated, whose AES-GCM has another structure (PKCS#11 3.2, 6.13.3).
    pub(crate) fn copy_to_wrap_authenticated(
        mechanism: Alleged<CK_MECHANISM>,
    ) -> Result<(Self, WrapPlaces), Rv> {
        let mechanism = mechanism.read()?;
        let copy = Self::read_by(mechanism, Self::read_authenticated);
        let mut places = WrapPlaces::default();
        if matches!(copy.shape, Shape::GcmWrap { .. }) {
            let message = Parameters::of(mechanism).structure::<CK_GCM_MESSAGE_PARAMS>()?;
            places.iv = Some(place(message.pIv, message.ulIvLen)?);
            places.tag = Some(place(message.pTag, tag_bytes(message.ulTagBits)?)?);
        }
        Ok((copy, places))
    }

    /// Copies the mechanism of C_UnwrapKeyAuthenticated, and the tag that came with its parameter, if that has one: for the token, it stands behind
    /// the wrapped key.
    pub(crate) fn copy_to_unwrap_authenticated(
        mechanism: Alleged<CK_MECHANISM>,
    ) -> Result<(Self, Vec<u8>), Rv> {
        let mechanism = mechanism.read()?;
        let copy = Self::read_by(mechanism, Self::read_authenticated);
        let mut tag = Vec::new();
        if matches!(copy.shape, Shape::GcmWrap { .. }) {
            let message = Parameters::of(mechanism).structure::<CK_GCM_MESSAGE_PARAMS>()?;
            let bytes = tag_bytes(message.ulTagBits)?;
            tag.extend(run(message.pTag, bytes, PARAMETER_BYTES_MAX)?.bytes());
        }
        Ok((copy, tag))
    }

    /// As for any other function, but for AES-GCM: `CK_GCM_MESSAGE_PARAMS` is as long as `CK_GCM_PARAMS`. It is `CK_GCM_WRAP_PARAMS` without
    /// additional data, and its tag is not a part of what the token is told.
    fn read_authenticated(&mut self, parameters: &Parameters) -> Result<Shape, Rv> {
        if self.kind != MechanismType::AES_GCM {
            return self.read(parameters);
        }
        let message = parameters.structure::<CK_GCM_MESSAGE_PARAMS>()?;
        let tag_bytes = tag_bytes(message.ulTagBits)?;
        if message.pTag.is_null() && tag_bytes > 0 {
            return Err(Rv::MECHANISM_PARAM_INVALID);
        }
        self.first = run(message.pIv, message.ulIvLen, PARAMETER_BYTES_MAX)?;
        Ok(Shape::GcmWrap {
            fixed_bits: message.ulIvFixedBits,
            generator: Mgf(message.ivGenerator),
            tag_bits: message.ulTagBits,
        })
    }
}

/// Memory of the caller's that a parameter points to, to be filled.
fn place(start: *mut u8, length: CK_ULONG) -> Result<Room, Rv> {
    // SAFETY: the caller's promise for a parameter covers the memory that its fields point to, which these structures let be written.
    let start = unsafe { Alleged::new(start) };
    start.room(length)
}

/// How many bytes a tag has.
fn tag_bytes(bits: CK_ULONG) -> Result<CK_ULONG, Rv> {
    if bits > TAG_BITS_MAX {
        return Err(Rv::MECHANISM_PARAM_INVALID);
    }
    Ok(bits.div_ceil(8))
}

/// PKCS#11 3.2, 6.13.6: any value between 0 and 128.
const TAG_BITS_MAX: CK_ULONG = 128;
