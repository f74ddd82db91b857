//! *What lives here:* the changes of objects, and the one commit that carries them out. *What must never live here:* what an object
//! means. *Who calls it:* the chapters of objects and keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_keymem::SecretBytes;

use super::batch::{Batch, OpenRealm, SealedBatch};
use super::census::Versions;
use super::draft::Draft;
use super::seal::Stamp;
use super::token::{TokenVault, Writer};
use super::{Realm, VaultError, removed, tampered};
use crate::ports::{RecordKey, RecordKind};

/// One change of a commit. An object may be named once in it.
#[derive(Debug)]
pub enum ObjectChange<'a> {
    /// Writes an object, new or not.
    Put {
        /// Its number, from [`TokenVault::next_object`].
        object: u64,
        /// Where it is from now on.
        realm: Realm,
        /// What may be seen of it without its secrets.
        metadata: &'a [u8],
        /// Its secrets.
        material: MaterialChange<'a>,
    },
    /// Destroys an object, which must exist.
    Delete {
        /// Its number.
        object: u64,
    },
}

/// What becomes of an object's secrets.
#[derive(Clone, Copy, Debug)]
pub enum MaterialChange<'a> {
    /// They stay as they are, if there are any.
    Keep,
    /// There are none any more.
    None,
    /// They are these.
    Set(&'a SecretBytes),
}

impl TokenVault {
    /// Carries out all changes or none; durable when it returns.
    ///
    /// # Errors
    /// [`VaultError`]; then nothing has changed, here or in the store.
    pub fn commit(&self, changes: &[ObjectChange<'_>]) -> Result<(), VaultError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut writer = self.writing()?;
        let mut draft = Draft::new(&self.keys, &writer.census);
        let mut named = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            let (ObjectChange::Put { object, .. } | ObjectChange::Delete { object }) = *change;
            if !named.insert(object) {
                return Err(VaultError::Twice(object));
            }
            let outcome = match *change {
                ObjectChange::Put {
                    object,
                    realm,
                    metadata,
                    material,
                } => {
                    let versions =
                        self.draft_put(&writer, &mut draft, object, realm, metadata, material)?;
                    Some((realm, versions))
                }
                ObjectChange::Delete { object } => {
                    self.draft_delete(&mut draft, object)?;
                    None
                }
            };
            outcomes.push((object, outcome));
        }
        draft.census.next_object = draft
            .census
            .next_object
            .max(self.next.load(Ordering::Relaxed));
        self.write(&mut writer, draft)?;
        let mut books = self.books.write();
        for (object, outcome) in outcomes {
            match outcome {
                Some((realm, versions)) => books.entries.put(object, realm, versions),
                None => books.entries.remove(object),
            }
        }
        Ok(())
    }

    /// The private realm as it is open now, for objects that will come later.
    ///
    /// # Errors
    /// [`VaultError::RealmClosed`] before any login.
    pub fn opened_realm(&self) -> Result<OpenRealm, VaultError> {
        self.realm_key().map(OpenRealm)
    }

