//! Shared memory between one connection's two ends.
//!
//! What lives here: the mapping, the order in which its two ends read and write it ([`ServerEnd`], [`ClientEnd`]), and how long an
//! end spins before it sleeps ([`spin`]); and the page that tells all clients of changes ([`changes`]).
//! What must never live here: what the bytes mean; sockets, which are only told when a bell must be rung.
//! Who calls it: the daemon's connections and the module's.
//!
//! # How it works
//!
//! A page of counters and flags is followed by an area for requests and one for answers. The client writes a request, counts it, and
//! waits for the count of answers to follow. Each end spins for a while, then says that it sleeps and waits on the socket; whoever
//! then finds that flag takes it back and rings: an empty frame on the socket. So a sleeper is rung for exactly once, and the
//! death of either process is the end of the stream, as it is without shared memory.
//!
//! The memory belongs to two processes that do not trust each other. Nothing in it is ever parsed: bytes are copied out first. Its
//! size is sealed by the daemon, so that no client can make it fault by cutting it.

pub mod changes;
mod mapping;
pub mod spin;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use mapping::Mapping;
pub use mapping::{ANSWER_BYTES_MAX, REQUEST_BYTES_MAX};
use spin::Spin;

/// Stands for the length of an answer that is too long for the memory and comes as a frame on the socket.
const ON_SOCKET: u32 = u32::MAX;

/// Whether the other end sleeps and must be rung for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Bell {
    /// An empty frame must be sent.
    Ring,
    /// The other end is awake.
    Silent,
}

/// What an end finds after it has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// What it waits for is there.
    There,
    /// Nothing came: it has said that it sleeps, and must now read the socket.
    Sleep,
    /// It is there, and an empty frame is under way on the socket and must be read first.
    ThereAndRung,
}

/// Writes a message into the memory, part by part.
#[derive(Debug)]
pub struct Writer<'r> {
    mapping: &'r Mapping,
    put: fn(&Mapping, usize, &[u8]) -> bool,
    written: usize,
}

impl Writer<'_> {
    /// Appends bytes; answers whether they fit.
    #[must_use]
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let fits = (self.put)(self.mapping, self.written, bytes);
        if fits {
            self.written += bytes.len();
        }
        fits
    }

    /// Bytes written.
    #[must_use]
    pub const fn written(&self) -> usize {
        self.written
    }
}

/// The daemon's end.
#[derive(Debug)]
pub struct ServerEnd {
    mapping: Mapping,
    /// Requests taken.
    taken: u32,
    /// How long to wait for the next request.
    spin: Spin,
}

/// The module's end.
#[derive(Debug)]
pub struct ClientEnd {
    mapping: Mapping,
    /// Requests published.
    asked: u32,
}

/// What the client finds in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many bytes.
    Here(usize),
    /// It comes as a frame on the socket.
    OnSocket,
    /// The other end breaks the protocol.
    Broken,
}

impl ServerEnd {
    /// Makes the memory; the descriptor is for the other end.
    ///
    /// # Errors
    /// What the system says.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let (mapping, descriptor) = Mapping::create()?;
        Ok((
            Self {
                mapping,
                taken: 0,
                spin: Spin::new(spin::LONGEST_FOR_REQUESTS),
            },
            descriptor,
        ))
    }

    /// Waits a while for a request; then says that it sleeps.
    pub fn wait(&mut self) -> Waited {
        let control = self.mapping.control();
        let (taken, asked) = (self.taken, &control.asked);
        let alone = control.client_cpu.load(Ordering::Relaxed) == spin::processor();
        if self
            .spin
            .until(alone, || asked.load(Ordering::Acquire) != taken)
        {
            return Waited::There;
        }
        control.server_sleeps.store(1, Ordering::SeqCst);
        if control.asked.load(Ordering::SeqCst) == taken {
            return Waited::Sleep;
        }
        if took_back(&control.server_sleeps) {
            Waited::There
        } else {
            Waited::ThereAndRung
        }
    }

    /// Whether a request is there, after the bell.
    #[must_use]
    pub fn has_request(&self) -> bool {
        self.mapping.control().asked.load(Ordering::Acquire) != self.taken
    }

    /// Awake again for another reason than the bell: a frame came on the socket.
    pub fn awake(&self) {
        self.mapping
            .control()
            .server_sleeps
            .store(0, Ordering::SeqCst);
    }

    /// Length of the request that is there, in bytes; none when the client alleges more than there is room for, or more requests than one.
    #[must_use]
    pub fn request_bytes(&self) -> Option<usize> {
        let control = self.mapping.control();
        // A count further ahead would keep this end at work for up to 2³² requests, long after the client is gone.
        if control.asked.load(Ordering::Acquire) != self.taken.wrapping_add(1) {
            return None;
        }
        let alleged = control.request_bytes.load(Ordering::Relaxed);
        usize::try_from(alleged)
            .ok()
            .filter(|bytes| *bytes <= REQUEST_BYTES_MAX)
    }

    /// Takes the request: copies it out, as long as `room`. The client wipes it once it is answered.
    pub fn take(&mut self, room: &mut [u8]) {
        self.mapping.read_request(room);
        self.spin.woken();
        self.taken = self.taken.wrapping_add(1);
    }

    /// Begins an answer.
    #[must_use]
    pub fn writer(&mut self) -> Writer<'_> {
        Writer {
            mapping: &self.mapping,
            put: Mapping::put_answer,
            written: 0,
        }
    }

    /// Publishes the answer that was written, as long as told; without a length it comes as a frame, which must be sent after this.
    pub fn answer(&mut self, written: Option<usize>) -> Bell {
        let control = self.mapping.control();
        let length = written
            .and_then(|bytes| u32::try_from(bytes).ok())
            .unwrap_or(ON_SOCKET);
        control.answer_bytes.store(length, Ordering::Relaxed);
        control
            .server_cpu
            .store(spin::processor(), Ordering::Relaxed);
        control.answered.store(self.taken, Ordering::SeqCst);
        if took_back(&control.client_sleeps) && length != ON_SOCKET {
            Bell::Ring
        } else {
            Bell::Silent
        }
    }
}

