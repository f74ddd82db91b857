//! Chapter key management: generate, wrap, unwrap, derive (PKCS#11 3.2, 5.18).
//!
//! What lives here: requests that make keys or move them.
//! What must never live here: a key.
//! Who calls it: the table of functions.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{Mechanism, ObjectHandle, Output, Request, SessionHandle, Template};
use strongroom_wire::response::Body;

use super::{answer, ask, delivered, enter, object};
use crate::abi::{In, Out, Room};
use crate::process::Instance;

/// Where a wrapped key goes, and where the initialisation vector goes that the token makes for it.
pub(crate) struct WrapOut {
    pub(crate) wrapped: Out,
    /// None where the parameter of the mechanism has no such place.
    pub(crate) iv: Option<Room>,
}

/// C_GenerateKey.
pub(crate) fn generate(
    at: &Instance,
    session: SessionHandle,
    mechanism: Mechanism<'_>,
    template: Template<'_>,
) -> Result<ObjectHandle, Rv> {
    object(
        at,
        &Request::GenerateKey {
            session,
            mechanism,
            template,
        },
    )
}

/// C_GenerateKeyPair: the public key first.
pub(crate) fn generate_pair(
    at: &Instance,
    session: SessionHandle,
    mechanism: Mechanism<'_>,
    public: Template<'_>,
    private: Template<'_>,
) -> Result<(ObjectHandle, ObjectHandle), Rv> {
    let request = Request::GenerateKeyPair {
        session,
        mechanism,
        public,
        private,
    };
    ask(at, &request, Rv::DEVICE_REMOVED, |body| {
        if let Body::KeyPair { public, private } = body {
            Some((*public, *private))
        } else {
            None
        }
    })
}

/// C_WrapKey.
pub(crate) fn wrap(
    at: &Instance,
    session: SessionHandle,
    mechanism: Mechanism<'_>,
    wrapping_key: ObjectHandle,
    key: ObjectHandle,
    out: WrapOut,
) -> Result<(), Rv> {
    let request = Request::WrapKey {
        session,
        mechanism,
        wrapping_key,
        key,
        output: out.wrapped.wanted(),
    };
    wrapped(at, &request, &out)
}

/// C_WrapKeyAuthenticated.
pub(crate) fn wrap_authenticated(
    at: &Instance,
    session: SessionHandle,
    mechanism: Mechanism<'_>,
    wrapping_key: ObjectHandle,
    key: ObjectHandle,
    associated: &In,
    out: WrapOut,
) -> Result<(), Rv> {
    let request = Request::WrapKeyAuthenticated {
        session,
        mechanism,
        wrapping_key,
        key,
        associated: associated.public(),
        output: out.wrapped.wanted(),
    };
    wrapped(at, &request, &out)
}

/// Asks for a wrapped key, and delivers it with the vector that was made for it.
fn wrapped(at: &Instance, request: &Request<'_>, out: &WrapOut) -> Result<(), Rv> {
    let session = enter(at, request)?;
    answer(
        at,
        session.as_deref(),
        request,
        Rv::DEVICE_REMOVED,
        |answer| {
            let Body::Wrapped { iv, length, data } = &answer.body else {
                return delivered(answer, out.wrapped).map(|_| ());
            };
            // A daemon that made another vector than was asked for is not believed; nor one that wraps where only the length was asked.
            let place = out.iv.filter(|place| place.bytes() == iv.len());
            let place = place.filter(|_| out.wrapped.wanted() != Output::Size);
            let place = place.ok_or(Rv::DEVICE_ERROR)?;
            out.wrapped.deliver(answer.rv, *length, data.expose())?;
            place.write(0, iv);
            Ok(())
        },
    )
}

/// C_UnwrapKey.
pub(crate) fn unwrap(
    at: &Instance,
    session: SessionHandle,
    mechanism: Mechanism<'_>,
    unwrapping_key: ObjectHandle,
    wrapped: &In,
    template: Template<'_>,
) -> Result<ObjectHandle, Rv> {
    let wrapped = wrapped.public();
    object(
        at,
        &Request::UnwrapKey {
            session,
            mechanism,
            unwrapping_key,
            wrapped,
            template,
        },
    )
}

/// C_UnwrapKeyAuthenticated.
pub(crate) fn unwrap_authenticated(
    at: &Instance,
    session: SessionHandle,
    mechanism: Mechanism<'_>,
    unwrapping_key: ObjectHandle,
    wrapped: &In,
    template: Template<'_>,
    associated: &In,
) -> Result<ObjectHandle, Rv> {
    let request = Request::UnwrapKeyAuthenticated {
        session,
        mechanism,
        unwrapping_key,
        wrapped: wrapped.public(),
        template,
        associated: associated.public(),
    };
    object(at, &request)
}

/// C_DeriveKey.
pub(crate) fn derive(
    at: &Instance,
    session: SessionHandle,
    mechanism: Mechanism<'_>,
    base_key: ObjectHandle,
    template: Template<'_>,
) -> Result<ObjectHandle, Rv> {
    object(
        at,
        &Request::DeriveKey {
            session,
            mechanism,
            base_key,
            template,
        },
    )
}
