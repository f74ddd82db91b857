//! Frames on a connection, in locked memory.
//!
//! What lives here: reading a frame into a buffer that is used again, and writing an answer with one call.
//! What must never live here: what a payload means.
//! Who calls it: connections of both sockets.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom::service::Answered;
use strongroom_keymem::{OutOfMemory, SecretVec, wipe};
use strongroom_ring::{Bell, ServerEnd, Writer};
use strongroom_wire::codec::{CodecError, Sink};
use strongroom_wire::frame::{self, Door, FrameError, HEADER_BYTES};

use crate::system;
use crate::turns::{Load, Place};

/// Why no further frame comes or goes.
#[derive(Debug)]
pub enum End {
    /// The other end closed the connection between two frames.
    Closed,
    /// The other end closed the connection within a frame.
    Cut,
    /// The header is wrong.
    Frame(FrameError),
    /// The first frame did not come in time, or the rest of one that had begun.
    Late,
    /// Nothing has come for as long as an idle connection may be there; it still stands.
    Idle,
    /// No locked memory is left.
    Memory,
    /// The payload is no message, or could not be recorded.
    Refused,
    /// The system says.
    Io(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(out, "closed"),
            Self::Cut => write!(out, "closed within a frame"),
            Self::Frame(error) => write!(out, "{error}"),
            Self::Late => write!(out, "a frame did not come in time"),
            Self::Idle => write!(out, "idle"),
            Self::Memory => write!(out, "no locked memory is left"),
            Self::Refused => write!(out, "the message is malformed, or could not be recorded"),
            Self::Io(error) => write!(out, "{error}"),
        }
    }
}

impl From<OutOfMemory> for End {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

/// Until when a frame may come.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// For ever: an application may be idle.
    Endless,
    /// For ever, but [`End::Idle`] tells when nothing has come for so long.
    Idle(Duration),
    /// Until then: a connection that says nothing holds a place that others want.
    Until(Instant),
}

/// What comes in.
#[derive(Debug)]
pub struct Incoming {
    door: Door,
    /// Room for a frame; as long as its capacity, so that a read can go anywhere.
    room: SecretVec,
    /// Bytes that have come.
    filled: usize,
    terms: Terms,
    /// The room that a large frame takes of what its user may have.
    load: Option<Load>,
    /// The timeout that the socket has.
    timeout: Option<Duration>,
}

/// Bounds of the frames of one connection.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Where large frames find room; none for administration, and before a greeting.
    pub place: Option<Arc<Place>>,
    /// Longest payload in bytes.
    pub payload_bytes_max: usize,
    /// How long a frame that has begun may take.
    pub whole_within: Duration,
}

impl Incoming {
    /// An empty one.
    ///
    /// # Errors
    /// [`OutOfMemory`] of locked memory.
    pub fn new(door: Door, terms: Terms) -> Result<Self, OutOfMemory> {
        Ok(Self {
            door,
            room: small_room()?,
            filled: 0,
            terms,
            load: None,
            timeout: None,
        })
    }

    /// Takes the terms of the frames that follow.
    pub fn agree(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// Waits for a whole frame; tells the length of its payload. `stopping` says when waiting for room makes no sense any more.
    ///
    /// # Errors
    /// [`End`]: the connection must be closed, but for [`End::Idle`].
    pub fn receive(
        &mut self,
        socket: &UnixStream,
        patience: Patience,
        stopping: &dyn Fn() -> bool,
    ) -> Result<usize, End> {
        while self.filled == 0 {
            self.read(socket, patience)?;
        }
        // What came with the first bytes is nearly always all; for the rest there is a time.
        let mut rest = patience;
        if !matches!(patience, Patience::Until(_)) {
            rest = Patience::Until(Instant::now() + self.terms.whole_within);
        }
        while self.filled < HEADER_BYTES {
            self.read(socket, rest)?;
        }
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&self.room.expose()[..HEADER_BYTES]);
        let payload_bytes = frame::parse_header(self.door, header)?;
        if payload_bytes > self.terms.payload_bytes_max {
            let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
            return Err(End::Frame(FrameError::TooLong(length)));
        }
        let total = HEADER_BYTES + payload_bytes;
        if total > FIRST_STEP_BYTES && self.load.is_none() {
            self.load = self.find_room(total, stopping)?;
        }
        while self.filled < total {
            if self.filled == self.room.len() {
                self.make_room(total)?;
            }
            self.read(socket, rest)?;
        }
        Ok(payload_bytes)
    }

    /// Room for all of a large frame before any of it is read, so that no two frames wait for each other half read.
    fn find_room(&self, total: usize, stopping: &dyn Fn() -> bool) -> Result<Option<Load>, End> {
        let Some(place) = &self.terms.place else {
            return Ok(None);
        };
        let load = place.load(total, stopping);
        load.map(Some).ok_or(End::Closed)
    }

    /// The payload of the frame that was received.
    #[must_use]
    pub fn payload(&self, payload_bytes: usize) -> &[u8] {
        &self.room.expose()[HEADER_BYTES..HEADER_BYTES + payload_bytes]
    }

    /// Wipes the frame; what came behind it stays.
    ///
    /// # Errors
    /// [`OutOfMemory`] of locked memory.
    pub fn consume(&mut self, payload_bytes: usize) -> Result<(), OutOfMemory> {
        let total = HEADER_BYTES + payload_bytes;
        let behind = self.filled - total;
        self.room.expose_mut().copy_within(total..self.filled, 0);
        wipe(&mut self.room.expose_mut()[behind..self.filled]);
        self.filled = behind;
        self.load = None;
        if behind == 0 && self.room.len() > KEPT_BYTES_MAX {
            give_back(&mut self.room);
            self.room = small_room()?;
        }
        Ok(())
    }

