//! Chapter sessions: open, close, log in (PKCS#11 3.2, 5.6).
//!
//! What lives here: sessions of this application, and its logins.
//! What must never live here: a memory of sessions; the daemon has it.
//! Who calls it: the table of functions.

use strongroom_wire::ck::{Rv, SessionState, UserType};
use strongroom_wire::request::{Request, SessionHandle, SlotId};
use strongroom_wire::response::{Body, SessionInfo};

use super::slots::absent;
use super::{ask, done};
use crate::abi::In;
use crate::process::Instance;

/// C_OpenSession.
pub(crate) fn open(at: &Instance, slot: SlotId, flags: u64) -> Result<SessionHandle, Rv> {
    ask(
        at,
        &Request::OpenSession { slot, flags },
        absent(slot),
        |body| {
            if let Body::Session(session) = body {
                Some(*session)
            } else {
                None
            }
        },
    )
}

/// C_CloseSession.
pub(crate) fn close(at: &Instance, session: SessionHandle) -> Result<(), Rv> {
    done(at, &Request::CloseSession { session })
}

/// C_CloseAllSessions.
pub(crate) fn close_all(at: &Instance, slot: SlotId) -> Result<(), Rv> {
    ask(
        at,
        &Request::CloseAllSessions { slot },
        absent(slot),
        |_| Some(()),
    )
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
