//! The table of attributes: one row each, from which every rule about them is read.
//!
//! What lives here: rows (PKCS#11 3.2, 4, the tables of attributes with their common footnotes).
//! What must never live here: code that knows one attribute by name.
//! Who calls it: templates, drafts, reveal, the documents made from it.

mod lookup;

use strongroom_wire::ck::{AttributeType, CertificateType, KeyType, ObjectClass};

pub use lookup::{form, presets, row, rows};

/// One attribute of some kinds of object.
#[derive(Debug)]
pub struct Row {
    /// Its number.
    pub kind: AttributeType,
    /// What its bytes are.
    pub form: Form,
    /// Which shapes of object have it.
    pub shapes: u32,
    /// The footnotes.
    pub rules: u32,
    /// What it is when nobody says.
    pub preset: Preset,
}

/// What the bytes of an attribute are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `CK_BBOOL`.
    Flag,
    /// `CK_ULONG`.
    Number,
    /// Any bytes, text included.
    Bytes,
    /// Big-endian without leading zeros.
    BigInteger,
    /// `CK_DATE`: 8 digits, or nothing.
    Date,
    /// An array of attributes.
    Template,
    /// An array of `CK_ULONG`.
    Numbers,
}

/// What an attribute is when nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// It is not there, or is computed.
    Absent,
    /// `CK_FALSE`.
    False,
    /// `CK_TRUE`.
    True,
    /// No bytes.
    Empty,
    /// A number.
    Number(u64),
}

/// The shape of an object: its class and, where it matters, its type. One bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the classes and types")]
#[repr(u32)]
pub enum Shape {
    Data = 1,
    X509Certificate = 1 << 1,
    AttributeCertificate = 1 << 2,
    WtlsCertificate = 1 << 3,
    RsaPublic = 1 << 4,
    CurvePublic = 1 << 5,
    RsaPrivate = 1 << 6,
    EcPrivate = 1 << 7,
    EdwardsPrivate = 1 << 8,
    MontgomeryPrivate = 1 << 9,
    Secret = 1 << 10,
    DsaParameters = 1 << 11,
    DhParameters = 1 << 12,
    DesSecret = 1 << 13,
    DsaPublic = 1 << 14,
    DhPublic = 1 << 15,
    DsaPrivate = 1 << 16,
    DhPrivate = 1 << 17,
}

impl Shape {
    /// The shape of a class and type; none when it is not supported.
    #[must_use]
    pub fn of(
        class: ObjectClass,
        key_type: Option<KeyType>,
        certificate: Option<CertificateType>,
    ) -> Option<Self> {
        Some(match (class, key_type, certificate) {
            (ObjectClass::DATA, ..) => Self::Data,
            (ObjectClass::CERTIFICATE, _, Some(CertificateType::X_509)) => Self::X509Certificate,
            (ObjectClass::CERTIFICATE, _, Some(CertificateType::X_509_ATTR_CERT)) => {
                Self::AttributeCertificate
            }
            (ObjectClass::CERTIFICATE, _, Some(CertificateType::WTLS)) => Self::WtlsCertificate,
            (ObjectClass::PUBLIC_KEY, Some(KeyType::RSA), _) => Self::RsaPublic,
            (
                ObjectClass::PUBLIC_KEY,
                Some(KeyType::EC | KeyType::EC_EDWARDS | KeyType::EC_MONTGOMERY),
                _,
            ) => Self::CurvePublic,
            (ObjectClass::PUBLIC_KEY, Some(KeyType::DSA), _) => Self::DsaPublic,
            (ObjectClass::PUBLIC_KEY, Some(KeyType::DH), _) => Self::DhPublic,
            (ObjectClass::PRIVATE_KEY, Some(KeyType::RSA), _) => Self::RsaPrivate,
            (ObjectClass::PRIVATE_KEY, Some(KeyType::DSA), _) => Self::DsaPrivate,
            (ObjectClass::PRIVATE_KEY, Some(KeyType::DH), _) => Self::DhPrivate,
            (ObjectClass::PRIVATE_KEY, Some(KeyType::EC), _) => Self::EcPrivate,
            (ObjectClass::PRIVATE_KEY, Some(KeyType::EC_EDWARDS), _) => Self::EdwardsPrivate,
            (ObjectClass::PRIVATE_KEY, Some(KeyType::EC_MONTGOMERY), _) => Self::MontgomeryPrivate,
            (ObjectClass::SECRET_KEY, Some(key_type), _) if des_bytes(key_type).is_some() => {
                Self::DesSecret
            }
            (ObjectClass::SECRET_KEY, Some(key_type), _) if is_secret_type(key_type) => {
                Self::Secret
            }
            (ObjectClass::DOMAIN_PARAMETERS, Some(KeyType::DSA), _) => Self::DsaParameters,
            (ObjectClass::DOMAIN_PARAMETERS, Some(KeyType::DH), _) => Self::DhParameters,
            _ => return None,
        })
    }

