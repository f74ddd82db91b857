//! Files of backups.
//!
//! What lives here: a backup's file as the token reads it, with progress for a person who waits; new files that replace nothing.
//! What must never live here: what is in them.
//! Who calls it: the commands of this room.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use strongroom::backup::Source;
use strongroom::ports::StoreError;

use crate::store::{io_failure, sync_directory};

/// The file of a backup.
pub(super) struct BackupFile {
    file: File,
    path: PathBuf,
    length: u64,
    done: u64,
    told: Option<Told>,
}

/// What a person who waits was told last.
struct Told {
    what: &'static str,
    percent: u64,
}

impl BackupFile {
    /// Opens it; `what` is told with the progress, where somebody sees it.
    pub(super) fn open(path: &Path, what: &'static str) -> Result<Self, StoreError> {
        let opened = File::open(path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        let (file, length) =
            opened.map_err(|error| io_failure(&format!("read {}", path.display()), &error))?;
        let told = io::stderr()
            .is_terminal()
            .then_some(Told { what, percent: 0 });
        Ok(Self {
            file,
            path: path.into(),
            length,
            done: 0,
            told,
        })
    }

    fn tell(&mut self, ended: bool) {
        let Some(told) = &mut self.told else { return };
        let percent = self.done.saturating_mul(100) / self.length.max(1);
        if ended || percent > told.percent {
            told.percent = percent;
            let end = if ended { "\n" } else { "" };
            // Whoever does not see it misses nothing.
            let _ = write!(io::stderr(), "\r{} {percent} %{end}", told.what);
        }
        if ended {
            self.told = None;
        }
    }
}

impl Source for BackupFile {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, StoreError> {
        loop {
            match self.file.read(out) {
                Ok(count) => {
                    self.done += count as u64;
                    self.tell(count == 0);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let what = format!("read {}", self.path.display());
                    return Err(io_failure(&what, &error));
                }
            }
        }
    }
}

/// Writes a file that was not there, durably.
pub(super) fn write_new(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    sync_directory(path)
}

/// The path with something behind its name.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
