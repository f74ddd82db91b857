//! Effects: everything the token needs of the world, as traits.
//!
//! What lives here: [`Store`] and its [`Snapshot`], [`Journal`], [`Clock`], [`Changes`], [`Measurer`], and their in-memory implementations for tests
//! and rehearsals.
//! What must never live here: a file, a socket, a thread, a clock of the machine; those stand behind the traits in the daemon.
//! Who calls it: the vault (store), the audit (journal), the service (changes), releases (measurer), and whoever needs the date.

mod memory;

use std::fmt;
use std::time::Duration;

pub use memory::{MemoryChanges, MemoryClock, MemoryJournal, MemoryMeasurer, MemoryStore};

use crate::audit::Principal;

/// What a record holds. The number is part of the format on disk and of what a seal binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// The vault itself: format version and the check of the root key. One record.
    Vault = 1,
    /// A token: label, serial number, key slots.
    Token = 2,
    /// The PIN try counters of a token.
    Tries = 3,
    /// What proves that no object of a token was removed or rolled back.
    Census = 4,
    /// An object's attributes that are no secrets.
    Metadata = 5,
    /// An object's secret values.
    Material = 6,
}

impl RecordKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Vault,
        Self::Token,
        Self::Tries,
        Self::Census,
        Self::Metadata,
        Self::Material,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The key of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// What it holds.
    pub kind: RecordKind,
    /// Number of the token; 0 for the vault.
    pub token: u64,
    /// Number of the object; 0 where there is none.
    pub object: u64,
}

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a record, new or not.
    Put(RecordKey, Vec<u8>),
    /// Removes a record; it need not exist.
    Delete(RecordKey),
}

/// Why the store could not do it. The state before stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// No space is left.
    Full(String),
    /// Reading or writing failed; the text says what and where.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(what) => write!(out, "the store is full: {what}"),
            Self::Failed(what) => write!(out, "the store failed: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Sees every record of one kind and token: object number and sealed bytes; answers whether to go on.
pub type Visit<'v> = dyn FnMut(u64, &[u8]) -> bool + 'v;

/// Keeps sealed bytes. It never sees anything else.
pub trait Store: Send + Sync {
    /// One record.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read; a missing record is `None`.
    fn record(&self, key: RecordKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// All tokens that have a record of this kind, ascending.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn tokens(&self, kind: RecordKind) -> Result<Vec<u64>, StoreError>;

    /// Every record of a kind and token, ascending by object number.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn scan(&self, kind: RecordKind, token: u64, visit: &mut Visit<'_>) -> Result<(), StoreError>;

    /// All changes or none; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing has changed.
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// All records as they are now. Commits go on meanwhile, wait for nothing, and are not seen in it.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;
}

/// Sees every record of a snapshot: its key and its sealed bytes; answers whether to go on.
pub type VisitRecord<'v> = dyn FnMut(RecordKey, &[u8]) -> bool + 'v;

/// All records as they were at one moment.
pub trait Snapshot {
    /// How many there are.
    fn records(&self) -> u64;

    /// The records behind a key, or all of them, ascending by their keys.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn scan(&self, after: Option<RecordKey>, visit: &mut VisitRecord<'_>)
    -> Result<(), StoreError>;
}

/// Tells every client that something changed which it may have kept: a token object, a token, the settings.
pub trait Changes: Send + Sync {
    /// Counts one change. What clients kept before counts no more, so it is called after the change and before its answer.
    fn count(&self);

    /// Whether clients are to ask for everything from now on, and keep nothing: while a token rehearses.
    fn ask_always(&self, always: bool);
}

/// Keeps the lines of the audit.
pub trait Journal: Send + Sync {
    /// Appends one line; `line` has no line feed, the journal adds it. The line has left this process when it returns.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written; nothing may then be answered.
    fn append(&self, line: &[u8]) -> Result<(), StoreError>;

    /// Makes sure that a line can be written now, before something is done that a line must tell of.
    ///
    /// # Errors
    /// [`StoreError`] when it could not; nothing that changes anything may then be done.
    fn make_room(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Sees all lines, oldest first; `visit` answers whether to go on.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError>;

    /// The last `lines` lines, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn tail(&self, lines: usize) -> Result<Vec<Vec<u8>>, StoreError>;
}

/// What a process is, as the machine that runs it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measurement {
    /// Its program; none where that cannot be seen.
    pub program: Option<Program>,
    /// The unit of the machine's systemd that it belongs to, such as `app.service`; none where there is none.
    pub unit: Option<String>,
}

/// A program, as a process runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The path of its file.
    pub path: String,
    /// SHA-256 of its file.
    pub sha256: [u8; 32],
}

/// Measures processes.
pub trait Measurer: Send + Sync {
    /// Measures, now, the process that somebody is.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    fn measure(&self, who: &Principal) -> Result<Measurement, String>;
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// The one clock.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Time;

    /// Time since some moment; it never goes back, whoever sets the clock.
    fn steady(&self) -> Duration {
        Duration::from_millis(self.now().0)
    }
}
