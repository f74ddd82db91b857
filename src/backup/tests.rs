//! *What lives here:* tests of the file: what goes in comes out, and nothing that was touched goes in. *What must never live here:*
//! files. *Who calls it:* cargo test.

use std::collections::BTreeMap;

use strongroom_crypto::password::Argon2Cost;
use strongroom_keymem::{Config, Locking, SecretBytes, SecretVec};

use super::*;
use crate::ports::{Change, MemoryStore, RecordKey, RecordKind, Store};

type Records = BTreeMap<RecordKey, Vec<u8>>;

const ROOT: [u8; 32] = *b"the root key of these tests 0123";
const CHEAP: Argon2Cost = Argon2Cost {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

fn start() {
    let config = Config {
        bytes: Some(32 << 20),
        locking: Locking::DangerUnlockedAllowed,
    };
    strongroom_keymem::start(&config).unwrap();
    strongroom_crypto::start().unwrap();
}

/// A store with as many objects as asked for, of odd sizes.
fn store(objects: u64) -> MemoryStore {
    let store = MemoryStore::new();
    let key = |kind, token, object| RecordKey {
        kind,
        token,
        object,
    };
    let mut changes = vec![
        Change::Put(key(RecordKind::Vault, 0, 0), vec![1; 77]),
        Change::Put(key(RecordKind::Token, 1, 0), vec![2; 300]),
        Change::Put(key(RecordKind::Census, 1, 0), Vec::new()),
    ];
    for object in 1..=objects {
        let length = usize::try_from(object * 331 % 4_000).unwrap();
        let byte = u8::try_from(object % 251).unwrap();
        changes.push(Change::Put(
            key(RecordKind::Metadata, 1, object),
            vec![byte; length],
        ));
    }
    store.commit(&changes).unwrap();
    store
}

fn begun(store: &MemoryStore, to: &[PublicKey]) -> Result<Backup, BackupError> {
    let facts = Facts {
        made: "2026-11-22T10:36:47.123Z".into(),
        daemon: "0.1.0".into(),
        root_key: [7; 8],
    };
    let root = SecretBytes::copy_from(&ROOT).unwrap();
    Backup::begin(store.snapshot().unwrap(), &root, facts, to)
}

fn written(mut backup: Backup) -> (Vec<u8>, Report) {
    let mut file = Vec::new();
    let mut part = SecretVec::new();
    loop {
        part.clear();
        if !backup.next_part(&mut part).unwrap() {
            break;
        }
        assert!(part.len() <= CHUNK_BYTES);
        file.extend_from_slice(part.expose());
    }
    (file, backup.report().unwrap())
}

fn file_of(objects: u64, to: &Identity) -> Vec<u8> {
    let to = [to.public().clone()];
    written(begun(&store(objects), &to).unwrap()).0
}

fn opened(file: &[u8], identity: &Identity) -> Result<(Whole, Records), BackupError> {
    let mut records = Records::new();
    let mut source = file;
    let whole = open(&mut source, identity, &mut |key, sealed| {
        records.insert(key, sealed.to_vec());
        Ok(())
    })?;
    Ok((whole, records))
}

fn records(store: &MemoryStore) -> Records {
    let mut records = BTreeMap::new();
    let snapshot = store.snapshot().unwrap();
    snapshot
        .scan(None, &mut |key, sealed| {
            records.insert(key, sealed.to_vec());
            true
        })
        .unwrap();
    assert_eq!(records.len() as u64, snapshot.records());
    records
}

/// Length of everything before the chunks, as docs/backup-format.md has it.
fn front_bytes(file: &[u8]) -> usize {
    let header = u32::from_be_bytes(file[20..24].try_into().unwrap());
    20 + 4 + usize::try_from(header).unwrap() + 32
}

#[test]
fn what_goes_in_comes_out() {
    start();
    let mine = Identity::generate().unwrap();
    // From a part of a chunk to several, and a record that is longer than chunks.
    for objects in [0, 1, 31, 32, 33, 34, 35, 36, 100, 400] {
        let store = store(objects);
        if objects == 100 {
            let key = RecordKey {
                kind: RecordKind::Material,
                token: 1,
                object: 9,
            };
            store
                .commit(&[Change::Put(key, vec![9; 5 * CHUNK_BYTES + 7])])
                .unwrap();
        }
        let backup = begun(&store, &[mine.public().clone()]).unwrap();
        let (file, report) = written(backup);
        let (whole, restored) = opened(&file, &mine).unwrap();
        assert_eq!(restored, records(&store), "{objects} objects");
        assert!(whole.root_key.equals_in_constant_time(&ROOT));
        assert_eq!(whole.manifest.records, report.records);
        assert_eq!(whole.manifest.bytes, report.bytes);
        assert_eq!(whole.manifest.bytes, file.len() as u64);
        assert_eq!(whole.manifest.digest, report.digest);
        assert_eq!(whole.header.made, "2026-11-22T10:36:47.123Z");
        let mut source = file.as_slice();
        let (_, bytes, digest) = check_digest(&mut source).unwrap();
        assert_eq!((bytes, digest), (report.bytes, report.digest));
    }
}

/// A store whose content ends exactly where a chunk does, and one byte to either side.
#[test]
fn the_border_of_a_chunk_is_no_special_place() {
    start();
    let mine = Identity::generate().unwrap();
    // Root key, one entry's front, manifest.
    let beside = 32 + 21 + 41;
    for length in 0..4 {
        let length = CHUNK_BYTES - TAG_BYTES - beside - 2 + length;
        let store = MemoryStore::new();
        let key = RecordKey {
            kind: RecordKind::Vault,
            token: 0,
            object: 0,
        };
        store.commit(&[Change::Put(key, vec![5; length])]).unwrap();
        let (file, _) = written(begun(&store, &[mine.public().clone()]).unwrap());
        let (_, restored) = opened(&file, &mine).unwrap();
        assert_eq!(restored, records(&store));
    }
}

#[test]
fn every_recipient_opens_it_and_nobody_else() {
    start();
    let keys: Vec<Identity> = (0..3).map(|_| Identity::generate().unwrap()).collect();
    let to = [keys[0].public().clone(), keys[1].public().clone()];
    let (file, _) = written(begun(&store(3), &to).unwrap());
    opened(&file, &keys[0]).unwrap();
    opened(&file, &keys[1]).unwrap();
    let refused = opened(&file, &keys[2]).unwrap_err();
    assert!(
        matches!(&refused, BackupError::OtherRecipients { given, needed }
            if *given == keys[2].public().to_string() && needed.len() == 2),
        "{refused}"
    );
    assert_eq!(
        begun(&store(0), &[]).unwrap_err(),
        BackupError::Recipients(0)
    );
    let many = vec![keys[0].public().clone(); RECIPIENTS_MAX + 1];
    assert_eq!(
        begun(&store(0), &many).unwrap_err(),
        BackupError::Recipients(33)
    );
}

#[test]
fn flipped_bits_are_found_everywhere() {
    start();
    let mine = Identity::generate().unwrap();
    let file = file_of(2, &mine);
    let chunks = front_bytes(&file);
    // A chunk that does not open is looked for in many places, so not every one of its bytes is tried; its tag is none of ours to test.
    let places = (0..chunks)
        .chain((chunks..file.len()).step_by(23))
        .chain(file.len() - 50..file.len());
    for place in places {
        let mut changed = file.clone();
        changed[place] ^= 1 << (place % 8);
        opened(&changed, &mine).expect_err("a flipped bit");
        let mut source = changed.as_slice();
        check_digest(&mut source).expect_err("a flipped bit, without the key");
    }
}

#[test]
fn every_prefix_of_a_small_file_and_every_appendix_are_refused() {
    start();
    let mine = Identity::generate().unwrap();
    let file = file_of(2, &mine);
    for length in 0..file.len() {
        opened(&file[..length], &mine).expect_err("a prefix");
    }
    let mut longer = file;
    longer.push(0);
    opened(&longer, &mine).expect_err("one byte more");
}

/// Chunks are moved as a whole: their own tags are right.
#[test]
fn chunks_removed_repeated_exchanged_or_from_elsewhere_are_named() {
    start();
    let mine = Identity::generate().unwrap();
    let (file, other) = (file_of(400, &mine), file_of(400, &mine));
    let front = front_bytes(&file);
    let chunk = |number: usize| front + number * CHUNK_BYTES..front + (number + 1) * CHUNK_BYTES;
    let chunks = (file.len() - front) / CHUNK_BYTES;
    assert!(chunks > 5, "{chunks} full chunks");
    let said = |file: &[u8]| opened(file, &mine).unwrap_err().to_string();

    let mut exchanged = file.clone();
    let (second, fourth) = (file[chunk(1)].to_vec(), file[chunk(3)].to_vec());
    exchanged[chunk(1)].copy_from_slice(&fourth);
    exchanged[chunk(3)].copy_from_slice(&second);
    assert!(
        said(&exchanged).contains("chunk 2 of the backup does not open: chunk 4 lies in its place")
    );

    let mut removed = file.clone();
    removed.drain(chunk(2));
    assert!(
        said(&removed).contains("chunk 3 of the backup does not open: chunk 4 lies in its place")
    );

    let mut repeated = file.clone();
    let third = file[chunk(2)].to_vec();
    repeated.splice(chunk(3).start..chunk(3).start, third);
    assert!(
        said(&repeated).contains("chunk 4 of the backup does not open: chunk 3 lies in its place")
    );

    let mut foreign = file.clone();
    foreign[chunk(1)].copy_from_slice(&other[chunk(1)]);
    assert!(
        said(&foreign).contains(
            "chunk 2 of the backup does not open: it was changed, or is of another backup"
        )
    );

    let cut = &file[..chunk(2).end];
    assert!(
        said(cut).contains("cut off behind chunk 3"),
        "{}",
        said(cut)
    );
    let cut_with_digest_room = &file[..chunk(2).end + 32];
    assert!(said(cut_with_digest_room).contains("cut off behind chunk 3"));

    let mut appended = file.clone();
    appended.extend_from_slice(&file[chunk(0)]);
    opened(&appended, &mine).expect_err("a chunk appended");

    let mut digest = file.clone();
    *digest.last_mut().unwrap() ^= 1;
    assert_eq!(opened(&digest, &mine).unwrap_err(), BackupError::Digest);
}

/// The header of one backup before the chunks of another, both for the same key.
#[test]
fn header_and_chunks_of_two_backups_do_not_go_together() {
    start();
    let mine = Identity::generate().unwrap();
    let (one, other) = (file_of(3, &mine), file_of(3, &mine));
    let front = front_bytes(&one) - 32;
    assert_eq!(one[20..24], other[20..24]);
    let mut mixed = one.clone();
    mixed[front + 32..].copy_from_slice(&other[front + 32..]);
    assert!(matches!(
        opened(&mixed, &mine).unwrap_err(),
        BackupError::Chunk { number: 1, .. }
    ));
    let mut mixed = one;
    mixed[front..].copy_from_slice(&other[front..]);
    assert_eq!(
        opened(&mixed, &mine).unwrap_err(),
        BackupError::HeaderChanged
    );
}

#[test]
fn a_newer_format_has_a_name() {
    start();
    let mine = Identity::generate().unwrap();
    let file = file_of(0, &mine);
    let mut newer = file.clone();
    newer[18] = b'7';
    assert_eq!(
        opened(&newer, &mine).unwrap_err(),
        BackupError::FormatNewer(7)
    );
    let place = file
        .windows(10)
        .position(|text| text == b"\"format\":1")
        .unwrap();
    let mut newer = file;
    newer[place + 9] = b'9';
    assert_eq!(
        opened(&newer, &mine).unwrap_err(),
        BackupError::FormatNewer(9)
    );
    assert_eq!(
        opened(b"-----BEGIN PGP MESSAGE-----", &mine).unwrap_err(),
        BackupError::NotABackup
    );
}

#[test]
fn nothing_of_the_content_shows() {
    start();
    let mine = Identity::generate().unwrap();
    let file = file_of(40, &mine);
    let shows = |needle: &[u8]| file.windows(needle.len()).any(|place| place == needle);
    assert!(!shows(&ROOT));
    assert!(!shows(&[2; 16]), "a record shows");
    mine.secret()
        .unwrap()
        .with(|secret| assert!(!shows(secret)));
}

#[test]
fn a_backup_sees_one_moment() {
    start();
    let mine = Identity::generate().unwrap();
    let store = store(200);
    let before = records(&store);
    let mut backup = begun(&store, &[mine.public().clone()]).unwrap();
    let (mut file, mut part) = (Vec::new(), SecretVec::new());
    let mut more = 0;
    while backup.next_part(&mut part).unwrap() {
        file.extend_from_slice(part.expose());
        part.clear();
        more += 1;
        let key = |object| RecordKey {
            kind: RecordKind::Metadata,
            token: 1,
            object,
        };
        store
            .commit(&[
                Change::Put(key(1_000 + more), vec![3; 9]),
                Change::Delete(key(more)),
            ])
            .unwrap();
    }
    let (_, restored) = opened(&file, &mine).unwrap();
    assert_eq!(restored, before);
    assert_ne!(records(&store), before);
}

#[test]
fn keys_are_written_and_read() {
    start();
    let mine = Identity::generate().unwrap();
    let text = mine.public().to_text().unwrap();
    let in_a_file = format!("# made for the tests\r\n\r\n{text}\r\n");
    assert_eq!(
        PublicKey::parse(in_a_file.as_bytes()).unwrap(),
        *mine.public()
    );
    let split = mine.public().clone().with_split(Split {
        group: "0123456789abcdef".into(),
        threshold: 3,
        count: 5,
    });
    let text = split.to_text().unwrap();
    assert_eq!(PublicKey::parse(text.as_bytes()).unwrap(), split);
    for place in 0..text.len() {
        let mut mistyped = text.clone().into_bytes();
        mistyped[place] = if mistyped[place] == b'7' { b'8' } else { b'7' };
        let refused = PublicKey::parse(&mistyped).unwrap_err();
        assert!(matches!(refused, BackupError::Key(_)), "{place}: {refused}");
    }

    let text = mine.to_text().unwrap();
    let IdentityFile::Open(same) = IdentityFile::parse(text.expose()).unwrap() else {
        panic!("not locked");
    };
    assert_eq!(same.public(), mine.public());
    assert!(
        PublicKey::parse(text.expose())
            .unwrap_err()
            .to_string()
            .contains("private half")
    );
    assert!(!format!("{same:?}").contains(std::str::from_utf8(&text.expose()[28..92]).unwrap()));

    let text = mine
        .to_locked_text(b"correct horse battery", CHEAP)
        .unwrap();
    let IdentityFile::Locked(locked) = IdentityFile::parse(text.expose()).unwrap() else {
        panic!("locked");
    };
    assert_eq!(
        locked.unlock(b"correct horse batterz").unwrap_err(),
        BackupError::Passphrase
    );
    let same = locked.unlock(b"correct horse battery").unwrap();
    assert_eq!(same.public(), mine.public());
    mine.secret().unwrap().with(|secret| {
        let shown: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = std::str::from_utf8(text.expose()).unwrap();
        assert!(!text.contains(&shown), "the secret shows");
    });
}
