//! `strongroom token`.
//!
//! What lives here: making, listing and deleting tokens by asking the daemon.
//! What must never live here: a rule for PINs or labels; the token has them.
//! Who calls it: the commands.

use strongroom_wire::admin::{AdminAnswer, AdminRequest, Token};
use strongroom_wire::secret::Secret;

use super::{Bench, tell_done};
use crate::arguments::PinArguments;
use crate::client::{Client, unexpected};
use crate::failure::Failure;
use crate::output::{self, Format, Rows, yes_no};
use crate::pin::{self, Pins};

pub(super) fn create(bench: Bench<'_>, label: &str, pins: &PinArguments) -> Result<(), Failure> {
    // Connected first: nobody should think up PINs for a daemon that is not there.
    let mut client = Client::connect(&bench.find()?.admin_socket)?;
    let pins = pin::collect(pins)?;
    let tokens = make(&mut client, label, &pins)?;
    tell_created(bench.format, &tokens, &pins)
}

/// Makes a token over a connection.
pub(super) fn make(client: &mut Client, label: &str, pins: &Pins) -> Result<Vec<Token>, Failure> {
    let request = AdminRequest::TokenCreate {
        label,
        so_pin: Secret::new(pins.so.expose()),
        user_pin: pins.user.as_ref().map(|pin| Secret::new(pin.expose())),
    };
    let AdminAnswer::Tokens(tokens) = client.ask(&request)? else {
        return Err(unexpected());
    };
    Ok(tokens.into_items())
}

/// Tells what was made; a PIN that was made up is shown here and nowhere else.
pub(super) fn tell_created(format: Format, tokens: &[Token], pins: &Pins) -> Result<(), Failure> {
    let so_pin = pins
        .so_generated
        .then(|| String::from_utf8_lossy(pins.so.expose()));
    match format {
        Format::Json => {
            output::show_json(&serde_json::json!({ "token": tokens.first(), "so_pin": so_pin }))
        }
        Format::Text => {
            output::show_rows(&rows(tokens))?;
            match so_pin {
                Some(pin) => output::show(&format!(
                    "\nPIN of the security officer: {pin}\nIt is shown this once. Keep it where the store's backup is not.\n"
                )),
                None => Ok(()),
            }
        }
    }
}

pub(super) fn list(bench: Bench<'_>) -> Result<(), Failure> {
    match (bench.ask(&AdminRequest::TokenList)?, bench.format) {
        (AdminAnswer::Tokens(tokens), Format::Json) => output::show_json(&tokens),
        (AdminAnswer::Tokens(tokens), Format::Text) if tokens.items().is_empty() => {
            output::show("there is no token yet; make one with: strongroom token create LABEL\n")
        }
        (AdminAnswer::Tokens(tokens), Format::Text) => output::show_rows(&rows(tokens.items())),
        _ => Err(unexpected()),
    }
}

pub(super) fn delete(bench: Bench<'_>, token: &str, yes: bool) -> Result<(), Failure> {
    let mut client = Client::connect(&bench.find()?.admin_socket)?;
    if !yes {
        let question = format!(
            "This destroys the token \"{}\" and every key in it for good.",
            output::printable(token)
        );
        if !pin::confirm(&question)? {
            return Err(Failure::Usage(
                "nothing was deleted; without a terminal to ask, --yes is needed".into(),
            ));
        }
    }
    let AdminAnswer::Done = client.ask(&AdminRequest::TokenDelete { token })? else {
        return Err(unexpected());
    };
    tell_done(bench.format, "token deleted")
}

fn rows(tokens: &[Token]) -> Rows {
    let mut rows = Rows::new(&[
        "slot",
        "label",
        "serial",
        "user pin",
        "so pin",
        "open",
        "objects",
        "sessions",
        "rehearses",
    ]);
    for token in tokens {
        let user_pin = match (token.user_pin_initialized, token.user_pin_locked) {
            (false, _) => "unset",
            (true, true) => "locked",
            (true, false) => "set",
        };
        rows.push(vec![
            token.slot.to_string(),
            token.label.clone(),
            token.serial_number.clone(),
            user_pin.into(),
            if token.so_pin_locked {
                "locked".into()
            } else {
                "set".into()
            },
            yes_no(token.open),
            token.objects.to_string(),
            token.sessions.to_string(),
            yes_no(token.rehearses),
        ]);
    }
    rows
}
