//! A journal that is looked at and never written.
//!
//! What lives here: reading the lines of the file and of a spool that a killed daemon left, without saving them.
//! What must never live here: appending.
//! Who calls it: the check of the store while no daemon runs.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use strongroom::ports::{Journal, StoreError};

use super::spool::{self, Left};
use super::{beside, each_line, end_of_last_line};
use crate::store::io_failure;

/// The lines that the next start of a daemon would find.
#[derive(Debug)]
pub struct FrozenJournal {
    path: PathBuf,
    /// Where the whole lines of the file end.
    end: u64,
    /// Lines that only the spool has.
    spooled: Vec<u8>,
    /// What is no line: bytes at the end of the file, and bytes of a spool of before the machine stopped.
    pub lost_bytes: u64,
}

impl FrozenJournal {
    /// Looks at the journal; none when there is none.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let end = end_of_last_line(&file, length)?;
        let mut lost_bytes = length - end;
        let left = match File::open(beside(path, ".spool")) {
            Ok(spool) => spool::what_is_left(&spool, &spool::this_boot()?, &file, end)?.0,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Left::Nothing,
            Err(error) => return Err(error),
        };
        let spooled = match left {
            Left::Nothing => Vec::new(),
            Left::Lines(lines) => lines,
            Left::OtherBoot(bytes) => {
                lost_bytes += bytes;
                Vec::new()
            }
        };
        Ok(Some(Self {
            path: path.into(),
            end,
            spooled,
            lost_bytes,
        }))
    }

    fn read_lines(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
        use io::Read as _;
        let file = File::open(&self.path)?.take(self.end);
        each_line(BufReader::new(file.chain(self.spooled.as_slice())), visit)
    }
}

impl Journal for FrozenJournal {
    fn append(&self, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Failed(format!(
            "the journal {} is only looked at",
            self.path.display()
        )))
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        let what = format!("read the audit journal {}", self.path.display());
        self.read_lines(visit)
            .map_err(|error| io_failure(&what, &error))
    }

    fn tail(&self, lines: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut last = std::collections::VecDeque::new();
        self.read(&mut |line| {
            if last.len() == lines {
                last.pop_front();
            }
            last.push_back(line.to_vec());
            true
        })?;
        last.truncate(lines);
        Ok(last.into())
    }
}
