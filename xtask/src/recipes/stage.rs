//! One page, run: a directory and a daemon of its own, the steps in one shell, the comparison, and the end of all that was started.
//!
//! What lives here: what happens to one page, in a process of its own.
//! What must never live here: which pages there are, and what is told about all of them.
//! Who calls it: `recipes.rs`, by `cargo xtask recipes --one`.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::compare;
use super::descendants;
use super::page::{Kind, Page, RunsAs, Step};

/// A page, and where it is run.
pub(super) struct Stage<'a> {
    /// The page, as a document of this path.
    pub(super) page: &'a Page,
    /// The path of the page, for messages.
    pub(super) path: String,
    /// What is done before it.
    pub(super) before: &'a [Step],
    /// A directory that is there, and empty.
    pub(super) directory: &'a Path,
    /// Where the programs are.
    pub(super) programs: &'a Path,
    /// Whose commands these are.
    pub(super) manner: Manner<'a>,
}

/// Whose commands these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner<'a> {
    /// Those of a recipe: a daemon is there, and the shell begins in an empty directory.
    Recipe,
    /// Those of the README: nothing is there, and the shell begins in the root of the repository.
    Readme(&'a Path),
}

impl Stage<'_> {
    /// Runs the page.
    ///
    /// # Errors
    /// What went wrong, for people, in several lines.
    pub(super) fn perform(&self) -> Result<(), String> {
        descendants::adopt()?;
        self.furnish()?;
        let outcome = self
            .daemon()
            .and_then(|()| self.shell())
            .and_then(|mut shell| wait(&mut shell));
        descendants::end_all();
        self.judge(&outcome?)
    }

    fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    fn said(&self, number: usize) -> PathBuf {
        self.directory.join("said").join(format!("{number:03}"))
    }

    /// All steps, with those before the page's own.
    fn steps(&self) -> impl Iterator<Item = (usize, &Step)> {
        self.before.iter().chain(&self.page.steps).enumerate()
    }

    /// Where a step stands.
    fn place(&self, number: usize, step: &Step) -> String {
        if number < self.before.len() {
            format!("docs/recipes/README.md:{}", step.line)
        } else {
            format!("{}:{}", self.path, step.line)
        }
    }

    /// Makes the directories, the files and the script.
    fn furnish(&self) -> Result<(), String> {
        for name in ["work", "home", "said", "files"] {
            let path = self.directory.join(name);
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(|error| at(&path, &error))?;
            self.give(&path)?;
        }
        let mut script = format!(
            "set -euo pipefail\nexec 9>'{}/trace'\nBASH_XTRACEFD=9\nset -x\n",
            self.directory.join("said").display()
        );
        for (number, step) in self.steps() {
            match &step.kind {
                Kind::Run => {
                    let said = self.said(number);
                    script.push_str(&format!("exec >'{}' 2>&1\n", said.display()));
                    script.push_str(&self.spoken(&step.text));
                }
                Kind::File(name) => {
                    let file = self.directory.join("files").join(format!("{number:03}"));
                    fs::write(&file, &step.text).map_err(|error| at(&file, &error))?;
                    self.give(&file)?;
                    let parent = Path::new(name).parent().unwrap_or_else(|| Path::new(""));
                    script.push_str(&format!(
                        "mkdir -p './{}' && cp '{}' '{name}'\n",
                        parent.display(),
                        file.display()
                    ));
                }
                Kind::Expect => {}
            }
        }
        let file = self.directory.join("script");
        fs::write(&file, script).map_err(|error| at(&file, &error))?;
        self.give(&file)
    }

    /// The commands, for the place where the programs really are.
    fn spoken(&self, text: &str) -> String {
        match self.manner {
            Manner::Recipe => text.to_owned(),
            Manner::Readme(_) => {
                text.replace("$PWD/target/release", &self.programs.to_string_lossy())
            }
        }
    }

    /// Whether root becomes an ordinary user here.
    fn steps_down(&self) -> bool {
        self.page.runs_as == RunsAs::User && rustix::process::geteuid().is_root()
    }

    fn give(&self, path: &Path) -> Result<(), String> {
        if !self.steps_down() {
            return Ok(());
        }
        chown(path, Some(NOBODY), Some(NOBODY)).map_err(|error| at(path, &error))
    }

    /// A command as the page's user, in the page's surroundings.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if FOREIGN.iter().any(|start| text.starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command
            .env("HOME", self.home())
            .env("TMPDIR", self.directory.join("work"))
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("no_proxy", "127.0.0.1,localhost")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .stdin(Stdio::null());
        match self.manner {
            Manner::Recipe => {
                let programs = self.programs.display();
                command
                    .current_dir(self.work())
                    .env("PATH", format!("{programs}:{path}:/usr/sbin:/sbin"))
                    .env("MODULE", self.programs.join("libstrongroom_pkcs11.so"))
                    // A daemon that ended is a fault, and must not be started anew unseen.
                    .env("STRONGROOM_DAEMON", "/nonexistent");
            }
            Manner::Readme(root) => {
                command.current_dir(root);
            }
        }
        if self.steps_down() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Starts the daemon of a recipe; that of the README is started by its commands.
    fn daemon(&self) -> Result<(), String> {
        if self.manner != Manner::Recipe {
            return Ok(());
        }
        let program = self.programs.join("strongroomd");
        let home = self.work().join("strongroom");
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&home)
            .map_err(|error| at(&home, &error))?;
        self.give(&home)?;
        let log = self.directory.join("said").join("daemon");
        let file = fs::File::create(&log).map_err(|error| at(&log, &error))?;
        let status = self
            .command(&program)
            .arg("--home")
            .arg(&home)
            .args(["--pin-cost", "fast", "--daemonize"])
            .stdout(Stdio::null())
            .stderr(file)
            .status()
            .map_err(|error| at(&program, &error))?;
        if status.success() {
            return Ok(());
        }
        Err(format!("the daemon does not start:\n{}", tail(&log, 20)))
    }

    fn shell(&self) -> Result<Child, String> {
        let [one, other] = free_ports()?;
        self.command(Path::new("bash"))
            .arg(self.directory.join("script"))
            .env("PORT", one)
            .env("SECOND_PORT", other)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("bash: {error}"))
    }

    /// Compares what was said, and asks how the shell ended: a difference comes before what fails for it.
    fn judge(&self, ended: &Ended) -> Result<(), String> {
        let mut last = (self.path.clone(), String::new());
        let mut faults = Vec::new();
        for (number, step) in self.steps() {
            let place = self.place(number, step);
            match step.kind {
                Kind::Run => {
                    let Ok(bytes) = fs::read(self.said(number)) else {
                        break;
                    };
                    last = (place, String::from_utf8_lossy(&bytes).into_owned());
                }
                Kind::Expect => {
                    if let Some(what) = compare::difference(&step.text, &last.1) {
                        faults.push(format!("{place}: {what}\nIt said:\n{}", last.1));
                    }
                }
                Kind::File(_) => {}
            }
        }
        if let Some(what) = ended.fault() {
            let (place, said) = last;
            faults.push(format!("{place}: {what}\nIt said:\n{said}"));
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(faults.join("") + &self.trouble())
    }

    /// What helps to see why: the last commands, and the ends of all logs.
    fn trouble(&self) -> String {
        let directory = self.directory.join("said");
        let mut text = format!("The last commands:\n{}", tail(&directory.join("trace"), 6));
        let mut logs = vec![directory.join("daemon")];
        let entries = fs::read_dir(self.work()).into_iter().flatten().flatten();
        logs.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|ending| ending == "log")),
        );
        for log in logs {
            let end = tail(&log, 15);
            if !end.is_empty() {
                let name = log.file_name().unwrap_or_default().to_string_lossy();
                text.push_str(&format!("The end of {name}:\n{end}"));
            }
        }
        text
    }
}