impl ClientEnd {
    /// Takes the memory that the daemon has made.
    ///
    /// # Errors
    /// What the system says, or that it is not of the form agreed on.
    pub fn open(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            mapping: Mapping::open(descriptor)?,
            asked: 0,
        })
    }

    /// Begins a request.
    #[must_use]
    pub fn writer(&mut self) -> Writer<'_> {
        Writer {
            mapping: &self.mapping,
            put: Mapping::put_request,
            written: 0,
        }
    }

    /// Publishes the request that was written, as long as told.
    pub fn ask(&mut self, written: usize) -> Bell {
        let control = self.mapping.control();
        let length = u32::try_from(written).unwrap_or(0);
        self.asked = self.asked.wrapping_add(1);
        control.request_bytes.store(length, Ordering::Relaxed);
        control
            .client_cpu
            .store(spin::processor(), Ordering::Relaxed);
        control.asked.store(self.asked, Ordering::SeqCst);
        if took_back(&control.server_sleeps) {
            Bell::Ring
        } else {
            Bell::Silent
        }
    }

    /// Waits a while for the answer; then says that it sleeps.
    pub fn wait(&mut self, spin: &mut Spin) -> Waited {
        let control = self.mapping.control();
        let (asked, answered) = (self.asked, &control.answered);
        let alone = control.server_cpu.load(Ordering::Relaxed) == spin::processor();
        if spin.until(alone, || answered.load(Ordering::Acquire) == asked) {
            return Waited::There;
        }
        control.client_sleeps.store(1, Ordering::SeqCst);
        if control.answered.load(Ordering::SeqCst) != asked {
            return Waited::Sleep;
        }
        if took_back(&control.client_sleeps) {
            Waited::There
        } else {
            Waited::ThereAndRung
        }
    }

    /// Whether the answer is there, after the bell.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.mapping.control().answered.load(Ordering::Acquire) == self.asked
    }

    /// What there is of the answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self.mapping.control().answer_bytes.load(Ordering::Relaxed) {
            ON_SOCKET => Answer::OnSocket,
            length => match usize::try_from(length) {
                Ok(bytes) if bytes <= ANSWER_BYTES_MAX => Answer::Here(bytes),
                _ => Answer::Broken,
            },
        }
    }

    /// The answer where it lies, until it is wiped or the next request is begun.
    #[must_use]
    pub fn look(&self, bytes: usize) -> &[u8] {
        self.mapping.answer_in_place(bytes)
    }

    /// Wipes a request that has been answered, and its answer once that has been read.
    pub fn wipe(&mut self, request_bytes: usize, answer_bytes: usize) {
        self.mapping.wipe_request(request_bytes);
        self.mapping.wipe_answer(answer_bytes);
    }
}

/// Takes a flag back, and tells whether it was set. It is looked at first: an exchange would take its cache line from the other end each time.
fn took_back(flag: &AtomicU32) -> bool {
    flag.load(Ordering::SeqCst) == 1 && flag.swap(0, Ordering::SeqCst) == 1
}
