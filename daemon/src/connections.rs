//! The register of open connections.
//!
//! What lives here: who is connected, within which bounds, and how all of them are ended.
//! What must never live here: frames.
//! Who calls it: the listener admits and ends, a connection leaves, the stop waits.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use strongroom_wire::frame::Door;

use crate::config::Bounds;

/// Number of a connection since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many as may be.
    TooMany,
    /// This user has as many as one may have.
    TooManyOfUser,
    /// The daemon is on its way out.
    Stopping,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TooMany => "there are limits.connections_max connections",
            Self::TooManyOfUser => "this user has limits.connections_per_user_max connections",
            Self::Stopping => "the daemon is stopping",
        })
    }
}

#[derive(Debug)]
struct Entry {
    door: Door,
    uid: u32,
    socket: Arc<UnixStream>,
    /// The process that connected, until it is known to have ended.
    process: Option<Arc<OwnedFd>>,
}

#[derive(Debug, Default)]
struct Register {
    entries: BTreeMap<ConnectionId, Entry>,
    next: u64,
    /// Most connections of applications that ever were there.
    peak: usize,
}

impl Register {
    fn of_applications(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.values();
        entries.filter(|entry| entry.door == Door::Application)
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub struct Connections {
    register: Mutex<Register>,
    /// Set before the sockets are shut, and read by every connection before each request, so no lock.
    stopping: AtomicBool,
    /// Signalled when a connection has left.
    left: Condvar,
}

impl Connections {
    /// Admits a connection of user `uid`, within bounds.
    ///
    /// # Errors
    /// [`Refusal`]; the socket is then closed.
    pub fn admit(
        self: &Arc<Self>,
        door: Door,
        uid: u32,
        socket: UnixStream,
        process: Option<OwnedFd>,
        bounds: Bounds,
    ) -> Result<Admitted, Refusal> {
        let mut register = self.register.lock();
        if self.stopping() {
            return Err(Refusal::Stopping);
        }
        let of_door = || register.entries.values().filter(|entry| entry.door == door);
        let (all_max, user_max) = match door {
            Door::Application => (bounds.connections_max, bounds.connections_per_user_max),
            Door::Admin => (ADMIN_CONNECTIONS_MAX, ADMIN_CONNECTIONS_MAX),
        };
        if of_door().count() >= all_max {
            return Err(Refusal::TooMany);
        }
        if of_door().filter(|entry| entry.uid == uid).count() >= user_max {
            return Err(Refusal::TooManyOfUser);
        }
        let id = ConnectionId(register.next);
        register.next += 1;
        let socket = Arc::new(socket);
        let entry = Entry {
            door,
            uid,
            socket: Arc::clone(&socket),
            process: process.map(Arc::new),
        };
        register.entries.insert(id, entry);
        let now = register.of_applications().count();
        register.peak = register.peak.max(now);
        drop(register);
        Ok(Admitted {
            id,
            socket,
            connections: Arc::clone(self),
        })
    }

    /// The processes at the other ends.
    #[must_use]
    pub fn processes(&self) -> Vec<(ConnectionId, Arc<OwnedFd>)> {
        let register = self.register.lock();
        let watched = register.entries.iter();
        watched
            .filter_map(|(id, entry)| Some((*id, entry.process.clone()?)))
            .collect()
    }

    /// The process that made this connection has ended; a child may still hold the socket. What the process owned ends with it.
    pub fn process_ended(&self, id: ConnectionId) {
        if let Some(entry) = self.register.lock().entries.get_mut(&id) {
            entry.process = None;
            end(&entry.socket, Shutdown::Both);
        }
    }

    /// Connections of applications and of administration.
    #[must_use]
    pub fn count(&self) -> usize {
        self.register.lock().entries.len()
    }

    /// Connections of applications: now, at most ever, and of the user who has most.
    #[must_use]
    pub fn of_applications(&self) -> (usize, usize, usize) {
        let register = self.register.lock();
        let mut users = BTreeMap::<u32, usize>::new();
        for entry in register.of_applications() {
            *users.entry(entry.uid).or_default() += 1;
        }
        let all = users.values().sum();
        (
            all,
            register.peak,
            users.values().copied().max().unwrap_or(0),
        )
    }

    /// Whether the daemon is on its way out: no further request is begun.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Admits nobody any more, lets running requests finish, and waits for that at most `bound`.
    /// Answers how many connections are left.
    pub fn stop(&self, bound: Duration) -> usize {
        let deadline = Instant::now() + bound;
        let mut register = self.register.lock();
        self.stopping.store(true, Ordering::Release);
        for entry in register.entries.values() {
            // Whoever waits for a request meets the end of the stream; whoever answers one can still write.
            end(&entry.socket, Shutdown::Read);
        }
        while !register.entries.is_empty() {
            if self.left.wait_until(&mut register, deadline).timed_out() {
                break;
            }
        }
        register.entries.len()
    }
}

/// A place in the register; it is left when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    id: ConnectionId,
    socket: Arc<UnixStream>,
    connections: Arc<Connections>,
}

impl Admitted {
    /// The number of the connection.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Whether the daemon is on its way out.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.connections.stopping()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        end(&self.socket, Shutdown::Both);
        self.connections.register.lock().entries.remove(&self.id);
        self.connections.left.notify_all();
    }
}

/// A socket whose other end is gone cannot be shut down, and need not be.
fn end(socket: &UnixStream, how: Shutdown) {
    let _ = socket.shutdown(how);
}

/// Connections of administration: a few people and scripts. Apart from the others, so that a crowd of applications does not keep
/// the operator out.
const ADMIN_CONNECTIONS_MAX: usize = 16;
