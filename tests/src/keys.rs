//! Keys that many tests need.
//!
//! What lives here: templates and one-line makers of keys.
//! What must never live here: assertions beyond "it was made".
//! Who calls it: the tests of all chapters.

use crate::judge::ec::Curve;
use crate::judge::rsa::RsaPrivate;
use crate::{Session, Template, template};
use cryptoki_sys::*;

/// Every usage an AES or generic secret key can have, and nothing protected.
pub fn open_secret(kind: CK_KEY_TYPE) -> Template {
    template! {
        CKA_CLASS => CKO_SECRET_KEY,
        CKA_KEY_TYPE => kind,
        CKA_TOKEN => false,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => false,
        CKA_EXTRACTABLE => true,
        CKA_ENCRYPT => true,
        CKA_DECRYPT => true,
        CKA_SIGN => true,
        CKA_VERIFY => true,
        CKA_WRAP => true,
        CKA_UNWRAP => true,
        CKA_DERIVE => true,
    }
}

/// A usual key: sensitive, not extractable, to encrypt and decrypt.
pub fn protected_aes() -> Template {
    template! {
        CKA_TOKEN => false,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => true,
        CKA_EXTRACTABLE => false,
        CKA_ENCRYPT => true,
        CKA_DECRYPT => true,
        CKA_VALUE_LEN => 32,
    }
}

/// The master key of a database: durable, private, never to be read, to encrypt and decrypt.
pub fn master_key(label: &str) -> Template {
    template! {
        CKA_CLASS => CKO_SECRET_KEY,
        CKA_KEY_TYPE => CKK_AES,
        CKA_VALUE_LEN => 32,
        CKA_TOKEN => true,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => true,
        CKA_EXTRACTABLE => false,
        CKA_ENCRYPT => true,
        CKA_DECRYPT => true,
        CKA_LABEL => label,
    }
}

/// Imports a secret key with every usage.
pub fn import_secret(session: &Session<'_>, kind: CK_KEY_TYPE, value: &[u8]) -> CK_OBJECT_HANDLE {
    session
        .create(&open_secret(kind).with(CKA_VALUE, value))
        .unwrap_or_else(|code| panic!("import of a secret key of {} bytes: {code:?}", value.len()))
}

/// Imports an AES key with every usage.
pub fn import_aes(session: &Session<'_>, value: &[u8]) -> CK_OBJECT_HANDLE {
    import_secret(session, CKK_AES, value)
}

/// Generates an RSA pair of session keys with every usage: public, private.
pub fn rsa_pair(session: &Session<'_>, bits: u64) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    session
        .generate_pair(
            CKM_RSA_PKCS_KEY_PAIR_GEN,
            &template! {
                CKA_TOKEN => false,
                CKA_PRIVATE => false,
                CKA_MODULUS_BITS => bits,
                CKA_PUBLIC_EXPONENT => &[1, 0, 1],
                CKA_ENCRYPT => true,
                CKA_VERIFY => true,
                CKA_VERIFY_RECOVER => true,
                CKA_WRAP => true,
            },
            &template! {
                CKA_TOKEN => false,
                CKA_PRIVATE => true,
                CKA_SENSITIVE => true,
                CKA_EXTRACTABLE => false,
                CKA_DECRYPT => true,
                CKA_SIGN => true,
                CKA_SIGN_RECOVER => true,
                CKA_UNWRAP => true,
            },
        )
        .unwrap_or_else(|code| panic!("an RSA pair of {bits} bits: {code:?}"))
}

/// Imports an RSA pair of session keys with every usage: public, private.
pub fn import_rsa(session: &Session<'_>, key: &RsaPrivate) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let public = key
        .public()
        .template()
        .with(CKA_ENCRYPT, true)
        .with(CKA_VERIFY, true)
        .with(CKA_VERIFY_RECOVER, true)
        .with(CKA_WRAP, true);
    let private = key
        .template()
        .with(CKA_DECRYPT, true)
        .with(CKA_SIGN, true)
        .with(CKA_SIGN_RECOVER, true)
        .with(CKA_UNWRAP, true)
        .with(CKA_SENSITIVE, false)
        .with(CKA_EXTRACTABLE, true);
    (
        session.create(&public).expect("import of a public RSA key"),
        session
            .create(&private)
            .expect("import of a private RSA key"),
    )
}

/// Generates a pair on a curve with every usage: public, private.
pub fn ec_pair(session: &Session<'_>, curve: Curve) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    session
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &template! {
                CKA_TOKEN => false,
                CKA_PRIVATE => false,
                CKA_EC_PARAMS => curve.parameters(),
                CKA_VERIFY => true,
            },
            &template! {
                CKA_TOKEN => false,
                CKA_PRIVATE => true,
                CKA_SENSITIVE => true,
                CKA_EXTRACTABLE => false,
                CKA_SIGN => true,
                CKA_DERIVE => true,
            },
        )
        .unwrap_or_else(|code| panic!("a pair on {curve:?}: {code:?}"))
}

/// The template of a public EC key, to verify.
pub fn ec_public(curve: Curve, point: &[u8]) -> Template {
    template! {
        CKA_CLASS => CKO_PUBLIC_KEY,
        CKA_KEY_TYPE => CKK_EC,
        CKA_TOKEN => false,
        CKA_PRIVATE => false,
        CKA_VERIFY => true,
        CKA_EC_PARAMS => curve.parameters(),
        CKA_EC_POINT => Curve::wrapped_point(point),
    }
}

/// The template of a private EC key, to sign and derive.
pub fn ec_private(curve: Curve, scalar: &[u8]) -> Template {
    template! {
        CKA_CLASS => CKO_PRIVATE_KEY,
        CKA_KEY_TYPE => CKK_EC,
        CKA_TOKEN => false,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => false,
        CKA_EXTRACTABLE => true,
        CKA_SIGN => true,
        CKA_DERIVE => true,
        CKA_EC_PARAMS => curve.parameters(),
        CKA_VALUE => scalar,
    }
}

/// A data object.
pub fn data(label: &str) -> Template {
    template! {
        CKA_CLASS => CKO_DATA,
        CKA_TOKEN => false,
        CKA_PRIVATE => false,
        CKA_LABEL => label,
        CKA_VALUE => "value",
    }
}

/// What a derived or unwrapped secret must be, to be read.
pub fn readable_secret(kind: CK_KEY_TYPE) -> Template {
    template! {
        CKA_CLASS => CKO_SECRET_KEY,
        CKA_KEY_TYPE => kind,
        CKA_TOKEN => false,
        CKA_PRIVATE => true,
        CKA_SENSITIVE => false,
        CKA_EXTRACTABLE => true,
    }
}
