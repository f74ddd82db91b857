//! Rules for files and networks that the process gives itself (landlock(7)).
//!
//! What lives here: the three system calls, which neither std nor libc has, and their numbers.
//! What must never live here: which files.
//! Who calls it: the jail.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;

use super::outcome;

/// Rights at files and directories (`LANDLOCK_ACCESS_FS_…` of the kernel's `linux/landlock.h`).
pub mod right {
    #![allow(missing_docs, reason = "the kernel's names")]
    pub const EXECUTE: u64 = 1;
    pub const WRITE_FILE: u64 = 1 << 1;
    pub const READ_FILE: u64 = 1 << 2;
    pub const READ_DIR: u64 = 1 << 3;
    pub const REMOVE_FILE: u64 = 1 << 5;
    pub const MAKE_REG: u64 = 1 << 8;
    pub const MAKE_SOCK: u64 = 1 << 9;
    pub const REFER: u64 = 1 << 13;
    pub const TRUNCATE: u64 = 1 << 14;
    pub const IOCTL_DEV: u64 = 1 << 15;
    /// Those that a file can have; the others are for directories.
    pub const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
}

/// What a set of rules decides about; whatever it decides about is forbidden unless a rule allows it
/// (`struct landlock_ruleset_attr`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// Rights at files.
    pub files: u64,
    /// Binding and connecting of TCP sockets.
    pub network: u64,
    /// What may not leave the jail: abstract Unix sockets, signals.
    pub scopes: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: RawFd,
}

/// What this kernel can; 0 where it cannot anything.
#[must_use]
pub fn landlock_version() -> u32 {
    // SAFETY: with this flag the kernel reads nothing and answers a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<Handled>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// A set of rules that is being made.
#[derive(Debug)]
pub struct Rules {
    descriptor: OwnedFd,
    files: u64,
}

impl Rules {
    /// An empty one: all that is handled is forbidden.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(handled: Handled) -> io::Result<Self> {
        // SAFETY: the kernel reads one structure, which lives until the call returns.
        let descriptor = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const handled,
                size_of::<Handled>(),
                0u32,
            )
        };
        let descriptor = outcome(descriptor.try_into().unwrap_or(-1))?;
        // SAFETY: the descriptor is new and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self {
            descriptor,
            files: handled.files,
        })
    }

    /// Allows rights at a file, or at a directory and all below it.
    ///
    /// # Errors
    /// What the file system or the kernel says.
    pub fn allow(&self, path: &Path, rights: u64) -> io::Result<()> {
        let place = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(path)?;
        let possible = if place.metadata()?.is_dir() {
            self.files
        } else {
            self.files & right::OF_FILES
        };
        let rule = PathBeneath {
            allowed: rights & possible,
            parent: place.as_raw_fd(),
        };
        // SAFETY: the kernel reads one structure, which lives until the call returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.descriptor.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const rule,
                0u32,
            )
        };
        outcome(result.try_into().unwrap_or(-1))?;
        Ok(())
    }

    /// Puts the rules on this thread and on those that it starts; they can never be taken off.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn confine(self) -> io::Result<()> {
        // SAFETY: the kernel takes two numbers.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_restrict_self,
                self.descriptor.as_raw_fd(),
                0u32,
            )
        };
        outcome(result.try_into().unwrap_or(-1))?;
        Ok(())
    }
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;
