//! `strongroom import softhsm`.
//!
//! What lives here: which tokens are meant, their PINs, and one import for each.
//! What must never live here: how SoftHSM stores anything; how a report looks.
//! Who calls it: `strongroom-import`.

use std::path::PathBuf;

use strongroom_cli::client::Client;
use strongroom_cli::failure::Failure;
use strongroom_cli::output;
use strongroom_cli::pin::{self, Pin};
use strongroom_cli::place::Environment;
use strongroom_pkcs11::softhsm::Configuration;
use strongroom_wire::import::Destination;
use strongroom_wire::secret::Secret;

use crate::arguments::{ImportArguments, SofthsmArguments};
use crate::opened::Opened;
use crate::report::{Line, Name, Part, Report};
use crate::send::Import;
use crate::source::{self, StoredToken};
use crate::unlock::TokenKey;

/// Brings tokens in, one after the other. What was told of those before is shown even when a later one fails.
///
/// # Errors
/// [`Failure`]; the token at which it happened is not there.
pub fn run(
    arguments: &SofthsmArguments,
    client: &mut Client,
    environment: &Environment,
    report: &mut Report,
) -> Result<(), Failure> {
    let tokens = chosen(arguments, environment)?;
    // All PINs first: nobody should be asked in the middle of the work.
    let mut ready = Vec::with_capacity(tokens.len());
    for token in tokens {
        let pins = Pins::of(&token, arguments)?;
        ready.push((token, pins));
    }
    for (token, pins) in ready {
        report
            .parts
            .push(bring(&token, &pins, arguments.import, client)?);
    }
    Ok(())
}

/// The directory of the tokens, as the arguments or SoftHSM's configuration say.
fn directory(arguments: &SofthsmArguments, environment: &Environment) -> Result<PathBuf, Failure> {
    if let Some(directory) = &arguments.tokens {
        return Ok(directory.clone());
    }
    let conf = match &arguments.conf {
        Some(path) => path.clone(),
        None => Configuration::find(&|name| environment.value(name)),
    };
    match Configuration::read(&conf) {
        Ok(configuration) => Ok(configuration.tokens),
        Err(error) => Err(Failure::Usage(format!(
            "{error}; name SoftHSM's configuration with --conf, or the directory of its tokens with --tokens"
        ))),
    }
}

fn chosen(
    arguments: &SofthsmArguments,
    environment: &Environment,
) -> Result<Vec<StoredToken>, Failure> {
    let directory = directory(arguments, environment)?;
    let found = source::tokens(&directory).map_err(|error| Failure::Failed(error.to_string()))?;
    let unreadable: Vec<String> = found.unreadable.iter().map(ToString::to_string).collect();
    if arguments.all && !unreadable.is_empty() {
        return Err(Failure::Failed(format!(
            "{}; nothing was changed; the others can be brought in one by one with --serial",
            unreadable.join("; ")
        )));
    }
    let names: Vec<String> = found.tokens.iter().map(named).collect();
    let is_meant = |token: &StoredToken| {
        arguments
            .token
            .as_ref()
            .is_none_or(|label| token.label == *label)
            && arguments
                .serial
                .as_ref()
                .is_none_or(|serial| token.serial_number == *serial)
    };
    let chosen: Vec<StoredToken> = found.tokens.into_iter().filter(is_meant).collect();
    let there = || match names.is_empty() {
        true => format!("there is none in {}", directory.display()),
        false => format!("in {} there are: {}", directory.display(), names.join(", ")),
    };
    match chosen.len() {
        0 => {
            let mut why = vec![format!("no such token of SoftHSM; {}", there())];
            why.extend(unreadable);
            Err(Failure::Failed(why.join("; ")))
        }
        2.. if !arguments.all => Err(Failure::Usage(format!(
            "which token? {}; use --serial, or --all",
            there()
        ))),
        _ => Ok(chosen),
    }
}

