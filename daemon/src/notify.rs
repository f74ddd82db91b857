//! The service manager: readiness, and sockets that it opened for us.
//!
//! What lives here: sd_notify(3) and sd_listen_fds(3) by hand, a dozen lines each, instead of a C library in the process with the keys.
//! What must never live here: a need for a service manager; without one every function here does nothing.
//! Who calls it: start-up, reload and stop.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use crate::system;

/// A wire to the service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    address: Option<OsString>,
}

impl Notifier {
    /// `address` is the value of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    #[must_use]
    pub fn new(address: Option<OsString>) -> Self {
        Self {
            address: address.filter(|value| !value.is_empty()),
        }
    }

    /// Requests are answered from now on.
    pub fn ready(&self, status: &str) {
        self.send(&format!(
            "READY=1\nMAINPID={}\nSTATUS={status}",
            std::process::id()
        ));
    }

    /// The configuration is being read again; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}",
            system::monotonic_microseconds()
        ));
    }

    /// Another process is the daemon from now on.
    pub fn replaced_by(&self, pid: i32) {
        self.send(&format!("MAINPID={pid}\nREADY=1\nSTATUS=replaced"));
    }

    /// The daemon is on its way out.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    fn send(&self, message: &str) {
        let Some(address) = &self.address else { return };
        let sent = socket_address(address).and_then(|address| {
            UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)
        });
        if let Err(error) = sent {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

fn socket_address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        _ => SocketAddr::from_pathname(name),
    }
}

/// Sockets that the service manager opened for us.
#[derive(Debug, Default)]
pub struct Activated {
    /// For applications.
    pub application: Option<UnixListener>,
    /// For administration.
    pub admin: Option<UnixListener>,
}

/// Why the sockets of the service manager cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ActivationError(String);

impl fmt::Display for ActivationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "cannot use the sockets of the service manager: {}",
            self.0
        )
    }
}

impl std::error::Error for ActivationError {}

/// Takes over the sockets named by `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`.
///
/// # Errors
/// [`ActivationError`] when the variables are meant for us and make no sense.
pub fn take_activated(
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Activated, ActivationError> {
    let text = |name: &str| environment(name).and_then(|value| value.into_string().ok());
    // Meant for another process, an ancestor's: not an error (sd_listen_fds(3)).
    if text("LISTEN_PID") != Some(std::process::id().to_string()) {
        return Ok(Activated::default());
    }
    let names = text("LISTEN_FDNAMES").unwrap_or_default();
    let count = text("LISTEN_FDS").unwrap_or_default();
    let places = assign(&count, &names).map_err(ActivationError)?;
    let listener = |place: Option<RawFd>| match place
        .map(|number| (number, system::inherited_listener(number)))
    {
        None => Ok(None),
        Some((_, Some(descriptor))) => Ok(Some(unix_listener(descriptor)?)),
        Some((number, None)) => Err(ActivationError(format!(
            "descriptor {number} is no listening socket"
        ))),
    };
    Ok(Activated {
        application: listener(places.application)?,
        admin: listener(places.admin)?,
    })
}

fn unix_listener(descriptor: OwnedFd) -> Result<UnixListener, ActivationError> {
    let listener = UnixListener::from(descriptor);
    // Only a Unix socket tells who connects.
    listener.local_addr().map_err(|_| {
        ActivationError("a descriptor is no Unix socket; use ListenStream= with a path".into())
    })?;
    Ok(listener)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    application: Option<RawFd>,
    admin: Option<RawFd>,
}

/// Which descriptor is for whom: by name, and those without a known name in order.
fn assign(count: &str, names: &str) -> Result<Places, String> {
    let count: RawFd = count
        .parse()
        .map_err(|_| format!("LISTEN_FDS={count} is no number"))?;
    if !(0..=2).contains(&count) {
        return Err(format!(
            "LISTEN_FDS={count}; at most two sockets have a use, \"pkcs11\" and \"admin\""
        ));
    }
    let mut names = names.split(':');
    let mut places = Places::default();
    let mut unnamed = Vec::new();
    for number in LISTEN_FDS_START..LISTEN_FDS_START + count {
        let place = match names.next() {
            Some("pkcs11") => &mut places.application,
            Some("admin") => &mut places.admin,
            _ => {
                unnamed.push(number);
                continue;
            }
        };
        if place.replace(number).is_some() {
            return Err("two sockets have the same name in LISTEN_FDNAMES".into());
        }
    }
    for number in unnamed {
        let place = if places.application.is_none() {
            &mut places.application
        } else {
            &mut places.admin
        };
        *place = Some(number);
    }
    Ok(places)
}

/// `SD_LISTEN_FDS_START` of sd_listen_fds(3).
const LISTEN_FDS_START: RawFd = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_assigned_by_name_then_in_order() {
        let places = |application, admin| Ok(Places { application, admin });
        assert_eq!(assign("0", ""), places(None, None));
        assert_eq!(assign("1", ""), places(Some(3), None));
        assert_eq!(assign("2", ""), places(Some(3), Some(4)));
        assert_eq!(assign("2", "admin:pkcs11"), places(Some(4), Some(3)));
        assert_eq!(
            assign("2", "admin:strongroomd.socket"),
            places(Some(4), Some(3))
        );
        assert_eq!(assign("1", "admin"), places(None, Some(3)));
        assert!(assign("2", "admin:admin").is_err());
        assert!(assign("3", "").is_err());
        assert!(assign("x", "").is_err());
    }
}
