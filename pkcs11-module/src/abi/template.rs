//! Templates: arrays of attributes, read from the caller and written back to it.
//!
//! What lives here: both directions of `CK_ATTRIBUTE`, arrays of attributes within attributes included.
//! What must never live here: which attribute belongs to which object; the token knows.
//! Who calls it: the table of functions.

use std::ops::Range;

use cryptoki_sys::{CK_ATTRIBUTE, CK_ULONG};
use strongroom_wire::ck::{AttributeType, Rv, UNAVAILABLE_INFORMATION, flag};
use strongroom_wire::codec::List;
use strongroom_wire::frame::DATA_BYTES_MAX;
use strongroom_wire::request::{self, FlatAttribute, TEMPLATE_ATTRIBUTES_MAX};
use strongroom_wire::response::AttributeAnswer;
use strongroom_wire::secret::Secret;

use super::caller::{Alleged, Place};
use crate::buffer::WipedBuffer;

/// Length of one element of an array of attributes, in bytes.
const ATTRIBUTE_BYTES: u64 = 24;
const _: () = assert!(
    size_of::<CK_ATTRIBUTE>() == 24,
    "CK_ATTRIBUTE is packed otherwise here"
);

/// A template, copied from the caller.
pub(crate) struct Template {
    entries: Vec<Entry>,
    values: Values,
}

struct Entry {
    kind: AttributeType,
    value: EntryValue,
}

enum EntryValue {
    Bytes(Span),
    Template(Vec<FlatEntry>),
}

struct FlatEntry {
    kind: AttributeType,
    value: Span,
}

/// Where a value is in [`Values`].
type Span = Range<usize>;

/// The values of one template, which may be secret, one behind the other: most are a flag or a number, and memory for each would cost
/// more than the value does. They are wiped together when the template goes.
struct Values {
    bytes: WipedBuffer,
    /// How much of the buffer is taken.
    used: usize,
    /// How many bytes may still come.
    room: usize,
}

/// Room for the values of a usual template.
const USUAL_BYTES: usize = 512;

impl Values {
    fn new() -> Result<Self, Rv> {
        Ok(Self {
            bytes: WipedBuffer::zeroed(USUAL_BYTES)?,
            used: 0,
            room: DATA_BYTES_MAX,
        })
    }

    /// Copies the value of an attribute behind the others.
    fn copy(&mut self, attribute: CK_ATTRIBUTE) -> Result<Span, Rv> {
        let (value, length) = (value_of(attribute), attribute.ulValueLen);
        let fitting = usize::try_from(length).ok();
        let Some(bytes) = fitting.filter(|bytes| *bytes <= self.room) else {
            // Refused there, with the code that it deserves, before any of it is read.
            let over = Rv::ATTRIBUTE_VALUE_INVALID;
            return value.copy(length, self.room, over).and(Err(over));
        };
        let place = self.used..self.used.saturating_add(bytes);
        self.bytes.lengthen(place.end)?;
        let target = self.bytes.bytes_mut().get_mut(place.clone());
        value.copy_short(length, target.ok_or(Rv::GENERAL_ERROR)?)?;
        (self.used, self.room) = (place.end, self.room - bytes);
        Ok(place)
    }

    fn secret(&self, place: &Span) -> Secret<'_> {
        Secret::new(self.bytes.bytes().get(place.clone()).unwrap_or_default())
    }
}

impl Template {
    /// Copies a template, whose attributes together carry no more than one request does.
    pub(crate) fn copy(attributes: Alleged<CK_ATTRIBUTE>, count: CK_ULONG) -> Result<Self, Rv> {
        let count = bounded_count(attributes, count)?;
        let mut values = Values::new()?;
        let mut entries = Vec::with_capacity(count);
        for index in 0..count {
            entries.push(Entry::copy(attributes.element(index).read()?, &mut values)?);
        }
        Ok(Self { entries, values })
    }