fn named(token: &StoredToken) -> String {
    format!(
        "\"{}\" (serial number {})",
        output::printable(&token.label),
        output::printable(&token.serial_number)
    )
}

/// The PINs of one token, and what they open.
struct Pins {
    so: Pin,
    user: Option<Pin>,
    key: Option<TokenKey>,
    notes: Vec<String>,
}

impl Pins {
    fn of(token: &StoredToken, arguments: &SofthsmArguments) -> Result<Self, Failure> {
        let name = named(token);
        let mut notes = Vec::new();
        let mut key = None;
        let user = match &token.sealed_by_user {
            Some(sealed) => {
                let pin = pin::known(
                    &format!("PIN of the user of {name}"),
                    "--pin-file",
                    arguments.pin_file.as_deref(),
                )?;
                key = Some(unseal(sealed, &pin, "user", &name)?);
                Some(pin)
            }
            None => {
                notes.push("its user has no PIN in SoftHSM, and none here".into());
                None
            }
        };
        let so = match (&token.sealed_by_so, &arguments.new_so_pin_file) {
            (Some(sealed), None) => {
                let pin = pin::known(
                    &format!("PIN of the security officer of {name}"),
                    "--so-pin-file, or --new-so-pin-file where it is not known",
                    arguments.so_pin_file.as_deref(),
                )?;
                let opened = unseal(sealed, &pin, "security officer", &name)?;
                key.get_or_insert(opened);
                pin
            }
            (_, new) => {
                notes.push("its security officer has a new PIN here".into());
                pin::new(
                    &format!("new PIN of the security officer of {name}"),
                    "--new-so-pin-file",
                    new.as_deref(),
                )?
            }
        };
        Ok(Self {
            so,
            user,
            key,
            notes,
        })
    }
}

fn unseal(sealed: &[u8], pin: &Pin, whose: &str, name: &str) -> Result<TokenKey, Failure> {
    TokenKey::unseal(sealed, pin.expose()).map_err(|error| {
        Failure::Failed(format!(
            "the PIN of the {whose} of {name} is wrong, or the token is damaged ({error}); nothing was changed"
        ))
    })
}

fn bring(
    token: &StoredToken,
    pins: &Pins,
    how: ImportArguments,
    client: &mut Client,
) -> Result<Part, Failure> {
    let source = format!("SoftHSM token {}", token.serial_number);
    let destination = Destination::NewToken {
        label: &token.label,
        serial_number: Some(&token.serial_number),
        so_pin: Secret::new(pins.so.expose()),
        user_pin: pins.user.as_ref().map(|pin| Secret::new(pin.expose())),
    };
    let mut import = Import::begin(client, &source, destination, how.keep_history)?;
    let (names, lines) = send(token, pins, &mut import)?;
    let part = Part {
        source,
        label: token.label.clone(),
        serial_number: Some(token.serial_number.clone()),
        committed: false,
        objects: lines,
        notes: pins.notes.clone(),
    };
    import.settle(names, part, how)
}

/// Sends what can be read; answers the names of what was sent, and the lines of what was not.
fn send(
    token: &StoredToken,
    pins: &Pins,
    import: &mut Import<'_>,
) -> Result<(Vec<Name>, Vec<Line>), Failure> {
    let mut names = Vec::with_capacity(token.objects.len());
    let unread = |name: &str, why: String| Line::unread(Name::unread(name), why);
    let mut lines: Vec<Line> = token
        .damaged
        .iter()
        .map(|one| unread(&one.name, one.why.clone()))
        .collect();
    for object in &token.objects {
        match Opened::of(object, pins.key.as_ref()) {
            Ok(opened) => {
                names.push(Name::of(&object.name, &opened));
                import.push(opened)?;
            }
            Err(error) => lines.push(unread(&object.name, error.to_string())),
        }
        let (judged, all) = (import.judged(), token.objects.len());
        output::progress(&format!("{}: {judged} of {all} objects", token.label));
    }
    output::progress("");
    Ok((names, lines))
}
