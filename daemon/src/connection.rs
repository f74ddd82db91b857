//! One connection: its thread, its conversation, its end.
//!
//! What lives here: frames in, the token's answers out, until one side ends it; and the catch around it.
//! What must never live here: an answer that the token has not given.
//! Who calls it: the listener, once for each connection.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use strongroom::application::Application;
use strongroom::audit::Principal;
use strongroom::service::{Malformed, Service};
use strongroom_keymem::SecretVec;
use strongroom_ring::{ServerEnd, Waited};
use strongroom_wire::frame::Door;

use crate::admin;
use crate::backup::{self, Asker};
use crate::connections::Admitted;
use crate::daemon::Daemon;
use crate::frames::{End, Incoming, KEPT_BYTES_MAX, Outgoing, Patience};
use crate::listener::Host;

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
        End::Closed => tracing::debug!(id = %admitted.id(), uid, pid, "connection closed"),
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
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.service.leave(&self.application);
    }
}

fn converse(daemon: &Daemon, admitted: &Admitted, principal: &Principal) -> Result<Never, End> {
    let service = &daemon.service;
    let socket = admitted.socket();
    let mut incoming = Incoming::new(Door::Application)?;
    let mut outgoing = Outgoing::new(Door::Application);

    let payload_bytes = incoming.receive(socket, first_frame())?;
    let answer = outgoing.begin()?;
    let (application, shared_memory) = service
        .greet(principal.clone(), incoming.payload(payload_bytes), answer)
        .map_err(refused)?;
    let member = Membership {
        service,
        application,
    };
    socket.set_read_timeout(None).map_err(End::Io)?;
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
    let payload_bytes = incoming.receive(admitted.socket(), Patience::Endless)?;
    if admitted.stopping() {
        return Err(End::Closed);
    }
    if payload_bytes > 0 {
        let answer = outgoing.begin()?;
        let payload = incoming.payload(payload_bytes);
        member
            .service
            .answer(&member.application, payload, answer)
            .map_err(refused)?;
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
            return Err(End::Closed);
        }
        let request_bytes = ring.request_bytes().ok_or(End::Refused)?;
        ring.take(request.grow_unfilled(request_bytes)?);
        let answered = member
            .service
            .reply(&member.application, request.expose())
            .map_err(refused)?;
        request.clear();
        if request.capacity() > KEPT_BYTES_MAX {
            request = SecretVec::new();
        }
        outgoing.publish(admitted.socket(), &mut ring, &answered)?;
    }
}

fn administer(
    daemon: &Arc<Daemon>,
    admitted: &Admitted,
    principal: &Principal,
) -> Result<Never, End> {
    let socket = admitted.socket();
    let mut incoming = Incoming::new(Door::Admin)?;
    let mut outgoing = Outgoing::new(Door::Admin);
    let mut patience = first_frame();
    loop {
        let payload_bytes = incoming.receive(socket, patience)?;
        socket.set_read_timeout(None).map_err(End::Io)?;
        patience = Patience::Endless;
        let asker = Asker {
            daemon,
            admitted,
            principal,
        };
        if backup::served(&asker, incoming.payload(payload_bytes), &mut outgoing)? {
            incoming.consume(payload_bytes)?;
            continue;
        }
        let answer = outgoing.begin()?;
        let next = admin::answer(daemon, principal, incoming.payload(payload_bytes), answer)
            .map_err(refused)?;
        incoming.consume(payload_bytes)?;
        let sent = outgoing.send(socket);
        // Stopping was recorded: it happens even when nobody waits for the answer.
        if next == admin::Next::Stop {
            daemon.ask_to_stop();
        }
        sent?;
    }
}

fn refused(_: Malformed) -> End {
    End::Refused
}

fn first_frame() -> Patience {
    Patience::Until(Instant::now() + FIRST_FRAME_WITHIN)
}

/// How long a new connection may be silent.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(5);
/// Stack of a connection's thread. AWS-LC keeps big numbers on its heap; its post-quantum code wants up to some 150 KiB of stack.
const STACK_BYTES: usize = 512 << 10;
