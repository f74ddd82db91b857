//! The suite of this package: real SoftHSM, real daemon, real module.
//!
//! What lives here: the list of its modules.
//! What must never live here: a test that asks SoftHSM nothing.
//! Who calls it: `./test`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails loudly"
)]

mod lookalike;
