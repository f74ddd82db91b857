//! The numbers of the module's open sockets.
//!
//! What lives here: what a forked child needs to close its copies of the parent's sockets, readable without a lock.
//! What must never live here: ownership; the connections own their sockets.
//! Who calls it: connections note themselves, the process state of a child closes.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use super::CONNECTIONS_MAX;
use crate::abi::system;

/// Open sockets by number and inode.
pub(crate) struct Descriptors([Descriptor; CONNECTIONS_MAX]);

struct Descriptor {
    number: AtomicI32,
    inode: AtomicU64,
}

/// No socket stands here.
const FREE: i32 = -1;
/// A socket is being noted here.
const TAKEN: i32 = -2;

impl Descriptors {
    /// No socket.
    pub(crate) const fn new() -> Self {
        Self(
            [const {
                Descriptor {
                    number: AtomicI32::new(FREE),
                    inode: AtomicU64::new(0),
                }
            }; CONNECTIONS_MAX],
        )
    }

    /// Notes a socket, and tells where.
    pub(super) fn register(&self, number: RawFd) -> Option<usize> {
        let inode = system::inode_of(number)?;
        let free = |place: &&Descriptor| {
            let swap =
                place
                    .number
                    .compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed);
            swap.is_ok()
        };
        let (index, place) = self.0.iter().enumerate().find(|(_, place)| free(place))?;
        place.inode.store(inode, Ordering::Relaxed);
        place.number.store(number, Ordering::Release);
        Some(index)
    }

    /// Forgets the socket noted at a place.
    pub(super) fn forget(&self, index: usize) {
        if let Some(place) = self.0.get(index) {
            place.number.store(FREE, Ordering::Release);
        }
    }

    /// Closes every socket noted, without a byte written. Only for a child after a fork, where the numbers are copies.
    pub(crate) fn close_copies(&self) {
        for place in &self.0 {
            let number = place.number.swap(FREE, Ordering::AcqRel);
            if number >= 0 {
                system::close_if_still(number, place.inode.load(Ordering::Relaxed));
            }
        }
    }
}
