//! A daemon for a crowd, and how much memory it takes.
//!
//! What lives here: starting it with room for the crowd, looking at it, and ending it.
//! What must never live here: clients.
//! Who calls it: soak and fuzz.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use crate::product;

/// A running daemon in a directory of its own; both go when this does.
pub struct Daemon {
    home: PathBuf,
    child: Child,
}

/// What it takes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident bytes.
    pub resident: u64,
    /// Those of them that are neither a file nor shared with a client.
    pub private: u64,
    /// Locked bytes in use, as the daemon says.
    pub locked: u64,
    /// Its threads.
    pub threads: u64,
    /// Its open files.
    pub files: u64,
}

impl Daemon {
    /// Starts one that admits so many connections.
    ///
    /// # Errors
    /// What does not start.
    pub fn start(connections: usize, audit: &str, fast_pins: bool) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("srload{}-{number}", std::process::id());
        let home = std::env::temp_dir().join(name);
        let failed = |error: std::io::Error| format!("{}: {error}", home.display());
        fs::create_dir(&home).map_err(failed)?;
        let config = home.join("load.toml");
        let most = connections + 100;
        let text =
            format!("[limits]\nconnections_max = {most}\nconnections_per_user_max = {most}\n");
        fs::write(&config, text).map_err(failed)?;
        let log = fs::File::create(home.join("daemon.log")).map_err(failed)?;
        let mut command = Command::new(product::bin_dir().join("strongroomd"));
        command.arg("--home").arg(&home).arg("--config").arg(config);
        command.args(["--audit-level", audit, "--log-level", "warn"]);
        if fast_pins {
            command.args(["--pin-cost", "fast"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command
            .stderr(log)
            .spawn()
            .map_err(|error| format!("strongroomd: {error}"))?;
        let mut daemon = Self { home, child };
        let begin = Instant::now();
        while UnixStream::connect(daemon.socket()).is_err() {
            daemon.lives()?;
            if begin.elapsed() > Duration::from_mins(1) {
                return Err(format!("strongroomd does not answer\n{}", daemon.log()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }

    /// The socket of applications.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.join("pkcs11.sock")
    }

    /// The socket of administration.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.home.join("admin.sock")
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("daemon.log")).unwrap_or_default()
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// How it ended, and what it wrote.
    pub fn lives(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("strongroomd ended: {status}\n{}", self.log())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ends it as an administrator does.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub fn stop(mut self) -> Result<(), String> {
        self.lives()?;
        let number = i32::try_from(self.child.id()).map_err(|error| error.to_string())?;
        // SAFETY: the child is ours and not yet waited for, so the number is still its own.
        unsafe { libc::kill(number, libc::SIGTERM) };
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(format!("strongroomd ended: {status}\n{}", self.log()));
                }
                _ if begin.elapsed() > Duration::from_mins(1) => {
                    return Err("strongroomd does not end".to_owned());
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// What a daemon takes now.
///
/// # Errors
/// When it cannot be asked.
pub fn memory(process: u32, admin_socket: &Path) -> Result<Memory, String> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))
        .map_err(|error| format!("strongroomd is gone: {error}"))?;
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        word.and_then(|word| word.parse::<u64>().ok())
            .unwrap_or_default()
    };
    let files = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
    Ok(Memory {
        resident: number("VmRSS:") * 1024,
        private: number("RssAnon:") * 1024,
        locked: Client::status(admin_socket)?.memory_bytes_used,
        threads: number("Threads:"),
        files: files as u64,
    })
}

/// Memory over time, for people.
#[must_use]
pub fn table(samples: &[(f64, Memory)]) -> String {
    let mut text = format!(
        "\n{:<14} {:>14} {:>14} {:>14} {:>10} {:>10}\n",
        "seconds", "resident KiB", "private KiB", "locked KiB", "threads", "files"
    );
    let step = (samples.len() / 12).max(1);
    for (seconds, memory) in samples.iter().step_by(step).chain(samples.last()) {
        let _ = writeln!(
            text,
            "{seconds:<14.1} {:>14} {:>14} {:>14} {:>10} {:>10}",
            memory.resident >> 10,
            memory.private >> 10,
            memory.locked >> 10,
            memory.threads,
            memory.files
        );
    }
    text
}

/// One number of a sample.
type Part = fn(&Memory) -> u64;

/// Compares the settled first part with the last.
#[must_use]
pub fn growth(samples: &[(f64, Memory)], private_margin: u64) -> Vec<String> {
    let part = |from: usize, to: usize, what: Part| {
        let range = samples.len() * from / 100..samples.len() * to / 100;
        let mut values: Vec<u64> = samples[range]
            .iter()
            .map(|(_, memory)| what(memory))
            .collect();
        values.sort_unstable();
        // Low, because what comes and goes again is no growth.
        values.get(values.len() / 4).copied()
    };
    let kinds: [(&str, Part, u64); 4] = [
        ("private bytes", |memory| memory.private, private_margin),
        ("locked bytes", |memory| memory.locked, LOCKED_MARGIN),
        ("threads", |memory| memory.threads, 10),
        ("open files", |memory| memory.files, 10),
    ];
    let mut faults = Vec::new();
    for (name, what, margin) in kinds {
        let (Some(first), Some(last)) = (part(20, 40, what), part(80, 100, what)) else {
            faults.push("too short to say whether memory is flat".to_owned());
            break;
        };
        let most = first + (first / ALLOWED_PART).max(margin);
        if last > most {
            faults.push(format!(
                "{name} grew from {first} (lower quartile of 20 to 40 % of the time) to {last} (of the last 20 %), over {most}"
            ));
        }
    }
    faults
}

/// Memory may grow by a twentieth of what it was, or by a margin where that is more: allocators keep what was freed, and caches fill.
const ALLOWED_PART: u64 = 20;
const LOCKED_MARGIN: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(private: impl Fn(u64) -> u64) -> Vec<(f64, Memory)> {
        let sample = |second: u64| {
            let private = private(second);
            let memory = Memory {
                private,
                ..Memory::default()
            };
            (second as f64, memory)
        };
        (0..100).map(sample).collect()
    }

    #[test]
    fn memory_that_grows_is_found_and_memory_that_settles_is_not() {
        assert!(growth(&samples(|_| 100 << 20), 8 << 20).is_empty());
        // Warm after a tenth of the time.
        assert!(growth(&samples(|second| (10 + second.min(10)) << 22), 8 << 20).is_empty());
        let faults = growth(&samples(|second| (100 << 20) + (second << 18)), 8 << 20);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("private bytes grew"), "{faults:?}");
        assert!(!growth(&[], 0).is_empty());
    }
}
