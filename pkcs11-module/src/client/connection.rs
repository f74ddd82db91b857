//! One connection to the daemon.
//!
//! What lives here: a frame out, a frame in, with as few system calls and copies as possible.
//! What must never live here: reconnecting; the pool decides about it.
//! Who calls it: the client.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use strongroom_ring::spin::{self, Spin};
use strongroom_ring::{self as ring, Bell, ClientEnd, Waited, Writer};
use strongroom_wire::codec::{self, CodecError, Sink};
use strongroom_wire::frame::{self, Door, HEADER_BYTES};
use strongroom_wire::request::Request;
use strongroom_wire::response::Answer;

use super::{Descriptors, Era, Failure};
use crate::abi::system;
use crate::buffer::WipedBuffer;

/// First length of the buffer for answers: signatures, attributes and small ciphertexts come with one read.
const INCOMING_BYTES: usize = 16 << 10;

/// Memory kept from one call to the next, in bytes; what a larger call took is given back.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// A stream with its two buffers.
pub(super) struct Connection {
    /// The frame to send.
    outgoing: WipedBuffer,
    incoming: WipedBuffer,
    registration: Option<usize>,
    descriptors: &'static Descriptors,
    stream: UnixStream,
    /// What came with the greeting, until it is mapped.
    descriptors_received: Vec<OwnedFd>,
    greeted: bool,
    ring: Option<Ring>,
    /// In which era it was opened.
    pub(super) era: Era,
    /// When it was last given back, as [`system::tick`] tells it.
    pub(super) used_at: u64,
}

/// The shared memory, once the daemon has given some.
struct Ring {
    end: ClientEnd,
    /// What has been learnt of waiting, for each kind of request: the first byte of its payload.
    spins: [Spin; 128],
    /// The request under way, when it goes through the memory.
    asked: Option<Asked>,
}

/// A request in shared memory.
#[derive(Clone, Copy)]
struct Asked {
    kind: usize,
    bytes: usize,
}

/// Shared memory as a sink, which notes the first byte: the kind of request.
struct SharedSink<'r> {
    writer: Writer<'r>,
    kind: Option<u8>,
}

impl Sink for SharedSink<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.kind = self.kind.or_else(|| bytes.first().copied());
        if self.writer.append(bytes) {
            Ok(())
        } else {
            Err(CodecError::Full)
        }
    }
}

impl Connection {
    pub(super) fn new(
        stream: UnixStream,
        descriptors: &'static Descriptors,
    ) -> Result<Self, Failure> {
        let incoming = WipedBuffer::zeroed(INCOMING_BYTES).map_err(|_| Failure::Memory)?;
        let registration = descriptors.register(stream.as_raw_fd());
        Ok(Self {
            outgoing: WipedBuffer::new(),
            incoming,
            registration,
            descriptors,
            stream,
            descriptors_received: Vec::new(),
            greeted: false,
            ring: None,
            era: Era::FIRST,
            used_at: 0,
        })
    }

    /// Maps the shared memory that came with the greeting, if any came, and hands over the page of changes that came behind it. What
    /// cannot be mapped is done without.
    pub(super) fn take_shared(&mut self) -> Option<OwnedFd> {
        self.greeted = true;
        let mut descriptors = std::mem::take(&mut self.descriptors_received).into_iter();
        let ring = descriptors.next()?;
        let end = ClientEnd::open(ring.as_fd()).ok()?;
        self.ring = Some(Ring {
            end,
            spins: [Spin::new(spin::LONGEST_FOR_ANSWERS); 128],
            asked: None,
        });
        descriptors.next()
    }

    /// Whether the daemon is still at the other end.
    pub(super) fn is_open(&self) -> bool {
        self.is_open_after(Duration::ZERO)
    }

    /// As [`Self::is_open`], unless its end comes within a moment.
    pub(super) fn is_open_after(&self, moment: Duration) -> bool {
        system::is_open(self.stream.as_fd(), moment)
    }

    /// Bounds each wait for the daemon, or lifts the bound.
    pub(super) fn limit(&self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(limit)?;
        self.stream.set_write_timeout(limit)
    }

    /// Writes a request: into shared memory where there is some and it fits, else as a frame, header and payload in one buffer so that
    /// one system call sends both.
    pub(super) fn write(&mut self, request: &Request<'_>) -> Result<(), Failure> {
        if let Some(ring) = &mut self.ring {
            let mut sink = SharedSink {
                writer: ring.end.writer(),
                kind: None,
            };
            let fits = codec::encode(request, &mut sink).is_ok();
            ring.asked = fits.then(|| Asked {
                kind: usize::from(sink.kind.unwrap_or(0) & 0x7f),
                bytes: sink.writer.written(),
            });
            if fits {
                return Ok(());
            }
        }
        let frame = &mut self.outgoing;
        frame.clear(usize::MAX);
        frame
            .extend(&[0; HEADER_BYTES])
            .map_err(|_| Failure::Memory)?;
        codec::encode(request, frame).map_err(|_| Failure::Memory)?;
        let payload_bytes = frame.bytes().len().saturating_sub(HEADER_BYTES);
        let header =
            frame::header(Door::Application, payload_bytes).map_err(|_| Failure::TooLong)?;
        if let Some(place) = frame.bytes_mut().first_chunk_mut() {
            *place = header;
        }
        Ok(())
    }

