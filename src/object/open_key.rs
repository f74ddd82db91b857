//! Open keys: parsed and prepared once, in locked memory, shared by all who use them.
//!
//! What lives here: [`OpenKey`] and how it is made of an object's attributes and material.
//! What must never live here: whether it may be used (policy), and how (chapters).
//! Who calls it: the token on first use; grants carry it to the chapters.

use std::sync::{Arc, OnceLock};

use strongroom_crypto::block::{BlockCipher, BlockKey};
use strongroom_crypto::dh::{DhParameters, DhPrivateKey};
use strongroom_crypto::digest::Hash;
use strongroom_crypto::dsa::{DsaParameters, DsaPrivateKey, DsaPublicKey};
use strongroom_crypto::ec::{Curve, EcPrivateKey, EcPublicKey};
use strongroom_crypto::edwards::{Ed25519PrivateKey, Ed25519PublicKey, X25519PrivateKey};
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::mac::{CmacKey, HmacKey};
use strongroom_crypto::rsa::{Crt, RsaPrivateKey, RsaPublicKey};
use strongroom_crypto::wrap::WrapKey;
use strongroom_keymem::SecretBytes;
use strongroom_wire::ck::{AttributeType, KeyType, ObjectClass};

use super::Material;
use crate::attribute::Attributes;
use crate::error::{Error, Result};

/// A key, ready for use.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names are those of the key types")]
pub enum OpenKey {
    RsaPublic(RsaPublicKey),
    RsaPrivate(RsaPrivateKey),
    DsaPublic(DsaPublicKey),
    DsaPrivate(DsaPrivateKey),
    /// A public Diffie-Hellman key can only be handed to a derivation as a parameter; here it is its parameters and its value.
    DhPublic(DhParameters, Box<[u8]>),
    DhPrivate(DhPrivateKey),
    EcPublic(EcPublicKey),
    EcPrivate(EcPrivateKey),
    Ed25519Public(Ed25519PublicKey),
    Ed25519Private(Ed25519PrivateKey),
    /// A public X25519 key can only be handed to a derivation as a parameter; here it is its 32 bytes.
    X25519Public([u8; 32]),
    X25519Private(X25519PrivateKey),
    Secret(SecretKey),
}

/// A secret key with whatever has been prepared of it.
#[derive(Debug)]
pub struct SecretKey {
    value: SecretBytes,
    block: OnceLock<(BlockCipher, BlockKey)>,
    gcm: OnceLock<GcmKey>,
    cmac: OnceLock<(BlockCipher, CmacKey)>,
    wrap: OnceLock<WrapKey>,
    hmac: OnceLock<(Hash, HmacKey)>,
}

/// Gives what is prepared, or prepares it. Two that do so at once both succeed; one result is kept.
fn prepared<T>(place: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(ready) = place.get() {
        return Ok(ready);
    }
    let made = make()?;
    Ok(place.get_or_init(|| made))
}

/// A key has one type, and a type one cipher, so that what was prepared for another one is a key that this mechanism cannot use.
fn of_cipher<T>((kept, key): &(BlockCipher, T), cipher: BlockCipher) -> Result<&T> {
    if *kept == cipher {
        Ok(key)
    } else {
        Err(Error::KeyTypeInconsistent)
    }
}

impl SecretKey {
    /// Takes the value.
    #[must_use]
    pub const fn new(value: SecretBytes) -> Self {
        Self {
            value,
            block: OnceLock::new(),
            gcm: OnceLock::new(),
            cmac: OnceLock::new(),
            wrap: OnceLock::new(),
            hmac: OnceLock::new(),
        }
    }

    /// The value itself, to wrap or derive.
    #[must_use]
    pub const fn value(&self) -> &SecretBytes {
        &self.value
    }

    /// For the modes of SP 800-38A.
    ///
    /// # Errors
    /// When the value is no key of this cipher, or memory is used up.
    pub fn block(&self, cipher: BlockCipher) -> Result<&BlockKey> {
        let make = || {
            let key = self.value.with(|value| BlockKey::new(cipher, value))?;
            Ok((cipher, key))
        };
        of_cipher(prepared(&self.block, make)?, cipher)
    }

    /// For GCM.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub fn gcm(&self) -> Result<&GcmKey> {
        prepared(&self.gcm, || Ok(self.value.with(GcmKey::new)?))
    }

    /// For CMAC.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub fn cmac(&self, cipher: BlockCipher) -> Result<&CmacKey> {
        let make = || {
            let key = self.value.with(|value| CmacKey::new(cipher, value))?;
            Ok((cipher, key))
        };
        of_cipher(prepared(&self.cmac, make)?, cipher)
    }

    /// For RFC 3394 and RFC 5649.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub fn wrap(&self) -> Result<&WrapKey> {
        prepared(&self.wrap, || Ok(self.value.with(WrapKey::new)?))
    }

    /// Shows the key of an HMAC with this hash: the one prepared, if it is of this hash (a key is nearly always used with one), or another.
    ///
    /// # Errors
    /// When memory is used up.
    pub fn with_hmac<R>(&self, hash: Hash, see: impl FnOnce(&HmacKey) -> Result<R>) -> Result<R> {
        let make = || Ok::<_, Error>(self.value.with(|value| HmacKey::new(hash, value))?);
        let (kept, key) = prepared(&self.hmac, || Ok((hash, make()?)))?;
        if *kept == hash {
            see(key)
        } else {
            see(&make()?)
        }
    }
}

