//! Chapter slots and tokens (PKCS#11 3.2, 5.5).
//!
//! What lives here: slots, tokens, mechanisms, PINs; and the one empty slot that is shown without a daemon.
//! What must never live here: padding; the layout of C structures is the C side's.
//! Who calls it: the table of functions.

use std::sync::Arc;

use strongroom_wire::ck::{MechanismType, Rv, flag};
use strongroom_wire::request::{Request, SessionHandle, SlotId};
use strongroom_wire::response::{Body, MechanismEntry, SlotEntry, SlotInfo, TokenInfo};

use super::sessions::{tell_all, with_ticket};
use super::{ask, done};
use crate::abi::In;
use crate::guise::Guise;
use crate::process::Instance;

/// The slot that is shown when no daemon listens: without one, applications that start before the daemon would find no slot to wait
/// for. The daemon's first slot has the same number.
const EMPTY_SLOT: SlotId = SlotId(0);

/// C_GetSlotList.
pub(crate) fn list(at: &Instance, with_token_only: bool) -> Result<Vec<SlotId>, Rv> {
    let slots = ask_list(at);
    let slots = match slots {
        Err(Rv::TOKEN_NOT_PRESENT) => vec![SlotEntry {
            slot: EMPTY_SLOT,
            token_present: false,
        }],
        other => other?,
    };
    at.slots_seen().begin(&slots);
    let shown = slots
        .iter()
        .filter(|entry| entry.token_present || !with_token_only);
    Ok(shown.map(|entry| entry.slot).collect())
}

fn ask_list(at: &Instance) -> Result<Vec<SlotEntry>, Rv> {
    ask(at, &Request::SlotList, Rv::TOKEN_NOT_PRESENT, |body| {
        if let Body::Slots(slots) = body {
            Some(slots.items().to_vec())
        } else {
            None
        }
    })
}

/// A slot whose token came or went since the application last heard of it. The daemon is asked only when its page says that something
/// changed.
pub(crate) fn event(at: &Instance) -> Option<SlotId> {
    let page = at.client.stamps.page()?;
    if at.slots_seen().page == Some(page) {
        return None;
    }
    let slots = ask_list(at).ok()?;
    let mut seen = at.slots_seen();
    seen.begin(&slots);
    let event = seen.differing(&slots);
    if event.is_none() {
        seen.page = Some(page);
    }
    event
}

/// What the application knows of which slots hold a token.
#[derive(Default)]
pub(crate) struct SlotsSeen {
    slots: Vec<(SlotId, bool)>,
    /// What the daemon's page said when nothing differed.
    page: Option<(u64, u64)>,
}

impl SlotsSeen {
    /// Notes slots that were not known: they come without an event.
    fn begin(&mut self, slots: &[SlotEntry]) {
        for entry in slots {
            if !self.slots.iter().any(|(slot, _)| *slot == entry.slot) {
                self.slots.push((entry.slot, entry.token_present));
            }
        }
    }

    /// The first slot that is not as it was; it is known from then on.
    fn differing(&mut self, slots: &[SlotEntry]) -> Option<SlotId> {
        for (slot, present) in &mut self.slots {
            let now = slots.iter().find(|entry| entry.slot == *slot);
            if let Some(now) = now
                && now.token_present != *present
            {
                *present = now.token_present;
                return Some(*slot);
            }
        }
        None
    }
}

/// C_GetSlotInfo.
pub(crate) fn slot(at: &Instance, slot: SlotId) -> Result<SlotInfo, Rv> {
    let told = ask(at, &Request::SlotInfo { slot }, absent(slot), |body| {
        if let Body::SlotInfo(info) = body {
            Some(info.clone())
        } else {
            None
        }
    });
    let told = match told {
        Err(Rv::TOKEN_NOT_PRESENT) if slot == EMPTY_SLOT => empty_slot(),
        other => other?,
    };
    Ok(match at.guise() {
        Some(guise) => guise.slot(slot, told),
        None => told,
    })
}

fn empty_slot() -> SlotInfo {
    SlotInfo {
        description: "Strongroom (no daemon)".to_owned(),
        manufacturer: "Strongroom".to_owned(),
        // A token comes when the daemon does, hence removable.
        flags: flag::REMOVABLE_DEVICE,
        hardware_version: [0, 0],
        firmware_version: [0, 0],
    }
}

/// C_GetTokenInfo.
pub(crate) fn token(at: &Instance, slot: SlotId) -> Result<TokenInfo, Rv> {
    // It tells how many sessions there are.
    tell_all(at, slot)?;
    let told = ask(at, &Request::TokenInfo { slot }, absent(slot), |body| {
        if let Body::TokenInfo(info) = body {
            Some(info.clone())
        } else {
            None
        }
    })?;
    Ok(match at.guise() {
        Some(_) => Guise::token(told),
        None => told,
    })
}

/// C_GetMechanismList. Applications follow it with C_GetMechanismInfo a hundred times, so it is asked once and answered here until
/// something changes.
pub(crate) fn mechanisms(at: &Instance, slot: SlotId) -> Result<Arc<[MechanismEntry]>, Rv> {
    // Taken before it is asked: a change that comes in between makes the answer old at once.
    let now = at.client.now();
    if let Some(known) = at.known_mechanisms(slot, now)
        && !at.client.stamps.asks_always()
    {
        return Ok(known);
    }
    let list = ask(at, &Request::Mechanisms { slot }, absent(slot), |body| {
        if let Body::Mechanisms(list) = body {
            Some(Arc::from(list.items()))
        } else {
            None
        }
    })?;
    at.keep_mechanisms(slot, now, &list);
    Ok(list)
}

/// C_GetMechanismInfo.
pub(crate) fn mechanism(
    at: &Instance,
    slot: SlotId,
    kind: MechanismType,
) -> Result<MechanismEntry, Rv> {
    let list = mechanisms(at, slot)?;
    list.iter()
        .find(|entry| entry.kind == kind)
        .copied()
        .ok_or(Rv::MECHANISM_INVALID)
}

/// C_InitToken.
pub(crate) fn init_token(at: &Instance, slot: SlotId, pin: &In, label: [u8; 32]) -> Result<(), Rv> {
    // A token with sessions is not initialised again.
    tell_all(at, slot)?;
    let request = Request::InitToken {
        slot,
        pin: pin.secret(),
        label,
    };
    ask(at, &request, absent(slot), |_| Some(()))
}

/// C_InitPIN.
pub(crate) fn init_pin(at: &Instance, session: SessionHandle, pin: &In) -> Result<(), Rv> {
    done(
        at,
        &Request::InitPin {
            session,
            pin: pin.secret(),
        },
    )
}

/// C_SetPIN.
pub(crate) fn set_pin(at: &Instance, session: SessionHandle, old: &In, new: &In) -> Result<(), Rv> {
    // The ticket of the old PIN is worthless from now on, and there is a new one for it.
    let request = Request::SetPin {
        session,
        old: old.secret(),
        new: new.secret(),
    };
    with_ticket(at, session, &request)
}

/// What a slot is without a daemon: empty if it is the one shown, else unknown.
pub(super) fn absent(slot: SlotId) -> Rv {
    if slot == EMPTY_SLOT {
        Rv::TOKEN_NOT_PRESENT
    } else {
        Rv::SLOT_ID_INVALID
    }
}
