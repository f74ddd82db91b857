//! Requests that bring a PIN: who tries it, and how long that user waits before.
//!
//! What lives here: [`Asked`], a request between its reading and its answer, and the place a try has in its user's pace.
//! What must never live here: the waiting (the daemon), and the comparison (vault).
//! Who calls it: the service; the daemon asks an [`Asked`] how long to wait.

use std::time::Duration;

use strongroom_wire::ck::{Rv, UserType};
use strongroom_wire::request::Request;

use super::Service;
use super::rehearsing::Staged;
use crate::application::Application;
use crate::chapter::slots;
use crate::limits::Limits;
use crate::pace::{Outcome, Paces, Place, Tried};
use crate::vault::User;

/// A request that was read and not carried out yet, and what it waits for: its PIN's turn, and the rehearsal of its token.
#[derive(Debug)]
pub struct Asked<'p, 's> {
    pub(super) request: Request<'p>,
    pub(super) pin: Option<PinTry<'s>>,
    pub(super) staged: Option<Staged>,
}

impl Asked<'_, '_> {
    /// How long to wait before it is carried out.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let pin = self.pin.as_ref().map_or(Duration::ZERO, PinTry::wait);
        let staged = self.staged.as_ref();
        pin + staged.map_or(Duration::ZERO, Staged::wait)
    }

    /// Whether it may cost an Argon2id: a comparison of a PIN, or a new one.
    #[must_use]
    pub const fn may_stretch_a_pin(&self) -> bool {
        use Request as R;
        matches!(
            self.request,
            R::Login { .. }
                | R::LoginUser { .. }
                | R::SetPin { .. }
                | R::InitPin { .. }
                | R::InitToken { .. }
        )
    }
}

/// A try's place in its user's pace; given up when it is dropped before its outcome is known.
#[derive(Debug)]
pub(super) struct PinTry<'s> {
    paces: &'s Paces,
    tried: Tried,
    limits: Limits,
    place: Place,
    settled: bool,
}

impl PinTry<'_> {
    /// How long to wait before it is compared.
    pub(super) const fn wait(&self) -> Duration {
        self.place.wait
    }

    /// Learns the outcome from the return value.
    pub(super) fn settle(mut self, rv: Rv) {
        self.settled = true;
        let outcome = match rv {
            Rv::OK => Outcome::Right,
            Rv::PIN_INCORRECT => Outcome::Wrong,
            _ => Outcome::NotCompared,
        };
        self.paces
            .settle(self.tried, self.place, outcome, &self.limits);
    }
}

impl Drop for PinTry<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.paces
                .settle(self.tried, self.place, Outcome::NotCompared, &self.limits);
        }
    }
}

impl Service {
    /// Admits a try, where the request is one. One in an unknown session, or at no token, is refused without a comparison.
    pub(super) fn pin_try(
        &self,
        application: &Application,
        request: &Request<'_>,
    ) -> Option<PinTry<'_>> {
        let (token, user) = match request {
            Request::Login { session, user, .. } | Request::LoginUser { session, user, .. } => {
                let token = application.session(*session).ok()?.token().number;
                let officer = *user == UserType::SO;
                (token, if officer { User::So } else { User::User })
            }
            Request::SetPin { session, .. } => {
                let session = application.session(*session).ok()?;
                let officer = session.user() == Some(UserType::SO);
                let user = if officer { User::So } else { User::User };
                (session.token().number, user)
            }
            Request::InitToken { slot, .. } => (slots::token_of(*slot), User::So),
            _ => return None,
        };
        Some(self.admit_pin(application.principal.uid, token, user))
    }

    /// Admits a try of somebody's PIN.
    pub(super) fn admit_pin(&self, uid: u32, token: u64, user: User) -> PinTry<'_> {
        let tried = Tried { uid, token, user };
        let limits = self.settings.read().limits;
        let place = self.paces.admit(tried, self.ports.clock.steady(), &limits);
        PinTry {
            paces: &self.paces,
            tried,
            limits,
            place,
            settled: false,
        }
    }
}

#[cfg(test)]
mod tests;
