//! Sessions and login (PKCS#11 3.2, 5.6).
//!
//! What lives here: open, close, info, cancel, login, logout, PINs.
//! What must never live here: how PINs are compared and counted (vault).
//! Who calls it: the service.

use std::sync::Arc;

use strongroom_wire::ck::{UserType, flag};
use strongroom_wire::request::SessionHandle;
use strongroom_wire::response::SessionInfo;

use super::{Desk, Reply};
use crate::application::Application;
use crate::error::{Error, Result};
use crate::limits::{Limits, PIN_BYTES_MAX};
use crate::token::Token;
use crate::vault::User;

/// C_OpenSession.
///
/// # Errors
/// [`Error::SessionParallelNotSupported`] without `CKF_SERIAL_SESSION`, [`Error::ArgumentsBad`] for a handle that is zero or taken, and as the
/// application says.
pub fn open(
    application: &Application,
    token: &Arc<Token>,
    handle: SessionHandle,
    flags: u64,
    limits: &Limits,
) -> Result<Reply> {
    if flags & flag::SERIAL_SESSION == 0 {
        return Err(Error::SessionParallelNotSupported);
    }
    if flags & flag::ASYNC_SESSION != 0 {
        return Err(Error::SessionAsyncNotSupported);
    }
    let _gate = token.gate.read();
    if token.is_gone() {
        return Err(Error::TokenNotRecognized);
    }
    if token.is_removed() {
        return Err(Error::TokenNotPresent);
    }
    let read_write = flags & flag::RW_SESSION != 0;
    application.open_session(
        handle,
        token,
        read_write,
        limits.sessions_per_application_max,
    )?;
    Ok(Reply::Empty)
}

/// C_GetSessionInfo.
#[must_use]
pub fn info(desk: &Desk<'_>) -> Reply {
    Reply::SessionInfo(SessionInfo {
        slot: super::slots::slot_of(desk.session.token().number),
        state: desk.session.state(),
        flags: desk.session.flags(),
        device_error: 0,
    })
}

/// C_SessionCancel (PKCS#11 3.0, 5.6.5): ends the operations named by flags; those not active are no error.
///
/// # Errors
/// [`Error::ArgumentsBad`] for a flag that is no operation of a session.
pub fn cancel(desk: &Desk<'_>, flags: u64) -> Result<Reply> {
    const MESSAGES: u64 =
        flag::MESSAGE_ENCRYPT | flag::MESSAGE_DECRYPT | flag::MESSAGE_SIGN | flag::MESSAGE_VERIFY;
    const OPERATIONS: u64 = flag::ENCRYPT
        | flag::DECRYPT
        | flag::DIGEST
        | flag::SIGN
        | flag::SIGN_RECOVER
        | flag::VERIFY
        | flag::VERIFY_RECOVER
        | flag::FIND_OBJECTS;
    // Those that end within their own call are never active between calls.
    const AT_ONCE: u64 = flag::GENERATE
        | flag::GENERATE_KEY_PAIR
        | flag::WRAP
        | flag::UNWRAP
        | flag::DERIVE
        | flag::ENCAPSULATE
        | flag::DECAPSULATE;
    if flags & !(MESSAGES | OPERATIONS | AT_ONCE) != 0 {
        return Err(Error::ArgumentsBad);
    }
    desk.session.operations.lock().cancel(flags);
    if flags & flag::FIND_OBJECTS != 0 {
        *desk.session.search.lock() = None;
    }
    Ok(Reply::Empty)
}

/// C_Login, and C_LoginUser without a name.
///
/// # Errors
/// As PKCS#11 3.2, 5.6.8 has them.
pub fn login(desk: &Desk<'_>, user: UserType, pin: &[u8]) -> Result<Reply> {
    let session = desk.session;
    let token = session.token();
    match user {
        UserType::SO => session.seat.log_in(UserType::SO, |current| {
            must_be_free(current, UserType::SO)?;
            if session.seat.has_read_only_session() {
                return Err(Error::SessionReadOnlyExists);
            }
            token.login(User::So, pin, desk.limits)
        })?,
        UserType::USER => session.seat.log_in(UserType::USER, |current| {
            must_be_free(current, UserType::USER)?;
            token.login(User::User, pin, desk.limits)
        })?,
        UserType::CONTEXT_SPECIFIC => context_login(desk, pin)?,
        _ => return Err(Error::UserTypeInvalid),
    }
    Ok(Reply::Empty)
}

