//! Hostile clients by the million frames, while an honest one works and must not notice.
//!
//! What lives here: the dialogues of the hostile, the honest one beside them, and the judgement.
//! What must never live here: how a frame is spoiled.
//! Who calls it: the program `load`, and a short run in the suite.
//!
//! What is sent depends on the seed and the number of the client alone; the handles that the daemon gives do so in its turn. The hostile work at a
//! token of their own, logged in, so that they come far; wrong PINs are not among what they send, because to lock a token by wrong tries is what the standard lets everybody do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strongroom_wire::ck::{AttributeType, MechanismType, Rv, UserType};
use strongroom_wire::codec;
use strongroom_wire::frame::{self, Door, HEADER_BYTES};
use strongroom_wire::request::{ObjectHandle, Request, SessionHandle};
use strongroom_wire::response::Body;
use strongroom_wire::secret::Secret;

use super::Noise;
use super::application::{Application, RW_SESSION, Token, Work, plain, template};
use super::client::{Client, PATIENCE};
use super::daemon::{self, Daemon, Memory};
use super::frames::{self, Spoiled, World, framed};
use super::latency::Latency;
use super::shared::{self, Shared};
use super::soak::Progress;
use crate::USER_PIN;

/// Private memory may grow by so much: the daemon keeps 16 MiB of large buffers for the next large frames, which come at any time here.
const PRIVATE_MARGIN: u64 = 28 << 20;
/// The number of the request `SlotList`, which is all that it consists of.
const SLOT_LIST: u8 = 2;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Frames in all.
    pub frames: u64,
    /// Hostile clients.
    pub clients: usize,
    /// Where it begins.
    pub seed: u64,
}

/// What became of the frames.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By how they were spoiled.
    pub sent: BTreeMap<Spoiled, u64>,
    /// By what was answered (`CKR_…`).
    pub answers: BTreeMap<u64, u64>,
    /// Connections made.
    pub connections: u64,
    /// Those that the daemon ended.
    pub ended: u64,
    /// Requests in shared memory that got no answer: nothing was asked, or what was told made no sense.
    pub ignored: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// What became of the frames.
    pub tally: Tally,
    /// How long it took.
    pub time: Duration,
    /// How long the honest one's work took.
    pub honest: Latency,
    /// Memory over time.
    pub samples: Vec<(f64, Memory)>,
    /// What is not as it must be; empty is good.
    pub faults: Vec<String>,
}

/// Sends the frames.
///
/// # Errors
/// What could not even be begun; what went wrong stands in the report.
pub fn run(plan: &Plan, progress: Progress<'_>) -> Result<Report, String> {
    let mut daemon = Daemon::start(plan.clients + 64, "none", true)?;
    let socket = daemon.socket();
    let honest = Token::make(&socket, "honest")?;
    let prey = Token::make(&socket, "prey")?;
    let mut worker = Application::open(&socket, &honest, 4, 0, Noise::new(plan.seed, 0))?;
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut report = Report::default();
    let begin = Instant::now();
    thread::scope(|scope| {
        let honest = scope.spawn(|| work(&mut worker, plan.seed, &stop));
        let hostile: Vec<_> = (0..plan.clients as u64)
            .map(|number| {
                let (socket, prey, sent) = (&socket, &prey, &sent);
                scope.spawn(move || {
                    let share = plan.frames.div_ceil(plan.clients as u64);
                    let noise = Noise::new(plan.seed, 1 + number);
                    annoy(socket, prey, share, noise, sent)
                })
            })
            .collect();
        while hostile.iter().any(|client| !client.is_finished()) && !honest.is_finished() {
            thread::sleep(Duration::from_millis(100));
            let seconds = begin.elapsed().as_secs_f64();
            match daemon::memory(daemon.process(), &daemon.admin_socket()) {
                Ok(memory) => report.samples.push((seconds, memory)),
                Err(error) => report.faults.push(error),
            }
            let sent = sent.load(Ordering::Relaxed);
            progress(&format!(
                "{sent} of {} frames in {seconds:.0} s",
                plan.frames
            ));
        }
        for client in hostile {
            match client.join() {
                Ok(Ok(tally)) => report.tally.merge(&tally),
                Ok(Err(error)) => report.faults.push(error),
                Err(_) => report.faults.push("a hostile client panicked".to_owned()),
            }
        }
        stop.store(true, Ordering::Relaxed);
        match honest.join() {
            Ok(Ok(latency)) => report.honest = latency,
            Ok(Err(error)) => report.faults.push(format!("the honest client: {error}")),
            Err(_) => report.faults.push("the honest client panicked".to_owned()),
        }
    });
    report.time = begin.elapsed();
    drop(worker);
    report.faults.extend(left_behind(&daemon));
    report
        .faults
        .extend(daemon::growth(&report.samples, PRIVATE_MARGIN));
    if let Err(ended) = daemon.lives().and_then(|()| daemon.stop()) {
        report.faults.push(ended);
    }
    Ok(report)
}

