//! The tidy rules: what a reviewer should not have to look for.
//!
//! What lives here: running every rule over the repository and gathering what each finds.
//! What must never live here: a rule; each lives in a module of its own, beside the bad example that proves it.
//! Who calls it: `cargo xtask tidy`, and with it `./test`.

mod documents;
mod headers;
mod packages;
mod rooms;
mod settings;
mod sizes;

use std::path::Path;

use crate::source;
use settings::Settings;

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// File, with a line where there is one.
    pub(crate) place: String,
    /// What is wrong, and what would be right.
    pub(crate) what: String,
}

impl Finding {
    fn at_line(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            place: format!("{path}:{}", line + 1),
            what: what.into(),
        }
    }

    fn in_file(path: &str, what: impl Into<String>) -> Self {
        Self {
            place: path.to_owned(),
            what: what.into(),
        }
    }
}

/// What to do with an allowance that is larger than it need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slack {
    /// Report it: a ratchet goes down.
    Report,
    /// Write the smaller number down.
    Lower,
}

/// Runs all rules.
///
/// # Errors
/// When the repository cannot be read.
pub(crate) fn run(root: &Path, slack: Slack) -> Result<Vec<Finding>, String> {
    let sources =
        source::sources(root).map_err(|error| format!("cannot read the sources: {error}"))?;
    let mut settings = Settings::read(root)?;
    let manifests = packages::manifests(root)?;
    let counts = packages::counts(root, settings.packages.keys())?;

    let mut findings = Vec::new();
    for file in &sources {
        findings.extend(headers::missing(file));
        findings.extend(headers::unnumbered_todos(file));
        findings.extend(rooms::strangers(file));
    }
    findings.extend(packages::broken_laws(&manifests));
    findings.extend(documents::missing(root));
    findings.extend(documents::absent_tests(root, &sources));

    let sizes = sizes::measure(&sources, &settings);
    let lowered = settings.judge(&sizes, &counts, &mut findings);
    match slack {
        Slack::Lower => settings.write(root, &lowered)?,
        Slack::Report => findings.extend(lowered.findings()),
    }
    Ok(findings)
}
