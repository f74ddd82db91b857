//! Slots and tokens (PKCS#11 3.2, 5.5).
//!
//! What lives here: what is told of slots and tokens, and the initialising of tokens.
//! What must never live here: sessions.
//! Who calls it: the service.

use strongroom_wire::ck::flag;
use strongroom_wire::request::SlotId;
use strongroom_wire::response::{SlotInfo, TokenInfo};

use super::Reply;
use crate::calendar::Moment;
use crate::limits::{Limits, PIN_BYTES_MAX};
use crate::ports::Time;
use crate::token::Token;
use crate::vault::TokenState;

/// Who makes slots and tokens.
const MANUFACTURER: &str = "Strongroom";
/// The model of every token, at most 16 bytes.
const MODEL: &str = "Strongroom";

/// The slot of a token: tokens count from 1, slots from 0.
#[must_use]
pub const fn slot_of(token: u64) -> SlotId {
    SlotId(token.saturating_sub(1))
}

/// The number of the token in a slot.
#[must_use]
pub const fn token_of(slot: SlotId) -> u64 {
    slot.0.saturating_add(1)
}

/// C_GetSlotInfo.
#[must_use]
pub fn slot_info(slot: SlotId, daemon_version: [u8; 3], flags: u64) -> Reply {
    let [major, minor, _] = daemon_version;
    Reply::SlotInfo(SlotInfo {
        description: format!("Strongroom slot {slot}"),
        manufacturer: MANUFACTURER.to_owned(),
        flags,
        hardware_version: [0, 1],
        firmware_version: [major, minor],
    })
}

/// C_GetTokenInfo of an initialised token.
#[must_use]
pub fn token_info(
    token: &Token,
    own_sessions: (usize, usize),
    limits: &Limits,
    daemon_version: [u8; 3],
    now: Time,
) -> Reply {
    let state = token.state(limits);
    let mut info = blank_token_info(daemon_version, now, limits);
    info.label = state.label;
    info.serial_number.clone_from(&state.serial_number);
    info.flags |= flag::TOKEN_INITIALIZED | pin_flags(&state);
    let rehearsed = token.rehearsal().and_then(|one| one.plan().sessions_max);
    let sessions_max = limits.sessions_per_application_max as u64;
    let sessions_max = rehearsed.map_or(sessions_max, |most| most.min(sessions_max));
    (info.sessions_max, info.rw_sessions_max) = (sessions_max, sessions_max);
    info.sessions = own_sessions.0 as u64;
    info.rw_sessions = own_sessions.1 as u64;
    Reply::TokenInfo(Box::new(info))
}

/// C_GetTokenInfo of the free slot.
#[must_use]
pub fn free_token_info(daemon_version: [u8; 3], now: Time, limits: &Limits) -> Reply {
    Reply::TokenInfo(Box::new(blank_token_info(daemon_version, now, limits)))
}

fn blank_token_info([major, minor, _]: [u8; 3], now: Time, limits: &Limits) -> TokenInfo {
    let unknown = strongroom_wire::ck::UNAVAILABLE_INFORMATION;
    TokenInfo {
        label: [b' '; 32],
        manufacturer: MANUFACTURER.to_owned(),
        model: MODEL.to_owned(),
        serial_number: String::new(),
        flags: flag::RNG
            | flag::LOGIN_REQUIRED
            | flag::CLOCK_ON_TOKEN
            | flag::DUAL_CRYPTO_OPERATIONS
            | flag::RESTORE_KEY_NOT_NEEDED,
        sessions_max: 0,
        sessions: 0,
        rw_sessions_max: 0,
        rw_sessions: 0,
        pin_bytes_max: PIN_BYTES_MAX as u64,
        pin_bytes_min: limits.pin_bytes_min as u64,
        public_memory_total: unknown,
        public_memory_free: unknown,
        private_memory_total: unknown,
        private_memory_free: unknown,
        hardware_version: [0, 1],
        firmware_version: [major, minor],
        utc_time: utc_time(now),
    }
}

fn pin_flags(state: &TokenState) -> u64 {
    let mut flags = 0;
    if state.user_pin_initialized {
        flags |= flag::USER_PIN_INITIALIZED;
    }
    for (set, bit) in [
        (state.user_tries.count_low(), flag::USER_PIN_COUNT_LOW),
        (state.user_tries.final_try(), flag::USER_PIN_FINAL_TRY),
        (state.user_tries.locked(), flag::USER_PIN_LOCKED),
        (state.so_tries.count_low(), flag::SO_PIN_COUNT_LOW),
        (state.so_tries.final_try(), flag::SO_PIN_FINAL_TRY),
        (state.so_tries.locked(), flag::SO_PIN_LOCKED),
    ] {
        if set {
            flags |= bit;
        }
    }
    flags
}

/// `YYYYMMDDhhmmss00` (PKCS#11 3.2, 3.2, `CK_TOKEN_INFO`).
fn utc_time(now: Time) -> [u8; 16] {
    let moment = Moment::from(now);
    let date = moment.date;
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}00",
        date.year, date.month, date.day, moment.hour, moment.minute, moment.second
    );
    text.as_bytes().try_into().unwrap_or([b'0'; 16])
}

#[cfg(test)]
mod tests;
