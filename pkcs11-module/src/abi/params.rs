//! Mechanisms and their parameters: C structures taken apart.
//!
//! What lives here: one shape for each parameter structure that the protocol knows, and which mechanism has which.
//! What must never live here: whether a value is allowed; the token judges it, and a structure that does not fit is malformed.
//! Who calls it: the table of functions.

mod wrap;

use cryptoki_sys::{
    CK_AES_CBC_ENCRYPT_DATA_PARAMS, CK_AES_CTR_PARAMS, CK_DES_CBC_ENCRYPT_DATA_PARAMS,
    CK_ECDH1_DERIVE_PARAMS, CK_EDDSA_PARAMS, CK_GCM_PARAMS, CK_GCM_WRAP_PARAMS,
    CK_KEY_DERIVATION_STRING_DATA, CK_MECHANISM, CK_RSA_AES_KEY_WRAP_PARAMS,
    CK_RSA_PKCS_OAEP_PARAMS, CK_RSA_PKCS_PSS_PARAMS, CK_ULONG,
};
use strongroom_wire::ck::{Kdf, MechanismType, Mgf, OaepSource, Rv};
use strongroom_wire::frame::DATA_BYTES_MAX;
use strongroom_wire::request::{self, OaepParameter, Parameter};

use super::caller::Alleged;
use crate::buffer::WipedBuffer;

pub(crate) use wrap::WrapPlaces;

/// Longest run of bytes in a parameter: far over every vector, label, point and context of the standard. Additional authenticated
/// data are data, and may be as long as such.
const PARAMETER_BYTES_MAX: usize = 64 << 10;

/// A mechanism, copied from the caller.
pub(crate) struct Mechanism {
    kind: MechanismType,
    shape: Shape,
    /// The first and the second run of bytes of the parameter; which they are depends on the shape.
    first: Run,
    second: Run,
}

/// A run of bytes of a parameter. Most are vectors and labels of a few bytes, which need no memory of their own; none is a secret.
enum Run {
    Short {
        bytes: [u8; SHORT_BYTES],
        length: usize,
    },
    Long(WipedBuffer),
}

/// Longest run that is short.
const SHORT_BYTES: usize = 64;

impl Run {
    const EMPTY: Self = Self::Short {
        bytes: [0; SHORT_BYTES],
        length: 0,
    };

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { bytes, length } => bytes.get(..*length).unwrap_or_default(),
            Self::Long(buffer) => buffer.bytes(),
        }
    }

    /// A run of bytes that are here already.
    fn short(run: &[u8]) -> Result<Self, Rv> {
        let mut bytes = [0; SHORT_BYTES];
        let length = run.len();
        let room = bytes.get_mut(..length).ok_or(Rv::MECHANISM_PARAM_INVALID)?;
        room.copy_from_slice(run);
        Ok(Self::Short { bytes, length })
    }

    /// Copies a run; more than `bytes_max` are refused before any is read.
    fn copy(start: Alleged<u8>, length: CK_ULONG, bytes_max: usize) -> Result<Self, Rv> {
        let mut short = [0; SHORT_BYTES];
        if let Some(length) = start.copy_short(length, &mut short)? {
            let bytes = short;
            return Ok(Self::Short { bytes, length });
        }
        let long = start.copy(length, bytes_max, Rv::MECHANISM_PARAM_INVALID)?;
        Ok(Self::Long(long))
    }
}

/// A parameter less its runs of bytes.
#[derive(PartialEq, Eq)]
enum Shape {
    None,
    Bytes,
    Counter {
        bits: u64,
        block: [u8; 16],
    },
    Gcm {
        tag_bits: u64,
    },
    GcmWrap {
        fixed_bits: u64,
        generator: Mgf,
        tag_bits: u64,
    },
    Number(u64),
    Oaep(Oaep),
    Pss {
        hash: MechanismType,
        mgf: Mgf,
        salt_bytes: u64,
    },
    Ecdh1 {
        kdf: Kdf,
    },
    RsaAesKeyWrap {
        aes_bits: u64,
        oaep: Oaep,
    },
    Eddsa {
        prehash: bool,
    },
    EncryptData,
    Malformed,
}

#[derive(PartialEq, Eq)]
struct Oaep {
    hash: MechanismType,
    mgf: Mgf,
    source: OaepSource,
}

