//! What became of every object.
//!
//! What lives here: the report of an import, for people and for programs, and the exit code that it means.
//! What must never live here: a value of an attribute.
//! Who calls it: every door of the importer.

use std::fmt::Write as _;

use serde::Serialize;
use strongroom_cli::output::printable;
use strongroom_wire::ck::{AttributeType, KeyType, ObjectClass};
use strongroom_wire::import::Judgement;

use crate::opened::Opened;

/// What an object is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Name {
    /// Where it comes from: its file, its row, its place in a bundle.
    pub source: String,
    /// Name of its class (`CKO_…`).
    pub class: String,
    /// Name of its type (`CKK_…`), of a key.
    pub key_type: Option<String>,
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID` in hexadecimal.
    pub id: String,
}

impl Name {
    /// The name of an object in clear.
    #[must_use]
    pub fn of(source: &str, object: &Opened) -> Self {
        let number = |kind| {
            let bytes = object.value(kind)?.try_into().ok()?;
            Some(u64::from_ne_bytes(bytes))
        };
        let label = object.value(AttributeType::LABEL).unwrap_or_default();
        let id = object.value(AttributeType::ID).unwrap_or_default();
        Self {
            source: source.into(),
            class: number(AttributeType::CLASS)
                .map_or_else(String::new, |class| ObjectClass(class).to_string()),
            key_type: number(AttributeType::KEY_TYPE).map(|kind| KeyType(kind).to_string()),
            label: String::from_utf8_lossy(label).into_owned(),
            id: strongroom_crypto::hex::shown(id),
        }
    }

    /// An object of which nothing could be read.
    #[must_use]
    pub fn unread(source: &str) -> Self {
        Self {
            source: source.into(),
            ..Self::default()
        }
    }

    fn shown(&self) -> String {
        let mut text = match (&self.key_type, self.class.is_empty()) {
            (_, true) => "object".to_owned(),
            (Some(kind), false) => format!("{} {}", self.class, kind),
            (None, false) => self.class.clone(),
        };
        if !self.label.is_empty() {
            let _ = write!(text, " \"{}\"", printable(&self.label));
        }
        if !self.id.is_empty() {
            let _ = write!(text, ", id {}", self.id);
        }
        let _ = write!(text, " ({})", printable(&self.source));
        text
    }
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it was.
    Brought,
    /// Brought, and not every attribute is as it was.
    Changed,
    /// It stayed where it was.
    Refused,
}

/// An object, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What it is called.
    #[serde(flatten)]
    pub name: Name,
    /// What became of it.
    pub outcome: Outcome,
    /// What is different, a sentence each; or why it was refused.
    pub why: Vec<String>,
}

impl Line {
    /// An object that the daemon judged.
    #[must_use]
    pub fn judged(name: Name, judgement: &Judgement) -> Self {
        let (outcome, why) = match &judgement.refused {
            Some((rv, why)) => (Outcome::Refused, vec![format!("{why} ({rv})")]),
            None if judgement.changed.is_empty() => (Outcome::Brought, Vec::new()),
            None => (Outcome::Changed, judgement.changed.clone()),
        };
        Self { name, outcome, why }
    }

    /// An object that never reached the daemon.
    #[must_use]
    pub fn unread(name: Name, why: String) -> Self {
        Self {
            name,
            outcome: Outcome::Refused,
            why: vec![why],
        }
    }
}

/// One token, or whatever else objects came from.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Where they came from.
    pub source: String,
    /// Label of the token that they went to.
    pub label: String,
    /// Its serial number.
    pub serial_number: Option<String>,
    /// Whether they are there now: not after a dry run, and not where one refusal was one too many.
    pub committed: bool,
    /// Every object.
    pub objects: Vec<Line>,
    /// What else is to be said.
    pub notes: Vec<String>,
}

impl Part {
    /// How many objects have an outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        let is = |line: &&Line| line.outcome == outcome;
        self.objects.iter().filter(is).count()
    }
}

/// A whole import.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether it was asked for only to be told.
    pub dry_run: bool,
    /// Token by token.
    pub parts: Vec<Part>,
}

impl Report {
    /// The exit code: [`CODE_SOME_REFUSED`] when something stayed behind.
    #[must_use]
    pub fn code(&self) -> u8 {
        let refused = |part: &Part| part.count(Outcome::Refused) > 0;
        match self.parts.iter().any(refused) {
            false => strongroom_cli::failure::CODE_OK,
            true => CODE_SOME_REFUSED,
        }
    }

    /// The report for people. Objects that came as they were are counted, the others named.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            let (brought, changed, refused) = (
                part.count(Outcome::Brought),
                part.count(Outcome::Changed),
                part.count(Outcome::Refused),
            );
            let verb = match (self.dry_run, part.committed) {
                (true, _) => "would be brought in",
                (false, true) => "brought in",
                (false, false) => "NOT brought in: nothing was changed",
            };
            let _ = writeln!(
                text,
                "{}: token \"{}\" {verb}: {} objects, {changed} of them with changed attributes; {refused} refused",
                printable(&part.source),
                printable(&part.label),
                brought + changed,
            );
            for note in &part.notes {
                let _ = writeln!(text, "  {note}");
            }
            for (outcome, heading) in [(Outcome::Changed, "changed"), (Outcome::Refused, "refused")]
            {
                for line in part.objects.iter().filter(|line| line.outcome == outcome) {
                    let _ = writeln!(text, "  {heading}: {}", line.name.shown());
                    for why in &line.why {
                        let _ = writeln!(text, "    {}", printable(why));
                    }
                }
            }
        }
        text
    }
}

/// The import was done, and some objects stayed behind.
pub const CODE_SOME_REFUSED: u8 = 4;
