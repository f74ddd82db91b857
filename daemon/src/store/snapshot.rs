//! All records of the store at one moment.
//!
//! What lives here: the port of a snapshot over one read transaction of redb. It holds no lock: writers go on, and the pages it sees
//! are used again once it is dropped.
//! What must never live here: what a record means.
//! Who calls it: the token, for a backup; a restore, to compare what it wrote.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata};
use strongroom::ports::{RecordKey, RecordKind, Snapshot, StoreError, VisitRecord};

use super::{KEY_BYTES, RECORDS, bytes_of, failure, numbers_of};

pub(super) struct RedbSnapshot {
    path: PathBuf,
    table: ReadOnlyTable<&'static [u8; KEY_BYTES], &'static [u8]>,
    records: u64,
}

impl RedbSnapshot {
    pub(super) fn of(database: &Database, path: &Path) -> Result<Self, redb::Error> {
        let table = database.begin_read()?.open_table(RECORDS)?;
        Ok(Self {
            path: path.into(),
            records: table.len()?,
            table,
        })
    }

    fn scan_from(
        &self,
        from: Bound<&[u8; KEY_BYTES]>,
        visit: &mut VisitRecord<'_>,
    ) -> Result<Option<u8>, redb::Error> {
        let range = (from, Bound::Unbounded);
        for entry in self.table.range::<&[u8; KEY_BYTES]>(range)? {
            let (key, sealed) = entry?;
            let [number, ..] = *key.value();
            let Some(kind) = RecordKind::of(number) else {
                return Ok(Some(number));
            };
            let (token, object) = numbers_of(key.value());
            let key = RecordKey {
                kind,
                token,
                object,
            };
            if !visit(key, sealed.value()) {
                break;
            }
        }
        Ok(None)
    }
}

impl Snapshot for RedbSnapshot {
    fn records(&self) -> u64 {
        self.records
    }

    fn scan(
        &self,
        after: Option<RecordKey>,
        visit: &mut VisitRecord<'_>,
    ) -> Result<(), StoreError> {
        let after = after.map(bytes_of);
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        match self.scan_from(from, visit) {
            Ok(None) => Ok(()),
            Ok(Some(number)) => Err(StoreError::Failed(format!(
                "{} has a record of kind {number}, which no version wrote that this one knows",
                self.path.display()
            ))),
            Err(error) => Err(failure(&self.path, error)),
        }
    }
}
