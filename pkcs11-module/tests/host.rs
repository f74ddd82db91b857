//! The module as its host sees it: C functions against a scripted daemon.
//!
//! What lives here: what depends on the state of the process, which unit tests share: C_Initialize, C_Finalize, fork, and whole calls.
//! What must never live here: more than one test function, for the same reason.
//! Who calls it: cargo.

#![allow(non_snake_case, reason = "the names are those of the standard")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test: a failed unwrap is the failed assertion, and the token answers a few requests only"
)]

#[allow(dead_code, reason = "the unit tests use the rest")]
#[path = "../src/tests/fake.rs"]
mod fake;

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_C_INITIALIZE_ARGS, CK_FUNCTION_LIST, CK_FUNCTION_LIST_3_2, CK_INFO,
    CK_INTERFACE, CK_MECHANISM, CK_RV, CK_TOKEN_INFO,
};
use strongroom_pkcs11::abi::functions as module;
use strongroom_wire::ck::{AttributeType, MechanismType, Rv};
use strongroom_wire::codec::List;
use strongroom_wire::request::{ObjectHandle, Output, Request};
use strongroom_wire::response::{AttributeAnswer, Body};
use strongroom_wire::secret::Secret;

use fake::{Action, Fake, answer, plain};

/// Calls a C function of the module.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: the tests pass NULL, or memory of their own of the length they tell.
        Rv(unsafe { module::$name($($argument),*) })
    };
}

#[test]
fn the_life_of_a_host() {
    let fake = Fake::start(token);
    // SAFETY: this is the only thread that reads or writes the environment: the daemon's do neither.
    unsafe { std::env::set_var("STRONGROOM_SOCKET", fake.socket()) };
    before_it_is_initialised();
    arguments_of_initialise();
    assert_eq!(call!(C_Initialize(ptr::null_mut())), Rv::OK);
    assert_eq!(
        call!(C_Initialize(ptr::null_mut())),
        Rv::CRYPTOKI_ALREADY_INITIALIZED
    );
    assert_eq!(fake.greeted(), 0, "no connection yet");
    information();
    no_parallel_functions();
    nulls_and_hostile_lengths();
    sign();
    keys_and_objects();
    attributes();
    random();
    two_threads_at_once();
    fork(&fake);
    fork_under_load();
    waiting_ends_with_finalize();
    assert_eq!(
        call!(C_Finalize(ptr::null_mut())),
        Rv::CRYPTOKI_NOT_INITIALIZED
    );
    assert_eq!(fake.seen().last().map(String::as_str), Some("Goodbye"));
    again(&fake);
}

/// A session of this process.
fn own_session() -> u64 {
    static SESSION: OnceLock<u64> = OnceLock::new();
    *SESSION.get_or_init(fresh_session)
}

/// A new session; zero where none is opened.
fn fresh_session() -> u64 {
    let mut session = 0;
    let opened = call!(C_OpenSession(0, 4, ptr::null_mut(), None, &raw mut session));
    if opened == Rv::OK { session } else { 0 }
}

/// A token of a few answers.
fn token(request: &Request<'_>) -> Action {
    let signature = [0x5a; 64];
    match request {
        Request::Sign {
            output: Output::Size,
            ..
        } => answer(
            Rv::OK,
            Body::Output {
                length: 64,
                data: Secret::new(&[]),
            },
        ),
        Request::Sign {
            output: Output::Capacity(room),
            ..
        } if *room < 64 => answer(
            Rv::BUFFER_TOO_SMALL,
            Body::Output {
                length: 64,
                data: Secret::new(&[]),
            },
        ),
        Request::Sign { .. } => answer(
            Rv::OK,
            Body::Output {
                length: 64,
                data: Secret::new(&signature),
            },
        ),
        Request::Verify { signature: [], .. } => plain(Rv::SIGNATURE_LEN_RANGE),
        Request::GenerateKeyPair { .. } => {
            let (public, private) = (ObjectHandle(7), ObjectHandle(8));
            answer(Rv::OK, Body::KeyPair { public, private })
        }
        Request::CreateObject { .. } => answer(Rv::OK, Body::Object(ObjectHandle(9))),
        Request::FindObjects { max, .. } => {
            let found = [7, 8, 9].map(ObjectHandle).into_iter();
            let found = found.take(usize::try_from(*max).unwrap()).collect();
            answer(Rv::OK, Body::Objects(List::new(found).unwrap()))
        }
        Request::AttributeValue { kinds, .. } => {
            let one = |kind: &AttributeType| match *kind {
                AttributeType::VALUE => AttributeAnswer::Sensitive,
                AttributeType::LABEL => AttributeAnswer::Open(b"a label"),
                _ => AttributeAnswer::TypeInvalid,
            };
            let told = kinds.items().iter().map(one).collect();
            answer(
                Rv::ATTRIBUTE_SENSITIVE,
                Body::Attributes(List::new(told).unwrap()),
            )
        }
        Request::GenerateRandom { bytes, .. } => {
            let data = vec![0xcd; usize::try_from(*bytes).unwrap()];
            answer(
                Rv::OK,
                Body::Output {
                    length: *bytes,
                    data: Secret::new(&data),
                },
            )
        }
        Request::TokenInfo { .. } => plain(Rv::TOKEN_NOT_RECOGNIZED),
        _ => plain(Rv::OK),
    }
}

