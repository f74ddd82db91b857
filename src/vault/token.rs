//! *What lives here:* [`TokenVault`], one token: its state, its opening, and the reading of its objects. *What must never live
//! here:* the counting of PIN tries (`pin.rs`), and what an object means. *Who calls it:* the chapters of tokens and objects.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use strongroom_keymem::{SecretBytes, SecretVec};

use super::batch::SealedBatch;
use super::census::{Census, Entries, Sums, Versions};
use super::draft::{Draft, read_own};
use super::generation::Generation;
use super::hierarchy::{self, KeySlot, PinCost, TokenKeys};
use super::newcomer::DraftToken;
use super::pin::{Gate, PinTries, Tries};
use super::seal::{self, Stamp};
use super::serial::SerialNumber;
use super::{Realm, User, VaultError, misfit, removed, tampered};
use crate::limits::Limits;
use crate::ports::{Change, RecordKey, RecordKind, Store};

/// One initialised token.
pub struct TokenVault {
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: TokenKeys,
    pub(super) cost: PinCost,
    /// Bound into its keys, and its serial number where nobody chose one.
    salt: [u8; 8],
    pub(super) next: AtomicU64,
    /// One PIN is compared at a time, or two could use the same try.
    pub(super) gate: Mutex<Gate>,
    /// Held through a commit: commits of one token follow each other.
    pub(super) writer: Mutex<Writer>,
    /// What is read. Written only after a commit, so readers never wait for the disk.
    pub(super) books: RwLock<Books>,
    pub(super) realm: RwLock<Option<Arc<SecretBytes>>>,
    generation: Generation,
}

/// What a commit starts from.
pub(super) struct Writer {
    pub(super) census: Census,
    pub(super) census_version: u64,
    pub(super) token_stamp: Stamp,
    pub(super) tries_stamp: Stamp,
    ended: bool,
}

/// What readers see.
pub(super) struct Books {
    pub(super) entries: Entries,
    pub(super) token: TokenBody,
    pub(super) tries: Tries,
}

/// What the token record holds.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "StoredBody", into = "StoredBody")]
pub(super) struct TokenBody {
    pub(super) label: [u8; 32],
    pub(super) so: KeySlot,
    pub(super) user: Option<KeySlot>,
    /// Where somebody chose one.
    pub(super) serial: Option<SerialNumber>,
}

impl TokenBody {
    /// The serial number that is shown.
    pub(super) fn serial_number(&self, salt: [u8; 8]) -> SerialNumber {
        let chosen = self.serial.clone();
        chosen.unwrap_or_else(|| SerialNumber::of_salt(salt))
    }
}

/// A token record as it is stored. One without a chosen serial number has the bytes it had before there were any.
#[derive(Serialize, Deserialize)]
struct StoredBody([u8; 32], KeySlot, StoredRest);

/// The user's slot, and the serial number.
#[derive(Serialize, Deserialize)]
enum StoredRest {
    Neither,
    User(KeySlot),
    Serial(SerialNumber),
    Both(KeySlot, SerialNumber),
}

impl From<StoredBody> for TokenBody {
    fn from(StoredBody(label, so, rest): StoredBody) -> Self {
        let (user, serial) = match rest {
            StoredRest::Neither => (None, None),
            StoredRest::User(user) => (Some(user), None),
            StoredRest::Serial(serial) => (None, Some(serial)),
            StoredRest::Both(user, serial) => (Some(user), Some(serial)),
        };
        Self {
            label,
            so,
            user,
            serial,
        }
    }
}

impl From<TokenBody> for StoredBody {
    fn from(body: TokenBody) -> Self {
        let rest = match (body.user, body.serial) {
            (None, None) => StoredRest::Neither,
            (Some(user), None) => StoredRest::User(user),
            (None, Some(serial)) => StoredRest::Serial(serial),
            (Some(user), Some(serial)) => StoredRest::Both(user, serial),
        };
        Self(body.label, body.so, rest)
    }
}

/// How a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenState {
    /// Its number; never that of another token, before or after.
    pub number: u64,
    /// Its label, padded with spaces.
    pub label: [u8; 32],
    /// Its serial number: 16 hexadecimal digits, or what somebody chose.
    pub serial_number: String,
    /// Whether the user's PIN was set.
    pub user_pin_initialized: bool,
    /// Tries of the user's PIN.
    pub user_tries: PinTries,
    /// Tries of the security officer's PIN.
    pub so_tries: PinTries,
}

