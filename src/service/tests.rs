//! *What lives here:* the tests of the front desk: every request is answered and recorded once. *What must never live here:* what
//! several tests share (`rig.rs`). *Who calls it:* the test runner.

use std::collections::BTreeSet;

use strongroom_wire::ck::{AttributeType as A, MechanismType as M, Rv, SessionState, UserType};
use strongroom_wire::codec::{List, encode};
use strongroom_wire::request::{
    Attribute, Dual, FlatAttribute, KeyRelease, Mechanism, ObjectHandle, Output, Parameter,
    SessionHandle, SlotId, Template, Value,
};
use strongroom_wire::response::Body;
use strongroom_wire::secret::Secret;

use super::rig::*;
use super::*;
use crate::attribute::samples::{class_and_type, created, p256};
use crate::attribute::table::Shape;
use crate::chapter::AttributeReply;
use crate::ports::Time;
use crate::vault::VaultError;

/// What must never be seen outside: it is in every secret field of every request.
const SECRET: &[u8] = b"SECRETSECRETSECR";

fn secret() -> Secret<'static> {
    Secret::new(SECRET)
}

fn template() -> Template<'static> {
    let flat = |kind, bytes| FlatAttribute {
        kind,
        value: Secret::new(bytes),
    };
    let bytes = |kind, bytes| Attribute {
        kind,
        value: Value::Bytes(Secret::new(bytes)),
    };
    let inner = List::new(vec![flat(A::LABEL, SECRET)]).unwrap();
    let array = Attribute {
        kind: A::UNWRAP_TEMPLATE,
        value: Value::Template(inner),
    };
    List::new(vec![
        bytes(A::LABEL, SECRET),
        bytes(A::VALUE, SECRET),
        array,
    ])
    .unwrap()
}

