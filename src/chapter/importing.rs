//! Objects that come from elsewhere: judged as C_CreateObject judges (PKCS#11 3.2, 5.7.1), with all that another token says of them.
//!
//! What lives here: what is taken of a foreign object, what is changed, what is refused, and why, in words.
//! What must never live here: where the objects go, and who may bring them.
//! Who calls it: the service, for imports.

use strongroom_wire::ck::{
    AttributeType as A, CertificateType, KeyType, ObjectClass, Rv, UNAVAILABLE_INFORMATION,
};
use strongroom_wire::codec::List;
use strongroom_wire::request::{self, Attribute};
use strongroom_wire::secret::Secret;

use super::keys;
use crate::attribute::draft::{Asker, Draft, Implied, Origin};
use crate::attribute::table::{self, COMPUTED, CREATE_NEEDS, CREATE_REFUSES, Form, Row, Shape};
use crate::attribute::template::{Create, Template, parse_value};
use crate::attribute::{Attributes, Value};
use crate::error::{Error, Result};
use crate::object::Material;

/// What becomes of `CKA_LOCAL`, `CKA_ALWAYS_SENSITIVE`, `CKA_NEVER_EXTRACTABLE` and `CKA_KEY_GEN_MECHANISM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// They say the truth of a key that came from outside.
    BeginsHere,
    /// They say what the source says, because the operator vouches for it.
    Kept,
}

/// What is said of one object.
#[derive(Debug)]
pub enum Verdict {
    /// It can come into being.
    Taken {
        /// Its attributes, complete.
        attributes: Attributes,
        /// Its secret values.
        material: Option<Material>,
        /// One sentence for each attribute that is not taken as it stood.
        changed: Vec<String>,
    },
    /// It cannot.
    Refused {
        /// What C_CreateObject would have said.
        rv: Rv,
        /// Why.
        reason: String,
    },
}

/// Judges one object.
///
/// # Errors
/// [`Error::DeviceMemory`] and others that say nothing of the object.
pub fn judge(sent: &request::Template<'_>, history: History) -> Result<Verdict> {
    match taken(sent, history) {
        Ok(taken) => Ok(taken),
        Err(Fault::OfObject(error, reason)) => Ok(Verdict::Refused {
            rv: error.rv(),
            reason,
        }),
        Err(Fault::OfDevice(error)) => Err(error),
    }
}

/// Why an object is not taken.
enum Fault {
    /// It is wrong.
    OfObject(Error, String),
    /// It could not be judged.
    OfDevice(Error),
}

impl Fault {
    /// An error whose cause somebody has found words for.
    fn of(error: Error, words: impl FnOnce() -> String) -> Self {
        match error {
            Error::DeviceMemory | Error::DeviceError | Error::GeneralError => Self::OfDevice(error),
            other => Self::OfObject(other, words()),
        }
    }
}

fn taken(sent: &request::Template<'_>, history: History) -> std::result::Result<Verdict, Fault> {
    let shape = shape_of(sent)?;
    let sorted = Sorted::of(sent, shape)?;
    let mut changed = sorted.changed;
    let kept = List::new(sorted.kept)
        .ok_or_else(|| fault(Error::TemplateInconsistent, "it has too many attributes"))?;
    let explained = |error| Fault::of(error, || explanation(error, &kept, shape));
    let template = Template::<Create>::parse(&kept).map_err(explained)?;
    // Whoever imports stands above the security officer, so trust may be brought along.
    let mut draft =
        Draft::parse(&template, Implied::default(), Asker::Officer).map_err(explained)?;
    if draft.mend_parity() {
        changed.push("CKA_VALUE got the parity bits of DES: the key means the same".into());
    }
    keys::complete(&mut draft).map_err(explained)?;
    draft.state_origin(Origin::Foreign);
    draft.state_unique_id().map_err(Fault::OfDevice)?;
    changed.extend(told_of_values(&draft, &template));
    for said in &sorted.said {
        changed.extend(compared(&mut draft, said, history)?);
    }
    if let Some(point) = sorted.point {
        point_fits(&draft, point)?;
    }
    Ok(Verdict::Taken {
        material: draft.material().map_err(Fault::OfDevice)?,
        attributes: draft.into_attributes(),
        changed,
    })
}

