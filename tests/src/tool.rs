//! Other people's programs.
//!
//! What lives here: running a command with a deadline and telling all it said when it failed.
//! What must never live here: what the programs are asked to do.
//! Who calls it: the tests of tools, of C programs and of secrecy.

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a tool may run: far beyond any real run, so that a hanging one ends.
const DEADLINE: Duration = Duration::from_mins(3);

/// What a program did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Whether it ended with 0.
    pub good: bool,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard output and error together, for messages and searches.
    pub said: String,
}

/// Fails the test with a clear text when a program is missing.
///
/// # Panics
/// When `program` is not in the path.
pub fn require(program: &str) {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    });
    assert!(
        found,
        "{program} is not installed; tests/APT_PACKAGES lists what the suite needs"
    );
}

/// Runs a command.
///
/// # Panics
/// When it cannot be started or does not end.
pub fn run(command: &mut Command, input: &[u8]) -> Ran {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}; see tests/APT_PACKAGES"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that does not read its input is free to close it.
    let _ = stdin.write_all(input);
    drop(stdin);
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut stderr = child.stderr.take().expect("a pipe");
    let out = thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.read_to_end(&mut bytes);
        bytes
    });
    let err = thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stderr.read_to_end(&mut bytes);
        bytes
    });
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("waiting works") {
            break status;
        }
        if begin.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("{shown}: still running after {DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let output = Output {
        status,
        stdout: out.join().expect("the reader"),
        stderr: err.join().expect("the reader"),
    };
    let said = format!(
        "$ {shown}\n{}{}({status})",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ran {
        good: status.success(),
        out: output.stdout,
        said,
    }
}

/// Runs a command that must end well.
///
/// # Panics
/// When it ends otherwise.
#[track_caller]
pub fn succeed(command: &mut Command) -> Ran {
    succeed_with(command, b"")
}

/// Runs a command with standard input, and it must end well.
///
/// # Panics
/// When it ends otherwise.
#[track_caller]
pub fn succeed_with(command: &mut Command, input: &[u8]) -> Ran {
    let ran = run(command, input);
    assert!(ran.good, "{}", ran.said);
    ran
}
