//! One connection to the daemon.
//!
//! What lives here: a frame out, a frame in, with as few system calls and copies as possible.
//! What must never live here: reconnecting; the pool decides about it.
//! Who calls it: the client.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use strongroom_wire::ck::Rv;
use strongroom_wire::codec;
use strongroom_wire::frame::{self, Door, HEADER_BYTES};
use strongroom_wire::response::{Answer, Body};

use super::{Descriptors, Failure};
use crate::abi::system;
use crate::buffer::WipedBuffer;

/// First length of the buffer for answers: signatures, attributes and small ciphertexts come with one read.
const INCOMING_BYTES: usize = 16 << 10;

/// Memory kept from one call to the next, in bytes; what a larger call took is given back.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// A stream with its two buffers.
pub(super) struct Connection {
    /// The frame to send.
    pub(super) outgoing: WipedBuffer,
    incoming: WipedBuffer,
    registration: Option<usize>,
    descriptors: &'static Descriptors,
    stream: UnixStream,
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
        })
    }

    /// Bounds each wait for the daemon, or lifts the bound.
    pub(super) fn limit(&self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(limit)?;
        self.stream.set_write_timeout(limit)
    }

    /// Sends the frame, and wipes it once it is sent whole.
    pub(super) fn send(&mut self) -> io::Result<()> {
        let mut rest = self.outgoing.bytes();
        while !rest.is_empty() {
            match system::send(self.stream.as_fd(), rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear(KEPT_BYTES_MAX);
        Ok(())
    }

    /// Receives one answer, lets `read` see it, and wipes it.
    pub(super) fn receive<T>(&mut self, read: impl FnOnce(&Answer<'_>) -> T) -> Result<T, Failure> {
        let total = self.receive_frame()?;
        let payload = self
            .incoming
            .bytes()
            .get(HEADER_BYTES..total)
            .unwrap_or_default();
        let outcome = codec::decode::<Answer<'_>>(payload)
            .map(|answer| read(&answer))
            .map_err(|_| Failure::Lost);
        self.wipe_incoming(total);
        outcome
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
            match (&self.stream).read(room) {
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

impl Drop for Connection {
    fn drop(&mut self) {
        // Before the stream closes: the number may be somebody else's the moment it does.
        if let Some(registration) = self.registration {
            self.descriptors.forget(registration);
        }
    }
}

/// Whether an answer is the one to Hello.
pub(super) fn is_welcome(answer: &Answer<'_>) -> bool {
    answer.rv == Rv::OK && matches!(answer.body, Body::Hello { .. })
}
