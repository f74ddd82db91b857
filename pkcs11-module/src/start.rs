//! Reaching the daemon, and starting it when nobody listens.
//!
//! What lives here: one attempt to connect, at most one start, and the waiting for it, which always ends.
//! What must never live here: a child that is not reaped, or one that is reaped although it is the host's.
//! Who calls it: the client, for every new connection.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::abi::spawn;
use crate::client;
use crate::locate::{Locator, Place};

/// The daemon forks, and its first process ends when the sockets listen.
const ARGUMENTS: [&str; 2] = ["--daemonize", "--autostarted"];

/// Longest wait for that.
const START: Duration = Duration::from_secs(10);

/// How long no further start is tried after one failed: calls of an application that polls must not take ten seconds each.
const REST: Duration = Duration::from_secs(60);

/// Time between two looks at the child.
const LOOK: Duration = Duration::from_millis(1);

/// Starts the daemon for one instance of the module.
pub(crate) struct Starter {
    /// When a start last failed. Held while starting, so that other threads wait for the outcome.
    failed: Mutex<Option<Instant>>,
}

impl Starter {
    /// A starter that has not tried yet.
    pub(crate) const fn new() -> Self {
        Self {
            failed: Mutex::new(None),
        }
    }

    /// Connects, after a start if nobody listens and the set-up says so. Of two processes that start at once one loses, and
    /// connects to the daemon of the other.
    pub(crate) fn connect(&self, locator: &Locator, limit: Duration) -> Option<UnixStream> {
        let place = locator.locate()?;
        match client::connect(&place.socket, limit) {
            Ok(stream) => return Some(stream),
            // Only these two say that nobody is there; a daemon that is busy or forbidden is not started twice.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) => {}
            Err(_) => return None,
        }
        if place.programs.is_empty() {
            return None;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have started it meanwhile.
        if let Ok(stream) = client::connect(&place.socket, limit) {
            return Some(stream);
        }
        if failed.is_some_and(|when| when.elapsed() < REST) {
            return None;
        }
        start(&place);
        // The start may have made a better place: the user's own socket comes before that of the system.
        let socket = locator.locate().map_or(place.socket, |place| place.socket);
        let stream = client::connect(&socket, limit).ok();
        *failed = if stream.is_some() {
            None
        } else {
            Some(Instant::now())
        };
        stream
    }
}

/// Starts the first program that is there, and waits until it says that it listens, fails, or takes too long.
fn start(place: &Place) {
    let Some(program) = place.programs.iter().find(|program| program.is_file()) else {
        return;
    };
    let every = ARGUMENTS.iter().map(OsString::from);
    let arguments: Vec<_> = every.chain(place.arguments.iter().cloned()).collect();
    if let Ok(child) = spawn::spawn_apart(program, &arguments) {
        wait_for(child, &place.socket, START);
    }
}

/// Waits for the daemon's first process and reaps it, and no other child of the host.
fn wait_for(mut child: Child, socket: &Path, limit: Duration) {
    let start = Instant::now();
    let mut reaped_by_host = false;
    while start.elapsed() < limit {
        if reaped_by_host {
            if client::connect(socket, LOOK).is_ok() {
                return;
            }
        } else {
            match child.try_wait() {
                Ok(Some(_)) => return,
                Ok(None) => {}
                // ECHILD: the host ignores SIGCHLD or waits for all children, so only the socket tells.
                Err(_) => reaped_by_host = true,
            }
        }
        thread::sleep(LOOK);
    }
    if !reaped_by_host {
        // It hangs. Its number is still its own, since nobody reaped it.
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
#[path = "tests/start.rs"]
mod tests;
