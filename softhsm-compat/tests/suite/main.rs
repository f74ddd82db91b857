//! The suite of this package: real SoftHSM, real daemon, real module.
//!
//! What lives here: the list of its modules.
//! What must never live here: a test that asks SoftHSM nothing.
//! Who calls it: `./test`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::macro_metavars_in_unsafe,
    reason = "tests: what fails here is the assertion; `call!` gets numbers and pointers made before"
)]
#![allow(
    unreachable_pub,
    reason = "modules of one test binary; `pub` means: for the others"
)]

mod brought;
mod differential;
mod doors;
mod lookalike;
mod original;
mod read;
mod util;
