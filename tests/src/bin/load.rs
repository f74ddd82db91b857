//! Crowds against a daemon, from the command line; `cargo xtask soak` and `cargo xtask fuzz` run it.
//!
//! What lives here: options, progress, and the exit code.
//! What must never live here: what a crowd does.
//! Who calls it: `xtask`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command tells what it found"
)]

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use strongroom_tests::load::{fuzz, soak};

const USAGE: &str = "\
usage: load soak [--seconds N] [--connections N] [--sessions N] [--objects N] [--audit LEVEL] [--seed N] [--json]
       load fuzz [--frames N] [--clients N] [--seed N]

Starts a daemon of its own from STRONGROOM_BIN_DIR, or from beside this program.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((command, options)) if command == "soak" => soak_of(options),
        Some((command, options)) if command == "fuzz" => fuzz_of(options),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn soak_of(options: &[String]) -> Result<bool, String> {
    let mut plan = soak::Plan::default();
    let mut json = false;
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("{word} needs a value\n{USAGE}"))
        };
        match word.as_str() {
            "--seconds" => plan.time = Duration::from_secs(number(value()?)?),
            "--connections" => plan.connections = count(value()?)?,
            "--sessions" => plan.sessions = count(value()?)?,
            "--objects" => plan.objects = count(value()?)?,
            "--seed" => plan.seed = number(value()?)?,
            "--audit" => plan.audit.clone_from(value()?),
            "--json" => json = true,
            _ => return Err(format!("{word} is no option\n{USAGE}")),
        }
    }
    if plan.connections == 0 {
        return Err("at least one connection".to_owned());
    }
    let report = soak::run(&plan, &progress())?;
    print!(
        "{}",
        if json {
            report.json() + "\n"
        } else {
            report.text()
        }
    );
    Ok(report.faults.is_empty())
}

fn fuzz_of(options: &[String]) -> Result<bool, String> {
    let mut plan = fuzz::Plan {
        frames: 10_000_000,
        clients: 8,
        seed: 1,
    };
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("{word} needs a value\n{USAGE}"))
        };
        match word.as_str() {
            "--frames" => plan.frames = number(value()?)?,
            "--clients" => plan.clients = count(value()?)?.max(1),
            "--seed" => plan.seed = number(value()?)?,
            _ => return Err(format!("{word} is no option\n{USAGE}")),
        }
    }
    let report = fuzz::run(&plan, &progress())?;
    print!("{}", report.text());
    Ok(report.faults.is_empty())
}

fn number(word: &str) -> Result<u64, String> {
    word.replace('_', "")
        .parse()
        .map_err(|_| format!("{word} is no number"))
}

fn count(word: &str) -> Result<usize, String> {
    usize::try_from(number(word)?).map_err(|_| format!("{word} is too many"))
}

/// A line that changes on a terminal, and nothing in a pipe.
fn progress() -> impl Fn(&str) + Sync {
    let shown = std::io::stderr()
        .is_terminal()
        .then(|| Mutex::new(Instant::now()));
    move |text: &str| {
        let Some(Ok(mut last)) = shown.as_ref().map(Mutex::lock) else {
            return;
        };
        if last.elapsed() > Duration::from_millis(100) {
            eprint!("\r\x1b[K{text}");
            *last = Instant::now();
        }
    }
}
