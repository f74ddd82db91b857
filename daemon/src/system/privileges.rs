//! Capabilities, users and limits: what the process may, and how it gives that up.
//!
//! What lives here: capset(2), prctl(2), setresuid(2), setrlimit(2), and the names of users.
//! What must never live here: which of them are given up when.
//! Who calls it: the jail, and the rule about root.

use std::ffi::{c_int, c_ulong};
use std::io;

use super::{looked_up, outcome};

/// A set of capabilities (capabilities(7)), one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);
    /// To read and write files of others.
    pub const DAC_OVERRIDE: Self = Self(1 << 1);
    /// To see which program another user's process runs.
    pub const SYS_PTRACE: Self = Self(1 << 19);

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// `struct __user_cap_header_struct` and two of `struct __user_cap_data_struct` of `linux/capability.h`, version 3.
#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The capabilities that the process has, in force or at hand.
///
/// # Errors
/// What the kernel says.
pub fn capabilities() -> io::Result<Capabilities> {
    let mut header = header();
    let mut halves = [Half::default(); 2];
    // SAFETY: the kernel reads the header and writes two halves; both live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_capget,
            &raw mut header,
            halves.as_mut_ptr().cast::<Half>(),
        )
    };
    outcome(result.try_into().unwrap_or(-1))?;
    let [low, high] = halves;
    Ok(Capabilities(
        u64::from(low.effective | low.permitted) | u64::from(high.effective | high.permitted) << 32,
    ))
}

/// Gives up every capability but these, in every set: effective, permitted, inheritable, ambient and, where the process may, bounding.
/// Also says, where it may, that being user 0 shall never again mean anything (securebits).
///
/// # Errors
/// What the kernel says.
pub fn keep_capabilities(kept: Capabilities) -> io::Result<()> {
    for number in 0..u64::BITS {
        if kept.0 >> number & 1 == 1 {
            continue;
        }
        // SAFETY: takes two numbers. It fails where the kernel knows no such capability, and for want of CAP_SETPCAP; what is then
        // left is of no use to a process that may gain no privileges and start no program.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, c_ulong::from(number), 0, 0, 0) };
    }
    // SAFETY: takes two numbers; it fails for want of CAP_SETPCAP, with the same consequence as above.
    unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECURE_BITS, 0, 0, 0) };
    // SAFETY: takes two numbers; kernels that refuse it have no ambient set.
    unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong,
            0,
            0,
            0,
        )
    };
    let all = capabilities()?;
    if all == Capabilities::NONE {
        // A service manager has taken them already; and its filter may refuse the call below.
        return Ok(());
    }
    let left = all.and(kept).0;
    let half = |bits: u64| {
        let bits = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Half {
            effective: bits,
            permitted: bits,
            inheritable: 0,
        }
    };
    let mut header = header();
    let halves = [half(left), half(left >> 32)];
    // SAFETY: the kernel reads the header and two halves; both live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_capset,
            &raw mut header,
            halves.as_ptr().cast::<Half>(),
        )
    };
    outcome(result.try_into().unwrap_or(-1))?;
    Ok(())
}

const fn header() -> Header {
    Header {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    }
}

/// Takes the limit of locked memory away, where the process may; answers whether it could.
#[must_use]
pub fn lift_memory_lock_limit() -> bool {
    let none = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the kernel reads one rlimit, which lives until the call returns.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none) == 0 }
}

/// Sets limits of what the daemon never uses to nothing: message queues of the kernel, and priorities above others.
///
/// # Errors
/// What the kernel says.
pub fn forbid_unused_resources() -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    for resource in [
        libc::RLIMIT_MSGQUEUE,
        libc::RLIMIT_RTPRIO,
        libc::RLIMIT_NICE,
    ] {
        // SAFETY: the kernel reads one rlimit, which lives until the call returns.
        outcome(unsafe { libc::setrlimit(resource, &raw const none) })?;
    }
    Ok(())
}

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
}

/// Looks up a user by name.
///
/// # Errors
/// What the name service says; [`io::ErrorKind::NotFound`] when there is no such user.
pub fn user(name: &str) -> io::Result<User> {
    // SAFETY: getpwnam_r is a look-up of the name service.
    let entry = unsafe { looked_up(name, libc::getpwnam_r) }?;
    Ok(User {
        uid: entry.pw_uid,
        gid: entry.pw_gid,
    })
}

/// Sets the groups that the process belongs to beside its first.
///
/// # Errors
/// What the kernel says.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads as many numbers as said, which live until the call returns.
    outcome(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    Ok(())
}

/// Becomes a user for good: real, effective and saved numbers alike, and it is tried out that there is no way back.
///
/// Call it while the process has one thread.
///
/// # Errors
/// What the kernel says; the process must then end.
pub fn become_user(user: &User) -> io::Result<()> {
    // SAFETY: takes three numbers.
    outcome(unsafe { libc::setresgid(user.gid, user.gid, user.gid) })?;
    // SAFETY: takes three numbers.
    outcome(unsafe { libc::setresuid(user.uid, user.uid, user.uid) })?;
    // SAFETY: takes three numbers.
    let back = unsafe { libc::setresuid(0, 0, 0) };
    // SAFETY: takes three numbers.
    let group_back = unsafe { libc::setresgid(0, 0, 0) };
    let gone = back != 0 && (group_back != 0 || user.gid == 0);
    let [mut real, mut effective, mut saved] = [0; 3];
    // SAFETY: the kernel writes three numbers, which live until the call returns.
    outcome(unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) })?;
    if gone && [real, effective, saved] == [user.uid; 3] {
        Ok(())
    } else {
        Err(io::Error::other("the way back to root stayed open"))
    }
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// `SECBIT_NOROOT`, `SECBIT_NO_SETUID_FIXUP` and `SECBIT_NO_CAP_AMBIENT_RAISE` with their locks, and the lock of `SECBIT_KEEP_CAPS`
/// (`linux/securebits.h`).
const SECURE_BITS: c_ulong = 0b1110_1111;
