//! Templates: what an application alleges, parsed once, for one intent.
//!
//! What lives here: [`Template`], whose type says what it is for, and the parsing of values.
//! What must never live here: what is made of it (draft), or what it is compared with (index).
//! Who calls it: the chapters of objects and keys, at their door.

use std::marker::PhantomData;

use strongroom_wire::ck::AttributeType;
use strongroom_wire::request::{self, Attribute, FlatAttribute};

use super::table::{
    CREATE_NEEDS, CREATE_REFUSES, Form, GENERATE_NEEDS, GENERATE_REFUSES, UNWRAP_REFUSES, form,
};
use super::{Attributes, Value};
use crate::error::{Error, Result};
use crate::limits::ATTRIBUTE_BYTES_MAX;

/// What a template is for.
pub trait Intent {
    /// Footnotes of attributes that must be in it.
    const NEEDS: u32;
    /// Footnotes of attributes that must not be in it.
    const REFUSES: u32;
}

/// Makes the markers.
macro_rules! intents {
    ($($(#[$doc:meta])* $name:ident: needs $needs:expr, refuses $refuses:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl Intent for $name {
                const NEEDS: u32 = $needs;
                const REFUSES: u32 = $refuses;
            }
        )*
    };
}

intents! {
    /// C_CreateObject.
    Create: needs CREATE_NEEDS, refuses CREATE_REFUSES;
    /// C_GenerateKey and C_GenerateKeyPair.
    Generate: needs GENERATE_NEEDS, refuses GENERATE_REFUSES;
    /// C_UnwrapKey.
    Unwrap: needs 0, refuses UNWRAP_REFUSES;
    /// C_DeriveKey. The standard has no footnotes of its own for it: what an unwrapped key may not say, a derived one may not either.
    Derive: needs 0, refuses UNWRAP_REFUSES;
    /// C_CopyObject.
    Copy: needs 0, refuses 0;
    /// C_SetAttributeValue.
    Set: needs 0, refuses 0;
    /// C_FindObjectsInit.
    Find: needs 0, refuses 0;
}

/// A template for one intent: every attribute known and once, every value of the right form.
///
/// One that was meant for a search creates nothing:
///
/// ```compile_fail,E0308
/// use strongroom::attribute::template::{Create, Find, Template};
/// fn create(_: &Template<'_, Create>) {}
/// fn confused(template: &Template<'_, Find>) {
///     create(template);
/// }
/// ```
///
/// and none is made without being parsed:
///
/// ```compile_fail,E0451
/// use std::marker::PhantomData;
/// use strongroom::attribute::template::{Create, Template};
/// fn unparsed() -> Template<'static, Create> {
///     Template { entries: Vec::new(), intent: PhantomData }
/// }
/// ```
#[derive(Debug)]
pub struct Template<'a, I: Intent> {
    entries: Vec<Entry<'a>>,
    intent: PhantomData<fn() -> I>,
}

/// One attribute of a template. Its bytes stay where they were sent: they may be secret.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Which attribute.
    pub kind: AttributeType,
    alleged: Alleged<'a>,
}

#[derive(Debug)]
enum Alleged<'a> {
    Bytes(strongroom_wire::secret::Secret<'a>),
    Template(Attributes),
}

impl<'a> Entry<'a> {
    /// The bytes, of everything but arrays of attributes.
    ///
    /// # Errors
    /// [`Error::AttributeValueInvalid`] for an array of attributes.
    pub const fn bytes(&self) -> Result<&'a [u8]> {
        match &self.alleged {
            Alleged::Bytes(bytes) => Ok(bytes.expose()),
            Alleged::Template(_) => Err(Error::AttributeValueInvalid),
        }
    }

    /// The value, in its form.
    ///
    /// # Errors
    /// [`Error::AttributeValueInvalid`] when it does not have that form.
    pub fn value(&self, form: Form) -> Result<Value> {
        match (&self.alleged, form) {
            (Alleged::Template(inner), Form::Template) => Ok(Value::Template(
                inner
                    .iter()
                    .map(|(kind, value)| (kind, value.clone()))
                    .collect(),
            )),
            // An empty array of attributes comes as no bytes at all.
            (Alleged::Bytes(bytes), Form::Template) if bytes.is_empty() => {
                Ok(Value::Template(Box::default()))
            }
            (Alleged::Bytes(bytes), _) => parse_value(form, bytes.expose()),
            (Alleged::Template(_), _) => Err(Error::AttributeValueInvalid),
        }
    }
}

