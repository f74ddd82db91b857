//! Keys that the cases need: durable ones, found by their label or made.
//!
//! What lives here: templates and makers of keys.
//! What must never live here: an operation that is measured.
//! Who calls it: the cases.

use cryptoki_sys::*;

use super::{Curve, Place};
use crate::mechanism::Mechanism;
use crate::module::Outcome;
use crate::template::Template;

/// A pair: public and private.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) public: CK_ULONG,
    pub(super) private: CK_ULONG,
}

fn labelled(label: &str, class: CK_OBJECT_CLASS) -> Template {
    Template::new()
        .number(CKA_CLASS, class)
        .bytes(CKA_LABEL, label.as_bytes())
}

/// The durable pair of this label; made the first time.
fn pair(
    place: Place<'_>,
    label: &str,
    make: impl FnOnce(Template, Template) -> Outcome<(CK_ULONG, CK_ULONG)>,
) -> Outcome<Pair> {
    let first = |class| -> Outcome<Option<CK_ULONG>> {
        Ok(place
            .session
            .find(&labelled(label, class))?
            .first()
            .copied())
    };
    if let (Some(public), Some(private)) = (first(CKO_PUBLIC_KEY)?, first(CKO_PRIVATE_KEY)?) {
        return Ok(Pair { public, private });
    }
    let named = || {
        Template::new()
            .on(&[CKA_TOKEN])
            .bytes(CKA_LABEL, label.as_bytes())
            .bytes(CKA_ID, b"p11measure")
    };
    let (public, private) = make(
        named().off(&[CKA_PRIVATE]),
        named()
            .on(&[CKA_PRIVATE, CKA_SENSITIVE])
            .off(&[CKA_EXTRACTABLE]),
    )?;
    Ok(Pair { public, private })
}

/// The RSA pair of so many bits.
pub(super) fn rsa(place: Place<'_>, bits: u16) -> Outcome<Pair> {
    pair(place, &format!("rsa{bits}"), |public, private| {
        place.session.generate_pair(
            &Mechanism::Plain(CKM_RSA_PKCS_KEY_PAIR_GEN),
            &public
                .number(CKA_MODULUS_BITS, bits.into())
                .bytes(CKA_PUBLIC_EXPONENT, &[1, 0, 1])
                .on(&[CKA_ENCRYPT, CKA_VERIFY]),
            &private.on(&[CKA_DECRYPT, CKA_SIGN]),
        )
    })
}

/// The pair on a curve.
pub(super) fn ec(place: Place<'_>, curve: Curve) -> Outcome<Pair> {
    pair(place, curve.name(), |public, private| {
        generate_ec(place, curve, public, private)
    })
}

/// Generates a pair on a curve from the beginnings of two templates.
pub(super) fn generate_ec(
    place: Place<'_>,
    curve: Curve,
    public: Template,
    private: Template,
) -> Outcome<(CK_ULONG, CK_ULONG)> {
    let (kind, private) = match curve {
        Curve::Ed25519 => (CKM_EC_EDWARDS_KEY_PAIR_GEN, private.on(&[CKA_SIGN])),
        Curve::P256 | Curve::P384 | Curve::P521 => {
            (CKM_EC_KEY_PAIR_GEN, private.on(&[CKA_SIGN, CKA_DERIVE]))
        }
    };
    place.session.generate_pair(
        &Mechanism::Plain(kind),
        &public
            .bytes(CKA_EC_PARAMS, parameters(curve))
            .on(&[CKA_VERIFY]),
        &private,
    )
}

/// The durable secret key of this label; made the first time.
fn durable(
    place: Place<'_>,
    label: &str,
    make: impl FnOnce(Template) -> Outcome<CK_ULONG>,
) -> Outcome<CK_ULONG> {
    match place
        .session
        .find(&labelled(label, CKO_SECRET_KEY))?
        .first()
    {
        Some(key) => Ok(*key),
        None => make(
            Template::new()
                .on(&[CKA_TOKEN])
                .bytes(CKA_LABEL, label.as_bytes()),
        ),
    }
}

/// The durable AES key of 32 bytes of this label, with every usage.
pub(super) fn aes(place: Place<'_>, label: &str) -> Outcome<CK_ULONG> {
    durable(place, label, |template| generate_aes(place, template))
}

/// The durable key of 32 bytes to make tags with.
pub(super) fn hmac(place: Place<'_>) -> Outcome<CK_ULONG> {
    durable(place, "hmac", |template| {
        place.session.generate(
            &Mechanism::Plain(CKM_GENERIC_SECRET_KEY_GEN),
            &template
                .number(CKA_VALUE_LEN, 32)
                .on(&[CKA_PRIVATE, CKA_SIGN, CKA_VERIFY]),
        )
    })
}

/// An AES key of 32 bytes for this session, with every usage.
pub(super) fn session_aes(place: Place<'_>) -> Outcome<CK_ULONG> {
    generate_aes(place, Template::new().off(&[CKA_TOKEN]))
}

fn generate_aes(place: Place<'_>, template: Template) -> Outcome<CK_ULONG> {
    let usages = [
        CKA_PRIVATE,
        CKA_ENCRYPT,
        CKA_DECRYPT,
        CKA_WRAP,
        CKA_UNWRAP,
        CKA_EXTRACTABLE,
    ];
    place.session.generate(
        &Mechanism::Plain(CKM_AES_KEY_GEN),
        &template.number(CKA_VALUE_LEN, 32).on(&usages),
    )
}

/// What an unwrapped or derived AES key of this session is made with.
pub(super) fn aes_template() -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, CKK_AES)
        .off(&[CKA_TOKEN])
        .on(&[CKA_PRIVATE, CKA_ENCRYPT, CKA_DECRYPT, CKA_EXTRACTABLE])
}

/// Object identifiers; Ed25519 by its name, which older modules know too.
const fn parameters(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
        Curve::P384 => b"\x06\x05\x2b\x81\x04\x00\x22",
        Curve::P521 => b"\x06\x05\x2b\x81\x04\x00\x23",
        Curve::Ed25519 => b"\x13\x0cedwards25519",
    }
}
