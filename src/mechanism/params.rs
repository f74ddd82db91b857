//! Parameters: from what an application alleges to what a scheme takes.
//!
//! What lives here: one type for each kind of parameter, with every bound of the standard already checked.
//! What must never live here: whether the key may be used (policy), the primitives (crypto).
//! Who calls it: the chapters of operations and keys, when an operation begins.

pub mod wrap;

use strongroom_crypto::block::{BlockCipher, Mode};
use strongroom_crypto::digest::Hash;
use strongroom_crypto::edwards::EdwardsVariant;
use strongroom_wire::ck::{Kdf, MechanismType, Mgf, OaepSource};
use strongroom_wire::request::{OaepParameter, Parameter};

use super::table::{CipherScheme, MacLength, SignScheme};
use crate::error::{Error, Result};

/// How to sign or verify, with all that its parameter says. What has a hash of its own gets the digest.
#[derive(Debug)]
pub enum SignMethod {
    /// RSASSA-PKCS1-v1_5 over a DigestInfo that the application made.
    RsaPkcs1,
    /// RSASSA-PKCS1-v1_5 over a digest of this hash.
    RsaPkcs1Digest(Hash),
    /// The bare operation.
    RsaRaw,
    /// RSASSA-PSS over a digest.
    RsaPss(Pss),
    /// ECDSA over a digest.
    Ecdsa,
    /// DSA over a digest that the application made.
    Dsa,
    /// DSA over a digest.
    DsaDigest,
    /// One of the three forms of Ed25519.
    Eddsa(Edwards),
    /// A MAC, cut to this many bytes.
    Mac(usize),
}

/// How to encrypt or decrypt, with all that its parameter says.
#[derive(Debug)]
pub enum CipherMethod {
    /// RSAES-PKCS1-v1_5.
    RsaPkcs1,
    /// The bare operations.
    RsaRaw,
    /// RSAES-OAEP.
    RsaOaep(Oaep),
    /// A block cipher in a mode of SP 800-38A.
    Block(BlockMode),
    /// AES-GCM.
    AesGcm(Gcm),
}

/// A block cipher and a mode of SP 800-38A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockMode {
    /// Which cipher.
    pub cipher: BlockCipher,
    /// How its blocks hang together.
    pub chaining: Chaining,
}

/// A mode of SP 800-38A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chaining {
    /// Without parameter.
    Ecb,
    /// With its initialisation vector.
    Cbc(Iv),
    /// With its initialisation vector.
    CbcPad(Iv),
    /// With its first counter block, of which so many bits count.
    Ctr([u8; 16], u32),
}

/// An initialisation vector, as long as a block of its cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iv {
    bytes: [u8; 16],
    length: usize,
}

impl Iv {
    /// Takes one for a cipher.
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`] when it is not as long as a block.
    pub fn new(cipher: BlockCipher, iv: &[u8]) -> Result<Self> {
        let length = cipher.block_bytes();
        let mut bytes = [0; 16];
        match bytes.get_mut(..length) {
            Some(room) if room.len() == iv.len() => room.copy_from_slice(iv),
            _ => return Err(Error::MechanismParamInvalid),
        }
        Ok(Self { bytes, length })
    }

    fn parse(cipher: BlockCipher, parameter: &Parameter<'_>) -> Result<Self> {
        match *parameter {
            Parameter::Bytes(iv) => Self::new(cipher, iv),
            _ => Err(Error::MechanismParamInvalid),
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// `CK_KEY_DERIVATION_STRING_DATA`, or `CK_AES_CBC_ENCRYPT_DATA_PARAMS` and its kin.
#[derive(Debug)]
pub struct EncryptData<'p> {
    /// How the data are encrypted.
    pub method: CipherMethod,
    /// What is encrypted: whole blocks.
    pub data: &'p [u8],
}

impl<'p> EncryptData<'p> {
    /// Reads the parameter of a derivation by a cipher in ECB or CBC.
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`].
    pub fn parse(scheme: CipherScheme, parameter: &Parameter<'p>) -> Result<Self> {
        let Parameter::EncryptData { iv, data } = *parameter else {
            return Err(Error::MechanismParamInvalid);
        };
        let (cipher, chaining) = match scheme {
            CipherScheme::Ecb(cipher) if iv.is_empty() => (cipher, Chaining::Ecb),
            CipherScheme::Cbc(cipher) => (cipher, Chaining::Cbc(Iv::new(cipher, iv)?)),
            _ => return Err(Error::MechanismParamInvalid),
        };
        // PKCS#11 3.2, 6.27: the data have to be a multiple of the block.
        if data.is_empty() || !data.len().is_multiple_of(cipher.block_bytes()) {
            return Err(Error::MechanismParamInvalid);
        }
        let method = CipherMethod::Block(BlockMode { cipher, chaining });
        Ok(Self { method, data })
    }
}

