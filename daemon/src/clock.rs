//! The real clock.
//!
//! What lives here: the one place where the daemon asks for the date.
//! What must never live here: deadlines of the daemon's own; those are `std::time::Instant` where they are needed.
//! Who calls it: the token, through its port.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use strongroom::ports::{Clock, Time};

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// When the clock was first asked.
static BEGIN: OnceLock<Instant> = OnceLock::new();

impl Clock for SystemClock {
    fn now(&self) -> Time {
        // A clock before 1970 is a machine without a battery; the epoch is as good as any date there.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn steady(&self) -> Duration {
        BEGIN.get_or_init(Instant::now).elapsed()
    }
}
