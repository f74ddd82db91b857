//! The running daemon: what its threads share.
//!
//! What lives here: the token, the register of connections, the configuration in force and its reload.
//! What must never live here: start-up and stop in order; that is the page in `main.rs`.
//! Who calls it: listener, connections, administration, the signal loop.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strongroom::audit::Principal;
use strongroom::service::{Service, Settings};
use strongroom::vault::Reach;
use strongroom_wire::frame::Door;

use crate::changes::ChangesPage;
use crate::command_line::Arguments;
use crate::config::{AfterFork, Bounds, ConfigError, Configuration, Environment};
use crate::connection;
use crate::connections::{Admitted, Connections};
use crate::handover::Handover;
use crate::listener::Host;
use crate::log;
use crate::notify::Notifier;
use crate::system;
use crate::turns::Turns;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the threads share.
pub struct Daemon {
    /// The token.
    pub service: Service,
    /// What tells clients of changes.
    pub changes: Option<Arc<ChangesPage>>,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// Whose turn it is.
    pub turns: Arc<Turns>,
    /// The service manager.
    pub notifier: Notifier,
    /// The way out for the benefit of a new daemon.
    pub handover: Arc<Handover>,
    /// Where the configuration comes from, for reading it again.
    arguments: Arguments,
    environment: Environment,
    in_force: Mutex<Arc<Configuration>>,
    started: Instant,
    log_lines: Mutex<Allowance>,
}

