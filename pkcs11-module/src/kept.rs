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
/// Most bytes of values in all: a guest takes no more of its host's memory.
const BYTES_MAX: usize = 4 << 20;

/// What is kept.
#[derive(Default)]
pub(crate) struct Kept(RwLock<Table>);

#[derive(Default)]
struct Table {
    objects: HashMap<(u64, u64), Object, BuildHasherDefault<Mixed>>,
    /// Bytes of all values, those that hold no longer included.
    bytes: usize,
}

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

    const fn bytes(&self) -> usize {
        match self {
            Self::Open(bytes) => bytes.len(),
            Self::Sensitive | Self::TypeInvalid => 0,
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
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = table
            .objects
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
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let answers: Vec<_> = told.iter().map(Answer::of).collect();
        let more: usize = answers.iter().flatten().map(Answer::bytes).sum();
        if table.objects.len() >= OBJECTS_MAX || table.bytes.saturating_add(more) > BYTES_MAX {
            *table = Table::default();
        }
        let Table { objects, bytes } = &mut *table;
        let known = objects.entry((slot.0, object.0)).or_insert_with(|| Object {
            at,
            answers: Vec::new(),
        });
        if known.at != at {
            known.at = at;
            known.answers.clear();
        }
        for (kind, answer) in kinds.iter().zip(answers) {
            if known.answers.len() < ATTRIBUTES_MAX
                && !known.answers.iter().any(|(known, _)| known == kind)
                && let Some(answer) = answer
            {
                *bytes = bytes.saturating_add(answer.bytes());
                known.answers.push((*kind, answer));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use strongroom_ring::changes::Announcer;
    use strongroom_wire::secret::Secret;

    use super::*;
    use crate::stamp::Stamps;

    const LABEL: &[AttributeType] = &[AttributeType::LABEL];

    fn place(object: u64) -> (SlotId, ObjectHandle) {
        (SlotId(0), ObjectHandle(object))
    }

    fn shown(kept: &Kept, object: u64, now: Stamp) -> Option<usize> {
        kept.show(place(object), now, LABEL, |answers| {
            let AttributeAnswer::Open(bytes) = answers[0] else {
                panic!("{answers:?}")
            };
            bytes.len()
        })
    }

    #[test]
    fn what_is_kept_holds_until_a_change_is_no_secret_and_is_bounded() {
        let (stamps, daemon) = (Stamps::new(), Announcer::create().unwrap());
        stamps.watch(Some(daemon.descriptor()));
        let now = stamps.now().unwrap();
        let kept = Kept::default();
        let keep =
            |object, told: AttributeAnswer<'_>| kept.keep(place(object), now, LABEL, &[told]);
        keep(1, AttributeAnswer::Open(b"label"));
        assert_eq!(shown(&kept, 1, now), Some(5));
        assert_eq!(shown(&kept, 2, now), None);
        stamps.change();
        assert_eq!(shown(&kept, 1, stamps.now().unwrap()), None);
        keep(2, AttributeAnswer::Secret(Secret::new(b"secret")));
        keep(3, AttributeAnswer::Open(&[0; VALUE_BYTES_MAX + 1]));
        assert_eq!((shown(&kept, 2, now), shown(&kept, 3, now)), (None, None));
        // Whatever comes, the last fits, and all of them never take more than they may.
        for object in 10..5000 {
            keep(object, AttributeAnswer::Open(&[7; VALUE_BYTES_MAX]));
            assert_eq!(shown(&kept, object, now), Some(VALUE_BYTES_MAX));
            let table = kept.0.read().unwrap();
            assert!(table.bytes <= BYTES_MAX && table.objects.len() <= OBJECTS_MAX);
        }
    }
}
