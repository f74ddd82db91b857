//! An object with its values in clear, ready to be sent.
//!
//! What lives here: one run of locked memory for all values of an object, and the template that borrows from it.
//! What must never live here: which attributes an object may have; the daemon judges that.
//! Who calls it: the importer.

use std::fmt;
use std::ops::Range;

use strongroom_keymem::SecretVec;
use strongroom_wire::ck::AttributeType;
use strongroom_wire::codec::List;
use strongroom_wire::request::{Attribute, FlatAttribute, Template, Value};
use strongroom_wire::secret::Secret;

use crate::source::{Attributes, StoredObject, StoredValue};
use crate::unlock::{TokenKey, UnlockError};

/// An object with its values in clear.
#[derive(Debug, Default)]
pub struct Opened {
    /// All values, one behind the other.
    values: SecretVec,
    attributes: Vec<(AttributeType, Place)>,
}

/// Where a value lies.
#[derive(Clone, Debug)]
enum Place {
    Bytes(Range<usize>),
    Array(Vec<(AttributeType, Range<usize>)>),
}

/// Why an object did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// A private object, and no PIN of the user or the security officer was given.
    Closed,
    /// A value did not open.
    Value(AttributeType, UnlockError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => {
                out.write_str("it is private, and the PIN of the token's user is not known")
            }
            Self::Value(kind, error) => write!(out, "{kind}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl Opened {
    /// Opens a stored object. The byte strings of a private one are encrypted under the key of its token, all but dates; nothing else is.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn of(object: &StoredObject, key: Option<&TokenKey>) -> Result<Self, OpenError> {
        let key = match (is_private(&object.attributes), key) {
            (false, _) => None,
            (true, Some(key)) => Some(key),
            (true, None) => return Err(OpenError::Closed),
        };
        let mut opened = Self::default();
        for (kind, value) in &object.attributes {
            let kind = AttributeType(*kind);
            let is_date = [AttributeType::START_DATE, AttributeType::END_DATE].contains(&kind);
            let place = opened
                .place(value, key.filter(|_| !is_date))
                .map_err(|error| OpenError::Value(kind, error))?;
            opened.attributes.push((kind, place));
        }
        Ok(opened)
    }

    /// An object of values that are known already.
    ///
    /// # Errors
    /// [`UnlockError::Resources`].
    pub fn push(&mut self, kind: AttributeType, value: &[u8]) -> Result<(), UnlockError> {
        let start = self.values.len();
        self.values.push_slice(value)?;
        let place = Place::Bytes(start..self.values.len());
        self.attributes.push((kind, place));
        Ok(())
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`UnlockError::Resources`].
    pub fn push_flag(&mut self, kind: AttributeType, value: bool) -> Result<(), UnlockError> {
        self.push(kind, &[u8::from(value)])
    }

    /// A `CK_ULONG`.
    ///
    /// # Errors
    /// [`UnlockError::Resources`].
    pub fn push_number(&mut self, kind: AttributeType, value: u64) -> Result<(), UnlockError> {
        self.push(kind, &value.to_ne_bytes())
    }

    /// An array of attributes.
    ///
    /// # Errors
    /// [`UnlockError::Resources`].
    pub fn push_array<'v>(
        &mut self,
        kind: AttributeType,
        values: impl Iterator<Item = (AttributeType, &'v [u8])>,
    ) -> Result<(), UnlockError> {
        let mut places = Vec::new();
        for (one, value) in values {
            let start = self.values.len();
            self.values.push_slice(value)?;
            places.push((one, start..self.values.len()));
        }
        self.attributes.push((kind, Place::Array(places)));
        Ok(())
    }

    /// Leaves attributes out.
    pub fn retain(&mut self, keep: impl Fn(AttributeType, usize) -> bool) {
        self.attributes.retain(|(kind, place)| match place {
            Place::Bytes(range) => keep(*kind, range.len()),
            Place::Array(attributes) => keep(*kind, attributes.len()),
        });
    }

    /// The value of an attribute that is no array.
    #[must_use]
    pub fn value(&self, kind: AttributeType) -> Option<&[u8]> {
        self.attributes.iter().find_map(|(one, place)| match place {
            Place::Bytes(range) => (*one == kind).then(|| self.bytes(range)),
            Place::Array(_) => None,
        })
    }

    /// All values of attributes that are no arrays.
    pub fn values(&self) -> impl Iterator<Item = (AttributeType, &[u8])> {
        self.attributes
            .iter()
            .filter_map(|(kind, place)| match place {
                Place::Bytes(range) => Some((*kind, self.bytes(range))),
                Place::Array(_) => None,
            })
    }

    /// How many bytes its values have.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The template that makes it; none when it has too many attributes.
    #[must_use]
    pub fn template(&self) -> Option<Template<'_>> {
        let attributes = self.attributes.iter().map(|(kind, place)| {
            let value = match place {
                Place::Bytes(range) => Value::Bytes(Secret::new(self.bytes(range))),
                Place::Array(attributes) => Value::Template(self.array(attributes)?),
            };
            Some(Attribute { kind: *kind, value })
        });
        List::new(attributes.collect::<Option<_>>()?)
    }

    fn array<const MAX: usize>(
        &self,
        attributes: &[(AttributeType, Range<usize>)],
    ) -> Option<List<FlatAttribute<'_>, MAX>> {
        let flat = |(kind, range): &(AttributeType, Range<usize>)| FlatAttribute {
            kind: *kind,
            value: Secret::new(self.bytes(range)),
        };
        List::new(attributes.iter().map(flat).collect())
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.values.expose().get(range.clone()).unwrap_or_default()
    }

    fn place(&mut self, value: &StoredValue, key: Option<&TokenKey>) -> Result<Place, UnlockError> {
        if let StoredValue::Attributes(attributes) = value {
            let mut places = Vec::with_capacity(attributes.len());
            for (kind, value) in attributes {
                // SoftHSM encrypts nothing within an array.
                places.push((AttributeType(*kind), self.append(value, None)?));
            }
            return Ok(Place::Array(places));
        }
        self.append(value, key).map(Place::Bytes)
    }

    /// Appends a value as the C structure has it.
    fn append(
        &mut self,
        value: &StoredValue,
        key: Option<&TokenKey>,
    ) -> Result<Range<usize>, UnlockError> {
        let start = self.values.len();
        match (value, key) {
            (StoredValue::Boolean(value), _) => self.values.push_slice(&[u8::from(*value)])?,
            (StoredValue::Number(value), _) => self.values.push_slice(&value.to_ne_bytes())?,
            (StoredValue::Bytes(bytes), None) => self.values.push_slice(bytes)?,
            (StoredValue::Bytes(bytes), Some(key)) => key.open(bytes, &mut self.values)?,
            (StoredValue::Mechanisms(types), _) => {
                for one in types {
                    self.values.push_slice(&one.to_ne_bytes())?;
                }
            }
            // An array within an array cannot be read in the first place.
            (StoredValue::Attributes(_), _) => return Err(UnlockError::Malformed),
        }
        Ok(start..self.values.len())
    }
}

/// Whether the values of an object are encrypted. SoftHSM says so of every object.
#[must_use]
pub fn is_private(attributes: &Attributes) -> bool {
    !matches!(
        attributes.get(&AttributeType::PRIVATE.0),
        Some(StoredValue::Boolean(false))
    )
}
