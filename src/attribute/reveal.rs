//! Reveal: the only way a secret value leaves an object.
//!
//! What lives here: one function that answers C_GetAttributeValue for one attribute.
//! What must never live here: a second way.
//! Who calls it: the objects chapter, for showing and for comparing in searches.

use strongroom_keymem::SecretVec;
use strongroom_wire::ck::AttributeType;

use super::table::{self, GUARDED};
use super::{Value, draft::shape_of_object};
use crate::error::Result;
use crate::object::{Material, Object};

/// What an object says when it is asked for an attribute.
#[derive(Debug)]
pub enum Revealed<'o> {
    /// A value that is no secret.
    Open(&'o Value),
    /// A value from its material, which may be revealed.
    Secret(SecretVec),
    /// It may not be revealed.
    Sensitive,
    /// There is no such attribute.
    TypeInvalid,
}

/// Answers for one attribute. `material` is fetched only when it is needed and may be shown.
///
/// # Errors
/// When the material cannot be opened.
pub fn reveal<'o, M: std::ops::Deref<Target = Material>>(
    object: &'o Object,
    kind: AttributeType,
    material: &dyn Fn() -> Result<Option<M>>,
) -> Result<Revealed<'o>> {
    if let Some(value) = object.attributes.value(kind) {
        return Ok(Revealed::Open(value));
    }
    let shape = shape_of_object(&object.attributes)?;
    let Some(row) = table::row(kind, shape).filter(|row| row.is_material()) else {
        return Ok(Revealed::TypeInvalid);
    };
    // PKCS#11 3.2, 4, footnote 7.
    let guarded = object.is(AttributeType::SENSITIVE) || !object.is(AttributeType::EXTRACTABLE);
    if row.has(GUARDED) && guarded {
        return Ok(Revealed::Sensitive);
    }
    let Some(material) = material()? else {
        return Ok(Revealed::TypeInvalid);
    };
    material.with(kind, |value| match value {
        None => Ok(Revealed::TypeInvalid),
        Some(bytes) => {
            let mut copy = SecretVec::with_capacity(bytes.len())?;
            copy.push_slice(bytes)?;
            Ok(Revealed::Secret(copy))
        }
    })
}

#[cfg(test)]
mod tests;
