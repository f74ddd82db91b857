//! Descriptors that come from another process.
//!
//! What lives here: receiving a message with the descriptors that travel with it (unix(7), SCM_RIGHTS).
//! What must never live here: what they are good for.
//! Who calls it: a daemon that takes over from a running one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{DESCRIPTORS_MAX, Descriptors, owned};

/// Receives bytes; descriptors that come with them are appended, closed on exec.
///
/// # Errors
/// What the system says.
pub fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut control = Descriptors([0; 16 + 8 * DESCRIPTORS_MAX]);
    let mut part = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    // SAFETY: a msghdr is plain data, for which zero is a value of every field.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let number = socket.as_raw_fd();
    // SAFETY: the message and all it points at live until the call returns, and are borrowed for writing.
    let count = unsafe { libc::recvmsg(number, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: computes a length from a length.
    let head_bytes = unsafe { libc::CMSG_LEN(0) } as usize;
    // SAFETY: the message points at its control buffer, whose length the kernel has written.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: the kernel wrote a whole header there.
        let content = unsafe { header.read_unaligned() };
        if content.cmsg_level == libc::SOL_SOCKET && content.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: the header lies in the control buffer, and so does what follows it.
            let start = unsafe { libc::CMSG_DATA(header) };
            let length = content.cmsg_len;
            let numbers = length.saturating_sub(head_bytes) / size_of::<RawFd>();
            for index in 0..numbers {
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
