//! The store: sealed records in one file.
//!
//! What lives here: the port of the token over redb.
//! What must never live here: what a record means. A record is a key of 17 bytes and bytes that nobody here can open.
//! Who calls it: the token, through its port.
//!
//! One table; its key is kind, token and object, big-endian, so that the order of bytes is the order of numbers and a scan is a range.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, TableDefinition, TableError,
};
use strongroom::ports::{Change, RecordKey, RecordKind, Snapshot, Store, StoreError, Visit};

use self::overlay::Overlay;
use self::snapshot::RedbSnapshot;

mod overlay;
mod snapshot;

/// The store's file.
pub struct RedbStore {
    path: PathBuf,
    /// Opens the database, or makes it.
    medium: Box<Medium>,
    state: RwLock<State>,
    /// Held through a commit, so that at most one has failed and is not settled.
    committing: Mutex<()>,
}

type Medium = dyn Fn() -> Result<Database, StoreError> + Send + Sync;

struct State {
    /// None after a failure, until the file could be opened again.
    database: Option<Database>,
    /// The disk failed under this database. redb refuses everything from then on.
    failed: AtomicBool,
    /// What stood at the places of a failed commit. Whether that commit reached the disk is not known: the sync may have failed after
    /// everything was written. Its caller was told that nothing has changed, so nothing may.
    unsettled: Option<Vec<Change>>,
}

impl State {
    fn usable(&self) -> Option<&Database> {
        let settled = self.unsettled.is_none() && !self.failed.load(Ordering::SeqCst);
        self.database.as_ref().filter(|_| settled)
    }

    /// Runs `work`, and remembers a disk that failed.
    fn run<T>(
        &self,
        database: &Database,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let outcome = work(database);
        if matches!(outcome, Err(redb::Error::Io(_) | redb::Error::PreviousIo)) {
            self.failed.store(true, Ordering::SeqCst);
        }
        outcome
    }
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
        let file = path.to_path_buf();
        Self::on_medium(path, Box::new(move || open_file(&file)))
    }

    /// A store on something that is no file; `name` is what errors call it. `open` is called again after a failure.
    ///
    /// # Errors
    /// [`StoreError`] as for a file.
    pub fn over<B: StorageBackend>(
        name: &Path,
        open: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let path = name.to_path_buf();
        let medium = move || {
            let backend = open().map_err(|error| io_failure("open the store", &error))?;
            database(&path, || builder().create_with_backend(backend))
        };
        Self::on_medium(name, Box::new(medium))
    }

    /// Opens a store for looking only: the file is never written, and its pages are all checked. What redb must repair it repairs in a
    /// copy in memory.
    ///
    /// # Errors
    /// [`StoreError`]: the file cannot be read, or is no store.
    pub fn examine(path: &Path) -> Result<Self, StoreError> {
        let name = path.to_path_buf();
        let medium = move || {
            let what = format!("read the store {}", name.display());
            let file = File::open(&name).map_err(|error| io_failure(&what, &error))?;
            let copy = Overlay::new(file).map_err(|error| io_failure(&what, &error))?;
            database(&name, || {
                let mut builder = builder();
                builder.set_check_integrity_on_open(true);
                builder.create_with_backend(copy)
            })
        };
        Self::on_medium(path, Box::new(medium))
    }

    fn on_medium(path: &Path, medium: Box<Medium>) -> Result<Self, StoreError> {
        let state = State {
            database: Some(medium()?),
            failed: AtomicBool::new(false),
            unsettled: None,
        };
        Ok(Self {
            path: path.into(),
            medium,
            state: RwLock::new(state),
            committing: Mutex::new(()),
        })
    }

    /// Runs `work` on the database. redb refuses everything after a failed write; opening the file again brings back the last
    /// state that was committed, so that a disk which was full for a moment does not end the service.
    fn on_database<T>(
        &self,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        {
            let state = self.state.read();
            if let Some(database) = state.usable() {
                match state.run(database, &work) {
                    // Another thread has met the failure; this one has done nothing yet, or what can be done again.
                    Err(redb::Error::PreviousIo) => {}
                    other => return other.map_err(|error| self.failure(error)),
                }
            }
        }
        self.reopen()?;
        let state = self.state.read();
        match state.usable() {
            Some(database) => state
                .run(database, &work)
                .map_err(|error| self.failure(error)),
            None => Err(StoreError::Failed(format!(
                "{} failed again",
                self.path.display()
            ))),
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut state = self.state.write();
        // Another thread may have been here first.
        if state.database.is_none() || state.failed.load(Ordering::SeqCst) {
            tracing::warn!(store = %self.path.display(), "the store is opened again after a failure");
            state.database = None;
            state.database = Some((self.medium)()?);
            state.failed.store(false, Ordering::SeqCst);
        }
        if let (Some(database), Some(before)) = (&state.database, &state.unsettled) {
            state
                .run(database, |database| put_back(database, before))
                .map_err(|error| self.failure(error))?;
            state.unsettled = None;
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
        let _one_at_a_time = self.committing.lock();
        let before = self.on_database(|database| what_stands_at(database, changes))?;
        let written = self.on_database(|database| write(database, changes));
        if written.is_err() {
            self.state.write().unsettled = Some(before);
            if let Err(error) = self.reopen() {
                tracing::error!(%error, "a failed change of the store is not undone yet; nothing is read before it is");
            }
        }
        written
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let snapshot = self.on_database(|database| RedbSnapshot::of(database, &self.path))?;
        Ok(Box::new(snapshot))
    }
}

fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
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
}

