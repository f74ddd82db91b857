//! The audit journal as a file.
//!
//! What lives here: appending lines, reading them all, reading the last ones.
//! What must never live here: what a line says, and the hash chain over them; that is the audit of the token.
//! Who calls it: the token, through its port.
//!
//! A line is first copied into the `spool`, a mapped file beside the journal, where it survives the end of this process. It is saved
//! into the journal when the spool is full, when somebody reads through this module, when the daemon stops, and at the latest after
//! `SAVE_WITHIN`. So the journal's file always ends with a whole line, and who follows it from outside sees a line at most that much
//! later. Room for a line is reserved before the line is accepted, so that a full disk refuses it, rather than losing it later.
//! Where the file system does not suit the spool, each line goes to the file at once, which costs a system call.
//!
//! Rotation is not supported yet: the chain runs through one file. Moving the file away while the daemon runs leaves the daemon
//! writing into the moved file; stop it first. Cutting it while the daemon runs loses lines, as the chain then shows, and nothing else.

mod frozen;
mod spool;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use strongroom::ports::{Journal, StoreError};

pub use frozen::FrozenJournal;

use crate::store::io_failure;
use crate::system::{Length, reserve};
use spool::{Left, Spool};

/// The journal's file.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    spool_path: PathBuf,
    shared: Arc<Shared>,
    saver: Option<JoinHandle<()>>,
}

/// What the journal and its thread have in common.
#[derive(Debug)]
struct Shared {
    /// Held while a line is written or cut off, so that a reader sees whole lines only.
    writer: Mutex<Writer>,
    /// Wakes the thread that saves.
    work: Condvar,
}

#[derive(Debug)]
struct Writer {
    /// Opened for appending.
    file: File,
    /// The length of the file, as far as we know.
    length: u64,
    /// Up to where the disk has room for it.
    reserved: u64,
    /// None where each line goes to the file at once.
    spool: Option<Spool>,
    /// A save failed: no line is taken before the next one succeeds.
    failing: bool,
    /// The thread that saves waits for work.
    idle: bool,
    /// The journal is closed.
    closing: bool,
    /// [`reserve`], but for tests.
    reserve: fn(&File, std::ops::Range<u64>, Length) -> io::Result<()>,
}

impl FileJournal {
    /// Opens the journal, or makes it. An incomplete last line is cut off: it was never acknowledged to anybody, because an answer
    /// leaves only after its line is written. Lines that a killed daemon left in the spool are saved.
    ///
    /// # Errors
    /// What the file system says; [`io::ErrorKind::WouldBlock`] when somebody else has it open.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let spool_path = beside(path, ".spool");
        let spool_file = spool::open(&spool_path)?;
        let length = file.metadata()?.len();
        let whole = end_of_last_line(&file, length)?;
        if whole < length {
            tracing::warn!(journal = %path.display(), bytes = length - whole, "an incomplete last line is cut off");
            file.set_len(whole)?;
        }
        let boot = spool::this_boot()?;
        match spool::left_behind(&spool_file, &boot, &file, whole)? {
            Left::Nothing => {}
            Left::Lines(lines) => {
                tracing::info!(journal = %path.display(), bytes = lines.len(), "lines of a daemon that was killed are saved");
                append_all(&file, whole, &lines)?;
            }
            Left::OtherBoot(bytes) => {
                let kept = beside(path, ".spool-unsaved");
                tracing::warn!(journal = %path.display(), bytes, kept = %kept.display(),
                    "the machine stopped before the last lines were saved; what is left of them is no part of the journal");
                std::fs::copy(&spool_path, kept)?;
            }
        }
        let spool = Spool::new(spool_file, &boot)?;
        let spooled = spool.is_some();
        let length = file.metadata()?.len();
        let shared = Arc::new(Shared {
            writer: Mutex::new(Writer {
                file,
                length,
                reserved: length,
                spool,
                failing: false,
                idle: false,
                closing: false,
                reserve,
            }),
            work: Condvar::new(),
        });
        let saver = if spooled {
            let shared = Arc::clone(&shared);
            let saver = thread::Builder::new().name("journal".into());
            Some(saver.spawn(move || shared.keep_saving())?)
        } else {
            std::fs::remove_file(&spool_path)?;
            None
        };
        Ok(Self {
            path: path.into(),
            spool_path,
            shared,
            saver,
        })
    }

    /// Brings every line into the file.
    ///
    /// # Errors
    /// [`StoreError`]; the lines are still in the spool, and the next opening saves them.
    pub fn save(&self) -> Result<(), StoreError> {
        let saved = self.shared.writer.lock().save();
        saved.map_err(|error| self.failure("save lines into", &error))
    }

    fn failure(&self, what: &str, error: &io::Error) -> StoreError {
        io_failure(
            &format!("{what} the audit journal {}", self.path.display()),
            error,
        )
    }

    /// The file and the length of its whole lines.
    fn snapshot(&self) -> io::Result<(File, u64)> {
        let mut writer = self.shared.writer.lock();
        writer.save()?;
        let length = writer.file.metadata()?.len();
        Ok((writer.file.try_clone()?, length))
    }

    fn read_lines(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
        let (file, length) = self.snapshot()?;
        let reader = Positioned {
            file: &file,
            position: 0,
        }
        .take(length);
        each_line(BufReader::with_capacity(BLOCK_BYTES, reader), visit)
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

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.shared.writer.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(saver) = self.saver.take()
            && saver.join().is_err()
        {
            tracing::error!("the thread that saves the journal panicked");
        }
        if let Err(error) = self.shared.writer.lock().close(&self.spool_path) {
            tracing::error!(journal = %self.path.display(), %error, "the journal was not closed; the next start saves what is left");
        }
    }
}

