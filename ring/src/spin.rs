//! How long an end spins before it sleeps.
//!
//! What lives here: a patience that learns how long such a wait usually takes.
//! What must never live here: what is waited for.
//! Who calls it: both ends; the module keeps one for each kind of request.
//!
//! A sleeper must be woken, which costs 15 µs on bare metal and up to a hundred on a virtual machine; a spinner costs a processor. So an end
//! spins about as long as the wait usually takes, and only where that is short. After the first microseconds it gives its processor away
//! between two looks, and where somebody takes it the machine is busy: then it sleeps at once, and for a while does not try again.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// The daemon waits for a request that may never come, so it spins no longer than a busy client's own work takes.
pub const LONGEST_FOR_REQUESTS: Duration = Duration::from_micros(50);
/// The module waits for an answer that is being computed: an RSA signature of 2048 bits takes some 400 µs.
pub const LONGEST_FOR_ANSWERS: Duration = Duration::from_micros(600);

/// A wait of this length is spun for always: it costs less than a sleep.
const SHORT: Duration = Duration::from_micros(10);
/// Spun for, where waits are usually shorter than the longest, even if this one was expected to be over.
const USUAL_MIN: Duration = Duration::from_micros(15);
/// Whoever gets the processor back only after this long has given it to somebody else.
const TAKEN_AWAY: Duration = Duration::from_micros(100);
/// So many waits after the processor was taken away are not spun for longer than [`SHORT`].
const BUSY_WAITS: u16 = 128;
/// Looks at the memory before the clock is asked: one or two microseconds.
const FIRST_LOOKS: u32 = 64;
/// Looks at the memory between two looks at the clock.
const LOOKS: u32 = 16;

/// What has been learnt of one kind of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Spin {
    longest: Duration,
    /// How long such a wait takes, a moving average.
    usual: Duration,
    /// Waits to go until the machine is thought idle again.
    busy: u16,
    /// When the wait began that is now slept through.
    begun: Option<Instant>,
}

impl Spin {
    /// Knows nothing, and spins for at most `longest`.
    #[must_use]
    pub const fn new(longest: Duration) -> Self {
        Self {
            longest,
            usual: USUAL_MIN,
            busy: 0,
            begun: None,
        }
    }

    /// Spins until `there` says so, or patience ends; then [`Spin::woken`] must tell when the sleep is over.
    /// `alone`: the other end last ran on this very processor, and cannot move while this one spins.
    pub fn until(&mut self, alone: bool, there: impl Fn() -> bool) -> bool {
        if there() {
            self.learn(Duration::ZERO);
            return true;
        }
        let spins = !alone && several_processors();
        // The shortest waits are over before it is worth looking at a clock.
        if spins && (0..FIRST_LOOKS).any(|_| looked(&there)) {
            self.learn(Duration::ZERO);
            return true;
        }
        let begun = Instant::now();
        if spins && self.spin(begun, &there) {
            self.learn(begun.elapsed());
            return true;
        }
        self.begun = Some(begun);
        false
    }

    fn spin(&mut self, begun: Instant, there: &impl Fn() -> bool) -> bool {
        let patience = self.patience();
        loop {
            if (0..LOOKS).any(|_| looked(there)) {
                return true;
            }
            let waited = begun.elapsed();
            if waited >= patience {
                return false;
            }
            if waited >= SHORT {
                thread::yield_now();
                if begun.elapsed().saturating_sub(waited) > TAKEN_AWAY {
                    self.busy = BUSY_WAITS;
                    return there();
                }
            }
        }
    }

    fn patience(&mut self) -> Duration {
        self.busy = self.busy.saturating_sub(1);
        if self.busy > 0 || self.usual > self.longest {
            SHORT
        } else {
            (self.usual.max(USUAL_MIN) * 2).min(self.longest)
        }
    }

    /// What was waited for came while this end slept, if it slept.
    pub fn woken(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.learn(begun.elapsed());
        }
    }

    /// A long wait counts no more than a few of the longest that are spun for, so that what has become fast is soon known to be.
    fn learn(&mut self, waited: Duration) {
        self.usual = (self.usual * 3 + waited.min(self.longest * 4)) / 4;
    }
}

fn looked(there: &impl Fn() -> bool) -> bool {
    let seen = there();
    if !seen {
        std::hint::spin_loop();
    }
    seen
}

/// The processor that this thread runs on.
#[must_use]
pub fn processor() -> u32 {
    crate::mapping::processor()
}

fn several_processors() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const LONGEST: Duration = Duration::from_millis(1);

    /// Waits for something that comes after so many looks; tells how often was looked.
    fn looks(spin: &mut Spin, comes_after: u32) -> u32 {
        let looked = Cell::new(0);
        let there = || {
            looked.set(looked.get() + 1);
            looked.get() > comes_after
        };
        spin.until(false, there);
        looked.get()
    }

    #[test]
    fn a_wait_that_is_usually_long_is_hardly_spun_for_and_one_that_became_short_is_again() {
        let mut spin = Spin::new(LONGEST);
        for _ in 0..20 {
            spin.begun = Instant::now().checked_sub(LONGEST * 10);
            spin.woken();
        }
        assert_eq!(spin.patience(), SHORT);
        for _ in 0..20 {
            assert_eq!(looks(&mut spin, 0), 1);
        }
        assert_eq!(spin.patience(), USUAL_MIN * 2);
    }

    #[test]
    fn patience_is_twice_the_usual_wait_and_never_over_the_longest() {
        let mut spin = Spin::new(LONGEST);
        spin.usual = LONGEST / 4;
        assert_eq!(spin.patience(), LONGEST / 2);
        spin.usual = LONGEST;
        assert_eq!(spin.patience(), LONGEST);
    }

    #[test]
    fn beside_the_other_end_nobody_spins() {
        let mut spin = Spin::new(LONGEST);
        let looked = Cell::new(0);
        let there = || {
            looked.set(looked.get() + 1);
            false
        };
        assert!(!spin.until(true, there));
        assert_eq!(looked.get(), 1);
        assert!(spin.begun.is_some());
    }
}
