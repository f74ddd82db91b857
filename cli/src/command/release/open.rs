//! `strongroom release open`.
//!
//! What lives here: the way of an envelope from a file through its checks into a token.
//! What must never live here: the daemon's sockets; who opens an envelope is an application, and may be on another machine.
//! Who calls it: the commands of releases.

use std::fs;
use std::path::Path;

use super::envelope::{self, Expected};
use super::unwrapping::Kek;
use crate::arguments::ReleaseOpenArguments;
use crate::command::wrap::token::Token;
use crate::command::wrap::{prepared, streams};
use crate::command::{Bench, tell_done};
use crate::failure::Failure;
use crate::{output, pem, pin};

/// Runs `release open`.
pub(super) fn run(bench: Bench<'_>, arguments: &ReleaseOpenArguments) -> Result<(), Failure> {
    let module = prepared(
        bench,
        arguments.input.as_deref(),
        arguments.pin_file.as_deref(),
        arguments.module.as_deref(),
    )?;
    let refused = |why: String| Failure::Failed(format!("{why}; nothing is unwrapped"));
    let expected = Expected {
        root: root(&arguments.root)?,
        host: arguments.host.as_deref(),
        nonce: arguments.nonce.as_deref(),
        now: envelope::now().map_err(refused)?,
    };
    let text = streams::read(
        arguments.input.as_deref(),
        ENVELOPE_BYTES_MAX,
        "an envelope is smaller",
    )?;
    let released = envelope::verified(&text, &expected).map_err(refused)?;
    let label = match (&arguments.label, released.name()) {
        (Some(label), _) => label,
        (None, Some(name)) => name,
        (None, None) => {
            return Err(Failure::Usage(
                "the envelope has no name for the key; give it one with --label".into(),
            ));
        }
    };
    // The PIN is asked for once it is known that there is something to be unwrapped.
    let token = Token::open_to_write(&module, &arguments.token, || {
        pin::existing(arguments.pin_file.as_deref())
    })?;
    let id = arguments.kek_id.as_ref().map(|id| id.0.as_slice());
    Kek::find(&token, arguments.kek.as_deref(), id)?.unwrap(
        &released,
        label,
        arguments.extractable,
    )?;
    token.close();
    tell_done(
        bench.format,
        &format!(
            "the key \"{}\" is in token \"{}\"",
            output::printable(label),
            output::printable(&arguments.token)
        ),
    )
}

/// The pinned root: one certificate, in PEM or DER.
fn root(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Ok(bytes);
    };
    let all = pem::certificates(text)
        .map_err(|what| Failure::Failed(format!("{}: {what}", path.display())))?;
    match <[Vec<u8>; 1]>::try_from(all) {
        Ok([root]) => Ok(root),
        Err(all) => Err(Failure::Failed(format!(
            "{} has {} certificates; the root is one",
            path.display(),
            all.len()
        ))),
    }
}

/// More is no envelope: one of an RSA key of 8192 bits has some 20 KiB.
const ENVELOPE_BYTES_MAX: usize = 1024 * 1024;
