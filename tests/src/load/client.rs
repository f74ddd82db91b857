//! A client of few lines: one connection, one request at a time.
//!
//! What lives here: frames on a socket, and answers decoded.
//! What must never live here: what is asked.
//! Who calls it: every crowd.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use strongroom_wire::admin::{AdminAnswer, AdminRequest, Status};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec;
use strongroom_wire::frame::{self, Door, HEADER_BYTES};
use strongroom_wire::request::Request;
use strongroom_wire::response::{Answer, Body};

/// Longer than anything honest takes; an answer that is not there then never comes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One connection.
pub struct Client {
    /// Its socket.
    pub socket: UnixStream,
    door: Door,
    frame: Vec<u8>,
    payload: Vec<u8>,
}

impl Client {
    /// Connects, and says nothing yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(path: &Path, door: Door) -> Result<Self, String> {
        let socket = UnixStream::connect(path).map_err(|error| format!("connecting: {error}"))?;
        socket
            .set_read_timeout(Some(PATIENCE))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            socket,
            door,
            frame: Vec::new(),
            payload: Vec::new(),
        })
    }

    /// Connects as an application.
    ///
    /// # Errors
    /// What fails.
    pub fn application(path: &Path, instance: [u8; 16]) -> Result<Self, String> {
        let mut client = Self::connect(path, Door::Application)?;
        client.ok(
            "the greeting",
            &Request::Hello {
                instance,
                shared_memory: false,
            },
        )?;
        Ok(client)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// What fails on the way; a refusal is an answer.
    pub fn ask(&mut self, request: &Request<'_>) -> Result<Answer<'_>, String> {
        self.exchange(request)?;
        codec::decode(&self.payload).map_err(|error| format!("an answer that is none: {error}"))
    }

    /// Asks for what must succeed.
    ///
    /// # Errors
    /// What fails, and what was refused.
    pub fn ok(&mut self, what: &str, request: &Request<'_>) -> Result<Body<'_>, String> {
        let answer = self.ask(request)?;
        if answer.rv == Rv::OK {
            Ok(answer.body)
        } else {
            Err(format!("{what}: {}", answer.rv))
        }
    }

    /// Asks the administration.
    ///
    /// # Errors
    /// What fails on the way; a refusal is an answer.
    pub fn administer(&mut self, request: &AdminRequest<'_>) -> Result<AdminAnswer, String> {
        self.exchange(request)?;
        codec::decode(&self.payload).map_err(|error| format!("an answer that is none: {error}"))
    }

    /// How the daemon says it is.
    ///
    /// # Errors
    /// What fails.
    pub fn status(path: &Path) -> Result<Status, String> {
        let mut client = Self::connect(path, Door::Admin)?;
        match client.administer(&AdminRequest::Status) {
            Ok(AdminAnswer::Status(status)) => Ok(*status),
            other => Err(format!("no status: {other:?}")),
        }
    }

    fn exchange(&mut self, message: &impl Serialize) -> Result<(), String> {
        self.frame.clear();
        self.frame.resize(HEADER_BYTES, 0);
        codec::encode(message, &mut self.frame).map_err(|error| error.to_string())?;
        let header = frame::header(self.door, self.frame.len() - HEADER_BYTES)
            .map_err(|error| error.to_string())?;
        self.frame[..HEADER_BYTES].copy_from_slice(&header);
        self.socket
            .write_all(&self.frame)
            .map_err(|error| format!("sending: {error}"))?;
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header)?;
        let length = frame::parse_header(self.door, header)
            .map_err(|error| format!("a header that is none: {error}"))?;
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(length, 0);
        let read = self.read(&mut payload);
        self.payload = payload;
        read
    }

    fn read(&mut self, room: &mut [u8]) -> Result<(), String> {
        self.socket
            .read_exact(room)
            .map_err(|error| format!("no answer: {error}"))
    }
}
