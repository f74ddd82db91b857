//! Chapter signatures and MACs, made and verified (PKCS#11 3.2, 5.13 to 5.16).
//!
//! What lives here: start, one shot, parts, end, with and without recovery.
//! What must never live here: a verification done here; the key is the daemon's.
//! Who calls it: the table of functions.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{Mechanism, ObjectHandle, Request, SessionHandle};

use super::once::{self, Whole};
use super::{done, output};
use crate::abi::{In, Mechanism as OwnedMechanism, Out};
use crate::operations::Kind;
use crate::process::Instance;

/// C_SignInit.
pub(crate) fn sign_init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<OwnedMechanism>,
    key: ObjectHandle,
) -> Result<(), Rv> {
    once::init(at, session, Kind::Sign, mechanism, key)
}

/// C_Sign.
pub(crate) fn sign(at: &Instance, session: SessionHandle, data: &In, out: Out) -> Result<(), Rv> {
    once::output(at, session, Whole::Sign(data.secret()), out)
}

/// C_SignUpdate.
pub(crate) fn sign_update(at: &Instance, session: SessionHandle, part: &In) -> Result<(), Rv> {
    done(
        at,
        &Request::SignUpdate {
            session,
            part: part.secret(),
        },
    )
}

/// C_SignFinal.
pub(crate) fn sign_final(at: &Instance, session: SessionHandle, out: Out) -> Result<(), Rv> {
    output(
        at,
        &Request::SignFinal {
            session,
            output: out.wanted(),
        },
        out,
    )
}

/// C_SignRecoverInit.
pub(crate) fn sign_recover_init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<Mechanism<'_>>,
    key: ObjectHandle,
) -> Result<(), Rv> {
    done(
        at,
        &Request::SignRecoverInit {
            session,
            mechanism,
            key,
        },
    )
}

/// C_SignRecover.
pub(crate) fn sign_recover(
    at: &Instance,
    session: SessionHandle,
    data: &In,
    out: Out,
) -> Result<(), Rv> {
    let data = data.secret();
    output(
        at,
        &Request::SignRecover {
            session,
            data,
            output: out.wanted(),
        },
        out,
    )
}

/// C_VerifyInit.
pub(crate) fn verify_init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<OwnedMechanism>,
    key: ObjectHandle,
) -> Result<(), Rv> {
    once::init(at, session, Kind::Verify, mechanism, key)
}

/// C_Verify.
pub(crate) fn verify(
    at: &Instance,
    session: SessionHandle,
    data: &In,
    signature: &In,
) -> Result<(), Rv> {
    once::verify(at, session, data.secret(), signature.public())
}

/// C_VerifyUpdate.
pub(crate) fn verify_update(at: &Instance, session: SessionHandle, part: &In) -> Result<(), Rv> {
    done(
        at,
        &Request::VerifyUpdate {
            session,
            part: part.secret(),
        },
    )
}

/// C_VerifyFinal.
pub(crate) fn verify_final(
    at: &Instance,
    session: SessionHandle,
    signature: &In,
) -> Result<(), Rv> {
    done(
        at,
        &Request::VerifyFinal {
            session,
            signature: signature.public(),
        },
    )
}

/// C_VerifyRecoverInit.
pub(crate) fn verify_recover_init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<Mechanism<'_>>,
    key: ObjectHandle,
) -> Result<(), Rv> {
    done(
        at,
        &Request::VerifyRecoverInit {
            session,
            mechanism,
            key,
        },
    )
}

/// C_VerifyRecover.
pub(crate) fn verify_recover(
    at: &Instance,
    session: SessionHandle,
    signature: &In,
    out: Out,
) -> Result<(), Rv> {
    let signature = signature.public();
    output(
        at,
        &Request::VerifyRecover {
            session,
            signature,
            output: out.wanted(),
        },
        out,
    )
}

/// C_VerifySignatureInit.
pub(crate) fn verify_signature_init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<Mechanism<'_>>,
    key: ObjectHandle,
    signature: &In,
) -> Result<(), Rv> {
    done(
        at,
        &Request::VerifySignatureInit {
            session,
            mechanism,
            key,
            signature: signature.public(),
        },
    )
}

/// C_VerifySignature.
pub(crate) fn verify_signature(at: &Instance, session: SessionHandle, data: &In) -> Result<(), Rv> {
    let data = data.secret();
    done(at, &Request::VerifySignature { session, data })
}

/// C_VerifySignatureUpdate.
pub(crate) fn verify_signature_update(
    at: &Instance,
    session: SessionHandle,
    part: &In,
) -> Result<(), Rv> {
    let part = part.secret();
    done(at, &Request::VerifySignatureUpdate { session, part })
}

/// C_VerifySignatureFinal.
pub(crate) fn verify_signature_final(at: &Instance, session: SessionHandle) -> Result<(), Rv> {
    done(at, &Request::VerifySignatureFinal { session })
}
