//! Backup and restore: the hands.
//!
//! What lives here: the parts of a backup on their way to the operator; the commands that work without a running daemon: making keys,
//! checking a backup, restoring one.
//! What must never live here: the form of a backup and of its keys; that is the token's.
//! Who calls it: connections of the administration socket, and `main.rs`.

mod arguments;
mod command;
mod draft;
mod files;
mod identity;
mod keys;
mod record;
mod restore;
mod serve;

pub use arguments::BackupArguments;
pub use command::{Work, run};
pub use identity::IdentitySource;
pub use restore::{Interrupted, Prepared, RestoreError, Target, finish_interrupted, prepare};
pub use serve::{Asker, served};
