//! strongroomd: start-up as one page.
//!
//! What lives here: the order of things: configure, harden, open, unlock, listen, serve, stop.
//! What must never live here: how any of these is done.
//! Who calls it: the service manager, the module (autostart), a person.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use strongroom::audit::Freshness;
use strongroom::service::{OlderStore, Ports, SealedDesk, Service};
use strongroom_keymem as keymem;
use strongroomd::backup::{self, Interrupted, Work};
use strongroomd::changes::ChangesPage;
use strongroomd::clock::SystemClock;
use strongroomd::command_line::Arguments;
use strongroomd::config::{Configuration, Environment};
use strongroomd::daemon::{self, Daemon};
use strongroomd::daemonize::{Outcome, Readiness, Side, daemonize};
use strongroomd::directories::{self, DirectoryError, StoreLock};
use strongroomd::harden::harden;
use strongroomd::jail::witness::Witness;
use strongroomd::jail::{self, Notify};
use strongroomd::journal::FileJournal;
use strongroomd::listener::{Acceptor, ListenError, Listeners, wait_for_answer};
use strongroomd::log;
use strongroomd::notify::{Notifier, take_activated};
use strongroomd::root::{Identity, RootError};
use strongroomd::seal::{Opening, StoreState, Unsealing};
use strongroomd::sealed::{SIGNAL_OPENED, SealedDaemon, Wait};
use strongroomd::store::RedbStore;
use strongroomd::system::Signals;
use strongroomd::verify;

fn main() -> ExitCode {
    let started = Instant::now();
    let environment = Environment::of_this_process();
    let (arguments, configuration) = match configure(&environment) {
        Ok(both) => both,
        Err(failure) => return tell(failure.outcome()),
    };
    if arguments.check_config {
        return tell(Outcome {
            code: 0,
            message: checked(&configuration),
        });
    }
    if arguments.verify {
        return verified(&arguments, &configuration)
            .unwrap_or_else(|failure| tell(failure.outcome()));
    }
    if let Some(work) = Work::of(&arguments.backup) {
        let done = without_serving(&work, &arguments, &configuration);
        return tell(done.unwrap_or_else(Failure::outcome));
    }
    let mut readiness = Readiness::nobody();
    if arguments.daemonize {
        let split = directories::prepare_for(&configuration.log_file)
            .map_err(Failure::from)
            .and_then(|()| daemonize(&configuration.log_file).map_err(Failure::other));
        match split {
            Ok(Side::Command(outcome)) => return tell(outcome),
            Ok(Side::Daemon(waiting)) => readiness = waiting,
            Err(failure) => return tell(failure.outcome()),
        }
    }
    match run(
        arguments,
        environment,
        configuration,
        started,
        &mut readiness,
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let outcome = failure.outcome();
            readiness.tell(&outcome);
            tell(outcome)
        }
    }
}

fn configure(environment: &Environment) -> Result<(Arguments, Configuration), Failure> {
    let arguments = Arguments::parse()
        .with_absolute_paths()
        .map_err(Failure::other)?;
    let configuration = Configuration::read(&arguments, environment).map_err(|error| Failure {
        code: CODE_CONFIG,
        message: error.to_string(),
    })?;
    Ok((arguments, configuration))
}

fn run(
    arguments: Arguments,
    environment: Environment,
    configuration: Configuration,
    started: Instant,
    readiness: &mut Readiness,
) -> Result<(), Failure> {
    log::start(configuration.log_level, configuration.log_format);
    let signals = Signals::block(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, SIGNAL_OPENED])
        .map_err(Failure::other)?;
    let activated = take_activated(&|name| environment.value(name)).map_err(Failure::other)?;
    harden().map_err(Failure::other)?;

    let identity = Identity::settle(&configuration, &activated)?;
    let witness = Witness::split_off(&configuration).map_err(Failure::other)?;
    let made = directories::prepare(&configuration)?;
    identity.assume(&configuration, &made)?;
    let _lock = StoreLock::take(configuration.data_directory())
        .map_err(|error| lost_race(&arguments, &configuration, error))?;

    start_memory_and_crypto(&arguments, &configuration)?;
    jail::enter(&configuration, notified_by(&environment)).map_err(Failure::other)?;
    let changes = ChangesPage::create();
    let (start, journal) = open(&arguments, &configuration, changes.as_ref())?;

    let mut listeners = Listeners::open(&configuration, activated, identity.socket_group, witness)?;
    jail::close(&configuration).map_err(Failure::other)?;
    let service = match start {
        Start::Open(service) => *service,
        Start::Sealed(desk, unsealing) => {
            let notifier = Notifier::new(environment.value("NOTIFY_SOCKET"));
            let sealed =
                SealedDaemon::new(desk, *unsealing, configuration.clone(), notifier, started);
            match wait_for_unsealing(sealed, listeners, &signals, readiness)? {
                Wait::Opened(service, same) => {
                    warn_of_age(&service, StoreState::Present);
                    listeners = same;
                    *service
                }
                Wait::Stopped => {
                    journal.save().map_err(Failure::other)?;
                    tracing::info!("strongroomd stopped, sealed as it was");
                    return Ok(());
                }
            }
        }
    };
    let line = ready_line(&configuration);
    let daemon = Arc::new(Daemon::new(
        service,
        changes,
        configuration,
        arguments,
        environment,
        started,
    ));
    let acceptor = Acceptor::start(&daemon, listeners).map_err(Failure::other)?;

    tracing::info!(
        microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "{line}"
    );
    daemon.notifier.ready("ready");
    readiness.tell(&Outcome {
        code: 0,
        message: String::new(),
    });

    serve(&daemon, &signals);

    daemon.notifier.stopping();
    acceptor.stop();
    let left = daemon.connections.stop(FINISH_WITHIN);
    if left > 0 {
        tracing::warn!(
            connections = left,
            "requests that did not finish in time are cut off"
        );
    }
    // A request that was cut off may still hold the journal, so do not count on its being dropped.
    journal.save().map_err(Failure::other)?;
    tracing::info!("strongroomd stopped");
    Ok(())
}

