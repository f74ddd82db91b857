//! The table of mechanisms: one row each, from which dispatch, flags, sizes and documents are derived.
//!
//! What lives here: rows.
//! What must never live here: code that carries a scheme out.
//! Who calls it: [`crate::policy`], the chapters, the generated SUPPORT.md.

use strongroom_crypto::block::BlockCipher;
use strongroom_crypto::digest::Hash;
use strongroom_wire::ck::{KeyType, MechanismType, flag};
use strongroom_wire::response::MechanismEntry;

use crate::limits::SECRET_KEY_BYTES_MAX;

/// One mechanism.
#[derive(Debug)]
pub struct Row {
    /// Its number.
    pub kind: MechanismType,
    /// Types of key it works with or makes; empty for those without a key.
    pub key_types: &'static [KeyType],
    /// Smallest and largest key, in bits or bytes as the standard has it for this mechanism; zeros where there is no key.
    pub sizes: (u64, u64),
    /// What can be done with it.
    pub schemes: &'static [Scheme],
}

/// One thing that a mechanism does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// C_Digest.
    Digest(Hash),
    /// C_Sign and C_Verify.
    Sign(SignScheme),
    /// C_SignRecover and C_VerifyRecover; only PKCS#1 v1.5 and raw RSA recover.
    Recover(SignScheme),
    /// C_Encrypt and C_Decrypt.
    Cipher(CipherScheme),
    /// C_WrapKey and C_UnwrapKey, also in their authenticated forms.
    Wrap(WrapScheme),
    /// C_DeriveKey.
    Derive(DeriveScheme),
    /// C_GenerateKey and C_GenerateKeyPair.
    Generate(GenerateScheme),
}

/// How to sign. Those with a hash take any amount of data in parts; those without take what they sign whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignScheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017, 8.2): with a hash, or over a DigestInfo that the application made.
    RsaPkcs1(Option<Hash>),
    /// The bare private-key operation (RFC 8017, 5.2.1).
    RsaRaw,
    /// RSASSA-PSS (RFC 8017, 8.1): with a hash, or over a digest.
    RsaPss(Option<Hash>),
    /// ECDSA (FIPS 186-5, 6): with a hash, or over a digest.
    Ecdsa(Option<Hash>),
    /// DSA (FIPS 186-4, 4): with a hash, or over a digest.
    Dsa(Option<Hash>),
    /// Ed25519, Ed25519ctx, Ed25519ph (RFC 8032, 5.1).
    Eddsa,
    /// HMAC (FIPS 198-1); the length of a general one stands in its parameter.
    Hmac(Hash, MacLength),
    /// CMAC (SP 800-38B).
    Cmac(BlockCipher, MacLength),
}

/// Length of a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacLength {
    /// Whole.
    Full,
    /// As the parameter says, in bytes.
    General,
}

/// How to encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherScheme {
    /// RSAES-PKCS1-v1_5 (RFC 8017, 7.2).
    RsaPkcs1,
    /// The bare operations (RFC 8017, 5.1).
    RsaRaw,
    /// RSAES-OAEP (RFC 8017, 7.1).
    RsaOaep,
    /// SP 800-38A, 6.1.
    Ecb(BlockCipher),
    /// SP 800-38A, 6.2.
    Cbc(BlockCipher),
    /// CBC with the padding of PKCS#7 (RFC 5652, 6.3).
    CbcPad(BlockCipher),
    /// SP 800-38A, 6.5.
    AesCtr,
    /// SP 800-38D.
    AesGcm,
}

/// How to wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapScheme {
    /// A cipher over the key's bytes: a block cipher in ECB, CBC, CBC with padding, AES-CTR, AES-GCM, RSA PKCS#1 and OAEP.
    Cipher(CipherScheme),
    /// RFC 3394.
    AesKw,
    /// RFC 5649.
    AesKwp,
    /// A temporary AES key under OAEP, then the key under it with RFC 5649 (PKCS#11 3.2, 6.1.21).
    RsaAes,
}

impl WrapScheme {
    /// Whether it takes associated data: AES-GCM, and RSA-AES, where they are the label of OAEP.
    #[must_use]
    pub const fn authenticates(self) -> bool {
        matches!(self, Self::Cipher(CipherScheme::AesGcm) | Self::RsaAes)
    }
}

