//! PINs: from a file, from standard input, from the terminal, or made up.
//!
//! What lives here: the ways a PIN may come in, each into memory that is wiped.
//! What must never live here: a PIN as argument or environment variable, where other processes see it.
//! Who calls it: the commands that make tokens, and those that are applications of one.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use zeroize::Zeroizing;

use crate::arguments::PinArguments;
use crate::failure::Failure;
use crate::system::SilentTerminal;

/// A PIN; wiped when dropped.
pub struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Pin({} bytes)", self.0.len())
    }
}

/// The PINs of a new token.
#[derive(Debug)]
pub struct Pins {
    /// That of the security officer.
    pub so: Pin,
    /// Whether it was made up, and must be shown.
    pub so_generated: bool,
    /// That of the user.
    pub user: Option<Pin>,
}

/// Collects the PINs as the arguments say; asks on the terminal for what they do not say.
///
/// # Errors
/// [`Failure::Usage`] when there is nobody to ask; [`Failure::Failed`] when a file cannot be read.
pub fn collect(arguments: &PinArguments) -> Result<Pins, Failure> {
    let (so, so_generated) = match &arguments.so_pin_file {
        _ if arguments.generate_so_pin => (generate()?, true),
        Some(path) => (from_file(path)?, false),
        None => (
            ask_twice(
                "PIN of the security officer",
                "--generate-so-pin or --so-pin-file",
            )?,
            false,
        ),
    };
    let user = match &arguments.pin_file {
        _ if arguments.no_pin => None,
        Some(path) => Some(from_file(path)?),
        None => Some(ask_twice("PIN of the user", "--pin-file or --no-pin")?),
    };
    Ok(Pins {
        so,
        so_generated,
        user,
    })
}

/// The PIN of a user who logs in: from a file, or asked for once.
///
/// # Errors
/// As [`collect`].
pub fn existing(file: Option<&Path>) -> Result<Pin, Failure> {
    known("PIN of the user", "--pin-file", file)
}

/// A PIN that is set already: from a file, or asked for once; `instead` names the options of the file.
///
/// # Errors
/// As [`collect`].
pub fn known(what: &str, instead: &str, file: Option<&Path>) -> Result<Pin, Failure> {
    file.map_or_else(
        || {
            let pin = ask(&terminal(what, instead)?, &format!("{what}: "))?;
            if pin.expose().is_empty() {
                return Err(Failure::Failed(format!("no {what} was given")));
            }
            Ok(pin)
        },
        from_file,
    )
}

/// A PIN that is to be set: from a file, or asked for twice; `instead` names the options of the file.
///
/// # Errors
/// As [`collect`].
pub fn new(what: &str, instead: &str, file: Option<&Path>) -> Result<Pin, Failure> {
    file.map_or_else(|| ask_twice(what, instead), from_file)
}

/// A secret of the seal: from a file, a descriptor, or asked for.
///
/// # Errors
/// As [`collect`].
pub fn secret(
    what: &str,
    file: Option<&Path>,
    descriptor: Option<u16>,
    twice: bool,
) -> Result<Pin, Failure> {
    let instead = "--file or --fd (--passphrase-file or --passphrase-fd for a new one)";
    let descriptor = descriptor.map(|number| Path::new("/proc/self/fd").join(number.to_string()));
    match file.or(descriptor.as_deref()) {
        Some(path) => from_file(path),
        None if twice => ask_twice(what, instead),
        None => known(what, instead, None),
    }
}

/// Makes up a PIN: 128 random bits in letters and digits that are not mistaken for each other.
///
/// # Errors
/// [`Failure::Failed`] when the system has no random bytes.
pub fn generate() -> Result<Pin, Failure> {
    let path = Path::new("/dev/urandom");
    let mut random = Zeroizing::new([0_u8; GENERATED_SYMBOLS]);
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut *random))
        .map_err(|error| Failure::file("read", path, &error))?;
    let mut pin = Zeroizing::new(Vec::with_capacity(
        GENERATED_SYMBOLS + GENERATED_SYMBOLS / 4,
    ));
    for (place, byte) in random.iter().enumerate() {
        if place > 0 && place % 4 == 0 {
            pin.push(b'-');
        }
        // 32 symbols divide 256, so each is as likely as the others.
        pin.push(SYMBOLS[usize::from(*byte) % SYMBOLS.len()]);
    }
    Ok(Pin(pin))
}

fn from_file(path: &Path) -> Result<Pin, Failure> {
    let line = if path == Path::new("-") {
        let standard_input = io::stdin().as_fd().try_clone_to_owned();
        standard_input.and_then(|input| read_line(&mut File::from(input)))
    } else {
        File::open(path).and_then(|mut file| read_line(&mut file))
    };
    let pin = line.map_err(|error| Failure::file("read a secret from", path, &error))?;
    if pin.expose().is_empty() {
        return Err(Failure::Failed(format!(
            "there is no secret in {}",
            path.display()
        )));
    }
    Ok(pin)
}

