//! *What lives here:* what becomes of the journal when the daemon is killed, the disk is full, or somebody cuts the file.
//! *What must never live here:* what lines say.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::*;

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("srj-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("audit.jsonl")
    }

    fn spool(&self) -> PathBuf {
        self.0.join("audit.jsonl.spool")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.journal()).unwrap()
    }

    /// The spool of a daemon that was killed: these bytes, and the length that the journal had when a save began.
    fn leave(&self, boot: &[u8; 36], lines: &str, save: Option<u64>) {
        let mut spool = Spool::new(spool::open(&self.spool()).unwrap(), boot)
            .unwrap()
            .expect("the tests need a file system that suits the spool");
        for line in lines.lines() {
            spool.push(line.as_bytes()).unwrap();
        }
        drop(spool);
        if let Some(save) = save {
            let file = OpenOptions::new().write(true).open(self.spool()).unwrap();
            file.write_all_at(&save.to_le_bytes(), 72).unwrap();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn boot() -> [u8; 36] {
    spool::this_boot().unwrap()
}

fn fails(_: &File, _: std::ops::Range<u64>, _: Length) -> io::Result<()> {
    Err(io::ErrorKind::StorageFull.into())
}

#[test]
fn what_a_killed_daemon_left_is_saved_once() {
    // The journal before, the spool, where a save began, and the journal after.
    let cases = [
        ("a\nb\n", "", None, "a\nb\n"),
        ("a\nb\n", "c\nd\n", None, "a\nb\nc\nd\n"),
        // No line is one of another save because it looks like it.
        ("a\na\n", "a\n", None, "a\na\na\n"),
        // Killed in a save: before its first byte, in its middle, in the middle of a line, behind its last byte.
        ("a\n", "b\nc\n", Some(2), "a\nb\nc\n"),
        ("a\nb\n", "b\nc\n", Some(2), "a\nb\nc\n"),
        ("a\nbb\nc", "bb\ncc\n", Some(2), "a\nbb\ncc\n"),
        ("a\nb\nc\n", "b\nc\n", Some(2), "a\nb\nc\n"),
        // Somebody cut the journal, or wrote into it.
        ("", "b\n", Some(2), "b\n"),
        ("a\nx\n", "b\n", Some(2), "a\nx\nb\n"),
    ];
    for (before, lines, save, after) in cases {
        let place = Place::new();
        std::fs::write(place.journal(), before).unwrap();
        place.leave(&boot(), lines, save);
        drop(FileJournal::open(&place.journal()).unwrap());
        assert_eq!(place.text(), after, "{before:?} {lines:?} {save:?}");
        assert!(!place.spool().exists());
        drop(FileJournal::open(&place.journal()).unwrap());
        assert_eq!(place.text(), after);
    }
}

#[test]
fn a_kill_while_lines_are_brought_back_does_not_double_them() {
    let place = Place::new();
    std::fs::write(place.journal(), "a\n").unwrap();
    place.leave(&boot(), "b\nc\n", None);
    let spool_file = spool::open(&place.spool()).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .open(place.journal())
        .unwrap();
    let left = spool::left_behind(&spool_file, &boot(), &file, 2).unwrap();
    assert_eq!(left, Left::Lines(b"b\nc\n".to_vec()));
    append_all(&file, 2, b"b\n").unwrap();
    drop(spool_file);
    drop(FileJournal::open(&place.journal()).unwrap());
    assert_eq!(place.text(), "a\nb\nc\n");
}

#[test]
fn nothing_is_believed_that_another_boot_left() {
    let place = Place::new();
    std::fs::write(place.journal(), "a\n").unwrap();
    place.leave(&[b'x'; 36], "b\n", None);
    drop(FileJournal::open(&place.journal()).unwrap());
    assert_eq!(place.text(), "a\n");
    let kept = std::fs::read(place.0.join("audit.jsonl.spool-unsaved")).unwrap();
    assert!(kept[4096..].starts_with(b"b\n"));
}

#[test]
fn a_line_is_in_the_spool_at_once_and_in_the_file_soon() {
    let place = Place::new();
    let journal = FileJournal::open(&place.journal()).unwrap();
    journal.append(b"line").unwrap();
    // As another process sees it.
    let spool = std::fs::read(place.spool()).unwrap();
    assert!(spool[4096..].starts_with(b"line\n") || place.text() == "line\n");
    let started = Instant::now();
    while place.text() != "line\n" {
        assert!(started.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(5));
    }
    journal.append(b"another").unwrap();
    journal.save().unwrap();
    assert_eq!(place.text(), "line\nanother\n");
}

#[test]
fn a_full_disk_refuses_the_line_and_nothing_else() {
    let place = Place::new();
    let journal = FileJournal::open(&place.journal()).unwrap();
    journal.append(b"before").unwrap();
    {
        let mut writer = journal.shared.writer.lock();
        writer.reserve = fails;
        writer.reserved = 0;
    }
    let refused = journal.append(b"refused").unwrap_err();
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    journal.shared.writer.lock().reserve = reserve;
    journal.append(b"after").unwrap();
    drop(journal);
    assert_eq!(place.text(), "before\nafter\n");
}

#[test]
fn a_save_that_fails_stops_appending_and_loses_nothing() {
    let place = Place::new();
    let journal = FileJournal::open(&place.journal()).unwrap();
    journal.append(b"before").unwrap();
    // Through this descriptor nothing can be written.
    let working = {
        let read_only = File::open(place.journal()).unwrap();
        let mut writer = journal.shared.writer.lock();
        let working = std::mem::replace(&mut writer.file, read_only);
        assert!(writer.save().is_err());
        working
    };
    assert!(journal.append(b"refused").is_err());
    assert!(journal.read(&mut |_| true).is_err());
    journal.shared.writer.lock().file = working;
    journal.append(b"after").unwrap();
    drop(journal);
    assert_eq!(place.text(), "before\nafter\n");
}

#[test]
fn a_journal_cut_under_our_hands_goes_on_where_it_ends() {
    let place = Place::new();
    let journal = FileJournal::open(&place.journal()).unwrap();
    for n in 0..2000 {
        journal
            .append(format!("{n}").repeat(100).as_bytes())
            .unwrap();
    }
    journal.save().unwrap();
    journal.append(b"waiting").unwrap();
    // As `logrotate` does with copytruncate.
    File::options()
        .write(true)
        .open(place.journal())
        .unwrap()
        .set_len(0)
        .unwrap();
    journal.append(b"next").unwrap();
    drop(journal);
    assert!(place.text().ends_with("next\n"));
    assert!(place.text().len() <= "waiting\nnext\n".len());
}

#[test]
fn a_closed_journal_keeps_no_room_that_it_does_not_use() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let journal = FileJournal::open(&place.journal()).unwrap();
    journal.append(b"line").unwrap();
    assert!(std::fs::metadata(place.journal()).unwrap().blocks() * 512 >= RESERVED_BYTES);
    drop(journal);
    assert!(std::fs::metadata(place.journal()).unwrap().blocks() * 512 < RESERVED_BYTES / 2);
}

#[test]
fn a_journal_is_open_once() {
    let place = Place::new();
    let _journal = FileJournal::open(&place.journal()).unwrap();
    let error = FileJournal::open(&place.journal()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn without_a_spool_each_line_goes_to_the_file() {
    let place = Place::new();
    let journal = FileJournal::open(&place.journal()).unwrap();
    journal.shared.writer.lock().spool = None;
    journal.append(b"one").unwrap();
    assert_eq!(place.text(), "one\n");
    journal.append(b"two").unwrap();
    assert_eq!(place.text(), "one\ntwo\n");
}
