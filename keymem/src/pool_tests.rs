//! *What lives here:* pools of their own, filled, emptied, shared and broken up. *What must never live here:* the pool of the
//! process. *Who calls it:* the test runner.

use std::collections::BTreeMap;
use std::sync::mpsc;

use super::*;
use crate::budget::{Config, Locking, take_region};

/// In ordinary memory: how it is locked is not the subject here, and an ordinary user may lock little.
fn pool(bytes: usize) -> Pool {
    let mapping = Mapping::unlocked(bytes).unwrap();
    Pool::new(Region {
        mapping,
        backing: Backing::Unlocked,
        populated_bytes: 0,
    })
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % end
    }

    /// Mostly small, as a crypto library asks.
    fn size(&mut self) -> usize {
        let end = [64, 256, 1024, 8192, 66_000][self.below(5)];
        self.below(end)
    }
}

/// A live allocation with a pattern over its whole usable size, checked when it ends.
struct Held {
    address: usize,
    usable: usize,
    pattern: u8,
}

impl Held {
    fn new(pool: &Pool, bytes: usize, pattern: u8) -> Option<Self> {
        let pointer = pool.allocate(bytes)?;
        let usable = pool.size_of_allocation(pointer);
        assert!(usable >= bytes);
        assert_eq!(pointer.addr().get() % 16, 0);
        let held = Self {
            address: pointer.addr().get(),
            usable,
            pattern,
        };
        assert!(
            held.bytes(pool).iter().all(|byte| *byte == 0),
            "free memory is zero"
        );
        held.bytes(pool).fill(pattern);
        Some(held)
    }

    fn release(self, pool: &Pool) {
        assert!(
            self.bytes(pool).iter().all(|byte| *byte == self.pattern),
            "nobody else wrote"
        );
        // SAFETY: `self` is the only owner and ends here.
        unsafe { pool.release(self.pointer(pool)) };
    }

    fn pointer(&self, pool: &Pool) -> NonNull<u8> {
        pool.region
            .at(self.address - pool.region.at(0).addr().get())
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "a test double of a C caller; each use is a statement"
    )]
    fn bytes(&self, pool: &Pool) -> &mut [u8] {
        // SAFETY: the allocation is live, `usable` bytes long, and only `self` uses it.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(pool).as_ptr(), self.usable) }
    }
}

/// A byte of the region, allocated or not. No other thread may use the pool.
fn byte_at(start: NonNull<u8>, place: usize) -> u8 {
    // SAFETY: the region stays mapped and initialised as long as the pool of the test.
    unsafe { start.as_ptr().wrapping_add(place).read() }
}

/// Nothing is handed out, nothing is left behind, and the whole region can be had in one piece.
fn assert_recovered(pool: &Pool) {
    let status = pool.status();
    assert_eq!((status.bytes_used, status.allocations), (0, 0));
    let whole = Held::new(pool, status.bytes_total, 1).expect("the whole region in one piece");
    assert!(pool.allocate(1).is_none());
    whole.release(pool);
}

#[test]
fn every_size_is_served_and_counted() {
    let pool = pool(4 << 20);
    for bytes in (0..10_000).step_by(13).chain([65_536, 1 << 20]) {
        let held = Held::new(&pool, bytes, 0xEE).unwrap();
        assert!(held.usable <= bytes.max(1).next_multiple_of(16) * 4 / 3 + 4096);
        let status = pool.status();
        assert_eq!((status.bytes_used, status.allocations), (held.usable, 1));
        assert!(status.bytes_peak >= status.bytes_used);
        held.release(&pool);
    }
    assert_recovered(&pool);
}

#[test]
fn a_released_block_is_zero_before_it_can_be_reused() {
    let pool = pool(1 << 20);
    for bytes in [1, 16, 100, 500, 3000, 5456, 5457, 70_000] {
        let held = Held::new(&pool, bytes, 0xA5).unwrap();
        let (address, usable) = (held.pointer(&pool), held.usable);
        held.release(&pool);
        for place in 0..usable {
            assert_eq!(byte_at(address, place), 0, "{bytes} bytes, at {place}");
        }
    }
}

