//! Tests of the command line against a daemon that is played by the test.
//!
//! What lives here: arguments, forms of output, exit codes, and the program itself as a process.
//! What must never live here: the real daemon; the tests of the whole product meet it.
//! Who calls it: `cargo test -p strongroom-cli`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a failed unwrap is the failed assertion"
)]

#[path = "cli/arguments.rs"]
mod arguments;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/measuring.rs"]
mod measuring;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/place.rs"]
mod place;
#[path = "cli/rehearsal.rs"]
mod rehearsal;
#[path = "cli/seal.rs"]
mod seal;
#[path = "cli/wrapping.rs"]
mod wrapping;
