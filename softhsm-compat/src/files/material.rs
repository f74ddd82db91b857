//! Keys by their values, and the objects that they become.
//!
//! What lives here: the values of a private, public or secret key, whatever file or module they came from, and their attributes.
//! What must never live here: a format.
//! Who calls it: every format.

use std::borrow::Cow;

use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::dsa::{DsaParameters, DsaPrivateKey};
use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::edwards::{Ed25519PrivateKey, X25519PrivateKey};
use strongroom_wire::ck::{AttributeType as A, KeyType, ObjectClass};

use super::ber;
use super::error::FileError;
use crate::opened::Opened;

/// The values of a private key. Numbers are big-endian.
pub enum PrivateKey<'a> {
    /// RSA. What is not known is empty.
    Rsa(RsaPrivate<'a>),
    /// A curve of the kind of Weierstrass.
    Ec {
        /// DER of the curve's name.
        parameters: &'a [u8],
        /// The number.
        scalar: &'a [u8],
        /// The point that belongs to it, uncompressed, if it was told.
        point: Option<&'a [u8]>,
    },
    /// Ed25519, X25519 and their kin.
    Edwards {
        /// `CKK_EC_EDWARDS` or `CKK_EC_MONTGOMERY`.
        kind: KeyType,
        /// DER of the curve's name.
        parameters: &'a [u8],
        /// The bytes.
        value: &'a [u8],
    },
    /// DSA.
    Dsa {
        /// p.
        prime: &'a [u8],
        /// q.
        subprime: &'a [u8],
        /// g.
        base: &'a [u8],
        /// x.
        value: &'a [u8],
        /// y, if it was told.
        public: Option<&'a [u8]>,
    },
    /// Diffie-Hellman as in PKCS #3.
    Dh {
        /// p.
        prime: &'a [u8],
        /// g.
        base: &'a [u8],
        /// x.
        value: &'a [u8],
    },
}

/// The values of a private RSA key.
#[derive(Clone, Copy, Default)]
pub struct RsaPrivate<'a> {
    /// n.
    pub modulus: &'a [u8],
    /// e.
    pub public_exponent: &'a [u8],
    /// d.
    pub private_exponent: &'a [u8],
    /// p.
    pub prime_1: &'a [u8],
    /// q.
    pub prime_2: &'a [u8],
    /// d mod (p - 1).
    pub exponent_1: &'a [u8],
    /// d mod (q - 1).
    pub exponent_2: &'a [u8],
    /// 1/q mod p.
    pub coefficient: &'a [u8],
}

/// The values of a public key.
pub enum PublicKey<'a> {
    /// RSA.
    Rsa {
        /// n.
        modulus: &'a [u8],
        /// e.
        public_exponent: &'a [u8],
    },
    /// Any curve.
    Curve {
        /// Its type.
        kind: KeyType,
        /// DER of the curve's name.
        parameters: &'a [u8],
        /// The point, or the bytes of Ed25519 and its kin.
        point: Cow<'a, [u8]>,
    },
    /// DSA.
    Dsa {
        /// p.
        prime: &'a [u8],
        /// q.
        subprime: &'a [u8],
        /// g.
        base: &'a [u8],
        /// y.
        value: Cow<'a, [u8]>,
    },
    /// Diffie-Hellman.
    Dh {
        /// p.
        prime: &'a [u8],
        /// g.
        base: &'a [u8],
        /// y.
        value: &'a [u8],
    },
}

/// What keys are told besides their values.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID`; without one it is the SHA-1 of the public key, so that key and certificate find each other.
    pub id: Option<Vec<u8>>,
    /// What the key may be used for; without it, whatever its type can do.
    pub usage: Option<Vec<A>>,
}

