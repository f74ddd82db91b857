//! Encryption and decryption (PKCS#11 3.2, 5.8 and 5.10).
//!
//! What lives here: the functions of these sections, [`Encryption`] and [`Decryption`], which wait in a session's slots, and the
//! same ciphers over whole data for wrapping keys.
//! What must never live here: the life of a slot (session/operation), parameters (mechanism/params), permission (policy); plaintext
//! that leaves before its tag was found right.
//! Who calls it: the front desk ([`crate::service`]); the keys chapter, for wrapping.

use strongroom_crypto as crypto;
use strongroom_crypto::block::{Cipher, Direction};
use strongroom_crypto::gcm::GcmEncryption;
use strongroom_keymem::SecretVec;
use strongroom_wire::request::{Mechanism, ObjectHandle, Output, Parameter};

use super::sign::PKCS1_BYTES_MIN;
use super::{Desk, Reply};
use crate::error::{Error, Result};
use crate::mechanism::Row;
use crate::mechanism::params::{BlockMode, Chaining, CipherMethod, Gcm};
use crate::object::OpenKey;
use crate::policy::{Decrypt, Encrypt, Grant, Usage};
use crate::session::operation::{Call, Length, init};

/// C_EncryptInit.
///
/// # Errors
/// As [`init`].
pub fn encrypt_init(
    desk: &Desk<'_>,
    mechanism: Option<&Mechanism<'_>>,
    key: ObjectHandle,
) -> Result<Reply> {
    init::<Encrypt, _>(
        desk,
        mechanism,
        key,
        |operations| &mut operations.encrypt,
        Encryption::new,
    )
}

/// C_Encrypt.
///
/// # Errors
/// [`Error::DataLenRange`], [`Error::DataInvalid`], and those of the slot; each ends the operation.
pub fn encrypt(desk: &Desk<'_>, data: &[u8], output: Output) -> Result<Reply> {
    desk.session.operations.lock().encrypt.deliver_last(
        Call::Whole,
        output,
        |running| {
            encrypted_length(&running.method, running.grant.key(), data.len()).map(Length::Exact)
        },
        |running, out| encrypt_whole(&running.method, running.grant.key(), data, out),
    )
}

/// C_EncryptUpdate.
///
/// # Errors
/// As [`encrypt`].
pub fn encrypt_update(desk: &Desk<'_>, part: &[u8], output: Output) -> Result<Reply> {
    desk.session.operations.lock().encrypt.deliver_part(
        output,
        |running| Ok(running.stream()?.part_length(part.len())),
        |running, out| running.stream()?.update(part, out),
    )
}

/// C_EncryptFinal.
///
/// # Errors
/// As [`encrypt`].
pub fn encrypt_final(desk: &Desk<'_>, output: Output) -> Result<Reply> {
    desk.session.operations.lock().encrypt.deliver_last(
        Call::Final,
        output,
        |running| Ok(Length::Exact(running.stream()?.final_length())),
        |mut running, out| {
            running.stream()?;
            running
                .stream
                .map_or(Err(Error::GeneralError), |stream| stream.finish(out))
        },
    )
}

/// C_DecryptInit.
///
/// # Errors
/// As [`init`].
pub fn decrypt_init(
    desk: &Desk<'_>,
    mechanism: Option<&Mechanism<'_>>,
    key: ObjectHandle,
) -> Result<Reply> {
    init::<Decrypt, _>(
        desk,
        mechanism,
        key,
        |operations| &mut operations.decrypt,
        Decryption::new,
    )
}

/// C_Decrypt.
///
/// # Errors
/// [`Error::EncryptedDataLenRange`], [`Error::EncryptedDataInvalid`], and those of the slot; each ends the operation.
pub fn decrypt(desk: &Desk<'_>, data: &[u8], output: Output) -> Result<Reply> {
    desk.session.operations.lock().decrypt.deliver_last(
        Call::Whole,
        output,
        |running| decrypted_length(&running.method, running.grant.key(), data.len()),
        |running, out| decrypt_whole(&running.method, running.grant.key(), data, out),
    )
}

/// C_DecryptUpdate.
///
/// # Errors
/// As [`decrypt`].
pub fn decrypt_update(desk: &Desk<'_>, part: &[u8], output: Output) -> Result<Reply> {
    let held_max = desk.limits.held_data_bytes_max;
    desk.session.operations.lock().decrypt.deliver_part(
        output,
        |running| Ok(running.stream()?.part_length(part.len())),
        |running, out| running.stream()?.update(part, out, held_max),
    )
}

