//! strongroom-import: the way from arguments to an exit code.
//!
//! What lives here: `main`.
//! What must never live here: how anything is read or written.
//! Who calls it: `strongroom import`, people and scripts.

use std::process::ExitCode;

use clap::Parser;
use strongroom_cli::client::Client;
use strongroom_cli::failure::{CODE_OK, Failure, report};
use strongroom_cli::output::{self, Format};
use strongroom_cli::place::{Environment, Place};
use strongroom_softhsm::arguments::{Arguments, Door};
use strongroom_softhsm::report::Report;
use strongroom_softhsm::{foreign, from_files, from_modules, softhsm, unlock};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let format = arguments.format();
    match run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            report(&failure, format);
            ExitCode::from(failure.code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, Failure> {
    unlock::prepare().map_err(Failure::Failed)?;
    if let Door::ForeignModule = &arguments.door {
        return foreign::serve();
    }
    let environment = Environment::of_this_process();
    let place = Place::find(&arguments.place, &environment)?;
    // Connected first: nobody should be asked for PINs for a daemon that is not there.
    let mut client = Client::connect(&place.admin_socket)?;
    let how = arguments.door.import();
    let mut told = Report {
        dry_run: how.dry_run,
        parts: Vec::new(),
    };
    let done = enter(&arguments.door, &mut client, &environment, &mut told);
    if done.is_ok() || !told.parts.is_empty() {
        match arguments.format() {
            Format::Json => output::show_json(&told)?,
            Format::Text => output::show(&told.text())?,
        }
    }
    done?;
    Ok(match told.code() {
        // What was asked for was all or nothing.
        code if code != CODE_OK && how.strict => 1,
        code => code,
    })
}

fn enter(
    door: &Door,
    client: &mut Client,
    environment: &Environment,
    report: &mut Report,
) -> Result<(), Failure> {
    let part = match door {
        Door::Softhsm(door) => return softhsm::run(door, client, environment, report),
        Door::Pem(door) => from_files::pem(door, client)?,
        Door::Pkcs12(door) => from_files::pkcs12(door, client)?,
        Door::Jwk(door) => from_files::jwk(door, client)?,
        Door::Pkcs11(door) => from_modules::pkcs11(door, client)?,
        Door::Nss(door) => from_modules::nss(door, client)?,
        Door::ForeignModule => return Ok(()),
    };
    report.parts.push(part);
    Ok(())
}
