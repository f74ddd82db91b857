//! Making the key pair of backups.
//!
//! What lives here: the two files, or the one file and the shares that are shown once.
//! What must never live here: a private half that lies in ordinary memory or is written where it was not asked for.
//! Who calls it: the commands of this room.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use strongroom::backup::{Identity, PublicKey, Split};
use strongroom_crypto::hex;
use strongroom_crypto::shamir::{self, Share};
use strongroom_keymem::SecretVec;

use super::arguments::BackupArguments;
use super::files::{beside, write_new};
use super::identity::read_passphrase;
use super::restore::RestoreError;
use crate::seal::PASSPHRASE_COST;
use crate::store::io_failure;

/// Makes a key pair; answers what a person must know and keep, which may be secret.
pub(super) fn make(
    path: &Path,
    arguments: &BackupArguments,
    json: bool,
) -> Result<SecretVec, RestoreError> {
    let identity = Identity::generate()?;
    let public_path = beside(path, ".pub");
    let Some(shares) = &arguments.backup_shares else {
        let passphrase_file = arguments.identity_passphrase_file.as_deref();
        return one_file(path, &public_path, &identity, passphrase_file, json);
    };
    let (threshold, count) = numbers(shares)?;
    let shares = shamir::split(&identity.secret()?, threshold, count)
        .map_err(|error| RestoreError::Refused(format!("{shares} shares cannot be made: {error}; at least 2 of at most 32 open, at most 16 are needed")))?;
    let group = shares.first().map(Share::group).unwrap_or_default();
    let split = Split {
        group: hex::shown(&group),
        threshold,
        count,
    };
    let public = identity.public().clone().with_split(split);
    write_public(&public_path, &public)?;
    shares_told(&public, &public_path, &shares, json)
}

fn one_file(
    path: &Path,
    public_path: &Path,
    identity: &Identity,
    passphrase_file: Option<&Path>,
    json: bool,
) -> Result<SecretVec, RestoreError> {
    let (text, locked) = match passphrase_file {
        Some(file) => {
            let passphrase = read_passphrase(file)?;
            if passphrase.len() < PASSPHRASE_BYTES_MIN {
                return Err(RestoreError::Refused(
                    "a passphrase has at least 12 bytes: whoever finds the file may try at leisure"
                        .into(),
                ));
            }
            let text = identity.to_locked_text(passphrase.expose(), PASSPHRASE_COST)?;
            (text, true)
        }
        None => (identity.to_text()?, false),
    };
    let failed =
        |error| RestoreError::Store(io_failure(&format!("make {}", path.display()), &error));
    write_new(path, 0o600, text.expose()).map_err(failed)?;
    if let Err(error) = write_public(public_path, identity.public()) {
        // Half a key pair is none.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    let told = if json {
        let told = serde_json::json!({
            "key": identity.public().to_string(), "public_key_file": public_path, "private_key_file": path, "passphrase": locked,
        });
        format!("{told:#}\n")
    } else {
        format!(
            "made the key pair {} for backups\n\
             public half:  {}  (make backups with: strongroom backup FILE --to {})\n\
             private half: {}  ({})\n\
             Move the private half away from this machine: whoever has it opens every backup that is made for it, and without it none opens.\n",
            identity.public(),
            public_path.display(),
            public_path.display(),
            path.display(),
            if locked {
                "opens with its passphrase"
            } else {
                "without a passphrase"
            },
        )
    };
    let mut out = SecretVec::new();
    out.push_slice(told.as_bytes())?;
    Ok(out)
}

fn write_public(path: &Path, public: &PublicKey) -> Result<(), RestoreError> {
    let held = public
        .split()
        .map_or_else(|| "in one file".to_owned(), ToString::to_string);
    let text = format!(
        "# Public key for backups of Strongroom. Its private half: {held}.\n{}\n",
        public.to_text()?
    );
    // No secret: whoever makes backups may read it.
    write_new(path, 0o644, text.as_bytes())
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o644)))
        .map_err(|error| {
            RestoreError::Store(io_failure(&format!("make {}", path.display()), &error))
        })
}

fn shares_told(
    public: &PublicKey,
    public_path: &Path,
    shares: &[Share],
    json: bool,
) -> Result<SecretVec, RestoreError> {
    let mut out = SecretVec::new();
    let split = public.split().map(ToString::to_string).unwrap_or_default();
    let front = if json {
        let path = serde_json::json!(public_path);
        format!(
            "{{\"key\":\"{public}\",\"public_key_file\":{path},\"opens_with\":\"{split}\",\"shares\":["
        )
    } else {
        format!(
            "made the key pair {public} for backups; its private half opens with {split} and is written nowhere\n\
             public half: {}  (make backups with: strongroom backup FILE --to {})\n\
             Give each line to another person. They are shown this once:\n",
            public_path.display(),
            public_path.display()
        )
    };
    out.push_slice(front.as_bytes())?;
    for (place, share) in shares.iter().enumerate() {
        let (before, behind): (&[u8], &[u8]) = match (json, place) {
            (true, 0) => (b"\"", b"\""),
            (true, _) => (b",\"", b"\""),
            (false, _) => (b"  ", b"\n"),
        };
        out.push_slice(before)?;
        out.push_slice(share.to_text()?.expose())?;
        out.push_slice(behind)?;
    }
    if json {
        out.push_slice(b"]}\n")?;
    }
    Ok(out)
}

fn numbers(shares: &str) -> Result<(u8, u8), RestoreError> {
    let parsed = shares
        .split_once('/')
        .and_then(|(threshold, count)| Some((threshold.parse().ok()?, count.parse().ok()?)));
    parsed.ok_or_else(|| {
        RestoreError::Refused(format!(
            "\"{shares}\" is no number of shares; write for example 3/5: any three of five open"
        ))
    })
}

/// Shortest passphrase in bytes, as for the root key.
const PASSPHRASE_BYTES_MIN: usize = 12;
