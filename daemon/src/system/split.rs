//! A second process that is a part of the daemon.
//!
//! What lives here: splitting it off with one descriptor and a name, and ending it.
//! What must never live here: what it does.
//! Who calls it: the processes aside.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use super::{Fork, fork, outcome};

/// Splits a helper off. In the helper, `helper` is all that is left open, as descriptor 0; the old process goes on with None.
///
/// Call it while the process has one thread.
///
/// # Errors
/// What the kernel says.
pub fn split_off(helper: OwnedFd, name: &std::ffi::CStr) -> io::Result<Option<OwnedFd>> {
    // SAFETY: SIG_IGN is no function of ours. It lets the kernel forget the helper when it ends; the daemon has no other child.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    match fork()? {
        Fork::Parent => Ok(None),
        Fork::Child => {
            // SAFETY: takes two numbers; both are open.
            outcome(unsafe { libc::dup2(helper.as_raw_fd(), 0) })?;
            // The number is closed below with all others.
            let _ = helper.into_raw_fd();
            close_from(1);
            // SAFETY: the kernel reads at most 16 bytes of a string that ends with a zero.
            unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
            // SAFETY: descriptor 0 is the copy made above, and nobody else in this process uses it.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(0) }))
        }
    }
}

/// Ends the process at once: nothing of the process it was split off from is tidied up.
pub fn end_now() -> ! {
    // SAFETY: does not return and runs nothing of this process.
    unsafe { libc::_exit(0) }
}

fn close_from(first: libc::c_uint) {
    // SAFETY: closes descriptors that nobody in this process uses any more: it has one thread, and that is here.
    let closed = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            0 as libc::c_uint,
        )
    };
    if closed != 0 {
        // Kernels before 5.9. The process is young: it has a dozen descriptors.
        for number in 1..1024 {
            // SAFETY: as above; a number that is not open is an error without effect.
            unsafe { libc::close(number) };
        }
    }
}
