//! C structures filled from answers.
//!
//! What lives here: padding and field order of the information structures.
//! What must never live here: where they are written; `caller.rs` does it.
//! Who calls it: the table of functions.

use cryptoki_sys::{
    CK_INFO, CK_MECHANISM_INFO, CK_SESSION_INFO, CK_SLOT_INFO, CK_TOKEN_INFO, CK_VERSION,
};
use strongroom_wire::response::{MechanismEntry, SessionInfo, SlotInfo, TokenInfo};

use crate::entry::general::Information;

/// PKCS#11 3.2, 3.1: strings are padded with blanks and have no final zero. A longer one is cut between characters.
fn padded<const BYTES: usize>(text: &str) -> [u8; BYTES] {
    let mut field = [b' '; BYTES];
    let mut end = text.len().min(BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    for (place, byte) in field.iter_mut().zip(text.bytes().take(end)) {
        *place = byte;
    }
    field
}

const fn version([major, minor]: [u8; 2]) -> CK_VERSION {
    CK_VERSION { major, minor }
}

/// `CK_INFO`, as a list of the given version tells it.
pub(super) fn info(information: &Information, cryptoki: CK_VERSION) -> CK_INFO {
    CK_INFO {
        cryptokiVersion: cryptoki,
        manufacturerID: padded(information.manufacturer),
        flags: 0,
        libraryDescription: padded(information.description),
        libraryVersion: version(information.version),
    }
}

/// `CK_SLOT_INFO`.
pub(super) fn slot(info: &SlotInfo) -> CK_SLOT_INFO {
    CK_SLOT_INFO {
        slotDescription: padded(&info.description),
        manufacturerID: padded(&info.manufacturer),
        flags: info.flags,
        hardwareVersion: version(info.hardware_version),
        firmwareVersion: version(info.firmware_version),
    }
}

/// `CK_TOKEN_INFO`.
pub(super) fn token(info: &TokenInfo) -> CK_TOKEN_INFO {
    CK_TOKEN_INFO {
        label: info.label,
        manufacturerID: padded(&info.manufacturer),
        model: padded(&info.model),
        serialNumber: padded(&info.serial_number),
        flags: info.flags,
        ulMaxSessionCount: info.sessions_max,
        ulSessionCount: info.sessions,
        ulMaxRwSessionCount: info.rw_sessions_max,
        ulRwSessionCount: info.rw_sessions,
        ulMaxPinLen: info.pin_bytes_max,
        ulMinPinLen: info.pin_bytes_min,
        ulTotalPublicMemory: info.public_memory_total,
        ulFreePublicMemory: info.public_memory_free,
        ulTotalPrivateMemory: info.private_memory_total,
        ulFreePrivateMemory: info.private_memory_free,
        hardwareVersion: version(info.hardware_version),
        firmwareVersion: version(info.firmware_version),
        utcTime: info.utc_time,
    }
}

/// `CK_MECHANISM_INFO`.
pub(super) const fn mechanism(entry: &MechanismEntry) -> CK_MECHANISM_INFO {
    CK_MECHANISM_INFO {
        ulMinKeySize: entry.key_size_min,
        ulMaxKeySize: entry.key_size_max,
        flags: entry.flags,
    }
}

/// `CK_SESSION_INFO`.
pub(super) const fn session(info: &SessionInfo) -> CK_SESSION_INFO {
    CK_SESSION_INFO {
        slotID: info.slot.0,
        state: info.state.0,
        flags: info.flags,
        ulDeviceError: info.device_error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_padded_with_blanks_and_cut_between_characters() {
        assert_eq!(&padded::<6>("abc"), b"abc   ");
        assert_eq!(&padded::<3>("abcdef"), b"abc");
        assert_eq!(&padded::<3>("ab\u{e9}"), b"ab ");
    }
}