/// The changes that would bring back what stands now at the places that `changes` name.
fn what_stands_at(database: &Database, changes: &[Change]) -> Result<Vec<Change>, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let stands = |change: &Change| {
        let (Change::Put(key, _) | Change::Delete(key)) = change;
        Ok(match table.get(&bytes_of(*key))? {
            Some(sealed) => Change::Put(*key, sealed.value().to_vec()),
            None => Change::Delete(*key),
        })
    };
    changes.iter().map(stands).collect()
}

/// Undoes a commit that failed, unless it never happened: then nothing need be written, which a full disk would refuse.
fn put_back(database: &Database, before: &[Change]) -> Result<(), redb::Error> {
    if what_stands_at(database, before)? == before {
        return Ok(());
    }
    write(database, before)
}

/// Opens or makes the file.
fn open_file(path: &Path) -> Result<Database, StoreError> {
    if matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
    {
        make_file(path)?;
    }
    database(path, || builder().create(path))
}

/// Makes an empty store for the owner alone. It gets its name once it is whole, because a half one, left by a kill or a power cut,
/// could never be opened again.
fn make_file(path: &Path) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let failed = |error| io_failure(&format!("make the store {}", path.display()), &error);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    drop(database(&new, || builder().create(&new))?);
    file.sync_all().map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    sync_directory(path).map_err(failed)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Opens or makes a database with its table.
fn database(
    path: &Path,
    open: impl FnOnce() -> Result<Database, DatabaseError>,
) -> Result<Database, StoreError> {
    // redb may panic on a file that somebody has altered. That is a refusal to start, not a crash.
    let opened = catch_unwind(AssertUnwindSafe(|| -> Result<Database, redb::Error> {
        let database = open()?;
        match database.begin_read()?.open_table(RECORDS) {
            // A table that is there is not made again: a full disk must not keep the store closed.
            Ok(_) => return Ok(database),
            Err(TableError::TableDoesNotExist(_)) => {}
            Err(other) => return Err(other.into()),
        }
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.commit()?;
        Ok(database)
    }));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(failure(path, error)),
        Err(_) => Err(StoreError::Failed(format!(
            "{} is damaged; restore it from a backup",
            path.display()
        ))),
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
