//! What an application is answered.
//!
//! What lives here: one answer type; its body depends on the request.
//! What must never live here: C structures; the module pads and lays out.
//! Who calls it: the token writes them, the module reads them.

use serde::{Deserialize, Serialize};

use crate::ck::{MechanismType, Rv, SessionState};
use crate::codec::{self, List};
use crate::request::{FlatAttribute, ObjectHandle, SlotId, TEMPLATE_ATTRIBUTES_MAX};
use crate::secret::Secret;

/// Most slots, mechanisms or handles in one answer.
pub const ANSWER_ITEMS_MAX: usize = 1 << 20;

/// The return value of a daemon that steps down: the request was not carried out, and the connection ends. The client asks again on
/// another one. Of the numbers that the standard leaves to vendors (`CKR_VENDOR_DEFINED`); no application ever sees it.
pub const NOT_CARRIED_OUT: Rv = Rv(0x8000_0053);

/// An answer: the return value, and what comes with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer<'a> {
    /// The return value of the function.
    pub rv: Rv,
    /// What comes with it. [`Body::Empty`] with every error, unless the error comes with a length or with attributes.
    #[serde(borrow)]
    pub body: Body<'a>,
}

/// What comes with a return value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Body<'a> {
    /// Nothing.
    Empty,
    /// Answers `Hello`.
    Hello {
        /// Version of the daemon, major, minor and patch.
        daemon_version: [u8; 3],
        /// Most sessions of one application: the client counts those that it has not told of.
        sessions_max: u64,
    },
    /// Answers `SlotList`, ascending.
    Slots(List<SlotEntry, ANSWER_ITEMS_MAX>),
    /// Answers `SlotInfo`.
    SlotInfo(SlotInfo),
    /// Answers `TokenInfo`.
    TokenInfo(TokenInfo),
    /// Answers `Mechanisms`, in the order of the table.
    Mechanisms(List<MechanismEntry, ANSWER_ITEMS_MAX>),
    /// Answers `SessionInfo`.
    SessionInfo(SessionInfo),
    /// Answers whatever makes one object.
    Object(ObjectHandle),
    /// Answers `GenerateKeyPair`.
    KeyPair {
        /// The public key.
        public: ObjectHandle,
        /// The private key.
        private: ObjectHandle,
    },
    /// Answers `FindObjects`.
    Objects(List<ObjectHandle, ANSWER_ITEMS_MAX>),
    /// Answers `ObjectSize`, in bytes.
    Size(u64),
    /// Answers whatever has an output. With `CKR_BUFFER_TOO_SMALL` the data are empty.
    Output {
        /// The length to write into the caller's length variable, in bytes.
        length: u64,
        /// The output itself, unless only the length was asked.
        #[serde(borrow)]
        data: Secret<'a>,
    },
    /// Answers `AttributeValue`: one entry for each kind asked, in that order.
    Attributes(List<AttributeAnswer<'a>, TEMPLATE_ATTRIBUTES_MAX>),
    /// Answers a wrapping whose initialisation vector the token made, once the wrapped key fits; else `Output` does.
    Wrapped {
        /// The whole vector, as long as the one that was asked with.
        #[serde(serialize_with = "codec::bytes")]
        iv: &'a [u8],
        /// Length of the wrapped key in bytes.
        length: u64,
        /// The wrapped key.
        data: Secret<'a>,
    },
}

/// One attribute that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AttributeAnswer<'a> {
    /// Its bytes, as the C structure has them. They are no secret of the object, and the client may keep them until something changes.
    #[serde(borrow)]
    Open(#[serde(serialize_with = "codec::bytes")] &'a [u8]),
    /// Its bytes, which are a secret value that the object reveals: they are not kept.
    Secret(Secret<'a>),
    /// It is an array of attributes.
    Template(List<FlatAttribute<'a>, TEMPLATE_ATTRIBUTES_MAX>),
    /// It may not be revealed: `CKR_ATTRIBUTE_SENSITIVE`.
    Sensitive,
    /// The object has no such attribute: `CKR_ATTRIBUTE_TYPE_INVALID`.
    TypeInvalid,
}

/// One slot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SlotEntry {
    /// Its number.
    pub slot: SlotId,
    /// Whether a token is in it. The free slot holds an uninitialised token, so this is true for every slot of a running daemon.
    pub token_present: bool,
}

/// `CK_SLOT_INFO`, strings not padded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SlotInfo {
    /// At most 64 bytes of UTF-8.
    pub description: String,
    /// At most 32 bytes of UTF-8.
    pub manufacturer: String,
    /// `CKF_…` of a slot.
    pub flags: u64,
    /// Version of the hardware: of the protocol.
    pub hardware_version: [u8; 2],
    /// Version of the firmware: of the daemon.
    pub firmware_version: [u8; 2],
}

/// `CK_TOKEN_INFO`, strings not padded except the label.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "fields carry the names of the standard's structure"
)]
pub struct TokenInfo {
    /// Blank padded.
    pub label: [u8; 32],
    pub manufacturer: String,
    pub model: String,
    /// At most 16 bytes.
    pub serial_number: String,
    pub flags: u64,
    pub sessions_max: u64,
    pub sessions: u64,
    pub rw_sessions_max: u64,
    pub rw_sessions: u64,
    /// In bytes.
    pub pin_bytes_max: u64,
    /// In bytes.
    pub pin_bytes_min: u64,
    pub public_memory_total: u64,
    pub public_memory_free: u64,
    pub private_memory_total: u64,
    pub private_memory_free: u64,
    pub hardware_version: [u8; 2],
    pub firmware_version: [u8; 2],
    /// `YYYYMMDDhhmmss00`.
    pub utc_time: [u8; 16],
}

/// A mechanism with its `CK_MECHANISM_INFO`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct MechanismEntry {
    /// Which mechanism.
    pub kind: MechanismType,
    /// Smallest key, in the unit of the mechanism (bits for RSA and EC, bytes for AES and secrets).
    pub key_size_min: u64,
    /// Largest key, in the same unit.
    pub key_size_max: u64,
    /// `CKF_…` of a mechanism.
    pub flags: u64,
}

/// `CK_SESSION_INFO`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The slot of its token.
    pub slot: SlotId,
    /// Its state.
    pub state: SessionState,
    /// `CKF_…` of a session.
    pub flags: u64,
    /// An error code of the device; always zero.
    pub device_error: u64,
}
