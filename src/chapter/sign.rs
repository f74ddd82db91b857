//! Signatures and MACs (PKCS#11 3.2, 5.13 to 5.15): sign, verify, and both with recovery.
//!
//! What lives here: the functions of these sections, and [`Signature`] and [`Recovery`], which wait in a session's slots.
//! What must never live here: the life of a slot (session/operation), parameters (mechanism/params), permission (policy).
//! Who calls it: the front desk ([`crate::service`]).

use strongroom_crypto as crypto;
use strongroom_crypto::digest::Digest;
use strongroom_crypto::mac::{Cmac, Hmac, equal_in_constant_time};
use strongroom_keymem::SecretVec;
use strongroom_wire::request::{Mechanism, ObjectHandle, Output, Parameter};

use super::{Desk, Reply};
use crate::error::{Error, Result};
use crate::mechanism::params::SignMethod;
use crate::mechanism::{Row, SignScheme};
use crate::object::OpenKey;
use crate::policy::{Grant, Sign, SignRecover, Usage, Verify, VerifyRecover};
use crate::session::operation::{Call, Length, init};

/// C_SignInit.
///
/// # Errors
/// As [`init`].
pub fn sign_init(
    desk: &Desk<'_>,
    mechanism: Option<&Mechanism<'_>>,
    key: ObjectHandle,
) -> Result<Reply> {
    init::<Sign, _>(
        desk,
        mechanism,
        key,
        |operations| &mut operations.sign,
        Signature::new,
    )
}

/// C_Sign.
///
/// # Errors
/// [`Error::DataLenRange`], [`Error::DataInvalid`], and those of the slot; each ends the operation.
pub fn sign(desk: &Desk<'_>, data: &[u8], output: Output) -> Result<Reply> {
    desk.session.operations.lock().sign.deliver_last(
        Call::Whole,
        output,
        |signature| signature.length().map(Length::Exact),
        |signature, out| signature.sign(Some(data), out),
    )
}

/// C_SignUpdate.
///
/// # Errors
/// As [`sign`].
pub fn sign_update(desk: &Desk<'_>, part: &[u8]) -> Result<Reply> {
    let held_max = desk.limits.held_data_bytes_max;
    desk.session
        .operations
        .lock()
        .sign
        .take_part(|signature| signature.message.update(part, held_max))
}

/// C_SignFinal.
///
/// # Errors
/// As [`sign`].
pub fn sign_final(desk: &Desk<'_>, output: Output) -> Result<Reply> {
    desk.session.operations.lock().sign.deliver_last(
        Call::Final,
        output,
        |signature| {
            signature.message.must_take_parts()?;
            signature.length().map(Length::Exact)
        },
        |signature, out| signature.sign(None, out),
    )
}

/// C_VerifyInit.
///
/// # Errors
/// As [`init`].
pub fn verify_init(
    desk: &Desk<'_>,
    mechanism: Option<&Mechanism<'_>>,
    key: ObjectHandle,
) -> Result<Reply> {
    init::<Verify, _>(
        desk,
        mechanism,
        key,
        |operations| &mut operations.verify,
        Signature::new,
    )
}

/// C_Verify.
///
/// # Errors
/// [`Error::SignatureInvalid`], [`Error::SignatureLenRange`], and as [`sign`].
pub fn verify(desk: &Desk<'_>, data: &[u8], signature: &[u8]) -> Result<Reply> {
    let mut operations = desk.session.operations.lock();
    operations
        .verify
        .conclude(Call::Whole, |running| running.verify(Some(data), signature))
}

/// C_VerifyUpdate.
///
/// # Errors
/// As [`sign`].
pub fn verify_update(desk: &Desk<'_>, part: &[u8]) -> Result<Reply> {
    let held_max = desk.limits.held_data_bytes_max;
    desk.session
        .operations
        .lock()
        .verify
        .take_part(|running| running.message.update(part, held_max))
}

/// C_VerifyFinal.
///
/// # Errors
/// As [`verify`].
pub fn verify_final(desk: &Desk<'_>, signature: &[u8]) -> Result<Reply> {
    let mut operations = desk.session.operations.lock();
    operations
        .verify
        .conclude(Call::Final, |running| running.verify(None, signature))
}

