//! Many objects that come from elsewhere, into the vault and into memory at once.
//!
//! What lives here: their sealing, which locks nothing, and their commit.
//! What must never live here: whether they may come (chapter of importing).
//! Who calls it: the service, for imports.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_keymem::SecretBytes;
use strongroom_wire::request::ObjectHandle;

use super::{ENDLESS, Token, encode, realm_of};
use crate::attribute::Attributes;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::object::{Object, Place};
use crate::vault::{Batch, OpenRealm, VaultError};

/// Seals an object as a part of a batch; gives its number.
///
/// # Errors
/// When locked memory is used up.
pub fn seal_into(
    batch: &mut Batch<'_>,
    attributes: &Attributes,
    secret: Option<&SecretBytes>,
) -> Result<u64> {
    Ok(batch.put(realm_of(attributes), &encode(attributes)?, secret)?)
}

/// What is stored of an object that is no secret.
///
/// # Errors
/// When memory is used up.
pub fn metadata(attributes: &Attributes) -> Result<Vec<u8>> {
    encode(attributes)
}

impl Token {
    /// The private realm as it is open now, for objects that will come later.
    ///
    /// # Errors
    /// [`VaultError::RealmClosed`] before any login.
    pub fn opened_realm(&self) -> std::result::Result<OpenRealm, VaultError> {
        self.vault.opened_realm()
    }

    /// Whether so many more objects have room.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`].
    pub fn has_room(&self, more: usize, limits: &Limits) -> Result<()> {
        // What the vault counts, private objects that are not loaded yet included.
        let there = usize::try_from(self.counts().0).unwrap_or(usize::MAX);
        let fits = there.saturating_add(more) <= limits.token_objects_max;
        if fits && self.room.load(Ordering::Relaxed) >= more as u64 {
            Ok(())
        } else {
            Err(Error::DeviceMemory)
        }
    }

    /// Adds objects that come from elsewhere, all or none. `secret_of` gives the secret of the object at a place, when it is sealed: one at a
    /// time is in locked memory.
    ///
    /// # Errors
    /// When the store fails, there is no room, or the token was initialised anew since `realm` was opened; then nothing has changed.
    pub fn bring(
        &self,
        realm: &OpenRealm,
        arriving: Vec<Attributes>,
        secret_of: &dyn Fn(usize) -> Result<Option<SecretBytes>>,
        limits: &Limits,
    ) -> Result<()> {
        let mut batch = self.vault.batch(realm);
        let mut objects = Vec::with_capacity(arriving.len());
        for (at, attributes) in arriving.into_iter().enumerate() {
            let secret = secret_of(at)?;
            let number = seal_into(&mut batch, &attributes, secret.as_ref())?;
            let place = match secret {
                Some(_) => Place::Store,
                None => Place::Nowhere,
            };
            objects.push(Arc::new(Object::new(
                ObjectHandle(number),
                attributes,
                place,
            )));
        }
        let batch = batch.finish();
        let _change = self.change.lock();
        self.has_room(objects.len(), limits)?;
        let wanted = objects.len() as u64;
        self.vault.add(batch)?;
        let room = self.room.load(Ordering::Relaxed);
        if room != ENDLESS {
            self.room
                .store(room.saturating_sub(wanted), Ordering::Relaxed);
        }
        // The vault has compared the realm, so the private objects that were there are in memory too.
        let mut index = self.objects.write();
        for object in objects {
            index.insert(object);
        }
        Ok(())
    }
}
