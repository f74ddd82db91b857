//! A second application, for tests of what processes share and what they do not.
//!
//! What lives here: starting the program `stranger` and talking with it line by line.
//! What must never live here: assertions.
//! Who calls it: the tests of sessions, of robustness, and of databases.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use strongroom_tests::Hsm;
use strongroom_tests::hsm::module_path;

/// A running `stranger`.
pub struct Second {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Second {
    /// Starts one and initialises its module.
    pub fn start(hsm: &Hsm) -> Self {
        Self::start_with(hsm, &module_path())
    }

    /// The same with a module that lies somewhere else.
    pub fn start_with(hsm: &Hsm, module: &Path) -> Self {
        let mut child = hsm
            .command(env!("CARGO_BIN_EXE_stranger"))
            .arg(module)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the second application");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut second = Self {
            child,
            input,
            output,
        };
        assert_eq!(second.ask("initialize"), "ok");
        second
    }

    /// Sends a command and tells the answer.
    pub fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.answer()
    }

    /// Sends a command.
    pub fn send(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("the second application reads");
    }

    /// The next answer.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the second application answers");
        line.trim_end().to_owned()
    }

    /// Ends it without any goodbye.
    pub fn kill(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