    /// Hands over what was written. A daemon that died while it slept is found by the bell, as it is found by the write otherwise: a
    /// sleeper takes no request before it has read a frame.
    pub(super) fn send(&mut self) -> io::Result<()> {
        if let Some(ring) = &mut self.ring
            && let Some(asked) = ring.asked
        {
            if ring.end.ask(asked.bytes) == Bell::Ring {
                let bell = frame::header(Door::Application, 0).map_err(io::Error::other)?;
                send_all(&self.stream, &bell)?;
            }
            return Ok(());
        }
        send_all(&self.stream, self.outgoing.bytes())?;
        self.outgoing.clear(KEPT_BYTES_MAX);
        Ok(())
    }

    /// Receives one answer, lets `read` see it, and wipes it.
    pub(super) fn receive<T>(&mut self, read: impl FnOnce(&Answer<'_>) -> T) -> Result<T, Failure> {
        let asked = self.ring.as_mut().and_then(|ring| ring.asked.take());
        let total = match asked {
            None => self.receive_frame()?,
            Some(asked) => match self.wait_for_memory(asked.kind)? {
                Arrived::Frame(total) => {
                    self.wipe_request(asked.bytes);
                    total
                }
                Arrived::Memory(bytes) => {
                    let ring = self.ring.as_mut().ok_or(Failure::Lost)?;
                    let outcome = seen(ring.end.look(bytes), read);
                    ring.end.wipe(asked.bytes, bytes);
                    return outcome;
                }
            },
        };
        let frame = self.incoming.bytes().get(HEADER_BYTES..total);
        let outcome = seen(frame.unwrap_or_default(), read);
        self.wipe_incoming(total);
        outcome
    }

    /// Waits for the answer to a request in shared memory.
    fn wait_for_memory(&mut self, kind: usize) -> Result<Arrived, Failure> {
        let answer = loop {
            let ring = self.ring.as_mut().ok_or(Failure::Lost)?;
            let spin = ring.spins.get_mut(kind).ok_or(Failure::Lost)?;
            if ring.end.wait(spin) == Waited::There {
                break ring.end.answer();
            }
            // A bell, or an answer that did not fit the memory. The bell may be a late one, for an answer that this end had seen
            // before the daemon came to ring: then it waits on.
            let total = self.receive_frame()?;
            if total > HEADER_BYTES {
                return Ok(Arrived::Frame(total));
            }
            let ring = self.ring.as_mut().ok_or(Failure::Lost)?;
            if ring.end.has_answer() {
                ring.spins.get_mut(kind).ok_or(Failure::Lost)?.woken();
                break ring.end.answer();
            }
        };
        match answer {
            ring::Answer::OnSocket => self.receive_frame().map(Arrived::Frame),
            ring::Answer::Broken => Err(Failure::Lost),
            ring::Answer::Here(bytes) => Ok(Arrived::Memory(bytes)),
        }
    }

    /// Reads until the frame is whole, and tells its length with the header. More than one frame breaks the protocol: answers come
    /// one for each request.
    fn receive_frame(&mut self) -> Result<usize, Failure> {
        let mut filled = 0_usize;
        let mut total = None;
        loop {
            if total == Some(filled) {
                return Ok(filled);
            }
            if total.is_some_and(|total| filled > total) {
                return Err(Failure::Lost);
            }
            let room = self
                .incoming
                .bytes_mut()
                .get_mut(filled..)
                .unwrap_or_default();
            let read = if self.greeted {
                (&self.stream).read(room)
            } else {
                system::receive_with_descriptors(
                    self.stream.as_fd(),
                    room,
                    &mut self.descriptors_received,
                )
            };
            match read {
                Ok(0) => return Err(Failure::Lost),
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Failure::Lost),
            }
            if total.is_none() && filled >= HEADER_BYTES {
                total = Some(self.prepare_payload()?);
            }
        }
    }

    /// Parses the header, and makes room for the payload, which the header bounds.
    fn prepare_payload(&mut self) -> Result<usize, Failure> {
        let header = self
            .incoming
            .bytes()
            .first_chunk()
            .copied()
            .ok_or(Failure::Lost)?;
        let payload = frame::parse_header(Door::Application, header).map_err(|_| Failure::Lost)?;
        let total = HEADER_BYTES.saturating_add(payload);
        self.incoming.lengthen(total).map_err(|_| Failure::Memory)?;
        Ok(total)
    }

    fn wipe_request(&mut self, bytes: usize) {
        if let Some(ring) = &mut self.ring {
            ring.end.wipe(bytes, 0);
        }
    }

    fn wipe_incoming(&mut self, used: usize) {
        if used <= KEPT_BYTES_MAX {
            self.incoming.wipe_first(used);
        } else if let Ok(fresh) = WipedBuffer::zeroed(INCOMING_BYTES) {
            // The large one is wiped as it is dropped.
            self.incoming = fresh;
        } else {
            self.incoming.wipe_first(used);
        }
    }
}

/// Where an answer is.
enum Arrived {
    /// In the buffer for frames, so many bytes with its header.
    Frame(usize),
    /// In shared memory.
    Memory(usize),
}

/// Decodes an answer and lets `read` see it.
fn seen<T>(payload: &[u8], read: impl FnOnce(&Answer<'_>) -> T) -> Result<T, Failure> {
    codec::decode::<Answer<'_>>(payload)
        .map(|answer| read(&answer))
        .map_err(|_| Failure::Lost)
}

fn send_all(stream: &UnixStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match system::send(stream.as_fd(), rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Before the stream closes: the number may be somebody else's the moment it does.
        if let Some(registration) = self.registration {
            self.descriptors.forget(registration);
        }
    }
}
