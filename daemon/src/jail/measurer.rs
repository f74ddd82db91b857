//! The measurer: what the process of a client is, for the daemon's own authority.
//!
//! What lives here: the measurer's port, and the process aside that hashes programs.
//! What must never live here: what is made of it (the token's releases).
//! Who calls it: start-up splits it off where `release.local` is on, the token asks it.
//!
//! To hash another process's program one must be allowed to look into that process and to open its file. The daemon may do neither, the
//! witness may not open files. So this is a second process aside, for those who want it: it reads files and writes none.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom::audit::Principal;
use strongroom::ports::{self, Measurement, Program};

use super::JailError;
use super::aside::{self, Aside, row};
use super::filter::{Argument, Call, Refusal, Rule, Value};
use crate::config::{Configuration, Walls};
use crate::process;
use crate::system::{self, Capabilities};

/// The daemon's end.
#[derive(Debug)]
pub struct Measurer(Mutex<Scales>);

/// Who hashes programs.
#[derive(Debug)]
enum Scales {
    /// Nobody: `release.local` was off when the daemon started.
    Off,
    /// The daemon itself, where there is no jail.
    Here,
    /// A process aside.
    Aside(UnixStream),
    /// One that has ended.
    Gone,
}

impl Measurer {
    /// Splits the measurer off, if the configuration wants it.
    ///
    /// Call it while the process has one thread and no secret.
    ///
    /// # Errors
    /// [`JailError`].
    pub fn split_off(configuration: &Configuration) -> Result<Self, JailError> {
        let may_look =
            system::capabilities().is_ok_and(|all| all.and(Capabilities::SYS_PTRACE).0 != 0);
        if configuration.release.local && !may_look {
            tracing::info!(
                "release.local: without the capability CAP_SYS_PTRACE, programs of other users are not measured"
            );
        }
        let scales = match (configuration.release.local, configuration.walls) {
            (false, _) => Scales::Off,
            (true, Walls::DangerNone) => Scales::Here,
            (true, _) => Scales::Aside(ASIDE.split_off()?),
        };
        Ok(Self(Mutex::new(scales)))
    }

    fn program(&self, pid: u32) -> Result<Program, String> {
        let mut scales = self.0.lock();
        match &*scales {
            Scales::Off => Err("release.local was off when the daemon started".into()),
            Scales::Here => process::program(pid),
            Scales::Gone => Err("the measuring process is gone; restart the daemon".into()),
            Scales::Aside(socket) => match aside::ask(socket, pid) {
                Ok(answer) => understood(&answer),
                Err(error) => {
                    tracing::error!(%error, "the measuring process is gone: from here on no program of a client is measured; restart the daemon");
                    // An answer that comes late must not be taken for the next one.
                    *scales = Scales::Gone;
                    Err("the measuring process has not answered".into())
                }
            },
        }
    }
}

impl ports::Measurer for Measurer {
    /// A program that cannot be seen is left out; a process that is not the one that connected, or runs another program since, is refused.
    fn measure(&self, who: &Principal) -> Result<Measurement, String> {
        let gone = || "it has ended, or is of another namespace".to_owned();
        let pid = u32::try_from(who.pid).ok().filter(|pid| *pid != 0);
        let pid = pid.ok_or_else(gone)?;
        let program = match self.program(pid) {
            Ok(program) if program.path != process::without_mark(&who.executable) => {
                return Err("it runs another program than when it connected".into());
            }
            Ok(program) => Some(program),
            Err(why) => {
                tracing::info!(pid, "the program of a process is not measured: {why}");
                None
            }
        };
        let unit = process::unit(who.pid);
        // Looked at last: all that was read before was of the process that connected, if it is still there.
        if who.started.is_none() || process::started(who.pid) != who.started {
            return Err(gone());
        }
        Ok(Measurement { program, unit })
    }
}

/// One byte, then hash and path, or the reason why there are none.
fn answer(pid: u32) -> Vec<u8> {
    match process::program(pid) {
        Ok(program) => [&[FOUND], &program.sha256[..], program.path.as_bytes()].concat(),
        Err(why) => [&[NOT_FOUND], why.as_bytes()].concat(),
    }
}