/// `CK_RSA_PKCS_PSS_PARAMS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pss {
    /// Hash of the message.
    pub hash: Hash,
    /// Hash of the mask.
    pub mask_hash: Hash,
    /// Length of the salt.
    pub salt_bytes: usize,
}

/// `CK_RSA_PKCS_OAEP_PARAMS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oaep {
    /// Hash of the label.
    pub hash: Hash,
    /// Hash of the mask.
    pub mask_hash: Hash,
    /// The label; usually empty.
    pub label: Box<[u8]>,
}

/// `CK_GCM_PARAMS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gcm {
    /// Initialisation vector, not empty.
    pub iv: Box<[u8]>,
    /// Additional authenticated data.
    pub aad: Box<[u8]>,
    /// Length of the tag.
    pub tag_bytes: usize,
}

/// `CK_EDDSA_PARAMS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edwards {
    /// Ed25519.
    Pure,
    /// Ed25519ctx.
    Context(Box<[u8]>),
    /// Ed25519ph.
    Prehash(Box<[u8]>),
}

/// `CK_ECDH1_DERIVE_PARAMS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecdh<'p> {
    /// Hash of the X9.63 derivation; none takes the shared secret as it is.
    pub hash: Option<Hash>,
    /// Data shared between the parties.
    pub shared: &'p [u8],
    /// The other party's point.
    pub point: &'p [u8],
}

impl SignMethod {
    /// Reads the parameter of a signature under a key of `key_bits` bits (used for RSA only).
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`].
    pub fn parse(scheme: SignScheme, parameter: &Parameter<'_>, key_bits: usize) -> Result<Self> {
        match scheme {
            SignScheme::RsaPss(hash) => Ok(Self::RsaPss(Pss::parse(parameter, hash, key_bits)?)),
            SignScheme::Eddsa => Ok(Self::Eddsa(Edwards::parse(parameter)?)),
            SignScheme::Hmac(hash, length) => Ok(Self::Mac(mac_bytes(
                parameter,
                length,
                hash.output_bytes(),
            )?)),
            SignScheme::Cmac(cipher, length) => {
                let full = cipher.block_bytes();
                Ok(Self::Mac(mac_bytes(parameter, length, full)?))
            }
            SignScheme::Dsa(None) => none(parameter).map(|()| Self::Dsa),
            SignScheme::Dsa(Some(_)) => none(parameter).map(|()| Self::DsaDigest),
            SignScheme::RsaPkcs1(None) => none(parameter).map(|()| Self::RsaPkcs1),
            SignScheme::RsaPkcs1(Some(hash)) => {
                none(parameter).map(|()| Self::RsaPkcs1Digest(hash))
            }
            SignScheme::RsaRaw => none(parameter).map(|()| Self::RsaRaw),
            SignScheme::Ecdsa(_) => none(parameter).map(|()| Self::Ecdsa),
        }
    }
}

impl CipherMethod {
    /// Reads the parameter of a cipher under a key of `key_bits` bits (used for RSA only).
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`].
    pub fn parse(scheme: CipherScheme, parameter: &Parameter<'_>, key_bits: usize) -> Result<Self> {
        Ok(match scheme {
            CipherScheme::RsaPkcs1 => none(parameter).map(|()| Self::RsaPkcs1)?,
            CipherScheme::RsaRaw => none(parameter).map(|()| Self::RsaRaw)?,
            CipherScheme::RsaOaep => Self::RsaOaep(Oaep::parse(parameter, key_bits)?),
            CipherScheme::Ecb(cipher) => {
                none(parameter)?;
                Self::block(cipher, Chaining::Ecb)
            }
            CipherScheme::Cbc(cipher) => {
                Self::block(cipher, Chaining::Cbc(Iv::parse(cipher, parameter)?))
            }
            CipherScheme::CbcPad(cipher) => {
                Self::block(cipher, Chaining::CbcPad(Iv::parse(cipher, parameter)?))
            }
            CipherScheme::AesCtr => Self::block(BlockCipher::Aes, counter(parameter)?),
            CipherScheme::AesGcm => Self::AesGcm(Gcm::parse(parameter)?),
        })
    }
}

impl CipherMethod {
    const fn block(cipher: BlockCipher, chaining: Chaining) -> Self {
        Self::Block(BlockMode { cipher, chaining })
    }
}

impl BlockMode {
    /// As the primitive takes it.
    #[must_use]
    pub fn mode(&self) -> Mode<'_> {
        match &self.chaining {
            Chaining::Ecb => Mode::Ecb,
            Chaining::Cbc(iv) => Mode::Cbc { iv: iv.bytes() },
            Chaining::CbcPad(iv) => Mode::CbcPad { iv: iv.bytes() },
            Chaining::Ctr(counter_block, counter_bits) => Mode::Ctr {
                counter_block,
                counter_bits: *counter_bits,
            },
        }
    }
}

