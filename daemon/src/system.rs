//! System calls that std has not.
//!
//! What lives here: every `unsafe` block of the daemon, each behind a safe function of a few lines.
//! What must never live here: a decision. What to call, and what follows from an error, is up to the caller.
//! Who calls it: harden, listener, watch, signals, daemonize, notify; the journal (`mapping`); the jail (`landlock`, `privileges`, `seccomp`,
//! `split`); the seal (`terminal`).

mod connect;
mod landlock;
mod mapping;
mod passing;
mod privileges;
mod seccomp;
mod split;
mod terminal;

use std::ffi::{CString, c_char, c_int};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

pub use connect::connect_within;
pub use landlock::{Handled, Rules, landlock_version, right};
pub use mapping::{FileMapping, Length, has_pages_of_its_own, is_told_by_others, reserve};
pub use passing::receive_with_descriptors;
pub use privileges::{
    Capabilities, User, become_user, capabilities, forbid_unused_resources, keep_capabilities,
    lift_memory_lock_limit, set_groups, user,
};
pub use seccomp::{Instruction, Reach, install_filter};
pub use split::{end_now, split_off};
pub use terminal::{SilentTerminal, duplicate};

fn outcome(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Sets the mask of file modes: nothing is created with more rights than the mask leaves.
pub fn set_file_mode_mask(mask: u32) {
    // SAFETY: umask changes one number of this process and cannot fail.
    unsafe { libc::umask(mask) };
}

/// Neither a core dump nor another process of the same user sees this process's memory (PR_SET_DUMPABLE, prctl(2)).
///
/// # Errors
/// What the kernel says.
pub fn forbid_dumps() -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel reads one rlimit, which lives until the call returns.
    outcome(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) })?;
    // SAFETY: PR_SET_DUMPABLE takes one number and touches no memory of ours.
    outcome(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    Ok(())
}

/// No program started from here gains rights by a set-user-id bit (PR_SET_NO_NEW_PRIVS, prctl(2)).
///
/// # Errors
/// What the kernel says.
pub fn forbid_new_privileges() -> io::Result<()> {
    // SAFETY: PR_SET_NO_NEW_PRIVS takes one number and touches no memory of ours.
    outcome(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    Ok(())
}

/// Raises the limit of open files to what the system allows, and tells it.
///
/// # Errors
/// What the kernel says.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit, which lives until the call returns.
    outcome(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one rlimit, which lives until the call returns.
    outcome(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// Large allocations go back to the system when they are freed.
///
/// glibc otherwise learns from the first comparison of a PIN, which takes and frees 16 MiB (Argon2id), to keep such blocks: mallopt(3).
pub fn give_large_allocations_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes one number of the allocator, before any thread exists; a refusal leaves it as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
    };
}

/// Empties the environment, so that no variable steers a library or stands in memory longer than needed.
///
/// Call it while the process has one thread.
pub fn scrub_environment() {
    let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in names {
        // SAFETY: the only caller is start-up, before any thread exists, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
}

/// The user of this process.
#[must_use]
pub fn effective_user() -> u32 {
    // SAFETY: geteuid reads one number and cannot fail.
    unsafe { libc::geteuid() }
}

/// The group of this process.
#[must_use]
pub fn effective_group() -> u32 {
    // SAFETY: getegid reads one number and cannot fail.
    unsafe { libc::getegid() }
}

/// The number of a group.
///
/// # Errors
/// What the kernel or the name service says; [`io::ErrorKind::NotFound`] when there is no such group.
pub fn group_number(name: &str) -> io::Result<u32> {
    // SAFETY: getgrnam_r is a look-up of the name service.
    let group = unsafe { looked_up(name, libc::getgrnam_r) }?;
    Ok(group.gr_gid)
}

/// A look-up of the name service: name, entry, room for its texts, length of that, and where to tell whether there is one.
type LookUp<T> =
    unsafe extern "C" fn(*const c_char, *mut T, *mut c_char, usize, *mut *mut T) -> c_int;

/// Asks the name service. The texts that the entry points to are gone when this returns; its numbers stay.
///
/// # Safety
/// `look_up` fills the entry whenever it answers 0 and tells that there is one, as getgrnam_r(3) and getpwnam_r(3) do.
unsafe fn looked_up<T>(name: &str, look_up: LookUp<T>) -> io::Result<T> {
    let name = CString::new(name)?;
    let mut entry = MaybeUninit::<T>::uninit();
    let mut text = vec![0; ENTRY_BYTES_MAX];
    let mut found = std::ptr::null_mut();
    // SAFETY: all four buffers live until the call returns, and `text` is as long as said.
    let result = unsafe {
        look_up(
            name.as_ptr(),
            entry.as_mut_ptr(),
            text.as_mut_ptr(),
            text.len(),
            &raw mut found,
        )
    };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    if found.is_null() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: `found` is not null, so the entry was filled, which the caller has promised.
    Ok(unsafe { entry.assume_init() })
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Who is at the other end, as the kernel recorded it when the connection was made (SO_PEERCRED, unix(7)).
///
/// # Errors
/// What the kernel says.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = socket_length::<libc::ucred>();
    // SAFETY: the kernel writes at most `length` bytes into `credentials`, which lives until the call returns.
    outcome(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    })?;
    Ok(Peer {
        pid: credentials.pid,
        uid: credentials.uid,
        gid: credentials.gid,
    })
}

/// A descriptor of the process at the other end; it becomes readable when that process has ended.
///
/// SO_PEERPIDFD names the very process that connected. Kernels before 6.5 lack it, and pidfd_open(2) with the recorded number stands in.
///
/// # Errors
/// What the kernel says; the process may be gone.
pub fn peer_process(socket: BorrowedFd<'_>, peer: Peer) -> io::Result<OwnedFd> {
    let mut descriptor: RawFd = -1;
    let mut length = socket_length::<RawFd>();
    // SAFETY: the kernel writes at most `length` bytes into `descriptor`, which lives until the call returns.
    let exact = outcome(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut descriptor).cast(),
            &raw mut length,
        )
    });
    match exact {
        Ok(_) => owned(descriptor),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => process(peer.pid),
        Err(error) => Err(error),
    }
}

