//! A second application, for tests that need one: reads commands, one a line, and answers each with one line.
//!
//! What lives here: the commands.
//! What must never live here: assertions; the test that started it has them.
//! Who calls it: `tests/suite` through its path.

#![allow(clippy::print_stdout, reason = "its standard output is its answer")]
#![allow(clippy::expect_used, clippy::panic, reason = "the test sees it end")]

use std::collections::HashSet;
use std::io::{BufRead as _, Read as _, Write as _};
use std::path::Path;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CKA_CLASS, CKA_KEY_TYPE, CKA_LABEL, CKA_PRIVATE, CKA_SIGN, CKA_TOKEN,
    CKA_VALUE, CKK_GENERIC_SECRET, CKM_AES_CBC_PAD, CKM_AES_KEY_GEN, CKM_SHA256_HMAC, CKO_DATA,
    CKO_SECRET_KEY, CKU_SO, CKU_USER,
};
use strongroom_tests::{Mechanism, Module, Rv, Session, Way, digits, hex, keys, template};

/// The initialisation vector of the commands that encrypt: databases keep one with what it was for, the tests need none.
const IV: [u8; 16] = [0; 16];
/// Bytes of one draw: two that are equal are no accident.
const DRAW_BYTES: usize = 16;

fn main() {
    let path = std::env::args().nth(1).expect("the path of the module");
    let module = Module::load(Path::new(&path));
    let mut session: Option<Session<'_>> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split(' ').collect();
        match answer(&module, &mut session, &words) {
            Ok(text) => println!("ok {text}"),
            Err(code) => println!("{code:?}"),
        }
    }
}

fn answer<'m>(
    module: &'m Module,
    session: &mut Option<Session<'m>>,
    words: &[&str],
) -> Result<String, Rv> {
    let opened = || session.expect("a session");
    match words {
        ["initialize"] => module.initialize().map(|()| String::new()),
        ["finalize"] => module.finalize().map(|()| String::new()),
        ["open", label] => {
            let slot = module.slot_labelled(label).expect("the token");
            *session = Some(Session::open_rw(module, slot)?);
            Ok(String::new())
        }
        ["close"] => opened().close().map(|()| String::new()),
        ["init", label, pin] => {
            let slot = module.slot_labelled(label).expect("the token");
            module.init_token(slot, pin, label).map(|()| String::new())
        }
        ["state"] => opened().state().map(|state| state.to_string()),
        ["login", "so", pin] => opened().login(CKU_SO, pin).map(|()| String::new()),
        ["login", "user", pin] => opened().login(CKU_USER, pin).map(|()| String::new()),
        ["logout"] => opened().logout().map(|()| String::new()),
        ["find", label] => {
            let found = opened().find(&template! { CKA_LABEL => *label })?;
            Ok(found.len().to_string())
        }
        ["create", label, place] => {
            let template = template! {
                CKA_CLASS => CKO_DATA,
                CKA_TOKEN => *place == "token",
                CKA_PRIVATE => false,
                CKA_LABEL => *label,
                CKA_VALUE => "made by a stranger",
            };
            opened().create(&template).map(|object| object.to_string())
        }
        ["relabel", from, to] => {
            let object = only(opened(), from)?;
            opened().set(object, &template! { CKA_LABEL => *to })?;
            Ok(String::new())
        }
        ["forbid", label] => {
            let object = only(opened(), label)?;
            opened().set(object, &template! { CKA_SIGN => false })?;
            Ok(String::new())
        }
        ["destroy", label] => {
            let object = only(opened(), label)?;
            opened().destroy(object).map(|()| String::new())
        }
        ["random-after-fork", draws] => {
            let draws: usize = draws.parse().expect("a number");
            random_after_fork(module, opened(), draws).map(|equal| equal.to_string())
        }
        ["mac", seconds] => {
            macs(opened(), seconds.parse().expect("seconds")).map(|count| count.to_string())
        }
        ["generate", label] => opened()
            .generate(CKM_AES_KEY_GEN, &keys::master_key(label))
            .map(|_| String::new()),
        ["encrypt", label, data] => turn(opened(), Way::Encrypt, label, data),
        ["decrypt", label, data] => turn(opened(), Way::Decrypt, label, data),
        ["in-child", label, pin, words @ ..] => in_child(module, label, pin, words),
        other => panic!("no such command: {other:?}"),
    }
}

