//! Mechanisms with parameters that own their bytes.
//!
//! What lives here: `Mechanism` and its laying out as `CK_MECHANISM`.
//! What must never live here: which parameters are good; many tests pass bad ones.
//! Who calls it: every test that computes.

use core::ffi::c_void;
use core::ptr::null_mut;

use cryptoki_sys::*;

/// A mechanism and its parameter.
#[derive(Clone, Debug)]
pub struct Mechanism {
    /// The number.
    pub kind: CK_MECHANISM_TYPE,
    /// The parameter.
    pub parameter: Parameter,
}

/// A parameter.
#[derive(Clone, Debug)]
pub enum Parameter {
    /// `NULL_PTR`, zero.
    None,
    /// Bytes as they are: an initialisation vector, or rubbish.
    Bytes(Vec<u8>),
    /// `CK_MAC_GENERAL_PARAMS`.
    Number(CK_ULONG),
    /// `CK_AES_CTR_PARAMS`.
    Counter {
        /// How many bits count.
        bits: CK_ULONG,
        /// The first block.
        block: [u8; 16],
    },
    /// `CK_GCM_PARAMS`.
    Gcm {
        /// Initialisation vector.
        iv: Vec<u8>,
        /// Additional data.
        aad: Vec<u8>,
        /// Bits of the tag.
        tag_bits: CK_ULONG,
    },
    /// `CK_RSA_PKCS_PSS_PARAMS`.
    Pss {
        /// Hash of the message.
        hash: CK_MECHANISM_TYPE,
        /// Mask generation function.
        mgf: CK_RSA_PKCS_MGF_TYPE,
        /// Bytes of salt.
        salt: CK_ULONG,
    },
    /// `CK_RSA_PKCS_OAEP_PARAMS`.
    Oaep(Oaep),
    /// `CK_RSA_AES_KEY_WRAP_PARAMS`.
    RsaAes {
        /// Bits of the temporary key.
        aes_bits: CK_ULONG,
        /// How it is encrypted.
        oaep: Oaep,
    },
    /// `CK_ECDH1_DERIVE_PARAMS`.
    Ecdh {
        /// Key derivation function.
        kdf: CK_EC_KDF_TYPE,
        /// Shared data.
        shared: Vec<u8>,
        /// The other's point.
        point: Vec<u8>,
    },
    /// `CK_EDDSA_PARAMS`.
    Eddsa {
        /// Ed25519ph.
        prehash: bool,
        /// Context.
        context: Vec<u8>,
    },
    /// `CK_KEY_DERIVATION_STRING_DATA` without a vector; with one `CK_DES_CBC_ENCRYPT_DATA_PARAMS` or `CK_AES_CBC_ENCRYPT_DATA_PARAMS`, by
    /// its length.
    EncryptData {
        /// Initialisation vector.
        iv: Vec<u8>,
        /// What is encrypted.
        data: Vec<u8>,
    },
}

/// `CK_RSA_PKCS_OAEP_PARAMS`.
#[derive(Clone, Debug)]
pub struct Oaep {
    /// Hash of the label.
    pub hash: CK_MECHANISM_TYPE,
    /// Mask generation function.
    pub mgf: CK_RSA_PKCS_MGF_TYPE,
    /// The label.
    pub label: Vec<u8>,
}

impl Oaep {
    fn raw(&self) -> CK_RSA_PKCS_OAEP_PARAMS {
        CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: self.hash,
            mgf: self.mgf,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: pointer_or_null(&self.label).cast(),
            ulSourceDataLen: self.label.len() as CK_ULONG,
        }
    }
}

impl Mechanism {
    /// Without parameter.
    #[must_use]
    pub const fn plain(kind: CK_MECHANISM_TYPE) -> Self {
        Self {
            kind,
            parameter: Parameter::None,
        }
    }

    /// With any parameter.
    #[must_use]
    pub const fn new(kind: CK_MECHANISM_TYPE, parameter: Parameter) -> Self {
        Self { kind, parameter }
    }

    /// With an initialisation vector, or other bytes.
    #[must_use]
    pub fn bytes(kind: CK_MECHANISM_TYPE, bytes: &[u8]) -> Self {
        Self::new(kind, Parameter::Bytes(bytes.to_vec()))
    }

    /// AES-GCM.
    #[must_use]
    pub fn gcm(iv: &[u8], aad: &[u8], tag_bits: CK_ULONG) -> Self {
        Self::new(
            CKM_AES_GCM,
            Parameter::Gcm {
                iv: iv.to_vec(),
                aad: aad.to_vec(),
                tag_bits,
            },
        )
    }