/// The honest one: any error is the end of it.
fn work(application: &mut Application, seed: u64, stop: &AtomicBool) -> Result<Latency, String> {
    let mut noise = Noise::new(seed, u64::MAX);
    let mut latency = Latency::default();
    while !stop.load(Ordering::Relaxed) {
        let work = match Work::chosen(&mut noise) {
            Work::Login => Work::Sign,
            other => other,
        };
        let begin = Instant::now();
        application
            .work(work)
            .map_err(|error| format!("{work:?} after {}: {error}", latency.count()))?;
        latency.add(begin.elapsed());
    }
    Ok(latency)
}

/// Once everybody is gone, nothing of theirs is left.
fn left_behind(daemon: &Daemon) -> Option<String> {
    let begin = Instant::now();
    loop {
        let status = match Client::status(&daemon.admin_socket()) {
            Ok(status) => status,
            Err(error) => return Some(error),
        };
        // The one that asks is there.
        if status.connections <= 1 && status.sessions == 0 && status.applications == 0 {
            return None;
        }
        if begin.elapsed() > Duration::from_secs(20) {
            return Some(format!(
                "left behind: {} connections, {} applications, {} sessions",
                status.connections, status.applications, status.sessions
            ));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// One hostile client: dialogue after dialogue.
fn annoy(
    socket: &Path,
    prey: &Token,
    share: u64,
    mut noise: Noise,
    sent: &AtomicU64,
) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut before = 0;
    while tally.frames() < share {
        let mut dialogue = Dialogue {
            noise: &mut noise,
            tally: &mut tally,
        };
        dialogue.hold(socket, prey)?;
        sent.fetch_add(tally.frames() - before, Ordering::Relaxed);
        before = tally.frames();
    }
    Ok(tally)
}

struct Dialogue<'d> {
    noise: &'d mut Noise,
    tally: &'d mut Tally,
}

impl Dialogue<'_> {
    fn hold(&mut self, socket: &Path, prey: &Token) -> Result<(), String> {
        self.tally.connections += 1;
        let mut client = Client::connect(socket, Door::Application)?;
        let mut world = World {
            slot: prey.slot,
            session: SessionHandle(1),
            object: ObjectHandle(1),
        };
        if self.noise.once_in(12) {
            return self.end(&client.socket, &world);
        }
        let memory = if self.noise.once_in(8) {
            Some(greet_for_memory(&client.socket, self.noise)?)
        } else {
            greet(&mut client, self.noise)?;
            None
        };
        world.object = settle(&mut client, &world)?;
        if let Some(memory) = memory {
            return self.lie_in_memory(&client.socket, &memory, &world);
        }
        let socket = client.socket;
        socket.set_nonblocking(true).map_err(said)?;
        for _ in 0..=self.noise.below(12) {
            let frames: Vec<(Spoiled, Vec<u8>)> = (0..=self.noise.below(64))
                .map(|_| frames::likely(self.noise, &world))
                .collect();
            let bytes: Vec<u8> = frames
                .iter()
                .flat_map(|(_, payload)| framed(payload))
                .collect();
            let (answers, ended) = exchange(&socket, &bytes, frames.len())?;
            // The one that ended the connection was read, too; what came after it was not.
            let read = answers.len() + usize::from(ended);
            for (spoiled, _) in frames.iter().take(read) {
                self.count(*spoiled);
            }
            self.answered(&answers);
            if ended {
                self.tally.ended += 1;
                return Ok(());
            }
        }
        if self.noise.once_in(2) {
            self.end(&socket, &world)?;
        }
        Ok(())
    }

    /// Sends a frame after which nothing can come.
    fn end(&mut self, socket: &UnixStream, world: &World) -> Result<(), String> {
        socket.set_nonblocking(true).map_err(said)?;
        let (spoiled, bytes) = frames::deadly(self.noise, world);
        let mut written = 0;
        // Shorter than what a socket takes at once.
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match (&*socket).write(rest) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(socket, libc::POLLOUT)?;
                }
                Err(_) => break,
            }
        }
        let _ = socket.shutdown(Shutdown::Write);
        let (answers, _) = exchange(socket, &[], usize::MAX)?;
        self.count(spoiled);
        self.answered(&answers);
        self.tally.ended += 1;
        Ok(())
    }

    fn lie_in_memory(
        &mut self,
        socket: &UnixStream,
        memory: &Shared,
        world: &World,
    ) -> Result<(), String> {
        socket.set_nonblocking(true).map_err(said)?;
        for _ in 0..=self.noise.below(100) {
            let payload = frames::likely(self.noise, world).1;
            memory.write(&payload);
            let length = payload.len() as u32;
            let alleged = match self.noise.below(60) {
                0 => self.noise.draw() as u32,
                1 => 0,
                2 => length + 1 + self.noise.below(50) as u32,
                3 => 16_842_752 + self.noise.below(2) as u32,
                _ => length,
            };
            if self.noise.once_in(40) {
                memory.scribble(self.noise);
            }
            let step = if self.noise.once_in(60) {
                self.noise.below(4) as u32
            } else {
                1
            };
            if memory.publish(alleged, step) || self.noise.once_in(10) {
                let _ = (&*socket).write(&framed(&[]));
            }
            // While it is read.
            if self.noise.once_in(8) {
                memory.write(&self.noise.bytes(40));
            }
            self.count(Spoiled::Shared);
            if !answered_in_memory(socket, memory)? {
                self.tally.ended += 1;
                return Ok(());
            }
            if !memory.is_answered() {
                self.tally.ignored += 1;
            }
        }
        if self.noise.once_in(2) {
            // Farewell: something harmless, and a count as if it had been asked very often.
            memory.write(&[SLOT_LIST]);
            memory.publish(1, u32::MAX - self.noise.below(1000) as u32);
            let _ = (&*socket).write(&framed(&[]));
            self.count(Spoiled::Shared);
            self.tally.ended += 1;
        }
        Ok(())
    }

    fn count(&mut self, spoiled: Spoiled) {
        *self.tally.sent.entry(spoiled).or_default() += 1;
    }

    fn answered(&mut self, answers: &[u64]) {
        for answer in answers {
            *self.tally.answers.entry(*answer).or_default() += 1;
        }
    }
}

