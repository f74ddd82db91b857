//! Release policies as attributes of keys.
//!
//! What lives here: which keys have a policy, and what their other attributes must be; one rule for all ways in which a key comes into
//! being or changes.
//! What must never live here: what a policy decides.
//! Who calls it: drafts that are completed, changes of attributes, and whoever asks whether a key may leave.

use strongroom_wire::ck::AttributeType as A;

use super::policy::Policy;
use crate::attribute::draft::Draft;
use crate::attribute::{Attributes, Value};
use crate::error::{Error, Result};
use crate::object::Object;

/// The release policy of a key, if it has one.
#[must_use]
pub fn policy_of(object: &Object) -> Option<&[u8]> {
    policy_in(&object.attributes)
}

fn policy_in(attributes: &Attributes) -> Option<&[u8]> {
    attributes.bytes(A::STRONGROOM_RELEASE_POLICY)
}

/// Whether a policy stays as it is.
#[must_use]
pub fn is_immutable(attributes: &Attributes) -> bool {
    attributes.flag(A::STRONGROOM_RELEASE_POLICY_IMMUTABLE) == Some(true)
}

/// Judges what a new key says of its release: with a policy it is sensitive, extractable, and leaves under trusted keys only.
///
/// # Errors
/// [`Error::AttributeValueInvalid`] for what is no policy; [`Error::TemplateInconsistent`] for a key that never leaves or is no secret.
pub fn judge(draft: &mut Draft) -> Result<()> {
    let attributes = draft.attributes();
    let Some(policy) = policy_in(attributes) else {
        return if attributes
            .value(A::STRONGROOM_RELEASE_POLICY_IMMUTABLE)
            .is_some()
        {
            Err(Error::TemplateInconsistent)
        } else {
            Ok(())
        };
    };
    Policy::parse(policy).map_err(|_| Error::AttributeValueInvalid)?;
    if !draft.is(A::EXTRACTABLE) || !draft.is(A::SENSITIVE) {
        return Err(Error::TemplateInconsistent);
    }
    let immutable = is_immutable(draft.attributes());
    draft.set(
        A::STRONGROOM_RELEASE_POLICY_IMMUTABLE,
        Value::Flag(immutable),
    );
    draft.set(A::WRAP_WITH_TRUSTED, Value::Flag(true));
    Ok(())
}

/// Judges a change: a policy is there from the beginning or never, is not changed once it is immutable, and whether its key can leave does
/// not change at all.
///
/// # Errors
/// [`Error::AttributeReadOnly`]; [`Error::AttributeValueInvalid`] for what is no policy.
pub fn judge_change(before: &Attributes, after: &Attributes) -> Result<()> {
    let (old, new) = (policy_in(before), policy_in(after));
    let Some(old) = old else {
        let said = after
            .value(A::STRONGROOM_RELEASE_POLICY_IMMUTABLE)
            .is_some();
        return if new.is_some() || said {
            Err(Error::AttributeReadOnly)
        } else {
            Ok(())
        };
    };
    let new = new.ok_or(Error::AttributeReadOnly)?;
    if old != new {
        if is_immutable(before) {
            return Err(Error::AttributeReadOnly);
        }
        Policy::parse(new).map_err(|_| Error::AttributeValueInvalid)?;
    }
    if before.flag(A::EXTRACTABLE) != after.flag(A::EXTRACTABLE) {
        return Err(Error::AttributeReadOnly);
    }
    Ok(())
}
