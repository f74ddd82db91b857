//! *What lives here:* tokens and objects as they come, change and go. *What must never live here:* damage, and wrong PINs.

use super::*;

#[test]
fn a_restart_gives_everything_back() {
    let store = Arc::new(MemoryStore::new());
    let (first, second, open_object, closed_object);
    {
        let vault = open(&store);
        let token = new_token(&vault);
        first = token.state(&limits());
        second = vault
            .create_token([b'b'; 32], SO_PIN)
            .unwrap()
            .state(&limits());
        open_object = put(&token, Realm::Public, b"certificate", None);
        closed_object = put(&token, Realm::Private, b"key", Some(b"scalar"));
        assert_eq!((open_object, closed_object), (1, 2));
    }
    let vault = open(&store);
    let tokens = vault.tokens();
    let states: Vec<_> = tokens.iter().map(|token| token.state(&limits())).collect();
    assert_eq!(states, [first.clone(), second]);
    assert!(first.user_pin_initialized && !states[1].user_pin_initialized);
    assert_eq!(first.serial_number.len(), 16);
    let token = &tokens[0];
    assert!(!token.realm_is_open());
    assert_eq!(
        (token.count(Realm::Public), token.count(Realm::Private)),
        (1, 1)
    );
    assert_eq!(
        loaded(token, Realm::Public).unwrap(),
        [(1, b"certificate".to_vec())]
    );
    assert_eq!(loaded(token, Realm::Private), Err(VaultError::RealmClosed));
    assert_eq!(
        material(token, Realm::Private, 2),
        Err(VaultError::RealmClosed)
    );
    token.login(User::User, USER_PIN, &limits()).unwrap();
    assert_eq!(
        loaded(token, Realm::Private).unwrap(),
        [(2, b"key".to_vec())]
    );
    assert_eq!(material(token, Realm::Private, 2).unwrap(), b"scalar");
    assert_eq!(
        material(token, Realm::Public, 2),
        Err(VaultError::NoSuchObject(2))
    );
    assert_eq!(
        material(token, Realm::Public, 1),
        Err(VaultError::NoSuchObject(1))
    );
    assert_eq!(token.next_object(), 3);
}

#[test]
fn objects_change_move_and_go() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let token = new_token(&vault);
    let object = put(&token, Realm::Public, b"one", Some(b"secret"));
    let change = |realm, metadata, material| {
        token.commit(&[ObjectChange::Put {
            object,
            realm,
            metadata,
            material,
        }])
    };
    change(Realm::Public, b"two", MaterialChange::Keep).unwrap();
    assert_eq!(material(&token, Realm::Public, object).unwrap(), b"secret");
    change(Realm::Private, b"three", MaterialChange::Keep).unwrap();
    assert_eq!(material(&token, Realm::Private, object).unwrap(), b"secret");
    assert_eq!(loaded(&token, Realm::Public).unwrap(), []);
    assert_eq!(
        loaded(&token, Realm::Private).unwrap(),
        [(object, b"three".to_vec())]
    );
    let other = secret(b"other");
    change(Realm::Private, b"four", MaterialChange::Set(&other)).unwrap();
    {
        let token = &open(&store).tokens()[0];
        token.login(User::So, SO_PIN, &limits()).unwrap();
        assert_eq!(material(token, Realm::Private, object).unwrap(), b"other");
    }
    // The other vault counted a try in the store; this one would now disagree with it, so it starts again.
    let vault = open(&store);
    let token = &vault.tokens()[0];
    token.login(User::So, SO_PIN, &limits()).unwrap();
    let none = MaterialChange::None;
    let put = ObjectChange::Put {
        object,
        realm: Realm::Public,
        metadata: b"five",
        material: none,
    };
    token.commit(&[put]).unwrap();
    assert_eq!(
        material(token, Realm::Public, object),
        Err(VaultError::NoSuchObject(object))
    );
    assert_eq!(
        (token.count(Realm::Public), token.count(Realm::Private)),
        (1, 0)
    );
    token.commit(&[ObjectChange::Delete { object }]).unwrap();
    assert_eq!(
        token.commit(&[ObjectChange::Delete { object }]),
        Err(VaultError::NoSuchObject(object))
    );
    let vault = open(&store);
    let token = &vault.tokens()[0];
    assert_eq!((token.count(Realm::Public), token.next_object()), (0, 2));
}

