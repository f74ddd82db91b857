//! The two modules that are compared, each where it can do no harm.
//!
//! What lives here: building ours, a temporary directory with a daemon and with SoftHSM's tokens, and running the measuring program.
//! What must never live here: what the numbers mean.
//! Who calls it: `bench`, and `flame` for ours alone.

use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A side of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    SoftHsm,
    Ours,
}

/// A case as the measuring program lists it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(super) group: String,
    /// The token it wants.
    pub(super) token: String,
    pub(super) short: bool,
    /// Bytes that an operation works on, where that says something.
    pub(super) bytes: Option<u64>,
}

/// What one run of a case came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Measured(Numbers),
    /// The module has no such thing.
    Lacks(String),
    Failed(String),
}

/// Times in nanoseconds, and operations a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Numbers {
    pub(super) p10: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) rate: f64,
}

/// Both sides, ready. The daemon ends and the directories go when this does.
pub(crate) struct Peers {
    directory: PathBuf,
    /// Tokens of SoftHSM that are only searched: in memory, because filling them on a disk takes it minutes.
    searched: PathBuf,
    programs: PathBuf,
    /// Its module, when it is wanted.
    softhsm: Option<PathBuf>,
    daemon: Option<Child>,
}

impl Peers {
    /// Builds and starts both.
    pub(super) fn start(root: &Path) -> Result<Self, String> {
        let softhsm = std::env::var_os("SOFTHSM2_MODULE")
            .map_or_else(|| PathBuf::from(SOFTHSM), PathBuf::from);
        if !softhsm.is_file() {
            return Err(format!(
                "{} is not there; install the package softhsm2, or name the module in SOFTHSM2_MODULE",
                softhsm.display()
            ));
        }
        Self::prepare(root, Some(softhsm))
    }

    /// Builds and starts ours alone.
    ///
    /// # Errors
    /// What does not build or start.
    pub(crate) fn ours(root: &Path) -> Result<Self, String> {
        Self::prepare(root, None)
    }

    fn prepare(root: &Path, softhsm: Option<PathBuf>) -> Result<Self, String> {
        let programs = build(root)?;
        let name = format!("strongroom-bench-{}", std::process::id());
        let memory = Path::new("/dev/shm");
        let directory = std::env::temp_dir().join(&name);
        let searched = if memory.is_dir() {
            memory.join(&name)
        } else {
            directory.join("searched")
        };
        let mut peers = Self {
            directory,
            searched,
            programs,
            softhsm,
            daemon: None,
        };
        make_directory(&peers.directory)?;
        make_directory(&peers.searched)?;
        peers.start_daemon()?;
        Ok(peers)
    }

