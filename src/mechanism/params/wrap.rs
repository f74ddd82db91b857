//! Parameters of wrapping, where they are other ones than those of a cipher, and associated data.
//!
//! What lives here: AES-GCM and RSA-AES as they wrap keys.
//! What must never live here: the choice of an initialisation vector (the chapter of wrapping).
//! Who calls it: the chapter of wrapping.

use strongroom_wire::ck::Mgf;
use strongroom_wire::request::Parameter;

use super::{Gcm, Oaep};
use crate::error::{Error, Result};

/// `CK_GCM_PARAMS` or `CK_GCM_WRAP_PARAMS`, for a wrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcmWrap {
    /// What the cipher takes.
    pub gcm: Gcm,
    /// How many leading bits of the initialisation vector stay where the token makes the rest; none where the vector is the caller's.
    pub fixed_bits: Option<usize>,
}

/// `CK_RSA_AES_KEY_WRAP_PARAMS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaAes {
    /// Length of the temporary AES key.
    pub aes_bytes: usize,
    /// How that key is encrypted.
    pub oaep: Oaep,
}

impl GcmWrap {
    /// Reads the parameter of a wrap, with the associated data where the function has any.
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`].
    pub fn parse(parameter: &Parameter<'_>, associated: Option<&[u8]>) -> Result<Self> {
        let gcm = Gcm::of_wrapping(parameter, associated)?;
        let fixed_bits = match *parameter {
            Parameter::GcmWrap {
                fixed_bits,
                generator,
                ..
            } => fixed(fixed_bits, generator, gcm.iv.len())?,
            _ => None,
        };
        Ok(Self { gcm, fixed_bits })
    }
}

/// How many bits stay, of a vector of `iv_bytes`.
fn fixed(fixed_bits: u64, generator: Mgf, iv_bytes: usize) -> Result<Option<usize>> {
    match generator {
        Mgf::NO_GENERATE => Ok(None),
        Mgf::GENERATE | Mgf::GENERATE_RANDOM => {
            let fixed = usize::try_from(fixed_bits).map_err(|_| Error::MechanismParamInvalid)?;
            match (8 * iv_bytes).checked_sub(fixed) {
                Some(IV_RANDOM_BITS_MIN..) => Ok(Some(fixed)),
                _ => Err(Error::MechanismParamInvalid),
            }
        }
        // A counter must never go back, not over a restart, a backup that is restored or a second daemon with a copy of the key, and that
        // cannot be promised.
        _ => Err(Error::MechanismParamInvalid),
    }
}

impl Gcm {
    /// Reads the parameter of wrapping or unwrapping. Who made the vector is nothing to unwrapping: it is the one given.
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`].
    pub fn of_wrapping(parameter: &Parameter<'_>, associated: Option<&[u8]>) -> Result<Self> {
        match *parameter {
            Parameter::Gcm { iv, aad, tag_bits }
            | Parameter::GcmWrap {
                iv, aad, tag_bits, ..
            } => Self::read(iv, the_same(aad, associated)?, tag_bits),
            _ => Err(Error::MechanismParamInvalid),
        }
    }
}

impl RsaAes {
    /// Reads the parameter of a wrap under an RSA key of `key_bits` bits. Associated data are the label of OAEP (RFC 8017, 7.1.1).
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`]; [`Error::ArgumentsBad`] for associated data that no label would hold.
    pub fn parse(
        parameter: &Parameter<'_>,
        key_bits: usize,
        associated: Option<&[u8]>,
    ) -> Result<Self> {
        let Parameter::RsaAesKeyWrap { aes_bits, oaep } = parameter else {
            return Err(Error::MechanismParamInvalid);
        };
        let aes_bytes = match aes_bits {
            128 => 16,
            192 => 24,
            256 => 32,
            _ => return Err(Error::MechanismParamInvalid),
        };
        if associated.is_some_and(|associated| associated.len() > LABEL_BYTES_MAX) {
            return Err(Error::ArgumentsBad);
        }
        let label = the_same(oaep.label, associated)?;
        let oaep = Oaep {
            label: label.into(),
            ..Oaep::read(oaep, key_bits)?
        };
        if oaep
            .data_bytes_max(key_bits.div_ceil(8))
            .is_none_or(|room| aes_bytes > room)
        {
            return Err(Error::MechanismParamInvalid);
        }
        Ok(Self { aes_bytes, oaep })
    }
}

/// The associated data: the function's, if it has any, and then the parameter says nothing else.
fn the_same<'p>(of_parameter: &'p [u8], associated: Option<&'p [u8]>) -> Result<&'p [u8]> {
    match associated {
        None => Ok(of_parameter),
        Some(associated) if of_parameter.is_empty() || of_parameter == associated => Ok(associated),
        Some(_) => Err(Error::MechanismParamInvalid),
    }
}

/// SP 800-38D, 8.2.2: a random field of a vector has at least 96 bits. Then 2³² wraps under one key meet a vector twice with a chance under 2⁻³².
const IV_RANDOM_BITS_MIN: usize = 96;

/// What the module takes as a label of OAEP: C_UnwrapKey must be able to name what C_WrapKeyAuthenticated wrapped with.
const LABEL_BYTES_MAX: usize = 64 << 10;
