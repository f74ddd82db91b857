//! The C side: everything that knows a C name or needs `unsafe`.
//!
//! What lives here: the table of functions, what callers allege, C structures, and the system calls that std has not.
//! What must never live here: what a function means; the entries ask the daemon.
//! Who calls it: applications, and the client for its system calls.

mod arguments;
mod caller;
pub mod functions;
mod guard;
mod interfaces;
mod layout;
mod params;
pub(crate) mod spawn;
pub(crate) mod system;
mod template;

#[cfg(test)]
pub(crate) use caller::Alleged;
pub(crate) use caller::{In, Out, Room};
pub(crate) use params::{Mechanism, WrapPlaces};
pub(crate) use template::Wanted;
