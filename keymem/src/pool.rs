//! *What lives here:* the allocator over the locked region: shards with blocks of fixed sizes, and whole pages for what is
//! larger. All bookkeeping lies in side tables of ordinary memory, found from the address in constant time; inside the region
//! there are bytes of the users only, and free ones are zero. *What must never live here:* system calls, thread-local state with
//! a destructor, allocation from the ordinary heap after [`Pool::new`]. *Who calls it:* the crate root.
//!
//! Lock order: a shard, then the spans. Never two shards.

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;

use parking_lot::{Mutex, MutexGuard};

use crate::budget::Region;
use crate::classes::{BLOCKS_MAX, CLASSES, Class, PAGE_BYTES};
use crate::region::Mapping;
use crate::spans::Spans;
use crate::wipe::{corrupted, wipe_at};
use crate::{Backing, Status};

/// An allocator over one region.
pub(crate) struct Pool {
    region: Mapping,
    backing: Backing,
    pages: Box<[Page]>,
    reserve: Mutex<Reserve>,
    /// A power of two of them.
    shards: Box<[Shard]>,
}

/// What belongs to no shard.
struct Reserve {
    spans: Spans,
    populated_bytes: usize,
    large: Live,
}

/// What is handed out.
#[derive(Clone, Copy, Default)]
struct Live {
    bytes: usize,
    allocations: usize,
}

/// On cache lines of its own, so that threads in different shards do not slow each other.
#[repr(align(128))]
struct Shard(Mutex<ShardState>);

struct ShardState {
    /// By class: the first span with a free block, or [`NONE`].
    with_room: [usize; CLASSES],
    /// By class: how many spans with room are wholly free.
    empty_spans: [usize; CLASSES],
    live: Live,
}

/// A row of the side table. The role is written before a block is handed out and stays while one is; the rest belongs to the
/// shard of the span and is touched under its lock only, so relaxed atomics are plain loads and stores in safe Rust.
#[derive(Default)]
#[repr(align(64))]
struct Page {
    role: AtomicUsize,
    free_blocks: AtomicUsize,
    next: AtomicUsize,
    previous: AtomicUsize,
    /// One bit for each free block.
    free_map: [AtomicU64; BLOCKS_MAX / 64],
}

/// What a page is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Nothing, or the inside of a large allocation.
    None,
    /// Part of a span of small blocks that begins `pages_back` pages before.
    Small {
        class: Class,
        shard: usize,
        pages_back: usize,
    },
    /// The first page of an allocation of so many pages.
    Large { pages: usize },
}

/// A small block, found from its address.
struct Block {
    class: Class,
    shard: usize,
    span: usize,
    index: usize,
}

impl Pool {
    /// An allocator over a region that nobody else uses.
    pub(crate) fn new(region: Region) -> Self {
        let Region {
            mapping,
            backing,
            populated_bytes,
        } = region;
        let pages = mapping.bytes() / PAGE_BYTES;
        let reserve = Reserve {
            spans: Spans::new(pages),
            populated_bytes,
            large: Live::default(),
        };
        Self {
            shards: (0..shard_count(mapping.bytes()))
                .map(|_| Shard::new())
                .collect(),
            pages: (0..pages).map(|_| Page::default()).collect(),
            reserve: Mutex::new(reserve),
            region: mapping,
            backing,
        }
    }

    /// At least `bytes` bytes, aligned to 16.
    pub(crate) fn allocate(&self, bytes: usize) -> Option<NonNull<u8>> {
        let offset = match Class::fitting(bytes) {
            Some(class) => self.allocate_block(class),
            None => self.allocate_pages(bytes.div_ceil(PAGE_BYTES)),
        }?;
        Some(self.region.at(offset))
    }

    /// See [`crate::reallocate`].
    ///
    /// # Safety
    /// `pointer` is a live allocation of this pool, and after `Some` only the new pointer is used.
    pub(crate) unsafe fn reallocate(
        &self,
        pointer: NonNull<u8>,
        bytes: usize,
    ) -> Option<NonNull<u8>> {
        let present = self.size_of_allocation(pointer);
        if bytes <= present && bytes >= present / 2 {
            return Some(pointer);
        }
        let moved = self.allocate(bytes)?;
        let kept = bytes.min(present);
        // SAFETY: both are live allocations of at least `kept` bytes, and two live allocations never overlap.
        unsafe { ptr::copy_nonoverlapping(pointer.as_ptr(), moved.as_ptr(), kept) };
        // SAFETY: the caller gives the old pointer up.
        unsafe { self.release(pointer) };
        Some(moved)
    }

