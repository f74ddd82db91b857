//! Drafts: an object on its way into being.
//!
//! What lives here: how a template, what a mechanism implies and what the token computes become attributes and material.
//! What must never live here: where the object is kept, and who asked.
//! Who calls it: the chapters of objects and keys.

use parking_lot::Mutex;
use strongroom_crypto::block::{self, BlockCipher};
use strongroom_crypto::des;
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::random;
use strongroom_keymem::SecretBytes;
use strongroom_wire::ck::{AttributeType, CertificateType, KeyType, MechanismType, ObjectClass};

use super::table::{
    self, CHANGEABLE, COMPUTED, COPY_CHANGES, OFFICER_SETS, Row, STAYS_FALSE, STAYS_TRUE, Shape,
};
use super::template::{Entry, Intent, Template, without_leading_zeros};
use super::{Attributes, Value};
use crate::error::{Error, Result};
use crate::limits::SECRET_KEY_BYTES_MAX;
use crate::object::Material;
use crate::release::rules;

/// Who asks, as far as attributes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The security officer, who alone may trust.
    Officer,
    /// Anybody else.
    Other,
}

/// What the function or mechanism already says about the object to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Implied<'i> {
    /// Its class.
    pub class: Option<ObjectClass>,
    /// Its key type.
    pub key_type: Option<KeyType>,
    /// Attributes of an unwrap or derive template: they are added, and contradicting them is refused.
    pub imposed: &'i [(AttributeType, Value)],
}

/// Where a key comes from: what decides LOCAL, ALWAYS_SENSITIVE and their kin (PKCS#11 3.2, 4.7 to 4.10).
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// Made of an application's values, or unwrapped.
    Foreign,
    /// Generated here.
    Generated(MechanismType),
    /// Derived of a key that was always sensitive, never extractable.
    Derived {
        /// `CKA_ALWAYS_SENSITIVE` of the base key.
        always_sensitive: bool,
        /// `CKA_NEVER_EXTRACTABLE` of the base key.
        never_extractable: bool,
    },
}

/// An object on its way into being.
#[derive(Debug)]
pub struct Draft {
    shape: Shape,
    attributes: Attributes,
    secrets: Vec<(AttributeType, SecretBytes)>,
}

impl Draft {
    /// Takes a template: class and type found, every attribute allowed and of its form, presets filled in.
    ///
    /// # Errors
    /// As the standard has them for a template (PKCS#11 3.2, 4.1.1).
    pub fn parse<I: Intent>(
        template: &Template<'_, I>,
        implied: Implied<'_>,
        asker: Asker,
    ) -> Result<Self> {
        let shape = shape_of(template, &implied)?;
        let mut draft = Self {
            shape,
            attributes: table::presets(shape).roomy(),
            secrets: Vec::new(),
        };
        for entry in template.entries() {
            draft.take::<I>(entry, asker)?;
        }
        draft.impose(template, implied.imposed, asker)?;
        draft.state_identity(&implied);
        let missing = |row: &&Row| {
            row.has(I::NEEDS) && !draft.attributes.has(row.kind) && !draft.has_secret(row.kind)
        };
        if table::rows(shape).iter().any(missing) {
            return Err(Error::TemplateIncomplete);
        }
        Ok(draft)
    }

    fn take<I: Intent>(&mut self, entry: &Entry<'_>, asker: Asker) -> Result<()> {
        let row = table::row(entry.kind, self.shape).ok_or(Error::AttributeTypeInvalid)?;
        if row.has(I::REFUSES) {
            return Err(Error::AttributeReadOnly);
        }
        if row.is_material() {
            let bytes = entry.bytes()?;
            let bytes = if row.form == table::Form::BigInteger {
                without_leading_zeros(bytes)
            } else {
                bytes
            };
            return self.set_secret(entry.kind, bytes);
        }
        let value = entry.value(row.form)?;
        if row.has(OFFICER_SETS) && value == Value::Flag(true) && asker != Asker::Officer {
            return Err(Error::AttributeReadOnly);
        }
        self.attributes.set(entry.kind, value);
        Ok(())
    }

