//! The flags of the daemon.
//!
//! What lives here: their names and what they say in the help.
//! What must never live here: defaults; a flag that is not given is None, and the configuration decides.
//! Who calls it: start-up.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use crate::backup::BackupArguments;

/// strongroomd: the daemon that holds the keys. Without any flag it serves one user from that user's own directories.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "strongroomd", version, about, max_term_width = 100)]
pub struct Arguments {
    /// Configuration file (default: per user, ~/.config/strongroom/strongroom.toml)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One directory for everything: configuration, sockets, store, key file, journal
    #[arg(long, value_name = "DIR", conflicts_with = "system")]
    pub home: Option<PathBuf>,
    /// The system-wide directories: /etc/strongroom, /run/strongroom, /var/lib/strongroom
    #[arg(long)]
    pub system: bool,
    /// Socket for applications
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Socket for administration
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Store of the sealed records
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Audit journal
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// File of the root key; made at the first start
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub key_file: Option<PathBuf>,
    /// File of a passphrase that the root key is derived from
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Descriptor on which the passphrase of the seal comes, up to its end; for a parent that starts strongroomd
    #[arg(long, value_name = "N", conflicts_with = "passphrase_file")]
    pub passphrase_fd: Option<i32>,
    /// What the audit records: all, management, none
    #[arg(long, value_name = "LEVEL")]
    pub audit_level: Option<String>,
    /// Locked memory in bytes (default: chosen from the limit of locked memory)
    #[arg(long, value_name = "BYTES")]
    pub memory_bytes: Option<usize>,
    /// Danger: run although memory cannot be locked, so that keys may reach the swap
    #[arg(long)]
    pub danger_unlocked_memory: bool,
    /// What the log shows: error, warn, info, debug
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log as JSON, one object a line
    #[arg(long)]
    pub log_json: bool,
    /// Go to the background; the command ends when requests are answered, or with the error
    #[arg(long)]
    pub daemonize: bool,
    /// Started by the module on behalf of an application: when another daemon was faster, wait until it answers
    #[arg(long)]
    pub autostarted: bool,
    /// End when nobody has been connected for so long, and at once when the directory of the socket has gone: for a daemon that belongs to
    /// a directory that comes and goes, as those of test runs do
    #[arg(long, value_name = "SECONDS", conflicts_with = "system")]
    pub ends_when_unused: Option<u64>,
    /// A line of the configuration file, before what the file says: KEY=VALUE with the names and values of the file, as in
    /// limits.user_tries_max=20
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Take the place of the running daemon without a connection refused: its listening sockets are taken over once it has finished the
    /// requests under way. Where none runs, start as usual
    #[arg(long)]
    pub replace: bool,
    /// Read the configuration, say whether it is right, and end
    #[arg(long)]
    pub check_config: bool,
    /// Check every record of the store, and the journal, change nothing, list all that is wrong, and end: 0 when nothing is
    #[arg(long, conflicts_with_all = ["daemonize", "check_config"])]
    pub verify: bool,
    /// Say as JSON what a check, a restore or a new key came to
    #[arg(long)]
    pub json: bool,
    /// Start although the store is older than its journal has seen it: after a backup was restored. The journal will say so
    #[arg(long)]
    pub accept_older_store: bool,
    /// As root: become this user before anything is opened
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Stay root although others may connect
    #[arg(long, conflicts_with = "user")]
    pub allow_root: bool,
    /// Danger: no filter of system calls, no rules for files (for debuggers)
    #[arg(long)]
    pub danger_no_jail: bool,
    /// Danger, for tests: PINs that cost an attacker nothing
    #[arg(long, value_name = "COST", hide = true)]
    pub pin_cost: Option<PinCostName>,
    /// Work that is done instead of serving
    #[command(flatten)]
    pub backup: BackupArguments,
}

/// What a PIN costs, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PinCostName {
    /// As much as is sensible.
    Default,
    /// Next to nothing.
    Fast,
}

impl Arguments {
    /// Makes every path absolute, so that a later change of directory does not change what it names.
    ///
    /// # Errors
    /// When there is no current directory.
    pub fn with_absolute_paths(mut self) -> io::Result<Self> {
        let all = [
            &mut self.config,
            &mut self.home,
            &mut self.socket,
            &mut self.admin_socket,
            &mut self.store,
            &mut self.journal,
            &mut self.key_file,
            &mut self.passphrase_file,
        ];
        for path in all.into_iter().chain(self.backup.paths()).flatten() {
            // A dash is standard input, and no file.
            if *path != Path::new("-") {
                *path = std::path::absolute(&*path)?;
            }
        }
        Ok(self)
    }

    /// Whether PINs shall be cheap.
    #[must_use]
    pub fn danger_fast_pins(&self) -> bool {
        self.pin_cost == Some(PinCostName::Fast)
    }
}
