//! Releases by administration: authorities, the root of the signers, and a key released at the token user's word.
//!
//! What lives here: the requests of the `strongroom` command that concern releases, with their reasons in words.
//! What must never live here: the decision (release), another way for a key to leave (chapter of releases).
//! Who calls it: administration; the daemon's administration socket for what brings a PIN.

use std::sync::Arc;
use std::time::Duration;

use strongroom_wire::admin::{AdminAnswer, AdminRequest, AuthorityLine, NewTrust};
use strongroom_wire::ck::{Rv, UserType};
use strongroom_wire::codec::List;
use strongroom_wire::request::{KeyRelease, SessionHandle};

use super::admin::{is_named, record_release, refused, rv_of};
use super::pins::PinTry;
use super::{Malformed, Service, Told};
use crate::application::Application;
use crate::audit::Principal;
use crate::chapter::{Reply, release, sessions};
use crate::error::{Error, Result};
use crate::object::Object;
use crate::release::{Authority, Refusal, Trust, Why};
use crate::token::Token;
use crate::vault::User;

/// A request to release a key, and what it waits for.
#[derive(Debug)]
pub struct AskedRelease<'r, 's> {
    request: &'r AdminRequest<'r>,
    pin: Option<PinTry<'s>>,
}

impl AskedRelease<'_, '_> {
    /// How long to wait before it is carried out: what its PIN has to wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.pin.as_ref().map_or(Duration::ZERO, PinTry::wait)
    }
}

impl Service {
    /// Takes a request to release a key; none where it is another one. Given up, it leaves nothing behind.
    pub fn asked_to_release<'r>(
        &self,
        principal: &Principal,
        request: &'r AdminRequest<'r>,
    ) -> Option<AskedRelease<'r, '_>> {
        let AdminRequest::KeyRelease { token, .. } = request else {
            return None;
        };
        let token = self.named(token).ok();
        let pin = token.map(|token| self.admit_pin(principal.uid, token.number, User::User));
        Some(AskedRelease { request, pin })
    }

    /// Answers it.
    ///
    /// # Errors
    /// [`Malformed`] when the answer could not be recorded.
    pub fn release(
        &self,
        principal: &Principal,
        asked: AskedRelease<'_, '_>,
    ) -> std::result::Result<AdminAnswer, Malformed> {
        let AskedRelease { request, pin } = asked;
        self.audit.read().make_room().map_err(|_| Malformed)?;
        let told = Told::default();
        let (answer, object) = self.released(principal, request, &told);
        if let Some(pin) = pin {
            pin.settle(rv_of(&answer));
        }
        let account = told.into_inner();
        let audit = self.audit.read();
        let object = object.as_deref().map(Object::unique_id);
        record_release(
            &audit,
            principal,
            request,
            answer,
            object,
            account.as_deref(),
        )
    }

    /// One login, one release, and everything of it ends.
    fn released(
        &self,
        principal: &Principal,
        request: &AdminRequest<'_>,
        told: &Told,
    ) -> (AdminAnswer, Option<Arc<Object>>) {
        let AdminRequest::KeyRelease {
            token,
            user_pin,
            key,
            release,
        } = request
        else {
            return (
                refused(Rv::GENERAL_ERROR, "this is no release".into()),
                None,
            );
        };
        let token = match self.named(token) {
            Ok(token) => token,
            Err(answer) => return (*answer, None),
        };
        let application = Application::new(principal.clone(), *ADMINISTRATION);
        let mut object = None;
        let asked = (user_pin.expose(), *key, release);
        let outcome = self.released_in(&application, &token, asked, told, &mut object);
        application.end_all();
        let words = || {
            told.borrow()
                .as_deref()
                .and_then(|account| account.refusal.clone())
        };
        let answer = match outcome {
            Ok(envelope) => AdminAnswer::Released { envelope },
            Err(Denied::By(error)) => in_words(error, words()),
            Err(Denied::With(answer)) => *answer,
        };
        (answer, object)
    }

    fn released_in(
        &self,
        application: &Application,
        token: &Arc<Token>,
        (pin, key, release): (&[u8], &str, &KeyRelease<'_>),
        told: &Told,
        object: &mut Option<Arc<Object>>,
    ) -> std::result::Result<String, Denied> {
        application.open_session(SESSION, token, false, 1)?;
        let session = application.session(SESSION)?;
        let settings = self.settings.read().clone();
        let desk = self.desk(application, &session, &settings, told);
        sessions::login(&desk, UserType::USER, pin)?;
        let found = one_named(token, key)?;
        let handle = found.handle;
        *object = Some(found);
        Ok(text_of(release::release_key(&desk, handle, release)?)?)
    }

    /// What administration asks of authorities and of the root.
    pub(super) fn authority_answer(&self, request: &AdminRequest<'_>) -> AdminAnswer {
        let outcome = match request {
            AdminRequest::AuthorityAdd { url, trust } => authority(url, trust)
                .map_err(Refusal::malformed)
                .and_then(|authority| self.releases.add(&self.vault, authority))
                .map(|()| AdminAnswer::Done),
            AdminRequest::AuthorityRemove { url } => self
                .releases
                .remove(&self.vault, url)
                .map(|()| AdminAnswer::Done),
            AdminRequest::ReleaseRoot => self
                .releases
                .root_certificate(&self.vault, self.ports.clock.now())
                .map(AdminAnswer::Certificate),
            _ => {
                let all = self.releases.authorities();
                let own = self.settings.read().release.local.then(Authority::local);
                let lines = own.iter().chain(all.iter()).map(line).collect();
                Ok(List::new(lines).map_or_else(
                    || refused(Rv::DEVICE_MEMORY, "there is too much to list".into()),
                    AdminAnswer::Authorities,
                ))
            }
        };
        outcome.unwrap_or_else(|refusal| {
            let rv = match refusal.why {
                Why::Failed => Rv::DEVICE_ERROR,
                Why::Malformed | Why::Forbidden | Why::Throttled => Rv::ARGUMENTS_BAD,
            };
            refused(rv, refusal.words)
        })
    }
}

