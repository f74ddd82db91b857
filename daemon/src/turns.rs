//! Turns: how many requests are worked on at once, and of whom.
//!
//! What lives here: a line for each application, for each user of the machine, and for PINs; and the large frames of each user.
//! What must never live here: what a request is.
//! Who calls it: connections, before they hand a request to the token.
//!
//! A connection has a thread, so a greedy client could keep as many threads busy as it may have connections. It may not: beyond its bound
//! its further requests wait for its own earlier ones. Others have lines of their own. An Argon2id takes 16 MiB and some ten milliseconds,
//! so PINs have lines of their own too: one for an application, one for a user, few in all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::config::Bounds;

/// A bounded number of those who work; the others wait, first come, first served.
#[derive(Debug, Default)]
pub struct Line {
    running: AtomicUsize,
    waiting: AtomicUsize,
    /// Most that ever ran at once.
    peak: AtomicUsize,
    lock: Mutex<()>,
    freed: Condvar,
}

/// A place among those who work, until it is dropped.
#[derive(Debug)]
pub struct Turn<'l>(&'l Line);

impl Line {
    /// Waits until fewer than `most` work.
    fn enter(&self, most: usize) -> Turn<'_> {
        if !self.try_enter(most) {
            let mut lock = self.lock.lock();
            self.waiting.fetch_add(1, Ordering::SeqCst);
            while !self.try_enter(most) {
                self.freed.wait(&mut lock);
            }
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        Turn(self)
    }

    fn try_enter(&self, most: usize) -> bool {
        let more = |running: usize| (running < most).then_some(running + 1);
        let before = self
            .running
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        let Ok(before) = before else { return false };
        if before >= self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(before + 1, Ordering::Relaxed);
        }
        true
    }

    /// Those who work now, and most that ever did.
    fn counts(&self) -> (usize, usize) {
        let running = self.running.load(Ordering::Relaxed);
        (running, self.peak.load(Ordering::Relaxed))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            // Under the lock, so that nobody is between looking and waiting.
            let _lock = self.0.lock.lock();
            self.0.freed.notify_one();
        }
    }
}

/// The lines of an application, or of a user.
#[derive(Debug, Default)]
struct Lines {
    requests: Line,
    pins: Line,
}

/// The bounds in force, read before each request.
#[derive(Debug)]
struct Most {
    of_application: AtomicUsize,
    of_user: AtomicUsize,
    pins: AtomicUsize,
    bytes: AtomicUsize,
    bytes_of_user: AtomicUsize,
    bytes_of_application: AtomicUsize,
}

/// Which application of which user: user, process, instance of the module.
type Name = (u32, i32, [u8; 16]);

/// All lines.
#[derive(Debug)]
pub struct Turns {
    most: Most,
    users: Mutex<HashMap<u32, Weak<Lines>>>,
    applications: Mutex<HashMap<Name, Weak<Lines>>>,
    pins: Line,
    loads: Mutex<Loads>,
    unloaded: Condvar,
}

impl Turns {
    /// Nobody works.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        let turns = Self {
            most: Most {
                of_application: AtomicUsize::new(0),
                of_user: AtomicUsize::new(0),
                pins: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                bytes_of_user: AtomicUsize::new(0),
                bytes_of_application: AtomicUsize::new(0),
            },
            users: Mutex::default(),
            applications: Mutex::default(),
            pins: Line::default(),
            loads: Mutex::default(),
            unloaded: Condvar::new(),
        };
        turns.bound(bounds);
        turns
    }

    /// Takes new bounds. A zero stands for a multiple of the processors: enough that all of them are busy while some requests wait for the disk.
    pub fn bound(&self, bounds: &Bounds) {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let or = |value: usize, usual: usize| if value == 0 { usual } else { value };
        let set = |place: &AtomicUsize, value: usize| place.store(value, Ordering::Relaxed);
        set(
            &self.most.of_application,
            or(bounds.requests_at_once_per_application_max, 2 * processors),
        );
        set(
            &self.most.of_user,
            or(bounds.requests_at_once_per_user_max, 4 * processors),
        );
        set(
            &self.most.pins,
            or(bounds.pins_at_once_max, processors.max(2)),
        );
        set(&self.most.bytes, bounds.large_frame_bytes_max);
        set(
            &self.most.bytes_of_user,
            bounds.large_frame_bytes_per_user_max,
        );
        set(
            &self.most.bytes_of_application,
            bounds.large_frame_bytes_per_application_max,
        );
        self.unloaded.notify_all();
    }

    /// The place of a connection.
    #[must_use]
    pub fn place(self: &Arc<Self>, uid: u32, pid: i32, instance: [u8; 16]) -> Place {
        Place {
            turns: Arc::clone(self),
            name: (uid, pid, instance),
            user: shared(&mut self.users.lock(), uid),
            application: shared(&mut self.applications.lock(), (uid, pid, instance)),
        }
    }

    /// Bounds in force of an application, a user, and of PINs, each with those at work now and at most ever (none for applications that
    /// have gone).
    #[must_use]
    pub fn counts(&self) -> [(usize, usize, usize); 3] {
        let most = |place: &AtomicUsize| place.load(Ordering::Relaxed);
        let busiest = |lines: Vec<Arc<Lines>>| {
            let all = lines.iter().map(|lines| lines.requests.counts());
            all.fold((0, 0), |(a, b), (c, d)| (a.max(c), b.max(d)))
        };
        let users = self
            .users
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        let applications = self.applications.lock();
        let applications = applications.values().filter_map(Weak::upgrade).collect();
        let with = |most: usize, (now, peak): (usize, usize)| (most, now, peak);
        [
            with(most(&self.most.of_application), busiest(applications)),
            with(most(&self.most.of_user), busiest(users)),
            with(most(&self.most.pins), self.pins.counts()),
        ]
    }

    /// Bytes of large frames: in all now and at most ever, of the user and of the application that have most.
    #[must_use]
    pub fn loaded(&self) -> (usize, usize, usize, usize) {
        let loads = self.loads.lock();
        let user = loads.users.values().copied().max().unwrap_or(0);
        let application = loads.applications.values().copied().max().unwrap_or(0);
        (loads.all, loads.peak, user, application)
    }
}

