//! Administration: what the daemon answers itself, and the way to the token for the rest.
//!
//! What lives here: status, reload and stop.
//! What must never live here: tokens and objects; the token answers for those, and records everything.
//! Who calls it: connections of the administration socket.

pub mod import;
pub mod release;
mod seal;

use std::time::Duration;

use strongroom::audit::Principal;
use strongroom::service::Malformed;
use strongroom::sink::Locked;
use strongroom_keymem::SecretVec;
use strongroom_wire::admin::{AdminAnswer, AdminRequest, Status};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec;
use strongroom_wire::frame::{HEADER_BYTES, PAYLOAD_BYTES_MAX};

use crate::config::Configuration;
use crate::daemon::Daemon;

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next request.
    GoOn,
    /// The end of the daemon.
    Stop,
    /// The answer goes with the listening sockets.
    HandOver,
}

/// Answers one request; the encoded answer is appended to `answer`.
///
/// # Errors
/// [`Malformed`]: the connection must be closed.
pub fn answer(
    daemon: &Daemon,
    principal: &Principal,
    payload: &[u8],
    answer: &mut SecretVec,
) -> Result<Next, Malformed> {
    let request: AdminRequest<'_> = codec::decode(payload).map_err(|_| Malformed)?;
    if let AdminRequest::SealRotate { .. } = &request {
        seal::rotate(daemon, principal, &request, answer)?;
        return Ok(Next::GoOn);
    }
    let answered = answered_here(daemon, principal, &request);
    let answered = daemon.service.administer(principal, &request, answered)?;
    encode(&answered, answer)?;
    match (&request, &answered) {
        (AdminRequest::Stop, AdminAnswer::Done) => Ok(Next::Stop),
        (_, AdminAnswer::Handover { .. }) => Ok(Next::HandOver),
        _ => Ok(Next::GoOn),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "everything else is the token's, also what is added later"
)]
fn answered_here(
    daemon: &Daemon,
    principal: &Principal,
    request: &AdminRequest<'_>,
) -> Option<AdminAnswer> {
    match request {
        AdminRequest::Status => Some(AdminAnswer::Status(Box::new(status(daemon)))),
        AdminRequest::Reload => Some(match daemon.reload() {
            Ok(()) => AdminAnswer::Done,
            Err(error) => AdminAnswer::Refused {
                rv: Rv::FUNCTION_FAILED,
                reason: format!("the configuration in force stays: {error}"),
            },
        }),
        AdminRequest::Stop => Some(AdminAnswer::Done),
        AdminRequest::Limits => Some(crate::usage::limits(daemon)),
        AdminRequest::SealShow => Some(seal::show(daemon)),
        AdminRequest::Replace => Some(match daemon.handover.offer(principal.pid) {
            Ok(owns_files) => AdminAnswer::Handover { owns_files },
            Err(error) => AdminAnswer::Refused {
                rv: Rv::FUNCTION_FAILED,
                reason: format!("cannot hand over: {error}"),
            },
        }),
        _ => None,
    }
}

/// Appends an answer; one that does not fit is refused instead.
pub(crate) fn encode(message: &AdminAnswer, answer: &mut SecretVec) -> Result<(), Malformed> {
    let fits = codec::encode(message, &mut Locked(answer)).is_ok()
        && answer.len() <= HEADER_BYTES + PAYLOAD_BYTES_MAX;
    if fits {
        return Ok(());
    }
    answer.truncate(HEADER_BYTES);
    let refused = AdminAnswer::Refused {
        rv: Rv::DEVICE_MEMORY,
        reason: "the answer is too long for one frame or for the memory left; ask for less".into(),
    };
    codec::encode(&refused, &mut Locked(answer)).map_err(|_| Malformed)
}

fn status(daemon: &Daemon) -> Status {
    let counts = daemon.service.counts();
    Status {
        applications: counts.applications,
        sessions: counts.sessions,
        tokens: counts.tokens,
        objects: counts.objects,
        requests: counts.requests,
        rehearsing: counts.rehearsing,
        ..status_of_process(
            &daemon.configuration(),
            daemon.uptime(),
            daemon.connections.count(),
        )
    }
}

/// How the process is, whether or not it is sealed.
pub(crate) fn status_of_process(
    configuration: &Configuration,
    uptime: Duration,
    connections: usize,
) -> Status {
    let memory = strongroom_keymem::status();
    let bytes = |of: fn(&strongroom_keymem::Status) -> usize| {
        memory.as_ref().map_or(0, |memory| of(memory) as u64)
    };
    let shown = |path: &std::path::Path| path.display().to_string();
    Status {
        version: crate::daemon::VERSION.into(),
        pid: std::process::id(),
        uptime_seconds: uptime.as_secs(),
        socket: shown(&configuration.socket),
        admin_socket: shown(&configuration.admin_socket),
        store: shown(&configuration.store),
        journal: shown(&configuration.journal),
        config: configuration.file.as_deref().map(shown),
        seal: configuration.seal.describe(),
        audit_level: configuration.audit_level.to_string(),
        memory_locking: memory
            .as_ref()
            .map_or_else(String::new, |memory| memory.backing.to_string()),
        memory_bytes_total: bytes(|memory| memory.bytes_total),
        memory_bytes_used: bytes(|memory| memory.bytes_used),
        memory_bytes_peak: bytes(|memory| memory.bytes_peak),
        connections: connections as u64,
        jail: crate::jail::standing(),
        ..Status::default()
    }
}
