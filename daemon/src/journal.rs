//! The audit journal as a file.
//!
//! What lives here: appending lines, reading them all, reading the last ones.
//! What must never live here: what a line says, and the hash chain over them; that is the audit of the token.
//! Who calls it: the token, through its port.
//!
//! Rotation is not supported yet: the chain runs through one file. Moving the file away while the daemon runs leaves the daemon
//! writing into the moved file; stop it first.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use strongroom::ports::{Journal, StoreError};

use crate::store::io_failure;

/// The journal's file.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    /// Held while a line is written or cut off, so that a reader sees whole lines only.
    file: Mutex<File>,
}

impl FileJournal {
    /// Opens the journal, or makes it. An incomplete last line is cut off: it was never acknowledged to anybody, because an answer
    /// leaves only after its line is written.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let length = file.metadata()?.len();
        let whole = end_of_last_line(&file, length)?;
        if whole < length {
            tracing::warn!(journal = %path.display(), bytes = length - whole, "an incomplete last line is cut off");
            file.set_len(whole)?;
        }
        Ok(Self {
            path: path.into(),
            file: Mutex::new(file),
        })
    }

    fn failure(&self, what: &str, error: &io::Error) -> StoreError {
        io_failure(
            &format!("{what} the audit journal {}", self.path.display()),
            error,
        )
    }

    /// The file and the length of its whole lines.
    fn snapshot(&self) -> io::Result<(File, u64)> {
        let file = self.file.lock();
        let length = file.metadata()?.len();
        Ok((file.try_clone()?, length))
    }

    fn read_lines(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
        let (file, length) = self.snapshot()?;
        let reader = Positioned {
            file: &file,
            position: 0,
        }
        .take(length);
        let mut reader = BufReader::with_capacity(BLOCK_BYTES, reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            match line.split_last() {
                Some((b'\n', content)) if visit(content) => {}
                _ => return Ok(()),
            }
        }
    }

    fn last_lines(&self, lines: usize) -> io::Result<Vec<Vec<u8>>> {
        let (file, length) = self.snapshot()?;
        let mut bytes = Vec::new();
        let mut start = length;
        // One line feed more than lines: the one that ends the line before the first wanted.
        while start > 0 && bytes.iter().filter(|byte| **byte == b'\n').count() <= lines {
            let from = start.saturating_sub(BLOCK_BYTES as u64);
            let mut block = vec![0; usize::try_from(start - from).unwrap_or(BLOCK_BYTES)];
            file.read_exact_at(&mut block, from)?;
            block.append(&mut bytes);
            bytes = block;
            start = from;
        }
        let mut all: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        // Behind the last line feed stands nothing.
        all.pop();
        Ok(all.split_off(all.len().saturating_sub(lines)))
    }
}

impl Journal for FileJournal {
    fn append(&self, line: &[u8]) -> Result<(), StoreError> {
        let mut file = self.file.lock();
        // One writev(2) with O_APPEND: after a crash of the daemon a line is there or not.
        let written = file
            .write_vectored(&[IoSlice::new(line), IoSlice::new(b"\n")])
            .map_err(|error| self.failure("append to", &error))?;
        if written == line.len() + 1 {
            return Ok(());
        }
        // The disk filled up in the middle of the line. What stands there would break the chain.
        let cut = file
            .metadata()
            .and_then(|state| file.set_len(state.len().saturating_sub(written as u64)));
        drop(file);
        cut.map_err(|error| self.failure("repair", &error))?;
        Err(StoreError::Full(format!(
            "the audit journal {} cannot grow",
            self.path.display()
        )))
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        self.read_lines(visit)
            .map_err(|error| self.failure("read", &error))
    }

    fn tail(&self, lines: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.last_lines(lines)
            .map_err(|error| self.failure("read", &error))
    }
}

/// Reads with a position of its own: the one of the file belongs to whoever appends.
struct Positioned<'f> {
    file: &'f File,
    position: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// Where the last whole line ends.
fn end_of_last_line(file: &File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let from = end.saturating_sub(BLOCK_BYTES as u64);
        let mut block = vec![0; usize::try_from(end - from).unwrap_or(BLOCK_BYTES)];
        file.read_exact_at(&mut block, from)?;
        if let Some(position) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + position as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// How much is read at once.
const BLOCK_BYTES: usize = 64 << 10;
