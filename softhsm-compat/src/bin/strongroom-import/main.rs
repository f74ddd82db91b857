//! strongroom-import: the way from arguments to an exit code.
//!
//! What lives here: `main`.
//! What must never live here: how anything is read or written.
//! Who calls it: people and scripts.

fn main() {}
