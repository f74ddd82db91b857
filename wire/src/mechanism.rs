//! Mechanisms, as requests name them.
//!
//! What lives here: a mechanism and its parameter, the C structure taken apart.
//! What must never live here: whether a parameter is good; the token judges it.
//! Who calls it: [`crate::request`], which shows it as its own.

use serde::{Deserialize, Serialize};

use crate::ck::{Kdf, MechanismType, Mgf, OaepSource};
use crate::codec;

/// The parameter of a mechanism, its C structure taken apart by the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Parameter<'a> {
    /// `NULL_PTR`.
    None,
    /// An initialisation vector, or whatever came with a mechanism that the module does not know.
    #[serde(borrow)]
    Bytes(#[serde(serialize_with = "codec::bytes")] &'a [u8]),
    /// `CK_AES_CTR_PARAMS`.
    Counter {
        /// How many bits of the block count.
        bits: u64,
        /// The first counter block.
        block: [u8; 16],
    },
    /// `CK_GCM_PARAMS`.
    Gcm {
        /// Initialisation vector.
        #[serde(serialize_with = "codec::bytes")]
        iv: &'a [u8],
        /// Additional authenticated data.
        #[serde(serialize_with = "codec::bytes")]
        aad: &'a [u8],
        /// Length of the tag in bits.
        tag_bits: u64,
    },
    /// A single `CK_ULONG`: the length of a general MAC in bytes.
    Number(u64),
    /// `CK_RSA_PKCS_OAEP_PARAMS`.
    Oaep(OaepParameter<'a>),
    /// `CK_RSA_PKCS_PSS_PARAMS`.
    Pss {
        /// Hash of the message.
        hash: MechanismType,
        /// Mask generation function.
        mgf: Mgf,
        /// Length of the salt in bytes.
        salt_bytes: u64,
    },
    /// `CK_ECDH1_DERIVE_PARAMS`.
    Ecdh1 {
        /// Key derivation function.
        kdf: Kdf,
        /// Data shared between the parties.
        #[serde(serialize_with = "codec::bytes")]
        shared: &'a [u8],
        /// The other party's public point.
        #[serde(serialize_with = "codec::bytes")]
        point: &'a [u8],
    },
    /// `CK_RSA_AES_KEY_WRAP_PARAMS`.
    RsaAesKeyWrap {
        /// Length of the temporary AES key in bits.
        aes_bits: u64,
        /// How that key is encrypted.
        oaep: OaepParameter<'a>,
    },
    /// `CK_EDDSA_PARAMS`.
    Eddsa {
        /// Ed25519ph instead of Ed25519.
        prehash: bool,
        /// Context of at most 255 bytes.
        #[serde(serialize_with = "codec::bytes")]
        context: &'a [u8],
    },
    /// A parameter whose length or pointers do not fit its mechanism.
    Malformed,
    /// `CK_KEY_DERIVATION_STRING_DATA`, without a vector, and `CK_DES_CBC_ENCRYPT_DATA_PARAMS` and `CK_AES_CBC_ENCRYPT_DATA_PARAMS`.
    EncryptData {
        /// Initialisation vector; empty where there is none.
        #[serde(serialize_with = "codec::bytes")]
        iv: &'a [u8],
        /// What is encrypted.
        #[serde(serialize_with = "codec::bytes")]
        data: &'a [u8],
    },
    /// `CK_GCM_WRAP_PARAMS`.
    GcmWrap {
        /// Initialisation vector.
        #[serde(serialize_with = "codec::bytes")]
        iv: &'a [u8],
        /// How many of its leading bits stay where the token makes the rest.
        fixed_bits: u64,
        /// How the rest is made, `CKG_NO_GENERATE` to `CKG_GENERATE_COUNTER_XOR`.
        generator: Mgf,
        /// Additional authenticated data.
        #[serde(serialize_with = "codec::bytes")]
        aad: &'a [u8],
        /// Length of the tag in bits.
        tag_bits: u64,
    },
}

/// `CK_RSA_PKCS_OAEP_PARAMS`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct OaepParameter<'a> {
    /// Hash of the label.
    pub hash: MechanismType,
    /// Mask generation function.
    pub mgf: Mgf,
    /// Where the label comes from.
    pub source: OaepSource,
    /// The label.
    #[serde(serialize_with = "codec::bytes")]
    pub label: &'a [u8],
}

/// A mechanism with its parameter (`CK_MECHANISM`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mechanism<'a> {
    /// Which mechanism.
    pub kind: MechanismType,
    /// Its parameter.
    #[serde(borrow)]
    pub parameter: Parameter<'a>,
}
