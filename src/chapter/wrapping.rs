//! Wrapping: keys that leave under a key, and keys that come so (PKCS#11 3.2, 5.18.3 and 5.18.4, and with associated data 5.18.6 and 5.18.7).
//!
//! What lives here: which key may leave under which, and the bytes that stand for a key outside.
//! What must never live here: a second way out; secret values leave by reveal or by this.
//! Who calls it: the service.

use strongroom_crypto as crypto;
use strongroom_crypto::pkcs8::PrivateKey;
use strongroom_crypto::random;
use strongroom_crypto::wrap::WrapKey;
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::ck::{AttributeType, KeyType, ObjectClass};
use strongroom_wire::request::{self, Mechanism, ObjectHandle, Output};

use super::cipher::{decrypt_whole, encrypt_whole};
use super::keys::complete;
use super::keys::domain::{state_dh_parameters, state_dsa_parameters};
use super::objects::{keep_one, may_keep};
use super::{Desk, Reply, release};
use crate::attribute::Value;
use crate::attribute::draft::{Draft, Implied, Origin, number_in};
use crate::attribute::template::{Template, Unwrap as UnwrapTemplate};
use crate::error::{Error, Result};
use crate::mechanism::params::wrap::{GcmWrap, RsaAes};
use crate::mechanism::params::{self, CipherMethod, Gcm};
use crate::mechanism::{CipherScheme, Row, Use, WrapScheme};
use crate::object::{Object, OpenKey};
use crate::policy::{Grant, Unwrap, Usage, Wrap, authorize};

/// C_WrapKey; with associated data, be they empty, C_WrapKeyAuthenticated.
///
/// # Errors
/// As PKCS#11 3.2, 5.18.3 and 5.18.6 have them.
pub fn wrap_key(
    desk: &Desk<'_>,
    mechanism: &Mechanism<'_>,
    wrapping_key: ObjectHandle,
    key: ObjectHandle,
    associated: Option<&[u8]>,
    output: Output,
) -> Result<Reply> {
    let row = desk.mechanism(mechanism.kind, Use::Wrap)?;
    let scheme = scheme_of(row, associated)?;
    let wrapping = desk
        .object(wrapping_key)
        .ok_or(Error::WrappingKeyHandleInvalid)?;
    let target = desk.key(key)?;
    let grant = authorize::<Wrap>(desk.session, wrapping, row, desk.rules())?;
    may_leave(&target, grant.object())?;
    let released = release::way_out(desk, grant.object(), &target)?;
    let plain = outside_form(desk, &target, scheme)?;
    let mut data = SecretVec::new();
    let wrapped = wrap(&grant, mechanism, scheme, associated, &plain, &mut data);
    let iv = wrapped.map_err(|error| match error {
        Error::DataLenRange => Error::KeySizeRange,
        other => other,
    })?;
    let length = data.len() as u64;
    match output {
        Output::Size => return Ok(Reply::Output { length, data: None }),
        Output::Capacity(capacity) if capacity < length => return Ok(Reply::TooSmall { length }),
        Output::Capacity(_) => {}
    }
    if let Some(released) = &released {
        release::leaves(desk, released)?;
    }
    Ok(match iv {
        Some(iv) => Reply::Wrapped { iv, length, data },
        None => Reply::Output {
            length,
            data: Some(data),
        },
    })
}

/// How a mechanism wraps, if it does so with associated data where there are any.
fn scheme_of(row: &Row, associated: Option<&[u8]>) -> Result<WrapScheme> {
    row.wrap()
        .filter(|scheme| associated.is_none() || scheme.authenticates())
        .ok_or(Error::MechanismInvalid)
}

