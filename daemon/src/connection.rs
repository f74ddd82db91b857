//! One connection: its thread, its conversation, its end.
//!
//! What lives here: frames in, the token's answers out, until one side ends it; and the catch around it.
//! What must never live here: an answer that the token has not given.
//! Who calls it: the listener, once for each connection.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use strongroom::application::Application;
use strongroom::audit::Principal;
use strongroom::service::{Answered, Malformed, Service};
use strongroom::sink::Locked;
use strongroom_keymem::SecretVec;
use strongroom_ring::{ServerEnd, Waited};
use strongroom_wire::codec;
use strongroom_wire::frame::Door;
use strongroom_wire::response::{Answer, Body, NOT_CARRIED_OUT};

use crate::admin;
use crate::backup::{self, Asker};
use crate::config::Bounds;
use crate::connections::Admitted;
use crate::daemon::Daemon;
use crate::frames::{End, Incoming, KEPT_BYTES_MAX, Outgoing, Patience, Terms};
use crate::listener::Host;
use crate::system;
use crate::turns::Place;

/// Starts the thread of a connection.
///
/// # Errors
/// What the system says when there is no further thread.
pub fn start(
    daemon: &Arc<Daemon>,
    door: Door,
    admitted: Admitted,
    principal: Principal,
) -> io::Result<()> {
    let daemon = Arc::clone(daemon);
    thread::Builder::new()
        .name(format!("connection {}", admitted.id()))
        .stack_size(STACK_BYTES)
        .spawn(move || serve(&daemon, door, &admitted, &principal))?;
    Ok(())
}

fn serve(daemon: &Arc<Daemon>, door: Door, admitted: &Admitted, principal: &Principal) {
    let conversation = || match door {
        Door::Application => converse(daemon, admitted, principal),
        Door::Admin => administer(daemon, admitted, principal),
    };
    // A defect met by one client must not end the service of all others.
    let end = match catch_unwind(AssertUnwindSafe(conversation)) {
        Ok(Ok(never)) => match never {},
        Ok(Err(end)) => end,
        Err(_) => End::Refused,
    };
    let Principal {
        uid,
        pid,
        executable,
        ..
    } = principal;
    let executable = executable.as_str();
    match end {
        End::Closed | End::Idle => {
            tracing::debug!(id = %admitted.id(), uid, pid, "connection closed");
        }
        end @ (End::Cut | End::Frame(_) | End::Late | End::Memory | End::Refused | End::Io(_)) => {
            if daemon.allow_log_line() {
                tracing::warn!(uid, pid, executable, why = %end, "connection ended");
            }
        }
    }
}

/// What a conversation that goes on until it fails answers.
enum Never {}

/// An application's place in the token; left when the connection ends, however it ends.
struct Membership<'s> {
    service: &'s Service,
    application: Arc<Application>,
    place: Arc<Place>,
    /// How long the connection may be idle.
    patience: Patience,
    resting: Cell<bool>,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.service.leave(&self.application);
        // After it, so that in between there seems to be one connection less and not one more.
        if self.resting.get() {
            self.service.rested(&self.application);
        }
    }
}

impl Membership<'_> {
    /// Has a request answered, when it is its turn, and waits as long as the token wants.
    fn answered(&self, admitted: &Admitted, payload: &[u8]) -> Result<Answered, End> {
        let asked = self.service.receive(&self.application, payload);
        let asked = asked.map_err(refused)?;
        pause(admitted, asked.wait())?;
        let _pin_turn = asked.may_stretch_a_pin().then(|| self.place.pin_turn());
        let _turn = self.place.turn();
        let answered = self.service.reply(&self.application, asked);
        answered.map_err(refused)
    }

    /// Nothing has come for long. Where the application has another connection this one ends: no further request is let in, and what
    /// came in this moment is still answered.
    fn rest(&self, admitted: &Admitted) -> Result<(), End> {
        if !self.resting.get() && self.service.may_rest(&self.application) {
            self.resting.set(true);
            let shut = admitted.socket().shutdown(Shutdown::Read);
            shut.map_err(End::Io)?;
        }
        Ok(())
    }
}

