//! Tokens: the objects of one token, in memory and in the vault.
//!
//! What lives here: [`Token`]: what is found, opened, added, changed and destroyed, the vault first and memory after it.
//! What must never live here: who may do so (chapters, policy), or how it is sealed (vault).
//! Who calls it: chapters, through a session.

mod arrival;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use strongroom_keymem::{self as keymem, SecretVec};
use strongroom_wire::ck::AttributeType;
use strongroom_wire::codec;
use strongroom_wire::request::ObjectHandle;

use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::object::index::Index;
use crate::object::{Material, Object, OpenKey, Place};
use crate::ports::Time;
use crate::rehearsal::Rehearsal;
use crate::vault::{
    Holder, MaterialChange, ObjectChange, Reach, Realm, TicketError, TokenState, TokenVault, User,
    VaultError,
};

pub use self::arrival::{metadata, seal_into};

/// A token object to be: its attributes and its secret values.
#[derive(Debug)]
pub struct Newcomer {
    /// Attributes, complete.
    pub attributes: Attributes,
    /// Secret values.
    pub material: Option<Material>,
    /// The key made ready, if that has been done already.
    pub open: Option<Arc<OpenKey>>,
}

/// An initialised token.
pub struct Token {
    /// Its number; its slot is one less.
    pub number: u64,
    vault: Arc<TokenVault>,
    objects: RwLock<Index>,
    private_loaded: Mutex<bool>,
    /// Whoever changes token objects holds it, so that the vault and memory go in the same order.
    change: Mutex<()>,
    /// Objects with an open key, those opened longest ago first.
    opened: Mutex<VecDeque<Weak<Object>>>,
    /// How many of them stay open.
    open_keys_max: AtomicUsize,
    /// Sessions hold it for reading while they are being opened, re-initialisation for writing.
    pub gate: RwLock<()>,
    sessions: AtomicUsize,
    read_write_sessions: AtomicUsize,
    /// Set when the token has been deleted under somebody's hands.
    gone: AtomicBool,
    /// How it imitates hardware, while it does.
    rehearsal: RwLock<Option<Arc<Rehearsal>>>,
    /// Set while a rehearsal has it out of its slot.
    removed: AtomicBool,
    /// How many more objects a rehearsal has room for.
    room: AtomicU64,
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Token({})", self.number)
    }
}

impl Token {
    /// Takes a token from the vault, with the objects of its public realm.
    ///
    /// # Errors
    /// [`VaultError`] when a record is damaged; it says which.
    pub fn load(vault: Arc<TokenVault>, limits: &Limits) -> std::result::Result<Self, VaultError> {
        let token = Self {
            number: vault.number(),
            vault,
            objects: RwLock::default(),
            private_loaded: Mutex::new(false),
            change: Mutex::default(),
            opened: Mutex::default(),
            open_keys_max: AtomicUsize::new(limits.open_keys_max),
            gate: RwLock::default(),
            sessions: AtomicUsize::new(0),
            read_write_sessions: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            rehearsal: RwLock::default(),
            removed: AtomicBool::new(false),
            room: AtomicU64::new(ENDLESS),
        };
        token.load_realm(Realm::Public)?;
        Ok(token)
    }

    fn load_realm(&self, realm: Realm) -> std::result::Result<(), VaultError> {
        let mut objects = self.objects.write();
        self.vault.load(realm, &mut |number: u64, metadata: &[u8]| {
            let attributes: Attributes =
                codec::decode(metadata).map_err(|_| VaultError::Tampered {
                    what: format!("object {number} of token {} cannot be read", self.number),
                })?;
            let place = place_of(&attributes);
            objects.insert(Arc::new(Object::new(
                ObjectHandle(number),
                attributes,
                place,
            )));
            Ok(())
        })
    }

    /// What the vault says of it.
    #[must_use]
    pub fn state(&self, limits: &Limits) -> TokenState {
        self.vault.state(limits)
    }

    /// Takes the bound on open keys; it counts from the next one opened.
    pub fn bound_open_keys(&self, limits: &Limits) {
        self.open_keys_max
            .store(limits.open_keys_max, Ordering::Relaxed);
    }

