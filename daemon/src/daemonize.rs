//! Going to the background.
//!
//! What lives here: the fork, and the pipe through which the command learns how the start went.
//! What must never live here: a thread before the fork.
//! Who calls it: start-up, first thing after the configuration is read.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::system::{self, Fork};

/// How a start ended, for whoever waits for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code: 0 when requests are answered.
    pub code: u8,
    /// What to tell when it is not 0.
    pub message: String,
}

/// Who waits for the start to end.
#[derive(Debug)]
pub struct Readiness {
    waiting: Option<PipeWriter>,
}

impl Readiness {
    /// Nobody: the daemon stays in the foreground.
    #[must_use]
    pub const fn nobody() -> Self {
        Self { waiting: None }
    }

    /// Tells how the start ended. Answers whether somebody was told.
    pub fn tell(&mut self, outcome: &Outcome) -> bool {
        let Some(mut pipe) = self.waiting.take() else {
            return false;
        };
        let mut bytes = vec![outcome.code];
        bytes.extend_from_slice(outcome.message.as_bytes());
        pipe.write_all(&bytes).is_ok()
    }
}

/// The two sides of the fork.
#[derive(Debug)]
pub enum Side {
    /// The daemon.
    Daemon(Readiness),
    /// The command that was typed: it ends with this.
    Command(Outcome),
}

/// Splits off the daemon. The command waits until the daemon tells how its start went.
///
/// # Errors
/// What the kernel says.
pub fn daemonize(log_file: &Path) -> io::Result<Side> {
    let (reader, writer) = io::pipe()?;
    match system::fork()? {
        Fork::Parent => {
            drop(writer);
            Ok(Side::Command(await_outcome(reader, log_file)))
        }
        Fork::Child => {
            drop(reader);
            detach(log_file)?;
            Ok(Side::Daemon(Readiness {
                waiting: Some(writer),
            }))
        }
    }
}

fn await_outcome(mut reader: PipeReader, log_file: &Path) -> Outcome {
    let mut bytes = Vec::new();
    let told = reader.read_to_end(&mut bytes).is_ok();
    match bytes.split_first() {
        Some((code, message)) if told => Outcome {
            code: *code,
            message: String::from_utf8_lossy(message).into_owned(),
        },
        _ => Outcome {
            code: 1,
            message: format!(
                "the daemon ended during its start; see {}",
                log_file.display()
            ),
        },
    }
}

fn detach(log_file: &Path) -> io::Result<()> {
    system::leave_terminal()?;
    std::env::set_current_dir("/")?;
    let nothing = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    // A log that cannot be written is no reason not to serve.
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log_file);
    let log = log.or_else(|_| nothing.try_clone())?;
    system::replace_standard(0, &nothing)?;
    system::replace_standard(1, &log)?;
    system::replace_standard(2, &log)
}
