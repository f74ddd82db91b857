//! Why evidence is refused.
//!
//! What lives here: the one error of this crate and its sentences.
//! What must never live here: bytes of the evidence: sentences are made of our own words and of times.
//! Who calls it: every module here.

use std::fmt;

/// Evidence, or roots, that do not hold. The text says what was tried and what is wrong, and quotes nothing that a stranger wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// More bytes, levels or items than are looked at.
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        max: usize,
    },
    /// It is not written as its format demands.
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// It may be right, but this is not understood here.
    Unsupported {
        /// What was read.
        what: &'static str,
        /// What is not understood.
        why: &'static str,
    },
    /// A signature does not verify.
    Signature {
        /// Of what.
        what: &'static str,
    },
    /// No path leads from the signer to a pinned root.
    Untrusted {
        /// Whose chain.
        what: &'static str,
    },
    /// The time is outside what is said on it.
    Time {
        /// What is valid in that time only.
        what: &'static str,
        /// The first second, since 1970.
        from: u64,
        /// The last second, since 1970.
        until: u64,
        /// The second it was judged at.
        now: u64,
    },
    /// The vendor revoked it.
    Revoked {
        /// What.
        what: &'static str,
    },
    /// Two things that belong together say different things.
    Mismatch {
        /// One.
        what: &'static str,
        /// The other.
        with: &'static str,
    },
    /// The hardware did not vouch for the runtime that came along.
    Binding {
        /// Where the digest of the runtime was looked for.
        place: &'static str,
    },
    /// What an administrator wants to pin cannot be pinned.
    Roots {
        /// What is wrong.
        why: &'static str,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { what, max } => {
                write!(out, "{what}: too large; at most {max} are looked at")
            }
            Self::Malformed { what, why } => write!(out, "{what}: malformed: {why}"),
            Self::Unsupported { what, why } => write!(out, "{what}: not supported: {why}"),
            Self::Signature { what } => write!(
                out,
                "{what}: the signature does not verify; it was altered, or another key signed it"
            ),
            Self::Untrusted { what } => write!(
                out,
                "{what}: no chain of certificates leads to a pinned root; send the whole chain, or pin the root of this hardware's vendor"
            ),
            Self::Time {
                what,
                from,
                until,
                now,
            } => write!(
                out,
                "{what}: valid from {from} until {until} (seconds since 1970), but it is {now}; make the evidence anew"
            ),
            Self::Revoked { what } => write!(out, "{what}: revoked by its vendor"),
            Self::Mismatch { what, with } => write!(out, "{what} does not match {with}"),
            Self::Binding { place } => write!(
                out,
                "runtime: its SHA-256 is not in {place}; the hardware must be asked with the digest of exactly the runtime that is sent"
            ),
            Self::Roots { why } => write!(out, "roots: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}