/// C_VerifySignatureInit (PKCS#11 3.2, 5.15): as C_VerifyInit, with the signature first.
///
/// # Errors
/// As [`init`].
pub fn verify_signature_init(
    desk: &Desk<'_>,
    mechanism: Option<&Mechanism<'_>>,
    key: ObjectHandle,
    signature: &[u8],
) -> Result<Reply> {
    init::<Verify, _>(
        desk,
        mechanism,
        key,
        |operations| &mut operations.verify_signature,
        |grant, row, parameter| {
            let running = Signature::new(grant, row, parameter)?;
            let signature = signature.into();
            Ok(SignatureFirst { running, signature })
        },
    )
}

/// C_VerifySignature.
///
/// # Errors
/// As [`verify`].
pub fn verify_signature(desk: &Desk<'_>, data: &[u8]) -> Result<Reply> {
    let mut operations = desk.session.operations.lock();
    operations.verify_signature.conclude(Call::Whole, |first| {
        first.running.verify(Some(data), &first.signature)
    })
}

/// C_VerifySignatureUpdate.
///
/// # Errors
/// As [`sign`].
pub fn verify_signature_update(desk: &Desk<'_>, part: &[u8]) -> Result<Reply> {
    let held_max = desk.limits.held_data_bytes_max;
    let mut operations = desk.session.operations.lock();
    operations
        .verify_signature
        .take_part(|first| first.running.message.update(part, held_max))
}

/// C_VerifySignatureFinal.
///
/// # Errors
/// As [`verify`].
pub fn verify_signature_final(desk: &Desk<'_>) -> Result<Reply> {
    let mut operations = desk.session.operations.lock();
    operations.verify_signature.conclude(Call::Final, |first| {
        first.running.verify(None, &first.signature)
    })
}

/// A signature that is verified once its data have come.
#[derive(Debug)]
pub struct SignatureFirst {
    running: Signature<Verify>,
    signature: Box<[u8]>,
}

/// C_SignRecoverInit.
///
/// # Errors
/// As [`init`].
pub fn sign_recover_init(
    desk: &Desk<'_>,
    mechanism: Option<&Mechanism<'_>>,
    key: ObjectHandle,
) -> Result<Reply> {
    init::<SignRecover, _>(
        desk,
        mechanism,
        key,
        |operations| &mut operations.sign_recover,
        Recovery::new,
    )
}

/// C_SignRecover.
///
/// # Errors
/// As [`sign`].
pub fn sign_recover(desk: &Desk<'_>, data: &[u8], output: Output) -> Result<Reply> {
    desk.session.operations.lock().sign_recover.deliver_last(
        Call::Whole,
        output,
        |running| signature_bytes(&running.method, running.grant.key()).map(Length::Exact),
        |running, out| sign_with(&running.method, running.grant.key(), data, out),
    )
}

/// C_VerifyRecoverInit.
///
/// # Errors
/// As [`init`].
pub fn verify_recover_init(
    desk: &Desk<'_>,
    mechanism: Option<&Mechanism<'_>>,
    key: ObjectHandle,
) -> Result<Reply> {
    init::<VerifyRecover, _>(
        desk,
        mechanism,
        key,
        |operations| &mut operations.verify_recover,
        Recovery::new,
    )
}

/// C_VerifyRecover.
///
/// # Errors
/// As [`verify`].
pub fn verify_recover(desk: &Desk<'_>, signature: &[u8], output: Output) -> Result<Reply> {
    desk.session.operations.lock().verify_recover.deliver_last(
        Call::Whole,
        output,
        |running| running.recovered_length(signature),
        |running, out| running.recover(signature, out),
    )
}

/// A signature that is being made (`U` is [`Sign`]) or verified ([`Verify`]).
#[derive(Debug)]
pub struct Signature<U: Usage> {
    grant: Grant<U>,
    method: SignMethod,
    message: Message,
}

impl<U: Usage> Signature<U> {
    fn new(grant: Grant<U>, row: &Row, parameter: &Parameter<'_>) -> Result<Self> {
        let scheme = row.sign().ok_or(Error::MechanismInvalid)?;
        let method = SignMethod::parse(scheme, parameter, key_bits(&grant)?)?;
        let message = Message::start(scheme, grant.key())?;
        Ok(Self {
            grant,
            method,
            message,
        })
    }

