//! Chapter sessions: open, close, log in (PKCS#11 3.2, 5.6).
//!
//! What lives here: sessions of this application, and its logins.
//! What must never live here: the table of sessions, which has a file of its own; the tickets of logins, likewise.
//! Who calls it: the table of functions.

use strongroom_wire::ck::{Rv, SessionState, UserType};
use strongroom_wire::request::{Request, SessionHandle, SlotId};
use strongroom_wire::response::{Answer, Body, SessionInfo};

use super::slots::absent;
use super::telling::{restore_login, tell};
use super::{ask, ask_known, done, rv_of, settle};
use crate::abi::In;
use crate::client::{Era, Failure, TRIES_MAX};
use crate::process::Instance;
use crate::sessions::Session;

/// C_OpenSession.
pub(crate) fn open(at: &Instance, slot: SlotId, flags: u64) -> Result<SessionHandle, Rv> {
    let now = at.client.now();
    let granted = (at.client.sessions_max(), at.client.era());
    if let Some(session) = at.sessions.open_untold(slot, flags, granted, now) {
        return Ok(session);
    }
    let handle = at.sessions.next();
    let request = Request::OpenSession {
        slot,
        flags,
        session: handle,
    };
    for _ in 0..TRIES_MAX {
        // Whoever has a connection already stays in its era; without one the first connection begins it.
        let era = at.client.era();
        let mut read = Some(|answer: &Answer<'_>| answer.rv);
        match at.client.ask(&request, Some(era), &mut read) {
            Ok(Rv::OK) => {}
            Ok(rv) => return Err(rv),
            Err(Failure::Again) => continue,
            Err(failure) => {
                at.client.stamps.change();
                return Err(rv_of(failure, absent(slot)));
            }
        }
        let session = at.sessions.add(handle, (slot, flags), era, now);
        return restored(at, &session, era).map(|()| handle);
    }
    Err(Rv::DEVICE_ERROR)
}

/// A new session in a daemon that was started anew may be the first one at its slot: the login goes on in it as well.
fn restored(at: &Instance, session: &Session, era: Era) -> Result<(), Rv> {
    // Where it is another daemon by now, that is told of it when it is used.
    let Ok(restored) = restore_login(at, session, era) else {
        return Ok(());
    };
    if restored.is_err() {
        close(at, session.handle)?;
        return Err(Rv::DEVICE_ERROR);
    }
    Ok(())
}

/// C_CloseSession.
pub(crate) fn close(at: &Instance, session: SessionHandle) -> Result<(), Rv> {
    let closing = at.sessions.get(session)?;
    let era = at.client.era();
    if at.sessions.is_last_known(&closing, era)
        && let Some(other) = at.sessions.untold(closing.slot, era).first()
    {
        // With the last session that it knows the daemon would end the login, which the others still have.
        tell_if_open(at, other)?;
    }
    if closing.is_known(era) {
        // Its objects go with it, and others may have begun something with them.
        for other in at.sessions.with_something_begun() {
            if other.handle != session {
                settle(at, &other);
            }
        }
    }
    let told = at.sessions.remove(session)?;
    if !at.sessions.has_any(closing.slot) {
        at.logins.forget(closing.slot);
    }
    let Some(era) = told else { return Ok(()) };
    let mut read = Some(|answer: &Answer<'_>| answer.rv);
    let asked = at
        .client
        .ask(&Request::CloseSession { session }, Some(era), &mut read);
    at.client.stamps.change();
    match asked {
        Ok(Rv::OK) => Ok(()),
        Ok(rv) => Err(rv),
        // Where its daemon has gone, it has gone with it.
        Err(Failure::Again | Failure::Lost | Failure::UnknownSession | Failure::Absent) => Ok(()),
        Err(failure) => Err(rv_of(failure, Rv::DEVICE_REMOVED)),
    }
}

/// C_CloseAllSessions.
pub(crate) fn close_all(at: &Instance, slot: SlotId) -> Result<(), Rv> {
    let request = Request::CloseAllSessions { slot };
    ask_known(at, None, &request, absent(slot), |_| Some(()))?;
    at.sessions.remove_all(slot);
    at.logins.forget(slot);
    Ok(())
}

/// Tells the daemon of every session of a slot, where the number or the kind of sessions matters.
pub(super) fn tell_all(at: &Instance, slot: SlotId) -> Result<(), Rv> {
    for session in at.sessions.untold(slot, at.client.era()) {
        tell_if_open(at, &session)?;
    }
    Ok(())
}

/// Tells the daemon of a session, unless another thread has closed it meanwhile.
fn tell_if_open(at: &Instance, session: &Session) -> Result<(), Rv> {
    match tell(at, session) {
        Ok(_) | Err(Rv::SESSION_HANDLE_INVALID) => Ok(()),
        Err(rv) => Err(rv),
    }
}

/// Before a login: an officer's is refused beside read-only sessions, so the daemon must know all.
fn before_login(at: &Instance, session: SessionHandle, user: UserType) -> Result<(), Rv> {
    if user == UserType::SO {
        at.sessions.note_officer();
    }
    tell_all(at, at.sessions.get(session)?.slot)
}

/// C_GetSessionInfo.
pub(crate) fn session(at: &Instance, session: SessionHandle) -> Result<SessionInfo, Rv> {
    ask(
        at,
        &Request::SessionInfo { session },
        Rv::DEVICE_REMOVED,
        |body| {
            if let Body::SessionInfo(info) = body {
                Some(*info)
            } else {
                None
            }
        },
    )
}

/// C_SessionCancel.
pub(crate) fn cancel(at: &Instance, session: SessionHandle, flags: u64) -> Result<(), Rv> {
    done(at, &Request::SessionCancel { session, flags })
}

/// C_Login.
pub(crate) fn login(
    at: &Instance,
    session: SessionHandle,
    user: UserType,
    pin: &In,
) -> Result<(), Rv> {
    before_login(at, session, user)?;
    let pin = pin.secret();
    let request = Request::Login { session, user, pin };
    with_ticket(at, session, &request)
}

/// C_LoginUser.
pub(crate) fn login_user(
    at: &Instance,
    session: SessionHandle,
    user: UserType,
    pin: &In,
    username: &In,
) -> Result<(), Rv> {
    before_login(at, session, user)?;
    let username = username.public();
    let request = Request::LoginUser {
        session,
        user,
        pin: pin.secret(),
        username,
    };
    with_ticket(at, session, &request)
}

/// Asks for something that is answered with a ticket, by which the login goes on in a daemon that is started anew.
pub(super) fn with_ticket(
    at: &Instance,
    session: SessionHandle,
    request: &Request<'_>,
) -> Result<(), Rv> {
    let session = at.sessions.get(session)?;
    // The era from before: should another one begin meanwhile, the ticket is shown once too often and not once too rarely.
    let era = tell(at, &session)?;
    ask(at, request, Rv::DEVICE_REMOVED, |body| {
        if let Body::Output { data, .. } = body {
            at.logins.keep(session.slot, era, data.expose());
        }
        Some(())
    })
}

/// C_Logout.
pub(crate) fn logout(at: &Instance, session: SessionHandle) -> Result<(), Rv> {
    let known = at.sessions.get(session)?;
    // The daemon must have the login that it is to end; and whatever becomes of the request, no later daemon has it.
    tell(at, &known)?;
    let had_one = at.logins.forget(known.slot);
    match done(at, &Request::Logout { session }) {
        // It ended with its daemon, in the very moment.
        Err(Rv::USER_NOT_LOGGED_IN) if had_one => Ok(()),
        ended => ended,
    }
}

/// C_GetSessionValidationFlags (PKCS#11 3.2, 5.6.11): whether the last operation was one that a validation covers. None is claimed
/// here, so no flag is ever set.
pub(crate) fn validation_flags(
    at: &Instance,
    which_session: SessionHandle,
    kind: u64,
) -> Result<u64, Rv> {
    session(at, which_session)?;
    if kind == SessionState::LAST_VALIDATION_OK.0 {
        Ok(0)
    } else {
        Err(Rv::ARGUMENTS_BAD)
    }
}
