//! Objects: what a token holds.
//!
//! What lives here: [`Object`], its material and its open key ([`open_key`]), and how objects are found ([`index`]).
//! What must never live here: who may see or use an object (policy), or which attributes it may have (attribute).
//! Who calls it: the token, applications, chapters.

pub mod index;
pub mod material;
pub mod open_key;

use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_wire::ck::{AttributeType, KeyType, ObjectClass};
use strongroom_wire::request::ObjectHandle;

use crate::attribute::Attributes;
pub use material::Material;
pub use open_key::OpenKey;

/// First handle of session objects. Those of token objects are their numbers, counted from 1, and stay below.
pub const SESSION_OBJECT_FIRST: u64 = 1 << 40;

/// An object: attributes that are no secrets, and perhaps material. Never changed: a change makes another one in its place.
#[derive(Debug)]
pub struct Object {
    /// Its handle, the same for every session of its token.
    pub handle: ObjectHandle,
    /// What it says of itself.
    pub attributes: Attributes,
    /// Where its secret values are.
    pub place: Place,
    /// The key made ready for use, once somebody has used it.
    pub(crate) open: Mutex<Option<Arc<OpenKey>>>,
}

/// Where the secret values of an object are.
#[derive(Debug)]
pub enum Place {
    /// It has none.
    Nowhere,
    /// In locked memory: a session object.
    Memory(Arc<Material>),
    /// Sealed in the store: a token object.
    Store,
}

impl Object {
    /// An object as it is made or loaded.
    #[must_use]
    pub fn new(handle: ObjectHandle, attributes: Attributes, place: Place) -> Self {
        Self {
            handle,
            attributes,
            place,
            open: Mutex::new(None),
        }
    }

    /// `CKA_CLASS`.
    #[must_use]
    pub fn class(&self) -> ObjectClass {
        ObjectClass(
            self.attributes
                .number(AttributeType::CLASS)
                .unwrap_or(u64::MAX),
        )
    }

    /// `CKA_KEY_TYPE`, of keys and domain parameters.
    #[must_use]
    pub fn key_type(&self) -> Option<KeyType> {
        self.attributes.number(AttributeType::KEY_TYPE).map(KeyType)
    }

    /// Whether it is a public, private or secret key.
    #[must_use]
    pub fn is_key(&self) -> bool {
        matches!(
            self.class(),
            ObjectClass::PUBLIC_KEY | ObjectClass::PRIVATE_KEY | ObjectClass::SECRET_KEY
        )
    }

    /// A boolean attribute; one that it does not have is false.
    #[must_use]
    pub fn is(&self, flag: AttributeType) -> bool {
        self.attributes.flag(flag).unwrap_or(false)
    }

    /// `CKA_UNIQUE_ID`, for the audit.
    #[must_use]
    pub fn unique_id(&self) -> &str {
        self.attributes
            .bytes(AttributeType::UNIQUE_ID)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or("")
    }
}

#[cfg(test)]
mod tests;
