//! A secret sealed by a TPM 2.0 to the state of the machine.
//!
//! What lives here: `seal` and `unseal`, what they are told (address, registers) and what they give (a blob without a secret).
//! What must never live here: where a blob is kept, and what the secret opens.
//! Who calls it: the seal of the root key.
//!
//! The client speaks the protocol of the TPM itself (TCG, TPM 2.0 Library, Parts 1 to 3), because the usual library would bring its own
//! memory, threads and configuration into the process that holds the keys. Reading order: `client.rs` (one command), `session.rs` (what allows and protects it),
//! `objects.rs` (what is asked). docs/decisions/0020-tpm.md says what it protects against and what not.

mod bytes;
mod channel;
mod client;
mod error;
mod numbers;
mod objects;
mod session;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strongroom_keymem::SecretBytes;

use self::bytes::Reader;
use self::client::Tpm;
use self::numbers::TPM_ALG_SHA256;
use self::objects::Primary;
use self::session::{HASH_BYTES, Purpose, Session};

pub use self::error::TpmError;

/// Where a TPM is: a device such as `/dev/tpmrm0`, or the Unix socket of one in software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmAddress {
    path: PathBuf,
    patience: Duration,
}

impl TpmAddress {
    /// The device or socket at this path. Which of them it is, is looked at when it is used.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            patience: PATIENCE,
        }
    }

    /// The same, waiting so long for each answer of a socket.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The device or socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Registers (PCRs) of the bank of SHA-256; by default register 7, in which firmware records the state of Secure Boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct PcrSelection {
    mask: u32,
}

impl PcrSelection {
    /// The registers with these numbers, 0 to 23, in any order.
    ///
    /// # Errors
    /// [`TpmError::Selection`] for another number, or for none.
    pub fn new(numbers: &[u8]) -> Result<Self, TpmError> {
        let mask = numbers.iter().try_fold(0, |mask, number| {
            (*number < PCR_COUNT).then(|| mask | 1_u32 << number)
        });
        match mask {
            None | Some(0) => Err(TpmError::Selection),
            Some(mask) => Ok(Self { mask }),
        }
    }

    /// The numbers, in order.
    #[must_use]
    pub fn numbers(&self) -> Vec<u8> {
        (0..PCR_COUNT)
            .filter(|number| self.mask >> number & 1 == 1)
            .collect()
    }

    /// As commands list them: one bank, three bytes of bits (Part 2, 10.9.7).
    fn list(&self) -> [u8; 10] {
        let [hash_high, hash_low] = TPM_ALG_SHA256.to_be_bytes();
        let [low, middle, high, _] = self.mask.to_le_bytes();
        [0, 0, 0, 1, hash_high, hash_low, 3, low, middle, high]
    }

    /// The bits of the same bank in an answer.
    fn shown(reader: &mut Reader<'_>) -> Result<u32, TpmError> {
        let mut mask = 0;
        for _ in 0..reader.long()? {
            let (hash, bytes) = (reader.short()?, reader.byte()?);
            let bits = reader.raw(bytes.into())?;
            if hash == TPM_ALG_SHA256 {
                let bits = bits.iter().take(3).rev();
                mask |= bits.fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
            }
        }
        Ok(mask)
    }
}

impl Default for PcrSelection {
    fn default() -> Self {
        Self { mask: 1 << 7 }
    }
}

impl TryFrom<Vec<u8>> for PcrSelection {
    type Error = TpmError;

    fn try_from(numbers: Vec<u8>) -> Result<Self, TpmError> {
        Self::new(&numbers)
    }
}

impl From<PcrSelection> for Vec<u8> {
    fn from(selection: PcrSelection) -> Self {
        selection.numbers()
    }
}

impl fmt::Display for PcrSelection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.numbers().iter().map(u8::to_string).collect();
        out.write_str(&numbers.join(", "))
    }
}

