//! *What lives here:* damage to a store, and how it is found and named. *What must never live here:* damage by our own hand.

use super::*;

/// A store with two tokens, and an earlier state of it in which every record was different.
pub(super) fn two_states() -> (MemoryStore, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let tokens = [new_token(&vault), new_token(&vault)];
    let write = |metadata: &[u8], secret_value: &[u8]| {
        let value = secret(secret_value);
        for token in &tokens {
            let put = |object, realm, material| ObjectChange::Put {
                object,
                realm,
                metadata,
                material,
            };
            token
                .commit(&[
                    put(1, Realm::Public, MaterialChange::None),
                    put(2, Realm::Public, MaterialChange::Set(&value)),
                    put(3, Realm::Private, MaterialChange::None),
                    put(4, Realm::Private, MaterialChange::Set(&value)),
                    put(5, Realm::Private, MaterialChange::Set(&value)),
                ])
                .unwrap();
        }
    };
    for token in &tokens {
        while token.next_object() < 5 {}
    }
    write(b"early metadata", b"early secret");
    let early = store.duplicate();
    write(b"later metadata", b"later secret");
    for token in &tokens {
        token.init_user_pin(USER_PIN).unwrap();
    }
    new_token(&vault);
    exercise(&Arc::new(early.duplicate())).unwrap();
    exercise(&Arc::new(store.duplicate())).unwrap();
    (early, store)
}