#[test]
fn exhaustion_is_none_and_recovers_completely() {
    let pool = pool(1 << 20);
    let mut random = Random(3);
    for bytes in [1, 16, 33, 600, 1024, 4096, 5000, 9000, 65_536, 0] {
        let mut held = Vec::new();
        // 0 stands for a mixture.
        while let Some(one) = Held::new(&pool, if bytes == 0 { random.size() } else { bytes }, 0x77)
        {
            held.push(one);
        }
        assert!(pool.allocate(1 << 20).is_none());
        let used = pool.status().bytes_used;
        assert!(used > (1 << 20) / 10 * 7, "{bytes}: {used}");
        while !held.is_empty() {
            held.swap_remove(random.below(held.len())).release(&pool);
        }
        assert_recovered(&pool);
    }
    assert!(pool.allocate(usize::MAX).is_none());
}

#[test]
fn a_full_pool_lends_blocks_of_other_shards_and_classes() {
    let pool = pool(1 << 20);
    // A span with room for another class and, thanks to the thread, perhaps in another shard.
    let other = thread::scope(|scope| {
        let pool = &pool;
        scope
            .spawn(move || Held::new(pool, 2000, 5))
            .join()
            .unwrap()
            .unwrap()
    });
    let mut held = Vec::new();
    while let Some(one) = Held::new(&pool, 4096, 6) {
        held.push(one);
    }
    while let Some(one) = Held::new(&pool, 1500, 7) {
        held.push(one);
    }
    assert!(
        held.iter().any(|one| one.usable == 2048),
        "the rest of the span of `other`"
    );
    other.release(&pool);
    held.into_iter().for_each(|one| one.release(&pool));
    assert_recovered(&pool);
}

#[test]
fn a_region_broken_into_pieces_becomes_whole_again() {
    let pool = pool(8 << 20);
    let mut random = Random(11);
    let mut held = BTreeMap::new();
    for round in 0..60_000_usize {
        if random.below(100) < 55 {
            if let Some(one) = Held::new(&pool, random.size(), u8::try_from(round % 251).unwrap()) {
                assert!(held.insert(one.address, one).is_none());
            }
        } else if !held.is_empty() {
            let from = pool.region.at(random.below(8 << 20)).addr().get();
            let key = held
                .range(from..)
                .chain(held.iter())
                .next()
                .map(|(key, _)| *key)
                .unwrap();
            held.remove(&key).unwrap().release(&pool);
        }
    }
    let ends: Vec<_> = held
        .values()
        .map(|one| (one.address, one.address + one.usable))
        .collect();
    assert!(
        ends.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "no two overlap"
    );
    held.into_values().for_each(|one| one.release(&pool));
    assert_recovered(&pool);
}

#[test]
fn long_lived_keys_among_short_lived_numbers_do_not_eat_the_pool() {
    let pool = pool(2 << 20);
    let mut random = Random(5);
    let mut keys = Vec::new();
    for _ in 0..200 {
        let numbers: Vec<_> = (0..100)
            .map(|_| Held::new(&pool, 64 + random.below(600), 2).unwrap())
            .collect();
        keys.push(Held::new(&pool, 48, 3).unwrap());
        numbers.into_iter().for_each(|one| one.release(&pool));
    }
    let large = Held::new(&pool, 1 << 20, 4).expect("the short-lived left no holes");
    large.release(&pool);
    keys.into_iter().for_each(|one| one.release(&pool));
    assert_recovered(&pool);
}

#[test]
fn many_threads_never_see_each_others_bytes() {
    let pool = pool(16 << 20);
    thread::scope(|scope| {
        for number in 1..=8_u8 {
            let pool = &pool;
            scope.spawn(move || {
                let mut random = Random(u64::from(number));
                let mut held = Vec::new();
                for _ in 0..15_000 {
                    if held.len() < 40 && random.below(2) == 0 {
                        held.extend(Held::new(pool, random.size(), number));
                    } else if !held.is_empty() {
                        held.swap_remove(random.below(held.len())).release(pool);
                    }
                }
                held.into_iter().for_each(|one| one.release(pool));
            });
        }
    });
    assert_recovered(&pool);
}

