//! Chapter key management: generate, wrap, unwrap, derive (PKCS#11 3.2, 5.18).
//!
//! What lives here: requests that make keys or move them.
//! What must never live here: a key.
//! Who calls it: the table of functions.

use strongroom_wire::ck::Rv;
use strongroom_wire::request::{Mechanism, ObjectHandle, Output, Request, SessionHandle, Template};
use strongroom_wire::response::Body;

use super::{answer, ask, enter, object, refusal};
use crate::abi::{In, Out, Room, WrapPlaces};
use crate::process::Instance;

/// Where a wrapped key goes, with what the token makes for it.
pub(crate) struct WrapOut {
    pub(crate) wrapped: Out,
    pub(crate) places: WrapPlaces,
}

impl WrapOut {
    /// How many bytes at the end of what the daemon calls the wrapped key go elsewhere.
    fn tag_bytes(&self) -> usize {
        self.places.tag.map_or(0, Room::bytes)
    }

    /// What the daemon is asked for.
    fn wanted(&self) -> Output {
        match self.wrapped.wanted() {
            Output::Capacity(capacity) => {
                Output::Capacity(capacity.saturating_add(self.tag_bytes() as u64))
            }
            Output::Size => Output::Size,
        }
    }
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
        output: out.wanted(),
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
        output: out.wanted(),
    };
    wrapped(at, &request, &out)
}

/// Asks for a wrapped key, and delivers it with the vector that was made for it, and with its tag where that has a place of its own.
fn wrapped(at: &Instance, request: &Request<'_>, out: &WrapOut) -> Result<(), Rv> {
    let session = enter(at, request)?;
    answer(
        at,
        session.as_deref(),
        request,
        Rv::DEVICE_REMOVED,
        |answer| {
            let (iv, length, data) = if let Body::Wrapped { iv, length, data } = &answer.body {
                (Some(*iv), *length, data.expose())
            } else if let Body::Output { length, data } = &answer.body {
                (None, *length, data.expose())
            } else {
                return Err(refusal(answer));
            };
            // A daemon that made another vector than was asked for is not believed; nor one that wraps where only the length was asked.
            let fits = |iv: &&[u8]| {
                let asked = out.wrapped.wanted() != Output::Size;
                asked && out.places.iv.is_some_and(|place| place.bytes() == iv.len())
            };
            if iv.is_some_and(|iv| !fits(&iv)) {
                return Err(Rv::DEVICE_ERROR);
            }
            let tag_bytes = out.tag_bytes();
            let length = length
                .checked_sub(tag_bytes as u64)
                .ok_or(Rv::DEVICE_ERROR)?;
            // Where the length alone is told, there is no tag either.
            let key_bytes = data.len().saturating_sub(tag_bytes);
            let (data, tag) = data.split_at_checked(key_bytes).ok_or(Rv::DEVICE_ERROR)?;
            out.wrapped.deliver(answer.rv, length, data)?;
            for (place, bytes) in [
                (out.places.iv, iv.unwrap_or_default()),
                (out.places.tag, tag),
            ] {
                if let Some(place) = place {
                    place.write(0, bytes);
                }
            }
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