/// Whether a key may leave under another one.
fn may_leave(target: &Object, wrapping: &Object) -> Result<()> {
    if !matches!(
        target.class(),
        ObjectClass::PRIVATE_KEY | ObjectClass::SECRET_KEY
    ) {
        return Err(Error::KeyNotWrappable);
    }
    if !target.is(AttributeType::EXTRACTABLE) {
        return Err(Error::KeyUnextractable);
    }
    // PKCS#11 3.2, 4.9: a key that wants a trusted one leaves under no other.
    if target.is(AttributeType::WRAP_WITH_TRUSTED) && !wrapping.is(AttributeType::TRUSTED) {
        return Err(Error::KeyNotWrappable);
    }
    // PKCS#11 3.2, 4.8 and 5.18.3: CKA_WRAP_TEMPLATE says what the key to be wrapped must be, and which error a mismatch is.
    let template = wrapping
        .attributes
        .template(AttributeType::WRAP_TEMPLATE)
        .unwrap_or_default();
    if template
        .iter()
        .any(|(kind, value)| target.attributes.value(*kind) != Some(value))
    {
        return Err(Error::KeyHandleInvalid);
    }
    Ok(())
}

/// The bytes that stand for a key outside: the value of a secret key, PKCS#8 of a private one.
pub(super) fn outside_form(
    desk: &Desk<'_>,
    target: &std::sync::Arc<Object>,
    scheme: WrapScheme,
) -> Result<SecretBytes> {
    let key = desk.session.token().open_key(target)?;
    let form = match &*key {
        OpenKey::Secret(key) => key.value().with(|value| padded(value, scheme))?,
        OpenKey::RsaPrivate(key) => key.to_pkcs8()?,
        OpenKey::DsaPrivate(key) => key.to_pkcs8()?,
        OpenKey::DhPrivate(key) => key.to_pkcs8()?,
        OpenKey::EcPrivate(key) => key.to_pkcs8()?,
        OpenKey::Ed25519Private(key) => key.to_pkcs8()?,
        OpenKey::X25519Private(key) => key.to_pkcs8()?,
        OpenKey::RsaPublic(_)
        | OpenKey::DsaPublic(_)
        | OpenKey::DhPublic(..)
        | OpenKey::EcPublic(_)
        | OpenKey::Ed25519Public(_)
        | OpenKey::X25519Public(_) => {
            return Err(Error::KeyNotWrappable);
        }
    };
    Ok(form)
}

/// What lengths of secret keys a mechanism without padding wraps are multiples of: zero bytes behind the key make it one.
fn unit(scheme: WrapScheme) -> Option<usize> {
    match scheme {
        // PKCS#11 3.2, 6.10.2.
        WrapScheme::Cipher(CipherScheme::Ecb(cipher) | CipherScheme::Cbc(cipher)) => {
            Some(cipher.block_bytes())
        }
        // PKCS#11 3.2, 6.16.3: half a block.
        WrapScheme::AesKw => Some(8),
        WrapScheme::Cipher(_) | WrapScheme::AesKwp | WrapScheme::RsaAes => None,
    }
}

/// A secret key as it is wrapped.
fn padded(value: &[u8], scheme: WrapScheme) -> Result<SecretBytes> {
    let length = unit(scheme).map_or(value.len(), |unit| value.len().next_multiple_of(unit));
    let mut form = SecretBytes::zeroed(length)?;
    form.with_mut(|room| {
        if let Some(start) = room.get_mut(..value.len()) {
            start.copy_from_slice(value);
        }
    });
    Ok(form)
}