impl Shared {
    /// Saves, some time after the first line that waits, until the journal is closed.
    fn keep_saving(&self) {
        let mut writer = self.writer.lock();
        while !writer.closing {
            if writer.spool.as_ref().is_none_or(Spool::is_empty) {
                writer.idle = true;
                self.work.wait(&mut writer);
                writer.idle = false;
                continue;
            }
            self.work.wait_for(&mut writer, SAVE_WITHIN);
            let failed_before = writer.failing;
            if let Err(error) = writer.save()
                && !failed_before
            {
                tracing::error!(%error, "the audit journal cannot be written; nothing is answered until it can");
            }
        }
    }
}

impl Writer {
    /// Accepts a line; answers whether the thread that saves must be woken for it.
    fn append(&mut self, line: &[u8]) -> io::Result<bool> {
        let bytes = line.len() + 1;
        let fits = |spool: &Spool| spool.has_room_for(bytes);
        if self.failing || !self.spool.as_ref().is_some_and(fits) {
            self.save()?;
        }
        if !self.spool.as_ref().is_some_and(fits) {
            self.write_through(line)?;
            return Ok(false);
        }
        self.reserve_for(bytes as u64)?;
        if let Some(spool) = &mut self.spool {
            spool.push(line)?;
        }
        Ok(std::mem::take(&mut self.idle))
    }

    /// A usual line would be accepted now.
    fn make_room(&mut self) -> io::Result<()> {
        if self.failing {
            self.save()?;
        }
        match self.spool {
            Some(_) => self.reserve_for(LINE_BYTES),
            // There each line is written at once, and nothing can be reserved.
            None => Ok(()),
        }
    }

    /// One write(2) with O_APPEND: after a crash of the daemon a line is there or not.
    fn write_through(&mut self, line: &[u8]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        append_all(&self.file, before, &[line, b"\n"].concat())?;
        self.length = before + line.len() as u64 + 1;
        Ok(())
    }

    /// Reserves room for so many bytes behind those in the spool.
    fn reserve_for(&mut self, bytes: u64) -> io::Result<()> {
        let waiting = self.spool.as_ref().map_or(0, Spool::bytes) as u64;
        let end = self.length + waiting + bytes;
        if end <= self.reserved {
            return Ok(());
        }
        let from = self.reserved.max(self.length);
        let ahead = end + RESERVED_BYTES;
        if (self.reserve)(&self.file, from..ahead, Length::Stays).is_ok() {
            self.reserved = ahead;
            return Ok(());
        }
        // Where so much is not left, as much as the line needs may be.
        match (self.reserve)(&self.file, from..end, Length::Stays) {
            // The journal is a link into another file system, which cannot reserve.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            other => other?,
        }
        self.reserved = end;
        Ok(())
    }

    fn save(&mut self) -> io::Result<()> {
        let Some(spool) = self.spool.as_mut().filter(|spool| !spool.is_empty()) else {
            return Ok(());
        };
        // Somebody may have cut it; the lines then go where it ends now, and what was reserved is gone.
        let length = self.file.metadata()?.len();
        if length != self.length {
            self.length = length;
            self.reserved = length;
        }
        let bytes = spool.bytes() as u64;
        let saved = spool.save(&self.file, length);
        self.failing = saved.is_err();
        match saved {
            Ok(()) => self.length += bytes,
            // Cut back, and with it what was reserved.
            Err(_) => self.reserved = length,
        }
        saved
    }

    /// Leaves the journal alone: whole, without room that nobody uses, and without a spool.
    fn close(&mut self, spool_path: &Path) -> io::Result<()> {
        self.save()?;
        if self.spool.take().is_some() {
            let length = self.file.metadata()?.len();
            self.file.set_len(length)?;
            std::fs::remove_file(spool_path)?;
        }
        Ok(())
    }
}

impl Journal for FileJournal {
    fn append(&self, line: &[u8]) -> Result<(), StoreError> {
        let accepted = self.shared.writer.lock().append(line);
        let wake = accepted.map_err(|error| self.failure("append to", &error))?;
        if wake {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    fn make_room(&self) -> Result<(), StoreError> {
        let room = self.shared.writer.lock().make_room();
        room.map_err(|error| self.failure("make room in", &error))
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

/// Appends all or nothing; `length` is how long the file is.
fn append_all(mut file: &File, length: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes).or_else(|error| {
        // The disk filled up in the middle of a line. What stands there would break the chain.
        file.set_len(length)?;
        Err(error)
    })
}

/// The path with something more at its end.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Shows each whole line, without its end, until `visit` has seen enough.
fn each_line(mut reader: impl BufRead, visit: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
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
/// How long a line waits in the spool at most. So short that nobody who follows the file notices, so long that saving costs nothing.
const SAVE_WITHIN: Duration = Duration::from_millis(50);
/// Longer than any line: the longest member is the path of a program (PATH_MAX), in which every byte may have to be escaped.
const LINE_BYTES: u64 = 32 << 10;
/// How much room is reserved at once, some 3000 lines.
const RESERVED_BYTES: u64 = 1 << 20;
