//! Talking to the daemon: a small pool of connections.
//!
//! What lives here: connections, frames on them, which failure means what.
//! What must never live here: what requests mean; a request is never sent twice, whatever it asks.
//! Who calls it: the entries, through [`crate::process::Instance`].

mod connection;
mod descriptors;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use strongroom_wire::ck::Rv;
use strongroom_wire::request::Request;
use strongroom_wire::response::{Answer, Body, NOT_CARRIED_OUT};

use self::connection::Connection;
pub(crate) use self::descriptors::Descriptors;
use crate::abi::system;
use crate::guise::Guise;
use crate::locate::Locator;
use crate::stamp::{Stamp, Stamps};
use crate::start::Starter;

/// Most connections of one process. Calls beyond it wait for one: the daemon's own workers are fewer.
pub(crate) const CONNECTIONS_MAX: usize = 32;

/// Longest wait for a listener, for the answer to Hello and for the answer to Goodbye. Later answers have no deadline, since an RSA
/// key takes as long as it takes; the death of the daemon shows as the end of the stream.
const GREETING: Duration = Duration::from_secs(5);

/// Shortest time between two tries to reach a daemon that is gone.
const RETRY: Duration = Duration::from_millis(10);

/// How often a private daemon is greeted that does not answer.
const GREETINGS_MAX: usize = 5;

/// So long after a lost answer each idle connection is waited for a moment, in ticks (nanoseconds), and so long looked at.
const LOSS_FRESH: u64 = 100_000_000;
const LOSS_OLD: u64 = 1_000_000_000;
/// That moment. On a machine that is busy, a process that was killed may stand still for some milliseconds between two of its sockets.
const LOSS_LOOK: Duration = Duration::from_millis(20);

/// How often a request is handed over anew where nothing was carried out: a daemon that was restarted that often while one call was under
/// way will not come to rest.
pub(crate) const TRIES_MAX: usize = 32;

/// A stretch of time in which one daemon knows what this process told it: its sessions, its logins, what they have begun. A daemon that is
/// started anew knows nothing, and neither does one that has lost the last connection of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Era(pub(crate) u64);

impl Era {
    /// That of the first connection.
    pub(crate) const FIRST: Self = Self(1);
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No daemon listens; nothing was asked.
    Absent,
    /// Nothing was carried out: the connection was dead, or leads into another era. The daemon of now must be told first what it must know.
    Again,
    /// C_Finalize was called meanwhile.
    Ended,
    /// The request may have been carried out, but no answer came, or none that can be understood.
    Lost,
    /// There is no memory for the frame.
    Memory,
    /// A daemon listens and does not let this process in; nothing was asked.
    Refused,
    /// The request is longer than a frame.
    TooLong,
    /// The daemon does not know the session, so nothing was carried out.
    UnknownSession,
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
    /// The era of now. Written with the pool locked.
    era: AtomicU64,
    /// When an answer was last lost, as [`system::tick`] tells it.
    lost_at: AtomicU64,
    /// Until when calls wait for a daemon that has gone; none while there is one.
    outage_until: Mutex<Option<Instant>>,
    /// Held while a new connection finds out into which era it leads.
    entering: Mutex<()>,
    pool: Mutex<Pool>,
    freed: Condvar,
}