impl OpenKey {
    /// Size as mechanisms count it: bits of modulus or field, bytes of a secret.
    #[must_use]
    pub fn size(&self) -> u64 {
        let size = match self {
            Self::RsaPublic(key) => key.bits(),
            Self::RsaPrivate(key) => key.bits(),
            Self::DsaPublic(key) => key.parameters().bits(),
            Self::DsaPrivate(key) => key.parameters().bits(),
            Self::DhPublic(parameters, _) => parameters.bits(),
            Self::DhPrivate(key) => key.parameters().bits(),
            Self::EcPublic(key) => key.curve().bits(),
            Self::EcPrivate(key) => key.curve().bits(),
            Self::Ed25519Public(_)
            | Self::Ed25519Private(_)
            | Self::X25519Public(_)
            | Self::X25519Private(_) => 255,
            Self::Secret(key) => key.value.len(),
        };
        size as u64
    }

    /// The secret key, or the error that a mechanism gives for another kind of key.
    ///
    /// # Errors
    /// [`Error::KeyTypeInconsistent`].
    pub const fn secret(&self) -> Result<&SecretKey> {
        if let Self::Secret(key) = self {
            Ok(key)
        } else {
            Err(Error::KeyTypeInconsistent)
        }
    }

    /// Opens the key of an object with these attributes.
    ///
    /// # Errors
    /// [`Error::AttributeValueInvalid`] or what the primitive says when the values make no key; this is also how a created key is
    /// judged before it is kept.
    pub fn open(attributes: &Attributes, material: Option<&Material>) -> Result<Arc<Self>> {
        let number = |kind| attributes.number(kind).ok_or(Error::KeyHandleInvalid);
        let class = ObjectClass(number(AttributeType::CLASS)?);
        let key_type = KeyType(number(AttributeType::KEY_TYPE)?);
        let key = match (class, key_type, material) {
            (ObjectClass::PUBLIC_KEY, ..) => open_public(attributes, key_type)?,
            (ObjectClass::PRIVATE_KEY, _, Some(material)) => {
                open_private(attributes, key_type, material)?
            }
            (ObjectClass::SECRET_KEY, _, Some(material)) => {
                Self::Secret(SecretKey::new(secret_value(material)?))
            }
            _ => return Err(Error::KeyHandleInvalid),
        };
        Ok(Arc::new(key))
    }
}

fn secret_value(material: &Material) -> Result<SecretBytes> {
    material.with(AttributeType::VALUE, |value| {
        Ok(SecretBytes::copy_from(value.ok_or(Error::DeviceError)?)?)
    })
}

fn required(attributes: &Attributes, kind: AttributeType) -> Result<&[u8]> {
    attributes.bytes(kind).ok_or(Error::TemplateIncomplete)
}

/// The curve of `CKA_EC_PARAMS`.
///
/// # Errors
/// [`Error::CurveNotSupported`] when it names none that is supported here.
pub fn curve(attributes: &Attributes) -> Result<Curve> {
    Curve::from_parameters_der(required(attributes, AttributeType::EC_PARAMS)?)
        .map_err(|_| Error::CurveNotSupported)
}

/// The point of `CKA_EC_POINT`, without the DER OCTET STRING around it. Both forms are accepted (2.40 says DER, its
/// predecessors and many applications wrote raw bytes): a raw point of `raw_bytes` is told from DER by its length.
#[must_use]
pub fn bare_point<'b>(bytes: &'b [u8], raw_bytes: &[usize]) -> Option<&'b [u8]> {
    if raw_bytes.contains(&bytes.len()) {
        return Some(bytes);
    }
    let (inner, rest) = match bytes {
        [0x04, length @ 0..=0x7f, inner @ ..] => (inner, usize::from(*length)),
        [0x04, 0x81, length, inner @ ..] => (inner, usize::from(*length)),
        _ => return None,
    };
    (inner.len() == rest && raw_bytes.contains(&inner.len())).then_some(inner)
}

/// Lengths that a point of a curve may have: compressed and not.
fn point_lengths(curve: Curve) -> [usize; 2] {
    [1 + curve.field_bytes(), 1 + 2 * curve.field_bytes()]
}

/// The point inside `CKA_EC_POINT` or an ECDH parameter.
///
/// # Errors
/// [`crypto::Error::PointInvalid`](strongroom_crypto::Error) as our [`Error::AttributeValueInvalid`] when it has no such form.
pub fn point_of(curve: Curve, bytes: &[u8]) -> Result<&[u8]> {
    bare_point(bytes, &point_lengths(curve)).ok_or(Error::AttributeValueInvalid)
}

