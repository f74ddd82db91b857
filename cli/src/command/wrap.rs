//! `strongroom wrap` and `strongroom unwrap`.
//!
//! What lives here: the way of a secret from the input through the token to the output.
//! What must never live here: the daemon's sockets; whoever wraps is an application, and needs no more rights than one.
//! Who calls it: the commands.

mod format;
pub(super) mod streams;
pub(super) mod token;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::object::ObjectHandle;

use super::Bench;
use super::doctor::installation::find_module;
use crate::arguments::{TokenArguments, UnwrapArguments, WrapArguments};
use crate::failure::Failure;
use crate::output;
use crate::pin;
use format::{Header, KeyName, SECRET_BYTES_MAX, WRAPPED_BYTES_MAX, hexadecimal};
use token::{Opened, Token};

/// Runs `wrap`.
pub(super) fn wrap(bench: Bench<'_>, arguments: &WrapArguments) -> Result<(), Failure> {
    let at = &arguments.at;
    let module = prepare(bench, at)?;
    let secret = streams::read(at.input.as_deref(), SECRET_BYTES_MAX, SMALLER)?;
    let token = open(&module, at)?;
    let key = only_key(&token, arguments)?;
    let header = Header {
        key: token.name(key)?,
        iv: token.iv()?,
    };
    let mut wrapped = header.encode()?;
    let sealed = token.encrypt(key, header.iv, &wrapped, &secret)?;
    // A data key that cannot be unwrapped is lost with all that it encrypts, so this is tried while the secret is still there.
    match token.decrypt(key, header.iv, &wrapped, &sealed)? {
        Opened::Secret(again) if *again == *secret => {}
        Opened::Secret(_) | Opened::Refused => {
            return Err(Failure::Failed(
                "the token does not unwrap what it has just wrapped; nothing is written".into(),
            ));
        }
    }
    token.close();
    wrapped.extend_from_slice(&sealed);
    streams::write(at.output.as_deref(), &wrapped)
}

/// Runs `unwrap`.
pub(super) fn unwrap(bench: Bench<'_>, arguments: &UnwrapArguments) -> Result<(), Failure> {
    let at = &arguments.at;
    let module = prepare(bench, at)?;
    let bytes = streams::read(at.input.as_deref(), WRAPPED_BYTES_MAX, SMALLER)?;
    let wrapped = format::parse(&bytes)?;
    let name = &wrapped.header.key;
    expected(name, arguments)?;
    let token = open(&module, at)?;
    let keys = named_keys(&token, name)?;
    if keys.is_empty() {
        return Err(Failure::Failed(format!(
            "the key that wrapped this, {}, is not in token \"{}\": bring it back, from a backup or under its old name; nothing is unwrapped",
            name.shown(),
            output::printable(&at.token)
        )));
    }
    let mut trouble = None;
    for key in keys {
        match token.decrypt(key, wrapped.header.iv, wrapped.header_bytes, wrapped.sealed) {
            Ok(Opened::Secret(secret)) => {
                token.close();
                return streams::write(at.output.as_deref(), &secret);
            }
            Ok(Opened::Refused) => {}
            // Another key of the same name may be the one.
            Err(failure) => trouble = Some(failure),
        }
    }
    if let Some(failure) = trouble {
        return Err(failure);
    }
    Err(Failure::Failed(format!(
        "the wrapped data were changed, or the key that wrapped them was replaced by another {}; nothing is unwrapped",
        name.shown()
    )))
}

/// The module, once this process has the environment in which it finds what the arguments name.
fn prepare(bench: Bench<'_>, at: &TokenArguments) -> Result<PathBuf, Failure> {
    prepared(
        bench,
        at.input.as_deref(),
        at.pin_file.as_deref(),
        at.module.as_deref(),
    )
}

