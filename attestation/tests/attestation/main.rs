//! Evidence of every kind, real and made up, whole and altered.
//!
//! What lives here: the tests of the crate, through its public door.
//! What must never live here: code of the product.
//! Who calls it: the runner of the tests.

// Tests may fail loudly, their tools too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod altered;
mod container;
mod dcap;
mod dcap_forged;
mod forge;
mod forge_intel;
mod nitro;
mod sev_snp;
mod tpm;