/// C_DecryptFinal.
///
/// # Errors
/// As [`decrypt`].
pub fn decrypt_final(desk: &Desk<'_>, output: Output) -> Result<Reply> {
    desk.session.operations.lock().decrypt.deliver_last(
        Call::Final,
        output,
        Decryption::final_length,
        Decryption::finish,
    )
}

/// Data that are being encrypted.
#[derive(Debug)]
pub struct Encryption {
    grant: Grant<Encrypt>,
    method: CipherMethod,
    /// Begun with the first part; whole data need none.
    stream: Option<EncryptionStream>,
}

#[derive(Debug)]
enum EncryptionStream {
    Block(Cipher),
    Gcm(GcmEncryption),
}

impl Encryption {
    fn new(grant: Grant<Encrypt>, row: &Row, parameter: &Parameter<'_>) -> Result<Self> {
        let method = method_of(&grant, row, parameter)?;
        Ok(Self {
            grant,
            method,
            stream: None,
        })
    }

    fn stream(&mut self) -> Result<&mut EncryptionStream> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => EncryptionStream::start(&self.method, self.grant.key())?,
        };
        Ok(self.stream.insert(stream))
    }
}

impl EncryptionStream {
    fn start(method: &CipherMethod, key: &OpenKey) -> Result<Self> {
        match method {
            CipherMethod::Block(mode) => Ok(Self::Block(Cipher::new(
                key.secret()?.block(mode.cipher)?,
                mode.mode(),
                Direction::Encrypt,
            )?)),
            CipherMethod::AesGcm(Gcm { iv, aad, tag_bytes }) => Ok(Self::Gcm(GcmEncryption::new(
                key.secret()?.gcm()?,
                iv,
                aad,
                *tag_bytes,
            )?)),
            CipherMethod::RsaPkcs1 | CipherMethod::RsaRaw | CipherMethod::RsaOaep(_) => {
                Err(SINGLE_PART_ONLY)
            }
        }
    }

    fn part_length(&self, bytes: usize) -> usize {
        match self {
            Self::Block(cipher) => cipher.update_length(bytes),
            Self::Gcm(_) => bytes,
        }
    }

    fn final_length(&self) -> usize {
        match self {
            // Exact: what does not fill a block comes out with its padding, or is an error.
            Self::Block(cipher) => cipher.output_bound(0),
            Self::Gcm(gcm) => gcm.tag_bytes(),
        }
    }

    fn update(&mut self, part: &[u8], out: &mut SecretVec) -> Result<()> {
        match self {
            Self::Block(cipher) => cipher.update(part, out)?,
            Self::Gcm(gcm) => gcm.update(part, out)?,
        }
        Ok(())
    }

    fn finish(self, out: &mut SecretVec) -> Result<()> {
        match self {
            Self::Block(mut cipher) => cipher.finish(out)?,
            Self::Gcm(gcm) => gcm.finish(out)?,
        }
        Ok(())
    }
}

/// Data that are being decrypted.
#[derive(Debug)]
pub struct Decryption {
    grant: Grant<Decrypt>,
    method: CipherMethod,
    /// Begun with the first part; whole data need none.
    stream: Option<DecryptionStream>,
}

#[derive(Debug)]
enum DecryptionStream {
    Block(Cipher),
    /// GCM: nothing leaves before the tag, which comes last, was found right.
    Collected(SecretVec),
}

impl Decryption {
    fn new(grant: Grant<Decrypt>, row: &Row, parameter: &Parameter<'_>) -> Result<Self> {
        let method = method_of(&grant, row, parameter)?;
        Ok(Self {
            grant,
            method,
            stream: None,
        })
    }

    fn stream(&mut self) -> Result<&mut DecryptionStream> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => DecryptionStream::start(&self.method, self.grant.key())?,
        };
        Ok(self.stream.insert(stream))
    }

    fn final_length(&mut self) -> Result<Length> {
        self.stream()?;
        match (&self.stream, &self.method) {
            (Some(DecryptionStream::Collected(sealed)), method) => {
                decrypted_length(method, self.grant.key(), sealed.len())
            }
            (Some(DecryptionStream::Block(cipher)), CipherMethod::Block(mode))
                if matches!(mode.chaining, Chaining::CbcPad(_)) =>
            {
                Ok(Length::AtMost(cipher.output_bound(0)))
            }
            (Some(DecryptionStream::Block(cipher)), _) => Ok(Length::Exact(cipher.output_bound(0))),
            (None, _) => Err(Error::GeneralError),
        }
    }

    fn finish(mut self, out: &mut SecretVec) -> Result<()> {
        self.stream()?;
        match self.stream {
            Some(DecryptionStream::Block(mut cipher)) => {
                cipher.finish(out).map_err(ciphertext_fault)
            }
            Some(DecryptionStream::Collected(sealed)) => {
                decrypt_whole(&self.method, self.grant.key(), sealed.expose(), out)
            }
            None => Err(Error::GeneralError),
        }
    }
}

