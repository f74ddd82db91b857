//! The shared memory of a connection, written by hand.
//!
//! What lives here: taking the descriptor, mapping it, and writing anything anywhere, after `wire/PROTOCOL.md` and not after the crate `ring`.
//! What must never live here: good manners.
//! Who calls it: fuzz.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Noise;

/// Offsets of `wire/PROTOCOL.md`, "Shared memory".
const ASKED: usize = 0;
const LENGTH: usize = 4;
const CLIENT_WAITS: usize = 8;
const ANSWERED: usize = 64;
const DAEMON_WAITS: usize = 72;
const REQUEST: usize = 4_096;
const REQUEST_BYTES: usize = 16_842_752;
const ALL_BYTES: usize = 33_689_600;

/// The memory.
pub struct Shared {
    start: NonNull<u8>,
}

// SAFETY: the mapping belongs to this value alone, and a mapping knows nothing of threads.
unsafe impl Send for Shared {}

impl Shared {
    /// Maps what a descriptor is of.
    ///
    /// # Errors
    /// What the system says.
    pub fn map(descriptor: &OwnedFd) -> io::Result<Self> {
        // SAFETY: a new mapping at a place that the kernel chooses replaces nothing.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                ALL_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start })
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < REQUEST);
        // SAFETY: the offset lies in the mapping.
        let place = unsafe { self.start.as_ptr().add(offset) };
        // SAFETY: the mapping is page-aligned and lives as long as this value; both ends use atomics there.
        unsafe { AtomicU32::from_ptr(place.cast()) }
    }

    /// Writes into the place of the request.
    pub fn write(&self, bytes: &[u8]) {
        let length = bytes.len().min(REQUEST_BYTES);
        // SAFETY: the offset lies in the mapping.
        let place = unsafe { self.start.as_ptr().add(REQUEST) };
        // SAFETY: place and length lie in the mapping; the other end copies bytes out and expects them to change meanwhile.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, length) };
    }

    /// Publishes a request of an alleged length; answers whether the daemon wants the bell.
    pub fn publish(&self, alleged: u32, step: u32) -> bool {
        self.word(LENGTH).store(alleged, Ordering::Relaxed);
        self.word(ASKED).fetch_add(step, Ordering::Release);
        self.word(DAEMON_WAITS).swap(0, Ordering::AcqRel) != 0
    }

    /// Whether everything that was asked is answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.word(ANSWERED).load(Ordering::Acquire) == self.word(ASKED).load(Ordering::Relaxed)
    }

    /// Says that the client waits on the socket.
    pub fn wait(&self) {
        self.word(CLIENT_WAITS).store(1, Ordering::SeqCst);
    }

    /// Writes noise over the numbers of both ends.
    pub fn scribble(&self, noise: &mut Noise) {
        let offset = [
            ASKED,
            LENGTH,
            CLIENT_WAITS,
            12,
            ANSWERED,
            68,
            DAEMON_WAITS,
            76,
        ][noise.below(8)];
        let value = match noise.below(3) {
            0 => noise.below(4) as u32,
            1 => u32::MAX,
            _ => noise.draw() as u32,
        };
        self.word(offset).store(value, Ordering::SeqCst);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and nobody uses it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), ALL_BYTES) };
    }
}

/// Room for two descriptors (unix(7)), aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Reads bytes and the first descriptor that comes with them; others are closed.
///
/// # Errors
/// What the system says.
pub fn receive(socket: &UnixStream, room: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    // SAFETY: a msghdr is plain data, for which zero is a value of every field.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    let flags = libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the message and all it points at live until the call returns.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let mut descriptors = Vec::new();
    // SAFETY: the message points at its control buffer, whose length the kernel has written.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if !header.is_null() {
        // SAFETY: the kernel wrote a whole header there.
        let content = unsafe { header.read_unaligned() };
        // SAFETY: computes a length from a length.
        let head = unsafe { libc::CMSG_LEN(0) } as usize;
        // SAFETY: the header lies in the control buffer, and so does what follows it.
        let start = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
        for index in 0..(content.cmsg_len - head) / size_of::<RawFd>() {
            // SAFETY: the kernel wrote as many numbers as the length of the message tells.
            let place = unsafe { start.add(index) };
            // SAFETY: as above; perhaps not aligned.
            let number = unsafe { place.read_unaligned() };
            // SAFETY: the kernel has just made it for us.
            descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
    Ok((count, descriptors.into_iter().next()))
}