    fn length(&self) -> Result<usize> {
        signature_bytes(&self.method, self.grant.key())
    }
}

impl Signature<Sign> {
    fn sign(self, whole: Option<&[u8]>, out: &mut SecretVec) -> Result<()> {
        let Self {
            grant,
            method,
            message,
        } = self;
        message.finish(whole, |input| sign_with(&method, grant.key(), input, out))
    }
}

impl Signature<Verify> {
    fn verify(self, whole: Option<&[u8]>, signature: &[u8]) -> Result<()> {
        let Self {
            grant,
            method,
            message,
        } = self;
        message.finish(whole, |input| {
            verify_with(&method, grant.key(), input, signature)
        })
    }
}

/// A signature with recovery; PKCS#1 v1.5 or bare RSA.
#[derive(Debug)]
pub struct Recovery<U: Usage> {
    grant: Grant<U>,
    method: SignMethod,
}

impl<U: Usage> Recovery<U> {
    fn new(grant: Grant<U>, row: &Row, parameter: &Parameter<'_>) -> Result<Self> {
        let scheme = row.recover().ok_or(Error::MechanismInvalid)?;
        let method = SignMethod::parse(scheme, parameter, key_bits(&grant)?)?;
        Ok(Self { grant, method })
    }
}

impl Recovery<VerifyRecover> {
    fn recovered_length(&self, signature: &[u8]) -> Result<Length> {
        let bytes = signature_bytes(&self.method, self.grant.key())?;
        if signature.len() != bytes {
            return Err(Error::SignatureLenRange);
        }
        Ok(match self.method {
            SignMethod::RsaRaw => Length::Exact(bytes),
            _ => Length::AtMost(bytes.saturating_sub(PKCS1_BYTES_MIN)),
        })
    }

    fn recover(self, signature: &[u8], out: &mut SecretVec) -> Result<()> {
        let recovered = match (&self.method, self.grant.key()) {
            (SignMethod::RsaPkcs1, OpenKey::RsaPublic(key)) => key.recover_pkcs1(signature, out),
            (SignMethod::RsaRaw, OpenKey::RsaPublic(key)) => key
                .recover_raw(signature)
                .and_then(|bytes| Ok(out.push_slice(&bytes)?)),
            _ => return Err(Error::KeyTypeInconsistent),
        };
        recovered.map_err(verdict)
    }
}

/// What has come of a message so far.
#[derive(Debug)]
enum Message {
    Hashed(Digest),
    Hmac(Hmac),
    Cmac(Cmac),
    /// Ed25519 reads the message twice, so that parts are collected.
    Collected(SecretVec),
    /// PKCS#11 3.2, 6.1.6, 6.1.7, 6.1.10, 6.3.12: single-part operations only.
    Single,
}

impl Message {
    fn start(scheme: SignScheme, key: &OpenKey) -> Result<Self> {
        Ok(match scheme {
            SignScheme::RsaPkcs1(Some(hash))
            | SignScheme::RsaPss(Some(hash))
            | SignScheme::Dsa(Some(hash))
            | SignScheme::Ecdsa(Some(hash)) => Self::Hashed(Digest::new(hash)?),
            SignScheme::RsaPkcs1(None)
            | SignScheme::RsaPss(None)
            | SignScheme::Dsa(None)
            | SignScheme::Ecdsa(None)
            | SignScheme::RsaRaw => Self::Single,
            SignScheme::Eddsa => Self::Collected(SecretVec::new()),
            SignScheme::Hmac(hash, _) => {
                Self::Hmac(key.secret()?.with_hmac(hash, |key| Ok(key.start()?))?)
            }
            SignScheme::Cmac(cipher, _) => Self::Cmac(key.secret()?.cmac(cipher)?.start()?),
        })
    }

    /// Refuses parts where a mechanism takes its data whole: there is "no active operation of an appropriate type", which is the
    /// only return value of C_SignUpdate and C_SignFinal that says so (PKCS#11 3.2, 5.13.3), and SoftHSM's.
    const fn must_take_parts(&self) -> Result<()> {
        if matches!(self, Self::Single) {
            Err(Error::OperationNotInitialized)
        } else {
            Ok(())
        }
    }

