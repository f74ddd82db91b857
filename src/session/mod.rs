//! Sessions: one application's conversation with one token.
//!
//! What lives here: [`Session`], its operations ([`operation`]) and its search ([`search`]).
//! What must never live here: login, which belongs to the application at a token ([`crate::application::Seat`]).
//! Who calls it: chapters.

pub mod operation;
pub mod search;

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_wire::ck::{AttributeType, SessionState, UserType, flag};
use strongroom_wire::request::{ObjectHandle, SessionHandle};

use crate::application::Seat;
use crate::error::{Error, Result};
use crate::object::{Object, SESSION_OBJECT_FIRST};
use crate::token::Token;
use operation::Operations;
use search::Search;

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Its handle.
    pub handle: SessionHandle,
    /// What its application has at the token: login and session objects.
    pub seat: Arc<Seat>,
    /// Whether it may change token objects.
    pub read_write: bool,
    /// Running operations, one slot for each kind.
    pub operations: Mutex<Operations>,
    /// The running search.
    pub search: Mutex<Option<Search>>,
    /// Session objects that it made and that end with it; none once it has ended, so that none is made after that.
    pub owned: Mutex<Option<BTreeSet<ObjectHandle>>>,
}

impl Session {
    /// A session that has just been opened.
    #[must_use]
    pub fn new(handle: SessionHandle, seat: Arc<Seat>, read_write: bool) -> Self {
        Self {
            handle,
            seat,
            read_write,
            operations: Mutex::default(),
            search: Mutex::default(),
            owned: Mutex::new(Some(BTreeSet::new())),
        }
    }

    /// Its token.
    #[must_use]
    pub fn token(&self) -> &Arc<Token> {
        &self.seat.token
    }

    /// Who is logged in.
    #[must_use]
    pub fn user(&self) -> Option<UserType> {
        self.seat.user()
    }

    /// Its state (PKCS#11 3.2, 5.6).
    #[must_use]
    pub fn state(&self) -> SessionState {
        match (self.user(), self.read_write) {
            (Some(UserType::SO), _) => SessionState::RW_SO_FUNCTIONS,
            (Some(_), true) => SessionState::RW_USER_FUNCTIONS,
            (Some(_), false) => SessionState::RO_USER_FUNCTIONS,
            (None, true) => SessionState::RW_PUBLIC_SESSION,
            (None, false) => SessionState::RO_PUBLIC_SESSION,
        }
    }

    /// `CKF_…` of the session.
    #[must_use]
    pub const fn flags(&self) -> u64 {
        if self.read_write {
            flag::SERIAL_SESSION | flag::RW_SESSION
        } else {
            flag::SERIAL_SESSION
        }
    }

    /// Whether private objects are there for it.
    #[must_use]
    pub fn sees_private(&self) -> bool {
        self.user() == Some(UserType::USER)
    }

    /// An object that this session sees: session objects of its application, token objects, private ones only with the user logged in.
    #[must_use]
    pub fn object(&self, handle: ObjectHandle) -> Option<Arc<Object>> {
        let object = if handle.0 >= SESSION_OBJECT_FIRST {
            self.seat.objects.read().object(handle).cloned()
        } else {
            self.token().object(handle)
        };
        object.filter(|object| self.sees(object))
    }

    /// Whether an object is there for this session.
    #[must_use]
    pub fn sees(&self, object: &Object) -> bool {
        !object.is(AttributeType::PRIVATE) || self.sees_private()
    }

    /// Refuses what only a read-write session may do.
    ///
    /// # Errors
    /// [`Error::SessionReadOnly`].
    pub const fn must_be_read_write(&self) -> Result<()> {
        if self.read_write {
            Ok(())
        } else {
            Err(Error::SessionReadOnly)
        }
    }
}
