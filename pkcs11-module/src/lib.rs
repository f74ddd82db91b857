//! `libstrongroom_pkcs11.so`: the PKCS#11 module that applications load.
//!
//! What lives here: the C ABI ([`abi`]) and a client of the daemon. A call comes in through `abi/functions.rs`, is asked by an entry,
//! travels over a connection of the client, and goes back the same way.
//! What must never live here: a key, a rule of the token, and whatever a guest does not bring: a thread, a logger, a signal handler, an
//! atfork handler, a change to the environment, work at unload.
//! Who calls it: applications, through the three function lists.

#![deny(unsafe_code)]

#[allow(
    unsafe_code,
    reason = "the C ABI and the C library: the one unsafe room of the module"
)]
pub mod abi;
mod buffer;
mod client;
mod entry;
#[cfg(test)]
#[path = "tests/fake.rs"]
mod fake;
mod guise;
mod heritage;
mod kept;
mod locate;
mod logins;
mod operations;
mod prefetched;
mod process;
mod remote;
mod sessions;
pub mod softhsm;
mod stamp;
mod start;
