//! What an application asks: one variant per function that needs the daemon.
//!
//! What lives here: requests, borrowing from their frame, and the parts they are made of.
//! What must never live here: administration ([`crate::admin`]): an application cannot even spell it.
//! Who calls it: the module writes them, the token answers them.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ck::{AttributeType, Rv, UserType};
use crate::codec::{self, List};
pub use crate::mechanism::{Mechanism, OaepParameter, Parameter};
pub use crate::release::KeyRelease;
use crate::secret::Secret;

/// Most attributes in one template.
pub const TEMPLATE_ATTRIBUTES_MAX: usize = 256;

/// Makes a newtype over a `CK_ULONG` that names something.
macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

handle! {
    /// A slot (`CK_SLOT_ID`).
    SlotId
}
handle! {
    /// A session (`CK_SESSION_HANDLE`). Zero is never one.
    SessionHandle
}
handle! {
    /// An object (`CK_OBJECT_HANDLE`). Zero is never one.
    ObjectHandle
}

/// The bytes of one attribute that is no array of attributes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FlatAttribute<'a> {
    /// Which attribute.
    pub kind: AttributeType,
    /// Its value as the C structure has it: numbers native-endian, 8 bytes; booleans 1 byte.
    #[serde(borrow)]
    pub value: Secret<'a>,
}

/// The value of an attribute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value<'a> {
    /// Bytes as in [`FlatAttribute::value`].
    #[serde(borrow)]
    Bytes(Secret<'a>),
    /// An array of attributes (`CKF_ARRAY_ATTRIBUTE`). One level: an array within an array cannot be spelled.
    Template(List<FlatAttribute<'a>, TEMPLATE_ATTRIBUTES_MAX>),
}

/// One attribute of a template.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attribute<'a> {
    /// Which attribute.
    pub kind: AttributeType,
    /// Its value.
    #[serde(borrow)]
    pub value: Value<'a>,
}

/// A template as the application alleges it.
pub type Template<'a> = List<Attribute<'a>, TEMPLATE_ATTRIBUTES_MAX>;

/// What an application wants of an output of variable length (PKCS#11 3.2, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// The buffer is `NULL_PTR`: only the length.
    Size,
    /// The buffer takes this many bytes.
    Capacity(u64),
}

impl Output {
    /// What can be said of an output of a known length before it is made (PKCS#11 3.2, 5.2): its length where that was asked, and that it
    /// does not fit. None where it must be made.
    #[must_use]
    pub const fn short(self, length: u64) -> Option<Rv> {
        match self {
            Self::Size => Some(Rv::OK),
            Self::Capacity(capacity) if capacity < length => Some(Rv::BUFFER_TOO_SMALL),
            Self::Capacity(_) => None,
        }
    }
}

/// Which two operations a part goes through (PKCS#11 3.2, 5.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dual {
    /// C_DigestEncryptUpdate.
    DigestEncrypt,
    /// C_DecryptDigestUpdate.
    DecryptDigest,
    /// C_SignEncryptUpdate.
    SignEncrypt,
    /// C_DecryptVerifyUpdate.
    DecryptVerify,
}

