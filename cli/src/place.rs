//! Where the daemon is.
//!
//! What lives here: from arguments, environment and configuration file to sockets and paths.
//! What must never live here: a connection.
//! Who calls it: every command that asks the daemon, and the doctor.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use strongroom_wire::paths::{self, Paths};

use crate::arguments::PlaceArguments;
use crate::failure::Failure;

/// The environment, passed in so that tests can make one.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, OsString>);

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let pairs = std::env::vars_os();
        Self(
            pairs
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
        )
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

    /// The same as a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }
}

/// The keys of the configuration file that matter here; all others are the daemon's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FileKeys {
    /// The socket for applications.
    pub socket: Option<PathBuf>,
    /// The socket for administration.
    pub admin_socket: Option<PathBuf>,
    /// The daemon's program.
    pub daemon: Option<PathBuf>,
}

/// One installation.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its directories.
    pub paths: Paths,
    /// Its configuration file, there or not.
    pub config: PathBuf,
    /// What that file says.
    pub keys: FileKeys,
    /// Why that file could not be understood.
    pub config_error: Option<String>,
    /// The socket for applications.
    pub socket: PathBuf,
    /// The socket for administration.
    pub admin_socket: PathBuf,
    /// The flag that names this installation to the daemon.
    pub daemon_flags: Vec<OsString>,
}

impl Place {
    /// Finds the installation: arguments before environment before file before defaults, as the daemon does it.
    ///
    /// # Errors
    /// [`Failure::Usage`] when nothing names a directory.
    pub fn find(arguments: &PlaceArguments, environment: &Environment) -> Result<Self, Failure> {
        let paths = installation(arguments, environment)?;
        // `--home` names a world of its own: a variable meant for another one does not reach into it.
        let variable = |name: &str| match arguments.home {
            Some(_) => None,
            None => environment.path(name),
        };
        let config = variable(paths::ENV_CONFIG).unwrap_or_else(|| paths.config.clone());
        let (keys, config_error) = read_keys(&config);
        let choose = |flag: &Option<PathBuf>, name: &str, key: &Option<PathBuf>, usual: PathBuf| {
            flag.clone()
                .or_else(|| variable(name))
                .or_else(|| key.clone())
                .unwrap_or(usual)
        };
        let socket = choose(
            &arguments.socket,
            paths::ENV_SOCKET,
            &keys.socket,
            paths.socket(),
        );
        let admin_socket = choose(
            &arguments.admin_socket,
            paths::ENV_ADMIN_SOCKET,
            &keys.admin_socket,
            paths.admin_socket(),
        );
        let daemon_flags = flags(arguments);
        Ok(Self {
            paths,
            config,
            keys,
            config_error,
            socket,
            admin_socket,
            daemon_flags,
        })
    }

    /// What the environment of a program must say, so that the module reaches this installation; None is for a variable that must not be there.
    #[must_use]
    pub fn for_module(&self) -> [(&'static str, Option<PathBuf>); 2] {
        // The module takes a file that the environment names for one that must be there.
        let config = self.config.exists().then(|| self.config.clone());
        [
            (paths::ENV_SOCKET, Some(self.socket.clone())),
            (paths::ENV_CONFIG, config),
        ]
    }

    /// The daemon's program, if it can be found.
    #[must_use]
    pub fn daemon_program(&self, environment: &Environment) -> Option<PathBuf> {
        let named = environment
            .path(paths::ENV_DAEMON)
            .or_else(|| self.keys.daemon.clone());
        if named.is_some() {
            return named;
        }
        let own = std::env::current_exe().ok();
        let own = own.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let beside = own.iter().flat_map(|directory| {
            ["", "../sbin", "../bin", "../libexec"].map(|step| directory.join(step))
        });
        let usual = ["/usr/local/sbin", "/usr/sbin", "/usr/bin"].map(PathBuf::from);
        let searched = environment.value("PATH").unwrap_or_default();
        let searched: Vec<PathBuf> = std::env::split_paths(&searched).collect();
        beside
            .chain(usual)
            .chain(searched)
            .map(|directory| directory.join("strongroomd"))
            .find(|program| program.is_file())
    }
}

fn installation(arguments: &PlaceArguments, environment: &Environment) -> Result<Paths, Failure> {
    if arguments.system {
        return Ok(Paths::system());
    }
    let home = arguments
        .home
        .as_ref()
        .and_then(|home| std::path::absolute(home).ok());
    let value = |name: &str| match (&home, name) {
        (Some(home), paths::ENV_HOME) => Some(home.clone().into_os_string()),
        _ => environment.value(name),
    };
    let user = Paths::user(&value).ok_or_else(|| {
        Failure::Usage("HOME is not set, so there is no place to look for the daemon; use --home DIR or --system".into())
    })?;
    // A machine that has only the system-wide daemon is asked without a flag, too.
    let named = home.is_some() || environment.value(paths::ENV_HOME).is_some();
    let only_system = !named
        && !user.config.exists()
        && !user.admin_socket().exists()
        && Paths::system().admin_socket().exists();
    Ok(if only_system { Paths::system() } else { user })
}

/// The arguments that name an installation, for another program that takes the same ones.
#[must_use]
pub fn flags(arguments: &PlaceArguments) -> Vec<OsString> {
    let mut flags: Vec<OsString> = Vec::new();
    if arguments.system {
        flags.push("--system".into());
    }
    let named = [
        ("--home", &arguments.home),
        ("--socket", &arguments.socket),
        ("--admin-socket", &arguments.admin_socket),
    ];
    for (flag, path) in named {
        if let Some(path) = path {
            flags.push(flag.into());
            flags.push(path.into());
        }
    }
    flags
}

fn read_keys(config: &Path) -> (FileKeys, Option<String>) {
    match std::fs::read_to_string(config) {
        Ok(text) => match toml::from_str(&text) {
            Ok(keys) => (keys, None),
            Err(error) => (FileKeys::default(), Some(error.message().to_owned())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (FileKeys::default(), None),
        Err(error) => (FileKeys::default(), Some(error.to_string())),
    }
}