#[test]
fn threads_that_exhaust_the_pool_together_all_go_on() {
    let pool = pool(1 << 20);
    thread::scope(|scope| {
        for number in 1..=6_u8 {
            let pool = &pool;
            scope.spawn(move || {
                let mut random = Random(u64::from(number) << 9);
                let (mut held, mut refused) = (Vec::new(), 0);
                for _ in 0..6_000 {
                    match Held::new(pool, random.size() / 2, number) {
                        Some(one) => held.push(one),
                        None => {
                            refused += 1;
                            held.drain(held.len() / 2..)
                                .for_each(|one| one.release(pool));
                        }
                    }
                }
                assert!(refused > 0);
                held.into_iter().for_each(|one| one.release(pool));
            });
        }
    });
    assert_recovered(&pool);
}

#[test]
fn what_one_thread_takes_another_may_release() {
    let pool = pool(4 << 20);
    let (sender, receiver) = mpsc::sync_channel::<Held>(64);
    thread::scope(|scope| {
        let pool = &pool;
        for number in 1..=3_u8 {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut random = Random(u64::from(number) + 77);
                for _ in 0..10_000 {
                    let size = random.size() / 8;
                    sender.send(Held::new(pool, size, number).unwrap()).unwrap();
                }
            });
        }
        drop(sender);
        scope.spawn(move || receiver.into_iter().for_each(|one| one.release(pool)));
    });
    assert_recovered(&pool);
}

#[test]
fn moving_keeps_the_bytes_and_wipes_the_old_place() {
    let pool = pool(2 << 20);
    let mut pointer = pool.allocate(10).unwrap();
    // SAFETY: ten bytes were asked for.
    unsafe { pointer.write_bytes(0x42, 10) };
    for bytes in [16, 17, 100, 5000, 100_000, 200, 12] {
        // SAFETY: only the new pointer is used from here on.
        let moved = unsafe { pool.reallocate(pointer, bytes) }.unwrap();
        if moved != pointer {
            assert_eq!(byte_at(pointer, 0), 0);
        }
        pointer = moved;
        assert!(pool.size_of_allocation(pointer) >= bytes);
        for place in 0..10 {
            assert_eq!(byte_at(pointer, place), 0x42);
        }
    }
    // SAFETY: a live pointer, not used again.
    assert!(unsafe { pool.reallocate(pointer, 4 << 20) }.is_none());
    // SAFETY: as a refused move left it live.
    unsafe { pool.release(pointer) };
    assert_recovered(&pool);
}

#[test]
fn locked_memory_is_filled_in_as_the_pool_grows() {
    let config = Config {
        bytes: Some(1 << 20),
        locking: Locking::Required,
    };
    let pool = Pool::new(take_region(&config).unwrap());
    let populated = || pool.reserve.lock().populated_bytes;
    let at_start = populated();
    assert!(at_start < 1 << 20);
    let small = Held::new(&pool, 100, 8).unwrap();
    assert_eq!(populated(), at_start);
    let large = Held::new(&pool, at_start, 9).unwrap();
    assert!((at_start + 1..1 << 20).contains(&populated()));
    small.release(&pool);
    large.release(&pool);
    assert_recovered(&pool);
    assert_eq!(populated(), 1 << 20);
}

#[test]
fn pages_that_cannot_be_filled_in_are_none_and_not_lost() {
    let pool = pool(1 << 20);
    let held = Held::new(&pool, 100, 8).unwrap();
    let kept = pool.reserve.lock().populated_bytes;
    let set = |protection| {
        let rest = pool.region.at(kept).as_ptr().cast();
        // SAFETY: nothing of the pool lies in the part that was never filled in.
        let result = unsafe { libc::mprotect(rest, (1 << 20) - kept, protection) };
        assert_eq!(result, 0);
    };
    set(libc::PROT_NONE);
    assert!(pool.allocate(100_000).is_none());
    set(libc::PROT_READ | libc::PROT_WRITE);
    held.release(&pool);
    assert_recovered(&pool);
}

#[test]
fn roles_survive_packing() {
    for role in [
        Role::None,
        Role::Large { pages: 1 },
        Role::Large { pages: 1 << 20 },
        Role::Small {
            class: Class::at(0),
            shard: 0,
            pages_back: 0,
        },
        Role::Small {
            class: Class::at(CLASSES - 1),
            shard: SHARDS_MAX - 1,
            pages_back: 3,
        },
    ] {
        assert_eq!(Role::unpack(role.pack()), role);
    }
}
