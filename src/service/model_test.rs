//! *What lives here:* random calls, played to the token and to its model, whose answers must be the same. *What must never live here:*
//! the model (`model.rs`). *Who calls it:* the test runner.

use std::sync::Arc;

use strongroom_wire::ck::{
    AttributeType as A, KeyType, MechanismType as M, ObjectClass, Rv, UserType,
};
use strongroom_wire::request::{ObjectHandle, Request, SessionHandle};

use super::model::{At, Model, Thing};
use super::rig::*;
use crate::attribute::Value;
use crate::limits::Limits;

const PROCESSES: usize = 3;

/// The token, its model, and the dice.
struct Game {
    house: Arc<House>,
    guests: Vec<Guest>,
    model: Model,
    dice: Dice,
    /// Every session and every object there ever was: those that have gone are tried as well.
    sessions: Vec<(usize, u64)>,
    objects: Vec<u64>,
}

impl Game {
    fn new(seed: u64) -> Self {
        let limits = Limits {
            user_tries_max: 1000,
            so_tries_max: 1000,
            ..Limits::default()
        };
        let house = House::with_limits(limits);
        Self {
            guests: (0..PROCESSES).map(|_| house.guest()).collect(),
            house,
            model: Model::new(PROCESSES),
            dice: Dice::new(seed),
            sessions: Vec::new(),
            objects: Vec::new(),
        }
    }

    /// A session of somebody: mostly one that is open, at times one that has gone.
    fn session(&mut self) -> (At, Talk) {
        let mut who = usize::try_from(self.dice.roll(PROCESSES as u64)).unwrap();
        let open = self.model.sessions(who);
        let mut session = 1;
        if !open.is_empty() && self.dice.roll(20) > 0 {
            session = self.dice.pick(&open);
        } else if !self.sessions.is_empty() {
            (who, session) = self.dice.pick(&self.sessions);
        }
        let talk = Talk {
            guest: self.guests[who].clone(),
            session: SessionHandle(session),
        };
        (At { who, session }, talk)
    }

    fn object(&mut self) -> u64 {
        let there: Vec<u64> = self.model.things.keys().copied().collect();
        if !there.is_empty() && self.dice.roll(8) > 0 {
            return self.dice.pick(&there);
        }
        if self.objects.is_empty() {
            1
        } else {
            self.dice.pick(&self.objects)
        }
    }

    fn coin(&mut self) -> bool {
        self.dice.roll(2) == 0
    }

    fn label(&mut self) -> u8 {
        u8::try_from(self.dice.roll(3)).unwrap()
    }

    fn step(&mut self) {
        match self.dice.roll(32) {
            0..=2 => self.open(),
            3 => self.close(),
            4..=6 => self.login(),
            7 => self.logout(),
            8..=12 => self.create(),
            13..=14 => self.copy(),
            15 => self.destroy(),
            16..=18 => self.relabel(),
            19..=20 => self.read(),
            21..=23 => self.search(),
            24..=25 => self.search_goes_on(),
            26..=28 => self.sign_init(),
            29..=30 => self.sign(),
            _ => self.rarely(),
        }
    }

    fn open(&mut self) {
        let who = usize::try_from(self.dice.roll(PROCESSES as u64)).unwrap();
        let read_write = self.dice.roll(3) > 0;
        let flags = if read_write { READ_WRITE } else { READ_ONLY };
        let opened = self.guests[who].open(flags);
        let wanted = self.model.may_open(who, read_write);
        assert_eq!(opened.as_ref().map(|_| ()).map_err(|rv| *rv), wanted);
        if let Ok(talk) = opened {
            let session = talk.session.0;
            self.model.opened(At { who, session }, read_write);
            self.sessions.push((who, talk.session.0));
        }
    }

    fn close(&mut self) {
        let (at, talk) = self.session();
        assert_eq!(ok(talk.close()), self.model.close(at));
    }

    fn login(&mut self) {
        let (at, talk) = self.session();
        let user = if self.dice.roll(5) == 0 {
            UserType::SO
        } else {
            UserType::USER
        };
        let right = self.dice.roll(8) > 0;
        let pin = match (right, user) {
            (false, _) => b"not the pin".as_slice(),
            (true, UserType::SO) => SO_PIN,
            (true, _) => USER_PIN,
        };
        let wanted = self.model.login(at, user, right);
        assert_eq!(ok(talk.login(user, pin)), wanted);
    }

    fn logout(&mut self) {
        let (at, talk) = self.session();
        assert_eq!(ok(talk.logout()), self.model.logout(at));
    }

