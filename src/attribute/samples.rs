//! *What lives here:* one good template of every shape of object, for tests. *What must never live here:* a test. *Who calls it:* the
//! tests of attributes and chapters.

use std::sync::OnceLock;

use strongroom_crypto::ec::{Curve, EcPrivateKey};
use strongroom_crypto::edwards::{Curve25519, Ed25519PrivateKey, X25519PrivateKey};
use strongroom_crypto::rsa::RsaPrivateKey;
use strongroom_wire::ck::{AttributeType as A, CertificateType, KeyType, ObjectClass};

use super::Value;
use super::table::{Form, Shape};
use crate::service::rig::{bytes, number, start, with};

pub(crate) const SHAPES: [Shape; 18] = [
    Shape::Data,
    Shape::X509Certificate,
    Shape::AttributeCertificate,
    Shape::WtlsCertificate,
    Shape::RsaPublic,
    Shape::CurvePublic,
    Shape::RsaPrivate,
    Shape::EcPrivate,
    Shape::EdwardsPrivate,
    Shape::MontgomeryPrivate,
    Shape::Secret,
    Shape::DsaParameters,
    Shape::DhParameters,
    Shape::DesSecret,
    Shape::DsaPublic,
    Shape::DhPublic,
    Shape::DsaPrivate,
    Shape::DhPrivate,
];

/// Those keys that C_GenerateKey and C_GenerateKeyPair make.
pub(crate) const GENERATED: [Shape; 12] = [
    Shape::RsaPublic,
    Shape::CurvePublic,
    Shape::RsaPrivate,
    Shape::EcPrivate,
    Shape::EdwardsPrivate,
    Shape::MontgomeryPrivate,
    Shape::Secret,
    Shape::DesSecret,
    Shape::DsaPublic,
    Shape::DhPublic,
    Shape::DsaPrivate,
    Shape::DhPrivate,
];

/// Class and type of a shape.
pub(crate) fn identity(shape: Shape) -> (ObjectClass, Option<KeyType>, Option<CertificateType>) {
    let key = |class, key_type| (class, Some(key_type), None);
    let certificate = |kind| (ObjectClass::CERTIFICATE, None, Some(kind));
    match shape {
        Shape::Data => (ObjectClass::DATA, None, None),
        Shape::X509Certificate => certificate(CertificateType::X_509),
        Shape::AttributeCertificate => certificate(CertificateType::X_509_ATTR_CERT),
        Shape::WtlsCertificate => certificate(CertificateType::WTLS),
        Shape::RsaPublic => key(ObjectClass::PUBLIC_KEY, KeyType::RSA),
        Shape::CurvePublic => key(ObjectClass::PUBLIC_KEY, KeyType::EC),
        Shape::RsaPrivate => key(ObjectClass::PRIVATE_KEY, KeyType::RSA),
        Shape::EcPrivate => key(ObjectClass::PRIVATE_KEY, KeyType::EC),
        Shape::EdwardsPrivate => key(ObjectClass::PRIVATE_KEY, KeyType::EC_EDWARDS),
        Shape::MontgomeryPrivate => key(ObjectClass::PRIVATE_KEY, KeyType::EC_MONTGOMERY),
        Shape::Secret => key(ObjectClass::SECRET_KEY, KeyType::AES),
        Shape::DesSecret => key(ObjectClass::SECRET_KEY, KeyType::DES3),
        Shape::DsaPublic => key(ObjectClass::PUBLIC_KEY, KeyType::DSA),
        Shape::DhPublic => key(ObjectClass::PUBLIC_KEY, KeyType::DH),
        Shape::DsaPrivate => key(ObjectClass::PRIVATE_KEY, KeyType::DSA),
        Shape::DhPrivate => key(ObjectClass::PRIVATE_KEY, KeyType::DH),
        Shape::DsaParameters => key(ObjectClass::DOMAIN_PARAMETERS, KeyType::DSA),
        Shape::DhParameters => key(ObjectClass::DOMAIN_PARAMETERS, KeyType::DH),
    }
}

/// Class and type as attributes.
pub(crate) fn class_and_type(shape: Shape) -> Vec<(A, Value)> {
    let (class, key_type, certificate) = identity(shape);
    let mut template = vec![number(A::CLASS, class.0)];
    template.extend(key_type.map(|kind| number(A::KEY_TYPE, kind.0)));
    template.extend(certificate.map(|kind| number(A::CERTIFICATE_TYPE, kind.0)));
    template
}

