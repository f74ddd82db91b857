//! *What lives here:* what the tests of the vault share. *What must never live here:* a test. *Who calls it:* the files beside it.

mod arriving;
mod inspecting;
mod migration;
mod objects;
mod tampering;
mod tries;

use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_keymem::{Config, Locking, SecretBytes};

use super::*;
use crate::limits::Limits;
use crate::ports::{MemoryStore, Snapshot, Visit};

const SO_PIN: &[u8] = b"87654321";
const USER_PIN: &[u8] = b"1234";
const LABEL: [u8; 32] = *b"a token                         ";

fn start() {
    let config = Config {
        bytes: Some(32 << 20),
        locking: Locking::DangerUnlockedAllowed,
    };
    strongroom_keymem::start(&config).unwrap();
    strongroom_crypto::start().unwrap();
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::copy_from(bytes).unwrap()
}

fn try_open(store: &Arc<impl Store + 'static>) -> Result<Vault, VaultError> {
    start();
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    Vault::open(store, secret(&[7; 32]), PinCost::danger_cheap())
}

fn open(store: &Arc<impl Store + 'static>) -> Vault {
    try_open(store).unwrap()
}

/// A token with both PINs set; the realm is open, the user cold, the officer with nothing against him.
fn new_token(vault: &Vault) -> Arc<TokenVault> {
    let token = vault.create_token(LABEL, SO_PIN).unwrap();
    token.login(User::So, SO_PIN, &limits()).unwrap();
    token.init_user_pin(USER_PIN).unwrap();
    token
}

fn put(token: &TokenVault, realm: Realm, metadata: &[u8], material: Option<&[u8]>) -> u64 {
    let object = token.next_object();
    let material = material.map(secret);
    let material = material
        .as_ref()
        .map_or(MaterialChange::None, MaterialChange::Set);
    token
        .commit(&[ObjectChange::Put {
            object,
            realm,
            metadata,
            material,
        }])
        .unwrap();
    object
}

fn loaded(token: &TokenVault, realm: Realm) -> Result<Vec<(u64, Vec<u8>)>, VaultError> {
    let mut seen = Vec::new();
    token.load(realm, |object, metadata| {
        seen.push((object, metadata.to_vec()));
        Ok(())
    })?;
    Ok(seen)
}

fn material(token: &TokenVault, realm: Realm, object: u64) -> Result<Vec<u8>, VaultError> {
    Ok(token.material(realm, object)?.with(<[u8]>::to_vec))
}

fn limits() -> Limits {
    Limits {
        user_tries_max: 4,
        so_tries_max: 5,
        ..Limits::default()
    }
}

/// A store that keeps what a copy of the disk would have been after each commit.
#[derive(Default)]
struct Film {
    store: MemoryStore,
    frames: Mutex<Vec<Arc<MemoryStore>>>,
}

impl Film {
    fn of(store: MemoryStore) -> Arc<Self> {
        Arc::new(Self {
            store,
            frames: Mutex::default(),
        })
    }

    fn frames(&self) -> Vec<Arc<MemoryStore>> {
        std::mem::take(&mut *self.frames.lock())
    }
}

impl Store for Film {
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
        self.frames.lock().push(Arc::new(self.store.duplicate()));
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.store.snapshot()
    }
}
