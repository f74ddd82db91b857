//! *What lives here:* PINs right and wrong, and machines that stop in between. *What must never live here:* objects.

use super::*;

const WRONG: &[u8] = b"wrong";

fn user(token: &TokenVault) -> PinTries {
    token.state(&limits()).user_tries
}

fn login(token: &TokenVault, pin: &[u8]) -> Result<(), LoginError> {
    token.login(User::User, pin, &limits())
}

/// A store with one token of which nobody has tried the user's PIN.
fn fresh() -> MemoryStore {
    let store = Arc::new(MemoryStore::new());
    new_token(&open(&store));
    store.duplicate()
}

fn only_token(store: &Arc<impl Store + 'static>) -> Arc<TokenVault> {
    Arc::clone(&open(store).tokens()[0])
}

#[test]
fn the_first_login_writes_and_the_later_ones_do_not() {
    let store = Arc::new(fresh());
    let token = only_token(&store);
    login(&token, USER_PIN).unwrap();
    let commits = store.commits();
    for _ in 0..5 {
        login(&token, USER_PIN).unwrap();
        assert_eq!(user(&token), PinTries { used: 0, left: 4 });
    }
    assert_eq!(store.commits(), commits);
    // A right PIN of one user says nothing of the other's.
    assert_eq!(
        token.login(User::So, WRONG, &limits()),
        Err(LoginError::Incorrect)
    );
    assert!(login(&token, WRONG).is_err() && store.commits() > commits);
}

#[test]
fn wrong_pins_lock_cold_and_warm_alike() {
    for warm in [false, true] {
        for restart in [false, true] {
            let store = Arc::new(fresh());
            let mut token = only_token(&store);
            if warm {
                login(&token, USER_PIN).unwrap();
            }
            for used in 1..=4 {
                if restart {
                    token = only_token(&store);
                }
                assert_eq!(login(&token, WRONG), Err(LoginError::Incorrect));
                let shown = user(&token);
                assert_eq!(
                    shown,
                    PinTries {
                        used,
                        left: 4 - used
                    }
                );
                assert_eq!(shown.final_try(), used == 3);
                assert_eq!((shown.count_low(), shown.locked()), (true, used == 4));
                assert_eq!(user(&only_token(&store)), shown);
            }
            for token in [token, only_token(&store)] {
                assert_eq!(login(&token, USER_PIN), Err(LoginError::Locked));
                let set = token.set_pin(User::User, USER_PIN, b"new pin", &limits());
                assert_eq!(set, Err(LoginError::Locked));
            }
        }
    }
}

#[test]
fn a_right_pin_gives_all_tries_back() {
    for restart in [false, true] {
        let store = Arc::new(fresh());
        let mut token = only_token(&store);
        for _ in 0..3 {
            for used in 1..=3 {
                login(&token, WRONG).unwrap_err();
                assert_eq!(user(&token).used, used);
            }
            if restart {
                token = only_token(&store);
            }
            login(&token, USER_PIN).unwrap();
            assert_eq!(user(&token), PinTries { used: 0, left: 4 });
            assert_eq!(user(&only_token(&store)), PinTries { used: 0, left: 4 });
        }
    }
}

#[test]
fn the_officer_unlocks_by_a_new_pin_and_not_by_a_login() {
    let store = Arc::new(fresh());
    let token = only_token(&store);
    while login(&token, WRONG) != Err(LoginError::Locked) {}
    token.login(User::So, SO_PIN, &limits()).unwrap();
    assert!(user(&token).locked());
    token.init_user_pin(b"another").unwrap();
    assert_eq!(user(&token), PinTries { used: 0, left: 4 });
    assert_eq!(login(&token, USER_PIN), Err(LoginError::Incorrect));
    login(&token, b"another").unwrap();
    let officer = || token.state(&limits()).so_tries;
    for used in 1..=5 {
        token.login(User::So, WRONG, &limits()).unwrap_err();
        assert_eq!(officer().used, used);
    }
    assert_eq!(
        token.login(User::So, SO_PIN, &limits()),
        Err(LoginError::Locked)
    );
    assert!(officer().locked() && user(&token).used == 0);
    login(&token, b"another").unwrap();
}

#[test]
fn a_new_pin_replaces_the_old_one() {
    for who in [User::User, User::So] {
        let store = Arc::new(fresh());
        let token = only_token(&store);
        let old = if who == User::User { USER_PIN } else { SO_PIN };
        let set = |old: &[u8], new: &[u8]| token.set_pin(who, old, new, &limits());
        assert_eq!(set(WRONG, b"new pin"), Err(LoginError::Incorrect));
        set(old, b"new pin").unwrap();
        token.login(who, b"new pin", &limits()).unwrap();
        // The commit of the new slot fails: the old PIN stays, warm and cold.
        store.fail_commit_after(0);
        assert!(matches!(
            set(b"new pin", b"newest"),
            Err(LoginError::Vault(_))
        ));
        token.login(who, b"new pin", &limits()).unwrap();
        assert_eq!(
            token.login(who, b"newest", &limits()),
            Err(LoginError::Incorrect)
        );
        let token = only_token(&store);
        assert_eq!(token.login(who, old, &limits()), Err(LoginError::Incorrect));
        token.login(who, b"new pin", &limits()).unwrap();
    }
}

