//! strongroom: the command line.
//!
//! What lives here: the way from arguments to an exit code.
//! What must never live here: a command.
//! Who calls it: people and scripts.

use std::process::ExitCode;

use clap::Parser;
use strongroom_cli::arguments::Arguments;
use strongroom_cli::failure::report;
use strongroom_cli::place::Environment;
use strongroom_cli::{command, failure::CODE_OK};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let format = arguments.format();
    match command::run(arguments, &Environment::of_this_process()) {
        Ok(()) => ExitCode::from(CODE_OK),
        Err(failure) => {
            report(&failure, format);
            ExitCode::from(failure.code())
        }
    }
}
