//! The pace at which users of this machine may try PINs.
//!
//! What lives here: who waits how long before a PIN is compared, worked out from what the same user did before.
//! What must never live here: the waiting itself (the daemon), and the tries that lock a PIN (vault); those count whoever tries.
//! Who calls it: the service, before a PIN is compared and after.
//!
//! The wait comes before the comparison, so that nobody learns anything from a try that he did not wait for, and it is kept by user,
//! as the kernel says: another connection or another process of the same user does not get around it. A try takes its place when it
//! is asked for and is taken as a wrong one until the contrary is known, so that many at once wait one behind the other.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::{Limits, WRONG_PIN_DELAY_MS_MAX};
use crate::vault::User;

/// What is known of everybody.
#[derive(Debug, Default)]
pub struct Paces(Mutex<HashMap<u32, Pace>>);

/// What is known of one user of the machine.
#[derive(Debug, Default)]
struct Pace {
    wrong: Bucket,
    logins: Bucket,
    /// Wrong PINs in a row, for each PIN tried.
    streaks: HashMap<(u64, bool), Streak>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    wrong: u32,
    /// Tries admitted whose outcome is not known.
    open: u32,
    /// When the next one may be compared.
    free_at: Duration,
}

/// So many a minute, all of them at once if need be.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// When it will be as if nothing had been taken.
    full_at: Duration,
}

impl Bucket {
    /// Takes one; answers how long to wait for it.
    fn take(&mut self, a_minute: u32, now: Duration) -> Duration {
        let Some(each) = MINUTE.checked_div(a_minute) else {
            return Duration::ZERO;
        };
        self.full_at = self.full_at.max(now) + each;
        self.full_at.saturating_sub(now + MINUTE)
    }

    fn give_back(&mut self, a_minute: u32) {
        let each = MINUTE.checked_div(a_minute).unwrap_or_default();
        self.full_at = self.full_at.saturating_sub(each);
    }
}

const MINUTE: Duration = Duration::from_mins(1);

/// Which PIN is tried, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The user of this machine.
    pub uid: u32,
    /// The token.
    pub token: u64,
    /// Whose PIN.
    pub user: User,
}

/// A try's place in the pace of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How long to wait before the PIN is compared.
    pub wait: Duration,
    /// By how much the next one waits longer.
    holds_up: Duration,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The PIN was right.
    Right,
    /// It was wrong.
    Wrong,
    /// It was not compared.
    NotCompared,
}

impl Paces {
    /// Admits a try. [`Self::settle`] must follow.
    #[must_use]
    pub fn admit(&self, tried: Tried, now: Duration, limits: &Limits) -> Place {
        let mut users = self.0.lock();
        if users.len() > USERS_KEPT {
            users.retain(|_, pace| pace.matters(now));
        }
        let pace = users.entry(tried.uid).or_default();
        let wrong = pace.wrong.take(limits.wrong_pins_per_minute_max, now);
        let login = pace.logins.take(limits.logins_per_minute_max, now);
        let streak = pace.streaks.entry(tried.key()).or_default();
        let row = streak.free_at.saturating_sub(now);
        streak.open = streak.open.saturating_add(1);
        let taken_as_wrong = streak.wrong.saturating_add(streak.open);
        let holds_up = delay_after(taken_as_wrong, limits);
        streak.free_at = streak.free_at.max(now) + holds_up;
        Place {
            wait: wrong.max(login).max(row),
            holds_up,
        }
    }

    /// Learns what came of a try.
    pub fn settle(&self, tried: Tried, place: Place, outcome: Outcome, limits: &Limits) {
        let mut users = self.0.lock();
        let Some(pace) = users.get_mut(&tried.uid) else {
            return;
        };
        if outcome != Outcome::Wrong {
            pace.wrong.give_back(limits.wrong_pins_per_minute_max);
        }
        if outcome == Outcome::NotCompared {
            pace.logins.give_back(limits.logins_per_minute_max);
        }
        let Some(streak) = pace.streaks.get_mut(&tried.key()) else {
            return;
        };
        streak.open = streak.open.saturating_sub(1);
        match outcome {
            Outcome::Wrong => streak.wrong = streak.wrong.saturating_add(1),
            Outcome::Right => (streak.wrong, streak.free_at) = (0, Duration::ZERO),
            Outcome::NotCompared => {
                streak.free_at = streak.free_at.saturating_sub(place.holds_up);
            }
        }
        // Nothing was wrong, so nothing is to be waited for.
        if streak.wrong == 0 && streak.open == 0 {
            pace.streaks.remove(&tried.key());
        }
    }

