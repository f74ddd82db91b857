//! The line of a restore in the journal.
//!
//! What lives here: one event, written without a service.
//! What must never live here: what was restored.
//! Who calls it: the restore, when all else is done.

use std::sync::Arc;

use strongroom::audit::{Audit, Event, Freshness, Principal};
use strongroom::vault::{Generation, Vault};
use strongroom_keymem::SecretBytes;
use strongroom_wire::ck::Rv;

use super::restore::RestoreError;
use crate::clock::SystemClock;
use crate::config::Configuration;
use crate::journal::FileJournal;
use crate::store::{RedbStore, io_failure};
use crate::system;

/// What of a restored store can be seen when its line is written.
pub(super) enum Seen<'k> {
    /// Its root key is here. A journal that has seen the store further than it is now is told so: the next start would refuse the store
    /// as an older copy otherwise, and rightly, if nobody had said anything.
    Open(&'k SecretBytes),
    /// Nothing, because it is sealed. The start that is under way accepts it.
    Sealed,
}

/// Records that a backup was restored.
pub(super) fn restored(
    configuration: &Configuration,
    seen: &Seen<'_>,
    backup: &str,
) -> Result<(), RestoreError> {
    let vault = match seen {
        Seen::Open(root_key) => {
            let store = Arc::new(RedbStore::open(&configuration.store)?);
            let root_key = root_key.duplicate()?;
            Some(Vault::open(store, root_key, configuration.pin_cost)?)
        }
        Seen::Sealed => None,
    };
    let generation = vault
        .as_ref()
        .map_or_else(Generation::default, |vault| vault.generation().clone());
    let path = &configuration.journal;
    let journal = FileJournal::open(path)
        .map_err(|error| io_failure(&format!("open the journal {}", path.display()), &error))?;
    let journal = Arc::new(journal);
    let audit = Audit::open(
        journal.clone(),
        Arc::new(SystemClock),
        configuration.audit_level,
        generation,
    )?;
    if let Some(vault) = &vault
        && let Freshness::Older(older) = audit.freshness()?
    {
        audit.record_older_accepted(&older)?;
        // Whoever puts the store back that was set aside has the older one then.
        vault.outgrow(older.journal)?;
    }
    let executable = std::env::current_exe().unwrap_or_default();
    let principal = Principal {
        uid: system::effective_user(),
        gid: system::effective_group(),
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        executable: executable.display().to_string(),
        started: None,
    };
    let event = Event {
        who: &principal,
        function: "restore",
        management: true,
        slot: None,
        session: None,
        object: None,
        object_id: Some(backup),
        mechanism: None,
        import: None,
        release: None,
        rv: Rv::OK,
    };
    audit.record(&event, ())?.into_inner();
    journal.save()?;
    Ok(())
}