/// One of every request with its name, in the order of the protocol.
#[rustfmt::skip]
pub(super) fn every_request(session: SessionHandle, object: ObjectHandle) -> Vec<(Request<'static>, &'static str)> {
    use Request as R;
    let aes = || plain(M::AES_ECB);
    let (mechanism, output, template) = (|| Some(aes()), Output::Capacity(64), template);
    let (data, part, pin) = (secret(), secret(), secret());
    let (key, wrapped, signature): (_, &[u8], &[u8]) = (object, SECRET, SECRET);
    let kinds = List::new(vec![A::LABEL]).unwrap();
    vec![
        (R::Hello { instance: [1; 16], shared_memory: false }, "hello"),
        (R::SlotList, "C_GetSlotList"),
        (R::SlotInfo { slot: SLOT }, "C_GetSlotInfo"),
        (R::TokenInfo { slot: SLOT }, "C_GetTokenInfo"),
        (R::Mechanisms { slot: SLOT }, "C_GetMechanismList"),
        (R::InitToken { slot: SLOT, pin, label: LABEL }, "C_InitToken"),
        (R::InitPin { session, pin }, "C_InitPIN"),
        (R::SetPin { session, old: pin, new: pin }, "C_SetPIN"),
        (R::OpenSession { slot: SLOT, flags: READ_WRITE, session: SessionHandle(u64::MAX) }, "C_OpenSession"),
        (R::SessionInfo { session }, "C_GetSessionInfo"),
        (R::SessionCancel { session, flags: 0 }, "C_SessionCancel"),
        (R::Login { session, user: UserType::SO, pin }, "C_Login"),
        (R::LoginUser { session, user: UserType::USER, pin, username: b"" }, "C_LoginUser"),
        (R::CreateObject { session, template: template() }, "C_CreateObject"),
        (R::CopyObject { session, object, template: template() }, "C_CopyObject"),
        (R::ObjectSize { session, object }, "C_GetObjectSize"),
        (R::AttributeValue { session, object, kinds }, "C_GetAttributeValue"),
        (R::SetAttributeValue { session, object, template: template() }, "C_SetAttributeValue"),
        (R::FindObjectsInit { session, template: template() }, "C_FindObjectsInit"),
        (R::FindObjects { session, max: 1 }, "C_FindObjects"),
        (R::FindObjectsFinal { session }, "C_FindObjectsFinal"),
        (R::EncryptInit { session, mechanism: mechanism(), key }, "C_EncryptInit"),
        (R::Encrypt { session, data, output }, "C_Encrypt"),
        (R::EncryptUpdate { session, part, output }, "C_EncryptUpdate"),
        (R::EncryptFinal { session, output }, "C_EncryptFinal"),
        (R::DecryptInit { session, mechanism: mechanism(), key }, "C_DecryptInit"),
        (R::Decrypt { session, data, output }, "C_Decrypt"),
        (R::DecryptUpdate { session, part, output }, "C_DecryptUpdate"),
        (R::DecryptFinal { session, output }, "C_DecryptFinal"),
        (R::DigestInit { session, mechanism: Some(plain(M::SHA256)) }, "C_DigestInit"),
        (R::Digest { session, data, output }, "C_Digest"),
        (R::DigestUpdate { session, part }, "C_DigestUpdate"),
        (R::DigestKey { session, key }, "C_DigestKey"),
        (R::DigestFinal { session, output }, "C_DigestFinal"),
        (R::SignInit { session, mechanism: mechanism(), key }, "C_SignInit"),
        (R::Sign { session, data, output }, "C_Sign"),
        (R::SignUpdate { session, part }, "C_SignUpdate"),
        (R::SignFinal { session, output }, "C_SignFinal"),
        (R::SignRecoverInit { session, mechanism: mechanism(), key }, "C_SignRecoverInit"),
        (R::SignRecover { session, data, output }, "C_SignRecover"),
        (R::VerifyInit { session, mechanism: mechanism(), key }, "C_VerifyInit"),
        (R::Verify { session, data, signature }, "C_Verify"),
        (R::VerifyUpdate { session, part }, "C_VerifyUpdate"),
        (R::VerifyFinal { session, signature }, "C_VerifyFinal"),
        (R::VerifyRecoverInit { session, mechanism: mechanism(), key }, "C_VerifyRecoverInit"),
        (R::VerifyRecover { session, signature, output }, "C_VerifyRecover"),
        (R::GenerateKey { session, mechanism: aes(), template: template() }, "C_GenerateKey"),
        (R::GenerateKeyPair { session, mechanism: aes(), public: template(), private: template() }, "C_GenerateKeyPair"),
        (R::WrapKey { session, mechanism: aes(), wrapping_key: key, key, output }, "C_WrapKey"),
        (R::UnwrapKey { session, mechanism: aes(), unwrapping_key: key, wrapped, template: template() }, "C_UnwrapKey"),
        (R::DeriveKey { session, mechanism: aes(), base_key: key, template: template() }, "C_DeriveKey"),
        (R::DualUpdate { session, dual: Dual::DigestEncrypt, part, output }, "C_DigestEncryptUpdate"),
        (R::VerifySignatureInit { session, mechanism: mechanism(), key, signature }, "C_VerifySignatureInit"),
        (R::VerifySignature { session, data }, "C_VerifySignature"),
        (R::VerifySignatureUpdate { session, part }, "C_VerifySignatureUpdate"),
        (R::VerifySignatureFinal { session }, "C_VerifySignatureFinal"),
        (R::SeedRandom { session, seed: secret() }, "C_SeedRandom"),
        (R::GenerateRandom { session, bytes: 16 }, "C_GenerateRandom"),
        (R::SignOnce { session, mechanism: aes(), key, data, output }, "C_Sign"),
        (R::VerifyOnce { session, mechanism: aes(), key, data, signature }, "C_Verify"),
        (R::EncryptOnce { session, mechanism: aes(), key, data, output }, "C_Encrypt"),
        (R::DecryptOnce { session, mechanism: aes(), key, data, output }, "C_Decrypt"),
        (R::RestoreLogin { session, ticket: data }, "login.restored"),
        (R::ReleaseKey { session, key, release: KeyRelease { statement: b"s", nonce: None, encryption: None, versioned: false } }, "key.release"),
        (R::WrapKeyAuthenticated { session, mechanism: aes(), wrapping_key: key, key, associated: b"a", output }, "C_WrapKeyAuthenticated"),
        (R::UnwrapKeyAuthenticated { session, mechanism: aes(), unwrapping_key: key, wrapped, template: template(), associated: b"a" }, "C_UnwrapKeyAuthenticated"),
        // These end things, so they come last.
        (R::DestroyObject { session, object }, "C_DestroyObject"),
        (R::Logout { session }, "C_Logout"),
        (R::CloseSession { session }, "C_CloseSession"),
        (R::CloseAllSessions { slot: SLOT }, "C_CloseAllSessions"),
        (R::Goodbye, "C_Finalize"),
    ]
}

