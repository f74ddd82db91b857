//! What is kept: tokens, their PINs and their objects, as sealed records in a store.
//!
//! What lives here: the hierarchy of keys, the seal of a record, the census that finds removed and rolled back records, and the
//! counting of PIN tries. What must never live here: an attribute, a mechanism, a session; what metadata and material mean is the
//! caller's. Who calls it: the service opens it, the chapters of tokens and objects use it.
//!
//! Lock order: register, then a token's gate (PINs), its writer (commits), its books and its realm key.

mod hierarchy;
mod seal;

mod census;
mod draft;
mod generation;
mod serial;

mod backup;
mod batch;
mod change;
mod inspect;
mod migrate;
mod newcomer;
mod pin;
mod ticket;
mod token;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use strongroom_keymem::{OutOfMemory, SecretBytes, SecretVec};
use strongroom_wire::codec;

pub use self::batch::{Batch, OpenRealm, SealedBatch, Stash, Stashed};
pub use self::change::{MaterialChange, ObjectChange};
pub use self::generation::Generation;
pub use self::hierarchy::PinCost;
pub use self::inspect::{ClosedVault, Inspected};
pub use self::newcomer::{DraftToken, NewToken};
pub use self::pin::{LoginError, PinTries};
pub use self::serial::{NoSerialNumber, SerialNumber};
pub use self::ticket::{Holder, Reach, TicketError, claimed_user};
pub use self::token::{TokenState, TokenVault};

use self::draft::encoded;
use self::hierarchy::TokenKeys;
use crate::error::Error;
use crate::ports::{Change, RecordKey, RecordKind, Store, StoreError};

/// Which keys seal an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Realm {
    /// Open as soon as the vault is.
    Public = 0,
    /// Open once a user's PIN was right.
    Private = 1,
}

/// Who may open a token's private realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum User {
    /// The security officer.
    So = 0,
    /// The normal user.
    User = 1,
}

/// All tokens.
pub struct Vault {
    store: Arc<dyn Store>,
    root: SecretBytes,
    cost: PinCost,
    register: Mutex<Register>,
    tokens: RwLock<BTreeMap<u64, Arc<TokenVault>>>,
    /// As the register has it. Beside it, so that nobody who only looks waits for a commit.
    next_token: AtomicU64,
    generation: Generation,
}

impl Vault {
    /// Opens the vault, or makes it on an empty store. The root key is compared with the vault record; the own records of every
    /// token are opened, and its objects compared with its census. Costs about a microsecond a record.
    ///
    /// # Errors
    /// [`VaultError`]; a store that is damaged anywhere does not open.
    pub fn open(
        store: Arc<dyn Store>,
        root_key: SecretBytes,
        cost: PinCost,
    ) -> Result<Self, VaultError> {
        migrate::WAY.go(&store, &root_key)?;
        let register = match store.record(REGISTER_KEY)? {
            Some(sealed) => Register::open(&root_key, sealed)?,
            None => Register::create(&store, &root_key)?,
        };
        let generation = Generation::default();
        generation.grow(register.version);
        only_known_tokens(&store, &register.body)?;
        let mut tokens = BTreeMap::new();
        for (number, serial) in &register.body.tokens {
            let keys = TokenKeys::new(&root_key, *number, serial)?;
            let token = TokenVault::open(Arc::clone(&store), keys, *serial, cost, &generation)?;
            tokens.insert(*number, Arc::new(token));
        }
        let next_token = AtomicU64::new(register.body.next_token);
        let (register, tokens) = (Mutex::new(register), RwLock::new(tokens));
        Ok(Self {
            store,
            root: root_key,
            cost,
            register,
            tokens,
            next_token,
            generation,
        })
    }

    /// A number that grows with every commit.
    #[must_use]
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Lets the generation be higher than `known`, in one commit: whoever remembers `known` knows every copy of before as older.
    ///
    /// # Errors
    /// [`VaultError`]; then the generation is what it was.
    pub fn outgrow(&self, known: u64) -> Result<(), VaultError> {
        let mut register = self.register.lock();
        let missing = known.saturating_sub(self.generation.get());
        let body = register.body.clone();
        register.write(&self.store, &self.root, body, Vec::new(), missing)?;
        self.generation.grow(missing + 1);
        Ok(())
    }

    /// The initialised tokens, ascending by number.
    #[must_use]
    pub fn tokens(&self) -> Vec<Arc<TokenVault>> {
        self.tokens.read().values().cloned().collect()
    }

    /// What all other keys come from.
    pub(crate) fn root_key(&self) -> &SecretBytes {
        &self.root
    }

    /// Sees what the caller keeps for the whole installation: nothing at first.
    pub fn with_annex<R>(&self, see: impl FnOnce(&[u8]) -> R) -> R {
        self.register.lock().annex.with(see)
    }

