//! What lives here: HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM, one message for one
//! context: encryption to a public key by somebody who has no key of his own.
//!
//! What must never live here: the other modes and suites, and a second message under one context; nobody needs them. What the
//! message is and what it is bound to is the caller's.
//!
//! Who calls it: the token, for its backups.
//!
//! AWS-LC has HPKE too. It is not used because it aborts the process where its generator of random numbers has no memory left, and
//! because this composition needs no `unsafe`: everything below is X25519, HMAC and AES-GCM of this crate.

use strongroom_keymem::{SecretBytes, SecretVec};

use crate::digest::Hash;
use crate::edwards::X25519PrivateKey;
use crate::error::Error;
use crate::gcm::GcmKey;
use crate::mac::HmacKey;

/// Length of what the recipient needs beside the ciphertext: the sender's ephemeral public key.
pub const ENCAPSULATED_BYTES: usize = 32;
/// How much longer than the plaintext the ciphertext is.
pub const TAG_BYTES: usize = 16;

/// Seals one message to a public key (RFC 9180, 6.1, single-shot in base mode). Appends the ciphertext with its tag, and answers
/// the encapsulated key that belongs to it. The ephemeral key is made here and lives no longer than this call.
///
/// # Errors
/// [`Error::PointInvalid`] for a public key of small order; [`Error::Memory`].
pub fn seal(
    recipient: &[u8; 32],
    info: &[u8],
    associated: &[u8],
    plaintext: &[u8],
    out: &mut SecretVec,
) -> Result<[u8; ENCAPSULATED_BYTES], Error> {
    let ephemeral = X25519PrivateKey::generate()?;
    let encapsulated = *ephemeral.public_bytes();
    let agreed = ephemeral.agree(recipient)?;
    let context = Context::new(&agreed, &encapsulated, recipient, info)?;
    let key = context.key.with(GcmKey::new)?;
    context
        .nonce
        .with(|nonce| key.seal(nonce, associated, TAG_BYTES, plaintext, out))?;
    Ok(encapsulated)
}

/// Opens what [`seal`] made for this key with the same `info` and `associated`, and appends the plaintext.
///
/// # Errors
/// [`Error::DataInvalid`] when it was made for another key, with other bindings, or was changed; then nothing is appended.
/// [`Error::PointInvalid`]; [`Error::DataLength`]; [`Error::Memory`].
pub fn open(
    recipient: &X25519PrivateKey,
    encapsulated: &[u8; ENCAPSULATED_BYTES],
    info: &[u8],
    associated: &[u8],
    sealed: &[u8],
    out: &mut SecretVec,
) -> Result<(), Error> {
    let agreed = recipient.agree(encapsulated)?;
    let context = Context::new(&agreed, encapsulated, recipient.public_bytes(), info)?;
    let key = context.key.with(GcmKey::new)?;
    context
        .nonce
        .with(|nonce| key.open(nonce, associated, TAG_BYTES, sealed, out))
}

/// Key and nonce of the one message (RFC 9180, 5.1: the first nonce is the base nonce itself).
struct Context {
    key: SecretBytes,
    nonce: SecretBytes,
}

impl Context {
    fn new(
        agreed: &SecretBytes,
        encapsulated: &[u8; 32],
        recipient: &[u8; 32],
        info: &[u8],
    ) -> Result<Self, Error> {
        // RFC 9180, 4.1: the shared secret is bound to both public keys.
        let extracted =
            agreed.with(|agreed| labeled_extract(&KEM_SUITE, None, b"eae_prk", agreed))?;
        let kem_context = [encapsulated.as_slice(), recipient].concat();
        let shared = labeled_expand(&KEM_SUITE, &extracted, b"shared_secret", &kem_context, 32)?;
        // RFC 9180, 5.1: without a pre-shared key, its id and value are empty.
        let psk_id_hash = labeled_extract(&SUITE, None, b"psk_id_hash", b"")?;
        let info_hash = labeled_extract(&SUITE, None, b"info_hash", info)?;
        let mut schedule = vec![MODE_BASE];
        psk_id_hash.with(|hash| schedule.extend_from_slice(hash));
        info_hash.with(|hash| schedule.extend_from_slice(hash));
        let secret = labeled_extract(&SUITE, Some(&shared), b"secret", b"")?;
        Ok(Self {
            key: labeled_expand(&SUITE, &secret, b"key", &schedule, 32)?,
            nonce: labeled_expand(&SUITE, &secret, b"base_nonce", &schedule, 12)?,
        })
    }
}

/// RFC 9180, 4: HKDF-Extract (RFC 5869: an HMAC under the salt) over the labelled input.
fn labeled_extract(
    suite: &[u8],
    salt: Option<&SecretBytes>,
    label: &[u8],
    input: &[u8],
) -> Result<SecretBytes, Error> {
    let key = match salt {
        Some(salt) => salt.with(|salt| HmacKey::new(Hash::Sha256, salt))?,
        None => HmacKey::new(Hash::Sha256, &[])?,
    };
    mac_of(&key, &[VERSION, suite, label, input], 32)
}

/// RFC 9180, 4: HKDF-Expand over the labelled info, for at most one block (RFC 5869: an HMAC over info and the counter 1).
fn labeled_expand(
    suite: &[u8],
    secret: &SecretBytes,
    label: &[u8],
    info: &[u8],
    length: u8,
) -> Result<SecretBytes, Error> {
    let key = secret.with(|secret| HmacKey::new(Hash::Sha256, secret))?;
    let parts = [&[0, length], VERSION, suite, label, info, &[1]];
    mac_of(&key, &parts, usize::from(length))
}

fn mac_of(key: &HmacKey, parts: &[&[u8]], length: usize) -> Result<SecretBytes, Error> {
    let mut mac = key.start()?;
    for part in parts {
        mac.update(part)?;
    }
    let value = mac.finish()?;
    let bytes = value.as_ref().get(..length).ok_or(Error::Internal)?;
    Ok(SecretBytes::copy_from(bytes)?)
}

const VERSION: &[u8] = b"HPKE-v1";
const MODE_BASE: u8 = 0;
/// "KEM" and the number of DHKEM(X25519, HKDF-SHA256) (RFC 9180, 7.1).
const KEM_SUITE: [u8; 5] = [b'K', b'E', b'M', 0x00, 0x20];
/// "HPKE" and the numbers of that KEM, of HKDF-SHA256 and of AES-256-GCM (RFC 9180, 7.2 and 7.3).
const SUITE: [u8; 10] = [b'H', b'P', b'K', b'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x02];
