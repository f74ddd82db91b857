//! A backup on its way to whoever asked for it.
//!
//! What lives here: one request, many answers: the beginning, the parts, the end.
//! What must never live here: what is in a part.
//! Who calls it: connections of the administration socket.

use std::fmt;
use std::time::Duration;

use strongroom::audit::Principal;
use strongroom::backup::{Backup, CHUNK_BYTES, Report};
use strongroom::service::{BackupEnd, wanted_backup};
use strongroom_keymem::SecretVec;
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::codec;

use crate::admin;
use crate::connections::Admitted;
use crate::daemon::Daemon;
use crate::frames::{End, Outgoing};

/// Who asks, on which connection.
pub struct Asker<'a> {
    /// The daemon.
    pub daemon: &'a Daemon,
    /// The connection.
    pub admitted: &'a Admitted,
    /// Who it is.
    pub principal: &'a Principal,
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Asker({:?})", self.principal)
    }
}

/// Answers a request for a backup; false when the payload is another request.
///
/// # Errors
/// [`End`]: the connection must be closed.
pub fn served(asker: &Asker<'_>, payload: &[u8], outgoing: &mut Outgoing) -> Result<bool, End> {
    let Ok(request) = codec::decode::<AdminRequest<'_>>(payload) else {
        return Ok(false);
    };
    let Some(keys) = wanted_backup(&request) else {
        return Ok(false);
    };
    let service = &asker.daemon.service;
    let allowed = asker.daemon.configuration().backup_recipients.clone();
    let (answer, backup) = service
        .begin_backup(asker.principal, &keys, &allowed)
        .map_err(|_| End::Refused)?;
    send(asker, &answer, outgoing)?;
    let Some(backup) = backup else {
        return Ok(true);
    };
    let id = backup.header().id.clone();
    tracing::info!(backup = %id, records = backup.header().records, "a backup begins");
    let socket = asker.admitted.socket();
    // The snapshot keeps pages of the store from being used again: a client that stops reading must not hold it for ever.
    socket
        .set_write_timeout(Some(READ_ON_WITHIN))
        .map_err(End::Io)?;
    let (outcome, end) = match send_parts(asker, backup, outgoing) {
        Ok(report) => (Ok(report), None),
        Err(Failure::Failed(error)) => (Err(BackupEnd::Failed(error)), None),
        Err(Failure::Ended(end)) => (Err(BackupEnd::Cut), Some(end)),
    };
    let answer = service
        .end_backup(asker.principal, &id, outcome)
        .map_err(|_| End::Refused)?;
    tracing::info!(backup = %id, whole = matches!(answer, AdminAnswer::BackupEnded { .. }), "a backup ended");
    match end {
        Some(end) => Err(end),
        None => {
            send(asker, &answer, outgoing)?;
            socket.set_write_timeout(None).map_err(End::Io)?;
            Ok(true)
        }
    }
}

enum Failure {
    Ended(End),
    Failed(strongroom::backup::BackupError),
}

fn send_parts(
    asker: &Asker<'_>,
    mut backup: Backup,
    outgoing: &mut Outgoing,
) -> Result<Report, Failure> {
    let failed = Failure::Failed;
    let mut part = SecretVec::with_capacity(CHUNK_BYTES).map_err(|error| failed(error.into()))?;
    while backup.next_part(&mut part).map_err(failed)? {
        if asker.admitted.stopping() {
            return Err(Failure::Ended(End::Closed));
        }
        let answer = AdminAnswer::BackupPart {
            records: backup.records_done(),
            bytes: part.expose().to_vec(),
        };
        send(asker, &answer, outgoing).map_err(Failure::Ended)?;
        part.clear();
    }
    backup.report().map_err(failed)
}

fn send(asker: &Asker<'_>, answer: &AdminAnswer, outgoing: &mut Outgoing) -> Result<(), End> {
    admin::encode(answer, outgoing.begin()?).map_err(|_| End::Refused)?;
    outgoing.send(asker.admitted.socket())
}

/// How long a client may take no part of its backup.
const READ_ON_WITHIN: Duration = Duration::from_mins(2);
