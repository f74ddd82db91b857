//! *What lives here:* imports as a connection of the administration makes them: what is seen, stored and recorded of them, and when.
//! *What must never live here:* the judgement of single objects (chapter of importing). *Who calls it:* the test runner.

use strongroom_wire::admin::{Token as TokenLine, VerifyPart};
use strongroom_wire::ck::{AttributeType as A, MechanismType as M, ObjectClass, UserType};
use strongroom_wire::request::SlotId;
use strongroom_wire::secret::Secret;

use super::*;
use crate::attribute::Value;
use crate::attribute::samples::created;
use crate::attribute::table::Shape;
use crate::service::rig::*;

const SOURCE: &str = "SoftHSM token 1ce19d2b2f1e3a5c";

/// A connection of the administration.
struct Importer<'h> {
    house: &'h House,
    who: Principal,
    importing: Importing,
}

impl<'h> Importer<'h> {
    fn new(house: &'h House) -> Self {
        Self {
            house,
            who: Principal {
                uid: 0,
                ..principal(1)
            },
            importing: Importing::default(),
        }
    }

    fn ask(&mut self, request: &AdminRequest<'_>) -> AdminAnswer {
        let service = &self.house.service;
        let asked = service.asked_to_import(&self.who, request).unwrap();
        service
            .import(&self.who, asked, &mut self.importing)
            .unwrap()
    }

    fn begin(&mut self, destination: Destination<'_>) -> AdminAnswer {
        self.ask(&AdminRequest::ImportBegin {
            source: SOURCE,
            destination,
            keep_history: false,
        })
    }

    fn begun(house: &'h House, destination: Destination<'_>) -> Self {
        let mut importer = Self::new(house);
        done(&importer.begin(destination));
        importer
    }

    fn bring(&mut self, templates: &[Vec<(A, Value)>]) -> AdminAnswer {
        self.bring_times(templates, 1)
    }