    /// Keeps something for the whole installation, in one commit. `make` sees what was kept before, and nobody else changes it meanwhile.
    ///
    /// # Errors
    /// What `make` answers, and [`VaultError`]; then what was kept before stands.
    pub fn change_annex<R, E: From<VaultError>>(
        &self,
        make: impl FnOnce(&[u8]) -> Result<(SecretBytes, R), E>,
    ) -> Result<R, E> {
        let mut register = self.register.lock();
        let (annex, answer) = register.annex.with(make)?;
        let body = register.body.clone();
        let before = std::mem::replace(&mut register.annex, annex);
        if let Err(error) = register.write(&self.store, &self.root, body, Vec::new(), 0) {
            register.annex = before;
            return Err(error.into());
        }
        self.generation.grow(1);
        Ok(answer)
    }

    /// Destroys a token and all its records, in one commit. Whoever still holds it gets [`VaultError::NoSuchToken`].
    ///
    /// # Errors
    /// [`VaultError`]; then the token stands.
    pub fn delete_token(&self, token: u64) -> Result<(), VaultError> {
        let mut register = self.register.lock();
        let doomed = self
            .tokens
            .read()
            .get(&token)
            .cloned()
            .ok_or(VaultError::NoSuchToken(token))?;
        let mut body = register.body.clone();
        body.tokens.retain(|(number, _)| *number != token);
        doomed
            .end(|changes, share| register.write(&self.store, &self.root, body, changes, share))?;
        self.generation.grow(1);
        self.tokens.write().remove(&token);
        Ok(())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Vault")
            .field("tokens", &self.tokens.read().len())
            .finish_non_exhaustive()
    }
}

/// The vault record: which tokens there are.
struct Register {
    body: RegisterBody,
    /// What the caller keeps for the whole installation, behind the body; empty in stores that never kept anything.
    annex: SecretBytes,
    version: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct RegisterBody {
    /// Only grows, so no number comes back.
    next_token: u64,
    /// Number of each token, and the random bytes by which its keys differ from all others; its serial number where nobody chose one.
    tokens: Vec<(u64, [u8; 8])>,
}

impl Register {
    fn create(store: &Arc<dyn Store>, root: &SecretBytes) -> Result<Self, VaultError> {
        let body = RegisterBody {
            next_token: 1,
            tokens: Vec::new(),
        };
        // Without this a store whose vault record was removed would be taken for an empty one.
        for kind in RecordKind::ALL {
            if !store.tokens(kind)?.is_empty() {
                return Err(VaultError::Tampered {
                    what: "the vault record was removed".into(),
                });
            }
        }
        let mut register = Self {
            body: body.clone(),
            annex: SecretBytes::zeroed(0)?,
            version: 0,
        };
        register.write(store, root, body, Vec::new(), 0)?;
        Ok(register)
    }

    /// The record is followed by a check of the root key, so that a wrong root key and a changed record have different names.
    fn open(root: &SecretBytes, mut sealed: Vec<u8>) -> Result<Self, VaultError> {
        let check = sealed.split_off(sealed.len().saturating_sub(hierarchy::KEY_BYTES));
        let root_fits = hierarchy::root_check(root)?.equals_in_constant_time(&check);
        let format = sealed.first().copied().unwrap_or(seal::FORMAT);
        if let Some(first) = sealed.first_mut() {
            *first = seal::FORMAT;
        }
        let vault_key = hierarchy::vault_key(root)?;
        let mut plaintext = SecretVec::new();
        match seal::open(&vault_key, REGISTER_KEY, &sealed, &mut plaintext) {
            Ok(stamp) if root_fits && format == seal::FORMAT => {
                let (body, annex) =
                    codec::decode_front(plaintext.expose()).map_err(|_| tampered(REGISTER_KEY))?;
                Ok(Self {
                    body,
                    annex: SecretBytes::copy_from(annex)?,
                    version: stamp.version,
                })
            }
            // It opens, so the key is right and it is of this format: what says otherwise was changed.
            Ok(_) => Err(tampered(REGISTER_KEY)),
            Err(VaultError::Tampered { .. }) if format != seal::FORMAT => {
                Err(VaultError::FormatNewer(u32::from(format)))
            }
            Err(VaultError::Tampered { .. }) if !root_fits => Err(VaultError::WrongRootKey),
            Err(error) => Err(error),
        }
    }

