//! Events: what the audit is told of a request.
//!
//! What lives here: the public facts of each request; never a PIN, a value or data.
//! What must never live here: how an event is written (audit).
//! Who calls it: the service.

use strongroom_wire::ck::{MechanismType, Rv};
use strongroom_wire::request::{Dual, Mechanism, ObjectHandle, Request, SessionHandle};

use crate::audit::{Event, Principal};
use crate::chapter::Reply;

/// What a request says of itself that may be written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Name of the function.
    pub(super) function: &'static str,
    /// Whether it logs in, makes, changes or destroys something.
    pub(super) management: bool,
    /// Slot.
    pub(super) slot: Option<u64>,
    /// Session.
    pub(super) session: Option<SessionHandle>,
    /// Object or key.
    pub(super) object: Option<ObjectHandle>,
    /// Mechanism.
    pub(super) mechanism: Option<MechanismType>,
}

impl Facts {
    /// Takes the facts of a request.
    pub(super) fn of(request: &Request<'_>) -> Self {
        let (function, management) = name(request);
        let slot = match request {
            Request::SlotInfo { slot }
            | Request::TokenInfo { slot }
            | Request::Mechanisms { slot }
            | Request::InitToken { slot, .. }
            | Request::OpenSession { slot, .. }
            | Request::CloseAllSessions { slot } => Some(slot.0),
            _ => None,
        };
        let (object, mechanism) = object_and_mechanism(request);
        let session = match request {
            Request::OpenSession { session, .. } => Some(*session),
            _ => request.session(),
        };
        Self {
            function,
            management,
            slot,
            session,
            object,
            mechanism: mechanism.map(|mechanism| mechanism.kind),
        }
    }

    /// The event, once it is known what came of it.
    pub(super) fn event<'e>(
        &self,
        who: &'e Principal,
        object_id: Option<&'e str>,
        reply: &Reply,
        rv: Rv,
    ) -> Event<'e> {
        let made = match reply {
            Reply::Object(object) => Some(*object),
            Reply::KeyPair { private, .. } => Some(*private),
            _ => None,
        };
        let slot = match reply {
            Reply::SessionInfo(info) => Some(info.slot),
            _ => None,
        };
        Event {
            who,
            function: self.function,
            management: self.management,
            slot: slot.map(|slot| slot.0).or(self.slot),
            session: self.session.map(|session| session.0),
            object: made.or(self.object).map(|object| object.0),
            object_id,
            mechanism: self.mechanism,
            import: None,
            release: None,
            rv,
        }
    }
}

/// The object or key that a request names, and its mechanism.
fn object_and_mechanism<'r>(
    request: &'r Request<'_>,
) -> (Option<ObjectHandle>, Option<&'r Mechanism<'r>>) {
    use Request as R;
    match request {
        R::CopyObject { object, .. }
        | R::DestroyObject { object, .. }
        | R::ObjectSize { object, .. }
        | R::AttributeValue { object, .. }
        | R::SetAttributeValue { object, .. } => (Some(*object), None),
        R::ReleaseKey { key, .. } => (Some(*key), None),
        R::EncryptInit { mechanism, key, .. }
        | R::DecryptInit { mechanism, key, .. }
        | R::SignInit { mechanism, key, .. }
        | R::SignRecoverInit { mechanism, key, .. }
        | R::VerifySignatureInit { mechanism, key, .. }
        | R::VerifyInit { mechanism, key, .. }
        | R::VerifyRecoverInit { mechanism, key, .. } => (Some(*key), mechanism.as_ref()),
        R::DigestInit { mechanism, .. } => (None, mechanism.as_ref()),
        R::DigestKey { key, .. } => (Some(*key), None),
        R::SignOnce { mechanism, key, .. }
        | R::VerifyOnce { mechanism, key, .. }
        | R::EncryptOnce { mechanism, key, .. }
        | R::DecryptOnce { mechanism, key, .. } => (Some(*key), Some(mechanism)),
        R::GenerateKey { mechanism, .. } | R::GenerateKeyPair { mechanism, .. } => {
            (None, Some(mechanism))
        }
        R::WrapKey { mechanism, key, .. } | R::WrapKeyAuthenticated { mechanism, key, .. } => {
            (Some(*key), Some(mechanism))
        }
        R::UnwrapKey {
            mechanism,
            unwrapping_key,
            ..
        }
        | R::UnwrapKeyAuthenticated {
            mechanism,
            unwrapping_key,
            ..
        } => (Some(*unwrapping_key), Some(mechanism)),
        R::DeriveKey {
            mechanism,
            base_key,
            ..
        } => (Some(*base_key), Some(mechanism)),
        _ => (None, None),
    }
}

