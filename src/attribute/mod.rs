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

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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
///
/// A token keeps them of every object in memory, and half of them are booleans: these take two bits each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    flags: Flags,
    /// Ascending; no boolean of [`FLAGS`].
    others: Vec<(AttributeType, Value)>,
}

/// Bits by the place in [`FLAGS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    present: u64,
    /// None but of those that are present.
    true_ones: u64,
}

/// The boolean attributes, ascending.
const FLAGS: [AttributeType; 24] = [
    AttributeType::TOKEN,
    AttributeType::PRIVATE,
    AttributeType::TRUSTED,
    AttributeType::SENSITIVE,
    AttributeType::ENCRYPT,
    AttributeType::DECRYPT,
    AttributeType::WRAP,
    AttributeType::UNWRAP,
    AttributeType::SIGN,
    AttributeType::SIGN_RECOVER,
    AttributeType::VERIFY,
    AttributeType::VERIFY_RECOVER,
    AttributeType::DERIVE,
    AttributeType::EXTRACTABLE,
    AttributeType::LOCAL,
    AttributeType::NEVER_EXTRACTABLE,
    AttributeType::ALWAYS_SENSITIVE,
    AttributeType::MODIFIABLE,
    AttributeType::COPYABLE,
    AttributeType::DESTROYABLE,
    AttributeType::ALWAYS_AUTHENTICATE,
    AttributeType::WRAP_WITH_TRUSTED,
    AttributeType::ENCAPSULATE,
    AttributeType::DECAPSULATE,
];

/// Attributes that are no booleans and come to the presets of an object: nearly always fewer.
const ROOM: usize = 16;

static TRUE: Value = Value::Flag(true);
static FALSE: Value = Value::Flag(false);

/// For each number of an attribute its place in [`FLAGS`], from 1; 0 for what is no boolean. Every question to attributes begins here.
static PLACES: [u8; PLACES_END] = {
    let mut places = [0; PLACES_END];
    let mut place: u8 = 0;
    while (place as usize) < FLAGS.len() {
        places[number_of(FLAGS[place as usize])] = place + 1;
        place += 1;
    }
    places
};
/// One more than the last number in [`FLAGS`].
const PLACES_END: usize = number_of(FLAGS[FLAGS.len() - 1]) + 1;

#[expect(
    clippy::cast_possible_truncation,
    reason = "the numbers of the booleans are far below 2^16"
)]
const fn number_of(flag: AttributeType) -> usize {
    flag.0 as usize
}

/// The bit of a boolean attribute.
fn bit(kind: AttributeType) -> Option<u64> {
    let place = PLACES.get(usize::try_from(kind.0).ok()?)?;
    Some(1 << place.checked_sub(1)?)
}

impl Attributes {
    /// Takes attributes in any order; of two with the same number the later one counts.
    #[must_use]
    pub fn new(values: Vec<(AttributeType, Value)>) -> Self {
        let mut taken = Self::default();
        for (kind, value) in values {
            taken.set(kind, value);
        }
        taken.others.shrink_to_fit();
        taken
    }

    /// A copy with room for some more.
    #[must_use]
    pub(crate) fn roomy(&self) -> Self {
        let mut others = Vec::with_capacity(self.others.len() + ROOM);
        others.extend_from_slice(&self.others);
        Self {
            flags: self.flags,
            others,
        }
    }

    /// The same ones without room for more.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        self.others.shrink_to_fit();
        self
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.others.len() + self.flags.present.count_ones() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One value.
    #[must_use]
    pub fn value(&self, kind: AttributeType) -> Option<&Value> {
        if let Some(flag) = bit(kind).and_then(|bit| self.flags.value(bit)) {
            return Some(flag);
        }
        self.other(kind)
    }

    fn other(&self, kind: AttributeType) -> Option<&Value> {
        let place = self.place(kind).ok()?;
        self.others.get(place).map(|(_, value)| value)
    }

    fn place(&self, kind: AttributeType) -> Result<usize, usize> {
        self.others.binary_search_by_key(&kind, |(kind, _)| *kind)
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
        if let Some(Value::Number(number)) = self.other(kind) {
            Some(*number)
        } else {
            None
        }
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self, kind: AttributeType) -> Option<&[u8]> {
        if let Some(Value::Bytes(bytes)) = self.other(kind) {
            Some(bytes)
        } else {
            None
        }
    }

    /// An array of attributes.
    #[must_use]
    pub fn template(&self, kind: AttributeType) -> Option<&[(AttributeType, Value)]> {
        if let Some(Value::Template(template)) = self.other(kind) {
            Some(template)
        } else {
            None
        }
    }

    /// An array of numbers.
    #[must_use]
    pub fn numbers(&self, kind: AttributeType) -> Option<&[u64]> {
        if let Some(Value::Numbers(numbers)) = self.other(kind) {
            Some(numbers)
        } else {
            None
        }
    }

    /// Writes one value.
    pub fn set(&mut self, kind: AttributeType, value: Value) {
        if let Some(bit) = bit(kind) {
            // It may be there in another form: what is alleged in a search has any.
            if self.flags.present & bit == 0
                && let Ok(place) = self.place(kind)
            {
                self.others.remove(place);
            }
            self.flags.forget(bit);
            if let Value::Flag(flag) = value {
                self.flags.present |= bit;
                self.flags.true_ones |= if flag { bit } else { 0 };
                return;
            }
        }
        match self.place(kind) {
            Ok(place) => {
                if let Some(slot) = self.others.get_mut(place) {
                    slot.1 = value;
                }
            }
            Err(place) => self.others.insert(place, (kind, value)),
        }
    }

    /// Takes one value away.
    pub fn remove(&mut self, kind: AttributeType) {
        self.flags.forget(bit(kind).unwrap_or(0));
        if let Ok(place) = self.place(kind) {
            self.others.remove(place);
        }
    }

    /// All of them, ascending by number.
    pub fn iter(&self) -> impl Iterator<Item = (AttributeType, &Value)> {
        let flags = self.flags;
        let with_value = move |kind: &AttributeType| {
            let value = flags.value(bit(*kind)?)?;
            Some((*kind, value))
        };
        let mut flags = FLAGS.iter().filter_map(with_value).peekable();
        let mut others = self.others.iter().map(|(kind, value)| (*kind, value));
        let mut next_other = others.next();
        std::iter::from_fn(move || match (flags.peek(), next_other) {
            (Some((flag, _)), Some((other, _))) if *flag > other => {
                std::mem::replace(&mut next_other, others.next())
            }
            (Some(_), _) => flags.next(),
            (None, _) => std::mem::replace(&mut next_other, others.next()),
        })
    }
}

impl Flags {
    const fn forget(&mut self, bit: u64) {
        self.present &= !bit;
        self.true_ones &= !bit;
    }

    fn value(self, bit: u64) -> Option<&'static Value> {
        let value = if self.true_ones & bit == 0 {
            &FALSE
        } else {
            &TRUE
        };
        (self.present & bit != 0).then_some(value)
    }
}

/// Stored as the plain row of attributes with their values.
impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_seq(Some(self.len()))?;
        for attribute in self.iter() {
            row.serialize_element(&attribute)?;
        }
        row.end()
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}
