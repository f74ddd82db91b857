//! `cargo xtask soak` and `cargo xtask fuzz`: crowds against a daemon of their own.
//!
//! What lives here: building what they need, or finding it, and running it.
//! What must never live here: what a crowd does; that is the program `load` of the black-box suite.
//! Who calls it: people, and `./test soak`.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const USAGE: &str = "\
usage: cargo xtask soak [--seconds N] [--connections N] [--sessions N] [--objects N] [--audit LEVEL] [--seed N] [--json]
       cargo xtask fuzz [--frames N] [--clients N] [--seed N]

Both build the release, or take the programs of the directory STRONGROOM_BIN_DIR, and start a daemon of their own.

  soak     honest applications do everything for a while: latencies by kind of work, memory over time. Fails when anything fails, or
           when memory grows after the first fifth of the time.
             --seconds N      an hour (3600)        --connections N   1,000, each an application
             --sessions N     10,000 in all         --objects N       100,000 on the token
             --audit LEVEL    what the journal records: all, management (usual here, because a journal of an hour takes gigabytes), none
             --seed N         the same work again   --json            one line for programs
  fuzz     hostile clients send spoiled frames, and lie in shared memory, while an honest one works. Fails when the daemon ends, hangs,
           grows, answers what is no answer, keeps anything of the hostile, or when the honest one has one error.
             --frames N       10,000,000            --clients N       8
             --seed N         the same frames again";

/// Runs one of them with its options.
///
/// # Errors
/// What does not build, and that the run failed; what was wrong it has told itself.
pub(crate) fn run(root: &Path, command: &str, options: &[&str]) -> Result<(), String> {
    let programs = match std::env::var_os("STRONGROOM_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => build(root)?,
    };
    let status = Command::new(programs.join("load"))
        .arg(command)
        .args(options)
        .env("STRONGROOM_BIN_DIR", &programs)
        .status()
        .map_err(|error| format!("{}: {error}", programs.join("load").display()))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command} found faults"))
    }
}

/// Builds the release and tells where it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--package", "strongroomd", "--bin", "strongroomd"])
        .args(["--package", "strongroom-tests", "--bin", "load"])
        .current_dir(root)
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("the build failed".to_owned());
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release"))
}
