//! One connection to the daemon.
//!
//! What lives here: a frame out, a frame in, and what to say when nobody answers.
//! What must never live here: what a question means.
//! Who calls it: every command that asks the daemon.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::codec::{self, CodecError, Sink};
use strongroom_wire::frame::{self, Door, HEADER_BYTES};
use strongroom_wire::socket;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// A connection to the administration socket.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    path: PathBuf,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] says why, and what to do.
    pub fn connect(path: &Path) -> Result<Self, Failure> {
        let socket = socket::connect(path).map_err(|error| {
            Failure::Unreachable(format!(
                "cannot reach the daemon on {}: {}",
                path.display(),
                advice(&error)
            ))
        })?;
        Ok(Self {
            socket,
            path: path.into(),
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the daemon refuses; [`Failure::Unreachable`] when it does not answer.
    pub fn ask(&mut self, request: &AdminRequest<'_>) -> Result<AdminAnswer, Failure> {
        self.send(request)?;
        self.next_answer()
    }

    /// Asks; the answers are taken with [`Client::next_answer`].
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when the daemon is gone.
    pub fn send(&mut self, request: &AdminRequest<'_>) -> Result<(), Failure> {
        // The request may hold PINs and keys: it is measured first, because a buffer that grows leaves copies behind.
        let mut measure = Measure(0);
        codec::encode(request, &mut measure).map_err(|error| self.broken(&error.to_string()))?;
        let header = frame::header(Door::Admin, measure.0)
            .map_err(|error| self.broken(&error.to_string()))?;
        let mut whole = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + measure.0));
        whole.extend_from_slice(&header);
        codec::encode(request, &mut *whole).map_err(|error| self.broken(&error.to_string()))?;
        self.socket
            .write_all(&whole)
            .map_err(|error| self.broken(&error.to_string()))
    }

    /// The next answer to what was asked.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn next_answer(&mut self) -> Result<AdminAnswer, Failure> {
        let answer = self.receive()?;
        let answer = codec::decode(&answer).map_err(|error| self.broken(&error.to_string()))?;
        if let AdminAnswer::Refused { rv, reason } = &answer {
            return Err(Failure::refused(*rv, reason));
        }
        Ok(answer)
    }

    fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header)?;
        let length = frame::parse_header(Door::Admin, header)
            .map_err(|error| self.broken(&error.to_string()))?;
        let mut payload = vec![0; length];
        self.read(&mut payload)?;
        Ok(payload)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        self.socket.read_exact(bytes).map_err(|error| {
            if closed.contains(&error.kind()) {
                self.broken("it closed the connection; its log says why (another version, or a user who may not administer)")
            } else {
                self.broken(&error.to_string())
            }
        })
    }

    fn broken(&self, why: &str) -> Failure {
        Failure::Unreachable(format!(
            "the daemon on {} did not answer: {why}",
            self.path.display()
        ))
    }
}

/// An answer that does not belong to the question.
#[must_use]
pub fn unexpected() -> Failure {
    Failure::Failed("the daemon gave an answer of another kind; install command and daemon from the same release".into())
}

fn advice(error: &io::Error) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "for all other kinds the system's own words are the best")]
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket; start the daemon with: strongroom init (or: strongroomd --daemonize)".into()
        }
        io::ErrorKind::ConnectionRefused => {
            "nobody answers; start the daemon with: strongroom init (or: strongroomd --daemonize)".into()
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied; only root and the daemon's own user may administer".into()
        }
        _ => error.to_string(),
    }
}

/// Counts the bytes of a message and keeps none.
struct Measure(usize);

impl Sink for Measure {
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.0 += bytes.len();
        Ok(())
    }
}
