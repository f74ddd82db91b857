//! Mechanisms with their parameters.
//!
//! What lives here: `Mechanism` and its laying out as the C structure, on the stack.
//! What must never live here: which mechanism a case uses.
//! Who calls it: the cases.

use core::ffi::c_void;
use core::ptr::null_mut;

use cryptoki_sys::*;

/// A mechanism and its parameter.
#[derive(Clone, Debug)]
pub(crate) enum Mechanism {
    /// Without parameter.
    Plain(CK_MECHANISM_TYPE),
    /// With an initialisation vector.
    Iv(CK_MECHANISM_TYPE, [u8; 16]),
    /// AES in counter mode.
    Counter([u8; 16]),
    /// AES-GCM with a tag of 128 bits and no additional data.
    Gcm([u8; 12]),
    /// RSA-PSS over a SHA-256 digest, with a salt of 32 bytes.
    Pss,
    /// RSA-OAEP with SHA-1, which all modules have.
    Oaep,
    /// ECDH without key derivation function, with this point.
    Ecdh(Vec<u8>),
}

impl Mechanism {
    const fn kind(&self) -> CK_MECHANISM_TYPE {
        match self {
            Self::Plain(kind) | Self::Iv(kind, _) => *kind,
            Self::Counter(_) => CKM_AES_CTR,
            Self::Gcm(_) => CKM_AES_GCM,
            Self::Pss => CKM_RSA_PKCS_PSS,
            Self::Oaep => CKM_RSA_PKCS_OAEP,
            Self::Ecdh(_) => CKM_ECDH1_DERIVE,
        }
    }

    /// Calls `action` with the C structure, which lives as long as the call.
    pub(crate) fn laid_out<T>(&self, action: impl FnOnce(*mut CK_MECHANISM) -> T) -> T {
        let with = |parameter: *mut c_void, length: usize| {
            let mut raw = CK_MECHANISM {
                mechanism: self.kind(),
                pParameter: parameter,
                ulParameterLen: length as CK_ULONG,
            };
            action(&raw mut raw)
        };
        match self {
            Self::Plain(_) => with(null_mut(), 0),
            Self::Iv(_, iv) => with(iv.as_ptr().cast_mut().cast(), iv.len()),
            Self::Counter(block) => {
                let mut raw = CK_AES_CTR_PARAMS {
                    ulCounterBits: 128,
                    cb: *block,
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Self::Gcm(iv) => {
                let mut raw = CK_GCM_PARAMS {
                    pIv: iv.as_ptr().cast_mut(),
                    ulIvLen: 12,
                    ulIvBits: 96,
                    pAAD: null_mut(),
                    ulAADLen: 0,
                    ulTagBits: 128,
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Self::Pss => {
                let mut raw = CK_RSA_PKCS_PSS_PARAMS {
                    hashAlg: CKM_SHA256,
                    mgf: CKG_MGF1_SHA256,
                    sLen: 32,
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Self::Oaep => {
                let mut raw = CK_RSA_PKCS_OAEP_PARAMS {
                    hashAlg: CKM_SHA_1,
                    mgf: CKG_MGF1_SHA1,
                    source: CKZ_DATA_SPECIFIED,
                    pSourceData: null_mut(),
                    ulSourceDataLen: 0,
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Self::Ecdh(point) => {
                let mut raw = CK_ECDH1_DERIVE_PARAMS {
                    kdf: CKD_NULL,
                    ulSharedDataLen: 0,
                    pSharedData: null_mut(),
                    ulPublicDataLen: point.len() as CK_ULONG,
                    pPublicData: point.as_ptr().cast_mut(),
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
        }
    }
}