impl DecryptionStream {
    fn start(method: &CipherMethod, key: &OpenKey) -> Result<Self> {
        match method {
            CipherMethod::Block(mode) => Ok(Self::Block(Cipher::new(
                key.secret()?.block(mode.cipher)?,
                mode.mode(),
                Direction::Decrypt,
            )?)),
            CipherMethod::AesGcm(_) => Ok(Self::Collected(SecretVec::new())),
            CipherMethod::RsaPkcs1 | CipherMethod::RsaRaw | CipherMethod::RsaOaep(_) => {
                Err(SINGLE_PART_ONLY)
            }
        }
    }

    fn part_length(&self, bytes: usize) -> usize {
        match self {
            Self::Block(cipher) => cipher.update_length(bytes),
            Self::Collected(_) => 0,
        }
    }

    /// Takes a part; at most `held_max` bytes are kept back until the end.
    fn update(&mut self, part: &[u8], out: &mut SecretVec, held_max: usize) -> Result<()> {
        match self {
            Self::Block(cipher) => cipher.update(part, out).map_err(ciphertext_fault),
            Self::Collected(sealed) => {
                if sealed.len().saturating_add(part.len()) > held_max {
                    return Err(Error::EncryptedDataLenRange);
                }
                Ok(sealed.push_slice(part)?)
            }
        }
    }
}

fn method_of<U: Usage>(
    grant: &Grant<U>,
    row: &Row,
    parameter: &Parameter<'_>,
) -> Result<CipherMethod> {
    let scheme = row.cipher().ok_or(Error::MechanismInvalid)?;
    let bits = usize::try_from(grant.key().size()).map_err(|_| Error::KeySizeRange)?;
    CipherMethod::parse(scheme, parameter, bits)
}

/// Length of the ciphertext of so many bytes, exactly.
///
/// # Errors
/// [`Error::DataLenRange`] when there is none of such data.
pub fn encrypted_length(method: &CipherMethod, key: &OpenKey, bytes: usize) -> Result<usize> {
    match (method, key) {
        (CipherMethod::Block(mode), _) => block_encrypted_length(mode, bytes),
        (CipherMethod::AesGcm(gcm), _) => Ok(bytes + gcm.tag_bytes),
        (_, OpenKey::RsaPublic(key)) => Ok(key.modulus_bytes()),
        _ => Err(Error::KeyTypeInconsistent),
    }
}

fn block_encrypted_length(mode: &BlockMode, bytes: usize) -> Result<usize> {
    let block = mode.cipher.block_bytes();
    match mode.chaining {
        Chaining::Ecb | Chaining::Cbc(_) if !bytes.is_multiple_of(block) => {
            Err(Error::DataLenRange)
        }
        Chaining::CbcPad(_) => Ok(bytes - bytes % block + block),
        Chaining::Ecb | Chaining::Cbc(_) | Chaining::Ctr(..) => Ok(bytes),
    }
}

/// Encrypts data that are there whole; appends the ciphertext.
///
/// # Errors
/// [`Error::DataLenRange`], [`Error::DataInvalid`], [`Error::KeyTypeInconsistent`], [`Error::DeviceMemory`].
pub fn encrypt_whole(
    method: &CipherMethod,
    key: &OpenKey,
    data: &[u8],
    out: &mut SecretVec,
) -> Result<()> {
    match (method, key) {
        (CipherMethod::Block(mode), OpenKey::Secret(key)) => {
            let mut cipher = Cipher::new(key.block(mode.cipher)?, mode.mode(), Direction::Encrypt)?;
            cipher.update(data, out)?;
            cipher.finish(out)?;
        }
        (CipherMethod::AesGcm(Gcm { iv, aad, tag_bytes }), OpenKey::Secret(key)) => {
            key.gcm()?.seal(iv, aad, *tag_bytes, data, out)?;
        }
        (CipherMethod::RsaPkcs1, OpenKey::RsaPublic(key)) => {
            out.push_slice(&key.encrypt_pkcs1(data)?)?
        }
        (CipherMethod::RsaRaw, OpenKey::RsaPublic(key)) => {
            out.push_slice(&key.encrypt_raw(data)?)?
        }
        (CipherMethod::RsaOaep(oaep), OpenKey::RsaPublic(key)) => {
            out.push_slice(&key.encrypt_oaep(oaep.hash, oaep.mask_hash, &oaep.label, data)?)?;
        }
        _ => return Err(Error::KeyTypeInconsistent),
    }
    Ok(())
}

