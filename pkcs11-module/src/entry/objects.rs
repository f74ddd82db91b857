//! Chapter objects: create, copy, destroy, read, find (PKCS#11 3.2, 5.7).
//!
//! What lives here: requests on objects and searches.
//! What must never live here: how values fit the caller's buffers; templates know.
//! Who calls it: the table of functions.

use strongroom_wire::ck::Rv;
use strongroom_wire::codec::List;
use strongroom_wire::request::{ObjectHandle, Request, SessionHandle, Template};
use strongroom_wire::response::{ANSWER_ITEMS_MAX, Answer, Body};

use super::{answer, ask, done, enter, object};
use crate::abi::Wanted;
use crate::process::Instance;

/// C_CreateObject.
pub(crate) fn create(
    at: &Instance,
    session: SessionHandle,
    template: Template<'_>,
) -> Result<ObjectHandle, Rv> {
    object(at, &Request::CreateObject { session, template })
}

/// C_CopyObject.
pub(crate) fn copy(
    at: &Instance,
    session: SessionHandle,
    source: ObjectHandle,
    template: Template<'_>,
) -> Result<ObjectHandle, Rv> {
    object(
        at,
        &Request::CopyObject {
            session,
            object: source,
            template,
        },
    )
}

/// C_DestroyObject.
pub(crate) fn destroy(
    at: &Instance,
    session: SessionHandle,
    object: ObjectHandle,
) -> Result<(), Rv> {
    done(at, &Request::DestroyObject { session, object })
}

/// C_GetObjectSize.
pub(crate) fn size(at: &Instance, session: SessionHandle, object: ObjectHandle) -> Result<u64, Rv> {
    let request = Request::ObjectSize { session, object };
    ask(at, &request, Rv::DEVICE_REMOVED, |body| {
        if let Body::Size(bytes) = body {
            Some(*bytes)
        } else {
            None
        }
    })
}

/// C_GetAttributeValue. Attributes come with CKR_OK and with the return values that tell of single ones; how the whole went is
/// told by `wanted`, which sees each of them and the buffers.
pub(crate) fn attribute_value(
    at: &Instance,
    session: SessionHandle,
    object: ObjectHandle,
    wanted: &Wanted,
) -> Result<(), Rv> {
    let place = (at.sessions.get(session)?.slot, object);
    let now = at.client.now();
    if let Some(now) = now
        && let Some(kept) = at.kept.show(place, now, wanted.kinds(), |answers| {
            wanted.deliver(answers)
        })
    {
        return kept;
    }
    let read = |answer: &Answer<'_>| {
        let comes_with = [
            Rv::OK,
            Rv::ATTRIBUTE_SENSITIVE,
            Rv::ATTRIBUTE_TYPE_INVALID,
            Rv::BUFFER_TOO_SMALL,
        ];
        if let Body::Attributes(attributes) = &answer.body
            && comes_with.contains(&answer.rv)
        {
            if let Some(now) = now {
                at.kept.keep(place, now, wanted.kinds(), attributes.items());
            }
            return wanted.deliver(attributes.items());
        }
        Err(if answer.rv == Rv::OK {
            Rv::DEVICE_ERROR
        } else {
            answer.rv
        })
    };
    let request = Request::AttributeValue {
        session,
        object,
        kinds: List::new(wanted.kinds().to_vec()).unwrap_or_default(),
    };
    let known = enter(at, &request)?;
    answer(at, known.as_deref(), &request, Rv::DEVICE_REMOVED, read)
}

/// C_SetAttributeValue.
pub(crate) fn set_attribute_value(
    at: &Instance,
    session: SessionHandle,
    object: ObjectHandle,
    template: Template<'_>,
) -> Result<(), Rv> {
    done(
        at,
        &Request::SetAttributeValue {
            session,
            object,
            template,
        },
    )
}

/// C_FindObjectsInit.
pub(crate) fn find_init(
    at: &Instance,
    session: SessionHandle,
    template: Template<'_>,
) -> Result<(), Rv> {
    done(at, &Request::FindObjectsInit { session, template })
}

/// C_FindObjects. The caller comes back until it gets none, so one answer need not be as long as its buffer.
pub(crate) fn find(
    at: &Instance,
    session: SessionHandle,
    max: u64,
) -> Result<Vec<ObjectHandle>, Rv> {
    let max = max.min(u64::try_from(ANSWER_ITEMS_MAX).unwrap_or(u64::MAX));
    let request = Request::FindObjects { session, max };
    ask(at, &request, Rv::DEVICE_REMOVED, |body| {
        let Body::Objects(found) = body else {
            return None;
        };
        // More than asked for would not fit the buffer.
        let fits = u64::try_from(found.items().len()).is_ok_and(|count| count <= max);
        fits.then(|| found.items().to_vec())
    })
}

/// C_FindObjectsFinal.
pub(crate) fn find_final(at: &Instance, session: SessionHandle) -> Result<(), Rv> {
    done(at, &Request::FindObjectsFinal { session })
}
