//! The importer's end: a foreign module's process, and the objects that it tells of.
//!
//! What lives here: starting that process, opening what it wraps, and what to say when it dies.
//! What must never live here: the module itself; nothing of it is loaded here.
//! Who calls it: the door for modules.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use strongroom_cli::failure::Failure;
use strongroom_cli::pin::Pin;
use strongroom_crypto::block::{BlockCipher, BlockKey, Cipher, Direction, Mode};
use strongroom_crypto::random;
use strongroom_crypto::wrap::WrapKey;
use strongroom_keymem::{SecretBytes, SecretVec};
use strongroom_wire::ck::{AttributeType as A, MechanismType as M, ObjectClass};
use strongroom_wire::codec;
use strongroom_wire::secret::Secret;

use super::talk::{self, Asked, Told, Wrapped};
use crate::files::ber::Reader;
use crate::files::error::FileError;
use crate::files::key;
use crate::opened::Opened;
use crate::report::{Line, Name};

/// A module to be read.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its path.
    pub module: &'a str,
    /// What it is told when it is initialised.
    pub parameters: Option<&'a str>,
    /// Label or serial number of the token; none takes the only one.
    pub token: Option<&'a str>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Label of the token.
    pub label: String,
    /// Its serial number.
    pub serial_number: String,
    /// Its objects, and where each stood.
    pub objects: Vec<(String, Opened)>,
    /// What stays where it is, and why.
    pub refused: Vec<Line>,
    /// What else is to be said.
    pub notes: Vec<String>,
}

/// Reads a token. `pin` is asked when the token wants one; it is told the token's label.
///
/// # Errors
/// [`Failure`] says what the module did.
pub fn read(
    origin: Origin<'_>,
    pin: impl FnOnce(&str) -> Result<Pin, Failure>,
) -> Result<Harvest, Failure> {
    let transport = SecretBytes::filled_by(TRANSPORT_BYTES, random::fill)
        .map_err(|error| Failure::Failed(format!("no key to wrap with: {error}")))?;
    let process = Process::start(origin.module)?;
    let mut harvest = Harvest::default();
    transport.with(|transport| {
        process.say(&Asked::Open {
            module: origin.module,
            parameters: origin.parameters,
            token: origin.token,
            transport: Secret::new(transport),
        })
    })?;
    let mut pin = Some(pin);
    let mut message = SecretVec::new();
    let mut vendors = 0_u32;
    loop {
        process.hear(&mut message)?;
        let told = codec::decode(message.expose()).map_err(|_| process.nonsense())?;
        match told {
            Told::Token {
                label,
                serial_number,
                wants_pin,
            } => {
                if let Some(pin) = pin.take().filter(|_| wants_pin) {
                    let pin = pin(&label)?;
                    process.say(&Asked::Pin(Secret::new(pin.expose())))?;
                }
                (harvest.label, harvest.serial_number) = (label, serial_number);
            }
            Told::Object {
                attributes,
                arrays,
                wrapped,
                refused,
            } => {
                let mut object = Opened::default();
                for one in attributes {
                    object.push(one.kind, one.value.expose()).map_err(memory)?;
                }
                for (kind, array) in arrays {
                    let values = array.iter().map(|one| (one.kind, one.value.expose()));
                    object.push_array(kind, values).map_err(memory)?;
                }
                if class(&object).is_some_and(|class| class.0 & VENDOR != 0) {
                    vendors += 1;
                } else {
                    let opened = wrapped.map(|wrapped| open(&wrapped, &transport, &mut object));
                    harvest.take(object, refused, opened.unwrap_or(Ok(())));
                }
            }
            Told::Note(note) => harvest.notes.push(note),
            Told::Done => break,
            Told::Failed(why) => return Err(process.failure(&why)),
        }
    }
    if vendors > 0 {
        harvest.notes.push(format!(
            "{vendors} objects of the module's own classes are not brought in, such as the trust that NSS keeps: certificates come without trust"
        ));
    }
    Ok(harvest)
}

impl Harvest {
    fn take(&mut self, object: Opened, refused: Option<String>, opened: Result<(), FileError>) {
        let number = self.objects.len() + self.refused.len() + 1;
        let source = format!("object {number}");
        let why = refused.or_else(|| opened.err().map(|error| error.to_string()));
        match why {
            Some(why) => self
                .refused
                .push(Line::unread(Name::of(&source, &object), why)),
            None => self.objects.push((source, object)),
        }
    }
}

/// Opens a wrapped value, and completes the object with it.
fn open(
    wrapped: &Wrapped<'_>,
    transport: &SecretBytes,
    object: &mut Opened,
) -> Result<(), FileError> {
    let clear = transport.with(|transport| unwrapped(wrapped, transport))?;
    if class(object) == Some(ObjectClass::SECRET_KEY) {
        return Ok(object.push(A::VALUE, clear.expose())?);
    }
    // PKCS#11 3.2, 6.1.7 and its kin: a private key is wrapped as PKCS #8.
    let mut values = Opened::default();
    key::private_key(without_padding(clear.expose())?)?.push_values(&mut values)?;
    for (kind, value) in values.values() {
        // What the source says itself stands as it says it.
        if object.value(kind).is_none_or(<[u8]>::is_empty) {
            object.retain(|one, _| one != kind);
            object.push(kind, value)?;
        }
    }
    Ok(())
}

