//! Keys of domain parameters: DSA (PKCS#11 3.2, 6.2) and Diffie-Hellman (6.4).
//!
//! What lives here: the generation of parameters and of pairs, and which attributes the numbers are.
//! What must never live here: primitives; what keys of all kinds have in common.
//! Who calls it: the keys chapter; the wrapping chapter for the attributes.

use strongroom_crypto as crypto;
use strongroom_crypto::dh::{DhParameters, DhPrivateKey};
use strongroom_crypto::dsa::{DsaParameters, DsaPrivateKey};
use strongroom_wire::ck::AttributeType;

use crate::attribute::Value;
use crate::attribute::draft::Draft;
use crate::error::{Error, Result};
use crate::object::{OpenKey, open_key};

/// Writes p, q and g.
pub fn state_dsa_parameters(draft: &mut Draft, parameters: &DsaParameters) {
    state(draft, AttributeType::PRIME, parameters.prime());
    state(draft, AttributeType::SUBPRIME, parameters.subprime());
    state(draft, AttributeType::BASE, parameters.base());
}

/// Writes p and g.
pub fn state_dh_parameters(draft: &mut Draft, parameters: &DhParameters) {
    state(draft, AttributeType::PRIME, parameters.prime());
    state(draft, AttributeType::BASE, parameters.base());
}

fn state(draft: &mut Draft, kind: AttributeType, number: &[u8]) {
    draft.set(kind, Value::Bytes(number.into()));
}

/// `CKM_DSA_PARAMETER_GEN`.
///
/// # Errors
/// [`Error::AttributeValueInvalid`] for a size that there is not; [`Error::TemplateIncomplete`].
pub fn generate_dsa_parameters(draft: &mut Draft) -> Result<()> {
    let parameters = DsaParameters::generate(prime_bits(draft)?).map_err(of_size)?;
    state_dsa_parameters(draft, &parameters);
    Ok(())
}

/// `CKM_DH_PKCS_PARAMETER_GEN`.
///
/// # Errors
/// As [`generate_dsa_parameters`].
pub fn generate_dh_parameters(draft: &mut Draft) -> Result<()> {
    let parameters = DhParameters::generate(prime_bits(draft)?).map_err(of_size)?;
    state_dh_parameters(draft, &parameters);
    Ok(())
}

fn prime_bits(draft: &Draft) -> Result<usize> {
    let bits = draft.attributes().number(AttributeType::PRIME_BITS);
    usize::try_from(bits.ok_or(Error::TemplateIncomplete)?)
        .map_err(|_| Error::AttributeValueInvalid)
}

/// A size that is refused came from the template, so it is an attribute that is wrong.
fn of_size(error: crypto::Error) -> Error {
    match error {
        crypto::Error::KeySize => Error::AttributeValueInvalid,
        other => Error::from(other),
    }
}

/// PKCS#11 3.2, 5.18.2: parameters that are none have a return value of their own.
fn of_parameters(error: Error) -> Error {
    match error {
        Error::KeySizeRange | Error::MechanismParamInvalid => Error::DomainParamsInvalid,
        other => other,
    }
}

/// `CKM_DSA_KEY_PAIR_GEN`.
///
/// # Errors
/// [`Error::DomainParamsInvalid`], [`Error::TemplateIncomplete`].
pub fn generate_dsa(public: &mut Draft, private: &mut Draft) -> Result<OpenKey> {
    let parameters = open_key::dsa_parameters(public.attributes()).map_err(of_parameters)?;
    let key = DsaPrivateKey::generate(&parameters)
        .map_err(Error::from)
        .map_err(of_parameters)?;
    state(public, AttributeType::VALUE, &key.public_value()?);
    state_dsa_parameters(private, &parameters);
    private.give_secret(AttributeType::VALUE, key.value()?);
    Ok(OpenKey::DsaPrivate(key))
}

/// `CKM_DH_PKCS_KEY_PAIR_GEN`; `CKA_VALUE_BITS` of the private template says how long the private value is.
///
/// # Errors
/// [`Error::DomainParamsInvalid`], [`Error::AttributeValueInvalid`], [`Error::TemplateIncomplete`].
pub fn generate_dh(public: &mut Draft, private: &mut Draft) -> Result<OpenKey> {
    let parameters = open_key::dh_parameters(public.attributes()).map_err(of_parameters)?;
    let bits = private.attributes().number(AttributeType::VALUE_BITS);
    let bits = bits.map(usize::try_from).transpose();
    let bits = bits.map_err(|_| Error::AttributeValueInvalid)?;
    let key = DhPrivateKey::generate(&parameters, bits).map_err(|error| match error {
        crypto::Error::ParameterInvalid => Error::AttributeValueInvalid,
        other => Error::from(other),
    })?;
    state(public, AttributeType::VALUE, key.public_value());
    state_dh_parameters(private, &parameters);
    private.give_secret(AttributeType::VALUE, key.value()?);
    Ok(OpenKey::DhPrivate(key))
}
