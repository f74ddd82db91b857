//! Everything that exists only because keys are elsewhere now: in SoftHSM, in other modules, in files. Deleting this folder, its line in
//! the workspace and the part of the tests that names it leaves a complete HSM.
//!
//! What lives here: readers of foreign stores, the report of an import, and the look-alike of `softhsm2-util`.
//! What must never live here: a rule of the token; what may come in is decided by the daemon.
//! Who calls it: the programs of this package.

#![deny(unsafe_code)]

pub mod arguments;
pub mod door;
pub mod files;
pub mod foreign;
pub mod from_files;
pub mod from_modules;
pub mod softhsm;

pub mod source;
pub mod unlock;

pub mod keyfile;
pub mod opened;
pub mod report;
pub mod send;
