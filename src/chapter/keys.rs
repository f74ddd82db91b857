//! Making keys: generate and derive (PKCS#11 3.2, 5.18), and [`complete`], which judges and completes every key.
//!
//! What lives here: what a key says of itself once its values are known.
//! What must never live here: wrapping ([`super::wrapping`]), primitives.
//! Who calls it: the service; the objects and wrapping chapters for [`complete`].

use std::sync::Arc;

use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::edwards::{Curve25519, Ed25519PrivateKey, X25519PrivateKey};
use strongroom_crypto::kdf;
use strongroom_crypto::random;
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_keymem::SecretBytes;
use strongroom_wire::ck::{AttributeType, KeyType, ObjectClass};
use strongroom_wire::request::{self, Mechanism, ObjectHandle};

use super::objects::{Made, keep, keep_one, may_keep};
use super::{Desk, Reply};
use crate::attribute::Value;
use crate::attribute::draft::{Draft, Implied, Origin, number_in};
use crate::attribute::table::Shape;
use crate::attribute::template::{Derive as DeriveTemplate, Generate, Template};
use crate::error::{Error, Result};
use crate::mechanism::params::{self, Ecdh};
use crate::mechanism::{DeriveScheme, GenerateScheme, Row, Use, row};
use crate::object::open_key::SecretKey;
use crate::object::{OpenKey, open_key};
use crate::policy::{Derive, Grant, authorize};

/// Judges the values of a draft and completes what follows from them. A key comes back open.
///
/// # Errors
/// [`Error::AttributeValueInvalid`], [`Error::CurveNotSupported`], [`Error::TemplateIncomplete`]: the values make no such object.
pub fn complete(draft: &mut Draft) -> Result<Option<Arc<OpenKey>>> {
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
        Shape::Secret => {
            draft.complete_value()?;
            let value = draft
                .secret(AttributeType::VALUE)
                .ok_or(Error::TemplateIncomplete)?;
            let key = SecretKey::new(value.duplicate()?);
            Ok(Some(Arc::new(OpenKey::Secret(key))))
        }
        Shape::RsaPublic
        | Shape::CurvePublic
        | Shape::RsaPrivate
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

fn row_for(mechanism: &Mechanism<'_>, function: Use) -> Result<&'static Row> {
    row(mechanism.kind)
        .filter(|row| row.serves(function))
        .ok_or(Error::MechanismInvalid)
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
    let row = row_for(mechanism, Use::Generate)?;
    params::none(&mechanism.parameter)?;
    let key_type = *row.key_types.first().ok_or(Error::MechanismInvalid)?;
    let template = Template::<Generate>::parse(sent)?;
    let implied = Implied {
        class: Some(ObjectClass::SECRET_KEY),
        key_type: Some(key_type),
        imposed: &[],
    };
    let mut draft = Draft::parse(&template, implied, desk.asker())?;
    may_keep(desk, &|kind| draft.is(kind))?;
    let length = draft
        .attributes()
        .number(AttributeType::VALUE_LEN)
        .ok_or(Error::TemplateIncomplete)?;
    if !(row.sizes.0..=row.sizes.1).contains(&length) {
        return Err(Error::AttributeValueInvalid);
    }
    let length = usize::try_from(length).map_err(|_| Error::AttributeValueInvalid)?;
    let value = SecretBytes::filled_by(length, |bytes| random::fill(bytes).map_err(Error::from))?;
    draft.give_secret(AttributeType::VALUE, value);
    let open = complete(&mut draft)?;
    draft.state_origin(Origin::Generated(mechanism.kind));
    draft.state_unique_id()?;
    keep_one(desk, draft, open)
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
    let row = row_for(mechanism, Use::GenerateKeyPair)?;
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
    let key = generate_pair(scheme, &mut public, &mut private)?;
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
    scheme: GenerateScheme,
    public: &mut Draft,
    private: &mut Draft,
) -> Result<OpenKey> {
    match scheme {
        GenerateScheme::RsaPair => generate_rsa(public),
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
        GenerateScheme::Aes | GenerateScheme::Secret => Err(Error::MechanismInvalid),
    }
}

fn generate_rsa(public: &mut Draft) -> Result<OpenKey> {
    let bits = public
        .attributes()
        .number(AttributeType::MODULUS_BITS)
        .ok_or(Error::TemplateIncomplete)?;
    let bits = usize::try_from(bits).map_err(|_| Error::AttributeValueInvalid)?;
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
    let row = row_for(mechanism, Use::Derive)?;
    let grant = authorize::<Derive>(desk.session, desk.key(base_key)?, row, desk.today)?;
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
    };
    draft.give_secret(AttributeType::VALUE, value);
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
    let length = draft
        .attributes()
        .number(AttributeType::VALUE_LEN)
        .map(usize::try_from)
        .transpose();
    let length = length.map_err(|_| Error::AttributeValueInvalid)?;
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

/// PKCS#11 3.2, 6.3.18: a shared secret that is too long loses bytes at its leading end.
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

#[cfg(test)]
mod tests;