    /// A length in a header is an allegation. Room grows with what has really come: to twice of it, or to a moderate size.
    fn make_room(&mut self, total: usize) -> Result<(), OutOfMemory> {
        let target = total.min((2 * self.filled).max(FIRST_STEP_BYTES));
        self.room.grow(target - self.room.len())?;
        Ok(())
    }

    fn read(&mut self, mut socket: &UnixStream, patience: Patience) -> Result<(), End> {
        let timeout = match patience {
            Patience::Endless => None,
            Patience::Idle(bound) => Some(bound),
            Patience::Until(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left < Duration::from_millis(1) {
                    return Err(End::Late);
                }
                Some(left)
            }
        };
        if timeout != self.timeout {
            socket.set_read_timeout(timeout).map_err(End::Io)?;
            self.timeout = timeout;
        }
        match socket.read(&mut self.room.expose_mut()[self.filled..]) {
            Ok(0) if self.filled == 0 => Err(End::Closed),
            Ok(0) => Err(End::Cut),
            Ok(count) => {
                self.filled += count;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            // A socket with a timeout answers so when the time is over (socket(7), SO_RCVTIMEO).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match patience {
                Patience::Idle(_) => Err(End::Idle),
                Patience::Until(_) | Patience::Endless => Err(End::Late),
            },
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && self.filled == 0 => {
                Err(End::Closed)
            }
            Err(error) => Err(End::Io(error)),
        }
    }
}

/// What goes out.
#[derive(Debug)]
pub struct Outgoing {
    door: Door,
    bytes: SecretVec,
}

impl Outgoing {
    /// An empty one.
    #[must_use]
    pub const fn new(door: Door) -> Self {
        Self {
            door,
            bytes: SecretVec::new(),
        }
    }

    /// A buffer that the payload may be appended to; room for the header stands at its front.
    ///
    /// # Errors
    /// [`OutOfMemory`] of locked memory.
    pub fn begin(&mut self) -> Result<&mut SecretVec, OutOfMemory> {
        self.bytes.clear();
        self.bytes.push_slice(&[0; HEADER_BYTES])?;
        Ok(&mut self.bytes)
    }

    /// Sends what was appended since [`Outgoing::begin`], header and payload with one call, and wipes it.
    ///
    /// # Errors
    /// [`End`]: the connection must be closed.
    pub fn send(&mut self, mut socket: &UnixStream) -> Result<(), End> {
        self.complete()?;
        let sent = socket.write_all(self.bytes.expose()).map_err(lost);
        self.finish();
        sent
    }

    /// As [`Outgoing::send`], with descriptors for the other end.
    ///
    /// # Errors
    /// [`End`]: the connection must be closed.
    pub fn send_with(
        &mut self,
        mut socket: &UnixStream,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), End> {
        self.complete()?;
        let first = system::send_with_descriptors(socket.as_fd(), self.bytes.expose(), descriptors);
        let sent = first
            .and_then(|sent| socket.write_all(self.bytes.expose().get(sent..).unwrap_or_default()))
            .map_err(lost);
        self.finish();
        sent
    }

    /// Publishes an answer in shared memory, or sends it where it does not fit.
    ///
    /// # Errors
    /// [`End`]: the connection must be closed.
    pub fn publish(
        &mut self,
        socket: &UnixStream,
        ring: &mut ServerEnd,
        answered: &Answered,
    ) -> Result<(), End> {
        let mut shared = SharedSink(ring.writer());
        let written = answered.fits(&mut shared).then(|| shared.0.written());
        let bell = ring.answer(written);
        if written.is_none() {
            answered.append_to(self.begin()?).map_err(|_| End::Memory)?;
            return self.send(socket);
        }
        match bell {
            Bell::Silent => Ok(()),
            Bell::Ring => self.ring(socket),
        }
    }

    /// An empty frame: look into the shared memory.
    fn ring(&self, mut socket: &UnixStream) -> Result<(), End> {
        socket
            .write_all(&frame::header(self.door, 0)?)
            .map_err(lost)
    }

    /// Writes the header into its place.
    fn complete(&mut self) -> Result<(), End> {
        let payload_bytes = self.bytes.len().saturating_sub(HEADER_BYTES);
        let header = frame::header(self.door, payload_bytes)?;
        self.bytes.expose_mut()[..HEADER_BYTES].copy_from_slice(&header);
        Ok(())
    }

    /// Wipes what was sent; what a large answer took is given back.
    fn finish(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            give_back(&mut self.bytes);
        }
    }
}

/// A client that is gone is an error here and no signal: Rust programs ignore SIGPIPE.
fn lost(error: io::Error) -> End {
    let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    if gone.contains(&error.kind()) {
        End::Closed
    } else {
        End::Io(error)
    }
}

/// The shared memory as a sink.
struct SharedSink<'r>(Writer<'r>);

impl Sink for SharedSink<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        if self.0.append(bytes) {
            Ok(())
        } else {
            Err(CodecError::Full)
        }
    }
}

fn small_room() -> Result<SecretVec, OutOfMemory> {
    let mut room = SecretVec::with_capacity(SMALL_BYTES)?;
    room.grow(SMALL_BYTES)?;
    Ok(room)
}

fn give_back(bytes: &mut SecretVec) {
    bytes.clear();
    bytes.shrink_to_pool();
    *bytes = SecretVec::new();
}

/// Room of an idle connection: nearly every request fits.
const SMALL_BYTES: usize = 4096;
/// Most that an idle connection keeps, so that a thousand of them do not eat the locked memory. A database page of 16 KiB stays below.
pub const KEPT_BYTES_MAX: usize = 32 << 10;
/// Room that is made for any header at once; beyond it, only for bytes that have come.
const FIRST_STEP_BYTES: usize = 64 << 10;