/// The functions that a request carries out: two where an Init travels with its data.
pub(super) fn functions(request: &Request<'_>) -> Vec<&'static str> {
    use Request as R;
    let init = match request {
        R::SignOnce { .. } => Some("C_SignInit"),
        R::VerifyOnce { .. } => Some("C_VerifyInit"),
        R::EncryptOnce { .. } => Some("C_EncryptInit"),
        R::DecryptOnce { .. } => Some("C_DecryptInit"),
        _ => None,
    };
    init.into_iter().chain([name(request).0]).collect()
}

/// Name of the function, and whether it manages.
#[rustfmt::skip]
const fn name(request: &Request<'_>) -> (&'static str, bool) {
    use Request as R;
    match request {
        R::Hello { .. } => ("hello", false),
        R::Goodbye => ("C_Finalize", false),
        R::SlotList => ("C_GetSlotList", false),
        R::SlotInfo { .. } => ("C_GetSlotInfo", false),
        R::TokenInfo { .. } => ("C_GetTokenInfo", false),
        R::Mechanisms { .. } => ("C_GetMechanismList", false),
        R::InitToken { .. } => ("C_InitToken", true),
        R::InitPin { .. } => ("C_InitPIN", true),
        R::SetPin { .. } => ("C_SetPIN", true),
        R::OpenSession { .. } => ("C_OpenSession", false),
        R::CloseSession { .. } => ("C_CloseSession", false),
        R::CloseAllSessions { .. } => ("C_CloseAllSessions", false),
        R::SessionInfo { .. } => ("C_GetSessionInfo", false),
        R::SessionCancel { .. } => ("C_SessionCancel", false),
        R::Login { .. } => ("C_Login", true),
        R::LoginUser { .. } => ("C_LoginUser", true),
        R::Logout { .. } => ("C_Logout", true),
        R::CreateObject { .. } => ("C_CreateObject", true),
        R::CopyObject { .. } => ("C_CopyObject", true),
        R::DestroyObject { .. } => ("C_DestroyObject", true),
        R::ObjectSize { .. } => ("C_GetObjectSize", false),
        R::AttributeValue { .. } => ("C_GetAttributeValue", false),
        R::SetAttributeValue { .. } => ("C_SetAttributeValue", true),
        R::FindObjectsInit { .. } => ("C_FindObjectsInit", false),
        R::FindObjects { .. } => ("C_FindObjects", false),
        R::FindObjectsFinal { .. } => ("C_FindObjectsFinal", false),
        R::EncryptInit { .. } => ("C_EncryptInit", false),
        R::Encrypt { .. } | R::EncryptOnce { .. } => ("C_Encrypt", false),
        R::EncryptUpdate { .. } => ("C_EncryptUpdate", false),
        R::EncryptFinal { .. } => ("C_EncryptFinal", false),
        R::DecryptInit { .. } => ("C_DecryptInit", false),
        R::Decrypt { .. } | R::DecryptOnce { .. } => ("C_Decrypt", false),
        R::DecryptUpdate { .. } => ("C_DecryptUpdate", false),
        R::DecryptFinal { .. } => ("C_DecryptFinal", false),
        R::DigestInit { .. } => ("C_DigestInit", false),
        R::Digest { .. } => ("C_Digest", false),
        R::DigestUpdate { .. } => ("C_DigestUpdate", false),
        R::DigestKey { .. } => ("C_DigestKey", false),
        R::DigestFinal { .. } => ("C_DigestFinal", false),
        R::SignInit { .. } => ("C_SignInit", false),
        R::Sign { .. } | R::SignOnce { .. } => ("C_Sign", false),
        R::SignUpdate { .. } => ("C_SignUpdate", false),
        R::SignFinal { .. } => ("C_SignFinal", false),
        R::SignRecoverInit { .. } => ("C_SignRecoverInit", false),
        R::SignRecover { .. } => ("C_SignRecover", false),
        R::VerifyInit { .. } => ("C_VerifyInit", false),
        R::Verify { .. } | R::VerifyOnce { .. } => ("C_Verify", false),
        R::VerifyUpdate { .. } => ("C_VerifyUpdate", false),
        R::VerifyFinal { .. } => ("C_VerifyFinal", false),
        R::VerifyRecoverInit { .. } => ("C_VerifyRecoverInit", false),
        R::VerifyRecover { .. } => ("C_VerifyRecover", false),
        R::GenerateKey { .. } => ("C_GenerateKey", true),
        R::GenerateKeyPair { .. } => ("C_GenerateKeyPair", true),
        R::WrapKey { .. } | R::WrapKeyAuthenticated { .. } | R::UnwrapKey { .. } | R::UnwrapKeyAuthenticated { .. } => (wrapping_name(request), true),
        R::DeriveKey { .. } => ("C_DeriveKey", true),
        R::DualUpdate { dual, .. } => (dual_name(*dual), false),
        R::VerifySignatureInit { .. } => ("C_VerifySignatureInit", false),
        R::VerifySignature { .. } => ("C_VerifySignature", false),
        R::VerifySignatureUpdate { .. } => ("C_VerifySignatureUpdate", false),
        R::VerifySignatureFinal { .. } => ("C_VerifySignatureFinal", false),
        R::SeedRandom { .. } => ("C_SeedRandom", false),
        R::GenerateRandom { .. } => ("C_GenerateRandom", false),
        R::RestoreLogin { .. } => ("login.restored", true),
        R::ReleaseKey { .. } => ("key.release", true),
    }
}

/// Name of a function that wraps a key or unwraps one.
const fn wrapping_name(request: &Request<'_>) -> &'static str {
    use Request as R;
    match request {
        R::WrapKey { .. } => "C_WrapKey",
        R::WrapKeyAuthenticated { .. } => "C_WrapKeyAuthenticated",
        R::UnwrapKey { .. } => "C_UnwrapKey",
        _ => "C_UnwrapKeyAuthenticated",
    }
}

/// Name of a function that does two things with one part.
const fn dual_name(dual: Dual) -> &'static str {
    match dual {
        Dual::DigestEncrypt => "C_DigestEncryptUpdate",
        Dual::DecryptDigest => "C_DecryptDigestUpdate",
        Dual::SignEncrypt => "C_SignEncryptUpdate",
        Dual::DecryptVerify => "C_DecryptVerifyUpdate",
    }
}