impl PrivateKey<'_> {
    /// Its type.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa(_) => KeyType::RSA,
            Self::Ec { .. } => KeyType::EC,
            Self::Edwards { kind, .. } => *kind,
            Self::Dsa { .. } => KeyType::DSA,
            Self::Dh { .. } => KeyType::DH,
        }
    }

    /// The public key that belongs to it; none when it was not told and cannot be computed here.
    #[must_use]
    pub fn public(&self) -> Option<PublicKey<'_>> {
        Some(match self {
            Self::Rsa(RsaPrivate {
                public_exponent: [],
                ..
            })
            | Self::Dh { .. } => return None,
            Self::Rsa(key) => PublicKey::Rsa {
                modulus: key.modulus,
                public_exponent: key.public_exponent,
            },
            Self::Ec {
                parameters,
                scalar,
                point,
            } => PublicKey::Curve {
                kind: KeyType::EC,
                parameters,
                point: match computed_point(parameters, scalar) {
                    Some(point) => Cow::Owned(point),
                    None => Cow::Borrowed((*point)?),
                },
            },
            Self::Edwards {
                kind,
                parameters,
                value,
            } => PublicKey::Curve {
                kind: *kind,
                parameters,
                point: Cow::Owned(computed_bytes(*kind, value)?),
            },
            Self::Dsa {
                prime,
                subprime,
                base,
                value,
                public,
            } => PublicKey::Dsa {
                prime,
                subprime,
                base,
                value: match public {
                    Some(public) => Cow::Borrowed(*public),
                    None => Cow::Owned(computed_power(prime, subprime, base, value)?),
                },
            },
        })
    }

    /// The object that it becomes.
    ///
    /// # Errors
    /// [`FileError::Resources`].
    pub fn object(&self, description: &Description, id: &[u8]) -> Result<Opened, FileError> {
        let mut object = begun(ObjectClass::PRIVATE_KEY, description)?;
        object.push_number(A::KEY_TYPE, self.key_type().0)?;
        object.push(A::ID, id)?;
        object.push_flag(A::PRIVATE, true)?;
        object.push_flag(A::SENSITIVE, true)?;
        object.push_flag(A::EXTRACTABLE, false)?;
        push_usage(self.key_type(), PRIVATE_USES, description, &mut object)?;
        self.push_values(&mut object)?;
        Ok(object)
    }

    /// Appends the values, public ones among them; what is empty is left out.
    ///
    /// # Errors
    /// [`FileError::Resources`].
    pub fn push_values(&self, object: &mut Opened) -> Result<(), FileError> {
        match self {
            Self::Rsa(key) => push_all(
                object,
                &[
                    (A::MODULUS, key.modulus),
                    (A::PUBLIC_EXPONENT, key.public_exponent),
                    (A::PRIVATE_EXPONENT, key.private_exponent),
                    (A::PRIME_1, key.prime_1),
                    (A::PRIME_2, key.prime_2),
                    (A::EXPONENT_1, key.exponent_1),
                    (A::EXPONENT_2, key.exponent_2),
                    (A::COEFFICIENT, key.coefficient),
                ],
            ),
            Self::Ec {
                parameters,
                scalar: value,
                ..
            }
            | Self::Edwards {
                parameters, value, ..
            } => push_all(object, &[(A::EC_PARAMS, parameters), (A::VALUE, value)]),
            Self::Dsa {
                prime,
                subprime,
                base,
                value,
                ..
            } => push_all(
                object,
                &[
                    (A::PRIME, prime),
                    (A::SUBPRIME, subprime),
                    (A::BASE, base),
                    (A::VALUE, value),
                ],
            ),
            Self::Dh { prime, base, value } => push_all(
                object,
                &[(A::PRIME, prime), (A::BASE, base), (A::VALUE, value)],
            ),
        }
    }
}

impl PublicKey<'_> {
    /// Its type.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa { .. } => KeyType::RSA,
            Self::Curve { kind, .. } => *kind,
            Self::Dsa { .. } => KeyType::DSA,
            Self::Dh { .. } => KeyType::DH,
        }
    }

    /// The SHA-1 of the bits of the key (RFC 5280, 4.2.1.2, method 1): what other tools take for an identifier too.
    ///
    /// # Errors
    /// [`FileError::Resources`].
    pub fn id(&self) -> Result<Vec<u8>, FileError> {
        let mut bits = Vec::new();
        match self {
            Self::Rsa {
                modulus,
                public_exponent,
            } => {
                let mut numbers = Vec::new();
                ber::write_integer(modulus, &mut numbers);
                ber::write_integer(public_exponent, &mut numbers);
                ber::write(ber::SEQUENCE, &[&numbers], &mut bits);
            }
            Self::Curve { point, .. } => bits.extend_from_slice(point),
            Self::Dsa { value, .. } => ber::write_integer(value, &mut bits),
            Self::Dh { value, .. } => ber::write_integer(value, &mut bits),
        }
        identifier(&bits)
    }

    /// The object that it becomes.
    ///
    /// # Errors
    /// [`FileError::Resources`].
    pub fn object(&self, description: &Description, id: &[u8]) -> Result<Opened, FileError> {
        let mut object = begun(ObjectClass::PUBLIC_KEY, description)?;
        object.push_number(A::KEY_TYPE, self.key_type().0)?;
        object.push(A::ID, id)?;
        object.push_flag(A::PRIVATE, false)?;
        push_usage(self.key_type(), PUBLIC_USES, description, &mut object)?;
        self.push_values(&mut object)?;
        Ok(object)
    }

    /// Appends the values.
    ///
    /// # Errors
    /// [`FileError::Resources`].
    pub fn push_values(&self, object: &mut Opened) -> Result<(), FileError> {
        match self {
            Self::Rsa {
                modulus,
                public_exponent,
            } => push_all(
                object,
                &[(A::MODULUS, modulus), (A::PUBLIC_EXPONENT, public_exponent)],
            ),
            Self::Curve {
                parameters, point, ..
            } => {
                // PKCS#11 3.2, 6.3.3: CKA_EC_POINT is the DER of an OCTET STRING.
                let mut wrapped = Vec::new();
                ber::write(ber::OCTET_STRING, &[point], &mut wrapped);
                push_all(
                    object,
                    &[(A::EC_PARAMS, parameters), (A::EC_POINT, &wrapped)],
                )
            }
            Self::Dsa {
                prime,
                subprime,
                base,
                value,
            } => push_all(
                object,
                &[
                    (A::PRIME, prime),
                    (A::SUBPRIME, subprime),
                    (A::BASE, base),
                    (A::VALUE, value),
                ],
            ),
            Self::Dh { prime, base, value } => push_all(
                object,
                &[(A::PRIME, prime), (A::BASE, base), (A::VALUE, value)],
            ),
        }
    }
}

