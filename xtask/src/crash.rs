//! `cargo xtask crash --rounds N`: the daemon is killed under load, N times.
//!
//! What lives here: starting the one test that does it, with the number of rounds.
//! What must never live here: the test (`tests/tests/suite/crash.rs`).
//! Who calls it: people; `./test` runs as many rounds as fit into a minute.

use std::path::Path;
use std::process::Command;

pub(crate) const USAGE: &str = "\
usage: cargo xtask crash --rounds N

Kills the daemon by SIGKILL under load, starts it again and compares what is there with what was answered, N times.";

/// Runs it.
pub(crate) fn run(root: &Path, options: &[&str]) -> Result<(), String> {
    let rounds: u64 = match options {
        ["--rounds", number] => number
            .parse()
            .map_err(|_| format!("--rounds {number}: a number is wanted"))?,
        _ => return Err(USAGE.into()),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "test",
            "--quiet",
            "--package",
            "strongroom-tests",
            "--test",
            "suite",
            "--",
        ])
        .args([
            "--exact",
            "crash::killed_under_load_again_and_again",
            "--nocapture",
        ])
        .current_dir(root)
        .env("STRONGROOM_CRASH_ROUNDS", rounds.to_string())
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err("something that was answered is lost, or half there; see above".into())
    }
}
