//! How far the store was when a line was written, and what that says of a store today.
//!
//! What lives here: finding the newest line that says a generation, and the comparison with the store's own.
//! What must never live here: what is done about an older store; the service decides.
//! Who calls it: the service, when it opens and when the audit begins to record.
//!
//! A line carries `generation` when it is not the one of the line that said it last, and every [`SAID_EVERY`] lines, so that a look
//! at the end of the journal is enough. The line was written after the commit was durable: a store that is behind such a line is an
//! older copy, whatever crashed.

use std::fmt;

use super::Parsed;
use crate::ports::{Journal, StoreError};

/// What the journal says of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing is recorded (audit level none), so nothing was compared.
    NotRecorded,
    /// The journal says no generation: it is new, was moved away, or is of a version before.
    Unknown,
    /// The store is as far as the journal knows, or further.
    Current,
    /// The store is an older copy.
    Older(Older),
    /// The store is an older copy, and the operator has accepted it; the journal says so.
    Accepted(Older),
}

impl fmt::Display for Freshness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRecorded => {
                out.write_str("not compared with the journal, because the audit records nothing")
            }
            Self::Unknown => out.write_str(
                "not compared: the journal says no generation yet (it is new, or was moved away)",
            ),
            Self::Current => out.write_str("as new as the journal knows"),
            Self::Older(older) => fmt::Display::fmt(older, out),
            Self::Accepted(older) => write!(out, "accepted, although {older}"),
        }
    }
}

/// A store that is behind its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Older {
    /// How far the store is.
    pub store: u64,
    /// How far it was when the line was written.
    pub journal: u64,
    /// The number of that line.
    pub line: u64,
}

impl fmt::Display for Older {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            store,
            journal,
            line,
        } = self;
        write!(
            out,
            "the store is of generation {store}, and line {line} of the audit journal has seen generation {journal}: the whole store was put back to an earlier state, or it is another store"
        )
    }
}

/// The newest line that says a generation, as (its number, the generation).
///
/// # Errors
/// [`StoreError`] when the journal cannot be read.
pub(super) fn newest(journal: &dyn Journal) -> Result<Option<(u64, u64)>, StoreError> {
    for lines in [LOOK_FIRST, LOOK_AT_MOST] {
        for line in journal.tail(lines)?.iter().rev() {
            if let Some(parsed) = Parsed::of(line)
                && let Some(generation) = parsed.generation()
                && parsed.hash_fits()?
            {
                return Ok(Some((parsed.sequence, generation)));
            }
        }
    }
    Ok(None)
}

/// Compares a store with its journal.
pub(super) fn compare(journal: &dyn Journal, store: u64) -> Result<Freshness, StoreError> {
    Ok(match newest(journal)? {
        None => Freshness::Unknown,
        Some((line, journal)) if store < journal => Freshness::Older(Older {
            store,
            journal,
            line,
        }),
        Some(_) => Freshness::Current,
    })
}

/// How many lines may follow each other without a generation.
pub(super) const SAID_EVERY: u64 = 1000;
/// Most journals say it among these.
const LOOK_FIRST: usize = 64;
/// Enough for any journal, with room for torn lines.
const LOOK_AT_MOST: usize = 4096;
