//! Connecting to a Unix socket with a limit of time.
//!
//! What lives here: socket(2), SO_SNDTIMEO and connect(2).
//! What must never live here: what is said over the connection.
//! Who calls it: the seal, for a TPM behind a socket.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use strongroom_wire::socket::{ADDRESS_BYTES_MAX, Reach};

use super::{outcome, socket_length};

/// Connects, waiting at most `limit` for a listener whose queue is full: std has no limit for that.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::WouldBlock`] when the time is over; [`io::ErrorKind::InvalidInput`] for a name that is too long.
pub fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let reach = Reach::of(path)?;
    let address = address_of(reach.path())?;
    // SAFETY: socket takes three numbers.
    let number =
        outcome(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) });
    // unix(7): a connect to a full queue waits as long as a send may.
    stream.set_write_timeout(Some(limit))?;
    // SAFETY: the address is a whole sockaddr_un that outlives the call, and the length is its size.
    outcome(unsafe {
        libc::connect(
            stream.as_raw_fd(),
            (&raw const address).cast(),
            socket_length::<libc::sockaddr_un>(),
        )
    })?;
    Ok(stream)
}

fn address_of(path: &Path) -> io::Result<libc::sockaddr_un> {
    let mut address = libc::sockaddr_un {
        sun_family: libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or(0),
        sun_path: [0; ADDRESS_BYTES_MAX + 1],
    };
    let bytes = path.as_os_str().as_bytes();
    // The last byte stays zero.
    if bytes.len() > ADDRESS_BYTES_MAX || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    Ok(address)
}
