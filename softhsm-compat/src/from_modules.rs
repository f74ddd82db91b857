//! `strongroom import pkcs11` and `nss`.
//!
//! What lives here: which module, which token of it, and its PIN.
//! What must never live here: the module; it runs in a process of its own.
//! Who calls it: `strongroom-import`.

use std::path::Path;

use strongroom_cli::client::Client;
use strongroom_cli::failure::Failure;
use strongroom_cli::output::printable;
use strongroom_cli::pin;

use crate::arguments::{NssArguments, Pkcs11Arguments};
use crate::door::{self, Arrivals};
use crate::foreign::reader::{self, Harvest, Origin};
use crate::report::Part;

/// Brings in what a token of another module shows or wraps.
///
/// # Errors
/// [`Failure`]; nothing has happened then.
pub fn pkcs11(arguments: &Pkcs11Arguments, client: &mut Client) -> Result<Part, Failure> {
    let origin = Origin {
        module: text(&arguments.module)?,
        parameters: arguments.parameters.as_deref(),
        token: arguments.from_token.as_deref(),
    };
    let file = arguments.from_pin_file.as_deref();
    let pin = door::pin(&arguments.into)?;
    let harvest = reader::read(origin, |label| {
        let what = format!(
            "PIN of the user of token \"{}\", to be read",
            printable(label)
        );
        pin::known(&what, "--from-pin-file", file)
    })?;
    let source = format!("token {} of {}", harvest.serial_number, origin.module);
    door::bring(arrivals(source, harvest), &arguments.into, &pin, client)
}

/// Brings in the keys and certificates of an NSS database.
///
/// # Errors
/// [`Failure`]; nothing has happened then.
pub fn nss(arguments: &NssArguments, client: &mut Client) -> Result<Part, Failure> {
    let directory = text(&arguments.database)?;
    for file in ["cert9.db", "key4.db"] {
        if !arguments.database.join(file).is_file() {
            return Err(Failure::Failed(format!(
                "there is no {file} in {directory}; a database of the old form (cert8.db, key3.db) is converted by: \
                 certutil -N -d sql:{directory} -@ PASSWORDFILE"
            )));
        }
    }
    let parameters = parameters(directory);
    let module = match &arguments.module {
        Some(path) => text(path)?,
        None => SOFTOKEN,
    };
    let origin = Origin {
        module,
        parameters: Some(&parameters),
        token: Some(TOKEN),
    };
    let pin = door::pin(&arguments.into)?;
    let harvest = reader::read(origin, |_| {
        let what = format!("password of the NSS database in {directory}");
        pin::known(&what, "--password-file", arguments.password_file.as_deref())
    })?;
    let source = format!("NSS database {directory}");
    door::bring(arrivals(source, harvest), &arguments.into, &pin, client)
}

/// What NSS's module is told: the database, and that it is not to be written. Quotes and backslashes are escaped.
fn parameters(directory: &str) -> String {
    let mut escaped = String::with_capacity(directory.len());
    for character in directory.chars() {
        if ['\'', '\\'].contains(&character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    format!(
        "configdir='sql:{escaped}' certPrefix='' keyPrefix='' secmod='' flags=readOnly,noModDB \
         updatedir='' updateid='' dbTokenDescription='{TOKEN}'"
    )
}

fn arrivals(source: String, harvest: Harvest) -> Arrivals {
    Arrivals {
        source,
        objects: harvest.objects,
        refused: harvest.refused,
        notes: harvest.notes,
    }
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str()
        .ok_or_else(|| Failure::Usage(format!("{}: the path is no UTF-8", path.display())))
}

/// NSS's module, where the system's loader finds it.
const SOFTOKEN: &str = "libsoftokn3.so";
/// What the token with the database is called; the other one of that module has no database.
const TOKEN: &str = "NSS database";
