//! Token directories of SoftHSM 2, read and never written.
//!
//! What lives here: finding the tokens of a directory, and what is stored of each, whichever of the two stores wrote it.
//! What must never live here: a rule of the token, a PIN, or a write of any kind to the source, not even of a lock.
//! Who calls it: the programs of this package.

mod file;
mod sqlite;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use strongroom_wire::ck::AttributeType;
use zeroize::Zeroizing;

/// A value as SoftHSM keeps it.
#[derive(Clone)]
pub enum StoredValue {
    /// A truth value.
    Boolean(bool),
    /// A `CK_ULONG`.
    Number(u64),
    /// A run of bytes; of a private object it is encrypted.
    Bytes(Zeroizing<Vec<u8>>),
    /// Mechanisms, ascending.
    Mechanisms(Vec<u64>),
    /// An array of attributes, which holds no further array.
    Attributes(Attributes),
}

/// A value never shows its bytes: those of a public secret key lie there in clear.
impl fmt::Debug for StoredValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(out, "{value}"),
            Self::Number(value) => write!(out, "{value}"),
            Self::Bytes(bytes) => write!(out, "{} bytes", bytes.len()),
            Self::Mechanisms(types) => write!(out, "{} mechanisms", types.len()),
            Self::Attributes(attributes) => write!(out, "{} attributes", attributes.len()),
        }
    }
}

/// Attributes by their number.
pub type Attributes = BTreeMap<u64, StoredValue>;

/// An object as it is stored.
#[derive(Clone, Debug)]
pub struct StoredObject {
    /// Its file, or its row.
    pub name: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// Something that stands where an object should, and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its file, or its row.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
}

/// A token as it is stored.
#[derive(Debug)]
pub struct StoredToken {
    /// Its directory.
    pub directory: PathBuf,
    /// Its label, without padding.
    pub label: String,
    /// Its serial number, without padding.
    pub serial_number: String,
    /// The key of the token, sealed by the security officer's PIN.
    pub sealed_by_so: Option<Vec<u8>>,
    /// The key of the token, sealed by the user's PIN.
    pub sealed_by_user: Option<Vec<u8>>,
    /// Its objects, by name.
    pub objects: Vec<StoredObject>,
    /// What could not be read.
    pub damaged: Vec<Damaged>,
}

/// Why a token, or a directory of tokens, could not be read.
#[derive(Debug)]
pub enum SourceError {
    /// The system says no.
    Io {
        /// What was read.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// It is no token.
    Malformed {
        /// What was read.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Somebody wrote to it meanwhile.
    Changed {
        /// The token's directory.
        path: PathBuf,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, cause } => write!(out, "cannot read {}: {cause}", path.display()),
            Self::Malformed { path, why } => {
                write!(out, "{} is no token of SoftHSM: {why}", path.display())
            }
            Self::Changed { path } => write!(
                out,
                "the token in {} changed while it was read; stop the programs that use it and try again",
                path.display()
            ),
        }
    }
}

impl std::error::Error for SourceError {}

/// What stands in a directory of tokens.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that can be read, by directory.
    pub tokens: Vec<StoredToken>,
    /// Directories that should be tokens and cannot be read.
    pub unreadable: Vec<SourceError>,
}

/// Reads all tokens below a directory (`directories.tokendir` of softhsm2.conf).
///
/// # Errors
/// [`SourceError`] when the directory itself cannot be listed.
pub fn tokens(directory: &Path) -> Result<Found, SourceError> {
    let mut found = Found::default();
    for name in names_in(directory)? {
        let path = directory.join(name);
        if !path.is_dir() {
            continue;
        }
        match token(&path) {
            Ok(Some(token)) => found.tokens.push(token),
            Ok(None) => {}
            Err(error) => found.unreadable.push(error),
        }
    }
    Ok(found)
}

