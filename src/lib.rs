//! The token of Strongroom: every rule, no hands.
//!
//! A request comes in at [`service`], the front desk. Its chapter ([`chapter`]) parses it, asks [`policy`] for a grant, and acts on the
//! [`session`], its operations, the [`object`]s. Every answer passes [`audit`], which alone can make something that may be sent.
//! [`vault`] seals what is kept; [`ports`] are the only way to the world.
//!
//! Invariants, most of them absences:
//!
//! - No file, socket, environment variable, process, thread or clock is touched here: effects come in through [`ports`].
//! - No primitive works without a [`policy::Grant`], and grants are made there alone.
//! - No secret value leaves but through [`attribute::reveal`] and the outputs of operations.
//! - Nothing is answered without a [`audit::Recorded`].

#![forbid(unsafe_code)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "errors and shapes are translated by naming those that change; the rest passes through"
)]

pub mod application;
pub mod attribute;
pub mod audit;
pub mod backup;
pub mod calendar;
pub mod chapter;
pub mod error;
pub mod limits;
pub mod mechanism;
pub mod object;
pub mod pace;
pub mod policy;
pub mod ports;
pub mod rehearsal;
pub mod release;
pub mod service;
pub mod session;
pub mod sink;
pub mod token;
pub mod vault;