/// The number by which a request travels.
fn wire_number(request: &Request<'_>) -> u8 {
    let mut bytes = Vec::new();
    encode(request, &mut bytes).unwrap();
    bytes[0]
}

fn member<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let start = line.find(&format!("\"{name}\":"))? + name.len() + 3;
    let rest = &line[start..];
    let end = rest.find([',', '}'])?;
    Some(rest[..end].trim_matches('"'))
}

#[test]
fn every_request_leaves_one_line_with_its_name_and_none_of_its_secrets() {
    let house = House::new();
    let talk = house.user();
    let key = talk.create(&created(Shape::Secret)).unwrap();
    let requests = every_request(talk.session, key);
    let walked: BTreeSet<u8> = requests
        .iter()
        .map(|(request, _)| wire_number(request))
        .collect();
    let all = u8::try_from(requests.len()).unwrap();
    assert_eq!(walked, (0..all).collect(), "every request once");
    let beyond = [&[all][..], &[0; 64]].concat();
    for length in 1..beyond.len() {
        assert!(
            codec::decode::<Request<'_>>(&beyond[..length]).is_err(),
            "there is one more"
        );
    }
    for (request, name) in &requests {
        let before = house.audit_lines().len();
        let told = talk.ask(request);
        let lines = house.audit_lines();
        assert_eq!(lines.len(), before + 1, "{name}");
        let line = &lines[before];
        assert_eq!(member(line, "function"), Some(*name), "{line}");
        assert_eq!(
            member(line, "rv"),
            Some(told.rv().to_string().as_str()),
            "{line}"
        );
        let session = event::Facts::of(request)
            .session
            .map(|session| session.0.to_string());
        assert_eq!(
            member(line, "session").map(str::to_owned),
            session,
            "{line}"
        );
        let hexadecimal: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = "83, 69, 67, 82";
        for text in [line.as_str(), &format!("{:?}", Shown(request))] {
            assert!(
                !text.contains("SECRET") && !text.contains(&hexadecimal) && !text.contains(list),
                "{text}"
            );
        }
    }
    let report = crate::audit::verify(&*house.journal).unwrap();
    assert!(report.broken.is_none());
}

/// A request as it would be printed, but for fields that are public on the wire: a signature and a wrapped key.
struct Shown<'r>(&'r Request<'static>);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Request::Verify { .. }
            | Request::VerifyOnce { .. }
            | Request::VerifySignatureInit { .. }
            | Request::VerifyFinal { .. }
            | Request::VerifyRecover { .. }
            | Request::UnwrapKey { .. }
            | Request::UnwrapKeyAuthenticated { .. } => Ok(()),
            other => other.fmt(out),
        }
    }
}

#[test]
fn a_line_names_the_object_by_what_outlives_its_handle() {
    let house = House::new();
    let talk = house.user();
    let key = talk.create(&created(Shape::Secret)).unwrap();
    let unique = String::from_utf8(talk.read(key, A::UNIQUE_ID).unwrap()).unwrap();
    let last = || house.audit_lines().pop().unwrap();
    assert_eq!(talk.set(key, &[bytes(A::LABEL, b"x")]), Rv::OK);
    assert_eq!(member(&last(), "object_id"), Some(unique.as_str()));
    assert_eq!(talk.destroy(key), Rv::OK);
    assert_eq!(member(&last(), "object_id"), Some(unique.as_str()));
    let (_, private) = talk.pair(M::EC_KEY_PAIR_GEN, &[p256()], &[]).unwrap();
    assert_eq!(
        member(&last(), "object"),
        Some(private.to_string().as_str())
    );
    assert_eq!(member(&last(), "mechanism"), Some("CKM_EC_KEY_PAIR_GEN"));
    assert_eq!(member(&last(), "uid"), Some("1000"));
}

