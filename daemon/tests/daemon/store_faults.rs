//! A disk that fails: each step once, and for good. The old state stays, the error says which kind it was, and the store goes on.

use strongroom::error::Error;
use strongroom::ports::StoreError;
use strongroom::vault::{LoginError, ObjectChange, Realm, User, Vault, VaultError};

use crate::film::{Camera, Fault, LABEL, SO_PIN, USER_PIN, limits, look, put};

type Work<'w> = &'w dyn Fn(&Vault) -> Result<(), VaultError>;

/// A login as a result of the vault; whether the PIN was right does not matter.
fn tried(outcome: Result<(), LoginError>) -> Result<(), VaultError> {
    match outcome {
        Err(LoginError::Vault(error)) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Works that are one commit each.
const WORKS: &[(&str, Work<'_>)] = &[
    ("a token", &|vault| {
        vault.create_token(LABEL, SO_PIN).map(drop)
    }),
    ("an object", &|vault| {
        let token = &vault.tokens()[0];
        put(
            token,
            token.next_object(),
            Realm::Public,
            b"one",
            Some(&[1; 5000]),
        )
    }),
    ("a large object", &|vault| {
        let token = &vault.tokens()[0];
        put(
            token,
            token.next_object(),
            Realm::Private,
            &[2; 300_000],
            Some(b"s"),
        )
    }),
    ("a wrong PIN", &|vault| {
        tried(vault.tokens()[0].login(User::User, b"0000", &limits()))
    }),
    ("a deletion", &|vault| {
        vault.tokens()[0].commit(&[ObjectChange::Delete { object: 1 }])
    }),
    ("the end of a token", &|vault| vault.delete_token(2)),
];

/// The state that all runs begin with: two tokens, PINs set, the realm of the first open, one object.
fn begun() -> (Camera, Vault) {
    let camera = Camera::default();
    let vault = camera.vault().unwrap();
    for _ in 0..2 {
        let token = vault.create_token(LABEL, SO_PIN).unwrap();
        token.login(User::So, SO_PIN, &limits()).unwrap();
        token.init_user_pin(USER_PIN).unwrap();
        token.login(User::User, USER_PIN, &limits()).unwrap();
        put(
            &token,
            token.next_object(),
            Realm::Private,
            b"zero",
            Some(b"key"),
        )
        .unwrap();
    }
    (camera, vault)
}

fn arm(camera: &Camera, at: usize, fault: Fault, times: usize) {
    let mut film = camera.0.lock();
    let now = film.steps.len();
    film.failed = false;
    film.fault = Some((now + at, fault, times));
}

fn is_of_its_kind(error: VaultError, fault: Fault) -> bool {
    let (Fault::Before(code) | Fault::Half(code) | Fault::After(code)) = fault;
    let full = matches!(error, VaultError::Store(StoreError::Full(_)));
    let failed = matches!(error, VaultError::Store(StoreError::Failed(_)));
    match Error::from(error) {
        Error::DeviceMemory => full && code != libc::EIO,
        Error::DeviceError => failed && code == libc::EIO,
        _ => false,
    }
}

const FAULTS: [Fault; 6] = [
    Fault::Before(libc::EIO),
    Fault::Half(libc::EIO),
    Fault::After(libc::EIO),
    Fault::Before(libc::ENOSPC),
    Fault::Half(libc::ENOSPC),
    Fault::After(libc::EDQUOT),
];

#[test]
fn each_step_fails_once_and_the_old_state_stays() {
    let mut runs = 0;
    for (name, work) in WORKS {
        for fault in FAULTS {
            for at in 0.. {
                let (camera, vault) = begun();
                let before = look(&vault).unwrap();
                arm(&camera, at, fault, 1);
                let outcome = work(&vault);
                camera.0.lock().fault = None;
                runs += 1;
                let what = format!("{name}, {fault:?} at step {at}");
                if let Err(error) = outcome {
                    assert!(camera.0.lock().failed, "{what}: {error}");
                    assert!(is_of_its_kind(error.clone(), fault), "{what}: {error}");
                    assert_eq!(look(&vault).unwrap(), before, "{what}: in memory");
                    let disk = camera.0.lock().disk.clone();
                    let again = Camera::over(disk).vault().unwrap();
                    assert_eq!(look(&again).unwrap(), before, "{what}: on the disk");
                    // There is space again.
                    work(&vault).unwrap_or_else(|error| panic!("{what}, again: {error}"));
                }
                let after = look(&vault).unwrap();
                assert_ne!(after, before, "{what}");
                let disk = camera.0.lock().disk.clone();
                let again = Camera::over(disk).vault().unwrap();
                assert_eq!(look(&again).unwrap(), after, "{what}: after a restart");
                if !camera.0.lock().failed {
                    break;
                }
            }
        }
    }
    println!("{runs} runs");
}

#[test]
fn a_disk_that_stays_full_is_read_and_goes_on_when_there_is_space() {
    let (camera, vault) = begun();
    let before = look(&vault).unwrap();
    arm(&camera, 0, Fault::Before(libc::ENOSPC), usize::MAX / 2);
    for (name, work) in WORKS {
        for _ in 0..2 {
            let error = work(&vault).unwrap_err();
            assert_eq!(Error::from(error), Error::DeviceMemory, "{name}");
        }
    }
    camera.0.lock().fault = None;
    assert_eq!(look(&vault).unwrap(), before);
    for (name, work) in WORKS {
        work(&vault).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_store_that_fails_while_it_opens_opens_later() {
    let (camera, vault) = begun();
    let before = look(&vault).unwrap();
    drop(vault);
    for fault in FAULTS {
        for at in 0..200 {
            let disk = camera.0.lock().disk.clone();
            let other = Camera::over(disk);
            arm(&other, at, fault, 1);
            let opened = other.vault();
            other.0.lock().fault = None;
            let failed = other.0.lock().failed;
            if let Err(error) = opened {
                assert!(failed, "{error}");
            }
            let vault = other.vault().unwrap();
            assert_eq!(look(&vault).unwrap(), before, "{fault:?} at step {at}");
            if !failed {
                break;
            }
        }
    }
}
