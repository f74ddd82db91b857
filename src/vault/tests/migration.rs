//! *What lives here:* a store of this format on its way to formats that do not exist yet. *What must never live here:* a step of the
//! product; that has a fixture of its own.

use super::tampering::two_states;
use super::*;
use crate::vault::draft::decoded;
use crate::vault::migrate::{Step, Way};

fn root() -> SecretBytes {
    secret(&[7; 32])
}

fn shared(store: &Arc<MemoryStore>) -> Arc<dyn Store> {
    Arc::clone(store) as Arc<dyn Store>
}

/// Every record and its bytes.
fn records(store: &MemoryStore) -> Vec<(RecordKey, Vec<u8>)> {
    let all = store.keys().into_iter();
    all.map(|key| (key, store.record(key).unwrap().unwrap()))
        .collect()
}

/// The vault record in another format, its next token `more` further on.
fn resealed(store: &Arc<dyn Store>, from: u8, more: u64) -> Result<(), VaultError> {
    let mut sealed = store.record(REGISTER_KEY)?.unwrap();
    let check = sealed.split_off(sealed.len() - hierarchy::KEY_BYTES);
    let key = hierarchy::vault_key(&root())?;
    let mut plaintext = SecretVec::new();
    let stamp = seal::open_as(from, &key, REGISTER_KEY, &sealed, &mut plaintext)?;
    let mut body: RegisterBody = decoded(REGISTER_KEY, plaintext.expose())?;
    body.next_token += more;
    let (mut sealed, _) = seal::seal_as(
        from + 1,
        &key,
        REGISTER_KEY,
        Realm::Public,
        stamp.version + 1,
        encoded(&body)?.expose(),
    )?;
    sealed.extend(check);
    store
        .commit(&[Change::Put(REGISTER_KEY, sealed)])
        .map_err(Into::into)
}

const ONE_TO_TWO: (u8, Step) = (1, |store, _| resealed(store, 1, 10));
const TWO_TO_THREE: (u8, Step) = (2, |store, _| resealed(store, 2, 100));

/// What a reader of format 3 sees: the next token.
fn next_token_of_three(store: &Arc<dyn Store>) -> Result<u64, VaultError> {
    let mut sealed = store.record(REGISTER_KEY)?.unwrap();
    sealed.truncate(sealed.len() - hierarchy::KEY_BYTES);
    let mut plaintext = SecretVec::new();
    let key = hierarchy::vault_key(&root())?;
    seal::open_as(3, &key, REGISTER_KEY, &sealed, &mut plaintext)?;
    let body: RegisterBody = decoded(REGISTER_KEY, plaintext.expose())?;
    Ok(body.next_token)
}

fn sound(store: &Arc<dyn Store>, _: &SecretBytes) -> Vec<String> {
    next_token_of_three(store)
        .err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

const TO_THREE: Way<'static> = Way {
    target: 3,
    steps: &[ONE_TO_TWO, TWO_TO_THREE],
    findings: sound,
};

#[test]
fn a_store_of_an_older_format_is_brought_up_in_one_commit() {
    let (_, store) = two_states();
    let next = open(&store).next_token();
    let (before, commits) = (records(&store), store.commits());
    TO_THREE.go(&shared(&store), &root()).unwrap();
    assert_eq!(store.commits(), commits + 1);
    assert_eq!(next_token_of_three(&shared(&store)), Ok(next + 110));
    // What the steps did not change is as it was.
    let same = records(&store).into_iter().zip(before);
    for ((key, now), (_, then)) in same {
        assert_eq!(now == then, key != REGISTER_KEY, "{}", name(key));
    }
    // A second time there is nothing to do; and this version names what it cannot read.
    TO_THREE.go(&shared(&store), &root()).unwrap();
    assert_eq!(store.commits(), commits + 1);
    assert_eq!(try_open(&store).err(), Some(VaultError::FormatNewer(3)));
}

#[test]
fn a_migration_that_fails_anywhere_leaves_the_store_as_it_was() {
    let (_, store) = two_states();
    let before = records(&store);
    let fails: (u8, Step) = (2, |_, _| Err(VaultError::Memory));
    let stands_still: (u8, Step) = (2, |_, _| Ok(()));
    let unsound: fn(&Arc<dyn Store>, &SecretBytes) -> Vec<String> = |_, _| vec!["it is odd".into()];
    let ways: [(&[(u8, Step)], _, &str); 3] = [
        (&[ONE_TO_TWO, fails], TO_THREE.findings, "locked memory"),
        (
            &[ONE_TO_TWO, stands_still],
            TO_THREE.findings,
            "report this",
        ),
        (&[ONE_TO_TWO, TWO_TO_THREE], unsound, "it is odd"),
    ];
    for (steps, findings, text) in ways {
        let way = Way {
            target: 3,
            steps,
            findings,
        };
        let error = way.go(&shared(&store), &root()).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(records(&store), before);
    }
    store.fail_commit_after(0);
    let error = TO_THREE.go(&shared(&store), &root()).unwrap_err();
    assert!(matches!(error, VaultError::Store(_)), "{error}");
    assert_eq!(records(&store), before);
    open(&store);
}

#[test]
fn a_store_of_this_format_and_an_empty_one_are_not_touched() {
    let (_, store) = two_states();
    let commits = store.commits();
    crate::vault::migrate::WAY
        .go(&shared(&store), &root())
        .unwrap();
    assert_eq!(store.commits(), commits);
    let empty = Arc::new(MemoryStore::new());
    TO_THREE.go(&shared(&empty), &root()).unwrap();
    assert_eq!(empty.commits(), 0);
}

#[test]
fn each_format_before_this_one_has_its_step() {
    let way = crate::vault::migrate::WAY;
    let from: Vec<u8> = way.steps.iter().map(|(from, _)| *from).collect();
    assert_eq!(from, (1..way.target).collect::<Vec<u8>>());
}