/// One request. Field `session` is always a session of the application that asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "fields carry the names of the standard's arguments"
)]
pub enum Request<'a> {
    /// The first message of every connection: which instance of the module in this process it belongs to.
    Hello {
        instance: [u8; 16],
        /// Whether the client can use shared memory; then a descriptor may come with the answer.
        shared_memory: bool,
    },
    /// The process has called C_Finalize: everything it owned ends.
    Goodbye,
    SlotList,
    SlotInfo {
        slot: SlotId,
    },
    TokenInfo {
        slot: SlotId,
    },
    /// Every mechanism with its sizes and flags; the module answers C_GetMechanismList and C_GetMechanismInfo from it.
    Mechanisms {
        slot: SlotId,
    },
    InitToken {
        slot: SlotId,
        #[serde(borrow)]
        pin: Secret<'a>,
        /// Blank padded, 32 bytes.
        label: [u8; 32],
    },
    InitPin {
        session: SessionHandle,
        pin: Secret<'a>,
    },
    SetPin {
        session: SessionHandle,
        old: Secret<'a>,
        new: Secret<'a>,
    },
    /// The client chooses the handle: one that it has not used before, and never zero.
    OpenSession {
        slot: SlotId,
        flags: u64,
        session: SessionHandle,
    },
    CloseSession {
        session: SessionHandle,
    },
    CloseAllSessions {
        slot: SlotId,
    },
    SessionInfo {
        session: SessionHandle,
    },
    SessionCancel {
        session: SessionHandle,
        flags: u64,
    },
    Login {
        session: SessionHandle,
        user: UserType,
        pin: Secret<'a>,
    },
    LoginUser {
        session: SessionHandle,
        user: UserType,
        pin: Secret<'a>,
        #[serde(serialize_with = "codec::bytes")]
        username: &'a [u8],
    },
    Logout {
        session: SessionHandle,
    },
    CreateObject {
        session: SessionHandle,
        template: Template<'a>,
    },
    CopyObject {
        session: SessionHandle,
        object: ObjectHandle,
        template: Template<'a>,
    },
    DestroyObject {
        session: SessionHandle,
        object: ObjectHandle,
    },
    ObjectSize {
        session: SessionHandle,
        object: ObjectHandle,
    },
    /// C_GetAttributeValue: values come whole, the module fits them into the buffers.
    AttributeValue {
        session: SessionHandle,
        object: ObjectHandle,
        kinds: List<AttributeType, TEMPLATE_ATTRIBUTES_MAX>,
    },
    SetAttributeValue {
        session: SessionHandle,
        object: ObjectHandle,
        template: Template<'a>,
    },
    FindObjectsInit {
        session: SessionHandle,
        template: Template<'a>,
    },
    FindObjects {
        session: SessionHandle,
        max: u64,
    },
    FindObjectsFinal {
        session: SessionHandle,
    },
    /// C_EncryptInit and its kin; no mechanism cancels the operation (PKCS#11 3.0, 5.8.1).
    EncryptInit {
        session: SessionHandle,
        mechanism: Option<Mechanism<'a>>,
        key: ObjectHandle,
    },
    Encrypt {
        session: SessionHandle,
        data: Secret<'a>,
        output: Output,
    },
    EncryptUpdate {
        session: SessionHandle,
        part: Secret<'a>,
        output: Output,
    },
    EncryptFinal {
        session: SessionHandle,
        output: Output,
    },
    DecryptInit {
        session: SessionHandle,
        mechanism: Option<Mechanism<'a>>,
        key: ObjectHandle,
    },
    Decrypt {
        session: SessionHandle,
        data: Secret<'a>,
        output: Output,
    },
    DecryptUpdate {
        session: SessionHandle,
        part: Secret<'a>,
        output: Output,
    },
    DecryptFinal {
        session: SessionHandle,
        output: Output,
    },
    DigestInit {
        session: SessionHandle,
        mechanism: Option<Mechanism<'a>>,
    },
    Digest {
        session: SessionHandle,
        data: Secret<'a>,
        output: Output,
    },
    DigestUpdate {
        session: SessionHandle,
        part: Secret<'a>,
    },
    DigestKey {
        session: SessionHandle,
        key: ObjectHandle,
    },
    DigestFinal {
        session: SessionHandle,
        output: Output,
    },
    SignInit {
        session: SessionHandle,
        mechanism: Option<Mechanism<'a>>,
        key: ObjectHandle,
    },
    Sign {
        session: SessionHandle,
        data: Secret<'a>,
        output: Output,
    },
    SignUpdate {
        session: SessionHandle,
        part: Secret<'a>,
    },
    SignFinal {
        session: SessionHandle,
        output: Output,
    },
    SignRecoverInit {
        session: SessionHandle,
        mechanism: Option<Mechanism<'a>>,
        key: ObjectHandle,
    },
    SignRecover {
        session: SessionHandle,
        data: Secret<'a>,
        output: Output,
    },
    VerifyInit {
        session: SessionHandle,
        mechanism: Option<Mechanism<'a>>,
        key: ObjectHandle,
    },
    Verify {
        session: SessionHandle,
        data: Secret<'a>,
        #[serde(serialize_with = "codec::bytes")]
        signature: &'a [u8],
    },
    VerifyUpdate {
        session: SessionHandle,
        part: Secret<'a>,
    },
    VerifyFinal {
        session: SessionHandle,
        #[serde(serialize_with = "codec::bytes")]
        signature: &'a [u8],
    },
    VerifyRecoverInit {
        session: SessionHandle,
        mechanism: Option<Mechanism<'a>>,
        key: ObjectHandle,
    },
    VerifyRecover {
        session: SessionHandle,
        #[serde(serialize_with = "codec::bytes")]
        signature: &'a [u8],
        output: Output,
    },
    GenerateKey {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        template: Template<'a>,
    },
    GenerateKeyPair {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        public: Template<'a>,
        private: Template<'a>,
    },
    WrapKey {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        wrapping_key: ObjectHandle,
        key: ObjectHandle,
        output: Output,
    },
    UnwrapKey {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        unwrapping_key: ObjectHandle,
        #[serde(serialize_with = "codec::bytes")]
        wrapped: &'a [u8],
        template: Template<'a>,
    },
    DeriveKey {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        base_key: ObjectHandle,
        template: Template<'a>,
    },
    /// The four functions that do two things with one part (PKCS#11 3.2, 5.16).
    DualUpdate {
        session: SessionHandle,
        dual: Dual,
        part: Secret<'a>,
        output: Output,
    },
    /// C_VerifySignatureInit: the signature comes before the data.
    VerifySignatureInit {
        session: SessionHandle,
        mechanism: Option<Mechanism<'a>>,
        key: ObjectHandle,
        #[serde(serialize_with = "codec::bytes")]
        signature: &'a [u8],
    },
    VerifySignature {
        session: SessionHandle,
        data: Secret<'a>,
    },
    VerifySignatureUpdate {
        session: SessionHandle,
        part: Secret<'a>,
    },
    VerifySignatureFinal {
        session: SessionHandle,
    },
    SeedRandom {
        session: SessionHandle,
        seed: Secret<'a>,
    },
    GenerateRandom {
        session: SessionHandle,
        bytes: u64,
    },
    /// C_SignInit and C_Sign in one: if either fails, nothing is active afterwards, except that a size or a buffer too small leaves the
    /// operation active as C_Sign does.
    SignOnce {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        key: ObjectHandle,
        data: Secret<'a>,
        output: Output,
    },
    /// C_VerifyInit and C_Verify in one.
    VerifyOnce {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        key: ObjectHandle,
        data: Secret<'a>,
        #[serde(serialize_with = "codec::bytes")]
        signature: &'a [u8],
    },
    /// C_EncryptInit and C_Encrypt in one.
    EncryptOnce {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        key: ObjectHandle,
        data: Secret<'a>,
        output: Output,
    },
    /// C_DecryptInit and C_Decrypt in one.
    DecryptOnce {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        key: ObjectHandle,
        data: Secret<'a>,
        output: Output,
    },
    /// Logs in by a ticket that an earlier daemon gave with the answer to a login; a try of a PIN is not counted.
    RestoreLogin {
        session: SessionHandle,
        ticket: Secret<'a>,
    },
    /// Releases a key to a proven place, in a signed envelope (docs/release.md). Of no function of PKCS#11: for gateways, which are clients
    /// as others are.
    ReleaseKey {
        session: SessionHandle,
        key: ObjectHandle,
        release: KeyRelease<'a>,
    },
    WrapKeyAuthenticated {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        wrapping_key: ObjectHandle,
        key: ObjectHandle,
        #[serde(serialize_with = "codec::bytes")]
        associated: &'a [u8],
        output: Output,
    },
    UnwrapKeyAuthenticated {
        session: SessionHandle,
        mechanism: Mechanism<'a>,
        unwrapping_key: ObjectHandle,
        #[serde(serialize_with = "codec::bytes")]
        wrapped: &'a [u8],
        template: Template<'a>,
        #[serde(serialize_with = "codec::bytes")]
        associated: &'a [u8],
    },
}

