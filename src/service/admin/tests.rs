//! *What lives here:* the tests of `admin.rs`: tokens and objects as the operator sees them. *What must never live here:* what several
//! tests share (`rig.rs`). *Who calls it:* the test runner.

use strongroom_wire::admin::VerifyPart;
use strongroom_wire::ck::{AttributeType as A, MechanismType as M, UserType};
use strongroom_wire::request::SlotId;
use strongroom_wire::secret::Secret;

use super::*;
use crate::attribute::samples::{SHAPES, class_and_type, created, p256};
use crate::attribute::table::Shape;
use crate::limits::Limits;
use crate::service::rig::*;

fn operator() -> Principal {
    Principal {
        uid: 0,
        gid: 0,
        pid: 1,
        executable: "/usr/bin/strongroom".into(),
        started: Some(77),
    }
}

fn ask(house: &House, request: &AdminRequest<'_>) -> AdminAnswer {
    house
        .service
        .administer(&operator(), request, None)
        .unwrap()
}

fn rehearse(act: Act) -> AdminRequest<'static> {
    AdminRequest::Rehearse {
        token: "a token",
        act,
    }
}

fn create(house: &House, label: &str, so_pin: &[u8], user_pin: Option<&[u8]>) -> AdminAnswer {
    let request = AdminRequest::TokenCreate {
        label,
        so_pin: Secret::new(so_pin),
        user_pin: user_pin.map(Secret::new),
    };
    ask(house, &request)
}

fn tokens(answer: AdminAnswer) -> Vec<TokenLine> {
    match answer {
        AdminAnswer::Tokens(tokens) => tokens.into_items(),
        other => panic!("no tokens but {other:?}"),
    }
}

fn objects(house: &House, token: &str) -> (Vec<ObjectLine>, u64) {
    match ask(house, &AdminRequest::ObjectList { token }) {
        AdminAnswer::Objects { objects, closed } => (objects.into_items(), closed),
        other => panic!("no objects but {other:?}"),
    }
}

fn refusal(answer: AdminAnswer) -> Rv {
    match answer {
        AdminAnswer::Refused { rv, reason } => {
            assert!(!reason.is_empty());
            rv
        }
        other => panic!("not refused but {other:?}"),
    }
}

#[test]
fn a_token_is_made_listed_used_and_deleted() {
    let house = House::empty(Limits::default());
    assert!(tokens(ask(&house, &AdminRequest::TokenList)).is_empty());
    let made = tokens(create(&house, "payments", SO_PIN, Some(USER_PIN)));
    let [line] = made.as_slice() else {
        panic!("{made:?}")
    };
    assert_eq!((line.slot, line.label.as_str()), (0, "payments"));
    assert!(line.user_pin_initialized && !line.user_pin_locked && !line.so_pin_locked);
    let talk = house.user();
    let line = &tokens(ask(&house, &AdminRequest::TokenList))[0];
    assert_eq!((line.sessions, line.objects, line.open), (1, 0, true));
    let delete = AdminRequest::TokenDelete { token: "payments" };
    assert_eq!(refusal(ask(&house, &delete)), Rv::SESSION_EXISTS);
    talk.guest.leave();
    assert!(matches!(ask(&house, &delete), AdminAnswer::Done));
    assert!(tokens(ask(&house, &AdminRequest::TokenList)).is_empty());
    assert_eq!(refusal(ask(&house, &delete)), Rv::TOKEN_NOT_PRESENT);
    assert_eq!(
        house.guest().slots(),
        [SlotId(1)],
        "its slot is not given to another"
    );
    assert_eq!(house.restarted().service.counts().tokens, 0);
}

#[test]
fn what_makes_no_token() {
    let house = House::empty(Limits::default());
    let long = "x".repeat(33);
    for (label, so_pin, user_pin, answer) in [
        (long.as_str(), SO_PIN, None, Rv::ARGUMENTS_BAD),
        ("label", b"abc".as_slice(), None, Rv::PIN_LEN_RANGE),
        ("label", SO_PIN, Some(b"abc".as_slice()), Rv::PIN_LEN_RANGE),
    ] {
        assert_eq!(refusal(create(&house, label, so_pin, user_pin)), answer);
    }
    assert_eq!(house.service.counts().tokens, 0);
    create(&house, &long[1..], SO_PIN, None);
    assert!(!tokens(ask(&house, &AdminRequest::TokenList))[0].user_pin_initialized);
}

