//! Making keys: generate (PKCS#11 3.2, 5.18), [`mod@derive`], and [`complete`], which judges and completes every key.
//!
//! What lives here: what a key says of itself once its values are known.
//! What must never live here: wrapping ([`super::wrapping`]), primitives.
//! Who calls it: the service; the objects and wrapping chapters for [`complete`].

pub mod derive;
pub mod domain;

use std::sync::Arc;

use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::edwards::{Curve25519, Ed25519PrivateKey, X25519PrivateKey};
use strongroom_crypto::random;
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_keymem::SecretBytes;
use strongroom_wire::ck::{AttributeType, KeyType, ObjectClass};
use strongroom_wire::request::{self, Mechanism};

use super::objects::{Made, keep, keep_one, may_keep};
use super::{Desk, Reply};
use crate::attribute::Value;
use crate::attribute::draft::{Draft, Implied, Origin};
use crate::attribute::table::Shape;
use crate::attribute::template::{Generate, Template};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::mechanism::{GenerateScheme, Row, Use, params};
use crate::object::open_key::SecretKey;
use crate::object::{OpenKey, open_key};
use crate::release::rules;

/// Judges the values of a draft and completes what follows from them. A key comes back open.
///
/// # Errors
/// [`Error::AttributeValueInvalid`], [`Error::CurveNotSupported`], [`Error::TemplateIncomplete`]: the values make no such object.
pub fn complete(draft: &mut Draft) -> Result<Option<Arc<OpenKey>>> {
    rules::judge(draft)?;
    match draft.shape() {
        Shape::Data => {
            // A data object always has a value, so that whether there is material follows from the class.
            if !draft.has_secret(AttributeType::VALUE) {
                draft.set_secret(AttributeType::VALUE, &[])?;
            }
            Ok(None)
        }
        Shape::DsaParameters | Shape::DhParameters => {
            let bits = draft
                .attributes()
                .bytes(AttributeType::PRIME)
                .map_or(0, bits_of);
            draft.set_computed_number(AttributeType::PRIME_BITS, bits)?;
            Ok(None)
        }
        Shape::X509Certificate | Shape::AttributeCertificate | Shape::WtlsCertificate => {
            draft.complete_value()?;
            Ok(None)
        }
        Shape::Secret | Shape::DesSecret => {
            draft.complete_value()?;
            let value = draft
                .secret(AttributeType::VALUE)
                .ok_or(Error::TemplateIncomplete)?;
            let key = SecretKey::new(value.duplicate()?);
            Ok(Some(Arc::new(OpenKey::Secret(key))))
        }
        Shape::RsaPublic
        | Shape::DsaPublic
        | Shape::DhPublic
        | Shape::CurvePublic
        | Shape::RsaPrivate
        | Shape::DsaPrivate
        | Shape::DhPrivate
        | Shape::EcPrivate
        | Shape::EdwardsPrivate
        | Shape::MontgomeryPrivate => {
            let key = open_draft(draft)?;
            complete_asymmetric(draft, &key)?;
            Ok(Some(key))
        }
    }
}

fn bits_of(number: &[u8]) -> u64 {
    let leading = number
        .first()
        .map_or(0, |byte| u64::from(byte.leading_zeros()));
    number.len() as u64 * 8 - leading
}

/// Opens the key that a draft would be.
fn open_draft(draft: &Draft) -> Result<Arc<OpenKey>> {
    curve_fits(draft)?;
    let material = draft.material()?;
    OpenKey::open(draft.attributes(), material.as_ref()).map_err(|error| match error {
        // PKCS#11 3.2, 5.7.1 has no other code for values that make no key.
        Error::KeySizeRange
        | Error::MechanismParamInvalid
        | Error::MechanismInvalid
        | Error::DataInvalid => Error::AttributeValueInvalid,
        other => other,
    })
}

