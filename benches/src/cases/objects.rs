//! Sessions, attributes, searching, durable objects and logins.
//!
//! What lives here: what an application does besides computing.
//! What must never live here: cryptography.
//! Who calls it: the list of cases.

use cryptoki_sys::*;

use super::keys;
use super::{Curve, Half, Operation, Place};
use crate::module::{Failure, Outcome, Session};
use crate::template::Template;

pub(super) fn open_close(place: Place<'_>) -> Outcome<Operation<'_>> {
    Ok(Box::new(move || {
        Session::open(place.module, place.slot)?.close()
    }))
}

pub(super) fn read_attributes(place: Place<'_>, half: Half) -> Outcome<Operation<'_>> {
    let pair = keys::ec(place, Curve::P256)?;
    let object = match half {
        Half::Private => pair.private,
        Half::Public => pair.public,
    };
    let mut template = Template::new()
        .bytes(CKA_LABEL, &[])
        .bytes(CKA_ID, &[])
        .bytes(CKA_KEY_TYPE, &[])
        .bytes(CKA_EC_PARAMS, &[]);
    template.make_room(64);
    place.session.attributes(object, &mut template)?;
    if template.value(CKA_LABEL) != Some(b"p256") || template.value(CKA_ID) != Some(b"p11measure") {
        return Err(Failure::Wrong(format!("read {template:?}")));
    }
    Ok(Box::new(move || {
        template.make_room(64);
        place.session.attributes(object, &mut template)
    }))
}

fn label(number: u32) -> String {
    format!("object-{number:06}")
}

fn secret(number: u32) -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, CKK_AES)
        .bytes(CKA_LABEL, label(number).as_bytes())
        .bytes(CKA_VALUE, &[7; 32])
        .on(&[
            CKA_TOKEN,
            CKA_PRIVATE,
            CKA_SENSITIVE,
            CKA_ENCRYPT,
            CKA_DECRYPT,
        ])
        .off(&[CKA_EXTRACTABLE])
}

fn wanted(number: u32) -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .bytes(CKA_LABEL, label(number).as_bytes())
}

pub(super) fn find(place: Place<'_>, number: u32) -> Outcome<Operation<'_>> {
    fill(place, number)?;
    // A step that has no divisor in common with any of the numbers visits every object.
    let mut next = 0;
    Ok(Box::new(move || {
        next = (next + 7_919) % number;
        let found = place.session.find(&wanted(next))?.len();
        if found == 1 {
            Ok(())
        } else {
            Err(Failure::Wrong(format!("found {found} instead of one")))
        }
    }))
}

/// Fills the token; goes on where an earlier run stopped.
fn fill(place: Place<'_>, number: u32) -> Outcome<()> {
    let (mut there, mut missing) = (0, number);
    while there < missing {
        let middle = u32::midpoint(there, missing);
        if place.session.find(&wanted(middle))?.is_empty() {
            missing = middle;
        } else {
            there = middle + 1;
        }
    }
    for one in there..number {
        place.session.create(&secret(one))?;
    }
    Ok(())
}

pub(super) fn create_destroy(place: Place<'_>) -> Outcome<Operation<'_>> {
    let template = secret(999_999);
    let object = place.session.create(&template)?;
    let found = place.session.find(&wanted(999_999))?.contains(&object);
    place.session.destroy(object)?;
    if !found {
        return Err(Failure::Wrong("a new object is not found".to_owned()));
    }
    Ok(Box::new(move || {
        let object = place.session.create(&template)?;
        place.session.destroy(object)
    }))
}

pub(super) fn set_attribute(place: Place<'_>) -> Outcome<Operation<'_>> {
    let object = match place.session.find(&wanted(999_998))?.first() {
        Some(object) => *object,
        None => place.session.create(&secret(999_998))?,
    };
    let set = move |id: u32| {
        let template = Template::new().bytes(CKA_ID, &id.to_le_bytes());
        place.session.set_attributes(object, &template)
    };
    set(7)?;
    let mut read = Template::new().bytes(CKA_ID, &[0; 64]);
    place.session.attributes(object, &mut read)?;
    if read.value(CKA_ID) != Some(&7_u32.to_le_bytes()) {
        return Err(Failure::Wrong(format!("set, and then read {read:?}")));
    }
    let mut id = 0;
    Ok(Box::new(move || {
        id += 1;
        set(id)
    }))
}

pub(super) fn login_logout(place: Place<'_>) -> Outcome<Operation<'_>> {
    Ok(Box::new(move || {
        place.session.logout()?;
        place.session.login()
    }))
}