impl Daemon {
    /// Puts it together.
    #[must_use]
    pub fn new(
        service: Service,
        changes: Option<Arc<ChangesPage>>,
        configuration: Configuration,
        arguments: Arguments,
        environment: Environment,
        started: Instant,
    ) -> Self {
        Self {
            service,
            changes,
            connections: Arc::default(),
            turns: Arc::new(Turns::new(&configuration.bounds)),
            notifier: Notifier::new(environment.value("NOTIFY_SOCKET")),
            handover: Arc::default(),
            arguments,
            environment,
            in_force: Mutex::new(Arc::new(configuration)),
            started,
            log_lines: Mutex::new(Allowance::new(started)),
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn configuration(&self) -> Arc<Configuration> {
        Arc::clone(&self.in_force.lock())
    }

    /// How long it runs.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Stops the daemon as SIGTERM does.
    pub fn ask_to_stop(&self) {
        system::signal_myself(libc::SIGTERM);
    }

    /// Reads the configuration again. What can change at once does; for the rest the log says that a restart is needed.
    ///
    /// # Errors
    /// [`ConfigError`]: then the old configuration stays in force.
    pub fn reload(&self) -> Result<(), ConfigError> {
        self.notifier.reloading();
        let outcome = self.read_again();
        match &outcome {
            Ok(()) => self.notifier.ready("ready"),
            Err(error) => {
                tracing::error!("reload refused, the old configuration stays in force: {error}");
                self.notifier.ready("ready; the last reload was refused");
            }
        }
        outcome
    }

    fn read_again(&self) -> Result<(), ConfigError> {
        let mut in_force = self.in_force.lock();
        let new = Configuration::read(&self.arguments, &self.environment)?;
        let needs_restart = needs_restart(&in_force, &new);
        // What needs a restart keeps its old value here too, so that the status tells the truth.
        let next = Configuration {
            audit_level: new.audit_level,
            backup_recipients: new.backup_recipients,
            log_level: new.log_level,
            limits: new.limits,
            mechanisms: new.mechanisms,
            after_fork: new.after_fork,
            bounds: new.bounds,
            release: new.release,
            ..Configuration::clone(&in_force)
        };
        self.service
            .apply(settings(&next))
            .map_err(|error| ConfigError::Value {
                place: "audit_level".to_owned(),
                what: format!("the journal cannot be continued at that level: {error}"),
            })?;
        log::set_level(next.log_level);
        self.turns.bound(&next.bounds);
        let changed = changed(&in_force, &next);
        tracing::info!(changed, "configuration reloaded");
        if !needs_restart.is_empty() {
            tracing::warn!(
                keys = needs_restart.join(", "),
                "these take effect at the next start only"
            );
        }
        *in_force = Arc::new(next);
        Ok(())
    }
}

impl Host for Daemon {
    fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    fn bounds(&self) -> Bounds {
        self.configuration().bounds
    }

    fn allow_log_line(&self) -> bool {
        self.log_lines.lock().take(Instant::now())
    }

    fn ends_when_unused(&self) -> Option<Duration> {
        self.configuration().ends_when_unused
    }

    fn ask_to_stop(&self) {
        Self::ask_to_stop(self);
    }

    fn begin(self: &Arc<Self>, door: Door, admitted: Admitted, who: Principal) -> io::Result<()> {
        connection::start(self, door, admitted, who)
    }
}

/// The part of the configuration that the token wants.
#[must_use]
pub fn settings(configuration: &Configuration) -> Settings {
    Settings {
        audit_level: configuration.audit_level,
        limits: configuration.limits,
        mechanisms: configuration.mechanisms.clone(),
        pin_cost: configuration.pin_cost,
        daemon_version: version_numbers(),
        ticket_reach: match configuration.after_fork {
            AfterFork::Uninitialized => Reach::Process,
            AfterFork::Inherit => Reach::Children,
        },
        release: configuration.release.clone(),
    }
}

fn version_numbers() -> [u8; 3] {
    let mut numbers = VERSION
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

fn changed(old: &Configuration, new: &Configuration) -> String {
    let mut changes = Vec::new();
    if old.audit_level != new.audit_level {
        changes.push(format!(
            "audit.level {} to {}",
            old.audit_level, new.audit_level
        ));
    }
    if old.log_level != new.log_level {
        changes.push(format!("log.level {} to {}", old.log_level, new.log_level));
    }
    if old.limits != new.limits || old.bounds != new.bounds {
        changes.push("limits".into());
    }
    if old.mechanisms != new.mechanisms {
        changes.push("mechanisms".into());
    }
    if old.release != new.release {
        changes.push("release".into());
    }
    if changes.is_empty() {
        "nothing".into()
    } else {
        changes.join(", ")
    }
}

fn needs_restart(old: &Configuration, new: &Configuration) -> Vec<&'static str> {
    let differing = [
        (old.socket != new.socket, "socket"),
        (old.admin_socket != new.admin_socket, "admin_socket"),
        (old.socket_mode != new.socket_mode, "socket_mode"),
        (old.socket_group != new.socket_group, "socket_group"),
        (old.store != new.store, "store.path"),
        (old.journal != new.journal, "audit.path"),
        (old.seal != new.seal, "seal"),
        (
            old.memory_bytes != new.memory_bytes || old.locking != new.locking,
            "memory",
        ),
        (old.user != new.user, "user"),
        (old.allow_root != new.allow_root, "allow_root"),
        (old.walls != new.walls, "jail"),
        (old.log_format != new.log_format, "log.format"),
        (old.log_file != new.log_file, "log.file"),
    ];
    differing
        .into_iter()
        .filter_map(|(differs, key)| differs.then_some(key))
        .collect()
}

/// Lines that strangers may still provoke: a few for each stretch of time, so that they cannot fill the disk.
#[derive(Debug)]
pub(crate) struct Allowance {
    since: Instant,
    lines: u64,
}

impl Allowance {
    pub(crate) const fn new(since: Instant) -> Self {
        Self { since, lines: 0 }
    }

    /// Whether a line may be written; says once how many were not.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= LOG_STRETCH {
            let withheld = self.lines.saturating_sub(LOG_LINES_MAX);
            if withheld > 0 {
                tracing::warn!(withheld, "lines about refused connections were withheld");
            }
            *self = Self {
                since: now,
                lines: 0,
            };
        }
        self.lines += 1;
        self.lines <= LOG_LINES_MAX
    }
}

const LOG_STRETCH: Duration = Duration::from_secs(10);
const LOG_LINES_MAX: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_dammed() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let allowed = (0..1000).filter(|_| allowance.take(start)).count();
        assert_eq!(allowed as u64, LOG_LINES_MAX);
        assert!(allowance.take(start + LOG_STRETCH));
    }
}
