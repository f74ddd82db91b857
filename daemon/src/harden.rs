//! The first walls of the jail: what holds from before the first file is opened.
//!
//! What lives here: limits and prohibitions that hold for the whole life of the process.
//! What must never live here: anything that can be undone later.
//! Who calls it: start-up, once, before any thread exists.
//!
//! The walls that need to know what was opened, and how memory was locked, stand in `jail`.

use std::fmt;
use std::io;

use crate::system;

/// Which wall could not be built.
#[derive(Debug)]
pub struct HardenError {
    what: &'static str,
    why: io::Error,
}

impl fmt::Display for HardenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "cannot harden the process: {}: {}",
            self.what, self.why
        )
    }
}

impl std::error::Error for HardenError {}

/// Builds them.
///
/// # Errors
/// [`HardenError`]; a daemon that cannot be protected does not start.
pub fn harden() -> Result<(), HardenError> {
    // Every file and socket is made for its owner alone; wider rights are given one by one afterwards.
    system::set_file_mode_mask(0o077);
    // With dumps forbidden, /proc/self belongs to root. Nothing here reads it: peers are looked up under their own numbers.
    system::forbid_dumps().map_err(|why| HardenError {
        what: "forbid core dumps",
        why,
    })?;
    system::forbid_new_privileges().map_err(|why| HardenError {
        what: "forbid new privileges",
        why,
    })?;
    // Two descriptors a connection: the socket, and the process at its other end.
    system::raise_open_files().map_err(|why| HardenError {
        what: "raise the limit of open files",
        why,
    })?;
    system::give_large_allocations_back();
    system::scrub_environment();
    Ok(())
}
