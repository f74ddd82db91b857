//! `--init-token`.
//!
//! What lives here: a token initialised, with the PINs of its security officer and its user.
//! What must never live here: how a slot is found.
//! Who calls it: `main`.

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;

use crate::arguments::Options;
use crate::prompt::{Whose, auth_pin, pin};
use crate::slots::{self, Free};
use crate::{Refused, initialize as initialize_module, print};

/// Initialises the token that the options name.
pub(crate) fn initialize(module: Pkcs11, options: &Options) -> Result<(), Refused> {
    let slot = slots::find(&module, options, Free::Allowed)?;
    let Some(label) = &options.label else {
        return Err(Refused::error(
            "A label for the token must be supplied. Use --label <text>",
        ));
    };
    if label.len() > 32 {
        return Err(Refused::error(
            "The token label must not have a length greater than 32 chars.",
        ));
    }
    let so_pin = auth_pin(&pin(options.so_pin.as_ref(), Whose::SecurityOfficer)?);
    let user_pin = auth_pin(&pin(options.pin.as_ref(), Whose::User)?);
    module
        .init_token(slot, &so_pin, label)
        .map_err(|error| refused(&error, slot.id()))?;
    let session = module
        .open_rw_session(slot)
        .map_err(|_| Refused::error("Could not open a session with the library."))?;
    session
        .login(UserType::So, Some(&so_pin))
        .map_err(|_| Refused::error("Could not log in on the token."))?;
    session
        .init_pin(&user_pin)
        .map_err(|_| Refused::error("Could not initialize the user PIN."))?;
    let made = module.get_token_info(slot).map_err(|_| {
        Refused::error(format!(
            "Could not get info about the initialized token in slot {}.",
            slot.id()
        ))
    })?;
    drop(session);
    // SoftHSM gives an initialised token another slot, which is seen by a module that begins anew.
    let module = begun_anew(module, options)?;
    for one in slots::all(&module)? {
        let token = slots::token_in(&module, one)?;
        if token.serial_number() == made.serial_number() && token.label() == made.label() {
            print(&if one == slot {
                format!("The token has been initialized on slot {}\n", one.id())
            } else {
                format!(
                    "The token has been initialized and is reassigned to slot {}\n",
                    one.id()
                )
            });
            return Ok(());
        }
    }
    Err(Refused::error(
        "Could not find a slot/token using --serial, or --token",
    ))
}

fn begun_anew(module: Pkcs11, options: &Options) -> Result<Pkcs11, Refused> {
    let failed = || Refused::error("Could not initialize the library.");
    module.finalize().map_err(|_| failed())?;
    let named = options.module.as_ref().map(std::path::PathBuf::from);
    let path = strongroom_cli::command::find_module(named.as_deref()).ok_or_else(failed)?;
    let module = Pkcs11::new(path).map_err(|_| failed())?;
    initialize_module(&module).map_err(|_| failed())?;
    Ok(module)
}

fn refused(error: &Error, slot: u64) -> Refused {
    let Error::Pkcs11(rv, _) = error else {
        return Refused::error(format!("Could not initialize the token: {error}"));
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other value has one text"
    )]
    match rv {
        RvError::SlotIdInvalid => {
            Refused::line(format!("CKR_SLOT_ID_INVALID: Slot {slot} does not exist."))
        }
        RvError::PinIncorrect => Refused::line(
            "CKR_PIN_INCORRECT: The given SO PIN does not match the one in the token. Needed when reinitializing the token.",
        ),
        RvError::TokenNotPresent => Refused::line(
            "CKR_TOKEN_NOT_PRESENT: The token is not present. Please read the HSM manual for further assistance.",
        ),
        other => Refused::line(format!("ERROR rv={other}: Could not initialize the token."))
            .and("Please check log files for additional information."),
    }
}