impl Mechanism {
    /// Copies a mechanism that must be there.
    pub(crate) fn copy(mechanism: Alleged<CK_MECHANISM>) -> Result<Self, Rv> {
        Ok(Self::of(mechanism.read()?))
    }

    /// Copies the mechanism of an Init function. PKCS#11 3.2, 5.8 on: NULL cancels the running operation.
    pub(crate) fn copy_or_cancel(mechanism: Alleged<CK_MECHANISM>) -> Result<Option<Self>, Rv> {
        if mechanism.is_null() {
            Ok(None)
        } else {
            Self::copy(mechanism).map(Some)
        }
    }

    /// The mechanism as a request has it.
    pub(crate) fn wire(&self) -> request::Mechanism<'_> {
        request::Mechanism {
            kind: self.kind,
            parameter: self.parameter(),
        }
    }

    /// One without a parameter.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self {
            kind: MechanismType::ECDSA,
            shape: Shape::None,
            first: Run::EMPTY,
            second: Run::EMPTY,
        }
    }

    /// Which mechanism.
    pub(crate) const fn kind(&self) -> MechanismType {
        self.kind
    }

    /// Length of the output of encrypting so many bytes, or of decrypting them, where it follows from the mechanism alone.
    pub(crate) fn cipher_output(&self, encrypts: bool, bytes: u64) -> Option<u64> {
        const BLOCK: u64 = 16;
        match (self.kind, &self.shape) {
            (MechanismType::AES_CTR, _) => Some(bytes),
            (MechanismType::AES_ECB | MechanismType::AES_CBC, _) => {
                Some(bytes).filter(|bytes| bytes.is_multiple_of(BLOCK))
            }
            (MechanismType::AES_CBC_PAD, _) if encrypts => {
                bytes.checked_next_multiple_of(BLOCK).map(|whole| {
                    if whole == bytes {
                        whole.saturating_add(BLOCK)
                    } else {
                        whole
                    }
                })
            }
            (MechanismType::AES_GCM, Shape::Gcm { tag_bits }) if encrypts => {
                bytes.checked_add(tag_bits.checked_div(8)?)
            }
            (MechanismType::AES_GCM, Shape::Gcm { tag_bits }) => {
                bytes.checked_sub(tag_bits.checked_div(8)?)
            }
            _ => None,
        }
    }

    /// Whether the daemon gives out the output of a part with the part: all but authenticated decryption, which gives out nothing before its end.
    pub(crate) fn streams(&self, encrypts: bool) -> bool {
        matches!(
            self.kind,
            MechanismType::AES_CTR
                | MechanismType::AES_ECB
                | MechanismType::AES_CBC
                | MechanismType::AES_CBC_PAD
        ) || (encrypts && self.kind == MechanismType::AES_GCM)
    }

    /// Whether it has no parameter.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.shape, Shape::None)
    }

    /// Whether an Init function that took the other takes this one as well: they differ in nothing but bytes of which only the number
    /// is judged there, as in an initialisation vector.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let shapes = match (&self.shape, &other.shape) {
            (Shape::Counter { bits, .. }, Shape::Counter { bits: others, .. }) => bits == others,
            (one, other) => one == other,
        };
        let length = |run: &Run| run.bytes().len();
        self.kind == other.kind
            && shapes
            && length(&self.first) == length(&other.first)
            && (length(&self.second) == length(&other.second)
                || matches!(self.shape, Shape::Gcm { .. }))
    }

    fn of(mechanism: CK_MECHANISM) -> Self {
        Self::read_by(mechanism, Self::read)
    }

    fn read_by(
        mechanism: CK_MECHANISM,
        read: impl FnOnce(&mut Self, &Parameters) -> Result<Shape, Rv>,
    ) -> Self {
        let kind = MechanismType(mechanism.mechanism);
        let mut parts = Self {
            kind,
            shape: Shape::Malformed,
            first: Run::EMPTY,
            second: Run::EMPTY,
        };
        // An error is a run of bytes that cannot be had: the token says CKR_MECHANISM_PARAM_INVALID to a malformed parameter.
        if let Ok(shape) = read(&mut parts, &Parameters::of(mechanism)) {
            parts.shape = shape;
        }
        parts
    }

    fn read(&mut self, parameters: &Parameters) -> Result<Shape, Rv> {
        use MechanismType as M;
        // Callers leave any pointer beside a length of zero.
        if parameters.length == 0 {
            return Ok(Shape::None);
        }
        match self.kind {
            M::AES_CTR | M::CAMELLIA_CTR => read_counter(parameters),
            M::AES_GCM => self.read_gcm(parameters),
            M::RSA_PKCS_OAEP => self.read_oaep(parameters.structure()?).map(Shape::Oaep),
            M::RSA_AES_KEY_WRAP => self.read_rsa_aes_key_wrap(parameters),
            M::ECDH1_DERIVE | M::ECDH1_COFACTOR_DERIVE => self.read_ecdh1(parameters),
            M::EDDSA => self.read_eddsa(parameters),
            M::DES_ECB_ENCRYPT_DATA | M::DES3_ECB_ENCRYPT_DATA | M::AES_ECB_ENCRYPT_DATA => {
                let string = parameters.structure::<CK_KEY_DERIVATION_STRING_DATA>()?;
                self.read_encrypt_data(&[], string.pData, string.ulLen)
            }
            M::DES_CBC_ENCRYPT_DATA | M::DES3_CBC_ENCRYPT_DATA => {
                let cbc = parameters.structure::<CK_DES_CBC_ENCRYPT_DATA_PARAMS>()?;
                self.read_encrypt_data(&cbc.iv, cbc.pData, cbc.length)
            }
            M::AES_CBC_ENCRYPT_DATA => {
                let cbc = parameters.structure::<CK_AES_CBC_ENCRYPT_DATA_PARAMS>()?;
                self.read_encrypt_data(&cbc.iv, cbc.pData, cbc.length)
            }
            kind if has_pss_parameter(kind) => read_pss(parameters),
            kind if has_length_parameter(kind) => parameters.structure().map(Shape::Number),
            _ => {
                self.first = parameters.bytes()?;
                Ok(Shape::Bytes)
            }
        }
    }

    /// The structures that AES-GCM may come with are told apart by their length.
    fn read_gcm(&mut self, parameters: &Parameters) -> Result<Shape, Rv> {
        if let Ok(wrap) = parameters.structure::<CK_GCM_WRAP_PARAMS>() {
            self.first = run(wrap.pIv, wrap.ulIvLen, PARAMETER_BYTES_MAX)?;
            self.second = run(wrap.pAAD, wrap.ulAADLen, DATA_BYTES_MAX)?;
            return Ok(Shape::GcmWrap {
                fixed_bits: wrap.ulIvFixedBits,
                generator: Mgf(wrap.ivGenerator),
                tag_bits: wrap.ulTagBits,
            });
        }
        let gcm = parameters.structure::<CK_GCM_PARAMS>().or_else(|_| {
            // The text of PKCS#11 2.40 has no ulIvBits, its header has; both were compiled against.
            parameters
                .structure::<GcmWithoutIvBits>()
                .map(|old| CK_GCM_PARAMS {
                    pIv: old.iv,
                    ulIvLen: old.iv_bytes,
                    ulIvBits: 0,
                    pAAD: old.aad,
                    ulAADLen: old.aad_bytes,
                    ulTagBits: old.tag_bits,
                })
        })?;
        self.first = run(gcm.pIv, gcm.ulIvLen, PARAMETER_BYTES_MAX)?;
        self.second = run(gcm.pAAD, gcm.ulAADLen, DATA_BYTES_MAX)?;
        Ok(Shape::Gcm {
            tag_bits: gcm.ulTagBits,
        })
    }

    fn read_oaep(&mut self, oaep: CK_RSA_PKCS_OAEP_PARAMS) -> Result<Oaep, Rv> {
        self.first = run(
            oaep.pSourceData.cast(),
            oaep.ulSourceDataLen,
            PARAMETER_BYTES_MAX,
        )?;
        Ok(Oaep {
            hash: MechanismType(oaep.hashAlg),
            mgf: Mgf(oaep.mgf),
            source: OaepSource(oaep.source),
        })
    }

    fn read_rsa_aes_key_wrap(&mut self, parameters: &Parameters) -> Result<Shape, Rv> {
        let wrap = parameters.structure::<CK_RSA_AES_KEY_WRAP_PARAMS>()?;
        // SAFETY: the caller's promise for the structure covers the memory that its fields point to.
        let oaep = unsafe { Alleged::new(wrap.pOAEPParams) };
        let oaep = self.read_oaep(oaep.read()?)?;
        Ok(Shape::RsaAesKeyWrap {
            aes_bits: wrap.ulAESKeyBits,
            oaep,
        })
    }

    fn read_ecdh1(&mut self, parameters: &Parameters) -> Result<Shape, Rv> {
        let ecdh = parameters.structure::<CK_ECDH1_DERIVE_PARAMS>()?;
        self.first = run(ecdh.pSharedData, ecdh.ulSharedDataLen, PARAMETER_BYTES_MAX)?;
        self.second = run(ecdh.pPublicData, ecdh.ulPublicDataLen, PARAMETER_BYTES_MAX)?;
        Ok(Shape::Ecdh1 { kdf: Kdf(ecdh.kdf) })
    }

    fn read_eddsa(&mut self, parameters: &Parameters) -> Result<Shape, Rv> {
        let eddsa = parameters.structure::<CK_EDDSA_PARAMS>()?;
        self.first = run(
            eddsa.pContextData,
            eddsa.ulContextDataLen,
            PARAMETER_BYTES_MAX,
        )?;
        Ok(Shape::Eddsa {
            prehash: eddsa.phFlag != cryptoki_sys::CK_FALSE,
        })
    }

    fn read_encrypt_data(
        &mut self,
        iv: &[u8],
        data: *mut u8,
        data_bytes: CK_ULONG,
    ) -> Result<Shape, Rv> {
        self.first = Run::short(iv)?;
        self.second = run(data, data_bytes, PARAMETER_BYTES_MAX)?;
        Ok(Shape::EncryptData)
    }

    fn parameter(&self) -> Parameter<'_> {
        let first = self.first.bytes();
        let second = self.second.bytes();
        match &self.shape {
            Shape::None => Parameter::None,
            Shape::Bytes => Parameter::Bytes(first),
            Shape::Counter { bits, block } => Parameter::Counter {
                bits: *bits,
                block: *block,
            },
            Shape::Gcm { tag_bits } => Parameter::Gcm {
                iv: first,
                aad: second,
                tag_bits: *tag_bits,
            },
            Shape::GcmWrap {
                fixed_bits,
                generator,
                tag_bits,
            } => Parameter::GcmWrap {
                iv: first,
                fixed_bits: *fixed_bits,
                generator: *generator,
                aad: second,
                tag_bits: *tag_bits,
            },
            Shape::Number(number) => Parameter::Number(*number),
            Shape::Oaep(oaep) => Parameter::Oaep(oaep.wire(first)),
            Shape::Pss {
                hash,
                mgf,
                salt_bytes,
            } => Parameter::Pss {
                hash: *hash,
                mgf: *mgf,
                salt_bytes: *salt_bytes,
            },
            Shape::Ecdh1 { kdf } => Parameter::Ecdh1 {
                kdf: *kdf,
                shared: first,
                point: second,
            },
            Shape::RsaAesKeyWrap { aes_bits, oaep } => Parameter::RsaAesKeyWrap {
                aes_bits: *aes_bits,
                oaep: oaep.wire(first),
            },
            Shape::Eddsa { prehash } => Parameter::Eddsa {
                prehash: *prehash,
                context: first,
            },
            Shape::EncryptData => Parameter::EncryptData {
                iv: first,
                data: second,
            },
            Shape::Malformed => Parameter::Malformed,
        }
    }
}