fn notified_by(environment: &Environment) -> Notify {
    let address = environment.value("NOTIFY_SOCKET");
    if address.is_some_and(|address| address.as_encoded_bytes().starts_with(b"@")) {
        Notify::Abstract
    } else {
        Notify::Path
    }
}

/// Backups and restores, which need no daemon.
fn without_serving(
    work: &Work,
    arguments: &Arguments,
    configuration: &Configuration,
) -> Result<Outcome, Failure> {
    log::start(log::Level::Warn, configuration.log_format);
    harden().map_err(Failure::other)?;
    start_memory_and_crypto(arguments, configuration)?;
    backup::run(work, arguments, configuration).map_err(Failure::other)?;
    Ok(Outcome {
        code: 0,
        message: String::new(),
    })
}

fn start_memory_and_crypto(
    arguments: &Arguments,
    configuration: &Configuration,
) -> Result<(), Failure> {
    if arguments.danger_fast_pins() {
        tracing::warn!(
            "danger: PINs cost an attacker nothing (--pin-cost fast); this is for tests only"
        );
    }
    let memory = keymem::Config {
        bytes: configuration.memory_bytes,
        locking: configuration.locking.for_keymem(),
    };
    keymem::start(&memory).map_err(Failure::other)?;
    if keymem::status().is_some_and(|status| matches!(status.backing, keymem::Backing::Unlocked)) {
        tracing::warn!("danger: memory is not locked, keys may reach the swap");
    }
    // After the memory: AWS-LC's heap lies in it.
    strongroom_crypto::start()
        .map_err(|error| Failure::other(format!("cannot start the crypto library: {error:?}")))
}

/// What a start has come to.
enum Start {
    Open(Box<Service>),
    Sealed(SealedDesk, Box<Unsealing>),
}

/// Root key, store and journal; then the token over them, or the desk that waits for the root key.
fn open(
    arguments: &Arguments,
    configuration: &Configuration,
    changes: Option<&Arc<ChangesPage>>,
) -> Result<(Start, Arc<FileJournal>), Failure> {
    let state = match std::fs::metadata(&configuration.store) {
        Ok(state) if state.len() > 0 => StoreState::Present,
        _ => StoreState::Absent,
    };
    let opening = configuration.seal.open(state).map_err(Failure::other)?;
    let restored = backup::finish_interrupted(configuration, &opening).map_err(Failure::other)?;
    let store = RedbStore::open(&configuration.store).map_err(Failure::other)?;
    let journal = Arc::new(FileJournal::open(&configuration.journal).map_err(|error| {
        Failure::other(format!(
            "cannot open the journal {}: {error}",
            configuration.journal.display()
        ))
    })?);
    let ports = Ports {
        store: Arc::new(store),
        journal: journal.clone(),
        clock: Arc::new(SystemClock),
        changes: ChangesPage::port(changes),
    };
    let settings = daemon::settings(configuration);
    let older = if arguments.accept_older_store || restored == Interrupted::FinishedUnseen {
        OlderStore::Accept
    } else {
        OlderStore::Refuse
    };
    let start = match opening {
        Opening::Open(root_key) => {
            let service = Service::open_with(ports, root_key, settings, older);
            let service = service.map_err(Failure::other)?;
            warn_of_age(&service, state);
            Start::Open(Box::new(service))
        }
        Opening::Sealed(unsealing) => {
            let desk = SealedDesk::new(ports, settings, older).map_err(Failure::other)?;
            Start::Sealed(desk, unsealing)
        }
    };
    Ok((start, journal))
}

fn warn_of_age(service: &Service, state: StoreState) {
    match service.freshness() {
        Freshness::Current => {}
        Freshness::Unknown if state == StoreState::Absent => {}
        other => tracing::warn!("the store is {other}"),
    }
}

