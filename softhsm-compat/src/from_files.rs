//! `strongroom import pem`, `pkcs12` and `jwk`.
//!
//! What lives here: reading the files into locked memory, asking for their passwords, and what a failure says.
//! What must never live here: a format.
//! Who calls it: `strongroom-import`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use strongroom_cli::client::Client;
use strongroom_cli::failure::Failure;
use strongroom_cli::pin::{self, Pin};
use strongroom_keymem::SecretVec;
use strongroom_wire::ck::ObjectClass;

use crate::arguments::{BundleArguments, JwkArguments, NameArguments, PemArguments};
use crate::door::{self, Arrivals};
use crate::files::error::FileError;
use crate::files::open::{self, Findings, ReadError};
use crate::files::password::Password;
use crate::files::{jwk, pkcs12};
use crate::report::{Line, Name, Part};

/// Brings in what PEM and DER files hold.
///
/// # Errors
/// [`Failure`]; nothing has happened then.
pub fn pem(arguments: &PemArguments, client: &mut Client) -> Result<Part, Failure> {
    let pin = door::pin(&arguments.into)?;
    let mut findings = begun(&arguments.names)?;
    for path in &arguments.files {
        let file = contents(path)?;
        let (name, label) = names(path);
        let mut ask = || password(path, arguments.password_file.as_deref());
        open::read(file.expose(), &name, &label, &mut ask, &mut findings).map_err(|error| {
            match error {
                ReadError::File(error) => about(path, &error),
                ReadError::Unanswered(failure) => failure,
            }
        })?;
    }
    let source = match arguments.files.as_slice() {
        [one] => format!("file {}", one.display()),
        [first, more @ ..] => format!("file {} and {} more", first.display(), more.len()),
        [] => String::new(),
    };
    door::bring(arrivals(source, findings), &arguments.into, &pin, client)
}

/// Brings in what a PKCS #12 file holds.
///
/// # Errors
/// [`Failure`]; nothing has happened then.
pub fn pkcs12(arguments: &BundleArguments, client: &mut Client) -> Result<Part, Failure> {
    let path = &arguments.file;
    let pin = door::pin(&arguments.into)?;
    let mut findings = begun(&arguments.names)?;
    let file = contents(path)?;
    let (name, label) = names(path);
    let password = match arguments.no_password {
        true => Password::new(b"").map_err(|error| about(path, &error))?,
        false => password(path, arguments.password_file.as_deref())?,
    };
    pkcs12::read(file.expose(), &name, &label, &password, &mut findings)
        .map_err(|error| about(path, &error))?;
    let source = format!("PKCS #12 file {}", path.display());
    door::bring(arrivals(source, findings), &arguments.into, &pin, client)
}

/// Brings in JSON Web Keys.
///
/// # Errors
/// [`Failure`]; nothing has happened then.
pub fn jwk(arguments: &JwkArguments, client: &mut Client) -> Result<Part, Failure> {
    let path = &arguments.file;
    let pin = door::pin(&arguments.into)?;
    let mut findings = begun(&arguments.names)?;
    let file = contents(path)?;
    let (name, label) = names(path);
    jwk::read(file.expose(), &name, &label, &mut findings).map_err(|error| about(path, &error))?;
    let source = format!("JSON Web Keys in {}", path.display());
    door::bring(arrivals(source, findings), &arguments.into, &pin, client)
}

fn begun(names: &NameArguments) -> Result<Findings, Failure> {
    let id = names.id.as_deref().map(identifier).transpose()?;
    let mut findings = Findings::default();
    findings.without_public_keys = names.no_public_key;
    findings.label.clone_from(&names.label);
    findings.id = id;
    Ok(findings)
}

fn identifier(digits: &str) -> Result<Vec<u8>, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "--id {digits}: not an even number of hexadecimal digits"
        ))
    };
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return Err(wrong());
    };
    pairs
        .iter()
        .map(|pair| strongroom_crypto::hex::parsed::<1>(pair).map(|[byte]| byte))
        .collect::<Option<_>>()
        .ok_or_else(wrong)
}

fn arrivals(source: String, mut findings: Findings) -> Arrivals {
    if findings.count(ObjectClass::CERTIFICATE) > 0 {
        findings.notes.push(
            "certificates come without trust: CKA_TRUSTED is for the security officer to set"
                .into(),
        );
    }
    let refused = findings
        .refused
        .into_iter()
        .map(|(source, why)| Line::unread(Name::unread(&source), why));
    Arrivals {
        source,
        refused: refused.collect(),
        objects: findings.objects,
        notes: findings.notes,
    }
}

/// The name of a file as a report has it, and as a label.
fn names(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    (text(path.file_name()), text(path.file_stem()))
}

fn password(path: &Path, file: Option<&Path>) -> Result<Password, Failure> {
    let what = format!("password of {}", path.display());
    let typed: Pin = pin::known(&what, "--password-file", file)?;
    Password::new(typed.expose()).map_err(|error| about(path, &error))
}

fn about(path: &Path, error: &FileError) -> Failure {
    Failure::Failed(format!("{}: {error}; nothing was changed", path.display()))
}

/// The bytes of a file, in locked memory.
fn contents(path: &PathBuf) -> Result<SecretVec, Failure> {
    let failure = |error: &std::io::Error| Failure::file("read", path, error);
    let mut file = File::open(path).map_err(|error| failure(&error))?;
    let expected = file.metadata().map_err(|error| failure(&error))?.len();
    let too_big = || {
        Failure::Failed(format!(
            "{}: it is far too big for a file of keys",
            path.display()
        ))
    };
    if expected > FILE_BYTES_MAX {
        return Err(too_big());
    }
    let memory = |_| about(path, &FileError::Resources);
    let mut bytes = SecretVec::with_capacity(usize::try_from(expected).map_err(|_| too_big())? + 1)
        .map_err(memory)?;
    let mut piece = zeroize::Zeroizing::new([0; 4096]);
    loop {
        let read = file.read(&mut *piece).map_err(|error| failure(&error))?;
        if read == 0 {
            return Ok(bytes);
        }
        bytes.push_slice(&piece[..read]).map_err(memory)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(too_big());
        }
    }
}

/// A store of ten thousand certificates has some 20 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;
