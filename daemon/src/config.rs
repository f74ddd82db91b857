//! The configuration in force.
//!
//! What lives here: how flags, environment, file and defaults become one set of values.
//! What must never live here: effects. Nothing is opened or made because of what stands here.
//! Who calls it: start-up and reload.

mod file;
mod limits;
mod seal;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use strongroom::audit;
use strongroom::limits::Limits;
use strongroom::mechanism::Mechanisms;
use strongroom::release::register::ReleaseSettings;
use strongroom::vault::PinCost;
use strongroom_keymem::Locking;
use strongroom_wire::paths::{self, Paths};

use crate::command_line::Arguments;
use crate::log;
use crate::seal::Seal;

pub use file::{AfterFork, FileError, Settings as FileSettings};
pub use limits::Bounds;

/// The environment as it was at start; it is scrubbed afterwards.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, OsString>);

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let absolute = |name: &str, value: OsString| {
            // A later change of directory must not change what our own variables name.
            let ours = name.starts_with("STRONGROOM_") && !value.is_empty();
            let path = if ours {
                std::path::absolute(&value).ok()
            } else {
                None
            };
            path.map_or(value, PathBuf::into_os_string)
        };
        let named = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            let value = absolute(&name, value);
            Some((name, value))
        };
        Self(std::env::vars_os().filter_map(named).collect())
    }

    /// One that is given.
    #[must_use]
    pub fn of_pairs(pairs: &[(&str, &str)]) -> Self {
        Self(
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), value.into()))
                .collect(),
        )
    }

    /// The value of a variable; an empty one counts as none.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<OsString> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The file it came from, if there is one.
    pub file: Option<PathBuf>,
    /// Where that file is, or would be looked for at a reload.
    pub file_place: PathBuf,
    /// Whether it is the installation of the whole machine.
    pub system: bool,
    /// The user that root becomes.
    pub user: Option<String>,
    /// Whether root may let others in.
    pub allow_root: bool,
    /// Whether the jail is built.
    pub walls: Walls,
    /// The socket for applications.
    pub socket: PathBuf,
    /// The socket for administration.
    pub admin_socket: PathBuf,
    /// Mode of the socket for applications.
    pub socket_mode: u32,
    /// Group of the socket for applications.
    pub socket_group: Option<String>,
    /// The store's file.
    pub store: PathBuf,
    /// The audit journal's file.
    pub journal: PathBuf,
    /// Where the root key comes from.
    pub seal: Seal,
    /// What is recorded.
    pub audit_level: audit::Level,
    /// The public keys that backups are made for, and for no others; none leaves it to whoever asks.
    pub backup_recipients: Vec<String>,
    /// Locked memory in bytes; none lets the daemon choose.
    pub memory_bytes: Option<usize>,
    /// Whether memory must be locked.
    pub locking: MemoryLocking,
    /// How much is logged.
    pub log_level: log::Level,
    /// How a line of the log looks.
    pub log_format: log::Format,
    /// Where the log of a daemon without a terminal goes.
    pub log_file: PathBuf,
    /// What a forked child is that does not call C_Initialize.
    pub after_fork: AfterFork,
    /// Bounds of the token.
    pub limits: Limits,
    /// Which mechanisms may be used.
    pub mechanisms: Mechanisms,
    /// How keys are released.
    pub release: ReleaseSettings,
    /// Bounds of the sockets.
    pub bounds: Bounds,
    /// What a PIN costs.
    pub pin_cost: PinCost,
    /// After how long without a client the daemon ends; none is never.
    pub ends_when_unused: Option<Duration>,
}

/// Whether memory must be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLocking {
    /// Without locked memory the daemon does not start.
    Required,
    /// The operator said by name that keys may reach the swap.
    DangerUnlocked,
}

impl MemoryLocking {
    /// In the words of the memory.
    #[must_use]
    pub const fn for_keymem(self) -> Locking {
        match self {
            Self::Required => Locking::Required,
            Self::DangerUnlocked => Locking::DangerUnlockedAllowed,
        }
    }
}

