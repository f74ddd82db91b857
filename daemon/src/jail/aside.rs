//! Processes aside: parts of the daemon that may do one thing more than it, and nothing else.
//!
//! What lives here: splitting one off, behind its own filter, with one socket to the daemon.
//! What must never live here: what it answers; a key: it is split off before there is one.
//! Who calls it: witness and measurer.

use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::JailError;
use super::filter::{Argument, Call, Refusal, Rule, Value, assemble};
use crate::system::{self, Capabilities, Reach};

/// What a process aside is.
#[derive(Clone, Copy, Debug)]
pub struct Aside {
    /// Its name among the processes of the machine, at most 15 bytes.
    pub name: &'static CStr,
    /// What it is called in messages.
    pub called: &'static str,
    /// All that it may do; for anything else it is killed.
    pub calls: &'static [&'static [Call]],
    /// How long the daemon waits for an answer.
    pub patience: Duration,
    /// Answers the question about a process.
    pub answer: fn(u32) -> Vec<u8>,
}

impl Aside {
    /// Splits it off; the daemon's end of the socket comes back.
    ///
    /// Call it while the process has one thread and no secret.
    ///
    /// # Errors
    /// [`JailError`].
    pub fn split_off(&self) -> Result<UnixStream, JailError> {
        let failed = |error: io::Error| {
            JailError::new("split a process off", &format!("{}: {error}", self.called))
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_read_timeout(Some(self.patience)).map_err(failed)?;
        if let Some(socket) = system::split_off(OwnedFd::from(theirs), self.name).map_err(failed)? {
            // The socket ends with the daemon, and so does this process; whoever asks finds out by its silence if it could not begin.
            if system::keep_capabilities(Capabilities::SYS_PTRACE).is_ok() && self.confine().is_ok()
            {
                // Not closed by this process: that call need not be among those it may make.
                let socket = ManuallyDrop::new(UnixStream::from(socket));
                let _ = self.serve(&socket);
            }
            system::end_now();
        }
        Ok(ours)
    }

    /// Puts its filter on.
    ///
    /// # Errors
    /// [`JailError`].
    pub fn confine(&self) -> Result<(), JailError> {
        let failed = |error: String| JailError::new("filter the calls of a process", &error);
        assemble(&self.calls.concat(), Refusal::Kill, std::process::id())
            .map_err(|error| failed(format!("{}: {error}", self.called)))
            .and_then(|program| {
                system::install_filter(&program, Reach::AllThreads)
                    .map_err(|error| failed(format!("{}: {error}", self.called)))
            })
    }

    /// Its end: until the daemon's is closed.
    fn serve(&self, mut socket: &UnixStream) -> io::Result<()> {
        loop {
            system::wait_readable(&[socket.as_fd()], None)?;
            let mut process = [0; 4];
            socket.read_exact(&mut process)?;
            let answer = (self.answer)(u32::from_le_bytes(process));
            // An answer too long to be told is none.
            let length = u16::try_from(answer.len()).unwrap_or(0);
            socket.write_all(&length.to_le_bytes())?;
            socket.write_all(&answer[..usize::from(length)])?;
        }
    }
}

/// The daemon's end: asks about a process.
///
/// # Errors
/// What the socket says; then the next answer may be the one to this question, so it must not be asked again.
pub fn ask(mut socket: &UnixStream, process: u32) -> io::Result<Vec<u8>> {
    socket.write_all(&process.to_le_bytes())?;
    let mut length = [0; 2];
    socket.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_le_bytes(length))];
    socket.read_exact(&mut answer)?;
    Ok(answer)
}

/// A call that is allowed.
pub const fn row(number: std::ffi::c_long, name: &'static str, why: &'static str) -> Call {
    Call {
        number,
        name,
        rule: Rule::Allow,
        why,
    }
}

const NOT_EXECUTABLE: &[Argument] = &[Argument {
    index: 2,
    mask: libc::PROT_EXEC as u64,
    values: &[Value::Number(0)],
}];

/// What each of them does: waiting for a question, reading a link, answering, and having memory for it.
#[rustfmt::skip]
pub const CALLS: &[Call] = &[
    row(libc::SYS_ppoll, "ppoll", "waiting for a question"),
    row(libc::SYS_read, "read", "the question"),
    row(libc::SYS_recvfrom, "recvfrom", "the question"),
    row(libc::SYS_write, "write", "the answer"),
    row(libc::SYS_sendto, "sendto", "the answer"),
    row(libc::SYS_readlinkat, "readlinkat", "the path of a program"),
    row(libc::SYS_brk, "brk", "memory for a path"),
    Call { number: libc::SYS_mmap, name: "mmap", rule: Rule::AllowIf(NOT_EXECUTABLE, Refusal::Kill), why: "memory for a path" },
    row(libc::SYS_munmap, "munmap", "memory for a path"),
    row(libc::SYS_mremap, "mremap", "memory for a path"),
    row(libc::SYS_madvise, "madvise", "memory that is given back"),
    row(libc::SYS_getrandom, "getrandom", "the allocator of newer C libraries"),
    row(libc::SYS_restart_syscall, "restart_syscall", "a wait that was interrupted by a stop and goes on"),
    row(libc::SYS_rt_sigreturn, "rt_sigreturn", "the end of a signal handler"),
    row(libc::SYS_exit_group, "exit_group", "the end"),
    #[cfg(target_arch = "x86_64")]
    row(libc::SYS_poll, "poll", "as ppoll"),
    #[cfg(target_arch = "x86_64")]
    row(libc::SYS_readlink, "readlink", "as readlinkat"),
];
