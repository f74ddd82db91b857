//! Statements that were used, where each is good once.
//!
//! What lives here: which they are and when they end, in the form in which the vault keeps them, so that a restart forgets none.
//! What must never live here: what they say; whether an operator wants them once.
//! Who calls it: the register.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strongroom_crypto::digest::{Hash, digest};

use super::{Refusal, Why};
use crate::ports::Time;

/// Used statements by their names, each until it holds no more.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Used(BTreeMap<Name, u64>);

/// The first half of a SHA-256. Two statements of the same name would cost one of them its release, and nothing else.
type Name = [u8; 16];

impl Used {
    /// Marks a statement as used, and forgets those that hold no more.
    ///
    /// # Errors
    /// [`Refusal`] when it was used before, or too many are remembered.
    pub(super) fn take(
        &mut self,
        (authority, id): (&str, &str),
        expires: Time,
        now: Time,
    ) -> Result<(), Refusal> {
        self.0.retain(|_, end| *end > now.0);
        // No authority has a zero in its name, so what is before it is another's never.
        let hash = digest(Hash::Sha256, format!("{authority}\0{id}").as_bytes())?;
        let name = hash.as_ref().first_chunk().copied().unwrap_or_default();
        if self.0.contains_key(&name) {
            return Err(Refusal::forbidden("the statement was used already"));
        }
        if self.0.len() >= USED_MAX {
            return Err(Refusal::new(
                Why::Throttled,
                format!(
                    "{USED_MAX} statements that were used hold still (release.single_use); wait until some have ended, \
                     or let them end earlier (limits.statement_seconds_max)"
                ),
            ));
        }
        self.0.insert(name, expires.0);
        Ok(())
    }

    /// Whether there is nothing to be kept.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Statements that are remembered: 34 a minute where each holds for eight hours. All of them are written with each use, about 22 bytes each.
const USED_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use strongroom_wire::codec;

    use super::*;

    const AUTHORITY: &str = "https://attest.example";

    fn take(used: &mut Used, id: &str, expires: u64, now: u64) -> Result<(), Refusal> {
        used.take((AUTHORITY, id), Time(expires), Time(now))
    }

    #[test]
    fn a_statement_is_taken_once_until_its_end() {
        let mut used = Used::default();
        take(&mut used, "a", 100, 0).unwrap();
        assert_eq!(
            take(&mut used, "a", 100, 99).unwrap_err().why,
            Why::Forbidden
        );
        take(&mut used, "b", 100, 0).unwrap();
        used.take(("https://other.example", "a"), Time(100), Time(0))
            .unwrap();
        assert_eq!(used.0.len(), 3);
        // At its end it holds no more, so it is not asked for, and needs no place.
        take(&mut used, "c", 200, 100).unwrap();
        assert_eq!(used.0.len(), 1);
    }

    #[test]
    fn too_many_wait_and_nothing_is_forgotten() {
        let mut used = Used::default();
        for place in 0..USED_MAX {
            let end = if place == 0 { 50 } else { 100 };
            // `take` looks at all of them each time; here that would take minutes.
            let name = u128::try_from(place).unwrap().to_be_bytes();
            used.0.insert(name, end);
        }
        let refusal = take(&mut used, "one more", 100, 0).unwrap_err();
        assert_eq!(refusal.why, Why::Throttled);
        assert!(refusal.words.contains("16384"), "{refusal}");
        assert_eq!(used.0.len(), USED_MAX);
        take(&mut used, "one more", 100, 50).unwrap();
        assert!(take(&mut used, "another", 100, 50).is_err());
        let mut bytes = Vec::new();
        codec::encode(&used, &mut bytes).unwrap();
        assert!(bytes.len() < 25 * USED_MAX);
        let mut read: Used = codec::decode(&bytes).unwrap();
        assert_eq!(read.0, used.0);
        assert_eq!(
            take(&mut read, "one more", 100, 50).unwrap_err().why,
            Why::Forbidden
        );
    }
}