/// What C_CreateObject needs for a shape, and no more.
pub(crate) fn created(shape: Shape) -> Vec<(A, Value)> {
    start();
    let values = match shape {
        Shape::Data => vec![],
        Shape::X509Certificate | Shape::WtlsCertificate => {
            vec![
                bytes(A::SUBJECT, b"subject"),
                bytes(A::VALUE, b"a certificate"),
            ]
        }
        Shape::AttributeCertificate => {
            vec![bytes(A::OWNER, b"owner"), bytes(A::VALUE, b"a certificate")]
        }
        Shape::RsaPublic => rsa(&[A::MODULUS, A::PUBLIC_EXPONENT]),
        Shape::RsaPrivate => rsa(&RSA_PRIVATE),
        Shape::CurvePublic => curve_public(),
        Shape::EcPrivate => curve_private(),
        Shape::EdwardsPrivate => vec![
            bytes(A::EC_PARAMS, Curve25519::Ed25519.oid_der()),
            bytes(A::VALUE, &seed_bytes()),
        ],
        Shape::MontgomeryPrivate => vec![
            bytes(A::EC_PARAMS, Curve25519::X25519.oid_der()),
            bytes(A::VALUE, &montgomery_bytes()),
        ],
        Shape::Secret => vec![bytes(A::VALUE, &[0x42; 32])],
        Shape::DesSecret => vec![bytes(A::VALUE, &[0x43; 24])],
        // Of the group of order q there is no number that everybody knows but the base.
        Shape::DsaPublic => with(
            &dsa_parameters(),
            &[bytes(A::VALUE, &hexadecimal::<128>(DSA_BASE))],
        ),
        Shape::DsaPrivate => with(&dsa_parameters(), &[bytes(A::VALUE, &[0x5a; 20])]),
        Shape::DhPublic => with(&dh_parameters(), &[bytes(A::VALUE, &[4])]),
        Shape::DhPrivate => with(&dh_parameters(), &[bytes(A::VALUE, &[0x5a; 28])]),
        Shape::DsaParameters => vec![
            bytes(A::PRIME, &[0xc5; 128]),
            bytes(A::SUBPRIME, &[0xb3; 20]),
            bytes(A::BASE, &[2]),
        ],
        Shape::DhParameters => vec![bytes(A::PRIME, &[0xc5; 128]), bytes(A::BASE, &[2])],
    };
    [class_and_type(shape), values].concat()
}

/// What the generation of a shape needs, without class and type.
pub(crate) fn generated(shape: Shape) -> Vec<(A, Value)> {
    match shape {
        Shape::RsaPublic => vec![number(A::MODULUS_BITS, 2048)],
        Shape::CurvePublic => vec![p256()],
        Shape::DsaPublic => dsa_parameters(),
        Shape::DhPublic => dh_parameters(),
        Shape::Secret => vec![number(A::VALUE_LEN, 32)],
        _ => vec![],
    }
}

/// Components of a private key in clear, as keytool stores them.
pub(crate) const RSA_PRIVATE: [A; 8] = [
    A::MODULUS,
    A::PUBLIC_EXPONENT,
    A::PRIVATE_EXPONENT,
    A::PRIME_1,
    A::PRIME_2,
    A::EXPONENT_1,
    A::EXPONENT_2,
    A::COEFFICIENT,
];

/// Components of one RSA key of 2048 bits.
pub(crate) fn rsa(wanted: &[A]) -> Vec<(A, Value)> {
    static KEY: OnceLock<Vec<(A, Value)>> = OnceLock::new();
    let all = KEY.get_or_init(|| {
        start();
        let key = RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let key = key.to_components().unwrap();
        let secret =
            |kind, value: &strongroom_keymem::SecretBytes| value.with(|value| bytes(kind, value));
        vec![
            bytes(A::MODULUS, &key.modulus),
            bytes(A::PUBLIC_EXPONENT, &key.public_exponent),
            secret(A::PRIVATE_EXPONENT, &key.private_exponent),
            secret(A::PRIME_1, &key.prime_1),
            secret(A::PRIME_2, &key.prime_2),
            secret(A::EXPONENT_1, &key.exponent_1),
            secret(A::EXPONENT_2, &key.exponent_2),
            secret(A::COEFFICIENT, &key.coefficient),
        ]
    });
    let chosen = all.iter().filter(|(kind, _)| wanted.contains(kind));
    chosen.cloned().collect()
}