/// How to derive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeriveScheme {
    /// ECDH, and X25519 on Montgomery keys (SP 800-56A, 5.7.1.2; RFC 7748, 6).
    Ecdh,
    /// Diffie-Hellman of PKCS #3 (PKCS#11 3.2, 6.4.8).
    Dh,
    /// The result of an encryption (PKCS#11 3.2, 6.27).
    EncryptData(CipherScheme),
}

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerateScheme {
    /// AES key.
    Aes,
    /// DES key, of one, two or three keys.
    Des,
    /// Generic secret.
    Secret,
    /// Domain parameters of DSA.
    DsaParameters,
    /// Domain parameters of Diffie-Hellman.
    DhParameters,
    /// RSA pair.
    RsaPair,
    /// DSA pair, of given parameters.
    DsaPair,
    /// Diffie-Hellman pair, of given parameters.
    DhPair,
    /// Pair on a Weierstrass curve.
    EcPair,
    /// Ed25519 pair.
    EdwardsPair,
    /// X25519 pair.
    MontgomeryPair,
}

/// A function that wants a mechanism, as a bit of `CK_MECHANISM_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the functions")]
pub enum Use {
    Encrypt,
    Decrypt,
    Digest,
    Sign,
    SignRecover,
    Verify,
    VerifyRecover,
    Generate,
    GenerateKeyPair,
    Wrap,
    Unwrap,
    Derive,
}

impl Use {
    /// Its bit.
    #[must_use]
    pub const fn flag(self) -> u64 {
        match self {
            Self::Encrypt => flag::ENCRYPT,
            Self::Decrypt => flag::DECRYPT,
            Self::Digest => flag::DIGEST,
            Self::Sign => flag::SIGN,
            Self::SignRecover => flag::SIGN_RECOVER,
            Self::Verify => flag::VERIFY,
            Self::VerifyRecover => flag::VERIFY_RECOVER,
            Self::Generate => flag::GENERATE,
            Self::GenerateKeyPair => flag::GENERATE_KEY_PAIR,
            Self::Wrap => flag::WRAP,
            Self::Unwrap => flag::UNWRAP,
            Self::Derive => flag::DERIVE,
        }
    }
}

impl Scheme {
    const fn flags(self) -> u64 {
        match self {
            Self::Digest(_) => flag::DIGEST,
            Self::Sign(_) => flag::SIGN | flag::VERIFY,
            Self::Recover(_) => flag::SIGN_RECOVER | flag::VERIFY_RECOVER,
            Self::Cipher(_) => flag::ENCRYPT | flag::DECRYPT,
            Self::Wrap(_) => flag::WRAP | flag::UNWRAP,
            Self::Derive(_) => flag::DERIVE,
            Self::Generate(
                GenerateScheme::Aes
                | GenerateScheme::Des
                | GenerateScheme::Secret
                | GenerateScheme::DsaParameters
                | GenerateScheme::DhParameters,
            ) => flag::GENERATE,
            Self::Generate(_) => flag::GENERATE_KEY_PAIR,
        }
    }
}

impl Row {
    /// `CKF_…` of this mechanism: computed, so that what is advertised is what is there.
    #[must_use]
    pub fn flags(&self) -> u64 {
        let curves = flag::EC_F_P | flag::EC_OID | flag::EC_UNCOMPRESS | flag::EC_CURVENAME;
        let families = self
            .key_types
            .iter()
            .fold(0, |all, key_type| match *key_type {
                KeyType::EC => all | curves | flag::EC_COMPRESS,
                KeyType::EC_EDWARDS | KeyType::EC_MONTGOMERY => all | curves,
                _ => all,
            });
        self.schemes
            .iter()
            .fold(families, |all, scheme| all | scheme.flags())
    }

    /// Whether a function can use it.
    #[must_use]
    pub fn serves(&self, function: Use) -> bool {
        self.flags() & function.flag() != 0
    }

    /// As it is told to applications.
    #[must_use]
    pub fn entry(&self) -> MechanismEntry {
        let (key_size_min, key_size_max) = self.sizes;
        MechanismEntry {
            kind: self.kind,
            key_size_min,
            key_size_max,
            flags: self.flags(),
        }
    }

    /// The scheme of C_Digest.
    #[must_use]
    pub fn digest(&self) -> Option<Hash> {
        self.schemes.iter().find_map(|scheme| {
            if let Scheme::Digest(hash) = scheme {
                Some(*hash)
            } else {
                None
            }
        })
    }

