//! The jail: what an intruder who runs code in the daemon still cannot do.
//!
//! What lives here: the order in which the walls are built, and what is told of them.
//! What must never live here: anything that can be undone later.
//! Who calls it: start-up, twice: before the first thread, and before the first client.
//!
//! The walls: nobody to become and nothing gained by starting programs (`harden`), files and networks (`fence`, Landlock), no capabilities,
//! and the system calls (`calls` and `filter`, seccomp). Landlock also forbids to see other processes, which is why a process of its own,
//! the witness, tells which program a client runs, and another, the measurer, hashes it where an operator wants that.

pub mod aside;
pub mod calls;
pub mod fence;
pub mod filter;
pub mod measurer;
pub mod witness;

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;

use parking_lot::Mutex;
use strongroom_wire::admin::Jail;

use crate::config::{Configuration, Environment, Walls};
use crate::system::{self, Capabilities, Reach};

/// Which wall could not be built.
#[derive(Debug)]
pub struct JailError {
    what: &'static str,
    why: String,
}

impl JailError {
    pub(crate) fn new(what: &'static str, why: &impl ToString) -> Self {
        Self {
            what,
            why: why.to_string(),
        }
    }
}

impl fmt::Display for JailError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "cannot {}: {}; a daemon that cannot be fenced in does not start, unless told by --danger-no-jail",
            self.what, self.why
        )
    }
}

impl std::error::Error for JailError {}

/// What stands, for the status.
static STANDING: Mutex<Jail> = Mutex::new(Jail {
    seccomp: false,
    landlock: 0,
    capabilities: u64::MAX,
    root: false,
});

/// What stands.
#[must_use]
pub fn standing() -> Jail {
    *STANDING.lock()
}

/// Files, networks and capabilities. Both hold for this thread and those that it starts, so call it before there is another; and after
/// the memory was locked, for which a capability may be needed.
///
/// # Errors
/// [`JailError`] names the wall.
pub fn enter(configuration: &Configuration, notify: Notify) -> Result<(), JailError> {
    let root = system::effective_user() == 0;
    if configuration.walls == Walls::DangerNone {
        tracing::warn!("danger: no jail; an intruder could do whatever this user may");
        let capabilities = system::capabilities().map_or(u64::MAX, |all| all.0);
        *STANDING.lock() = Jail {
            capabilities,
            root,
            ..Jail::default()
        };
        return Ok(());
    }
    system::forbid_unused_resources()
        .map_err(|error| JailError::new("set limits of resources", &error))?;
    let landlock = fence::close(configuration, notify)?;
    let capabilities = drop_capabilities(configuration)?;
    *STANDING.lock() = Jail {
        seccomp: false,
        landlock,
        capabilities: capabilities.0,
        root,
    };
    Ok(())
}

/// System calls, for all threads at once. Call it when everything is open and nobody has been answered yet.
///
/// # Errors
/// [`JailError`].
pub fn close(configuration: &Configuration) -> Result<(), JailError> {
    if configuration.walls == Walls::DangerNone {
        return Ok(());
    }
    confine_calls(Reach::AllThreads)?;
    STANDING.lock().seccomp = true;
    Ok(())
}

/// Puts the filter of the serving daemon on.
///
/// # Errors
/// [`JailError`].
pub fn confine_calls(reach: Reach) -> Result<(), JailError> {
    let rows = calls::CALLS.concat();
    filter::assemble(&rows, calls::OTHERWISE, std::process::id())
        .map_err(|error| JailError::new("make the filter of system calls", &error))
        .and_then(|program| {
            system::install_filter(&program, reach)
                .map_err(|error| JailError::new("filter system calls (seccomp)", &error))
        })
}

/// How the service manager is told of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// By a socket without a file, in the kernel's own space of names: Landlock can close that space, but only as a whole.
    Abstract,
    /// By a socket file, or not at all.
    Path,
}

impl Notify {
    /// As the service manager has said it.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        let address = environment.value("NOTIFY_SOCKET");
        if address.is_some_and(|address| address.as_encoded_bytes().starts_with(b"@")) {
            Self::Abstract
        } else {
            Self::Path
        }
    }
}

/// All of them go. The exception: root who was told to keep the files of somebody else, and without this one could not even read them.
fn drop_capabilities(configuration: &Configuration) -> Result<Capabilities, JailError> {
    let failed = |error: io::Error| JailError::new("drop capabilities", &error);
    // What locks memory later (large data in flight) goes by the limit alone from here on.
    let _ = system::lift_memory_lock_limit();
    let strange = fence::own_directories(configuration).find(|directory| {
        std::fs::metadata(directory).is_ok_and(|state| state.uid() != system::effective_user())
    });
    let kept = match strange {
        Some(directory) if system::effective_user() == 0 => {
            tracing::warn!(
                directory = %directory.display(),
                "this directory belongs to another user, so root keeps the capability to write it (dac_override); let its owner run the daemon, see \"user\" in the configuration"
            );
            Capabilities::DAC_OVERRIDE
        }
        _ => Capabilities::NONE,
    };
    system::keep_capabilities(kept).map_err(failed)?;
    let left = system::capabilities().map_err(failed)?;
    if left.and(kept) == left {
        Ok(left)
    } else {
        Err(failed(io::Error::other("some are still there")))
    }
}
