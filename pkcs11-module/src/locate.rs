//! Where the daemon listens, and which program it is.
//!
//! What lives here: the order of the places, and the keys of the configuration file that concern the module.
//! What must never live here: a change to the environment; it is read once, at C_Initialize.
//! Who calls it: the starter, for every new connection.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use strongroom_wire::paths::{self, Paths};

use crate::abi::system;
use crate::guise::{self, Guise};

/// The daemon's program.
const PROGRAM: &str = "strongroomd";

/// Longest configuration file that is read, in bytes; a real one has one page.
const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;

/// Variables that say where things are.
const VARIABLES: [&str; 11] = [
    guise::VARIABLES[0],
    guise::VARIABLES[1],
    paths::ENV_SOCKET,
    paths::ENV_CONFIG,
    paths::ENV_HOME,
    paths::ENV_DAEMON,
    "HOME",
    "PATH",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
];

/// What the environment said when it was asked.
#[derive(Clone)]
pub(crate) struct Environment {
    values: Vec<(&'static str, OsString)>,
    /// Whether a daemon may be started with what it says.
    trusted: bool,
}

impl Environment {
    /// The environment of this process. That of a set-user-id program comes from its caller, and is not listened to.
    pub(crate) fn of_process() -> Self {
        if system::runs_with_foreign_rights() {
            return Self {
                values: Vec::new(),
                trusted: false,
            };
        }
        Self::of(&|name| std::env::var_os(name))
    }

    /// The environment that a function tells.
    pub(crate) fn of(value: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let told = VARIABLES
            .iter()
            .filter_map(|name| Some((*name, value(name)?)));
        Self {
            values: told.filter(|(_, value)| !value.is_empty()).collect(),
            trusted: true,
        }
    }

    /// Whether it was listened to.
    pub(crate) const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The value of a variable; an empty one counts as none.
    pub(crate) fn value(&self, wanted: &str) -> Option<OsString> {
        self.values
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.clone())
    }

    fn path(&self, wanted: &str) -> Option<PathBuf> {
        self.value(wanted).map(PathBuf::from)
    }
}

/// The keys of the configuration file that concern the module. The daemon refuses unknown keys; here they are the daemon's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    socket: Option<PathBuf>,
    autostart: Option<bool>,
    daemon: Option<PathBuf>,
    #[serde(alias = "reconnect-seconds")]
    reconnect_seconds: Option<u64>,
    #[serde(rename = "after-fork", alias = "after_fork")]
    after_fork: Option<String>,
}

/// How long calls wait for a daemon that has gone, unless the file says otherwise: a service manager has started it again by then.
const PATIENCE_SECONDS: u64 = 5;
/// Longest such wait: whoever wrote more than an hour meant for ever, and no call hangs for ever.
const PATIENCE_SECONDS_MAX: u64 = 3600;

/// A socket, and the programs that may be started when nobody listens there, the best first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The socket.
    pub(crate) socket: PathBuf,
    /// Empty when no daemon is to be started.
    pub(crate) programs: Vec<PathBuf>,
    /// What the program is started with, besides what every start has.
    pub(crate) arguments: Vec<OsString>,
}

/// Whose set-up it is: that of a user starts on demand, that of the system is started by the system.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    User,
    System,
}

/// Finds the daemon.
#[derive(Clone)]
pub(crate) struct Locator {
    environment: Environment,
    system: Paths,
    guise: Option<Guise>,
}

impl Locator {
    /// A locator for an environment and a guise.
    pub(crate) fn new(environment: Environment, guise: Option<Guise>) -> Self {
        Self {
            environment,
            system: Paths::system(),
            guise,
        }
    }

    /// What the module stands in for.
    pub(crate) const fn guise(&self) -> Option<&Guise> {
        self.guise.as_ref()
    }

    /// A locator whose system-wide set-up lies elsewhere.
    #[cfg(test)]
    pub(crate) const fn with_system(environment: Environment, system: Paths) -> Self {
        Self {
            environment,
            system,
            guise: None,
        }
    }