/// Wraps, and tells the initialisation vector where it was made here.
fn wrap(
    grant: &Grant<Wrap>,
    mechanism: &Mechanism<'_>,
    scheme: WrapScheme,
    associated: Option<&[u8]>,
    plain: &SecretBytes,
    out: &mut SecretVec,
) -> Result<Option<Box<[u8]>>> {
    let key = grant.key();
    match scheme {
        WrapScheme::Cipher(CipherScheme::AesGcm) => {
            let mut parameter = GcmWrap::parse(&mechanism.parameter, associated)?;
            if let Some(fixed_bits) = parameter.fixed_bits {
                make_iv(&mut parameter.gcm.iv, fixed_bits)?;
            }
            let made = parameter.fixed_bits.map(|_| parameter.gcm.iv.clone());
            let method = CipherMethod::AesGcm(parameter.gcm);
            plain.with(|plain| encrypt_whole(&method, key, plain, out))?;
            return Ok(made);
        }
        WrapScheme::Cipher(scheme) => {
            let method = cipher_method(grant, scheme, mechanism)?;
            plain.with(|plain| encrypt_whole(&method, key, plain, out))?;
        }
        WrapScheme::AesKw => {
            let iv = params::optional_iv::<8>(&mechanism.parameter)?;
            let wrap = key.secret()?.wrap()?;
            plain.with(|plain| wrap.kw_wrap(iv.as_ref(), plain, out))?;
        }
        WrapScheme::AesKwp => {
            kwp_parameter(mechanism)?;
            let wrap = key.secret()?.wrap()?;
            plain.with(|plain| wrap.kwp_wrap(plain, out))?;
        }
        WrapScheme::RsaAes => {
            let bits = key_bits(grant)?;
            let parameter = RsaAes::parse(&mechanism.parameter, bits, associated)?;
            let temporary = SecretBytes::filled_by(parameter.aes_bytes, |bytes| {
                random::fill(bytes).map_err(Error::from)
            })?;
            let method = CipherMethod::RsaOaep(parameter.oaep);
            temporary.with(|aes| encrypt_whole(&method, key, aes, out))?;
            let wrap = temporary.with(WrapKey::new)?;
            plain.with(|plain| wrap.kwp_wrap(plain, out))?;
        }
    }
    Ok(None)
}

/// Puts random bits behind the leading ones, which stay.
fn make_iv(iv: &mut [u8], fixed_bits: usize) -> Result<()> {
    let Some([first, rest @ ..]) = iv.get_mut(fixed_bits / 8..) else {
        return Err(Error::MechanismParamInvalid);
    };
    let made = 0xff_u8 >> (fixed_bits % 8);
    let mut random = [0];
    random::fill(&mut random)?;
    *first = (*first & !made) | (random[0] & made);
    Ok(random::fill(rest)?)
}

/// RFC 5649 allows another alternative initial value; none is offered here but the standard's own.
fn kwp_parameter(mechanism: &Mechanism<'_>) -> Result<()> {
    match params::optional_iv::<4>(&mechanism.parameter)? {
        None | Some([0xa6, 0x59, 0x59, 0xa6]) => Ok(()),
        Some(_) => Err(Error::MechanismParamInvalid),
    }
}

fn key_bits<U: Usage>(grant: &Grant<U>) -> Result<usize> {
    usize::try_from(grant.key().size()).map_err(|_| Error::KeySizeRange)
}

fn cipher_method<U: Usage>(
    grant: &Grant<U>,
    scheme: CipherScheme,
    mechanism: &Mechanism<'_>,
) -> Result<CipherMethod> {
    CipherMethod::parse(scheme, &mechanism.parameter, key_bits(grant)?)
}

/// C_UnwrapKey; with associated data, be they empty, C_UnwrapKeyAuthenticated.
///
/// # Errors
/// As PKCS#11 3.2, 5.18.4 and 5.18.7 have them; whatever is wrong inside is [`Error::WrappedKeyInvalid`].
pub fn unwrap_key(
    desk: &Desk<'_>,
    mechanism: &Mechanism<'_>,
    unwrapping_key: ObjectHandle,
    wrapped: &[u8],
    associated: Option<&[u8]>,
    sent: &request::Template<'_>,
) -> Result<Reply> {
    let row = desk.mechanism(mechanism.kind, Use::Unwrap)?;
    let scheme = scheme_of(row, associated)?;
    let unwrapping = desk
        .object(unwrapping_key)
        .ok_or(Error::UnwrappingKeyHandleInvalid)?;
    let grant = authorize::<Unwrap>(desk.session, unwrapping, row, desk.rules())?;
    let template = Template::<UnwrapTemplate>::parse(sent)?;
    let imposed = grant
        .object()
        .attributes
        .template(AttributeType::UNWRAP_TEMPLATE)
        .unwrap_or_default();
    let class = template
        .number(AttributeType::CLASS)?
        .or_else(|| number_in(imposed, AttributeType::CLASS));
    let class = ObjectClass(class.ok_or(Error::TemplateIncomplete)?);
    if !matches!(class, ObjectClass::PRIVATE_KEY | ObjectClass::SECRET_KEY) {
        return Err(Error::TemplateInconsistent);
    }
    let mut plain = SecretVec::new();
    unwrap(&grant, mechanism, scheme, associated, wrapped, &mut plain).map_err(of_wrapped_key)?;
    let (mut draft, private) = draft_of(desk, &template, class, imposed, plain.expose())?;
    // PKCS#11 3.2, 5.18.4: what came from outside may leave again, unless somebody says otherwise.
    let extractable_said = template.entry(AttributeType::EXTRACTABLE).is_some()
        || imposed
            .iter()
            .any(|(kind, _)| *kind == AttributeType::EXTRACTABLE);
    if !extractable_said {
        draft.set(AttributeType::EXTRACTABLE, Value::Flag(true));
    }
    may_keep(desk, &|kind| draft.is(kind))?;
    match private {
        Some(private) => take_private(&mut draft, &private)?,
        None => take_secret(&mut draft, row, plain.expose())?,
    }
    let open = complete(&mut draft).map_err(|error| match error {
        Error::AttributeValueInvalid => Error::WrappedKeyInvalid,
        other => other,
    })?;
    draft.state_origin(Origin::Foreign);
    draft.state_unique_id()?;
    keep_one(desk, draft, open)
}