    /// The template as a request has it.
    pub(crate) fn wire(&self) -> request::Template<'_> {
        let attributes = self.entries.iter().map(|entry| request::Attribute {
            kind: entry.kind,
            value: match &entry.value {
                EntryValue::Bytes(place) => request::Value::Bytes(self.values.secret(place)),
                EntryValue::Template(flat) => request::Value::Template(self.wire_of(flat)),
            },
        });
        // Never too many: `copy` bounded the count.
        List::new(attributes.collect()).unwrap_or_default()
    }

    fn wire_of(&self, flat: &[FlatEntry]) -> List<FlatAttribute<'_>, TEMPLATE_ATTRIBUTES_MAX> {
        let attributes = flat.iter().map(|entry| FlatAttribute {
            kind: entry.kind,
            value: self.values.secret(&entry.value),
        });
        List::new(attributes.collect()).unwrap_or_default()
    }
}

impl Entry {
    fn copy(attribute: CK_ATTRIBUTE, values: &mut Values) -> Result<Self, Rv> {
        let kind = AttributeType(attribute.type_);
        let value = if is_template(kind) {
            EntryValue::Template(copy_nested(attribute, values)?)
        } else {
            EntryValue::Bytes(values.copy(attribute)?)
        };
        Ok(Self { kind, value })
    }
}

fn copy_nested(outer: CK_ATTRIBUTE, values: &mut Values) -> Result<Vec<FlatEntry>, Rv> {
    if !outer.ulValueLen.is_multiple_of(ATTRIBUTE_BYTES) {
        return Err(Rv::ATTRIBUTE_VALUE_INVALID);
    }
    let attributes = nested_of(outer);
    let count = bounded_count(attributes, outer.ulValueLen / ATTRIBUTE_BYTES)?;
    let mut entries = Vec::with_capacity(count);
    for index in 0..count {
        let attribute = attributes.element(index).read()?;
        let kind = AttributeType(attribute.type_);
        // One level: the protocol cannot spell an array within an array, and a bounded depth is no recursion to attack.
        if is_template(kind) {
            return Err(Rv::ATTRIBUTE_VALUE_INVALID);
        }
        entries.push(FlatEntry {
            kind,
            value: values.copy(attribute)?,
        });
    }
    Ok(entries)
}

/// PKCS#11 3.2, 4.1: CKF_ARRAY_ATTRIBUTE marks values that are arrays of attributes, with three exceptions: CKA_ALLOWED_MECHANISMS has
/// the mark and is an array of numbers, that is, bytes; the templates of encapsulation are arrays and have no mark.
fn is_template(kind: AttributeType) -> bool {
    match kind {
        AttributeType::ALLOWED_MECHANISMS => false,
        AttributeType::ENCAPSULATE_TEMPLATE | AttributeType::DECAPSULATE_TEMPLATE => true,
        AttributeType(number) => number & flag::ARRAY_ATTRIBUTE != 0,
    }
}

fn bounded_count(attributes: Alleged<CK_ATTRIBUTE>, count: CK_ULONG) -> Result<usize, Rv> {
    let count = usize::try_from(count).map_err(|_| Rv::ARGUMENTS_BAD)?;
    if count > TEMPLATE_ATTRIBUTES_MAX || (attributes.is_null() && count > 0) {
        return Err(Rv::ARGUMENTS_BAD);
    }
    Ok(count)
}

fn value_of(attribute: CK_ATTRIBUTE) -> Alleged<u8> {
    // SAFETY: the caller's promise for an attribute covers the memory that its fields point to.
    unsafe { Alleged::new(attribute.pValue.cast()) }
}

fn nested_of(attribute: CK_ATTRIBUTE) -> Alleged<CK_ATTRIBUTE> {
    // SAFETY: as above; where an array of attributes is meant, its length is a multiple of their size.
    unsafe { Alleged::new(attribute.pValue.cast()) }
}

/// The template of C_GetAttributeValue: kinds in, values out.
pub(crate) struct Wanted {
    attributes: Alleged<CK_ATTRIBUTE>,
    kinds: Vec<AttributeType>,
}

impl Wanted {
    /// Reads the kinds.
    pub(crate) fn read(attributes: Alleged<CK_ATTRIBUTE>, count: CK_ULONG) -> Result<Self, Rv> {
        let mut kinds = Vec::new();
        for index in 0..bounded_count(attributes, count)? {
            kinds.push(AttributeType(attributes.element(index).read()?.type_));
        }
        Ok(Self { attributes, kinds })
    }

