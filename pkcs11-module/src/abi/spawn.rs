//! Starting the daemon from somebody else's process.
//!
//! What lives here: what the child does between fork and exec, so that nothing of the host reaches the daemon.
//! What must never live here: where the program is, and when it is started.
//! Who calls it: the locator.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::ptr;

/// Starts a program with arguments: no descriptor of the host but /dev/null, its signals reset, in a session of its own.
pub(crate) fn spawn_apart(program: &Path, arguments: &[OsString]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: the closure makes async-signal-safe calls only and takes no lock and no memory, as a child of a process with many
    // threads must until it calls exec.
    unsafe { command.pre_exec(stand_apart) };
    command.spawn()
}

fn stand_apart() -> io::Result<()> {
    // Every descriptor closes at exec and not at once: std reports a failed exec to the parent through one of them.
    // SAFETY: close_range has no preconditions; with this flag it closes nothing yet.
    let marked = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if marked != 0 {
        mark_one_by_one();
    }
    // A host may ignore signals, and what is ignored stays so after exec; the daemon waits for its children.
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action is no function; SIGKILL and SIGSTOP are refused, which does no harm.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is borrowed for writing.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was made by sigemptyset; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
    // A failure means that the child leads a group already, which serves as well.
    // SAFETY: setsid has no preconditions.
    unsafe { libc::setsid() };
    Ok(())
}

/// For kernels before 5.11. Numbers over the bound stay open: no program in the field reaches it before its limit is raised by hand.
fn mark_one_by_one() {
    const NUMBERS_MAX: i32 = 65_536;
    for number in 3..NUMBERS_MAX {
        // SAFETY: fcntl refuses a number that is not open.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Leaves a descriptor open at exec, as careless hosts do.
#[cfg(test)]
pub(crate) fn keep_through_exec(descriptor: &std::os::fd::OwnedFd) {
    let number = std::os::fd::AsRawFd::as_raw_fd(descriptor);
    // SAFETY: the descriptor is open.
    unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
}