/// `CKA_PRIME`, `CKA_SUBPRIME` and `CKA_BASE`.
///
/// # Errors
/// What the primitive says when they do not fit each other; [`Error::TemplateIncomplete`].
pub fn dsa_parameters(attributes: &Attributes) -> Result<DsaParameters> {
    Ok(DsaParameters::new(
        required(attributes, AttributeType::PRIME)?,
        required(attributes, AttributeType::SUBPRIME)?,
        required(attributes, AttributeType::BASE)?,
    )?)
}

/// `CKA_PRIME` and `CKA_BASE`.
///
/// # Errors
/// As [`dsa_parameters`].
pub fn dh_parameters(attributes: &Attributes) -> Result<DhParameters> {
    Ok(DhParameters::new(
        required(attributes, AttributeType::PRIME)?,
        required(attributes, AttributeType::BASE)?,
    )?)
}

fn bytes_32(attributes: &Attributes) -> Result<[u8; 32]> {
    let bytes = required(attributes, AttributeType::EC_POINT)?;
    let bare = bare_point(bytes, &[32]).ok_or(Error::AttributeValueInvalid)?;
    bare.try_into().map_err(|_| Error::AttributeValueInvalid)
}

fn open_public(attributes: &Attributes, key_type: KeyType) -> Result<OpenKey> {
    Ok(match key_type {
        KeyType::RSA => OpenKey::RsaPublic(RsaPublicKey::from_components(
            required(attributes, AttributeType::MODULUS)?,
            required(attributes, AttributeType::PUBLIC_EXPONENT)?,
        )?),
        KeyType::DSA => OpenKey::DsaPublic(DsaPublicKey::from_value(
            &dsa_parameters(attributes)?,
            required(attributes, AttributeType::VALUE)?,
        )?),
        KeyType::DH => {
            let parameters = dh_parameters(attributes)?;
            let value = required(attributes, AttributeType::VALUE)?;
            if !parameters.holds(value)? {
                return Err(Error::AttributeValueInvalid);
            }
            OpenKey::DhPublic(parameters, value.into())
        }
        KeyType::EC => {
            let curve = curve(attributes)?;
            let point = point_of(curve, required(attributes, AttributeType::EC_POINT)?)?;
            OpenKey::EcPublic(EcPublicKey::from_point(curve, point)?)
        }
        KeyType::EC_EDWARDS => {
            OpenKey::Ed25519Public(Ed25519PublicKey::from_bytes(&bytes_32(attributes)?)?)
        }
        KeyType::EC_MONTGOMERY => OpenKey::X25519Public(bytes_32(attributes)?),
        _ => return Err(Error::AttributeValueInvalid),
    })
}

fn open_private(
    attributes: &Attributes,
    key_type: KeyType,
    material: &Material,
) -> Result<OpenKey> {
    material.with_all(|values| {
        let value = || {
            values
                .value(AttributeType::VALUE)
                .ok_or(Error::TemplateIncomplete)
        };
        let value_32 = || {
            let value = value()?;
            <&[u8; 32]>::try_from(value).map_err(|_| Error::AttributeValueInvalid)
        };
        Ok(match key_type {
            KeyType::RSA => OpenKey::RsaPrivate(RsaPrivateKey::from_components(
                required(attributes, AttributeType::MODULUS)?,
                attributes.bytes(AttributeType::PUBLIC_EXPONENT),
                values.value(AttributeType::PRIVATE_EXPONENT),
                crt(values),
            )?),
            KeyType::DSA => OpenKey::DsaPrivate(DsaPrivateKey::from_value(
                &dsa_parameters(attributes)?,
                value()?,
            )?),
            KeyType::DH => OpenKey::DhPrivate(DhPrivateKey::from_value(
                &dh_parameters(attributes)?,
                value()?,
            )?),
            KeyType::EC => {
                OpenKey::EcPrivate(EcPrivateKey::from_scalar(curve(attributes)?, value()?)?)
            }
            KeyType::EC_EDWARDS => {
                OpenKey::Ed25519Private(Ed25519PrivateKey::from_seed(value_32()?)?)
            }
            KeyType::EC_MONTGOMERY => {
                OpenKey::X25519Private(X25519PrivateKey::from_bytes(value_32()?)?)
            }
            _ => return Err(Error::AttributeValueInvalid),
        })
    })
}

fn crt<'v>(values: &super::material::Values<'v>) -> Option<Crt<'v>> {
    Some(Crt {
        prime_1: values.value(AttributeType::PRIME_1)?,
        prime_2: values.value(AttributeType::PRIME_2)?,
        exponent_1: values.value(AttributeType::EXPONENT_1),
        exponent_2: values.value(AttributeType::EXPONENT_2),
        coefficient: values.value(AttributeType::COEFFICIENT),
    })
}
