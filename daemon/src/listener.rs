//! The two sockets: opening, accepting, and knowing who is at the other end.
//!
//! What lives here: the socket files, the accept loop, peer credentials, and the watch over the peers' processes.
//! What must never live here: a byte of the conversation.
//! Who calls it: start-up opens and starts it, stop ends it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use strongroom::audit::Principal;
use strongroom_wire::frame::Door;
use strongroom_wire::socket;

use crate::config::{Bounds, Configuration};
use crate::connections::{Admitted, Connections};
use crate::directories::may_administer;
use crate::jail::witness::Witness;
use crate::need::Need;
use crate::notify::Activated;
use crate::process;
use crate::system::{self, Peer};

/// Why a socket cannot be opened.
#[derive(Debug)]
pub enum ListenError {
    /// Somebody answers on it.
    InUse(PathBuf),
    /// Something else stands at its place.
    NotASocket(PathBuf),
    /// The system says.
    Io {
        /// The socket.
        path: PathBuf,
        /// What.
        error: io::Error,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                out,
                "another program already answers on {}; stop it, or choose another socket",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                out,
                "{} is there and is no socket; move it away, or choose another path",
                path.display()
            ),
            Self::Io { path, error } => write!(out, "cannot listen on {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ListenError {}

/// A socket file that is ours: it goes when this is dropped, unless somebody put another one in its place.
#[derive(Debug)]
pub(crate) struct SocketFile(Spot);

/// Which file that is.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let state = std::fs::symlink_metadata(path)?;
        Ok(Self(Spot {
            path: path.into(),
            device: state.dev(),
            inode: state.ino(),
        }))
    }
}

impl Spot {
    /// Whether the file is still at its path.
    pub(crate) fn stands(&self) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_ok_and(|state| (state.dev(), state.ino()) == (self.device, self.inode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.0.stands() {
            // A file that cannot be removed is stale, and the next start removes it.
            let _ = std::fs::remove_file(&self.0.path);
        }
    }
}

/// The two sockets.
#[derive(Debug)]
pub struct Listeners {
    application: UnixListener,
    admin: UnixListener,
    files: Vec<SocketFile>,
    witness: Witness,
}

impl Listeners {
    /// Those of a daemon that steps down, for applications and for administration; `owns_files` tells whether they go with the last daemon.
    ///
    /// # Errors
    /// [`ListenError`] names the socket.
    pub fn taken_over(
        configuration: &Configuration,
        (application, admin): (UnixListener, UnixListener),
        owns_files: bool,
        witness: Witness,
    ) -> Result<Self, ListenError> {
        let mut files = Vec::new();
        for path in [&configuration.socket, &configuration.admin_socket] {
            if owns_files {
                let file = SocketFile::of(path).map_err(|error| ListenError::Io {
                    path: path.clone(),
                    error,
                })?;
                files.push(file);
            }
        }
        Ok(Self {
            application,
            admin,
            files,
            witness,
        })
    }

    /// Copies of the sockets, that for applications first.
    ///
    /// # Errors
    /// What the system says.
    pub fn descriptors(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([
            self.application.try_clone()?.into(),
            self.admin.try_clone()?.into(),
        ])
    }

    /// Whether their files are to be removed some day.
    #[must_use]
    pub fn owns_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Leaves the files of the sockets to another daemon.
    pub fn leave(self) {
        for file in self.files {
            std::mem::forget(file);
        }
    }

    /// Opens both sockets, except those that the service manager has opened.
    ///
    /// # Errors
    /// [`ListenError`] names the socket.
    pub fn open(
        configuration: &Configuration,
        activated: Activated,
        group: Option<u32>,
        witness: Witness,
    ) -> Result<Self, ListenError> {
        let mut files = Vec::new();
        let application = match activated.application {
            Some(listener) => listener,
            None => {
                let listener = listen(&configuration.socket, &mut files)?;
                widen(configuration, group)?;
                listener
            }
        };
        let admin = match activated.admin {
            Some(listener) => listener,
            None => listen(&configuration.admin_socket, &mut files)?,
        };
        for (listener, path) in [
            (&application, &configuration.socket),
            (&admin, &configuration.admin_socket),
        ] {
            // The loop asks first and accepts then; a client that has gone meanwhile must not block it.
            listener
                .set_nonblocking(true)
                .map_err(|error| ListenError::Io {
                    path: path.clone(),
                    error,
                })?;
        }
        Ok(Self {
            application,
            admin,
            files,
            witness,
        })
    }
}

/// Binds a socket for the owner alone.
fn listen(path: &Path, files: &mut Vec<SocketFile>) -> Result<UnixListener, ListenError> {
    let failed = |error| ListenError::Io {
        path: path.into(),
        error,
    };
    remove_stale(path)?;
    let listener = socket::bind(path).map_err(failed)?;
    files.push(SocketFile::of(path).map_err(failed)?);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Removes a socket file on which nobody answers, as a crash leaves it.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |error| ListenError::Io {
        path: path.into(),
        error,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(state) if !state.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.into()));
        }
        Ok(_) => {}
    }
    match socket::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.into())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Gives group and mode of the configuration to the socket for applications; before this only the owner could connect.