/// One code for every fault of the wrapped bytes, so that nobody can ask what is inside.
fn of_wrapped_key(error: Error) -> Error {
    match error {
        Error::EncryptedDataInvalid | Error::DataInvalid => Error::WrappedKeyInvalid,
        Error::EncryptedDataLenRange | Error::DataLenRange => Error::WrappedKeyLenRange,
        other => other,
    }
}

fn unwrap(
    grant: &Grant<Unwrap>,
    mechanism: &Mechanism<'_>,
    scheme: WrapScheme,
    associated: Option<&[u8]>,
    wrapped: &[u8],
    out: &mut SecretVec,
) -> Result<()> {
    let key = grant.key();
    match scheme {
        WrapScheme::Cipher(CipherScheme::AesGcm) => {
            let gcm = Gcm::of_wrapping(&mechanism.parameter, associated)?;
            decrypt_whole(&CipherMethod::AesGcm(gcm), key, wrapped, out)
        }
        WrapScheme::Cipher(scheme) => {
            let method = cipher_method(grant, scheme, mechanism)?;
            decrypt_whole(&method, key, wrapped, out)
        }
        WrapScheme::AesKw => {
            let iv = params::optional_iv::<8>(&mechanism.parameter)?;
            Ok(key.secret()?.wrap()?.kw_unwrap(iv.as_ref(), wrapped, out)?)
        }
        WrapScheme::AesKwp => {
            kwp_parameter(mechanism)?;
            Ok(key.secret()?.wrap()?.kwp_unwrap(wrapped, out)?)
        }
        WrapScheme::RsaAes => {
            let bits = key_bits(grant)?;
            let parameter = RsaAes::parse(&mechanism.parameter, bits, associated)?;
            let (encrypted, wrapped) = wrapped
                .split_at_checked(bits.div_ceil(8))
                .ok_or(Error::WrappedKeyLenRange)?;
            let mut temporary = SecretVec::new();
            let method = CipherMethod::RsaOaep(parameter.oaep);
            decrypt_whole(&method, key, encrypted, &mut temporary)?;
            if temporary.len() != parameter.aes_bytes {
                return Err(Error::WrappedKeyInvalid);
            }
            Ok(WrapKey::new(temporary.expose())?.kwp_unwrap(wrapped, out)?)
        }
    }
}

