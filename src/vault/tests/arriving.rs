//! *What lives here:* tokens and objects that come into being with many others in one commit. *What must never live here:* what judges
//! them.

use super::inspecting::inspected;
use super::*;
use crate::vault::draft::decoded;

fn new<'n>(serial: Option<&str>, user_pin: Option<&'n [u8]>) -> NewToken<'n> {
    NewToken {
        label: LABEL,
        serial_number: serial.map(|serial| SerialNumber::parse(serial).unwrap()),
        so_pin: SO_PIN,
        user_pin,
    }
}

fn filled(batch: &mut Batch<'_>) {
    batch.put(Realm::Public, b"certificate", None).unwrap();
    batch
        .put(Realm::Private, b"key", Some(&secret(b"scalar")))
        .unwrap();
    batch
        .put(Realm::Public, b"data", Some(&secret(b"content")))
        .unwrap();
}

#[test]
fn a_token_comes_with_its_pins_its_serial_number_and_its_objects_in_one_commit() {
    let film = Film::of(MemoryStore::new());
    let vault = open(&film);
    let _ = film.frames();
    let draft = vault
        .draft_token(&new(Some("DENK0100123"), Some(USER_PIN)))
        .unwrap();
    let mut batch = draft.batch();
    filled(&mut batch);
    let batch = batch.finish();
    assert_eq!(film.frames().len(), 0, "nothing is stored before");
    assert_eq!((vault.tokens().len(), vault.next_token()), (0, 1));
    let token = vault.add_token(draft, Some(batch)).unwrap().unwrap();
    assert_eq!(vault.next_token(), 2);
    assert_eq!(token.next_object(), 4);
    let frames = film.frames();
    assert_eq!(frames.len(), 1, "one commit");
    assert_eq!(inspected(&frames[0]), Vec::<String>::new());
    let vault = open(&frames[0]);
    let token = vault.tokens()[0].clone();
    let state = token.state(&limits());
    assert_eq!(state.serial_number, "DENK0100123");
    assert!(state.user_pin_initialized && !token.realm_is_open());
    assert_eq!(loaded(&token, Realm::Public).unwrap().len(), 2);
    assert_eq!(material(&token, Realm::Public, 3).unwrap(), b"content");
    token.login(User::User, USER_PIN, &limits()).unwrap();
    assert_eq!(
        loaded(&token, Realm::Private).unwrap(),
        [(2, b"key".to_vec())]
    );
    assert_eq!(material(&token, Realm::Private, 2).unwrap(), b"scalar");
    assert_eq!(token.next_object(), 4);
    assert_eq!(
        token.login(User::So, b"wrong", &limits()),
        Err(LoginError::Incorrect)
    );
    token.login(User::So, SO_PIN, &limits()).unwrap();
    // A serial number outlives all else that the token had.
    token.reinitialize(SO_PIN, LABEL, &limits()).unwrap();
    token.login(User::So, SO_PIN, &limits()).unwrap();
    token.init_user_pin(USER_PIN).unwrap();
    drop(vault);
    let vault = open(&frames[0]);
    let state = vault.tokens()[0].state(&limits());
    assert_eq!(state.serial_number, "DENK0100123");
}

#[test]
fn a_token_record_without_a_chosen_serial_number_has_the_bytes_it_always_had() {
    use serde::{Deserialize, Serialize};
    #[derive(Serialize, Deserialize)]
    struct Before {
        label: [u8; 32],
        so: hierarchy::KeySlot,
        user: Option<hierarchy::KeySlot>,
    }
    let vault = open(&Arc::new(MemoryStore::new()));
    for user_pin in [None, Some(USER_PIN)] {
        let body = vault.draft_token(&new(None, user_pin)).unwrap().body;
        let now = encoded(&body).unwrap();
        let before: Before = decoded(REGISTER_KEY, now.expose()).unwrap();
        assert_eq!(before.user.is_some(), user_pin.is_some());
        assert_eq!(encoded(&before).unwrap().expose(), now.expose());
    }
}

#[test]
fn a_number_or_a_serial_number_that_is_taken_makes_no_second_token() {
    let store = Arc::new(MemoryStore::new());
    let vault = open(&store);
    let (first, second) = (
        vault.draft_token(&new(None, None)).unwrap(),
        vault.draft_token(&new(None, None)).unwrap(),
    );
    assert!(vault.add_token(first, None).unwrap().is_some());
    assert!(vault.add_token(second, None).unwrap().is_none());
    let serial = vault.tokens()[0].state(&limits()).serial_number;
    for taken in [serial.as_str(), "chosen"] {
        if taken == "chosen" {
            vault.make_token(&new(Some(taken), None)).unwrap();
        }
        let before = store.duplicate();
        assert_eq!(
            vault.make_token(&new(Some(taken), None)).err(),
            Some(VaultError::SerialNumberTaken(taken.into()))
        );
        assert_eq!(store.keys(), before.keys());
    }
    assert_eq!(vault.tokens().len(), 2);
    assert_eq!(inspected(&store), Vec::<String>::new());
}

#[test]
fn a_batch_joins_the_objects_that_are_there_or_finds_another_realm_and_does_nothing() {
    let film = Film::of(MemoryStore::new());
    let vault = open(&film);
    let token = new_token(&vault);
    assert_eq!(put(&token, Realm::Private, b"old", Some(b"one")), 1);
    let realm = token.opened_realm().unwrap();
    let mut batch = token.batch(&realm);
    filled(&mut batch);
    let (batch, _) = (batch.finish(), film.frames());
    // Numbers are taken before the commit, so others do not get them.
    assert_eq!(put(&token, Realm::Public, b"between", None), 5);
    token.add(batch).unwrap();
    for frame in film.frames() {
        assert_eq!(inspected(&frame), Vec::<String>::new());
    }
    assert_eq!(
        (token.count(Realm::Public), token.count(Realm::Private)),
        (3, 2)
    );
    assert_eq!(material(&token, Realm::Private, 3).unwrap(), b"scalar");
    // The same realm, opened a second time by another PIN, is the same.
    let mut batch = token.batch(&realm);
    filled(&mut batch);
    let batch = batch.finish();
    token.login(User::User, USER_PIN, &limits()).unwrap();
    token.add(batch).unwrap();
    let mut batch = token.batch(&realm);
    filled(&mut batch);
    let batch = batch.finish();
    token.reinitialize(SO_PIN, LABEL, &limits()).unwrap();
    let _ = film.frames();
    assert_eq!(token.add(batch), Err(VaultError::RealmClosed));
    token.login(User::So, SO_PIN, &limits()).unwrap();
    let mut batch = token.batch(&realm);
    filled(&mut batch);
    assert_eq!(token.add(batch.finish()), Err(VaultError::RealmClosed));
    assert_eq!(token.count(Realm::Public), 0);
    let frames = film.frames();
    assert_eq!(inspected(frames.last().unwrap()), Vec::<String>::new());
}

#[test]
fn what_is_stashed_comes_out_as_it_went_in_and_lies_sealed_meanwhile() {
    start();
    let mut stash = Stash::new().unwrap();
    let secrets: Vec<_> = (0..3).map(|of| secret(&[of; 100])).collect();
    let stashed: Vec<_> = secrets.iter().map(|one| stash.put(one).unwrap()).collect();
    for (secret, stashed) in secrets.iter().zip(&stashed) {
        let opened = stash.open(stashed).unwrap();
        assert!(secret.with(|secret| opened.equals_in_constant_time(secret)));
        assert!(stashed.len() > 100);
    }
    let other = Stash::new().unwrap();
    assert!(other.open(&stashed[0]).is_err());
}
