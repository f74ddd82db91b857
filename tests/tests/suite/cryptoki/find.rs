//! Searching (PKCS#11 3.2, 5.7.8 to 5.7.10).

use cryptoki_sys::*;
use strongroom_tests::judge::ec::Curve;
use strongroom_tests::{Rv, Session, Template, Workplace, not_on_softhsm, template};

use crate::keys;

/// Fills a token: tells handles of data, key and pair.
fn fill(session: &Session<'_>) -> [CK_OBJECT_HANDLE; 5] {
    let data = session
        .create(&keys::data("label one").with(CKA_TOKEN, true))
        .unwrap();
    let hidden = session
        .create(
            &keys::data("label one")
                .with(CKA_TOKEN, true)
                .with(CKA_PRIVATE, true),
        )
        .unwrap();
    let aes = session
        .generate(
            CKM_AES_KEY_GEN,
            &keys::protected_aes()
                .with(CKA_TOKEN, true)
                .with(CKA_ID, "A")
                .with(CKA_LABEL, "aes"),
        )
        .unwrap();
    let (public, private) = session
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &template! {
                CKA_EC_PARAMS => Curve::P256.parameters(), CKA_TOKEN => true, CKA_PRIVATE => false,
                CKA_VERIFY => true, CKA_ID => "A", CKA_LABEL => "pair",
            },
            &template! {
                CKA_TOKEN => true, CKA_PRIVATE => true, CKA_SIGN => true, CKA_SENSITIVE => true, CKA_ID => "A",
                CKA_LABEL => "pair",
            },
        )
        .unwrap();
    [data, hidden, aes, public, private]
}