/// The same, by what it depends on.
pub(super) fn prepared(
    bench: Bench<'_>,
    input: Option<&Path>,
    pin_file: Option<&Path>,
    module: Option<&Path>,
) -> Result<PathBuf, Failure> {
    if input.is_none() && pin_file == Some(Path::new("-")) {
        return Err(Failure::Usage(
            "standard input has the data, so the PIN cannot come from there; name a file with --pin-file, or with --in".into(),
        ));
    }
    settle(bench)?;
    find_module(module).ok_or_else(|| {
        Failure::Failed(
            "the PKCS#11 module is in none of the usual directories; name it with --module".into(),
        )
    })
}

/// A module reads the environment when it is loaded, and a process with libraries in it does not change its own. So this program begins anew with
/// the right one, unless it has it. Where no argument names an installation, the module looks for itself as in any application.
fn settle(bench: Bench<'_>) -> Result<(), Failure> {
    let named = bench.place;
    if !named.system && named.home.is_none() && named.socket.is_none() {
        return Ok(());
    }
    let wanted = bench.find()?.for_module();
    let is_so = |(name, value): &(&str, Option<PathBuf>)| bench.environment.path(name) == *value;
    if wanted.iter().all(is_so) {
        return Ok(());
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::Failed(format!("cannot find this program: {error}")))?;
    let mut command = Command::new(&program);
    command.args(std::env::args_os().skip(1));
    for (name, value) in wanted {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // Only a failure comes back: the program takes its own place, with its input and its output.
    let error = command.exec();
    Err(Failure::file("start", &program, &error))
}

fn open(module: &Path, at: &TokenArguments) -> Result<Token, Failure> {
    Token::open(module, &at.token, || pin::existing(at.pin_file.as_deref()))
}

/// The key to wrap with. Of several none is chosen: which one is the newest, the token does not say.
fn only_key(token: &Token, arguments: &WrapArguments) -> Result<ObjectHandle, Failure> {
    let label = arguments.key.as_deref();
    let id = arguments.id.as_ref().map(|id| id.0.as_slice());
    let keys = token.keys(label.map(str::as_bytes), id)?;
    let wanted = [
        label.map(|label| format!("labelled \"{}\"", output::printable(label))),
        id.map(|id| format!("with id {}", hexadecimal(id))),
    ];
    let wanted: Vec<String> = wanted.into_iter().flatten().collect();
    let wanted = wanted.join(" ");
    match keys.as_slice() {
        [key] => Ok(*key),
        [] => Err(Failure::Failed(format!(
            "there is no private AES key {wanted} in token \"{}\"",
            output::printable(&arguments.at.token)
        ))),
        several => {
            let names = several
                .iter()
                .take(NAMES_SHOWN_MAX)
                .map(|key| Ok(token.name(*key)?.shown()))
                .collect::<Result<Vec<String>, Failure>>()?;
            Err(Failure::Failed(format!(
                "{} AES keys are {wanted}: {}; say by --key and --id which one shall wrap",
                several.len(),
                names.join(", ")
            )))
        }
    }
}

/// By its id, whatever its label is by now; by its label if it has no id. Of several the right one is known by what it opens.
fn named_keys(token: &Token, name: &KeyName) -> Result<Vec<ObjectHandle>, Failure> {
    if name.id.is_empty() {
        token.keys(Some(&name.label), None)
    } else {
        token.keys(None, Some(&name.id))
    }
}

/// Whether the data were wrapped by the key that is expected: what was wrapped for something else is not taken.
fn expected(name: &KeyName, arguments: &UnwrapArguments) -> Result<(), Failure> {
    let same = |said: Option<&[u8]>, is: &[u8]| said.is_none_or(|said| said == is);
    let label = arguments.key.as_ref().map(String::as_bytes);
    let id = arguments.id.as_ref().map(|id| id.0.as_slice());
    if same(label, &name.label) && same(id, &name.id) {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "this was wrapped by the key {}, and not by the one that --key or --id names; nothing is unwrapped",
        name.shown()
    )))
}

/// More names say nothing more.
const NAMES_SHOWN_MAX: usize = 5;
const SMALLER: &str =
    "keys and passphrases are wrapped, and larger data encrypted by a key that is wrapped";
