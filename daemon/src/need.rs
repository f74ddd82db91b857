//! Whether anybody still needs this daemon.
//!
//! What lives here: how long nobody was connected, and whether the sockets still stand where clients look for them.
//! What must never live here: the end itself.
//! Who calls it: the listener, between two connections.
//!
//! A daemon that was started for a directory of a test run has no operator who would stop it. It goes when nobody comes any more, and when its
//! directory was removed or put elsewhere: then nobody can come, and another daemon serves what stands in its place.

use std::time::{Duration, Instant};

use crate::listener::Spot;

/// What is known of the need.
#[derive(Debug)]
pub(crate) struct Need {
    /// None for a daemon that somebody else ends.
    unused_max: Option<Duration>,
    sockets: Vec<Spot>,
    /// Since when nobody is connected.
    unused_since: Option<Instant>,
}

impl Need {
    /// That of a daemon with these sockets.
    pub(crate) const fn new(unused_max: Option<Duration>, sockets: Vec<Spot>) -> Self {
        Self {
            unused_max,
            sockets,
            unused_since: None,
        }
    }

    /// After how long to look again.
    pub(crate) fn look(&self) -> Option<Duration> {
        self.unused_max.map(|_| LOOK)
    }

    /// Why nobody needs it any more, if so.
    pub(crate) fn gone(&mut self, connections: usize, now: Instant) -> Option<&'static str> {
        let unused_max = self.unused_max?;
        if !self.sockets.iter().all(Spot::stands) {
            return Some("the directory of the sockets has gone");
        }
        if connections > 0 {
            self.unused_since = None;
            return None;
        }
        let since = *self.unused_since.get_or_insert(now);
        (now.saturating_duration_since(since) >= unused_max)
            .then_some("nobody was connected for long")
    }
}

/// Time between two looks: what stands in the place of a removed directory must not wait long for its old daemon to be gone from memory.
const LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stretch_without_anybody_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut need = Need::new(Some(Duration::from_secs(30)), Vec::new());
        assert_eq!(need.gone(0, at(0)), None);
        assert_eq!(need.gone(0, at(29)), None);
        assert_eq!(need.gone(1, at(40)), None);
        assert_eq!(need.gone(0, at(50)), None);
        assert_eq!(need.gone(0, at(79)), None);
        assert!(need.gone(0, at(80)).is_some());
    }

    #[test]
    fn a_daemon_with_an_operator_never_goes_by_itself() {
        let start = Instant::now();
        let mut need = Need::new(None, Vec::new());
        assert_eq!(need.gone(0, start), None);
        assert_eq!(need.gone(0, start + Duration::from_secs(1 << 30)), None);
        assert_eq!(need.look(), None);
    }
}
