//! strongroomd: start-up as one page.
//!
//! What lives here: the order of things: configure, harden, open, unlock, listen, serve, stop.
//! What must never live here: how any of these is done.
//! Who calls it: the service manager, the module (autostart), a person.

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
use strongroomd::failure::{Failure, tell};
use strongroomd::handover::{Predecessor, Successor};
use strongroomd::harden::harden;
use strongroomd::jail::measurer::Measurer;
use strongroomd::jail::witness::Witness;
use strongroomd::jail::{self, Notify};
use strongroomd::journal::FileJournal;
use strongroomd::listener::{Acceptor, Listeners, answers};
use strongroomd::log;
use strongroomd::notify::{Notifier, take_activated};
use strongroomd::root::{self, Identity};
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
            message: configuration.told(),
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
    let configuration =
        Configuration::read(&arguments, environment).map_err(Failure::configuration)?;
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
    let measurer = Measurer::split_off(&configuration).map_err(Failure::other)?;
    let measurer = Arc::new(measurer);
    let made = directories::prepare(&configuration)?;
    identity.assume(&configuration, &made)?;
    let lock = if arguments.replace {
        None
    } else {
        Some(take_lock(&arguments, &configuration)?)
    };
    start_memory_and_crypto(&arguments, &configuration)?;
    // Whatever may fail is tried before the running daemon steps down.
    let (mut predecessor, opening) = predecessor(&arguments, &configuration)?;
    let lock = match lock {
        Some(lock) => lock,
        None => take_lock(&arguments, &configuration)?,
    };
    jail::enter(&configuration, Notify::of(&environment)).map_err(Failure::other)?;
    let changes = ChangesPage::create();
    let (start, journal) = open(
        &arguments,
        &configuration,
        changes.as_ref(),
        &measurer,
        opening,
    )?;

    let listeners = match &mut predecessor {
        Some(old) => taken_over(old, &configuration, witness)?,
        None => Listeners::open(&configuration, activated, identity.socket_group, witness)?,
    };
    jail::close(&configuration).map_err(Failure::other)?;
    let place = Place {
        arguments,
        environment,
        configuration,
        started,
        signals,
        measurer,
    };
    serve_on(
        &place,
        readiness,
        predecessor,
        Held {
            lock,
            changes,
            start,
            journal,
            listeners,
        },
    )
}

/// What stays as it is as long as the process lives.
struct Place {
    arguments: Arguments,
    environment: Environment,
    configuration: Configuration,
    started: Instant,
    signals: Signals,
    measurer: Arc<Measurer>,
}

/// What a daemon that steps down lets go of.
struct Held {
    lock: StoreLock,
    changes: Option<Arc<ChangesPage>>,
    start: Start,
    journal: Arc<FileJournal>,
    listeners: Listeners,
}

/// Serves until it is stopped or replaced; where a new daemon fails, on and on.
fn serve_on(
    place: &Place,
    readiness: &mut Readiness,
    mut predecessor: Option<Predecessor>,
    mut held: Held,
) -> Result<(), Failure> {
    let configuration = &place.configuration;
    loop {
        let Held {
            lock,
            changes,
            start,
            journal,
            listeners,
        } = held;
        let Some((service, listeners)) = opened(place, start, listeners, readiness)? else {
            journal.save().map_err(Failure::other)?;
            tracing::info!("strongroomd stopped, sealed as it was");
            return Ok(());
        };
        let daemon = Arc::new(Daemon::new(
            service,
            changes,
            configuration.clone(),
            place.arguments.clone(),
            place.environment.clone(),
            place.started,
        ));
        let copies = listeners.descriptors().map_err(Failure::other)?;
        daemon.handover.prepare(copies, listeners.owns_files());
        let acceptor = Acceptor::start(&daemon, listeners).map_err(Failure::other)?;
        announce(&daemon, place.started, readiness);
        if let Some(old) = predecessor.take() {
            old.taken_over();
        }

        serve(&daemon, &place.signals);

        let Some(successor) = daemon.handover.asked() else {
            return stop(&daemon, acceptor, &journal);
        };
        let Some(listeners) = step_down(daemon, acceptor, journal, lock, successor)? else {
            return Ok(());
        };
        tracing::error!("the new daemon did not come up; this one goes on");
        let lock = take_lock_again(configuration)?;
        let changes = ChangesPage::create();
        let (start, journal) = open(
            &place.arguments,
            configuration,
            changes.as_ref(),
            &place.measurer,
            None,
        )?;
        held = Held {
            lock,
            changes,
            start,
            journal,
            listeners,
        };
    }
}

