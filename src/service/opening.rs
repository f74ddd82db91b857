//! Opening: why the service does not open, and what becomes of a store that is older than its journal.
//!
//! What lives here: [`StartError`], [`OlderStore`], and the comparison of store and journal.
//! What must never live here: how a store or a journal is opened.
//! Who calls it: the service, when it opens.

use std::fmt;

use crate::audit::{Audit, Freshness, Older};
use crate::ports::StoreError;
use crate::vault::{Vault, VaultError};

/// Why the service did not open.
#[derive(Debug)]
pub enum StartError {
    /// The store cannot be opened.
    Vault(VaultError),
    /// The journal cannot be continued.
    Journal(StoreError),
    /// The store is older than its journal, and nobody has accepted that.
    Older(Older),
    /// There is no randomness.
    Random,
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault(error) => write!(out, "the store was not opened: {error}"),
            Self::Journal(error) => write!(out, "the audit journal cannot be continued: {error}"),
            Self::Older(older) => write!(
                out,
                "{older}; if that is a restored backup start once with --accept-older-store, else find out who wrote to the store"
            ),
            Self::Random => write!(out, "the random generator does not work"),
        }
    }
}

impl std::error::Error for StartError {}

/// What becomes of a store that is older than its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OlderStore {
    /// It is not opened.
    #[default]
    Refuse,
    /// It is opened, the journal says so, and the copies that were newer are then the older ones.
    Accept,
}

/// Compares the store with its journal, and carries out what the operator says of an older one.
pub(super) fn accepted(
    vault: &Vault,
    audit: &Audit,
    choice: OlderStore,
) -> std::result::Result<Freshness, StartError> {
    let freshness = audit.freshness().map_err(StartError::Journal)?;
    let Freshness::Older(older) = freshness else {
        return Ok(freshness);
    };
    if choice == OlderStore::Refuse {
        return Err(StartError::Older(older));
    }
    // In this order: a crash in between asks the operator again.
    audit
        .record_older_accepted(&older)
        .map_err(StartError::Journal)?;
    vault.outgrow(older.journal).map_err(StartError::Vault)?;
    Ok(Freshness::Accepted(older))
}
