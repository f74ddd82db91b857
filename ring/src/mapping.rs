//! The mapping itself.
//!
//! What lives here: the system calls, the layout, and copies in and out: all `unsafe` of this crate.
//! What must never live here: the order of reads and writes between the two ends.
//! Who calls it: the two ends.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Longest request in bytes: 16 MiB of data and room for what stands beside it. Memory that is not touched costs nothing.
pub const REQUEST_BYTES_MAX: usize = (16 << 20) + (64 << 10);
/// Longest answer in bytes.
pub const ANSWER_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// Most memory that an area keeps after a message; what a longer one took is given back instead of wiped.
const KEPT_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// The areas begin and end at multiples of this.
const PAGE_BYTES: usize = 4096;
const CONTROL_BYTES: usize = PAGE_BYTES;
const MAPPING_BYTES: usize = CONTROL_BYTES + REQUEST_BYTES_MAX + ANSWER_BYTES_MAX;
const REQUEST_AT: usize = CONTROL_BYTES;
const ANSWER_AT: usize = CONTROL_BYTES + REQUEST_BYTES_MAX;
/// No request can be cut short, lengthened, or be sealed otherwise.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Counters and flags. Each end writes its own cache line, and takes back the flag in the other's.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Control {
    /// Requests published.
    pub(crate) asked: AtomicU32,
    /// Length of the request.
    pub(crate) request_bytes: AtomicU32,
    /// The client waits on the socket.
    pub(crate) client_sleeps: AtomicU32,
    /// Where the client last ran.
    pub(crate) client_cpu: AtomicU32,
    _rest: [u32; 12],
    /// The last request answered.
    pub(crate) answered: AtomicU32,
    /// Length of the answer.
    pub(crate) answer_bytes: AtomicU32,
    /// The daemon waits on the socket.
    pub(crate) server_sleeps: AtomicU32,
    /// Where the daemon's thread last ran.
    pub(crate) server_cpu: AtomicU32,
}

/// The memory, mapped. Not inherited by a forked child.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
}

// SAFETY: the mapping belongs to this value alone within the process, and what it points to is reached through `&mut self` or atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let descriptor = memory_file(c"strongroom ring", MAPPING_BYTES)?;
        seal(descriptor.as_fd(), SEALS)?;
        let mapping = Self::map(descriptor.as_raw_fd())?;
        Ok((mapping, descriptor))
    }

    pub(crate) fn open(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        must_be_sealed(descriptor, SEALS, MAPPING_BYTES)?;
        Self::map(descriptor.as_raw_fd())
    }

    fn map(raw: libc::c_int) -> io::Result<Self> {
        let base = map_shared(raw, MAPPING_BYTES, libc::PROT_READ | libc::PROT_WRITE)?;
        Ok(Self { base })
    }

    pub(crate) fn control(&self) -> &Control {
        // SAFETY: the mapping is page-aligned, longer than the structure, and lives as long as `self`; every field is atomic or unused.
        unsafe { self.base.cast::<Control>().as_ref() }
    }

    fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: callers give offsets of areas inside the mapping.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// The other process may write meanwhile, against the protocol: it then spoils its own request only, since nothing is
    /// read from here but by copying.
    fn copy_out(&self, offset: usize, room: &mut [u8], limit: usize) {
        let bytes = room.len().min(limit);
        // SAFETY: `bytes` fits the area at `offset` and `room`, which is not part of the mapping.
        unsafe { ptr::copy_nonoverlapping(self.at(offset), room.as_mut_ptr(), bytes) };
    }

    fn copy_in(&self, offset: usize, bytes: &[u8], limit: usize) {
        let length = bytes.len().min(limit);
        // SAFETY: `length` fits the area at `offset` and `bytes`, which is not part of the mapping.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(offset), length) };
    }

    fn wipe(&self, offset: usize, bytes: usize, limit: usize) {
        let length = bytes.min(limit);
        if length > KEPT_BYTES_MAX && self.give_back(offset, length.next_multiple_of(PAGE_BYTES)) {
            return;
        }
        // SAFETY: the length fits the area at `offset`.
        unsafe { libc::explicit_bzero(self.at(offset).cast(), length) };
    }

    /// Takes the pages out of the file, for both ends; what is read there next is zeros.
    fn give_back(&self, offset: usize, bytes: usize) -> bool {
        // SAFETY: areas begin at a page and are whole pages long, so the range lies within the area at `offset`.
        unsafe { libc::madvise(self.at(offset).cast(), bytes, libc::MADV_REMOVE) == 0 }
    }

    /// Copies bytes into an area at an offset within it, if they fit it.
    fn put(&self, area: usize, at: usize, bytes: &[u8], limit: usize) -> bool {
        if bytes.len() > limit.saturating_sub(at) {
            return false;
        }
        self.copy_in(area + at, bytes, bytes.len());
        true
    }

    pub(crate) fn put_request(&self, at: usize, bytes: &[u8]) -> bool {
        self.put(REQUEST_AT, at, bytes, REQUEST_BYTES_MAX)
    }

    pub(crate) fn put_answer(&self, at: usize, bytes: &[u8]) -> bool {
        self.put(ANSWER_AT, at, bytes, ANSWER_BYTES_MAX)
    }

    /// The answer where it lies. Only the client may look so: the daemon holds its keys, so it trusts the daemon not to write there
    /// before the next request.
    pub(crate) fn answer_in_place(&self, bytes: usize) -> &[u8] {
        let length = bytes.min(ANSWER_BYTES_MAX);
        // SAFETY: the area is as long, is mapped as long as `self`, and is not written between an answer and the next request.
        unsafe { std::slice::from_raw_parts(self.at(ANSWER_AT), length) }
    }

    pub(crate) fn read_request(&self, room: &mut [u8]) {
        self.copy_out(REQUEST_AT, room, REQUEST_BYTES_MAX);
    }

    pub(crate) fn wipe_request(&self, bytes: usize) {
        self.wipe(REQUEST_AT, bytes, REQUEST_BYTES_MAX);
    }

    pub(crate) fn wipe_answer(&self, bytes: usize) {
        self.wipe(ANSWER_AT, bytes, ANSWER_BYTES_MAX);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which nobody uses any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), MAPPING_BYTES) };
    }
}

