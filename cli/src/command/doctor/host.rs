//! Checks of the machine.
//!
//! What lives here: what the kernel and its limits give.
//! What must never live here: Strongroom's own files.
//! Who calls it: the doctor.

use std::fs;

use super::Check;
use crate::{output, system};

pub(super) fn locked_memory() -> Check {
    let fix = "raise it: LimitMEMLOCK=128M in the unit, or memlock in /etc/security/limits.conf";
    match system::locked_memory_limit() {
        Ok(None) => Check::ok("memlock limit", "unlimited"),
        Ok(Some(_)) if system::effective_user() == 0 => {
            Check::ok("memlock limit", "root is not bound by it")
        }
        Ok(Some(bytes)) if bytes >= ROOMY_BYTES => Check::ok("memlock limit", output::size(bytes)),
        Ok(Some(bytes)) if bytes >= ENOUGH_BYTES => Check::warn(
            "memlock limit",
            format!("{}: enough for few keys", output::size(bytes)),
            fix,
        ),
        Ok(Some(bytes)) => Check::fail(
            "memlock limit",
            format!("{}: too little", output::size(bytes)),
            fix,
        ),
        Err(error) => Check::warn("memlock limit", format!("unknown: {error}"), ""),
    }
}

pub(super) fn memfd_secret() -> Check {
    if system::has_memfd_secret() {
        Check::ok("memfd_secret", "the kernel has it")
    } else {
        Check::warn(
            "memfd_secret",
            "the kernel does not have it, or it is switched off; locked memory stands in",
            "boot a kernel from 6.5 on, or add secretmem.enable=1 to the kernel's command line",
        )
    }
}

pub(super) fn core_pattern() -> Check {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let pattern = pattern.trim();
    // A program behind the bar is called whatever the limit of core files says (core(5)); the daemon forbids dumps of itself anyhow.
    Check::ok(
        "core dumps",
        format!("of the daemon forbidden by itself; of applications: {pattern}"),
    )
}

pub(super) fn swap() -> Check {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    match swaps.lines().count() {
        0 | 1 => Check::ok("swap", "none"),
        _ => Check::ok(
            "swap",
            "on; the daemon's keys are locked in memory, what applications hold is not",
        ),
    }
}

/// Whether dumps of the daemon are off, as far as another process can see: the limit of core files, and whose its /proc files are.
pub(super) fn dumps_of(pid: u32) -> Check {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    match core.map(|rest| rest.split_whitespace().take(2).all(|bound| bound == "0")) {
        Some(true) => Check::ok("daemon dumps", "forbidden"),
        Some(false) => Check::fail(
            "daemon dumps",
            "the daemon may write core files, with keys in them",
            "restart the daemon; if this stays, report it as a defect",
        ),
        None => Check::warn(
            "daemon dumps",
            format!("/proc/{pid}/limits cannot be read"),
            "",
        ),
    }
}

/// With this much a daemon takes its usual budget.
const ROOMY_BYTES: u64 = 64 << 20;
/// With less than this it does not start.
const ENOUGH_BYTES: u64 = 1 << 20;
