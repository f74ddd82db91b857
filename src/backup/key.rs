//! *What lives here:* the key pair that backups are made for, and its two lines of text. *What must never live here:* the files they
//! stand in, and the asking for a passphrase. *Who calls it:* writing and reading; the daemon makes keys and reads identities.
//!
//! Each line has fields with one blank between, and ends with a checksum: the first four bytes of the SHA-256 of everything before, with the
//! blank. It finds mistakes of copying and keeps nobody out. In a file, empty lines and lines that begin with `#` do not count.

use std::fmt;

use serde::{Deserialize, Serialize};
use strongroom_crypto::digest::{Hash, digest};
use strongroom_crypto::edwards::X25519PrivateKey;
use strongroom_crypto::gcm::GcmKey;
use strongroom_crypto::hex;
use strongroom_crypto::password::{Argon2Cost, argon2id};
use strongroom_crypto::random;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::{BackupError, KEY_BYTES, TAG_BYTES};

/// The public half: whoever has it can make backups and read none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    bytes: [u8; KEY_BYTES],
    split: Option<Split>,
}

/// Into which shares a private key was split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// What the shares have in common; 16 hexadecimal digits.
    pub group: String,
    /// How many are needed.
    pub threshold: u8,
    /// How many there are.
    pub count: u8,
}

impl fmt::Display for Split {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            group,
            threshold,
            count,
        } = self;
        write!(out, "{threshold} of {count} shares of group {group}")
    }
}

impl PublicKey {
    /// The key itself.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// Into which shares its private half was split, if it was.
    #[must_use]
    pub const fn split(&self) -> Option<&Split> {
        self.split.as_ref()
    }

    /// The same key, with the shares its private half was split into.
    #[must_use]
    pub fn with_split(mut self, split: Split) -> Self {
        self.split = Some(split);
        self
    }

    /// The line for a file.
    ///
    /// # Errors
    /// [`BackupError::Memory`].
    pub fn to_text(&self) -> Result<String, BackupError> {
        let mut line = format!("{PUBLIC} {}", hex::shown(&self.bytes));
        if let Some(split) = &self.split {
            let Split {
                group,
                threshold,
                count,
            } = split;
            line += &format!(" {threshold}/{count} {group}");
        }
        line.push(' ');
        let checksum = checksum(line.as_bytes())?;
        Ok(line + &checksum)
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`BackupError::Key`] says what is wrong with it.
    pub fn parse(content: &[u8]) -> Result<Self, BackupError> {
        let line = the_line(content)?;
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        match fields.first() {
            Some(kind) if *kind == PUBLIC.as_bytes() => accept_checksum(line)?,
            Some(kind) if *kind == PRIVATE.as_bytes() || *kind == LOCKED.as_bytes() => {
                return Err(wrong(
                    "it is the private half; backups are made with the public one, in the file that ends with .pub",
                ));
            }
            _ => {
                return Err(wrong(
                    "its line does not begin with strongroom-backup-public-1",
                ));
            }
        }
        let malformed = || wrong("its line has another form");
        let bytes = |digits: &[u8]| hex::parsed(digits).ok_or_else(malformed);
        match fields.as_slice() {
            [_, key, _] => Ok(Self {
                bytes: bytes(key)?,
                split: None,
            }),
            [_, key, shares, group, _] => Ok(Self {
                bytes: bytes(key)?,
                split: Some(split_of(shares, group).ok_or_else(malformed)?),
            }),
            _ => Err(malformed()),
        }
    }
}

/// The first sixteen digits: what people compare.
impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::shown(&self.bytes);
        out.write_str(digits.get(..16).unwrap_or(&digits))
    }
}

/// The private half.
#[derive(Debug)]
pub struct Identity {
    key: X25519PrivateKey,
    public: PublicKey,
}

impl Identity {
    /// Makes a key pair.
    ///
    /// # Errors
    /// [`BackupError::Memory`].
    pub fn generate() -> Result<Self, BackupError> {
        Self::of(X25519PrivateKey::generate()?)
    }