    /// New objects that are sealed ahead of their commit.
    pub fn batch(&self, realm: &OpenRealm) -> Batch<'_> {
        Batch::new(&self.keys, Arc::clone(&realm.0), &self.next)
    }

    /// Commits a batch: all its objects, or none.
    ///
    /// # Errors
    /// [`VaultError::RealmClosed`] when the token was initialised anew since the realm was opened; else as [`Self::commit`].
    pub fn add(&self, batch: SealedBatch) -> Result<(), VaultError> {
        let mut writer = self.writing()?;
        let same = self
            .realm_key()?
            .with(|now| batch.realm.equals_in_constant_time(now));
        if !same {
            return Err(VaultError::RealmClosed);
        }
        let mut draft = Draft::new(&self.keys, &writer.census);
        draft.absorb(&batch.census, batch.changes);
        draft.census.next_object = draft
            .census
            .next_object
            .max(self.next.load(Ordering::Relaxed));
        self.write(&mut writer, draft)?;
        let mut books = self.books.write();
        for (object, realm, versions) in batch.entries {
            books.entries.put(object, realm, versions);
        }
        Ok(())
    }

    fn draft_put(
        &self,
        writer: &Writer,
        draft: &mut Draft<'_>,
        object: u64,
        realm: Realm,
        metadata: &[u8],
        material: MaterialChange<'_>,
    ) -> Result<Versions, VaultError> {
        // 0 stands for the token's own records, and a number that was never given would come back.
        if object == 0 || object >= self.next.load(Ordering::Relaxed) {
            return Err(VaultError::NoSuchObject(object));
        }
        let realm_key = self.opened(realm)?;
        let old = self.books.read().entries.find(object);
        let key = self.object_key(RecordKind::Metadata, object);
        *draft.census.counted(realm) += 1;
        let old_stamp = match old {
            Some((old_realm, versions)) => {
                *draft.census.counted(old_realm) -= 1;
                Some(self.stored(key, old_realm, versions.metadata)?)
            }
            None => None,
        };
        let record_key = self.record_key(&realm_key, key)?;
        let stamp = draft.put(&record_key, key, realm, metadata, old_stamp.as_ref())?;
        let material = match material {
            MaterialChange::Keep => self.draft_kept(writer, draft, object, realm, old)?,
            MaterialChange::None => self.draft_material(draft, object, realm, old, None)?,
            MaterialChange::Set(secret) => {
                self.draft_material(draft, object, realm, old, Some(secret))?
            }
        };
        Ok(Versions {
            metadata: stamp.version,
            material,
        })
    }

    /// Lets the material be, or seals it again when its object moves to another realm.
    fn draft_kept(
        &self,
        writer: &Writer,
        draft: &mut Draft<'_>,
        object: u64,
        realm: Realm,
        old: Option<(Realm, Versions)>,
    ) -> Result<u64, VaultError> {
        match old {
            Some((old_realm, versions)) if old_realm != realm && versions.material > 0 => {
                let key = self.object_key(RecordKind::Material, object);
                let kept = self.read_settled(writer, key, old_realm)?;
                let kept = SecretBytes::copy_from(kept.expose())?;
                self.draft_material(draft, object, realm, old, Some(&kept))
            }
            Some((_, versions)) => Ok(versions.material),
            None => Ok(0),
        }
    }

    fn draft_delete(&self, draft: &mut Draft<'_>, object: u64) -> Result<(), VaultError> {
        let found = self.books.read().entries.find(object);
        let (realm, versions) = found.ok_or(VaultError::NoSuchObject(object))?;
        let key = self.object_key(RecordKind::Metadata, object);
        draft.delete(key, &self.stored(key, realm, versions.metadata)?)?;
        self.draft_material(draft, object, realm, found, None)?;
        *draft.census.counted(realm) -= 1;
        Ok(())
    }

    /// Writes or removes an object's material; gives its new version.
    fn draft_material(
        &self,
        draft: &mut Draft<'_>,
        object: u64,
        realm: Realm,
        old: Option<(Realm, Versions)>,
        secret: Option<&SecretBytes>,
    ) -> Result<u64, VaultError> {
        let key = self.object_key(RecordKind::Material, object);
        let old = match old {
            Some((old_realm, versions)) if versions.material > 0 => {
                Some(self.stored(key, old_realm, versions.material)?)
            }
            Some(_) | None => None,
        };
        match (secret, old) {
            (Some(secret), old) => {
                let record_key = self.record_key(&self.opened(realm)?, key)?;
                let stamp = secret
                    .with(|secret| draft.put(&record_key, key, realm, secret, old.as_ref()))?;
                Ok(stamp.version)
            }
            (None, Some(old)) => draft.delete(key, &old).map(|()| 0),
            (None, None) => Ok(0),
        }
    }

    /// The stamp of a record that is about to be replaced. Kept in the store only, to keep an object small in memory.
    fn stored(&self, key: RecordKey, realm: Realm, version: u64) -> Result<Stamp, VaultError> {
        let sealed = self.store.record(key)?.ok_or_else(|| removed(key))?;
        let stamp = Stamp::of(key, &sealed)?;
        if (stamp.realm, stamp.version) == (realm, version) {
            Ok(stamp)
        } else {
            Err(tampered(key))
        }
    }
}
