//! The providers of an envelope: what stands in the file about each, and what each is called.
//!
//! What lives here: the kinds, and what of each is no secret.
//! What must never live here: a secret.
//! Who calls it: the envelope, the sources, rotation.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::passphrase::Stretch;
use super::tpm::TpmBlob;

/// A kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key in a file.
    KeyFile,
    /// A passphrase.
    Passphrase,
    /// A credential of the service manager.
    Credential,
    /// Shares that people hold.
    Shares,
    /// The TPM of the machine.
    Tpm,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::KeyFile,
        Self::Passphrase,
        Self::Credential,
        Self::Shares,
        Self::Tpm,
    ];

    /// Its name, in the configuration and in `root.seal`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyFile => "key_file",
            Self::Passphrase => "passphrase",
            Self::Credential => "credential",
            Self::Shares => "shares",
            Self::Tpm => "tpm",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| {
                format!(
                    "\"{text}\" is no provider of a seal; it is one of {}",
                    names()
                )
            })
    }
}

/// A provider, as it stands in the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Provider {
    /// A key in a file of its own.
    KeyFile {
        /// Where it was when the seal was made; the configuration comes before it.
        path: PathBuf,
    },
    /// A passphrase.
    Passphrase {
        /// How it becomes a key.
        stretch: Stretch,
    },
    /// A credential of the service manager.
    Credential {
        /// Its name; the configuration comes before it.
        name: String,
        /// How it becomes a key, where it is a passphrase; none where it is a key.
        #[serde(skip_serializing_if = "Option::is_none")]
        stretch: Option<Stretch>,
    },
    /// Shares that people hold.
    Shares {
        /// What the shares of this making have in common.
        group: String,
        /// How many give the key.
        threshold: u8,
        /// How many there are.
        count: u8,
    },
    /// The TPM of the machine.
    Tpm {
        /// Where it was when the seal was made; the configuration comes before it.
        device: PathBuf,
        /// What it sealed.
        blob: TpmBlob,
    },
}

impl Provider {
    /// Its kind.
    #[must_use]
    pub const fn of_kind(&self) -> Kind {
        match self {
            Self::KeyFile { .. } => Kind::KeyFile,
            Self::Passphrase { .. } => Kind::Passphrase,
            Self::Credential { .. } => Kind::Credential,
            Self::Shares { .. } => Kind::Shares,
            Self::Tpm { .. } => Kind::Tpm,
        }
    }

    /// The name of its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.of_kind().name()
    }

    /// Whether a person thought its secret up.
    pub(super) const fn is_guessable(&self) -> bool {
        matches!(
            self,
            Self::Passphrase { .. }
                | Self::Credential {
                    stretch: Some(_),
                    ..
                }
        )
    }

    /// How many secrets of it are needed, and how many there are.
    pub(super) const fn secrets(&self) -> (u32, u32) {
        match self {
            Self::KeyFile { .. }
            | Self::Passphrase { .. }
            | Self::Credential { .. }
            | Self::Tpm { .. } => (1, 1),
            Self::Shares {
                threshold, count, ..
            } => (*threshold as u32, *count as u32),
        }
    }

    /// Whether this version can use it.
    pub(super) fn accept(&self) -> Result<(), &'static str> {
        match self {
            Self::Passphrase { stretch }
            | Self::Credential {
                stretch: Some(stretch),
                ..
            } => stretch
                .accept()
                .map_err(|_| "the cost of its passphrase is none that this machine can pay"),
            Self::KeyFile { .. }
            | Self::Credential { stretch: None, .. }
            | Self::Shares { .. }
            | Self::Tpm { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyFile { path } => write!(out, "key file {}", path.display()),
            Self::Passphrase { .. } => out.write_str("passphrase"),
            Self::Credential {
                name,
                stretch: None,
            } => write!(out, "systemd credential {name} (a key)"),
            Self::Credential { name, .. } => {
                write!(out, "systemd credential {name} (a passphrase)")
            }
            Self::Shares {
                threshold, count, ..
            } => write!(out, "{threshold} of {count} shares"),
            Self::Tpm { device, blob } => write!(
                out,
                "TPM at {}, bound to PCRs {}",
                device.display(),
                blob.pcrs()
            ),
        }
    }
}
