//! The same scenarios on SoftHSM and on us: what differs is a row in `divergences.toml`, with its reason, or a fault.
//!
//! What lives here: the list of the chapters.
//! What must never live here: an opinion of its own on what is right.
//! Who calls it: the suite of this package; `HSM_UNDER_TEST=softhsm` or `strongroom` plays on one module alone.

mod names;
mod rows;
mod stage;
mod transcript;

// The chapters, each a part of the standard.
mod cipher;
mod consumers;
mod find;
mod general;
mod generate;
mod legacy;
mod mechanisms;
mod objects;
mod sessions;
mod sign;
mod slots;
mod wrap;

pub use stage::scenario;
