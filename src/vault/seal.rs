//! *What lives here:* the form of a sealed record: plaintext in, sealed bytes out, and back. *What must never live here:* where a
//! key comes from, and what a record means. *Who calls it:* the vault and its tokens, for every record.
//!
//! A sealed record is
//! `format (1 byte) ‖ version (8 bytes, little-endian) ‖ realm (1 byte) ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)`,
//! sealed by AES-256-GCM (SP 800-38D). The associated data are format, kind, realm, token, object and version, so a record opens
//! at its own place only. That an older version does not come back to its own place is the business of the census.

use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::random;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::{Realm, VaultError, tampered};
use crate::ports::{RecordKey, RecordKind};

/// The format of all records of this version of the product.
pub(super) const FORMAT: u8 = 1;
/// Length of a tag.
pub(super) const TAG_BYTES: usize = 16;
/// Length of a nonce. Nonces are random: a key seals one record only, far less often than the 2^32 times of SP 800-38D, 8.3.
pub(super) const NONCE_BYTES: usize = 12;

/// What can be seen of a sealed record from outside, and what the census counts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Which keys seal it.
    pub(super) realm: Realm,
    /// How often this record was written.
    pub(super) version: u64,
    /// The tag: it differs for two different records of the same version.
    pub(super) tag: [u8; TAG_BYTES],
}

impl Stamp {
    /// Reads the stamp of sealed bytes, without judging whether they open.
    pub(super) fn of(key: RecordKey, sealed: &[u8]) -> Result<Self, VaultError> {
        let parts = Parts::of(FORMAT, sealed).ok_or_else(|| tampered(key))?;
        Ok(parts.stamp)
    }
}

/// Seals a record.
pub(super) fn seal(
    record_key: &SecretBytes,
    key: RecordKey,
    realm: Realm,
    version: u64,
    plaintext: &[u8],
) -> Result<(Vec<u8>, Stamp), VaultError> {
    seal_as(FORMAT, record_key, key, realm, version, plaintext)
}

/// Opens a record and appends its plaintext.
pub(super) fn open(
    record_key: &SecretBytes,
    key: RecordKey,
    sealed: &[u8],
    plaintext: &mut SecretVec,
) -> Result<Stamp, VaultError> {
    open_as(FORMAT, record_key, key, sealed, plaintext)
}

/// Seals a record in a format, for a step of a migration.
pub(super) fn seal_as(
    format: u8,
    record_key: &SecretBytes,
    key: RecordKey,
    realm: Realm,
    version: u64,
    plaintext: &[u8],
) -> Result<(Vec<u8>, Stamp), VaultError> {
    let mut nonce = [0; NONCE_BYTES];
    random::fill(&mut nonce)?;
    let cipher = record_key.with(GcmKey::new)?;
    let mut body = SecretVec::with_capacity(plaintext.len() + TAG_BYTES)?;
    cipher.seal(
        &nonce,
        &associated_data(format, key, realm, version),
        TAG_BYTES,
        plaintext,
        &mut body,
    )?;
    let mut sealed = Vec::with_capacity(HEADER_BYTES + NONCE_BYTES + body.len());
    sealed.push(format);
    sealed.extend_from_slice(&version.to_le_bytes());
    sealed.push(realm as u8);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(body.expose());
    let parts = Parts::of(format, &sealed).ok_or(VaultError::Crypto)?;
    let stamp = parts.stamp;
    Ok((sealed, stamp))
}

/// Opens a record of a format.
pub(super) fn open_as(
    format: u8,
    record_key: &SecretBytes,
    key: RecordKey,
    sealed: &[u8],
    plaintext: &mut SecretVec,
) -> Result<Stamp, VaultError> {
    let Parts { stamp, nonce, body } = Parts::of(format, sealed).ok_or_else(|| tampered(key))?;
    let cipher = record_key.with(GcmKey::new)?;
    let bound = associated_data(format, key, stamp.realm, stamp.version);
    match cipher.open(nonce, &bound, TAG_BYTES, body, plaintext) {
        Ok(()) => Ok(stamp),
        Err(strongroom_crypto::Error::DataInvalid) => Err(tampered(key)),
        Err(error) => Err(error.into()),
    }
}

struct Parts<'s> {
    stamp: Stamp,
    nonce: &'s [u8],
    body: &'s [u8],
}

impl<'s> Parts<'s> {
    fn of(format: u8, sealed: &'s [u8]) -> Option<Self> {
        let (&found, rest) = sealed.split_first()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (&realm, rest) = rest.split_first()?;
        let (nonce, body) = rest.split_at_checked(NONCE_BYTES)?;
        let (_, tag) = body.split_last_chunk::<TAG_BYTES>()?;
        let realm = [Realm::Public, Realm::Private]
            .into_iter()
            .find(|known| *known as u8 == realm)?;
        let stamp = Stamp {
            realm,
            version: u64::from_le_bytes(*version),
            tag: *tag,
        };
        (found == format).then_some(Self { stamp, nonce, body })
    }
}

fn associated_data(format: u8, key: RecordKey, realm: Realm, version: u64) -> [u8; 27] {
    let RecordKey {
        kind,
        token,
        object,
    } = key;
    let mut bound = [0; 27];
    bound[..3].copy_from_slice(&[format, kind_byte(kind), realm as u8]);
    bound[3..11].copy_from_slice(&token.to_le_bytes());
    bound[11..19].copy_from_slice(&object.to_le_bytes());
    bound[19..].copy_from_slice(&version.to_le_bytes());
    bound
}

/// The number of a kind, as seals and censuses bind it.
pub(super) fn kind_byte(kind: RecordKind) -> u8 {
    kind as u8
}

const HEADER_BYTES: usize = 10;