/// What is in memory and what is in the store is the same, wherever the store fails.
#[test]
fn a_store_that_fails_makes_no_half_token() {
    for more in 0..6 {
        let house = House::new();
        house.store.fail_commit_after(more);
        let answer = create(&house, "second", SO_PIN, Some(USER_PIN));
        house.store.fail_commit_after(u64::MAX);
        let listed = tokens(ask(&house, &AdminRequest::TokenList)).len();
        let kept = tokens(ask(&house.restarted(), &AdminRequest::TokenList)).len();
        let wanted = if matches!(answer, AdminAnswer::Tokens(_)) {
            2
        } else {
            1
        };
        assert_eq!(
            (listed, kept),
            (wanted, wanted),
            "commit {more}: {answer:?}"
        );
    }
}

#[test]
fn a_token_that_could_not_be_deleted_goes_on() {
    let house = House::new();
    house.store.fail_commit_after(0);
    let delete = AdminRequest::TokenDelete { token: "a token" };
    assert_eq!(refusal(ask(&house, &delete)), Rv::DEVICE_ERROR);
    house.user().find(&[]);
}

#[test]
fn a_token_is_named_by_its_label_or_its_serial_number_if_that_is_one() {
    let house = House::new();
    house.make_token(SlotId(1));
    let lines = tokens(ask(&house, &AdminRequest::TokenList));
    let list = |token| ask(&house, &AdminRequest::ObjectList { token });
    assert_eq!(
        refusal(list("a token")),
        Rv::ARGUMENTS_BAD,
        "there are two of that label"
    );
    assert_eq!(refusal(list("another")), Rv::TOKEN_NOT_PRESENT);
    for line in &lines {
        assert!(matches!(
            list(&line.serial_number),
            AdminAnswer::Objects { .. }
        ));
    }
}

#[test]
fn objects_are_listed_in_short() {
    let house = House::new();
    let talk = house.user();
    let named = [yes(A::TOKEN), bytes(A::LABEL, b"k")];
    for shape in SHAPES {
        let id = (shape == Shape::Secret).then(|| bytes(A::ID, &[0xab, 1]));
        let template = with(&created(shape), &named);
        talk.create(&[template, id.into_iter().collect()].concat())
            .unwrap();
    }
    let (lines, closed) = objects(&house, "a token");
    assert_eq!((lines.len(), closed), (SHAPES.len(), 0));
    for (line, shape) in lines.iter().zip(SHAPES) {
        let bits = match shape {
            Shape::RsaPublic | Shape::RsaPrivate => Some(2048),
            Shape::CurvePublic | Shape::EcPrivate | Shape::Secret => Some(256),
            Shape::DesSecret => Some(192),
            Shape::DsaPublic | Shape::DsaPrivate | Shape::DsaParameters | Shape::DhParameters => {
                Some(1024)
            }
            Shape::DhPublic | Shape::DhPrivate => Some(2048),
            _ => None,
        };
        assert_eq!(line.bits, bits, "{shape:?}");
        assert_eq!(line.label, "k");
        assert!(line.class.starts_with("CKO_") && line.unique_id.len() == 32);
        assert!(line.flags.contains(&"token".to_owned()));
        assert_eq!(
            line.flags.contains(&"sensitive".to_owned()),
            shape.is_secret_holder()
        );
    }
    assert_eq!(lines[0].id, "", "data objects have none");
    assert_eq!(lines[10].id, "ab01");
    let (lines, closed) = objects(&house.restarted(), "a token");
    assert!(closed > 0 && lines.len() + usize::try_from(closed).unwrap() == SHAPES.len());
}