#[test]
fn less_is_recorded_where_the_operator_wants_less() {
    let house = House::new();
    let talk = house.user();
    for (level, wanted) in [
        (
            Level::All,
            ["C_GetSessionInfo", "C_CreateObject"].as_slice(),
        ),
        (Level::Management, &["C_CreateObject"]),
        (Level::None, &[]),
        (Level::All, &["C_GetSessionInfo", "C_CreateObject"]),
    ] {
        let settings = Settings {
            audit_level: level,
            ..settings(Limits::default())
        };
        house.service.apply(settings).unwrap();
        let before = house.audit_lines().len();
        talk.info().unwrap();
        talk.create(&class_and_type(Shape::Data)).unwrap();
        let lines = house.audit_lines();
        let names: Vec<_> = lines[before..]
            .iter()
            .map(|line| member(line, "function").unwrap())
            .collect();
        assert_eq!(names, wanted, "{level}");
    }
    assert!(
        crate::audit::verify(&*house.journal)
            .unwrap()
            .broken
            .is_none()
    );
}

#[test]
fn what_cannot_be_recorded_is_not_answered() {
    let house = House::new();
    let talk = house.user();
    let mut sent = Vec::new();
    let (session, bytes) = (talk.session, 16);
    encode(&Request::GenerateRandom { session, bytes }, &mut sent).unwrap();
    house.journal.fail_next_append();
    let mut out = SecretVec::new();
    let answered = house
        .service
        .answer(&talk.guest.application, &sent, &mut out);
    assert_eq!(answered, Err(Malformed));
    assert!(out.is_empty());
    house
        .service
        .answer(&talk.guest.application, &sent, &mut out)
        .unwrap();
}

#[test]
fn what_is_no_request_is_not_answered() {
    let house = House::new();
    let guest = house.guest();
    let mut out = SecretVec::new();
    let mut good = Vec::new();
    encode(&Request::SlotInfo { slot: SLOT }, &mut good).unwrap();
    let trailing = [&good[..], &[0]].concat();
    let lines = house.audit_lines().len();
    for wrong in [&b""[..], &[255; 8], &good[..good.len() - 1], &trailing] {
        let answered = house.service.answer(&guest.application, wrong, &mut out);
        assert_eq!(answered, Err(Malformed));
    }
    assert!(out.is_empty());
    assert_eq!(house.audit_lines().len(), lines);
    let principal = guest.application.principal.clone();
    for wrong in [&good[..], b"", &[0]] {
        let greeted = house.service.greet(principal.clone(), wrong, &mut out);
        assert!(greeted.is_err(), "only a hello begins a connection");
    }
    assert_eq!(house.service.counts().applications, 1);
}

#[test]
fn an_unknown_session_is_refused_before_anything_else_is_looked_at() {
    let house = House::new();
    let talk = house.user();
    let key = talk.create(&created(Shape::Secret)).unwrap();
    for unknown in [SessionHandle(0), SessionHandle(talk.session.0 + 1)] {
        for (request, name) in every_request(unknown, key) {
            if request.session().is_some() {
                assert_eq!(talk.rv(&request), Rv::SESSION_HANDLE_INVALID, "{name}");
            }
        }
    }
}

#[test]
fn counts_follow_what_there_is() {
    let house = House::new();
    let before = house.service.counts();
    assert_eq!(
        (
            before.applications,
            before.sessions,
            before.tokens,
            before.objects
        ),
        (0, 0, 1, 0)
    );
    let talk = house.user();
    talk.create(&with(&created(Shape::Secret), &[yes(A::TOKEN)]))
        .unwrap();
    talk.create(&created(Shape::Secret)).unwrap();
    let counts = house.service.counts();
    assert_eq!(
        (counts.applications, counts.sessions, counts.objects),
        (1, 1, 1)
    );
    assert_eq!(counts.requests, before.requests + 4);
}

#[test]
fn new_limits_count_for_what_is_opened_next() {
    let house = House::new();
    let talk = house.user();
    let limits = Limits {
        sessions_max: 1,
        ..Limits::default()
    };
    house.service.apply(settings(limits)).unwrap();
    assert_eq!(
        house.guest().open(READ_WRITE).err(),
        Some(Rv::SESSION_COUNT)
    );
    talk.info().unwrap();
}

