//! The journal: lines are whole, in order, and found from the end.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::audit::verify;
use strongroom::ports::Journal;
use strongroom_wire::request::Request;
use strongroomd::journal::FileJournal;

use crate::bench::{Directory, Running, start_memory};

fn lines(journal: &FileJournal) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    journal
        .read(&mut |line| {
            all.push(line.to_vec());
            true
        })
        .unwrap();
    all
}

#[test]
fn lines_come_back_in_order_and_from_the_end() {
    let home = Directory::new();
    let path = home.join("audit.jsonl");
    let journal = FileJournal::open(&path).unwrap();
    assert_eq!(journal.tail(5).unwrap(), [] as [Vec<u8>; 0]);
    // More than a block, with lines longer than a block.
    let written: Vec<Vec<u8>> = (0..300_usize)
        .map(|n| format!("{n}:{}", "x".repeat(n * 997 % 70_000)).into_bytes())
        .collect();
    for line in &written {
        journal.append(line).unwrap();
    }
    assert_eq!(lines(&journal), written);
    for count in [0, 1, 2, 7, 299, 300, 301] {
        let expected = &written[written.len().saturating_sub(count)..];
        assert_eq!(journal.tail(count).unwrap(), expected, "{count}");
    }
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_torn_last_line_is_cut_off() {
    let home = Directory::new();
    let path = home.join("audit.jsonl");
    let torn = "half a line ".repeat(20_000);
    std::fs::write(&path, format!("one\ntwo\n{torn}")).unwrap();
    let journal = FileJournal::open(&path).unwrap();
    journal.append(b"three").unwrap();
    assert_eq!(
        lines(&journal),
        [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]
    );
    drop(journal);
    std::fs::write(&path, "nothing but a torn line").unwrap();
    assert_eq!(
        lines(&FileJournal::open(&path).unwrap()),
        [] as [Vec<u8>; 0]
    );
}

#[test]
fn a_line_that_is_being_written_is_not_shown() {
    let home = Directory::new();
    let path = home.join("audit.jsonl");
    let journal = FileJournal::open(&path).unwrap();
    journal.append(b"whole").unwrap();
    journal.save().unwrap();
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"torn")
        .unwrap();
    assert_eq!(lines(&journal), [b"whole".to_vec()]);
}

#[test]
fn threads_append_whole_lines() {
    let home = Directory::new();
    let journal = FileJournal::open(&home.join("audit.jsonl")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..200 {
                    journal.append(format!("{thread} {n}").as_bytes()).unwrap();
                }
            });
        }
    });
    let all = lines(&journal);
    assert_eq!(all.len(), 800);
    for thread in 0..4 {
        let own: Vec<String> = all
            .iter()
            .map(|line| String::from_utf8(line.clone()).unwrap())
            .filter(|line| line.starts_with(&format!("{thread} ")))
            .collect();
        assert_eq!(
            own,
            (0..200)
                .map(|n| format!("{thread} {n}"))
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_kill_loses_no_answered_request() {
    let home = Directory::new();
    for round in 0..3 {
        let daemon = Running::start(home.path());
        let answered = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (answered, mut client) = (&answered, daemon.application().hello());
                scope.spawn(move || {
                    // Writing fails once the daemon is gone, in whatever way the kernel tells.
                    let request = client.frame(&Request::SlotList);
                    while client.socket.write_all(&request).is_ok() && client.receive().is_some() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while answered.load(Ordering::Relaxed) < 3_000 {
                std::thread::yield_now();
            }
            daemon.signal("KILL");
        });
        drop(daemon);
        start_memory();
        let journal = FileJournal::open(&home.join("audit.jsonl")).unwrap();
        let report = verify(&journal).unwrap();
        assert_eq!(report.broken, None, "round {round}");
        let mut recorded = 0;
        journal
            .read(&mut |line| {
                let name = b"\"C_GetSlotList\"";
                recorded += u64::from(line.windows(name.len()).any(|part| part == name));
                true
            })
            .unwrap();
        let answered = answered.into_inner();
        assert!(
            recorded >= answered,
            "round {round}: {recorded} of {answered}"
        );
        drop(journal);
        std::fs::remove_file(home.join("audit.jsonl")).unwrap();
    }
}
