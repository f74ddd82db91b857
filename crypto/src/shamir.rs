//! What lives here: a secret in shares, any k of which give it back and fewer tell nothing (Shamir, "How to share a secret", 1979), over the
//! field of 256 elements, each byte for itself.
//!
//! What must never live here: who holds a share, and what the secret opens.
//!
//! Who calls it: the daemon's seals and backups. The form that people copy and type is in `text.rs`.
//!
//! What is shared is the secret and eight bytes that are computed from it, so that shares which do not belong together, or were
//! forged, are an error and not another secret. Those eight bytes are shared like the secret, so they tell nothing either.

mod field;
mod text;

use std::fmt;

use strongroom_keymem::{OutOfMemory, SecretBytes};

use crate::digest::Hash;
use crate::error::Error;
use crate::mac::HmacKey;
use crate::random;

/// How many shares a secret can need.
pub const THRESHOLD_MAX: u8 = 16;
/// How many shares a secret can have.
pub const COUNT_MAX: u8 = 32;
/// How long a shared secret can be, in bytes.
pub const SECRET_BYTES_MAX: usize = 64;

/// One share of a secret.
pub struct Share {
    group: [u8; GROUP_BYTES],
    threshold: u8,
    index: u8,
    value: SecretBytes,
}

impl Share {
    /// What the shares of one splitting have in common; no secret.
    #[must_use]
    pub fn group(&self) -> [u8; GROUP_BYTES] {
        self.group
    }

    /// How many shares are needed.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Which share this is, counted from one.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Share({}, {} needed)", self.index, self.threshold)
    }
}

/// Why shares give no secret, or a text is no share. It never tells what a share says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareError {
    /// The text does not begin as a share does.
    NoShare,
    /// The text is of a form that this version does not know.
    Version,
    /// A character that no share has.
    Character {
        /// The block after `strongroom-share-1`, counted from one.
        block: usize,
        /// The character in that block, counted from one.
        character: usize,
    },
    /// One character is wrong, or is exchanged with the next, and everything else is right.
    Mistyped {
        /// The block after `strongroom-share-1`, counted from one.
        block: usize,
        /// The character in that block, counted from one.
        character: usize,
    },
    /// More than one character is wrong, or one is missing or too many.
    Damaged,
    /// There are fewer shares than are needed.
    TooFew {
        /// How many there are.
        present: usize,
        /// How many are needed.
        needed: u8,
    },
    /// This share is of another secret, or of another splitting of the same one.
    OtherGroup {
        /// Its number.
        index: u8,
    },
    /// This share is there twice.
    Twice {
        /// Its number.
        index: u8,
    },
    /// Together they give no secret: at least one was not made with the others.
    Forged,
    /// The computation failed, for want of locked memory.
    Crypto(Error),
}

impl fmt::Display for ShareError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoShare => out.write_str(
                "this is no share; a share is one line that begins with strongroom-share-1",
            ),
            Self::Version => out.write_str(
                "this share has a form that this version does not know; use the version that made it, or a newer one",
            ),
            Self::Character { block, character } => write!(
                out,
                "character {character} of block {block} after strongroom-share-1 is none that shares have; look at it again"
            ),
            Self::Mistyped { block, character } => write!(
                out,
                "the share is mistyped, and it looks as if in block {block} after strongroom-share-1 at character {character}; look at it again"
            ),
            Self::Damaged => out.write_str(
                "the share is mistyped: a character is missing or too many, or several are wrong; compare it with what was written down",
            ),
            Self::TooFew { present, needed } => {
                write!(out, "{present} of {needed} shares are there; enter the others")
            }
            Self::OtherGroup { index } => write!(
                out,
                "share {index} belongs to another secret, or was made at another time than the first one entered; shares of one making only work together"
            ),
            Self::Twice { index } => {
                write!(out, "share {index} was entered already; enter another one")
            }
            Self::Forged => out.write_str(
                "the shares give no secret together: at least one was changed or forged; begin again with other shares",
            ),
            Self::Crypto(error) => write!(out, "the shares could not be combined: {error}"),
        }
    }
}

impl std::error::Error for ShareError {}

impl From<Error> for ShareError {
    fn from(error: Error) -> Self {
        Self::Crypto(error)
    }
}

impl From<OutOfMemory> for ShareError {
    fn from(error: OutOfMemory) -> Self {
        Self::Crypto(error.into())
    }
}