/// Edwards and Montgomery keys have one curve each here.
fn curve_fits(draft: &Draft) -> Result<()> {
    let wanted = match draft.key_type()? {
        KeyType::EC_EDWARDS => Curve25519::Ed25519,
        KeyType::EC_MONTGOMERY => Curve25519::X25519,
        _ => return Ok(()),
    };
    let parameters = draft
        .attributes()
        .bytes(AttributeType::EC_PARAMS)
        .ok_or(Error::TemplateIncomplete)?;
    match Curve25519::from_parameters_der(parameters) {
        Ok(curve) if curve == wanted => Ok(()),
        Ok(_) | Err(_) => Err(Error::CurveNotSupported),
    }
}

/// Writes what follows from an asymmetric key: its public key info, its numbers in their one form.
fn complete_asymmetric(draft: &mut Draft, key: &OpenKey) -> Result<()> {
    let info = match key {
        OpenKey::RsaPublic(key) => {
            draft.set_computed_number(AttributeType::MODULUS_BITS, key.bits() as u64)?;
            key.to_spki_der()?
        }
        OpenKey::RsaPrivate(key) => {
            set_rsa_components(draft, key)?;
            key.public()?.to_spki_der()?
        }
        OpenKey::DsaPublic(key) => key.to_spki_der()?,
        OpenKey::DsaPrivate(key) => key.to_spki_der()?,
        OpenKey::DhPublic(parameters, value) => parameters.spki_der(value),
        OpenKey::DhPrivate(key) => {
            let bits = key.value_bits() as u64;
            draft.set_computed_number(AttributeType::VALUE_BITS, bits)?;
            key.to_spki_der()
        }
        OpenKey::EcPublic(key) => {
            draft.set(
                AttributeType::EC_POINT,
                Value::Bytes(octet_string(key.point())),
            );
            key.to_spki_der()
        }
        OpenKey::EcPrivate(key) => {
            draft.give_secret(AttributeType::VALUE, key.scalar()?);
            key.to_spki_der()
        }
        OpenKey::Ed25519Public(key) => {
            draft.set(
                AttributeType::EC_POINT,
                Value::Bytes(octet_string(key.bytes())),
            );
            key.to_spki_der()
        }
        OpenKey::Ed25519Private(key) => key.public().to_spki_der(),
        OpenKey::X25519Public(bytes) => {
            draft.set(AttributeType::EC_POINT, Value::Bytes(octet_string(bytes)));
            strongroom_crypto::edwards::x25519_spki_der(bytes)
        }
        OpenKey::X25519Private(key) => key.to_spki_der(),
        OpenKey::Secret(_) => return Err(Error::GeneralError),
    };
    draft.set_computed(AttributeType::PUBLIC_KEY_INFO, &info)
}

/// All components, also those that the application did not give.
fn set_rsa_components(draft: &mut Draft, key: &RsaPrivateKey) -> Result<()> {
    let components = key.to_components()?;
    draft.set(
        AttributeType::MODULUS,
        Value::Bytes(components.modulus.into()),
    );
    draft.set(
        AttributeType::PUBLIC_EXPONENT,
        Value::Bytes(components.public_exponent.into()),
    );
    for (kind, secret) in [
        (AttributeType::PRIVATE_EXPONENT, components.private_exponent),
        (AttributeType::PRIME_1, components.prime_1),
        (AttributeType::PRIME_2, components.prime_2),
        (AttributeType::EXPONENT_1, components.exponent_1),
        (AttributeType::EXPONENT_2, components.exponent_2),
        (AttributeType::COEFFICIENT, components.coefficient),
    ] {
        draft.give_secret(kind, secret);
    }
    Ok(())
}

/// The DER OCTET STRING around a point (PKCS#11 3.2, 6.3.3, `CKA_EC_POINT`). Points here are shorter than 256 bytes.
fn octet_string(point: &[u8]) -> Box<[u8]> {
    let length = u8::try_from(point.len()).unwrap_or(u8::MAX);
    let header: &[u8] = if length < 0x80 {
        &[0x04, length]
    } else {
        &[0x04, 0x81, length]
    };
    [header, point].concat().into()
}

