//! *What lives here:* tests of lines, chain, recovery and times. *What must never live here:* a second way to compute a line.

use serde_json::Value;
use strongroom_keymem::{Config, Locking};

use super::*;
use crate::ports::{MemoryClock, MemoryJournal};

/// 2026-11-22T10:36:47.123Z
const NOW: Time = Time(1_795_343_807_123);

fn start() {
    let config = Config {
        bytes: Some(8 << 20),
        locking: Locking::DangerUnlockedAllowed,
    };
    strongroom_keymem::start(&config).unwrap();
    strongroom_crypto::start().unwrap();
}

fn try_open(journal: &Arc<MemoryJournal>, level: Level) -> Result<Audit, StoreError> {
    start();
    let clock = Arc::new(MemoryClock::new(NOW));
    Audit::open(
        Arc::clone(journal) as Arc<dyn Journal>,
        clock,
        level,
        Generation::default(),
    )
}

fn open(journal: &Arc<MemoryJournal>) -> Audit {
    try_open(journal, Level::All).unwrap()
}

fn somebody() -> Principal {
    Principal {
        uid: 1000,
        gid: 100,
        pid: 4711,
        executable: "/usr/bin/a \"b\"\\\n\u{1f}é".into(),
        started: Some(77),
    }
}

fn event<'e>(who: &'e Principal, function: &'e str) -> Event<'e> {
    Event {
        who,
        function,
        management: false,
        slot: Some(1),
        session: Some(7),
        object: None,
        object_id: None,
        mechanism: Some(MechanismType::ECDSA),
        import: None,
        release: None,
        rv: Rv::OK,
    }
}

fn record(audit: &Audit, function: &str) {
    let who = somebody();
    assert_eq!(
        audit
            .record(&event(&who, function), 5)
            .unwrap()
            .into_inner(),
        5
    );
}

fn hash_of(bytes: &[u8]) -> String {
    HashDigits::of(bytes).unwrap().as_str().to_owned()
}

fn five_lines() -> Vec<Vec<u8>> {
    let journal = Arc::new(MemoryJournal::new());
    let audit = open(&journal);
    for function in [
        "C_OpenSession",
        "C_Login",
        "C_SignInit",
        "C_Sign",
        "C_CloseSession",
    ] {
        record(&audit, function);
    }
    journal.lines()
}

fn broken(lines: Vec<Vec<u8>>) -> Option<u64> {
    verify(&MemoryJournal::with_lines(lines))
        .unwrap()
        .broken
        .map(|(line, _)| line)
}

#[test]
fn a_line_is_json_and_says_what_happened() {
    let journal = Arc::new(MemoryJournal::new());
    let audit = open(&journal);
    let who = somebody();
    let full = Event {
        object: Some(3),
        object_id: Some("5f"),
        rv: Rv::PIN_INCORRECT,
        ..event(&who, "C_Sign")
    };
    let _ = audit.record(&full, ()).unwrap();
    let line = String::from_utf8(journal.lines()[0].clone()).unwrap();
    let value: Value = serde_json::from_str(&line).unwrap();
    let expected = serde_json::json!({
        "seq": 1, "time": "2026-11-22T10:36:47.123Z", "uid": 1000, "gid": 100, "pid": 4711, "exe": who.executable,
        "function": "C_Sign", "slot": 1, "session": 7, "object": 3, "object_id": "5f", "mechanism": "CKM_ECDSA",
        "rv": "CKR_PIN_INCORRECT", "prev": "0".repeat(64), "hash": value["hash"],
    });
    assert_eq!(value, expected);
    assert!(!line.contains('\n'));
    // The rule of the module's documentation, word for word.
    let (covered, rest) = line.split_once(",\"hash\":\"").unwrap();
    assert_eq!(rest, format!("{}\"}}", hash_of(covered.as_bytes())));
}

#[test]
fn the_chain_goes_on_after_a_restart() {
    let journal = Arc::new(MemoryJournal::new());
    for _ in 0..3 {
        let audit = open(&journal);
        record(&audit, "C_Sign");
        record(&audit, "C_Verify");
    }
    let report = verify(&*journal).unwrap();
    assert_eq!((report.lines, report.broken), (6, None));
    let values: Vec<Value> = journal
        .lines()
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(values[5]["seq"], 6);
    assert_eq!(values[5]["hash"], report.head);
    assert!(
        values
            .windows(2)
            .all(|pair| pair[1]["prev"] == pair[0]["hash"])
    );
    assert_eq!(
        tail(&*journal, 2).unwrap()[1].as_bytes(),
        journal.lines()[5]
    );
    assert_eq!(verify(&MemoryJournal::new()).unwrap().head, "0".repeat(64));
}

#[test]
fn every_changed_byte_is_found_at_its_line() {
    let lines = five_lines();
    assert_eq!(broken(lines.clone()), None);
    for (number, line) in lines.iter().enumerate() {
        for place in 0..line.len() {
            let mut changed = lines.clone();
            changed[number][place] ^= 1;
            assert_eq!(
                broken(changed),
                Some(number as u64 + 1),
                "line {number}, byte {place}"
            );
        }
    }
}

