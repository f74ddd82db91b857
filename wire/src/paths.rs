//! Where things are: the paths that module, command line and daemon agree on.
//!
//! What lives here: pure functions from environment values to paths.
//! What must never live here: a look at the file system or the environment; the caller passes both in.
//! Who calls it: the module to find the socket, the daemon and the command line to find everything.

use std::ffi::OsString;
use std::path::PathBuf;

/// Names the application socket; comes before everything else.
pub const ENV_SOCKET: &str = "STRONGROOM_SOCKET";
/// Names the administration socket.
pub const ENV_ADMIN_SOCKET: &str = "STRONGROOM_ADMIN_SOCKET";
/// Names the configuration file.
pub const ENV_CONFIG: &str = "STRONGROOM_CONFIG";
/// One directory for everything: configuration, sockets, store, journal.
pub const ENV_HOME: &str = "STRONGROOM_HOME";
/// Names the daemon's program for autostart.
pub const ENV_DAEMON: &str = "STRONGROOM_DAEMON";

/// Directories of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The configuration file.
    pub config: PathBuf,
    /// Directory of the two sockets.
    pub runtime: PathBuf,
    /// Directory of store, key file and journal.
    pub data: PathBuf,
}

impl Paths {
    /// The system-wide installation.
    #[must_use]
    pub fn system() -> Self {
        Self {
            config: PathBuf::from("/etc/strongroom/strongroom.toml"),
            runtime: PathBuf::from("/run/strongroom"),
            data: PathBuf::from("/var/lib/strongroom"),
        }
    }

    /// The installation of one user: `STRONGROOM_HOME`, else the XDG base directories, else the home directory.
    /// None when the environment names no directory at all.
    #[must_use]
    pub fn user(environment: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let directory = |name: &str| {
            environment(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let absolute = |name: &str| directory(name).filter(|path| path.is_absolute());
        if let Some(home) = directory(ENV_HOME) {
            return Some(Self {
                config: home.join("strongroom.toml"),
                runtime: home.clone(),
                data: home,
            });
        }
        let home = directory("HOME");
        let below_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
        let config = absolute("XDG_CONFIG_HOME").or_else(|| below_home(".config"))?;
        let data = absolute("XDG_DATA_HOME")
            .or_else(|| below_home(".local/share"))?
            .join("strongroom");
        let runtime = match absolute("XDG_RUNTIME_DIR") {
            Some(runtime) => runtime.join("strongroom"),
            None => data.join("run"),
        };
        Some(Self {
            config: config.join("strongroom/strongroom.toml"),
            runtime,
            data,
        })
    }

    /// The application socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("pkcs11.sock")
    }

    /// The administration socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.runtime.join("admin.sock")
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.data.join("store.redb")
    }

    /// The file of the root key.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.data.join("root.key")
    }

    /// The audit journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.data.join("audit.jsonl")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn user(pairs: &[(&str, &str)]) -> Option<Paths> {
        Paths::user(&|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(*value))
        })
    }

    #[test]
    fn the_most_specific_variable_wins() {
        assert_eq!(user(&[]), None);
        let home = user(&[("HOME", "/h")]).unwrap();
        assert_eq!(
            home.socket(),
            Path::new("/h/.local/share/strongroom/run/pkcs11.sock")
        );
        assert_eq!(
            home.config,
            Path::new("/h/.config/strongroom/strongroom.toml")
        );
        let xdg = user(&[
            ("HOME", "/h"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_DATA_HOME", "/d"),
        ])
        .unwrap();
        assert_eq!(xdg.socket(), Path::new("/r/strongroom/pkcs11.sock"));
        assert_eq!(xdg.store(), Path::new("/d/strongroom/store.redb"));
        let one = user(&[("HOME", "/h"), ("STRONGROOM_HOME", "/s")]).unwrap();
        assert_eq!(one.socket(), Path::new("/s/pkcs11.sock"));
        assert_eq!(one.config, Path::new("/s/strongroom.toml"));
    }
}