fn fault(error: Error, words: &str) -> Fault {
    Fault::OfObject(error, words.to_owned())
}

/// Bytes of an attribute; none of an array of attributes.
fn plain<'a>(attribute: &Attribute<'a>) -> Option<&'a [u8]> {
    match &attribute.value {
        request::Value::Bytes(bytes) => Some(bytes.expose()),
        request::Value::Template(_) => None,
    }
}

/// Class and type, by what the object says first of all.
fn shape_of(sent: &request::Template<'_>) -> std::result::Result<Shape, Fault> {
    let number = |kind| {
        let found = sent.items().iter().find(|attribute| attribute.kind == kind);
        let Some(attribute) = found else {
            return Ok(None);
        };
        let bytes = plain(attribute).and_then(|bytes| bytes.try_into().ok());
        let wrong =
            || Fault::OfObject(Error::AttributeValueInvalid, format!("{kind} is no number"));
        bytes.map(u64::from_ne_bytes).map(Some).ok_or_else(wrong)
    };
    let missing =
        |kind: A| Fault::OfObject(Error::TemplateIncomplete, format!("{kind} is missing"));
    let class = number(A::CLASS)?
        .map(ObjectClass)
        .ok_or_else(|| missing(A::CLASS))?;
    let key_type = number(A::KEY_TYPE)?.map(KeyType);
    let certificate = number(A::CERTIFICATE_TYPE)?.map(CertificateType);
    Shape::of(class, key_type, certificate).ok_or_else(|| {
        let typed = [
            key_type.map(|of| format!(" with CKA_KEY_TYPE {of}")),
            certificate.map(|of| format!(" with CKA_CERTIFICATE_TYPE {of}")),
        ];
        let typed = typed.into_iter().flatten().collect::<String>();
        let reason = format!("an object of CKA_CLASS {class}{typed} is not supported");
        Fault::OfObject(Error::AttributeValueInvalid, reason)
    })
}

/// What a source says of an object, sorted by what becomes of it.
#[derive(Default)]
struct Sorted<'a> {
    /// What makes the object.
    kept: Vec<Attribute<'a>>,
    /// What the token says itself, and the source said otherwise or not.
    said: Vec<(&'static Row, &'a [u8])>,
    /// The public point that some tokens keep with a private key.
    point: Option<&'a [u8]>,
    changed: Vec<String>,
}

impl<'a> Sorted<'a> {
    fn of(sent: &request::Template<'a>, shape: Shape) -> std::result::Result<Self, Fault> {
        let mut sorted = Self::default();
        for attribute in sent.items() {
            match table::row(attribute.kind, shape) {
                Some(row) => sorted.take(row, attribute)?,
                None => sorted.leave_out(attribute),
            }
        }
        sorted.kept.push(Attribute {
            kind: A::TOKEN,
            value: request::Value::Bytes(Secret::new(&[1])),
        });
        Ok(sorted)
    }

    fn take(
        &mut self,
        row: &'static Row,
        attribute: &Attribute<'a>,
    ) -> std::result::Result<(), Fault> {
        let kind = row.kind;
        let bytes = plain(attribute);
        if row.has(CREATE_REFUSES | COMPUTED) {
            let bytes = bytes.ok_or_else(|| of_wrong_form(kind))?;
            self.said.push((row, bytes));
            return Ok(());
        }
        let empty = bytes.is_some_and(<[u8]>::is_empty);
        match kind {
            A::TOKEN => {
                if bytes == Some(&[0]) {
                    self.changed
                        .push("CKA_TOKEN is true: what is brought in belongs to the token".into());
                }
            }
            // PKCS#11 3.2, 4.7, has no word on an empty list. Here it allows nothing; elsewhere it is what a key has that allows all.
            A::ALLOWED_MECHANISMS if empty => self.changed.push(format!(
                "{kind} was left out: it is empty, which here would allow no mechanism at all"
            )),
            // A component that the source does not have.
            _ if empty && row.form == Form::BigInteger && !row.has(CREATE_NEEDS) => {}
            _ => self.kept.push(attribute.clone()),
        }
        Ok(())
    }

