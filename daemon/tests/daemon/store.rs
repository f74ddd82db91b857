//! The store: one commit is one change, in order, and it lasts.

use std::os::unix::fs::MetadataExt;

use strongroom::ports::{Change, RecordKey, RecordKind, Store, StoreError};
use strongroomd::store::RedbStore;

use crate::bench::Directory;

fn key(kind: RecordKind, token: u64, object: u64) -> RecordKey {
    RecordKey {
        kind,
        token,
        object,
    }
}

fn objects(store: &RedbStore, kind: RecordKind, token: u64) -> Vec<(u64, Vec<u8>)> {
    let mut seen = Vec::new();
    store
        .scan(kind, token, &mut |object, sealed| {
            seen.push((object, sealed.to_vec()));
            true
        })
        .unwrap();
    seen
}

#[test]
fn records_last_and_come_in_order() {
    let home = Directory::new();
    let path = home.join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.record(key(RecordKind::Vault, 0, 0)).unwrap(), None);
    let changes: Vec<Change> = [(3, 1), (1, 256), (1, 2), (1, u64::MAX), (u64::MAX, 5)]
        .into_iter()
        .map(|(token, object)| Change::Put(key(RecordKind::Metadata, token, object), vec![1]))
        .chain([Change::Put(
            key(RecordKind::Material, 1, 3),
            vec![9; 100_000],
        )])
        .collect();
    store.commit(&changes).unwrap();
    store
        .commit(&[Change::Delete(key(RecordKind::Metadata, 9, 9))])
        .unwrap();
    drop(store);

    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let store = RedbStore::open(&path).unwrap();
    let numbers: Vec<u64> = objects(&store, RecordKind::Metadata, 1)
        .iter()
        .map(|one| one.0)
        .collect();
    assert_eq!(numbers, [2, 256, u64::MAX]);
    assert_eq!(objects(&store, RecordKind::Metadata, 2), []);
    assert_eq!(
        store.tokens(RecordKind::Metadata).unwrap(),
        [1, 3, u64::MAX]
    );
    assert_eq!(store.tokens(RecordKind::Token).unwrap(), [] as [u64; 0]);
    assert_eq!(
        store
            .record(key(RecordKind::Material, 1, 3))
            .unwrap()
            .unwrap()
            .len(),
        100_000
    );
}

#[test]
fn a_visitor_may_stop() {
    let home = Directory::new();
    let store = RedbStore::open(&home.join("store.redb")).unwrap();
    let changes: Vec<Change> = (0..10)
        .map(|object| Change::Put(key(RecordKind::Metadata, 1, object), vec![]))
        .collect();
    store.commit(&changes).unwrap();
    let mut count = 0;
    store
        .scan(RecordKind::Metadata, 1, &mut |_, _| {
            count += 1;
            count < 4
        })
        .unwrap();
    assert_eq!(count, 4);
}

#[test]
fn a_commit_replaces_and_deletes_together() {
    let home = Directory::new();
    let store = RedbStore::open(&home.join("store.redb")).unwrap();
    let (first, second) = (key(RecordKind::Token, 1, 0), key(RecordKind::Token, 2, 0));
    store
        .commit(&[Change::Put(first, vec![1]), Change::Put(second, vec![2])])
        .unwrap();
    store
        .commit(&[Change::Put(first, vec![3]), Change::Delete(second)])
        .unwrap();
    assert_eq!(store.record(first).unwrap(), Some(vec![3]));
    assert_eq!(store.record(second).unwrap(), None);
}

#[test]
fn a_damaged_file_is_an_error_and_no_crash() {
    let home = Directory::new();
    let path = home.write("store.redb", &"this is no store ".repeat(1000));
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Failed(_))));
}

/// A backup reads for minutes. Whoever commits meanwhile waits for nothing, and is not in it.
#[test]
fn a_snapshot_is_of_one_moment_and_holds_nobody_up() {
    let directory = Directory::new();
    let store = RedbStore::open(&directory.join("store.redb")).unwrap();
    let put = |object, byte| Change::Put(key(RecordKind::Metadata, 1, object), vec![byte; 10]);
    let all: Vec<Change> = (1..=500).map(|object| put(object, 1)).collect();
    store.commit(&all).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.records(), 500);
    let (mut seen, mut last) = (Vec::new(), None);
    loop {
        let before = seen.len();
        snapshot
            .scan(last, &mut |key, sealed| {
                assert_eq!(sealed, [1; 10]);
                seen.push(key.object);
                last = Some(key);
                !seen.len().is_multiple_of(37)
            })
            .unwrap();
        if seen.len() == before {
            break;
        }
        let object = u64::try_from(seen.len()).unwrap();
        store
            .commit(&[
                put(object + 1, 2),
                put(1_000 + object, 2),
                Change::Delete(key(RecordKind::Metadata, 1, object)),
            ])
            .unwrap();
    }
    assert!(seen.iter().copied().eq(1..=500));
    drop(snapshot);
    assert!(store.snapshot().unwrap().records() > 500);
}