/// The object that a secret key becomes.
///
/// # Errors
/// [`FileError::Resources`].
pub fn secret_key(
    kind: KeyType,
    value: &[u8],
    description: &Description,
) -> Result<Opened, FileError> {
    let mut object = begun(ObjectClass::SECRET_KEY, description)?;
    object.push_number(A::KEY_TYPE, kind.0)?;
    if let Some(id) = &description.id {
        object.push(A::ID, id)?;
    }
    object.push_flag(A::PRIVATE, true)?;
    object.push_flag(A::SENSITIVE, true)?;
    object.push_flag(A::EXTRACTABLE, false)?;
    push_usage(kind, SECRET_USES, description, &mut object)?;
    object.push(A::VALUE, value)?;
    Ok(object)
}

/// An object of the token, with its class and label.
///
/// # Errors
/// [`FileError::Resources`].
pub fn begun(class: ObjectClass, description: &Description) -> Result<Opened, FileError> {
    let mut object = Opened::default();
    object.push_number(A::CLASS, class.0)?;
    object.push_flag(A::TOKEN, true)?;
    object.push(A::LABEL, description.label.as_bytes())?;
    Ok(object)
}

/// The SHA-1 of the bits of a public key.
///
/// # Errors
/// [`FileError::Resources`].
pub fn identifier(bits: &[u8]) -> Result<Vec<u8>, FileError> {
    let digest = digest(Hash::Sha1, bits).map_err(|_| FileError::Resources)?;
    Ok(digest.as_ref().to_vec())
}

/// Says of every use whether it is allowed, so that nothing depends on what a token takes for granted.
fn push_usage(
    kind: KeyType,
    table: &[(KeyType, &[A])],
    description: &Description,
    object: &mut Opened,
) -> Result<(), FileError> {
    let able = table
        .iter()
        .find(|(one, _)| *one == kind || *one == ANY_TYPE)
        .map_or(&[][..], |(_, able)| able);
    for use_ in able {
        let allowed = description
            .usage
            .as_ref()
            .is_none_or(|usage| usage.contains(use_));
        object.push_flag(*use_, allowed)?;
    }
    Ok(())
}

fn push_all(object: &mut Opened, values: &[(A, &[u8])]) -> Result<(), FileError> {
    for (kind, value) in values {
        if !value.is_empty() {
            object.push(*kind, value)?;
        }
    }
    Ok(())
}

fn computed_point(parameters: &[u8], scalar: &[u8]) -> Option<Vec<u8>> {
    let curve = Curve::from_parameters_der(parameters).ok()?;
    let key = EcPrivateKey::from_scalar(curve, scalar).ok()?;
    Some(key.point().to_vec())
}

fn computed_power(prime: &[u8], subprime: &[u8], base: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let domain = DsaParameters::new(prime, subprime, base).ok()?;
    let key = DsaPrivateKey::from_value(&domain, value).ok()?;
    Some(key.public_value().ok()?.to_vec())
}

fn computed_bytes(kind: KeyType, value: &[u8]) -> Option<Vec<u8>> {
    let value = value.try_into().ok()?;
    if kind == KeyType::EC_EDWARDS {
        let key = Ed25519PrivateKey::from_seed(value).ok()?;
        return Some(key.public().bytes().to_vec());
    }
    let key = X25519PrivateKey::from_bytes(value).ok()?;
    Some(key.public_bytes().to_vec())
}

/// Stands for all types that are not named before it.
const ANY_TYPE: KeyType = KeyType(u64::MAX);

/// What a private key of a type can do.
const PRIVATE_USES: &[(KeyType, &[A])] = &[
    (
        KeyType::RSA,
        &[A::DECRYPT, A::SIGN, A::SIGN_RECOVER, A::UNWRAP],
    ),
    (KeyType::EC, &[A::SIGN, A::DERIVE]),
    (KeyType::EC_MONTGOMERY, &[A::DERIVE]),
    (KeyType::DH, &[A::DERIVE]),
    (ANY_TYPE, &[A::SIGN]),
];

/// What a public key of a type can do.
const PUBLIC_USES: &[(KeyType, &[A])] = &[
    (
        KeyType::RSA,
        &[A::ENCRYPT, A::VERIFY, A::VERIFY_RECOVER, A::WRAP],
    ),
    (KeyType::EC_MONTGOMERY, &[]),
    (KeyType::DH, &[]),
    (ANY_TYPE, &[A::VERIFY]),
];

/// What a secret key of a type can do.
const SECRET_USES: &[(KeyType, &[A])] = &[
    (
        KeyType::AES,
        &[
            A::ENCRYPT,
            A::DECRYPT,
            A::WRAP,
            A::UNWRAP,
            A::SIGN,
            A::VERIFY,
            A::DERIVE,
        ],
    ),
    (ANY_TYPE, &[A::SIGN, A::VERIFY, A::DERIVE]),
];
