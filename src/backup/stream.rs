//! *What lives here:* the chunks: AES-256-GCM (SP 800-38D) in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, 2015), so
//! that a chunk opens in its own place of its own backup only. *What must never live here:* what the plaintext means. *Who calls it:*
//! writing and reading.
//!
//! The nonce is the number of the chunk, counted from zero (11 bytes, big-endian), and one byte that is 1 in the last chunk and 0 in
//! all others. The key is of this file alone, so no nonce comes twice. The associated data are the header's MAC.

use strongroom_crypto::digest::Hash;
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::kdf;
use strongroom_crypto::mac::HmacKey;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::{BackupError, CHUNK_BYTES, KEY_BYTES, MAC_BYTES, TAG_BYTES};

/// Plaintext of a full chunk.
pub(super) const PLAIN_BYTES: usize = CHUNK_BYTES - TAG_BYTES;

/// Seals or opens the chunks of one file, one after the other.
pub(super) struct Chunks {
    key: GcmKey,
    bound: [u8; MAC_BYTES],
    next: u64,
}

impl Chunks {
    /// For the file with this key and header.
    pub(super) fn new(file_key: &SecretBytes, bound: [u8; MAC_BYTES]) -> Result<Self, BackupError> {
        let key = derived(file_key, b"strongroom backup chunks v1")?;
        Ok(Self {
            key: key.with(GcmKey::new)?,
            bound,
            next: 0,
        })
    }

    /// How many chunks there were.
    pub(super) fn count(&self) -> u64 {
        self.next
    }

    /// Seals the next chunk and appends it.
    pub(super) fn seal(
        &mut self,
        place: Place,
        plaintext: &[u8],
        out: &mut SecretVec,
    ) -> Result<(), BackupError> {
        let nonce = nonce(self.next, place);
        self.key
            .seal(&nonce, &self.bound, TAG_BYTES, plaintext, out)?;
        self.next += 1;
        Ok(())
    }

    /// Opens the next chunk and appends its plaintext.
    pub(super) fn open(
        &mut self,
        place: Place,
        sealed: &[u8],
        out: &mut SecretVec,
    ) -> Result<(), BackupError> {
        if self.opens(self.next, place, sealed, out)? {
            self.next += 1;
            return Ok(());
        }
        Err(self.diagnosis(place, sealed)?)
    }

    fn opens(
        &self,
        number: u64,
        place: Place,
        sealed: &[u8],
        out: &mut SecretVec,
    ) -> Result<bool, BackupError> {
        let nonce = nonce(number, place);
        match self.key.open(&nonce, &self.bound, TAG_BYTES, sealed, out) {
            Ok(()) => Ok(true),
            Err(strongroom_crypto::Error::DataInvalid | strongroom_crypto::Error::DataLength) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What became of a chunk that does not open: it is looked for elsewhere before it is called changed.
    fn diagnosis(&self, place: Place, sealed: &[u8]) -> Result<BackupError, BackupError> {
        let mut scratch = SecretVec::new();
        let whole = sealed.get(..CHUNK_BYTES).unwrap_or(sealed);
        let number = self.next + 1;
        let chunk = |what: String| BackupError::Chunk { number, what };
        if place == Place::Last && self.opens(self.next, Place::Inner, whole, &mut scratch)? {
            return Ok(BackupError::CutOff { after: number });
        }
        if place == Place::Inner && self.opens(self.next, Place::Last, sealed, &mut scratch)? {
            return Ok(chunk(
                "it is the last one, and something was appended behind it".into(),
            ));
        }
        for other in (0..ELSEWHERE_MAX).filter(|other| *other != self.next) {
            // Only the last chunk of a file is shorter than all others.
            let full = whole.len() == CHUNK_BYTES;
            let there = self.opens(other, Place::Last, whole, &mut scratch)?
                || full && self.opens(other, Place::Inner, whole, &mut scratch)?;
            if there {
                return Ok(chunk(format!(
                    "chunk {} lies in its place; chunks were exchanged, repeated or removed",
                    other + 1
                )));
            }
        }
        Ok(match place {
            Place::Inner => chunk("it was changed, or is of another backup".into()),
            Place::Last => chunk("it was changed, or the file was cut off before its end".into()),
        })
    }
}

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Another one follows.
    Inner = 0,
    /// None follows.
    Last = 1,
}

fn nonce(number: u64, place: Place) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = place as u8;
    nonce
}

/// The MAC over everything before the chunks.
pub(super) fn header_mac(
    file_key: &SecretBytes,
    front: &[u8],
) -> Result<[u8; MAC_BYTES], BackupError> {
    let key = derived(file_key, b"strongroom backup header v1")?;
    let mut mac = key.with(|key| HmacKey::new(Hash::Sha256, key))?.start()?;
    mac.update(front)?;
    let value = mac.finish()?;
    value.as_ref().try_into().map_err(|_| BackupError::Crypto)
}

fn derived(file_key: &SecretBytes, purpose: &[u8]) -> Result<SecretBytes, BackupError> {
    SecretBytes::filled_by(KEY_BYTES, |out| {
        file_key
            .with(|key| kdf::hkdf_sha256(key, &[], purpose, out))
            .map_err(BackupError::from)
    })
}

/// How many places a stray chunk is looked for in: as many as 128 MiB have, in a tenth of a second.
const ELSEWHERE_MAX: u64 = 2048;
