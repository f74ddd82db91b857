//! Applications: one client process each, with what it has at every token.
//!
//! What lives here: [`Application`] and [`Seat`]: sessions, login, session objects. Dropping an application ends all it owned.
//! What must never live here: token objects, and rules about what may be done.
//! Who calls it: the service makes and drops applications; sessions and chapters read seats.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use strongroom_wire::ck::UserType;
use strongroom_wire::request::{ObjectHandle, SessionHandle};

use crate::audit::Principal;
use crate::chapter::release::Guest;
use crate::error::{Error, Result};
use crate::object::index::Index;
use crate::session::Session;
use crate::token::Token;

/// One client process: the connections of one instance of the module in it.
#[derive(Debug)]
pub struct Application {
    /// Who it is, as the kernel says.
    pub principal: Principal,
    /// Which instance of the module: a process that finalises and initialises again is another application.
    pub instance: [u8; 16],
    pub(crate) connections: AtomicUsize,
    /// Of which are being given up because they were idle.
    pub(crate) resting: AtomicUsize,
    sessions: RwLock<HashMap<u64, Arc<Session>>>,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
}

/// What one application has at one token.
#[derive(Debug)]
pub struct Seat {
    /// The token.
    pub token: Arc<Token>,
    user: RwLock<Option<UserType>>,
    /// Its session objects at this token.
    pub objects: RwLock<Index>,
    /// What those of them prove that stand for attested places.
    guests: Mutex<BTreeMap<ObjectHandle, Arc<Guest>>>,
    read_only: AtomicUsize,
    read_write: AtomicUsize,
}

impl Seat {
    fn new(token: Arc<Token>) -> Self {
        Self {
            token,
            user: RwLock::new(None),
            objects: RwLock::default(),
            guests: Mutex::default(),
            read_only: AtomicUsize::new(0),
            read_write: AtomicUsize::new(0),
        }
    }

    /// Takes in what a session object proves, and forgets what those proved that are gone.
    pub fn take_in(&self, handle: ObjectHandle, guest: Guest) {
        let objects = self.objects.read();
        let mut guests = self.guests.lock();
        guests.retain(|known, _| objects.object(*known).is_some());
        guests.insert(handle, Arc::new(guest));
    }

    /// What a session object proves, if it stands for an attested place.
    #[must_use]
    pub fn guest(&self, handle: ObjectHandle) -> Option<Arc<Guest>> {
        self.guests.lock().get(&handle).cloned()
    }

    /// Who is logged in.
    #[must_use]
    pub fn user(&self) -> Option<UserType> {
        *self.user.read()
    }

    /// Logs somebody in, if `admit` says so while nobody else can log in or out.
    ///
    /// # Errors
    /// What `admit` says.
    pub fn log_in(
        &self,
        user: UserType,
        admit: impl FnOnce(Option<UserType>) -> Result<()>,
    ) -> Result<()> {
        let mut current = self.user.write();
        admit(*current)?;
        *current = Some(user);
        Ok(())
    }

    /// Logs out: private session objects end, as do the operations that use private keys (PKCS#11 3.2, 5.6.10).
    ///
    /// # Errors
    /// [`Error::UserNotLoggedIn`].
    pub fn log_out(&self) -> Result<()> {
        self.user.write().take().ok_or(Error::UserNotLoggedIn)?;
        self.end_private_objects();
        Ok(())
    }

    fn end_private_objects(&self) {
        let mut objects = self.objects.write();
        let private: Vec<ObjectHandle> = objects
            .iter()
            .filter(|object| object.is(strongroom_wire::ck::AttributeType::PRIVATE))
            .map(|object| object.handle)
            .collect();
        for handle in private {
            objects.remove(handle);
        }
    }

    /// Whether a read-only session is open.
    #[must_use]
    pub fn has_read_only_session(&self) -> bool {
        self.read_only.load(Ordering::SeqCst) > 0
    }

    /// Sessions open: all, and of them read-write.
    #[must_use]
    pub fn session_counts(&self) -> (usize, usize) {
        let read_write = self.read_write.load(Ordering::SeqCst);
        (
            self.read_only.load(Ordering::SeqCst) + read_write,
            read_write,
        )
    }

    const fn counter(&self, read_write: bool) -> &AtomicUsize {
        if read_write {
            &self.read_write
        } else {
            &self.read_only
        }
    }
}