#[test]
fn a_wrong_root_key_and_a_torn_journal_open_nothing() {
    let house = House::new();
    let ports = |journal: &Arc<crate::ports::MemoryJournal>| Ports {
        store: Arc::new(house.store.duplicate()),
        journal: journal.clone(),
        clock: house.clock.clone(),
        changes: house.changes.clone(),
        measurer: house.measurer.clone(),
    };
    let open = |ports, root| {
        let root = SecretBytes::copy_from(&[root; 32]).unwrap();
        Service::open(ports, root, settings(Limits::default())).map(|_| ())
    };
    open(ports(&house.journal), 7).unwrap();
    let wrong = open(ports(&house.journal), 8).unwrap_err();
    assert!(
        matches!(wrong, StartError::Vault(VaultError::WrongRootKey)),
        "{wrong}"
    );
    let mut lines = house.journal.lines();
    let last = lines.last_mut().unwrap();
    let place = last.len() - 10;
    // Another digit, and a digit still: anything else would be a torn line, which is recovered.
    last[place] = if last[place] == b'0' { b'1' } else { b'0' };
    let forged = Arc::new(crate::ports::MemoryJournal::with_lines(lines));
    let refused = open(ports(&forged), 7).unwrap_err();
    assert!(matches!(refused, StartError::Journal(_)), "{refused}");
}

