//! *What lives here:* the beginning of a backup: the one place that gives the root key away, sealed to the recipients. *What must never
//! live here:* the form of a backup. *Who calls it:* the service.

use super::{Vault, VaultError, hierarchy};
use crate::backup::{Backup, BackupError, Facts, PublicKey};

impl Vault {
    /// Begins a backup of all records as they are now.
    ///
    /// # Errors
    /// [`BackupError`]; then nothing was made.
    pub fn backup(
        &self,
        made: String,
        daemon: String,
        recipients: &[PublicKey],
    ) -> Result<Backup, BackupError> {
        let facts = Facts {
            made,
            daemon,
            root_key: hierarchy::root_id(&self.root).map_err(unsealed)?,
        };
        Backup::begin(self.store.snapshot()?, &self.root, facts, recipients)
    }
}

fn unsealed(error: VaultError) -> BackupError {
    match error {
        VaultError::Memory => BackupError::Memory,
        _ => BackupError::Crypto,
    }
}