    /// Wipes an allocation and gives it back.
    ///
    /// # Safety
    /// `pointer` is a live allocation of this pool and is not used again.
    pub(crate) unsafe fn release(&self, pointer: NonNull<u8>) {
        let offset = self.offset_of(pointer);
        let page = offset / PAGE_BYTES;
        match self.pages[page].role() {
            Role::Small {
                class,
                shard,
                pages_back,
            } => {
                let block = block_at(offset, page - pages_back, class, shard);
                // SAFETY: the whole block belongs to the allocation that its owner has given up.
                unsafe { wipe_at(pointer, class.block_bytes()) };
                self.release_block(&block);
            }
            role @ Role::Large { pages } if offset.is_multiple_of(PAGE_BYTES) => {
                // The exchange lets only one of two releases at once through.
                if !self.pages[page].leave(role) {
                    corrupted(RELEASED_TWICE);
                }
                // SAFETY: all these pages belong to the allocation that its owner has given up.
                unsafe { wipe_at(pointer, pages * PAGE_BYTES) };
                self.release_pages(page, pages);
            }
            Role::Large { .. } | Role::None => corrupted(NOT_ALLOCATED),
        }
    }

    /// The usable size of a live allocation.
    pub(crate) fn size_of_allocation(&self, pointer: NonNull<u8>) -> usize {
        match self.pages[self.offset_of(pointer) / PAGE_BYTES].role() {
            Role::Small { class, .. } => class.block_bytes(),
            Role::Large { pages } => pages * PAGE_BYTES,
            Role::None => corrupted(NOT_ALLOCATED),
        }
    }

    /// Is this address inside the region?
    pub(crate) fn contains(&self, pointer: *const u8) -> bool {
        self.region.offset_of(pointer).is_some()
    }

    /// How the pool stands.
    pub(crate) fn status(&self) -> Status {
        let (mut live, taken_peak) = {
            let reserve = self.reserve.lock();
            (reserve.large, reserve.spans.taken_peak())
        };
        for shard in &self.shards {
            let small = shard.0.lock().live;
            live.bytes += small.bytes;
            live.allocations += small.allocations;
        }
        Status {
            backing: self.backing,
            bytes_total: self.region.bytes(),
            bytes_used: live.bytes,
            bytes_peak: taken_peak * PAGE_BYTES,
            allocations: live.allocations,
        }
    }

    fn offset_of(&self, pointer: NonNull<u8>) -> usize {
        self.region
            .offset_of(pointer.as_ptr())
            .unwrap_or_else(|| corrupted("a pointer from elsewhere was handed back"))
    }
}

/// Small blocks.
impl Pool {
    fn allocate_block(&self, class: Class) -> Option<usize> {
        let (index, mut shard) = self.a_free_shard();
        let offset = self.block_from(&mut shard, index, class);
        drop(shard);
        offset.or_else(|| self.allocate_block_when_short(class))
    }

    /// The region is full: whatever any shard still has will do, rounded up further if need be.
    #[cold]
    fn allocate_block_when_short(&self, class: Class) -> Option<usize> {
        self.give_back_empty_spans();
        class.and_larger().find_map(|class| {
            let mut shards = self.shards.iter().enumerate();
            shards.find_map(|(index, shard)| self.block_from(&mut shard.0.lock(), index, class))
        })
    }

    fn release_block(&self, block: &Block) {
        let mut shard = self.shards[block.shard].0.lock();
        let page = &self.pages[block.span];
        if !page.put_block(block.index) {
            corrupted(RELEASED_TWICE);
        }
        shard.live.bytes -= block.class.block_bytes();
        shard.live.allocations -= 1;
        let free = page.free_blocks.load(Relaxed) + 1;
        page.free_blocks.store(free, Relaxed);
        if free == 1 {
            self.link(&mut shard, block.class, block.span);
        }
        if free == block.class.blocks() {
            shard.empty_spans[block.class.index()] += 1;
            if shard.empty_spans[block.class.index()] > EMPTY_SPANS_KEPT {
                self.give_back_span(&mut shard, block.class, block.span);
            }
        }
    }

    fn block_from(&self, shard: &mut ShardState, index: usize, class: Class) -> Option<usize> {
        let mut span = shard.with_room[class.index()];
        if span == NONE {
            span = self.new_span(shard, index, class)?;
        }
        let page = &self.pages[span];
        let free = page.free_blocks.load(Relaxed);
        if free == class.blocks() {
            shard.empty_spans[class.index()] -= 1;
        }
        if free == 1 {
            self.unlink(shard, class, span);
        }
        page.free_blocks.store(free - 1, Relaxed);
        shard.live.bytes += class.block_bytes();
        shard.live.allocations += 1;
        Some(span * PAGE_BYTES + page.take_block() * class.block_bytes())
    }

