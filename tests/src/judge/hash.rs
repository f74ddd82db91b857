//! Hashes, HMAC and the X9.63 key derivation, and the numbers PKCS#11 has for each hash.
//!
//! What lives here: `Hash` and one row of numbers for each.
//! What must never live here: keys of the module.
//! Who calls it: nearly every test of mechanisms.

use cryptoki_sys::*;
use sha2::Digest as _;

/// A hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are those of FIPS 180-4 and FIPS 202"
)]
pub enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512T224,
    Sha512T256,
    Sha3T224,
    Sha3T256,
    Sha3T384,
    Sha3T512,
}

/// The numbers of one hash in PKCS#11.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// The hash.
    pub hash: Hash,
    /// The digest mechanism.
    pub digest: CK_MECHANISM_TYPE,
    /// HMAC.
    pub hmac: CK_MECHANISM_TYPE,
    /// HMAC of a length of the caller's choice.
    pub hmac_general: CK_MECHANISM_TYPE,
    /// MGF1 with this hash, where the standard has one.
    pub mgf: Option<CK_RSA_PKCS_MGF_TYPE>,
    /// PKCS#1 v1.5, PSS and ECDSA with this hash, where the suite asks for them.
    pub signatures: Option<[CK_MECHANISM_TYPE; 3]>,
    /// The X9.63 key derivation with this hash, where the suite asks for it.
    pub kdf: Option<CK_EC_KDF_TYPE>,
}

/// All hashes.
pub const HASHES: &[Numbers] = &[
    Numbers {
        hash: Hash::Sha1,
        digest: CKM_SHA_1,
        hmac: CKM_SHA_1_HMAC,
        hmac_general: CKM_SHA_1_HMAC_GENERAL,
        mgf: Some(CKG_MGF1_SHA1),
        signatures: Some([CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS, CKM_ECDSA_SHA1]),
        kdf: Some(CKD_SHA1_KDF),
    },
    Numbers {
        hash: Hash::Sha224,
        digest: CKM_SHA224,
        hmac: CKM_SHA224_HMAC,
        hmac_general: CKM_SHA224_HMAC_GENERAL,
        mgf: Some(CKG_MGF1_SHA224),
        signatures: Some([
            CKM_SHA224_RSA_PKCS,
            CKM_SHA224_RSA_PKCS_PSS,
            CKM_ECDSA_SHA224,
        ]),
        kdf: Some(CKD_SHA224_KDF),
    },
    Numbers {
        hash: Hash::Sha256,
        digest: CKM_SHA256,
        hmac: CKM_SHA256_HMAC,
        hmac_general: CKM_SHA256_HMAC_GENERAL,
        mgf: Some(CKG_MGF1_SHA256),
        signatures: Some([
            CKM_SHA256_RSA_PKCS,
            CKM_SHA256_RSA_PKCS_PSS,
            CKM_ECDSA_SHA256,
        ]),
        kdf: Some(CKD_SHA256_KDF),
    },
    Numbers {
        hash: Hash::Sha384,
        digest: CKM_SHA384,
        hmac: CKM_SHA384_HMAC,
        hmac_general: CKM_SHA384_HMAC_GENERAL,
        mgf: Some(CKG_MGF1_SHA384),
        signatures: Some([
            CKM_SHA384_RSA_PKCS,
            CKM_SHA384_RSA_PKCS_PSS,
            CKM_ECDSA_SHA384,
        ]),
        kdf: Some(CKD_SHA384_KDF),
    },
    Numbers {
        hash: Hash::Sha512,
        digest: CKM_SHA512,
        hmac: CKM_SHA512_HMAC,
        hmac_general: CKM_SHA512_HMAC_GENERAL,
        mgf: Some(CKG_MGF1_SHA512),
        signatures: Some([
            CKM_SHA512_RSA_PKCS,
            CKM_SHA512_RSA_PKCS_PSS,
            CKM_ECDSA_SHA512,
        ]),
        kdf: Some(CKD_SHA512_KDF),
    },
    sha3(
        Hash::Sha3T224,
        CKM_SHA3_224,
        CKM_SHA3_224_HMAC,
        CKM_SHA3_224_HMAC_GENERAL,
    ),
    sha3(
        Hash::Sha3T256,
        CKM_SHA3_256,
        CKM_SHA3_256_HMAC,
        CKM_SHA3_256_HMAC_GENERAL,
    ),
    sha3(
        Hash::Sha3T384,
        CKM_SHA3_384,
        CKM_SHA3_384_HMAC,
        CKM_SHA3_384_HMAC_GENERAL,
    ),
    sha3(
        Hash::Sha3T512,
        CKM_SHA3_512,
        CKM_SHA3_512_HMAC,
        CKM_SHA3_512_HMAC_GENERAL,
    ),
];

