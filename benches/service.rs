//! The service alone: a C_Sign from the encoded request to the recorded answer, over ports in memory.
//!
//! What lives here: one application with one key, spoken to in encoded messages as the module does it.
//! What must never live here: sockets and shared memory; those are measured in `ring/benches`.
//! Who calls it: `cargo bench --package strongroom`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a benchmark that cannot go on ends; the macros of criterion write functions without documentation"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use strongroom::application::Application;
use strongroom::audit::{Level, Principal};
use strongroom::limits::Limits;
use strongroom::ports::{MemoryClock, MemoryJournal, MemoryStore, Time};
use strongroom::service::{Ports, Service, Settings};
use strongroom::vault::PinCost;
use strongroom_keymem::{Config, Locking, SecretBytes, SecretVec};
use strongroom_wire::ck::{AttributeType as A, MechanismType, Rv, UserType, flag};
use strongroom_wire::codec::{self, List};
use strongroom_wire::request::{
    Attribute, AttributeValue, FlatAttribute, Mechanism, ObjectHandle, Output, Parameter, Request,
    SessionHandle, SlotId,
};
use strongroom_wire::response::{Answer, Body};
use strongroom_wire::secret::Secret;