    /// Its bit.
    #[must_use]
    pub const fn bit(self) -> u32 {
        self as u32
    }

    /// Whether it is a private or secret key.
    #[must_use]
    pub const fn is_secret_holder(self) -> bool {
        self.bit() & (PRIVATE | SECRET) != 0
    }
}

/// How many bytes a key of a type of DES has; none of other types.
#[must_use]
pub const fn des_bytes(key_type: KeyType) -> Option<usize> {
    match key_type {
        KeyType::DES => Some(8),
        KeyType::DES2 => Some(16),
        KeyType::DES3 => Some(24),
        _ => None,
    }
}

/// Types of secret key that are stored and used, and that vary in length.
#[must_use]
pub fn is_secret_type(key_type: KeyType) -> bool {
    const TYPES: &[KeyType] = &[
        KeyType::AES,
        KeyType::GENERIC_SECRET,
        KeyType::MD5_HMAC,
        KeyType::SHA_1_HMAC,
        KeyType::SHA224_HMAC,
        KeyType::SHA256_HMAC,
        KeyType::SHA384_HMAC,
        KeyType::SHA512_HMAC,
        KeyType::SHA512_224_HMAC,
        KeyType::SHA512_256_HMAC,
        KeyType::SHA3_224_HMAC,
        KeyType::SHA3_256_HMAC,
        KeyType::SHA3_384_HMAC,
        KeyType::SHA3_512_HMAC,
    ];
    TYPES.contains(&key_type)
}

const DATA: u32 = Shape::Data as u32;
const X509: u32 = Shape::X509Certificate as u32;
const ATTRIBUTE_CERTIFICATE: u32 = Shape::AttributeCertificate as u32;
const WTLS: u32 = Shape::WtlsCertificate as u32;
const CERTIFICATE: u32 = X509 | ATTRIBUTE_CERTIFICATE | WTLS;
const RSA_PUBLIC: u32 = Shape::RsaPublic as u32;
const CURVE_PUBLIC: u32 = Shape::CurvePublic as u32;
const DSA_PUBLIC: u32 = Shape::DsaPublic as u32;
const DH_PUBLIC: u32 = Shape::DhPublic as u32;
/// Those that encrypt nothing.
const OTHER_PUBLIC: u32 = CURVE_PUBLIC | DSA_PUBLIC | DH_PUBLIC;
const PUBLIC: u32 = RSA_PUBLIC | OTHER_PUBLIC;
const RSA_PRIVATE: u32 = Shape::RsaPrivate as u32;
const EC_PRIVATE: u32 = Shape::EcPrivate as u32;
const EDWARDS_PRIVATE: u32 = Shape::EdwardsPrivate as u32;
const MONTGOMERY_PRIVATE: u32 = Shape::MontgomeryPrivate as u32;
const CURVE_PRIVATE: u32 = EC_PRIVATE | EDWARDS_PRIVATE | MONTGOMERY_PRIVATE;
const DSA_PRIVATE: u32 = Shape::DsaPrivate as u32;
const DH_PRIVATE: u32 = Shape::DhPrivate as u32;
/// Those that decrypt nothing.
const OTHER_PRIVATE: u32 = CURVE_PRIVATE | DSA_PRIVATE | DH_PRIVATE;
const PRIVATE: u32 = RSA_PRIVATE | OTHER_PRIVATE;
/// Those whose length is said by the template.
const LONG_SECRET: u32 = Shape::Secret as u32;
const SECRET: u32 = LONG_SECRET | Shape::DesSecret as u32;
const KEY: u32 = PUBLIC | PRIVATE | SECRET;
const DSA_PARAMETERS: u32 = Shape::DsaParameters as u32;
const DH_PARAMETERS: u32 = Shape::DhParameters as u32;
const DOMAIN: u32 = DSA_PARAMETERS | DH_PARAMETERS;
const ALL: u32 = DATA | CERTIFICATE | KEY | DOMAIN;