#[test]
fn a_commit_is_all_or_nothing() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let token = new_token(&vault);
    let kept = put(&token, Realm::Private, b"kept", Some(b"kept secret"));
    let (added, new) = (token.next_object(), secret(b"new secret"));
    let changes = [
        ObjectChange::Put {
            object: kept,
            realm: Realm::Public,
            metadata: b"changed",
            material: MaterialChange::Set(&new),
        },
        ObjectChange::Put {
            object: added,
            realm: Realm::Public,
            metadata: b"added",
            material: MaterialChange::Set(&new),
        },
    ];
    let as_before = |token: &TokenVault| {
        assert_eq!(
            loaded(token, Realm::Private).unwrap(),
            [(kept, b"kept".to_vec())]
        );
        assert_eq!(loaded(token, Realm::Public).unwrap(), []);
        assert_eq!(
            material(token, Realm::Private, kept).unwrap(),
            b"kept secret"
        );
    };
    store.fail_commit_after(0);
    assert!(matches!(token.commit(&changes), Err(VaultError::Store(_))));
    as_before(&token);
    let twice = [
        ObjectChange::Delete { object: kept },
        ObjectChange::Delete { object: kept },
    ];
    assert_eq!(token.commit(&twice), Err(VaultError::Twice(kept)));
    for object in [0, 77] {
        let change = ObjectChange::Put {
            object,
            realm: Realm::Public,
            metadata: b"",
            material: MaterialChange::None,
        };
        assert_eq!(
            token.commit(&[change]),
            Err(VaultError::NoSuchObject(object))
        );
    }
    as_before(&token);
    token.commit(&changes).unwrap();
    assert_eq!(token.count(Realm::Public), 2);
    // The books and the census went on together.
    assert_eq!(open(&store).tokens()[0].count(Realm::Public), 2);
}

#[test]
fn tokens_come_and_go_and_numbers_do_not_come_back() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let (first, second) = (new_token(&vault), new_token(&vault));
    put(&first, Realm::Private, b"m", Some(b"s"));
    store.fail_commit_after(0);
    assert!(vault.create_token(LABEL, SO_PIN).is_err());
    store.fail_commit_after(0);
    assert!(vault.delete_token(1).is_err());
    assert_eq!((vault.tokens().len(), first.count(Realm::Private)), (2, 1));
    vault.delete_token(1).unwrap();
    assert_eq!(vault.delete_token(1), Err(VaultError::NoSuchToken(1)));
    assert!(store.keys().iter().all(|key| key.token != 1));
    let change = ObjectChange::Put {
        object: first.next_object(),
        realm: Realm::Public,
        metadata: b"late",
        material: MaterialChange::None,
    };
    assert_eq!(first.commit(&[change]), Err(VaultError::NoSuchToken(1)));
    assert!(first.login(User::User, USER_PIN, &limits()).is_err() && !first.realm_is_open());
    vault.delete_token(second.number()).unwrap();
    let vault = open(&store);
    assert!(vault.tokens().is_empty());
    assert_eq!(vault.create_token(LABEL, SO_PIN).unwrap().number(), 3);
}

#[test]
fn a_wrong_root_key_a_newer_format_and_a_missing_record_have_names() {
    let store = Arc::new(MemoryStore::new());
    new_token(&open(&store));
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let wrong = Vault::open(shared, secret(&[8; 32]), PinCost::danger_cheap());
    assert_eq!(wrong.unwrap_err(), VaultError::WrongRootKey);
    let newer = Arc::new(store.duplicate());
    newer
        .commit(&[Change::Put(REGISTER_KEY, vec![2; 90])])
        .unwrap();
    assert_eq!(try_open(&newer).unwrap_err(), VaultError::FormatNewer(2));
    store.commit(&[Change::Delete(REGISTER_KEY)]).unwrap();
    let error = try_open(&store).unwrap_err().to_string();
    assert!(error.starts_with("the vault record was removed"), "{error}");
}