impl Request<'_> {
    /// The session it is made in, if it is made in one. The session that a request opens does not count.
    #[rustfmt::skip]
    #[must_use]
    pub const fn session(&self) -> Option<SessionHandle> {
        match self {
            Self::Hello { .. } | Self::Goodbye | Self::SlotList | Self::SlotInfo { .. } | Self::TokenInfo { .. } | Self::Mechanisms { .. }
            | Self::InitToken { .. } | Self::OpenSession { .. } | Self::CloseAllSessions { .. } => None,
            Self::CloseSession { session } | Self::InitPin { session, .. } | Self::SetPin { session, .. } | Self::SessionInfo { session }
            | Self::SessionCancel { session, .. } | Self::Login { session, .. } | Self::LoginUser { session, .. } | Self::Logout { session }
            | Self::CreateObject { session, .. } | Self::CopyObject { session, .. } | Self::DestroyObject { session, .. }
            | Self::ObjectSize { session, .. } | Self::AttributeValue { session, .. } | Self::SetAttributeValue { session, .. }
            | Self::FindObjectsInit { session, .. } | Self::FindObjects { session, .. } | Self::FindObjectsFinal { session }
            | Self::EncryptInit { session, .. } | Self::Encrypt { session, .. } | Self::EncryptUpdate { session, .. } | Self::EncryptFinal { session, .. }
            | Self::DecryptInit { session, .. } | Self::Decrypt { session, .. } | Self::DecryptUpdate { session, .. } | Self::DecryptFinal { session, .. }
            | Self::DigestInit { session, .. } | Self::Digest { session, .. } | Self::DigestUpdate { session, .. } | Self::DigestKey { session, .. } | Self::DigestFinal { session, .. }
            | Self::SignInit { session, .. } | Self::Sign { session, .. } | Self::SignUpdate { session, .. } | Self::SignFinal { session, .. }
            | Self::SignRecoverInit { session, .. } | Self::SignRecover { session, .. }
            | Self::VerifyInit { session, .. } | Self::Verify { session, .. } | Self::VerifyUpdate { session, .. } | Self::VerifyFinal { session, .. }
            | Self::VerifyRecoverInit { session, .. } | Self::VerifyRecover { session, .. }
            | Self::GenerateKey { session, .. } | Self::GenerateKeyPair { session, .. } | Self::WrapKey { session, .. } | Self::UnwrapKey { session, .. }
            | Self::DualUpdate { session, .. } | Self::VerifySignatureInit { session, .. } | Self::VerifySignature { session, .. }
            | Self::VerifySignatureUpdate { session, .. } | Self::VerifySignatureFinal { session }
            | Self::SignOnce { session, .. } | Self::VerifyOnce { session, .. } | Self::EncryptOnce { session, .. } | Self::DecryptOnce { session, .. }
            | Self::DeriveKey { session, .. } | Self::SeedRandom { session, .. } | Self::GenerateRandom { session, .. }
            | Self::RestoreLogin { session, .. } | Self::ReleaseKey { session, .. }
            | Self::WrapKeyAuthenticated { session, .. } | Self::UnwrapKeyAuthenticated { session, .. } => Some(*session),
        }
    }
}