    /// A lock that is free at once if there is one: a thread that finds its shard busy moves to another for good.
    fn a_free_shard(&self) -> (usize, MutexGuard<'_, ShardState>) {
        let mask = self.shards.len() - 1;
        let own = own_shard();
        for step in 0..self.shards.len() {
            let index = own.wrapping_add(step) & mask;
            if let Some(shard) = self.shards[index].0.try_lock() {
                if step != 0 {
                    OWN_SHARD.set(index);
                }
                return (index, shard);
            }
        }
        (own & mask, self.shards[own & mask].0.lock())
    }

    fn new_span(&self, shard: &mut ShardState, index: usize, class: Class) -> Option<usize> {
        let first = self.take_pages(&mut self.reserve.lock(), class.pages())?;
        for pages_back in 0..class.pages() {
            let role = Role::Small {
                class,
                shard: index,
                pages_back,
            };
            self.pages[first + pages_back].take_role(role);
        }
        let page = &self.pages[first];
        page.free_blocks.store(class.blocks(), Relaxed);
        page.fill_map(class.blocks());
        self.link(shard, class, first);
        shard.empty_spans[class.index()] += 1;
        Some(first)
    }

    /// Gives a wholly free span back, so that another class can use its pages.
    fn give_back_span(&self, shard: &mut ShardState, class: Class, span: usize) {
        self.unlink(shard, class, span);
        shard.empty_spans[class.index()] -= 1;
        for page in &self.pages[span..span + class.pages()] {
            page.take_role(Role::None);
        }
        self.reserve.lock().spans.give_back(span, class.pages());
    }

    #[cold]
    fn give_back_empty_spans(&self) {
        for shard in &self.shards {
            let mut shard = shard.0.lock();
            for class in Class::at(0).and_larger() {
                let mut span = shard.with_room[class.index()];
                while span != NONE && shard.empty_spans[class.index()] > 0 {
                    let page = &self.pages[span];
                    let next = page.next.load(Relaxed);
                    if page.free_blocks.load(Relaxed) == class.blocks() {
                        self.give_back_span(&mut shard, class, span);
                    }
                    span = next;
                }
            }
        }
    }

    fn link(&self, shard: &mut ShardState, class: Class, span: usize) {
        let head = &mut shard.with_room[class.index()];
        self.pages[span].next.store(*head, Relaxed);
        self.pages[span].previous.store(NONE, Relaxed);
        if *head != NONE {
            self.pages[*head].previous.store(span, Relaxed);
        }
        *head = span;
    }

    fn unlink(&self, shard: &mut ShardState, class: Class, span: usize) {
        let next = self.pages[span].next.load(Relaxed);
        let previous = self.pages[span].previous.load(Relaxed);
        if next != NONE {
            self.pages[next].previous.store(previous, Relaxed);
        }
        if previous == NONE {
            shard.with_room[class.index()] = next;
        } else {
            self.pages[previous].next.store(next, Relaxed);
        }
    }
}

/// Whole pages.
impl Pool {
    fn allocate_pages(&self, pages: usize) -> Option<usize> {
        let first = self.take_large(pages).or_else(|| {
            self.give_back_empty_spans();
            self.take_large(pages)
        })?;
        self.pages[first].take_role(Role::Large { pages });
        Some(first * PAGE_BYTES)
    }

    fn take_large(&self, pages: usize) -> Option<usize> {
        let mut reserve = self.reserve.lock();
        let first = self.take_pages(&mut reserve, pages)?;
        reserve.large.bytes += pages * PAGE_BYTES;
        reserve.large.allocations += 1;
        Some(first)
    }

    fn release_pages(&self, first: usize, pages: usize) {
        let mut reserve = self.reserve.lock();
        reserve.spans.give_back(first, pages);
        reserve.large.bytes -= pages * PAGE_BYTES;
        reserve.large.allocations -= 1;
    }

    /// Takes pages that are filled in. Pages are filled from the low end up, as the pool first reaches them.
    fn take_pages(&self, reserve: &mut Reserve, pages: usize) -> Option<usize> {
        let first = reserve.spans.take(pages)?;
        let end = (first + pages) * PAGE_BYTES;
        let populated = reserve.populated_bytes;
        if end > populated {
            let ahead = end
                .next_multiple_of(POPULATE_STEP_BYTES)
                .min(self.region.bytes());
            if self.region.populate(populated, ahead - populated).is_err() {
                reserve.spans.give_back(first, pages);
                return None;
            }
            reserve.populated_bytes = ahead;
        }
        Some(first)
    }
}

