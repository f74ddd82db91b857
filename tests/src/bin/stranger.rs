//! A second application, for tests that need one: reads commands, one a line, and answers each with one line.
//!
//! What lives here: the commands.
//! What must never live here: assertions; the test that started it has them.
//! Who calls it: `tests/suite` through its path.

#![allow(clippy::print_stdout, reason = "its standard output is its answer")]
#![allow(clippy::expect_used, clippy::panic, reason = "the test sees it end")]

use std::io::BufRead as _;
use std::path::Path;

use cryptoki_sys::{
    CKA_CLASS, CKA_KEY_TYPE, CKA_LABEL, CKA_PRIVATE, CKA_SIGN, CKA_TOKEN, CKA_VALUE,
    CKK_GENERIC_SECRET, CKM_SHA256_HMAC, CKO_DATA, CKO_SECRET_KEY, CKU_SO, CKU_USER,
};
use strongroom_tests::{Module, Rv, Session, Way, template};

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
        ["mac", seconds] => {
            let key = opened().create(&template! {
                CKA_CLASS => CKO_SECRET_KEY,
                CKA_KEY_TYPE => CKK_GENERIC_SECRET,
                CKA_TOKEN => false,
                CKA_PRIVATE => false,
                CKA_SIGN => true,
                CKA_VALUE => &[7; 32],
            })?;
            let time: u64 = seconds.parse().expect("seconds");
            let begin = std::time::Instant::now();
            let mut count: u64 = 0;
            while begin.elapsed().as_secs() < time {
                opened().run(Way::Sign, CKM_SHA256_HMAC, key, &count.to_be_bytes())?;
                count += 1;
            }
            Ok(count.to_string())
        }
        other => panic!("no such command: {other:?}"),
    }
}
