//! The daemon while it is sealed.
//!
//! What lives here: what stands in for the daemon until somebody has brought the secrets: its connections, the attempts, the wait.
//! What must never live here: a service; the desk that answers here knows neither token nor key.
//! Who calls it: start-up, between opening the sockets and serving.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strongroom::audit::Principal;
use strongroom::service::{Malformed, SealedDesk, Service};
use strongroom_keymem::SecretVec;
use strongroom_wire::admin::{self, AdminAnswer, AdminRequest, Status};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec;
use strongroom_wire::frame::Door;

use crate::admin::{encode, status_of_process};
use crate::config::{Bounds, Configuration};
use crate::connection::terms;
use crate::connections::{Admitted, Connections};
use crate::daemon::Allowance;
use crate::frames::{End, Incoming, Outgoing, Patience, Terms};
use crate::listener::{Acceptor, Host, Listeners};
use crate::notify::Notifier;
use crate::seal::{SealError, Unsealing};
use crate::system::{self, Signals};

/// What its threads share.
pub struct SealedDaemon {
    desk: SealedDesk,
    configuration: Configuration,
    notifier: Notifier,
    unsealing: Mutex<Unsealing>,
    /// What is told of the unsealing; apart from it, so that nobody waits for the derivation of a key.
    shown: Mutex<admin::Seal>,
    /// Held through an attempt and its pause: one after the other, from however many connections.
    attempt: Mutex<()>,
    /// Made by the attempt that opened the seal, taken by whoever waits for it.
    opened: Mutex<Option<Service>>,
    connections: Arc<Connections>,
    started: Instant,
    log_lines: Mutex<Allowance>,
}

/// How the wait ended.
pub enum Wait {
    /// The seal is open; these sockets have been listening all the time.
    Opened(Box<Service>, Listeners),
    /// The daemon was told to stop.
    Stopped,
}

impl SealedDaemon {
    /// Puts it together.
    #[must_use]
    pub fn new(
        desk: SealedDesk,
        unsealing: Unsealing,
        configuration: Configuration,
        notifier: Notifier,
        started: Instant,
    ) -> Self {
        Self {
            desk,
            configuration,
            notifier,
            shown: Mutex::new(unsealing.report()),
            unsealing: Mutex::new(unsealing),
            attempt: Mutex::default(),
            opened: Mutex::default(),
            connections: Arc::default(),
            started,
            log_lines: Mutex::new(Allowance::new(started)),
        }
    }

    /// What is waited for, in words.
    #[must_use]
    pub fn waits_for(&self) -> String {
        self.shown.lock().waits_for()
    }