const fn sha3(
    hash: Hash,
    digest: CK_MECHANISM_TYPE,
    hmac: CK_MECHANISM_TYPE,
    hmac_general: CK_MECHANISM_TYPE,
) -> Numbers {
    Numbers {
        hash,
        digest,
        hmac,
        hmac_general,
        mgf: None,
        signatures: None,
        kdf: None,
    }
}

impl Hash {
    /// The numbers of this hash.
    ///
    /// # Panics
    /// For the truncated SHA-512, which have no row.
    #[must_use]
    pub fn numbers(self) -> &'static Numbers {
        HASHES
            .iter()
            .find(|row| row.hash == self)
            .expect("a row for this hash")
    }

    /// The digest.
    #[must_use]
    pub fn of(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => sha1::Sha1::digest(data).to_vec(),
            Self::Sha224 => sha2::Sha224::digest(data).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(data).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(data).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(data).to_vec(),
            Self::Sha512T224 => sha2::Sha512_224::digest(data).to_vec(),
            Self::Sha512T256 => sha2::Sha512_256::digest(data).to_vec(),
            Self::Sha3T224 => sha3::Sha3_224::digest(data).to_vec(),
            Self::Sha3T256 => sha3::Sha3_256::digest(data).to_vec(),
            Self::Sha3T384 => sha3::Sha3_384::digest(data).to_vec(),
            Self::Sha3T512 => sha3::Sha3_512::digest(data).to_vec(),
        }
    }

    /// Bytes of a digest.
    #[must_use]
    pub fn length(self) -> usize {
        self.of(b"").len()
    }

    /// Bytes of a block of the compression function (FIPS 198-1, and FIPS 202 table 3).
    #[must_use]
    pub const fn block(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha224 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 | Self::Sha512T224 | Self::Sha512T256 => 128,
            Self::Sha3T224 => 144,
            Self::Sha3T256 => 136,
            Self::Sha3T384 => 104,
            Self::Sha3T512 => 72,
        }
    }

    /// HMAC of FIPS 198-1.
    #[must_use]
    pub fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut block = if key.len() > self.block() {
            self.of(key)
        } else {
            key.to_vec()
        };
        block.resize(self.block(), 0);
        let inner: Vec<u8> = block
            .iter()
            .map(|byte| byte ^ 0x36)
            .chain(data.iter().copied())
            .collect();
        let outer: Vec<u8> = block
            .iter()
            .map(|byte| byte ^ 0x5c)
            .chain(self.of(&inner))
            .collect();
        self.of(&outer)
    }

    /// The key derivation of ANSI X9.63: hash of secret, counter from 1, shared data.
    #[must_use]
    pub fn x963(self, secret: &[u8], shared: &[u8], length: usize) -> Vec<u8> {
        let mut key = Vec::new();
        let mut counter: u32 = 1;
        while key.len() < length {
            let block = [secret, &counter.to_be_bytes(), shared].concat();
            key.extend(self.of(&block));
            counter += 1;
        }
        key.truncate(length);
        key
    }

    /// MGF1 of RFC 8017, B.2.1.
    #[must_use]
    pub fn mgf1(self, seed: &[u8], length: usize) -> Vec<u8> {
        let mut mask = Vec::new();
        let mut counter: u32 = 0;
        while mask.len() < length {
            mask.extend(self.of(&[seed, &counter.to_be_bytes()].concat()));
            counter += 1;
        }
        mask.truncate(length);
        mask
    }

    /// The last arcs of the object identifier and the whole `DigestInfo` (RFC 8017, 9.2).
    #[must_use]
    pub fn digest_info(self, digest: &[u8]) -> Vec<u8> {
        let oid: &[u8] = match self {
            Self::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
            Self::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
            Self::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
            Self::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
            Self::Sha224 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04],
            Self::Sha512T224 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x05],
            Self::Sha512T256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x06],
            Self::Sha3T224 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x07],
            Self::Sha3T256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08],
            Self::Sha3T384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x09],
            Self::Sha3T512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0a],
        };
        let algorithm = [&[0x06, oid.len() as u8], oid, &[0x05, 0x00]].concat();
        let body = [
            &[0x30, algorithm.len() as u8],
            algorithm.as_slice(),
            &[0x04, digest.len() as u8],
            digest,
        ]
        .concat();
        [&[0x30, body.len() as u8], body.as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn hmac_as_in_rfc_4231_case_2() {
        let mac = Hash::Sha256.hmac(b"Jefe", b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(mac, hex(expected));
    }
}