/// The token over the store, once it is unsealed. None when the daemon is stopped before that.
fn opened(
    place: &Place,
    start: Start,
    listeners: Listeners,
    readiness: &mut Readiness,
) -> Result<Option<(Service, Listeners)>, Failure> {
    let (desk, unsealing) = match start {
        Start::Open(service) => return Ok(Some((*service, listeners))),
        Start::Sealed(desk, unsealing) => (desk, unsealing),
    };
    let notifier = Notifier::new(place.environment.value("NOTIFY_SOCKET"));
    let configuration = place.configuration.clone();
    let sealed = SealedDaemon::new(*desk, *unsealing, configuration, notifier, place.started);
    match wait_for_unsealing(sealed, listeners, &place.signals, readiness)? {
        Wait::Opened(service, same) => {
            warn_of_age(&service, StoreState::Present);
            Ok(Some((*service, same)))
        }
        Wait::Stopped => Ok(None),
    }
}

/// Tells everybody who waits for it that requests are answered from now on.
fn announce(daemon: &Daemon, started: Instant, readiness: &mut Readiness) {
    tracing::info!(
        microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "{}",
        daemon::ready_line(&daemon.configuration())
    );
    daemon.notifier.ready("ready");
    readiness.tell(&Outcome {
        code: 0,
        message: String::new(),
    });
}

/// The running daemon, if this one is to take its place and there is one, and the root key: that it is at hand is seen before anything
/// changes.
fn predecessor(
    arguments: &Arguments,
    configuration: &Configuration,
) -> Result<(Option<Predecessor>, Option<Opening>), Failure> {
    if !arguments.replace {
        return Ok((None, None));
    }
    let goes_on = |what: String| Failure::other(format!("{what}; nothing has changed"));
    let found = Predecessor::ask(&configuration.admin_socket, &configuration.socket);
    let Some(mut old) = found.map_err(goes_on)? else {
        return Ok((None, None));
    };
    let opening = configuration.seal.open(StoreState::Present);
    let opening = opening.map_err(|error| goes_on(error.to_string()))?;
    if let Opening::Sealed(_) = opening {
        let what = "the seal waits for a person; stop the running daemon, start the new one, and unseal it";
        return Err(goes_on(what.into()));
    }
    tracing::info!("taking over from the running daemon");
    old.step_down().map_err(Failure::other)?;
    Ok((Some(old), Some(opening)))
}

fn taken_over(
    old: &mut Predecessor,
    configuration: &Configuration,
    witness: Witness,
) -> Result<Listeners, Failure> {
    let (application, admin) = old
        .take_sockets()
        .ok_or_else(|| Failure::other("the running daemon sent no sockets"))?;
    let listeners =
        Listeners::taken_over(configuration, (application, admin), old.owns_files, witness);
    Ok(listeners?)
}

/// The right to be the only daemon on the store. One that steps down has let go of it before it said so. Where an application waits for the
/// start, a daemon that was faster is waited for, until it answers; and one that is on its way out, until it has let go.
fn take_lock(arguments: &Arguments, configuration: &Configuration) -> Result<StoreLock, Failure> {
    let deadline = Instant::now() + OTHER_READY_WITHIN;
    loop {
        let lock = StoreLock::take(configuration.data_directory());
        let in_use = matches!(lock, Err(DirectoryError::InUse { .. }));
        let waits = in_use && arguments.autostarted && Instant::now() < deadline;
        if !waits || answers(&configuration.socket) {
            return Ok(lock?);
        }
        std::thread::sleep(LOCK_LOOK);
    }
}