/// Footnote 1: must be specified when the object is created.
pub const CREATE_NEEDS: u32 = 1;
/// Footnote 2: must not be specified when the object is created.
pub const CREATE_REFUSES: u32 = 1 << 1;
/// Footnote 3: must be specified when the object is generated.
pub const GENERATE_NEEDS: u32 = 1 << 2;
/// Footnote 4: must not be specified when the object is generated.
pub const GENERATE_REFUSES: u32 = 1 << 3;
/// Footnote 5: must be specified when the object is unwrapped. Nothing here needs it: class and type may follow from the mechanism.
pub const UNWRAP_REFUSES: u32 = 1 << 4;
/// Footnote 7: not revealed when the key is sensitive or not extractable. Its value is material.
pub const GUARDED: u32 = 1 << 5;
/// Footnote 8: may be changed after the object is made.
pub const CHANGEABLE: u32 = 1 << 6;
/// May be changed while the object is copied (4.1.4 of 2.40; PKCS#11 3.2, 4.4).
pub const COPY_CHANGES: u32 = 1 << 7;
/// Footnote 10: set to true by the security officer only.
pub const OFFICER_SETS: u32 = 1 << 8;
/// Footnote 11: once true, true for ever.
pub const STAYS_TRUE: u32 = 1 << 9;
/// Footnote 12: once false, false for ever.
pub const STAYS_FALSE: u32 = 1 << 10;
/// Its value is material although it is no guarded secret: the content of data objects.
pub const MATERIAL: u32 = 1 << 11;
/// Computed by the token; if it is given, it must be what is computed.
pub const COMPUTED: u32 = 1 << 12;

/// Computed by the token and refused in every template.
const TOKEN_SAYS: u32 = CREATE_REFUSES | GENERATE_REFUSES | UNWRAP_REFUSES;
/// A component of a private key.
const COMPONENT: u32 = GENERATE_REFUSES | UNWRAP_REFUSES | GUARDED;

use AttributeType as A;
use Form::{BigInteger, Bytes, Date, Flag, Number, Numbers, Template};
use Preset::{Absent, Empty, False, True};

const fn attribute(kind: A, form: Form, shapes: u32, rules: u32, preset: Preset) -> Row {
    Row {
        kind,
        form,
        shapes,
        rules,
        preset,
    }
}