#[test]
fn any_template_is_a_search() {
    let place = Workplace::open();
    let session = place.user();
    let [data, hidden, aes, public, private] = fill(&session);
    let rows: &[(&str, Template, &[CK_OBJECT_HANDLE])] = &[
        (
            "everything",
            template! {},
            &[data, hidden, aes, public, private],
        ),
        (
            "by class",
            template! { CKA_CLASS => CKO_DATA },
            &[data, hidden],
        ),
        (
            "by label",
            template! { CKA_LABEL => "label one" },
            &[data, hidden],
        ),
        (
            "by the start of a label",
            template! { CKA_LABEL => "label" },
            &[],
        ),
        (
            "by ID",
            template! { CKA_ID => "A" },
            &[aes, public, private],
        ),
        (
            "by ID and class",
            template! { CKA_ID => "A", CKA_CLASS => CKO_PRIVATE_KEY },
            &[private],
        ),
        (
            "by key type",
            template! { CKA_KEY_TYPE => CKK_EC },
            &[public, private],
        ),
        (
            "by class and key type",
            template! { CKA_CLASS => CKO_SECRET_KEY, CKA_KEY_TYPE => CKK_AES },
            &[aes],
        ),
        (
            "by a boolean",
            template! { CKA_SIGN => true, CKA_CLASS => CKO_PRIVATE_KEY },
            &[private],
        ),
        (
            "by token and private",
            template! { CKA_TOKEN => true, CKA_PRIVATE => false },
            &[data, public],
        ),
        ("session objects", template! { CKA_TOKEN => false }, &[]),
        (
            "by curve",
            template! { CKA_EC_PARAMS => Curve::P256.parameters() },
            &[public, private],
        ),
        ("by length", template! { CKA_VALUE_LEN => 32 }, &[aes]),
        (
            "by the value of data",
            template! { CKA_VALUE => "value" },
            &[data, hidden],
        ),
        (
            "an unknown attribute",
            template! { 0x0fff_fff0 => "?" },
            &[],
        ),
        (
            "an attribute of the vendor",
            template! { CKA_VENDOR_DEFINED | 77 => &[1] },
            &[],
        ),
        (
            "an unknown class",
            template! { CKA_CLASS => 0x1234_5678_u64 },
            &[],
        ),
        ("a profile", template! { CKA_CLASS => CKO_PROFILE }, &[]),
        (
            "NSS trust",
            template! { CKA_CLASS => 0xce53_4353_u64, CKA_TOKEN => true },
            &[],
        ),
        (
            "a label and a value that do not meet",
            template! { CKA_LABEL => "aes", CKA_ID => "B" },
            &[],
        ),
    ];
    for (what, template, expected) in rows {
        let mut found = session
            .find(template)
            .unwrap_or_else(|code| panic!("{what}: {code:?}"));
        // A token may offer profile objects of its own (PKCS#11 3.0, 4.5); they are not what was made here.
        found.retain(|object| session.number(*object, CKA_CLASS) != Ok(CKO_PROFILE));
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_secret_value_cannot_be_searched_for() {
    let place = Workplace::open();
    let session = place.user();
    let secret = keys::open_secret(CKK_AES)
        .with(CKA_VALUE, &[0x77; 32])
        .with(CKA_SENSITIVE, true);
    session.create(&secret).unwrap();
    if not_on_softhsm("it compares sensitive values in a search, which makes it an oracle") {
        return;
    }
    let found = session
        .find(&template! { CKA_VALUE => &[0x77; 32] })
        .unwrap();
    assert!(
        found.is_empty(),
        "the value of a sensitive key was confirmed by a search"
    );
}

#[test]
fn before_login_private_objects_are_not_there() {
    let place = Workplace::open();
    let session = place.user();
    let [data, _, aes, public, private] = fill(&session);
    session.logout().unwrap();
    let mut found = session.find(&template! { CKA_TOKEN => true }).unwrap();
    found.retain(|object| session.number(*object, CKA_CLASS) != Ok(CKO_PROFILE));
    assert_eq!(found.len(), 2);
    assert!(found.contains(&data) && found.contains(&public));
    assert!(!found.contains(&aes) && !found.contains(&private));
}

#[test]
fn objects_come_as_many_as_are_asked_for() {
    let place = Workplace::open();
    let session = place.user();
    let mut made: Vec<_> = (0..10)
        .map(|_| session.create(&keys::data("many")).unwrap())
        .collect();
    session
        .find_init(&template! { CKA_LABEL => "many" })
        .unwrap();
    let mut found = Vec::new();
    for (asked, expected) in [(0, 0), (3, 3), (1, 1), (4, 4), (50, 2), (50, 0), (1, 0)] {
        let some = session.find_next(asked).unwrap();
        assert_eq!(some.len(), expected, "asked for {asked}");
        found.extend(some);
    }
    session.find_final().unwrap();
    found.sort_unstable();
    made.sort_unstable();
    assert_eq!(found, made);
}

#[test]
fn a_search_sees_the_objects_of_its_beginning_and_others_may_work_between() {
    let place = Workplace::open();
    let session = place.user();
    let made: Vec<_> = (0..6)
        .map(|_| session.create(&keys::data("many")).unwrap())
        .collect();
    session
        .find_init(&template! { CKA_LABEL => "many" })
        .unwrap();
    let first = session.find_next(2).unwrap();
    let late = session.create(&keys::data("many")).unwrap();
    session
        .set(first[0], &template! { CKA_LABEL => "renamed" })
        .unwrap();
    assert_eq!(session.attribute(first[1], CKA_LABEL).unwrap(), b"many");
    let other = place.public();
    assert_eq!(
        other
            .find(&template! { CKA_LABEL => "many" })
            .unwrap()
            .len(),
        6
    );
    let rest = session.find_next(50).unwrap();
    session.find_final().unwrap();
    assert_eq!(rest.len(), 4, "a snapshot");
    assert!(!rest.contains(&late), "what came later is not in it");
    assert!(
        rest.iter()
            .chain(&first)
            .all(|object| made.contains(object))
    );
    assert_eq!(session.find_next(1), Err(Rv(CKR_OPERATION_NOT_INITIALIZED)));
}
