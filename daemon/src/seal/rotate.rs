//! Sealing a root key anew.
//!
//! What lives here: the order of the steps, after each of which a crash leaves a seal that opens.
//! What must never live here: the store; no byte of it changes.
//! Who calls it: the administration.

use std::path::PathBuf;

use parking_lot::Mutex;
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::admin;
use strongroom_wire::codec::List;

use super::envelope::{Envelope, Need};
use super::make::{self, Target};
use super::{Seal, SealError, SealProvider, files, key_file};

/// What has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The secrets of the new providers are made; the old seal is in force.
    SecretsMade,
    /// The new envelope is written beside the old one, which is in force.
    DraftWritten,
    /// The new envelope opens; the old one is in force.
    Verified,
    /// The new envelope is in force.
    InPlace,
    /// What opened the store without it is destroyed.
    OldDestroyed,
}

/// A new seal.
#[derive(Debug)]
pub struct Rotated {
    /// What it is.
    pub seal: admin::Seal,
    /// Its shares, as people keep them.
    pub shares: Vec<SecretVec>,
}

impl Seal {
    /// Seals the root key anew. `done` is told of each step.
    ///
    /// # Errors
    /// [`SealError`]; then the old seal is in force, unless only the destroying of what is left over failed.
    pub fn rotate(
        &self,
        root: &SecretBytes,
        targets: Vec<Target>,
        need: Need,
        destroy_old: bool,
        done: &mut dyn FnMut(Step),
    ) -> Result<Rotated, SealError> {
        let _one_at_a_time = ROTATION.lock();
        if let Some(old) = Envelope::read(&self.envelope)?
            && !old.holds(root)?
        {
            return Err(SealError::Unfit(format!(
                "{} is of another store than the one that is open; put the right one back",
                self.envelope.display()
            )));
        }
        let prepared = make::prepare(root, targets, need, &self.sources)?;
        done(Step::SecretsMade);
        let draft = prepared.envelope.write_draft(&self.envelope)?;
        done(Step::DraftWritten);
        prepared.verify(&draft, root, &self.sources)?;
        done(Step::Verified);
        files::put_in_place(&self.envelope)?;
        done(Step::InPlace);
        if destroy_old {
            for path in self.left_over(root)? {
                files::destroy(&path)?;
                tracing::info!(path = %path.display(), "destroyed: it opened the store without the new seal");
            }
            done(Step::OldDestroyed);
        }
        Ok(Rotated {
            seal: self.report(root)?,
            shares: prepared.into_shares(),
        })
    }

    /// What the seal of the open store is.
    ///
    /// # Errors
    /// [`SealError`] when it cannot be read.
    pub fn report(&self, root: &SecretBytes) -> Result<admin::Seal, SealError> {
        let Some(envelope) = Envelope::read(&self.envelope)? else {
            return Ok(self.report_direct());
        };
        let mut report = envelope.report(&self.envelope, false, |_, _| 0);
        let left_over = self.left_over(root)?;
        let shown = left_over.iter().map(|path| path.display().to_string());
        report.left_over = List::new(shown.collect()).unwrap_or_default();
        Ok(report)
    }

    fn report_direct(&self) -> admin::Seal {
        let kind = match &self.direct {
            SealProvider::KeyFile { .. } => "key_file",
            SealProvider::PassphraseFile { .. } => "passphrase",
        };
        let provider = admin::SealProvider {
            kind: kind.into(),
            shown: format!("{}, directly", self.direct),
            given: 0,
            needed: 1,
            total: 1,
        };
        admin::Seal {
            providers: List::new(vec![provider]).unwrap_or_default(),
            ..admin::Seal::default()
        }
    }

    /// Files that open the store without its envelope: those of before there was one.
    fn left_over(&self, root: &SecretBytes) -> Result<Vec<PathBuf>, SealError> {
        if !self.envelope.exists() {
            return Ok(Vec::new());
        }
        let mut candidates = vec![self.sources.usual_key_file.clone()];
        candidates.extend(self.sources.key_file.clone());
        candidates.dedup();
        let is_root_key = |path: &PathBuf| {
            let key = key_file::envelope_key(path).ok().flatten();
            key.is_some_and(|key| root.with(|root| key.equals_in_constant_time(root)))
        };
        let mut left_over: Vec<PathBuf> = candidates.into_iter().filter(is_root_key).collect();
        // Whether a passphrase with this salt gives the root key cannot be told without the passphrase.
        let salt = self.envelope.with_file_name("root.salt");
        if salt.exists() {
            left_over.push(salt);
        }
        Ok(left_over)
    }
}

static ROTATION: Mutex<()> = Mutex::new(());