fn widen(configuration: &Configuration, group: Option<u32>) -> Result<(), ListenError> {
    let path = &configuration.socket;
    let failed = |error| ListenError::Io {
        path: path.clone(),
        error,
    };
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(failed)?;
    }
    let mode = std::fs::Permissions::from_mode(configuration.socket_mode);
    std::fs::set_permissions(path, mode).map_err(failed)
}

/// Whoever takes the connections: the daemon, or what stands in for it while it is sealed.
pub trait Host: Send + Sync + 'static {
    /// Who is connected.
    fn connections(&self) -> &Arc<Connections>;

    /// Bounds of the sockets.
    fn bounds(&self) -> Bounds;

    /// Whether a line that a stranger can provoke may be logged now.
    fn allow_log_line(&self) -> bool;

    /// After how long without a client it ends; none is never.
    fn ends_when_unused(&self) -> Option<Duration>;

    /// Stops as SIGTERM does.
    fn ask_to_stop(&self);

    /// Starts the conversation.
    ///
    /// # Errors
    /// What the system says when there is no further thread.
    fn begin(self: &Arc<Self>, door: Door, admitted: Admitted, who: Principal) -> io::Result<()>;
}

/// The accept loop in its thread.
#[derive(Debug)]
pub struct Acceptor {
    thread: JoinHandle<(UnixListener, UnixListener, Witness)>,
    /// Closing it wakes the loop.
    wake: UnixStream,
    files: Vec<SocketFile>,
}

impl Acceptor {
    /// Starts to accept.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(host: &Arc<impl Host>, listeners: Listeners) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let Listeners {
            application,
            admin,
            files,
            mut witness,
        } = listeners;
        let host = Arc::clone(host);
        let spots = files.iter().map(|file| file.0.clone()).collect();
        let mut need = Need::new(host.ends_when_unused(), spots);
        let thread = thread::Builder::new()
            .name("listener".into())
            .spawn(move || {
                accept_until(
                    &woken,
                    &host,
                    &application,
                    &admin,
                    (&mut witness, &mut need),
                );
                (application, admin, witness)
            })?;
        Ok(Self {
            thread,
            wake,
            files,
        })
    }

    /// Accepts nobody for the moment. Whoever connects meanwhile waits for the next acceptor of these sockets.
    ///
    /// # Errors
    /// When the listener has ended before.
    pub fn pause(self) -> io::Result<Listeners> {
        drop(self.wake);
        let ended = |_| io::Error::other("the listener had ended");
        let (application, admin, witness) = self.thread.join().map_err(ended)?;
        Ok(Listeners {
            application,
            admin,
            files: self.files,
            witness,
        })
    }

    /// Accepts nobody any more and removes the socket files.
    pub fn stop(self) {
        drop(self.wake);
        // The files go before the sockets close: a new daemon then finds no file rather than a stale one.
        drop(self.files);
        if self.thread.join().is_err() {
            tracing::error!("the listener had ended before the stop");
        }
    }
}