/// How the shell came to its end.
enum Ended {
    Itself(ExitStatus),
    TooLate,
    /// Whoever runs all pages is gone.
    Abandoned,
}

impl Ended {
    /// What was wrong about it.
    fn fault(&self) -> Option<String> {
        match self {
            Self::Itself(status) if status.success() => None,
            Self::Itself(status) => Some(format!("a command failed ({status})")),
            Self::TooLate => Some(format!("not done after {} s", PATIENCE.as_secs())),
            Self::Abandoned => Some("interrupted".to_owned()),
        }
    }
}

fn wait(shell: &mut Child) -> Result<Ended, String> {
    let abandoned = Arc::new(AtomicBool::new(false));
    let watch = Arc::clone(&abandoned);
    // Standard input ends when whoever runs all pages does, however that may be.
    thread::spawn(move || {
        let mut nothing = [0];
        while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
        watch.store(true, Ordering::Relaxed);
    });
    let begun = Instant::now();
    loop {
        if let Some(status) = shell.try_wait().map_err(|error| error.to_string())? {
            return Ok(Ended::Itself(status));
        }
        if abandoned.load(Ordering::Relaxed) {
            return Ok(Ended::Abandoned);
        }
        if begun.elapsed() > PATIENCE {
            return Ok(Ended::TooLate);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Two ports of loopback at which nobody listens.
fn free_ports() -> Result<[String; 2], String> {
    let listen = || TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string());
    let port = |listener: &TcpListener| {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        Ok::<_, String>(address.port().to_string())
    };
    let (one, other) = (listen()?, listen()?);
    Ok([port(&one)?, port(&other)?])
}

fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    all[from..]
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect()
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// What Debian calls nobody and nogroup.
const NOBODY: u32 = 65534;

/// A page takes a few seconds, that of Java twenty starts of a virtual machine; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// The beginnings of variables that are not for a page: other installations, other agents, other configurations.
const FOREIGN: &[&str] = &[
    "STRONGROOM_",
    "SSH_",
    "XDG_",
    "OPENSSL_",
    "GIT_",
    "GNUTLS_",
    "P11_KIT_",
    "DBUS_",
];