impl Oaep {
    const fn wire<'a>(&self, label: &'a [u8]) -> OaepParameter<'a> {
        OaepParameter {
            hash: self.hash,
            mgf: self.mgf,
            source: self.source,
            label,
        }
    }
}

/// `CK_GCM_PARAMS` as the text of PKCS#11 2.40 has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct GcmWithoutIvBits {
    iv: *mut u8,
    iv_bytes: CK_ULONG,
    aad: *mut u8,
    aad_bytes: CK_ULONG,
    tag_bits: CK_ULONG,
}

/// The parameter of a mechanism before its structure is known.
struct Parameters {
    start: Alleged<u8>,
    pointer: *mut u8,
    length: CK_ULONG,
}

impl Parameters {
    fn of(mechanism: CK_MECHANISM) -> Self {
        let pointer = mechanism.pParameter.cast();
        // SAFETY: the caller's promise for a mechanism covers the memory that its fields point to.
        let start = unsafe { Alleged::new(pointer) };
        Self {
            start,
            pointer,
            length: mechanism.ulParameterLen,
        }
    }

    fn bytes(&self) -> Result<Run, Rv> {
        Run::copy(self.start, self.length, PARAMETER_BYTES_MAX)
    }

    /// Reads a structure whose length must be exact. Only numbers, arrays of bytes and pointers are asked for here, of which every
    /// pattern is a value.
    fn structure<T: Copy>(&self) -> Result<T, Rv> {
        if usize::try_from(self.length) != Ok(size_of::<T>()) {
            return Err(Rv::MECHANISM_PARAM_INVALID);
        }
        // SAFETY: the caller promises memory of the length it tells, which is that of the structure.
        unsafe { Alleged::new(self.pointer.cast::<T>()) }.read()
    }
}

