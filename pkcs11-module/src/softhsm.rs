//! The configuration of SoftHSM 2, `softhsm2.conf`.
//!
//! What lives here: where that file is looked for, and what its lines say, read as SoftHSM reads them.
//! What must never live here: a store of SoftHSM's; who comes from there may bring the keys along by an import.
//! Who calls it: the locator when the module stands in SoftHSM's place, and the programs for those who come from there.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names the configuration file; comes before everything else.
pub const ENV_CONF: &str = "SOFTHSM2_CONF";

/// The file of a user, below the home directory.
const OF_USER: &str = ".config/softhsm2/softhsm2.conf";

/// The file of the machine, as Debian builds SoftHSM.
const OF_SYSTEM: &str = "/etc/softhsm/softhsm2.conf";

/// Where tokens lie when the file does not say, as Debian builds SoftHSM.
const TOKENS: &str = "/var/lib/softhsm/tokens/";

/// Puts the module in SoftHSM's place (1), or keeps it out of there whatever its file is called (0).
pub const ENV_SOFTHSM: &str = "STRONGROOM_SOFTHSM";

/// The private daemon's directory in that of the tokens.
const HOME: &str = "strongroom";

/// Longest file that is read, in bytes; a real one has one page.
const BYTES_MAX: u64 = 1 << 20;

/// What the file says; what it does not say has SoftHSM's own default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// `directories.tokendir`: perhaps relative to the working directory, as SoftHSM takes it.
    pub tokens: PathBuf,
    /// `objectstore.backend`.
    pub backend: Backend,
    /// `log.level`.
    pub log_level: LogLevel,
    /// `slots.removable`: whether slots say CKF_REMOVABLE_DEVICE.
    pub removable: bool,
    /// `slots.mechanisms`.
    pub mechanisms: Mechanisms,
    /// `library.reset_on_fork`: whether a forked child begins anew.
    pub reset_on_fork: bool,
}

/// How SoftHSM stores a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `file`: a directory with a file for each object.
    File,
    /// `db`: a directory with a database of SQLite.
    Database,
}

/// What SoftHSM logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `ERROR`
    Error,
    /// `WARNING`
    Warning,
    /// `INFO`
    Info,
    /// `DEBUG`
    Debug,
}

/// Which mechanisms there are. Names are those of the standard as the file wrote them; SoftHSM ignores unknown ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanisms {
    /// All.
    All,
    /// These and no others.
    Only(Vec<String>),
    /// All but these.
    Without(Vec<String>),
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigurationError {
    /// The file is not there or cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A key has a value that SoftHSM refuses.
    Value {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What may stand there.
        allowed: &'static str,
    },
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => {
                write!(out, "cannot read {}: {error}", path.display())
            }
            Self::Value {
                key,
                value,
                allowed,
            } => write!(out, "{key} = {value} is none of {allowed}"),
        }
    }
}

impl std::error::Error for ConfigurationError {}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            tokens: PathBuf::from(TOKENS),
            backend: Backend::File,
            log_level: LogLevel::Info,
            removable: false,
            mechanisms: Mechanisms::All,
            reset_on_fork: false,
        }
    }
}

impl Configuration {
    /// The file that SoftHSM would read with these values of SOFTHSM2_CONF and HOME: the one named, even if it is not there; the user's, if it
    /// can be read; that of the machine. SoftHSM asks the data base of users where HOME is not set, so pass what that says in its place.
    #[must_use]
    pub fn find(environment: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
        if let Some(named) = environment(ENV_CONF) {
            return PathBuf::from(named);
        }
        let home = environment("HOME").filter(|home| !home.is_empty());
        let of_user = home.map(|home| PathBuf::from(home).join(OF_USER));
        of_user
            .filter(|path| File::open(path).is_ok())
            .unwrap_or_else(|| PathBuf::from(OF_SYSTEM))
    }

