//! The rules of the standard, chapter by chapter.
//!
//! What lives here: slots, sessions, PINs, objects and their attributes.
//! What must never live here: what the mechanisms compute.
//! Who calls it: `main.rs`.

mod attributes;
mod client;
mod find;
mod kept;
mod objects;
mod pins;
mod protection;
mod sessions;
mod slots;