impl Pss {
    fn parse(parameter: &Parameter<'_>, combined: Option<Hash>, key_bits: usize) -> Result<Self> {
        let Parameter::Pss {
            hash,
            mgf,
            salt_bytes,
        } = parameter
        else {
            return Err(Error::MechanismParamInvalid);
        };
        let hash = hash_of(*hash)?;
        // PKCS#11 3.2, 6.1.11: with a mechanism that hashes, the parameter names the same hash.
        if combined.is_some_and(|combined| combined != hash) {
            return Err(Error::MechanismParamInvalid);
        }
        let salt_bytes = usize::try_from(*salt_bytes).map_err(|_| Error::MechanismParamInvalid)?;
        // RFC 8017, 9.1.1, step 3: emLen is at least hLen + sLen + 2.
        let room = key_bits
            .saturating_sub(1)
            .div_ceil(8)
            .checked_sub(hash.output_bytes() + 2);
        if room.is_none_or(|room| salt_bytes > room) {
            return Err(Error::MechanismParamInvalid);
        }
        Ok(Self {
            hash,
            mask_hash: mask_hash_of(*mgf)?,
            salt_bytes,
        })
    }
}

impl Oaep {
    fn parse(parameter: &Parameter<'_>, key_bits: usize) -> Result<Self> {
        let Parameter::Oaep(parameter) = parameter else {
            return Err(Error::MechanismParamInvalid);
        };
        Self::read(parameter, key_bits)
    }

    fn read(parameter: &OaepParameter<'_>, key_bits: usize) -> Result<Self> {
        let OaepParameter {
            hash,
            mgf,
            source,
            label,
        } = *parameter;
        // PKCS#11 3.2, 6.1.8: the only source is the data given. Where there are none some applications leave the source zero.
        if source != OaepSource::DATA_SPECIFIED && !(source.0 == 0 && label.is_empty()) {
            return Err(Error::MechanismParamInvalid);
        }
        let oaep = Self {
            hash: hash_of(hash)?,
            mask_hash: mask_hash_of(mgf)?,
            label: label.into(),
        };
        match oaep.data_bytes_max(key_bits.div_ceil(8)) {
            Some(_) => Ok(oaep),
            None => Err(Error::MechanismParamInvalid),
        }
    }

    /// How much fits under a modulus of so many bytes; none when not even nothing does.
    #[must_use]
    pub const fn data_bytes_max(&self, modulus_bytes: usize) -> Option<usize> {
        // RFC 8017, 7.1.1, step 1b.
        modulus_bytes.checked_sub(2 * self.hash.output_bytes() + 2)
    }
}

impl Gcm {
    fn parse(parameter: &Parameter<'_>) -> Result<Self> {
        match *parameter {
            Parameter::Gcm { iv, aad, tag_bits } => Self::read(iv, aad, tag_bits),
            _ => Err(Error::MechanismParamInvalid),
        }
    }

    fn read(iv: &[u8], aad: &[u8], tag_bits: u64) -> Result<Self> {
        // SP 800-38D, 5.2.1.2, all lengths of tags that it names.
        let tag_bytes = match tag_bits {
            32 => 4,
            64 => 8,
            96 => 12,
            104 => 13,
            112 => 14,
            120 => 15,
            128 => 16,
            _ => return Err(Error::MechanismParamInvalid),
        };
        if iv.is_empty() {
            return Err(Error::MechanismParamInvalid);
        }
        Ok(Self {
            iv: iv.into(),
            aad: aad.into(),
            tag_bytes,
        })
    }
}

impl Edwards {
    fn parse(parameter: &Parameter<'_>) -> Result<Self> {
        let Parameter::Eddsa { prehash, context } = *parameter else {
            return none(parameter).map(|()| Self::Pure);
        };
        if context.len() > CONTEXT_BYTES_MAX {
            return Err(Error::MechanismParamInvalid);
        }
        Ok(match (prehash, context) {
            (true, context) => Self::Prehash(context.into()),
            // RFC 8032, 5.1: the context of Ed25519ctx is not empty; nothing to separate is plain Ed25519.
            (false, []) => Self::Pure,
            (false, context) => Self::Context(context.into()),
        })
    }

    /// As the primitive takes it.
    #[must_use]
    pub const fn variant(&self) -> EdwardsVariant<'_> {
        match self {
            Self::Pure => EdwardsVariant::Pure,
            Self::Context(context) => EdwardsVariant::Context(context),
            Self::Prehash(context) => EdwardsVariant::Prehash(context),
        }
    }
}