/// The sockets are open and everybody who waits for the start is told so; nothing but status and unsealing is answered.
fn wait_for_unsealing(
    sealed: SealedDaemon,
    listeners: Listeners,
    signals: &Signals,
    readiness: &mut Readiness,
) -> Result<Wait, Failure> {
    tracing::warn!(
        "strongroomd {} sealed: waits for {}; run: strongroom unseal",
        daemon::VERSION,
        sealed.waits_for()
    );
    readiness.tell(&Outcome {
        code: 0,
        message: String::new(),
    });
    Arc::new(sealed)
        .wait(listeners, signals)
        .map_err(Failure::other)
}

/// The check instead of a start.
fn verified(arguments: &Arguments, configuration: &Configuration) -> Result<ExitCode, Failure> {
    let _lock = StoreLock::take(configuration.data_directory())?;
    start_memory_and_crypto(arguments, configuration)?;
    let root_key = configuration
        .seal
        .root_key(StoreState::Present)
        .map_err(Failure::other)?;
    let verified = verify::verify(configuration, root_key);
    let report = if arguments.json {
        verify::as_json(&verified)
    } else {
        verified.report()
    };
    let sound = tell(Outcome {
        code: 0,
        message: report,
    });
    if verified.findings.is_empty() {
        Ok(sound)
    } else {
        Err(Failure::other("the store is not as it was left"))
    }
}

/// Until a signal ends it.
fn serve(daemon: &Daemon, signals: &Signals) {
    loop {
        match signals.wait() {
            Ok(libc::SIGHUP) => {
                // The log has said what was wrong.
                let _ = daemon.reload();
            }
            // The seal is open already.
            Ok(SIGNAL_OPENED) => {}
            Ok(_) => return,
            Err(error) => {
                tracing::error!(%error, "cannot wait for signals");
                return;
            }
        }
    }
}

fn ready_line(configuration: &Configuration) -> String {
    let memory = keymem::status().map_or_else(String::new, |status| {
        format!("{} {} MiB", status.backing, status.bytes_total >> 20)
    });
    format!(
        "strongroomd {} ready: socket {}, store {}, memory {memory}",
        daemon::VERSION,
        configuration.socket.display(),
        configuration.store.display(),
    )
}

/// Another daemon was faster. An application that waits for this start wants to connect afterwards, so wait for the other one.
fn lost_race(
    arguments: &Arguments,
    configuration: &Configuration,
    error: DirectoryError,
) -> Failure {
    if arguments.autostarted && matches!(error, DirectoryError::InUse { .. }) {
        let _answers = wait_for_answer(&configuration.socket, OTHER_READY_WITHIN);
    }
    error.into()
}

fn checked(configuration: &Configuration) -> String {
    let file = configuration.file.as_deref().map_or_else(
        || "no configuration file".into(),
        |file: &Path| file.display().to_string(),
    );
    format!(
        "{file}: right; socket {}, admin socket {}, store {}, journal {}, {}",
        configuration.socket.display(),
        configuration.admin_socket.display(),
        configuration.store.display(),
        configuration.journal.display(),
        configuration.seal.describe(),
    )
}

/// Why the daemon did not come up.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn other(error: impl fmt::Display) -> Self {
        Self {
            code: CODE_FAILED,
            message: error.to_string(),
        }
    }

    fn outcome(self) -> Outcome {
        Outcome {
            code: self.code,
            message: self.message,
        }
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        let in_use = matches!(error, DirectoryError::InUse { .. });
        let code = if in_use {
            CODE_ALREADY_RUNNING
        } else {
            CODE_FAILED
        };
        Self {
            code,
            message: error.to_string(),
        }
    }
}

impl From<RootError> for Failure {
    fn from(error: RootError) -> Self {
        Self {
            code: CODE_CONFIG,
            message: error.to_string(),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let in_use = matches!(error, ListenError::InUse(_));
        let code = if in_use {
            CODE_ALREADY_RUNNING
        } else {
            CODE_FAILED
        };
        Self {
            code,
            message: error.to_string(),
        }
    }
}

#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the last words of a command"
)]
fn tell(outcome: Outcome) -> ExitCode {
    match outcome.code {
        0 if outcome.message.is_empty() => {}
        0 => println!("{}", outcome.message),
        _ => eprintln!("strongroomd: {}", outcome.message),
    }
    ExitCode::from(outcome.code)
}

const CODE_FAILED: u8 = 1;
/// As clap has it for wrong flags.
const CODE_CONFIG: u8 = 2;
/// Another daemon serves this store or socket.
const CODE_ALREADY_RUNNING: u8 = 3;
/// How long running requests may take after a stop was asked for.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// How long an autostarted daemon waits for the faster one.
const OTHER_READY_WITHIN: Duration = Duration::from_secs(8);
