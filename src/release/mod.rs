//! Secure key release: a key leaves only to a place that proves what it is.
//!
//! What lives here: [`policy`] (what a key demands), [`authority`] (whose word counts), [`statement`] (the word itself, verified),
//! [`local`] (the daemon's own word), [`attested`] (what it proves for one session), [`envelope`] (how a key leaves), [`register`] (what the daemon keeps of all that), and
//! [`account`] (what the journal is told).
//! What must never live here: fetching anything from anywhere; taking a key out of its object (the chapter of releases does).
//! Who calls it: the chapters of objects, wrapping and releases; the service's administration.
//!
//! The rules are those of the big clouds' key release, for a machine without a cloud: the keys of authorities are pinned by an operator
//! and nothing is looked up. docs/release.md says it from outside.

pub mod account;
pub mod attested;
pub mod authority;
pub mod certificate;
pub mod envelope;
pub mod jwk;
pub mod local;
pub mod policy;
pub mod register;
pub mod rules;
pub mod statement;

pub(crate) mod text;
mod used;

pub use self::account::Account;
pub use self::attested::Attested;
pub use self::authority::{Authority, Trust};
pub use self::policy::Policy;
pub use self::register::Releases;

use std::fmt;

/// Why nothing is released. The words are for operators and the journal; an application gets a return value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub why: Why,
    /// In words: what was tried, what is wrong.
    pub words: String,
}

/// Kinds of refusals, as the cloud's codes tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// What was sent cannot be read (400).
    Malformed,
    /// It can be read and does not permit (403).
    Forbidden,
    /// Too many at once, or too soon (429).
    Throttled,
    /// The daemon cannot (500).
    Failed,
}

impl Refusal {
    /// What was sent cannot be read.
    pub fn malformed(words: impl Into<String>) -> Self {
        Self::new(Why::Malformed, words)
    }

    /// It does not permit.
    pub fn forbidden(words: impl Into<String>) -> Self {
        Self::new(Why::Forbidden, words)
    }

    /// Of a kind.
    pub fn new(why: Why, words: impl Into<String>) -> Self {
        let words = words.into();
        Self { why, words }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.words)
    }
}

impl std::error::Error for Refusal {}

impl From<strongroom_crypto::Error> for Refusal {
    fn from(error: strongroom_crypto::Error) -> Self {
        Self::new(Why::Failed, format!("a primitive failed: {error:?}"))
    }
}

impl From<strongroom_keymem::OutOfMemory> for Refusal {
    fn from(_: strongroom_keymem::OutOfMemory) -> Self {
        Self::new(Why::Failed, "the locked memory (memory.bytes) is used up")
    }
}

#[cfg(test)]
pub(crate) mod rig;
#[cfg(test)]
mod tests;
