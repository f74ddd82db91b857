//! Tests of the daemon: its parts, and the real program as a process.
//!
//! What lives here: one binary with a module for each part; the list of modules.
//! What must never live here: rules of the token; those are tested where they live.
//! Who calls it: `cargo test -p strongroomd`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a failed unwrap is the failed assertion"
)]

#[path = "daemon/backup.rs"]
mod backup;
#[path = "daemon/bench.rs"]
mod bench;
#[path = "daemon/bounds.rs"]
mod bounds;
#[path = "daemon/config.rs"]
mod config;
#[path = "daemon/film.rs"]
mod film;
#[path = "daemon/hostile.rs"]
mod hostile;
#[path = "daemon/jail.rs"]
mod jail;
#[path = "daemon/journal.rs"]
mod journal;
#[path = "daemon/power_cut.rs"]
mod power_cut;
#[path = "daemon/process.rs"]
mod process;
#[path = "daemon/root.rs"]
mod root;
#[path = "daemon/seal.rs"]
mod seal;
#[path = "daemon/service_manager.rs"]
mod service_manager;
#[path = "daemon/store.rs"]
mod store;
#[path = "daemon/store_faults.rs"]
mod store_faults;
#[path = "daemon/tpm.rs"]
mod tpm;
#[path = "daemon/verify.rs"]
mod verify;