impl<'a, I: Intent> Template<'a, I> {
    /// Parses what was sent.
    ///
    /// # Errors
    /// [`Error::AttributeTypeInvalid`] for an attribute that no object has, [`Error::TemplateInconsistent`] for one that comes twice
    /// with different values, [`Error::AttributeValueInvalid`] for a value of the wrong form.
    pub fn parse(sent: &request::Template<'a>) -> Result<Self> {
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(sent.items().len());
        for attribute in sent.items() {
            let entry = parse_entry(attribute)?;
            match entries.iter().find(|earlier| earlier.kind == entry.kind) {
                None => entries.push(entry),
                Some(earlier) if same(earlier, &entry) => {}
                Some(_) => return Err(Error::TemplateInconsistent),
            }
        }
        Ok(Self {
            entries,
            intent: PhantomData,
        })
    }

    /// All entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// One entry.
    #[must_use]
    pub fn entry(&self, kind: AttributeType) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.kind == kind)
    }

    /// A number, if it is there.
    ///
    /// # Errors
    /// [`Error::AttributeValueInvalid`].
    pub fn number(&self, kind: AttributeType) -> Result<Option<u64>> {
        self.entry(kind)
            .map(|entry| number(entry.bytes()?))
            .transpose()
    }

    /// A boolean, if it is there.
    ///
    /// # Errors
    /// [`Error::AttributeValueInvalid`].
    pub fn flag(&self, kind: AttributeType) -> Result<Option<bool>> {
        self.entry(kind)
            .map(|entry| boolean(entry.bytes()?))
            .transpose()
    }
}

fn same(one: &Entry<'_>, other: &Entry<'_>) -> bool {
    match (&one.alleged, &other.alleged) {
        (Alleged::Bytes(one), Alleged::Bytes(other)) => one.expose() == other.expose(),
        (Alleged::Template(one), Alleged::Template(other)) => one == other,
        _ => false,
    }
}

fn parse_entry<'a>(attribute: &Attribute<'a>) -> Result<Entry<'a>> {
    let known = form(attribute.kind).ok_or(Error::AttributeTypeInvalid)?;
    let alleged = match &attribute.value {
        request::Value::Bytes(bytes) if bytes.len() > ATTRIBUTE_BYTES_MAX => {
            return Err(Error::AttributeValueInvalid);
        }
        request::Value::Bytes(bytes) => Alleged::Bytes(*bytes),
        request::Value::Template(inner) if known == Form::Template => {
            Alleged::Template(parse_inner(inner.items())?)
        }
        request::Value::Template(_) => return Err(Error::AttributeValueInvalid),
    };
    let entry = Entry {
        kind: attribute.kind,
        alleged,
    };
    // Judged here for its form; the value itself is read where it is used.
    if matches!(
        known,
        Form::Flag | Form::Number | Form::Date | Form::Numbers | Form::Template
    ) {
        entry.value(known)?;
    }
    Ok(entry)
}

/// An array of attributes inside a template: flat, and without secrets, which have no place there.
fn parse_inner(sent: &[FlatAttribute<'_>]) -> Result<Attributes> {
    let mut inner: Vec<(AttributeType, Value)> = Vec::with_capacity(sent.len());
    for attribute in sent {
        let known = form(attribute.kind).ok_or(Error::AttributeTypeInvalid)?;
        if known == Form::Template || inner.iter().any(|(kind, _)| *kind == attribute.kind) {
            return Err(Error::AttributeValueInvalid);
        }
        inner.push((
            attribute.kind,
            parse_value(known, attribute.value.expose())?,
        ));
    }
    Ok(Attributes::new(inner))
}

/// Bytes to a value of a form.
///
/// # Errors
/// [`Error::AttributeValueInvalid`] when they do not have that form.
pub fn parse_value(form: Form, bytes: &[u8]) -> Result<Value> {
    Ok(match form {
        Form::Flag => Value::Flag(boolean(bytes)?),
        Form::Number => Value::Number(number(bytes)?),
        Form::Bytes => Value::Bytes(bytes.into()),
        Form::BigInteger => Value::Bytes(without_leading_zeros(bytes).into()),
        Form::Date => {
            if !bytes.is_empty() && crate::calendar::Date::parse(bytes).is_none() {
                return Err(Error::AttributeValueInvalid);
            }
            Value::Bytes(bytes.into())
        }
        Form::Numbers => {
            let (numbers, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(Error::AttributeValueInvalid);
            }
            Value::Numbers(
                numbers
                    .iter()
                    .map(|number| u64::from_ne_bytes(*number))
                    .collect(),
            )
        }
        Form::Template => return Err(Error::AttributeValueInvalid),
    })
}

/// A big integer without its leading zeros; zero itself keeps none.
#[must_use]
pub fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

fn boolean(bytes: &[u8]) -> Result<bool> {
    // CK_TRUE is 1, but C programs also write other values that are not zero.
    match bytes {
        [byte] => Ok(*byte != 0),
        _ => Err(Error::AttributeValueInvalid),
    }
}

fn number(bytes: &[u8]) -> Result<u64> {
    bytes
        .try_into()
        .map(u64::from_ne_bytes)
        .map_err(|_| Error::AttributeValueInvalid)
}

#[cfg(test)]
mod tests;