    /// Answers status and unsealing until the seal is open.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(self: &Arc<Self>, listeners: Listeners, signals: &Signals) -> io::Result<Wait> {
        let acceptor = Acceptor::start(self, listeners)?;
        self.tell_manager();
        loop {
            match signals.wait()? {
                SIGNAL_OPENED => {
                    let opened = self.opened.lock().take();
                    if let Some(service) = opened {
                        let listeners = acceptor.pause()?;
                        // Whoever was told of an uninitialised token connects again and finds the real ones.
                        self.connections.stop(FINISH_WITHIN);
                        return Ok(Wait::Opened(Box::new(service), listeners));
                    }
                }
                libc::SIGHUP => {
                    tracing::warn!("sealed: the configuration is read again once the seal is open");
                }
                _ => {
                    self.notifier.stopping();
                    acceptor.stop();
                    self.connections.stop(FINISH_WITHIN);
                    return Ok(Wait::Stopped);
                }
            }
        }
    }

    fn tell_manager(&self) {
        self.notifier
            .ready(&format!("sealed, waits for {}", self.waits_for()));
    }

    /// One attempt: a passphrase or a share. The text of a refusal names what is wrong with it.
    fn unseal(&self, secret: &[u8]) -> AdminAnswer {
        let _one_at_a_time = self.attempt.lock();
        if self.opened.lock().is_some() {
            return refused(Rv::FUNCTION_FAILED, "the daemon is unsealed already".into());
        }
        let given = {
            let mut unsealing = self.unsealing.lock();
            let given = unsealing.give(secret);
            *self.shown.lock() = unsealing.report();
            given
        };
        match given {
            Ok(None) => {
                self.tell_manager();
                tracing::info!("sealed: waits for {}", self.waits_for());
                AdminAnswer::Seal(Box::new(self.shown.lock().clone()))
            }
            Ok(Some(root_key)) => match self.desk.open(root_key) {
                Ok(service) => {
                    let mut shown = self.shown.lock().clone();
                    shown.sealed = false;
                    *self.opened.lock() = Some(service);
                    AdminAnswer::Seal(Box::new(shown))
                }
                Err(error) => {
                    tracing::error!("the seal opened, and the store did not: {error}");
                    refused(
                        Rv::DEVICE_ERROR,
                        format!("the seal opened, and {error}; the daemon stays sealed"),
                    )
                }
            },
            Err(error) => {
                tracing::warn!("unsealing refused: {error}");
                thread::sleep(PAUSE_AFTER_WRONG);
                refused(rv_of(&error), error.to_string())
            }
        }
    }

    fn reset(&self) -> AdminAnswer {
        let mut unsealing = self.unsealing.lock();
        unsealing.reset();
        let report = unsealing.report();
        *self.shown.lock() = report.clone();
        drop(unsealing);
        self.tell_manager();
        AdminAnswer::Seal(Box::new(report))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "everything else is refused, also what is added later"
    )]
    fn answered(&self, request: &AdminRequest<'_>) -> AdminAnswer {
        match request {
            AdminRequest::Status => AdminAnswer::Status(Box::new(self.status())),
            AdminRequest::SealShow => AdminAnswer::Seal(Box::new(self.shown.lock().clone())),
            AdminRequest::Unseal { secret } => self.unseal(secret.expose()),
            AdminRequest::UnsealReset => self.reset(),
            AdminRequest::Stop => AdminAnswer::Done,
            _ => refused(
                Rv::DEVICE_ERROR,
                format!(
                    "the daemon is sealed and waits for {}; run: strongroom unseal",
                    self.waits_for()
                ),
            ),
        }
    }

    fn status(&self) -> Status {
        Status {
            sealed: true,
            sealed_until: Some(self.waits_for()),
            ..status_of_process(
                &self.configuration,
                self.started.elapsed(),
                self.connections.count(),
            )
        }
    }

    fn administer_once(
        &self,
        principal: &Principal,
        payload: &[u8],
        out: &mut SecretVec,
    ) -> Result<After, Malformed> {
        let request: AdminRequest<'_> = codec::decode(payload).map_err(|_| Malformed)?;
        let answer = self.answered(&request);
        let opens = matches!(&answer, AdminAnswer::Seal(seal) if !seal.sealed);
        let answer = if opens {
            // The service writes the chain from here on.
            let opened = self.opened.lock();
            let service = opened.as_ref().ok_or(Malformed)?;
            service.administer(principal, &request, Some(answer))?
        } else {
            self.desk.administer(principal, &request, answer)?
        };
        encode(&answer, out)?;
        Ok(match (&request, &answer) {
            (AdminRequest::Stop, AdminAnswer::Done) => After::Stop,
            _ if opens => After::Opened,
            _ => After::GoOn,
        })
    }

    fn terms(&self) -> Terms {
        terms(&self.configuration.bounds)
    }

    fn converse(&self, admitted: &Admitted, principal: &Principal) -> Result<Never, End> {
        let socket = admitted.socket();
        let mut incoming = Incoming::new(Door::Application, self.terms())?;
        let mut outgoing = Outgoing::new(Door::Application);
        let payload_bytes = incoming.receive(socket, first_frame(), &|| admitted.stopping())?;
        let answer = outgoing.begin()?;
        self.desk
            .greet(incoming.payload(payload_bytes), answer)
            .map_err(lost)?;
        outgoing.send(socket)?;
        incoming.consume(payload_bytes)?;
        loop {
            let payload_bytes =
                incoming.receive(socket, Patience::Endless, &|| admitted.stopping())?;
            if admitted.stopping() {
                return Err(End::Closed);
            }
            let answer = outgoing.begin()?;
            self.desk
                .answer(principal, incoming.payload(payload_bytes), answer)
                .map_err(lost)?;
            outgoing.send(socket)?;
            incoming.consume(payload_bytes)?;
        }
    }

    fn administer(&self, admitted: &Admitted, principal: &Principal) -> Result<Never, End> {
        let socket = admitted.socket();
        let mut incoming = Incoming::new(Door::Admin, self.terms())?;
        let mut outgoing = Outgoing::new(Door::Admin);
        let mut patience = first_frame();
        loop {
            let payload_bytes = incoming.receive(socket, patience, &|| admitted.stopping())?;
            patience = Patience::Endless;
            let answer = outgoing.begin()?;
            let after = self
                .administer_once(principal, incoming.payload(payload_bytes), answer)
                .map_err(lost)?;
            incoming.consume(payload_bytes)?;
            let sent = outgoing.send(socket);
            // What was recorded happens even when nobody waits for the answer.
            match after {
                After::GoOn => {}
                After::Stop => system::signal_myself(libc::SIGTERM),
                After::Opened => system::signal_myself(SIGNAL_OPENED),
            }
            sent?;
        }
    }

    fn serve(&self, door: Door, admitted: &Admitted, principal: &Principal) {
        let conversation = || match door {
            Door::Application => self.converse(admitted, principal),
            Door::Admin => self.administer(admitted, principal),
        };
        let end = match catch_unwind(AssertUnwindSafe(conversation)) {
            Ok(Ok(never)) => match never {},
            Ok(Err(end)) => end,
            Err(_) => End::Refused,
        };
        if !matches!(end, End::Closed) && self.allow_log_line() {
            let Principal { uid, pid, .. } = principal;
            tracing::warn!(uid, pid, why = %end, "connection ended");
        }
    }
}

