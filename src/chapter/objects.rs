//! Objects (PKCS#11 3.2, 5.7).
//!
//! What lives here: create, copy, destroy, read, change, find; and [`keep`], by which every object comes into being.
//! What must never live here: rules about single attributes (attribute).
//! Who calls it: the service; the keys chapter for what it makes.

use std::sync::Arc;

use strongroom_wire::ck::AttributeType;
use strongroom_wire::request::{self, ObjectHandle};

use super::{AttributeReply, Desk, Reply};
use super::{keys, release};
use crate::attribute::Value;
use crate::attribute::draft::{self, Change, Draft, Implied, Origin};
use crate::attribute::reveal::{Revealed, reveal};
use crate::attribute::table::{self, Form};
use crate::attribute::template::{Copy, Create, Find, Set, Template};
use crate::error::{Error, Result};
use crate::limits::FIND_OBJECTS_MAX;
use crate::object::{Material, Object, OpenKey, Place};
use crate::session::search::Search;
use crate::token::Newcomer;

/// An object to be, with its key if that is open already.
#[derive(Debug)]
pub struct Made {
    /// Attributes and secrets.
    pub draft: Draft,
    /// The key, ready for use.
    pub open: Option<Arc<OpenKey>>,
}

/// Whether this session may make such an object (PKCS#11 3.2, 5.7.1).
///
/// # Errors
/// [`Error::SessionReadOnly`] for a token object in a read-only session, [`Error::UserNotLoggedIn`] for a private one without the user.
pub fn may_keep(desk: &Desk<'_>, is: &dyn Fn(AttributeType) -> bool) -> Result<()> {
    if is(AttributeType::TOKEN) {
        desk.session.must_be_read_write()?;
    }
    if is(AttributeType::PRIVATE) && !desk.session.sees_private() {
        return Err(Error::UserNotLoggedIn);
    }
    Ok(())
}

/// Keeps what was made: in the token's vault or in the session, all or nothing.
///
/// # Errors
/// When it may not be kept, or there is no room.
pub fn keep(desk: &Desk<'_>, made: Vec<Made>) -> Result<Vec<ObjectHandle>> {
    let mut token_objects = Vec::new();
    let mut session_objects = Vec::new();
    let mut order = Vec::new();
    for one in made {
        let newcomer = newcomer(desk, one)?;
        let on_token = belongs_on_token(&newcomer);
        order.push(on_token);
        if on_token {
            token_objects.push(newcomer)
        } else {
            session_objects.push(newcomer)
        }
    }
    // Those of the session first: they can be taken back when the vault refuses the others.
    let in_session = keep_in_session(desk, session_objects)?;
    let on_token = match keep_on_token(desk, token_objects) {
        Ok(on_token) => on_token,
        Err(error) => {
            for handle in in_session {
                drop_from_session(desk, handle);
            }
            return Err(error);
        }
    };
    let (mut in_session, mut on_token) = (in_session.into_iter(), on_token.into_iter());
    Ok(order
        .into_iter()
        .filter_map(|of_token| {
            if of_token {
                on_token.next()
            } else {
                in_session.next()
            }
        })
        .collect())
}

fn newcomer(desk: &Desk<'_>, made: Made) -> Result<Newcomer> {
    may_keep(desk, &|kind| made.draft.is(kind))?;
    Ok(Newcomer {
        material: made.draft.material()?,
        open: made.open,
        attributes: made.draft.into_attributes(),
    })
}

fn belongs_on_token(newcomer: &Newcomer) -> bool {
    newcomer.attributes.flag(AttributeType::TOKEN) == Some(true)
}

/// Where there is one object there is no order to keep, and nothing to take back.
pub(super) fn keep_newcomer(desk: &Desk<'_>, newcomer: Newcomer) -> Result<ObjectHandle> {
    let kept = if belongs_on_token(&newcomer) {
        keep_on_token(desk, vec![newcomer])?
    } else {
        keep_in_session(desk, vec![newcomer])?
    };
    kept.into_iter().next().ok_or(Error::GeneralError)
}

fn keep_on_token(desk: &Desk<'_>, newcomers: Vec<Newcomer>) -> Result<Vec<ObjectHandle>> {
    if newcomers.is_empty() {
        return Ok(Vec::new());
    }
    let added = desk.session.token().add(newcomers, desk.limits)?;
    Ok(added.iter().map(|object| object.handle).collect())
}

