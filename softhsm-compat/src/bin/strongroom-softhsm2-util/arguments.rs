//! The options, read as getopt_long(3) reads them: long names may be cut where they stay unmistakable, values stand behind `=` or in the
//! next argument, and what is no option is passed over.
//!
//! What lives here: the table of the options, and their parsing.
//! What must never live here: what an option is good for.
//! Who calls it: `main`.

use std::ffi::OsString;

use zeroize::Zeroizing;

/// The release whose behaviour this is.
pub(crate) const VERSION: &str = "2.6.1";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    DeleteToken,
    Import,
    InitToken,
    ShowSlots,
}

/// What the options say. PINs among them are wiped in the end; while the program runs, everybody on the machine may see them in the list of
/// processes, as with the original.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) aes: bool,
    pub(crate) force: bool,
    pub(crate) free: bool,
    pub(crate) no_public_key: bool,
    pub(crate) file_pin: Option<Zeroizing<String>>,
    pub(crate) id: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) module: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) pin: Option<Zeroizing<String>>,
    pub(crate) serial: Option<String>,
    pub(crate) slot: Option<String>,
    pub(crate) so_pin: Option<Zeroizing<String>>,
    pub(crate) token: Option<String>,
}

/// What the command line asks for.
pub(crate) enum Parsed {
    Options(Box<Options>, Vec<Action>),
    Help,
    Version,
    /// In words; the help follows.
    Misused(String),
}

/// What an option does to what was read so far.
enum Effect {
    Act(Action),
    ActWith(Action),
    Flag(fn(&mut Options)),
    Text(fn(&mut Options, String)),
    Help,
    Version,
}

/// All long names.
const OPTIONS: [(&str, Effect); 19] = [
    ("delete-token", Effect::Act(Action::DeleteToken)),
    (
        "file-pin",
        Effect::Text(|to, text| to.file_pin = Some(text.into())),
    ),
    ("force", Effect::Flag(|to| to.force = true)),
    ("free", Effect::Flag(|to| to.free = true)),
    ("help", Effect::Help),
    ("id", Effect::Text(|to, text| to.id = Some(text))),
    ("import", Effect::ActWith(Action::Import)),
    ("init-token", Effect::Act(Action::InitToken)),
    ("label", Effect::Text(|to, text| to.label = Some(text))),
    ("module", Effect::Text(|to, text| to.module = Some(text))),
    ("no-public-key", Effect::Flag(|to| to.no_public_key = true)),
    ("pin", Effect::Text(|to, text| to.pin = Some(text.into()))),
    ("serial", Effect::Text(|to, text| to.serial = Some(text))),
    ("show-slots", Effect::Act(Action::ShowSlots)),
    ("slot", Effect::Text(|to, text| to.slot = Some(text))),
    (
        "so-pin",
        Effect::Text(|to, text| to.so_pin = Some(text.into())),
    ),
    ("token", Effect::Text(|to, text| to.token = Some(text))),
    ("version", Effect::Version),
    ("aes", Effect::Flag(|to| to.aes = true)),
];

/// Reads the arguments, of which the first is the program's name.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Parsed {
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_default();
    let mut options = Box::new(Options::default());
    let mut actions = Vec::new();
    while let Some(argument) = arguments.next() {
        let ended = if argument == "--" {
            break;
        } else if let Some(long) = argument.strip_prefix("--") {
            read_long(long, &mut arguments, &mut options, &mut actions)
        } else if let Some(short) = argument.strip_prefix('-') {
            read_short(short)
        } else {
            Ok(())
        };
        match ended {
            Ok(()) => {}
            Err(Parsed::Misused(why)) => return Parsed::Misused(format!("{program}: {why}")),
            Err(ended) => return ended,
        }
    }
    Parsed::Options(options, actions)
}

fn read_long(
    argument: &str,
    following: &mut impl Iterator<Item = String>,
    options: &mut Options,
    actions: &mut Vec<Action>,
) -> Result<(), Parsed> {
    let (given, value) = match argument.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (argument, None),
    };
    let (name, effect) = named(given)?;
    let mut needed = |value: Option<String>| {
        value
            .or_else(|| following.next())
            .ok_or_else(|| Parsed::Misused(format!("option '--{name}' requires an argument")))
    };
    match effect {
        Effect::Text(keep) => keep(options, needed(value)?),
        Effect::ActWith(action) => {
            options.path = Some(needed(value)?);
            actions.push(*action);
        }
        _ if value.is_some() => {
            let why = format!("option '--{name}' doesn't allow an argument");
            return Err(Parsed::Misused(why));
        }
        Effect::Act(action) => actions.push(*action),
        Effect::Flag(set) => set(options),
        Effect::Help => return Err(Parsed::Help),
        Effect::Version => return Err(Parsed::Version),
    }
    Ok(())
}

/// The option of this name, or the only one that begins so.
fn named(given: &str) -> Result<(&'static str, &'static Effect), Parsed> {
    let matching: Vec<_> = OPTIONS
        .iter()
        .filter(|(name, _)| name.starts_with(given))
        .collect();
    let exact = matching.iter().find(|(name, _)| *name == given);
    match (exact, matching.as_slice()) {
        (Some((name, effect)), _) | (None, [(name, effect)]) => Ok((name, effect)),
        (None, []) => Err(Parsed::Misused(format!("unrecognized option '--{given}'"))),
        (None, several) => {
            let names: String = several
                .iter()
                .map(|(name, _)| format!(" '--{name}'"))
                .collect();
            Err(Parsed::Misused(format!(
                "option '--{given}' is ambiguous; possibilities:{names}"
            )))
        }
    }
}

fn read_short(letters: &str) -> Result<(), Parsed> {
    match letters.chars().next() {
        Some('h') => Err(Parsed::Help),
        Some('v') => Err(Parsed::Version),
        Some(other) => Err(Parsed::Misused(format!("invalid option -- '{other}'"))),
        None => Ok(()),
    }
}

/// The help.
pub(crate) const USAGE: &str = "\
Support tool for PKCS#11, as softhsm2-util has it, for Strongroom and other modules
Usage: softhsm2-util [ACTION] [OPTIONS]
Action:
  --delete-token    Destroys a token with all its objects.
                    Name it by --token or --serial.
  -h                Shows this help.
  --help            Shows this help.
  --import <path>   Brings in the key pair of a PKCS#8 file in PEM.
                    Name the token by --slot, --token or --serial; takes
                    --file-pin, --label, --id, --no-public-key and --pin.
  --init-token      Initializes a token; everything in it is destroyed.
                    Name it by --slot, --token, --serial or --free; takes
                    --label, --so-pin and --pin.
  --show-slots      Shows all slots.
  -v                Shows the version whose behaviour this is.
  --version         Shows the version whose behaviour this is.
Options:
  --aes             The imported file is the bytes of an AES key.
  --file-pin <PIN>  Password of the imported file.
  --force           Imports even if the ID is in use already.
  --free            The first token that is not initialized.
  --id <hex>        ID of the object, in hexadecimal digits.
  --label <text>    Label of the object or of the token.
  --module <path>   Another PKCS#11 module than Strongroom's.
  --no-public-key   Imports the private key alone.
  --pin <PIN>       PIN of the user.
  --serial <number> The token of this serial number.
  --slot <number>   The token in this slot.
  --so-pin <PIN>    PIN of the security officer.
  --token <label>   The token of this label.
";