/// C_GenerateKey.
///
/// # Errors
/// As PKCS#11 3.2, 5.18.1 has them.
pub fn generate_key(
    desk: &Desk<'_>,
    mechanism: &Mechanism<'_>,
    sent: &request::Template<'_>,
) -> Result<Reply> {
    let row = desk.mechanism(mechanism.kind, Use::Generate)?;
    params::none(&mechanism.parameter)?;
    let scheme = row.generate().ok_or(Error::MechanismInvalid)?;
    let key_type = *row.key_types.first().ok_or(Error::MechanismInvalid)?;
    let template = Template::<Generate>::parse(sent)?;
    let class = match scheme {
        GenerateScheme::DsaParameters | GenerateScheme::DhParameters => {
            ObjectClass::DOMAIN_PARAMETERS
        }
        _ => ObjectClass::SECRET_KEY,
    };
    let implied = Implied {
        class: Some(class),
        key_type: Some(key_type),
        imposed: &[],
    };
    let mut draft = Draft::parse(&template, implied, desk.asker())?;
    may_keep(desk, &|kind| draft.is(kind))?;
    match scheme {
        GenerateScheme::DsaParameters => domain::generate_dsa_parameters(&mut draft)?,
        GenerateScheme::DhParameters => domain::generate_dh_parameters(&mut draft)?,
        _ => generate_value(&mut draft, row)?,
    }
    let open = complete(&mut draft)?;
    draft.state_origin(Origin::Generated(mechanism.kind));
    draft.state_unique_id()?;
    keep_one(desk, draft, open)
}

/// The value of a secret key: random bytes.
fn generate_value(draft: &mut Draft, row: &Row) -> Result<()> {
    let length = draft.value_bytes()?.ok_or(Error::TemplateIncomplete)?;
    if !(row.sizes.0..=row.sizes.1).contains(&(length as u64)) {
        return Err(Error::AttributeValueInvalid);
    }
    let value = SecretBytes::filled_by(length, |bytes| random::fill(bytes).map_err(Error::from))?;
    draft.give_made_value(value);
    Ok(())
}

/// C_GenerateKeyPair.
///
/// # Errors
/// As PKCS#11 3.2, 5.18.2 has them.
pub fn generate_key_pair(
    desk: &Desk<'_>,
    mechanism: &Mechanism<'_>,
    public: &request::Template<'_>,
    private: &request::Template<'_>,
) -> Result<Reply> {
    let row = desk.mechanism(mechanism.kind, Use::GenerateKeyPair)?;
    params::none(&mechanism.parameter)?;
    let key_type = *row.key_types.first().ok_or(Error::MechanismInvalid)?;
    let public = Template::<Generate>::parse(public)?;
    let private = Template::<Generate>::parse(private)?;
    let implied = |class| Implied {
        class: Some(class),
        key_type: Some(key_type),
        imposed: &[],
    };
    let mut public = Draft::parse(&public, implied(ObjectClass::PUBLIC_KEY), desk.asker())?;
    let mut private = Draft::parse(&private, implied(ObjectClass::PRIVATE_KEY), desk.asker())?;
    may_keep(desk, &|kind| public.is(kind))?;
    may_keep(desk, &|kind| private.is(kind))?;
    let scheme = row.generate().ok_or(Error::MechanismInvalid)?;
    let key = generate_pair(desk.limits, scheme, &mut public, &mut private)?;
    complete_asymmetric(&mut private, &key)?;
    let public_key = complete(&mut public)?;
    for draft in [&mut public, &mut private] {
        draft.state_origin(Origin::Generated(mechanism.kind));
        draft.state_unique_id()?;
    }
    let made = vec![
        Made {
            draft: public,
            open: public_key,
        },
        Made {
            draft: private,
            open: Some(Arc::new(key)),
        },
    ];
    match keep(desk, made)?.as_slice() {
        [public, private] => Ok(Reply::KeyPair {
            public: *public,
            private: *private,
        }),
        _ => Err(Error::GeneralError),
    }
}

