//! The private half of a key for backups, from wherever the operator has it.
//!
//! What lives here: reading it from a file, with its passphrase, or from shares in a file or typed one after the other.
//! What must never live here: a secret outside locked memory; a secret in an argument or a variable.
//! Who calls it: restoring and checking.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use strongroom::backup::{BackupError, Header, Identity, IdentityFile};
use strongroom_crypto::hex;
use strongroom_crypto::shamir::{self, Share, ShareError};
use strongroom_keymem::SecretVec;

use super::arguments::BackupArguments;
use super::restore::RestoreError;
use crate::seal::{SealError, Terminal};
use crate::store::io_failure;

/// Where the private half comes from.
#[derive(Clone, Debug, Default)]
pub struct IdentitySource {
    /// Its file.
    pub file: Option<PathBuf>,
    /// The file of its passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// The file of its shares.
    pub shares_file: Option<PathBuf>,
}

impl IdentitySource {
    /// As the flags say.
    pub(super) fn of(arguments: &BackupArguments) -> Self {
        Self {
            file: arguments.identity.clone(),
            passphrase_file: arguments.identity_passphrase_file.clone(),
            shares_file: arguments.shares_file.clone(),
        }
    }

    /// Whether the flags name one.
    pub(super) const fn is_named(&self) -> bool {
        self.file.is_some() || self.shares_file.is_some()
    }

    /// The private half for a backup with this header.
    ///
    /// # Errors
    /// [`RestoreError`] says what is wrong with it, or how to name one.
    pub(super) fn identity(&self, header: &Header) -> Result<Identity, RestoreError> {
        if let Some(path) = &self.file {
            return self.in_file(path);
        }
        let shares = match &self.shares_file {
            Some(path) => shares_in(path)?,
            None => typed_shares(header)?,
        };
        let secret = shamir::combine(&shares).map_err(RestoreError::Share)?;
        Ok(Identity::from_secret(&secret)?)
    }

    fn in_file(&self, path: &Path) -> Result<Identity, RestoreError> {
        match IdentityFile::parse(read_secret(path)?.expose())? {
            IdentityFile::Open(identity) => Ok(identity),
            IdentityFile::Locked(locked) => {
                let passphrase = match &self.passphrase_file {
                    Some(path) => read_passphrase(path)?,
                    None => ask_passphrase(path)?,
                };
                Ok(locked.unlock(passphrase.expose())?)
            }
        }
    }
}

/// The first line of a file, or of standard input.
pub(super) fn read_passphrase(path: &Path) -> Result<SecretVec, RestoreError> {
    let mut content = read_secret(path)?;
    let end = content.expose().iter().position(|byte| *byte == b'\n');
    content.truncate(end.unwrap_or_else(|| content.len()));
    if content.expose().last() == Some(&b'\r') {
        content.truncate(content.len() - 1);
    }
    if content.is_empty() {
        return Err(RestoreError::Refused(format!(
            "there is no passphrase in {}",
            path.display()
        )));
    }
    Ok(content)
}

fn ask_passphrase(path: &Path) -> Result<SecretVec, RestoreError> {
    let terminal = Terminal::open().ok_or_else(|| {
        RestoreError::Refused(format!(
            "{} needs its passphrase and there is no terminal to ask at; use --identity-passphrase-file",
            path.display()
        ))
    })?;
    terminal
        .ask(&format!("Passphrase of {}: ", path.display()))
        .map_err(lost)
}

fn shares_in(path: &Path) -> Result<Vec<Share>, RestoreError> {
    let content = read_secret(path)?;
    content
        .expose()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"))
        .enumerate()
        .map(|(place, line)| {
            Share::parse(line).map_err(|error| RestoreError::ShareInFile {
                place: place + 1,
                error,
            })
        })
        .collect()
}

/// One after the other, each from whoever holds it. A mistyped one is asked for again.
fn typed_shares(header: &Header) -> Result<Vec<Share>, RestoreError> {
    let split = header
        .recipients
        .iter()
        .find_map(|recipient| recipient.split.clone());
    let Some(split) = split else {
        return Err(RestoreError::Refused(
            "name the private key of the backup with --identity".into(),
        ));
    };
    let terminal = Terminal::open().ok_or_else(|| {
        RestoreError::Refused(format!(
            "the backup opens with {split}, or another private key, and there is no terminal to ask at; use --shares-file or --identity"
        ))
    })?;
    terminal
        .tell(&format!("The backup opens with {split}.\n"))
        .map_err(lost)?;
    let mut shares: Vec<Share> = Vec::new();
    while shares.len() < usize::from(split.threshold) {
        let prompt = format!("Share {} of {}: ", shares.len() + 1, split.threshold);
        let typed = terminal.ask(&prompt).map_err(lost)?;
        match accepted(typed.expose(), &shares, &split.group) {
            Ok(share) => shares.push(share),
            Err(ShareError::Crypto(error)) => {
                return Err(RestoreError::Share(ShareError::Crypto(error)));
            }
            Err(error) => terminal.tell(&format!("{error}\n")).map_err(lost)?,
        }
    }
    Ok(shares)
}

fn lost(error: SealError) -> RestoreError {
    RestoreError::Refused(format!("{error}; nothing was restored"))
}

fn accepted(typed: &[u8], before: &[Share], group: &str) -> Result<Share, ShareError> {
    let share = Share::parse(typed)?;
    let index = share.index();
    if hex::shown(&share.group()) != group {
        return Err(ShareError::OtherGroup { index });
    }
    if before.iter().any(|other| other.index() == index) {
        return Err(ShareError::Twice { index });
    }
    Ok(share)
}

/// A small file with a secret, or standard input, in locked memory.
fn read_secret(path: &Path) -> Result<SecretVec, RestoreError> {
    let failed =
        |error| RestoreError::Store(io_failure(&format!("read {}", path.display()), &error));
    let mut file = if path == Path::new("-") {
        let input = io::stdin().as_fd().try_clone_to_owned();
        File::from(input.map_err(failed)?)
    } else {
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode();
        if mode & 0o077 != 0 {
            // Not refused: a stick with FAT has no modes.
            tracing::warn!(file = %path.display(), "others may read this secret");
        }
        file
    };
    let mut content = SecretVec::new();
    let room = content
        .grow(SECRET_FILE_BYTES_MAX + 1)
        .map_err(|_| RestoreError::Backup(BackupError::Memory))?;
    let mut filled = 0;
    while filled < room.len() {
        let (_, rest) = room.split_at_mut(filled);
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if filled > SECRET_FILE_BYTES_MAX {
        return Err(RestoreError::Refused(format!(
            "{} is too long for a key or shares",
            path.display()
        )));
    }
    content.truncate(filled);
    Ok(content)
}

/// Thirty-two shares of the longest kind with remarks between.
const SECRET_FILE_BYTES_MAX: usize = 16 << 10;