/// One loop for everything that happens outside of conversations: new connections, and processes that ended.
fn accept_until(
    woken: &UnixStream,
    host: &Arc<impl Host>,
    application: &UnixListener,
    admin: &UnixListener,
    (witness, need): (&mut Witness, &mut Need),
) {
    loop {
        if let Some(why) = need.gone(host.connections().count(), Instant::now()) {
            tracing::info!("{why}; ending");
            // Whoever is in the queue finds nobody, and begins anew.
            host.ask_to_stop();
            return;
        }
        let processes = host.connections().processes();
        let fixed = [woken.as_fd(), application.as_fd(), admin.as_fd()];
        let watched: Vec<BorrowedFd<'_>> = fixed
            .into_iter()
            .chain(processes.iter().map(|(_, process)| process.as_fd()))
            .collect();
        let ready = match system::wait_readable(&watched, need.look()) {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!(%error, "cannot wait for connections");
                thread::sleep(PAUSE);
                continue;
            }
        };
        let [stop, new_application, new_admin, ended @ ..] = ready.as_slice() else {
            continue;
        };
        if *stop {
            return;
        }
        for ((id, _), _) in processes.iter().zip(ended).filter(|(_, ended)| **ended) {
            host.connections().process_ended(*id);
        }
        if *new_application {
            accept(host, Door::Application, application, witness);
        }
        if *new_admin {
            accept(host, Door::Admin, admin, witness);
        }
    }
}

fn accept(host: &Arc<impl Host>, door: Door, listener: &UnixListener, witness: &mut Witness) {
    match listener.accept() {
        Ok((socket, _)) => {
            if let Err(why) = admit(host, door, socket, witness)
                && host.allow_log_line()
            {
                tracing::warn!("connection refused: {why}");
            }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => {
            if host.allow_log_line() {
                tracing::error!(%error, "cannot accept a connection");
            }
            // Without descriptors or memory the same connection would come up again at once.
            thread::sleep(PAUSE);
        }
    }
}

/// Looks who it is and starts the conversation; the text of an error is for the log.
fn admit(
    host: &Arc<impl Host>,
    door: Door,
    socket: UnixStream,
    witness: &mut Witness,
) -> Result<(), String> {
    let peer = system::peer(socket.as_fd()).map_err(|error| format!("no credentials: {error}"))?;
    let who = format!("user {}, process {}", peer.uid, peer.pid);
    if door == Door::Admin && !may_administer(peer.uid) {
        return Err(format!(
            "{who} may not administer; root and the daemon's own user may"
        ));
    }
    let process = match system::peer_process(socket.as_fd(), peer) {
        Ok(process) => Some(process),
        // The process has ended already. One of another namespace has no number here, and its connections end by closing only.
        Err(_) if peer.pid != 0 => return Err(format!("{who}: has ended")),
        Err(_) => None,
    };
    let seen = Seen::of(peer, process.as_ref(), witness);
    let principal = Principal {
        uid: peer.uid,
        gid: peer.gid,
        pid: peer.pid,
        executable: seen.executable,
        started: seen.started,
    };
    socket
        .set_nonblocking(false)
        .map_err(|error| format!("{who}: {error}"))?;
    let bounds = host.bounds();
    let admitted = host
        .connections()
        .admit(door, peer.uid, socket, process, bounds)
        .map_err(|why| format!("{who}: {why}"))?;
    tracing::debug!(id = %admitted.id(), uid = peer.uid, pid = peer.pid, ?door, "connection opened");
    host.begin(door, admitted, principal)
        .map_err(|error| format!("{who}: {error}"))
}

/// What `/proc` tells of a process.
struct Seen {
    executable: String,
    started: Option<u64>,
}

impl Seen {
    /// Its program, as far as it may be seen, and when it was started. Read first and trusted only when the process still runs afterwards, so
    /// that it is never told of another process with the same number.
    fn of(peer: Peer, process: Option<&OwnedFd>, witness: &mut Witness) -> Self {
        let path = match u32::try_from(peer.pid) {
            Ok(pid) if pid != 0 => witness.program(pid),
            _ => None,
        };
        let started = process::started(peer.pid);
        let runs = process.is_some_and(|process| {
            system::wait_readable(&[process.as_fd()], Some(Duration::ZERO))
                .is_ok_and(|ended| ended == [false])
        });
        Self {
            executable: match path {
                Some(path) if runs => path.to_string_lossy().into_owned(),
                _ => "?".into(),
            },
            started: started.filter(|_| runs),
        }
    }
}

/// Whether somebody answers on a socket.
#[must_use]
pub fn answers(path: &Path) -> bool {
    socket::connect(path).is_ok()
}

/// How long to wait before trying again what only time can mend.
const PAUSE: Duration = Duration::from_millis(20);
