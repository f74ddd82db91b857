//! The witness: a second process that tells which program a client runs, and can do nothing else.
//!
//! What lives here: both sides of that conversation.
//! What must never live here: a key; it is split off before there is one.
//! Who calls it: start-up splits it off, the listener asks it.
//!
//! To see another process's program one must be allowed to look into that process. The daemon may not: Landlock forbids it, and as root it
//! has no capabilities. The witness may, knows nothing, and its filter lets it read a question, read a link, and answer.

use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::JailError;
use super::filter::{Argument, Call, Refusal, Rule, Value, assemble};
use crate::config::{Configuration, Walls};
use crate::system::{self, Capabilities, Reach};

/// The daemon's end.
#[derive(Debug)]
pub struct Witness {
    /// None where there is no jail, and so no need for a witness; or where it has ended.
    asked: Option<UnixStream>,
    jailed: bool,
}

impl Witness {
    /// Splits the witness off.
    ///
    /// Call it while the process has one thread and no secret.
    ///
    /// # Errors
    /// [`JailError`].
    pub fn split_off(configuration: &Configuration) -> Result<Self, JailError> {
        if configuration.walls == Walls::DangerNone {
            return Ok(Self {
                asked: None,
                jailed: false,
            });
        }
        let failed = |error: io::Error| JailError::new("split the witness off", &error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        if let Some(socket) =
            system::split_off(OwnedFd::from(theirs), c"strongroom-eyes").map_err(failed)?
        {
            // The socket ends with the daemon, and so does this process; whoever asks finds out by its silence if it could not begin.
            if system::keep_capabilities(Capabilities::SYS_PTRACE).is_ok() && confine().is_ok() {
                // Not closed by this process: that call is not among those it may make.
                let socket = ManuallyDrop::new(UnixStream::from(socket));
                let _ = testify(&socket);
            }
            system::end_now();
        }
        Ok(Self {
            asked: Some(ours),
            jailed: true,
        })
    }

    /// The program of a process, as far as it may be seen.
    pub fn program(&mut self, process: u32) -> Option<PathBuf> {
        if !self.jailed {
            return std::fs::read_link(link(process)).ok();
        }
        let answer = ask(self.asked.as_mut()?, process);
        if let Err(error) = &answer {
            tracing::error!(%error, "the witness is gone: from here on nobody sees which program a client runs; restart the daemon");
            // An answer that comes late must not be taken for the next one.
            self.asked = None;
        }
        answer.ok().flatten()
    }
}

fn ask(socket: &mut UnixStream, process: u32) -> io::Result<Option<PathBuf>> {
    socket.write_all(&process.to_le_bytes())?;
    let mut length = [0; 2];
    socket.read_exact(&mut length)?;
    let mut path = vec![0; usize::from(u16::from_le_bytes(length))];
    socket.read_exact(&mut path)?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&path));
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// The witness's end: until the daemon's is closed.
fn testify(mut socket: &UnixStream) -> io::Result<()> {
    loop {
        system::wait_readable(&[socket.as_fd()], None)?;
        let mut process = [0; 4];
        socket.read_exact(&mut process)?;
        let path = std::fs::read_link(link(u32::from_le_bytes(process))).unwrap_or_default();
        let path = path.as_os_str().as_bytes();
        let (length, path) = match u16::try_from(path.len()) {
            Ok(length) => (length, path),
            Err(_) => (0, [].as_slice()),
        };
        socket.write_all(&length.to_le_bytes())?;
        socket.write_all(path)?;
    }
}

fn link(process: u32) -> String {
    format!("/proc/{process}/exe")
}

/// Puts the witness's filter on.
///
/// # Errors
/// [`JailError`].
pub fn confine() -> Result<(), JailError> {
    assemble(CALLS, Refusal::Kill, std::process::id())
        .map_err(|error| JailError::new("make the filter of the witness", &error))
        .and_then(|program| {
            system::install_filter(&program, Reach::AllThreads)
                .map_err(|error| JailError::new("filter the calls of the witness", &error))
        })
}

const fn row(number: std::ffi::c_long, name: &'static str, why: &'static str) -> Call {
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

/// All that the witness may do; for anything else it is killed.
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

/// How long a question may take: reading a link takes microseconds, and the listener must not stand still for longer.
const PATIENCE: Duration = Duration::from_secs(2);
