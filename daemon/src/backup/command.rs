//! The work that is done instead of serving: making keys, checking a backup, restoring one.
//!
//! What lives here: which work the flags ask for, and what is said when it is done.
//! What must never live here: how it is done.
//! Who calls it: `main.rs`.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use strongroom::backup::{Header, Recipient, check_digest};
use strongroom_keymem::SecretVec;

use super::arguments::BackupArguments;
use super::files::BackupFile;
use super::identity::IdentitySource;
use super::keys;
use super::restore::{Checked, RestoreError, Target, prepare, rehearse};
use crate::command_line::Arguments;
use crate::config::Configuration;

/// What is done instead of serving.
#[derive(Clone, Debug)]
pub enum Work {
    /// Makes a key pair.
    Keygen(PathBuf),
    /// Restores a backup.
    Restore(PathBuf),
    /// Checks a backup; the directory is for what must be written to check it.
    Verify {
        /// The backup.
        file: PathBuf,
        /// For what must be written to check it.
        scratch: PathBuf,
    },
}

impl Work {
    /// What the flags ask for; none is serving.
    #[must_use]
    pub fn of(arguments: &BackupArguments) -> Option<Self> {
        let BackupArguments {
            restore,
            verify_backup,
            backup_keygen,
            ..
        } = arguments;
        match (restore, verify_backup, backup_keygen) {
            (Some(file), _, _) => Some(Self::Restore(file.clone())),
            (_, Some(file), _) => Some(Self::Verify {
                file: file.clone(),
                // The environment is emptied before anything is done.
                scratch: std::env::temp_dir(),
            }),
            (_, _, Some(file)) => Some(Self::Keygen(file.clone())),
            (None, None, None) => None,
        }
    }
}

/// Does it, and says on standard output what was done.
///
/// # Errors
/// [`RestoreError`] says what was refused or failed; then nothing has changed, unless it says so.
pub fn run(
    work: &Work,
    arguments: &Arguments,
    configuration: &Configuration,
) -> Result<(), RestoreError> {
    let (arguments, json) = (&arguments.backup, arguments.json);
    let source = IdentitySource::of(arguments);
    let said = match work {
        Work::Keygen(path) => keys::make(path, arguments, json)?,
        Work::Verify { file, scratch } => {
            let said = if source.is_named() {
                verified(file, &source, scratch, configuration, json)?
            } else {
                undamaged(file, json)?
            };
            spoken(&said)?
        }
        Work::Restore(file) => {
            let target = Target::of(configuration, arguments.replace_store);
            let prepared = prepare(&target, file, &source)?;
            prepared.mark()?;
            prepared.seal()?;
            let said = restored(&prepared.checked, prepared.kept(), &target, json);
            prepared.finish()?;
            spoken(&said)?
        }
    };
    // Not through a buffer of the library: shares of a private key may be among what is said.
    let out = io::stdout().as_fd().try_clone_to_owned();
    out.and_then(|out| File::from(out).write_all(said.expose()))
        .map_err(|error| RestoreError::Refused(format!("cannot write to standard output: {error}")))
}

fn spoken(text: &str) -> Result<SecretVec, RestoreError> {
    let mut said = SecretVec::new();
    said.push_slice(text.as_bytes())?;
    Ok(said)
}

fn undamaged(file: &Path, json: bool) -> Result<String, RestoreError> {
    let mut source = BackupFile::open(file, "reading")?;
    let (header, bytes, digest) = check_digest(&mut source)?;
    if json {
        let value = serde_json::json!({ "backup": header.id, "made": header.made, "records": header.records, "bytes": bytes, "digest": digest,
            "opens_with": opens_with(&header), "opened": false });
        return Ok(format!("{value:#}\n"));
    }
    Ok(format!(
        "{}undamaged: {bytes} bytes, SHA-256 {digest}\n\
         not checked: whether it opens, and who made it; that needs the private key (--identity or --shares-file)\n",
        described(&header)
    ))
}

fn verified(
    file: &Path,
    source: &IdentitySource,
    scratch: &Path,
    configuration: &Configuration,
    json: bool,
) -> Result<String, RestoreError> {
    let checked = rehearse(file, source, scratch, configuration)?;
    if json {
        return Ok(format!("{:#}\n", as_json(&checked)));
    }
    Ok(format!(
        "{}{}\
         whole: every chunk opens in its place, the manifest fits, the store opens with its root key, and the census of every token is right\n",
        described(&checked.header),
        tokens(&checked)
    ))
}

fn restored(checked: &Checked, kept: Option<&Path>, target: &Target<'_>, json: bool) -> String {
    let store = &target.configuration.store;
    if json {
        let mut value = as_json(checked);
        if let Some(members) = value.as_object_mut() {
            members.insert("store".into(), serde_json::json!(store));
            members.insert("kept".into(), serde_json::json!(kept));
        }
        return format!("{value:#}\n");
    }
    let kept = kept.map_or_else(String::new, |kept| {
        format!("the store that was there: {}\n", kept.display())
    });
    format!(
        "{}{}\
         restored: {}, sealed by {}\n{kept}\
         checked: every chunk and the manifest before anything was written; what was written was read back and compared, and opened with its census\n\
         PINs, and the tries made of them, are those of the moment of the backup. Start the daemon as usual.\n",
        described(&checked.header),
        tokens(checked),
        store.display(),
        target.configuration.seal.describe(),
    )
}

fn described(header: &Header) -> String {
    format!(
        "backup {}, made {} by version {}, {} records\nopens with {}\n",
        header.id,
        header.made,
        header.daemon,
        header.records,
        opens_with(header).join(", or ")
    )
}

fn opens_with(header: &Header) -> Vec<String> {
    let short = |recipient: &Recipient| format!("key {}", recipient.in_short());
    header.recipients.iter().map(short).collect()
}

fn tokens(checked: &Checked) -> String {
    checked
        .tokens
        .iter()
        .map(|token| {
            format!(
                "token \"{}\", serial number {}, {} objects\n",
                token.label, token.serial_number, token.objects
            )
        })
        .collect()
}

fn as_json(checked: &Checked) -> serde_json::Value {
    let tokens: Vec<serde_json::Value> = checked
        .tokens
        .iter()
        .map(|token| serde_json::json!({ "label": token.label, "serial_number": token.serial_number, "objects": token.objects }))
        .collect();
    serde_json::json!({
        "backup": checked.header.id, "made": checked.header.made, "records": checked.manifest.records, "bytes": checked.manifest.bytes,
        "digest": checked.manifest.digest, "opens_with": opens_with(&checked.header), "opened": true, "tokens": tokens,
    })
}
