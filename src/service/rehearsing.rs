//! Tokens that rehearse: which request concerns one, and what becomes of it.
//!
//! What lives here: beginning and ending rehearsals, taking a token out of its slot, and the fate of a request between its reading and its
//! answer.
//! What must never live here: the rules (`crate::rehearsal`).
//! Who calls it: the service, and the administration.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_wire::admin::AdminAnswer;
use strongroom_wire::ck::{Rv, flag};
use strongroom_wire::rehearsal::{Act, Plan, State};
use strongroom_wire::request::{Dual, Request, SlotId};

use super::{Service, event};
use crate::application::Application;
use crate::chapter::slots;
use crate::rehearsal::{Fate, Rehearsal};
use crate::token::Token;

/// The fate of one request.
#[derive(Debug)]
pub(super) struct Staged {
    token: Arc<Token>,
    fate: Fate,
    /// Whether it came in a session that was there.
    in_session: bool,
}

impl Staged {
    pub(super) const fn wait(&self) -> Duration {
        self.fate.wait
    }

    /// What it is answered without being carried out. A token that was removed while the call was under way is gone (PKCS#11 3.2, 5.1.2:
    /// CKR_DEVICE_REMOVED); calls made afterwards find their session closed.
    pub(super) fn verdict(&self) -> Option<Rv> {
        if self.in_session && self.token.is_removed() {
            return Some(Rv::DEVICE_REMOVED);
        }
        self.fate.refused
    }
}

impl Service {
    /// The fate of a request, if it concerns a token that rehearses.
    pub(super) fn staged(
        &self,
        application: &Application,
        request: &Request<'_>,
    ) -> Option<Staged> {
        // The one look that costs every request something.
        if self.rehearsing.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let in_session = request.session().is_some();
        let token = match request.session() {
            Some(session) => application.session(session).ok()?.token().clone(),
            None => self.token_in(event::Facts::of(request).slot.map(SlotId)?)?,
        };
        let rehearsal = token.rehearsal()?;
        let fate = rehearsal.judge(
            event::functions(request).as_slice(),
            self.ports.clock.steady(),
        );
        Some(Staged {
            token,
            fate,
            in_session,
        })
    }

    /// A call that failed has ended its operation (PKCS#11 3.2, 5.2).
    pub(super) fn end_operation_of(application: &Application, request: &Request<'_>) {
        let Some(session) = request.session() else {
            return;
        };
        let ended = operation_flags(request);
        if ended != 0
            && let Ok(session) = application.session(session)
        {
            session.operations.lock().cancel(ended);
        }
    }

    fn token_in(&self, slot: SlotId) -> Option<Arc<Token>> {
        self.tokens.read().get(&slots::token_of(slot)).cloned()
    }

    /// `CKF_…` of a slot: as of hardware that can be pulled out, while its token rehearses.
    pub(super) fn slot_flags(&self, slot: SlotId) -> u64 {
        let Some(token) = self.token_in(slot) else {
            return flag::TOKEN_PRESENT;
        };
        let present = if token.is_removed() {
            0
        } else {
            flag::TOKEN_PRESENT
        };
        match token.rehearsal() {
            Some(_) => present | flag::REMOVABLE_DEVICE,
            None => present,
        }
    }

    /// Answers the administration.
    pub(super) fn rehearse(&self, name: &str, act: &Act) -> AdminAnswer {
        let token = match self.named(name) {
            Ok(token) => token,
            Err(answer) => return *answer,
        };
        let done = match act {
            Act::Show => Ok(()),
            Act::Begin(plan) => self.begin_rehearsal(&token, plan),
            Act::Remove => self.begin_if_none(&token).map(|()| self.remove(&token)),
            Act::Insert => {
                token.insert();
                Ok(())
            }
            Act::Off => {
                token.insert();
                token.rehearse(None);
                Ok(())
            }
        };
        self.count_rehearsals();
        match done {
            Ok(()) => AdminAnswer::Rehearsal(Box::new(self.rehearsal_state(&token))),
            Err(reason) => AdminAnswer::Refused {
                rv: Rv::ARGUMENTS_BAD,
                reason: format!("the rehearsal was not begun: {reason}"),
            },
        }
    }

    fn begin_rehearsal(&self, token: &Arc<Token>, plan: &Plan) -> Result<(), String> {
        let rehearsal = Rehearsal::begin(plan.clone())?;
        token.insert();
        token.rehearse(Some(Arc::new(rehearsal)));
        Ok(())
    }

    fn begin_if_none(&self, token: &Arc<Token>) -> Result<(), String> {
        match token.rehearsal() {
            Some(_) => Ok(()),
            None => self.begin_rehearsal(token, &Plan::default()),
        }
    }

    /// Takes the token out of its slot: all sessions at it are closed, and with them its logins (PKCS#11 3.2, 5.6.2).
    fn remove(&self, token: &Token) {
        let applications = self.applications.lock().clone();
        let _gate = token.gate.write();
        token.remove();
        for application in applications {
            application.close_all_sessions(token.number);
        }
    }

    /// While any token rehearses, applications ask for everything, so that nothing dodges the rules.
    pub(super) fn count_rehearsals(&self) {
        let tokens = self.tokens.read();
        let rehearsing = tokens
            .values()
            .filter(|token| token.rehearsal().is_some())
            .count();
        self.rehearsing.store(rehearsing, Ordering::Relaxed);
        self.tell_whether_to_ask();
    }

    fn rehearsal_state(&self, token: &Token) -> State {
        let state = token.state(&self.settings.read().limits);
        let rehearsal = token.rehearsal();
        State {
            label: String::from_utf8_lossy(&state.label).trim_end().to_owned(),
            serial_number: state.serial_number,
            plan: rehearsal.as_ref().map(|one| one.plan().clone()),
            present: !token.is_removed(),
            room_left: token.room(),
            calls: rehearsal.map_or_else(Vec::new, |one| one.calls()),
        }
    }
}

/// `CKF_…` of the operations that a request goes on with or ends.
const fn operation_flags(request: &Request<'_>) -> u64 {
    use Request as R;
    match request {
        R::Encrypt { .. } | R::EncryptUpdate { .. } | R::EncryptFinal { .. } => flag::ENCRYPT,
        R::Decrypt { .. } | R::DecryptUpdate { .. } | R::DecryptFinal { .. } => flag::DECRYPT,
        R::Digest { .. } | R::DigestUpdate { .. } | R::DigestKey { .. } | R::DigestFinal { .. } => {
            flag::DIGEST
        }
        R::Sign { .. } | R::SignUpdate { .. } | R::SignFinal { .. } => flag::SIGN,
        R::SignRecover { .. } => flag::SIGN_RECOVER,
        R::Verify { .. }
        | R::VerifyUpdate { .. }
        | R::VerifyFinal { .. }
        | R::VerifySignature { .. }
        | R::VerifySignatureUpdate { .. }
        | R::VerifySignatureFinal { .. } => flag::VERIFY,
        R::VerifyRecover { .. } => flag::VERIFY_RECOVER,
        R::DualUpdate { dual, .. } => match dual {
            Dual::DigestEncrypt => flag::DIGEST | flag::ENCRYPT,
            Dual::DecryptDigest => flag::DIGEST | flag::DECRYPT,
            Dual::SignEncrypt => flag::SIGN | flag::ENCRYPT,
            Dual::DecryptVerify => flag::DECRYPT | flag::VERIFY,
        },
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