/// `CKA_EC_PARAMS` of P-256.
pub(crate) fn p256() -> (A, Value) {
    bytes(A::EC_PARAMS, Curve::P256.oid_der())
}

fn ec_key() -> &'static (Vec<u8>, Vec<u8>) {
    static KEY: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    KEY.get_or_init(|| {
        start();
        let key = EcPrivateKey::generate(Curve::P256).unwrap();
        let point = key.point().to_vec();
        (key.scalar().unwrap().with(<[u8]>::to_vec), point.to_vec())
    })
}

/// The point of the private key of [`curve_private`], bare.
pub(crate) fn point() -> Vec<u8> {
    ec_key().1.clone()
}

/// The same point in its DER OCTET STRING.
pub(crate) fn point_der() -> Vec<u8> {
    [&[0x04, 65][..], &point()].concat()
}

fn curve_public() -> Vec<(A, Value)> {
    vec![p256(), bytes(A::EC_POINT, &point_der())]
}

fn curve_private() -> Vec<(A, Value)> {
    vec![p256(), bytes(A::VALUE, &ec_key().0)]
}

fn seed_bytes() -> Vec<u8> {
    let key = Ed25519PrivateKey::generate().unwrap();
    key.seed().unwrap().with(<[u8]>::to_vec)
}

fn montgomery_bytes() -> Vec<u8> {
    let key = X25519PrivateKey::generate().unwrap();
    key.bytes().unwrap().with(<[u8]>::to_vec)
}

/// Domain parameters of DSA with a p of 1024 bits, made by OpenSSL.
pub(crate) fn dsa_parameters() -> Vec<(A, Value)> {
    vec![
        bytes(A::PRIME, &hexadecimal::<128>(DSA_PRIME)),
        bytes(A::SUBPRIME, &hexadecimal::<20>(DSA_SUBPRIME)),
        bytes(A::BASE, &hexadecimal::<128>(DSA_BASE)),
    ]
}

const DSA_PRIME: &str = "aa92384b15cfbdfaffdd5295a2510dd2a6a8a6f8a2a807f2228f940b458f498403c684b85888d28cc0380e28ee44e1043192f9de16b46b79f38ee010795315e5a68eadee7107ca69b2efbfa3edd62642266cedef2033028b2c3573138795ed33fae14531042ff73e9f3bb58439052dcb4f674d0c3292b53bdee48788dbc4d099";
const DSA_SUBPRIME: &str = "c79007443bdd61658157d75e196599c309dfbebb";
const DSA_BASE: &str = "21e4b0e1d4d7c5b9fe5c93cb3cdf44cd9d9ef2b730b56d74b0e5073103b6ff8782b95aa9b547f2b0d76cb85e89e2135d3c426916ff22bcf2ffa6bb248f7bc548dccbfd23b0f44dd9754cfeaed18983652f47de2ed0dde9266e0c74e2d132e43ea154b0f281108dd7f7a0612eafad76d3e5a823c6c14ce91505ff7fa27e95e9ae";

fn hexadecimal<const N: usize>(digits: &str) -> [u8; N] {
    strongroom_crypto::hex::parsed(digits.as_bytes()).unwrap()
}

/// The group of RFC 3526 with 2048 bits.
pub(crate) fn dh_parameters() -> Vec<(A, Value)> {
    start();
    let group = strongroom_crypto::dh::DhParameters::generate(2048).unwrap();
    vec![bytes(A::PRIME, group.prime()), bytes(A::BASE, group.base())]
}

/// Some value of a form, other than what any preset or template here has; a flag is false.
pub(crate) fn some(form: Form) -> Value {
    match form {
        Form::Flag => Value::Flag(false),
        Form::Number => Value::Number(7),
        Form::Bytes | Form::BigInteger => Value::Bytes((*b"other").into()),
        Form::Date => Value::Bytes((*b"20301231").into()),
        Form::Template => Value::Template([number(A::VALUE_LEN, 16)].into()),
        Form::Numbers => Value::Numbers([1, 2].into()),
    }
}
