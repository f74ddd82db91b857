//! What a module answered, step by step, as text that two modules can be compared by.
//!
//! What lives here: `Transcript`, the file it is written to while it grows, and how outcomes are told.
//! What must never live here: values that differ from run to run: handles, random bytes, serial numbers.
//! Who calls it: every scenario; `stage.rs` reads the files back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use strongroom_tests::Rv;

/// A step that was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name, once in its scenario.
    pub name: String,
    /// Its outcome.
    pub outcome: String,
}

/// The steps of one scenario on one module.
pub struct Transcript {
    file: Option<File>,
    names: BTreeSet<String>,
}

impl Transcript {
    /// An empty one, written to a file or else printed.
    ///
    /// # Panics
    /// When the file cannot be made.
    pub fn begin(file: Option<PathBuf>) -> Self {
        Self {
            file: file.map(|path| File::create(path).expect("the file of the transcript")),
            names: BTreeSet::new(),
        }
    }

    /// Plays a step and writes its outcome down. The name is written first: a module that crashes crashes in a step.
    ///
    /// # Panics
    /// When the name was used before.
    pub fn step<T: Outcome>(&mut self, name: impl Into<String>, act: impl FnOnce() -> T) {
        self.play(&name.into(), act);
    }

    /// A step whose answer later steps need: a handle, or none, which is never one.
    pub fn handle(
        &mut self,
        name: impl Into<String>,
        act: impl FnOnce() -> Result<u64, Rv>,
    ) -> u64 {
        self.play(&name.into(), act).unwrap_or(0)
    }

    /// A step whose answer later steps need: bytes, or none.
    pub fn bytes(
        &mut self,
        name: impl Into<String>,
        act: impl FnOnce() -> Result<Vec<u8>, Rv>,
    ) -> Vec<u8> {
        self.play(&name.into(), act).unwrap_or_default()
    }

    fn play<T: Outcome>(&mut self, name: &str, act: impl FnOnce() -> T) -> T {
        assert!(
            self.names.insert(name.to_owned()),
            "two steps are called {name}"
        );
        self.write(&format!("step {name}"));
        let result = act();
        self.write(&format!("gave {}", result.told().replace('\n', " ")));
        result
    }

    fn write(&mut self, line: &str) {
        match &mut self.file {
            None => println!("{line}"),
            Some(file) => writeln!(file, "{line}").expect("the transcript is written"),
        }
    }
}

/// Steps from a file; the last one has `ending` for its outcome when the process ended within it.
pub fn parse(text: &str, ending: Option<&str>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("step ") {
            let outcome = ending.unwrap_or("(nothing)").to_owned();
            let name = name.to_owned();
            steps.push(Step { name, outcome });
        } else if let (Some(outcome), Some(step)) = (line.strip_prefix("gave "), steps.last_mut()) {
            outcome.clone_into(&mut step.outcome);
        }
    }
    steps
}

/// What can be told of an answer.
pub trait Outcome {
    /// As text, the same in every run.
    fn told(&self) -> String;
}

/// What came with `CKR_OK`.
pub trait Gift {
    /// As text; empty when nothing is to be told.
    fn given(&self) -> String;
}

impl Outcome for Rv {
    fn told(&self) -> String {
        self.name()
    }
}
impl<T: Gift> Outcome for Result<T, Rv> {
    fn told(&self) -> String {
        match self {
            Err(code) => code.name(),
            Ok(gift) if gift.given().is_empty() => "CKR_OK".to_owned(),
            Ok(gift) => format!("CKR_OK: {}", gift.given()),
        }
    }
}
impl Outcome for String {
    fn told(&self) -> String {
        self.clone()
    }
}
impl Outcome for bool {
    fn told(&self) -> String {
        self.to_string()
    }
}
impl Outcome for usize {
    fn told(&self) -> String {
        self.to_string()
    }
}

impl Gift for () {
    fn given(&self) -> String {
        String::new()
    }
}
/// A handle: its number says nothing.
impl Gift for u64 {
    fn given(&self) -> String {
        String::new()
    }
}
impl Gift for (u64, u64) {
    fn given(&self) -> String {
        String::new()
    }
}
impl Gift for usize {
    fn given(&self) -> String {
        self.to_string()
    }
}
impl Gift for bool {
    fn given(&self) -> String {
        self.to_string()
    }
}
impl Gift for String {
    fn given(&self) -> String {
        self.clone()
    }
}
/// Bytes: how many. Where they are the same in every run, the scenario compares them itself.
impl Gift for Vec<u8> {
    fn given(&self) -> String {
        format!("{} bytes", self.len())
    }
}
/// Handles: how many.
impl Gift for Vec<u64> {
    fn given(&self) -> String {
        format!("{} objects", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_the_outcome_of_the_step_it_came_in() {
        let steps = parse("step a\ngave CKR_OK\nstep b\n", Some("(crash: signal 11)"));
        let told: Vec<_> = steps
            .iter()
            .map(|one| (&*one.name, &*one.outcome))
            .collect();
        assert_eq!(told, [("a", "CKR_OK"), ("b", "(crash: signal 11)")]);
    }
}
