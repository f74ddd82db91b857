//! The fence: which files the daemon may touch (Landlock), and that it has no network.
//!
//! What lives here: the list of places, in one function, and what is asked of the kernel.
//! What must never live here: opening any of them.
//! Who calls it: the jail.
//!
//! Whoever adds a file that the daemon opens after its start adds its place to [`places`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::Configuration;
use crate::jail::{JailError, Notify};
use crate::seal::SealProvider;
use crate::system::{self, Handled, Rules, right};

/// What may be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// A directory of the daemon's own: its files are read, written, made and removed.
    Own,
    /// A directory in which a socket stands: it is made there and removed at the stop.
    Socket,
    /// A file, or the files of a directory, that are only read.
    Read,
    /// A device: read, written, controlled.
    Device,
}

impl Use {
    const fn rights(self) -> u64 {
        match self {
            Self::Own => {
                right::READ_FILE
                    | right::WRITE_FILE
                    | right::READ_DIR
                    | right::REMOVE_FILE
                    | right::MAKE_REG
                    | right::REFER
                    | right::TRUNCATE
            }
            Self::Socket => right::MAKE_SOCK | right::REMOVE_FILE,
            Self::Read => right::READ_FILE,
            Self::Device => right::READ_FILE | right::WRITE_FILE | right::IOCTL_DEV,
        }
    }
}

/// Every place that the daemon may touch once it has started. What is not there is not allowed either.
#[must_use]
pub fn places(configuration: &Configuration) -> BTreeSet<(PathBuf, Use)> {
    let mut places = BTreeSet::new();
    let mut add = |path: Option<&Path>, used: Use| {
        places.extend(path.map(|path| (path.to_owned(), used)));
    };
    for directory in own_directories(configuration) {
        add(Some(directory), Use::Own);
    }
    for socket in [&configuration.socket, &configuration.admin_socket] {
        add(socket.parent(), Use::Socket);
    }
    // The directory and not the file: who edits a file often puts another one in its place.
    add(configuration.file_place.parent(), Use::Read);
    let sources = &configuration.seal.sources;
    if let SealProvider::PassphraseFile { path, .. } = &configuration.seal.direct {
        add(Some(path), Use::Read);
    }
    for path in [&sources.passphrase_file, &sources.credentials] {
        add(path.as_deref(), Use::Read);
    }
    // The number of the boot, and what the library of the language asks for.
    add(Some(Path::new("/proc")), Use::Read);
    for device in ["/dev/null", "/dev/tty"] {
        add(Some(Path::new(device)), Use::Device);
    }
    add(Some(Path::new("/dev/urandom")), Use::Read);
    places
}

/// The directories of store, journal and key file.
pub fn own_directories(configuration: &Configuration) -> impl Iterator<Item = &Path> {
    let key = match &configuration.seal.direct {
        SealProvider::KeyFile { path } => path.parent(),
        SealProvider::PassphraseFile { .. } => None,
    };
    let store = Some(configuration.data_directory());
    [store, configuration.journal.parent(), key]
        .into_iter()
        .flatten()
}

/// Closes the fence, as far as this kernel can: answers its version of Landlock, and 0 where it has none.
///
/// # Errors
/// [`JailError`] where the kernel has it and refuses.
pub fn close(configuration: &Configuration, notify: Notify) -> Result<u32, JailError> {
    let version = system::landlock_version();
    if version == 0 {
        tracing::warn!(
            "this kernel has no Landlock, or does not let it be used: the daemon could open every file that its user may open (see the lsm= option of the kernel)"
        );
        return Ok(0);
    }
    confine(&places(configuration), handled(version, notify))?;
    Ok(version)
}

/// Allows the places and nothing else.
///
/// # Errors
/// [`JailError`].
pub fn confine(places: &BTreeSet<(PathBuf, Use)>, handled: Handled) -> Result<(), JailError> {
    let failed = |error: std::io::Error| JailError::new("fence files in (Landlock)", &error);
    let rules = Rules::new(handled).map_err(failed)?;
    for (path, used) in places {
        match rules.allow(path, used.rights()) {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no rule for this path, so it stays closed");
            }
        }
    }
    rules.confine().map_err(failed)
}

/// Everything that a version knows, so that all of it is forbidden but for the places.
#[must_use]
pub fn handled(version: u32, notify: Notify) -> Handled {
    let since = |first: u32, bits: u64| if version >= first { bits } else { 0 };
    Handled {
        files: since(1, RIGHTS_OF_THE_FIRST)
            | since(2, right::REFER)
            | since(3, right::TRUNCATE)
            | since(5, right::IOCTL_DEV),
        network: since(4, BIND_TCP | CONNECT_TCP),
        scopes: since(6, SIGNALS)
            | match notify {
                Notify::Path => since(6, ABSTRACT_SOCKETS),
                Notify::Abstract => 0,
            },
    }
}

/// The thirteen rights of version 1.
const RIGHTS_OF_THE_FIRST: u64 = (1 << 13) - 1;
const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;
const ABSTRACT_SOCKETS: u64 = 1;
const SIGNALS: u64 = 1 << 1;
