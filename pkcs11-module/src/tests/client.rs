//! Tests of the client, through the entries, against a scripted daemon.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a script answers the few requests that it is about"
)]

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use strongroom_wire::ck::{MechanismType, Rv};
use strongroom_wire::codec::List;
use strongroom_wire::paths;
use strongroom_wire::request::{ObjectHandle, Output, Request, SessionHandle, SlotId};
use strongroom_wire::response::{Body, MechanismEntry, SlotEntry};
use strongroom_wire::secret::Secret;

use super::*;
use crate::abi::{Alleged, In, Mechanism, Out, WrapPlaces};
use crate::entry::keys::{self, WrapOut};
use crate::entry::{digest, general, objects, once, random, sessions, sign, slots};
use crate::fake::{Action, Fake, answer, directory, plain};
use crate::locate::Environment;
use crate::prefetched::RUN_BYTES_MAX;
use crate::process::Instance;

const SESSION: SessionHandle = SessionHandle(1);

/// An instance of the module that knows one socket and starts no daemon.
fn instance_at(socket: &Path) -> Instance {
    let config = directory().join("strongroom.toml");
    std::fs::write(&config, "reconnect_seconds = 0\n").unwrap();
    let environment = Environment::of(&|name| match name {
        paths::ENV_SOCKET => Some(socket.as_os_str().to_owned()),
        paths::ENV_CONFIG => Some(config.clone().into_os_string()),
        _ => None,
    });
    let descriptors = Box::leak(Box::new(Descriptors::new()));
    let client = Client::new(Locator::new(environment, None), [7; 16], descriptors);
    let at = Instance::new(client, [1; 16], None);
    at.sessions.add(SESSION, (SlotId(0), 6), Era::FIRST, None);
    at
}

fn random_answer(request: &Request<'_>) -> Action {
    let Request::GenerateRandom { bytes, .. } = request else {
        return plain(Rv::OK);
    };
    let data = vec![0xab; usize::try_from(*bytes).unwrap()];
    answer(
        Rv::OK,
        Body::Output {
            length: *bytes,
            data: Secret::new(&data),
        },
    )
}

#[test]
fn the_greeting_comes_first_and_once_for_each_connection() {
    let fake = Fake::start(|_| plain(Rv::OK));
    let at = instance_at(fake.socket());
    assert_eq!(fake.greeted(), 0, "no connection before the first call");
    for _ in 0..3 {
        assert_eq!(sessions::logout(&at, SESSION), Ok(()));
    }
    assert_eq!(fake.instances(), [[7; 16]]);
    assert_eq!(fake.seen().len(), 3);
}

#[test]
fn return_values_come_over() {
    let fake = Fake::start(|_| plain(Rv::USER_NOT_LOGGED_IN));
    let at = instance_at(fake.socket());
    assert_eq!(sessions::logout(&at, SESSION), Err(Rv::USER_NOT_LOGGED_IN));
    assert_eq!(
        sessions::open(&at, SlotId(0), 4),
        Err(Rv::USER_NOT_LOGGED_IN)
    );
}

#[test]
fn a_body_that_answers_another_question_is_an_error_of_the_device() {
    let fake = Fake::start(|_| answer(Rv::OK, Body::Size(3)));
    let at = instance_at(fake.socket());
    assert_eq!(slots::token(&at, SlotId(0)).err(), Some(Rv::DEVICE_ERROR));
    assert_eq!(objects::find(&at, SESSION, 9), Err(Rv::DEVICE_ERROR));
}

