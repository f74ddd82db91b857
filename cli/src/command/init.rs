//! `strongroom init`.
//!
//! What lives here: the first configuration, the first start, the first token.
//! What must never live here: a change of a configuration that is there.
//! Who calls it: the commands.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::process::{Command, Stdio};

use super::{Bench, token};
use crate::arguments::InitArguments;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::pin;
use crate::place::Place;

pub(super) fn run(bench: Bench<'_>, init: &InitArguments) -> Result<(), Failure> {
    let place = bench.find()?;
    let pins = match &init.token {
        Some(_) => Some(pin::collect(&init.pins)?),
        None => None,
    };
    let wrote = write_configuration(&place)?;
    let started = start_daemon(bench, &place)?;
    if bench.format == Format::Text {
        let config = place.config.display();
        let config_line = if wrote {
            format!("wrote {config}")
        } else {
            format!("kept {config} as it is")
        };
        let daemon_line = if started {
            "started the daemon"
        } else {
            "the daemon runs already"
        };
        output::show(&format!(
            "{config_line}\n{daemon_line}, socket {}\n",
            place.socket.display()
        ))?;
    }
    if let (Some(label), Some(pins)) = (&init.token, &pins) {
        let tokens = token::make(&mut Client::connect(&place.admin_socket)?, label, pins)?;
        return token::tell_created(bench.format, &tokens, pins);
    }
    match bench.format {
        Format::Text => Ok(()),
        Format::Json => output::show_json(&serde_json::json!({
            "config": place.config, "config_written": wrote, "daemon_started": started, "socket": place.socket,
        })),
    }
}

fn write_configuration(place: &Place) -> Result<bool, Failure> {
    if place.config.exists() {
        return Ok(false);
    }
    let failed = |error| Failure::file("write", &place.config, &error);
    if let Some(directory) = place.config.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&place.config)
        .map_err(failed)?;
    file.write_all(configuration_text(place).as_bytes())
        .map_err(failed)?;
    Ok(true)
}

/// Whether the daemon had to be started.
fn start_daemon(bench: Bench<'_>, place: &Place) -> Result<bool, Failure> {
    if Client::connect(&place.admin_socket).is_ok() {
        return Ok(false);
    }
    let program = place.daemon_program(bench.environment).ok_or_else(|| {
        Failure::Failed(
            "the daemon's program, strongroomd, was not found beside this one, in the usual directories or in PATH; install it, or name it with STRONGROOM_DAEMON".into(),
        )
    })?;
    let output = Command::new(&program)
        .args(&place.daemon_flags)
        .arg("--daemonize")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::file("start", &program, &error))?;
    if output.status.success() {
        return Ok(true);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Failed(format!(
        "{} did not start: {}",
        program.display(),
        said.trim()
    )))
}

/// The configuration that is written when there is none: everything as usual, and where to change it.
#[must_use]
pub fn configuration_text(place: &Place) -> String {
    format!(
        "# Strongroom, made by: strongroom init\n\
         # Every key is optional; each line shows the usual value. Check with: strongroomd --check-config\n\
         # Apply changes with: strongroom reload\n\
         \n\
         # Read by applications (the PKCS#11 module) and the daemon.\n\
         # socket = \"{socket}\"\n\
         # Whether applications start the daemon when it does not run.\n\
         # autostart = true\n\
         # daemon = \"/usr/sbin/strongroomd\"\n\
         \n\
         # Read by the daemon.\n\
         # admin_socket = \"{admin_socket}\"\n\
         # Who may connect: \"0600\" this user, \"0660\" also the group, \"0666\" every user of this machine.\n\
         # socket_mode = \"0600\"\n\
         # socket_group = \"strongroom\"\n\
         \n\
         [store]\n\
         # path = \"{store}\"\n\
         \n\
         [seal]\n\
         # The root key. Back this file up, apart from the store: without it the store is lost.\n\
         # key_file = \"{key_file}\"\n\
         # Or a passphrase instead:\n\
         # passphrase_file = \"/path/to/passphrase\"\n\
         \n\
         [audit]\n\
         # path = \"{journal}\"\n\
         # \"all\", \"management\" or \"none\"\n\
         # level = \"all\"\n\
         \n\
         [memory]\n\
         # bytes = 67108864\n\
         \n\
         [log]\n\
         # \"error\", \"warn\", \"info\" or \"debug\"\n\
         # level = \"info\"\n\
         \n\
         [limits]\n\
         # connections_max = 1024\n\
         # user_tries_max = 10\n",
        socket = place.paths.socket().display(),
        admin_socket = place.paths.admin_socket().display(),
        store = place.paths.store().display(),
        key_file = place.paths.key_file().display(),
        journal = place.paths.journal().display(),
    )
}