/// Waits, unless the client goes or the daemon stops.
fn pause(admitted: &Admitted, wait: Duration) -> Result<(), End> {
    if wait.is_zero() {
        return Ok(());
    }
    match system::hung_up_within(admitted.socket().as_fd(), wait) {
        Ok(false) => Ok(()),
        Ok(true) => Err(End::Closed),
        Err(error) => Err(End::Io(error)),
    }
}

fn converse(daemon: &Daemon, admitted: &Admitted, principal: &Principal) -> Result<Never, End> {
    let service = &daemon.service;
    let socket = admitted.socket();
    let bounds = daemon.configuration().bounds;
    let of_greeting = Terms {
        payload_bytes_max: GREETING_BYTES_MAX,
        ..terms(&bounds)
    };
    let mut incoming = Incoming::new(Door::Application, of_greeting)?;
    let mut outgoing = Outgoing::new(Door::Application);

    let stopping = || admitted.stopping();
    let payload_bytes = incoming.receive(socket, first_frame(), &stopping)?;
    let answer = outgoing.begin()?;
    let (application, shared_memory) = service
        .greet(principal.clone(), incoming.payload(payload_bytes), answer)
        .map_err(refused)?;
    let place = daemon
        .turns
        .place(principal.uid, principal.pid, application.instance);
    let place = Arc::new(place);
    incoming.agree(Terms {
        place: Some(Arc::clone(&place)),
        ..terms(&bounds)
    });
    let member = Membership {
        service,
        place,
        application,
        patience: match bounds.idle_seconds_max {
            0 => Patience::Endless,
            seconds => Patience::Idle(Duration::from_secs(seconds)),
        },
        resting: Cell::new(false),
    };
    // Without shared memory the socket alone does the same, only slower.
    let ring = if shared_memory {
        ServerEnd::create().ok()
    } else {
        None
    };
    let Some((ring, descriptor)) = ring else {
        outgoing.send(socket)?;
        incoming.consume(payload_bytes)?;
        loop {
            answer_frame(&member, admitted, &mut incoming, &mut outgoing)?;
        }
    };
    let mut descriptors = vec![descriptor.as_fd()];
    descriptors.extend(daemon.changes.as_ref().map(|page| page.descriptor()));
    outgoing.send_with(socket, &descriptors)?;
    drop(descriptor);
    incoming.consume(payload_bytes)?;
    converse_in_memory(&member, admitted, ring, &mut incoming, &mut outgoing)
}

/// Reads one frame and answers it on the socket. Tells the length of its payload: an empty one is a bell and has no answer.
fn answer_frame(
    member: &Membership<'_>,
    admitted: &Admitted,
    incoming: &mut Incoming,
    outgoing: &mut Outgoing,
) -> Result<usize, End> {
    let stopping = || admitted.stopping();
    let payload_bytes = loop {
        match incoming.receive(admitted.socket(), member.patience, &stopping) {
            Err(End::Idle) => member.rest(admitted)?,
            other => break other?,
        }
    };
    if payload_bytes > 0 {
        if admitted.stopping() {
            return refuse_politely(admitted, outgoing);
        }
        let answered = member.answered(admitted, incoming.payload(payload_bytes))?;
        answered.append_to(outgoing.begin()?).map_err(refused)?;
        outgoing.send(admitted.socket())?;
    }
    incoming.consume(payload_bytes)?;
    Ok(payload_bytes)
}

