//! The match over the requests of a session.
//!
//! What lives here: one line a request, to its chapter; two where a client asks for two things at once.
//! What must never live here: anything else.
//! Who calls it: [`Service::dispatch`](super::Service).

use strongroom_wire::request::Request;

use super::tickets::ticket_of;
use super::{Service, Told};
use crate::application::Application;
use crate::chapter::{
    Desk, Reply, cipher, digest, dual, keys, objects, random, release, sessions, sign, wrapping,
};
use crate::error::{Error, Result};

impl Service {
    /// Requests of a session. An unknown session is refused before anything else is looked at.
    #[rustfmt::skip]
    #[allow(clippy::too_many_lines, reason = "a flat table: one line a request")]
    pub(super) fn dispatch_in_session(&self, application: &Application, request: &Request<'_>, account: &Told) -> Result<Reply> {
        use Request as R;
        let session = application.session(request.session().ok_or(Error::GeneralError)?)?;
        let settings = self.settings.read().clone();
        let desk = &self.desk(application, &session, &settings, account);
        match request {
            R::InitPin { pin, .. } => sessions::init_pin(desk, pin.expose()),
            R::SetPin { old, new, .. } => self.with_ticket(application, desk, sessions::set_pin(desk, old.expose(), new.expose())?, session.user()),
            R::SessionInfo { .. } => Ok(sessions::info(desk)),
            R::SessionCancel { flags, .. } => sessions::cancel(desk, *flags),
            R::Login { user, pin, .. } => self.with_ticket(application, desk, sessions::login(desk, *user, pin.expose())?, ticket_of(*user)),
            R::LoginUser { user, pin, username, .. } => self.with_ticket(application, desk, sessions::login_user(desk, *user, pin.expose(), username)?, ticket_of(*user)),
            R::Logout { .. } => sessions::logout(desk, application),
            R::CreateObject { template, .. } => objects::create(desk, template),
            R::CopyObject { object, template, .. } => objects::copy(desk, *object, template),
            R::DestroyObject { object, .. } => objects::destroy(desk, *object),
            R::ObjectSize { object, .. } => objects::size(desk, *object),
            R::AttributeValue { object, kinds, .. } => objects::attributes(desk, *object, kinds.items()),
            R::SetAttributeValue { object, template, .. } => objects::set_attributes(desk, *object, template),
            R::FindObjectsInit { template, .. } => objects::find_init(desk, template),
            R::FindObjects { max, .. } => objects::find_next(desk, *max),
            R::FindObjectsFinal { .. } => objects::find_final(desk),
            R::EncryptInit { mechanism, key, .. } => cipher::encrypt_init(desk, mechanism.as_ref(), *key),
            R::Encrypt { data, output, .. } => cipher::encrypt(desk, data.expose(), *output),
            R::EncryptUpdate { part, output, .. } => cipher::encrypt_update(desk, part.expose(), *output),
            R::EncryptFinal { output, .. } => cipher::encrypt_final(desk, *output),
            R::DecryptInit { mechanism, key, .. } => cipher::decrypt_init(desk, mechanism.as_ref(), *key),
            R::Decrypt { data, output, .. } => cipher::decrypt(desk, data.expose(), *output),
            R::DecryptUpdate { part, output, .. } => cipher::decrypt_update(desk, part.expose(), *output),
            R::DecryptFinal { output, .. } => cipher::decrypt_final(desk, *output),
            R::DigestInit { mechanism, .. } => digest::digest_init(desk, mechanism.as_ref()),
            R::Digest { data, output, .. } => digest::digest(desk, data.expose(), *output),
            R::DigestUpdate { part, .. } => digest::digest_update(desk, part.expose()),
            R::DigestKey { key, .. } => digest::digest_key(desk, *key),
            R::DigestFinal { output, .. } => digest::digest_final(desk, *output),
            R::SignInit { mechanism, key, .. } => sign::sign_init(desk, mechanism.as_ref(), *key),
            R::Sign { data, output, .. } => sign::sign(desk, data.expose(), *output),
            R::SignUpdate { part, .. } => sign::sign_update(desk, part.expose()),
            R::SignFinal { output, .. } => sign::sign_final(desk, *output),
            R::SignRecoverInit { mechanism, key, .. } => sign::sign_recover_init(desk, mechanism.as_ref(), *key),
            R::SignRecover { data, output, .. } => sign::sign_recover(desk, data.expose(), *output),
            R::VerifyInit { mechanism, key, .. } => sign::verify_init(desk, mechanism.as_ref(), *key),
            R::Verify { data, signature, .. } => sign::verify(desk, data.expose(), signature),
            R::VerifyUpdate { part, .. } => sign::verify_update(desk, part.expose()),
            R::VerifyFinal { signature, .. } => sign::verify_final(desk, signature),
            R::VerifyRecoverInit { mechanism, key, .. } => sign::verify_recover_init(desk, mechanism.as_ref(), *key),
            R::VerifyRecover { signature, output, .. } => sign::verify_recover(desk, signature, *output),
            R::GenerateKey { mechanism, template, .. } => keys::generate_key(desk, mechanism, template),
            R::GenerateKeyPair { mechanism, public, private, .. } => keys::generate_key_pair(desk, mechanism, public, private),
            R::WrapKey { mechanism, wrapping_key, key, output, .. } => wrapping::wrap_key(desk, mechanism, *wrapping_key, *key, None, *output),
            R::UnwrapKey { mechanism, unwrapping_key, wrapped, template, .. } => wrapping::unwrap_key(desk, mechanism, *unwrapping_key, wrapped, None, template),
            R::DeriveKey { mechanism, base_key, template, .. } => keys::derive::derive_key(desk, mechanism, *base_key, template),
            R::DualUpdate { dual, part, output, .. } => dual::update(desk, *dual, part.expose(), *output),
            R::VerifySignatureInit { mechanism, key, signature, .. } => sign::verify_signature_init(desk, mechanism.as_ref(), *key, signature),
            R::VerifySignature { data, .. } => sign::verify_signature(desk, data.expose()),
            R::VerifySignatureUpdate { part, .. } => sign::verify_signature_update(desk, part.expose()),
            R::VerifySignatureFinal { .. } => sign::verify_signature_final(desk),
            R::SeedRandom { seed, .. } => random::seed(desk, seed.expose()),
            R::GenerateRandom { bytes, .. } => random::generate(desk, *bytes),
            R::SignOnce { .. } | R::VerifyOnce { .. } | R::EncryptOnce { .. } | R::DecryptOnce { .. } => once(desk, request),
            R::ReleaseKey { key, release, .. } => release::release_key(desk, *key, release),
            R::WrapKeyAuthenticated { mechanism, wrapping_key, key, associated, output, .. } => wrapping::wrap_key(desk, mechanism, *wrapping_key, *key, Some(associated), *output),
            R::UnwrapKeyAuthenticated { mechanism, unwrapping_key, wrapped, template, associated, .. } => wrapping::unwrap_key(desk, mechanism, *unwrapping_key, wrapped, Some(associated), template),
            R::RestoreLogin { ticket, .. } => self.restore_login(application, desk, ticket.expose()),
            // Answered before a session is looked for.
            R::Hello { .. } | R::Goodbye | R::SlotList | R::SlotInfo { .. } | R::TokenInfo { .. } | R::Mechanisms { .. }
            | R::InitToken { .. } | R::OpenSession { .. } | R::CloseSession { .. } | R::CloseAllSessions { .. } => Err(Error::GeneralError),
        }
    }
}

/// Init and operation in one.
#[rustfmt::skip]
fn once(desk: &Desk<'_>, request: &Request<'_>) -> Result<Reply> {
    use Request as R;
    match request {
        R::SignOnce { mechanism, key, data, output, .. } => {
            sign::sign_init(desk, Some(mechanism), *key)?;
            sign::sign(desk, data.expose(), *output)
        }
        R::VerifyOnce { mechanism, key, data, signature, .. } => {
            sign::verify_init(desk, Some(mechanism), *key)?;
            sign::verify(desk, data.expose(), signature)
        }
        R::EncryptOnce { mechanism, key, data, output, .. } => {
            cipher::encrypt_init(desk, Some(mechanism), *key)?;
            cipher::encrypt(desk, data.expose(), *output)
        }
        R::DecryptOnce { mechanism, key, data, output, .. } => {
            cipher::decrypt_init(desk, Some(mechanism), *key)?;
            cipher::decrypt(desk, data.expose(), *output)
        }
        _ => Err(Error::GeneralError),
    }
}
