//! Chapter message digests (PKCS#11 3.2, 5.12).
//!
//! What lives here: start, one shot, parts, keys, end.
//! What must never live here: a digest computed here; hashing in the module would need a second library of primitives.
//! Who calls it: the table of functions.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{Mechanism, ObjectHandle, Request, SessionHandle};

use super::{done, output};
use crate::abi::{In, Out};
use crate::process::Instance;

/// C_DigestInit.
pub(crate) fn init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<Mechanism<'_>>,
) -> Result<(), Rv> {
    done(at, &Request::DigestInit { session, mechanism })
}

/// C_Digest.
pub(crate) fn digest(at: &Instance, session: SessionHandle, data: &In, out: Out) -> Result<(), Rv> {
    let data = data.secret();
    output(
        at,
        &Request::Digest {
            session,
            data,
            output: out.wanted(),
        },
        out,
    )
}

/// C_DigestUpdate.
pub(crate) fn update(at: &Instance, session: SessionHandle, part: &In) -> Result<(), Rv> {
    done(
        at,
        &Request::DigestUpdate {
            session,
            part: part.secret(),
        },
    )
}

/// C_DigestKey.
pub(crate) fn key(at: &Instance, session: SessionHandle, key: ObjectHandle) -> Result<(), Rv> {
    done(at, &Request::DigestKey { session, key })
}

/// C_DigestFinal.
pub(crate) fn finish(at: &Instance, session: SessionHandle, out: Out) -> Result<(), Rv> {
    output(
        at,
        &Request::DigestFinal {
            session,
            output: out.wanted(),
        },
        out,
    )
}