    /// The scheme of C_Sign and C_Verify.
    #[must_use]
    pub fn sign(&self) -> Option<SignScheme> {
        self.schemes.iter().find_map(|scheme| {
            if let Scheme::Sign(sign) = scheme {
                Some(*sign)
            } else {
                None
            }
        })
    }

    /// The scheme of C_SignRecover and C_VerifyRecover.
    #[must_use]
    pub fn recover(&self) -> Option<SignScheme> {
        self.schemes.iter().find_map(|scheme| {
            if let Scheme::Recover(sign) = scheme {
                Some(*sign)
            } else {
                None
            }
        })
    }

    /// The scheme of C_Encrypt and C_Decrypt.
    #[must_use]
    pub fn cipher(&self) -> Option<CipherScheme> {
        self.schemes.iter().find_map(|scheme| {
            if let Scheme::Cipher(cipher) = scheme {
                Some(*cipher)
            } else {
                None
            }
        })
    }

    /// The scheme of C_WrapKey and C_UnwrapKey.
    #[must_use]
    pub fn wrap(&self) -> Option<WrapScheme> {
        self.schemes.iter().find_map(|scheme| {
            if let Scheme::Wrap(wrap) = scheme {
                Some(*wrap)
            } else {
                None
            }
        })
    }

    /// The scheme of C_DeriveKey.
    #[must_use]
    pub fn derive(&self) -> Option<DeriveScheme> {
        self.schemes.iter().find_map(|scheme| {
            if let Scheme::Derive(derive) = scheme {
                Some(*derive)
            } else {
                None
            }
        })
    }

    /// The scheme of C_GenerateKey and C_GenerateKeyPair.
    #[must_use]
    pub fn generate(&self) -> Option<GenerateScheme> {
        self.schemes.iter().find_map(|scheme| {
            if let Scheme::Generate(generate) = scheme {
                Some(*generate)
            } else {
                None
            }
        })
    }
}

/// The row of a mechanism.
#[must_use]
pub fn row(kind: MechanismType) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.kind == kind)
}

/// Every row, in the order in which C_GetMechanismList tells them.
#[must_use]
pub fn rows() -> &'static [Row] {
    TABLE
}

const RSA: &[KeyType] = &[KeyType::RSA];
const EC: &[KeyType] = &[KeyType::EC];
const EDWARDS: &[KeyType] = &[KeyType::EC_EDWARDS];
const MONTGOMERY: &[KeyType] = &[KeyType::EC_MONTGOMERY];
const EC_AND_MONTGOMERY: &[KeyType] = &[KeyType::EC, KeyType::EC_MONTGOMERY];
const AES: &[KeyType] = &[KeyType::AES];
const DES: &[KeyType] = &[KeyType::DES];
const DES3_AND_2: &[KeyType] = &[KeyType::DES3, KeyType::DES2];
const DSA: &[KeyType] = &[KeyType::DSA];
const DH: &[KeyType] = &[KeyType::DH];
const SECRET: &[KeyType] = &[KeyType::GENERIC_SECRET];

/// Bits. What an operator lets be made and used is within these (`limits.rs`).
const RSA_BITS: (u64, u64) = (512, 8192);
const DSA_BITS: (u64, u64) = (1024, 3072);
const DH_BITS: (u64, u64) = (512, 8192);
const EC_BITS: (u64, u64) = (224, 521);
const CURVE25519_BITS: (u64, u64) = (255, 255);
/// Bytes.
const AES_BYTES: (u64, u64) = (16, 32);
/// Bytes. The standard sets no maximum; ours is the bound of `limits.rs`.
const SECRET_BYTES: (u64, u64) = (1, SECRET_KEY_BYTES_MAX as u64);
const NO_KEY: (u64, u64) = (0, 0);

const fn keyless(kind: MechanismType, schemes: &'static [Scheme]) -> Row {
    Row {
        kind,
        key_types: &[],
        sizes: NO_KEY,
        schemes,
    }
}

const fn rsa(kind: MechanismType, schemes: &'static [Scheme]) -> Row {
    Row {
        kind,
        key_types: RSA,
        sizes: RSA_BITS,
        schemes,
    }
}

const fn ec(kind: MechanismType, schemes: &'static [Scheme]) -> Row {
    Row {
        kind,
        key_types: EC,
        sizes: EC_BITS,
        schemes,
    }
}

