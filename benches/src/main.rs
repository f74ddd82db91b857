//! p11measure: measures one PKCS#11 module, in a process of its own.
//!
//! What lives here: the arguments, threads and processes of a measurement, and its report: a line of JSON for each case.
//! What must never live here: a comparison; `cargo xtask bench` makes that of many runs.
//! Who calls it: `cargo xtask bench`, and people who want one number.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command tells what it found"
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        reason = "a failed unwrap is the failed assertion"
    )
)]

mod cases;
mod clock;
mod mechanism;
mod module;
mod template;

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use cryptoki_sys::CKR_USER_ALREADY_LOGGED_IN;
use serde_json::{Value, json};

use cases::{Case, Operation, Place};
use clock::Times;
use module::{Failure, Module, Outcome, Session};

const USAGE: &str = "\
usage: p11measure --module PATH [OPTION...] CASE...
       p11measure --module PATH --about
       p11measure --list

  --seconds S   time of each case (default 0.25)
  --threads N   sessions, each with a thread (default 1)
  --wait        tell `ready` when the first case is set up, and begin when a line comes in

Makes a token with PINs of its own; point the module at a place where that does no harm.";

/// What the command line says.
struct Arguments {
    module: PathBuf,
    seconds: f64,
    threads: usize,
    wait: bool,
    once: bool,
    about: bool,
    names: Vec<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["--list"] {
        for case in cases::all() {
            println!("{}", case.json());
        }
        return ExitCode::SUCCESS;
    }
    let Some(arguments) = parse(words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("p11measure: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: Vec<String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        module: PathBuf::new(),
        seconds: 0.25,
        threads: 1,
        wait: false,
        once: false,
        about: false,
        names: Vec::new(),
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--module" => arguments.module = words.next()?.into(),
            "--seconds" => {
                let seconds: f64 = words.next()?.parse().ok()?;
                arguments.seconds = Some(seconds).filter(|some| (0.0..=3600.0).contains(some))?;
            }
            "--threads" => {
                arguments.threads = words.next()?.parse().ok().filter(|number| *number > 0)?;
            }
            "--wait" => arguments.wait = true,
            "--once" => arguments.once = true,
            "--about" => arguments.about = true,
            name if name.starts_with('-') => return None,
            _ => arguments.names.push(word),
        }
    }
    let says_what = arguments.about || !arguments.names.is_empty();
    (says_what && arguments.module != PathBuf::new()).then_some(arguments)
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let known = cases::all();
    let named = |name: &String| {
        known
            .iter()
            .find(|case| case.name == *name)
            .ok_or_else(|| Failure::Broken(format!("there is no case {name}")))
    };
    let wanted: Vec<&Case> = arguments.names.iter().map(named).collect::<Outcome<_>>()?;
    let module = Module::load(&arguments.module)?;
    if arguments.about {
        println!("{}", module.about()?);
        return module.finalize();
    }
    let mut waiting = arguments.wait;
    for case in wanted {
        let place = place(&module, case)?;
        if arguments.once {
            cases::sign_once(place)?;
            continue;
        }
        let mut report = match measure(case, place, arguments, &mut waiting) {
            Ok(times) => times.json(),
            Err(failure) => told(&failure),
        };
        if let Value::Object(rows) = &mut report {
            rows.insert("case".to_owned(), json!(case.name));
        }
        println!("{report}");
    }
    module.finalize()
}

fn told(failure: &Failure) -> Value {
    let status = if failure.is_lack() {
        "unsupported"
    } else {
        "failed"
    };
    json!({ "status": status, "why": failure.to_string() })
}

/// A session at the token of a case, with the user logged in.
fn place<'m>(module: &'m Module, case: &Case) -> Outcome<Place<'m>> {
    let slot = module.token(&case.token)?;
    let session = Session::open(module, slot)?;
    match session.login() {
        Ok(()) | Err(Failure::Refused(_, CKR_USER_ALREADY_LOGGED_IN)) => Ok(Place {
            module,
            slot,
            session,
        }),
        Err(other) => Err(other),
    }
}

fn measure(
    case: &Case,
    place: Place<'_>,
    arguments: &Arguments,
    waiting: &mut bool,
) -> Outcome<Times> {
    let time = Duration::from_secs_f64(arguments.seconds);
    let mut first: Operation<'_> = if case.is_cold_start() {
        cold_start(place, arguments, case)?
    } else {
        case.operation(place)?
    };
    clock::warm_up(&mut first, time)?;
    if std::mem::take(waiting) {
        wait_for_start()?;
    }
    if arguments.threads == 1 {
        return clock::run(&mut first, time);
    }
    drop(first);
    let barrier = Barrier::new(arguments.threads);
    let work = || -> Outcome<Times> {
        // The barrier is passed whatever happens, or the others would wait for ever.
        let prepared = self::place(place.module, case).and_then(|place| {
            let mut operation = case.operation(place)?;
            clock::warm_up(&mut operation, time)?;
            Ok(operation)
        });
        barrier.wait();
        clock::run(&mut prepared?, time)
    };
    let all = thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Failure::Broken("a thread panicked".to_owned())))
            })
            .collect::<Outcome<Vec<Times>>>()
    })?;
    Ok(Times::together(all))
}

fn wait_for_start() -> Outcome<()> {
    let broken = |error: std::io::Error| Failure::Broken(format!("waiting for the start: {error}"));
    println!("ready");
    std::io::stdout().flush().map_err(broken)?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(broken)?;
    Ok(())
}

/// Runs this program again and again: load the module, open, log in, find the key, sign, end.
fn cold_start<'m>(place: Place<'m>, arguments: &Arguments, case: &Case) -> Outcome<Operation<'m>> {
    // The key must be there before the first process looks for it.
    cases::sign_once(place)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::Broken(format!("where this program is: {error}")))?;
    let (module, name) = (arguments.module.clone(), case.name.clone());
    Ok(Box::new(move || {
        let status = Command::new(&program)
            .arg("--module")
            .arg(&module)
            .args(["--once", &name])
            .stdin(Stdio::null())
            .status()
            .map_err(|error| Failure::Broken(format!("starting a process: {error}")))?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::Broken(format!("a process ended with {status}")))
        }
    }))
}
