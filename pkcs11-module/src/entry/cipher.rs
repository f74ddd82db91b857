//! Chapter encryption and decryption (PKCS#11 3.2, 5.8 and 5.10).
//!
//! What lives here: start, one shot, parts, end, for both directions.
//! What must never live here: keeping data between parts; the daemon holds the operation.
//! Who calls it: the table of functions.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{Dual, ObjectHandle, Request, SessionHandle};

use super::once::{self, Whole};
use super::output;
use crate::abi::{In, Mechanism, Out};
use crate::operations::Kind;
use crate::process::Instance;

/// C_EncryptInit.
pub(crate) fn encrypt_init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<Mechanism>,
    key: ObjectHandle,
) -> Result<(), Rv> {
    once::init(at, session, Kind::Encrypt, mechanism, key)
}

/// C_Encrypt.
pub(crate) fn encrypt(
    at: &Instance,
    session: SessionHandle,
    data: &In,
    out: Out,
) -> Result<(), Rv> {
    once::output(at, session, Whole::Encrypt(data.secret()), out)
}

/// C_EncryptUpdate.
pub(crate) fn encrypt_update(
    at: &Instance,
    session: SessionHandle,
    part: &In,
    out: Out,
) -> Result<(), Rv> {
    let part = part.secret();
    output(
        at,
        &Request::EncryptUpdate {
            session,
            part,
            output: out.wanted(),
        },
        out,
    )
}

/// C_EncryptFinal.
pub(crate) fn encrypt_final(at: &Instance, session: SessionHandle, out: Out) -> Result<(), Rv> {
    output(
        at,
        &Request::EncryptFinal {
            session,
            output: out.wanted(),
        },
        out,
    )
}

/// C_DecryptInit.
pub(crate) fn decrypt_init(
    at: &Instance,
    session: SessionHandle,
    mechanism: Option<Mechanism>,
    key: ObjectHandle,
) -> Result<(), Rv> {
    once::init(at, session, Kind::Decrypt, mechanism, key)
}

/// C_Decrypt.
pub(crate) fn decrypt(
    at: &Instance,
    session: SessionHandle,
    data: &In,
    out: Out,
) -> Result<(), Rv> {
    once::output(at, session, Whole::Decrypt(data.secret()), out)
}

/// C_DecryptUpdate.
pub(crate) fn decrypt_update(
    at: &Instance,
    session: SessionHandle,
    part: &In,
    out: Out,
) -> Result<(), Rv> {
    let part = part.secret();
    output(
        at,
        &Request::DecryptUpdate {
            session,
            part,
            output: out.wanted(),
        },
        out,
    )
}

/// C_DecryptFinal.
pub(crate) fn decrypt_final(at: &Instance, session: SessionHandle, out: Out) -> Result<(), Rv> {
    output(
        at,
        &Request::DecryptFinal {
            session,
            output: out.wanted(),
        },
        out,
    )
}

/// C_DigestEncryptUpdate, C_DecryptDigestUpdate, C_SignEncryptUpdate, C_DecryptVerifyUpdate.
pub(crate) fn dual_update(
    at: &Instance,
    session: SessionHandle,
    dual: Dual,
    part: &In,
    out: Out,
) -> Result<(), Rv> {
    let part = part.secret();
    output(
        at,
        &Request::DualUpdate {
            session,
            dual,
            part,
            output: out.wanted(),
        },
        out,
    )
}