#[test]
fn without_a_daemon_there_is_an_empty_slot() {
    let at = instance_at(&directory().join("nobody.sock"));
    assert_eq!(slots::list(&at, false), Ok(vec![SlotId(0)]));
    assert_eq!(slots::list(&at, true), Ok(vec![]));
    assert_eq!(slots::slot(&at, SlotId(0)).unwrap().flags & 1, 0);
    assert_eq!(slots::slot(&at, SlotId(1)).err(), Some(Rv::SLOT_ID_INVALID));
    assert_eq!(
        slots::token(&at, SlotId(0)).err(),
        Some(Rv::TOKEN_NOT_PRESENT)
    );
    assert_eq!(
        slots::mechanisms(&at, SlotId(0)).err(),
        Some(Rv::TOKEN_NOT_PRESENT)
    );
    assert_eq!(
        sessions::open(&at, SlotId(0), 4),
        Err(Rv::TOKEN_NOT_PRESENT)
    );
    assert_eq!(sessions::open(&at, SlotId(5), 4), Err(Rv::SLOT_ID_INVALID));
    assert_eq!(sessions::logout(&at, SESSION), Err(Rv::DEVICE_REMOVED));
    assert_eq!(
        random::generate(&at, SESSION, 4, |_, _| ()),
        Err(Rv::DEVICE_REMOVED)
    );
}

#[test]
fn a_daemon_that_comes_late_is_found() {
    let socket = directory().join("late.sock");
    let at = instance_at(&socket);
    assert_eq!(sessions::logout(&at, SESSION), Err(Rv::DEVICE_REMOVED));
    let _fake = Fake::start_at(&socket, |_| plain(Rv::OK));
    assert_eq!(sessions::logout(&at, SESSION), Ok(()));
}

#[test]
fn after_a_restart_the_request_goes_over_a_new_connection() {
    let fake = Fake::start(|_| plain(Rv::OK));
    let at = instance_at(fake.socket());
    assert_eq!(sessions::logout(&at, SESSION), Ok(()));
    fake.drop_connections();
    assert_eq!(sessions::logout(&at, SESSION), Ok(()));
    assert_eq!(fake.greeted(), 2);
    // The daemon of now is told of the session first.
    let seen = fake.seen();
    let names: Vec<_> = seen
        .iter()
        .filter_map(|one| one.split(' ').next())
        .collect();
    assert_eq!(names, ["Logout", "OpenSession", "Logout"]);
    drop(fake);
    assert_eq!(sessions::logout(&at, SESSION), Err(Rv::DEVICE_REMOVED));
}

#[test]
fn a_request_that_was_sent_is_never_sent_again() {
    let fake = Fake::start(|request| match request {
        Request::OpenSession { .. } => plain(Rv::OK),
        _ => Action::SendAndClose(Vec::new()),
    });
    let at = instance_at(fake.socket());
    for calls in 1..4 {
        assert_eq!(sessions::logout(&at, SESSION), Err(Rv::DEVICE_ERROR));
        let seen = fake.seen();
        let sent = seen.iter().filter(|one| one.starts_with("Logout"));
        assert_eq!(sent.count(), calls);
    }
}

#[test]
fn half_an_answer_is_an_error_of_the_device() {
    let Action::Send(whole) = plain(Rv::OK) else {
        unreachable!()
    };
    for length in 0..whole.len() {
        let part = whole[..length].to_vec();
        let fake = Fake::start(move |_| Action::SendAndClose(part.clone()));
        let at = instance_at(fake.socket());
        assert_eq!(
            sessions::logout(&at, SESSION),
            Err(Rv::DEVICE_ERROR),
            "{length}"
        );
    }
}

#[test]
fn garbage_is_an_error_of_the_device() {
    let Action::Send(whole) = plain(Rv::OK) else {
        unreachable!()
    };
    let mut too_long = whole.clone();
    too_long[8..12].fill(0xff);
    let mut two = whole.clone();
    two.extend(&whole);
    let mut trailing = whole.clone();
    trailing[8] += 1;
    trailing.push(0);
    let mut variant = whole.clone();
    *variant.last_mut().unwrap() = 99;
    let garbage = [
        vec![0; 64],
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        too_long,
        two,
        trailing,
        variant,
    ];
    for bytes in garbage {
        let sent = bytes.clone();
        let fake = Fake::start(move |request| match request {
            Request::OpenSession { .. } => plain(Rv::OK),
            _ => Action::Send(sent.clone()),
        });
        let at = instance_at(fake.socket());
        assert_eq!(
            sessions::logout(&at, SESSION),
            Err(Rv::DEVICE_ERROR),
            "{bytes:?}"
        );
        assert_eq!(
            sessions::logout(&at, SESSION),
            Err(Rv::DEVICE_ERROR),
            "a new connection"
        );
        assert_eq!(fake.greeted(), 2);
    }
}

