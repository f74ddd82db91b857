//! The room with the unsafe code: what is C.
//!
//! What lives here: the structures and the exported names that the server wants (`server`, `layout`), its log (`log`), the calls of the
//! PKCS#11 module (`cryptoki`), and the memory for data keys (`memory`).
//! What must never live here: a decision. Each file turns C into Rust at a door and asks the rooms behind it.
//! Who calls it: the server, through the exported names; and `token` and `keyring`, which want the module and the memory.

pub(crate) mod cryptoki;
pub mod layout;
pub(crate) mod log;
pub(crate) mod memory;
mod server;