    /// `CKA_UNWRAP_TEMPLATE`, `CKA_DERIVE_TEMPLATE` (PKCS#11 3.2, 4.9): added; a contradiction is refused.
    fn impose<I: Intent>(
        &mut self,
        template: &Template<'_, I>,
        imposed: &[(AttributeType, Value)],
        asker: Asker,
    ) -> Result<()> {
        for (kind, value) in imposed {
            let row = table::row(*kind, self.shape).ok_or(Error::TemplateInconsistent)?;
            // Whoever made the key that imposes could not say this either: nobody gets trust by a detour.
            let presumptuous =
                row.has(OFFICER_SETS) && *value == Value::Flag(true) && asker != Asker::Officer;
            if row.is_material() || row.has(I::REFUSES) || presumptuous {
                return Err(Error::TemplateInconsistent);
            }
            if let Some(entry) = template.entry(*kind)
                && entry.value(row.form)? != *value
            {
                return Err(Error::TemplateInconsistent);
            }
            self.attributes.set(*kind, value.clone());
        }
        Ok(())
    }

    fn state_identity(&mut self, implied: &Implied<'_>) {
        if let Some(class) = implied.class {
            self.attributes
                .set(AttributeType::CLASS, Value::Number(class.0));
        }
        if let Some(key_type) = implied.key_type {
            self.attributes
                .set(AttributeType::KEY_TYPE, Value::Number(key_type.0));
        }
    }

    /// Its shape.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// What it says so far.
    #[must_use]
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Key type.
    ///
    /// # Errors
    /// [`Error::TemplateIncomplete`].
    pub fn key_type(&self) -> Result<KeyType> {
        self.attributes
            .number(AttributeType::KEY_TYPE)
            .map(KeyType)
            .ok_or(Error::TemplateIncomplete)
    }

    /// A boolean, false where it is not there.
    #[must_use]
    pub fn is(&self, kind: AttributeType) -> bool {
        self.attributes.flag(kind).unwrap_or(false)
    }

    /// Writes an attribute that the token has computed.
    pub fn set(&mut self, kind: AttributeType, value: Value) {
        self.attributes.set(kind, value);
    }

    /// Writes bytes that the token has computed; if the template gave some, they must be the same.
    ///
    /// # Errors
    /// [`Error::AttributeValueInvalid`].
    pub fn set_computed(&mut self, kind: AttributeType, bytes: &[u8]) -> Result<()> {
        match (self.attributes.bytes(kind), table::row(kind, self.shape)) {
            // Told to be empty: the application wants none (PKCS#11 3.2, 4.10.2 on CKA_CHECK_VALUE).
            (Some([]), _) => Ok(()),
            (Some(given), Some(row)) if row.has(COMPUTED) && given != bytes => {
                Err(Error::AttributeValueInvalid)
            }
            _ => {
                self.attributes.set(kind, Value::Bytes(bytes.into()));
                Ok(())
            }
        }
    }

    /// Writes a number that the token has computed; if the template gave one, it must be the same.
    ///
    /// # Errors
    /// [`Error::TemplateInconsistent`].
    pub fn set_computed_number(&mut self, kind: AttributeType, number: u64) -> Result<()> {
        match self.attributes.number(kind) {
            Some(given) if given != number => Err(Error::TemplateInconsistent),
            _ => {
                self.attributes.set(kind, Value::Number(number));
                Ok(())
            }
        }
    }

    /// Writes a copy of a secret value.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`].
    pub fn set_secret(&mut self, kind: AttributeType, bytes: &[u8]) -> Result<()> {
        self.give_secret(kind, SecretBytes::copy_from(bytes)?);
        Ok(())
    }

    /// Writes a secret value.
    pub fn give_secret(&mut self, kind: AttributeType, value: SecretBytes) {
        self.secrets.retain(|(other, _)| *other != kind);
        self.secrets.push((kind, value));
    }

    /// A secret value.
    #[must_use]
    pub fn secret(&self, kind: AttributeType) -> Option<&SecretBytes> {
        let found = self.secrets.iter().find(|(other, _)| *other == kind);
        found.map(|(_, value)| value)
    }

    /// Whether it has a secret value.
    #[must_use]
    pub fn has_secret(&self, kind: AttributeType) -> bool {
        self.secret(kind).is_some()
    }

    /// The secret values as material; none when there are none.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`].
    pub fn material(&self) -> Result<Option<Material>> {
        if self.secrets.is_empty() {
            return Ok(None);
        }
        Material::new(&self.secrets).map(Some)
    }