#[test]
fn two_threads_have_a_connection_each() {
    let meeting = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&meeting);
    // Neither is answered before both have asked.
    let fake = Fake::start(move |_| {
        inside.wait();
        plain(Rv::OK)
    });
    let at = instance_at(fake.socket());
    thread::scope(|scope| {
        let calls = [(); 2].map(|()| scope.spawn(|| sessions::logout(&at, SESSION)));
        assert!(calls.into_iter().all(|call| call.join().unwrap() == Ok(())));
    });
    assert_eq!(fake.greeted(), 2);
}

#[test]
fn more_threads_than_connections_wait_for_one() {
    let fake = Fake::start(random_answer);
    let at = instance_at(fake.socket());
    let bytes = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 * CONNECTIONS_MAX {
            scope.spawn(|| {
                for _ in 0..20 {
                    let count = |_, piece: &[u8]| {
                        bytes.fetch_add(piece.len(), Ordering::Relaxed);
                    };
                    random::generate(&at, SESSION, RUN_BYTES_MAX + 1, count).unwrap();
                }
            });
        }
    });
    let all = 2 * CONNECTIONS_MAX * 20 * (RUN_BYTES_MAX + 1);
    assert_eq!(bytes.into_inner(), all);
    assert!(fake.greeted() <= CONNECTIONS_MAX);
}

#[test]
fn a_daemon_that_admits_one_connection_serves_all_threads_over_it() {
    let fake = Fake::start(random_answer);
    fake.admit_only(1);
    let at = instance_at(fake.socket());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    random::generate(&at, SESSION, RUN_BYTES_MAX + 1, |_, _| ()).unwrap();
                }
            });
        }
    });
    assert_eq!((fake.greeted(), fake.seen().len()), (1, 400));
    fake.admit_only(0);
    fake.drop_connections();
    assert_eq!(sessions::logout(&at, SESSION), Err(Rv::DEVICE_REMOVED));
}

#[test]
fn long_runs_of_randomness_come_in_pieces() {
    let fake = Fake::start(random_answer);
    let at = instance_at(fake.socket());
    let filled = std::cell::RefCell::new(vec![0_u8; (2 << 20) + 5]);
    let length = filled.borrow().len();
    let write = |offset: usize, piece: &[u8]| {
        filled.borrow_mut()[offset..offset + piece.len()].copy_from_slice(piece);
    };
    random::generate(&at, SESSION, length, write).unwrap();
    assert!(filled.into_inner().iter().all(|byte| *byte == 0xab));
    assert_eq!(fake.seen().len(), 3);
    random::generate(&at, SESSION, 0, |_, _| ()).unwrap();
    assert_eq!(fake.seen().len(), 4, "the session is judged all the same");
}

#[test]
fn mechanisms_are_asked_for_once() {
    let entry = MechanismEntry {
        kind: MechanismType::AES_GCM,
        key_size_min: 16,
        key_size_max: 32,
        flags: 0x100,
    };
    let fake = Fake::start(move |request| {
        if matches!(request, Request::Mechanisms { slot: SlotId(0) }) {
            answer(Rv::OK, Body::Mechanisms(List::new(vec![entry]).unwrap()))
        } else {
            plain(Rv::SLOT_ID_INVALID)
        }
    });
    let at = instance_at(fake.socket());
    for _ in 0..70 {
        let found = slots::mechanism(&at, SlotId(0), MechanismType::AES_GCM).unwrap();
        assert_eq!(found.key_size_max, 32);
    }
    let other = slots::mechanism(&at, SlotId(0), MechanismType::RSA_PKCS);
    assert_eq!(other.err(), Some(Rv::MECHANISM_INVALID));
    assert_eq!(fake.seen().len(), 1);
    assert_eq!(
        slots::mechanisms(&at, SlotId(9)).err(),
        Some(Rv::SLOT_ID_INVALID)
    );
}

