//! A scripted daemon for tests.
//!
//! What lives here: a listener in a directory of its own that answers what it is told to answer.
//! What must never live here: rules of a token.
//! Who calls it: the unit tests, and `tests/host.rs`, which includes this file.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use strongroom_wire::ck::Rv;
use strongroom_wire::codec;
use strongroom_wire::frame::{self, Door, HEADER_BYTES};
use strongroom_wire::request::Request;
use strongroom_wire::response::{Answer, Body};

/// What the daemon does with a request.
pub(crate) enum Action {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes and closes the connection.
    SendAndClose(Vec<u8>),
}

/// A whole answer.
pub(crate) fn answer(rv: Rv, body: Body<'_>) -> Action {
    let mut payload = Vec::new();
    codec::encode(&Answer { rv, body }, &mut payload).unwrap();
    let mut bytes = frame::header(Door::Application, payload.len())
        .unwrap()
        .to_vec();
    bytes.extend(payload);
    Action::Send(bytes)
}

/// An answer without a body.
pub(crate) fn plain(rv: Rv) -> Action {
    answer(rv, Body::Empty)
}

type Script = dyn Fn(&Request<'_>) -> Action + Send + Sync;

struct Shared {
    script: Box<Script>,
    stopped: AtomicBool,
    admitted_max: AtomicUsize,
    greeted: AtomicUsize,
    /// Requests in the order they came, as their debug output: secrets show as their length.
    seen: Mutex<Vec<String>>,
    instances: Mutex<Vec<[u8; 16]>>,
    connections: Mutex<Vec<UnixStream>>,
}

/// A daemon, stopped when dropped.
pub(crate) struct Fake {
    shared: Arc<Shared>,
    socket: PathBuf,
}

/// Directories of one test, removed with its thread: the sockets in them are gone by then.
struct Directories(RefCell<Vec<PathBuf>>);

impl Drop for Directories {
    fn drop(&mut self) {
        for directory in self.0.get_mut() {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

thread_local! {
    static DIRECTORIES: Directories = const { Directories(RefCell::new(Vec::new())) };
}

/// A new empty directory.
pub(crate) fn directory() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("strongroom-module-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    DIRECTORIES.with(|all| all.0.borrow_mut().push(directory.clone()));
    directory
}

impl Fake {
    /// A daemon in a directory of its own.
    pub(crate) fn start(script: impl Fn(&Request<'_>) -> Action + Send + Sync + 'static) -> Self {
        Self::start_at(&directory().join("pkcs11.sock"), script)
    }

    /// A daemon at a socket.
    pub(crate) fn start_at(
        socket: &Path,
        script: impl Fn(&Request<'_>) -> Action + Send + Sync + 'static,
    ) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            stopped: AtomicBool::new(false),
            admitted_max: AtomicUsize::new(usize::MAX),
            greeted: AtomicUsize::new(0),
            seen: Mutex::new(Vec::new()),
            instances: Mutex::new(Vec::new()),
            connections: Mutex::new(Vec::new()),
        });
        let listening = Arc::clone(&shared);
        thread::spawn(move || listen(&listener, &listening));
        Self {
            shared,
            socket: socket.to_path_buf(),
        }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// How many connections said Hello.
    pub(crate) fn greeted(&self) -> usize {
        self.shared.greeted.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The instances that said Hello.
    pub(crate) fn instances(&self) -> Vec<[u8; 16]> {
        self.shared.instances.lock().unwrap().clone()
    }

    /// From now on accepts so many connections in all, and closes those over them at once.
    pub(crate) fn admit_only(&self, connections: usize) {
        self.shared
            .admitted_max
            .store(connections, Ordering::SeqCst);
    }

    /// Closes every connection, as a daemon that is restarted does.
    pub(crate) fn drop_connections(&self) {
        for stream in self.shared.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which closes its socket.
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
        self.drop_connections();
    }
}

fn listen(listener: &UnixListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let stream = stream.unwrap();
        let admitted = shared.connections.lock().unwrap().len();
        if admitted >= shared.admitted_max.load(Ordering::SeqCst) {
            continue;
        }
        shared
            .connections
            .lock()
            .unwrap()
            .push(stream.try_clone().unwrap());
        let shared = Arc::clone(shared);
        thread::spawn(move || while serve(&stream, &shared).is_some() {});
    }
}

fn serve(mut stream: &UnixStream, shared: &Shared) -> Option<()> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).ok()?;
    let mut payload = vec![0; frame::parse_header(Door::Application, header).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    let request: Request<'_> = codec::decode(&payload).unwrap();
    if let Request::Hello { instance, .. } = request {
        shared.greeted.fetch_add(1, Ordering::SeqCst);
        shared.instances.lock().unwrap().push(instance);
        return act(
            stream,
            answer(
                Rv::OK,
                Body::Hello {
                    daemon_version: [0, 1, 0],
                    sessions_max: 100,
                },
            ),
        );
    }
    shared.seen.lock().unwrap().push(format!("{request:?}"));
    act(stream, (shared.script)(&request))
}

fn act(mut stream: &UnixStream, action: Action) -> Option<()> {
    match action {
        Action::Send(bytes) => stream.write_all(&bytes).ok(),
        Action::SendAndClose(bytes) => {
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Both);
            None
        }
    }
}