    fn start_daemon(&mut self) -> Result<(), String> {
        let home = self.home();
        // With its usual settings: the cost of PINs and the audit are part of what an application pays.
        let daemon = Command::new(self.programs.join("strongroomd"))
            .arg("--home")
            .arg(&home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("strongroomd: {error}"))?;
        let daemon = self.daemon.insert(daemon);
        let begin = Instant::now();
        while UnixStream::connect(home.join("pkcs11.sock")).is_err() {
            if let Ok(Some(status)) = daemon.try_wait() {
                return Err(format!("strongroomd ended with {status}"));
            }
            if begin.elapsed() > Duration::from_mins(1) {
                return Err("strongroomd does not answer".to_owned());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Where files may be put that go when this does.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The number of the daemon's process.
    pub(crate) fn daemon_process(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// All cases.
    pub(crate) fn cases(&self) -> Result<Vec<Case>, String> {
        let mut command = Command::new(self.programs.join("p11measure"));
        let lines = lines(command.arg("--list"))?;
        let case = |line: &String| {
            let value: Value = serde_json::from_str(line).ok()?;
            Some(Case {
                name: value["case"].as_str()?.to_owned(),
                group: value["group"].as_str()?.to_owned(),
                token: value["token"].as_str()?.to_owned(),
                short: value["short"].as_bool()?,
                bytes: value["bytes"].as_u64(),
            })
        };
        lines
            .iter()
            .map(|line| case(line).ok_or_else(|| format!("p11measure --list: {line}")))
            .collect()
    }

    /// What a module says it is.
    pub(super) fn about(&self, side: Side) -> Result<String, String> {
        let mut command = self.command(side, "measure")?;
        Ok(lines(command.arg("--about"))?.concat())
    }

    fn command(&self, side: Side, token: &str) -> Result<Command, String> {
        let mut command = Command::new(self.programs.join("p11measure"));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.arg("--module");
        match side {
            Side::Ours => command
                .arg(self.programs.join("libstrongroom_pkcs11.so"))
                .env("STRONGROOM_HOME", self.home()),
            Side::SoftHsm => command
                .arg(self.softhsm.as_ref().ok_or("SoftHSM is not here")?)
                .env("SOFTHSM2_CONF", self.softhsm_configuration(token)?),
        };
        for variable in [
            "STRONGROOM_SOCKET",
            "STRONGROOM_CONFIG",
            "STRONGROOM_DAEMON",
        ] {
            command.env_remove(variable);
        }
        Ok(command)
    }

    /// A directory for each token, because SoftHSM reads all tokens of a directory at every start of a process.
    fn softhsm_configuration(&self, token: &str) -> Result<PathBuf, String> {
        let place = if token.starts_with("find-") {
            &self.searched
        } else {
            &self.directory
        };
        let tokens = place.join(format!("softhsm-{token}"));
        let file = place.join(format!("softhsm-{token}.conf"));
        if !file.exists() {
            make_directory(&tokens)?;
            let text = format!(
                "directories.tokendir = {}\nlog.level = ERROR\n",
                tokens.display()
            );
            fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(file)
    }

    /// Runs cases of one token in one process, with a session for each thread.
    pub(super) fn measure(
        &self,
        side: Side,
        cases: &[&Case],
        seconds: f64,
        threads: u32,
    ) -> Result<Vec<Outcome>, String> {
        let Some(first) = cases.first() else {
            return Ok(Vec::new());
        };
        let mut command = self.command(side, &first.token)?;
        command
            .args(["--seconds", &seconds.to_string()])
            .args(["--threads", &threads.to_string()])
            .args(cases.iter().map(|case| &case.name));
        let output = command
            .output()
            .map_err(|error| format!("p11measure: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let told: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let missing = || Outcome::Failed(format!("the process ended with {}", output.status));
        let of = |case: &&Case| {
            let line = told.iter().find(|line| line["case"] == case.name.as_str());
            line.map_or_else(missing, outcome)
        };
        Ok(cases.iter().map(of).collect())
    }

    /// What the measuring program of the primitives prints for these cases, a line each.
    pub(super) fn primitives(&self, names: &[&str], seconds: f64) -> Result<Vec<String>, String> {
        let mut command = Command::new(self.programs.join("examples/primitives"));
        lines(command.arg(seconds.to_string()).args(names))
    }

    /// Runs a case in several processes that begin at the same time. Rates are added up; the times are those of the first.
    pub(super) fn measure_processes(
        &self,
        side: Side,
        case: &Case,
        seconds: f64,
        processes: u32,
    ) -> Result<Outcome, String> {
        // One after the other: SoftHSM fails now and then when several processes start at the same time.
        let mut measuring = (0..processes)
            .map(|_| self.start_waiting(side, case, seconds))
            .collect::<Result<Vec<_>, _>>()?;
        for one in &mut measuring {
            one.begin()?;
        }
        let outcomes = measuring.iter_mut().map(Measuring::outcome);
        Ok(added_up(outcomes.collect::<Result<_, _>>()?))
    }

    /// Starts a process for a case and answers when it is set up.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start_waiting(
        &self,
        side: Side,
        case: &Case,
        seconds: f64,
    ) -> Result<Measuring, String> {
        let mut command = self.command(side, &case.token)?;
        command
            .args(["--wait", "--seconds", &seconds.to_string(), &case.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let output = child.stdout.take();
        let mut measuring = Measuring {
            child,
            output: BufReader::new(output.ok_or("no output")?),
            told: String::new(),
        };
        let output = &mut measuring.output;
        output.read_line(&mut measuring.told).map_err(failed)?;
        Ok(measuring)
    }
}

/// A process that measures one case. It ends when this goes.
pub(crate) struct Measuring {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Its last line.
    told: String,
}

impl Measuring {
    /// The number of the process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Lets it begin.
    ///
    /// # Errors
    /// When it cannot be told. One that could not be set up has ended, which is no error here: its outcome says so.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        let mut start = self.child.stdin.take().ok_or("no input")?;
        if self.is_ready() {
            start.write_all(b"\n").map_err(failed)?;
        }
        Ok(())
    }

    /// Whether it was set up.
    pub(crate) fn is_ready(&self) -> bool {
        self.told.trim() == "ready"
    }

    /// What it came to, when it has ended.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn outcome(&mut self) -> Result<Outcome, String> {
        if self.is_ready() {
            self.told.clear();
            self.output.read_line(&mut self.told).map_err(failed)?;
        }
        let value: Value = serde_json::from_str(&self.told).unwrap_or(Value::Null);
        self.child.wait().map_err(failed)?;
        Ok(outcome(&value))
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(error: std::io::Error) -> String {
    format!("p11measure: {error}")
}

impl Drop for Peers {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // Nothing in the home is wanted any more, so it need not end in good order.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = fs::remove_dir_all(&self.searched);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn added_up(outcomes: Vec<Outcome>) -> Outcome {
    let mut sum: Option<Numbers> = None;
    for one in outcomes {
        match one {
            Outcome::Measured(numbers) => match &mut sum {
                Some(sum) => sum.rate += numbers.rate,
                None => sum = Some(numbers),
            },
            Outcome::Lacks(_) | Outcome::Failed(_) => return one,
        }
    }
    sum.map_or_else(
        || Outcome::Failed("no process".to_owned()),
        Outcome::Measured,
    )
}

fn outcome(value: &Value) -> Outcome {
    let why = || value["why"].as_str().unwrap_or("no reason told").to_owned();
    let number = |name: &str| value[name].as_f64().unwrap_or(0.0);
    match value["status"].as_str() {
        Some("ok") => Outcome::Measured(Numbers {
            p10: number("p10_ns"),
            p50: number("p50_ns"),
            p99: number("p99_ns"),
            rate: number("operations_per_second"),
        }),
        Some("unsupported") => Outcome::Lacks(why()),
        _ => Outcome::Failed(why()),
    }
}

fn lines(command: &mut Command) -> Result<Vec<String>, String> {
    let name = command.get_program().to_owned();
    let name = Path::new(&name).file_name().unwrap_or(&name).display();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Builds the product and the measuring programs; answers where they are.
fn build(root: &Path) -> Result<PathBuf, String> {
    let packages = [
        "--package=strongroomd",
        "--package=strongroom-pkcs11",
        "--package=strongroom-cli",
        "--package=strongroom-benches",
    ];
    cargo_build(root, &packages)?;
    // By itself: naming an example leaves out the programs.
    cargo_build(
        root,
        &["--package=strongroom-crypto", "--example=primitives"],
    )?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    // Absolute, because of the module: a loader looks for a bare name elsewhere.
    fs::canonicalize(root.join(target).join("release"))
        .map_err(|error| format!("the target directory: {error}"))
}

fn cargo_build(root: &Path, words: &[&str]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["build", "--release", "--locked"])
        .args(words);
    if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    let status = command
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    if !status.success() {
        return Err("the release does not build; see above".to_owned());
    }
    Ok(())
}

/// Where Debian's package has it.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rate: f64) -> Outcome {
        Outcome::Measured(Numbers {
            p50: 7.0,
            rate,
            ..Numbers::default()
        })
    }

    #[test]
    fn what_the_program_says_is_understood() {
        let line = |text: &str| outcome(&serde_json::from_str(text).unwrap());
        assert_eq!(
            line(r#"{"status":"ok","p10_ns":1,"p50_ns":7,"p99_ns":9,"operations_per_second":3.5}"#),
            Outcome::Measured(Numbers {
                p10: 1.0,
                p50: 7.0,
                p99: 9.0,
                rate: 3.5
            })
        );
        assert_eq!(
            line(r#"{"status":"unsupported","why":"x"}"#),
            Outcome::Lacks("x".to_owned())
        );
        assert_eq!(
            outcome(&Value::Null),
            Outcome::Failed("no reason told".to_owned())
        );
    }

    #[test]
    fn rates_of_processes_are_added_and_one_failure_is_the_failure_of_all() {
        assert_eq!(added_up(vec![measured(1.0), measured(2.5)]), measured(3.5));
        let failed = Outcome::Failed("x".to_owned());
        assert_eq!(added_up(vec![measured(1.0), failed.clone()]), failed);
    }
}
