//! Attributes, flags and states by name, and how an object's attributes are told.
//!
//! What lives here: the table of attributes with what their bytes are.
//! What must never live here: what an attribute ought to be.
//! Who calls it: the scenarios.

use cryptoki_sys::*;
use strongroom_tests::{Rv, Session};

use super::transcript::Transcript;

/// What the bytes of an attribute are.
#[derive(Clone, Copy)]
enum Form {
    /// `CK_BBOOL`.
    Flag,
    /// `CK_ULONG`.
    Number,
    /// Bytes.
    Bytes,
}

macro_rules! attributes {
    ($($form:ident: $($name:ident)*;)*) => {
        const ATTRIBUTES: &[(CK_ATTRIBUTE_TYPE, &str, Form)] = &[$($(($name, stringify!($name), Form::$form),)*)*];
    };
}

attributes! {
    Number: CKA_CLASS CKA_KEY_TYPE CKA_KEY_GEN_MECHANISM CKA_CERTIFICATE_TYPE CKA_CERTIFICATE_CATEGORY
        CKA_JAVA_MIDP_SECURITY_DOMAIN CKA_MODULUS_BITS CKA_VALUE_LEN CKA_PRIME_BITS CKA_VALUE_BITS;
    Flag: CKA_TOKEN CKA_PRIVATE CKA_MODIFIABLE CKA_COPYABLE CKA_DESTROYABLE CKA_TRUSTED CKA_SENSITIVE CKA_EXTRACTABLE
        CKA_ALWAYS_SENSITIVE CKA_NEVER_EXTRACTABLE CKA_LOCAL CKA_ENCRYPT CKA_DECRYPT CKA_SIGN CKA_SIGN_RECOVER
        CKA_VERIFY CKA_VERIFY_RECOVER CKA_WRAP CKA_UNWRAP CKA_DERIVE CKA_WRAP_WITH_TRUSTED CKA_ALWAYS_AUTHENTICATE;
    Bytes: CKA_LABEL CKA_ID CKA_APPLICATION CKA_OBJECT_ID CKA_VALUE CKA_SUBJECT CKA_ISSUER CKA_SERIAL_NUMBER CKA_URL
        CKA_HASH_OF_SUBJECT_PUBLIC_KEY CKA_HASH_OF_ISSUER_PUBLIC_KEY CKA_NAME_HASH_ALGORITHM CKA_OWNER CKA_AC_ISSUER CKA_ATTR_TYPES
        CKA_CHECK_VALUE CKA_START_DATE CKA_END_DATE CKA_PUBLIC_KEY_INFO CKA_UNIQUE_ID CKA_ALLOWED_MECHANISMS
        CKA_WRAP_TEMPLATE CKA_UNWRAP_TEMPLATE CKA_DERIVE_TEMPLATE CKA_MODULUS CKA_PUBLIC_EXPONENT CKA_PRIVATE_EXPONENT CKA_PRIME_1
        CKA_PRIME_2 CKA_EXPONENT_1 CKA_EXPONENT_2 CKA_COEFFICIENT CKA_PRIME CKA_SUBPRIME CKA_BASE CKA_EC_PARAMS CKA_EC_POINT;
}

/// The name of an attribute.
pub fn attribute(kind: CK_ATTRIBUTE_TYPE) -> &'static str {
    let row = ATTRIBUTES.iter().find(|(one, ..)| *one == kind);
    row.map_or("an attribute of no name", |(_, name, _)| name)
}

/// Flags by name, in the order of their bits; bits without a name in hexadecimal.
pub fn flags(bits: CK_FLAGS, names: &[(CK_FLAGS, &str)]) -> String {
    let mut left = bits;
    let mut words = Vec::new();
    for (bit, name) in names {
        if bits & bit != 0 {
            words.push((*name).to_owned());
            left &= !bit;
        }
    }
    if left != 0 {
        words.push(format!("{left:#x}"));
    }
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(" ")
    }
}

macro_rules! flag_names {
    ($name:ident: $($flag:ident)*) => {
        /// Names of flags.
        pub const $name: &[(CK_FLAGS, &str)] = &[$(($flag, stringify!($flag))),*];
    };
}

