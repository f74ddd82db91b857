//! *What lives here:* damage, and the check that goes on after the first and lists all. *What must never live here:* what opening a vault
//! does about it (`tampering.rs`).

use super::tampering::two_states;
use super::*;

pub(super) fn inspected(store: &Arc<MemoryStore>) -> Vec<String> {
    let closed = ClosedVault::new(
        Arc::clone(store) as Arc<dyn Store>,
        SecretBytes::copy_from(&[7; 32]).unwrap(),
    );
    let (mut all, tokens) = closed.inspect();
    for token in tokens {
        all.add(closed.inspect_token(token));
    }
    all.findings
}

fn damaged(store: &MemoryStore, changes: &[Change]) -> Arc<MemoryStore> {
    let damaged = Arc::new(store.duplicate());
    damaged.commit(changes).unwrap();
    damaged
}

fn key(kind: RecordKind, token: u64, object: u64) -> RecordKey {
    RecordKey {
        kind,
        token,
        object,
    }
}

fn sealed(store: &MemoryStore, key: RecordKey) -> Vec<u8> {
    store.record(key).unwrap().unwrap()
}

/// The record with its last bit changed.
fn changed(store: &MemoryStore, key: RecordKey) -> Change {
    let mut sealed = sealed(store, key);
    *sealed.last_mut().unwrap() ^= 1;
    Change::Put(key, sealed)
}

#[test]
fn a_store_as_it_was_left_has_nothing_to_find() {
    let (early, store) = two_states();
    assert_eq!(inspected(&Arc::new(early)), Vec::<String>::new());
    assert_eq!(inspected(&store), Vec::<String>::new());
}

#[test]
fn each_damage_of_each_record_is_found_and_named() {
    let (early, store) = two_states();
    for key in store.keys() {
        let longer = [sealed(&store, key), vec![0]].concat();
        let shorter = sealed(&store, key)[..20].to_vec();
        let mut damages = vec![
            changed(&store, key),
            Change::Put(key, longer),
            Change::Put(key, shorter),
            Change::Delete(key),
        ];
        if let Some(old) = early.record(key).unwrap() {
            damages.push(Change::Put(key, old));
        }
        for damage in damages {
            let findings = inspected(&damaged(&store, std::slice::from_ref(&damage)));
            let token = format!("token {}", key.token);
            let named = match key.kind {
                // A vault record of before does not know the last token; without a right one the key cannot be judged either.
                RecordKind::Vault => findings
                    .iter()
                    .any(|what| what.contains("vault record") || what.contains("root key")),
                _ => findings.iter().any(|what| what.contains(&token)),
            };
            assert!(named, "{}: {damage:?}: {findings:?}", name(key));
        }
    }
}

#[test]
fn it_goes_on_after_the_first_and_lists_all() {
    let (early, store) = two_states();
    let wrong = [
        key(RecordKind::Metadata, 1, 1),
        key(RecordKind::Material, 1, 2),
        key(RecordKind::Tries, 2, 0),
        key(RecordKind::Metadata, 2, 2),
    ];
    let mut changes: Vec<Change> = wrong.iter().map(|key| changed(&store, *key)).collect();
    let back = key(RecordKind::Metadata, 2, 4);
    changes.push(Change::Put(back, sealed(&early, back)));
    changes.push(Change::Put(key(RecordKind::Metadata, 9, 1), vec![1; 60]));
    changes.push(Change::Put(key(RecordKind::Tries, 1, 7), vec![1; 60]));
    let findings = inspected(&damaged(&store, &changes));
    for key in wrong {
        let named = findings.iter().any(|what| what.starts_with(&name(key)));
        assert!(named, "{}: {findings:?}", name(key));
    }
    for text in [
        "token 9 was added",
        "a second time, at place 7",
        "several records of token 2",
    ] {
        assert!(
            findings.iter().any(|what| what.contains(text)),
            "{text}: {findings:?}"
        );
    }
}

#[test]
fn one_wrong_record_is_one_finding() {
    let (early, store) = two_states();
    for key in [
        key(RecordKind::Metadata, 1, 1),
        key(RecordKind::Material, 2, 2),
    ] {
        assert_eq!(
            inspected(&damaged(&store, &[changed(&store, key)])).len(),
            1
        );
    }
    // Closed to us, and found all the same: changed, put back, and exchanged.
    let private = key(RecordKind::Material, 1, 4);
    let back = Change::Put(private, sealed(&early, private));
    for change in [changed(&store, private), back, Change::Delete(private)] {
        let findings = inspected(&damaged(&store, &[change]));
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].starts_with("object 4 of token 1 (material)"),
            "{findings:?}"
        );
    }
}

#[test]
fn a_running_vault_knows_what_was_put_back_behind_it() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let token = new_token(&vault);
    let object = put(&token, Realm::Private, b"m", Some(b"one"));
    let all = |vault: &Vault| {
        let (mut all, tokens) = vault.inspect();
        for token in tokens {
            all.add(vault.inspect_token(token));
        }
        all
    };
    let clean = all(&vault);
    assert_eq!(clean.findings, Vec::<String>::new());
    assert_eq!(
        (clean.closed, clean.generation),
        (0, vault.generation().get())
    );
    // The whole token, with its census: nothing inside the file is wrong then.
    let early = store.duplicate();
    put(&token, Realm::Public, b"n", None);
    for key in store.keys() {
        let change = match early.record(key).unwrap() {
            Some(sealed) => Change::Put(key, sealed),
            None => Change::Delete(key),
        };
        store.commit(&[change]).unwrap();
    }
    assert_eq!(inspected(&store), Vec::<String>::new());
    let findings = all(&vault).findings;
    let named = |text: &str| findings.iter().any(|what| what.contains(text));
    assert!(
        named("census of token 1 was changed, removed or put back under the running daemon"),
        "{findings:?}"
    );
    assert!(
        named(&format!("object {} of token 1", object + 1)),
        "{findings:?}"
    );
    assert!(
        !named(&format!("object {object} of token 1")),
        "{findings:?}"
    );
}