impl Shard {
    fn new() -> Self {
        Self(Mutex::new(ShardState {
            with_room: [NONE; CLASSES],
            empty_spans: [0; CLASSES],
            live: Live::default(),
        }))
    }
}

impl Page {
    fn role(&self) -> Role {
        Role::unpack(self.role.load(Relaxed))
    }

    fn take_role(&self, role: Role) {
        self.role.store(role.pack(), Relaxed);
    }

    /// From this role to none, unless it has changed.
    fn leave(&self, role: Role) -> bool {
        self.role
            .compare_exchange(role.pack(), Role::None.pack(), Relaxed, Relaxed)
            .is_ok()
    }

    fn fill_map(&self, blocks: usize) {
        for (index, word) in self.free_map.iter().enumerate() {
            let bits = match blocks.saturating_sub(index * 64) {
                left @ 0..64 => (1 << left) - 1,
                _ => u64::MAX,
            };
            word.store(bits, Relaxed);
        }
    }

    /// Takes the lowest free block. The caller knows that there is one.
    fn take_block(&self) -> usize {
        for (index, word) in self.free_map.iter().enumerate() {
            let bits = word.load(Relaxed);
            if bits != 0 {
                word.store(bits & (bits - 1), Relaxed);
                return index * 64 + bits.trailing_zeros() as usize;
            }
        }
        corrupted("a span promised a free block and has none")
    }

    /// Puts a block back; false if it is free already.
    fn put_block(&self, block: usize) -> bool {
        let word = &self.free_map[block / 64];
        let (bits, bit) = (word.load(Relaxed), 1 << (block % 64));
        word.store(bits | bit, Relaxed);
        bits & bit == 0
    }
}

impl Role {
    /// Two bits for the kind; then 2 pages back, 8 class, the rest shard; or all the rest pages.
    fn pack(self) -> usize {
        match self {
            Self::None => 0,
            Self::Small {
                class,
                shard,
                pages_back,
            } => 1 | pages_back << 2 | class.index() << 4 | shard << 12,
            Self::Large { pages } => 2 | pages << 2,
        }
    }

    fn unpack(packed: usize) -> Self {
        match packed & 3 {
            1 => Self::Small {
                class: Class::at(packed >> 4 & 0xFF),
                shard: packed >> 12,
                pages_back: packed >> 2 & 3,
            },
            2 => Self::Large { pages: packed >> 2 },
            _ => Self::None,
        }
    }
}

fn block_at(offset: usize, span: usize, class: Class, shard: usize) -> Block {
    let within = offset - span * PAGE_BYTES;
    let index = within / class.block_bytes();
    if within != index * class.block_bytes() || index >= class.blocks() {
        corrupted("a pointer into the middle of an allocation was handed back");
    }
    Block {
        class,
        shard,
        span,
        index,
    }
}

/// At least four, and more for many processors, as long as each has half a mebibyte.
fn shard_count(bytes: usize) -> usize {
    let processors = thread::available_parallelism().map_or(4, usize::from);
    let affordable = (bytes >> 19).max(1).ilog2();
    processors
        .next_power_of_two()
        .min(1 << affordable)
        .clamp(4, SHARDS_MAX)
}

/// The shard of this thread, before it is cut to the number of shards.
fn own_shard() -> usize {
    let own = OWN_SHARD.get();
    if own != NONE {
        return own;
    }
    let own = NEXT_SHARD.fetch_add(1, Relaxed);
    OWN_SHARD.set(own);
    own
}

thread_local! {
    // Constant and without a destructor, so it can be used until the very end of a thread.
    static OWN_SHARD: Cell<usize> = const { Cell::new(NONE) };
}

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

const NONE: usize = usize::MAX;
/// More locks than a machine has busy processors for our work.
const SHARDS_MAX: usize = 64;
/// By shard and class: one, so that a lone allocation made and released in a loop does not fetch a span each time.
const EMPTY_SPANS_KEPT: usize = 1;
/// Half a millisecond of page faults at the slowest that was measured (40 µs a page, memfd_secret in a virtual machine).
const POPULATE_STEP_BYTES: usize = 64 << 10;

const RELEASED_TWICE: &str = "an allocation was released twice";
const NOT_ALLOCATED: &str = "a pointer that is no live allocation was handed back";

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