/// One page with one counter: written by its maker, read by all who get the descriptor.
#[derive(Debug)]
pub(crate) struct Page {
    base: NonNull<AtomicU64>,
    /// Device and inode of the file behind it.
    identity: (u64, u64),
}

// SAFETY: the page is reached through one atomic only.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// Seals of the page: nobody maps it for writing any more, or writes to it (memfd_create(2), F_SEAL_FUTURE_WRITE).
    const SEALS: libc::c_int = SEALS | libc::F_SEAL_FUTURE_WRITE;

    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let descriptor = memory_file(c"strongroom changes", PAGE_BYTES)?;
        let page = Self::map_for_writing(descriptor.as_fd())?;
        seal(descriptor.as_fd(), Self::SEALS)?;
        Ok((page, descriptor))
    }

    pub(crate) fn open(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        must_be_sealed(descriptor, Self::SEALS, PAGE_BYTES)?;
        Self::map(descriptor, libc::PROT_READ)
    }

    pub(crate) fn map_for_writing(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        Self::map(descriptor, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn map(descriptor: BorrowedFd<'_>, protection: libc::c_int) -> io::Result<Self> {
        let status = status_of(descriptor)?;
        let base = map_shared(descriptor.as_raw_fd(), PAGE_BYTES, protection)?.cast();
        Ok(Self {
            base,
            identity: (status.st_dev, status.st_ino),
        })
    }

    pub(crate) const fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Whoever has mapped it for reading only must not write to it.
    pub(crate) fn counter(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page-aligned and lives as long as `self`.
        unsafe { self.base.as_ref() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which nobody uses any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), PAGE_BYTES) };
    }
}

/// A file in memory, of a fixed length.
fn memory_file(name: &CStr, bytes: usize) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string; the call makes a descriptor or fails.
    let raw = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and owned by nobody else.
    let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: a descriptor of ours and a plain length.
    succeeded(unsafe { libc::ftruncate(descriptor.as_raw_fd(), length) })?;
    Ok(descriptor)
}

fn seal(descriptor: BorrowedFd<'_>, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: a descriptor of ours and plain flags.
    succeeded(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_ADD_SEALS, seals) })
}

fn must_be_sealed(descriptor: BorrowedFd<'_>, wanted: libc::c_int, bytes: usize) -> io::Result<()> {
    let raw = descriptor.as_raw_fd();
    // SAFETY: asks for the seals of a borrowed descriptor.
    let seals = unsafe { libc::fcntl(raw, libc::F_GET_SEALS) };
    if seals < 0 || seals & wanted != wanted {
        return Err(io::Error::other("the shared memory is not sealed"));
    }
    if usize::try_from(status_of(descriptor)?.st_size) != Ok(bytes) {
        return Err(io::Error::other("the shared memory has another size"));
    }
    Ok(())
}

fn status_of(descriptor: BorrowedFd<'_>) -> io::Result<libc::stat> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the call fills the structure or fails.
    succeeded(unsafe { libc::fstat(descriptor.as_raw_fd(), status.as_mut_ptr()) })?;
    // SAFETY: filled by the successful call.
    Ok(unsafe { status.assume_init() })
}

/// Maps a file of a sealed size. Not inherited by a forked child, and not dumped.
fn map_shared(raw: libc::c_int, bytes: usize, protection: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping at a place of the kernel's choice, of a file whose size is sealed.
    let base = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, libc::MAP_SHARED, raw, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for advice in [libc::MADV_DONTFORK, libc::MADV_DONTDUMP] {
        // SAFETY: the whole mapping, which is ours.
        succeeded(unsafe { libc::madvise(base, bytes, advice) })?;
    }
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at zero"))
}

pub(crate) fn processor() -> u32 {
    // SAFETY: has no arguments and no effects.
    let processor = unsafe { libc::sched_getcpu() };
    u32::try_from(processor).unwrap_or(u32::MAX)
}

fn succeeded(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_s_line_begins_where_the_client_s_ends() {
        assert_eq!(std::mem::offset_of!(Control, answered), 64);
        assert!(size_of::<Control>() <= CONTROL_BYTES);
    }
}
