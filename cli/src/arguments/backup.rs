//! The arguments of backup and restore.
//!
//! What lives here: names and help texts.
//! What must never live here: what a command does.
//! Who calls it: the arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `backup`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "The usual way: make a key pair once (strongroom backup keygen KEY), move its private half away from this machine, and make backups \
                  with --to KEY.pub from then on; that needs no secret."
)]
pub struct BackupArguments {
    /// Keys, and checks
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    /// The file to write; it must not be there
    #[arg(required = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// File of a public key that the backup is made for; may be given several times, and each private half opens it (default: the keys
    /// of the configuration)
    #[arg(long, value_name = "FILE.pub")]
    pub to: Vec<PathBuf>,
    /// Make a key pair for this backup and show its private half in N shares, any K of which open it
    #[arg(long, value_name = "K/N")]
    pub shares: Option<String>,
}

/// What else there is about backups.
#[derive(Clone, Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a key pair for backups: FILE is the private half, FILE.pub the public one
    Keygen {
        /// The file to write
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Show the private half in N shares, any K of which open backups, instead of writing it
        #[arg(long, value_name = "K/N", conflicts_with = "passphrase_file")]
        shares: Option<String>,
        /// File with a passphrase for the private half; - is a line of standard input
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Check a backup without a daemon: with its private key everything, without only for damage
    Verify {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its private key
        #[command(flatten)]
        key: KeyArguments,
    },
}

/// Where the private half of a key for backups comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct KeyArguments {
    /// File with the private half
    #[arg(long, value_name = "FILE", conflicts_with = "shares_file")]
    pub identity: Option<PathBuf>,
    /// File with the passphrase of the private half; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE", requires = "identity")]
    pub passphrase_file: Option<PathBuf>,
    /// File with shares, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub shares_file: Option<PathBuf>,
}

/// Arguments of `restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreArguments {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Its private key (default: ask for shares, one after the other)
    #[command(flatten)]
    pub key: KeyArguments,
    /// Put it into the place of a store that is there; that one is kept beside it under another name
    #[arg(long)]
    pub replace_store: bool,
}
