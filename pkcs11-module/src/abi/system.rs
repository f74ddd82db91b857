//! The C library: system calls that std has not, each behind a safe function.
//!
//! What lives here: sockets that never signal, descriptors by number, wiping, memory that a child does not see, randomness, the module's
//! own path.
//! What must never live here: decisions; the callers take them.
//! Who calls it: the client, the process state, the locator, the buffer.

use std::ffi::{CStr, OsStr, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use strongroom_wire::socket::{ADDRESS_BYTES_MAX, Reach};

/// Overwrites bytes with zeros; the compiler may not leave it out.
pub(crate) fn wipe(bytes: &mut [u8]) {
    // SAFETY: the pointer and the length are those of a slice that is borrowed for writing.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast::<c_void>(), bytes.len()) }
}

/// Fills bytes from the kernel's generator, and tells whether it did.
pub(crate) fn fill_random(bytes: &mut [u8; 16]) -> bool {
    loop {
        // SAFETY: the pointer and the length are those of an array that is borrowed for writing.
        let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast::<c_void>(), bytes.len(), 0) };
        if usize::try_from(count) == Ok(bytes.len()) {
            return true;
        }
        if count >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
}

/// Whether this process runs with more rights than its caller (a set-user-id program): its environment is then not to be trusted.
pub(crate) fn runs_with_foreign_rights() -> bool {
    // SAFETY: getauxval reads a table that the kernel made for this process; it has no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The file that this very code was loaded from.
pub(crate) fn module_file() -> Option<PathBuf> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    let own: fn() -> Option<PathBuf> = module_file;
    // SAFETY: dladdr only compares the address, and writes into a structure that is borrowed for writing.
    let told = unsafe { libc::dladdr(own as *const c_void, found.as_mut_ptr()) };
    // SAFETY: the structure was zeroed, and zeros are a value of it.
    let found = unsafe { found.assume_init() };
    if told == 0 || found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gives a string that ends with a zero and lives as long as the module is loaded.
    let name = unsafe { CStr::from_ptr(found.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

/// Whether files can be made in a directory.
pub(crate) fn may_write(directory: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(directory.as_os_str().as_bytes()) else {
        return false;
    };
    let (wanted, effective) = (libc::W_OK | libc::X_OK, libc::AT_EACCESS);
    // SAFETY: the path ends with a zero and outlives the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), wanted, effective) == 0 }
}

/// Connects to a Unix socket, closed on exec, waiting at most `limit` for a listener with a full queue.
///
/// The limit stays on for sending; the caller lifts it.
pub(crate) fn connect(path: &Path, limit: Duration) -> io::Result<OwnedFd> {
    let reach = Reach::of(path)?;
    let address = address_of(reach.path())?;
    // SAFETY: socket has no preconditions.
    let number = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    let socket = above_standard_streams(owned(number)?)?;
    limit_sending(&socket, limit)?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_un>())
        .map_err(|_| io::ErrorKind::InvalidInput)?;
    let address = ptr::from_ref(&address).cast::<libc::sockaddr>();
    let start = Instant::now();
    loop {
        // SAFETY: the address is a whole sockaddr_un that outlives the call, and the length is its size.
        let outcome = unsafe { libc::connect(socket.as_raw_fd(), address, length) };
        if outcome == 0 {
            return Ok(socket);
        }
        // A signal of the host's ends the wait for a full queue; the next wait begins anew, so the whole is bounded here.
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted || start.elapsed() > limit {
            return Err(error);
        }
    }
}

/// Sends bytes; a socket that the other end closed is an error and never the signal SIGPIPE, which would end the host.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let start = bytes.as_ptr().cast::<c_void>();
    // SAFETY: the pointer and the length are those of a borrowed slice.
    let count = unsafe { libc::send(socket.as_raw_fd(), start, bytes.len(), libc::MSG_NOSIGNAL) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Most descriptors that come with one message.
pub(crate) const DESCRIPTORS_MAX: usize = 2;

/// Room for the control message of that many (unix(7), SCM_RIGHTS), aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 16 + 4 * DESCRIPTORS_MAX]);

/// Receives bytes, and the descriptors that come with them, in order; those of an earlier message give way.
pub(crate) fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut control = Control([0; 16 + 4 * DESCRIPTORS_MAX]);
    let mut part = libc::iovec {
        iov_base: room.as_mut_ptr().cast::<c_void>(),
        iov_len: room.len(),
    };
    // SAFETY: a msghdr is plain data, for which zero is a value of every field.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast::<c_void>();
    // Room for so many to the byte: the kernel closes what does not fit.
    message.msg_controllen = control.0.len();
    let number = socket.as_raw_fd();
    // SAFETY: the message and all it points at live until the call returns, and are borrowed for writing.
    let count = unsafe { libc::recvmsg(number, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: computes a length from a length.
    let head_bytes = usize::try_from(unsafe { libc::CMSG_LEN(0) }).unwrap_or(0);
    // SAFETY: the message points at its control buffer, whose length the kernel has written.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: the kernel wrote a whole header there.
        let content = unsafe { header.read_unaligned() };
        if content.cmsg_level == libc::SOL_SOCKET && content.cmsg_type == libc::SCM_RIGHTS {
            descriptors.clear();
            // SAFETY: the header lies in the control buffer, and so does what follows it.
            let start = unsafe { libc::CMSG_DATA(header) };
            let numbers = content.cmsg_len.saturating_sub(head_bytes) / size_of::<RawFd>();
            for index in 0..numbers.min(DESCRIPTORS_MAX) {
                // SAFETY: the kernel wrote as many numbers as the length of the message tells.
                let place = unsafe { start.cast::<RawFd>().add(index) };
                // SAFETY: as above; perhaps not aligned.
                let received = unsafe { place.read_unaligned() };
                descriptors.extend(owned(received).ok());
            }
        }
        // SAFETY: both lie in the control buffer.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(count)
}

/// Memory that a forked child finds empty (madvise(2), MADV_WIPEONFORK), and that no core dump shows.
pub(crate) struct WipedByFork {
    base: ptr::NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for WipedByFork {}
// SAFETY: through a shared reference it is reached by one atomic byte only.
unsafe impl Sync for WipedByFork {}

impl WipedByFork {
    /// Takes so many bytes and one more, the mark. None where the kernel cannot do it.
    pub(crate) fn new(bytes: usize) -> Option<Self> {
        let length = bytes.checked_add(1)?.checked_next_multiple_of(4096)?;
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        let memory = Self {
            base: ptr::NonNull::new(base.cast())?,
            bytes: length,
        };
        for advice in [libc::MADV_WIPEONFORK, libc::MADV_DONTDUMP] {
            // SAFETY: the whole mapping, which is ours.
            if unsafe { libc::madvise(base, length, advice) } != 0 {
                return None;
            }
        }
        memory.mark().store(1, Ordering::Relaxed);
        Some(memory)
    }

    /// Whether no fork lies between the making and this call.
    pub(crate) fn is_whole(&self) -> bool {
        self.mark().load(Ordering::Relaxed) == 1
    }

    fn mark(&self) -> &AtomicU8 {
        // SAFETY: the last byte of the mapping.
        let last = unsafe { self.base.as_ptr().add(self.bytes - 1) };
        // SAFETY: it lives as long as `self`, and is reached through this atomic only.
        unsafe { AtomicU8::from_ptr(last) }
    }

    /// The bytes before the mark.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping less its last byte, borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes - 1) }
    }
}

impl Drop for WipedByFork {
    fn drop(&mut self) {
        wipe(self.bytes_mut());
        // SAFETY: the whole mapping, which nobody uses any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// The inode behind a descriptor's number, if the number is open. No two open sockets have the same.
pub(crate) fn inode_of(number: RawFd) -> Option<u64> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: fstat takes any number, and writes into a structure that is borrowed for writing.
    let outcome = unsafe { libc::fstat(number, status.as_mut_ptr()) };
    // SAFETY: the structure was zeroed, and zeros are a value of it.
    let status = unsafe { status.assume_init() };
    let is_socket = status.st_mode & libc::S_IFMT == libc::S_IFSOCK;
    (outcome == 0 && is_socket).then_some(status.st_ino)
}

/// Closes a descriptor by its number, if it is still the socket with this inode: a daemon that closed everything after its fork
/// may have given the number to a file of its own.
pub(crate) fn close_if_still(number: RawFd, inode: u64) {
    if inode_of(number) == Some(inode) {
        // SAFETY: the number is the socket that the parent's module opened; nothing in this process owns it, since the parent's
        // state is never touched after a fork.
        unsafe { libc::close(number) };
    }
}

/// A place for the latest of values that live forever: readable without a lock, so that a forked child never meets a lock that a
/// thread of its parent held.
pub(crate) struct Latest<T: Sync + 'static> {
    pointer: AtomicPtr<T>,
    holds: PhantomData<&'static T>,
}

impl<T: Sync + 'static> Latest<T> {
    /// A place with nothing in it.
    pub(crate) const fn new() -> Self {
        Self {
            pointer: AtomicPtr::new(ptr::null_mut()),
            holds: PhantomData,
        }
    }

    /// What is in it.
    pub(crate) fn load(&self) -> Option<&'static T> {
        let pointer = self.pointer.load(Ordering::Acquire);
        // SAFETY: only `replace` stores a pointer, and it takes it from a reference that lives forever.
        unsafe { pointer.as_ref() }
    }

    /// Puts a new value in the place of the one expected, and tells whether it was that one.
    pub(crate) fn replace(&self, expected: Option<&'static T>, new: &'static T) -> bool {
        let expected = expected.map_or(ptr::null_mut(), |value| ptr::from_ref(value).cast_mut());
        let new = ptr::from_ref(new).cast_mut();
        self.pointer
            .compare_exchange(expected, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Whether the other end of a stream is still there, and does not go within a moment.
pub(crate) fn is_open(socket: BorrowedFd<'_>, moment: Duration) -> bool {
    let milliseconds = libc::c_int::try_from(moment.as_millis()).unwrap_or(0);
    let mut asked = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: one structure, which lives as long as the call.
    let told = unsafe { libc::poll(&raw mut asked, 1, milliseconds) };
    // Where the system does not say, the next request will tell.
    told <= 0
}

/// A number that changes every few milliseconds; it costs no system call.
pub(crate) fn tick() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: one structure, which lives as long as the call. Should it stay as it is, the tick is always the same.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds)
}

fn owned(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number was just opened by the kernel for this call, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A host that closed its standard streams must not print into our socket.
fn above_standard_streams(socket: OwnedFd) -> io::Result<OwnedFd> {
    if socket.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(socket);
    }
    let lowest = libc::STDERR_FILENO + 1;
    // SAFETY: the descriptor is open; F_DUPFD_CLOEXEC takes the lowest number wanted.
    owned(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) })
}

/// unix(7): a connect on a full queue waits as long as a send may.
fn limit_sending(socket: &OwnedFd, limit: Duration) -> io::Result<()> {
    let seconds = libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX);
    let limit = libc::timeval {
        tv_sec: seconds,
        tv_usec: limit.subsec_micros().into(),
    };
    let length = libc::socklen_t::try_from(size_of::<libc::timeval>())
        .map_err(|_| io::ErrorKind::InvalidInput)?;
    let value = ptr::from_ref(&limit).cast::<c_void>();
    let number = socket.as_raw_fd();
    // SAFETY: the value is a whole timeval that outlives the call, and the length is its size.
    let outcome =
        unsafe { libc::setsockopt(number, libc::SOL_SOCKET, libc::SO_SNDTIMEO, value, length) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn address_of(path: &Path) -> io::Result<libc::sockaddr_un> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() > ADDRESS_BYTES_MAX || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut address = libc::sockaddr_un {
        sun_family: 0,
        sun_path: [0; ADDRESS_BYTES_MAX + 1],
    };
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or_default();
    for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    Ok(address)
}