fn shared<K: std::hash::Hash + Eq>(known: &mut HashMap<K, Weak<Lines>>, key: K) -> Arc<Lines> {
    if let Some(lines) = known.get(&key).and_then(Weak::upgrade) {
        return lines;
    }
    known.retain(|_, lines| lines.strong_count() > 0);
    let lines = Arc::<Lines>::default();
    known.insert(key, Arc::downgrade(&lines));
    lines
}

/// The place of a connection in the lines.
#[derive(Debug)]
pub struct Place {
    turns: Arc<Turns>,
    name: Name,
    user: Arc<Lines>,
    application: Arc<Lines>,
}

/// A request's turn: in the line of its application, then in that of its user.
#[derive(Debug)]
pub struct Working<'p> {
    _user: Turn<'p>,
    _application: Turn<'p>,
}

/// The turn of a PIN: in the line of its application, of its user, then in the one of all.
#[derive(Debug)]
pub struct Stretching<'p> {
    _all: Turn<'p>,
    _user: Turn<'p>,
    _application: Turn<'p>,
}

impl Place {
    /// Waits for the turn of a request.
    #[must_use]
    pub fn turn(&self) -> Working<'_> {
        let most = &self.turns.most;
        // The wider line last: who waits in it holds a place in no line of others.
        let application = self
            .application
            .requests
            .enter(most.of_application.load(Ordering::Relaxed));
        let user = self
            .user
            .requests
            .enter(most.of_user.load(Ordering::Relaxed));
        Working {
            _user: user,
            _application: application,
        }
    }

    /// Waits until there may be `bytes` more of this application; gives up, with None, once `over` says so.
    #[must_use]
    pub fn load(&self, bytes: usize, over: &dyn Fn() -> bool) -> Option<Load> {
        let turns = &self.turns;
        let mut loads = turns.loads.lock();
        while !loads.have_room(self.name, bytes, &turns.most) {
            if over() {
                return None;
            }
            turns.unloaded.wait_for(&mut loads, LOOK_AGAIN);
        }
        loads.add(self.name, bytes);
        drop(loads);
        Some(Load {
            turns: Arc::clone(turns),
            name: self.name,
            bytes,
        })
    }

    /// Waits for the turn of a PIN.
    #[must_use]
    pub fn pin_turn(&self) -> Stretching<'_> {
        let application = self.application.pins.enter(1);
        let user = self.user.pins.enter(1);
        let most = self.turns.most.pins.load(Ordering::Relaxed);
        Stretching {
            _all: self.turns.pins.enter(most),
            _user: user,
            _application: application,
        }
    }
}

/// Bytes of frames that are large.
#[derive(Debug, Default)]
struct Loads {
    all: usize,
    peak: usize,
    users: HashMap<u32, usize>,
    applications: HashMap<Name, usize>,
}