    /// Takes a part; at most `held_max` bytes are kept until the end.
    fn update(&mut self, part: &[u8], held_max: usize) -> Result<()> {
        match self {
            Self::Hashed(digest) => digest.update(part)?,
            Self::Hmac(mac) => mac.update(part)?,
            Self::Cmac(mac) => mac.update(part)?,
            Self::Collected(message) => {
                if message.len().saturating_add(part.len()) > held_max {
                    return Err(Error::DataLenRange);
                }
                message.push_slice(part)?;
            }
            Self::Single => return self.must_take_parts(),
        }
        Ok(())
    }

    /// Shows what the primitive takes (digest, MAC or message) once the last of it has come: the whole of it, or nothing more.
    fn finish<R>(
        mut self,
        whole: Option<&[u8]>,
        see: impl FnOnce(&[u8]) -> Result<R>,
    ) -> Result<R> {
        match (&self, whole) {
            (Self::Collected(_) | Self::Single, Some(data)) => return see(data),
            // Whole data are bounded by their frame.
            (_, Some(data)) => self.update(data, usize::MAX)?,
            (_, None) => {}
        }
        match self {
            Self::Hashed(digest) => see(digest.finish()?.as_ref()),
            Self::Hmac(mac) => see(mac.finish()?.as_ref()),
            Self::Cmac(mac) => see(mac.finish()?.as_ref()),
            Self::Collected(message) => see(message.expose()),
            Self::Single => Err(Error::OperationNotInitialized),
        }
    }
}

fn key_bits<U: Usage>(grant: &Grant<U>) -> Result<usize> {
    usize::try_from(grant.key().size()).map_err(|_| Error::KeySizeRange)
}

fn signature_bytes(method: &SignMethod, key: &OpenKey) -> Result<usize> {
    Ok(match (method, key) {
        (SignMethod::Mac(bytes), _) => *bytes,
        (_, OpenKey::RsaPrivate(key)) => key.modulus_bytes(),
        (_, OpenKey::RsaPublic(key)) => key.modulus_bytes(),
        (_, OpenKey::EcPrivate(key)) => 2 * key.curve().order_bytes(),
        (_, OpenKey::DsaPrivate(key)) => key.parameters().signature_bytes(),
        (_, OpenKey::Ed25519Private(_)) => ED25519_SIGNATURE_BYTES,
        _ => return Err(Error::KeyTypeInconsistent),
    })
}

/// Signs a digest, a message or whatever the method takes.
fn sign_with(method: &SignMethod, key: &OpenKey, input: &[u8], out: &mut SecretVec) -> Result<()> {
    match (method, key) {
        (SignMethod::RsaPkcs1, OpenKey::RsaPrivate(key)) => {
            out.push_slice(&key.sign_pkcs1(input)?)?
        }
        (SignMethod::RsaPkcs1Digest(hash), OpenKey::RsaPrivate(key)) => {
            out.push_slice(&key.sign_pkcs1_digest(*hash, input)?)?;
        }
        (SignMethod::RsaRaw, OpenKey::RsaPrivate(key)) => out.push_slice(&key.sign_raw(input)?)?,
        (SignMethod::RsaPss(pss), OpenKey::RsaPrivate(key)) => {
            out.push_slice(&key.sign_pss(pss.hash, pss.mask_hash, pss.salt_bytes, input)?)?;
        }
        (SignMethod::Ecdsa, OpenKey::EcPrivate(key)) => {
            accept_ecdsa_input(input)?;
            out.push_slice(&key.sign_digest(input)?)?;
        }
        (SignMethod::Dsa, OpenKey::DsaPrivate(key)) => {
            accept_dsa_input(input)?;
            out.push_slice(&key.sign_digest(input)?)?;
        }
        (SignMethod::DsaDigest, OpenKey::DsaPrivate(key)) => {
            out.push_slice(&key.sign_digest(input)?)?;
        }
        (SignMethod::Eddsa(edwards), OpenKey::Ed25519Private(key)) => {
            out.push_slice(&key.sign_variant(edwards.variant(), input)?)?;
        }
        (SignMethod::Mac(bytes), OpenKey::Secret(_)) => {
            out.push_slice(shortened(input, *bytes)?)?
        }
        _ => return Err(Error::KeyTypeInconsistent),
    }
    Ok(())
}