/// Whether the jail is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walls {
    /// All that this kernel can.
    All,
    /// The operator said by name that there shall be none.
    DangerNone,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The environment names no directory.
    NoHome,
    /// The file named by flag or environment is not there, or cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        error: std::io::Error,
    },
    /// The file is wrong.
    File(FileError),
    /// A value is wrong.
    Value {
        /// The flag, or the key and its file.
        place: String,
        /// What is wrong and what would be right.
        what: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHome => write!(
                out,
                "neither HOME nor {} is set, so there is no place for store and sockets; use --home DIR or --system",
                paths::ENV_HOME
            ),
            Self::Unreadable { path, error } => {
                write!(
                    out,
                    "cannot read the configuration {}: {error}",
                    path.display()
                )
            }
            Self::File(error) => write!(out, "{error}"),
            Self::Value { place, what } => write!(out, "{place}: {what}"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Configuration {
    /// Flags before environment before file before defaults.
    ///
    /// # Errors
    /// [`ConfigError`] says where and what.
    pub fn read(arguments: &Arguments, environment: &Environment) -> Result<Self, ConfigError> {
        let paths = installation(arguments, environment)?;
        // `--home` names a world of its own: a variable meant for another one does not reach into it.
        let variable = |name: &str| match arguments.home {
            Some(_) => None,
            None => environment.value(name).map(PathBuf::from),
        };
        let named = arguments
            .config
            .clone()
            .or_else(|| variable(paths::ENV_CONFIG));
        let file_place = named.clone().unwrap_or_else(|| paths.config.clone());
        let (file, settings) = read_file(named, &paths.config, &arguments.set)?;
        let combined = Combined {
            arguments,
            settings: &settings,
            file: file.as_deref(),
            paths: &paths,
        };
        let socket = first([
            arguments.socket.clone(),
            variable(paths::ENV_SOCKET),
            settings.socket.clone(),
        ]);
        let admin_socket = first([
            arguments.admin_socket.clone(),
            variable(paths::ENV_ADMIN_SOCKET),
            settings.admin_socket.clone(),
        ]);
        let store = combined.store();
        Ok(Self {
            socket: socket.unwrap_or_else(|| paths.socket()),
            admin_socket: admin_socket.unwrap_or_else(|| paths.admin_socket()),
            socket_mode: combined.socket_mode()?,
            socket_group: settings.socket_group.clone(),
            journal: first([arguments.journal.clone(), settings.audit.path.clone()])
                .unwrap_or_else(|| paths.journal()),
            seal: combined.seal(&store, environment.value("CREDENTIALS_DIRECTORY"))?,
            store,
            audit_level: combined.audit_level()?,
            backup_recipients: settings.backup.recipients.clone(),
            memory_bytes: arguments.memory_bytes.or(settings.memory.bytes),
            locking: combined.locking(),
            log_level: combined.log_level()?,
            log_format: combined.log_format()?,
            log_file: settings
                .log
                .file
                .clone()
                .unwrap_or_else(|| paths.data.join("strongroomd.log")),
            limits: settings.limits.limits(),
            mechanisms: combined.mechanisms()?,
            release: combined.release()?,
            after_fork: settings.after_fork.unwrap_or_default(),
            bounds: settings.limits.bounds(),
            pin_cost: combined.pin_cost(),
            ends_when_unused: arguments.ends_when_unused.map(Duration::from_secs),
            system: arguments.system,
            user: arguments.user.clone().or_else(|| settings.user.clone()),
            allow_root: arguments.allow_root || settings.allow_root,
            walls: combined.walls(),
            file,
            file_place,
        })
    }

    /// That it is right, and its places, for a person.
    #[must_use]
    pub fn told(&self) -> String {
        let file = self.file.as_deref().map_or_else(
            || "no configuration file".into(),
            |file: &Path| file.display().to_string(),
        );
        format!(
            "{file}: right; socket {}, admin socket {}, store {}, journal {}, {}",
            self.socket.display(),
            self.admin_socket.display(),
            self.store.display(),
            self.journal.display(),
            self.seal.describe(),
        )
    }

    /// The directory that must not serve two daemons at once.
    #[must_use]
    pub fn data_directory(&self) -> &Path {
        self.store.parent().unwrap_or_else(|| Path::new("/"))
    }
}

fn installation(arguments: &Arguments, environment: &Environment) -> Result<Paths, ConfigError> {
    if arguments.system {
        return Ok(Paths::system());
    }
    let value = |name: &str| match (&arguments.home, name) {
        (Some(home), paths::ENV_HOME) => Some(home.clone().into_os_string()),
        _ => environment.value(name),
    };
    Paths::user(&value).ok_or(ConfigError::NoHome)
}

/// The file that is named must be there; the one at the usual place may be missing.
fn read_file(
    named: Option<PathBuf>,
    usual: &Path,
    set: &[String],
) -> Result<(Option<PathBuf>, FileSettings), ConfigError> {
    let must_exist = named.is_some();
    let path = named.unwrap_or_else(|| usual.into());
    let (text, there) = match std::fs::read_to_string(&path) {
        Ok(text) => (text, true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            (String::new(), false)
        }
        Err(error) => return Err(ConfigError::Unreadable { path, error }),
    };
    let settings = FileSettings::parse(&path, &text).map_err(ConfigError::File)?;
    let settings = match set {
        [] => settings,
        set => FileSettings::with(&path, &text, set).map_err(|what| ConfigError::Value {
            place: "--set".into(),
            what,
        })?,
    };
    Ok((there.then_some(path), settings))
}

fn first<const N: usize>(choices: [Option<PathBuf>; N]) -> Option<PathBuf> {
    choices.into_iter().flatten().next()
}

/// What the values are chosen from.
struct Combined<'c> {
    arguments: &'c Arguments,
    settings: &'c FileSettings,
    file: Option<&'c Path>,
    paths: &'c Paths,
}

impl Combined<'_> {
    fn store(&self) -> PathBuf {
        first([
            self.arguments.store.clone(),
            self.settings.store.path.clone(),
        ])
        .unwrap_or_else(|| self.paths.store())
    }

    fn audit_level(&self) -> Result<audit::Level, ConfigError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                format!("\"{text}\" is no audit level; it is one of all, management, none")
            })
        };
        self.choose(
            ("--audit-level", &self.arguments.audit_level),
            ("audit.level", &self.settings.audit.level),
            parse,
        )
        .map(|level| level.unwrap_or(audit::Level::All))
    }

    fn log_level(&self) -> Result<log::Level, ConfigError> {
        self.choose(
            ("--log-level", &self.arguments.log_level),
            ("log.level", &self.settings.log.level),
            str::parse,
        )
        .map(Option::unwrap_or_default)
    }

    fn log_format(&self) -> Result<log::Format, ConfigError> {
        if self.arguments.log_json {
            return Ok(log::Format::Json);
        }
        self.choose(
            ("", &None),
            ("log.format", &self.settings.log.format),
            str::parse,
        )
        .map(Option::unwrap_or_default)
    }

    fn locking(&self) -> MemoryLocking {
        if self.arguments.danger_unlocked_memory || self.settings.memory.danger_unlocked {
            MemoryLocking::DangerUnlocked
        } else {
            MemoryLocking::Required
        }
    }

    fn walls(&self) -> Walls {
        if self.arguments.danger_no_jail || self.settings.jail.danger_none {
            Walls::DangerNone
        } else {
            Walls::All
        }
    }

    fn release(&self) -> Result<ReleaseSettings, ConfigError> {
        let chosen = self.settings.release.chosen();
        chosen.map_err(|what| self.wrong("release.domain", what))
    }

    fn mechanisms(&self) -> Result<Mechanisms, ConfigError> {
        let chosen = self.settings.mechanisms.chosen();
        chosen.map_err(|what| self.wrong("mechanisms", what))
    }

    fn socket_mode(&self) -> Result<u32, ConfigError> {
        let Some(text) = &self.settings.socket_mode else {
            return Ok(0o600);
        };
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 && mode & 0o600 == 0o600 => Ok(mode),
            _ => Err(self.wrong(
                "socket_mode",
                format!("\"{text}\" is no mode of a socket; write \"0600\", \"0660\" or \"0666\""),
            )),
        }
    }

    fn pin_cost(&self) -> PinCost {
        if self.arguments.danger_fast_pins() {
            danger_fast_pin_cost()
        } else {
            PinCost::default()
        }
    }

    /// The flag's value before the file's, parsed, and named when it is wrong.
    fn choose<T>(
        &self,
        flag: (&str, &Option<String>),
        key: (&str, &Option<String>),
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let parsed = match (flag.1, key.1) {
            (Some(text), _) => parse(text).map_err(|what| ConfigError::Value {
                place: flag.0.into(),
                what,
            }),
            (None, Some(text)) => parse(text).map_err(|what| self.wrong(key.0, what)),
            (None, None) => return Ok(None),
        };
        parsed.map(Some)
    }

    fn wrong(&self, key: &str, what: String) -> ConfigError {
        let file = self
            .file
            .map_or_else(String::new, |file| format!("{}: ", file.display()));
        ConfigError::Value {
            place: format!("{file}{key}"),
            what,
        }
    }
}

/// A PIN cost that a test suite can pay hundreds of times. It protects nothing.
fn danger_fast_pin_cost() -> PinCost {
    PinCost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    }
}