fn greet(client: &mut Client, noise: &mut Noise) -> Result<(), String> {
    let mut instance = [0; 16];
    instance.copy_from_slice(&noise.bytes(16));
    let hello = Request::Hello {
        instance,
        shared_memory: false,
    };
    client
        .ok("the greeting of a hostile one", &hello)
        .map(|_| ())
}

/// Greets, and takes the memory that comes with the answer.
fn greet_for_memory(socket: &UnixStream, noise: &mut Noise) -> Result<Shared, String> {
    let mut instance = [0; 16];
    instance.copy_from_slice(&noise.bytes(16));
    let hello = Request::Hello {
        instance,
        shared_memory: true,
    };
    let mut payload = Vec::new();
    codec::encode(&hello, &mut payload).map_err(|error| error.to_string())?;
    (&*socket).write_all(&framed(&payload)).map_err(said)?;
    let mut room = [0; 512];
    let (_, descriptor) = shared::receive(socket, &mut room).map_err(said)?;
    let descriptor = descriptor.ok_or("no shared memory came")?;
    Shared::map(&descriptor).map_err(said)
}

/// A session that is logged in, and a key that lives as long as it.
fn settle(client: &mut Client, world: &World) -> Result<ObjectHandle, String> {
    let session = world.session;
    let open = Request::OpenSession {
        slot: world.slot,
        flags: RW_SESSION,
        session,
    };
    client.ok("C_OpenSession of a hostile one", &open)?;
    let login = Request::Login {
        session,
        user: UserType::USER,
        pin: Secret::new(USER_PIN.as_bytes()),
    };
    client.ok("C_Login of a hostile one", &login)?;
    let mut key = vec![(AttributeType::VALUE_LEN, 32_u64.to_ne_bytes().to_vec())];
    for usage in [
        AttributeType::ENCRYPT,
        AttributeType::DECRYPT,
        AttributeType::SIGN,
        AttributeType::VERIFY,
        AttributeType::WRAP,
        AttributeType::UNWRAP,
        AttributeType::EXTRACTABLE,
    ] {
        key.push((usage, vec![1]));
    }
    let generate = Request::GenerateKey {
        session,
        mechanism: plain(MechanismType::AES_KEY_GEN),
        template: template(&key),
    };
    match client.ok("C_GenerateKey of a hostile one", &generate)? {
        Body::Object(object) => Ok(object),
        _ => Err("C_GenerateKey: another answer".to_owned()),
    }
}

