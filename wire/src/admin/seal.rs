//! Administration of the seal.
//!
//! What lives here: what a seal is told of, and what a new one is asked to be.
//! What must never live here: a secret that outlives its frame.
//! Who calls it: the command line and the daemon.

use serde::{Deserialize, Serialize};

use crate::codec::List;
use crate::secret::Secret;

/// Most providers of a seal.
pub const SEAL_PROVIDERS_MAX: usize = 2;
/// Most shares of a seal.
pub const SEAL_SHARES_MAX: usize = 32;
/// Most registers of a TPM (PCRs).
pub const PCRS_MAX: usize = 24;

/// What shall open a new seal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NewProvider<'a> {
    /// A key file, made unless it is there.
    KeyFile {
        /// Whole path, as the daemon sees it.
        path: &'a str,
    },
    /// A passphrase.
    Passphrase {
        /// At least 12 bytes.
        #[serde(borrow)]
        secret: Secret<'a>,
    },
    /// A credential of the service manager.
    Credential {
        /// Its name.
        name: &'a str,
    },
    /// The TPM.
    Tpm {
        /// The PCRs whose values it is bound to; without any, those of the configuration.
        pcrs: List<u8, PCRS_MAX>,
    },
    /// Shares of a secret.
    Shares {
        /// How many open the seal.
        threshold: u8,
        /// How many are made.
        count: u8,
    },
}

/// What a seal is, without its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Whether the daemon waits for secrets.
    pub sealed: bool,
    /// The envelope; none where the root key stands in a key file or is derived from a passphrase directly.
    pub file: Option<String>,
    /// Tells root keys apart.
    pub root_key_id: Option<String>,
    /// Whether all providers together are needed, instead of each alone.
    pub all: bool,
    /// The providers.
    pub providers: List<SealProvider, SEAL_PROVIDERS_MAX>,
    /// Files that still open the store without this seal.
    pub left_over: List<String, 8>,
}

impl Seal {
    /// What is waited for, in words.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let missing = |provider: &&SealProvider| provider.given < provider.needed;
        let words = |provider: &SealProvider| match (provider.needed, provider.given) {
            (_, 0) => provider.shown.clone(),
            (needed, given) => format!("{} ({given} of {needed} given)", provider.shown),
        };
        let providers = self.providers.items().iter();
        let words: Vec<String> = providers.filter(missing).map(words).collect();
        words.join(if self.all { " and " } else { " or " })
    }
}

/// One provider of a seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealProvider {
    /// `key_file`, `passphrase`, `credential`, `tpm` or `shares`.
    pub kind: String,
    /// In words, with what is no secret.
    pub shown: String,
    /// How many secrets of it the sealed daemon has.
    pub given: u32,
    /// How many it needs.
    pub needed: u32,
    /// How many there are.
    pub total: u32,
}
