//! Deriving keys (PKCS#11 3.2, 5.18.5).
//!
//! What lives here: what becomes the value of a derived key, and what that key says of itself.
//! What must never live here: primitives.
//! Who calls it: the service.

use strongroom_crypto::kdf;
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::ck::{AttributeType, KeyType, ObjectClass};
use strongroom_wire::request::{self, Mechanism, ObjectHandle, Parameter};

use super::complete;
use crate::attribute::draft::{Draft, Implied, Origin, number_in};
use crate::attribute::template::{Derive as DeriveTemplate, Template};
use crate::chapter::cipher::encrypt_whole;
use crate::chapter::objects::{keep_one, may_keep};
use crate::chapter::{Desk, Reply};
use crate::error::{Error, Result};
use crate::mechanism::params::{Ecdh, EncryptData};
use crate::mechanism::{CipherScheme, DeriveScheme, Use};
use crate::object::{OpenKey, open_key};
use crate::policy::{Derive, Grant, authorize};

/// C_DeriveKey.
///
/// # Errors
/// As PKCS#11 3.2, 5.18.5 has them.
pub fn derive_key(
    desk: &Desk<'_>,
    mechanism: &Mechanism<'_>,
    base_key: ObjectHandle,
    sent: &request::Template<'_>,
) -> Result<Reply> {
    let row = desk.mechanism(mechanism.kind, Use::Derive)?;
    let grant = authorize::<Derive>(desk.session, desk.key(base_key)?, row, desk.rules())?;
    let base = grant.object().clone();
    let template = Template::<DeriveTemplate>::parse(sent)?;
    let imposed = base
        .attributes
        .template(AttributeType::DERIVE_TEMPLATE)
        .unwrap_or_default();
    let stated = template
        .number(AttributeType::KEY_TYPE)?
        .or_else(|| number_in(imposed, AttributeType::KEY_TYPE));
    let implied = Implied {
        class: Some(ObjectClass::SECRET_KEY),
        key_type: Some(stated.map_or(KeyType::GENERIC_SECRET, KeyType)),
        imposed,
    };
    let mut draft = Draft::parse(&template, implied, desk.asker())?;
    may_keep(desk, &|kind| draft.is(kind))?;
    let value = match row.derive().ok_or(Error::MechanismInvalid)? {
        DeriveScheme::Ecdh => derive_ecdh(&grant, mechanism, &draft)?,
        DeriveScheme::Dh => derive_dh(&grant, mechanism, &draft)?,
        DeriveScheme::EncryptData(scheme) => encrypt_data(&grant, scheme, mechanism, &draft)?,
    };
    draft.give_made_value(value);
    let open = complete(&mut draft).map_err(|error| match error {
        // The shared secret has no length that fits the key type, and the template does not say one that does.
        Error::AttributeValueInvalid => Error::TemplateInconsistent,
        other => other,
    })?;
    draft.state_origin(Origin::Derived {
        always_sensitive: base.is(AttributeType::ALWAYS_SENSITIVE),
        never_extractable: base.is(AttributeType::NEVER_EXTRACTABLE),
    });
    draft.state_unique_id()?;
    keep_one(desk, draft, open)
}

/// ECDH with an optional X9.63 derivation (PKCS#11 3.2, 6.3.18).
fn derive_ecdh(
    grant: &Grant<Derive>,
    mechanism: &Mechanism<'_>,
    draft: &Draft,
) -> Result<SecretBytes> {
    let parameter = Ecdh::parse(&mechanism.parameter)?;
    let shared = match grant.key() {
        OpenKey::EcPrivate(key) => {
            let point = open_key::point_of(key.curve(), parameter.point)
                .map_err(|_| Error::MechanismParamInvalid)?;
            key.agree(point)
        }
        OpenKey::X25519Private(key) => {
            let point =
                open_key::bare_point(parameter.point, &[32]).ok_or(Error::MechanismParamInvalid)?;
            key.agree(point)
        }
        _ => return Err(Error::KeyTypeInconsistent),
    };
    // Whatever is wrong with the point is wrong with the parameter.
    let shared = shared.map_err(|error| match error {
        strongroom_crypto::Error::Memory => Error::DeviceMemory,
        _ => Error::MechanismParamInvalid,
    })?;
    let length = draft.value_bytes()?;
    match parameter.hash {
        None => cut_leading(shared, length),
        Some(hash) => {
            let length = length.unwrap_or_else(|| shared.len());
            if !(1..=crate::limits::SECRET_KEY_BYTES_MAX).contains(&length) {
                return Err(Error::AttributeValueInvalid);
            }
            Ok(shared.with(|secret| kdf::x963(hash, secret, parameter.shared, length))?)
        }
    }
}

/// Diffie-Hellman (PKCS#11 3.2, 6.4.8): the secret is as long as the prime (PKCS #3, 8.3).
fn derive_dh(
    grant: &Grant<Derive>,
    mechanism: &Mechanism<'_>,
    draft: &Draft,
) -> Result<SecretBytes> {
    let Parameter::Bytes(public) = mechanism.parameter else {
        return Err(Error::MechanismParamInvalid);
    };
    let OpenKey::DhPrivate(key) = grant.key() else {
        return Err(Error::KeyTypeInconsistent);
    };
    let shared = key.agree(public).map_err(|error| match error {
        strongroom_crypto::Error::Memory => Error::DeviceMemory,
        _ => Error::MechanismParamInvalid,
    })?;
    cut_leading(shared, draft.value_bytes()?)
}

/// The result of an encryption (PKCS#11 3.2, 6.27): what is too long loses bytes at its trailing end.
fn encrypt_data(
    grant: &Grant<Derive>,
    scheme: CipherScheme,
    mechanism: &Mechanism<'_>,
    draft: &Draft,
) -> Result<SecretBytes> {
    let EncryptData { method, data } = EncryptData::parse(scheme, &mechanism.parameter)?;
    let length = draft.value_bytes()?.unwrap_or(data.len());
    if length > data.len() {
        return Err(Error::DataLenRange);
    }
    let mut encrypted = SecretVec::new();
    encrypt_whole(&method, grant.key(), data, &mut encrypted)?;
    let value = encrypted.expose().get(..length);
    Ok(SecretBytes::copy_from(value.ok_or(Error::GeneralError)?)?)
}

/// PKCS#11 3.2, 6.3.18 and 6.4.8: a shared secret that is too long loses bytes at its leading end.
fn cut_leading(shared: SecretBytes, length: Option<usize>) -> Result<SecretBytes> {
    match length {
        None => Ok(shared),
        Some(length) if length == shared.len() => Ok(shared),
        Some(length) => shared.with(|bytes| {
            let start = bytes
                .len()
                .checked_sub(length)
                .ok_or(Error::AttributeValueInvalid)?;
            Ok(SecretBytes::copy_from(
                bytes.get(start..).unwrap_or_default(),
            )?)
        }),
    }
}
