//! The guard around every C function.
//!
//! What lives here: no panic leaves the module, and no function runs before C_Initialize or in a child that has not called it.
//! What must never live here: what a function does.
//! Who calls it: the shells in `functions.rs`.
//!
//! A panic would print through the host's panic hook before it is caught, and a hook belongs to the whole process, so none is set
//! here: the code behind the guard is written so that it has nothing to panic about.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cryptoki_sys::CK_RV;
use strongroom_wire::ck::Rv;

use crate::process::{self, Instance};

/// Runs a function that works before C_Initialize.
pub(crate) fn free(body: impl FnOnce() -> Result<(), Rv>) -> CK_RV {
    // Unwind safety: what the body borrows from the module is behind locks whose owners survive being left half way.
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(Rv::GENERAL_ERROR));
    outcome.err().unwrap_or(Rv::OK).0
}

/// Runs a function that needs C_Initialize to have been called in this very process.
pub(crate) fn served(body: impl FnOnce(&Instance) -> Result<(), Rv>) -> CK_RV {
    free(|| body(&*process::instance()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_general_error() {
        assert_eq!(free(|| panic!("caught")), Rv::GENERAL_ERROR.0);
        assert_eq!(free(|| Err(Rv::NO_EVENT)), Rv::NO_EVENT.0);
        assert_eq!(free(|| Ok(())), Rv::OK.0);
    }
}
