//! A file that is looked at and never written: what would be written stays in memory.
//!
//! What lives here: a backend of redb over a file opened for reading, with the changed blocks beside it.
//! What must never live here: what is looked for.
//! Who calls it: the store, when it is examined. redb must repair a file that a daemon left behind which was killed; here it repairs its
//! own copy, and the evidence stays as it was found.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};

/// The file below and the changes above it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    above: Mutex<Above>,
}

#[derive(Debug)]
struct Above {
    length: u64,
    /// How much of the file still counts: the shortest length since.
    below: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let above = Above {
            length,
            below: length,
            blocks: BTreeMap::new(),
        };
        Ok(Self {
            file,
            above: Mutex::new(above),
        })
    }
}

impl Above {
    /// A block as it stands; zeros behind the end.
    fn block(&self, file: &File, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = self.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK_BYTES];
        let start = number * BLOCK_BYTES as u64;
        let there = self.below.saturating_sub(start).min(BLOCK_BYTES as u64);
        if let Some(there) = usize::try_from(there).ok().and_then(|n| block.get_mut(..n)) {
            file.read_exact_at(there, start)?;
        }
        Ok(block)
    }
}

/// The parts of a range, block by block: (block, where in it, how many bytes).
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let block = BLOCK_BYTES as u64;
    let (mut at, end) = (offset, offset + length as u64);
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let within = at % block;
            let bytes = (block - within).min(end - at);
            let part = (at / block, within, bytes);
            at += bytes;
            part
        })
    })
    .map(|(number, within, bytes)| {
        let small = |number| usize::try_from(number).unwrap_or(BLOCK_BYTES);
        (number, small(within), small(bytes))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.above.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let above = self.above.lock();
        if offset.saturating_add(out.len() as u64) > above.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (number, within, bytes) in parts(offset, rest.len()) {
            let (part, more) = rest.split_at_mut(bytes);
            part.copy_from_slice(&above.block(&self.file, number)?[within..within + bytes]);
            rest = more;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut above = self.above.lock();
        above.below = above.below.min(length);
        let whole = length.div_ceil(BLOCK_BYTES as u64);
        above.blocks.split_off(&whole);
        let within = usize::try_from(length % BLOCK_BYTES as u64).unwrap_or(0);
        if within > 0
            && let Some(last) = above.blocks.get_mut(&(whole - 1))
        {
            last[within..].fill(0);
        }
        above.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.above.lock();
        let mut rest = data;
        for (number, within, bytes) in parts(offset, data.len()) {
            let (part, more) = rest.split_at(bytes);
            let mut block = above.block(&self.file, number)?;
            block[within..within + bytes].copy_from_slice(part);
            above.blocks.insert(number, block);
            rest = more;
        }
        above.length = above.length.max(offset + data.len() as u64);
        Ok(())
    }

    // Whoever examines holds the lock of the store's directory, so no daemon writes meanwhile.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

const BLOCK_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_stays_and_the_copy_is_as_a_file_would_be() {
        let path = std::env::temp_dir().join(format!("overlay-{}", std::process::id()));
        let original: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        std::fs::write(&path, &original).unwrap();
        let overlay = Overlay::new(File::open(&path).unwrap()).unwrap();
        let mut model = original.clone();
        let steps = [(0, 5), (4090, 20), (8192, 4096), (19_990, 30), (30_000, 7)];
        for (offset, bytes) in steps {
            let data = vec![0xee; bytes];
            overlay.write(offset as u64, &data).unwrap();
            model.resize(model.len().max(offset + bytes), 0);
            model[offset..offset + bytes].copy_from_slice(&data);
        }
        for length in [40_000, 9000, 5000, 12_000] {
            overlay.set_len(length as u64).unwrap();
            model.resize(length, 0);
            let mut all = vec![1; length];
            assert_eq!(overlay.len().unwrap(), length as u64);
            overlay.read(0, &mut all).unwrap();
            assert_eq!(all, model, "{length}");
            assert!(overlay.read(length as u64, &mut [0]).is_err());
        }
        assert_eq!(std::fs::read(&path).unwrap(), original);
        std::fs::remove_file(&path).unwrap();
    }
}
