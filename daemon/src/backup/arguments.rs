//! The flags of backup and restore.
//!
//! What lives here: their names and what they say in the help.
//! What must never live here: what they do.
//! Who calls it: the command line of the daemon. People use `strongroom backup` and `strongroom restore`, which call this program.

use std::path::PathBuf;

use clap::Args;

/// Flags of the work that is done instead of serving.
#[derive(Clone, Debug, Default, Args)]
#[command(
    next_help_heading = "Backup and restore (people use: strongroom backup, strongroom restore)"
)]
pub struct BackupArguments {
    /// Restore a backup and end; the daemon must not run
    #[arg(long, value_name = "FILE", conflicts_with_all = ["verify_backup", "backup_keygen"])]
    pub restore: Option<PathBuf>,
    /// Check a backup and end; with its private key everything, without only for damage
    #[arg(long, value_name = "FILE", conflicts_with = "backup_keygen")]
    pub verify_backup: Option<PathBuf>,
    /// Make a key pair for backups and end: FILE is the private half, FILE.pub the public one
    #[arg(long, value_name = "FILE")]
    pub backup_keygen: Option<PathBuf>,
    /// Split the private half into shares, K of which open, instead of writing it: with --backup-keygen
    #[arg(long, value_name = "K/N", requires = "backup_keygen")]
    pub backup_shares: Option<String>,
    /// File with the private half of the key that the backup was made for
    #[arg(long, value_name = "FILE", conflicts_with = "shares_file")]
    pub identity: Option<PathBuf>,
    /// File with the passphrase of the private half; - is a line of standard input (default: ask)
    #[arg(long, value_name = "FILE")]
    pub identity_passphrase_file: Option<PathBuf>,
    /// File with shares, one a line; - is standard input (default: ask for one after the other)
    #[arg(long, value_name = "FILE")]
    pub shares_file: Option<PathBuf>,
    /// Put the backup into the place of a store that is there; that one is kept beside it
    #[arg(long, requires = "restore")]
    pub replace_store: bool,
}

impl BackupArguments {
    /// Every path, to be made absolute.
    pub(crate) fn paths(&mut self) -> [&mut Option<PathBuf>; 6] {
        [
            &mut self.restore,
            &mut self.verify_backup,
            &mut self.backup_keygen,
            &mut self.identity,
            &mut self.identity_passphrase_file,
            &mut self.shares_file,
        ]
    }
}
