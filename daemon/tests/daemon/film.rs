//! A disk on film: every write, every change of length and every sync of a store is recorded, can be played again in any order, and can
//! be made to fail. And the vault above it, with what can be seen of it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;
use strongroom::limits::Limits;
use strongroom::ports::{Change, RecordKey, RecordKind, Snapshot, Store, StoreError, Visit};
use strongroom::vault::{
    MaterialChange, ObjectChange, PinCost, Realm, TokenVault, User, Vault, VaultError,
};
use strongroom_keymem::SecretBytes;
use strongroomd::store::RedbStore;

/// What a store does to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
}

/// What of a step reached the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    All,
    /// So many bytes of a write.
    First(usize),
    Nothing,
}

impl Step {
    pub(crate) fn apply(&self, disk: &mut Vec<u8>, part: Part) {
        match (self, part) {
            (_, Part::Nothing) | (Self::Sync, _) => {}
            (Self::Length(length), _) => disk.resize(*length, 0),
            (Self::Write(offset, data), part) => {
                let bytes = match part {
                    Part::First(bytes) => bytes.min(data.len()),
                    Part::All | Part::Nothing => data.len(),
                };
                disk.resize(disk.len().max(offset + bytes), 0);
                disk[*offset..offset + bytes].copy_from_slice(&data[..bytes]);
            }
        }
    }
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing of it happens.
    Before(i32),
    /// Half of it happens.
    Half(i32),
    /// All of it happens, and an error is answered all the same.
    After(i32),
}

/// The disk and what was done to it.
#[derive(Debug, Default)]
pub(crate) struct Film {
    pub(crate) disk: Vec<u8>,
    pub(crate) steps: Vec<Step>,
    /// The step that fails, how, and for how many steps.
    pub(crate) fault: Option<(usize, Fault, usize)>,
    pub(crate) failed: bool,
}

impl Film {
    fn take(&mut self, step: Step) -> io::Result<()> {
        let number = self.steps.len();
        let (outcome, part) = match self.fault {
            Some((at, fault, times)) if (at..at + times).contains(&number) => {
                self.failed = true;
                let half = match &step {
                    Step::Write(_, data) => Part::First(data.len() / 2),
                    Step::Length(_) | Step::Sync => Part::Nothing,
                };
                match fault {
                    Fault::Before(code) => (Err(code), Part::Nothing),
                    Fault::Half(code) => (Err(code), half),
                    Fault::After(code) => (Err(code), Part::All),
                }
            }
            _ => (Ok(()), Part::All),
        };
        step.apply(&mut self.disk, part);
        self.steps.push(step);
        outcome.map_err(io::Error::from_raw_os_error)
    }
}

/// A backend of redb that films.
#[derive(Clone, Debug, Default)]
pub(crate) struct Camera(pub(crate) Arc<Mutex<Film>>);

impl Camera {
    pub(crate) fn over(disk: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Film {
            disk,
            ..Film::default()
        })))
    }

    pub(crate) fn store(&self) -> Result<RedbStore, StoreError> {
        let camera = self.clone();
        RedbStore::over(Path::new("the film"), move || Ok(camera.clone()))
    }

    pub(crate) fn vault(&self) -> Result<Vault, VaultError> {
        open_vault(Arc::new(self.store()?))
    }
}

impl StorageBackend for Camera {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().disk.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let film = self.0.lock();
        let from = usize::try_from(offset).unwrap();
        let bytes = film.disk.get(from..from + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap();
        self.0.lock().take(Step::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().take(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.0.lock().take(Step::Write(offset, data.to_vec()))
    }
}

pub(crate) fn open_vault(store: Arc<dyn Store>) -> Result<Vault, VaultError> {
    crate::bench::start_memory();
    let root = SecretBytes::copy_from(&[7; 32]).unwrap();
    Vault::open(store, root, PinCost::danger_cheap())
}

/// A store that notes when its commits returned.
pub(crate) struct Noted {
    pub(crate) store: RedbStore,
    pub(crate) camera: Camera,
    /// How many steps there were when each commit returned.
    pub(crate) returned: Mutex<Vec<usize>>,
}

impl Store for Noted {
    fn record(&self, key: RecordKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.record(key)
    }

    fn tokens(&self, kind: RecordKind) -> Result<Vec<u64>, StoreError> {
        self.store.tokens(kind)
    }

    fn scan(&self, kind: RecordKind, token: u64, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.store.scan(kind, token, visit)
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.store.commit(changes)?;
        let steps = self.camera.0.lock().steps.len();
        self.returned.lock().push(steps);
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.store.snapshot()
    }
}

pub(crate) const SO_PIN: &[u8] = b"87654321";
pub(crate) const USER_PIN: &[u8] = b"1234";
pub(crate) const LABEL: [u8; 32] = *b"a token on film                 ";

pub(crate) fn limits() -> Limits {
    Limits {
        user_tries_max: 100,
        so_tries_max: 100,
        ..Limits::default()
    }
}

/// An object: whether it is private, its metadata, its material.
type SeenObject = (bool, Print, Option<Print>);
/// Length and sum of bytes, which tell them apart and can be read when a test fails.
type Print = (usize, u64);

fn print_of(bytes: &[u8]) -> Print {
    let sum = bytes.iter().fold(17, |sum: u64, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    (bytes.len(), sum)
}

/// What can be seen of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    label: u8,
    user_pin: bool,
    pub(crate) tries: (u32, u32),
    pub(crate) objects: BTreeMap<u64, SeenObject>,
}

/// What can be seen of all tokens, every object opened. Private ones are opened by the officer's PIN where nobody has logged in, which
/// is done after the tries were looked at.
pub(crate) fn look(vault: &Vault) -> Result<BTreeMap<u64, Seen>, VaultError> {
    let mut seen = BTreeMap::new();
    for token in vault.tokens() {
        let state = token.state(&limits());
        if !token.realm_is_open() {
            token.login(User::So, SO_PIN, &limits()).unwrap();
        }
        let mut objects = BTreeMap::new();
        for realm in [Realm::Public, Realm::Private] {
            let mut found = Vec::new();
            token.load(realm, |object, metadata| {
                found.push((object, print_of(metadata)));
                Ok(())
            })?;
            for (object, metadata) in found {
                let material = match token.material(realm, object) {
                    Ok(secret) => Some(secret.with(print_of)),
                    Err(VaultError::NoSuchObject(_)) => None,
                    Err(other) => return Err(other),
                };
                objects.insert(object, (realm == Realm::Private, metadata, material));
            }
        }
        let token = Seen {
            label: state.label[0],
            user_pin: state.user_pin_initialized,
            tries: (state.so_tries.used, state.user_tries.used),
            objects,
        };
        seen.insert(state.number, token);
    }
    Ok(seen)
}

pub(crate) fn put(
    token: &TokenVault,
    object: u64,
    realm: Realm,
    metadata: &[u8],
    material: Option<&[u8]>,
) -> Result<(), VaultError> {
    let secret = material.map(|bytes| SecretBytes::copy_from(bytes).unwrap());
    let material = secret
        .as_ref()
        .map_or(MaterialChange::None, MaterialChange::Set);
    token.commit(&[ObjectChange::Put {
        object,
        realm,
        metadata,
        material,
    }])
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound as u64).unwrap()
    }
}