    /// Wrong PINs, or tries under way, that the user who made most of them has to his account in this minute.
    #[must_use]
    pub fn most_wrong(&self, now: Duration, limits: &Limits) -> u64 {
        let users = self.0.lock();
        let each = MINUTE
            .checked_div(limits.wrong_pins_per_minute_max)
            .unwrap_or(MINUTE);
        let count = |pace: &Pace| {
            let ahead = pace.wrong.full_at.saturating_sub(now).as_millis();
            ahead.div_ceil(each.as_millis().max(1))
        };
        u64::try_from(users.values().map(count).max().unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

impl Pace {
    fn matters(&self, now: Duration) -> bool {
        let recent = self.wrong.full_at.max(self.logins.full_at) > now;
        recent || !self.streaks.is_empty()
    }
}

impl Tried {
    fn key(self) -> (u64, bool) {
        (self.token, self.user == User::So)
    }
}

/// The wait after so many wrong PINs in a row: doubled with each.
fn delay_after(wrong: u32, limits: &Limits) -> Duration {
    let doubled = 1_u64
        .checked_shl(wrong.saturating_sub(1))
        .unwrap_or(u64::MAX);
    let delay = limits.wrong_pin_delay_ms.saturating_mul(doubled);
    Duration::from_millis(delay.min(WRONG_PIN_DELAY_MS_MAX))
}

/// Beyond so many users those are forgotten of whom nothing matters any more.
const USERS_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Tried = Tried {
        uid: 1000,
        token: 1,
        user: User::User,
    };

    fn limits(delay: u64, wrong: u32) -> Limits {
        Limits {
            wrong_pin_delay_ms: delay,
            wrong_pins_per_minute_max: wrong,
            ..Limits::default()
        }
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn each_wrong_pin_doubles_the_wait_up_to_a_bound_and_a_right_one_ends_it() {
        let (paces, limits) = (Paces::default(), limits(100, 0));
        let mut now = at(5);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let place = paces.admit(ALICE, now, &limits);
            waits.push(place.wait.as_millis());
            now += place.wait;
            paces.settle(ALICE, place, Outcome::Wrong, &limits);
        }
        let expected = [
            0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
        ];
        assert_eq!(waits, expected);
        // One that is given up holds nobody up.
        let given_up = paces.admit(ALICE, now, &limits);
        paces.settle(ALICE, given_up, Outcome::NotCompared, &limits);
        let place = paces.admit(ALICE, now, &limits);
        assert_eq!(place.wait, at(30_000));
        now += place.wait;
        paces.settle(ALICE, place, Outcome::Right, &limits);
        assert_eq!(paces.admit(ALICE, now, &limits).wait, Duration::ZERO);
    }

    #[test]
    fn many_at_once_wait_one_behind_the_other_and_nobody_else_does() {
        let (paces, limits) = (Paces::default(), limits(100, 0));
        let waits: Vec<_> = (0..4)
            .map(|_| paces.admit(ALICE, at(0), &limits).wait.as_millis())
            .collect();
        assert_eq!(waits, [0, 100, 300, 700]);
        for other in [
            Tried { uid: 1001, ..ALICE },
            Tried { token: 2, ..ALICE },
            Tried {
                user: User::So,
                ..ALICE
            },
        ] {
            assert_eq!(
                paces.admit(other, at(0), &limits).wait,
                Duration::ZERO,
                "{other:?}"
            );
        }
    }

    #[test]
    fn wrong_ones_of_a_minute_are_bounded_over_all_tokens_and_right_ones_cost_nothing() {
        let (paces, limits) = (Paces::default(), limits(0, 60));
        for _ in 0..1000 {
            let place = paces.admit(ALICE, at(0), &limits);
            assert_eq!(place.wait, Duration::ZERO);
            paces.settle(ALICE, place, Outcome::Right, &limits);
        }
        for token in 0..60 {
            let tried = Tried { token, ..ALICE };
            let place = paces.admit(tried, at(0), &limits);
            assert_eq!(place.wait, Duration::ZERO, "{token}");
            paces.settle(tried, place, Outcome::Wrong, &limits);
        }
        assert_eq!(paces.most_wrong(at(0), &limits), 60);
        let place = paces.admit(ALICE, at(0), &limits);
        assert_eq!(place.wait, at(1000));
        paces.settle(ALICE, place, Outcome::NotCompared, &limits);
        let other = Tried { uid: 1, ..ALICE };
        assert_eq!(paces.admit(other, at(0), &limits).wait, Duration::ZERO);
        assert_eq!(paces.admit(ALICE, at(30_000), &limits).wait, Duration::ZERO);
    }

    #[test]
    fn logins_of_a_minute_are_bounded_where_an_operator_wants_it() {
        let limits = Limits {
            logins_per_minute_max: 2,
            ..Limits::default()
        };
        let paces = Paces::default();
        let waits: Vec<_> = (0..4)
            .map(|_| {
                let place = paces.admit(ALICE, at(0), &limits);
                paces.settle(ALICE, place, Outcome::Right, &limits);
                place.wait.as_secs()
            })
            .collect();
        assert_eq!(waits, [0, 0, 30, 60]);
    }

    #[test]
    fn who_does_not_matter_any_more_is_forgotten() {
        let (paces, limits) = (Paces::default(), limits(0, 60));
        for uid in 0..5000 {
            let tried = Tried { uid, ..ALICE };
            let now = at(u64::from(uid) * 1000);
            let place = paces.admit(tried, now, &limits);
            assert_eq!(place.wait, Duration::ZERO);
            paces.settle(tried, place, Outcome::NotCompared, &limits);
        }
        assert!(paces.0.lock().len() <= USERS_KEPT + 1);
    }
}
