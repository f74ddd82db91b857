//! Which of the mechanisms there are an operator lets be used.
//!
//! What lives here: [`Mechanisms`], the answer to that question for one mechanism and for all, and the groups that have a word.
//! What must never live here: what a mechanism does (the table); the sizes of single keys (policy).
//! Who calls it: the settings; every chapter, through its desk.

use strongroom_wire::ck::{KeyType, MechanismType};
use strongroom_wire::response::MechanismEntry;

use super::table::{GenerateScheme, Row, Scheme, rows};
use crate::limits::Limits;

/// The mechanisms that may be used. Those that may not are as if they did not exist: they are not listed, and every function answers
/// `CKR_MECHANISM_INVALID`. Keys stay what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    /// Ascending.
    refused: Vec<MechanismType>,
}

impl Mechanisms {
    /// Reads names of the standard (`CKM_…`), and the word `legacy` for what nobody should begin to use; if some are allowed by name, all
    /// others are refused.
    ///
    /// # Errors
    /// Which name is none, for people.
    pub fn parse(refused: &[String], allowed: Option<&[String]>) -> Result<Self, String> {
        let mut all_refused = named(refused)?;
        if let Some(allowed) = allowed {
            let allowed = named(allowed)?;
            let others = rows().iter().map(|row| row.kind);
            all_refused.extend(others.filter(|kind| !allowed.contains(kind)));
        }
        all_refused.sort_unstable();
        all_refused.dedup();
        Ok(Self {
            refused: all_refused,
        })
    }

    /// The row of a mechanism that may be used.
    #[must_use]
    pub fn row(&self, kind: MechanismType) -> Option<&'static Row> {
        super::row(kind).filter(|row| self.allow(row))
    }

    fn allow(&self, row: &Row) -> bool {
        self.refused.binary_search(&row.kind).is_err()
    }

    /// All that may be used, as applications are told.
    #[must_use]
    pub fn entries(&self, limits: &Limits) -> Vec<MechanismEntry> {
        let allowed = rows().iter().filter(|row| self.allow(row));
        allowed.map(|row| entry(row, limits)).collect()
    }

    /// Whether a digest is refused, so that clients that compute digests themselves have to ask.
    #[must_use]
    pub fn refuse_a_digest(&self) -> bool {
        rows()
            .iter()
            .any(|row| row.digest().is_some() && !self.allow(row))
    }
}

fn entry(row: &Row, limits: &Limits) -> MechanismEntry {
    let mut entry = row.entry();
    if row.key_types.contains(&KeyType::RSA) {
        let generates = row.schemes == [Scheme::Generate(GenerateScheme::RsaPair)];
        let least = if generates {
            limits.rsa_bits_min as u64
        } else {
            limits.rsa_use_bits_min()
        };
        entry.key_size_min = entry.key_size_min.max(least);
    }
    entry
}

/// The word for the group.
const LEGACY_WORD: &str = "legacy";

fn named(names: &[String]) -> Result<Vec<MechanismType>, String> {
    let mut found = Vec::new();
    for name in names {
        if name == LEGACY_WORD {
            found.extend_from_slice(LEGACY);
            continue;
        }
        let known = MechanismType::ALL.iter().find(|(known, _)| known == name);
        let Some((_, kind)) = known else {
            return Err(format!(
                "\"{name}\" is no mechanism; write the name of the standard, as in \"CKM_DES3_CBC\", or \"{LEGACY_WORD}\""
            ));
        };
        found.push(*kind);
    }
    Ok(found)
}

use MechanismType as M;