    fn bring_times(&mut self, templates: &[Vec<(A, Value)>], times: usize) -> AdminAnswer {
        fn nested<R>(
            left: &[Vec<(A, Value)>],
            done: Vec<Template<'_>>,
            send: &mut dyn FnMut(Vec<Template<'_>>) -> R,
        ) -> R {
            match left.split_first() {
                None => send(done),
                Some((first, rest)) => sending(first, |sent| {
                    let mut done: Vec<Template<'_>> = done;
                    done.push(sent);
                    nested(rest, done, send)
                }),
            }
        }
        nested(templates, Vec::new(), &mut |objects| {
            let objects = objects.iter().cycle().take(objects.len() * times);
            let objects = List::new(objects.cloned().collect()).unwrap();
            self.ask(&AdminRequest::ImportObjects { objects })
        })
    }

    fn judged(&mut self, templates: &[Vec<(A, Value)>]) -> Vec<Judgement> {
        match self.bring(templates) {
            AdminAnswer::ImportJudged(judged) => judged.into_items(),
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self) -> AdminAnswer {
        self.ask(&AdminRequest::ImportCommit)
    }

    fn committed(&mut self) -> (TokenLine, u64) {
        match self.commit() {
            AdminAnswer::Imported { token, objects } => (token, objects),
            other => panic!("{other:?}"),
        }
    }
}

fn done(answer: &AdminAnswer) {
    assert!(matches!(answer, AdminAnswer::Done), "{answer:?}");
}

fn refusal(answer: AdminAnswer) -> (Rv, String) {
    match answer {
        AdminAnswer::Refused { rv, reason } => (rv, reason),
        other => panic!("not refused but {other:?}"),
    }
}

fn new_token<'d>(label: &'d str, serial_number: Option<&'d str>) -> Destination<'d> {
    Destination::NewToken {
        label,
        serial_number,
        so_pin: Secret::new(SO_PIN),
        user_pin: Some(Secret::new(USER_PIN)),
    }
}

fn there(user_pin: &[u8]) -> Destination<'_> {
    Destination::Token {
        token: "a token",
        user_pin: Secret::new(user_pin),
    }
}

fn labelled(shape: Shape, label: &str) -> Vec<(A, Value)> {
    let use_it: &[(A, Value)] = match shape {
        Shape::EcPrivate => &[yes(A::SIGN)],
        _ => &[],
    };
    with(
        &with(&created(shape), &[bytes(A::LABEL, label.as_bytes())]),
        use_it,
    )
}

/// A certificate, a key of each kind, data: public and private.
fn some_objects() -> Vec<Vec<(A, Value)>> {
    [
        Shape::X509Certificate,
        Shape::EcPrivate,
        Shape::CurvePublic,
        Shape::RsaPrivate,
        Shape::Secret,
        Shape::Data,
    ]
    .map(|shape| labelled(shape, "brought"))
    .to_vec()
}

fn sound(house: &House) {
    let check = |part| house.service.verify(part);
    let vault = check(VerifyPart::Vault);
    let mut findings = vault.findings;
    for token in vault.tokens {
        findings.extend(check(VerifyPart::Token(token)).findings);
    }
    findings.extend(check(VerifyPart::Journal).findings);
    assert_eq!(findings, Vec::<String>::new());
}

fn brought(talk: &Talk) -> usize {
    talk.find(&[bytes(A::LABEL, b"brought")]).len()
}

fn signs(talk: &Talk) {
    let private = number(A::CLASS, ObjectClass::PRIVATE_KEY.0);
    let ec = number(A::KEY_TYPE, strongroom_wire::ck::KeyType::EC.0);
    let [key] = talk.find(&[private, ec])[..] else {
        panic!("no key")
    };
    let public = number(A::CLASS, ObjectClass::PUBLIC_KEY.0);
    let [public] = talk.find(&[public])[..] else {
        panic!("no key")
    };
    let signature = talk.sign(M::ECDSA_SHA256, key, b"data").unwrap();
    assert_eq!(
        talk.verify(M::ECDSA_SHA256, public, b"data", &signature),
        Rv::OK
    );
}

#[test]
fn a_new_token_is_there_with_all_its_objects_after_one_commit_and_before_it_nothing() {
    let house = House::new();
    let (commits, keys) = (house.store.commits(), house.store.keys());
    let slots = house.guest().slots();
    let mut importer = Importer::begun(&house, new_token("payments", Some("1ce19d2b2f1e3a5c")));
    let judged = importer.judged(&some_objects());
    assert!(
        judged.iter().all(|one| *one == Judgement::default()),
        "{judged:?}"
    );
    assert_eq!((house.store.commits(), house.store.keys()), (commits, keys));
    assert_eq!(house.guest().slots(), slots);
    let (token, objects) = importer.committed();
    assert_eq!(house.store.commits(), commits + 1);
    assert_eq!(
        (token.serial_number.as_str(), token.label.as_str()),
        ("1ce19d2b2f1e3a5c", "payments")
    );
    assert_eq!(
        (objects, token.objects, token.slot, token.open),
        (6, 6, 1, false)
    );
    assert!(token.user_pin_initialized);
    for house in [&house, &house.restarted()] {
        sound(house);
        let guest = house.guest();
        let info = guest.token_info(SlotId(1)).unwrap();
        assert_eq!(info.serial_number, "1ce19d2b2f1e3a5c");
        let talk = guest.open_at(SlotId(1), READ_WRITE).unwrap();
        assert_eq!(brought(&talk), 3, "certificate, public key and data");
        assert_eq!(talk.login(UserType::USER, USER_PIN), Rv::OK);
        assert_eq!(brought(&talk), 6);
        signs(&talk);
        sound(house);
        guest.leave();
    }
    // It is over: there is nothing to commit any more.
    assert_eq!(refusal(importer.commit()).0, Rv::OPERATION_NOT_INITIALIZED);
}

#[test]
fn objects_join_a_token_that_its_users_pin_opens_and_nobody_is_logged_in_by_that() {
    let house = House::new();
    let stranger = house.guest().open(READ_WRITE).unwrap();
    let mut importer = Importer::begun(&house, there(USER_PIN));
    importer.judged(&some_objects());
    let commits = house.store.commits();
    assert_eq!(brought(&stranger), 0);
    let (token, objects) = importer.committed();
    assert_eq!(house.store.commits(), commits + 1);
    assert_eq!((objects, token.objects, token.open), (6, 6, true));
    assert_eq!(brought(&stranger), 3, "public ones");
    assert_eq!(
        stranger.info().unwrap().state,
        strongroom_wire::ck::SessionState::RW_PUBLIC_SESSION
    );
    let user = house.user();
    assert_eq!(brought(&user), 6);
    signs(&user);
    // They are as other objects are.
    let more = user.create(&with(&created(Shape::Secret), &[yes(A::TOKEN)]));
    assert!(more.is_ok());
    for object in user.find(&[bytes(A::LABEL, b"brought")]) {
        assert_eq!(user.destroy(object), Rv::OK);
    }
    sound(&house);
    sound(&house.restarted());
}

#[test]
fn a_wrong_pin_brings_nothing_in_and_counts_as_a_try() {
    let limits = Limits {
        user_tries_max: 3,
        ..Limits::default()
    };
    let house = House::with_limits(limits);
    let mut importer = Importer::new(&house);
    for _ in 0..3 {
        let (rv, reason) = refusal(importer.begin(there(b"wrong-pin")));
        assert_eq!(rv, Rv::PIN_INCORRECT);
        assert!(reason.contains("counts as a try"), "{reason}");
    }
    for pin in [&b"wrong-pin"[..], USER_PIN] {
        assert_eq!(refusal(importer.begin(there(pin))).0, Rv::PIN_LOCKED);
    }
    let locked = house.guest().open(READ_WRITE).unwrap();
    assert_eq!(locked.login(UserType::USER, USER_PIN), Rv::PIN_LOCKED);
    // The waits of a user of this machine are the same at either door.
    let slow = House::with_limits(Limits {
        wrong_pin_delay_ms: 1000,
        ..Limits::default()
    });
    let mut importer = Importer::new(&slow);
    assert_eq!(
        refusal(importer.begin(there(b"wrong-pin"))).0,
        Rv::PIN_INCORRECT
    );
    let request = AdminRequest::ImportBegin {
        source: SOURCE,
        destination: there(USER_PIN),
        keep_history: false,
    };
    let asked = slow
        .service
        .asked_to_import(&importer.who, &request)
        .unwrap();
    assert_eq!(asked.wait(), Duration::from_secs(1));
}

#[test]
fn refused_objects_leave_the_rest_committable() {
    let house = House::new();
    let mut importer = Importer::begun(&house, there(USER_PIN));
    let mut objects = some_objects();
    objects.insert(2, without(&labelled(Shape::EcPrivate, "brought"), A::VALUE));
    objects.push(vec![number(A::CLASS, ObjectClass::HW_FEATURE.0)]);
    let judged = importer.judged(&objects);
    let refused: Vec<_> = judged.iter().map(|one| one.refused.is_some()).collect();
    assert_eq!(
        refused,
        [false, false, true, false, false, false, false, true]
    );
    let (rv, reason) = judged[2].refused.clone().unwrap();
    assert_eq!(
        (rv, reason.as_str()),
        (Rv::TEMPLATE_INCOMPLETE, "CKA_VALUE is missing")
    );
    assert_eq!(importer.committed().1, 6);
    sound(&house);
}

#[test]
fn a_store_that_fails_leaves_nothing_behind() {
    let house = House::new();
    for destination in [new_token("payments", None), there(USER_PIN)] {
        let mut importer = Importer::begun(&house, destination);
        importer.judged(&some_objects());
        let (keys, slots) = (house.store.keys(), house.guest().slots());
        house.store.fail_commit_after(0);
        let (rv, reason) = refusal(importer.commit());
        assert_eq!(rv, Rv::DEVICE_ERROR);
        assert!(reason.starts_with("nothing was brought in: "), "{reason}");
        assert_eq!((house.store.keys(), house.guest().slots()), (keys, slots));
        assert_eq!(brought(&house.user()), 0);
        sound(&house);
        sound(&house.restarted());
    }
}

#[test]
fn what_is_abandoned_was_never_there() {
    let house = House::new();
    let (commits, keys) = (house.store.commits(), house.store.keys());
    let mut importer = Importer::begun(&house, new_token("payments", None));
    importer.judged(&some_objects());
    done(&importer.ask(&AdminRequest::ImportAbandon));
    assert_eq!(
        refusal(importer.ask(&AdminRequest::ImportAbandon)).0,
        Rv::OPERATION_NOT_INITIALIZED
    );
    assert_eq!(
        refusal(importer.bring(&some_objects())).0,
        Rv::OPERATION_NOT_INITIALIZED
    );
    done(&importer.begin(new_token("payments", None)));
    importer.judged(&some_objects());
    let second = refusal(importer.begin(new_token("payments", None)));
    assert_eq!(second.0, Rv::OPERATION_ACTIVE);
    // The connection ends.
    let Importer {
        who, mut importing, ..
    } = importer;
    house.service.end_import(&who, &mut importing).unwrap();
    house.service.end_import(&who, &mut importing).unwrap();
    assert_eq!((house.store.commits(), house.store.keys()), (commits, keys));
    assert_eq!(house.service.imports.counts(), (0, 1, 0, 0));
    let last = house.audit_lines().pop().unwrap();
    assert!(
        last.contains(r#""function":"admin.import_abandon""#),
        "{last}"
    );
    assert!(
        last.contains(r#""objects":6"#) && last.contains("CKR_FUNCTION_CANCELED"),
        "{last}"
    );
}

#[test]
fn the_journal_knows_an_import_by_its_source_its_token_and_a_hash_and_sees_no_label() {
    let house = House::new();
    let mut importer = Importer::begun(&house, new_token("payments", Some("S-1")));
    let trusted = with(
        &labelled(Shape::X509Certificate, "brought"),
        &[yes(A::TRUSTED)],
    );
    importer.judged(&[trusted, labelled(Shape::EcPrivate, "brought"), vec![]]);
    importer.committed();
    let lines = house.audit_lines();
    let [begin, objects, commit] = &lines[lines.len() - 3..] else {
        panic!()
    };
    assert!(begin.contains(&format!(
        r#""function":"admin.import_begin","source":"{SOURCE}","serial_number":"S-1","new_token":true,"keep_history":false,"#
    )));
    assert!(objects.contains(r#""function":"admin.import_objects""#));
    assert!(
        objects.contains(r#""objects":2,"refused":1,"trusted":1,"rv":"CKR_OK""#),
        "{objects}"
    );
    assert!(
        commit.contains(r#""function":"admin.import_commit","slot":1,"#),
        "{commit}"
    );
    // The hash is of what is stored, which whoever can open the store sees.
    let token = house.service.named("S-1").unwrap();
    token
        .login(User::User, USER_PIN, &Limits::default())
        .unwrap();
    let mut hash = Digest::new(Hash::Sha256).unwrap();
    token.with_objects(|index| {
        let mut all: Vec<_> = index.iter().cloned().collect();
        all.sort_by_key(|object| object.handle);
        for object in all {
            hash.update(&metadata(&object.attributes).unwrap()).unwrap();
        }
    });
    let hash = strongroom_crypto::hex::shown(hash.finish().unwrap().as_ref());
    assert!(
        commit.contains(&format!(r#""metadata":"{hash}""#)),
        "{commit}"
    );
    for line in lines {
        assert!(
            !line.contains("payments") && !line.contains("brought"),
            "{line}"
        );
        let pins = [SO_PIN, USER_PIN].map(|pin| String::from_utf8_lossy(pin).into_owned());
        assert!(pins.iter().all(|pin| !line.contains(pin)), "{line}");
    }
    // A refused beginning is recorded as well.
    refusal(importer.begin(new_token("again", Some("S-1"))));
    let last = house.audit_lines().pop().unwrap();
    assert!(
        last.contains(r#""serial_number":"S-1""#) && last.contains("CKR_ARGUMENTS_BAD"),
        "{last}"
    );
}

#[test]
fn a_destination_that_cannot_be_is_refused_before_any_object_is_sent() {
    let house = House::with_limits(Limits {
        pin_bytes_min: 8,
        ..Limits::default()
    });
    let mut importer = Importer::new(&house);
    fn refused(importer: &mut Importer<'_>, destination: Destination<'_>) -> (Rv, String) {
        refusal(importer.begin(destination))
    }
    let serial = house.guest().token_info(SLOT).unwrap().serial_number;
    let (rv, reason) = refused(&mut importer, new_token("payments", Some(&serial)));
    assert_eq!(rv, Rv::ARGUMENTS_BAD);
    assert!(reason.contains(&serial), "{reason}");
    for wrong in ["", "01234567890123456", " 1", "ö"] {
        let (rv, reason) = refused(&mut importer, new_token("payments", Some(wrong)));
        assert_eq!(rv, Rv::ARGUMENTS_BAD);
        assert!(reason.contains("from 1 to 16 characters"), "{reason}");
    }
    assert_eq!(
        refused(&mut importer, new_token(&"l".repeat(33), None)).0,
        Rv::ARGUMENTS_BAD
    );
    let (rv, reason) = refused(
        &mut importer,
        Destination::NewToken {
            label: "payments",
            serial_number: None,
            so_pin: Secret::new(SO_PIN),
            user_pin: Some(Secret::new(b"1234")),
        },
    );
    assert_eq!(rv, Rv::PIN_LEN_RANGE);
    assert!(reason.contains("the user's PIN has 4 bytes"), "{reason}");
    assert!(reason.contains("limits.pin_bytes_min"), "{reason}");
    let nobody = Destination::Token {
        token: "nobody",
        user_pin: Secret::new(USER_PIN),
    };
    assert_eq!(refused(&mut importer, nobody).0, Rv::TOKEN_NOT_PRESENT);
    for source in ["two\nlines", &"s".repeat(257)] {
        let request = AdminRequest::ImportBegin {
            source,
            destination: there(USER_PIN),
            keep_history: false,
        };
        assert_eq!(refusal(importer.ask(&request)).0, Rv::ARGUMENTS_BAD);
        assert!(!house.audit_lines().pop().unwrap().contains("source"));
    }
    assert_eq!(house.service.imports.counts().0, 0);
}

#[test]
fn what_happens_meanwhile_to_the_token_or_its_names_is_found_at_the_commit() {
    let house = House::new();
    // Two with one serial number.
    let mut first = Importer::begun(&house, new_token("one", Some("S-1")));
    let mut second = Importer::begun(&house, new_token("two", Some("S-1")));
    // One whose slot somebody else takes: it gets the next one.
    let mut third = Importer::begun(&house, new_token("three", None));
    for importer in [&mut first, &mut second, &mut third] {
        importer.judged(&some_objects());
    }
    assert_eq!(first.committed().0.slot, 1);
    let (rv, reason) = refusal(second.commit());
    assert_eq!(rv, Rv::ARGUMENTS_BAD);
    assert!(reason.contains("S-1"), "{reason}");
    assert_eq!(house.guest().init_token(SlotId(2), SO_PIN), Rv::OK);
    assert_eq!(third.committed().0.slot, 3);
    let talk = house.guest().open_at(SlotId(3), READ_WRITE).unwrap();
    assert_eq!(talk.login(UserType::USER, USER_PIN), Rv::OK);
    signs(&talk);
    // A token that is initialised anew is another one, and a deleted one is none.
    let serial = house.guest().token_info(SLOT).unwrap().serial_number;
    let mut there_again = Importer::begun(
        &house,
        Destination::Token {
            token: &serial,
            user_pin: Secret::new(USER_PIN),
        },
    );
    there_again.judged(&some_objects());
    assert_eq!(house.guest().init_token(SLOT, SO_PIN), Rv::OK);
    assert_eq!(refusal(there_again.commit()).0, Rv::USER_NOT_LOGGED_IN);
    let mut deleted = Importer::begun(
        &house,
        Destination::Token {
            token: "one",
            user_pin: Secret::new(USER_PIN),
        },
    );
    deleted.judged(&some_objects());
    let delete = AdminRequest::TokenDelete { token: "one" };
    done(
        &house
            .service
            .administer(&deleted.who, &delete, None)
            .unwrap(),
    );
    assert_eq!(refusal(deleted.commit()).0, Rv::TOKEN_NOT_RECOGNIZED);
    sound(&house);
    sound(&house.restarted());
}

#[test]
fn every_bound_refuses_what_is_over_it_by_its_name_and_takes_none_of_it() {
    let house = House::with_limits(Limits {
        imports_max: 2,
        import_objects_max: 3,
        import_bytes_max: 1 << 20,
        token_objects_max: 4,
        ..Limits::default()
    });
    let secret = || vec![labelled(Shape::Secret, "brought")];
    let mut one = Importer::begun(&house, there(USER_PIN));
    let mut two = Importer::begun(&house, new_token("payments", None));
    let third = refusal(Importer::new(&house).begin(new_token("third", None)));
    assert!(third.1.contains("limits.imports_max"), "{}", third.1);
    assert!(matches!(
        one.bring_times(&secret(), 2),
        AdminAnswer::ImportJudged(_)
    ));
    let (rv, reason) = refusal(one.bring_times(&secret(), 2));
    assert_eq!(rv, Rv::DEVICE_MEMORY);
    assert!(
        reason.contains("limits.import_objects_max is 3, and with them it would be 4"),
        "{reason}"
    );
    let large = with(&created(Shape::Data), &[bytes(A::VALUE, &[1; 600 << 10])]);
    two.judged(std::slice::from_ref(&large));
    let (_, reason) = refusal(two.bring(&[large]));
    assert!(reason.contains("limits.import_bytes_max"), "{reason}");
    // What was refused as a whole was not taken; the import goes on.
    one.judged(&secret());
    assert_eq!(one.committed().1, 3);
    assert_eq!(two.committed().1, 1);
    let mut more = Importer::begun(&house, there(USER_PIN));
    let (rv, reason) = refusal(more.bring_times(&secret(), 2));
    assert_eq!(rv, Rv::DEVICE_MEMORY);
    assert!(reason.contains("limits.token_objects_max"), "{reason}");
    more.judged(&secret());
    // Somebody else takes the last room.
    let user = house.user();
    assert!(
        user.create(&with(&created(Shape::Secret), &[yes(A::TOKEN)]))
            .is_ok()
    );
    assert_eq!(refusal(more.commit()).0, Rv::DEVICE_MEMORY);
    assert_eq!(house.service.imports.counts(), (0, 2, 0, 0));
    sound(&house);
}
