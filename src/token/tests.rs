//! *What lives here:* the tests of tokens: what is kept over a restart, what a failing store leaves, which keys stay open. *What must
//! never live here:* what several tests share (`service/rig.rs`). *Who calls it:* the test runner.

use strongroom_wire::ck::{AttributeType as A, MechanismType as M, Rv, UserType};
use strongroom_wire::request::SlotId;

use super::*;
use crate::attribute::Value;
use crate::attribute::samples::{SHAPES, class_and_type, created, p256};
use crate::attribute::table::Shape;
use crate::ports::{RecordKey, Store};
use crate::service::rig::*;

type Seen = Vec<(ObjectHandle, Vec<(A, std::result::Result<Vec<u8>, Rv>)>)>;

/// All that a session sees of all objects.
fn everything(talk: &Talk) -> Seen {
    let found = talk.find(&[]);
    found
        .into_iter()
        .map(|object| (object, talk.all(object)))
        .collect()
}

fn records(house: &House) -> Vec<(RecordKey, Vec<u8>)> {
    let record = |key| (key, house.store.record(key).unwrap().unwrap());
    house.store.keys().into_iter().map(record).collect()
}

#[test]
fn a_restart_gives_every_object_back_with_keys_that_work() {
    let house = House::new();
    let talk = house.user();
    for shape in SHAPES {
        talk.create(&with(&created(shape), &[yes(A::TOKEN)]))
            .unwrap();
    }
    let open = [yes(A::TOKEN), no(A::SENSITIVE), yes(A::EXTRACTABLE)];
    let key = talk
        .generate(M::AES_KEY_GEN, &with(&open, &[number(A::VALUE_LEN, 32)]))
        .unwrap();
    let allowed = [
        yes(A::TOKEN),
        mechanisms(&[M::ECDSA_SHA256]),
        inner(A::DERIVE_TEMPLATE, &[yes(A::SIGN)]),
    ];
    let (public, private) = talk
        .pair(M::EC_KEY_PAIR_GEN, &[p256(), yes(A::TOKEN)], &allowed)
        .unwrap();
    let document = with(
        &class_and_type(Shape::Data),
        &[yes(A::TOKEN), bytes(A::VALUE, b"old")],
    );
    let document = talk.create(&document).unwrap();
    assert_eq!(
        talk.set(document, &[bytes(A::VALUE, b"new"), bytes(A::LABEL, b"l")]),
        Rv::OK
    );
    let copy = talk.copy(key, &[bytes(A::LABEL, b"copy")]).unwrap();
    let in_session = talk.create(&created(Shape::Secret)).unwrap();
    let encrypted = talk.encrypt(plain(M::AES_ECB), key, &[1; 32]).unwrap();
    let signature = talk.sign(M::ECDSA_SHA256, private, b"data").unwrap();
    let mut before = everything(&talk);
    before.retain(|(object, _)| *object != in_session);

    let again = house.restarted();
    let counts = again.service.counts();
    assert_eq!((counts.tokens, counts.objects), (1, before.len() as u64));
    let nobody = again.guest().open(READ_WRITE).unwrap();
    assert_eq!(
        nobody.read(private, A::CLASS),
        Err(Rv::OBJECT_HANDLE_INVALID)
    );
    nobody.read(public, A::CLASS).unwrap();
    let talk = again.user();
    assert_eq!(everything(&talk), before);
    for key in [key, copy] {
        assert_eq!(
            talk.decrypt(plain(M::AES_ECB), key, &encrypted).unwrap(),
            [1; 32]
        );
    }
    assert_eq!(
        talk.verify(M::ECDSA_SHA256, public, b"data", &signature),
        Rv::OK
    );
    talk.sign(M::ECDSA_SHA256, private, b"data").unwrap();
    assert_eq!(talk.read(document, A::VALUE).unwrap(), b"new");
    let late = talk
        .create(&with(&class_and_type(Shape::Data), &[yes(A::TOKEN)]))
        .unwrap();
    assert!(
        before.iter().all(|(object, _)| *object < late),
        "handles are not used again"
    );
}

#[test]
fn what_was_destroyed_stays_destroyed() {
    let house = House::new();
    let talk = house.user();
    let data = with(&class_and_type(Shape::Data), &[yes(A::TOKEN)]);
    let objects: Vec<_> = (0..3).map(|_| talk.create(&data).unwrap()).collect();
    assert_eq!(talk.destroy(objects[2]), Rv::OK);
    let again = house.restarted().user();
    assert_eq!(again.find(&[]), objects[..2]);
    let next = again.create(&data).unwrap();
    assert!(
        next > objects[2],
        "the number of a destroyed object is not given to another"
    );
}

