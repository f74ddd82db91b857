//! What SoftHSM wrote, read.
//!
//! What lives here: both stores, PINs, and files that are cut, flipped or half written.
//! What must never live here: our daemon.
//! Who calls it: the suite.

use std::fs;
use std::path::{Path, PathBuf};

use cryptoki_sys::*;
use strongroom_softhsm::opened::Opened;
use strongroom_softhsm::source::{self, StoredObject, StoredToken, StoredValue};
use strongroom_softhsm::unlock::{self, TokenKey, UnlockError};
use strongroom_tests::{SO_PIN, Session, Template, USER_PIN, hex, pattern, template};
use strongroom_wire::ck::AttributeType;

use crate::original::{Original, snapshot, user};

fn only(directory: &Path) -> StoredToken {
    let mut found = source::tokens(directory).unwrap();
    assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
    assert_eq!(found.tokens.len(), 1);
    found.tokens.remove(0)
}

fn user_key(token: &StoredToken) -> TokenKey {
    TokenKey::unseal(
        token.sealed_by_user.as_deref().unwrap(),
        USER_PIN.as_bytes(),
    )
    .unwrap()
}

fn labelled(token: &StoredToken, key: &TokenKey, label: &str) -> Opened {
    let open = |object: &StoredObject| Opened::of(object, Some(key)).unwrap();
    let is = |object: &Opened| object.value(AttributeType::LABEL) == Some(label.as_bytes());
    let mut found = token.objects.iter().map(open).filter(is);
    let object = found.next().unwrap_or_else(|| panic!("no {label}"));
    assert!(found.next().is_none(), "{label} twice");
    object
}

fn data(label: &str, private: bool, value: &[u8]) -> Template {
    template! {
        CKA_CLASS => CKO_DATA,
        CKA_TOKEN => true,
        CKA_PRIVATE => private,
        CKA_LABEL => label,
        CKA_VALUE => value,
    }
}

/// A public and a private object, one with every kind of value that SoftHSM keeps, and an empty one.
fn furnish(session: &Session<'_>) -> Vec<CK_OBJECT_HANDLE> {
    let nested =
        template! { CKA_CLASS => CKO_SECRET_KEY, CKA_ENCRYPT => true, CKA_LABEL => "inner" };
    let types = [CKM_AES_CBC, CKM_AES_ECB]
        .map(CK_ULONG::to_ne_bytes)
        .concat();
    let key = |label: &str, private: bool| {
        template! {
            CKA_CLASS => CKO_SECRET_KEY,
            CKA_KEY_TYPE => CKK_AES,
            CKA_TOKEN => true,
            CKA_PRIVATE => private,
            CKA_SENSITIVE => false,
            CKA_EXTRACTABLE => true,
            CKA_LABEL => label,
            CKA_ID => &b"\x01\x02"[..],
            CKA_VALUE => &pattern(7, 32)[..],
        }
    };
    let whole = key("whole", true)
        .with(CKA_WRAP_TEMPLATE, nested)
        .with(CKA_ALLOWED_MECHANISMS, &types[..])
        .with(CKA_START_DATE, &b"20240131"[..]);
    [
        data("public", false, b"for everybody"),
        data("private", true, &pattern(3, 5000)),
        data("empty", true, b""),
        key("clear", false),
        whole,
    ]
    .iter()
    .map(|template| session.create(template).unwrap())
    .collect()
}