    /// Commits the new body together with a token's changes. Its version grows by one and by `share`, what it takes over of the
    /// generation.
    fn write(
        &mut self,
        store: &Arc<dyn Store>,
        root: &SecretBytes,
        body: RegisterBody,
        mut changes: Vec<Change>,
        share: u64,
    ) -> Result<(), VaultError> {
        let version = self.version.saturating_add(1).saturating_add(share);
        let (vault_key, mut plaintext) = (hierarchy::vault_key(root)?, encoded(&body)?);
        self.annex.with(|annex| plaintext.push_slice(annex))?;
        let (mut sealed, _) = seal::seal(
            &vault_key,
            REGISTER_KEY,
            Realm::Public,
            version,
            plaintext.expose(),
        )?;
        hierarchy::root_check(root)?.with(|check| sealed.extend_from_slice(check));
        changes.push(Change::Put(REGISTER_KEY, sealed));
        store.commit(&changes)?;
        self.body = body;
        self.version = version;
        Ok(())
    }
}

/// Refuses records of tokens that the register does not have.
fn only_known_tokens(store: &Arc<dyn Store>, register: &RegisterBody) -> Result<(), VaultError> {
    for kind in RecordKind::ALL {
        for token in store.tokens(kind)? {
            let known = match kind {
                RecordKind::Vault => token == 0,
                RecordKind::Token
                | RecordKind::Tries
                | RecordKind::Census
                | RecordKind::Metadata
                | RecordKind::Material => {
                    register.tokens.iter().any(|(number, _)| *number == token)
                }
            };
            if !known {
                return Err(unknown_token(token));
            }
        }
    }
    Ok(())
}

/// Why the vault could not do it. What was to be changed is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// A primitive failed where it should not.
    Crypto,
    /// The vault was written by a newer version, in this format.
    FormatNewer(u32),
    /// Locked memory is used up.
    Memory,
    /// The token has no such object, or the object no material.
    NoSuchObject(u64),
    /// The token was deleted.
    NoSuchToken(u64),
    /// The private realm was not opened by a PIN yet.
    RealmClosed,
    /// Another token has this serial number.
    SerialNumberTaken(String),
    /// The store failed.
    Store(StoreError),
    /// A record is not as it was left.
    Tampered {
        /// Which record, and what may have happened to it.
        what: String,
    },
    /// One commit changes this object twice.
    Twice(u64),
    /// The root key is not the one of this vault, or nothing is left of the vault record that would tell.
    WrongRootKey,
}

impl fmt::Display for VaultError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crypto => out.write_str("a cryptographic primitive failed; please report this"),
            Self::FormatNewer(format) => write!(
                out,
                "the store is of format {format}, this version reads {} only; use the version that wrote it",
                seal::FORMAT
            ),
            Self::Memory => out.write_str("the locked memory is used up; raise its size"),
            Self::NoSuchObject(object) => write!(out, "there is no object {object}, or it has no material"),
            Self::NoSuchToken(token) => write!(out, "there is no token {token}"),
            Self::RealmClosed => out.write_str("the private objects are closed until a user logs in"),
            Self::SerialNumberTaken(serial) => {
                write!(out, "another token has the serial number {serial}")
            }
            Self::Store(error) => fmt::Display::fmt(error, out),
            Self::Tampered { what } => {
                write!(out, "{what}; restore the store from a backup, and find out who wrote to it")
            }
            Self::Twice(object) => write!(out, "one commit changes object {object} twice"),
            Self::WrongRootKey => {
                out.write_str("the root key is not the one of this store, or its vault record was replaced; unseal with the key it was made with")
            }
        }
    }
}

impl std::error::Error for VaultError {}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Crypto | VaultError::Twice(_) => Self::GeneralError,
            VaultError::SerialNumberTaken(_) => Self::ArgumentsBad,
            VaultError::FormatNewer(_) | VaultError::Tampered { .. } | VaultError::WrongRootKey => {
                Self::DeviceError
            }
            VaultError::Memory => Self::DeviceMemory,
            VaultError::NoSuchObject(_) => Self::ObjectHandleInvalid,
            VaultError::NoSuchToken(_) => Self::TokenNotRecognized,
            VaultError::RealmClosed => Self::UserNotLoggedIn,
            VaultError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for VaultError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<OutOfMemory> for VaultError {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

impl From<strongroom_crypto::Error> for VaultError {
    fn from(error: strongroom_crypto::Error) -> Self {
        if error == strongroom_crypto::Error::Memory {
            Self::Memory
        } else {
            Self::Crypto
        }
    }
}

/// What a record is called in errors.
fn name(key: RecordKey) -> String {
    let RecordKey {
        kind,
        token,
        object,
    } = key;
    match kind {
        RecordKind::Vault => "the vault record".into(),
        RecordKind::Token => format!("the record of token {token}"),
        RecordKind::Tries => format!("the PIN try counter of token {token}"),
        RecordKind::Census => format!("the census of token {token}"),
        RecordKind::Metadata => format!("object {object} of token {token} (metadata)"),
        RecordKind::Material => format!("object {object} of token {token} (material)"),
    }
}

fn unknown_token(token: u64) -> VaultError {
    VaultError::Tampered {
        what: format!("token {token} was added, or the vault record was rolled back"),
    }
}

fn removed(key: RecordKey) -> VaultError {
    VaultError::Tampered {
        what: format!("{} was removed", name(key)),
    }
}

fn misfit(key: RecordKey) -> VaultError {
    VaultError::Tampered {
        what: format!(
            "{} does not fit the rest of its object: one of them was changed, removed or added",
            name(key)
        ),
    }
}

fn tampered(key: RecordKey) -> VaultError {
    VaultError::Tampered {
        what: format!("{} was changed, swapped or rolled back", name(key)),
    }
}

const REGISTER_KEY: RecordKey = RecordKey {
    kind: RecordKind::Vault,
    token: 0,
    object: 0,
};
