//! Published vectors through the C interface.
//!
//! What lives here: Project Wycheproof, and vectors of RFCs and NIST typed in by hand.
//! What must never live here: keys that are not in a publication.
//! Who calls it: `main.rs`.

mod published;
mod wycheproof;
