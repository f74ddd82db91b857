//! The owners of secret bytes, in the pool of the process.
#![allow(
    clippy::unwrap_used,
    reason = "also in what several tests share, a failed unwrap is the failed assertion"
)]

use std::thread;

use strongroom_keymem::{
    Backing, Config, Locking, OutOfMemory, SecretBytes, SecretVec, allocate, contains, reallocate,
    release, size_of_allocation, start, status, wipe,
};

const BYTES: usize = 4 << 20;
const POOLED_BYTES_MAX: usize = 64 << 10;

fn started() {
    start(&Config {
        bytes: Some(BYTES),
        locking: Locking::Required,
    })
    .unwrap();
}

#[test]
fn starting_twice_changes_nothing() {
    started();
    let other = Config {
        bytes: Some(2 << 20),
        locking: Locking::DangerUnlockedAllowed,
    };
    start(&other).unwrap();
    let status = status().unwrap();
    assert_eq!(status.bytes_total, BYTES);
    assert_ne!(status.backing, Backing::Unlocked);
    assert!(["memfd_secret", "mlock"].contains(&status.backing.to_string().as_str()));
}

#[test]
fn a_secret_lies_in_the_region_and_shows_only_its_length() {
    started();
    let secret = SecretBytes::copy_from(&[7; 32]).unwrap();
    assert!(secret.with(|bytes| contains(bytes.as_ptr())));
    assert_eq!(format!("{secret:?}"), "SecretBytes(32 bytes)");
    assert_eq!((secret.len(), secret.is_empty()), (32, false));
    let local = 1_u8;
    assert!(!contains(&raw const local));
}

#[test]
fn a_secret_is_written_in_place_and_copied_by_name_only() {
    started();
    let mut secret = SecretBytes::zeroed(5).unwrap();
    secret.with(|bytes| assert_eq!(bytes, [0; 5]));
    secret.with_mut(|bytes| bytes.copy_from_slice(b"abcde"));
    let copy = secret.duplicate().unwrap();
    secret.with_mut(|bytes| bytes[0] = b'x');
    assert!(secret.equals_in_constant_time(b"xbcde"));
    assert!(copy.equals_in_constant_time(b"abcde"));
    assert!(!copy.equals_in_constant_time(b"abcdf"));
    assert!(!copy.equals_in_constant_time(b"abcd"));
    assert!(!copy.equals_in_constant_time(b"abcdef"));
    assert!(SecretBytes::zeroed(0).unwrap().equals_in_constant_time(b""));
}

#[derive(Debug, PartialEq)]
enum FillError {
    Full,
    Refused,
}

impl From<OutOfMemory> for FillError {
    fn from(_: OutOfMemory) -> Self {
        Self::Full
    }
}

#[test]
fn filling_reports_either_error() {
    started();
    let filled = SecretBytes::filled_by(4, |bytes| {
        bytes.fill(9);
        Ok::<(), FillError>(())
    });
    assert!(filled.unwrap().equals_in_constant_time(&[9; 4]));
    let refused = SecretBytes::filled_by(4, |_| Err(FillError::Refused));
    assert_eq!(refused.err(), Some(FillError::Refused));
    let full = SecretBytes::filled_by(1 << 40, |_| Ok::<(), FillError>(()));
    assert_eq!(full.err(), Some(FillError::Full));
}

#[test]
fn a_secret_may_change_threads() {
    started();
    let secret = SecretBytes::copy_from(b"moved").unwrap();
    let back = thread::spawn(move || secret.duplicate().unwrap())
        .join()
        .unwrap();
    assert!(back.equals_in_constant_time(b"moved"));
}

#[test]
fn a_buffer_crosses_to_a_mapping_and_back() {
    started();
    let mut buffer = SecretVec::new();
    let mut expected = Vec::new();
    for step in 0..600_usize {
        let part = vec![u8::try_from(step % 256).unwrap(); 331];
        buffer.push_slice(&part).unwrap();
        expected.extend_from_slice(&part);
        assert_eq!(
            contains(buffer.expose().as_ptr()),
            expected.len() <= POOLED_BYTES_MAX
        );
        assert!(buffer.capacity() >= buffer.len());
    }
    assert_eq!(buffer.expose(), expected);
    assert_eq!(
        format!("{buffer:?}"),
        format!("SecretVec({} bytes)", expected.len())
    );

    buffer.shrink_to_pool();
    assert_eq!(buffer.expose(), expected, "a buffer in use stays");
    buffer.clear();
    assert!(
        buffer.capacity() > POOLED_BYTES_MAX,
        "clearing keeps the room"
    );
    buffer.shrink_to_pool();
    assert_eq!((buffer.len(), buffer.capacity()), (0, 0));
    buffer.push_slice(b"small").unwrap();
    assert!(contains(buffer.expose().as_ptr()));
    let room = buffer.capacity();
    buffer.clear();
    buffer.shrink_to_pool();
    assert_eq!(buffer.capacity(), room, "room in the pool is kept");
}

