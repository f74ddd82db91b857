//! An HSM of its own for each test.
//!
//! What lives here: starting, stopping and killing the daemon, the environment of the module, and the SoftHSM variant.
//! What must never live here: calls of PKCS#11 beyond making a first token.
//! Who calls it: every test.

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::module::Module;
use crate::product;
use crate::session::Session;

/// Which product is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Ours.
    Strongroom,
    /// SoftHSM 2, on which the suite itself is proved.
    SoftHsm,
}

/// What `HSM_UNDER_TEST` says.
///
/// # Panics
/// When it names neither.
#[must_use]
pub fn under_test() -> Product {
    match std::env::var("HSM_UNDER_TEST").as_deref() {
        Ok("softhsm") => Product::SoftHsm,
        Err(_) | Ok("" | "strongroom") => Product::Strongroom,
        Ok(other) => panic!("HSM_UNDER_TEST={other}: strongroom or softhsm"),
    }
}

/// Whether to leave out what follows because SoftHSM 2.6.1 lacks it or has it wrong. Always false for Strongroom.
#[must_use]
pub fn not_on_softhsm(reason: &str) -> bool {
    let skip = under_test() == Product::SoftHsm;
    if skip {
        println!("left out on SoftHSM: {reason}");
    }
    skip
}

/// SoftHSM, as Debian's package installs it.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// Held while the environment of the process is changed and read by a module.
static ENVIRONMENT: Mutex<()> = Mutex::new(());
/// How many modules this process has loaded; each but the first is loaded from a copy, to be an instance of its own.
static LOADED: AtomicU32 = AtomicU32::new(0);
static HOMES: AtomicU32 = AtomicU32::new(0);

/// A running HSM in a temporary directory, ended and removed on drop.
pub struct Hsm {
    /// Its directory.
    pub home: PathBuf,
    /// `fast`, or `default` for tests in which the cost of a PIN matters.
    pub pin_cost: &'static str,
    daemon: Option<Child>,
    /// What the daemon is given besides: variables and flags.
    pub variables: Vec<(&'static str, String)>,
    /// Flags.
    pub flags: Vec<String>,
}

impl Hsm {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let mut hsm = Self::at_rest();
        match under_test() {
            Product::Strongroom => hsm.start_daemon(),
            Product::SoftHsm => {
                let tokens = hsm.home.join("tokens");
                fs::create_dir(&tokens).expect("a token directory");
                let text = format!(
                    "directories.tokendir = {}\nlog.level = ERROR\n",
                    tokens.display()
                );
                fs::write(hsm.home.join("softhsm2.conf"), text).expect("a configuration");
            }
        }
        hsm
    }

