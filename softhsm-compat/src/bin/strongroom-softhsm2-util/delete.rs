//! `--delete-token`.
//!
//! What lives here: a token of ours destroyed, through the daemon's administration.
//! What must never live here: a directory removed. The original deletes SoftHSM's files itself, behind the back of every module; nothing
//! of ours lies in such files.
//! Who calls it: `main`.

use std::fs;
use std::path::PathBuf;

use strongroom_cli::arguments::PlaceArguments;
use strongroom_cli::client::Client;
use strongroom_cli::failure::Failure;
use strongroom_cli::place::{Environment, Place};
use strongroom_pkcs11::softhsm::{Configuration, ENV_SOFTHSM};
use strongroom_wire::admin::{AdminAnswer, AdminRequest};

use crate::arguments::Options;
use crate::slots::{self, Wanted};
use crate::{Refused, load, print};

/// Destroys the token that the options name.
pub(crate) fn token(options: &Options) -> Result<(), Refused> {
    if options.serial.is_none() && options.token.is_none() {
        return Err(Refused::error(
            "A token must be supplied. Use --serial <serial> or --token <label>",
        ));
    }
    let standing_in = stands_in(options);
    let foreign = |module: &&String| !standing_in && !module.ends_with(OUR_MODULE);
    if let Some(module) = options.module.as_ref().filter(foreign) {
        return Err(Refused::error(format!(
            "No PKCS#11 module can delete a token, so --module {module} is of no use here; only tokens of Strongroom are deleted, by its daemon."
        )));
    }
    let wanted = Wanted::of(options)?;
    let refused = |failure: Failure| Refused::error(failure);
    let mut arguments = PlaceArguments::default();
    if standing_in {
        // The private daemon may have ended, for want of clients; the module starts it.
        slots::all(&load(options)?)?;
        arguments.home = Some(private_home()?);
    }
    let place = Place::find(&arguments, &Environment::of_this_process()).map_err(refused)?;
    let mut client = Client::connect(&place.admin_socket).map_err(refused)?;
    let AdminAnswer::Tokens(tokens) = client.ask(&AdminRequest::TokenList).map_err(refused)? else {
        return Err(refused(strongroom_cli::client::unexpected()));
    };
    let mut found = Vec::new();
    for token in tokens.items() {
        if let Some(how) = wanted.matched(&token.serial_number, &token.label) {
            print(&format!(
                "Found token ({}) with matching {how}.\n",
                token.serial_number
            ));
            found.push(token.serial_number.as_str());
        }
    }
    match found.as_slice() {
        [token] => {
            client
                .ask(&AdminRequest::TokenDelete { token })
                .map_err(refused)?;
            print(&format!("The token ({token}) has been deleted.\n"));
            Ok(())
        }
        [] => Err(Refused::error(
            "Could not find a token using --serial or --token.",
        )),
        _ => Err(Refused::error("Found multiple matching tokens.")),
    }
}

/// Whether our module stands in SoftHSM's place: by the variable, or as a link of SoftHSM's name to ours. A copy of that name is not told from
/// SoftHSM itself, and so is refused.
fn stands_in(options: &Options) -> bool {
    match &options.module {
        Some(module) => {
            let real = fs::canonicalize(module).unwrap_or_default();
            module.ends_with(SOFTHSM_MODULE) && real.ends_with(OUR_MODULE)
        }
        None => std::env::var_os(ENV_SOFTHSM).is_some_and(|told| !told.is_empty() && told != "0"),
    }
}

/// Where that daemon lives.
fn private_home() -> Result<PathBuf, Refused> {
    let file = Configuration::find(&|name| std::env::var_os(name));
    let configuration = Configuration::read(&file).map_err(Refused::error)?;
    configuration.home().map_err(Refused::error)
}

/// What SoftHSM's module is called.
const SOFTHSM_MODULE: &str = "libsofthsm2.so";

/// The end of the path of our module: with any other one, somebody else's token is meant.
const OUR_MODULE: &str = "libstrongroom_pkcs11.so";
