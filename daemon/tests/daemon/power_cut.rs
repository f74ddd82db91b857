//! A power cut at any moment: what a disk may then hold opens to a state that was there, and loses nothing that was answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom::vault::{ObjectChange, Realm, User, Vault};

use crate::film::{
    Camera, Dice, LABEL, Noted, Part, SO_PIN, Seen, Step, USER_PIN, limits, look, open_vault, put,
};

/// Tokens, objects of both realms, PINs right and wrong, changes, moves, deletions, initialising again.
fn work(vault: &Vault) {
    let token = vault.create_token(LABEL, SO_PIN).unwrap();
    token.login(User::So, SO_PIN, &limits()).unwrap();
    token.init_user_pin(USER_PIN).unwrap();
    token.login(User::User, USER_PIN, &limits()).unwrap();
    let objects: Vec<u64> = (0..6).map(|_| token.next_object()).collect();
    for (number, object) in objects.iter().enumerate() {
        let realm = [Realm::Public, Realm::Private][number % 2];
        let material = vec![u8::try_from(number).unwrap(); 40 + 2000 * number];
        put(&token, *object, realm, b"first", Some(&material)).unwrap();
        token.login(User::User, b"0000", &limits()).unwrap_err();
    }
    token.login(User::User, USER_PIN, &limits()).unwrap();
    put(&token, objects[0], Realm::Private, b"moved", None).unwrap();
    put(&token, objects[1], Realm::Private, b"again", Some(b"key")).unwrap();
    for object in [objects[2], objects[5]] {
        token.commit(&[ObjectChange::Delete { object }]).unwrap();
    }
    let other = vault.create_token(LABEL, SO_PIN).unwrap();
    other.login(User::So, SO_PIN, &limits()).unwrap();
    let large = other.next_object();
    put(
        &other,
        large,
        Realm::Private,
        &[9; 70_000],
        Some(&[8; 9000]),
    )
    .unwrap();
    token.login(User::So, b"0000", &limits()).unwrap_err();
    token
        .set_pin(User::User, USER_PIN, b"4321", &limits())
        .unwrap();
    vault.delete_token(other.number()).unwrap();
    token.reinitialize(SO_PIN, [b'x'; 32], &limits()).unwrap();
    token.login(User::So, SO_PIN, &limits()).unwrap();
    put(&token, token.next_object(), Realm::Public, b"last", None).unwrap();
}

/// A state after a commit, and how many steps made that commit durable.
struct Mark {
    steps: usize,
    seen: BTreeMap<u64, Seen>,
}

/// The disk at the beginning, the steps since, and the states. A store gets its name once it is whole (`store/mod.rs`), so the film
/// begins with an empty one.
fn filmed() -> (Vec<u8>, Vec<Step>, Vec<Mark>) {
    let camera = Camera::default();
    let store = Arc::new(Noted {
        store: camera.store().unwrap(),
        camera: camera.clone(),
        returned: parking_lot::Mutex::default(),
    });
    let empty = {
        let mut film = camera.0.lock();
        film.steps.clear();
        film.disk.clone()
    };
    let vault = open_vault(store.clone()).unwrap();
    work(&vault);
    let live = look(&vault).unwrap();
    let steps = camera.0.lock().steps.clone();
    let returned = store.returned.lock().clone();
    let mut disk = empty.clone();
    let mut done = 0;
    let mut marks = vec![Mark {
        steps: 0,
        seen: BTreeMap::new(),
    }];
    for until in returned {
        for step in &steps[done..until] {
            step.apply(&mut disk, Part::All);
        }
        done = until;
        let vault = Camera::over(disk.clone()).vault().unwrap();
        let seen = look(&vault).unwrap();
        // Its last sync made it durable; a change of length may follow.
        let durable = steps[..until]
            .iter()
            .rposition(|step| matches!(step, Step::Sync));
        marks.push(Mark {
            steps: durable.unwrap() + 1,
            seen,
        });
    }
    assert_eq!(
        marks.last().unwrap().seen,
        live,
        "what lasts is what was seen"
    );
    (empty, steps, marks)
}

