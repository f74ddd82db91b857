//! *What lives here:* a small model of the token: sessions, logins, objects, searches and operations as the standard tells of them,
//! without any of the token's own code. *What must never live here:* how the token does it. *Who calls it:* `model_test.rs`, which
//! plays both and compares.

use std::collections::BTreeMap;

use strongroom_wire::ck::{Rv, UserType};

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    pub(super) token: bool,
    pub(super) private: bool,
    pub(super) label: u8,
    /// Application and session that own it; none for a token object.
    pub(super) owner: Option<(usize, u64)>,
}

/// One session.
#[derive(Clone, Debug)]
struct Talking {
    read_write: bool,
    search: Option<Vec<u64>>,
    /// Whether the key of the running signature is private.
    signing: Option<bool>,
}

/// Whose session is asked, and which.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) who: usize,
    pub(super) session: u64,
}

/// One application.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    user: Option<UserType>,
    sessions: BTreeMap<u64, Talking>,
}

/// The token with all its applications. Handles are those that the real token has given.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) processes: Vec<Process>,
    pub(super) things: BTreeMap<u64, Thing>,
}

impl Model {
    pub(super) fn new(processes: usize) -> Self {
        Self {
            processes: vec![Process::default(); processes],
            things: BTreeMap::new(),
        }
    }

    fn talk(&mut self, at: At) -> Result<&mut Talking, Rv> {
        let talk = self.processes[at.who].sessions.get_mut(&at.session);
        talk.ok_or(Rv::SESSION_HANDLE_INVALID)
    }

    fn is_user(&self, who: usize) -> bool {
        self.processes[who].user == Some(UserType::USER)
    }

    /// Whether an object is there for an application.
    fn sees(&self, who: usize, thing: &Thing) -> bool {
        let own = thing.owner.is_none_or(|(process, _)| process == who);
        own && (!thing.private || self.is_user(who))
    }

    fn thing(&self, who: usize, object: u64, missing: Rv) -> Result<Thing, Rv> {
        let there = self.things.get(&object);
        let seen = there.filter(|thing| self.sees(who, thing));
        seen.cloned().ok_or(missing)
    }

    pub(super) fn may_open(&self, who: usize, read_write: bool) -> Result<(), Rv> {
        let officer = self.processes[who].user == Some(UserType::SO);
        if officer && !read_write {
            return Err(Rv::SESSION_READ_WRITE_SO_EXISTS);
        }
        Ok(())
    }

    pub(super) fn opened(&mut self, at: At, read_write: bool) {
        let (search, signing) = (None, None);
        let talking = Talking {
            read_write,
            search,
            signing,
        };
        self.processes[at.who].sessions.insert(at.session, talking);
    }

    pub(super) fn close(&mut self, at: At) -> Result<(), Rv> {
        self.talk(at)?;
        let process = &mut self.processes[at.who];
        process.sessions.remove(&at.session);
        process.user.take_if(|_| process.sessions.is_empty());
        self.things
            .retain(|_, thing| thing.owner != Some((at.who, at.session)));
        Ok(())
    }

    pub(super) fn close_all(&mut self, who: usize) {
        for session in self.sessions(who) {
            self.close(At { who, session }).unwrap();
        }
    }

    pub(super) fn sessions(&self, who: usize) -> Vec<u64> {
        self.processes[who].sessions.keys().copied().collect()
    }

    pub(super) fn login(&mut self, at: At, user: UserType, right: bool) -> Result<(), Rv> {
        self.talk(at)?;
        let process = &mut self.processes[at.who];
        match process.user {
            Some(current) if current == user => return Err(Rv::USER_ALREADY_LOGGED_IN),
            Some(_) => return Err(Rv::USER_ANOTHER_ALREADY_LOGGED_IN),
            None => {}
        }
        let mut sessions = process.sessions.values();
        if user == UserType::SO && sessions.any(|talking| !talking.read_write) {
            return Err(Rv::SESSION_READ_ONLY_EXISTS);
        }
        if !right {
            return Err(Rv::PIN_INCORRECT);
        }
        process.user = Some(user);
        Ok(())
    }

    pub(super) fn logout(&mut self, at: At) -> Result<(), Rv> {
        self.talk(at)?;
        let process = &mut self.processes[at.who];
        process.user.take().ok_or(Rv::USER_NOT_LOGGED_IN)?;
        for talking in process.sessions.values_mut() {
            talking.signing.take_if(|private| *private);
        }
        let of_process = |thing: &Thing| thing.owner.is_some_and(|(who, _)| who == at.who);
        self.things
            .retain(|_, thing| !(thing.private && of_process(thing)));
        Ok(())
    }