const fn dsa(kind: MechanismType, schemes: &'static [Scheme]) -> Row {
    Row {
        kind,
        key_types: DSA,
        sizes: DSA_BITS,
        schemes,
    }
}

const fn dh(kind: MechanismType, schemes: &'static [Scheme]) -> Row {
    Row {
        kind,
        key_types: DH,
        sizes: DH_BITS,
        schemes,
    }
}

/// A mechanism of DES; sizes in bytes.
const fn des(
    kind: MechanismType,
    key_types: &'static [KeyType],
    sizes: (u64, u64),
    schemes: &'static [Scheme],
) -> Row {
    Row {
        kind,
        key_types,
        sizes,
        schemes,
    }
}

const fn aes(kind: MechanismType, schemes: &'static [Scheme]) -> Row {
    Row {
        kind,
        key_types: AES,
        sizes: AES_BYTES,
        schemes,
    }
}

/// An HMAC takes generic secrets and the key type of its own hash.
const fn hmac(
    kind: MechanismType,
    key_types: &'static [KeyType],
    schemes: &'static [Scheme],
) -> Row {
    Row {
        kind,
        key_types,
        sizes: SECRET_BYTES,
        schemes,
    }
}

use BlockCipher::{Aes, Des};
use CipherScheme::{
    AesCtr, AesGcm, Cbc, CbcPad, Ecb, RsaOaep, RsaPkcs1 as RsaPkcs1Cipher, RsaRaw as RsaRawCipher,
};
use MacLength::{Full, General};
use MechanismType as M;
use Scheme::{Cipher, Derive, Digest, Generate, Recover, Sign, Wrap};
use SignScheme::{Cmac, Dsa, Ecdsa, Eddsa, Hmac, RsaPkcs1, RsaPss, RsaRaw};

const HMAC_MD5_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::MD5_HMAC];
const HMAC_SHA1_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA_1_HMAC];
const HMAC_SHA224_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA224_HMAC];
const HMAC_SHA256_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA256_HMAC];
const HMAC_SHA384_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA384_HMAC];
const HMAC_SHA512_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA512_HMAC];
const HMAC_SHA512_224_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA512_224_HMAC];
const HMAC_SHA512_256_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA512_256_HMAC];
const HMAC_SHA3_224_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA3_224_HMAC];
const HMAC_SHA3_256_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA3_256_HMAC];
const HMAC_SHA3_384_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA3_384_HMAC];
const HMAC_SHA3_512_KEYS: &[KeyType] = &[KeyType::GENERIC_SECRET, KeyType::SHA3_512_HMAC];

