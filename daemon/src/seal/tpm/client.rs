//! Commands and answers of a TPM.
//!
//! What lives here: the frame of a command with handles, authorisation and parameters; what is loaded in the TPM, and its flushing.
//! What must never live here: what is sealed and why.
//! Who calls it: `objects.rs` and `session.rs`.

use std::time::Duration;

use strongroom_keymem::SecretVec;

use super::TpmAddress;
use super::bytes::{Reader, Writer};
use super::channel::{Channel, HEAD_BYTES};
use super::error::TpmError;
use super::numbers::{
    TPM_CC_FLUSH_CONTEXT, TPM_RC_RETRY, TPM_RC_TESTING, TPM_RC_YIELDED, TPM_RS_PW,
    TPM_ST_NO_SESSIONS, TPM_ST_SESSIONS,
};
use super::session::{Protection, Session};

/// A connection, and what lies in the TPM because of it.
pub(super) struct Tpm {
    channel: Channel,
    loaded: Vec<u32>,
}

/// What a command acts on.
#[derive(Clone, Copy)]
pub(super) struct Handle<'a> {
    pub(super) number: u32,
    /// The name by which the authorisation binds it (Part 1, 16).
    pub(super) name: &'a [u8],
}

/// A command without its parameters.
pub(super) struct Command<'a> {
    pub(super) name: &'static str,
    pub(super) code: u32,
    pub(super) handles: &'a [Handle<'a>],
    pub(super) loads: bool,
}

/// By what a command is allowed.
pub(super) enum Authority<'a> {
    Nothing,
    EmptyPassword,
    Session(&'a mut Session, Protection),
}

/// What came back.
pub(super) struct Answer {
    /// Zero where the command loads nothing.
    pub(super) handle: u32,
    pub(super) parameters: SecretVec,
}

impl Tpm {
    pub(super) fn open(address: &TpmAddress) -> Result<Self, TpmError> {
        Ok(Self {
            channel: Channel::open(address)?,
            loaded: Vec::new(),
        })
    }

    /// Lets the TPM carry out one command.
    pub(super) fn run(
        &mut self,
        command: &Command<'_>,
        mut authority: Authority<'_>,
        mut parameters: Writer,
    ) -> Result<Answer, TpmError> {
        let authorisation = match &mut authority {
            Authority::Nothing => None,
            Authority::EmptyPassword => Some(empty_password()?),
            Authority::Session(session, protection) => {
                Some(session.authorise(command, *protection, parameters.0.expose_mut())?)
            }
        };
        let mut body = Writer::new()?;
        for handle in command.handles {
            body.long(handle.number)?;
        }
        if let Some(authorisation) = &authorisation {
            body.long(length(authorisation.expose())?)?;
            body.raw(authorisation.expose())?;
        }
        body.raw(parameters.expose())?;
        let tag = if authorisation.is_some() {
            TPM_ST_SESSIONS
        } else {
            TPM_ST_NO_SESSIONS
        };
        let mut frame = Writer::new()?;
        frame.short(tag)?;
        frame.long(length(body.expose())?.saturating_add(10))?;
        frame.long(command.code)?;
        frame.raw(body.expose())?;
        let answer = self.until_ready(command, frame.expose())?;
        self.take_apart(command, tag, authority, &answer)
    }

    /// Sends a command, again where the TPM says that it was not begun.
    fn until_ready(&mut self, command: &Command<'_>, frame: &[u8]) -> Result<SecretVec, TpmError> {
        let mut tries = 0;
        loop {
            let answer = self.channel.exchange(frame)?;
            let mut head = Reader::new(answer.expose().get(6..HEAD_BYTES).unwrap_or_default());
            match head.long()? {
                0 => return Ok(answer),
                TPM_RC_RETRY | TPM_RC_YIELDED | TPM_RC_TESTING if tries < TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                code => return Err(TpmError::refused(command.name, command.code, code)),
            }
        }
    }

    fn take_apart(
        &mut self,
        command: &Command<'_>,
        tag: u16,
        authority: Authority<'_>,
        answer: &SecretVec,
    ) -> Result<Answer, TpmError> {
        let mut reader = Reader::new(answer.expose());
        let told = reader.short()?;
        // The length was judged as the answer came, and the code is no refusal.
        reader.raw(HEAD_BYTES - 2)?;
        let handle = if command.loads { reader.long()? } else { 0 };
        if command.loads {
            self.loaded.push(handle);
        }
        if told != tag {
            return Err(TpmError::Garbled(
                "an answer has not the form of its command",
            ));
        }
        let mut parameters = SecretVec::new();
        if tag == TPM_ST_NO_SESSIONS {
            parameters.push_slice(reader.rest())?;
        } else {
            let bytes = usize::try_from(reader.long()?).unwrap_or(usize::MAX);
            parameters.push_slice(reader.raw(bytes)?)?;
            if let Authority::Session(session, protection) = authority {
                session.check(command, protection, parameters.expose_mut(), &mut reader)?;
            } else {
                // A password proves nothing: nonce, attributes and code are empty.
                reader.sized()?;
                reader.byte()?;
                reader.sized()?;
            }
            reader.end()?;
        }
        Ok(Answer { handle, parameters })
    }

    /// Takes one thing out of the TPM.
    fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        let command = Command {
            name: "TPM2_FlushContext",
            code: TPM_CC_FLUSH_CONTEXT,
            handles: &[],
            loads: false,
        };
        let mut parameters = Writer::new()?;
        // A handle that stands among the parameters (Part 3, 28.4).
        parameters.long(handle)?;
        self.run(&command, Authority::Nothing, parameters)?;
        Ok(())
    }
}

impl Drop for Tpm {
    /// A TPM has room for three objects or so: what is left there keeps everybody out.
    fn drop(&mut self) {
        while let Some(handle) = self.loaded.pop() {
            if self.channel.is_broken() {
                // /dev/tpmrm0 cleans up by itself when the connection ends.
                tracing::warn!("the TPM did not answer; what was loaded there may remain");
                return;
            }
            if let Err(error) = self.flush(handle) {
                tracing::warn!(%error, "something loaded in the TPM could not be removed");
            }
        }
    }
}

/// An authorisation by a password that is empty (Part 1, 19.4).
fn empty_password() -> Result<Writer, TpmError> {
    let mut area = Writer::new()?;
    area.long(TPM_RS_PW)?;
    area.sized(&[])?;
    area.byte(0)?;
    area.sized(&[])?;
    Ok(area)
}

fn length(bytes: &[u8]) -> Result<u32, TpmError> {
    u32::try_from(bytes.len()).map_err(|_| TpmError::Memory)
}

/// How often a command is sent again that the TPM did not begin, and how long to wait before: some two seconds, the longest self test.
const TRIES_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);
