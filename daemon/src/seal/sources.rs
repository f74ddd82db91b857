//! Where the secrets of the providers come from.
//!
//! What lives here: files, descriptors, credentials and the terminal, as the configuration names them.
//! What must never live here: what a secret opens.
//! Who calls it: the unsealing, and whatever makes an envelope.

use std::fs::File;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use strongroom_crypto::password::Argon2Cost;
use strongroom_keymem::{SecretBytes, SecretVec};

use super::files::{failed, read_all, read_private};
use super::passphrase::{Stretch, without_line_end};
use super::provider::Provider;
use super::tpm::{self, PcrSelection, TpmAddress};
use super::{ROOT_KEY_BYTES, SealError, ask, key_file};
use crate::system;

/// Where secrets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The key file, where the configuration names one.
    pub key_file: Option<PathBuf>,
    /// The key file where neither configuration nor envelope name one that is there.
    pub usual_key_file: PathBuf,
    /// The file of the passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// The descriptor on which the passphrase comes.
    pub passphrase_descriptor: Option<RawFd>,
    /// Whether a person at the terminal may be asked.
    pub may_ask: bool,
    /// The name of the credential.
    pub credential: Option<String>,
    /// The directory of the service manager's credentials.
    pub credentials: Option<PathBuf>,
    /// The TPM, where the configuration names one.
    pub tpm_device: Option<PathBuf>,
    /// The registers that a new seal is bound to.
    pub tpm_pcrs: PcrSelection,
    /// What a new passphrase costs.
    pub cost: Argon2Cost,
}

/// A secret, and what to call its source in errors.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) secret: T,
    pub(super) source: String,
}

impl Sources {
    /// The key of a provider, where it can be had without a person; None where a person must bring it.
    pub(super) fn key(&self, provider: &Provider) -> Result<Option<Found<SecretBytes>>, SealError> {
        match provider {
            Provider::KeyFile { path } => self.key_file_key(path).map(Some),
            Provider::Passphrase { stretch } => {
                let Some(found) = self.passphrase()? else {
                    return Ok(None);
                };
                let secret = stretch.key(without_line_end(found.secret.expose()))?;
                let source = found.source;
                Ok(Some(Found { secret, source }))
            }
            Provider::Credential { name, stretch } => {
                let name = self.credential.as_ref().unwrap_or(name);
                let found = self.credential(name)?;
                let secret = credential_key(found.secret.expose(), stretch.as_ref())?;
                let source = found.source;
                Ok(Some(Found { secret, source }))
            }
            Provider::Shares { .. } => Ok(None),
            Provider::Tpm { device, blob } => {
                let device = self.tpm_device.as_ref().unwrap_or(device);
                let secret = tpm::unseal(&TpmAddress::new(device), blob)?;
                let source = format!("what the TPM at {} gives", device.display());
                Ok(Some(Found { secret, source }))
            }
        }
    }

    /// The configured file comes first; else the one that the envelope names, if it is there; else the usual one.
    fn key_file_key(&self, recorded: &Path) -> Result<Found<SecretBytes>, SealError> {
        let path = match &self.key_file {
            Some(configured) => configured,
            None if recorded.exists() || !self.usual_key_file.exists() => recorded,
            None => &self.usual_key_file,
        };
        let found = |secret| Found {
            secret,
            source: format!("the key file {}", path.display()),
        };
        key_file::envelope_key(path)?.map(found).ok_or_else(|| {
            let elsewhere = match self.key_file.as_deref() {
                Some(configured) if configured != recorded => format!(
                    "; root.seal was made with {}: name that one with seal.key_file or --key-file, or restore it",
                    recorded.display()
                ),
                _ => "; restore it from a backup, or name it with seal.key_file or --key-file".into(),
            };
            SealError::Absent(format!(
                "the seal needs the key file {}, which is not there{elsewhere}",
                path.display()
            ))
        })
    }

    /// The passphrase, from a descriptor or a file; None where neither is named.
    pub(super) fn passphrase(&self) -> Result<Option<Found<SecretVec>>, SealError> {
        if let Some(descriptor) = self.passphrase_descriptor {
            let source = format!("descriptor {descriptor}");
            let path = Path::new(&source);
            let mut input = system::duplicate(descriptor)
                .map(File::from)
                .map_err(|error| failed(path, error))?;
            let secret = read_all(path, &mut input)?;
            if secret.is_empty() {
                return Err(SealError::Absent(format!(
                    "no passphrase came on {source} (--passphrase-fd)"
                )));
            }
            let source = format!("the passphrase on {source}");
            return Ok(Some(Found { secret, source }));
        }
        let Some(path) = &self.passphrase_file else {
            return Ok(None);
        };
        let secret = read_private(path)?.ok_or_else(|| {
            SealError::Absent(format!(
                "the passphrase file {} is not there; write it, or leave seal.passphrase_file away and use: strongroom unseal",
                path.display()
            ))
        })?;
        let source = format!("the passphrase in {}", path.display());
        Ok(Some(Found { secret, source }))
    }

    /// A credential of the service manager.
    pub(super) fn credential(&self, name: &str) -> Result<Found<SecretVec>, SealError> {
        let Some(directory) = &self.credentials else {
            return Err(SealError::Absent(format!(
                "the seal needs the credential {name}, and the service manager gave none; add to the unit: LoadCredentialEncrypted={name}"
            )));
        };
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(SealError::Unfit(format!(
                "\"{name}\" is no name of a credential"
            )));
        }
        // The manager guards this directory; the modes of its files show the masks of access lists.
        let path = directory.join(name);
        let mut file = File::open(&path).map_err(|error| {
            SealError::Absent(format!(
                "the seal needs the credential {name}, and {} cannot be read ({error}); add to the unit: LoadCredentialEncrypted={name}, or name another one with seal.credential",
                path.display()
            ))
        })?;
        Ok(Found {
            secret: read_all(&path, &mut file)?,
            source: format!("the credential {name}"),
        })
    }

    /// A passphrase for something new: from where the configuration says, or typed twice.
    pub(super) fn new_passphrase(&self) -> Result<SecretVec, SealError> {
        if let Some(found) = self.passphrase()? {
            let mut secret = found.secret;
            secret.truncate(without_line_end(secret.expose()).len());
            return Ok(secret);
        }
        if self.may_ask
            && let Some(mut terminal) = ask::Terminal::open()
        {
            return terminal.ask_twice();
        }
        Err(SealError::Absent(
            "there is no passphrase for the new seal: name a file with seal.passphrase_file, give it with --passphrase-fd, or start strongroomd once on a terminal".into(),
        ))
    }
}

/// The key that a credential is or gives.
pub(super) fn credential_key(
    content: &[u8],
    stretch: Option<&Stretch>,
) -> Result<SecretBytes, SealError> {
    match stretch {
        Some(stretch) => stretch.key(without_line_end(content)),
        None if content.len() == ROOT_KEY_BYTES => Ok(SecretBytes::copy_from(content)?),
        None => Err(SealError::Wrong(format!(
            "the credential has {} bytes; this seal was made with one of {ROOT_KEY_BYTES}, a key",
            content.len()
        ))),
    }
}

/// Whether a credential is a key: 32 bytes that are no text. Everything else is a passphrase.
pub(super) fn is_key(content: &[u8]) -> bool {
    let text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    content.len() == ROOT_KEY_BYTES && !content.iter().all(text)
}