impl Loads {
    fn have_room(&self, name: Name, bytes: usize, most: &Most) -> bool {
        let user = self.users.get(&name.0).copied().unwrap_or(0);
        let application = self.applications.get(&name).copied().unwrap_or(0);
        let fits = |there: usize, most: &AtomicUsize| {
            there.saturating_add(bytes) <= most.load(Ordering::Relaxed)
        };
        fits(self.all, &most.bytes)
            && fits(user, &most.bytes_of_user)
            && fits(application, &most.bytes_of_application)
    }

    fn add(&mut self, name: Name, bytes: usize) {
        self.all += bytes;
        self.peak = self.peak.max(self.all);
        *self.users.entry(name.0).or_default() += bytes;
        *self.applications.entry(name).or_default() += bytes;
    }

    fn take_away(&mut self, name: Name, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
        subtract(&mut self.users, name.0, bytes);
        subtract(&mut self.applications, name, bytes);
    }
}

fn subtract<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K, bytes: usize) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(bytes);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Room for a large frame, until it is dropped.
#[derive(Debug)]
pub struct Load {
    turns: Arc<Turns>,
    name: Name,
    bytes: usize,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.turns.loads.lock().take_away(self.name, self.bytes);
        self.turns.unloaded.notify_all();
    }
}

/// How often one who waits for room looks whether the daemon is stopping.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn turns() -> Arc<Turns> {
        Arc::new(Turns::new(&Bounds {
            requests_at_once_per_application_max: 2,
            requests_at_once_per_user_max: 3,
            pins_at_once_max: 2,
            large_frame_bytes_max: 100,
            large_frame_bytes_per_user_max: 60,
            large_frame_bytes_per_application_max: 40,
            ..Bounds::default()
        }))
    }

    #[test]
    fn beyond_its_bound_an_application_waits_for_itself_and_for_nobody_else() {
        let turns = turns();
        let greedy = turns.place(1000, 1, [0; 16]);
        let again = turns.place(1000, 1, [0; 16]);
        let (first, _second) = (greedy.turn(), again.turn());
        // Others of the same user, and other users, go on.
        drop(turns.place(1000, 2, [0; 16]).turn());
        drop(turns.place(1001, 1, [0; 16]).turn());
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _third = greedy.turn();
                tell.send(()).unwrap();
            });
            while greedy.application.requests.waiting.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            assert!(told.try_recv().is_err());
            drop(first);
            told.recv().unwrap();
        });
        assert_eq!(turns.counts()[0], (2, 1, 2));
    }

    #[test]
    fn processes_of_one_user_share_what_the_user_may_have() {
        let turns = turns();
        let places: Vec<_> = (0..4).map(|pid| turns.place(1000, pid, [0; 16])).collect();
        let working: Vec<_> = places[..3].iter().map(Place::turn).collect();
        assert!(!places[3].user.requests.try_enter(3));
        drop(turns.place(1001, 9, [0; 16]).turn());
        drop(working);
        drop(places[3].turn());
        assert_eq!(turns.counts()[1].2, 3);
    }

    #[test]
    fn one_pin_of_a_user_at_once_and_few_in_all() {
        let turns = turns();
        let places: Vec<_> = (0..3).map(|uid| turns.place(uid, 1, [0; 16])).collect();
        let _first = places[0].pin_turn();
        assert!(!places[0].user.pins.try_enter(1));
        let second = places[1].pin_turn();
        assert!(!turns.pins.try_enter(2));
        drop(second);
        drop(places[2].pin_turn());
    }

    #[test]
    fn threads_that_wait_are_all_served() {
        let turns = turns();
        thread::scope(|scope| {
            for thread in 0..16 {
                let place = turns.place(1000, thread % 4, [0; 16]);
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        drop(place.turn());
                    }
                });
            }
        });
        let [(_, applications, _), (_, users, peak), _] = turns.counts();
        assert_eq!((applications, users), (0, 0));
        assert!(peak <= 3);
    }

    #[test]
    fn large_frames_of_one_leave_room_for_others() {
        let turns = turns();
        let place = |uid, pid| turns.place(uid, pid, [0; 16]);
        let (never, at_once) = (|| false, || true);
        let first = place(1000, 1).load(40, &never).unwrap();
        assert!(place(1000, 1).load(1, &at_once).is_none(), "an application");
        let second = place(1000, 2).load(20, &never).unwrap();
        assert!(place(1000, 3).load(1, &at_once).is_none(), "a user");
        let other = place(1001, 1).load(40, &never).unwrap();
        assert!(place(1002, 1).load(1, &at_once).is_none(), "in all");
        assert_eq!(turns.loaded(), (100, 100, 60, 40));
        drop((first, second, other));
        assert_eq!(turns.loaded(), (0, 100, 0, 0));
        drop(place(1000, 1).load(40, &never).unwrap());
    }
}
