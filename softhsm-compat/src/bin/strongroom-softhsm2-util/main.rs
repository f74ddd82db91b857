//! strongroom-softhsm2-util: the way from arguments to an exit code.
//!
//! What lives here: `main`, the choice of the action, and the module that it works through.
//! What must never live here: an action.
//! Who calls it: people, and scripts that were written for softhsm2-util.
//!
//! Options, what is printed where, and exit codes are those of softhsm2-util 2.6.1: whoever compares them byte by byte is right to do so.

mod arguments;
mod delete;
mod import;
mod prompt;
mod slots;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error;
use strongroom_cli::command::find_module;
use strongroom_softhsm::unlock;

use arguments::{Action, Options, Parsed};

/// Why it ended without having done what was asked: the lines for standard error. The exit code is 1 then.
#[derive(Debug)]
pub(crate) struct Refused(Vec<String>);

impl Refused {
    /// One line that begins as all of them do.
    pub(crate) fn error(text: impl std::fmt::Display) -> Self {
        Self(vec![format!("ERROR: {text}")])
    }

    /// One line as it stands.
    pub(crate) fn line(text: impl Into<String>) -> Self {
        Self(vec![text.into()])
    }

    /// One more line.
    pub(crate) fn and(mut self, line: impl Into<String>) -> Self {
        self.0.push(line.into());
        self
    }
}

fn main() -> ExitCode {
    let (options, actions) = match arguments::parse(std::env::args_os()) {
        Parsed::Options(options, actions) => (options, actions),
        Parsed::Version => return said(&format!("{}\n", arguments::VERSION), 0),
        Parsed::Help => return said(arguments::USAGE, 0),
        Parsed::Misused(why) => {
            complain(&[why]);
            return said(arguments::USAGE, 0);
        }
    };
    let [action] = actions.as_slice() else {
        return said(arguments::USAGE, 1);
    };
    match run(*action, &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refused(lines)) => {
            complain(&lines);
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action, options: &Options) -> Result<(), Refused> {
    if action == Action::DeleteToken {
        return delete::token(options);
    }
    unlock::prepare().map_err(Refused::error)?;
    let module = load(options)?;
    match action {
        Action::ShowSlots => slots::show(&module),
        Action::InitToken => token::initialize(module, options),
        Action::Import => {
            let slot = slots::find(&module, options, slots::Free::NotAllowed)?;
            import::run(&module, slot, options)
        }
        Action::DeleteToken => Ok(()),
    }
}

/// The named module, or ours.
pub(crate) fn load(options: &Options) -> Result<Pkcs11, Refused> {
    let named = options.module.as_ref().map(PathBuf::from);
    let logs = "ERROR: Please check log files for additional information.";
    let Some(path) = find_module(named.as_deref()) else {
        return Err(Refused::error("Could not load the PKCS#11 library/module: it is not installed in any of the usual directories").and(logs));
    };
    let module = Pkcs11::new(&path).map_err(|error| {
        // The words of the loader, without those around them.
        let why = if let Error::LibraryLoading(why) = error {
            why.to_string()
        } else {
            error.to_string()
        };
        Refused::error(format!("Could not load the PKCS#11 library/module: {why}")).and(logs)
    })?;
    initialize(&module).map_err(|_| {
        Refused::error(format!(
            "Could not initialize the PKCS#11 library/module: {}",
            path.display()
        ))
        .and(logs)
    })?;
    Ok(module)
}

/// `C_Initialize`.
pub(crate) fn initialize(module: &Pkcs11) -> Result<(), Error> {
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

/// Prints on standard output. That nobody reads it changes nothing about what was done.
pub(crate) fn print(text: &str) {
    let _ = strongroom_cli::output::show(text);
}

fn said(text: &str, code: u8) -> ExitCode {
    print(text);
    ExitCode::from(code)
}

#[expect(clippy::print_stderr, reason = "this is the program's voice")]
pub(crate) fn complain(lines: &[String]) {
    for line in lines {
        eprintln!("{line}");
    }
}
