//! RSA and elliptic curves.
//!
//! What lives here: signing, verifying, decrypting, deriving, and generating pairs.
//! What must never live here: secret keys of their own.
//! Who calls it: the list of cases.

use cryptoki_sys::*;

use super::keys::{self, Pair};
use super::{Curve, Operation, Place, Signing};
use crate::mechanism::Mechanism;
use crate::module::{Failure, Outcome};
use crate::template::Template;

/// A digest of SHA-256 in the form that CKM_RSA_PKCS signs, and the bare digest.
const DIGEST_INFO: &[u8] = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x200123456789abcdef0123456789abcdef";
const DIGEST: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Longer than any signature here.
const SIGNATURE_BYTES_MAX: usize = 1024;

fn material(place: Place<'_>, signing: Signing) -> Outcome<(Pair, Mechanism, &'static [u8])> {
    Ok(match signing {
        Signing::RsaPkcs(bits) => (
            keys::rsa(place, bits)?,
            Mechanism::Plain(CKM_RSA_PKCS),
            DIGEST_INFO,
        ),
        Signing::RsaPss(bits) => (keys::rsa(place, bits)?, Mechanism::Pss, DIGEST),
        Signing::Ec(Curve::Ed25519) => (
            keys::ec(place, Curve::Ed25519)?,
            Mechanism::Plain(CKM_EDDSA),
            DIGEST,
        ),
        Signing::Ec(curve) => (keys::ec(place, curve)?, Mechanism::Plain(CKM_ECDSA), DIGEST),
    })
}

/// A signature that the module itself takes, and takes no more when a bit of it is changed.
fn checked_signature(
    place: Place<'_>,
    pair: Pair,
    mechanism: &Mechanism,
    data: &[u8],
) -> Outcome<Vec<u8>> {
    let mut signature = vec![0; SIGNATURE_BYTES_MAX];
    let bytes = place
        .session
        .sign(mechanism, pair.private, data, &mut signature)?;
    signature.truncate(bytes);
    place
        .session
        .verify(mechanism, pair.public, data, &signature)?;
    let mut spoilt = signature.clone();
    if let Some(byte) = spoilt.last_mut() {
        *byte ^= 1;
    }
    match place.session.verify(mechanism, pair.public, data, &spoilt) {
        Err(Failure::Refused(_, CKR_SIGNATURE_INVALID | CKR_SIGNATURE_LEN_RANGE)) => Ok(signature),
        other => Err(Failure::Wrong(format!(
            "a spoilt signature is not refused: {other:?}"
        ))),
    }
}

pub(super) fn sign(place: Place<'_>, signing: Signing) -> Outcome<Operation<'_>> {
    let (pair, mechanism, data) = material(place, signing)?;
    checked_signature(place, pair, &mechanism, data)?;
    let mut signature = [0; SIGNATURE_BYTES_MAX];
    Ok(Box::new(move || {
        place
            .session
            .sign(&mechanism, pair.private, data, &mut signature)
            .map(|_| ())
    }))
}

pub(super) fn verify(place: Place<'_>, signing: Signing) -> Outcome<Operation<'_>> {
    let (pair, mechanism, data) = material(place, signing)?;
    let signature = checked_signature(place, pair, &mechanism, data)?;
    Ok(Box::new(move || {
        place
            .session
            .verify(&mechanism, pair.public, data, &signature)
    }))
}

pub(super) fn decrypt(place: Place<'_>, bits: u16) -> Outcome<Operation<'_>> {
    let pair = keys::rsa(place, bits)?;
    let mut sealed = vec![0; SIGNATURE_BYTES_MAX];
    let bytes = place
        .session
        .encrypt(&Mechanism::Oaep, pair.public, DIGEST, &mut sealed)?;
    sealed.truncate(bytes);
    let mut opened = [0; SIGNATURE_BYTES_MAX];
    let bytes = place
        .session
        .decrypt(&Mechanism::Oaep, pair.private, &sealed, &mut opened)?;
    if opened.get(..bytes) != Some(DIGEST) {
        return Err(Failure::Wrong("decrypted to something else".to_owned()));
    }
    Ok(Box::new(move || {
        place
            .session
            .decrypt(&Mechanism::Oaep, pair.private, &sealed, &mut opened)
            .map(|_| ())
    }))
}

/// The point of a public key, without the OCTET STRING around it.
fn point(place: Place<'_>, public: CK_ULONG) -> Outcome<Vec<u8>> {
    let mut template = Template::new().bytes(CKA_EC_POINT, &[0; 256]);
    place.session.attributes(public, &mut template)?;
    match template.value(CKA_EC_POINT) {
        Some([0x04, length, point @ ..]) if usize::from(*length) == point.len() => {
            Ok(point.to_vec())
        }
        other => Err(Failure::Wrong(format!("a point of the form {other:?}"))),
    }
}

pub(super) fn derive(place: Place<'_>, curve: Curve) -> Outcome<Operation<'_>> {
    let own = keys::ec(place, curve)?;
    let (public, private) = pair_of_session(place, curve)?;
    let template = keys::aes_template().number(CKA_VALUE_LEN, 32);
    let towards = Mechanism::Ecdh(point(place, public)?);
    let backwards = Mechanism::Ecdh(point(place, own.public)?);
    // Both sides must come to the same key: it encrypts a block to the same bytes.
    let mut blocks = [[0; 16]; 2];
    for ((base, mechanism), block) in [(own.private, &towards), (private, &backwards)]
        .into_iter()
        .zip(&mut blocks)
    {
        let key = place.session.derive(mechanism, base, &template)?;
        let ecb = Mechanism::Plain(CKM_AES_ECB);
        place.session.encrypt(&ecb, key, &[7; 16], block)?;
        place.session.destroy(key)?;
    }
    if blocks[0] != blocks[1] {
        return Err(Failure::Wrong("the two sides derive two keys".to_owned()));
    }
    Ok(Box::new(move || {
        let key = place.session.derive(&towards, own.private, &template)?;
        place.session.destroy(key)
    }))
}

fn pair_of_session(place: Place<'_>, curve: Curve) -> Outcome<(CK_ULONG, CK_ULONG)> {
    let public = Template::new().off(&[CKA_TOKEN, CKA_PRIVATE]);
    let private = Template::new()
        .off(&[CKA_TOKEN, CKA_EXTRACTABLE])
        .on(&[CKA_PRIVATE, CKA_SENSITIVE]);
    keys::generate_ec(place, curve, public, private)
}

pub(super) fn generate_pair(place: Place<'_>, curve: Curve) -> Outcome<Operation<'_>> {
    let (mechanism, data) = match curve {
        Curve::Ed25519 => (Mechanism::Plain(CKM_EDDSA), DIGEST),
        Curve::P256 | Curve::P384 | Curve::P521 => (Mechanism::Plain(CKM_ECDSA), DIGEST),
    };
    let (public, private) = pair_of_session(place, curve)?;
    checked_signature(place, Pair { public, private }, &mechanism, data)?;
    Ok(Box::new(move || {
        let (public, private) = pair_of_session(place, curve)?;
        place.session.destroy(public)?;
        place.session.destroy(private)
    }))
}

pub(super) fn sign_once(place: Place<'_>) -> Outcome<()> {
    let pair = keys::ec(place, Curve::P256)?;
    let mut signature = [0; SIGNATURE_BYTES_MAX];
    let mechanism = Mechanism::Plain(CKM_ECDSA);
    place
        .session
        .sign(&mechanism, pair.private, DIGEST, &mut signature)
        .map(|_| ())
}