fn understood(answer: &[u8]) -> Result<Program, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match answer.split_first() {
        Some((&FOUND, found)) => {
            let (sha256, path) = found
                .split_first_chunk()
                .ok_or("its answer was cut short")?;
            Ok(Program {
                path: text(path),
                sha256: *sha256,
            })
        }
        Some((_, why)) => Err(text(why)),
        None => Err("its path is too long".into()),
    }
}

const FOUND: u8 = 1;
const NOT_FOUND: u8 = 0;

/// The measurer. Half a gigabyte is read and hashed in less than it waits, also from a slow disk.
pub const ASIDE: Aside = Aside {
    name: c"strongroom-hash",
    called: "the measurer",
    calls: &[aside::CALLS, CALLS],
    patience: Duration::from_secs(30),
    answer,
};

/// To read alone: nothing is made, cut or written.
const READ_ONLY: &[Argument] = &[Argument {
    index: 2,
    mask: (libc::O_ACCMODE
        | libc::O_CREAT
        | libc::O_TRUNC
        | libc::O_APPEND
        | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u64,
    values: &[Value::Number(libc::O_RDONLY as u64)],
}];
const ASKS_FOR_FLAGS: &[Argument] = &[Argument {
    index: 1,
    mask: 0xFFFF_FFFF,
    values: &[Value::Number(libc::F_GETFD as u64)],
}];

/// What it may do beside the others.
#[rustfmt::skip]
const CALLS: &[Call] = &[
    Call { number: libc::SYS_openat, name: "openat", rule: Rule::AllowIf(READ_ONLY, Refusal::Kill), why: "the file of a program, to read it" },
    row(libc::SYS_fstatfs, "fstatfs", "whether another program says what is in that file"),
    Call { number: libc::SYS_fcntl, name: "fcntl", rule: Rule::AllowIf(ASKS_FOR_FLAGS, Refusal::Kill), why: "builds with checks ask whether a file is open before they close it" },
    row(libc::SYS_close, "close", "the file of a program"),
];

#[cfg(test)]
mod tests {
    use strongroom::ports::Measurer as _;

    use super::*;

    fn myself() -> Principal {
        let pid = i32::try_from(std::process::id()).unwrap();
        Principal {
            uid: 0,
            gid: 0,
            pid,
            executable: std::env::current_exe().unwrap().display().to_string(),
            started: process::started(pid),
        }
    }

    fn here() -> Measurer {
        Measurer(Mutex::new(Scales::Here))
    }

    #[test]
    fn a_process_is_measured_that_is_still_the_one_that_connected() {
        let found = here().measure(&myself()).unwrap();
        assert_eq!(found.program.unwrap().path, myself().executable);
        for other in [
            Principal {
                executable: "/usr/bin/other".into(),
                ..myself()
            },
            Principal {
                started: myself().started.map(|ticks| ticks + 1),
                ..myself()
            },
            Principal {
                started: None,
                ..myself()
            },
            Principal { pid: 0, ..myself() },
            Principal {
                pid: i32::MAX,
                ..myself()
            },
        ] {
            here().measure(&other).unwrap_err();
        }
    }

    #[test]
    fn what_the_process_aside_answers_is_understood_or_refused() {
        let own = std::process::id();
        assert_eq!(understood(&answer(own)), process::program(own));
        assert!(understood(&answer(u32::MAX)).unwrap_err().contains("seen"));
        assert!(understood(&[FOUND, 1, 2]).is_err());
        assert!(understood(&[]).is_err());
    }

    #[test]
    fn where_nobody_hashes_programs_none_is_known() {
        for scales in [Scales::Off, Scales::Gone] {
            let measurer = Measurer(Mutex::new(scales));
            assert_eq!(measurer.measure(&myself()).unwrap().program, None);
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let measurer = Measurer(Mutex::new(Scales::Aside(ours)));
        assert_eq!(measurer.measure(&myself()).unwrap().program, None);
        assert!(matches!(*measurer.0.lock(), Scales::Gone));
    }
}