/// A sealed secret. It opens nothing without the TPM, so it may lie anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmBlob {
    pcrs: PcrSelection,
    /// What the registers said at the sealing, to name those that changed. The policy is in the sealed object.
    #[serde(with = "hexadecimal")]
    values: Vec<u8>,
    /// The name of the primary key, by which the TPM is known again.
    #[serde(with = "hexadecimal")]
    primary: Vec<u8>,
    #[serde(with = "hexadecimal")]
    public: Vec<u8>,
    #[serde(with = "hexadecimal")]
    private: Vec<u8>,
}

impl TpmBlob {
    /// The registers that it is sealed to.
    #[must_use]
    pub fn pcrs(&self) -> &PcrSelection {
        &self.pcrs
    }

    /// Which registers differ from these values of now.
    fn changed(&self, now: &[[u8; HASH_BYTES]]) -> Vec<u8> {
        let then = self.values.chunks(HASH_BYTES);
        self.pcrs
            .numbers()
            .into_iter()
            .zip(then.zip(now))
            .filter(|(_, (then, now))| then != now)
            .map(|(number, _)| number)
            .collect()
    }
}

/// Seals a secret of 1 to 128 bytes to the values that these registers have now, and makes sure that it opens.
///
/// # Errors
/// [`TpmError`] says what is wrong with the TPM and what to do.
pub fn seal(address: &TpmAddress, secret: &[u8], pcrs: &PcrSelection) -> Result<TpmBlob, TpmError> {
    if !(1..=SECRET_BYTES_MAX).contains(&secret.len()) {
        return Err(TpmError::SecretLength);
    }
    let mut tpm = Tpm::open(address)?;
    let primary = Primary::make(&mut tpm)?;
    let mut session = Session::open(&mut tpm, &primary, Purpose::Password)?;
    let values = objects::pcr_values(&mut tpm, &mut session, pcrs)?;
    let policy = objects::policy_of(pcrs, &values)?;
    let (private, public) = objects::create(&mut tpm, &primary, &mut session, secret, &policy)?;
    let blob = TpmBlob {
        pcrs: pcrs.clone(),
        values: values.into_flattened(),
        primary: primary.name.clone(),
        public,
        private,
    };
    // A root key that was sealed and does not open is lost.
    let opened = objects::open(&mut tpm, &primary, &mut session, &blob)?;
    if opened.equals_in_constant_time(secret) {
        Ok(blob)
    } else {
        Err(TpmError::Garbled("what it sealed opens as something else"))
    }
}

/// Opens what [`seal`] sealed, on the same TPM with the same values in the registers.
///
/// # Errors
/// [`TpmError`]; among them [`TpmError::PcrsChanged`], which names the registers, and [`TpmError::OtherTpm`].
pub fn unseal(address: &TpmAddress, blob: &TpmBlob) -> Result<SecretBytes, TpmError> {
    let mut tpm = Tpm::open(address)?;
    let primary = Primary::make(&mut tpm)?;
    // Before a session, whose secret would go to whoever answers.
    if primary.name != blob.primary {
        return Err(TpmError::OtherTpm);
    }
    let mut session = Session::open(&mut tpm, &primary, Purpose::Password)?;
    objects::open(&mut tpm, &primary, &mut session, blob)
}

/// Bytes as hexadecimal digits, in whatever format the blob is written.
mod hexadecimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&strongroom_crypto::hex::shown(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(input)?;
        let pair = |pair: &[u8]| {
            let digits = std::str::from_utf8(pair).ok()?;
            // from_str_radix would take a sign.
            let two = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
            u8::from_str_radix(digits, 16).ok().filter(|_| two)
        };
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(pair).collect();
        bytes
            .filter(|bytes| bytes.len() <= super::PART_BYTES_MAX)
            .ok_or_else(|| D::Error::custom("not pairs of hexadecimal digits"))
    }
}

/// A TPM for PCs has 24 registers that are no secret of the platform's.
const PCR_COUNT: u8 = 24;
/// What every TPM can seal (Part 2, 11.1.15: MAX_SYM_DATA).
const SECRET_BYTES_MAX: usize = 128;
/// Longer is no part of a blob: theirs are a fifth of it.
const PART_BYTES_MAX: usize = 1024;
/// The slowest command here takes a slow chip some seconds.
const PATIENCE: Duration = Duration::from_secs(30);
