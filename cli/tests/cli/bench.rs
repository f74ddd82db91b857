//! The bench: temporary directories, a daemon played by a thread, and the program.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};

use strongroom_wire::admin::{AdminAnswer, AdminRequest, Jail, Object, Status, Token};
use strongroom_wire::codec;
use strongroom_wire::frame::{self, Door, HEADER_BYTES};

pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("src-{}-{count}", std::process::id()));
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

/// Plays a daemon in `home` that answers every request alike, and hands out what was asked, with the PINs shown.
pub(crate) fn daemon(home: &Directory, answer: AdminAnswer) -> Receiver<String> {
    let listener = UnixListener::bind(home.join("admin.sock")).unwrap();
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            if let Some(request) = converse(&mut socket.unwrap(), &answer) {
                // The test may have seen enough.
                let _ = sender.send(request);
            }
        }
    });
    asked
}

/// None when the client only knocked.
fn converse(socket: &mut UnixStream, answer: &AdminAnswer) -> Option<String> {
    let mut header = [0; HEADER_BYTES];
    socket.read_exact(&mut header).ok()?;
    let mut payload = vec![0; frame::parse_header(Door::Admin, header).unwrap()];
    socket.read_exact(&mut payload).unwrap();
    let request: AdminRequest<'_> = codec::decode(&payload).unwrap();
    let request = shown(&request);
    let mut payload = Vec::new();
    codec::encode(answer, &mut payload).unwrap();
    let mut whole = frame::header(Door::Admin, payload.len()).unwrap().to_vec();
    whole.append(&mut payload);
    socket.write_all(&whole).unwrap();
    Some(request)
}

fn shown(request: &AdminRequest<'_>) -> String {
    match request {
        AdminRequest::TokenCreate {
            label,
            so_pin,
            user_pin,
        } => {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let user = user_pin.map(|pin| text(pin.expose()));
            format!("create {label} {} {user:?}", text(so_pin.expose()))
        }
        other => format!("{other:?}"),
    }
}

/// The program, without this process's environment, and its answer.
pub(crate) fn run(home: &Directory, arguments: &[&str], input: &str) -> Answer {
    let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
        .env_clear()
        .arg("--home")
        .arg(home.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input has closed it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Answer::of(child.wait_with_output().unwrap())
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) error: String,
}

impl Answer {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            text: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn status() -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime_seconds: 3_700,
        socket: "/run/s".into(),
        admin_socket: "/run/a".into(),
        store: "/store".into(),
        journal: "/journal".into(),
        config: None,
        seal: "key file /k".into(),
        audit_level: "all".into(),
        memory_locking: "memfd_secret".into(),
        memory_bytes_total: 64 << 20,
        memory_bytes_used: 3 << 19,
        memory_bytes_peak: 2 << 20,
        applications: 1,
        connections: 2,
        sessions: 3,
        tokens: 4,
        objects: 5,
        requests: 6,
        jail: Jail {
            seccomp: true,
            landlock: 7,
            capabilities: 0,
            root: false,
        },
        rehearsing: 0,
        sealed: false,
        sealed_until: None,
    }
}

pub(crate) fn token() -> Token {
    Token {
        slot: 0,
        label: "pay\u{1b}[31mments".into(),
        serial_number: "00112233".into(),
        user_pin_initialized: true,
        user_pin_locked: false,
        so_pin_locked: false,
        open: false,
        objects: 7,
        sessions: 0,
        rehearses: false,
    }
}

pub(crate) fn object() -> Object {
    Object {
        unique_id: "u-1".into(),
        class: "CKO_PRIVATE_KEY".into(),
        key_type: Some("CKK_RSA".into()),
        label: "ca".into(),
        id: "01".into(),
        bits: Some(2048),
        flags: vec!["private".into(), "sign".into()],
    }
}