/// Reads everything there is.
fn exercise(store: &Arc<MemoryStore>) -> Result<(), VaultError> {
    let vault = try_open(store)?;
    for token in vault.tokens() {
        token
            .login(User::User, USER_PIN, &limits())
            .map_err(|error| {
                let LoginError::Vault(error) = error else {
                    panic!("{error}")
                };
                error
            })?;
        for realm in [Realm::Public, Realm::Private] {
            for (object, _) in loaded(&token, realm)? {
                match material(&token, realm, object) {
                    Ok(_) | Err(VaultError::NoSuchObject(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

/// The damage is found, and the error names the token and the object.
fn found(store: &MemoryStore, change: Change, damage: &str) {
    let key = match &change {
        Change::Put(key, _) | Change::Delete(key) => *key,
    };
    let damaged = Arc::new(store.duplicate());
    damaged.commit(&[change]).unwrap();
    let outcome = exercise(&damaged);
    if key.kind == RecordKind::Vault && outcome == Err(VaultError::WrongRootKey) {
        return;
    }
    let Err(VaultError::Tampered { what }) = outcome else {
        panic!("{damage} of {} is not found", name(key))
    };
    let named = match key.kind {
        RecordKind::Vault => "vault record".into(),
        RecordKind::Token | RecordKind::Tries | RecordKind::Census => {
            format!("token {}", key.token)
        }
        RecordKind::Metadata | RecordKind::Material => {
            format!("object {} of token {}", key.object, key.token)
        }
    };
    // A census of another time disagrees with every record written since; it says that it may be wrong itself. A token that the
    // register does not have is named before its objects.
    let instead = format!("token {} was added, or the vault record", key.token);
    assert!(
        what.contains(&named) || what.contains(&instead),
        "{damage} of {}: {what}",
        name(key)
    );
}

#[test]
fn every_byte_of_every_region_of_every_record() {
    let (_, store) = two_states();
    for key in store.keys() {
        let sealed = store.record(key).unwrap().unwrap();
        let last = sealed.len() - 1;
        for place in [0, 1, 8, 9, 10, 21, 22, last - 32, last - 16, last] {
            for bit in [1, 0x80] {
                let mut changed = sealed.clone();
                changed[place] ^= bit;
                // One changed byte of the vault record is told from a wrong root key.
                if key.kind == RecordKind::Vault {
                    let damaged = Arc::new(store.duplicate());
                    damaged
                        .commit(&[Change::Put(key, changed.clone())])
                        .unwrap();
                    assert_eq!(exercise(&damaged), Err(tampered(key)));
                }
                found(
                    &store,
                    Change::Put(key, changed),
                    &format!("a change at {place}"),
                );
            }
        }
        for len in [0, 9, 40, last] {
            let cut = sealed[..len.min(last)].to_vec();
            found(&store, Change::Put(key, cut), &format!("a cut at {len}"));
        }
        let longer = [&sealed[..], &[0]].concat();
        found(&store, Change::Put(key, longer), "an added byte");
        found(&store, Change::Delete(key), "the removal");
    }
}

#[test]
fn every_record_rolled_back() {
    let (early, store) = two_states();
    for key in early.keys() {
        let old = early.record(key).unwrap().unwrap();
        // A token's own record is written only when a PIN or the label changes; here it is, for each.
        assert_ne!(
            Some(&old),
            store.record(key).unwrap().as_ref(),
            "{}",
            name(key)
        );
        let damaged = Arc::new(store.duplicate());
        damaged.commit(&[Change::Put(key, old.clone())]).unwrap();
        match key.kind {
            RecordKind::Census => {
                let error = exercise(&damaged).unwrap_err().to_string();
                assert!(error.contains(&format!("token {}", key.token)), "{error}");
            }
            RecordKind::Vault => {
                let error = exercise(&damaged).unwrap_err().to_string();
                assert!(
                    error.contains("token 3 was added, or the vault record was rolled"),
                    "{error}"
                );
            }
            RecordKind::Token | RecordKind::Tries | RecordKind::Metadata | RecordKind::Material => {
                found(&store, Change::Put(key, old), "a roll-back");
            }
        }
    }
}

#[test]
fn every_record_in_the_place_of_every_other() {
    let (_, store) = two_states();
    let keys = store.keys();
    for target in &keys {
        for source in keys.iter().filter(|source| *source != target) {
            let sealed = store.record(*source).unwrap().unwrap();
            found(
                &store,
                Change::Put(*target, sealed),
                &format!("{} in the place", name(*source)),
            );
        }
    }
}

#[test]
fn two_records_exchanged() {
    let (_, store) = two_states();
    let key = |kind, token, object| RecordKey {
        kind,
        token,
        object,
    };
    let pairs = [
        (
            key(RecordKind::Material, 1, 4),
            key(RecordKind::Material, 1, 5),
        ),
        (
            key(RecordKind::Metadata, 1, 4),
            key(RecordKind::Metadata, 1, 5),
        ),
        (
            key(RecordKind::Metadata, 1, 1),
            key(RecordKind::Metadata, 2, 1),
        ),
        (
            key(RecordKind::Metadata, 1, 5),
            key(RecordKind::Material, 1, 5),
        ),
        (key(RecordKind::Census, 1, 0), key(RecordKind::Census, 2, 0)),
    ];
    for (one, other) in pairs {
        let read = |key| store.record(key).unwrap().unwrap();
        let damaged = Arc::new(store.duplicate());
        damaged
            .commit(&[Change::Put(one, read(other)), Change::Put(other, read(one))])
            .unwrap();
        assert!(
            matches!(exercise(&damaged), Err(VaultError::Tampered { .. })),
            "{}",
            name(one)
        );
    }
}

#[test]
fn records_added() {
    let (_, store) = two_states();
    for source in store.keys() {
        let sealed = store.record(source).unwrap().unwrap();
        for kind in RecordKind::ALL {
            for (token, object) in [(1, 99), (1, 1), (1, 3), (1, u64::MAX), (9, 1)] {
                let target = RecordKey {
                    kind,
                    token,
                    object,
                };
                // A store has one record of a token's own kinds; more of them are never read, nor is a vault record elsewhere.
                let own = matches!(
                    kind,
                    RecordKind::Token | RecordKind::Tries | RecordKind::Census
                );
                if store.record(target).unwrap().is_none() && !(own && token == 1) {
                    found_anywhere(&store, Change::Put(target, sealed.clone()));
                }
            }
        }
    }
}

fn found_anywhere(store: &MemoryStore, change: Change) {
    let damaged = Arc::new(store.duplicate());
    damaged.commit(std::slice::from_ref(&change)).unwrap();
    assert!(
        matches!(exercise(&damaged), Err(VaultError::Tampered { .. })),
        "{change:?}"
    );
}

#[test]
fn a_deleted_object_does_not_come_back() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let token = new_token(&vault);
    let object = put(&token, Realm::Private, b"m", Some(b"s"));
    let early = store.duplicate();
    token.commit(&[ObjectChange::Delete { object }]).unwrap();
    let kinds = [RecordKind::Metadata, RecordKind::Material];
    let back = kinds.map(|kind| {
        let key = RecordKey {
            kind,
            token: 1,
            object,
        };
        Change::Put(key, early.record(key).unwrap().unwrap())
    });
    found(&store, back[0].clone(), "the return");
    store.commit(&back).unwrap();
    assert!(matches!(try_open(&store), Err(VaultError::Tampered { .. })));
}

#[test]
fn a_record_rolled_back_under_a_running_daemon() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let token = new_token(&vault);
    let object = put(&token, Realm::Private, b"m", Some(b"one"));
    let early = store.duplicate();
    let two = secret(b"two");
    let (realm, material_change) = (Realm::Private, MaterialChange::Set(&two));
    let change = || ObjectChange::Put {
        object,
        realm,
        metadata: b"n",
        material: material_change,
    };
    token.commit(&[change()]).unwrap();
    for kind in [RecordKind::Metadata, RecordKind::Material] {
        let key = RecordKey {
            kind,
            token: 1,
            object,
        };
        let now = store.record(key).unwrap().unwrap();
        store
            .commit(&[Change::Put(key, early.record(key).unwrap().unwrap())])
            .unwrap();
        let errors = [
            if kind == RecordKind::Material {
                material(&token, realm, object).unwrap_err()
            } else {
                loaded(&token, realm).unwrap_err()
            },
            token.commit(&[change()]).unwrap_err(),
        ];
        assert_eq!(errors, [tampered(key), tampered(key)]);
        // Moving it would have to open what it keeps.
        let (realm, material) = (Realm::Public, MaterialChange::Keep);
        let moved = ObjectChange::Put {
            object,
            realm,
            metadata: b"n",
            material,
        };
        assert_eq!(token.commit(&[moved]).unwrap_err(), tampered(key));
        store.commit(&[Change::Put(key, now)]).unwrap();
    }
    assert_eq!(material(&token, realm, object).unwrap(), b"two");
}