#[test]
fn what_is_cut_off_is_wiped() {
    started();
    for capacity in [1000, 100_000] {
        let mut buffer = SecretVec::with_capacity(capacity).unwrap();
        buffer.push_slice(&[0xCC; 1000]).unwrap();
        let start = buffer.expose().as_ptr();
        buffer.truncate(2000);
        assert_eq!(buffer.len(), 1000);
        buffer.truncate(10);
        for place in 10..1000 {
            // SAFETY: inside the capacity of a live buffer.
            assert_eq!(unsafe { start.wrapping_add(place).read() }, 0);
        }
        assert_eq!(buffer.expose(), [0xCC; 10]);
        assert_eq!(buffer.grow(5).unwrap(), [0; 5]);
        buffer.expose_mut()[14] = 1;
        assert_eq!(buffer.len(), 15);
        buffer.clear();
        assert!(buffer.is_empty());
        // SAFETY: as above.
        assert_eq!(unsafe { start.wrapping_add(14).read() }, 0);
    }
}

#[test]
fn lengths_that_cannot_be_leave_the_buffer_as_it_was() {
    started();
    let mut buffer = SecretVec::default();
    buffer.push_slice(b"kept").unwrap();
    assert_eq!(buffer.grow(usize::MAX).err(), Some(OutOfMemory));
    assert_eq!(buffer.grow(usize::MAX / 2).err(), Some(OutOfMemory));
    assert_eq!(buffer.expose(), b"kept");
    assert!(SecretVec::with_capacity(usize::MAX).is_err());
    assert_eq!(SecretVec::with_capacity(0).unwrap().capacity(), 0);
    assert!(
        SecretVec::with_capacity(POOLED_BYTES_MAX)
            .unwrap()
            .capacity()
            >= POOLED_BYTES_MAX
    );
}

#[test]
fn a_forked_child_does_not_see_the_bytes() {
    started();
    let mut big = SecretVec::new();
    big.push_slice(&[0xAB; 100_000]).unwrap();
    let small = SecretBytes::copy_from(&[0xAB; 32]).unwrap();
    for address in [big.expose().as_ptr(), small.with(<[u8]>::as_ptr)] {
        // SAFETY: the child only reads one byte and leaves by _exit.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: a live secret in the parent; in the child the fault is what the test expects.
            let _ = unsafe { address.read_volatile() };
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV);
    }
}

#[test]
fn a_c_heap_can_stand_on_it() {
    started();
    let pointer = allocate(24).unwrap();
    assert!(contains(pointer.as_ptr()));
    // SAFETY: live.
    assert!(unsafe { size_of_allocation(pointer) } >= 24);
    // SAFETY: the old pointer is not used again.
    let moved = unsafe { reallocate(pointer, 4000) }.unwrap();
    // SAFETY: live and not used again.
    unsafe { release(moved) };
}

/// What a C library does at thread exit: it frees from a destructor of thread-local storage.
struct AtThreadExit(Option<SecretBytes>);

impl Drop for AtThreadExit {
    fn drop(&mut self) {
        let more = SecretBytes::zeroed(100).unwrap();
        drop(self.0.take());
        drop(more);
    }
}

thread_local! {
    static LAST: std::cell::RefCell<Option<AtThreadExit>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_dying_thread_may_still_release_and_allocate() {
    started();
    for _ in 0..20 {
        let thread = thread::spawn(|| {
            LAST.with_borrow_mut(|last| {
                *last = Some(AtThreadExit(SecretBytes::zeroed(48).ok()));
            });
        });
        thread.join().unwrap();
    }
}

#[test]
fn ordinary_memory_can_be_wiped() {
    let mut bytes = vec![1_u8; 50];
    wipe(&mut bytes);
    assert_eq!(bytes, [0; 50]);
}