fn before_it_is_initialised() {
    assert_eq!(call!(C_Logout(1)), Rv::CRYPTOKI_NOT_INITIALIZED);
    assert_eq!(
        call!(C_Finalize(ptr::null_mut())),
        Rv::CRYPTOKI_NOT_INITIALIZED
    );
    assert_eq!(
        call!(C_GetInfo(ptr::null_mut())),
        Rv::CRYPTOKI_NOT_INITIALIZED
    );
    assert_eq!(call!(C_CancelFunction(1)), Rv::CRYPTOKI_NOT_INITIALIZED);
    assert_eq!(
        call!(C_VerifySignatureFinal(1)),
        Rv::CRYPTOKI_NOT_INITIALIZED
    );
    let mut count = 0;
    assert_eq!(
        call!(C_GetInterfaceList(ptr::null_mut(), &raw mut count)),
        Rv::OK
    );
    assert_eq!(count, 3);
}

unsafe extern "C" fn mutex(_: *mut c_void) -> CK_RV {
    panic!("the module has locks of its own")
}

unsafe extern "C" fn create_mutex(_: *mut *mut c_void) -> CK_RV {
    panic!("the module has locks of its own")
}

fn arguments_of_initialise() {
    let none = CK_C_INITIALIZE_ARGS {
        CreateMutex: None,
        DestroyMutex: None,
        LockMutex: None,
        UnlockMutex: None,
        flags: 0,
        pReserved: ptr::null_mut(),
    };
    let all = CK_C_INITIALIZE_ARGS {
        CreateMutex: Some(create_mutex),
        DestroyMutex: Some(mutex),
        LockMutex: Some(mutex),
        UnlockMutex: Some(mutex),
        ..none
    };
    let initialise = |arguments: CK_C_INITIALIZE_ARGS| {
        let mut arguments = arguments;
        let rv = call!(C_Initialize((&raw mut arguments).cast()));
        if rv == Rv::OK {
            assert_eq!(call!(C_Finalize(ptr::null_mut())), Rv::OK);
        }
        rv
    };
    for flags in 0..4 {
        assert_eq!(initialise(CK_C_INITIALIZE_ARGS { flags, ..none }), Rv::OK);
        assert_eq!(initialise(CK_C_INITIALIZE_ARGS { flags, ..all }), Rv::OK);
    }
    let reserved = CK_C_INITIALIZE_ARGS {
        pReserved: ptr::without_provenance_mut(1),
        ..none
    };
    assert_eq!(initialise(reserved), Rv::ARGUMENTS_BAD);
    assert_eq!(
        initialise(CK_C_INITIALIZE_ARGS {
            LockMutex: None,
            ..all
        }),
        Rv::ARGUMENTS_BAD
    );
    assert_eq!(
        call!(C_Finalize(ptr::without_provenance_mut(1))),
        Rv::ARGUMENTS_BAD
    );
}

/// Reads the version of the library's interface through an entry of a list.
fn version_through(entry: cryptoki_sys::CK_C_GetInfo) -> (u8, u8) {
    let mut info = CK_INFO::default();
    // SAFETY: the list comes from the module, and the structure is the test's.
    assert_eq!(Rv(unsafe { entry.unwrap()(&raw mut info) }), Rv::OK);
    assert_eq!(&info.manufacturerID, b"Strongroom                      ");
    assert_eq!(
        &info.libraryDescription,
        b"Strongroom PKCS#11 module       "
    );
    (info.cryptokiVersion.major, info.cryptokiVersion.minor)
}

