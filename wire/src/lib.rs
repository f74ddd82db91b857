//! What the Strongroom processes agree on.
//!
//! What lives here: the numbers of PKCS#11 ([`ck`]), the messages of the two sockets ([`request`], [`response`], [`admin`]) and how
//! they become frames ([`frame`], [`codec`]). `PROTOCOL.md` beside this crate describes the bytes for a stranger.
//! What must never live here: rules of the token, pointers, system calls other than to reach a socket ([`socket`]).
//! Who calls it: the module and the command line on one side, the daemon and the token on the other.

#![forbid(unsafe_code)]

pub mod admin;
pub mod ck;
pub mod codec;
pub mod frame;
pub mod import;
pub mod mechanism;
pub mod paths;
pub mod rehearsal;
pub mod release;
pub mod request;
pub mod response;
pub mod secret;
pub mod socket;