/// Guesses with the machine stopped at every commit: how many comparisons can be had before the PIN locks?
#[test]
fn stopping_the_machine_gives_no_try_back() {
    let never_tried = fresh();
    let tried_right = {
        let store = Arc::new(fresh());
        login(&only_token(&store), USER_PIN).unwrap();
        store.duplicate()
    };
    for start in [never_tried, tried_right] {
        // The machine stops as soon as the charge is on the disk: the comparison may or may not have happened.
        let mut disk = Arc::new(start);
        for used in 1..=4 {
            let film = Film::of(disk.duplicate());
            assert_eq!(login(&only_token(&film), WRONG), Err(LoginError::Incorrect));
            disk = Arc::clone(&film.frames()[0]);
            assert_eq!(user(&only_token(&disk)).used, used);
        }
        assert_eq!(login(&only_token(&disk), USER_PIN), Err(LoginError::Locked));
    }
}

#[test]
fn at_every_commit_the_disk_knows_the_tries_made() {
    let film = Film::of(fresh());
    let token = only_token(&film);
    // Right or wrong, and how many wrong ones the disk must show after each commit that it causes.
    let script: [(&[u8], &[u32]); 8] = [
        (WRONG, &[1]),
        (USER_PIN, &[2, 0]),
        (WRONG, &[1]),
        (WRONG, &[2]),
        (USER_PIN, &[0]),
        (USER_PIN, &[]),
        (WRONG, &[1]),
        (WRONG, &[2]),
    ];
    for (pin, expected) in script {
        let _ = login(&token, pin);
        let frames = film.frames();
        let shown: Vec<_> = frames
            .iter()
            .map(|frame| user(&only_token(frame)).used)
            .collect();
        assert_eq!(shown, expected);
    }
}

#[test]
fn a_store_that_fails_gives_no_comparison() {
    let store = Arc::new(fresh());
    let token = only_token(&store);
    let fails = |pin: &[u8]| {
        store.fail_commit_after(0);
        let outcome = login(&token, pin);
        assert!(
            matches!(outcome, Err(LoginError::Vault(VaultError::Store(_)))),
            "{outcome:?}"
        );
    };
    // Cold: the charge fails, so the right PIN is refused like the wrong one.
    fails(WRONG);
    fails(USER_PIN);
    login(&token, USER_PIN).unwrap();
    // Warm: the try charged ahead is spent, the next charge fails; from then on both are refused alike.
    fails(WRONG);
    fails(USER_PIN);
    fails(WRONG);
    fails(USER_PIN);
    // The store works again: the wrong try that could not be recorded counts.
    assert_eq!(login(&token, WRONG), Err(LoginError::Incorrect));
    assert_eq!(user(&token), PinTries { used: 2, left: 2 });
    login(&token, USER_PIN).unwrap();
    assert_eq!(user(&only_token(&store)).used, 0);
}

#[test]
fn threads_lose_no_count() {
    let wide = Limits {
        user_tries_max: 100,
        ..limits()
    };
    for warm in [false, true] {
        let store = Arc::new(fresh());
        let token = only_token(&store);
        if warm {
            token.login(User::User, USER_PIN, &wide).unwrap();
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        token.login(User::User, WRONG, &wide).unwrap_err();
                        put(&token, Realm::Public, b"meanwhile", None);
                    }
                });
            }
        });
        assert_eq!(token.state(&wide).user_tries.used, 40);
        let token = only_token(&store);
        assert_eq!(
            (
                token.state(&wide).user_tries.used,
                token.count(Realm::Public)
            ),
            (40, 40)
        );
    }
}

#[test]
fn a_damaged_slot_is_no_wrong_pin_and_errors_say_nothing_secret() {
    let errors = [
        LoginError::Incorrect,
        LoginError::Locked,
        LoginError::NotInitialized,
    ];
    for error in errors {
        assert!(!error.to_string().contains("1234"));
    }
    let store = Arc::new(fresh());
    let vault = open(&store);
    assert_eq!(
        format!("{vault:?} {:?}", vault.tokens()[0]),
        "Vault { tokens: 1, .. } TokenVault(1)"
    );
    let codes = [
        (LoginError::Incorrect, Error::PinIncorrect),
        (LoginError::Locked, Error::PinLocked),
        (LoginError::NotInitialized, Error::UserPinNotInitialized),
        (VaultError::RealmClosed.into(), Error::UserNotLoggedIn),
        (
            VaultError::Store(StoreError::Full(String::new())).into(),
            Error::DeviceMemory,
        ),
        (VaultError::WrongRootKey.into(), Error::DeviceError),
    ];
    for (error, code) in codes {
        assert_eq!(Error::from(error), code);
    }
}