fn information() {
    let mut list = ptr::null_mut::<CK_FUNCTION_LIST>();
    assert_eq!(call!(C_GetFunctionList(&raw mut list)), Rv::OK);
    // SAFETY: the module's list.
    let list = unsafe { list.read() };
    assert_eq!(version_through(list.C_GetInfo), (2, 40));
    let mut interface = ptr::null_mut::<CK_INTERFACE>();
    let newest = call!(C_GetInterface(
        ptr::null_mut(),
        ptr::null_mut(),
        &raw mut interface,
        0
    ));
    assert_eq!(newest, Rv::OK);
    // SAFETY: the module's interface.
    let interface = unsafe { interface.read() };
    // SAFETY: the default interface is that of 3.2.
    let list = unsafe {
        interface
            .pFunctionList
            .cast::<CK_FUNCTION_LIST_3_2>()
            .read()
    };
    assert_eq!(version_through(list.C_GetInfo), (3, 2));
    assert_eq!(version_through(Some(module::C_GetInfo)), (3, 2));
}

fn no_parallel_functions() {
    assert_eq!(call!(C_GetFunctionStatus(1)), Rv::FUNCTION_NOT_PARALLEL);
    assert_eq!(call!(C_CancelFunction(1)), Rv::FUNCTION_NOT_PARALLEL);
    let mut count = 0;
    let state = call!(C_GetOperationState(1, ptr::null_mut(), &raw mut count));
    assert_eq!(state, Rv::FUNCTION_NOT_SUPPORTED);
    let mut slot = 0;
    assert_eq!(
        call!(C_WaitForSlotEvent(1, ptr::null_mut(), ptr::null_mut())),
        Rv::ARGUMENTS_BAD
    );
    assert_eq!(
        call!(C_WaitForSlotEvent(1, &raw mut slot, ptr::null_mut())),
        Rv::NO_EVENT
    );
    let reserved = ptr::without_provenance_mut(1);
    assert_eq!(
        call!(C_WaitForSlotEvent(1, &raw mut slot, reserved)),
        Rv::ARGUMENTS_BAD
    );
}

