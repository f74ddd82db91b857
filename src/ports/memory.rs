//! *What lives here:* the ports in memory: a store, a journal, a clock, a count of changes and a measurer that need no machine. *What must never live here:* a
//! rule that the real ones do not have as well. *Who calls it:* tests, and rehearsals that must leave no trace on a disk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{
    Change, Changes, Clock, Journal, Measurement, Measurer, RecordKey, RecordKind, Snapshot, Store,
    StoreError, Time, Visit, VisitRecord,
};
use crate::audit::Principal;

/// A store that ends with the process.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<StoreState>,
}

#[derive(Default)]
struct StoreState {
    /// Shared with readers, so that a visitor may call the store again while it is being shown a scan.
    records: Arc<BTreeMap<RecordKey, Vec<u8>>>,
    commits: u64,
    commits_until_failure: Option<u64>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A second store with the same records: what a copy of the disk at this moment would hold.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let records = Arc::clone(&self.state.lock().records);
        Self {
            state: Mutex::new(StoreState {
                records,
                ..StoreState::default()
            }),
        }
    }

    /// Lets `more` commits succeed and the one after them fail, once.
    pub fn fail_commit_after(&self, more: u64) {
        self.state.lock().commits_until_failure = Some(more);
    }

    /// How many commits have succeeded.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.state.lock().commits
    }

    /// The keys of all records, ascending.
    #[must_use]
    pub fn keys(&self) -> Vec<RecordKey> {
        self.state.lock().records.keys().copied().collect()
    }

    fn records(&self) -> Arc<BTreeMap<RecordKey, Vec<u8>>> {
        Arc::clone(&self.state.lock().records)
    }
}

impl Store for MemoryStore {
    fn record(&self, key: RecordKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records().get(&key).cloned())
    }

    fn tokens(&self, kind: RecordKind) -> Result<Vec<u64>, StoreError> {
        let records = self.records();
        let mut tokens: Vec<u64> = records
            .range(first_of(kind, 0)..)
            .map(|(key, _)| key)
            .take_while(|key| key.kind == kind)
            .map(|key| key.token)
            .collect();
        tokens.dedup();
        Ok(tokens)
    }

    fn scan(&self, kind: RecordKind, token: u64, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let records = self.records();
        let own = records
            .range(first_of(kind, token)..)
            .take_while(|(key, _)| key.kind == kind && key.token == token);
        for (key, sealed) in own {
            if !visit(key.object, sealed) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        match state.commits_until_failure {
            Some(0) => {
                state.commits_until_failure = None;
                return Err(StoreError::Failed("this commit was asked to fail".into()));
            }
            Some(more) => state.commits_until_failure = Some(more - 1),
            None => {}
        }
        let records = Arc::make_mut(&mut state.records);
        for change in changes {
            match change {
                Change::Put(key, sealed) => {
                    records.insert(*key, sealed.clone());
                }
                Change::Delete(key) => {
                    records.remove(key);
                }
            }
        }
        state.commits += 1;
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(MemorySnapshot(self.records())))
    }
}

/// The records of a [`MemoryStore`] at one moment.
struct MemorySnapshot(Arc<BTreeMap<RecordKey, Vec<u8>>>);

impl Snapshot for MemorySnapshot {
    fn records(&self) -> u64 {
        self.0.len() as u64
    }

    fn scan(
        &self,
        after: Option<RecordKey>,
        visit: &mut VisitRecord<'_>,
    ) -> Result<(), StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let _all_seen = self
            .0
            .range((from, Bound::Unbounded))
            .all(|(key, sealed)| visit(*key, sealed));
        Ok(())
    }
}

fn first_of(kind: RecordKind, token: u64) -> RecordKey {
    RecordKey {
        kind,
        token,
        object: 0,
    }
}

/// A journal that ends with the process.
#[derive(Default)]
pub struct MemoryJournal {
    state: Mutex<JournalState>,
}

#[derive(Default)]
struct JournalState {
    lines: Vec<Vec<u8>>,
    fail_next: bool,
    full: bool,
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A journal with these lines: what was read from somewhere, or what a forger made of it.
    #[must_use]
    pub fn with_lines(lines: Vec<Vec<u8>>) -> Self {
        Self {
            state: Mutex::new(JournalState {
                lines,
                ..JournalState::default()
            }),
        }
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.state.lock().lines.clone()
    }