#[test]
fn a_new_initialisation_leaves_number_serial_and_officer() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let token = new_token(&vault);
    let before = token.state(&limits());
    put(&token, Realm::Private, b"m", Some(b"s"));
    put(&token, Realm::Public, b"m", Some(b"s"));
    let wrong = token.reinitialize(b"wrong", [b'n'; 32], &limits());
    assert_eq!(wrong, Err(LoginError::Incorrect));
    store.fail_commit_after(1);
    assert!(token.reinitialize(SO_PIN, [b'n'; 32], &limits()).is_err());
    assert_eq!(loaded(&token, Realm::Private).unwrap().len(), 1);
    token.reinitialize(SO_PIN, [b'n'; 32], &limits()).unwrap();
    for token in [token, Arc::clone(&open(&store).tokens()[0])] {
        let after = token.state(&limits());
        assert_eq!(
            (after.number, &after.serial_number),
            (1, &before.serial_number)
        );
        assert_eq!(
            (after.label, after.user_pin_initialized),
            ([b'n'; 32], false)
        );
        assert_eq!(token.count(Realm::Private) + token.count(Realm::Public), 0);
        assert!(!token.realm_is_open());
        let user = token.login(User::User, USER_PIN, &limits());
        assert_eq!(user, Err(LoginError::NotInitialized));
        assert_eq!(token.init_user_pin(b"5678"), Err(VaultError::RealmClosed));
    }
    let vault = open(&store);
    let token = &vault.tokens()[0];
    token.login(User::So, SO_PIN, &limits()).unwrap();
    assert_eq!(put(token, Realm::Private, b"m", None), 3);
}

#[test]
fn readers_and_writers_do_not_disturb_each_other() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let token = new_token(&vault);
    let object = put(&token, Realm::Private, b"0", Some(b"0"));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let value = secret(b"again");
                    let material = MaterialChange::Set(&value);
                    let realm = Realm::Private;
                    let change = ObjectChange::Put {
                        object,
                        realm,
                        metadata: b"m",
                        material,
                    };
                    token.commit(&[change]).unwrap();
                    put(&token, Realm::Public, b"p", None);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..100 {
                assert!(!material(&token, Realm::Private, object).unwrap().is_empty());
                assert_eq!(loaded(&token, Realm::Private).unwrap().len(), 1);
                loaded(&token, Realm::Public).unwrap();
            }
        });
    });
    assert_eq!(open(&store).tokens()[0].count(Realm::Public), 200);
}

/// Large enough that a census with quadratic work would be noticed; `docs` of the vault promise a microsecond a record.
#[test]
fn ten_thousand_objects_open() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let token = new_token(&vault);
    let value = secret(&[9; 138]);
    for _ in 0..10 {
        let changes: Vec<_> = (0..1000)
            .map(|_| ObjectChange::Put {
                object: token.next_object(),
                realm: Realm::Private,
                metadata: &[3; 200],
                material: MaterialChange::Set(&value),
            })
            .collect();
        token.commit(&changes).unwrap();
    }
    let clock = std::time::Instant::now();
    let vault = open(&store);
    println!("opened in {:?}", clock.elapsed());
    let token = &vault.tokens()[0];
    assert_eq!(token.count(Realm::Private), 10_000);
    token.login(User::User, USER_PIN, &limits()).unwrap();
    let clock = std::time::Instant::now();
    assert_eq!(loaded(token, Realm::Private).unwrap().len(), 10_000);
    println!("loaded in {:?}", clock.elapsed());
    let clock = std::time::Instant::now();
    for _ in 0..1000 {
        token.login(User::User, USER_PIN, &limits()).unwrap();
    }
    println!("a thousand warm logins in {:?}", clock.elapsed());
}
