//! Material: the secret values of one object, in locked memory.
//!
//! What lives here: [`Material`], a sealed row of (attribute, value) pairs.
//! What must never live here: attributes that are no secrets; copies outside locked memory.
//! Who calls it: templates fill it, [`super::open_key`] and reveal read it, the vault seals its bytes.

use strongroom_keymem::SecretBytes;
use strongroom_wire::ck::AttributeType;

use crate::error::{Error, Result};

/// Secret values of an object. Encoded as they are stored: for each value its attribute (8 bytes), its length (4 bytes), both
/// little-endian, and its bytes.
#[derive(Debug)]
pub struct Material(SecretBytes);

impl Material {
    /// Makes material of values.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] when locked memory is used up.
    pub fn new(values: &[(AttributeType, SecretBytes)]) -> Result<Self> {
        let bytes = values
            .iter()
            .map(|(_, value)| HEADER_BYTES + value.len())
            .sum();
        let secret = SecretBytes::filled_by(bytes, |mut room| {
            for (kind, value) in values {
                let length =
                    u32::try_from(value.len()).map_err(|_| Error::AttributeValueInvalid)?;
                let (header, rest) = room.split_at_mut(HEADER_BYTES);
                let (kind_field, length_field) = header.split_at_mut(8);
                kind_field.copy_from_slice(&kind.0.to_le_bytes());
                length_field.copy_from_slice(&length.to_le_bytes());
                let (value_field, rest) = rest.split_at_mut(value.len());
                value.with(|value| value_field.copy_from_slice(value));
                room = rest;
            }
            Ok::<(), Error>(())
        })?;
        Ok(Self(secret))
    }

    /// Takes bytes that the vault has opened.
    ///
    /// # Errors
    /// [`Error::DeviceError`] when they are not whole.
    pub fn parse(sealed: SecretBytes) -> Result<Self> {
        let whole = sealed.with(|mut bytes| {
            while !bytes.is_empty() {
                match split(bytes) {
                    Some((_, _, rest)) => bytes = rest,
                    None => return false,
                }
            }
            true
        });
        if whole {
            Ok(Self(sealed))
        } else {
            Err(Error::DeviceError)
        }
    }

    /// The bytes to seal.
    #[must_use]
    pub fn sealed_form(&self) -> &SecretBytes {
        &self.0
    }

    /// Shows one value to a closure.
    pub fn with<R>(&self, kind: AttributeType, see: impl FnOnce(Option<&[u8]>) -> R) -> R {
        self.0.with(|bytes| see(find(bytes, kind)))
    }

    /// Shows all values at once to a closure, which asks for each by its attribute.
    pub fn with_all<R>(&self, see: impl FnOnce(&Values<'_>) -> R) -> R {
        self.0.with(|bytes| see(&Values(bytes)))
    }

    /// Length of one value in bytes.
    #[must_use]
    pub fn length(&self, kind: AttributeType) -> Option<usize> {
        self.with(kind, |value| value.map(<[u8]>::len))
    }

    /// Another one with the same values.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] when locked memory is used up.
    pub fn duplicate(&self) -> Result<Self> {
        Ok(Self(self.0.duplicate()?))
    }

    /// Length in bytes, for C_GetObjectSize.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The values of a material while a closure sees them.
pub struct Values<'m>(&'m [u8]);

impl<'m> Values<'m> {
    /// One value.
    #[must_use]
    pub fn value(&self, kind: AttributeType) -> Option<&'m [u8]> {
        find(self.0, kind)
    }
}

const HEADER_BYTES: usize = 12;

fn split(bytes: &[u8]) -> Option<(AttributeType, &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((AttributeType(u64::from_le_bytes(*kind)), value, rest))
}

fn find(mut bytes: &[u8], wanted: AttributeType) -> Option<&[u8]> {
    while let Some((kind, value, rest)) = split(bytes) {
        if kind == wanted {
            return Some(value);
        }
        bytes = rest;
    }
    None
}
