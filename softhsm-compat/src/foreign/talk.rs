//! What the importer and the process of a foreign module say to each other.
//!
//! What lives here: the messages, and frames of bounded length around them.
//! What must never live here: what is done with them.
//! Who calls it: both ends.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};
use strongroom_keymem::SecretVec;
use strongroom_wire::ck::AttributeType;
use strongroom_wire::codec::{self, CodecError, Sink};
use strongroom_wire::request::FlatAttribute;
use strongroom_wire::secret::Secret;

/// What the importer says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Asked<'a> {
    /// First: which module, and which token of it.
    Open {
        /// Its path.
        module: &'a str,
        /// What it is told when it is initialised.
        parameters: Option<&'a str>,
        /// Label or serial number; none takes the only one.
        token: Option<&'a str>,
        /// The AES key under which keys travel that can only be wrapped.
        #[serde(borrow)]
        transport: Secret<'a>,
    },
    /// The PIN, when the token wants one.
    Pin(#[serde(borrow)] Secret<'a>),
}

/// What the module's process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Told<'a> {
    /// The token was found.
    Token {
        /// Its label.
        label: String,
        /// Its serial number.
        serial_number: String,
        /// Whether `Pin` is to come.
        wants_pin: bool,
    },
    /// One object.
    Object {
        /// Its attributes, as far as they can be read.
        #[serde(borrow)]
        attributes: Vec<FlatAttribute<'a>>,
        /// Those that are arrays.
        arrays: Vec<(AttributeType, Vec<FlatAttribute<'a>>)>,
        /// Its value, wrapped.
        wrapped: Option<Wrapped<'a>>,
        /// Why it stays where it is.
        refused: Option<String>,
    },
    /// Something else that a person should know.
    Note(String),
    /// That was all.
    Done,
    /// It cannot be done.
    Failed(String),
}

/// A value under the transport key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Wrapped<'a> {
    /// By which mechanism (`CKM_…`).
    pub mechanism: u64,
    /// The initialisation vector, of the mechanism that has one.
    pub iv: [u8; 16],
    /// The bytes.
    #[serde(borrow)]
    pub bytes: Secret<'a>,
}

/// Sends a message.
///
/// # Errors
/// What the socket says.
pub fn send<T: Serialize>(mut socket: &UnixStream, message: &T) -> io::Result<()> {
    let mut frame = Frame(SecretVec::new());
    codec::encode(message, &mut frame).map_err(io::Error::other)?;
    let length = u32::try_from(frame.0.len())
        .ok()
        .filter(|length| *length <= FRAME_BYTES_MAX)
        .ok_or_else(|| io::Error::other("an object is too big"))?;
    socket.write_all(&length.to_le_bytes())?;
    socket.write_all(frame.0.expose())
}

/// Receives the bytes of a message; they are decoded where they lie.
///
/// # Errors
/// What the socket says; the end of the other process is `UnexpectedEof`.
pub fn receive(mut socket: &UnixStream, payload: &mut SecretVec) -> io::Result<()> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    payload.clear();
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let room = payload.grow(length).map_err(io::Error::other)?;
    socket.read_exact(room)
}

struct Frame(SecretVec);

impl Sink for Frame {
    fn append(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.0.push_slice(bytes).map_err(|_| CodecError::Full)
    }
}

/// An object with values of a megabyte, and some more.
const FRAME_BYTES_MAX: u32 = 4 << 20;
