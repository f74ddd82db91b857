//! Asking a person at the terminal.
//!
//! What lives here: the passphrase, typed without being shown, into locked memory.
//! What must never live here: a command's arguments or the environment as a way for a secret.
//! Who calls it: the sources for a new passphrase, the unsealing at start, a restore that asks for shares.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};

use strongroom_keymem::SecretVec;

use super::SealError;
use super::passphrase::is_long_enough;
use crate::system::SilentTerminal;

/// The terminal that the daemon was started at.
pub(crate) struct Terminal(File);

impl Terminal {
    /// The terminal, if there is somebody at it: standard input is one.
    pub(crate) fn open() -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
        terminal.ok().map(Self)
    }

    /// What is typed up to Enter.
    pub(crate) fn ask(&mut self, prompt: &str) -> Result<SecretVec, SealError> {
        self.tell(prompt)?;
        let typed = SilentTerminal::new(&self.0)
            .map_err(lost)
            .and_then(|_silent| typed_line(&mut &self.0));
        self.tell("\n")?;
        typed?.ok_or_else(|| SealError::Absent("given up at the terminal".into()))
    }

    /// A new passphrase, typed twice.
    pub(super) fn ask_twice(&mut self) -> Result<SecretVec, SealError> {
        loop {
            let first = self.ask("New passphrase of the root key: ")?;
            if !is_long_enough(first.expose()) {
                self.tell("It needs at least 12 bytes.\n")?;
                continue;
            }
            if first.expose() == self.ask("the same again: ")?.expose() {
                return Ok(first);
            }
            self.tell("They differ. Once more.\n")?;
        }
    }

    /// Shows a text.
    pub(crate) fn tell(&mut self, text: &str) -> Result<(), SealError> {
        self.0.write_all(text.as_bytes()).map_err(lost)
    }
}

fn lost(error: io::Error) -> SealError {
    SealError::Io {
        path: "the terminal".into(),
        error,
    }
}

/// None when it was given up.
fn typed_line(terminal: &mut impl Read) -> Result<Option<SecretVec>, SealError> {
    let mut line = SecretVec::with_capacity(LINE_BYTES_MAX)?;
    let mut byte = SecretVec::with_capacity(1)?;
    byte.grow(1)?;
    loop {
        if terminal.read(byte.expose_mut()).map_err(lost)? == 0 {
            return Ok(None);
        }
        match byte.expose() {
            [b'\n' | b'\r'] => return Ok(Some(line)),
            [CONTROL_C | CONTROL_D] => return Ok(None),
            [CONTROL_U] => line.clear(),
            [BACKSPACE | DELETE] => erase_character(&mut line),
            other if line.len() < LINE_BYTES_MAX => line.push_slice(other)?,
            _ => {}
        }
    }
}

/// A character of UTF-8 may have several bytes; those after the first have the form 10xxxxxx.
fn erase_character(line: &mut SecretVec) {
    let start = line.expose().iter().rposition(|byte| byte & 0xc0 != 0x80);
    line.truncate(start.unwrap_or(0));
}

const LINE_BYTES_MAX: usize = 1024;
const CONTROL_C: u8 = 3;
const CONTROL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CONTROL_U: u8 = 21;
const DELETE: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<Vec<u8>> {
        let config = strongroom_keymem::Config {
            bytes: Some(1 << 20),
            locking: strongroom_keymem::Locking::DangerUnlockedAllowed,
        };
        strongroom_keymem::start(&config).unwrap();
        typed_line(&mut &keys[..])
            .unwrap()
            .map(|line| line.expose().to_vec())
    }

    #[test]
    fn keys_edit_the_line() {
        assert_eq!(typed(b"1234\r").unwrap(), b"1234");
        assert_eq!(typed(b"12x\x7f34\n").unwrap(), b"1234");
        assert_eq!(typed("a\u{e4}\u{8}b\n".as_bytes()).unwrap(), b"ab");
        assert_eq!(typed(b"wrong\x151234\n").unwrap(), b"1234");
        assert_eq!(typed(b"12\x03"), None);
        assert_eq!(typed(b"12"), None);
    }
}
