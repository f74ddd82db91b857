//! The line of a restore in the journal.
//!
//! What lives here: one event, written without a service.
//! What must never live here: what was restored.
//! Who calls it: the restore, when all else is done.

use std::sync::Arc;

use strongroom::audit::{Audit, Event, Principal};
use strongroom_wire::ck::Rv;

use super::restore::RestoreError;
use crate::clock::SystemClock;
use crate::config::Configuration;
use crate::journal::FileJournal;
use crate::store::io_failure;
use crate::system;

/// Records that a backup was restored.
pub(super) fn restored(configuration: &Configuration, backup: &str) -> Result<(), RestoreError> {
    let path = &configuration.journal;
    let journal = FileJournal::open(path)
        .map_err(|error| io_failure(&format!("open the journal {}", path.display()), &error))?;
    let journal = Arc::new(journal);
    let audit = Audit::open(
        journal.clone(),
        Arc::new(SystemClock),
        configuration.audit_level,
    )?;
    let executable = std::env::current_exe().unwrap_or_default();
    let principal = Principal {
        uid: system::effective_user(),
        gid: system::effective_group(),
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        executable: executable.display().to_string(),
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
        rv: Rv::OK,
    };
    audit.record(&event, ())?.into_inner();
    journal.save()?;
    Ok(())
}
