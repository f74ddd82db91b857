//! Checking the whole store, part by part.
//!
//! What lives here: what was looked at, in the words of the administration; the journal held against the store.
//! What must never live here: the looking itself (vault, audit).
//! Who calls it: administration; the daemon's `--verify`, where no service runs.

use strongroom_wire::admin::{Verified, VerifyPart};

use super::Service;
use crate::audit::{self, Level};
use crate::ports::Journal;
use crate::vault::Inspected;

impl Service {
    /// Checks one part while the daemon runs.
    pub(super) fn verify(&self, part: VerifyPart) -> Verified {
        match part {
            VerifyPart::Vault => {
                let (inspected, tokens) = self.vault.inspect();
                of_vault(inspected, tokens)
            }
            VerifyPart::Token(token) => of_token(self.vault.inspect_token(token)),
            VerifyPart::Journal => {
                let generation = self.vault.generation().get();
                let mut verified = of_journal(&*self.ports.journal, Some(generation));
                if self.audit.read().level() == Level::None {
                    verified.notes.push(
                        "the audit records nothing (audit level none), so the journal says nothing of the store as it is now".into(),
                    );
                }
                verified
            }
        }
    }
}

/// What the look at the vault record came to.
#[must_use]
pub fn of_vault(inspected: Inspected, tokens: Vec<u64>) -> Verified {
    Verified {
        tokens,
        ..of_token(inspected)
    }
}

/// What the look at a token came to.
#[must_use]
pub fn of_token(inspected: Inspected) -> Verified {
    let Inspected {
        records,
        opened,
        closed,
        generation,
        findings,
    } = inspected;
    Verified {
        records,
        opened,
        closed,
        generation,
        findings,
        ..Verified::default()
    }
}

/// Checks the chain of a journal, and whether it has seen a newer store; none is a store that could not be read.
#[must_use]
pub fn of_journal(journal: &dyn Journal, generation: Option<u64>) -> Verified {
    let mut verified = Verified::default();
    match audit::verify(journal) {
        Ok(report) => {
            verified.notes.push(format!(
                "the journal has {} lines, head {}",
                report.lines, report.head
            ));
            if let Some((line, why)) = report.broken {
                let what = format!("the journal is broken at line {line}: {why}");
                verified.findings.push(what);
            }
        }
        Err(error) => verified.findings.push(error.to_string()),
    }
    let Some(generation) = generation else {
        return verified;
    };
    match audit::compare(journal, generation) {
        Ok(audit::Freshness::Older(older)) => verified.findings.push(older.to_string()),
        Ok(freshness) => verified.notes.push(format!("the store is {freshness}")),
        Err(error) => verified.findings.push(error.to_string()),
    }
    verified
}