    /// The key of 32 bytes that shares gave back, or a file held.
    ///
    /// # Errors
    /// [`BackupError::Key`] when there are not 32 bytes; [`BackupError::Memory`].
    pub fn from_secret(secret: &SecretBytes) -> Result<Self, BackupError> {
        let key = secret.with(|bytes| {
            let bytes = bytes
                .try_into()
                .map_err(|_| wrong("a private key has 32 bytes"))?;
            X25519PrivateKey::from_bytes(bytes).map_err(BackupError::from)
        })?;
        Self::of(key)
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The private key itself, to be split.
    ///
    /// # Errors
    /// [`BackupError::Memory`].
    pub fn secret(&self) -> Result<SecretBytes, BackupError> {
        Ok(self.key.bytes()?)
    }

    pub(super) const fn key(&self) -> &X25519PrivateKey {
        &self.key
    }

    fn of(key: X25519PrivateKey) -> Result<Self, BackupError> {
        let public = PublicKey {
            bytes: *key.public_bytes(),
            split: None,
        };
        Ok(Self { key, public })
    }

    /// The line for a file that its owner alone may read.
    ///
    /// # Errors
    /// [`BackupError::Memory`].
    pub fn to_text(&self) -> Result<SecretVec, BackupError> {
        let mut line = SecretVec::with_capacity(LINE_BYTES)?;
        line.push_slice(PRIVATE.as_bytes())?;
        line.push_slice(b" ")?;
        hex::push_secret(&self.secret()?, &mut line)?;
        self.end_of_line(line)
    }

    /// The line for a file that opens with a passphrase only.
    ///
    /// # Errors
    /// [`BackupError::Memory`].
    pub fn to_locked_text(
        &self,
        passphrase: &[u8],
        cost: Argon2Cost,
    ) -> Result<SecretVec, BackupError> {
        let mut salt = [0; SALT_BYTES];
        random::fill(&mut salt)?;
        let cipher = passphrase_cipher(passphrase, &salt, cost)?;
        let mut wrapped = SecretVec::with_capacity(KEY_BYTES + TAG_BYTES)?;
        // The salt is new, so the key is, and seals this once: its nonce may be zero.
        self.secret()?.with(|secret| {
            cipher.seal(
                &[0; 12],
                &self.public.bytes,
                TAG_BYTES,
                secret,
                &mut wrapped,
            )
        })?;
        let Argon2Cost {
            memory_kib,
            passes,
            lanes,
        } = cost;
        let mut line = SecretVec::with_capacity(LINE_BYTES)?;
        let front = format!(
            "{LOCKED} {memory_kib},{passes},{lanes} {} {}",
            hex::shown(&salt),
            hex::shown(wrapped.expose())
        );
        line.push_slice(front.as_bytes())?;
        self.end_of_line(line)
    }

    fn end_of_line(&self, mut line: SecretVec) -> Result<SecretVec, BackupError> {
        line.push_slice(format!(" {} ", hex::shown(&self.public.bytes)).as_bytes())?;
        let checksum = checksum(line.expose())?;
        line.push_slice(checksum.as_bytes())?;
        line.push_slice(b"\n")?;
        Ok(line)
    }
}

/// What the file of a private half holds.
#[derive(Debug)]
pub enum IdentityFile {
    /// The key.
    Open(Identity),
    /// The key under a passphrase.
    Locked(LockedIdentity),
}

/// A private half under a passphrase.
#[derive(Debug)]
pub struct LockedIdentity {
    cost: Argon2Cost,
    salt: [u8; SALT_BYTES],
    wrapped: [u8; KEY_BYTES + TAG_BYTES],
    public: [u8; KEY_BYTES],
}

impl IdentityFile {
    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`BackupError::Key`] says what is wrong with it.
    pub fn parse(content: &[u8]) -> Result<Self, BackupError> {
        let line = the_line(content)?;
        let mut fields = line.split(|byte| *byte == b' ');
        let malformed = || wrong("its line has another form");
        let mut field = || fields.next().ok_or_else(malformed);
        match field()? {
            kind if kind == PRIVATE.as_bytes() => {
                accept_checksum(line)?;
                let secret = hex::secret_parsed(field()?, KEY_BYTES)?.ok_or_else(malformed)?;
                let identity = Identity::from_secret(&secret)?;
                if hex::parsed(field()?) != Some(identity.public.bytes) {
                    return Err(wrong("its two halves do not belong together"));
                }
                Ok(Self::Open(identity))
            }
            kind if kind == LOCKED.as_bytes() => {
                accept_checksum(line)?;
                Ok(Self::Locked(LockedIdentity {
                    cost: cost_of(field()?).ok_or_else(malformed)?,
                    salt: hex::parsed(field()?).ok_or_else(malformed)?,
                    wrapped: hex::parsed(field()?).ok_or_else(malformed)?,
                    public: hex::parsed(field()?).ok_or_else(malformed)?,
                }))
            }
            kind if kind == PUBLIC.as_bytes() => Err(wrong(
                "it is the public half; only the private one opens a backup",
            )),
            _ => Err(wrong(
                "its line does not begin with strongroom-backup-private-1",
            )),
        }
    }
}

