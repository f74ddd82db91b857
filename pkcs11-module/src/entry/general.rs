//! Chapter general purpose: what the module says of itself, and waiting (PKCS#11 3.2, 5.4 and 5.5.4).
//!
//! What lives here: answers that need no daemon, and the wait for what only the daemon knows.
//! What must never live here: C_GetFunctionList and its kin; they are tables.
//! Who calls it: the table of functions.

use std::time::Duration;

use strongroom_wire::ck::{Rv, flag};
use strongroom_wire::request::SlotId;

use super::slots;
use crate::guise::Guise;
use crate::process::Instance;

/// `CK_INFO`, strings not padded.
pub(crate) struct Information {
    /// Who made it.
    pub(crate) manufacturer: &'static str,
    /// What it is.
    pub(crate) description: &'static str,
    /// Version of the module, major and minor.
    pub(crate) version: [u8; 2],
}

/// C_GetInfo.
pub(crate) fn information(at: &Instance) -> Information {
    if at.guise().is_some() {
        return Guise::information();
    }
    let number = |text: &str| text.parse().unwrap_or_default();
    Information {
        manufacturer: "Strongroom",
        description: "Strongroom PKCS#11 module",
        version: [
            number(env!("CARGO_PKG_VERSION_MAJOR")),
            number(env!("CARGO_PKG_VERSION_MINOR")),
        ],
    }
}

/// C_WaitForSlotEvent. Tokens come and go behind an application's back in a rehearsal only. The call that may block ends also when another
/// thread calls C_Finalize (PKCS#11 3.2, 5.5.4).
pub(crate) fn wait_for_slot_event(at: &Instance, flags: u64) -> Result<SlotId, Rv> {
    // SoftHSM does not wait, and what was written for it does not expect to.
    if at.guise().is_some() && flags & flag::DONT_BLOCK == 0 {
        return Err(Rv::FUNCTION_NOT_SUPPORTED);
    }
    loop {
        if let Some(slot) = slots::event(at) {
            return Ok(slot);
        }
        if flags & flag::DONT_BLOCK != 0 {
            return Err(Rv::NO_EVENT);
        }
        if at.ends_within(LOOK_AGAIN) {
            return Err(Rv::CRYPTOKI_NOT_INITIALIZED);
        }
    }
}

/// How often the daemon's page is looked at while somebody waits.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