fn run(start: *mut u8, length: CK_ULONG, bytes_max: usize) -> Result<Run, Rv> {
    // SAFETY: the caller's promise for a parameter covers the memory that its fields point to, of the length told beside them.
    let start = unsafe { Alleged::new(start) };
    Run::copy(start, length, bytes_max)
}

fn read_counter(parameters: &Parameters) -> Result<Shape, Rv> {
    let counter = parameters.structure::<CK_AES_CTR_PARAMS>()?;
    Ok(Shape::Counter {
        bits: counter.ulCounterBits,
        block: counter.cb,
    })
}

fn read_pss(parameters: &Parameters) -> Result<Shape, Rv> {
    let pss = parameters.structure::<CK_RSA_PKCS_PSS_PARAMS>()?;
    Ok(Shape::Pss {
        hash: MechanismType(pss.hashAlg),
        mgf: Mgf(pss.mgf),
        salt_bytes: pss.sLen,
    })
}

/// PKCS#11 3.2, 6.1: the mechanisms with `CK_RSA_PKCS_PSS_PARAMS`.
const fn has_pss_parameter(kind: MechanismType) -> bool {
    use MechanismType as M;
    matches!(
        kind,
        M::RSA_PKCS_PSS
            | M::SHA1_RSA_PKCS_PSS
            | M::SHA224_RSA_PKCS_PSS
            | M::SHA256_RSA_PKCS_PSS
            | M::SHA384_RSA_PKCS_PSS
            | M::SHA512_RSA_PKCS_PSS
            | M::SHA3_224_RSA_PKCS_PSS
            | M::SHA3_256_RSA_PKCS_PSS
            | M::SHA3_384_RSA_PKCS_PSS
            | M::SHA3_512_RSA_PKCS_PSS
    )
}

