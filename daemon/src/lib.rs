//! strongroomd: the hands of the token.
//!
//! What lives here: socket, disk, clock and jail; the only process that ever holds a key.
//! What must never live here: a rule of PKCS#11. A line here that mentions an attribute or a mechanism is in the wrong room.
//! Who calls it: `main.rs`, and the tests of this package.

#![deny(unsafe_code)]

pub mod command_line;
pub mod config;

#[allow(unsafe_code, reason = "the one room for system calls that std has not")]
pub mod system;

pub mod daemonize;
pub mod directories;
pub mod failure;
pub mod handover;
pub mod harden;
pub mod jail;
pub mod log;
mod need;
pub mod notify;
mod process;
pub mod root;

pub mod changes;
pub mod clock;
pub mod journal;
pub mod seal;
pub mod store;
pub mod verify;

pub mod backup;

pub mod admin;
pub mod connection;
pub mod connections;
pub mod daemon;
pub mod frames;
pub mod listener;
pub mod sealed;
pub mod turns;
pub mod usage;
