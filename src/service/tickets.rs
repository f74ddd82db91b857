//! Tickets: how a login outlives the daemon.
//!
//! What lives here: what a login is answered, and the login by what an earlier daemon answered.
//! What must never live here: how a ticket is sealed and what it is bound to (vault).
//! Who calls it: the match over the requests of a session.

use strongroom_keymem::SecretVec;
use strongroom_wire::ck::UserType;

use super::Service;
use crate::application::Application;
use crate::audit::Principal;
use crate::chapter::{Desk, Reply, sessions};
use crate::error::{Error, Result};
use crate::vault::{Holder, TicketError, User, claimed_user};

/// Whom a login of this kind is to be restored for: one for a single operation ends with it.
pub(super) fn ticket_of(user: UserType) -> Option<UserType> {
    (user != UserType::CONTEXT_SPECIFIC).then_some(user)
}

impl Service {
    /// What is answered once `user` has logged in or changed the PIN: a ticket, where there may be one. Without it the login stands as well.
    pub(super) fn with_ticket(
        &self,
        application: &Application,
        desk: &Desk<'_>,
        done: Reply,
        user: Option<UserType>,
    ) -> Result<Reply> {
        let user = match user {
            Some(UserType::SO) => User::So,
            Some(UserType::USER) => User::User,
            _ => return Ok(done),
        };
        let Some(holder) = holder(&application.principal, application.instance) else {
            return Ok(done);
        };
        let now = self.ports.clock.now();
        let ticket = desk
            .session
            .token()
            .ticket(
                user,
                &holder,
                now,
                (desk.limits, self.settings.read().ticket_reach),
            )
            .unwrap_or_default();
        Ok(ticket.map_or(done, |ticket: SecretVec| Reply::Output {
            length: ticket.len() as u64,
            data: Some(ticket),
        }))
    }

    /// Logs in by a ticket. Whatever is wrong with it has one answer.
    pub(super) fn restore_login(
        &self,
        application: &Application,
        desk: &Desk<'_>,
        ticket: &[u8],
    ) -> Result<Reply> {
        let holder = holder(&application.principal, application.instance);
        let (Some(holder), Some(user)) = (holder, claimed_user(ticket)) else {
            return Err(Error::UserNotLoggedIn);
        };
        let now = self.ports.clock.now();
        let rules = (desk.limits, self.settings.read().ticket_reach);
        sessions::restore(desk, user, |token| {
            token
                .redeem(ticket, &holder, now, rules)
                .map_err(|error| match error {
                    TicketError::Worthless | TicketError::Old => Error::UserNotLoggedIn,
                    TicketError::Locked => Error::PinLocked,
                    TicketError::Vault(error) => error.into(),
                })
        })?;
        Ok(Reply::Empty)
    }
}

/// The holder of a ticket. None where the kernel does not say when the process was started: its number alone comes back some day.
fn holder(principal: &Principal, instance: [u8; 16]) -> Option<Holder<'_>> {
    Some(Holder {
        uid: principal.uid,
        pid: principal.pid,
        started: principal.started?,
        instance,
        executable: &principal.executable,
    })
}

#[cfg(test)]
mod tests;