impl Application {
    /// A process that has just said hello.
    #[must_use]
    pub fn new(principal: Principal, instance: [u8; 16]) -> Self {
        Self {
            principal,
            instance,
            connections: AtomicUsize::new(0),
            resting: AtomicUsize::new(0),
            sessions: RwLock::default(),
            seats: Mutex::default(),
        }
    }

    /// One of its sessions.
    ///
    /// # Errors
    /// [`Error::SessionHandleInvalid`].
    pub fn session(&self, handle: SessionHandle) -> Result<Arc<Session>> {
        self.sessions
            .read()
            .get(&handle.0)
            .cloned()
            .ok_or(Error::SessionHandleInvalid)
    }

    /// How many sessions it has.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.read().len()
    }

    /// How many session objects it has at the token where it has most.
    #[must_use]
    pub fn session_objects(&self) -> usize {
        let seats: Vec<_> = self.seats.lock().values().cloned().collect();
        let counts = seats.iter().map(|seat| seat.objects.read().len());
        counts.max().unwrap_or(0)
    }

    /// Its seat at a token, if it has sessions there.
    #[must_use]
    pub fn seat(&self, token: u64) -> Option<Arc<Seat>> {
        self.seats.lock().get(&token).cloned()
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`Error::ArgumentsBad`] for a handle that is zero or taken; [`Error::SessionCount`] over `sessions_max`; [`Error::SessionReadWriteSoExists`] for a read-only one beside the officer.
    pub fn open_session(
        &self,
        handle: SessionHandle,
        token: &Arc<Token>,
        read_write: bool,
        sessions_max: usize,
    ) -> Result<()> {
        let mut sessions = self.sessions.write();
        if handle.0 == 0 || sessions.contains_key(&handle.0) {
            return Err(Error::ArgumentsBad);
        }
        if sessions.len() >= sessions_max {
            return Err(Error::SessionCount);
        }
        let mut seats = self.seats.lock();
        let seat = seats
            .entry(token.number)
            .or_insert_with(|| Arc::new(Seat::new(token.clone())))
            .clone();
        // Held until the session is counted, so that no officer logs in between.
        let user = seat.user.read();
        if *user == Some(UserType::SO) && !read_write {
            return Err(Error::SessionReadWriteSoExists);
        }
        seat.counter(read_write).fetch_add(1, Ordering::SeqCst);
        token.count_session(read_write);
        drop(user);
        sessions.insert(handle.0, Arc::new(Session::new(handle, seat, read_write)));
        Ok(())
    }

    /// Closes a session and ends what it owned; with the last one at a token the login ends.
    ///
    /// # Errors
    /// [`Error::SessionHandleInvalid`].
    pub fn close_session(&self, handle: SessionHandle) -> Result<()> {
        let mut sessions = self.sessions.write();
        let session = sessions
            .remove(&handle.0)
            .ok_or(Error::SessionHandleInvalid)?;
        self.end(&session);
        Ok(())
    }

    /// Closes all sessions at a token.
    pub fn close_all_sessions(&self, token: u64) {
        let mut sessions = self.sessions.write();
        let there: Vec<u64> = sessions
            .values()
            .filter(|s| s.token().number == token)
            .map(|s| s.handle.0)
            .collect();
        for handle in there {
            if let Some(session) = sessions.remove(&handle) {
                self.end(&session);
            }
        }
    }

    /// Ends the operations of all sessions at a token that use private objects.
    pub fn end_private_operations(&self, token: u64) {
        for session in self
            .sessions
            .read()
            .values()
            .filter(|session| session.token().number == token)
        {
            session.operations.lock().end_private();
        }
    }

    /// Ends everything: the process has finalised or died.
    pub fn end_all(&self) {
        let mut sessions = self.sessions.write();
        for (_, session) in sessions.drain() {
            self.end(&session);
        }
    }

    /// Called with the sessions locked, so that nobody opens one meanwhile.
    fn end(&self, session: &Session) {
        let seat = &session.seat;
        let owned = session.owned.lock().take().unwrap_or_default();
        let mut objects = seat.objects.write();
        for handle in owned {
            objects.remove(handle);
        }
        drop(objects);
        seat.counter(session.read_write)
            .fetch_sub(1, Ordering::SeqCst);
        seat.token.uncount_session(session.read_write);
        if seat.session_counts().0 == 0 {
            // PKCS#11 3.2, 5.6.2: the last session closed logs the application out. The seat goes with it.
            *seat.user.write() = None;
            self.seats.lock().remove(&seat.token.number);
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.end_all();
    }
}

#[cfg(test)]
mod tests;
