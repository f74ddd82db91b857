//! Chapter sessions: open, close, log in (PKCS#11 3.2, 5.6).
//!
//! What lives here: sessions of this application, and its logins.
//! What must never live here: the table of sessions, which has a file of its own; a memory of logins, which the daemon has.
//! Who calls it: the table of functions.

use strongroom_wire::ck::{Rv, SessionState, UserType};
use strongroom_wire::request::{Request, SessionHandle, SlotId};
use strongroom_wire::response::{Body, SessionInfo};

use super::slots::absent;
use super::{ask, ask_known, done, settle, tell};
use crate::abi::In;
use crate::process::Instance;
use crate::sessions::Session;

/// C_OpenSession.
pub(crate) fn open(at: &Instance, slot: SlotId, flags: u64) -> Result<SessionHandle, Rv> {
    let now = at.client.now();
    let granted = at.client.sessions_max();
    if let Some(session) = at.sessions.open_untold(slot, flags, granted, now) {
        return Ok(session);
    }
    let session = at.sessions.next();
    let request = Request::OpenSession {
        slot,
        flags,
        session,
    };
    ask_known(at, &request, absent(slot), |_| Some(()))?;
    at.sessions.add(session, slot, flags, now);
    Ok(session)
}

/// C_CloseSession.
pub(crate) fn close(at: &Instance, session: SessionHandle) -> Result<(), Rv> {
    let closing = at.sessions.get(session)?;
    if at.sessions.is_last_known(&closing)
        && let Some(other) = at.sessions.untold(closing.slot).first()
    {
        // With the last session that it knows the daemon would end the login, which the others still have.
        tell_if_open(at, other)?;
    }
    if closing.is_known() {
        // Its objects go with it, and others may have begun something with them.
        for other in at.sessions.with_something_begun() {
            if other.handle != session {
                settle(at, &other);
            }
        }
    }
    if at.sessions.remove(session)? {
        ask_known(
            at,
            &Request::CloseSession { session },
            Rv::DEVICE_REMOVED,
            |_| Some(()),
        )?;
    }
    Ok(())
}

/// C_CloseAllSessions.
pub(crate) fn close_all(at: &Instance, slot: SlotId) -> Result<(), Rv> {
    let request = Request::CloseAllSessions { slot };
    ask_known(at, &request, absent(slot), |_| Some(()))?;
    at.sessions.remove_all(slot);
    Ok(())
}

/// Tells the daemon of every session of a slot, where the number or the kind of sessions matters.
pub(super) fn tell_all(at: &Instance, slot: SlotId) -> Result<(), Rv> {
    for session in at.sessions.untold(slot) {
        tell_if_open(at, &session)?;
    }
    Ok(())
}

/// Tells the daemon of a session, unless another thread has closed it meanwhile.
fn tell_if_open(at: &Instance, session: &Session) -> Result<(), Rv> {
    match tell(at, session) {
        Err(Rv::SESSION_HANDLE_INVALID) => Ok(()),
        told => told,
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
    done(
        at,
        &Request::Login {
            session,
            user,
            pin: pin.secret(),
        },
    )
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
    done(
        at,
        &Request::LoginUser {
            session,
            user,
            pin: pin.secret(),
            username,
        },
    )
}

/// C_Logout.
pub(crate) fn logout(at: &Instance, session: SessionHandle) -> Result<(), Rv> {
    done(at, &Request::Logout { session })
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
