//! Objects that a connection of the administration brings in.
//!
//! What lives here: the import of one connection, until it is committed, abandoned, or the connection ends.
//! What must never live here: what is in an object; the token judges it.
//! Who calls it: connections of the administration socket.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

use strongroom::audit::Principal;
use strongroom::service::Importing;
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::codec;

use super::encode;
use crate::backup::Asker;
use crate::daemon::Daemon;
use crate::frames::{End, Outgoing};
use crate::system;

/// What one connection brings in.
pub struct Imports<'d> {
    daemon: &'d Daemon,
    principal: &'d Principal,
    importing: Importing,
}

impl fmt::Debug for Imports<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Imports({:?})", self.importing)
    }
}

impl<'d> Imports<'d> {
    /// Nothing yet.
    #[must_use]
    pub fn new(daemon: &'d Daemon, principal: &'d Principal) -> Self {
        Self {
            daemon,
            principal,
            importing: Importing::default(),
        }
    }

    /// Answers a request that concerns an import; false when the payload is another one.
    ///
    /// # Errors
    /// [`End`]: the connection must be closed.
    pub fn served(
        &mut self,
        asker: &Asker<'_>,
        payload: &[u8],
        outgoing: &mut Outgoing,
    ) -> Result<bool, End> {
        let Ok(request) = codec::decode::<AdminRequest<'_>>(payload) else {
            return Ok(false);
        };
        let service = &self.daemon.service;
        let Some(asked) = service.asked_to_import(self.principal, &request) else {
            return Ok(false);
        };
        let socket = asker.admitted.socket();
        waited(asker, asked.wait())?;
        let Principal { uid, pid, .. } = *self.principal;
        let place = self.daemon.turns.place(uid, pid, ADMINISTRATION);
        let pin_turn = asked.may_stretch_a_pin().then(|| place.pin_turn());
        let answer = service
            .import(self.principal, asked, &mut self.importing)
            .map_err(|_| End::Refused)?;
        drop(pin_turn);
        if let AdminAnswer::Imported { token, objects } = &answer {
            tracing::info!(slot = token.slot, objects, "objects were brought in");
        }
        if let AdminAnswer::Refused { rv, .. } = &answer {
            tracing::warn!(%rv, "a request to bring objects in was refused");
        }
        encode(&answer, outgoing.begin()?).map_err(|_| End::Refused)?;
        outgoing.send(socket)?;
        Ok(true)
    }
}

/// Waits, unless whoever asked is gone meanwhile.
pub(super) fn waited(asker: &Asker<'_>, wait: Duration) -> Result<(), End> {
    let socket = asker.admitted.socket();
    if !wait.is_zero() && system::hung_up_within(socket.as_fd(), wait).map_err(End::Io)? {
        return Err(End::Closed);
    }
    Ok(())
}

impl Drop for Imports<'_> {
    /// The connection has ended, however it ended.
    fn drop(&mut self) {
        let ended = self
            .daemon
            .service
            .end_import(self.principal, &mut self.importing);
        if ended.is_err() {
            tracing::warn!("an import was abandoned, and the journal could not take that in");
        }
    }
}

/// In the place of an instance of the module: administration is one application of its process.
pub(super) const ADMINISTRATION: [u8; 16] = *b"administration  ";
