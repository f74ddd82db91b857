//! Sockets, however long their paths are.
//!
//! What lives here: the way round the 107 bytes of a socket's address, and connecting and binding by it.
//! What must never live here: what is said over a socket, and a rule about who may.
//! Who calls it: the module, the command line and the daemon, wherever a socket is named by its path.
//!
//! Directories of test runs are often longer than an address. A descriptor of the directory stands for them then: `/proc/self/fd/7/name` is
//! short, and the kernel walks from there to the very directory, with the checks that it always makes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Longest path in the address of a Unix socket in bytes (unix(7): `sun_path` less its final zero).
pub const ADDRESS_BYTES_MAX: usize = 107;

/// A path that fits an address, as long as this lives.
#[derive(Debug)]
pub struct Reach {
    path: PathBuf,
    /// What a path by number leads through.
    _directory: Option<File>,
}

impl Reach {
    /// Makes a path fit.
    ///
    /// # Errors
    /// What the system says of the directory; [`io::ErrorKind::InvalidInput`] for a name that alone is too long.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
            return Ok(Self {
                path: path.into(),
                _directory: None,
            });
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // O_PATH needs no right to read the directory, as a connect needs none.
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(directory)?;
        let path = Path::new("/proc/self/fd")
            .join(directory.as_raw_fd().to_string())
            .join(name);
        if path.as_os_str().len() > ADDRESS_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            path,
            _directory: Some(directory),
        })
    }

    /// The path to connect or bind to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Connects to a socket.
///
/// # Errors
/// What the system says.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(Reach::of(path)?.path())
}

/// Makes a socket and listens on it.
///
/// # Errors
/// What the system says.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(Reach::of(path)?.path())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_path_of_any_length_is_bound_and_connected_to() {
        let root = std::env::temp_dir().join(format!("strongroom-socket-{}", std::process::id()));
        let exact = ADDRESS_BYTES_MAX - root.as_os_str().len() - 1 - "/s".len();
        for directory in [
            PathBuf::from("a".repeat(exact)),
            PathBuf::from("a".repeat(exact + 1)),
            ["b".repeat(200), "c".repeat(200), "d".repeat(200)]
                .iter()
                .collect(),
        ] {
            let directory = root.join(directory);
            std::fs::create_dir_all(&directory).unwrap();
            let path = directory.join("s");
            let listener = bind(&path).unwrap();
            let mut near = connect(&path).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            near.write_all(b"x").unwrap();
            far.read_exact(&mut [0]).unwrap();
            assert!(path.exists());
        }
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_is_wrong_is_told_as_for_a_short_path() {
        let long = Path::new("/nonexistent").join("e".repeat(150)).join("s");
        assert_eq!(connect(&long).unwrap_err().kind(), io::ErrorKind::NotFound);
        let name = Path::new("/tmp").join("n".repeat(150));
        assert_eq!(
            connect(&name).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
