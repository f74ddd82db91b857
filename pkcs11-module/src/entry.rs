//! The entries: a request out, an answer in.
//!
//! What lives here: one file per chapter of the standard, and what all of them share: what must be told before a request goes, what follows
//! from its answer, and which failure is which return value.
//! What must never live here: pointers, C types, rules of the token.
//! Who calls it: the table of functions.

pub(crate) mod cipher;
pub(crate) mod digest;
pub(crate) mod general;
pub(crate) mod keys;
pub(crate) mod objects;
pub(crate) mod once;
pub(crate) mod random;
pub(crate) mod sessions;
pub(crate) mod sign;
pub(crate) mod slots;
mod telling;

use std::sync::Arc;

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{ObjectHandle, Request};
use strongroom_wire::response::{Answer, Body};

use self::telling::tell;
use crate::abi::Out;
use crate::client::{Failure, TRIES_MAX};
use crate::process::Instance;
use crate::sessions::Session;

/// Asks, and reads the body of an answer that is CKR_OK; `read` tells None of a body that answers another question.
fn ask<T>(
    at: &Instance,
    request: &Request<'_>,
    absent: Rv,
    read: impl FnOnce(&Body<'_>) -> Option<T>,
) -> Result<T, Rv> {
    let session = enter(at, request)?;
    ask_known(at, session.as_deref(), request, absent, read)
}

/// As [`ask`], where what was begun here need not be told or has been.
fn ask_known<T>(
    at: &Instance,
    session: Option<&Session>,
    request: &Request<'_>,
    absent: Rv,
    read: impl FnOnce(&Body<'_>) -> Option<T>,
) -> Result<T, Rv> {
    answer(at, session, request, absent, |answer| {
        if answer.rv == Rv::OK {
            read(&answer.body).ok_or(Rv::DEVICE_ERROR)
        } else {
            Err(answer.rv)
        }
    })
}

/// Asks for something that has no result but its return value.
fn done(at: &Instance, request: &Request<'_>) -> Result<(), Rv> {
    ask(at, request, Rv::DEVICE_REMOVED, |_| Some(()))
}

/// Asks for one new object.
fn object(at: &Instance, request: &Request<'_>) -> Result<ObjectHandle, Rv> {
    ask(at, request, Rv::DEVICE_REMOVED, |body| {
        if let Body::Object(object) = body {
            Some(*object)
        } else {
            None
        }
    })
}

/// Asks for an output of variable length, and delivers it out of the connection's buffer: it is copied once.
fn output(at: &Instance, request: &Request<'_>, out: Out) -> Result<(), Rv> {
    let session = enter(at, request)?;
    output_known(at, session.as_deref(), request, out).map(|_| ())
}

/// As [`output`], where what was begun here has been told; answers the length of the output in bytes.
fn output_known(
    at: &Instance,
    session: Option<&Session>,
    request: &Request<'_>,
    out: Out,
) -> Result<u64, Rv> {
    answer(at, session, request, Rv::DEVICE_REMOVED, |answer| {
        delivered(answer, out)
    })
}

/// Delivers the output of an answer, and answers its length in bytes.
fn delivered(answer: &Answer<'_>, out: Out) -> Result<u64, Rv> {
    if let Body::Output { length, data } = &answer.body {
        out.deliver(answer.rv, *length, data.expose())?;
        return Ok(*length);
    }
    Err(refusal(answer))
}

/// What an answer without the expected output says.
fn refusal(answer: &Answer<'_>) -> Rv {
    let told = answer.rv == Rv::OK || answer.rv == Rv::BUFFER_TOO_SMALL;
    if told { Rv::DEVICE_ERROR } else { answer.rv }
}

/// Asks, lets `read` see the answer, and draws the conclusions for what the module keeps. As long as nothing was carried out, it is asked
/// again: of the daemon that there is now, once it knows what it must.
fn answer<T>(
    at: &Instance,
    session: Option<&Session>,
    request: &Request<'_>,
    absent: Rv,
    read: impl FnOnce(&Answer<'_>) -> Result<T, Rv>,
) -> Result<T, Rv> {
    let mut answered = None;
    let mut read = Some(|answer: &Answer<'_>| {
        answered = Some(answer.rv);
        read(answer)
    });
    let mut asked = Err(Failure::Lost);
    let mut doubted = false;
    for _ in 0..TRIES_MAX {
        let era = match session {
            Some(session) => {
                let era = tell(at, session)?;
                if let Some(over) = session.remote.answer_lost(request) {
                    return answer_lost(over, &mut read);
                }
                Some(era)
            }
            None => None,
        };
        asked = at.client.ask(request, era, &mut read);
        match (&asked, era) {
            (Err(Failure::Again), _) => {}
            // It knew the session, so it has lost all that this process told it: the last connection had ended.
            (Err(Failure::UnknownSession), Some(era)) if !doubted => {
                doubted = true;
                at.client.end_era(era);
            }
            _ => break,
        }
    }
    if asked.is_err() || changes_something(request) {
        at.client.stamps.change();
    }
    drop(read);
    if let Some(session) = session {
        session.remote.note(request, answered);
        if matches!(asked, Err(Failure::UnknownSession)) {
            let _gone = at.sessions.remove(session.handle);
        }
    }
    asked.map_err(|failure| rv_of(failure, absent))?
}

/// Answers for an operation that was lost with its daemon.
fn answer_lost<T>(
    rv: Rv,
    read: &mut Option<impl FnOnce(&Answer<'_>) -> Result<T, Rv>>,
) -> Result<T, Rv> {
    let body = Body::Empty;
    let read = read.take().ok_or(Rv::DEVICE_ERROR)?;
    read(&Answer { rv, body })
}

/// Before a request goes: its session must be there, and what was begun here and matters to it must be known to the daemon.
fn enter(at: &Instance, request: &Request<'_>) -> Result<Option<Arc<Session>>, Rv> {
    let Some(session) = request.session() else {
        return Ok(None);
    };
    let session = at.sessions.get(session)?;
    match concern(request) {
        Concern::Nothing => {}
        Concern::ItsSession => settle(at, &session),
        Concern::AllSessions => {
            for session in at.sessions.with_something_begun() {
                settle(at, &session);
            }
        }
    }
    Ok(Some(session))
}

/// Tells the daemon what a session has begun here. A refusal is told by the function that needs the operation.
fn settle(at: &Instance, session: &Session) {
    let mut operations = session.operations();
    let (begun, digest) = operations.take_begun();
    for (kind, mechanism, key) in begun {
        at.sessions.count_begun(-1);
        twice(|| once::ask_init(at, session, kind, Some(mechanism.wire()), key));
    }
    if let Some(kind) = digest {
        at.sessions.count_begun(-1);
        twice(|| digest::ask_init(at, session, Some(kind)));
    }
}

/// Begins an operation; where the answer was lost with the daemon, in the next one.
fn twice(mut begin: impl FnMut() -> Result<(), Rv>) {
    if begin() == Err(Rv::DEVICE_ERROR) {
        let _refusal = begin();
    }
}

/// Which sessions' operations, begun here, matter to a request.
enum Concern {
    Nothing,
    ItsSession,
    AllSessions,
}

const fn concern(request: &Request<'_>) -> Concern {
    use Request as R;
    // They go on with operations.
    let goes_on = matches!(
        request,
        R::EncryptUpdate { .. }
            | R::EncryptFinal { .. }
            | R::DecryptUpdate { .. }
            | R::DecryptFinal { .. }
            | R::DigestUpdate { .. }
            | R::DigestKey { .. }
            | R::DigestFinal { .. }
            | R::SignUpdate { .. }
            | R::SignFinal { .. }
            | R::VerifyUpdate { .. }
            | R::VerifyFinal { .. }
            | R::DualUpdate { .. }
            | R::SessionCancel { .. }
    );
    if changes_login_or_object(request) {
        Concern::AllSessions
    } else if goes_on {
        Concern::ItsSession
    } else {
        Concern::Nothing
    }
}

/// Whether a request ends operations, or changes what they need.
const fn changes_login_or_object(request: &Request<'_>) -> bool {
    use Request as R;
    matches!(
        request,
        R::Login { .. }
            | R::LoginUser { .. }
            | R::Logout { .. }
            | R::DestroyObject { .. }
            | R::SetAttributeValue { .. }
    )
}

/// Whether a request changes what this process may have kept, other than by what the daemon counts.
const fn changes_something(request: &Request<'_>) -> bool {
    use Request as R;
    changes_login_or_object(request)
        || matches!(
            request,
            R::CloseSession { .. } | R::CloseAllSessions { .. } | R::InitToken { .. }
        )
}

/// The return value of a request that was not answered. Without a daemon it depends on what was asked.
const fn rv_of(failure: Failure, absent: Rv) -> Rv {
    match failure {
        Failure::Absent | Failure::Refused => absent,
        Failure::Ended => Rv::CRYPTOKI_NOT_INITIALIZED,
        Failure::Again | Failure::Lost => Rv::DEVICE_ERROR,
        Failure::UnknownSession => Rv::SESSION_HANDLE_INVALID,
        Failure::Memory => Rv::HOST_MEMORY,
        Failure::TooLong => Rv::DATA_LEN_RANGE,
    }
}
