//! The index: objects by handle, and by what applications search for.
//!
//! What lives here: [`Index`], which finds by `CKA_ID`, `CKA_LABEL`, `CKA_UNIQUE_ID` and `CKA_CLASS` without looking at every object.
//! What must never live here: who may see what is found.
//! Who calls it: the token for its objects, seats for session objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use strongroom_wire::ck::AttributeType;
use strongroom_wire::request::ObjectHandle;

use super::Object;
use crate::attribute::Value;

/// Attributes that have an index, the most telling first.
const INDEXED: [AttributeType; 4] = [
    AttributeType::UNIQUE_ID,
    AttributeType::ID,
    AttributeType::LABEL,
    AttributeType::CLASS,
];

/// Handles under one value: mostly one.
#[derive(Debug)]
enum Few {
    One(u64),
    #[expect(
        clippy::box_collection,
        reason = "the values that stand alone, nearly all, do not pay for the size of a set"
    )]
    Many(Box<BTreeSet<u64>>),
}

/// Objects by handle and by value.
#[derive(Debug, Default)]
pub struct Index {
    objects: BTreeMap<u64, Arc<Object>>,
    /// By a keyed hash of attribute and value; what is found is compared in full afterwards.
    values: HashMap<u64, Few>,
    hasher: RandomState,
}

impl Index {
    /// One object.
    #[must_use]
    pub fn object(&self, handle: ObjectHandle) -> Option<&Arc<Object>> {
        self.objects.get(&handle.0)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All, ascending by handle.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// Puts an object in; one with the same handle gives way.
    pub fn insert(&mut self, object: Arc<Object>) {
        if let Some(before) = self.objects.insert(object.handle.0, Arc::clone(&object)) {
            self.forget(&before);
        }
        for key in self.keys(&object).into_iter().flatten() {
            match self.values.get_mut(&key) {
                None => {
                    self.values.insert(key, Few::One(object.handle.0));
                }
                Some(Few::Many(many)) => {
                    many.insert(object.handle.0);
                }
                Some(few @ Few::One(_)) => {
                    if let Few::One(other) = *few {
                        *few = Few::Many(Box::new(BTreeSet::from([other, object.handle.0])));
                    }
                }
            }
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, handle: ObjectHandle) -> Option<Arc<Object>> {
        let object = self.objects.remove(&handle.0)?;
        self.forget(&object);
        Some(object)
    }

    /// Forgets the values of an object.
    fn forget(&mut self, object: &Object) {
        for key in self.keys(object).into_iter().flatten() {
            let empty = match self.values.get_mut(&key) {
                Some(Few::Many(many)) => {
                    many.remove(&object.handle.0);
                    many.is_empty()
                }
                Some(Few::One(only)) => *only == object.handle.0,
                None => false,
            };
            if empty {
                self.values.remove(&key);
            }
        }
    }

    /// Handles of all objects that might match: a superset, ascending; `None` when no indexed attribute is asked for.
    fn candidates(&self, wanted: &[(AttributeType, Value)]) -> Option<Vec<u64>> {
        let mut best: Option<&Few> = None;
        for kind in INDEXED {
            let Some((_, value)) = wanted.iter().find(|(other, _)| *other == kind) else {
                continue;
            };
            match (self.values.get(&self.key(kind, value)), best) {
                (None, _) => return Some(Vec::new()),
                (Some(few @ Few::One(_)), _) => best = Some(few),
                (Some(few), None) => best = Some(few),
                (Some(Few::Many(many)), Some(Few::Many(smallest)))
                    if many.len() < smallest.len() =>
                {
                    best = self.values.get(&self.key(kind, value));
                }
                (Some(Few::Many(_)), Some(_)) => {}
            }
        }
        best.map(|few| match few {
            Few::One(only) => vec![*only],
            Few::Many(many) => many.iter().copied().collect(),
        })
    }

    /// Objects whose attributes have all these values and for which `also` says yes, ascending by handle.
    pub fn find(
        &self,
        wanted: &[(AttributeType, Value)],
        also: &dyn Fn(&Object) -> bool,
    ) -> Vec<ObjectHandle> {
        let fits = |object: &Object| {
            wanted
                .iter()
                .all(|(kind, value)| object.attributes.value(*kind) == Some(value))
                && also(object)
        };
        match self.candidates(wanted) {
            Some(handles) => handles
                .into_iter()
                .filter_map(|handle| self.objects.get(&handle))
                .filter(|object| fits(object))
                .map(|object| object.handle)
                .collect(),
            None => self
                .iter()
                .filter(|object| fits(object))
                .map(|object| object.handle)
                .collect(),
        }
    }

    fn key(&self, kind: AttributeType, value: &Value) -> u64 {
        match value {
            Value::Bytes(bytes) => self.hasher.hash_one((kind.0, bytes)),
            Value::Number(number) => self.hasher.hash_one((kind.0, number)),
            // No indexed attribute has another form; an alleged one finds nothing.
            Value::Flag(_) | Value::Template(_) | Value::Numbers(_) => self.hasher.hash_one(kind.0),
        }
    }

    /// By attribute of [`INDEXED`] what its value stands under, for those that the object has.
    fn keys(&self, object: &Object) -> [Option<u64>; INDEXED.len()] {
        INDEXED.map(|kind| {
            let value = object.attributes.value(kind)?;
            Some(self.key(kind, value))
        })
    }
}