    /// RSA-OAEP.
    #[must_use]
    pub fn oaep(hash: CK_MECHANISM_TYPE, mgf: CK_RSA_PKCS_MGF_TYPE, label: &[u8]) -> Self {
        Self::new(
            CKM_RSA_PKCS_OAEP,
            Parameter::Oaep(Oaep {
                hash,
                mgf,
                label: label.to_vec(),
            }),
        )
    }

    /// ECDH with or without key derivation function.
    #[must_use]
    pub fn ecdh(kdf: CK_EC_KDF_TYPE, shared: &[u8], point: &[u8]) -> Self {
        Self::new(
            CKM_ECDH1_DERIVE,
            Parameter::Ecdh {
                kdf,
                shared: shared.to_vec(),
                point: point.to_vec(),
            },
        )
    }

    /// Calls `action` with the C structure, which lives as long as the call.
    pub fn laid_out<T>(&self, action: impl FnOnce(*mut CK_MECHANISM) -> T) -> T {
        let with = |parameter: *mut c_void, length: usize| {
            let mut raw = CK_MECHANISM {
                mechanism: self.kind,
                pParameter: parameter,
                ulParameterLen: length as CK_ULONG,
            };
            action(&raw mut raw)
        };
        match &self.parameter {
            Parameter::None => with(null_mut(), 0),
            Parameter::Bytes(bytes) => with(bytes.as_ptr().cast_mut().cast(), bytes.len()),
            Parameter::Number(number) => {
                let mut number = *number;
                with((&raw mut number).cast(), size_of_val(&number))
            }
            Parameter::Counter { bits, block } => {
                let mut raw = CK_AES_CTR_PARAMS {
                    ulCounterBits: *bits,
                    cb: *block,
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Parameter::Gcm { iv, aad, tag_bits } => {
                let mut raw = CK_GCM_PARAMS {
                    pIv: pointer_or_null(iv),
                    ulIvLen: iv.len() as CK_ULONG,
                    ulIvBits: (iv.len() * 8) as CK_ULONG,
                    pAAD: pointer_or_null(aad),
                    ulAADLen: aad.len() as CK_ULONG,
                    ulTagBits: *tag_bits,
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Parameter::Pss { hash, mgf, salt } => {
                let mut raw = CK_RSA_PKCS_PSS_PARAMS {
                    hashAlg: *hash,
                    mgf: *mgf,
                    sLen: *salt,
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Parameter::Oaep(oaep) => {
                let mut raw = oaep.raw();
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Parameter::RsaAes { aes_bits, oaep } => {
                let mut inner = oaep.raw();
                let mut raw = CK_RSA_AES_KEY_WRAP_PARAMS {
                    ulAESKeyBits: *aes_bits,
                    pOAEPParams: &raw mut inner,
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Parameter::Ecdh { kdf, shared, point } => {
                let mut raw = CK_ECDH1_DERIVE_PARAMS {
                    kdf: *kdf,
                    ulSharedDataLen: shared.len() as CK_ULONG,
                    pSharedData: pointer_or_null(shared),
                    ulPublicDataLen: point.len() as CK_ULONG,
                    pPublicData: pointer_or_null(point),
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Parameter::Eddsa { prehash, context } => {
                let mut raw = CK_EDDSA_PARAMS {
                    phFlag: u8::from(*prehash),
                    ulContextDataLen: context.len() as CK_ULONG,
                    pContextData: pointer_or_null(context),
                };
                with((&raw mut raw).cast(), size_of_val(&raw))
            }
            Parameter::EncryptData { iv, data } => {
                let (start, length) = (pointer_or_null(data), data.len() as CK_ULONG);
                let mut plain = CK_KEY_DERIVATION_STRING_DATA {
                    pData: start,
                    ulLen: length,
                };
                let mut of_des = CK_DES_CBC_ENCRYPT_DATA_PARAMS {
                    iv: [0; 8],
                    pData: start,
                    length,
                };
                let mut of_aes = CK_AES_CBC_ENCRYPT_DATA_PARAMS {
                    iv: [0; 16],
                    pData: start,
                    length,
                };
                match iv.len() {
                    8 => {
                        of_des.iv.copy_from_slice(iv);
                        with((&raw mut of_des).cast(), size_of_val(&of_des))
                    }
                    16 => {
                        of_aes.iv.copy_from_slice(iv);
                        with((&raw mut of_aes).cast(), size_of_val(&of_aes))
                    }
                    _ => with((&raw mut plain).cast(), size_of_val(&plain)),
                }
            }
        }
    }
}

impl From<CK_MECHANISM_TYPE> for Mechanism {
    fn from(kind: CK_MECHANISM_TYPE) -> Self {
        Self::plain(kind)
    }
}

fn pointer_or_null(bytes: &[u8]) -> *mut u8 {
    if bytes.is_empty() {
        null_mut()
    } else {
        bytes.as_ptr().cast_mut()
    }
}