/// Up to the line feed, byte by byte: whatever comes behind belongs to somebody else, and no buffer keeps a copy.
fn read_line(input: &mut impl Read) -> io::Result<Pin> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let mut byte = Zeroizing::new([0_u8]);
    while input.read(&mut *byte)? == 1 && *byte != *b"\n" {
        if line.len() == LINE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the first line is too long for a secret",
            ));
        }
        line.push(byte[0]);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Pin(line))
}

/// Somebody to ask.
fn terminal(what: &str, instead: &str) -> Result<File, Failure> {
    let nobody = || {
        Failure::Usage(format!(
            "there is no terminal to ask for the {what}; use {instead}"
        ))
    };
    if !io::stdin().is_terminal() {
        return Err(nobody());
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| nobody())
}

fn ask_twice(what: &str, instead: &str) -> Result<Pin, Failure> {
    let terminal = terminal(what, instead)?;
    loop {
        let first = ask(&terminal, &format!("{what}: "))?;
        if first.expose().is_empty() {
            return Err(Failure::Failed(format!(
                "no {what} was given; nothing was made"
            )));
        }
        let second = ask(&terminal, "the same again: ")?;
        if first.expose() == second.expose() {
            return Ok(first);
        }
        tell(&terminal, "They differ. Once more.\n")?;
    }
}

fn ask(terminal: &File, prompt: &str) -> Result<Pin, Failure> {
    tell(terminal, prompt)?;
    let typed = SilentTerminal::new(terminal).and_then(|_silent| typed_line(&mut { terminal }));
    tell(terminal, "\n")?;
    match typed {
        Ok(Some(pin)) => Ok(pin),
        Ok(None) => Err(Failure::Failed("given up; nothing was made".into())),
        Err(error) => Err(Failure::Failed(format!(
            "cannot read from the terminal: {error}"
        ))),
    }
}

/// What is typed up to Enter; None when it was given up.
fn typed_line(terminal: &mut impl Read) -> io::Result<Option<Pin>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let mut byte = Zeroizing::new([0_u8]);
    loop {
        if terminal.read(&mut *byte)? == 0 {
            return Ok(None);
        }
        match byte[0] {
            b'\n' | b'\r' => return Ok(Some(Pin(line))),
            CONTROL_C | CONTROL_D => return Ok(None),
            CONTROL_U => line.clear(),
            BACKSPACE | DELETE => erase_character(&mut line),
            other if line.len() < LINE_BYTES_MAX => line.push(other),
            _ => {}
        }
    }
}

/// A character of UTF-8 may have several bytes; those after the first have the form 10xxxxxx.
fn erase_character(line: &mut Vec<u8>) {
    while let Some(byte) = line.pop() {
        if byte & 0xc0 != 0x80 {
            return;
        }
    }
}

fn tell(mut terminal: &File, text: &str) -> Result<(), Failure> {
    terminal
        .write_all(text.as_bytes())
        .map_err(|error| Failure::Failed(format!("cannot write to the terminal: {error}")))
}

/// Asks a question to be answered with yes or no; false without a terminal.
///
/// # Errors
/// [`Failure::Failed`] when the terminal is gone.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        return Ok(false);
    };
    tell(&terminal, &format!("{question} Type yes to go on: "))?;
    let answer = read_line(&mut &terminal)
        .map_err(|error| Failure::Failed(format!("cannot read from the terminal: {error}")))?;
    Ok(answer.expose() == b"yes")
}

/// 26 symbols of five bits: 130 bits.
const GENERATED_SYMBOLS: usize = 26;
const SYMBOLS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// More than the longest PIN, so that it is the daemon that says it is too long.
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
        typed_line(&mut &keys[..])
            .unwrap()
            .map(|pin| pin.expose().to_vec())
    }

    #[test]
    fn keys_edit_the_line() {
        assert_eq!(typed(b"1234\r").unwrap(), b"1234");
        assert_eq!(typed(b"12x\x7f34\n").unwrap(), b"1234");
        assert_eq!(typed("ä\u{8}b\n".as_bytes()).unwrap(), b"b");
        assert_eq!(typed(b"wrong\x151234\n").unwrap(), b"1234");
        assert_eq!(typed(b"12\x03"), None);
        assert_eq!(typed(b"12\x04"), None);
        assert_eq!(typed(b"12"), None);
    }

    #[test]
    fn two_pins_come_from_one_input() {
        let mut input = &b"first\r\nsecond\nthird"[..];
        for expected in ["first", "second", "third", ""] {
            assert_eq!(read_line(&mut input).unwrap().expose(), expected.as_bytes());
        }
        assert!(read_line(&mut &[b'x'; 2000][..]).is_err());
    }

    #[test]
    fn generated_pins_are_long_and_differ() {
        let (first, second) = (generate().unwrap(), generate().unwrap());
        assert_ne!(first.expose(), second.expose());
        assert_eq!(first.expose().len(), 26 + 6);
        assert!(!format!("{first:?}").contains(std::str::from_utf8(first.expose()).unwrap()));
    }
}
