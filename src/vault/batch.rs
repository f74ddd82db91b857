//! *What lives here:* many new objects on their way into one commit: sealed one by one while nothing is locked, and the stash in which
//! their secrets wait before it. *What must never live here:* what an object means, and the commit itself. *Who calls it:* the token,
//! for objects that come from elsewhere.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_keymem::{SecretBytes, SecretVec};

use super::census::{Census, Versions};
use super::draft::Draft;
use super::hierarchy::{self, TokenKeys};
use super::seal;
use super::{Realm, VaultError};
use crate::ports::{Change, RecordKey, RecordKind};

/// New objects, sealed as they are put in. Nothing of it is in the store before its commit.
pub struct Batch<'t> {
    keys: &'t TokenKeys,
    realm: Arc<SecretBytes>,
    next: &'t AtomicU64,
    draft: Draft<'t>,
    entries: Vec<(u64, Realm, Versions)>,
}

impl<'t> Batch<'t> {
    pub(super) fn new(keys: &'t TokenKeys, realm: Arc<SecretBytes>, next: &'t AtomicU64) -> Self {
        Self {
            keys,
            realm,
            next,
            draft: Draft::new(keys, &Census::new()),
            entries: Vec::new(),
        }
    }

    /// Seals one object; gives its number.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn put(
        &mut self,
        realm: Realm,
        metadata: &[u8],
        material: Option<&SecretBytes>,
    ) -> Result<u64, VaultError> {
        let object = self.next.fetch_add(1, Ordering::Relaxed);
        let mut versions = Versions {
            metadata: self.seal(RecordKind::Metadata, object, realm, metadata)?,
            material: 0,
        };
        if let Some(material) = material {
            versions.material = material
                .with(|material| self.seal(RecordKind::Material, object, realm, material))?;
        }
        *self.draft.census.counted(realm) += 1;
        self.entries.push((object, realm, versions));
        Ok(object)
    }

    fn seal(
        &mut self,
        kind: RecordKind,
        object: u64,
        realm: Realm,
        plaintext: &[u8],
    ) -> Result<u64, VaultError> {
        let key = RecordKey {
            kind,
            token: self.keys.token,
            object,
        };
        let record_key = match realm {
            Realm::Public => self.keys.record_key(key)?,
            Realm::Private => hierarchy::record_key(&self.realm, key)?,
        };
        let stamp = self.draft.put(&record_key, key, realm, plaintext, None)?;
        Ok(stamp.version)
    }

    /// All of them, ready for their commit.
    #[must_use]
    pub fn finish(self) -> SealedBatch {
        let (census, changes) = self.draft.into_parts();
        SealedBatch {
            realm: self.realm,
            census,
            changes,
            entries: self.entries,
        }
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Batch({})", self.entries.len())
    }
}

/// New objects as their records, sealed.
pub struct SealedBatch {
    /// Under which private ones are sealed.
    pub(super) realm: Arc<SecretBytes>,
    /// Counts and sums of these alone.
    pub(super) census: Census,
    pub(super) changes: Vec<Change>,
    pub(super) entries: Vec<(u64, Realm, Versions)>,
}

impl fmt::Debug for SealedBatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SealedBatch({})", self.entries.len())
    }
}

/// A private realm as a PIN has opened it. A token that is initialised anew has another one.
#[derive(Clone)]
pub struct OpenRealm(pub(super) Arc<SecretBytes>);

impl fmt::Debug for OpenRealm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OpenRealm")
    }
}

/// Where secrets wait that nobody may use yet: sealed, in ordinary memory, under a key that only this stash has. So many of them cost
/// no locked memory, and what is left of them when it is dropped is worth nothing.
pub struct Stash {
    key: SecretBytes,
    next: u64,
}

/// A secret in a stash.
pub struct Stashed {
    number: u64,
    sealed: Vec<u8>,
}

impl Stashed {
    /// How much memory it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed.len()
    }

    /// Whether it takes none; it never does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty()
    }
}

impl Stash {
    /// An empty one.
    ///
    /// # Errors
    /// [`VaultError`] without randomness or locked memory.
    pub fn new() -> Result<Self, VaultError> {
        Ok(Self {
            key: hierarchy::new_realm_key()?,
            next: 0,
        })
    }

    /// Takes a secret in.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn put(&mut self, secret: &SecretBytes) -> Result<Stashed, VaultError> {
        let number = self.next;
        self.next += 1;
        let record_key = hierarchy::record_key(&self.key, place(number))?;
        let (sealed, _) = secret
            .with(|secret| seal::seal(&record_key, place(number), Realm::Private, 1, secret))?;
        Ok(Stashed { number, sealed })
    }

    /// A secret, in locked memory again.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open(&self, stashed: &Stashed) -> Result<SecretBytes, VaultError> {
        let place = place(stashed.number);
        let record_key = hierarchy::record_key(&self.key, place)?;
        let mut plaintext = SecretVec::with_capacity(stashed.sealed.len())?;
        seal::open(&record_key, place, &stashed.sealed, &mut plaintext)?;
        Ok(SecretBytes::copy_from(plaintext.expose())?)
    }
}

impl fmt::Debug for Stash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Stash({})", self.next)
    }
}

impl fmt::Debug for Stashed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Stashed({} bytes)", self.sealed.len())
    }
}

/// No token has the number 0, so this is no record of a store.
const fn place(number: u64) -> RecordKey {
    RecordKey {
        kind: RecordKind::Material,
        token: 0,
        object: number,
    }
}