/// Whether it was there.
fn drop_from_session(desk: &Desk<'_>, handle: ObjectHandle) -> bool {
    let removed = desk.session.seat.objects.write().remove(handle);
    if let Some(owned) = &mut *desk.session.owned.lock() {
        owned.remove(&handle);
    }
    removed.is_some()
}

fn keep_in_session(desk: &Desk<'_>, newcomers: Vec<Newcomer>) -> Result<Vec<ObjectHandle>> {
    if newcomers.is_empty() {
        return Ok(Vec::new());
    }
    let mut owned = desk.session.owned.lock();
    // Closed by another thread while this one made the object: nobody would end it.
    let owned = owned.as_mut().ok_or(Error::SessionHandleInvalid)?;
    let mut objects = desk.session.seat.objects.write();
    if objects.len() + newcomers.len() > desk.limits.session_objects_max {
        return Err(Error::DeviceMemory);
    }
    let mut handles = Vec::with_capacity(newcomers.len());
    for newcomer in newcomers {
        let handle = desk.numbers.session_object();
        let place = newcomer
            .material
            .map_or(Place::Nowhere, |material| Place::Memory(Arc::new(material)));
        let object = Object::new(handle, newcomer.attributes, place);
        *object.open.lock() = newcomer.open;
        objects.insert(Arc::new(object));
        owned.insert(handle);
        handles.push(handle);
    }
    Ok(handles)
}

/// Keeps one object.
///
/// # Errors
/// As [`keep`].
pub fn keep_one(desk: &Desk<'_>, draft: Draft, open: Option<Arc<OpenKey>>) -> Result<Reply> {
    let newcomer = newcomer(desk, Made { draft, open })?;
    Ok(Reply::Object(keep_newcomer(desk, newcomer)?))
}

/// C_CreateObject.
///
/// # Errors
/// As PKCS#11 3.2, 5.7.1 has them.
pub fn create(desk: &Desk<'_>, sent: &request::Template<'_>) -> Result<Reply> {
    let template = Template::<Create>::parse(sent)?;
    if release::presents(&template) {
        return release::present(desk, &template);
    }
    let mut draft = Draft::parse(&template, Implied::default(), desk.asker())?;
    may_keep(desk, &|kind| draft.is(kind))?;
    let open = keys::complete(&mut draft)?;
    draft.state_origin(Origin::Foreign);
    draft.state_unique_id()?;
    keep_one(desk, draft, open)
}

fn object(desk: &Desk<'_>, handle: ObjectHandle) -> Result<Arc<Object>> {
    desk.object(handle).ok_or(Error::ObjectHandleInvalid)
}

/// C_CopyObject.
///
/// # Errors
/// As PKCS#11 3.2, 5.7.2 has them.
pub fn copy(desk: &Desk<'_>, handle: ObjectHandle, sent: &request::Template<'_>) -> Result<Reply> {
    let original = object(desk, handle)?;
    if !original
        .attributes
        .flag(AttributeType::COPYABLE)
        .unwrap_or(true)
    {
        return Err(Error::ActionProhibited);
    }
    let template = Template::<Copy>::parse(sent)?;
    let shape = draft::shape_of_object(&original.attributes)?;
    let (mut attributes, changed) = draft::changed(
        shape,
        &original.attributes,
        &template,
        Change::Copy,
        desk.asker(),
    )?;
    // A private object does not become a public one by being copied: its label and value would leave the realm of the PIN.
    if original.is(AttributeType::PRIVATE) && attributes.flag(AttributeType::PRIVATE) == Some(false)
    {
        return Err(Error::TemplateInconsistent);
    }
    attributes.set(AttributeType::UNIQUE_ID, draft::unique_id()?);
    may_keep(desk, &|kind| attributes.flag(kind).unwrap_or(false))?;
    let material = match changed {
        Some(material) => Some(material),
        None => desk
            .session
            .token()
            .material(&original)?
            .map(|material| material.duplicate())
            .transpose()?,
    };
    let open = original.open.lock().clone();
    let newcomer = Newcomer {
        attributes,
        material,
        open,
    };
    Ok(Reply::Object(keep_newcomer(desk, newcomer)?))
}