/// Everything that writes, each as one call that must fail whole.
#[test]
fn a_store_that_fails_leaves_everything_as_it_was() {
    let house = House::new();
    let talk = house.user();
    let on_token = [yes(A::TOKEN)];
    let secret = with(
        &created(Shape::Secret),
        &[yes(A::TOKEN), yes(A::EXTRACTABLE), bytes(A::LABEL, b"k")],
    );
    let key = talk.create(&secret).unwrap();
    let data = with(
        &class_and_type(Shape::Data),
        &[yes(A::TOKEN), bytes(A::VALUE, b"v")],
    );
    let document = talk.create(&data).unwrap();
    let wrapped = talk.wrap(plain(M::AES_KEY_WRAP_KWP), key, key).unwrap();
    let length = number(A::VALUE_LEN, 16);
    let generated = with(&on_token, &[length]);
    let unwrapped = with(&class_and_type(Shape::Secret), &on_token);
    let pair_template = [p256(), yes(A::TOKEN)];
    type Call<'c> = Box<dyn Fn() -> Rv + 'c>;
    let rv = |outcome: std::result::Result<_, Rv>| {
        outcome.map_or_else(|rv| rv, |_: ObjectHandle| Rv::OK)
    };
    let calls: Vec<(&str, Call<'_>)> = vec![
        ("create", Box::new(|| rv(talk.create(&data)))),
        ("create a key", Box::new(|| rv(talk.create(&secret)))),
        ("copy", Box::new(|| rv(talk.copy(key, &[])))),
        (
            "set",
            Box::new(|| talk.set(key, &[bytes(A::LABEL, b"x"), no(A::EXTRACTABLE)])),
        ),
        (
            "set content",
            Box::new(|| talk.set(document, &[bytes(A::VALUE, b"x")])),
        ),
        ("destroy", Box::new(|| talk.destroy(key))),
        (
            "generate",
            Box::new(|| rv(talk.generate(M::AES_KEY_GEN, &generated))),
        ),
        (
            "pair",
            Box::new(|| {
                rv(talk
                    .pair(M::EC_KEY_PAIR_GEN, &pair_template, &on_token)
                    .map(|pair| pair.0))
            }),
        ),
        (
            "pair half",
            Box::new(|| {
                rv(talk
                    .pair(M::EC_KEY_PAIR_GEN, &[p256()], &on_token)
                    .map(|pair| pair.0))
            }),
        ),
        (
            "unwrap",
            Box::new(|| rv(talk.unwrap(plain(M::AES_KEY_WRAP_KWP), key, &wrapped, &unwrapped))),
        ),
        (
            "set pin",
            Box::new(|| talk.set_pin(USER_PIN, b"another pin")),
        ),
    ];
    let (seen, kept) = (everything(&talk), records(&house));
    for (name, call) in calls {
        house.store.fail_commit_after(0);
        assert_eq!(call(), Rv::DEVICE_ERROR, "{name}");
        assert_eq!(everything(&talk), seen, "{name}");
        assert!(records(&house) == kept, "{name}");
        assert_eq!(everything(&house.restarted().user()), seen, "{name}");
        talk.encrypt(plain(M::AES_ECB), key, &[1; 16]).unwrap();
    }
    let late = talk.create(&data).unwrap();
    assert_eq!(
        everything(&house.restarted().user()).last().unwrap().0,
        late,
        "it goes on"
    );
}

#[test]
fn a_store_that_fails_makes_no_token_and_wipes_none() {
    let house = House::new();
    let guest = house.guest();
    house.store.fail_commit_after(0);
    assert_eq!(guest.init_token(SlotId(1), SO_PIN), Rv::DEVICE_ERROR);
    assert_eq!(guest.slots(), [SlotId(0), SlotId(1)]);
    let user = house.user();
    let object = user
        .create(&with(&class_and_type(Shape::Data), &[yes(A::TOKEN)]))
        .unwrap();
    user.guest.leave();
    for more in 0..4 {
        house.store.fail_commit_after(more);
        let outcome = guest.init_token(SLOT, SO_PIN);
        if outcome == Rv::OK {
            break;
        }
        assert_eq!(outcome, Rv::DEVICE_ERROR);
        let user = house.user();
        assert_eq!(user.find(&[]), [object]);
        user.guest.leave();
        let again = house.restarted().user();
        assert_eq!(again.find(&[]), [object]);
    }
    house.store.fail_commit_after(u64::MAX);
    assert_eq!(house.officer().find(&[]), []);
}

fn open_keys(talk: &Talk) -> usize {
    let session = talk.guest.application.session(talk.session).unwrap();
    let is_open = |object: &&Arc<Object>| object.open.lock().is_some();
    session
        .token()
        .with_objects(|index| index.iter().filter(is_open).count())
}

