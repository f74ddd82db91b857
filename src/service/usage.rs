//! How much of each bound is in use.
//!
//! What lives here: the counting, for the administration.
//! What must never live here: the bounds.
//! Who calls it: the daemon, which adds the bounds of its sockets.

use std::sync::atomic::Ordering;

use strongroom_wire::admin::LimitLine;

use super::Service;
use crate::limits::Limits;

impl Service {
    /// Every bound of the token: its value, and how much of it the one who uses most is using.
    #[must_use]
    pub fn usage(&self) -> Vec<LimitLine> {
        let limits = self.settings.read().limits;
        let listed = Limits::LISTED.iter().zip(limits.values());
        listed
            .map(|(bound, value)| {
                let (used, peak) = self.used(bound.name, &limits);
                LimitLine {
                    name: bound.name.to_owned(),
                    value,
                    used,
                    peak,
                    reason: bound.reason.trim().to_owned(),
                }
            })
            .collect()
    }

    fn used(&self, name: &str, limits: &Limits) -> (Option<u64>, Option<u64>) {
        let tokens: Vec<_> = self.tokens.read().values().cloned().collect();
        let applications = self.applications.lock().clone();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let of_tokens = |count: &dyn Fn(&crate::token::Token) -> u64| {
            tokens.iter().map(|token| count(token)).max().unwrap_or(0)
        };
        let used = match name {
            "sessions_per_application_max" => {
                let counts = applications.iter().map(|one| one.session_count());
                number(counts.max().unwrap_or(0))
            }
            "sessions_max" => {
                let peak = self.sessions_peak.load(Ordering::Relaxed);
                let open = tokens.iter().map(|token| token.session_counts().0).sum();
                return (Some(number(open)), Some(number(peak)));
            }
            "session_objects_max" => {
                let counts = applications.iter().map(|one| one.session_objects());
                number(counts.max().unwrap_or(0))
            }
            "token_objects_max" => of_tokens(&|token| token.counts().0),
            "user_tries_max" => of_tokens(&|token| u64::from(token.state(limits).user_tries.used)),
            "so_tries_max" => of_tokens(&|token| u64::from(token.state(limits).so_tries.used)),
            "open_keys_max" => of_tokens(&|token| number(token.open_keys())),
            "wrong_pins_per_minute_max" => {
                let now = self.ports.clock.steady();
                self.paces.most_wrong(now, limits)
            }
            "tokens_max" => number(tokens.len()),
            "imports_max" => {
                let (imports, peak, ..) = self.imports.counts();
                return (Some(number(imports)), Some(number(peak)));
            }
            "import_objects_max" => number(self.imports.counts().2),
            "import_bytes_max" => number(self.imports.counts().3),
            _ => return (None, None),
        };
        (Some(used), None)
    }
}
