//! The front desk while the store is sealed.
//!
//! What lives here: what may be said without a root key: one slot with an uninitialised token, and the mechanisms.
//! What must never live here: a token, an object, a session; there is no service yet.
//! Who calls it: the daemon while it waits for `strongroom unseal`.

use std::fmt;

use parking_lot::RwLock;
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::ck::flag;
use strongroom_wire::codec;
use strongroom_wire::request::{Request, SlotId};
use strongroom_wire::response::SlotEntry;

use super::{
    Answered, Malformed, OlderStore, Ports, Service, Settings, StartError, admin, answer, event,
};
use crate::audit::{Audit, Principal};
use crate::chapter::{Reply, slots};
use crate::error::{Error, Result};
use crate::sink::Locked;
use crate::vault::Generation;

/// What answers before there is a service. What it answers is recorded as everything is: the chain of the audit needs no key.
pub struct SealedDesk {
    ports: Ports,
    settings: Settings,
    older: OlderStore,
    /// None once the service has taken over: the chain has one writer.
    audit: RwLock<Option<Audit>>,
}

impl fmt::Debug for SealedDesk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SealedDesk")
    }
}

impl SealedDesk {
    /// Opens the desk over the journal. The store is not looked at.
    ///
    /// # Errors
    /// [`StartError`] when the journal cannot be continued.
    pub fn new(
        ports: Ports,
        settings: Settings,
        older: OlderStore,
    ) -> std::result::Result<Self, StartError> {
        let audit = open_audit(&ports, &settings)?;
        Ok(Self {
            ports,
            settings,
            older,
            audit: RwLock::new(Some(audit)),
        })
    }

    /// Opens the service with the root key. From then on this desk answers nothing more.
    ///
    /// # Errors
    /// [`StartError`]; then this desk goes on.
    pub fn open(&self, root_key: SecretBytes) -> std::result::Result<Service, StartError> {
        let mut audit = self.audit.write();
        *audit = None;
        let (ports, settings) = (self.ports.clone(), self.settings.clone());
        let opened = Service::open_with(ports, root_key, settings, self.older);
        if opened.is_err() {
            *audit = Some(open_audit(&self.ports, &self.settings)?);
        }
        opened
    }

    /// The first message of a connection. Shared memory is not offered: this conversation is short.
    ///
    /// # Errors
    /// [`Malformed`] for anything but a hello.
    pub fn greet(&self, payload: &[u8], out: &mut SecretVec) -> std::result::Result<(), Malformed> {
        let Ok(Request::Hello { .. }) = codec::decode(payload) else {
            return Err(Malformed);
        };
        let hello = answer::hello(
            self.settings.daemon_version,
            self.settings.limits.sessions_per_application_max,
        );
        answer::encode(&hello, &mut Locked(out)).map_err(|_| Malformed)
    }

    /// Answers one request of an application.
    ///
    /// # Errors
    /// [`Malformed`]: close the connection.
    pub fn answer(
        &self,
        principal: &Principal,
        payload: &[u8],
        out: &mut SecretVec,
    ) -> std::result::Result<(), Malformed> {
        let request: Request<'_> = codec::decode(payload).map_err(|_| Malformed)?;
        let (reply, rv) = answer::outcome(self.dispatch(&request));
        let event = event::Facts::of(&request).event(principal, None, &reply, rv);
        let audit = self.audit.read();
        let recorded = audit
            .as_ref()
            .ok_or(Malformed)?
            .record(&event, (reply, rv))
            .map_err(|_| Malformed)?;
        Answered(recorded.into_inner()).append_to(out)
    }

    /// Records what the daemon answers the administration.
    ///
    /// # Errors
    /// [`Malformed`] when it could not be recorded.
    pub fn administer(
        &self,
        principal: &Principal,
        request: &AdminRequest<'_>,
        answer: AdminAnswer,
    ) -> std::result::Result<AdminAnswer, Malformed> {
        let audit = self.audit.read();
        admin::record(audit.as_ref().ok_or(Malformed)?, principal, request, answer)
    }

    /// Which tokens there are is not known, so a slot that somebody remembers may exist: it is the device that cannot.
    fn dispatch(&self, request: &Request<'_>) -> Result<Reply> {
        let version = self.settings.daemon_version;
        match request {
            Request::Hello { .. } => Err(Error::ArgumentsBad),
            Request::Goodbye => Ok(Reply::Empty),
            Request::SlotList => Ok(Reply::Slots(vec![SlotEntry {
                slot: SLOT,
                token_present: true,
            }])),
            Request::SlotInfo { slot: SLOT } => {
                Ok(slots::slot_info(SLOT, version, flag::TOKEN_PRESENT))
            }
            Request::TokenInfo { slot: SLOT } => Ok(slots::free_token_info(
                version,
                self.ports.clock.now(),
                &self.settings.limits,
            )),
            Request::Mechanisms { slot: SLOT } => Ok(Reply::Mechanisms(
                self.settings.mechanisms.entries(&self.settings.limits),
            )),
            _ => Err(Error::DeviceError),
        }
    }
}

fn open_audit(ports: &Ports, settings: &Settings) -> std::result::Result<Audit, StartError> {
    Audit::open(
        ports.journal.clone(),
        ports.clock.clone(),
        settings.audit_level,
        // How far the store is, is not known before it is open, and so not said.
        Generation::default(),
    )
    .map_err(StartError::Journal)
}

/// The one slot that is shown.
const SLOT: SlotId = SlotId(0);

#[cfg(test)]
mod tests;