flag_names! { TOKEN_FLAGS:
    CKF_RNG CKF_WRITE_PROTECTED CKF_LOGIN_REQUIRED CKF_USER_PIN_INITIALIZED CKF_RESTORE_KEY_NOT_NEEDED CKF_CLOCK_ON_TOKEN
    CKF_PROTECTED_AUTHENTICATION_PATH CKF_DUAL_CRYPTO_OPERATIONS CKF_TOKEN_INITIALIZED CKF_USER_PIN_COUNT_LOW
    CKF_USER_PIN_FINAL_TRY CKF_USER_PIN_LOCKED CKF_USER_PIN_TO_BE_CHANGED CKF_SO_PIN_COUNT_LOW CKF_SO_PIN_FINAL_TRY
    CKF_SO_PIN_LOCKED CKF_SO_PIN_TO_BE_CHANGED
}
flag_names! { SLOT_FLAGS: CKF_TOKEN_PRESENT CKF_REMOVABLE_DEVICE CKF_HW_SLOT }
flag_names! { SESSION_FLAGS: CKF_RW_SESSION CKF_SERIAL_SESSION }
flag_names! { MECHANISM_FLAGS:
    CKF_HW CKF_ENCRYPT CKF_DECRYPT CKF_DIGEST CKF_SIGN CKF_SIGN_RECOVER CKF_VERIFY CKF_VERIFY_RECOVER CKF_GENERATE
    CKF_GENERATE_KEY_PAIR CKF_WRAP CKF_UNWRAP CKF_DERIVE CKF_EC_F_P CKF_EC_F_2M CKF_EC_ECPARAMETERS CKF_EC_NAMEDCURVE CKF_EC_UNCOMPRESS
    CKF_EC_COMPRESS CKF_EC_CURVENAME
}

/// A session's state by name.
pub fn state(session: &Session<'_>) -> Result<String, Rv> {
    let info = session.info()?;
    let name = match info.state {
        CKS_RO_PUBLIC_SESSION => "RO public",
        CKS_RO_USER_FUNCTIONS => "RO user",
        CKS_RW_PUBLIC_SESSION => "RW public",
        CKS_RW_USER_FUNCTIONS => "RW user",
        CKS_RW_SO_FUNCTIONS => "RW SO",
        other => return Ok(format!("state {other}")),
    };
    Ok(format!("{name}, {}", flags(info.flags, SESSION_FLAGS)))
}

/// One attribute as text: flags and numbers as they are, short bytes in hexadecimal, longer ones by their length.
pub fn told(
    session: &Session<'_>,
    object: CK_OBJECT_HANDLE,
    kind: CK_ATTRIBUTE_TYPE,
) -> Result<String, Rv> {
    let form = ATTRIBUTES
        .iter()
        .find(|(one, ..)| *one == kind)
        .map(|row| row.2);
    let bytes = session.attribute(object, kind)?;
    Ok(match (form, bytes.as_slice()) {
        (_, []) => "empty".to_owned(),
        (Some(Form::Flag), [CK_FALSE]) => "FALSE".to_owned(),
        (Some(Form::Flag), [CK_TRUE]) => "TRUE".to_owned(),
        (Some(Form::Number), bytes) if bytes.len() == size_of::<CK_ULONG>() => {
            let number = CK_ULONG::from_ne_bytes(bytes.try_into().expect("eight bytes"));
            if number == CK_UNAVAILABLE_INFORMATION {
                "CK_UNAVAILABLE_INFORMATION".to_owned()
            } else {
                format!("{number:#x}")
            }
        }
        (_, bytes) if bytes.len() <= 4 && kind != CKA_ID => hex(bytes),
        (_, bytes) => format!("{} bytes", bytes.len()),
    })
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A step for every attribute there is.
pub fn all_attributes(
    t: &mut Transcript,
    session: &Session<'_>,
    object: CK_OBJECT_HANDLE,
    of: &str,
) {
    for (kind, name, _) in ATTRIBUTES {
        // The check value of a key that was just made is another one each time.
        if *kind == CKA_CHECK_VALUE && of.starts_with("generated") {
            t.step(format!("{of} {name}"), || session.attribute(object, *kind));
        } else {
            t.step(format!("{of} {name}"), || told(session, object, *kind));
        }
    }
}
