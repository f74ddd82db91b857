//! The terminal and inherited descriptors.
//!
//! What lives here: silencing a terminal, and a second handle of a descriptor that came with the start.
//! What must never live here: what is typed.
//! Who calls it: the seal, when it asks for a passphrase.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{outcome, owned};

/// A terminal that shows nothing of what is typed and passes every key at once; as before when this is dropped.
pub struct SilentTerminal<'t> {
    terminal: &'t File,
    before: libc::termios,
}

impl<'t> SilentTerminal<'t> {
    /// Silences the terminal.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(terminal: &'t File) -> io::Result<Self> {
        let mut before = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the kernel fills one termios, which lives until the call returns.
        outcome(unsafe { libc::tcgetattr(terminal.as_raw_fd(), before.as_mut_ptr()) })?;
        // SAFETY: tcgetattr has just filled it.
        let before = unsafe { before.assume_init() };
        let mut silent = before;
        // Without ISIG the keys that would kill the process come as characters, so that the terminal is never left silent.
        silent.c_lflag &= !(libc::ECHO | libc::ICANON | libc::ISIG);
        set(terminal, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for SilentTerminal<'_> {
    fn drop(&mut self) {
        // Nothing is left to try when the terminal is gone.
        let _ = set(self.terminal, &self.before);
    }
}

fn set(terminal: &File, mode: &libc::termios) -> io::Result<()> {
    // SAFETY: the kernel reads one termios, which lives until the call returns.
    outcome(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, &raw const *mode) })?;
    Ok(())
}

/// A second handle of a descriptor that came with the start; no program started from here gets it.
///
/// # Errors
/// What the kernel says; there may be no such descriptor.
pub fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl takes three numbers and makes a new descriptor; one that is not open is an error.
    owned(outcome(unsafe {
        libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3)
    })?)
}