    fn create(&mut self) {
        let (at, talk) = self.session();
        let (token, private, label) = (self.coin(), self.coin(), self.label());
        let made = talk.create(&[
            number(A::CLASS, ObjectClass::SECRET_KEY.0),
            number(A::KEY_TYPE, KeyType::GENERIC_SECRET.0),
            bytes(A::VALUE, &[label; 20]),
            bytes(A::LABEL, &[label]),
            (A::TOKEN, Value::Flag(token)),
            (A::PRIVATE, Value::Flag(private)),
        ]);
        let wanted = self.model.may_make(at, token, private);
        assert_eq!(made.map(|_| ()), wanted);
        if let Ok(object) = made {
            let owner = None;
            let thing = Thing {
                token,
                private,
                label,
                owner,
            };
            self.model.made(at, object.0, thing);
            self.objects.push(object.0);
        }
    }

    fn copy(&mut self) {
        let (at, talk) = self.session();
        let (original, token) = (self.object(), self.coin());
        let made = talk.copy(ObjectHandle(original), &[(A::TOKEN, Value::Flag(token))]);
        let wanted = self.model.may_copy(at, original, token);
        assert_eq!(
            made.map(|_| ()),
            wanted.as_ref().map(|_| ()).map_err(|rv| *rv)
        );
        if let (Ok(object), Ok(like)) = (made, wanted) {
            self.model.made(at, object.0, like);
            self.objects.push(object.0);
        }
    }

    fn destroy(&mut self) {
        let (at, talk) = self.session();
        let object = self.object();
        let wanted = self.model.destroy(at, object);
        assert_eq!(ok(talk.destroy(ObjectHandle(object))), wanted);
    }

    fn relabel(&mut self) {
        let (at, talk) = self.session();
        let (object, label) = (self.object(), self.label());
        let wanted = self.model.relabel(at, object, label);
        let set = talk.set(ObjectHandle(object), &[bytes(A::LABEL, &[label])]);
        assert_eq!(ok(set), wanted);
    }

    fn read(&mut self) {
        let (at, talk) = self.session();
        let object = self.object();
        let wanted = self.model.label(at, object).map(|label| vec![label]);
        assert_eq!(talk.read(ObjectHandle(object), A::LABEL), wanted);
    }

    fn search(&mut self) {
        let (at, talk) = self.session();
        let label = self.coin().then(|| self.label());
        let template: Vec<_> = label
            .map(|label| bytes(A::LABEL, &[label]))
            .into_iter()
            .collect();
        let wanted = self.model.search(at, label);
        assert_eq!(ok(talk.find_init(&template)), wanted);
    }

    fn search_goes_on(&mut self) {
        let (at, talk) = self.session();
        if self.dice.roll(3) == 0 {
            let wanted = self.model.search_ends(at);
            assert_eq!(ok(talk.find_final()), wanted);
            return;
        }
        let max = self.dice.roll(4);
        let wanted = self.model.next(at, usize::try_from(max).unwrap());
        let found = talk.find_next(max);
        let found = found.map(|found| found.iter().map(|object| object.0).collect());
        assert_eq!(found, wanted);
    }

    fn sign_init(&mut self) {
        let (at, talk) = self.session();
        let key = self.object();
        let wanted = self.model.sign_init(at, key);
        assert_eq!(
            ok(talk.sign_init(M::SHA256_HMAC, ObjectHandle(key))),
            wanted
        );
    }

    fn sign(&mut self) {
        let (at, talk) = self.session();
        let wanted = self.model.sign(at);
        assert_eq!(talk.sign_data(b"data").map(|_| ()), wanted);
    }

    /// A process closes all, says goodbye or dies; or the daemon is started anew.
    fn rarely(&mut self) {
        let who = usize::try_from(self.dice.roll(PROCESSES as u64)).unwrap();
        match self.dice.roll(6) {
            0..=1 => assert_eq!(self.guests[who].close_all(), Rv::OK),
            2..=3 => assert_eq!(self.guests[who].rv(&Request::Goodbye), Rv::OK),
            4 => {
                let next = self.house.guest();
                std::mem::replace(&mut self.guests[who], next).leave();
            }
            _ => {
                self.house = self.house.restarted();
                self.guests = (0..PROCESSES).map(|_| self.house.guest()).collect();
                (0..PROCESSES).for_each(|other| self.model.close_all(other));
            }
        }
        self.model.close_all(who);
    }
}

fn play(seed: u64, steps: usize) {
    let mut game = Game::new(seed);
    for _ in 0..steps {
        game.step();
    }
    let objects = game
        .model
        .things
        .values()
        .filter(|thing| thing.token)
        .count();
    let counts = game.house.service.counts();
    assert_eq!(counts.objects, objects as u64);
    let sessions: usize = (0..PROCESSES)
        .map(|who| game.model.sessions(who).len())
        .sum();
    assert_eq!(counts.sessions, sessions as u64);
    let report = crate::audit::verify(&*game.house.journal).unwrap();
    assert!(report.broken.is_none());
}

#[test]
fn the_token_answers_as_its_model_does() {
    for seed in 0..12 {
        play(seed, 1500);
    }
}

/// One long game, so that objects grow many and old.
#[test]
fn the_token_answers_as_its_model_does_for_long() {
    play(4711, 8000);
}