#[test]
fn what_the_file_store_holds_is_what_the_module_shows() {
    unlock::prepare().unwrap();
    let original = Original::new();
    let module = original.module();
    let slot = module.make_token("read me");
    let session = user(&module, slot);
    let objects = furnish(&session);
    let pair = session
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &template! { CKA_TOKEN => true, CKA_LABEL => "pair-public", CKA_EC_PARAMS => &hex("06082a8648ce3d030107")[..] },
            &template! { CKA_TOKEN => true, CKA_LABEL => "pair-private", CKA_SENSITIVE => false, CKA_EXTRACTABLE => true },
        )
        .unwrap();
    let before = snapshot(&original.tokens());
    let token = only(&original.tokens());
    assert_eq!(
        snapshot(&original.tokens()),
        before,
        "the source is read and not touched"
    );

    assert_eq!(token.label, "read me");
    let info = module.token_info(slot).unwrap();
    let serial = String::from_utf8_lossy(&info.serialNumber)
        .trim_end()
        .to_owned();
    assert_eq!(token.serial_number, serial);
    assert_eq!((token.objects.len(), token.damaged.len()), (7, 0));
    let key = user_key(&token);
    let mut seen = 0;
    for handle in objects.into_iter().chain([pair.0, pair.1]) {
        let label = session.attribute(handle, CKA_LABEL).unwrap();
        let opened = labelled(&token, &key, &String::from_utf8(label).unwrap());
        for (kind, value) in opened.values() {
            let is_date = [AttributeType::START_DATE, AttributeType::END_DATE].contains(&kind);
            match session.attribute(handle, kind.0) {
                Ok(shown) => assert_eq!(shown, value, "{kind}"),
                // SoftHSM does not encrypt the dates of private objects, but tries to decrypt them: it cannot show them itself.
                Err(code) => assert!(is_date && value == b"20240131", "{kind}: {code:?}"),
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} attributes are not all that there are");
    let whole = labelled(&token, &key, "whole");
    let template = whole.template().unwrap();
    let arrays = template
        .items()
        .iter()
        .filter_map(|attribute| match &attribute.value {
            strongroom_wire::request::Value::Template(inner) => {
                Some((attribute.kind, inner.items().len()))
            }
            strongroom_wire::request::Value::Bytes(_) => None,
        });
    let arrays: Vec<_> = arrays.filter(|(_, length)| *length > 0).collect();
    assert_eq!(arrays, [(AttributeType::WRAP_TEMPLATE, 3)]);
    let types = [CKM_AES_ECB, CKM_AES_CBC]
        .map(CK_ULONG::to_ne_bytes)
        .concat();
    assert_eq!(
        whole.value(AttributeType::ALLOWED_MECHANISMS),
        Some(&types[..])
    );
}

#[test]
fn both_pins_open_the_token_and_no_other_does() {
    unlock::prepare().unwrap();
    let original = Original::new();
    let module = original.module();
    let slot = module.make_token("pins");
    furnish(&user(&module, slot));
    let token = only(&original.tokens());
    let (so, by_user) = (
        token.sealed_by_so.as_deref().unwrap(),
        token.sealed_by_user.as_deref().unwrap(),
    );
    for key in [
        TokenKey::unseal(so, SO_PIN.as_bytes()),
        TokenKey::unseal(by_user, USER_PIN.as_bytes()),
    ] {
        let opened = labelled(&token, &key.unwrap(), "private");
        assert_eq!(
            opened.value(AttributeType::VALUE),
            Some(&pattern(3, 5000)[..])
        );
    }
    for (sealed, pin) in [
        (so, USER_PIN),
        (by_user, SO_PIN),
        (by_user, "user-pin-1235"),
        (by_user, ""),
    ] {
        assert_eq!(
            TokenKey::unseal(sealed, pin.as_bytes()).unwrap_err(),
            UnlockError::Wrong
        );
    }
    for cut in 0..by_user.len() {
        assert!(TokenKey::unseal(&by_user[..cut], USER_PIN.as_bytes()).is_err());
    }
    // A private object without a key is closed, a public one is not.
    let opened = token
        .objects
        .iter()
        .filter(|object| Opened::of(object, None).is_ok());
    assert_eq!(opened.count(), 2);
}

#[test]
fn what_was_only_half_written_is_told_and_the_rest_read() {
    unlock::prepare().unwrap();
    let original = Original::new();
    let module = original.module();
    let slot = module.make_token("half");
    let session = user(&module, slot);
    furnish(&session);
    module.finalize().unwrap();
    let directory = only(&original.tokens()).directory;
    let files = objects_of(&directory);
    fs::write(&files[0], b"").unwrap();
    let whole = fs::read(&files[1]).unwrap();
    fs::write(&files[1], &whole[..whole.len() - 3]).unwrap();
    fs::write(&files[2], &whole[..8]).unwrap();
    let token = only(&original.tokens());
    assert_eq!((token.objects.len(), token.damaged.len()), (2, 3));
    assert!(
        token
            .damaged
            .iter()
            .all(|one| one.why.contains("interrupted")),
        "{:?}",
        token.damaged
    );
    fs::write(directory.join("token.object"), &whole).unwrap();
    let found = source::tokens(&original.tokens()).unwrap();
    assert_eq!((found.tokens.len(), found.unreadable.len()), (0, 1));
    assert!(found.unreadable[0].to_string().contains("it has no label"));
}

fn objects_of(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "object")
                && !path.ends_with("token.object")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn cut_and_flipped_files_are_refused_or_read_and_never_worse() {
    unlock::prepare().unwrap();
    let original = Original::new();
    let module = original.module();
    let slot = module.make_token("flip");
    let session = user(&module, slot);
    furnish(&session);
    module.finalize().unwrap();
    let token = only(&original.tokens());
    let key = user_key(&token);
    // The object with every kind of value, and what the token says of itself.
    let longest = objects_of(&token.directory).into_iter().max_by_key(|path| {
        let whole = fs::read(path).unwrap();
        (
            !whole.windows(5).any(|window| window == b"inner"),
            std::cmp::Reverse(whole.len()),
        )
    });
    let (mut good, mut bad) = (0, 0);
    for file in [longest.unwrap(), token.directory.join("token.object")] {
        let whole = fs::read(&file).unwrap();
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 0xff;
            for bytes in [&whole[..place], &flipped[..]] {
                fs::write(&file, bytes).unwrap();
                match source::token(&token.directory) {
                    Ok(Some(read)) => {
                        good += 1;
                        for object in &read.objects {
                            // Whatever it says now, it is said without a panic.
                            let _ = Opened::of(object, Some(&key))
                                .map(|opened| opened.template().is_some());
                        }
                    }
                    Ok(None) => panic!("the token is still there"),
                    Err(_) => bad += 1,
                }
            }
        }
        fs::write(&file, &whole).unwrap();
    }
    assert!(good > 100 && bad > 100, "{good} read, {bad} refused");
    assert_eq!(only(&original.tokens()).objects.len(), token.objects.len());
}

