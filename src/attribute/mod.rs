//! Attributes: what an object may say of itself, and who may change it.
//!
//! What lives here: [`table`] (one row per attribute), [`template`] (one check per intent), [`reveal`] (the only way a secret value
//! leaves), and [`Attributes`], the values of one object that are no secrets.
//! What must never live here: secret values; those are [`crate::object::Material`].
//! Who calls it: chapters that make, change, find and show objects.

pub mod draft;
pub mod reveal;
#[cfg(test)]
pub(crate) mod samples;
pub mod table;
pub mod template;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use strongroom_wire::ck::AttributeType;

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// `CK_BBOOL`.
    Flag(bool),
    /// `CK_ULONG` and everything made of one.
    Number(u64),
    /// Bytes, text, big integers, dates.
    Bytes(Box<[u8]>),
    /// An array of attributes, ascending.
    Template(Box<[(AttributeType, Self)]>),
    /// An array of `CK_ULONG`.
    Numbers(Box<[u64]>),
}

impl Value {
    /// The bytes as a C structure has them. Not for templates, which have no bytes of their own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Flag(flag) => vec![u8::from(*flag)],
            Self::Number(number) => number.to_ne_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Numbers(numbers) => numbers
                .iter()
                .flat_map(|number| number.to_ne_bytes())
                .collect(),
            Self::Template(_) => Vec::new(),
        }
    }
}

/// The attributes of an object that are no secrets, ascending by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes(Vec<(AttributeType, Value)>);

impl Attributes {
    /// Takes attributes in any order; of two with the same number the later one counts.
    #[must_use]
    pub fn new(mut values: Vec<(AttributeType, Value)>) -> Self {
        values.reverse();
        values.sort_by_key(|(kind, _)| *kind);
        values.dedup_by_key(|(kind, _)| *kind);
        values.shrink_to_fit();
        Self(values)
    }

    /// One value.
    #[must_use]
    pub fn value(&self, kind: AttributeType) -> Option<&Value> {
        let place = self.0.binary_search_by_key(&kind, |(kind, _)| *kind).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// Whether there is such an attribute.
    #[must_use]
    pub fn has(&self, kind: AttributeType) -> bool {
        self.value(kind).is_some()
    }

    /// A boolean.
    #[must_use]
    pub fn flag(&self, kind: AttributeType) -> Option<bool> {
        if let Some(Value::Flag(flag)) = self.value(kind) {
            Some(*flag)
        } else {
            None
        }
    }

    /// A number.
    #[must_use]
    pub fn number(&self, kind: AttributeType) -> Option<u64> {
        if let Some(Value::Number(number)) = self.value(kind) {
            Some(*number)
        } else {
            None
        }
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self, kind: AttributeType) -> Option<&[u8]> {
        if let Some(Value::Bytes(bytes)) = self.value(kind) {
            Some(bytes)
        } else {
            None
        }
    }

    /// An array of attributes.
    #[must_use]
    pub fn template(&self, kind: AttributeType) -> Option<&[(AttributeType, Value)]> {
        if let Some(Value::Template(template)) = self.value(kind) {
            Some(template)
        } else {
            None
        }
    }

    /// An array of numbers.
    #[must_use]
    pub fn numbers(&self, kind: AttributeType) -> Option<&[u64]> {
        if let Some(Value::Numbers(numbers)) = self.value(kind) {
            Some(numbers)
        } else {
            None
        }
    }

    /// Writes one value.
    pub fn set(&mut self, kind: AttributeType, value: Value) {
        match self.0.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(place) => {
                if let Some(slot) = self.0.get_mut(place) {
                    slot.1 = value;
                }
            }
            Err(place) => self.0.insert(place, (kind, value)),
        }
    }

    /// Takes one value away.
    pub fn remove(&mut self, kind: AttributeType) {
        self.0.retain(|(other, _)| *other != kind);
    }

    /// All of them, ascending by number.
    pub fn iter(&self) -> impl Iterator<Item = (AttributeType, &Value)> {
        self.0.iter().map(|(kind, value)| (*kind, value))
    }
}