/// What is here for keys and data of the past alone. Single DES falls to a search of all keys, triple DES to the length of its blocks
/// (SP 800-131A forbids it to encrypt), MD5 to collisions; DSA is kept for verification only (FIPS 186-5), and nothing says of a prime
/// of PKCS #3 that it is a safe one.
pub const LEGACY: &[MechanismType] = &[
    M::MD5,
    M::MD5_HMAC,
    M::MD5_HMAC_GENERAL,
    M::MD5_RSA_PKCS,
    M::DES_KEY_GEN,
    M::DES_ECB,
    M::DES_CBC,
    M::DES_CBC_PAD,
    M::DES_ECB_ENCRYPT_DATA,
    M::DES_CBC_ENCRYPT_DATA,
    M::DES2_KEY_GEN,
    M::DES3_KEY_GEN,
    M::DES3_ECB,
    M::DES3_CBC,
    M::DES3_CBC_PAD,
    M::DES3_CMAC,
    M::DES3_CMAC_GENERAL,
    M::DES3_ECB_ENCRYPT_DATA,
    M::DES3_CBC_ENCRYPT_DATA,
    M::DSA_PARAMETER_GEN,
    M::DSA_KEY_PAIR_GEN,
    M::DSA,
    M::DSA_SHA1,
    M::DSA_SHA224,
    M::DSA_SHA256,
    M::DSA_SHA384,
    M::DSA_SHA512,
    M::DSA_SHA3_224,
    M::DSA_SHA3_256,
    M::DSA_SHA3_384,
    M::DSA_SHA3_512,
    M::DH_PKCS_PARAMETER_GEN,
    M::DH_PKCS_KEY_PAIR_GEN,
    M::DH_PKCS_DERIVE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn kinds(mechanisms: &Mechanisms) -> Vec<MechanismType> {
        let entries = mechanisms.entries(&Limits::default());
        entries.iter().map(|entry| entry.kind).collect()
    }

    #[test]
    fn nothing_is_refused_unless_somebody_says_so() {
        let all: Vec<_> = rows().iter().map(|row| row.kind).collect();
        assert_eq!(kinds(&Mechanisms::default()), all);
        assert!(!Mechanisms::default().refuse_a_digest());
    }

    #[test]
    fn what_is_refused_is_gone_and_the_rest_is_there() {
        let some = Mechanisms::parse(&names(&["CKM_DES3_CBC", "CKM_SHA_1"]), None).unwrap();
        assert!(some.row(M::DES3_CBC).is_none() && some.row(M::DES3_ECB).is_some());
        assert!(some.refuse_a_digest());
        assert_eq!(kinds(&some).len(), rows().len() - 2);
        let legacy = Mechanisms::parse(&names(&["legacy"]), None).unwrap();
        assert!(LEGACY.iter().all(|kind| legacy.row(*kind).is_none()));
        assert_eq!(kinds(&legacy).len(), rows().len() - LEGACY.len());
        // The group has all rows of its key types and of MD5.
        let old = [
            KeyType::DES,
            KeyType::DES2,
            KeyType::DES3,
            KeyType::DSA,
            KeyType::DH,
        ];
        for row in rows() {
            let is_old = row.key_types.iter().any(|kind| old.contains(kind))
                || row.kind.to_string().starts_with("CKM_MD5");
            assert_eq!(LEGACY.contains(&row.kind), is_old, "{}", row.kind);
        }
    }

    #[test]
    fn those_allowed_by_name_are_all_there_is_less_those_refused() {
        let allowed = names(&["CKM_AES_GCM", "CKM_SHA256"]);
        let two = Mechanisms::parse(&[], Some(&allowed)).unwrap();
        assert_eq!(kinds(&two), [M::AES_GCM, M::SHA256]);
        let one = Mechanisms::parse(&names(&["CKM_SHA256"]), Some(&allowed)).unwrap();
        assert_eq!(kinds(&one), [M::AES_GCM]);
        assert!(kinds(&Mechanisms::parse(&[], Some(&[])).unwrap()).is_empty());
        let wrong = Mechanisms::parse(&names(&["CKM_DES4"]), None).unwrap_err();
        assert!(wrong.contains("CKM_DES4"), "{wrong}");
    }

    #[test]
    fn the_sizes_of_rsa_are_those_that_the_operator_set() {
        for (rsa_bits_min, use_min) in [(512, 512), (1024, 1024), (2048, 1024), (4096, 1024)] {
            let limits = Limits {
                rsa_bits_min,
                ..Limits::default()
            };
            for entry in Mechanisms::default().entries(&limits) {
                let least = match entry.kind {
                    M::RSA_PKCS_KEY_PAIR_GEN => rsa_bits_min as u64,
                    M::RSA_PKCS | M::RSA_AES_KEY_WRAP => use_min,
                    M::EC_KEY_PAIR_GEN => 224,
                    _ => continue,
                };
                assert_eq!(entry.key_size_min, least, "{:?}", entry.kind);
            }
        }
    }
}