    /// Whether its private objects are in memory.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.private_loaded.lock()
    }

    /// How many objects it has, and how many of them are closed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let private = self.vault.count(Realm::Private);
        (
            self.vault.count(Realm::Public) + private,
            if self.is_open() { 0 } else { private },
        )
    }

    /// Compares a PIN; the first right one since the start opens the private realm.
    ///
    /// # Errors
    /// As C_Login has them.
    pub fn login(&self, user: User, pin: &[u8], limits: &Limits) -> Result<()> {
        self.vault.login(user, pin, limits)?;
        self.load_private()
    }

    /// A ticket for a login that has just been made; none where there is to be none.
    ///
    /// # Errors
    /// Memory.
    pub fn ticket(
        &self,
        user: User,
        holder: &Holder<'_>,
        now: Time,
        rules: (&Limits, Reach),
    ) -> std::result::Result<Option<SecretVec>, VaultError> {
        self.vault.ticket(user, holder, now, rules)
    }

    /// Opens the private realm by a ticket.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn redeem(
        &self,
        ticket: &[u8],
        holder: &Holder<'_>,
        now: Time,
        rules: (&Limits, Reach),
    ) -> std::result::Result<(), TicketError> {
        self.vault.redeem(ticket, holder, now, rules)?;
        self.load_private()
    }

    fn load_private<E: From<VaultError>>(&self) -> std::result::Result<(), E> {
        let mut loaded = self.private_loaded.lock();
        if !*loaded {
            let _change = self.change.lock();
            self.load_realm(Realm::Private)?;
            *loaded = true;
        }
        Ok(())
    }

    /// Sets the user's PIN, on the officer's word.
    ///
    /// # Errors
    /// When the store fails.
    pub fn init_user_pin(&self, pin: &[u8]) -> Result<()> {
        Ok(self.vault.init_user_pin(pin)?)
    }

    /// Changes a PIN.
    ///
    /// # Errors
    /// As C_SetPIN has them.
    pub fn set_pin(&self, user: User, old: &[u8], new: &[u8], limits: &Limits) -> Result<()> {
        Ok(self.vault.set_pin(user, old, new, limits)?)
    }

    /// C_InitToken on a token that is one already: all objects end.
    ///
    /// # Errors
    /// [`Error::SessionExists`], or as C_InitToken has them.
    pub fn reinitialize(&self, so_pin: &[u8], label: [u8; 32], limits: &Limits) -> Result<()> {
        let _gate = self.gate.write();
        if self.sessions.load(Ordering::SeqCst) > 0 {
            return Err(Error::SessionExists);
        }
        let mut loaded = self.private_loaded.lock();
        let _change = self.change.lock();
        self.vault.reinitialize(so_pin, label, limits)?;
        *self.objects.write() = Index::default();
        self.opened.lock().clear();
        *loaded = false;
        Ok(())
    }

    /// Marks it as deleted, if nobody uses it.
    ///
    /// # Errors
    /// [`Error::SessionExists`].
    pub fn retire(&self) -> Result<()> {
        let _gate = self.gate.write();
        if self.sessions.load(Ordering::SeqCst) > 0 {
            return Err(Error::SessionExists);
        }
        self.gone.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Takes [`Self::retire`] back: it could not be deleted.
    pub fn reinstate(&self) {
        self.gone.store(false, Ordering::SeqCst);
    }

    /// Whether it has been deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// The rehearsal that goes on.
    #[must_use]
    pub fn rehearsal(&self) -> Option<Arc<Rehearsal>> {
        self.rehearsal.read().clone()
    }

    /// Begins a rehearsal, or ends it.
    pub fn rehearse(&self, rehearsal: Option<Arc<Rehearsal>>) {
        let room = rehearsal.as_ref().and_then(|one| one.plan().room);
        self.room.store(room.unwrap_or(ENDLESS), Ordering::SeqCst);
        *self.rehearsal.write() = rehearsal;
    }

    /// How many more objects the rehearsal has room for.
    #[must_use]
    pub fn room(&self) -> Option<u64> {
        Some(self.room.load(Ordering::SeqCst)).filter(|room| *room != ENDLESS)
    }

    /// Takes it out of its slot; its sessions are closed by the caller, who holds the gate.
    pub fn remove(&self) {
        self.removed.store(true, Ordering::SeqCst);
    }

    /// Puts it back.
    pub fn insert(&self) {
        self.removed.store(false, Ordering::SeqCst);
    }

    /// Whether a rehearsal has it out of its slot.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    pub(crate) fn count_session(&self, read_write: bool) {
        self.sessions.fetch_add(1, Ordering::SeqCst);
        self.read_write_sessions
            .fetch_add(usize::from(read_write), Ordering::SeqCst);
    }

    pub(crate) fn uncount_session(&self, read_write: bool) {
        self.sessions.fetch_sub(1, Ordering::SeqCst);
        self.read_write_sessions
            .fetch_sub(usize::from(read_write), Ordering::SeqCst);
    }

    /// Sessions of all applications: all, and of them read-write.
    #[must_use]
    pub fn session_counts(&self) -> (usize, usize) {
        (
            self.sessions.load(Ordering::SeqCst),
            self.read_write_sessions.load(Ordering::SeqCst),
        )
    }

    /// A token object, whoever asks.
    #[must_use]
    pub fn object(&self, handle: ObjectHandle) -> Option<Arc<Object>> {
        self.objects.read().object(handle).cloned()
    }

    /// Sees the index.
    pub fn with_objects<R>(&self, see: impl FnOnce(&Index) -> R) -> R {
        see(&self.objects.read())
    }

    /// The secret values of one of its objects, or of a session object.
    ///
    /// # Errors
    /// When the store fails or the record is damaged.
    pub fn material(&self, object: &Object) -> Result<Option<Arc<Material>>> {
        match &object.place {
            Place::Nowhere => Ok(None),
            Place::Memory(material) => Ok(Some(material.clone())),
            Place::Store => {
                let sealed = self
                    .vault
                    .material(realm_of(&object.attributes), object.handle.0)?;
                Ok(Some(Arc::new(Material::parse(sealed)?)))
            }
        }
    }

    /// The key of an object, ready for use: opened once, then shared.
    ///
    /// # Errors
    /// When the store fails, or locked memory is used up.
    pub fn open_key(&self, object: &Arc<Object>) -> Result<Arc<OpenKey>> {
        let mut place = object.open.lock();
        if let Some(key) = &*place {
            return Ok(key.clone());
        }
        let material = self.material(object)?;
        let key = match OpenKey::open(&object.attributes, material.as_deref()) {
            Err(Error::DeviceMemory) => {
                self.close_keys(0);
                OpenKey::open(&object.attributes, material.as_deref())?
            }
            other => other?,
        };
        *place = Some(key.clone());
        drop(place);
        if matches!(object.place, Place::Store) {
            self.remember_open(object);
        }
        Ok(key)
    }

    /// How many keys are open, as far as it was noted.
    #[must_use]
    pub fn open_keys(&self) -> usize {
        self.opened.lock().len()
    }

    fn remember_open(&self, object: &Arc<Object>) {
        self.opened.lock().push_back(Arc::downgrade(object));
        let scarce =
            keymem::status().is_some_and(|status| status.bytes_used > status.bytes_total / 4 * 3);
        let keep = if scarce {
            self.opened.lock().len() / 2
        } else {
            self.open_keys_max.load(Ordering::Relaxed)
        };
        self.close_keys(keep);
    }

    /// Closes the keys that were opened longest ago, but for `keep`; a use in progress keeps its own.
    fn close_keys(&self, keep: usize) {
        let mut opened = self.opened.lock();
        while opened.len() > keep {
            if let Some(object) = opened.pop_front().and_then(|object| object.upgrade())
                && let Some(mut place) = object.open.try_lock()
            {
                *place = None;
            }
        }
    }

    /// Adds objects, all or none.
    ///
    /// # Errors
    /// When the store fails; then nothing has changed.
    pub fn add(&self, newcomers: Vec<Newcomer>, limits: &Limits) -> Result<Vec<Arc<Object>>> {
        let _change = self.change.lock();
        self.has_room(newcomers.len(), limits)?;
        let room = self.room.load(Ordering::Relaxed);
        let wanted = newcomers.len() as u64;
        let encoded: Vec<(u64, Vec<u8>)> = newcomers
            .iter()
            .map(|newcomer| Ok((self.vault.next_object(), encode(&newcomer.attributes)?)))
            .collect::<Result<_>>()?;
        let changes: Vec<ObjectChange<'_>> = newcomers
            .iter()
            .zip(&encoded)
            .map(|(newcomer, (number, metadata))| ObjectChange::Put {
                object: *number,
                realm: realm_of(&newcomer.attributes),
                metadata,
                material: match &newcomer.material {
                    Some(material) => MaterialChange::Set(material.sealed_form()),
                    None => MaterialChange::None,
                },
            })
            .collect();
        self.vault.commit(&changes)?;
        if room != ENDLESS {
            // Nobody else changes it by adding: that takes the lock on changes.
            self.room.store(room - wanted, Ordering::Relaxed);
        }
        let mut index = self.objects.write();
        let mut added = Vec::with_capacity(newcomers.len());
        for (newcomer, (number, _)) in newcomers.into_iter().zip(encoded) {
            let place = if newcomer.material.is_some() {
                Place::Store
            } else {
                Place::Nowhere
            };
            let object = Arc::new(Object::new(
                ObjectHandle(number),
                newcomer.attributes,
                place,
            ));
            *object.open.lock() = newcomer.open;
            index.insert(object.clone());
            added.push(object);
        }
        drop(index);
        for object in added.iter().filter(|object| object.open.lock().is_some()) {
            self.remember_open(object);
        }
        Ok(added)
    }

    /// Writes new attributes, and new secret values where there are some, in the place of an object.
    ///
    /// # Errors
    /// When the store fails; then nothing has changed. [`Error::ObjectHandleInvalid`] when the object has gone.
    pub fn replace(
        &self,
        handle: ObjectHandle,
        change: impl FnOnce(&Object) -> Result<(Attributes, Option<Material>)>,
    ) -> Result<()> {
        let _change = self.change.lock();
        let before = self.object(handle).ok_or(Error::ObjectHandleInvalid)?;
        let (attributes, material) = change(&before)?;
        self.vault.commit(&[ObjectChange::Put {
            object: handle.0,
            realm: realm_of(&attributes),
            metadata: &encode(&attributes)?,
            material: match &material {
                Some(material) => MaterialChange::Set(material.sealed_form()),
                None => MaterialChange::Keep,
            },
        }])?;
        let place = if material.is_some() || matches!(before.place, Place::Store) {
            Place::Store
        } else {
            Place::Nowhere
        };
        let after = Arc::new(Object::new(handle, attributes, place));
        // Attributes do not change what a key is: the open one goes on.
        *after.open.lock() = before.open.lock().clone();
        self.objects.write().insert(after.clone());
        if after.open.lock().is_some() {
            self.remember_open(&after);
        }
        Ok(())
    }

    /// Destroys an object.
    ///
    /// # Errors
    /// When the store fails; then it is still there. [`Error::ObjectHandleInvalid`] when somebody else was faster.
    pub fn destroy(&self, handle: ObjectHandle) -> Result<()> {
        let _change = self.change.lock();
        if self.object(handle).is_none() {
            return Err(Error::ObjectHandleInvalid);
        }
        self.vault
            .commit(&[ObjectChange::Delete { object: handle.0 }])?;
        self.objects.write().remove(handle);
        Ok(())
    }
}

/// Room without a bound.
const ENDLESS: u64 = u64::MAX;

/// Private objects are sealed under the key that only a PIN opens.
fn realm_of(attributes: &Attributes) -> Realm {
    if attributes.flag(AttributeType::PRIVATE).unwrap_or(true) {
        Realm::Private
    } else {
        Realm::Public
    }
}

/// Whether a token object has secret values follows from its class.
fn place_of(attributes: &Attributes) -> Place {
    use strongroom_wire::ck::ObjectClass;
    match attributes.number(AttributeType::CLASS).map(ObjectClass) {
        Some(ObjectClass::PRIVATE_KEY | ObjectClass::SECRET_KEY | ObjectClass::DATA) => {
            Place::Store
        }
        _ => Place::Nowhere,
    }
}

fn encode(attributes: &Attributes) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    codec::encode(attributes, &mut bytes).map_err(|_| Error::DeviceMemory)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