/// Bytes in hexadecimal digits, encrypted or decrypted by the one key of a label, with CBC and padding.
fn turn(session: Session<'_>, way: Way, label: &str, data: &str) -> Result<String, Rv> {
    let key = only(session, label)?;
    let mechanism = Mechanism::bytes(CKM_AES_CBC_PAD, &IV);
    Ok(digits(&session.run(way, mechanism, key, &hex(data))?))
}

/// A command in a child that was forked, without exec, and begins anew: C_Initialize, a session, the user's login.
fn in_child(module: &Module, label: &str, pin: &str, words: &[&str]) -> Result<String, Rv> {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    // SAFETY: this process has one thread, so the child may do whatever it could.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        let mut session = None;
        let first: [&[&str]; 3] = [&["initialize"], &["open", label], &["login", "user", pin]];
        let done = first
            .into_iter()
            .chain([words])
            .try_fold(String::new(), |_, words| {
                answer(module, &mut session, words)
            });
        let (kind, text) = match done {
            Ok(text) => ("ok", text),
            Err(code) => ("no", code.0.to_string()),
        };
        let good = writer
            .write_all(format!("{kind} {text}").as_bytes())
            .is_ok();
        // SAFETY: ends this process; nothing of the parent's is written out twice.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("the child writes");
    let mut status = 0;
    // SAFETY: the child is our own, and the status is memory of ours.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0, "the child ends well");
    match said.split_once(' ').expect("two words") {
        ("ok", text) => Ok(text.to_owned()),
        (_, code) => Err(Rv(code.parse().expect("a number"))),
    }
}

/// Signs for some seconds; how often.
fn macs(session: Session<'_>, seconds: u64) -> Result<u64, Rv> {
    let key = session.create(&template! {
        CKA_CLASS => CKO_SECRET_KEY,
        CKA_KEY_TYPE => CKK_GENERIC_SECRET,
        CKA_TOKEN => false,
        CKA_PRIVATE => false,
        CKA_SIGN => true,
        CKA_VALUE => &[7; 32],
    })?;
    let begin = std::time::Instant::now();
    let mut count: u64 = 0;
    while begin.elapsed().as_secs() < seconds {
        session.run(Way::Sign, CKM_SHA256_HMAC, key, &count.to_be_bytes())?;
        count += 1;
    }
    Ok(count)
}

/// The one object with a label.
fn only(session: Session<'_>, label: &str) -> Result<CK_OBJECT_HANDLE, Rv> {
    session.find_init(&template! { CKA_LABEL => label })?;
    let found = session.find_next(2);
    // Whatever came of it, the search is ended.
    session.find_final()?;
    match found?[..] {
        [object] => Ok(object),
        ref other => panic!("{} objects labelled {label}", other.len()),
    }
}

/// Draws in this process, in a child that initialises, and in this process again; how many of the draws came twice.
fn random_after_fork(module: &Module, session: Session<'_>, draws: usize) -> Result<usize, Rv> {
    let draw = |session: Session<'_>| -> Result<Vec<u8>, Rv> {
        let mut all = Vec::new();
        for _ in 0..draws {
            all.extend_from_slice(&session.random(DRAW_BYTES)?);
        }
        Ok(all)
    };
    let mut all = draw(session)?;
    let slot = session.info()?.slotID;
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    // SAFETY: this process has one thread, so the child may do whatever it could.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        let drawn = module
            .initialize()
            .and_then(|()| Session::open_rw(module, slot))
            .and_then(draw);
        let good = drawn.is_ok_and(|bytes| writer.write_all(&bytes).is_ok());
        // SAFETY: ends this process; nothing of the parent's is written out twice.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    drop(writer);
    all.extend(draw(session)?);
    let before = all.len();
    reader.read_to_end(&mut all).expect("the child writes");
    assert_eq!(all.len(), before + draws * DRAW_BYTES, "the child draws");
    let mut status = 0;
    // SAFETY: the child is our own, and the status is memory of ours.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0, "the child ends well");
    let different: HashSet<&[u8]> = all.chunks(DRAW_BYTES).collect();
    Ok(draws * 3 - different.len())
}
