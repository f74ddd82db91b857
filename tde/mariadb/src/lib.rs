//! An encryption plug-in of MariaDB's server whose keys lie in a PKCS#11 token.
//!
//! What lives here: the map of the rooms. `abi` speaks C with the server and with the module, and is the only one that does; `settings`
//! says what the operator wants, `token` keeps the connection, `keyring` knows ids, versions and data keys, `pages` is the cipher of
//! the pages way, `plugin` is what the server asks.
//! What must never live here: anything of Strongroom. The token is reached through a PKCS#11 module by its path, so any HSM may stand there.
//! Who calls it: mariadbd, mariadb-backup, and nobody else.

#![deny(unsafe_code)]

#[allow(
    unsafe_code,
    reason = "the C of two strangers, the server and the module"
)]
mod abi;
mod keyring;
mod pages;
mod plugin;
mod settings;
mod token;

pub use abi::layout;