#[test]
fn removed_inserted_and_exchanged_lines_are_found() {
    let lines = five_lines();
    for place in 0..4 {
        let mut removed = lines.clone();
        removed.remove(place);
        assert_eq!(broken(removed), Some(place as u64 + 1));
        let mut twice = lines.clone();
        twice.insert(place, lines[place].clone());
        assert_eq!(broken(twice), Some(place as u64 + 2));
        let mut exchanged = lines.clone();
        exchanged.swap(place, place + 1);
        assert_eq!(broken(exchanged), Some(place as u64 + 1));
        let mut rubbish = lines.clone();
        rubbish.insert(place, b"{}".to_vec());
        assert_eq!(broken(rubbish), Some(place as u64 + 1));
    }
    // Said in the documentation: the end alone can be cut.
    assert_eq!(broken(lines[..3].to_vec()), None);
    // A line of another chain with the right number.
    let journal = Arc::new(MemoryJournal::new());
    let audit = open(&journal);
    (0..5).for_each(|_| record(&audit, "C_Forged"));
    let mut foreign = lines.clone();
    foreign[2] = journal.lines()[2].clone();
    assert_eq!(broken(foreign), Some(3));
}

#[test]
fn a_torn_line_is_recovered_and_recorded() {
    let mut lines = five_lines();
    let whole = lines[4].clone();
    for len in 0..whole.len() {
        lines[4] = whole[..len].to_vec();
        assert_eq!(broken(lines.clone()), Some(5), "before the restart");
        let journal = Arc::new(MemoryJournal::with_lines(lines.clone()));
        record(&open(&journal), "C_Sign");
        let report = verify(&*journal).unwrap();
        assert_eq!((report.lines, report.broken), (7, None), "cut at {len}");
        let recovered: Value = serde_json::from_slice(&journal.lines()[5]).unwrap();
        assert_eq!(recovered["function"], "journal.recovered");
        assert_eq!(recovered["torn"], hash_of(&whole[..len]));
        assert_eq!(
            (recovered["seq"].as_u64(), recovered["torn_lines"].as_u64()),
            (Some(5), Some(1))
        );
        // What was torn cannot be changed afterwards.
        let mut changed = journal.lines();
        changed[4].push(b'x');
        assert_eq!(broken(changed), Some(5));
    }
    // Crash upon crash, more often than one look at the tail shows; and before the first whole line.
    for before in [&lines[..4], &[]] {
        let torn = vec![b"{\"seq\":5".to_vec(); 20];
        let journal = Arc::new(MemoryJournal::with_lines([before, &torn].concat()));
        record(&open(&journal), "C_Sign");
        assert_eq!(verify(&*journal).unwrap().broken, None);
    }
}

#[test]
fn a_changed_last_line_is_not_taken_for_a_crash() {
    let mut lines = five_lines();
    let place = lines[4].len() - 200;
    lines[4][place] ^= 1;
    let journal = Arc::new(MemoryJournal::with_lines(lines));
    let error = try_open(&journal, Level::All).unwrap_err().to_string();
    assert!(
        error.contains("last line of the journal was changed"),
        "{error}"
    );
    assert!(try_open(&journal, Level::None).is_ok());
}

#[test]
fn without_a_line_there_is_no_answer() {
    let journal = Arc::new(MemoryJournal::new());
    let audit = open(&journal);
    record(&audit, "C_Sign");
    journal.fail_next_append();
    let who = somebody();
    assert!(audit.record(&event(&who, "C_Sign"), ()).is_err());
    // The journal failed after a part of the line, or after all of it.
    journal.append(b"{\"seq\":2,\"ti").unwrap();
    record(&audit, "C_Verify");
    journal.fail_next_append();
    assert!(audit.record(&event(&who, "C_Sign"), ()).is_err());
    record(&audit, "C_Verify");
    let report = verify(&*journal).unwrap();
    assert_eq!((report.lines, report.broken), (5, None));
}

#[test]
fn the_level_decides_what_is_recorded() {
    for (level, lines) in [(Level::All, 2), (Level::Management, 1), (Level::None, 0)] {
        let journal = Arc::new(MemoryJournal::new());
        let audit = try_open(&journal, level).unwrap();
        record(&audit, "C_Sign");
        let who = somebody();
        let _ = audit
            .record(
                &Event {
                    management: true,
                    ..event(&who, "C_Login")
                },
                (),
            )
            .unwrap();
        assert_eq!((journal.lines().len(), audit.level()), (lines, level));
        assert_eq!(level.to_string().parse(), Ok(level));
    }
    assert_eq!("everything".parse::<Level>(), Err(UnknownLevel));
}

#[test]
fn threads_make_one_chain() {
    let journal = Arc::new(MemoryJournal::new());
    let audit = open(&journal);
    let clock = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| record(&audit, "C_Sign")));
        }
    });
    println!("2000 lines in {:?}", clock.elapsed());
    assert_eq!(verify(&*journal).unwrap().broken, None);
}
