//! *What lives here:* the promises of a mapping, asked from the kernel. *What must never live here:* the pool.
//! *Who calls it:* the test runner.

use std::fs;
use std::io::{Read, Seek, SeekFrom};

use super::*;

/// Small, because the tests run at once and all of them within the limit of an ordinary user.
const BYTES: usize = 256 << 10;

/// Runs in a forked child, which must not allocate: another thread may have held the heap's lock.
fn signal_of_child(act: impl FnOnce()) -> Option<i32> {
    // SAFETY: the child only touches memory and leaves by _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        act();
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: waits for the child just made.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
}

fn read_volatile(address: *const u8) {
    // SAFETY: for the child of a test: the page is mapped, or the fault is what the test expects.
    let _ = unsafe { address.read_volatile() };
}

/// The lines of /proc/self/smaps for the mapping that begins at this address.
fn smaps(start: usize) -> String {
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{start:x}-")));
    let head = lines.next().expect("the mapping is listed");
    let rest = lines.take_while(|line| line.split(' ').next().unwrap().ends_with(':'));
    [head]
        .into_iter()
        .chain(rest)
        .collect::<Vec<_>>()
        .join("\n")
}

fn flags(smaps: &str) -> Vec<&str> {
    let line = smaps
        .lines()
        .find_map(|line| line.strip_prefix("VmFlags:"))
        .unwrap();
    line.split_whitespace().collect()
}

fn kinds() -> Vec<Mapping> {
    let secret = Mapping::secret(BYTES).inspect_err(|error| println!("memfd_secret: {error}"));
    let mut mappings = vec![
        Mapping::locked(BYTES).unwrap(),
        Mapping::unlocked(BYTES).unwrap(),
    ];
    mappings.extend(secret);
    mappings
}

#[test]
fn guard_pages_fault_and_the_ends_do_not() {
    for mapping in kinds() {
        mapping.populate(0, BYTES).unwrap();
        let (first, last) = (mapping.at(0).as_ptr(), mapping.at(BYTES - 1).as_ptr());
        // SAFETY: the first byte of a mapping of ours.
        unsafe { first.write(7) };
        // SAFETY: the last byte of it.
        unsafe { last.write(9) };
        for outside in [first.wrapping_sub(1), last.wrapping_add(1)] {
            let signal = signal_of_child(|| read_volatile(outside));
            assert_eq!(signal, Some(libc::SIGSEGV));
        }
    }
}

#[test]
fn a_forked_child_does_not_have_the_memory() {
    for mapping in kinds() {
        mapping.populate(0, BYTES).unwrap();
        let inside = mapping.at(4096).as_ptr();
        assert_eq!(
            signal_of_child(|| read_volatile(inside)),
            Some(libc::SIGSEGV)
        );
        read_volatile(inside);
    }
}

#[test]
fn the_kernel_lists_it_as_locked_and_not_dumped() {
    for (mapping, locked) in [
        (Mapping::locked(BYTES).unwrap(), true),
        (Mapping::locked_if_allowed(BYTES).unwrap(), true),
        (Mapping::unlocked(BYTES).unwrap(), false),
    ] {
        let listed = smaps(mapping.at(0).as_ptr().addr());
        let flags = flags(&listed);
        assert!(flags.contains(&"dd") && flags.contains(&"dc"), "{flags:?}");
        assert_eq!(flags.contains(&"lo"), locked, "{flags:?}");
    }
}

#[test]
fn secret_memory_cannot_be_read_through_proc() {
    let Ok(mapping) = Mapping::secret(BYTES) else {
        println!("this kernel has no memfd_secret: nothing to see");
        return;
    };
    mapping.populate(0, 65_536).unwrap();
    let address = mapping.at(0).as_ptr();
    // SAFETY: the first byte of a mapping of ours.
    unsafe { address.write(0x5A) };
    let listed = smaps(address.addr());
    assert!(
        listed.lines().next().unwrap().contains("secretmem"),
        "{listed}"
    );
    let flags = flags(&listed);
    for flag in ["lo", "dd", "dc"] {
        assert!(flags.contains(&flag), "{flag} in {flags:?}");
    }
    let mut memory = fs::File::open("/proc/self/mem").unwrap();
    memory.seek(SeekFrom::Start(address.addr() as u64)).unwrap();
    let error = memory.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
}

#[test]
fn populating_makes_zero_pages_resident() {
    for mapping in kinds() {
        mapping.populate(0, 131_072).unwrap();
        for offset in 0..131_072 {
            // SAFETY: inside the mapping, which nobody else uses.
            assert_eq!(unsafe { mapping.at(offset).read() }, 0);
        }
        let listed = smaps(mapping.at(0).as_ptr().addr());
        let resident = listed
            .lines()
            .find_map(|line| line.strip_prefix("Rss:"))
            .unwrap();
        // The kernel does not count memfd_secret as resident, so only a number above zero tells anything.
        let resident: usize = resident
            .trim()
            .strip_suffix(" kB")
            .unwrap()
            .parse()
            .unwrap();
        assert!(resident == 0 || resident >= 128, "{listed}");
    }
}

#[test]
fn what_cannot_be_filled_is_an_error_and_no_signal() {
    let mapping = Mapping::reserved(BYTES).unwrap();
    assert_eq!(
        mapping.populate(0, 4096).unwrap_err().raw_os_error(),
        Some(libc::EFAULT)
    );
}

#[test]
fn absurd_lengths_are_errors() {
    for bytes in [usize::MAX, usize::MAX - 4096, usize::MAX / 2] {
        assert!(Mapping::unlocked(bytes).is_err());
    }
    assert_eq!(Mapping::unlocked(0).unwrap().bytes(), system_page_bytes());
}

#[test]
fn addresses_and_offsets_agree() {
    let mapping = Mapping::unlocked(BYTES).unwrap();
    let start = mapping.at(0).as_ptr();
    assert_eq!(mapping.offset_of(mapping.at(77).as_ptr()), Some(77));
    assert_eq!(mapping.offset_of(start.wrapping_sub(1)), None);
    assert_eq!(mapping.offset_of(start.wrapping_add(BYTES)), None);
    assert_eq!(mapping.offset_of(ptr::null()), None);
}