    /// States where it comes from.
    pub fn state_origin(&mut self, origin: Origin) {
        let domain =
            self.shape.bit() & (Shape::DsaParameters.bit() | Shape::DhParameters.bit()) != 0;
        if domain {
            let local = matches!(origin, Origin::Generated(_));
            self.set(AttributeType::LOCAL, Value::Flag(local));
        }
        if self.attributes.number(AttributeType::KEY_TYPE).is_none() || domain {
            return;
        }
        let (local, mechanism) = match origin {
            Origin::Generated(mechanism) => (true, mechanism.0),
            Origin::Foreign | Origin::Derived { .. } => {
                (false, strongroom_wire::ck::UNAVAILABLE_INFORMATION)
            }
        };
        self.set(AttributeType::LOCAL, Value::Flag(local));
        self.set(AttributeType::KEY_GEN_MECHANISM, Value::Number(mechanism));
        if !self.shape.is_secret_holder() {
            return;
        }
        let (sensitive, unextractable) = (
            self.is(AttributeType::SENSITIVE),
            !self.is(AttributeType::EXTRACTABLE),
        );
        let (always, never) = match origin {
            Origin::Generated(_) => (sensitive, unextractable),
            Origin::Foreign => (false, false),
            Origin::Derived {
                always_sensitive,
                never_extractable,
            } => (
                always_sensitive && sensitive,
                never_extractable && unextractable,
            ),
        };
        self.set(AttributeType::ALWAYS_SENSITIVE, Value::Flag(always));
        self.set(AttributeType::NEVER_EXTRACTABLE, Value::Flag(never));
    }

    /// Gives it its unique name: 32 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::GeneralError`] when there is no randomness.
    pub fn state_unique_id(&mut self) -> Result<()> {
        self.set(AttributeType::UNIQUE_ID, unique_id()?);
        Ok(())
    }

    /// What a certificate or a secret key computes of its value: checks, lengths, check values.
    ///
    /// # Errors
    /// [`Error::AttributeValueInvalid`] when the value is none for its type; [`Error::TemplateIncomplete`] for a certificate without
    /// value and address.
    pub fn complete_value(&mut self) -> Result<()> {
        match self.shape {
            Shape::Secret | Shape::DesSecret => self.complete_secret(),
            Shape::X509Certificate | Shape::AttributeCertificate | Shape::WtlsCertificate => {
                self.complete_certificate()
            }
            _ => Ok(()),
        }
    }

    fn complete_secret(&mut self) -> Result<()> {
        let key_type = self.key_type()?;
        let value = self
            .secret(AttributeType::VALUE)
            .ok_or(Error::TemplateIncomplete)?;
        let length = value.len();
        let fits = match (key_type, table::des_bytes(key_type)) {
            (KeyType::AES, _) => matches!(length, 16 | 24 | 32),
            // PKCS#11 3.2, 6.15.2 on DES keys: the parity bits are always right, and a key with wrong ones is refused.
            (_, Some(bytes)) => length == bytes && value.with(des::has_odd_parity),
            _ => (1..=SECRET_KEY_BYTES_MAX).contains(&length),
        };
        if !fits {
            return Err(Error::AttributeValueInvalid);
        }
        let check = value.with(|value| check_value(key_type, value))?;
        self.set_computed(AttributeType::CHECK_VALUE, &check)?;
        // A key of DES has no such attribute: its type says it.
        if self.shape == Shape::DesSecret {
            return Ok(());
        }
        self.set_computed_number(AttributeType::VALUE_LEN, length as u64)
    }

    /// How long the value of a secret key is to be, as its type or its template says; none when neither does.
    ///
    /// # Errors
    /// [`Error::AttributeValueInvalid`] when no key is so long.
    pub fn value_bytes(&self) -> Result<Option<usize>> {
        if let Some(bytes) = table::des_bytes(self.key_type()?) {
            return Ok(Some(bytes));
        }
        let told = self.attributes.number(AttributeType::VALUE_LEN);
        told.map(|bytes| usize::try_from(bytes).map_err(|_| Error::AttributeValueInvalid))
            .transpose()
    }

    /// Writes the value of a secret key that the token made: where it is one of DES with its parity bits set.
    pub fn give_made_value(&mut self, value: SecretBytes) {
        self.give_secret(AttributeType::VALUE, value);
        self.mend_parity();
    }