    /// Lets it be full, or have room again.
    pub fn be_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// Lets the next append fail.
    pub fn fail_next_append(&self) {
        self.state.lock().fail_next = true;
    }
}

impl Journal for MemoryJournal {
    fn append(&self, line: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.fail_next) {
            return Err(StoreError::Failed("this append was asked to fail".into()));
        }
        state.lines.push(line.to_vec());
        Ok(())
    }

    fn make_room(&self) -> Result<(), StoreError> {
        if self.state.lock().full {
            return Err(StoreError::Full("this journal was asked to be full".into()));
        }
        Ok(())
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        let lines = self.lines();
        let _all_seen = lines.iter().all(|line| visit(line));
        Ok(())
    }

    fn tail(&self, lines: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let state = self.state.lock();
        let start = state.lines.len().saturating_sub(lines);
        Ok(state.lines[start..].to_vec())
    }
}

/// A count of changes that nobody else sees.
#[derive(Debug, Default)]
pub struct MemoryChanges(AtomicU64);

impl MemoryChanges {
    /// How many there were.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Changes for MemoryChanges {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn ask_always(&self, _: bool) {}
}

/// A clock that stands still until it is set.
pub struct MemoryClock {
    now: Mutex<Time>,
}

impl MemoryClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            now: Mutex::new(now),
        }
    }

    /// Moves the hands.
    pub fn turn_to(&self, now: Time) {
        *self.now.lock() = now;
    }
}

impl Default for MemoryClock {
    fn default() -> Self {
        Self::new(Time(0))
    }
}

impl Clock for MemoryClock {
    fn now(&self) -> Time {
        *self.now.lock()
    }
}

/// A measurer that finds what it was told.
#[derive(Debug, Default)]
pub struct MemoryMeasurer(Mutex<Option<Measurement>>);

impl MemoryMeasurer {
    /// What it finds from now on; none where it finds nothing.
    pub fn find(&self, found: Option<Measurement>) {
        *self.0.lock() = found;
    }
}

impl Measurer for MemoryMeasurer {
    fn measure(&self, _: &Principal) -> Result<Measurement, String> {
        self.0
            .lock()
            .clone()
            .ok_or_else(|| "there is nothing to be found".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_all_or_nothing_and_a_scan_stays_in_its_token() {
        let store = MemoryStore::new();
        let key = |kind, token, object| RecordKey {
            kind,
            token,
            object,
        };
        let put = |key| Change::Put(key, vec![7]);
        store
            .commit(&[
                put(key(RecordKind::Metadata, 1, 9)),
                put(key(RecordKind::Metadata, 1, 2)),
                put(key(RecordKind::Metadata, 3, 1)),
                put(key(RecordKind::Material, 2, 1)),
            ])
            .unwrap();
        assert_eq!(store.tokens(RecordKind::Metadata).unwrap(), [1, 3]);
        let mut seen = Vec::new();
        store
            .scan(RecordKind::Metadata, 1, &mut |object, _| {
                seen.push(object);
                true
            })
            .unwrap();
        assert_eq!(seen, [2, 9]);
        store.fail_commit_after(1);
        let delete = [Change::Delete(key(RecordKind::Metadata, 3, 1))];
        store.commit(&[]).unwrap();
        store.commit(&delete).unwrap_err();
        assert_eq!(store.keys().len(), 4);
        store.commit(&delete).unwrap();
        assert_eq!((store.keys().len(), store.commits()), (3, 3));
    }

    #[test]
    fn the_tail_of_a_journal_is_its_last_lines() {
        let journal = MemoryJournal::new();
        for line in [b"a", b"b", b"c"] {
            journal.append(line).unwrap();
        }
        assert_eq!(journal.tail(2).unwrap(), [b"b", b"c"]);
        assert_eq!(journal.tail(9).unwrap().len(), 3);
        journal.fail_next_append();
        journal.append(b"d").unwrap_err();
        assert_eq!(journal.lines().len(), 3);
    }
}
