//! The change from a running daemon to a new one, without a connection refused.
//!
//! What lives here: what the old one offers and hears, and what the new one asks and says.
//! What must never live here: how a daemon stops or starts; those are the page in `main.rs`.
//! Who calls it: administration (old), start-up (new), and the end of `main.rs`.
//!
//! The new daemon asks on the administration socket, and gets the listening sockets and a line: a pair of sockets of which the old one holds
//! the other end. On it one byte stands for each step, and its end for the end of the process behind it.
//!
//! ```text
//! new: T  take over                 old: accepts nobody, finishes what is under way, closes store and journal
//!                                   old: R  released
//! new: opens the store, accepts
//! new: D  done                      old: ends
//! ```
//!
//! Until the old one hears D it can go on: when the line ends before that, it opens the store again and accepts.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_wire::admin::{AdminAnswer, AdminRequest};
use strongroom_wire::codec;
use strongroom_wire::frame::{self, Door, HEADER_BYTES};
use strongroom_wire::socket;

use crate::system;

/// What the old daemon has to do with a change.
#[derive(Debug, Default)]
pub struct Handover {
    /// Copies of the listening sockets, and whether their files are ours.
    sockets: Mutex<Option<([OwnedFd; 2], bool)>>,
    offer: Mutex<Option<Offer>>,
    /// Whether a new daemon has the sockets already.
    under_way: Arc<AtomicBool>,
    /// Set when the new daemon has asked to take over.
    asked: Mutex<Option<Successor>>,
}

/// What goes to the new daemon.
#[derive(Debug)]
pub struct Offer {
    sockets: [OwnedFd; 2],
    theirs: OwnedFd,
    successor: Successor,
}

/// The new daemon, as the old one sees it.
#[derive(Debug)]
pub struct Successor {
    line: UnixStream,
    /// Its process.
    pub pid: i32,
}

impl Handover {
    /// Keeps copies of the sockets for a daemon to come, and whether their files are ours.
    pub fn prepare(&self, sockets: [OwnedFd; 2], owns_files: bool) {
        *self.sockets.lock() = Some((sockets, owns_files));
    }

    /// Makes an offer to a process; answers whether the files of the sockets are ours.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::ResourceBusy`] while another daemon is taking over.
    pub fn offer(&self, pid: i32) -> io::Result<bool> {
        let sockets = self.sockets.lock();
        let ([application, admin], owns_files) = sockets
            .as_ref()
            .ok_or_else(|| io::Error::other("the daemon has no sockets to hand over yet"))?;
        if self.under_way.swap(true, Ordering::AcqRel) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another daemon is taking over",
            ));
        }
        let make = || {
            let sockets = [application.try_clone()?, admin.try_clone()?];
            let (line, theirs) = UnixStream::pair()?;
            Ok(Offer {
                sockets,
                theirs: theirs.into(),
                successor: Successor { line, pid },
            })
        };
        let made: io::Result<Offer> = make();
        match made {
            Ok(offer) => {
                *self.offer.lock() = Some(offer);
                Ok(*owns_files)
            }
            Err(error) => {
                self.under_way.store(false, Ordering::Release);
                Err(error)
            }
        }
    }

    /// The offer that was made.
    #[must_use]
    pub fn take_offer(&self) -> Option<Offer> {
        self.offer.lock().take()
    }

    /// Who has asked to take over, if that is why the daemon is to stop.
    #[must_use]
    pub fn asked(&self) -> Option<Successor> {
        self.asked.lock().take()
    }
}

impl Offer {
    /// The socket for applications, that for administration, and the other end of the line.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        let [application, admin] = &self.sockets;
        [application.as_fd(), admin.as_fd(), self.theirs.as_fd()]
    }

    /// Waits in a thread of its own until the new daemon is ready to take over, or has gone.
    ///
    /// # Errors
    /// What the system says when there is no further thread.
    pub fn await_word(self, handover: &Arc<Handover>) -> io::Result<()> {
        let Self { successor, .. } = self;
        let handover = Arc::clone(handover);
        thread::Builder::new()
            .name("handover".into())
            .spawn(move || {
                let Successor { mut line, pid } = successor;
                if hear(&mut line) == Some(TAKE_OVER) {
                    *handover.asked.lock() = Some(Successor { line, pid });
                    system::signal_myself(libc::SIGTERM);
                } else {
                    tracing::warn!(pid, "a new daemon went away before it took over");
                    handover.under_way.store(false, Ordering::Release);
                }
            })?;
        Ok(())
    }
}

impl Successor {
    /// Says that store and journal are free, and answers whether the new daemon has taken over.
    #[must_use]
    pub fn has_taken_over(mut self) -> bool {
        self.line.write_all(&[RELEASED]).is_ok() && hear(&mut self.line) == Some(DONE)
    }
}

