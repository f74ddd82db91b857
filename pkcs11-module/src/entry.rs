//! The entries: a request out, an answer in.
//!
//! What lives here: one file per chapter of the standard, and what all of them share: which failure is which return value.
//! What must never live here: pointers, C types, rules of the token.
//! Who calls it: the table of functions.

pub(crate) mod cipher;
pub(crate) mod digest;
pub(crate) mod general;
pub(crate) mod keys;
pub(crate) mod objects;
pub(crate) mod random;
pub(crate) mod sessions;
pub(crate) mod sign;
pub(crate) mod slots;

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{ObjectHandle, Request};
use strongroom_wire::response::{Answer, Body};

use crate::abi::Out;
use crate::client::Failure;
use crate::process::Instance;

/// Asks, and reads the body of an answer that is CKR_OK; `read` tells None of a body that answers another question.
fn ask<T>(
    at: &Instance,
    request: &Request<'_>,
    absent: Rv,
    read: impl FnOnce(&Body<'_>) -> Option<T>,
) -> Result<T, Rv> {
    let answer = |answer: &Answer<'_>| {
        if answer.rv == Rv::OK {
            read(&answer.body).ok_or(Rv::DEVICE_ERROR)
        } else {
            Err(answer.rv)
        }
    };
    at.client
        .ask(request, answer)
        .map_err(|failure| rv_of(failure, absent))?
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
    let deliver = |answer: &Answer<'_>| {
        if let Body::Output { length, data } = &answer.body {
            return out.deliver(answer.rv, *length, data.expose());
        }
        let told = answer.rv == Rv::OK || answer.rv == Rv::BUFFER_TOO_SMALL;
        Err(if told { Rv::DEVICE_ERROR } else { answer.rv })
    };
    at.client
        .ask(request, deliver)
        .map_err(|failure| rv_of(failure, Rv::DEVICE_REMOVED))?
}

/// The return value of a request that was not answered. Without a daemon it depends on what was asked.
const fn rv_of(failure: Failure, absent: Rv) -> Rv {
    match failure {
        Failure::Absent => absent,
        Failure::Ended => Rv::CRYPTOKI_NOT_INITIALIZED,
        Failure::Lost => Rv::DEVICE_ERROR,
        Failure::Memory => Rv::HOST_MEMORY,
        Failure::TooLong => Rv::DATA_LEN_RANGE,
    }
}
