//! Chapters: one file for each chapter of the standard. Each function parses, asks policy, acts.
//!
//! What lives here: [`Desk`], which every request of a session gets, and [`Reply`], what comes back.
//! What must never live here: encoding and audit (service), primitives (crypto).
//! Who calls it: the service's one match.

pub mod cipher;
pub mod digest;
pub mod dual;
pub mod importing;
pub mod keys;
pub mod objects;
pub mod random;
pub mod release;
pub mod sessions;
pub mod sign;
pub mod slots;
pub mod wrapping;

use std::sync::Arc;

use strongroom_keymem::SecretVec;
use strongroom_wire::ck::{AttributeType, MechanismType, UserType};
use strongroom_wire::request::ObjectHandle;
use strongroom_wire::response::{MechanismEntry, SessionInfo, SlotEntry, SlotInfo, TokenInfo};

use crate::attribute::draft::Asker;
use crate::calendar::Date;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::mechanism::{Mechanisms, Row, Use};
use crate::object::Object;
use crate::policy::Rules;
use crate::service::Numbers;
use crate::session::Session;

/// What every request of a session gets.
#[derive(Debug)]
pub struct Desk<'s> {
    /// The session.
    pub session: &'s Arc<Session>,
    /// Today's date, for keys that have dates.
    pub today: Date,
    /// Bounds in force.
    pub limits: &'s Limits,
    /// Mechanisms that may be used.
    pub mechanisms: &'s Mechanisms,
    /// Gives numbers to session objects.
    pub numbers: &'s Numbers,
    /// What releases need.
    pub releasing: release::Releasing<'s>,
}

impl Desk<'_> {
    /// An object that this session sees: session objects of its application, token objects, private ones only with the user logged in.
    #[must_use]
    pub fn object(&self, handle: ObjectHandle) -> Option<Arc<Object>> {
        self.session.object(handle)
    }

    /// Whether an object is there for this session.
    #[must_use]
    pub fn sees(&self, object: &Object) -> bool {
        self.session.sees(object)
    }

    /// The row of a mechanism that a function may use.
    ///
    /// # Errors
    /// [`Error::MechanismInvalid`].
    pub fn mechanism(&self, kind: MechanismType, function: Use) -> Result<&'static Row> {
        self.mechanisms
            .row(kind)
            .filter(|row| row.serves(function))
            .ok_or(Error::MechanismInvalid)
    }

    /// A key to work with.
    ///
    /// # Errors
    /// [`Error::KeyHandleInvalid`].
    pub fn key(&self, handle: ObjectHandle) -> Result<Arc<Object>> {
        // PKCS#11 3.2, 5.1.6: a handle of an object that is no key is no handle of a key.
        self.object(handle)
            .filter(|object| object.is_key())
            .ok_or(Error::KeyHandleInvalid)
    }

    /// What policy judges by, besides the key.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            today: self.today,
            rsa_bits_min: self.limits.rsa_use_bits_min(),
        }
    }

    /// Who asks, as far as attributes care.
    #[must_use]
    pub fn asker(&self) -> Asker {
        if self.session.user() == Some(UserType::SO) {
            Asker::Officer
        } else {
            Asker::Other
        }
    }
}

/// What a request is answered.
#[derive(Debug)]
#[allow(
    missing_docs,
    reason = "the names are those of the answers on the wire"
)]
pub enum Reply {
    Empty,
    Slots(Vec<SlotEntry>),
    SlotInfo(SlotInfo),
    TokenInfo(Box<TokenInfo>),
    Mechanisms(Vec<MechanismEntry>),
    SessionInfo(SessionInfo),
    Object(ObjectHandle),
    KeyPair {
        public: ObjectHandle,
        private: ObjectHandle,
    },
    Objects(Vec<ObjectHandle>),
    /// In bytes.
    Size(u64),
    /// An output; without data when only its length was asked.
    Output {
        length: u64,
        data: Option<SecretVec>,
    },
    /// A wrapped key, with the initialisation vector that was made for it.
    Wrapped {
        iv: Box<[u8]>,
        length: u64,
        data: SecretVec,
    },
    /// The caller's buffer is too small for this many bytes.
    TooSmall {
        length: u64,
    },
    Attributes(Vec<AttributeReply>),
}

/// One attribute that was asked for.
#[derive(Debug)]
#[allow(
    missing_docs,
    reason = "the names are those of the answers on the wire"
)]
pub enum AttributeReply {
    Open(Vec<u8>),
    Secret(SecretVec),
    Template(Vec<(AttributeType, Vec<u8>)>),
    Sensitive,
    TypeInvalid,
}