/// Writes all and reads so many answers, or until the daemon hangs up. Answers the return values, and whether it did.
fn exchange(
    socket: &UnixStream,
    bytes: &[u8],
    expected: usize,
) -> Result<(Vec<u64>, bool), String> {
    let (mut written, mut answers) = (0, Vec::new());
    let (mut held, mut chunk) = (Vec::new(), [0; 16_384]);
    while answers.len() < expected {
        let mut moved = false;
        if let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match (&*socket).write(rest) {
                Ok(count) => (written, moved) = (written + count, true),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // What the daemon answered before it hung up is still to be read.
                Err(_) => (written, moved) = (bytes.len(), true),
            }
        }
        match (&*socket).read(&mut chunk) {
            Ok(0) => return Ok((answers, true)),
            Ok(count) => {
                moved = true;
                held.extend_from_slice(&chunk[..count]);
                take_answers(&mut held, &mut answers)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Ok((answers, true));
            }
            Err(error) => return Err(said(error)),
        }
        if !moved {
            let more = if written < bytes.len() {
                libc::POLLOUT
            } else {
                0
            };
            wait(socket, libc::POLLIN | more)?;
        }
    }
    Ok((answers, false))
}

/// Takes whole answers off the front. A daemon that sends what is none is at fault.
fn take_answers(held: &mut Vec<u8>, answers: &mut Vec<u64>) -> Result<(), String> {
    let mut from = 0;
    while let Some(header) = held[from..].first_chunk::<HEADER_BYTES>() {
        let length = frame::parse_header(Door::Application, *header)
            .map_err(|error| format!("the daemon sent a header that is none: {error}"))?;
        let start = from + HEADER_BYTES;
        let Some(payload) = held.get(start..start + length) else {
            break;
        };
        answers.push(return_value(payload)?);
        from = start + length;
    }
    held.drain(..from);
    Ok(())
}

/// The number that an answer begins with: seven bits a byte.
fn return_value(payload: &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for (place, byte) in payload.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("the daemon sent an answer that is none".to_owned())
}

/// Waits a moment for the answer in memory; false when the daemon has hung up.
fn answered_in_memory(socket: &UnixStream, memory: &Shared) -> Result<bool, String> {
    for _ in 0..200 {
        if memory.is_answered() {
            break;
        }
        std::hint::spin_loop();
    }
    if !memory.is_answered() {
        memory.wait();
        poll(socket, libc::POLLIN, 2)?;
    }
    let mut bells = [0; 4096];
    match (&*socket).read(&mut bells) {
        Ok(0) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(said(error)),
    }
}

fn wait(socket: &UnixStream, events: libc::c_short) -> Result<(), String> {
    let limit = i32::try_from(PATIENCE.as_millis()).unwrap_or(i32::MAX);
    if poll(socket, events, limit)? {
        Ok(())
    } else {
        Err("the daemon neither answers nor hangs up".to_owned())
    }
}

fn poll(socket: &UnixStream, events: libc::c_short, limit: i32) -> Result<bool, String> {
    let mut watched = libc::pollfd {
        fd: socket.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one pollfd, which lives until the call returns.
    match unsafe { libc::poll(&raw mut watched, 1, limit) } {
        -1 => Err(std::io::Error::last_os_error().to_string()),
        count => Ok(count > 0),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn said(error: std::io::Error) -> String {
    format!("a hostile client: {error}")
}

impl Tally {
    /// All frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.sent.values().sum()
    }

    fn merge(&mut self, other: &Self) {
        for (spoiled, count) in &other.sent {
            *self.sent.entry(*spoiled).or_default() += count;
        }
        for (answer, count) in &other.answers {
            *self.answers.entry(*answer).or_default() += count;
        }
        self.connections += other.connections;
        self.ended += other.ended;
        self.ignored += other.ignored;
    }
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let tally = &self.tally;
        let frames = tally.frames();
        let rate = frames as f64 / self.time.as_secs_f64().max(0.001);
        let mut text = format!(
            "{frames} frames in {:.1} s, {rate:.0} a second, over {} connections, of which the daemon ended {}\n\nframes by how they were spoiled\n",
            self.time.as_secs_f64(),
            tally.connections,
            tally.ended
        );
        for (spoiled, count) in &tally.sent {
            let _ = writeln!(text, "{count:>12}  {spoiled:?}");
        }
        text.push_str("\nanswers on the socket\n");
        let mut answers: Vec<_> = tally.answers.iter().collect();
        answers.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (answer, count) in answers {
            let _ = writeln!(text, "{count:>12}  {}", Rv(*answer));
        }
        let _ = writeln!(
            text,
            "{:>12}  in shared memory, without an answer",
            tally.ignored
        );
        let _ = write!(
            text,
            "\nthe honest client: {} pieces of work; microseconds p50, p90, p99, p99.9, longest:",
            self.honest.count()
        );
        for time in self.honest.summary() {
            let _ = write!(text, " {time:.0}");
        }
        text.push('\n');
        text.push_str(&daemon::table(&self.samples));
        for fault in &self.faults {
            let _ = writeln!(text, "FAULT: {fault}");
        }
        text
    }
}