/// C_DestroyObject.
///
/// # Errors
/// As PKCS#11 3.2, 5.7.3 has them.
pub fn destroy(desk: &Desk<'_>, handle: ObjectHandle) -> Result<Reply> {
    let object = object(desk, handle)?;
    let on_token = object.is(AttributeType::TOKEN);
    if on_token {
        desk.session.must_be_read_write()?;
    }
    if !object
        .attributes
        .flag(AttributeType::DESTROYABLE)
        .unwrap_or(true)
    {
        return Err(Error::ActionProhibited);
    }
    if on_token {
        desk.session.token().destroy(handle)?;
    } else if !drop_from_session(desk, handle) {
        return Err(Error::ObjectHandleInvalid);
    }
    Ok(Reply::Empty)
}

/// C_GetObjectSize: bytes of the attributes as applications read them, and of the secret values.
///
/// # Errors
/// [`Error::ObjectHandleInvalid`].
pub fn size(desk: &Desk<'_>, handle: ObjectHandle) -> Result<Reply> {
    let object = object(desk, handle)?;
    let open: usize = object
        .attributes
        .iter()
        .map(|(_, value)| 8 + value.to_bytes().len())
        .sum();
    let secret = desk
        .session
        .token()
        .material(&object)?
        .map_or(0, |material| material.len());
    Ok(Reply::Size((open + secret) as u64))
}

