//! `strongroom doctor`.
//!
//! What lives here: the checks of an installation, each with what to do about it.
//! What must never live here: a repair; the doctor touches nothing.
//! Who calls it: the commands.

mod host;
pub(super) mod installation;

use serde::Serialize;
use strongroom_wire::admin::{AdminAnswer, AdminRequest, Status};

use super::{Bench, walls};
use crate::arguments::DoctorArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but could be better.
    Warn,
    /// It does not work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub verdict: Verdict,
    /// In words.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub fix: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Ok,
            found: found.into(),
            fix: String::new(),
        }
    }

    fn warn(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Warn,
            found: found.into(),
            fix: fix.into(),
        }
    }

    fn fail(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Fail,
            found: found.into(),
            fix: fix.into(),
        }
    }
}

pub(super) fn run(bench: Bench<'_>, arguments: &DoctorArguments) -> Result<(), Failure> {
    let place = bench.find()?;
    let mut checks = vec![
        installation::environment(&place, bench.environment),
        installation::configuration(&place, bench.environment),
    ];
    checks.extend(installation::files(&place));
    checks.extend(installation::sockets(&place));
    let status = Client::connect(&place.admin_socket)
        .and_then(|mut client| client.ask(&AdminRequest::Status));
    match status {
        Ok(AdminAnswer::Status(status)) => checks.extend(daemon(&status)),
        Ok(_) => checks.push(Check::fail(
            "daemon",
            "it gave an answer of another kind",
            SAME_RELEASE,
        )),
        Err(failure) => checks.push(Check::fail(
            "daemon",
            failure.to_string(),
            "run: strongroom init",
        )),
    }
    checks.extend([
        host::locked_memory(),
        host::memfd_secret(),
        host::core_pattern(),
        host::swap(),
    ]);
    checks.extend(installation::module(arguments.module.as_deref()));
    checks.push(installation::p11_kit(bench.environment));
    show(bench.format, &checks)
}

fn daemon(status: &Status) -> Vec<Check> {
    let own = env!("CARGO_PKG_VERSION");
    let version = if status.version == own {
        Check::ok(
            "daemon",
            format!("strongroomd {}, process {}", status.version, status.pid),
        )
    } else {
        Check::warn(
            "daemon",
            format!("strongroomd {}, this command is {own}", status.version),
            SAME_RELEASE,
        )
    };
    let locking = match status.memory_locking.as_str() {
        "memfd_secret" => Check::ok("key memory", "memfd_secret: not even the kernel maps it"),
        "mlock" => Check::warn(
            "key memory",
            "locked (mlock): never swapped, but root can read it",
            "boot a kernel from 6.5 on, or add secretmem.enable=1 to the kernel's command line",
        ),
        other => Check::fail(
            "key memory",
            format!("{other}: keys may reach the swap"),
            "raise the limit of locked memory (LimitMEMLOCK= or /etc/security/limits.conf), then take danger_unlocked out of the configuration",
        ),
    };
    let full =
        status.memory_bytes_used.saturating_mul(10) > status.memory_bytes_total.saturating_mul(9);
    let used = format!(
        "{} of {} in use",
        output::size(status.memory_bytes_used),
        output::size(status.memory_bytes_total)
    );
    let room = if full {
        Check::warn(
            "key memory room",
            used,
            "raise memory.bytes and the limit of locked memory",
        )
    } else {
        Check::ok("key memory room", used)
    };
    let audit = if status.audit_level == "none" {
        Check::warn(
            "audit",
            "nothing is recorded",
            "set audit.level to \"management\" or \"all\", then: strongroom reload",
        )
    } else {
        Check::ok(
            "audit",
            format!("records {} to {}", status.audit_level, status.journal),
        )
    };
    let jail = match walls::missing(&status.jail) {
        None => Check::ok("jail", walls::shown(&status.jail)),
        Some(advice) => Check::warn("jail", walls::shown(&status.jail), advice),
    };
    let dumps = host::dumps_of(status.pid);
    vec![version, locking, room, audit, jail, dumps]
}

fn show(format: Format, checks: &[Check]) -> Result<(), Failure> {
    match format {
        Format::Json => output::show_json(&serde_json::json!({ "checks": checks }))?,
        Format::Text => output::show(&checks.iter().map(line).collect::<String>())?,
    }
    match checks
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .count()
    {
        0 => Ok(()),
        1 => Err(Failure::Failed("one check failed".into())),
        count => Err(Failure::Failed(format!("{count} checks failed"))),
    }
}

fn line(check: &Check) -> String {
    let verdict = match check.verdict {
        Verdict::Ok => "ok  ",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    };
    let found = output::printable(&check.found);
    let fix = if check.fix.is_empty() {
        String::new()
    } else {
        format!("       {:<16} -> {}\n", "", check.fix)
    };
    format!("{verdict}   {:<16} {found}\n{fix}", check.name)
}

const SAME_RELEASE: &str =
    "install command and daemon from the same release, then restart the daemon";