/// The table. An attribute stands in more than one row where its footnotes differ by shape; no two of its rows share a shape.
pub static TABLE: &[Row] = &[
    attribute(A::CLASS, Number, ALL, CREATE_NEEDS, Absent),
    // 4.4 Storage objects.
    attribute(A::TOKEN, Flag, ALL, COPY_CHANGES, False),
    attribute(
        A::PRIVATE,
        Flag,
        ALL & !(PRIVATE | SECRET),
        COPY_CHANGES,
        False,
    ),
    attribute(A::PRIVATE, Flag, PRIVATE | SECRET, COPY_CHANGES, True),
    attribute(A::MODIFIABLE, Flag, ALL, COPY_CHANGES | STAYS_FALSE, True),
    attribute(A::LABEL, Bytes, ALL, CHANGEABLE, Empty),
    attribute(A::COPYABLE, Flag, ALL, CHANGEABLE | STAYS_FALSE, True),
    attribute(A::DESTROYABLE, Flag, ALL, CHANGEABLE | STAYS_FALSE, True),
    attribute(A::UNIQUE_ID, Bytes, ALL, TOKEN_SAYS, Absent),
    // 4.5 Data objects.
    attribute(A::APPLICATION, Bytes, DATA, CHANGEABLE, Empty),
    attribute(A::OBJECT_ID, Bytes, DATA, CHANGEABLE, Empty),
    attribute(A::VALUE, Bytes, DATA, CHANGEABLE | MATERIAL, Empty),
    // 4.6 Certificates.
    attribute(
        A::CERTIFICATE_TYPE,
        Number,
        CERTIFICATE,
        CREATE_NEEDS,
        Absent,
    ),
    attribute(
        A::TRUSTED,
        Flag,
        CERTIFICATE,
        CHANGEABLE | OFFICER_SETS,
        False,
    ),
    attribute(
        A::CERTIFICATE_CATEGORY,
        Number,
        CERTIFICATE,
        CHANGEABLE,
        Preset::Number(0),
    ),
    attribute(A::CHECK_VALUE, Bytes, CERTIFICATE, COMPUTED, Absent),
    attribute(A::START_DATE, Date, CERTIFICATE, CHANGEABLE, Empty),
    attribute(A::END_DATE, Date, CERTIFICATE, CHANGEABLE, Empty),
    attribute(A::PUBLIC_KEY_INFO, Bytes, CERTIFICATE, 0, Empty),
    attribute(A::SUBJECT, Bytes, X509 | WTLS, CREATE_NEEDS, Absent),
    attribute(A::OWNER, Bytes, ATTRIBUTE_CERTIFICATE, CREATE_NEEDS, Absent),
    attribute(
        A::AC_ISSUER,
        Bytes,
        ATTRIBUTE_CERTIFICATE,
        CHANGEABLE,
        Empty,
    ),
    attribute(
        A::ATTR_TYPES,
        Bytes,
        ATTRIBUTE_CERTIFICATE,
        CHANGEABLE,
        Empty,
    ),
    attribute(A::ID, Bytes, X509, CHANGEABLE, Empty),
    attribute(A::ISSUER, Bytes, X509 | WTLS, CHANGEABLE, Empty),
    attribute(
        A::SERIAL_NUMBER,
        Bytes,
        X509 | ATTRIBUTE_CERTIFICATE,
        CHANGEABLE,
        Empty,
    ),
    attribute(A::VALUE, Bytes, X509 | WTLS, 0, Empty),
    attribute(A::VALUE, Bytes, ATTRIBUTE_CERTIFICATE, CREATE_NEEDS, Absent),
    attribute(A::URL, Bytes, X509 | WTLS, 0, Empty),
    attribute(A::HASH_OF_SUBJECT_PUBLIC_KEY, Bytes, X509 | WTLS, 0, Empty),
    attribute(A::HASH_OF_ISSUER_PUBLIC_KEY, Bytes, X509 | WTLS, 0, Empty),
    attribute(
        A::JAVA_MIDP_SECURITY_DOMAIN,
        Number,
        X509,
        0,
        Preset::Number(0),
    ),
    attribute(A::NAME_HASH_ALGORITHM, Number, X509 | WTLS, 0, Absent),
    // 4.7 Keys.
    attribute(A::KEY_TYPE, Number, KEY, CREATE_NEEDS, Absent),
    attribute(A::ID, Bytes, KEY, CHANGEABLE, Empty),
    attribute(A::START_DATE, Date, KEY, CHANGEABLE, Empty),
    attribute(A::END_DATE, Date, KEY, CHANGEABLE, Empty),
    attribute(A::DERIVE, Flag, KEY, CHANGEABLE, False),
    attribute(A::LOCAL, Flag, KEY, TOKEN_SAYS, Absent),
    attribute(A::KEY_GEN_MECHANISM, Number, KEY, TOKEN_SAYS, Absent),
    attribute(A::ALLOWED_MECHANISMS, Numbers, KEY, 0, Absent),
    // 4.8 Public keys. What nobody forbids is allowed, as the tools of the field expect of a new key.
    attribute(A::SUBJECT, Bytes, PUBLIC, CHANGEABLE, Empty),
    attribute(A::ENCRYPT, Flag, RSA_PUBLIC, CHANGEABLE, True),
    attribute(A::ENCRYPT, Flag, OTHER_PUBLIC, CHANGEABLE, False),
    attribute(A::VERIFY, Flag, PUBLIC, CHANGEABLE, True),
    attribute(A::VERIFY_RECOVER, Flag, RSA_PUBLIC, CHANGEABLE, True),
    attribute(A::VERIFY_RECOVER, Flag, OTHER_PUBLIC, CHANGEABLE, False),
    attribute(A::WRAP, Flag, RSA_PUBLIC, CHANGEABLE, True),
    attribute(A::WRAP, Flag, OTHER_PUBLIC, CHANGEABLE, False),
    attribute(A::ENCAPSULATE, Flag, PUBLIC, CHANGEABLE, False),
    attribute(
        A::TRUSTED,
        Flag,
        PUBLIC | SECRET,
        CHANGEABLE | OFFICER_SETS,
        False,
    ),
    attribute(A::WRAP_TEMPLATE, Template, PUBLIC | SECRET, 0, Absent),
    attribute(
        A::PUBLIC_KEY_INFO,
        Bytes,
        PUBLIC | PRIVATE,
        COMPUTED,
        Absent,
    ),
    // 4.9 Private keys.
    attribute(A::SUBJECT, Bytes, PRIVATE, CHANGEABLE, Empty),
    attribute(
        A::SENSITIVE,
        Flag,
        PRIVATE | SECRET,
        CHANGEABLE | STAYS_TRUE,
        True,
    ),
    attribute(A::DECRYPT, Flag, RSA_PRIVATE | SECRET, CHANGEABLE, True),
    attribute(A::DECRYPT, Flag, OTHER_PRIVATE, CHANGEABLE, False),
    attribute(A::SIGN, Flag, PRIVATE | SECRET, CHANGEABLE, True),
    attribute(A::SIGN_RECOVER, Flag, RSA_PRIVATE, CHANGEABLE, True),
    attribute(A::SIGN_RECOVER, Flag, OTHER_PRIVATE, CHANGEABLE, False),
    attribute(A::UNWRAP, Flag, RSA_PRIVATE | SECRET, CHANGEABLE, True),
    attribute(A::UNWRAP, Flag, OTHER_PRIVATE, CHANGEABLE, False),
    attribute(A::DECAPSULATE, Flag, PRIVATE, CHANGEABLE, False),
    attribute(
        A::EXTRACTABLE,
        Flag,
        PRIVATE | SECRET,
        CHANGEABLE | STAYS_FALSE,
        False,
    ),
    attribute(
        A::ALWAYS_SENSITIVE,
        Flag,
        PRIVATE | SECRET,
        TOKEN_SAYS,
        Absent,
    ),
    attribute(
        A::NEVER_EXTRACTABLE,
        Flag,
        PRIVATE | SECRET,
        TOKEN_SAYS,
        Absent,
    ),
    attribute(
        A::WRAP_WITH_TRUSTED,
        Flag,
        PRIVATE | SECRET,
        CHANGEABLE | STAYS_TRUE,
        False,
    ),
    // Ours (docs/release.md); what they ask of the others stands in `release::rules`.
    attribute(
        A::STRONGROOM_RELEASE_POLICY,
        Bytes,
        PRIVATE | SECRET,
        CHANGEABLE,
        Absent,
    ),
    attribute(
        A::STRONGROOM_RELEASE_POLICY_IMMUTABLE,
        Flag,
        PRIVATE | SECRET,
        CHANGEABLE | STAYS_TRUE,
        Absent,
    ),
    attribute(A::UNWRAP_TEMPLATE, Template, PRIVATE | SECRET, 0, Absent),
    attribute(A::DERIVE_TEMPLATE, Template, PRIVATE | SECRET, 0, Absent),
    attribute(A::ALWAYS_AUTHENTICATE, Flag, PRIVATE, 0, False),
    // 4.10 Secret keys.
    attribute(A::ENCRYPT, Flag, SECRET, CHANGEABLE, True),
    attribute(A::VERIFY, Flag, SECRET, CHANGEABLE, True),
    attribute(A::WRAP, Flag, SECRET, CHANGEABLE, True),
    attribute(A::CHECK_VALUE, Bytes, SECRET, COMPUTED, Absent),
    attribute(A::VALUE, Bytes, SECRET, CREATE_NEEDS | COMPONENT, Absent),
    // 6.x: needed by those generation mechanisms whose keys vary in length, and allowed where a length may be told.
    attribute(
        A::VALUE_LEN,
        Number,
        LONG_SECRET,
        CREATE_REFUSES | GENERATE_NEEDS,
        Absent,
    ),
    // 6.1 RSA.
    attribute(
        A::MODULUS,
        BigInteger,
        RSA_PUBLIC,
        CREATE_NEEDS | GENERATE_REFUSES,
        Absent,
    ),
    attribute(
        A::MODULUS_BITS,
        Number,
        RSA_PUBLIC,
        CREATE_REFUSES | GENERATE_NEEDS,
        Absent,
    ),
    attribute(
        A::PUBLIC_EXPONENT,
        BigInteger,
        RSA_PUBLIC,
        CREATE_NEEDS,
        Absent,
    ),
    attribute(
        A::MODULUS,
        BigInteger,
        RSA_PRIVATE,
        CREATE_NEEDS | GENERATE_REFUSES | UNWRAP_REFUSES,
        Absent,
    ),
    attribute(
        A::PUBLIC_EXPONENT,
        BigInteger,
        RSA_PRIVATE,
        GENERATE_REFUSES | UNWRAP_REFUSES,
        Absent,
    ),
    attribute(
        A::PRIVATE_EXPONENT,
        BigInteger,
        RSA_PRIVATE,
        CREATE_NEEDS | COMPONENT,
        Absent,
    ),
    attribute(A::PRIME_1, BigInteger, RSA_PRIVATE, COMPONENT, Absent),
    attribute(A::PRIME_2, BigInteger, RSA_PRIVATE, COMPONENT, Absent),
    attribute(A::EXPONENT_1, BigInteger, RSA_PRIVATE, COMPONENT, Absent),
    attribute(A::EXPONENT_2, BigInteger, RSA_PRIVATE, COMPONENT, Absent),
    attribute(A::COEFFICIENT, BigInteger, RSA_PRIVATE, COMPONENT, Absent),
    // 6.3 Elliptic curves.
    attribute(
        A::EC_PARAMS,
        Bytes,
        CURVE_PUBLIC,
        CREATE_NEEDS | GENERATE_NEEDS,
        Absent,
    ),
    attribute(
        A::EC_POINT,
        Bytes,
        CURVE_PUBLIC,
        CREATE_NEEDS | GENERATE_REFUSES,
        Absent,
    ),
    attribute(
        A::EC_PARAMS,
        Bytes,
        CURVE_PRIVATE,
        CREATE_NEEDS | GENERATE_REFUSES | UNWRAP_REFUSES,
        Absent,
    ),
    attribute(
        A::VALUE,
        BigInteger,
        EC_PRIVATE,
        CREATE_NEEDS | COMPONENT,
        Absent,
    ),
    attribute(
        A::VALUE,
        Bytes,
        EDWARDS_PRIVATE | MONTGOMERY_PRIVATE,
        CREATE_NEEDS | COMPONENT,
        Absent,
    ),
    // 6.2 DSA, 6.4 Diffie-Hellman.
    attribute(
        A::PRIME,
        BigInteger,
        DSA_PUBLIC | DH_PUBLIC,
        CREATE_NEEDS | GENERATE_NEEDS,
        Absent,
    ),
    attribute(
        A::SUBPRIME,
        BigInteger,
        DSA_PUBLIC,
        CREATE_NEEDS | GENERATE_NEEDS,
        Absent,
    ),
    attribute(
        A::BASE,
        BigInteger,
        DSA_PUBLIC | DH_PUBLIC,
        CREATE_NEEDS | GENERATE_NEEDS,
        Absent,
    ),
    attribute(
        A::VALUE,
        BigInteger,
        DSA_PUBLIC | DH_PUBLIC,
        CREATE_NEEDS | GENERATE_REFUSES,
        Absent,
    ),
    attribute(
        A::PRIME,
        BigInteger,
        DSA_PRIVATE | DH_PRIVATE,
        CREATE_NEEDS | GENERATE_REFUSES | UNWRAP_REFUSES,
        Absent,
    ),
    attribute(
        A::SUBPRIME,
        BigInteger,
        DSA_PRIVATE,
        CREATE_NEEDS | GENERATE_REFUSES | UNWRAP_REFUSES,
        Absent,
    ),
    attribute(
        A::BASE,
        BigInteger,
        DSA_PRIVATE | DH_PRIVATE,
        CREATE_NEEDS | GENERATE_REFUSES | UNWRAP_REFUSES,
        Absent,
    ),
    attribute(
        A::VALUE,
        BigInteger,
        DSA_PRIVATE | DH_PRIVATE,
        CREATE_NEEDS | COMPONENT,
        Absent,
    ),
    attribute(
        A::VALUE_BITS,
        Number,
        DH_PRIVATE,
        CREATE_REFUSES | UNWRAP_REFUSES,
        Absent,
    ),
    // 4.11 Domain parameters.
    attribute(A::KEY_TYPE, Number, DOMAIN, CREATE_NEEDS, Absent),
    attribute(A::LOCAL, Flag, DOMAIN, TOKEN_SAYS, Absent),
    attribute(
        A::PRIME,
        BigInteger,
        DOMAIN,
        CREATE_NEEDS | GENERATE_REFUSES,
        Absent,
    ),
    attribute(
        A::SUBPRIME,
        BigInteger,
        DSA_PARAMETERS,
        CREATE_NEEDS | GENERATE_REFUSES,
        Absent,
    ),
    attribute(
        A::BASE,
        BigInteger,
        DOMAIN,
        CREATE_NEEDS | GENERATE_REFUSES,
        Absent,
    ),
    attribute(
        A::PRIME_BITS,
        Number,
        DOMAIN,
        CREATE_REFUSES | GENERATE_NEEDS,
        Absent,
    ),
];

impl Row {
    /// Whether a footnote is there.
    #[must_use]
    pub const fn has(&self, rule: u32) -> bool {
        self.rules & rule != 0
    }

    /// Whether its value is kept as material.
    #[must_use]
    pub const fn is_material(&self) -> bool {
        self.has(GUARDED | MATERIAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_consistent() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(row.kind.name().is_some());
            for other in &TABLE[..index] {
                assert!(
                    other.kind != row.kind || other.shapes & row.shapes == 0,
                    "{} overlaps",
                    row.kind
                );
                if other.kind == row.kind {
                    let plain = |form| {
                        if form == Form::BigInteger {
                            Form::Bytes
                        } else {
                            form
                        }
                    };
                    assert_eq!(plain(other.form), plain(row.form), "{}", row.kind);
                }
            }
            assert!(
                !row.has(CREATE_NEEDS) || !row.has(CREATE_REFUSES),
                "{}",
                row.kind
            );
            assert!(
                !row.has(GENERATE_NEEDS) || !row.has(GENERATE_REFUSES),
                "{}",
                row.kind
            );
            let flag = matches!(row.preset, Preset::True | Preset::False);
            assert!(!flag || row.form == Form::Flag, "{}", row.kind);
        }
    }
}