/// The conversation through shared memory. Requests that do not fit it still come as frames.
fn converse_in_memory(
    member: &Membership<'_>,
    admitted: &Admitted,
    mut ring: ServerEnd,
    incoming: &mut Incoming,
    outgoing: &mut Outgoing,
) -> Result<Never, End> {
    let mut request = SecretVec::new();
    loop {
        if ring.wait() != Waited::There {
            if answer_frame(member, admitted, incoming, outgoing)? > 0 {
                ring.awake();
            }
            if !ring.has_request() {
                continue;
            }
        }
        if admitted.stopping() {
            return refuse_politely(admitted, outgoing);
        }
        let request_bytes = ring.request_bytes().ok_or(End::Refused)?;
        ring.take(request.grow_unfilled(request_bytes)?);
        let answered = member.answered(admitted, request.expose())?;
        request.clear();
        if request.capacity() > KEPT_BYTES_MAX {
            request = SecretVec::new();
        }
        outgoing.publish(admitted.socket(), &mut ring, &answered)?;
    }
}

/// The daemon is on its way out, and this request came too late for it: its client is told that nothing was carried out, so that it can ask
/// the next daemon.
fn refuse_politely<T>(admitted: &Admitted, outgoing: &mut Outgoing) -> Result<T, End> {
    let refusal = Answer {
        rv: NOT_CARRIED_OUT,
        body: Body::Empty,
    };
    codec::encode(&refusal, &mut Locked(outgoing.begin()?)).map_err(|_| End::Memory)?;
    outgoing.send(admitted.socket())?;
    Err(End::Closed)
}

fn administer(
    daemon: &Arc<Daemon>,
    admitted: &Admitted,
    principal: &Principal,
) -> Result<Never, End> {
    let socket = admitted.socket();
    let terms = terms(&daemon.configuration().bounds);
    let mut incoming = Incoming::new(Door::Admin, terms)?;
    let mut outgoing = Outgoing::new(Door::Admin);
    let mut patience = first_frame();
    let mut imports = admin::import::Imports::new(daemon, principal);
    loop {
        let payload_bytes = incoming.receive(socket, patience, &|| admitted.stopping())?;
        patience = Patience::Endless;
        let asker = Asker {
            daemon,
            admitted,
            principal,
        };
        let payload = incoming.payload(payload_bytes);
        if imports.served(&asker, payload, &mut outgoing)?
            || backup::served(&asker, payload, &mut outgoing)?
            || admin::release::served(&asker, payload, &mut outgoing)?
        {
            incoming.consume(payload_bytes)?;
            continue;
        }
        let answer = outgoing.begin()?;
        let next = admin::answer(daemon, principal, incoming.payload(payload_bytes), answer)
            .map_err(refused)?;
        incoming.consume(payload_bytes)?;
        if next == admin::Next::HandOver {
            hand_over(daemon, socket, &mut outgoing)?;
            continue;
        }
        let sent = outgoing.send(socket);
        // Stopping was recorded: it happens even when nobody waits for the answer.
        if next == admin::Next::Stop {
            daemon.ask_to_stop();
        }
        sent?;
    }
}

/// The answer goes with the sockets. From then on the new daemon speaks on the line.
fn hand_over(daemon: &Daemon, socket: &UnixStream, outgoing: &mut Outgoing) -> Result<(), End> {
    let Some(offer) = daemon.handover.take_offer() else {
        return Err(End::Refused);
    };
    outgoing.send_with(socket, &offer.descriptors())?;
    offer.await_word(&daemon.handover).map_err(End::Io)
}

fn refused(_: Malformed) -> End {
    End::Refused
}

/// The terms of a connection before anything is known of it.
pub(crate) fn terms(bounds: &Bounds) -> Terms {
    Terms {
        place: None,
        payload_bytes_max: bounds.frame_bytes_max,
        whole_within: Duration::from_secs(bounds.frame_seconds_max),
    }
}

fn first_frame() -> Patience {
    Patience::Until(Instant::now() + FIRST_FRAME_WITHIN)
}

/// Longest greeting in bytes: it says who it is and no more, and comes from somebody who is in no line yet.
const GREETING_BYTES_MAX: usize = 64 << 10;
/// How long a new connection may be silent.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(5);
/// Stack of a connection's thread. AWS-LC keeps big numbers on its heap; its post-quantum code wants up to some 150 KiB of stack.
const STACK_BYTES: usize = 512 << 10;
