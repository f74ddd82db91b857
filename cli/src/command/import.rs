//! `strongroom import`.
//!
//! What lives here: handing the command to the program that reads foreign stores.
//! What must never live here: a reader; the program is a package of its own, and this command is whole without it.
//! Who calls it: the commands.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Bench;
use crate::failure::Failure;
use crate::output::Format;
use crate::place;

const PROGRAM: &str = "strongroom-import";

pub(super) fn run(bench: Bench<'_>, arguments: &[OsString]) -> Result<(), Failure> {
    let program = find(bench).ok_or_else(|| {
        Failure::Failed(format!(
            "the program {PROGRAM} is not installed; it belongs beside this one, or into a directory of PATH"
        ))
    })?;
    let mut command = Command::new(&program);
    command.args(place::flags(bench.place));
    if bench.format == Format::Json {
        command.arg("--json");
    }
    // Only a failure comes back: the program takes this one's place, with its terminal and its exit code.
    let error = command.args(arguments).exec();
    Err(Failure::file("start", &program, &error))
}

/// Beside this program, then in PATH.
fn find(bench: Bench<'_>) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let searched = bench.environment.value("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&searched))
        .map(|directory| directory.join(PROGRAM))
        .find(|program| program.is_file())
}