#[test]
fn the_date_of_a_line_is_the_clocks() {
    let house = House::new();
    house.clock.turn_to(Time(NOW.0 + 86_400_000));
    house.user();
    let line = house.audit_lines().pop().unwrap();
    assert!(
        line.contains(r#""time":"2026-11-23T10:36:47.123Z""#),
        "{line}"
    );
}

#[test]
fn replies_show_no_secret_when_they_are_printed() {
    start();
    let locked = || {
        let mut bytes = SecretVec::new();
        bytes.push_slice(SECRET).unwrap();
        bytes
    };
    for reply in [
        Reply::Output {
            length: 16,
            data: Some(locked()),
        },
        Reply::Attributes(vec![AttributeReply::Secret(locked())]),
    ] {
        let shown = format!("{reply:?}");
        assert!(
            !shown.contains("SECRET") && !shown.contains("83, 69"),
            "{shown}"
        );
    }
    let house = House::new();
    let talk = house.user();
    let session = talk.guest.application.session(talk.session).unwrap();
    let shown = format!(
        "{:?} {:?} {:?}",
        house.service, talk.guest.application, session
    );
    for pin in [SO_PIN, USER_PIN] {
        assert!(!shown.contains(std::str::from_utf8(pin).unwrap()));
    }
}

/// As a web server does it for years: sessions come and go, each tries to log in.
#[test]
fn a_busy_application_leaves_nothing_behind() {
    let house = House::new();
    let talk = house.user();
    for _ in 0..50 {
        let session = talk.guest.open(READ_ONLY).unwrap();
        assert_eq!(
            session.login(UserType::USER, USER_PIN),
            Rv::USER_ALREADY_LOGGED_IN
        );
        session.create(&created(Shape::Secret)).unwrap();
        assert_eq!(
            session.info().unwrap().state,
            SessionState::RO_USER_FUNCTIONS
        );
        assert_eq!(session.close(), Rv::OK);
    }
    assert_eq!(talk.find(&[]), []);
    assert_eq!(house.service.counts().sessions, 1);
}

#[test]
fn a_parameter_that_the_module_could_not_read_is_refused() {
    let talk = House::new().user();
    let key = talk.create(&created(Shape::Secret)).unwrap();
    for kind in [M::AES_CBC, M::AES_GCM, M::AES_CTR, M::AES_ECB] {
        let parameter = Parameter::Malformed;
        let outcome = talk.encrypt(Mechanism { kind, parameter }, key, b"x");
        assert_eq!(outcome, Err(Rv::MECHANISM_PARAM_INVALID), "{kind}");
    }
}

#[test]
fn what_changes_what_applications_may_keep_is_counted_before_its_answer_and_nothing_else_is() {
    let house = House::new();
    let talk = house.user();
    let label = |text: &str| {
        (
            A::LABEL,
            crate::attribute::Value::Bytes(text.as_bytes().into()),
        )
    };
    let token = |on| (A::TOKEN, crate::attribute::Value::Flag(on));
    let with = |on| {
        let mut template = created(Shape::Secret);
        template.retain(|(kind, _)| *kind != A::TOKEN);
        template.push(token(on));
        template
    };
    let counts = |what: &str, wanted: u64, act: &mut dyn FnMut()| {
        let before = house.changes.counted();
        act();
        assert_eq!(house.changes.counted() - before, wanted, "{what}");
    };
    let mut kept = ObjectHandle(0);
    let mut passing = ObjectHandle(0);
    counts("create", 0, &mut || {
        kept = talk.create(&with(true)).unwrap()
    });
    counts("create for the session", 0, &mut || {
        passing = talk.create(&with(false)).unwrap();
    });
    counts("change of a session object", 0, &mut || {
        assert_eq!(talk.set(passing, &[label("a")]), Rv::OK);
    });
    counts("change", 1, &mut || {
        assert_eq!(talk.set(kept, &[label("a")]), Rv::OK);
    });
    counts("end of a session object", 0, &mut || {
        assert_eq!(talk.destroy(passing), Rv::OK);
    });
    counts("end", 1, &mut || assert_eq!(talk.destroy(kept), Rv::OK));
    counts("login", 0, &mut || assert_eq!(talk.logout(), Rv::OK));
    counts("new token", 1, &mut || {
        assert_eq!(house.guest().init_token(SlotId(1), SO_PIN), Rv::OK);
    });
    counts("settings", 1, &mut || {
        house.service.apply(settings(Limits::default())).unwrap();
    });
}

/// Requests that do two things at once come to what the two do one after the other.
#[test]
fn init_and_operation_in_one() {
    let house = House::new();
    let talk = house.user();
    let session = talk.session;
    let key = talk
        .generate(
            M::GENERIC_SECRET_KEY_GEN,
            &[
                (A::VALUE_LEN, crate::attribute::Value::Number(32)),
                (A::SIGN, crate::attribute::Value::Flag(true)),
                (A::VERIFY, crate::attribute::Value::Flag(true)),
            ],
        )
        .unwrap();
    let mechanism = || plain(M::SHA256_HMAC);
    let data = secret();
    let sign = |output| {
        talk.ask(&Request::SignOnce {
            session,
            mechanism: mechanism(),
            key,
            data,
            output,
        })
    };
    let mac = sign(Output::Capacity(32));
    let Body::Output { data: mac, .. } = mac.body() else {
        panic!("no MAC")
    };
    let mac = mac.expose().to_vec();
    let verify = |signature: &[u8]| {
        talk.rv(&Request::VerifyOnce {
            session,
            mechanism: mechanism(),
            key,
            data,
            signature,
        })
    };
    assert_eq!(verify(&mac), Rv::OK);
    assert_eq!(verify(&[0; 32]), Rv::SIGNATURE_INVALID);
    assert_eq!(verify(&mac), Rv::OK, "an operation that failed has ended");

    let alone = |output| {
        talk.rv(&Request::Sign {
            session,
            data,
            output,
        })
    };
    // As after C_Sign, a size or a short buffer leaves the operation active.
    for (output, rv) in [
        (Output::Size, Rv::OK),
        (Output::Capacity(31), Rv::BUFFER_TOO_SMALL),
    ] {
        assert_eq!(alone(output), Rv::OPERATION_NOT_INITIALIZED);
        assert_eq!(sign(output).rv(), rv);
        assert_eq!(sign(output).rv(), Rv::OPERATION_ACTIVE);
        assert_eq!(alone(Output::Capacity(32)), Rv::OK);
    }
    let refused = talk.rv(&Request::SignOnce {
        session,
        mechanism: mechanism(),
        key: ObjectHandle(77),
        data,
        output: Output::Size,
    });
    assert_eq!(refused, Rv::KEY_HANDLE_INVALID);
    assert_eq!(alone(Output::Size), Rv::OPERATION_NOT_INITIALIZED);
}

#[test]
fn a_session_handle_is_chosen_by_the_client_and_only_once() {
    let house = House::new();
    let guest = house.guest();
    let open = |session| {
        guest.rv(&Request::OpenSession {
            slot: SLOT,
            flags: READ_WRITE,
            session: SessionHandle(session),
        })
    };
    assert_eq!(open(9), Rv::OK);
    assert_eq!(open(9), Rv::ARGUMENTS_BAD);
    assert_eq!(open(0), Rv::ARGUMENTS_BAD);
    // Another application has numbers of its own.
    let other = house.guest();
    let same = other.rv(&Request::OpenSession {
        slot: SLOT,
        flags: READ_WRITE,
        session: SessionHandle(9),
    });
    assert_eq!(same, Rv::OK);
}