/// Opens what a disk may hold. `synced` is how many steps the last completed sync covers.
fn check(disk: Vec<u8>, synced: usize, marks: &[Mark], what: &str) {
    let vault = Camera::over(disk)
        .vault()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let seen = look(&vault).unwrap_or_else(|error| panic!("{what}: {error}"));
    let lasting = marks.iter().rposition(|mark| mark.steps <= synced).unwrap();
    // What was answered is there; of what was under way, all or nothing.
    let allowed = &marks[lasting..marks.len().min(lasting + 2)];
    assert!(
        allowed.iter().any(|mark| mark.seen == seen),
        "{what}: after {synced} synced steps the state is neither that of commit {lasting} nor of the one after it: {seen:?}; allowed {:?}",
        allowed
            .iter()
            .map(|mark| (mark.steps, &mark.seen))
            .collect::<Vec<_>>()
    );
    // And it goes on.
    let token = vault.create_token(LABEL, SO_PIN).unwrap();
    put(&token, token.next_object(), Realm::Public, b"on", None).unwrap();
}

#[test]
fn every_prefix_of_the_writes_opens_to_a_state_that_was_there() {
    let (empty, steps, marks) = filmed();
    let (mut disk, mut synced) = (empty, 0);
    for (number, step) in steps.iter().enumerate() {
        let before = disk.clone();
        step.apply(&mut disk, Part::All);
        if matches!(step, Step::Sync) {
            synced = number + 1;
        }
        check(
            disk.clone(),
            synced,
            &marks,
            &format!("the first {} steps", number + 1),
        );
        if let Step::Write(_, data) = step {
            let mut torn = before;
            step.apply(&mut torn, Part::First(data.len() / 2));
            check(torn, synced, &marks, &format!("step {number} torn"));
        }
    }
    println!("{} steps, {} commits", steps.len(), marks.len() - 1);
}

#[test]
fn writes_between_two_syncs_may_be_lost_torn_and_reordered() {
    let (empty, steps, marks) = filmed();
    let mut dice = Dice(4711);
    let (mut disk, mut begin, mut images) = (empty, 0, 0);
    while begin < steps.len() {
        let window = steps[begin..]
            .iter()
            .position(|step| matches!(step, Step::Sync));
        let window = &steps[begin..window.map_or(steps.len(), |length| begin + length)];
        let mut fates: Vec<Vec<Part>> = vec![vec![Part::Nothing; window.len()]];
        for place in 0..window.len() {
            let mut lost = vec![Part::All; window.len()];
            lost[place] = Part::Nothing;
            // The one alone that reached the disk before all others.
            let mut first = vec![Part::Nothing; window.len()];
            first[place] = Part::All;
            let mut torn = vec![Part::All; window.len()];
            if let Step::Write(_, data) = &window[place] {
                torn[place] = Part::First(data.len() / 2);
            }
            fates.extend([lost, first, torn]);
        }
        for _ in 0..6 {
            let fate = window.iter().map(|step| match (dice.below(3), step) {
                (0, _) => Part::Nothing,
                (1, Step::Write(_, data)) => Part::First(512 * dice.below(data.len() / 512 + 1)),
                _ => Part::All,
            });
            fates.push(fate.collect());
        }
        for fate in fates {
            let mut image = disk.clone();
            for (step, part) in window.iter().zip(&fate) {
                step.apply(&mut image, *part);
            }
            images += 1;
            let what = format!("window at step {begin}, {fate:?}");
            check(image, begin, &marks, &what);
        }
        for step in window {
            step.apply(&mut disk, Part::All);
        }
        begin += window.len() + 1;
    }
    println!("{images} disks");
    assert!(images > 500);
}
