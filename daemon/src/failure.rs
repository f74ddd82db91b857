//! Why the daemon did not come up, and its last words.
//!
//! What lives here: the codes with which the program ends.
//! What must never live here: what went wrong; each room has an error of its own.
//! Who calls it: start-up.

use std::fmt;
use std::process::ExitCode;

use crate::daemonize::Outcome;
use crate::directories::DirectoryError;
use crate::listener::ListenError;
use crate::root::RootError;

/// Why the daemon did not come up.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Something that has no code of its own.
    pub fn other(error: impl fmt::Display) -> Self {
        Self::coded(CODE_FAILED, &error)
    }

    /// What was asked for is wrong.
    pub fn configuration(error: impl fmt::Display) -> Self {
        Self::coded(CODE_CONFIG, &error)
    }

    /// Another daemon is there.
    fn in_use(in_use: bool, error: &impl fmt::Display) -> Self {
        let code = if in_use {
            CODE_ALREADY_RUNNING
        } else {
            CODE_FAILED
        };
        Self::coded(code, error)
    }

    fn coded(code: u8, error: &impl fmt::Display) -> Self {
        Self {
            code,
            message: error.to_string(),
        }
    }

    /// For whoever waits for the start.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        Outcome {
            code: self.code,
            message: self.message,
        }
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        Self::in_use(matches!(error, DirectoryError::InUse { .. }), &error)
    }
}

impl From<RootError> for Failure {
    fn from(error: RootError) -> Self {
        Self::configuration(error)
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self::in_use(matches!(error, ListenError::InUse(_)), &error)
    }
}

/// Tells the outcome of a command, and its code.
#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the last words of a command"
)]
#[must_use]
pub fn tell(outcome: Outcome) -> ExitCode {
    match outcome.code {
        0 if outcome.message.is_empty() => {}
        0 => println!("{}", outcome.message),
        _ => eprintln!("strongroomd: {}", outcome.message),
    }
    ExitCode::from(outcome.code)
}

const CODE_FAILED: u8 = 1;
/// As clap has it for wrong flags.
const CODE_CONFIG: u8 = 2;
/// Another daemon serves this store or socket.
const CODE_ALREADY_RUNNING: u8 = 3;