/// C_GetAttributeValue.
///
/// # Errors
/// [`Error::ObjectHandleInvalid`]; what single attributes refuse stands in the reply.
pub fn attributes(desk: &Desk<'_>, handle: ObjectHandle, kinds: &[AttributeType]) -> Result<Reply> {
    let object = object(desk, handle)?;
    let material = || desk.session.token().material(&object);
    let replies = kinds
        .iter()
        .map(|kind| {
            Ok(match reveal(&object, *kind, &material)? {
                Revealed::Open(Value::Template(inner)) => AttributeReply::Template(
                    inner
                        .iter()
                        .map(|(kind, value)| (*kind, value.to_bytes()))
                        .collect(),
                ),
                Revealed::Open(value) => AttributeReply::Open(value.to_bytes()),
                Revealed::Secret(bytes) => AttributeReply::Secret(bytes),
                Revealed::Sensitive => AttributeReply::Sensitive,
                Revealed::TypeInvalid => AttributeReply::TypeInvalid,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Reply::Attributes(replies))
}

/// C_SetAttributeValue.
///
/// # Errors
/// As PKCS#11 3.2, 5.7.6 has them.
pub fn set_attributes(
    desk: &Desk<'_>,
    handle: ObjectHandle,
    sent: &request::Template<'_>,
) -> Result<Reply> {
    let before = object(desk, handle)?;
    if before.is(AttributeType::TOKEN) {
        desk.session.must_be_read_write()?;
    }
    if !before
        .attributes
        .flag(AttributeType::MODIFIABLE)
        .unwrap_or(true)
    {
        return Err(Error::ActionProhibited);
    }
    let template = Template::<Set>::parse(sent)?;
    let shape = draft::shape_of_object(&before.attributes)?;
    let asker = desk.asker();
    let change = |current: &Object| {
        draft::changed(
            shape,
            &current.attributes,
            &template,
            Change::InPlace,
            asker,
        )
    };
    if before.is(AttributeType::TOKEN) {
        desk.session.token().replace(handle, change)?;
    } else {
        replace_in_session(desk, handle, change)?;
    }
    Ok(Reply::Empty)
}

fn replace_in_session(
    desk: &Desk<'_>,
    handle: ObjectHandle,
    change: impl FnOnce(&Object) -> Result<(crate::attribute::Attributes, Option<Material>)>,
) -> Result<()> {
    let mut objects = desk.session.seat.objects.write();
    let current = objects
        .object(handle)
        .cloned()
        .ok_or(Error::ObjectHandleInvalid)?;
    let (attributes, material) = change(&current)?;
    let place = match (material, &current.place) {
        (Some(material), _) => Place::Memory(Arc::new(material)),
        (None, Place::Memory(material)) => Place::Memory(material.clone()),
        (None, Place::Nowhere | Place::Store) => Place::Nowhere,
    };
    let after = Object::new(handle, attributes, place);
    *after.open.lock() = current.open.lock().clone();
    objects.insert(Arc::new(after));
    Ok(())
}

/// C_FindObjectsInit: the search is done here, on a snapshot; handing out follows.
///
/// # Errors
/// [`Error::OperationActive`]; a value of the wrong form; [`Error::DeviceMemory`] when more is found than a search may keep.
pub fn find_init(desk: &Desk<'_>, sent: &request::Template<'_>) -> Result<Reply> {
    let mut search = desk.session.search.lock();
    if search.is_some() {
        return Err(Error::OperationActive);
    }
    let found = find(desk, sent)?;
    if found.len() > desk.limits.search_results_max {
        return Err(Error::DeviceMemory);
    }
    *search = Some(Search::new(found));
    Ok(Reply::Empty)
}

/// What is searched for: values that the index compares, and secret ones that only an object's own reveal may compare.
fn find(desk: &Desk<'_>, sent: &request::Template<'_>) -> Result<Vec<ObjectHandle>> {
    let template = match Template::<Find>::parse(sent) {
        Ok(template) => template,
        // An attribute that no object has is found in none (applications ask for vendors' attributes and classes).
        Err(Error::AttributeTypeInvalid) => return Ok(Vec::new()),
        Err(other) => return Err(other),
    };
    let mut open = Vec::new();
    let mut perhaps_secret = Vec::new();
    for entry in template.entries() {
        let form = table::form(entry.kind).ok_or(Error::AttributeTypeInvalid)?;
        let value = entry.value(form)?;
        if table::TABLE
            .iter()
            .any(|row| row.kind == entry.kind && row.is_material())
        {
            perhaps_secret.push((entry.kind, value));
        } else {
            open.push((entry.kind, value));
        }
    }
    let also = |object: &Object| {
        desk.sees(object)
            && perhaps_secret
                .iter()
                .all(|(kind, value)| has_value(desk, object, *kind, value))
    };
    let mut found = desk
        .session
        .token()
        .with_objects(|index| index.find(&open, &also));
    found.extend(desk.session.seat.objects.read().find(&open, &also));
    Ok(found)
}

/// Whether an object would reveal just this value. One that would not reveal it is not found by it.
fn has_value(desk: &Desk<'_>, object: &Object, kind: AttributeType, wanted: &Value) -> bool {
    let big = draft::shape_of_object(&object.attributes)
        .ok()
        .and_then(|shape| table::row(kind, shape))
        .is_some_and(|row| row.form == Form::BigInteger);
    let wanted_bytes = wanted.to_bytes();
    let wanted_bytes = if big {
        crate::attribute::template::without_leading_zeros(&wanted_bytes)
    } else {
        &wanted_bytes
    };
    match reveal(object, kind, &|| desk.session.token().material(object)) {
        Ok(Revealed::Open(value)) => value.to_bytes() == wanted_bytes,
        Ok(Revealed::Secret(bytes)) => bytes.expose() == wanted_bytes,
        Ok(Revealed::Sensitive | Revealed::TypeInvalid) | Err(_) => false,
    }
}

/// C_FindObjects.
///
/// # Errors
/// [`Error::OperationNotInitialized`].
pub fn find_next(desk: &Desk<'_>, max: u64) -> Result<Reply> {
    let mut search = desk.session.search.lock();
    let search = search.as_mut().ok_or(Error::OperationNotInitialized)?;
    let max = usize::try_from(max.min(FIND_OBJECTS_MAX)).map_err(|_| Error::ArgumentsBad)?;
    // PKCS#11 3.2, 5.6.10: handles of private objects mean nothing after a logout, so a search begun before it keeps them to itself.
    let is_there = |handle: &ObjectHandle| desk.object(*handle).is_some();
    Ok(Reply::Objects(search.next(max, is_there)))
}

/// C_FindObjectsFinal.
///
/// # Errors
/// [`Error::OperationNotInitialized`].
pub fn find_final(desk: &Desk<'_>) -> Result<Reply> {
    desk.session
        .search
        .lock()
        .take()
        .ok_or(Error::OperationNotInitialized)?;
    Ok(Reply::Empty)
}

#[cfg(test)]
mod tests;
