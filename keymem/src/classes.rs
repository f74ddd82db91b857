//! *What lives here:* the sizes in which the pool cuts small blocks, and how many pages a span of each has.
//! *What must never live here:* state. *Who calls it:* `pool`.

/// The unit of spans. Not the page of the system: the side table must not depend on the machine.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A size of small blocks, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(usize);

impl Class {
    /// The class that `bytes` bytes fit in, unless they are too many for a small block.
    pub(crate) fn fitting(bytes: usize) -> Option<Self> {
        CLASS_OF
            .get(bytes.div_ceil(GRAIN_BYTES))
            .map(|index| Self(usize::from(*index)))
    }

    /// This class and all larger ones.
    pub(crate) fn and_larger(self) -> impl Iterator<Item = Self> {
        (self.0..CLASSES).map(Self)
    }

    /// The class at a place of the table.
    pub(crate) fn at(index: usize) -> Self {
        assert!(index < CLASSES, "a class beyond the table");
        Self(index)
    }

    /// The place in the table.
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// The size of a block.
    pub(crate) fn block_bytes(self) -> usize {
        BLOCK_BYTES[self.0]
    }

    /// The pages of a span: small enough that few spans stand half empty, large enough for several blocks.
    pub(crate) fn pages(self) -> usize {
        match self.block_bytes() {
            ..=512 => 1,
            513..=1024 => 2,
            _ => 4,
        }
    }

    /// The blocks of a span, at most [`BLOCKS_MAX`].
    pub(crate) fn blocks(self) -> usize {
        self.pages() * PAGE_BYTES / self.block_bytes()
    }
}

/// How many classes there are.
pub(crate) const CLASSES: usize = BLOCK_BYTES.len();

/// The most blocks that a span can have.
pub(crate) const BLOCKS_MAX: usize = PAGE_BYTES / GRAIN_BYTES;

/// The alignment that a C heap owes its callers, and the step between the smallest blocks.
const GRAIN_BYTES: usize = 16;

/// Four steps to each doubling, so that rounding up costs a fifth at most; all are multiples of the grain.
const BLOCK_BYTES: [usize; 28] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024,
    1280, 1536, 1792, 2048, 2720, 3264, 4096, 5456,
];

/// By size in grains, rounded up: the class.
const CLASS_OF: [u8; BLOCK_BYTES[BLOCK_BYTES.len() - 1] / GRAIN_BYTES + 1] = class_of();

const fn class_of() -> [u8; BLOCK_BYTES[BLOCK_BYTES.len() - 1] / GRAIN_BYTES + 1] {
    let mut table = [0; BLOCK_BYTES[BLOCK_BYTES.len() - 1] / GRAIN_BYTES + 1];
    let (mut grains, mut class) = (0, 0_u8);
    while grains < table.len() {
        if grains * GRAIN_BYTES > BLOCK_BYTES[class as usize] {
            class += 1;
        }
        table[grains] = class;
        grains += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_block_that_holds_it() {
        for bytes in 0..=BLOCK_BYTES[CLASSES - 1] {
            let class = Class::fitting(bytes).unwrap();
            assert!(class.block_bytes() >= bytes);
            assert!(class.index() == 0 || BLOCK_BYTES[class.index() - 1] < bytes);
        }
        assert_eq!(Class::fitting(BLOCK_BYTES[CLASSES - 1] + 1), None);
        assert_eq!(Class::fitting(usize::MAX), None);
    }

    #[test]
    fn every_row_keeps_the_promises() {
        for class in Class::at(0).and_larger() {
            assert_eq!(class.block_bytes() % GRAIN_BYTES, 0);
            assert!((3..=BLOCKS_MAX).contains(&class.blocks()), "{class:?}");
            assert!(class.pages() <= 4);
            let waste = class.pages() * PAGE_BYTES - class.blocks() * class.block_bytes();
            assert!(
                waste * 8 <= class.pages() * PAGE_BYTES,
                "{class:?} wastes {waste}"
            );
        }
    }
}