    /// What is asked for.
    pub(crate) fn kinds(&self) -> &[AttributeType] {
        &self.kinds
    }

    /// Writes every value that fits. PKCS#11 3.2, 5.7.5: one attribute that fails does not keep the others from being written; its
    /// length becomes CK_UNAVAILABLE_INFORMATION. Of several failures the function tells the first of sensitive, invalid type,
    /// buffer too small: what no second call can mend comes before what one can.
    pub(crate) fn deliver(&self, answers: &[AttributeAnswer<'_>]) -> Result<(), Rv> {
        if answers.len() != self.kinds.len() {
            return Err(Rv::DEVICE_ERROR);
        }
        let mut worst = Fit::Whole;
        for (index, answer) in answers.iter().enumerate() {
            worst = worst.max(fit(self.attributes.element(index), answer)?);
        }
        match worst {
            Fit::Whole => Ok(()),
            Fit::Short => Err(Rv::BUFFER_TOO_SMALL),
            Fit::TypeInvalid => Err(Rv::ATTRIBUTE_TYPE_INVALID),
            Fit::Sensitive => Err(Rv::ATTRIBUTE_SENSITIVE),
        }
    }
}

/// How one attribute went, the least telling first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Whole,
    Short,
    TypeInvalid,
    Sensitive,
}

fn fit(place: Alleged<CK_ATTRIBUTE>, answer: &AttributeAnswer<'_>) -> Result<Fit, Rv> {
    let attribute = place.read()?;
    let place = place.required()?;
    match answer {
        AttributeAnswer::Open(value) => Ok(fit_bytes(attribute, place, value)),
        AttributeAnswer::Secret(value) => Ok(fit_bytes(attribute, place, value.expose())),
        AttributeAnswer::Template(nested) => fit_template(attribute, place, nested.items()),
        AttributeAnswer::Sensitive => Ok(unavailable(attribute, place, Fit::Sensitive)),
        AttributeAnswer::TypeInvalid => Ok(unavailable(attribute, place, Fit::TypeInvalid)),
    }
}

fn unavailable(attribute: CK_ATTRIBUTE, place: Place<CK_ATTRIBUTE>, why: Fit) -> Fit {
    place.put(CK_ATTRIBUTE {
        ulValueLen: UNAVAILABLE_INFORMATION,
        ..attribute
    });
    why
}

fn fit_bytes(attribute: CK_ATTRIBUTE, place: Place<CK_ATTRIBUTE>, value: &[u8]) -> Fit {
    let length = u64::try_from(value.len()).unwrap_or(UNAVAILABLE_INFORMATION);
    if !attribute.pValue.is_null() && attribute.ulValueLen < length {
        return unavailable(attribute, place, Fit::Short);
    }
    value_of(attribute).fill(value);
    place.put(CK_ATTRIBUTE {
        ulValueLen: length,
        ..attribute
    });
    Fit::Whole
}

/// PKCS#11 3.2, 5.7.5: the elements of an array are attributes with buffers of their own; their type is ignored on input and set on
/// output.
fn fit_template(
    attribute: CK_ATTRIBUTE,
    place: Place<CK_ATTRIBUTE>,
    answers: &[FlatAttribute<'_>],
) -> Result<Fit, Rv> {
    let count = u64::try_from(answers.len()).map_err(|_| Rv::DEVICE_ERROR)?;
    let length = count.saturating_mul(ATTRIBUTE_BYTES);
    let mut worst = Fit::Whole;
    if !attribute.pValue.is_null() {
        if attribute.ulValueLen < length {
            return Ok(unavailable(attribute, place, Fit::Short));
        }
        let elements = nested_of(attribute);
        for (index, answer) in answers.iter().enumerate() {
            let element = elements.element(index);
            let inner = CK_ATTRIBUTE {
                type_: answer.kind.0,
                ..element.read()?
            };
            worst = worst.max(fit_bytes(inner, element.required()?, answer.value.expose()));
        }
    }
    place.put(CK_ATTRIBUTE {
        ulValueLen: length,
        ..attribute
    });
    Ok(worst)
}

#[cfg(test)]
#[path = "../tests/template.rs"]
mod tests;
