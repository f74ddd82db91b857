//! *What lives here:* the generation of a vault: a number that grows with every commit, by which an older copy of the whole store is
//! told from the newest one. *What must never live here:* what it is compared with; the audit keeps that. *Who calls it:* the vault
//! and its tokens after every commit, the audit for every line.
//!
//! It is the version of the vault record plus the versions of all censuses, so it is sealed with them, and a store of before has one.
//! A token that goes leaves its share to the vault record. The number alone proves nothing: it is worth as much as the place where
//! somebody remembers a higher one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The generation that is durable now. Clones are the same number.
#[derive(Clone, Debug, Default)]
pub struct Generation(Arc<AtomicU64>);

impl Generation {
    /// How far the store is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// A commit is durable. Called after it, so that nobody hears of a generation that a crash takes back.
    pub(super) fn grow(&self, by: u64) {
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}