    /// The place to connect to; None when the configuration file cannot be read, since guessing past it could reach the wrong token.
    pub(crate) fn locate(&self) -> Option<Place> {
        let user = self.user();
        let (settings, settings_owner) = self.settings(user.as_ref())?;
        let (socket, owner) = self.socket(&settings, settings_owner, user.as_ref());
        let autostart = settings.autostart.unwrap_or(owner == Owner::User);
        let programs = if autostart && self.environment.trusted {
            self.programs(&settings)
        } else {
            Vec::new()
        };
        let arguments = self.guise.as_ref().map(Guise::arguments);
        Some(Place {
            socket,
            programs,
            arguments: arguments.unwrap_or_default(),
        })
    }

    /// The user's installation. In a guise it is a world of its own, into which nothing meant for another one reaches.
    fn user(&self) -> Option<Paths> {
        Paths::user(&|name| match &self.guise {
            Some(guise) if name == paths::ENV_HOME => Some(guise.home().into()),
            _ => self.environment.value(name),
        })
    }

    /// How long calls wait for a daemon that was there and has gone.
    pub(crate) fn patience(&self) -> Duration {
        let told = self.settings(self.user().as_ref());
        let told = told.and_then(|(settings, _)| settings.reconnect_seconds);
        Duration::from_secs(told.unwrap_or(PATIENCE_SECONDS).min(PATIENCE_SECONDS_MAX))
    }

    /// Whether a forked child goes on with what its parent had, without C_Initialize. The daemon says what is wrong with another word.
    pub(crate) fn children_inherit(&self) -> bool {
        let told = self.settings(self.user().as_ref());
        let told = told.and_then(|(settings, _)| settings.after_fork);
        match told {
            Some(told) => told == "inherit",
            None => self.guise.as_ref().is_some_and(Guise::children_inherit),
        }
    }

    fn socket(&self, settings: &Settings, of: Owner, user: Option<&Paths>) -> (PathBuf, Owner) {
        if self.guise.is_some()
            && let Some(user) = user
        {
            return (user.socket(), Owner::User);
        }
        if let Some(socket) = self.environment.path(paths::ENV_SOCKET) {
            // Whoever names a socket runs the daemon.
            return (socket, Owner::System);
        }
        if let Some(socket) = &settings.socket {
            return (socket.clone(), of);
        }
        let users = user.map(Paths::socket);
        let systems = self.system.socket();
        match users {
            Some(socket) if socket.exists() || !systems.exists() => (socket, Owner::User),
            _ => (systems, Owner::System),
        }
    }

    fn settings(&self, user: Option<&Paths>) -> Option<(Settings, Owner)> {
        let named = self.environment.path(paths::ENV_CONFIG);
        if let Some(path) = named.filter(|_| self.guise.is_none()) {
            return Some((read_settings(&path)?, Owner::User));
        }
        if let Some(user) = user.filter(|user| user.config.exists()) {
            return Some((read_settings(&user.config)?, Owner::User));
        }
        if self.guise.is_none() && self.system.config.exists() {
            return Some((read_settings(&self.system.config)?, Owner::System));
        }
        Some((Settings::default(), Owner::User))
    }

    fn programs(&self, settings: &Settings) -> Vec<PathBuf> {
        let named = self
            .environment
            .path(paths::ENV_DAEMON)
            .or_else(|| settings.daemon.clone());
        if let Some(named) = named {
            return vec![named];
        }
        let mut directories = Vec::new();
        let own = system::module_file();
        // A link to the module may lie far from the programs.
        let behind = own.as_deref().and_then(|own| own.canonicalize().ok());
        for own in [own, behind]
            .iter()
            .flatten()
            .filter_map(|own| own.parent())
        {
            directories.push(own.to_path_buf());
            let around = ["../bin", "../sbin", "../libexec"];
            directories.extend(around.iter().map(|near| own.join(near)));
        }
        directories.extend(["/usr/bin", "/usr/sbin"].map(PathBuf::from));
        let search = self.environment.value("PATH").unwrap_or_default();
        // An entry that depends on the working directory is a trap.
        directories.extend(std::env::split_paths(&search).filter(|path| path.is_absolute()));
        directories
            .into_iter()
            .map(|directory| directory.join(PROGRAM))
            .collect()
    }
}

fn read_settings(path: &Path) -> Option<Settings> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(CONFIGURATION_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    toml::from_str(&text).ok()
}

#[cfg(test)]
#[path = "tests/locate.rs"]
mod tests;
