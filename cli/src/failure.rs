//! Failures: what was tried, what is wrong, what to do, and the exit code.
//!
//! What lives here: the three ways in which a command can fail.
//! What must never live here: secrets.
//! Who calls it: every command.

use std::fmt;
use std::io;
use std::path::Path;

use strongroom_wire::ck::Rv;

use crate::output::Format;

/// Why a command did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was refused or failed.
    Failed(String),
    /// The command was used in a wrong way.
    Usage(String),
    /// The daemon does not answer.
    Unreachable(String),
}

/// Done.
pub const CODE_OK: u8 = 0;

impl Failure {
    /// The exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    /// A file that could not be used.
    #[must_use]
    pub fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::Failed(format!("cannot {what} {}: {error}", path.display()))
    }

    /// The daemon refused it.
    #[must_use]
    pub fn refused(rv: Rv, reason: &str) -> Self {
        Self::Failed(format!("{reason} ({rv})"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(text) | Self::Usage(text) | Self::Unreachable(text)) = self;
        out.write_str(text)
    }
}

impl std::error::Error for Failure {}

/// Tells a failure on standard error.
#[expect(clippy::print_stderr, reason = "this is the program's voice")]
pub fn report(failure: &Failure, format: Format) {
    match format {
        Format::Text => eprintln!("strongroom: {failure}"),
        Format::Json => {
            eprintln!(
                "{}",
                serde_json::json!({ "error": failure.to_string(), "code": failure.code() })
            );
        }
    }
}