#[test]
fn slots_without_a_token_are_left_out_when_asked() {
    let fake = Fake::start(|_| {
        let entries = [(0, true), (1, false)].map(|(slot, token_present)| SlotEntry {
            slot: SlotId(slot),
            token_present,
        });
        answer(Rv::OK, Body::Slots(List::new(entries.to_vec()).unwrap()))
    });
    let at = instance_at(fake.socket());
    assert_eq!(slots::list(&at, true), Ok(vec![SlotId(0)]));
    assert_eq!(slots::list(&at, false), Ok(vec![SlotId(0), SlotId(1)]));
}

#[test]
fn more_objects_than_asked_for_are_not_believed() {
    let fake = Fake::start(|_| {
        let found = [1, 2, 3].map(strongroom_wire::request::ObjectHandle);
        answer(Rv::OK, Body::Objects(List::new(found.to_vec()).unwrap()))
    });
    let at = instance_at(fake.socket());
    assert_eq!(objects::find(&at, SESSION, 3).unwrap().len(), 3);
    assert_eq!(objects::find(&at, SESSION, 2), Err(Rv::DEVICE_ERROR));
}

/// A vector goes where the caller has one of that length, and only with the key that was wrapped with it.
#[test]
fn a_vector_that_was_not_asked_for_is_not_believed() {
    let fake = Fake::start(|_| {
        answer(
            Rv::OK,
            Body::Wrapped {
                iv: &[7; 12],
                length: 3,
                data: Secret::new(b"key"),
            },
        )
    });
    let at = instance_at(fake.socket());
    let cells = |byte, count| &*Vec::leak(vec![Cell::new(byte); count]);
    let read = |cells: &[Cell<u8>]| cells.iter().map(Cell::get).collect::<Vec<_>>();
    let length: &[Cell<u64>] = Vec::leak(vec![Cell::new(4)]);
    let buffer = cells(0, 4);
    let ask = |iv: Option<&'static [Cell<u8>]>, buffer| {
        length[0].set(4);
        let place = iv.map(|iv| Alleged::of_cells(iv).room(iv.len() as u64));
        let out = WrapOut {
            wrapped: Out::new(buffer, Alleged::of_cells(length))?,
            places: WrapPlaces {
                iv: place.transpose()?,
                tag: None,
            },
        };
        let (mechanism, key) = (Mechanism::plain(), ObjectHandle(1));
        keys::wrap(&at, SESSION, mechanism.wire(), key, key, out)
    };
    let (iv, short) = (cells(1, 12), cells(1, 11));
    for (iv, buffer) in [
        (Some(short), Alleged::of_cells(buffer)),
        (Some(iv), Alleged::null()),
        (None, Alleged::of_cells(buffer)),
    ] {
        assert_eq!(ask(iv, buffer), Err(Rv::DEVICE_ERROR));
    }
    assert_eq!((read(iv), read(short)), (vec![1; 12], vec![1; 11]));
    assert_eq!(read(buffer), [0; 4]);
    assert_eq!(ask(Some(iv), Alleged::of_cells(buffer)), Ok(()));
    assert_eq!((read(iv), read(buffer)), (vec![7; 12], b"key\0".to_vec()));
    assert_eq!(length[0].get(), 3);
}