static TABLE: &[Row] = &[
    rsa(
        M::RSA_PKCS_KEY_PAIR_GEN,
        &[Generate(GenerateScheme::RsaPair)],
    ),
    rsa(
        M::RSA_PKCS,
        &[
            Sign(RsaPkcs1(None)),
            Recover(RsaPkcs1(None)),
            Cipher(RsaPkcs1Cipher),
            Wrap(WrapScheme::Cipher(RsaPkcs1Cipher)),
        ],
    ),
    rsa(
        M::RSA_X_509,
        &[Sign(RsaRaw), Recover(RsaRaw), Cipher(RsaRawCipher)],
    ),
    rsa(
        M::RSA_PKCS_OAEP,
        &[Cipher(RsaOaep), Wrap(WrapScheme::Cipher(RsaOaep))],
    ),
    rsa(M::RSA_PKCS_PSS, &[Sign(RsaPss(None))]),
    rsa(M::MD5_RSA_PKCS, &[Sign(RsaPkcs1(Some(Hash::Md5)))]),
    rsa(M::SHA1_RSA_PKCS, &[Sign(RsaPkcs1(Some(Hash::Sha1)))]),
    rsa(M::SHA224_RSA_PKCS, &[Sign(RsaPkcs1(Some(Hash::Sha224)))]),
    rsa(M::SHA256_RSA_PKCS, &[Sign(RsaPkcs1(Some(Hash::Sha256)))]),
    rsa(M::SHA384_RSA_PKCS, &[Sign(RsaPkcs1(Some(Hash::Sha384)))]),
    rsa(M::SHA512_RSA_PKCS, &[Sign(RsaPkcs1(Some(Hash::Sha512)))]),
    rsa(
        M::SHA3_224_RSA_PKCS,
        &[Sign(RsaPkcs1(Some(Hash::Sha3_224)))],
    ),
    rsa(
        M::SHA3_256_RSA_PKCS,
        &[Sign(RsaPkcs1(Some(Hash::Sha3_256)))],
    ),
    rsa(
        M::SHA3_384_RSA_PKCS,
        &[Sign(RsaPkcs1(Some(Hash::Sha3_384)))],
    ),
    rsa(
        M::SHA3_512_RSA_PKCS,
        &[Sign(RsaPkcs1(Some(Hash::Sha3_512)))],
    ),
    rsa(M::SHA1_RSA_PKCS_PSS, &[Sign(RsaPss(Some(Hash::Sha1)))]),
    rsa(M::SHA224_RSA_PKCS_PSS, &[Sign(RsaPss(Some(Hash::Sha224)))]),
    rsa(M::SHA256_RSA_PKCS_PSS, &[Sign(RsaPss(Some(Hash::Sha256)))]),
    rsa(M::SHA384_RSA_PKCS_PSS, &[Sign(RsaPss(Some(Hash::Sha384)))]),
    rsa(M::SHA512_RSA_PKCS_PSS, &[Sign(RsaPss(Some(Hash::Sha512)))]),
    rsa(
        M::SHA3_224_RSA_PKCS_PSS,
        &[Sign(RsaPss(Some(Hash::Sha3_224)))],
    ),
    rsa(
        M::SHA3_256_RSA_PKCS_PSS,
        &[Sign(RsaPss(Some(Hash::Sha3_256)))],
    ),
    rsa(
        M::SHA3_384_RSA_PKCS_PSS,
        &[Sign(RsaPss(Some(Hash::Sha3_384)))],
    ),
    rsa(
        M::SHA3_512_RSA_PKCS_PSS,
        &[Sign(RsaPss(Some(Hash::Sha3_512)))],
    ),
    rsa(M::RSA_AES_KEY_WRAP, &[Wrap(WrapScheme::RsaAes)]),
    ec(M::EC_KEY_PAIR_GEN, &[Generate(GenerateScheme::EcPair)]),
    ec(M::ECDSA, &[Sign(Ecdsa(None))]),
    ec(M::ECDSA_SHA1, &[Sign(Ecdsa(Some(Hash::Sha1)))]),
    ec(M::ECDSA_SHA224, &[Sign(Ecdsa(Some(Hash::Sha224)))]),
    ec(M::ECDSA_SHA256, &[Sign(Ecdsa(Some(Hash::Sha256)))]),
    ec(M::ECDSA_SHA384, &[Sign(Ecdsa(Some(Hash::Sha384)))]),
    ec(M::ECDSA_SHA512, &[Sign(Ecdsa(Some(Hash::Sha512)))]),
    ec(M::ECDSA_SHA3_224, &[Sign(Ecdsa(Some(Hash::Sha3_224)))]),
    ec(M::ECDSA_SHA3_256, &[Sign(Ecdsa(Some(Hash::Sha3_256)))]),
    ec(M::ECDSA_SHA3_384, &[Sign(Ecdsa(Some(Hash::Sha3_384)))]),
    ec(M::ECDSA_SHA3_512, &[Sign(Ecdsa(Some(Hash::Sha3_512)))]),
    Row {
        kind: M::ECDH1_DERIVE,
        key_types: EC_AND_MONTGOMERY,
        sizes: (224, 521),
        schemes: &[Derive(DeriveScheme::Ecdh)],
    },
    // Every curve here has cofactor 1, or clears it in the scalar (X25519), so both mechanisms are one.
    Row {
        kind: M::ECDH1_COFACTOR_DERIVE,
        key_types: EC_AND_MONTGOMERY,
        sizes: (224, 521),
        schemes: &[Derive(DeriveScheme::Ecdh)],
    },
    Row {
        kind: M::EC_EDWARDS_KEY_PAIR_GEN,
        key_types: EDWARDS,
        sizes: CURVE25519_BITS,
        schemes: &[Generate(GenerateScheme::EdwardsPair)],
    },
    Row {
        kind: M::EDDSA,
        key_types: EDWARDS,
        sizes: CURVE25519_BITS,
        schemes: &[Sign(Eddsa)],
    },
    Row {
        kind: M::EC_MONTGOMERY_KEY_PAIR_GEN,
        key_types: MONTGOMERY,
        sizes: CURVE25519_BITS,
        schemes: &[Generate(GenerateScheme::MontgomeryPair)],
    },
    aes(M::AES_KEY_GEN, &[Generate(GenerateScheme::Aes)]),
    aes(
        M::AES_ECB,
        &[Cipher(Ecb(Aes)), Wrap(WrapScheme::Cipher(Ecb(Aes)))],
    ),
    aes(
        M::AES_CBC,
        &[Cipher(Cbc(Aes)), Wrap(WrapScheme::Cipher(Cbc(Aes)))],
    ),
    aes(
        M::AES_CBC_PAD,
        &[Cipher(CbcPad(Aes)), Wrap(WrapScheme::Cipher(CbcPad(Aes)))],
    ),
    aes(
        M::AES_CTR,
        &[Cipher(AesCtr), Wrap(WrapScheme::Cipher(AesCtr))],
    ),
    aes(
        M::AES_GCM,
        &[Cipher(AesGcm), Wrap(WrapScheme::Cipher(AesGcm))],
    ),
    aes(M::AES_CMAC, &[Sign(Cmac(Aes, Full))]),
    aes(M::AES_CMAC_GENERAL, &[Sign(Cmac(Aes, General))]),
    aes(M::AES_KEY_WRAP, &[Wrap(WrapScheme::AesKw)]),
    aes(M::AES_KEY_WRAP_KWP, &[Wrap(WrapScheme::AesKwp)]),
    // The number of 2.40 is used in two ways in the field; here it is RFC 5649, as SoftHSM has it.
    aes(M::AES_KEY_WRAP_PAD, &[Wrap(WrapScheme::AesKwp)]),
    aes(
        M::AES_ECB_ENCRYPT_DATA,
        &[Derive(DeriveScheme::EncryptData(Ecb(Aes)))],
    ),
    aes(
        M::AES_CBC_ENCRYPT_DATA,
        &[Derive(DeriveScheme::EncryptData(Cbc(Aes)))],
    ),
    des(
        M::DES_KEY_GEN,
        DES,
        (8, 8),
        &[Generate(GenerateScheme::Des)],
    ),
    des(
        M::DES_ECB,
        DES,
        (8, 8),
        &[Cipher(Ecb(Des)), Wrap(WrapScheme::Cipher(Ecb(Des)))],
    ),
    des(
        M::DES_CBC,
        DES,
        (8, 8),
        &[Cipher(Cbc(Des)), Wrap(WrapScheme::Cipher(Cbc(Des)))],
    ),
    des(
        M::DES_CBC_PAD,
        DES,
        (8, 8),
        &[Cipher(CbcPad(Des)), Wrap(WrapScheme::Cipher(CbcPad(Des)))],
    ),
    des(
        M::DES_ECB_ENCRYPT_DATA,
        DES,
        (8, 8),
        &[Derive(DeriveScheme::EncryptData(Ecb(Des)))],
    ),
    des(
        M::DES_CBC_ENCRYPT_DATA,
        DES,
        (8, 8),
        &[Derive(DeriveScheme::EncryptData(Cbc(Des)))],
    ),
    des(
        M::DES2_KEY_GEN,
        &[KeyType::DES2],
        (16, 16),
        &[Generate(GenerateScheme::Des)],
    ),
    des(
        M::DES3_KEY_GEN,
        &[KeyType::DES3],
        (24, 24),
        &[Generate(GenerateScheme::Des)],
    ),
    des(
        M::DES3_ECB,
        DES3_AND_2,
        (16, 24),
        &[Cipher(Ecb(Des)), Wrap(WrapScheme::Cipher(Ecb(Des)))],
    ),
    des(
        M::DES3_CBC,
        DES3_AND_2,
        (16, 24),
        &[Cipher(Cbc(Des)), Wrap(WrapScheme::Cipher(Cbc(Des)))],
    ),
    des(
        M::DES3_CBC_PAD,
        DES3_AND_2,
        (16, 24),
        &[Cipher(CbcPad(Des)), Wrap(WrapScheme::Cipher(CbcPad(Des)))],
    ),
    des(M::DES3_CMAC, DES3_AND_2, (16, 24), &[Sign(Cmac(Des, Full))]),
    des(
        M::DES3_CMAC_GENERAL,
        DES3_AND_2,
        (16, 24),
        &[Sign(Cmac(Des, General))],
    ),
    des(
        M::DES3_ECB_ENCRYPT_DATA,
        DES3_AND_2,
        (16, 24),
        &[Derive(DeriveScheme::EncryptData(Ecb(Des)))],
    ),
    des(
        M::DES3_CBC_ENCRYPT_DATA,
        DES3_AND_2,
        (16, 24),
        &[Derive(DeriveScheme::EncryptData(Cbc(Des)))],
    ),
    dsa(
        M::DSA_PARAMETER_GEN,
        &[Generate(GenerateScheme::DsaParameters)],
    ),
    dsa(M::DSA_KEY_PAIR_GEN, &[Generate(GenerateScheme::DsaPair)]),
    dsa(M::DSA, &[Sign(Dsa(None))]),
    dsa(M::DSA_SHA1, &[Sign(Dsa(Some(Hash::Sha1)))]),
    dsa(M::DSA_SHA224, &[Sign(Dsa(Some(Hash::Sha224)))]),
    dsa(M::DSA_SHA256, &[Sign(Dsa(Some(Hash::Sha256)))]),
    dsa(M::DSA_SHA384, &[Sign(Dsa(Some(Hash::Sha384)))]),
    dsa(M::DSA_SHA512, &[Sign(Dsa(Some(Hash::Sha512)))]),
    dsa(M::DSA_SHA3_224, &[Sign(Dsa(Some(Hash::Sha3_224)))]),
    dsa(M::DSA_SHA3_256, &[Sign(Dsa(Some(Hash::Sha3_256)))]),
    dsa(M::DSA_SHA3_384, &[Sign(Dsa(Some(Hash::Sha3_384)))]),
    dsa(M::DSA_SHA3_512, &[Sign(Dsa(Some(Hash::Sha3_512)))]),
    dh(
        M::DH_PKCS_PARAMETER_GEN,
        &[Generate(GenerateScheme::DhParameters)],
    ),
    dh(M::DH_PKCS_KEY_PAIR_GEN, &[Generate(GenerateScheme::DhPair)]),
    dh(M::DH_PKCS_DERIVE, &[Derive(DeriveScheme::Dh)]),
    Row {
        kind: M::GENERIC_SECRET_KEY_GEN,
        key_types: SECRET,
        sizes: SECRET_BYTES,
        schemes: &[Generate(GenerateScheme::Secret)],
    },
    hmac(M::MD5_HMAC, HMAC_MD5_KEYS, &[Sign(Hmac(Hash::Md5, Full))]),
    hmac(
        M::MD5_HMAC_GENERAL,
        HMAC_MD5_KEYS,
        &[Sign(Hmac(Hash::Md5, General))],
    ),
    hmac(
        M::SHA_1_HMAC,
        HMAC_SHA1_KEYS,
        &[Sign(Hmac(Hash::Sha1, Full))],
    ),
    hmac(
        M::SHA_1_HMAC_GENERAL,
        HMAC_SHA1_KEYS,
        &[Sign(Hmac(Hash::Sha1, General))],
    ),
    hmac(
        M::SHA224_HMAC,
        HMAC_SHA224_KEYS,
        &[Sign(Hmac(Hash::Sha224, Full))],
    ),
    hmac(
        M::SHA224_HMAC_GENERAL,
        HMAC_SHA224_KEYS,
        &[Sign(Hmac(Hash::Sha224, General))],
    ),
    hmac(
        M::SHA256_HMAC,
        HMAC_SHA256_KEYS,
        &[Sign(Hmac(Hash::Sha256, Full))],
    ),
    hmac(
        M::SHA256_HMAC_GENERAL,
        HMAC_SHA256_KEYS,
        &[Sign(Hmac(Hash::Sha256, General))],
    ),
    hmac(
        M::SHA384_HMAC,
        HMAC_SHA384_KEYS,
        &[Sign(Hmac(Hash::Sha384, Full))],
    ),
    hmac(
        M::SHA384_HMAC_GENERAL,
        HMAC_SHA384_KEYS,
        &[Sign(Hmac(Hash::Sha384, General))],
    ),
    hmac(
        M::SHA512_HMAC,
        HMAC_SHA512_KEYS,
        &[Sign(Hmac(Hash::Sha512, Full))],
    ),
    hmac(
        M::SHA512_HMAC_GENERAL,
        HMAC_SHA512_KEYS,
        &[Sign(Hmac(Hash::Sha512, General))],
    ),
    hmac(
        M::SHA512_224_HMAC,
        HMAC_SHA512_224_KEYS,
        &[Sign(Hmac(Hash::Sha512_224, Full))],
    ),
    hmac(
        M::SHA512_224_HMAC_GENERAL,
        HMAC_SHA512_224_KEYS,
        &[Sign(Hmac(Hash::Sha512_224, General))],
    ),
    hmac(
        M::SHA512_256_HMAC,
        HMAC_SHA512_256_KEYS,
        &[Sign(Hmac(Hash::Sha512_256, Full))],
    ),
    hmac(
        M::SHA512_256_HMAC_GENERAL,
        HMAC_SHA512_256_KEYS,
        &[Sign(Hmac(Hash::Sha512_256, General))],
    ),
    hmac(
        M::SHA3_224_HMAC,
        HMAC_SHA3_224_KEYS,
        &[Sign(Hmac(Hash::Sha3_224, Full))],
    ),
    hmac(
        M::SHA3_224_HMAC_GENERAL,
        HMAC_SHA3_224_KEYS,
        &[Sign(Hmac(Hash::Sha3_224, General))],
    ),
    hmac(
        M::SHA3_256_HMAC,
        HMAC_SHA3_256_KEYS,
        &[Sign(Hmac(Hash::Sha3_256, Full))],
    ),
    hmac(
        M::SHA3_256_HMAC_GENERAL,
        HMAC_SHA3_256_KEYS,
        &[Sign(Hmac(Hash::Sha3_256, General))],
    ),
    hmac(
        M::SHA3_384_HMAC,
        HMAC_SHA3_384_KEYS,
        &[Sign(Hmac(Hash::Sha3_384, Full))],
    ),
    hmac(
        M::SHA3_384_HMAC_GENERAL,
        HMAC_SHA3_384_KEYS,
        &[Sign(Hmac(Hash::Sha3_384, General))],
    ),
    hmac(
        M::SHA3_512_HMAC,
        HMAC_SHA3_512_KEYS,
        &[Sign(Hmac(Hash::Sha3_512, Full))],
    ),
    hmac(
        M::SHA3_512_HMAC_GENERAL,
        HMAC_SHA3_512_KEYS,
        &[Sign(Hmac(Hash::Sha3_512, General))],
    ),
    keyless(M::MD5, &[Digest(Hash::Md5)]),
    keyless(M::SHA_1, &[Digest(Hash::Sha1)]),
    keyless(M::SHA224, &[Digest(Hash::Sha224)]),
    keyless(M::SHA256, &[Digest(Hash::Sha256)]),
    keyless(M::SHA384, &[Digest(Hash::Sha384)]),
    keyless(M::SHA512, &[Digest(Hash::Sha512)]),
    keyless(M::SHA512_224, &[Digest(Hash::Sha512_224)]),
    keyless(M::SHA512_256, &[Digest(Hash::Sha512_256)]),
    keyless(M::SHA3_224, &[Digest(Hash::Sha3_224)]),
    keyless(M::SHA3_256, &[Digest(Hash::Sha3_256)]),
    keyless(M::SHA3_384, &[Digest(Hash::Sha3_384)]),
    keyless(M::SHA3_512, &[Digest(Hash::Sha3_512)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_stands_twice_and_every_row_has_a_name_and_a_scheme() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(
                row.kind.name().is_some(),
                "{:?} is not in the header",
                row.kind
            );
            assert!(!row.schemes.is_empty(), "{}", row.kind);
            assert!(row.sizes.0 <= row.sizes.1, "{}", row.kind);
            assert!(
                TABLE[..index].iter().all(|other| other.kind != row.kind),
                "{} twice",
                row.kind
            );
            assert_eq!(
                row.key_types.is_empty(),
                row.digest().is_some(),
                "{}",
                row.kind
            );
        }
    }

    #[test]
    fn flags_say_what_the_schemes_do() {
        let flags = |kind| row(kind).unwrap().flags();
        assert_eq!(flags(M::SHA256), flag::DIGEST);
        assert_eq!(flags(M::AES_KEY_WRAP), flag::WRAP | flag::UNWRAP);
        assert_eq!(flags(M::AES_KEY_GEN), flag::GENERATE);
        assert_eq!(flags(M::RSA_PKCS_KEY_PAIR_GEN), flag::GENERATE_KEY_PAIR);
        assert_eq!(
            flags(M::RSA_X_509),
            flag::SIGN
                | flag::VERIFY
                | flag::SIGN_RECOVER
                | flag::VERIFY_RECOVER
                | flag::ENCRYPT
                | flag::DECRYPT
        );
    }
}