/// Length of the plaintext of so many bytes, or its bound.
///
/// # Errors
/// [`Error::EncryptedDataLenRange`] when there is none of such data.
pub fn decrypted_length(method: &CipherMethod, key: &OpenKey, bytes: usize) -> Result<Length> {
    let length = match (method, key) {
        (CipherMethod::Block(mode), _) => match mode.chaining {
            Chaining::Ctr(..) => Some(Length::Exact(bytes)),
            _ if !bytes.is_multiple_of(mode.cipher.block_bytes()) => None,
            // Padding takes one byte to a whole block away.
            Chaining::CbcPad(_) => bytes.checked_sub(1).map(Length::AtMost),
            Chaining::Ecb | Chaining::Cbc(_) => Some(Length::Exact(bytes)),
        },
        (CipherMethod::AesGcm(gcm), _) => bytes.checked_sub(gcm.tag_bytes).map(Length::Exact),
        (_, OpenKey::RsaPrivate(key)) if bytes != key.modulus_bytes() => None,
        (CipherMethod::RsaRaw, OpenKey::RsaPrivate(_)) => Some(Length::Exact(bytes)),
        (CipherMethod::RsaPkcs1, OpenKey::RsaPrivate(_)) => {
            bytes.checked_sub(PKCS1_BYTES_MIN).map(Length::AtMost)
        }
        (CipherMethod::RsaOaep(oaep), OpenKey::RsaPrivate(_)) => {
            oaep.data_bytes_max(bytes).map(Length::AtMost)
        }
        _ => return Err(Error::KeyTypeInconsistent),
    };
    length.ok_or(Error::EncryptedDataLenRange)
}

/// Decrypts data that are there whole; appends the plaintext.
///
/// # Errors
/// [`Error::EncryptedDataLenRange`]; [`Error::EncryptedDataInvalid`] for every fault of padding, number or tag alike;
/// [`Error::KeyTypeInconsistent`]; [`Error::DeviceMemory`].
pub fn decrypt_whole(
    method: &CipherMethod,
    key: &OpenKey,
    data: &[u8],
    out: &mut SecretVec,
) -> Result<()> {
    let decrypted = match (method, key) {
        (CipherMethod::Block(mode), OpenKey::Secret(key)) => {
            let mut cipher = Cipher::new(key.block(mode.cipher)?, mode.mode(), Direction::Decrypt)?;
            cipher.update(data, out).and_then(|()| cipher.finish(out))
        }
        (CipherMethod::AesGcm(Gcm { iv, aad, tag_bytes }), OpenKey::Secret(key)) => {
            key.gcm()?.open(iv, aad, *tag_bytes, data, out)
        }
        (CipherMethod::RsaPkcs1, OpenKey::RsaPrivate(key)) => key.decrypt_pkcs1(data, out),
        (CipherMethod::RsaRaw, OpenKey::RsaPrivate(key)) => key.decrypt_raw(data, out),
        (CipherMethod::RsaOaep(oaep), OpenKey::RsaPrivate(key)) => {
            key.decrypt_oaep(oaep.hash, oaep.mask_hash, &oaep.label, data, out)
        }
        _ => return Err(Error::KeyTypeInconsistent),
    };
    decrypted.map_err(ciphertext_fault)
}

/// What a failed decryption means; the rest is as everywhere.
fn ciphertext_fault(error: crypto::Error) -> Error {
    match Error::from(error) {
        Error::DataLenRange => Error::EncryptedDataLenRange,
        Error::DataInvalid => Error::EncryptedDataInvalid,
        other => other,
    }
}

/// PKCS#11 3.2, 6.1.6 to 6.1.8: RSA encrypts in a single part; to C_EncryptUpdate and C_EncryptFinal there is no active operation of
/// an appropriate type.
const SINGLE_PART_ONLY: Error = Error::OperationNotInitialized;

#[cfg(test)]
mod tests;