struct Pool {
    /// The last one used is the first one taken: its buffers are warm. Boxed, since each call takes one out and puts it back.
    idle: Vec<Box<Connection>>,
    /// Connections that are idle, in use or being opened.
    open: usize,
    /// Those of them that were greeted.
    greeted: usize,
    /// Whether there ever was one.
    met: bool,
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
            era: AtomicU64::new(Era::FIRST.0),
            lost_at: AtomicU64::new(0),
            outage_until: Mutex::new(None),
            entering: Mutex::new(()),
            pool: Mutex::new(Pool {
                idle: Vec::new(),
                open: 0,
                greeted: 0,
                met: false,
                ended: false,
                waiting: 0,
            }),
            freed: Condvar::new(),
        }
    }

    /// What the module stands in for, if anything.
    pub(crate) const fn guise(&self) -> Option<&Guise> {
        self.locator.guise()
    }

    /// Most sessions that the daemon grants an application.
    pub(crate) fn sessions_max(&self) -> u64 {
        self.sessions_max.load(Ordering::Relaxed)
    }

    /// The era of now.
    pub(crate) fn era(&self) -> Era {
        Era(self.era.load(Ordering::Acquire))
    }

    /// The daemon does not know what it was told in `era`, so that is over.
    pub(crate) fn end_era(&self, era: Era) {
        let _pool = self.lock();
        if self.era() == era {
            self.begin_era();
        }
        self.stamps.change();
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
                self.discard_dead();
            }
        }
        self.stamps.now()
    }

    /// Asks the daemon, and hands its answer to `read` while it lies in the connection's buffer. A request that needs what the daemon was told
    /// names the era in which that was; in another one it is not sent. `read` is there as long as no answer has come.
    pub(crate) fn ask<T, R: FnOnce(&Answer<'_>) -> T>(
        &self,
        request: &Request<'_>,
        era: Option<Era>,
        read: &mut Option<R>,
    ) -> Result<T, Failure> {
        let mut lease = self.lease()?;
        let connection = lease.connection()?;
        if era.is_some_and(|era| connection.era != era) {
            return Err(Failure::Again);
        }
        connection.write(request)?;
        if connection.send().is_err() {
            // An idle connection may have died with its daemon. As long as the request has not been handed over whole, nobody can have
            // carried it out.
            lease.connection = None;
            drop(lease);
            self.discard_dead();
            return Err(Failure::Again);
        }
        let outcome = connection.receive(|answer| match answer.rv {
            NOT_CARRIED_OUT => Err(Failure::Again),
            Rv::SESSION_HANDLE_INVALID if era.is_some() => Err(Failure::UnknownSession),
            _ => read.take().map(|read| read(answer)).ok_or(Failure::Lost),
        });
        if matches!(outcome, Ok(Err(Failure::Again)) | Err(_)) {
            self.lost_at.store(system::tick(), Ordering::Relaxed);
            lease.connection = None;
            drop(lease);
            // The others may have died with it.
            self.discard_dead();
        }
        outcome.flatten()
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

    fn outage(&self) -> MutexGuard<'_, Option<Instant>> {
        // One value: nothing can leave it half changed.
        let outage = self.outage_until.lock();
        outage.unwrap_or_else(PoisonError::into_inner)
    }

    /// With the pool locked.
    fn begin_era(&self) {
        self.era.fetch_add(1, Ordering::AcqRel);
    }

    fn lease(&self) -> Result<Lease<'_>, Failure> {
        loop {
            let mut lease = self.idle_or_place()?;
            if let Some(idle) = &lease.connection {
                if self.seems_alive(idle) {
                    return Ok(lease);
                }
                lease.connection = None;
                drop(lease);
                self.discard_dead();
                continue;
            }
            match self.open() {
                Ok(connection) => {
                    lease.connection = Some(connection);
                    lease.greeted = true;
                    return Ok(lease);
                }
                Err(Failure::Refused) => {
                    drop(lease);
                    // A daemon bounds the connections of a user; those that the process has serve the call as well, only later.
                    if let Some(lease) = self.idle()? {
                        return Ok(lease);
                    }
                }
                Err(Failure::Absent) => drop(lease),
                Err(failure) => return Err(failure),
            }
            if !self.wait_a_moment() {
                return Err(Failure::Absent);
            }
        }
    }

    /// Whether the daemon is at the other end of an idle connection. One that died in the middle of a spin has left nothing by which a request
    /// that is handed over would find out, so it is looked once a tick. After a loss it is looked each time, and waited for a moment: the
    /// system closes the sockets of a process one after the other.
    fn seems_alive(&self, idle: &Connection) -> bool {
        let tick = system::tick();
        let since_loss = tick.wrapping_sub(self.lost_at.load(Ordering::Relaxed));
        if since_loss < LOSS_FRESH {
            return idle.is_open_after(LOSS_LOOK);
        }
        let looked = idle.used_at == tick && since_loss > LOSS_OLD;
        looked || idle.is_open()
    }

    /// Waits a moment for a daemon that was there before, and answers false where that makes no sense, or no sense any more: an outage is
    /// waited for once, and not by each call again.
    fn wait_a_moment(&self) -> bool {
        if !self.lock().met {
            return false;
        }
        let now = Instant::now();
        let until = {
            let mut until = self.outage();
            *until.get_or_insert_with(|| now + self.locator.patience())
        };
        let waits = now < until;
        if waits {
            thread::sleep(RETRY);
        }
        waits
    }

    /// Takes an idle connection, or a place for a new one.
    fn idle_or_place(&self) -> Result<Lease<'_>, Failure> {
        let mut pool = self.lock();
        loop {
            if let Some(lease) = self.take(&mut pool)? {
                return Ok(lease);
            }
            if pool.open < CONNECTIONS_MAX {
                pool.open += 1;
                return Ok(Lease {
                    client: self,
                    connection: None,
                    greeted: false,
                });
            }
            pool = self.wait(pool);
        }
    }

    /// Waits for an idle connection, as long as there is any that may become idle.
    fn idle(&self) -> Result<Option<Lease<'_>>, Failure> {
        let mut pool = self.lock();
        loop {
            if let Some(lease) = self.take(&mut pool)? {
                return Ok(Some(lease));
            }
            if pool.open == 0 {
                return Ok(None);
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

    /// An idle connection of this era; those of an earlier one are closed.
    fn take(&self, pool: &mut Pool) -> Result<Option<Lease<'_>>, Failure> {
        if pool.ended {
            return Err(Failure::Ended);
        }
        while let Some(idle) = pool.idle.pop() {
            if idle.era == self.era() {
                return Ok(Some(Lease {
                    client: self,
                    connection: Some(idle),
                    greeted: true,
                }));
            }
            pool.gone(true);
        }
        Ok(None)
    }

    fn open(&self) -> Result<Box<Connection>, Failure> {
        let (mut connection, sessions_max) = self.greeted()?;
        self.sessions_max.store(sessions_max, Ordering::Relaxed);
        let page = connection.take_shared();
        connection.era = self.enter(page.as_ref().map(AsFd::as_fd));
        *self.outage() = None;
        Ok(connection)
    }

    /// A new connection, and how many sessions are granted.
    fn greeted(&self) -> Result<(Box<Connection>, u64), Failure> {
        let mut tries = if self.guise().is_some() {
            GREETINGS_MAX
        } else {
            1
        };
        loop {
            let stream = self.starter.connect(&self.locator, GREETING);
            let stream = stream.ok_or(Failure::Absent)?;
            let mut connection = Box::new(Connection::new(stream, self.descriptors)?);
            tries -= 1;
            match greet(&mut connection, self.instance) {
                Ok(Some(sessions_max)) => return Ok((connection, sessions_max)),
                // A private daemon that ends because nobody came may have been met in the queue; the next one is started then.
                Err(Failure::Lost) if tries > 0 => thread::sleep(RETRY),
                // A daemon that refuses the greeting, or does not answer in time, is none for us.
                _ => return Err(Failure::Refused),
            }
        }
    }

    /// A connection has been greeted and brought this page; answers into which era it leads.
    fn enter(&self, page: Option<BorrowedFd<'_>>) -> Era {
        let _entering = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        let same_daemon = self.stamps.watch(page);
        let mut pool = self.lock();
        // With the last connection the daemon has ended what the process had.
        if pool.met && (!same_daemon || pool.greeted == 0) {
            self.begin_era();
        }
        pool.met = true;
        pool.greeted = pool.greeted.saturating_add(1);
        self.era()
    }

    fn give_back(&self, connection: Option<Box<Connection>>, greeted: bool) {
        let mut pool = self.lock();
        match connection {
            Some(mut connection) if !pool.ended && connection.era == self.era() => {
                connection.used_at = system::tick();
                pool.idle.push(connection);
                let awaited = pool.waiting > 0;
                drop(pool);
                if awaited {
                    self.freed.notify_one();
                }
            }
            gone => {
                pool.gone(greeted);
                drop(pool);
                // One of those who wait may have waited for the last connection there was.
                self.freed.notify_all();
                drop(gone);
            }
        }
    }

    /// One connection has turned out dead: those that died with it go as well. The daemon may also have closed one that was idle for long:
    /// then the others stay, since the sessions end with the last.
    fn discard_dead(&self) {
        self.stamps.change();
        let dead: Vec<_> = {
            let mut pool = self.lock();
            let dead: Vec<_> = pool.idle.extract_if(.., |idle| !idle.is_open()).collect();
            for _ in &dead {
                pool.gone(true);
            }
            dead
        };
        self.freed.notify_all();
        drop(dead);
    }
}

impl Pool {
    /// A connection has gone, or a place is given up.
    const fn gone(&mut self, greeted: bool) {
        self.open = self.open.saturating_sub(1);
        if greeted {
            self.greeted = self.greeted.saturating_sub(1);
        }
    }
}

/// A connection taken out of the pool for one call. Without a connection it is a place in the pool that is given up.
struct Lease<'c> {
    client: &'c Client,
    connection: Option<Box<Connection>>,
    /// Whether it holds a connection that was greeted, or held one.
    greeted: bool,
}

impl Lease<'_> {
    fn connection(&mut self) -> Result<&mut Connection, Failure> {
        self.connection.as_deref_mut().ok_or(Failure::Lost)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let connection = self.connection.take();
        self.client.give_back(connection, self.greeted);
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