/// SoftHSM wraps a private key with the zeros that fill its last block.
fn without_padding(clear: &[u8]) -> Result<&[u8], FileError> {
    let key = Reader::of(clear).element()?.whole;
    match clear.get(key.len()..) {
        Some(rest) if rest.iter().all(|byte| *byte == 0) => Ok(key),
        _ => Err(FileError::Malformed("bytes follow behind its end")),
    }
}

fn unwrapped(wrapped: &Wrapped<'_>, transport: &[u8]) -> Result<SecretVec, FileError> {
    let lost = |_| FileError::Malformed("what the module wrapped does not open again");
    let bytes = wrapped.bytes.expose();
    let mut clear = SecretVec::with_capacity(bytes.len())?;
    if M(wrapped.mechanism) == M::AES_CBC_PAD {
        let key = BlockKey::new(BlockCipher::Aes, transport).map_err(lost)?;
        let mode = Mode::CbcPad { iv: &wrapped.iv };
        let mut cipher = Cipher::new(&key, mode, Direction::Decrypt).map_err(lost)?;
        cipher.update(bytes, &mut clear).map_err(lost)?;
        cipher.finish(&mut clear).map_err(lost)?;
        return Ok(clear);
    }
    let key = WrapKey::new(transport).map_err(lost)?;
    if key.kwp_unwrap(bytes, &mut clear).is_ok() {
        return Ok(clear);
    }
    // Decision 10: CKM_AES_KEY_WRAP_PAD is RFC 5649 for some modules, and RFC 3394 over PKCS #7 padding for others. The check value of each
    // tells which it was.
    clear.clear();
    key.kw_unwrap(None, bytes, &mut clear).map_err(lost)?;
    let padding = clear.expose().last().copied().unwrap_or_default();
    let length = clear.len().saturating_sub(usize::from(padding));
    let is_padded =
        (1..=8).contains(&padding) && clear.expose()[length..].iter().all(|byte| *byte == padding);
    if !is_padded {
        return Err(lost(strongroom_crypto::Error::DataInvalid));
    }
    clear.truncate(length);
    Ok(clear)
}

fn class(object: &Opened) -> Option<ObjectClass> {
    let bytes = object.value(A::CLASS)?.try_into().ok()?;
    Some(ObjectClass(u64::from_ne_bytes(bytes)))
}

fn memory(error: crate::unlock::UnlockError) -> Failure {
    Failure::Failed(error.to_string())
}

/// The process in which the module runs; ended when dropped.
struct Process<'a> {
    child: std::cell::RefCell<Child>,
    socket: UnixStream,
    module: &'a str,
}

impl<'a> Process<'a> {
    fn start(module: &'a str) -> Result<Self, Failure> {
        let started = || {
            let (ours, theirs) = UnixStream::pair()?;
            let program = std::env::current_exe()?;
            // Whatever the module prints must not get into the report.
            let voice = io::stderr().as_fd().try_clone_to_owned()?;
            let child = Command::new(program)
                .arg("foreign-module")
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(Stdio::from(voice))
                .spawn()?;
            Ok((ours, child))
        };
        let (socket, child) = started().map_err(|error: io::Error| {
            Failure::Failed(format!("cannot start a process for the module: {error}"))
        })?;
        Ok(Self {
            child: child.into(),
            socket,
            module,
        })
    }

    fn say(&self, asked: &Asked<'_>) -> Result<(), Failure> {
        talk::send(&self.socket, asked).map_err(|error| self.gone(&error))
    }

    fn hear(&self, message: &mut SecretVec) -> Result<(), Failure> {
        talk::receive(&self.socket, message).map_err(|error| self.gone(&error))
    }

    fn failure(&self, why: &str) -> Failure {
        Failure::Failed(format!(
            "the module {}: {}; nothing was changed",
            self.module,
            strongroom_cli::output::printable(why)
        ))
    }

    fn nonsense(&self) -> Failure {
        self.failure(
            "its process says what nobody understands, so it has probably overwritten its memory",
        )
    }

    /// The other end is gone: how it ended says why.
    fn gone(&self, error: &io::Error) -> Failure {
        let status = self.child.borrow_mut().wait();
        self.failure(
            &match status.map(|status| (status.signal(), status.code())) {
                Ok((Some(signal), _)) => format!("it crashed (signal {signal})"),
                Ok((_, Some(code))) => format!("it ended the process (exit code {code})"),
                _ => error.to_string(),
            },
        )
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        let mut child = self.child.borrow_mut();
        // It may have ended already, and then there is nothing to do.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// AES-256.
const TRANSPORT_BYTES: usize = 32;
/// `CKO_VENDOR_DEFINED`.
const VENDOR: u64 = 0x8000_0000;