/// The token in `tests/data/database-token`, which a SoftHSM with that store wrote; its README says how.
fn database() -> (tempdir::Copy, StoredToken) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/database-token");
    let copy = tempdir::Copy::of(&fixture);
    let token = only(&copy.path);
    (copy, token)
}

mod tempdir {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// A copy of a directory, removed on drop.
    pub struct Copy {
        pub path: PathBuf,
    }

    impl Copy {
        pub fn of(from: &Path) -> Self {
            let path = std::env::temp_dir().join(format!(
                "sd{}-{:?}",
                std::process::id(),
                std::thread::current().id()
            ));
            let _ = fs::remove_dir_all(&path);
            copy(from, &path);
            Self { path }
        }
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    impl Drop for Copy {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[test]
fn the_database_store_is_read() {
    unlock::prepare().unwrap();
    let (copy, token) = database();
    let before = snapshot(&copy.path);
    assert_eq!(
        (token.label.as_str(), token.serial_number.len()),
        ("database token", 16)
    );
    assert_eq!((token.objects.len(), token.damaged.len()), (13, 0));
    let key = user_key(&token);
    let by_so =
        TokenKey::unseal(token.sealed_by_so.as_deref().unwrap(), SO_PIN.as_bytes()).unwrap();
    for key in [&key, &by_so] {
        // What that SoftHSM told of its objects while they were made.
        let aes = labelled(&token, key, "aes");
        let value = "4555c20105da4b2a79b67348ddfb5ba37075a0b21fa10653ca4d22e50b6783d5";
        assert_eq!(aes.value(AttributeType::VALUE), Some(&hex(value)[..]));
        assert_eq!(aes.value(AttributeType::ID), Some(&[4][..]));
        for label in ["private-data", "public-data"] {
            let data = labelled(&token, key, label);
            assert_eq!(data.value(AttributeType::VALUE), Some(&b"some data\n"[..]));
        }
    }
    let wrapper = labelled(&token, &key, "wrapper");
    assert_eq!(
        wrapper.value(AttributeType::VALUE),
        Some(&b"0123456789abcde\0"[..])
    );
    let types = [CKM_AES_ECB, CKM_AES_CBC]
        .map(CK_ULONG::to_ne_bytes)
        .concat();
    assert_eq!(
        wrapper.value(AttributeType::ALLOWED_MECHANISMS),
        Some(&types[..])
    );
    let stored = token.objects.iter().find_map(|object| {
        match object.attributes.get(&AttributeType::WRAP_TEMPLATE.0) {
            Some(StoredValue::Attributes(inner)) if !inner.is_empty() => Some(inner),
            _ => None,
        }
    });
    let kinds: Vec<u64> = stored.unwrap().keys().copied().collect();
    assert_eq!(kinds, [CKA_CLASS, CKA_LABEL, CKA_EXTRACTABLE]);
    assert_eq!(
        snapshot(&copy.path),
        before,
        "the source is read and not touched"
    );
}

#[test]
fn a_damaged_database_is_refused_or_read_and_never_worse() {
    unlock::prepare().unwrap();
    let (copy, token) = database();
    let file = token.directory.join("sqlite3.db");
    let whole = fs::read(&file).unwrap();
    let key = user_key(&token);
    for place in (0..whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[place] ^= 0xff;
        for bytes in [&whole[..place], &flipped[..]] {
            fs::write(&file, bytes).unwrap();
            if let Ok(Some(read)) = source::token(&token.directory) {
                for object in &read.objects {
                    let _ =
                        Opened::of(object, Some(&key)).map(|opened| opened.template().is_some());
                }
            }
        }
    }
    fs::write(&file, &whole).unwrap();
    fs::write(token.directory.join("sqlite3.db-journal"), b"left").unwrap();
    let error = source::token(&token.directory).unwrap_err().to_string();
    assert!(error.contains("interrupted"), "{error}");
    drop(copy);
}
