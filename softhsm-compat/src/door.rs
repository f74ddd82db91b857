//! From what a door found to a token of the daemon.
//!
//! What lives here: one import into a token that is there, whatever the objects came from.
//! What must never live here: a format, a module.
//! Who calls it: every door but SoftHSM's.

use strongroom_cli::client::Client;
use strongroom_cli::failure::Failure;
use strongroom_cli::output;
use strongroom_cli::pin::{self, Pin};
use strongroom_wire::import::{Destination, IMPORT_SOURCE_BYTES_MAX};
use strongroom_wire::secret::Secret;

use crate::arguments::IntoArguments;
use crate::opened::Opened;
use crate::report::{Line, Name, Part};
use crate::send::Import;

/// What a door found.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Where it all came from, for the audit.
    pub source: String,
    /// Objects, and where each stood.
    pub objects: Vec<(String, Opened)>,
    /// What cannot be brought in, and why.
    pub refused: Vec<Line>,
    /// What else is to be said.
    pub notes: Vec<String>,
}

/// The PIN of the destination; asked for before anything is read, so that nobody waits for a question.
///
/// # Errors
/// [`Failure`] when there is nobody to ask.
pub fn pin(into: &IntoArguments) -> Result<Pin, Failure> {
    let token = output::printable(&into.token);
    pin::known(
        &format!("PIN of the user of token \"{token}\""),
        "--pin-file",
        into.pin_file.as_deref(),
    )
}

/// Brings everything in, in one commit.
///
/// # Errors
/// [`Failure`]; nothing has happened then.
pub fn bring(
    arrivals: Arrivals,
    into: &IntoArguments,
    pin: &Pin,
    client: &mut Client,
) -> Result<Part, Failure> {
    let destination = Destination::Token {
        token: &into.token,
        user_pin: Secret::new(pin.expose()),
    };
    let source = one_line(&arrivals.source);
    let mut import = Import::begin(client, &source, destination, into.import.keep_history)?;
    let all = arrivals.objects.len();
    let mut names = Vec::with_capacity(all);
    for (source, object) in arrivals.objects {
        names.push(Name::of(&source, &object));
        import.push(object)?;
        output::progress(&format!(
            "{}: {} of {all} objects",
            into.token,
            import.judged()
        ));
    }
    output::progress("");
    let part = Part {
        source,
        label: into.token.clone(),
        serial_number: None,
        committed: false,
        objects: arrivals.refused,
        notes: arrivals.notes,
    };
    import.settle(names, part, into.import)
}

/// The audit takes a line of bounded length.
fn one_line(source: &str) -> String {
    let mut line = output::printable(source);
    while line.len() > IMPORT_SOURCE_BYTES_MAX {
        line.pop();
    }
    line
}
