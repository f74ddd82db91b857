//! A library that is loaded into a daemon (`LD_PRELOAD`) and lets its disk fail, or kills it, at a step that the test chooses.
//!
//! What lives here: the functions of libc by which a file is changed, counted for the one file that the test names.
//! What must never live here: anything that a product is made of; the daemon is the real one, unchanged.
//! Who calls it: `tests/suite/faults.rs`, through the environment: `FAULT_FILE` (a part of the path), `FAULT_STEP` (from 1), `FAULT_HOW`
//! (`kill`, `kill-half`, `eio`, `enospc`), `FAULT_TIMES` (how many steps in a row fail; a kill needs one).

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each passes on what the caller of libc has promised"
)]
#![allow(missing_docs, reason = "the functions of libc, with their own names")]
#![allow(clippy::missing_safety_doc, reason = "the contracts are those of libc")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes as libc has them"
)]
#![allow(clippy::expect_used, reason = "a wrong environment ends the test")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libc::{mode_t, off_t, size_t, ssize_t};

struct Plan {
    file: String,
    step: u64,
    times: u64,
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Kill,
    KillHalf,
    Fail(c_int),
}

/// What happens at this step.
enum Fate {
    Goes,
    /// After the first half of a write.
    DiesHalfWay,
    Fails(c_int),
}

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
static STEPS: AtomicU64 = AtomicU64::new(0);
static WATCHED: [AtomicBool; 1024] = [const { AtomicBool::new(false) }; 1024];

fn plan() -> Option<&'static Plan> {
    let read = || {
        let value = |name| std::env::var(name).ok();
        let number = |name, otherwise: u64| match value(name) {
            Some(text) => text.parse().expect("a number"),
            None => otherwise,
        };
        let how = match value("FAULT_HOW")?.as_str() {
            "kill" => How::Kill,
            "kill-half" => How::KillHalf,
            "eio" => How::Fail(libc::EIO),
            "enospc" => How::Fail(libc::ENOSPC),
            _ => return None,
        };
        Some(Plan {
            file: value("FAULT_FILE")?,
            step: number("FAULT_STEP", 1),
            times: number("FAULT_TIMES", 1),
            how,
        })
    };
    PLAN.get_or_init(read).as_ref()
}

/// Read before `main`, because the daemon empties its environment.
extern "C" fn begin() {
    let _ = plan();
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

fn die() -> ! {
    loop {
        let own = unsafe { libc::getpid() };
        unsafe { libc::syscall(libc::SYS_kill, own, libc::SIGKILL) };
    }
}

fn fate(watched: bool) -> Fate {
    let Some(plan) = plan().filter(|_| watched) else {
        return Fate::Goes;
    };
    let step = STEPS.fetch_add(1, Ordering::SeqCst) + 1;
    if !(plan.step..plan.step.saturating_add(plan.times)).contains(&step) {
        return Fate::Goes;
    }
    match plan.how {
        How::Kill => die(),
        How::KillHalf => Fate::DiesHalfWay,
        How::Fail(code) => Fate::Fails(code),
    }
}

fn fate_of(descriptor: c_int) -> Fate {
    let watched = WATCHED.get(descriptor as usize);
    fate(watched.is_some_and(|watched| watched.load(Ordering::SeqCst)))
}

fn failed(code: c_int) -> i64 {
    let place = unsafe { libc::__errno_location() };
    unsafe { place.write(code) };
    -1
}

fn named(path: *const c_char) -> bool {
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
    plan().is_some_and(|plan| path.contains(&plan.file))
}

fn opened(path: *const c_char, descriptor: i64) -> c_int {
    if let Some(watched) = WATCHED.get(descriptor as usize) {
        watched.store(named(path), Ordering::SeqCst);
    }
    descriptor as c_int
}

// On this platform a variadic function takes its arguments as one that is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    opened(path, unsafe {
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    unsafe { open64(path, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(descriptor: c_int) -> c_int {
    if let Some(watched) = WATCHED.get(descriptor as usize) {
        watched.store(false, Ordering::SeqCst);
    }
    unsafe { libc::syscall(libc::SYS_close, descriptor) as c_int }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    match fate(named(to)) {
        Fate::Goes => unsafe { libc::syscall(libc::SYS_rename, from, to) as c_int },
        Fate::DiesHalfWay => die(),
        Fate::Fails(code) => failed(code) as c_int,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    descriptor: c_int,
    data: *const c_void,
    length: size_t,
    offset: off_t,
) -> ssize_t {
    let go = |length: size_t| unsafe {
        libc::syscall(libc::SYS_pwrite64, descriptor, data, length, offset) as ssize_t
    };
    match fate_of(descriptor) {
        Fate::Goes => go(length),
        Fate::DiesHalfWay => {
            go(length / 2);
            die()
        }
        Fate::Fails(code) => failed(code) as ssize_t,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(descriptor: c_int, data: *const c_void, length: size_t) -> ssize_t {
    let go = |length: size_t| unsafe {
        libc::syscall(libc::SYS_write, descriptor, data, length) as ssize_t
    };
    match fate_of(descriptor) {
        Fate::Goes => go(length),
        Fate::DiesHalfWay => {
            go(length / 2);
            die()
        }
        Fate::Fails(code) => failed(code) as ssize_t,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(descriptor: c_int) -> c_int {
    match fate_of(descriptor) {
        Fate::Goes => unsafe { libc::syscall(libc::SYS_fdatasync, descriptor) as c_int },
        Fate::DiesHalfWay => die(),
        Fate::Fails(code) => failed(code) as c_int,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(descriptor: c_int) -> c_int {
    match fate_of(descriptor) {
        Fate::Goes => unsafe { libc::syscall(libc::SYS_fsync, descriptor) as c_int },
        Fate::DiesHalfWay => die(),
        Fate::Fails(code) => failed(code) as c_int,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(descriptor: c_int, length: off_t) -> c_int {
    match fate_of(descriptor) {
        Fate::Goes => unsafe { libc::syscall(libc::SYS_ftruncate, descriptor, length) as c_int },
        Fate::DiesHalfWay => die(),
        Fate::Fails(code) => failed(code) as c_int,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fallocate64(
    descriptor: c_int,
    mode: c_int,
    offset: off_t,
    length: off_t,
) -> c_int {
    match fate_of(descriptor) {
        Fate::Goes => unsafe {
            libc::syscall(libc::SYS_fallocate, descriptor, mode, offset, length) as c_int
        },
        Fate::DiesHalfWay => die(),
        Fate::Fails(code) => failed(code) as c_int,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fallocate(
    descriptor: c_int,
    mode: c_int,
    offset: off_t,
    length: off_t,
) -> c_int {
    unsafe { fallocate64(descriptor, mode, offset, length) }
}