impl LockedIdentity {
    /// Opens it.
    ///
    /// # Errors
    /// [`BackupError::Passphrase`] when it is another one.
    pub fn unlock(&self, passphrase: &[u8]) -> Result<Identity, BackupError> {
        let cipher = passphrase_cipher(passphrase, &self.salt, self.cost)?;
        let mut secret = SecretVec::with_capacity(KEY_BYTES + TAG_BYTES)?;
        match cipher.open(
            &[0; 12],
            &self.public,
            TAG_BYTES,
            &self.wrapped,
            &mut secret,
        ) {
            Ok(()) => Identity::from_secret(&SecretBytes::copy_from(secret.expose())?),
            Err(strongroom_crypto::Error::DataInvalid) => Err(BackupError::Passphrase),
            Err(error) => Err(error.into()),
        }
    }
}

fn passphrase_cipher(
    passphrase: &[u8],
    salt: &[u8; SALT_BYTES],
    cost: Argon2Cost,
) -> Result<GcmKey, BackupError> {
    let key = SecretBytes::filled_by(KEY_BYTES, |key| {
        argon2id(
            passphrase,
            salt,
            b"strongroom backup identity v1",
            cost,
            key,
        )
        .map_err(BackupError::from)
    })?;
    Ok(key.with(GcmKey::new)?)
}

/// The one line that counts.
fn the_line(content: &[u8]) -> Result<&[u8], BackupError> {
    let mut lines = content
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line),
        (None, _) => Err(wrong("it is empty")),
        (Some(_), Some(_)) => Err(wrong("it has more than one line that counts")),
    }
}

fn accept_checksum(line: &[u8]) -> Result<(), BackupError> {
    let split = line.len().saturating_sub(2 * CHECKSUM_BYTES);
    let (before, own) = line.split_at(split);
    if checksum(before)?.as_bytes() == own {
        Ok(())
    } else {
        Err(wrong(
            "its checksum does not fit, so a character is wrong or missing; compare it with the original",
        ))
    }
}

fn checksum(before: &[u8]) -> Result<String, BackupError> {
    let value = digest(Hash::Sha256, before)?;
    let shown = value.as_ref().get(..CHECKSUM_BYTES).unwrap_or_default();
    Ok(hex::shown(shown))
}

fn split_of(shares: &[u8], group: &[u8]) -> Option<Split> {
    let shares = std::str::from_utf8(shares).ok()?;
    let (threshold, count) = shares.split_once('/')?;
    let group_bytes: [u8; 8] = hex::parsed(group)?;
    Some(Split {
        group: hex::shown(&group_bytes),
        threshold: threshold.parse().ok()?,
        count: count.parse().ok()?,
    })
}

/// The cost of a passphrase, within what a machine can pay: an edited file must not take it down.
fn cost_of(field: &[u8]) -> Option<Argon2Cost> {
    let numbers: Vec<u32> = std::str::from_utf8(field)
        .ok()?
        .split(',')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    match numbers.as_slice() {
        [memory_kib @ ..=4_194_304, passes @ ..=64, lanes @ ..=64] => Some(Argon2Cost {
            memory_kib: *memory_kib,
            passes: *passes,
            lanes: *lanes,
        }),
        _ => None,
    }
}

fn wrong(what: &str) -> BackupError {
    BackupError::Key(what.into())
}

const PUBLIC: &str = "strongroom-backup-public-1";
const PRIVATE: &str = "strongroom-backup-private-1";
const LOCKED: &str = "strongroom-backup-private-1-locked";
const SALT_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;
/// Room for the longest line, so that a growing buffer leaves nothing behind.
const LINE_BYTES: usize = 512;