    /// Sets the parity bits of a key of DES, which the cipher passes over; tells whether some were wrong.
    pub fn mend_parity(&mut self) -> bool {
        let of_des = self.shape == Shape::DesSecret;
        let is_value = |kind: AttributeType| of_des && kind == AttributeType::VALUE;
        let mut values = self.secrets.iter_mut();
        let value =
            values.find(|(kind, value)| is_value(*kind) && !value.with(des::has_odd_parity));
        value
            .map(|(_, value)| value.with_mut(des::set_odd_parity))
            .is_some()
    }

    /// PKCS#11 3.2, 4.6.3: a certificate has its value, or the address of it and the hashes of both keys.
    fn complete_certificate(&mut self) -> Result<()> {
        let value = self
            .attributes
            .bytes(AttributeType::VALUE)
            .unwrap_or_default();
        if value.is_empty() {
            let said = |kind| {
                self.attributes
                    .bytes(kind)
                    .is_some_and(|said| !said.is_empty())
            };
            return if ELSEWHERE.iter().all(|kind| said(*kind)) {
                Ok(())
            } else {
                Err(Error::TemplateIncomplete)
            };
        }
        let hash = digest(Hash::Sha1, value)?;
        let check: [u8; 3] = std::array::from_fn(|at| hash.as_ref().get(at).copied().unwrap_or(0));
        self.set_computed(AttributeType::CHECK_VALUE, &check)
    }

    /// The finished attributes.
    #[must_use]
    pub fn into_attributes(self) -> Attributes {
        self.attributes.fitted()
    }
}

/// What a certificate without value has (PKCS#11 3.2, 4.6.3, footnotes 3 and 4): whoever fetches it can tell whether it is the right one.
const ELSEWHERE: [AttributeType; 3] = [
    AttributeType::URL,
    AttributeType::HASH_OF_SUBJECT_PUBLIC_KEY,
    AttributeType::HASH_OF_ISSUER_PUBLIC_KEY,
];

/// A fresh `CKA_UNIQUE_ID`.
///
/// # Errors
/// [`Error::GeneralError`] when there is no randomness.
pub fn unique_id() -> Result<Value> {
    let random = UNIQUE.lock().take()?;
    let digit = |at: u32| {
        let nibble = (random >> (at * 4)) & 15;
        char::from_digit(nibble as u32, 16).map_or(b'0', |digit| digit as u8)
    };
    let mut digits = [0; 32];
    for (at, place) in (0..).zip(&mut digits) {
        *place = digit(at);
    }
    Ok(Value::Bytes(digits.into()))
}

/// Random numbers for unique ids, drawn ahead: a draw of many costs hardly more than one of 16 bytes. An id is no secret.
struct Unique {
    drawn: [u8; UNIQUE_BYTES * 64],
    used: usize,
}

const UNIQUE_BYTES: usize = 16;
static UNIQUE: Mutex<Unique> = Mutex::new(Unique {
    drawn: [0; UNIQUE_BYTES * 64],
    // None is there before the first draw.
    used: UNIQUE_BYTES * 64,
});

impl Unique {
    fn take(&mut self) -> Result<u128> {
        if let Some(number) = self.next() {
            return Ok(number);
        }
        random::fill(&mut self.drawn)?;
        self.used = 0;
        self.next().ok_or(Error::GeneralError)
    }

    /// The next one that was not given yet.
    fn next(&mut self) -> Option<u128> {
        let number = self.drawn.get(self.used..)?.first_chunk()?;
        self.used += UNIQUE_BYTES;
        Some(u128::from_le_bytes(*number))
    }
}

/// `CKA_CHECK_VALUE` of a secret key (PKCS#11 3.2, 4.10.2): of a block cipher the first three bytes of a zero block encrypted, of
/// others the first three bytes of the SHA-1 of the value.
fn check_value(key_type: KeyType, value: &[u8]) -> Result<[u8; 3]> {
    let first_three = |bytes: &[u8]| std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0));
    if key_type == KeyType::AES {
        return Ok(block::check_value(BlockCipher::Aes, value)?);
    }
    if table::des_bytes(key_type).is_some() {
        return Ok(block::check_value(BlockCipher::Des, value)?);
    }
    Ok(first_three(digest(Hash::Sha1, value)?.as_ref()))
}

