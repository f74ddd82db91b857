//! `strongroom status`.
//!
//! What lives here: how the daemon's state is shown.
//! What must never live here: judgement; that is the doctor's.
//! Who calls it: the commands.

use serde::Serialize;
use strongroom_wire::admin::{AdminAnswer, AdminRequest, LimitLine, Status};
use strongroom_wire::codec::List;
use strongroom_wire::response::ANSWER_ITEMS_MAX;

use super::{Bench, walls};
use crate::client::{Client, unexpected};
use crate::failure::Failure;
use crate::output::{self, Format, Rows, duration, size};

pub(super) fn show(bench: Bench<'_>) -> Result<(), Failure> {
    let mut client = Client::connect(&bench.find()?.admin_socket)?;
    let AdminAnswer::Status(status) = client.ask(&AdminRequest::Status)? else {
        return Err(unexpected());
    };
    // A daemon of an older release does not know the question.
    let limits = match client.ask(&AdminRequest::Limits) {
        Ok(AdminAnswer::Limits(limits)) => limits,
        Ok(_) | Err(_) => List::default(),
    };
    match bench.format {
        Format::Json => output::show_json(&Whole { status, limits }),
        Format::Text => {
            output::show(&text(&status))?;
            if limits.items().is_empty() {
                return Ok(());
            }
            output::show("\n")?;
            output::show_rows(&rows(limits.items()))
        }
    }
}

/// The state and its bounds as one JSON object.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    status: Box<Status>,
    limits: List<LimitLine, ANSWER_ITEMS_MAX>,
}

fn rows(limits: &[LimitLine]) -> Rows {
    let mut rows = Rows::new(&["limit", "value", "in use", "most so far"]);
    for limit in limits {
        let shown = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        rows.push(vec![
            limit.name.clone(),
            limit.value.to_string(),
            shown(limit.used),
            shown(limit.peak),
        ]);
    }
    rows
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
        ("jail", walls::shown(&status.jail)),
        (
            "rehearsals",
            match status.rehearsing {
                0 => "none".to_owned(),
                tokens => format!("{tokens} tokens imitate hardware: strongroom token list"),
            },
        ),
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
