//! Authorities: whose word about a place counts.
//!
//! What lives here: an authority's name and what proves that a statement is its own.
//! What must never live here: statements; an address that is asked.
//! Who calls it: the service's administration makes them, statement asks them.

use serde::{Deserialize, Serialize};
use strongroom_attestation::{Kind, Roots};
use strongroom_crypto::certificate::Certificate;
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::hex;

use super::certificate::signer_of_chain;
use super::jwk::{Algorithm, VerifyKey, keys_of_set};
use super::text::authority_form;
use crate::ports::Time;

/// An authority that an operator registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its name, in its one form: what policies and statements call it.
    pub url: String,
    /// What proves its word.
    pub trust: Trust,
}

/// What proves that a statement is an authority's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trust {
    /// A key of this set (RFC 7517) has signed it.
    Keys(String),
    /// A key whose certificate leads to one of these, in DER, has signed it.
    Certificates(Vec<Vec<u8>>),
    /// Hardware of a kind has made it, under these roots as they were pinned: evidence instead of a statement.
    Hardware {
        /// Which kind, by its name.
        kind: String,
        /// Certificates, or keys of TPMs.
        roots: Vec<u8>,
    },
    /// Nothing: it is this daemon, which measures the process that asks. Never registered, and so never kept.
    Local,
}

/// A signed statement, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'s> {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Its name.
    pub algorithm_name: &'s str,
    /// `kid`.
    pub kid: Option<&'s str>,
    /// `x5c`, decoded.
    pub chain: &'s [Vec<u8>],
    /// What is signed.
    pub message: &'s [u8],
    /// The signature.
    pub signature: &'s [u8],
}

impl Authority {
    /// An authority with pinned keys, a set or one alone.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn with_keys(url: &str, keys: &str) -> Result<Self, String> {
        if keys.len() > TRUST_BYTES_MAX {
            return Err(too_long());
        }
        keys_of_set(keys)?;
        Self::named(url, Trust::Keys(keys.to_owned()))
    }

    /// An authority with pinned certificates in DER.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn with_certificates(url: &str, certificates: Vec<Vec<u8>>) -> Result<Self, String> {
        if certificates.is_empty() {
            return Err("there is no certificate to pin".to_owned());
        }
        if certificates.iter().map(Vec::len).sum::<usize>() > TRUST_BYTES_MAX {
            return Err(too_long());
        }
        let good = |der: &Vec<u8>| Certificate::parse(der).is_ok_and(|read| read.key().is_ok());
        if !certificates.iter().all(good) {
            return Err("a certificate cannot be read, or its key is neither RSA nor on P-256, P-384 or P-521".to_owned());
        }
        Self::named(url, Trust::Certificates(certificates))
    }

    /// Hardware of a kind: certificates of its maker in PEM or DER, or attestation keys of TPMs.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn with_hardware(url: &str, kind: &str, roots: &[u8]) -> Result<Self, String> {
        if roots.len() > TRUST_BYTES_MAX {
            return Err(too_long());
        }
        let known = Kind::named(kind).ok_or_else(|| {
            let all = Kind::ALL.map(Kind::name).join(", ");
            format!("{kind:?} is no kind of hardware; there are {all}")
        })?;
        Roots::parse(known, roots).map_err(|refusal| refusal.to_string())?;
        let (kind, roots) = (kind.to_owned(), roots.to_vec());
        Self::named(url, Trust::Hardware { kind, roots })
    }

    fn named(url: &str, trust: Trust) -> Result<Self, String> {
        let url = authority_form(url)
            .filter(|url| url.len() <= URL_BYTES_MAX)
            .ok_or_else(|| format!("{url:?} is no URL of at most {URL_BYTES_MAX} bytes"))?;
        if url == LOCAL {
            return Err(format!(
                "{LOCAL} is the daemon's own authority and cannot be another; release.local in the configuration switches it on"
            ));
        }
        Ok(Self { url, trust })
    }

    /// The daemon's own.
    #[must_use]
    pub fn local() -> Self {
        Self {
            url: LOCAL.to_owned(),
            trust: Trust::Local,
        }
    }

    /// Whether this authority has signed a statement.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn verify(&self, signed: &Signed<'_>, now: Time) -> Result<(), String> {
        match &self.trust {
            Trust::Keys(set) => {
                let kid = signed.kid.ok_or("the statement's header has no kid")?;
                let keys = keys_of_set(set)?;
                let named = |key: &&super::jwk::NamedKey| key.kid.as_deref() == Some(kid);
                let mut fitting = keys.iter().filter(named).peekable();
                if fitting.peek().is_none() {
                    return Err("no pinned key of the authority has the statement's kid".to_owned());
                }
                let verifies = |key: &super::jwk::NamedKey| {
                    let same = |name: &String| name == signed.algorithm_name;
                    key.algorithm.as_ref().is_none_or(same) && has_signed(&key.key, signed)
                };
                if fitting.any(verifies) {
                    Ok(())
                } else {
                    Err(wrong_signature())
                }
            }
            Trust::Certificates(pinned) => {
                let key = signer_of_chain(signed.chain, pinned, now)?;
                if has_signed(&key, signed) {
                    Ok(())
                } else {
                    Err(wrong_signature())
                }
            }
            Trust::Hardware { .. } => Err("hardware signs no statements, but evidence".to_owned()),
            Trust::Local => Err("the daemon's own authority signs no statements".to_owned()),
        }
    }

    /// What is pinned, in short: for lists and the journal.
    #[must_use]
    pub fn pinned(&self) -> String {
        let hashed = |bytes: &[u8]| {
            digest(Hash::Sha256, bytes)
                .map_or_else(|_| String::new(), |hash| hex::shown(hash.as_ref()))
        };
        match &self.trust {
            Trust::Keys(set) => hashed(set.as_bytes()),
            Trust::Certificates(all) => all
                .iter()
                .map(|der| hashed(der))
                .collect::<Vec<_>>()
                .join(" "),
            Trust::Hardware { roots, .. } => hashed(roots),
            Trust::Local => String::new(),
        }
    }

    /// What proves its word, as lists call it.
    #[must_use]
    pub fn kind(&self) -> String {
        match &self.trust {
            Trust::Keys(set) => {
                format!(
                    "{} pinned keys",
                    keys_of_set(set).map_or(0, |keys| keys.len())
                )
            }
            Trust::Certificates(all) => format!("{} pinned certificates", all.len()),
            Trust::Hardware { kind, .. } => format!("pinned roots of {kind}"),
            Trust::Local => "this daemon, which measures the process that asks".to_owned(),
        }
    }
}

fn has_signed(key: &VerifyKey, signed: &Signed<'_>) -> bool {
    key.verifies(signed.algorithm, signed.message, signed.signature)
}

fn wrong_signature() -> String {
    "the signature of the statement is wrong".to_owned()
}

fn too_long() -> String {
    format!("what is to be pinned has more than {TRUST_BYTES_MAX} bytes")
}

/// Most authorities: a list that somebody still reads.
pub const AUTHORITIES_MAX: usize = 256;
/// Pinned keys or certificates of one authority, in bytes.
const TRUST_BYTES_MAX: usize = 128 << 10;
const URL_BYTES_MAX: usize = 1024;
/// The name of the daemon's own authority.
pub const LOCAL: &str = "local:";
