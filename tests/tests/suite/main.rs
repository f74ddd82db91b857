//! The black-box suite, one binary: `HSM_UNDER_TEST=softhsm` runs it against SoftHSM 2, everything else against Strongroom.
//!
//! What lives here: the list of the chapters.
//! What must never live here: tests.
//! Who calls it: `cargo nextest run -p strongroom-tests`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "tests: what fails here is the assertion"
)]
#![allow(
    unreachable_pub,
    reason = "modules of one test binary; `pub` means: for the other chapters"
)]

mod abi;
mod backup;
mod bounds;
mod crash;
mod cryptoki;
mod databases;
mod disk_full;
mod faults;
mod forks;
mod formats;
mod importing;
mod ledger;
mod load;
mod mariadb;
mod mechanisms;
mod postgresql;
mod rehearsal;
mod release;
mod release_elsewhere;
mod release_forged;
mod release_local;
mod release_open;
mod replace;
mod restart;
mod robustness;
mod scale;
mod sealed;
mod second;
mod secrecy;
mod tools;
mod vectors;
mod wrap_command;

use strongroom_tests::keys;
