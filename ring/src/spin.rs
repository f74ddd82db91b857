//! How long an end spins before it sleeps.
//!
//! What lives here: a budget that learns from success.
//! What must never live here: what is waited for.
//! Who calls it: both ends; the module keeps one for each kind of request.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Longest spin. A wake-up across two processors costs some 15 µs, so longer spins cost more than they save.
const LONGEST: Duration = Duration::from_micros(30);
/// After so many waits without a spin one is tried again: what was slow may have become fast.
const TRY_AGAIN_AFTER: u32 = 64;
/// Looks at the memory between two looks at the clock.
const LOOKS: u32 = 16;

/// What has been learnt of one kind of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Spin {
    /// How many of the last waits ended while spinning: 0 to 8.
    trust: u8,
    /// Waits since the last spin.
    skipped: u32,
}

impl Default for Spin {
    fn default() -> Self {
        Self::new()
    }
}

impl Spin {
    /// Trusts a little.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            trust: 4,
            skipped: 0,
        }
    }

    /// Spins until `there` says so, or the budget is used up. `alone`: the other end last ran on this very processor.
    pub fn until(&mut self, alone: bool, there: impl Fn() -> bool) -> bool {
        if there() {
            return true;
        }
        if !several_processors() {
            return false;
        }
        if self.trust == 0 {
            self.skipped += 1;
            if self.skipped < TRY_AGAIN_AFTER {
                return false;
            }
            self.skipped = 0;
        }
        // On one shared processor the other end cannot move while this one spins; it is given way at once.
        let budget = if alone { Duration::ZERO } else { LONGEST };
        let begun = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if there() {
                    self.trust = (self.trust + 1).min(8);
                    return true;
                }
                std::hint::spin_loop();
            }
            if begun.elapsed() >= budget {
                self.trust = self.trust.saturating_sub(1);
                return false;
            }
        }
    }
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
