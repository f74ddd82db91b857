//! Random bytes fetched ahead.
//!
//! What lives here: bytes that no caller has had yet, each handed out once and wiped.
//! What must never live here: a generator; the daemon has it.
//! Who calls it: C_GenerateRandom.

use std::sync::{Mutex, PoisonError};

use strongroom_wire::ck::Rv;

use crate::abi::system::{WipedByFork, wipe};

/// Longest run that is served from here: longer ones gain nothing.
pub(crate) const RUN_BYTES_MAX: usize = 8 << 10;
/// Most bytes fetched at once.
const FETCH_BYTES_MAX: usize = 64 << 10;
/// The second fetch; the first fetches no more than was asked for, since many programs never ask again.
const SECOND_FETCH_BYTES: usize = 256;

/// Bytes that are ready. A forked child finds none: no two processes hand out the same.
#[derive(Default)]
pub(crate) struct Prefetched(Mutex<Ready>);

#[derive(Default)]
struct Ready {
    memory: Option<WipedByFork>,
    from: usize,
    to: usize,
    /// How much to fetch next, unless more is wanted.
    next: usize,
}

impl Prefetched {
    /// Shows `bytes` random bytes once; `fetch` gets more of them.
    pub(crate) fn take(
        &self,
        bytes: usize,
        fetch: impl FnOnce(&mut [u8]) -> Result<(), Rv>,
        show: impl FnOnce(&[u8]),
    ) -> Result<(), Rv> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ready.make_memory()?;
        let Ready {
            memory,
            from,
            to,
            next,
        } = &mut *ready;
        let memory = memory.as_mut().ok_or(Rv::HOST_MEMORY)?;
        if !memory.is_whole() {
            (*from, *to) = (0, 0);
        }
        let room = memory.bytes_mut();
        if to.saturating_sub(*from) < bytes {
            let wanted = bytes.max(*next).min(FETCH_BYTES_MAX);
            // Nothing is ready until all of it is.
            (*from, *to) = (0, 0);
            fetch(room.get_mut(..wanted).ok_or(Rv::HOST_MEMORY)?)?;
            *to = wanted;
            *next = wanted.saturating_mul(2).max(SECOND_FETCH_BYTES);
        }
        let end = from.saturating_add(bytes);
        let taken = room.get_mut(*from..end).ok_or(Rv::HOST_MEMORY)?;
        show(taken);
        wipe(taken);
        *from = end;
        Ok(())
    }

    /// Throws away what is ready: what comes next shall depend on the caller's seed.
    pub(crate) fn forget(&self) {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (ready.from, ready.to) = (0, 0);
        if let Some(memory) = &mut ready.memory {
            wipe(memory.bytes_mut());
        }
    }
}

impl Ready {
    fn make_memory(&mut self) -> Result<(), Rv> {
        if self.memory.is_none() {
            self.memory = WipedByFork::new(FETCH_BYTES_MAX);
        }
        self.memory.as_ref().map(|_| ()).ok_or(Rv::HOST_MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[test]
    fn every_byte_is_handed_out_once_and_fetches_grow() {
        let ready = Prefetched::default();
        let fetched = RefCell::new(Vec::new());
        let counter = Cell::new(0_u8);
        let mut given = Vec::new();
        for _ in 0..200 {
            let fetch = |room: &mut [u8]| {
                fetched.borrow_mut().push(room.len());
                for byte in room {
                    let next = counter.get().wrapping_add(1);
                    counter.set(next);
                    *byte = next;
                }
                Ok(())
            };
            ready
                .take(32, fetch, |bytes| given.extend_from_slice(bytes))
                .unwrap();
        }
        assert_eq!(fetched.borrow()[..3], [32, 256, 512]);
        // All fetches are multiples of 32 here, so nothing was left over.
        let expected: Vec<u8> = (1..=given.len())
            .map(|count| u8::try_from(count % 256).unwrap())
            .collect();
        assert_eq!(given, expected);
    }

    #[test]
    fn what_is_forgotten_or_was_not_fetched_is_never_handed_out() {
        let ready = Prefetched::default();
        let fill = |value| {
            move |room: &mut [u8]| {
                room.fill(value);
                Ok(())
            }
        };
        for _ in 0..2 {
            ready
                .take(16, fill(1), |bytes| assert_eq!(bytes, [1; 16]))
                .unwrap();
        }
        ready.forget();
        ready
            .take(16, fill(2), |bytes| assert_eq!(bytes, [2; 16]))
            .unwrap();
        ready.forget();
        let refused = ready.take(
            16,
            |_| Err(Rv::DEVICE_REMOVED),
            |_| panic!("nothing is there"),
        );
        assert_eq!(refused, Err(Rv::DEVICE_REMOVED));
        ready
            .take(16, fill(3), |bytes| assert_eq!(bytes, [3; 16]))
            .unwrap();
    }
}