    /// Whether such an object may be made; the handle comes with [`Self::made`].
    pub(super) fn may_make(&mut self, at: At, token: bool, private: bool) -> Result<(), Rv> {
        if token && !self.talk(at)?.read_write {
            return Err(Rv::SESSION_READ_ONLY);
        }
        self.talk(at)?;
        if private && !self.is_user(at.who) {
            return Err(Rv::USER_NOT_LOGGED_IN);
        }
        Ok(())
    }

    pub(super) fn made(&mut self, at: At, object: u64, mut thing: Thing) {
        thing.owner = (!thing.token).then_some((at.who, at.session));
        let earlier = self.things.insert(object, thing);
        assert!(earlier.is_none(), "a handle came twice");
    }

    /// Whether it may be copied, and what the copy is.
    pub(super) fn may_copy(&mut self, at: At, object: u64, token: bool) -> Result<Thing, Rv> {
        self.talk(at)?;
        let mut thing = self.thing(at.who, object, Rv::OBJECT_HANDLE_INVALID)?;
        self.may_make(at, token, thing.private)?;
        thing.token = token;
        Ok(thing)
    }

    fn may_change(&mut self, at: At, object: u64) -> Result<(), Rv> {
        let read_write = self.talk(at)?.read_write;
        let thing = self.thing(at.who, object, Rv::OBJECT_HANDLE_INVALID)?;
        if thing.token && !read_write {
            return Err(Rv::SESSION_READ_ONLY);
        }
        Ok(())
    }

    pub(super) fn relabel(&mut self, at: At, object: u64, label: u8) -> Result<(), Rv> {
        self.may_change(at, object)?;
        self.things.get_mut(&object).unwrap().label = label;
        Ok(())
    }

    pub(super) fn destroy(&mut self, at: At, object: u64) -> Result<(), Rv> {
        self.may_change(at, object)?;
        self.things.remove(&object);
        Ok(())
    }

    pub(super) fn label(&mut self, at: At, object: u64) -> Result<u8, Rv> {
        self.talk(at)?;
        Ok(self.thing(at.who, object, Rv::OBJECT_HANDLE_INVALID)?.label)
    }

    pub(super) fn search(&mut self, at: At, label: Option<u8>) -> Result<(), Rv> {
        if self.talk(at)?.search.is_some() {
            return Err(Rv::OPERATION_ACTIVE);
        }
        let fits = |thing: &Thing| {
            label.is_none_or(|label| thing.label == label) && self.sees(at.who, thing)
        };
        let found = self.things.iter().filter(|(_, thing)| fits(thing));
        let found = found.map(|(object, _)| *object).collect();
        self.talk(at)?.search = Some(found);
        Ok(())
    }

    /// What has gone or is hidden when its turn comes is passed over.
    pub(super) fn next(&mut self, at: At, max: usize) -> Result<Vec<u64>, Rv> {
        let search = self.talk(at)?.search.take();
        let mut left = search.ok_or(Rv::OPERATION_NOT_INITIALIZED)?;
        let mut next = Vec::new();
        while next.len() < max && !left.is_empty() {
            let object = left.remove(0);
            next.extend(self.label(at, object).ok().map(|_| object));
        }
        self.talk(at)?.search = Some(left);
        Ok(next)
    }

    pub(super) fn search_ends(&mut self, at: At) -> Result<(), Rv> {
        let search = self.talk(at)?.search.take();
        search.map(|_| ()).ok_or(Rv::OPERATION_NOT_INITIALIZED)
    }

    pub(super) fn sign_init(&mut self, at: At, key: u64) -> Result<(), Rv> {
        if self.talk(at)?.signing.is_some() {
            return Err(Rv::OPERATION_ACTIVE);
        }
        let private = self.thing(at.who, key, Rv::KEY_HANDLE_INVALID)?.private;
        self.talk(at)?.signing = Some(private);
        Ok(())
    }

    pub(super) fn sign(&mut self, at: At) -> Result<(), Rv> {
        let signing = self.talk(at)?.signing.take();
        signing.map(|_| ()).ok_or(Rv::OPERATION_NOT_INITIALIZED)
    }
}