/// The daemon has a tag behind the wrapped key, C has it in the parameter.
#[test]
fn a_tag_goes_to_its_place_and_counts_nowhere_else() {
    let fake = Fake::start(|request| {
        let Request::WrapKeyAuthenticated { output, .. } = request else {
            return plain(Rv::OK);
        };
        let body = |data| Body::Output {
            length: 5,
            data: Secret::new(data),
        };
        match output {
            Output::Size => answer(Rv::OK, body(b"")),
            Output::Capacity(5..) => answer(Rv::OK, body(b"keytg")),
            Output::Capacity(_) => answer(Rv::BUFFER_TOO_SMALL, body(b"")),
        }
    });
    let at = instance_at(fake.socket());
    let cells = |count| &*Vec::leak(vec![Cell::new(0_u8); count]);
    let length: &[Cell<u64>] = Vec::leak(vec![Cell::new(0)]);
    let read = |cells: &[Cell<u8>]| cells.iter().map(Cell::get).collect::<Vec<_>>();
    let (buffer, tag) = (cells(4), cells(2));
    let ask = |capacity, buffer, tag: &'static [Cell<u8>]| {
        length[0].set(capacity);
        let out = WrapOut {
            wrapped: Out::new(buffer, Alleged::of_cells(length))?,
            places: WrapPlaces {
                iv: None,
                tag: Some(Alleged::of_cells(tag).room(tag.len() as u64)?),
            },
        };
        let (mechanism, key, none) = (Mechanism::plain(), ObjectHandle(1), In::of_bytes(b""));
        let outcome =
            keys::wrap_authenticated(&at, SESSION, mechanism.wire(), key, key, &none, out);
        outcome.map(|()| length[0].get())
    };
    assert_eq!(ask(0, Alleged::null(), tag), Ok(3));
    assert_eq!(
        ask(2, Alleged::of_cells(buffer), tag),
        Err(Rv::BUFFER_TOO_SMALL)
    );
    assert_eq!(
        (length[0].get(), read(buffer), read(tag)),
        (3, vec![0; 4], vec![0; 2])
    );
    assert_eq!(ask(3, Alleged::of_cells(buffer), tag), Ok(3));
    assert_eq!(
        (read(buffer), read(tag)),
        (b"key\0".to_vec(), b"tg".to_vec())
    );
    // A daemon whose answer has not even a tag in it is not believed.
    assert_eq!(
        ask(3, Alleged::of_cells(buffer), cells(6)),
        Err(Rv::DEVICE_ERROR)
    );
}

#[test]
fn the_end_says_goodbye_and_ends_the_waiting() {
    let fake = Fake::start(|_| plain(Rv::OK));
    let at = instance_at(fake.socket());
    assert_eq!(general::wait_for_slot_event(&at, 1), Err(Rv::NO_EVENT));
    sessions::logout(&at, SESSION).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| general::wait_for_slot_event(&at, 0));
        at.end();
        assert_eq!(waiting.join().unwrap(), Err(Rv::CRYPTOKI_NOT_INITIALIZED));
    });
    assert_eq!(fake.seen().last().map(String::as_str), Some("Goodbye"));
    assert_eq!(
        sessions::logout(&at, SESSION),
        Err(Rv::CRYPTOKI_NOT_INITIALIZED)
    );
}

#[test]
fn an_end_without_a_connection_asks_nobody() {
    let fake = Fake::start(|_| plain(Rv::OK));
    instance_at(fake.socket()).end();
    assert_eq!((fake.greeted(), fake.seen().len()), (0, 0));
}

