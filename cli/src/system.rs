//! System calls that std has not.
//!
//! What lives here: every `unsafe` block of the command line, each behind a safe function of a few lines.
//! What must never live here: a decision.
//! Who calls it: the PIN prompt, the tables, the doctor.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

fn outcome(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A terminal that shows nothing of what is typed and passes every key at once; as before when this is dropped.
pub struct SilentTerminal<'t> {
    terminal: &'t File,
    before: libc::termios,
}

impl<'t> SilentTerminal<'t> {
    /// Silences the terminal.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::Other`] kinds when it is no terminal.
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
    outcome(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, &raw const *mode) })
}

/// Lets the kernel forget what it keeps of a file that is on the disk, so that the next read comes from there.
///
/// # Errors
/// What the kernel says.
pub fn forget_cached(file: &File) -> io::Result<()> {
    // SAFETY: posix_fadvise takes four numbers and touches no memory of ours.
    let answer = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    match answer {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Columns of the terminal at standard output, if it is one.
#[must_use]
pub fn terminal_width() -> Option<u16> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel fills one winsize, which lives until the call returns.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(size.ws_col)
}

/// The limit of locked memory in bytes; none when there is no limit.
///
/// # Errors
/// What the kernel says.
pub fn locked_memory_limit() -> io::Result<Option<u64>> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel fills one rlimit, which lives until the call returns.
    outcome(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) })?;
    Ok((limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur))
}

/// Whether the kernel has memfd_secret(2) switched on.
#[must_use]
pub fn has_memfd_secret() -> bool {
    // SAFETY: memfd_secret takes one number and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    match RawFd::try_from(descriptor) {
        Ok(descriptor) if descriptor >= 0 => {
            // SAFETY: the kernel has just made this descriptor for us; it is closed here and used nowhere else.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
            true
        }
        _ => false,
    }
}

/// The user of this process.
#[must_use]
pub fn effective_user() -> u32 {
    // SAFETY: geteuid reads one number and cannot fail.
    unsafe { libc::geteuid() }
}
