//! A corrupted heap ends the process. Each case runs in a process of its own, which is this test program called again.
#![allow(
    clippy::unwrap_used,
    reason = "also in what several tests share, a failed unwrap is the failed assertion"
)]

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr::NonNull;

use strongroom_keymem::{Config, Locking, allocate, release, size_of_allocation, start};

const VICTIM: &str = "STRONGROOM_KEYMEM_VICTIM";

fn dies(test: &str, says: &str, act: impl FnOnce()) {
    if env::var_os(VICTIM).is_some() {
        start(&Config {
            bytes: Some(1 << 20),
            locking: Locking::DangerUnlockedAllowed,
        })
        .unwrap();
        act();
        return;
    }
    let program = env::current_exe().unwrap();
    let mut command = Command::new(program);
    let output = command
        .args([test, "--exact", "--nocapture"])
        .env(VICTIM, "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(errors.contains(says), "{errors}");
}

fn freed(bytes: usize) -> NonNull<u8> {
    let pointer = allocate(bytes).unwrap();
    // SAFETY: live and not used again, but for the misuse that the test is about.
    unsafe { release(pointer) };
    pointer
}

fn misuse(pointer: NonNull<u8>) {
    // SAFETY: none; the process must end before anything comes of it.
    unsafe { release(pointer) }
}

#[test]
fn a_small_block_released_twice() {
    dies("a_small_block_released_twice", "twice", || {
        let _other = allocate(100);
        misuse(freed(100));
    });
}

#[test]
fn a_large_allocation_released_twice() {
    dies(
        "a_large_allocation_released_twice",
        "no live allocation",
        || misuse(freed(100_000)),
    );
}

#[test]
fn a_pointer_into_the_middle_of_a_block() {
    dies("a_pointer_into_the_middle_of_a_block", "middle", || {
        let pointer = allocate(100).unwrap();
        misuse(pointer.map_addr(|address| address.saturating_add(16)));
    });
}

#[test]
fn a_pointer_into_the_middle_of_pages() {
    dies(
        "a_pointer_into_the_middle_of_pages",
        "no live allocation",
        || {
            let pointer = allocate(100_000).unwrap();
            misuse(pointer.map_addr(|address| address.saturating_add(8192)));
        },
    );
}

#[test]
fn a_pointer_from_elsewhere() {
    dies("a_pointer_from_elsewhere", "elsewhere", || {
        let mut byte = Box::new(1_u8);
        misuse(NonNull::from(byte.as_mut()));
    });
}

#[test]
fn the_size_of_what_was_never_allocated() {
    dies(
        "the_size_of_what_was_never_allocated",
        "no live allocation",
        || {
            let pointer = allocate(100_000).unwrap();
            let inside = pointer.map_addr(|address| address.saturating_add(4096));
            // SAFETY: none; the process must end before anything comes of it.
            let _ = unsafe { size_of_allocation(inside) };
        },
    );
}
