//! The bench that the tests work at: temporary directories, running daemons, and a client of few lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use strongroom_wire::admin::{AdminAnswer, AdminRequest, Status};
use strongroom_wire::ck::Rv;
use strongroom_wire::codec;
use strongroom_wire::frame::{self, Door, HEADER_BYTES};
use strongroom_wire::request::Request;
use strongroom_wire::response::{Answer, Body};

pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("srd-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program, without this process's environment.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroomd"));
    command.env_clear().arg("--home").arg(home);
    command.args([
        "--pin-cost",
        "fast",
        "--danger-unlocked-memory",
        "--memory-bytes",
        "4194304",
    ]);
    command
}

/// A daemon in the foreground.
pub(crate) struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    home: PathBuf,
}

impl Running {
    pub(crate) fn start(home: &Path) -> Self {
        Self::start_with(program(home), home)
    }

    pub(crate) fn start_with(command: Command, home: &Path) -> Self {
        let mut running = Self::start_without_waiting(command, home);
        running.log_until(" ready: ");
        running
    }

    /// For those who want to read what it says before it is ready.
    pub(crate) fn start_without_waiting(mut command: Command, home: &Path) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            log,
            home: home.into(),
        }
    }

    /// Reads the log up to a line with this text.
    pub(crate) fn log_until(&mut self, text: &str) -> String {
        let mut line = String::new();
        let mut all = String::new();
        loop {
            line.clear();
            assert_ne!(
                self.log.read_line(&mut line).unwrap(),
                0,
                "no \"{text}\" in the log:\n{all}"
            );
            all.push_str(&line);
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap()
    }

    pub(crate) fn application(&self) -> Client {
        Client::connect(&self.home.join("pkcs11.sock"), Door::Application)
    }

    pub(crate) fn admin(&self) -> Client {
        Client::connect(&self.home.join("admin.sock"), Door::Admin)
    }

    pub(crate) fn status(&self) -> Status {
        self.admin().status()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) socket: UnixStream,
    door: Door,
}

impl Client {
    pub(crate) fn connect(path: &Path, door: Door) -> Self {
        Self {
            socket: UnixStream::connect(path).unwrap(),
            door,
        }
    }

    pub(crate) fn frame(&self, message: &impl Serialize) -> Vec<u8> {
        let mut payload = Vec::new();
        codec::encode(message, &mut payload).unwrap();
        let mut bytes = frame::header(self.door, payload.len()).unwrap().to_vec();
        bytes.append(&mut payload);
        bytes
    }

    pub(crate) fn send(&mut self, message: &impl Serialize) {
        let bytes = self.frame(message);
        self.socket.write_all(&bytes).unwrap();
    }

    /// The next payload; None when the daemon has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; HEADER_BYTES];
        self.socket.read_exact(&mut header).ok()?;
        let mut payload = vec![0; frame::parse_header(self.door, header).unwrap()];
        self.socket.read_exact(&mut payload).unwrap();
        Some(payload)
    }

    pub(crate) fn hello(mut self) -> Self {
        self.send(&Request::Hello {
            instance: [7; 16],
            shared_memory: false,
        });
        let payload = self.receive().expect("a greeting");
        let answer: Answer<'_> = codec::decode(&payload).unwrap();
        assert_eq!(answer.rv, Rv::OK);
        assert!(matches!(answer.body, Body::Hello { .. }));
        self
    }

    /// Asks something harmless, to see that the connection is served.
    pub(crate) fn is_served(&mut self) -> bool {
        self.send(&Request::SlotList);
        self.receive().is_some()
    }

    pub(crate) fn administer(&mut self, request: &AdminRequest<'_>) -> AdminAnswer {
        self.send(request);
        let payload = self.receive().expect("an answer");
        codec::decode(&payload).unwrap()
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.administer(&AdminRequest::Status) {
            AdminAnswer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }
}

/// Memory and crypto for tests that run inside this process.
pub(crate) fn start_memory() {
    let config = strongroom_keymem::Config {
        bytes: Some(4 << 20),
        locking: strongroom_keymem::Locking::DangerUnlockedAllowed,
    };
    strongroom_keymem::start(&config).unwrap();
    strongroom_crypto::start().unwrap();
}