fn authority(url: &str, trust: &NewTrust<'_>) -> std::result::Result<Authority, String> {
    match trust {
        NewTrust::Keys(set) => Authority::with_keys(url, set),
        NewTrust::Certificates(all) => {
            let all = all
                .items()
                .iter()
                .map(|der| der.expose().to_vec())
                .collect();
            Authority::with_certificates(url, all)
        }
        NewTrust::Hardware { kind, roots } => Authority::with_hardware(url, kind, roots.expose()),
    }
}

fn line(authority: &Authority) -> AuthorityLine {
    AuthorityLine {
        url: authority.url.clone(),
        trust: match &authority.trust {
            Trust::Keys(_) => "keys",
            Trust::Certificates(_) => "certificates",
            Trust::Hardware { .. } => "hardware",
            Trust::Local => "local",
        }
        .to_owned(),
        about: authority.kind(),
        pinned: authority.pinned(),
    }
}

/// Why nothing was released.
enum Denied {
    /// The token says no.
    By(Error),
    /// There is an answer already.
    With(Box<AdminAnswer>),
}

impl Denied {
    fn with(rv: Rv, reason: String) -> Self {
        Self::With(Box::new(refused(rv, reason)))
    }
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        Self::By(error)
    }
}

/// The one object that a unique id, label or id names.
fn one_named(token: &Token, name: &str) -> std::result::Result<Arc<Object>, Denied> {
    let has_policy = |object: &Object| crate::release::rules::policy_of(object).is_some();
    let found: Vec<Arc<Object>> = token.with_objects(|index| {
        let fits = |object: &&Arc<Object>| is_named(object, name) && has_policy(object);
        index.iter().filter(fits).cloned().collect()
    });
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Denied::with(
            Rv::KEY_HANDLE_INVALID,
            format!("no key with a release policy has the unique id, label or id {name:?}"),
        )),
        several => Err(Denied::with(
            Rv::ARGUMENTS_BAD,
            format!(
                "{} keys with release policies have the label or id {name:?}; name one by its unique id",
                several.len()
            ),
        )),
    }
}

fn text_of(reply: Reply) -> Result<String> {
    match reply {
        Reply::Output {
            data: Some(data), ..
        } => String::from_utf8(data.expose().to_vec()).map_err(|_| Error::GeneralError),
        _ => Err(Error::GeneralError),
    }
}

fn in_words(error: Error, words: Option<String>) -> AdminAnswer {
    let words = match (words, error) {
        (Some(words), _) => words,
        (None, Error::PinIncorrect) => "the PIN is wrong".into(),
        (None, Error::PinLocked) => "the user's PIN is locked; the security officer can set a new one".into(),
        (None, Error::UserPinNotInitialized) => "the user's PIN is not set".into(),
        (None, Error::ArgumentsBad) => {
            "the encryption is none of CKM_RSA_AES_KEY_WRAP, RSA_AES_KEY_WRAP_256 and RSA_AES_KEY_WRAP_384".into()
        }
        (None, error) => error.rv().to_string(),
    };
    refused(error.rv(), format!("the key was not released: {words}"))
}

/// In the place of an instance of the module.
const ADMINISTRATION: &[u8; 16] = b"administration  ";
/// Its only session.
const SESSION: SessionHandle = SessionHandle(1);