/// The running daemon, as the new one sees it.
#[derive(Debug)]
pub struct Predecessor {
    line: UnixStream,
    sockets: Option<(UnixListener, UnixListener)>,
    /// Whether it made the files of the sockets.
    pub owns_files: bool,
}

impl Predecessor {
    /// Asks the daemon behind an administration socket for its sockets. None where nobody listens there.
    ///
    /// # Errors
    /// What was wrong, for a person; the running daemon goes on.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other answer, also one that is added later, answers another question"
    )]
    pub fn ask(admin_socket: &Path, socket: &Path) -> Result<Option<Self>, String> {
        let stream = match socket::connect(admin_socket) {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => {
                return Err(format!(
                    "cannot reach the running daemon on {}: {error}",
                    admin_socket.display()
                ));
            }
        };
        let (answer, descriptors) = converse(&stream).map_err(|error| {
            format!("the running daemon does not hand over ({error}); it may be too old for it: stop and start it")
        })?;
        let owns_files = match answer {
            AdminAnswer::Handover { owns_files } => owns_files,
            AdminAnswer::Refused { reason, .. } => return Err(reason),
            _ => return Err("the running daemon answered another question".into()),
        };
        let [application, admin, line] = <[OwnedFd; 3]>::try_from(descriptors)
            .map_err(|_| "the running daemon sent no sockets".to_owned())?;
        let application = UnixListener::from(application);
        let served = application
            .local_addr()
            .map_err(|error| error.to_string())?;
        if served.as_pathname() != Some(socket) {
            return Err(format!(
                "the running daemon serves another socket than {}; a new socket needs a stop and a start",
                socket.display()
            ));
        }
        Ok(Some(Self {
            line: line.into(),
            sockets: Some((application, admin.into())),
            owns_files,
        }))
    }

    /// The sockets, once.
    #[must_use]
    pub fn take_sockets(&mut self) -> Option<(UnixListener, UnixListener)> {
        self.sockets.take()
    }

    /// Tells the running daemon to step down, and waits until store and journal are free.
    ///
    /// # Errors
    /// What was wrong, for a person.
    pub fn step_down(&mut self) -> Result<(), String> {
        let failed = |what: &str| format!("the running daemon {what} while it stepped down");
        self.line
            .set_read_timeout(Some(STEP_DOWN_WITHIN))
            .map_err(|error| error.to_string())?;
        self.line
            .write_all(&[TAKE_OVER])
            .map_err(|_| failed("ended"))?;
        match hear(&mut self.line) {
            Some(RELEASED) => Ok(()),
            _ => Err(failed("ended or took too long")),
        }
    }

    /// Tells the old daemon that it is no longer needed.
    pub fn taken_over(mut self) {
        // Should it have gone already, nothing is missing.
        let _ = self.line.write_all(&[DONE]);
    }
}

/// Asks, and reads the answer with what comes along.
fn converse(mut stream: &UnixStream) -> io::Result<(AdminAnswer, Vec<OwnedFd>)> {
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut payload = Vec::new();
    codec::encode(&AdminRequest::Replace, &mut payload).map_err(io::Error::other)?;
    let header = frame::header(Door::Admin, payload.len()).map_err(io::Error::other)?;
    stream.write_all(&[header.as_slice(), &payload].concat())?;
    let (mut frame, mut descriptors) = (vec![0; ANSWER_BYTES_MAX], Vec::new());
    let mut filled = 0;
    loop {
        let room = frame.get_mut(filled..).unwrap_or_default();
        let count = system::receive_with_descriptors(stream.as_fd(), room, &mut descriptors)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        let Some(header) = frame.get(..filled).and_then(|frame| frame.first_chunk()) else {
            continue;
        };
        let payload_bytes = frame::parse_header(Door::Admin, *header).map_err(io::Error::other)?;
        if filled >= HEADER_BYTES + payload_bytes {
            let payload = frame.get(HEADER_BYTES..HEADER_BYTES + payload_bytes);
            let answer = codec::decode(payload.unwrap_or_default()).map_err(io::Error::other)?;
            return Ok((answer, descriptors));
        }
    }
}

/// The next byte on the line; none when it has ended.
fn hear(line: &mut UnixStream) -> Option<u8> {
    let mut word = [0];
    loop {
        match line.read(&mut word) {
            Ok(1) => return Some(word[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
}

const TAKE_OVER: u8 = b'T';
const RELEASED: u8 = b'R';
const DONE: u8 = b'D';
/// Longest wait for the answer to the first question.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for the running daemon to finish its requests and let go of the store: it gives requests five seconds.
const STEP_DOWN_WITHIN: Duration = Duration::from_secs(30);
/// Longest answer to the question: a refusal with its reason.
const ANSWER_BYTES_MAX: usize = 4096;