impl<'p> Ecdh<'p> {
    /// Reads the parameter of a derivation.
    ///
    /// # Errors
    /// [`Error::MechanismParamInvalid`].
    pub fn parse(parameter: &Parameter<'p>) -> Result<Self> {
        let Parameter::Ecdh1 { kdf, shared, point } = *parameter else {
            return Err(Error::MechanismParamInvalid);
        };
        let hash = match kdf {
            Kdf::NULL => None,
            Kdf::SHA1_KDF => Some(Hash::Sha1),
            Kdf::SHA224_KDF => Some(Hash::Sha224),
            Kdf::SHA256_KDF => Some(Hash::Sha256),
            Kdf::SHA384_KDF => Some(Hash::Sha384),
            Kdf::SHA512_KDF => Some(Hash::Sha512),
            Kdf::SHA3_224_KDF => Some(Hash::Sha3_224),
            Kdf::SHA3_256_KDF => Some(Hash::Sha3_256),
            Kdf::SHA3_384_KDF => Some(Hash::Sha3_384),
            Kdf::SHA3_512_KDF => Some(Hash::Sha3_512),
            _ => return Err(Error::MechanismParamInvalid),
        };
        // PKCS#11 3.2, 6.3.17: without a derivation there is nothing that shared data could go into.
        if hash.is_none() && !shared.is_empty() {
            return Err(Error::MechanismParamInvalid);
        }
        Ok(Self {
            hash,
            shared,
            point,
        })
    }
}

/// The parameter of a mechanism that has none. An application may point at nothing, with length zero.
///
/// # Errors
/// [`Error::MechanismParamInvalid`].
pub const fn none(parameter: &Parameter<'_>) -> Result<()> {
    match parameter {
        Parameter::None | Parameter::Bytes([]) => Ok(()),
        _ => Err(Error::MechanismParamInvalid),
    }
}

/// The initial value of a key wrap: that of RFC 3394, 2.2.3.1 unless `N` bytes are given.
///
/// # Errors
/// [`Error::MechanismParamInvalid`].
pub fn optional_iv<const N: usize>(parameter: &Parameter<'_>) -> Result<Option<[u8; N]>> {
    match *parameter {
        Parameter::None | Parameter::Bytes([]) => Ok(None),
        Parameter::Bytes(iv) => iv
            .try_into()
            .map(Some)
            .map_err(|_| Error::MechanismParamInvalid),
        _ => Err(Error::MechanismParamInvalid),
    }
}

fn counter(parameter: &Parameter<'_>) -> Result<Chaining> {
    let Parameter::Counter { bits, block } = *parameter else {
        return Err(Error::MechanismParamInvalid);
    };
    match u32::try_from(bits) {
        Ok(bits @ 1..=128) => Ok(Chaining::Ctr(block, bits)),
        _ => Err(Error::MechanismParamInvalid),
    }
}

fn mac_bytes(parameter: &Parameter<'_>, length: MacLength, full: usize) -> Result<usize> {
    match (length, parameter) {
        (MacLength::Full, parameter) => none(parameter).map(|()| full),
        // A MAC of no bytes would be right for every message.
        (MacLength::General, Parameter::Number(bytes)) => usize::try_from(*bytes)
            .ok()
            .filter(|bytes| (1..=full).contains(bytes))
            .ok_or(Error::MechanismParamInvalid),
        (MacLength::General, _) => Err(Error::MechanismParamInvalid),
    }
}

/// The hash that a parameter names by its digest mechanism.
fn hash_of(mechanism: MechanismType) -> Result<Hash> {
    super::row(mechanism)
        .and_then(super::Row::digest)
        // MD5 has no mask of its own in the standard, and nothing old needs one.
        .filter(|hash| *hash != Hash::Md5)
        .ok_or(Error::MechanismParamInvalid)
}

fn mask_hash_of(mgf: Mgf) -> Result<Hash> {
    Ok(match mgf {
        Mgf::MGF1_SHA1 => Hash::Sha1,
        Mgf::MGF1_SHA224 => Hash::Sha224,
        Mgf::MGF1_SHA256 => Hash::Sha256,
        Mgf::MGF1_SHA384 => Hash::Sha384,
        Mgf::MGF1_SHA512 => Hash::Sha512,
        Mgf::MGF1_SHA3_224 => Hash::Sha3_224,
        Mgf::MGF1_SHA3_256 => Hash::Sha3_256,
        Mgf::MGF1_SHA3_384 => Hash::Sha3_384,
        Mgf::MGF1_SHA3_512 => Hash::Sha3_512,
        _ => return Err(Error::MechanismParamInvalid),
    })
}

/// RFC 8032, 2: a context has at most 255 octets.
const CONTEXT_BYTES_MAX: usize = 255;