fn verify_with(method: &SignMethod, key: &OpenKey, input: &[u8], signature: &[u8]) -> Result<()> {
    let verified = match (method, key) {
        (SignMethod::RsaPkcs1, OpenKey::RsaPublic(key)) => key.verify_pkcs1(input, signature),
        (SignMethod::RsaPkcs1Digest(hash), OpenKey::RsaPublic(key)) => {
            key.verify_pkcs1_digest(*hash, input, signature)
        }
        (SignMethod::RsaRaw, OpenKey::RsaPublic(key)) => key.verify_raw(input, signature),
        (SignMethod::RsaPss(pss), OpenKey::RsaPublic(key)) => {
            key.verify_pss(pss.hash, pss.mask_hash, pss.salt_bytes, input, signature)
        }
        (SignMethod::Ecdsa, OpenKey::EcPublic(key)) => {
            accept_ecdsa_input(input)?;
            key.verify_digest(input, signature)
        }
        (SignMethod::Dsa, OpenKey::DsaPublic(key)) => {
            accept_dsa_input(input)?;
            key.verify_digest(input, signature)
        }
        (SignMethod::DsaDigest, OpenKey::DsaPublic(key)) => key.verify_digest(input, signature),
        (SignMethod::Eddsa(edwards), OpenKey::Ed25519Public(key)) => {
            key.verify_variant(edwards.variant(), input, signature)
        }
        (SignMethod::Mac(bytes), OpenKey::Secret(_)) => {
            verify_mac(shortened(input, *bytes)?, signature)
        }
        _ => return Err(Error::KeyTypeInconsistent),
    };
    verified.map_err(verdict)
}

fn verify_mac(mac: &[u8], alleged: &[u8]) -> std::result::Result<(), crypto::Error> {
    if mac.len() != alleged.len() {
        Err(crypto::Error::SignatureLength)
    } else if equal_in_constant_time(mac, alleged) {
        Ok(())
    } else {
        Err(crypto::Error::SignatureInvalid)
    }
}

fn shortened(mac: &[u8], bytes: usize) -> Result<&[u8]> {
    mac.get(..bytes).ok_or(Error::GeneralError)
}

/// PKCS#11 3.2, 6.3.12: a hash value of at most 1024 bits; what is longer than the order is cut by the primitive.
const fn accept_ecdsa_input(input: &[u8]) -> Result<()> {
    if input.is_empty() || input.len() > ECDSA_INPUT_BYTES_MAX {
        Err(Error::DataLenRange)
    } else {
        Ok(())
    }
}

/// PKCS#11 3.2, 6.2.9: a hash value of 20, 28, 32, 48 or 64 bytes; what is longer than q is cut by the primitive.
const fn accept_dsa_input(input: &[u8]) -> Result<()> {
    match input.len() {
        20 | 28 | 32 | 48 | 64 => Ok(()),
        _ => Err(Error::DataLenRange),
    }
}

/// What a failed verification means. That a signature or a point does not even parse is a wrong signature, no more.
const fn verdict(error: crypto::Error) -> Error {
    match error {
        crypto::Error::Memory => Error::DeviceMemory,
        crypto::Error::Internal => Error::GeneralError,
        crypto::Error::SignatureLength => Error::SignatureLenRange,
        crypto::Error::DataLength => Error::DataLenRange,
        crypto::Error::DataInvalid => Error::DataInvalid,
        crypto::Error::SignatureInvalid
        | crypto::Error::KeyMalformed
        | crypto::Error::KeySize
        | crypto::Error::PointInvalid
        | crypto::Error::ParameterInvalid
        | crypto::Error::Unsupported => Error::SignatureInvalid,
    }
}

/// RFC 8017, 7.2.1 and 9.2: three fixed bytes and at least eight of padding.
pub(super) const PKCS1_BYTES_MIN: usize = 11;
const ED25519_SIGNATURE_BYTES: usize = 64;
const ECDSA_INPUT_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests;