/// A number inside an array of attributes.
#[must_use]
pub fn number_in(template: &[(AttributeType, Value)], wanted: AttributeType) -> Option<u64> {
    template.iter().find_map(|(kind, value)| match value {
        Value::Number(number) if *kind == wanted => Some(*number),
        _ => None,
    })
}

/// Class and type, from the template and from what is implied.
fn shape_of<I: Intent>(template: &Template<'_, I>, implied: &Implied<'_>) -> Result<Shape> {
    let agreed = |kind, said_before: Option<u64>| -> Result<Option<u64>> {
        match (
            template.number(kind)?,
            said_before.or_else(|| number_in(implied.imposed, kind)),
        ) {
            (Some(given), Some(before)) if given != before => Err(Error::TemplateInconsistent),
            (given, before) => Ok(given.or(before)),
        }
    };
    let class = agreed(AttributeType::CLASS, implied.class.map(|class| class.0))?;
    let class = ObjectClass(class.ok_or(Error::TemplateIncomplete)?);
    let key_type = agreed(
        AttributeType::KEY_TYPE,
        implied.key_type.map(|key_type| key_type.0),
    )?
    .map(KeyType);
    let certificate = template
        .number(AttributeType::CERTIFICATE_TYPE)?
        .map(CertificateType);
    let needs_key_type = matches!(
        class,
        ObjectClass::PUBLIC_KEY
            | ObjectClass::PRIVATE_KEY
            | ObjectClass::SECRET_KEY
            | ObjectClass::DOMAIN_PARAMETERS
    );
    if needs_key_type && key_type.is_none()
        || class == ObjectClass::CERTIFICATE && certificate.is_none()
    {
        return Err(Error::TemplateIncomplete);
    }
    Shape::of(class, key_type, certificate).ok_or(Error::AttributeValueInvalid)
}

/// Which changes of an existing object are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// C_SetAttributeValue.
    InPlace,
    /// C_CopyObject.
    Copy,
}

/// An object's attributes after a change, and the new content if it is a data object whose content changes.
///
/// # Errors
/// [`Error::AttributeReadOnly`] for whatever may not be changed so (PKCS#11 3.2, 4.1.2 and 4.1.3).
pub fn changed<I: Intent>(
    shape: Shape,
    before: &Attributes,
    template: &Template<'_, I>,
    change: Change,
    asker: Asker,
) -> Result<(Attributes, Option<Material>)> {
    let mut after = before.clone();
    let mut material = None;
    let changeable = if change == Change::Copy {
        CHANGEABLE | COPY_CHANGES
    } else {
        CHANGEABLE
    };
    for entry in template.entries() {
        let row = table::row(entry.kind, shape).ok_or(Error::AttributeTypeInvalid)?;
        if !row.has(changeable) {
            return Err(Error::AttributeReadOnly);
        }
        if row.is_material() {
            material = Some(Material::new(&[(
                entry.kind,
                SecretBytes::copy_from(entry.bytes()?)?,
            )])?);
            continue;
        }
        let value = entry.value(row.form)?;
        let was = before.flag(entry.kind);
        let frozen = row.has(STAYS_TRUE) && was == Some(true) && value == Value::Flag(false)
            || row.has(STAYS_FALSE) && was == Some(false) && value == Value::Flag(true);
        let presumptuous = row.has(OFFICER_SETS)
            && asker != Asker::Officer
            && value == Value::Flag(true)
            && was != Some(true);
        if frozen || presumptuous {
            return Err(Error::AttributeReadOnly);
        }
        after.set(entry.kind, value);
    }
    rules::judge_change(before, &after)?;
    Ok((after, material))
}

/// The shape of an object that exists.
///
/// # Errors
/// [`Error::DeviceError`] when it has none: a damaged store.
pub fn shape_of_object(attributes: &Attributes) -> Result<Shape> {
    let class = attributes
        .number(AttributeType::CLASS)
        .map(ObjectClass)
        .ok_or(Error::DeviceError)?;
    let key_type = attributes.number(AttributeType::KEY_TYPE).map(KeyType);
    let certificate = attributes
        .number(AttributeType::CERTIFICATE_TYPE)
        .map(CertificateType);
    Shape::of(class, key_type, certificate).ok_or(Error::DeviceError)
}

#[cfg(test)]
mod tests;