#[test]
fn one_object_is_shown_with_all_but_its_secrets() {
    let house = House::new();
    let talk = house.user();
    let value = [0x5e; 32];
    let open = [
        yes(A::TOKEN),
        no(A::SENSITIVE),
        yes(A::EXTRACTABLE),
        bytes(A::LABEL, b"open"),
        bytes(A::VALUE, &value),
    ];
    let key = talk.create(&with(&created(Shape::Secret), &open)).unwrap();
    let named = [
        yes(A::TOKEN),
        bytes(A::LABEL, b"pair"),
        bytes(A::ID, &[0xab]),
    ];
    let (_, private) = talk
        .pair(
            M::EC_KEY_PAIR_GEN,
            &with(&named, &[p256(), bytes(A::LABEL, b"")]),
            &named,
        )
        .unwrap();
    let limited = [
        mechanisms(&[M::AES_ECB]),
        inner(A::WRAP_TEMPLATE, &[yes(A::SENSITIVE)]),
        bytes(A::LABEL, b"limited"),
    ];
    talk.create(&with(
        &created(Shape::Secret),
        &with(&[yes(A::TOKEN)], &limited),
    ))
    .unwrap();
    let show = |object: &str| {
        ask(
            &house,
            &AdminRequest::ObjectShow {
                token: "a token",
                object,
            },
        )
    };
    let attributes = |object: &str| match show(object) {
        AdminAnswer::Object { attributes, .. } => attributes.into_items(),
        other => panic!("no object but {other:?}"),
    };
    let says = |object: &str, name: &str| {
        let attributes = attributes(object);
        attributes
            .into_iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    };
    let unique = String::from_utf8(talk.read(key, A::UNIQUE_ID).unwrap()).unwrap();
    for name in ["open", unique.as_str()] {
        assert_eq!(says(name, "CKA_KEY_TYPE").as_deref(), Some("CKK_AES"));
        assert_eq!(says(name, "CKA_CLASS").as_deref(), Some("CKO_SECRET_KEY"));
        assert_eq!(
            says(name, "CKA_VALUE"),
            None,
            "even where an application could read it"
        );
        assert!(!format!("{:?}", show(name)).contains("5e5e"));
    }
    assert_eq!(says("pair", "CKA_VALUE").as_deref(), Some("(sensitive)"));
    assert_eq!(
        says("pair", "CKA_KEY_GEN_MECHANISM").as_deref(),
        Some("CKM_EC_KEY_PAIR_GEN")
    );
    assert_eq!(
        says("limited", "CKA_KEY_GEN_MECHANISM").as_deref(),
        Some("none")
    );
    assert_eq!(
        says("limited", "CKA_ALLOWED_MECHANISMS").as_deref(),
        Some("CKM_AES_ECB")
    );
    assert_eq!(
        says("limited", "CKA_WRAP_TEMPLATE").as_deref(),
        Some("CKA_SENSITIVE=true")
    );
    assert_eq!(
        refusal(show("ab")),
        Rv::ARGUMENTS_BAD,
        "two keys of one pair"
    );
    assert_eq!(talk.destroy(private), Rv::OK);
    assert!(
        matches!(show("AB"), AdminAnswer::Object { .. }),
        "digits in either case"
    );
    assert_eq!(refusal(show("nothing")), Rv::OBJECT_HANDLE_INVALID);
}