impl TokenVault {
    /// How the token stands.
    pub fn state(&self, limits: &Limits) -> TokenState {
        let books = self.books.read();
        TokenState {
            number: self.keys.token,
            label: books.token.label,
            serial_number: books.token.serial_number(self.salt).to_string(),
            user_pin_initialized: books.token.user.is_some(),
            user_tries: books.tries.shown(User::User, limits),
            so_tries: books.tries.shown(User::So, limits),
        }
    }

    /// Its serial number.
    pub(super) fn serial_number(&self) -> SerialNumber {
        self.books.read().token.serial_number(self.salt)
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.keys.token
    }

    /// Whether a PIN has opened the private realm since the daemon's start.
    pub fn realm_is_open(&self) -> bool {
        self.realm.read().is_some()
    }

    /// A number for a new object. It is durable with the commit that writes the object; until then nobody can have seen it.
    pub fn next_object(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// How many objects a realm has, open or not.
    pub fn count(&self, realm: Realm) -> u64 {
        self.books.read().entries.count(realm)
    }

    /// Shows the metadata of every object of a realm. `visit` must not call [`TokenVault::commit`].
    ///
    /// # Errors
    /// [`VaultError::RealmClosed`] for private objects before a login; what `visit` says; a damaged record.
    pub fn load(
        &self,
        realm: Realm,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let realm_key = self.opened(realm)?;
        let (mut plaintext, mut later, mut outcome) = (SecretVec::new(), Vec::new(), Ok(()));
        let mut see = |object, sealed: &[u8]| {
            let key = self.object_key(RecordKind::Metadata, object);
            let stamp = Stamp::of(key, sealed)?;
            if self.version(key, realm) != Some(stamp.version) {
                later.push(object);
                return Ok(());
            }
            plaintext.clear();
            seal::open(
                &self.record_key(&realm_key, key)?,
                key,
                sealed,
                &mut plaintext,
            )?;
            visit(object, plaintext.expose())
        };
        self.store.scan(
            RecordKind::Metadata,
            self.keys.token,
            &mut |object, sealed| {
                outcome = see(object, sealed);
                outcome.is_ok()
            },
        )?;
        outcome?;
        // Of another realm, changed by a commit during the scan, or rolled back under our hands: the writer's door tells.
        for object in later {
            let key = self.object_key(RecordKind::Metadata, object);
            match self.read(key, realm) {
                Ok(plaintext) => visit(object, plaintext.expose())?,
                Err(VaultError::NoSuchObject(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The secrets of an object.
    ///
    /// # Errors
    /// [`VaultError::NoSuchObject`] when it does not exist in that realm or has none; [`VaultError::RealmClosed`]; a damaged
    /// record, also one that was rolled back since the daemon's start.
    pub fn material(&self, realm: Realm, object: u64) -> Result<SecretBytes, VaultError> {
        let plaintext = self.read(self.object_key(RecordKind::Material, object), realm)?;
        Ok(SecretBytes::copy_from(plaintext.expose())?)
    }

    /// Opens a record of an object.
    fn read(&self, key: RecordKey, realm: Realm) -> Result<SecretVec, VaultError> {
        let mut plaintext = SecretVec::new();
        let realm_key = self.opened(realm)?;
        let record_key = self.record_key(&realm_key, key)?;
        if let Some(version) = self.version(key, realm)
            && let Some(sealed) = self.store.record(key)?
            && Stamp::of(key, &sealed)?.version == version
        {
            seal::open(&record_key, key, &sealed, &mut plaintext)?;
            return Ok(plaintext);
        }
        // A commit may stand between the books and the store; behind the writer's door they agree, or somebody else wrote.
        let writer = self.writer.lock();
        self.read_settled(&writer, key, realm)
    }

    /// Opens a record of an object while no commit is under way, which the writer proves.
    pub(super) fn read_settled(
        &self,
        _: &Writer,
        key: RecordKey,
        realm: Realm,
    ) -> Result<SecretVec, VaultError> {
        let mut plaintext = SecretVec::new();
        let record_key = self.record_key(&self.opened(realm)?, key)?;
        let version = self
            .version(key, realm)
            .ok_or(VaultError::NoSuchObject(key.object))?;
        let sealed = self.store.record(key)?.ok_or_else(|| removed(key))?;
        let stamp = seal::open(&record_key, key, &sealed, &mut plaintext)?;
        if stamp.version == version {
            Ok(plaintext)
        } else {
            Err(tampered(key))
        }
    }

    /// The version that the books have of an object's record.
    fn version(&self, key: RecordKey, realm: Realm) -> Option<u64> {
        let (found, versions) = self.books.read().entries.find(key.object)?;
        let version = if key.kind == RecordKind::Material {
            versions.material
        } else {
            versions.metadata
        };
        (found == realm && version > 0).then_some(version)
    }

    /// The realm key of private objects; public ones have none.
    pub(super) fn opened(&self, realm: Realm) -> Result<Option<Arc<SecretBytes>>, VaultError> {
        match realm {
            Realm::Public => Ok(None),
            Realm::Private => Ok(Some(self.realm_key()?)),
        }
    }

    pub(super) fn realm_key(&self) -> Result<Arc<SecretBytes>, VaultError> {
        self.realm.read().clone().ok_or(VaultError::RealmClosed)
    }

    pub(super) fn record_key(
        &self,
        realm_key: &Option<Arc<SecretBytes>>,
        key: RecordKey,
    ) -> Result<SecretBytes, VaultError> {
        match realm_key {
            Some(realm_key) => hierarchy::record_key(realm_key, key),
            None => self.keys.record_key(key),
        }
    }

    pub(super) fn object_key(&self, kind: RecordKind, object: u64) -> RecordKey {
        RecordKey {
            kind,
            token: self.keys.token,
            object,
        }
    }

    /// The writer, unless the token was deleted.
    pub(super) fn writing(&self) -> Result<parking_lot::MutexGuard<'_, Writer>, VaultError> {
        let writer = self.writer.lock();
        if writer.ended {
            Err(VaultError::NoSuchToken(self.keys.token))
        } else {
            Ok(writer)
        }
    }

    /// Commits a draft. The only place where a token's records are written once it exists.
    pub(super) fn write(&self, writer: &mut Writer, draft: Draft<'_>) -> Result<(), VaultError> {
        let version = writer.census_version + 1;
        let (census, changes) = draft.finish(version)?;
        self.store.commit(&changes)?;
        self.generation.grow(1);
        writer.census = census;
        writer.census_version = version;
        Ok(())
    }

    /// The records of all objects.
    pub(super) fn object_records(&self) -> Vec<RecordKey> {
        let books = self.books.read();
        let kinds = [RecordKind::Metadata, RecordKind::Material];
        let all = books.entries.all();
        all.flat_map(|(object, _)| kinds.map(|kind| self.object_key(kind, object)))
            .collect()
    }

    /// Ends the token: `commit` is given the removal of all its records, and the token's share of the generation.
    pub(super) fn end(
        &self,
        commit: impl FnOnce(Vec<Change>, u64) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let mut writer = self.writing()?;
        let own = [RecordKind::Token, RecordKind::Tries, RecordKind::Census];
        let own = own.map(|kind| self.object_key(kind, 0));
        commit(
            self.object_records()
                .into_iter()
                .chain(own)
                .map(Change::Delete)
                .collect(),
            writer.census_version,
        )?;
        writer.ended = true;
        self.books.write().entries = Entries::default();
        *self.realm.write() = None;
        Ok(())
    }

    /// A new token with its objects, and the changes that make it durable.
    pub(super) fn create(
        store: Arc<dyn Store>,
        new: DraftToken,
        objects: Option<SealedBatch>,
        cost: PinCost,
        generation: &Generation,
    ) -> Result<(Self, Vec<Change>), VaultError> {
        let DraftToken {
            keys, salt, body, ..
        } = new;
        let tries = Tries::default();
        let mut draft = Draft::new(&keys, &Census::new());
        let token_stamp = draft.put_own(RecordKind::Token, &body, None)?;
        let tries_stamp = draft.put_own(RecordKind::Tries, &tries, None)?;
        let mut entries = Entries::default();
        if let Some(batch) = objects {
            draft.absorb(&batch.census, batch.changes);
            for (object, realm, versions) in batch.entries {
                entries.put(object, realm, versions);
            }
        }
        draft.census.next_object = new.next.load(Ordering::Relaxed);
        let (census, changes) = draft.finish(1)?;
        let writer = Writer {
            census,
            census_version: 1,
            token_stamp,
            tries_stamp,
            ended: false,
        };
        let books = Books {
            entries,
            token: body,
            tries,
        };
        Ok((
            Self::assemble(store, keys, salt, cost, (writer, books), generation)?,
            changes,
        ))
    }

    /// Opens a token's own records and compares its objects with its census.
    pub(super) fn open(
        store: Arc<dyn Store>,
        keys: TokenKeys,
        salt: [u8; 8],
        cost: PinCost,
        generation: &Generation,
    ) -> Result<Self, VaultError> {
        let (token, token_stamp) = read_own::<TokenBody>(&store, &keys, RecordKind::Token)?;
        let (tries, tries_stamp) = read_own::<Tries>(&store, &keys, RecordKind::Tries)?;
        let (census, census_stamp) = read_own::<Census>(&store, &keys, RecordKind::Census)?;
        let mut sums = Sums::default();
        for (kind, stamp) in [
            (RecordKind::Token, &token_stamp),
            (RecordKind::Tries, &tries_stamp),
        ] {
            let key = RecordKey {
                kind,
                token: keys.token,
                object: 0,
            };
            sums.add(key, keys.term(key, stamp)?);
        }
        let entries = take_stock(&store, &keys, &mut sums)?;
        census.compare(keys.token, &sums, &entries)?;
        let census_version = census_stamp.version;
        let writer = Writer {
            census,
            census_version,
            token_stamp,
            tries_stamp,
            ended: false,
        };
        generation.grow(census_version);
        let books = Books {
            entries,
            token,
            tries,
        };
        Self::assemble(store, keys, salt, cost, (writer, books), generation)
    }

    fn assemble(
        store: Arc<dyn Store>,
        keys: TokenKeys,
        salt: [u8; 8],
        cost: PinCost,
        (writer, books): (Writer, Books),
        generation: &Generation,
    ) -> Result<Self, VaultError> {
        let next = AtomicU64::new(writer.census.next_object);
        let (gate, writer) = (Mutex::new(Gate::new()?), Mutex::new(writer));
        let (books, realm) = (RwLock::new(books), RwLock::new(None));
        Ok(Self {
            store,
            keys,
            cost,
            salt,
            next,
            gate,
            writer,
            books,
            realm,
            generation: generation.clone(),
        })
    }
}

impl fmt::Debug for TokenVault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TokenVault({})", self.keys.token)
    }
}

/// One pass over the stamps of all objects.
fn take_stock(
    store: &Arc<dyn Store>,
    keys: &TokenKeys,
    sums: &mut Sums,
) -> Result<Entries, VaultError> {
    let (mut public, mut private) = (Vec::new(), Vec::new());
    each_stamp(
        store,
        keys,
        RecordKind::Metadata,
        sums,
        &mut |object, stamp| {
            let versions = Versions {
                metadata: stamp.version,
                material: 0,
            };
            match stamp.realm {
                Realm::Public => public.push((object, versions)),
                Realm::Private => private.push((object, versions)),
            }
            true
        },
    )?;
    each_stamp(
        store,
        keys,
        RecordKind::Material,
        sums,
        &mut |object, stamp| {
            let list = match stamp.realm {
                Realm::Public => &mut public,
                Realm::Private => &mut private,
            };
            let place = list.binary_search_by_key(&object, |(object, _)| *object);
            if let Ok(place) = place {
                list[place].1.material = stamp.version;
            }
            place.is_ok()
        },
    )?;
    Ok(Entries::new(public, private))
}

/// Counts every record of a kind; one that does not fit the others is named.
fn each_stamp(
    store: &Arc<dyn Store>,
    keys: &TokenKeys,
    kind: RecordKind,
    sums: &mut Sums,
    fits: &mut dyn FnMut(u64, &Stamp) -> bool,
) -> Result<(), VaultError> {
    let mut outcome = Ok(());
    let mut see = |object, sealed: &[u8]| {
        let key = RecordKey {
            kind,
            token: keys.token,
            object,
        };
        let stamp = Stamp::of(key, sealed)?;
        if object == 0 || stamp.version == 0 || !fits(object, &stamp) {
            return Err(misfit(key));
        }
        sums.add(key, keys.term(key, &stamp)?);
        Ok(())
    };
    store.scan(kind, keys.token, &mut |object, sealed| {
        outcome = see(object, sealed);
        outcome.is_ok()
    })?;
    outcome
}