fn nulls_and_hostile_lengths() {
    let bad = Rv::ARGUMENTS_BAD;
    let mut length = 0;
    let nothing = ptr::null_mut::<u8>();
    assert_eq!(
        call!(C_OpenSession(0, 4, ptr::null_mut(), None, ptr::null_mut())),
        bad
    );
    assert_eq!(
        call!(C_Sign(own_session(), nothing, 1, nothing, &raw mut length)),
        bad
    );
    assert_eq!(
        call!(C_Sign(own_session(), nothing, 0, nothing, ptr::null_mut())),
        bad
    );
    assert_eq!(call!(C_Login(own_session(), 1, nothing, 4)), bad);
    assert_eq!(call!(C_GetTokenInfo(0, ptr::null_mut())), bad);
    assert_eq!(call!(C_InitToken(0, nothing, 0, nothing)), bad);
    assert_eq!(
        call!(C_GenerateKey(
            own_session(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
            &raw mut length
        )),
        bad
    );
    assert_eq!(
        call!(C_FindObjects(
            own_session(),
            ptr::null_mut(),
            3,
            &raw mut length
        )),
        bad
    );
    assert_eq!(call!(C_GenerateRandom(own_session(), nothing, 1)), bad);
    let nowhere = ptr::without_provenance_mut::<u8>(16);
    let long = 65 << 20;
    let one_shot = call!(C_Encrypt(
        own_session(),
        nowhere,
        long,
        nothing,
        &raw mut length
    ));
    assert_eq!(one_shot, Rv::DATA_LEN_RANGE);
    let one_shot = call!(C_Decrypt(
        own_session(),
        nowhere,
        long,
        nothing,
        &raw mut length
    ));
    assert_eq!(one_shot, Rv::ENCRYPTED_DATA_LEN_RANGE);
    assert_eq!(call!(C_DigestUpdate(own_session(), nowhere, u64::MAX)), bad);
    assert_eq!(
        call!(C_GetAttributeValue(
            own_session(),
            7,
            nowhere.cast(),
            u64::MAX
        )),
        bad
    );
    assert_eq!(
        call!(C_Verify(own_session(), nothing, 0, nothing, 0)),
        Rv::SIGNATURE_LEN_RANGE
    );
    let mut info = CK_TOKEN_INFO::default();
    assert_eq!(
        call!(C_GetTokenInfo(0, &raw mut info)),
        Rv::TOKEN_NOT_RECOGNIZED
    );
}

fn sign() {
    let mut session = 0;
    let opened = call!(C_OpenSession(0, 4, ptr::null_mut(), None, &raw mut session));
    assert_eq!(opened, Rv::OK);
    assert_ne!(
        session,
        own_session(),
        "each session has a handle of its own"
    );
    let mut pin = *b"1234";
    assert_eq!(call!(C_Login(session, 1, pin.as_mut_ptr(), 4)), Rv::OK);
    let mut mechanism = CK_MECHANISM {
        mechanism: MechanismType::ECDSA.0,
        pParameter: ptr::null_mut(),
        ulParameterLen: 0,
    };
    assert_eq!(call!(C_SignInit(session, &raw mut mechanism, 8)), Rv::OK);
    assert_eq!(
        call!(C_SignInit(session, ptr::null_mut(), 0)),
        Rv::OK,
        "cancelled"
    );
    let mut data = [1_u8; 32];
    let mut signature = [0_u8; 70];
    let mut sign = |buffer: *mut u8, room: u64| {
        let mut length = room;
        (
            call!(C_Sign(
                session,
                data.as_mut_ptr(),
                32,
                buffer,
                &raw mut length
            )),
            length,
        )
    };
    assert_eq!(sign(ptr::null_mut(), 12_345), (Rv::OK, 64));
    assert_eq!(sign(signature.as_mut_ptr(), 63), (Rv::BUFFER_TOO_SMALL, 64));
    assert_eq!(signature, [0; 70]);
    assert_eq!(sign(signature.as_mut_ptr(), 70), (Rv::OK, 64));
    assert_eq!((signature[63], signature[64]), (0x5a, 0));
}

fn keys_and_objects() {
    let mut mechanism = CK_MECHANISM {
        mechanism: MechanismType::EC_KEY_PAIR_GEN.0,
        pParameter: ptr::null_mut(),
        ulParameterLen: 0,
    };
    let none = ptr::null_mut::<CK_ATTRIBUTE>();
    let (mut public, mut private, mut object) = (0, 0, 0);
    let mechanism = &raw mut mechanism;
    let pair = call!(C_GenerateKeyPair(
        own_session(),
        mechanism,
        none,
        0,
        none,
        0,
        &raw mut public,
        &raw mut private
    ));
    assert_eq!((pair, public, private), (Rv::OK, 7, 8));
    assert_eq!(
        call!(C_CreateObject(own_session(), none, 0, &raw mut object)),
        Rv::OK
    );
    assert_eq!(object, 9);
    assert_eq!(call!(C_FindObjectsInit(own_session(), none, 0)), Rv::OK);
    let (mut found, mut count) = ([0; 2], 0);
    assert_eq!(
        call!(C_FindObjects(
            own_session(),
            found.as_mut_ptr(),
            2,
            &raw mut count
        )),
        Rv::OK
    );
    assert_eq!((found, count), ([7, 8], 2));
    assert_eq!(call!(C_FindObjectsFinal(own_session())), Rv::OK);
}

fn attributes() {
    let mut label = [0_u8; 16];
    let value = |kind: AttributeType, buffer: *mut u8, length| CK_ATTRIBUTE {
        type_: kind.0,
        pValue: buffer.cast(),
        ulValueLen: length,
    };
    let mut template = [
        value(AttributeType::VALUE, label.as_mut_ptr(), 16),
        value(AttributeType::LABEL, label.as_mut_ptr(), 16),
        value(AttributeType::MODULUS, ptr::null_mut(), 0),
    ];
    let outcome = call!(C_GetAttributeValue(
        own_session(),
        8,
        template.as_mut_ptr(),
        3
    ));
    assert_eq!(outcome, Rv::ATTRIBUTE_SENSITIVE);
    assert_eq!(template.map(|one| one.ulValueLen), [u64::MAX, 7, u64::MAX]);
    assert_eq!(&label[..8], b"a label\0");
}

fn random() {
    let mut bytes = vec![0_u8; (1 << 20) + 3];
    let length = u64::try_from(bytes.len()).unwrap();
    assert_eq!(
        call!(C_GenerateRandom(
            own_session(),
            bytes.as_mut_ptr(),
            length - 1
        )),
        Rv::OK
    );
    assert_eq!((bytes[bytes.len() - 2], bytes[bytes.len() - 1]), (0xcd, 0));
}

fn two_threads_at_once() {
    let calls = [(); 2].map(|()| {
        thread::spawn(|| {
            let outcomes =
                (0..200).map(|_| call!(C_GetSessionInfo(own_session(), ptr::null_mut())));
            assert!(outcomes.into_iter().all(|rv| rv == Rv::ARGUMENTS_BAD));
            for _ in 0..200 {
                sign();
            }
        })
    });
    calls.into_iter().for_each(|call| call.join().unwrap());
}

/// How many sockets this process has open.
fn sockets() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// What a child sees, as the number of the first thing that is wrong. It must not panic: the harness is the parent's.
fn child() -> i32 {
    let before = sockets();
    let steps = [
        call!(C_Logout(own_session())) == Rv::CRYPTOKI_NOT_INITIALIZED,
        // The module's own copies are closed; those that remain are the fake daemon's.
        sockets() < before,
        call!(C_Finalize(ptr::null_mut())) == Rv::CRYPTOKI_NOT_INITIALIZED,
        call!(C_Initialize(ptr::null_mut())) == Rv::OK,
        call!(C_Logout(own_session())) == Rv::SESSION_HANDLE_INVALID,
        call!(C_Logout(fresh_session())) == Rv::OK,
        call!(C_Finalize(ptr::null_mut())) == Rv::OK,
    ];
    let wrong = steps.iter().position(|good| !good);
    wrong.map_or(0, |index| i32::try_from(index).unwrap_or(0) + 1)
}

/// Forks, and compares what the child saw.
fn fork_once() {
    // SAFETY: the child makes the calls of this test and leaves by _exit.
    let process = unsafe { libc::fork() };
    if process == 0 {
        // A child that waits for a lock of its parent's is ended by the signal.
        // SAFETY: alarm has no preconditions.
        unsafe { libc::alarm(20) };
        let wrong = child();
        // SAFETY: no destructor of the parent's may run in the child.
        unsafe { libc::_exit(wrong) };
    }
    let mut status = 0;
    // SAFETY: the status is this function's.
    let waited = unsafe { libc::waitpid(process, &raw mut status, 0) };
    assert_eq!(waited, process);
    assert!(libc::WIFEXITED(status), "the child hung");
    assert_eq!(libc::WEXITSTATUS(status), 0, "what the child saw");
}

fn fork(fake: &Fake) {
    let (greeted, seen) = (fake.greeted(), fake.seen().len());
    fork_once();
    assert_eq!(
        fake.greeted(),
        greeted + 1,
        "the child has a connection of its own"
    );
    assert_eq!(
        fake.seen().len(),
        seen + 3,
        "its session, its logout and its goodbye"
    );
    let names = fake.instances();
    assert_ne!(names.first(), names.last(), "and is another instance");
    assert_eq!(call!(C_Logout(own_session())), Rv::OK);
    assert_eq!(
        fake.greeted(),
        greeted + 1,
        "the parent goes on where it was"
    );
}

/// Threads hold every lock of the module now and then while the process forks.
fn fork_under_load() {
    let busy = [(); 4].map(|()| thread::spawn(|| (0..300).for_each(|_| sign())));
    (0..20).for_each(|_| fork_once());
    busy.into_iter().for_each(|one| one.join().unwrap());
}

fn waiting_ends_with_finalize() {
    let waiting = thread::spawn(|| {
        let mut slot = 0;
        call!(C_WaitForSlotEvent(0, &raw mut slot, ptr::null_mut()))
    });
    // Whether it waits already or comes too late, it is told the same.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(call!(C_Finalize(ptr::null_mut())), Rv::OK);
    assert_eq!(waiting.join().unwrap(), Rv::CRYPTOKI_NOT_INITIALIZED);
}

fn again(fake: &Fake) {
    let greeted = fake.greeted();
    assert_eq!(call!(C_Initialize(ptr::null_mut())), Rv::OK);
    let before = call!(C_Logout(own_session()));
    assert_eq!(
        before,
        Rv::SESSION_HANDLE_INVALID,
        "it ended with the instance"
    );
    assert_eq!(call!(C_Logout(fresh_session())), Rv::OK);
    assert_eq!(fake.greeted(), greeted + 1);
    assert_eq!(call!(C_Finalize(ptr::null_mut())), Rv::OK);
}
