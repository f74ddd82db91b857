//! The configuration file.
//!
//! What lives here: the keys of `strongroom.toml`, and what is said when one is wrong.
//! What must never live here: defaults of the daemon; a key that is not written is None.
//! Who calls it: the configuration.
//!
//! `socket`, `autostart`, `daemon`, `reconnect_seconds` and `after-fork` are shared with the PKCS#11 module, which reads only these.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use strongroom::mechanism::Mechanisms;
use strongroom::release::register::ReleaseSettings;

use super::limits::LimitsSection;

/// The file, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The socket for applications.
    pub socket: Option<PathBuf>,
    /// Whether the module starts the daemon; read by the module.
    pub autostart: Option<bool>,
    /// The daemon's program; read by the module and the command line.
    pub daemon: Option<PathBuf>,
    /// The socket for administration.
    pub admin_socket: Option<PathBuf>,
    /// Mode of the socket for applications, octal.
    pub socket_mode: Option<String>,
    /// Group of the socket for applications.
    pub socket_group: Option<String>,
    /// The user that root becomes.
    pub user: Option<String>,
    /// Whether root may let others in.
    pub allow_root: bool,
    /// `[store]`
    pub store: StoreSection,
    /// `[seal]`
    pub seal: SealSection,
    /// `[audit]`
    pub audit: AuditSection,
    /// `[backup]`
    pub backup: BackupSection,
    /// `[memory]`
    pub memory: MemorySection,
    /// `[jail]`
    pub jail: JailSection,
    /// `[log]`
    pub log: LogSection,
    /// `[limits]`
    pub limits: LimitsSection,
    /// `[mechanisms]`
    pub mechanisms: MechanismsSection,
    /// `[release]`
    pub release: ReleaseSection,
    /// How long calls wait for a daemon that has gone; read by the module.
    #[serde(alias = "reconnect-seconds")]
    pub reconnect_seconds: Option<u64>,
    /// What a forked child is that does not call C_Initialize; read by the module, and by the daemon for the tickets of logins.
    #[serde(rename = "after-fork", alias = "after_fork")]
    pub after_fork: Option<AfterFork>,
}

/// What a forked child is that does not call C_Initialize.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterFork {
    /// It must call C_Initialize, as the standard says.
    #[default]
    Uninitialized,
    /// It goes on with the sessions and logins of its parent.
    Inherit,
}

/// `[store]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// The store's file.
    pub path: Option<PathBuf>,
}

/// `[seal]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SealSection {
    /// The file of the root key.
    pub key_file: Option<PathBuf>,
    /// The file of the passphrase that the root key is derived from.
    pub passphrase_file: Option<PathBuf>,
    /// The providers of a new store: one, or two.
    pub providers: Option<Vec<String>>,
    /// How many of them open it: `one` or `all`.
    pub need: Option<String>,
    /// The name of the service manager's credential.
    pub credential: Option<String>,
    /// The device or socket of the TPM.
    pub tpm_device: Option<PathBuf>,
    /// The registers that a new seal by the TPM is bound to.
    pub tpm_pcrs: Option<Vec<u8>>,
}

/// `[audit]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSection {
    /// The journal's file.
    pub path: Option<PathBuf>,
    /// What is recorded.
    pub level: Option<String>,
}

/// `[backup]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupSection {
    /// The lines of the public keys that backups are made for, and for no others.
    pub recipients: Vec<String>,
}

/// `[memory]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySection {
    /// Locked memory in bytes.
    pub bytes: Option<usize>,
    /// Whether the daemon may run without locked memory.
    pub danger_unlocked: bool,
}

/// `[jail]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JailSection {
    /// Whether the daemon runs without its jail.
    pub danger_none: bool,
}

/// `[mechanisms]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MechanismsSection {
    /// Names of those that nobody may use.
    pub refused: Vec<String>,
    /// Names of those that may be used, if not all.
    pub allowed: Option<Vec<String>>,
}

impl MechanismsSection {
    /// As the token takes it.
    ///
    /// # Errors
    /// Which name is none.
    pub fn chosen(&self) -> Result<Mechanisms, String> {
        Mechanisms::parse(&self.refused, self.allowed.as_deref())
    }
}

/// `[release]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseSection {
    /// Whether each statement of an authority releases once.
    pub single_use: bool,
    /// What follows the name of a token in the name of its host.
    pub domain: Option<String>,
    /// Whether the daemon's own authority measures processes.
    pub local: bool,
}

impl ReleaseSection {
    /// As the token takes it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn chosen(&self) -> Result<ReleaseSettings, String> {
        let usual = ReleaseSettings::default();
        let domain = self.domain.clone().unwrap_or(usual.domain);
        let label = |label: &str| {
            let good =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=63).contains(&label.len()) && label.bytes().all(good)
        };
        if domain.len() > DOMAIN_BYTES_MAX || !domain.split('.').all(label) {
            return Err(format!(
                "{domain:?} is no domain: lower-case letters, digits, - and dots"
            ));
        }
        Ok(ReleaseSettings {
            single_use: self.single_use,
            domain,
            local: self.local,
        })
    }
}

/// With the label of a token before it, a host has at most 253 bytes.
const DOMAIN_BYTES_MAX: usize = 200;

/// `[log]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// How much is logged.
    pub level: Option<String>,
    /// `text` or `json`.
    pub format: Option<String>,
    /// Where the log of a daemon without a terminal goes.
    pub file: Option<PathBuf>,
}