#[test]
fn every_request_of_the_administration_is_recorded_once_without_its_pins() {
    let house = House::new();
    talk_once(&house);
    let (so_pin, user_pin) = (Secret::new(SO_PIN), Some(Secret::new(USER_PIN)));
    for (request, name) in [
        (AdminRequest::Status, "admin.status"),
        (AdminRequest::TokenList, "admin.token_list"),
        (
            AdminRequest::TokenCreate {
                label: "made",
                so_pin,
                user_pin,
            },
            "admin.token_create",
        ),
        (
            AdminRequest::ObjectList { token: "made" },
            "admin.object_list",
        ),
        (
            AdminRequest::ObjectShow {
                token: "made",
                object: "x",
            },
            "admin.object_show",
        ),
        (
            AdminRequest::TokenDelete { token: "made" },
            "admin.token_delete",
        ),
        (AdminRequest::AuditTail { lines: 1 }, "admin.audit_tail"),
        (AdminRequest::AuditVerify, "admin.audit_verify"),
        (AdminRequest::Reload, "admin.reload"),
        (AdminRequest::Stop, "admin.stop"),
        (
            AdminRequest::Verify {
                part: VerifyPart::Journal,
            },
            "admin.verify",
        ),
        (AdminRequest::Limits, "admin.limits"),
        (rehearse(Act::Show), "admin.rehearsal"),
        (rehearse(Act::Begin(Box::default())), "admin.rehearse"),
    ] {
        let before = house.audit_lines().len();
        let answer = ask(&house, &request);
        let lines = house.audit_lines();
        assert_eq!(lines.len(), before + 1, "{name}");
        assert!(
            lines[before].contains(&format!(r#""function":"{name}""#)),
            "{}",
            lines[before]
        );
        let shown = format!("{request:?} {answer:?} {}", lines[before]);
        for pin in [SO_PIN, USER_PIN] {
            assert!(
                !shown.contains(std::str::from_utf8(pin).unwrap()),
                "{shown}"
            );
        }
        let by_daemon = matches!(
            request,
            AdminRequest::Status | AdminRequest::Reload | AdminRequest::Stop | AdminRequest::Limits
        );
        if by_daemon {
            assert_eq!(refusal(answer), Rv::GENERAL_ERROR);
            let answered = Some(AdminAnswer::Done);
            let passed = house
                .service
                .administer(&operator(), &request, answered)
                .unwrap();
            assert!(matches!(passed, AdminAnswer::Done));
        }
    }
    house.journal.fail_next_append();
    let unrecorded = house
        .service
        .administer(&operator(), &AdminRequest::TokenList, None);
    assert_eq!(unrecorded.map(|_| ()), Err(Malformed));
}

fn talk_once(house: &std::sync::Arc<House>) {
    let talk = house.guest().open(READ_WRITE).unwrap();
    talk.login(UserType::USER, USER_PIN);
    talk.create(&class_and_type(Shape::Data)).unwrap();
}

#[test]
fn the_journal_is_shown_and_its_chain_is_checked() {
    let house = House::new();
    let lines = match ask(&house, &AdminRequest::AuditTail { lines: 2 }) {
        AdminAnswer::Lines(lines) => lines.into_items(),
        other => panic!("no lines but {other:?}"),
    };
    assert_eq!(lines.len(), 2);
    let all = house.audit_lines().len();
    match ask(&house, &AdminRequest::AuditVerify) {
        AdminAnswer::Audit(report) => {
            assert_eq!(report.lines, all as u64);
            assert!(report.broken.is_none());
        }
        other => panic!("no report but {other:?}"),
    }
}

#[test]
fn a_check_goes_through_all_parts_and_says_what_it_could_not_open() {
    let house = House::new();
    talk_once(&house);
    let mut private = class_and_type(Shape::Data);
    private.extend([A::TOKEN, A::PRIVATE].map(|kind| (kind, crate::attribute::Value::Flag(true))));
    house.user().create(&private).unwrap();
    let verified =
        |house: &std::sync::Arc<House>, part| match ask(house, &AdminRequest::Verify { part }) {
            AdminAnswer::Verified(verified) => verified,
            other => panic!("no report but {other:?}"),
        };
    let whole = |house: &std::sync::Arc<House>| {
        let mut all = verified(house, VerifyPart::Vault);
        for token in all.tokens.clone() {
            all.add(verified(house, VerifyPart::Token(token)));
        }
        assert_eq!(all.generation, house.service.vault.generation().get());
        all.add(verified(house, VerifyPart::Journal));
        all
    };
    let open = whole(&house);
    assert_eq!((&open.findings, open.closed), (&Vec::new(), 0));
    assert_eq!(open.opened, open.records);
    assert!(
        open.report().ends_with("nothing is wrong"),
        "{}",
        open.report()
    );
    // After a restart nobody has logged in: what is private stays closed, and that is said.
    let closed = whole(&house.restarted());
    assert_eq!(closed.findings, Vec::<String>::new());
    assert!(closed.closed > 0);
    assert!(
        closed.report().contains("not opened"),
        "{}",
        closed.report()
    );
    // A journal that has seen more than the store has.
    let ahead = crate::service::verify::of_journal(&*house.journal, Some(1));
    assert!(ahead.findings[0].contains("earlier state"), "{ahead:?}");
}
