//! The way to the TPM: a device, or a Unix socket with a TPM in software behind it.
//!
//! What lives here: one command out, one answer in, within a limit of time.
//! What must never live here: what commands and answers mean, but for the length in their head.
//! Who calls it: the client of the TPM.
//!
//! A device is written and read without a limit of our own: the kernel's driver has one for each command.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use strongroom_keymem::SecretVec;

use super::TpmAddress;
use super::error::TpmError;
use crate::system;

pub(super) struct Channel {
    stream: Stream,
    path: PathBuf,
    patience: Duration,
    broken: bool,
}

enum Stream {
    Device(File),
    Socket(UnixStream),
}

impl Channel {
    pub(super) fn open(address: &TpmAddress) -> Result<Self, TpmError> {
        let path = address.path.clone();
        let patience = address.patience;
        let failed = |error: io::Error| {
            named(&path, &error).unwrap_or_else(|| TpmError::Absent {
                path: path.clone(),
                error,
            })
        };
        let kind = std::fs::metadata(&path).map_err(failed)?.file_type();
        let stream = if kind.is_socket() {
            Stream::Socket(system::connect_within(&path, patience).map_err(failed)?)
        } else if kind.is_char_device() {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY);
            Stream::Device(options.open(&path).map_err(failed)?)
        } else {
            return Err(TpmError::NoDevice { path });
        };
        Ok(Self {
            stream,
            path,
            patience,
            broken: false,
        })
    }

    /// Did an exchange fail, so that the next answer might be that of an earlier command?
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Sends a whole command and reads the whole answer to it.
    pub(super) fn exchange(&mut self, command: &[u8]) -> Result<SecretVec, TpmError> {
        if self.broken {
            return Err(TpmError::Garbled("an earlier exchange failed"));
        }
        let deadline = Instant::now() + self.patience;
        let answer = self.send(command, deadline).and_then(|()| {
            let mut answer = SecretVec::with_capacity(ANSWER_BYTES_MAX)?;
            let filled = self.receive(answer.grow(ANSWER_BYTES_MAX)?, deadline)?;
            answer.truncate(filled);
            Ok(answer)
        });
        self.broken = answer.is_err();
        answer
    }

    fn send(&mut self, command: &[u8], deadline: Instant) -> Result<(), TpmError> {
        let sent = match &mut self.stream {
            // In one piece: the driver takes each write for a whole command.
            Stream::Device(device) => device.write_all(command),
            Stream::Socket(socket) => remaining(deadline).and_then(|left| {
                socket.set_write_timeout(Some(left))?;
                socket.write_all(command)
            }),
        };
        sent.map_err(|error| self.failed(error))
    }

    /// Reads until the length in the head is reached, and tells how much there is.
    fn receive(&mut self, room: &mut [u8], deadline: Instant) -> Result<usize, TpmError> {
        let (mut filled, mut whole) = (0, HEAD_BYTES);
        while filled < whole {
            let rest = room.get_mut(filled..).unwrap_or_default();
            match self.read(rest, deadline) {
                Ok(0) => return Err(TpmError::Garbled("it hung up in the middle of an answer")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
            if let Some(length) = room.get(2..6).filter(|_| filled >= HEAD_BYTES) {
                let length = length
                    .iter()
                    .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
                if !(HEAD_BYTES..=ANSWER_BYTES_MAX).contains(&length) || filled > length {
                    return Err(TpmError::Garbled("the length of an answer is impossible"));
                }
                whole = length;
            }
        }
        Ok(filled)
    }

    fn read(&mut self, room: &mut [u8], deadline: Instant) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Device(device) => device.read(room),
            Stream::Socket(socket) => {
                socket.set_read_timeout(Some(remaining(deadline)?))?;
                socket.read(room)
            }
        }
    }

    fn failed(&self, error: io::Error) -> TpmError {
        named(&self.path, &error).unwrap_or_else(|| TpmError::Io {
            path: self.path.clone(),
            error,
        })
    }
}

/// The failures that mean the same at every step.
fn named(path: &Path, error: &io::Error) -> Option<TpmError> {
    let kind = error.kind();
    if kind == io::ErrorKind::ResourceBusy {
        return Some(TpmError::Busy { path: path.into() });
    }
    [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut]
        .contains(&kind)
        .then(|| TpmError::Silent { path: path.into() })
}

/// What is left of the time, which std wants to be more than nothing.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

/// Tag, length and code.
pub(super) const HEAD_BYTES: usize = 10;
/// The longest answer of the TPMs there are (TPM_PT_MAX_RESPONSE_SIZE).
const ANSWER_BYTES_MAX: usize = 4096;
