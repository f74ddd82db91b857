//! A file as memory, and room on the disk.
//!
//! What lives here: a mapping that is written and never read through a reference, and fallocate(2).
//! What must never live here: what the bytes mean.
//! Who calls it: the journal.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::outcome;

/// The beginning of a file as memory. What is written there is in the page cache at once, whatever becomes of this process.
///
/// The file must be as long as the mapping, and stay so: the kernel kills whoever touches what is no longer there.
#[derive(Debug)]
pub struct FileMapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone, and a mapping knows nothing of threads.
unsafe impl Send for FileMapping {}

impl FileMapping {
    /// Maps the first `bytes` bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(file: &File, bytes: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at a place that the kernel chooses replaces nothing.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] where the mapping has no room for them.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let place = self.place(at, bytes.len())?;
        // SAFETY: `place` has room for all bytes, and `bytes` lies elsewhere: nobody gets a reference into the mapping.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }

    /// Stores a number behind all that was written before: whoever finds it, finds that too.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] outside the mapping, or where no number may stand: at a multiple of 8 only.
    pub fn publish(&mut self, at: usize, number: u64) -> io::Result<()> {
        if !at.is_multiple_of(size_of::<u64>()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let place = self.place(at, size_of::<u64>())?;
        // SAFETY: `place` lies in the mapping and is aligned, since the mapping begins with a page; it is only used atomically while
        // this reference lives.
        let cell = unsafe { AtomicU64::from_ptr(place.cast()) };
        cell.store(number.to_le(), Ordering::Release);
        Ok(())
    }

    /// Writes a part of the mapping to the end of a file that is opened for appending; answers how much of it (write(2)).
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::InvalidInput`] outside the mapping.
    pub fn append_to(&self, file: &File, part: Range<usize>) -> io::Result<usize> {
        let place = self.place(part.start, part.len())?;
        // SAFETY: the kernel reads as many bytes as lie there, and nobody writes them meanwhile: that needs this value exclusively.
        let written = unsafe { libc::write(file.as_raw_fd(), place.cast(), part.len()) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    fn place(&self, at: usize, bytes: usize) -> io::Result<*mut u8> {
        match at.checked_add(bytes) {
            Some(end) if end <= self.bytes => {
                // SAFETY: `at` is not behind the end of the mapping.
                Ok(unsafe { self.start.as_ptr().add(at) })
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Drop for FileMapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference into it exists.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Whether the file's file system writes a mapped page back to the blocks that were allocated for it. Where it takes new ones each time
/// (btrfs), or asks a server (NFS), a write to a mapping can meet a full disk, and that kills the process.
///
/// # Errors
/// What the kernel says.
pub fn has_pages_of_its_own(file: &File) -> io::Result<bool> {
    Ok([
        libc::EXT4_SUPER_MAGIC,
        libc::TMPFS_MAGIC,
        libc::XFS_SUPER_MAGIC,
    ]
    .contains(&file_system(file)?))
}

/// Whether another program (FUSE) or machine says what is in the file, and may say something else the next time.
///
/// # Errors
/// What the kernel says.
pub fn is_told_by_others(file: &File) -> io::Result<bool> {
    Ok([
        libc::FUSE_SUPER_MAGIC,
        libc::NFS_SUPER_MAGIC,
        libc::SMB_SUPER_MAGIC,
        libc::AFS_SUPER_MAGIC,
        libc::CODA_SUPER_MAGIC,
        CIFS_SUPER_MAGIC,
        SMB2_SUPER_MAGIC,
        CEPH_SUPER_MAGIC,
        V9FS_MAGIC,
    ]
    .contains(&file_system(file)?))
}

/// The kind of the file's file system (statfs(2)).
fn file_system(file: &File) -> io::Result<FileSystem> {
    let mut state = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel writes one statfs, which lives until the call returns.
    outcome(unsafe { libc::fstatfs(file.as_raw_fd(), state.as_mut_ptr()) })?;
    // SAFETY: fstatfs has filled it, and zero was a value of every field before.
    Ok(unsafe { state.assume_init() }.f_type)
}

type FileSystem = libc::c_long;
/// Those of the kernel's list (linux/magic.h) that the crate does not name.
const CIFS_SUPER_MAGIC: FileSystem = 0xFF53_4D42;
const SMB2_SUPER_MAGIC: FileSystem = 0xFE53_4D42;
const CEPH_SUPER_MAGIC: FileSystem = 0x00C3_6400;
const V9FS_MAGIC: FileSystem = 0x0102_1997;

/// What becomes of the length of a file when room is reserved behind its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// It grows.
    Grows,
    /// It stays; the room is used as the file grows.
    Stays,
}

/// Reserves room on the disk (fallocate(2)).
///
/// # Errors
/// What the kernel says: a full disk, or a file system that cannot.
pub fn reserve(file: &File, part: Range<u64>, length: Length) -> io::Result<()> {
    let too_far = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let from = libc::off64_t::try_from(part.start).map_err(too_far)?;
    let bytes = libc::off64_t::try_from(part.end.saturating_sub(part.start)).map_err(too_far)?;
    let mode = match length {
        Length::Grows => 0,
        Length::Stays => libc::FALLOC_FL_KEEP_SIZE,
    };
    loop {
        // SAFETY: fallocate takes numbers and touches no memory of ours.
        match outcome(unsafe { libc::fallocate64(file.as_raw_fd(), mode, from, bytes) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(drop),
        }
    }
}