/// What is wrong with the file.
#[derive(Debug, PartialEq, Eq)]
pub struct FileError {
    path: PathBuf,
    /// Line and column, counted from 1.
    place: Option<(usize, usize)>,
    what: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => {
                write!(
                    out,
                    "{}:{line}:{column}: {}",
                    self.path.display(),
                    self.what
                )
            }
            None => write!(out, "{}: {}", self.path.display(), self.what),
        }
    }
}

impl std::error::Error for FileError {}

impl Settings {
    /// Parses the text of the file.
    ///
    /// # Errors
    /// [`FileError`] with line, column, key, and the key that was probably meant.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let settings: Self = toml::from_str(text).map_err(|error| FileError {
            path: path.into(),
            place: error.span().map(|span| place_of(text, span.start)),
            what: with_near_key(error.message()),
        })?;
        settings.refuse_relative_paths(path)?;
        let wrong = |what| FileError {
            path: path.into(),
            place: None,
            what,
        };
        settings.limits.check().map_err(wrong)?;
        Ok(settings)
    }

    /// The text of a file that is right, with lines that come before its own: `KEY=VALUE` each.
    ///
    /// # Errors
    /// Which line is wrong, and why.
    pub fn with(path: &Path, text: &str, lines: &[String]) -> Result<Self, String> {
        let mut all = text
            .parse::<toml::Table>()
            .map_err(|error| error.message().to_owned())?;
        for line in lines {
            let table = line
                .parse::<toml::Table>()
                .map_err(|error| format!("{line}: {}; write KEY=VALUE", error.message()))?;
            overlay(&mut all, table);
            // Judged line by line, so that the one that is wrong is named.
            let settings = Self::deserialize(all.clone())
                .map_err(|error| format!("{line}: {}", with_near_key(error.message())))?;
            settings
                .refuse_relative_paths(path)
                .map_err(|error| format!("{line}: {}", error.what))?;
            let judged = settings.limits.check();
            judged.map_err(|what| format!("{line}: {what}"))?;
        }
        Self::deserialize(all).map_err(|error| error.message().to_owned())
    }

    /// A relative path would mean a different file for the daemon and for each application.
    fn refuse_relative_paths(&self, path: &Path) -> Result<(), FileError> {
        let all = [
            ("socket", &self.socket),
            ("daemon", &self.daemon),
            ("admin_socket", &self.admin_socket),
            ("store.path", &self.store.path),
            ("seal.key_file", &self.seal.key_file),
            ("seal.passphrase_file", &self.seal.passphrase_file),
            ("seal.tpm_device", &self.seal.tpm_device),
            ("audit.path", &self.audit.path),
            ("log.file", &self.log.file),
        ];
        match all
            .into_iter()
            .find(|(_, value)| value.as_ref().is_some_and(|one| one.is_relative()))
        {
            Some((key, value)) => Err(FileError {
                path: path.into(),
                place: None,
                what: format!(
                    "{key} = \"{}\" is relative; write the whole path, from / on",
                    value.as_deref().unwrap_or_else(|| Path::new("")).display()
                ),
            }),
            None => Ok(()),
        }
    }
}

/// Puts the values of a table over those of another, key by key down to what is no table.
fn overlay(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => overlay(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

fn place_of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |rest| rest.chars().count())
        + 1;
    (line, column)
}

/// serde names the unknown key and all known ones in backquotes, in this order; only a near one is worth showing.
fn with_near_key(message: &str) -> String {
    if !message.starts_with("unknown field") {
        return message.to_owned();
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next() else {
        return message.to_owned();
    };
    let nearest = names.map(|known| (distance(unknown, known), known)).min();
    match nearest {
        Some((steps, known)) if steps <= unknown.len().div_ceil(3) => {
            format!("unknown key \"{unknown}\"; did you mean \"{known}\"?")
        }
        _ => format!("unknown key \"{unknown}\"; strongroom.example.toml has all keys"),
    }
}

/// How many letters must be changed, added or removed.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, (b, pair)) in right.iter().zip(row.windows(2)).enumerate() {
            let [diagonal, above] = pair else { continue };
            let replaced = diagonal + usize::from(a != *b);
            let added = next.get(j).map_or(usize::MAX, |left| left + 1);
            next.push(replaced.min(above + 1).min(added));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, lines: &[&str]) -> Result<Settings, String> {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        Settings::with(Path::new("/etc/strongroom.toml"), text, &lines)
    }

    #[test]
    fn a_line_of_the_command_comes_before_the_file_and_leaves_the_rest() {
        let text = "after-fork = \"inherit\"\n[limits]\nuser_tries_max = 5\nso_tries_max = 6\n";
        let read = with(text, &["limits.user_tries_max=20", "log.level = \"debug\""]).unwrap();
        assert_eq!(read.limits.user_tries_max, Some(20));
        assert_eq!(read.limits.so_tries_max, Some(6));
        assert_eq!(read.log.level.as_deref(), Some("debug"));
        assert_eq!(read.after_fork, Some(AfterFork::Inherit));
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_wrong() {
        for (line, named) in [
            (
                "limits.user_tries_max=0",
                "limits.user_tries_max=0: limits.user_tries_max = 0 is out of its range",
            ),
            ("limits.user_trys_max=3", "did you mean \"user_tries_max\"?"),
            ("socket=\"relative\"", "is relative"),
            ("no value", "no value: "),
            ("limits=3", "limits=3: "),
        ] {
            let refused = with("", &["log.level=\"info\"", line]).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (left, right, steps) in [
            ("", "", 0),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("levle", "level", 2),
        ] {
            assert_eq!(distance(left, right), steps, "{left} {right}");
            assert_eq!(distance(right, left), steps, "{right} {left}");
        }
    }
}