/// Makes the pair: the public draft gets its values, the private one what `complete_asymmetric` does not give it.
fn generate_pair(
    limits: &Limits,
    scheme: GenerateScheme,
    public: &mut Draft,
    private: &mut Draft,
) -> Result<OpenKey> {
    match scheme {
        GenerateScheme::RsaPair => generate_rsa(limits, public),
        GenerateScheme::EcPair => generate_ec(public, private),
        GenerateScheme::EdwardsPair => {
            curve_fits(public)?;
            let key = Ed25519PrivateKey::generate()?;
            share_parameters(public, private, key.public().bytes())?;
            private.give_secret(AttributeType::VALUE, key.seed()?);
            Ok(OpenKey::Ed25519Private(key))
        }
        GenerateScheme::MontgomeryPair => {
            curve_fits(public)?;
            let key = X25519PrivateKey::generate()?;
            share_parameters(public, private, key.public_bytes())?;
            private.give_secret(AttributeType::VALUE, key.bytes()?);
            Ok(OpenKey::X25519Private(key))
        }
        GenerateScheme::DsaPair => domain::generate_dsa(public, private),
        GenerateScheme::DhPair => domain::generate_dh(public, private),
        GenerateScheme::Aes
        | GenerateScheme::Des
        | GenerateScheme::Secret
        | GenerateScheme::DsaParameters
        | GenerateScheme::DhParameters => Err(Error::MechanismInvalid),
    }
}

fn generate_rsa(limits: &Limits, public: &mut Draft) -> Result<OpenKey> {
    let bits = public
        .attributes()
        .number(AttributeType::MODULUS_BITS)
        .ok_or(Error::TemplateIncomplete)?;
    let bits = usize::try_from(bits).map_err(|_| Error::AttributeValueInvalid)?;
    if bits < limits.rsa_bits_min {
        return Err(Error::AttributeValueInvalid);
    }
    let exponent = public
        .attributes()
        .bytes(AttributeType::PUBLIC_EXPONENT)
        .unwrap_or(&[1, 0, 1]);
    // A size or exponent that is refused came from the template, so it is an attribute that is wrong.
    let key = RsaPrivateKey::generate(bits, exponent).map_err(|error| match error {
        strongroom_crypto::Error::KeySize | strongroom_crypto::Error::ParameterInvalid => {
            Error::AttributeValueInvalid
        }
        other => Error::from(other),
    })?;
    let components = key.public()?;
    public.set(
        AttributeType::MODULUS,
        Value::Bytes(components.modulus().into()),
    );
    public.set(
        AttributeType::PUBLIC_EXPONENT,
        Value::Bytes(components.public_exponent()?.into()),
    );
    Ok(OpenKey::RsaPrivate(key))
}

fn generate_ec(public: &mut Draft, private: &mut Draft) -> Result<OpenKey> {
    let curve: Curve = open_key::curve(public.attributes())?;
    let key = EcPrivateKey::generate(curve)?;
    share_parameters(public, private, key.point())?;
    Ok(OpenKey::EcPrivate(key))
}

/// The private key has the curve of the public one; the public one gets its point.
fn share_parameters(public: &mut Draft, private: &mut Draft, point: &[u8]) -> Result<()> {
    let parameters = public
        .attributes()
        .bytes(AttributeType::EC_PARAMS)
        .ok_or(Error::TemplateIncomplete)?;
    private.set(AttributeType::EC_PARAMS, Value::Bytes(parameters.into()));
    public.set(AttributeType::EC_POINT, Value::Bytes(octet_string(point)));
    Ok(())
}

#[cfg(test)]
mod tests;
