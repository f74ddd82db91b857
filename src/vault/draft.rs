//! *What lives here:* one commit in the making: sealed changes, and the census that will be true after them. *What must never live
//! here:* the store. *Who calls it:* a token, for every commit; nothing else writes a census.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::codec;

use super::census::Census;
use super::hierarchy::TokenKeys;
use super::seal::{self, Stamp};
use super::{Realm, VaultError, removed, tampered};
use crate::ports::{Change, RecordKey, RecordKind, Store};
use crate::sink::Locked;

/// A commit in the making.
pub(super) struct Draft<'t> {
    keys: &'t TokenKeys,
    /// What the census will say. The sums are kept by the methods, the rest by the caller.
    pub(super) census: Census,
    changes: Vec<Change>,
}

impl<'t> Draft<'t> {
    /// Starts from the census as it stands.
    pub(super) fn new(keys: &'t TokenKeys, census: &Census) -> Self {
        Self {
            keys,
            census: census.clone(),
            changes: Vec::new(),
        }
    }

    /// Seals a record in the place of the old one, or of none.
    pub(super) fn put(
        &mut self,
        record_key: &SecretBytes,
        key: RecordKey,
        realm: Realm,
        plaintext: &[u8],
        old: Option<&Stamp>,
    ) -> Result<Stamp, VaultError> {
        let version = old.map_or(1, |old| old.version + 1);
        let (sealed, stamp) = seal::seal(record_key, key, realm, version, plaintext)?;
        if let Some(old) = old {
            self.census.sums.subtract(key, self.keys.term(key, old)?);
        }
        self.census.sums.add(key, self.keys.term(key, &stamp)?);
        self.changes.push(Change::Put(key, sealed));
        Ok(stamp)
    }

    /// Seals a record of the token's own, which needs no PIN.
    pub(super) fn put_own<T: Serialize>(
        &mut self,
        kind: RecordKind,
        body: &T,
        old: Option<&Stamp>,
    ) -> Result<Stamp, VaultError> {
        let key = RecordKey {
            kind,
            token: self.keys.token,
            object: 0,
        };
        let plaintext = encoded(body)?;
        self.put(
            &self.keys.record_key(key)?,
            key,
            Realm::Public,
            plaintext.expose(),
            old,
        )
    }

    /// Removes a record.
    pub(super) fn delete(&mut self, key: RecordKey, old: &Stamp) -> Result<(), VaultError> {
        self.census.sums.subtract(key, self.keys.term(key, old)?);
        self.changes.push(Change::Delete(key));
        Ok(())
    }

    /// Removes records without looking at what they were: the sums start again from the token's own records, which stay.
    pub(super) fn clear(
        &mut self,
        doomed: impl Iterator<Item = RecordKey>,
        staying: [(RecordKind, &Stamp); 2],
    ) -> Result<(), VaultError> {
        self.census = Census {
            next_object: self.census.next_object,
            ..Census::new()
        };
        for (kind, stamp) in staying {
            let key = RecordKey {
                kind,
                token: self.keys.token,
                object: 0,
            };
            self.census.sums.add(key, self.keys.term(key, stamp)?);
        }
        self.changes.extend(doomed.map(Change::Delete));
        Ok(())
    }

    /// Takes in another draft of the same token, of records that are not in this one.
    pub(super) fn absorb(&mut self, census: &Census, changes: Vec<Change>) {
        self.census.public += census.public;
        self.census.private += census.private;
        self.census.sums.merge(&census.sums);
        self.changes.extend(changes);
    }

    /// Counts and sums, and the changes, of a draft that another one will absorb.
    pub(super) fn into_parts(self) -> (Census, Vec<Change>) {
        (self.census, self.changes)
    }

    /// The census that will stand, and all changes with the census itself among them.
    pub(super) fn finish(
        mut self,
        census_version: u64,
    ) -> Result<(Census, Vec<Change>), VaultError> {
        let key = RecordKey {
            kind: RecordKind::Census,
            token: self.keys.token,
            object: 0,
        };
        let plaintext = encoded(&self.census)?;
        let record_key = self.keys.record_key(key)?;
        let (sealed, _) = seal::seal(
            &record_key,
            key,
            Realm::Public,
            census_version,
            plaintext.expose(),
        )?;
        self.changes.push(Change::Put(key, sealed));
        Ok((self.census, self.changes))
    }
}

/// Reads a record that needs no PIN and must be there.
pub(super) fn read_own<T: for<'de> Deserialize<'de>>(
    store: &Arc<dyn Store>,
    keys: &TokenKeys,
    kind: RecordKind,
) -> Result<(T, Stamp), VaultError> {
    let key = RecordKey {
        kind,
        token: keys.token,
        object: 0,
    };
    let Some(sealed) = store.record(key)? else {
        return Err(removed(key));
    };
    let mut plaintext = SecretVec::new();
    let stamp = seal::open(&keys.record_key(key)?, key, &sealed, &mut plaintext)?;
    Ok((decoded(key, plaintext.expose())?, stamp))
}

/// A record's body as bytes, in locked memory.
pub(super) fn encoded<T: Serialize>(body: &T) -> Result<SecretVec, VaultError> {
    let mut plaintext = SecretVec::new();
    codec::encode(body, &mut Locked(&mut plaintext)).map_err(|_| VaultError::Memory)?;
    Ok(plaintext)
}

/// A record's body from bytes.
pub(super) fn decoded<'a, T: Deserialize<'a>>(
    key: RecordKey,
    plaintext: &'a [u8],
) -> Result<T, VaultError> {
    codec::decode(plaintext).map_err(|_| tampered(key))
}