#[test]
fn an_operator_says_how_many_keys_stay_open() {
    let limits = Limits {
        open_keys_max: 3,
        ..Limits::default()
    };
    let house = House::with_limits(limits);
    let talk = house.user();
    let template = [number(A::VALUE_LEN, 16), yes(A::TOKEN)];
    let keys: Vec<_> = (0..8)
        .map(|_| talk.generate(M::AES_KEY_GEN, &template).unwrap())
        .collect();
    assert!(open_keys(&talk) <= 3);
    let encrypted: Vec<_> = keys
        .iter()
        .map(|key| talk.encrypt(plain(M::AES_ECB), *key, &[1; 16]).unwrap())
        .collect();
    for (key, encrypted) in keys.iter().zip(&encrypted) {
        assert_eq!(
            talk.decrypt(plain(M::AES_ECB), *key, encrypted).unwrap(),
            [1; 16]
        );
        assert!(open_keys(&talk) <= 3, "opened again, and another closed");
    }
}

#[test]
fn keys_whose_attributes_change_are_closed_in_their_turn() {
    let limits = Limits {
        open_keys_max: 3,
        ..Limits::default()
    };
    let house = House::with_limits(limits);
    let talk = house.user();
    let template = [number(A::VALUE_LEN, 16), yes(A::TOKEN)];
    for label in 0..8 {
        let key = talk.generate(M::AES_KEY_GEN, &template).unwrap();
        assert_eq!(talk.set(key, &[bytes(A::LABEL, &[label])]), Rv::OK);
        talk.encrypt(plain(M::AES_ECB), key, &[1; 16]).unwrap();
    }
    assert!(open_keys(&talk) <= 3, "{}", open_keys(&talk));
}

#[test]
fn private_objects_are_counted_before_they_can_be_read() {
    let house = House::new();
    let talk = house.user();
    talk.create(&with(&created(Shape::Secret), &[yes(A::TOKEN)]))
        .unwrap();
    talk.create(&with(&created(Shape::RsaPublic), &[yes(A::TOKEN)]))
        .unwrap();
    let token = |talk: &Talk| {
        let session = talk.guest.application.session(talk.session).unwrap();
        session.token().clone()
    };
    assert_eq!(token(&talk).counts(), (2, 0));
    assert!(token(&talk).is_open());
    let nobody = house.restarted().guest().open(READ_ONLY).unwrap();
    assert_eq!(token(&nobody).counts(), (2, 1));
    assert!(!token(&nobody).is_open());
    assert_eq!(nobody.login(UserType::USER, USER_PIN), Rv::OK);
    assert_eq!(token(&nobody).counts(), (2, 0));
    assert_eq!(nobody.logout(), Rv::OK);
    assert_eq!(
        nobody.find(&[]).len(),
        1,
        "open, but not for whoever is not logged in"
    );
}

#[test]
fn objects_in_the_right_realm_and_no_secret_in_the_store() {
    let house = House::new();
    let talk = house.user();
    let marker = b"a value that would be seen on the disk";
    for template in [
        with(
            &created(Shape::Secret),
            &[number(A::KEY_TYPE, 0x10), bytes(A::VALUE, marker)],
        ),
        with(
            &class_and_type(Shape::Data),
            &[bytes(A::VALUE, marker), bytes(A::LABEL, marker)],
        ),
        with(
            &class_and_type(Shape::Data),
            &[bytes(A::VALUE, marker), yes(A::PRIVATE)],
        ),
    ] {
        talk.create(&with(&template, &[yes(A::TOKEN)])).unwrap();
    }
    for (key, sealed) in records(&house) {
        for secret in [&marker[..16], USER_PIN, SO_PIN] {
            assert!(
                !sealed.windows(secret.len()).any(|part| part == secret),
                "{key:?}"
            );
        }
    }
}

#[test]
fn material_of_an_object_that_has_gone_is_not_there() {
    let house = House::new();
    let talk = house.user();
    let key = talk
        .create(&with(&created(Shape::Secret), &[yes(A::TOKEN)]))
        .unwrap();
    let session = talk.guest.application.session(talk.session).unwrap();
    let token = session.token();
    let object = token.object(key).unwrap();
    assert!(token.material(&object).unwrap().is_some());
    assert_eq!(talk.destroy(key), Rv::OK);
    assert_eq!(
        token.material(&object).unwrap_err(),
        Error::ObjectHandleInvalid
    );
    assert_eq!(token.destroy(key).unwrap_err(), Error::ObjectHandleInvalid);
    let replaced = token.replace(key, |object| Ok((object.attributes.clone(), None)));
    assert_eq!(replaced.unwrap_err(), Error::ObjectHandleInvalid);
}

/// A value is not a secret merely because nobody said so: the material of a session object lies in locked memory as well.
#[test]
fn session_objects_hold_their_secrets_in_locked_memory() {
    let talk = House::new().user();
    let key = talk.create(&created(Shape::Secret)).unwrap();
    let session = talk.guest.application.session(talk.session).unwrap();
    let object = session.seat.objects.read().object(key).cloned().unwrap();
    assert_eq!(object.attributes.value(A::VALUE), None::<&Value>);
    let material = session.token().material(&object).unwrap().unwrap();
    material.with(A::VALUE, |value| {
        assert!(strongroom_keymem::contains(value.unwrap().as_ptr()));
    });
}
