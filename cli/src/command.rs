//! The commands.
//!
//! What lives here: one match from the arguments to the command, and the small commands.
//! What must never live here: sockets and forms of output.
//! Who calls it: `main.rs`.

mod audit;
mod backup;
mod bench;
mod doctor;
mod import;
mod init;
mod measure;
mod object;
mod rehearse;
mod release;
mod seal;
mod status;
mod token;
mod verify;
mod walls;
mod wrap;

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use strongroom_wire::admin::{AdminAnswer, AdminRequest};

use crate::arguments::{
    Arguments, AuditCommand, Command, ObjectCommand, PlaceArguments, SealCommand, TokenCommand,
};
use crate::client::{Client, unexpected};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::place::{Environment, Place};

pub use doctor::installation::find_module;
pub use doctor::{Check, Verdict};
pub use init::configuration_text;

/// Where a command works and how it speaks.
#[derive(Clone, Copy, Debug)]
pub struct Bench<'b> {
    place: &'b PlaceArguments,
    environment: &'b Environment,
    format: Format,
}

impl Bench<'_> {
    fn find(&self) -> Result<Place, Failure> {
        Place::find(self.place, self.environment)
    }

    fn ask(&self, request: &AdminRequest<'_>) -> Result<AdminAnswer, Failure> {
        Client::connect(&self.find()?.admin_socket)?.ask(request)
    }
}

/// Runs a command.
///
/// # Errors
/// [`Failure`] says what and with which exit code.
pub fn run(arguments: Arguments, environment: &Environment) -> Result<(), Failure> {
    let format = arguments.format();
    let bench = Bench {
        place: &arguments.place,
        environment,
        format,
    };
    match arguments.command {
        Command::Init(init) => init::run(bench, &init),
        Command::Status => status::show(bench),
        Command::Token(TokenCommand::Create { label, pins }) => token::create(bench, &label, &pins),
        Command::Token(TokenCommand::List) => token::list(bench),
        Command::Token(TokenCommand::Delete { token, yes }) => token::delete(bench, &token, yes),
        Command::Object(ObjectCommand::List { token }) => object::list(bench, &token),
        Command::Object(ObjectCommand::Show { token, object }) => {
            object::show(bench, &token, &object)
        }
        Command::Authority(command) => release::authority(bench, &command),
        Command::Key(command) => release::key(bench, &command),
        Command::Release(command) => release::release(bench, &command),
        Command::Audit(AuditCommand::Tail { lines }) => audit::tail(bench, lines),
        Command::Audit(AuditCommand::Verify) => audit::verify(bench),
        Command::Unseal(arguments) => seal::unseal(bench, &arguments),
        Command::Seal(SealCommand::Show) => seal::show(bench),
        Command::Seal(SealCommand::Rotate(arguments)) => seal::rotate(bench, &arguments),
        Command::Verify => verify::run(bench),
        Command::Doctor(doctor) => doctor::run(bench, &doctor),
        Command::Bench(arguments) => bench::run(bench, &arguments),
        Command::Measure(arguments) => measure::run(&arguments),
        Command::Wrap(arguments) => wrap::wrap(bench, &arguments),
        Command::Unwrap(arguments) => wrap::unwrap(bench, &arguments),
        Command::Backup(arguments) => backup::run(bench, &arguments),
        Command::Restore(arguments) => backup::restore(bench, &arguments),
        Command::Import { arguments } => import::run(bench, &arguments),
        Command::Reload => done(bench, &AdminRequest::Reload, "configuration reloaded"),
        Command::Rehearse(arguments) => rehearse::run(bench, &arguments),
        Command::Stop => done(bench, &AdminRequest::Stop, "the daemon is stopping"),
        Command::Completions { shell } => completions(shell),
        Command::Man { directory } => manual(directory.as_deref()),
    }
}

fn done(bench: Bench<'_>, request: &AdminRequest<'_>, said: &str) -> Result<(), Failure> {
    let AdminAnswer::Done = bench.ask(request)? else {
        return Err(unexpected());
    };
    tell_done(bench.format, said)
}

fn tell_done(format: Format, said: &str) -> Result<(), Failure> {
    match format {
        Format::Json => output::show_json(&serde_json::json!({ "done": said })),
        Format::Text => output::show(&format!("{said}\n")),
    }
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "strongroom", &mut text);
    output::show(&String::from_utf8_lossy(&text))
}

fn manual(directory: Option<&Path>) -> Result<(), Failure> {
    let command = Arguments::command();
    match directory {
        Some(directory) => clap_mangen::generate_to(command, directory)
            .map_err(|error| Failure::file("write manual pages to", directory, &error)),
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut text)
                .map_err(|error| {
                    Failure::Failed(format!("cannot make the manual page: {error}"))
                })?;
            output::show(&String::from_utf8_lossy(&text))
        }
    }
}