/// The draft of what was unwrapped, its type told by the template or, for a private key, by the key itself.
fn draft_of(
    desk: &Desk<'_>,
    template: &Template<'_, UnwrapTemplate>,
    class: ObjectClass,
    imposed: &[(AttributeType, Value)],
    plain: &[u8],
) -> Result<(Draft, Option<PrivateKey>)> {
    let private = if class == ObjectClass::PRIVATE_KEY {
        Some(PrivateKey::from_pkcs8(plain).map_err(|error| match error {
            crypto::Error::Memory => Error::DeviceMemory,
            _ => Error::WrappedKeyInvalid,
        })?)
    } else {
        None
    };
    let key_type = private.as_ref().map(|key| match key {
        PrivateKey::Rsa(_) => KeyType::RSA,
        PrivateKey::Dsa(_) => KeyType::DSA,
        PrivateKey::Dh(_) => KeyType::DH,
        PrivateKey::Ec(_) => KeyType::EC,
        PrivateKey::Ed25519(_) => KeyType::EC_EDWARDS,
        PrivateKey::X25519(_) => KeyType::EC_MONTGOMERY,
    });
    let implied = Implied {
        class: Some(class),
        key_type,
        imposed,
    };
    Ok((Draft::parse(template, implied, desk.asker())?, private))
}

fn take_private(draft: &mut Draft, key: &PrivateKey) -> Result<()> {
    match key {
        PrivateKey::Rsa(key) => {
            let components = key.to_components()?;
            draft.set(
                AttributeType::MODULUS,
                Value::Bytes(components.modulus.into()),
            );
            draft.set(
                AttributeType::PUBLIC_EXPONENT,
                Value::Bytes(components.public_exponent.into()),
            );
            draft.give_secret(AttributeType::PRIVATE_EXPONENT, components.private_exponent);
            draft.give_secret(AttributeType::PRIME_1, components.prime_1);
            draft.give_secret(AttributeType::PRIME_2, components.prime_2);
        }
        PrivateKey::Dsa(key) => {
            state_dsa_parameters(draft, key.parameters());
            draft.give_secret(AttributeType::VALUE, key.value()?);
        }
        PrivateKey::Dh(key) => {
            state_dh_parameters(draft, key.parameters());
            draft.give_secret(AttributeType::VALUE, key.value()?);
        }
        PrivateKey::Ec(key) => {
            draft.set(
                AttributeType::EC_PARAMS,
                Value::Bytes(key.curve().oid_der().into()),
            );
            draft.give_secret(AttributeType::VALUE, key.scalar()?);
        }
        PrivateKey::Ed25519(key) => {
            let curve = strongroom_crypto::edwards::Curve25519::Ed25519;
            draft.set(
                AttributeType::EC_PARAMS,
                Value::Bytes(curve.oid_der().into()),
            );
            draft.give_secret(AttributeType::VALUE, key.seed()?);
        }
        PrivateKey::X25519(key) => {
            let curve = strongroom_crypto::edwards::Curve25519::X25519;
            draft.set(
                AttributeType::EC_PARAMS,
                Value::Bytes(curve.oid_der().into()),
            );
            draft.give_secret(AttributeType::VALUE, key.bytes()?);
        }
    }
    Ok(())
}

/// The value of a secret key. Where wrapping may have put zeros behind it, its type or `CKA_VALUE_LEN` says where it ends. A length that does not
/// fit is [`Error::WrappedKeyLenRange`] (PKCS#11 3.2, 5.18.4).
fn take_secret(draft: &mut Draft, row: &Row, plain: &[u8]) -> Result<()> {
    let unit = row.wrap().and_then(unit);
    let told = draft.value_bytes().map_err(|_| Error::WrappedKeyLenRange)?;
    let value = match (told, unit) {
        (Some(length), Some(unit)) => {
            let (value, zeros) = plain
                .split_at_checked(length)
                .ok_or(Error::WrappedKeyLenRange)?;
            // RFC 3394 says that the key came whole: nothing but its filling may be cut off, or strong keys would be made weak ones.
            let whole = row.wrap() == Some(WrapScheme::AesKw);
            if whole && (zeros.len() >= unit || zeros.iter().any(|byte| *byte != 0)) {
                return Err(Error::WrappedKeyLenRange);
            }
            value
        }
        (Some(length), None) if length != plain.len() => return Err(Error::WrappedKeyLenRange),
        _ => plain,
    };
    draft.set_secret(AttributeType::VALUE, value)
}

#[cfg(test)]
mod tests;
