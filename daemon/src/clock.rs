//! The real clock.
//!
//! What lives here: the one place where the daemon asks for the date.
//! What must never live here: the monotonic time of deadlines; that is `std::time::Instant` where it is needed.
//! Who calls it: the token, through its port.

use std::time::{SystemTime, UNIX_EPOCH};

use strongroom::ports::{Clock, Time};

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        // A clock before 1970 is a machine without a battery; the epoch is as good as any date there.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
