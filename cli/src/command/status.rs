//! `strongroom status`.
//!
//! What lives here: how the daemon's state is shown.
//! What must never live here: judgement; that is the doctor's.
//! Who calls it: the commands.

use strongroom_wire::admin::{AdminAnswer, AdminRequest, Status};

use super::Bench;
use crate::client::unexpected;
use crate::failure::Failure;
use crate::output::{self, Format, duration, size};

pub(super) fn show(bench: Bench<'_>) -> Result<(), Failure> {
    match (bench.ask(&AdminRequest::Status)?, bench.format) {
        (AdminAnswer::Status(status), Format::Json) => output::show_json(&status),
        (AdminAnswer::Status(status), Format::Text) => output::show(&text(&status)),
        _ => Err(unexpected()),
    }
}

fn text(status: &Status) -> String {
    let lines = [
        (
            "daemon",
            format!(
                "strongroomd {}, process {}, running for {}",
                status.version,
                status.pid,
                duration(status.uptime_seconds)
            ),
        ),
        (
            "configuration",
            status
                .config
                .clone()
                .unwrap_or_else(|| "none, all as usual".into()),
        ),
        ("socket", status.socket.clone()),
        ("admin socket", status.admin_socket.clone()),
        ("store", status.store.clone()),
        ("root key", status.seal.clone()),
        (
            "journal",
            format!("{}, records {}", status.journal, status.audit_level),
        ),
        (
            "locked memory",
            format!(
                "{}, {} of {} in use, at most {} so far",
                status.memory_locking,
                size(status.memory_bytes_used),
                size(status.memory_bytes_total),
                size(status.memory_bytes_peak)
            ),
        ),
        (
            "clients",
            format!(
                "{} applications, {} connections, {} sessions",
                status.applications, status.connections, status.sessions
            ),
        ),
        (
            "tokens",
            format!("{}, with {} objects", status.tokens, status.objects),
        ),
        ("requests", status.requests.to_string()),
    ];
    let sealed = status.sealed.then(|| {
        let until = status.sealed_until.clone().unwrap_or_default();
        ("sealed", format!("waits for {until}; strongroom unseal"))
    });
    sealed
        .iter()
        .chain(&lines)
        .map(|(name, value)| format!("{name:<14} {value}\n"))
        .collect()
}
