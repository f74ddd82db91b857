//! Being root: when the daemon refuses it, and whom it becomes instead.
//!
//! What lives here: the rule, and the change of user.
//! What must never live here: an exception for an environment (container, test).
//! Who calls it: start-up, before anything is opened.
//!
//! The rule (docs/decisions/0026-root.md): a daemon that serves root alone may be root, because there is nobody to protect root from. A daemon
//! that lets others in may not, unless it is told whom to become (`user`), or by name that it shall be root (`allow_root`).

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::Configuration;
use crate::notify::Activated;
use crate::system::{self, User};

/// Why the daemon does not start as it was started.
#[derive(Debug)]
pub enum RootError {
    /// It would serve others as root.
    Refused {
        /// By what others would come in.
        because: String,
    },
    /// There is no such user.
    NoUser(String),
    /// There is no such group.
    NoGroup(String),
    /// Only root can become somebody.
    NotRoot(String),
    /// A directory belongs to somebody else.
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// Who shall use it.
        user: String,
    },
    /// The system says.
    Io {
        /// What was tried.
        what: String,
        /// What it says.
        error: io::Error,
    },
}

impl fmt::Display for RootError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { because } => write!(
                out,
                "started as root, and others would be let in ({because}): whoever broke in would be root. Name a user to become (user = \"strongroom\" in the configuration, or --user strongroom), start it as that user, or insist with --allow-root"
            ),
            Self::NoUser(name) => write!(
                out,
                "user: there is no user \"{name}\" on this machine; make it with: useradd --system --user-group {name}"
            ),
            Self::NoGroup(name) => write!(
                out,
                "socket_group: there is no group \"{name}\" on this machine"
            ),
            Self::NotRoot(name) => write!(
                out,
                "user = \"{name}\": only root can become another user; start the daemon as root or as {name}"
            ),
            Self::Foreign { directory, user } => write!(
                out,
                "{} does not belong to {user}, who is to run the daemon; run: chown -R {user}: {}",
                directory.display(),
                directory.display()
            ),
            Self::Io { what, error } => write!(out, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for RootError {}

/// Who the daemon will be.
#[derive(Debug)]
pub struct Identity {
    becomes: Option<(String, User)>,
    /// The group of the socket for applications. Looked up here, because the name service loads code and reads files that the jail closes.
    pub socket_group: Option<u32>,
}

impl Identity {
    /// Settles it, and refuses what the rule refuses.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn settle(configuration: &Configuration, activated: &Activated) -> Result<Self, RootError> {
        let me = system::effective_user();
        let becomes = match &configuration.user {
            None => None,
            Some(name) => {
                let user = system::user(name).map_err(|error| {
                    if error.kind() == io::ErrorKind::NotFound {
                        RootError::NoUser(name.clone())
                    } else {
                        failed("look up the user", error)
                    }
                })?;
                (user.uid != me).then(|| (name.clone(), user))
            }
        };
        match &becomes {
            Some((name, _)) if me != 0 => return Err(RootError::NotRoot(name.clone())),
            None if me == 0 => stay_root(configuration, activated)?,
            _ => {}
        }
        let group = |name: &String| {
            system::group_number(name).map_err(|_| RootError::NoGroup(name.clone()))
        };
        let socket_group = configuration.socket_group.as_ref().map(group).transpose()?;
        Ok(Self {
            becomes,
            socket_group,
        })
    }

    /// Becomes who it shall be, for good. `made` are the directories that were made for it just now.
    ///
    /// # Errors
    /// [`RootError`]; then the process must end.
    pub fn assume(&self, configuration: &Configuration, made: &[PathBuf]) -> Result<(), RootError> {
        if system::effective_user() == 0 {
            // The owner of the socket may give it to a group of his own without any capability.
            let groups: Vec<u32> = self.socket_group.into_iter().collect();
            if self.becomes.is_some() || self.socket_group.is_some() {
                system::set_groups(&groups).map_err(|error| failed("set groups", error))?;
            }
        }
        let Some((name, user)) = &self.becomes else {
            return Ok(());
        };
        for directory in made {
            std::os::unix::fs::chown(directory, Some(user.uid), Some(user.gid)).map_err(
                |error| failed(&format!("give {} to {name}", directory.display()), error),
            )?;
        }
        // As root it would have been without limit.
        let _ = system::lift_memory_lock_limit();
        system::become_user(user).map_err(|error| failed(&format!("become {name}"), error))?;
        // The change has set this back.
        system::forbid_dumps().map_err(|error| failed("forbid core dumps", error))?;
        refuse_foreign(configuration.data_directory(), name)?;
        tracing::info!(
            user = name,
            uid = user.uid,
            "started as root, runs as this user"
        );
        Ok(())
    }
}

fn failed(what: &str, error: io::Error) -> RootError {
    RootError::Io {
        what: what.into(),
        error,
    }
}

fn stay_root(configuration: &Configuration, activated: &Activated) -> Result<(), RootError> {
    match lets_others_in(configuration, activated) {
        None => {
            tracing::info!("runs as root, for root alone");
            Ok(())
        }
        Some(because) if configuration.allow_root => {
            tracing::warn!("danger: runs as root and lets others in ({because})");
            Ok(())
        }
        Some(because) => Err(RootError::Refused { because }),
    }
}

/// By what others than root may connect.
fn lets_others_in(configuration: &Configuration, activated: &Activated) -> Option<String> {
    if configuration.system {
        return Some("--system serves the users of this machine".into());
    }
    if configuration.socket_mode & OTHERS != 0 {
        return Some(format!("socket_mode is {:04o}", configuration.socket_mode));
    }
    let address = activated.application.as_ref()?.local_addr().ok()?;
    let path = address.as_pathname()?;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & OTHERS != 0).then(|| format!("{} has mode {mode:04o}", path.display()))
}

fn refuse_foreign(directory: &Path, user: &str) -> Result<(), RootError> {
    use std::os::unix::fs::MetadataExt;
    let state = std::fs::metadata(directory)
        .map_err(|error| failed(&format!("use {}", directory.display()), error))?;
    if state.uid() == system::effective_user() {
        Ok(())
    } else {
        Err(RootError::Foreign {
            directory: directory.into(),
            user: user.into(),
        })
    }
}

/// Whoever may write a socket file may connect (unix(7)): group and others.
const OTHERS: u32 = 0o022;
