//! Chapter key management: generate, wrap, unwrap, derive (PKCS#11 3.2, 5.18).
//!
//! What lives here: requests that make keys or move them.
//! What must never live here: a key.
//! Who calls it: the table of functions.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{Mechanism, ObjectHandle, Request, SessionHandle, Template};
use strongroom_wire::response::Body;

use super::{ask, object, output};
use crate::abi::{In, Out};
use crate::process::Instance;

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
    out: Out,
) -> Result<(), Rv> {
    let wanted = out.wanted();
    let request = Request::WrapKey {
        session,
        mechanism,
        wrapping_key,
        key,
        output: wanted,
    };
    output(at, &request, out)
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