/// Reads the token in a directory; none when neither store has anything there.
///
/// # Errors
/// [`SourceError`].
pub fn token(directory: &Path) -> Result<Option<StoredToken>, SourceError> {
    // Which store wrote it is seen, not asked: a configuration names only the store of new tokens.
    if directory.join(file::TOKEN_FILE).exists() {
        file::token(directory).map(Some)
    } else if directory.join(sqlite::DATABASE_FILE).exists() {
        sqlite::token(directory).map(Some)
    } else {
        Ok(None)
    }
}

/// What a token says of itself: SoftHSM keeps it in an object of its own, under attributes of its vendor range.
struct Identity {
    label: String,
    serial_number: String,
    sealed_by_so: Option<Vec<u8>>,
    sealed_by_user: Option<Vec<u8>>,
}

impl Identity {
    fn of(attributes: &Attributes) -> Result<Self, String> {
        let bytes = |kind: u64, what: &str| match attributes.get(&kind) {
            Some(StoredValue::Bytes(bytes)) => Ok(Some(bytes.as_slice())),
            None => Ok(None),
            Some(_) => Err(format!("its {what} is no run of bytes")),
        };
        let text = |kind: u64, what: &str| {
            let bytes = bytes(kind, what)?.ok_or_else(|| format!("it has no {what}"))?;
            Ok::<_, String>(String::from_utf8_lossy(unpadded(bytes)).into_owned())
        };
        let sealed = |kind: u64, what: &str| {
            Ok::<_, String>(
                bytes(kind, what)?
                    .filter(|blob| !blob.is_empty())
                    .map(<[u8]>::to_vec),
            )
        };
        Ok(Self {
            label: text(TOKEN_LABEL, "label")?,
            serial_number: text(TOKEN_SERIAL, "serial number")?,
            sealed_by_so: sealed(TOKEN_SO_PIN, "PIN of the security officer")?,
            sealed_by_user: sealed(TOKEN_USER_PIN, "PIN of the user")?,
        })
    }

    fn with(
        self,
        directory: &Path,
        objects: Vec<StoredObject>,
        damaged: Vec<Damaged>,
    ) -> StoredToken {
        StoredToken {
            directory: directory.into(),
            label: self.label,
            serial_number: self.serial_number,
            sealed_by_so: self.sealed_by_so,
            sealed_by_user: self.sealed_by_user,
            objects,
            damaged,
        }
    }
}

/// An object that names no class is none, whatever else can be read of it.
fn whole(name: String, attributes: Attributes) -> Result<StoredObject, Damaged> {
    if attributes.contains_key(&AttributeType::CLASS.0) {
        Ok(StoredObject { name, attributes })
    } else {
        let why =
            "it has no CKA_CLASS: it was being written, or its writing was interrupted".into();
        Err(Damaged { name, why })
    }
}

/// PKCS#11 pads labels and serial numbers with blanks; a C program may have ended them by a zero.
fn unpadded(bytes: &[u8]) -> &[u8] {
    let padding = |byte: &&u8| matches!(**byte, b' ' | 0);
    let padded = bytes.iter().rev().take_while(padding).count();
    &bytes[..bytes.len() - padded]
}

/// Names in a directory, in the order of the alphabet.
fn names_in(directory: &Path) -> Result<Vec<String>, SourceError> {
    let io_error = |cause| SourceError::Io {
        path: directory.into(),
        cause,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error)? {
        if let Ok(name) = entry.map_err(io_error)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

// The attributes of the token itself: the vendor's range of PKCS#11 (0x80000000), then "SH" and a running number.
const TOKEN_LABEL: u64 = 0x8000_5349;
const TOKEN_SERIAL: u64 = 0x8000_534a;
const TOKEN_SO_PIN: u64 = 0x8000_534c;
const TOKEN_USER_PIN: u64 = 0x8000_534d;

/// Most attributes that one object may have: what one template of the wire can carry.
const OBJECT_ATTRIBUTES_MAX: usize = strongroom_wire::request::TEMPLATE_ATTRIBUTES_MAX;
/// Largest file or row that is read as one object: far over any object SoftHSM makes, and bounded.
const OBJECT_BYTES_MAX: u64 = 16 << 20;