    fn leave_out(&mut self, attribute: &Attribute<'a>) {
        let kind = attribute.kind;
        let bytes = plain(attribute).unwrap_or(&[1]);
        let unavailable = bytes.is_empty() || bytes == UNAVAILABLE_INFORMATION.to_ne_bytes();
        if kind == A::EC_POINT && !unavailable {
            self.point = Some(bytes);
        }
        let why = if kind.0 & A::VENDOR_DEFINED.0 != 0 {
            "it is an attribute of its vendor"
        } else if unavailable {
            "objects of this class and type do not have it here, and it says nothing"
        } else {
            "objects of this class and type do not have it here"
        };
        self.changed.push(format!("{kind} was left out: {why}"));
    }
}

fn of_wrong_form(kind: A) -> Fault {
    Fault::OfObject(
        Error::AttributeValueInvalid,
        format!("{kind} has a value of the wrong form"),
    )
}

/// Attributes whose value stands otherwise than it was sent: a point that got its frame, a flag that was neither 0 nor 1.
fn told_of_values(draft: &Draft, template: &Template<'_, Create>) -> Vec<String> {
    let otherwise = |kind: A| {
        let row = table::row(kind, draft.shape()).filter(|row| !row.is_material())?;
        let sent = template.entry(kind)?.value(row.form).ok()?;
        let stands = draft.attributes().value(kind)?;
        (sent != *stands).then(|| format!("{kind} stands in another form: it means the same"))
    };
    let entries = template.entries().iter();
    entries.filter_map(|entry| otherwise(entry.kind)).collect()
}

/// Compares what the source said with what the token says; gives a sentence where that matters.
fn compared(
    draft: &mut Draft,
    (row, bytes): &(&'static Row, &[u8]),
    history: History,
) -> std::result::Result<Option<String>, Fault> {
    let kind = row.kind;
    // Nothing was said.
    if bytes.is_empty() {
        return Ok(None);
    }
    let said = parse_value(row.form, bytes).map_err(|_| of_wrong_form(kind))?;
    match kind {
        // Each token gives its own.
        A::UNIQUE_ID => Ok(None),
        A::LOCAL | A::ALWAYS_SENSITIVE | A::NEVER_EXTRACTABLE | A::KEY_GEN_MECHANISM => {
            Ok(of_history(draft, kind, said, history))
        }
        A::VALUE_LEN | A::MODULUS_BITS | A::PRIME_BITS => {
            let nothing = [Value::Number(0), Value::Number(UNAVAILABLE_INFORMATION)];
            if nothing.contains(&said) || draft.attributes().value(kind) == Some(&said) {
                return Ok(None);
            }
            let reason = format!("{kind} is not the length of the value that the object has");
            Err(Fault::OfObject(Error::TemplateInconsistent, reason))
        }
        _ if draft.attributes().value(kind) == Some(&said) => Ok(None),
        _ => Ok(Some(format!(
            "{kind} was computed anew: the source has another one"
        ))),
    }
}

/// PKCS#11 3.2, 4.7 to 4.10: what a key says of where it came from.
fn of_history(draft: &mut Draft, kind: A, said: Value, history: History) -> Option<String> {
    if draft.attributes().value(kind) == Some(&said) {
        return None;
    }
    let contradicted = said == Value::Flag(true)
        && (kind == A::ALWAYS_SENSITIVE && !draft.is(A::SENSITIVE)
            || kind == A::NEVER_EXTRACTABLE && draft.is(A::EXTRACTABLE));
    if contradicted {
        return Some(format!("{kind} is false: the key is not so now"));
    }
    if history == History::Kept {
        draft.set(kind, said);
        return None;
    }
    let now = if kind == A::KEY_GEN_MECHANISM {
        "CK_UNAVAILABLE_INFORMATION"
    } else {
        "false"
    };
    Some(format!("{kind} is {now}: the key came from outside"))
}

/// The public point that came with a private key must be its own: the public key that it makes has the same public key info.
fn point_fits(draft: &Draft, point: &[u8]) -> std::result::Result<(), Fault> {
    let number = |kind| {
        draft
            .attributes()
            .number(kind)
            .unwrap_or(UNAVAILABLE_INFORMATION)
            .to_ne_bytes()
    };
    let (class, key_type) = (ObjectClass::PUBLIC_KEY.0.to_ne_bytes(), number(A::KEY_TYPE));
    let parameters = draft.attributes().bytes(A::EC_PARAMS).unwrap_or_default();
    let values: [(A, &[u8]); 4] = [
        (A::CLASS, &class),
        (A::KEY_TYPE, &key_type),
        (A::EC_PARAMS, parameters),
        (A::EC_POINT, point),
    ];
    let public = values.map(|(kind, value)| Attribute {
        kind,
        value: request::Value::Bytes(Secret::new(value)),
    });
    let public = List::new(public.to_vec()).unwrap_or_default();
    let info = |template: &request::Template<'_>| -> Result<Option<Value>> {
        let template = Template::<Create>::parse(template)?;
        let mut draft = Draft::parse(&template, Implied::default(), Asker::Other)?;
        keys::complete(&mut draft)?;
        Ok(draft.attributes().value(A::PUBLIC_KEY_INFO).cloned())
    };
    let words = || "CKA_EC_POINT is not the public point of CKA_VALUE".to_owned();
    let info = info(&public).map_err(|error| Fault::of(error, words))?;
    if info.as_ref() == draft.attributes().value(A::PUBLIC_KEY_INFO) {
        Ok(())
    } else {
        Err(Fault::OfObject(Error::AttributeValueInvalid, words()))
    }
}

