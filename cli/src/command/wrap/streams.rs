//! Where secrets and wrapped data come from and go to.
//!
//! What lives here: reading into memory that is wiped, and a file that is written whole or not at all.
//! What must never live here: a buffer that keeps a copy; so neither those of std's standard input nor of its standard output.
//! Who calls it: `wrap`, `unwrap` and `release open`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::failure::Failure;

/// Reads all of a file, or of standard input: at least one byte, and no more than `most`; a hint says what to do otherwise.
///
/// # Errors
/// [`Failure::Failed`] says what is wrong with it.
pub(in crate::command) fn read(
    path: Option<&Path>,
    most: usize,
    hint: &str,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let shown = path.map_or_else(
        || "standard input".into(),
        |path| path.display().to_string(),
    );
    let opened = path.map_or_else(
        || io::stdin().as_fd().try_clone_to_owned().map(File::from),
        File::open,
    );
    let read = opened.and_then(|mut file| read_all(&mut file, most));
    let bytes = read.map_err(|error| Failure::Failed(format!("cannot read {shown}: {error}")))?;
    match bytes.len() {
        0 => Err(Failure::Failed(format!("there is nothing in {shown}"))),
        length if length > most => Err(Failure::Failed(format!(
            "{shown} has more than {most} bytes; {hint}"
        ))),
        _ => Ok(bytes),
    }
}

/// Up to one byte more than `most`, in a buffer that never grows: one that does leaves copies behind.
fn read_all(input: &mut impl Read, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; most + 1]);
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match input.read(room) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Writes to a file, which gets its name once it is whole, or to standard output.
///
/// # Errors
/// [`Failure::Failed`] says what could not be written; what was there before is there still.
pub(super) fn write(path: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    let Some(path) = path else {
        return io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .and_then(|output| File::from(output).write_all(bytes))
            .map_err(|error| Failure::Failed(format!("cannot write to standard output: {error}")));
    };
    // A rename would put a file in the place of a device or a link.
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Failure::Failed(format!(
            "{} is there, and is no file; without --out it goes to standard output",
            path.display()
        )));
    }
    let draft = Draft::create(path)?;
    draft
        .put_in_place(path, bytes)
        .map_err(|error| Failure::file("write", path, &error))
}

/// A file in the making; removed again unless it was put in place.
struct Draft {
    path: PathBuf,
    file: File,
    in_place: bool,
}

impl Draft {
    fn create(of: &Path) -> Result<Self, Failure> {
        let mut path = of.as_os_str().to_owned();
        path.push(format!(".{}.part", std::process::id()));
        let path = PathBuf::from(path);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Failure::file("make", &path, &error))?;
        Ok(Self {
            path,
            file,
            in_place: false,
        })
    }

    fn put_in_place(mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        std::fs::rename(&self.path, path)?;
        self.in_place = true;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.in_place {
            // It could not be written: that is told already.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed unwrap is the failed assertion"
)]
mod tests {
    use super::*;

    /// Gives a byte at a time, and is interrupted before each.
    struct Slow(Vec<u8>, bool);

    impl Read for Slow {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match self.0.pop() {
                Some(byte) => {
                    room[0] = byte;
                    Ok(1)
                }
                None => Ok(0),
            }
        }
    }

    #[test]
    fn all_is_read_however_it_comes_and_no_more_than_is_allowed() {
        let read = |count| {
            read_all(&mut Slow(vec![b'x'; count], false), 10)
                .unwrap()
                .len()
        };
        assert_eq!(
            (read(0), read(9), read(10), read(11), read(99)),
            (0, 9, 10, 11, 11)
        );
    }

    #[test]
    fn nothing_takes_the_place_of_a_device_a_link_or_a_directory() {
        let place = std::env::temp_dir().join(format!("strongroom-wrap-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let link = place.join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        for path in [Path::new("/dev/null"), &link, &place] {
            let said = write(Some(path), b"x").unwrap_err().to_string();
            assert!(said.contains("is no file"), "{said}");
        }
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);
        std::fs::remove_dir_all(&place).unwrap();
    }
}
