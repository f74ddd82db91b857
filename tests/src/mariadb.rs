//! A MariaDB server of its own, encrypted by our plug-in.
//!
//! What lives here: setting up a data directory, starting and ending mariadbd on a Unix socket, asking it, clients that write until they
//! are stopped, and the search for plaintext in files.
//! What must never live here: what a test expects.
//! Who calls it: the tests of the plug-in.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::product;
use crate::tool::{Ran, require, run, succeed};

/// How long a server may take to come up or to end: far beyond any real time.
const DEADLINE: Duration = Duration::from_mins(1);

/// What a server is started with, besides what all have.
pub const ENCRYPTED: &[&str] = &[
    "innodb-encrypt-tables=FORCE",
    "innodb-encrypt-log=ON",
    "innodb-encrypt-temporary-tables=ON",
    "innodb-encryption-threads=2",
    "encrypt-tmp-files=ON",
    "encrypt-tmp-disk-tables=ON",
    "encrypt-binlog=ON",
    "aria-encrypt-tables=ON",
];

/// A data directory, and the server on it when it runs.
pub struct Server {
    /// Where everything of it lies.
    pub directory: PathBuf,
    /// Lines of its configuration.
    pub settings: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    child: Option<Child>,
}

impl Server {
    /// Makes a data directory without encryption, as the Debian package does.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn install(directory: &Path) -> Self {
        for program in ["mariadbd", "mariadb", "mariadb-install-db"] {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let found = std::env::split_paths(&path)
                .chain([PathBuf::from("/usr/sbin")])
                .any(|one| one.join(program).is_file());
            assert!(found, "{program} is not installed; see tests/APT_PACKAGES");
        }
        let server = Self::at(directory);
        let mut command = Command::new("mariadb-install-db");
        // Servers that share a temporary directory delete each other's tables when they start.
        command
            .env("TMPDIR", server.directory.join("tmp"))
            .arg("--no-defaults")
            .arg(format!("--datadir={}", server.data().display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(as_root());
        succeed(&mut command);
        server
    }

    /// A directory for a server whose data come from elsewhere.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        for name in ["data", "tmp", "plugins"] {
            fs::create_dir_all(directory.join(name)).expect("a directory");
        }
        let plugin = directory.join("plugins/strongroom_mariadb.so");
        fs::copy(product::bin_dir().join("libstrongroom_mariadb.so"), plugin)
            .expect("the plug-in is built");
        Self {
            directory: directory.to_path_buf(),
            settings: Vec::new(),
            environment: Vec::new(),
            child: None,
        }
    }

    /// With more lines in its configuration.
    #[must_use]
    pub fn with<S: AsRef<str>>(mut self, lines: &[S]) -> Self {
        let lines = lines.iter().map(|line| line.as_ref().to_owned());
        self.settings.extend(lines);
        self
    }

    /// With the plug-in, on the token `suite` of a module.
    ///
    /// # Panics
    /// When the file of the PIN cannot be written.
    #[must_use]
    pub fn with_plugin(
        mut self,
        module: &Path,
        environment: Vec<(&'static str, PathBuf)>,
        mode: &str,
    ) -> Self {
        self.environment = environment;
        self.write_pin(crate::USER_PIN);
        let lines = [
            "plugin-maturity=experimental".to_owned(),
            "plugin-load-add=strongroom_mariadb".to_owned(),
            format!("strongroom-module={}", module.display()),
            "strongroom-token=suite".to_owned(),
            format!("strongroom-pin-file={}", self.pin_file().display()),
            format!("strongroom-mode={mode}"),
            "strongroom-wait-seconds=20".to_owned(),
        ];
        self.with(&lines)
    }

    /// Writes the file of the PIN.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_pin(&self, pin: &str) {
        let path = self.pin_file();
        fs::write(&path, format!("{pin}\n")).expect("a PIN file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    fn pin_file(&self) -> PathBuf {
        self.directory.join("pin")
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("s")
    }

    /// Its error log.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.directory.join("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its configuration file, written anew.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        let place = |name: &str| self.directory.join(name).display().to_string();
        let mut text = format!(
            "[mariadbd]\ndatadir={}\ntmpdir={}\nplugin-dir={}\nsocket={}\nlog-error={}\npid-file={}\nlog-bin={}/binlog\n",
            place("data"),
            place("tmp"),
            place("plugins"),
            place("s"),
            place("error.log"),
            place("process"),
            place("data"),
        );
        text.push_str(
            "skip-networking\nserver-id=1\ninnodb-buffer-pool-size=32M\ninnodb-log-file-size=16M\nperformance-schema=OFF\n",
        );
        for line in &self.settings {
            text.push_str(line);
            text.push('\n');
        }
        let path = self.directory.join("my.cnf");
        fs::write(&path, text).expect("a configuration");
        path
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self) {
        assert!(self.try_start(), "mariadbd ended:\n{}", self.log());
    }

    /// Starts it; answers whether it came up, or ended.
    ///
    /// # Panics
    /// When it does neither within a minute.
    pub fn try_start(&mut self) -> bool {
        let configuration = self.configuration();
        let _ = fs::remove_file(self.socket());
        let child = self
            .program("mariadbd")
            .arg(format!("--defaults-file={}", configuration.display()))
            .args(as_root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mariadbd starts");
        self.child = Some(child);
        let begin = Instant::now();
        while !(self.socket().exists() && self.ask("SELECT 1").good) {
            if !self.lives() {
                self.child = None;
                return false;
            }
            assert!(begin.elapsed() < DEADLINE, "no answer:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// A program that finds the token; those of the server may lie outside a user's path.
    #[must_use]
    pub fn program(&self, name: impl AsRef<OsStr>) -> Command {
        let sbin = Path::new("/usr/sbin").join(name.as_ref());
        let mut command = if sbin.is_file() {
            Command::new(sbin)
        } else {
            Command::new(name)
        };
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("STRONGROOM_DAEMON", "/nonexistent");
        command
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn lives(&mut self) -> bool {
        let running = |child: &mut Child| child.try_wait().expect("waiting works").is_none();
        self.child.as_mut().is_some_and(running)
    }

    /// A client.
    #[must_use]
    pub fn client(&self) -> Command {
        let mut command = Command::new("mariadb");
        command
            .arg("--no-defaults")
            .arg(format!("--socket={}", self.socket().display()))
            .args(["--user=root", "--batch", "--skip-column-names"])
            .args(["--unbuffered", "--connect-timeout=5"]);
        command
    }

    /// Says something to it.
    #[must_use]
    pub fn ask(&self, sql: &str) -> Ran {
        run(&mut self.client(), sql.as_bytes())
    }

    /// Says something to it, which it must do; answers what it says.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    #[must_use]
    pub fn told(&self, sql: &str) -> String {
        let ran = self.ask(sql);
        assert!(ran.good, "{}\n{}", ran.said, self.log());
        String::from_utf8_lossy(&ran.out).trim().to_owned()
    }

    /// The same, for what answers nothing.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn tell(&self, sql: &str) {
        let _ = self.told(sql);
    }

    /// Waits until a question has an answer.
    ///
    /// # Panics
    /// When it has another for a minute.
    #[track_caller]
    pub fn wait_for(&self, sql: &str, answer: &str) {
        let begin = Instant::now();
        loop {
            let told = self.told(sql);
            if told == answer {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "{sql}: {told}\n{}", self.log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it as an administrator does.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) {
        self.end(libc::SIGTERM);
    }

    /// Ends it as a power failure does.
    ///
    /// # Panics
    /// When it does not end.
    pub fn kill(&mut self) {
        self.end(libc::SIGKILL);
    }

    fn end(&mut self, signal: i32) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // SAFETY: the child is ours and not yet waited for, so the number is still its own.
        unsafe { libc::kill(child.id() as i32, signal) };
        let begin = Instant::now();
        while child.try_wait().expect("waiting works").is_none() {
            if begin.elapsed() > DEADLINE {
                let _ = child.kill();
                let _ = child.wait();
                panic!("mariadbd did not end:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Files under the data and temporary directories that contain some bytes.
    ///
    /// # Panics
    /// When one cannot be read for another reason than that it is gone.
    #[must_use]
    pub fn files_with(&self, wanted: &[u8]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for name in ["data", "tmp"] {
            search(&self.directory.join(name), wanted, &mut found);
        }
        found
    }

    /// Clients that write rows into `d.load` until they are told to stop, or the server is gone.
    #[must_use]
    pub fn writers(&self, count: usize, first: usize) -> Writers {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let threads = (0..count)
            .map(|number| {
                let command = self.client();
                let base = first + number * 1_000_000;
                let acknowledged = Arc::clone(&acknowledged);
                thread::spawn(move || write_rows(command, base, &acknowledged))
            })
            .collect();
        Writers {
            acknowledged,
            threads,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            println!("--- log of mariadbd\n{}---", self.log());
        }
    }
}

/// Clients at work.
pub struct Writers {
    acknowledged: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<(BTreeSet<usize>, bool)>>,
}

/// Rows of one client: so many, unless it is stopped.
const ROWS: usize = 1500;

impl Writers {
    /// Waits until so many more rows are acknowledged.
    ///
    /// # Panics
    /// When that takes more than a minute.
    pub fn wait_for(&self, rows: usize) {
        let target = self.acknowledged.load(Ordering::SeqCst) + rows;
        let begin = Instant::now();
        while self.acknowledged.load(Ordering::SeqCst) < target {
            assert!(begin.elapsed() < DEADLINE, "the clients hang");
            let ended = self.threads.iter().all(JoinHandle::is_finished);
            assert!(!ended, "the clients have ended");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for them; answers the rows that were acknowledged, and whether each client wrote all it had.
    ///
    /// # Panics
    /// When one failed.
    #[must_use]
    pub fn join(self) -> (BTreeSet<usize>, bool) {
        let mut all = BTreeSet::new();
        let mut good = true;
        for thread in self.threads {
            let (rows, whole) = thread.join().expect("a client");
            good &= whole;
            all.extend(rows);
        }
        (all, good)
    }
}

/// A row is acknowledged when the client has read the answer to the statement behind it.
fn write_rows(
    mut command: Command,
    base: usize,
    acknowledged: &AtomicUsize,
) -> (BTreeSet<usize>, bool) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the client starts");
    let mut input = child.stdin.take().expect("a pipe");
    let feeder = thread::spawn(move || {
        for row in base..base + ROWS {
            let sql = format!(
                "INSERT INTO d.load VALUES ({row}, REPEAT('MARKER-load', 20));\nSELECT {row};\n"
            );
            if input.write_all(sql.as_bytes()).is_err() {
                return;
            }
        }
    });
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut rows = BTreeSet::new();
    for line in output.lines() {
        let line = line.expect("a line");
        rows.insert(line.parse().expect("the number of a row"));
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    feeder.join().expect("the feeder");
    let good = child.wait().expect("waiting works").success();
    let whole = good && rows.len() == ROWS;
    (rows, whole)
}

/// mariadbd refuses to be root unless it is told so.
fn as_root() -> &'static [&'static str] {
    // SAFETY: the call takes nothing and cannot fail.
    match unsafe { libc::geteuid() } {
        0 => &["--user=root"],
        _ => &[],
    }
}

fn search(directory: &Path, wanted: &[u8], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            search(&path, wanted, found);
        } else if path.is_file() {
            // The server may delete a file meanwhile.
            let bytes = fs::read(&path).unwrap_or_default();
            if contains(&bytes, wanted) {
                found.push(path);
            }
        }
    }
}

/// Whether bytes lie in others. The C library's search, because a debug build of ours would take minutes for what is searched here.
fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    // SAFETY: both slices are live and of the lengths that are said.
    let at = unsafe {
        libc::memmem(
            bytes.as_ptr().cast(),
            bytes.len(),
            wanted.as_ptr().cast(),
            wanted.len(),
        )
    };
    !at.is_null()
}

/// Makes a master key as the documentation says.
///
/// # Panics
/// When it is refused.
pub fn make_key(module: &Path, environment: &[(&'static str, PathBuf)], label: &str) {
    require("pkcs11-tool");
    let mut command = Command::new("pkcs11-tool");
    command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("STRONGROOM_DAEMON", "/nonexistent")
        .env("PIN", crate::USER_PIN)
        .arg("--module")
        .arg(module)
        .args(["--token-label", "suite", "--login", "--pin", "env:PIN"])
        .args(["--keygen", "--key-type", "AES:32", "--usage-decrypt"])
        .args(["--sensitive", "--private", "--label", label]);
    succeed(&mut command);
}
