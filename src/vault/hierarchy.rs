//! *What lives here:* how keys come from keys: root key, token key, realm key, the key of each record, and the slots that wrap a
//! realm key for a user. *What must never live here:* a record. *Who calls it:* the vault and its tokens.
//!
//! ```text
//! root key ─┬─ vault key                       (seals the vault record)
//!           └─ token key ─┬─ record keys       (public objects, token, tries, census)
//!                         ├─ census key
//!                         └─ pepper ── Argon2id(PIN) ── slot key ── wraps the realm key
//! realm key (random) ──── record keys          (private objects)
//! ```
//!
//! Every arrow is HKDF-SHA256 (RFC 5869) but for Argon2id (RFC 9106) and the wrapping. A stolen disk does not open without the
//! root key; a root key does not open the private realm without a PIN.

use serde::{Deserialize, Serialize};
use strongroom_crypto::digest::Hash;
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::kdf;
use strongroom_crypto::mac::HmacKey;
use strongroom_crypto::password::{self, Argon2Cost};
use strongroom_crypto::random;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::census::Term;
use super::seal::{NONCE_BYTES, Stamp, TAG_BYTES, kind_byte};
use super::{User, VaultError};
use crate::ports::RecordKey;

/// What one comparison of a PIN costs whoever makes it (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes, at least 1.
    pub lanes: u32,
}

impl Default for PinCost {
    /// About 15 ms and 16 MiB: it happens once for each user and token in the life of a daemon.
    fn default() -> Self {
        Self {
            memory_kib: 16 << 10,
            passes: 2,
            lanes: 1,
        }
    }
}

impl PinCost {
    /// The least that Argon2id takes: a PIN is then guessed fast by whoever has the disk and the root key. For tests, which make
    /// hundreds of tokens.
    #[must_use]
    pub const fn danger_cheap() -> Self {
        Self {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        }
    }
}

/// The keys of one token that need no PIN.
pub(super) struct TokenKeys {
    /// Number of the token.
    pub(super) token: u64,
    secret: SecretBytes,
    pepper: SecretBytes,
    census: HmacKey,
}

impl TokenKeys {
    /// Derives them. The serial number is random, so even a number that came back would not bring back its keys.
    pub(super) fn new(
        root: &SecretBytes,
        token: u64,
        serial: &[u8; 8],
    ) -> Result<Self, VaultError> {
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&token.to_le_bytes());
        salt[8..].copy_from_slice(serial);
        let secret = derive(root, &salt, b"strongroom token key v1", &[])?;
        let pepper = derive(&secret, &[], b"strongroom pin pepper v1", &[])?;
        let census = derive(&secret, &[], b"strongroom census key v1", &[])?;
        let census = census.with(|census| HmacKey::new(Hash::Sha256, census))?;
        Ok(Self {
            token,
            secret,
            pepper,
            census,
        })
    }

    /// The key of a record that needs no PIN.
    pub(super) fn record_key(&self, key: RecordKey) -> Result<SecretBytes, VaultError> {
        record_key(&self.secret, key)
    }

    /// What a record adds to the census.
    pub(super) fn term(&self, key: RecordKey, stamp: &Stamp) -> Result<Term, VaultError> {
        let mut counted = [0; 34];
        counted[..2].copy_from_slice(&[kind_byte(key.kind), stamp.realm as u8]);
        counted[2..10].copy_from_slice(&key.object.to_le_bytes());
        counted[10..18].copy_from_slice(&stamp.version.to_le_bytes());
        counted[18..].copy_from_slice(&stamp.tag);
        let mut mac = self.census.start()?;
        mac.update(&counted)?;
        let value = mac.finish()?;
        Term::from_bytes(value.as_ref()).ok_or(VaultError::Crypto)
    }
}

/// A realm key, wrapped for one user.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeySlot {
    cost: PinCost,
    salt: [u8; 16],
    nonce: [u8; NONCE_BYTES],
    wrapped: Vec<u8>,
}