/// The same right for a daemon that goes on: the new one, which has failed, may be on its way out still.
fn take_lock_again(configuration: &Configuration) -> Result<StoreLock, Failure> {
    let deadline = Instant::now() + LOCK_WITHIN;
    loop {
        match StoreLock::take(configuration.data_directory()) {
            Err(DirectoryError::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_LOOK);
            }
            taken => return Ok(taken?),
        }
    }
}

/// Ends for good.
fn stop(daemon: &Daemon, acceptor: Acceptor, journal: &FileJournal) -> Result<(), Failure> {
    daemon.notifier.stopping();
    acceptor.stop();
    finish(daemon);
    // A request that was cut off may still hold the journal, so do not count on its being dropped.
    journal.save().map_err(Failure::other)?;
    tracing::info!("strongroomd stopped");
    Ok(())
}

/// Lets running requests finish.
fn finish(daemon: &Daemon) {
    let left = daemon.connections.stop(FINISH_WITHIN);
    if left > 0 {
        tracing::warn!(
            connections = left,
            "requests that did not finish in time are cut off"
        );
    }
}

/// Lets go of everything for the new daemon. Answers None when that has taken over, and the sockets when it has failed.
fn step_down(
    daemon: Arc<Daemon>,
    acceptor: Acceptor,
    journal: Arc<FileJournal>,
    lock: StoreLock,
    successor: Successor,
) -> Result<Option<Listeners>, Failure> {
    let listeners = acceptor.pause().map_err(Failure::other)?;
    finish(&daemon);
    journal.save().map_err(Failure::other)?;
    drop(journal);
    let notifier = daemon.notifier.clone();
    let pid = successor.pid;
    // Threads that have answered their last request let go of the daemon a moment later.
    let deadline = Instant::now() + LOCK_WITHIN;
    while Arc::strong_count(&daemon) > 1 && Instant::now() < deadline {
        std::thread::sleep(LOCK_LOOK);
    }
    let Ok(daemon) = Arc::try_unwrap(daemon) else {
        // A request that was cut off holds the store until this process ends.
        listeners.leave();
        notifier.replaced_by(pid);
        return Ok(None);
    };
    // The new one must not find the store or its lock held.
    drop(daemon);
    drop(lock);
    if !successor.has_taken_over() {
        return Ok(Some(listeners));
    }
    listeners.leave();
    notifier.replaced_by(pid);
    tracing::info!(pid, "replaced by a new daemon");
    Ok(None)
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
    let done = backup::run(work, arguments, configuration).map_err(Failure::other);
    root::hand_over(configuration)?;
    done?;
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
    Sealed(Box<SealedDesk>, Box<Unsealing>),
}

/// Root key, unless it is there already, store and journal; then the token over them, or the desk that waits for the root key.
fn open(
    arguments: &Arguments,
    configuration: &Configuration,
    changes: Option<&Arc<ChangesPage>>,
    measurer: &Arc<Measurer>,
    opening: Option<Opening>,
) -> Result<(Start, Arc<FileJournal>), Failure> {
    let state = match std::fs::metadata(&configuration.store) {
        Ok(state) if state.len() > 0 => StoreState::Present,
        _ => StoreState::Absent,
    };
    let opening = match opening {
        Some(opening) => opening,
        None => configuration.seal.open(state).map_err(Failure::other)?,
    };
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
        measurer: measurer.clone(),
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
            Start::Sealed(Box::new(desk), unsealing)
        }
    };
    Ok((start, journal))
}

fn warn_of_age(service: &Service, state: StoreState) {
    let age = service.freshness();
    let new = age == Freshness::Unknown && state == StoreState::Absent;
    if age != Freshness::Current && !new {
        tracing::warn!("the store is {age}");
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
    Identity::without_clients(configuration)?.assume(configuration, &[])?;
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

/// How long running requests may take after a stop was asked for.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// How long the lock of the store may be held on after its daemon has let go.
const LOCK_WITHIN: Duration = Duration::from_secs(10);
/// Time between two looks at it.
const LOCK_LOOK: Duration = Duration::from_millis(2);
/// How long an autostarted daemon waits for another one.
const OTHER_READY_WITHIN: Duration = Duration::from_secs(8);
