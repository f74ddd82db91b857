//! A foreign module in a process of its own.
//!
//! What lives here: the messages between the importer and that process, and its two ends. A module that crashes, or writes where it should not, ends its
//! process and not the import's.
//! What must never live here: files of keys; the daemon.
//! Who calls it: the door for modules.

#[allow(
    unsafe_code,
    reason = "the one room of this package for the C interface of other people's modules"
)]
mod raw;

pub mod reader;
mod serve;
pub mod talk;

pub use serve::serve;
