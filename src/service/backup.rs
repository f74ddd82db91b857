//! Backups, as the operator asks for them.
//!
//! What lives here: the beginning and the end of a backup, each with its line in the journal.
//! What must never live here: the form of the file; the way its parts are sent.
//! Who calls it: the daemon's administration socket.

use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec::List;

use super::{Malformed, Service};
use crate::audit::{Event, Principal};
use crate::backup::{Backup, BackupError, PublicKey, Recipient, Report};
use crate::calendar::Moment;
use crate::ports::Time;

impl Service {
    /// Begins a backup for these keys, or for all those the operator allows; where he allows some, for no others. Its line, with the id of the backup, is in the journal before a byte of it leaves.
    ///
    /// # Errors
    /// [`Malformed`] when the answer could not be recorded.
    pub fn begin_backup(
        &self,
        principal: &Principal,
        keys: &[&str],
        allowed: &[String],
    ) -> Result<(AdminAnswer, Option<Backup>), Malformed> {
        let begun = self.backup_for(keys, allowed);
        let (answer, backup) = match begun {
            Ok(backup) => (begun_answer(&backup), Some(backup)),
            Err(error) => (refusal(&error), None),
        };
        let id = backup.as_ref().map(|backup| backup.header().id.clone());
        let answer = self.record_backup(principal, "admin.backup", id.as_deref(), answer)?;
        Ok((answer, backup))
    }

    /// Ends it: what it came to, or why it did not.
    ///
    /// # Errors
    /// [`Malformed`] when the answer could not be recorded.
    pub fn end_backup(
        &self,
        principal: &Principal,
        id: &str,
        outcome: Result<Report, BackupEnd>,
    ) -> Result<AdminAnswer, Malformed> {
        let answer = match outcome {
            Ok(Report {
                records,
                bytes,
                digest,
            }) => AdminAnswer::BackupEnded {
                records,
                bytes,
                digest,
            },
            Err(BackupEnd::Failed(error)) => refusal(&error),
            Err(BackupEnd::Cut) => AdminAnswer::Refused {
                rv: Rv::FUNCTION_CANCELED,
                reason: "the connection ended before the backup".into(),
            },
        };
        self.record_backup(principal, "admin.backup_ended", Some(id), answer)
    }

    fn backup_for(&self, keys: &[&str], allowed: &[String]) -> Result<Backup, BackupError> {
        let parse = |key: &str| PublicKey::parse(key.as_bytes());
        let asked = keys
            .iter()
            .map(|key| parse(key))
            .collect::<Result<Vec<_>, _>>()?;
        let allowed = allowed
            .iter()
            .map(|key| parse(key))
            .collect::<Result<Vec<_>, _>>()?;
        let other = |key: &&PublicKey| {
            let mut allowed = allowed.iter();
            !allowed.any(|allowed| allowed.bytes() == key.bytes())
        };
        if !allowed.is_empty()
            && let Some(key) = asked.iter().find(other)
        {
            return Err(BackupError::NotAllowed(key.to_string()));
        }
        let keys = if asked.is_empty() { allowed } else { asked };
        let [major, minor, patch] = self.settings.read().daemon_version;
        let made = written(self.ports.clock.now());
        self.vault
            .backup(made, format!("{major}.{minor}.{patch}"), &keys)
    }

    fn record_backup(
        &self,
        principal: &Principal,
        function: &str,
        id: Option<&str>,
        answer: AdminAnswer,
    ) -> Result<AdminAnswer, Malformed> {
        let rv = match &answer {
            AdminAnswer::Refused { rv, .. } => *rv,
            _ => Rv::OK,
        };
        let event = Event {
            who: principal,
            function,
            management: true,
            slot: None,
            session: None,
            object: None,
            object_id: id,
            mechanism: None,
            import: None,
            release: None,
            rv,
        };
        let recorded = self.audit.read().record(&event, answer);
        recorded
            .map(crate::audit::Recorded::into_inner)
            .map_err(|_| Malformed)
    }
}

/// Why a backup did not come to its end.
#[derive(Debug)]
pub enum BackupEnd {
    /// The connection was lost.
    Cut,
    /// It could not be made.
    Failed(BackupError),
}

/// Whether a request is one for a backup, and for which keys.
#[must_use]
pub fn wanted_backup<'r>(request: &AdminRequest<'r>) -> Option<Vec<&'r str>> {
    match request {
        AdminRequest::Backup { recipients } => Some(recipients.items().to_vec()),
        _ => None,
    }
}

fn begun_answer(backup: &Backup) -> AdminAnswer {
    let header = backup.header();
    let recipients = header.recipients.iter().map(Recipient::in_short).collect();
    AdminAnswer::BackupBegun {
        id: header.id.clone(),
        records: header.records,
        recipients: List::new(recipients).unwrap_or_default(),
    }
}

fn refusal(error: &BackupError) -> AdminAnswer {
    let rv = match error {
        BackupError::Key(_) | BackupError::Recipients(_) => Rv::ARGUMENTS_BAD,
        BackupError::NotAllowed(_) => Rv::ACTION_PROHIBITED,
        BackupError::Memory => Rv::DEVICE_MEMORY,
        _ => Rv::DEVICE_ERROR,
    };
    AdminAnswer::Refused {
        rv,
        reason: format!("no backup was made: {error}"),
    }
}

/// As RFC 3339 has it.
fn written(time: Time) -> String {
    let Moment {
        date,
        hour,
        minute,
        second,
        millisecond,
    } = Moment::from(time);
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z",
        date.year, date.month, date.day
    )
}