fn process(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(descriptor) {
        Ok(descriptor) => owned(outcome(descriptor)?),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn owned(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Waits until one of the descriptors is readable or has ended, and tells for each whether it is.
/// Without a bound it waits for ever. Nothing is readable when the bound has passed.
///
/// # Errors
/// What the kernel says.
pub fn wait_readable(
    descriptors: &[BorrowedFd<'_>],
    bound: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut entries: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|one| libc::pollfd {
            fd: one.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(libc::nfds_t::MAX);
    let milliseconds = bound.map_or(-1, |bound| {
        c_int::try_from(bound.as_millis()).unwrap_or(c_int::MAX)
    });
    // SAFETY: `entries` has `count` elements and lives until the call returns.
    match outcome(unsafe { libc::poll(entries.as_mut_ptr(), count, milliseconds) }) {
        Ok(_) => Ok(entries.iter().map(|entry| entry.revents != 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Ok(vec![false; descriptors.len()])
        }
        Err(error) => Err(error),
    }
}

/// Waits so long, or until the other end of a socket is closed, or this end was shut for reading. Answers whether it was the latter.
///
/// # Errors
/// What the kernel says.
pub fn hung_up_within(socket: BorrowedFd<'_>, wait: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut entry = libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLRDHUP,
            revents: 0,
        };
        let left = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        // SAFETY: one pollfd and one timespec, which live until the call returns; no mask of signals is given.
        let result = unsafe { libc::ppoll(&raw mut entry, 1, &raw const left, std::ptr::null()) };
        match outcome(result) {
            Ok(ready) => return Ok(ready > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A set of signals.
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks these signals in this thread and in every thread started from it, so that only [`Signals::wait`] meets them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn block(numbers: &[c_int]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset fills the set that it is given.
        outcome(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
        // SAFETY: sigemptyset has just filled it.
        let mut set = unsafe { set.assume_init() };
        for number in numbers {
            // SAFETY: the set is filled and lives until the call returns.
            outcome(unsafe { libc::sigaddset(&raw mut set, *number) })?;
        }
        // SAFETY: the set is filled; the old mask is not asked for.
        let result =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if result == 0 {
            Ok(Self(set))
        } else {
            Err(io::Error::from_raw_os_error(result))
        }
    }

    /// The next of these signals.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self) -> io::Result<c_int> {
        let mut number = 0;
        // SAFETY: the set is filled, and both live until the call returns.
        let result = unsafe { libc::sigwait(&raw const self.0, &raw mut number) };
        if result == 0 {
            Ok(number)
        } else {
            Err(io::Error::from_raw_os_error(result))
        }
    }
}

/// Sends a signal to this process.
pub fn signal_myself(number: c_int) {
    // SAFETY: getpid reads one number and cannot fail.
    let myself = unsafe { libc::getpid() };
    // SAFETY: kill takes two numbers; the process is our own, so it exists and may be signalled.
    unsafe { libc::kill(myself, number) };
}

/// Which side of a fork this is.
pub enum Fork {
    /// The new process.
    Child,
    /// The old one.
    Parent,
}

/// Splits the process in two.
///
/// Call it while the process has one thread.
///
/// # Errors
/// What the kernel says.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the only caller is start-up, before any thread exists, so the child is whole.
    match outcome(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent),
    }
}

/// Leaves the terminal: a session of its own (setsid(2)).
///
/// # Errors
/// What the kernel says.
pub fn leave_terminal() -> io::Result<()> {
    // SAFETY: setsid takes nothing and touches no memory of ours.
    outcome(unsafe { libc::setsid() })?;
    Ok(())
}

/// Puts `file` in the place of a standard descriptor (0, 1 or 2).
///
/// # Errors
/// What the kernel says.
pub fn replace_standard(descriptor: RawFd, file: &File) -> io::Result<()> {
    // SAFETY: dup2 takes two numbers; both are open, and the standard streams of std know only the number.
    outcome(unsafe { libc::dup2(file.as_raw_fd(), descriptor) })?;
    Ok(())
}

/// Takes over a listening socket that the service manager left open under this number, if it is one.
/// Whoever calls this owns the number: no other part of the process may use it.
#[must_use]
pub fn inherited_listener(descriptor: RawFd) -> Option<OwnedFd> {
    let mut listening: c_int = 0;
    let mut length = socket_length::<c_int>();
    // SAFETY: the kernel writes at most `length` bytes into `listening`, which lives until the call returns.
    let known = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut listening).cast(),
            &raw mut length,
        )
    };
    if known != 0 || listening != 1 {
        return None;
    }
    // SAFETY: fcntl takes three numbers; it keeps the socket from any program started from here.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the service manager opened it for us (sd_listen_fds(3)), and the caller uses the number once.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Most descriptors that go with one message.
const DESCRIPTORS_MAX: usize = 3;

/// Room for the control message of that many (unix(7), SCM_RIGHTS), aligned as the kernel wants it.
#[repr(C, align(8))]
struct Descriptors([u8; 16 + 8 * DESCRIPTORS_MAX]);

/// Sends bytes with descriptors, three at most; answers how many bytes went.
///
/// # Errors
/// What the system says; [`io::ErrorKind::InvalidInput`] for none or more than three.
pub fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.is_empty() || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let numbers_bytes = libc::c_uint::try_from(size_of::<RawFd>() * descriptors.len()).unwrap_or(0);
    let mut control = Descriptors([0; 16 + 8 * DESCRIPTORS_MAX]);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a msghdr is plain data, for which zero is a value of every field.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: computes a length from a length.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(numbers_bytes) } as _;
    // SAFETY: the message points at its control buffer, which is long enough for one header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    let content = libc::cmsghdr {
        // SAFETY: computes a length from a length.
        cmsg_len: unsafe { libc::CMSG_LEN(numbers_bytes) } as _,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: the header lies in the control buffer.
    unsafe { header.write(content) };
    // SAFETY: the header lies in the control buffer, and so does what follows it.
    let place = unsafe { libc::CMSG_DATA(header) };
    for (index, descriptor) in descriptors.iter().enumerate() {
        // SAFETY: the control buffer has room for as many numbers as were counted above.
        let place = unsafe { place.cast::<RawFd>().add(index) };
        // SAFETY: as above; perhaps not aligned for it.
        unsafe { place.write_unaligned(descriptor.as_raw_fd()) };
    }
    // SAFETY: the message and all it points at live until the call returns; the bytes are only read.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Microseconds of the monotonic clock, as `MONOTONIC_USEC` of sd_notify(3) wants them.
#[must_use]
pub fn monotonic_microseconds() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec, which lives until the call returns.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

fn socket_length<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

/// `SO_PEERPIDFD` of the kernel's `asm-generic/socket.h` (Linux 6.5); libc has it for some targets only.
const SO_PEERPIDFD: c_int = 77;
/// Allocations from here on are mappings of their own. Fixed, so that it does not grow with use.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: c_int = 256 << 10;
/// Room for the texts of one entry, such as the members of a group, which getgrnam_r(3) insists on reading.
const ENTRY_BYTES_MAX: usize = 1 << 20;
