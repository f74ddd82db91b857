//! What lives here: the three functions by which AWS-LC allocates from keymem, and the flag that tells
//! an allocation failure from any other.
//!
//! What must never live here: a fallback to the ordinary heap, where a private number could end up in
//! swap or in a dump.
//!
//! Who calls it: AWS-LC, on every allocation of the process; [`crate::start`].

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use crate::error::Error;

/// Installs the allocator, once in the life of the process.
pub(crate) fn hand_over() -> Result<(), Error> {
    if strongroom_keymem::status().is_none() {
        return Err(Error::Memory);
    }
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: the three functions live as long as the process and keep malloc's contract.
        let answer = unsafe {
            aws_lc_sys::CRYPTO_set_mem_functions(Some(allocate), Some(reallocate), Some(release))
        };
        answer == 1
    });
    if *installed {
        Ok(())
    } else {
        Err(Error::Internal)
    }
}

/// Whether AWS-LC could now allocate that much; always so while its heap is the ordinary one.
pub(crate) fn has_room_for(bytes: usize) -> bool {
    if INSTALLED.get() != Some(&true) {
        return true;
    }
    // Trying is the only question that the fragments of the pool answer truthfully.
    let probe = strongroom_keymem::allocate(bytes);
    if let Some(probe) = probe {
        // SAFETY: just allocated, and used by nobody.
        unsafe { strongroom_keymem::release(probe) };
    }
    probe.is_some()
}

/// Whether an allocation of this thread has failed since the last question.
pub(crate) fn was_exhausted() -> bool {
    EXHAUSTED.replace(false)
}

/// Whether AWS-LC took the functions below.
static INSTALLED: OnceLock<bool> = OnceLock::new();

thread_local! {
    // No destructor and no lazy initialisation: AWS-LC allocates inside thread destructors too.
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
}

unsafe extern "C" fn allocate(bytes: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    // malloc(0) may answer null, but AWS-LC reads null as failure.
    match strongroom_keymem::allocate(bytes.max(1)) {
        Some(pointer) => pointer.as_ptr().cast(),
        None => {
            EXHAUSTED.set(true);
            ptr::null_mut()
        }
    }
}

unsafe extern "C" fn reallocate(
    pointer: *mut c_void,
    bytes: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    let Some(old) = NonNull::new(pointer.cast::<u8>()) else {
        // SAFETY: `allocate` has no precondition.
        return unsafe { allocate(bytes, file, line) };
    };
    if !strongroom_keymem::contains(old.as_ptr()) {
        // Allocated before the hand-over: its size is unknown here.
        EXHAUSTED.set(true);
        return ptr::null_mut();
    }
    // SAFETY: AWS-LC gives back what `allocate` gave it, and it lies in the pool.
    let old_bytes = unsafe { strongroom_keymem::size_of_allocation(old) };
    if bytes <= old_bytes {
        return pointer;
    }
    // SAFETY: `allocate` has no precondition.
    let new = unsafe { allocate(bytes, file, line) };
    if !new.is_null() {
        // SAFETY: both are live, distinct allocations of at least `old_bytes` bytes.
        unsafe { ptr::copy_nonoverlapping(old.as_ptr(), new.cast::<u8>(), old_bytes) };
        // SAFETY: the contract of realloc: the old pointer is not used again after success.
        unsafe { strongroom_keymem::release(old) };
    }
    new
}

unsafe extern "C" fn release(pointer: *mut c_void, _file: *const c_char, _line: c_int) {
    let Some(pointer) = NonNull::new(pointer.cast::<u8>()) else {
        return;
    };
    // What was allocated before the hand-over came from malloc with a prefix: it is leaked, not guessed.
    if strongroom_keymem::contains(pointer.as_ptr()) {
        // SAFETY: AWS-LC frees what `allocate` gave it, once.
        unsafe { strongroom_keymem::release(pointer) };
    }
}