#[test]
fn a_listener_that_never_accepts_does_not_hang_the_host() {
    let socket = directory().join("deaf.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let at = instance_at(&socket);
    let start = Instant::now();
    assert_eq!(sessions::logout(&at, SESSION), Err(Rv::DEVICE_REMOVED));
    assert!(start.elapsed() < 2 * GREETING);
}

#[test]
fn a_request_over_the_limit_of_a_frame_is_refused_here() {
    let fake = Fake::start(|_| plain(Rv::OK));
    let at = instance_at(fake.socket());
    let data = vec![0_u8; strongroom_wire::frame::PAYLOAD_BYTES_MAX];
    let request = Request::DigestUpdate {
        session: SESSION,
        part: Secret::new(&data),
    };
    let mut read = Some(|_: &Answer<'_>| ());
    let asked = at.client.ask(&request, None, &mut read);
    assert_eq!(asked, Err(Failure::TooLong));
    assert_eq!(
        sessions::logout(&at, SESSION),
        Ok(()),
        "the connection serves on"
    );
    assert_eq!((fake.greeted(), fake.seen().len()), (1, 1));
}

#[test]
fn sockets_are_known_by_number_until_they_close() {
    let fake = Fake::start(|_| plain(Rv::OK));
    let descriptors: &'static Descriptors = Box::leak(Box::new(Descriptors::new()));
    let stream = connect(fake.socket(), GREETING).unwrap();
    let connection = Connection::new(stream, descriptors).unwrap();
    drop(connection);
    // Nothing is noted any more, so nothing is closed.
    descriptors.close_copies();
    let stream = connect(fake.socket(), GREETING).unwrap();
    let copy = stream.try_clone().unwrap();
    let number = std::os::fd::IntoRawFd::into_raw_fd(copy);
    descriptors.register(number).unwrap();
    descriptors.close_copies();
    assert_eq!(system::inode_of(number), None, "closed by its number");
}

type Call = dyn Fn(&Instance) -> Result<(), Rv>;

/// A daemon that has lost a session is told of it once more; if it does not know it then either, the session is gone. Each of these functions
/// holds what the session has begun while it learns that.
#[test]
fn a_session_that_the_daemon_does_not_know_is_told_of_once_more_and_nobody_waits_for_ever() {
    let init =
        |at: &Instance| sign::verify_init(at, SESSION, Some(Mechanism::plain()), ObjectHandle(3));
    let digest = |at: &Instance| digest::init(at, SESSION, None);
    let verify = |at: &Instance| once::verify(at, SESSION, Secret::new(b"data"), b"signature");
    let calls: [&Call; 3] = [&init, &digest, &verify];
    for call in calls {
        let fake = Fake::start(|request| match request {
            Request::OpenSession { .. } => plain(Rv::OK),
            _ => plain(Rv::SESSION_HANDLE_INVALID),
        });
        let at = instance_at(fake.socket());
        assert_eq!(call(&at), Err(Rv::SESSION_HANDLE_INVALID));
        assert_eq!(fake.seen().len(), 3);
        assert_eq!(call(&at), Err(Rv::SESSION_HANDLE_INVALID));
        assert_eq!(fake.seen().len(), 3, "the module knows by now");
    }
    // And where it had lost it only, nobody notices.
    let lost = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request {
        Request::OpenSession { .. } => plain(Rv::OK),
        _ if lost.fetch_add(1, Ordering::SeqCst) == 0 => plain(Rv::SESSION_HANDLE_INVALID),
        _ => plain(Rv::OK),
    });
    let at = instance_at(fake.socket());
    assert_eq!(init(&at), Ok(()));
}

/// A login comes with a ticket, a daemon that knows nothing is shown it, and nobody is shown it once the login has ended.
#[test]
fn a_ticket_is_shown_to_the_next_daemon_before_anything_else_goes() {
    let fake = Fake::start(|request| match request {
        Request::Login { .. } => answer(
            Rv::OK,
            Body::Output {
                length: 6,
                data: Secret::new(b"ticket"),
            },
        ),
        _ => plain(Rv::OK),
    });
    let at = instance_at(fake.socket());
    let pin = crate::abi::In::of_bytes(b"1234");
    let user = strongroom_wire::ck::UserType::USER;
    sessions::login(&at, SESSION, user, &pin).unwrap();
    fake.drop_connections();
    sessions::cancel(&at, SESSION, 0).unwrap();
    sessions::cancel(&at, SESSION, 0).unwrap();
    sessions::logout(&at, SESSION).unwrap();
    fake.drop_connections();
    sessions::cancel(&at, SESSION, 0).unwrap();
    let seen = fake.seen();
    let names: Vec<_> = seen
        .iter()
        .filter_map(|one| one.split(' ').next())
        .collect();
    let expected = [
        "Login",
        "OpenSession",
        "RestoreLogin",
        "SessionCancel",
        "SessionCancel",
        "Logout",
        "OpenSession",
        "SessionCancel",
    ];
    assert_eq!(names, expected);
}

/// A daemon on its way out says that it has not carried the request out: the next one gets it.
#[test]
fn a_request_that_was_not_carried_out_goes_to_the_next_daemon() {
    let refused = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request {
        Request::Logout { .. } if refused.fetch_add(1, Ordering::SeqCst) < 3 => {
            plain(NOT_CARRIED_OUT)
        }
        _ => plain(Rv::OK),
    });
    let at = instance_at(fake.socket());
    assert_eq!(sessions::logout(&at, SESSION), Ok(()));
    assert_eq!(fake.greeted(), 4, "each on a connection of its own");
}
