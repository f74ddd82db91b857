//! Slots: shown, and found by what they hold.
//!
//! What lives here: `--show-slots`, and the options that name a slot or a token.
//! What must never live here: a change to a token.
//! Who calls it: `main` and the actions.

use std::fmt::Write as _;

use cryptoki::context::Pkcs11;
use cryptoki::slot::{Slot, TokenInfo};

use crate::arguments::Options;
use crate::{Refused, complain, print};

/// Whether `--free` is a way to name a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Free {
    Allowed,
    NotAllowed,
}

/// Shows all slots.
pub(crate) fn show(module: &Pkcs11) -> Result<(), Refused> {
    let slots = all(module)?;
    print("Available slots:\n");
    for slot in slots {
        let text = match module.get_slot_info(slot) {
            Ok(info) => described(module, slot, &info),
            Err(_) => {
                complain(&[format!(
                    "ERROR: Could not get info about slot {slot}.",
                    slot = slot.id()
                )]);
                continue;
            }
        };
        print(&text);
    }
    Ok(())
}

fn described(module: &Pkcs11, slot: Slot, info: &cryptoki::slot::SlotInfo) -> String {
    let mut text = format!("Slot {}\n    Slot info:\n", slot.id());
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "        {name:<18}{value}");
    };
    line("Description:", padded(info.slot_description(), 64));
    line("Manufacturer ID:", padded(info.manufacturer_id(), 32));
    line("Hardware version:", version(info.hardware_version()));
    line("Firmware version:", version(info.firmware_version()));
    line("Token present:", yes_no(info.token_present()));
    if !info.token_present() {
        return text;
    }
    text.push_str("    Token info:\n");
    let Ok(token) = module.get_token_info(slot) else {
        complain(&[format!(
            "ERROR: Could not get info about the token in slot {}.",
            slot.id()
        )]);
        return text;
    };
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "        {name:<18}{value}");
    };
    line("Manufacturer ID:", padded(token.manufacturer_id(), 32));
    line("Model:", padded(token.model(), 16));
    line("Hardware version:", version(token.hardware_version()));
    line("Firmware version:", version(token.firmware_version()));
    line("Serial number:", padded(token.serial_number(), 16));
    line("Initialized:", yes_no(token.token_initialized()));
    line("User PIN init.:", yes_no(token.user_pin_initialized()));
    line("Label:", padded(token.label(), 32));
    text
}

/// The slot that the options name.
pub(crate) fn find(module: &Pkcs11, options: &Options, free: Free) -> Result<Slot, Refused> {
    if let Some(slot) = &options.slot {
        return numbered(slot);
    }
    let free_asked = options.free && free == Free::Allowed;
    if options.serial.is_none() && options.token.is_none() && !free_asked {
        return Err(Refused::error(match free {
            Free::Allowed => {
                "A slot/token must be supplied. Use --slot <number>, --serial <serial>, --token <label>, or --free"
            }
            Free::NotAllowed => {
                "A slot/token must be supplied. Use --slot <number>, --serial <serial>, or --token <label>"
            }
        }));
    }
    let wanted = Wanted::of(options)?;
    let mut found = Vec::new();
    for slot in all(module)? {
        let token = token_in(module, slot)?;
        if free_asked {
            if !token.token_initialized() {
                print(&format!(
                    "Slot {} has a free/uninitialized token.\n",
                    slot.id()
                ));
                return Ok(slot);
            }
        } else if let Some(how) = wanted.matched(token.serial_number(), token.label()) {
            print(&format!("Found slot {} with matching {how}.\n", slot.id()));
            found.push(slot);
        }
    }
    match (found.as_slice(), free) {
        ([slot], _) => Ok(*slot),
        ([_, ..], _) => Err(Refused::error("Found multiple matching slots/tokens.")),
        ([], Free::Allowed) => Err(Refused::error(
            "Could not find a slot/token using --serial, --token, or --free.",
        )),
        ([], Free::NotAllowed) => Err(Refused::error(
            "Could not find a slot/token using --serial, or --token",
        )),
    }
}

/// A token as it is named by its label, its serial number, or both.
pub(crate) struct Wanted<'o> {
    serial: Option<&'o str>,
    label: Option<&'o str>,
}

impl<'o> Wanted<'o> {
    pub(crate) fn of(options: &'o Options) -> Result<Self, Refused> {
        let (serial, label) = (options.serial.as_deref(), options.token.as_deref());
        if serial.is_some_and(|serial| serial.len() > 16) {
            return Err(Refused::error("--serial is too long."));
        }
        if label.is_some_and(|label| label.len() > 32) {
            return Err(Refused::error("--token is too long."));
        }
        Ok(Self { serial, label })
    }

    /// By what it was found, if it is the one. Blanks at the end are padding.
    pub(crate) fn matched(&self, serial: &str, label: &str) -> Option<&'static str> {
        let is =
            |wanted: &str, there: &str| wanted.trim_end_matches(' ') == there.trim_end_matches(' ');
        match (self.serial, self.label) {
            (Some(wanted), None) => is(wanted, serial).then_some("serial"),
            (None, Some(wanted)) => is(wanted, label).then_some("token label"),
            (Some(number), Some(name)) => {
                (is(number, serial) && is(name, label)).then_some("serial and token label")
            }
            (None, None) => None,
        }
    }
}

/// As atoi(3) reads it: digits up to the first other character.
fn numbered(text: &str) -> Result<Slot, Refused> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(digits.len());
    let number: u64 = digits[..end].parse().unwrap_or(0);
    if negative && number > 0 {
        return Err(Refused::error("The slot number is negative."));
    }
    Slot::try_from(number).map_err(|_| Refused::error("The given slot does not exist."))
}

/// All slots, those without a token among them.
pub(crate) fn all(module: &Pkcs11) -> Result<Vec<Slot>, Refused> {
    module
        .get_all_slots()
        .map_err(|_| Refused::error("Could not get the number of slots."))
}

/// What the module says of the token in a slot.
pub(crate) fn token_in(module: &Pkcs11, slot: Slot) -> Result<TokenInfo, Refused> {
    module.get_token_info(slot).map_err(|_| {
        Refused::error(format!(
            "Could not get info about the token in slot {}.",
            slot.id()
        ))
    })
}

fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.len());
    format!("{text}{}", " ".repeat(missing))
}

fn version(version: cryptoki::types::Version) -> String {
    format!("{}.{}", version.major(), version.minor())
}

fn yes_no(is: bool) -> String {
    if is { "yes".into() } else { "no".into() }
}
