//! The witness: a second process that tells which program a client runs, and can do nothing else.
//!
//! What lives here: what it answers, and what becomes of it.
//! What must never live here: a file that is opened; that is the measurer's.
//! Who calls it: start-up splits it off, the listener asks it.
//!
//! To see another process's program one must be allowed to look into that process. The daemon may not: Landlock forbids it, and as root it
//! has no capabilities. The witness may, knows nothing, and its filter lets it read a question, read a link, and answer.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::JailError;
use super::aside::{self, Aside};
use crate::config::{Configuration, Walls};

/// The daemon's end.
#[derive(Debug)]
pub struct Witness {
    /// None where there is no jail, and so no need for a witness; or where it has ended.
    asked: Option<UnixStream>,
    jailed: bool,
}

impl Witness {
    /// Splits the witness off.
    ///
    /// Call it while the process has one thread and no secret.
    ///
    /// # Errors
    /// [`JailError`].
    pub fn split_off(configuration: &Configuration) -> Result<Self, JailError> {
        let jailed = configuration.walls != Walls::DangerNone;
        let asked = jailed.then(|| ASIDE.split_off()).transpose()?;
        Ok(Self { asked, jailed })
    }

    /// The program of a process, as far as it may be seen.
    pub fn program(&mut self, process: u32) -> Option<PathBuf> {
        if !self.jailed {
            return std::fs::read_link(link(process)).ok();
        }
        match aside::ask(self.asked.as_ref()?, process) {
            Ok(path) => (!path.is_empty()).then(|| std::ffi::OsString::from_vec(path).into()),
            Err(error) => {
                tracing::error!(%error, "the witness is gone: from here on nobody sees which program a client runs; restart the daemon");
                // An answer that comes late must not be taken for the next one.
                self.asked = None;
                None
            }
        }
    }
}

/// The path of the program, empty where it is not seen.
fn answer(process: u32) -> Vec<u8> {
    let path = std::fs::read_link(link(process)).unwrap_or_default();
    path.as_os_str().as_bytes().to_vec()
}

fn link(process: u32) -> String {
    format!("/proc/{process}/exe")
}

/// The witness. Reading a link takes microseconds, and the listener must not stand still for longer than it waits.
pub const ASIDE: Aside = Aside {
    name: c"strongroom-eyes",
    called: "the witness",
    calls: &[aside::CALLS],
    patience: Duration::from_secs(2),
    answer,
};
