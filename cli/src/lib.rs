//! The `strongroom` command: a client of the administration socket. `bench`, `wrap` and `unwrap` are applications of the module instead.
//!
//! What lives here: arguments, questions to the daemon, and how answers are shown.
//! What must never live here: keys, the store, or a rule of the token; deleting this crate leaves a complete HSM.
//! Who calls it: `main.rs`, and the tests of this package.

#![deny(unsafe_code)]

pub mod arguments;
pub mod failure;
pub mod output;
pub mod place;

pub mod client;
pub mod pem;
pub mod pin;
pub mod rehearsal;
#[allow(unsafe_code, reason = "the one room for system calls that std has not")]
pub mod system;

pub mod command;
