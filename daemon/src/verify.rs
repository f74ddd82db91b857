//! `strongroomd --verify`: the check of store and journal while no daemon runs.
//!
//! What lives here: opening both for looking only, going through all parts, and the report.
//! What must never live here: what is right and wrong (the token's vault and audit).
//! Who calls it: start-up, instead of a start.

use std::io::{self, IsTerminal, Write as _};
use std::sync::Arc;

use strongroom::ports::Store;
use strongroom::service::verify::{of_journal, of_token, of_vault};
use strongroom::vault::ClosedVault;
use strongroom_keymem::SecretBytes;
use strongroom_wire::admin::Verified;

use crate::config::Configuration;
use crate::journal::FrozenJournal;
use crate::store::RedbStore;

/// Checks everything and changes nothing.
#[must_use]
pub fn verify(configuration: &Configuration, root_key: SecretBytes) -> Verified {
    let mut all = match RedbStore::examine(&configuration.store) {
        Ok(store) => of_store(Arc::new(store), root_key),
        Err(error) => Verified {
            findings: vec![format!("the store cannot be read: {error}")],
            ..Verified::default()
        },
    };
    progress("the journal");
    match FrozenJournal::open(&configuration.journal) {
        Ok(Some(journal)) => {
            if journal.lost_bytes > 0 {
                all.notes.push(format!(
                    "{} bytes at the journal's end are no whole lines: the machine stopped while they were written",
                    journal.lost_bytes
                ));
            }
            let readable = all.records > 0;
            all.add(of_journal(&journal, readable.then_some(all.generation)));
        }
        Ok(None) => all.notes.push(format!(
            "there is no journal {}, so nothing says whether the store is the newest",
            configuration.journal.display()
        )),
        Err(error) => all.findings.push(format!(
            "cannot read the journal {}: {error}",
            configuration.journal.display()
        )),
    }
    progress("");
    all
}

fn of_store(store: Arc<dyn Store>, root_key: SecretBytes) -> Verified {
    let vault = ClosedVault::new(store, root_key);
    let (inspected, tokens) = vault.inspect();
    let mut all = of_vault(inspected, tokens.clone());
    for (done, token) in tokens.iter().enumerate() {
        progress(&format!(
            "token {} of {}, {} records so far",
            done + 1,
            tokens.len(),
            all.records
        ));
        all.add(of_token(vault.inspect_token(*token)));
    }
    all
}

/// As `strongroom verify --json` has it.
#[must_use]
pub fn as_json(verified: &Verified) -> String {
    serde_json::json!(verified.summary()).to_string()
}

/// One line that is written over, where somebody watches.
fn progress(what: &str) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        // Whether it is seen changes nothing.
        let _ = write!(terminal, "\r\x1b[K{what}");
        let _ = terminal.flush();
    }
}
