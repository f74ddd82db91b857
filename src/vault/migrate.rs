//! *What lives here:* how a store of an older format becomes one of this format: a table of steps, from each format to the next, and the
//! one commit that carries them all out. *What must never live here:* a step's work that needs a PIN; see below. *Who calls it:* the
//! vault, before it opens anything.
//!
//! The format of a store is the first byte of its vault record. The steps run one after the other on a copy in memory that lies over the
//! store; what comes out is inspected whole, as `strongroom verify` does it; only then all changes are committed, in one commit. So a
//! migration that fails, is killed, or would come to something unsound leaves the store as it was.
//!
//! A step must not need a PIN: private records are sealed under keys that only a login opens. A format that changes those too must go
//! on reading them in their old form (each record begins with its own format), and seal them anew when they are next written.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_keymem::SecretBytes;

use super::inspect::ClosedVault;
use super::{REGISTER_KEY, VaultError, seal};
use crate::ports::{Change, RecordKey, RecordKind, Snapshot, Store, StoreError, Visit};

/// Brings a store from one format to the next, the vault record too.
pub(super) type Step = fn(&Arc<dyn Store>, &SecretBytes) -> Result<(), VaultError>;

/// A way from older formats to one.
pub(super) struct Way<'w> {
    /// Where it ends.
    pub(super) target: u8,
    /// The steps, each with the format that it begins at.
    pub(super) steps: &'w [(u8, Step)],
    /// What is wrong with a store of the target's format.
    pub(super) findings: fn(&Arc<dyn Store>, &SecretBytes) -> Vec<String>,
}

/// The way to this version's format. Format 1 was the first, so there are no steps yet.
pub(super) const WAY: Way<'static> = Way {
    target: seal::FORMAT,
    steps: &[],
    findings: all_findings,
};

impl Way<'_> {
    /// Goes it, if the store is of an older format. A format that no step begins at is left to whoever opens the vault record.
    pub(super) fn go(&self, store: &Arc<dyn Store>, root: &SecretBytes) -> Result<(), VaultError> {
        let copy = Arc::new(Copy::over(Arc::clone(store)));
        let shared: Arc<dyn Store> = copy.clone();
        while let Some(format) = format_of(&shared)?
            && format < self.target
            && let Some((_, step)) = self.steps.iter().find(|(from, _)| *from == format)
        {
            step(&shared, root)?;
            if format_of(&shared)? != format.checked_add(1) {
                return Err(VaultError::Crypto);
            }
        }
        let changes = copy.changes();
        if changes.is_empty() {
            return Ok(());
        }
        match (self.findings)(&shared, root).first() {
            None => Ok(store.commit(&changes)?),
            Some(finding) => Err(VaultError::Tampered {
                what: format!(
                    "the store was not brought to format {}, because {finding}",
                    self.target
                ),
            }),
        }
    }
}

/// The format of a store; none when it is empty.
fn format_of(store: &Arc<dyn Store>) -> Result<Option<u8>, VaultError> {
    let sealed = store.record(REGISTER_KEY)?;
    Ok(sealed.and_then(|sealed| sealed.first().copied()))
}

fn all_findings(store: &Arc<dyn Store>, root: &SecretBytes) -> Vec<String> {
    let Ok(root) = root.with(SecretBytes::copy_from) else {
        return vec!["the locked memory is used up; raise its size".into()];
    };
    let vault = ClosedVault::new(Arc::clone(store), root);
    let (mut all, tokens) = vault.inspect();
    for token in tokens {
        all.add(vault.inspect_token(token));
    }
    all.findings
}

/// A store as it would be: changes in memory over one that is not touched.
struct Copy {
    below: Arc<dyn Store>,
    above: Mutex<BTreeMap<RecordKey, Option<Vec<u8>>>>,
}

impl Copy {
    fn over(below: Arc<dyn Store>) -> Self {
        Self {
            below,
            above: Mutex::default(),
        }
    }

    fn changes(&self) -> Vec<Change> {
        let above = self.above.lock();
        let change = |(key, sealed): (&RecordKey, &Option<Vec<u8>>)| match sealed {
            Some(sealed) => Change::Put(*key, sealed.clone()),
            None => Change::Delete(*key),
        };
        above.iter().map(change).collect()
    }
}

impl Store for Copy {
    fn record(&self, key: RecordKey) -> Result<Option<Vec<u8>>, StoreError> {
        match self.above.lock().get(&key) {
            Some(sealed) => Ok(sealed.clone()),
            None => self.below.record(key),
        }
    }

    fn tokens(&self, kind: RecordKind) -> Result<Vec<u64>, StoreError> {
        let mut tokens = self.below.tokens(kind)?;
        let above = self.above.lock();
        tokens.extend(
            above
                .keys()
                .filter(|key| key.kind == kind)
                .map(|key| key.token),
        );
        drop(above);
        tokens.sort_unstable();
        tokens.dedup();
        let mut there = Vec::new();
        for token in tokens {
            let mut any = false;
            self.scan(kind, token, &mut |_, _| {
                any = true;
                false
            })?;
            if any {
                there.push(token);
            }
        }
        Ok(there)
    }

    fn scan(&self, kind: RecordKind, token: u64, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut all = BTreeMap::new();
        self.below.scan(kind, token, &mut |object, sealed| {
            all.insert(object, sealed.to_vec());
            true
        })?;
        for (key, sealed) in &*self.above.lock() {
            match sealed {
                _ if (key.kind, key.token) != (kind, token) => {}
                Some(sealed) => {
                    all.insert(key.object, sealed.clone());
                }
                None => {
                    all.remove(&key.object);
                }
            }
        }
        let _all_seen = all.iter().all(|(object, sealed)| visit(*object, sealed));
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        // Nobody backs up a store that nobody has agreed to yet.
        Err(StoreError::Failed(
            "a migration that is not committed has no snapshot".into(),
        ))
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut above = self.above.lock();
        for change in changes {
            match change {
                Change::Put(key, sealed) => above.insert(*key, Some(sealed.clone())),
                Change::Delete(key) => above.insert(*key, None),
            };
        }
        Ok(())
    }
}
