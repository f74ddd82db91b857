//! The filter of system calls, handed to the kernel (seccomp(2)).
//!
//! What lives here: one call.
//! What must never live here: what the filter says.
//! Who calls it: the jail.

use std::io;

use super::outcome;

/// One instruction of a filter.
pub type Instruction = libc::sock_filter;

/// Puts a filter on this thread alone, or on every thread of the process at once. It can never be taken off.
///
/// # Errors
/// What the kernel says; also when a thread of the process could not take it.
pub fn install_filter(program: &[Instruction], reach: Reach) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(too_long)?,
        filter: program.as_ptr().cast_mut(),
    };
    let flags = match reach {
        Reach::AllThreads => libc::SECCOMP_FILTER_FLAG_TSYNC,
        Reach::ThisThread => 0,
    };
    // SAFETY: the kernel reads the program, which lives until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match outcome(result.try_into().unwrap_or(0))? {
        0 => Ok(()),
        thread => Err(io::Error::other(format!(
            "thread {thread} runs under another filter"
        ))),
    }
}

/// Which threads a filter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every thread there is, and those to come.
    AllThreads,
    /// The calling thread, and those that it starts.
    ThisThread,
}