/// What is wrong, with the name of the attribute as far as one is to blame.
fn explanation(error: Error, kept: &request::Template<'_>, shape: Shape) -> String {
    let row = |attribute: &Attribute<'_>| table::row(attribute.kind, shape);
    match error {
        Error::TemplateIncomplete => {
            let there = |row: &Row| {
                kept.items()
                    .iter()
                    .any(|attribute| attribute.kind == row.kind)
            };
            let missing = table::rows(shape)
                .iter()
                .filter(|row| row.has(CREATE_NEEDS) && !there(row));
            let names: Vec<String> = missing.map(|row| row.kind.to_string()).collect();
            match names.as_slice() {
                [] => "the object has neither a value nor an address of one".to_owned(),
                [name] => format!("{name} is missing"),
                names => format!("{} are missing", names.join(", ")),
            }
        }
        Error::TemplateInconsistent => "an attribute comes twice, with different values".to_owned(),
        Error::CurveNotSupported => "CKA_EC_PARAMS names a curve that is not supported".to_owned(),
        Error::AttributeTypeInvalid => {
            let arrays = kept
                .items()
                .iter()
                .filter(|attribute| plain(attribute).is_none());
            let names: Vec<String> = arrays.map(|attribute| attribute.kind.to_string()).collect();
            format!(
                "{} holds an attribute that is not known here",
                names.join(" or ")
            )
        }
        _ => {
            let malformed = kept
                .items()
                .iter()
                .find(|attribute| row(attribute).is_some_and(|row| !has_form(row.form, attribute)));
            match malformed {
                Some(attribute) => format!("{} has a value of the wrong form", attribute.kind),
                None => unfit_values(shape).to_owned(),
            }
        }
    }
}

fn has_form(form: Form, attribute: &Attribute<'_>) -> bool {
    match plain(attribute) {
        None => form == Form::Template,
        Some(bytes) if form == Form::Template => bytes.is_empty(),
        Some(bytes) => {
            bytes.len() <= crate::limits::ATTRIBUTE_BYTES_MAX && parse_value(form, bytes).is_ok()
        }
    }
}

/// Which values make no object together, where each alone has its form.
const fn unfit_values(shape: Shape) -> &'static str {
    match shape {
        Shape::RsaPrivate => {
            "CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT and the primes make no RSA key that is supported"
        }
        Shape::RsaPublic => "CKA_MODULUS and CKA_PUBLIC_EXPONENT make no RSA key that is supported",
        Shape::CurvePublic => "CKA_EC_POINT is no point of the curve in CKA_EC_PARAMS",
        Shape::EcPrivate | Shape::EdwardsPrivate | Shape::MontgomeryPrivate => {
            "CKA_VALUE is no private key of the curve in CKA_EC_PARAMS"
        }
        Shape::Secret => "CKA_VALUE does not have a length that CKA_KEY_TYPE can have",
        _ => "a value is not one that such an object can have",
    }
}

#[cfg(test)]
mod tests;