/// The mechanisms with `CK_MAC_GENERAL_PARAMS`, which is one number (PKCS#11 3.2, 6.20 on).
const fn has_length_parameter(kind: MechanismType) -> bool {
    use MechanismType as M;
    matches!(
        kind,
        M::MD5_HMAC_GENERAL
            | M::SHA_1_HMAC_GENERAL
            | M::SHA224_HMAC_GENERAL
            | M::SHA256_HMAC_GENERAL
            | M::SHA384_HMAC_GENERAL
            | M::SHA512_HMAC_GENERAL
            | M::SHA512_224_HMAC_GENERAL
            | M::SHA512_256_HMAC_GENERAL
            | M::SHA512_T_HMAC_GENERAL
            | M::SHA3_224_HMAC_GENERAL
            | M::SHA3_256_HMAC_GENERAL
            | M::SHA3_384_HMAC_GENERAL
            | M::SHA3_512_HMAC_GENERAL
            | M::RIPEMD160_HMAC_GENERAL
            | M::BLAKE2B_160_HMAC_GENERAL
            | M::BLAKE2B_256_HMAC_GENERAL
            | M::BLAKE2B_384_HMAC_GENERAL
            | M::BLAKE2B_512_HMAC_GENERAL
            | M::DES_MAC_GENERAL
            | M::DES3_MAC_GENERAL
            | M::DES3_CMAC_GENERAL
            | M::AES_MAC_GENERAL
            | M::AES_CMAC_GENERAL
            | M::CAMELLIA_MAC_GENERAL
            | M::ARIA_MAC_GENERAL
            | M::SEED_MAC_GENERAL
    )
}

#[cfg(test)]
#[path = "../tests/params.rs"]
mod tests;
