//! Attributes that the daemon has told and that have not changed since.
//!
//! What lives here: the answers, and the stamp until which they hold.
//! What must never live here: a secret value, even one that its object reveals; the daemon marks those.
//! Who calls it: C_GetAttributeValue.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{PoisonError, RwLock};

use strongroom_wire::ck::AttributeType;
use strongroom_wire::request::{ObjectHandle, SlotId};
use strongroom_wire::response::AttributeAnswer;

use crate::sessions::Mixed;
use crate::stamp::Stamp;

/// So many objects, and all are forgotten when there are more: applications work with a few keys, or walk over all objects once.
const OBJECTS_MAX: usize = 1024;
/// So many attributes of one object: more than any class has.
const ATTRIBUTES_MAX: usize = 64;
/// Longest value that is kept, in bytes: the numbers of an RSA key of 16,384 bits, and most certificates.
const VALUE_BYTES_MAX: usize = 4096;

/// What is kept.
#[derive(Default)]
pub(crate) struct Kept(RwLock<HashMap<(u64, u64), Object, BuildHasherDefault<Mixed>>>);

struct Object {
    at: Stamp,
    answers: Vec<(AttributeType, Answer)>,
}

enum Answer {
    Open(Box<[u8]>),
    Sensitive,
    TypeInvalid,
}

impl Answer {
    fn of(told: &AttributeAnswer<'_>) -> Option<Self> {
        match told {
            AttributeAnswer::Open(bytes) if bytes.len() <= VALUE_BYTES_MAX => {
                Some(Self::Open((*bytes).into()))
            }
            AttributeAnswer::Sensitive => Some(Self::Sensitive),
            AttributeAnswer::TypeInvalid => Some(Self::TypeInvalid),
            AttributeAnswer::Open(_)
            | AttributeAnswer::Secret(_)
            | AttributeAnswer::Template(_) => None,
        }
    }

    const fn told(&self) -> AttributeAnswer<'_> {
        match self {
            Self::Open(bytes) => AttributeAnswer::Open(bytes),
            Self::Sensitive => AttributeAnswer::Sensitive,
            Self::TypeInvalid => AttributeAnswer::TypeInvalid,
        }
    }
}

impl Kept {
    /// Shows the answers to `kinds`, if all of them are kept and still hold.
    pub(crate) fn show<R>(
        &self,
        (slot, object): (SlotId, ObjectHandle),
        now: Stamp,
        kinds: &[AttributeType],
        see: impl FnOnce(&[AttributeAnswer<'_>]) -> R,
    ) -> Option<R> {
        let objects = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = objects
            .get(&(slot.0, object.0))
            .filter(|known| known.at == now)?;
        let mut answers = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let (_, answer) = known.answers.iter().find(|(known, _)| known == kind)?;
            answers.push(answer.told());
        }
        Some(see(&answers))
    }

    /// Keeps what was told. `at` is the stamp from before the question.
    pub(crate) fn keep(
        &self,
        (slot, object): (SlotId, ObjectHandle),
        at: Stamp,
        kinds: &[AttributeType],
        told: &[AttributeAnswer<'_>],
    ) {
        let mut objects = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if objects.len() >= OBJECTS_MAX {
            objects.clear();
        }
        let known = objects.entry((slot.0, object.0)).or_insert_with(|| Object {
            at,
            answers: Vec::new(),
        });
        if known.at != at {
            known.at = at;
            known.answers.clear();
        }
        for (kind, told) in kinds.iter().zip(told) {
            if known.answers.len() < ATTRIBUTES_MAX
                && !known.answers.iter().any(|(known, _)| known == kind)
                && let Some(answer) = Answer::of(told)
            {
                known.answers.push((*kind, answer));
            }
        }
    }
}