/// Splits a secret into `count` shares, any `threshold` of which give it back.
///
/// # Errors
/// [`Error::DataLength`] for a secret that is empty or longer than [`SECRET_BYTES_MAX`]; [`Error::ParameterInvalid`] for a threshold that is
/// not in 2..=16 or a count that is not between it and 32; [`Error::Memory`].
pub fn split(secret: &SecretBytes, threshold: u8, count: u8) -> Result<Vec<Share>, Error> {
    if secret.is_empty() || secret.len() > SECRET_BYTES_MAX {
        return Err(Error::DataLength);
    }
    // One share that is enough would be the secret itself on paper, under a name that says otherwise.
    if !(2..=THRESHOLD_MAX).contains(&threshold) || !(threshold..=COUNT_MAX).contains(&count) {
        return Err(Error::ParameterInvalid);
    }
    let mut group = [0; GROUP_BYTES];
    random::fill(&mut group)?;
    let check = check_of(&group, secret)?;
    let length = secret.len() + CHECK_BYTES;
    // Row after row of coefficients: the highest powers first, the shared bytes themselves last.
    let random_bytes = length * (usize::from(threshold) - 1);
    let coefficients = SecretBytes::filled_by(random_bytes + length, |bytes| {
        let (powers, shared) = bytes.split_at_mut(random_bytes);
        // A coefficient may be zero, also the highest: any other choice would tell something.
        random::fill(powers)?;
        let (own, checked) = shared.split_at_mut(secret.len());
        secret.with(|secret| own.copy_from_slice(secret));
        check.with(|check| checked.copy_from_slice(check));
        Ok::<(), Error>(())
    })?;
    let share = |index| {
        let value = SecretBytes::filled_by(length, |value| {
            coefficients.with(|rows| {
                for (place, byte) in value.iter_mut().enumerate() {
                    let column = rows.iter().skip(place).step_by(length).copied();
                    *byte = field::polynomial_at(index, column);
                }
            });
            Ok::<(), Error>(())
        })?;
        Ok(Share {
            group,
            threshold,
            index,
            value,
        })
    };
    (1..=count).map(share).collect()
}

/// The secret of these shares, in any order. More than needed may come: the first ones are used.
///
/// # Errors
/// [`ShareError`] says which share does not belong here, or how many are missing.
pub fn combine(shares: &[Share]) -> Result<SecretBytes, ShareError> {
    let first = shares.first().ok_or(ShareError::TooFew {
        present: 0,
        needed: 2,
    })?;
    for (place, share) in shares.iter().enumerate() {
        let index = share.index;
        let alike = share.group == first.group
            && share.threshold == first.threshold
            && share.value.len() == first.value.len();
        if !alike {
            return Err(ShareError::OtherGroup { index });
        }
        if shares.iter().take(place).any(|other| other.index == index) {
            return Err(ShareError::Twice { index });
        }
    }
    let used = shares
        .get(..usize::from(first.threshold))
        .ok_or(ShareError::TooFew {
            present: shares.len(),
            needed: first.threshold,
        })?;
    let length = first.value.len();
    let shared = SecretBytes::filled_by(length, |sum| {
        for share in used {
            let weight = weight_at_zero(share.index, used);
            share.value.with(|value| {
                for (sum, byte) in sum.iter_mut().zip(value) {
                    *sum ^= field::product(weight, *byte);
                }
            });
        }
        Ok::<(), ShareError>(())
    })?;
    let secret = shared
        .with(|shared| SecretBytes::copy_from(&shared[..length.saturating_sub(CHECK_BYTES)]))?;
    let check = check_of(&first.group, &secret)?;
    let right = shared.with(|shared| {
        check.equals_in_constant_time(&shared[length.saturating_sub(CHECK_BYTES)..])
    });
    right.then_some(secret).ok_or(ShareError::Forged)
}

/// What the share of this number counts for (Lagrange, at zero). Numbers of shares are no secret.
fn weight_at_zero(index: u8, used: &[Share]) -> u8 {
    used.iter()
        .filter(|share| share.index != index)
        .fold(1, |weight, share| {
            // In this field the difference is the sum.
            let quotient = field::product(share.index, field::inverse(share.index ^ index));
            field::product(weight, quotient)
        })
}

/// The bytes that are shared along, by which a wrong result is known.
fn check_of(group: &[u8; GROUP_BYTES], secret: &SecretBytes) -> Result<SecretBytes, Error> {
    let mut mac = HmacKey::new(Hash::Sha256, group)?.start()?;
    mac.update(CHECK_PURPOSE)?;
    secret.with(|secret| mac.update(secret))?;
    let mac = mac.finish()?;
    SecretBytes::copy_from(&mac.as_ref()[..CHECK_BYTES]).map_err(Error::from)
}

/// Two splittings have the same name once in 2³² splittings.
const GROUP_BYTES: usize = 8;
/// A forged share passes once in 2⁶⁴ tries, each of which needs the other holders.
const CHECK_BYTES: usize = 8;
const CHECK_PURPOSE: &[u8] = b"strongroom share check v1";
