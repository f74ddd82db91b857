//! `strongroom audit`.
//!
//! What lives here: showing the journal's last lines, and the verdict on its chain.
//! What must never live here: the check itself; the token does it.
//! Who calls it: the commands.

use strongroom_wire::admin::{AdminAnswer, AdminRequest};

use super::Bench;
use crate::client::unexpected;
use crate::failure::Failure;
use crate::output::{self, Format};

pub(super) fn tail(bench: Bench<'_>, lines: u32) -> Result<(), Failure> {
    let AdminAnswer::Lines(lines) = bench.ask(&AdminRequest::AuditTail { lines })? else {
        return Err(unexpected());
    };
    if bench.format == Format::Json {
        // The lines are JSON themselves; one that is not is shown as a text.
        let lines: Vec<serde_json::Value> = lines
            .into_items()
            .into_iter()
            .map(|line| serde_json::from_str(&line).unwrap_or(serde_json::Value::String(line)))
            .collect();
        return output::show_json(&lines);
    }
    let text: String = lines
        .items()
        .iter()
        .map(|line| output::printable(line) + "\n")
        .collect();
    output::show(&text)
}

pub(super) fn verify(bench: Bench<'_>) -> Result<(), Failure> {
    let AdminAnswer::Audit(report) = bench.ask(&AdminRequest::AuditVerify)? else {
        return Err(unexpected());
    };
    if bench.format == Format::Json {
        output::show_json(&serde_json::json!({
            "lines": report.lines,
            "head": report.head,
            "generation": report.generation,
            "whole": report.broken.is_none(),
            "broken": report.broken.as_ref().map(|(line, why)| serde_json::json!({ "line": line, "why": why })),
        }))?;
    }
    match (&report.broken, bench.format) {
        (Some((line, why)), _) => Err(Failure::Failed(format!(
            "the audit journal is broken at line {line}: {why}; keep the file as evidence and compare it with a backup"
        ))),
        (None, Format::Json) => Ok(()),
        (None, Format::Text) => output::show(&format!(
            "the audit journal is whole: {} lines, head {}{}\n",
            report.lines,
            report.head,
            report
                .generation
                .map_or_else(String::new, |generation| format!(
                    ", store generation {generation}"
                )),
        )),
    }
}