/// A login that an earlier daemon knew, once `redeem` has opened the token's private realm.
///
/// # Errors
/// As a login, and what `redeem` says.
pub fn restore(
    desk: &Desk<'_>,
    user: User,
    redeem: impl FnOnce(&Token) -> Result<()>,
) -> Result<()> {
    let session = desk.session;
    let user = match user {
        User::So => UserType::SO,
        User::User => UserType::USER,
    };
    session.seat.log_in(user, |current| {
        must_be_free(current, user)?;
        if user == UserType::SO && session.seat.has_read_only_session() {
            return Err(Error::SessionReadOnlyExists);
        }
        redeem(session.token())
    })
}

fn must_be_free(current: Option<UserType>, wanted: UserType) -> Result<()> {
    match current {
        None => Ok(()),
        Some(user) if user == wanted => Err(Error::UserAlreadyLoggedIn),
        Some(_) => Err(Error::UserAnotherAlreadyLoggedIn),
    }
}

/// The login that one operation with a `CKA_ALWAYS_AUTHENTICATE` key waits for.
fn context_login(desk: &Desk<'_>, pin: &[u8]) -> Result<()> {
    let session = desk.session;
    // Before the question who is logged in: PKCS#11 3.2, 5.6.8 has this code, and none for a user that is not.
    if !session.operations.lock().awaits_login() {
        return Err(Error::OperationNotInitialized);
    }
    if session.user() != Some(UserType::USER) {
        return Err(Error::UserNotLoggedIn);
    }
    session.token().login(User::User, pin, desk.limits)?;
    session.operations.lock().context_login()
}

/// C_LoginUser (PKCS#11 3.0, 5.6.9). Names come with roles; until then only the two users without a name can log in.
///
/// # Errors
/// [`Error::UserTypeInvalid`] for any name.
pub fn login_user(desk: &Desk<'_>, user: UserType, pin: &[u8], username: &[u8]) -> Result<Reply> {
    if username.is_empty() {
        login(desk, user, pin)
    } else {
        Err(Error::UserTypeInvalid)
    }
}

/// C_Logout.
///
/// # Errors
/// [`Error::UserNotLoggedIn`].
pub fn logout(desk: &Desk<'_>, application: &Application) -> Result<Reply> {
    desk.session.seat.log_out()?;
    // PKCS#11 3.2, 5.6.10: what was going on with private keys ends, in every session of the application.
    application.end_private_operations(desk.session.token().number);
    Ok(Reply::Empty)
}

/// C_InitPIN.
///
/// # Errors
/// [`Error::UserNotLoggedIn`] unless the officer is logged in; [`Error::PinLenRange`].
pub fn init_pin(desk: &Desk<'_>, pin: &[u8]) -> Result<Reply> {
    if desk.session.user() != Some(UserType::SO) {
        return Err(Error::UserNotLoggedIn);
    }
    pin_length(pin, desk.limits)?;
    desk.session.token().init_user_pin(pin)?;
    Ok(Reply::Empty)
}

/// C_SetPIN: the officer's while the officer is logged in, else the user's.
///
/// # Errors
/// [`Error::SessionReadOnly`], [`Error::PinLenRange`], [`Error::PinIncorrect`] and its kin.
pub fn set_pin(desk: &Desk<'_>, old: &[u8], new: &[u8]) -> Result<Reply> {
    desk.session.must_be_read_write()?;
    pin_length(new, desk.limits)?;
    let user = if desk.session.user() == Some(UserType::SO) {
        User::So
    } else {
        User::User
    };
    let changed = desk.session.token().set_pin(user, old, new, desk.limits);
    // PKCS#11 3.2, 5.1.6: C_Login alone says that there is no PIN; here no old PIN is the right one.
    match changed {
        Err(Error::UserPinNotInitialized) => Err(Error::PinIncorrect),
        other => other.map(|()| Reply::Empty),
    }
}

/// The length of a new PIN.
///
/// # Errors
/// [`Error::PinLenRange`].
pub fn pin_length(pin: &[u8], limits: &Limits) -> Result<()> {
    if (limits.pin_bytes_min..=PIN_BYTES_MAX).contains(&pin.len()) {
        Ok(())
    } else {
        Err(Error::PinLenRange)
    }
}

#[cfg(test)]
mod tests;
