//! Talking to the daemon: a small pool of connections.
//!
//! What lives here: connections, frames on them, which failure means what.
//! What must never live here: what requests mean; a request is never sent twice, whatever it asks.
//! Who calls it: the entries, through [`crate::process::Instance`].

mod connection;
mod descriptors;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_wire::ck::Rv;
use strongroom_wire::request::Request;
use strongroom_wire::response::{Answer, Body};

use self::connection::Connection;
pub(crate) use self::descriptors::Descriptors;
use crate::abi::system;
use crate::locate::Locator;
use crate::stamp::{Stamp, Stamps};
use crate::start::Starter;

/// Most connections of one process. Calls beyond it wait for one: the daemon's own workers are fewer.
pub(crate) const CONNECTIONS_MAX: usize = 32;

/// Longest wait for a listener, for the answer to Hello and for the answer to Goodbye. Later answers have no deadline, since an RSA
/// key takes as long as it takes; the death of the daemon shows as the end of the stream.
const GREETING: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No daemon listens; nothing was asked.
    Absent,
    /// C_Finalize was called meanwhile.
    Ended,
    /// The request may have been carried out, but no answer came, or none that can be understood.
    Lost,
    /// There is no memory for the frame.
    Memory,
    /// The request is longer than a frame.
    TooLong,
}

/// The module's end of the protocol.
pub(crate) struct Client {
    locator: Locator,
    starter: Starter,
    /// Tells the daemon which connections belong together.
    instance: [u8; 16],
    descriptors: &'static Descriptors,
    /// Until when what the daemon told holds.
    pub(crate) stamps: Stamps,
    /// Most sessions that the daemon grants an application; none as long as it has not said.
    sessions_max: AtomicU64,
    /// When the daemon was last seen alive, as [`system::tick`] tells it.
    alive_at: AtomicU64,
    pool: Mutex<Pool>,
    freed: Condvar,
}

struct Pool {
    /// The last one used is the first one taken: its buffers are warm. Boxed, since each call takes one out and puts it back.
    idle: Vec<Box<Connection>>,
    /// Connections that are idle, in use or being opened.
    open: usize,
    ended: bool,
    /// Calls that wait for a connection: nobody is woken where nobody waits.
    waiting: usize,
}

impl Client {
    /// A client without a connection; the first request opens one.
    pub(crate) const fn new(
        locator: Locator,
        instance: [u8; 16],
        descriptors: &'static Descriptors,
    ) -> Self {
        Self {
            locator,
            starter: Starter::new(),
            instance,
            descriptors,
            stamps: Stamps::new(),
            sessions_max: AtomicU64::new(0),
            alive_at: AtomicU64::new(0),
            pool: Mutex::new(Pool {
                idle: Vec::new(),
                open: 0,
                ended: false,
                waiting: 0,
            }),
            freed: Condvar::new(),
        }
    }

    /// Most sessions that the daemon grants an application.
    pub(crate) fn sessions_max(&self) -> u64 {
        self.sessions_max.load(Ordering::Relaxed)
    }

    /// The stamp of now. A daemon that is gone counts no changes, so once a tick it is looked whether it is there: no other can have
    /// taken its place within a tick.
    pub(crate) fn now(&self) -> Option<Stamp> {
        let tick = system::tick();
        if self.alive_at.load(Ordering::Relaxed) != tick {
            self.alive_at.store(tick, Ordering::Relaxed);
            // Where all connections are in use, their calls will find out.
            let gone = self.lock().idle.last().is_some_and(|idle| !idle.is_open());
            if gone {
                self.discard_idle();
            }
        }
        self.stamps.now()
    }