impl KeySlot {
    /// Wraps the realm key under a PIN.
    pub(super) fn wrap(
        keys: &TokenKeys,
        user: User,
        pin: &[u8],
        cost: PinCost,
        realm: &SecretBytes,
    ) -> Result<Self, VaultError> {
        let (mut salt, mut nonce) = ([0; 16], [0; NONCE_BYTES]);
        random::fill(&mut salt)?;
        random::fill(&mut nonce)?;
        let cipher = slot_cipher(keys, user, pin, cost, &salt)?;
        let mut wrapped = SecretVec::with_capacity(KEY_BYTES + TAG_BYTES)?;
        let bound = slot_name(keys, user);
        realm.with(|realm| cipher.seal(&nonce, &bound, TAG_BYTES, realm, &mut wrapped))?;
        Ok(Self {
            cost,
            salt,
            nonce,
            wrapped: wrapped.expose().to_vec(),
        })
    }

    /// Unwraps the realm key; none when the PIN is not the one it was wrapped under.
    pub(super) fn unwrap(
        &self,
        keys: &TokenKeys,
        user: User,
        pin: &[u8],
    ) -> Result<Option<SecretBytes>, VaultError> {
        let cipher = slot_cipher(keys, user, pin, self.cost, &self.salt)?;
        let mut realm = SecretVec::with_capacity(self.wrapped.len())?;
        let bound = slot_name(keys, user);
        match cipher.open(&self.nonce, &bound, TAG_BYTES, &self.wrapped, &mut realm) {
            Ok(()) => Ok(Some(SecretBytes::copy_from(realm.expose())?)),
            // The slot lies in a sealed record, so it was not changed: only the PIN can be wrong.
            Err(strongroom_crypto::Error::DataInvalid) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A new realm key.
pub(super) fn new_realm_key() -> Result<SecretBytes, VaultError> {
    Ok(SecretBytes::filled_by(KEY_BYTES, random::fill)?)
}

/// The key of a record under a realm key.
pub(super) fn record_key(secret: &SecretBytes, key: RecordKey) -> Result<SecretBytes, VaultError> {
    let parts: [&[u8]; 2] = [&[kind_byte(key.kind)], &key.object.to_le_bytes()];
    derive(secret, &[], b"strongroom record key v1", &parts)
}

/// The key of the vault record.
pub(super) fn vault_key(root: &SecretBytes) -> Result<SecretBytes, VaultError> {
    derive(root, &[], b"strongroom vault key v1", &[])
}

/// What tells the right root key from a wrong one without opening anything.
pub(super) fn root_check(root: &SecretBytes) -> Result<SecretBytes, VaultError> {
    derive(root, &[], b"strongroom root key check v1", &[])
}

/// What tells root keys apart: it may be seen by anybody.
pub(super) fn root_id(root: &SecretBytes) -> Result<[u8; 8], VaultError> {
    let id = derive(root, &[], b"strongroom root key id v1", &[])?;
    id.with(|id| id.first_chunk().copied().ok_or(VaultError::Crypto))
}

fn slot_cipher(
    keys: &TokenKeys,
    user: User,
    pin: &[u8],
    cost: PinCost,
    salt: &[u8; 16],
) -> Result<GcmKey, VaultError> {
    let PinCost {
        memory_kib,
        passes,
        lanes,
    } = cost;
    let cost = Argon2Cost {
        memory_kib,
        passes,
        lanes,
    };
    let stretched = SecretBytes::filled_by(KEY_BYTES, |out| {
        keys.pepper
            .with(|pepper| password::argon2id(pin, salt, pepper, cost, out))
    })?;
    let slot_key = derive(
        &stretched,
        &[],
        b"strongroom slot key v1",
        &[&slot_name(keys, user)],
    )?;
    Ok(slot_key.with(GcmKey::new)?)
}

fn slot_name(keys: &TokenKeys, user: User) -> [u8; 9] {
    let mut name = [user as u8; 9];
    name[..8].copy_from_slice(&keys.token.to_le_bytes());
    name
}

fn derive(
    secret: &SecretBytes,
    salt: &[u8],
    purpose: &[u8],
    parts: &[&[u8]],
) -> Result<SecretBytes, VaultError> {
    let mut info = Vec::with_capacity(64);
    info.extend_from_slice(purpose);
    for part in parts {
        info.extend_from_slice(part);
    }
    Ok(SecretBytes::filled_by(KEY_BYTES, |out| {
        secret.with(|secret| kdf::hkdf_sha256(secret, salt, &info, out))
    })?)
}

/// Length of every key here: AES-256, and all that HKDF-SHA256 and HMAC-SHA256 gain from.
pub(super) const KEY_BYTES: usize = 32;
