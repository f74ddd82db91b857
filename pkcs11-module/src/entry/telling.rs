//! Telling the daemon what it must know of a session before a request in it goes.
//!
//! What lives here: the order in which a daemon that knows nothing is told: the session, the login at its slot, what the session had begun.
//! What must never live here: what the application asks.
//! Who calls it: the entries, before each request in a session.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::Request;
use strongroom_wire::response::Answer;
use strongroom_wire::secret::Secret;

use super::rv_of;
use crate::client::{Era, Failure, TRIES_MAX};
use crate::logins::Shown;
use crate::process::Instance;
use crate::sessions::{Session, Told};

/// Why the daemon was not told.
enum Untold {
    /// It is not there, or was replaced meanwhile.
    Failed(Failure),
    /// It said no.
    Refused,
    /// It said that the token was taken out: what was open there is no more.
    Removed,
}

impl From<Failure> for Untold {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Sees to it that the daemon knows a session; answers in which era it does.
pub(super) fn tell(at: &Instance, session: &Session) -> Result<Era, Rv> {
    let era = at.client.era();
    if session.is_known(era) {
        return Ok(era);
    }
    let told = tell_anew(at, session);
    if told == Err(Rv::SESSION_HANDLE_INVALID) {
        let _gone = at.sessions.remove(session.handle);
    }
    told
}

fn tell_anew(at: &Instance, session: &Session) -> Result<Era, Rv> {
    let mut told = session.told();
    let mut anew = false;
    // A daemon that loses its answer has not lost anything of the application's: what is told here can be told again.
    for _ in 0..TRIES_MAX {
        let era = at.client.era();
        let before = *told;
        match before {
            Told::Open(known) if known == era => return Ok(era),
            Told::Closed => return Err(Rv::SESSION_HANDLE_INVALID),
            Told::Open(_) | Told::Nothing => {}
        }
        match tell_in(at, session, era, &mut anew) {
            Ok(()) => {
                at.sessions.note_told(session, &mut told, era);
                return Ok(era);
            }
            Err(Untold::Failed(Failure::Lost)) => anew = true,
            Err(Untold::Failed(Failure::Again | Failure::UnknownSession)) => {}
            Err(Untold::Failed(failure)) => return Err(rv_of(failure, Rv::DEVICE_REMOVED)),
            // It was opened when it could be, and this very daemon now refuses: the session is no more.
            Err(Untold::Refused) if before == Told::Nothing && session.born == era => {
                return Err(Rv::SESSION_HANDLE_INVALID);
            }
            Err(Untold::Removed) => {
                // Its login was taken out with it.
                at.logins.forget(session.slot);
                return Err(Rv::SESSION_HANDLE_INVALID);
            }
            // A daemon that was started anew refuses: it may be sealed, or full. Some day it will not.
            Err(Untold::Refused) => return Err(Rv::DEVICE_ERROR),
        }
    }
    Err(Rv::DEVICE_ERROR)
}

/// `anew` says whether the daemon may have opened it within this telling, and so knows of nothing that it had begun.
fn tell_in(at: &Instance, session: &Session, era: Era, anew: &mut bool) -> Result<(), Untold> {
    let opened = ask(
        at,
        era,
        &Request::OpenSession {
            slot: session.slot,
            flags: session.flags,
            session: session.handle,
        },
    )?;
    match opened {
        Rv::OK => *anew = true,
        // The handle is taken: the session is there.
        Rv::ARGUMENTS_BAD => {}
        Rv::TOKEN_NOT_PRESENT => return Err(Untold::Removed),
        _ => return Err(Untold::Refused),
    }
    restore_login(at, session, era)?.map_err(|_| Untold::Refused)?;
    if !*anew {
        // It was there before, with all that it had begun: the era was a mistake.
        return Ok(());
    }
    let begin = |begun: &Request<'_>| -> Result<bool, Failure> {
        let rv = ask(at, era, begun)?;
        // Active already: begun by an earlier try whose answer was lost.
        Ok(rv == Rv::OK || rv == Rv::OPERATION_ACTIVE)
    };
    Ok(session.remote.begin_again(begin)?)
}

/// Sees to it that the login of a session's slot is in force in the era in which the session was opened.
pub(super) fn restore_login(
    at: &Instance,
    session: &Session,
    era: Era,
) -> Result<Result<(), Rv>, Failure> {
    at.logins.restore(session.slot, era, |ticket| {
        let request = Request::RestoreLogin {
            session: session.handle,
            ticket: Secret::new(ticket),
        };
        Ok(match ask(at, era, &request)? {
            Rv::OK | Rv::USER_ALREADY_LOGGED_IN => Shown::InForce,
            Rv::USER_NOT_LOGGED_IN | Rv::PIN_LOCKED | Rv::USER_ANOTHER_ALREADY_LOGGED_IN => {
                Shown::Worthless
            }
            other => Shown::NotNow(other),
        })
    })
}

/// Asks in one era only; answers the return value.
fn ask(at: &Instance, era: Era, request: &Request<'_>) -> Result<Rv, Failure> {
    at.client.ask(
        request,
        Some(era),
        &mut Some(|answer: &Answer<'_>| answer.rv),
    )
}