    /// Asks the daemon, and hands its answer to `read` while it lies in the connection's buffer.
    pub(crate) fn ask<T>(
        &self,
        request: &Request<'_>,
        read: impl FnOnce(&Answer<'_>) -> T,
    ) -> Result<T, Failure> {
        let mut lease = self.lease()?;
        lease.connection()?.write(request)?;
        if lease.connection()?.send().is_err() {
            // An idle connection may have died with its daemon. As long as the request has not been handed over whole, nobody can have
            // carried it out, so it is handed over once more on a new connection.
            lease.renew()?;
            lease.connection()?.write(request)?;
            lease.connection()?.send().map_err(|_| Failure::Lost)?;
        }
        lease.receive(read)
    }

    /// Says goodbye and closes what is idle; connections in use are closed when their calls return.
    pub(crate) fn end(&self) {
        let mut idle = {
            let mut pool = self.lock();
            pool.ended = true;
            std::mem::take(&mut pool.idle)
        };
        self.freed.notify_all();
        if let Some(connection) = idle.pop() {
            // A daemon that is gone needs no goodbye.
            let _ = say_goodbye(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // Nothing under this lock can leave it half changed.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> Result<Lease<'_>, Failure> {
        if let Some(lease) = self.idle_or_place()? {
            return Ok(lease);
        }
        let mut lease = Lease {
            client: self,
            connection: None,
            pooled: false,
        };
        match self.open() {
            Ok(connection) => {
                lease.connection = Some(connection);
                Ok(lease)
            }
            Err(failure) => {
                drop(lease);
                // A daemon bounds the connections of a user; those that the process has serve the call as well, only later.
                if failure == Failure::Absent {
                    self.idle()
                } else {
                    Err(failure)
                }
            }
        }
    }

    /// Takes an idle connection, or None with a place for a new one.
    fn idle_or_place(&self) -> Result<Option<Lease<'_>>, Failure> {
        let mut pool = self.lock();
        loop {
            if let Some(lease) = self.take(&mut pool)? {
                return Ok(Some(lease));
            }
            if pool.open < CONNECTIONS_MAX {
                pool.open += 1;
                return Ok(None);
            }
            pool = self.wait(pool);
        }
    }

    /// Waits for an idle connection, as long as there is any that may become idle.
    fn idle(&self) -> Result<Lease<'_>, Failure> {
        let mut pool = self.lock();
        loop {
            if let Some(lease) = self.take(&mut pool)? {
                return Ok(lease);
            }
            if pool.open == 0 {
                return Err(Failure::Absent);
            }
            pool = self.wait(pool);
        }
    }

    fn wait<'p>(&self, mut pool: MutexGuard<'p, Pool>) -> MutexGuard<'p, Pool> {
        pool.waiting = pool.waiting.saturating_add(1);
        let mut pool = self
            .freed
            .wait(pool)
            .unwrap_or_else(PoisonError::into_inner);
        pool.waiting = pool.waiting.saturating_sub(1);
        pool
    }

    fn take(&self, pool: &mut Pool) -> Result<Option<Lease<'_>>, Failure> {
        if pool.ended {
            return Err(Failure::Ended);
        }
        let idle = pool.idle.pop();
        Ok(idle.map(|idle| Lease {
            client: self,
            connection: Some(idle),
            pooled: true,
        }))
    }

    fn open(&self) -> Result<Box<Connection>, Failure> {
        let stream = self
            .starter
            .connect(&self.locator, GREETING)
            .ok_or(Failure::Absent)?;
        let mut connection = Box::new(Connection::new(stream, self.descriptors)?);
        // A daemon that refuses the greeting, or does not answer in time, is none for us.
        let welcome = greet(&mut connection, self.instance);
        let Ok(Some(sessions_max)) = welcome else {
            return Err(Failure::Absent);
        };
        self.sessions_max.store(sessions_max, Ordering::Relaxed);
        let page = connection.take_shared();
        self.stamps.watch(page.as_ref().map(AsFd::as_fd));
        Ok(connection)
    }

    fn give_back(&self, connection: Option<Box<Connection>>) {
        let mut pool = self.lock();
        match connection {
            Some(connection) if !pool.ended => {
                pool.idle.push(connection);
                let awaited = pool.waiting > 0;
                drop(pool);
                if awaited {
                    self.freed.notify_one();
                }
            }
            gone => {
                pool.open = pool.open.saturating_sub(1);
                drop(pool);
                // One of those who wait may have waited for the last connection there was.
                self.freed.notify_all();
                drop(gone);
            }
        }
    }

    /// When one idle connection turns out dead, the daemon was restarted and the others are dead as well, or it closed one that was idle
    /// for long: then the others stay, since the sessions end with the last.
    fn discard_idle(&self) {
        self.stamps.change();
        let stale = {
            let mut pool = self.lock();
            let stale: Vec<_> = pool.idle.extract_if(.., |idle| !idle.is_open()).collect();
            pool.open = pool.open.saturating_sub(stale.len());
            stale
        };
        self.freed.notify_all();
        drop(stale);
    }
}

/// A connection taken out of the pool for one call. Without a connection it is a place in the pool that is given up.
struct Lease<'c> {
    client: &'c Client,
    connection: Option<Box<Connection>>,
    pooled: bool,
}

impl Lease<'_> {
    fn connection(&mut self) -> Result<&mut Connection, Failure> {
        self.connection.as_deref_mut().ok_or(Failure::Lost)
    }

    /// A fresh connection in the place of an idle one that turned out dead.
    fn renew(&mut self) -> Result<(), Failure> {
        self.connection = None;
        if !self.pooled {
            return Err(Failure::Lost);
        }
        self.pooled = false;
        self.client.discard_idle();
        self.connection = Some(self.client.open()?);
        Ok(())
    }

    fn receive<T>(&mut self, read: impl FnOnce(&Answer<'_>) -> T) -> Result<T, Failure> {
        let outcome = self.connection()?.receive(read);
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.client.give_back(self.connection.take());
    }
}

/// Says Hello; answers how many sessions are granted, if the answer is one to Hello.
fn greet(connection: &mut Connection, instance: [u8; 16]) -> Result<Option<u64>, Failure> {
    let hurry = connection.limit(Some(GREETING));
    let hello = Request::Hello {
        instance,
        shared_memory: true,
    };
    connection.write(&hello)?;
    connection.send().map_err(|_| Failure::Lost)?;
    let welcome = connection.receive(|answer| {
        if let Body::Hello { sessions_max, .. } = answer.body {
            Some(sessions_max).filter(|_| answer.rv == Rv::OK)
        } else {
            None
        }
    })?;
    let leisure = connection.limit(None);
    Ok(welcome.filter(|_| hurry.is_ok() && leisure.is_ok()))
}

/// The answer is waited for, so that the sessions have ended when C_Finalize returns.
fn say_goodbye(mut connection: Box<Connection>) -> Result<(), Failure> {
    connection
        .limit(Some(GREETING))
        .map_err(|_| Failure::Lost)?;
    connection.write(&Request::Goodbye)?;
    connection.send().map_err(|_| Failure::Lost)?;
    connection.receive(|_| ())
}

/// Connects to a socket.
pub(crate) fn connect(socket: &std::path::Path, limit: Duration) -> std::io::Result<UnixStream> {
    system::connect(socket, limit).map(UnixStream::from)
}

#[cfg(test)]
#[path = "tests/client.rs"]
mod tests;
