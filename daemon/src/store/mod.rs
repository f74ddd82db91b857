//! The store: sealed records in one file.
//!
//! What lives here: the port of the token over redb.
//! What must never live here: what a record means. A record is a key of 17 bytes and bytes that nobody here can open.
//! Who calls it: the token, through its port.
//!
//! One table; its key is kind, token and object, big-endian, so that the order of bytes is the order of numbers and a scan is a range.

mod snapshot;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::{Builder, Database, ReadableDatabase, TableDefinition};
use strongroom::ports::{Change, RecordKey, RecordKind, Snapshot, Store, StoreError, Visit};

use self::snapshot::RedbSnapshot;

/// The store's file.
pub struct RedbStore {
    path: PathBuf,
    /// None after a failed write, until the file could be opened again.
    database: RwLock<Option<Database>>,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RedbStore({})", self.path.display())
    }
}

impl RedbStore {
    /// Opens the store, or makes it.
    ///
    /// # Errors
    /// [`StoreError`] says which file and why.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = open_database(path)?;
        Ok(Self {
            path: path.into(),
            database: RwLock::new(Some(database)),
        })
    }

    /// Runs `work` on the database. redb refuses everything after a failed write; opening the file again brings back the last
    /// state that was committed, so that a disk which was full for a moment does not end the service.
    fn on_database<T>(
        &self,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if let Some(database) = &*self.database.read() {
            match work(database) {
                Err(redb::Error::PreviousIo) => {}
                other => return other.map_err(|error| self.failure(error)),
            }
        }
        self.reopen()?;
        match &*self.database.read() {
            Some(database) => work(database).map_err(|error| self.failure(error)),
            None => Err(StoreError::Failed(format!(
                "{} is closed",
                self.path.display()
            ))),
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self.database.write();
        // Another thread may have been here first.
        let healthy = database
            .as_ref()
            .is_some_and(|open| open.begin_read().is_ok());
        if !healthy {
            tracing::warn!(store = %self.path.display(), "the store is opened again after a failed write");
            *database = None;
            *database = Some(open_database(&self.path)?);
        }
        Ok(())
    }

    fn failure(&self, error: redb::Error) -> StoreError {
        failure(&self.path, error)
    }
}

impl Store for RedbStore {
    fn record(&self, key: RecordKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.on_database(|database| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            Ok(table
                .get(&bytes_of(key))?
                .map(|sealed| sealed.value().to_vec()))
        })
    }

    fn tokens(&self, kind: RecordKind) -> Result<Vec<u64>, StoreError> {
        self.on_database(|database| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            let mut tokens = Vec::new();
            let last = bytes_of(RecordKey {
                kind,
                token: u64::MAX,
                object: u64::MAX,
            });
            let mut next = Some(0);
            // One look per token, not one per record.
            while let Some(token) = next {
                let first = bytes_of(RecordKey {
                    kind,
                    token,
                    object: 0,
                });
                next = None;
                if let Some(found) = table.range::<&[u8; KEY_BYTES]>(&first..=&last)?.next() {
                    let (token, _) = numbers_of(found?.0.value());
                    tokens.push(token);
                    next = token.checked_add(1);
                }
            }
            Ok(tokens)
        })
    }

    fn scan(&self, kind: RecordKind, token: u64, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let visit = RefCell::new(visit);
        // A second try after a failure goes on where the first one stopped: nothing is seen twice.
        let next = Cell::new(Some(0));
        self.on_database(|database| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            let Some(object) = next.get() else {
                return Ok(());
            };
            let first = bytes_of(RecordKey {
                kind,
                token,
                object,
            });
            let last = bytes_of(RecordKey {
                kind,
                token,
                object: u64::MAX,
            });
            for entry in table.range::<&[u8; KEY_BYTES]>(&first..=&last)? {
                let (key, sealed) = entry?;
                let (_, object) = numbers_of(key.value());
                next.set(object.checked_add(1));
                if !(*visit.borrow_mut())(object, sealed.value()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.on_database(|database| {
            // Durability is redb's default, Immediate: fsync before commit returns.
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for change in changes {
                    match change {
                        Change::Put(key, sealed) => {
                            table.insert(&bytes_of(*key), sealed.as_slice())?;
                        }
                        Change::Delete(key) => {
                            table.remove(&bytes_of(*key))?;
                        }
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let snapshot = self.on_database(|database| RedbSnapshot::of(database, &self.path))?;
        Ok(Box::new(snapshot))
    }
}

/// Opens or makes the file, with its table.
fn open_database(path: &Path) -> Result<Database, StoreError> {
    let file_made = make_file(path)
        .map_err(|error| io_failure(&format!("make the store {}", path.display()), &error))?;
    // redb may panic on a file that somebody has altered. That is a refusal to start, not a crash.
    let opened = catch_unwind(AssertUnwindSafe(|| -> Result<Database, redb::Error> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.commit()?;
        Ok(database)
    }));
    if file_made {
        sync_directory(path).map_err(|error| io_failure("make the store durable", &error))?;
    }
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(failure(path, error)),
        Err(_) => Err(StoreError::Failed(format!(
            "{} is damaged; restore it from a backup",
            path.display()
        ))),
    }
}

/// Makes an empty file for the owner alone, unless there is a file.
fn make_file(path: &Path) -> io::Result<bool> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the name of a new file durable: fsync(2) of a file does not reach the directory that names it.
///
/// # Errors
/// What the file system says.
pub fn sync_directory(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// What an error of the file system means for the token.
#[must_use]
pub fn io_failure(what: &str, error: &io::Error) -> StoreError {
    let full = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::FileTooLarge,
    ];
    if full.contains(&error.kind()) {
        StoreError::Full(format!("cannot {what}: {error}"))
    } else {
        StoreError::Failed(format!("cannot {what}: {error}"))
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the errors of another package may grow; all others are told alike"
)]
fn failure(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => io_failure(&format!("use the store {}", path.display()), &error),
        other => StoreError::Failed(format!("{}: {other}", path.display())),
    }
}

fn bytes_of(key: RecordKey) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    let (kind, numbers) = bytes.split_at_mut(1);
    kind.fill(key.kind as u8);
    let (token, object) = numbers.split_at_mut(8);
    token.copy_from_slice(&key.token.to_be_bytes());
    object.copy_from_slice(&key.object.to_be_bytes());
    bytes
}

fn numbers_of(bytes: &[u8; KEY_BYTES]) -> (u64, u64) {
    let [
        _kind,
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        t6,
        t7,
        o0,
        o1,
        o2,
        o3,
        o4,
        o5,
        o6,
        o7,
    ] = *bytes;
    let token = u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
    let object = u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
    (token, object)
}

const KEY_BYTES: usize = 17;
const RECORDS: TableDefinition<'static, &[u8; KEY_BYTES], &[u8]> = TableDefinition::new("records");
/// Pages kept in memory. The token keeps what it needs itself, so a large cache (redb's default is 1 GiB) would be a second copy.
const CACHE_BYTES: usize = 16 << 20;
