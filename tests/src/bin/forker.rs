//! A server that forks, as web servers, name servers and databases do: it initialises, logs in, and its children work.
//!
//! What lives here: the ways of forking, each as one command, and what children and parent saw, one line each.
//! What must never live here: assertions; the test that started it has them.
//! Who calls it: `tests/suite/forks.rs` through its path.

#![allow(clippy::print_stdout, reason = "its standard output is its answer")]
#![allow(clippy::expect_used, clippy::panic, reason = "the test sees it end")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cryptoki_sys::{CK_OBJECT_HANDLE, CKA_LABEL, CKM_AES_ECB, CKR_OK, CKU_USER};
use strongroom_tests::{Module, Rv, Session, Way, template};

/// What a test tells on the command line.
struct Order {
    label: String,
    pin: String,
    rounds: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, module, label, pin, way, rounds] = &arguments[..] else {
        panic!("MODULE LABEL PIN WAY ROUNDS, and not {arguments:?}");
    };
    let module = Module::load(Path::new(module));
    let order = Order {
        label: label.clone(),
        pin: pin.clone(),
        rounds: rounds.parse().expect("a number"),
    };
    module.initialize().expect("C_Initialize");
    let (session, key) = ready(&module, &order).expect("a session");
    match way.as_str() {
        "anew" => siblings(3, |_| anew(&module, &order), || work(session, key, &order)),
        "without" => siblings(
            1,
            |_| work(session, key, &order),
            || work(session, key, &order),
        ),
        "never" => siblings(3, |_| Ok(()), || work(session, key, &order)),
        "inherit" => siblings(
            3,
            |_| work(session, key, &order),
            || work(session, key, &order),
        ),
        "logout" => siblings(
            1,
            |_| session.logout().and_then(|()| Err(Rv(session.state()?))),
            || Err(Rv(session.state()?)),
        ),
        "grandchild" => grandchild(|| work(session, key, &order), session),
        "storm" => storm(&module, &order, session, key, Child::Anew),
        "inherit-storm" => storm(&module, &order, session, key, Child::Inherits),
        other => panic!("no such way: {other}"),
    }
}

/// A session with the user logged in, and the key.
fn ready<'m>(module: &'m Module, order: &Order) -> Result<(Session<'m>, CK_OBJECT_HANDLE), Rv> {
    let slot = module.slot_labelled(&order.label).expect("the token");
    let session = Session::open_rw(module, slot)?;
    session.login(CKU_USER, &order.pin)?;
    let found = session.find(&template! { CKA_LABEL => "forks" })?;
    Ok((session, *found.first().expect("the key")))
}

/// As the standard has it: a child begins anew.
fn anew(module: &Module, order: &Order) -> Result<(), Rv> {
    module.initialize()?;
    let (session, key) = ready(module, order)?;
    work(session, key, order)?;
    module.finalize()
}

/// Encrypts and decrypts, each time something else.
fn work(session: Session<'_>, key: CK_OBJECT_HANDLE, order: &Order) -> Result<(), Rv> {
    let own = std::process::id().to_be_bytes();
    for round in 0..order.rounds {
        let mut data = [0; 16];
        data[..4].copy_from_slice(&own);
        data[8..].copy_from_slice(&round.to_be_bytes());
        let sealed = session.run(Way::Encrypt, CKM_AES_ECB, key, &data)?;
        let opened = session.run(Way::Decrypt, CKM_AES_ECB, key, &sealed)?;
        assert_eq!(opened, data, "an answer to somebody else's question");
    }
    Ok(())
}

/// Forks; the child does its part and ends. Answers its process.
fn fork(child: impl FnOnce() -> Result<(), Rv>) -> i32 {
    // SAFETY: the child calls the module, which is made for that, prints one line, and ends; no lock of std is held here.
    let process = unsafe { libc::fork() };
    assert!(process >= 0, "fork");
    if process == 0 {
        tell("child", child());
        // SAFETY: ends this process without the parent's cleaning up.
        unsafe { libc::_exit(0) };
    }
    process
}

/// One line, by one write.
fn tell(who: &str, outcome: Result<(), Rv>) {
    let code = outcome.err().unwrap_or(Rv(CKR_OK));
    let line = format!("{who} {} {code:?}\n", std::process::id());
    // A descriptor of its own: the lock of std's may be held by a thread that a child has not.
    let mut output = std::fs::OpenOptions::new()
        .append(true)
        .open("/proc/self/fd/1")
        .expect("standard output");
    output.write_all(line.as_bytes()).expect("a reader");
}

fn wait_for(process: i32) {
    let mut status = 0;
    // SAFETY: a child of ours that nobody else waits for.
    unsafe { libc::waitpid(process, &raw mut status, 0) };
    assert_eq!(status, 0, "child {process} ended otherwise");
}

/// Children beside a parent that works on.
fn siblings(
    count: usize,
    child: impl Fn(usize) -> Result<(), Rv>,
    parent: impl Fn() -> Result<(), Rv>,
) {
    let children: Vec<i32> = (0..count).map(|number| fork(|| child(number))).collect();
    tell("parent", parent());
    children.into_iter().for_each(wait_for);
    tell("parent", parent());
}

/// As daemons are made: two forks, and whoever stands before has ended.
fn grandchild(work: impl Fn() -> Result<(), Rv>, session: Session<'_>) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: as in `fork`.
    let process = unsafe { libc::fork() };
    if process == 0 {
        // SAFETY: as above; the child calls the module before it forks again, as daemons do that read their settings twice.
        let _state = session.state();
        // SAFETY: as in `fork`.
        if unsafe { libc::fork() } > 0 {
            // SAFETY: as in `fork`.
            unsafe { libc::_exit(0) };
        }
        drop(writer);
        // The first process ends now, and with it the end of the pipe that it holds.
        let mut nothing = Vec::new();
        reader.read_to_end(&mut nothing).expect("a pipe");
        tell("grandchild", work());
        // SAFETY: as in `fork`.
        unsafe { libc::_exit(0) };
    }
    wait_for(process);
    tell("parent", work());
    drop(writer);
}

/// What the children of a storm are.
#[derive(Clone, Copy)]
enum Child {
    Anew,
    Inherits,
}

/// Forks while threads are in the middle of their calls, and of opening and closing sessions.
fn storm(module: &Module, order: &Order, session: Session<'_>, key: CK_OBJECT_HANDLE, kind: Child) {
    let stop = AtomicBool::new(false);
    let slot = session.info().expect("a session").slotID;
    thread::scope(|scope| {
        for number in 0..4 {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let own = Session::open_rw(module, slot).expect("C_OpenSession");
                    let once = Order {
                        label: String::new(),
                        pin: String::new(),
                        rounds: 1 + number,
                    };
                    work(own, key, &once).expect("the parent works on");
                    own.close().expect("C_CloseSession");
                }
            });
        }
        for _ in 0..25 {
            let child = fork(|| match kind {
                Child::Anew => anew(module, order),
                Child::Inherits => work(session, key, order),
            });
            wait_for(child);
        }
        stop.store(true, Ordering::Relaxed);
    });
    tell("parent", work(session, key, order));
}
