//! The spool: lines that are in the page cache already and in the journal's file soon.
//!
//! What lives here: a small mapped file into which a line is copied without a system call, how it is saved into the journal, and what is
//! done with one that a daemon left behind which was killed.
//! What must never live here: when to save; what a line says.
//! Who calls it: the journal.
//!
//! # The file
//!
//! A page of head, then the bytes of whole lines. The head has the magic, the boot of the machine, and two numbers, little-endian: how
//! many bytes stand there, and the length that the journal had when a save began, or [`NO_SAVE`]. A line counts once the first number
//! says so, so half a line is none. After a kill in the middle of a save the second number tells where the saved part begins.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::system::{FileMapping, Length, has_pages_of_its_own, reserve};

/// Lines on their way.
#[derive(Debug)]
pub(super) struct Spool {
    /// Locked (flock(2)) as long as it is open: a second daemon must not share it.
    _file: File,
    mapping: FileMapping,
    /// How many bytes stand there.
    bytes: usize,
}

impl Spool {
    /// An empty one; none where the file system does not suit (see [`has_pages_of_its_own`]) or cannot reserve room.
    pub(super) fn new(file: File, boot: &[u8; BOOT_BYTES]) -> io::Result<Option<Self>> {
        if !has_pages_of_its_own(&file)? {
            return Ok(None);
        }
        match reserve(&file, 0..(DATA + SPOOL_BYTES) as u64, Length::Grows) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut mapping = FileMapping::new(&file, DATA + SPOOL_BYTES)?;
        // First: what stood there before counts no more.
        mapping.publish(COUNT, 0)?;
        mapping.publish(SAVE, NO_SAVE)?;
        mapping.write(BOOT, boot)?;
        mapping.write(0, MAGIC)?;
        Ok(Some(Self {
            _file: file,
            mapping,
            bytes: 0,
        }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether so many bytes more fit.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        bytes <= SPOOL_BYTES - self.bytes
    }

    /// Takes a line in; all of it or nothing, whenever the process ends.
    pub(super) fn push(&mut self, line: &[u8]) -> io::Result<()> {
        let at = DATA + self.bytes;
        self.mapping.write(at, line)?;
        self.mapping.write(at + line.len(), b"\n")?;
        let bytes = self.bytes + line.len() + 1;
        self.mapping.publish(COUNT, bytes as u64)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Appends everything to the journal, which is `length` bytes long. After an error the journal is as before.
    pub(super) fn save(&mut self, journal: &File, length: u64) -> io::Result<()> {
        self.mapping.publish(SAVE, length)?;
        let end = DATA + self.bytes;
        let mut at = DATA;
        while at < end {
            match self.mapping.append_to(journal, at..end) {
                Ok(0) => return cut_back(journal, length, io::ErrorKind::WriteZero.into()),
                Ok(written) => at += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return cut_back(journal, length, error),
            }
        }
        // In this order: once nothing stands there, an old mark means nothing.
        self.mapping.publish(COUNT, 0)?;
        self.mapping.publish(SAVE, NO_SAVE)?;
        self.bytes = 0;
        Ok(())
    }
}

/// A part of a line in the journal would break the chain.
fn cut_back(journal: &File, length: u64, cause: io::Error) -> io::Result<()> {
    journal.set_len(length)?;
    Err(cause)
}

/// What a daemon left behind that was killed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// No line.
    Nothing,
    /// Lines that the journal, whose whole lines end at the given place, has not yet.
    Lines(Vec<u8>),
    /// Bytes of before the machine stopped. Nobody knows which of its pages reached the disk, so no line of it can be believed.
    OtherBoot(u64),
}

/// Opens the spool's file, or makes it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.try_lock()?;
    Ok(file)
}

/// Reads what was left behind. `journal_end` is where the journal's last whole line ends, and where the lines must go. That is noted in
/// the spool first, so that another kill does not make them stand there twice.
pub(super) fn left_behind(
    file: &File,
    boot: &[u8; BOOT_BYTES],
    journal: &File,
    journal_end: u64,
) -> io::Result<Left> {
    let (left, began) = what_is_left(file, boot, journal, journal_end)?;
    if let Some(began) = began {
        file.write_all_at(&began.to_le_bytes(), SAVE as u64)?;
    }
    Ok(left)
}

/// The same without a note: what was left behind, and where the save of its lines begins.
pub(super) fn what_is_left(
    file: &File,
    boot: &[u8; BOOT_BYTES],
    journal: &File,
    journal_end: u64,
) -> io::Result<(Left, Option<u64>)> {
    let mut head = [0; SAVE + size_of::<u64>()];
    if file.metadata()?.len() < (DATA + SPOOL_BYTES) as u64 {
        return Ok((Left::Nothing, None));
    }
    file.read_exact_at(&mut head, 0)?;
    let [count, save] = [COUNT, SAVE].map(|at| number(&head, at));
    if head[..MAGIC.len()] != *MAGIC || count == 0 {
        return Ok((Left::Nothing, None));
    }
    let bytes = usize::try_from(count).unwrap_or(usize::MAX);
    if head[BOOT..BOOT + BOOT_BYTES] != *boot || bytes > SPOOL_BYTES {
        return Ok((Left::OtherBoot(count), None));
    }
    let mut lines = vec![0; bytes];
    file.read_exact_at(&mut lines, DATA as u64)?;
    let saved = saved_before_the_kill(&lines, journal, save..journal_end)?;
    let began = journal_end - saved as u64;
    Ok((Left::Lines(lines.split_off(saved)), Some(began)))
}

/// How many of the bytes a save had brought into the journal when it was cut short: those that stand there since it began.
fn saved_before_the_kill(lines: &[u8], journal: &File, since: Range<u64>) -> io::Result<usize> {
    if since.end < since.start {
        return Ok(0);
    }
    match usize::try_from(since.end - since.start) {
        Ok(saved) if saved <= lines.len() => {
            let mut there = vec![0; saved];
            journal.read_exact_at(&mut there, since.start)?;
            Ok(if lines.starts_with(&there) { saved } else { 0 })
        }
        _ => Ok(0),
    }
}

fn number(head: &[u8], at: usize) -> u64 {
    head[at..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The boot of this machine, as the kernel numbers it.
pub(super) fn this_boot() -> io::Result<[u8; BOOT_BYTES]> {
    let text = std::fs::read("/proc/sys/kernel/random/boot_id")?;
    text.first_chunk()
        .copied()
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How many bytes of lines it takes, some 700 lines. So small that it stays in the processor's cache, so large that a save, which costs some
/// 50 µs, costs a line next to nothing.
pub(super) const SPOOL_BYTES: usize = 256 << 10;
/// A boot is written as a UUID.
const BOOT_BYTES: usize = 36;
const MAGIC: &[u8; 8] = b"SRSPOOL1";
const BOOT: usize = 8;
/// Where the number of bytes stands.
const COUNT: usize = 64;
/// Where the length stands that the journal had when a save began.
const SAVE: usize = 72;
/// No save is under way.
const NO_SAVE: u64 = u64::MAX;
/// Where the lines begin.
const DATA: usize = 4096;