    /// Where the private daemon lives that stands in SoftHSM's place: in the directory of the tokens. SoftHSM passes over it, because it is no
    /// token of its.
    ///
    /// # Errors
    /// When that directory is relative, and the working directory is not there.
    pub fn home(&self) -> io::Result<PathBuf> {
        Ok(std::path::absolute(&self.tokens)?.join(HOME))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigurationError`]; SoftHSM's C_Initialize answers CKR_GENERAL_ERROR then.
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text))
            .map_err(|error| ConfigurationError::Unreadable {
                path: path.into(),
                error,
            })?;
        Self::parse(&text)
    }

    /// Reads the text of a file: `name = value`, where a hash ends the line. Lines without both are passed over, unknown names and words that
    /// are no truth value as well, and of two lines with one name the last holds.
    ///
    /// # Errors
    /// [`ConfigurationError::Value`].
    pub fn parse(text: &[u8]) -> Result<Self, ConfigurationError> {
        let mut read = Self::default();
        let (mut backend, mut log_level): (Option<&[u8]>, Option<&[u8]>) = (None, None);
        for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let Some((name, value)) = name_and_value(line) else {
                continue;
            };
            match name {
                b"directories.tokendir" => read.tokens = PathBuf::from(OsStr::from_bytes(value)),
                b"objectstore.backend" => backend = Some(value),
                b"log.level" => log_level = Some(value),
                b"slots.removable" => read.removable = truth(value).unwrap_or(read.removable),
                b"slots.mechanisms" => read.mechanisms = Mechanisms::parse(value),
                b"library.reset_on_fork" => {
                    read.reset_on_fork = truth(value).unwrap_or(read.reset_on_fork);
                }
                _ => {}
            }
        }
        // Judged at the end as SoftHSM does, so that a later line mends an earlier one.
        if let Some(value) = backend {
            read.backend = one_of(value, "objectstore.backend", "file, db", &BACKENDS)?;
        }
        if let Some(value) = log_level {
            let allowed = "ERROR, WARNING, INFO, DEBUG";
            read.log_level = one_of(value, "log.level", allowed, &LOG_LEVELS)?;
        }
        Ok(read)
    }
}

const BACKENDS: [(&str, Backend); 2] = [("file", Backend::File), ("db", Backend::Database)];

const LOG_LEVELS: [(&str, LogLevel); 4] = [
    ("ERROR", LogLevel::Error),
    ("WARNING", LogLevel::Warning),
    ("INFO", LogLevel::Info),
    ("DEBUG", LogLevel::Debug),
];

impl Mechanisms {
    /// A minus sign before the first name is for all of them; SoftHSM then takes it for a part of that name, which therefore stays. Here it
    /// does not: whoever wrote a name after the sign wanted the mechanism gone.
    fn parse(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let names = |list: &str| {
            let names = list.split(',').map(str::trim);
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        match text.strip_prefix('-') {
            _ if text == "ALL" => Self::All,
            Some(list) => Self::Without(names(list)),
            None => Self::Only(names(&text)),
        }
    }
}

/// The two parts of a line. Equality signs separate and may be repeated; what follows a further one is not read.
fn name_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let before_comment = line.split(|byte| *byte == b'#').next()?;
    let mut parts = before_comment
        .split(|byte| *byte == b'=')
        .filter(|part| !part.is_empty());
    let name = trimmed(parts.next()?)?;
    let value = trimmed(parts.next()?)?;
    Some((name, value))
}

/// Without the space around it; None if nothing else is there.
fn trimmed(part: &[u8]) -> Option<&[u8]> {
    // isspace(3) counts the vertical tabulator, which Rust does not.
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = part.iter().position(|byte| !is_space(byte))?;
    let end = part.iter().rposition(|byte| !is_space(byte))?;
    part.get(start..=end)
}

fn truth(value: &[u8]) -> Option<bool> {
    if value.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else if value.eq_ignore_ascii_case(b"false") {
        Some(false)
    } else {
        None
    }
}

fn one_of<T: Copy>(
    value: &[u8],
    key: &'static str,
    allowed: &'static str,
    words: &[(&str, T)],
) -> Result<T, ConfigurationError> {
    let found = words.iter().find(|(word, _)| word.as_bytes() == value);
    found
        .map(|(_, meant)| *meant)
        .ok_or_else(|| ConfigurationError::Value {
            key,
            value: String::from_utf8_lossy(value).into_owned(),
            allowed,
        })
}

#[cfg(test)]
#[path = "tests/softhsm.rs"]
mod tests;