impl Host for SealedDaemon {
    fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    fn bounds(&self) -> Bounds {
        self.configuration.bounds
    }

    fn allow_log_line(&self) -> bool {
        self.log_lines.lock().take(Instant::now())
    }

    fn ends_when_unused(&self) -> Option<Duration> {
        self.configuration.ends_when_unused
    }

    fn ask_to_stop(&self) {
        system::signal_myself(libc::SIGTERM);
    }

    fn begin(self: &Arc<Self>, door: Door, admitted: Admitted, who: Principal) -> io::Result<()> {
        let daemon = Arc::clone(self);
        thread::Builder::new()
            .name(format!("sealed connection {}", admitted.id()))
            .spawn(move || daemon.serve(door, &admitted, &who))?;
        Ok(())
    }
}

/// What a conversation that goes on until it fails answers.
enum Never {}

/// What follows an administrative answer.
enum After {
    GoOn,
    Stop,
    Opened,
}

fn refused(rv: Rv, reason: String) -> AdminAnswer {
    AdminAnswer::Refused { rv, reason }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is wrong with the installation is the device's fault"
)]
fn rv_of(error: &SealError) -> Rv {
    match error {
        SealError::Wrong(_) => Rv::PIN_INCORRECT,
        SealError::Unfit(_) => Rv::ARGUMENTS_BAD,
        SealError::Memory => Rv::DEVICE_MEMORY,
        _ => Rv::DEVICE_ERROR,
    }
}

fn lost(_: Malformed) -> End {
    End::Refused
}

fn first_frame() -> Patience {
    Patience::Until(Instant::now() + FIRST_FRAME_WITHIN)
}

/// Wakes start-up. From outside it means nothing: whether the seal is open does not hang from it.
pub const SIGNAL_OPENED: i32 = libc::SIGUSR1;
/// So that whoever reached the socket cannot try secrets as fast as the machine computes.
const PAUSE_AFTER_WRONG: Duration = Duration::from_millis(100);
/// How long a new connection may be silent.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(5);
/// How long running requests may take once the seal is open.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