    /// The directory alone; nothing runs.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn at_rest() -> Self {
        // Short, because the path of a socket has at most 107 bytes.
        let number = HOMES.fetch_add(1, Ordering::Relaxed);
        let home = PathBuf::from(format!("/tmp/sr{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home).expect("a temporary directory");
        Self {
            home,
            pin_cost: "fast",
            daemon: None,
            variables: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// Starts the daemon; for tests that stopped it before. Nothing to do for SoftHSM.
    ///
    /// # Panics
    /// When the daemon does not answer within a minute.
    pub fn start_daemon(&mut self) {
        if under_test() == Product::SoftHsm {
            return;
        }
        assert!(
            self.try_start_daemon(),
            "strongroomd ended:\n{}",
            self.log()
        );
    }

    /// As [`Hsm::start_daemon`]; answers whether it came up, or ended.
    ///
    /// # Panics
    /// When it does neither within a minute.
    pub fn try_start_daemon(&mut self) -> bool {
        self.daemon = Some(self.spawn(&[]));
        let begin = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            let child = self.daemon.as_mut().expect("a daemon");
            if child.try_wait().expect("waiting works").is_some() {
                self.daemon = None;
                return false;
            }
            assert!(
                begin.elapsed() < Duration::from_mins(1),
                "no answer:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Starts a daemon that takes the place of the running one, and waits until that has ended; answers whether it ended well.
    ///
    /// # Panics
    /// When there is none, or it does not end within a minute.
    pub fn replace_daemon(&mut self) -> bool {
        let new = self.spawn(&["--replace"]);
        let mut old = self.daemon.replace(new).expect("a daemon");
        let begin = Instant::now();
        loop {
            if let Some(status) = old.try_wait().expect("waiting works") {
                return status.success();
            }
            assert!(
                begin.elapsed() < Duration::from_mins(1),
                "it is not replaced:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts a daemon with more flags, and neither waits for it nor ends it.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn spawn(&self, more: &[&str]) -> Child {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        Command::new(product::bin_dir().join("strongroomd"))
            .arg("--home")
            .arg(&self.home)
            .args(["--pin-cost", self.pin_cost])
            .args(&self.flags)
            .args(more)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .spawn()
            .expect("strongroomd starts")
    }

    /// Whether the daemon has ended by itself, or by a signal.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn daemon_has_ended(&mut self) -> bool {
        let ended = |child: &mut Child| child.try_wait().expect("waiting works").is_some();
        self.daemon.as_mut().is_none_or(ended)
    }

    /// The application socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.join("pkcs11.sock")
    }

    /// The process id of the daemon; none for SoftHSM.
    #[must_use]
    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// What the daemon has written.
    #[must_use]
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = fs::File::open(self.log_path()) {
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.home.join("daemon.log")
    }

    /// Ends the daemon as an administrator does, and waits until it is gone.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop_daemon(&mut self) {
        let _ = self.end(libc::SIGTERM);
    }

    /// The same; answers whether it ended in order, and not by a signal of before or meanwhile.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stops_in_order(&mut self) -> bool {
        self.end(libc::SIGTERM)
            .is_some_and(|status| status.success())
    }

    /// Ends the daemon as a power failure does.
    ///
    /// # Panics
    /// When it does not end.
    pub fn kill_daemon(&mut self) {
        let _ = self.end(libc::SIGKILL);
    }

    fn end(&mut self, signal: i32) -> Option<ExitStatus> {
        let mut child = self.daemon.take()?;
        // SAFETY: the child is ours and not yet waited for, so the number is still its own.
        unsafe { libc::kill(child.id() as i32, signal) };
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("waiting works") {
                return Some(status);
            }
            if begin.elapsed() > Duration::from_secs(20) {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "strongroomd did not end by signal {signal}:\n{}",
                    self.log()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Writes `strongroom.toml` and has the daemon read it.
    ///
    /// # Panics
    /// When it is refused.
    pub fn configure(&self, text: &str) {
        fs::write(self.home.join("strongroom.toml"), text).expect("a configuration");
        self.administer(&["reload"]);
    }

    /// Runs the command line of the operator; answers what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn administer(&self, arguments: &[&str]) -> String {
        let output = self.try_administer(arguments);
        assert!(
            output.status.success(),
            "strongroom {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs the command line of the operator.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn try_administer(&self, arguments: &[&str]) -> std::process::Output {
        self.command(product::bin_dir().join("strongroom"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("strongroom starts")
    }

    /// The environment that tools and other processes need, to reach this HSM.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        match under_test() {
            Product::Strongroom => vec![
                ("STRONGROOM_HOME", self.home.clone()),
                ("STRONGROOM_SOCKET", self.socket()),
            ],
            Product::SoftHsm => vec![("SOFTHSM2_CONF", self.home.join("softhsm2.conf"))],
        }
    }

    /// A command that reaches this HSM.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment()).current_dir(&self.home);
        command
    }

    /// Loads the module as an instance of its own, not initialised.
    ///
    /// # Panics
    /// When it cannot be loaded.
    #[must_use]
    pub fn load(&self) -> Module {
        let original = module_path();
        let number = LOADED.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            return Module::load(&original);
        }
        let copy = self.home.join(format!("module{number}.so"));
        fs::copy(&original, &copy).expect("a copy of the module");
        Module::load(&copy)
    }

    /// `C_Initialize` with the environment pointing at this HSM.
    ///
    /// # Panics
    /// When it is refused.
    pub fn initialize(&self, module: &Module) {
        let _guard = ENVIRONMENT
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, value) in self.environment() {
            // SAFETY: under the lock that every writer of the environment in this process holds; readers in C are the modules,
            // which read it in C_Initialize, below, under the same lock.
            unsafe { std::env::set_var(name, value) };
        }
        module
            .initialize()
            .unwrap_or_else(|code| panic!("C_Initialize: {code:?}\n{}", self.log()));
    }

    /// SoftHSM beside this HSM, with tokens of its own, whatever product is under test.
    ///
    /// # Panics
    /// When it is not installed.
    #[must_use]
    pub fn softhsm_beside(&self) -> Module {
        let place = self.home.join("softhsm");
        let tokens = place.join("tokens");
        fs::create_dir_all(&tokens).expect("a token directory");
        let configuration = place.join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\n", tokens.display());
        fs::write(&configuration, text).expect("a configuration");
        let copy = place.join("module.so");
        fs::copy(SOFTHSM, &copy).expect("SoftHSM, from Debian's package softhsm2");
        let module = Module::load(&copy);
        let _guard = ENVIRONMENT
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: under the lock, as in `initialize`.
        unsafe { std::env::set_var("SOFTHSM2_CONF", &configuration) };
        module.initialize().expect("C_Initialize of SoftHSM");
        module
    }

    /// Loads and initialises the module.
    #[must_use]
    pub fn module(&self) -> Module {
        let module = self.load();
        self.initialize(&module);
        module
    }
}

impl Drop for Hsm {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            // SAFETY: the child is ours and not yet waited for, so the number is still its own.
            unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
            let begin = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                if begin.elapsed() > Duration::from_secs(5) {
                    let _ = child.kill();
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        if thread::panicking() {
            println!(
                "--- daemon log of {}\n{}---",
                self.home.display(),
                self.log()
            );
        }
        if std::env::var_os("STRONGROOM_KEEP_HOMES").is_none() {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

/// The module under test.
#[must_use]
pub fn module_path() -> PathBuf {
    match under_test() {
        Product::Strongroom => product::bin_dir().join("libstrongroom_pkcs11.so"),
        Product::SoftHsm => Path::new(SOFTHSM).to_path_buf(),
    }
}

/// An HSM, its module and a token with both PINs: where most tests begin.
pub struct Workplace {
    /// The module, initialised.
    pub module: Module,
    /// The slot of the token.
    pub slot: CK_SLOT_ID,
    /// The HSM; last, so that it ends after everything else.
    pub hsm: Hsm,
}

impl Workplace {
    /// Makes one; the token is labelled `suite`.
    #[must_use]
    pub fn open() -> Self {
        let hsm = Hsm::start();
        let module = hsm.module();
        let slot = module.make_token("suite");
        Self { module, slot, hsm }
    }

    /// A read-write session, logged in as user.
    ///
    /// # Panics
    /// When one of both is refused.
    #[must_use]
    pub fn user(&self) -> Session<'_> {
        let session = Session::open_rw(&self.module, self.slot).expect("C_OpenSession");
        match session.login(CKU_USER, crate::USER_PIN) {
            Err(code) if code.0 != CKR_USER_ALREADY_LOGGED_IN => panic!("C_Login: {code:?}"),
            _ => session,
        }
    }

    /// A read-write session; nobody logs in.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn public(&self) -> Session<'_> {
        Session::open_rw(&self.module, self.slot).expect("C_OpenSession")
    }

    /// Whether the token offers a mechanism.
    #[must_use]
    pub fn offers(&self, mechanism: CK_MECHANISM_TYPE) -> bool {
        self.module.mechanism_info(self.slot, mechanism).is_ok()
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = self.module.finalize();
    }
}
